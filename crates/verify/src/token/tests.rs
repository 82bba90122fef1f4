//! Every attack on a token that the standards name, each with a token that is good but for this.

use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::json;
use tollgate_kernel::Code;
use uuid::Uuid;

use super::{forge::*, *};

fn verify(token: &str) -> Result<AccessClaims, TokenRefusal> {
    access_token(token, &KEYS, &rules(), at(NOW))
}

fn all_malformed(tokens: impl IntoIterator<Item = (impl std::fmt::Debug, String)>) {
    for (what, token) in tokens {
        assert_eq!(verify(&token), Err(TokenRefusal::Malformed), "{what:?}");
    }
}

#[test]
fn a_good_token_says_who_it_is() {
    let expected = AccessClaims {
        user_id: UserId::from_uuid(Uuid::from_u128(1)),
        session_id: SessionId::from_uuid(Uuid::from_u128(2)),
        jti: "one".into(),
        issued_at: at(NOW - 60),
        expires_at: at(NOW + 840),
    };
    assert_eq!(verify(&good()), Ok(expected));
}

#[test]
fn each_key_verifies_its_own_algorithm() {
    for (signer, alg, kid) in [(&*ES, "ES256", "es"), (&ED, "EdDSA", "ed"), (&RS, "RS256", "rs")] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid});
        assert!(verify(&signer.sign(&header.to_string(), &claims().to_string())).is_ok(), "{alg}");
    }
}

/// RFC 8725 §3.1: of all combinations of key, algorithm and key id, only the three above pass.
#[test]
fn no_key_verifies_another_algorithm() {
    let own = [("ES256", "es"), ("EdDSA", "ed"), ("RS256", "rs")];
    for (signer, fitting) in [&*ES, &ED, &RS].into_iter().zip(own) {
        for (alg, kid) in own.into_iter().flat_map(|(alg, _)| own.map(|(_, kid)| (alg, kid))) {
            let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid});
            let token = signer.sign(&header.to_string(), &claims().to_string());
            assert_eq!(verify(&token).is_ok(), (alg, kid) == fitting, "the key of {fitting:?}: {alg}, {kid}");
        }
    }
}

#[test]
fn weak_and_foreign_algorithms_are_refused() {
    let unsigned = |alg: &str| {
        let header = with(header(), &[("alg", Some(json!(alg)))]).to_string();
        format!("{}.{}.", base64(header.as_bytes()), base64(claims().to_string().as_bytes()))
    };
    all_malformed(["none", "None", "NONE", "nOnE", "", "ES256"].map(|alg| (alg, unsigned(alg))));

    let public = EncodingKey::from_secret(&ES.public);
    let jwk = EncodingKey::from_secret(ES.jwk.to_string().as_bytes());
    let hs256 = with(header(), &[("alg", Some(json!("HS256")))]).to_string();
    let claims = claims().to_string();
    all_malformed([
        ("public key as secret", signed(&public, Algorithm::HS256, &hs256, &claims)),
        ("JWK as secret", signed(&jwk, Algorithm::HS256, &hs256, &claims)),
        ("the same, calling itself ES256", signed(&public, Algorithm::HS256, &header().to_string(), &claims)),
    ]);

    let rs = |alg: &str| json!({"alg": alg, "typ": "at+jwt", "kid": "rs"}).to_string();
    all_malformed([
        ("RS384", RS.sign_as(Algorithm::RS384, &rs("RS384"), &claims)),
        ("RS512", RS.sign_as(Algorithm::RS512, &rs("RS512"), &claims)),
        ("PS256", RS.sign_as(Algorithm::PS256, &rs("PS256"), &claims)),
        ("PS256 calling itself RS256", RS.sign_as(Algorithm::PS256, &rs("RS256"), &claims)),
    ]);
}

