//! Settings of a `collect` clause.

use fusion_sdk::schedule::Span;
use fusion_sdk::{MethodError, Params, Words};
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use crate::train::Timeline;

/// Members of LAWA's mean where `last` is not set.
pub(crate) const LAWA: usize = 5;
/// Rank of SWAG's deviations where `last` is not set.
pub(crate) const SWAG: usize = 20;

/// Settings of `collect`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct CollectParams {
    /// what is made of the weights that the training passes through
    #[param(default = RecorderKind::Snapshots)]
    pub recorder: RecorderKind,
    /// time between two records (default: 1 epoch; `ema` 1 step, `lookahead` 5 steps); not together with `at`
    #[param(unit = span)]
    pub every: Option<Span>,
    /// nothing is recorded before this much of the training has passed
    #[param(unit = span, default = Span::epochs(0.0))]
    pub after: Span,
    /// record once in each cycle of the learning rate (default of `fge`: cycle_middle)
    pub at: Option<CyclePoint>,
    /// how many of the newest count: snapshots that are kept (default: all), members of `lawa`'s mean (default: 5), deviations of `swag`
    /// (default: 20)
    #[param(range = 1..)]
    pub last: Option<usize>,
    /// `ema`: weight of the past in each record (default: 0.999)
    #[param(unit = fraction, range = 0..=1)]
    pub decay: Option<f64>,
    /// `ema`: at most (1+t)/(10+t) of the past in record t, so that the start is forgotten soon (default: true)
    pub warm_up: Option<bool>,
    /// `lookahead`: part of the way to the fast weights (default: 50%)
    #[param(unit = fraction, range = 0..=1)]
    pub alpha: Option<f64>,
    /// `lookahead`: what becomes of the optimiser's momentum (default: keep)
    pub momentum: Option<Momentum>,
    /// `swad`: averaging starts at a validation loss that the next ones do not beat, this many with itself (default: 3)
    #[param(range = 1..)]
    pub converged: Option<usize>,
    /// `swad`: averaging ends when this many validation losses in a row are too high (default: 6)
    #[param(range = 1..)]
    pub patience: Option<usize>,
    /// `swad`: too high means this much above the mean loss where averaging began (default: 30%)
    #[param(range = 0..)]
    pub tolerance: Option<f64>,
}

/// What a recorder makes of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum RecorderKind {
    /// the weights as they are, one model each time
    Snapshots,
    /// their mean (Izmailov et al., 2018)
    Swa,
    /// the mean over every step between the validated start and end of the flat region (Cha et al., 2021); needs `validate`
    Swad,
    /// the mean of the newest few (Kaddour, 2022)
    Lawa,
    /// exponential moving average
    Ema,
    /// moves the training itself: slow weights that follow the fast ones (Zhang et al., 2019)
    Lookahead,
    /// snapshots where a cyclic learning rate is lowest (Garipov et al., 2018)
    Fge,
    /// mean, variance and newest deviations of a Gaussian (Maddox et al., 2019)
    Swag,
}

/// A point of a cycle of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum CyclePoint {
    /// after the last step
    CycleEnd,
    /// after half of the steps, where a `triangle` is lowest
    CycleMiddle,
}

/// What becomes of the momentum when Lookahead moves the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Momentum {
    /// it stays
    Keep,
    /// it starts from zero
    Reset,
    /// it is interpolated as the weights are
    Pullback,
}

impl CollectParams {
    /// The JSON Schema, with the recorders that give one model under `x-one`.
    #[must_use]
    pub fn schema() -> Json {
        let mut schema = SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<CollectParams>()
            .to_value();
        if let Some(object) = schema.as_object_mut() {
            object.insert("x-one".into(), serde_json::json!(["swa", "swad", "lawa", "ema", "lookahead"]));
        }
        schema
    }

    /// Whether what is set suits the recorder and the training.
    pub(crate) fn fits(&self, timeline: &Timeline, validated: bool) -> Result<(), MethodError> {
        use RecorderKind as Kind;
        self.check()?;
        let kind = self.recorder;
        let set: [(&'static str, bool, &[Kind]); 10] = [
            (
                "every",
                self.every.is_some(),
                &[Kind::Snapshots, Kind::Swa, Kind::Lawa, Kind::Ema, Kind::Lookahead, Kind::Swag],
            ),
            (
                "after",
                self.after.value > 0.0,
                &[Kind::Snapshots, Kind::Swa, Kind::Lawa, Kind::Ema, Kind::Lookahead, Kind::Fge, Kind::Swag],
            ),
            (
                "at",
                self.at.is_some(),
                &[Kind::Snapshots, Kind::Swa, Kind::Lawa, Kind::Ema, Kind::Fge, Kind::Swag],
            ),
            ("last", self.last.is_some(), &[Kind::Snapshots, Kind::Lawa, Kind::Fge, Kind::Swag]),
            ("decay", self.decay.is_some(), &[Kind::Ema]),
            ("warm_up", self.warm_up.is_some(), &[Kind::Ema]),
            ("alpha", self.alpha.is_some(), &[Kind::Lookahead]),
            ("momentum", self.momentum.is_some(), &[Kind::Lookahead]),
            ("converged", self.converged.is_some(), &[Kind::Swad]),
            ("patience", self.patience.is_some(), &[Kind::Swad]),
        ];
        let tolerance: (&'static str, bool, &[Kind]) = ("tolerance", self.tolerance.is_some(), &[Kind::Swad]);
        for (name, given, kinds) in set.into_iter().chain([tolerance]) {
            if given && !kinds.contains(&kind) {
                let word = serde_json::to_value(kind).unwrap_or_default();
                return Err(MethodError::invalid(format!("`{name}` means nothing to the recorder {word}"))
                    .at(name)
                    .help("remove it, or choose another `recorder`"));
            }
        }
        if self.every.is_some() && self.at.is_some() {
            return Err(MethodError::invalid("`every` and `at` are two answers to one question")
                .at("at")
                .help("remove one of them"));
        }
        if self.every.is_some_and(|every| every.value <= 0.0) {
            return Err(MethodError::invalid("`every` must be longer than nothing").at("every"));
        }
        if kind == Kind::Swad && !validated {
            return Err(MethodError::invalid(
                "`swad` averages between two validation losses, and there are none",
            )
            .at("recorder")
            .help("give the stage `validate` data, or take `swa`"));
        }
        let cyclic = self.at.is_some() || kind == Kind::Fge;
        if cyclic && timeline.cycle().is_none() {
            return Err(MethodError::invalid("the learning rate has no cycles to record in")
                .at(if self.at.is_some() { "at" } else { "recorder" })
                .help(
                    "set the stage's `rate` to `triangle`, `cyclic` or `cosine` with a `cycle`, or give `every` with `snapshots`",
                ));
        }
        Ok(())
    }
}
