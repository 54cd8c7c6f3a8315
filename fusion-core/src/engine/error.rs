//! What can go wrong in a run, once the plan has been accepted: the machine, the values, or the user's Ctrl-C.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use fusion_dsl::span::Span;
use fusion_sdk::{ErrorKind, MethodError};

use crate::checkpoint::CheckpointError;
use crate::checkpoint::write::WriteError;
use crate::plan::ir::StageProgram;
use crate::tensor::{Dtype, count_beyond_f32, count_non_finite};

/// Tensors with values that are not finite which an error names; of more it says how many.
const NAMED: usize = 10;

/// NaN and infinity found in one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// The model or stage.
    pub of: String,
    /// The tensor.
    pub tensor: String,
    /// How many NaN.
    pub nan: u64,
    /// How many infinities.
    pub infinite: u64,
    /// How many finite f64 that f32, in which we compute, cannot hold.
    pub beyond: u64,
}

impl NonFinite {
    /// What is not finite in the stored bytes of a tensor; `None` where all of it is.
    pub(crate) fn of_bytes(of: &str, tensor: &str, dtype: Dtype, bytes: &[u8]) -> Option<NonFinite> {
        let (nan, infinite) = count_non_finite(dtype, bytes);
        let beyond = count_beyond_f32(dtype, bytes);
        let found = NonFinite { of: of.to_owned(), tensor: tensor.to_owned(), nan, infinite, beyond };
        (nan + infinite + beyond > 0).then_some(found)
    }

    /// The same of values that are in memory.
    pub(crate) fn of_values(of: &str, tensor: &str, values: &[f32]) -> Option<NonFinite> {
        let nan = values.iter().filter(|value| value.is_nan()).count() as u64;
        let infinite = values.iter().filter(|value| value.is_infinite()).count() as u64;
        let found = NonFinite { of: of.to_owned(), tensor: tensor.to_owned(), nan, infinite, beyond: 0 };
        (nan + infinite > 0).then_some(found)
    }
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of `{}`: {} NaN, {} infinite", self.tensor, self.of, self.nan, self.infinite)?;
        if self.beyond > 0 {
            write!(f, ", {} beyond the range of f32", self.beyond)?;
        }
        Ok(())
    }
}

/// What was tried with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it.
    Read,
    /// To make or replace it.
    Write,
}

impl Access {
    fn done(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "written",
        }
    }
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Reading an input.
    #[error(transparent)]
    Read(#[from] CheckpointError),
    /// Writing the output.
    #[error(transparent)]
    Write(WriteError),
    /// NaN or infinity where `--allow-non-finite` was not given.
    #[error("{}", non_finite(.found, *.more))]
    NonFinite {
        /// The first few tensors.
        found: Vec<NonFinite>,
        /// How many more there are.
        more: usize,
    },
    /// NaN or infinity where a method computes with the values, so that `--allow-non-finite` is of no use.
    #[error("`{method}` of stage `{stage}` computes with values that are not finite{}", lines(.found, *.more))]
    NeedsFinite {
        /// The stage.
        stage: String,
        /// The method.
        method: String,
        /// The first few tensors.
        found: Vec<NonFinite>,
        /// How many more there are.
        more: usize,
    },
    /// A file or folder that a step leaves or needs cannot be used: the machine's trouble, not the method's.
    #[error("{what} `{}` cannot be {}: {reason}", path.display(), access.done())]
    File {
        /// What it is to the user (`the alignment`).
        what: String,
        /// Where it is.
        path: PathBuf,
        /// What was tried.
        access: Access,
        /// The system's kind of error.
        kind: io::ErrorKind,
        /// The system's words.
        reason: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// Values that the output's dtype cannot hold.
    #[error("`{tensor}` of `{output}` has values that {dtype} cannot hold (they became infinite)")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// The output.
        output: String,
        /// Its dtype.
        dtype: String,
    },
    /// Whole-number tensors that must be equal and are not.
    #[error(
        "`{tensor}` has other values in `{other}` than in `{first}`; whole numbers are copied only where all agree"
    )]
    NotIdentical {
        /// The tensor.
        tensor: String,
        /// The first model.
        first: String,
        /// The one that differs.
        other: String,
    },
    /// A method failed on the values.
    #[error("`{method}` of stage `{stage}` failed: {message}")]
    Method {
        /// The stage.
        stage: String,
        /// The method.
        method: String,
        /// Its words.
        message: String,
        /// Its advice.
        help: Option<String>,
        /// Where it belongs in the recipe.
        span: Span,
    },
    /// A burn device failed.
    #[error("device `{device}` failed in stage `{stage}`: {message}")]
    Device {
        /// The device.
        device: String,
        /// The stage.
        stage: String,
        /// burn's words.
        message: String,
    },
    /// The buffers do not fit.
    #[error("the memory budget of {budget} is too small for {threads} threads: they need {needed}")]
    Memory {
        /// The budget.
        budget: String,
        /// Threads.
        threads: usize,
        /// The least that is needed.
        needed: String,
    },
    /// A result could not be put aside.
    #[error("an intermediate result cannot be kept at `{}`: {reason}", path.display())]
    Spill {
        /// Where the file was.
        path: std::path::PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Worker threads could not be started.
    #[error("worker threads could not be started: {0}")]
    Threads(String),
    /// A stage has left a model that is not the one that was planned with: a defect.
    #[error("`{stage}` has left another model than it was planned to: {difference}")]
    Unplanned {
        /// The stage.
        stage: String,
        /// The first tensor that differs, and how.
        difference: String,
    },
    /// An input changed while it was read.
    #[error("`{0}` changed while it was read")]
    Changed(String),
    /// Ctrl-C.
    #[error("stopped; what is finished is kept, and the same command goes on from there")]
    Cancelled,
}

