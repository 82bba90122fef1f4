//! Who may do what: the standing of a caller in a workspace, and what that standing allows. Pure.
//!
//! | | operator, owner, admin | member | service key of the workspace | anyone else |
//! |---|---|---|---|---|
//! | read keys | yes | yes | `keys.read` | hidden |
//! | create a key | yes | yes | `keys.write` | hidden |
//! | import keys | yes | no | `keys.write` | hidden |
//! | export keys | operator and owner only | no | `keys.export` | hidden |
//! | change or rotate a key | yes | only one that it created | `keys.write` | hidden |
//! | revoke a key | yes | only one that it created | `keys.write` | hidden |
//! | revoke all keys that fit a filter | yes | no | `keys.write` | hidden |
//! | read usage | yes | yes | `usage.read` | hidden |
//! | read plans | yes | yes | `keys.read` or `keys.write` | hidden |
//! | read and change the policy | yes | no | no | hidden |
//! | read, create and revoke service keys | yes | no | no | hidden |
//! | read members | yes | yes | no | hidden |
//! | change and remove members, read, make and revoke invitations | whose role is not above its own | only leave | no | hidden |
//! | read the audit | yes | no | no | hidden |
//! | read, create, change, test and delete webhooks | yes | no | no | hidden |
//! | read consumers and roles | yes | yes | `keys.read` | hidden |
//! | create, change and delete consumers | yes | yes | `keys.write` | hidden |
//! | create, change and delete plans and roles | yes | no | no | hidden |
//! | override limits of a key | yes | only of one that it created | `keys.write` | hidden |
//! | read credits | yes | yes | `keys.read` | hidden |
//! | grant credits, change and delete their accounts | yes | no | `keys.write` | hidden |
//! | read the workspace | yes | yes | `keys.read` | hidden |
//! | rename the workspace | yes | no | no | hidden |
//! | set the workspace's limits, disable it | operator only | no | no | hidden |
//!
//! *Hidden* answers "not found", so that nobody learns what exists in another's workspace. An operator may do everything
//! everywhere. Nobody gives away what it does not hold ([`Standing::holds`]): a service key makes no service key, and
//! one that is made has no permission that its maker lacks; nobody makes a member, or changes one, who is above it
//! ([`Standing::manages`]).
//!
//! In a workspace that is disabled everybody but operators may only look, and take keys and service keys away.

use tollgate_kernel::{Code, Fault};
use tollgate_verify::{MemberRole, Permission};

/// What a caller is to a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Operator,
    Member(MemberRole),
    /// A live service key of this workspace, with its permissions.
    ServiceKey(Vec<Permission>),
    /// Somebody of the above, in a workspace that is disabled.
    Suspended(Box<Self>),
    Stranger,
}

/// What a caller wants to do in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    ReadKeys,
    CreateKey,
    ImportKeys,
    ExportKeys,
    /// `own`: the caller created it.
    ChangeKey {
        own: bool,
    },
    /// As above.
    RevokeKey {
        own: bool,
    },
    RevokeKeys,
    ReadUsage,
    ReadPlans,
    ReadPolicy,
    ManagePolicy,
    ReadServiceKeys,
    /// Make one.
    ManageServiceKeys,
    RevokeServiceKey,
    ReadMembers,
    ReadInvitations,
    /// Also their invitations. Whose, [`Standing::manages`] says.
    ManageMembers,
    ReadAudit,
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
    ReadCredits,
    WriteCredits,
    ReadWorkspace,
    RenameWorkspace,
    /// What the instance allows a tenant, so not for the tenant to say.
    LimitWorkspace,
    /// Or enable it again.
    DisableWorkspace,
}

