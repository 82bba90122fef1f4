//! What handlers take as arguments. Each refuses with a [`Problem`](crate::problem::Problem), and in the order of the
//! arguments: who asks first, then the address, then the body, so that a stranger learns nothing from our parsing.

mod caller;
mod id;
mod idempotency;
mod json;
mod patch;
mod presented;
mod query;
mod reason;
mod shape;

pub(crate) use caller::Caller;
pub(crate) use id::{PathId, PathName};
pub(crate) use idempotency::IdempotencyKey;
pub(crate) use json::{Json, LargeJson};
pub(crate) use patch::{Cleared, Patch};
pub(crate) use presented::{ClientIp, Presented};
pub(crate) use query::{Prefix, Query, QueryWith};
