//! A corner of a Redis server for a test of its own, emptied when the test ends.

use tollgate_kernel::SecretString;

use crate::env;

/// The server of `TEST_REDIS_URL`, and a prefix that no other test has.
pub struct TestRedis {
    url: String,
    prefix: String,
}

impl TestRedis {
    /// A corner of the server that all tests share. Never flush that server.
    pub fn shared() -> Self {
        Self { url: env::required(env::REDIS), prefix: format!("test:{}:", env::unique()) }
    }

    /// `redis://…`
    pub fn url(&self) -> SecretString {
        self.url.clone().into()
    }

    /// What every key of this test starts with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn remove_all(&self) -> redis::RedisResult<()> {
        let mut connection = redis::Client::open(self.url.as_str())?.get_connection()?;
        // Anywhere in the name: a hash tag's brace may stand before the prefix.
        let pattern = format!("*{}*", self.prefix);
        let keys: Vec<Vec<u8>> = redis::cmd("SCAN")
            .cursor_arg(0)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(1000)
            .clone()
            .iter(&mut connection)?
            .collect::<redis::RedisResult<_>>()?;
        for key in keys {
            redis::cmd("UNLINK").arg(key).exec(&mut connection)?;
        }
        Ok(())
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        if let Err(error) = self.remove_all() {
            eprintln!("the keys under {} could not be removed: {error}", self.prefix);
        }
    }
}
