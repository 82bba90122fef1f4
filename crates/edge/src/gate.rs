//! The path of a call: 1. resolve the credential, 2. admit the call, 3. count it. First failure wins.
//!
//! The same composition answers all doors: the protected routes, `POST /v1/keys/verify`, the forward-auth gate and the Gate
//! service. What stands here decides and counts; how it is said is for the doors.

use std::{collections::HashMap, iter, net::IpAddr, sync::Arc};

use tollgate_kernel::{Clock, Code, Fault, Violation, WorkspaceId};
use tollgate_proto::{
    RateLimitHandle,
    fault::from_status,
    ratelimit::{
        Algorithm, Charge, CheckRequest, CheckResponse, Credit, Limit, LimitState, RefundRequest,
        ReserveRequest, SettleRequest, Tally,
    },
};
use tollgate_verify::{
    ConsumerGrant, Demand, Environment, Grant, INSTANCE, LiveToken, ScopeExpression, TokenRefusal,
    VerdictCode, Verifier,
};

use crate::{
    credits::{Lender, More},
    door::Door,
    principal::Principal,
    seen,
};

/// How often one call asks for credits that others spend before it can.
const MOST_QUESTIONS: usize = 64;

/// Resolves, admits and counts.
pub(crate) struct Gate {
    pub(crate) verifier: Verifier,
    pub(crate) ratelimit: RateLimitHandle,
    /// Sees to it that there are credits to spend.
    pub(crate) lender: Lender,
    pub(crate) clock: Arc<dyn Clock>,
    /// Of each user, on calls by access token.
    pub(crate) user_limit: Limit,
    /// What turns clients away before anybody is asked about them.
    pub(crate) door: Door,
    /// Whether answers carry the older `X-RateLimit-*`, too.
    pub(crate) legacy_headers: bool,
    /// Whether tallies say who called.
    pub(crate) record_client: bool,
}

/// What is asked of a key.
#[derive(Debug)]
pub(crate) struct Question {
    /// All of these are required.
    pub(crate) scopes: Vec<String>,
    /// Required too, if given.
    pub(crate) expression: Option<ScopeExpression>,
    /// Units.
    pub(crate) cost: u32,
    /// Where the call comes from.
    pub(crate) client_ip: Option<IpAddr>,
    /// Required of the key, if given.
    pub(crate) environment: Option<Environment>,
    /// Decide and report; count and charge nothing.
    pub(crate) dry_run: bool,
    /// Names the call, so that a retry is not charged again. Empty: none.
    pub(crate) request_id: String,
    /// What the client says of its program, as it is kept. Empty: not known.
    pub(crate) user_agent: String,
    /// What it costs is known afterwards only: for so many seconds it can be settled or refunded by its request id.
    pub(crate) reserve: Option<u32>,
}

impl Default for Question {
    /// One unit, and nothing required.
    fn default() -> Self {
        Self {
            scopes: Vec::new(),
            expression: None,
            cost: 1,
            client_ip: None,
            environment: None,
            dry_run: false,
            request_id: String::new(),
            user_agent: String::new(),
            reserve: None,
        }
    }
}

/// The answer about a key.
#[derive(Debug)]
pub(crate) struct KeyVerdict {
    pub(crate) code: VerdictCode,
    /// Absent if the key is malformed, unknown or foreign.
    pub(crate) grant: Option<Arc<Grant>>,
    /// Absent if the call was refused before it came to counting.
    pub(crate) count: Option<CheckResponse>,
}

impl Gate {
    /// Whether a key may make this call. `asker` is who asks about somebody's key, and is told nothing of a key that is not
    /// theirs; `None` if the key's own presenter asks.
    pub(crate) async fn key(
        &self,
        key: &str,
        asker: Option<&Principal>,
        question: &Question,
    ) -> Result<KeyVerdict, Fault> {
        let verdict = self.decide(key, asker, question).await?;
        metrics::counter!("tollgate_verdicts_total", "kind" => "key", "code" => verdict.code.as_str())
            .increment(1);
        Ok(verdict)
    }

