//! `repair using batch_norm`: running statistics are measured again with training data, as any change of weights by arithmetic needs.

use fusion_learn::measure::batches::Batches;
use fusion_learn::measure::network::factory;
use fusion_learn::measure::norm::{NormPolicy, NormSource};
use fusion_network::Flat;
use fusion_sdk::{
    About, Category, Claim, Class, Described, MethodError, NoParams, Params, Port, Space, method,
};
use serde_json::{Map, Value as Json};

use super::super::super::Step;
use super::super::super::results::Result as StepResult;
use super::super::super::run::Runtime;
use super::super::{File, Made, evaluate, pool};
use super::enough;
use crate::engine::RunError;

/// Stage parameters of `batch_norm`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct BatchNormParams {
    /// batches that are looked at (default: all of the data)
    #[param(range = 1..)]
    pub batches: Option<u32>,
    /// examples of a batch
    #[param(range = 2.., default = 500)]
    pub batch: u32,
}

/// What the language sees.
pub(super) fn described() -> Described {
    method::described::<BatchNormParams, NoParams>(
        About {
            id: "batch_norm",
            version: 1,
            category: Category::Repair,
            summary: "running statistics of BatchNorm, measured again with data",
            formula: "μ ← Σ bᵢ μᵢ / Σ bᵢ, σ² ← Σ bᵢ σᵢ² / Σ bᵢ over batches of bᵢ examples, σᵢ² unbiased, in train mode",
            citation: "Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018",
            ports: vec![
                Port {
                    role: "from",
                    space: Space::Model,
                    min: 1,
                    max: Some(1),
                    settings: false,
                    doc: "the model whose statistics are stale",
                },
                Port {
                    role: "data",
                    space: Space::Dataset,
                    min: 1,
                    max: Some(1),
                    settings: false,
                    doc: "training data, with the augmentation of the training",
                },
            ],
            random: true,
            claims: &[Claim::Deterministic, Claim::Idempotent],
        },
        Class::Learn,
        0,
    )
}

pub(super) fn read(settings: &Map<String, Json>) -> Result<BatchNormParams, MethodError> {
    let params = BatchNormParams::from_settings(settings)?;
    params.check()?;
    Ok(params)
}

pub(super) fn run(runtime: &Runtime<'_>, step: &Step) -> Result<Made, RunError> {
    let mut settings = step.settings.clone();
    settings.remove("seed");
    let params = read(&settings).map_err(|error| runtime.refused(step, error))?;
    let (Some(input), Some((_, node))) = (step.inputs.first(), step.data.first()) else {
        return Err(runtime.failed(step, "a model and data are needed", None));
    };
    let architecture = runtime.architecture(step);
    let network = runtime.build(step, architecture)?;
    let flat = runtime.flat(step, input, &network)?;
    let data = runtime.dataset(step, *node)?;
    enough(data.len()).map_err(|error| runtime.refused(step, error))?;
    let fail = |error| evaluate::measured(runtime, step, error);
    let limit = params.batches.map(|batches| batches as usize);
    let batches = Batches::training("data", &data, params.batch as usize, step.seed, limit).map_err(fail)?;
    let norm = NormSource { policy: Some(NormPolicy::Reset), train: Some(&batches), momentum: 0.1 };
    let statistics = pool(1).map_err(RunError::Threads)?.install(|| {
        let mut forward = factory(architecture, &runtime.device)()?;
        norm.statistics(&mut *forward, &flat.weights, || Ok(flat.statistics.clone()))
    });
    let statistics = statistics.map_err(fail)?.unwrap_or_default();
    let tracked = i64::try_from(batches.count()).unwrap_or(i64::MAX);
    let state = network
        .unflatten(&Flat { weights: flat.weights, statistics }, tracked)
        .map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let result = StepResult { cost: format!("{} batches", batches.count()), ..StepResult::default() };
    Ok(Made { result, files: vec![File::Model("model".to_owned(), state)] })
}
