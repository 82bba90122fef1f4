//! Tests of reading and checking the configuration.

use std::fs;

use tollgate_kernel::ExposeSecret as _;

use super::*;
use crate::roles::Role;

fn from(environment: &[(&str, &str)], roles: Option<&[Role]>) -> Result<Loaded, Mistakes> {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("tollgate.toml");
    fs::write(&nothing, "").unwrap();
    let common = Common { config: Some(nothing), ..Common::default() };
    load_from(&common, None, roles.map(RoleSet::of).as_ref(), environment)
}

fn mistakes(environment: &[(&str, &str)], roles: &[Role]) -> String {
    from(environment, Some(roles)).expect_err("refused").to_string()
}

#[test]
fn the_built_in_file_is_the_defaults() {
    let config = from(&[], Some(&[])).expect("the defaults are right").config;
    assert_eq!(config.edge, tollgate_edge::Config::default());
    assert_eq!(config.identity, tollgate_identity::Config::default());
    assert_eq!(config.keys, tollgate_keys::Config::default());
    assert_eq!(config.ratelimit, tollgate_ratelimit::Config::default());
}

#[test]
fn every_key_is_explained() {
    let annotations = annotation::annotations();
    assert_eq!(annotations.len(), Settings::defaults().iter().count(), "every key is on a line of its own");
    for (key, about) in annotations {
        assert!(about.len() > 10, "{key} has no comment");
    }
}

#[test]
fn later_layers_win() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.toml");
    fs::write(&file, "[http]\nlisten = \"127.0.0.1:1\"\n[gate]\nlisten = \"127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:1\"")
        .unwrap();
    let common = Common { config: Some(file), ..Common::default() };
    let serve = Serve { http: Some("127.0.0.1:3".parse().unwrap()), ..Serve::default() };
    let environment =
        ["HTTP", "GATE"].map(|it| (format!("TOLLGATE__{it}__LISTEN"), "127.0.0.1:2".to_owned()));
    let loaded = load_from(&common, Some(&serve), None, environment.into()).expect("right");
    let config = loaded.config;
    assert_eq!([config.http.listen, config.gate.listen, config.admin.listen].map(|it| it.port()), [3, 2, 1]);
    assert_eq!(loaded.settings.origin("http.listen"), Some(&Origin::Flag("--http")));
}

#[test]
fn our_variable_wins_over_the_conventional_one() {
    let given = [("DATABASE_URL", "mysql://x"), ("TOLLGATE__DATABASE__URL", "postgres://y")];
    let loaded = from(&given, None).expect("right");
    assert_eq!(loaded.settings.text("database.url"), "postgres://y");
}

