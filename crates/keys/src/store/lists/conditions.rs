//! What a list of keys is narrowed to, as SQL: each condition in a form that an index answers, and in one that no index can.

use chrono::TimeDelta;
use tollgate_db::{DbId, DbTime};
use tollgate_kernel::Timestamp;
use tollgate_verify::Environment;

use super::{super::keys::like_pattern, GATHERED, Sort, statement::Statement};

/// What a list of keys is narrowed to: they fit all of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFilter {
    pub(crate) status: Option<KeyStatus>,
    pub(crate) environment: Option<Environment>,
    /// In lower case.
    pub(crate) name_part: Option<String>,
    pub(crate) consumer: Option<DbId>,
    pub(crate) plan: Option<DbId>,
    pub(crate) role: Option<String>,
    pub(crate) expiring_before: Option<Timestamp>,
    pub(crate) unused_since: Option<Timestamp>,
    pub(crate) created_after: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
    pub(crate) rotation_due_before: Option<Timestamp>,
    /// As old the workspace's policy lets a secret be.
    pub(crate) max_secret_age: Option<TimeDelta>,
    /// Names and values.
    pub(crate) metadata: Vec<(String, String)>,
    /// Whatever else: not those that are revoked.
    pub(crate) unrevoked: bool,
}

/// A key has one status: the first of these that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    Revoked,
    Expired,
    Disabled,
    Active,
}

/// One thing that keys must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// All of a workspace's do.
    Workspace(DbId),
    Revoked,
    Unrevoked,
    Expired(DbTime),
    Disabled(DbTime),
    Active(DbTime),
    Environment(&'static str),
    Consumer(DbId),
    Plan(DbId),
    EndsBefore(DbTime),
    UsedBefore(DbTime),
    MadeFrom(DbTime),
    MadeBefore(DbTime),
    /// By its plan before this, or by the policy, because its newest secret was made before that.
    DueBefore {
        at: DbTime,
        made: Option<DbTime>,
    },
    Label {
        name: String,
        value: String,
    },
    NamePart(String),
}

/// One of the two ends of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Lower,
    Upper,
}

/// Where keys are looked up by one condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// `keys AS k`
    Keys,
    /// `key_uses AS u`, with the keys
    Uses,
    /// `key_labels AS l`, with the keys
    Labels,
}

impl KeyFilter {
    /// Without that of the workspace.
    pub(super) fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let now = DbTime(now);
        let label = |name: String, value: &String| Condition::Label { name, value: value.clone() };
        let status = self.status.map(|status| match status {
            KeyStatus::Revoked => Condition::Revoked,
            KeyStatus::Expired => Condition::Expired(now),
            KeyStatus::Disabled => Condition::Disabled(now),
            KeyStatus::Active => Condition::Active(now),
        });
        let mut all: Vec<_> = status.into_iter().collect();
        all.extend(self.environment.map(|it| Condition::Environment(it.as_str())));
        all.extend(self.consumer.map(Condition::Consumer));
        all.extend(self.plan.map(Condition::Plan));
        all.extend(self.role.iter().map(|role| label("role".to_owned(), role)));
        all.extend(self.metadata.iter().map(|(name, value)| label(format!("metadata.{name}"), value)));
        all.extend(self.expiring_before.map(|at| Condition::EndsBefore(at.into())));
        all.extend(self.unused_since.map(|at| Condition::UsedBefore(at.into())));
        all.extend(self.created_after.map(|at| Condition::MadeFrom(at.into())));
        all.extend(self.created_before.map(|at| Condition::MadeBefore(at.into())));
        all.extend(self.rotation_due_before.map(|at| Condition::DueBefore {
            at: at.into(),
            made: self.max_secret_age.map(|age| (at - age).into()),
        }));
        all.extend(self.name_part.as_deref().map(|part| Condition::NamePart(like_pattern(part))));
        all.extend(self.unrevoked.then_some(Condition::Unrevoked));
        all
    }
}

impl Condition {
    /// Whether an index finds the keys that fit it, or more of them that are still few.
    pub(super) fn is_indexed(&self) -> bool {
        !matches!(self, Self::NamePart(_) | Self::Unrevoked | Self::Active(_))
    }

