//! Whether what was read goes on where the reader left it: pure.

use super::{Change, Head, Read};
use crate::Place;

/// What the rows from `known` on, itself among them, say to who knows the log up to there.
pub(super) fn continued(known: Place, mut rows: Vec<Change>, head: &Head) -> Read {
    if rows.first().is_some_and(|row| row.place.sequence == known.sequence) {
        if rows.remove(0).place != known {
            return Read::Lost(head.last());
        }
    } else if head.pruned() != known {
        return Read::Lost(head.last());
    }
    let whole = (known.sequence + 1..).zip(&rows).all(|(expected, row)| row.place.sequence == expected);
    if whole { Read::Continued(rows) } else { Read::Lost(head.last()) }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{change, place},
        *,
    };

    /// The log of a history: the same sequence has another tag in another one.
    fn rows(history: i64, sequences: impl IntoIterator<Item = i64>) -> Vec<Change> {
        sequences.into_iter().map(|at| change((at, 100 * history + at, "born".into()))).collect()
    }

    const HEAD: Head = Head { last: 9, tag: 109, pruned: 4, pruned_tag: 104 };

    #[test]
    fn a_place_that_the_log_has_is_followed() {
        assert_eq!(continued(place(6, 106), rows(1, 6..=9), &HEAD), Read::Continued(rows(1, 7..=9)));
        assert_eq!(continued(place(9, 109), rows(1, 9..=9), &HEAD), Read::Continued(vec![]));
        assert_eq!(
            continued(place(4, 104), rows(1, 5..=9), &HEAD),
            Read::Continued(rows(1, 5..=9)),
            "the mark"
        );
        let empty = Head { last: 0, tag: 0, pruned: 0, pruned_tag: 0 };
        assert_eq!(continued(Place::default(), vec![], &empty), Read::Continued(vec![]), "the beginning");
    }

    #[test]
    fn a_place_that_the_log_does_not_have_is_lost() {
        let lost = Read::Lost(place(9, 109));
        assert_eq!(continued(place(6, 206), rows(1, 6..=9), &HEAD), lost, "another history");
        assert_eq!(
            continued(place(9, 209), rows(1, 9..=9), &HEAD),
            lost,
            "another history, nothing after it"
        );
        assert_eq!(continued(place(10, 210), vec![], &HEAD), lost, "it ends before");
        assert_eq!(continued(place(4, 204), rows(1, 5..=9), &HEAD), lost, "another history, pruned");
        assert_eq!(continued(place(3, 103), rows(1, 5..=9), &HEAD), lost, "pruned");
        assert_eq!(continued(Place::default(), rows(1, 5..=9), &HEAD), lost, "the beginning, pruned");
        assert_eq!(continued(place(6, 106), rows(1, [6, 8, 9]), &HEAD), lost, "a gap");
    }
}
