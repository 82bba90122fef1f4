//! Invitations: somebody is asked to become a member, and becomes one with the token that was made for it.
//!
//! No mail is sent from here: the token is shown to the one who invites, once, to be passed on. Only a user with the e-mail
//! address that was invited can use it, once, and for as long as the one who invites may still do so.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use tollgate_changes::Cut;
use tollgate_kernel::{Code, Entropy, ExposeSecret, Fault, InvitationId, SecretString};
use tollgate_proto::{kernel, keys as wire};
use tollgate_verify::{MemberRole, Subject};

use crate::{
    KeysService,
    access::{Action, disabled, forbidden},
    caller::{Caller, Principal},
    email::Email,
    input::{self, Problems},
    members,
    once::{Asked, gone},
    page::Page,
    store::{Accepted, Change, Deed, InvitationRow, Invited, MemberRow},
    wire as messages,
};

const TOKEN_PREFIX: &str = "tg_inv_";
/// 32 bytes in base64url (RFC 4648 section 5).
const TOKEN_CHARACTERS: usize = 43;
const DEFAULT_DAYS: u32 = 7;
const MOST_DAYS: u32 = 30;
/// How many invitations of a workspace may be pending at once.
const PENDING: i64 = 100;
/// How many members a workspace may have.
const MEMBERS: i64 = 1000;

/// A token that was just made.
struct NewToken {
    /// In the clear: to be shown once, never stored.
    token: SecretString,
    digest: Vec<u8>,
}

fn mint(entropy: &dyn Entropy) -> NewToken {
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()));
    NewToken { digest: sha256(&token), token: token.into() }
}

/// What is stored of a token; absent: it is none.
fn digest_of(token: &str) -> Option<Vec<u8>> {
    let secret = token.strip_prefix(TOKEN_PREFIX)?;
    (secret.len() == TOKEN_CHARACTERS).then(|| sha256(token))
}

