//! Whom this process believes to be its Redis over TLS, and as whom it appears there.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tollgate_kernel::{Code, Fault};

use crate::settings::Tls;

/// How TLS is spoken. Reads the files; they are not read again.
pub(super) fn config(tls: &Tls) -> Result<Arc<ClientConfig>, Fault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what these versions need")
        .with_root_certificates(roots(&tls.ca_file)?);
    let (own, key) = (tls.client_cert_file.as_path(), tls.client_key_file.as_path());
    let config = match (own.as_os_str().is_empty(), key.as_os_str().is_empty()) {
        (true, true) => builder.with_no_client_auth(),
        (false, false) => {
            let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|why| unusable(key, why))?;
            builder.with_client_auth_cert(certificates(own)?, secret).map_err(|why| unusable(own, why))?
        }
        _ => {
            let what = "A client certificate for Redis needs both its file and that of its key.";
            return Err(Fault::new(Code::InvalidArgument, what));
        }
    };
    Ok(Arc::new(config))
}

/// Those of the file and no others, or those that the machine trusts.
fn roots(file: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    if file.as_os_str().is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let what = "This machine trusts no certificates, so no Redis can be reached over TLS: name a file of them.";
            return Err(Fault::new(Code::InvalidArgument, what));
        }
    } else {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|why| unusable(file, why))?;
        }
    }
    Ok(roots)
}

/// One or more certificates, in PEM.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let found = found.map_err(|why| unusable(file, why))?;
    if found.is_empty() {
        return Err(unusable(file, "there is no certificate in it"));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(file).map_err(|why| unusable(file, why))
}

fn unusable(file: &Path, why: impl std::fmt::Display) -> Fault {
    let what = format!("{} cannot be used for TLS to Redis: {why}", file.display());
    Fault::new(Code::InvalidArgument, what)
}

#[cfg(test)]
mod tests;
