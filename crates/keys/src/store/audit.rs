//! What was done, as it is read. It is written by [`super::change`] alone.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, Timestamp};
use uuid::Uuid;

use super::{EventRow, Store, schema::audit_events};
use crate::page::Page;

/// An event's id is drawn after the moment that it tells of, and by one clock: not by so many milliseconds, whatever takes long.
pub(super) const SLACK: i64 = 3_600_000;

/// Which events of a workspace.
#[derive(Debug, Clone)]
pub(crate) struct EventFilter {
    pub(crate) workspace: DbId,
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) from: Option<Timestamp>,
    /// Exclusive.
    pub(crate) to: Option<Timestamp>,
}

/// The first id that can be drawn at this time, give or take: of a UUIDv7 the first 48 bits are milliseconds since 1970.
pub(super) fn first_id(at: Timestamp, slack: i64) -> DbId {
    let millis = u64::try_from(at.timestamp_millis().saturating_add(slack)).unwrap_or(0);
    DbId(Uuid::from_u128(u128::from(millis) << 80))
}

/// The query of a page. The part of the ids that a time means is what the indexes can find; the times are what is asked.
macro_rules! events {
    ($filter:expr, $page:expr) => {{
        let mut query = audit_events::table
            .filter(audit_events::workspace_id.eq($filter.workspace))
            .order(audit_events::id.desc())
            .limit($page.rows())
            .select(EventRow::as_select())
            .into_boxed();
        if let Some(after) = $page.after {
            query = query.filter(audit_events::id.lt(after));
        }
        if let Some(actor) = &$filter.actor {
            query = query.filter(audit_events::actor.eq(actor));
        }
        if let Some(action) = &$filter.action {
            query = query.filter(audit_events::action.eq(action));
        }
        if let Some(target) = &$filter.target {
            query = query.filter(audit_events::target.eq(target));
        }
        if let Some(from) = $filter.from {
            query = query.filter(audit_events::id.ge(first_id(from, -SLACK)));
            query = query.filter(audit_events::at.ge(DbTime(from)));
        }
        if let Some(to) = $filter.to {
            query = query.filter(audit_events::id.lt(first_id(to, SLACK)));
            query = query.filter(audit_events::at.lt(DbTime(to)));
        }
        query
    }};
}

#[cfg(test)]
pub(super) use events;

impl Store {
    /// Newest first.
    pub(crate) async fn events_in(&self, filter: &EventFilter, page: Page) -> Result<Vec<EventRow>, Fault> {
        Ok(read_db!(self.db, |c| events!(filter, page).load(c).await)?)
    }
}
