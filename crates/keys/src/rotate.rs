//! Rotation: a key gets a new secret, and the ones before retire. The key stays the key: its id, limits, counts and history.

use chrono::TimeDelta;
use tollgate_db::{DbId, DbTime};
use tollgate_kernel::{Code, ExposeSecret, Fault, KeyId, SecretId, Timestamp};
use tollgate_proto::{keys as wire, time::to_wire};
use tollgate_verify::mint;

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    change_key::{cut, not_stale},
    input::{self, Problems},
    keys::kind,
    once::Asked,
    store::{Change, Deed, IdempotencyRow, KeyRecord, KeyRow, Rotated, Rotation, SecretInfo, SecretRow},
    wire::instant,
};

/// A day.
const DEFAULT_GRACE: u32 = 86_400;
/// 30 days.
const LONGEST_GRACE: u32 = 2_592_000;
/// How many secrets of a key may live at once.
const LIVE_SECRETS: usize = 5;

impl KeysService {
    pub(crate) async fn rotate_key(
        &self,
        message: wire::RotateKeyRequest,
    ) -> Result<wire::RotateKeyResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let now = self.clock.now();
        let (record, standing) = self.key_to_change(&caller, &message.key_id).await?;
        let mut problems = Problems::default();
        let grace = grace(message.grace_seconds, &mut problems);
        let once = input::idempotency_key(&message.idempotency_key, &mut problems);
        problems.check()?;
        self.check_may_hold(&record, &caller, &standing).await?;

        let key = record.0;
        let (id, workspace) = (key.id.typed(), key.workspace_id.typed());
        let live = self.store.secrets_live(id, now).await?;
        let minted = mint(kind(key.environment()?), &*self.entropy);
        let secret = SecretRow {
            id: SecretId::new(&*self.clock, &*self.entropy).into(),
            key_id: key.id,
            public_id: minted.public_id,
            digest: minted.digest.to_vec(),
            created_at: now.into(),
            start: minted.start,
            replaces: live.first().map(|it| it.id),
        };
        let made = secret.id;
        let once = self.once_rotated(&message, &caller, once.as_deref(), &secret, now);
        let retiring = retiring(&key, &live, grace, now);
        let full = retiring.iter().filter(|(_, at)| at.0 > now).count() >= LIVE_SECRETS;
        let rotation = Rotation { key, secret, retiring, full };
        let target = message.key_id;
        let deed = Deed { caller: &caller, workspace, action: "key.rotate", target: target.clone(), at: now };
        let change = Change::cuts_off(&self.store, cut(id, !message.no_wait), deed.clone());
        let (rotated, effect) = self.store.key_rotate(change, rotation, once).await?;
        let (secret_id, secret) = match rotated {
            Rotated::New => {
                self.store.secret_born(deed).await?;
                (made, minted.key.expose_secret().to_owned())
            }
            Rotated::Before(before) => (before, String::new()),
            refused => return Err(refusal(refused)),
        };
        let (start, previous) = self.look_at(id, secret_id).await?;
        let secret_id = SecretId::from(secret_id).to_string();
        let effect = effect.map(Into::into);
        Ok(wire::RotateKeyResponse { key_id: target, secret, start, secret_id, previous, effect })
    }

    /// Whoever rotates a key holds it afterwards: its scopes must be theirs to give, unless they made it.
    async fn check_may_hold(
        &self,
        (key, plan, ..): &KeyRecord,
        caller: &Caller,
        standing: &Standing,
    ) -> Result<(), Fault> {
        if key.created_by == caller.principal.to_string() {
            return Ok(());
        }
        let of_roles = self.scopes_of_roles(key.workspace_id.typed(), &key.roles.0).await?;
        let ceiling = self.ceiling(caller, standing).await?;
        ceiling.check(key.scopes.0.iter().chain(&of_roles), &plan.scopes.0, &[])
    }

    /// The beginning of a secret, and what it took the place of.
    async fn look_at(
        &self,
        key: KeyId,
        secret: DbId,
    ) -> Result<(String, Option<wire::RetiringSecret>), Fault> {
        let gone = || Fault::internal("the secret that was just made is not there");
        let made = self.store.secret_by_id(key, secret.typed()).await?.ok_or_else(gone)?;
        let Some(replaced) = made.replaces else { return Ok((made.start, None)) };
        let previous = self.store.secret_by_id(key, replaced.typed()).await?.ok_or_else(gone)?;
        let previous = wire::RetiringSecret {
            secret_id: SecretId::from(previous.id).to_string(),
            retires_at: instant(previous.retired_at),
        };
        Ok((made.start, Some(previous)))
    }

    /// The record by which a retry is known. Whether somebody waits for the effect makes no other request of it.
    fn once_rotated(
        &self,
        message: &wire::RotateKeyRequest,
        caller: &Caller,
        idempotency_key: Option<&str>,
        secret: &SecretRow,
        now: Timestamp,
    ) -> Option<IdempotencyRow> {
        let message = wire::RotateKeyRequest { caller: None, no_wait: false, ..message.clone() };
        let asked = Asked::new(caller, "rotation", &message);
        let once = self.once(&asked, idempotency_key, secret.key_id, now);
        once.map(|once| IdempotencyRow { part: Some(secret.id), ..once })
    }

    pub(crate) async fn list_key_secrets(
        &self,
        message: wire::ListKeySecretsRequest,
    ) -> Result<wire::ListKeySecretsResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let ((key, ..), standing) = self.key_for(&caller, &message.key_id).await?;
        standing.require(Action::ReadKeys, "key")?;
        let secrets = self.store.secrets_of(key.id.typed()).await?;
        Ok(wire::ListKeySecretsResponse { secrets: secrets.into_iter().map(|it| secret(it, &key)).collect() })
    }

    pub(crate) async fn revoke_key_secret(
        &self,
        message: wire::RevokeKeySecretRequest,
    ) -> Result<wire::RevokeKeySecretResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let now = self.clock.now();
        let ((key, ..), _) = self.key_to_change(&caller, &message.key_id).await?;
        let (id, workspace) = (key.id.typed(), key.workspace_id.typed());
        let secret_id: SecretId = input::path_id(&message.secret_id, "secret")?;
        let named = self.store.secret_by_id(id, secret_id).await?;
        if named.is_none() {
            return Err(Fault::not_found("secret"));
        }
        let live = self.store.secrets_live(id, now).await?;
        if live.len() == 1 && live[0].id.typed() == secret_id {
            return Err(Fault::new(
                Code::Conflict,
                "It is the only secret of the key that lives: revoke the key, or rotate it first.",
            ));
        }
        let target = secret_id.to_string();
        let deed = Deed { caller: &caller, workspace, action: "key.secret.revoke", target, at: now };
        let change = Change::cuts_off(&self.store, cut(id, !message.no_wait), deed);
        let (changed, effect) = self.store.secret_revoke(change, key, secret_id, now).await?;
        not_stale(changed)?;
        Ok(wire::RevokeKeySecretResponse { effect: effect.map(Into::into) })
    }
}

