//! Who uses the system: users, their keys and service keys. Each knows how it presents itself, and tells the app its
//! secrets, so that the logs can be searched for them.

use http::Method;
use serde_json::{Value, json};
use tollgate_kernel::{Entropy, OsEntropy};

use crate::{
    app::TestApp,
    http::{Answer, Call},
    process,
};

/// A new e-mail address.
pub(crate) fn email() -> String {
    format!("user-{}@example.com", random())
}

/// A new password that every rule allows.
pub(crate) fn password() -> String {
    format!("a long passphrase {}", random())
}

fn random() -> String {
    let entropy: &dyn Entropy = &OsEntropy;
    format!("{:016x}", u64::from_be_bytes(entropy.bytes()))
}

/// A person who has signed up and logged in.
pub(crate) struct User<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) id: String,
    pub(crate) workspace_id: String,
    pub(crate) tokens: Tokens,
}

/// What a login gives.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) session_id: String,
}

impl Tokens {
    /// Out of the answer to a login or a refresh.
    #[track_caller]
    pub(crate) fn of(app: &TestApp, answer: &Answer) -> Self {
        let body = answer.json(200);
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("{name}: {body}")).to_owned();
        let tokens = Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
            session_id: text("session_id"),
        };
        app.secret("an access token", &tokens.access);
        app.secret("a refresh token", &tokens.refresh);
        tokens
    }
}

impl TestApp {
    /// A new user, logged in.
    pub(crate) async fn user(&self) -> User<'_> {
        let (email, password) = (email(), password());
        self.secret("a password", &password);
        let answer = self.sign_up(&email, &password).await.json(201);
        let tokens = self.log_in(&email, &password).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, workspace_id) = (text(&answer["user"]["id"]), text(&answer["workspace"]["id"]));
        User { app: self, email, password, id, workspace_id, tokens }
    }

    /// A new operator, made beside the running system, and logged in.
    pub(crate) async fn operator(&self) -> User<'_> {
        let (email, password) = (email(), password());
        self.secret("a password", &password);
        let (settings, address, line) = (self.store_settings(), email.clone(), format!("{password}\n"));
        let made = tokio::task::spawn_blocking(move || {
            let variables: Vec<_> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
            let dir = process::empty();
            process::run(dir.path(), &["operator", "create", "--email", &address], &variables, &line)
        });
        let made = made.await.expect("no panic");
        assert_eq!(made.code, 0, "{}", made.err);
        let tokens = self.log_in(&email, &password).await;
        let id = self.get("/v1/me").bearer(&tokens.access).await.json(200)["id"].as_str().unwrap().to_owned();
        // Made on first need.
        self.get("/v1/plans").bearer(&tokens.access).await.json(200);
        let workspaces = self.get("/v1/workspaces").bearer(&tokens.access).await.json(200);
        let workspace_id = workspaces["data"][0]["id"].as_str().unwrap().to_owned();
        User { app: self, email, password, id, workspace_id, tokens }
    }

    pub(crate) fn sign_up(&self, email: &str, password: &str) -> Call {
        self.post("/v1/auth/signup").json(&json!({ "email": email, "password": password }))
    }

    /// Logs in, which must work.
    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Tokens {
        let body = json!({ "email": email, "password": password });
        Tokens::of(self, &self.post("/v1/auth/login").json(&body).await)
    }
}

