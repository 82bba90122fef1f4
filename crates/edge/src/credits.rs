//! The credits of a call. They are spent in the same step in which its limits are charged; only when there are not enough does the
//! edge ask the role keys for the next block, and then the call is decided again.
//!
//! Of an account that is empty the role is not asked again at every call: that is remembered until something happens to the
//! account where its credits are spent (a grant is lent at once), and for a second at most.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex as Held, MutexGuard, PoisonError},
};

use chrono::TimeDelta;
use tokio::sync::Mutex;
use tollgate_kernel::{Clock, CreditAccountId, Fault, Timestamp};
use tollgate_proto::{KeysHandle, fault::from_status, keys::LendCreditsRequest};
use tonic::Request;

use crate::wire::optional_instant;

/// How many accounts can be asked about at once. They share places.
const PLACES: usize = 64;
/// Most accounts that one place remembers something of.
const MOST: usize = 1000;

/// Asks for blocks.
pub(crate) struct Lender {
    keys: KeysHandle,
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    places: Vec<Place>,
}

/// What became of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// There are credits, or were a moment ago.
    Lent,
    /// The account does not have them.
    Empty {
        /// When it is refilled.
        refill_at: Option<Timestamp>,
    },
}

/// Where calls of the same account wait for one of them that asks.
#[derive(Default)]
struct Place {
    turn: Mutex<()>,
    known: Held<HashMap<CreditAccountId, Known>>,
}

/// The last answer about an account.
#[derive(Debug, Clone, Copy)]
struct Known {
    answer: More,
    /// What was asked: this much, when this was the account's last step.
    cost: u64,
    step: u64,
    /// How often was asked.
    times: u64,
    until: Timestamp,
}

impl Lender {
    pub(crate) fn new(keys: KeysHandle, clock: Arc<dyn Clock>) -> Self {
        let places = (0..PLACES).map(|_| Place::default()).collect();
        Self { keys, clock, hasher: RandomState::new(), places }
    }

    /// Asks for so many credits for an account whose last step, where credits are spent, was this one.
    ///
    /// # Errors
    /// The role cannot be asked: then the call is not decided.
    pub(crate) async fn more(&self, account: CreditAccountId, cost: u64, step: u64) -> Result<More, Fault> {
        let place = self.place(account);
        let before = place.find(account);
        if let Some(known) = before.filter(|known| known.denies(cost, step, self.clock.now())) {
            return Ok(known.answer);
        }
        let times = before.map_or(0, |known| known.times);
        let _turn = place.turn.lock().await;
        // Whoever waited is told what the one before was told, if it was asked the same.
        let since = place.find(account).filter(|known| known.step == step);
        match since {
            Some(known) if known.denies(cost, step, self.clock.now()) => return Ok(known.answer),
            Some(known) if known.times > times && known.answer == More::Lent => return Ok(More::Lent),
            _ => {}
        }
        let request = LendCreditsRequest { account_id: account.to_string(), cost };
        let lent = self.keys.lend_credits(Request::new(request)).await.map_err(from_status)?.into_inner();
        let refill_at = optional_instant(lent.next_refill_at)?;
        let answer = if lent.lent { More::Lent } else { More::Empty { refill_at } };
        let now = self.clock.now();
        let until = refill_at.unwrap_or(Timestamp::MAX_UTC).min(now + TimeDelta::seconds(1));
        place.remember(account, Known { answer, cost, step, times: times + 1, until }, now);
        Ok(answer)
    }

    fn place(&self, account: CreditAccountId) -> &Place {
        let place = self.hasher.hash_one(account) % PLACES as u64;
        &self.places[usize::try_from(place).expect("it is less than the number of places")]
    }
}

impl Known {
    /// It is empty, and nothing happened since.
    fn denies(&self, cost: u64, step: u64, now: Timestamp) -> bool {
        let empty = matches!(self.answer, More::Empty { .. });
        empty && cost >= self.cost && step == self.step && now < self.until
    }
}

impl Place {
    fn find(&self, account: CreditAccountId) -> Option<Known> {
        self.known().get(&account).copied()
    }

    fn remember(&self, account: CreditAccountId, answer: Known, now: Timestamp) {
        let mut known = self.known();
        if known.len() >= MOST {
            known.retain(|_, it| now < it.until);
        }
        if known.len() < MOST {
            known.insert(account, answer);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<CreditAccountId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
