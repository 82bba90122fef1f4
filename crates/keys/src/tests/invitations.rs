//! Invitations: used once, by the one who is meant, and for no more than the inviter may give.

use std::time::Duration;

use tollgate_proto::kernel::caller::Principal;

use super::{members::id_of, *};
use MemberRole::{Admin, Member, Owner};

const ANN: &str = "ann@example.com";

impl Desk {
    async fn invite(&self, caller: &Caller, at: &str, role: MemberRole) -> Result<(String, String), Fault> {
        let message = wire::CreateInvitationRequest {
            caller: Some(caller.clone()),
            workspace_id: at.to_owned(),
            email: ANN.into(),
            role: role.to_string(),
            ..Default::default()
        };
        let made = call!(self, create_invitation, message)?;
        Ok((made.invitation.expect("an invitation").id, made.token))
    }

    async fn accept(&self, caller: &Caller, token: &str, email: &str) -> Result<wire::Membership, Code> {
        let mut caller = caller.clone();
        if let Some(Principal::User(user)) = &mut caller.principal {
            user.email = email.to_owned();
        }
        let message = wire::AcceptInvitationRequest { caller: Some(caller), token: token.to_owned() };
        let answer = call!(self, accept_invitation, message);
        answer.map(|it| it.member.expect("a member")).map_err(|fault| fault.code())
    }

    async fn invitations(&self, caller: &Caller, at: &str) -> Vec<wire::Invitation> {
        let message = wire::ListInvitationsRequest {
            caller: Some(caller.clone()),
            workspace_id: at.to_owned(),
            ..Default::default()
        };
        call!(self, list_invitations, message).expect("a list").invitations
    }

    async fn statuses(&self, caller: &Caller, at: &str) -> Vec<String> {
        self.invitations(caller, at).await.into_iter().map(|it| it.status).collect()
    }

    async fn revoke_invitation(&self, caller: &Caller, at: &str, id: &str) -> Result<String, Code> {
        let message = wire::RevokeInvitationRequest {
            caller: Some(caller.clone()),
            workspace_id: at.to_owned(),
            invitation_id: id.to_owned(),
        };
        let answer = call!(self, revoke_invitation, message);
        answer.map(|it| it.invitation.expect("an invitation").status).map_err(|fault| fault.code())
    }
}

