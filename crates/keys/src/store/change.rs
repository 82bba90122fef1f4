//! The one way to change what people own: [`change!`](change).
//!
//! A mutation cannot forget its audit row or its caches, because it cannot be written without them: `change!` takes a
//! [`Change`], and a `Change` is made only by [`Change::grants`], [`Change::creates`], [`Change::imports`] or
//! [`Change::cuts_off`], which ask for both. No other file of this folder may open a writing transaction, except for those that keep count
//! ([`super::usage`], and `credits/blocks.rs`, which lends what is granted), say how the telling of webhooks goes
//! ([`super::outbox`]) or forget what is old ([`super::retention`]); a test below reads the sources and holds them to it. What
//! endpoints are to be told of a deed is written with its audit row, too.

use serde_json::{Map, Value};
use tollgate_changes::Cut;
use tollgate_db::DbId;
use tollgate_kernel::{Code, Fault, Id, IdKind, Timestamp, WorkspaceId};
use tollgate_verify::Subject;

use super::{Store, rows::AuditRow};
use crate::caller::Caller;

/// The kind of the ids of audit events: `aud_…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AuditEvent;

impl IdKind for AuditEvent {
    const PREFIX: &'static str = "aud";
}

/// Who does what to what, where and when.
#[derive(Debug, Clone)]
pub(crate) struct Deed<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) workspace: WorkspaceId,
    /// `key.create`, …
    pub(crate) action: &'static str,
    /// The id of what is acted on.
    pub(crate) target: String,
    pub(crate) at: Timestamp,
}

/// What a mutation says of itself before it may write.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) audit: AuditRow,
    /// What it makes wrong in caches.
    pub(crate) cut: Option<Cut>,
    /// What endpoints are told beside what the row says.
    pub(crate) note: Map<String, Value>,
}

/// What a mutation has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// Something; it is audited.
    Changed(T),
    /// Something, and the body has audited and announced it: what it does is many deeds.
    Audited(T),
    /// Nothing: it was so already.
    Unchanged(T),
}

impl Change {
    /// A change that can only turn a no into a yes, of a kind that no cache holds: memberships.
    pub(crate) fn grants(store: &Store, deed: Deed<'_>) -> Self {
        Self { audit: deed.row(store), cut: None, note: Map::new() }
    }

    /// The making of a key, of another secret for one, or of a service key, whose absence caches hold for a moment. They
    /// forget it, in this process before [`change!`](change) returns. It does not wait for others: nobody knows the key
    /// before its maker is told of it.
    pub(crate) fn creates(store: &Store, deed: Deed<'_>) -> Self {
        let cut = Some(Cut { subject: Subject::Born, wait: false });
        Self { audit: deed.row(store), cut, note: Map::new() }
    }

    /// The making of keys that people hold already: so it waits until nobody believes any more that they are not there.
    pub(crate) fn imports(store: &Store, deed: Deed<'_>) -> Self {
        let cut = Some(Cut { subject: Subject::Born, wait: true });
        Self { audit: deed.row(store), cut, note: Map::new() }
    }

    /// For the audit: why.
    pub(crate) fn because(self, reason: Option<String>) -> Self {
        Self { audit: AuditRow { reason, ..self.audit }, ..self }
    }

    /// A change that can turn a yes into a no. Its subject goes into the log of changes in the same transaction, and
    /// [`change!`](change) returns when it holds everywhere.
    pub(crate) fn cuts_off(store: &Store, cut: Cut, deed: Deed<'_>) -> Self {
        Self { audit: deed.row(store), cut: Some(cut), note: Map::new() }
    }

    /// The same, of which endpoints are told this, too.
    pub(crate) fn noting(mut self, name: &str, value: Value) -> Self {
        self.note.insert(name.to_owned(), value);
        self
    }
}

impl Deed<'_> {
    fn row(self, store: &Store) -> AuditRow {
        AuditRow {
            id: DbId::from(Id::<AuditEvent>::new(&*store.clock, &*store.entropy)),
            workspace_id: self.workspace.into(),
            at: self.at.into(),
            actor: self.caller.principal.to_string(),
            session: self.caller.session.map(|id| id.to_string()),
            ip: self.caller.ip.map(|ip| ip.to_string()),
            action: self.action,
            target: self.target,
            reason: None,
        }
    }

    /// The rows of deeds that are alike but for what is acted on.
    pub(crate) fn rows(&self, store: &Store, targets: impl Iterator<Item = String>) -> Vec<AuditRow> {
        targets.map(|target| Self { target, ..self.clone() }.row(store)).collect()
    }
}

