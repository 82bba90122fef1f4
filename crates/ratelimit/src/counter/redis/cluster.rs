//! A Redis Cluster: which node has which slots, and a [`Link`] to each.
//!
//! The map is read from the nodes by one task, at the start, and whenever a call was sent elsewhere or a node did not answer;
//! while a node is down, once per interval. Calls use the map that there is, and follow the nodes where it is old. A node
//! that is down takes only its own slots with it.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use ::redis::{ConnectionInfo, ErrorKind, RedisResult, ServerErrorKind};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    address,
    link::{Connection, Failure, Link, Via},
    map::{self, Node, Ranges},
    server::{Place, Setup},
};

/// How many times one call follows a node's word that another has the slot.
const HOPS: usize = 4;
/// How long a call waits for a slot whose names are with two nodes before it asks again.
const PAUSE: Duration = Duration::from_millis(2);

/// The nodes of a cluster.
pub(super) struct Cluster(Arc<Shared>);

struct Shared {
    seeds: Vec<ConnectionInfo>,
    setup: Arc<Setup>,
    map: watch::Sender<Map>,
    links: Mutex<HashMap<Node, Linked>>,
    /// The map may be old.
    doubt: Arc<Notify>,
}

struct Linked {
    link: Arc<Link>,
    /// A call was sent there since the map was last read.
    wanted: bool,
}

#[derive(Clone)]
enum Map {
    /// A first attempt to read it is under way; calls wait for it.
    Unread,
    /// No node answers; calls do not wait.
    Unknown,
    Known(Arc<Vec<Slots>>),
}

/// Slots in a row that one node has.
struct Slots {
    first: u16,
    last: u16,
    link: Arc<Link>,
}

/// What a node says about where else to go.
struct Redirect {
    node: Node,
    /// Only this once: the slot is on its way there.
    asking: bool,
}

