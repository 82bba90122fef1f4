//! Pages of lists: how many rows, after which one, and the cursor that leads to the next page. Pure.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tollgate_db::DbId;
use tollgate_proto::keys as wire;
use uuid::Uuid;

use crate::input::Problems;

const DEFAULT_LIMIT: u32 = 25;
const MAX_LIMIT: u32 = 100;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    limit: u32,
    /// The last row of the page before.
    pub(crate) after: Option<DbId>,
}

impl Page {
    pub(crate) fn parse(page: Option<&wire::Page>, problems: &mut Problems) -> Self {
        let (limit, cursor) = page.map_or((0, ""), |page| (page.limit, &page.cursor));
        Self::of(limit, cursor, DEFAULT_LIMIT, MAX_LIMIT, problems)
    }

    /// A page of at most `most` rows; `default` if it is not said.
    pub(crate) fn of(limit: u32, cursor: &str, default: u32, most: u32, problems: &mut Problems) -> Self {
        check_limit(limit, most, problems);
        let after = decode(cursor);
        if after.is_none() && !cursor.is_empty() {
            problems.add("/cursor", "is not a cursor that an earlier page gave");
        }
        Self { limit: if limit == 0 { default } else { limit }, after }
    }

    /// How many rows of a list whose cursors are of its own kind.
    pub(crate) fn limit(limit: u32, problems: &mut Problems) -> usize {
        check_limit(limit, MAX_LIMIT, problems);
        (if limit == 0 { DEFAULT_LIMIT } else { limit }) as usize
    }

    /// How many rows to read: one more than the page holds tells whether there is another page.
    pub(crate) fn rows(self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Cuts what was read to the page, and names the next one if there is one.
    pub(crate) fn cut<T>(self, mut rows: Vec<T>, id: impl Fn(&T) -> DbId) -> (Vec<T>, Option<String>) {
        let limit = self.limit as usize;
        let next = (rows.len() > limit).then(|| encode(id(&rows[limit - 1])));
        rows.truncate(limit);
        (rows, next)
    }
}

fn check_limit(limit: u32, most: u32, problems: &mut Problems) {
    if limit > most {
        problems.add("/limit", format!("must be 1 to {most}"));
    }
}

fn encode(id: DbId) -> String {
    URL_SAFE_NO_PAD.encode(id.0.as_bytes())
}

fn decode(cursor: &str) -> Option<DbId> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Uuid::from_slice(&bytes).map(DbId).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(limit: u32, cursor: &str) -> Option<Page> {
        let mut problems = Problems::default();
        let page = Page::parse(Some(&wire::Page { limit, cursor: cursor.into() }), &mut problems);
        problems.check().is_ok().then_some(page)
    }

    fn id(n: u128) -> DbId {
        DbId(Uuid::from_u128(n))
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(Page::parse(None, &mut Problems::default()).rows(), 26);
        assert_eq!(parse(0, "").map(Page::rows), Some(26));
        assert_eq!(parse(1, "").map(Page::rows), Some(2));
        assert_eq!(parse(100, "").map(Page::rows), Some(101));
        assert_eq!(parse(101, ""), None);
    }

    #[test]
    fn garbage_is_no_cursor() {
        let good = encode(id(7));
        assert_eq!(parse(1, &good).expect("a page").after, Some(id(7)));
        for wrong in ["x", "!!!", "AAAA", "' OR 1=1", &good[1..], &format!("{good}="), &"A".repeat(100_000)] {
            assert_eq!(parse(1, wrong), None, "{wrong:.30}");
        }
    }

    #[test]
    fn one_row_more_than_the_page_leads_on() {
        let page = parse(2, "").expect("a page");
        assert_eq!(page.cut(vec![id(9), id(8), id(7)], |id| *id), (vec![id(9), id(8)], Some(encode(id(8)))));
        assert_eq!(page.cut(vec![id(9), id(8)], |id| *id), (vec![id(9), id(8)], None));
        assert_eq!(page.cut(vec![], |id: &DbId| *id), (vec![], None));
    }

    proptest! {
        #[test]
        fn one_spelling_per_cursor(text in "[A-Za-z0-9_-]{22}") {
            if let Some(id) = decode(&text) {
                prop_assert_eq!(encode(id), text);
            }
        }
    }
}
