//! Bodies that nobody should send: the right 4xx, never a 500, nothing half-written.

use serde_json::{Value, json};

use crate::{actors, app::TestApp, http::Call};

/// A route with a body: its path, a call to it by somebody who may make it, and a body that is right.
type Route<'a> = (&'static str, Box<dyn Fn() -> Call + 'a>, Value);

fn routes<'a>(app: &'a TestApp, access: &'a str) -> Vec<Route<'a>> {
    let post = |path: &'static str, right: Value| -> Route<'a> {
        (path, Box::new(move || app.post(path).bearer(access)), right)
    };
    let open =
        |path: &'static str, right: Value| -> Route<'a> { (path, Box::new(move || app.post(path)), right) };
    vec![
        open(
            "/v1/auth/signup",
            json!({ "email": actors::email(), "password": "a long passphrase for the table" }),
        ),
        open(
            "/v1/auth/login",
            json!({ "email": actors::email(), "password": "a long passphrase for the table" }),
        ),
        open("/v1/auth/refresh", json!({ "refresh_token": "tg_rt_x" })),
        open("/v1/auth/logout", json!({ "refresh_token": "tg_rt_x" })),
        post("/v1/keys", json!({ "name": "a" })),
        post("/v1/consumers", json!({ "name": "a" })),
        post("/v1/plans", json!({ "name": "a" })),
        post("/v1/roles", json!({ "name": "a" })),
        post("/v1/service-keys", json!({ "name": "a", "permissions": ["keys.verify"] })),
        post("/v1/keys/verify", json!({ "key": "tg_live_x" })),
        post("/v1/keys/import", json!({ "rows": [{ "hash": "0".repeat(64), "name": "a" }] })),
    ]
}

#[tokio::test]
async fn what_is_not_json_is_400() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for (path, call, right) in routes(&app, &user.tokens.access) {
        let right = right.to_string();
        for wrong in [
            Vec::new(),
            b"{".to_vec(),
            b"nonsense".to_vec(),
            b"{\"name\":\"\xff\xfe\"}".to_vec(),
            b"\0".to_vec(),
            format!("{right}}}").into_bytes(),
            format!("{right}{right}").into_bytes(),
            [b"\xef\xbb\xbf", right.as_bytes()].concat(),
        ] {
            let shown = String::from_utf8_lossy(&wrong[..wrong.len().min(80)]).into_owned();
            let answer = call().header("content-type", "application/json").body(wrong).await;
            assert_eq!(answer.status, 400, "{path} {shown}: {}", answer.text());
            answer.problem(400, "BAD_REQUEST");
        }
    }
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn json_of_the_wrong_form_is_422() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for (path, call, right) in routes(&app, &user.tokens.access) {
        for wrong in [json!([]), json!("text"), json!(7), Value::Null] {
            let answer = call().json(&wrong).await;
            assert_eq!(answer.status, 422, "{path} {wrong}: {}", answer.text());
        }
        let mut unknown = right.clone();
        unknown["surprise"] = json!(1);
        call().json(&unknown).await.violates(422, &["/surprise"]);
        for field in right.as_object().unwrap().keys() {
            for value in [json!(7), json!({}), json!(true)] {
                let mut wrong = right.clone();
                wrong[field] = value;
                let answer = call().json(&wrong).await;
                assert_eq!(answer.status, 422, "{path} {wrong}: {}", answer.text());
            }
            let mut missing = right.clone();
            missing.as_object_mut().unwrap().remove(field);
            call().json(&missing).await.violates(422, &[&format!("/{field}")]);
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_nested_too_deep_is_422() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let deep = |levels: usize| {
        format!("{{\"name\":\"a\",\"metadata\":{{\"a\":{}1{}}}}}", "[".repeat(levels), "]".repeat(levels))
    };
    for levels in [33, 2000, 30_000] {
        for (path, call, _) in routes(&app, &user.tokens.access) {
            let answer = call().header("content-type", "application/json").body(deep(levels)).await;
            assert_eq!(answer.status, 422, "{path} {levels}: {}", answer.text());
        }
    }
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn a_field_twice_is_refused() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let twice = r#"{"name":"a","name":"b"}"#;
    let answer = app
        .post("/v1/keys")
        .bearer(&user.tokens.access)
        .header("content-type", "application/json")
        .body(twice)
        .await;
    assert!([400, 422].contains(&answer.status.as_u16()), "{}", answer.text());
    app.finish().await;
}

#[tokio::test]
async fn ten_megabytes_are_refused_and_the_next_request_is_answered() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(10 * 1024 * 1024));
    for (path, call, _) in routes(&app, &user.tokens.access) {
        let answer = call().header("content-type", "application/json").body(huge.clone()).await;
        assert_eq!(answer.status, 413, "{path}");
        answer.problem(413, "CONTENT_TOO_LARGE");
    }
    user.get("/v1/me").await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn another_media_type_is_415() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for (_, call, right) in routes(&app, &user.tokens.access) {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
            let answer = call().header("content-type", kind).body(right.to_string()).await;
            answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
        }
        let twice = call().json(&right).header("content-type", "application/json").await;
        assert!(twice.status.is_client_error(), "{}", twice.text());
    }
    app.finish().await;
}

#[tokio::test]
async fn nul_and_absurd_lengths_are_refused_wherever_text_goes() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for nasty in ["a\u{0}b".to_owned(), "x".repeat(60_000), "\u{202e}\u{0}".to_owned()] {
        for (path, call, right) in routes(&app, &user.tokens.access) {
            for field in right.as_object().unwrap().keys() {
                let mut wrong = right.clone();
                wrong[field] = json!(nasty);
                let answer = call().json(&wrong).await;
                let status = answer.status.as_u16();
                // A key that is nonsense has a verdict: MALFORMED.
                let verdict = path == "/v1/keys/verify" && status == 200;
                assert!(
                    (400..500).contains(&status) || verdict,
                    "{path} {field}: {status} {}",
                    answer.text()
                );
            }
        }
        let query = nasty.bytes().take(5000).map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let answer = user.get(&format!("/v1/keys?q={query}")).await;
        assert!(answer.status.is_client_error(), "{}", answer.status);
    }
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn numbers_at_the_edge_are_no_500() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    for number in ["-1", "0.5", "1e400", "18446744073709551616", "4294967296", "-9223372036854775809", "1025"]
    {
        let body = format!(r#"{{"key":"{}","cost":{number}}}"#, key.key);
        let call = app
            .post("/v1/keys/verify")
            .bearer(&user.tokens.access)
            .header("content-type", "application/json");
        let answer = call.body(body).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{number}: {}", answer.text());
    }
    for at in
        ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "-262143-01-01T00:00:00Z", "+262142-12-31T23:59:59Z"]
    {
        let answer = user.post("/v1/keys", &json!({ "name": "a", "expires_at": at })).await;
        if answer.status == 201 {
            app.secret("a key", answer.json(201)["key"].as_str().unwrap());
        } else {
            answer.violates(422, &["/expires_at"]);
        }
        let at = at.replace('+', "%2B");
        let answer = user.get(&format!("/v1/keys/{}/usage?from={at}", key.id)).await;
        assert!(answer.status == 200 || answer.status == 422, "{at}: {}", answer.text());
    }
    app.finish().await;
}
