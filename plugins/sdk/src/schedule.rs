//! Values over the time of a training: learning rates and other settings that change from step to step.
//!
//! A value is a pure function of the step. The position in a training of T steps is p = step/T, so that the end value would be that of
//! the step after the last one, as in PyTorch's schedulers; cycles count whole steps.

use std::borrow::Cow;
use std::f64::consts::PI;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

mod span;

pub use span::{Span, Unit};

/// A value that may change over the time of a training.
///
/// As JSON a plain number, or an object with one key, as recipes write it: `{"cosine": {"from": 0.1, "to": 0}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Always the same.
    #[serde(skip)]
    Constant(f64),
    /// from + (to−from)·p.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// Evenly spaced points, the first at the start and the last at the end, linear between them.
    Curve(Vec<f64>),
    /// Equal stretches of time, constant within each.
    Steps(Vec<f64>),
    /// to + (from−to)·(1+cos πp)/2: half a cosine, starting again with every cycle (Loshchilov and Hutter, SGDR, 2017).
    Cosine {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
        /// Length of a cycle; without it one over the whole time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Span>,
    },
    /// SWA's rate (Izmailov et al., 2018): (1−t)·from + t·to, t = ((i mod c) + 1)/c for step i from 0; the last step of a cycle has `to`.
    Cyclic {
        /// At the start of a cycle.
        from: f64,
        /// Of the last step of a cycle.
        to: f64,
        /// Length of a cycle.
        cycle: Span,
    },
    /// FGE's rate (Garipov et al., 2018): from → to in the first half of a cycle and back in the second. With t = (i mod c)/c it is
    /// (1−2t)·from + 2t·to for t < ½ and (2t−1)·from + (2−2t)·to from there on.
    Triangle {
        /// At either end of a cycle.
        from: f64,
        /// In its middle.
        to: f64,
        /// Length of a cycle.
        cycle: Span,
    },
    /// One climb and one fall, half a cosine each (Smith and Topin, 2018; PyTorch's `OneCycleLR`).
    OneCycle {
        /// The highest value.
        max: f64,
        /// At the start; max/25 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<f64>,
        /// At the end; start/10 000 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<f64>,
        /// The climb.
        #[serde(default)]
        warmup: Climb,
    },
}

/// How long a one-cycle schedule climbs. As JSON a plain number is a share of the time, anything else a [`Span`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Climb {
    /// A share of the training in 0..=1.
    Share(f64),
    /// Some epochs or steps.
    Span(Span),
}

impl Default for Climb {
    /// 30 %, as in PyTorch.
    fn default() -> Self {
        Climb::Share(0.3)
    }
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Schedule::Constant(value)
    }
}

impl Schedule {
    /// The value of step `step` (from 0) in a training of `total` steps. Steps from `total` on have the value of the end. Empty lists, which
    /// cannot be read from JSON, give NaN.
    #[must_use]
    pub fn at(&self, step: u64, total: u64, steps_per_epoch: u64) -> f64 {
        let p = (step as f64 / total.max(1) as f64).min(1.0);
        // Position in a cycle and its length.
        let turn = |cycle: Span| {
            let length = cycle.steps(steps_per_epoch, 1).max(1);
            ((step % length) as f64, length as f64)
        };
        match self {
            Schedule::Constant(value) => *value,
            Schedule::Ramp { from, to } => mix(*from, *to, p),
            Schedule::Curve(points) => {
                let x = p * points.len().saturating_sub(1) as f64;
                let index = (x as usize).min(points.len().saturating_sub(2));
                match points.get(index..) {
                    Some([a, b, ..]) => mix(*a, *b, x - index as f64),
                    Some([a]) => *a,
                    _ => f64::NAN,
                }
            }
            Schedule::Steps(values) => {
                // In whole numbers: a change falls on a step, not beside it by rounding.
                let n = values.len() as u128;
                let index = u128::from(step) * n / u128::from(total.max(1));
                values.get(index.min(n.saturating_sub(1)) as usize).copied().unwrap_or(f64::NAN)
            }
            Schedule::Cosine { from, to, cycle: None } => wave(*from, *to, p),
            Schedule::Cosine { from, to, cycle: Some(cycle) } => {
                let (at, length) = turn(*cycle);
                wave(*from, *to, at / length)
            }
            Schedule::Cyclic { from, to, cycle } => {
                let (at, length) = turn(*cycle);
                mix(*from, *to, (at + 1.0) / length)
            }
            Schedule::Triangle { from, to, cycle } => {
                let (at, length) = turn(*cycle);
                let t = at / length;
                mix(*from, *to, if t < 0.5 { 2.0 * t } else { 2.0 - 2.0 * t })
            }
            Schedule::OneCycle { max, start, end, warmup } => {
                let start = start.unwrap_or(max / 25.0);
                let end = end.unwrap_or(start / 1e4);
                let total = total as f64;
                let top = match warmup {
                    Climb::Share(share) => share * total,
                    Climb::Span(span) => span.steps(steps_per_epoch, 1) as f64,
                };
                // As in PyTorch the last step has the end's value, and the top falls on the step before the climb's end.
                let (step, last, top) = ((step as f64).min(total - 1.0), total - 1.0, top - 1.0);
                if step <= top && top > 0.0 {
                    wave(start, *max, step / top)
                } else if last > top {
                    wave(*max, end, (step - top.max(0.0)) / (last - top.max(0.0)).max(1.0))
                } else {
                    *max
                }
            }
        }
    }

