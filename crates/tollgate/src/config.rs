//! The configuration: `default.toml` ← tollgate.toml ← environment ← flags, read whole and checked whole before a port
//! opens. The only file that reads the environment.

mod annotation;
mod mistake;
mod rules;
mod sections;
mod settings;

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use tollgate_kernel::SecretString;

pub use mistake::{Mistake, Mistakes};
pub(crate) use rules::address_of;
pub use sections::{
    Admin, Config, Database, Gate, Grpc, Http, Log, LogFormat, Mesh, Redis, RemoteRole, Shutdown, Tokens,
};
pub use settings::{Origin, Settings};

use crate::{
    cli::{Common, Serve},
    roles::RoleSet,
};

/// The file that is read if no other is named.
const FILE: &str = "tollgate.toml";

/// Settings whose values are secrets: never printed. Each has a twin with `_file` after its name.
const SECRETS: [&str; 4] = ["master_key", "database.url", "redis.url", "mesh.token"];

/// The variable with the service key of a client.
const SERVICE_KEY: &str = "TOLLGATE_SERVICE_KEY";

/// Variables that everybody knows, and the settings that they mean.
const CONVENTIONAL: [(&str, &str); 4] = [
    ("DATABASE_URL", "database.url"),
    ("DATABASE_URL_FILE", "database.url_file"),
    ("REDIS_URL", "redis.url"),
    ("REDIS_URL_FILE", "redis.url_file"),
];

/// What is in force, and what the operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The same with the origin of every value.
    pub settings: Settings,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
}

/// Reads and checks the configuration for a process that runs `roles`; `None`: a command that runs none.
pub fn load(common: &Common, serve: Option<&Serve>, roles: Option<&RoleSet>) -> Result<Loaded, Mistakes> {
    load_from(common, serve, roles, environment())
}

/// [`load`] with this environment.
pub fn load_from(
    common: &Common,
    serve: Option<&Serve>,
    roles: Option<&RoleSet>,
    environment: Vec<(String, String)>,
) -> Result<Loaded, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut settings = Settings::defaults();
    lay_file(&mut settings, common.config.as_deref(), &mut mistakes);
    lay_environment(&mut settings, environment, &mut mistakes);
    lay_flags(&mut settings, common, serve);

    let config = sections::read(&settings, &mut mistakes);
    let mut warnings = Vec::new();
    if let (Some(config), Some(roles)) = (&config, roles) {
        rules::check(config, roles, &settings, &mut mistakes);
        warnings = rules::warnings(config, roles);
    }
    match config {
        Some(config) if mistakes.is_empty() => Ok(Loaded { config, settings, warnings }),
        _ => Err(mistakes),
    }
}

/// The service key of `tollgate keys`, if the variable for it is set. Not a setting: it is a client's, not the server's.
pub fn service_key() -> Option<SecretString> {
    let key = environment().into_iter().find(|(name, _)| name == SERVICE_KEY)?.1;
    (!key.is_empty()).then(|| key.into())
}

/// The configuration as `tollgate config` prints it: TOML, each value with its origin, secrets hidden.
pub fn printed(settings: &Settings) -> String {
    let (mut text, mut section) = (String::new(), "");
    // By section, and what is in none comes first, as TOML needs it.
    let mut all: Vec<_> =
        settings.iter().map(|(path, it)| (path.rsplit_once('.').unwrap_or(("", path)), it)).collect();
    all.sort_by_key(|(place, _)| *place);
    for ((its, key), setting) in all {
        let path = if its.is_empty() { key.to_owned() } else { format!("{its}.{key}") };
        if its != section {
            writeln!(text, "\n[{its}]").expect("a string takes all");
            section = its;
        }
        let secret = SECRETS.contains(&path.as_str()) && !settings.text(&path).is_empty();
        let value = if secret { "\"(hidden)\"".to_owned() } else { settings::written(&setting.value) };
        let origin = match &setting.origin {
            Origin::Default => String::new(),
            given => format!("   # from: {given}"),
        };
        writeln!(text, "{key} = {value}{origin}").expect("a string takes all");
    }
    text
}

fn environment() -> Vec<(String, String)> {
    // `vars` would panic on a variable that is not UTF-8, whoever set it.
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

fn lay_file(settings: &mut Settings, named: Option<&Path>, mistakes: &mut Mistakes) {
    let path = named.unwrap_or(Path::new(FILE));
    match fs::read_to_string(path) {
        Ok(text) => settings.lay_file(path.to_owned(), &text, mistakes),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => mistakes.push(Mistake {
            key: "--config".into(),
            origin: Some(Origin::File(path.to_owned())),
            what: format!("cannot be read: {error}"),
            mend: "name a file that exists and that this user may read".into(),
        }),
    }
}

/// The conventional names first, so that ours win over them.
fn lay_environment(settings: &mut Settings, environment: Vec<(String, String)>, mistakes: &mut Mistakes) {
    let (ours, others): (Vec<_>, Vec<_>) =
        environment.into_iter().partition(|(name, _)| name.starts_with("TOLLGATE__"));
    for (name, path) in CONVENTIONAL {
        if let Some((_, value)) = others.iter().find(|(it, value)| it == name && !value.is_empty()) {
            settings.lay_variable(path, name.to_owned(), value, mistakes);
        }
    }
    for (name, value) in ours {
        let path = name.trim_start_matches("TOLLGATE__").to_ascii_lowercase().replace("__", ".");
        settings.lay_variable(&path, name, &value, mistakes);
    }
}

fn lay_flags(settings: &mut Settings, common: &Common, serve: Option<&Serve>) {
    if let Some(dir) = &common.data_dir {
        settings.lay_flag("data_dir", "--data-dir", dir.to_string_lossy().into_owned());
    }
    if let Some(format) = common.log_format {
        settings.lay_flag("log.format", "--log-format", format.as_str());
    }
    let Some(serve) = serve else { return };
    let addresses = [
        ("http.listen", "--http", serve.http),
        ("gate.listen", "--gate", serve.gate),
        ("admin.listen", "--admin", serve.admin),
    ];
    for (path, flag, address) in addresses {
        if let Some(address) = address {
            settings.lay_flag(path, flag, address.to_string());
        }
    }
}

/// The secret at `path`, itself or out of the file that its twin names.
fn secret(settings: &Settings, path: &str, mistakes: &mut Mistakes) -> Option<SecretString> {
    let twin = format!("{path}_file");
    for path in [path, &twin].into_iter().filter(|path| settings.is_no_text(path)) {
        mistakes.push(Mistake {
            key: path.to_owned(),
            origin: settings.origin(path).cloned(),
            what: "is not text".into(),
            mend: "write it in quotes".into(),
        });
    }
    let (text, file) = (settings.text(path), settings.text(&twin));
    if file.is_empty() {
        return (!text.is_empty()).then(|| text.into());
    }
    let mut mistake = |what: String, mend: &str| {
        let origin = settings.origin(&twin).cloned();
        mistakes.push(Mistake { key: twin.clone(), origin, what, mend: mend.to_owned() });
    };
    if !text.is_empty() {
        mistake(format!("is set, and so is {path}"), "remove one of the two");
        return None;
    }
    match fs::read_to_string(PathBuf::from(file)) {
        Ok(content) if !content.trim().is_empty() => Some(content.trim().into()),
        Ok(_) => {
            mistake(format!("names {file}, which is empty"), "write the secret into the file, on one line");
            None
        }
        Err(error) => {
            mistake(
                format!("names {file}, which cannot be read: {error}"),
                "make the file, readable by this user",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
