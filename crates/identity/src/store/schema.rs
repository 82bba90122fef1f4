//! The tables, as `migrations/identity` makes them; what a column means is said there.

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use tollgate_db::sql_types::{Id, Time};

    users (id) {
        id -> Id,
        email -> Text,
        email_key -> Text,
        name -> Nullable<Text>,
        password_hash -> Text,
        operator -> Bool,
        created_at -> Time,
        disabled_at -> Nullable<Time>,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Nullable, Text};
    use tollgate_db::sql_types::{Id, Time};

    sessions (id) {
        id -> Id,
        user_id -> Id,
        generation -> Integer,
        created_at -> Time,
        rotated_at -> Time,
        ends_at -> Time,
        absolute_ends_at -> Time,
        end_reason -> Nullable<Text>,
        ip -> Nullable<Text>,
        user_agent -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Integer, Nullable};
    use tollgate_db::sql_types::{Id, Time};

    signing_keys (id) {
        id -> Id,
        number -> Integer,
        sealed -> Binary,
        published_at -> Time,
        active_at -> Time,
        retires_at -> Nullable<Time>,
        gone_at -> Nullable<Time>,
    }
}

diesel::table! {
    use diesel::sql_types::{Nullable, Text};
    use tollgate_db::sql_types::{Id, Time};

    audit_events (id) {
        id -> Id,
        at -> Time,
        action -> Text,
        user_id -> Nullable<Id>,
        session_id -> Nullable<Id>,
        ip -> Nullable<Text>,
        reason -> Nullable<Text>,
        identifier -> Nullable<Text>,
    }
}

diesel::joinable!(sessions -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(sessions, users);
