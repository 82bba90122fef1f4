//! Lists of keys: what they are narrowed to, their order, and their pages.

use prost::Message;
use tollgate_kernel::{ConsumerId, Fault, PlanId, Timestamp, WorkspaceId};
use tollgate_proto::keys as wire;

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    cursor::Scope,
    input::{self, Problems},
    page::Page,
    store::{KeyFilter, KeyList, KeyStatus, Order, Sort},
    wire as messages,
};

const METADATA_FILTERS: usize = 3;
const METADATA_NAME_CHARACTERS: usize = 100;
const METADATA_VALUE_CHARACTERS: usize = 255;

impl KeysService {
    pub(crate) async fn list_keys(
        &self,
        message: wire::ListKeysRequest,
    ) -> Result<wire::ListKeysResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let wanted = message.filter.unwrap_or_default();
        let filter = filter(&wanted, "", &mut problems);
        let order = order(message.sort, message.ascending, &mut problems);
        let page = message.page.unwrap_or_default();
        let limit = Page::limit(page.limit, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ReadKeys, "workspace")?;

        let filter = self.with_policy(filter, workspace).await?;
        let scope = scope(workspace, &wanted, order);
        let after = match page.cursor.as_str() {
            "" => None,
            cursor => Some(scope.decode(cursor, order.sort).ok_or_else(no_cursor)?),
        };
        let list = KeyList { workspace, filter: &filter, order, now: self.clock.now() };
        let (ids, next) = self.store.keys_page(list, after.as_ref(), limit).await?;
        let rows = self.store.key_records(&ids).await?;
        let keys = rows.into_iter().map(messages::key).collect::<Result<_, _>>()?;
        Ok(wire::ListKeysResponse { keys, next_cursor: next.map(|place| scope.encode(&place)) })
    }

    /// The filter, with what the workspace's policy has to say of it.
    pub(crate) async fn with_policy(
        &self,
        filter: KeyFilter,
        workspace: WorkspaceId,
    ) -> Result<KeyFilter, Fault> {
        if filter.rotation_due_before.is_none() {
            return Ok(filter);
        }
        let max_secret_age = self.policy(workspace).await?.max_secret_age();
        Ok(KeyFilter { max_secret_age, ..filter })
    }
}

/// What a cursor of the list is good for.
fn scope(workspace: WorkspaceId, filter: &wire::KeyFilter, order: Order) -> Scope {
    let bytes = [workspace.uuid().as_bytes().as_slice(), &filter.encode_to_vec()].concat();
    Scope::new(&bytes, order)
}

fn no_cursor() -> Fault {
    Fault::invalid("/cursor", "is not a cursor that an earlier page of this list gave")
}

/// `at`: where the filter stands in the request, as a JSON pointer.
pub(crate) fn filter(message: &wire::KeyFilter, at: &'static str, problems: &mut Problems) -> KeyFilter {
    let mut found = Problems::default();
    let it = &mut found;
    let consumer: Option<ConsumerId> = input::id(&message.consumer_id, "/consumer_id", it);
    let plan: Option<PlanId> = input::id(&message.plan_id, "/plan_id", it);
    let mut instant = |time, pointer| -> Option<Timestamp> { input::instant(time, pointer, it) };
    let expiring_before = instant(message.expiring_before, "/expiring_before");
    let unused_since = instant(message.unused_since, "/unused_since");
    let created_after = instant(message.created_after, "/created_after");
    let created_before = instant(message.created_before, "/created_before");
    let rotation_due_before = instant(message.rotation_due_before, "/rotation_due_before");
    let role = Some(&message.role).filter(|role| !role.is_empty()).map(|role| input::role_in_query(role, it));
    let filter = KeyFilter {
        status: status(message.status, it),
        environment: input::known_environment(message.environment, it),
        name_part: input::query(&message.q, it),
        consumer: consumer.map(Into::into),
        plan: plan.map(Into::into),
        role,
        expiring_before,
        unused_since,
        created_after,
        created_before,
        rotation_due_before,
        max_secret_age: None,
        metadata: metadata(&message.metadata, it),
        unrevoked: false,
    };
    problems.add_all_below(at, found);
    filter
}

/// No two of one name, so that which of them must fit is never asked.
fn metadata(values: &[wire::MetadataValue], problems: &mut Problems) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for value in problems.at_most(values, METADATA_FILTERS, "/metadata") {
        let bounded = |text: &str, most: usize| text.chars().nth(most).is_none() && !text.contains('\0');
        let fine = !value.name.is_empty()
            && bounded(&value.name, METADATA_NAME_CHARACTERS)
            && bounded(&value.value, METADATA_VALUE_CHARACTERS);
        if !fine {
            let rule = format!(
                "must have a name of 1 to {METADATA_NAME_CHARACTERS} characters and a value of at most \
                 {METADATA_VALUE_CHARACTERS}"
            );
            problems.add("/metadata", rule);
        } else if found.iter().any(|(name, _)| *name == value.name) {
            problems.add("/metadata", "must not have one name twice");
        } else {
            found.push((value.name.clone(), value.value.clone()));
        }
    }
    found
}

fn order(sort: i32, ascending: Option<bool>, problems: &mut Problems) -> Order {
    let sort = match wire::KeySort::try_from(sort) {
        Ok(wire::KeySort::Unspecified | wire::KeySort::CreatedAt) => Sort::CreatedAt,
        Ok(wire::KeySort::ExpiresAt) => Sort::ExpiresAt,
        Ok(wire::KeySort::LastUsedAt) => Sort::LastUsedAt,
        Ok(wire::KeySort::Name) => Sort::Name,
        Err(_) => {
            problems.add("/sort", "must be `created_at`, `expires_at`, `last_used_at` or `name`");
            Sort::CreatedAt
        }
    };
    Order { sort, ascending: ascending.unwrap_or(sort == Sort::Name) }
}

fn status(number: i32, problems: &mut Problems) -> Option<KeyStatus> {
    match wire::KeyStatus::try_from(number) {
        Ok(wire::KeyStatus::Unspecified) => None,
        Ok(wire::KeyStatus::Active) => Some(KeyStatus::Active),
        Ok(wire::KeyStatus::Disabled) => Some(KeyStatus::Disabled),
        Ok(wire::KeyStatus::Expired) => Some(KeyStatus::Expired),
        Ok(wire::KeyStatus::Revoked) => Some(KeyStatus::Revoked),
        Err(_) => {
            problems.add("/status", "must be `active`, `disabled`, `expired` or `revoked`");
            None
        }
    }
}
