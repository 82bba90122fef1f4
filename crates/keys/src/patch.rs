//! What a change wants of a field: that it stays, loses its value, or gets one. Pure.
//!
//! In a message a value is in the field, which is `optional` (a list is wrapped in a message, so that absent and empty are two
//! things), and the names of the fields that lose theirs are in `clear`.

use crate::input::Problems;

/// What a change wants of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Patch<T> {
    Keep,
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    /// Parses the value, if there is one.
    pub(crate) fn map<U>(self, parse: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(parse(value)),
        }
    }

    /// The same, of a value that the parser may refuse; then the field stays.
    pub(crate) fn and_then<U>(self, parse: impl FnOnce(T) -> Option<U>) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => parse(value).map_or(Patch::Keep, Patch::Set),
        }
    }

    /// For a changeset, a column that may be null: absent, it stays.
    #[expect(
        clippy::option_option,
        reason = "as the changes of a row have it: stays, becomes null, becomes this"
    )]
    pub(crate) fn nullable(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }

    /// For a changeset, a column whose default is "nothing": absent, it stays.
    pub(crate) fn or_default(self) -> Option<T>
    where
        T: Default,
    {
        self.nullable().map(Option::unwrap_or_default)
    }

    /// What a column that may be null becomes, if it is now `present`.
    pub(crate) fn over(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Keep => present,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// What a column becomes that has a value for "nothing".
    pub(crate) fn over_or(self, present: T, nothing: T) -> T {
        match self {
            Self::Keep => present,
            Self::Clear => nothing,
            Self::Set(value) => value,
        }
    }
}

/// The fields that lose their values.
#[derive(Debug)]
pub(crate) struct Cleared<'a>(&'a [String]);

impl<'a> Cleared<'a> {
    /// Complains of a field that cannot be without a value: of every name that is not among `clearable`.
    pub(crate) fn parse(names: &'a [String], clearable: &[&str], problems: &mut Problems) -> Self {
        let names = problems.at_most(names, clearable.len(), "/clear");
        for name in names.iter().filter(|name| !clearable.contains(&name.as_str())) {
            problems.add(format!("/{name}"), "must not be null");
        }
        Self(names)
    }

    /// What is wanted of the field with this name.
    pub(crate) fn field<T>(&self, name: &str, value: Option<T>, problems: &mut Problems) -> Patch<T> {
        match (value, self.0.iter().any(|it| it == name)) {
            (None, false) => Patch::Keep,
            (None, true) => Patch::Clear,
            (Some(value), false) => Patch::Set(value),
            (Some(_), true) => {
                problems.add(format!("/{name}"), "must not be both given and cleared");
                Patch::Keep
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_states() {
        let mut problems = Problems::default();
        let names = ["b".to_owned()];
        let cleared = Cleared::parse(&names, &["a", "b"], &mut problems);
        assert_eq!(cleared.field("a", None::<u8>, &mut problems), Patch::Keep);
        assert_eq!(cleared.field("a", Some(1), &mut problems), Patch::Set(1));
        assert_eq!(cleared.field("b", None::<u8>, &mut problems), Patch::Clear);
        problems.check().expect("nothing is wrong");
    }

    #[test]
    fn what_cannot_be_null_is_named() {
        let mut problems = Problems::default();
        let names = ["name".to_owned(), "b".to_owned()];
        let cleared = Cleared::parse(&names, &["a", "b"], &mut problems);
        assert_eq!(cleared.field("b", Some(1), &mut problems), Patch::Keep);
        let fault = problems.check().expect_err("refused");
        let said: Vec<_> = fault.violated().iter().map(|it| (&*it.pointer, &*it.detail)).collect();
        assert_eq!(said, [("/name", "must not be null"), ("/b", "must not be both given and cleared")]);
        let mut problems = Problems::default();
        Cleared::parse(&["a".to_owned(), "a".to_owned()], &["a"], &mut problems);
        assert_eq!(problems.check().expect_err("refused").violated()[0].pointer, "/clear");
    }

    #[test]
    fn what_a_changeset_says() {
        assert_eq!(Patch::<u8>::Keep.nullable(), None);
        assert_eq!(Patch::<u8>::Clear.nullable(), Some(None));
        assert_eq!(Patch::Set(7).nullable(), Some(Some(7)));
        assert_eq!((Patch::<u8>::Keep.or_default(), Patch::<u8>::Clear.or_default()), (None, Some(0)));
    }

    #[test]
    fn what_a_column_becomes() {
        assert_eq!(Patch::Keep.over(Some(1)), Some(1));
        assert_eq!(Patch::Clear.over(Some(1)), None);
        assert_eq!(Patch::Set(2).over(Some(1)), Some(2));
        assert_eq!(Patch::Keep.over_or(1, 0), 1);
        assert_eq!(Patch::Clear.over_or(1, 0), 0);
        assert_eq!(Patch::Set(2).over_or(1, 0), 2);
        assert_eq!(Patch::Set(2).map(|it| it + 1), Patch::Set(3));
        assert_eq!(Patch::Set(2).and_then(|_| None::<u8>), Patch::Keep);
    }
}