    /// Whether an access token is valid. Counts nothing.
    pub(crate) async fn token(&self, token: &str) -> Result<Result<LiveToken, TokenRefusal>, Fault> {
        let verdict = self.verifier.token(token).await?;
        let code =
            verdict.as_ref().map_or_else(|refusal| VerdictCode::from(*refusal), |_| VerdictCode::Valid);
        metrics::counter!("tollgate_verdicts_total", "kind" => "token", "code" => code.as_str()).increment(1);
        Ok(verdict)
    }

    /// Counts one call by access token against its user's limit.
    pub(crate) async fn count_user(&self, token: &LiveToken) -> Result<CheckResponse, Fault> {
        let user = token.claims.user_id.to_string();
        let charge = Charge { limit: Some(self.user_limit.clone()), subject: user.clone(), cost: 1 };
        self.check(CheckRequest {
            partition: user.clone(),
            charges: vec![charge],
            tally: Some(Tally {
                subject: user,
                code: VerdictCode::Valid.as_str().to_owned(),
                ..Tally::default()
            }),
            ..CheckRequest::default()
        })
        .await
    }

    async fn decide(
        &self,
        key: &str,
        asker: Option<&Principal>,
        question: &Question,
    ) -> Result<KeyVerdict, Fault> {
        let grant = match self.verifier.presented(key).await? {
            Ok(grant) => grant,
            Err(code) => return Ok(self.nothing(code, question).await),
        };
        if let Some(asker) = asker
            && !self.may_ask(asker, grant.workspace_id).await?
        {
            // Counted for nobody: neither its workspace nor the instance learns what one tenant asks about another's key.
            return Ok(KeyVerdict::about_nothing(VerdictCode::NotFound));
        }
        if let Err(code) = grant.admit(&question.demand(), self.clock.now()) {
            self.tally_refusal(self.tally(&grant, code, question), question).await;
            return Ok(KeyVerdict { code, grant: Some(grant), count: None });
        }
        let count = self.count_key(&grant, question).await?;
        Ok(KeyVerdict { code: code_of(&count), grant: Some(grant), count: Some(count) })
    }

    /// A key's workspace may ask about it: its members, its service keys; and operators.
    async fn may_ask(&self, asker: &Principal, workspace: WorkspaceId) -> Result<bool, Fault> {
        match asker {
            Principal::ServiceKey(grant) => Ok(grant.workspace_id == workspace),
            Principal::User { operator: true, .. } => Ok(true),
            Principal::User { user_id, .. } => Ok(self.verifier.member(workspace, *user_id).await?.is_some()),
        }
    }

    async fn count_key(&self, grant: &Grant, question: &Question) -> Result<CheckResponse, Fault> {
        let cost = question.cost.into();
        let request = CheckRequest {
            charges: charges(grant, question.cost),
            peek: question.dry_run,
            request_id: question.request_id.clone(),
            credit: grant.credit_account_id.map(|id| Credit { account: id.to_string(), cost }),
            ..self.tally(grant, VerdictCode::Valid, question)
        };
        let ask =
            async |request| self.ask(request, question).await.map_err(|fault| of_question(fault, grant));
        let Some(account) = grant.credit_account_id else { return ask(request).await };
        for _ in 0..MOST_QUESTIONS {
            let count = ask(request.clone()).await?;
            let Some(lacking) = count.credit.filter(|credit| credit.denied) else { return Ok(count) };
            if let More::Empty { refill_at } = self.lender.more(account, cost.max(1), lacking.step).await? {
                let counted = self.tally(grant, VerdictCode::QuotaExceeded, question);
                self.tally_refusal(counted, question).await;
                let wait = refill_at.map_or(0, |at| (at - self.clock.now()).num_microseconds().unwrap_or(0));
                return Ok(CheckResponse { retry_after_us: wait.max(0).unsigned_abs(), ..count });
            }
        }
        Err(Fault::unavailable("credits are spent faster than they are lent"))
    }

