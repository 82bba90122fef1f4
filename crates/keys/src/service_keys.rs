//! Service keys: made, listed, ended. By people only.

use tollgate_changes::Cut;
use tollgate_kernel::{ExposeSecret, Fault, ServiceKeyId};
use tollgate_proto::keys as wire;
use tollgate_verify::{KeyKind, Subject, mint};

use crate::{
    KeysService,
    access::{Action, forbidden},
    caller::Caller,
    input::{self, Problems},
    once::{Asked, gone},
    page::Page,
    store::{Change, Deed, ServiceKeyRow},
    wire as messages,
};

impl KeysService {
    pub(crate) async fn create_service_key(
        &self,
        mut message: wire::CreateServiceKeyRequest,
    ) -> Result<wire::CreateServiceKeyResponse, Fault> {
        let now = self.clock.now();
        let caller = Caller::try_from(message.caller.take())?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let name = input::name(&message.name, &mut problems);
        let permissions = input::permissions(&message.permissions, &mut problems);
        let scopes = input::scopes(&message.scopes, &mut problems);
        let expires_at = input::expiry(message.expires_at, message.expires_in_days, now, &mut problems);
        let once = input::idempotency_key(&message.idempotency_key, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ManageServiceKeys, "workspace")?;
        if !permissions.iter().all(|permission| standing.holds(*permission)) {
            return Err(forbidden());
        }

        let id = ServiceKeyId::new(&*self.clock, &*self.entropy);
        let minted = mint(KeyKind::Service, &*self.entropy);
        let row = ServiceKeyRow {
            id: id.into(),
            workspace_id: workspace.into(),
            name,
            public_id: minted.public_id,
            digest: minted.digest.to_vec(),
            start: minted.start,
            permissions: permissions.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
            expires_at: expires_at.map(Into::into),
            revoked_at: None,
            created_by: caller.principal.to_string(),
            created_at: now.into(),
            scopes: scopes.into(),
        };
        let deed = Deed {
            caller: &caller,
            workspace,
            action: "service_key.create",
            target: id.to_string(),
            at: now,
        };
        let once = self.once(&Asked::new(&caller, "service key", &message), once.as_deref(), id, now);
        let created = self.store.service_key_insert(deed, row.clone(), once).await?;
        let (row, secret) = match created.before()? {
            None => (row, minted.key.expose_secret().to_owned()),
            Some(before) => {
                let before = self.store.service_key_by_id(before.typed()).await?;
                (before.ok_or_else(gone)?, String::new())
            }
        };
        Ok(wire::CreateServiceKeyResponse { service_key: Some(messages::service_key(row)), secret })
    }

    pub(crate) async fn list_service_keys(
        &self,
        message: wire::ListServiceKeysRequest,
    ) -> Result<wire::ListServiceKeysResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let page = Page::parse(message.page.as_ref(), &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ReadServiceKeys, "workspace")?;
        let rows = self.store.service_keys_in(workspace, page).await?;
        let (rows, next_cursor) = page.cut(rows, |key| key.id);
        let service_keys = rows.into_iter().map(messages::service_key).collect();
        Ok(wire::ListServiceKeysResponse { service_keys, next_cursor })
    }

    pub(crate) async fn revoke_service_key(
        &self,
        message: wire::RevokeServiceKeyRequest,
    ) -> Result<wire::RevokeServiceKeyResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let id: ServiceKeyId = input::path_id(&message.service_key_id, "service key")?;
        let key = self.store.service_key_by_id(id).await?;
        let key = key.ok_or_else(|| Fault::not_found("service key"))?;
        let workspace = key.workspace_id.typed();
        let standing = self.standing(&caller, workspace).await?;
        standing.require(Action::RevokeServiceKey, "service key")?;
        let now = self.clock.now();
        let deed = Deed {
            caller: &caller,
            workspace,
            action: "service_key.revoke",
            target: id.to_string(),
            at: now,
        };
        let cut = Cut { subject: Subject::ServiceKey(id), wait: !message.no_wait };
        let change = Change::cuts_off(&self.store, cut, deed);
        let effect = self.store.service_key_revoke(change, id, now).await?;
        Ok(wire::RevokeServiceKeyResponse { effect: effect.map(Into::into) })
    }
}
