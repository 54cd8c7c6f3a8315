//! What each kind of step does, one file each, and how its result is put into files.

pub(crate) mod align;
mod connect;
mod ensemble;
mod evaluate;
pub(super) mod members;
pub(crate) mod network;
mod point;
mod repair;
mod sections;
pub(crate) mod train;
pub(super) mod watch;

use std::io;
use std::path::Path as FilePath;

use fusion_dsl::descriptor::Verb;
use fusion_network::State;
use fusion_sdk::path::Path;
use fusion_sdk::{Described, MethodError};
use serde_json::{Map, Value as Json};

use super::results::Result as StepResult;
use super::run::Runtime;
use super::{Step, Task, load};
use crate::engine::RunError;
use crate::method::{DEFAULT_BATCH, Learned};

/// A result before it is written.
pub(super) struct Made {
    /// Numbers and what a report shows.
    pub(super) result: StepResult,
    /// Models and paths.
    pub(super) files: Vec<File>,
}

/// A file of a result.
pub(super) enum File {
    /// A model, by the name of its part.
    Model(String, State),
    /// A path with the running statistics of its points, as far as they are known.
    Path(Path, Vec<Vec<f32>>),
    /// Text.
    Text(String, String),
    /// A model that is written tensor by tensor, by the name of its part.
    Streamed(String, Box<align::Streamed>),
}

/// The file of a part: `snapshots[3]` → `snapshots-3.safetensors`.
pub(super) fn file_name(part: &str) -> String {
    format!("{}.safetensors", part.replace('[', "-").replace(']', ""))
}

/// The setting of methods that connect which is the engine's own: examples of a batch.
pub(super) const BATCH: &str = "batch";

/// The other: parts of a batch that are computed side by side.
pub(super) const SHARDS: &str = "shards";

/// The file with a path's points.
pub(super) const PATH: &str = "path.safetensors";
/// The file with what lies between them.
pub(super) const GEOMETRY: &str = "path.json";

impl File {
    /// Writes it into a folder.
    pub(super) fn write(self, folder: &FilePath) -> io::Result<()> {
        match self {
            File::Model(part, state) => load::save(&state, &folder.join(file_name(&part))),
            File::Text(name, text) => std::fs::write(folder.join(name), text),
            File::Streamed(part, model) => model.write(&folder.join(file_name(&part))),
            File::Path(path, statistics) => {
                let points = path.points.iter().enumerate();
                let vectors = points.map(|(index, point)| (format!("point.{index}"), point.as_slice()));
                let of_norm = statistics.iter().enumerate();
                let of_norm =
                    of_norm.map(|(index, vector)| (format!("statistics.{index}"), vector.as_slice()));
                load::save_flat(vectors.chain(of_norm), &folder.join(PATH))?;
                let geometry = serde_json::json!({ "geometry": path.geometry, "knots": path.knots });
                std::fs::write(folder.join(GEOMETRY), serde_json::to_vec_pretty(&geometry)?)
            }
        }
    }
}

/// Runs a step on a number of threads.
pub(super) fn run(runtime: &Runtime<'_>, step: &Step, threads: usize) -> Result<Made, RunError> {
    match &step.task {
        Task::Network { seed, init, from, map } => {
            network::run(runtime, step, (*seed, *init), from.as_deref(), map)
        }
        Task::Train { collects } => train::run(runtime, step, collects, threads),
        Task::Align(plan) => align::run(runtime, step, plan, threads),
        Task::Connect => connect::run(runtime, step, threads),
        Task::Point => point::run(runtime, step),
        Task::Repair => repair::run(runtime, step, threads),
        Task::Ensemble => ensemble::run(runtime, step),
        Task::Evaluate => evaluate::run(runtime, step, threads),
    }
}

/// Threads for one network: matrix products that are split among threads add up in another order, so results must not take those of the
/// machine.
fn pool(threads: usize) -> Result<rayon::ThreadPool, String> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|index| format!("learn-{index}"))
        .build()
        .map_err(|error| error.to_string())
}

/// Whether a stage's settings fit its method, before anything is read. `examples` are those of its data, where they are known.
///
/// # Errors
/// They do not.
pub(crate) fn check(
    verb: Verb,
    method: &str,
    settings: &Map<String, Json>,
    learned: &Learned,
    models: usize,
    examples: Option<usize>,
) -> Result<(), MethodError> {
    let batch = settings.get(BATCH).and_then(Json::as_u64).unwrap_or(DEFAULT_BATCH).max(1);
    let mut own = settings.clone();
    own.remove("seed");
    if learned.path.is_some() {
        own.remove(BATCH);
        own.remove(SHARDS);
    }
    match (verb, &learned.path) {
        (_, Some(path)) => {
            let kernel = path.prepare(&own, models)?;
            examples.map_or(Ok(()), |examples| kernel.fits((examples as u64).div_ceil(batch).max(1)))
        }
        (Verb::Train, _) => train::read(method, settings).map(|_| ()),
        (Verb::Average, _) => point::read(&own).map(|_| ()),
        (Verb::Repair, _) => repair::check(method, &own, models, examples),
        (Verb::Ensemble, _) => ensemble::read(&own).map(|_| ()),
        _ => evaluate::check(method, &own),
    }
}

/// Methods on networks that are built into the engine, for the registry. Those of the connect family register themselves.
pub fn methods() -> Vec<Described> {
    let mut methods = fusion_learn::train::methods();
    methods.extend(fusion_learn::measure::methods());
    methods.extend([point::described(), ensemble::described()]);
    methods.extend(repair::described());
    methods
}
