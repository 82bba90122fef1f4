//! The servers behind an address: one, or the nodes of a cluster.

use std::{future::Future, sync::Arc, time::Duration};

use ::redis::RedisResult;
use tokio::time::Instant;

use super::{
    address::Address,
    cluster::Cluster,
    link::{Connection, Failure, Link, Via},
    map::slot,
    server::{Place, Setup},
};

/// What an address leads to.
pub(super) enum Servers {
    /// One server, or one primary.
    One(Link),
    /// A cluster.
    Cluster(Cluster),
}

impl Servers {
    /// Begins to connect, within a Tokio runtime.
    pub(super) fn open(address: Address, setup: Arc<Setup>) -> Self {
        match address {
            Address::Server(info) => Self::One(Link::open(Place::At(info), setup)),
            Address::Sentinel(sentinels) => Self::One(Link::open(Place::AskedOf(sentinels), setup)),
            Address::Cluster(seeds) => Self::Cluster(Cluster::open(seeds, setup)),
        }
    }

    /// Whether names with different hash tags are in different places.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Does `work` on a connection to the server that has the names with this hash tag, within `limit`.
    pub(super) async fn run<T, F>(
        &self,
        tag: &str,
        via: Via,
        limit: Duration,
        work: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let deadline = Instant::now() + limit;
        match self {
            Self::One(link) => link.run(via, deadline, work).await,
            Self::Cluster(cluster) => cluster.run(slot(tag), via, deadline, work).await,
        }
    }

    /// Does `work` on each server that counts.
    pub(super) async fn run_on_each<F>(
        &self,
        limit: Duration,
        work: impl Fn(Connection) -> F,
    ) -> Result<(), Failure>
    where
        F: Future<Output = RedisResult<()>>,
    {
        let deadline = Instant::now() + limit;
        match self {
            Self::One(link) => link.run(Via::Own, deadline, work).await,
            Self::Cluster(cluster) => {
                for slot in cluster.one_of_each(deadline).await? {
                    cluster.run(slot, Via::Own, deadline, &work).await?;
                }
                Ok(())
            }
        }
    }

    /// Deals things out by the server that has the hash tag of each.
    pub(super) fn by_server<T>(&self, things: Vec<T>, tag: impl Fn(&T) -> &str) -> Vec<Vec<T>> {
        match self {
            Self::One(_) => vec![things],
            Self::Cluster(cluster) => cluster.by_node(things, |thing| slot(tag(thing))),
        }
    }

    /// Waits for the first attempt to connect, for this long at most. Why the servers must not be used, if that is known.
    pub(super) async fn unfit(&self, patience: Duration) -> Option<&'static str> {
        let deadline = Instant::now() + patience;
        let asked = async {
            match self {
                Self::One(link) => link.unfit().await,
                Self::Cluster(cluster) => cluster.unfit(deadline).await,
            }
        };
        tokio::time::timeout_at(deadline, asked).await.ok().flatten()
    }
}
