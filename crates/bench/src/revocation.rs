//! How long a revoke takes while connections present the key to two edges, each with a keys replica of its own, and whether the
//! key is believed in any call that starts after the revoke has returned.

use std::{path::Path, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::{
    Problem,
    hammer::{Hammer, Presenter},
    plan::found,
    set_up::Api,
    shape::Doubled,
};

/// How long the edge of a replica that was held may take until it is in service again.
const PATIENCE: Duration = Duration::from_mins(1);
/// A round with a replica that is held takes some leases: there is one for this many of the others.
const FEWER: u32 = 10;

/// What the revokes meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// Everything works
    Well,
    /// PostgreSQL notifies nobody
    Silent,
    /// The second keys replica is held still while the first revokes
    Stopped,
}

/// One key: hammered, and revoked.
struct Round {
    took: Duration,
    acknowledged: bool,
    calls: u64,
    late: u64,
}

/// What is said of a case.
#[derive(Debug, Serialize)]
struct Line {
    case: Case,
    connections: u32,
    revokes: usize,
    acknowledged: usize,
    /// Of the calls that revoke, as their caller sees it, in microseconds.
    p50: u64,
    p99: u64,
    max: u64,
    calls: u64,
    late_accepts: u64,
}

/// Revokes this many keys in each case.
///
/// # Errors
/// Also if a key was believed in a call that started after its revoke had returned.
pub(crate) async fn run(
    tollgate: &Path,
    cases: &[Case],
    log: &str,
    rounds: u32,
    connections: u32,
) -> Result<(), Problem> {
    let tollgate = found(tollgate)?;
    let mut lines = Vec::new();
    for case in cases {
        eprintln!("starting: {}", case.title());
        let world = Doubled::start(&tollgate, log).await?;
        if *case == Case::Silent {
            world.silence().await?;
        }
        let rounds = if *case == Case::Stopped { rounds.div_ceil(FEWER) } else { rounds };
        lines.push(Line::of(*case, connections, &all(&world, *case, rounds, connections).await?));
    }
    print(&lines)?;
    match lines.iter().map(|line| line.late_accepts).sum() {
        0_u64 => Ok(()),
        late => Err(format!("{late} calls were accepted late").into()),
    }
}

async fn all(world: &Doubled, case: Case, rounds: u32, connections: u32) -> Result<Vec<Round>, Problem> {
    let first = Api::of_a_new_user(world.edges[0]).await?;
    let mut users = world.edges.map(|edge| first.at(edge));
    let mut done = Vec::new();
    for number in 0..rounds {
        // By either replica, if both work.
        let through = if case == Case::Stopped { 0 } else { number as usize % 2 };
        done.push(round(world, case, &mut users[through], connections).await?);
    }
    Ok(done)
}

async fn round(world: &Doubled, case: Case, user: &mut Api, connections: u32) -> Result<Round, Problem> {
    let key = user.key().await?;
    let hammer = Hammer::on(world.edges, &key.key, connections).await?;
    if case == Case::Stopped {
        world.pause(1)?;
    }
    let sent = Instant::now();
    let said = user.revoke(&key).await?;
    let returned = Instant::now();
    let ended = hammer.end(returned).await?;
    if case == Case::Stopped {
        world.resume(1)?;
        timeout(PATIENCE, in_service(world, &user.key().await?.key))
            .await
            .map_err(|_| "it does not heal")??;
    }
    let acknowledged = said["effective"] == "acknowledged";
    Ok(Round { took: returned - sent, acknowledged, calls: ended.calls, late: ended.late })
}

/// Waits until the second edge accepts a key.
async fn in_service(world: &Doubled, key: &str) -> Result<(), Problem> {
    let mut presenter = Presenter::new(world.edges[1], key)?;
    while presenter.present().await != Some(200) {}
    Ok(())
}

impl Case {
    const fn title(self) -> &'static str {
        match self {
            Self::Well => "all well",
            Self::Silent => "PostgreSQL notifies nobody",
            Self::Stopped => "one keys replica held still",
        }
    }
}

impl Line {
    fn of(case: Case, connections: u32, rounds: &[Round]) -> Self {
        let mut took: Vec<_> = rounds.iter().map(|round| round.took.as_micros()).collect();
        took.sort_unstable();
        let at = |percent: usize| u64::try_from(took[(took.len() - 1) * percent / 100]).unwrap_or(u64::MAX);
        Self {
            case,
            connections,
            revokes: rounds.len(),
            acknowledged: rounds.iter().filter(|round| round.acknowledged).count(),
            p50: at(50),
            p99: at(99),
            max: at(100),
            calls: rounds.iter().map(|round| round.calls).sum(),
            late_accepts: rounds.iter().map(|round| round.late).sum(),
        }
    }

    fn row(&self) -> String {
        let Self { connections, revokes, acknowledged, calls, late_accepts, .. } = self;
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(crate::report::millis);
        let title = self.case.title();
        format!(
            "| {title} | {revokes} | {connections} | {acknowledged} | {p50} | {p99} | {max} | {calls} | {late_accepts} |"
        )
    }
}

fn print(lines: &[Line]) -> Result<(), Problem> {
    eprintln!(
        "\n| case | revokes | connections | acknowledged | p50 ms | p99 ms | max ms | calls | late accepts |"
    );
    eprintln!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for line in lines {
        eprintln!("{}", line.row());
    }
    println!("{}", serde_json::to_string_pretty(lines)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_and_orders_its_rounds() {
        let round = |took, late| Round {
            took: Duration::from_millis(took),
            acknowledged: took < 100,
            calls: 7,
            late,
        };
        let rounds: Vec<_> = (1..=101).rev().map(|took| round(took, u64::from(took == 5))).collect();
        let line = Line::of(Case::Well, 64, &rounds);
        let expected = "| all well | 101 | 64 | 99 | 51.00 | 100.00 | 101.00 | 707 | 1 |";
        assert_eq!(line.row(), expected);
    }
}
