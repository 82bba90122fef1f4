//! A secret is in the answer that gives it, and nowhere else: not in a log at its most talkative, not in a metric, not in a problem,
//! an audit event, a record of usage or what a webhook is told. Neither whole nor in part.
//!
//! A rich session with real processes in the shape of the run, by people who make every mistake that there is; where there are
//! servers to lose, they are lost meanwhile. Then all that was said is searched for all secrets.

mod deployment;
mod mistakes;
mod session;
mod vault;

use self::{deployment::Deployment, session::Session};
use crate::{shape::Shape, webhooks::Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_to_anybody_but_whose_it_is() {
    let shape = Shape::of_this_run();
    let mut deployment = Deployment::start(shape).await;
    let mut receiver = Receiver::new().await;
    let mut session = Session::start(&deployment, &receiver.url).await;
    session.people().await;
    session.keys().await;
    session.imports(&deployment).await;
    session.rpcs(&deployment).await;
    for (secret, is_ours) in session.some_of_each() {
        session.misplaced(&secret, is_ours).await;
    }
    session.looks_around().await;
    for message in receiver.so_far() {
        session.vault.hear("a webhook was told", message.said());
    }
    if deployment.lose_postgres() {
        session.without_stores(&deployment).await;
        deployment.lose_redis();
        session.without_stores(&deployment).await;
        deployment.restart_stores().await;
    }
    for (what, text) in deployment.end().await {
        session.vault.hear(what, text);
    }
    let heard = session.vault.heard("the log of a process");
    assert!(heard.contains("TRACE") && heard.contains("answered"), "it is the most talkative log");
    assert!(heard.contains("/v1/keys/…"), "what is no id was in addresses, and is not in the log");
    assert!(session.vault.heard("a webhook was told").contains("key.created"));
    let told = session.vault.told();
    assert!(told.is_empty(), "{}", told.join("\n"));
}
