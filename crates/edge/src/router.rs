//! The table of contents: every route, and the layers around them.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use tollgate_kernel::Entropy;
use tollgate_proto::context::ContextLayer;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    app::App,
    door::Class,
    extract::ClientIp,
    layers::{bounds, cors, door, headers, observe},
    problem::Problem,
    routes::{
        audit, auth, calls, consumers, credits, docs, gate, health, imports, invitations, jwks, key_changes,
        key_lists, key_rotation, key_secrets, keys, me, members, overrides, plans, policy, revoke_keys,
        roles, secret_scanning, service_keys, usage, verify, webhook_deliveries, webhooks, whoami,
        workspaces,
    },
};

/// What clients call, by what it is to their addresses.
pub(crate) fn api() -> [(Class, OpenApiRouter<App>); 5] {
    [
        (Class::Auth, auth()),
        (Class::Management, management()),
        (Class::Protected, protected()),
        (Class::Public, reports()),
        (Class::Public, about()),
    ]
}

/// Users and their sessions; and what else a client might guess at.
fn auth() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(auth::signup))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::logout_all))
        .routes(routes!(invitations::accept_invitation))
}

/// Workspaces and what is in them.
fn management() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(me::get_me))
        .routes(routes!(workspaces::list_workspaces, workspaces::create_workspace))
        .routes(routes!(workspaces::get_workspace, workspaces::update_workspace))
        .routes(routes!(policy::get_policy, policy::update_policy))
        .routes(routes!(members::list_members))
        .routes(routes!(members::update_member, members::remove_member))
        .routes(routes!(invitations::list_invitations, invitations::create_invitation))
        .routes(routes!(invitations::revoke_invitation))
        .routes(routes!(audit::list_audit_events))
        .routes(routes!(plans::list_plans, plans::create_plan))
        .routes(routes!(plans::get_plan, plans::update_plan, plans::delete_plan))
        .routes(routes!(consumers::list_consumers, consumers::create_consumer))
        .routes(routes!(consumers::get_consumer, consumers::update_consumer, consumers::delete_consumer))
        .routes(routes!(
            credits::get_consumer_credits,
            credits::put_consumer_credits,
            credits::delete_consumer_credits
        ))
        .routes(routes!(credits::grant_consumer_credits))
        .routes(routes!(credits::list_consumer_credit_ledger))
        .routes(routes!(roles::list_roles, roles::create_role))
        .routes(routes!(roles::get_role, roles::update_role, roles::delete_role))
        .routes(routes!(key_lists::list_keys, keys::create_key))
        .routes(routes!(revoke_keys::revoke_keys))
        .routes(routes!(imports::import_keys))
        .routes(routes!(imports::export_keys))
        .routes(routes!(keys::get_key, key_changes::update_key, keys::revoke_key))
        .routes(routes!(key_secrets::rotate_key))
        .routes(routes!(
            key_rotation::get_key_rotation,
            key_rotation::plan_key_rotation,
            key_rotation::delete_key_rotation
        ))
        .routes(routes!(key_secrets::list_key_secrets))
        .routes(routes!(key_secrets::revoke_key_secret))
        .routes(routes!(overrides::list_key_overrides, overrides::override_key_limit))
        .routes(routes!(overrides::delete_key_override))
        .routes(routes!(usage::get_usage))
        .routes(routes!(credits::get_key_credits, credits::put_key_credits, credits::delete_key_credits))
        .routes(routes!(credits::grant_key_credits))
        .routes(routes!(credits::list_key_credit_ledger))
        .routes(routes!(usage::get_key_usage))
        .routes(routes!(usage::get_consumer_usage))
        .routes(routes!(service_keys::list_service_keys, service_keys::create_service_key))
        .routes(routes!(service_keys::revoke_service_key))
        .routes(routes!(webhooks::list_webhooks, webhooks::create_webhook))
        .routes(routes!(webhooks::get_webhook, webhooks::update_webhook, webhooks::delete_webhook))
        .routes(routes!(webhooks::rotate_webhook_secret))
        .routes(routes!(webhook_deliveries::test_webhook))
        .routes(routes!(webhook_deliveries::list_webhook_deliveries))
        .routes(routes!(webhook_deliveries::replay_webhook_delivery))
}

/// The turnstile, and what is behind it. Who fails here is counted where credentials are looked up.
fn protected() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(verify::verify_key))
        .routes(routes!(calls::settle_call))
        .routes(routes!(calls::refund_call))
        .routes(routes!(whoami::whoami))
        .routes(routes!(whoami::whoami_user))
        .routes(routes!(whoami::whoami_key))
}

/// What others report, and sign.
fn reports() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(secret_scanning::report_leaks))
}

/// About this API.
fn about() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(jwks::jwks))
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::docs))
        .route("/docs/", get(docs::index))
        .route("/docs/{file}", get(docs::asset))
        .routes(routes!(health::readyz))
}

/// What gateways call, protected. Not for browsers, so never under CORS: the answer to a preflight would pass as a 200 from
/// here.
pub(crate) fn gateways() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(gate::gate).map(|route| route.fallback(gate::gate)))
}

/// What must be answered however busy this process is.
pub(crate) fn unbounded() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(health::livez))
}

/// All routes with all layers. Of the layers of a router, the last one is the outermost.
pub(crate) fn router(app: &App, entropy: Arc<dyn Entropy>) -> Router {
    let bounded = |router: Router<App>| {
        router
            .layer(from_fn_with_state(app.clone(), bounds::time))
            .layer(from_fn_with_state(app.clone(), bounds::concurrency))
    };
    let classed = |(class, routes): (Class, OpenApiRouter<App>)| {
        let routes = Router::from(routes).method_not_allowed_fallback(async || Problem::method_not_allowed());
        match class {
            Class::Protected => routes,
            _ => routes.route_layer(from_fn_with_state((app.clone(), class), door::count)),
        }
    };
    let api = api().map(classed).into_iter().fold(Router::new(), Router::merge).fallback(nowhere);
    let unbounded = classed((Class::Public, unbounded()));

    bounded(api)
        .layer(option_layer(cors::layer(&app.config.cors_origins)))
        .merge(bounded(Router::from(gateways())))
        .merge(unbounded)
        .layer(CatchPanicLayer::custom(bounds::panicked))
        .layer(from_fn(headers::add))
        .layer(from_fn(observe::observe))
        .layer(ContextLayer::new(entropy))
        .with_state(app.clone())
}

/// Where there is no route.
async fn nowhere(State(app): State<App>, ip: ClientIp) -> Problem {
    app.gate.door.count(Class::Public, ip).await.err().unwrap_or_else(Problem::not_found)
}
