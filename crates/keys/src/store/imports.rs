//! Keys that were made elsewhere: brought in, found, and taken out.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, Timestamp, WorkspaceId};

use super::{
    Change, Outcome, Store,
    change::{change, collision},
    outbox::{Announce as _, Outbox},
    rows::{ConsumerRow, KeyRow, PlanRow, SecretRow},
    schema::{consumers, imported_secrets, keys, last_used, plans, secrets, workspaces},
};

/// How many keys that were not used yet may begin alike: each of them is compared with a credential that begins so.
const ALIKE: usize = 8;
/// The most secrets that begin like a credential and are looked at. More than there are, by the bound above.
const BEGINNINGS: i64 = 256;
const SAME_MOMENT: &str = "A key with one of these hashes was imported in the same moment; send them again.";

/// How a secret is found that was made elsewhere.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = imported_secrets, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(crate) struct ImportedRow {
    pub(crate) secret_id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) sha256: Option<Vec<u8>>,
    pub(crate) sha512: Option<Vec<u8>>,
    pub(crate) slow: Option<String>,
    pub(crate) prefix: Option<String>,
}

/// A key to bring in.
#[derive(Clone)]
pub(crate) struct Newcomer {
    pub(crate) key: KeyRow,
    /// By its external id.
    pub(crate) consumer: Option<String>,
    /// At least one.
    pub(crate) secrets: Vec<NewSecret>,
    pub(crate) last_used: Option<DbTime>,
}

#[derive(Clone)]
pub(crate) struct NewSecret {
    pub(crate) row: SecretRow,
    pub(crate) retired_at: Option<DbTime>,
    /// Absent: it is a Tollgate key's.
    pub(crate) imported: Option<ImportedRow>,
}

/// Keys that come in together.
pub(crate) struct Batch {
    pub(crate) workspace: DbId,
    /// Those that the keys name, by external id: made if they are not there.
    pub(crate) consumers: HashMap<String, ConsumerRow>,
    pub(crate) newcomers: Vec<Newcomer>,
}

/// What becomes of a key that comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fit {
    New,
    /// The workspace has it already.
    Exists,
    /// It cannot come in: where, and why.
    Taken(String, &'static str),
}

/// What is looked for among the secrets that there are.
struct Marks {
    fingerprints: Vec<Vec<u8>>,
    sha256: Vec<Vec<u8>>,
    sha512: Vec<Vec<u8>>,
    public_ids: Vec<String>,
    prefixes: Vec<String>,
}

impl Marks {
    fn of(newcomers: &[Newcomer]) -> Self {
        let all = || newcomers.iter().flat_map(|it| &it.secrets);
        let imported = || all().filter_map(|it| it.imported.as_ref());
        let ours = all().filter(|it| it.imported.is_none());
        Self {
            fingerprints: imported().map(|it| it.fingerprint.clone()).collect(),
            sha256: imported().filter_map(|it| it.sha256.clone()).collect(),
            sha512: imported().filter_map(|it| it.sha512.clone()).collect(),
            public_ids: ours.map(|it| it.row.public_id.clone()).collect(),
            prefixes: imported().filter_map(|it| it.prefix.clone()).collect(),
        }
    }
}

/// Which of the marks there are, and whose they are.
pub(crate) struct Known {
    workspace: DbId,
    /// Of the workspace.
    fingerprints: HashSet<Vec<u8>>,
    hashes: HashMap<Vec<u8>, DbId>,
    public_ids: HashMap<String, (DbId, Vec<u8>)>,
    prefixes: HashMap<String, usize>,
}

impl Known {
    /// What becomes of a key, and that it is there from now on.
    fn judge(&mut self, newcomer: &Newcomer) -> Fit {
        let fits: Vec<Fit> = newcomer.secrets.iter().map(|it| self.judge_secret(it)).collect();
        if fits[0] != Fit::New {
            return fits.into_iter().next().expect("there is one");
        }
        for (place, fit) in fits.into_iter().enumerate().skip(1) {
            let at = place - 1;
            match fit {
                Fit::New => {}
                Fit::Exists => {
                    return Fit::Taken(format!("/retiring/{at}/hash"), "another key has this hash");
                }
                Fit::Taken(pointer, why) => return Fit::Taken(format!("/retiring/{at}{pointer}"), why),
            }
        }
        for secret in &newcomer.secrets {
            self.remember(secret);
        }
        Fit::New
    }