    /// The verdict about what is no key, which is counted for the instance: one row in a minute of each such verdict, whatever
    /// is presented and by whomever.
    async fn nothing(&self, code: VerdictCode, question: &Question) -> KeyVerdict {
        let subject = INSTANCE.to_owned();
        let tally = Tally { subject, code: code.as_str().to_owned(), ..Tally::default() };
        let counted =
            CheckRequest { partition: INSTANCE.to_owned(), tally: Some(tally), ..CheckRequest::default() };
        self.tally_refusal(counted, question).await;
        KeyVerdict::about_nothing(code)
    }

    /// Decides a call as the question wants it: for good, or until it is settled.
    async fn ask(&self, request: CheckRequest, question: &Question) -> Result<CheckResponse, Fault> {
        let Some(hold_seconds) = question.reserve else { return self.check(request).await };
        let request = ReserveRequest { call: Some(request), hold_seconds };
        let answer = self.ratelimit.reserve(tonic::Request::new(request)).await;
        Ok(answer.map_err(from_status)?.into_inner())
    }

    /// Says what a reserved call of a workspace turned out to cost: no more than was reserved. None: nothing. `asker` is told
    /// nothing of a workspace that is not theirs.
    pub(crate) async fn settle(
        &self,
        asker: &Principal,
        workspace: WorkspaceId,
        request_id: String,
        cost: Option<u32>,
    ) -> Result<(), Fault> {
        if !self.may_ask(asker, workspace).await? {
            return Err(Fault::new(Code::NotFound, "There is no such workspace."));
        }
        let partition = workspace.to_string();
        let settled = match cost {
            Some(cost) => {
                // All limits and the credit, each at most what was reserved of it.
                let costs = HashMap::from([("*".to_owned(), cost.into())]);
                let request = SettleRequest { partition, request_id, costs };
                self.ratelimit.settle(tonic::Request::new(request)).await
            }
            None => self.ratelimit.refund(tonic::Request::new(RefundRequest { partition, request_id })).await,
        };
        let fault = settled.map(drop).map_err(from_status);
        fault.map_err(|fault| match fault.violated() {
            [wrong] if wrong.pointer.starts_with("/costs/") => {
                Fault::invalid("/cost", "must be at most what was reserved")
            }
            _ => fault,
        })
    }

    /// A refusal stands whether or not it could be counted.
    async fn tally_refusal(&self, counted: CheckRequest, question: &Question) {
        if question.dry_run {
            return;
        }
        if let Err(fault) = self.check(counted).await {
            tracing::warn!(?fault, "a refused call was not tallied");
        }
    }

    /// A call that is counted in the key's tally and charged to no limit.
    fn tally(&self, grant: &Grant, code: VerdictCode, question: &Question) -> CheckRequest {
        let network = question.client_ip.filter(|_| self.record_client).map(seen::network);
        let user_agent = if self.record_client { question.user_agent.clone() } else { String::new() };
        let consumer = grant.consumer.as_ref().map(|it| it.consumer_id.to_string());
        let tally = Tally {
            subject: grant.key_id.to_string(),
            code: code.as_str().to_owned(),
            // As it is at this moment: a key may be another consumer's tomorrow.
            group: consumer.unwrap_or_default(),
            network: network.unwrap_or_default(),
            user_agent,
        };
        CheckRequest {
            partition: grant.workspace_id.to_string(),
            tally: Some(tally),
            ..CheckRequest::default()
        }
    }

    async fn check(&self, request: CheckRequest) -> Result<CheckResponse, Fault> {
        let answer = self.ratelimit.check(tonic::Request::new(request)).await;
        Ok(answer.map_err(from_status)?.into_inner())
    }
}

