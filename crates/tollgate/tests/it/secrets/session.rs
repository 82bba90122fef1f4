//! What people do who do all of it right, or nearly. Every answer is heard, but for the secrets that it gives.

use http::Method;
use serde_json::{Value, json};
use tollgate_kernel::{ExposeSecret as _, OsEntropy};
use tollgate_proto::{
    gate::{VerifyKeyRequest, gate_client::GateClient},
    keys::{ListKeysRequest, keys_client::KeysClient},
};
use tollgate_verify::{KeyKind, mint};
use tonic::{Request, metadata::AsciiMetadataValue, transport::Endpoint};

use super::{deployment::Deployment, vault::Vault};
use crate::{
    actors::{email, password},
    http::{Call, Client},
    imports::sha256,
    process::run,
};

/// A key that was made elsewhere. Its first characters are known to people.
const FOREIGN: &str = "sk_live_Zt7Qm2Lx9RvB4nHs6Kd1PwYc3Jf8";

/// Somebody who does many things, and remembers all that they hear.
pub(super) struct Session {
    pub(super) vault: Vault,
    pub(super) http: Client,
    hook: String,
    email: String,
    password: String,
    pub(super) workspace: String,
    pub(super) access: String,
    refresh: String,
    key: String,
    pub(super) key_id: String,
    service: String,
}

impl Session {
    /// Signs up and logs in. What happens to keys is told to `hook`.
    pub(super) async fn start(deployment: &Deployment, hook: &str) -> Self {
        let mut vault = Vault::default();
        for file in ["master_key", "mesh_token"] {
            let text = std::fs::read_to_string(deployment.dir.path().join("secrets").join(file));
            vault.keep(file, text.expect("it was made").trim());
        }
        let none = String::new;
        let mut session = Self {
            vault,
            http: deployment.http(),
            hook: hook.to_owned(),
            email: email(),
            password: password(),
            workspace: none(),
            access: none(),
            refresh: none(),
            key: none(),
            key_id: none(),
            service: none(),
        };
        // Of a passphrase the words are no secret here.
        session.vault.keep("a password", session.password.rsplit(' ').next().unwrap_or_default());
        let body = json!({ "email": session.email, "password": session.password });
        let made = session.post("/v1/auth/signup", &body, &[]).await;
        session.workspace = made["workspace"]["id"].as_str().unwrap().to_owned();
        session.log_in().await;
        session
    }

    /// Sends it and hears the answer, without the secrets in these fields, if they are there.
    pub(super) async fn ask(&mut self, call: Call, gives: &[&str]) -> Value {
        let answer = call.await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut heard = said.clone();
        for field in gives {
            if let Some(Value::String(secret)) = heard.get_mut(*field).map(Value::take) {
                self.vault.keep(field, &secret);
            }
        }
        let text = if said.is_null() { answer.text() } else { heard.to_string() };
        self.vault.hear(format!("an answer, {}", answer.status), format!("{:?} {text}", answer.headers));
        said
    }

    pub(super) fn call(&self, method: Method, path: &str) -> Call {
        self.http.call(method, path).bearer(&self.access)
    }

    async fn post(&mut self, path: &str, body: &Value, gives: &[&str]) -> Value {
        // Before the first login there is nobody.
        let call = self.http.call(Method::POST, path);
        let call = if self.access.is_empty() { call } else { call.bearer(&self.access) };
        self.ask(call.json(body), gives).await
    }

    async fn get(&mut self, path: &str) -> Value {
        self.ask(self.call(Method::GET, path), &[]).await
    }

    async fn log_in(&mut self) {
        let body = json!({ "email": self.email, "password": self.password });
        let call = self.http.call(Method::POST, "/v1/auth/login").json(&body);
        let tokens = self.ask(call, &["access_token", "refresh_token"]).await;
        self.took(&tokens);
    }

    fn took(&mut self, tokens: &Value) {
        for (token, field) in [(&mut self.access, "access_token"), (&mut self.refresh, "refresh_token")] {
            tokens[field].as_str().expect("a token").clone_into(token);
        }
    }

