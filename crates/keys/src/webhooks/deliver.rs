//! Telling endpoints: what is due is claimed, sent, and tried again later if it did not arrive.
//!
//! At least once: a claim is a lease. Whoever dies between sending and writing that down leaves it to be sent again, by anybody,
//! when the lease has run out, with the same `webhook-id`. Two replicas never send the same on purpose, since one of them finds the
//! claim taken. Nothing promises an order.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, USER_AGENT},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tollgate_db::DbId;
use tollgate_kernel::{Entropy, Fault, MessageId, WebhookId};

use super::secret::{SigningSecret, signatures};
use crate::{
    KeysService,
    caller::Caller,
    config::days,
    outbound::{Failure, Outgoing, address::Target},
    store::{
        Attempted, Change, Deed, DeliveryRow, MessageRow, WebhookRow,
        outbox::{DELIVERED, FAILED, PENDING},
    },
};

/// Between one attempt and the next, in seconds: 3 days and 3 hours in all, as Standard Webhooks proposes.
const WAITS: [i64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// How many endpoints are told at once.
const ENDPOINTS: usize = 64;
/// How much one endpoint is told at once, and between two looks at whether others wait.
const AT_ONCE: i64 = 4;
/// How long a claim outlives the longest that a request can take: for writing down what came of it, however slow the database is.
const MARGIN: TimeDelta = TimeDelta::seconds(60);
/// How long what is being sent when the process stops has to arrive.
const LAST: Duration = Duration::from_secs(3);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Tollgate-Webhooks/", env!("CARGO_PKG_VERSION")));

impl KeysService {
    /// Tells all endpoints what is due now, and says how many deliveries were tried.
    #[cfg(test)]
    pub(crate) async fn tell_all(&self) -> Result<u64, Fault> {
        let mut told = 0;
        for webhook in self.store.webhooks_due(self.clock.now()).await? {
            told += self.tell(webhook).await?;
        }
        Ok(told)
    }

    /// Tells at every interval until `stop`, many endpoints at once: one that is slow holds up itself only.
    pub(crate) async fn keep_telling(&self, stop: &CancellationToken) {
        if self.seal.is_none() {
            return;
        }
        let (mut telling, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some((webhook, told)) = telling.next() => {
                    busy.remove(&webhook);
                    report(told);
                }
                () = sleep(self.config.webhook_interval()) => {
                    let due = self.store.webhooks_due(self.clock.now()).await;
                    for webhook in due.inspect_err(complain).unwrap_or_default() {
                        if busy.len() < ENDPOINTS && busy.insert(webhook) {
                            telling.push(async move { (webhook, self.tell(webhook).await) });
                        }
                    }
                }
            }
        }
        let rest = async { while telling.next().await.is_some() {} };
        // What is cut off here is sent again.
        timeout(LAST, rest).await.ok();
    }

    /// Tells one endpoint what is due now, until there is nothing more.
    async fn tell(&self, webhook: DbId) -> Result<u64, Fault> {
        let mut told = 0;
        loop {
            let now = self.clock.now();
            let longest = TimeDelta::from_std(self.outbound.longest()).unwrap_or(TimeDelta::hours(1));
            let claimed = self.store.deliveries_claim(webhook, now, now + longest + MARGIN, AT_ONCE).await?;
            if claimed.is_empty() {
                return Ok(told);
            }
            told += claimed.len() as u64;
            let endpoint = self.store.webhook_by_id(webhook.typed()).await?.filter(|row| row.enabled);
            let Some(endpoint) = endpoint else {
                for (delivery, _) in claimed {
                    self.give_up(&delivery, "disabled").await?;
                }
                continue;
            };
            let mut attempts: FuturesUnordered<_> = claimed
                .iter()
                .map(|(delivery, message)| self.attempt(&endpoint, delivery, message))
                .collect();
            while let Some(attempted) = attempts.next().await {
                attempted?;
            }
        }
    }

    /// One attempt, and what comes of it.
    async fn attempt(
        &self,
        endpoint: &WebhookRow,
        delivery: &DeliveryRow,
        message: &MessageRow,
    ) -> Result<(), Fault> {
        let answered = self.post(endpoint, message).await?;
        let now = self.clock.now();
        let (status_code, error) = match &answered {
            Ok(status) => (Some(i64::from(status.as_u16())), ""),
            Err(failure) => (None, failure.as_str()),
        };
        let arrived = answered.is_ok_and(|status| status.is_success());
        let attempts = delivery.attempts + 1;
        let wait = if arrived { None } else { wait(attempts, &*self.entropy) };
        let status = match (arrived, wait) {
            (true, _) => DELIVERED,
            (false, Some(_)) => PENDING,
            (false, None) => FAILED,
        };
        let due_at = wait.map_or(now, |wait| now + wait);
        let finished_at = (status != PENDING).then_some(now);
        let it = Attempted { status, attempts, due_at, status_code, error, finished_at };
        let result = if arrived { "delivered" } else { "failed" };
        metrics::counter!("tollgate_webhook_attempts_total", "result" => result).increment(1);
        self.store.delivery_attempted(delivery, it).await?;
        if arrived {
            return self.store.webhook_reached(endpoint.id).await;
        }
        self.missed(endpoint, answered.ok()).await
    }

    /// Posts the message, signed. A fault only if this role itself is at fault.
    async fn post(
        &self,
        endpoint: &WebhookRow,
        message: &MessageRow,
    ) -> Result<Result<StatusCode, Failure>, Fault> {
        // A setting may have changed since it was made.
        let Ok(target) = Target::parse(&endpoint.url, self.outbound.private()) else {
            return Ok(Err(Failure::Address));
        };
        let id = MessageId::from(message.id).to_string();
        let at = self.clock.now().timestamp();
        let signed = signatures(&self.secrets_of(endpoint)?, &id, at, &message.body);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, AGENT);
        for (name, value) in
            [("webhook-id", id), ("webhook-timestamp", at.to_string()), ("webhook-signature", signed)]
        {
            headers.insert(name, HeaderValue::try_from(value).map_err(Fault::internal)?);
        }
        let body = message.body.clone().into();
        // Nobody looks at what is answered beside the status.
        let request = Outgoing { method: Method::POST, headers, body, read: 0 };
        Ok(self.outbound.send(&target, request).await.map(|answer| answer.status))
    }

    /// Those that sign now, the newest first.
    fn secrets_of(&self, endpoint: &WebhookRow) -> Result<Vec<SigningSecret>, Fault> {
        let (seal, id): (_, WebhookId) = (self.seal()?, endpoint.id.typed());
        let overlaps = endpoint.previous_until.is_some_and(|until| until.0 > self.clock.now());
        let previous = endpoint.previous_secret.as_ref().filter(|_| overlaps);
        [Some(&endpoint.secret), previous].into_iter().flatten().map(|sealed| seal.open(id, sealed)).collect()
    }

    /// Disables an endpoint that has not been reached for days, or that says that it is gone.
    async fn missed(&self, endpoint: &WebhookRow, status: Option<StatusCode>) -> Result<(), Fault> {
        let now = self.clock.now();
        let since = self.store.webhook_missed(endpoint.id, now).await?;
        let reason = match since {
            _ if status == Some(StatusCode::GONE) => "gone",
            Some(since) if since <= now - days(self.config.webhook_disable_days) => "failures",
            _ => return Ok(()),
        };
        let (id, workspace) = (endpoint.id.typed(), endpoint.workspace_id.typed());
        let target = WebhookId::to_string(&id);
        let deed = Deed { caller: &Caller::SYSTEM, workspace, action: "webhook.disable", target, at: now };
        let disabled =
            self.store.webhook_disable(Change::grants(&self.store, deed), endpoint.id, reason).await?;
        if disabled {
            tracing::info!(webhook = %id, reason, "disabled a webhook");
        }
        Ok(())
    }

    async fn give_up(&self, delivery: &DeliveryRow, error: &'static str) -> Result<(), Fault> {
        let now = self.clock.now();
        let it = Attempted {
            status: FAILED,
            attempts: delivery.attempts,
            due_at: now,
            status_code: delivery.status_code,
            error,
            finished_at: Some(now),
        };
        self.store.delivery_attempted(delivery, it).await?;
        Ok(())
    }
}

