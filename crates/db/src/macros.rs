//! One body, checked by the compiler once per database.

/// Reads: `read_db!(db, |c| users::table.find(id).first(c).await.optional())` gives `Result<T, db::Error>`.
///
/// The body is an asynchronous expression or block that gives a `QueryResult`; `?` on one works in it. `c` is the
/// connection. On SQLite it cannot write.
#[macro_export]
macro_rules! read_db {
    ($db:expr, |$c:ident| $body:expr) => {
        $crate::__work!($db.reader(), |$c| $body)
    };
}

/// Writes one statement: `write_db!(db, |c| diesel::insert_into(users::table).values(&row).execute(c).await)`.
///
/// As [`read_db!`], with a connection that can write. What must happen together belongs in [`tx_db!`].
#[macro_export]
macro_rules! write_db {
    ($db:expr, |$c:ident| $body:expr) => {
        $crate::__work!($db.writer(), |$c| $body)
    };
}

/// A transaction: commits if the body gives `Ok`, else rolls back. Gives `Result<T, E>`.
///
/// The body ends with `Ok::<_, E>(value)`, where `E: From<db::Error>`, and `E: From<diesel::result::Error>` for `?` on
/// statements. READ COMMITTED on PostgreSQL; on SQLite the only writer, from the start. Cancelled, it rolls back.
///
/// A statement that failed must fail the body: after one, PostgreSQL makes a silent rollback of the commit. Where a failure
/// is expected (`ON CONFLICT DO NOTHING` and a count), ask so that it is none.
#[macro_export]
macro_rules! tx_db {
    ($db:expr, |$c:ident| $body:expr) => {
        match $db.writer().await {
            Ok($crate::Either::Postgres(lease)) => $crate::__transaction!(lease, |$c| $body),
            Ok($crate::Either::Sqlite(lease)) => $crate::__transaction!(lease, |$c| $body),
            Err(error) => Err(error.into()),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __work {
    ($lease:expr, |$c:ident| $body:expr) => {
        match $lease.await {
            Ok($crate::Either::Postgres(lease)) => $crate::__statement!(lease, |$c| $body),
            Ok($crate::Either::Sqlite(lease)) => $crate::__statement!(lease, |$c| $body),
            Err(error) => Err(error),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __statement {
    ($lease:ident, |$c:ident| $body:expr) => {{
        let mut lease = $lease;
        let limit = lease.limit();
        let work = $crate::__private::query(async {
            let $c = lease.connection();
            $body
        });
        let result = $crate::__private::bounded(limit, work).await;
        lease.settle(result).await
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transaction {
    ($lease:ident, |$c:ident| $body:expr) => {{
        let mut lease = $lease;
        let limit = lease.limit();
        let work = async {
            if let Err(error) = lease.begin().await {
                return Err(error.into());
            }
            let result = async {
                let $c = lease.connection();
                $body
            };
            let result = result.await;
            lease.end(result).await
        };
        let result = $crate::__private::bounded(limit, work).await;
        lease.close(result)
    }};
}
