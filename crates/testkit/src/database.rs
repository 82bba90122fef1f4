//! A database of a test's own, gone when the test ends.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tempfile::TempDir;
use tollgate_kernel::SecretString;

use crate::env;

/// A database of a test's own: a folder for SQLite, or a new database on the server of `TEST_DATABASE_URL`.
///
/// Every role can open it by the same URL: each has a file, or a schema, of its own in it.
pub struct TestDatabase {
    url: String,
    place: Place,
}

enum Place {
    Folder { _removed_on_drop: TempDir },
    Server { url: String, name: String },
}

impl TestDatabase {
    /// An empty folder for SQLite.
    #[expect(clippy::unused_async, reason = "called as the other is")]
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let url = format!("sqlite://{}", folder.path().display());
        Self { url, place: Place::Folder { _removed_on_drop: folder } }
    }

    /// An empty database on PostgreSQL.
    pub async fn postgres() -> Self {
        let server = env::required(env::DATABASE);
        let name = format!("tollgate_test_{}", env::unique());
        // From template0, to which nobody connects: template1 cannot be copied while somebody does.
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        execute(&server, &create).await.expect("the server of TEST_DATABASE_URL lets us make databases");
        Self { url: with_database(&server, &name), place: Place::Server { url: server, name } }
    }

    /// `sqlite:///folder` or `postgres://…/database`, as `Db::open` takes it.
    pub fn url(&self) -> SecretString {
        self.url.clone().into()
    }

    /// Carries out these statements; on PostgreSQL only.
    pub async fn execute(&self, statements: &str) {
        execute(&self.url, statements).await.expect("they can be carried out");
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Place::Server { url, name } = &self.place {
            let (url, drop) = (url.clone(), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            // A runtime of its own, since the test's may be at its end.
            let dropped = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime starts").block_on(execute(&url, &drop))
            });
            if !matches!(dropped.join(), Ok(Ok(()))) {
                eprintln!("{name} could not be dropped");
            }
        }
    }
}

async fn execute(url: &str, statement: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    AsyncPgConnection::establish(url).await?.batch_execute(statement).await?;
    Ok(())
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (base, parameters) = url.split_once('?').map_or((url, String::new()), |(b, p)| (b, format!("?{p}")));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    format!("{}/{name}{parameters}", &base[..end])
}

/// Stamps tests over both databases: each becomes a module with the tests `sqlite` and `postgres`.
///
/// ```text
/// on_every_database! {
///     async fn a_key_comes_back(database: TestDatabase) {
///         let store = Store::open(&database.url()).await;
///     }
/// }
/// ```
#[macro_export]
macro_rules! on_every_database {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident: TestDatabase) $body:block)*) => {$(
        $(#[$attribute])*
        #[cfg(test)]
        mod $name {
            use super::*;

            async fn body($database: $crate::TestDatabase) $body

            #[tokio::test]
            async fn sqlite() {
                body($crate::TestDatabase::sqlite().await).await;
            }

            #[tokio::test]
            #[ignore = "needs PostgreSQL"]
            async fn postgres() {
                body($crate::TestDatabase::postgres().await).await;
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        let cases = [
            ("postgres://u:p@h:1/old", "postgres://u:p@h:1/new"),
            ("postgres://h", "postgres://h/new"),
            ("postgres://h/?connect_timeout=1", "postgres://h/new?connect_timeout=1"),
        ];
        for (before, after) in cases {
            assert_eq!(with_database(before, "new"), after);
        }
    }
}
