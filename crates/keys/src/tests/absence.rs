//! A verifier that has asked for a key before it was made finds it when the call that makes it has returned.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tollgate_kernel::ExposeSecret;
use tollgate_proto::{mesh::MeshToken, remote::Remote};
use tollgate_verify::{TokenRules, Verifier, mint, watch::always};

use super::*;

/// Randomness that can be foreseen from a moment on, so that a key is known before it is made.
#[derive(Debug, Default)]
struct Foreseen(AtomicBool);

impl Entropy for Foreseen {
    fn fill(&self, bytes: &mut [u8]) {
        if self.0.load(Ordering::SeqCst) { bytes.fill(7) } else { OsEntropy.fill(bytes) }
    }
}

impl Desk {
    /// A verifier in the same process.
    pub(super) fn verifier(&self) -> Verifier {
        let settings = tollgate_verify::Settings {
            rules: TokenRules { issuer: "us".into(), audience: "you".into() },
            keys: always(),
            identity: always(),
            patience: Duration::from_mins(1),
            capacity: 1_000_000,
            absence: tollgate_verify::Settings::ABSENCE,
        };
        // Never asked.
        let nobody = Remote {
            address: "http://127.0.0.1:1".parse().expect("an address"),
            mesh: MeshToken::default(),
            timeout: Duration::from_secs(1),
        };
        let (changes, clock) = (self.changes.clone(), self.clock.clone());
        Verifier::new(settings, self.service.clone(), nobody.identity(), changes, clock)
    }
}

on_every_database! {
    async fn a_key_that_was_asked_for_before_it_was_made_is_found_when_its_making_returns(database: TestDatabase) {
        let entropy = Arc::new(Foreseen::default());
        let desk = Desk::drawing(&database, Config::default(), Counter::new(), entropy.clone()).await;
        let (owner, verifier) = (desk.user(), desk.verifier());
        desk.workspace_of(&owner).await;
        entropy.0.store(true, Ordering::SeqCst);
        let [key, service_key] = [KeyKind::Live, KeyKind::Service].map(|kind| {
            let key = mint(kind, &*entropy).key;
            (PresentedKey::parse(key.expose_secret()).expect("well-formed"), key)
        });
        for _ in 0..3 {
            assert!(verifier.key(&key.0).await.expect("asked").is_none());
            assert!(verifier.service_key(&service_key.0).await.expect("asked").is_none());
        }
        // Each in its own millisecond, since their audit events would have the same id.
        desk.clock.advance(Duration::from_millis(1));
        assert_eq!(desk.key(&owner).await.secret, key.1.expose_secret());
        assert!(verifier.key(&key.0).await.expect("asked").is_some());
        desk.clock.advance(Duration::from_millis(1));
        assert_eq!(desk.service_key(&owner, &["keys.verify"]).await.secret, service_key.1.expose_secret());
        assert!(verifier.service_key(&service_key.0).await.expect("asked").is_some());
    }

    async fn a_secret_that_was_asked_for_before_it_was_made_is_found_when_the_rotation_returns(database: TestDatabase) {
        let entropy = Arc::new(Foreseen::default());
        let desk = Desk::drawing(&database, Config::default(), Counter::new(), entropy.clone()).await;
        let (owner, verifier) = (desk.user(), desk.verifier());
        let key_id = desk.key(&owner).await.key.expect("made").id;
        entropy.0.store(true, Ordering::SeqCst);
        let next = mint(KeyKind::Live, &*entropy).key;
        let presented = PresentedKey::parse(next.expose_secret()).expect("well-formed");
        for _ in 0..3 {
            assert!(verifier.key(&presented).await.expect("asked").is_none());
        }
        desk.clock.advance(Duration::from_millis(1));
        let message = wire::RotateKeyRequest { caller: Some(owner.clone()), key_id, ..Default::default() };
        let rotated = call!(desk, rotate_key, message).expect("rotated");
        assert_eq!(rotated.secret, next.expose_secret());
        assert!(verifier.key(&presented).await.expect("asked").is_some());
    }
}
