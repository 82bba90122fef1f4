//! The layers of the configuration: the built-in file, tollgate.toml, the environment, the flags. Each value remembers
//! where it came from. What the values mean is in `config.rs`.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use figment::{
    Provider,
    providers::{Format, Toml},
    value::{Dict, Num, Value},
};
use serde::de::DeserializeOwned;

use super::mistake::{Mistake, Mistakes};

/// The defaults, and the documentation of every key.
pub(super) const DEFAULT: &str = include_str!("../default.toml");

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `default.toml`, which is in the program.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value, and where it came from.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// All settings by their path: `http.listen`.
#[derive(Debug, Clone)]
pub struct Settings(BTreeMap<String, Setting>);

impl Settings {
    /// What `default.toml` says.
    pub fn defaults() -> Self {
        let leaves = parse(DEFAULT).expect("the built-in file is TOML: a test reads it");
        let setting = |(path, value)| (path, Setting { value, origin: Origin::Default });
        Self(leaves.into_iter().map(setting).collect())
    }

    /// Lays the text of a TOML file over what is there.
    pub fn lay_file(&mut self, path: PathBuf, text: &str, mistakes: &mut Mistakes) {
        let origin = Origin::File(path);
        match parse(text) {
            Ok(leaves) => {
                for (path, value) in leaves {
                    self.lay(&path, value, origin.clone(), mistakes);
                }
            }
            Err(error) => mistakes.push(Mistake {
                key: "(the whole file)".into(),
                origin: Some(origin),
                what: format!("is not TOML: {}", without_source(&error)),
                mend: "see https://toml.io; strings are written in quotes".into(),
            }),
        }
    }

    /// Lays the text of a variable over what is there; it is read as the type that the default has.
    pub fn lay_variable(&mut self, path: &str, name: String, text: &str, mistakes: &mut Mistakes) {
        let value = match self.0.get(path).map(|setting| &setting.value) {
            Some(Value::String(..)) | None => Value::from(text),
            Some(Value::Array(..)) => list(text),
            Some(_) => text.parse().unwrap_or_else(|never| match never {}),
        };
        self.lay(path, value, Origin::Variable(name), mistakes);
    }

    /// Lays a flag over what is there.
    pub fn lay_flag(&mut self, path: &str, flag: &'static str, value: impl Into<Value>) {
        let setting = Setting { value: value.into(), origin: Origin::Flag(flag) };
        self.0.insert(path.to_owned(), setting);
    }

    fn lay(&mut self, path: &str, value: Value, origin: Origin, mistakes: &mut Mistakes) {
        match self.0.get_mut(path) {
            Some(setting) => *setting = Setting { value, origin },
            None => mistakes.push(Mistake {
                key: path.to_owned(),
                origin: Some(origin),
                what: "is not a setting".into(),
                mend: self.nearby(path),
            }),
        }
    }

    fn nearby(&self, path: &str) -> String {
        let section = path.rsplit_once('.').map_or("", |(section, _)| section);
        let known: Vec<_> =
            self.0.keys().filter(|key| key.rsplit_once('.').map_or("", |(it, _)| it) == section).collect();
        if known.is_empty() {
            let mut sections: Vec<_> =
                self.0.keys().filter_map(|key| key.split_once('.')).map(|(it, _)| it).collect();
            sections.dedup();
            return format!("the sections are: {}", sections.join(", "));
        }
        let names: Vec<_> =
            known.iter().map(|key| key.rsplit_once('.').map_or(key.as_str(), |(_, it)| it)).collect();
        format!("the settings there are: {}", names.join(", "))
    }

