//! Revoking many keys: batch after batch, each a transaction that audits and announces every key of it, and says in the log that
//! caches are to forget.

use diesel::{
    dsl::AsExprOf,
    prelude::*,
    sql_types::{Nullable, Text},
};
use diesel_async::RunQueryDsl;
use serde_json::Map;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbTime, InsertMany, insert_many, sql_types};
use tollgate_kernel::{Fault, KeyId, Timestamp};

use super::{
    Change, Deed, Outcome, Store,
    change::change,
    outbox::{Announce as _, Outbox},
    rows::AuditRow,
    schema::keys,
};

impl Store {
    /// Revokes those of the keys that are not revoked yet, and says how many that were. `change` cuts off all of them; `deed` is what
    /// is done to each.
    pub(crate) async fn keys_revoke(
        &self,
        change: Change,
        deed: &Deed<'_>,
        ids: Vec<DbId>,
        at: Timestamp,
    ) -> Result<(usize, Option<Effect>), Fault> {
        let reason = change.audit.reason.clone();
        let targets = ids.iter().map(|id| KeyId::from(*id).to_string());
        let events: Vec<(DbId, AuditRow)> = ids.iter().copied().zip(deed.rows(self, targets)).collect();
        let store = self.clone();
        let (outcome, effect) = change!(self, change, |c| {
            let live = keys::table.filter(keys::id.eq_any(&ids)).filter(keys::revoked_at.is_null());
            let revoke = diesel::update(live).set(keys::revoked_at.eq(DbTime(at)));
            let revoked: Vec<DbId> = revoke.returning(keys::id).get_results(c).await?;
            if revoked.is_empty() {
                Outcome::Unchanged(0)
            } else {
                let done = events.into_iter().filter(|(id, _)| revoked.contains(id));
                let done: Vec<_> = done.map(|(_, row)| AuditRow { reason: reason.clone(), ..row }).collect();
                let told: Vec<_> =
                    done.iter().filter_map(|row| Outbox::of(&store, row, Map::new())).collect();
                audited(done).execute(c).await?;
                c.announce(&told).await?;
                Outcome::Audited(revoked.len())
            }
        })?;
        Ok((outcome.value(), effect))
    }
}

type AuditValues = (
    AsExprOf<DbId, sql_types::Id>,
    AsExprOf<DbId, sql_types::Id>,
    AsExprOf<DbTime, sql_types::Time>,
    AsExprOf<String, Text>,
    AsExprOf<Option<String>, Nullable<Text>>,
    AsExprOf<Option<String>, Nullable<Text>>,
    AsExprOf<&'static str, Text>,
    AsExprOf<String, Text>,
    AsExprOf<Option<String>, Nullable<Text>>,
);

const COLUMNS: &[&str] =
    &["id", "workspace_id", "at", "actor", "session", "ip", "action", "target", "reason"];

fn audited(rows: Vec<AuditRow>) -> InsertMany<AuditValues> {
    let values = rows.into_iter().map(|row| {
        (
            row.id.into_sql::<sql_types::Id>(),
            row.workspace_id.into_sql::<sql_types::Id>(),
            row.at.into_sql::<sql_types::Time>(),
            row.actor.into_sql::<Text>(),
            row.session.into_sql::<Nullable<Text>>(),
            row.ip.into_sql::<Nullable<Text>>(),
            row.action.into_sql::<Text>(),
            row.target.into_sql::<Text>(),
            row.reason.into_sql::<Nullable<Text>>(),
        )
    });
    insert_many("audit_events", COLUMNS, values.collect(), "")
}
