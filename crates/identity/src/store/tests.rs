//! The contract of the store, on both databases; and what only tests ask it.

use std::sync::Arc;

use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tollgate_changes::Entry;
use tollgate_db::{DbId, DbTime, Error, read_db, write_db};
use tollgate_kernel::{Clock, OsEntropy, SessionId, SigningKeyId, Timestamp, UserId};
use tollgate_testkit::{MockClock, TestDatabase, on_every_database};
use tollgate_verify::Subject;

use super::{
    Action, AuditEvent, EndReason, MIGRATIONS, Rehash, SessionRow, SigningKeyRow, Store, UserRow, schema,
};
use crate::signing_keys::Times;

impl Store {
    /// All that happened, by name: under a clock that stands still there is no other order.
    pub(crate) async fn actions(&self) -> Vec<String> {
        use schema::audit_events as a;
        read_db!(self.0, |c| a::table.select(a::action).order(a::action).load(c).await).unwrap()
    }

    /// Why logins failed, by name.
    pub(crate) async fn failures(&self) -> Vec<String> {
        use schema::audit_events as a;
        let reasons: Vec<Option<String>> = read_db!(self.0, |c| {
            let failed = a::table.filter(a::reason.is_not_null().and(a::identifier.is_not_null()));
            failed.select(a::reason).order(a::reason).load(c).await
        })
        .unwrap();
        reasons.into_iter().flatten().collect()
    }

    pub(crate) async fn user_disable(&self, id: UserId, now: Timestamp) {
        use schema::users as u;
        let id = DbId::from(id);
        let disabled = u::disabled_at.eq(Some(DbTime(now)));
        write_db!(self.0, |c| diesel::update(u::table.find(id)).set(disabled).execute(c).await).unwrap();
    }

    pub(crate) async fn sessions_count(&self) -> i64 {
        read_db!(self.0, |c| schema::sessions::table.count().get_result(c).await).unwrap()
    }

    pub(crate) async fn signing_keys_clear(&self) {
        write_db!(self.0, |c| diesel::delete(schema::signing_keys::table).execute(c).await).unwrap();
    }
}

struct Given {
    store: Store,
    clock: Arc<MockClock>,
    _database: TestDatabase,
}

impl Given {
    async fn new(database: TestDatabase) -> Self {
        let db = crate::tests::support::open(&database).await;
        assert!(db.migrate(&MIGRATIONS).await.unwrap() > 0);
        Self { store: Store(db), clock: MockClock::new(), _database: database }
    }

    fn entry(&self, subject: Subject) -> Entry {
        Entry::new(subject, self.clock.now(), &OsEntropy)
    }

    fn event(&self, action: Action) -> AuditEvent {
        AuditEvent::new(action, &*self.clock, &OsEntropy)
    }

    async fn user(&self, email: &str) -> UserRow {
        let user = UserRow {
            id: UserId::new(&*self.clock, &OsEntropy).into(),
            email: email.to_owned(),
            email_key: email.to_lowercase(),
            name: Some("Ann".to_owned()),
            password_hash: "old".to_owned(),
            operator: false,
            created_at: self.clock.now().into(),
            disabled_at: None,
        };
        self.store.user_insert(&user, &self.event(Action::Signup)).await.unwrap();
        user
    }

    async fn session(&self, user: &UserRow, rehash: Option<&Rehash>) -> SessionRow {
        let now = DbTime(self.clock.now());
        let session = SessionRow {
            id: SessionId::new(&*self.clock, &OsEntropy).into(),
            user_id: user.id,
            generation: 0,
            created_at: now,
            rotated_at: now,
            ends_at: now,
            absolute_ends_at: now,
            end_reason: None,
            ip: Some("192.0.2.1".to_owned()),
            user_agent: "test".to_owned(),
        };
        self.store.session_insert(&session, rehash, &self.event(Action::Login)).await.unwrap();
        session
    }
}

