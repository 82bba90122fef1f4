//! Every call of the contract that says who asks, made by nobody and by strangers: a call that is new is in here by itself.

use prost::{Message, encoding};
use prost_types::{DescriptorProto, FileDescriptorSet};
use tollgate_proto::{DESCRIPTORS, keys_rpcs};

use super::*;

/// What is about nobody's workspace but the caller's.
const OWN: [&str; 3] = ["ensure_personal_workspace", "create_workspace", "list_workspaces"];

/// What somebody else has, by the names that requests have for it.
struct Theirs {
    desk: Desk,
    contracts: FileDescriptorSet,
    ids: Vec<(&'static str, String)>,
}

impl Theirs {
    async fn new(desk: &Desk) -> Self {
        let owner = desk.user();
        let caller = Some(owner.clone());
        let workspace_id = desk.workspace_of(&owner).await;
        let key = desk.key(&owner).await.key.expect("a key").id;
        let secrets = wire::ListKeySecretsRequest { caller: caller.clone(), key_id: key.clone() };
        let secrets = call!(desk, list_key_secrets, secrets).expect("a list").secrets;
        let name = String::from("theirs");
        let plan =
            wire::CreatePlanRequest { caller: caller.clone(), name: name.clone(), ..Default::default() };
        let consumer =
            wire::CreateConsumerRequest { caller: caller.clone(), name: name.clone(), ..Default::default() };
        let role = wire::CreateRoleRequest { caller: caller.clone(), name, ..Default::default() };
        let invitation = wire::CreateInvitationRequest {
            caller,
            workspace_id: workspace_id.clone(),
            email: "ann@example.com".into(),
            role: "member".into(),
            ..Default::default()
        };
        let invitation = call!(desk, create_invitation, invitation).expect("made");
        let url = "https://example.com/hook";
        let hook = desk.webhook(&owner, url, &["key.created"]).await.expect("made").webhook.expect("one").id;
        let tried = wire::TestWebhookRequest { caller: Some(owner.clone()), webhook_id: hook.clone() };
        let delivery = call!(desk, test_webhook, tried).expect("tried").delivery.expect("a delivery").id;
        let Some(caller::Principal::User(user)) = &owner.principal else { panic!("a user") };
        let ids = vec![
            ("workspace_id", workspace_id),
            ("owner_id", key.clone()),
            ("webhook_id", hook.clone()),
            ("delivery_id", delivery),
            ("key_id", key),
            ("secret_id", secrets[0].id.clone()),
            ("plan_id", call!(desk, create_plan, plan).expect("made").plan.expect("a plan").id),
            (
                "consumer_id",
                call!(desk, create_consumer, consumer).expect("made").consumer.expect("a consumer").id,
            ),
            ("role_id", call!(desk, create_role, role).expect("made").role.expect("a role").id),
            ("service_key_id", desk.service_key(&owner, &["keys.read"]).await.service_key.expect("one").id),
            ("user_id", user.user_id.clone()),
            ("invitation_id", invitation.invitation.expect("an invitation").id),
        ];
        let contracts = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        Self { desk: desk.clone(), contracts, ids }
    }

    fn contract(&self, request: &str) -> &DescriptorProto {
        let files = self.contracts.file.iter().filter(|file| file.package() == "tollgate.keys.v1");
        let mut messages = files.flat_map(|file| &file.message_type);
        messages.find(|message| message.name() == request).expect("it is in the contract")
    }

    /// A request with all that it takes to be about what is theirs. `None`: nobody is asked for.
    fn request(&self, name: &str, caller: Option<&Caller>) -> Option<Vec<u8>> {
        let contract = self.contract(name);
        contract.field.iter().find(|field| field.name() == "caller")?;
        let mut bytes = Vec::new();
        for field in &contract.field {
            let tag = u32::try_from(field.number()).expect("a tag");
            let mut text = |value: &str| encoding::string::encode(tag, &value.to_owned(), &mut bytes);
            match field.name() {
                "caller" => {
                    if let Some(caller) = caller {
                        encoding::message::encode(tag, caller, &mut bytes);
                    }
                }
                "name" | "request_id" => text("a"),
                "url" => text("https://example.com/"),
                "events" if field.type_name().is_empty() => text("key.created"),
                "amount" => encoding::uint64::encode(tag, &1, &mut bytes),
                "every_days" => encoding::uint32::encode(tag, &30, &mut bytes),
                "rows" => encoding::message::encode(tag, &wire::ImportRow::default(), &mut bytes),
                "group_by" => encoding::int32::encode(tag, &1, &mut bytes),
                "all" => encoding::bool::encode(tag, &true, &mut bytes),
                "email" => text("ann@example.com"),
                "role" => text("member"),
                "permissions" => text("keys.verify"),
                "token" => text(&format!("tg_inv_{}", "a".repeat(43))),
                "limit" => encoding::uint32::encode(tag, &1, &mut bytes),
                "expires_at" => {
                    let tomorrow = time::to_wire(self.desk.clock.now() + chrono::TimeDelta::days(1));
                    encoding::message::encode(tag, &tomorrow, &mut bytes);
                }
                // The workspace's own name for something.
                "external_id" => {}
                id if id.ends_with("_id") => {
                    let known = self.ids.iter().find(|(name, _)| *name == id);
                    text(&known.unwrap_or_else(|| panic!("{name}: say here what `{id}` is")).1);
                }
                _ => {}
            }
        }
        Some(bytes)
    }
}

/// Makes every call as this caller.
macro_rules! try_all {
    ($theirs:expr, $caller:expr; $($rpc:ident($request:ident) -> $response:ident;)*) => {{
        let mut said: Vec<(&str, Result<(), Code>)> = Vec::new();
        $(
            if let Some(bytes) = $theirs.request(stringify!($request), $caller) {
                let message = wire::$request::decode(&*bytes).expect("a request");
                let answer = Box::pin(async { call!($theirs.desk, $rpc, message) }).await;
                said.push((stringify!($rpc), answer.map(|_| ()).map_err(|fault| fault.code())));
            }
        )*
        said
    }};
}

on_every_database! {
    async fn nobody_and_strangers_are_refused_whatever_they_ask(database: TestDatabase) {
        let desk = Desk::telling(&database).await;
        let theirs = Theirs::new(&desk).await;
        let mut stranger = desk.user();
        if let Some(caller::Principal::User(user)) = &mut stranger.principal {
            user.email = "stranger@example.com".into();
        }
        desk.workspace_of(&stranger).await;
        let machine =
            desk.machine(&stranger, &["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
        let before = desk.service.store.audited().await;

        let nobody = keys_rpcs!(try_all! { theirs, None; });
        assert!(nobody.len() > 40, "{}", nobody.len());
        for (rpc, said) in nobody {
            assert_eq!(said, Err(Code::Unauthenticated), "{rpc}");
        }
        for (rpc, said) in keys_rpcs!(try_all! { theirs, Some(&stranger); }) {
            if !OWN.contains(&rpc) {
                assert_eq!(said, Err(Code::NotFound), "{rpc}");
            }
        }
        for (rpc, said) in keys_rpcs!(try_all! { theirs, Some(&machine); }) {
            // A machine is a user of nothing.
            let forbidden = OWN.contains(&rpc) || rpc == "accept_invitation";
            let expected = if forbidden { Code::Forbidden } else { Code::NotFound };
            assert_eq!(said, Err(expected), "{rpc}");
        }
        let mut after = desk.service.store.audited().await;
        let own = after.iter().rposition(|action| action == "workspace.create").expect("the stranger's own");
        after.remove(own);
        assert_eq!(after, before, "nothing else was done");
    }
}
