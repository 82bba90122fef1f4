//! A script in Redis: asked for by its digest, and sent in full to a server that does not know it.

use ::redis::{
    Cmd, ErrorKind, FromRedisValue, RedisResult, Script as Digested, ServerErrorKind, ToRedisArgs, cmd,
};

use super::link::Connection;

/// A script.
pub(super) struct Script {
    code: &'static str,
    digest: String,
}

/// A script with its keys and arguments.
pub(super) struct Invocation<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Script {
    /// The script of this code.
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, digest: Digested::new(code).get_hash().to_owned() }
    }

    /// The script, without keys and arguments.
    pub(super) fn prepare(&self) -> Invocation<'_> {
        Invocation { script: self, keys: Vec::new(), arguments: Vec::new() }
    }
}

impl Invocation<'_> {
    /// Adds a key. All keys of a script are in one slot of a cluster.
    pub(super) fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }

    /// Adds an argument.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// Carries it out. What a server does not know any more after a restart or a failover, it is told again.
    pub(super) async fn run<T: FromRedisValue>(&self, connection: &Connection) -> RedisResult<T> {
        match connection.query(&self.command("EVALSHA", &self.script.digest)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.query(&self.command("EVAL", self.script.code)).await
            }
            other => other,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        for argument in &self.arguments {
            command.arg(argument);
        }
        command
    }
}
