//! Creates that may be asked for again with the same idempotency key: by what a retry is known.
//!
//! One mechanism for whatever can be made. A create takes the key with [`input::idempotency_key`](crate::input::idempotency_key),
//! makes its row by [`KeysService::once`], gives it to the store's insert, whose body is
//! [`once!`](crate::store::once::once), and asks [`Created::before`](crate::store::Created::before) what came of it.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use tollgate_db::DbId;
use tollgate_kernel::{Code, Fault, Timestamp};

use crate::{KeysService, caller::Caller, store::IdempotencyRow};

/// A request that may come again.
pub(crate) struct Asked<'a> {
    pub(crate) caller: &'a Caller,
    /// What kind of thing is made: `plan`, …
    pub(crate) kind: &'static str,
    /// All that is asked for, without the caller: a retry may come from another address, or in another session.
    pub(crate) message: Vec<u8>,
}

impl<'a> Asked<'a> {
    /// The message has lost its caller by now.
    pub(crate) fn new(caller: &'a Caller, kind: &'static str, message: &impl Message) -> Self {
        Self { caller, kind, message: message.encode_to_vec() }
    }
}

impl KeysService {
    /// The row by which the same request of the same caller is known again for as long as it is configured, a day by default; `None`
    /// without an idempotency key. `made` is the id of what it makes.
    pub(crate) fn once(
        &self,
        asked: &Asked<'_>,
        idempotency_key: Option<&str>,
        made: impl Into<DbId>,
        now: Timestamp,
    ) -> Option<IdempotencyRow> {
        let name = format!("{}\0{}", asked.caller.principal, idempotency_key?);
        let all = [asked.kind.as_bytes(), &asked.message].join(&0);
        Some(IdempotencyRow {
            id: digest(&SHA256, name.as_bytes()).as_ref().to_vec(),
            request_hash: digest(&SHA256, &all).as_ref().to_vec(),
            made: made.into(),
            part: None,
            expires_at: (now + self.config.idempotency()).into(),
        })
    }
}

/// The fault of a retry after what the first request had made was deleted.
pub(crate) fn gone() -> Fault {
    Fault::new(
        Code::Conflict,
        "What the first request with this idempotency key has made is not there any more.",
    )
}
