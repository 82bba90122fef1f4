//! The watch protocol against an adversary: random orders of every step of replicas, watchers, revokers, the network and the
//! clock, with crashes, pauses, partitions and a database that is replaced while somebody still reads the old one, also by one that
//! does not have the last changes that could be read of the old one, and gives their sequences to others.
//!
//! Checked at every step: no verifier accepts a credential whose revoking returned before the verifying call began, and none
//! serves from its cache past its lease. Checked at the end, when all are connected again: every revoking returns, by
//! acknowledgement, and every verifier trusts its cache.

mod database;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tollgate_changes::{
    hub::{Effective, Hub, Place, Round, Tag, effective},
    silence::{Renewed, Silences},
};
use tollgate_verify::{Changes, watch::Lease};

use self::{
    database::{Database, Key, Row, subject},
    stream::{Down, Stream, Up},
};

const LEASE: Duration = Duration::from_secs(2);
const KEYS: [Key; 5] = [1, 2, 3, 4, 5];

struct Replica {
    id: u64,
    hub: Hub,
    /// Still talks to the database that was replaced.
    on_old: bool,
    paused: bool,
    round: Option<(Round, Step)>,
    /// The number of the last round.
    rounds: u64,
    silences: Silences<u64>,
}

impl Replica {
    fn new(id: u64, applied: Place) -> Self {
        let hub = Hub::new(LEASE, applied);
        Self { id, hub, on_old: false, paused: false, round: None, rounds: 0, silences: Silences::default() }
    }
}

/// How far a round's transaction is. Each is one step, so that anything may happen in between.
enum Step {
    Begun,
    /// Up to here, in the old database or not.
    Read(Place, bool),
}

struct Watcher {
    lease: Lease,
    applied: Option<Place>,
    changes: Changes,
    /// Valid records: key, and which changes were known when their reading began.
    cache: BTreeMap<Key, u64>,
    stream: Option<(usize, u64)>,
    fill: Option<Fill>,
}

/// A call that asks a replica because the cache cannot answer.
struct Fill {
    key: Key,
    fence: u64,
    /// Revokings that had returned when the call began.
    returned_before: BTreeSet<Key>,
    read: Option<bool>,
}

struct Revoking {
    key: Key,
    replica: usize,
    place: Place,
    committed: Duration,
}

struct World {
    rng: u64,
    now: Duration,
    current: Database,
    old: Option<Database>,
    /// What the standby has since it does not follow. While there is this, nothing is confirmed.
    standby: Option<Database>,
    replicas: Vec<Replica>,
    watchers: Vec<Watcher>,
    streams: BTreeMap<u64, Stream>,
    next_id: u64,
    revoking: Vec<Revoking>,
    returned: BTreeSet<Key>,
    ended: Vec<Effective>,
    accepts: usize,
    /// How often a replica found itself in another history, and how many rows were forgotten.
    anew: usize,
    forgotten: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let replicas = (0..2).map(|id| Replica::new(id, Place::default()));
        let watchers = (0..3).map(|_| Watcher {
            lease: Lease::new(LEASE),
            applied: None,
            changes: Changes::new(),
            cache: BTreeMap::new(),
            stream: None,
            fill: None,
        });
        Self {
            rng: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now: Duration::from_secs(100),
            current: Database::default(),
            old: None,
            standby: None,
            replicas: replicas.collect(),
            watchers: watchers.collect(),
            streams: BTreeMap::new(),
            next_id: 10,
            revoking: Vec::new(),
            returned: BTreeSet::new(),
            ended: Vec::new(),
            accepts: 0,
            anew: 0,
            forgotten: 0,
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

    /// The one that a replica talks to.
    fn database_of(&mut self, at: usize) -> &mut Database {
        let on_old = self.replicas[at].on_old;
        self.database(on_old)
    }

    /// Appends to the log of the current database.
    fn append(&mut self, key: Key) -> Place {
        self.next_id += 1;
        self.current.log.push((key, Tag(self.next_id)));
        self.current.head()
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
            None if self.chance(8) => self.forget_the_dead(at),
            // It was told of something new, and reads without a round.
            None if self.chance(3) => {
                let head = self.database_of(at).head();
                self.publish(at, head);
            }
            None => {
                let round = self.replicas[at].hub.begin(now);
                self.replicas[at].rounds += 1;
                self.replicas[at].round = Some((round, Step::Begun));
            }
            Some((round, Step::Begun)) => {
                let (on_old, head) = (self.replicas[at].on_old, self.database_of(at).head());
                self.replicas[at].round = Some((round, Step::Read(head, on_old)));
            }
            Some((round, Step::Read(head, on_old))) => {
                // The transaction is lost with the database in which it began.
                if on_old == self.replicas[at].on_old {
                    self.commit_round(at, round, head);
                }
            }
        }
    }

