//! What is counted as bytes, for the time between two processes. Written by hand, because there are nine kinds of things,
//! all of them numbers and texts: a general format would take several times the room and the time, at the moment when a
//! process is being told to end.
//!
//! Numbers are big-endian, texts and lists begin with their length. There are no names and no versions in here: those are
//! the file's ([`super::snapshot`]).

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::Arc,
};

use super::{
    super::Answer,
    partition::{Counted, Held},
    record::{Charged, Record, Settled},
};
use crate::{
    call::Key,
    engine::{Bucket, Counted as Units, Credit, Entry, Lease, Leases, Log, Mark, Outlook, Override, State},
    tally::{Batch, BatchId, Cell, Client, Row},
};

/// What can be written, and read again.
pub(super) trait Stored: Sized {
    /// Appends it.
    fn put(&self, to: &mut Vec<u8>);
    /// Takes it off the beginning; none if it is not there.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

/// A thing that is all of its fields, in this order.
macro_rules! fields {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Stored for $name {
            fn put(&self, to: &mut Vec<u8>) {
                $(self.$field.put(to);)*
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Stored::take(from)?),* })
            }
        }
    )*};
}

fields! {
    State { born, newest, counted }
    Log { total, entries }
    Entry { time, before }
    Bucket { tat, refunded }
    Lease { id, until, units }
    Credit { epoch, left, behind, step, withdrawn }
    Override { limit, until }
    Outlook { limit, remaining, reset, period, exceeded }
    Record { at, hold_until, known_until, charged, answer, settled }
    Charged { key, cost, mark }
    Settled { refund, costs, returned }
    Counted { count, last_at, client }
    Cell { subject, group, minute, code }
    Row { cell, count, last_at, client }
    Batch { id, partition, rows }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Stored for $number {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_be_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_be_bytes(*bytes))
            }
        }
    )*};
}

numbers! { u8 u32 u64 i64 }

impl Stored for bool {
    fn put(&self, to: &mut Vec<u8>) {
        u8::from(*self).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(u8::take(from)? == 1)
    }
}

impl Stored for usize {
    fn put(&self, to: &mut Vec<u8>) {
        (*self as u64).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Self::try_from(u64::take(from)?).ok()
    }
}

impl Stored for String {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        to.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let length = usize::take(from)?;
        let (text, rest) = from.split_at_checked(length)?;
        *from = rest;
        Self::from_utf8(text.to_vec()).ok()
    }
}

impl Stored for Arc<str> {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        to.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        String::take(from).map(Self::from)
    }
}

impl<T: Stored> Stored for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        if let Some(it) = self {
            it.put(to);
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        if bool::take(from)? { Some(Some(T::take(from)?)) } else { Some(None) }
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        for it in self {
            it.put(to);
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        (0..usize::take(from)?).map(|_| T::take(from)).collect()
    }
}

impl<T: Stored> Stored for VecDeque<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        for it in self {
            it.put(to);
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Vec::take(from).map(Self::from)
    }
}

impl<K: Stored + Eq + Hash, V: Stored> Stored for HashMap<K, V> {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        for (key, value) in self {
            key.put(to);
            value.put(to);
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        (0..usize::take(from)?).map(|_| Some((K::take(from)?, V::take(from)?))).collect()
    }
}

impl Stored for Key {
    fn put(&self, to: &mut Vec<u8>) {
        self.as_str().len().put(to);
        to.extend_from_slice(self.as_str().as_bytes());
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Self::parse(String::take(from)?)
    }
}

impl Stored for Leases {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(Self(Stored::take(from)?))
    }
}

impl Stored for Client {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(Self(Stored::take(from)?))
    }
}

impl Stored for Units {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Window(log) => tagged(b'w', log, to),
            Self::Bucket(bucket) => tagged(b'b', bucket, to),
            Self::Calendar { used } => tagged(b'c', used, to),
            Self::Concurrency(leases) => tagged(b'l', leases, to),
            Self::Credit(credit) => tagged(b'k', credit, to),
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(from)? {
            b'w' => Self::Window(Stored::take(from)?),
            b'b' => Self::Bucket(Stored::take(from)?),
            b'c' => Self::Calendar { used: Stored::take(from)? },
            b'l' => Self::Concurrency(Stored::take(from)?),
            b'k' => Self::Credit(Stored::take(from)?),
            _ => return None,
        })
    }
}

impl Stored for Mark {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Nothing => b'-'.put(to),
            Self::Window { window, grain } => tagged(b'w', &(*window, *grain), to),
            Self::Bucket { interval, end } => tagged(b'b', &(*interval, *end), to),
            Self::Calendar { end } => tagged(b'c', end, to),
            Self::Concurrency { until } => tagged(b'l', until, to),
            Self::Credit { epoch } => tagged(b'k', epoch, to),
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(from)? {
            b'-' => Self::Nothing,
            b'w' => Self::Window { window: Stored::take(from)?, grain: Stored::take(from)? },
            b'b' => Self::Bucket { interval: Stored::take(from)?, end: Stored::take(from)? },
            b'c' => Self::Calendar { end: Stored::take(from)? },
            b'l' => Self::Concurrency { until: Stored::take(from)? },
            b'k' => Self::Credit { epoch: Stored::take(from)? },
            _ => return None,
        })
    }
}

/// What is remembered was allowed.
impl Stored for Answer {
    fn put(&self, to: &mut Vec<u8>) {
        self.outlooks.put(to);
        self.degraded.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(Self { denial: None, outlooks: Stored::take(from)?, degraded: Stored::take(from)? })
    }
}

/// Its weight is taken of the room when it is back.
impl Stored for Held {
    fn put(&self, to: &mut Vec<u8>) {
        self.state.put(to);
        self.keep_until.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(Self { state: Stored::take(from)?, keep_until: Stored::take(from)?, weight: 0 })
    }
}

impl Stored for BatchId {
    fn put(&self, to: &mut Vec<u8>) {
        self.to_string().put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        String::take(from)?.parse().ok()
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

/// A kind, and what is of it.
fn tagged(kind: u8, it: &impl Stored, to: &mut Vec<u8>) {
    kind.put(to);
    it.put(to);
}
