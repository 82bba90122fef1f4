//! How things are named in Redis.
//!
//! All state of one call is in one slot of a cluster, by the hash tag `{<partition>}`. The active partitions are one set on
//! one server. In a cluster they are several, each in the corner of the slots where its partitions are, so that a node that is
//! down does not hold up the calls of the others.

use super::map::{SLOTS, slot};

/// How many corners a cluster has.
const CORNERS: u16 = 16;

/// How things are named.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    corners: Vec<Corner>,
}

/// Where partitions are noted that may have a tally.
#[derive(Debug, Clone)]
pub(super) struct Corner {
    /// Says in which slot the set is.
    pub(super) tag: String,
    /// The set.
    pub(super) key: String,
}

impl Keys {
    /// Names that begin with `prefix`.
    pub(super) fn new(prefix: String, is_cluster: bool) -> Self {
        let corners = if is_cluster {
            (0..CORNERS).map(|number| Corner::of_slots(&prefix, number)).collect()
        } else {
            vec![Corner { tag: String::new(), key: format!("{prefix}active") }]
        };
        Self { prefix, corners }
    }

    /// The state of a limit.
    pub(super) fn state(&self, partition: &str, name: &str, subject: &str) -> String {
        format!("{}{name}:{subject}", self.states(partition))
    }

    /// What the names of all states of a partition begin with.
    pub(super) fn states(&self, partition: &str) -> String {
        format!("{}{{{partition}}}:l:", self.prefix)
    }

    /// The limit's name and the subject of a state: a name has no colon.
    pub(super) fn parse_state<'a>(&self, partition: &str, state: &'a str) -> Option<(&'a str, &'a str)> {
        state.strip_prefix(&self.states(partition))?.split_once(':')
    }

    /// The overrides of a partition, by the name of the state that they are for.
    pub(super) fn overrides(&self, partition: &str) -> String {
        format!("{}{{{partition}}}:o", self.prefix)
    }

    /// What is remembered of a request.
    pub(super) fn request(&self, partition: &str, id: &str) -> String {
        format!("{}{{{partition}}}:r:{id}", self.prefix)
    }

    /// Until when something of a partition is charged ahead.
    pub(super) fn ahead(&self, partition: &str) -> String {
        format!("{}{{{partition}}}:a", self.prefix)
    }

    /// What is kept of a block of calls that were charged ahead.
    pub(super) fn block(&self, partition: &str, id: &str) -> String {
        format!("{}{{{partition}}}:b:{id}", self.prefix)
    }

    /// The tally of a partition.
    pub(super) fn tally(&self, partition: &str) -> String {
        format!("{}{{{partition}}}:t", self.prefix)
    }

    /// The batch of a partition that is not acknowledged.
    pub(super) fn pending(&self, partition: &str) -> String {
        format!("{}{{{partition}}}:p", self.prefix)
    }

    /// All corners.
    pub(super) fn corners(&self) -> &[Corner] {
        &self.corners
    }

    /// The corner of a partition.
    pub(super) fn corner(&self, partition: &str) -> &Corner {
        match &self.corners[..] {
            [only] => only,
            all => &all[usize::from(slot(partition) / (SLOTS / CORNERS))],
        }
    }
}

impl Corner {
    /// The first number whose slot is one of these.
    fn of_slots(prefix: &str, corner: u16) -> Self {
        let mut tags = (0_u32..).map(|number| number.to_string());
        let tag = tags.find(|tag| slot(tag) / (SLOTS / CORNERS) == corner).expect("a digest hits every slot");
        Self { key: format!("{prefix}{{{tag}}}active"), tag }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_noted_near_its_own_slot() {
        let keys = Keys::new("p:".to_owned(), true);
        assert_eq!(keys.corners().len(), 16);
        for partition in ["a", "ws_1", "018f", "another"] {
            let near = slot(&keys.corner(partition).tag).abs_diff(slot(partition));
            assert!(near < SLOTS / CORNERS, "{partition}: {near}");
        }
        assert_eq!(Keys::new("p:".to_owned(), false).corner("a").key, "p:active");
    }
}
