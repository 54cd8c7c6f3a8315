//! The zip around a PyTorch file: finds its pickle and storages, and where each tensor's bytes lie.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::super::CheckpointError;
use super::super::error::AGAIN;
use super::super::source::{Blob, Found};
use super::value::{Arena, Tensor};

/// The largest pickle, in bytes: names and shapes of a 400B model take about 1 MB.
const MAX_PICKLE: usize = 64 << 20;
/// The largest compressed storage, in bytes (PyTorch itself never compresses).
const MAX_INFLATED: usize = 4 << 30;

#[derive(Debug, Clone, Copy)]
struct Entry {
    index: usize,
    offset: usize,
    size: usize,
    stored: bool,
}

/// The directory of one archive.
pub(super) struct Archive<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    entries: HashMap<String, Entry>,
    /// What all names start with: `archive/`.
    prefix: String,
}

impl<'a> Archive<'a> {
    pub(super) fn open(path: &'a Path, bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let damaged = |offence: String| CheckpointError::malformed(path, offence, AGAIN);
        let mut zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| damaged(format!("its zip directory cannot be read (truncated?): {error}")))?;
        if zip.has_duplicate_names() {
            return Err(damaged("its zip directory names an entry twice".to_owned()));
        }
        let mut entries = HashMap::new();
        for index in 0..zip.len() {
            let file = zip
                .by_index_raw(index)
                .map_err(|error| damaged(format!("zip entry {index} cannot be read: {error}")))?;
            let name = file
                .name()
                .map_err(|error| damaged(format!("zip entry {index} has no valid name: {error}")))?;
            let name = name.into_owned();
            if file.encrypted() {
                return Err(CheckpointError::unsupported(
                    path,
                    format!("zip entry `{name}` is encrypted"),
                    "decrypt it first",
                ));
            }
            let stored = match file.compression() {
                CompressionMethod::Stored => true,
                CompressionMethod::Deflated => false,
                other => {
                    return Err(CheckpointError::unsupported(
                        path,
                        format!("zip entry `{name}` is compressed with {other}"),
                        "save the model again with `torch.save`, which does not compress",
                    ));
                }
            };
            let range = file.data_start().and_then(|start| {
                let end = usize::try_from(start.checked_add(file.compressed_size())?).ok()?;
                (end <= bytes.len()).then_some((start as usize, usize::try_from(file.size()).ok()?))
            });
            let Some((offset, size)) = range else {
                return Err(damaged(format!("zip entry `{name}` ends after the file: truncated")));
            };
            if stored && file.size() != file.compressed_size() {
                return Err(damaged(format!("zip entry `{name}` is not compressed but has two sizes")));
            }
            entries.insert(name, Entry { index, offset, size, stored });
        }
        let mut pickles = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
        let prefix = match (pickles.next(), pickles.next()) {
            (Some(prefix), None) => prefix.to_owned(),
            (None, _) => {
                return Err(CheckpointError::unsupported(
                    path,
                    "it is a zip archive without a `data.pkl`, so not one of PyTorch's",
                    "name a safetensors or PyTorch file",
                ));
            }
            (Some(_), Some(_)) => return Err(damaged("it holds more than one `data.pkl`".to_owned())),
        };
        let archive = Self { path, bytes, entries, prefix };
        archive.check_kind()?;
        Ok(archive)
    }

    fn check_kind(&self) -> Result<(), CheckpointError> {
        if self.entries.contains_key(&format!("{}constants.pkl", self.prefix)) {
            return Err(CheckpointError::unsupported(
                self.path,
                "it is a TorchScript program",
                "load it with `torch.jit.load` and save its `state_dict()`",
            ));
        }
        if let Some(&entry) = self.entries.get(&format!("{}byteorder", self.prefix)) {
            let order = self.small(entry, 16)?;
            if order.trim_ascii() != b"little" {
                return Err(CheckpointError::unsupported(
                    self.path,
                    format!("its byte order is `{}`", String::from_utf8_lossy(order.trim_ascii())),
                    "save it again on a little-endian machine",
                ));
            }
        }
        Ok(())
    }

    fn small(&self, entry: Entry, limit: usize) -> Result<Vec<u8>, CheckpointError> {
        if entry.size > limit {
            return Err(CheckpointError::Limit {
                path: self.path.to_owned(),
                what: format!("an entry of {} bytes that should be small", entry.size),
                limit: format!("{limit} bytes"),
                fix: "no model needs as much; save only its `state_dict()`".to_owned(),
            });
        }
        inflate(self.path, self.bytes, entry.index, entry.size)
    }

    /// The pickle, with its checksum verified.
    pub(super) fn pickle(&self) -> Result<Vec<u8>, CheckpointError> {
        let entry = self.entries[&format!("{}data.pkl", self.prefix)];
        self.small(entry, MAX_PICKLE)
    }

    /// Checks a tensor against its storage and tells where its bytes are.
    pub(super) fn locate(
        &self,
        name: String,
        arena: &Arena,
        tensor: &Tensor,
    ) -> Result<Found, CheckpointError> {
        let wrong =
            |offence: String, fix: &str| CheckpointError::of_tensor(self.path, name.as_str(), offence, fix);
        let convert = "convert the tensor to a plain float or integer type in PyTorch and save again";
        let dtype = tensor.dtype.map_err(|global| {
            wrong(format!("its type `{}` cannot be merged", arena.describe(global)), convert)
        })?;
        let storage = &tensor.storage;
        let element = storage.dtype.map_or(1, crate::tensor::Dtype::size);
        let key = arena.str(storage.key).unwrap_or_default();
        let entry = self
            .entries
            .get(&format!("{}data/{key}", self.prefix))
            .ok_or_else(|| wrong(format!("its storage `data/{key}` is not in the archive"), AGAIN))?;
        let declared = storage.elements.checked_mul(element as u64);
        if storage.dtype.is_ok() && declared != Some(entry.size as u64) {
            return Err(wrong(
                format!(
                    "its storage should have {} elements of {element} bytes, the archive holds {} bytes",
                    storage.elements, entry.size
                ),
                AGAIN,
            ));
        }
        let overflow = || {
            wrong(format!("its shape {:?} with strides {:?} overflows", tensor.shape, tensor.strides), AGAIN)
        };
        let shape: Vec<usize> = tensor
            .shape
            .iter()
            .map(|&n| usize::try_from(n))
            .collect::<Result<_, _>>()
            .map_err(|_| overflow())?;
        let size = dtype.size();
        let total = shape.iter().try_fold(size, |product, &n| product.checked_mul(n)).ok_or_else(overflow)?;
        if total > isize::MAX as usize {
            return Err(overflow());
        }
        if total == 0 {
            return Ok(Found { name, dtype, shape, blob: Blob::Mapped { offset: entry.offset, len: 0 } });
        }
        // An axis of extent 1 is never walked, so its stride says nothing.
        let strides: Vec<usize> = tensor
            .strides
            .iter()
            .zip(&shape)
            .map(|(&stride, &extent)| if extent > 1 { usize::try_from(stride) } else { Ok(0) })
            .collect::<Result<_, _>>()
            .map_err(|_| overflow())?;
        let start = usize::try_from(tensor.offset).map_err(|_| overflow())?;
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(start, |last, (&extent, &stride)| last.checked_add((extent - 1).checked_mul(stride)?))
            .ok_or_else(overflow)?;
        let end = last.checked_add(1).and_then(|count| count.checked_mul(size)).ok_or_else(overflow)?;
        if end > entry.size {
            return Err(wrong(
                format!("it reaches to byte {end} of a storage of {} bytes", entry.size),
                AGAIN,
            ));
        }
        let mut expected = 1;
        let contiguous = shape.iter().zip(&strides).rev().all(|(&extent, &stride)| {
            let fits = extent == 1 || stride == expected;
            expected *= extent;
            fits
        });
        let blob = match (entry.stored, contiguous) {
            (true, true) => Blob::Mapped { offset: entry.offset + start * size, len: total },
            (true, false) => Blob::Strided { offset: entry.offset, len: entry.size, start, strides },
            (false, _) => {
                // Row-major strides were zeroed on axes of extent 1, which gathering never walks.
                Blob::Deflated { entry: entry.index, len: entry.size, start, strides }
            }
        };
        Ok(Found { name, dtype, shape, blob })
    }
}

