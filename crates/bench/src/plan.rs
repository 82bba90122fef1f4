//! What is measured, and in which order: every target once per round, so that a machine that slows down slows all alike.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Measure, Problem,
    calls::Calls,
    load,
    report::{Report, Round, Target},
    set_up::{self, Prepared},
    shape::{Running, Shape},
};

/// How much of its most a target is asked for when latencies are measured.
const SHARE: f64 = 0.5;
/// Before the first round, so that caches are filled and connections made.
const WARM_UP: Duration = Duration::from_secs(1);

/// Starts each shape and measures it.
pub(crate) async fn run(
    tollgate: &Path,
    shapes: &[Shape],
    log: &str,
    measure: Measure,
) -> Result<(), Problem> {
    let tollgate = found(tollgate)?;
    let mut running = Vec::new();
    for shape in shapes {
        eprintln!("starting: {}", shape.title());
        running.push((shape.title(), Running::start(*shape, &tollgate, &[logging(log)]).await?));
    }
    let places: Vec<_> = running.iter().map(|(title, it)| (*title, it.http, it.gate)).collect();
    measured(&places, measure).await
}

/// Where the server's program is, wherever a process of it starts.
pub(crate) fn found(tollgate: &Path) -> Result<PathBuf, Problem> {
    tollgate.canonicalize().map_err(|error| format!("{}: {error}", tollgate.display()).into())
}

/// The setting of what the server logs.
pub(crate) fn logging(log: &str) -> (&str, &str) {
    ("TOLLGATE__LOG__FILTER", log)
}

/// Measures a server that somebody else runs.
pub(crate) async fn against(http: SocketAddr, gate: SocketAddr, measure: Measure) -> Result<(), Problem> {
    measured(&[("running server", http, gate)], measure).await
}

async fn measured(
    places: &[(&'static str, SocketAddr, SocketAddr)],
    measure: Measure,
) -> Result<(), Problem> {
    let baseline = Running::baseline().await?;
    let mut targets = vec![
        (Target::new("bare axum", "GET hello", None), set_up::hello(baseline.http)),
        (Target::new("bare tonic", "echo", None), set_up::echo(baseline.gate)),
    ];
    for (title, http, gate) in places {
        eprintln!("making {} keys: {title}", measure.keys);
        let prepared = Prepared::new(*http, *gate, measure.keys).await?;
        let (hello, echo) = (Some(0), Some(1));
        targets.push((Target::new(title, "POST /v1/keys/verify", hello), prepared.verify_over_http()?));
        targets.push((Target::new(title, "Gate/VerifyKey", echo), prepared.verify_over_grpc()?));
        targets.push((Target::new(title, "GET /v1/whoami/key", hello), prepared.whoami()?));
    }
    for (target, calls) in &targets {
        warm_up(&target.name(), calls, measure).await?;
    }
    for round in 1..=measure.rounds {
        for (target, calls) in &mut targets {
            let one = one_round(calls, measure).await?;
            eprintln!("round {round}: {:<56} {:>8.0}/s", target.name(), one.closed.per_second());
            target.rounds.push(one);
        }
    }
    let targets: Vec<_> = targets.into_iter().map(|(target, _)| target).collect();
    Report::of(&targets, measure).print()
}

/// Fills caches and makes connections.
pub(crate) async fn warm_up(name: &str, calls: &Calls, measure: Measure) -> Result<(), Problem> {
    eprintln!("warming up: {name}");
    let warm = load::closed(calls.callers(connections(measure)).await?, WARM_UP).await?;
    if warm.counts.allowed == 0 {
        return Err(format!("{name}: no call was allowed: {:?}", warm.counts).into());
    }
    Ok(())
}

async fn one_round(calls: &Calls, measure: Measure) -> Result<Round, Problem> {
    let length = Duration::from_secs(measure.seconds.into());
    let closed = load::closed(calls.callers(connections(measure)).await?, length).await?;
    let rate = closed.per_second() * SHARE;
    let open = load::open(calls.callers(connections(measure)).await?, rate, length).await?;
    Ok(Round { closed, rate, open })
}

pub(crate) fn connections(measure: Measure) -> usize {
    measure.connections as usize
}
