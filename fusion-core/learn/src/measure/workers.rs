//! Work side by side, one thread for each network: on two cores twice as fast as one network on both, and the same bits for any
//! number of threads, since matrix products that are split among threads add up in another order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fusion_sdk::Context;

use crate::measure::MeasureError;

/// How a measurement runs.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Threads, at least 1 (0 counts as 1). On a device that is not the processor, 1.
    pub threads: usize,
    /// Stop and progress.
    pub context: Context<'a>,
}

impl Run<'_> {
    /// Calls `body` for `0..n` on up to `threads` threads, each with a state of its own that `make` builds there; results in order.
    /// Each thread is a rayon pool of one, so what `body` calls computes on that thread alone.
    ///
    /// # Errors
    /// The error of the smallest index that failed, that of `make`, or that the user asked to stop.
    pub(crate) fn each<S, T: Send>(
        &self,
        note: &str,
        n: usize,
        make: impl Fn() -> Result<S, MeasureError> + Sync,
        body: impl Fn(&mut S, usize) -> Result<T, MeasureError> + Sync,
    ) -> Result<Vec<T>, MeasureError> {
        let (next, done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let results: Mutex<Vec<(usize, Result<T, MeasureError>)>> = Mutex::new(Vec::with_capacity(n));
        let keep = |index: usize, result: Result<T, MeasureError>| {
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        };
        let work = || {
            let mut state = match make() {
                Ok(state) => state,
                Err(error) => return keep(0, Err(error)),
            };
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= n {
                    return;
                }
                let result = self.context.check().map_err(MeasureError::from);
                keep(index, result.and_then(|()| body(&mut state, index)));
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.context.progress(done as u64, n as u64, note);
            }
        };
        let threads = self.threads.clamp(1, n.max(1));
        std::thread::scope(|scope| {
            for index in 0..threads {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(1)
                    .thread_name(move |_| format!("measure-{index}"))
                    .build();
                match pool {
                    Ok(pool) => drop(scope.spawn({
                        let work = &work;
                        move || pool.install(work)
                    })),
                    Err(error) => keep(
                        0,
                        Err(MeasureError::unsuitable(
                            format!("the system gives no thread: {error}"),
                            "allow more threads, or measure with fewer",
                        )),
                    ),
                }
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Stable, so an error of `make` comes before what another thread found at 0 or after it: either way it is an error.
        results.sort_by_key(|(index, result)| (*index, result.is_ok()));
        results.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::context::{Alone, Host};

    use super::*;

    fn run(threads: usize) -> Run<'static> {
        Run { threads, context: Context::new(&Alone) }
    }

    #[test]
    fn results_come_in_order_and_each_thread_is_alone() {
        for threads in [0, 1, 2, 5] {
            let made = AtomicUsize::new(0);
            let make = || {
                assert_eq!(rayon::current_num_threads(), 1);
                Ok(made.fetch_add(1, Ordering::Relaxed))
            };
            let found =
                run(threads).each("test", 40, make, |_, index| Ok(index * index)).expect("no failure");
            assert_eq!(found, (0..40).map(|index| index * index).collect::<Vec<_>>());
            assert!(made.into_inner() <= threads.max(1));
        }
        assert!(run(3).each("test", 0, || Ok(()), |(), index| Ok(index)).expect("nothing to do").is_empty());
    }

    #[test]
    fn failures_and_stops_end_the_work() {
        let fails = |(): &mut (), index: usize| match index {
            7 => Err(MeasureError::empty("seven")),
            _ => Ok(index),
        };
        for threads in [1, 3] {
            let error = run(threads).each("test", 1000, || Ok(()), fails).unwrap_err();
            assert_eq!(error, MeasureError::empty("seven"));
            let make = || Err::<(), _>(MeasureError::empty("network"));
            let error = run(threads).each("test", 10, make, |(), index| Ok(index)).unwrap_err();
            assert_eq!(error, MeasureError::empty("network"));
        }
        struct Stopped;
        impl Host for Stopped {
            fn cancelled(&self) -> bool {
                true
            }
            fn progress(&self, _: u64, _: u64, _: &str) {}
            fn for_each(&self, _: usize, _: &(dyn Fn(usize) + Sync)) {}
        }
        let run = Run { threads: 2, context: Context::new(&Stopped) };
        let error = run.each("test", 10, || Ok(()), |(), index| Ok(index)).unwrap_err();
        assert!(matches!(error, MeasureError::Method(error) if error.message == "stopped"));
    }
}
