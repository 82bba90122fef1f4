//! Every route of the OpenAPI document, called by everybody that there is: what [`super::authorization_table`] says is so.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

use http::Method;
use serde_json::{Value, json};

use crate::{
    actors::User,
    app::TestApp,
    authorization_table::{MADE, ROUTES},
    docs::operations,
    http::Answer,
};

const PERMISSIONS: [&str; 4] = ["keys.verify", "keys.read", "keys.write", "usage.read"];

/// A workspace with everybody who may want something of it.
struct World<'a> {
    app: &'a TestApp,
    document: Value,
    owner: User<'a>,
    workspace: String,
    /// In the order of the letters of a line: name, and what it shows.
    callers: Vec<(String, Option<String>)>,
    names: AtomicU32,
}

impl<'a> World<'a> {
    async fn new(app: &'a TestApp) -> Self {
        let document = app.get("/openapi.json").await.json(200);
        let (owner, operator) = (app.user().await, app.operator().await);
        let workspace = owner.workspace("the workspace").await;
        let (stranger, other) = (app.user().await, app.user().await);
        let elsewhere = other.workspace("elsewhere").await;
        let mut callers = vec![
            ("nobody".to_owned(), None),
            ("a stranger".to_owned(), Some(stranger.tokens.access)),
            ("the owner of another".to_owned(), Some(other.tokens.access.clone())),
            ("a machine of another".to_owned(), Some(other.machine(&elsewhere, &PERMISSIONS).await)),
        ];
        for role in ["member", "admin"] {
            let user = app.user().await;
            owner.takes_in(&workspace, &user, role).await;
            callers.push((role.to_owned(), Some(user.tokens.access)));
        }
        callers.push(("owner".to_owned(), Some(owner.tokens.access.clone())));
        callers.push(("operator".to_owned(), Some(operator.tokens.access)));
        for permission in PERMISSIONS {
            let machine = owner.machine(&workspace, &[permission]).await;
            callers.push((permission.to_owned(), Some(machine)));
        }
        Self { app, document, owner, workspace, callers, names: AtomicU32::new(0) }
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        self.document["paths"][path].get(method.to_lowercase())
    }

    /// What a line says is sent, with all that it names.
    async fn filled(&self, text: &str) -> String {
        let new = format!("n{}", self.names.fetch_add(1, Ordering::Relaxed));
        let mut text = text.replace("$new", &new).replace("$workspace", &self.workspace);
        if ["$email", "$password", "$refresh"].iter().any(|it| text.contains(it)) {
            // A new one each time: who logs in too often is turned away.
            let somebody = self.app.user().await;
            text = text.replace("$email", &somebody.email).replace("$password", &somebody.password);
            text = text.replace("$refresh", &somebody.tokens.refresh);
        }
        if text.contains("$key") {
            let body = json!({ "name": "a", "workspace_id": self.workspace });
            let key = self.owner.post("/v1/keys", &body).await.json(201);
            text = text.replace("$key", key["key"].as_str().unwrap());
        }
        assert!(!text.contains('$'), "{text}: what is this?");
        text
    }

    /// The address of something that was just made for this path.
    async fn address(&self, path: &str) -> String {
        let mut address = path.to_owned();
        if path.contains("{id}") {
            let collection = path.split('/').nth(2).unwrap_or_default();
            let id = if collection == "workspaces" {
                self.workspace.clone()
            } else {
                if collection == "webhooks" {
                    self.make_room(collection).await;
                }
                let made = MADE.iter().find(|(name, _)| *name == collection);
                let (_, body) = made.unwrap_or_else(|| panic!("{path}: say in MADE what `{collection}` is"));
                let body: Value = serde_json::from_str(&self.filled(body).await).expect("JSON");
                let made = self.owner.post(&format!("/v1/{collection}"), &body).await.json(201);
                made["id"].as_str().unwrap().to_owned()
            };
            address = address.replace("{id}", &id);
        }
        // What a thing has one of, and has not from the beginning.
        for (part, body) in [("/credits", json!({})), ("/rotation", json!({ "every_days": 30 }))] {
            if let Some((thing, _)) = address.split_once(part)
                && path.contains("{id}")
            {
                let put = self.app.call(Method::PUT, &format!("{thing}{part}")).json(&body);
                put.bearer(&self.owner.tokens.access).await.json(200);
            }
        }
        if path.contains("{user_id}") {
            let user = self.app.user().await;
            self.owner.takes_in(&self.workspace, &user, "member").await;
            address = address.replace("{user_id}", &user.id);
        }
        if path.contains("{invitation_id}") {
            let (id, _) = self.owner.invites(&self.workspace, "somebody@example.com", "member").await;
            address = address.replace("{invitation_id}", &id);
        }
        if let Some((secrets, _)) = address.split_once("/{secret_id}") {
            let listed = self.owner.get(secrets).await.json(200);
            address = address.replace("{secret_id}", listed["data"][0]["id"].as_str().unwrap());
        }
        if let Some((webhook, _)) = address.split_once("/deliveries/{delivery_id}") {
            let told = self.owner.post(&format!("{webhook}/test"), &json!({})).await.json(202);
            address = address.replace("{delivery_id}", told["id"].as_str().unwrap());
        }
        address = address.replace("{name}", "minute");
        assert!(!address.contains('{'), "{address}: say here what this is");
        address
    }

