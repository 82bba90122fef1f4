//! The four roles, and which of them a process runs.

use std::{collections::BTreeSet, fmt};

/// A role of Tollgate. The order is the order of starting: whoever is needed comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Role {
    /// Counts: limits and tallies.
    Ratelimit,
    /// Users, sessions, signing keys.
    Identity,
    /// Workspaces, keys, usage.
    Keys,
    /// HTTP and the Gate: where calls come in.
    Edge,
}

impl Role {
    /// All roles, in the order of starting.
    pub const ALL: [Self; 4] = [Self::Ratelimit, Self::Identity, Self::Keys, Self::Edge];

    /// The role's word: on the command line, in the configuration, in `proto/` and in `migrations/`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ratelimit => "ratelimit",
            Self::Identity => "identity",
            Self::Keys => "keys",
            Self::Edge => "edge",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The roles that one process runs. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSet(BTreeSet<Role>);

impl RoleSet {
    /// All roles: the all-in-one shape.
    pub fn all() -> Self {
        Self(Role::ALL.into())
    }

    /// These roles; all of them if none is named.
    pub fn of(named: &[Role]) -> Self {
        if named.is_empty() { Self::all() } else { Self(named.iter().copied().collect()) }
    }

    /// Whether this process runs `role`.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether this process runs everything.
    pub fn is_all(&self) -> bool {
        self.0.len() == Role::ALL.len()
    }

    /// The roles in the order of starting.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Role::as_str).collect();
        f.write_str(&names.join(", "))
    }
}
