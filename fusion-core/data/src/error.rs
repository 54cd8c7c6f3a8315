//! Everything that can be wrong with data, each with the place, what was expected and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use fusion_sdk::MethodError;

/// Why data cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: `open`, `read`, `list`, `create`, `write`, `rename`.
        action: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// There is no such data.
    #[error("no data `{name}`: {offence}; {fix}")]
    Missing {
        /// The source as the recipe names it.
        name: String,
        /// Where it was looked for and what was expected there.
        offence: String,
        /// How to get it.
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
    /// A file of a kind or with contents that fusion does not read.
    #[error("`{}` cannot be used: {offence}; {fix}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is or holds.
        offence: String,
        /// How to convert it.
        fix: String,
    },
    /// A setting that does not fit this source, or not its other settings.
    #[error("`{name}`: {offence}{}", .fix.as_deref().map(|fix| format!("; {fix}")).unwrap_or_default())]
    Setting {
        /// The setting; empty where several are to blame.
        name: String,
        /// What is wrong with it.
        offence: String,
        /// What would be right, where known.
        fix: Option<String>,
    },
    /// Two data sets that another is to be made of do not go together.
    #[error("`{other}` cannot stand behind `{first}`: {offence}; {fix}")]
    Parts {
        /// The one that the others must be like.
        first: String,
        /// The one that differs.
        other: String,
        /// In what.
        offence: String,
        /// What would be right.
        fix: String,
    },
    /// Nothing is left of the data.
    #[error("no examples are left of `{name}`: {offence}")]
    Empty {
        /// The source.
        name: String,
        /// What took them away.
        offence: String,
    },
    /// The data do not fit into memory.
    #[error(
        "`{name}` needs {bytes} bytes of memory, which this machine does not give; set `limit` or take a smaller set"
    )]
    TooLarge {
        /// The source.
        name: String,
        /// What was asked for.
        bytes: u64,
    },
    /// A download failed. Nothing of it was kept.
    #[error("cannot fetch `{url}`: {offence}; {fix}")]
    Fetch {
        /// The address.
        url: String,
        /// What went wrong.
        offence: String,
        /// What helps.
        fix: String,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Cancelled,
}

impl DataError {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        DataError::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn malformed(path: &Path, offence: impl Into<String>, fix: impl Into<String>) -> Self {
        DataError::Malformed { path: path.to_owned(), offence: offence.into(), fix: fix.into() }
    }

    pub(crate) fn unsupported(path: &Path, offence: impl Into<String>, fix: impl Into<String>) -> Self {
        DataError::Unsupported { path: path.to_owned(), offence: offence.into(), fix: fix.into() }
    }

    pub(crate) fn setting(name: &str, offence: impl Into<String>) -> Self {
        DataError::Setting { name: name.to_owned(), offence: offence.into(), fix: None }
    }

    pub(crate) fn setting_fix(name: &str, offence: impl Into<String>, fix: impl Into<String>) -> Self {
        DataError::Setting { name: name.to_owned(), offence: offence.into(), fix: Some(fix.into()) }
    }
}

impl From<MethodError> for DataError {
    fn from(error: MethodError) -> Self {
        DataError::Setting {
            name: error.parameter.unwrap_or("settings").to_owned(),
            offence: error.message,
            fix: error.help,
        }
    }
}
