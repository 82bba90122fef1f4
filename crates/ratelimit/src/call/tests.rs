//! Every bound of a call, and the name of what breaks it.

use super::*;
use crate::engine::{Calendar, Period};

type Change = fn(&mut wire::CheckRequest);

fn request() -> wire::CheckRequest {
    let limit = wire::Limit { name: "minute".into(), limit: 10, window_seconds: 60, ..Default::default() };
    wire::CheckRequest {
        partition: "ws_1".into(),
        charges: vec![wire::Charge { limit: Some(limit), subject: "key_1".into(), cost: 1 }],
        tally: Some(wire::Tally { subject: "key_1".into(), code: "VALID".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn limit(request: &mut wire::CheckRequest) -> &mut wire::Limit {
    request.charges[0].limit.as_mut().expect("set above")
}

#[test]
fn what_is_within_its_bounds_is_understood() {
    let mut wire = request();
    limit(&mut wire).limit = 1_000_000_000;
    limit(&mut wire).window_seconds = 34_560_000;
    limit(&mut wire).on_failure = wire::OnFailure::Deny.into();
    wire.charges[0].cost = 1_000_000_000;
    wire.request_id = "ü".repeat(128);
    let call = Call::try_from(wire).expect("a call");
    let charge = Charge {
        key: Key::new("minute".into(), "key_1"),
        rule: Rule::Window { window: 34_560_000_000_000 },
        limit: 1_000_000_000,
        cost: 1_000_000_000,
        shadow: false,
        on_failure: OnFailure::Deny,
        window_seconds: 34_560_000,
    };
    assert_eq!(call.charges, [charge]);
    assert_eq!(call.request_id, Some(Arc::from("ü".repeat(128))));
}

#[test]
fn what_is_unspecified_has_its_meaning() {
    let call = Call::try_from(request()).expect("a call");
    assert_eq!(call.charges[0].on_failure, OnFailure::Local);
    assert_eq!(call.request_id, None);
}

#[test]
fn what_breaks_a_rule_is_named() {
    let cases: [(&str, Change); 27] = [
        ("/partition", |it| it.partition = String::new()),
        ("/partition", |it| it.partition = "a{b".into()),
        ("/partition", |it| it.partition = "a b".into()),
        ("/partition", |it| it.partition = "ü".into()),
        ("/partition", |it| it.partition = "x".repeat(129)),
        ("/charges", |it| it.charges = vec![it.charges[0].clone(); 33]),
        ("/charges/1", |it| it.charges.push(it.charges[0].clone())),
        ("/charges/0/limit", |it| it.charges[0].limit = None),
        ("/charges/0/subject", |it| it.charges[0].subject = "\n".into()),
        ("/charges/0/cost", |it| it.charges[0].cost = 1_000_000_001),
        ("/charges/0/limit/name", |it| limit(it).name = "Minute".into()),
        ("/charges/0/limit/limit", |it| limit(it).limit = 0),
        ("/charges/0/limit/limit", |it| limit(it).limit = 1_000_000_001),
        ("/charges/0/limit/window_seconds", |it| limit(it).window_seconds = 0),
        ("/charges/0/limit/window_seconds", |it| limit(it).window_seconds = 34_560_001),
        ("/charges/0/limit/algorithm", |it| limit(it).algorithm = 77),
        ("/charges/0/limit/on_failure", |it| limit(it).on_failure = -1),
        ("/tally/code", |it| it.tally.as_mut().expect("set above").code = "valid".into()),
        ("/tally/subject", |it| it.tally.as_mut().expect("set above").subject = "key_1 con_1".into()),
        ("/tally/group", |it| it.tally.as_mut().expect("set above").group = "con 1".into()),
        ("/tally/group", |it| it.tally.as_mut().expect("set above").group = "con_1\0".into()),
        ("/tally/network", |it| it.tally.as_mut().expect("set above").network = "n".repeat(65)),
        ("/tally/network", |it| it.tally.as_mut().expect("set above").network = "10.0.0.0 /24".into()),
        ("/tally/user_agent", |it| it.tally.as_mut().expect("set above").user_agent = "u".repeat(201)),
        ("/tally/user_agent", |it| it.tally.as_mut().expect("set above").user_agent = "a\0b".into()),
        ("/tally/user_agent", |it| it.tally.as_mut().expect("set above").user_agent = "\u{85}".into()),
        ("/request_id", |it| it.request_id = "x".repeat(129)),
    ];
    for (pointer, change) in cases {
        let mut wire = request();
        change(&mut wire);
        let fault = Call::try_from(wire).expect_err(pointer);
        assert_eq!(fault.violated()[0].pointer, pointer);
    }
}

fn algorithm(request: &mut wire::CheckRequest, algorithm: wire::Algorithm) {
    limit(request).algorithm = algorithm.into();
}

fn calendar(request: &mut wire::CheckRequest, period: wire::Period, time_zone: &str, anchor_day: u32) {
    algorithm(request, wire::Algorithm::Calendar);
    let time_zone = time_zone.to_owned();
    limit(request).window_seconds = 0;
    limit(request).calendar = Some(wire::Calendar { period: period.into(), time_zone, anchor_day });
}

#[test]
fn every_algorithm_has_its_own_bounds() {
    let cases: [(&str, Change); 13] = [
        ("/limit/burst", |it| limit(it).burst = 1),
        ("/limit/burst", |it| {
            algorithm(it, wire::Algorithm::TokenBucket);
            limit(it).burst = 1_000_000_001;
        }),
        // Ten per minute, so that 400 days refill 5 760 000.
        ("/limit/burst", |it| {
            algorithm(it, wire::Algorithm::TokenBucket);
            limit(it).burst = 5_760_001;
        }),
        ("/limit/calendar", |it| {
            algorithm(it, wire::Algorithm::Calendar);
            limit(it).window_seconds = 0;
        }),
        ("/limit/calendar", |it| limit(it).calendar = Some(wire::Calendar::default())),
        ("/limit/window_seconds", |it| {
            calendar(it, wire::Period::Day, "", 0);
            limit(it).window_seconds = 1;
        }),
        ("/limit/calendar/period", |it| calendar(it, wire::Period::Unspecified, "", 0)),
        ("/limit/calendar/time_zone", |it| calendar(it, wire::Period::Day, "Europe/Atlantis", 0)),
        ("/limit/calendar/anchor_day", |it| calendar(it, wire::Period::Day, "", 1)),
        ("/limit/calendar/anchor_day", |it| calendar(it, wire::Period::Week, "", 8)),
        ("/limit/calendar/anchor_day", |it| calendar(it, wire::Period::Month, "", 32)),
        ("/limit/calendar/anchor_day", |it| calendar(it, wire::Period::Year, "", 367)),
        ("/request_id", |it| algorithm(it, wire::Algorithm::Concurrency)),
    ];
    for (pointer, change) in cases {
        let mut wire = request();
        change(&mut wire);
        let fault = Call::try_from(wire).expect_err(pointer);
        let found = &fault.violated()[0].pointer;
        assert_eq!(found.strip_prefix("/charges/0").unwrap_or(found), pointer);
    }
}

#[test]
fn what_has_its_own_bounds_is_understood_within_them() {
    let rule = |change: Change| {
        let mut wire = request();
        change(&mut wire);
        Call::try_from(wire).expect("a call").charges.remove(0)
    };
    let bucket = rule(|it| {
        algorithm(it, wire::Algorithm::TokenBucket);
        limit(it).limit = 7;
        limit(it).burst = 4_032_000;
        it.charges[0].cost = 4_032_000;
    });
    // A minute's seventh, rounded up.
    assert_eq!((bucket.rule, bucket.limit), (Rule::Bucket { interval: 8_571_429 }, 4_032_000));
    let whole = rule(|it| algorithm(it, wire::Algorithm::TokenBucket));
    assert_eq!(whole.limit, 10, "a bucket of no size is as large as its limit");
    let zone = chrono_tz::Europe::Berlin;
    for (period, day, understood) in [
        (wire::Period::Day, 0, Period::Day),
        (wire::Period::Week, 0, Period::Week(1)),
        (wire::Period::Month, 31, Period::Month(31)),
        (wire::Period::Year, 366, Period::Year(366)),
    ] {
        let mut wire = request();
        calendar(&mut wire, period, "Europe/Berlin", day);
        let call = Call::try_from(wire).expect("a call");
        assert_eq!(call.charges[0].rule, Rule::Calendar(Calendar { zone, period: understood }));
    }
    let mut peek = request();
    algorithm(&mut peek, wire::Algorithm::Concurrency);
    peek.peek = true;
    assert_eq!(Call::try_from(peek).expect("no id is needed to look").request_id, None);
}

#[test]
fn a_reservation_has_an_id_and_a_time() {
    let reserve = |hold_seconds, change: Change| {
        let mut call = wire::CheckRequest { request_id: "id".into(), ..request() };
        change(&mut call);
        Call::try_from(wire::ReserveRequest { call: Some(call), hold_seconds })
    };
    assert_eq!(reserve(0, |_| {}).expect("a call").hold, REMEMBERED);
    assert_eq!(reserve(86_400, |_| {}).expect("a call").hold, 86_400_000_000);
    let refused = [
        ("/hold_seconds", reserve(86_401, |_| {})),
        ("/call/peek", reserve(0, |it| it.peek = true)),
        ("/call/request_id", reserve(0, |it| it.request_id.clear())),
        ("/call/charges/0/cost", reserve(0, |it| it.charges[0].cost = 1_000_000_001)),
        ("/call", Call::try_from(wire::ReserveRequest { call: None, hold_seconds: 0 })),
    ];
    for (pointer, call) in refused {
        assert_eq!(call.expect_err(pointer).violated()[0].pointer, pointer);
    }
}
