//! `align`: the method finds transforms, the engine checks them, applies them, and holds the aligned models against the old ones.
//!
//! Networks are held in memory as flat vectors, and are run: their symmetries are proved on a batch before they are used, and an aligned
//! network must answer as it did before. Checkpoints without a network are read a piece at a time, and their aligned copy is written tensor
//! by tensor in the dtype that they have.

mod checkpoint;
pub(crate) mod files;
mod network;
mod sections;

use std::path::PathBuf;

use fusion_sdk::align::Incoming;
use fusion_sdk::alignment::Alignment;
use fusion_sdk::context::Host;
use fusion_sdk::symmetry::Symmetries;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::super::results::Facts;
use super::super::run::Runtime;
use super::super::{AlignPlan, Feed, Step, Task};
use super::watch::Working;
use super::{BATCH, Made, SHARDS};
use crate::engine::{Access, RunError};
use crate::plan::experiment::align::{STORED, SYMMETRIES, models};

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

/// Alignments that come in: all of those of other stages, or all in a file.
fn given(runtime: &Runtime<'_>, step: &Step, plan: &AlignPlan) -> Result<Vec<Alignment>, RunError> {
    let mut found = Vec::new();
    for input in &step.inputs {
        let Feed::Alignment(node) = &input.feed else { continue };
        if let Some(maker) = runtime.plan.experiment.step(*node) {
            for (_, path) in kept(runtime, maker) {
                let text = std::fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
                found.push(text.map_err(|error| {
                    RunError::file(format!("the alignment of `{}`", maker.name), &path, Access::Read, error)
                        .advised("remove its folder, and the stage runs again")
                })?);
            }
        }
    }
    if let Some(path) = &plan.stored {
        let of_file = files::read(path).map_err(|error| {
            RunError::file("the alignment", path, Access::Read, error).advised(WRITTEN_BY)
        })?;
        found.extend(of_file.into_iter().map(|one| one.alignment));
    }
    Ok(found)
}

/// What an alignment's file should be.
pub(crate) const WRITTEN_BY: &str = "it should be a file that `save NAME.alignment to \"…\"` has written";

/// What a stage has found that has run: the name of each model of its `from`, in order, with the file of its alignment.
pub(in crate::experiment) fn kept<'a>(runtime: &Runtime<'_>, maker: &'a Step) -> Vec<(&'a str, PathBuf)> {
    let Task::Align(plan) = &maker.task else { return Vec::new() };
    let folder = runtime.store.folder(&maker.key);
    let moving = models(&maker.inputs).skip(usize::from(plan.reference)).enumerate();
    moving.map(|(index, input)| (input.name.as_str(), folder.join(file(index)))).collect()
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
