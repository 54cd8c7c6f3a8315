//! The byte-exact plan of a result, so that every thread can write at its final offset from the start.
//!
//! Format: <https://github.com/huggingface/safetensors#format>: eight bytes of header length (little endian), the JSON
//! header padded with spaces so that data starts at a multiple of eight, then the data without gaps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::WriteError;
use crate::tensor::Dtype;

/// The longest header that the `safetensors` crate reads.
const MAX_HEADER: usize = 100_000_000;

/// Metadata entry that every shard gets: the BLAKE3 hash of its tensors' hashes in the order of their data.
///
/// So a single file can be verified without a `fusion.json` beside it.
pub const TENSORS_SLOT: &str = "fusion.tensors";

/// A tensor of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// Lengths of its axes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl OutTensor {
    /// Elements, or `None` beyond 64 bits.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, &axis| product.checked_mul(axis as u64))
    }

    /// Bytes of its data, or `None` beyond 64 bits.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.elements()?.checked_mul(self.dtype.size() as u64)
    }
}

/// Where a tensor's data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the shard.
    pub shard: usize,
    /// First byte in the shard's file, header included.
    pub offset: u64,
    /// Bytes of data.
    pub bytes: u64,
}

/// One file of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name in the folder.
    pub file: String,
    /// Length prefix, JSON and padding; slots hold zeros until commit.
    pub header: Vec<u8>,
    /// Length of the whole file.
    pub bytes: u64,
    /// Its tensors in the order of their data, as numbers of [`Layout::tensors`].
    pub tensors: Vec<usize>,
    /// Slots with the position of their 64 hex digits in `header`.
    slots: Vec<Slot>,
}

/// A slot's name and where its digits start in the header.
type Slot = (String, usize);

impl Shard {
    /// The header with the slots filled; the caller has checked that all have a value.
    pub(super) fn filled(&self, values: &BTreeMap<&str, String>) -> Vec<u8> {
        let mut header = self.header.clone();
        for (name, at) in &self.slots {
            if let Some(value) = values.get(name.as_str()) {
                header[*at..at + value.len()].copy_from_slice(value.as_bytes());
            }
        }
        header
    }
}

/// The plan of all files with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The tensors as given.
    pub tensors: Vec<OutTensor>,
    /// The files, in the order of their tensors.
    pub shards: Vec<Shard>,
    /// Per tensor: where its data goes.
    pub places: Vec<Place>,
    /// Bytes of all tensor data.
    pub total_bytes: u64,
    /// Elements of all tensors.
    pub total_parameters: u64,
    /// Text of `model.safetensors.index.json`, where there are several shards.
    pub index: Option<String>,
    /// Names of the metadata entries that commit fills.
    pub slots: Vec<String>,
}

/// Name of the index beside several shards.
pub(super) const INDEX: &str = "model.safetensors.index.json";

impl Layout {
    /// Bytes of all shards with their headers, and of the index.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let index = self.index.as_ref().map_or(0, String::len) as u64;
        self.shards.iter().map(|shard| shard.bytes).sum::<u64>() + index
    }

    /// BLAKE3 of names, headers and lengths: two layouts with one hash put every byte at the same place.
    pub(super) fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for shard in &self.shards {
            hasher.update(&(shard.file.len() as u64).to_le_bytes()).update(shard.file.as_bytes());
            hasher.update(&shard.header).update(&shard.bytes.to_le_bytes());
            for &tensor in &shard.tensors {
                hasher.update(&(tensor as u64).to_le_bytes());
            }
        }
        hasher.finalize()
    }
}

/// Plans shards, headers and offsets.
///
/// Shards are filled greedily in the given order with up to `shard_bytes` of data; a tensor is never split, and one
/// larger than a shard gets its own. Within a shard tensors keep their order except that wider element types come
/// first, which keeps every tensor aligned to its elements: torch refuses views at odd offsets.
/// One shard is `model.safetensors`; several are `model-00001-of-0000N.safetensors` with an index (written at commit).
///
/// Every header carries `metadata`, `format` = `pt` unless given (transformers insists on it), [`TENSORS_SLOT`], and
/// one entry per name in `slots` that [`Transaction::commit`](super::Transaction::commit) fills with 64 hex digits.
///
/// # Errors
/// Duplicate or reserved names, sizes beyond 63 bits, a header beyond 100 MB, `shard_bytes` of zero.
pub fn layout(
    tensors: &[OutTensor],
    shard_bytes: u64,
    metadata: &BTreeMap<String, String>,
    slots: &[String],
) -> Result<Layout, WriteError> {
    if shard_bytes == 0 {
        return Err(WriteError::ShardSize);
    }
    let (sizes, total_bytes, total_parameters) = sizes(tensors)?;
    let (entries, slots) = entries(metadata, slots)?;

    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0u64;
    for (number, &bytes) in sizes.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if bytes <= shard_bytes && filled + bytes <= shard_bytes => {
                group.push(number);
                filled += bytes;
            }
            _ => {
                groups.push(vec![number]);
                filled = bytes;
            }
        }
    }
    if groups.is_empty() {
        groups.push(Vec::new());
    }

    let count = groups.len();
    let mut places = vec![Place { shard: 0, offset: 0, bytes: 0 }; tensors.len()];
    let mut shards = Vec::with_capacity(count);
    for (number, mut group) in groups.into_iter().enumerate() {
        group.sort_by_key(|&tensor| std::cmp::Reverse(tensors[tensor].dtype.size()));
        let file = if count == 1 {
            "model.safetensors".to_owned()
        } else {
            format!("model-{:05}-of-{count:05}.safetensors", number + 1)
        };
        let (header, slots) = header(&file, tensors, &sizes, &group, &entries)?;
        let mut end = header.len() as u64;
        for &tensor in &group {
            places[tensor] = Place { shard: number, offset: end, bytes: sizes[tensor] };
            end += sizes[tensor];
        }
        shards.push(Shard { file, header, bytes: end, tensors: group, slots });
    }
    let index = (count > 1).then(|| index(tensors, &shards, &places, total_bytes, total_parameters));
    Ok(Layout { tensors: tensors.to_vec(), shards, places, total_bytes, total_parameters, index, slots })
}

