//! A database of the model: what is committed, and whose log it is.

use std::collections::BTreeMap;

use tollgate_changes::{Place, Sequence, Tag};
use tollgate_verify::Subject;

/// One key: it is valid until the change that revokes it is committed.
pub(super) type Key = u64;

pub(super) fn subject(key: Key) -> Subject {
    format!("key_{key:026}").parse().expect("digits are an id")
}

/// A database: the log (which key each change revokes, and the change's tag) and the table of replicas.
#[derive(Clone, Default)]
pub(super) struct Database {
    pub(super) log: Vec<(Key, Tag)>,
    pub(super) replicas: BTreeMap<u64, Row>,
}

#[derive(Clone)]
pub(super) struct Row {
    pub(super) acknowledged: Sequence,
    pub(super) round: u64,
}

impl Database {
    pub(super) fn head(&self) -> Place {
        self.place(Sequence::try_from(self.log.len()).expect("a short log")).expect("the last one")
    }

    /// The place with this sequence, in this log.
    pub(super) fn place(&self, sequence: Sequence) -> Option<Place> {
        let Some(last) = sequence.checked_sub(1) else { return Some(Place::default()) };
        let (_, tag) = self.log.get(usize::try_from(last).expect("a short log"))?;
        Some(Place { sequence, tag: *tag })
    }

    pub(super) fn has(&self, place: Place) -> bool {
        self.place(place.sequence) == Some(place)
    }

    /// The changes after one place up to another, if the log has both, in this order.
    pub(super) fn between(&self, from: Place, to: Place) -> Option<Vec<(Place, Key)>> {
        let whole = from.sequence <= to.sequence && self.has(from) && self.has(to);
        whole.then(|| (from.sequence + 1..=to.sequence).filter_map(|at| self.entry(at)).collect())
    }

    fn entry(&self, sequence: Sequence) -> Option<(Place, Key)> {
        let place = self.place(sequence)?;
        let (key, _) = self.log[usize::try_from(sequence).expect("a short log") - 1];
        Some((place, key))
    }

    pub(super) fn revoked(&self, key: Key) -> bool {
        self.log.iter().any(|(revoked, _)| *revoked == key)
    }

    /// Up to where all replicas' watchers have acknowledged, in the log that has `place`.
    pub(super) fn acknowledged(&self, place: Place) -> Sequence {
        let least = self.replicas.values().map(|row| row.acknowledged).min();
        if self.has(place) { least.unwrap_or(Sequence::MAX) } else { 0 }
    }
}
