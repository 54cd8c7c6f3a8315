//! The apply pass: every output tensor is computed chunk by chunk, rounded once, hashed and written at its final offset.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use fusion_sdk::TILE;

use super::context::Context;
use super::device::{Placement, run_span};
use super::error::RunError;
use super::program::{Arena, TileProgram, Watch, run_tile};
use super::writer::{Data, Job, Writer};
use crate::checkpoint::blocks::{self, BLOCK_ELEMENTS};
use crate::checkpoint::write::Transaction;
use crate::plan::ir::TensorId;
use crate::tensor::{Dtype, count_non_finite, from_f32};

/// A stored tensor whose content hash is taken on the way.
pub(super) struct HashDuty<'a> {
    pub(super) source: usize,
    pub(super) tensor: usize,
    pub(super) bytes: &'a [u8],
    pub(super) dtype: Dtype,
    pub(super) blocks: Vec<OnceLock<[u8; 32]>>,
}

impl<'a> HashDuty<'a> {
    pub(super) fn new(source: usize, tensor: usize, bytes: &'a [u8], dtype: Dtype) -> Self {
        let count = (bytes.len() / dtype.size()).div_ceil(BLOCK_ELEMENTS);
        HashDuty { source, tensor, bytes, dtype, blocks: (0..count).map(|_| OnceLock::new()).collect() }
    }

    /// Hashes the block with this index.
    pub(super) fn block(&self, index: usize) {
        let size = BLOCK_ELEMENTS * self.dtype.size();
        let start = index * size;
        let end = (start + size).min(self.bytes.len());
        if let Some(slot) = self.blocks.get(index) {
            slot.get_or_init(|| blocks::hash_block(&self.bytes[start..end]));
        }
    }

    /// The tensor's hash, once every block has been done.
    pub(super) fn finish(&self) -> Option<[u8; 32]> {
        let all: Option<Vec<[u8; 32]>> = self.blocks.iter().map(|slot| slot.get().copied()).collect();
        all.map(|all| blocks::combine(&all))
    }
}

/// How the elements of an output tensor come about.
pub(super) enum Make<'a> {
    /// Stored bytes as they are; the others must be equal to them.
    Copy { bytes: &'a [u8], id: TensorId, others: Vec<(TensorId, &'a [u8])> },
    /// Computed into this slot.
    Compute { program: TileProgram<'a>, slot: usize },
}

/// An output tensor at work.
pub(super) struct Task<'a> {
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    pub(super) len: u64,
    pub(super) make: Make<'a>,
    pub(super) duties: Vec<HashDuty<'a>>,
    pub(super) blocks: Vec<OnceLock<[u8; 32]>>,
    pub(super) left: AtomicUsize,
}

impl Task<'_> {
    /// Blocks of the written tensor.
    pub(super) fn block_slots(len: u64) -> Vec<OnceLock<[u8; 32]>> {
        (0..(len as usize).div_ceil(BLOCK_ELEMENTS)).map(|_| OnceLock::new()).collect()
    }
}