on_every_database! {
    async fn the_one_who_is_invited_becomes_a_member(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, ann) = (desk.user(), desk.user());
        let at = desk.workspace_of(&owner).await;
        let (id, token) = desk.invite(&owner, &at, Admin).await.expect("made");
        let [pending] = &desk.invitations(&owner, &at).await[..] else { panic!("one") };
        assert_eq!((&*pending.id, &*pending.status, &*pending.email), (&*id, "pending", ANN));
        assert_eq!((&*pending.role, &pending.invited_by), ("admin", &id_of(&owner)));
        let week = desk.clock.now() + chrono::TimeDelta::days(7);
        assert_eq!(pending.expires_at, Some(time::to_wire(week)));
        assert!(!format!("{pending:?}").contains(&token));

        let joined = desk.accept(&ann, &token, "Ann@EXAMPLE.com").await.expect("a member");
        assert_eq!((&joined.workspace_id, &joined.user_id, &*joined.role), (&at, &id_of(&ann), "admin"));
        // An answer that was lost is asked for again.
        assert_eq!(desk.accept(&ann, &token, ANN).await, Ok(joined));
        let [accepted] = &desk.invitations(&owner, &at).await[..] else { panic!("one") };
        assert_eq!((&*accepted.status, &accepted.accepted_by), ("accepted", &id_of(&ann)));
        assert_eq!(desk.revoke_invitation(&owner, &at, &id).await, Err(Code::Conflict));
        let audited = desk.service.store.audited().await;
        assert_eq!(audited, ["invitation.accept", "invitation.create", "workspace.create"]);

        // Once removed, the token is good for nothing.
        assert_eq!(desk.remove(&owner, &at, &ann).await, Ok(()));
        assert_eq!(desk.accept(&ann, &token, ANN).await, Err(Code::NotFound));
    }

    async fn nobody_else_can_use_it(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, thief) = (desk.user(), desk.user());
        let at = desk.workspace_of(&owner).await;
        let (_, token) = desk.invite(&owner, &at, Member).await.expect("made");
        for email in ["thief@example.com", "ann@example.com.evil.test", "ann@example.co"] {
            assert_eq!(desk.accept(&thief, &token, email).await, Err(Code::Forbidden), "{email}");
        }
        let machine = desk.machine(&thief, &["keys.write"]).await;
        assert_eq!(desk.accept(&machine, &token, ANN).await, Err(Code::Forbidden));
        let guess = format!("tg_inv_{}", "A".repeat(43));
        for guess in ["", "tg_inv_", &guess, &token[..49], &format!("{token}A"), &token.to_uppercase()] {
            assert_eq!(desk.accept(&thief, guess, ANN).await, Err(Code::NotFound), "{guess}");
        }
        assert_eq!(desk.statuses(&owner, &at).await, ["pending"]);
        assert!(!desk.service.store.everything().await.contains(&token));
    }

    async fn of_sixteen_who_use_it_at_once_one_comes_in(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.workspace_of(&owner).await;
        let (_, token) = desk.invite(&owner, &at, Member).await.expect("made");
        let tasks: Vec<_> = (0..16).map(|_| {
            let (desk, token) = (desk.clone(), token.clone());
            tokio::spawn(async move { desk.accept(&desk.user(), &token, ANN).await })
        }).collect();
        let mut joined = 0;
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(_) => joined += 1,
                Err(code) => assert_eq!(code, Code::NotFound),
            }
        }
        assert_eq!((joined, desk.members(&owner, &at).await.len()), (1, 2));

        // The same one, sixteen times: one deed.
        let (_, token) = desk.invite(&owner, &at, Member).await.expect("made");
        let ann = desk.user();
        let tasks: Vec<_> = (0..16).map(|_| {
            let (desk, token, ann) = (desk.clone(), token.clone(), ann.clone());
            tokio::spawn(async move { desk.accept(&ann, &token, ANN).await })
        }).collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic").expect("a member").user_id, id_of(&ann));
        }
        let audited = desk.service.store.audited().await;
        assert_eq!(audited.iter().filter(|action| *action == "invitation.accept").count(), 2);
    }

    async fn one_that_has_ended_is_not_there(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, ann) = (desk.user(), desk.user());
        let at = desk.workspace_of(&owner).await;
        let (id, revoked) = desk.invite(&owner, &at, Member).await.expect("made");
        assert_eq!(desk.revoke_invitation(&owner, &at, &id).await.as_deref(), Ok("revoked"));
        assert_eq!(desk.revoke_invitation(&owner, &at, &id).await.as_deref(), Ok("revoked"), "again");
        assert_eq!(desk.accept(&ann, &revoked, ANN).await, Err(Code::NotFound));
        let (_, late) = desk.invite(&owner, &at, Member).await.expect("made");
        desk.clock.advance(Duration::from_hours(7 * 24));
        assert_eq!(desk.accept(&ann, &late, ANN).await, Err(Code::NotFound));
        let mut said = desk.statuses(&owner, &at).await;
        said.sort();
        assert_eq!(said, ["expired", "revoked"]);
        // Of another workspace it is not there, either.
        let stranger = desk.user();
        let theirs = desk.workspace_of(&stranger).await;
        assert_eq!(desk.revoke_invitation(&stranger, &theirs, &id).await, Err(Code::NotFound));
        assert_eq!(desk.revoke_invitation(&stranger, &at, &id).await, Err(Code::NotFound));
        desk.clock.advance(Duration::from_hours(31 * 24));
        desk.service.forget_old().await.expect("forgotten");
        assert_eq!(desk.statuses(&owner, &at).await, [""; 0]);
    }

    async fn nobody_invites_to_more_than_they_are(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.workspace_of(&owner).await;
        let admin = desk.member(&at, Admin).await;
        let member = desk.member(&at, Member).await;
        let machine = desk.machine(&owner, &["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
        for (caller, role, fine) in [
            (&owner, Owner, true),
            (&admin, Owner, false),
            (&admin, Admin, true),
            (&admin, Member, true),
            (&member, Member, false),
            (&machine, Member, false),
        ] {
            let said = desk.invite(caller, &at, role).await.map(|_| ()).map_err(|fault| fault.code());
            assert_eq!(said, if fine { Ok(()) } else { Err(Code::Forbidden) }, "{role}");
        }
        let of_owner = desk.invitations(&owner, &at).await.into_iter().find(|it| it.role == "owner");
        let id = of_owner.expect("one").id;
        assert_eq!(desk.revoke_invitation(&admin, &at, &id).await, Err(Code::Forbidden));
        assert_eq!(desk.revoke_invitation(&member, &at, &id).await, Err(Code::Forbidden));
    }

    async fn who_may_no_longer_invites_no_longer(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, accomplice) = (desk.user(), desk.user());
        let at = desk.workspace_of(&owner).await;
        let admin = desk.member(&at, Admin).await;
        let (_, token) = desk.invite(&admin, &at, Admin).await.expect("made");
        let (_, kept) = desk.invite(&owner, &at, Member).await.expect("made");
        assert_eq!(desk.remove(&owner, &at, &admin).await, Ok(()));
        assert_eq!(desk.accept(&accomplice, &token, ANN).await, Err(Code::NotFound));
        let mut said = desk.statuses(&owner, &at).await;
        said.sort();
        assert_eq!(said, ["pending", "revoked"]);
        assert!(desk.accept(&accomplice, &kept, ANN).await.is_ok());
    }

    async fn a_role_is_raised_and_never_lowered(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.workspace_of(&owner).await;
        let member = desk.member(&at, Member).await;
        for (invited, role) in [(Member, "member"), (Admin, "admin"), (Member, "admin")] {
            let before = desk.changes.sequence();
            let (_, token) = desk.invite(&owner, &at, invited).await.expect("made");
            assert_eq!(desk.accept(&member, &token, ANN).await.expect("a member").role, role);
            let (workspace, user) = (at.parse().expect("an id"), id_of(&member).parse().expect("an id"));
            let known = desk.changes.holds_until(before, &[Subject::Member(workspace, user)]);
            assert_eq!(known, None, "caches know");
        }
        let (_, token) = desk.invite(&owner, &at, Member).await.expect("made");
        assert_eq!(desk.accept(&owner, &token, ANN).await.expect("a member").role, "owner");
        assert_eq!(desk.members(&owner, &at).await.len(), 2);
    }

    async fn so_many_are_pending_and_none_comes_into_what_is_disabled(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, ann) = (desk.user(), desk.user());
        let at = desk.workspace_of(&owner).await;
        let mut made = Vec::new();
        for _ in 0..100 {
            made.push(desk.invite(&owner, &at, Member).await.expect("made"));
        }
        let full = desk.invite(&owner, &at, Member).await.expect_err("too many");
        assert_eq!(full.code(), Code::Conflict);
        desk.revoke_invitation(&owner, &at, &made[0].0).await.expect("revoked");
        desk.invite(&owner, &at, Member).await.expect("there is room");

        let switch = |enabled| wire::UpdateWorkspaceRequest {
            caller: Some(desk.operator()),
            workspace_id: at.clone(),
            enabled: Some(enabled),
            ..Default::default()
        };
        call!(desk, update_workspace, switch(false)).expect("disabled");
        assert_eq!(desk.accept(&ann, &made[1].1, ANN).await, Err(Code::Forbidden));
        assert_eq!(desk.invite(&owner, &at, Member).await.expect_err("disabled").code(), Code::Forbidden);
        call!(desk, update_workspace, switch(true)).expect("enabled");
        assert!(desk.accept(&ann, &made[1].1, ANN).await.is_ok());
    }

    async fn what_breaks_a_rule_is_named(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace_id = desk.workspace_of(&owner).await;
        let message = wire::CreateInvitationRequest {
            caller: Some(owner),
            workspace_id,
            email: "nobody".into(),
            role: "king".into(),
            expires_in_days: 31,
            idempotency_key: "a b".into(),
        };
        let fault = call!(desk, create_invitation, message).expect_err("refused");
        assert_eq!(pointers(&fault), ["/email", "/role", "/expires_in_days", "/idempotency_key"]);
    }
}
