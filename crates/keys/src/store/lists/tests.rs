//! What tests of lists look at behind the store's back: the ways apart, and how a database means to go them.

use diesel::sql_types::Integer;
use tollgate_db::{Db, tx_db, write_db};

use super::*;

/// What is explained, the index that is expected of it, and the plan's lines.
type Explained = (&'static str, &'static str, Vec<String>);

impl Condition {
    /// The index that finds what fits it; on SQLite a primary key has no name, and its columns are said.
    fn index(&self) -> &'static str {
        match self {
            Self::Consumer(_) => "keys_by_consumer",
            Self::Plan(_) => "keys_by_plan",
            Self::Environment(_) => "keys_by_environment",
            Self::Revoked => "keys_revoked",
            Self::Disabled(_) => "keys_disabled",
            Self::Expired(_) | Self::EndsBefore(_) => "keys_by_end",
            Self::MadeFrom(_) | Self::MadeBefore(_) => "keys_by_creation",
            Self::UsedBefore(_) => "key_uses_by_time",
            Self::DueBefore { made: None, .. } => "key_rotations_by_workspace",
            Self::DueBefore { made: Some(_), .. } => "keys_by_secret_age",
            Self::Label { .. } => "(workspace_id=? AND name=? AND value=?",
            Self::Workspace(_) | Self::NamePart(_) | Self::Unrevoked | Self::Active(_) => "keys_by_",
        }
    }
}

impl Sort {
    fn index(self) -> &'static str {
        match self {
            Self::CreatedAt => "keys_by_creation",
            Self::ExpiresAt => "keys_by_end",
            Self::LastUsedAt => "key_uses_by_time",
            Self::Name => "keys_by_name",
        }
    }
}

impl Store {
    /// One page of a walk that is bounded at so many keys.
    pub(in crate::store) async fn walk(
        &self,
        list: KeyList<'_>,
        after: Option<&Position>,
        limit: usize,
        most: i64,
    ) -> (Vec<DbId>, Option<Position>) {
        let conditions = list.filter.conditions(list.now);
        let statement = list.order.sort.finds(|sort| bounded(sort, list, &conditions, most, after));
        let bound = self.positions(statement).await.expect("read").pop();
        let rows = i64::try_from(limit).expect("few") + 1;
        let statement =
            list.order.sort.finds(|sort| walked(sort, list, &conditions, after, bound.as_ref(), rows));
        let mut found = self.positions(statement).await.expect("read");
        let next = if found.len() > limit {
            found.truncate(limit);
            found.last().cloned()
        } else {
            bound
        };
        (found.into_iter().map(|it| it.id).collect(), next)
    }

    /// A whole list, walked in short walks.
    pub(in crate::store) async fn walk_all(&self, list: KeyList<'_>, limit: usize) -> Vec<DbId> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (ids, next) = self.walk(list, after.as_ref(), limit, 17).await;
            all.extend(ids);
            if next.is_none() {
                return all;
            }
            after = next;
        }
    }

    /// Tells PostgreSQL what is in its tables, as it tells itself after a while. SQLite is never told.
    pub(in crate::store) async fn analyze(&self) {
        if matches!(self.db, Db::Postgres(_)) {
            write_db!(self.db, |c| diesel::sql_query("ANALYZE").execute(c).await).expect("analyzed");
        }
    }

    /// How the database means to find the first page of a list, and one after, in each way.
    pub(in crate::store) async fn explained(&self, list: KeyList<'_>) -> Vec<Explained> {
        let conditions = list.filter.conditions(list.now);
        let (sort, workspace) = (list.order.sort, list.workspace.into());
        let value = match sort {
            Sort::Name => Value::Text("key 5 of 1".to_owned()),
            _ => Value::Time(list.now.into()),
        };
        let place = Position { value, id: workspace };
        let mut explained = Vec::new();
        for after in [None, Some(&place)] {
            let walk = walked(sort, list, &conditions, after, Some(&place).filter(|_| after.is_none()), 26);
            explained.push(("walk", sort.index(), self.explain(walk).await));
            explained.push((
                "bound",
                sort.index(),
                self.explain(bounded(sort, list, &conditions, 26, after)).await,
            ));
            for by in conditions.iter().filter(|it| it.is_indexed()) {
                let gather = gathered(sort, list, &conditions, by, after, 26);
                explained.push(("gather", self.named(by), self.explain(gather).await));
                let count = counted(workspace, std::slice::from_ref(by)).typed();
                explained.push(("count", self.named(by), self.explain(count).await));
            }
        }
        explained
    }

    fn named(&self, by: &Condition) -> &'static str {
        match (&self.db, by) {
            (Db::Postgres(_), Condition::Label { .. }) => "key_labels_pkey",
            // That of one workspace, or that of all: among so few it takes either.
            (Db::Postgres(_), Condition::DueBefore { .. }) => "key_rotations_by_",
            _ => by.index(),
        }
    }

    async fn explain(&self, statement: Statement<()>) -> Vec<String> {
        type OfSqlite = (i32, i32, i32, String);
        let postgres = matches!(self.db, Db::Postgres(_));
        let found: Result<Vec<String>, tollgate_db::Error> = tx_db!(self.db, |c| {
            if postgres {
                // With these a small table is read whole, or sorted, because that is cheaper.
                diesel::sql_query("SET LOCAL enable_seqscan = off").execute(c).await?;
                diesel::sql_query("SET LOCAL enable_sort = off").execute(c).await?;
                // And whole along its key, where a page that is out of order costs four that are not.
                diesel::sql_query("SET LOCAL random_page_cost = 1").execute(c).await?;
                let explain = statement.after("EXPLAIN (COSTS OFF) ").typed::<Text>();
                Ok(explain.load::<String>(c).await?)
            } else {
                let explain =
                    statement.after("EXPLAIN QUERY PLAN ").typed::<(Integer, Integer, Integer, Text)>();
                let lines: Vec<OfSqlite> = explain.load(c).await?;
                Ok(lines.into_iter().map(|(_, _, _, line)| line).collect())
            }
        });
        found.expect("explained")
    }
}
