//! The tables of the log, the same in each role's schema. `replicas` is on PostgreSQL only.
#![expect(missing_docs, reason = "a column's meaning is in the migration, and the macro drops its comments")]

diesel::table! {
    use diesel::sql_types::{BigInt, Text};
    use tollgate_db::sql_types::Time as Instant;

    /// What has changed, in commit order.
    changes (sequence) {
        sequence -> BigInt,
        tag -> BigInt,
        subject -> Text,
        at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer};

    /// One row: the last change, and the last that was pruned.
    change_head (id) {
        id -> Integer,
        last -> BigInt,
        tag -> BigInt,
        pruned -> BigInt,
        pruned_tag -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Text};

    /// The live processes of the role.
    replicas (id) {
        id -> Text,
        acknowledged -> BigInt,
        round -> BigInt,
        lease_ms -> BigInt,
    }
}

// A replica's row is written, and read, beside the log in one statement.
diesel::allow_tables_to_appear_in_same_query!(changes, change_head, replicas);
