//! The list of what was done in a workspace. What this role does is in it; what users do with their sessions is identity's.

use tollgate_kernel::Fault;
use tollgate_proto::keys as wire;

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    input::{self, Problems},
    page::Page,
    store::EventFilter,
    wire as messages,
};

const TEXT_CHARACTERS: usize = 100;

/// A text to look for; absent if empty.
fn text(text: String, pointer: &'static str, problems: &mut Problems) -> Option<String> {
    if text.chars().nth(TEXT_CHARACTERS).is_some() || text.contains(char::is_control) {
        let rule = "and no control character";
        problems.add(pointer, format!("must have at most {TEXT_CHARACTERS} characters, {rule}"));
    }
    (!text.is_empty()).then_some(text)
}

impl KeysService {
    pub(crate) async fn list_audit_events(
        &self,
        message: wire::ListAuditEventsRequest,
    ) -> Result<wire::ListAuditEventsResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let it = &mut problems;
        let named = input::id(&message.workspace_id, "/workspace_id", it);
        let page = Page::parse(Some(&wire::Page { limit: message.limit, cursor: message.cursor }), it);
        let actor = text(message.actor, "/actor", it);
        let action = text(message.action, "/action", it);
        let target = text(message.target, "/target", it);
        let from = input::instant(message.from, "/from", it);
        let to = input::instant(message.to, "/to", it);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ReadAudit, "workspace")?;
        let filter = EventFilter { workspace: workspace.into(), actor, action, target, from, to };
        let rows = self.store.events_in(&filter, page).await?;
        let (rows, next_cursor) = page.cut(rows, |event| event.id);
        let events = rows.into_iter().map(messages::audit_event).collect();
        Ok(wire::ListAuditEventsResponse { events, next_cursor })
    }
}
