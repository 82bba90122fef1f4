//! Steps of accounts of credits, in Redis.

use super::{super::Undecided, Redis, script::Invocation};
use crate::{
    call::Move,
    engine::{Credit, StepKind},
};

impl Redis {
    /// Makes a step; and how the account stands after it, if it is there.
    pub(in super::super) async fn make(&self, step: &Move) -> Result<Option<Credit>, Undecided> {
        let partition = &*step.partition;
        let mut script = self.prepare(&self.scripts.credit, [self.state(partition, &step.key)]);
        arguments(&mut script, step);
        let reply: Vec<u64> = self.run(partition, &script).await?;
        match *reply {
            [] => Ok(None),
            [epoch, left, behind, step, withdrawn] => {
                Ok(Some(Credit { epoch, left, behind, step, withdrawn }))
            }
            _ => Err(Undecided::Gone("the reply is not one of credit.lua".into())),
        }
    }
}

/// The arguments after the time, as `credit.lua` says.
fn arguments(script: &mut Invocation<'_>, Move { step, .. }: &Move) {
    let (kind, amount, behind) = match step.kind {
        StepKind::Open { behind } => ("o", 0, behind),
        StepKind::Deposit { amount, behind } => ("d", amount, behind),
        StepKind::Withdraw => ("w", 0, None),
    };
    script.arg(kind).arg(step.epoch).arg(step.number).arg(amount);
    script.arg(behind.map(|behind| behind.to_string()).unwrap_or_default());
}