    /// Removes what is there, of which a workspace may have few.
    async fn make_room(&self, collection: &str) {
        let listed =
            self.owner.get(&format!("/v1/{collection}?workspace_id={}", self.workspace)).await.json(200);
        for it in listed["data"].as_array().unwrap() {
            let gone = self.owner.delete(&format!("/v1/{collection}/{}", it["id"].as_str().unwrap())).await;
            assert!(gone.status.is_success(), "{}", gone.text());
        }
    }

    /// What may be seen of the thing, and of what is around it, by its owner.
    async fn seen(&self, path: &str, address: &str) -> Vec<String> {
        let mut seen = Vec::new();
        // A delivery goes on by itself.
        if path.contains("{delivery_id}") {
            return seen;
        }
        let places = path.match_indices('/').map(|(place, _)| place).chain([path.len()]);
        for place in places.filter(|place| path[..*place].contains('}')) {
            let Some(look) = self.operation("get", &path[..place]) else { continue };
            let depth = path[..place].matches('/').count() + 1;
            let mut at = address.split('/').take(depth).collect::<Vec<_>>().join("/");
            let parameters = look["parameters"].as_array().into_iter().flatten();
            if parameters.into_iter().any(|it| it["name"] == "limit") {
                at.push_str("?limit=100");
            }
            seen.push(self.owner.get(&at).await.text());
        }
        seen
    }

    async fn call(&self, method: &str, address: &str, sent: &str, shows: Option<&str>) -> Answer {
        let verb: Method = method.parse().unwrap();
        let sent = self.filled(sent).await;
        let call = match sent.strip_prefix('?') {
            Some(query) if address.contains('?') => self.app.call(verb, &format!("{address}&{query}")),
            Some(query) => self.app.call(verb, &format!("{address}?{query}")),
            None if sent.is_empty() => self.app.call(verb, address),
            None => self.app.call(verb, address).json(&serde_json::from_str(&sent).expect("JSON")),
        };
        match shows {
            Some(credential) => call.bearer(credential).await,
            None => call.await,
        }
    }

    /// Calls a route as everybody, and says what is not as its line has it.
    async fn walk(&self, route: &str, rulings: &str, sent: &str) -> Vec<String> {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let operation = self.operation(method, path).unwrap_or_else(|| panic!("there is no {route}"));
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let takes_workspace = parameters.into_iter().any(|it| it["name"] == "workspace_id");
        let letters: Vec<char> = rulings.chars().filter(|letter| *letter != ' ').collect();
        assert_eq!(letters.len(), self.callers.len(), "{route}: {rulings}");
        let mut wrong = Vec::new();
        for (expected, (caller, shows)) in letters.iter().zip(&self.callers) {
            let mut address = self.address(path).await;
            let before = self.seen(path, &address).await;
            if takes_workspace {
                address = format!("{address}?workspace_id={}", self.workspace);
            }
            let answer = self.call(method, &address, sent, shows.as_deref()).await;
            let said = match answer.status.as_u16() {
                401 => 'U',
                403 => 'F',
                404 => 'N',
                status => {
                    assert!(
                        status < 500 && ![400, 405, 415, 422, 429].contains(&status),
                        "{route}: {}",
                        answer.text()
                    );
                    'A'
                }
            };
            if said != *expected {
                wrong.push(format!(
                    "{route} by {caller}: {expected} in the table, but {said} {}",
                    answer.text()
                ));
            }
            let plain = address.split('?').next().unwrap_or_default();
            if said != 'A' && self.seen(path, plain).await != before {
                wrong.push(format!("{route} by {caller}: refused, and had an effect"));
            }
        }
        wrong
    }
}

#[tokio::test]
async fn everybody_may_what_the_table_says() {
    let app = TestApp::new().await;
    let world = World::new(&app).await;
    let documented: BTreeSet<String> = operations(&world.document)
        .into_iter()
        .map(|(path, method, _)| format!("{} {path}", method.to_uppercase()))
        .collect();
    let listed: BTreeSet<String> = ROUTES.iter().map(|(route, ..)| (*route).to_owned()).collect();
    let missing: Vec<_> = documented.difference(&listed).collect();
    assert!(missing.is_empty(), "add a line to authorization_table.rs for each of {missing:#?}");
    let mut wrong = Vec::new();
    for (route, rulings, sent) in ROUTES {
        wrong.extend(world.walk(route, rulings, sent).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    app.finish().await;
}

/// That a route needs a credential is in the document as it is in the table.
#[tokio::test]
async fn the_document_says_who_need_not_say_who_they_are() {
    let app = TestApp::new().await;
    let document = app.get("/openapi.json").await.json(200);
    for (route, rulings, _) in ROUTES {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let security = &document["paths"][path][method.to_lowercase()]["security"];
        assert_eq!(*security == json!([{}]), !rulings.starts_with('U'), "{route}: {security}");
    }
    app.finish().await;
}
