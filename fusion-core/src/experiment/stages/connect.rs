//! `connect`: the method finds a path on flat weights; the engine gives it the loss on the stage's data.

use fusion_data::BatchOptions;
use fusion_learn::objective::NetworkObjective;
use fusion_learn::shards::Shards;
use fusion_network::Flat;
use fusion_sdk::Context;
use fusion_sdk::connect::Search;
use fusion_sdk::objective::Objective;
use fusion_sdk::path::Geometry;

use super::super::results::{Facts, Result as StepResult};
use super::super::run::Runtime;
use super::super::{Feed, Step};
use super::watch::Working;
use super::{BATCH, File, Made, SHARDS, sections};
use crate::engine::RunError;
use crate::method::{DEFAULT_BATCH, DEFAULT_SHARDS};

pub(super) fn run(runtime: &Runtime<'_>, step: &Step, threads: usize) -> Result<Made, RunError> {
    let method = runtime
        .registry
        .learned(fusion_dsl::descriptor::Verb::Connect, &step.method)
        .and_then(|learned| learned.path.as_ref())
        .ok_or_else(|| runtime.failed(step, "the method is not there", None))?;
    let mut settings = step.settings.clone();
    settings.remove("seed");
    let shards =
        settings.remove(SHARDS).and_then(|shards| shards.as_u64()).unwrap_or(DEFAULT_SHARDS) as usize;
    let size = settings.remove(BATCH).and_then(|size| size.as_u64()).unwrap_or(DEFAULT_BATCH) as usize;
    let kernel =
        method.prepare(&settings, step.inputs.len()).map_err(|error| runtime.refused(step, error))?;
    let architecture = runtime.architecture(step);
    let network = runtime.build(step, architecture)?;
    let mut flats = Vec::new();
    for input in &step.inputs {
        flats.push(runtime.flat(step, input, &network)?);
    }
    let mut own = Shards::new(architecture, &runtime.device, shards, threads)
        .map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let mut objective = match step.data.iter().find(|(role, _)| role == "data") {
        None => None,
        Some((_, node)) => {
            let data = runtime.dataset(step, *node)?;
            let options = BatchOptions { size, seed: step.seed, ..BatchOptions::default() };
            let objective = NetworkObjective::new(&mut own, &data, options, 0.0);
            Some(objective.map_err(|error| runtime.refused(step, error))?)
        }
    };
    let models: Vec<&[f32]> = flats.iter().map(|flat| flat.weights.as_slice()).collect();
    let counts = counts(step, method.describe().about.ports.iter().map(|port| port.role));
    // Networks that the method draws itself are drawn like the first weights that it starts from; what a stage has made says nothing of how.
    let init = step.inputs.iter().find_map(|input| match &input.feed {
        Feed::Model { view, .. } => view.network.map(|network| network.init),
        _ => None,
    });
    let fresh = |seed: u64| {
        let drawn = architecture.initial_by(seed, init.unwrap_or_default());
        network.flatten(&drawn).map(|flat| flat.weights).unwrap_or_default()
    };
    let watch = Working { runtime, name: &step.name };
    let search = Search {
        models: &models,
        counts: &counts,
        objective: objective.as_mut().map(|objective| objective as &mut dyn Objective),
        fresh: Some(&fresh),
        seed: step.seed,
        context: Context::new(&watch),
    };
    let pool = super::pool(1).map_err(RunError::Threads)?;
    let path = pool.install(|| kernel.connect(search)).map_err(|error| runtime.refused(step, error))?;
    let mut facts = Facts::new();
    facts.insert("points".to_owned(), path.points.len() as f64);
    if !matches!(path.geometry, Geometry::Gaussian | Geometry::Plane | Geometry::Points) {
        facts.insert("length".to_owned(), path.length(100));
    }
    facts.insert("distance".to_owned(), path.metric().chord());
    let shown = ["points", "length", "distance"]
        .into_iter()
        .filter(|name| facts.contains_key(*name))
        .map(str::to_owned)
        .collect();
    let cost = format!("{} points of {} weights", path.points.len(), path.len());
    let result =
        StepResult { sections: vec![sections::path(step, &path, &facts)], facts, shown, cost, seconds: 0.0 };
    let statistics = statistics(&path, &flats);
    Ok(Made { result, files: vec![File::Path(path, statistics)] })
}

/// How many models each port has, in the method's order.
fn counts<'a>(step: &Step, roles: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let models: Vec<&str> = step.inputs.iter().map(|input| input.role.as_str()).collect();
    roles
        .filter(|role| step.data.iter().all(|(data, _)| data != role))
        .map(|role| models.iter().filter(|own| **own == role).count())
        .collect()
}

/// Running statistics of the points: those of the models where the points are the models themselves, or of the two ends.
fn statistics(path: &fusion_sdk::path::Path, flats: &[Flat]) -> Vec<Vec<f32>> {
    let of = |point: &Vec<f32>| {
        flats.iter().find(|flat| flat.weights == *point).map(|flat| flat.statistics.clone())
    };
    let all: Option<Vec<_>> = path.points.iter().map(of).collect();
    all.unwrap_or_else(|| {
        let ends = [path.points.first(), path.points.last()].into_iter().flatten().map(of);
        ends.collect::<Option<Vec<_>>>().unwrap_or_default()
    })
}
