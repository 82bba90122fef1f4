//! Usage as it is asked for: counts by the minute, hour or day.

use std::ops::Range;

use chrono::{DateTime, TimeDelta};
use tollgate_kernel::{Fault, KeyId, Timestamp, WorkspaceId};
use tollgate_proto::{keys as wire, time::to_wire};

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    input::{self, Problems},
    store::{Step, UsageRow},
};

/// The most points in one answer, and the most steps between `from` and `to`.
const MAX_POINTS: u16 = 10_000;
const DEFAULT_SPAN: TimeDelta = TimeDelta::hours(24);

/// The minutes that are asked for, and how many of them make a point.
struct Question {
    minutes: Range<i64>,
    step: Step,
}

impl Question {
    fn parse(message: &wire::GetUsageRequest, now: Timestamp) -> Result<Self, Fault> {
        let mut problems = Problems::default();
        let step = step(message.granularity, &mut problems);
        let to = input::instant(message.to, "/to", &mut problems);
        let from = input::instant(message.from, "/from", &mut problems);
        // The present minute is part of "until now".
        let end = to.map_or_else(|| minute_of(now) + 1, |to| minute_of(to - TimeDelta::microseconds(1)) + 1);
        let start = minute_of(from.unwrap_or_else(|| to.unwrap_or(now) - DEFAULT_SPAN));
        if start >= end {
            problems.add("/from", "must be before `to`");
        } else if end.div_euclid(step.minutes()) - start.div_euclid(step.minutes()) > MAX_POINTS.into() {
            problems.add("/granularity", too_many());
        }
        problems.check()?;
        Ok(Self { minutes: start..end, step })
    }
}

impl KeysService {
    pub(crate) async fn get_usage(
        &self,
        message: wire::GetUsageRequest,
    ) -> Result<wire::GetUsageResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let question = Question::parse(&message, self.clock.now())?;
        let ((key, _, last_used), standing) = self.key_for(&caller, &message.key_id).await?;
        standing.require(Action::ReadUsage, "key")?;
        let partition = WorkspaceId::from(key.workspace_id).to_string();
        let subject = KeyId::from(key.id).to_string();
        let Question { minutes, step } = question;
        let rows =
            self.store.usage_of(&partition, &subject, minutes, step, i64::from(MAX_POINTS) + 1).await?;
        if rows.len() > MAX_POINTS.into() {
            return Err(Fault::invalid("/granularity", too_many()));
        }
        let points: Vec<_> = rows.into_iter().map(point).collect::<Result<_, _>>()?;
        Ok(wire::GetUsageResponse {
            total: points.iter().map(|point| point.count).sum(),
            points,
            last_used_at: last_used.map(|at| to_wire(at.0)),
        })
    }
}

fn step(number: i32, problems: &mut Problems) -> Step {
    match wire::Granularity::try_from(number) {
        Ok(wire::Granularity::Unspecified | wire::Granularity::Minute) => Step::Minute,
        Ok(wire::Granularity::Hour) => Step::Hour,
        Ok(wire::Granularity::Day) => Step::Day,
        Err(_) => {
            problems.add("/granularity", "must be `minute`, `hour` or `day`");
            Step::Minute
        }
    }
}

/// Minutes since 1970.
pub(crate) fn minute_of(at: Timestamp) -> i64 {
    at.timestamp().div_euclid(60)
}

fn too_many() -> String {
    format!("gives more than {MAX_POINTS} points; ask for a shorter span or a coarser granularity")
}

fn point((minute, code, count): UsageRow) -> Result<wire::UsagePoint, Fault> {
    let at =
        DateTime::from_timestamp(minute * 60, 0).ok_or_else(|| Fault::internal("a minute out of range"))?;
    let count = u64::try_from(count).map_err(Fault::internal)?;
    Ok(wire::UsagePoint { at: Some(to_wire(at)), code, count })
}
