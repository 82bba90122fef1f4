//! A column's time and so much later: which the two databases add in different words.

use chrono::TimeDelta;
use diesel::{
    AppearsOnTable, Expression, QueryResult, SelectableExpression,
    expression::{ValidGrouping, is_aggregate},
    pg::Pg,
    query_builder::{AstPass, QueryFragment, QueryId},
    sql_types::BigInt,
    sqlite::Sqlite,
};
use tollgate_db::sql_types::Time;

/// See [`later`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Later<C> {
    column: C,
    seconds: i64,
}

/// The time in the column and `by` later, to the second.
pub(crate) fn later<C>(column: C, by: TimeDelta) -> Later<C> {
    Later { column, seconds: by.num_seconds() }
}

impl<C> Expression for Later<C> {
    type SqlType = Time;
}

impl<C, T> AppearsOnTable<T> for Later<C> where C: AppearsOnTable<T> {}

impl<C, T> SelectableExpression<T> for Later<C> where C: SelectableExpression<T> {}

impl<C, G> ValidGrouping<G> for Later<C> {
    type IsAggregate = is_aggregate::No;
}

impl<C> QueryId for Later<C> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C: QueryFragment<Pg>> QueryFragment<Pg> for Later<C> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("(");
        self.column.walk_ast(out.reborrow())?;
        // Seconds, because a day is not always 24 hours where the session's time zone is not UTC.
        out.push_sql(" + INTERVAL '1 second' * ");
        out.push_bind_param::<BigInt, _>(&self.seconds)?;
        out.push_sql(")");
        Ok(())
    }
}

impl<C: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Later<C> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("(");
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(" + 1000000 * ");
        out.push_bind_param::<BigInt, _>(&self.seconds)?;
        out.push_sql(")");
        Ok(())
    }
}
