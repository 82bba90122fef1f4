//! Which credentials are known to be good without asking anybody: what still passes while strangers are turned away.

use tollgate_kernel::ExposeSecret;

use super::{Inner, SIGNING_KEYS_AGE, Verifier};
use crate::{
    Credential, Demand, Environment, Grant, ImportedKey, KeyKind, PresentedKey, Refusal, VerdictCode,
    cache::Belief, token::SignedToken,
};

impl Verifier {
    /// Whether this credential is held in memory and good now: a key or service key with a live grant, an access token
    /// with a good signature and a live session. Makes no call, whatever is presented; so `false` may also mean that nobody
    /// has asked for it yet.
    pub fn knows(&self, credential: &Credential) -> bool {
        let key = |text: &str| PresentedKey::parse(text);
        match credential {
            Credential::Key(text) => match key(text.expose_secret()) {
                Some(it) => self.0.knows_key(&it),
                None => self.0.knows_imported(text.expose_secret()),
            },
            Credential::ServiceKey(text) => {
                key(text.expose_secret()).is_some_and(|it| self.0.knows_service_key(&it))
            }
            Credential::Token(text) => self.0.knows_token(text.expose_secret()).is_some(),
        }
    }
}

impl Inner {
    fn knows_key(&self, key: &PresentedKey) -> bool {
        let environment = match key.kind {
            KeyKind::Live => Environment::Live,
            KeyKind::Test => Environment::Test,
            KeyKind::Service => return false,
        };
        let Some(grant) = self.grants.peek(key, Belief::Complete(&self.trust_keys)) else { return false };
        grant.environment == environment && self.is_good(&grant)
    }

    fn knows_imported(&self, text: &str) -> bool {
        let Some(key) = ImportedKey::parse(text) else { return false };
        let grant = self.imported.peek(&key.digest(), Belief::Complete(&self.trust_keys));
        grant.is_some_and(|grant| self.is_good(&grant))
    }

    /// A key that is bound to networks or lacks a scope is a good key, whatever becomes of the call.
    fn is_good(&self, grant: &Grant) -> bool {
        let admitted = grant.admit(&Demand::default(), self.clock.now());
        admitted.err().and_then(VerdictCode::refusal) != Some(Refusal::WhoAreYou)
    }

    fn knows_service_key(&self, key: &PresentedKey) -> bool {
        let grant = self.service_grants.peek(key, Belief::Complete(&self.trust_keys));
        grant.is_some_and(|grant| grant.is_live(self.clock.now()))
    }

    fn knows_token(&self, token: &str) -> Option<()> {
        let (token, now) = (SignedToken::parse(token)?, self.clock.now());
        let keys = self.signing_keys.peek(&(), Belief::Younger(SIGNING_KEYS_AGE))?;
        let claims = token.verify(&keys, &self.rules, now).ok()?;
        let session = self.sessions.peek(&claims.session_id, Belief::Complete(&self.trust_identity))?;
        (session.user_id == claims.user_id && now < session.expires_at).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::{OsEntropy, SecretString};
    use tollgate_proto::keys;

    use super::{
        super::fixture::{Fixture, KEY, SERVICE_KEY, SESSION, grant, revoked},
        *,
    };
    use crate::{Subject, mint};

    fn text(secret: &SecretString) -> Credential {
        Credential::from_text(secret.expose_secret()).expect("a credential")
    }

    #[tokio::test]
    async fn what_was_asked_for_is_known_until_it_changes_and_nothing_is_asked_for_it() {
        let it = Fixture::new();
        let (key, service) = (mint(KeyKind::Live, &OsEntropy).key, mint(KeyKind::Service, &OsEntropy).key);
        let parsed = |key: &SecretString| PresentedKey::parse(key.expose_secret()).expect("a key");
        let token = it.sign("one");
        let all = [text(&key), text(&service), Credential::from_text(&token).expect("a credential")];
        assert!(!all.iter().any(|one| it.verifier.knows(one)));
        assert_eq!(it.calls(), [0; 5]);

        it.verifier.key(&parsed(&key)).await.expect("asked").expect("known");
        it.verifier.service_key(&parsed(&service)).await.expect("asked").expect("known");
        it.verifier.token(&token).await.expect("asked").expect("live");
        let calls = it.calls();
        assert!(all.iter().all(|one| it.verifier.knows(one)));
        let unknown = mint(KeyKind::Live, &OsEntropy).key;
        let forged = format!("{}{}", &token[..token.len() - 8], "AAAAAAAA");
        for stranger in [unknown.expose_secret(), "tg_live_x", &forged, &it.sign("two"), "a.b.c"] {
            let stranger = Credential::from_text(stranger).expect("a credential");
            assert!(!it.verifier.knows(&stranger));
        }

        for (subject, left) in [
            (Subject::Key(KEY), [false, true, true]),
            (Subject::ServiceKey(SERVICE_KEY), [false, false, true]),
            (Subject::Session(SESSION), [false, false, false]),
        ] {
            it.changes.publish(subject);
            assert_eq!(all.each_ref().map(|one| it.verifier.knows(one)), left);
        }
        assert_eq!(it.calls(), calls);
    }

    #[tokio::test]
    async fn nothing_is_known_without_trust() {
        let it = Fixture::new();
        let key = mint(KeyKind::Live, &OsEntropy).key;
        it.verifier.key(&PresentedKey::parse(key.expose_secret()).expect("a key")).await.expect("asked");
        assert!(it.verifier.knows(&text(&key)));
        it.trusts.store(false, std::sync::atomic::Ordering::SeqCst);
        assert!(!it.verifier.knows(&text(&key)));
    }

    #[tokio::test]
    async fn a_held_grant_is_known_if_it_is_good() {
        let networks = keys::Grant { allowed_ips: vec!["203.0.113.0/24".into()], ..grant() };
        let disabled = keys::Grant { enabled: false, ..grant() };
        let other = keys::Grant { environment: keys::Environment::Test.into(), ..grant() };
        for (grant, known) in
            [(Some(networks), true), (Some(disabled), false), (Some(other), false), (None, false)]
        {
            let it = Fixture::new();
            let answer = grant
                .map_or_else(|| revoked(&it.clock), |grant| keys::ResolveKeyResponse { grant: Some(grant) });
            it.roles.key.answers(answer);
            let key = mint(KeyKind::Live, &OsEntropy).key;
            it.verifier.key(&PresentedKey::parse(key.expose_secret()).expect("a key")).await.expect("asked");
            assert_eq!(it.verifier.knows(&text(&key)), known);
        }
    }
}
