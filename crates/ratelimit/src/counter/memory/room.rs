//! The bound on all that is held: states, what is remembered of calls, and overrides, over all shards.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is held, and how much may be.
#[derive(Debug)]
pub(super) struct Room {
    held: AtomicUsize,
    most: usize,
}

impl Room {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { held: AtomicUsize::new(0), most }
    }

    /// Takes room for so many more, or nothing if there is not enough.
    pub(super) fn take(&self, more: usize) -> bool {
        self.take_of(self.most, more)
    }

    /// The same for what could be left out: half of the room stays for the rest.
    pub(super) fn take_of_half(&self, more: usize) -> bool {
        self.take_of(self.most / 2, more)
    }

    fn take_of(&self, most: usize, more: usize) -> bool {
        if more == 0 {
            return true;
        }
        let before = self.held.fetch_add(more, Ordering::Relaxed);
        let fits = before + more <= most;
        if !fits {
            self.leave(more);
        }
        fits
    }

    /// Takes room that was asked for before, or that is there already.
    pub(super) fn take_anyway(&self, more: usize) {
        if more > 0 {
            self.held.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Leaves room to others.
    pub(super) fn leave(&self, less: usize) {
        if less > 0 {
            self.held.fetch_sub(less, Ordering::Relaxed);
        }
    }

    /// How much is held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}
