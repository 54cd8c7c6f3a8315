//! Replicas side by side, one thread each.
//!
//! Two networks with a thread each train faster than one after the other with all threads, since small matrices do not fill several. Each
//! replica computes on one thread whatever the number of threads, so its bits do not depend on it.

use fusion_sdk::{ErrorKind, MethodError};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads for replicas.
pub(crate) struct Workers(Vec<ThreadPool>);

impl Workers {
    /// For so many replicas: at most as many threads as the pool that this is called in has. None for one replica, which computes in that
    /// pool.
    pub(crate) fn new(replicas: usize) -> Result<Self, MethodError> {
        let count = if replicas < 2 { 0 } else { replicas.min(rayon::current_num_threads()) };
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
        (0..count)
            .map(pool)
            .collect::<Result<_, _>>()
            .map(Workers)
            .map_err(|error| MethodError::new(ErrorKind::Failed, format!("no thread for a replica: {error}")))
    }

    /// `body` for each pair; results in order.
    pub(crate) fn each<A: Send, B: Send, R: Send>(
        &self,
        left: &mut [A],
        right: &mut [B],
        body: impl Fn(&mut A, &mut B) -> R + Sync,
    ) -> Vec<R> {
        let size = left.len().div_ceil(self.0.len().max(1)).max(1);
        let chunks = left.chunks_mut(size).zip(right.chunks_mut(size));
        let run = |(left, right): (&mut [A], &mut [B])| {
            left.iter_mut().zip(right).map(|(a, b)| body(a, b)).collect::<Vec<R>>()
        };
        match &self.0[..] {
            [] => chunks.flat_map(run).collect(),
            [pool] => pool.install(|| chunks.flat_map(run).collect()),
            pools => std::thread::scope(|scope| {
                let running: Vec<_> = pools
                    .iter()
                    .zip(chunks)
                    .map(|(pool, chunk)| scope.spawn(|| pool.install(|| run(chunk))))
                    .collect();
                let results = running.into_iter().map(|thread| match thread.join() {
                    Ok(results) => results,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                results.flatten().collect()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_its_turn_on_one_thread() {
        for (threads, replicas) in [(1, 1), (1, 3), (2, 1), (2, 2), (2, 5), (4, 3)] {
            let outer = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            outer.install(|| {
                let workers = Workers::new(replicas).unwrap();
                let mut left: Vec<usize> = (0..replicas).collect();
                let mut right = vec![0; replicas];
                let threads_inside = workers.each(&mut left, &mut right, |a, b| {
                    *b = *a * 10;
                    rayon::current_num_threads()
                });
                assert!(right.iter().enumerate().all(|(index, &value)| value == index * 10));
                let expected = if replicas == 1 { threads } else { 1 };
                assert_eq!(threads_inside, vec![expected; replicas]);
            });
        }
    }
}
