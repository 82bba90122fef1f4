//! A Redis Cluster of a test's own: three primaries, and replicas for some of them.

use futures_util::future::join_all;
use tollgate_kernel::SecretString;

use crate::{authority::Authority, private_redis::PrivateRedis, process::until};

/// The slots of the three primaries (Redis Cluster has 16 384).
const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

/// A Redis Cluster on ports of its own, with its data in temporary folders. Ended on drop.
///
/// A node that does not answer for five seconds is failed over, if it has a replica; the slots of one that has none are out of
/// reach, and the others go on.
pub struct PrivateCluster {
    /// The three primaries, as it began; then their replicas.
    pub nodes: Vec<PrivateRedis>,
    scheme: &'static str,
}

impl PrivateCluster {
    /// Starts three primaries, and a replica for each of the first `replicas` of them.
    pub async fn start(replicas: usize) -> Self {
        Self::of(replicas, None).await
    }

    /// Starts three primaries that speak nothing but TLS, with the caller and with each other.
    pub async fn start_tls(authority: &Authority) -> Self {
        Self::of(0, Some(authority)).await
    }

    async fn of(replicas: usize, authority: Option<&Authority>) -> Self {
        let nodes = join_all((0..RANGES.len() + replicas).map(|_| node(authority))).await;
        let scheme = if authority.is_some() { "rediss" } else { "redis" };
        let cluster = Self { nodes, scheme };
        cluster.join().await;
        cluster.replicate().await;
        cluster
    }

    /// `redis+cluster://…`, or over TLS `rediss+cluster://…`, by its first three nodes.
    pub fn url(&self) -> SecretString {
        let nodes: Vec<_> =
            self.nodes[..RANGES.len()].iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("{}+cluster://{}", self.scheme, nodes.join(",")).into()
    }

    /// Which of the nodes has the slot of this hash tag, as the node `asked` knows it.
    pub async fn owner(&self, asked: usize, tag: &str) -> usize {
        let slot: u16 = self.nodes[asked].ask(&format!("CLUSTER KEYSLOT {tag}")).await.expect("it answers");
        let map: Vec<Vec<redis::Value>> = self.nodes[asked].ask("CLUSTER SLOTS").await.expect("it answers");
        let port = map.iter().find_map(|row| port_of(row, slot)).expect("every slot has a primary");
        self.nodes.iter().position(|node| node.port() == port).expect("all nodes are ours")
    }

    /// Moves the slot of this hash tag from one primary to another, as a tool does that balances a cluster: `meanwhile` is
    /// done when the slot is on its way and its names are with neither alone.
    pub async fn move_slot(&self, tag: &str, from: usize, to: usize, meanwhile: impl Future<Output = ()>) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let slot: u16 = source.ask(&format!("CLUSTER KEYSLOT {tag}")).await.expect("it answers");
        let source_id: String = source.ask("CLUSTER MYID").await.expect("it has one");
        let target_id: String = target.ask("CLUSTER MYID").await.expect("it has one");
        target.execute(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}")).await;
        source.execute(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}")).await;
        meanwhile.await;
        let names: Vec<String> =
            source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1000")).await.expect("it answers");
        for name in names {
            source.execute(&format!("MIGRATE 127.0.0.1 {} {name} 0 5000", target.port())).await;
        }
        for node in [target, source] {
            node.execute(&format!("CLUSTER SETSLOT {slot} NODE {target_id}")).await;
        }
    }

    /// Waits until this node knows another primary of the slot than `before`.
    pub async fn failed_over(&self, asked: usize, tag: &str, before: usize) {
        until("a replica takes over", || async { self.owner(asked, tag).await != before }).await;
    }

    /// Waits until the replica of this primary has all that it has.
    pub async fn caught_up(&self, primary: usize, replica: usize) {
        until("the replica catches up", || async {
            let there = offset(&self.nodes[primary], "master_repl_offset:").await;
            there.is_some() && there == offset(&self.nodes[replica], "slave_repl_offset:").await
        })
        .await;
    }

    /// Makes one cluster of the nodes.
    async fn join(&self) {
        let first = &self.nodes[0];
        for (number, node) in self.nodes.iter().enumerate() {
            // Different from the start, so that they need not agree on an order.
            node.execute(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).await;
            if let Some((from, to)) = RANGES.get(number) {
                node.execute(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")).await;
            }
        }
        for node in &self.nodes[1..] {
            let bus: Vec<String> = node.ask("CONFIG GET cluster-port").await.expect("it has one");
            first.execute(&format!("CLUSTER MEET 127.0.0.1 {} {}", node.port(), bus[1])).await;
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        let lines = [known.as_str(), "cluster_state:ok"];
        for node in &self.nodes {
            until("the nodes know each other", || says(node, "CLUSTER INFO", &lines)).await;
        }
    }

    async fn replicate(&self) {
        for (primary, replica) in self.nodes.iter().zip(&self.nodes[RANGES.len()..]) {
            let id: String = primary.ask("CLUSTER MYID").await.expect("it has one");
            replica.execute(&format!("CLUSTER REPLICATE {id}")).await;
        }
        for replica in &self.nodes[RANGES.len()..] {
            until("replicas follow", || says(replica, "INFO replication", &["master_link_status:up"])).await;
        }
        let slaves = self.nodes.len() - RANGES.len();
        for node in &self.nodes {
            until("all know who is a replica", || async {
                let nodes: String = node.ask("CLUSTER NODES").await.unwrap_or_default();
                nodes.matches("slave").count() == slaves
            })
            .await;
        }
    }
}

async fn node(authority: Option<&Authority>) -> PrivateRedis {
    let settings = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "5000",
        "--cluster-replica-validity-factor",
        "0",
        "--cluster-require-full-coverage",
        "no",
    ];
    match authority {
        None => PrivateRedis::start_with(&settings).await,
        Some(authority) => {
            let among_them = ["--tls-cluster", "yes", "--tls-replication", "yes"];
            PrivateRedis::start_tls(authority, &[&settings[..], &among_them].concat()).await
        }
    }
}

/// A field of what it says about its replication.
pub(crate) async fn offset(node: &PrivateRedis, field: &str) -> Option<String> {
    let info: String = node.ask("INFO replication").await?;
    info.lines().find_map(|line| Some(line.strip_prefix(field)?.trim().to_owned()))
}

async fn says(node: &PrivateRedis, question: &str, lines: &[&str]) -> bool {
    let answer: String = node.ask(question).await.unwrap_or_default();
    lines.iter().all(|line| answer.lines().any(|said| said.trim() == *line))
}

/// The primary's port, if the slot is in this row of `CLUSTER SLOTS`.
fn port_of(row: &[redis::Value], slot: u16) -> Option<u16> {
    let [first, last, primary, ..] = row else { return None };
    let number = |value| redis::from_redis_value_ref::<u16>(value).ok();
    let primary: Vec<redis::Value> = redis::from_redis_value_ref(primary).ok()?;
    (number(first)?..=number(last)?).contains(&slot).then(|| number(primary.get(1)?))?
}