    /// The round's transaction renews the row and commits; its changes and pongs go out.
    fn commit_round(&mut self, at: usize, round: Round, head: Place) {
        let now = self.now;
        // The old database cannot commit: its standby, which must confirm, is the new one, or does not follow.
        if self.replicas[at].on_old || self.standby.is_some() {
            return;
        }
        let applied = self.replicas[at].hub.applied();
        if self.current.between(applied, head).is_none() {
            return self.start_anew(at, head);
        }
        let (id, number) = (self.replicas[at].id, self.replicas[at].rounds);
        let acknowledged = self.replicas[at].hub.acknowledged(now);
        let Some(row) = self.current.replicas.get_mut(&id) else {
            self.current.replicas.insert(id, Row { acknowledged, round: number });
            return;
        };
        (row.round, row.acknowledged) = (number, acknowledged);
        self.publish(at, head);
        let pongs = self.replicas[at].hub.complete(round, now);
        for (stream, nonce) in pongs {
            self.streams.get_mut(&stream).expect("open").down.push_back(Down::Pong(nonce));
        }
        self.store_acknowledged(at);
    }

    /// Changes up to `head`, which its database has, go to all watchers of a replica, unless it finds itself in another history.
    fn publish(&mut self, at: usize, head: Place) {
        let from = self.replicas[at].hub.applied();
        let Some(changes) = self.database_of(at).between(from, head) else {
            return self.start_anew(at, head);
        };
        let ours: Vec<u64> =
            self.watchers.iter().filter_map(|w| w.stream).filter(|(r, _)| *r == at).map(|(_, s)| s).collect();
        for (place, key) in changes {
            for stream in &ours {
                self.streams.get_mut(stream).expect("open").down.push_back(Down::Change(place, key));
            }
        }
        self.replicas[at].hub.read(head);
    }

    fn start_anew(&mut self, at: usize, head: Place) {
        self.disconnect_all(at);
        self.replicas[at].hub.start_anew(head);
        self.anew += 1;
    }

