//! `evaluate`: models, paths and ensembles among the inputs become flat weights, `fusion-learn` measures, the scores become facts and
//! what a report shows.

use fusion_learn::measure::forward::{Factory, Model};
use fusion_learn::measure::network::factory;
use fusion_learn::measure::workers::Run;
use fusion_learn::measure::{Inputs, MeasureError, NamedData, NamedPath, Subject};
use fusion_network::Flat;
use fusion_sdk::path::Geometry;
use fusion_sdk::rng::Key;
use fusion_sdk::{Context, ErrorKind, MethodError};
use serde_json::{Map, Value as Json};

use super::super::results::Result as StepResult;
use super::super::run::Runtime;
use super::super::{Feed, Input, Step, Task};
use super::members::Walked;
use super::watch::Working;
use super::{Made, ensemble, point, sections};
use crate::engine::{Event, RunError};

/// Whether settings fit a method.
pub(super) fn check(method: &str, settings: &Map<String, Json>) -> Result<(), MethodError> {
    fusion_learn::measure::check(method, settings)
}

/// What is loaded of an input.
enum Loaded {
    /// A model, or the members of an ensemble, each with the index of its architecture.
    Members(Vec<(usize, Flat)>),
    /// A path, with that of its points.
    Path(usize, Walked),
}

pub(super) fn run(runtime: &Runtime<'_>, step: &Step, threads: usize) -> Result<Made, RunError> {
    let fail = |error| measured(runtime, step, error);
    // One for each architecture: models are known to be the same by their factory and their values.
    let factories: Vec<_> = runtime
        .plan
        .experiment
        .architectures
        .iter()
        .map(|architecture| factory(architecture, &runtime.device))
        .collect();
    let loaded: Vec<Loaded> =
        step.inputs.iter().map(|input| load(runtime, step, input)).collect::<Result<_, _>>()?;
    let mut sets = Vec::new();
    for (role, node) in &step.data {
        let name = runtime.plan.experiment.data[node].name.clone();
        sets.push((role.as_str(), name, runtime.dataset(step, *node)?));
    }
    let named = |role: &str| {
        let own = sets.iter().filter(|(own, ..)| *own == role);
        own.map(|(_, name, set)| NamedData { name, set }).collect::<Vec<NamedData<'_>>>()
    };
    let (mut from, mut paths, mut base) = (Vec::new(), Vec::new(), None);
    let network = |index: usize| -> &Factory<'_> { &factories[index] };
    for (input, loaded) in step.inputs.iter().zip(&loaded) {
        match loaded {
            Loaded::Path(index, walked) => paths.push(NamedPath {
                name: &input.name,
                path: &walked.path,
                network: network(*index),
                statistics: walked.statistics.iter().map(Vec::as_slice).collect(),
            }),
            Loaded::Members(flats) => {
                let members: Vec<Model<'_>> = flats
                    .iter()
                    .map(|(index, flat)| Model {
                        name: &input.name,
                        network: network(*index),
                        weights: &flat.weights,
                        statistics: &flat.statistics,
                    })
                    .collect();
                match (input.role.as_str(), members.first()) {
                    ("base", Some(model)) => base = Some(*model),
                    _ => from.push(Subject { name: &input.name, members }),
                }
            }
        }
    }
    let first = runtime.build(step, runtime.architecture(step))?;
    let watch = Working { runtime, name: &step.name };
    let inputs = Inputs {
        from: &from,
        base,
        paths: &paths,
        data: &named("data"),
        train: named("train").first().copied(),
        segments: first.segments(),
        seed: step.seed,
        run: Run { threads, context: Context::new(&watch) },
    };
    let scores = fusion_learn::measure::evaluate(&step.method, &step.settings, &inputs).map_err(fail)?;
    for note in &scores.notes {
        runtime.emit(&Event::Warning { message: format!("`{}`: {note}", step.name) });
    }
    let result = StepResult {
        facts: scores.values.iter().cloned().collect(),
        shown: scores.shown.clone(),
        sections: vec![sections::scores(step, &scores)],
        cost: scores.cost.clone(),
        seconds: 0.0,
    };
    Ok(Made { result, files: Vec::new() })
}

/// Flat weights of an input.
fn load(runtime: &Runtime<'_>, step: &Step, input: &Input) -> Result<Loaded, RunError> {
    let index = runtime.architecture_index(step, input);
    let Feed::Result(node) = &input.feed else {
        let network = runtime.build(step, runtime.architecture_of(step, input))?;
        return Ok(Loaded::Members(vec![(index, runtime.flat(step, input, &network)?)]));
    };
    let Some(made) = runtime.plan.experiment.step(*node) else {
        return Err(runtime.failed(step, format!("`{}` has not been run", input.name), None));
    };
    match made.task {
        Task::Ensemble => Ok(Loaded::Members(members(runtime, made)?)),
        _ => Ok(Loaded::Path(index, runtime.path(step, *node)?)),
    }
}

/// The members of an ensemble, points of paths among them.
fn members(runtime: &Runtime<'_>, step: &Step) -> Result<Vec<(usize, Flat)>, RunError> {
    let mut settings = step.settings.clone();
    settings.remove("seed");
    let params = ensemble::read(&settings).map_err(|error| runtime.refused(step, error))?;
    let mut members = Vec::new();
    for (index, input) in step.inputs.iter().enumerate() {
        let architecture = runtime.architecture_index(step, input);
        let Feed::Result(node) = &input.feed else {
            let network = runtime.build(step, runtime.architecture_of(step, input))?;
            members.push((architecture, runtime.flat(step, input, &network)?));
            continue;
        };
        let walked = runtime.path(step, *node)?;
        let path = &walked.path;
        for at in 0..params.points {
            let mut weights = vec![0.0; path.len()];
            match path.geometry {
                Geometry::Gaussian | Geometry::Simplex | Geometry::Complex { .. } => {
                    let key = Key::new(step.seed, "soft_vote", (index * params.points + at) as u64);
                    point::random(path, key, params.scale, &mut weights)
                        .map_err(|error| runtime.failed(step, error.to_string(), None))?;
                }
                _ => path.at(at as f64 / (params.points.max(2) - 1) as f64, &mut weights),
            }
            // Points have no statistics of their own: whoever measures them must say where they come from.
            members.push((architecture, Flat { weights, statistics: Vec::new() }));
        }
    }
    Ok(members)
}

/// An error of measuring as one of the run.
pub(super) fn measured(runtime: &Runtime<'_>, step: &Step, error: MeasureError) -> RunError {
    match error {
        MeasureError::Method(error) => runtime.refused(step, error),
        MeasureError::Unsuitable { what, help } => {
            let mut refused = MethodError::new(ErrorKind::Invalid, what);
            refused.help = Some(help);
            runtime.refused(step, refused)
        }
        other => runtime.failed(step, other.to_string(), None),
    }
}
