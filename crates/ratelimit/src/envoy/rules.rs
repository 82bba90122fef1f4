//! The file that says what Envoy may ask for: domains, their rules, and which rule a descriptor falls under.

use std::{collections::BTreeMap, error::Error, fmt, fs, path::Path};

use figment::{
    Provider,
    providers::{Format as _, Toml},
    value::{Dict, Value},
};
use serde::{Deserialize, de::DeserializeOwned};
use tollgate_proto::{
    envoy::descriptors::rate_limit_descriptor::Entry,
    ratelimit::{self as wire, Limit},
};

/// The limit that a descriptor brings itself; no rule has this name.
pub(super) const OVERRIDE: &str = "override";

/// All domains of the file.
#[derive(Debug, Default)]
pub struct Domains(BTreeMap<String, Domain>);

/// The rules of one domain, those first that come first where several match.
#[derive(Debug)]
pub(super) struct Domain {
    name: String,
    rules: Vec<Rule>,
}

/// The limit of every descriptor with these entries.
#[derive(Debug)]
pub(super) struct Rule {
    place: String,
    entries: Vec<Pattern>,
    pub(super) limit: Limit,
}

/// `key` or `key=value`.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    key: String,
    value: Option<String>,
}

/// Everything that is wrong with the file, each with its place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

