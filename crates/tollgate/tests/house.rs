//! The rules of the house that a compiler does not know: who may use whom, who may name what, how long a file may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

const MAX_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the crate is in its workspace")
}

/// Every Rust file of the crates, by its path from the root.
fn sources() -> BTreeMap<String, String> {
    let root = root();
    let mut found = BTreeMap::new();
    let mut folders = vec![root.join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|it| it == "rs") {
                let path = entry.strip_prefix(&root).expect("under the root").display().to_string();
                found.insert(path, fs::read_to_string(entry).expect("UTF-8"));
            }
        }
    }
    assert!(found.len() > 100, "the sources were not found");
    found
}

/// The files of the product: not tests, not the tools.
fn product() -> impl Iterator<Item = (String, String)> {
    let tool = |path: &str| path.starts_with("crates/testkit/") || path.starts_with("crates/bench/");
    sources().into_iter().filter(move |(path, _)| path.contains("/src/") && !tool(path))
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// Text without comments: a rule is about code.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        (
            "tollgate",
            ["changes", "db", "edge", "identity", "kernel", "keys", "proto", "ratelimit", "verify"]
                .as_slice(),
        ),
        ("edge", &["kernel", "proto", "verify"]),
        ("identity", &["changes", "db", "kernel", "proto", "verify"]),
        ("keys", &["changes", "db", "kernel", "proto", "verify"]),
        ("changes", &["db", "kernel", "proto", "verify"]),
        ("ratelimit", &["kernel", "proto"]),
        ("verify", &["kernel", "proto"]),
        ("db", &["kernel"]),
        ("proto", &["kernel"]),
        ("kernel", &[]),
        ("testkit", &["kernel"]),
        // The load generator: nothing uses it.
        ("bench", &["kernel", "proto", "ratelimit", "testkit", "verify"]),
    ]);
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec();
    let mut seen = BTreeSet::new();
    for package in metadata.expect("cargo knows its workspace").packages {
        let short = |name: &str| name.strip_prefix("tollgate-").unwrap_or(name).to_owned();
        let name = short(&package.name);
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("say whom {name} may use"));
        for dependency in package.dependencies.iter().filter(|it| it.path.is_some()) {
            let used = short(&dependency.name);
            let for_tests = dependency.kind == DependencyKind::Development && used == "testkit";
            assert!(for_tests || may.contains(&used.as_str()), "{name} may not use {used}");
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), allowed.len(), "{seen:?}");
}

#[test]
fn only_stores_name_diesel() {
    for (path, text) in product() {
        let may = path.starts_with("crates/db/") || path.contains("/src/store");
        assert!(may || !code(&text).contains("diesel"), "{path} names diesel");
    }
}

#[test]
fn only_the_redis_counter_names_redis() {
    for (path, text) in product() {
        let code = code(&text);
        let may = path.starts_with("crates/ratelimit/src/counter/redis");
        let names = ["redis::", "use redis", "deadpool_redis"].iter().any(|word| code.contains(word));
        // Its own module is called redis, too.
        let module = path.starts_with("crates/ratelimit/src/counter");
        assert!(may || module || !names, "{path} names redis");
    }
}

#[test]
fn only_the_configuration_reads_the_environment() {
    for (path, text) in product() {
        let code = code(&text);
        let reads = ["env::var", "env::vars", "env::args"].iter().any(|word| code.contains(word));
        assert!(path == "crates/tollgate/src/config.rs" || !reads, "{path} reads the environment");
    }
}

#[test]
fn the_kernel_never_awaits() {
    for (path, text) in product().filter(|(path, _)| path.starts_with("crates/kernel/")) {
        let code = code(&text);
        assert!(!code.contains(".await") && !code.contains("async "), "{path} awaits");
    }
}

#[test]
fn every_file_says_what_lives_in_it_and_is_not_too_long() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{path} does not open with `//!`");
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{path} has {lines} lines");
    }
}

#[test]
fn nothing_is_left_undone() {
    for (path, text) in product().filter(|(path, _)| !is_test(path)) {
        let code = code(&text);
        let product = code.split("#[cfg(test)]").next().unwrap_or_default();
        for word in ["todo!(", "unimplemented!(", "dbg!(", ".unwrap()"] {
            assert!(!product.contains(word), "{path} has {word}");
        }
    }
}
