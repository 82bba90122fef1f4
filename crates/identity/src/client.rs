//! Who is at the other end: the address and the name of a client, as the edge says them.

use std::net::{IpAddr, Ipv6Addr};

use tollgate_kernel::Fault;

const MAX_USER_AGENT: usize = 512;

/// The client's address; none if the text is empty. IPv4 in IPv6 is IPv4.
pub(crate) fn ip(text: &str) -> Result<Option<IpAddr>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let ip: IpAddr = text.parse().map_err(|_| Fault::invalid("/ip", "is not an IP address"))?;
    Ok(Some(ip.to_canonical()))
}

/// What counts as one place in a throttle: an IPv4 address, or the /64 of an IPv6 one, since whoever has one address of
/// it has them all. Clients without an address share one.
pub(crate) fn place(ip: Option<IpAddr>) -> String {
    match ip {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => {
            let network = Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64));
            format!("{network}/64")
        }
    }
}

/// What the client calls itself, without control characters, cut at 512 bytes.
pub(crate) fn user_agent(text: &str) -> String {
    let mut plain: String = text.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect();
    plain.truncate(plain.floor_char_boundary(MAX_USER_AGENT));
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_place() {
        for (text, expected) in [
            ("", "unknown"),
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(place(ip(text).unwrap()), expected);
        }
        assert_eq!(ip("192.0.2.7:80").unwrap_err().violated()[0].pointer, "/ip");
    }

    #[test]
    fn a_user_agent_is_cut_between_characters() {
        assert_eq!(user_agent("curl/8\0\r\n"), "curl/8");
        let cut = user_agent(&"é".repeat(400));
        assert_eq!((cut.len(), cut.chars().count()), (512, 256));
        assert_eq!(user_agent(&format!("a{}", "é".repeat(400))).len(), 511);
    }
}
