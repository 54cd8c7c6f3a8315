//! Everything that can be wrong with a checkpoint, each with the file, the offence and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: `open`, `map`, `read`, `list`.
        action: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// There is no checkpoint at this path.
    #[error("no checkpoint at `{}`: {fix}", .path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
        /// What would make it one.
        fix: String,
    },
    /// The path holds more than one checkpoint and nothing says which is meant.
    #[error("`{}` is ambiguous: {offence}; {fix}", .path.display())]
    Ambiguous {
        /// The file or folder.
        path: PathBuf,
        /// What was found.
        offence: String,
        /// How to choose.
        fix: String,
    },
    /// A file of a kind, version or feature that fusion does not read.
    #[error("`{}` is not supported: {offence}; {fix}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is or uses.
        offence: String,
        /// How to convert it.
        fix: String,
    },
    /// A file that breaks the rules of its own format: truncated, damaged or hostile.
    #[error("`{}` is damaged: {offence}; {fix}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The rule it breaks and where.
        offence: String,
        /// What helps.
        fix: String,
    },
    /// One tensor breaks the rules or cannot be used.
    #[error("tensor `{tensor}` in `{}`: {offence}; {fix}", .path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        offence: String,
        /// What helps.
        fix: String,
    },
    /// A pickle that names a function which could run code. Nothing was executed: fusion never calls anything.
    #[error(
        "`{}` is dangerous: its pickle names `{global}`, which runs code when PyTorch loads it; delete the file, get the \
         model as safetensors from a source you trust, and tell whoever published it",
        .path.display()
    )]
    Dangerous {
        /// The file.
        path: PathBuf,
        /// `module.name` of the function.
        global: String,
    },
    /// A tensor that only unknown Python code could rebuild.
    #[error(
        "tensor `{tensor}` in `{}` is built by `{global}`, which fusion does not know; load the file in PyTorch and save a \
         plain state dict: `safetensors.torch.save_file({{k: v.contiguous() for k, v in model.state_dict().items()}}, \
         \"model.safetensors\")`",
        .path.display()
    )]
    UnknownGlobal {
        /// The file.
        path: PathBuf,
        /// The state dict entry.
        tensor: String,
        /// `module.name` of the function or class.
        global: String,
    },
    /// A file that would make its reader use unbounded memory or time.
    #[error("`{}` exceeds a safety limit: {what} (the limit is {limit}); {fix}", .path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// What was counted, with the count where known.
        what: String,
        /// The largest accepted value, with its unit.
        limit: String,
        /// What helps.
        fix: String,
    },
    /// A file changed after it was opened.
    #[error("`{}` changed while it was in use ({offence}); run again when nothing writes to it", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What differs.
        offence: String,
    },
}

impl CheckpointError {
    /// The file or folder at fault.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::Missing { path, .. }
            | Self::Ambiguous { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Malformed { path, .. }
            | Self::Tensor { path, .. }
            | Self::Dangerous { path, .. }
            | Self::UnknownGlobal { path, .. }
            | Self::Limit { path, .. }
            | Self::Changed { path, .. } => path,
        }
    }

    /// The tensor at fault, where it is one.
    #[must_use]
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::Tensor { tensor, .. } | Self::UnknownGlobal { tensor, .. } => Some(tensor),
            _ => None,
        }
    }

    /// Whether there is nothing at the path, or nothing that is a model.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// What to do about it; the message ends with it as well.
    #[must_use]
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Ambiguous { fix, .. }
            | Self::Unsupported { fix, .. }
            | Self::Malformed { fix, .. }
            | Self::Tensor { fix, .. }
            | Self::Limit { fix, .. } => Some(fix),
            Self::Io { .. }
            | Self::Missing { .. }
            | Self::Dangerous { .. }
            | Self::UnknownGlobal { .. }
            | Self::Changed { .. } => None,
        }
    }

    /// The message without its fix, for reports that show [`Self::fix`] on a line of its own.
    #[must_use]
    pub fn message(&self) -> String {
        let whole = self.to_string();
        match self.fix() {
            Some(fix) => {
                whole.strip_suffix(fix).and_then(|rest| rest.strip_suffix("; ")).unwrap_or(&whole).to_owned()
            }
            _ => whole,
        }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn malformed(path: &Path, offence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), offence: offence.into(), fix: fix.into() }
    }

    pub(crate) fn unsupported(path: &Path, offence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), offence: offence.into(), fix: fix.into() }
    }

    pub(crate) fn of_tensor(
        path: &Path,
        tensor: impl Into<String>,
        offence: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Tensor {
            path: path.to_owned(),
            tensor: tensor.into(),
            offence: offence.into(),
            fix: fix.into(),
        }
    }
}

/// The remedy for most damage.
pub(crate) const AGAIN: &str = "download or copy the file again";
