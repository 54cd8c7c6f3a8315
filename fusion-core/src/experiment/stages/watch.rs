//! How the user watches and stops a step: events out, the stop flag in.

use std::sync::atomic::Ordering;

use fusion_sdk::context::Host;

use super::super::run::Runtime;
use crate::engine::Event;

/// A data set that is read.
pub(in crate::experiment) struct Reading<'a> {
    pub(in crate::experiment) runtime: &'a Runtime<'a>,
    pub(in crate::experiment) name: &'a str,
}

impl fusion_data::Watch for Reading<'_> {
    fn progress(&self, done: u64, total: u64, note: &str) {
        self.runtime.emit(&Event::Working {
            stage: self.name.to_owned(),
            done,
            total,
            note: note.to_owned(),
        });
    }

    fn cancelled(&self) -> bool {
        self.runtime.cancel.load(Ordering::Relaxed)
    }
}

/// A step that works.
pub(in crate::experiment) struct Working<'a> {
    pub(in crate::experiment) runtime: &'a Runtime<'a>,
    pub(in crate::experiment) name: &'a str,
}

impl Host for Working<'_> {
    fn cancelled(&self) -> bool {
        self.runtime.cancel.load(Ordering::Relaxed)
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        self.runtime.emit(&Event::Working {
            stage: self.name.to_owned(),
            done,
            total,
            note: note.to_owned(),
        });
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        // The step has its threads in another way; a method's own loops are short.
        (0..n).for_each(body);
    }
}

impl fusion_learn::train::Watch for Working<'_> {
    fn cancelled(&self) -> bool {
        self.runtime.cancel.load(Ordering::Relaxed)
    }

    fn progress(&self, progress: &fusion_learn::train::Progress) {
        self.runtime.emit(&Event::Training {
            stage: self.name.to_owned(),
            done: progress.done,
            total: progress.total,
            loss: progress.loss,
            accuracy: progress.accuracy.unwrap_or(f64::NAN),
            rate: progress.samples_per_second,
        });
    }
}
