//! Checks a result against the hashes it was written with, because disks and copies lie in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde_json::Value;

use super::commit::shard_hash;
use super::{RECORD, TENSORS_SLOT};
use crate::checkpoint::blocks::{Hash, combine, hash_block, hash_file, hex, parse_hex};
use crate::tensor::Dtype;

/// The longest header that is read.
const MAX_HEADER: u64 = 100_000_000;

/// What [`verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files with weights that were checked.
    pub shards: usize,
    /// Tensors that were hashed.
    pub tensors: usize,
    /// Bytes of tensor data that were hashed.
    pub bytes: u64,
    /// What is wrong with the weights.
    pub damage: Vec<Damage>,
    /// Files beside the weights (`config.json`, …) that were edited or removed since; harmless where it was meant.
    pub changed_files: Vec<String>,
}

impl VerifyReport {
    /// Whether the weights are those that were written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.damage.is_empty()
    }
}

/// One fault in the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The tensor, where the fault is in one.
    pub tensor: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// There is nothing to check against, or it cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The path holds no result of fusion.
    #[error("`{}` cannot be verified: {reason}", path.display())]
    NoRecord {
        /// The folder or file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Reading failed.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

#[derive(Deserialize)]
struct Record {
    fusion_record: u32,
    shards: Vec<ShardRecord>,
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ShardRecord {
    file: String,
    bytes: u64,
    hash: String,
    tensors: BTreeMap<String, String>,
}

/// Hashes a written folder again and compares with its `fusion.json`; a single file with its own metadata.
///
/// Reads every byte of the weights, in parallel on the current rayon pool, with one block of memory per thread.
///
/// # Errors
/// The path was not written by fusion, or cannot be read. Damage is not an error but part of the report.
pub fn verify(path: &Path) -> Result<VerifyReport, VerifyError> {
    let mut report = VerifyReport::default();
    if path.is_dir() {
        folder(path, &mut report)?
    } else {
        single(path, &mut report)?
    }
    Ok(report)
}

fn folder(path: &Path, report: &mut VerifyReport) -> Result<(), VerifyError> {
    let no_record = |reason: String| VerifyError::NoRecord { path: path.to_owned(), reason };
    let record_path = path.join(RECORD);
    let text = match fs::read(&record_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(no_record(format!("it has no `{RECORD}`, so fusion did not write it")));
        }
        other => other.map_err(|source| VerifyError::Io { path: record_path.clone(), source })?,
    };
    let record: Record = serde_json::from_slice(&text)
        .map_err(|error| no_record(format!("`{RECORD}` is damaged: {error}")))?;
    if record.fusion_record != 1 {
        return Err(no_record(format!(
            "`{RECORD}` has version {}, this fusion reads 1",
            record.fusion_record
        )));
    }
    let names = record.shards.iter().map(|shard| &shard.file).chain(record.files.keys());
    if let Some(name) = names.clone().find(|name| name.contains('/') || *name == "..") {
        return Err(no_record(format!("`{RECORD}` names `{name}`, which is outside of the folder")));
    }
    let known: BTreeSet<&str> = names.map(String::as_str).collect();
    for shard in &record.shards {
        check_shard(path, shard, report)?;
    }
    for (name, hash) in &record.files {
        let intact = fs::read(path.join(name)).is_ok_and(|bytes| hex(&hash_block(&bytes)) == *hash);
        if !intact {
            report.changed_files.push(name.clone());
        }
    }
    let io = |source| VerifyError::Io { path: path.to_owned(), source };
    let mut strangers = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") && !known.contains(name.as_str()) {
            strangers.push(name);
        }
    }
    strangers.sort();
    for file in strangers {
        report.damage.push(Damage { file, tensor: None, what: "is not part of the result".to_owned() });
    }
    Ok(())
}

fn check_shard(folder: &Path, shard: &ShardRecord, report: &mut VerifyReport) -> Result<(), VerifyError> {
    report.shards += 1;
    let path = folder.join(&shard.file);
    let mut damage = Vec::new();
    let mut add = |tensor: Option<&str>, what: String| {
        damage.push(Damage { file: shard.file.clone(), tensor: tensor.map(str::to_owned), what });
    };
    match open(&path)? {
        Err(what) => add(None, what),
        Ok(opened) if opened.length != shard.bytes => {
            add(None, format!("has {} bytes instead of {}", opened.length, shard.bytes));
        }
        Ok(opened) => {
            let mut hashes = Vec::with_capacity(opened.tensors.len());
            for tensor in &opened.tensors {
                let hash = opened.hash(tensor, &path, report)?;
                match shard.tensors.get(&tensor.name) {
                    Some(expected) if *expected == hex(&hash) => {}
                    Some(_) => add(Some(&tensor.name), "its bytes have changed".to_owned()),
                    None => add(Some(&tensor.name), "is not part of the result".to_owned()),
                }
                hashes.push(hash);
            }
            for name in shard.tensors.keys() {
                if !opened.tensors.iter().any(|tensor| tensor.name == *name) {
                    add(Some(name), "is missing".to_owned());
                }
            }
            if damage.is_empty() && hex(&shard_hash(&opened.header, &hashes)) != shard.hash {
                let what = "its header has changed".to_owned();
                damage.push(Damage { file: shard.file.clone(), tensor: None, what });
            }
        }
    }
    report.damage.append(&mut damage);
    Ok(())
}