    pub(super) fn base(&self) -> Base {
        match self {
            Self::UsedBefore(_) => Base::Uses,
            Self::Label { .. } => Base::Labels,
            _ => Base::Keys,
        }
    }

    /// What stands after `FROM` to look it up, alone or with the keys.
    pub(super) fn find<T>(&self, workspace: DbId, keys: bool, into: &mut Statement<T>) {
        if let Self::DueBefore { at, made } = self {
            due(workspace, *at, *made, into);
            into.sql(if keys { " CROSS JOIN keys AS k WHERE k.id = few.id AND " } else { " WHERE " });
        } else if keys {
            into.sql(self.base().with_keys());
        } else {
            into.sql(self.base().alone());
        }
        self.look_up(workspace, into);
    }

    /// As it stands after `WHERE` over its base alone, so that its index is used. May let more pass than fit.
    fn look_up<T>(&self, workspace: DbId, into: &mut Statement<T>) {
        match self {
            Self::Workspace(id) => into.sql("k.workspace_id = ").id(*id),
            Self::Consumer(id) => into.sql("k.consumer_id = ").id(*id),
            Self::Plan(id) => into.sql("k.plan_id = ").id(*id),
            Self::Environment(name) => {
                into.sql("k.workspace_id = ").id(workspace).sql(" AND k.environment = ").text(name)
            }
            Self::Revoked => into.sql("k.workspace_id = ").id(workspace).sql(" AND k.revoked_at IS NOT NULL"),
            Self::Disabled(_) => into.sql("k.workspace_id = ").id(workspace).sql(" AND NOT k.enabled"),
            Self::Expired(at) => {
                into.sql("k.workspace_id = ").id(workspace).sql(" AND k.ends_at <= ").time(*at)
            }
            Self::EndsBefore(at) => {
                into.sql("k.workspace_id = ").id(workspace).sql(" AND k.ends_at < ").time(*at)
            }
            Self::MadeFrom(at) => {
                into.sql("k.workspace_id = ").id(workspace).sql(" AND k.created_at >= ").time(*at)
            }
            Self::MadeBefore(at) => {
                into.sql("k.workspace_id = ").id(workspace).sql(" AND k.created_at < ").time(*at)
            }
            Self::UsedBefore(at) => into.sql("u.workspace_id = ").id(workspace).sql(" AND u.at < ").time(*at),
            Self::Label { name, value } => {
                into.sql("l.workspace_id = ").id(workspace).sql(" AND l.name = ").text(name);
                into.sql(" AND l.value = ").text(value)
            }
            Self::DueBefore { .. } => into.sql("TRUE"),
            Self::NamePart(_) | Self::Unrevoked | Self::Active(_) => into.sql("FALSE"),
        };
    }

