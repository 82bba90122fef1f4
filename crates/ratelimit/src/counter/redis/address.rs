//! Where Redis is: what an address may look like, and what it says.
//!
//! - `redis://[user:password@]host[:port][/database]`: one server
//! - `redis+cluster://[user:password@]host[:port],host[:port]…`: a Redis Cluster, by some of its nodes
//! - `redis+sentinel://[user:password@]host[:port],…/name[/database][?sentinel_password=…]`: the primary of this name, by the
//!   Sentinels that watch it
//!
//! User and password are those of the servers, percent-encoded. With `rediss` for `redis`, whoever is there is spoken to over TLS:
//! servers, nodes and Sentinels.

use ::redis::{ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

/// What the address of a Redis must look like.
pub(crate) const FORMS: &str = "redis://[user:password@]host[:port][/database], \
     redis+cluster://[user:password@]host[:port],… or \
     redis+sentinel://[user:password@]host[:port],…/name[/database]; or the same with rediss for redis, for TLS";

/// Where a Sentinel listens if its address does not say.
const SENTINEL_PORT: u16 = 26_379;
/// Where a server listens if its address does not say.
const PORT: u16 = 6_379;

/// What an address begins with.
const PLAIN: &str = "redis";
/// And if TLS is spoken there.
const TLS: &str = "rediss";

/// Where Redis is.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// One server.
    Server(ConnectionInfo),
    /// The primaries of a cluster, which some of its nodes know.
    Cluster(Vec<ConnectionInfo>),
    /// A primary, whose address is for Sentinels to say.
    Sentinel(Sentinels),
}

/// Who knows where a primary is.
#[derive(Debug, Clone)]
pub(super) struct Sentinels {
    /// Where they are.
    pub(super) at: Vec<ConnectionInfo>,
    /// How they call it.
    pub(super) name: String,
    /// User, password and database of the primary.
    pub(super) login: RedisConnectionInfo,
}

impl Address {
    /// None if it is not of one of the [`FORMS`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        match scheme.replacen(TLS, PLAIN, 1).as_str() {
            "redis" if query.is_empty() => Some(Self::Server(info(login, hosts, PORT, path)?)),
            "redis+cluster" if query.is_empty() && path.is_empty() => {
                Some(Self::Cluster(all(login, hosts, PORT)?))
            }
            "redis+sentinel" => Some(Self::Sentinel(sentinels(login, hosts, path, query)?)),
            _ => None,
        }
    }
}

/// Whether TLS is spoken at this address.
pub(super) fn is_tls(text: &str) -> bool {
    text.starts_with(TLS)
}

/// How a server is reached that was found at `host` and `port`.
pub(super) fn at(host: &str, port: u16, login: &RedisConnectionInfo) -> Option<ConnectionInfo> {
    Some((host, port).into_connection_info().ok()?.set_redis_settings(login.clone()))
}

fn sentinels(login: &str, hosts: &str, path: &str, query: &str) -> Option<Sentinels> {
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return None;
    }
    let password = match query {
        "" => String::new(),
        _ => format!(":{}", query.strip_prefix("sentinel_password=")?),
    };
    let server = info(login, "localhost", PORT, database)?;
    Some(Sentinels {
        at: all(&password, hosts, SENTINEL_PORT)?,
        name: name.to_owned(),
        login: server.redis_settings().clone(),
    })
}

fn all(login: &str, hosts: &str, port: u16) -> Option<Vec<ConnectionInfo>> {
    hosts.split(',').map(|host| info(login, host, port, "")).collect()
}

fn info(login: &str, host: &str, port: u16, database: &str) -> Option<ConnectionInfo> {
    if host.is_empty() || host.contains(',') || database.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    // The colons of an IPv6 address are within brackets.
    let has_port = host.rsplit_once(':').is_some_and(|(_, end)| !end.contains(']'));
    let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    let at = if login.is_empty() { "" } else { "@" };
    format!("redis://{login}{at}{host}/{database}").into_connection_info().ok()
}

#[cfg(test)]
mod tests {
    use ::redis::ConnectionAddr;

    use super::*;

    fn places(infos: &[ConnectionInfo]) -> Vec<String> {
        infos.iter().map(|info| info.addr().to_string()).collect()
    }

    #[test]
    fn one_server_has_a_login_and_a_database() {
        let Some(Address::Server(info)) = Address::parse("redis://me:p%40ss@[::1]:7000/3") else {
            panic!("it is one server");
        };
        assert_eq!(*info.addr(), ConnectionAddr::Tcp("::1".to_owned(), 7000));
        let login = info.redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("p@ss"), 3));
    }

    #[test]
    fn over_tls_an_address_says_the_same() {
        for text in ["redis://me:p@a:7000/3", "redis+cluster://a,b", "redis+sentinel://a,b/mine"] {
            let over = text.replacen("redis", "rediss", 1);
            let [plain, over] = [text, &over].map(|text| (Address::parse(text), is_tls(text)));
            assert_eq!((plain.1, over.1), (false, true));
            assert_eq!(format!("{:?}", plain.0.expect("parsed")), format!("{:?}", over.0.expect("parsed")));
        }
    }

    #[test]
    fn a_cluster_is_known_by_some_of_its_nodes() {
        let Some(Address::Cluster(seeds)) = Address::parse("redis+cluster://:secret@a:7000,b,[::1]") else {
            panic!("it is a cluster");
        };
        assert_eq!(places(&seeds), ["a:7000", "b:6379", "::1:6379"]);
        assert!(seeds.iter().all(|seed| seed.redis_settings().password() == Some("secret")));
    }

    #[test]
    fn a_primary_is_known_to_its_sentinels() {
        let text = "redis+sentinel://me:p@a,b:7000/mine/5?sentinel_password=%2Fq";
        let Some(Address::Sentinel(found)) = Address::parse(text) else { panic!("these are Sentinels") };
        assert_eq!(places(&found.at), ["a:26379", "b:7000"]);
        assert_eq!((found.name.as_str(), found.login.username(), found.login.db()), ("mine", Some("me"), 5));
        let asked = found.at[0].redis_settings();
        assert_eq!((asked.username(), asked.password(), asked.db()), (None, Some("/q"), 0));
    }

    #[test]
    fn what_is_of_no_form_is_none() {
        for text in [
            "",
            "redis://",
            "redis://a,b",
            "redis://a/b",
            "redis://a:port",
            "redisss://a",
            "rediss",
            "rediss://a/b",
            "redis+cluster://a/1",
            "redis+cluster://a,,b",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel://a/name/x",
            "redis+sentinel://a/name?other=1",
            "postgres://a/b",
        ] {
            assert!(Address::parse(text).is_none(), "{text}");
        }
    }
}
