//! Parsing of what comes from outside into what the rest of the role works with. Pure.
//!
//! All that is wrong with a request is reported together. A parser writes what is wrong into [`Problems`] and returns
//! some value; [`Problems::check`] stands between those values and their use.

use std::{borrow::Cow, net::IpAddr};

use chrono::{Datelike, TimeDelta};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prost_types::Timestamp as WireTime;
use serde_json::{Map, Value};
use tollgate_kernel::{Fault, Id, IdKind, Timestamp, Violation};
use tollgate_proto::{keys as wire, time};
use tollgate_verify::{Environment, Permission, scope};

const NAME_CHARACTERS: usize = 100;
const DESCRIPTION_CHARACTERS: usize = 500;
const PLAN_NAME_CHARACTERS: usize = 64;
const QUERY_CHARACTERS: usize = 100;
const SCOPES: usize = 64;
const ROLES: usize = 16;
const ROLE_CHARACTERS: usize = 100;
const ALLOWED_IPS: usize = 32;
const METADATA_BYTES: usize = 4096;
const METADATA_DEPTH: usize = 8;
const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// A hundred years: what lives longer lives for ever, and says so by having no end.
const LIFETIME_DAYS: u32 = 36_500;

/// What is wrong with a request, so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Violation>);

impl Problems {
    /// Something is wrong: where (a JSON pointer of the HTTP field), and what.
    pub(crate) fn add(
        &mut self,
        pointer: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) {
        self.0.push(Violation { pointer: pointer.into(), detail: detail.into() });
    }

    /// The fault with all that is wrong, if anything is.
    pub(crate) fn check(self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::violations(self.0)) }
    }

    /// All that was found wrong with a part, which stands at `pointer`.
    pub(crate) fn add_all_below(&mut self, pointer: &'static str, part: Self) {
        for Violation { pointer: below, detail } in part.0 {
            self.add(format!("{pointer}{below}"), detail);
        }
    }

    /// Complains if a list is too long. Returns as much of it as is allowed, so that the rest costs nothing.
    pub(crate) fn at_most<'a, T>(&mut self, items: &'a [T], max: usize, pointer: &'static str) -> &'a [T] {
        if items.len() > max {
            self.add(pointer, format!("has {} entries; at most {max} are allowed", items.len()));
        }
        &items[..items.len().min(max)]
    }
}

/// An id in a body or a query; absent if the text is empty.
pub(crate) fn id<K: IdKind>(text: &str, pointer: &'static str, problems: &mut Problems) -> Option<Id<K>> {
    if text.is_empty() {
        return None;
    }
    text.parse().map_err(|error: tollgate_kernel::IdError| problems.add(pointer, error.to_string())).ok()
}

/// An id in a body that is not a way to say "none".
pub(crate) fn needed_id<K: IdKind>(
    text: &str,
    pointer: &'static str,
    problems: &mut Problems,
) -> Option<Id<K>> {
    text.parse().map_err(|error: tollgate_kernel::IdError| problems.add(pointer, error.to_string())).ok()
}

/// An id in a path: what is no id names nothing.
pub(crate) fn path_id<K: IdKind>(text: &str, what: &str) -> Result<Id<K>, Fault> {
    text.parse().map_err(|_| Fault::not_found(what))
}

/// The name of a key, a service key, a consumer or a workspace.
pub(crate) fn name(text: &str, problems: &mut Problems) -> String {
    if text.trim().is_empty() || text.chars().nth(NAME_CHARACTERS).is_some() {
        problems.add("/name", format!("must have 1 to {NAME_CHARACTERS} characters, and not only spaces"));
    }
    if text.chars().any(char::is_control) {
        problems.add("/name", "must not contain control characters");
    }
    text.to_owned()
}

/// The name of a plan. It is sent as a header (`X-Tollgate-Plan`), so it is plain ASCII.
pub(crate) fn plan_name(text: &str, problems: &mut Problems) -> String {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b" _.:-".contains(&b);
    let fine =
        (1..=PLAN_NAME_CHARACTERS).contains(&text.len()) && text.bytes().all(allowed) && text.trim() == text;
    if !fine {
        let rule = "of the characters A-Z a-z 0-9 _ . : -, and spaces between them";
        problems.add("/name", format!("must have 1 to {PLAN_NAME_CHARACTERS} {rule}"));
    }
    text.to_owned()
}

/// A part of a name to search for, with ASCII letters in lower case; absent if empty.
pub(crate) fn query(text: &str, problems: &mut Problems) -> Option<String> {
    if text.chars().nth(QUERY_CHARACTERS).is_some() {
        problems.add("/q", format!("must have at most {QUERY_CHARACTERS} characters"));
    }
    if text.chars().any(char::is_control) {
        problems.add("/q", "must not contain control characters");
    }
    (!text.is_empty()).then(|| text.to_ascii_lowercase())
}

