//! What can go wrong between a report and its files.

use std::io;
use std::path::PathBuf;

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A part of the report does not fit together: a fault of whoever filled it.
    #[error("`{part}` does not fit together: {what} should be {expected}, but are {found}")]
    Shape {
        /// Title of the table or plot.
        part: String,
        /// What is counted.
        what: String,
        /// What the rest of the part asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The extension names no format.
    #[error(
        "`{}` ends in `.{extension}`, which is no format of a report; use .html, .json, .csv, .svg, or no extension for a \
         folder with all of them", path.display()
    )]
    Extension {
        /// As given.
        path: PathBuf,
        /// Its end.
        extension: String,
    },
    /// The folder was not made by this program.
    #[error(
        "`{}` exists and is no report of fusion (it has no report.json with \"format\": \"fusion-report\"); choose another \
         folder or remove it", path.display()
    )]
    Foreign {
        /// As given.
        path: PathBuf,
    },
    /// What should be a file is a folder, or the other way round.
    #[error("`{}` exists and is {found}, but {wanted} is to be written; choose another name or remove it", path.display())]
    Kind {
        /// As given.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What the extension asks for.
        wanted: &'static str,
    },
    /// There is nothing in the report that the format can hold.
    #[error("the report has no {what}, so `{}` would hold nothing; use .html or .json", path.display())]
    Nothing {
        /// `tables` or `plots`.
        what: &'static str,
        /// As given.
        path: PathBuf,
    },
    /// A file that is no report.
    #[error("`{}` is no report of fusion: {reason}", path.display())]
    Read {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refuses.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
