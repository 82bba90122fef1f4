//! One row of an import: from a message to the rows of the tables, or to what is wrong with it.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use tollgate_db::DbId;
use tollgate_kernel::{Clock, Entropy, Fault, KeyId, SecretId, Timestamp, Violation, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::{Environment, mint};

use super::hash::Hash;
use crate::{
    ceiling::Ceiling,
    input::{self, Problems},
    keys::kind,
    levels::{self, Level},
    limits::Limit,
    plans::DEFAULT_PLAN,
    policy::Policy,
    store::{ImportedRow, KeyRow, NewSecret, Newcomer, PlanRow, RoleScopes, SecretRow, limits_to_json},
};

const PREFIX_CHARACTERS: usize = 24;
/// Fewer would find too many keys that are none of it.
const SHORTEST_PREFIX: usize = 6;
const RETIRING: usize = 4;
const CONSUMER_CHARACTERS: usize = 255;

/// What all rows of a batch have in common.
pub(super) struct Ground<'a> {
    pub(super) workspace: WorkspaceId,
    pub(super) created_by: String,
    pub(super) now: Timestamp,
    pub(super) policy: Policy,
    pub(super) ceiling: Ceiling,
    /// Those that are named, by name.
    pub(super) plans: HashMap<String, PlanRow>,
    /// Those that are named.
    pub(super) roles: Vec<RoleScopes>,
    /// The external ids of those that there are, of those that are named.
    pub(super) consumers: HashSet<String>,
    pub(super) create_consumers: bool,
    pub(super) clock: &'a dyn Clock,
    pub(super) entropy: &'a dyn Entropy,
}

/// The name of the plan that a row asks for.
pub(super) fn plan_name(row: &wire::ImportRow) -> &str {
    if row.plan.is_empty() { DEFAULT_PLAN } else { &row.plan }
}

/// A secret of a row that was read.
struct Read<'a> {
    hash: Hash,
    prefix: &'a str,
    retires_at: Option<Timestamp>,
}

impl Ground<'_> {
    /// What is to be stored of a row, or all that is wrong with it.
    pub(super) fn read(&self, row: &wire::ImportRow) -> Result<Newcomer, Vec<Violation>> {
        let mut problems = Problems::default();
        let secrets = Self::secrets(row, &mut problems);
        let key = self.key(row, &mut problems);
        let last_used = self.past(row.last_used_at, "/last_used_at", &mut problems);
        self.check_consumer(row.consumer.as_deref(), &mut problems);
        let said = |fault: Fault| fault.violated().to_vec();
        problems.check().map_err(said)?;
        let (Some(secrets), Some(mut key)) = (secrets, key) else {
            return Err(vec![Violation { pointer: "".into(), detail: "cannot be read".into() }]);
        };
        let environment = key.environment().expect("it was just written");
        let secrets: Vec<_> = secrets.into_iter().map(|it| self.secret(&key, environment, it)).collect();
        key.start.clone_from(&secrets[0].row.start);
        let last_used = last_used.map(Into::into);
        Ok(Newcomer { key, consumer: row.consumer.clone(), secrets, last_used })
    }

    fn secrets<'a>(row: &'a wire::ImportRow, problems: &mut Problems) -> Option<Vec<Read<'a>>> {
        let Some(first) = &row.secret else {
            problems.add("/hash", "is missing");
            return None;
        };
        let first = read_secret(first, "", problems);
        let others = problems.at_most(&row.retiring, RETIRING, "/retiring").iter().enumerate();
        let others: Vec<_> =
            others.map(|(place, it)| read_secret(it, &format!("/retiring/{place}"), problems)).collect();
        [first].into_iter().chain(others).collect()
    }

    fn key(&self, row: &wire::ImportRow, it: &mut Problems) -> Option<KeyRow> {
        let name = input::name(&row.name, it);
        let description = input::description(&row.description, it);
        let environment = environment(&row.environment, it);
        let scopes = input::scopes(&row.scopes, it);
        let roles = input::role_names(&row.roles, it);
        let limits = limits(row, it);
        let allowed_ips = input::allowed_ips(&row.allowed_ips, it);
        let metadata = input::metadata(&row.metadata_json, it);
        let expires_at = row.expires_at.and_then(|at| input::end(at, self.now, it));
        let not_before = input::beginning(row.not_before, self.now, it);
        let created_at = self.past(row.created_at, "/created_at", it).unwrap_or(self.now);
        let enabled = row.enabled.unwrap_or(true);
        input::in_order(not_before, expires_at, it);
        // What has ended already needs no leave to live.
        if !row.revoked && expires_at.is_none_or(|at| at > self.now) {
            self.policy.check_expiry(expires_at, self.now, it);
        }
        self.policy.check_description(&description, it);
        let Some(plan) = self.plans.get(plan_name(row)) else {
            it.add("/plan", "there is no plan of this name in the workspace");
            return None;
        };
        self.check_scopes(&scopes, &roles, plan, it);
        let now = self.now.into();
        Some(KeyRow {
            id: KeyId::new(self.clock, self.entropy).into(),
            workspace_id: self.workspace.into(),
            plan_id: plan.id,
            name_folded: name.to_ascii_lowercase(),
            name,
            environment: environment.to_string(),
            start: String::new(),
            scopes: scopes.into(),
            limits: limits_to_json(&limits),
            allowed_ips: allowed_ips.into(),
            metadata: metadata.into(),
            enabled,
            expires_at: expires_at.map(Into::into),
            revoked_at: row.revoked.then_some(now),
            created_by: self.created_by.clone(),
            created_at: created_at.into(),
            consumer_id: None,
            description,
            roles: roles.into(),
            not_before: not_before.map(Into::into),
            disabled_at: (!enabled).then_some(now),
            revision: 0,
            // Here it is new: what the policy does to keys that nobody uses begins to count now.
            enabled_at: Some(now),
            secret_made_at: now,
        })
    }

    /// The creator's ceiling, as for a key that is made.
    fn check_scopes(&self, scopes: &[String], roles: &[String], plan: &PlanRow, problems: &mut Problems) {
        let mut of_roles = Vec::new();
        for (place, name) in roles.iter().enumerate() {
            match self.roles.iter().find(|(known, _)| known == name) {
                Some((_, scopes)) => of_roles.extend(&scopes.0),
                None => problems.add(format!("/roles/{place}"), "there is no such role in the workspace"),
            }
        }
        if let Err(fault) = self.ceiling.check(scopes.iter().chain(of_roles), &plan.scopes.0, &[]) {
            problems.add("/scopes", fault.message().to_owned());
        }
    }

    fn check_consumer(&self, external_id: Option<&str>, problems: &mut Problems) {
        let Some(text) = external_id else { return };
        let short = text.chars().nth(CONSUMER_CHARACTERS).is_none() && !text.trim().is_empty();
        if !short || text.chars().any(char::is_control) {
            let rule = format!("must have 1 to {CONSUMER_CHARACTERS} characters, no control characters");
            problems.add("/consumer", rule);
        } else if !self.create_consumers && !self.consumers.contains(text) {
            problems.add("/consumer", "there is no consumer with this external id in the workspace");
        }
    }

    fn past(
        &self,
        at: Option<prost_types::Timestamp>,
        pointer: &'static str,
        problems: &mut Problems,
    ) -> Option<Timestamp> {
        let at = input::instant(at, pointer, problems)?;
        if at > self.now {
            problems.add(pointer, "must not be in the future");
        }
        Some(at)
    }

    fn secret(&self, key: &KeyRow, environment: Environment, read: Read<'_>) -> NewSecret {
        let Read { hash, prefix, retires_at } = read;
        // What nobody can present: the digest is of nothing that anybody knows.
        let minted = mint(kind(environment), self.entropy);
        let id = DbId::from(SecretId::new(self.clock, self.entropy));
        let imported = imported_row(id, key.workspace_id, &hash, prefix);
        let (public_id, digest) = match hash {
            Hash::Tollgate { public_id, digest } => (public_id, digest),
            _ => (minted.public_id, minted.digest),
        };
        let row = SecretRow {
            id,
            key_id: key.id,
            public_id,
            digest: digest.to_vec(),
            created_at: self.now.into(),
            start: prefix.to_owned(),
            replaces: None,
        };
        NewSecret { row, retired_at: retires_at.map(Into::into), imported }
    }
}

