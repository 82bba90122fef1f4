//! What every handler has at hand.

use std::{ops::Deref, sync::Arc};

use axum::body::Bytes;
use tokio::sync::Semaphore;
use tollgate_kernel::Clock;
use tollgate_proto::{IdentityHandle, KeysHandle};
use tollgate_verify::Verifier;

use crate::{Config, Probe, gate::Gate};

/// The edge's parts, shared by all its doors.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

/// See [`App`].
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) gate: Gate,
    pub(crate) verifier: Verifier,
    pub(crate) identity: IdentityHandle,
    pub(crate) keys: KeysHandle,
    pub(crate) readiness: Vec<Probe>,
    pub(crate) clock: Arc<dyn Clock>,
    /// One permit per request in progress.
    pub(crate) slots: Semaphore,
    /// The OpenAPI document, as it is sent.
    pub(crate) openapi: Bytes,
}

impl App {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
