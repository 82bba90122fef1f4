//! Each parser: what it takes, what it refuses, and where it says that the fault is.

use proptest::prelude::*;
use tollgate_kernel::{Clock, KeyId, PlanId};
use tollgate_testkit::MockClock;

use super::*;

fn key_id(text: &str, pointer: &'static str, problems: &mut Problems) -> Option<KeyId> {
    id(text, pointer, problems)
}

/// The value, and the pointers of what is wrong.
fn run<T>(parse: impl FnOnce(&mut Problems) -> T) -> (T, Vec<String>) {
    let mut problems = Problems::default();
    let value = parse(&mut problems);
    let pointers = problems.0.iter().map(|problem| problem.pointer.clone().into_owned()).collect();
    (value, pointers)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn everything_wrong_is_said_together() {
    let mut problems = Problems::default();
    name("", &mut problems);
    scopes(&texts(&["ok", "Not ok"]), &mut problems);
    let _: Option<PlanId> = id("pln_1", "/plan_id", &mut problems);
    let fault = problems.check().expect_err("refused");
    let pointers: Vec<_> = fault.violated().iter().map(|violation| &*violation.pointer).collect();
    assert_eq!(pointers, ["/name", "/scopes/1", "/plan_id"]);
    assert!(Problems::default().check().is_ok());
}

#[test]
fn names() {
    for fine in ["a", "my key", "ключ", &"é".repeat(100)] {
        assert_eq!(run(|problems| name(fine, problems)), (fine.to_owned(), vec![]));
    }
    for wrong in ["", "  ", "a\0b", "a\nb", &"a".repeat(101)] {
        assert_eq!(run(|problems| name(wrong, problems)).1, ["/name"], "{wrong:?}");
    }
}

#[test]
fn queries() {
    assert_eq!(run(|problems| query("", problems)), (None, vec![]));
    assert_eq!(run(|problems| query("My KÉY%_\\", problems)), (Some("my kÉy%_\\".to_owned()), vec![]));
    for wrong in ["a\0b", &"a".repeat(101)] {
        assert_eq!(run(|problems| query(wrong, problems)).1, ["/q"]);
    }
}

#[test]
fn ids() {
    let known = KeyId::from_uuid(uuid::Uuid::from_u128(7));
    assert_eq!(run(|problems| id(&known.to_string(), "/x", problems)), (Some(known), vec![]));
    assert_eq!(run(|problems| key_id("", "/x", problems)), (None, vec![]));
    let plan = "pln_00000000000000000000000001";
    assert_eq!(run(|problems| key_id(plan, "/x", problems)), (None, vec!["/x".to_owned()]));
    assert!(!path_id("1", "key").is_ok_and(|_: KeyId| true));
}

#[test]
fn environments() {
    assert_eq!(run(|problems| environment(0, problems)), (Environment::Live, vec![]));
    assert_eq!(run(|problems| environment(2, problems)), (Environment::Test, vec![]));
    assert_eq!(run(|problems| known_environment(0, problems)), (None, vec![]));
    assert_eq!(run(|problems| environment(9, problems)).1, ["/environment"]);
}

#[test]
fn scopes_are_a_set_in_their_order() {
    let (parsed, problems) = run(|problems| scopes(&texts(&["b:x", "a.y_z-1", "b:x"]), problems));
    assert_eq!((parsed, problems), (texts(&["b:x", "a.y_z-1"]), vec![]));
    let wildcards = texts(&["*", "orders.*"]);
    assert_eq!(run(|problems| scopes(&wildcards, problems)), (wildcards.clone(), vec![]));
    for wrong in ["", "A", "a b", "é", "a*", "*.a", &"a".repeat(101)] {
        assert_eq!(run(|problems| scopes(&texts(&[wrong]), problems)).1, ["/scopes/0"], "{wrong:?}");
    }
    let many: Vec<_> = (0..65).map(|n| n.to_string()).collect();
    assert_eq!(run(|problems| scopes(&many, problems)).1, ["/scopes"]);
    assert_eq!(run(|problems| scopes(&many[..64], problems)).0.len(), 64);
}

#[test]
fn networks_are_canonical() {
    for (text, canonical) in [
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::/0", "::/0"),
    ] {
        assert_eq!(run(|problems| allowed_ips(&texts(&[text]), problems)), (texts(&[canonical]), vec![]));
    }
    assert_eq!(run(|problems| allowed_ips(&texts(&["10.0.0.1/8", "10.0.0.2/8"]), problems)).0.len(), 1);
    for wrong in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "::/129", "localhost", "10.0.0.1:80", "1.2.3.4 "]
    {
        assert_eq!(
            run(|problems| allowed_ips(&texts(&[wrong]), problems)).1,
            ["/allowed_ips/0"],
            "{wrong:?}"
        );
    }
    let many: Vec<_> = (0..33).map(|n| format!("10.0.0.{n}")).collect();
    assert_eq!(run(|problems| allowed_ips(&many, problems)).1, ["/allowed_ips"]);
}

