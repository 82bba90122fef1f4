//! Where things are kept: SQLite in the data directory or PostgreSQL, the tables in it, and the master key.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use tollgate_db::{Db, Migrations};
use tollgate_kernel::{Code, Entropy, Fault, MasterKey, SecretString, hex};

use crate::{
    config::Config,
    roles::{Role, RoleSet},
};

/// The database of a process, for the roles that have tables.
pub(crate) struct Storage<'a> {
    config: &'a Config,
    url: SecretString,
    settings: tollgate_db::Settings,
}

impl<'a> Storage<'a> {
    /// The one that `config` names; the data directory is made if that is it.
    pub(crate) fn open(config: &'a Config) -> Result<Self, Fault> {
        let url = match &config.database.url {
            Some(url) => url.clone(),
            None => embedded(&config.data_dir)?,
        };
        let bounds = &config.database.bounds;
        let settings = tollgate_db::Settings {
            pool_size: bounds.pool_size,
            acquire_timeout: bounds.acquire_timeout,
            work_timeout: bounds.work_timeout,
        };
        Ok(Self { config, url, settings })
    }

    /// Whether it is SQLite in the data directory.
    pub(crate) fn is_embedded(&self) -> bool {
        self.config.database.url.is_none()
    }

    /// The tables of `role`.
    pub(crate) async fn of(&self, role: Role) -> Result<Db, Fault> {
        Db::open(&self.url, role.as_str(), &self.settings).await
    }

    /// The tables of `role`, up to date: brought there if they may be, else a fault that says how.
    ///
    /// All roles in one process migrate themselves, whatever the database: nobody else is about to do it, and others who
    /// do so at the same moment wait. Roles on their own do not: which of them is new first is for a deployment to say.
    pub(crate) async fn ready(&self, role: Role, roles: &RoleSet) -> Result<Db, Fault> {
        let db = self.of(role).await?;
        if self.is_embedded() || roles.is_all() {
            self.migrate(role, &db).await?;
        } else {
            up_to_date(role, &db).await?;
        }
        Ok(db)
    }

    /// Applies the migrations of `role`; says how many there were.
    pub(crate) async fn migrate(&self, role: Role, db: &Db) -> Result<usize, Fault> {
        let Some(migrations) = migrations(role) else { return Ok(0) };
        let applied = db.migrate(migrations).await?;
        if applied > 0 {
            tracing::info!(%role, applied, "migrated");
        }
        Ok(applied)
    }

    /// The master key, if there is one to be had.
    pub(crate) fn master_key_if_any(&self, entropy: &dyn Entropy) -> Result<Option<MasterKey>, Fault> {
        let any = self.config.master_key.is_some() || self.is_embedded();
        any.then(|| self.master_key(entropy)).transpose()
    }

    /// The master key: what is configured; with embedded storage its own file, made at the first start.
    pub(crate) fn master_key(&self, entropy: &dyn Entropy) -> Result<MasterKey, Fault> {
        match &self.config.master_key {
            Some(text) => MasterKey::parse(text),
            None if self.is_embedded() => {
                MasterKey::parse(&embedded_master_key(&self.config.data_dir, entropy)?)
            }
            None => Err(Fault::new(
                Code::InvalidArgument,
                "There is no master key: set TOLLGATE__MASTER_KEY_FILE to a file with 32 bytes in hex.",
            )),
        }
    }
}

/// Brings the tables of `roles` up to date; says of each how many migrations were applied. What `tollgate migrate` does.
pub async fn migrate(config: &Config, roles: &RoleSet) -> Result<Vec<(Role, usize)>, Fault> {
    let storage = Storage::open(config)?;
    let mut applied = Vec::new();
    for role in roles.iter().filter(|role| migrations(*role).is_some()) {
        applied.push((role, storage.migrate(role, &storage.of(role).await?).await?));
    }
    Ok(applied)
}

/// The migrations of a role; none for those without tables.
fn migrations(role: Role) -> Option<&'static Migrations> {
    match role {
        Role::Identity => Some(&tollgate_identity::MIGRATIONS),
        Role::Keys => Some(&tollgate_keys::MIGRATIONS),
        Role::Edge | Role::Ratelimit => None,
    }
}

/// A fault unless every migration of `role` was applied.
pub(crate) async fn up_to_date(role: Role, db: &Db) -> Result<(), Fault> {
    let Some(migrations) = migrations(role) else { return Ok(()) };
    let pending = db.pending(migrations).await?;
    if pending.is_empty() {
        return Ok(());
    }
    let message = format!(
        "The tables of {role} are not up to date ({}): run `tollgate migrate` first.",
        pending.join(", ")
    );
    Err(Fault::new(Code::Conflict, message))
}

/// Keeps a second server off the data directory: it would count on its own.
pub(crate) fn lock(data_dir: &Path) -> Result<File, Fault> {
    let path = data_dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|error| unusable(data_dir, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(unusable(data_dir, &error)),
        Err(TryLockError::WouldBlock) => Err(Fault::new(
            Code::Conflict,
            format!(
                "Another tollgate serves from {}: stop it, or choose another --data-dir.",
                data_dir.display()
            ),
        )),
    }
}

fn embedded(data_dir: &Path) -> Result<SecretString, Fault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    let path = made.and_then(|()| data_dir.canonicalize()).map_err(|error| unusable(data_dir, &error))?;
    let path = path.to_str().ok_or_else(|| unusable(data_dir, &"its path is not UTF-8"))?;
    Ok(format!("sqlite://{path}").into())
}

fn embedded_master_key(data_dir: &Path, entropy: &dyn Entropy) -> Result<SecretString, Fault> {
    let path = data_dir.join("master_key");
    match write_new(&path, &hex(&entropy.bytes::<32>()), 0o600) {
        Ok(()) => {
            tracing::info!(path = %path.display(), "made the master key; keep a copy of it with the data");
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unusable(data_dir, &error)),
    }
    let text = std::fs::read_to_string(&path).map_err(|error| unusable(data_dir, &error))?;
    Ok(text.trim().into())
}

/// Writes a file that must not exist yet, whole, with this mode whatever the umask.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn unusable(data_dir: &Path, why: &dyn std::fmt::Display) -> Fault {
    let message = format!(
        "The data directory {} cannot be used ({why}): make it writable, or choose another with --data-dir.",
        data_dir.display()
    );
    Fault::new(Code::Unavailable, message)
}