impl Action {
    /// Whether it only looks, or takes away what lets somebody in: what is left to do in a workspace that is disabled.
    fn survives_disabling(self) -> bool {
        matches!(
            self,
            Self::ReadKeys
                | Self::ReadUsage
                | Self::ReadPlans
                | Self::ReadPolicy
                | Self::ReadServiceKeys
                | Self::ReadConsumers
                | Self::ReadRoles
                | Self::ReadCredits
                | Self::ReadWorkspace
                | Self::ReadMembers
                | Self::ReadInvitations
                | Self::ReadAudit
                | Self::RevokeKey { .. }
                | Self::RevokeServiceKey
        )
    }
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
            Self::Member(MemberRole::Owner) => {
                !matches!(action, Action::LimitWorkspace | Action::DisableWorkspace)
            }
            Self::Member(MemberRole::Admin) => {
                !matches!(action, Action::LimitWorkspace | Action::DisableWorkspace | Action::ExportKeys)
            }
            Self::Member(MemberRole::Member) => member_may(action),
            Self::ServiceKey(permissions) => service_key_may(permissions, action),
            Self::Suspended(_) if !action.survives_disabling() => false,
            Self::Suspended(of) => return of.may(action),
        };
        if allowed { Ruling::Allowed } else { Ruling::Forbidden }
    }

    /// Refuses what this standing does not allow; `what` is what a stranger is told not to exist.
    pub(crate) fn require(&self, action: Action, what: &str) -> Result<(), Fault> {
        match self.may(action) {
            Ruling::Allowed => Ok(()),
            Ruling::Forbidden => match self {
                Self::Suspended(_) if !action.survives_disabling() => Err(disabled()),
                _ => Err(forbidden()),
            },
            Ruling::Hidden => Err(Fault::not_found(what)),
        }
    }

    /// Whether memberships of this role are this standing's to give, to change and to take away.
    pub(crate) fn manages(&self, role: MemberRole) -> bool {
        match self {
            Self::Operator | Self::Member(MemberRole::Owner) => true,
            Self::Member(MemberRole::Admin) => role != MemberRole::Owner,
            Self::Member(MemberRole::Member) | Self::ServiceKey(_) | Self::Suspended(_) | Self::Stranger => {
                false
            }
        }
    }

    /// The caller's role in the workspace, as text; empty: it has none.
    pub(crate) fn role(&self) -> String {
        match self {
            Self::Member(role) => role.to_string(),
            Self::Suspended(of) => of.role(),
            Self::Operator | Self::ServiceKey(_) | Self::Stranger => String::new(),
        }
    }

    /// Whether this standing includes the permission, and so may give it away.
    pub(crate) fn holds(&self, permission: Permission) -> bool {
        match self {
            Self::Operator | Self::Member(MemberRole::Owner) => true,
            // Else an admin could take keys out by a machine of its own making.
            Self::Member(MemberRole::Admin) => permission != Permission::KeysExport,
            Self::Member(MemberRole::Member) | Self::Suspended(_) | Self::Stranger => false,
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
        | Action::ReadCredits
        | Action::ReadWorkspace
        | Action::ReadMembers => true,
        Action::ChangeKey { own } | Action::RevokeKey { own } | Action::OverrideLimits { own } => own,
        Action::ImportKeys
        | Action::ExportKeys
        | Action::ReadPolicy
        | Action::ManagePolicy
        | Action::ReadServiceKeys
        | Action::ManageServiceKeys
        | Action::RevokeServiceKey
        | Action::ReadInvitations
        | Action::ManageMembers
        | Action::ReadAudit
        | Action::ManageWebhooks
        | Action::RevokeKeys
        | Action::WritePlans
        | Action::WriteRoles
        | Action::WriteCredits
        | Action::RenameWorkspace
        | Action::LimitWorkspace
        | Action::DisableWorkspace => false,
    }
}

fn service_key_may(held: &[Permission], action: Action) -> bool {
    let sufficient: &[Permission] = match action {
        Action::ReadKeys
        | Action::ReadConsumers
        | Action::ReadRoles
        | Action::ReadCredits
        | Action::ReadWorkspace => &[Permission::KeysRead],
        Action::ExportKeys => &[Permission::KeysExport],
        Action::CreateKey
        | Action::ImportKeys
        | Action::ChangeKey { .. }
        | Action::RevokeKey { .. }
        | Action::RevokeKeys
        | Action::WriteConsumers
        | Action::WriteCredits
        | Action::OverrideLimits { .. } => &[Permission::KeysWrite],
        Action::ReadUsage => &[Permission::UsageRead],
        Action::ReadPlans => &[Permission::KeysRead, Permission::KeysWrite],
        // With the others a service key would widen what its own keys may do.
        Action::ReadPolicy
        | Action::ManagePolicy
        | Action::ReadServiceKeys
        | Action::ManageServiceKeys
        | Action::RevokeServiceKey
        | Action::ReadMembers
        | Action::ReadInvitations
        | Action::ManageMembers
        | Action::ReadAudit
        | Action::ManageWebhooks
        | Action::WritePlans
        | Action::WriteRoles
        | Action::RenameWorkspace
        | Action::LimitWorkspace
        | Action::DisableWorkspace => &[],
    };
    sufficient.iter().any(|permission| held.contains(permission))
}

/// The fault of a caller who knows of the workspace and may not do this in it.
pub(crate) fn forbidden() -> Fault {
    Fault::new(Code::Forbidden, "The caller may not do this.")
}

