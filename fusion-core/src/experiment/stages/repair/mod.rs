//! `repair`: what averaging has done to a network's statistics is put right, one file for each method.

mod batch_norm;
mod bias_correction;
mod statistics;

use fusion_dsl::descriptor::Verb;
use fusion_sdk::{Described, MethodError, Port, Space};
use serde_json::{Map, Value as Json};

use super::super::run::Runtime;
use super::super::{Input, Step};
use super::Made;
use crate::engine::RunError;

/// A method's name, what the language sees of it, whether settings fit a number of endpoints, and how it runs.
struct Method {
    id: &'static str,
    described: fn() -> Described,
    check: fn(&Map<String, Json>, usize) -> Result<(), MethodError>,
    run: fn(&Runtime<'_>, &Step, usize) -> Result<Made, RunError>,
}

const METHODS: [Method; 5] = [
    Method {
        id: "batch_norm",
        described: batch_norm::described,
        check: |settings, _| batch_norm::read(settings).map(drop),
        run: |runtime, step, _| batch_norm::run(runtime, step),
    },
    Method {
        id: "repair",
        described: statistics::repair,
        check: |settings, endpoints| statistics::check("repair", settings, endpoints),
        run: statistics::run,
    },
    Method {
        id: "rescale",
        described: statistics::rescale,
        check: |settings, endpoints| statistics::check("rescale", settings, endpoints),
        run: statistics::run,
    },
    Method {
        id: "reshift",
        described: statistics::reshift,
        check: |settings, endpoints| statistics::check("reshift", settings, endpoints),
        run: statistics::run,
    },
    Method {
        id: "bias_correction",
        described: bias_correction::described,
        check: |settings, endpoints| bias_correction::read(settings, endpoints).map(drop),
        run: |runtime, step, _| bias_correction::run(runtime, step),
    },
];

/// What the language sees.
pub(super) fn described() -> impl Iterator<Item = Described> {
    METHODS.iter().map(|method| (method.described)())
}

/// Whether settings fit, with this many models (the averaged one and its endpoints), and examples where their number is known.
pub(super) fn check(
    method: &str,
    settings: &Map<String, Json>,
    models: usize,
    examples: Option<usize>,
) -> Result<(), MethodError> {
    let method = of(method)?;
    (method.check)(settings, models.saturating_sub(1))?;
    match examples {
        Some(examples) if (method.described)().about.ports.iter().any(|port| port.role == DATA.role) => {
            enough(examples)
        }
        _ => Ok(()),
    }
}

/// Refuses data without any spread: all of it is one example, or none.
fn enough(examples: usize) -> Result<(), MethodError> {
    if examples > 1 {
        return Ok(());
    }
    let message = format!(
        "the data has {}: there is no mean and variance of activations over it",
        match examples {
            0 => "no example",
            _ => "a single example",
        }
    );
    Err(MethodError::invalid(message)
        .help("a batch takes at least 2 examples; some hundreds give good statistics"))
}

pub(super) fn run(runtime: &Runtime<'_>, step: &Step, threads: usize) -> Result<Made, RunError> {
    let method = of(&step.method).map_err(|error| runtime.refused(step, error))?;
    (method.run)(runtime, step, threads)
}

fn of(method: &str) -> Result<&'static Method, MethodError> {
    let unknown = || MethodError::invalid(format!("{} has no method `{method}`", Verb::Repair.word()));
    METHODS.iter().find(|own| own.id == method).ok_or_else(unknown)
}

/// The averaged model.
const FROM: Port = Port {
    role: "from",
    space: Space::Model,
    min: 1,
    max: Some(1),
    settings: false,
    doc: "the averaged model",
};

/// Training data.
const DATA: Port = Port {
    role: "data",
    space: Space::Dataset,
    min: 1,
    max: Some(1),
    settings: false,
    doc: "training data, with the augmentation of the training",
};

/// The models that were averaged.
const fn endpoints(min: u32) -> Port {
    Port {
        role: ENDPOINTS,
        space: Space::Model,
        min,
        max: None,
        settings: false,
        doc: "the models that were averaged, in the form they were averaged in (aligned)",
    }
}

const ENDPOINTS: &str = "endpoints";

/// A step's averaged model and its endpoints.
fn inputs(step: &Step) -> (Option<&Input>, Vec<&Input>) {
    let (endpoints, from): (Vec<&Input>, Vec<&Input>) =
        step.inputs.iter().partition(|input| input.role == ENDPOINTS);
    (from.first().copied(), endpoints)
}

/// The share of each endpoint: as given, or equal ones.
fn shares(weights: &Option<Vec<f64>>, endpoints: usize) -> Result<Vec<f64>, MethodError> {
    let Some(weights) = weights else { return Ok(vec![1.0 / endpoints.max(1) as f64; endpoints]) };
    if weights.len() != endpoints {
        let message = format!("there are {} `weights` for {endpoints} endpoints", weights.len());
        return Err(MethodError::invalid(message).at("weights").help("give one for each, in their order"));
    }
    let sum: f64 = weights.iter().sum();
    if (sum - 1.0).abs() > 1e-6 {
        let message = format!("the `weights` add up to {sum}");
        let help = "they are shares of the average, and add up to 1";
        return Err(MethodError::invalid(message).at("weights").help(help));
    }
    Ok(weights.iter().map(|weight| weight / sum).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn weights_are_shares() {
        assert_eq!(shares(&None, 4), Ok(vec![0.25; 4]));
        assert_eq!(shares(&Some(vec![0.25, 0.75]), 2), Ok(vec![0.25, 0.75]));
        for (weights, word) in [(vec![0.5, 0.6], "add up to 1.1"), (vec![1.0], "1 `weights` for 2")] {
            let error = shares(&Some(weights), 2).unwrap_err();
            assert!(error.message.contains(word), "{}", error.message);
        }
    }

    #[test]
    fn a_single_example_has_no_variance() {
        let of = |method: &str, models: usize, examples: Option<usize>| {
            check(method, &Map::new(), models, examples).map_err(|error| error.message)
        };
        for (method, models) in [("repair", 3), ("rescale", 3), ("reshift", 3), ("batch_norm", 1)] {
            assert!(of(method, models, Some(1)).unwrap_err().contains("a single example"), "{method}");
            assert!(of(method, models, Some(0)).unwrap_err().contains("no example"), "{method}");
            assert_eq!(of(method, models, Some(2)), Ok(()), "{method}");
            assert_eq!(of(method, models, None), Ok(()), "{method}");
        }
        assert_eq!(of("bias_correction", 1, Some(1)), Ok(()));
    }

    #[test]
    fn settings_are_checked_against_the_endpoints() {
        let of = |method: &str, settings: Json, models: usize| {
            check(method, settings.as_object().unwrap(), models, Some(2)).map_err(|error| error.message)
        };
        assert_eq!(of("repair", json!({ "weights": [0.5, 0.5], "form": "closed" }), 3), Ok(()));
        assert!(of("repair", json!({ "weights": [0.5, 0.5] }), 4).is_err());
        assert!(of("rescale", json!({ "passes": 2, "batches": 3 }), 3).is_err());
        assert!(of("reshift", json!({ "form": "closed" }), 3).is_err());
        assert_eq!(of("bias_correction", json!({}), 1), Ok(()));
        assert!(of("bias_correction", json!({ "alpha": 0.5 }), 3).is_err());
        assert!(of("bias_correction", json!({ "weights": [1.0] }), 1).is_err());
        assert_eq!(of("batch_norm", json!({ "batch": 4 }), 1), Ok(()));
    }
}
