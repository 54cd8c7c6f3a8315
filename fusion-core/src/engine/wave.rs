//! Waves: batches of output tensors that go through their passes together, so that threads never wait for a single tensor,
//! and no more statistics are held than the memory budget allows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use fusion_sdk::{ErrorKind, Kernel, MethodError, Prepared};

use super::apply::{HashDuty, Make, Task, apply};
use super::context::Context;
use super::device::Placement;
use super::error::RunError;
use super::observe::observe_stage;
use super::program::{Parts, TileProgram};
use super::whole::{Made, Results, model_stage, whole_stage};
use crate::checkpoint::LowRank;
use crate::checkpoint::write::Transaction;
use crate::method::Registry;
use crate::plan::Output;
use crate::plan::ir::{Origin, Program, TensorId};

/// Elements of a wave at the least (more only by its last tensor).
const WAVE: u64 = 256 << 20;

/// Kernels by stage, then group.
type Kernels = BTreeMap<usize, BTreeMap<usize, Box<dyn Kernel>>>;

/// Output tensors that must be in one wave: they share a kernel. In order of their first.
fn units(program: &Program, output: &Output, pending: &[usize]) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::new();
    let mut unit_of: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for &index in pending {
        let shared: BTreeSet<(usize, usize)> = program
            .closure(&[output.tensors[index].tensor])
            .into_iter()
            .filter_map(|id| match program.tensor(id).origin {
                Origin::Computed { stage, group, .. } if program.stages[stage].groups[group].len() > 1 => {
                    Some((stage, group))
                }
                _ => None,
            })
            .collect();
        let met: BTreeSet<usize> = shared.iter().filter_map(|key| unit_of.get(key).copied()).collect();
        let mut met = met.into_iter();
        let home = met.next().unwrap_or_else(|| {
            units.push(Vec::new());
            units.len() - 1
        });
        units[home].push(index);
        for other in met {
            let moved = std::mem::take(&mut units[other]);
            units[home].extend(moved);
            unit_of.values_mut().filter(|unit| **unit == other).for_each(|unit| *unit = home);
        }
        unit_of.extend(shared.into_iter().map(|key| (key, home)));
    }
    units.retain(|unit| !unit.is_empty());
    for unit in &mut units {
        unit.sort_unstable();
    }
    units
}

/// Cuts the pending tensors into waves. Tensors that share a kernel go together.
pub(super) fn cut(
    program: &Program,
    output: &Output,
    pending: &[usize],
    registry: &Registry,
    budget: u64,
) -> Result<Vec<Vec<usize>>, RunError> {
    let mut waves = Vec::new();
    let (mut wave, mut elements, mut state) = (Vec::new(), 0, 0);
    for unit in units(program, output, pending) {
        let tensors: Vec<TensorId> = unit.iter().map(|index| output.tensors[*index].tensor).collect();
        let own: u64 = state_of(program, registry, &tensors)?;
        if !wave.is_empty() && (elements >= WAVE || state + own > budget) {
            waves.push(std::mem::take(&mut wave));
            (elements, state) = (0, 0);
        }
        wave.extend(unit);
        elements += tensors.iter().map(|tensor| program.tensor(*tensor).len()).sum::<u64>();
        state += own;
    }
    if !wave.is_empty() {
        waves.push(wave);
    }
    Ok(waves)
}

/// Bytes of the statistics and whole results that these tensors need.
fn state_of(program: &Program, registry: &Registry, tensors: &[TensorId]) -> Result<u64, RunError> {
    let mut bytes = 0;
    let mut seen = BTreeSet::new();
    for id in program.closure(tensors) {
        if let Origin::Computed { stage, group, .. } = program.tensor(id).origin
            && seen.insert((stage, group))
        {
            bytes += match prepare(program, registry, stage, group)? {
                Prepared::Elementwise(kernel) => kernel.state_bytes().0 as u64,
                Prepared::Whole(_) => {
                    let members = program.stages[stage].groups[group].iter();
                    4 * members.map(|member| program.tensor(member.tensor).len()).sum::<u64>()
                }
                Prepared::Model(_) => 0, // its results are in a file
            };
        }
    }
    Ok(bytes)
}

pub(super) fn prepare(
    program: &Program,
    registry: &Registry,
    stage: usize,
    group: usize,
) -> Result<Prepared, RunError> {
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
    results: &'a Results,
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

    fn result(&self, id: TensorId) -> Option<&'a [u8]> {
        self.results.get(&id).map(Made::bytes)
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
    /// The budget in bytes.
    pub(super) memory: u64,
}

impl WaveRun<'_> {
    /// Computes and writes the tensors of one wave.
    pub(super) fn run(&self, wave: &[usize], transaction: &Transaction) -> Result<(), RunError> {
        let program = self.context.program;
        let roots: Vec<TensorId> = wave.iter().map(|index| self.output.tensors[*index].tensor).collect();
        let closure = program.closure_with_groups(&roots);
        let bytes = self.map_bytes(&closure)?;
        let deltas = self.deltas(&closure)?;
        let groups: BTreeSet<(usize, usize)> = closure
            .iter()
            .filter_map(|id| match program.tensor(*id).origin {
                Origin::Computed { stage, group, .. } => Some((stage, group)),
                _ => None,
            })
            .collect();
        let mut kernels = Kernels::new();
        let mut results = Results::new();
        let stages: BTreeSet<usize> = groups.iter().map(|(stage, _)| *stage).collect();
        for stage in stages {
            let mut tiles = BTreeMap::new();
            let mut wholes = BTreeMap::new();
            let mut models = BTreeMap::new();
            for &(_, group) in groups.range((stage, 0)..(stage + 1, 0)) {
                match prepare(program, self.registry, stage, group)? {
                    Prepared::Elementwise(kernel) => drop(tiles.insert(group, kernel)),
                    Prepared::Whole(kernel) => drop(wholes.insert(group, kernel)),
                    Prepared::Model(kernel) => drop(models.insert(group, kernel)),
                }
            }
            let (context, pool, of) = (self.context, self.pool, &program.stages[stage]);
            let made = {
                let lookup =
                    Lookup { bytes: &bytes, deltas: &deltas, kernels: Some(&kernels), results: &results };
                if tiles.values().any(|kernel| kernel.observing()) {
                    observe_stage(context, pool, of, &mut tiles, &lookup)?;
                }
                let mut made = Results::new();
                if !wholes.is_empty() {
                    made.extend(whole_stage(context, pool, of, &wholes, &lookup, self.memory / 2)?);
                }
                for (group, kernel) in models {
                    let folder = self.output.target.path().parent().unwrap_or(Path::new("."));
                    made.extend(model_stage(context, pool, of, (group, &*kernel), &lookup, folder)?);
                }
                made
            };
            context.judge_values(self.allow_non_finite)?;
            results.extend(made);
            kernels.insert(stage, tiles);
        }
        let lookup = Lookup { bytes: &bytes, deltas: &deltas, kernels: Some(&kernels), results: &results };
        let tasks = self.tasks(wave, &lookup);
        apply(self.context, self.pool, &tasks, self.chunk, self.placement, &self.output.path, transaction)?;
        self.context.judge_values(self.allow_non_finite)
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