    /// What is written where nothing is confirmed can be read there, and is lost with it.
    fn store_acknowledged(&mut self, at: usize) {
        let (now, id) = (self.now, self.replicas[at].id);
        let (acknowledged, read) = (self.replicas[at].hub.acknowledged(now), self.replicas[at].hub.applied());
        let database = self.database_of(at);
        if database.has(read)
            && let Some(row) = database.replicas.get_mut(&id)
        {
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
            Some(Down::Reset(place)) => {
                let watcher = &mut self.watchers[at];
                watcher.lease.void();
                watcher.changes.reset();
                watcher.applied = Some(place);
            }
            Some(Down::Change(place, key)) => {
                let watcher = &mut self.watchers[at];
                watcher.changes.publish(subject(key));
                watcher.applied = Some(place);
                link.up.push_back(Up::Ack(place.sequence));
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
        let here = self.replicas[replica].hub.applied();
        let known = self.watchers[at].applied;
        let missed = known.and_then(|known| self.database_of(replica).between(known, here));
        let mut link = Stream::default();
        let acknowledged = if let (Some(known), Some(missed)) = (known, missed) {
            link.down.extend(missed.into_iter().map(|(place, key)| Down::Change(place, key)));
            known
        } else {
            link.down.push_back(Down::Reset(here));
            here
        };
        let hub = &mut self.replicas[replica].hub;
        hub.join(stream);
        hub.acknowledge(stream, acknowledged.sequence);
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
        let holds = |fence: &u64| watcher.changes.holds_until(*fence, &[subject(key)]).is_some();
        if watcher.lease.trusts(now) && cached.is_some_and(holds) {
            assert!(!self.returned.contains(&key), "accepted from the cache after the revoking returned");
            self.accepts += 1;
            return;
        }
        if watcher.fill.is_none() {
            let (fence, returned_before) = (watcher.changes.sequence(), self.returned.clone());
            let fill = Fill { key, fence, returned_before, read: None };
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
        let place = self.append(key);
        // Else nobody is told that it is committed; that it can be read comes with a recovery.
        if self.standby.is_none() {
            self.revoking.push(Revoking { key, replica, place, committed: self.now });
        }
    }

    fn revoking_step(&mut self) {
        if self.revoking.is_empty() {
            return;
        }
        let at = self.pick(self.revoking.len());
        let Revoking { key, replica, place, committed } = self.revoking[at];
        if self.replicas[replica].paused {
            return;
        }
        let now = self.now;
        let acknowledged = self.database_of(replica).acknowledged(place);
        if let Some(how) = effective(place.sequence, [acknowledged], now.saturating_sub(committed), LEASE) {
            self.returned.insert(key);
            self.ended.push(how);
            self.revoking.remove(at);
        }
    }

    // Misfortune.

    fn misfortune(&mut self) {
        match self.pick(8) {
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
            // The standby no longer follows, or it does again.
            6 if self.old.is_none() && self.chance(2) => {
                self.standby = if self.standby.is_some() { None } else { Some(self.current.clone()) };
            }
            6 if self.old.is_none() && self.chance(3) => self.fail_over(),
            7 => {
                let at = self.pick(self.replicas.len());
                self.replicas[at].on_old = false;
            }
            _ => {}
        }
    }

    /// A standby is promoted. Some replicas do not notice, and read what was.
    fn fail_over(&mut self) {
        let promoted = self.standby.take().unwrap_or_else(|| self.current.clone());
        self.old = Some(std::mem::replace(&mut self.current, promoted));
        for at in 0..self.replicas.len() {
            self.replicas[at].on_old = self.chance(2);
        }
    }

    /// A replica takes out those that have not renewed their rows, as far as it has seen.
    fn forget_the_dead(&mut self, at: usize) {
        let now = self.now;
        if self.replicas[at].on_old || self.replicas[at].paused || self.standby.is_some() {
            return;
        }
        let renewed = |(id, row): (&u64, &Row)| Renewed { id: *id, round: row.round, lease: LEASE };
        let rows = self.current.replicas.iter().map(renewed).collect();
        for dead in self.replicas[at].silences.dead(rows, now) {
            self.current.replicas.remove(&dead.id);
            self.forgotten += 1;
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
        self.disconnect_all(at);
        self.revoking.retain(|revoking| revoking.replica != at);
        let head = self.current.head();
        self.next_id += 1;
        self.replicas[at] = Replica::new(self.next_id, head);
    }

    fn disconnect_all(&mut self, at: usize) {
        for watcher in 0..self.watchers.len() {
            if self.watchers[watcher].stream.is_some_and(|(replica, _)| replica == at) {
                self.disconnect(watcher);
            }
        }
    }

    // The end.

    /// Everything works again, and everybody takes turns.
    fn heal(&mut self) {
        self.standby = None;
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
    let (mut accepts, mut acknowledged, mut expired, mut anew, mut forgotten) = (0, 0, 0, 0, 0);
    for seed in 1..=20_000 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        accepts += world.accepts;
        anew += world.anew;
        forgotten += world.forgotten;
        acknowledged += world.ended.iter().filter(|how| **how == Effective::Acknowledged).count();
        expired += world.ended.iter().filter(|how| **how == Effective::LeaseExpired).count();
    }
    // The adversary must not win by keeping everything from happening.
    assert!(
        accepts > 10_000 && acknowledged > 1_000 && expired > 1_000 && anew > 500 && forgotten > 1_000,
        "{accepts} {acknowledged} {expired} {anew} {forgotten}"
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
        let place = world.append(fresh);
        world.ended.clear();
        let committed = world.now;
        world.revoking.push(Revoking { key: fresh, replica: 0, place, committed });
        world.settle();
        assert_eq!(world.ended, [Effective::Acknowledged], "seed {seed}");
        assert!(world.watchers.iter().all(|watcher| watcher.lease.trusts(world.now)), "seed {seed}");
    }
}
