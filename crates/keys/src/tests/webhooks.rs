//! Webhooks: who may have them, what they are told, and that it arrives.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    receiver::{Arrived, NEVER, Receiver},
    *,
};
use crate::store::Place;

const ALL: [&str; 9] = [
    "key.created",
    "key.rotated",
    "key.revoked",
    "key.leaked",
    "key.expiring",
    "key.rotation_due",
    "key.retired",
    "quota.reached",
    "webhook.disabled",
];
const DAY: Duration = Duration::from_hours(24);

pub(super) fn config() -> Config {
    // The machine may be busy: what is given up after this is what never comes.
    let timeout = 60_000.try_into().expect("not zero");
    Config { webhook_private_networks: true, webhook_timeout_ms: timeout, ..Config::default() }
}

impl Desk {
    pub(super) async fn telling(database: &TestDatabase) -> Self {
        Self::with(database, config(), Counter::new()).await
    }

    pub(super) async fn webhook(
        &self,
        caller: &Caller,
        url: &str,
        events: &[&str],
    ) -> Result<wire::CreateWebhookResponse, Fault> {
        let message = wire::CreateWebhookRequest {
            caller: Some(caller.clone()),
            url: url.into(),
            events: events.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        call!(self, create_webhook, message)
    }

    pub(super) async fn hooked(&self, caller: &Caller, receiver: &Receiver, events: &[&str]) -> String {
        self.webhook(caller, &receiver.url(), events).await.expect("made").webhook.expect("a webhook").id
    }

    pub(super) async fn tell(&self) -> u64 {
        self.service.tell_all().await.expect("told")
    }

    async fn show(&self, caller: &Caller, id: &str) -> wire::Webhook {
        let message = wire::GetWebhookRequest { caller: Some(caller.clone()), webhook_id: id.into() };
        call!(self, get_webhook, message).expect("there").webhook.expect("a webhook")
    }

    async fn deliveries(&self, caller: &Caller, id: &str) -> Vec<wire::WebhookDelivery> {
        let message = wire::ListWebhookDeliveriesRequest {
            caller: Some(caller.clone()),
            webhook_id: id.into(),
            limit: 100,
            ..Default::default()
        };
        call!(self, list_webhook_deliveries, message).expect("a list").deliveries
    }

    async fn give_new_secret(&self, caller: &Caller, key_id: &str) -> wire::RotateKeyResponse {
        let message = wire::RotateKeyRequest {
            caller: Some(caller.clone()),
            key_id: key_id.into(),
            ..Default::default()
        };
        call!(self, rotate_key, message).expect("rotated")
    }
}

on_every_database! {
    async fn what_happens_to_keys_is_told_with_a_signature(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let made = desk.webhook(&owner, &receiver.url(), &ALL).await.expect("made");
        let secret = STANDARD.decode(made.secret.strip_prefix("whsec_").expect("its form")).expect("base64");
        assert_eq!(secret.len(), 32);
        let key = desk.key(&owner).await;
        let id = key.key.as_ref().expect("a key").id.clone();
        let rotated = desk.give_new_secret(&owner, &id).await;
        desk.revoke(&owner, &id).await.expect("revoked");
        desk.revoke(&owner, &id).await.expect("revoked already, which is nothing new");
        assert_eq!(desk.tell().await, 3);
        assert_eq!(desk.tell().await, 0, "once");
        let arrived = receiver.all();
        let told: BTreeSet<_> = arrived.iter().map(Arrived::event).collect();
        assert_eq!(told, BTreeSet::from(["key.created", "key.revoked", "key.rotated"].map(str::to_owned)));
        for it in &arrived {
            assert_eq!(it.header("content-type"), "application/json");
            let now = desk.clock.now().timestamp();
            assert_eq!(it.header("webhook-timestamp"), now.to_string());
            let said = it.json();
            assert_eq!(said["data"]["key"]["id"], json!(id), "{said}");
            assert_eq!(said["data"]["workspace_id"], json!(desk.workspace_of(&owner).await));
            assert_eq!(said["timestamp"], "2026-01-01T00:00:00Z");
            for secret in [&key.secret, &rotated.secret] {
                assert!(!it.body.contains(&secret[9..]), "{}", it.body);
            }
            let signed = format!("{}.{now}.{}", it.header("webhook-id"), it.body);
            let hmac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
            let tag = STANDARD.decode(&it.header("webhook-signature")[3..]).expect("base64");
            aws_lc_rs::hmac::verify(&hmac_key, signed.as_bytes(), &tag).expect("signed");
        }
        let ids: BTreeSet<_> = arrived.iter().map(|it| it.header("webhook-id").to_owned()).collect();
        assert_eq!(ids.len(), 3);
        let webhook = made.webhook.expect("a webhook").id;
        let logged = desk.deliveries(&owner, &webhook).await;
        assert!(logged.iter().all(|it| it.status == "delivered" && it.attempts == 1 && it.status_code == Some(204)));
    }

    async fn only_what_is_asked_for_is_told_and_only_to_the_workspace(database: TestDatabase) {
        let desk = Desk::telling(&database).await;
        let (mut mine, mut theirs) = (Receiver::new().await, Receiver::new().await);
        let (owner, other) = (desk.user(), desk.user());
        desk.hooked(&owner, &mine, &["key.revoked"]).await;
        desk.hooked(&other, &theirs, &ALL).await;
        let key = desk.key(&owner).await.key.expect("a key").id;
        assert_eq!(desk.tell().await, 0);
        desk.revoke(&owner, &key).await.expect("revoked");
        assert_eq!(desk.tell().await, 1);
        assert_eq!(mine.next().await.event(), "key.revoked");
        assert!(theirs.all().is_empty());
    }

    async fn what_does_not_arrive_is_tried_again_with_the_same_id(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let webhook = desk.hooked(&owner, &receiver, &["key.created"]).await;
        desk.key(&owner).await;
        receiver.answers([500, 302, 404]);
        let mut ids = BTreeSet::new();
        let mut bodies = BTreeSet::new();
        for (attempt, status) in [(1, 500), (2, 302), (3, 404)] {
            assert_eq!(desk.tell().await, 1);
            let it = receiver.next().await;
            ids.insert(it.header("webhook-id").to_owned());
            bodies.insert(it.body.clone());
            let logged = &desk.deliveries(&owner, &webhook).await[0];
            assert_eq!((logged.attempts, logged.status_code), (attempt, Some(status)));
            assert_eq!(logged.status, "pending");
            assert_eq!(desk.tell().await, 0, "not at once");
            assert!(desk.show(&owner, &webhook).await.failing_since.is_some());
            let next = logged.next_attempt_at.expect("another attempt");
            desk.clock.set(time::from_wire(next, "").expect("a time"));
        }
        assert_eq!(desk.tell().await, 1);
        ids.insert(receiver.next().await.header("webhook-id").to_owned());
        assert_eq!((ids.len(), bodies.len()), (1, 1));
        let logged = &desk.deliveries(&owner, &webhook).await[0];
        assert_eq!((logged.status.as_str(), logged.attempts, logged.next_attempt_at), ("delivered", 4, None));
        assert_eq!(desk.show(&owner, &webhook).await.failing_since, None);
    }

    async fn it_is_given_up_after_three_days_and_disabled_after_five(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let broken = Receiver::new().await;
        let webhook = desk.hooked(&owner, &broken, &["key.created"]).await;
        desk.hooked(&owner, &receiver, &["webhook.disabled"]).await;
        broken.answers([500; 100]);
        let began = desk.clock.now();
        desk.key(&owner).await;
        for attempt in 1..=10 {
            assert_eq!(desk.tell().await, 1);
            let logged = &desk.deliveries(&owner, &webhook).await[0];
            assert_eq!(logged.attempts, attempt);
            if let Some(next) = logged.next_attempt_at {
                desk.clock.set(time::from_wire(next, "").expect("a time"));
            }
        }
        let logged = &desk.deliveries(&owner, &webhook).await[0];
        assert_eq!((logged.status.as_str(), logged.next_attempt_at), ("failed", None));
        assert!(logged.finished_at.is_some());
        let after = desk.clock.now() - began;
        assert!(after > chrono::TimeDelta::days(2) && after < chrono::TimeDelta::days(4), "{after}");
        assert!(desk.show(&owner, &webhook).await.enabled);

        desk.clock.set(began + chrono::TimeDelta::days(5));
        desk.key(&owner).await;
        desk.key(&owner).await;
        assert!(desk.tell().await >= 1);
        let shown = desk.show(&owner, &webhook).await;
        assert_eq!((shown.enabled, shown.disabled_for.as_str()), (false, "failures"));
        desk.tell().await;
        let told = receiver.next().await.json();
        assert_eq!((&told["type"], &told["data"]["webhook"]["id"]), (&json!("webhook.disabled"), &json!(webhook)));
        assert!(receiver.all().is_empty(), "once");
        // What waits for it is given up, and what happens now is not told.
        desk.clock.advance(DAY);
        desk.key(&owner).await;
        desk.tell().await;
        let logged = desk.deliveries(&owner, &webhook).await;
        assert_eq!(logged.len(), 3);
        assert!(logged.iter().all(|it| it.status == "failed"), "{logged:?}");
        assert!(logged.iter().any(|it| it.error == "disabled"), "{logged:?}");
        // Enabled again, it begins anew.
        let message = wire::UpdateWebhookRequest {
            caller: Some(owner.clone()),
            webhook_id: webhook.clone(),
            enabled: Some(true),
            ..Default::default()
        };
        let enabled = call!(desk, update_webhook, message).expect("enabled").webhook.expect("a webhook");
        assert_eq!((enabled.enabled, enabled.disabled_for, enabled.failing_since), (true, String::new(), None));
    }

    async fn one_that_says_that_it_is_gone_is_disabled(database: TestDatabase) {
        let (desk, receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let webhook = desk.hooked(&owner, &receiver, &["key.created"]).await;
        receiver.answers([410]);
        desk.key(&owner).await;
        desk.tell().await;
        let shown = desk.show(&owner, &webhook).await;
        assert_eq!((shown.enabled, shown.disabled_for.as_str()), (false, "gone"));
        let message = wire::TestWebhookRequest { caller: Some(owner.clone()), webhook_id: webhook.clone() };
        assert_eq!(call!(desk, test_webhook, message).expect_err("disabled").code(), Code::Conflict);
    }

    async fn who_never_answers_is_given_up_and_nothing_is_lost(database: TestDatabase) {
        let short = Config { webhook_timeout_ms: 50.try_into().expect("not zero"), ..config() };
        let desk = Desk::with(&database, short, Counter::new()).await;
        let (owner, mut receiver) = (desk.user(), Receiver::new().await);
        let webhook = desk.hooked(&owner, &receiver, &["key.created"]).await;
        receiver.answers([NEVER]);
        desk.key(&owner).await;
        desk.tell().await;
        receiver.next().await;
        let logged = &desk.deliveries(&owner, &webhook).await[0];
        assert_eq!((logged.status.as_str(), logged.error.as_str(), logged.status_code), ("pending", "timeout", None));
    }

    async fn one_that_dies_between_sending_and_writing_that_down_leaves_it_to_another(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.created"]).await;
        desk.key(&owner).await;
        receiver.answers([NEVER]);
        let dying = desk.clone();
        let dying = tokio::spawn(async move { dying.service.tell_all().await });
        let first = receiver.next().await;
        // It has arrived, and whoever sent it dies before it is told so.
        dying.abort();
        dying.await.expect_err("dead");
        let (other, _) = desk.replica(&database).await;
        assert_eq!(other.tell_all().await.expect("told"), 0, "the claim still holds");
        desk.clock.advance(Duration::from_mins(2) + Duration::from_secs(1));
        assert_eq!(other.tell_all().await.expect("told"), 1);
        let second = receiver.next().await;
        assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
        assert_eq!(first.body, second.body);
        assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"));
    }

    async fn two_replicas_tell_everything_once(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.created"]).await;
        let keys = 12;
        for _ in 0..keys {
            desk.key(&owner).await;
        }
        let (other, _) = desk.replica(&database).await;
        let (one, two) = tokio::join!(desk.service.tell_all(), other.tell_all());
        let told = one.expect("told") + two.expect("told");
        let arrived = receiver.all();
        let ids: BTreeSet<_> = arrived.iter().map(|it| it.header("webhook-id").to_owned()).collect();
        assert_eq!((told, arrived.len(), ids.len()), (keys, 12, 12));
    }

    async fn secrets_overlap_when_they_are_rotated(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let made = desk.webhook(&owner, &receiver.url(), &["key.created"]).await.expect("made");
        let webhook = made.webhook.expect("a webhook").id;
        let rotate = wire::RotateWebhookSecretRequest {
            caller: Some(owner.clone()),
            webhook_id: webhook.clone(),
            overlap_seconds: Some(60),
        };
        let rotated = call!(desk, rotate_webhook_secret, rotate.clone()).expect("rotated");
        assert_ne!(rotated.secret, made.secret);
        assert!(rotated.webhook.expect("a webhook").previous_secret_until.is_some());
        let signatures = async |receiver: &mut Receiver| {
            desk.key(&owner).await;
            desk.tell().await;
            let header = receiver.next().await.header("webhook-signature").to_owned();
            header.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        let both = signatures(&mut receiver).await;
        assert_eq!(both.len(), 2);
        assert!(both.iter().all(|it| it.starts_with("v1,")));
        desk.clock.advance(Duration::from_mins(1));
        assert_eq!(signatures(&mut receiver).await.len(), 1);
        assert_eq!(desk.show(&owner, &webhook).await.previous_secret_until, None);
        let at_once = wire::RotateWebhookSecretRequest { overlap_seconds: Some(0), ..rotate.clone() };
        call!(desk, rotate_webhook_secret, at_once).expect("rotated");
        assert_eq!(signatures(&mut receiver).await.len(), 1);
        let long = wire::RotateWebhookSecretRequest { overlap_seconds: Some(604_801), ..rotate };
        assert_eq!(pointers(&call!(desk, rotate_webhook_secret, long).expect_err("too long")), ["/overlap_seconds"]);
    }

    async fn it_can_be_tried_out_and_told_once_more(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let (owner, other) = (desk.user(), desk.user());
        let webhook = desk.hooked(&owner, &receiver, &["key.leaked"]).await;
        let test = wire::TestWebhookRequest { caller: Some(owner.clone()), webhook_id: webhook.clone() };
        let made = call!(desk, test_webhook, test).expect("made").delivery.expect("a delivery");
        assert_eq!((made.event.as_str(), made.status.as_str()), ("webhook.test", "pending"));
        desk.tell().await;
        let first = receiver.next().await;
        assert_eq!((first.event().as_str(), first.header("webhook-id")), ("webhook.test", made.message_id.as_str()));
        let replay = wire::ReplayWebhookDeliveryRequest {
            caller: Some(owner.clone()),
            webhook_id: webhook.clone(),
            delivery_id: made.id.clone(),
        };
        let again = call!(desk, replay_webhook_delivery, replay.clone()).expect("made").delivery.expect("a delivery");
        assert_ne!(again.id, made.id);
        desk.tell().await;
        let second = receiver.next().await;
        assert_eq!((second.header("webhook-id"), &second.body), (made.message_id.as_str(), &first.body));
        assert_eq!(desk.deliveries(&owner, &webhook).await.len(), 2);
        // Of another webhook, nobody's delivery is told.
        let theirs = desk.hooked(&other, &receiver, &["key.leaked"]).await;
        let stolen = wire::ReplayWebhookDeliveryRequest {
            caller: Some(other),
            webhook_id: theirs,
            ..replay
        };
        assert_eq!(call!(desk, replay_webhook_delivery, stolen).expect_err("not theirs").code(), Code::NotFound);
    }

    async fn what_is_deleted_is_told_nothing(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let webhook = desk.hooked(&owner, &receiver, &["key.created"]).await;
        desk.key(&owner).await;
        let delete = wire::DeleteWebhookRequest { caller: Some(owner.clone()), webhook_id: webhook };
        call!(desk, delete_webhook, delete.clone()).expect("deleted");
        assert_eq!(call!(desk, delete_webhook, delete).expect_err("gone").code(), Code::NotFound);
        assert_eq!(desk.tell().await, 0);
        assert!(receiver.all().is_empty());
    }

    async fn only_owners_and_admins_have_webhooks(database: TestDatabase) {
        let (desk, receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let webhook = desk.hooked(&owner, &receiver, &["key.created"]).await;
        let all = ["keys.verify", "keys.read", "keys.write", "usage.read"];
        let machine = desk.machine(&owner, &all).await;
        let callers = [
            (desk.member(&workspace, MemberRole::Admin).await, None),
            (desk.operator(), None),
            (desk.member(&workspace, MemberRole::Member).await, Some(Code::Forbidden)),
            (machine, Some(Code::Forbidden)),
            (desk.user(), Some(Code::NotFound)),
        ];
        for (caller, expected) in callers {
            let (caller, webhook_id) = (Some(caller), webhook.clone());
            let create = wire::CreateWebhookRequest {
                caller: caller.clone(),
                workspace_id: workspace.clone(),
                url: receiver.url(),
                events: vec!["key.created".into()],
                ..Default::default()
            };
            let get = wire::GetWebhookRequest { caller: caller.clone(), webhook_id: webhook_id.clone() };
            let list = wire::ListWebhooksRequest {
                caller: caller.clone(), workspace_id: workspace.clone(), ..Default::default()
            };
            let update = wire::UpdateWebhookRequest {
                caller: caller.clone(), webhook_id: webhook_id.clone(), ..Default::default()
            };
            let rotate = wire::RotateWebhookSecretRequest {
                caller: caller.clone(), webhook_id: webhook_id.clone(), ..Default::default()
            };
            let deliveries = wire::ListWebhookDeliveriesRequest {
                caller: caller.clone(), webhook_id: webhook_id.clone(), ..Default::default()
            };
            let test = wire::TestWebhookRequest { caller: caller.clone(), webhook_id: webhook_id.clone() };
            let said = [
                call!(desk, create_webhook, create).map(|_| ()),
                call!(desk, get_webhook, get).map(|_| ()),
                call!(desk, list_webhooks, list).map(|_| ()),
                call!(desk, update_webhook, update).map(|_| ()),
                call!(desk, rotate_webhook_secret, rotate).map(|_| ()),
                call!(desk, list_webhook_deliveries, deliveries).map(|_| ()),
                call!(desk, test_webhook, test).map(|_| ()),
            ];
            for (place, said) in said.into_iter().enumerate() {
                assert_eq!(said.err().map(|fault| fault.code()), expected, "{place}");
            }
            let replay = wire::ReplayWebhookDeliveryRequest {
                caller: caller.clone(),
                webhook_id: webhook_id.clone(),
                delivery_id: "dlv_00000000000000000000000001".into(),
            };
            let said = call!(desk, replay_webhook_delivery, replay).expect_err("there is none").code();
            assert_eq!(said, expected.unwrap_or(Code::NotFound));
            if expected.is_some() {
                let delete = wire::DeleteWebhookRequest { caller, webhook_id };
                assert_eq!(call!(desk, delete_webhook, delete).err().map(|fault| fault.code()), expected);
            }
        }
    }

    async fn what_is_asked_is_bounded(database: TestDatabase) {
        let strict = Desk::new(&database).await;
        let owner = strict.user();
        for wrong in ["http://127.0.0.1/", "https://10.0.0.1/", "http://example.com/", "x"] {
            let fault = strict.webhook(&owner, wrong, &["key.created"]).await.expect_err("refused");
            assert_eq!(pointers(&fault), ["/url"], "{wrong}");
        }
        let url = "https://example.com/";
        let fault = strict.webhook(&owner, url, &[]).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/events"]);
        let fault = strict.webhook(&owner, url, &["key.created", "webhook.test", "*"]).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/events/1", "/events/2"]);
        let fault = strict.webhook(&owner, url, &["key.created"; 10]).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/events"]);
        for _ in 0..20 {
            strict.webhook(&owner, url, &["key.created", "key.created"]).await.expect("made");
        }
        let fault = strict.webhook(&owner, url, &["key.created"]).await.expect_err("full");
        assert_eq!(fault.code(), Code::Conflict);
        let list = wire::ListWebhooksRequest { caller: Some(owner.clone()), limit: 15, ..Default::default() };
        let first = call!(strict, list_webhooks, list.clone()).expect("a list");
        let cursor = first.next_cursor.expect("there are more");
        let second = call!(strict, list_webhooks, wire::ListWebhooksRequest { cursor, ..list }).expect("a list");
        assert_eq!((first.webhooks.len(), second.webhooks.len(), second.next_cursor), (15, 5, None));
        assert_eq!(first.webhooks[0].events, ["key.created"]);

        let webhook_id = first.webhooks[0].id.clone();
        let nothing = wire::UpdateWebhookRequest { caller: Some(owner), webhook_id, ..Default::default() };
        let empty = wire::UpdateWebhookRequest {
            url: Some("http://localhost/".into()),
            events: Some(wire::WebhookEvents::default()),
            clear: vec!["url".into()],
            ..nothing.clone()
        };
        let fault = call!(strict, update_webhook, empty).expect_err("refused");
        assert_eq!(pointers(&fault), ["/url", "/url", "/events"]);
        let described = wire::UpdateWebhookRequest { description: Some("d".into()), ..nothing.clone() };
        let seen = call!(strict, update_webhook, described).expect("changed").webhook.expect("a webhook");
        assert_eq!((seen.description.as_str(), seen.url.as_str()), ("d", url));
        let cleared = wire::UpdateWebhookRequest { clear: vec!["description".into()], ..nothing };
        let seen = call!(strict, update_webhook, cleared).expect("changed").webhook.expect("a webhook");
        assert_eq!(seen.description, "");
    }

    async fn the_end_of_a_key_is_announced_at_each_threshold_once(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let expiring = |days: i64| {
            let at = desk.clock.now() + chrono::TimeDelta::days(days);
            wire::CreateKeyRequest { name: "k".into(), expires_at: Some(time::to_wire(at)), ..Default::default() }
        };
        let key = desk.create(&owner, expiring(40)).await.expect("made").key.expect("a key").id;
        let announce = async || desk.service.announce_ends().await.expect("announced");
        desk.clock.advance(11 * DAY);
        assert_eq!(announce().await, 0, "nobody wants to know");
        desk.hooked(&owner, &receiver, &["key.expiring"]).await;
        let days = async |receiver: &mut Receiver| {
            desk.tell().await;
            receiver.all().iter().map(|it| it.json()["data"]["days"].as_i64().expect("days")).collect::<Vec<_>>()
        };
        assert_eq!((announce().await, announce().await), (1, 0));
        assert_eq!(days(&mut receiver).await, [30]);
        desk.clock.advance(22 * DAY);
        assert_eq!((announce().await, announce().await), (1, 0));
        assert_eq!(days(&mut receiver).await, [7]);
        // The end is moved: what was announced is no longer so.
        let later = desk.clock.now() + chrono::TimeDelta::days(20);
        let message = wire::UpdateKeyRequest {
            caller: Some(owner.clone()),
            key_id: key.clone(),
            expires_at: Some(time::to_wire(later)),
            ..Default::default()
        };
        call!(desk, update_key, message).expect("changed");
        assert_eq!((announce().await, announce().await), (1, 0));
        assert_eq!(days(&mut receiver).await, [30]);
        // Nearer than two thresholds at once: the nearer one only.
        desk.clock.advance(19 * DAY + DAY / 2);
        assert_eq!((announce().await, announce().await), (1, 0));
        assert_eq!(days(&mut receiver).await, [1]);
        desk.create(&owner, expiring(3)).await.expect("made");
        let (other, _) = desk.replica(&database).await;
        let (one, two) = tokio::join!(announce(), other.announce_ends());
        assert_eq!(one + two.expect("announced"), 1, "two replicas announce it once");
        assert_eq!(days(&mut receiver).await, [7]);
        desk.revoke(&owner, &key).await.expect("revoked");
        desk.clock.advance(DAY);
        assert_eq!(announce().await, 0, "what is over is not announced");
    }

    async fn a_walk_that_one_run_did_not_end_goes_on_and_then_begins_anew(database: TestDatabase) {
        let (desk, receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.expiring"]).await;
        let at = |days: i64| desk.clock.now() + chrono::TimeDelta::days(days);
        let expiring = |days| wire::CreateKeyRequest {
            name: "k".into(),
            expires_at: Some(time::to_wire(at(days))),
            ..Default::default()
        };
        let key = desk.create(&owner, expiring(20)).await.expect("made").key.expect("a key");
        let workspace = key.workspace_id.parse::<tollgate_kernel::WorkspaceId>().expect("an id");
        let (kind, of) = ("expiring.30", Some(workspace.into()));
        let announce = async || desk.service.announce_ends().await.expect("announced");
        // As if so many keys had come before.
        let there = Place { at: at(25).into(), key: None };
        desk.service.walks.leave(kind, of, Some(there));
        assert_eq!(desk.service.walks.place(kind, of, at(7)), there);
        assert_eq!((announce().await, announce().await), (0, 1));
        assert_eq!(desk.service.walks.place(kind, of, at(7)).at, at(7).into(), "it was at its end");
        // What is over meanwhile is walked past.
        desk.service.walks.leave(kind, of, Some(Place { at: at(1).into(), key: None }));
        assert_eq!(desk.service.walks.place(kind, of, at(7)).at, at(7).into());
    }

    async fn messages_are_forgotten_with_their_deliveries(database: TestDatabase) {
        let (desk, receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        let webhook = desk.hooked(&owner, &receiver, &["key.created"]).await;
        desk.key(&owner).await;
        desk.tell().await;
        desk.clock.advance(29 * DAY);
        desk.service.forget_old().await.expect("forgotten");
        assert_eq!(desk.deliveries(&owner, &webhook).await.len(), 1);
        desk.clock.advance(2 * DAY);
        desk.service.forget_old().await.expect("forgotten");
        assert_eq!(desk.deliveries(&owner, &webhook).await.len(), 0);
    }
}
