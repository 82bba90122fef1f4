//! The order of the checks, and their edges.

use std::time::Duration;

use ipnet::IpNet;
use tollgate_kernel::KeyId;
use uuid::Uuid;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600, 0).expect("in range")
}

fn grant() -> Grant {
    Grant {
        key_id: KeyId::from_uuid(Uuid::nil()),
        workspace_id: WorkspaceId::from_uuid(Uuid::nil()),
        environment: Environment::Live,
        plan: "basic".into(),
        scopes: vec!["read".into(), "write".into()],
        limits: vec![],
        allowed_ips: vec![],
        metadata: Map::new(),
        expires_at: None,
        revoked_at: None,
        enabled: true,
        workspace_enabled: true,
        created_by: "usr_00000000000000000000000000".into(),
        plan_id: None,
        not_before: None,
        consumer: Some(ConsumerGrant {
            consumer_id: ConsumerId::from_uuid(Uuid::nil()),
            enabled: true,
            limits: vec![],
            plan_id: None,
        }),
        workspace_limits: vec![],
        secret: Some(SecretGrant {
            secret_id: SecretId::from_uuid(Uuid::nil()),
            retires_at: None,
            revoked_at: None,
        }),
        credit_account_id: None,
        rotation_due_at: None,
    }
}

fn secret(grant: &mut Grant) -> &mut SecretGrant {
    grant.secret.as_mut().expect("set above")
}

/// A call that brings everything that any key could ask for.
fn demand<'a>() -> Demand<'a> {
    Demand {
        scopes: &[],
        expression: None,
        client_ip: "10.1.2.3".parse().ok(),
        environment: Some(Environment::Live),
    }
}

type Flaw = (VerdictCode, fn(&mut Grant));

/// In the order of the checks.
const FLAWS: [Flaw; 11] = [
    (VerdictCode::Disabled, |grant| grant.workspace_enabled = false),
    (VerdictCode::Disabled, |grant| grant.consumer.as_mut().expect("set above").enabled = false),
    (VerdictCode::Disabled, |grant| grant.enabled = false),
    (VerdictCode::Disabled, |grant| grant.not_before = Some(now() + Duration::from_secs(1))),
    (VerdictCode::Revoked, |grant| grant.revoked_at = Some(now())),
    (VerdictCode::Revoked, |grant| secret(grant).revoked_at = Some(now())),
    (VerdictCode::Expired, |grant| grant.expires_at = Some(now())),
    (VerdictCode::Expired, |grant| secret(grant).retires_at = Some(now())),
    (VerdictCode::WrongEnvironment, |grant| grant.environment = Environment::Test),
    (VerdictCode::ForbiddenIp, |grant| grant.allowed_ips = vec!["192.0.2.0/24".parse().expect("a block")]),
    (VerdictCode::InsufficientScope, |grant| grant.scopes = vec!["write".into()]),
];

#[test]
fn of_several_flaws_the_first_is_named() {
    let scopes = ["read".to_owned()];
    let demand = Demand { scopes: &scopes, ..demand() };
    // Every pair, and every other combination too.
    for combination in 0_u32..1 << FLAWS.len() {
        let present = |place: usize| combination >> place & 1 == 1;
        let mut flawed = grant();
        FLAWS
            .iter()
            .enumerate()
            .filter(|(place, _)| present(*place))
            .for_each(|(_, (_, flaw))| flaw(&mut flawed));
        let first = FLAWS.iter().enumerate().find(|(place, _)| present(*place)).map(|(_, (code, _))| *code);
        assert_eq!(flawed.admit(&demand, now()).err(), first, "{combination:07b}");
    }
}

#[test]
fn the_order_is_that_of_the_codes() {
    assert!(FLAWS.is_sorted_by_key(|(code, _)| *code));
}

#[test]
fn a_key_expires_at_the_very_instant() {
    let grant = Grant { expires_at: Some(now()), ..grant() };
    assert_eq!(grant.admit(&demand(), now() - Duration::from_micros(1)), Ok(()));
    assert_eq!(grant.admit(&demand(), now()), Err(VerdictCode::Expired));
}

#[test]
fn a_revoked_key_is_revoked_whatever_the_clock_says() {
    let grant = Grant { revoked_at: Some(now() + Duration::from_hours(1)), ..grant() };
    assert_eq!(grant.admit(&demand(), now()), Err(VerdictCode::Revoked));
}

#[test]
fn every_scope_that_is_asked_for_is_needed() {
    let admit = |scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|it| (*it).to_owned()).collect();
        grant().admit(&Demand { scopes: &scopes, ..demand() }, now())
    };
    assert_eq!(admit(&[]), Ok(()));
    assert_eq!(admit(&["write", "read", "read"]), Ok(()));
    for more in [&["read", "admin"][..], &["READ"], &["rea"], &[""], &["read write"]] {
        assert_eq!(admit(more), Err(VerdictCode::InsufficientScope), "{more:?}");
    }
}

#[test]
fn an_environment_is_needed_only_if_it_is_asked_for() {
    let test = Grant { environment: Environment::Test, ..grant() };
    assert_eq!(test.admit(&Demand { environment: None, ..demand() }, now()), Ok(()));
    assert_eq!(test.admit(&demand(), now()), Err(VerdictCode::WrongEnvironment));
}

#[test]
fn networks_bind_the_client() {
    let nets = |nets: &[&str]| -> Vec<IpNet> { nets.iter().map(|it| it.parse().expect(it)).collect() };
    let inside = |allowed: &[&str], client: &str| {
        let grant = Grant { allowed_ips: nets(allowed), ..grant() };
        grant.admit(&Demand { client_ip: client.parse().ok(), ..demand() }, now()).is_ok()
    };
    assert!(inside(&[], "203.0.113.9"));
    assert!(inside(&[], "unknown"));
    assert!(inside(&["10.0.0.0/8"], "10.255.255.255"));
    assert!(inside(&["10.0.0.0/8"], "::ffff:10.0.0.1"), "IPv4-mapped IPv6 is IPv4");
    assert!(inside(&["192.0.2.1/32", "2001:db8::/32"], "2001:db8::7"));
    assert!(!inside(&["10.0.0.0/8"], "11.0.0.0"));
    assert!(!inside(&["10.0.0.0/8"], "unknown"), "an unknown address is in no network");
    assert!(!inside(&["10.0.0.0/8"], "::10.0.0.1"), "IPv4-compatible IPv6 is not IPv4");
    assert!(!inside(&["::/0"], "::ffff:10.0.0.1"));
    assert!(!inside(&["0.0.0.0/0"], "2001:db8::7"));
}

#[test]
fn a_service_key_does_what_it_may_until_it_expires() {
    let grant = ServiceGrant {
        service_key_id: ServiceKeyId::from_uuid(Uuid::nil()),
        workspace_id: WorkspaceId::from_uuid(Uuid::nil()),
        permissions: vec![Permission::KeysVerify],
        expires_at: Some(now()),
    };
    let before = now() - Duration::from_micros(1);
    assert!(grant.allows(Permission::KeysVerify, before));
    assert!(!grant.allows(Permission::KeysWrite, before));
    assert!(!grant.allows(Permission::KeysVerify, now()));
}