/// How long to wait after so many attempts: a fifth more or less than planned, so that what failed together does not come together.
/// `None`: those were all.
fn wait(attempts: i64, entropy: &dyn Entropy) -> Option<TimeDelta> {
    let planned = WAITS.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
    let [high, low] = entropy.bytes();
    // 800 to 1200 thousandths.
    let thousandths = 800 + i64::from(u16::from_be_bytes([high, low])) * 400 / i64::from(u16::MAX);
    Some(TimeDelta::milliseconds(planned * thousandths))
}

fn report(told: Result<u64, Fault>) {
    if let Err(fault) = told {
        complain(&fault);
    }
}

fn complain(fault: &Fault) {
    let code = fault.code().as_str();
    tracing::warn!(code, cause = fault.cause(), "webhooks could not be told: {fault}");
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::OsEntropy;

    use super::*;

    #[test]
    fn waits_grow_and_end_after_three_days() {
        let mut before = TimeDelta::zero();
        for attempts in 1..=9 {
            let planned = TimeDelta::seconds(WAITS[usize::try_from(attempts).expect("small") - 1]);
            for _ in 0..100 {
                let drawn = wait(attempts, &OsEntropy).expect("another attempt");
                assert!(drawn >= planned * 4 / 5 && drawn <= planned * 6 / 5, "{attempts}: {drawn}");
            }
            assert!(planned > before);
            before = planned;
        }
        assert_eq!(wait(10, &OsEntropy), None);
        let all = TimeDelta::seconds(WAITS.iter().sum());
        assert!(all > TimeDelta::days(3) && all < TimeDelta::days(4));
    }
}