    /// The order in which its index finds what fits it. With it no planner reads a table instead, which it might for a limit's sake: those that
    /// fit may all be at the table's other end.
    pub(super) const fn order(&self) -> &'static str {
        match self {
            Self::UsedBefore(_) => " ORDER BY u.at",
            Self::Label { .. } => " ORDER BY l.key_id",
            Self::Expired(_) | Self::EndsBefore(_) => " ORDER BY k.ends_at",
            Self::MadeFrom(_) | Self::MadeBefore(_) => " ORDER BY k.created_at",
            Self::DueBefore { .. } => "",
            _ => " ORDER BY k.id",
        }
    }

    /// If it is about what the list is sorted by: this end of those that fit it, in an order's index.
    pub(super) const fn end_of(&self, sort: Sort, end: End) -> Option<(&'static str, DbTime)> {
        match (sort, self, end) {
            (Sort::CreatedAt, Self::MadeFrom(at), End::Lower) => Some((" AND k.created_at >= ", *at)),
            (Sort::CreatedAt, Self::MadeBefore(at), End::Upper) => Some((" AND k.created_at < ", *at)),
            (Sort::ExpiresAt, Self::EndsBefore(at), End::Upper) => Some((" AND k.ends_at < ", *at)),
            (Sort::ExpiresAt, Self::Expired(at), End::Upper) => Some((" AND k.ends_at <= ", *at)),
            (Sort::LastUsedAt, Self::UsedBefore(at), End::Upper) => Some((" AND u.at < ", *at)),
            _ => None,
        }
    }

    /// As a test of each key that was found by another: no index can be used for it, so that the planner has no choice.
    pub(super) fn test<T>(&self, workspace: DbId, into: &mut Statement<T>) {
        into.sql(" AND CASE WHEN ");
        match self {
            Self::Revoked => into.sql("k.revoked_at IS NOT NULL"),
            Self::Unrevoked => into.sql("k.revoked_at IS NULL"),
            Self::Expired(at) => into.sql("k.revoked_at IS NULL AND k.ends_at <= ").time(*at),
            Self::Disabled(at) => {
                into.sql("NOT k.enabled AND k.revoked_at IS NULL AND k.ends_at > ").time(*at)
            }
            Self::Active(at) => into.sql("k.enabled AND k.revoked_at IS NULL AND k.ends_at > ").time(*at),
            Self::UsedBefore(at) => {
                into.sql("(SELECT x.at FROM key_uses AS x WHERE x.key_id = k.id) < ").time(*at)
            }
            Self::Label { name, value } => {
                // Not `EXISTS`, for which PostgreSQL may read all that is called so, once, rather than look this one up.
                into.sql("(SELECT TRUE FROM key_labels AS x WHERE x.workspace_id = ").id(workspace);
                into.sql(" AND x.name = ").text(name).sql(" AND x.value = ").text(value);
                into.sql(" AND x.key_id = k.id)")
            }
            Self::DueBefore { at, made } => {
                into.sql("(SELECT x.due_at FROM key_rotations AS x WHERE x.key_id = k.id) < ").time(*at);
                if let Some(made) = made {
                    into.sql(" OR k.secret_made_at < ").time(*made);
                }
                &mut *into
            }
            Self::NamePart(pattern) => into.sql("k.name_folded LIKE ").text(pattern).sql(" ESCAPE '\\'"),
            Self::Workspace(id) => into.sql("k.workspace_id = ").id(*id),
            _ => {
                self.look_up(workspace, into);
                &mut *into
            }
        };
        into.sql(" THEN TRUE ELSE FALSE END");
    }
}

/// Keys that are due, those first that are due longest: of either index no more than may be gathered, so that it costs little to
/// see that there are too many.
fn due<T>(workspace: DbId, at: DbTime, made: Option<DbTime>, into: &mut Statement<T>) {
    into.sql("(SELECT few.id FROM (SELECT r.key_id AS id FROM key_rotations AS r WHERE r.workspace_id = ");
    into.id(workspace).sql(" AND r.due_at < ").time(at);
    into.sql(" ORDER BY r.due_at LIMIT ").number(GATHERED + 1).sql(") AS few");
    if let Some(made) = made {
        into.sql(" UNION SELECT few.id FROM (SELECT s.id FROM keys AS s WHERE s.workspace_id = ");
        into.id(workspace).sql(" AND s.secret_made_at < ").time(made);
        into.sql(" ORDER BY s.secret_made_at LIMIT ").number(GATHERED + 1).sql(") AS few");
    }
    into.sql(") AS few");
}

impl Base {
    /// After `FROM`, alone; a `WHERE` is begun.
    pub(super) const fn alone(self) -> &'static str {
        match self {
            Self::Keys => "keys AS k WHERE ",
            Self::Uses => "key_uses AS u WHERE ",
            Self::Labels => "key_labels AS l WHERE ",
        }
    }

    /// After `FROM`, with the keys; a `WHERE` is begun. `CROSS`, because SQLite then looks up in this order.
    pub(super) const fn with_keys(self) -> &'static str {
        match self {
            Self::Keys => "keys AS k WHERE ",
            Self::Uses => "key_uses AS u CROSS JOIN keys AS k WHERE k.id = u.key_id AND ",
            Self::Labels => "key_labels AS l CROSS JOIN keys AS k WHERE k.id = l.key_id AND ",
        }
    }
}

impl Sort {
    /// What keys are sorted by, in a statement over this base.
    pub(super) const fn column(self, base: Base) -> &'static str {
        match (self, base) {
            (Self::CreatedAt, _) => "k.created_at",
            (Self::ExpiresAt, _) => "k.ends_at",
            (Self::Name, _) => "k.name_folded",
            (Self::LastUsedAt, Base::Uses) => "u.at",
            (Self::LastUsedAt, _) => "(SELECT x.at FROM key_uses AS x WHERE x.key_id = k.id)",
        }
    }
}
