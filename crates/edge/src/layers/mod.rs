//! What surrounds every handler: bounds, headers, measurements. The order is in `router.rs`.

pub(crate) mod bounds;
pub(crate) mod cors;
pub(crate) mod door;
pub(crate) mod headers;
pub(crate) mod observe;