/// A rule before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    name: String,
    r#match: Vec<String>,
    limit: u64,
    #[serde(default)]
    window_seconds: u32,
    #[serde(default)]
    algorithm: AlgorithmText,
    #[serde(default)]
    burst: u64,
    period: Option<PeriodText>,
    time_zone: Option<String>,
    anchor_day: Option<u32>,
    #[serde(default)]
    on_failure: OnFailureText,
    #[serde(default)]
    shadow: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AlgorithmText {
    #[default]
    SlidingWindow,
    TokenBucket,
    Calendar,
    Concurrency,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PeriodText {
    Day,
    Week,
    Month,
    Year,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnFailureText {
    #[default]
    Local,
    Deny,
    Allow,
}

impl Domains {
    /// Reads the file whole.
    pub fn read(path: &Path) -> Result<Self, Mistakes> {
        let text = fs::read_to_string(path)
            .map_err(|error| Mistakes(vec![format!("{} cannot be read: {error}", path.display())]))?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut domains = Self::default();
        let mut file = top(text)?;
        let listed = list(&mut file, "domain", "the file", &mut mistakes);
        mistakes.unknown(&file, "the file");
        for (position, domain) in listed {
            let place = format!("domain {}", position + 1);
            if let Some(domain) = Domain::parse(domain, &place, &mut mistakes)
                && let Some(twin) = domains.0.insert(domain.name.clone(), domain)
            {
                mistakes.push(&place, format!("the name `{}` is taken", twin.name));
            }
        }
        if mistakes.is_empty() { Ok(domains) } else { Err(mistakes) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Domain> {
        self.0.get(name)
    }

    /// Every limit, with its place in the file and its partition.
    pub(super) fn limits(&self) -> impl Iterator<Item = (String, String, Limit)> {
        let of = |domain: &Domain, rule: &Rule| (rule.place.clone(), domain.partition(), rule.limit.clone());
        self.0.values().flat_map(move |domain| domain.rules.iter().map(move |rule| of(domain, rule)))
    }
}

impl Domain {
    /// What is counted together.
    pub(super) fn partition(&self) -> String {
        format!("envoy:{}", self.name)
    }

    /// The rule of a descriptor.
    pub(super) fn rule(&self, entries: &[Entry]) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(entries))
    }

    fn parse(value: Value, place: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(mut domain) = value.into_dict() else {
            mistakes.push(place, "is not a table");
            return None;
        };
        let name = domain.remove("name").and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
        if !is_name(&name) {
            mistakes.push(place, format!("`name` {NAME}"));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for (position, rule) in list(&mut domain, "rule", place, mistakes) {
            let place = format!("{place} (`{name}`), rule {}", position + 1);
            let Some(rule) = Rule::parse(&rule, &place, mistakes) else { continue };
            for twin in &rules {
                if twin.limit.name == rule.limit.name {
                    mistakes.push(&place, format!("the name `{}` is taken", rule.limit.name));
                }
                if twin.entries == rule.entries {
                    mistakes.push(&place, format!("`match` is that of rule `{}`", twin.limit.name));
                }
            }
            rules.push(rule);
        }
        mistakes.unknown(&domain, place);
        // A value wins over any, and the earlier entry decides.
        rules.sort_by_key(|rule| rule.entries.iter().map(|it| it.value.is_none()).collect::<Vec<_>>());
        Some(Self { name, rules })
    }
}

impl Rule {
    fn matches(&self, entries: &[Entry]) -> bool {
        self.entries.len() == entries.len()
            && self.entries.iter().zip(entries).all(|(pattern, entry)| pattern.matches(entry))
    }

    fn parse(value: &Value, place: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let text: RuleText = read(value, place, mistakes)?;
        let entries: Option<Vec<_>> = text.r#match.iter().map(|it| Pattern::parse(it)).collect();
        let entries = entries.filter(|it| !it.is_empty());
        for wrong in text.wrong(entries.is_none()) {
            mistakes.push(place, wrong);
        }
        Some(Self { place: place.to_owned(), entries: entries?, limit: text.limit() })
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        (!key.is_empty()).then(|| Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }

    fn matches(&self, entry: &Entry) -> bool {
        self.key == entry.key && self.value.as_ref().is_none_or(|value| *value == entry.value)
    }
}

impl RuleText {
    /// What the role could not know; numbers and zones it checks itself.
    fn wrong(&self, no_match: bool) -> Vec<String> {
        let calendar = self.algorithm == AlgorithmText::Calendar;
        let any_of_calendar = self.period.is_some() || self.time_zone.is_some() || self.anchor_day.is_some();
        let table = [
            (!is_name(&self.name), format!("`name` {NAME}")),
            (self.name == OVERRIDE, format!("the name `{OVERRIDE}` is for limits that descriptors bring")),
            (no_match, "`match` is a list of at least one `key` or `key=value`".to_owned()),
            (calendar && self.period.is_none(), "a calendar limit has a `period`".to_owned()),
            (
                !calendar && any_of_calendar,
                "`period`, `time_zone` and `anchor_day` are for calendar limits".to_owned(),
            ),
            (
                self.algorithm == AlgorithmText::Concurrency,
                "Envoy never says that a request has ended, so its leases would end by age alone: take a sliding window"
                    .to_owned(),
            ),
        ];
        table.into_iter().filter(|(wrong, _)| *wrong).map(|(_, what)| what).collect()
    }

    fn limit(&self) -> Limit {
        let calendar = self.period.map(|period| wire::Calendar {
            period: match period {
                PeriodText::Day => wire::Period::Day,
                PeriodText::Week => wire::Period::Week,
                PeriodText::Month => wire::Period::Month,
                PeriodText::Year => wire::Period::Year,
            }
            .into(),
            time_zone: self.time_zone.clone().unwrap_or_default(),
            anchor_day: self.anchor_day.unwrap_or_default(),
        });
        let algorithm = match self.algorithm {
            AlgorithmText::SlidingWindow => wire::Algorithm::SlidingWindow,
            AlgorithmText::TokenBucket => wire::Algorithm::TokenBucket,
            AlgorithmText::Calendar => wire::Algorithm::Calendar,
            AlgorithmText::Concurrency => wire::Algorithm::Concurrency,
        };
        let on_failure = match self.on_failure {
            OnFailureText::Local => wire::OnFailure::Local,
            OnFailureText::Deny => wire::OnFailure::Deny,
            OnFailureText::Allow => wire::OnFailure::Allow,
        };
        Limit {
            name: self.name.clone(),
            limit: self.limit,
            window_seconds: self.window_seconds,
            algorithm: algorithm.into(),
            on_failure: on_failure.into(),
            burst: self.burst,
            calendar,
            shadow: self.shadow,
        }
    }
}

impl Mistakes {
    pub(super) fn push(&mut self, place: &str, what: impl fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn unknown(&mut self, left: &Dict, place: &str) {
        for key in left.keys() {
            self.push(place, format!("`{key}` is not a setting"));
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Error for Mistakes {}

const NAME: &str = "is 1 to 64 characters of a-z, 0-9, `_`, `.` and `-`";

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

fn top(text: &str) -> Result<Dict, Mistakes> {
    let profiles = Toml::string(text).data().map_err(|error| Mistakes(vec![error.to_string()]))?;
    Ok(profiles.into_values().next().unwrap_or_default())
}

/// Takes a list of tables out of a table.
fn list(
    from: &mut Dict,
    key: &str,
    place: &str,
    mistakes: &mut Mistakes,
) -> impl Iterator<Item = (usize, Value)> + use<> {
    let items = match from.remove(key) {
        None => Vec::new(),
        Some(Value::Array(_, items)) => items,
        Some(_) => {
            mistakes.push(place, format!("write [[{key}]]: there may be several"));
            Vec::new()
        }
    };
    items.into_iter().enumerate()
}

fn read<T: DeserializeOwned>(value: &Value, place: &str, mistakes: &mut Mistakes) -> Option<T> {
    let read = value.deserialize::<T>();
    read.map_err(|error| {
        let at = error.path.join(".");
        let at = if at.is_empty() { String::new() } else { format!("`{at}`: ") };
        mistakes.push(place, format!("{at}{}", error.kind));
    })
    .ok()
}
