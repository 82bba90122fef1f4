//! A certificate authority of a test's own.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// Says who is who. What it writes is gone with it.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    certified: AtomicUsize,
}

/// The files of a certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// One that nobody knows yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let key = KeyPair::generate().expect("there is randomness");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs for itself");
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("the folder is ours");
        Self { folder, issuer, certified: AtomicUsize::new(0) }
    }

    /// A file with its own certificate, in PEM.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Says that whoever has this key has these names or IP addresses.
    pub fn certify(&self, names: &[&str]) -> Certified {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("there is randomness");
        let mut params = CertificateParams::new(names.clone()).expect("these are names");
        params.distinguished_name.push(DnType::CommonName, names.join(" "));
        let number = self.certified.fetch_add(1, Ordering::Relaxed);
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs").pem();
        let write = |ending: &str, text: String| {
            let file = self.folder.path().join(format!("{number}.{ending}"));
            fs::write(&file, text).expect("the folder is ours");
            file
        };
        Certified { certificate: write("pem", certificate), key: write("key", key.serialize_pem()) }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
