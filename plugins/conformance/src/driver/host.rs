//! The table that plugins call back, as this kit offers it: it remembers every call, and what it offers can be cut.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fusion_abi::{
    FUSION_ABI_MAJOR, fusion_host, fusion_model_v1, fusion_status, fusion_str, fusion_threads_v1,
};

use super::memory::Memory;
use super::model::Models;
use super::services;

/// What the host offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Its minor version.
    pub(crate) minor: u32,
    /// Bytes by which its structs are longer than those of version 1.0.
    pub(crate) extra: usize,
    /// Whether it has services other than `fusion.model/1`.
    pub(crate) services: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Offer { minor: fusion_abi::FUSION_ABI_MINOR, extra: 0, services: true }
    }
}

/// What a plugin has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The status that it explains.
    pub(crate) code: fusion_status,
    /// Why.
    pub(crate) message: String,
    /// JSON pointer of the setting to blame; may be empty.
    pub(crate) pointer: String,
}

/// How often each function was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// `log`.
    pub(crate) log: u64,
    /// `report`.
    pub(crate) report: u64,
    /// `progress`.
    pub(crate) progress: u64,
    /// `cancelled`.
    pub(crate) cancelled: u64,
    /// `service`.
    pub(crate) service: u64,
}

/// A host; its address does not change, for it stands in every table's `ctx`.
pub(crate) struct Host(Box<Shared>);

pub(super) struct Shared {
    pub(super) offer: Offer,
    pub(super) workers: AtomicUsize,
    pub(super) models: Mutex<Option<Models>>,
    stop: AtomicBool,
    report: Mutex<Option<Report>>,
    counts: [AtomicU64; 5],
    threads: fusion_threads_v1,
    model: fusion_model_v1,
}

// SAFETY: the tables are never written after they were made, their `ctx` point to this struct itself, and the rest is locks and atomics.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// The longest text that is taken over.
const LONGEST: u64 = 64 << 10;

/// Copies a text; broken UTF-8 is mended, monsters are cut.
///
/// # Safety
/// `text` is valid for the call.
pub(super) unsafe fn owned(text: fusion_str) -> String {
    // SAFETY: as promised.
    String::from_utf8_lossy(&unsafe { bytes(text) }).into_owned()
}

/// Copies the bytes of a text.
///
/// # Safety
/// `text` is valid for the call.
pub(super) unsafe fn bytes(text: fusion_str) -> Vec<u8> {
    if text.ptr.is_null() || text.len == 0 {
        return Vec::new();
    }
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len.min(LONGEST) as usize) }.to_vec()
}

impl Host {
    pub(crate) fn new(offer: Offer, workers: usize) -> Self {
        let mut shared = Box::new(Shared {
            offer,
            workers: AtomicUsize::new(workers.max(1)),
            models: Mutex::default(),
            stop: AtomicBool::new(false),
            report: Mutex::default(),
            counts: Default::default(),
            threads: services::threads(),
            model: services::model(),
        });
        let ctx: *mut c_void = (&raw mut *shared).cast();
        (shared.threads.ctx, shared.model.ctx) = (ctx, ctx);
        Host(shared)
    }

    /// Bytes by which structs are longer than those of version 1.0.
    pub(super) fn extra(&self) -> usize {
        self.0.offer.extra
    }

    /// A table for one call.
    pub(super) fn table(&self, memory: &mut Memory) -> *const fusion_host {
        let table = fusion_host {
            struct_size: (size_of::<fusion_host>() + self.extra()) as u64,
            abi_major: FUSION_ABI_MAJOR,
            abi_minor: self.0.offer.minor,
            ctx: (&raw const *self.0).cast_mut().cast(),
            log: Some(log),
            report: Some(report),
            progress: Some(progress),
            cancelled: Some(cancelled),
            service: Some(service),
        };
        memory.grown("host table", table, self.extra(), true)
    }

    fn models(&self) -> MutexGuard<'_, Option<Models>> {
        self.0.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows these models through `fusion.model/1`.
    pub(crate) fn lend(&self, models: Models) {
        *self.models() = Some(models);
    }

    /// Takes the models back: the run is over.
    pub(crate) fn back(&self) -> Option<Models> {
        self.models().take()
    }

    /// Asks the running call to stop.
    pub(crate) fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }

    /// The last report, and none left.
    pub(crate) fn take(&self) -> Option<Report> {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How often each function was called so far.
    pub(crate) fn told(&self) -> Told {
        let [log, report, progress, cancelled, service] =
            [0, 1, 2, 3, 4].map(|i: usize| self.0.counts[i].load(Ordering::SeqCst));
        Told { log, report, progress, cancelled, service }
    }
}

/// # Safety
/// `ctx` comes from a table of a host that lives.
pub(super) unsafe fn shared<'a>(ctx: *mut c_void) -> &'a Shared {
    // SAFETY: as promised.
    unsafe { &*ctx.cast::<Shared>() }
}

/// # Safety
/// As [`shared`].
unsafe fn count(ctx: *mut c_void, which: usize) {
    // SAFETY: as promised.
    unsafe { shared(ctx) }.counts[which].fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn log(ctx: *mut c_void, _: u32, message: fusion_str) {
    // SAFETY: a table's own `ctx`, a text valid for the call.
    unsafe {
        count(ctx, 0);
        let _ = bytes(message);
    }
}

unsafe extern "C" fn report(ctx: *mut c_void, code: fusion_status, message: fusion_str, pointer: fusion_str) {
    // SAFETY: as above.
    unsafe {
        count(ctx, 1);
        let told = Report { code, message: owned(message), pointer: owned(pointer) };
        *shared(ctx).report.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }
}

unsafe extern "C" fn progress(ctx: *mut c_void, _: u64, _: u64, note: fusion_str) {
    // SAFETY: as above.
    unsafe {
        count(ctx, 2);
        let _ = bytes(note);
    }
}

unsafe extern "C" fn cancelled(ctx: *mut c_void) -> u32 {
    // SAFETY: as above.
    unsafe {
        count(ctx, 3);
        u32::from(shared(ctx).stop.load(Ordering::SeqCst))
    }
}

unsafe extern "C" fn service(ctx: *mut c_void, id: fusion_str) -> *const c_void {
    // SAFETY: as above.
    let (id, shared) = unsafe {
        count(ctx, 4);
        (owned(id), shared(ctx))
    };
    match id.as_str() {
        // In `run` it is always there.
        "fusion.model/1" => {
            let there = shared.models.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if there { (&raw const shared.model).cast() } else { std::ptr::null() }
        }
        "fusion.threads/1" if shared.offer.services => (&raw const shared.threads).cast(),
        other if shared.offer.services => fusion_core::host::service(other).unwrap_or(std::ptr::null()),
        _ => std::ptr::null(),
    }
}
