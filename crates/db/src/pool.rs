//! Connections on loan: how long one is waited for and used, and what happens to one that is not given back whole.

use std::{future::Future, time::Duration};

use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use diesel::QueryResult;
use diesel_async::{SimpleAsyncConnection, TransactionManager, pooled_connection::PoolableConnection};
use tokio::time::timeout;

use crate::{Error, Settings};

/// What differs between the two databases in using a connection.
pub trait Connection: PoolableConnection + SimpleAsyncConnection + Send + 'static {
    /// Where such a connection leads to.
    type Target: Send + Sync + 'static;

    /// Opens a connection and sets it up.
    fn open(target: &Self::Target) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Begins a transaction.
    fn begin(&mut self) -> impl Future<Output = QueryResult<()>> + Send;
}

/// Connections to one database. Cheap to clone.
pub struct Pool<C: Connection> {
    inner: managed::Pool<Manager<C>>,
    acquire: Duration,
    work: Duration,
}

/// A connection on loan. Only [`Lease::settle`] and [`Lease::end`] give it back.
///
/// Dropped in any other way (a cancelled request, a time that ran out, a panic) it is closed: a transaction may be open in
/// it, and in the pool that would keep its locks; or a statement may still run in it.
pub struct Lease<C: Connection> {
    // None once it was given back.
    object: Option<Object<Manager<C>>>,
    work: Duration,
}

/// How the pool makes a connection and knows a broken one.
pub(crate) struct Manager<C: Connection>(C::Target);

impl<C: Connection> Pool<C> {
    pub(crate) fn new(target: C::Target, size: usize, settings: &Settings) -> Result<Self, Error> {
        let inner = managed::Pool::builder(Manager(target)).max_size(size).build();
        let inner = inner.map_err(|error| Error::Other(error.into()))?;
        Ok(Self { inner, acquire: settings.acquire_timeout, work: settings.work_timeout })
    }

    /// Where the connections lead to.
    pub(crate) fn target(&self) -> &C::Target {
        &self.inner.manager().0
    }

    /// A connection, opened if none is idle. Waits at most [`Settings::acquire_timeout`].
    pub(crate) async fn lease(&self) -> Result<Lease<C>, Error> {
        let object = timeout(self.acquire, self.inner.get()).await;
        let object = object.map_err(|_| Error::too_slow("give a connection", self.acquire))??;
        Ok(Lease { object: Some(object), work: self.work })
    }
}

impl<C: Connection> Lease<C> {
    /// How long the work on this connection may take, all in all.
    pub fn limit(&self) -> Duration {
        self.work
    }

    /// The connection itself.
    pub fn connection(&mut self) -> &mut C {
        self.object.as_mut().expect("giving it back ends the lease")
    }

    /// Begins a transaction.
    pub async fn begin(&mut self) -> Result<(), Error> {
        Ok(C::begin(self.connection()).await?)
    }

    /// Commits if `result` is good, else rolls back.
    pub async fn end<T, E: From<Error>>(&mut self, result: Result<T, E>) -> Result<T, E> {
        let ended = if result.is_ok() {
            C::TransactionManager::commit_transaction(self.connection()).await
        } else {
            C::TransactionManager::rollback_transaction(self.connection()).await
        };
        match ended {
            Ok(()) => result,
            // A rollback fails only if the connection died, which explains the error before it too.
            Err(error) if result.is_err() => Err(Error::Unavailable(error.into()).into()),
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// Gives the connection back after work without a transaction of ours. `None`: the time ran out.
    pub async fn settle<T>(mut self, result: Option<QueryResult<T>>) -> Result<T, Error> {
        let limit = self.work;
        let result = result.ok_or_else(|| Error::too_slow("finish", limit))?.map_err(Error::from);
        match result {
            // PostgreSQL says "going down" with an error like any other: ask whether it is still there.
            Err(error) if error.is_doubtful() && !self.answers().await => {
                Err(Error::Unavailable(error.into()))
            }
            result => {
                self.give_back();
                result
            }
        }
    }

    /// Gives the connection back after a transaction. `None`: the time ran out.
    pub fn close<T, E: From<Error>>(mut self, result: Option<Result<T, E>>) -> Result<T, E> {
        let limit = self.work;
        let result = result.ok_or_else(|| Error::too_slow("finish", limit))?;
        self.give_back();
        result
    }

    async fn answers(&mut self) -> bool {
        let limit = self.work;
        timeout(limit, self.connection().batch_execute("SELECT 1")).await.is_ok_and(|answer| answer.is_ok())
    }

    fn give_back(&mut self) {
        if !self.connection().is_broken() {
            self.object = None;
        }
    }
}

impl<C: Connection> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

impl<C: Connection> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ..*self }
    }
}

impl<C: Connection> managed::Manager for Manager<C> {
    type Type = C;
    type Error = Error;

    async fn create(&self) -> Result<C, Error> {
        C::open(&self.0).await
    }

    // A connection whose server went away is known without asking: its socket is closed. One that is silently cut off is
    // found out by the time limit on the work, and closed by it.
    async fn recycle(&self, connection: &mut C, _: &Metrics) -> RecycleResult<Error> {
        if connection.is_broken() { Err(RecycleError::message("the connection is closed")) } else { Ok(()) }
    }
}

/// Runs `work` for at most `limit`; `None` if it did not finish.
pub async fn bounded<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    timeout(limit, work).await.ok()
}

/// Says to the compiler what the work inside a macro gives, so that `?` works in it.
pub fn query<T, F: Future<Output = QueryResult<T>>>(work: F) -> F {
    work
}
