//! What `serve` prints when it is up: where it listens, where the data is, what to do first. On standard output, apart
//! from the log; the words before the first spaces are stable, so that a script can read them.

use std::fmt::Write as _;

use crate::{
    Addresses,
    config::Config,
    roles::{Role, RoleSet},
};

/// The text of the banner.
pub(crate) fn banner(config: &Config, roles: &RoleSet, at: &Addresses) -> String {
    let mut text = format!("Tollgate {} runs {roles}.\n\n", env!("CARGO_PKG_VERSION"));
    let mut line =
        |word: &str, what: String| writeln!(text, "  {word:<10} {what}").expect("a string takes all");
    if let Some(http) = at.http {
        line("http", format!("http://{http}"));
        line("docs", format!("http://{http}/docs"));
    }
    if let Some(gate) = at.gate {
        line("gate", format!("http://{gate} (gRPC)"));
    }
    for (role, address) in
        [(Role::Identity, at.identity), (Role::Keys, at.keys), (Role::Ratelimit, at.ratelimit)]
    {
        if let Some(address) = address {
            line(role.as_str(), format!("http://{address} (gRPC)"));
        }
    }
    if let Some(admin) = at.admin {
        line("admin", format!("http://{admin}/metrics"));
    }
    if roles.has(Role::Identity) || roles.has(Role::Keys) {
        line("data", data(config));
    }
    if roles.has(Role::Ratelimit) {
        let counters = if config.redis.url.is_some() { "Redis" } else { "in this process" };
        line("counters", counters.to_owned());
    }
    if roles.has(Role::Identity) {
        text.push_str(&first_operator(config));
    }
    text.push_str("\nReady.\n");
    text
}

fn data(config: &Config) -> String {
    if config.database.url.is_some() {
        return "PostgreSQL".to_owned();
    }
    let path = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
    path.display().to_string()
}

fn first_operator(config: &Config) -> String {
    let place = match &config.database.url {
        Some(_) => String::new(),
        None => format!(" --data-dir {}", config.data_dir.display()),
    };
    format!("\nMake the first operator:\n  tollgate operator create --email you@example.com{place}\n")
}
