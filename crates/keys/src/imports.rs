//! Import: keys that were made elsewhere come in by their hashes. What is there already stays as it is, so that what was sent once
//! may be sent again.
//!
//! How such a key is found is in [`crate::imported`]; how keys are taken out, in [`crate::exports`].

pub(crate) mod hash;
mod row;

use std::collections::{HashMap, HashSet};

use tollgate_kernel::{ConsumerId, Fault, KeyId, Violation, WorkspaceId};
use tollgate_proto::keys as wire;
use wire::import_result::Outcome;

use self::row::{Ground, plan_name};
use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    store::{Batch, Change, ConsumerRow, Deed, Fit, Newcomer, limits_to_json},
};

const ROWS: usize = 500;
const NAME_CHARACTERS: usize = 100;

/// A row that was read, or what is wrong with it.
type Row = Result<Newcomer, Vec<Violation>>;

impl KeysService {
    pub(crate) async fn import_keys(
        &self,
        message: wire::ImportKeysRequest,
    ) -> Result<wire::ImportKeysResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        if !(1..=ROWS).contains(&message.rows.len()) {
            problems.add("/rows", format!("must be 1 to {ROWS}"));
        }
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ImportKeys, "workspace")?;
        let ground = self.ground(&message, workspace, &caller, &standing).await?;
        let rows: Vec<Row> = message.rows.iter().map(|row| ground.read(row)).collect();
        let ids: Vec<KeyId> = rows.iter().flatten().map(|it| it.key.id.typed()).collect();
        let newcomers: Vec<_> = rows.iter().flatten().cloned().collect();
        let fits = if newcomers.is_empty() {
            Vec::new()
        } else if message.dry_run {
            self.store.keys_fit(workspace, &newcomers).await?
        } else {
            self.take_in(workspace, &caller, newcomers).await?
        };
        let mut fits = fits.into_iter().zip(ids);
        let mut said = |row: Row| match row {
            Ok(_) => {
                let (fit, id) = fits.next().expect("one for each that was read");
                result(fit, id, message.dry_run)
            }
            Err(violations) => invalid(violations),
        };
        Ok(wire::ImportKeysResponse { results: rows.into_iter().map(&mut said).collect() })
    }

    async fn take_in(
        &self,
        workspace: WorkspaceId,
        caller: &Caller,
        newcomers: Vec<Newcomer>,
    ) -> Result<Vec<Fit>, Fault> {
        let now = self.clock.now();
        let deed = Deed { caller, workspace, action: "key.import", target: workspace.to_string(), at: now };
        let consumers = self.consumers_of(workspace, caller, &newcomers);
        let batch = Batch { workspace: workspace.into(), consumers, newcomers };
        self.store.keys_import(Change::imports(&self.store, deed), batch).await
    }

    /// The consumers that rows name, as they are made if they are not there.
    fn consumers_of(
        &self,
        workspace: WorkspaceId,
        caller: &Caller,
        newcomers: &[Newcomer],
    ) -> HashMap<String, ConsumerRow> {
        let names: HashSet<&String> = newcomers.iter().filter_map(|it| it.consumer.as_ref()).collect();
        let row = |external_id: &String| {
            let name: String = external_id.chars().take(NAME_CHARACTERS).collect();
            let row = ConsumerRow {
                id: ConsumerId::new(&*self.clock, &*self.entropy).into(),
                workspace_id: workspace.into(),
                name_folded: name.to_ascii_lowercase(),
                name,
                external_id: Some(external_id.clone()),
                plan_id: None,
                limits: limits_to_json(&[]),
                metadata: serde_json::json!({}).into(),
                enabled: true,
                created_by: caller.principal.to_string(),
                created_at: self.clock.now().into(),
            };
            (external_id.clone(), row)
        };
        names.into_iter().map(row).collect()
    }

    /// Reads once what all rows need.
    async fn ground(
        &self,
        message: &wire::ImportKeysRequest,
        workspace: WorkspaceId,
        caller: &Caller,
        standing: &Standing,
    ) -> Result<Ground<'_>, Fault> {
        let distinct = |names: HashSet<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let rows = &message.rows;
        let plans = distinct(rows.iter().map(plan_name).collect());
        let roles = distinct(rows.iter().flat_map(|it| &it.roles).map(String::as_str).collect());
        let consumers = distinct(rows.iter().filter_map(|it| it.consumer.as_deref()).collect());
        let plans = self.store.plans_named(workspace, &plans).await?;
        Ok(Ground {
            workspace,
            created_by: caller.principal.to_string(),
            now: self.clock.now(),
            policy: self.policy(workspace).await?,
            ceiling: self.ceiling(caller, standing).await?,
            plans: plans.into_iter().map(|plan| (plan.name.clone(), plan)).collect(),
            roles: self.store.roles_named(workspace, &roles).await?,
            consumers: self.store.consumers_named(workspace, &consumers).await?,
            create_consumers: message.create_consumers,
            clock: &*self.clock,
            entropy: &*self.entropy,
        })
    }
}

fn result(fit: Fit, id: KeyId, dry_run: bool) -> wire::ImportResult {
    let outcome = match fit {
        Fit::New => Outcome::Created,
        Fit::Exists => Outcome::Exists,
        Fit::Taken(pointer, detail) => {
            return invalid(vec![Violation { pointer: pointer.into(), detail: detail.into() }]);
        }
    };
    let made = outcome == Outcome::Created && !dry_run;
    let key_id = if made { id.to_string() } else { String::new() };
    wire::ImportResult { outcome: outcome.into(), key_id, problems: Vec::new() }
}

fn invalid(violations: Vec<Violation>) -> wire::ImportResult {
    let problem = |it: Violation| wire::ImportProblem {
        pointer: it.pointer.into_owned(),
        detail: it.detail.into_owned(),
    };
    wire::ImportResult {
        outcome: Outcome::Invalid.into(),
        key_id: String::new(),
        problems: violations.into_iter().map(problem).collect(),
    }
}
