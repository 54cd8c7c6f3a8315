//! Where a tensor's bytes lie, and which files they came from, kept apart from how each format says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::CheckpointError;
use crate::tensor::Dtype;

/// What a header says about one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the state dict, for example `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// Its extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Index into [`super::Checkpoint::files`] of the file that holds it.
    pub file: usize,
}

impl TensorInfo {
    /// Number of elements: the product of the extents, 1 for a scalar. Never overflows; readers check.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element, as for shape `[0, 4]`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes: elements times element size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.size()
    }
}

/// What a file is to a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Holds tensors.
    Weights,
    /// Says which shard holds which tensor.
    Index,
    /// `config.json` or `adapter_config.json`.
    Config,
}

/// One file of a checkpoint with its fingerprint, from which caches tell whether it changed without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for.
    pub role: Role,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written, as far as the file system says.
    pub modified: Option<SystemTime>,
    /// Inode number; 0 where the system has none.
    pub inode: u64,
    /// Device number; 0 where the system has none.
    pub device: u64,
}

impl SourceFile {
    /// Takes the fingerprint of a file, following links.
    pub(crate) fn of(path: &Path, role: Role) -> Result<Self, CheckpointError> {
        let metadata = fs::metadata(path).map_err(CheckpointError::io(path, "open"))?;
        if !metadata.is_file() {
            return Err(CheckpointError::malformed(
                path,
                "it is not a regular file",
                "name the model's file or folder",
            ));
        }
        let (inode, device) = identity(&metadata);
        Ok(Self {
            path: path.to_owned(),
            role,
            size: metadata.len(),
            modified: metadata.modified().ok(),
            inode,
            device,
        })
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ino(), metadata.dev())
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

/// Where one tensor's bytes lie within its file. Every range was checked against the file when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blob {
    /// As they are, row-major.
    Mapped { offset: usize, len: usize },
    /// Scattered over an uncompressed storage (`start` and `strides` in elements); gathered on demand.
    Strided { offset: usize, len: usize, start: usize, strides: Vec<usize> },
    /// In a compressed archive entry (`start` and `strides` in elements); inflated and gathered on demand.
    Deflated { entry: usize, len: usize, start: usize, strides: Vec<usize> },
}

/// A tensor as a format's reader found it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) blob: Blob,
}

/// A state dict entry that holds no tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its key.
    pub name: String,
    /// What it is, for example `int` or `argparse.Namespace`.
    pub what: String,
}
