//! How many models a `collect` clause gives, as the planner must know it before anything runs.

use fusion_sdk::MethodError;

use crate::train::Timeline;

use super::params::{self, CollectParams, RecorderKind};
use super::when::When;

/// What a `collect` clause gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// One model: a mean or the like.
    One,
    /// A list of this many models, at least 1.
    Exactly(usize),
}

/// How many models come out, with all settings checked against each other and the training. `validated` is whether the stage has
/// `validate` data.
///
/// `swag` gives 2 + K: mean, variance and the K newest deviations, where K is `last`, or the number of records if that is smaller.
///
/// # Errors
/// If settings do not fit, if nothing is recorded within the training, and if early stopping leaves the number open.
pub fn planned(params: &CollectParams, timeline: &Timeline, validated: bool) -> Result<Count, MethodError> {
    params.fits(timeline, validated)?;
    if params.recorder == RecorderKind::Swad {
        return Ok(Count::One);
    }
    let records = When::new(params, timeline)?.count(timeline.total());
    if records == 0 {
        return Err(MethodError::invalid(format!(
            "no record falls into the training's {} steps of {} an epoch",
            timeline.total(),
            timeline.steps_per_epoch()
        ))
        .at(if params.after.value > 0.0 { "after" } else { "every" })
        .help("lower `after` or `every`, or train longer"));
    }
    let records = usize::try_from(records).unwrap_or(usize::MAX);
    let several = match params.recorder {
        RecorderKind::Snapshots | RecorderKind::Fge => params.last.unwrap_or(usize::MAX).min(records),
        RecorderKind::Swag => 2 + params.last.unwrap_or(params::SWAG).min(records),
        _ => return Ok(Count::One),
    };
    if timeline.may_stop_early() {
        return Err(MethodError::invalid(
            "with `early_stopping` nobody knows beforehand how many models are recorded",
        )
        .at("recorder")
        .help("remove `early_stopping`, or take a recorder that gives one model (`swa`, `lawa`, `ema`)"));
    }
    Ok(Count::Exactly(several))
}
