//! `tollgate keys …`: a client of the server's Gate port, with a service key.

mod columns;
mod export;
mod file;
mod import;
mod progress;
mod row;
mod values;

use std::{fs, io};

use tollgate_kernel::{Code, ExposeSecret as _, Fault, SecretString};
use tollgate_proto::{
    fault::from_status,
    gate::{self, VerifyKeyRequest, gate_client::GateClient},
    keys::{self as wire, keys_client::KeysClient},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::{Failure, print};
use crate::{
    cli::keys::{Action, Environment, Format, Keys},
    config,
};

/// Largest answer, in bytes: a page of an export.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Says who asks.
#[derive(Clone)]
struct Introduction(MetadataValue<Ascii>);

impl Interceptor for Introduction {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Introduced = InterceptedService<Channel, Introduction>;

/// The server, by one channel.
struct Server {
    keys: KeysClient<Introduced>,
    gate: GateClient<Introduced>,
}

impl Server {
    fn of(options: &Keys) -> Result<Self, Fault> {
        let endpoint = Endpoint::from(options.server.clone());
        let introduction = introduction(&service_key(options)?)?;
        let channel = InterceptedService::new(endpoint.connect_lazy(), introduction);
        let keys = KeysClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        Ok(Self { keys, gate: GateClient::new(channel) })
    }
}

/// The service key: out of the file, or the variable.
fn service_key(options: &Keys) -> Result<SecretString, Fault> {
    let nothing = |what: String| Fault::new(Code::InvalidArgument, what);
    let Some(path) = &options.service_key_file else {
        return config::service_key().ok_or_else(|| {
            nothing("There is no service key: name its file with --service-key-file, or set TOLLGATE_SERVICE_KEY.".into())
        });
    };
    let text = fs::read_to_string(path)
        .map_err(|error| nothing(format!("{} cannot be read.", path.display())).caused_by(error))?;
    let key = text.trim();
    if key.is_empty() { Err(nothing(format!("{} is empty.", path.display()))) } else { Ok(key.into()) }
}

fn introduction(key: &SecretString) -> Result<Introduction, Fault> {
    let text = SecretString::from(format!("Bearer {}", key.expose_secret()));
    let mut value: MetadataValue<Ascii> = text.expose_secret().parse().map_err(|_| {
        Fault::new(Code::InvalidArgument, "The service key is not one: it has other characters.")
    })?;
    value.set_sensitive(true);
    Ok(Introduction(value))
}

/// Does what the command line says.
pub(super) async fn run(options: &Keys) -> Result<(), Failure> {
    let mut server = Server::of(options)?;
    match &options.action {
        Action::Import(import) => import::run(&mut server.keys, &options.server, import).await,
        Action::Export(export) => export::run(&mut server.keys, export).await,
        Action::List { limit } => list(&mut server.keys, *limit).await,
        Action::Create { name, environment, scopes } => {
            create(&mut server.keys, name, *environment, scopes).await
        }
        Action::Revoke { id } => {
            let request = wire::RevokeKeyRequest { key_id: id.clone(), ..Default::default() };
            server.keys.revoke_key(request).await.map_err(from_status)?;
            print(&format!("{id} is revoked\n"))
        }
        Action::Verify { scopes } => verify(&mut server.gate, scopes).await,
    }
}

async fn list(keys: &mut KeysClient<Introduced>, limit: u32) -> Result<(), Failure> {
    const PAGE: u32 = 100;
    let (mut left, mut cursor) = (limit, String::new());
    while left > 0 {
        let page = Some(wire::Page { limit: left.min(PAGE), cursor });
        let request = wire::ListKeysRequest { page, ..Default::default() };
        let answer = keys.list_keys(request).await.map_err(from_status)?.into_inner();
        for key in &answer.keys {
            let state = match key {
                _ if key.revoked_at.is_some() => "revoked",
                _ if !key.enabled => "disabled",
                _ => "enabled",
            };
            print(&format!("{}  {:<14}  {state:<8}  {}\n", key.id, key.start, key.name))?;
        }
        left -= left.min(u32::try_from(answer.keys.len()).unwrap_or(left));
        match answer.next_cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    Ok(())
}

async fn create(
    keys: &mut KeysClient<Introduced>,
    name: &str,
    environment: Environment,
    scopes: &[String],
) -> Result<(), Failure> {
    let environment = match environment {
        Environment::Live => wire::Environment::Live,
        Environment::Test => wire::Environment::Test,
    };
    let request = wire::CreateKeyRequest {
        name: name.to_owned(),
        environment: environment.into(),
        scopes: scopes.to_vec(),
        ..Default::default()
    };
    let made = keys.create_key(request).await.map_err(from_status)?.into_inner();
    print(&format!("{}\n", made.secret))
}

async fn verify(gate: &mut GateClient<Introduced>, scopes: &[String]) -> Result<(), Failure> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let request = VerifyKeyRequest {
        key: line.trim().to_owned(),
        scopes: scopes.to_vec(),
        dry_run: true,
        ..Default::default()
    };
    let answer = gate.verify_key(request).await.map_err(from_status)?.into_inner();
    let verdict = answer.verdict.unwrap_or_default();
    let code = gate::Code::try_from(verdict.code).unwrap_or_default().as_str_name();
    let code = code.trim_start_matches("CODE_");
    print(&format!("{code}  {}\n", verdict.key_id.unwrap_or_default()))?;
    if verdict.valid {
        return Ok(());
    }
    Err(Fault::new(Code::NotFound, format!("The key does not pass: {code}.")).into())
}

/// What the name of a file says of how it is written.
fn format_of(path: &std::path::Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "csv" => Some(Format::Csv),
        _ => None,
    }
}
