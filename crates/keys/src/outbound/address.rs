//! Where this role may send to: an address as a text, and the addresses that its host turns out to have. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use ipnet::{Ipv4Net, Ipv6Net};

/// Bytes.
const LONGEST_URL: usize = 2048;

/// What is not the public internet (the IANA special-purpose registries, RFC 6890), but may be somebody's own network.
const PRIVATE_V4: [Ipv4Net; 5] = [
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
];
/// What nobody may send to: "this" network, link-local with the metadata of clouds, protocols, examples, multicast, reserved.
const NEVER_V4: [Ipv4Net; 10] = [
    v4(0, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];
/// Unique local addresses.
const PRIVATE_V6: Ipv6Net = v6(0xfc00, 0, 7);
/// All that is routed; the rest of IPv6 is link-local, multicast, translated, or nothing yet.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);
/// Of that: protocols (Teredo among them), examples, and 6to4, which leads to IPv4 addresses.
const NEVER_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x2002, 0, 16), v6(0x3fff, 0, 20)];
/// The metadata of a cloud, at a unique local address.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the header `Host` says it.
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl Target {
    /// The target that a text names. `private`: private networks may be sent to, and this machine also without TLS.
    ///
    /// # Errors
    /// What is wrong with it, for whoever wrote it.
    pub(crate) fn parse(text: &str, private: bool) -> Result<Self, &'static str> {
        if text.len() > LONGEST_URL || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must have at most 2048 visible ASCII characters");
        }
        let uri: Uri = text.parse().map_err(|_| "is not an address")?;
        let authority = uri.authority().ok_or("is not an absolute address")?.as_str();
        if authority.contains('@') || text.contains(['#', '\\']) {
            return Err("must not have a user, a fragment or a backslash");
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if private && is_this_machine(&host) => false,
            _ => return Err("must begin with https://"),
        };
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        // A colon without a port, or one that is too large, is none to the parser.
        let plain = authority == uri.host().unwrap_or_default() || authority.ends_with(&format!(":{port}"));
        if host.is_empty() || port == 0 || !plain {
            return Err("has no host, or a port that is none");
        }
        if host.parse().is_ok_and(|address| !allowed(address, private)) {
            return Err("leads to an address that is not on the public internet");
        }
        let path = uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        Ok(Self { tls, host, port, authority: authority.to_owned(), path })
    }
}

/// Whether something may be sent to this address. `private`: private networks may be sent to.
pub(crate) fn allowed(address: IpAddr, private: bool) -> bool {
    // An IPv4-mapped address is the IPv4 address (RFC 4291 §2.5.5.2).
    match address.to_canonical() {
        IpAddr::V4(address) if PRIVATE_V4.iter().any(|net| net.contains(&address)) => private,
        IpAddr::V4(address) => !NEVER_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(METADATA_V6) => false,
        IpAddr::V6(address) if address.is_loopback() || PRIVATE_V6.contains(&address) => private,
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !NEVER_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// Whether this can only be this machine, to which nobody listens on the way.
fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(is_loopback)
}

/// Whether this is this machine.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_public_internet_is_allowed() {
        for text in ["1.1.1.1", "8.8.8.8", "140.82.121.6", "192.0.1.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(allowed(ip(text), false), "{text}");
        }
    }

    #[test]
    fn private_networks_are_allowed_if_a_setting_says_so() {
        for text in [
            "127.0.0.1",
            "127.255.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!allowed(ip(text), false), "{text}");
            assert!(allowed(ip(text), true), "{text}");
        }
    }

    #[test]
    fn some_addresses_are_never_allowed() {
        for text in [
            "0.0.0.0",
            "169.254.169.254",
            "169.254.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "fec0::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "::127.0.0.1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!allowed(ip(text), false), "{text}");
            assert!(!allowed(ip(text), true), "{text}");
        }
    }

    #[test]
    fn a_target_is_taken_apart() {
        let target = Target::parse("https://hooks.example.com:8443/a/b?c=d", false).expect("a target");
        let expected = Target {
            tls: true,
            host: "hooks.example.com".into(),
            port: 8443,
            authority: "hooks.example.com:8443".into(),
            path: "/a/b?c=d".into(),
        };
        assert_eq!(target, expected);
        let bare = Target::parse("https://example.com", false).expect("a target");
        assert_eq!((bare.port, bare.path.as_str()), (443, "/"));
        let six = Target::parse("https://[2606:4700::1111]/x", false).expect("a target");
        assert_eq!((six.host.as_str(), six.authority.as_str()), ("2606:4700::1111", "[2606:4700::1111]"));
        for local in ["http://127.0.0.1:8080/x", "http://localhost:1/", "http://[::1]:9/"] {
            assert!(!Target::parse(local, true).expect("a target").tls, "{local}");
            assert!(Target::parse(local, false).is_err(), "{local}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        for wrong in [
            "",
            "/path",
            "example.com",
            "http://example.com",
            "ftp://example.com",
            "https://",
            "https:///x",
            "https://user@example.com",
            "https://user:pass@example.com",
            "https://example.com/#there",
            "https://example.com\\@127.0.0.1/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.0.0.1",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:127.0.0.1]/",
            "https://[fe80::1]/",
            "https://example.com:0/",
            "https://example.com:/",
            "https://example.com:99999/",
            "https://exa mple.com/",
            "https://exämple.com/",
            "file:///etc/passwd",
            "http://localhost.example.com/",
            &long,
        ] {
            assert!(Target::parse(wrong, false).is_err(), "{wrong:.60}");
        }
        for wrong in [
            "http://10.0.0.1/",
            "http://example.com",
            "https://169.254.169.254/",
            "http://localhost.evil.com/",
        ] {
            assert!(Target::parse(wrong, true).is_err(), "{wrong}");
        }
    }
}
