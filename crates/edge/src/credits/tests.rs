//! The role is asked as seldom as can be, and never too seldom.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};
use tollgate_kernel::OsEntropy;
use tollgate_proto::{Keys, keys::LendCreditsResponse};
use tollgate_testkit::MockClock;
use tonic::{Response, Status};

use super::*;

/// A role that lends, or does not.
struct Bank {
    lends: AtomicBool,
    asked: AtomicUsize,
    /// One permit per answer.
    answers: Semaphore,
}

#[tonic::async_trait]
impl Keys for Bank {
    async fn lend_credits(
        &self,
        _: Request<LendCreditsRequest>,
    ) -> Result<Response<LendCreditsResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.expect("open").forget();
        let lent = self.lends.load(Ordering::SeqCst);
        Ok(Response::new(LendCreditsResponse { lent, next_refill_at: None }))
    }
}

struct World {
    bank: Arc<Bank>,
    lender: Arc<Lender>,
    clock: Arc<MockClock>,
    account: CreditAccountId,
}

fn world(lends: bool, answers: usize) -> World {
    let clock = MockClock::new();
    let bank = Arc::new(Bank {
        lends: AtomicBool::new(lends),
        asked: AtomicUsize::new(0),
        answers: Semaphore::new(answers),
    });
    let account = CreditAccountId::new(&*clock, &OsEntropy);
    World { lender: Arc::new(Lender::new(bank.clone(), clock.clone())), bank, clock, account }
}

impl World {
    async fn more(&self, cost: u64, step: u64) -> More {
        self.lender.more(self.account, cost, step).await.expect("an answer")
    }

    fn asked(&self) -> usize {
        self.bank.asked.load(Ordering::SeqCst)
    }
}

const EMPTY: More = More::Empty { refill_at: None };

#[tokio::test]
async fn an_empty_account_is_asked_about_once_a_second_or_when_something_happened() {
    let world = world(false, 100);
    for _ in 0..3 {
        assert_eq!(world.more(5, 1).await, EMPTY);
        assert_eq!(world.more(6, 1).await, EMPTY);
    }
    assert_eq!(world.asked(), 1);
    assert_eq!(world.more(4, 1).await, EMPTY);
    assert_eq!(world.asked(), 2, "there may be so few");
    world.more(4, 2).await;
    assert_eq!(world.asked(), 3, "something was deposited");
    world.clock.advance(Duration::from_secs(1));
    world.bank.lends.store(true, Ordering::SeqCst);
    assert_eq!(world.more(4, 2).await, More::Lent);
    assert_eq!(world.more(4, 2).await, More::Lent);
    assert_eq!(world.asked(), 5, "that something was lent is not remembered for those who come later");
}

#[tokio::test]
async fn of_many_who_wait_one_asks() {
    for (lends, expected) in [(true, More::Lent), (false, EMPTY)] {
        let world = world(lends, 0);
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let (lender, account) = (world.lender.clone(), world.account);
            tasks.spawn(async move { lender.more(account, 1, 0).await.expect("an answer") });
        }
        while world.asked() == 0 {
            tokio::task::yield_now().await;
        }
        // All of them have run as far as they can: this runtime has one thread, and takes them in turn.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        world.bank.answers.add_permits(100);
        assert_eq!(tasks.join_all().await, vec![expected; 100]);
        assert_eq!(world.asked(), 1);
    }
}
