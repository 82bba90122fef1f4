//! When a quota (a calendar limit) is used up to 80 % and to 100 %, that is announced: once in each of its periods.
//!
//! Derived where tallies are drained, so that no call waits for it: the keys that were called are looked up, and the ratelimit role
//! is asked where their calendar limits stand, without counting anything. What it answers is exact; when it is asked is not. So the
//! announcement comes seconds after the call that reached the threshold; it does not come if the period ends in between, or if this
//! process dies in between and nothing more is called in the period; and where both thresholds are passed between two looks, only
//! 100 % is announced. Only workspaces that have an endpoint for it are looked at.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DurationRound as _, TimeDelta};
use serde_json::json;
use tollgate_db::{DbId, DbTime};
use tollgate_kernel::{ConsumerId, Fault, KeyId, Timestamp, WorkspaceId};
use tollgate_proto::{
    fault::from_status,
    ratelimit::{Algorithm, Charge, CheckRequest, Limit, LimitState, TallyRow},
};
use tonic::Request;

use crate::{
    KeysService,
    caller::Caller,
    store::{Change, Deed, NoticeRow},
    webhooks::event::{Event, text},
    wire as messages,
};

/// Between two looks at the same key.
const BETWEEN: TimeDelta = TimeDelta::seconds(5);
/// In one look; the rest is for the next one.
const KEYS_PER_LOOK: usize = 500;
/// That are remembered for the next look. One more is forgotten until it is called again.
const KEYS_REMEMBERED: usize = 100_000;

/// Keys that were called since they were looked at.
#[derive(Debug, Default)]
pub(crate) struct Called {
    keys: BTreeMap<KeyId, WorkspaceId>,
    looked: Option<Timestamp>,
}

/// A calendar limit, and whose it is.
struct Quota {
    level: &'static str,
    subject: DbId,
    charge: Charge,
}

impl Called {
    /// Remembers whose calls passed or were denied by a quota.
    pub(crate) fn remember(&mut self, rows: &[TallyRow]) {
        for row in rows.iter().filter(|row| matches!(row.code.as_str(), "VALID" | "QUOTA_EXCEEDED")) {
            if let (Ok(workspace), Ok(key)) = (row.partition.parse(), row.subject.parse())
                && self.keys.len() < KEYS_REMEMBERED
            {
                self.keys.insert(key, workspace);
            }
        }
    }

    /// Those to be looked at now.
    fn take(&mut self, now: Timestamp) -> Vec<(KeyId, WorkspaceId)> {
        if self.keys.is_empty() || self.looked.is_some_and(|at| now - at < BETWEEN && now >= at) {
            return Vec::new();
        }
        self.looked = Some(now);
        let mut taken = Vec::new();
        while taken.len() < KEYS_PER_LOOK
            && let Some(first) = self.keys.pop_first()
        {
            taken.push(first);
        }
        taken
    }
}

impl KeysService {
    /// Looks where the quotas stand of what was called. What fails is said and not tried again: the next call is.
    pub(crate) async fn watch_quotas(&self, called: &mut Called) {
        let keys = called.take(self.clock.now());
        if let Err(fault) = self.look_at_quotas(keys).await {
            let code = fault.code().as_str();
            tracing::warn!(code, cause = fault.cause(), "could not look where quotas stand: {fault}");
        }
    }

    async fn look_at_quotas(&self, keys: Vec<(KeyId, WorkspaceId)>) -> Result<(), Fault> {
        if keys.is_empty() {
            return Ok(());
        }
        let workspaces: BTreeSet<DbId> = keys.iter().map(|(_, workspace)| (*workspace).into()).collect();
        let workspaces = workspaces.into_iter().collect();
        let listening = self.store.workspaces_listening_of(Event::QuotaReached, workspaces).await?;
        for (key, workspace) in keys {
            if listening.contains(&workspace.into()) {
                self.look_at_quotas_of(key, workspace).await?;
            }
        }
        Ok(())
    }

    async fn look_at_quotas_of(&self, key: KeyId, workspace: WorkspaceId) -> Result<(), Fault> {
        let quotas = self.quotas_of(key, workspace).await?;
        if quotas.is_empty() {
            return Ok(());
        }
        let request = CheckRequest {
            partition: workspace.to_string(),
            charges: quotas.iter().map(|quota| quota.charge.clone()).collect(),
            peek: true,
            ..CheckRequest::default()
        };
        let answer = self.ratelimit.check(Request::new(request)).await.map_err(from_status)?.into_inner();
        for (quota, state) in quotas.into_iter().zip(answer.limits) {
            let used = state.limit.saturating_sub(state.remaining);
            let percent = match state.remaining {
                0 => 100,
                _ if used.saturating_mul(5) >= state.limit.saturating_mul(4) => 80,
                _ => continue,
            };
            self.announce_quota(workspace, &quota, percent, &state).await?;
        }
        Ok(())
    }

