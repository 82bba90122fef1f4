//! The tables of `migrations/keys`, as diesel sees them. The migrations say what each column means.
//!
//! `Time` is called `Instant` here: `table!` takes a column of a type with that name for diesel's own.

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use tollgate_db::sql_types::{Id, Json, Time as Instant};

    workspaces (id) {
        id -> Id,
        name -> Text,
        personal_owner -> Nullable<Id>,
        enabled -> Bool,
        created_at -> Instant,
        limits -> Json,
        policy -> Json,
        tended -> Bool,
        created_by -> Nullable<Id>,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use tollgate_db::sql_types::{Id, Time as Instant};

    members (workspace_id, user_id) {
        workspace_id -> Id,
        user_id -> Id,
        role -> Text,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use tollgate_db::sql_types::{Id, Time as Instant};

    invitations (id) {
        id -> Id,
        workspace_id -> Id,
        email -> Text,
        email_key -> Text,
        role -> Text,
        digest -> Binary,
        invited_by -> Id,
        created_at -> Instant,
        expires_at -> Instant,
        accepted_at -> Nullable<Instant>,
        accepted_by -> Nullable<Id>,
        revoked_at -> Nullable<Instant>,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use tollgate_db::sql_types::{Id, Json, List, Time as Instant};

    plans (id) {
        id -> Id,
        workspace_id -> Id,
        name -> Text,
        limits -> Json,
        scopes -> List,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Bool, Nullable, Text};
    use tollgate_db::sql_types::{Id, Json, List, Time as Instant};

    keys (id) {
        id -> Id,
        workspace_id -> Id,
        plan_id -> Id,
        name -> Text,
        name_folded -> Text,
        environment -> Text,
        start -> Text,
        scopes -> List,
        limits -> Json,
        allowed_ips -> List,
        metadata -> Json,
        enabled -> Bool,
        expires_at -> Nullable<Instant>,
        revoked_at -> Nullable<Instant>,
        created_by -> Text,
        created_at -> Instant,
        consumer_id -> Nullable<Id>,
        description -> Text,
        roles -> List,
        not_before -> Nullable<Instant>,
        disabled_at -> Nullable<Instant>,
        revision -> BigInt,
        enabled_at -> Nullable<Instant>,
        secret_made_at -> Instant,
        // Of the databases' own making.
        ends_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use tollgate_db::sql_types::{Id, Json, Time as Instant};

    consumers (id) {
        id -> Id,
        workspace_id -> Id,
        name -> Text,
        name_folded -> Text,
        external_id -> Nullable<Text>,
        plan_id -> Nullable<Id>,
        limits -> Json,
        metadata -> Json,
        enabled -> Bool,
        created_by -> Text,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use tollgate_db::sql_types::{Id, List, Time as Instant};

    roles (id) {
        id -> Id,
        workspace_id -> Id,
        name -> Text,
        scopes -> List,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use tollgate_db::sql_types::{Id, Time as Instant};

    secrets (id) {
        id -> Id,
        key_id -> Id,
        public_id -> Text,
        digest -> Binary,
        created_at -> Instant,
        retired_at -> Nullable<Instant>,
        start -> Text,
        revoked_at -> Nullable<Instant>,
        replaces -> Nullable<Id>,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use tollgate_db::sql_types::Id;

    imported_secrets (secret_id) {
        secret_id -> Id,
        workspace_id -> Id,
        fingerprint -> Binary,
        sha256 -> Nullable<Binary>,
        sha512 -> Nullable<Binary>,
        slow -> Nullable<Text>,
        prefix -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use tollgate_db::sql_types::{Id, List, Time as Instant};

    service_keys (id) {
        id -> Id,
        workspace_id -> Id,
        name -> Text,
        public_id -> Text,
        digest -> Binary,
        start -> Text,
        permissions -> List,
        expires_at -> Nullable<Instant>,
        revoked_at -> Nullable<Instant>,
        created_by -> Text,
        created_at -> Instant,
        scopes -> List,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Text};

    usage (partition, grain, minute, subject, consumer, code) {
        partition -> Text,
        grain -> BigInt,
        minute -> BigInt,
        subject -> Text,
        consumer -> Text,
        code -> Text,
        count -> BigInt,
        environment -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use tollgate_db::sql_types::Time as Instant;

    usage_batches (id) {
        id -> Text,
        applied_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use tollgate_db::sql_types::{Id, Time as Instant};

    last_used (key_id) {
        key_id -> Id,
        at -> Instant,
        minute -> BigInt,
        network -> Nullable<Text>,
        user_agent -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::{Nullable, Text};
    use tollgate_db::sql_types::{Id, Time as Instant};

    audit_events (id) {
        id -> Id,
        workspace_id -> Id,
        at -> Instant,
        actor -> Text,
        session -> Nullable<Text>,
        ip -> Nullable<Text>,
        action -> Text,
        target -> Text,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable};
    use tollgate_db::sql_types::{Id, Time as Instant};

    idempotency (id) {
        id -> Binary,
        request_hash -> Binary,
        made -> Id,
        part -> Nullable<Id>,
        expires_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use tollgate_db::sql_types::{Id, Json, Time as Instant};

    credit_accounts (id) {
        id -> Id,
        workspace_id -> Id,
        owner_id -> Id,
        owner_kind -> Text,
        balance -> BigInt,
        refill -> Json,
        next_refill_at -> Nullable<Instant>,
        revision -> BigInt,
        step -> BigInt,
        epoch -> BigInt,
        lent_at -> Nullable<Instant>,
        created_at -> Instant,
        closed_at -> Nullable<Instant>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Text};
    use tollgate_db::sql_types::{Id, Time as Instant};

    credit_ledger (account_id, number) {
        account_id -> Id,
        number -> BigInt,
        at -> Instant,
        kind -> Text,
        amount -> BigInt,
        balance -> BigInt,
        request_id -> Text,
        actor -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Text};
    use tollgate_db::sql_types::{Id, Time as Instant};

    credit_blocks (account_id, step) {
        account_id -> Id,
        step -> BigInt,
        epoch -> BigInt,
        amount -> BigInt,
        state -> Text,
        at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Bool, Nullable, Text};
    use tollgate_db::sql_types::{Id, List, Time as Instant};

    webhooks (id) {
        id -> Id,
        workspace_id -> Id,
        url -> Text,
        description -> Text,
        events -> List,
        enabled -> Bool,
        secret -> Binary,
        previous_secret -> Nullable<Binary>,
        previous_until -> Nullable<Instant>,
        failing_since -> Nullable<Instant>,
        disabled_for -> Text,
        created_by -> Text,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use tollgate_db::sql_types::{Id, Time as Instant};

    webhook_messages (id) {
        id -> Id,
        workspace_id -> Id,
        event -> Text,
        body -> Text,
        created_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use tollgate_db::sql_types::{Id, Time as Instant};

    webhook_deliveries (id) {
        id -> Id,
        webhook_id -> Id,
        message_id -> Id,
        status -> Text,
        attempts -> BigInt,
        due_at -> Instant,
        status_code -> Nullable<BigInt>,
        error -> Text,
        created_at -> Instant,
        finished_at -> Nullable<Instant>,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use tollgate_db::sql_types::{Id, Time as Instant};

    notices (subject_id, kind, due_at) {
        subject_id -> Id,
        kind -> Text,
        due_at -> Instant,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable};
    use tollgate_db::sql_types::{Id, Time as Instant};

    key_rotations (key_id) {
        key_id -> Id,
        workspace_id -> Id,
        every_days -> BigInt,
        deadline_days -> Nullable<BigInt>,
        due_at -> Instant,
        retires_at -> Nullable<Instant>,
    }
}

diesel::joinable!(members -> workspaces (workspace_id));
diesel::joinable!(keys -> workspaces (workspace_id));
diesel::joinable!(keys -> plans (plan_id));
diesel::joinable!(keys -> consumers (consumer_id));
diesel::joinable!(consumers -> plans (plan_id));
diesel::joinable!(secrets -> keys (key_id));
diesel::joinable!(last_used -> keys (key_id));
diesel::joinable!(imported_secrets -> secrets (secret_id));
diesel::joinable!(key_rotations -> keys (key_id));
diesel::joinable!(credit_accounts -> workspaces (workspace_id));
diesel::joinable!(webhook_deliveries -> webhook_messages (message_id));

diesel::allow_tables_to_appear_in_same_query!(
    workspaces,
    members,
    plans,
    consumers,
    keys,
    secrets,
    last_used,
    imported_secrets,
    key_rotations,
    webhooks,
    notices
);
diesel::allow_tables_to_appear_in_same_query!(webhook_deliveries, webhook_messages);
diesel::allow_tables_to_appear_in_same_query!(credit_accounts, workspaces);
