//! What Envoy asks, decided by counters in memory; and where counters must say what they have not learnt yet, by a script.

use std::{
    collections::HashSet,
    slice::from_ref,
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use tollgate_kernel::{Clock as _, OsEntropy};
use tollgate_proto::{
    RateLimit,
    envoy::{
        descriptors::{
            RateLimitDescriptor,
            rate_limit_descriptor::{Entry, RateLimitOverride},
        },
        ratelimit::{
            RateLimitRequest, RateLimitResponse,
            rate_limit_response::{Code, DescriptorStatus, rate_limit::Unit},
            rate_limit_service_server::RateLimitService as _,
        },
        types::RateLimitUnit,
    },
    ratelimit::{self as wire, CheckRequest, CheckResponse, LimitState},
    time,
};
use tollgate_testkit::MockClock;
use tonic::{Request, Response, Status};

use super::{Domains, EnvoyService, question::Question};
use crate::{RateLimitService, Settings, Store};

const FILE: &str = r#"
    [[domain]]
    name = "api"
    [[domain.rule]]
    name = "address"
    match = ["remote_address"]
    limit = 2
    window_seconds = 60
    [[domain.rule]]
    name = "tester"
    match = ["plan=test", "path"]
    limit = 1
    window_seconds = 3600
    [[domain.rule]]
    name = "login"
    match = ["plan", "path=/login"]
    limit = 1
    window_seconds = 90
    [[domain.rule]]
    name = "watched"
    match = ["watched"]
    limit = 1
    window_seconds = 1
    shadow = true
"#;

fn domains(text: &str) -> Domains {
    Domains::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

async fn envoy() -> EnvoyService {
    let settings = Settings { store: Store::Memory { max_states: 1000, snapshot: None } };
    let counters = RateLimitService::open(settings, MockClock::new(), Arc::new(OsEntropy)).expect("memory");
    EnvoyService::open(domains(FILE), Arc::new(counters)).await.expect("limits that the role takes")
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}

fn request(descriptors: &[RateLimitDescriptor]) -> RateLimitRequest {
    RateLimitRequest { domain: "api".into(), descriptors: descriptors.to_vec(), hits_addend: 0 }
}

async fn ask(envoy: &EnvoyService, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
    Ok(envoy.should_rate_limit(Request::new(request)).await?.into_inner())
}

async fn passes(envoy: &EnvoyService, descriptors: &[RateLimitDescriptor]) -> bool {
    ask(envoy, request(descriptors)).await.expect("an answer").overall_code() == Code::Ok
}

#[tokio::test]
async fn each_value_has_its_own_counter_and_a_denial_says_when_to_come_back() {
    let envoy = envoy().await;
    let (one, other) = (descriptor(&[("remote_address", "1")]), descriptor(&[("remote_address", "2")]));
    let first = ask(&envoy, request(from_ref(&one))).await.expect("an answer");
    let status = &first.statuses[0];
    let limit = status.current_limit.as_ref().expect("a limit");
    assert_eq!((limit.name.as_str(), limit.requests_per_unit, limit.unit()), ("address", 2, Unit::Minute));
    assert_eq!((status.code(), status.limit_remaining), (Code::Ok, 1));
    assert_eq!(status.duration_until_reset.map(|it| it.seconds), Some(60));
    assert!(passes(&envoy, from_ref(&one)).await && first.response_headers_to_add.is_empty());

    let denied = ask(&envoy, request(&[one])).await.expect("an answer");
    assert_eq!((denied.overall_code(), denied.statuses[0].limit_remaining), (Code::OverLimit, 0));
    let header = &denied.response_headers_to_add[0];
    assert_eq!((header.key.as_str(), header.value.as_str()), ("retry-after", "60"));
    assert!(passes(&envoy, &[other]).await);
}

#[tokio::test]
async fn what_no_rule_names_passes() {
    let envoy = envoy().await;
    for entries in [
        &[("remote_address", "1"), ("path", "/")][..],
        &[("path", "/"), ("remote_address", "1")],
        &[("something", "else")],
        &[("plan", "gold"), ("path", "/")],
    ] {
        let answer = ask(&envoy, request(&[descriptor(entries)])).await.expect("an answer");
        assert_eq!((answer.overall_code(), answer.statuses[0].code()), (Code::Ok, Code::Ok));
        assert_eq!(answer.statuses[0].current_limit, None, "{entries:?}");
    }
    let elsewhere = RateLimitRequest { domain: "other".into(), ..request(&[descriptor(&[("a", "b")])]) };
    let answer = ask(&envoy, elsewhere).await.expect("an answer");
    assert_eq!((answer.overall_code(), answer.statuses.len()), (Code::Ok, 1));
}

#[tokio::test]
async fn of_two_rules_the_one_with_the_earlier_value_wins() {
    let domains = domains(FILE);
    let api = domains.get("api").expect("there");
    let rule =
        |entries: &[(&str, &str)]| api.rule(&descriptor(entries).entries).map(|rule| rule.limit.name.clone());
    assert_eq!(rule(&[("plan", "test"), ("path", "/login")]).as_deref(), Some("tester"));
    assert_eq!(rule(&[("plan", "gold"), ("path", "/login")]).as_deref(), Some("login"));
    assert_eq!(rule(&[("plan", "test"), ("path", "/")]).as_deref(), Some("tester"));
}

#[tokio::test]
async fn a_request_is_charged_to_all_of_its_descriptors_or_to_none() {
    let envoy = envoy().await;
    let (tester, address) =
        (descriptor(&[("plan", "test"), ("path", "/")]), descriptor(&[("remote_address", "1")]));
    assert!(passes(&envoy, &[tester.clone(), address.clone()]).await);
    for _ in 0..5 {
        assert!(!passes(&envoy, &[tester.clone(), address.clone()]).await);
    }
    assert!(passes(&envoy, from_ref(&address)).await, "the denied ones did not count");
    assert!(!passes(&envoy, &[address]).await);
}

#[tokio::test]
async fn hits_are_the_request_s_or_the_descriptor_s_own() {
    let envoy = envoy().await;
    let of = |address: &str| descriptor(&[("remote_address", address)]);
    let left = async |descriptors: &[RateLimitDescriptor], hits_addend: u32| {
        let answer = ask(&envoy, RateLimitRequest { hits_addend, ..request(descriptors) }).await;
        let answer = answer.expect("an answer");
        (answer.overall_code(), answer.statuses[0].limit_remaining)
    };
    let own = |hits| RateLimitDescriptor { hits_addend: Some(hits), ..of("own") };
    assert_eq!(left(&[of("two")], 2).await, (Code::Ok, 0));
    assert_eq!(left(&[own(1)], 2).await, (Code::Ok, 1));
    assert_eq!(left(&[own(0)], 2).await, (Code::Ok, 1), "none, and asks for room");
    assert_eq!(left(&[own(1)], 2).await, (Code::Ok, 0));
    assert_eq!(left(&[own(0)], 2).await.0, Code::OverLimit);
    // Twice the same: both together.
    assert_eq!(left(&[of("same"), of("same")], 1).await, (Code::Ok, 0));
    // More than there ever is.
    let answer = ask(&envoy, RateLimitRequest { hits_addend: 3, ..request(&[of("new")]) }).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.overall_code(), answer.statuses[0].code()), (Code::OverLimit, Code::OverLimit));
    assert!(answer.response_headers_to_add.is_empty(), "there is nothing to wait for");
    assert_eq!(left(&[of("new")], 2).await, (Code::Ok, 0), "and nothing was charged");
}