fn sha256(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

/// For one who may know that there was one, and one who guesses, alike.
fn no_invitation() -> Fault {
    Fault::new(Code::NotFound, "There is no such invitation, or it has ended.")
}

/// The caller's address, by the edge's word.
fn email_of(caller: Option<&kernel::Caller>) -> Option<String> {
    match caller?.principal.as_ref()? {
        kernel::caller::Principal::User(user) => Some(user.email.clone()).filter(|it| !it.is_empty()),
        kernel::caller::Principal::ServiceKey(_) => None,
    }
}

fn no_address() -> Fault {
    Fault::new(Code::Forbidden, "The caller's e-mail address is not known here.")
}

impl KeysService {
    pub(crate) async fn create_invitation(
        &self,
        mut message: wire::CreateInvitationRequest,
    ) -> Result<wire::CreateInvitationResponse, Fault> {
        let caller = Caller::try_from(message.caller.take())?;
        let (workspace, standing) = self.known_workspace(&caller, &message.workspace_id).await?;
        standing.require(Action::ManageMembers, "workspace")?;
        let mut problems = Problems::default();
        let email = Email::parse(&message.email, &mut problems);
        let role = members::role(&message.role, &mut problems);
        if message.expires_in_days > MOST_DAYS {
            problems.add("/expires_in_days", format!("must be 1 to {MOST_DAYS}"));
        }
        let once = input::idempotency_key(&message.idempotency_key, &mut problems);
        problems.check()?;
        let Principal::User { id: inviter, .. } = caller.principal else { return Err(forbidden()) };
        let days = if message.expires_in_days == 0 { DEFAULT_DAYS } else { message.expires_in_days };
        let (id, now) = (InvitationId::new(&*self.clock, &*self.entropy), self.clock.now());
        let minted = mint(&*self.entropy);
        let row = InvitationRow {
            id: id.into(),
            workspace_id: workspace.into(),
            email: email.given,
            email_key: email.key,
            role: role.to_string(),
            digest: minted.digest,
            invited_by: inviter.into(),
            created_at: now.into(),
            expires_at: (now + TimeDelta::days(days.into())).into(),
            accepted_at: None,
            accepted_by: None,
            revoked_at: None,
        };
        let deed =
            Deed { caller: &caller, workspace, action: "invitation.create", target: id.to_string(), at: now };
        let actor = caller.member()?.map(Into::into);
        let change = Change::grants(&self.store, deed);
        let once = self.once(&Asked::new(&caller, "invitation", &message), once.as_deref(), id, now);
        let created =
            match self.store.invitation_insert(change, row.clone(), role, actor, PENDING, once).await? {
                Invited::Done(created) => created,
                Invited::Refused => return Err(forbidden()),
                Invited::Full => {
                    let what =
                        format!("At most {PENDING} invitations of a workspace may be pending at once.");
                    return Err(Fault::new(Code::Conflict, what));
                }
            };
        let (row, token) = match created.before()? {
            None => (row, minted.token.expose_secret().to_owned()),
            Some(before) => {
                let before = self.store.invitation_by_id(workspace, before.typed()).await?;
                (before.ok_or_else(gone)?, String::new())
            }
        };
        Ok(wire::CreateInvitationResponse { invitation: Some(messages::invitation(row, now)), token })
    }

    pub(crate) async fn list_invitations(
        &self,
        message: wire::ListInvitationsRequest,
    ) -> Result<wire::ListInvitationsResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (workspace, standing) = self.known_workspace(&caller, &message.workspace_id).await?;
        standing.require(Action::ReadInvitations, "workspace")?;
        let mut problems = Problems::default();
        let page = wire::Page { limit: message.limit, cursor: message.cursor };
        let page = Page::parse(Some(&page), &mut problems);
        problems.check()?;
        let now = self.clock.now();
        let rows = self.store.invitations_in(workspace, page).await?;
        let (rows, next_cursor) = page.cut(rows, |invitation| invitation.id);
        let invitations = rows.into_iter().map(|row| messages::invitation(row, now)).collect();
        Ok(wire::ListInvitationsResponse { invitations, next_cursor })
    }

    pub(crate) async fn revoke_invitation(
        &self,
        message: wire::RevokeInvitationRequest,
    ) -> Result<wire::RevokeInvitationResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (workspace, standing) = self.known_workspace(&caller, &message.workspace_id).await?;
        standing.require(Action::ManageMembers, "workspace")?;
        let id: InvitationId = input::path_id(&message.invitation_id, "invitation")?;
        let gone = || Fault::not_found("invitation");
        let row = self.store.invitation_by_id(workspace, id).await?.ok_or_else(gone)?;
        if !standing.manages(row.role.parse().map_err(Fault::internal)?) {
            return Err(forbidden());
        }
        let now = self.clock.now();
        let deed =
            Deed { caller: &caller, workspace, action: "invitation.revoke", target: id.to_string(), at: now };
        // It cuts nobody off, since no cache holds invitations: to accept one is to read its row.
        self.store.invitation_revoke(Change::grants(&self.store, deed), id, now).await?;
        let row = self.store.invitation_by_id(workspace, id).await?.ok_or_else(gone)?;
        if row.accepted_at.is_some() {
            return Err(Fault::new(
                Code::Conflict,
                "The invitation was accepted; remove the member instead.",
            ));
        }
        Ok(wire::RevokeInvitationResponse { invitation: Some(messages::invitation(row, now)) })
    }

    pub(crate) async fn accept_invitation(
        &self,
        message: wire::AcceptInvitationRequest,
    ) -> Result<wire::AcceptInvitationResponse, Fault> {
        let email = email_of(message.caller.as_ref());
        let caller = Caller::try_from(message.caller)?;
        let Principal::User { id: user, .. } = caller.principal else { return Err(forbidden()) };
        let mut problems = Problems::default();
        let email = Email::parse(&email.ok_or_else(no_address)?, &mut problems);
        problems.check()?;
        let digest = digest_of(&message.token).ok_or_else(no_invitation)?;
        let found = self.store.invitation_by_digest(digest).await?.ok_or_else(no_invitation)?;
        if found.email_key != email.key {
            return Err(Fault::new(Code::Forbidden, "The invitation is for another e-mail address."));
        }
        let (workspace, now) = (found.workspace_id.typed(), self.clock.now());
        let target = InvitationId::from(found.id).to_string();
        let deed = Deed { caller: &caller, workspace, action: "invitation.accept", target, at: now };
        // A member who gets a higher role is cached with the one before. Nobody has to wait for that.
        let cut = Cut { subject: Subject::Member(workspace, user), wait: false };
        let change = Change::cuts_off(&self.store, cut, deed);
        let role: MemberRole = found.role.parse().map_err(Fault::internal)?;
        let member = MemberRow {
            workspace_id: found.workspace_id,
            user_id: user.into(),
            role: role.as_str(),
            created_at: now.into(),
        };
        match self.store.invitation_accept(change, found.id, member, role, MEMBERS).await? {
            Accepted::Joined => {}
            Accepted::Gone => return Err(no_invitation()),
            Accepted::Disabled => return Err(disabled()),
            Accepted::Full => {
                let what = format!("A workspace has at most {MEMBERS} members.");
                return Err(Fault::new(Code::Conflict, what));
            }
        }
        let row = self.store.member_by_id(workspace, user).await?.ok_or_else(no_invitation)?;
        Ok(wire::AcceptInvitationResponse { member: Some(messages::member(row)) })
    }
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::OsEntropy;

    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest() {
        let minted = mint(&OsEntropy);
        let token = minted.token.expose_secret();
        assert!(token.starts_with("tg_inv_") && token.len() == 50, "{}", token.len());
        assert_eq!(digest_of(token), Some(minted.digest));
        assert_ne!(mint(&OsEntropy).token.expose_secret(), token);
    }

    #[test]
    fn what_is_no_token_has_none() {
        let long = "a".repeat(100_000);
        for wrong in ["", "tg_inv_", "tg_inv_a", "tg_live_x", &format!("tg_inv_{}", &long[..44]), &long] {
            assert_eq!(digest_of(wrong), None, "{wrong:.60}");
        }
    }
}