    /// The calendar limits of the key, its consumer and its workspace that are enforced, named as the edge names them.
    async fn quotas_of(&self, key: KeyId, workspace: WorkspaceId) -> Result<Vec<Quota>, Fault> {
        let Some(((row, plan, ..), consumer, shared)) = self.store.key_with_levels(key).await? else {
            return Ok(Vec::new());
        };
        let mut quotas = Vec::new();
        let mut add = |level: &'static str, subject: DbId, name: String, limits: Vec<Limit>| {
            for limit in limits {
                if limit.algorithm() == Algorithm::Calendar && !limit.shadow {
                    let prefix = if level == "key" { String::new() } else { format!("{level}.") };
                    let limit = Limit { name: format!("{prefix}{}", limit.name), ..limit };
                    let charge = Charge { limit: Some(limit), subject: name.clone(), cost: 0 };
                    quotas.push(Quota { level, subject, charge });
                }
            }
        };
        add("key", row.id, key.to_string(), messages::limits(&row, &plan)?);
        if let Some(consumer) = consumer {
            let (id, limits) = (consumer.0.id, messages::consumer_limits(&consumer)?);
            add("consumer", id, ConsumerId::from(id).to_string(), limits);
        }
        add("workspace", workspace.into(), workspace.to_string(), messages::shared_limits(&shared)?);
        Ok(quotas)
    }

    async fn announce_quota(
        &self,
        workspace: WorkspaceId,
        quota: &Quota,
        percent: u32,
        state: &LimitState,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        let resets_at = period_end(now, state.reset_us);
        let named = quota.charge.limit.as_ref().map(|limit| limit.name.clone()).unwrap_or_default();
        let notice = |percent: u32| NoticeRow {
            subject_id: quota.subject,
            kind: format!("quota.{percent}.{named}"),
            due_at: DbTime(resets_at),
        };
        // Whoever has used all of it has used most of it.
        let notices = if percent == 100 { vec![notice(100), notice(80)] } else { vec![notice(80)] };
        let target = quota.charge.subject.clone();
        let deed = Deed { caller: &Caller::SYSTEM, workspace, action: "quota.reached", target, at: now };
        let told = json!({
            "percent": percent,
            "level": quota.level,
            "subject_id": quota.charge.subject,
            "name": named,
            "limit": state.limit,
            "remaining": state.remaining,
            "resets_at": text(resets_at),
        });
        let change = Change::grants(&self.store, deed).noting("quota", told);
        self.store.announce_once(change, notices).await?;
        Ok(())
    }
}

/// The end of the period, which is at a full minute: what two looks say of it differs by how long an answer takes.
fn period_end(now: Timestamp, reset_us: u64) -> Timestamp {
    let reset = TimeDelta::microseconds(i64::try_from(reset_us).unwrap_or(i64::MAX));
    let end = now.checked_add_signed(reset).unwrap_or(now);
    end.duration_round(TimeDelta::minutes(1)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_the_same_whenever_one_looks() {
        let now: Timestamp = "2026-01-01T10:00:00Z".parse().expect("a time");
        let end: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        for late in [-900, 0, 1, 900] {
            let reset = u64::try_from((end - now).num_microseconds().expect("small")).expect("positive");
            assert_eq!(period_end(now + TimeDelta::milliseconds(late), reset), end);
        }
    }

    #[test]
    fn keys_are_looked_at_from_time_to_time() {
        let now: Timestamp = "2026-01-01T10:00:00Z".parse().expect("a time");
        let id = |n| uuid::Uuid::from_u128(n);
        let row = |key: u128, code: &str| TallyRow {
            partition: WorkspaceId::from_uuid(id(1)).to_string(),
            subject: KeyId::from_uuid(id(key)).to_string(),
            code: code.into(),
            ..TallyRow::default()
        };
        let mut called = Called::default();
        called.remember(&[row(1, "VALID"), row(1, "QUOTA_EXCEEDED"), row(2, "REVOKED"), row(3, "VALID")]);
        assert_eq!(called.take(now).len(), 2);
        called.remember(&[row(1, "VALID")]);
        assert_eq!(called.take(now + TimeDelta::seconds(4)).len(), 0, "too early");
        assert_eq!(called.take(now + TimeDelta::seconds(5)).len(), 1, "and not forgotten");
        let many: Vec<_> = (0..501).map(|key| row(key, "VALID")).collect();
        called.remember(&many);
        assert_eq!(called.take(now + TimeDelta::seconds(10)).len(), 500);
        assert_eq!(called.take(now + TimeDelta::seconds(15)).len(), 1);
    }
}
