//! Rules between settings: what a process refuses to start with, and what it warns about.

use tollgate_kernel::{ExposeSecret, MasterKey, SecretString};
use tollgate_ratelimit::{Tls, envoy::Domains};
use tracing_subscriber::EnvFilter;

use super::{Config, Mistake, Mistakes, Origin, RemoteRole, Settings};
use crate::roles::{Role, RoleSet};

const MAKE_A_SECRET: &str = "make one: `tollgate secrets init --dir DIR`, or `openssl rand -hex 32`";

/// How the address of a Redis begins.
const REDIS: [&str; 3] = ["redis://", "redis+cluster://", "redis+sentinel://"];
/// And of one where TLS is spoken.
const REDIS_TLS: [&str; 3] = ["rediss://", "rediss+cluster://", "rediss+sentinel://"];

/// Finds what a process with `roles` may not start with.
pub(super) fn check(config: &Config, roles: &RoleSet, settings: &Settings, mistakes: &mut Mistakes) {
    let mut found = Found { settings, mistakes };
    database(config, roles, &mut found);
    redis(config, roles, &mut found);
    redis_tls(config, &mut found);
    mesh(config, roles, &mut found);
    envoy(config, roles, &mut found);
    master_key(config, roles, &mut found);
    issuer(config, &mut found);
    log_filter(config, &mut found);
}

/// What is allowed and probably not meant.
pub(super) fn warnings(config: &Config, roles: &RoleSet) -> Vec<String> {
    let mut warnings = Vec::new();
    let default_issuer = config.tokens.issuer == Settings::defaults().text("tokens.issuer");
    if roles.has(Role::Edge) && default_issuer && !config.http.listen.ip().is_loopback() {
        warnings.push(format!(
            "HTTP listens on {}, and tokens.issuer is still {}: set TOLLGATE__TOKENS__ISSUER to the public address, \
             or tokens will name a place that their readers cannot reach",
            config.http.listen, config.tokens.issuer
        ));
    }
    if !config.admin.listen.ip().is_loopback() {
        warnings.push(format!(
            "metrics and health listen on {}, beyond this machine, and ask nobody who they are",
            config.admin.listen
        ));
    }
    warnings
}

/// Where a role listens and is reached; none for the edge, which is called by clients only.
pub(crate) fn address_of(config: &Config, role: Role) -> Option<&RemoteRole> {
    match role {
        Role::Edge => None,
        Role::Identity => Some(&config.identity_at),
        Role::Keys => Some(&config.keys_at),
        Role::Ratelimit => Some(&config.ratelimit_at),
    }
}

/// Where mistakes go.
struct Found<'a> {
    settings: &'a Settings,
    mistakes: &'a mut Mistakes,
}

impl Found<'_> {
    fn wrong(&mut self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        let twin = format!("{key}_file");
        let given = if self.settings.text(&twin).is_empty() { key } else { &twin };
        let origin = self.settings.origin(given).filter(|origin| **origin != Origin::Default).cloned();
        self.mistakes.push(Mistake { key: key.to_owned(), origin, what: what.into(), mend: mend.into() });
    }
}

fn is_at(url: &SecretString, schemes: &[&str]) -> bool {
    schemes.iter().any(|scheme| url.expose_secret().starts_with(scheme))
}

fn database(config: &Config, roles: &RoleSet, found: &mut Found<'_>) {
    let stores = roles.has(Role::Identity) || roles.has(Role::Keys);
    match &config.database.url {
        Some(url) if !is_at(url, &["postgres://", "postgresql://"]) => found.wrong(
            "database.url",
            "is not the address of a PostgreSQL database",
            "write it as postgres://user:password@host/database",
        ),
        None if stores && !roles.is_all() => found.wrong(
            "database.url",
            format!("is not set, and a process that runs only {roles} cannot share a SQLite file with the others"),
            "set DATABASE_URL=postgres://user:password@host/database in every process, or run all roles in one",
        ),
        _ => {}
    }
}

fn redis(config: &Config, roles: &RoleSet, found: &mut Found<'_>) {
    match &config.redis.url {
        Some(url) if !is_at(url, &REDIS) && !is_at(url, &REDIS_TLS) => found.wrong(
            "redis.url",
            "is not the address of a Redis server",
            "write it as redis://host:6379, redis+cluster://host:6379,… or redis+sentinel://host:26379,…/name; \
             with rediss for redis if TLS is spoken there",
        ),
        None if roles.has(Role::Ratelimit) && !roles.is_all() => found.wrong(
            "redis.url",
            format!(
                "is not set, and a process that runs only {roles} would count alone, and forget with itself"
            ),
            "set REDIS_URL=redis://host:6379, or run all roles in one process",
        ),
        _ => {}
    }
}

