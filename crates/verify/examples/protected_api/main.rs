//! A service that verifies credentials in its own process: `docs/embedding.md` says how to run it.
//!
//! ```text
//! protected_api [KEYS [IDENTITY [LISTEN [ISSUER [AUDIENCE [MESH_TOKEN_FILE]]]]]]
//! ```

mod routes;

use std::{error::Error, fs, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tollgate_verify::{
    Admission, Endpoints, MeshToken, Remote, SecretString, SystemClock, TokenRules, Verifier,
};

/// As in the roles' `changes.lease_ms`; never longer.
const LEASE: Duration = Duration::from_secs(2);
/// Of each cache, in bytes.
const CAPACITY: u64 = 64 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (keys, identity) = (next("http://127.0.0.1:9102"), next("http://127.0.0.1:9101"));
    let listen = next("127.0.0.1:8090");
    let rules = TokenRules { issuer: next("http://127.0.0.1:8080"), audience: next("tollgate") };
    let mesh = mesh_token(&next(""))?;

    let remote = |address: &str| -> Result<Remote, Box<dyn Error>> {
        Ok(Remote { address: address.parse()?, mesh: mesh.clone(), timeout: Duration::from_secs(2) })
    };
    let endpoints = Endpoints { keys: remote(&keys)?, identity: remote(&identity)? };
    let verifier = Verifier::connect(&endpoints, rules, LEASE, CAPACITY, Arc::new(SystemClock));

    let listener = TcpListener::bind(&listen).await?;
    println!("http://{}: /user, /key, /either", listener.local_addr()?);
    axum::serve(listener, routes::routes(&Admission::new(verifier))).await?;
    Ok(())
}

/// An empty path: a mesh on loopback that has no token.
fn mesh_token(path: &str) -> Result<MeshToken, std::io::Error> {
    if path.is_empty() {
        return Ok(MeshToken::default());
    }
    Ok(MeshToken::new(Some(SecretString::from(fs::read_to_string(path)?.trim()))))
}
