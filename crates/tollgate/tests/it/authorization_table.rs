//! Who may call what: a line for each route of the OpenAPI document, which [`super::authorization_walk`] holds the system to.
//!
//! **To add a route, add a line**: the route, the rulings, and what is sent with it (a JSON body, or `?` and a query; nothing
//! if it needs neither). A route may have more than one line. The rulings are a letter for each caller, in this order:
//!
//! ```text
//! nobody | a stranger, the owner of another workspace, a machine of that one with every permission
//!        | a member, an admin, an owner, an operator
//!        | machines with one permission: keys.verify, keys.read, keys.write, usage.read
//! ```
//!
//! `A`: let in, whatever comes of it. `U`: 401. `F`: 403. `N`: 404, as if it were not there.
//!
//! All is asked of one workspace, and of what its owner has made there for each call: `?workspace_id=` is added to routes that
//! take it, and in what is sent `$workspace` is its id, `$new` a name that nothing has, `$key` a key, `$email`, `$password` and
//! `$refresh` the login of somebody. A collection of things with ids of its own has a line in [`MADE`].

/// Of its workspace's people and nobody else's.
const READ: &str = "U NNN AAAA FAFF";
/// As above, and of machines that write.
const WRITE: &str = "U NNN AAAA FFAF";
/// What another has made.
const ANOTHERS: &str = "U NNN FAAA FFAF";
/// Of those above.
const MANAGE: &str = "U NNN FAAA FFFF";
/// As it is used.
const USAGE: &str = "U NNN AAAA FFFA";
/// Of those above, and of machines that write.
const WRITE_ABOVE: &str = "U NNN FAAA FFAF";
/// Of every person, about themselves.
const OWN: &str = "U AAF AAAA FFFF";
/// Of everybody.
const PUBLIC: &str = "A AAA AAAA AAAA";
/// Behind the turnstile, where access tokens are known and machines are not.
const PERSON: &str = "U AAU AAAA UUUU";
/// Behind the turnstile, where only keys are known.
const KEY: &str = "U UUU UUUU UUUU";

