//! Batches made ahead on a thread of their own, so that training does not wait for data.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fusion_sdk::batch::Batch;

use crate::batches::Batches;
use crate::dataset::buffer;

/// Batches that wait for their reader, at most.
const AHEAD: usize = 3;

/// [`Batches`] with a thread that makes the next ones. `get` returns exactly what [`Batches::batch`] makes, in any order of steps; only steps
/// that follow each other are fast. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Prefetch {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    batches: Arc<Batches>,
    state: Mutex<State>,
    /// Something in the state changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Made, in order.
    ready: VecDeque<(u64, Batch)>,
    /// Being made, and whether it is still wanted.
    making: Option<(u64, bool)>,
    /// What to make next.
    next: u64,
    /// Buffers to reuse.
    spare: Vec<Batch>,
    /// The reader has gone.
    stop: bool,
    /// The worker has gone, or was never there.
    dead: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            while !state.stop && state.ready.len() >= AHEAD {
                state = self.wait(state);
            }
            if state.stop {
                return;
            }
            let step = state.next;
            state.next += 1;
            state.making = Some((step, true));
            let mut batch = state.spare.pop().unwrap_or_else(buffer);
            drop(state);
            self.batches.batch(step, &mut batch);
            state = self.lock();
            match state.making.take() {
                Some((_, true)) => state.ready.push_back((step, batch)),
                _ => state.spare.push(batch),
            }
            self.changed.notify_all();
        }
    }
}

/// Tells the reader that the worker ends, even where it panics.
struct Farewell<'a>(&'a Shared);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.dead = true;
        state.making = None;
        self.0.changed.notify_all();
    }
}

impl Prefetch {
    /// Starts to make batches from `first` on. Where no thread can be started, batches are made when they are asked for.
    #[must_use]
    pub fn new(batches: Arc<Batches>, first: u64) -> Self {
        let state = Mutex::new(State { next: first, ..State::default() });
        let shared = Arc::new(Shared { batches, state, changed: Condvar::new() });
        let worker = thread::Builder::new()
            .name("fusion-data".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let _farewell = Farewell(&shared);
                    shared.work();
                }
            })
            .ok();
        if worker.is_none() {
            shared.lock().dead = true;
        }
        Prefetch { shared, worker }
    }

    /// The batches behind it.
    #[must_use]
    pub fn batches(&self) -> &Arc<Batches> {
        &self.shared.batches
    }

    /// Batch `step`. Give it back with [`Prefetch::recycle`], so that its memory is used again.
    #[must_use]
    pub fn get(&self, step: u64) -> Batch {
        let mut state = self.shared.lock();
        loop {
            while let Some((made, batch)) = state.ready.pop_front_if_not_after(step) {
                // There is room again.
                self.shared.changed.notify_all();
                if made == step {
                    return batch;
                }
                state.spare.push(batch);
            }
            let coming = state.making.is_some_and(|(making, wanted)| wanted && making == step);
            // The worker has not yet come to take it up.
            let expected = state.ready.is_empty() && state.making.is_none() && state.next == step;
            if !state.dead && (coming || expected) {
                state = self.shared.wait(state);
                continue;
            }
            // Out of order: make it here, and let the worker go on behind it.
            let ready: Vec<Batch> = state.ready.drain(..).map(|(_, batch)| batch).collect();
            state.spare.extend(ready);
            if let Some((_, wanted)) = &mut state.making {
                *wanted = false;
            }
            state.next = step + 1;
            let mut batch = state.spare.pop().unwrap_or_else(buffer);
            self.shared.changed.notify_all();
            drop(state);
            self.shared.batches.batch(step, &mut batch);
            return batch;
        }
    }

    /// Takes the buffers of a batch back.
    pub fn recycle(&self, batch: Batch) {
        let mut state = self.shared.lock();
        if state.spare.len() <= AHEAD {
            state.spare.push(batch);
        }
    }
}

/// The front of the queue, unless it lies after `step`.
trait Front {
    fn pop_front_if_not_after(&mut self, step: u64) -> Option<(u64, Batch)>;
}

impl Front for VecDeque<(u64, Batch)> {
    fn pop_front_if_not_after(&mut self, step: u64) -> Option<(u64, Batch)> {
        let &(front, _) = self.front()?;
        // A reader that jumps ahead of all that is ready would throw it away one by one; that is right, too.
        if front <= step { self.pop_front() } else { None }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has said so already.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::batch::Targets;
    use proptest::prelude::*;

    use super::*;
    use crate::batches::BatchOptions;
    use crate::dataset::Dataset;

    fn batches() -> Arc<Batches> {
        let values = (0..46).map(|value| value as f32).collect();
        let data =
            Dataset::of_rows(values, 2, Targets::Classes((0..23).map(|i| i % 2).collect()), 2).unwrap();
        Arc::new(Batches::new(Arc::new(data), BatchOptions { size: 5, ..BatchOptions::default() }).unwrap())
    }

    fn direct(batches: &Batches, step: u64) -> Batch {
        let mut batch = buffer();
        batches.batch(step, &mut batch);
        batch
    }

    #[test]
    fn in_order_it_gives_what_batches_give() {
        let batches = batches();
        let prefetch = Prefetch::new(Arc::clone(&batches), 7);
        for step in 7..300 {
            let batch = prefetch.get(step);
            assert_eq!(batch, direct(&batches, step));
            prefetch.recycle(batch);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn in_any_order_too(first in 0_u64..20, steps in proptest::collection::vec(0_u64..30, 0..40)) {
            let batches = batches();
            let prefetch = Prefetch::new(Arc::clone(&batches), first);
            for step in steps {
                for step in [step, step + 1] {
                    prop_assert_eq!(prefetch.get(step), direct(&batches, step));
                }
            }
        }
    }

    #[test]
    fn it_ends_when_dropped_and_does_not_run_far_ahead() {
        let batches = batches();
        let prefetch = Prefetch::new(Arc::clone(&batches), 0);
        let _ = prefetch.get(0);
        for _ in 0..200 {
            thread::yield_now();
            assert!(prefetch.shared.lock().next <= 1 + AHEAD as u64 + 1);
        }
        drop(prefetch);
        assert_eq!(Arc::strong_count(&batches), 1);
    }
}