/// What came of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    Done,
    /// So many have it; nothing was done.
    InUse {
        keys: i64,
        consumers: i64,
    },
    /// It is not there any more.
    Gone,
}

impl<T> Outcome<T> {
    /// Whether its audit row is still to be written.
    pub(crate) fn is_change(&self) -> bool {
        matches!(self, Self::Changed(_))
    }

    pub(crate) fn value(self) -> T {
        let (Self::Changed(value) | Self::Audited(value) | Self::Unchanged(value)) = self;
        value
    }
}

/// Changes what people own: `change!(store, change, |c| { …; Outcome::Changed(value) })` gives
/// `Result<(Outcome<T>, Option<Effect>), Fault>`.
///
/// In one transaction: the body, the audit row and the outbox if the body gives [`Outcome::Changed`], and the entry in the log of
/// changes if caches are to forget something: also when nothing was changed, since the one who changed it may have died before it
/// could say so. Then it waits until that holds everywhere. The body owns what it uses.
macro_rules! change {
    ($store:expr, $change:expr, |$c:ident| $body:expr) => {{
        let db = $store.db.clone();
        let $crate::store::change::Change { audit, cut, note } = $change;
        let outbox = $crate::store::outbox::Outbox::of(&$store, &audit, note);
        let entry = cut.map(|cut| tollgate_changes::Entry::new(cut.subject, audit.at.0, &*$store.entropy));
        let work = async move {
            tollgate_db::tx_db!(db, |$c| {
                let outcome = $body;
                if $crate::store::change::Outcome::is_change(&outcome) {
                    let event =
                        diesel::insert_into($crate::store::schema::audit_events::table).values(&audit);
                    diesel_async::RunQueryDsl::execute(event, $c).await?;
                    $crate::store::outbox::Announce::announce($c, outbox.as_slice()).await?;
                }
                // Last, so that the lock on the log is held briefly.
                let appended = match entry {
                    Some(entry) => Some(tollgate_changes::append!($c, entry)?),
                    None => None,
                };
                Ok::<_, tollgate_db::Error>((outcome, appended))
            })
        };
        $store.feed.carry_out(cut, work).await
    }};
}

pub(crate) use change;

/// The fault of a change that collided with what is there: `taken` says what is taken if something that must be unique is.
pub(super) fn collision(fault: Fault, taken: &'static str) -> Fault {
    match cause(&fault) {
        Some(tollgate_db::Error::Unique(_)) => Fault::new(Code::Conflict, taken),
        _ => came_between(fault),
    }
}

/// The fault of a change that refers to what was there when it was looked for, and is not any more; or the other way round.
pub(super) fn came_between(fault: Fault) -> Fault {
    match cause(&fault) {
        Some(tollgate_db::Error::ForeignKey(_)) => Fault::new(
            Code::Conflict,
            "Something that this refers to, or that refers to this, was changed at the same time; try again.",
        ),
        _ => fault,
    }
}

fn cause(fault: &Fault) -> Option<&tollgate_db::Error> {
    std::error::Error::source(fault)?.downcast_ref()
}

impl Store {
    /// Writes down a deed that another role does.
    pub(crate) async fn record(&self, change: Change) -> Result<(), Fault> {
        change!(self, change, |_c| Outcome::Changed(()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// May write without [`super::change`].
    const EXEMPT: [&str; 5] = [
        "store/change.rs",
        "store/credits/blocks.rs",
        "store/outbox.rs",
        "store/usage.rs",
        "store/retention.rs",
    ];

    fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { sources(&path, into) } else { into.push(path) }
        }
    }

    #[test]
    fn no_other_file_writes() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        sources(&root, &mut paths);
        let mut exempt = 0;
        for path in paths {
            let name = path.strip_prefix(&root).expect("below it").display().to_string();
            if EXEMPT.contains(&&*name) || name.contains("tests") {
                exempt += 1;
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source");
            for writing in ["tx_db!", "write_db!", ".writer()"] {
                assert!(!text.contains(writing), "{name} uses {writing}: use change! instead");
            }
        }
        assert!(exempt > EXEMPT.len(), "the sources were not found");
    }
}
