//! The program of one output tensor: the few steps that compute any stretch of its elements, in reused buffers.
//!
//! Slots are assigned like registers: a buffer is free again once its last reader has run, so a chain of stages needs no more
//! buffers than its widest step.

use std::collections::BTreeMap;
use std::ops::Range;

use fusion_sdk::{Kernel, MethodError, TILE, Tile};

use super::lora;
use crate::checkpoint::LowRank;
use crate::plan::ir::{Origin, Program, TensorId};
use crate::tensor::{Dtype, prefetch, to_f32};

/// How a step fills its slot.
pub(super) enum Action<'a> {
    /// Convert stored bytes, of an input or of a result that was computed whole.
    Load { bytes: &'a [u8], dtype: Dtype, input: bool },
    /// Add a low-rank delta to the only input.
    Adapt { delta: &'a LowRank },
    /// Run a kernel.
    Compute { kernel: &'a dyn Kernel, stage: usize, member: usize },
}

/// One step.
pub(super) struct Step<'a> {
    pub(super) tensor: TensorId,
    pub(super) action: Action<'a>,
    pub(super) slot: usize,
    pub(super) inputs: Vec<usize>,
}

/// The steps of one tensor; the last one's slot holds the result.
pub(super) struct TileProgram<'a> {
    pub(super) steps: Vec<Step<'a>>,
    pub(super) slots: usize,
}

/// Looks up what the steps need.
pub(super) trait Parts<'a> {
    fn bytes(&self, source: usize, tensor: usize) -> &'a [u8];
    fn delta(&self, id: TensorId) -> Option<&'a LowRank>;
    fn kernel(&self, stage: usize, group: usize) -> Option<&'a dyn Kernel>;
    /// What has been computed whole, as f32.
    fn result(&self, id: TensorId) -> Option<&'a [u8]>;
}

impl<'a> TileProgram<'a> {
    /// The program that computes `roots` (each keeps its slot to the end; the last root's step is last).
    pub(super) fn new(program: &Program, roots: &[TensorId], parts: &impl Parts<'a>) -> (Self, Vec<usize>) {
        let order = program.closure_until(roots, |id| parts.result(id).is_some());
        let inputs_of = |id: &TensorId| -> Vec<TensorId> {
            match &program.tensor(*id).origin {
                _ if parts.result(*id).is_some() => Vec::new(),
                Origin::Stored { .. } => Vec::new(),
                Origin::Adapted { base, .. } => vec![*base],
                Origin::Computed { inputs, .. } => inputs.clone(),
                Origin::Identical { of } => of.first().copied().into_iter().collect(),
            }
        };
        let mut last_use: BTreeMap<TensorId, usize> = BTreeMap::new();
        for (at, id) in order.iter().enumerate() {
            for input in inputs_of(id) {
                last_use.insert(input, at);
            }
        }
        for root in roots {
            last_use.insert(*root, usize::MAX);
        }
        let mut slot_of: BTreeMap<TensorId, usize> = BTreeMap::new();
        let mut free = Vec::new();
        let mut slots = 0;
        let mut steps = Vec::new();
        for (at, id) in order.iter().enumerate() {
            let slot = free.pop().unwrap_or_else(|| {
                slots += 1;
                slots - 1
            });
            slot_of.insert(*id, slot);
            let inputs = inputs_of(id);
            let made = parts.result(*id).map(|bytes| Action::Load { bytes, dtype: Dtype::F32, input: false });
            let action = match &program.tensor(*id).origin {
                _ if made.is_some() => made,
                Origin::Stored { source, tensor } => Some(Action::Load {
                    bytes: parts.bytes(*source, *tensor),
                    dtype: program.tensor(*id).dtype,
                    input: true,
                }),
                Origin::Adapted { .. } => parts.delta(*id).map(|delta| Action::Adapt { delta }),
                Origin::Computed { stage, group, member, .. } => parts
                    .kernel(*stage, *group)
                    .map(|kernel| Action::Compute { kernel, stage: *stage, member: *member }),
                Origin::Identical { .. } => None, // whole numbers never enter arithmetic
            };
            if let Some(action) = action {
                let inputs = inputs.iter().map(|input| slot_of[input]).collect();
                steps.push(Step { tensor: *id, action, slot, inputs });
            }
            let mut freed: Vec<TensorId> = inputs;
            freed.dedup();
            for input in freed {
                if last_use.get(&input) == Some(&at)
                    && let Some(slot) = slot_of.remove(&input)
                {
                    free.push(slot);
                }
            }
        }
        let results = roots.iter().map(|root| slot_of.get(root).copied().unwrap_or(0)).collect();
        (TileProgram { steps, slots }, results)
    }