impl<'a> User<'a> {
    pub(crate) fn get(&self, path: &str) -> Call {
        self.app.get(path).bearer(&self.tokens.access)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        self.app.post(path).bearer(&self.tokens.access).json(body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Call {
        self.app.call(Method::PATCH, path).bearer(&self.tokens.access).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.app.delete(path).bearer(&self.tokens.access)
    }

    /// A consumer that was made of this.
    pub(crate) async fn consumer(&self, body: Value) -> Value {
        self.post("/v1/consumers", &body).await.json(201)
    }

    /// The id of the plan with this name.
    pub(crate) async fn plan(&self, name: &str) -> Value {
        let plans = self.get("/v1/plans").await.json(200);
        let plan = plans["data"].as_array().unwrap().iter().find(|plan| plan["name"] == name);
        plan.expect("there is such a plan")["id"].clone()
    }

    /// The same user with a new login, for a test that has outlived the access token.
    pub(crate) async fn again(self) -> Self {
        Self { tokens: self.app.log_in(&self.email, &self.password).await, ..self }
    }

    /// A key to be.
    pub(crate) fn key(&self) -> NewKey<'a, '_> {
        NewKey { user: self, body: json!({ "name": "a key" }) }
    }

    /// A service key with these permissions.
    pub(crate) async fn service_key(&self, permissions: &[&str]) -> ServiceKey<'a> {
        let body = json!({ "name": "a service", "permissions": permissions });
        let created = self.post("/v1/service-keys", &body).await.json(201);
        let key = created["key"].as_str().expect("shown once").to_owned();
        self.app.secret("a service key", &key);
        ServiceKey { app: self.app, id: created["id"].as_str().unwrap().to_owned(), key }
    }

    /// The verdict on `key`, as this user's own API asks for it.
    pub(crate) async fn verify(&self, key: &str) -> Value {
        self.post("/v1/keys/verify", &json!({ "key": key })).await.json(200)
    }

    /// The usage of a key so far, by code.
    pub(crate) async fn usage(&self, key: &Key<'_>) -> Value {
        self.app.drain_usage().await;
        self.get(&format!("/v1/keys/{}/usage", key.id)).await.json(200)
    }
}

/// A key to be: what is to be said at its making.
pub(crate) struct NewKey<'a, 'u> {
    user: &'u User<'a>,
    body: Value,
}

impl<'a> NewKey<'a, '_> {
    /// One more limit of its own.
    pub(crate) fn limit(mut self, limit: u64, window_seconds: u32) -> Self {
        let name = format!("per-{window_seconds}");
        let limits = self.body.as_object_mut().unwrap().entry("limits").or_insert(json!([]));
        let limit = json!({ "name": name, "limit": limit, "window_seconds": window_seconds });
        limits.as_array_mut().unwrap().push(limit);
        self
    }

    /// Any field.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.body[field] = value;
        self
    }

    pub(crate) async fn create(self) -> Key<'a> {
        let created = self.user.post("/v1/keys", &self.body).await.json(201);
        let key = created["key"].as_str().expect("shown once").to_owned();
        self.user.app.secret("a key", &key);
        Key { app: self.user.app, id: created["id"].as_str().unwrap().to_owned(), key, created }
    }
}

/// A key that was made.
#[expect(clippy::struct_field_names, reason = "a key is an id and a key, as the API has it")]
pub(crate) struct Key<'a> {
    app: &'a TestApp,
    pub(crate) id: String,
    pub(crate) key: String,
    /// The answer to its making.
    pub(crate) created: Value,
}

impl Key<'_> {
    /// Its address.
    pub(crate) fn path(&self) -> String {
        format!("/v1/keys/{}", self.id)
    }

    /// A call to a protected route with it.
    pub(crate) fn whoami(&self) -> Call {
        self.app.get("/v1/whoami/key").api_key(&self.key)
    }
}

/// A service key that was made.
pub(crate) struct ServiceKey<'a> {
    app: &'a TestApp,
    pub(crate) id: String,
    pub(crate) key: String,
}

impl ServiceKey<'_> {
    pub(crate) fn get(&self, path: &str) -> Call {
        self.app.get(path).bearer(&self.key)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        self.app.post(path).bearer(&self.key).json(body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Call {
        self.app.call(Method::PATCH, path).bearer(&self.key).json(body)
    }

    /// The verdict on `key`.
    pub(crate) async fn verify(&self, key: &str) -> Value {
        self.post("/v1/keys/verify", &json!({ "key": key })).await.json(200)
    }

    /// A message to the Gate with this service key.
    pub(crate) fn asks<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        let value = format!("Bearer {}", self.key).parse().expect("visible ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }
}
