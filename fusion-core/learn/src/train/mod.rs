//! Training: a loop over flat weights with one of a few optimisers, over the time that a schedule knows.
//!
//! The loop ([`run`]) sees a network as a function with a gradient ([`Gradients`]), so that everything in it is tested on functions whose
//! answer is known. Per step it does what the bare loop does, gradient and update, and beside it only sums what the step returns:
//! metrics cost no forward pass of their own. The same seed gives the same bits on the same device with the same number of threads,
//! whether the run was interrupted or not.
//!
//! Several replicas may train together ([`ParallelKind`]): they take the same steps side by side, and what links them acts between steps.

mod checkpoint;
mod error;
mod frozen;
mod gradients;
mod history;
mod methods;
mod network;
mod params;
mod replicas;
mod session;
#[cfg(test)]
mod tests;
mod timeline;
mod watch;
mod workers;

pub use checkpoint::Resume;
pub use error::TrainError;
pub use frozen::Frozen;
pub use gradients::{Gradients, Score, StepLoss};
pub use history::{Epoch, History, Point};
pub use methods::{METHODS, methods};
pub use network::{Job, train};
pub(crate) use network::{empty, of_data, of_network};
pub use params::{
    AdamParams, AdamwParams, CommonParams, LionParams, ParallelKind, ParallelParams, SgdParams, TrainParams,
};
pub use session::{Setup, Trained, check, run};
pub use timeline::Timeline;
pub use watch::{Progress, Quiet, Watch};
