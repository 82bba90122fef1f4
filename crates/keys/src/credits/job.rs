//! What is done with accounts of credits from time to time: refills that are due, each once per period, and taking back what was
//! lent and lies idle.

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tollgate_kernel::{CreditAccountId, Fault};

use crate::KeysService;

/// Accounts in one look.
const PIECE: i64 = 100;
/// The most looks of one run; the rest is for the next run.
const PIECES_PER_RUN: usize = 100;

impl KeysService {
    /// Does what is to be done now, and says with how many accounts. One that cannot be tended does not hold up the others.
    ///
    /// # Errors
    /// Why the first that could not be tended was not.
    pub(crate) async fn tend_credits(&self) -> Result<u64, Fault> {
        let (mut tended, mut wrong) = (0, None);
        for _ in 0..PIECES_PER_RUN {
            let due = self.store.credits_due(self.clock.now(), PIECE).await?;
            for account in &due {
                match self.refill_now(CreditAccountId::from(*account)).await {
                    Ok(_) => tended += 1,
                    Err(fault) => wrong = wrong.or(Some(fault)),
                }
            }
            if due.is_empty() || wrong.is_some() {
                break;
            }
        }
        let since = self.clock.now() - self.config.credit_idle();
        for _ in 0..PIECES_PER_RUN {
            let idle = self.store.credits_idle(since, PIECE).await?;
            for account in &idle {
                match self.take_back(CreditAccountId::from(*account)).await {
                    Ok(_) => tended += 1,
                    Err(fault) => wrong = wrong.or(Some(fault)),
                }
            }
            if idle.is_empty() || wrong.is_some() {
                break;
            }
        }
        wrong.map_or(Ok(tended), Err)
    }

    /// Tends accounts of credits at every interval until `stop`.
    pub(crate) async fn keep_crediting(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(sleep(self.config.credit_interval())).await.is_some() {
            match self.tend_credits().await {
                Ok(0) => {}
                Ok(accounts) => tracing::debug!(accounts, "tended accounts of credits"),
                Err(fault) => {
                    let code = fault.code().as_str();
                    tracing::warn!(code, cause = fault.cause(), "credits could not be tended: {fault}");
                }
            }
        }
    }
}