    /// Sessions, and who is in the workspace.
    pub(super) async fn people(&mut self) {
        let wrong = json!({ "email": self.email, "password": format!("{}x", self.password) });
        self.post("/v1/auth/login", &wrong, &[]).await;
        let before = json!({ "refresh_token": self.refresh });
        let tokens = self.post("/v1/auth/refresh", &before, &["access_token", "refresh_token"]).await;
        self.took(&tokens);
        // Once more: the answer was lost, or somebody has copied it.
        let again = self.post("/v1/auth/refresh", &before, &["access_token", "refresh_token"]).await;
        assert!(again["access_token"].is_string(), "{again}");
        let (address, words) = (email(), password());
        self.vault.keep("a password", words.rsplit(' ').next().unwrap_or_default());
        self.post("/v1/auth/signup", &json!({ "email": address, "password": words }), &[]).await;
        let login = json!({ "email": address, "password": words });
        let tokens = self.post("/v1/auth/login", &login, &["access_token", "refresh_token"]).await;
        let invitations = format!("/v1/workspaces/{}/invitations", self.workspace);
        let body = json!({ "email": address, "role": "member" });
        let invited = self.post(&invitations, &body, &["token"]).await;
        let accept = |token: String, by: &Value| {
            let call = self.http.call(Method::POST, "/v1/invitations/accept");
            call.bearer(by["access_token"].as_str().unwrap()).json(&json!({ "token": token }))
        };
        let token = invited["token"].as_str().expect("a token").to_owned();
        let calls =
            [accept(format!("{token}x"), &tokens), accept(token.clone(), &tokens), accept(token, &tokens)];
        for call in calls {
            self.ask(call, &[]).await;
        }
        self.post("/v1/auth/logout", &json!({ "refresh_token": tokens["refresh_token"] }), &[]).await;
        let ended = self.http.call(Method::GET, "/v1/me").bearer(tokens["access_token"].as_str().unwrap());
        self.ask(ended, &[]).await;
    }

    /// Keys of all kinds from their beginning to their end, with a webhook that hears of them.
    pub(super) async fn keys(&mut self) {
        let hook = json!({ "url": self.hook, "events": ["key.created", "key.rotated", "key.revoked"] });
        let hook = self.post("/v1/webhooks", &hook, &["secret"]).await;
        let hook = format!("/v1/webhooks/{}", hook["id"].as_str().expect("it was made"));
        self.post(&format!("{hook}/rotate-secret"), &json!({}), &["secret"]).await;
        let permissions = ["keys.verify", "keys.read", "keys.write", "usage.read", "keys.export"];
        let body = json!({ "name": "my api", "permissions": permissions });
        let service = self.post("/v1/service-keys", &body, &["key"]).await;
        service["key"].as_str().expect("a key").clone_into(&mut self.service);
        let other = self.post("/v1/service-keys", &body, &["key"]).await;
        let ended = self.call(Method::DELETE, &format!("/v1/service-keys/{}", other["id"].as_str().unwrap()));
        self.ask(ended, &[]).await;
        self.verify(other["key"].as_str().unwrap(), other["key"].as_str().unwrap()).await;

        let made = self.post("/v1/keys", &json!({ "name": "a" }), &["key"]).await;
        made["key"].as_str().expect("a key").clone_into(&mut self.key);
        made["id"].as_str().expect("an id").clone_into(&mut self.key_id);
        let test = self.post("/v1/keys", &json!({ "name": "b", "environment": "test" }), &["key"]).await;
        let call = self.call(Method::POST, "/v1/keys").header("idempotency-key", "once");
        let once = call.json(&json!({ "name": "once" }));
        self.ask(once, &["key"]).await;
        let path = format!("/v1/keys/{}", self.key_id);
        let grace = json!({ "grace_seconds": 3600 });
        let rotated = self.post(&format!("{path}/rotate"), &grace, &["key"]).await;
        let rotated = rotated["key"].as_str().expect("a key").to_owned();
        let unknown = mint(KeyKind::Live, &OsEntropy).key.expose_secret().to_owned();
        self.vault.keep("an unknown key", &unknown);
        let (service, first, wrong) = (self.service.clone(), self.key.clone(), format!("{rotated}x"));
        for key in [&*first, &*rotated, test["key"].as_str().unwrap(), &*unknown, &*wrong] {
            self.verify(&service, key).await;
            self.presented(key).await;
        }
        for (method, path, body) in [
            (Method::PATCH, path.clone(), json!({ "scopes": ["a.b"], "metadata": { "a": 1 } })),
            (Method::PUT, format!("{path}/credits"), json!({})),
            (Method::PUT, format!("{path}/rotation"), json!({ "every_days": 30 })),
            (Method::POST, format!("/v1/keys/{}/rotate", test["id"].as_str().unwrap()), json!({})),
            (Method::POST, format!("{hook}/test"), json!({})),
        ] {
            let call = self.call(method, &path).json(&body);
            self.ask(call, &["key"]).await;
        }
        let ended = self.call(Method::DELETE, &format!("/v1/keys/{}", test["id"].as_str().unwrap()));
        self.ask(ended, &[]).await;
        let test = test["key"].as_str().unwrap();
        self.verify(&service, test).await;
        self.presented(test).await;
        self.told(&hook).await;
    }

