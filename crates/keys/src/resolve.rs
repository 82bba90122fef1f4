//! For verifiers: what a presented credential entitles to. On the path of a call, so nothing here writes.
//!
//! A key that is revoked, expired or disabled resolves, and so does a secret that is retired or revoked: the grant says so,
//! and `verify` decides. A wrong secret and an unknown id answer alike.

use tollgate_kernel::{Fault, ServiceKeyId, WorkspaceId};
use tollgate_proto::{keys as wire, time::to_wire};
use tollgate_verify::same_digest;

use crate::{KeysService, input::Problems, wire as messages};

const PUBLIC_ID_CHARACTERS: usize = 12;
const DIGEST_BYTES: usize = 32;

impl KeysService {
    pub(crate) async fn resolve_key(
        &self,
        message: wire::ResolveKeyRequest,
    ) -> Result<wire::ResolveKeyResponse, Fault> {
        check_shape(&message.public_id, &message.digest)?;
        self.store.confirm().await?;
        let found = self.store.secret_by_public_id(&message.public_id).await?;
        // Before more of the key is read: a wrong secret takes no more questions than an unknown id, and so no longer.
        let found = found.filter(|(secret, ..)| same_digest(&secret.digest, &message.digest));
        let grant = match found {
            Some(found) => Some(messages::grant(self.store.resolved(found).await?)?),
            None => None,
        };
        Ok(wire::ResolveKeyResponse { grant })
    }

    pub(crate) async fn resolve_service_key(
        &self,
        message: wire::ResolveServiceKeyRequest,
    ) -> Result<wire::ResolveServiceKeyResponse, Fault> {
        check_shape(&message.public_id, &message.digest)?;
        self.store.confirm().await?;
        let found = self.store.service_key_by_public_id(&message.public_id).await?;
        let live =
            found.filter(|key| same_digest(&key.digest, &message.digest) && key.is_live(self.clock.now()));
        let grant = live.map(|key| wire::ServiceGrant {
            service_key_id: ServiceKeyId::from(key.id).to_string(),
            workspace_id: WorkspaceId::from(key.workspace_id).to_string(),
            permissions: key.permissions.0,
            expires_at: key.expires_at.map(|at| to_wire(at.0)),
        });
        Ok(wire::ResolveServiceKeyResponse { grant })
    }

    pub(crate) async fn resolve_member(
        &self,
        message: wire::ResolveMemberRequest,
    ) -> Result<wire::ResolveMemberResponse, Fault> {
        let malformed = |pointer| move |_| Fault::invalid(pointer, "is not such an id");
        let workspace = message.workspace_id.parse().map_err(malformed("/workspace_id"))?;
        let user = message.user_id.parse().map_err(malformed("/user_id"))?;
        self.store.confirm().await?;
        let role = self.store.member_role(workspace, user).await?;
        Ok(wire::ResolveMemberResponse { member: role.map(|role| wire::Member { role: role.to_string() }) })
    }
}

fn check_shape(public_id: &str, digest: &[u8]) -> Result<(), Fault> {
    let mut problems = Problems::default();
    if public_id.len() != PUBLIC_ID_CHARACTERS || !public_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        problems.add("/public_id", format!("must be {PUBLIC_ID_CHARACTERS} letters and digits"));
    }
    if digest.len() != DIGEST_BYTES {
        problems.add("/digest", format!("must be {DIGEST_BYTES} bytes"));
    }
    problems.check()
}
