//! Forges tokens: good ones, and ones that are good but for one thing.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tollgate_kernel::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use super::{KeySet, TokenRules};

/// 2026-01-01T00:00:00Z
pub(super) const NOW: i64 = 1_767_225_600;

pub(super) struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    pub public: Vec<u8>,
    pub jwk: Value,
}

pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn es256(kid: &str) -> Signer {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("generated");
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref()).expect("parsed");
    let public = pair.public_key().as_ref().to_vec();
    let (x, y) = (base64(&public[1..33]), base64(&public[33..]));
    let jwk = json!({"kid": kid, "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": x, "y": y});
    Signer { algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(der.as_ref()), public, jwk }
}

pub(super) fn eddsa(kid: &str) -> Signer {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("generated");
    let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("parsed");
    let public = pair.public_key().as_ref().to_vec();
    let jwk = json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": base64(&public)});
    Signer { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(der.as_ref()), public, jwk }
}

pub(super) fn rs256(kid: &str) -> Signer {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("generated");
    let public: signature::RsaPublicKeyComponents<Vec<u8>> = pair.public_key().into();
    let (n, e) = (base64(&public.n), base64(&public.e));
    let jwk = json!({"kid": kid, "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": e});
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("encoded");
    let pem = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).expect("parsed");
    Signer { algorithm: Algorithm::RS256, key, public: pair.public_key().as_ref().to_vec(), jwk }
}

pub(super) static ES: LazyLock<Signer> = LazyLock::new(|| es256("es"));
pub(super) static ED: LazyLock<Signer> = LazyLock::new(|| eddsa("ed"));
pub(super) static RS: LazyLock<Signer> = LazyLock::new(|| rs256("rs"));
pub(super) static STRANGER: LazyLock<Signer> = LazyLock::new(|| es256("es"));
pub(super) static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    KeySet::parse(&json!({"keys": [ES.jwk, ED.jwk, RS.jwk]}).to_string()).expect("a set of keys")
});

impl Signer {
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_as(self.algorithm, header, claims)
    }

    pub(super) fn sign_as(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        signed(&self.key, algorithm, header, claims)
    }
}

pub(super) fn signed(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("signed");
    format!("{message}.{signature}")
}

pub(super) fn rules() -> TokenRules {
    TokenRules { issuer: "https://tollgate.example".into(), audience: "https://api.example".into() }
}

pub(super) fn header() -> Value {
    json!({"alg": "ES256", "typ": "at+jwt", "kid": "es"})
}

pub(super) fn claims() -> Value {
    json!({
        "iss": rules().issuer,
        "aud": rules().audience,
        "sub": UserId::from_uuid(Uuid::from_u128(1)),
        "sid": SessionId::from_uuid(Uuid::from_u128(2)),
        "jti": "one",
        "iat": NOW - 60,
        "exp": NOW + 840,
    })
}

/// `base` with these members replaced, and those that are said to be `()` taken away.
pub(super) fn with(base: Value, changes: &[(&str, Option<Value>)]) -> Value {
    let Value::Object(mut object) = base else { panic!("an object") };
    for (name, value) in changes {
        match value {
            Some(value) => object.insert((*name).to_owned(), value.clone()),
            None => object.remove(*name),
        };
    }
    Value::Object(object)
}

pub(super) fn header_with(name: &str, value: Value) -> String {
    ES.sign(&with(header(), &[(name, Some(value))]).to_string(), &claims().to_string())
}

pub(super) fn claims_with(name: &str, value: Value) -> String {
    ES.sign(&header().to_string(), &with(claims(), &[(name, Some(value))]).to_string())
}

pub(super) fn good() -> String {
    ES.sign(&header().to_string(), &claims().to_string())
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).expect("in range")
}
