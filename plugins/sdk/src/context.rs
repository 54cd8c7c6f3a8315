//! What a long call may ask of whoever runs it: shall I stop, here is how far I am, run this on your threads.

use std::sync::{Mutex, PoisonError};

use crate::error::{ErrorKind, MethodError};

/// The side that runs a method: the engine, a test, or a host behind the C contract.
pub trait Host: Sync {
    /// Whether the user has asked to stop.
    fn cancelled(&self) -> bool;
    /// How far a call is, in units of the method's choice.
    fn progress(&self, done: u64, total: u64, note: &str);
    /// Calls `body` for `0..n`, in any order, side by side where there are threads.
    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync));
}

/// Handed to every call that may last: whole tensors, groups, models.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    host: &'a dyn Host,
}

impl<'a> Context<'a> {
    /// The context of a host.
    pub const fn new(host: &'a dyn Host) -> Self {
        Context { host }
    }

    /// Ends the call if the user has asked to stop: `context.check()?` a few times a second.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub fn check(&self) -> Result<(), MethodError> {
        match self.host.cancelled() {
            true => Err(MethodError::new(ErrorKind::Cancelled, "stopped")),
            false => Ok(()),
        }
    }

    /// Tells how far the call is.
    pub fn progress(&self, done: u64, total: u64, note: &str) {
        self.host.progress(done, total, note);
    }

    /// Calls `body` for `0..n` on the host's threads, in any order. A method must not depend on the order; it gives the same result on
    /// one thread.
    ///
    /// # Errors
    /// The error of the smallest index that failed, or that the user asked to stop.
    pub fn for_each(
        &self,
        n: usize,
        body: impl Fn(usize) -> Result<(), MethodError> + Sync,
    ) -> Result<(), MethodError> {
        let failed: Mutex<Option<(usize, MethodError)>> = Mutex::new(None);
        self.host.for_each(n, &|index| {
            if let Err(error) = self.check().and_then(|()| body(index)) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if failed.as_ref().is_none_or(|(first, _)| index < *first) {
                    *failed = Some((index, error));
                }
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }
}

/// A host of one thread that never stops: for unit tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Host for Alone {
    fn cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).for_each(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says stop after some questions.
    struct Impatient(std::sync::atomic::AtomicUsize);

    impl Host for Impatient {
        fn cancelled(&self) -> bool {
            self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1
        }

        fn progress(&self, _: u64, _: u64, _: &str) {}

        fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
            (0..n).rev().for_each(body);
        }
    }

    #[test]
    fn the_first_failure_counts_and_a_stop_is_one() {
        let fails = |at: &'static [usize]| {
            move |index: usize| match at.contains(&index) {
                true => Err(MethodError::invalid(format!("{index}"))),
                false => Ok(()),
            }
        };
        let alone = Context::new(&Alone);
        assert!(alone.check().is_ok());
        assert!(alone.for_each(5, fails(&[])).is_ok());
        assert_eq!(alone.for_each(5, fails(&[4, 2])).unwrap_err().message, "2");
        let impatient = Impatient(3.into());
        let error = Context::new(&impatient).for_each(5, fails(&[])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
}
