//! What can go wrong in a run, once the plan has been accepted: the machine, the values, or the user's Ctrl-C.

use std::fmt;

use fusion_dsl::span::Span;
use fusion_sdk::{ErrorKind, MethodError};

use crate::checkpoint::CheckpointError;
use crate::checkpoint::write::WriteError;
use crate::plan::ir::StageProgram;

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

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of `{}`: {} NaN, {} infinite", self.tensor, self.of, self.nan, self.infinite)?;
        if self.beyond > 0 {
            write!(f, ", {} beyond the range of f32", self.beyond)?;
        }
        Ok(())
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
    let mut text = String::from("inputs hold values that are not finite");
    for one in found {
        text.push_str(&format!("\n  {one}"));
    }
    if more > 0 {
        text.push_str(&format!("\n  and {more} more tensors"));
    }
    text
}
