//! What the tests are told from outside: where the servers are.

use tollgate_kernel::{Entropy, OsEntropy};

/// Names a PostgreSQL server on which tests may make databases.
pub const DATABASE: &str = "TEST_DATABASE_URL";
/// Names a Redis server on which tests may write under prefixes of their own.
pub const REDIS: &str = "TEST_REDIS_URL";
/// Names the program of Envoy.
pub const ENVOY: &str = "TEST_ENVOY";

/// The variable, if it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where the servers are")]
pub fn get(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variable, or a panic that says what to do.
pub(crate) fn required(name: &str) -> String {
    get(name).unwrap_or_else(|| {
        panic!("{name} is not set: run this test by scripts/test, or under `with-servers -- cargo test …`")
    })
}

/// A name that no other test has: 16 hexadecimal digits.
pub(crate) fn unique() -> String {
    let random = (&OsEntropy as &dyn Entropy).bytes::<8>();
    format!("{:016x}", u64::from_ne_bytes(random))
}