impl Cluster {
    /// Begins to read the map, within a Tokio runtime.
    pub(super) fn open(seeds: Vec<ConnectionInfo>, setup: Arc<Setup>) -> Self {
        let (map, _) = watch::channel(Map::Unread);
        let shared = Shared { seeds, setup, map, links: Mutex::default(), doubt: Arc::default() };
        let shared = Arc::new(shared);
        tokio::spawn(follow(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// Does `work` on a connection to the node that has this slot. While the slot moves and its names are with two nodes,
    /// neither can; then it is asked again until one has them all, or the time is over.
    pub(super) async fn run<T, F>(
        &self,
        slot: u16,
        via: Via,
        deadline: Instant,
        work: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        loop {
            match self.attempt(slot, via, deadline, &work).await {
                Err(failure) if is_between(&failure) && Instant::now() + PAUSE < deadline => {
                    sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Asks the node that the map names, and those that the nodes name.
    async fn attempt<T, F>(
        &self,
        slot: u16,
        via: Via,
        deadline: Instant,
        work: &impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let mut failure = Failure::Down;
        let mut link = self.link(slot, deadline).await?;
        let mut asking = false;
        for _ in 0..HOPS {
            let done = if asking {
                link.run_asking(via, deadline, work).await
            } else {
                link.run(via, deadline, work).await
            };
            failure = match done {
                Err(failure) => failure,
                done => return done,
            };
            let Some(redirect) = redirect(&failure) else { break };
            let Some(next) = self.0.wanted(&redirect.node) else { break };
            (link, asking) = (next, redirect.asking);
            if !asking {
                self.0.doubt.notify_one();
            }
        }
        if is_doubtful(&failure) {
            self.0.doubt.notify_one();
        }
        Err(failure)
    }

    /// One slot of each node that has some, when the map is known.
    pub(super) async fn one_of_each(&self, deadline: Instant) -> Result<Vec<u16>, Failure> {
        let map = self.map(deadline).await?;
        let is_first = |at: usize| !map[..at].iter().any(|it| Arc::ptr_eq(&it.link, &map[at].link));
        Ok((0..map.len()).filter(|at| is_first(*at)).map(|at| map[at].first).collect())
    }

    /// Deals things out by the node that has the slot of each, as far as is known now.
    pub(super) fn by_node<T>(&self, things: Vec<T>, slot: impl Fn(&T) -> u16) -> Vec<Vec<T>> {
        let known = self.0.map.borrow().clone();
        let mut nodes: HashMap<usize, Vec<T>> = HashMap::new();
        for thing in things {
            let node = match &known {
                Map::Known(map) => find(map, slot(&thing)).map_or(0, |it| Arc::as_ptr(&it.link).addr()),
                _ => 0,
            };
            nodes.entry(node).or_default().push(thing);
        }
        nodes.into_values().collect()
    }

    /// Waits for the end of the first attempt to connect to all. Why a primary must not be used, if it is so.
    pub(super) async fn unfit(&self, deadline: Instant) -> Option<&'static str> {
        for slots in self.map(deadline).await.ok()?.iter() {
            if let Some(why) = slots.link.unfit().await {
                return Some(why);
            }
        }
        None
    }

    async fn link(&self, slot: u16, deadline: Instant) -> Result<Arc<Link>, Failure> {
        let found = find(&self.map(deadline).await?, slot).map(|slots| slots.link.clone());
        if found.is_none() {
            self.0.doubt.notify_one();
        }
        found.ok_or(Failure::Down)
    }

    async fn map(&self, deadline: Instant) -> Result<Arc<Vec<Slots>>, Failure> {
        if let Map::Known(map) = &*self.0.map.borrow() {
            return Ok(map.clone());
        }
        let mut map = self.0.map.subscribe();
        let read = map.wait_for(|map| !matches!(map, Map::Unread));
        match timeout_at(deadline, read).await.map_err(|_| Failure::Late)?.as_deref() {
            Ok(Map::Known(map)) => Ok(map.clone()),
            _ => Err(Failure::Down),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The task that follows the map waits for a doubt, and finds that nobody needs it.
        self.0.doubt.notify_one();
    }
}

fn find(map: &[Slots], slot: u16) -> Option<&Slots> {
    let at = map.partition_point(|slots| slots.last < slot);
    map.get(at).filter(|slots| slots.first <= slot)
}

fn redirect(failure: &Failure) -> Option<Redirect> {
    let Failure::Refused(error) = failure else { return None };
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let node = (host.to_owned(), port.parse().ok()?);
    Some(Redirect { node, asking: error.kind() == ErrorKind::Server(ServerErrorKind::Ask) })
}

/// Whether some of the names are with the node that was asked, and some are not.
fn is_between(failure: &Failure) -> bool {
    let Failure::Refused(error) = failure else { return false };
    error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain)
}

/// Whether another node may have the slot by now.
fn is_doubtful(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(error) => {
            let lost = [ServerErrorKind::ClusterDown, ServerErrorKind::ReadOnly, ServerErrorKind::Moved];
            matches!(error.kind(), ErrorKind::Server(kind) if lost.contains(&kind))
        }
        _ => true,
    }
}

/// Keeps the map up to date for as long as somebody needs it.
async fn follow(cluster: Weak<Shared>) {
    let mut turn = 0;
    while let Some(shared) = cluster.upgrade() {
        shared.read(turn).await;
        turn += 1;
        let (is_good, doubt) = (shared.is_good(), shared.doubt.clone());
        let pause = shared.setup.pace.retry_interval;
        drop(shared);
        tokio::time::sleep(pause).await;
        if is_good {
            doubt.notified().await;
        }
    }
}

impl Shared {
    /// Reads the map from the first node that knows it, beginning with another one each time: one may be cut off.
    async fn read(&self, turn: usize) {
        let patience = self.setup.pace.connect_timeout;
        let mut failure = Failure::Down;
        for node in self.whom_to_ask(turn) {
            failure = match timeout(patience, map::ask(&node, &self.setup)).await {
                Ok(Ok(ranges)) => return self.learn(&ranges),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Late,
            };
        }
        let unread = self.map.send_if_modified(|map| {
            let unread = matches!(map, Map::Unread);
            if unread {
                *map = Map::Unknown;
            }
            unread
        });
        if unread {
            let cause = failure.cause();
            tracing::warn!(%failure, cause, "no node of the Redis Cluster knows which of them has what");
        }
    }

    /// Nodes that answer, then those that the address names.
    fn whom_to_ask(&self, turn: usize) -> Vec<ConnectionInfo> {
        let mut nodes: Vec<_> = {
            let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            let up = links.iter().filter(|(_, linked)| linked.link.is_up());
            up.filter_map(|((host, port), _)| self.info(host, *port)).collect()
        };
        nodes.sort_by_key(|info| info.addr().to_string());
        let mut seeds = self.seeds.clone();
        for list in [&mut nodes, &mut seeds] {
            let by = turn % list.len().max(1);
            list.rotate_left(by);
        }
        nodes.extend(seeds);
        nodes
    }

    fn learn(&self, ranges: &Ranges) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = Vec::with_capacity(ranges.len());
        for (first, last, node) in ranges {
            let Some(link) = self.linked(&mut links, node) else { continue };
            map.push(Slots { first: *first, last: *last, link });
        }
        map.sort_by_key(|slots| slots.first);
        links.retain(|node, linked| {
            std::mem::take(&mut linked.wanted) || ranges.iter().any(|(.., other)| node == other)
        });
        self.map.send_replace(Map::Known(Arc::new(map)));
    }

    /// The link to a node to which a call was sent.
    fn wanted(&self, node: &Node) -> Option<Arc<Link>> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = self.linked(&mut links, node)?;
        links.entry(node.clone()).and_modify(|linked| linked.wanted = true);
        Some(link)
    }

    /// The link to a node, which begins to connect if it is new.
    fn linked(&self, links: &mut HashMap<Node, Linked>, node: &Node) -> Option<Arc<Link>> {
        if let Some(linked) = links.get(node) {
            return Some(linked.link.clone());
        }
        let place = Place::At(self.info(&node.0, node.1)?);
        let link = Arc::new(Link::open(place, self.setup.clone()));
        links.insert(node.clone(), Linked { link: link.clone(), wanted: false });
        Some(link)
    }

    /// A node has the login of the address.
    fn info(&self, host: &str, port: u16) -> Option<ConnectionInfo> {
        address::at(host, port, self.seeds.first()?.redis_settings())
    }

    fn is_good(&self) -> bool {
        match &*self.map.borrow() {
            Map::Known(map) => map.iter().all(|slots| slots.link.is_up()),
            _ => false,
        }
    }
}
