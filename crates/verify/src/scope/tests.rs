//! Wildcards grant what they should and no more; expressions mean what their truth table says, and can be written back.

use proptest::prelude::*;

use super::*;

#[test]
fn a_wildcard_grants_what_is_below_it() {
    for (held, required, granted) in [
        ("orders.read", "orders.read", true),
        ("orders.read", "orders.write", false),
        ("orders.*", "orders.read", true),
        ("orders.*", "orders.items.read", true),
        ("orders.*", "orders", false),
        ("orders.*", "orders.", false),
        ("orders.*", "ordersx.read", false),
        ("orders.items.*", "orders.read", false),
        ("*", "orders.read", true),
        ("*", "a", true),
        ("*", "", false),
        ("orders.read", "orders.*", false),
        ("orders.*", "orders.*", false),
        ("*", "*", false),
        // What is no wildcard is a text like any other.
        ("orders*", "orders.read", false),
        ("", "", true),
    ] {
        assert_eq!(grants(held, required), granted, "{held} {required}");
    }
}

#[test]
fn a_wildcard_includes_a_narrower_one() {
    for (held, other, included) in [
        ("*", "*", true),
        ("*", "orders.*", true),
        ("orders.*", "orders.*", true),
        ("orders.*", "orders.items.*", true),
        ("orders.*", "*", false),
        ("orders.items.*", "orders.*", false),
        ("orders.read", "orders.*", false),
    ] {
        assert_eq!(includes(held, other), included, "{held} {other}");
    }
}

#[test]
fn a_wildcard_is_a_whole_last_segment() {
    let long = "a".repeat(99);
    for good in ["*", "a", "orders.read", "orders.*", "a.b.c.*", "x_y:z-1.*", &format!("{long}a")] {
        assert!(is_grantable(good), "{good}");
    }
    for wrong in [
        "",
        ".*",
        "orders*",
        "*.read",
        "orders.*.read",
        "**",
        "orders.**",
        "a b",
        "A",
        "é",
        &format!("{long}.*"),
    ] {
        assert!(!is_grantable(wrong), "{wrong}");
    }
    assert!(is_scope("orders.read") && !is_scope("orders.*") && !is_scope(""));
}

fn error_of(text: &str) -> (usize, &'static str) {
    let error = text.parse::<ScopeExpression>().expect_err(text);
    (error.position, error.reason)
}

#[test]
fn a_mistake_is_named_with_its_place() {
    for (text, position) in [
        ("", 1),
        ("  ", 3),
        ("and", 1),
        ("a b", 3),
        ("a and", 6),
        ("a or or b", 6),
        ("(a or b", 8),
        ("(a b)", 4),
        ("a)", 2),
        ("()", 2),
        ("a.* and b", 3),
        ("*", 1),
        ("a AND b", 3),
        ("a and é", 7),
        ("a & b", 3),
    ] {
        assert_eq!(error_of(text).0, position, "{text}: {}", error_of(text).1);
    }
    let shown = "a and".parse::<ScopeExpression>().expect_err("refused").to_string();
    assert_eq!(shown, "at character 6: must be a scope or `(`");
}

#[test]
fn bounds() {
    let terms = |count: usize| vec!["a"; count].join(" and ");
    assert!(terms(32).parse::<ScopeExpression>().is_ok());
    assert_eq!(error_of(&terms(33)), (terms(32).len() + 6, "an expression has at most 32 scopes"));
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(nested(8).parse::<ScopeExpression>().is_ok());
    assert_eq!(error_of(&nested(9)).0, 9);
    assert_eq!(error_of(&"(".repeat(4096)).0, 9);
    assert_eq!(error_of(&" ".repeat(4097)).0, 4097);
    assert!("a".repeat(100).parse::<ScopeExpression>().is_ok());
    assert_eq!(error_of(&"a".repeat(101)).0, 1);
}

#[test]
fn and_binds_tighter_than_or() {
    let met = |text: &str, held: &[&str]| text.parse::<ScopeExpression>().expect("parses").is_met_by(held);
    assert!(met("a or b and c", &["a"]));
    assert!(!met("(a or b) and c", &["a"]));
    assert!(met("a.read and (b or c)", &["a.*", "c"]));
    assert!(met("a and b", &["*"]));
    assert!(!met("a", &[]));
}

#[test]
fn it_is_written_back_with_the_parentheses_that_it_needs() {
    for (text, written) in [
        ("a", "a"),
        ("((a))", "a"),
        ("a and(b or c)", "a and (b or c)"),
        ("(a and b) or c", "a and b or c"),
        ("a and (b and (c and d))", "a and b and c and d"),
        ("\ta or\n(b or c)", "a or b or c"),
        ("android or order", "android or order"),
    ] {
        assert_eq!(text.parse::<ScopeExpression>().expect("parses").to_string(), written);
    }
}

/// A tree as anyone could write it, and how it is written with a parenthesis around everything.
#[derive(Debug, Clone)]
enum Written {
    Scope(usize),
    And(Box<Written>, Box<Written>),
    Or(Box<Written>, Box<Written>),
}

const NAMES: [&str; 4] = ["a", "b.c", "or.x", "d:e-f_9"];

impl Written {
    fn text(&self) -> String {
        match self {
            Self::Scope(name) => NAMES[*name].to_owned(),
            Self::And(left, right) => format!("({} and {})", left.text(), right.text()),
            Self::Or(left, right) => format!("({} or {})", left.text(), right.text()),
        }
    }

    fn holds(&self, assignment: usize) -> bool {
        match self {
            Self::Scope(name) => assignment >> name & 1 == 1,
            Self::And(left, right) => left.holds(assignment) && right.holds(assignment),
            Self::Or(left, right) => left.holds(assignment) || right.holds(assignment),
        }
    }
}

fn trees() -> impl Strategy<Value = Written> {
    let leaf = (0..NAMES.len()).prop_map(Written::Scope);
    // Four levels have at most 16 scopes.
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner).prop_map(|(left, right)| (Box::new(left), Box::new(right)));
        (pair, any::<bool>()).prop_map(
            |((left, right), and)| if and { Written::And(left, right) } else { Written::Or(left, right) },
        )
    })
}

proptest! {
    #[test]
    fn an_expression_means_its_truth_table(tree in trees()) {
        let expression: ScopeExpression = tree.text().parse().expect("within the bounds");
        for assignment in 0..1 << NAMES.len() {
            let held: Vec<_> =
                NAMES.iter().enumerate().filter(|(place, _)| assignment >> place & 1 == 1).map(|it| it.1).collect();
            prop_assert_eq!(expression.is_met_by(&held), tree.holds(assignment), "{} {:?}", expression, held);
        }
        prop_assert_eq!(expression.to_string().parse(), Ok(expression));
    }

    #[test]
    fn any_text_is_refused_or_survives(text in "[a-c .*()ndor]{0,40}|\\PC{0,20}") {
        match text.parse::<ScopeExpression>() {
            Ok(expression) => prop_assert_eq!(expression.to_string().parse(), Ok(expression)),
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.position)),
        }
    }

    #[test]
    fn what_includes_a_wildcard_grants_what_that_grants(
        held in "([ab]{1,2}[.]){0,2}([*]|[ab]{1,2})",
        other in "([ab]{1,2}[.]){0,2}([*]|[ab]{1,2})",
        required in "([ab]{1,2}[.]){0,3}[ab]{1,2}",
    ) {
        if includes(&held, &other) && grants(&other, &required) {
            prop_assert!(grants(&held, &required));
        }
    }
}
