//! A verifier between stand-ins, on which everything is in order until a test changes it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use tollgate_kernel::{Clock, KeyId, ServiceKeyId, SessionId, UserId, WorkspaceId};
use tollgate_proto::{identity, keys, time};
use tollgate_testkit::MockClock;
use uuid::Uuid;

use super::{Settings, Verifier, stand_ins::Roles};
use crate::{Changes, Demand, KeyKind, PresentedKey, TokenRefusal, TokenRules, VerdictCode, watch::Trust};

pub(crate) const fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) const KEY: KeyId = KeyId::from_uuid(uuid(1));
pub(crate) const WORKSPACE: WorkspaceId = WorkspaceId::from_uuid(uuid(2));
pub(crate) const SERVICE_KEY: ServiceKeyId = ServiceKeyId::from_uuid(uuid(3));
pub(crate) const USER: UserId = UserId::from_uuid(uuid(4));
pub(crate) const SESSION: SessionId = SessionId::from_uuid(uuid(5));

pub(crate) struct Fixture {
    pub verifier: Verifier,
    /// Whether the verifier may use what it holds.
    pub trusts: Arc<AtomicBool>,
    pub roles: Arc<Roles>,
    pub changes: Changes,
    pub clock: Arc<MockClock>,
    signer: Ed25519KeyPair,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let (roles, changes, clock) = (Arc::new(Roles::default()), Changes::new(), MockClock::new());
        let expected = TokenRules { issuer: "us".into(), audience: "you".into() };
        let trusts = Arc::new(AtomicBool::new(true));
        let asked = trusts.clone();
        let trust: Trust = Arc::new(move || asked.load(Ordering::SeqCst));
        let settings = Settings {
            rules: expected,
            keys: trust.clone(),
            identity: trust,
            patience: Duration::from_mins(1),
            capacity: 100_000,
            absence: Settings::ABSENCE,
        };
        let verifier = Verifier::new(settings, roles.clone(), roles.clone(), changes.clone(), clock.clone());
        let signer = Ed25519KeyPair::generate().expect("generated");
        let it = Self { verifier, trusts, roles, changes, clock, signer };
        it.set_up();
        it
    }

    pub(crate) fn set_up(&self) {
        self.roles.key.answers(keys::ResolveKeyResponse { grant: Some(grant()) });
        self.roles.service_key.answers(keys::ResolveServiceKeyResponse {
            grant: Some(keys::ServiceGrant {
                service_key_id: SERVICE_KEY.to_string(),
                workspace_id: WORKSPACE.to_string(),
                permissions: vec!["keys.verify".into()],
                expires_at: None,
            }),
        });
        let member = Some(keys::Member { role: "admin".into() });
        self.roles.member.answers(keys::ResolveMemberResponse { member });
        self.roles.session.answers(identity::ResolveSessionResponse { session: Some(self.session()) });
        self.publish_signing_keys(&["one"]);
    }

    pub(crate) fn session(&self) -> identity::Session {
        identity::Session {
            id: SESSION.to_string(),
            user_id: USER.to_string(),
            operator: true,
            expires_at: Some(time::to_wire(self.clock.now() + Duration::from_mins(10))),
        }
    }

    /// The same key under each of these ids.
    pub(crate) fn publish_signing_keys(&self, kids: &[&str]) {
        let x = URL_SAFE_NO_PAD.encode(self.signer.public_key().as_ref());
        let jwk = |kid| json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x});
        let set = json!({"keys": kids.iter().map(jwk).collect::<Vec<_>>()});
        self.roles.signing_keys.answers(identity::GetSigningKeysResponse { jwks: set.to_string() });
    }

    /// A token of fifteen minutes.
    pub(crate) fn sign(&self, kid: &str) -> String {
        let now = self.clock.now().timestamp();
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid});
        let claims = json!({
            "iss": "us", "aud": "you", "sub": USER, "sid": SESSION, "jti": "one", "iat": now, "exp": now + 900,
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signer.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    pub(crate) async fn admits(&self, key: &PresentedKey) -> Result<(), VerdictCode> {
        let grant = self.verifier.key(key).await.expect("asked").expect("known");
        grant.admit(&Demand::default(), self.clock.now())
    }

    pub(crate) async fn refusal(&self, token: &str) -> Option<TokenRefusal> {
        self.verifier.token(token).await.expect("asked").err()
    }

    /// Asks for everything once.
    pub(crate) async fn ask_all(&self) {
        self.verifier.key(&presented(KeyKind::Live)).await.expect("asked").expect("known");
        self.verifier.service_key(&presented(KeyKind::Service)).await.expect("asked").expect("known");
        self.verifier.member(WORKSPACE, USER).await.expect("asked").expect("a member");
        self.verifier.token(&self.sign("one")).await.expect("asked").expect("live");
    }

    /// Calls so far, for: key, service key, member, session, signing keys.
    pub(crate) fn calls(&self) -> [usize; 5] {
        let Roles { key, service_key, member, session, signing_keys, .. } = &*self.roles;
        [key.calls(), service_key.calls(), member.calls(), session.calls(), signing_keys.calls()]
    }
}

pub(crate) fn grant() -> keys::Grant {
    keys::Grant {
        key_id: KEY.to_string(),
        workspace_id: WORKSPACE.to_string(),
        environment: keys::Environment::Live.into(),
        enabled: true,
        workspace_enabled: true,
        ..Default::default()
    }
}

pub(crate) fn revoked(clock: &MockClock) -> keys::ResolveKeyResponse {
    let grant = keys::Grant { revoked_at: Some(time::to_wire(clock.now())), ..grant() };
    keys::ResolveKeyResponse { grant: Some(grant) }
}

/// The same key at each call.
pub(crate) fn presented(kind: KeyKind) -> PresentedKey {
    PresentedKey { kind, public_id: "0AZaz9123456".into(), digest: [7; 32] }
}
