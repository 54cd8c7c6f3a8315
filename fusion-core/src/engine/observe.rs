//! Observe passes: statistics per block, taken in parallel, absorbed in order, so that they never depend on threads.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fusion_sdk::{BLOCK, Kernel, TILE, Tile};
use rayon::prelude::*;

use super::context::Context;
use super::error::RunError;
use super::program::{Parts, TileProgram, run_tile, with_inputs};
use crate::plan::ir::{Origin, StageProgram};

/// Bytes of partial statistics that are in the air at once.
const PARTIALS: usize = 64 << 20;
/// Blocks that one batch holds at the most.
const BATCH: usize = 256;

struct Item {
    group: usize,
    member: usize,
    start: u64,
    len: usize,
}

/// Runs all observe passes of one stage over some of its groups. `kernels` holds them by group.
pub(super) fn observe_stage<'a>(
    context: &Context<'_>,
    pool: &rayon::ThreadPool,
    stage: &StageProgram,
    kernels: &mut BTreeMap<usize, Box<dyn Kernel>>,
    parts: &impl Parts<'a>,
) -> Result<(), RunError> {
    let threads = pool.current_num_threads();
    loop {
        let due: Vec<usize> =
            kernels.iter().filter(|(_, kernel)| kernel.observing()).map(|(g, _)| *g).collect();
        if due.is_empty() {
            return Ok(());
        }
        let mut programs = BTreeMap::new();
        let mut items = Vec::new();
        let mut partial_bytes = 1;
        for &group in &due {
            partial_bytes = partial_bytes.max(kernels[&group].state_bytes().1);
            for (member, one) in stage.groups[group].iter().enumerate() {
                let node = context.program.tensor(one.tensor);
                let Origin::Computed { inputs, .. } = &node.origin else { continue };
                programs.insert((group, member), TileProgram::new(context.program, inputs, parts));
                let total = node.len();
                let mut start = 0;
                while start < total {
                    let len = (total - start).min(BLOCK as u64) as usize;
                    items.push(Item { group, member, start, len });
                    start += BLOCK as u64;
                }
            }
        }
        let most = (PARTIALS / partial_bytes).min(BATCH).max(threads);
        let mut spare: BTreeMap<usize, Vec<Box<dyn Any + Send>>> = BTreeMap::new();
        let mut at = 0;
        while at < items.len() {
            context.check()?;
            let (mut end, mut elements) = (at, 0);
            while end < items.len() && end - at < most && (elements < 24 * threads * BLOCK || end == at) {
                elements += items[end].len;
                end += 1;
            }
            let batch = &items[at..end];
            let blanks = Mutex::new(std::mem::take(&mut spare));
            let done: Vec<Mutex<Option<Box<dyn Any + Send>>>> =
                batch.iter().map(|_| Mutex::new(None)).collect();
            let next = AtomicUsize::new(0);
            pool.broadcast(|_| {
                let mut arena = context.arena();
                while !context.cancel.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = batch.get(index) else { break };
                    let kernel = &kernels[&item.group];
                    let blank = {
                        let mut blanks = blanks.lock().unwrap_or_else(PoisonError::into_inner);
                        blanks.get_mut(&item.group).and_then(Vec::pop)
                    };
                    let mut partial = blank.unwrap_or_else(|| kernel.partial());
                    let (program, roots) = &programs[&(item.group, item.member)];
                    arena.fit(program.slots, TILE);
                    let mut read = 0;
                    for tile in (0..item.len).step_by(TILE) {
                        let len = (item.len - tile).min(TILE);
                        let offset = item.start + tile as u64;
                        if !kernel.wants(item.member, offset as usize / TILE) {
                            continue;
                        }
                        read += program.read_bytes(len);
                        run_tile(program, offset, len, &mut arena, context);
                        with_inputs(&arena.slots, roots, 0..len, |inputs| {
                            kernel.observe(&mut *partial, &Tile { tensor: item.member, offset, inputs });
                        });
                    }
                    context.count(read, 0);
                    *done[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(partial);
                }
                context.give_back(arena);
            });
            context.check()?;
            spare = blanks.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (item, slot) in batch.iter().zip(done) {
                let partial = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
                if let (Some(mut partial), Some(kernel)) = (partial, kernels.get_mut(&item.group)) {
                    kernel.absorb(&mut *partial);
                    spare.entry(item.group).or_default().push(partial);
                }
            }
            for (program, _) in programs.values() {
                context.sound(program)?;
            }
            if let Some(error) = due.iter().find_map(|group| kernels[group].trouble()) {
                return Err(RunError::method(stage, error));
            }
            // Blank partials of groups that are through are of no more use.
            let current = items.get(end).map(|item| item.group);
            spare.retain(|group, _| Some(*group) == current);
            at = end;
        }
        drop(programs);
        // Groups are apart, and a selection's last step costs milliseconds.
        pool.install(|| {
            kernels.par_iter_mut().filter(|(group, _)| due.binary_search(group).is_ok()).try_for_each(
                |(_, kernel)| kernel.finish_pass().map_err(|error| RunError::method(stage, error)),
            )
        })?;
    }
}