#[test]
fn metadata_is_a_bounded_object() {
    assert_eq!(run(|problems| metadata("", problems)), (serde_json::json!({}), vec![]));
    let deep = |levels: usize| format!("{}{}{}", r#"{"a":"#.repeat(levels), 1, "}".repeat(levels));
    let long = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
    for fine in [r#"{"a": [1, {"b": null}]}"#, &deep(8), &long(4096)] {
        assert_eq!(run(|problems| metadata(fine, problems)).1, Vec::<String>::new(), "{fine}");
    }
    for wrong in [
        "[]",
        "1",
        "null",
        "{",
        r#"{"a":1}x"#,
        r#"{"a":"\u0000"}"#,
        r#"{"\u0000":1}"#,
        &deep(9),
        &deep(200),
        &long(4097),
    ] {
        assert_eq!(run(|problems| metadata(wrong, problems)).1, ["/metadata"], "{wrong}");
    }
}

#[test]
fn expiries_lie_ahead() {
    let now = MockClock::new().now();
    let at = |by: TimeDelta| Some(time::to_wire(now + by));
    let day = TimeDelta::days(1);
    assert_eq!(run(|problems| expiry(None, 0, now, problems)), (None, vec![]));
    assert_eq!(run(|problems| expiry(at(day), 0, now, problems)), (Some(now + day), vec![]));
    assert_eq!(run(|problems| expiry(None, 1, now, problems)), (Some(now + day), vec![]));
    for wrong in [TimeDelta::zero(), -day, TimeDelta::days(36_501)] {
        assert_eq!(run(|problems| expiry(at(wrong), 0, now, problems)).1, ["/expires_at"]);
    }
    // Not in the calendar, before 1970, and after 9999.
    for seconds in [i64::MAX, -1, 253_402_300_800] {
        let at = Some(WireTime { seconds, nanos: 0 });
        assert_eq!(run(|problems| expiry(at, 0, now, problems)).1, ["/expires_at"]);
    }
    assert_eq!(run(|problems| expiry(None, 36_501, now, problems)).1, ["/expires_in_days"]);
    assert_eq!(run(|problems| expiry(at(day), 1, now, problems)).1, ["/expires_in_days"]);
}

#[test]
fn permissions_are_named() {
    let all = texts(&["keys.verify", "keys.read", "keys.write", "keys.export", "usage.read"]);
    assert_eq!(run(|problems| permissions(&all, problems)), (Permission::ALL.to_vec(), vec![]));
    let twice = texts(&["keys.read", "keys.read"]);
    assert_eq!(run(|problems| permissions(&twice, problems)), (vec![Permission::KeysRead], vec![]));
    assert_eq!(run(|problems| permissions(&[], problems)).1, ["/permissions"]);
    assert_eq!(run(|problems| permissions(&texts(&["keys.read", "*"]), problems)).1, ["/permissions/1"]);
    assert_eq!(run(|problems| permissions(&vec!["keys.read".to_owned(); 6], problems)).1, ["/permissions"]);
}

#[test]
fn idempotency_keys() {
    assert_eq!(run(|problems| idempotency_key("", problems)), (None, vec![]));
    assert_eq!(run(|problems| idempotency_key("a-1", problems)), (Some("a-1".to_owned()), vec![]));
    for wrong in ["a b", "é", "a\0", &"a".repeat(256)] {
        assert_eq!(run(|problems| idempotency_key(wrong, problems)).1, ["/idempotency_key"]);
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,200}") {
        let list = vec![text.clone()];
        run(|problems| {
            name(&text, problems);
            query(&text, problems);
            metadata(&text, problems);
            scopes(&list, problems);
            allowed_ips(&list, problems);
            idempotency_key(&text, problems);
        });
    }

    #[test]
    fn canonical_networks_stay_as_they_are(bits: u128, prefix in 0_u8..=128) {
        let net = Ipv6Net::new(bits.into(), prefix).expect("a prefix");
        let once = network(&net.to_string()).expect("a network");
        prop_assert_eq!(network(&once), Some(once.clone()));
    }
}

#[test]
fn names_of_roles_are_words() {
    for (text, good) in [
        ("reader", true),
        ("team:orders.read-only_2", true),
        (&"r".repeat(100), true),
        (&"r".repeat(101), false),
        ("", false),
        ("Reader", false),
        ("a b", false),
        ("a\"b", false),
        ("a\0", false),
        ("é", false),
    ] {
        assert_eq!(is_role_name(text), good, "{text}");
    }
}

#[test]
fn a_key_has_each_role_once_and_not_too_many() {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut problems = Problems::default();
    assert_eq!(role_names(&texts(&["b", "a", "b"]), &mut problems), ["b", "a"]);
    problems.check().expect("nothing is wrong");
    let mut problems = Problems::default();
    role_names(&texts(&["a", "B"]), &mut problems);
    role_names(&texts(&["a"; 17]), &mut problems);
    let fault = problems.check().expect_err("refused");
    assert_eq!(fault.violated().iter().map(|it| &*it.pointer).collect::<Vec<_>>(), ["/roles/1", "/roles"]);
}
