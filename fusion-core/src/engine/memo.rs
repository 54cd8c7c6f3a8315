//! Content hashes remembered between runs: hashing an input costs about as much as merging it, and most inputs are merged
//! many times.
//!
//! One file per input in the cache folder, named by the hash of the input's path and its files' fingerprints (size, modification
//! time, inode), with a hash per tensor. An input that was written to in the last two seconds is not remembered: its time stamp could
//! stay the same through another write. What cannot be read or written is simply hashed again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::context::Context;
use crate::plan::ir::Source;

/// Time stamps younger than this may hide a later write.
const YOUNG: Duration = Duration::from_secs(2);

fn file_of(cache: &Path, source: &Source) -> PathBuf {
    let mut hash = blake3::Hasher::new();
    for file in source.checkpoint.files() {
        let path = fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone());
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(
            format!("\0{}\0{:?}\0{}\0{}\0", file.size, file.modified, file.inode, file.device).as_bytes(),
        );
    }
    cache.join("hashes").join(format!("{}.json", hash.finalize().to_hex()))
}

/// Takes over what is remembered of the inputs.
pub(super) fn load(context: &Context<'_>, cache: &Path) {
    for (index, source) in context.program.sources.iter().enumerate() {
        let Ok(text) = fs::read(file_of(cache, source)) else { continue };
        let Ok(known) = serde_json::from_slice::<BTreeMap<String, String>>(&text) else { continue };
        for (tensor, info) in source.checkpoint.tensors().iter().enumerate() {
            let hash = known.get(&info.name).and_then(|hex| blake3::Hash::from_hex(hex).ok());
            if let Some(hash) = hash {
                context.set_hash(index, tensor, *hash.as_bytes());
            }
        }
    }
}

/// Remembers what is known of the inputs now.
pub(super) fn save(context: &Context<'_>, cache: &Path) {
    for (index, source) in context.program.sources.iter().enumerate() {
        let young = source.checkpoint.files().iter().any(|file| {
            let age = file.modified.and_then(|time| SystemTime::now().duration_since(time).ok());
            age.is_none_or(|age| age < YOUNG)
        });
        let known: BTreeMap<&str, String> = source
            .checkpoint
            .tensors()
            .iter()
            .enumerate()
            .filter_map(|(tensor, info)| {
                let hash = context.hashed(index, tensor)?;
                Some((info.name.as_str(), blake3::Hash::from_bytes(hash).to_hex().to_string()))
            })
            .collect();
        if young || known.is_empty() {
            continue;
        }
        let target = file_of(cache, source);
        let Some(folder) = target.parent() else { continue };
        let Ok(bytes) = serde_json::to_vec(&known) else { continue };
        // Written beside and renamed, so that a reader never sees half of it.
        let beside = folder.join(format!("{}.tmp", std::process::id()));
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&beside, bytes));
        if written.and_then(|()| fs::rename(&beside, &target)).is_err() {
            let _ = fs::remove_file(&beside);
        }
    }
}
