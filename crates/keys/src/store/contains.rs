//! Whether a list in a column has an item: the one question that the two databases ask in different words.

use diesel::{
    AppearsOnTable, Expression, QueryResult, SelectableExpression,
    expression::{AsExpression, ValidGrouping, is_aggregate},
    internal::derives::as_expression::Bound,
    pg::Pg,
    query_builder::{AstPass, QueryFragment, QueryId},
    sql_types::{Bool, Text},
    sqlite::Sqlite,
};

/// See [`contains`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contains<L, I> {
    list: L,
    item: I,
}

/// Whether the list has the item.
pub(crate) fn contains<L>(list: L, item: String) -> Contains<L, Bound<Text, String>> {
    Contains { list, item: AsExpression::<Text>::as_expression(item) }
}

impl<L, I> Expression for Contains<L, I> {
    type SqlType = Bool;
}

impl<L, I, T> AppearsOnTable<T> for Contains<L, I> where L: AppearsOnTable<T> {}

impl<L, I, T> SelectableExpression<T> for Contains<L, I> where L: SelectableExpression<T> {}

impl<L, I, G> ValidGrouping<G> for Contains<L, I> {
    type IsAggregate = is_aggregate::No;
}

impl<L, I> QueryId for Contains<L, I> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<L: QueryFragment<Pg>, I: QueryFragment<Pg>> QueryFragment<Pg> for Contains<L, I> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.item.walk_ast(out.reborrow())?;
        out.push_sql(" = ANY (");
        self.list.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl<L: QueryFragment<Sqlite>, I: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Contains<L, I> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.item.walk_ast(out.reborrow())?;
        out.push_sql(" IN (SELECT value FROM json_each(");
        self.list.walk_ast(out.reborrow())?;
        out.push_sql("))");
        Ok(())
    }
}
