//! What all workers of a run share: counters, the stop flag, findings about values, input hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::error::{NonFinite, RunError};
use super::events::{Event, Listener};
use super::program::{Arena, TileProgram, Watch};
use crate::plan::ir::{Origin, Program, TensorId};
use crate::tensor::{Dtype, count_beyond_f32, count_non_finite};

/// Milliseconds between two progress events.
const TICK: u64 = 50;
/// Tensors named in an error about values.
const NAMED: usize = 10;

/// Per tensor: offsets that have been counted; NaN, infinite, beyond f32.
type Counts = BTreeMap<TensorId, (BTreeSet<u64>, [u64; 3])>;

/// Shared by the workers of a run.
pub(super) struct Context<'a> {
    pub(super) program: &'a Program,
    pub(super) cancel: &'a AtomicBool,
    pub(super) listener: Listener<'a>,
    pub(super) started: Instant,
    read: AtomicU64,
    written: AtomicU64,
    last: AtomicU64,
    bad: Mutex<Counts>,
    hashes: Mutex<BTreeMap<(usize, usize), [u8; 32]>>,
    arenas: Mutex<Vec<Arena>>,
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// A lock whose owner cannot have left it half-written: every critical section is one insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Context<'a> {
    pub(super) fn new(program: &'a Program, cancel: &'a AtomicBool, listener: Listener<'a>) -> Self {
        Context {
            program,
            cancel,
            listener,
            started: Instant::now(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            last: AtomicU64::new(0),
            bad: Mutex::default(),
            hashes: Mutex::default(),
            arenas: Mutex::default(),
            buffers: Mutex::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), RunError> {
        if self.cancel.load(Ordering::Relaxed) { Err(RunError::Cancelled) } else { Ok(()) }
    }

    /// An error if a kernel of the program is in trouble.
    pub(super) fn sound(&self, program: &TileProgram<'_>) -> Result<(), RunError> {
        match program.trouble() {
            None => Ok(()),
            Some((stage, error)) => Err(RunError::method(&self.program.stages[stage], error)),
        }
    }

    pub(super) fn emit(&self, event: &Event) {
        (self.listener)(event);
    }

    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Counts work and, now and then, tells of it.
    pub(super) fn count(&self, read: u64, written: u64) {
        let read = self.read.fetch_add(read, Ordering::Relaxed) + read;
        let written = self.written.fetch_add(written, Ordering::Relaxed) + written;
        let now = self.started.elapsed().as_millis() as u64;
        let last = self.last.load(Ordering::Relaxed);
        if now >= last + TICK
            && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.emit(&Event::Progress { read, written });
        }
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }

    /// A worker's buffers, used by nobody else until they are given back.
    pub(super) fn arena(&self) -> Arena {
        lock(&self.arenas).pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, arena: Arena) {
        lock(&self.arenas).push(arena);
    }

    /// A buffer of at least `len` bytes with any content, to be given back.
    pub(super) fn buffer(&self, len: usize) -> Vec<u8> {
        let mut buffer = lock(&self.buffers).pop().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        buffer
    }

    pub(super) fn give_buffer(&self, buffer: Vec<u8>) {
        lock(&self.buffers).push(buffer);
    }

    pub(super) fn hashed(&self, source: usize, tensor: usize) -> Option<[u8; 32]> {
        lock(&self.hashes).get(&(source, tensor)).copied()
    }

    pub(super) fn set_hash(&self, source: usize, tensor: usize, hash: [u8; 32]) {
        lock(&self.hashes).insert((source, tensor), hash);
    }

    /// What was found since the last call, as an error unless it is allowed; then as warnings.
    pub(super) fn judge_values(&self, allow: bool) -> Result<(), RunError> {
        let bad = std::mem::take(&mut *lock(&self.bad));
        if bad.is_empty() {
            return Ok(());
        }
        let more = bad.len().saturating_sub(NAMED);
        let found: Vec<NonFinite> = bad
            .into_iter()
            .take(NAMED)
            .map(|(id, (_, [nan, infinite, beyond]))| {
                let (of, tensor) = self.name(id);
                NonFinite { of, tensor, nan, infinite, beyond }
            })
            .collect();
        if !allow {
            return Err(RunError::NonFinite { found, more });
        }
        for one in &found {
            self.emit(&Event::Warning { message: format!("not finite, kept: {one}") });
        }
        if more > 0 {
            self.emit(&Event::Warning { message: format!("not finite, kept: {more} more tensors") });
        }
        Ok(())
    }

    /// (model or stage, tensor) of an arena entry.
    pub(super) fn name(&self, id: TensorId) -> (String, String) {
        match &self.program.tensor(id).origin {
            Origin::Stored { source, tensor } => {
                let source = &self.program.sources[*source];
                (source.name.clone(), source.checkpoint.tensors()[*tensor].name.clone())
            }
            Origin::Adapted { adapter, target, .. } => {
                (self.program.adapters[*adapter].name.clone(), target.clone())
            }
            Origin::Computed { stage, group, member, .. } => {
                let stage = &self.program.stages[*stage];
                (stage.name.clone(), stage.groups[*group][*member].name.clone())
            }
            Origin::Identical { of } => match of.first() {
                Some(first) => self.name(*first),
                None => (String::new(), String::new()),
            },
        }
    }
}

impl Watch for Context<'_> {
    fn not_finite(&self, tensor: TensorId, offset: u64, dtype: Dtype, bytes: &[u8]) {
        let (nan, infinite) = count_non_finite(dtype, bytes);
        let found = [nan, infinite, count_beyond_f32(dtype, bytes)];
        let mut bad = lock(&self.bad);
        let (seen, sums) = bad.entry(tensor).or_default();
        if seen.insert(offset) {
            for (sum, count) in sums.iter_mut().zip(found) {
                *sum += count;
            }
        }
    }
}
