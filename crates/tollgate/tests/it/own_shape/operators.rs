//! `tollgate operator create`

use http::Method;
use serde_json::json;

use crate::{
    actors::{email, password},
    process::{Server, empty, run},
};

#[tokio::test]
async fn the_first_operator_is_made_beside_a_running_server() {
    let dir = empty();
    let server = Server::start(dir.path(), &[], &[]);
    let (email, password) = (email(), password());
    let said = run(dir.path(), &["operator", "create", "--email", &email], &[], &format!("{password}\n"));
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("usr_"), "{}", said.out);
    assert!(!said.out.contains(&password) && !said.err.contains(&password));

    let http = server.http();
    let body = json!({ "email": email, "password": password });
    let tokens = http.call(Method::POST, "/v1/auth/login").json(&body).await.json(200);
    let me =
        http.call(Method::GET, "/v1/me").bearer(tokens["access_token"].as_str().unwrap()).await.json(200);
    assert_eq!(me["operator"], true);
}

#[test]
fn a_password_from_a_file_and_a_password_that_is_refused() {
    let dir = empty();
    std::fs::write(dir.path().join("good"), format!("{}\n", password())).unwrap();
    std::fs::write(dir.path().join("short"), "short\n").unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let create = |file: &str, email: &str| {
        run(dir.path(), &["operator", "create", "--email", email, "--password-file", file], &[], "")
    };
    let refused = create("short", "ada@example.com");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("password:"), "{}", refused.err);
    assert_eq!(create("empty", "ada@example.com").code, 1);
    assert_eq!(create("missing", "ada@example.com").code, 1);
    assert_eq!(create("good", "nobody").code, 1);
    let made = create("good", "ada@example.com");
    assert_eq!(made.code, 0, "{}", made.err);
    assert_eq!(create("good", "ada@example.com").out, made.out, "doing it again changes nothing");
    std::fs::write(dir.path().join("other"), format!("{}\n", password())).unwrap();
    let other = create("other", "ada@example.com");
    assert_eq!(other.code, 1, "an existing user's password is not changed: {}", other.out);
}
