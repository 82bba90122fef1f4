//! Limits by client address, before anybody is asked who it is.

use serde_json::json;
use tollgate_edge::PerIp;

use crate::{app::TestApp, http::Answer};

/// The defaults of an installation, which other tests do without.
fn defaults() -> Vec<(&'static str, String)> {
    let PerIp { auth, management, protected, public, window_seconds } = PerIp::default();
    vec![
        ("TOLLGATE__EDGE__PER_IP__AUTH", auth.to_string()),
        ("TOLLGATE__EDGE__PER_IP__MANAGEMENT", management.to_string()),
        ("TOLLGATE__EDGE__PER_IP__PROTECTED", protected.to_string()),
        ("TOLLGATE__EDGE__PER_IP__PUBLIC", public.to_string()),
        ("TOLLGATE__EDGE__PER_IP__WINDOW_SECONDS", window_seconds.to_string()),
    ]
}

async fn app_with(more: &[(&'static str, &str)]) -> TestApp {
    let mut settings = defaults();
    settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    TestApp::with(&settings).await
}

/// Turned away by this limit; how long, in seconds.
#[track_caller]
fn turned_away(answer: &Answer, policy: &str) -> u64 {
    let problem = answer.problem(429, "RATE_LIMITED");
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!([policy]));
    answer.header("retry-after").expect("when to come back").parse().expect("seconds")
}

#[tokio::test]
async fn each_class_has_its_default() {
    let app = app_with(&[]).await;
    let user = app.user().await;
    let wrong = json!({ "email": user.email, "password": "not the password" });
    let log_in = || app.post("/v1/auth/login").json(&wrong);
    // Signing up and logging in were two.
    for attempt in 2..60 {
        assert_ne!(log_in().await.header("ratelimit-policy"), Some(r#""ip-auth";q=60;w=60"#), "{attempt}");
    }
    assert_eq!(turned_away(&log_in().await, "ip-auth"), 60);
    for _ in 0..600 {
        user.get("/v1/me").await.json(200);
    }
    turned_away(&user.get("/v1/me").await, "ip-management");
    for _ in 0..60 {
        app.get("/v1/whoami").await.problem(401, "UNAUTHENTICATED");
    }
    turned_away(&app.get("/v1/whoami").await, "ip-protected");
    for _ in 0..600 {
        app.get("/livez").await.json(200);
    }
    turned_away(&app.get("/livez").await, "ip-public");

    app.advance(60);
    user.get("/v1/me").await.json(200);
    app.get("/livez").await.json(200);
    app.get("/v1/whoami").await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
}

#[tokio::test]
async fn garbage_locks_out_strangers_and_no_good_key() {
    let app = app_with(&[]).await;
    let user = app.user().await;
    let (key, late) = (user.key().create().await, user.key().create().await);
    key.whoami().await.json(200);
    user.get("/v1/whoami").await.json(200);
    for _ in 0..60 {
        app.get("/v1/whoami").api_key("tg_live_nonsense").await.problem(401, "UNAUTHENTICATED");
    }
    turned_away(&app.get("/v1/whoami").api_key("tg_live_nonsense").await, "ip-protected");
    turned_away(&app.get("/v1/gate").await, "ip-protected");
    turned_away(&late.whoami().await, "ip-protected");
    key.whoami().await.json(200);
    user.get("/v1/whoami").await.json(200);
    let nginx = app.get("/v1/gate?status=nginx").await;
    assert_eq!((nginx.status.as_u16(), nginx.header("x-tollgate-status")), (403, Some("429")));

    // What is good no longer is garbage, too.
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    turned_away(&key.whoami().await, "ip-protected");
    let wait = turned_away(&late.whoami().await, "ip-protected");
    app.advance(wait);
    late.whoami().await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_header_of_the_client_s_own_changes_nothing() {
    let app = app_with(&[("TOLLGATE__EDGE__PER_IP__PROTECTED", "2")]).await;
    let mut said = Vec::new();
    for last in 1..=4 {
        let spoofed = app.get("/v1/whoami").header("x-forwarded-for", format!("203.0.113.{last}"));
        said.push(spoofed.await.status.as_u16());
    }
    assert_eq!(said, [401, 401, 429, 429]);
    app.finish().await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_counted_by_itself() {
    let settings =
        [("TOLLGATE__EDGE__PER_IP__PROTECTED", "2"), ("TOLLGATE__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")];
    let app = app_with(&settings).await;
    let mut said = Vec::new();
    // The client writes the left one, the proxy the right one.
    for client in ["203.0.113.1", "203.0.113.1", "203.0.113.1", "203.0.113.2"] {
        let list = format!("198.51.100.{}, {client}", said.len());
        said.push(app.get("/v1/whoami").header("x-forwarded-for", list).await.status.as_u16());
    }
    assert_eq!(said, [401, 401, 429, 401]);
    app.finish().await;
}
