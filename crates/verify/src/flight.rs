//! Single flight: of several that want the same thing at the same time, one asks and all hear the answer.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OnceCell;

/// The calls that are under way, at most one per key. Bounded by the number of callers.
#[derive(Debug)]
pub(crate) struct Flights<K, T> {
    begun: AtomicU64,
    table: Mutex<HashMap<K, Waiting<T>>>,
}

/// What a call brought back.
#[derive(Debug, Clone)]
pub(crate) struct Landed<T> {
    /// Calls are numbered in the order in which they begin.
    pub number: u64,
    pub answer: T,
}

type Call<T> = Arc<OnceCell<Landed<T>>>;

#[derive(Debug)]
struct Waiting<T> {
    call: Call<T>,
    seats: usize,
}

impl<K: Clone + Eq + Hash, T: Clone> Flights<K, T> {
    pub(crate) fn new() -> Self {
        Self { begun: AtomicU64::new(0), table: Mutex::new(HashMap::new()) }
    }

    /// How many calls have begun. A call with a higher number begins after this.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Asks, or waits for the one who does. If that one is cancelled, another one asks.
    pub(crate) async fn join<F: Future<Output = T>>(&self, key: &K, ask: impl FnOnce() -> F) -> Landed<T> {
        let seat = Seat { call: self.sit_down(key), flights: self, key };
        let fly = || async {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            Landed { number, answer: ask().await }
        };
        seat.call.get_or_init(fly).await.clone()
    }

    fn sit_down(&self, key: &K) -> Call<T> {
        let mut table = self.table.lock().expect("nothing panics under this lock");
        let new = || Waiting { call: Arc::default(), seats: 0 };
        let waiting = table.entry(key.clone()).or_insert_with(new);
        waiting.seats += 1;
        waiting.call.clone()
    }

    /// Forgets a call that has landed, or that nobody waits for any more.
    fn stand_up(&self, key: &K, call: &Call<T>) {
        let mut table = self.table.lock().expect("nothing panics under this lock");
        let Some(waiting) = table.get_mut(key).filter(|waiting| Arc::ptr_eq(&waiting.call, call)) else {
            return;
        };
        waiting.seats -= 1;
        if waiting.seats == 0 || call.initialized() {
            table.remove(key);
        }
    }
}

struct Seat<'a, K: Clone + Eq + Hash, T: Clone> {
    flights: &'a Flights<K, T>,
    key: &'a K,
    call: Call<T>,
}

impl<K: Clone + Eq + Hash, T: Clone> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        self.flights.stand_up(self.key, &self.call);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::join_all;
    use tokio::sync::oneshot;

    use super::*;

    impl<K, T> Flights<K, T> {
        fn under_way(&self) -> usize {
            self.table.lock().expect("whole").len()
        }
    }

    #[tokio::test]
    async fn all_hear_one_answer() {
        let flights = Flights::<u8, u8>::new();
        let (answer, answered) = oneshot::channel();
        let leader = flights.join(&1, || async { answered.await.expect("sent") });
        let others = join_all((0..50).map(|_| flights.join(&1, pending)));
        let (first, others, ()) =
            tokio::join!(leader, others, async { answer.send(7).expect("somebody listens") });
        assert_eq!((first.number, first.answer), (1, 7));
        assert!(others.iter().all(|landed| (landed.number, landed.answer) == (1, 7)));
        assert_eq!((flights.begun(), flights.under_way()), (1, 0));
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other() {
        let flights = Flights::<u8, u8>::new();
        let stuck = flights.join(&1, pending);
        tokio::select! {
            biased;
            _ = stuck => panic!("nobody answers it"),
            landed = flights.join(&2, || ready(9)) => assert_eq!(landed.answer, 9),
        }
    }

    #[tokio::test]
    async fn if_the_one_who_asks_is_cancelled_another_one_asks() {
        let flights = Flights::<u8, u8>::new();
        let mut leader = Box::pin(flights.join(&1, pending));
        tokio::select! { biased; _ = &mut leader => panic!("nobody answers it"), () = ready(()) => {} }
        let follower = flights.join(&1, || ready(8));
        let (landed, ()) = tokio::join!(biased; follower, async { drop(leader) });
        assert_eq!((landed.number, landed.answer), (2, 8));
        assert_eq!(flights.under_way(), 0);
    }

    #[tokio::test]
    async fn a_call_that_all_gave_up_is_forgotten() {
        let flights = Flights::<u8, u8>::new();
        let mut given_up = Box::pin(flights.join(&1, pending));
        tokio::select! { biased; _ = &mut given_up => panic!("nobody answers it"), () = ready(()) => {} }
        assert_eq!(flights.under_way(), 1);
        drop(given_up);
        assert_eq!(flights.under_way(), 0);
        assert_eq!(flights.join(&1, || ready(3)).await.answer, 3);
    }
}
