//! Inserting many rows in one statement, on both databases: diesel's own form does not exist for asynchronous SQLite.

use diesel::{
    QueryResult,
    backend::Backend,
    query_builder::{AstPass, QueryFragment, QueryId},
};

/// The most values (rows × columns) in one [`insert_many`]: SQLite's bound on parameters.
pub const MAX_VALUES: usize = 32_766;

/// A statement that inserts many rows. Made by [`insert_many`].
#[derive(Debug, Clone)]
pub struct InsertMany<R> {
    table: &'static str,
    columns: &'static [&'static str],
    rows: Vec<R>,
    tail: &'static str,
}

/// `INSERT INTO table (columns) VALUES (row), (row)… tail`, to be run by `.execute(c)`.
///
/// A row is a tuple of bound values in the order of the columns: `(id.into_sql::<Id>(), count.into_sql::<BigInt>())`.
/// `tail` is SQL that both databases understand, such as `ON CONFLICT (…) DO UPDATE SET n = t.n + excluded.n`, or empty.
/// At most [`MAX_VALUES`] values, and at least one row; more or none is an error of the statement.
pub fn insert_many<R>(
    table: &'static str,
    columns: &'static [&'static str],
    rows: Vec<R>,
    tail: &'static str,
) -> InsertMany<R> {
    InsertMany { table, columns, rows, tail }
}

impl<R, DB: Backend> QueryFragment<DB> for InsertMany<R>
where
    R: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if self.rows.is_empty() || self.rows.len() * self.columns.len() > MAX_VALUES {
            let error = format!("{} rows of {} columns in one insert", self.rows.len(), self.columns.len());
            return Err(diesel::result::Error::QueryBuilderError(error.into()));
        }
        // The text depends on how many rows there are.
        out.unsafe_to_cache_prepared();
        out.push_sql("INSERT INTO ");
        out.push_identifier(self.table)?;
        for (place, column) in self.columns.iter().enumerate() {
            out.push_sql(if place == 0 { " (" } else { ", " });
            out.push_identifier(column)?;
        }
        for (place, row) in self.rows.iter().enumerate() {
            out.push_sql(if place == 0 { ") VALUES (" } else { "), (" });
            row.walk_ast(out.reborrow())?;
        }
        out.push_sql(") ");
        out.push_sql(self.tail);
        Ok(())
    }
}

impl<R> QueryId for InsertMany<R> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
