//! Content hashes of the inputs: most are taken while the weights stream by; what a resume has skipped is read here.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::apply::HashDuty;
use super::context::Context;
use super::error::RunError;
use crate::plan::Output;

/// BLAKE3 per input that the output was made from (checkpoints, then adapters, as in its record): over name, dtype, shape and content of
/// every tensor that was read for it, in the order of names. What only stages before it have read is read here once more, unless its hash
/// is remembered.
pub(super) fn inputs(
    context: &Context<'_>,
    pool: &rayon::ThreadPool,
    output: &Output,
) -> Result<Vec<[u8; 32]>, RunError> {
    let program = context.program;
    let used = &output.used.tensors;
    let mut missing = Vec::new();
    for &(source, tensor) in used {
        if context.hashed(source, tensor).is_none() {
            let checkpoint = &program.sources[source].checkpoint;
            let dtype = checkpoint.tensors()[tensor].dtype;
            missing.push(HashDuty::new(source, tensor, checkpoint.bytes(tensor)?, dtype));
        }
    }
    let items: Vec<(usize, usize)> = missing
        .iter()
        .enumerate()
        .flat_map(|(index, duty)| (0..duty.blocks.len()).map(move |block| (index, block)))
        .collect();
    let next = AtomicUsize::new(0);
    pool.broadcast(|_| {
        while !context.cancel.load(Ordering::Relaxed) {
            let Some(&(duty, block)) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            missing[duty].block(block);
        }
    });
    context.check()?;
    for duty in &missing {
        if let Some(hash) = duty.finish() {
            context.set_hash(duty.source, duty.tensor, hash);
        }
    }
    let mut hashes = Vec::new();
    for index in output.used.sources() {
        let source = &program.sources[index];
        let mut hash = blake3::Hasher::new();
        for &(_, tensor) in used.range((index, 0)..(index + 1, 0)) {
            let info = &source.checkpoint.tensors()[tensor];
            hash.update(format!("{}\0{}\0{:?}\0", info.name, info.dtype, info.shape).as_bytes());
            hash.update(&context.hashed(index, tensor).unwrap_or_default());
        }
        hashes.push(*hash.finalize().as_bytes());
    }
    for adapter in &output.used.adapters {
        hashes.push(program.adapters[*adapter].adapter.content_hash()?);
    }
    Ok(hashes)
}