#[test]
fn another_key_s_signature_is_refused() {
    let (header, claims) = (header().to_string(), claims().to_string());
    let own = good();
    let (signed_part, signature) = own.rsplit_once('.').expect("three parts");
    let raw = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let with_signature = |bytes: &[u8]| format!("{signed_part}.{}", base64(bytes));
    let other_claims = with(super::forge::claims(), &[("jti", Some(json!("two")))]).to_string();
    let (other_part, _) = signed_part.split_once('.').expect("two parts");
    all_malformed([
        ("a stranger's", STRANGER.sign(&header, &claims)),
        ("empty", with_signature(&[])),
        ("zero", with_signature(&[0; 64])),
        ("cut", with_signature(&raw[..63])),
        ("longer", with_signature(&[&raw[..], &[0]].concat())),
        ("of other claims", format!("{other_part}.{}.{signature}", base64(other_claims.as_bytes()))),
    ]);
}

#[test]
fn a_token_does_not_bring_its_own_key() {
    let mine = with(header(), &[("jwk", Some(STRANGER.jwk.clone()))]).to_string();
    let elsewhere = with(header(), &[("jku", Some(json!("https://evil.example/jwks.json")))]).to_string();
    let claims = claims().to_string();
    all_malformed([("jwk", STRANGER.sign(&mine, &claims)), ("jku", STRANGER.sign(&elsewhere, &claims))]);
    // Beside a good signature they are just ignored.
    for (name, value) in [
        ("jwk", STRANGER.jwk.clone()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        assert!(verify(&header_with(name, value)).is_ok(), "{name}");
    }
}

#[test]
fn only_access_tokens_are_access_tokens() {
    for good in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert!(verify(&header_with("typ", json!(good))).is_ok(), "{good}");
    }
    let wrong = ["", "JWT", "jwt", "at", "at+jwt ", " at+jwt", "text/at+jwt", "dpop+jwt", "logout+jwt"];
    all_malformed(wrong.map(|typ| (typ, header_with("typ", json!(typ)))));
    all_malformed(
        [json!(null), json!(["at+jwt"]), json!(1)].map(|typ| (typ.clone(), header_with("typ", typ))),
    );
}

#[test]
fn no_extension_is_understood() {
    let values = [
        json!(["exp"]),
        json!(["b64"]),
        json!(["http://evil.example"]),
        json!([]),
        json!(null),
        json!("exp"),
    ];
    all_malformed(values.map(|crit| (crit.clone(), header_with("crit", crit))));
    all_malformed([json!(false), json!(true), json!(null)].map(|b64| (b64.clone(), header_with("b64", b64))));
}

#[test]
fn a_kid_is_a_word_to_look_up_and_nothing_more() {
    let long = "k".repeat(10_000);
    let wrong =
        ["", "unknown", "ES", "es ", "../../../../dev/null", "' OR 1=1 --", "es\0", &long[..129], &long];
    all_malformed(wrong.map(|kid| (kid.len(), header_with("kid", json!(kid)))));
    all_malformed(
        [json!(null), json!(["es"]), json!({"kid": "es"}), json!(0)]
            .map(|kid| (kid.clone(), header_with("kid", kid))),
    );
}

#[test]
fn every_header_and_claim_is_required() {
    for name in ["alg", "typ", "kid"] {
        let header = with(header(), &[(name, None)]).to_string();
        all_malformed([(name, ES.sign(&header, &claims().to_string()))]);
    }
    for name in ["iss", "aud", "sub", "sid", "jti", "iat", "exp"] {
        let claims = with(claims(), &[(name, None)]).to_string();
        all_malformed([(name, ES.sign(&header().to_string(), &claims))]);
        all_malformed([(name, claims_with(name, json!(null)))]);
    }
}

