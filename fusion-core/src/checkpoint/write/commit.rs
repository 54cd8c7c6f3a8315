//! The end of a transaction: headers, record, flush, and the one step that moves the result to its place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::error::Place as _;
use super::layout::INDEX;
use super::{RECORD, TENSORS_SLOT, Transaction, WriteError};
use crate::checkpoint::blocks::{Hash, combine, hash_block, hex};

/// How [`RECORD`] explains its hashes to a reader without this code.
const HASHES: &str = "tensor: BLAKE3 of the concatenated BLAKE3 hashes of its consecutive blocks of 65536 elements; \
    shard: BLAKE3 of the file's bytes before the data (length prefix, header, padding) followed by its tensors' \
    hashes in the order of their data; metadata `fusion.tensors` of a shard: BLAKE3 of those tensors' hashes alone; \
    other files: BLAKE3";

/// What is at the target now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The target: a folder or one file.
    pub path: PathBuf,
    /// All files written, weights first.
    pub files: Vec<PathBuf>,
    /// Bytes of the files with weights.
    pub bytes: u64,
    /// Per shard: its file name and hash.
    pub shards: Vec<(String, Hash)>,
    /// What the user should know, such as leftovers that could not be removed.
    pub note: Option<String>,
}

/// Called before each operation on files; a test stops there as a kill would.
type Step<'a> = &'a mut dyn FnMut(&'static str) -> Result<(), WriteError>;

impl Transaction {
    /// Completes the result and moves it to the target.
    ///
    /// Fills `slots` in every header, writes the index and `fusion.json` (`record` and the hashes of all files; a
    /// single file has none beside it, so `record` is only used for folders), flushes everything to disk, and renames.
    /// A target that is replaced is swapped atomically (`renameat2` with `RENAME_EXCHANGE`) and removed afterwards.
    /// File systems without that get two renames; a kill between them is repaired by the next run on this target.
    ///
    /// # Errors
    /// A tensor or slot is missing, the target has appeared meanwhile, or the disk fails. The finished work stays for
    /// a resume, except that a full disk leaves nothing behind.
    pub fn commit(self, slots: &BTreeMap<String, Hash>, record: &Value) -> Result<Committed, WriteError> {
        self.commit_with(slots, record, true, &mut |_| Ok(()))
    }

    /// [`commit`](Self::commit) with the places where tests stop it, and without the atomic swap if not `exchange`.
    pub(super) fn commit_with(
        self,
        slots: &BTreeMap<String, Hash>,
        record: &Value,
        exchange: bool,
        step: Step<'_>,
    ) -> Result<Committed, WriteError> {
        match self.finish(slots, record, exchange, step) {
            Err(WriteError::DiskFull { path, needed, .. }) => {
                let _ = self.discard(); // the full disk is what to tell
                let free = super::space::free_or_zero(&path);
                Err(WriteError::DiskFull { path, needed, free })
            }
            other => other,
        }
    }

    fn finish(
        &self,
        slots: &BTreeMap<String, Hash>,
        record: &Value,
        exchange: bool,
        step: Step<'_>,
    ) -> Result<Committed, WriteError> {
        let hashes = self.complete(slots)?;
        let fresh = self.goal.fresh();
        let shards = self.write_headers(slots, &hashes, step)?;
        let mut names: Vec<String> = self.layout.shards.iter().map(|shard| shard.file.clone()).collect();
        names.extend(self.sidecars.keys().cloned());
        if !self.goal.single {
            names.extend(self.write_records(record, &hashes, &shards, step)?);
        }

        // The data must be on disk before the name is: after a power failure a renamed file could else be empty.
        step("flush")?;
        for file in &self.files {
            file.sync_all().place("flush", &fresh)?;
        }
        for name in names.iter().skip(self.files.len()) {
            let path = fresh.join(name);
            File::open(&path).and_then(|file| file.sync_all()).place("flush", &path)?;
        }
        flush_folder(&fresh)?;
        step("seal")?;
        self.journal.seal()?;
        flush_folder(&self.goal.part)?;
        if self.goal.single {
            self.move_file(step)?
        } else {
            self.move_folder(exchange, step)?
        }
        step("flush the parent")?;
        flush_folder(&self.goal.parent)?;
        step("remove")?;
        let note = self.remove_part().err().map(|error| format!("the result is complete, but {error}"));
        let path = self.goal.path.clone();
        let files = if self.goal.single {
            vec![path.clone()]
        } else {
            names.iter().map(|name| path.join(name)).collect()
        };
        Ok(Committed {
            path,
            files,
            bytes: self.layout.shards.iter().map(|shard| shard.bytes).sum(),
            shards,
            note,
        })
    }

    /// The hashes of all tensors, if nothing is missing.
    fn complete(&self, slots: &BTreeMap<String, Hash>) -> Result<Vec<Hash>, WriteError> {
        let total = self.layout.tensors.len();
        let done = self.done();
        if done.len() < total {
            let first = (0..total).find(|tensor| !done.contains_key(tensor)).unwrap_or(0);
            let first = self.layout.tensors[first].name.clone();
            return Err(WriteError::Unfinished { missing: total - done.len(), total, first });
        }
        if let Some(name) = self.layout.slots.iter().find(|name| !slots.contains_key(*name)) {
            return Err(WriteError::Slot { name: name.clone(), reason: "has no value" });
        }
        if let Some(name) = slots.keys().find(|name| !self.layout.slots.contains(name)) {
            return Err(WriteError::Slot { name: name.clone(), reason: "is not part of the layout" });
        }
        Ok(done.values().copied().collect())
    }

    fn write_headers(
        &self,
        slots: &BTreeMap<String, Hash>,
        hashes: &[Hash],
        step: Step<'_>,
    ) -> Result<Vec<(String, Hash)>, WriteError> {
        let mut values: BTreeMap<&str, String> =
            slots.iter().map(|(name, hash)| (name.as_str(), hex(hash))).collect();
        let mut shards = Vec::with_capacity(self.files.len());
        for (number, (shard, file)) in self.layout.shards.iter().zip(&self.files).enumerate() {
            let tensors: Vec<Hash> = shard.tensors.iter().map(|&tensor| hashes[tensor]).collect();
            values.insert(TENSORS_SLOT, hex(&combine(&tensors)));
            let header = shard.filled(&values);
            step("write a header")?;
            file.write_all_at(&header, 0).map_err(|error| {
                WriteError::io("write", &self.shard_path(number), header.len() as u64, error)
            })?;
            shards.push((shard.file.clone(), shard_hash(&header, &tensors)));
        }
        Ok(shards)
    }

    /// Writes the index, where one is due, and the record; returns their names.
    fn write_records(
        &self,
        record: &Value,
        hashes: &[Hash],
        shards: &[(String, Hash)],
        step: Step<'_>,
    ) -> Result<Vec<String>, WriteError> {
        let mut files: BTreeMap<&str, String> =
            self.sidecars.iter().map(|(name, hash)| (name.as_str(), hex(hash))).collect();
        let mut names = Vec::new();
        if let Some(index) = &self.layout.index {
            step("write the index")?;
            self.write_text(INDEX, index)?;
            files.insert(INDEX, hex(&hash_block(index.as_bytes())));
            names.push(INDEX.to_owned());
        }
        let shards: Vec<Value> = self
            .layout
            .shards
            .iter()
            .zip(shards)
            .map(|(shard, (_, hash))| {
                let tensors: serde_json::Map<String, Value> = shard
                    .tensors
                    .iter()
                    .map(|&tensor| (self.layout.tensors[tensor].name.clone(), hex(&hashes[tensor]).into()))
                    .collect();
                json!({ "file": shard.file, "bytes": shard.bytes, "hash": hex(hash), "tensors": tensors })
            })
            .collect();
        let text = json!({
            "fusion_record": 1,
            "tool": concat!("fusion ", env!("CARGO_PKG_VERSION")),
            "key": self.key,
            "record": record,
            "hashes": HASHES,
            "shards": shards,
            "files": files,
        });
        step("write the record")?;
        self.write_text(RECORD, &format!("{text:#}\n"))?;
        names.push(RECORD.to_owned());
        Ok(names)
    }

    fn write_text(&self, name: &str, text: &str) -> Result<(), WriteError> {
        let path = self.goal.fresh().join(name);
        fs::write(&path, text).map_err(|error| WriteError::io("write", &path, text.len() as u64, error))
    }

    fn move_folder(&self, exchange: bool, step: Step<'_>) -> Result<(), WriteError> {
        let (fresh, old, target) = (self.goal.fresh(), self.goal.old(), &self.goal.path);
        if !self.goal.occupied()? {
            step("rename")?;
            // Refuses a folder that has got files since the check.
            return fs::rename(&fresh, target).map_err(|error| self.appeared(error));
        }
        self.goal.check(self.overwrite)?;
        step("exchange")?;
        let swapped = if exchange {
            renameat_with(CWD, &fresh, CWD, target, RenameFlags::EXCHANGE)
        } else {
            Err(Errno::INVAL)
        };
        match swapped {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                step("set the old folder aside")?;
                fs::rename(target, &old).place("rename", target)?;
                step("rename")?;
                if let Err(error) = fs::rename(&fresh, target) {
                    fs::rename(&old, target).place("restore", target)?;
                    return Err(self.appeared(error));
                }
                Ok(())
            }
            other => other.place("replace", target),
        }
    }

    fn move_file(&self, step: Step<'_>) -> Result<(), WriteError> {
        let (fresh, target) = (self.shard_path(0), &self.goal.path);
        self.goal.check(self.overwrite)?;
        step("rename")?;
        if self.overwrite {
            return fs::rename(&fresh, target).place("replace", target);
        }
        match renameat_with(CWD, &fresh, CWD, target, RenameFlags::NOREPLACE) {
            // The check above is all there is on such file systems.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::rename(&fresh, target).place("rename", target)
            }
            other => other.map_err(|error| self.appeared(error.into())),
        }
    }

    fn appeared(&self, error: io::Error) -> WriteError {
        match error.kind() {
            io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory => WriteError::Exists { path: self.goal.path.clone() },
            _ => WriteError::io("rename to", &self.goal.path, 0, error),
        }
    }
}

/// The hash of a shard: BLAKE3 of its header (with length prefix and padding) and its tensors' hashes in data order.
pub(super) fn shard_hash(header: &[u8], tensors: &[Hash]) -> Hash {
    *blake3::Hasher::new().update(header).update(tensors.as_flattened()).finalize().as_bytes()
}

/// Makes the names in a folder durable, where the file system can.
fn flush_folder(folder: &Path) -> Result<(), WriteError> {
    match File::open(folder).and_then(|file| file.sync_all()) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        other => other.place("flush", folder),
    }
}
