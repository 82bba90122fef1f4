//! The servers and databases that tests rely on do what tests rely on.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    time::Duration,
};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tollgate_kernel::ExposeSecret;
use tollgate_testkit::{
    Loss, Namespace, PrivatePostgres, PrivateRedis, TestDatabase, TestRedis, postgres_answers, redis_answers,
};

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_test_database_is_its_own_and_goes_with_its_test() {
    let (one, two) = (TestDatabase::postgres().await, TestDatabase::postgres().await);
    let url = one.url();
    assert_ne!(url.expose_secret(), two.url().expose_secret());
    // Held open, as a pool would.
    let mut held = AsyncPgConnection::establish(url.expose_secret()).await.unwrap();
    held.batch_execute("CREATE TABLE t ()").await.unwrap();
    drop(one);
    assert!(!postgres_answers(url.expose_secret()).await);
    assert!(postgres_answers(two.url().expose_secret()).await);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_test_leaves_nothing_in_redis() {
    let (mine, other) = (TestRedis::shared(), TestRedis::shared());
    let client = redis::Client::open(mine.url().expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (mine_key, tagged) = (format!("{}a", mine.prefix()), format!("{{{}}}b", mine.prefix()));
    let other_key = format!("{}a", other.prefix());
    for key in [&mine_key, &tagged, &other_key] {
        redis::cmd("SET").arg(key).arg(1).exec_async(&mut connection).await.unwrap();
    }
    drop(mine);
    let mut left = redis::cmd("EXISTS");
    left.arg(&mine_key).arg(&tagged).arg(&other_key);
    assert_eq!(left.query_async::<u8>(&mut connection).await.unwrap(), 1);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_private_redis_is_killed_paused_and_keeps_its_data() {
    let mut server = PrivateRedis::start().await;
    let url = server.url().expose_secret().to_owned();
    let client = redis::Client::open(url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET").arg("a").arg(7).exec_async(&mut connection).await.unwrap();
    server.pause();
    assert!(!redis_answers(&url).await);
    server.resume();
    assert!(redis_answers(&url).await);
    server.kill();
    assert!(!redis_answers(&url).await);
    server.restart().await;
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    assert_eq!(redis::cmd("GET").arg("a").query_async::<u8>(&mut connection).await.unwrap(), 7);
    drop(server);
    assert!(!redis_answers(&url).await);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_private_postgres_is_killed_paused_and_keeps_its_data() {
    let mut server = PrivatePostgres::start().await;
    let url = server.url().expose_secret().to_owned();
    let mut connection = AsyncPgConnection::establish(&url).await.unwrap();
    connection.batch_execute("CREATE TABLE t ()").await.unwrap();
    server.pause();
    assert!(!postgres_answers(&url).await);
    server.resume();
    assert!(postgres_answers(&url).await);
    server.kill();
    assert!(connection.batch_execute("SELECT * FROM t").await.is_err());
    server.restart().await;
    let mut connection = AsyncPgConnection::establish(&url).await.unwrap();
    connection.batch_execute("SELECT * FROM t").await.unwrap();
    drop(server);
    assert!(!postgres_answers(&url).await);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn what_a_primary_has_confirmed_is_on_the_standby_that_takes_its_place() {
    let mut primary = PrivatePostgres::start().await;
    let standby = primary.standby(primary.address()).await;
    primary.execute("CREATE TABLE t ()").await;
    primary.kill();
    standby.promote().await;
    standby.execute("SELECT * FROM t; CREATE TABLE u ()").await;
}

#[test]
#[ignore = "needs root"]
fn a_network_of_a_tests_own_loses_what_it_is_told_to_lose() {
    let network = Namespace::new();
    let listener = TcpListener::bind((network.here(), 0)).unwrap();
    let (here, port) = (network.here(), listener.local_addr().unwrap().port());
    // Says so when it is connected, and never ends by itself.
    let script = format!("exec 3<>/dev/tcp/{here}/{port} && echo connected && exec cat <&3");
    let mut within = network.command("bash").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to_within, _) = listener.accept().unwrap();
    let mut said = BufReader::new(within.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "connected");
    network.lose(Loss::Both, 9);
    std::io::Write::write_all(&mut to_within, b"late\n").unwrap();
    // Lost, not refused: nobody says that nobody listens there.
    let nobody = SocketAddr::from((network.there(), 1));
    let lost = TcpStream::connect_timeout(&nobody, Duration::from_millis(50)).unwrap_err();
    assert_eq!(lost.kind(), std::io::ErrorKind::TimedOut);
    let passes = SocketAddr::from((network.there(), 9));
    let refused = TcpStream::connect(passes).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    network.heal();
    assert_eq!(said.next().unwrap().unwrap(), "late");
    drop(to_within);
    assert!(within.wait().unwrap().success());
}
