//! The watch protocol against an adversary: random orders of every step of replicas, watchers, revokers, the network and the
//! clock, with crashes, pauses, partitions and a database that is replaced while somebody still reads the old one.
//!
//! Checked at every step: no verifier accepts a credential whose revoking returned before the verifying call began, and none
//! serves from its cache past its lease. Checked at the end, when all are connected again: every revoking returns, by
//! acknowledgement, and every verifier trusts its cache.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tollgate_changes::hub::{Effective, Hub, Round, Sequence, effective};
use tollgate_verify::watch::Lease;

const LEASE: Duration = Duration::from_secs(2);
/// A replica whose row was not renewed for so long is forgotten: many leases.
const FORGET: Duration = Duration::from_secs(30);
const KEYS: [Key; 5] = [1, 2, 3, 4, 5];

/// One key: it is valid until the change that revokes it is committed.
type Key = u64;

/// A database: the log (which key each change revokes) and the table of replicas.
#[derive(Clone, Default)]
struct Database {
    log: Vec<Key>,
    replicas: BTreeMap<u64, Row>,
}

#[derive(Clone)]
struct Row {
    acknowledged: Sequence,
    renewed: Duration,
}

impl Database {
    fn head(&self) -> Sequence {
        Sequence::try_from(self.log.len()).expect("a short log")
    }

    fn revoked(&self, key: Key) -> bool {
        self.log.contains(&key)
    }
}

fn entry(log: &[Key], sequence: Sequence) -> Key {
    log[usize::try_from(sequence).expect("a short log") - 1]
}

enum Down {
    Change(Sequence, Key),
    Pong(u64),
}

enum Up {
    Ping(u64),
    Ack(Sequence),
}

/// A stream between one watcher and one replica: two queues in order. `cut`: nothing moves, nobody notices.
#[derive(Default)]
struct Stream {
    down: VecDeque<Down>,
    up: VecDeque<Up>,
    cut: bool,
}

struct Replica {
    id: u64,
    hub: Hub,
    /// Still talks to the database that was replaced.
    on_old: bool,
    paused: bool,
    round: Option<(Round, Step)>,
}

/// How far a round's transaction is. Each is one step, so that anything may happen in between.
enum Step {
    Begun,
    Read(Sequence),
}

struct Watcher {
    lease: Lease,
    applied: Sequence,
    /// Keys known to be revoked by the stream, with the place in the log.
    changes: BTreeMap<Key, Sequence>,
    /// Valid records: key, and what had been applied when their reading began.
    cache: BTreeMap<Key, Sequence>,
    stream: Option<(usize, u64)>,
    fill: Option<Fill>,
}

/// A call that asks a replica because the cache cannot answer.
struct Fill {
    key: Key,
    fence: Sequence,
    /// Revokings that had returned when the call began.
    returned_before: BTreeSet<Key>,
    read: Option<bool>,
}

struct Revoking {
    key: Key,
    replica: usize,
    sequence: Sequence,
    committed: Duration,
    on_old: bool,
}

