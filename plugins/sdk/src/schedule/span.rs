//! Stretches of a training: `40 epochs`, `500 steps`, `10000 samples`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

/// What a span is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Passes over the training data.
    Epoch,
    /// Steps of the optimiser.
    Step,
    /// Examples.
    Sample,
}

/// A stretch of a training. As JSON `{"value": 40, "unit": "epoch"}`, or a plain number of epochs; also in the form that the canonical
/// graph gives a value inside of another one (`{"quantity": …}`, `{"number": …}`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Span {
    /// How many, at least 0; fractions are allowed.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
}

impl Span {
    /// Epochs.
    #[must_use]
    pub const fn epochs(value: f64) -> Self {
        Span { value, unit: Unit::Epoch }
    }

    /// Steps.
    #[must_use]
    pub const fn of_steps(value: u64) -> Self {
        Span { value: value as f64, unit: Unit::Step }
    }

    /// The nearest whole number of steps, at least 1 unless the span is empty. An epoch has `steps_per_epoch` steps, a step takes
    /// `batch` examples.
    #[must_use]
    pub fn steps(self, steps_per_epoch: u64, batch: usize) -> u64 {
        let steps = match self.unit {
            Unit::Epoch => self.value * steps_per_epoch as f64,
            Unit::Step => self.value,
            Unit::Sample => self.value / batch.max(1) as f64,
        };
        match self.value > 0.0 {
            true => (steps.round() as u64).max(1),
            false => 0,
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            value: f64,
            unit: String,
        }
        let json = Json::deserialize(deserializer)?;
        let json = json.get("quantity").or_else(|| json.get("number")).unwrap_or(&json);
        let span = match json.as_f64() {
            Some(value) => Span::epochs(value),
            None => {
                let parts = Parts::deserialize(json).map_err(|error| {
                    D::Error::custom(format!("expected a span such as `4 epochs` or `500 steps`: {error}"))
                })?;
                let unit = match parts.unit.as_str() {
                    "epoch" => Unit::Epoch,
                    "step" => Unit::Step,
                    "sample" => Unit::Sample,
                    other => {
                        return Err(D::Error::custom(format!(
                            "a training is measured in epochs, steps or samples, not in {other}s"
                        )));
                    }
                };
                Span { value: parts.value, unit }
            }
        };
        match span.value >= 0.0 && span.value.is_finite() {
            true => Ok(span),
            false => Err(D::Error::custom(format!("a span of {} is no length of time", span.value))),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "object"], "x-unit": "span" })
    }
}
