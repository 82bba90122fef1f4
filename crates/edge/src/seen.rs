//! What is remembered of who called: the network and the program of a key's last call, and no more of either than that. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, header::USER_AGENT};

/// Most of what a program says of itself that is kept, in bytes.
const MAX_USER_AGENT: usize = 200;

/// The network of an address: 24 bits of IPv4, 48 of IPv6, the most that one subscriber is given (RFC 6177 section 2). So it says
/// where a call came from, and not from whom.
pub(crate) fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(address) => format!("{}/24", Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(address) => format!("{}/48", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80))),
    }
}

/// What a program says of itself, without control characters, cut off where it grows too long.
pub(crate) fn user_agent(said: &str) -> String {
    let mut kept = String::new();
    for letter in said.trim().chars().filter(|letter| !letter.is_control()) {
        if kept.len() + letter.len_utf8() > MAX_USER_AGENT {
            break;
        }
        kept.push(letter);
    }
    kept
}

/// What a request says of its program; empty: nothing, or nothing that is text. Of several the first.
pub(crate) fn user_agent_of(headers: &HeaderMap) -> String {
    let said = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    user_agent(said.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_remembered_as_its_network() {
        for (ip, expected) in [
            ("203.0.113.9", "203.0.113.0/24"),
            ("::ffff:203.0.113.255", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("2001:db8:ffff:ffff::1", "2001:db8:ffff::/48"),
            ("::1", "::/48"),
        ] {
            assert_eq!(network(ip.parse().expect("an address")), expected, "{ip}");
        }
    }

    #[test]
    fn a_program_is_remembered_by_what_can_be_shown() {
        assert_eq!(user_agent(" curl/8.5.0 "), "curl/8.5.0");
        assert_eq!(user_agent("a\r\nb\u{0}c\u{7f}d\u{85}e\tf"), "abcdef");
        assert_eq!(user_agent(&"u".repeat(201)), "u".repeat(200));
        // 199 bytes, and no half of a letter after them.
        assert_eq!(user_agent(&format!("u{}", "é".repeat(100))), format!("u{}", "é".repeat(99)));
        assert_eq!(user_agent(""), "");
    }
}