/// Runs the tasks of a wave.
pub(super) fn apply<'a>(
    context: &'a Context<'a>,
    pool: &rayon::ThreadPool,
    tasks: &'a [Task<'a>],
    chunk: usize,
    placement: &Placement<'_>,
    output: &str,
    transaction: &'a Transaction,
) -> Result<(), RunError> {
    let writer = Writer::new(context, transaction, pool.current_num_threads());
    let mut items: Vec<(usize, u64)> = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let chunks = task.len.div_ceil(chunk as u64);
        task.left.store(chunks.max(1) as usize, Ordering::Relaxed);
        items.extend((0..chunks).map(|part| (index, part * chunk as u64)));
        if chunks == 0 {
            writer.finish(task)?;
        }
    }
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<RunError>> = Mutex::new(None);
    let stop = std::sync::atomic::AtomicBool::new(false);
    pool.broadcast(|_| {
        let mut arena = context.arena();
        while !stop.load(Ordering::Relaxed) {
            let Some(&(task, start)) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let outcome = context.check().and_then(|()| {
                one_chunk(context, &tasks[task], start, chunk, placement, output, &writer, &mut arena)
            });
            if let Err(error) = outcome {
                stop.store(true, Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
        context.give_back(arena);
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[expect(clippy::too_many_arguments, reason = "the pass's shared pieces; a struct would only rename them")]
fn one_chunk<'a>(
    context: &Context<'_>,
    task: &'a Task<'a>,
    start: u64,
    chunk: usize,
    placement: &Placement<'_>,
    output: &str,
    writer: &Writer<'a>,
    arena: &mut Arena,
) -> Result<(), RunError> {
    let len = (task.len - start).min(chunk as u64) as usize;
    let size = task.dtype.size();
    let mut bytes = match &task.make {
        Make::Compute { .. } => context.buffer(len * size),
        Make::Copy { .. } => Vec::new(),
    };
    let mut read = 0;
    let on_device = match &task.make {
        Make::Compute { program, .. } => placement.takes(program),
        Make::Copy { .. } => false,
    };
    if let (true, Make::Compute { program, slot }) = (on_device, &task.make) {
        arena.fit(program.slots, len);
        run_span(placement, program, start, len, arena, context)?;
        if !from_f32(task.dtype, &arena.slots[*slot][..len], &mut bytes[..len * size]) {
            overflow(task, output, &arena.slots[*slot][..len])?;
        }
        read += program.read_bytes(len);
    }
    for block in (0..len).step_by(BLOCK_ELEMENTS) {
        let index = (start as usize + block) / BLOCK_ELEMENTS;
        let here = (len - block).min(BLOCK_ELEMENTS);
        for duty in &task.duties {
            duty.block(index); // first, so that the bytes are in cache for the arithmetic
        }
        let span = block * size..(block + here) * size;
        match &task.make {
            Make::Copy { bytes: from, id, others } => {
                let at = (start as usize + block) * size;
                let part = &from[at..at + here * size];
                for (other, bytes) in others {
                    if bytes[at..at + here * size] != *part {
                        let ((first, tensor), (other, _)) = (context.name(*id), context.name(*other));
                        return Err(RunError::NotIdentical { tensor, first, other });
                    }
                }
                if task.dtype.is_float() {
                    let (nan, infinite) = count_non_finite(task.dtype, part);
                    if nan + infinite > 0 {
                        context.not_finite(*id, (start as usize + block) as u64, task.dtype, part);
                    }
                }
                read += ((1 + others.len()) * here * size) as u64;
            }
            Make::Compute { program, slot } if !on_device => {
                arena.fit(program.slots, TILE);
                for tile in (block..block + here).step_by(TILE) {
                    let count = (block + here - tile).min(TILE);
                    run_tile(program, start + tile as u64, count, arena, context);
                    let values = &arena.slots[*slot][..count];
                    if !from_f32(task.dtype, values, &mut bytes[tile * size..(tile + count) * size]) {
                        overflow(task, output, values)?;
                    }
                }
                read += program.read_bytes(here);
            }
            Make::Compute { .. } => {}
        }
        if let Some(slot) = task.blocks.get(index) {
            let hash = match &task.make {
                // A copy's hash is its input's.
                Make::Copy { bytes: from, .. } => {
                    let at = (start as usize + block) * size;
                    let own = || blocks::hash_block(&from[at..at + here * size]);
                    task.duties
                        .first()
                        .and_then(|duty| duty.blocks.get(index)?.get().copied())
                        .unwrap_or_else(own)
                }
                Make::Compute { .. } => blocks::hash_block(&bytes[span]),
            };
            slot.get_or_init(|| hash);
        }
    }
    if let Make::Compute { program, .. } = &task.make {
        context.sound(program)?;
    }
    context.count(read, 0);
    let data = match &task.make {
        Make::Copy { bytes: from, .. } => {
            Data::Mapped(&from[start as usize * size..(start as usize + len) * size])
        }
        Make::Compute { .. } => Data::Computed { buffer: bytes, len: len * size },
    };
    writer.submit(Job { task, at: start * size as u64, data })
}

/// A rounded value that is not finite is an overflow if what it was rounded from is finite; otherwise the inputs have been reported.
fn overflow(task: &Task<'_>, output: &str, values: &[f32]) -> Result<(), RunError> {
    if values.iter().all(|value| value.is_finite()) {
        return Err(RunError::Overflow {
            tensor: task.name.to_owned(),
            output: output.to_owned(),
            dtype: task.dtype.to_string(),
        });
    }
    Ok(())
}
