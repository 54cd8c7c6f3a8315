//! Opens models of every common format as one thing: named tensors whose bytes are read when they are needed.
//!
//! [`Checkpoint::open`] reads headers only. Bytes stay in the page cache through memory maps; nothing is executed, nothing
//! is trusted, and every fault is a [`CheckpointError`] that names the file, the offence and the fix.

mod adapter;
pub mod blocks;
mod error;
mod folder;
mod gather;
mod index;
mod layout;
mod map;
mod open;
mod safetensors;
mod source;
mod torch;
pub mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

pub use adapter::{Adapter, Bound, LoraPair, LowRank};
pub use error::CheckpointError;
pub use layout::{Layout, Stack, Template, Tie, TieReason, Vocabulary, is_input_embedding, is_output_head};
pub use source::{Role, Skipped, SourceFile, TensorInfo};

use crate::tensor::Dtype;
use folder::Located;
pub(crate) use map::Map;
use source::Blob;

/// The format of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One safetensors file.
    Safetensors,
    /// Several safetensors files.
    SafetensorsSharded,
    /// One PyTorch zip archive.
    Torch,
    /// Several PyTorch zip archives.
    TorchSharded,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Safetensors => "safetensors",
            Self::SafetensorsSharded => "sharded safetensors",
            Self::Torch => "PyTorch archive",
            Self::TorchSharded => "sharded PyTorch archive",
        })
    }
}

/// A model on disk, opened lazily: headers are read and checked, tensors are mapped and read on demand.
///
/// Shared freely between threads.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    kind: Kind,
    files: Vec<SourceFile>,
    /// Maps of `files[..maps.len()]`: weight files come first.
    maps: Vec<Map>,
    tensors: Vec<TensorInfo>,
    blobs: Vec<Blob>,
    /// Copies of tensors that do not lie in their file as they are, made on first use.
    copies: Vec<OnceLock<Box<[u8]>>>,
    copying: Mutex<()>,
    config: Option<Value>,
    metadata: BTreeMap<String, String>,
    skipped: Vec<Skipped>,
    tokenizer: Vec<PathBuf>,
    companions: Vec<PathBuf>,
}