    /// Where the value of `path` came from.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.0.get(path).map(|setting| &setting.origin)
    }

    /// Every setting, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.0.iter().map(|(path, setting)| (path.as_str(), setting))
    }

    /// Whether `path` is something else than text.
    pub fn is_no_text(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|setting| setting.value.as_str().is_none())
    }

    /// The text of `path`; empty if it is unset.
    pub fn text(&self, path: &str) -> &str {
        self.0.get(path).and_then(|setting| setting.value.as_str()).unwrap_or_default()
    }

    /// Reads the settings under `section` (all at the top for an empty one) as a `T`, without those named in `but`.
    ///
    /// A value that does not fit is reported and its default taken instead, so that the next mistake shows, too.
    pub fn read<T: DeserializeOwned>(
        &self,
        section: &str,
        but: &[&str],
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let defaults = Self::defaults();
        let mut settings = self.section(section, but);
        loop {
            let mut dict = Dict::new();
            for (key, setting) in &settings {
                nest(&mut dict, key, setting.value.clone());
            }
            let error = match Value::from(dict).deserialize::<T>() {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let at = error.path.join(".");
            // The error may lie within a list, or speak about several settings: all that touch it are set back.
            let within = |longer: &str, shorter: &str| {
                longer.strip_prefix(shorter).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let touched: Vec<_> =
                settings.keys().filter(|key| within(&at, key) || within(key, &at)).cloned().collect();
            let path_of =
                |key: &str| if section.is_empty() { key.into() } else { format!("{section}.{key}") };
            let given = touched.iter().find(|key| settings[*key].origin != Origin::Default);
            let key = given.or(touched.first()).unwrap_or(&at);
            let what = match given {
                Some(key) => format!("is {}: {}", written(&settings[key].value), error.kind),
                None => error.kind.to_string(),
            };
            mistakes.push(Mistake {
                what,
                mend: super::annotation::about(&path_of(key))
                    .unwrap_or_else(|| "see default.toml".to_owned()),
                origin: given.map(|key| settings[key].origin.clone()),
                key: path_of(key),
            });
            // A default that does not fit cannot be set back.
            given?;
            for key in touched {
                settings.insert(key.clone(), defaults.0.get(&path_of(&key))?.clone());
            }
        }
    }

    fn section(&self, section: &str, but: &[&str]) -> BTreeMap<String, Setting> {
        let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
        self.0
            .iter()
            .filter_map(|(path, setting)| Some((path.strip_prefix(&prefix)?, setting)))
            .filter(|(key, _)| !but.contains(key))
            .filter(|(key, _)| !section.is_empty() || !key.contains('.'))
            .map(|(key, setting)| (key.to_owned(), setting.clone()))
            .collect()
    }
}

fn nest(dict: &mut Dict, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        dict.insert(path.to_owned(), value);
        return;
    };
    let inner = dict.entry(first.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, inner) = inner {
        nest(inner, rest, value);
    }
}

/// What TOML says of a mistake, without the line that it quotes: there may be a secret in it.
fn without_source(error: &str) -> String {
    let quoted =
        |line: &&str| line.trim_start_matches(|it: char| it.is_ascii_digit() || it == ' ').starts_with('|');
    error.trim().lines().filter(|line| !quoted(line)).collect::<Vec<_>>().join(": ")
}

/// A list from a variable: `[a, b]` as TOML would have it, or `a,b`.
fn list(text: &str) -> Value {
    if text.trim_start().starts_with('[') {
        return text.parse().unwrap_or_else(|never| match never {});
    }
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    Value::from(words.map(str::to_owned).collect::<Vec<_>>())
}

fn parse(text: &str) -> Result<Vec<(String, Value)>, String> {
    let profiles = Toml::string(text).data().map_err(|error| error.to_string())?;
    let mut leaves = Vec::new();
    for dict in profiles.into_values() {
        flatten("", dict, &mut leaves);
    }
    Ok(leaves)
}

fn flatten(prefix: &str, dict: Dict, leaves: &mut Vec<(String, Value)>) {
    for (key, value) in dict {
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Dict(_, dict) => flatten(&path, dict, leaves),
            leaf => leaves.push((path, leaf)),
        }
    }
}

/// The value as TOML writes it.
pub(super) fn written(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, letter) => format!("{:?}", letter.to_string()),
        Value::Bool(_, it) => it.to_string(),
        Value::Num(_, Num::F32(it)) => it.to_string(),
        Value::Num(_, Num::F64(it)) => it.to_string(),
        Value::Num(_, it) => {
            it.to_i128().map_or_else(|| it.to_u128().unwrap_or(0).to_string(), |it| it.to_string())
        }
        Value::Empty(..) => String::new(),
        Value::Array(_, items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Dict(..) => "{…}".to_owned(),
    }
}