    fn judge_secret(&self, secret: &NewSecret) -> Fit {
        const ELSEWHERE: &str = "another workspace of this instance has a key with this hash";
        let owned = |owner: &DbId, same: bool| {
            if *owner == self.workspace && same { Fit::Exists } else { Fit::Taken("/hash".into(), ELSEWHERE) }
        };
        let Some(row) = &secret.imported else {
            let there = self.public_ids.get(&secret.row.public_id);
            return there.map_or(Fit::New, |(owner, digest)| owned(owner, *digest == secret.row.digest));
        };
        if self.fingerprints.contains(&row.fingerprint) {
            return Fit::Exists;
        }
        let hash = row.sha256.as_ref().or(row.sha512.as_ref());
        if let Some(owner) = hash.and_then(|it| self.hashes.get(it)) {
            return owned(owner, true);
        }
        let alike = row.prefix.as_ref().and_then(|it| self.prefixes.get(it)).copied().unwrap_or_default();
        if alike >= ALIKE {
            let why = "as many keys as can be told apart begin like this and were not used yet: give more characters";
            return Fit::Taken("/prefix".into(), why);
        }
        Fit::New
    }

    fn remember(&mut self, secret: &NewSecret) {
        let Some(row) = &secret.imported else {
            let digest = secret.row.digest.clone();
            self.public_ids.insert(secret.row.public_id.clone(), (self.workspace, digest));
            return;
        };
        self.fingerprints.insert(row.fingerprint.clone());
        for hash in [&row.sha256, &row.sha512].into_iter().flatten() {
            self.hashes.insert(hash.clone(), self.workspace);
        }
        if let Some(prefix) = &row.prefix {
            *self.prefixes.entry(prefix.clone()).or_default() += 1;
        }
    }
}

/// Which of the marks there are: `known!(c, workspace, marks)`.
macro_rules! known {
    ($c:expr, $workspace:expr, $marks:expr) => {
        async {
            let Marks { fingerprints, sha256, sha512, public_ids, prefixes } = $marks;
            let table = imported_secrets::table;
            let fingerprints: Vec<Vec<u8>> = table
                .filter(imported_secrets::workspace_id.eq($workspace))
                .filter(imported_secrets::fingerprint.eq_any(fingerprints))
                .select(imported_secrets::fingerprint)
                .load($c)
                .await?;
            let mut hashes: Vec<(Option<Vec<u8>>, DbId)> = table
                .filter(imported_secrets::sha256.eq_any(sha256))
                .select((imported_secrets::sha256, imported_secrets::workspace_id))
                .load($c)
                .await?;
            let others: Vec<(Option<Vec<u8>>, DbId)> = table
                .filter(imported_secrets::sha512.eq_any(sha512))
                .select((imported_secrets::sha512, imported_secrets::workspace_id))
                .load($c)
                .await?;
            hashes.extend(others);
            let ours: Vec<(String, DbId, Vec<u8>)> = secrets::table
                .inner_join(keys::table)
                .filter(secrets::public_id.eq_any(public_ids))
                .select((secrets::public_id, keys::workspace_id, secrets::digest))
                .load($c)
                .await?;
            let alike: Vec<Option<String>> = table
                .filter(imported_secrets::slow.is_not_null())
                .filter(imported_secrets::prefix.eq_any(prefixes))
                .select(imported_secrets::prefix)
                .load($c)
                .await?;
            let mut prefixes = HashMap::new();
            for prefix in alike.into_iter().flatten() {
                *prefixes.entry(prefix).or_default() += 1;
            }
            Ok::<_, diesel::result::Error>(Known {
                workspace: $workspace,
                fingerprints: fingerprints.into_iter().collect(),
                hashes: hashes.into_iter().filter_map(|(hash, owner)| Some((hash?, owner))).collect(),
                public_ids: ours.into_iter().map(|(id, owner, digest)| (id, (owner, digest))).collect(),
                prefixes,
            })
        }
        .await
    };
}

/// Writes a key and all that is its own: `insert!(c, newcomer)?`.
macro_rules! insert {
    ($c:expr, $newcomer:expr) => {
        async {
            let Newcomer { key, secrets, last_used, .. } = $newcomer;
            diesel::insert_into(keys::table).values(key).execute($c).await?;
            for NewSecret { row, retired_at, imported } in secrets {
                diesel::insert_into(secrets::table).values(row).execute($c).await?;
                if let Some(at) = retired_at {
                    let set = secrets::retired_at.eq(at);
                    diesel::update(secrets::table.find(row.id)).set(set).execute($c).await?;
                }
                if let Some(row) = imported {
                    diesel::insert_into(imported_secrets::table).values(row).execute($c).await?;
                }
            }
            if let Some(at) = last_used {
                let row = (last_used::key_id.eq(key.id), last_used::at.eq(at));
                diesel::insert_into(last_used::table).values(row).execute($c).await?;
            }
            Ok::<_, diesel::result::Error>(())
        }
        .await
    };
}