/// Where a new key may be used; live unless it is said.
pub(crate) fn environment(number: i32, problems: &mut Problems) -> Environment {
    known_environment(number, problems).unwrap_or(Environment::Live)
}

/// The environment that a list is narrowed to; absent: both.
pub(crate) fn known_environment(number: i32, problems: &mut Problems) -> Option<Environment> {
    match wire::Environment::try_from(number) {
        Ok(wire::Environment::Unspecified) => None,
        Ok(wire::Environment::Live) => Some(Environment::Live),
        Ok(wire::Environment::Test) => Some(Environment::Test),
        Err(_) => {
            problems.add("/environment", "must be `live` or `test`");
            None
        }
    }
}

/// What a key or service key is for, in words; may be empty.
pub(crate) fn description(text: &str, problems: &mut Problems) -> String {
    if text.chars().nth(DESCRIPTION_CHARACTERS).is_some() {
        problems.add("/description", format!("must have at most {DESCRIPTION_CHARACTERS} characters"));
    }
    if text.chars().any(|letter| letter.is_control() && letter != '\n') {
        problems.add("/description", "must not contain control characters other than line feeds");
    }
    text.to_owned()
}

/// Scopes that a key or service key may hold, each once, in their order.
pub(crate) fn scopes(texts: &[String], problems: &mut Problems) -> Vec<String> {
    let rule = || {
        let most = scope::SCOPE_CHARACTERS;
        format!("must have 1 to {most} of the characters a-z 0-9 _ . : -, or end with the whole segment *")
    };
    let mut scopes: Vec<String> = Vec::new();
    for (place, text) in problems.at_most(texts, SCOPES, "/scopes").iter().enumerate() {
        if !scope::is_grantable(text) {
            problems.add(format!("/scopes/{place}"), rule());
        } else if !scopes.contains(text) {
            scopes.push(text.clone());
        }
    }
    scopes
}

/// Names of roles, each once, in their order. Whether there are such roles is for the store.
pub(crate) fn role_names(texts: &[String], problems: &mut Problems) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (place, text) in problems.at_most(texts, ROLES, "/roles").iter().enumerate() {
        if !is_role_name(text) {
            problems.add(format!("/roles/{place}"), not_a_role_name());
        } else if !names.contains(text) {
            names.push(text.clone());
        }
    }
    names
}

/// The name of a role that a list is narrowed to.
pub(crate) fn role_in_query(text: &str, problems: &mut Problems) -> String {
    if !is_role_name(text) {
        problems.add("/role", not_a_role_name());
    }
    text.to_owned()
}

/// Why something is done, in the words of who does it; absent if empty.
pub(crate) fn reason(text: &str, problems: &mut Problems) -> Option<String> {
    if text.chars().nth(DESCRIPTION_CHARACTERS).is_some() || text.chars().any(char::is_control) {
        let rule = "characters, and no control characters";
        problems.add("/reason", format!("must have at most {DESCRIPTION_CHARACTERS} {rule}"));
    }
    (!text.is_empty()).then(|| text.to_owned())
}

/// The name of a role that is made.
pub(crate) fn role_name(text: &str, problems: &mut Problems) -> String {
    if !is_role_name(text) {
        problems.add("/name", not_a_role_name());
    }
    text.to_owned()
}

fn is_role_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.:-".contains(&b);
    (1..=ROLE_CHARACTERS).contains(&text.len()) && text.bytes().all(allowed)
}

fn not_a_role_name() -> String {
    format!("must have 1 to {ROLE_CHARACTERS} of the characters a-z 0-9 _ . : -")
}

/// Networks in their canonical form: an address is a network of one, host bits are zero, IPv4-mapped IPv6 is IPv4.
pub(crate) fn allowed_ips(texts: &[String], problems: &mut Problems) -> Vec<String> {
    let mut networks: Vec<String> = Vec::new();
    for (place, text) in problems.at_most(texts, ALLOWED_IPS, "/allowed_ips").iter().enumerate() {
        match network(text) {
            Some(network) if networks.contains(&network) => {}
            Some(network) => networks.push(network),
            None => problems.add(
                format!("/allowed_ips/{place}"),
                "must be an IP address or a CIDR block such as 10.0.0.0/8",
            ),
        }
    }
    networks
}

fn network(text: &str) -> Option<String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some(unmapped(net.trunc()).to_string())
}

/// RFC 4291 §2.5.5.2: `::ffff:192.0.2.0/120` is `192.0.2.0/24`, and is what a client's address is compared with.
fn unmapped(net: IpNet) -> IpNet {
    let v4 = |net: Ipv6Net| {
        let prefix = net.prefix_len().checked_sub(96)?;
        Ipv4Net::new(net.addr().to_ipv4_mapped()?, prefix).ok()
    };
    match net {
        IpNet::V6(v6) => v4(v6).map_or(net, IpNet::V4),
        IpNet::V4(_) => net,
    }
}