#[tokio::test]
async fn what_there_ever_is_may_be_said_otherwise_for_one() {
    let clock = MockClock::new();
    let settings = Settings { store: Store::Memory { max_states: 1000, snapshot: None } };
    let counters = RateLimitService::open(settings, clock.clone(), Arc::new(OsEntropy)).expect("memory");
    let envoy = EnvoyService::open(domains(FILE), Arc::new(counters)).await.expect("limits");
    let of = |address: &str| request(&[descriptor(&[("remote_address", address)])]);
    let put = async |address: &str, limit: u64| {
        let (domain, expires) = (envoy.domains.get("api").expect("there"), clock.now() + TimeDelta::hours(1));
        let charge = Question::new(domain, &of(address)).expect("a question").planned[0].charge();
        let other = wire::Override {
            subject: charge.subject,
            name: "address".into(),
            limit,
            expires_at: Some(time::to_wire(expires)),
        };
        let request = wire::PutOverrideRequest { partition: domain.partition(), r#override: Some(other) };
        envoy.counters.put_override(Request::new(request)).await.expect("taken");
    };
    let code = async |address: &str, hits_addend: u32| {
        let answer = ask(&envoy, RateLimitRequest { hits_addend, ..of(address) }).await.expect("an answer");
        (answer.overall_code(), answer.response_headers_to_add.len())
    };
    put("more", 5).await;
    assert_eq!(code("more", 5).await, (Code::Ok, 0), "the rule says 2");
    assert_eq!(code("more", 5).await, (Code::OverLimit, 1), "it passes when that is forgotten");
    assert_eq!(code("more", 6).await, (Code::OverLimit, 0), "it never passes");
    put("less", 1).await;
    assert_eq!(code("less", 2).await, (Code::OverLimit, 1), "it passes when that ends");
    assert_eq!(code("less", 1).await, (Code::Ok, 0), "and nothing was charged");
}

#[tokio::test]
async fn a_descriptor_may_bring_its_limit() {
    let envoy = envoy().await;
    let bring = |key: &str, requests_per_unit, unit: RateLimitUnit| RateLimitDescriptor {
        limit: Some(RateLimitOverride { requests_per_unit, unit: unit.into() }),
        ..descriptor(&[(key, "1")])
    };
    for key in ["remote_address", "unheard_of"] {
        let three = bring(key, 3, RateLimitUnit::Month);
        for remaining in [2, 1, 0] {
            let answer = ask(&envoy, request(from_ref(&three))).await.expect("an answer");
            let limit = answer.statuses[0].current_limit.as_ref().expect("a limit");
            assert_eq!((limit.name.as_str(), limit.requests_per_unit), ("override", 3));
            assert_eq!((limit.unit(), answer.statuses[0].limit_remaining), (Unit::Month, remaining));
        }
        assert!(!passes(&envoy, &[three]).await);
        let nothing = ask(&envoy, request(&[bring(key, 0, RateLimitUnit::Day)])).await.expect("an answer");
        assert_eq!((nothing.overall_code(), nothing.statuses[0].code()), (Code::OverLimit, Code::OverLimit));
    }
    assert!(passes(&envoy, &[bring("watched", 0, RateLimitUnit::Day)]).await, "its rule is a shadow");
    let nameless = ask(&envoy, request(&[bring("a", 1, RateLimitUnit::Unknown)])).await.expect_err("refused");
    assert_eq!(nameless.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let envoy = envoy().await;
    let back = RateLimitDescriptor { is_negative_hits: true, ..descriptor(&[("remote_address", "1")]) };
    let many: Vec<_> = (0..33).map(|it| descriptor(&[("remote_address", &it.to_string())])).collect();
    for (descriptors, code) in [
        (vec![descriptor(&[])], tonic::Code::InvalidArgument),
        (vec![back], tonic::Code::Unimplemented),
        (many, tonic::Code::InvalidArgument),
    ] {
        assert_eq!(ask(&envoy, request(&descriptors)).await.expect_err("refused").code(), code);
    }
}

/// Counters that answer as they are told, and remember what they were asked.
struct Script {
    answer: Result<CheckResponse, Status>,
    asked: Mutex<Vec<CheckRequest>>,
}

#[async_trait::async_trait]
impl RateLimit for Script {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.asked.lock().expect("not poisoned").push(request.into_inner());
        self.answer.clone().map(Response::new)
    }
}

async fn scripted(text: &str, answer: Result<CheckResponse, Status>) -> (EnvoyService, Arc<Script>) {
    let script = Arc::new(Script { answer, asked: Mutex::default() });
    let envoy = EnvoyService::open(domains(text), script.clone()).await.expect("it opens");
    script.asked.lock().expect("not poisoned").clear();
    (envoy, script)
}

#[tokio::test]
async fn each_descriptor_hears_whether_it_stood_in_the_way() {
    let state = |exceeded, shadow| LimitState { limit: 7, exceeded, shadow, ..LimitState::default() };
    let answer = CheckResponse {
        allowed: false,
        denied_by: Some("address".into()),
        retry_after_us: 1_000_001,
        limits: vec![state(false, false), state(true, false), state(true, true)],
        ..CheckResponse::default()
    };
    let (envoy, script) = scripted(FILE, Ok(answer)).await;
    let [free, one, other, watched] =
        [("x", "1"), ("remote_address", "1"), ("remote_address", "2"), ("watched", "1")]
            .map(|entry| descriptor(&[entry]));
    let said = ask(&envoy, request(&[free, one, other, watched])).await.expect("an answer");
    let codes: Vec<_> = said.statuses.iter().map(DescriptorStatus::code).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::OverLimit, Code::Ok]);
    assert_eq!((said.overall_code(), said.response_headers_to_add[0].value.as_str()), (Code::OverLimit, "2"));

    let asked = script.asked.lock().expect("not poisoned").pop().expect("one call");
    assert_eq!((asked.partition.as_str(), asked.charges.len(), asked.peek), ("envoy:api", 3, false));
    let subjects: HashSet<_> = asked.charges.iter().map(|it| &it.subject).collect();
    assert_eq!(subjects.len(), 3);
    assert!(subjects.iter().all(|it| it.len() == 43 && it.bytes().all(|byte| byte.is_ascii_graphic())));
}

