//! What has changed: the seam between those who change records and the caches that hold them.
//!
//! A role publishes the subject of every change that can turn a yes into a no, or end an absence that is held, after the
//! change is committed and before the call that made it returns. A cache notes the sequence before it reads a record, and
//! uses the record only while no later change of its subjects is known. So a read that raced a change is never served after it.
//!
//! In one process the roles and the verifier share one [`Changes`]. Across processes a [`Follower`](crate::watch::Follower)
//! publishes here what the role says, and its lease bounds for how long a record is believed without hearing more.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tollgate_kernel::{ConsumerId, KeyId, PlanId, ServiceKeyId, SessionId, UserId, WorkspaceId};

/// How many subjects are remembered with their last change. Beyond that the oldest is dropped, and with it every record
/// that was read before that change.
const REMEMBERED: usize = 65_536;

/// [`Subject::Born`] as text.
const BORN: &str = "born";

/// What a change is about. Records name the subjects that they depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A key, or one of its secrets.
    Key(KeyId),
    /// A workspace: all that it owns.
    Workspace(WorkspaceId),
    /// A consumer: all its keys.
    Consumer(ConsumerId),
    /// A plan: all keys and consumers that have it.
    Plan(PlanId),
    /// A service key.
    ServiceKey(ServiceKeyId),
    /// What a user is to a workspace.
    Member(WorkspaceId, UserId),
    /// One session.
    Session(SessionId),
    /// A user: all sessions and memberships.
    User(UserId),
    /// Keys and service keys that there were not: one has come into being, or a secret that was refused is accepted. The only
    /// subject that turns a no into a yes. One for all, so that however many are made, they take the room of one change in
    /// [`Changes`].
    Born,
}

/// As in the log and on the wire: `key_…`, `ws_…`, `con_…`, `pln_…`, `svc_…`, `ses_…`, `usr_…`, `born`; a
/// membership is both its ids, `ws_…/usr_…`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Workspace(id) => id.fmt(f),
            Self::Consumer(id) => id.fmt(f),
            Self::Plan(id) => id.fmt(f),
            Self::ServiceKey(id) => id.fmt(f),
            Self::Member(workspace, user) => write!(f, "{workspace}/{user}"),
            Self::Session(id) => id.fmt(f),
            Self::User(id) => id.fmt(f),
            Self::Born => f.write_str(BORN),
        }
    }
}

impl FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(text: &str) -> Result<Self, UnknownSubject> {
        if let Some((workspace, user)) = text.split_once('/') {
            let member = workspace.parse().ok().zip(user.parse().ok());
            return member.map(|(workspace, user)| Self::Member(workspace, user)).ok_or(UnknownSubject);
        }
        let subject = match text.split('_').next() {
            Some("key") => text.parse().map(Self::Key).ok(),
            Some("ws") => text.parse().map(Self::Workspace).ok(),
            Some("con") => text.parse().map(Self::Consumer).ok(),
            Some("pln") => text.parse().map(Self::Plan).ok(),
            Some("svc") => text.parse().map(Self::ServiceKey).ok(),
            Some("ses") => text.parse().map(Self::Session).ok(),
            Some("usr") => text.parse().map(Self::User).ok(),
            Some(_) if text == BORN => Some(Self::Born),
            _ => None,
        };
        subject.ok_or(UnknownSubject)
    }
}

/// The text names no kind of subject that this version knows. Whoever follows changes must then forget all that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subject of an unknown kind")]
pub struct UnknownSubject;

/// The changes of this process, in order. Clones share them.
#[derive(Debug, Clone)]
pub struct Changes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The sequence of the latest change; written under the lock, read without it.
    sequence: AtomicU64,
    table: RwLock<Table>,
}

#[derive(Debug)]
struct Table {
    capacity: usize,
    sequence: u64,
    /// The highest sequence that was dropped: of what happened up to here, not all is known.
    floor: u64,
    last: HashMap<Subject, u64>,
    order: BTreeMap<u64, Subject>,
}

impl Changes {
    /// No changes yet.
    pub fn new() -> Self {
        Self::remembering(REMEMBERED)
    }

    pub(crate) fn remembering(capacity: usize) -> Self {
        let table = Table { capacity, sequence: 0, floor: 0, last: HashMap::new(), order: BTreeMap::new() };
        Self(Arc::new(Inner { sequence: AtomicU64::new(0), table: RwLock::new(table) }))
    }

    /// Says that the subject has changed. When this returns, no cache serves what it read of the subject before.
    pub fn publish(&self, subject: Subject) {
        let mut table = self.0.table.write().expect("nothing panics under this lock");
        table.add(subject);
        self.0.sequence.store(table.sequence, Ordering::Release);
    }

    /// Says that anything may have changed. When this returns, no cache serves what it read before.
    pub fn reset(&self) {
        let mut table = self.0.table.write().expect("nothing panics under this lock");
        table.reset();
        self.0.sequence.store(table.sequence, Ordering::Release);
    }