    /// Waits until the webhook has heard all.
    async fn told(&mut self, hook: &str) {
        loop {
            let list = self.get(&format!("{hook}/deliveries?limit=100")).await;
            let list = list["data"].as_array().expect("a list");
            if !list.is_empty() && list.iter().all(|it| it["status"] == "delivered") {
                return;
            }
        }
    }

    /// Asks about a key as an API does.
    async fn verify(&mut self, service: &str, key: &str) {
        let call = self.http.call(Method::POST, "/v1/keys/verify").bearer(service);
        self.ask(call.json(&json!({ "key": key, "scopes": ["c.d"] })), &[]).await;
    }

    /// Shows a key to all doors, in all ways.
    async fn presented(&mut self, key: &str) {
        for path in ["/v1/whoami", "/v1/whoami/key", "/v1/gate", "/v1/me", "/v1/keys"] {
            let call = || self.http.call(Method::GET, path);
            let calls = [call().api_key(key), call().bearer(key), call().api_key(key).bearer(key)];
            for call in calls {
                self.ask(call, &[]).await;
            }
        }
    }

    /// A table of keys, by the command line; and one that has the keys themselves in it.
    pub(super) async fn imports(&mut self, deployment: &Deployment) {
        self.vault.keep("an imported key", &FOREIGN[12..]);
        let dir = crate::process::empty();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).expect("written");
        write("good.csv", format!("name,key_hash,prefix\na,{},{}\n", sha256(FOREIGN), &FOREIGN[..12]));
        write("column.csv", format!("name,key_hash,api_key\na,{},{FOREIGN}\n", sha256(FOREIGN)));
        write(
            "cell.csv",
            format!("name,key_hash,expires_at\na,{FOREIGN},{FOREIGN}\nb,{},{FOREIGN}\n", sha256("b")),
        );
        write(
            "cell.ndjson",
            format!("{{\"hash\":\"{FOREIGN}\"}}\n{{\"{}\":1}}\n{{\"hash\":\"{FOREIGN}\n", self.key),
        );
        let server = format!("http://{}", deployment.gate());
        let service = self.service.clone();
        let mut tell = |arguments: &[&str], service: &str, input: &str| {
            let all = [&["keys", "--server", &server][..], arguments].concat();
            let said = run(dir.path(), &all, &[("TOLLGATE_SERVICE_KEY", service)], input);
            // One command prints a key that it has made.
            let made =
                said.out.split_whitespace().find(|word| word.starts_with("tg_live_") && word.len() > 60);
            if let (Some(made), Some(&"create")) = (made, arguments.first()) {
                self.vault.keep("a key of the command line", made);
                self.vault.hear("a command", said.out.replace(made, ""));
            } else {
                self.vault.hear("a command", said.out);
            }
            self.vault.hear("a command", said.err);
            said.code
        };
        assert_eq!(tell(&["import", "good.csv"], &service, ""), 0);
        for arguments in [
            &["import", "column.csv"][..],
            &["import", "cell.csv", "--report", "report.ndjson"],
            &["import", "cell.ndjson"],
            &["list"],
            &["create", "by hand"],
        ] {
            tell(arguments, &service, "");
        }
        let (ours, wrong) = (self.key.clone(), format!("{FOREIGN}x"));
        for key in [FOREIGN, &*ours, &*wrong] {
            tell(&["verify"], &service, &format!("{key}\n"));
        }
        tell(&["list"], &format!("{service}x"), "");
        assert_eq!(tell(&["export", "all.ndjson"], &service, ""), 0);
        for file in ["all.ndjson", "report.ndjson"] {
            let text = std::fs::read_to_string(dir.path().join(file)).expect("it was written");
            self.vault.hear(file, text);
        }
        self.verify(&service, FOREIGN).await;
        self.presented(FOREIGN).await;
    }

    /// The Gate and management over gRPC, with credentials that are good and that are not.
    pub(super) async fn rpcs(&mut self, deployment: &Deployment) {
        let endpoint = Endpoint::from_shared(format!("http://{}", deployment.gate())).expect("an address");
        let channel = endpoint.connect().await.expect("the Gate listens");
        let (mut gate, mut keys) = (GateClient::new(channel.clone()), KeysClient::new(channel));
        for shown in [&self.service, &self.key, &self.refresh, &format!("{}x", self.service)] {
            let header: AsciiMetadataValue = format!("Bearer {shown}").parse().expect("visible ASCII");
            let ask = VerifyKeyRequest { key: self.key.clone(), ..VerifyKeyRequest::default() };
            let (mut ask, mut list) = (Request::new(ask), Request::new(ListKeysRequest::default()));
            ask.metadata_mut().insert("authorization", header.clone());
            list.metadata_mut().insert("authorization", header);
            list.metadata_mut().insert("x-request-id", shown.parse().expect("visible ASCII"));
            self.vault.hear("an answer of the Gate", format!("{:?}", gate.verify_key(ask).await));
            self.vault.hear("an answer of the Gate", format!("{:?}", keys.list_keys(list).await));
        }
    }

    /// A secret of each kind, and whether it is one of ours by its looks.
    pub(super) fn some_of_each(&self) -> Vec<(String, bool)> {
        let ours = [&self.key, &self.service, &self.access, &self.refresh];
        let ours = ours.into_iter().map(|it| (it.clone(), true));
        ours.chain([(FOREIGN.to_owned(), false)]).collect()
    }

    /// Reads all that is kept of what was done.
    pub(super) async fn looks_around(&mut self) {
        let mut next = "/v1/audit-events?limit=100".to_owned();
        loop {
            let page = self.get(&next).await;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("/v1/audit-events?limit=100&cursor={cursor}");
        }
        for path in ["", "/usage", "/secrets", "/overrides", "/credits", "/credits/ledger", "/rotation"] {
            self.get(&format!("/v1/keys/{}{path}", self.key_id)).await;
        }
        let members = format!("/v1/workspaces/{}/members", self.workspace);
        let invitations = format!("/v1/workspaces/{}/invitations", self.workspace);
        let lists = ["/v1/keys", "/v1/service-keys", "/v1/webhooks", "/v1/usage", "/v1/workspaces", "/v1/me"];
        for path in lists.into_iter().chain([&*members, &*invitations, "/.well-known/jwks.json", "/readyz"]) {
            self.get(path).await;
        }
    }

    /// Does what needs the stores, which are gone.
    pub(super) async fn without_stores(&mut self, deployment: &Deployment) {
        let unknown = mint(KeyKind::Live, &OsEntropy).key.expose_secret().to_owned();
        self.vault.keep("an unknown key", &unknown);
        let service = self.service.clone();
        let ours = self.key.clone();
        for key in [&*ours, &*unknown, FOREIGN] {
            self.verify(&service, key).await;
            let call = self.http.call(Method::GET, "/v1/whoami").api_key(key);
            self.ask(call, &[]).await;
        }
        let rotate = format!("/v1/keys/{}/rotate", self.key_id);
        let login = json!({ "email": self.email, "password": self.password });
        let refresh = json!({ "refresh_token": self.refresh });
        for (path, body) in [
            ("/v1/keys", json!({ "name": "lost" })),
            (&*rotate, json!({})),
            ("/v1/auth/login", login),
            ("/v1/auth/refresh", refresh.clone()),
            ("/v1/invitations/accept", json!({ "token": format!("tg_inv_{}", "a".repeat(43)) })),
            ("/v1/auth/logout", refresh),
        ] {
            self.post(path, &body, &["key", "access_token", "refresh_token"]).await;
        }
        self.rpcs(deployment).await;
    }
}
