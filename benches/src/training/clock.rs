//! Time on the wall and of the processors, of one or more trainings side by side.

use std::time::{Duration, Instant};

use anyhow::Result;
use rayon::ThreadPoolBuilder;
use rustix::time::{ClockId, clock_gettime};

/// What something took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Seconds until the last one ended.
    pub wall: f64,
    /// Seconds of processor time of all threads, those that make batches included. On a machine that others use too it says more.
    pub cpu: f64,
}

/// Processor time of this process so far.
#[must_use]
pub fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    // The clock starts at 0 with the process.
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Runs `body` for each job at the same time, each in a rayon pool of `threads` threads, as the product runs independent stages.
///
/// # Errors
/// Those of the jobs, or the system gives no thread.
pub fn side_by_side<T: Send>(
    jobs: &mut [T],
    threads: usize,
    body: impl Fn(&mut T) -> Result<()> + Sync,
) -> Result<Cost> {
    let pool = |_| ThreadPoolBuilder::new().num_threads(threads).build();
    let pools = (0..jobs.len()).map(pool).collect::<Result<Vec<_>, _>>()?;
    let (begun, before) = (Instant::now(), cpu());
    std::thread::scope(|scope| {
        let body = &body;
        let pairs = jobs.iter_mut().zip(&pools);
        let running: Vec<_> =
            pairs.map(|(job, pool)| scope.spawn(move || pool.install(|| body(job)))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(Cost { wall: begun.elapsed().as_secs_f64(), cpu: (cpu() - before).as_secs_f64() })
}
