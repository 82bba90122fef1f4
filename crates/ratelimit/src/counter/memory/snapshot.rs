//! What a process has counted, kept in a file from its end to the start of the next: without it a restart would let every
//! caller begin anew, and lose the tallies that were not drained.
//!
//! The file is written whole or not at all, and it is deleted as it is read: a process that dies without its leave to write
//! another starts the next one empty, never with what an earlier one had counted, of which the tallies have been drained
//! since. A file that cannot be understood is kept aside as `<name>.bad`, and said so: to refuse the start would lock
//! everybody out, and to pass it over in silence would hide that limits begin anew.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Memory,
    codec::Stored,
    expiry::{Due, What},
    lock,
    partition::Partition,
};
use crate::{counter::SLACK, tally::Batch};

/// Begins every file, with the version of what follows.
const MAGIC: &[u8] = b"tollgate counters 2\n";

/// What a file holds.
struct Snapshot {
    pending: Option<Batch>,
    partitions: Vec<Partition>,
}

/// Where a snapshot is, between two processes.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile(PathBuf);

impl SnapshotFile {
    /// The file of this name.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Takes what the last process has counted: after this the file is gone.
    ///
    /// # Errors
    /// The file cannot be deleted: the next start would count all of it again.
    pub(crate) fn take_into(&self, memory: &Memory) -> io::Result<()> {
        let bytes = match fs::read(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            read => read,
        };
        let read = bytes.map_err(|error| error.to_string()).and_then(|bytes| parse(&bytes));
        match read {
            Ok(snapshot) => {
                fs::remove_file(&self.0)?;
                self.sync_directory()?;
                let partitions = snapshot.partitions.len();
                memory.restore(snapshot);
                tracing::info!(partitions, "goes on with what the last process has counted");
            }
            Err(why) => {
                let aside = with_suffix(&self.0, ".bad");
                fs::rename(&self.0, &aside)?;
                tracing::error!(%why, kept = %aside.display(), "what the last process has counted cannot be read: every limit begins anew");
            }
        }
        Ok(())
    }

    /// Writes what was counted, in place of what is there.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let new = with_suffix(&self.0, ".new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        self.sync_directory()
    }

    /// A name is only as durable as its directory.
    fn sync_directory(&self) -> io::Result<()> {
        let directory = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Memory {
    /// What was counted, as bytes. Nothing should be counted meanwhile.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        lock(&self.drain).pending.put(&mut bytes);
        for shard in &self.shards {
            for partition in lock(shard).partitions.values() {
                true.put(&mut bytes);
                partition.put(&mut bytes);
            }
        }
        false.put(&mut bytes);
        let sum = crc32fast::hash(&bytes);
        sum.put(&mut bytes);
        bytes
    }

    fn restore(&self, snapshot: Snapshot) {
        lock(&self.drain).pending = snapshot.pending;
        for mut partition in snapshot.partitions {
            let mut shard = self.shard(&partition.name);
            for held in partition.states.values_mut() {
                held.weigh(&self.room);
            }
            self.room.take_anyway(partition.requests.len() + partition.overrides.len());
            partition.dues().into_iter().for_each(|due| shard.expiry.note(due));
            shard.add(partition);
        }
    }
}

impl Partition {
    /// When each thing in it may expire.
    fn dues(&self) -> Vec<Due> {
        let due = |at, what| Due { at, partition: self.name.clone(), what };
        let states = self.states.iter().map(|(key, held)| due(held.keep_until, What::State(key.clone())));
        let requests = self.requests.iter();
        let requests =
            requests.map(|(id, record)| due(record.known_until + SLACK, What::Request(id.clone())));
        let overrides = self.overrides.iter();
        let overrides = overrides.map(|(key, it)| due(it.until + SLACK, What::Override(key.clone())));
        states.chain(requests).chain(overrides).collect()
    }
}

impl Stored for Partition {
    fn put(&self, to: &mut Vec<u8>) {
        self.name.put(to);
        self.states.put(to);
        self.requests.put(to);
        self.overrides.put(to);
        self.tally.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let name: Arc<str> = Stored::take(from)?;
        let (states, requests) = (Stored::take(from)?, Stored::take(from)?);
        Some(Self { name, states, requests, overrides: Stored::take(from)?, tally: Stored::take(from)? })
    }
}

fn parse(bytes: &[u8]) -> Result<Snapshot, String> {
    let (body, sum) = bytes.split_last_chunk().ok_or("it is too short")?;
    let mut rest = body.strip_prefix(MAGIC).ok_or("it is not a file of this version")?;
    if crc32fast::hash(body) != u32::from_be_bytes(*sum) {
        return Err("its checksum is wrong".to_owned());
    }
    let read = |rest: &mut &[u8]| {
        let pending = Stored::take(rest)?;
        let mut partitions = Vec::new();
        while bool::take(rest)? {
            partitions.push(Partition::take(rest)?);
        }
        rest.is_empty().then_some(Snapshot { pending, partitions })
    };
    read(&mut rest).ok_or_else(|| "its parts do not fit together".to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
