//! Every route of the OpenAPI document, called by everybody that there is: what [`super::authorization_table`] says is so.
//!
//! Whoever is refused has changed nothing and hears nothing of the owner; whoever shows what is no credential is nobody.

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
/// Who shows one of these is nobody.
const NONSENSE: [&str; 2] = ["tg_live_nonsense", "a.b.c"];
/// How many letters a line has.
const LETTERS: usize = 12;

/// Somebody who calls.
struct Somebody {
    name: String,
    shows: Option<String>,
    /// Which letter of a line speaks of them.
    letter: usize,
}

impl Somebody {
    fn new(letter: usize, name: &str, shows: impl Into<Option<String>>) -> Self {
        Self { name: name.to_owned(), shows: shows.into(), letter }
    }
}

/// A workspace with everybody who may want something of it.
struct World<'a> {
    app: &'a TestApp,
    document: Value,
    owner: User<'a>,
    workspace: String,
    callers: Vec<Somebody>,
    names: AtomicU32,
}

impl<'a> World<'a> {
    /// A workspace that somebody has made, and everybody.
    async fn new(app: &'a TestApp) -> Self {
        let (owner, other) = (app.user().await, app.user().await);
        let workspace = owner.workspace("the workspace").await;
        let elsewhere = other.workspace("elsewhere").await;
        let mut world = Self::outside(app, owner, workspace, (other, elsewhere)).await;
        for (letter, role) in [(4, "member"), (5, "admin")] {
            let user = app.user().await;
            world.owner.takes_in(&world.workspace, &user, role).await;
            world.callers.push(Somebody::new(letter, role, user.tokens.access));
        }
        world.callers.push(Somebody::new(6, "owner", world.owner.tokens.access.clone()));
        world.callers.push(Somebody::new(7, "operator", app.operator().await.tokens.access));
        for (letter, permission) in (8..).zip(PERMISSIONS) {
            let machine = world.owner.machine(&world.workspace, &[permission]).await;
            world.callers.push(Somebody::new(letter, permission, machine));
        }
        world
    }

    /// A workspace and those who are not in it, of whom one owns another.
    async fn outside(
        app: &'a TestApp,
        owner: User<'a>,
        workspace: String,
        (other, elsewhere): (User<'a>, String),
    ) -> Self {
        let document = app.get("/openapi.json").await.json(200);
        let callers = vec![
            Somebody::new(0, "nobody", None::<String>),
            Somebody::new(1, "a stranger", app.user().await.tokens.access),
            Somebody::new(2, "the owner of another", other.tokens.access.clone()),
            Somebody::new(3, "a machine of another", other.machine(&elsewhere, &PERMISSIONS).await),
        ];
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

    /// What its owner sees of the thing and of what is around it, or of the collection that it would be in.
    async fn seen(&self, path: &str, address: &str) -> Vec<String> {
        let mut seen = Vec::new();
        // A delivery goes on by itself.
        if path.contains("{delivery_id}") {
            return seen;
        }
        let places = path.match_indices('/').map(|(place, _)| place).chain([path.len()]);
        for place in places {
            let Some(look) = self.operation("get", &path[..place]) else { continue };
            let takes =
                |name: &str| look["parameters"].as_array().into_iter().flatten().any(|it| it["name"] == name);
            let of_workspace = !path.contains('{') && takes("workspace_id");
            if !path[..place].contains('}') && !of_workspace {
                continue;
            }
            let depth = path[..place].matches('/').count() + 1;
            let mut query = Vec::new();
            if of_workspace {
                query.push(format!("workspace_id={}", self.workspace));
            }
            if takes("limit") && !takes("group_by") {
                query.push("limit=100".to_owned());
            }
            let at = address.split('/').take(depth).collect::<Vec<_>>().join("/");
            seen.push(self.owner.get(&format!("{at}?{}", query.join("&"))).await.text());
        }
        seen
    }

    async fn call(&self, method: &str, address: &str, sent: &str, shows: Option<&str>) -> Answer {
        let verb: Method = method.parse().unwrap();
        let call = match sent.strip_prefix('?') {
            Some(query) if address.contains('?') => self.app.call(verb, &format!("{address}&{query}")),
            Some(query) => self.app.call(verb, &format!("{address}?{query}")),
            None if sent.is_empty() => self.app.call(verb, address),
            None => self.app.call(verb, address).json(&serde_json::from_str(sent).expect("JSON")),
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
        assert_eq!(letters.len(), LETTERS, "{route}: {rulings}");
        let mut wrong = Vec::new();
        for Somebody { name, shows, letter } in &self.callers {
            let mut address = self.address(path).await;
            let sent = self.filled(sent).await;
            let before = self.seen(path, &address).await;
            if takes_workspace {
                address = format!("{address}?workspace_id={}", self.workspace);
            }
            let answer = self.call(method, &address, &sent, shows.as_deref()).await;
            let (said, expected) = (ruling(route, &answer), letters[*letter]);
            if said != expected {
                let text = answer.text();
                wrong.push(format!("{route} by {name}: {expected} in the table, but {said} {text}"));
            }
            let plain = address.split('?').next().unwrap_or_default();
            if said != 'A' && self.seen(path, plain).await != before {
                wrong.push(format!("{route} by {name}: refused, and had an effect"));
            }
            if said != 'A' && answer.text().contains(&self.owner.email) {
                wrong.push(format!("{route} by {name}: refused, and told of the owner: {}", answer.text()));
            }
        }
        wrong
    }
}

/// The letter of an answer.
fn ruling(route: &str, answer: &Answer) -> char {
    match answer.status.as_u16() {
        401 => {
            assert!(answer.header("www-authenticate").is_some(), "{route} does not say what it needs");
            'U'
        }
        403 => 'F',
        404 => 'N',
        status => {
            let unclear = status >= 500 || [400, 405, 415, 422, 429].contains(&status);
            assert!(!unclear, "{route}: {}", answer.text());
            'A'
        }
    }
}

#[tokio::test]
async fn everybody_may_what_the_table_says() {
    // What was allowed is counted when nobody looks.
    let app = TestApp::with(&[("TOLLGATE__KEYS__DRAIN_INTERVAL_MS", "3600000")]).await;
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

/// Where nothing has been shared with anybody, and with what would do harm if it were let in.
#[tokio::test]
async fn in_somebody_s_own_workspace_nobody_else_may_anything() {
    let app = TestApp::new().await;
    let (owner, other) = (app.user().await, app.user().await);
    let (key, service) = (owner.key().create().await, owner.service_key(&["keys.verify"]).await);
    let (workspace, elsewhere) = (owner.workspace_id.clone(), other.workspace_id.clone());
    let mut world = World::outside(&app, owner, workspace, (other, elsewhere)).await;
    world.callers.extend(NONSENSE.map(|it| Somebody::new(0, it, it.to_owned())));
    let mut wrong = Vec::new();
    for (route, rulings, sent) in ROUTES {
        wrong
            .extend(world.walk(route, rulings, &sent.replace("\"dry_run\":true", "\"dry_run\":false")).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    key.whoami().await.json(200);
    assert_eq!(service.verify(&key.key).await["code"], "VALID");
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
        let none_needed = *security == json!([{}]);
        assert_eq!(none_needed, !rulings.starts_with('U'), "{route}: {security}");
        let ways = security.as_array().expect("each route says it");
        assert!(none_needed || !(ways.is_empty() || ways.contains(&json!({}))), "{route}: {security}");
    }
    app.finish().await;
}
