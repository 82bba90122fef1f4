//! The roles, as far as a verifier asks them: each answer is set by the test, each call is counted, and a call can be held
//! between reading its answer and giving it, as a slow network would.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;
use tollgate_proto::{Identity, Keys, identity, keys};
use tonic::{Request, Response, Status};

#[derive(Default)]
pub(crate) struct Roles {
    pub key: Method<keys::ResolveKeyResponse>,
    pub imported: Method<keys::ResolveImportedKeyResponse>,
    pub imports: Method<keys::GetImportsResponse>,
    pub service_key: Method<keys::ResolveServiceKeyResponse>,
    pub member: Method<keys::ResolveMemberResponse>,
    pub session: Method<identity::ResolveSessionResponse>,
    pub signing_keys: Method<identity::GetSigningKeysResponse>,
}

pub(crate) struct Method<A> {
    answer: Mutex<Result<A, Status>>,
    calls: AtomicUsize,
    /// How many of the next calls are held.
    held: AtomicUsize,
    /// A held call has read its answer.
    pub read: Notify,
    /// Lets one held call go.
    pub release: Notify,
}

impl<A: Default> Default for Method<A> {
    fn default() -> Self {
        Self {
            answer: Mutex::new(Ok(A::default())),
            calls: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            read: Notify::new(),
            release: Notify::new(),
        }
    }
}

impl<A: Clone> Method<A> {
    pub(crate) fn answers(&self, answer: A) {
        *self.answer.lock().expect("whole") = Ok(answer);
    }

    pub(crate) fn fails(&self, status: Status) {
        *self.answer.lock().expect("whole") = Err(status);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn hold_next(&self) {
        self.held.fetch_add(1, Ordering::SeqCst);
    }

    async fn call(&self) -> Result<Response<A>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().expect("whole").clone();
        let one_less = |held: usize| held.checked_sub(1);
        if self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            self.read.notify_one();
            self.release.notified().await;
        }
        answer.map(Response::new)
    }
}

macro_rules! stand_in {
    ($service:ident in $package:ident {
        $($method:ident($request:ident) -> $response:ident = $field:ident;)*
    }) => {
        #[async_trait::async_trait]
        impl $service for Roles {
            $(async fn $method(
                &self,
                _: Request<$package::$request>,
            ) -> Result<Response<$package::$response>, Status> {
                self.$field.call().await
            })*
        }
    };
}

stand_in!(Keys in keys {
    resolve_key(ResolveKeyRequest) -> ResolveKeyResponse = key;
    resolve_imported_key(ResolveImportedKeyRequest) -> ResolveImportedKeyResponse = imported;
    get_imports(GetImportsRequest) -> GetImportsResponse = imports;
    resolve_service_key(ResolveServiceKeyRequest) -> ResolveServiceKeyResponse = service_key;
    resolve_member(ResolveMemberRequest) -> ResolveMemberResponse = member;
});

stand_in!(Identity in identity {
    resolve_session(ResolveSessionRequest) -> ResolveSessionResponse = session;
    get_signing_keys(GetSigningKeysRequest) -> GetSigningKeysResponse = signing_keys;
});
