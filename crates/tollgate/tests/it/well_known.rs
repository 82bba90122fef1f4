//! `/.well-known/…`

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::app::TestApp;

#[tokio::test]
async fn the_key_set_holds_public_members_only_and_the_key_that_signs() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let answer = app.get("/.well-known/jwks.json").await;
    let set: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer.status, 200);
    let header = user.tokens.access.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let mut found = false;
    for key in set["keys"].as_array().unwrap() {
        assert_eq!((&key["kty"], &key["alg"], &key["use"]), (&"EC".into(), &"ES256".into(), &"sig".into()));
        for private in ["d", "k", "p", "q", "dp", "dq", "qi"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        found |= key["kid"] == header["kid"];
    }
    assert!(found);
    app.finish().await;
}
