//! Keys of stages and data sets: equal keys mean equal results, so what is in the store need not be computed again.

use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value as Json};

use crate::method::DeviceName;
use crate::plan::Options;

/// The key of a step: its content in the recipe, what it is made from, the device and the tool.
pub(crate) fn step_key(content: &[u8], made_from: &[String], options: &Options) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    hash.update(content);
    // The fused kernels are none that a network could run on: `cpu` is flex.
    let device = match options.device {
        DeviceName::Cpu => DeviceName::Flex,
        other => other,
    };
    hash.update(device.to_string().as_bytes());
    for part in made_from {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    hash.finalize().to_hex().to_string()
}

/// The key of a data set. Built-in sets are functions of their settings; files count by size and time.
pub(crate) fn data_key(source: &str, settings: &Map<String, Json>, facts: &fusion_data::Facts) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(source.as_bytes());
    hash.update(Json::Object(settings.clone()).to_string().as_bytes());
    for file in &facts.files {
        hash.update(file_key(file).unwrap_or_default().as_bytes());
    }
    hash.finalize().to_hex().to_string()
}

/// The key of a data set that is made of others, whose keys these are.
pub(crate) fn union_key(sets: &[&str], settings: &Map<String, Json>) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(b"union");
    for set in sets {
        hash.update(set.as_bytes());
        hash.update(&[0]);
    }
    hash.update(Json::Object(settings.clone()).to_string().as_bytes());
    hash.finalize().to_hex().to_string()
}

/// Name, size and time of a file, or of all files of a folder.
///
/// # Errors
/// The file system's.
pub(crate) fn file_key(path: &Path) -> std::io::Result<String> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        names.sort_by_key(std::fs::DirEntry::file_name);
        let inner: Vec<String> = names
            .iter()
            .filter(|entry| entry.path().is_file())
            .map(|entry| file_key(&entry.path()))
            .collect::<Result<_, _>>()?;
        return Ok(inner.join("\n"));
    }
    let modified = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(format!("{name} {} {modified}", meta.len()))
}
