//! Settings of the `evaluate` methods. Each has its own and, where it runs networks, those that all of these share.

use fusion_sdk::{MethodError, NoParams, Params, Words};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use crate::measure::metric::Metric;
use crate::measure::norm::NormPolicy;

/// What every method that runs networks can be told.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct RunParams {
    /// examples that a network sees at once
    #[param(range = 1.., default = 500)]
    pub batch: usize,
    /// where BatchNorm's statistics come from; models have their own (`keep`), points between models need another word here
    pub norm: Option<NormPolicy>,
    /// batches of the port `train` for `reset` (default: one pass) and `ema` (default: 100)
    #[param(range = 1..)]
    pub norm_batches: Option<usize>,
    /// examples of such a batch
    #[param(range = 2.., default = 500)]
    pub norm_batch: usize,
    /// how far `ema` moves towards each batch
    #[param(above = 0.0, range = ..=1.0, default = 0.1)]
    pub norm_momentum: f64,
}

/// Settings of `ece`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct EceParams {
    /// intervals of equal width for the confidence
    #[param(range = 1..=1000, default = 15)]
    pub bins: usize,
}

/// Settings of `cka`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct CkaParams {
    /// which layers of two models are compared
    #[param(default = Layers::Matched)]
    pub layers: Layers,
    /// at most that many examples, the first of the data, in whole batches; memory grows with their square for wide layers
    #[param(range = 2.., default = 2000)]
    pub examples: usize,
}

/// Which layers of two models are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Layers {
    /// those of the same name
    Matched,
    /// each with each
    All,
}

/// Settings of `barrier`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct BarrierParams {
    /// points on the path, with both ends; an even number gets the midpoint in addition
    #[param(range = 2..=10000, default = 25)]
    pub points: usize,
    /// what `height`, `chord` and the others are of; all metrics have them under their own name too
    #[param(default = Metric::Loss)]
    pub metric: Metric,
}

/// Settings of `mergeable`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct MergeableParams {
    /// points on the line between two models, with both ends; an even number gets the midpoint in addition
    #[param(range = 2..=10000, default = 11)]
    pub points: usize,
    /// what the barriers are of
    #[param(default = Metric::Loss)]
    pub metric: Metric,
}

/// Settings of `landscape`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct LandscapeParams {
    /// points along each axis
    #[param(range = 2..=1000, default = 21)]
    pub resolution: usize,
    /// how far the map goes beyond the models and paths, as a share of their extent
    #[param(unit = fraction, range = 0..=10, default = 0.2)]
    pub margin: f64,
    /// what `min` and `max` are of; the map is drawn of the loss and, where there are classes, of the error
    #[param(default = Metric::Loss)]
    pub metric: Metric,
}

/// Splits settings into those of [`RunParams`] and a method's own, and checks both.
///
/// # Errors
/// Unknown names, wrong types, values out of range.
pub(crate) fn split<P: Params>(settings: &Map<String, Json>) -> Result<(RunParams, P), MethodError> {
    let shared = properties::<RunParams>().0;
    let (mut common, mut own) = (Map::new(), Map::new());
    for (name, value) in settings.iter().filter(|(name, _)| *name != "seed") {
        let part = if shared.contains_key(name) { &mut common } else { &mut own };
        part.insert(name.clone(), value.clone());
    }
    Ok((read(&common)?, read(&own)?))
}

/// Reads and checks settings.
pub(crate) fn read<P: Params>(settings: &Map<String, Json>) -> Result<P, MethodError> {
    let params = P::from_settings(settings)?;
    params.check()?;
    Ok(params)
}

/// The schema of a method's own settings, with those of [`RunParams`] and the seed behind them where it runs networks.
pub(crate) fn schema<P: Params>(runs: bool) -> Json {
    let (mut all, mut required) = properties::<P>();
    if runs {
        let (shared, needed) = properties::<RunParams>();
        all.extend(shared);
        required.extend(needed);
        all.insert(
            "seed".to_owned(),
            json!({
                "type": "integer", "minimum": 0, "x-unit": "seed",
                "description": "starts the random stream of the order and augmentation of the batches that `norm` counts; derived from the recipe where it is not given, and shown in the plan"
            }),
        );
    }
    let mut schema = json!({ "type": "object", "properties": all, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// Properties and required names, with subschemas in place so that they can be put together.
fn properties<P: Params>() -> (Map<String, Json>, Vec<Json>) {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<P>().to_value();
    let properties = schema.get_mut("properties").and_then(Json::as_object_mut).map(std::mem::take);
    let required = schema.get_mut("required").and_then(Json::as_array_mut).map(std::mem::take);
    (properties.unwrap_or_default(), required.unwrap_or_default())
}

/// Methods without settings of their own.
pub(crate) type Plain = NoParams;
