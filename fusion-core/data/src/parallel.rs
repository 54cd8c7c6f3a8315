//! Filling one long buffer of equal pieces with all cores: generating, decoding and turning images.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::error::DataError;
use crate::places::Watch;

/// Pieces that a thread takes at a time.
const BLOCK: usize = 64;

/// Calls `fill(state, index, piece)` for each piece of `size` elements of `out`, in any order, on all cores; every thread makes its state with
/// `start`. What a piece holds may depend on its index alone, so the result does not depend on the number of threads. The first error in
/// the order of the pieces wins where several fail.
pub(crate) fn fill<T: Send, S>(
    out: &mut [T],
    size: usize,
    (watch, note): (&dyn Watch, &str),
    start: impl Fn() -> Result<S, DataError> + Sync,
    fill: impl Fn(&mut S, usize, &mut [T]) -> Result<(), DataError> + Sync,
) -> Result<(), DataError> {
    let size = size.max(1);
    let total = (out.len() / size) as u64;
    let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(out.len() / size / BLOCK + 1);
    let queue = Mutex::new(out.chunks_mut(size * BLOCK).enumerate());
    let failed: Mutex<Option<(usize, DataError)>> = Mutex::new(None);
    let done = AtomicU64::new(0);
    let fail = |at: usize, error: DataError| {
        if let Ok(mut failed) = failed.lock()
            && failed.as_ref().is_none_or(|&(earlier, _)| at < earlier)
        {
            *failed = Some((at, error));
        }
    };
    let work = || {
        let mut state = match start() {
            Ok(state) => state,
            Err(error) => return fail(0, error),
        };
        loop {
            let next = queue.lock().ok().and_then(|mut queue| queue.next());
            let Some((block, pieces)) = next else { return };
            if watch.cancelled() {
                return fail(0, DataError::Cancelled);
            }
            if failed.lock().map_or(true, |failed| failed.is_some()) {
                return;
            }
            for (at, piece) in pieces.chunks_mut(size).enumerate() {
                let index = block * BLOCK + at;
                if let Err(error) = fill(&mut state, index, piece) {
                    return fail(index, error);
                }
            }
            let pieces = (pieces.len() / size) as u64;
            watch.progress(done.fetch_add(pieces, Ordering::Relaxed) + pieces, total, note);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    match failed.into_inner() {
        Ok(Some((_, error))) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::Unwatched;

    struct Stopped;

    impl Watch for Stopped {
        fn progress(&self, _: u64, _: u64, _: &str) {}

        fn cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn every_piece_is_filled_once_and_errors_come_back() {
        let mut out = vec![0_u32; 3 * 1000];
        let watch: (&dyn Watch, &str) = (&Unwatched, "");
        fill(
            &mut out,
            3,
            watch,
            || Ok(()),
            |(), index, piece| {
                piece.iter_mut().for_each(|value| *value += index as u32 + 1);
                Ok(())
            },
        )
        .unwrap();
        assert!(out.iter().enumerate().all(|(at, &value)| value as usize == at / 3 + 1));
        let failing = fill(
            &mut out,
            3,
            watch,
            || Ok(()),
            |(), index, _| match index {
                700 => Err(DataError::setting("x", "700")),
                _ => Ok(()),
            },
        );
        assert!(failing.unwrap_err().to_string().contains("700"));
        let stopped = fill(&mut out, 3, (&Stopped, ""), || Ok(()), |(), _, _| Ok(()));
        assert!(matches!(stopped, Err(DataError::Cancelled)));
    }
}