impl Store {
    /// What would become of these keys.
    pub(crate) async fn keys_fit(
        &self,
        workspace: WorkspaceId,
        newcomers: &[Newcomer],
    ) -> Result<Vec<Fit>, Fault> {
        let (workspace, marks) = (DbId::from(workspace), Marks::of(newcomers));
        let mut known: Known = read_db!(self.db, |c| known!(c, workspace, &marks))?;
        Ok(newcomers.iter().map(|it| known.judge(it)).collect())
    }

    /// Brings in those that are not there, and announces them.
    pub(crate) async fn keys_import(&self, change: Change, batch: Batch) -> Result<Vec<Fit>, Fault> {
        let (marks, store, at) = (Marks::of(&batch.newcomers), self.clone(), change.audit.at);
        let imported = change!(self, change, |c| {
            let Batch { workspace, consumers, mut newcomers } = batch;
            // Changes nothing: of two imports into a workspace at once, one waits here for the other, and finds what it made.
            let row = workspaces::table.find(workspace);
            diesel::update(row).set(workspaces::enabled.eq(workspaces::enabled)).execute(c).await?;
            let mut known: Known = known!(c, workspace, &marks)?;
            let fits: Vec<Fit> = newcomers.iter().map(|it| known.judge(it)).collect();
            newcomers = newcomers
                .into_iter()
                .zip(&fits)
                .filter_map(|(it, fit)| (*fit == Fit::New).then_some(it))
                .collect();
            let named: HashSet<String> = newcomers.iter().filter_map(|it| it.consumer.clone()).collect();
            for name in &named {
                let row = &consumers[name];
                diesel::insert_into(consumers::table).values(row).on_conflict_do_nothing().execute(c).await?;
            }
            let ids: Vec<(Option<String>, DbId)> = consumers::table
                .filter(consumers::workspace_id.eq(workspace))
                .filter(consumers::external_id.eq_any(named.into_iter().collect::<Vec<_>>()))
                .select((consumers::external_id, consumers::id))
                .load(c)
                .await?;
            let ids: HashMap<Option<String>, DbId> = ids.into_iter().collect();
            for newcomer in &mut newcomers {
                newcomer.key.consumer_id = ids.get(&newcomer.consumer).copied();
                insert!(c, &*newcomer)?;
            }
            let told = newcomers.iter().map(|it| Outbox::made(&store, workspace, it.key.id, at));
            c.announce(&told.collect::<Vec<_>>()).await?;
            if newcomers.is_empty() { Outcome::Unchanged(fits) } else { Outcome::Changed(fits) }
        });
        imported.map(|(outcome, _)| outcome.value()).map_err(|fault| collision(fault, SAME_MOMENT))
    }

