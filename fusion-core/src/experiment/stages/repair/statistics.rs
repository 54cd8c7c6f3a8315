//! `repair using repair`, `rescale` and `reshift`: units of an averaged network get the mean and spread of those that were averaged.

use fusion_data::Dataset;
use fusion_learn::measure::batches::Batches;
use fusion_learn::measure::workers::Run;
use fusion_learn::repair::{Endpoint, Form, Repair, Repaired, Spread, repair as run_repair};
use fusion_network::Correct;
use fusion_sdk::{
    About, Category, Claim, Class, Context, Described, MethodError, NoParams, Params, Port, method,
};
use serde_json::{Map, Value as Json};

use super::super::super::Step;
use super::super::super::results::{Facts, Result as StepResult};
use super::super::super::run::Runtime;
use super::super::watch::Working;
use super::super::{File, Made, evaluate, sections};
use super::{DATA, FROM, endpoints, enough, inputs, shares};
use crate::engine::RunError;

/// Stage parameters of `repair` and `rescale`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct SpreadParams {
    /// the share of each endpoint in the average, in their order (default: equal ones)
    #[param(range = 0..=1)]
    pub weights: Option<Vec<f64>>,
    /// examples of a batch
    #[param(range = 2.., default = 500)]
    pub batch: u32,
    /// batches that are looked at (default: all of the data)
    #[param(range = 1..)]
    pub batches: Option<u32>,
    /// passes over the data, shuffled and augmented anew
    #[param(range = 1..=1000, default = 1)]
    pub passes: u32,
    /// how the statistics of the average are found
    #[param(default = Form::Forward)]
    pub form: Form,
    /// what spread units should have
    #[param(default = Spread::Std)]
    pub goal: Spread,
}

/// Stage parameters of `reshift`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct ShiftParams {
    /// the share of each endpoint in the average, in their order (default: equal ones)
    #[param(range = 0..=1)]
    pub weights: Option<Vec<f64>>,
    /// examples of a batch
    #[param(range = 2.., default = 500)]
    pub batch: u32,
    /// batches that are looked at (default: all of the data)
    #[param(range = 1..)]
    pub batches: Option<u32>,
    /// passes over the data, shuffled and augmented anew
    #[param(range = 1..=1000, default = 1)]
    pub passes: u32,
}

const RETHINK: &str = "Qu, Horváth, Rethink model re-basin and the linear mode connectivity, 2024";

fn about(id: &'static str, summary: &'static str, formula: &'static str, citation: &'static str) -> About {
    About {
        id,
        version: 1,
        category: Category::Repair,
        summary,
        formula,
        citation,
        ports: ports(),
        random: true,
        claims: &[Claim::Deterministic],
    }
}

fn ports() -> Vec<Port> {
    vec![FROM, endpoints(2), DATA]
}

/// What the language sees of `repair`.
pub(super) fn repair() -> Described {
    let about = about(
        "repair",
        "units of an averaged network get the mean and spread that the averaged ones have",
        "W ← s·W, b ← s·(b − μ) + Σ αᵢ μᵢ with s = Σ αᵢ σᵢ / σ, by unit in front of its activation; μ and σ of the average, each layer behind corrected ones",
        "Jordan et al., REPAIR: renormalizing permuted activations for interpolation repair, ICLR 2023",
    );
    method::described::<SpreadParams, NoParams>(about, Class::Learn, 0)
}

/// What it sees of `rescale`.
pub(super) fn rescale() -> Described {
    let about = about(
        "rescale",
        "units of an averaged network get the spread that the averaged ones have; needs no bias",
        "W ← s·W, b ← s·b with s = Σ αᵢ σᵢ / σ, by unit in front of its activation",
        RETHINK,
    );
    method::described::<SpreadParams, NoParams>(about, Class::Learn, 0)
}

/// What it sees of `reshift`.
pub(super) fn reshift() -> Described {
    let about = about(
        "reshift",
        "units of an averaged network get the mean that the averaged ones have",
        "b ← b − μ + Σ αᵢ μᵢ, by unit in front of its activation",
        RETHINK,
    );
    method::described::<ShiftParams, NoParams>(about, Class::Learn, 0)
}

/// Settings of any of the three.
struct Plan {
    kind: Correct,
    shares: Vec<f64>,
    params: SpreadParams,
}