#[test]
fn issuer_and_audience_are_exact() {
    let foreign = [
        json!("https://evil.example"),
        json!("https://tollgate.example/"),
        json!("https://tollgate.example.evil.example"),
        json!("HTTPS://TOLLGATE.EXAMPLE"),
        json!(["https://tollgate.example"]),
        json!(""),
    ];
    all_malformed(foreign.map(|iss| (iss.clone(), claims_with("iss", iss))));
    let foreign = [
        json!("https://other.example"),
        json!("https://api.example/"),
        json!("https://tollgate.example"),
        json!([]),
        json!(["https://other.example"]),
        json!(["https://api.example", 1]),
        json!({"https://api.example": true}),
        json!(""),
    ];
    all_malformed(foreign.map(|aud| (aud.clone(), claims_with("aud", aud))));
    assert!(verify(&claims_with("aud", json!(["https://other.example", "https://api.example"]))).is_ok());
}

#[test]
fn names_are_typed_ids() {
    let session = json!(SessionId::from_uuid(Uuid::from_u128(2)));
    let user = json!(UserId::from_uuid(Uuid::from_u128(1)));
    let wrong = |own: &str| [json!("admin"), json!(""), json!(1), json!(own.to_uppercase())];
    all_malformed(wrong("usr_00000000000000000000000001").map(|sub| (sub.clone(), claims_with("sub", sub))));
    all_malformed(wrong("ses_00000000000000000000000002").map(|sid| (sid.clone(), claims_with("sid", sid))));
    all_malformed([("sub", claims_with("sub", session)), ("sid", claims_with("sid", user))]);
    let jti = [json!(""), json!("j".repeat(129)), json!(7)];
    all_malformed(jti.map(|jti| (jti.clone(), claims_with("jti", jti))));
}

/// RFC 8725 §3.9 and CVE-2026-25537: a date of another type must not read as no date.
#[test]
fn dates_are_whole_numbers() {
    for name in ["exp", "iat", "nbf"] {
        // Each would hold as this claim if it were read as a number.
        let value = if name == "exp" { NOW + 840 } else { NOW - 60 };
        let texts = [
            format!("\"{value}\""),
            format!("{value}.0"),
            format!("{value}.5"),
            format!("{value}e0"),
            format!("-{value}"),
            format!("[{value}]"),
            "-1".into(),
            "1e300".into(),
            "253402300800".into(),
            "18446744073709551615".into(),
            "99999999999999999999999999".into(),
            "null".into(),
            "true".into(),
            "{}".into(),
            "\"\"".into(),
        ];
        let token = |text: &str| {
            let rest = with(claims(), &[(name, None)]).to_string();
            let claims = format!("{{\"{name}\":{text},{}", &rest[1..]);
            ES.sign(&header().to_string(), &claims)
        };
        all_malformed(texts.map(|text| ((name, text.clone()), token(&text))));
        assert!(verify(&token(&value.to_string())).is_ok());
    }
}

