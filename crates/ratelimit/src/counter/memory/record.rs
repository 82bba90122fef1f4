//! What is remembered of a call that was accepted with an id.

use super::super::Answer;
use crate::{call::Key, engine::Mark};

/// What is remembered of an accepted call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// When its units were accepted.
    pub(super) at: i64,
    /// It can be settled before this time.
    pub(super) hold_until: i64,
    /// A retry is answered before this time.
    pub(super) known_until: i64,
    /// One per limit, in their order.
    pub(super) charged: Vec<Charged>,
    pub(super) answer: Answer,
    pub(super) settled: Option<Settled>,
}

/// What was asked of one limit, and how to give it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Charged {
    pub(super) key: Key,
    pub(super) cost: u64,
    pub(super) mark: Mark,
}

/// How a call was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// All was given back, by a refund.
    pub(super) refund: bool,
    pub(super) costs: Vec<u64>,
    pub(super) returned: Vec<u64>,
}
