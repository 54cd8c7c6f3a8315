//! Reads safetensors headers more strictly than the format's own crate: duplicates, overlaps and gaps are named.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. The crate's own validation runs as well.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::CheckpointError;
use super::error::AGAIN;
use super::source::{Blob, Found};
use crate::tensor::Dtype;

/// The format's own cap on the header, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// What one file's header says.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) tensors: Vec<Found>,
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// JSON object in file order, so that duplicate keys are seen.
struct RawHeader {
    entries: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
    duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor entries")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut entries: Vec<(String, Entry)> = Vec::new();
                let mut metadata = None;
                let mut seen = std::collections::HashSet::new();
                let mut duplicate = None;
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        duplicate.get_or_insert(name);
                        map.next_value::<IgnoredAny>()?;
                    } else if name == "__metadata__" {
                        metadata = Some(map.next_value::<BTreeMap<String, String>>()?);
                    } else {
                        let entry = map
                            .next_value::<Entry>()
                            .map_err(|error| de::Error::custom(format!("tensor `{name}`: {error}")))?;
                        entries.push((name, entry));
                    }
                }
                Ok(RawHeader { entries, metadata: metadata.unwrap_or_default(), duplicate })
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Reads the header of a whole file's bytes; the data is not touched.
pub(crate) fn read_header(path: &Path, bytes: &[u8]) -> Result<Header, CheckpointError> {
    let damaged = |offence: String| CheckpointError::malformed(path, offence, AGAIN);
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged(format!("it is {} bytes long, a safetensors file has at least 8", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(CheckpointError::Limit {
            path: path.to_owned(),
            what: format!("the safetensors header claims {length} bytes"),
            limit: format!("{MAX_HEADER} bytes"),
            fix: "the file is no safetensors file or was made to exhaust memory".to_owned(),
        });
    }
    let header = usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or_else(|| {
        damaged(format!("truncated: the header claims {length} bytes, {} follow its length", rest.len()))
    })?;
    let data_start = 8 + header.len();
    let data_len = (bytes.len() - data_start) as u64;
    let text = std::str::from_utf8(header)
        .map_err(|error| damaged(format!("the header is not UTF-8 from byte {}", 8 + error.valid_up_to())))?;
    let raw: RawHeader =
        serde_json::from_str(text).map_err(|error| damaged(format!("the header is not valid: {error}")))?;
    if let Some(name) = raw.duplicate {
        return Err(CheckpointError::of_tensor(path, name, "the header names it twice", AGAIN));
    }

    let mut entries = raw.entries;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut checked = Vec::with_capacity(entries.len());
    let mut tensors = Vec::with_capacity(entries.len());
    let mut end = 0;
    for (name, entry) in entries {
        let wrong = |offence: String| CheckpointError::of_tensor(path, name.as_str(), offence, AGAIN);
        let (start, stop) = entry.data_offsets;
        if stop < start {
            return Err(wrong(format!("its data ends at byte {stop}, before its start {start}")));
        }
        if stop > data_len {
            return Err(wrong(format!(
                "its data ends at byte {stop} of the data section, which holds {data_len}: the file is truncated or its \
                 offsets are wrong"
            )));
        }
        if start < end {
            return Err(wrong(format!(
                "its data starts at byte {start}, inside of the tensor before, which ends at {end}"
            )));
        }
        if start > end {
            return Err(wrong(format!("{} bytes before its data belong to no tensor", start - end)));
        }
        end = stop;
        let (dtype, native) = dtype_of(path, &name, &entry.dtype)?;
        let shape: Vec<usize> = entry
            .shape
            .iter()
            .map(|&n| usize::try_from(n))
            .collect::<Result<_, _>>()
            .map_err(|_| wrong(format!("its shape {:?} overflows", entry.shape)))?;
        let expected = shape
            .iter()
            .try_fold(dtype.size(), |product, &n| product.checked_mul(n))
            .ok_or_else(|| wrong(format!("its shape {shape:?} overflows")))?;
        if expected as u64 != stop - start {
            return Err(wrong(format!(
                "{dtype} of shape {shape:?} takes {expected} bytes, its offsets span {}",
                stop - start
            )));
        }
        // Both fit in usize: `stop` is within the map.
        let (start, stop) = (start as usize, stop as usize);
        checked.push((
            name.clone(),
            safetensors::tensor::TensorInfo {
                dtype: native,
                shape: shape.clone(),
                data_offsets: (start, stop),
            },
        ));
        tensors.push(Found {
            name,
            dtype,
            shape,
            blob: Blob::Mapped { offset: data_start + start, len: stop - start },
        });
    }
    if end != data_len {
        return Err(damaged(format!("{} bytes after the last tensor belong to none", data_len - end)));
    }
    safetensors::tensor::Metadata::new(None, checked).map_err(|error| damaged(error.to_string()))?;
    Ok(Header { tensors, metadata: raw.metadata })
}

fn dtype_of(path: &Path, name: &str, word: &str) -> Result<(Dtype, safetensors::Dtype), CheckpointError> {
    let native: safetensors::Dtype = serde_json::from_value(serde_json::Value::from(word)).map_err(|_| {
        CheckpointError::of_tensor(path, name, format!("its dtype `{word}` is unknown"), AGAIN)
    })?;
    match Dtype::from_safetensors(native) {
        Some(dtype) => Ok((dtype, native)),
        None => Err(CheckpointError::of_tensor(
            path,
            name,
            format!("dtype {word} cannot be merged"),
            "convert the model to bf16, f16 or f32 first",
        )),
    }
}
