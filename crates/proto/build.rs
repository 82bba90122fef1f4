//! Compiles the contracts in `proto/` with a compiler that is itself Rust, so that no `protoc` is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 9] = [
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
const SECRETS: [&str; 17] = [
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
    "tollgate.keys.v1.ResolveKeyRequest",
    "tollgate.keys.v1.ResolveServiceKeyRequest",
    "tollgate.keys.v1.RotateKeyRequest",
    "tollgate.keys.v1.RotateKeyResponse",
];

#[expect(clippy::disallowed_methods, reason = "how cargo speaks to a build script")]
fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES.map(|file| root.join(file)))?;

    // For gRPC reflection.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .include_file("tollgate.rs")
        .skip_debug(SECRETS)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