fn grace(seconds: Option<u32>, problems: &mut Problems) -> TimeDelta {
    let seconds = seconds.unwrap_or(DEFAULT_GRACE);
    if seconds > LONGEST_GRACE {
        problems.add("/grace_seconds", format!("must be 0 to {LONGEST_GRACE} (30 days)"));
    }
    TimeDelta::seconds(seconds.min(LONGEST_GRACE).into())
}

/// When each secret that lives retires: after the grace, but never later than it would have ended.
fn retiring(key: &KeyRow, live: &[SecretInfo], grace: TimeDelta, now: Timestamp) -> Vec<(DbId, DbTime)> {
    let end = |secret: &SecretInfo| {
        let ends = [key.expires_at, secret.retired_at].into_iter().flatten().map(|at| at.0);
        ends.fold(now + grace, Timestamp::min)
    };
    live.iter().map(|secret| (secret.id, end(secret).into())).collect()
}

fn secret(secret: SecretInfo, key: &KeyRow) -> wire::KeySecret {
    wire::KeySecret {
        id: SecretId::from(secret.id).to_string(),
        start: if secret.start.is_empty() { key.start.clone() } else { secret.start },
        created_at: Some(to_wire(secret.created_at.0)),
        retires_at: instant(secret.retired_at),
        revoked_at: instant(secret.revoked_at),
    }
}

fn refusal(rotated: Rotated) -> Fault {
    let message = match rotated {
        Rotated::Mismatch => "Another request was made with the same idempotency key within the last day.",
        Rotated::Full => "Five secrets of the key live: revoke one, or wait until one has retired.",
        _ => "Somebody else has changed the key in the same moment; look at it again.",
    };
    Fault::new(Code::Conflict, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_never_lengthens_a_life() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let hours = |hours: i64| Some(DbTime(now + TimeDelta::hours(hours)));
        for (key_ends, retires, grace, expected) in [
            (None, None, 24, 24),
            (None, None, 0, 0),
            (hours(5), None, 24, 5),
            (hours(-1), None, 24, -1),
            (None, hours(2), 24, 2),
            (hours(5), hours(2), 24, 2),
            (hours(2), hours(5), 24, 2),
            (hours(48), hours(36), 24, 24),
        ] {
            let key = crate::store::KeyRow { expires_at: key_ends, ..a_key(now) };
            let secret = SecretInfo { retired_at: retires, ..a_secret(now) };
            let found = retiring(&key, &[secret], TimeDelta::hours(grace), now);
            assert_eq!(
                found[0].1,
                DbTime(now + TimeDelta::hours(expected)),
                "{key_ends:?} {retires:?} {grace}"
            );
        }
    }

    fn a_secret(now: Timestamp) -> SecretInfo {
        let id = DbId(uuid::Uuid::nil());
        let start = String::new();
        SecretInfo { id, start, created_at: now.into(), retired_at: None, revoked_at: None, replaces: None }
    }

    fn a_key(now: Timestamp) -> KeyRow {
        let id = DbId(uuid::Uuid::nil());
        KeyRow {
            id,
            workspace_id: id,
            plan_id: id,
            name: String::new(),
            name_folded: String::new(),
            environment: "live".to_owned(),
            start: String::new(),
            scopes: Vec::new().into(),
            limits: crate::store::limits_to_json(&[]),
            allowed_ips: Vec::new().into(),
            metadata: serde_json::json!({}).into(),
            enabled: true,
            expires_at: None,
            revoked_at: None,
            created_by: String::new(),
            created_at: now.into(),
            consumer_id: None,
            description: String::new(),
            roles: Vec::new().into(),
            not_before: None,
            disabled_at: None,
            revision: 0,
            enabled_at: None,
            secret_made_at: now.into(),
        }
    }
}
