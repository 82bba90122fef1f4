//! The role that counts, alone in a process, on a corner of Redis of its own: alone it refuses to count in memory.

use std::{net::SocketAddr, path::Path};

use super::{Process, Shape, Stores};
use crate::Problem;

/// What runs, and where.
pub(crate) struct Alone {
    /// Of the role's gRPC.
    pub address: SocketAddr,
    /// Of the process.
    pub id: u32,
    // In the order of dropping: first the process, then what it used.
    _process: Process,
    _stores: Stores,
}

impl Alone {
    /// Starts it, with these settings beside those that it needs.
    pub(crate) async fn start(tollgate: &Path, settings: &[(&str, &str)]) -> Result<Self, Problem> {
        const ROLE: &str = "ratelimit";
        let mut stores = Stores::of(Shape::Split).await?;
        for (name, value) in settings {
            stores.set(name, value);
        }
        let process = Process::start(stores.serve(tollgate, &[ROLE])).await?;
        let (address, id) = (process.address(ROLE)?, process.child.id().ok_or("the role ended")?);
        Ok(Self { address, id, _process: process, _stores: stores })
    }
}