    /// Whether one of its steps is this kernel stage's, for placement on a device.
    pub(super) fn computes(&self, stage: usize) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Compute { stage: s, .. } if s == stage))
    }

    /// The first of its kernels that is in trouble, with its stage.
    pub(super) fn trouble(&self) -> Option<(usize, MethodError)> {
        self.steps.iter().find_map(|step| match step.action {
            Action::Compute { kernel, stage, .. } => kernel.trouble().map(|error| (stage, error)),
            _ => None,
        })
    }

    /// Bytes that a stretch of `len` elements reads.
    pub(super) fn read_bytes(&self, len: usize) -> u64 {
        self.steps
            .iter()
            .map(|step| match step.action {
                Action::Load { dtype, input: true, .. } => (len * dtype.size()) as u64,
                _ => 0,
            })
            .sum()
    }
}

/// Buffers of one worker, reused for all its work.
#[derive(Default)]
pub(super) struct Arena {
    pub(super) slots: Vec<Vec<f32>>,
    scratch: Vec<f32>,
}

impl Arena {
    /// Makes room for `slots` buffers of `len` elements. Buffers only grow.
    pub(super) fn fit(&mut self, slots: usize, len: usize) {
        if self.slots.len() < slots {
            self.slots.resize_with(slots, Vec::new);
        }
        for slot in &mut self.slots[..slots] {
            if slot.len() < len {
                slot.resize(len, 0.0);
            }
        }
        if self.scratch.len() < TILE {
            self.scratch.resize(TILE, 0.0);
        }
    }
}

/// Elements that are converted at once, between two prefetches.
const PIECE: usize = 256;

/// Told where inputs are not finite.
pub(super) trait Watch {
    fn not_finite(&self, tensor: TensorId, offset: u64, dtype: Dtype, bytes: &[u8]);
}

/// Computes elements `offset..offset + len` of a program into its slots, at most one tile.
pub(super) fn run_tile(
    program: &TileProgram<'_>,
    offset: u64,
    len: usize,
    arena: &mut Arena,
    watch: &impl Watch,
) {
    for step in &program.steps {
        let mut out = std::mem::take(&mut arena.slots[step.slot]);
        run_step(step, offset, 0, len, &mut out, arena, watch);
        arena.slots[step.slot] = out;
    }
}

/// Computes elements `offset..offset + len` of one step, at most a tile, into `out[at..]`; inputs stand at `at` in their slots.
pub(super) fn run_step(
    step: &Step<'_>,
    offset: u64,
    at: usize,
    len: usize,
    out: &mut [f32],
    arena: &mut Arena,
    watch: &impl Watch,
) {
    let out = &mut out[at..at + len];
    match &step.action {
        Action::Load { bytes, dtype, .. } => {
            let size = dtype.size();
            let start = offset as usize * size;
            let part = &bytes[start..start + len * size];
            let mut finite = true;
            for (index, out) in out.chunks_mut(PIECE).enumerate() {
                let at = start + index * PIECE * size;
                let piece = &bytes[at..at + out.len() * size];
                let ahead = (at + TILE * size).min(bytes.len());
                prefetch(&bytes[ahead..(ahead + piece.len()).min(bytes.len())]);
                finite &= to_f32(*dtype, piece, out);
            }
            if !finite {
                watch.not_finite(step.tensor, offset, *dtype, part);
            }
        }
        Action::Adapt { delta } => {
            out.copy_from_slice(&arena.slots[step.inputs[0]][at..at + len]);
            lora::add(delta, offset, out, &mut arena.scratch);
        }
        Action::Compute { kernel, member, .. } => {
            with_inputs(&arena.slots, &step.inputs, at..at + len, |inputs| {
                kernel.apply(&Tile { tensor: *member, offset, inputs }, out);
            });
        }
    }
}

/// Calls `body` with the slots as slices, without an allocation for the usual number of inputs.
pub(super) fn with_inputs<R>(
    slots: &[Vec<f32>],
    inputs: &[usize],
    part: Range<usize>,
    body: impl FnOnce(&[&[f32]]) -> R,
) -> R {
    const FEW: usize = 16;
    if inputs.len() <= FEW {
        let mut few: [&[f32]; FEW] = [&[]; FEW];
        for (slice, input) in few.iter_mut().zip(inputs) {
            *slice = &slots[*input][part.clone()];
        }
        body(&few[..inputs.len()])
    } else {
        let many: Vec<&[f32]> = inputs.iter().map(|input| &slots[*input][part.clone()]).collect();
        body(&many)
    }
}
