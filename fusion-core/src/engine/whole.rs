//! What cannot stream: whole tensors, groups of tensors and whole models are computed before the tiles that load their results.
//!
//! Inputs are computed tile by tile into whole f32 tensors, the method is called once, and its results are kept in f32, in memory or,
//! for whole models, in a file that has no name any more. Nothing is rounded in between.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use fusion_sdk::context::Host;
use fusion_sdk::{
    Context as CallContext, ErrorKind, Member, MethodError, ModelKernel, Models, TILE, WholeKernel,
};
use rayon::prelude::*;

use super::context::Context;
use super::error::RunError;
use super::events::Event;
use super::program::{Parts, TileProgram, run_tile};
use super::spill::{Spill, Spilled};
use crate::plan::ir::{self, Origin, Program, StageProgram, TensorId};

/// Elements that a worker computes at once of a whole input.
const SPAN: usize = 64 * TILE;

/// A result that tiles load.
pub(super) enum Made {
    /// In memory.
    Memory(Vec<f32>),
    /// In a nameless file.
    Spilled(Spilled),
}

impl Made {
    /// Its elements as native f32.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Made::Memory(values) => bytemuck::cast_slice(values),
            Made::Spilled(spilled) => spilled.bytes(),
        }
    }
}

/// Results by arena entry.
pub(super) type Results = BTreeMap<TensorId, Made>;

/// Bytes that a whole-tensor or group kernel and its data take while it runs.
pub(crate) fn group_bytes(program: &Program, stage: &StageProgram, group: usize) -> u64 {
    let each = |member: &ir::Member| match &program.tensor(member.tensor).origin {
        Origin::Computed { inputs, .. } => {
            4 * program.tensor(member.tensor).len() * (inputs.len() as u64 + 1)
        }
        _ => 0,
    };
    stage.groups[group].iter().map(each).sum()
}

/// The engine as a long call sees it.
struct Engine<'a> {
    context: &'a Context<'a>,
    stage: &'a str,
}

impl Host for Engine<'_> {
    fn cancelled(&self) -> bool {
        self.context.cancel.load(Ordering::Relaxed)
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        let (stage, note) = (self.stage.to_owned(), note.to_owned());
        self.context.emit(&Event::Working { stage, done, total, note });
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).into_par_iter().for_each(body);
    }
}

/// All elements of a tensor, by the workers of the pool that this runs in.
fn whole<'a>(
    context: &Context<'_>,
    id: TensorId,
    parts: &(impl Parts<'a> + Sync),
) -> Result<Vec<f32>, RunError> {
    let (program, roots) = TileProgram::new(context.program, &[id], parts);
    let mut values = vec![0.0_f32; context.program.tensor(id).len() as usize];
    values.par_chunks_mut(SPAN).enumerate().try_for_each(|(index, span)| {
        context.check()?;
        let mut arena = context.arena();
        arena.fit(program.slots, TILE);
        for (tile, out) in span.chunks_mut(TILE).enumerate() {
            run_tile(&program, (index * SPAN + tile * TILE) as u64, out.len(), &mut arena, context);
            out.copy_from_slice(&arena.slots[roots[0]][..out.len()]);
        }
        context.give_back(arena);
        context.count(program.read_bytes(span.len()), 0);
        context.sound(&program)
    })?;
    Ok(values)
}

/// Runs whole-tensor and group kernels of one stage, as many at a time as the budget allows.
pub(super) fn whole_stage<'a>(
    context: &Context<'_>,
    pool: &rayon::ThreadPool,
    stage: &StageProgram,
    kernels: &BTreeMap<usize, Box<dyn WholeKernel>>,
    parts: &(impl Parts<'a> + Sync),
    budget: u64,
) -> Result<Results, RunError> {
    context.emit(&Event::Phase { stage: stage.name.clone(), what: "compute".to_owned() });
    let one = |group: usize, kernel: &dyn WholeKernel| whole_group(context, stage, group, kernel, parts);
    let all: Vec<(usize, &dyn WholeKernel)> =
        kernels.iter().map(|(group, kernel)| (*group, &**kernel)).collect();
    let mut results = Results::new();
    let mut at = 0;
    while at < all.len() {
        context.check()?;
        let (mut end, mut bytes) = (at, 0);
        while end < all.len() {
            let (group, kernel) = all[end];
            let need = group_bytes(context.program, stage, group) + kernel.scratch_bytes() as u64;
            if end > at && (bytes + need > budget || all[at].1.serial()) {
                break;
            }
            bytes += need;
            end += 1;
        }
        let batch = &all[at..end];
        let made: Result<Vec<_>, RunError> = pool.install(|| match batch {
            // Its loops have the pool for themselves.
            [(group, kernel)] => one(*group, *kernel).map(|made| vec![made]),
            _ => batch.par_iter().map(|(group, kernel)| one(*group, *kernel)).collect(),
        });
        results.extend(made?.into_iter().flatten());
        at = end;
    }
    Ok(results)
}