    /// The sequence of the latest change: to be noted before a record is read.
    pub fn sequence(&self) -> u64 {
        self.0.sequence.load(Ordering::Acquire)
    }

    /// Up to which sequence a record of these subjects that was read at `since` is known to hold; `None` if it does not.
    pub fn holds_until(&self, since: u64, subjects: &[Subject]) -> Option<u64> {
        let table = self.0.table.read().expect("nothing panics under this lock");
        let changed = |subject| table.last.get(subject).is_some_and(|at| *at > since);
        (since >= table.floor && !subjects.iter().any(changed)).then_some(table.sequence)
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    fn reset(&mut self) {
        self.sequence += 1;
        self.floor = self.sequence;
        self.last.clear();
        self.order.clear();
    }

    fn add(&mut self, subject: Subject) {
        self.sequence += 1;
        if let Some(earlier) = self.last.insert(subject, self.sequence) {
            self.order.remove(&earlier);
        }
        self.order.insert(self.sequence, subject);
        if self.last.len() > self.capacity {
            let (oldest, dropped) = self.order.pop_first().expect("there is one per subject");
            self.last.remove(&dropped);
            self.floor = oldest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn key(number: u8) -> Subject {
        Subject::Key(KeyId::from_uuid(Uuid::from_u128(number.into())))
    }

    #[test]
    fn a_record_holds_until_its_subject_changes() {
        let changes = Changes::new();
        changes.publish(key(1));
        let since = changes.sequence();
        assert_eq!(changes.holds_until(since, &[key(1), key(2)]), Some(1));
        changes.publish(key(3));
        assert_eq!(changes.holds_until(since, &[key(1), key(2)]), Some(2));
        changes.publish(key(2));
        assert_eq!(changes.holds_until(since, &[key(1), key(2)]), None);
        assert_eq!(changes.holds_until(changes.sequence(), &[key(1), key(2)]), Some(3));
    }

    #[test]
    fn what_was_dropped_ends_what_was_read_before() {
        let changes = Changes::remembering(2);
        let before = changes.sequence();
        changes.publish(key(1));
        changes.publish(key(2));
        assert_eq!(changes.holds_until(before, &[key(9)]), Some(2));
        changes.publish(key(3)); // drops the change of 1
        assert_eq!(changes.holds_until(before, &[key(1)]), None);
        assert_eq!(changes.holds_until(before, &[key(9)]), None, "it may have been the dropped one");
        assert_eq!(changes.holds_until(1, &[key(1)]), Some(3), "read after the dropped change");
    }

    #[test]
    fn a_reset_ends_all_that_was_read_before() {
        let changes = Changes::new();
        let before = changes.sequence();
        changes.reset();
        assert_eq!(changes.holds_until(before, &[]), None);
        assert_eq!(changes.holds_until(changes.sequence(), &[key(1)]), Some(1));
    }

    #[test]
    fn a_subject_survives_its_text() {
        let uuid = Uuid::from_u128(7);
        let (workspace, user) = (WorkspaceId::from_uuid(uuid), UserId::from_uuid(uuid));
        for subject in [
            key(1),
            Subject::Workspace(workspace),
            Subject::ServiceKey(ServiceKeyId::from_uuid(uuid)),
            Subject::Member(workspace, user),
            Subject::Session(SessionId::from_uuid(uuid)),
            Subject::User(user),
            Subject::Born,
        ] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for wrong in ["", "key_", "plan_00000000000000000000000001", "ws_x/usr_y", "/", "born_", "Born"] {
            assert_eq!(wrong.parse::<Subject>(), Err(UnknownSubject), "{wrong}");
        }
    }

    #[test]
    fn the_same_subject_again_takes_no_room() {
        let changes = Changes::remembering(2);
        changes.publish(key(1));
        for _ in 0..10 {
            changes.publish(key(2));
        }
        assert_eq!(changes.holds_until(0, &[key(9)]), Some(11));
        assert_eq!(changes.holds_until(10, &[key(2)]), None);
    }

    proptest! {
        /// Against the plain truth: a record is never said to hold if one of its subjects changed after it was read,
        /// and with enough memory it is never said not to hold otherwise.
        #[test]
        fn never_holds_past_a_change(
            published in proptest::collection::vec(0..8_u8, 0..40),
            capacity in 1..10_usize,
            since in 0..40_usize,
            subject in 0..8_u8,
        ) {
            let changes = Changes::remembering(capacity);
            for number in &published {
                changes.publish(key(*number));
            }
            let since = since.min(published.len());
            let changed = published[since..].contains(&subject);
            let holds = changes.holds_until(since as u64, &[key(subject)]).is_some();
            prop_assert!(!(holds && changed));
            prop_assert!(holds || changed || capacity < 8);
        }
    }
}