fn read(method: &str, settings: &Map<String, Json>, endpoints: usize) -> Result<Plan, MethodError> {
    let kind = match method {
        "rescale" => Correct::Scale,
        "reshift" => Correct::Shift,
        _ => Correct::Both,
    };
    let params = match kind {
        Correct::Shift => {
            let own = ShiftParams::from_settings(settings)?;
            own.check()?;
            let ShiftParams { weights, batch, batches, passes } = own;
            SpreadParams { weights, batch, batches, passes, form: Form::Forward, goal: Spread::Std }
        }
        Correct::Both | Correct::Scale => {
            let own = SpreadParams::from_settings(settings)?;
            own.check()?;
            own
        }
    };
    if params.batches.is_some() && params.passes > 1 {
        let help = "`batches` counts on over the end of a pass";
        return Err(MethodError::invalid("`batches` and `passes` exclude each other")
            .at("passes")
            .help(help));
    }
    Ok(Plan { kind, shares: shares(&params.weights, endpoints)?, params })
}

/// Whether settings fit a method and its endpoints.
pub(super) fn check(method: &str, settings: &Map<String, Json>, endpoints: usize) -> Result<(), MethodError> {
    read(method, settings, endpoints).map(drop)
}

/// Batches of all passes; `None` for one pass.
fn count(data: &Dataset, params: &SpreadParams) -> Option<usize> {
    let (size, passes) = (params.batch as usize, params.passes as usize);
    match params.batches {
        Some(batches) => Some(batches as usize),
        None if passes == 1 => None,
        // An example that is alone is left out.
        None => Some(passes * (data.len() / size + usize::from(data.len() % size > 1)).max(1)),
    }
}

pub(super) fn run(runtime: &Runtime<'_>, step: &Step, threads: usize) -> Result<Made, RunError> {
    let mut settings = step.settings.clone();
    settings.remove("seed");
    let (from, others) = inputs(step);
    let plan = read(&step.method, &settings, others.len()).map_err(|error| runtime.refused(step, error))?;
    let (Some(from), Some((_, node))) = (from, step.data.first()) else {
        return Err(runtime.failed(step, "a model and data are needed", None));
    };
    let architecture = runtime.architecture(step);
    let network = runtime.build(step, architecture)?;
    let merged = runtime.flat(step, from, &network)?;
    let mut flats = Vec::with_capacity(others.len());
    for input in &others {
        flats.push(runtime.flat(step, input, &network)?);
    }
    let endpoints: Vec<Endpoint<'_>> = others
        .iter()
        .zip(&flats)
        .zip(&plan.shares)
        .map(|((input, flat), &share)| Endpoint { name: &input.name, flat, share })
        .collect();
    let data = runtime.dataset(step, *node)?;
    enough(data.len()).map_err(|error| runtime.refused(step, error))?;
    let fail = |error| evaluate::measured(runtime, step, error);
    let count = count(&data, &plan.params);
    let batches =
        Batches::training("data", &data, plan.params.batch as usize, step.seed, count).map_err(fail)?;
    let watch = Working { runtime, name: &step.name };
    let repaired = run_repair(&Repair {
        architecture,
        device: &runtime.device,
        merged: Endpoint { name: &from.name, flat: &merged, share: 1.0 },
        endpoints: &endpoints,
        kind: plan.kind,
        form: plan.params.form,
        spread: plan.params.goal,
        batches: &batches,
        run: Run { threads, context: Context::new(&watch) },
    })
    .map_err(fail)?;
    let facts = facts(&repaired);
    let tracked = if network.statistics_len() > 0 { batches.count() } else { 0 };
    let section = sections::repair(step, &repaired);
    let state = network
        .unflatten(&repaired.flat, i64::try_from(tracked).unwrap_or(i64::MAX))
        .map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let result = StepResult {
        facts,
        shown: ["corrected", "variance_before", "variance_after"].map(str::to_owned).to_vec(),
        sections: vec![section],
        cost: format!("{} layers, {} batches", repaired.layers.len(), batches.count()),
        ..StepResult::default()
    };
    Ok(Made { result, files: vec![File::Model("model".to_owned(), state)] })
}

/// Numbers for `expect`.
fn facts(repaired: &Repaired) -> Facts {
    let [before, after] = repaired.variances();
    let dead: usize = repaired.layers.iter().map(|layer| layer.dead).sum();
    [
        ("corrected", repaired.layers.len() as f64),
        ("dead", dead as f64),
        ("variance_before", before),
        ("variance_after", after),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
