//! `Debug` of the messages that carry secrets: the fields that are safe, and never the others.

use std::fmt;

use crate::{
    envoy::{auth::attribute_context, core},
    gate, identity, keys,
};

macro_rules! redacted {
    ($($message:path { $($shown:ident),* })*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

redacted! {
    gate::AuthorizeRequest { scopes, cost, client_ip, dry_run }
    gate::VerifyKeyRequest { scopes, cost, client_ip, environment, dry_run, request_id }
    gate::VerifyTokenRequest {}
    identity::LoginRequest { ip }
    identity::LogoutRequest { all }
    identity::RefreshRequest { ip }
    identity::SignupRequest { ip }
    identity::TokenSet { session_id, expires_in, refresh_expires_in }
    keys::AcceptInvitationRequest { caller }
    keys::CreateInvitationResponse { invitation }
    keys::CreateKeyRequest { caller, workspace_id, environment, plan_id }
    keys::CreateKeyResponse { key }
    keys::CreateServiceKeyResponse { service_key }
    keys::ImportedSecret { algorithm, retires_at }
    keys::ResolveImportedKeyRequest {}
    keys::CreateWebhookResponse { webhook }
    keys::ReportLeaksRequest { key_identifier }
    keys::ResolveKeyRequest { public_id }
    keys::ResolveServiceKeyRequest { public_id }
    // Headers of a client's request: its credential is among them.
    attribute_context::HttpRequest {}
    core::HeaderValue { key }
    keys::RotateKeyRequest { caller, key_id, grace_seconds, no_wait }
    keys::RotateKeyResponse { key_id, start, secret_id, previous }
    keys::RotateWebhookSecretResponse { webhook }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;

    /// What fields are called that hold a secret or its digest.
    const SECRETS: [&str; 9] = [
        "access_token",
        "credential",
        "digest",
        "hash",
        "password",
        "raw_value",
        "refresh_token",
        "secret",
        "token",
    ];

    /// The messages that have such a field of text or bytes, by their whole names.
    fn secretive(package: &str, message: &DescriptorProto, found: &mut Vec<String>) {
        use prost_types::field_descriptor_proto::Type;
        let name = format!("{package}.{}", message.name());
        let is_secret = |name: &str| SECRETS.contains(&name);
        let mut fields = message.field.iter();
        if fields.any(|it| is_secret(it.name()) && [Type::String, Type::Bytes].contains(&it.r#type())) {
            found.push(name.clone());
        }
        for nested in &message.nested_type {
            secretive(&name, nested, found);
        }
    }

    #[test]
    fn every_message_with_a_secret_is_redacted() {
        let contracts = FileDescriptorSet::decode(crate::DESCRIPTORS).expect("it was encoded by the build");
        let mut found = Vec::new();
        for file in &contracts.file {
            for message in &file.message_type {
                secretive(file.package(), message, &mut found);
            }
        }
        assert!(found.len() > 15, "those that there were when this was written: {found:?}");
        let build = include_str!("../build.rs");
        let shown: Vec<_> = found.iter().filter(|name| !build.contains(&format!("\"{name}\""))).collect();
        assert!(shown.is_empty(), "name these in SECRETS of build.rs, and above: {shown:?}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let login = identity::LoginRequest { password: "hunter2".into(), ..Default::default() };
        let tokens = identity::TokenSet { access_token: "hunter2".into(), ..Default::default() };
        let created = keys::CreateKeyResponse { secret: "hunter2".into(), ..Default::default() };
        let verify = gate::VerifyKeyRequest { key: "hunter2".into(), ..Default::default() };
        let header = core::HeaderValue { raw_value: "hunter2".into(), ..Default::default() };
        let headers = [("authorization".to_owned(), "hunter2".to_owned())].into();
        let asked = attribute_context::HttpRequest { headers, ..Default::default() };
        let nested = identity::LoginResponse { tokens: Some(tokens) };
        let rotated = keys::RotateKeyResponse { secret: "hunter2".into(), ..Default::default() };
        let invited = keys::CreateInvitationResponse { token: "hunter2".into(), ..Default::default() };
        let accepted = keys::AcceptInvitationRequest { token: "hunter2".into(), ..Default::default() };
        let imported = keys::ImportedSecret { hash: "hunter2".into(), ..Default::default() };
        let foreign = keys::ResolveImportedKeyRequest { credential: "hunter2".into() };
        let keys = format!("{created:?}{verify:?}{rotated:?}{invited:?}{accepted:?}{imported:?}{foreign:?}");
        assert!(!format!("{login:?}{nested:?}{header:?}{asked:?}{keys}").contains("hunter2"));
    }
}
