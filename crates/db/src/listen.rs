//! Notifications of PostgreSQL (`LISTEN`), on a connection of their own.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::StreamExt;

use crate::{Db, Error};

/// Hears what is sent to some channels, while its connection lasts. What is sent while it does not is lost: poll as well.
pub struct Listener(AsyncPgConnection);

impl Db {
    /// Listens to channels, whose names are ours and never a user's. `None` on SQLite, which has no notifications.
    pub async fn listen(&self, channels: &[String]) -> Result<Option<Listener>, Error> {
        let Self::Postgres(pool) = self else { return Ok(None) };
        let mut connection = pool.target().connect().await?;
        let listen: Vec<_> = channels.iter().map(|channel| format!("LISTEN {channel}")).collect();
        connection.batch_execute(&listen.join("; ")).await?;
        Ok(Some(Listener(connection)))
    }
}

impl Listener {
    /// The channel of the next notification.
    ///
    /// # Errors
    /// [`Error::Unavailable`] once the connection is lost.
    pub async fn next(&mut self) -> Result<String, Error> {
        let next = Box::pin(self.0.notifications_stream()).next().await;
        match next {
            Some(Ok(notification)) => Ok(notification.channel),
            Some(Err(error)) => Err(Error::Unavailable(error.into())),
            None => Err(Error::Unavailable("the connection is lost".into())),
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}