#[tokio::test]
async fn entries_do_not_run_together() {
    let allowed = Ok(CheckResponse { allowed: true, ..CheckResponse::default() });
    let file =
        "[[domain]]\nname = \"api\"\n[[domain.rule]]\nname = \"two\"\nmatch = [\"a\", \"b\"]\nlimit = 1\n";
    let (envoy, script) = scripted(file, allowed).await;
    for entries in [[("a", "1"), ("b", "23")], [("a", "12"), ("b", "3")], [("a", "1\u{0}é {}"), ("b", "")]] {
        assert!(passes(&envoy, &[descriptor(&entries)]).await);
    }
    let asked = script.asked.lock().expect("not poisoned");
    let subjects: HashSet<_> = asked.iter().map(|it| &it.charges[0].subject).collect();
    assert_eq!(subjects.len(), 3);
}

#[tokio::test]
async fn counters_that_fail_are_no_answer() {
    let (envoy, _) = scripted(FILE, Err(Status::internal("the disk is on fire"))).await;
    let status = ask(&envoy, request(&[descriptor(&[("watched", "1")])])).await.expect_err("no answer");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(!status.message().contains("fire"));
    assert!(passes(&envoy, &[descriptor(&[("unlimited", "1")])]).await, "nothing had to be counted");
}

