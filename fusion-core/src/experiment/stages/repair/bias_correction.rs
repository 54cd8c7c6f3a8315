//! `repair using bias_correction`: biases shrink with their height, without any data.

use fusion_learn::repair::{Biased, Endpoint, correct_biases};
use fusion_network::Flat;
use fusion_sdk::{About, Category, Claim, Class, Described, MethodError, NoParams, Params, method};
use serde_json::{Map, Value as Json};

use super::super::super::Step;
use super::super::super::results::{Facts, Result as StepResult};
use super::super::super::run::Runtime;
use super::super::{File, Made, evaluate, sections};
use super::{FROM, endpoints, inputs, shares};
use crate::engine::RunError;

/// α of the mean of two models.
const HALF: f64 = 0.5;

/// Stage parameters of `bias_correction`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct BiasParams {
    /// without endpoints: the share that each model has in the average (default: ½, the mean of two)
    #[param(above = 0, range = ..=1)]
    pub alpha: Option<f64>,
    /// the share of each endpoint in the average, in their order (default: equal ones)
    #[param(range = 0..=1)]
    pub weights: Option<Vec<f64>>,
}

/// What the language sees.
pub(super) fn described() -> Described {
    method::described::<BiasParams, NoParams>(
        About {
            id: "bias_correction",
            version: 1,
            category: Category::Repair,
            summary: "biases of an averaged network shrink with their height, as its signals do; without data",
            formula: "b_h ← Σ αᵢ^h b_{h,i} for the layer at height h = 1, 2, …; without endpoints α^(h−1) b_h, the same for equal shares α",
            citation: "Qu, Horváth, Rethink model re-basin and the linear mode connectivity, 2024",
            ports: vec![FROM, endpoints(0)],
            random: false,
            claims: &[Claim::Deterministic],
        },
        Class::Learn,
        0,
    )
}

pub(super) fn read(settings: &Map<String, Json>, endpoints: usize) -> Result<BiasParams, MethodError> {
    let params = BiasParams::from_settings(settings)?;
    params.check()?;
    let exclude =
        |message: &str, at: &'static str, help: &str| Err(MethodError::invalid(message).at(at).help(help));
    if endpoints > 0 && params.alpha.is_some() {
        let help = "the endpoints' shares are their `weights`";
        return exclude("`alpha` is for averages without `endpoints`", "alpha", help);
    }
    if endpoints == 0 && params.weights.is_some() {
        let help = "add `endpoints`, or give the one share of all as `alpha`";
        return exclude("`weights` are those of `endpoints`, and there are none", "weights", help);
    }
    shares(&params.weights, endpoints)?;
    Ok(params)
}

pub(super) fn run(runtime: &Runtime<'_>, step: &Step) -> Result<Made, RunError> {
    let mut settings = step.settings.clone();
    settings.remove("seed");
    let (from, others) = inputs(step);
    let refused = |error| runtime.refused(step, error);
    let params = read(&settings, others.len()).map_err(refused)?;
    let shares = shares(&params.weights, others.len()).map_err(refused)?;
    let Some(from) = from else { return Err(runtime.failed(step, "a model is needed", None)) };
    let network = runtime.build(step, runtime.architecture(step))?;
    let mut merged = runtime.flat(step, from, &network)?;
    let mut flats: Vec<Flat> = Vec::with_capacity(others.len());
    for input in &others {
        flats.push(runtime.flat(step, input, &network)?);
    }
    let endpoints: Vec<Endpoint<'_>> = others
        .iter()
        .zip(&flats)
        .zip(shares)
        .map(|((input, flat), share)| Endpoint { name: &input.name, flat, share })
        .collect();
    let alpha = params.alpha.unwrap_or(HALF);
    let found = correct_biases(&network, &mut merged.weights, &endpoints, alpha)
        .map_err(|error| evaluate::measured(runtime, step, error))?;
    let state =
        network.unflatten(&merged, 0).map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let result = StepResult {
        facts: facts(&found),
        shown: vec!["corrected".to_owned(), "ratio".to_owned()],
        sections: vec![sections::biases(step, &found)],
        cost: format!("{} biases", found.len()),
        ..StepResult::default()
    };
    Ok(Made { result, files: vec![File::Model("model".to_owned(), state)] })
}

/// Numbers for `expect`: how many biases there are, and what is left of the last one.
fn facts(found: &[Biased]) -> Facts {
    let last = found.last().map_or(f64::NAN, |biased| biased.ratio);
    [("corrected", found.len() as f64), ("ratio", last)].map(|(name, value)| (name.to_owned(), value)).into()
}