fn sizes(tensors: &[OutTensor]) -> Result<(Vec<u64>, u64, u64), WriteError> {
    let mut names = BTreeSet::new();
    let mut sizes = Vec::with_capacity(tensors.len());
    let (mut total, mut parameters) = (0u64, 0u64);
    for tensor in tensors {
        if tensor.name == "__metadata__" {
            return Err(WriteError::TensorName { name: tensor.name.clone() });
        }
        if !names.insert(tensor.name.as_str()) {
            return Err(WriteError::DuplicateTensor { name: tensor.name.clone() });
        }
        let too_large = || WriteError::TooLarge { name: tensor.name.clone() };
        let bytes = tensor.bytes().ok_or_else(too_large)?;
        // Offsets in files are signed; the headers need room too.
        total = total.checked_add(bytes).filter(|&sum| sum <= i64::MAX as u64 / 2).ok_or_else(too_large)?;
        parameters += bytes / tensor.dtype.size() as u64;
        sizes.push(bytes);
    }
    Ok((sizes, total, parameters))
}

/// Metadata entries with their values, `None` for those filled at commit; and the names of the latter.
type Entries<'a> = BTreeMap<&'a str, Option<&'a str>>;

fn entries<'a>(
    metadata: &'a BTreeMap<String, String>,
    slots: &'a [String],
) -> Result<(Entries<'a>, Vec<String>), WriteError> {
    let mut entries: Entries<'_> =
        metadata.iter().map(|(name, value)| (name.as_str(), Some(value.as_str()))).collect();
    entries.entry("format").or_insert(Some("pt"));
    for slot in slots.iter().map(String::as_str).chain([TENSORS_SLOT]) {
        if entries.insert(slot, None).is_some() {
            return Err(WriteError::DuplicateMetadata { name: slot.to_owned() });
        }
    }
    Ok((entries, slots.to_vec()))
}

fn header(
    file: &str,
    tensors: &[OutTensor],
    sizes: &[u64],
    group: &[usize],
    entries: &Entries<'_>,
) -> Result<(Vec<u8>, Vec<Slot>), WriteError> {
    let mut text = String::from("{\"__metadata__\":{");
    let mut slots = Vec::new();
    for (number, (name, value)) in entries.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(*name).to_string());
        text.push(':');
        match value {
            Some(value) => text.push_str(&Value::from(*value).to_string()),
            None => {
                // Behind the length prefix and the opening quote.
                slots.push(((*name).to_owned(), 8 + text.len() + 1));
                text.push_str(&format!("\"{:064}\"", 0));
            }
        }
    }
    text.push('}');
    let mut end = 0u64;
    for &number in group {
        let tensor = &tensors[number];
        let start = end;
        end += sizes[number];
        text.push(',');
        text.push_str(&Value::from(tensor.name.as_str()).to_string());
        text.push(':');
        let info = json!({ "dtype": tensor.dtype.to_safetensors(), "shape": tensor.shape, "data_offsets": [start, end] });
        text.push_str(&info.to_string());
    }
    text.push('}');
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    if text.len() > MAX_HEADER {
        return Err(WriteError::HeaderTooLarge {
            file: file.to_owned(),
            bytes: text.len(),
            limit: MAX_HEADER,
        });
    }
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend_from_slice(text.as_bytes());
    Ok((header, slots))
}

