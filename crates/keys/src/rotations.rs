//! Planned rotation: a key is to be rotated every so many days. Nobody but the one who asks is shown a new secret, so nothing is
//! rotated here: it is announced 7 days before, a day before, and when it is due; and where the plan says so, the secrets of a key
//! that was not rotated retire some days later. A rotation plans the next one. A workspace's policy may ask for it as well; that
//! is announced in the same way, and retires nothing.

use chrono::TimeDelta;
use serde_json::json;
use tollgate_db::{DbId, DbTime};
use tollgate_kernel::{Fault, KeyId, Timestamp, WorkspaceId};
use tollgate_proto::{keys as wire, time::to_wire};

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    change_key::cut,
    input::Problems,
    notices::PIECES_PER_RUN,
    store::{Change, Deed, KeyRow, NoticeRow, RotationRow, Store},
    webhooks::event::{Event, text},
    wire::instant,
};

/// Days: ten years.
const LONGEST: u32 = 3650;
/// Days that a key may live on unrotated.
const LONGEST_DEADLINE: u32 = 365;
/// The names of the thresholds, and their days; the nearest first.
const THRESHOLDS: [(&str, i64); 3] = [("rotation.0", 0), ("rotation.1", 1), ("rotation.7", 7)];
/// What was due longer ago is not announced any more.
const LATEST: TimeDelta = TimeDelta::days(30);

impl RotationRow {
    /// The plan of a key whose newest secret was made then. `from`: when the plan is made.
    pub(crate) fn counted(mut self, made: DbTime, from: DbTime) -> Self {
        let due = made.0 + TimeDelta::days(self.every_days);
        self.due_at = due.into();
        // Who plans late has all of the deadline.
        let deadline = |days| DbTime(due.max(from.0) + TimeDelta::days(days));
        self.retires_at = self.deadline_days.map(deadline);
        self
    }
}

