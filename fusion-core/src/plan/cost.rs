//! What a plan costs: bytes by pass, buffers, and a rough time. Counted from the graph, not measured.

use std::collections::BTreeSet;

use fusion_sdk::TILE;

use super::Options;
use super::ir::{Origin, Program, TensorId};
use super::outputs::{Output, State};
use super::report::Cost;
use crate::method::Registry;

/// Bytes per second and thread that a fused pass reads on a present-day core, from BENCHMARKS.md; good for a rough estimate only.
const READ_RATE: f64 = 3.0e9;
/// Bytes per second that finished chunks are copied to the page cache, beside the computing.
const COPY_RATE: f64 = 4.0e9;
/// Bytes per second that a disk takes.
const DISK_RATE: f64 = 1.2e9;

/// The cost of all outputs that are not cached.
pub(super) fn of(program: &Program, outputs: &[Output], registry: &Registry, options: &Options) -> Cost {
    let mut cost = Cost::default();
    let mut state_bytes = 0;
    for output in outputs.iter().filter(|output| output.state != State::Cached) {
        let mut passes_here = 1;
        for tensor in &output.tensors {
            let closure = program.closure(&[tensor.tensor]);
            let stored: u64 = closure
                .iter()
                .filter(|id| program.stored(**id).is_some())
                .map(|id| program.tensor(*id).bytes())
                .sum();
            let passes = 1 + observe_passes(program, registry, &closure);
            passes_here = passes_here.max(passes);
            cost.read += stored * u64::from(passes);
            cost.written += program.tensor(tensor.tensor).len() * tensor.dtype.size() as u64;
        }
        cost.passes = cost.passes.max(passes_here);
        state_bytes = state_bytes.max(crate::engine::wave_state_bytes(program, output, registry));
    }
    let buffers = crate::engine::buffer_bytes(program, outputs, TILE, options.chunk);
    cost.memory = options.threads as u64 * buffers + state_bytes;
    let (read, written) = (cost.read as f64, cost.written as f64);
    cost.seconds =
        (read / (READ_RATE * options.threads as f64) + written / COPY_RATE).max(written / DISK_RATE);
    cost
}

fn observe_passes(program: &Program, registry: &Registry, closure: &[TensorId]) -> u32 {
    let stages: BTreeSet<usize> = closure
        .iter()
        .filter_map(|id| match program.tensor(*id).origin {
            Origin::Computed { stage, .. } => Some(stage),
            _ => None,
        })
        .collect();
    stages
        .into_iter()
        .filter_map(|stage| registry.get(&program.stages[stage].method))
        .map(|entry| entry.descriptor.passes)
        .sum()
}