fn whole_group<'a>(
    context: &Context<'_>,
    stage: &StageProgram,
    group: usize,
    kernel: &dyn WholeKernel,
    parts: &(impl Parts<'a> + Sync),
) -> Result<Vec<(TensorId, Made)>, RunError> {
    let members = &stage.groups[group];
    let mut inputs: Vec<Vec<Vec<f32>>> = Vec::with_capacity(members.len());
    for (index, member) in members.iter().enumerate() {
        let mut own = Vec::new();
        if let Origin::Computed { inputs, .. } = &context.program.tensor(member.tensor).origin {
            for (input, id) in inputs.iter().enumerate() {
                // What is copied needs no other input; the method is not called with them.
                let skipped = kernel.copies(index).is_some_and(|copied| copied != input);
                own.push(if skipped { Vec::new() } else { whole(context, *id, parts)? });
            }
        }
        inputs.push(own);
    }
    let slices: Vec<Vec<&[f32]>> = inputs.iter().map(|own| own.iter().map(Vec::as_slice).collect()).collect();
    let mut outputs: Vec<Vec<f32>> =
        members.iter().map(|member| vec![0.0; member.shape.iter().product()]).collect();
    let mut call: Vec<Member<'_>> = members
        .iter()
        .zip(&slices)
        .zip(&mut outputs)
        .map(|((member, inputs), out)| Member { name: &member.name, shape: &member.shape, inputs, out })
        .collect();
    let engine = Engine { context, stage: &stage.name };
    kernel.apply(&mut call, &CallContext::new(&engine)).map_err(|error| RunError::method(stage, error))?;
    context.check()?;
    Ok(members.iter().map(|member| member.tensor).zip(outputs.into_iter().map(Made::Memory)).collect())
}

/// The models of a stage, for a whole-model method.
struct Served<'a, P> {
    context: &'a Context<'a>,
    stage: &'a StageProgram,
    group: usize,
    parts: &'a P,
    spill: &'a Spill,
    written: Vec<AtomicBool>,
    /// What the engine could not do.
    failed: Mutex<Option<RunError>>,
}

impl<P> Served<'_, P> {
    fn members(&self) -> &[ir::Member] {
        &self.stage.groups[self.group]
    }

    /// Keeps the engine's own error; the method only hears that there was one.
    fn keep(&self, error: RunError) -> MethodError {
        let kind =
            if matches!(error, RunError::Cancelled) { ErrorKind::Cancelled } else { ErrorKind::Failed };
        let told = MethodError::new(kind, error.to_string());
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        told
    }
}

impl<'p, P: Parts<'p> + Sync> Models for Served<'_, P> {
    fn models(&self) -> usize {
        self.stage.inputs.len()
    }

    fn members(&self) -> usize {
        Served::members(self).len()
    }

    fn name(&self, member: usize) -> &str {
        Served::members(self).get(member).map_or("", |member| &member.name)
    }

    fn shape(&self, member: usize) -> &[usize] {
        Served::members(self).get(member).map_or(&[], |member| &member.shape)
    }

    fn read(&self, model: usize, member: usize) -> Result<Vec<f32>, MethodError> {
        let origin = Served::members(self).get(member).map(|m| &self.context.program.tensor(m.tensor).origin);
        let id = match origin {
            Some(Origin::Computed { inputs, .. }) => inputs.get(model).copied(),
            _ => None,
        };
        let Some(id) = id else {
            return Err(MethodError::invalid(format!("there is no member {member} of model {model}")));
        };
        whole(self.context, id, self.parts).map_err(|error| self.keep(error))
    }

    fn write(&self, member: usize, data: &[f32]) -> Result<(), MethodError> {
        let Some(slot) = self.written.get(member) else {
            return Err(MethodError::invalid(format!("there is no member {member}")));
        };
        let (name, len) = (self.name(member), self.shape(member).iter().product::<usize>());
        if data.len() != len {
            let found = data.len();
            return Err(MethodError::invalid(format!("`{name}` has {len} elements, {found} were written")));
        }
        if slot.swap(true, Ordering::Relaxed) {
            return Err(MethodError::invalid(format!("`{name}` was written twice")));
        }
        self.spill.write(member, data).map_err(|error| self.keep(error))
    }
}

/// Runs a whole-model kernel over its one group.
pub(super) fn model_stage<'a>(
    context: &Context<'_>,
    pool: &rayon::ThreadPool,
    stage: &StageProgram,
    (group, kernel): (usize, &dyn ModelKernel),
    parts: &(impl Parts<'a> + Sync),
    folder: &std::path::Path,
) -> Result<Results, RunError> {
    context.emit(&Event::Phase { stage: stage.name.clone(), what: "compute".to_owned() });
    let members = &stage.groups[group];
    let lengths: Vec<usize> = members.iter().map(|member| member.shape.iter().product()).collect();
    let spill = Spill::new(folder, &lengths)?;
    let served = Served {
        context,
        stage,
        group,
        parts,
        spill: &spill,
        written: members.iter().map(|_| AtomicBool::new(false)).collect(),
        failed: Mutex::new(None),
    };
    let engine = Engine { context, stage: &stage.name };
    let result = pool.install(|| kernel.run(&served, &CallContext::new(&engine)));
    if let Some(error) = served.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    result.map_err(|error| RunError::method(stage, error))?;
    context.check()?;
    if let Some((member, _)) =
        members.iter().zip(&served.written).find(|(_, written)| !written.load(Ordering::Relaxed))
    {
        let error = MethodError::new(ErrorKind::Failed, format!("it did not write `{}`", member.name));
        return Err(RunError::method(stage, error));
    }
    let spilled = spill.read()?;
    Ok(members.iter().map(|member| member.tensor).zip(spilled.into_iter().map(Made::Spilled)).collect())
}
