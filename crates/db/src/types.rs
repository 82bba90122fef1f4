//! Column types that mean the same on both databases: what a schema file names, and what a row holds.
//!
//! | schema ([`sql_types`]) | row | PostgreSQL | SQLite |
//! |---|---|---|---|
//! | `Id` | [`DbId`] | `uuid` | `BLOB` of 16 bytes |
//! | `Time` | [`DbTime`] | `timestamptz` | `INTEGER`, microseconds since 1970 |
//! | `Json` | [`DbJson`] | `jsonb` | `TEXT` |
//! | `List` | [`DbList`] | `text[]` | `TEXT`, a JSON array |
//!
//! `Text`, `Binary`, `Bool`, `Integer` and `BigInt` are diesel's own: they are the same on both already.

use diesel::{
    backend::Backend,
    deserialize::{FromSql, FromSqlRow, Result as Read},
    expression::AsExpression,
    pg::{Pg, PgValue},
    serialize::{IsNull, Output, Result as Written, ToSql},
    sql_types as native,
    sqlite::Sqlite,
};
use tollgate_kernel::{Id, IdKind, Timestamp};
use uuid::Uuid;

/// The types that `diesel::table!` names: `use tollgate_db::sql_types::*;` inside it.
pub mod sql_types {
    use diesel::{
        query_builder::QueryId,
        sql_types::{Interval, SqlOrd, SqlType, ops},
    };

    /// A typed id. In rows: [`DbId`](crate::DbId).
    #[derive(Debug, Clone, Copy, SqlType, QueryId)]
    #[diesel(postgres_type(oid = 2950, array_oid = 2951), sqlite_type(name = "Binary"))]
    pub struct Id;

    /// An instant. In rows: [`DbTime`](crate::DbTime).
    #[derive(Debug, Clone, Copy, SqlType, QueryId)]
    #[diesel(postgres_type(oid = 1184, array_oid = 1185), sqlite_type(name = "Long"))]
    pub struct Time;

    /// A JSON value. In rows: [`DbJson`](crate::DbJson).
    #[derive(Debug, Clone, Copy, SqlType, QueryId)]
    #[diesel(postgres_type(oid = 3802, array_oid = 3807), sqlite_type(name = "Text"))]
    pub struct Json;

    /// A list of texts. In rows: [`DbList`](crate::DbList).
    #[derive(Debug, Clone, Copy, SqlType, QueryId)]
    #[diesel(postgres_type(oid = 1009, array_oid = 0), sqlite_type(name = "Text"))]
    pub struct List;

    // Both order as their values do, so `max` and `min` mean something.
    impl SqlOrd for Id {}
    impl SqlOrd for Time {}

    // `diesel::table!` takes for granted that a type of this name can be added to. SQLite has no intervals, so a query that
    // did it would not compile.
    impl ops::Add for Time {
        type Rhs = Interval;
        type Output = Self;
    }
    impl ops::Sub for Time {
        type Rhs = Interval;
        type Output = Self;
    }
}

/// A typed id as a column; [`DbId::typed`] says of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql_types::Id)]
pub struct DbId(pub Uuid);

/// An instant as a column, exact to the microsecond; what is finer is cut off when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql_types::Time)]
pub struct DbTime(pub Timestamp);

/// A JSON value as a column. PostgreSQL refuses U+0000 in its texts: refuse it before.
#[derive(Debug, Clone, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql_types::Json)]
pub struct DbJson(pub serde_json::Value);

/// A list of texts as a column, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql_types::List)]
pub struct DbList(pub Vec<String>);

impl DbId {
    /// The id, of the kind that its column names.
    pub const fn typed<K: IdKind>(self) -> Id<K> {
        Id::from_uuid(self.0)
    }
}

impl<K: IdKind> From<Id<K>> for DbId {
    fn from(id: Id<K>) -> Self {
        Self(id.uuid())
    }
}

impl<K: IdKind> From<DbId> for Id<K> {
    fn from(id: DbId) -> Self {
        id.typed()
    }
}

impl From<Timestamp> for DbTime {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl From<DbTime> for Timestamp {
    fn from(time: DbTime) -> Self {
        time.0
    }
}

impl From<serde_json::Value> for DbJson {
    fn from(value: serde_json::Value) -> Self {
        Self(value)
    }
}

impl From<Vec<String>> for DbList {
    fn from(list: Vec<String>) -> Self {
        Self(list)
    }
}

// On PostgreSQL each is its native type under our name.
macro_rules! native_on_postgres {
    ($($wrapper:ident($value:ty): $sql:ident = $native:ty;)*) => {$(
        impl ToSql<sql_types::$sql, Pg> for $wrapper {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> Written {
                ToSql::<$native, Pg>::to_sql(&self.0, out)
            }
        }

        impl FromSql<sql_types::$sql, Pg> for $wrapper {
            fn from_sql(bytes: PgValue<'_>) -> Read<Self> {
                <$value as FromSql<$native, Pg>>::from_sql(bytes).map(Self)
            }
        }
    )*};
}

native_on_postgres! {
    DbId(Uuid): Id = native::Uuid;
    DbTime(Timestamp): Time = native::Timestamptz;
    DbJson(serde_json::Value): Json = native::Jsonb;
    DbList(Vec<String>): List = native::Array<native::Text>;
}

// On SQLite each is written by hand as the table above says.
macro_rules! by_hand_on_sqlite {
    ($($wrapper:ident: $sql:ident as $raw:ident($stored:ty), $write:expr, $read:expr;)*) => {$(
        impl ToSql<sql_types::$sql, Sqlite> for $wrapper {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> Written {
                let write: fn(&Self) -> Result<$stored, Box<dyn std::error::Error + Send + Sync>> = $write;
                out.set_value(write(self)?);
                Ok(IsNull::No)
            }
        }

        impl FromSql<sql_types::$sql, Sqlite> for $wrapper {
            fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> Read<Self> {
                let read: fn($stored) -> Read<Self> = $read;
                <$stored as FromSql<native::$raw, Sqlite>>::from_sql(bytes).and_then(read)
            }
        }
    )*};
}

by_hand_on_sqlite! {
    DbId: Id as Binary(Vec<u8>), |id| Ok(id.0.as_bytes().to_vec()), |raw| Ok(Self(Uuid::from_slice(&raw)?));
    DbTime: Time as BigInt(i64), |time| Ok(time.0.timestamp_micros()), |raw| {
        Timestamp::from_timestamp_micros(raw).map(Self).ok_or_else(|| "a time out of range".into())
    };
    DbJson: Json as Text(String), |json| Ok(json.0.to_string()), |raw| Ok(Self(serde_json::from_str(&raw)?));
    DbList: List as Text(String), |list| Ok(serde_json::to_string(&list.0)?),
        |raw| Ok(Self(serde_json::from_str(&raw)?));
}
