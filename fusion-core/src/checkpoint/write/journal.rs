//! Remembers which tensors are on disk, so that an interrupted run can go on.
//!
//! One JSON object per line: first what the run writes, then `{"tensor": n, "hash": "…"}` per finished tensor, at last
//! `{"sealed": true}` just before the result moves to its place. A line is appended in one write without fsync: after a
//! power failure the next run trusts no line whose tensor does not have that hash.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::WriteError;
use super::error::Place;
use crate::checkpoint::blocks::{Hash, hex, parse_hex};

/// Name of the journal in the hidden folder.
pub(super) const JOURNAL: &str = "journal.jsonl";
const VERSION: u32 = 1;

/// What a run writes: only a run with an equal head may go on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    fusion_journal: u32,
    tool: String,
    pub(super) key: String,
    layout: String,
}

impl Head {
    pub(super) fn new(key: &str, layout: blake3::Hash) -> Self {
        let tool = env!("CARGO_PKG_VERSION").to_owned();
        Self { fusion_journal: VERSION, tool, key: key.to_owned(), layout: layout.to_hex().to_string() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Done { tensor: usize, hash: String },
    Sealed { sealed: bool },
}

/// What an earlier run left.
#[derive(Debug)]
pub(super) struct Found {
    /// `None`: the journal is of another version or damaged.
    pub(super) head: Option<Head>,
    pub(super) done: BTreeMap<usize, Hash>,
    /// The result was complete and about to move, or has moved.
    pub(super) sealed: bool,
}

/// Reads the journal at `path`; `None` if there is none. Reading ends at the first damaged or torn line.
pub(super) fn read(path: &Path) -> Result<Option<Found>, WriteError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.place("read", path)?,
    };
    let mut found = Found { head: None, done: BTreeMap::new(), sealed: false };
    let mut lines = text.split_inclusive(|&byte| byte == b'\n').map_while(|line| line.strip_suffix(b"\n"));
    found.head = lines.next().and_then(|line| serde_json::from_slice(line).ok());
    if found.head.is_some() {
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(Line::Done { tensor, hash }) => match parse_hex(&hash) {
                    Some(hash) => found.done.insert(tensor, hash),
                    None => break,
                },
                Ok(Line::Sealed { sealed }) => {
                    found.sealed |= sealed;
                    continue;
                }
                Err(_) => break,
            };
        }
    }
    Ok(Some(found))
}

/// The open journal of the current run.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Replaces the journal by one with the tensors that are known to be on disk.
    pub(super) fn create(path: &Path, head: &Head, done: &BTreeMap<usize, Hash>) -> Result<Self, WriteError> {
        let mut text = line(head)?;
        for (&tensor, hash) in done {
            text.push_str(&line(&Line::Done { tensor, hash: hex(hash) })?);
        }
        let fresh = path.with_extension("new");
        fs::write(&fresh, text).place("write", &fresh)?;
        fs::rename(&fresh, path).place("replace", path)?;
        let file = OpenOptions::new().append(true).open(path).place("open", path)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    pub(super) fn done(&self, tensor: usize, hash: &Hash) -> Result<(), WriteError> {
        self.append(&line(&Line::Done { tensor, hash: hex(hash) })?)
    }

    /// From here on the folder `new` may be the old target: it is only trusted if it proves to be the result.
    pub(super) fn seal(&self) -> Result<(), WriteError> {
        self.append(&line(&Line::Sealed { sealed: true })?)?;
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.sync_all().place("flush", &self.path)
    }

    fn append(&self, line: &str) -> Result<(), WriteError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
            .map_err(|error| WriteError::io("append to", &self.path, line.len() as u64, error))
    }
}

fn line(value: &impl Serialize) -> Result<String, WriteError> {
    let mut text =
        serde_json::to_string(value).map_err(io::Error::from).place("write", Path::new(JOURNAL))?;
    text.push('\n');
    Ok(text)
}
