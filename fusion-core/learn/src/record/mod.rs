//! Recorders: what a training keeps of the weights that it passes through, for stages that average, combine or sample them.
//!
//! A `collect` clause makes one recorder ([`Collect`]). The loop calls it after the steps for which it is due, in order; what it
//! gives at the end is a list of models whose number the planner knows beforehand ([`planned`]). Sums run in f64, so a mean over many
//! steps loses nothing; a mean has the running statistics of BatchNorm of the last model that went into it, which say nothing of the
//! mean: they are to be counted again (`repair using batch_norm`).

mod ema;
pub(crate) mod fit;
mod lookahead;
mod mean;
mod params;
mod planned;
pub(crate) mod snapshots;
mod swad;
mod swag;
#[cfg(test)]
mod tests;
mod when;

use std::borrow::Cow;

use fusion_network::Flat;
use fusion_sdk::MethodError;
use fusion_sdk::optim::Optimizer;
use serde_json::Value as Json;

use crate::train::Timeline;

pub(crate) use mean::mean_of;
pub use params::{CollectParams, CyclePoint, Momentum, RecorderKind};
pub use planned::{Count, planned};
pub(crate) use when::When;

/// A `collect` clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Collect {
    /// The part's name: `run.NAME` is what it gives.
    pub name: String,
    /// When and what it records.
    pub params: CollectParams,
}

/// A moment of a training as a recorder sees it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Trainable weights; of several replicas their mean.
    pub weights: &'a [f32],
    /// Running statistics.
    pub statistics: &'a [f32],
}

/// A recorder at work.
pub(crate) trait Recorder: Send {
    /// Sees the weights that the training starts from.
    fn begin(&mut self, _start: &[f32]) {}

    /// Whether it wants to see the weights after `done` steps.
    fn due(&self, done: u64) -> bool;

    /// Sees them. Only where it is due.
    fn record(&mut self, seen: Seen<'_>);

    /// Whether it moves the weights of the training rather than looking at them.
    fn acts(&self) -> bool {
        false
    }

    /// Moves them. Only where it is due and acts.
    fn act(&mut self, _weights: &mut [f32], _optimizer: &mut Optimizer) {}

    /// Hears the loss on the validation data of the weights that it saw last.
    fn validated(&mut self, _loss: f64) {}

    /// What it has recorded.
    fn finish(&mut self) -> Result<Vec<Flat>, MethodError>;

    /// Its state, for a checkpoint.
    fn save(&self) -> Saved<'_>;

    /// Goes on from a state of the same recorder; the error says what does not fit.
    fn load(&mut self, saved: Saved<'static>) -> Result<(), String>;
}

/// The state of a recorder in a checkpoint: numbers and vectors, whose meaning is the recorder's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Saved<'a> {
    pub numbers: Json,
    pub singles: Vec<Cow<'a, [f32]>>,
    pub doubles: Vec<Cow<'a, [f64]>>,
}

/// The recorder of a clause. Whether a `validate` data set is there decides what SWAD may do.
pub(crate) fn recorder(
    params: &CollectParams,
    timeline: &Timeline,
    validated: bool,
) -> Result<Box<dyn Recorder>, MethodError> {
    use RecorderKind as Kind;
    params.fits(timeline, validated)?;
    let when = || When::new(params, timeline);
    Ok(match params.recorder {
        Kind::Snapshots | Kind::Fge => Box::new(snapshots::Snapshots::new(when()?, params.last)),
        Kind::Lawa => Box::new(mean::Window::new(when()?, params.last.unwrap_or(params::LAWA))),
        Kind::Swa => Box::new(mean::Mean::new(when()?)),
        Kind::Swad => Box::new(swad::Swad::new(params)),
        Kind::Ema => Box::new(ema::Ema::new(when()?, params)),
        Kind::Lookahead => Box::new(lookahead::Lookahead::new(when()?, params)),
        Kind::Swag => Box::new(swag::Swag::new(when()?, params.last.unwrap_or(params::SWAG))),
    })
}

/// No model came out: recorders whose time never came.
pub(crate) fn nothing(what: &str) -> MethodError {
    MethodError::invalid(format!("the training ended before `{what}` had recorded a model"))
        .help("lower `after` or `every`, or train longer")
}

/// Reads a number of a saved state.
pub(crate) fn number(saved: &Saved<'_>, name: &str) -> Result<u64, String> {
    saved.numbers.get(name).and_then(Json::as_u64).ok_or_else(|| format!("the number `{name}` is missing"))
}
