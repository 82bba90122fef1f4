//! What an operator reads when TLS and its absence meet.

use std::{error::Error as _, time::Duration};

use tollgate_testkit::{Authority, PrivateRedis};

use super::{
    super::{
        Pace,
        address::{self, Address},
        link::Failure,
        server::{Place, Setup, connect},
    },
    *,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no connection, and what is behind that.
async fn refusal(url: &str, authority: &Authority) -> (Failure, String) {
    let Some(Address::Server(info)) = Address::parse(url) else { panic!("it is one server") };
    let files = Tls { ca_file: authority.file(), ..Tls::default() };
    let tls = address::is_tls(url).then(|| config(&files).expect("the files are right"));
    let pace = Pace { timeout: PATIENCE, connect_timeout: PATIENCE, retry_interval: PATIENCE };
    let setup = Arc::new(Setup { pace, tls, shared: 1, refuse_eviction: true, generations: 0.into() });
    let failure = connect(&Place::At(info), &setup).await.err().expect("refused");
    let cause = failure.source().expect("a cause").to_string();
    (failure, cause)
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn each_refusal_says_what_is_wrong() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = PrivateRedis::start_tls(&authority, &[]).await;
    let plainly = format!("redis://{}", redis.address());
    let (failure, _) = refusal(&plainly, &authority).await;
    assert!(matches!(failure, Failure::HungUp(_)), "{failure:?}");
    assert!(failure.to_string().contains("if it wants TLS, its address begins with rediss"), "{failure}");

    let over_tls = format!("rediss://{}", redis.address());
    let (failure, cause) = refusal(&over_tls, &other).await;
    assert!(matches!(failure, Failure::Tls(_)), "{failure:?}");
    // Both authorities go by one name.
    assert!(cause.contains("BadSignature"), "{cause}");
    let by_name = format!("rediss://localhost:{}", redis.port());
    let (_, cause) = refusal(&by_name, &authority).await;
    assert!(cause.contains("not valid for name"), "{cause}");

    let strict = PrivateRedis::start_tls(&authority, &["--tls-auth-clients", "yes"]).await;
    let (failure, _) = refusal(&format!("rediss://{}", strict.address()), &authority).await;
    assert!(matches!(failure, Failure::Tls(_)), "{failure:?}");
}
