//! Resolves whatever is presented as a key: a Tollgate key, or one that was made elsewhere and imported.
//!
//! Garbage looks like the latter, and must cost nothing where there are none: whether there are any is a record like another,
//! held until a key comes into being (`born`). Where there are some, garbage costs one question per second and text at most, and
//! the door of the edge counts who presents it.

use std::sync::Arc;

use tollgate_kernel::Fault;
use tollgate_proto::keys;
use tonic::Request;

use super::{Inner, Verifier};
use crate::{
    Grant, KeyKind, PresentedKey, Subject, VerdictCode,
    cache::{Belief, Follows},
    imported::ImportedKey,
};

/// Whether there are imported keys, as the cache holds it.
pub(super) struct Imports {
    any: bool,
}

impl Follows for Imports {
    fn subjects(&self) -> Vec<Subject> {
        vec![Subject::Born]
    }

    fn bytes(&self) -> u64 {
        size_of::<Self>() as u64
    }
}

impl Verifier {
    /// The grant of whatever is presented as an API key, or why there is none: [`VerdictCode::Malformed`] if it cannot be one of
    /// those that there are, which costs no call; [`VerdictCode::NotFound`] if it is none. Whether the grant lets a call in
    /// is for [`Grant::admit`] to say.
    pub async fn presented(&self, text: &str) -> Result<Result<Arc<Grant>, VerdictCode>, Fault> {
        let grant = match PresentedKey::parse(text) {
            Some(key) if key.kind == KeyKind::Service => return Ok(Err(VerdictCode::Malformed)),
            Some(key) => self.key(&key).await?,
            // In a box: most calls are not about these, and need no room for them.
            None => match ImportedKey::parse(text) {
                Some(key) if Box::pin(self.0.has_imports()).await? => Box::pin(self.imported(&key)).await?,
                _ => return Ok(Err(VerdictCode::Malformed)),
            },
        };
        Ok(grant.ok_or(VerdictCode::NotFound))
    }

    /// The grant of a key that was imported; `None` if there is no such key.
    pub async fn imported(&self, key: &ImportedKey) -> Result<Option<Arc<Grant>>, Fault> {
        let read = || self.0.read_imported(key);
        self.0.imported.get(&key.digest(), Belief::Complete(&self.0.trust_keys), read).await
    }
}

impl Inner {
    /// Whether any imported key is to be found.
    async fn has_imports(&self) -> Result<bool, Fault> {
        let read = || self.read_imports();
        let imports = self.imports.get(&(), Belief::Complete(&self.trust_keys), read).await?;
        Ok(imports.is_some_and(|it| it.any))
    }

    async fn read_imports(&self) -> Result<Option<Imports>, Fault> {
        let answer = self.ask(self.keys.get_imports(Request::new(keys::GetImportsRequest {}))).await?;
        Ok(Some(Imports { any: answer.any }))
    }

    async fn read_imported(&self, key: &ImportedKey) -> Result<Option<Grant>, Fault> {
        let request = keys::ResolveImportedKeyRequest { credential: key.text().to_owned() };
        let answer = self.ask(self.keys.resolve_imported_key(Request::new(request))).await?;
        answer.grant.map(Grant::try_from).transpose()
    }
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::{ExposeSecret, OsEntropy};

    use super::{
        super::fixture::{Fixture, KEY, grant, revoked},
        *,
    };
    use crate::{Credential, Demand, mint};

    const SECRET: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

    impl Fixture {
        fn imports(&self, any: bool, grant: Option<keys::Grant>) {
            self.roles.imports.answers(keys::GetImportsResponse { any });
            self.roles.imported.answers(keys::ResolveImportedKeyResponse { grant });
        }

        async fn says(&self, text: &str) -> Result<(), VerdictCode> {
            let grant = self.verifier.presented(text).await.expect("asked")?;
            grant.admit(&Demand::default(), self.verifier.now())
        }

        /// Calls so far: whether there are any, and for one.
        fn foreign_calls(&self) -> (usize, usize) {
            (self.roles.imports.calls(), self.roles.imported.calls())
        }
    }

    #[tokio::test]
    async fn an_imported_key_is_resolved_once_and_ends_with_its_change() {
        let it = Fixture::new();
        it.imports(true, Some(grant()));
        for _ in 0..5 {
            assert_eq!(it.says(SECRET).await, Ok(()));
        }
        assert_eq!(it.foreign_calls(), (1, 1));
        let credential = Credential::from_text(SECRET).expect("a credential");
        assert!(it.verifier.knows(&credential));
        let revoked = revoked(&it.clock).grant;
        it.imports(true, revoked);
        it.changes.publish(Subject::Key(KEY));
        assert!(!it.verifier.knows(&credential));
        assert_eq!(it.says(SECRET).await, Err(VerdictCode::Revoked));
        assert_eq!(it.foreign_calls(), (1, 2));
    }

    #[tokio::test]
    async fn without_imported_keys_garbage_costs_one_question_in_all() {
        let it = Fixture::new();
        it.imports(false, None);
        for number in 0..100 {
            let garbage = format!("garbage-of-the-right-shape-{number}");
            assert_eq!(it.says(&garbage).await, Err(VerdictCode::Malformed));
        }
        assert_eq!(it.foreign_calls(), (1, 0));
        // The first import ends it, and so does any key that is made.
        it.imports(true, Some(grant()));
        it.changes.publish(Subject::Born);
        assert_eq!(it.says(SECRET).await, Ok(()));
        assert_eq!(it.foreign_calls(), (2, 1));
    }

    #[tokio::test]
    async fn what_is_ours_and_malformed_is_never_asked_for() {
        let it = Fixture::new();
        it.imports(true, Some(grant()));
        let key = mint(KeyKind::Live, &OsEntropy).key;
        let key = key.expose_secret();
        let service = mint(KeyKind::Service, &OsEntropy).key;
        for text in [
            &key[..key.len() - 1],
            &format!("{key}x"),
            "tg_live_nonsense_of_some_length",
            "short",
            service.expose_secret(),
            "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        ] {
            assert_eq!(it.says(text).await, Err(VerdictCode::Malformed), "{}", text.len());
        }
        assert_eq!(it.foreign_calls(), (0, 0));
        assert_eq!(it.says(key).await, Ok(()), "a key of ours is found as ever");
        assert_eq!(it.foreign_calls(), (0, 0));
    }

    #[tokio::test]
    async fn an_absence_is_held_for_a_second_and_ends_with_a_birth() {
        let it = Fixture::new();
        it.imports(true, None);
        for _ in 0..10 {
            assert_eq!(it.says(SECRET).await, Err(VerdictCode::NotFound));
        }
        assert_eq!(it.foreign_calls(), (1, 1));
        it.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(it.says(SECRET).await, Err(VerdictCode::NotFound));
        assert_eq!(it.foreign_calls(), (1, 2));
        it.imports(true, Some(grant()));
        it.changes.publish(Subject::Born);
        assert_eq!(it.says(SECRET).await, Ok(()));
    }

    #[tokio::test]
    async fn what_could_not_be_asked_is_no_verdict() {
        let it = Fixture::new();
        it.roles.imports.fails(tonic::Status::unavailable("not now"));
        assert!(it.verifier.presented(SECRET).await.is_err());
        it.imports(true, Some(grant()));
        it.roles.imported.fails(tonic::Status::unavailable("not now"));
        assert!(it.verifier.presented(SECRET).await.is_err());
        it.imports(true, Some(grant()));
        assert_eq!(it.says(SECRET).await, Ok(()));
    }
}
