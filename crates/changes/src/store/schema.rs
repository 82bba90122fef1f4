//! The tables of the log, the same in each role's schema. `replicas` is on PostgreSQL only.
#![expect(missing_docs, reason = "a column's meaning is in the migration, and the macro drops its comments")]

diesel::table! {
    use diesel::sql_types::{BigInt, Text};
    use tollgate_db::sql_types::Time as Instant;

    /// What has changed, in commit order.
    changes (sequence) {
        sequence -> BigInt,
        subject -> Text,
        at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer};

    /// One row: the last sequence that was given, and the last that was pruned.
    change_head (id) {
        id -> Integer,
        last -> BigInt,
        pruned -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Text};
    use tollgate_db::sql_types::Time as Instant;

    /// The live processes of the role. `renewed_at` is the database's own time, set by a trigger.
    replicas (id) {
        id -> Text,
        acknowledged -> BigInt,
        renewed_at -> Instant,
    }
}
