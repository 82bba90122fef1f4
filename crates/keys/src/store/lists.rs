//! Lists of very many keys: every page costs little, whatever is asked for.
//!
//! A page is found in one of two ways. **Gathered**: one condition of the filter has an index by which few keys are found; all of
//! them are read, tested and sorted. **Walked**: keys are read in the order of the list, along the index that has it, and tested,
//! but no more than a bounded number. A walk that comes to its bound before the page is full gives what it found, and the place where
//! the next page goes on. What a filter says of the very thing that the list is sorted by is where its walks begin and end.
//! Which way it is is decided by counting, up to a bound, how many keys each index would find.
//!
//! So a filter that few keys fit is answered by its index, one that many fit by the walk, and the page is full in both. Only a filter
//! that no index answers (a part of the name), or that fits many keys none of which is near, may give pages that are not full.

mod conditions;
mod statement;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use diesel::{
    prelude::*,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, read_db, sql_types};
use tollgate_kernel::{Fault, Timestamp, WorkspaceId};

use self::{
    conditions::{Base, Condition, End},
    statement::Statement,
};
use super::{
    LastUsed, Store,
    rows::{KeyRecord, KeyRow, PlanRow},
    schema::{key_rotations, keys, last_used, plans, workspaces},
};

pub(crate) use self::conditions::{KeyFilter, KeyStatus};

/// Keys that are gathered for one page at most.
const GATHERED: i64 = 1_000;
/// Keys that are walked past for one page at most.
const WALKED: i64 = 1_500;
/// The same if only their names are looked at, which are in the index.
const NAMES_WALKED: i64 = 20_000;

/// What a list is sorted by. Keys of which it is the same are sorted by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    CreatedAt,
    ExpiresAt,
    LastUsedAt,
    Name,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) sort: Sort,
    pub(crate) ascending: bool,
}

/// What a key is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Time(DbTime),
    Text(String),
}

/// A place in a list, whether or not a key is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) value: Value,
    pub(crate) id: DbId,
}

/// A list: whose keys, which of them, and in which order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyList<'a> {
    pub(crate) workspace: WorkspaceId,
    pub(crate) filter: &'a KeyFilter,
    pub(crate) order: Order,
    pub(crate) now: Timestamp,
}

/// A statement that finds positions, and in which of two types.
enum Found {
    Times(Statement<(sql_types::Time, sql_types::Id)>),
    Texts(Statement<(Text, sql_types::Id)>),
}

/// How a page is found.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Gather(Condition),
    Walk,
}

impl Order {
    pub(crate) const OLDEST_FIRST: Self = Self { sort: Sort::CreatedAt, ascending: true };
    #[cfg(test)]
    pub(crate) const NEWEST_FIRST: Self = Self { sort: Sort::CreatedAt, ascending: false };

    /// Where a walk begins.
    const fn start(self) -> End {
        if self.ascending { End::Lower } else { End::Upper }
    }

    /// Where it ends.
    const fn end(self) -> End {
        if self.ascending { End::Upper } else { End::Lower }
    }

    const fn words(self) -> [&'static str; 3] {
        if self.ascending { [" > (", " <= (", " ASC, "] } else { [" < (", " >= (", " DESC, "] }
    }
}

impl Store {
    /// At most so many keys of the list, and where to go on; `None`: there are no more.
    pub(crate) async fn keys_page(
        &self,
        list: KeyList<'_>,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<(Vec<DbId>, Option<Position>), Fault> {
        let conditions = list.filter.conditions(list.now);
        let (way, bound) = if conditions.is_empty() {
            (Way::Walk, None)
        } else {
            match self.way(list, &conditions).await? {
                Way::Walk => (Way::Walk, self.bound(list, &conditions, after).await?),
                gather @ Way::Gather(_) => (gather, None),
            }
        };
        // One more than the page holds tells whether there is another page.
        let rows = i64::try_from(limit).map_err(Fault::internal)? + 1;
        let statement = list.order.sort.finds(|sort| match &way {
            Way::Gather(by) => gathered(sort, list, &conditions, by, after, rows),
            Way::Walk => walked(sort, list, &conditions, after, bound.as_ref(), rows),
        });
        let mut found = self.positions(statement).await?;
        let next = if found.len() > limit {
            found.truncate(limit);
            found.last().cloned()
        } else {
            bound
        };
        Ok((found.into_iter().map(|it| it.id).collect(), next))
    }