#[test]
fn all_mistakes_are_reported_together() {
    let said = mistakes(
        &[
            ("TOLLGATE__HTTP__LISTEN", "nowhere"),
            ("TOLLGATE__HTTP__MAX_HEADERS", "many"),
            ("TOLLGATE__HTTP__LISTN", "127.0.0.1:1"),
            ("TOLLGATE__NOWHERE__LISTEN", "127.0.0.1:1"),
            ("TOLLGATE__IDENTITY__PASSWORD__PASSES", "0"),
            ("TOLLGATE__EDGE__USER_LIMIT__LIMIT", "0"),
            ("TOLLGATE__LOG__FORMAT", "xml"),
            ("TOLLGATE__TOKENS__ISSUER", "example"),
            ("TOLLGATE__MESH__TOKEN_FILE", "/nonexistent/token"),
        ],
        &[],
    );
    assert!(said.contains("9 mistakes"), "{said}");
    for (what, place, mend) in [
        ("http.listen", "TOLLGATE__HTTP__LISTEN", "IP:PORT"),
        ("http.max_headers", "TOLLGATE__HTTP__MAX_HEADERS", "Header fields of a request"),
        ("http.listn", "TOLLGATE__HTTP__LISTN", "the settings there are"),
        ("nowhere.listen", "TOLLGATE__NOWHERE__LISTEN", "the sections are"),
        ("identity.password.passes", "TOLLGATE__IDENTITY__PASSWORD__PASSES", "Passes"),
        ("edge.user_limit.limit", "TOLLGATE__EDGE__USER_LIMIT__LIMIT", "1000000000"),
        ("log.format", "TOLLGATE__LOG__FORMAT", "json"),
        ("tokens.issuer", "TOLLGATE__TOKENS__ISSUER", "https://"),
        ("mesh.token_file", "TOLLGATE__MESH__TOKEN_FILE", "make the file"),
    ] {
        let part = said.split("\n\n").find(|part| part.trim_start().starts_with(what));
        let part = part.unwrap_or_else(|| panic!("{what} is not in:\n{said}"));
        assert!(part.contains(place) && part.contains(mend), "{part}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.toml");
    fs::write(&file, "[http\nlisten = 1").unwrap();
    let common = Common { config: Some(file), ..Common::default() };
    let said = load_from(&common, None, None, Vec::new()).expect_err("refused").to_string();
    assert!(said.contains("broken.toml") && said.contains("is not TOML"), "{said}");
}

#[test]
fn secrets_come_from_files_and_are_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "open-sesame-open-sesame\n").unwrap();
    let given =
        [("TOLLGATE__MESH__TOKEN_FILE", file.to_str().unwrap()), ("DATABASE_URL", "postgres://u:pwd@h/d")];
    let loaded = from(&given, None).expect("right");
    assert_eq!(loaded.config.mesh.token.as_ref().unwrap().expose_secret(), "open-sesame-open-sesame");
    let shown = format!("{}{:?}", printed(&loaded.settings), loaded.config);
    assert!(!shown.contains("sesame") && !shown.contains("pwd"), "{shown}");
    assert!(shown.contains("url = \"(hidden)\"   # from: environment variable DATABASE_URL"), "{shown}");
}

#[test]
fn a_secret_given_twice_is_refused() {
    let said =
        mistakes(&[("TOLLGATE__MESH__TOKEN", "0123456789abcdef"), ("TOLLGATE__MESH__TOKEN_FILE", "/x")], &[]);
    assert!(said.contains("is set, and so is mesh.token"), "{said}");
    assert!(!said.contains("0123456789abcdef"));
}

#[test]
fn a_split_deployment_needs_shared_stores() {
    let keys = mistakes(&[], &[Role::Keys]);
    assert!(keys.contains("database.url") && keys.contains("DATABASE_URL=postgres://"), "{keys}");
    let ratelimit = mistakes(&[], &[Role::Ratelimit]);
    assert!(ratelimit.contains("redis.url") && ratelimit.contains("REDIS_URL=redis://"), "{ratelimit}");
    assert!(from(&[], Some(&[Role::Edge])).is_ok(), "the edge keeps nothing");
    assert!(from(&[], Some(&[])).is_ok(), "one process needs nothing");
}

#[test]
fn files_for_tls_to_redis_need_an_address_that_asks_for_it() {
    const CA: (&str, &str) = ("TOLLGATE__REDIS__CA_FILE", "/ca.pem");
    const CERTIFICATE: (&str, &str) = ("TOLLGATE__REDIS__CLIENT_CERT_FILE", "/own.pem");
    const KEY: (&str, &str) = ("TOLLGATE__REDIS__CLIENT_KEY_FILE", "/own.key");
    for scheme in ["rediss", "rediss+cluster", "rediss+sentinel"] {
        let url = format!("{scheme}://h/name");
        let loaded = from(&[("REDIS_URL", url.as_str()), CA, CERTIFICATE, KEY], Some(&[])).expect("right");
        assert_eq!(loaded.config.redis.tls.ca_file, std::path::Path::new("/ca.pem"));
    }
    let plain = mistakes(&[("REDIS_URL", "redis://h"), CA], &[]);
    assert!(plain.contains("redis.ca_file") && plain.contains("rediss"), "{plain}");
    for half in [CERTIFICATE, KEY] {
        let said = mistakes(&[("REDIS_URL", "rediss://h"), half], &[]);
        assert!(said.contains("name both files"), "{said}");
    }
    assert!(mistakes(&[("REDIS_URL", "redisss://h")], &[]).contains("redis.url"));
}

