//! Resolves credentials through the roles, behind caches that follow the changes of what they hold.
//!
//! What it answers is what is true of the credential; whether a call may pass is for [`Grant::admit`],
//! [`ServiceGrant::allows`] and whoever asks for a [`MemberRole`].

use std::{sync::Arc, time::Duration};

use tollgate_kernel::{Clock, Code, Fault, SessionId, Timestamp, UserId, WorkspaceId};
use tollgate_proto::{IdentityHandle, KeysHandle, fault::from_status, identity, keys, ratelimit};
use tonic::{Request, Response, Status};

use crate::{
    cache::{Belief, Cache, Follows},
    changes::{Changes, Subject},
    grant::{Environment, Grant, MemberRole, ServiceGrant},
    imported::ImportedDigest,
    key::{KeyKind, PresentedKey},
    token::{AccessClaims, KeySet, SignedToken, TokenRefusal, TokenRules},
    watch::Trust,
    wire,
};

pub mod connect;
mod imported;
mod known;

/// How long the signing keys are believed, so that a key that identity has withdrawn is forgotten.
const SIGNING_KEYS_AGE: Duration = Duration::from_mins(1);
/// What an item of a list takes beside its text, in bytes.
const LIST_ITEM: usize = 64;
/// There is one entry, and it must fit: some hundred keys.
const SIGNING_KEYS_BYTES: u64 = 64 * 1024;
/// There is one entry, and it is small.
const IMPORTS_BYTES: u64 = 4096;
/// How old they are at least before a token with an unknown `kid` makes us ask for them again.
const UNKNOWN_KID_AGE: Duration = Duration::from_secs(5);

/// How a verifier behaves.
#[derive(Clone)]
pub struct Settings {
    /// Which access tokens are accepted.
    pub rules: TokenRules,
    /// When what is cached of keys may be used: [`watch::always`](crate::watch::always) in the role's only process, else what
    /// the role's feed or a [`Follower`](crate::watch::Follower) says.
    pub keys: Trust,
    /// The same for what is cached of identity.
    pub identity: Trust,
    /// How long a role may take to answer, when what is cached does not do. Then the answer is "unavailable".
    pub patience: Duration,
    /// Most bytes of each cache: keys, imported keys, service keys, sessions, members.
    pub capacity: u64,
    /// A key or service key that does not exist is asked for again after this at the latest, and at once when one has come into
    /// being. Zero: at each call. See [`Settings::ABSENCE`].
    pub absence: Duration,
}

impl Settings {
    /// For how long the absence of a key is believed, if nothing speaks against it. It only has to be longer than the time between
    /// two calls of somebody who does not give up.
    pub const ABSENCE: Duration = Duration::from_secs(1);
}

/// A token that is good, and whose session is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveToken {
    /// What the token says.
    pub claims: AccessClaims,
    /// Its user is an instance administrator now, whatever the token says.
    pub operator: bool,
}

