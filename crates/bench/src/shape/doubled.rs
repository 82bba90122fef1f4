//! Two edges, each with a keys replica of its own, on one PostgreSQL and one Redis: six processes.

use std::{net::SocketAddr, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::{Process, Stores};
use crate::{Problem, shape::Shape};

/// What runs, and where.
pub(crate) struct Doubled {
    /// Their HTTP addresses. Each knows of the keys replica at its place only.
    pub edges: [SocketAddr; 2],
    // In the order of dropping: first the processes, then what they used.
    keys: [Process; 2],
    _others: Vec<Process>,
    stores: Stores,
}

impl Doubled {
    /// Starts them all, on a database and a corner of Redis of their own.
    pub(crate) async fn start(tollgate: &Path, log: &str) -> Result<Self, Problem> {
        let mut stores = Stores::of(Shape::Split).await?;
        stores.set("TOLLGATE__LOG__FILTER", log);
        stores.migrate(tollgate).await?;
        let mut others = Vec::new();
        for role in ["ratelimit", "identity"] {
            others.push(stores.role(tollgate, role).await?);
        }
        let keys = [stores.role(tollgate, "keys").await?, stores.role(tollgate, "keys").await?];
        let mut edges = Vec::new();
        for keys in &keys {
            stores.reach("keys", keys.address("keys")?);
            let edge = Process::start(stores.serve(tollgate, &["edge"])).await?;
            edges.push(edge.address("http")?);
            others.push(edge);
        }
        let edges = [edges[0], edges[1]];
        Ok(Self { edges, keys, _others: others, stores })
    }

    /// From now on PostgreSQL notifies nobody.
    pub(crate) async fn silence(&self) -> Result<(), Problem> {
        let (database, _) = self.stores.servers.as_ref().ok_or("there is no PostgreSQL")?;
        let triggers =
            "DROP TRIGGER changes_tell ON keys.changes; DROP TRIGGER replicas_tell ON keys.replicas";
        database.execute(triggers).await;
        Ok(())
    }

    /// Holds a keys replica still: its sockets stay open, and nothing answers.
    pub(crate) fn pause(&self, replica: usize) -> Result<(), Problem> {
        self.signal(replica, Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self, replica: usize) -> Result<(), Problem> {
        self.signal(replica, Signal::CONT)
    }

    fn signal(&self, replica: usize, signal: Signal) -> Result<(), Problem> {
        let id = self.keys[replica].child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        kill_process(id.ok_or("a keys replica has ended")?, signal)?;
        Ok(())
    }
}
