//! What a run tells while it goes on, as typed events: the command turns them into progress bars, JSON lines or nothing.

use serde::Serialize;

/// An event. `seconds` are since the run began.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    Started {
        /// Outputs that will be written.
        outputs: usize,
        /// Bytes that will be read, all passes.
        read: u64,
        /// Bytes that will be written.
        written: u64,
        /// Worker threads.
        threads: usize,
    },
    /// An output is there already.
    Cached {
        /// Path in the recipe.
        path: String,
    },
    /// An output begins.
    Output {
        /// Path in the recipe.
        path: String,
        /// The model's name.
        name: String,
        /// Tensors.
        tensors: usize,
        /// Tensors that an interrupted run has left finished.
        resumed: usize,
    },
    /// A pass over a batch of tensors begins.
    Phase {
        /// The stage's name, or the output's for the apply pass.
        stage: String,
        /// `observe 1`, …, or `write`.
        what: String,
    },
    /// How far a long call of a method is.
    Working {
        /// The stage's name.
        stage: String,
        /// In units of the method's choice.
        done: u64,
        /// Of how many.
        total: u64,
        /// The method's words; may be empty.
        note: String,
    },
    /// A stage on networks and data begins.
    #[cfg(feature = "learn")]
    StepBegins {
        /// The stage's name.
        name: String,
        /// Its verb; empty for the first weights of a network.
        verb: String,
        /// Its method.
        method: String,
    },
    /// How a training goes.
    #[cfg(feature = "learn")]
    Training {
        /// The stage's name.
        stage: String,
        /// Steps done.
        done: u64,
        /// Of how many.
        total: u64,
        /// Mean loss of the last steps.
        loss: f64,
        /// Share of right answers in the last steps; NaN where there are no classes.
        accuracy: f64,
        /// Examples per second.
        rate: f64,
    },
    /// A stage on networks and data has a result.
    #[cfg(feature = "learn")]
    StepDone {
        /// What came out.
        step: crate::experiment::StepRun,
    },
    /// A report is in place.
    #[cfg(feature = "learn")]
    Reported {
        /// The file to open.
        path: String,
        /// How many files there are.
        files: usize,
    },
    /// Bytes so far.
    Progress {
        /// Read from inputs, all passes.
        read: u64,
        /// Written.
        written: u64,
    },
    /// Something to know that is no error.
    Warning {
        /// Lower case, no full stop.
        message: String,
    },
    /// Data is written; files are flushed to disk.
    Syncing {
        /// Path in the recipe.
        path: String,
    },
    /// An output is complete and in place.
    Saved {
        /// Path in the recipe.
        path: String,
        /// Bytes of its tensors.
        bytes: u64,
        /// Seconds since the run began.
        seconds: f64,
    },
    /// The run is over.
    Finished {
        /// Seconds.
        seconds: f64,
        /// Read.
        read: u64,
        /// Written.
        written: u64,
    },
}

/// Receives events, from any thread.
pub type Listener<'a> = &'a (dyn Fn(&Event) + Sync);