    /// The external ids of those of the named consumers that there are.
    pub(crate) async fn consumers_named(
        &self,
        workspace: WorkspaceId,
        names: &[String],
    ) -> Result<HashSet<String>, Fault> {
        if names.is_empty() {
            return Ok(HashSet::new());
        }
        let found: Vec<Option<String>> = read_db!(self.db, |c| consumers::table
            .filter(consumers::workspace_id.eq(DbId::from(workspace)))
            .filter(consumers::external_id.eq_any(names))
            .select(consumers::external_id)
            .load(c)
            .await)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Those of the named plans that there are.
    pub(crate) async fn plans_named(
        &self,
        workspace: WorkspaceId,
        names: &[String],
    ) -> Result<Vec<PlanRow>, Fault> {
        Ok(read_db!(self.db, |c| plans::table
            .filter(plans::workspace_id.eq(DbId::from(workspace)))
            .filter(plans::name.eq_any(names))
            .select(PlanRow::as_select())
            .load(c)
            .await)?)
    }

    /// Whether any secret was made elsewhere.
    pub(crate) async fn has_imports(&self) -> Result<bool, Fault> {
        let first: Option<DbId> = read_db!(self.db, |c| imported_secrets::table
            .select(imported_secrets::secret_id)
            .limit(1)
            .first(c)
            .await
            .optional())?;
        Ok(first.is_some())
    }

    /// The one with this hash of the whole credential, by its SHA-256 or its SHA-512.
    pub(crate) async fn imported_by_hash(&self, hash: &[u8]) -> Result<Option<(ImportedRow, String)>, Fault> {
        Ok(read_db!(self.db, |c| imported_secrets::table
            .inner_join(secrets::table)
            .filter(imported_secrets::sha256.eq(hash).or(imported_secrets::sha512.eq(hash)))
            .select((ImportedRow::as_select(), secrets::public_id))
            .first(c)
            .await
            .optional())?)
    }

    /// Those that a credential with these beginnings may be, by a hash that takes long. The longest beginnings first, at most 8.
    pub(crate) async fn imported_by_prefix(
        &self,
        beginnings: &[&str],
    ) -> Result<Vec<(ImportedRow, String)>, Fault> {
        let mut found: Vec<(ImportedRow, String)> = read_db!(self.db, |c| imported_secrets::table
            .inner_join(secrets::table)
            .filter(imported_secrets::slow.is_not_null())
            .filter(imported_secrets::prefix.eq_any(beginnings))
            .order(imported_secrets::secret_id)
            .limit(BEGINNINGS)
            .select((ImportedRow::as_select(), secrets::public_id))
            .load(c)
            .await)?;
        found.sort_by_key(|(row, _)| std::cmp::Reverse(row.prefix.as_ref().map_or(0, String::len)));
        found.truncate(ALIKE);
        Ok(found)
    }

    /// From now on the secret is found by this, and by nothing else. Unchanged if it is so already.
    pub(crate) async fn imported_rehash(
        &self,
        change: Change,
        id: DbId,
        sha256: Vec<u8>,
    ) -> Result<(), Fault> {
        change!(self, change, |c| {
            let row = imported_secrets::table.find(id).filter(imported_secrets::sha256.is_null());
            let set = (
                imported_secrets::sha256.eq(Some(sha256)),
                imported_secrets::sha512.eq(None::<Vec<u8>>),
                imported_secrets::slow.eq(None::<String>),
                imported_secrets::prefix.eq(None::<String>),
            );
            let rows = diesel::update(row).set(set).execute(c).await?;
            if rows == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        })?;
        Ok(())
    }

    /// Keys that are not revoked, in the order of their making.
    pub(crate) async fn keys_to_export(
        &self,
        workspace: WorkspaceId,
        after: Option<DbId>,
        rows: i64,
    ) -> Result<Vec<(KeyRow, PlanRow, Option<DbTime>)>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = keys::table
                .inner_join(plans::table)
                .left_join(last_used::table)
                .filter(keys::workspace_id.eq(DbId::from(workspace)))
                .filter(keys::revoked_at.is_null())
                .order(keys::id)
                .limit(rows)
                .select((KeyRow::as_select(), PlanRow::as_select(), last_used::at.nullable()))
                .into_boxed();
            if let Some(after) = after {
                query = query.filter(keys::id.gt(after));
            }
            query.load(c).await
        })?)
    }

    /// The secrets of these keys that live, the newest first.
    pub(crate) async fn secrets_to_export(
        &self,
        keys: &[DbId],
        now: Timestamp,
    ) -> Result<Vec<ExportedSecret>, Fault> {
        let live = secrets::retired_at.is_null().or(secrets::retired_at.gt(DbTime(now)));
        Ok(read_db!(self.db, |c| secrets::table
            .left_join(imported_secrets::table)
            .filter(secrets::key_id.eq_any(keys))
            .filter(secrets::revoked_at.is_null())
            .filter(live)
            .order((secrets::created_at.desc(), secrets::id.desc()))
            .select((ExportedState::as_select(), Option::<ImportedRow>::as_select()))
            .load(c)
            .await)?)
    }

    /// What these consumers are called elsewhere.
    pub(crate) async fn external_ids(&self, ids: &[DbId]) -> Result<HashMap<DbId, Option<String>>, Fault> {
        let found: Vec<(DbId, Option<String>)> = read_db!(self.db, |c| consumers::table
            .filter(consumers::id.eq_any(ids))
            .select((consumers::id, consumers::external_id))
            .load(c)
            .await)?;
        Ok(found.into_iter().collect())
    }
}

/// A secret, and how it is found if it was made elsewhere.
pub(crate) type ExportedSecret = (ExportedState, Option<ImportedRow>);

#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = secrets, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(crate) struct ExportedState {
    pub(crate) key_id: DbId,
    pub(crate) public_id: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) start: String,
    pub(crate) retired_at: Option<DbTime>,
}