/// Reads a whole entry of exactly `len` bytes and verifies its checksum. Memory grows with what really inflates, so an
/// entry that claims too much costs nothing, and one that inflates to more than it claims is cut off.
pub(crate) fn inflate(
    path: &Path,
    bytes: &[u8],
    index: usize,
    len: usize,
) -> Result<Vec<u8>, CheckpointError> {
    let damaged = |offence: String| CheckpointError::malformed(path, offence, AGAIN);
    if len > MAX_INFLATED {
        return Err(CheckpointError::Limit {
            path: path.to_owned(),
            what: format!("a compressed entry of {len} bytes"),
            limit: format!("{MAX_INFLATED} bytes"),
            fix: "save the model again with `torch.save`, which does not compress".to_owned(),
        });
    }
    let mut zip = ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| damaged(format!("its zip directory cannot be read: {error}")))?;
    let file =
        zip.by_index(index).map_err(|error| damaged(format!("zip entry {index} cannot be read: {error}")))?;
    let mut out = Vec::new();
    file.take(len as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| damaged(format!("zip entry {index} does not decompress: {error}")))?;
    if out.len() == len {
        Ok(out)
    } else {
        let how = if out.len() > len { "more" } else { "less" };
        Err(damaged(format!("zip entry {index} decompresses to {how} than the {len} bytes it claims")))
    }
}
