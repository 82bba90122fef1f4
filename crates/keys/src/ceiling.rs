//! Nobody makes a key with more rights than their own: which scopes a caller may give to a key.
//!
//! An operator, an owner and an admin may give any. Everybody else may give what the key's plan has: a member nothing more, a
//! service key what it was given to give. What a key has already it may keep.

use tollgate_kernel::{Code, Fault};
use tollgate_verify::{MemberRole, scope::includes};

use crate::{
    KeysService,
    access::{Standing, forbidden},
    caller::{Caller, Principal, nobody},
};

/// Which scopes a caller may give to a key, beside those of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ceiling {
    Any,
    Only(Vec<String>),
}

impl Ceiling {
    /// Refuses the first scope that the caller may not give. `plan`: those of the key's plan; `has`: those that it has.
    pub(crate) fn check<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a String>,
        plan: &[String],
        has: &[String],
    ) -> Result<(), Fault> {
        let Self::Only(own) = self else { return Ok(()) };
        let may = |scope: &&String| own.iter().chain(plan).chain(has).any(|held| includes(held, scope));
        match wanted.into_iter().find(|scope| !may(scope)) {
            None => Ok(()),
            Some(scope) => {
                Err(Fault::new(Code::Forbidden, format!("The caller may not give the scope `{scope}`.")))
            }
        }
    }
}

impl KeysService {
    pub(crate) async fn ceiling(&self, caller: &Caller, standing: &Standing) -> Result<Ceiling, Fault> {
        match (standing, caller.principal) {
            (Standing::Operator | Standing::Member(MemberRole::Owner | MemberRole::Admin), _) => {
                Ok(Ceiling::Any)
            }
            (Standing::Member(MemberRole::Member), _) => Ok(Ceiling::Only(Vec::new())),
            (Standing::ServiceKey(_), Principal::ServiceKey(id)) => {
                let key = self.store.service_key_by_id(id).await?.ok_or_else(nobody)?;
                Ok(Ceiling::Only(key.scopes.0))
            }
            _ => Err(forbidden()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_may_be_given() {
        let only = |own: &[&str]| Ceiling::Only(texts(own));
        for (ceiling, wanted, plan, has, fine) in [
            (Ceiling::Any, &["*"][..], &[][..], &[][..], true),
            (only(&[]), &[], &[], &[], true),
            (only(&[]), &["a"], &[], &[], false),
            (only(&[]), &["a"], &["a"], &[], true),
            (only(&[]), &["a.b", "a.c.*"], &["a.*"], &[], true),
            (only(&[]), &["a.*"], &["a.b"], &[], false),
            (only(&[]), &["*"], &["a.*"], &[], false),
            (only(&[]), &["a", "b"], &["a"], &["b"], true),
            (only(&["b.*"]), &["a", "b.c"], &["a"], &[], true),
            (only(&["b.*"]), &["a", "c"], &["a"], &[], false),
        ] {
            let said = ceiling.check(&texts(wanted), &texts(plan), &texts(has));
            assert_eq!(said.is_ok(), fine, "{ceiling:?} {wanted:?} {plan:?} {has:?}");
        }
    }
}
