//! Every bound of a call, and the name of what breaks it.

use super::*;

type Change = fn(&mut wire::CheckRequest);

fn request() -> wire::CheckRequest {
    let limit = wire::Limit { name: "minute".into(), limit: 10, window_seconds: 60, ..Default::default() };
    wire::CheckRequest {
        partition: "ws_1".into(),
        charges: vec![wire::Charge { limit: Some(limit), subject: "key_1".into(), cost: 1 }],
        tally: Some(wire::Tally { subject: "key_1".into(), code: "VALID".into() }),
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
    let cases: [(&str, Change); 19] = [
        ("/partition", |it| it.partition = String::new()),
        ("/partition", |it| it.partition = "a{b".into()),
        ("/partition", |it| it.partition = "a b".into()),
        ("/partition", |it| it.partition = "ü".into()),
        ("/partition", |it| it.partition = "x".repeat(129)),
        ("/charges", |it| it.charges = vec![it.charges[0].clone(); 33]),
        ("/charges/1", |it| it.charges.push(it.charges[0].clone())),
        ("/charges/0/limit", |it| it.charges[0].limit = None),
        ("/charges/0/subject", |it| it.charges[0].subject = "\n".into()),
        ("/charges/0/cost", |it| it.charges[0].cost = 11),
        ("/charges/0/limit/name", |it| limit(it).name = "Minute".into()),
        ("/charges/0/limit/limit", |it| limit(it).limit = 0),
        ("/charges/0/limit/limit", |it| limit(it).limit = 1_000_000_001),
        ("/charges/0/limit/window_seconds", |it| limit(it).window_seconds = 0),
        ("/charges/0/limit/window_seconds", |it| limit(it).window_seconds = 34_560_001),
        ("/charges/0/limit/algorithm", |it| limit(it).algorithm = 77),
        ("/charges/0/limit/on_failure", |it| limit(it).on_failure = -1),
        ("/tally/code", |it| it.tally.as_mut().expect("set above").code = "valid".into()),
        ("/request_id", |it| it.request_id = "x".repeat(129)),
    ];
    for (pointer, change) in cases {
        let mut wire = request();
        change(&mut wire);
        let fault = Call::try_from(wire).expect_err(pointer);
        assert_eq!(fault.violated()[0].pointer, pointer);
    }
}