/// The workspace's own notes on a key: a JSON object; empty text is the empty object.
pub(crate) fn metadata(text: &str, problems: &mut Problems) -> Value {
    let too_long = || format!("must be at most {METADATA_BYTES} bytes of JSON");
    if text.is_empty() {
        return Value::Object(Map::new());
    }
    if text.len() > METADATA_BYTES {
        problems.add("/metadata", too_long());
        return Value::Null;
    }
    let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
        problems.add("/metadata", "must be a JSON object");
        return Value::Null;
    };
    // Once more: a number may be written longer than it came.
    if value.to_string().len() > METADATA_BYTES {
        problems.add("/metadata", too_long());
    }
    if depth(&value) > METADATA_DEPTH {
        problems.add("/metadata", format!("must be at most {METADATA_DEPTH} objects and arrays deep"));
    }
    if has_nul(&value) {
        problems.add("/metadata", "must not contain the character U+0000");
    }
    value
}

// Both walk at most as deep as the JSON parser went, which is 128.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

// PostgreSQL cannot store it.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// When a new key or service key ends; absent: never.
pub(crate) fn expiry(
    at: Option<WireTime>,
    in_days: u32,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<Timestamp> {
    let latest = now + TimeDelta::days(LIFETIME_DAYS.into());
    match (at, in_days) {
        (None, 0) => None,
        (Some(at), 0) => {
            let at = instant(Some(at), "/expires_at", problems)?;
            if at <= now || at > latest {
                problems.add(
                    "/expires_at",
                    format!("must be in the future, within {LIFETIME_DAYS} days from now"),
                );
            }
            Some(at)
        }
        (None, days @ 1..=LIFETIME_DAYS) => Some(now + TimeDelta::days(days.into())),
        (None, _) => {
            problems.add("/expires_in_days", format!("must be 1 to {LIFETIME_DAYS}"));
            None
        }
        (Some(_), _) => {
            problems.add("/expires_in_days", "must not be given together with `expires_at`");
            None
        }
    }
}

/// When a key is to end that is there already: in the past, it has ended.
pub(crate) fn end(at: WireTime, now: Timestamp, problems: &mut Problems) -> Option<Timestamp> {
    let at = instant(Some(at), "/expires_at", problems)?;
    if at > now + TimeDelta::days(LIFETIME_DAYS.into()) {
        problems.add("/expires_at", format!("must be within {LIFETIME_DAYS} days from now"));
    }
    Some(at)
}

/// When a key begins to pass; absent: at once.
pub(crate) fn beginning(at: Option<WireTime>, now: Timestamp, problems: &mut Problems) -> Option<Timestamp> {
    let at = instant(Some(at?), "/not_before", problems)?;
    if at > now + TimeDelta::days(LIFETIME_DAYS.into()) {
        problems.add("/not_before", format!("must be within {LIFETIME_DAYS} days from now"));
    }
    Some(at)
}

/// A key begins before it ends.
pub(crate) fn in_order(begins: Option<Timestamp>, ends: Option<Timestamp>, problems: &mut Problems) {
    if let (Some(begins), Some(ends)) = (begins, ends)
        && begins >= ends
    {
        problems.add("/not_before", "must be before `expires_at`");
    }
}

/// An instant from the wire, of the years that every format can write; so no sum of it and a span we know overflows.
pub(crate) fn instant(
    at: Option<WireTime>,
    pointer: impl Into<Cow<'static, str>>,
    problems: &mut Problems,
) -> Option<Timestamp> {
    let at = time::from_wire(at?, "").ok().filter(|at| (1970..=9999).contains(&at.year()));
    if at.is_none() {
        problems.add(pointer, "must be an instant between the years 1970 and 9999");
    }
    at
}

/// The permissions of a service key, each once, in their order.
pub(crate) fn permissions(texts: &[String], problems: &mut Problems) -> Vec<Permission> {
    let mut permissions = Vec::new();
    for (place, text) in problems.at_most(texts, Permission::ALL.len(), "/permissions").iter().enumerate() {
        match text.parse::<Permission>() {
            Ok(permission) if permissions.contains(&permission) => {}
            Ok(permission) => permissions.push(permission),
            Err(unknown) => problems.add(format!("/permissions/{place}"), unknown.to_string()),
        }
    }
    if texts.is_empty() {
        problems.add("/permissions", "must name at least one permission");
    }
    permissions
}

/// What makes a retry recognizable; absent if empty.
pub(crate) fn idempotency_key(text: &str, problems: &mut Problems) -> Option<String> {
    if text.len() > IDEMPOTENCY_KEY_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
        problems.add(
            "/idempotency_key",
            format!("must have at most {IDEMPOTENCY_KEY_BYTES} visible ASCII characters"),
        );
    }
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
