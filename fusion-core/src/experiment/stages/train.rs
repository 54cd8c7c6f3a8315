//! `train`: the loop of `fusion-learn` on the stage's network and data, with checkpoints in the store so that a kill costs little.

use fusion_learn::record::{Collect, CollectParams};
use fusion_learn::shards::Shards;
use fusion_learn::train::{Job, Resume, TrainError, TrainParams, Trained, train};
use fusion_network::{Flat, Network};
use fusion_sdk::{MethodError, Params as _};
use serde_json::{Map, Value as Json};

use super::super::Step;
use super::super::frozen::Patterns;
use super::super::results::{Facts, Result as StepResult};
use super::super::run::Runtime;
use super::watch::Working;
use super::{File, Made, sections};
use crate::engine::RunError;

/// The settings of a `train` stage.
pub(crate) fn read(method: &str, settings: &Map<String, Json>) -> Result<TrainParams, MethodError> {
    let mut settings = settings.clone();
    settings.remove("seed");
    TrainParams::read(method, &settings)
}

pub(super) fn run(
    runtime: &Runtime<'_>,
    step: &Step,
    collects: &[(String, Map<String, Json>, Option<usize>)],
    threads: usize,
) -> Result<Made, RunError> {
    let params = read(&step.method, &step.settings).map_err(|error| runtime.refused(step, error))?;
    let collects = collects
        .iter()
        .map(|(name, settings, _)| {
            Ok(Collect { name: name.clone(), params: CollectParams::from_settings(settings)? })
        })
        .collect::<Result<Vec<_>, MethodError>>()
        .map_err(|error| runtime.refused(step, error))?;
    let dataset = |role: &str| {
        let node = step.data.iter().find(|(own, _)| own == role).map(|(_, node)| *node);
        node.map(|node| runtime.dataset(step, node)).transpose()
    };
    let Some(data) = dataset("data")? else {
        return Err(runtime.failed(step, "there is no data to train on", None));
    };
    let validate = dataset("validate")?;
    let architecture = runtime.architecture(step);
    // Replicas come first: a network of its own uses a thread better than a part of a batch.
    let side_by_side = threads.min(params.replicas());
    let each = (threads / side_by_side.max(1)).max(1);
    let mut networks = (0..params.replicas())
        .map(|_| Shards::new(architecture, &runtime.device, params.common.shards, each))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let patterns = Patterns::new(params.common.frozen.as_deref().unwrap_or_default())
        .map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let frozen = patterns.places(networks[0].network());
    // Where nothing learns there is no way back to go.
    networks.iter_mut().for_each(|network| network.freeze(|name| patterns.cover(name)));
    let Some(start) = step.inputs.first() else {
        return Err(runtime.failed(step, "there is no network to train", None));
    };
    let start = runtime.flat(step, start, networks[0].network())?;
    let folder = runtime.store.unfinished(&step.key);
    std::fs::create_dir_all(&folder)
        .map_err(|error| runtime.failed(step, format!("`{}`: {error}", folder.display()), None))?;
    let resume = Resume::new(&folder);
    let watch = Working { runtime, name: &step.name };
    let job = Job {
        params: &params,
        collects: &collects,
        frozen: &frozen,
        data: &data,
        validate: validate.as_deref(),
        seed: step.seed,
        resume: Some(&resume),
        watch: &watch,
    };
    // Matrix products that are split among threads add up in another order: a pool of its own decides, not the machine.
    let pool = super::pool(side_by_side).map_err(RunError::Threads)?;
    let trained =
        pool.install(|| train(&mut networks, &start, &job)).map_err(|error| failed(runtime, step, error))?;
    made(runtime, step, networks[0].network(), &trained, data.len())
}

fn failed(runtime: &Runtime<'_>, step: &Step, error: TrainError) -> RunError {
    match error {
        TrainError::Cancelled { .. } => RunError::Cancelled,
        TrainError::Method(error) => runtime.refused(step, error),
        other => runtime.failed(step, other.to_string(), None),
    }
}

fn made(
    runtime: &Runtime<'_>,
    step: &Step,
    network: &Network,
    trained: &Trained,
    examples: usize,
) -> Result<Made, RunError> {
    let state = |flat: &Flat| {
        network
            .unflatten(flat, i64::try_from(trained.steps).unwrap_or(i64::MAX))
            .map_err(|error| runtime.failed(step, error.to_string(), None))
    };
    let mut files = vec![File::Model("model".to_owned(), state(&trained.last)?)];
    for (name, flats) in &trained.collected {
        let several = matches!(&step.task, super::Task::Train { collects }
            if collects.iter().any(|(own, _, count)| own == name && count.is_some()));
        for (index, flat) in flats.iter().enumerate() {
            let part = if several { format!("{name}[{index}]") } else { name.clone() };
            files.push(File::Model(part, state(flat)?));
        }
    }
    let history = &trained.history;
    files.push(File::Text("history.json".to_owned(), serde_json::to_string(history).unwrap_or_default()));
    let mut facts = Facts::new();
    let last = history.epochs.last();
    if let Some(last) = last {
        facts.insert("loss".to_owned(), last.loss);
        if let Some(accuracy) = last.accuracy {
            facts.insert("accuracy".to_owned(), accuracy);
        }
        if let Some(score) = last.validation {
            facts.insert("validation.loss".to_owned(), score.loss);
            if let Some(accuracy) = score.accuracy {
                facts.insert("validation.accuracy".to_owned(), accuracy);
            }
        }
        facts.insert("epochs".to_owned(), last.epoch);
    }
    facts.insert("steps".to_owned(), trained.steps as f64);
    facts.insert("seconds".to_owned(), history.seconds);
    let shown = ["loss", "accuracy", "validation.loss", "validation.accuracy"];
    let shown = shown.into_iter().filter(|name| facts.contains_key(*name)).map(str::to_owned).collect();
    let rate = last.map_or(0.0, |last| last.samples_per_second);
    let cost = format!("{} steps on {examples} examples, {:.0} examples/s", trained.steps, rate);
    let result =
        StepResult { sections: vec![sections::training(step, history)], facts, shown, cost, seconds: 0.0 };
    Ok(Made { result, files })
}
