//! Compiles the contracts in `proto/` with a compiler that is itself Rust, so that no `protoc` is needed on the machine.

use std::{collections::BTreeSet, env, error::Error, fs, path::PathBuf};

use prost_types::{DescriptorProto, FileDescriptorSet};

/// The services of which a role's own process, or a client in its place, has to answer everything.
const ROLES: [&str; 3] = ["Identity", "Keys", "RateLimit"];

/// What is compiled, with all that it imports.
const FILES: &[&str] = &[
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/service/ratelimit/v3/rls.proto",
    "tollgate/gate/v1/gate.proto",
    "tollgate/identity/v1/identity.proto",
    "tollgate/kernel/v1/caller.proto",
    "tollgate/kernel/v1/effect.proto",
    "tollgate/keys/v1/keys.proto",
    "tollgate/ratelimit/v1/ratelimit.proto",
    "tollgate/verify/v1/watch.proto",
];

/// Messages that carry a secret or its digest: `src/redact.rs` writes their `Debug`, without the values.
const SECRETS: &[&str] = &[
    "envoy.config.core.v3.HeaderValue",
    "envoy.service.auth.v3.AttributeContext.HttpRequest",
    "tollgate.gate.v1.AuthorizeRequest",
    "tollgate.gate.v1.VerifyKeyRequest",
    "tollgate.gate.v1.VerifyTokenRequest",
    "tollgate.identity.v1.LoginRequest",
    "tollgate.identity.v1.LogoutRequest",
    "tollgate.identity.v1.RefreshRequest",
    "tollgate.identity.v1.SignupRequest",
    "tollgate.identity.v1.TokenSet",
    "tollgate.keys.v1.AcceptInvitationRequest",
    "tollgate.keys.v1.CreateInvitationResponse",
    "tollgate.keys.v1.CreateKeyRequest",
    "tollgate.keys.v1.CreateKeyResponse",
    "tollgate.keys.v1.CreateServiceKeyResponse",
    "tollgate.keys.v1.ImportedSecret",
    "tollgate.keys.v1.ResolveImportedKeyRequest",
    "tollgate.keys.v1.CreateWebhookResponse",
    "tollgate.keys.v1.ReportLeaksRequest",
    "tollgate.keys.v1.ResolveKeyRequest",
    "tollgate.keys.v1.ResolveServiceKeyRequest",
    "tollgate.keys.v1.RotateKeyRequest",
    "tollgate.keys.v1.RotateKeyResponse",
    "tollgate.keys.v1.RotateWebhookSecretResponse",
];

#[expect(clippy::disallowed_methods, reason = "how cargo speaks to a build script")]
fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES.iter().map(|file| root.join(file)))?;

    // For gRPC reflection.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    fs::write(out.join("rpcs.rs"), lists_of_rpcs(&compiler.file_descriptor_set()))?;

    tonic_prost_build::configure()
        .include_file("tollgate.rs")
        .skip_debug(SECRETS)
        // What a stand-in in a test does not answer is unimplemented. A role answers everything: `tests/it/contract.rs`.
        .generate_default_stubs(true)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// For each role's service two macros that hand the list of its RPCs to another macro, so that nobody writes the list down
/// again: all of them, and those that somebody calls, whose requests say who.
fn lists_of_rpcs(contracts: &FileDescriptorSet) -> String {
    let messages = || contracts.file.iter().flat_map(|file| &file.message_type);
    let calls: BTreeSet<_> = messages().filter(|it| has_caller(it)).map(DescriptorProto::name).collect();
    let services = contracts.file.iter().flat_map(|file| &file.service);
    let mut out = String::new();
    for service in services.filter(|it| ROLES.contains(&it.name())) {
        let (mut all, mut called) = (String::new(), String::new());
        for rpc in &service.method {
            let (request, response) = (type_name(rpc.input_type()), type_name(rpc.output_type()));
            let line = format!("{}({request}) -> {response};\n", snake_case(rpc.name()));
            all.push_str(&line);
            if calls.contains(request) {
                called.push_str(&line);
            }
        }
        let name = snake_case(service.name());
        out.push_str(&list_of_rpcs(&format!("{name}_rpcs"), "all RPCs", &all));
        out.push_str(&list_of_rpcs(
            &format!("{name}_calls"),
            "the RPCs whose requests say who calls",
            &called,
        ));
    }
    out
}

/// A macro that hands a list to a macro, after what it is given.
fn list_of_rpcs(name: &str, what: &str, list: &str) -> String {
    format!(
        "/// Hands {what} to a macro: `method(Request) -> Response;` each, after what it is given.\n\
         #[macro_export]\nmacro_rules! {name} {{\n($with:ident! {{ $($given:tt)* }}) => \
         {{ $with! {{ $($given)* {list} }} }};\n}}\n"
    )
}

/// Whether the message's field `caller` is a `tollgate.kernel.v1.Caller`.
fn has_caller(message: &DescriptorProto) -> bool {
    message.field.iter().any(|it| it.name() == "caller" && it.type_name() == ".tollgate.kernel.v1.Caller")
}

/// `.tollgate.keys.v1.GetKeyRequest` → `GetKeyRequest`
fn type_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// `GetKey` → `get_key`
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
