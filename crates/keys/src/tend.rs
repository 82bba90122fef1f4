//! What policies ask to be done from time to time: unused keys are disabled, and keys that stay disabled are revoked. And the ends of
//! keys that come near are announced, and planned rotations.
//!
//! Each of these is a change like any other: audited (the actor is `system`), and in the log of changes. A key that somebody
//! changes in the same moment is left alone until the next run.

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tollgate_db::DbTime;
use tollgate_kernel::{Fault, Timestamp, WorkspaceId};

use crate::{
    KeysService,
    caller::Caller,
    change_key::cut,
    policy::Policy,
    store::{Change, Changed, Deed, KeyFilter, KeyList, KeyRow, KeyStatus, Order, Sort},
};

/// Keys that are looked at together.
const PIECE: usize = 100;
/// The keys of one workspace that are changed for one rule in one run, but for the rest of a piece; the others are for the next run.
const MOST_PER_RUN: u64 = 1_000;

impl KeysService {
    /// Does what is to be done now, and says to how many keys.
    pub(crate) async fn tend(&self) -> Result<u64, Fault> {
        let mut tended = 0;
        let mut after = None;
        loop {
            let workspaces = self.store.workspaces_tended(after).await?;
            let Some((last, _)) = workspaces.last() else { return Ok(tended) };
            after = Some(*last);
            for (workspace, policy) in workspaces {
                tended += self.tend_workspace(workspace.typed(), &Policy::read(&policy)?).await?;
            }
        }
    }

    async fn tend_workspace(&self, workspace: WorkspaceId, policy: &Policy) -> Result<u64, Fault> {
        let now = self.clock.now();
        let mut tended = 0;
        if let Some(before) = policy.revokes_disabled_before(now) {
            tended += self.revoke_disabled(workspace, before, now).await?;
        }
        if let Some(since) = policy.disables_unused_since(now) {
            tended += self.disable_unused(workspace, since, now).await?;
        }
        if let Some(days) = policy.max_secret_age_days() {
            tended += self.announce_ages(workspace, days).await?;
        }
        Ok(tended)
    }

    async fn revoke_disabled(
        &self,
        workspace: WorkspaceId,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<u64, Fault> {
        let mut tended = 0;
        while tended < MOST_PER_RUN {
            let keys = self.store.keys_disabled_before(workspace, before).await?;
            let revoked = |key| KeyRow { revoked_at: Some(now.into()), ..key };
            match self.change_all(keys, "key.revoke", now, revoked).await? {
                0 => break,
                some => tended += some,
            }
        }
        Ok(tended)
    }

    /// Keys that could be used and were not since then: neither made, nor begun, nor called, nor enabled.
    async fn disable_unused(
        &self,
        workspace: WorkspaceId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<u64, Fault> {
        let filter = KeyFilter {
            status: Some(KeyStatus::Active),
            created_before: Some(since),
            unused_since: Some(since),
            ..KeyFilter::default()
        };
        let order = Order { sort: Sort::LastUsedAt, ascending: true };
        let list = KeyList { workspace, filter: &filter, order, now };
        let earlier = |at: Option<DbTime>| at.is_none_or(|at| at.0 < since);
        let (mut tended, mut after) = (0, None);
        loop {
            let (ids, next) = self.store.keys_page(list, after.as_ref(), PIECE).await?;
            let keys = self.store.key_records(&ids).await?.into_iter().map(|(key, ..)| key);
            let unused = keys.filter(|key| earlier(key.enabled_at) && earlier(key.not_before)).collect();
            let disabled = |key| KeyRow { enabled: false, disabled_at: Some(now.into()), ..key };
            tended += self.change_all(unused, "key.disable", now, disabled).await?;
            if next.is_none() || tended >= MOST_PER_RUN {
                return Ok(tended);
            }
            after = next;
        }
    }

    async fn change_all(
        &self,
        keys: Vec<KeyRow>,
        action: &'static str,
        now: Timestamp,
        changed: impl Fn(KeyRow) -> KeyRow,
    ) -> Result<u64, Fault> {
        let mut done = 0;
        for key in keys {
            let (id, workspace) = (key.id.typed(), key.workspace_id.typed());
            let target = tollgate_kernel::KeyId::from(key.id).to_string();
            let deed = Deed { caller: &Caller::SYSTEM, workspace, action, target, at: now };
            let change = Change::cuts_off(&self.store, cut(id, false), deed);
            let (outcome, _) = self.store.key_update(change, changed(key)).await?;
            done += u64::from(outcome == Changed::Done);
        }
        metrics::counter!("tollgate_keys_tended_total", "action" => action).increment(done);
        Ok(done)
    }

    /// Tends at every interval until `stop`. Drains first: a call that is not in the tables yet is a use of its key.
    pub(crate) async fn keep_tending(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(sleep(self.config.policy_interval())).await.is_some() {
            let tended = async {
                self.drain().await?;
                Ok::<_, Fault>(
                    self.tend().await? + self.announce_ends().await? + self.tend_rotations().await?,
                )
            };
            match tended.await {
                Ok(0) => {}
                Ok(keys) => tracing::info!(keys, "did what policies ask for"),
                Err(fault) => {
                    let code = fault.code().as_str();
                    tracing::warn!(
                        code,
                        cause = fault.cause(),
                        "could not do what policies ask for: {fault}"
                    );
                }
            }
        }
    }
}
