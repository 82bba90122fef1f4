//! Where the primary is, by the Sentinels that watch it. They are asked again at every attempt to connect, so that a failover
//! is followed.

use std::{collections::HashMap, sync::Arc};

use ::redis::{ConnectionInfo, cmd};
use tokio::{task::JoinSet, time::timeout};

use super::{
    address::{self, Sentinels},
    link::Failure,
    server::Setup,
    wire::dial,
};

/// A host and a port.
type Named = (String, u16);

/// The primary as most of the Sentinels know it that answer within half of the time to connect. The answer may be old: who
/// connects looks at the role of what is there.
pub(super) async fn primary(from: &Sentinels, setup: &Arc<Setup>) -> Result<ConnectionInfo, Failure> {
    let patience = setup.pace.connect_timeout / 2;
    let mut asked = JoinSet::new();
    for sentinel in &from.at {
        asked.spawn(timeout(patience, ask(sentinel.clone(), from.name.clone(), setup.clone())));
    }
    let mut failure = Failure::Late;
    let mut votes: HashMap<Named, usize> = HashMap::new();
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(Ok(named))) => *votes.entry(named).or_default() += 1,
            Ok(Ok(Err(why))) => failure = why,
            _ => {}
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    let ((host, port), _) = most.ok_or(failure)?;
    address::at(&host, port, &from.login).ok_or(Failure::Down)
}

async fn ask(sentinel: ConnectionInfo, name: String, setup: Arc<Setup>) -> Result<Named, Failure> {
    let wire = dial(&sentinel, &setup).await?;
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let named: Option<Named> = wire.query(&question).await?;
    named.ok_or(Failure::Unfit("the Sentinels know no primary of this name"))
}