    /// The keys with these ids, in this order.
    pub(crate) async fn key_records(&self, ids: &[DbId]) -> Result<Vec<KeyRecord>, Fault> {
        let found: Vec<KeyRecord> = read_db!(self.db, |c| keys::table
            .inner_join(plans::table)
            .inner_join(workspaces::table)
            .left_join(last_used::table)
            .left_join(key_rotations::table)
            .filter(keys::id.eq_any(ids))
            .select((
                KeyRow::as_select(),
                PlanRow::as_select(),
                Option::<LastUsed>::as_select(),
                (key_rotations::due_at.nullable(), workspaces::policy)
            ))
            .load(c)
            .await)?;
        let mut by_id: HashMap<DbId, KeyRecord> = found.into_iter().map(|it| (it.0.id, it)).collect();
        Ok(ids.iter().filter_map(|id| by_id.remove(id)).collect())
    }

    /// By which of the conditions the fewest keys are found, if those are few.
    async fn way(&self, list: KeyList<'_>, conditions: &[Condition]) -> Result<Way, Fault> {
        let candidates = candidates(list, conditions);
        let counts = counted(list.workspace.into(), &candidates);
        let counts: Vec<(i64, i64)> = read_db!(self.db, |c| counts.load(c).await)?;
        let fewest = counts.into_iter().min_by_key(|(_, count)| *count);
        Ok(match fewest {
            Some((place, count)) if count <= GATHERED => {
                Way::Gather(candidates[usize::try_from(place).map_err(Fault::internal)?].clone())
            }
            _ => Way::Walk,
        })
    }

    /// Where a walk ends; `None`: at the end of the list.
    async fn bound(
        &self,
        list: KeyList<'_>,
        conditions: &[Condition],
        after: Option<&Position>,
    ) -> Result<Option<Position>, Fault> {
        let names_only = matches!(list.order.sort, Sort::CreatedAt | Sort::Name)
            && conditions.iter().all(|it| matches!(it, Condition::NamePart(_)));
        let most = if names_only { NAMES_WALKED } else { WALKED };
        let statement = list.order.sort.finds(|sort| bounded(sort, list, conditions, most, after));
        Ok(self.positions(statement).await?.pop())
    }

    async fn positions(&self, statement: Found) -> Result<Vec<Position>, Fault> {
        Ok(match statement {
            Found::Times(statement) => {
                let rows: Vec<(DbTime, DbId)> = read_db!(self.db, |c| statement.load(c).await)?;
                rows.into_iter().map(|(at, id)| Position { value: Value::Time(at), id }).collect()
            }
            Found::Texts(statement) => {
                let rows: Vec<(String, DbId)> = read_db!(self.db, |c| statement.load(c).await)?;
                rows.into_iter().map(|(text, id)| Position { value: Value::Text(text), id }).collect()
            }
        })
    }
}

impl Sort {
    /// Whatever is sorted by, the statement is made alike; only the type of its rows differs.
    fn finds(self, make: impl FnOnce(Self) -> Statement<()>) -> Found {
        let statement = make(self);
        match self {
            Self::Name => Found::Texts(statement.typed()),
            _ => Found::Times(statement.typed()),
        }
    }

    /// Where the index is that has this order.
    const fn base(self) -> Base {
        match self {
            Self::LastUsedAt => Base::Uses,
            _ => Base::Keys,
        }
    }
}

/// What a page may be gathered by. The whole workspace is among them: a small one is always gathered.
fn candidates(list: KeyList<'_>, conditions: &[Condition]) -> Vec<Condition> {
    let indexed = conditions.iter().filter(|it| it.is_indexed()).cloned();
    std::iter::once(Condition::Workspace(list.workspace.into())).chain(indexed).collect()
}

/// How many keys each condition's index finds, up to one more than may be gathered.
fn counted(workspace: DbId, candidates: &[Condition]) -> Statement<(BigInt, BigInt)> {
    let mut all = Statement::new();
    for (place, condition) in (0_i64..).zip(candidates) {
        all.sql(if place == 0 { "SELECT " } else { " UNION ALL SELECT " }).number(place);
        all.sql(", COUNT(*) FROM (SELECT 1 AS one FROM ");
        condition.find(workspace, false, &mut all);
        all.sql(condition.order()).sql(" LIMIT ").number(GATHERED + 1).sql(") AS few");
    }
    all
}

