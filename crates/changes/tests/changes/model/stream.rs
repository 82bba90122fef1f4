//! What goes between a watcher and a replica of the model.

use std::collections::VecDeque;

use tollgate_changes::{Place, Sequence};

use super::database::Key;

pub(super) enum Down {
    /// What was cached before is void.
    Reset(Place),
    Change(Place, Key),
    Pong(u64),
}

pub(super) enum Up {
    Ping(u64),
    Ack(Sequence),
}

/// A stream between one watcher and one replica: two queues in order. `cut`: nothing moves, nobody notices.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) down: VecDeque<Down>,
    pub(super) up: VecDeque<Up>,
    pub(super) cut: bool,
}
