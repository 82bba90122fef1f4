//! What the nodes of a Redis Cluster say about who has which slots, and which slot a name is in (Redis Cluster
//! specification, "Key distribution model").

use ::redis::{ConnectionInfo, ParsingError, Value, cmd, from_redis_value_ref};

use super::{link::Failure, server::Setup, wire::dial};

/// How many slots there are.
pub(super) const SLOTS: u16 = 16_384;

/// A host and a port.
pub(super) type Node = (String, u16);
/// First and last slot, and the primary that has them.
pub(super) type Ranges = Vec<(u16, u16, Node)>;

/// The slot of a hash tag, or of a key without one.
pub(super) fn slot(tag: &str) -> u16 {
    crc16(tag.as_bytes()) % SLOTS
}

/// Asks a node for the map. One that knows itself to be cut off from the others does not answer.
pub(super) async fn ask(node: &ConnectionInfo, setup: &Setup) -> Result<Ranges, Failure> {
    let host = match node.addr() {
        ::redis::ConnectionAddr::Tcp(host, _) => host.clone(),
        _ => String::new(),
    };
    let wire = dial(node, setup).await?;
    let state: String = wire.query(cmd("CLUSTER").arg("INFO")).await?;
    if !state.lines().any(|line| line.trim() == "cluster_state:ok") {
        return Err(Failure::Down);
    }
    let rows: Vec<Vec<Value>> = wire.query(cmd("CLUSTER").arg("SLOTS")).await?;
    rows.iter()
        .filter_map(|row| range(row, &host))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::Refused(error.into()))
}

/// First slot, last slot, the primary, replicas. A node that does not know its own name is where it was asked.
fn range(row: &[Value], asked: &str) -> Option<Result<(u16, u16, Node), ParsingError>> {
    let [first, last, primary, ..] = row else { return None };
    let parse = || {
        let node: Vec<Value> = from_redis_value_ref(primary)?;
        let [host, port, ..] = &node[..] else { return Ok(None) };
        let host: Option<String> = from_redis_value_ref(host)?;
        let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| asked.to_owned());
        let node = (host, from_redis_value_ref(port)?);
        Ok(Some((from_redis_value_ref(first)?, from_redis_value_ref(last)?, node)))
    };
    parse().transpose()
}

/// CRC16-CCITT (XMODEM): polynomial 1021, nothing reflected, beginning with 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_the_one_that_the_specification_says() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12_182);
    }

    #[test]
    fn a_row_names_its_primary_first() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::Nil]);
        let text = |text: &str| Value::BulkString(text.into());
        let row = |host| [Value::Int(0), Value::Int(5460), node(host, 7000), node(text("10.0.0.2"), 7001)];
        let read = |host| range(&row(host), "asked").expect("a range").expect("it parses");
        assert_eq!(read(text("10.0.0.1")), (0, 5460, ("10.0.0.1".to_owned(), 7000)));
        for unnamed in [text(""), text("?"), Value::Nil] {
            assert_eq!(read(unnamed).2, ("asked".to_owned(), 7000));
        }
        assert!(range(&[Value::Int(0)], "asked").is_none());
    }
}
