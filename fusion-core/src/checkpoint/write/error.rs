//! What can go wrong while a result is written, each kind with the place and the fix.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A result could not be written; whatever the target held before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Stopped while an earlier run's work was looked through; it is kept.
    #[error("stopped; what is finished is kept")]
    Cancelled,
    /// The target holds something and replacing it was not asked for.
    #[error("`{}` exists: choose another place, or replace it as a whole with `--overwrite`", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// A folder is due, and something else has its place.
    #[error("`{}` is not a folder: a sharded checkpoint is saved to a folder, one file to a path that ends in `.safetensors`", path.display())]
    NotAFolder {
        /// The target.
        path: PathBuf,
    },
    /// A file is due, and a folder has its place.
    #[error("`{}` is a folder: it cannot be replaced by one file, save to another path", path.display())]
    NotAFile {
        /// The target.
        path: PathBuf,
    },
    /// Replacing was asked for, but the folder does not look like a checkpoint.
    #[error(
        "`{}` holds files but no checkpoint (no `fusion.json`, `config.json` or `*.safetensors`), so it is not replaced: check the path, or remove the folder",
        path.display()
    )]
    NotACheckpoint {
        /// The target.
        path: PathBuf,
    },
    /// The path cannot be a target at all.
    #[error("cannot save to `{}`: {reason}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder may not be written.
    #[error("`{}` cannot be written ({source}): save to a folder that you may write", path.display())]
    ReadOnly {
        /// The folder or file that refused.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another run writes the same target.
    #[error("{} is writing `{}`: wait for it or stop it first", running(*pid), path.display())]
    Locked {
        /// The target.
        path: PathBuf,
        /// The other process, where it told.
        pid: Option<u32>,
    },
    /// The file system is full, or a quota is reached.
    #[error(
        "no space for `{}`: it needs {needed} bytes, {free} are free; free some space or save to another disk",
        path.display()
    )]
    DiskFull {
        /// The target.
        path: PathBuf,
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes that are free now, with nothing of ours left behind.
        free: u64,
    },
    /// Two tensors have one name.
    #[error("the result has two tensors named `{name}`")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// A name that the safetensors format keeps for itself.
    #[error("a tensor cannot be named `{name}`: the safetensors format reserves it")]
    TensorName {
        /// The name.
        name: String,
    },
    /// A tensor's size, or the sum of sizes, does not fit 63 bits.
    #[error("the result is too large: bytes up to tensor `{name}` do not fit a file")]
    TooLarge {
        /// The tensor at which the sum overflowed.
        name: String,
    },
    /// Shards without room.
    #[error("the shard size must be at least one byte")]
    ShardSize,
    /// The header does not fit the format's limit.
    #[error(
        "the header of `{file}` has {bytes} bytes, the safetensors format allows {limit}: use smaller shards"
    )]
    HeaderTooLarge {
        /// The shard.
        file: String,
        /// Its header.
        bytes: usize,
        /// The most that readers accept.
        limit: usize,
    },
    /// One metadata entry is given twice, or is kept for the writer.
    #[error("metadata entry `{name}` is given twice or reserved")]
    DuplicateMetadata {
        /// The entry.
        name: String,
    },
    /// A file beside the weights cannot be written under this name.
    #[error("cannot write `{name}` beside the weights: {reason}")]
    Sidecar {
        /// The file's name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A single file cannot hold what a folder can.
    #[error("`{}` is one file: {reason}; save to a folder instead", path.display())]
    SingleFile {
        /// The target.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A tensor number beyond the layout.
    #[error("there is no tensor {index}: the result has {count}")]
    NoSuchTensor {
        /// The number asked for.
        index: usize,
        /// Tensors in the layout.
        count: usize,
    },
    /// Bytes outside of a tensor.
    #[error("{length} bytes at {offset} are outside of tensor `{name}` with {bytes} bytes")]
    OutOfBounds {
        /// The tensor.
        name: String,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// Bytes of the tensor.
        bytes: u64,
    },
    /// Commit came too early.
    #[error("{missing} of {total} tensors are not written, the first is `{first}`")]
    Unfinished {
        /// Tensors not reported as done.
        missing: usize,
        /// Tensors in the layout.
        total: usize,
        /// The first of them.
        first: String,
    },
    /// The slots given at commit are not those of the layout.
    #[error("metadata slot `{name}` {reason}")]
    Slot {
        /// The slot.
        name: String,
        /// `has no value` or `is not part of the layout`.
        reason: &'static str,
    },
    /// The file system failed otherwise.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: `create`, `rename`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

fn running(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another run".to_owned(), |pid| format!("another run (process {pid})"))
}

impl WriteError {
    /// An IO error with its place; a full disk and missing permission get their own kinds.
    ///
    /// `needed` is what was to be written, for [`WriteError::DiskFull`].
    pub(super) fn io(action: &'static str, path: &Path, needed: u64, source: io::Error) -> Self {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => {
                Self::DiskFull { path: path.to_owned(), needed, free: super::space::free_or_zero(path) }
            }
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
                Self::ReadOnly { path: path.to_owned(), source }
            }
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    /// Whether the place can be cured outside of the recipe: disk, permissions, another process.
    #[must_use]
    pub const fn is_environment(&self) -> bool {
        matches!(self, Self::ReadOnly { .. } | Self::Locked { .. } | Self::DiskFull { .. } | Self::Io { .. })
    }
}

/// Adds the place to an IO result.
pub(super) trait Place<T> {
    /// `action` as in "cannot `action` `path`".
    fn place(self, action: &'static str, path: &Path) -> Result<T, WriteError>;
}

impl<T, E: Into<io::Error>> Place<T> for Result<T, E> {
    fn place(self, action: &'static str, path: &Path) -> Result<T, WriteError> {
        self.map_err(|error| WriteError::io(action, path, 0, error.into()))
    }
}