/// Who names files for TLS believes that it is spoken.
fn redis_tls(config: &Config, found: &mut Found<'_>) {
    let Tls { ca_file, client_cert_file, client_key_file } = &config.redis.tls;
    let files =
        [("ca_file", ca_file), ("client_cert_file", client_cert_file), ("client_key_file", client_key_file)];
    let given = files.map(|(name, file)| (format!("redis.{name}"), !file.as_os_str().is_empty()));
    if config.redis.url.as_ref().is_some_and(|url| !is_at(url, &REDIS_TLS)) {
        for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
            let what = "is set, and the address of Redis asks for no TLS";
            found.wrong(key, what, "let redis.url begin with rediss, or remove this");
        }
    }
    let [_, (certificate, has_certificate), (key, has_key)] = &given;
    if has_certificate != has_key {
        let (key, other) = if *has_key { (key, certificate) } else { (certificate, key) };
        found.wrong(key, format!("is set, and {other} is not"), "name both files, or neither");
    }
}

fn mesh(config: &Config, roles: &RoleSet, found: &mut Found<'_>) {
    if let Some(token) = config.mesh.token.as_ref().map(ExposeSecret::expose_secret) {
        if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = "is shorter than 16 characters, or has characters that a header cannot carry";
            found.wrong("mesh.token", what, MAKE_A_SECRET);
        }
        return;
    }
    let envoy = !config.ratelimit.envoy_config.as_os_str().is_empty();
    for role in roles.iter().filter(|role| !roles.is_all() || (envoy && *role == Role::Ratelimit)) {
        let Some(at) = address_of(config, role).filter(|at| !at.listen.ip().is_loopback()) else { continue };
        let what = format!(
            "is {}, beyond this machine, and there is no mesh token: anybody could speak for anybody",
            at.listen
        );
        let mend = "set TOLLGATE__MESH__TOKEN_FILE to a file with one, the same in every process; \
                    `tollgate secrets init --dir DIR` makes it";
        found.wrong(&format!("{role}.listen"), what, mend);
    }
}

fn envoy(config: &Config, roles: &RoleSet, found: &mut Found<'_>) {
    let file = &config.ratelimit.envoy_config;
    if file.as_os_str().is_empty() || !roles.has(Role::Ratelimit) {
        return;
    }
    if let Err(mistakes) = Domains::read(file) {
        let mend = "deploy/gateways/envoy/ratelimit.toml explains every key of this file";
        found.wrong("ratelimit.envoy_config", mistakes.to_string(), mend);
    }
}

fn master_key(config: &Config, roles: &RoleSet, found: &mut Found<'_>) {
    if !roles.has(Role::Identity) {
        return;
    }
    let what = match &config.master_key {
        None if config.database.url.is_some() => "is not set; signing keys in PostgreSQL are sealed with it",
        Some(key) if MasterKey::parse(key).is_err() => "is not 32 bytes in hex or base64",
        _ => return,
    };
    let mend = format!(
        "{MAKE_A_SECRET}; name its file in TOLLGATE__MASTER_KEY_FILE, the same in every process that runs identity, for ever"
    );
    found.wrong("master_key", what, mend);
}

fn issuer(config: &Config, found: &mut Found<'_>) {
    let issuer = &config.tokens.issuer;
    let absolute = issuer.starts_with("https://") || issuer.starts_with("http://");
    let plain = issuer.parse::<http::Uri>().is_ok_and(|uri| uri.query().is_none()) && !issuer.contains('#');
    if !absolute || !plain {
        let what = format!("is {issuer:?}, which is not an address");
        found.wrong("tokens.issuer", what, "write it as https://auth.example.com");
    }
}

fn log_filter(config: &Config, found: &mut Found<'_>) {
    if let Err(error) = EnvFilter::builder().parse(&config.log.filter) {
        let mend = "write a level (debug, info, warn) or pairs such as info,tollgate_keys=debug";
        found.wrong("log.filter", format!("cannot be read: {error}"), mend);
    }
}
