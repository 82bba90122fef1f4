//! Usage as it is asked for: counts by the minute, hour or day, of a key, a consumer, a workspace, or the instance.

use std::ops::Range;

use chrono::{DateTime, TimeDelta};
use tollgate_kernel::{ConsumerId, Fault, KeyId, Timestamp, WorkspaceId};
use tollgate_proto::{keys as wire, time::to_wire};
use tollgate_verify::{Environment, INSTANCE};

use crate::{
    KeysService,
    access::{Action, forbidden},
    caller::{Caller, Principal},
    input::{self, Problems},
    store::{Grouping, Step, UsageFilter, UsageRow},
};

/// The most points in one answer, and the most steps between `from` and `to`.
const MAX_POINTS: u16 = 10_000;
const MAX_GROUPS: u32 = 100;
const DEFAULT_GROUPS: u32 = 25;
const CODE_CHARACTERS: usize = 64;
const DEFAULT_SPAN: TimeDelta = TimeDelta::hours(24);

/// Whole steps.
struct Span {
    minutes: Range<i64>,
    step: Step,
}

impl Span {
    fn parse(message: Option<wire::UsageSpan>, now: Timestamp, problems: &mut Problems) -> Self {
        let message = message.unwrap_or_default();
        let step = step(message.granularity, problems);
        let to = input::instant(message.to, "/to", problems);
        let from = input::instant(message.from, "/from", problems);
        // The present minute is part of "until now".
        let end = to.map_or_else(|| minute_of(now), |to| minute_of(to - TimeDelta::microseconds(1))) + 1;
        let start = minute_of(from.unwrap_or_else(|| to.unwrap_or(now) - DEFAULT_SPAN));
        if start >= end {
            problems.add("/from", "must be before `to`");
        }
        let minutes = step.of(start)..step.of(end - 1) + step.minutes();
        if (minutes.end - minutes.start) / step.minutes() > MAX_POINTS.into() {
            problems.add("/granularity", too_many());
        }
        Self { minutes, step }
    }

    fn filter(self, partition: String) -> UsageFilter {
        let Self { minutes, step } = self;
        let (subject, consumer, code, environment) = (None, None, None, None);
        UsageFilter { partition, subject, consumer, code, environment, minutes, step }
    }
}

/// What is asked of a whole workspace, or of the instance.
struct Question {
    instance: bool,
    workspace: Option<WorkspaceId>,
    key: Option<KeyId>,
    consumer: Option<ConsumerId>,
    code: Option<String>,
    environment: Option<Environment>,
    span: Span,
    grouping: Option<Grouping>,
    groups: u32,
}

impl Question {
    fn parse(message: wire::GetWorkspaceUsageRequest, now: Timestamp) -> Result<Self, Fault> {
        let mut problems = Problems::default();
        let it = &mut problems;
        let instance = scope_is_instance(message.scope, it);
        let grouping = grouping(message.group_by, it);
        let question = Self {
            instance,
            workspace: input::id(&message.workspace_id, "/workspace_id", it),
            key: input::id(&message.key_id, "/key_id", it),
            consumer: input::id(&message.consumer_id, "/consumer_id", it),
            environment: input::known_environment(message.environment, it),
            span: Span::parse(message.span, now, it),
            grouping,
            groups: if message.limit == 0 { DEFAULT_GROUPS } else { message.limit },
            code: (!message.code.is_empty()).then_some(message.code),
        };
        let word = |code: &String| {
            let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            code.len() <= CODE_CHARACTERS && code.bytes().all(plain)
        };
        if !question.code.as_ref().is_none_or(word) {
            it.add("/code", "must be 1 to 64 characters of A-Z, 0-9 and `_`");
        }
        if question.groups > MAX_GROUPS {
            it.add("/limit", format!("must be at most {MAX_GROUPS}"));
        } else if message.limit != 0 && question.grouping.is_none() {
            it.add("/limit", "goes with `group_by` only");
        }
        if instance {
            let named = [
                ("/workspace_id", question.workspace.is_some()),
                ("/key_id", question.key.is_some()),
                ("/consumer_id", question.consumer.is_some()),
                ("/environment", question.environment.is_some()),
                ("/group_by", matches!(question.grouping, Some(Grouping::Key | Grouping::Consumer))),
            ];
            for (pointer, _) in named.into_iter().filter(|(_, named)| *named) {
                it.add(pointer, "does not go with the scope of the instance");
            }
        }
        problems.check()?;
        Ok(question)
    }

    fn filter(self, partition: String) -> UsageFilter {
        UsageFilter {
            subject: self.key.map(|id| id.to_string()),
            consumer: self.consumer.map(|id| id.to_string()),
            code: self.code,
            environment: self.environment,
            ..self.span.filter(partition)
        }
    }
}