/// All keys that one condition's index finds, tested and sorted. What sorts them is hidden from the planner, which might
/// read along the order's index otherwise.
fn gathered(
    sort: Sort,
    list: KeyList<'_>,
    conditions: &[Condition],
    by: &Condition,
    after: Option<&Position>,
    rows: i64,
) -> Statement<()> {
    let (workspace, base) = (list.workspace.into(), by.base());
    let column = sort.column(base);
    let [beyond, _, direction] = list.order.words();
    let mut all = Statement::new();
    all.sql("SELECT ").sql(column).sql(", k.id FROM ");
    by.find(workspace, true, &mut all);
    Condition::Workspace(workspace).test(workspace, &mut all);
    for condition in conditions {
        condition.test(workspace, &mut all);
    }
    if let Some(after) = after {
        all.sql(" AND CASE WHEN (").sql(column).sql(", k.id)").sql(beyond);
        after.push(&mut all);
        all.sql(" THEN TRUE ELSE FALSE END");
    }
    all.sql(" ORDER BY COALESCE(").sql(column).sql(", ").sql(column).sql(")").sql(direction);
    all.sql("COALESCE(k.id, k.id)").sql(direction.trim_end_matches(", ")).sql(" LIMIT ").number(rows);
    all
}

/// Keys along the order's index, tested.
fn walked(
    sort: Sort,
    list: KeyList<'_>,
    conditions: &[Condition],
    after: Option<&Position>,
    until: Option<&Position>,
    rows: i64,
) -> Statement<()> {
    let mut all = Statement::new();
    let base = if conditions.is_empty() { sort.base().alone() } else { sort.base().with_keys() };
    let (column, id) = along(sort, list, base, conditions, after, &mut all);
    let [_, within, direction] = list.order.words();
    if let Some(until) = until {
        all.sql(" AND (").sql(column).sql(", ").sql(id).sql(")").sql(within);
        until.push(&mut all);
    } else {
        span(sort, conditions, list.order.end(), &mut all);
    }
    for condition in conditions {
        condition.test(list.workspace.into(), &mut all);
    }
    all.sql(" ORDER BY ").sql(column).sql(direction).sql(id).sql(direction.trim_end_matches(", "));
    all.sql(" LIMIT ").number(rows);
    all
}

/// The last place that a walk past so many keys may look at.
fn bounded(
    sort: Sort,
    list: KeyList<'_>,
    conditions: &[Condition],
    most: i64,
    after: Option<&Position>,
) -> Statement<()> {
    let mut all = Statement::new();
    let (column, id) = along(sort, list, sort.base().alone(), conditions, after, &mut all);
    span(sort, conditions, list.order.end(), &mut all);
    let [_, _, direction] = list.order.words();
    all.sql(" ORDER BY ").sql(column).sql(direction).sql(id).sql(direction.trim_end_matches(", "));
    all.sql(" LIMIT 1 OFFSET ").number(most - 1);
    all
}

/// Begins a walk along the order's index after a place, or where the first can be that fits; says what its columns are called.
fn along(
    sort: Sort,
    list: KeyList<'_>,
    base: &'static str,
    conditions: &[Condition],
    after: Option<&Position>,
    all: &mut Statement<()>,
) -> (&'static str, &'static str) {
    let column = sort.column(sort.base());
    let (id, workspace) = match sort.base() {
        Base::Uses => ("u.key_id", "u.workspace_id = "),
        _ => ("k.id", "k.workspace_id = "),
    };
    all.sql("SELECT ").sql(column).sql(", ").sql(id).sql(" FROM ").sql(base);
    all.sql(workspace).id(list.workspace.into());
    if let Some(after) = after {
        let [beyond, _, _] = list.order.words();
        all.sql(" AND (").sql(column).sql(", ").sql(id).sql(")").sql(beyond);
        after.push(all);
    } else {
        span(sort, conditions, list.order.start(), all);
    }
    (column, id)
}

/// One end of the part of the order's index in which the keys are that fit. Not beside a place at the same end, which is the
/// nearer one: of two a planner may look up the other.
fn span(sort: Sort, conditions: &[Condition], end: End, all: &mut Statement<()>) {
    for (ends, at) in conditions.iter().filter_map(|it| it.end_of(sort, end)) {
        all.sql(ends).time(at);
    }
}

impl Position {
    /// The rest of a comparison that was begun with a parenthesis.
    fn push<T>(&self, into: &mut Statement<T>) {
        match &self.value {
            Value::Time(at) => into.time(*at),
            Value::Text(text) => into.text(text),
        };
        into.sql(", ").id(self.id).sql(")");
    }
}
