//! Compiles the contracts in `proto/` with a compiler that is itself Rust, so that no `protoc` is needed on the machine.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use prost_types::FileDescriptorSet;

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
    "tollgate.keys.v1.CreateKeyRequest",
    "tollgate.keys.v1.CreateKeyResponse",
    "tollgate.keys.v1.CreateServiceKeyResponse",
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

/// For each role's service a macro that hands the list of its RPCs to another macro, so that nobody writes the list down again.
fn lists_of_rpcs(contracts: &FileDescriptorSet) -> String {
    let mut out = String::new();
    for file in &contracts.file {
        for service in file.service.iter().filter(|it| ROLES.contains(&it.name())) {
            let mut list = String::new();
            for rpc in &service.method {
                let (request, response) = (type_name(rpc.input_type()), type_name(rpc.output_type()));
                let _ = writeln!(list, "{}({request}) -> {response};", snake_case(rpc.name()));
            }
            let name = snake_case(service.name());
            let _ = write!(
                out,
                "/// Hands the RPCs of `{0}` to a macro: `method(Request) -> Response;` each, after what it is given.\n\
                 #[macro_export]\nmacro_rules! {name}_rpcs {{\n($with:ident! {{ $($given:tt)* }}) => \
                 {{ $with! {{ $($given)* {list} }} }};\n}}\n",
                service.name()
            );
        }
    }
    out
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
