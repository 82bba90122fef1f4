//! Many keys are revoked at once: those that fit a filter when it is asked.

use tollgate_changes::{Cut, Effect};
use tollgate_db::DbId;
use tollgate_kernel::{Code, Fault, KeyId, Timestamp, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::Subject;

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    input::{self, Problems},
    key_lists,
    store::{Change, Deed, KeyFilter, KeyList, Order},
    wire as messages,
};

/// The most keys of one call.
const MOST: usize = 10_000;
/// Keys that are looked for together.
const PIECE: usize = 1_000;
/// Keys that are shown.
const SAMPLE: usize = 10;
/// Up to so many, each key is cut off by itself; more, and their workspace is, so that the log and all verifiers need not carry each.
const FEW: usize = 50;
/// Keys in one transaction.
const BATCH: usize = 500;

/// What is to be done to each key.
struct Sweep<'a> {
    caller: &'a Caller,
    workspace: WorkspaceId,
    reason: Option<String>,
    wait: bool,
    at: Timestamp,
}

impl KeysService {
    pub(crate) async fn revoke_keys(
        &self,
        message: wire::RevokeKeysRequest,
    ) -> Result<wire::RevokeKeysResponse, Fault> {
        let now = self.clock.now();
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let wanted = message.filter.unwrap_or_default();
        let filter = KeyFilter { unrevoked: true, ..key_lists::filter(&wanted, "/filter", &mut problems) };
        check_all(wanted == wire::KeyFilter::default(), message.all, &mut problems);
        check_count(message.expected_count, &mut problems);
        let reason = input::reason(&message.reason, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::RevokeKeys, "workspace")?;

        let filter = self.with_policy(filter, workspace).await?;
        let (ids, more) = self.keys_that_fit(workspace, &filter, now).await?;
        expect(message.expected_count, &ids, more)?;
        let sample = self.store.key_records(&ids[..ids.len().min(SAMPLE)]).await?;
        let sample = sample.into_iter().map(messages::key).collect::<Result<_, _>>()?;
        let matched = count(ids.len());
        let (revoked, effect) = if message.dry_run {
            (0, None)
        } else {
            let order = Sweep { caller: &caller, workspace, reason, wait: !message.no_wait, at: now };
            self.revoke_all(&order, ids).await?
        };
        let (revoked, effect) = (count(revoked), effect.map(Into::into));
        Ok(wire::RevokeKeysResponse { matched, revoked, sample, effect, more })
    }

    /// The oldest of them, and whether there are more than are taken.
    async fn keys_that_fit(
        &self,
        workspace: WorkspaceId,
        filter: &KeyFilter,
        now: Timestamp,
    ) -> Result<(Vec<DbId>, bool), Fault> {
        let list = KeyList { workspace, filter, order: Order::OLDEST_FIRST, now };
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let (found, next) = self.store.keys_page(list, after.as_ref(), PIECE).await?;
            ids.extend(found);
            if ids.len() > MOST {
                ids.truncate(MOST);
                return Ok((ids, true));
            }
            if next.is_none() {
                return Ok((ids, false));
            }
            after = next;
        }
    }

    /// Says how many were revoked, and how the last of it came to hold. The log is in order: what holds of the last holds of all.
    async fn revoke_all(&self, order: &Sweep<'_>, ids: Vec<DbId>) -> Result<(usize, Option<Effect>), Fault> {
        let alone = ids.len() <= FEW;
        let batches: Vec<&[DbId]> = ids.chunks(if alone { 1 } else { BATCH }).collect();
        let (mut revoked, mut effect) = (0, None);
        for (place, batch) in batches.iter().enumerate() {
            let last = place + 1 == batches.len();
            let subject = match batch {
                [only] if alone => Subject::Key(only.typed()),
                _ => Subject::Workspace(order.workspace),
            };
            let deed = Deed {
                caller: order.caller,
                workspace: order.workspace,
                action: "key.revoke",
                target: KeyId::from(batch[0]).to_string(),
                at: order.at,
            };
            let cut = Cut { subject, wait: last && order.wait };
            let change = Change::cuts_off(&self.store, cut, deed.clone()).because(order.reason.clone());
            let (some, how) = self.store.keys_revoke(change, &deed, batch.to_vec(), order.at).await?;
            revoked += some;
            effect = how;
        }
        Ok((revoked, effect))
    }
}

/// Nobody revokes every key by forgetting to say which.
fn check_all(empty: bool, all: bool, problems: &mut Problems) {
    if empty && !all {
        problems.add("/filter", "is empty: every key would be revoked; say `all` if that is meant");
    }
    if !empty && all {
        problems.add("/all", "must not be said together with a filter");
    }
}

fn check_count(expected: Option<u32>, problems: &mut Problems) {
    if expected.is_some_and(|expected| expected as usize > MOST) {
        problems.add("/expected_count", format!("must be 0 to {MOST}: so many are revoked by one call"));
    }
}

fn expect(expected: Option<u32>, ids: &[DbId], more: bool) -> Result<(), Fault> {
    let Some(expected) = expected else { return Ok(()) };
    if expected as usize == ids.len() && !more {
        return Ok(());
    }
    let found = if more { format!("more than {MOST}") } else { ids.len().to_string() };
    let message = format!("The filter fits {found} keys, not the expected {expected}; nothing was revoked.");
    Err(Fault::new(Code::Conflict, message))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("so many are not taken by one call")
}
