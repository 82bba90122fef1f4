//! Where in the log one is, and in which log: a sequence counts, a tag tells histories apart.

use tollgate_kernel::{Entropy, Timestamp};
use tollgate_verify::Subject;

/// A place in a role's log of changes. Commit order is its order, without gaps.
pub type Sequence = u64;

/// A random number that is drawn for every change.
///
/// A standby that takes its primary's place may lack the last changes that were visible there, and gives their sequences to others.
/// Those have other tags. Two databases of which each has a change with the same sequence and tag have the same changes up to
/// there: it was committed once, and whatever has a commit has all that came before. 64 bits: nobody chooses them, and only tags
/// of the same sequence are ever compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

/// A change that was read, or the beginning of the log: everything up to it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// How many changes that is.
    pub sequence: Sequence,
    /// The tag of the last of them; 0 where there is none.
    pub tag: Tag,
}

/// What a mutation appends to the log, drawn up before its transaction.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub(crate) subject: Subject,
    pub(crate) tag: Tag,
    pub(crate) at: Timestamp,
}

impl Entry {
    /// A change of `subject`, made now.
    pub fn new(subject: Subject, at: Timestamp, entropy: &dyn Entropy) -> Self {
        Self { subject, tag: Tag(u64::from_le_bytes(entropy.bytes())), at }
    }
}