impl KeysService {
    pub(crate) async fn put_key_rotation(
        &self,
        message: wire::PutKeyRotationRequest,
    ) -> Result<wire::PutKeyRotationResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let ((key, ..), _) = self.key_to_change(&caller, &message.key_id).await?;
        let mut problems = Problems::default();
        if !(1..=LONGEST).contains(&message.every_days) {
            problems.add("/every_days", format!("must be 1 to {LONGEST}"));
        }
        if message.deadline_days.is_some_and(|days| !(1..=LONGEST_DEADLINE).contains(&days)) {
            problems.add("/deadline_days", format!("must be 1 to {LONGEST_DEADLINE}"));
        }
        problems.check()?;
        let (id, now): (KeyId, _) = (key.id.typed(), self.clock.now());
        let newest = key.secret_made_at;
        let row = RotationRow {
            key_id: key.id,
            workspace_id: key.workspace_id,
            every_days: message.every_days.into(),
            deadline_days: message.deadline_days.map(Into::into),
            due_at: newest,
            retires_at: None,
        };
        let row = row.counted(newest, now.into());
        let change = moves(&self.store, id, plan(&caller, &key, "key.rotation.plan", now));
        self.store.rotation_put(change, row.clone()).await?;
        Ok(wire::PutKeyRotationResponse { rotation: Some(rotation(&row, now)) })
    }

    pub(crate) async fn get_key_rotation(
        &self,
        message: wire::GetKeyRotationRequest,
    ) -> Result<wire::GetKeyRotationResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let ((key, ..), standing) = self.key_for(&caller, &message.key_id).await?;
        standing.require(Action::ReadKeys, "key")?;
        let row = self.store.rotation_of(key.id.typed()).await?;
        let row = row.ok_or_else(|| Fault::not_found("planned rotation"))?;
        Ok(wire::GetKeyRotationResponse { rotation: Some(rotation(&row, self.clock.now())) })
    }

    pub(crate) async fn delete_key_rotation(
        &self,
        message: wire::DeleteKeyRotationRequest,
    ) -> Result<wire::DeleteKeyRotationResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let ((key, ..), _) = self.key_to_change(&caller, &message.key_id).await?;
        let deed = plan(&caller, &key, "key.rotation.unplan", self.clock.now());
        let id = key.id.typed();
        self.store.rotation_delete(moves(&self.store, id, deed), id).await?;
        Ok(wire::DeleteKeyRotationResponse {})
    }

    /// Announces what is due, retires what is overdue, and says of how many keys.
    pub(crate) async fn tend_rotations(&self) -> Result<u64, Fault> {
        let (now, mut tended) = (self.clock.now(), 0);
        let mut nearer = now - LATEST;
        for (kind, days) in THRESHOLDS {
            let until = now + TimeDelta::days(days);
            let mut place = Some(self.walks.place(kind, None, nearer));
            for _ in 0..PIECES_PER_RUN {
                let Some(after) = place else { break };
                let walked = self.store.rotations_after(after, until, days).await?;
                for (key, row) in self.store.rotations_due(kind, &walked).await? {
                    tended += u64::from(self.announce_rotation(&key, &row, kind, days).await?);
                }
                place = walked.last().copied();
            }
            self.walks.leave(kind, None, place);
            nearer = until;
        }
        for (key, row) in self.store.rotations_overdue(now).await? {
            let deed = plan(&Caller::SYSTEM, &key, "key.retire", now);
            let change = Change::cuts_off(&self.store, cut(key.id.typed(), false), deed);
            tended += u64::from(self.store.secrets_retire(change, row, now).await?);
        }
        Ok(tended)
    }

    /// Announces which keys of a workspace are due because of the age that its policy lets a secret have, and says of how many.
    /// What a key's own plan makes due sooner is announced as that.
    pub(crate) async fn announce_ages(&self, workspace: WorkspaceId, every_days: i64) -> Result<u64, Fault> {
        let workspace = DbId::from(workspace);
        if self.store.workspaces_listening_of(Event::KeyRotationDue, vec![workspace]).await?.is_empty() {
            return Ok(0);
        }
        let (now, age, mut announced) = (self.clock.now(), TimeDelta::days(every_days), 0);
        let mut nearer = now - LATEST;
        // At a threshold of as many days as a secret may become old, every new key would be announced.
        for (kind, days) in THRESHOLDS.into_iter().filter(|(_, days)| *days < every_days) {
            let until = now + TimeDelta::days(days);
            let mut place = Some(self.walks.place(kind, Some(workspace), nearer - age));
            for _ in 0..PIECES_PER_RUN {
                let Some(after) = place else { break };
                let walked = self.store.ages_after(workspace, after, until - age).await?;
                for key in self.store.ages_due(kind, &walked, age).await? {
                    let row = by_policy(&key, every_days);
                    announced += u64::from(self.announce_rotation(&key, &row, kind, days).await?);
                }
                place = walked.last().copied();
            }
            self.walks.leave(kind, Some(workspace), place);
            nearer = until;
        }
        Ok(announced)
    }

    async fn announce_rotation(
        &self,
        key: &KeyRow,
        row: &RotationRow,
        kind: &str,
        days: i64,
    ) -> Result<bool, Fault> {
        let deed = plan(&Caller::SYSTEM, key, "key.rotation.announce", self.clock.now());
        let told = json!({
            "every_days": row.every_days,
            "due_at": text(row.due_at.0),
            "retires_at": row.retires_at.map(|at| text(at.0)),
        });
        let change = Change::grants(&self.store, deed).noting("days", json!(days)).noting("rotation", told);
        let notice = NoticeRow { subject_id: key.id, kind: kind.to_owned(), due_at: row.due_at };
        self.store.announce_once(change, vec![notice]).await
    }
}

/// What a policy asks of a key, as if it were planned.
fn by_policy(key: &KeyRow, every_days: i64) -> RotationRow {
    let made = key.secret_made_at;
    let row = RotationRow {
        key_id: key.id,
        workspace_id: key.workspace_id,
        every_days,
        deadline_days: None,
        due_at: made,
        retires_at: None,
    };
    row.counted(made, made)
}

/// A change of when the key is due: verdicts say so everywhere when it returns.
fn moves(store: &Store, id: KeyId, deed: Deed<'_>) -> Change {
    Change::cuts_off(store, cut(id, true), deed)
}

fn plan<'a>(caller: &'a Caller, key: &KeyRow, action: &'static str, at: Timestamp) -> Deed<'a> {
    let target = KeyId::from(key.id).to_string();
    Deed { caller, workspace: key.workspace_id.typed(), action, target, at }
}

fn rotation(row: &RotationRow, now: Timestamp) -> wire::KeyRotation {
    wire::KeyRotation {
        every_days: u32::try_from(row.every_days).unwrap_or_default(),
        deadline_days: row.deadline_days.and_then(|days| u32::try_from(days).ok()),
        due_at: Some(to_wire(row.due_at.0)),
        due: row.due_at.0 <= now,
        retires_at: instant(row.retires_at),
    }
}
