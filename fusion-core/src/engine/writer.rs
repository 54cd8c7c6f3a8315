//! Writing beside computing: one worker at a time hands finished chunks to the file system while the others go on.
//!
//! File systems let one thread at a time write to a file; workers that all write their own chunks spin for that lock as long as
//! another copies. So a finished chunk goes into a short queue, and whoever finds nobody writing becomes the writer until the
//! queue is empty.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::apply::Task;
use super::context::Context;
use super::error::RunError;
use crate::checkpoint::blocks;
use crate::checkpoint::write::Transaction;

/// Buffers that a worker accounts for: one being filled, one in the queue, one being written.
pub(super) const BUFFERS: usize = 3;

/// A finished chunk.
pub(super) struct Job<'a> {
    pub(super) task: &'a Task<'a>,
    /// Bytes from the tensor's start.
    pub(super) at: u64,
    pub(super) data: Data<'a>,
}

/// The bytes of a chunk.
pub(super) enum Data<'a> {
    /// The first `len` bytes of a buffer that comes back to the pool.
    Computed { buffer: Vec<u8>, len: usize },
    /// Bytes of an input.
    Mapped(&'a [u8]),
}

#[derive(Default)]
struct Queue<'a> {
    jobs: VecDeque<Job<'a>>,
    writing: bool,
}

/// The queue of one apply pass.
pub(super) struct Writer<'a> {
    context: &'a Context<'a>,
    transaction: &'a Transaction,
    queue: Mutex<Queue<'a>>,
    /// Chunks that may wait.
    most: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(context: &'a Context<'a>, transaction: &'a Transaction, threads: usize) -> Self {
        Writer { context, transaction, queue: Mutex::default(), most: threads }
    }

    /// Takes a chunk: it is written at once, or by the worker that is writing. With too many waiting the caller writes one, so
    /// that memory stays bounded.
    ///
    /// # Errors
    /// The writing failed, of this chunk or another.
    pub(super) fn submit(&self, job: Job<'a>) -> Result<(), RunError> {
        let mut queue = self.queue();
        queue.jobs.push_back(job);
        if queue.writing {
            if queue.jobs.len() > self.most
                && let Some(job) = queue.jobs.pop_front()
            {
                drop(queue);
                return self.write(job);
            }
            return Ok(());
        }
        queue.writing = true;
        while let Some(job) = queue.jobs.pop_front() {
            drop(queue);
            // After an error nobody writes any more: the run is over.
            self.write(job)?;
            queue = self.queue();
        }
        queue.writing = false;
        Ok(())
    }

    fn write(&self, job: Job<'a>) -> Result<(), RunError> {
        let Job { task, at, data } = job;
        let bytes = match &data {
            Data::Computed { buffer, len } => &buffer[..*len],
            Data::Mapped(bytes) => bytes,
        };
        self.transaction.write_at(task.index, at, bytes)?;
        self.context.count(0, bytes.len() as u64);
        if let Data::Computed { buffer, .. } = data {
            self.context.give_buffer(buffer);
        }
        if task.left.fetch_sub(1, Ordering::AcqRel) == 1 { self.finish(task) } else { Ok(()) }
    }

    /// Notes the hashes of a tensor whose chunks are all written.
    pub(super) fn finish(&self, task: &Task<'_>) -> Result<(), RunError> {
        for duty in &task.duties {
            if let Some(hash) = duty.finish() {
                self.context.set_hash(duty.source, duty.tensor, hash);
            }
        }
        let all: Vec<[u8; 32]> = task.blocks.iter().filter_map(|slot| slot.get().copied()).collect();
        self.transaction.tensor_done(task.index, blocks::combine(&all))?;
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