/// Route, rulings, what is sent.
pub(crate) const ROUTES: &[(&str, &str, &str)] = &[
    ("GET /.well-known/jwks.json", PUBLIC, ""),
    ("GET /docs", PUBLIC, ""),
    ("GET /livez", PUBLIC, ""),
    ("GET /openapi.json", PUBLIC, ""),
    ("GET /readyz", PUBLIC, ""),
    ("POST /v1/auth/signup", PUBLIC, r#"{"email":"$new@example.com","password":"$password"}"#),
    ("POST /v1/auth/login", PUBLIC, r#"{"email":"$email","password":"$password"}"#),
    ("POST /v1/auth/refresh", PUBLIC, r#"{"refresh_token":"$refresh"}"#),
    ("POST /v1/auth/logout", PUBLIC, r#"{"refresh_token":"$refresh"}"#),
    ("POST /v1/auth/logout-all", PUBLIC, r#"{"refresh_token":"$refresh"}"#),
    ("GET /v1/me", OWN, ""),
    ("GET /v1/workspaces", OWN, ""),
    ("POST /v1/workspaces", OWN, r#"{"name":"$new"}"#),
    ("GET /v1/workspaces/{id}", READ, ""),
    ("PATCH /v1/workspaces/{id}", MANAGE, r#"{"name":"$new"}"#),
    ("PATCH /v1/workspaces/{id}", "U NNN FFFA FFFF", r#"{"limits":[]}"#),
    ("PATCH /v1/workspaces/{id}", "U NNN FFFA FFFF", r#"{"enabled":true}"#),
    ("GET /v1/workspaces/{id}/policy", MANAGE, ""),
    ("PATCH /v1/workspaces/{id}/policy", MANAGE, "{}"),
    ("GET /v1/workspaces/{id}/members", "U NNN AAAA FFFF", ""),
    ("PATCH /v1/workspaces/{id}/members/{user_id}", MANAGE, r#"{"role":"admin"}"#),
    ("PATCH /v1/workspaces/{id}/members/{user_id}", "U NNN FFAA FFFF", r#"{"role":"owner"}"#),
    ("DELETE /v1/workspaces/{id}/members/{user_id}", MANAGE, ""),
    ("GET /v1/workspaces/{id}/invitations", MANAGE, ""),
    ("POST /v1/workspaces/{id}/invitations", MANAGE, r#"{"email":"$new@example.com","role":"admin"}"#),
    (
        "POST /v1/workspaces/{id}/invitations",
        "U NNN FFAA FFFF",
        r#"{"email":"$new@example.com","role":"owner"}"#,
    ),
    ("DELETE /v1/workspaces/{id}/invitations/{invitation_id}", MANAGE, ""),
    // A token that there is not: nobody may know.
    ("POST /v1/invitations/accept", "U NNF NNNN FFFF", r#"{"token":"$new"}"#),
    ("GET /v1/audit-events", MANAGE, ""),
    ("GET /v1/plans", "U NNN AAAA FAAF", ""),
    ("POST /v1/plans", MANAGE, r#"{"name":"$new","workspace_id":"$workspace"}"#),
    ("GET /v1/plans/{id}", "U NNN AAAA FAAF", ""),
    ("PATCH /v1/plans/{id}", MANAGE, r#"{"name":"$new"}"#),
    ("DELETE /v1/plans/{id}", MANAGE, ""),
    ("GET /v1/consumers", READ, ""),
    ("POST /v1/consumers", WRITE, r#"{"name":"$new","workspace_id":"$workspace"}"#),
    ("GET /v1/consumers/{id}", READ, ""),
    ("PATCH /v1/consumers/{id}", WRITE, r#"{"enabled":false}"#),
    ("DELETE /v1/consumers/{id}", WRITE, ""),
    ("GET /v1/roles", READ, ""),
    ("POST /v1/roles", MANAGE, r#"{"name":"$new","workspace_id":"$workspace"}"#),
    ("GET /v1/roles/{id}", READ, ""),
    ("PATCH /v1/roles/{id}", MANAGE, r#"{"scopes":["a"]}"#),
    ("DELETE /v1/roles/{id}", MANAGE, ""),
    ("GET /v1/keys", READ, ""),
    ("POST /v1/keys", WRITE, r#"{"name":"$new","workspace_id":"$workspace"}"#),
    // Any person may ask about a key that they hold; of one that is not theirs they hear that there is none.
    ("POST /v1/keys/verify", "U AAA AAAA AFFF", r#"{"key":"$key"}"#),
    ("GET /v1/keys/{id}", READ, ""),
    ("PATCH /v1/keys/{id}", ANOTHERS, r#"{"enabled":false}"#),
    ("DELETE /v1/keys/{id}", ANOTHERS, ""),
    ("POST /v1/keys/{id}/rotate", ANOTHERS, "{}"),
    ("GET /v1/keys/{id}/secrets", READ, ""),
    ("DELETE /v1/keys/{id}/secrets/{secret_id}", ANOTHERS, ""),
    ("GET /v1/keys/{id}/overrides", READ, ""),
    (
        "POST /v1/keys/{id}/overrides",
        ANOTHERS,
        r#"{"name":"minute","limit":1,"expires_at":"2026-01-02T00:00:00Z"}"#,
    ),
    ("DELETE /v1/keys/{id}/overrides/{name}", ANOTHERS, ""),
    ("GET /v1/keys/{id}/usage", USAGE, ""),
    ("GET /v1/consumers/{id}/usage", USAGE, ""),
    ("GET /v1/usage", USAGE, ""),
    ("GET /v1/keys/{id}/credits", READ, ""),
    ("PUT /v1/keys/{id}/credits", WRITE_ABOVE, "{}"),
    ("DELETE /v1/keys/{id}/credits", WRITE_ABOVE, ""),
    ("POST /v1/keys/{id}/credits/grants", WRITE_ABOVE, r#"{"amount":1,"request_id":"$new"}"#),
    ("GET /v1/keys/{id}/credits/ledger", READ, ""),
    ("GET /v1/consumers/{id}/credits", READ, ""),
    ("PUT /v1/consumers/{id}/credits", WRITE_ABOVE, "{}"),
    ("DELETE /v1/consumers/{id}/credits", WRITE_ABOVE, ""),
    ("POST /v1/consumers/{id}/credits/grants", WRITE_ABOVE, r#"{"amount":1,"request_id":"$new"}"#),
    ("GET /v1/consumers/{id}/credits/ledger", READ, ""),
    // Of a call that there was not: who may not ask about the workspace hears the same.
    (
        "POST /v1/credits/settle",
        "U NNN NNNN NFFF",
        r#"{"request_id":"$new","cost":1,"workspace_id":"$workspace"}"#,
    ),
    ("POST /v1/credits/refund", "U NNN NNNN NFFF", r#"{"request_id":"$new","workspace_id":"$workspace"}"#),
    (
        "POST /v1/keys/import",
        WRITE_ABOVE,
        r#"{"rows":[{"hash":"9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f","name":"$new"}],"workspace_id":"$workspace"}"#,
    ),
    // A machine needs a permission of its own.
    ("GET /v1/keys/export", "U NNN FFAA FFFF", ""),
    ("POST /v1/keys/revoke", WRITE_ABOVE, r#"{"all":true,"dry_run":true,"workspace_id":"$workspace"}"#),
    ("GET /v1/keys/{id}/rotation", READ, ""),
    ("PUT /v1/keys/{id}/rotation", ANOTHERS, r#"{"every_days":30}"#),
    ("DELETE /v1/keys/{id}/rotation", ANOTHERS, ""),
    ("GET /v1/webhooks", MANAGE, ""),
    (
        "POST /v1/webhooks",
        MANAGE,
        r#"{"url":"https://example.com/$new","events":["key.created"],"workspace_id":"$workspace"}"#,
    ),
    ("GET /v1/webhooks/{id}", MANAGE, ""),
    ("PATCH /v1/webhooks/{id}", MANAGE, r#"{"description":"$new"}"#),
    ("DELETE /v1/webhooks/{id}", MANAGE, ""),
    ("GET /v1/webhooks/{id}/deliveries", MANAGE, ""),
    ("POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay", MANAGE, ""),
    ("POST /v1/webhooks/{id}/rotate-secret", MANAGE, "{}"),
    ("POST /v1/webhooks/{id}/test", MANAGE, ""),
    // It is switched off, and who asks is known by a signature.
    ("POST /v1/secret-scanning/github", "N NNN NNNN NNNN", "[]"),
    ("GET /v1/service-keys", MANAGE, ""),
    (
        "POST /v1/service-keys",
        MANAGE,
        r#"{"name":"$new","permissions":["keys.verify"],"workspace_id":"$workspace"}"#,
    ),
    ("DELETE /v1/service-keys/{id}", MANAGE, ""),
    ("GET /v1/whoami", PERSON, ""),
    ("GET /v1/whoami/user", PERSON, ""),
    ("GET /v1/whoami/key", KEY, ""),
    ("GET /v1/gate", PERSON, ""),
    ("HEAD /v1/gate", PERSON, ""),
    ("POST /v1/gate", PERSON, ""),
    ("PUT /v1/gate", PERSON, ""),
    ("PATCH /v1/gate", PERSON, ""),
    ("DELETE /v1/gate", PERSON, ""),
    ("OPTIONS /v1/gate", PERSON, ""),
];

/// What the `{id}` behind `/v1/<collection>/` is of: the body that makes a new one there.
pub(crate) const MADE: &[(&str, &str)] = &[
    ("plans", r#"{"name":"$new","workspace_id":"$workspace"}"#),
    ("consumers", r#"{"name":"$new","workspace_id":"$workspace"}"#),
    ("roles", r#"{"name":"$new","workspace_id":"$workspace"}"#),
    ("keys", r#"{"name":"$new","workspace_id":"$workspace"}"#),
    ("service-keys", r#"{"name":"$new","permissions":["keys.verify"],"workspace_id":"$workspace"}"#),
    (
        "webhooks",
        r#"{"url":"https://example.com/$new","events":["key.created"],"workspace_id":"$workspace"}"#,
    ),
];
