//! What the programs that measure share: threads, and the clock of the processor.

use fusion_sdk::context::Host;

/// A host with two threads.
pub(crate) struct Two;

impl Host for Two {
    fn cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if index >= n {
                    return;
                }
                body(index);
            }
        };
        std::thread::scope(|scope| {
            if n > 1 {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// Seconds of processor that this process has used.
pub(crate) fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
