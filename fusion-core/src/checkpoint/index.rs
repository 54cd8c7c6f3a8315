//! Reads the index of a sharded model, which is trusted for nothing: every name in it is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::CheckpointError;
use super::error::AGAIN;

/// The largest index or configuration that is read, in bytes (Llama 3.1 405B's index is 0.1 MB).
const MAX_JSON: u64 = 256 << 20;

/// Which shard holds which tensor.
#[derive(Debug)]
pub(crate) struct Index {
    /// Shard paths, sorted by file name.
    pub(crate) shards: Vec<PathBuf>,
    /// Tensor name to position in `shards`.
    pub(crate) tensors: BTreeMap<String, usize>,
}

struct WeightMap {
    entries: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor;
        impl<'de> Visitor<'de> for MapVisitor {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from tensor names to shard names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(WeightMap { entries })
            }
        }
        deserializer.deserialize_map(MapVisitor)
    }
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: WeightMap,
}

/// Reads a small JSON file whole.
pub(crate) fn read_text(path: &Path) -> Result<String, CheckpointError> {
    let size = fs::metadata(path).map_err(CheckpointError::io(path, "open"))?.len();
    if size > MAX_JSON {
        return Err(CheckpointError::Limit {
            path: path.to_owned(),
            what: format!("a JSON file of {size} bytes"),
            limit: format!("{MAX_JSON} bytes"),
            fix: AGAIN.to_owned(),
        });
    }
    let bytes = fs::read(path).map_err(CheckpointError::io(path, "read"))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        CheckpointError::malformed(path, format!("it is not UTF-8 from byte {at}"), AGAIN)
    })
}

/// Reads a JSON object such as `config.json`.
pub(crate) fn read_object(path: &Path) -> Result<Value, CheckpointError> {
    let text = read_text(path)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| CheckpointError::malformed(path, format!("it is not valid JSON: {error}"), AGAIN))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(CheckpointError::malformed(path, "it is not a JSON object", AGAIN))
    }
}

/// Reads `*.index.json` and checks that every shard is a plain name of an existing file in the same folder.
pub(crate) fn read_index(path: &Path) -> Result<Index, CheckpointError> {
    let text = read_text(path)?;
    let raw: RawIndex = serde_json::from_str(&text).map_err(|error| {
        CheckpointError::malformed(path, format!("it is not a shard index: {error}"), AGAIN)
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let names: BTreeSet<&str> = raw.weight_map.entries.iter().map(|(_, shard)| shard.as_str()).collect();
    if names.is_empty() {
        return Err(CheckpointError::malformed(path, "it names no tensor", AGAIN));
    }
    let mut missing = Vec::new();
    for &name in &names {
        let relative = Path::new(name);
        let inside =
            !name.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(CheckpointError::malformed(
                path,
                format!("it names the shard `{name}`, which is outside of the model's folder"),
                "a shard is named relative to the index and never with `..`; get the model from a source you trust",
            ));
        }
        if !folder.join(relative).is_file() {
            missing.push(name);
        }
    }
    if let Some(first) = missing.first() {
        let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
        return Err(CheckpointError::malformed(
            path,
            format!(
                "the shard `{first}`{more} that it names is not there ({} of {} found)",
                names.len() - missing.len(),
                names.len()
            ),
            "finish the download, or delete the index if it is a leftover",
        ));
    }
    let position: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, &name)| (name, i)).collect();
    let mut tensors = BTreeMap::new();
    for (tensor, shard) in &raw.weight_map.entries {
        if tensors.insert(tensor.clone(), position[shard.as_str()]).is_some() {
            return Err(CheckpointError::of_tensor(path, tensor.as_str(), "the index names it twice", AGAIN));
        }
    }
    Ok(Index { shards: names.into_iter().map(|name| folder.join(name)).collect(), tensors })
}
