//! Who may do what: the standing of a caller in a workspace, and what that standing allows. Pure.
//!
//! | | operator, owner, admin | member | service key of the workspace | anyone else |
//! |---|---|---|---|---|
//! | read keys | yes | yes | `keys.read` | hidden |
//! | create a key | yes | yes | `keys.write` | hidden |
//! | change or rotate a key | yes | only one that it created | `keys.write` | hidden |
//! | revoke a key | yes | only one that it created | `keys.write` | hidden |
//! | read usage | yes | yes | `usage.read` | hidden |
//! | read plans | yes | yes | `keys.read` or `keys.write` | hidden |
//! | read and change the policy | yes | no | no | hidden |
//! | read, create and revoke service keys | yes | no | no | hidden |
//! | read, create, change, test and delete webhooks | yes | no | no | hidden |
//! | read consumers and roles | yes | yes | `keys.read` | hidden |
//! | create, change and delete consumers | yes | yes | `keys.write` | hidden |
//! | create, change and delete plans and roles | yes | no | no | hidden |
//! | override limits of a key | yes | only of one that it created | `keys.write` | hidden |
//! | read the workspace | yes | yes | `keys.read` | hidden |
//! | rename the workspace | yes | no | no | hidden |
//! | set the workspace's limits | operator only | no | no | hidden |
//!
//! *Hidden* answers "not found", so that nobody learns what exists in another's workspace. An operator may do everything
//! everywhere. Nobody gives away what it does not hold ([`Standing::holds`]): a service key makes no service key, and
//! one that is made has no permission that its maker lacks.

use tollgate_kernel::{Code, Fault};
use tollgate_verify::{MemberRole, Permission};

/// What a caller is to a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Operator,
    Member(MemberRole),
    /// A live service key of this workspace, with its permissions.
    ServiceKey(Vec<Permission>),
    Stranger,
}

/// What a caller wants to do in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    ReadKeys,
    CreateKey,
    /// `own`: the caller created it.
    ChangeKey {
        own: bool,
    },
    /// As above.
    RevokeKey {
        own: bool,
    },
    ReadUsage,
    ReadPlans,
    ManagePolicy,
    ManageServiceKeys,
    /// They are told what happens to all keys of the workspace.
    ManageWebhooks,
    ReadConsumers,
    WriteConsumers,
    WritePlans,
    ReadRoles,
    WriteRoles,
    /// `own`: the caller created the key.
    OverrideLimits {
        own: bool,
    },
    ReadWorkspace,
    RenameWorkspace,
    /// What the instance allows a tenant, so not for the tenant to say.
    LimitWorkspace,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    Allowed,
    /// The caller knows of the workspace, and may not.
    Forbidden,
    /// The caller may not know that there is anything.
    Hidden,
}

impl Standing {
    /// Whether this standing allows the action.
    pub(crate) fn may(&self, action: Action) -> Ruling {
        let allowed = match self {
            Self::Stranger => return Ruling::Hidden,
            Self::Operator => true,
            Self::Member(MemberRole::Owner | MemberRole::Admin) => action != Action::LimitWorkspace,
            Self::Member(MemberRole::Member) => member_may(action),
            Self::ServiceKey(permissions) => service_key_may(permissions, action),
        };
        if allowed { Ruling::Allowed } else { Ruling::Forbidden }
    }

    /// Refuses what this standing does not allow; `what` is what a stranger is told not to exist.
    pub(crate) fn require(&self, action: Action, what: &str) -> Result<(), Fault> {
        match self.may(action) {
            Ruling::Allowed => Ok(()),
            Ruling::Forbidden => Err(forbidden()),
            Ruling::Hidden => Err(Fault::not_found(what)),
        }
    }

    /// The caller's role in the workspace, as text; empty: it has none.
    pub(crate) fn role(&self) -> String {
        if let Self::Member(role) = self { role.to_string() } else { String::new() }
    }

    /// Whether this standing includes the permission, and so may give it away.
    pub(crate) fn holds(&self, permission: Permission) -> bool {
        match self {
            Self::Operator | Self::Member(MemberRole::Owner | MemberRole::Admin) => true,
            Self::Member(MemberRole::Member) | Self::Stranger => false,
            Self::ServiceKey(permissions) => permissions.contains(&permission),
        }
    }
}

fn member_may(action: Action) -> bool {
    match action {
        Action::ReadKeys
        | Action::CreateKey
        | Action::ReadUsage
        | Action::ReadPlans
        | Action::ReadConsumers
        | Action::WriteConsumers
        | Action::ReadRoles
        | Action::ReadWorkspace => true,
        Action::ChangeKey { own } | Action::RevokeKey { own } | Action::OverrideLimits { own } => own,
        Action::ManagePolicy
        | Action::ManageServiceKeys
        | Action::ManageWebhooks
        | Action::WritePlans
        | Action::WriteRoles
        | Action::RenameWorkspace
        | Action::LimitWorkspace => false,
    }
}