impl KeysService {
    pub(crate) async fn get_usage(
        &self,
        message: wire::GetUsageRequest,
    ) -> Result<wire::GetUsageResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let span = Span::parse(message.span, self.clock.now(), &mut problems);
        problems.check()?;
        let ((key, _, last_used, _), standing) = self.key_for(&caller, &message.key_id).await?;
        standing.require(Action::ReadUsage, "key")?;
        let partition = WorkspaceId::from(key.workspace_id).to_string();
        let subject = Some(KeyId::from(key.id).to_string());
        let (points, total) = self.points(&UsageFilter { subject, ..span.filter(partition) }).await?;
        Ok(wire::GetUsageResponse { points, total, last_used_at: last_used.map(|it| to_wire(it.at.0)) })
    }

    pub(crate) async fn get_consumer_usage(
        &self,
        message: wire::GetConsumerUsageRequest,
    ) -> Result<wire::GetConsumerUsageResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let span = Span::parse(message.span, self.clock.now(), &mut problems);
        let environment = input::known_environment(message.environment, &mut problems);
        problems.check()?;
        let (row, standing) = self.consumer_for(&caller, &message.consumer_id).await?;
        standing.require(Action::ReadUsage, "consumer")?;
        let partition = WorkspaceId::from(row.workspace_id).to_string();
        let consumer = Some(ConsumerId::from(row.id).to_string());
        let filter = UsageFilter { consumer, environment, ..span.filter(partition) };
        let (points, total) = self.points(&filter).await?;
        Ok(wire::GetConsumerUsageResponse { points, total })
    }

    pub(crate) async fn get_workspace_usage(
        &self,
        mut message: wire::GetWorkspaceUsageRequest,
    ) -> Result<wire::GetWorkspaceUsageResponse, Fault> {
        let caller = Caller::try_from(message.caller.take())?;
        let question = Question::parse(message, self.clock.now())?;
        let partition = if question.instance {
            if !matches!(caller.principal, Principal::User { operator: true, .. }) {
                return Err(forbidden());
            }
            INSTANCE.to_owned()
        } else {
            let (workspace, standing) = self.workspace_of(&caller, question.workspace).await?;
            standing.require(Action::ReadUsage, "workspace")?;
            workspace.to_string()
        };
        let (grouping, most) = (question.grouping, question.groups);
        let filter = question.filter(partition);
        let Some(grouping) = grouping else {
            let (points, total) = self.points(&filter).await?;
            return Ok(wire::GetWorkspaceUsageResponse { points, total, groups: Vec::new() });
        };
        let rows = self.store.usage_groups(&filter, grouping, most.into()).await?;
        let total = rows.first().map_or(Ok(0), |(_, _, total)| number(*total))?;
        let group = |(name, count, _)| Ok(wire::UsageGroup { name, count: number(count)? });
        let groups = rows.into_iter().map(group).collect::<Result<_, Fault>>()?;
        Ok(wire::GetWorkspaceUsageResponse { points: Vec::new(), groups, total })
    }

    /// The points, and what they add up to.
    async fn points(&self, filter: &UsageFilter) -> Result<(Vec<wire::UsagePoint>, u64), Fault> {
        let rows = self.store.usage_points(filter, i64::from(MAX_POINTS) + 1).await?;
        if rows.len() > MAX_POINTS.into() {
            return Err(Fault::invalid("/granularity", too_many()));
        }
        let points: Vec<_> = rows.into_iter().map(point).collect::<Result<_, _>>()?;
        let total = points.iter().map(|point| point.count).sum();
        Ok((points, total))
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

fn grouping(number: i32, problems: &mut Problems) -> Option<Grouping> {
    match wire::UsageGrouping::try_from(number) {
        Ok(wire::UsageGrouping::Unspecified) => None,
        Ok(wire::UsageGrouping::Key) => Some(Grouping::Key),
        Ok(wire::UsageGrouping::Consumer) => Some(Grouping::Consumer),
        Ok(wire::UsageGrouping::Code) => Some(Grouping::Code),
        Err(_) => {
            problems.add("/group_by", "must be `key`, `consumer` or `code`");
            None
        }
    }
}

fn scope_is_instance(number: i32, problems: &mut Problems) -> bool {
    match wire::UsageScope::try_from(number) {
        Ok(wire::UsageScope::Unspecified | wire::UsageScope::Workspace) => false,
        Ok(wire::UsageScope::Instance) => true,
        Err(_) => {
            problems.add("/scope", "must be `workspace` or `instance`");
            false
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

fn number(count: i64) -> Result<u64, Fault> {
    u64::try_from(count).map_err(Fault::internal)
}

fn point((minute, code, count): UsageRow) -> Result<wire::UsagePoint, Fault> {
    let at =
        DateTime::from_timestamp(minute * 60, 0).ok_or_else(|| Fault::internal("a minute out of range"))?;
    Ok(wire::UsagePoint { at: Some(to_wire(at)), code, count: number(count)? })
}
