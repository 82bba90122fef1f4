//! The routes of the example: one for users, one for API keys, one for both.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tollgate_verify::{Admission, Identity, require::Require};

/// All of them.
pub(crate) fn routes(admission: &Admission) -> Router {
    let user = Router::new().route("/user", get(who)).route_layer(Require::user(admission.clone()));
    let key = Router::new().route("/key", get(who)).route_layer(Require::key(admission.clone()));
    let either = Router::new().route("/either", get(who)).route_layer(Require::either(admission.clone()));
    user.merge(key).merge(either)
}

async fn who(identity: Identity) -> Json<Value> {
    Json(match identity {
        Identity::User { user_id, .. } => json!({ "user": user_id.to_string() }),
        Identity::Key { grant } => json!({ "key": grant.key_id.to_string(), "scopes": grant.scopes }),
    })
}