/// Resolves credentials. Clones share the caches.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    rules: TokenRules,
    keys: KeysHandle,
    trust_keys: Trust,
    identity: IdentityHandle,
    trust_identity: Trust,
    patience: Duration,
    clock: Arc<dyn Clock>,
    grants: Cache<PresentedKey, Grant>,
    imported: Cache<ImportedDigest, Grant>,
    imports: Cache<(), imported::Imports>,
    service_grants: Cache<PresentedKey, ServiceGrant>,
    sessions: Cache<SessionId, Session>,
    members: Cache<(WorkspaceId, UserId), Member>,
    signing_keys: Cache<(), KeySet>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("rules", &self.0.rules).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier with empty caches. Its metrics go to the recorder that is installed when it is made.
    pub fn new(
        settings: Settings,
        keys: KeysHandle,
        identity: IdentityHandle,
        changes: Changes,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let Settings { rules, keys: trust_keys, identity: trust_identity, patience, capacity, absence } =
            settings;
        // Who makes one of these says so: see `Subject::Born`. Nobody says so of the others.
        let never = Duration::ZERO;
        Self(Arc::new(Inner {
            grants: Cache::new("keys", capacity, absence, changes.clone(), clock.clone()),
            imported: Cache::new("imported_keys", capacity, absence, changes.clone(), clock.clone()),
            imports: Cache::new("imports", IMPORTS_BYTES, never, changes.clone(), clock.clone()),
            service_grants: Cache::new("service_keys", capacity, absence, changes.clone(), clock.clone()),
            sessions: Cache::new("sessions", capacity, never, changes.clone(), clock.clone()),
            members: Cache::new("members", capacity, never, changes.clone(), clock.clone()),
            signing_keys: Cache::new("signing_keys", SIGNING_KEYS_BYTES, never, changes, clock.clone()),
            rules,
            keys,
            trust_keys,
            identity,
            trust_identity,
            patience,
            clock,
        }))
    }

    /// The grant of a key; `None` if there is no such key, or its secret or its prefix is wrong. The grant of a key that
    /// is revoked, disabled or expired is a grant: [`Grant::admit`] says so.
    pub async fn key(&self, key: &PresentedKey) -> Result<Option<Arc<Grant>>, Fault> {
        let environment = match key.kind {
            KeyKind::Live => Environment::Live,
            KeyKind::Test => Environment::Test,
            KeyKind::Service => return Ok(None),
        };
        let read = || self.0.read_grant(key);
        let grant = self.0.grants.get(key, Belief::Complete(&self.0.trust_keys), read).await?;
        // The other prefix over the same digits is another spelling of the key: there is only one.
        Ok(grant.filter(|grant| grant.environment == environment))
    }

    /// What a service key may do; `None` if there is no such service key now.
    pub async fn service_key(&self, key: &PresentedKey) -> Result<Option<Arc<ServiceGrant>>, Fault> {
        if key.kind != KeyKind::Service {
            return Ok(None);
        }
        let read = || self.0.read_service_grant(key);
        let grant = self.0.service_grants.get(key, Belief::Complete(&self.0.trust_keys), read).await?;
        Ok(grant.filter(|grant| grant.is_live(self.0.clock.now())))
    }

    /// Whether an access token is good and its session live. A token that cannot be good costs no call.
    pub async fn token(&self, token: &str) -> Result<Result<LiveToken, TokenRefusal>, Fault> {
        let Some(token) = SignedToken::parse(token) else { return Ok(Err(TokenRefusal::Malformed)) };
        let keys = self.0.signing_keys(&token.kid).await?;
        match token.verify(&keys, &self.0.rules, self.0.clock.now()) {
            Ok(claims) => self.0.live(claims).await,
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// What a user is to a workspace; `None` if nothing.
    pub async fn member(&self, workspace: WorkspaceId, user: UserId) -> Result<Option<MemberRole>, Fault> {
        let read = || self.0.read_member(workspace, user);
        let member =
            self.0.members.get(&(workspace, user), Belief::Complete(&self.0.trust_keys), read).await?;
        Ok(member.map(|member| member.role))
    }
}

impl Inner {
    async fn live(&self, claims: AccessClaims) -> Result<Result<LiveToken, TokenRefusal>, Fault> {
        let read = || self.read_session(claims.session_id);
        // No longer than an access token lives, so that what nobody publishes is noticed as late as it would be by a token.
        let lifetime = (claims.expires_at - claims.issued_at).to_std().unwrap_or_default();
        let belief = Belief::CompleteAndYounger(&self.trust_identity, lifetime);
        let session = self.sessions.get(&claims.session_id, belief, read).await?;
        let now = self.clock.now();
        let live = session.filter(|it| it.user_id == claims.user_id && now < it.expires_at);
        Ok(live.map(|it| LiveToken { claims, operator: it.operator }).ok_or(TokenRefusal::Revoked))
    }

    /// The signing keys; asked for anew if `kid` is not among them, but not by every token that makes one up.
    async fn signing_keys(&self, kid: &str) -> Result<Arc<KeySet>, Fault> {
        let read = || self.read_signing_keys();
        let held =
            self.signing_keys.get(&(), Belief::Younger(SIGNING_KEYS_AGE), read).await?.unwrap_or_default();
        if held.knows(kid) {
            return Ok(held);
        }
        Ok(self.signing_keys.get(&(), Belief::Younger(UNKNOWN_KID_AGE), read).await?.unwrap_or_default())
    }

    /// A role that does not answer in time is as good as one that is not there: neither is a reason to guess.
    async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Fault> {
        let answer = tokio::time::timeout(self.patience, call).await;
        let silent = || Fault::unavailable("a role does not answer in time");
        match answer.map_err(|_| silent())?.map_err(from_status) {
            Ok(answer) => Ok(answer.into_inner()),
            Err(fault) if fault.code() == Code::DeadlineExceeded => Err(silent()),
            Err(fault) => Err(fault),
        }
    }

    async fn read_grant(&self, key: &PresentedKey) -> Result<Option<Grant>, Fault> {
        let request =
            keys::ResolveKeyRequest { public_id: key.public_id.clone(), digest: key.digest.to_vec() };
        let answer = self.ask(self.keys.resolve_key(Request::new(request))).await?;
        answer.grant.map(Grant::try_from).transpose()
    }

    async fn read_service_grant(&self, key: &PresentedKey) -> Result<Option<ServiceGrant>, Fault> {
        let request =
            keys::ResolveServiceKeyRequest { public_id: key.public_id.clone(), digest: key.digest.to_vec() };
        let answer = self.ask(self.keys.resolve_service_key(Request::new(request))).await?;
        answer.grant.map(ServiceGrant::try_from).transpose()
    }

    async fn read_session(&self, id: SessionId) -> Result<Option<Session>, Fault> {
        let request = identity::ResolveSessionRequest { session_id: id.to_string() };
        let answer = self.ask(self.identity.resolve_session(Request::new(request))).await?;
        answer.session.map(Session::try_from).transpose()
    }

    async fn read_member(&self, workspace_id: WorkspaceId, user_id: UserId) -> Result<Option<Member>, Fault> {
        let request = keys::ResolveMemberRequest {
            workspace_id: workspace_id.to_string(),
            user_id: user_id.to_string(),
        };
        let answer = self.ask(self.keys.resolve_member(Request::new(request))).await?;
        let Some(member) = answer.member else { return Ok(None) };
        let role = member.role.parse().map_err(Fault::internal)?;
        Ok(Some(Member { workspace_id, user_id, role }))
    }

    async fn read_signing_keys(&self) -> Result<Option<KeySet>, Fault> {
        let request = Request::new(identity::GetSigningKeysRequest {});
        let answer = self.ask(self.identity.get_signing_keys(request)).await?;
        KeySet::parse(&answer.jwks).map(Some)
    }
}

/// A live session, as the cache holds it.
struct Session {
    id: SessionId,
    user_id: UserId,
    operator: bool,
    expires_at: Timestamp,
}

impl TryFrom<identity::Session> for Session {
    type Error = Fault;

    fn try_from(session: identity::Session) -> Result<Self, Fault> {
        Ok(Self {
            id: wire::id(&session.id)?,
            user_id: wire::id(&session.user_id)?,
            operator: session.operator,
            expires_at: wire::instant(session.expires_at)?
                .ok_or_else(|| Fault::internal("a session without an end"))?,
        })
    }
}

/// A membership, as the cache holds it.
struct Member {
    workspace_id: WorkspaceId,
    user_id: UserId,
    role: MemberRole,
}

impl Follows for Grant {
    fn subjects(&self) -> Vec<Subject> {
        let mut subjects = vec![Subject::Key(self.key_id), Subject::Workspace(self.workspace_id)];
        let consumer = self.consumer.as_ref();
        let plans = [self.plan_id, consumer.and_then(|it| it.plan_id)];
        subjects.extend(plans.into_iter().flatten().map(Subject::Plan));
        subjects.extend(consumer.map(|it| Subject::Consumer(it.consumer_id)));
        subjects
    }

    fn bytes(&self) -> u64 {
        // The parts that a workspace chooses; JSON in memory takes some times its text.
        let scopes: usize = self.scopes.iter().map(|scope| scope.len() + LIST_ITEM).sum();
        let zone = |limit: &ratelimit::Limit| limit.calendar.as_ref().map_or(0, |it| it.time_zone.len());
        let limit = |it: &ratelimit::Limit| size_of_val(it) + it.name.len() + zone(it) + LIST_ITEM;
        let of_consumer = self.consumer.iter().flat_map(|it| &it.limits);
        let limits = self.limits.iter().chain(of_consumer).chain(&self.workspace_limits);
        let lists = scopes + limits.map(limit).sum::<usize>();
        let metadata = 4 * serde_json::to_string(&self.metadata).map_or(0, |text| text.len());
        (size_of::<Self>() + lists + metadata + self.allowed_ips.len() * LIST_ITEM) as u64
    }
}

impl Follows for ServiceGrant {
    fn subjects(&self) -> Vec<Subject> {
        vec![Subject::ServiceKey(self.service_key_id), Subject::Workspace(self.workspace_id)]
    }

    fn bytes(&self) -> u64 {
        (size_of::<Self>() + self.permissions.len()) as u64
    }
}

impl Follows for Session {
    fn subjects(&self) -> Vec<Subject> {
        vec![Subject::Session(self.id), Subject::User(self.user_id)]
    }

    fn bytes(&self) -> u64 {
        size_of::<Self>() as u64
    }
}

impl Follows for Member {
    fn subjects(&self) -> Vec<Subject> {
        let membership = Subject::Member(self.workspace_id, self.user_id);
        vec![membership, Subject::Workspace(self.workspace_id), Subject::User(self.user_id)]
    }

    fn bytes(&self) -> u64 {
        size_of::<Self>() as u64
    }
}

impl Follows for KeySet {
    /// Signing keys are followed by age alone.
    fn subjects(&self) -> Vec<Subject> {
        Vec::new()
    }

    fn bytes(&self) -> u64 {
        size_of::<Self>() as u64
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod stand_ins;
#[cfg(test)]
mod tests;
