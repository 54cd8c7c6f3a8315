//! The host as a plugin's method sees it: its callbacks and services behind the safe [`Host`].

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use fusion_abi::{FUSION_OK, FUSION_PANICKED, field, fusion_host, fusion_status, fusion_threads_v1};

use super::guard::text;
use crate::context::Host;

/// A host table for the length of a call.
pub(super) struct Border(*const fusion_host);

// SAFETY: the contract lets any thread call the host.
unsafe impl Sync for Border {}

impl Border {
    /// # Safety
    /// `host` is NULL or valid as long as this lives.
    pub(super) const unsafe fn new(host: *const fusion_host) -> Self {
        Border(host)
    }
}

/// A service's table, NULL becoming `None`.
///
/// # Safety
/// `host` is NULL or valid, and `T` is the struct of the service `id`.
pub(super) unsafe fn service<T>(host: *const fusion_host, id: &str) -> Option<*const T> {
    if host.is_null() {
        return None;
    }
    // SAFETY: a valid host, read only as far as it says.
    unsafe {
        let (Some(Some(service)), Some(ctx)) =
            (field!(host, fusion_host, service), field!(host, fusion_host, ctx))
        else {
            return None;
        };
        let table = service(ctx, text(id));
        (!table.is_null()).then_some(table.cast())
    }
}

/// A loop on the host's threads.
struct Loop<'a> {
    body: &'a (dyn Fn(usize) + Sync),
    panicked: Mutex<Option<Box<dyn Any + Send>>>,
}

unsafe extern "C" fn turn(data: *mut c_void, index: u64, _: u32) -> fusion_status {
    // SAFETY: `data` is the `Loop` of the call that is waiting for us.
    let all = unsafe { &*data.cast::<Loop<'_>>() };
    match catch_unwind(AssertUnwindSafe(|| (all.body)(index as usize))) {
        Ok(()) => FUSION_OK,
        Err(payload) => {
            let mut panicked = all.panicked.lock().unwrap_or_else(PoisonError::into_inner);
            match panicked.is_none() {
                true => *panicked = Some(payload),
                false => std::mem::forget(payload), // dropping it could panic again
            }
            FUSION_PANICKED
        }
    }
}

impl Host for Border {
    fn cancelled(&self) -> bool {
        if self.0.is_null() {
            return false;
        }
        // SAFETY: a valid host, read only as far as it says.
        unsafe {
            match (field!(self.0, fusion_host, cancelled), field!(self.0, fusion_host, ctx)) {
                (Some(Some(cancelled)), Some(ctx)) => cancelled(ctx) != 0,
                _ => false,
            }
        }
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        if self.0.is_null() {
            return;
        }
        // SAFETY: a valid host, read only as far as it says.
        unsafe {
            if let (Some(Some(progress)), Some(ctx)) =
                (field!(self.0, fusion_host, progress), field!(self.0, fusion_host, ctx))
            {
                progress(ctx, done, total, text(note));
            }
        }
    }

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        let all = Loop { body, panicked: Mutex::new(None) };
        // SAFETY: a table of the host's, read only as far as it says; `all` outlives the call, which waits for all turns.
        unsafe {
            if let Some(threads) = service::<fusion_threads_v1>(self.0, "fusion.threads/1")
                && let (Some(Some(for_each)), Some(ctx)) =
                    (field!(threads, fusion_threads_v1, for_each), field!(threads, fusion_threads_v1, ctx))
            {
                for_each(ctx, n as u64, Some(turn), (&raw const all).cast_mut().cast());
            } else {
                (0..n).for_each(body);
            }
        }
        if let Some(payload) = all.panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(payload);
        }
    }
}