impl From<WriteError> for RunError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Cancelled => RunError::Cancelled,
            other => RunError::Write(other),
        }
    }
}

impl RunError {
    /// NaN and infinities that were found in inputs.
    pub(crate) fn non_finite(mut found: Vec<NonFinite>) -> RunError {
        let more = found.len().saturating_sub(NAMED);
        found.truncate(NAMED);
        RunError::NonFinite { found, more }
    }

    /// The same where a method computes with them.
    pub(crate) fn needs_finite(stage: &str, method: &str, mut found: Vec<NonFinite>) -> RunError {
        let more = found.len().saturating_sub(NAMED);
        found.truncate(NAMED);
        RunError::NeedsFinite { stage: stage.to_owned(), method: method.to_owned(), found, more }
    }

    /// A file or folder that cannot be used. An error that was carried through `io::Error` comes out as it was.
    pub(crate) fn file(what: impl Into<String>, path: &Path, access: Access, error: io::Error) -> RunError {
        match error.downcast::<RunError>() {
            Ok(own) => own,
            Err(error) => RunError::File {
                what: what.into(),
                path: path.to_owned(),
                access,
                // Targets are replaced: if the system says so, a file stands where a folder around it should be.
                kind: match error.kind() {
                    io::ErrorKind::AlreadyExists if error.raw_os_error().is_some() => {
                        io::ErrorKind::NotADirectory
                    }
                    kind => kind,
                },
                reason: error.to_string(),
                help: None,
            },
        }
    }

    /// The same error with advice, where it is about a file.
    pub(crate) fn advised(mut self, text: &str) -> RunError {
        if let RunError::File { help, .. } = &mut self {
            *help = Some(text.to_owned());
        }
        self
    }

    /// A method's error in a stage; the user's Ctrl-C is none.
    pub(super) fn method(stage: &StageProgram, error: MethodError) -> Self {
        if error.kind == ErrorKind::Cancelled {
            return RunError::Cancelled;
        }
        RunError::Method {
            stage: stage.name.clone(),
            method: stage.method.clone(),
            span: stage.places.blamed(&error),
            message: error.message,
            help: error.help,
        }
    }

    /// How to fix it, where known.
    pub fn help(&self) -> Option<String> {
        match self {
            RunError::NonFinite { .. } => {
                Some("mend the checkpoint, or pass `--allow-non-finite` to keep them".to_owned())
            }
            RunError::NeedsFinite { method, .. } => Some(format!(
                "mend the checkpoint: its training has diverged, or the file is damaged. `--allow-non-finite` keeps such values where they are only moved or copied; `{method}` computes with them"
            )),
            RunError::File { help, .. } => help.clone(),
            RunError::Overflow { .. } => Some("save in a wider dtype, such as `bf16` or `f32`".to_owned()),
            RunError::NotIdentical { tensor, first, .. } => {
                Some(format!("take it from one model: `on \"{tensor}\" {{ copy = {first} }}`"))
            }
            RunError::Memory { .. } => Some("raise `--memory` or lower `--threads`".to_owned()),
            RunError::Spill { .. } => Some(
                "whole models are put aside beside the output: make room there, or save elsewhere".to_owned(),
            ),
            RunError::Method { help, .. } => help.clone(),
            RunError::Changed(_) => Some("run again when nothing writes to it".to_owned()),
            _ => None,
        }
    }

    /// Whether the finished part should be kept for a resume: after Ctrl-C, and after a method gave up, which may be a plugin's passing
    /// trouble. The other errors would come again.
    pub fn keeps_progress(&self) -> bool {
        matches!(self, RunError::Cancelled | RunError::Method { .. })
    }
}

fn non_finite(found: &[NonFinite], more: usize) -> String {
    format!("inputs hold values that are not finite{}", lines(found, more))
}

/// A line for each tensor.
fn lines(found: &[NonFinite], more: usize) -> String {
    let mut text = String::new();
    for one in found {
        text.push_str(&format!("\n  {one}"));
    }
    if more > 0 {
        text.push_str(&format!("\n  and {more} more tensors"));
    }
    text
}