#[test]
fn every_algorithm_is_read() {
    let text = r#"
        [[domain]]
        name = "api"
        [[domain.rule]]
        name = "bucket"
        match = ["a"]
        limit = 5
        window_seconds = 60
        algorithm = "token_bucket"
        burst = 50
        on_failure = "deny"
        [[domain.rule]]
        name = "month"
        match = ["b=1=2"]
        limit = 5
        algorithm = "calendar"
        period = "month"
        time_zone = "Europe/Berlin"
        anchor_day = 15
        on_failure = "allow"
        shadow = true
    "#;
    let domains = domains(text);
    let limits: Vec<_> = domains.limits().collect();
    let bucket = &limits.iter().find(|it| it.2.name == "bucket").expect("there").2;
    assert_eq!((bucket.algorithm(), bucket.burst), (wire::Algorithm::TokenBucket, 50));
    assert_eq!((bucket.on_failure(), bucket.window_seconds), (wire::OnFailure::Deny, 60));
    let (place, partition, month) = limits.iter().find(|it| it.2.name == "month").expect("there");
    let calendar = month.calendar.as_ref().expect("a calendar");
    assert_eq!((place.as_str(), partition.as_str()), ("domain 1 (`api`), rule 2", "envoy:api"));
    assert_eq!((month.algorithm(), month.on_failure()), (wire::Algorithm::Calendar, wire::OnFailure::Allow));
    assert_eq!((calendar.period(), calendar.anchor_day), (wire::Period::Month, 15));
    assert_eq!((calendar.time_zone.as_str(), month.shadow), ("Europe/Berlin", true));
    let equals = domains.get("api").expect("there").rule(&descriptor(&[("b", "1=2")]).entries);
    assert!(equals.is_some(), "the first equals sign divides");
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let text = r#"
        [[domain]]
        name = "API"
        [[domain]]
        name = "api"
        colour = "red"
        [[domain.rule]]
        name = "override"
        match = ["a"]
        limit = 5
        [[domain.rule]]
        name = "two"
        match = []
        limit = 5
        [[domain.rule]]
        name = "three"
        match = ["a"]
        limit = "many"
        [[domain.rule]]
        name = "override"
        match = ["a"]
        limit = 5
        algorithm = "concurrency"
        period = "day"
        [[domain.rule]]
        name = "five"
        match = ["b", "=c"]
        limit = 5
        algorithm = "calendar"
        colour = "red"
        [[domain]]
        name = "api"
    "#;
    let said = Domains::parse(text).expect_err("refused").to_string();
    for expected in [
        "domain 1: `name` is 1 to 64",
        "domain 2: `colour` is not a setting",
        "domain 2 (`api`), rule 1: the name `override` is for",
        "domain 2 (`api`), rule 2: `match` is a list",
        "domain 2 (`api`), rule 3: `limit`: invalid type",
        "domain 2 (`api`), rule 4: Envoy never says",
        "domain 2 (`api`), rule 4: `period`, `time_zone`",
        "domain 2 (`api`), rule 4: the name `override` is taken",
        "domain 2 (`api`), rule 4: `match` is that of rule `override`",
        "domain 2 (`api`), rule 5: ",
        "domain 3: the name `api` is taken",
    ] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
    for (text, expected) in
        [("[[domain", "TOML"), ("domain = 1", "write [[domain]]"), ("x = 1", "`x` is not")]
    {
        let said = Domains::parse(text).expect_err("refused").to_string();
        assert!(said.contains(expected), "{said}");
    }
    let missing = Domains::read("/nonexistent/file".as_ref()).expect_err("refused").to_string();
    assert!(missing.starts_with("/nonexistent/file cannot be read"), "{missing}");
}

#[tokio::test]
async fn limits_that_the_role_does_not_take_are_named_with_their_place() {
    let text = "[[domain]]\nname = \"api\"\n[[domain.rule]]\nname = \"a\"\nmatch = [\"a\"]\nlimit = 5\n\
                [[domain.rule]]\nname = \"b\"\nmatch = [\"b\"]\nlimit = 0\nwindow_seconds = 1";
    let settings = Settings { store: Store::Memory { max_states: 1000, snapshot: None } };
    let counters = RateLimitService::open(settings, MockClock::new(), Arc::new(OsEntropy)).expect("memory");
    let fault = EnvoyService::open(domains(text), Arc::new(counters)).await.expect_err("refused");
    let cause = fault.cause().expect("the mistakes");
    assert!(cause.contains("domain 1 (`api`), rule 1: `window_seconds` must be 1 to"), "{cause}");
    assert!(cause.contains("domain 1 (`api`), rule 2: `limit` must be 1 to"), "{cause}");
}

#[test]
fn the_example_is_right() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/gateways/envoy/ratelimit.toml");
    let domains = Domains::read(example.as_ref()).expect("right");
    assert_eq!(domains.limits().count(), 2);
}
