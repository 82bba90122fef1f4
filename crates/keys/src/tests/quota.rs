//! Quotas are announced at 80 % and at 100 %, once in a period, and without a call having waited for it.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_proto::ratelimit::{Algorithm, Calendar, Limit, Period, TallyRow};

use super::{receiver::Receiver, *};

fn calendar(name: &str, limit: u64) -> Limit {
    let calendar = Calendar { period: Period::Day.into(), ..Calendar::default() };
    Limit {
        name: name.into(),
        limit,
        algorithm: Algorithm::Calendar.into(),
        calendar: Some(calendar),
        ..Limit::default()
    }
}

impl Desk {
    /// A call of the key, drained.
    async fn called(&self, workspace: &str, key: &str, code: &str) {
        let now = time::to_wire(self.clock.now());
        let row = TallyRow {
            partition: workspace.into(),
            subject: key.into(),
            minute: Some(now),
            code: code.into(),
            count: 1,
            last_at: Some(now),
            ..TallyRow::default()
        };
        let batch = UserId::new(&*self.clock, &OsEntropy).to_string();
        self.counter.give(&batch, vec![row]);
        self.service.drain().await.expect("drained");
    }

    async fn told(&self, receiver: &mut Receiver) -> Vec<Value> {
        self.tell().await;
        receiver.all().iter().map(|it| it.json()["data"]["quota"].clone()).collect()
    }
}

on_every_database! {
    async fn each_threshold_is_announced_once_in_a_period(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["quota.reached"]).await;
        let limits = vec![calendar("daily", 100), super::consumers::limit("minute", 5)];
        let message = wire::CreateKeyRequest { name: "k".into(), limits, ..Default::default() };
        let key = desk.create(&owner, message).await.expect("made").key.expect("a key").id;
        let workspace = desk.workspace_of(&owner).await;
        let call = async |left: u64| {
            desk.counter.leave("daily", left);
            desk.clock.advance(Duration::from_secs(5));
            desk.called(&workspace, &key, "VALID").await;
        };
        // What is left of a period is rounded to minutes: none of the looks below is on the other side of a half.
        desk.clock.advance(Duration::from_secs(30));
        call(21).await;
        assert!(desk.told(&mut receiver).await.is_empty());
        let asked = desk.counter.checked.lock().expect("whole").clone();
        assert!(asked.iter().all(|it| it.peek && it.tally.is_none() && it.charges.iter().all(|it| it.cost == 0)));
        assert_eq!(asked.last().expect("asked").charges.len(), 1, "of the calendar limits only");

        call(20).await;
        call(19).await;
        let told = desk.told(&mut receiver).await;
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0]["percent"], &told[0]["level"]), (&json!(80), &json!("key")));
        assert_eq!((&told[0]["name"], &told[0]["limit"], &told[0]["remaining"]), (&json!("daily"), &json!(100), &json!(20)));
        assert_eq!(told[0]["subject_id"], json!(key));
        call(0).await;
        call(0).await;
        call(10).await;
        let percent = |told: Vec<Value>| told.into_iter().map(|it| it["percent"].clone()).collect::<Vec<_>>();
        assert_eq!(percent(desk.told(&mut receiver).await), [100]);
        // In another period, both thresholds passed between two looks.
        desk.clock.advance(Duration::from_hours(2));
        call(0).await;
        call(10).await;
        assert_eq!(percent(desk.told(&mut receiver).await), [100]);
    }

    async fn a_shared_quota_is_announced_as_whose_it_is(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["quota.reached"]).await;
        let consumer = wire::CreateConsumerRequest {
            caller: Some(owner.clone()), name: "c".into(), limits: vec![calendar("monthly", 10)], ..Default::default()
        };
        let consumer = call!(desk, create_consumer, consumer).expect("made").consumer.expect("a consumer").id;
        let message = wire::CreateKeyRequest { name: "k".into(), consumer_id: consumer.clone(), ..Default::default() };
        let key = desk.create(&owner, message).await.expect("made").key.expect("a key").id;
        desk.counter.leave("consumer.monthly", 0);
        let workspace = desk.workspace_of(&owner).await;
        desk.called(&workspace, &key, "QUOTA_EXCEEDED").await;
        let told = desk.told(&mut receiver).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["level"], &told[0]["subject_id"]), (&json!("consumer"), &json!(consumer)));
        assert_eq!(told[0]["name"], "consumer.monthly");
    }

    async fn where_nobody_listens_nobody_looks(database: TestDatabase) {
        let (desk, receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.created"]).await;
        let message =
            wire::CreateKeyRequest { name: "k".into(), limits: vec![calendar("daily", 1)], ..Default::default() };
        let key = desk.create(&owner, message).await.expect("made").key.expect("a key").id;
        let workspace = desk.workspace_of(&owner).await;
        desk.called(&workspace, &key, "VALID").await;
        desk.called("ws_00000000000000000000000001", "key_00000000000000000000000001", "VALID").await;
        assert!(desk.counter.checked.lock().expect("whole").is_empty());
    }
}
