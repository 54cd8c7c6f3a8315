//! Waves: batches of output tensors that go through their passes together, so that threads never wait for a single tensor,
//! and no more statistics are held than the memory budget allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;

use fusion_sdk::{ErrorKind, Kernel, MethodError};

use super::apply::{HashDuty, Make, Task, apply};
use super::context::Context;
use super::device::Placement;
use super::error::RunError;
use super::observe::observe_stage;
use super::program::{Parts, TileProgram};
use crate::checkpoint::LowRank;
use crate::checkpoint::write::Transaction;
use crate::method::Registry;
use crate::plan::Output;
use crate::plan::ir::{Origin, Program, TensorId};

/// Elements of a wave at the least (more only by its last tensor).
const WAVE: u64 = 256 << 20;

/// Kernels by stage, then group.
type Kernels = BTreeMap<usize, BTreeMap<usize, Box<dyn Kernel>>>;

/// Cuts the pending tensors into waves. Statistics over the whole model need all tensors at once.
pub(super) fn cut(
    program: &Program,
    output: &Output,
    pending: &[usize],
    registry: &Registry,
    budget: u64,
) -> Result<Vec<Vec<usize>>, RunError> {
    let roots: Vec<TensorId> = pending.iter().map(|index| output.tensors[*index].tensor).collect();
    let whole = program.closure(&roots).iter().any(|id| match &program.tensor(*id).origin {
        Origin::Computed { stage, group, .. } => program.stages[*stage].groups[*group].len() > 1,
        _ => false,
    });
    if whole {
        return Ok(vec![pending.to_vec()]);
    }
    let mut waves = Vec::new();
    let (mut wave, mut elements, mut state) = (Vec::new(), 0, 0);
    for &index in pending {
        let tensor = output.tensors[index].tensor;
        let own: u64 = state_of(program, registry, tensor)?;
        if !wave.is_empty() && (elements >= WAVE || state + own > budget) {
            waves.push(std::mem::take(&mut wave));
            (elements, state) = (0, 0);
        }
        wave.push(index);
        elements += program.tensor(tensor).len();
        state += own;
    }
    if !wave.is_empty() {
        waves.push(wave);
    }
    Ok(waves)
}

fn state_of(program: &Program, registry: &Registry, tensor: TensorId) -> Result<u64, RunError> {
    let mut bytes = 0;
    for id in program.closure(&[tensor]) {
        if let Origin::Computed { stage, group, .. } = program.tensor(id).origin {
            bytes += prepare(program, registry, stage, group)?.state_bytes().0 as u64;
        }
    }
    Ok(bytes)
}

pub(super) fn prepare(
    program: &Program,
    registry: &Registry,
    stage: usize,
    group: usize,
) -> Result<Box<dyn Kernel>, RunError> {
    let stage_program = &program.stages[stage];
    let method = registry
        .get(&stage_program.method)
        .and_then(|entry| entry.method.as_ref())
        .ok_or_else(|| MethodError::new(ErrorKind::Failed, "the method is not registered"));
    method
        .and_then(|method| method.prepare(&stage_program.raw_group(group)))
        .map_err(|error| RunError::method(stage_program, error))
}

/// What tile programs look things up in.
struct Lookup<'a> {
    bytes: &'a BTreeMap<(usize, usize), &'a [u8]>,
    deltas: &'a BTreeMap<TensorId, LowRank>,
    kernels: Option<&'a Kernels>,
}

impl<'a> Parts<'a> for Lookup<'a> {
    fn bytes(&self, source: usize, tensor: usize) -> &'a [u8] {
        self.bytes.get(&(source, tensor)).copied().unwrap_or_default()
    }

    fn delta(&self, id: TensorId) -> Option<&'a LowRank> {
        self.deltas.get(&id)
    }

    fn kernel(&self, stage: usize, group: usize) -> Option<&'a dyn Kernel> {
        self.kernels?.get(&stage)?.get(&group).map(|kernel| &**kernel)
    }
}

/// Everything a wave needs from its run.
pub(super) struct WaveRun<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) pool: &'a rayon::ThreadPool,
    pub(super) registry: &'a Registry,
    pub(super) output: &'a Output,
    pub(super) placement: &'a Placement<'a>,
    pub(super) chunk: usize,
    pub(super) allow_non_finite: bool,
}

