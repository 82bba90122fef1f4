//! A statement that is put together piece by piece: which filters a list has, and in which order it is, is known only when it is asked
//! for. The text is made of pieces that are in this program; what comes from outside is always bound.

use std::marker::PhantomData;

use diesel::{
    QueryResult,
    backend::Backend,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::{BigInt, HasSqlType, Text},
};
use tollgate_db::{DbId, DbTime, sql_types};

/// One piece of a statement.
#[derive(Debug, Clone)]
enum Piece {
    Sql(&'static str),
    Id(DbId),
    Time(DbTime),
    Text(String),
    Number(i64),
}

/// A statement whose rows are of the SQL type `T`.
#[derive(Debug, Clone)]
pub(super) struct Statement<T> {
    pieces: Vec<Piece>,
    rows: PhantomData<fn() -> T>,
}

impl<T> Statement<T> {
    pub(super) fn new() -> Self {
        Self { pieces: Vec::new(), rows: PhantomData }
    }

    pub(super) fn sql(&mut self, text: &'static str) -> &mut Self {
        self.push(Piece::Sql(text))
    }

    pub(super) fn id(&mut self, id: DbId) -> &mut Self {
        self.push(Piece::Id(id))
    }

    pub(super) fn time(&mut self, time: DbTime) -> &mut Self {
        self.push(Piece::Time(time))
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.push(Piece::Text(text.to_owned()))
    }

    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        self.push(Piece::Number(number))
    }

    fn push(&mut self, piece: Piece) -> &mut Self {
        self.pieces.push(piece);
        self
    }

    /// The same, with rows of this type.
    pub(super) fn typed<U>(self) -> Statement<U> {
        Statement { pieces: self.pieces, rows: PhantomData }
    }

    /// The same after another text: for `EXPLAIN`.
    #[cfg(test)]
    pub(super) fn after(self, text: &'static str) -> Self {
        let pieces = [vec![Piece::Sql(text)], self.pieces].concat();
        Self { pieces, rows: PhantomData }
    }
}

impl<T, DB> QueryFragment<DB> for Statement<T>
where
    DB: Backend + HasSqlType<sql_types::Id> + HasSqlType<sql_types::Time>,
    DbId: ToSql<sql_types::Id, DB>,
    DbTime: ToSql<sql_types::Time, DB>,
    String: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        // There are very many texts, and a connection would keep each.
        out.unsafe_to_cache_prepared();
        for piece in &self.pieces {
            match piece {
                Piece::Sql(text) => out.push_sql(text),
                Piece::Id(id) => out.push_bind_param::<sql_types::Id, _>(id)?,
                Piece::Time(time) => out.push_bind_param::<sql_types::Time, _>(time)?,
                Piece::Text(text) => out.push_bind_param::<Text, _>(text)?,
                Piece::Number(number) => out.push_bind_param::<BigInt, _>(number)?,
            }
        }
        Ok(())
    }
}

impl<T> Query for Statement<T> {
    type SqlType = T;
}

impl<T> QueryId for Statement<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
