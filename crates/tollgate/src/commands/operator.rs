//! `tollgate operator create`: an administrator of this instance, made where the database is, not over HTTP.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::Path,
    sync::Arc,
};

use tollgate_changes::Feed;
use tollgate_db::Db;
use tollgate_identity::IdentityService;
use tollgate_kernel::{Clock, Code, Entropy, Fault, OsEntropy, SecretString, SystemClock, UserId};
use tollgate_verify::{Changes, TokenRules};

use crate::{
    config::Config,
    roles::Role,
    storage::{self, Storage},
};

/// The password: from the file, from the terminal without showing it, or the first line of standard input.
pub(super) fn password(file: Option<&Path>) -> Result<SecretString, Fault> {
    let unread =
        |what: String| move |error: io::Error| Fault::new(Code::InvalidArgument, what).caused_by(error);
    let text = match file {
        Some(path) => {
            fs::read_to_string(path).map_err(unread(format!("{} cannot be read.", path.display())))?
        }
        None if io::stdin().is_terminal() => typed_twice()?,
        None => {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(unread("Standard input cannot be read.".into()))?;
            line
        }
    };
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(Fault::new(
            Code::InvalidArgument,
            "There is no password: give one on a line of its own.",
        ));
    }
    Ok(password.into())
}

fn typed_twice() -> Result<String, Fault> {
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(Fault::internal);
    let (first, second) = (ask("Password (15 characters or more): ")?, ask("Again: ")?);
    if first == second { Ok(first) } else { Err(Fault::new(Code::InvalidArgument, "The two differ.")) }
}

/// Tells the processes that run what has changed. This one serves nobody, so it follows nothing.
fn feed(config: &Config, db: &Db, clock: Arc<dyn Clock>, entropy: &dyn Entropy) -> Feed {
    let settings = tollgate_changes::Settings { lease: config.changes.lease };
    Feed::new(db, Role::Identity.as_str(), &settings, Changes::new(), clock, entropy)
}

/// Makes the operator. Safe while a server runs on the same database.
pub(super) async fn create(
    config: &Config,
    email: &str,
    password: &SecretString,
) -> Result<UserId, super::Failure> {
    let storage = Storage::open(config)?;
    let db = storage.of(Role::Identity).await?;
    if storage.is_embedded() {
        storage.migrate(Role::Identity, &db).await?;
    } else {
        storage::up_to_date(Role::Identity, &db).await?;
    }
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    let master = storage.master_key(&*entropy)?;
    // Making an operator is not throttled, so that counters of its own do no harm.
    let mut alone = config.clone();
    alone.redis.url = None;
    let parts = tollgate_identity::Parts {
        rules: TokenRules { issuer: config.tokens.issuer.clone(), audience: config.tokens.audience.clone() },
        ratelimit: Arc::new(crate::wiring::counters(&alone, None, clock.clone(), entropy.clone())?),
        feed: feed(config, &db, clock.clone(), &*entropy),
        clock,
        entropy,
        db,
    };
    let identity = IdentityService::open(config.identity.clone(), &master, parts).await?;
    Ok(identity.create_operator(email, password).await?)
}