fn single(path: &Path, report: &mut VerifyReport) -> Result<(), VerifyError> {
    report.shards = 1;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let opened = match open(path)? {
        Ok(opened) => opened,
        Err(what) => {
            report.damage.push(Damage { file, tensor: None, what });
            return Ok(());
        }
    };
    let Some(expected) = opened.expected else {
        let reason = format!("its metadata has no `{TENSORS_SLOT}`, so fusion did not write it");
        return Err(VerifyError::NoRecord { path: path.to_owned(), reason });
    };
    let mut hashes = Vec::with_capacity(opened.tensors.len());
    for tensor in &opened.tensors {
        hashes.push(opened.hash(tensor, path, report)?);
    }
    if combine(&hashes) != expected {
        report.damage.push(Damage {
            file,
            tensor: None,
            what: "the bytes of its tensors have changed".to_owned(),
        });
    }
    Ok(())
}

/// A shard with its checked header.
struct Opened {
    file: File,
    length: u64,
    header: Vec<u8>,
    /// In the order of their data.
    tensors: Vec<Stored>,
    /// The value of [`TENSORS_SLOT`].
    expected: Option<Hash>,
}

struct Stored {
    name: String,
    dtype: Dtype,
    start: u64,
    bytes: u64,
}

impl Opened {
    fn hash(&self, tensor: &Stored, path: &Path, report: &mut VerifyReport) -> Result<Hash, VerifyError> {
        report.tensors += 1;
        report.bytes += tensor.bytes;
        hash_file(&self.file, tensor.start, tensor.bytes, tensor.dtype)
            .map_err(|source| VerifyError::Io { path: path.to_owned(), source })
    }
}

/// Reads a shard's header; the inner error says what is wrong with the file.
fn open(path: &Path) -> Result<Result<Opened, String>, VerifyError> {
    let io = |source| VerifyError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err("is missing".to_owned())),
        other => other.map_err(io)?,
    };
    let length = file.metadata().map_err(io)?.len();
    let mut prefix = [0; 8];
    if length < 8 {
        return Ok(Err("is too short for a header".to_owned()));
    }
    file.read_exact_at(&mut prefix, 0).map_err(io)?;
    let text = u64::from_le_bytes(prefix);
    if text > MAX_HEADER || text > length - 8 {
        return Ok(Err(format!("has an impossible header length of {text} bytes")));
    }
    let mut header = vec![0; 8 + text as usize];
    file.read_exact_at(&mut header, 0).map_err(io)?;
    Ok(parse(&header[8..], length - 8 - text).map(|(tensors, expected)| {
        let start = header.len() as u64;
        let tensors =
            tensors.into_iter().map(|tensor| Stored { start: start + tensor.start, ..tensor }).collect();
        Opened { file, length, header, tensors, expected }
    }))
}

/// Tensors with offsets counted from the data's start, in that order, and the value of [`TENSORS_SLOT`].
fn parse(text: &[u8], data: u64) -> Result<(Vec<Stored>, Option<Hash>), String> {
    let header: BTreeMap<String, Value> =
        serde_json::from_slice(text).map_err(|error| format!("its header is damaged: {error}"))?;
    let mut tensors = Vec::with_capacity(header.len());
    let mut expected = None;
    for (name, value) in header {
        if name == "__metadata__" {
            expected = value[TENSORS_SLOT].as_str().and_then(parse_hex);
            continue;
        }
        let info: TensorInfo = serde_json::from_value(value)
            .map_err(|error| format!("its header is damaged at tensor `{name}`: {error}"))?;
        let dtype = Dtype::from_safetensors(info.dtype)
            .ok_or_else(|| format!("tensor `{name}` has a dtype that fusion does not write"))?;
        let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        if start > end || end > data {
            return Err(format!("tensor `{name}` lies outside of the file"));
        }
        tensors.push(Stored { name, dtype, start, bytes: end - start });
    }
    // Tensors without elements share their start with the next one.
    tensors.sort_by_key(|tensor| (tensor.start, tensor.bytes));
    Ok((tensors, expected))
}
