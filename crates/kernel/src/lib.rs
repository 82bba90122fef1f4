//! The words that every part of Tollgate speaks: faults, typed ids, the clock, randomness, secrets.
//!
//! What does not live here: anything that does I/O or awaits, and any word that only one role uses.

mod clock;
mod email;
mod entropy;
mod fault;
mod hex;
mod id;
mod looks;
mod master_key;

pub use clock::{Clock, SystemClock, Timestamp};
pub use email::email_key;
pub use entropy::{Entropy, OsEntropy};
pub use fault::{Code, Fault, Violation};
pub use hex::{hex, unhex};
pub use id::{
    ConsumerId, CreditAccountId, DeliveryId, Id, IdError, IdKind, InvitationId, KeyId, MessageId, PlanId,
    RoleId, SecretId, ServiceKeyId, SessionId, SigningKeyId, UserId, WebhookId, WorkspaceId,
};
pub use looks::looks_secret;
pub use master_key::MasterKey;
pub use secrecy::{ExposeSecret, SecretBox, SecretString};
