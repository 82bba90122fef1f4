//! The levels at which limits are kept, and how many of them each may have: a call is charged at all levels at once, and one
//! call has at most [`CHARGES`] charges. Pure.
//!
//! A verdict names the limit that denied. So that its name says the level, the edge writes `consumer.` and `workspace.` before
//! the names of the limits of those levels, and no limit's own name may begin so.

use tollgate_proto::ratelimit as wire;

use crate::{
    input::Problems,
    limits::{self, Limit},
};

/// Most limits that one call can be charged with: what the ratelimit role takes.
const CHARGES: usize = 32;
/// A limit's name, with the longest prefix before it, is a name of at most 64 characters.
const SHARED_NAME_CHARACTERS: usize = 64 - "workspace.".len();
const PREFIXES: [&str; 2] = ["consumer.", "workspace."];

/// Where a limit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Key,
    /// Of keys and of consumers: it counts at both levels.
    Plan,
    Consumer,
    Workspace,
}

impl Level {
    const fn most(self) -> usize {
        match self {
            Self::Key | Self::Plan => 8,
            Self::Consumer | Self::Workspace => 4,
        }
    }
}

// The key's own and its plan's, the consumer's own and its plan's, the workspace's.
const _: () = assert!(
    Level::Key.most() + 2 * Level::Plan.most() + Level::Consumer.most() + Level::Workspace.most() <= CHARGES,
    "a call has more charges than the ratelimit role takes"
);

/// The limits that are to be kept at this level.
pub(crate) fn parse(limits: &[wire::Limit], level: Level, problems: &mut Problems) -> Vec<Limit> {
    let limits = problems.at_most(limits, level.most(), "/limits");
    for (place, limit) in limits.iter().enumerate() {
        let at = || format!("/limits/{place}/name");
        if level != Level::Key && limit.name.len() > SHARED_NAME_CHARACTERS {
            problems.add(at(), format!("must have at most {SHARED_NAME_CHARACTERS} characters"));
        }
        if PREFIXES.iter().any(|prefix| limit.name.starts_with(prefix)) {
            problems.add(at(), "must not begin with `consumer.` or `workspace.`");
        }
    }
    limits::parse(limits, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(names: &[&str], level: Level) -> Vec<String> {
        let limit = |name: &&str| wire::Limit {
            name: (*name).into(),
            limit: 1,
            window_seconds: 1,
            ..Default::default()
        };
        let limits: Vec<_> = names.iter().map(limit).collect();
        let mut problems = Problems::default();
        parse(&limits, level, &mut problems);
        let Err(fault) = problems.check() else { return vec![] };
        fault.violated().iter().map(|it| it.pointer.to_string()).collect()
    }

    #[test]
    fn each_level_has_its_number() {
        let names: Vec<String> = (0..9).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (level, most) in [(Level::Key, 8), (Level::Plan, 8), (Level::Consumer, 4), (Level::Workspace, 4)]
        {
            assert_eq!(wrong(&names[..most], level), Vec::<String>::new(), "{level:?}");
            assert_eq!(wrong(&names[..=most], level), ["/limits"], "{level:?}");
        }
    }

    #[test]
    fn a_name_says_its_level_once_and_fits() {
        let (long, longer) = ("n".repeat(54), "n".repeat(55));
        for level in [Level::Plan, Level::Consumer, Level::Workspace] {
            assert_eq!(wrong(&[&long], level), Vec::<String>::new());
            assert_eq!(wrong(&[&longer], level), ["/limits/0/name"]);
            assert!(format!("workspace.{long}").len() == 64);
        }
        assert_eq!(wrong(&[&longer, "consumer", "workspace-wide"], Level::Key), Vec::<String>::new());
        for level in [Level::Key, Level::Plan] {
            assert_eq!(
                wrong(&["a", "consumer.a", "workspace."], level),
                ["/limits/1/name", "/limits/2/name"]
            );
        }
    }
}
