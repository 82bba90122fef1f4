//! What comes after a call that was remembered: what it turned out to cost.

use std::{collections::BTreeMap, sync::Arc};

use tollgate_kernel::Fault;
use tollgate_proto::ratelimit as wire;

/// What a call turned out to cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settle {
    pub(crate) partition: String,
    pub(crate) request_id: Arc<str>,
    /// By name of limit, or [`ALL_OTHERS`]; a limit that is absent keeps what was reserved. None: a refund, of all.
    pub(crate) costs: Option<BTreeMap<String, u64>>,
}

/// In place of a name: all that are not named.
const ALL_OTHERS: &str = "*";

/// What is wrong with the costs of a settle, once it is known what was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The call had no limit of this name.
    Name(String),
    /// More than what was reserved of the limit of this name.
    Cost(String),
}

impl Settle {
    /// What each limit of the call turned out to cost, in their order. `reserved` is the name of each, and what was asked
    /// of it. Of several mistakes the first by name is told.
    pub(crate) fn costs<'a>(
        &self,
        reserved: impl Iterator<Item = (&'a str, u64)> + Clone,
    ) -> Result<Vec<u64>, Wrong> {
        let Some(costs) = &self.costs else { return Ok(reserved.map(|_| 0).collect()) };
        for (name, cost) in costs {
            if name == ALL_OTHERS {
                if reserved.clone().all(|(_, reserved)| *cost > reserved) {
                    return Err(Wrong::Cost(name.clone()));
                }
                continue;
            }
            let mut same = reserved.clone().filter(|(limit, _)| limit == name).peekable();
            if same.peek().is_none() {
                return Err(Wrong::Name(name.clone()));
            }
            if same.any(|(_, reserved)| *cost > reserved) {
                return Err(Wrong::Cost(name.clone()));
            }
        }
        let others = costs.get(ALL_OTHERS).copied().unwrap_or(u64::MAX);
        let cost = |(name, reserved)| costs.get(name).copied().unwrap_or(others.min(reserved));
        Ok(reserved.map(cost).collect())
    }
}

impl TryFrom<wire::SettleRequest> for Settle {
    type Error = Fault;

    fn try_from(request: wire::SettleRequest) -> Result<Self, Fault> {
        let costs = request.costs.into_iter().collect::<BTreeMap<_, _>>();
        if costs.len() > super::MAX_CHARGES {
            return Err(Fault::invalid("/costs", format!("must be at most {}", super::MAX_CHARGES)));
        }
        let (partition, request_id) = (super::partition(request.partition)?, required(&request.request_id)?);
        Ok(Self { partition, request_id, costs: Some(costs) })
    }
}

impl TryFrom<wire::RefundRequest> for Settle {
    type Error = Fault;

    fn try_from(request: wire::RefundRequest) -> Result<Self, Fault> {
        let (partition, request_id) = (super::partition(request.partition)?, required(&request.request_id)?);
        Ok(Self { partition, request_id, costs: None })
    }
}

impl From<Wrong> for Fault {
    fn from(wrong: Wrong) -> Self {
        let (name, detail) = match wrong {
            Wrong::Name(name) => (name, "is not the name of a limit of the call"),
            Wrong::Cost(name) => (name, "must be at most what was reserved"),
        };
        // RFC 6901, section 3: these two are written otherwise in a pointer.
        Self::invalid(format!("/costs/{}", name.replace('~', "~0").replace('/', "~1")), detail)
    }
}

fn required(id: &str) -> Result<Arc<str>, Fault> {
    super::request_id(id)?.ok_or_else(|| Fault::invalid("/request_id", "is required"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(costs: &[(&str, u64)]) -> Settle {
        let costs = costs.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect();
        Settle { partition: "p".to_owned(), request_id: Arc::from("id"), costs: Some(costs) }
    }

    #[test]
    fn what_is_not_named_keeps_what_was_reserved() {
        let reserved = [("a", 3), ("b", 4), ("a", 5)];
        let costs = |of: &[(&str, u64)]| settle(of).costs(reserved.into_iter());
        assert_eq!(costs(&[]), Ok(vec![3, 4, 5]));
        assert_eq!(costs(&[("a", 2)]), Ok(vec![2, 4, 2]));
        assert_eq!(costs(&[("a", 4)]), Err(Wrong::Cost("a".to_owned())));
        assert_eq!(costs(&[("c", 0), ("d", 0)]), Err(Wrong::Name("c".to_owned())));
        assert_eq!(costs(&[("*", 4)]), Ok(vec![3, 4, 4]), "at most what was reserved");
        assert_eq!(costs(&[("*", 1), ("a", 2)]), Ok(vec![2, 1, 2]));
        assert_eq!(costs(&[("*", 6)]), Err(Wrong::Cost("*".to_owned())));
        let refund = Settle { costs: None, ..settle(&[]) };
        assert_eq!(refund.costs(reserved.into_iter()), Ok(vec![0; 3]));
    }

    #[test]
    fn a_wrong_name_is_a_pointer() {
        let fault = Fault::from(Wrong::Name("a/b~c".to_owned()));
        assert_eq!(fault.violated()[0].pointer, "/costs/a~1b~0c");
    }
}