fn index(
    tensors: &[OutTensor],
    shards: &[Shard],
    places: &[Place],
    total_bytes: u64,
    parameters: u64,
) -> String {
    let map: BTreeMap<&str, &str> = tensors
        .iter()
        .zip(places)
        .map(|(tensor, place)| (tensor.name.as_str(), shards[place.shard].file.as_str()))
        .collect();
    let index = json!({ "metadata": { "total_parameters": parameters, "total_size": total_bytes }, "weight_map": map });
    format!("{index:#}\n")
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    fn tensor(name: &str, dtype: Dtype, shape: &[usize]) -> OutTensor {
        OutTensor { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn headers_open_with_the_safetensors_crate() {
        let tensors = [
            tensor("b\"quoted\" ü", Dtype::BF16, &[3]),
            tensor("f8", Dtype::F8E4M3, &[5]),
            tensor("a", Dtype::F32, &[2, 2]),
            tensor("scalar", Dtype::I64, &[]),
            tensor("none", Dtype::F16, &[0, 7]),
        ];
        let metadata = BTreeMap::from([("fusion.recipe".to_owned(), "line\n\"two\"".to_owned())]);
        let plan = layout(&tensors, u64::MAX, &metadata, &["fusion.input.chat".to_owned()]).unwrap();
        assert_eq!(plan.shards.len(), 1);
        let shard = &plan.shards[0];
        assert_eq!(shard.file, "model.safetensors");
        assert_eq!(shard.header.len() % 8, 0);
        let values =
            BTreeMap::from([("fusion.input.chat", "ab".repeat(32)), (TENSORS_SLOT, "cd".repeat(32))]);
        let mut file = shard.filled(&values);
        file.resize(shard.bytes as usize, 0);
        for (number, place) in plan.places.iter().enumerate() {
            assert_eq!(place.offset % tensors[number].dtype.size() as u64, 0, "aligned");
            let start = place.offset as usize;
            file[start..start + place.bytes as usize].fill(number as u8 + 1);
        }
        let read = SafeTensors::deserialize(&file).unwrap();
        for (number, out) in tensors.iter().enumerate() {
            let view = read.tensor(&out.name).unwrap();
            assert_eq!((view.dtype(), view.shape()), (out.dtype.to_safetensors(), out.shape.as_slice()));
            assert!(view.data().iter().all(|&byte| byte == number as u8 + 1));
        }
        let (_, read) = SafeTensors::read_metadata(&file).unwrap();
        let read = read.metadata().clone().unwrap();
        assert_eq!(read["fusion.input.chat"], "ab".repeat(32));
        assert_eq!(read["fusion.tensors"], "cd".repeat(32));
        assert_eq!(read["fusion.recipe"], "line\n\"two\"");
        assert_eq!(read["format"], "pt");
        assert_eq!((plan.total_bytes, plan.total_parameters), (6 + 5 + 16 + 8, 3 + 5 + 4 + 1));
    }

    #[test]
    fn shards_are_greedy_and_never_split_a_tensor() {
        let sizes = [4usize, 4, 4, 40, 4, 4];
        let tensors: Vec<_> =
            sizes.iter().enumerate().map(|(i, &n)| tensor(&format!("t{i}"), Dtype::U8, &[n])).collect();
        let plan = layout(&tensors, 10, &BTreeMap::new(), &[]).unwrap();
        let groups: Vec<_> = plan.shards.iter().map(|shard| shard.tensors.clone()).collect();
        assert_eq!(groups, [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
        assert_eq!(plan.shards[1].file, "model-00002-of-00004.safetensors");
        let index: Value = serde_json::from_str(plan.index.as_ref().unwrap()).unwrap();
        assert_eq!(index["metadata"]["total_size"], 60);
        assert_eq!(index["metadata"]["total_parameters"], 60);
        assert_eq!(index["weight_map"]["t3"], "model-00003-of-00004.safetensors");
        assert_eq!(index["weight_map"].as_object().unwrap().len(), 6);
    }

    #[test]
    fn impossible_results_are_refused() {
        let none = BTreeMap::new();
        let two = [tensor("a", Dtype::U8, &[1]), tensor("a", Dtype::U8, &[1])];
        assert!(matches!(layout(&two, 10, &none, &[]), Err(WriteError::DuplicateTensor { .. })));
        assert!(matches!(layout(&two[..1], 0, &none, &[]), Err(WriteError::ShardSize)));
        let reserved = [tensor("__metadata__", Dtype::U8, &[1])];
        assert!(matches!(layout(&reserved, 10, &none, &[]), Err(WriteError::TensorName { .. })));
        let huge = [tensor("a", Dtype::F64, &[usize::MAX, 2])];
        assert!(matches!(layout(&huge, 10, &none, &[]), Err(WriteError::TooLarge { .. })));
        for slots in
            [vec!["x".to_owned(), "x".to_owned()], vec!["format".to_owned()], vec![TENSORS_SLOT.to_owned()]]
        {
            assert!(matches!(layout(&[], 10, &none, &slots), Err(WriteError::DuplicateMetadata { .. })));
        }
        assert_eq!(layout(&[], 10, &none, &[]).unwrap().shards.len(), 1);
    }
}