/// The fault of a change in a workspace that an operator has disabled.
pub(crate) fn disabled() -> Fault {
    Fault::new(Code::Forbidden, "The workspace is disabled; it can only be looked at.")
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
    fn the_table_of_who_is_in_it() {
        const ACTIONS: [Action; 9] = [
            ReadMembers,
            ManageMembers,
            ReadAudit,
            DisableWorkspace,
            ReadPolicy,
            ReadServiceKeys,
            RevokeServiceKey,
            ReadKeys,
            RevokeKey { own: true },
        ];
        let suspended = |of: Standing| Standing::Suspended(Box::new(of));
        let everything = Standing::ServiceKey(Permission::ALL.to_vec());
        let table = [
            (Standing::Operator, "AAAAAAAAA"),
            (Standing::Member(MemberRole::Owner), "AAAFAAAAA"),
            (Standing::Member(MemberRole::Admin), "AAAFAAAAA"),
            (Standing::Member(MemberRole::Member), "AFFFFFFAA"),
            (everything.clone(), "FFFFFFFAA"),
            (Standing::Stranger, "HHHHHHHHH"),
            (suspended(Standing::Member(MemberRole::Owner)), "AFAFAAAAA"),
            (suspended(Standing::Member(MemberRole::Member)), "AFFFFFFAA"),
            (suspended(everything), "FFFFFFFAA"),
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
        let owner = suspended(Standing::Member(MemberRole::Owner));
        for action in [CreateKey, ChangeKey { own: true }, WritePlans, RenameWorkspace, ManageServiceKeys] {
            let fault = owner.require(action, "workspace").expect_err("refused");
            assert_eq!(fault.to_string(), disabled().to_string());
        }
        assert_eq!(owner.role(), "owner");
    }

    #[test]
    fn nobody_manages_those_above() {
        for (standing, expected) in [
            (Standing::Operator, [true; 3]),
            (Standing::Member(MemberRole::Owner), [true; 3]),
            (Standing::Member(MemberRole::Admin), [false, true, true]),
            (Standing::Member(MemberRole::Member), [false; 3]),
            (Standing::ServiceKey(Permission::ALL.to_vec()), [false; 3]),
            (Standing::Suspended(Box::new(Standing::Member(MemberRole::Owner))), [false; 3]),
            (Standing::Stranger, [false; 3]),
        ] {
            let manages = [MemberRole::Owner, MemberRole::Admin, MemberRole::Member];
            assert_eq!(manages.map(|role| standing.manages(role)), expected, "{standing:?}");
        }
    }

    #[test]
    fn the_table_of_credits() {
        let service = |permissions: &[Permission]| Standing::ServiceKey(permissions.to_vec());
        for (standing, expected) in [
            (Standing::Operator, [Allowed, Allowed]),
            (Standing::Member(MemberRole::Owner), [Allowed, Allowed]),
            (Standing::Member(MemberRole::Admin), [Allowed, Allowed]),
            (Standing::Member(MemberRole::Member), [Allowed, Forbidden]),
            (Standing::Stranger, [Hidden, Hidden]),
            (service(&[KeysVerify, UsageRead]), [Forbidden, Forbidden]),
            (service(&[KeysRead]), [Allowed, Forbidden]),
            (service(&[KeysWrite]), [Forbidden, Allowed]),
        ] {
            assert_eq!([ReadCredits, WriteCredits].map(|it| standing.may(it)), expected, "{standing:?}");
        }
    }

    #[test]
    fn who_revokes_many_keys_may_revoke_each() {
        let service = |permissions: &[Permission]| Standing::ServiceKey(permissions.to_vec());
        for (standing, expected) in [
            (Standing::Operator, Allowed),
            (Standing::Member(MemberRole::Owner), Allowed),
            (Standing::Member(MemberRole::Admin), Allowed),
            (Standing::Member(MemberRole::Member), Forbidden),
            (Standing::Stranger, Hidden),
            (service(&[KeysVerify, KeysRead, UsageRead]), Forbidden),
            (service(&[KeysWrite]), Allowed),
        ] {
            assert_eq!(standing.may(RevokeKeys), expected, "{standing:?}");
            assert!(expected != Allowed || standing.may(RevokeKey { own: false }) == Allowed);
        }
    }

    #[test]
    fn the_table_of_imports_and_exports() {
        let service = |permissions: &[Permission]| Standing::ServiceKey(permissions.to_vec());
        for (standing, import, export) in [
            (Standing::Operator, Allowed, Allowed),
            (Standing::Member(MemberRole::Owner), Allowed, Allowed),
            (Standing::Member(MemberRole::Admin), Allowed, Forbidden),
            (Standing::Member(MemberRole::Member), Forbidden, Forbidden),
            (Standing::Stranger, Hidden, Hidden),
            (service(&[KeysVerify, KeysRead, UsageRead]), Forbidden, Forbidden),
            (service(&[KeysWrite]), Allowed, Forbidden),
            (service(&[KeysExport]), Forbidden, Allowed),
        ] {
            assert_eq!(
                (standing.may(ImportKeys), standing.may(ExportKeys)),
                (import, export),
                "{standing:?}"
            );
        }
        assert!(!Standing::Member(MemberRole::Admin).holds(KeysExport));
        assert!(Standing::Member(MemberRole::Admin).holds(KeysWrite));
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