fn service_key_may(held: &[Permission], action: Action) -> bool {
    let sufficient: &[Permission] = match action {
        Action::ReadKeys | Action::ReadConsumers | Action::ReadRoles | Action::ReadWorkspace => {
            &[Permission::KeysRead]
        }
        Action::CreateKey
        | Action::ChangeKey { .. }
        | Action::RevokeKey { .. }
        | Action::WriteConsumers
        | Action::OverrideLimits { .. } => &[Permission::KeysWrite],
        Action::ReadUsage => &[Permission::UsageRead],
        Action::ReadPlans => &[Permission::KeysRead, Permission::KeysWrite],
        // With the others a service key would widen what its own keys may do.
        Action::ManagePolicy
        | Action::ManageServiceKeys
        | Action::ManageWebhooks
        | Action::WritePlans
        | Action::WriteRoles
        | Action::RenameWorkspace
        | Action::LimitWorkspace => &[],
    };
    sufficient.iter().any(|permission| held.contains(permission))
}

/// The fault of a caller who knows of the workspace and may not do this in it.
pub(crate) fn forbidden() -> Fault {
    Fault::new(Code::Forbidden, "The caller may not do this.")
}

#[cfg(test)]
mod tests {
    use super::{Action::*, Permission::*, Ruling::*, *};

    const ACTIONS: [Action; 10] = [
        ReadKeys,
        CreateKey,
        RevokeKey { own: true },
        RevokeKey { own: false },
        ReadUsage,
        ReadPlans,
        ManageServiceKeys,
        ChangeKey { own: true },
        ChangeKey { own: false },
        ManagePolicy,
    ];

    #[test]
    fn the_whole_table() {
        let service = |permissions: &[Permission]| Standing::ServiceKey(permissions.to_vec());
        // One letter per action, in the order above: Allowed, Forbidden, Hidden.
        let table = [
            (Standing::Operator, "AAAAAAAAAA"),
            (Standing::Member(MemberRole::Owner), "AAAAAAAAAA"),
            (Standing::Member(MemberRole::Admin), "AAAAAAAAAA"),
            (Standing::Member(MemberRole::Member), "AAAFAAFAFF"),
            (Standing::Stranger, "HHHHHHHHHH"),
            (service(&[]), "FFFFFFFFFF"),
            (service(&[KeysVerify]), "FFFFFFFFFF"),
            (service(&[KeysRead]), "AFFFFAFFFF"),
            (service(&[KeysWrite]), "FAAAFAFAAF"),
            (service(&[UsageRead]), "FFFFAFFFFF"),
            (service(&[KeysVerify, KeysRead, KeysWrite, UsageRead]), "AAAAAAFAAF"),
        ];
        for (standing, expected) in table {
            let rulings: String = ACTIONS
                .iter()
                .map(|action| match standing.may(*action) {
                    Allowed => 'A',
                    Forbidden => 'F',
                    Hidden => 'H',
                })
                .collect();
            assert_eq!(rulings, expected, "{standing:?}");
        }
    }

    #[test]
    fn the_table_of_what_keys_hang_on() {
        const ACTIONS: [Action; 11] = [
            ReadConsumers,
            WriteConsumers,
            WritePlans,
            ReadRoles,
            WriteRoles,
            OverrideLimits { own: true },
            OverrideLimits { own: false },
            ReadWorkspace,
            RenameWorkspace,
            LimitWorkspace,
            ManageWebhooks,
        ];
        let service = |permissions: &[Permission]| Standing::ServiceKey(permissions.to_vec());
        let table = [
            (Standing::Operator, "AAAAAAAAAAA"),
            (Standing::Member(MemberRole::Owner), "AAAAAAAAAFA"),
            (Standing::Member(MemberRole::Admin), "AAAAAAAAAFA"),
            (Standing::Member(MemberRole::Member), "AAFAFAFAFFF"),
            (Standing::Stranger, "HHHHHHHHHHH"),
            (service(&[KeysVerify, UsageRead]), "FFFFFFFFFFF"),
            (service(&[KeysRead]), "AFFAFFFAFFF"),
            (service(&[KeysWrite]), "FAFFFAAFFFF"),
            (service(&[KeysVerify, KeysRead, KeysWrite, UsageRead]), "AAFAFAAAFFF"),
        ];
        for (standing, expected) in table {
            let letter = |action: &Action| match standing.may(*action) {
                Allowed => 'A',
                Forbidden => 'F',
                Hidden => 'H',
            };
            let rulings: String = ACTIONS.iter().map(letter).collect();
            assert_eq!(rulings, expected, "{standing:?}");
        }
    }

    #[test]
    fn nobody_gives_away_what_it_does_not_hold() {
        let reader = Standing::ServiceKey(vec![KeysRead]);
        for permission in Permission::ALL.iter().copied() {
            assert!(Standing::Operator.holds(permission));
            assert!(Standing::Member(MemberRole::Owner).holds(permission));
            assert!(!Standing::Member(MemberRole::Member).holds(permission));
            assert!(!Standing::Stranger.holds(permission));
            assert_eq!(reader.holds(permission), permission == KeysRead);
        }
    }

    #[test]
    fn a_stranger_is_told_that_there_is_nothing() {
        let fault = Standing::Stranger.require(ReadKeys, "key").expect_err("refused");
        assert_eq!(fault.to_string(), Fault::not_found("key").to_string());
        let fault = Standing::ServiceKey(vec![]).require(ReadKeys, "key").expect_err("refused");
        assert_eq!(fault.code(), Code::Forbidden);
    }
}