    /// The length of a cycle in steps, where the schedule has cycles: recorders look at their ends.
    #[must_use]
    pub fn cycle(&self, steps_per_epoch: u64) -> Option<u64> {
        match self {
            Schedule::Cosine { cycle: Some(cycle), .. }
            | Schedule::Cyclic { cycle, .. }
            | Schedule::Triangle { cycle, .. } => Some(cycle.steps(steps_per_epoch, 1).max(1)),
            _ => None,
        }
    }

    /// Lowest and highest value; (NaN, NaN) for an empty list.
    #[must_use]
    pub fn bounds(&self) -> (f64, f64) {
        let fold = |values: &[f64]| {
            values.iter().fold((f64::NAN, f64::NAN), |(low, high), &value| (value.min(low), value.max(high)))
        };
        match self {
            Schedule::Constant(value) => (*value, *value),
            Schedule::Ramp { from, to }
            | Schedule::Cosine { from, to, .. }
            | Schedule::Cyclic { from, to, .. }
            | Schedule::Triangle { from, to, .. } => fold(&[*from, *to]),
            Schedule::Curve(values) | Schedule::Steps(values) => fold(values),
            Schedule::OneCycle { max, start, end, .. } => {
                let start = start.unwrap_or(max / 25.0);
                fold(&[*max, start, end.unwrap_or(start / 1e4)])
            }
        }
    }

    fn fits(&self) -> Result<(), String> {
        let whole = |cycle: &Span| match cycle.unit {
            _ if cycle.value <= 0.0 => Err("a cycle must be longer than nothing".to_owned()),
            Unit::Sample => Err("a cycle is counted in epochs or steps, not in samples".to_owned()),
            Unit::Epoch | Unit::Step => Ok(()),
        };
        match self {
            Schedule::Curve(values) | Schedule::Steps(values) if values.is_empty() => {
                return Err("a schedule needs at least one value".to_owned());
            }
            Schedule::Cosine { cycle: Some(cycle), .. }
            | Schedule::Cyclic { cycle, .. }
            | Schedule::Triangle { cycle, .. } => whole(cycle)?,
            Schedule::OneCycle { warmup: Climb::Span(span), .. } => whole(span)?,
            _ => {}
        }
        let (low, high) = self.bounds();
        let finite = match self {
            // Folds skip NaN, so lists are looked at one by one.
            Schedule::Curve(values) | Schedule::Steps(values) => values.iter().all(|value| value.is_finite()),
            _ => low.is_finite() && high.is_finite(),
        };
        if finite { Ok(()) } else { Err("a schedule's values must be finite numbers".to_owned()) }
    }
}

fn mix(from: f64, to: f64, t: f64) -> f64 {
    (1.0 - t) * from + t * to
}

/// Half a cosine. Both ends are exact.
fn wave(from: f64, to: f64, t: f64) -> f64 {
    mix(from, to, 0.5 * (1.0 - libm::cos(PI * t)))
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Schedule::Constant(value) => serializer.serialize_f64(*value),
            _ => Schedule::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let schedule = match json.as_f64() {
            Some(value) => Schedule::Constant(value),
            None => Schedule::deserialize(json).map_err(D::Error::custom)?,
        };
        schedule.fits().map_err(D::Error::custom)?;
        Ok(schedule)
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "object"], "x-unit": "schedule" })
    }
}

impl Serialize for Climb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Climb::Share(share) => serializer.serialize_f64(*share),
            Climb::Span(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Climb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        // A fraction arrives bare or, inside a schedule of the canonical graph, as a value of its own.
        match json.as_f64().or_else(|| json.get("number").and_then(Json::as_f64)) {
            Some(share) if (0.0..=1.0).contains(&share) => Ok(Climb::Share(share)),
            Some(share) => Err(D::Error::custom(format!(
                "`warmup = {share}` is a share of the training and must lie in 0..1; write `{share} epochs` for a time"
            ))),
            None => Span::deserialize(json).map(Climb::Span).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests;