#[test]
fn what_comes_twice_is_refused() {
    let (header, claims) = (header().to_string(), claims().to_string());
    let twice = |text: &str, more: &str| format!("{{{more},{}", &text[1..]);
    all_malformed([
        ("alg", ES.sign(&twice(&header, r#""alg":"none""#), &claims)),
        ("kid", ES.sign(&twice(&header, r#""kid":"es""#), &claims)),
        ("exp", ES.sign(&header, &twice(&claims, r#""exp":9999999999"#))),
        ("exp, escaped", ES.sign(&header, &twice(&claims, r#""\u0065xp":9999999999"#))),
        ("after the end", ES.sign(&header, &format!("{claims}{claims}"))),
        ("not an object", ES.sign(&header, "[]")),
        ("not JSON", ES.sign(&header, "claims")),
    ]);
}

#[test]
fn other_shapes_are_refused() {
    let token = good();
    let parts: Vec<&str> = token.split('.').collect();
    let shapes = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        parts[..2].join("."),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{}", parts[2]),
        format!("{token}.{}.{}", parts[1], parts[2]),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{token}="),
        format!("{token}\n"),
        format!(" {token}"),
        format!("Bearer {token}"),
        "tg_live_0AZaz9123456".into(),
        "\u{0}".into(),
    ];
    all_malformed(shapes.map(|shape| (shape.clone(), shape)));
}

#[test]
fn a_token_is_at_most_8_kib() {
    let padded = |length: usize| claims_with("pad", json!("p".repeat(length)));
    let fits = (0..8_192).rev().map(padded).find(|token| token.len() <= 8_192).expect("some length fits");
    assert!(fits.len() > 8_180 && verify(&fits).is_ok());
    all_malformed([(8_193, padded(6_000)), (100_000, padded(75_000))].map(|(length, token)| {
        assert!(token.len() > 8_192);
        (length, token)
    }));
}

#[test]
fn a_token_expires_at_the_very_second() {
    let exp = NOW + 840;
    let verify = |now| access_token(&good(), &KEYS, &rules(), now).err();
    assert_eq!(verify(at(exp) - chrono::Duration::microseconds(1)), None);
    assert_eq!(verify(at(exp)), Some(TokenRefusal::Expired));
    assert_eq!(verify(at(exp + 1_000_000)), Some(TokenRefusal::Expired));
}

#[test]
fn only_a_token_with_no_other_flaw_is_called_expired() {
    let foreign = claims_with("aud", json!("https://other.example"));
    let forged = STRANGER.sign(&header().to_string(), &claims().to_string());
    for token in [foreign, forged] {
        assert_eq!(access_token(&token, &KEYS, &rules(), at(NOW + 9_000)), Err(TokenRefusal::Malformed));
    }
}

#[test]
fn a_token_is_not_good_before_its_time() {
    assert!(verify(&claims_with("nbf", json!(NOW))).is_ok());
    all_malformed([(1, claims_with("nbf", json!(NOW + 1)))]);
    assert!(verify(&claims_with("iat", json!(NOW + 5))).is_ok(), "the issuer's clock may be ahead a little");
    all_malformed([(6, claims_with("iat", json!(NOW + 6)))]);
}

#[test]
fn keys_that_do_not_fit_are_passed_over() {
    let changed =
        |signer: &Signer, name: &str, value: Option<Value>| with(signer.jwk.clone(), &[(name, value)]);
    let odd = [
        changed(&ES, "alg", None),
        changed(&ES, "alg", Some(json!("ES384"))),
        changed(&ES, "alg", Some(json!("EdDSA"))),
        changed(&ES, "crv", Some(json!("P-384"))),
        changed(&ES, "use", Some(json!("enc"))),
        changed(&ES, "kid", None),
        changed(&ES, "kid", Some(json!("k".repeat(129)))),
        changed(&ES, "y", None),
        changed(&ES, "x", Some(json!("=="))),
        changed(&RS, "alg", Some(json!("PS256"))),
        changed(&ED, "crv", Some(json!("Ed448"))),
        json!({"kid": "oct", "kty": "oct", "alg": "HS256", "k": "AAAA"}),
        json!("a key"),
    ];
    let set = KeySet::parse(&json!({ "keys": odd }).to_string()).expect("a set of keys");
    assert!(set.0.is_empty(), "{set:?}");
}

#[test]
fn a_set_of_keys_is_read_or_is_a_fault() {
    assert!(KEYS.knows("es") && KEYS.knows("ed") && KEYS.knows("rs") && !KEYS.knows("other"));
    let twice = json!({"keys": [ES.jwk, STRANGER.jwk]}).to_string();
    for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, &twice] {
        assert_eq!(KeySet::parse(wrong).expect_err(wrong).code(), Code::Internal);
    }
}

proptest! {
    #[test]
    fn any_changed_character_is_refused(place: proptest::sample::Index, to in "[A-Za-z0-9_.=-]") {
        let token = good();
        let place = place.index(token.len());
        let changed = format!("{}{to}{}", &token[..place], &token[place + 1..]);
        prop_assume!(changed != token);
        prop_assert_eq!(verify(&changed), Err(TokenRefusal::Malformed));
    }

    #[test]
    fn other_text_is_refused(text in any::<String>(), parts in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){2}") {
        prop_assert_eq!(verify(&text), Err(TokenRefusal::Malformed));
        prop_assert_eq!(verify(&parts), Err(TokenRefusal::Malformed));
    }
}