impl WaveRun<'_> {
    /// Computes and writes the tensors of one wave.
    pub(super) fn run(&self, wave: &[usize], transaction: &Transaction) -> Result<(), RunError> {
        let program = self.context.program;
        let roots: Vec<TensorId> = wave.iter().map(|index| self.output.tensors[*index].tensor).collect();
        let closure = self.with_groups(&roots);
        let bytes = self.map_bytes(&closure)?;
        let deltas = self.deltas(&closure)?;
        let mut kernels = Kernels::new();
        for id in &closure {
            if let Origin::Computed { stage, group, .. } = program.tensor(*id).origin {
                let of_stage = kernels.entry(stage).or_default();
                if let std::collections::btree_map::Entry::Vacant(slot) = of_stage.entry(group) {
                    slot.insert(prepare(program, self.registry, stage, group)?);
                }
            }
        }
        let stages: Vec<usize> = kernels.keys().copied().collect();
        for stage in stages {
            let Some(mut own) = kernels.remove(&stage) else { continue };
            if own.values().any(|kernel| kernel.observing()) {
                let lookup = Lookup { bytes: &bytes, deltas: &deltas, kernels: Some(&kernels) };
                observe_stage(self.context, self.pool, &program.stages[stage], &mut own, &lookup)?;
                self.context.judge_values(self.allow_non_finite)?;
            }
            kernels.insert(stage, own);
        }
        let lookup = Lookup { bytes: &bytes, deltas: &deltas, kernels: Some(&kernels) };
        let tasks = self.tasks(wave, &lookup);
        apply(self.context, self.pool, &tasks, self.chunk, self.placement, &self.output.path, transaction)?;
        self.context.judge_values(self.allow_non_finite)
    }

    /// The closure of the roots, where statistics over a group bring in all its members.
    fn with_groups(&self, roots: &[TensorId]) -> Vec<TensorId> {
        let program = self.context.program;
        let mut roots = roots.to_vec();
        loop {
            let closure = program.closure(&roots);
            let mut more: BTreeSet<TensorId> = closure.iter().copied().collect();
            for id in &closure {
                if let Origin::Computed { stage, group, .. } = program.tensor(*id).origin {
                    let members = &program.stages[stage].groups[group];
                    if members.len() > 1 {
                        more.extend(members.iter().map(|member| member.tensor));
                    }
                }
            }
            if more.len() == closure.len() {
                return closure;
            }
            roots = more.into_iter().collect();
        }
    }

    fn map_bytes(&self, closure: &[TensorId]) -> Result<BTreeMap<(usize, usize), &[u8]>, RunError> {
        let program = self.context.program;
        let mut bytes = BTreeMap::new();
        for id in closure {
            if let Some((source, tensor)) = program.stored(*id) {
                bytes.insert((source, tensor), program.sources[source].checkpoint.bytes(tensor)?);
            }
        }
        Ok(bytes)
    }

    fn deltas(&self, closure: &[TensorId]) -> Result<BTreeMap<TensorId, LowRank>, RunError> {
        let program = self.context.program;
        let mut deltas = BTreeMap::new();
        for id in closure {
            if let Origin::Adapted { adapter, target, scale, .. } = &program.tensor(*id).origin
                && let Some(mut delta) = program.adapters[*adapter].adapter.delta(target)?
            {
                delta.scale *= scale;
                deltas.insert(*id, delta);
            }
        }
        Ok(deltas)
    }

    fn tasks<'a>(&'a self, wave: &[usize], lookup: &Lookup<'a>) -> Vec<Task<'a>> {
        let program = self.context.program;
        let mut claimed = BTreeSet::new();
        wave.iter()
            .map(|&index| {
                let planned = &self.output.tensors[index];
                let node = program.tensor(planned.tensor);
                let mut duty = |id: TensorId| {
                    let (source, tensor) = program.stored(id)?;
                    let fresh =
                        self.context.hashed(source, tensor).is_none() && claimed.insert((source, tensor));
                    fresh.then(|| {
                        HashDuty::new(source, tensor, lookup.bytes(source, tensor), program.tensor(id).dtype)
                    })
                };
                let stored = |id: TensorId| {
                    program
                        .stored(id)
                        .map(|(source, tensor)| lookup.bytes(source, tensor))
                        .unwrap_or_default()
                };
                let (make, duties) = match &node.origin {
                    Origin::Stored { .. } if node.dtype == planned.dtype => {
                        let make = Make::Copy {
                            bytes: stored(planned.tensor),
                            id: planned.tensor,
                            others: Vec::new(),
                        };
                        (make, duty(planned.tensor).into_iter().collect())
                    }
                    Origin::Identical { .. } => {
                        let leaves: Vec<TensorId> = program
                            .closure(&[planned.tensor])
                            .into_iter()
                            .filter(|id| program.stored(*id).is_some())
                            .collect();
                        let id = leaves.first().copied().unwrap_or(planned.tensor);
                        let others = leaves.iter().skip(1).map(|other| (*other, stored(*other))).collect();
                        (
                            Make::Copy { bytes: stored(id), id, others },
                            leaves.into_iter().filter_map(duty).collect(),
                        )
                    }
                    _ => {
                        let (tile_program, slots) = TileProgram::new(program, &[planned.tensor], lookup);
                        let duties =
                            program.closure(&[planned.tensor]).into_iter().filter_map(duty).collect();
                        (Make::Compute { program: tile_program, slot: slots[0] }, duties)
                    }
                };
                Task {
                    index,
                    name: &planned.name,
                    dtype: planned.dtype,
                    len: node.len(),
                    make,
                    duties,
                    blocks: Task::block_slots(node.len()),
                    left: AtomicUsize::new(0),
                }
            })
            .collect()
    }
}