#[test]
fn a_role_beyond_loopback_needs_a_mesh_token() {
    let open = [("REDIS_URL", "redis://r"), ("TOLLGATE__RATELIMIT__LISTEN", "0.0.0.0:9103")];
    let said = mistakes(&open, &[Role::Ratelimit]);
    assert!(said.contains("ratelimit.listen") && said.contains("MESH__TOKEN"), "{said}");
    let with_token = [open[0], open[1], ("TOLLGATE__MESH__TOKEN", "0123456789abcdef")];
    assert!(from(&with_token, Some(&[Role::Ratelimit])).is_ok());
    assert!(from(&open[1..], Some(&[])).is_ok(), "all in one opens no such port");
}

#[test]
fn only_identity_on_postgres_needs_the_master_key() {
    let given = [("DATABASE_URL", "postgres://d")];
    assert!(mistakes(&given, &[Role::Identity]).contains("master_key"));
    assert!(mistakes(&given, &[]).contains("master_key"));
    assert!(from(&given, Some(&[Role::Keys])).is_ok());
    let wrong = mistakes(&[("TOLLGATE__MASTER_KEY", "too-short-to-be-a-key")], &[]);
    assert!(wrong.contains("32 bytes") && !wrong.contains("too-short"), "{wrong}");
}

#[test]
fn a_secret_s_value_is_in_no_mistake() {
    for name in ["DATABASE_URL", "REDIS_URL", "TOLLGATE__MESH__TOKEN", "TOLLGATE__MASTER_KEY"] {
        assert!(!mistakes(&[(name, "hunter2")], &[]).contains("hunter2"), "{name}");
    }
}

#[test]
fn a_file_with_a_wrong_secret_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret.toml");
    let common = Common { config: Some(file.clone()), ..Common::default() };
    for (text, expected) in [
        ("[mesh]\ntoken = 31337313373133731337313373133731337\n", "line 2"),
        ("[mesh]\ntoken = 'hunter2-31337\n", "line 2"),
        ("[mesh]\ntoken = 31337\n", "mesh.token"),
        ("master_key_file = 31337\n", "master_key_file"),
    ] {
        fs::write(&file, text).unwrap();
        let said = load_from(&common, None, None, Vec::new()).expect_err("refused").to_string();
        assert!(said.contains(expected) && !said.contains("31337"), "{said}");
    }
}

#[test]
fn a_public_server_with_the_default_issuer_is_warned() {
    let open = [("TOLLGATE__HTTP__LISTEN", "0.0.0.0:8080")];
    assert!(from(&open, Some(&[])).unwrap().warnings[0].contains("TOLLGATE__TOKENS__ISSUER"));
    assert!(from(&[], Some(&[])).unwrap().warnings.is_empty());
}

#[test]
fn lists_are_read_from_variables() {
    for text in ["10.0.0.0/8, 192.168.0.0/16", r#"["10.0.0.0/8", "192.168.0.0/16"]"#] {
        let config = from(&[("TOLLGATE__EDGE__TRUSTED_PROXIES", text)], None).expect("right").config;
        assert_eq!(config.edge.trusted_proxies.len(), 2, "{text}");
    }
}

#[test]
fn what_is_wrong_with_envoy_s_limits_is_said_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ratelimit.toml");
    let given = [("TOLLGATE__RATELIMIT__ENVOY_CONFIG", file.to_str().unwrap())];
    assert!(mistakes(&given, &[]).contains("cannot be read"));
    fs::write(&file, "[[domain]]\nname = 'api'\n[[domain.rule]]\nname = 'a'\nmatch = []\nlimit = 1").unwrap();
    let said = mistakes(&given, &[]);
    assert!(said.contains("ratelimit.envoy_config") && said.contains("domain 1 (`api`), rule 1"), "{said}");
    assert!(from(&given, Some(&[Role::Edge])).is_ok(), "who does not count does not read it");

    fs::write(&file, "").unwrap();
    let open = [given[0], ("TOLLGATE__RATELIMIT__LISTEN", "0.0.0.0:9103")];
    assert!(mistakes(&open, &[]).contains("MESH__TOKEN"), "all in one opens this port for Envoy");
}
