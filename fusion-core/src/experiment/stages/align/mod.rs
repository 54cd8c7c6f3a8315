//! `align`: the method finds transforms, the engine checks them, applies them, and holds the aligned models against the old ones.
//!
//! Networks are held in memory as flat vectors, and are run: their symmetries are proved on a batch before they are used, and an aligned
//! network must answer as it did before. Checkpoints without a network are read a piece at a time, and their aligned copy is written tensor
//! by tensor in the dtype that they have.

mod checkpoint;
mod network;
mod sections;

use fusion_sdk::align::Incoming;
use fusion_sdk::alignment::Alignment;
use fusion_sdk::context::Host;
use fusion_sdk::symmetry::Symmetries;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::super::results::Facts;
use super::super::run::Runtime;
use super::super::{AlignPlan, Feed, Step};
use super::watch::Working;
use super::{BATCH, Made, SHARDS};
use crate::engine::RunError;
use crate::plan::experiment::align::{STORED, SYMMETRIES};

pub(in crate::experiment) use checkpoint::Streamed;

/// The file of an alignment in a result, by the place of its model.
pub(in crate::experiment) fn file(index: usize) -> String {
    format!("alignment-{index}.json")
}

pub(super) fn run(
    runtime: &Runtime<'_>,
    step: &Step,
    plan: &AlignPlan,
    threads: usize,
) -> Result<Made, RunError> {
    let method = runtime
        .registry
        .learned(fusion_dsl::descriptor::Verb::Align, &step.method)
        .and_then(|learned| learned.align.as_ref())
        .ok_or_else(|| runtime.failed(step, "the method is not there", None))?;
    let mut settings = step.settings.clone();
    for engine in ["seed", SYMMETRIES, STORED, BATCH, SHARDS] {
        settings.remove(engine);
    }
    let reference = usize::from(plan.reference);
    let incoming = Incoming { reference, from: plan.models.len() - reference, data: !step.data.is_empty() };
    let kernel = method.prepare(&settings, incoming).map_err(|error| runtime.refused(step, error))?;
    let given = given(runtime, step, plan)?;
    match plan.architecture {
        Some(_) => network::run(runtime, step, plan, &*kernel, &given, threads),
        None => checkpoint::run(runtime, step, plan, &*kernel, &given, threads),
    }
}

/// Alignments that come in: of other stages, and from a file.
fn given(runtime: &Runtime<'_>, step: &Step, plan: &AlignPlan) -> Result<Vec<Alignment>, RunError> {
    let mut found = Vec::new();
    for input in &step.inputs {
        let Feed::Alignment(node) = &input.feed else { continue };
        let Some(maker) = runtime.plan.experiment.step(*node) else { continue };
        found.push(read(runtime, step, &runtime.store.folder(&maker.key).join(file(0)), &input.name)?);
    }
    if let Some(path) = &plan.stored {
        found.push(read(runtime, step, path, &path.display().to_string())?);
    }
    Ok(found)
}

fn read(
    runtime: &Runtime<'_>,
    step: &Step,
    path: &std::path::Path,
    name: &str,
) -> Result<Alignment, RunError> {
    let text = std::fs::read(path).map_err(|error| error.to_string());
    text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())).map_err(|error| {
        let help = "it should be a file that `save NAME.alignment to \"…\"` has written".to_owned();
        runtime.failed(step, format!("the alignment `{name}` cannot be read: {error}"), Some(help))
    })
}

/// Checks what a method has found: an alignment of each model, from its symmetries to the target's.
fn checked(
    runtime: &Runtime<'_>,
    step: &Step,
    plan: &AlignPlan,
    found: &[Alignment],
    moving: &[&Symmetries],
) -> Result<(), RunError> {
    if found.len() != moving.len() {
        let message = format!("the method gave {} alignments for {} models", found.len(), moving.len());
        return Err(runtime.failed(step, message, None));
    }
    for (alignment, from) in found.iter().zip(moving) {
        alignment.check(from, &plan.target).map_err(|error| runtime.failed(step, error.to_string(), None))?;
    }
    Ok(())
}

/// Numbers that every alignment has, and those of the method.
fn facts(found: &[Alignment], symmetries: &Symmetries, of_method: &[(String, f64)]) -> Facts {
    let mut facts = Facts::new();
    let (mut moved, mut units) = (0, 0);
    for alignment in found {
        let (own, all) = alignment.moved(symmetries);
        moved += own;
        units += all;
    }
    // Units that are mixed have no one place.
    if found.iter().all(Alignment::permutes) {
        facts.insert("moved".to_owned(), moved as f64);
    }
    facts.insert("units".to_owned(), units as f64);
    facts.extend(of_method.iter().cloned());
    facts
}

/// What a matching may ask of the engine: as any stage, with threads in a pool of its own, so that nothing else of the machine decides.
struct Workers<'a> {
    working: Working<'a>,
    pool: ThreadPool,
}

impl Host for Workers<'_> {
    fn cancelled(&self) -> bool {
        Host::cancelled(&self.working)
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        Host::progress(&self.working, done, total, note);
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        self.pool.install(|| (0..n).into_par_iter().for_each(body));
    }
}

/// The workers of a stage.
fn workers<'a>(runtime: &'a Runtime<'a>, step: &'a Step, threads: usize) -> Result<Workers<'a>, RunError> {
    let pool = super::pool(threads).map_err(RunError::Threads)?;
    Ok(Workers { working: Working { runtime, name: &step.name }, pool })
}