struct World {
    rng: u64,
    now: Duration,
    current: Database,
    old: Option<Database>,
    replicas: Vec<Replica>,
    watchers: Vec<Watcher>,
    streams: BTreeMap<u64, Stream>,
    next_id: u64,
    revoking: Vec<Revoking>,
    returned: BTreeSet<Key>,
    ended: Vec<Effective>,
    accepts: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let replicas = (0..2).map(|id| Replica {
            id,
            hub: Hub::new(LEASE, 0),
            on_old: false,
            paused: false,
            round: None,
        });
        let watchers = (0..3).map(|_| Watcher {
            lease: Lease::new(LEASE),
            applied: 0,
            changes: BTreeMap::new(),
            cache: BTreeMap::new(),
            stream: None,
            fill: None,
        });
        Self {
            rng: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now: Duration::from_secs(100),
            current: Database::default(),
            old: None,
            replicas: replicas.collect(),
            watchers: watchers.collect(),
            streams: BTreeMap::new(),
            next_id: 10,
            revoking: Vec::new(),
            returned: BTreeSet::new(),
            ended: Vec::new(),
            accepts: 0,
        }
    }

    /// A number below `bound`, by xorshift.
    fn pick(&mut self, bound: usize) -> usize {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        usize::try_from(self.rng >> 33).expect("31 bits") % bound
    }

    fn pick_key(&mut self) -> Key {
        KEYS[self.pick(KEYS.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.pick(one_in) == 0
    }

    fn database(&mut self, old: bool) -> &mut Database {
        if old { self.old.as_mut().unwrap_or(&mut self.current) } else { &mut self.current }
    }

    fn step(&mut self) {
        match self.pick(24) {
            0 | 1 => self.pass_time(),
            2..=6 => self.replica_step(),
            7..=12 => self.deliver(),
            13 => self.watcher_connects_or_pings(),
            14..=16 => self.verify(),
            17..=19 => self.fill_step(),
            20 => self.revoke(),
            21 | 22 => self.revoking_step(),
            _ => self.misfortune(),
        }
    }

    fn pass_time(&mut self) {
        let millis = [1, 1, 1, 20, 50, 100, 300, 1900][self.pick(8)];
        self.now += Duration::from_millis(millis);
    }

    // Replicas.

    fn replica_step(&mut self) {
        let at = self.pick(self.replicas.len());
        if self.replicas[at].paused {
            return;
        }
        let now = self.now;
        match self.replicas[at].round.take() {
            None => {
                let round = self.replicas[at].hub.begin(now);
                self.replicas[at].round = Some((round, Step::Begun));
            }
            Some((round, Step::Begun)) => {
                let on_old = self.replicas[at].on_old;
                let head = self.database(on_old).head();
                self.replicas[at].round = Some((round, Step::Read(head)));
            }
            Some((round, Step::Read(head))) => self.commit_round(at, round, head),
        }
    }

    /// The round's transaction renews the row and commits; its changes and pongs go out.
    fn commit_round(&mut self, at: usize, round: Round, head: Sequence) {
        let now = self.now;
        // The old database cannot commit: its standby, which must confirm, is the new one.
        if self.replicas[at].on_old {
            return;
        }
        let id = self.replicas[at].id;
        let acknowledged = self.replicas[at].hub.acknowledged(now).min(head);
        let Some(row) = self.current.replicas.get_mut(&id) else {
            self.current.replicas.insert(id, Row { acknowledged, renewed: now });
            return;
        };
        row.renewed = now;
        self.publish(at, head);
        let pongs = self.replicas[at].hub.complete(round, now);
        for (stream, nonce) in pongs {
            self.streams.get_mut(&stream).expect("open").down.push_back(Down::Pong(nonce));
        }
        self.store_acknowledged(at);
    }

    /// Changes up to `head` go to all watchers of a replica.
    fn publish(&mut self, at: usize, head: Sequence) {
        let from = self.replicas[at].hub.applied();
        let on_old = self.replicas[at].on_old;
        let log = self.database(on_old).log.clone();
        let ours: Vec<u64> =
            self.watchers.iter().filter_map(|w| w.stream).filter(|(r, _)| *r == at).map(|(_, s)| s).collect();
        for sequence in from + 1..=head {
            for stream in &ours {
                let change = Down::Change(sequence, entry(&log, sequence));
                self.streams.get_mut(stream).expect("open").down.push_back(change);
            }
        }
        self.replicas[at].hub.read(head);
    }

    fn store_acknowledged(&mut self, at: usize) {
        let (id, on_old) = (self.replicas[at].id, self.replicas[at].on_old);
        if on_old {
            return;
        }
        let now = self.now;
        let acknowledged = self.replicas[at].hub.acknowledged(now);
        if let Some(row) = self.current.replicas.get_mut(&id) {
            row.acknowledged = acknowledged;
        }
    }

    // The network.

    fn deliver(&mut self) {
        let at = self.pick(self.watchers.len());
        let Some((replica, stream)) = self.watchers[at].stream else { return };
        let link = self.streams.get_mut(&stream).expect("open");
        if link.cut {
            return;
        }
        if self.rng & 64 == 0 {
            if self.replicas[replica].paused {
                return;
            }
            match link.up.pop_front() {
                Some(Up::Ping(nonce)) => self.replicas[replica].hub.ping(stream, nonce),
                Some(Up::Ack(sequence)) => {
                    self.replicas[replica].hub.acknowledge(stream, sequence);
                    self.store_acknowledged(replica);
                }
                None => {}
            }
            return;
        }
        match link.down.pop_front() {
            Some(Down::Change(sequence, key)) => {
                let watcher = &mut self.watchers[at];
                watcher.changes.insert(key, sequence);
                watcher.applied = sequence;
                link.up.push_back(Up::Ack(sequence));
            }
            Some(Down::Pong(nonce)) => self.watchers[at].lease.pong(nonce),
            None => {}
        }
    }

    fn watcher_connects_or_pings(&mut self) {
        let at = self.pick(self.watchers.len());
        let now = self.now;
        if let Some((_, stream)) = self.watchers[at].stream {
            let nonce = self.watchers[at].lease.ping(now);
            self.streams.get_mut(&stream).expect("open").up.push_back(Up::Ping(nonce));
            return;
        }
        let replica = self.pick(self.replicas.len());
        if !self.replicas[replica].paused && self.chance(3) {
            self.connect(at, replica);
        }
    }

    fn connect(&mut self, at: usize, replica: usize) {
        let stream = self.next_id;
        self.next_id += 1;
        let hub = &mut self.replicas[replica].hub;
        let (have, head) = (self.watchers[at].applied, hub.applied());
        if have > head {
            // Away from a history that this replica does not know yet: it waits until the replica has read as far.
            return;
        }
        hub.join(stream, have);
        let on_old = self.replicas[replica].on_old;
        let log = self.database(on_old).log.clone();
        let mut link = Stream::default();
        for sequence in have + 1..=head {
            link.down.push_back(Down::Change(sequence, entry(&log, sequence)));
        }
        self.streams.insert(stream, link);
        self.watchers[at].lease.lost();
        self.watchers[at].stream = Some((replica, stream));
    }

    // Verifiers.

    fn verify(&mut self) {
        let at = self.pick(self.watchers.len());
        let key = self.pick_key();
        let now = self.now;
        let watcher = &self.watchers[at];
        let cached = watcher.cache.get(&key);
        let contradicted = |fence: &Sequence| watcher.changes.get(&key).is_some_and(|change| change > fence);
        if watcher.lease.trusts(now) && cached.is_some_and(|fence| !contradicted(fence)) {
            assert!(!self.returned.contains(&key), "accepted from the cache after the revoking returned");
            self.accepts += 1;
            return;
        }
        if watcher.fill.is_none() {
            let fill =
                Fill { key, fence: watcher.applied, returned_before: self.returned.clone(), read: None };
            self.watchers[at].fill = Some(fill);
        }
    }

    /// A fill reads at any replica that may answer; in a later step its answer arrives.
    fn fill_step(&mut self) {
        let at = self.pick(self.watchers.len());
        let replica = self.pick(self.replicas.len());
        let now = self.now;
        let Some(mut fill) = self.watchers[at].fill.take() else { return };
        match fill.read {
            None => {
                let asked = &self.replicas[replica];
                let fresh = asked.hub.fresh(now) && !asked.paused;
                let on_old = asked.on_old;
                if fresh {
                    fill.read = Some(!self.database(on_old).revoked(fill.key));
                }
                self.watchers[at].fill = Some(fill);
            }
            Some(true) => {
                let late = fill.returned_before.contains(&fill.key);
                assert!(!late, "accepted by a fill that began after the revoking returned");
                self.accepts += 1;
                self.watchers[at].cache.insert(fill.key, fill.fence);
            }
            Some(false) => {}
        }
    }

    // Revokers.

    fn revoke(&mut self) {
        let replica = self.pick(self.replicas.len());
        let key = self.pick_key();
        let on_old = self.replicas[replica].on_old;
        if self.replicas[replica].paused || on_old || self.current.revoked(key) || !self.chance(3) {
            return;
        }
        self.current.log.push(key);
        let sequence = self.current.head();
        self.revoking.push(Revoking { key, replica, sequence, committed: self.now, on_old });
    }

    fn revoking_step(&mut self) {
        if self.revoking.is_empty() {
            return;
        }
        let at = self.pick(self.revoking.len());
        let Revoking { key, replica, sequence, committed, on_old } = self.revoking[at];
        if self.replicas[replica].paused {
            return;
        }
        let now = self.now;
        let rows: Vec<_> = self.database(on_old).replicas.values().map(|row| row.acknowledged).collect();
        if let Some(how) = effective(sequence, rows, now.saturating_sub(committed), LEASE) {
            self.returned.insert(key);
            self.ended.push(how);
            self.revoking.remove(at);
        }
    }

    // Misfortune.

    fn misfortune(&mut self) {
        match self.pick(9) {
            0 => {
                let at = self.pick(self.replicas.len());
                self.replicas[at].paused ^= true;
            }
            1 => {
                let at = self.pick(self.replicas.len());
                self.crash(at);
            }
            2 | 3 => {
                let at = self.pick(self.watchers.len());
                if let Some((_, stream)) = self.watchers[at].stream {
                    self.streams.get_mut(&stream).expect("open").cut ^= true;
                }
            }
            4 | 5 => {
                let at = self.pick(self.watchers.len());
                self.disconnect(at);
            }
            6 => {
                let horizon = self.now.saturating_sub(FORGET);
                self.current.replicas.retain(|_, row| row.renewed >= horizon);
            }
            7 if self.old.is_none() && self.chance(4) => {
                // A standby is promoted. Some replicas do not notice, and read what was.
                self.old = Some(self.current.clone());
                for at in 0..self.replicas.len() {
                    self.replicas[at].on_old = self.chance(2);
                }
            }
            8 => {
                let at = self.pick(self.replicas.len());
                self.replicas[at].on_old = false;
            }
            _ => {}
        }
    }

    /// The watcher notices at once; the replica notices as well, unless it is the one that is gone.
    fn disconnect(&mut self, at: usize) {
        if let Some((replica, stream)) = self.watchers[at].stream.take() {
            self.replicas[replica].hub.leave(stream);
            self.streams.remove(&stream);
            self.watchers[at].lease.lost();
        }
    }

    /// A replica starts anew: it knows nobody, and has a new id. Its old row stays until it is forgotten.
    fn crash(&mut self, at: usize) {
        for watcher in 0..self.watchers.len() {
            if self.watchers[watcher].stream.is_some_and(|(replica, _)| replica == at) {
                self.disconnect(watcher);
            }
        }
        self.revoking.retain(|revoking| revoking.replica != at);
        let head = self.current.head();
        self.next_id += 1;
        self.replicas[at] = Replica {
            id: self.next_id,
            hub: Hub::new(LEASE, head),
            on_old: false,
            paused: false,
            round: None,
        };
    }

    // The end.

    /// Everything works again, and everybody takes turns.
    fn heal(&mut self) {
        self.current.replicas.retain(|id, _| self.replicas.iter().any(|replica| replica.id == *id));
        for at in 0..self.replicas.len() {
            self.replicas[at].paused = false;
            self.replicas[at].on_old = false;
            self.replicas[at].round = None;
        }
        for at in 0..self.watchers.len() {
            self.disconnect(at);
        }
        self.revoking.clear();
        // Those who left may trust what they know for a lease.
        self.now += LEASE;
    }

    fn settle(&mut self) {
        for _ in 0..600 {
            self.now += Duration::from_millis(1);
            self.replica_step();
            self.replica_step();
            for _ in 0..8 {
                self.deliver();
            }
            self.watcher_connects_or_pings();
            self.revoking_step();
        }
    }
}

#[test]
fn nothing_is_accepted_after_its_revoking_returned() {
    let (mut accepts, mut acknowledged, mut expired) = (0, 0, 0);
    for seed in 1..=20_000 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        accepts += world.accepts;
        acknowledged += world.ended.iter().filter(|how| **how == Effective::Acknowledged).count();
        expired += world.ended.iter().filter(|how| **how == Effective::LeaseExpired).count();
    }
    // The adversary must not win by keeping everything from happening.
    assert!(
        accepts > 10_000 && acknowledged > 1_000 && expired > 1_000,
        "{accepts} {acknowledged} {expired}"
    );
}

#[test]
fn when_all_are_connected_revoking_returns_by_acknowledgement() {
    for seed in 1..=1_000 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        world.heal();
        world.settle();
        let fresh = world.next_id + 1_000;
        world.current.log.push(fresh);
        let sequence = world.current.head();
        world.ended.clear();
        let committed = world.now;
        world.revoking.push(Revoking { key: fresh, replica: 0, sequence, committed, on_old: false });
        world.settle();
        assert_eq!(world.ended, [Effective::Acknowledged], "seed {seed}");
        assert!(world.watchers.iter().all(|watcher| watcher.lease.trusts(world.now)), "seed {seed}");
    }
}
