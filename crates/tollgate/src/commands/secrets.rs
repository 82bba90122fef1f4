//! `tollgate secrets init`: the secrets that a deployment of several processes shares, each in a file of its own.

use std::{fs, io, path::Path};

use tollgate_kernel::{Entropy, Fault, hex};

use super::Failure;
use crate::storage::write_new;

/// Makes the files that do not exist yet; says which. Never replaces one: a new master key would end every session.
pub(super) fn init(dir: &Path, postgres: &str, mode: u32, entropy: &dyn Entropy) -> Result<String, Failure> {
    let cannot = |error: io::Error| {
        Failure::from(Fault::unavailable(error).caused_by(format!("{} cannot be written to", dir.display())))
    };
    fs::create_dir_all(dir).map_err(cannot)?;
    let mut said = String::new();
    for name in ["master_key", "mesh_token", "database_password"] {
        said += &one(dir, name, &hex(&entropy.bytes::<32>()), mode).map_err(cannot)?;
    }
    let password = fs::read_to_string(dir.join("database_password")).map_err(cannot)?;
    let url = format!("postgres://tollgate:{}@{postgres}/tollgate", password.trim());
    said += &one(dir, "database_url", &url, mode).map_err(cannot)?;
    Ok(said)
}

fn one(dir: &Path, name: &str, text: &str, mode: u32) -> io::Result<String> {
    let path = dir.join(name);
    match write_new(&path, text, mode) {
        Ok(()) => Ok(format!("made {}\n", path.display())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(format!("kept {}\n", path.display()))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tollgate_kernel::OsEntropy;

    use super::*;

    #[test]
    fn secrets_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        let Ok(said) = init(dir.path(), "db:5432", 0o600, &OsEntropy) else { panic!("made") };
        assert_eq!(said.matches("made").count(), 4);
        let (master, password) = (read("master_key"), read("database_password"));
        assert_eq!(master.trim().len(), 64);
        assert_eq!(
            read("database_url"),
            format!("postgres://tollgate:{}@db:5432/tollgate\n", password.trim())
        );
        let mode = fs::metadata(dir.path().join("master_key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let Ok(said) = init(dir.path(), "elsewhere:1", 0o600, &OsEntropy) else { panic!("kept") };
        assert_eq!(said.matches("kept").count(), 4);
        assert_eq!(read("master_key"), master);
    }
}