on_every_database! {
    async fn a_user_comes_back_as_it_was_written(database: TestDatabase) {
        let given = Given::new(database).await;
        let user = given.user("Ann@Example.com").await;
        let read = given.store.user_by_email("ann@example.com").await.unwrap().unwrap();
        assert_eq!((read.id, &read.email, &read.name), (user.id, &user.email, &user.name));
        assert_eq!((read.created_at, read.disabled_at), (user.created_at, None));
        assert!(given.store.user_by_email("Ann@Example.com").await.unwrap().is_none(), "by its key only");
        assert!(given.store.user_by_id(user.id()).await.unwrap().is_some());
    }

    async fn a_taken_address_writes_nothing(database: TestDatabase) {
        let given = Given::new(database).await;
        let user = given.user("ann@example.com").await;
        let other = UserRow { id: UserId::new(&*given.clock, &OsEntropy).into(), ..user };
        let refused = given.store.user_insert(&other, &given.event(Action::Signup)).await;
        assert!(matches!(refused, Err(Error::Unique(_))), "{refused:?}");
        assert_eq!(given.store.actions().await, ["user.signup"], "no audit of what did not happen");
    }

    async fn a_session_rotates_by_compare_and_set(database: TestDatabase) {
        let given = Given::new(database).await;
        let session = given.session(&given.user("ann@example.com").await, None).await;
        let (id, now) = (session.id(), given.clock.now());
        assert!(given.store.session_rotate(id, 0, now, now).await.unwrap());
        assert!(!given.store.session_rotate(id, 0, now, now).await.unwrap(), "not twice");
        assert!(!given.store.session_rotate(id, 2, now, now).await.unwrap(), "not ahead");
        let event = given.event(Action::Logout);
        let entry = given.entry(Subject::Session(id));
        given.store.session_end(id, entry, EndReason::Logout, now, &event).await.unwrap();
        assert!(!given.store.session_rotate(id, 1, now, now).await.unwrap(), "not when it is over");
        let (row, user) = given.store.session_by_id(id).await.unwrap().unwrap();
        assert_eq!((row.generation, user.email.as_str()), (1, "ann@example.com"));
    }

    async fn a_session_ends_once(database: TestDatabase) {
        let given = Given::new(database).await;
        let session = given.session(&given.user("ann@example.com").await, None).await;
        let end = async |reason, action| {
            let (now, event) = (given.clock.now(), given.event(action));
            let id = session.id();
            given.store.session_end(id, given.entry(Subject::Session(id)), reason, now, &event).await.unwrap().0
        };
        assert!(end(EndReason::Reuse, Action::RefreshReused).await);
        assert!(!end(EndReason::Logout, Action::Logout).await);
        let (row, _) = given.store.session_by_id(session.id()).await.unwrap().unwrap();
        assert_eq!(row.end_reason.as_deref(), Some("reuse"));
        let actions = given.store.actions().await;
        assert_eq!(actions, ["session.login", "session.refresh_reused", "user.signup"]);
    }

    async fn all_sessions_of_one_user_end(database: TestDatabase) {
        let given = Given::new(database).await;
        let (ann, bob) = (given.user("ann@example.com").await, given.user("bob@example.com").await);
        given.session(&ann, None).await;
        given.session(&ann, None).await;
        let other = given.session(&bob, None).await;
        let (now, event) = (given.clock.now(), given.event(Action::LogoutAll));
        let entry = given.entry(Subject::User(ann.id()));
        assert_eq!(given.store.sessions_end(ann.id(), entry, now, &event).await.unwrap().0, 2);
        let again = given.event(Action::LogoutAll);
        assert_eq!(given.store.sessions_end(ann.id(), entry, now, &again).await.unwrap().0, 0);
        let (row, _) = given.store.session_by_id(other.id()).await.unwrap().unwrap();
        assert_eq!(row.end_reason, None);
        let actions = given.store.actions().await;
        assert_eq!(actions.iter().filter(|action| *action == "session.logout_all").count(), 1);
    }

    async fn a_new_hash_does_not_overwrite_a_new_password(database: TestDatabase) {
        let given = Given::new(database).await;
        let user = given.user("ann@example.com").await;
        let hash = async || given.store.user_by_id(user.id()).await.unwrap().unwrap().password_hash;
        let rehash = Rehash { old: "old".to_owned(), new: "new".to_owned() };
        given.session(&user, Some(&rehash)).await;
        assert_eq!(hash().await, "new");
        given.session(&user, Some(&Rehash { old: "old".to_owned(), new: "late".to_owned() })).await;
        assert_eq!(hash().await, "new");
    }

    async fn a_signing_key_has_one_successor(database: TestDatabase) {
        let given = Given::new(database).await;
        let now = given.clock.now();
        let first = Times { number: 1, published_at: now, active_at: now, retires_at: None, gone_at: None };
        let insert = async |times: &Times, relieved: Option<&Times>| {
            let id = SigningKeyId::new(&*given.clock, &OsEntropy);
            let row = SigningKeyRow::new(id, vec![1, 2, 3], times);
            let event = given.event(Action::SigningKeyCreated);
            given.store.signing_key_insert(&row, relieved, &event).await.unwrap()
        };
        assert!(insert(&first, None).await);
        assert!(!insert(&first, None).await);
        let relieved = Times { retires_at: Some(now), gone_at: Some(now), ..first };
        let next = Times { number: 2, ..first };
        assert!(insert(&next, Some(&relieved)).await);
        let too_late = Times { gone_at: Some(now + chrono::TimeDelta::days(1)), ..relieved };
        assert!(!insert(&next, Some(&too_late)).await);
        let times = async || {
            let rows = given.store.signing_keys().await.unwrap();
            rows.iter().map(SigningKeyRow::times).collect::<Vec<_>>()
        };
        assert_eq!(times().await, [relieved, next], "who came second changed nothing");
        assert_eq!(given.store.signing_keys_delete(now).await.unwrap(), 1);
        assert_eq!(times().await, [next]);
    }

    async fn what_happened_is_not_rewritten(database: TestDatabase) {
        let given = Given::new(database).await;
        given.user("ann@example.com").await;
        let rewrite = "UPDATE audit_events SET action = 'nothing'";
        assert!(write_db!(given.store.0, |c| c.batch_execute(rewrite).await).is_err());
        assert_eq!(given.store.actions().await, ["user.signup"]);
    }
}