fn read_secret<'a>(secret: &'a wire::ImportedSecret, at: &str, problems: &mut Problems) -> Option<Read<'a>> {
    let prefix = &secret.prefix;
    if prefix.len() > PREFIX_CHARACTERS || !prefix.bytes().all(|it| it.is_ascii_graphic()) {
        let rule = format!("must have at most {PREFIX_CHARACTERS} visible ASCII characters");
        problems.add(format!("{at}/prefix"), rule);
    }
    let retires_at = input::instant(secret.retires_at, format!("{at}/retires_at"), problems);
    let hash = Hash::parse(&secret.hash, &secret.algorithm);
    let hash = hash.map_err(|(pointer, detail)| problems.add(format!("{at}{pointer}"), detail)).ok()?;
    if matches!(hash, Hash::Slow(_)) && prefix.len() < SHORTEST_PREFIX {
        let rule = format!(
            "must be the first {SHORTEST_PREFIX} to {PREFIX_CHARACTERS} characters of the key: by a hash of this kind \
             alone it cannot be found"
        );
        problems.add(format!("{at}/prefix"), rule);
    }
    Some(Read { hash, prefix, retires_at })
}

/// `None`: it is found as a Tollgate key.
fn imported_row(id: DbId, workspace: DbId, hash: &Hash, prefix: &str) -> Option<ImportedRow> {
    let mut row = ImportedRow {
        secret_id: id,
        workspace_id: workspace,
        fingerprint: hash.fingerprint(),
        sha256: None,
        sha512: None,
        slow: None,
        prefix: None,
    };
    match hash {
        Hash::Sha256(bytes) => row.sha256 = Some(bytes.to_vec()),
        Hash::Sha512(bytes) => row.sha512 = Some(bytes.to_vec()),
        Hash::Slow(slow) => {
            row.slow = Some(slow.text().to_owned());
            row.prefix = Some(prefix.to_owned());
        }
        Hash::Tollgate { .. } => return None,
    }
    Some(row)
}

fn environment(word: &str, problems: &mut Problems) -> Environment {
    if word.is_empty() {
        return Environment::Live;
    }
    word.parse().unwrap_or_else(|_| {
        problems.add("/environment", "must be `live` or `test`");
        Environment::Live
    })
}

/// As they are said or as an export writes them, by the rules of a key that is made.
fn limits(row: &wire::ImportRow, problems: &mut Problems) -> Vec<Limit> {
    if row.limits_json.is_empty() {
        return levels::parse(&row.limits, Level::Key, problems);
    }
    if !row.limits.is_empty() {
        problems.add("/limits", "must not be said twice");
    }
    let read = serde_json::from_str::<Value>(&row.limits_json).and_then(Vec::<Limit>::deserialize);
    let Ok(limits) = read else {
        problems.add("/limits", "must be a list of limits as an export writes it");
        return Vec::new();
    };
    let limits: Vec<_> = limits.into_iter().map(Into::into).collect();
    levels::parse(&limits, Level::Key, problems)
}