impl Question {
    fn demand(&self) -> Demand<'_> {
        Demand {
            scopes: &self.scopes,
            expression: self.expression.as_ref(),
            client_ip: self.client_ip,
            environment: self.environment,
        }
    }
}

impl KeyVerdict {
    fn about_nothing(code: VerdictCode) -> Self {
        Self { code, grant: None, count: None }
    }
}

/// The verdict of the limits: a calendar limit that denies is a quota, and so are credits.
pub(crate) fn code_of(count: &CheckResponse) -> VerdictCode {
    let denied = count.limits.iter().find(|it| count.denied_by.as_deref() == Some(&it.name));
    let lacks_credits = count.credit.as_ref().is_some_and(|credit| credit.denied);
    match denied.map(LimitState::algorithm) {
        _ if count.allowed => VerdictCode::Valid,
        _ if lacks_credits => VerdictCode::QuotaExceeded,
        Some(Algorithm::Calendar) => VerdictCode::QuotaExceeded,
        _ => VerdictCode::RateLimited,
    }
}

/// One charge per limit of the key, then of its consumer, then of its workspace: decided together, so that a call that one of
/// them denies is charged to none. A shadow limit is charged what it can take: it denies nothing.
fn charges(grant: &Grant, cost: u32) -> Vec<Charge> {
    let cost = u64::from(cost);
    let charge = |((level, limit), subject): ((&str, &Limit), String)| {
        let cost = if limit.shadow { cost.min(most(limit)) } else { cost };
        Charge { cost, limit: Some(named(level, limit)), subject }
    };
    limits(grant).zip(subjects(grant)).map(charge).collect()
}

/// A cost that a limit never allows is the asker's mistake, and they know limits by their names.
fn of_question(fault: Fault, grant: &Grant) -> Fault {
    let position = |it: &Violation| {
        // A reserved call is one of two parts of its request.
        let in_call = it.pointer.strip_prefix("/call").unwrap_or(&it.pointer);
        in_call.strip_prefix("/charges/")?.strip_suffix("/cost")?.parse::<usize>().ok()
    };
    let limit = fault.violated().iter().find_map(position).and_then(|at| limits(grant).nth(at));
    limit.map_or(fault, |(level, limit)| {
        Fault::invalid("/cost", format!("is more than the limit `{level}{}` ever allows", limit.name))
    })
}

/// The limits of all levels, those of the key first, each with what its name begins with to say the level.
pub(crate) fn limits(grant: &Grant) -> impl Iterator<Item = (&'static str, &Limit)> {
    let of_key = grant.limits.iter().map(|limit| ("", limit));
    let of_consumer = grant.consumer.iter().flat_map(|it| &it.limits).map(|limit| ("consumer.", limit));
    let of_workspace = grant.workspace_limits.iter().map(|limit| ("workspace.", limit));
    of_key.chain(of_consumer).chain(of_workspace)
}

/// A limit as it is called when limits of several levels are charged.
fn named(level: &str, limit: &Limit) -> Limit {
    Limit { name: format!("{level}{}", limit.name), calendar: limit.calendar.clone(), ..*limit }
}

/// Of each of these limits, whom all have in common who share it.
fn subjects(grant: &Grant) -> impl Iterator<Item = String> {
    let of_key = iter::repeat_n(grant.key_id.to_string(), grant.limits.len());
    let shared = |it: &ConsumerGrant| iter::repeat_n(it.consumer_id.to_string(), it.limits.len());
    let of_consumer = grant.consumer.iter().flat_map(shared);
    of_key.chain(of_consumer).chain(iter::repeat(grant.workspace_id.to_string()))
}

/// The most that one call can take: of a bucket, what it holds.
fn most(limit: &Limit) -> u64 {
    match limit.algorithm() {
        Algorithm::TokenBucket if limit.burst != 0 => limit.burst,
        _ => limit.limit,
    }
}