impl Checkpoint {
    /// Opens a safetensors file, a PyTorch archive, an index of shards, or a folder that holds one of them (the rule for
    /// folders: `model.safetensors[.index.json]` first, then other safetensors, then `pytorch_model.bin[.index.json]`,
    /// then other PyTorch files; two candidates of the same rank are an error).
    ///
    /// `config.json` and the tokenizer are those of the folder; a file named on its own has them when it is named
    /// `model.safetensors` or `pytorch_model.bin`, or is their index.
    ///
    /// # Errors
    /// Any [`CheckpointError`] but `Changed`.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        open::open(path, folder::resolve(path)?)
    }

    /// A model that is not there yet, of which the headers are known: the result of a stage that will be run. Plans are made
    /// with it; nothing can be read from it. Tensors are sorted by name, as in one that is opened.
    pub fn declared(name: &str, tensors: impl IntoIterator<Item = (String, Dtype, Vec<usize>)>) -> Self {
        let mut tensors: Vec<TensorInfo> = tensors
            .into_iter()
            .map(|(name, dtype, shape)| TensorInfo { name, dtype, shape, file: 0 })
            .collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Checkpoint {
            path: PathBuf::from(name),
            kind: Kind::Safetensors,
            files: Vec::new(),
            maps: Vec::new(),
            tensors,
            blobs: Vec::new(),
            copies: Vec::new(),
            copying: Mutex::new(()),
            config: None,
            metadata: BTreeMap::new(),
            skipped: Vec::new(),
            tokenizer: Vec::new(),
            companions: Vec::new(),
        }
    }

    /// Opens the one weight file of an adapter folder, whose folder rules differ.
    pub(crate) fn open_file(path: &Path) -> Result<Self, CheckpointError> {
        open::open(path, Located::File(path.to_owned()))
    }

    /// The path it was opened from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// All tensors, sorted by name (bytewise, so `layers.10` comes before `layers.2`).
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Position of the tensor with this name in [`Self::tensors`].
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()
    }

    /// The stored bytes of a tensor: little endian, row-major, with no promise on alignment.
    ///
    /// A slice of the memory map wherever the file holds the tensor as it is (see [`Self::is_mapped`]). A PyTorch tensor
    /// that is a transposed or strided view, or lies in a compressed archive entry, is copied into memory once, on first
    /// use, and kept; use [`Self::read`] to stay within a memory budget.
    ///
    /// # Errors
    /// Only for such copies: `Malformed` when the entry does not inflate to what it should, `Limit` when the copy would
    /// exceed 4 GiB.
    ///
    /// # Panics
    /// If `index` is not below the number of tensors.
    pub fn bytes(&self, index: usize) -> Result<&[u8], CheckpointError> {
        let info = &self.tensors[index];
        let map = &self.maps[info.file];
        if let Blob::Mapped { offset, len } = self.blobs[index] {
            return Ok(&map.bytes()[offset..offset + len]);
        }
        let cell = &self.copies[index];
        if cell.get().is_none() {
            // One at a time: two threads that want the same tensor must not hold two copies.
            let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
            if cell.get().is_none() {
                let copy = gather::copy(&self.files[info.file].path, map.bytes(), info, &self.blobs[index])?;
                let _ = cell.set(copy);
            }
        }
        Ok(cell.get().map_or(&[], |copy| copy))
    }

    /// Whether [`Self::bytes`] is a slice of the memory map, without a copy of our own.
    ///
    /// # Panics
    /// If `index` is not below the number of tensors.
    #[must_use]
    pub fn is_mapped(&self, index: usize) -> bool {
        matches!(self.blobs[index], Blob::Mapped { .. })
    }

    /// Copies the elements `range` (in row-major order) of a tensor into `out`, without keeping a copy of the tensor;
    /// only one in a compressed archive entry is kept as by [`Self::bytes`].
    ///
    /// # Errors
    /// As [`Self::bytes`].
    ///
    /// # Panics
    /// If the range is not within the tensor or `out` has not exactly its bytes.
    pub fn read(&self, index: usize, range: Range<usize>, out: &mut [u8]) -> Result<(), CheckpointError> {
        let info = &self.tensors[index];
        let size = info.dtype.size();
        assert!(
            range.start <= range.end && range.end <= info.len(),
            "range {range:?} outside of `{}`",
            info.name
        );
        assert_eq!(out.len(), range.len() * size, "output for {range:?} of `{}`", info.name);
        if let Blob::Strided { offset, len, start, strides } = &self.blobs[index] {
            let storage = &self.maps[info.file].bytes()[*offset..*offset + *len];
            gather::strided(storage, size, &info.shape, *start, strides, range.start, out);
        } else {
            out.copy_from_slice(&self.bytes(index)?[range.start * size..range.end * size]);
        }
        Ok(())
    }

    /// Asks the operating system to read the elements `range` of a tensor ahead. Best effort, returns at once.
    ///
    /// # Panics
    /// If `index` is not below the number of tensors.
    pub fn prefetch(&self, index: usize, range: Range<usize>) {
        let info = &self.tensors[index];
        if let Blob::Mapped { offset, len } = self.blobs[index] {
            let size = info.dtype.size();
            let start = range.start.saturating_mul(size).min(len);
            let end = range.end.saturating_mul(size).min(len);
            if start < end {
                self.maps[info.file].prefetch(offset + start, end - start);
            }
        }
    }

    /// `config.json` of the model, where it has one.
    #[must_use]
    pub fn config(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    /// Free text that the safetensors headers carry (`__metadata__`), later shards over earlier ones.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The files whose contents decide what this checkpoint is: weight files first, then the index, then `config.json`.
    /// Fingerprints were taken before the files were read.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Tokenizer files of the model's folder, sorted.
    #[must_use]
    pub fn tokenizer_files(&self) -> &[PathBuf] {
        &self.tokenizer
    }

    /// Other small files of the model's folder that a complete copy needs: `generation_config.json`, preprocessor
    /// settings, custom code, licences. Sorted.
    #[must_use]
    pub fn companion_files(&self) -> &[PathBuf] {
        &self.companions
    }

    /// Entries of a PyTorch state dict that hold no tensor and are left out.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Number of elements of all tensors; tensors that share storage count each.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.len() as u64).sum()
    }

    /// Groups of tensors that are the very same bytes of the same file (tied weights in a PyTorch file), as positions in
    /// [`Self::tensors`], each group and the list sorted.
    #[must_use]
    pub fn shared(&self) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, (info, blob)) in self.tensors.iter().zip(&self.blobs).enumerate() {
            if info.is_empty() {
                continue;
            }
            let key = match blob {
                Blob::Mapped { offset, len } => (0, *offset, *len, 0, &[][..]),
                Blob::Strided { offset, len, start, strides } => (1, *offset, *len, *start, &strides[..]),
                Blob::Deflated { entry, len, start, strides } => (2, *entry, *len, *start, &strides[..]),
            };
            groups.entry((info.file, key, info.dtype, &info.shape)).or_default().push(index);
        }
        let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() > 1).collect();
        groups.sort();
        groups
    }

    /// Layers, tied tensors, vocabulary axis and counts, inferred from the headers and `config.json`.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(&self.tensors, self.config.as_ref(), &self.shared())
    }

    /// Whether every file still has the size, time and identity it had when it was opened.
    ///
    /// # Errors
    /// `Changed` for the first file that has not, `Io` if one is gone.
    pub fn verify_unchanged(&self) -> Result<(), CheckpointError> {
        for file in &self.files {
            let now = SourceFile::of(&file.path, file.role)?;
            let offence = if now.size != file.size {
                format!("{} bytes, now {}", file.size, now.size)
            } else if (now.inode, now.device) != (file.inode, file.device) {
                "it was replaced".to_owned()
            } else if now.modified != file.modified {
                "it was written to".to_owned()
            } else {
                continue;
            };
            return Err(CheckpointError::Changed { path: file.path.clone(), offence });
        }
        Ok(())
    }
}

const _: fn() = || {
    fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Checkpoint>();
};
