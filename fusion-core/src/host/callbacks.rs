//! The host's side of the table that plugins call back: log, report, progress, cancelled, services.

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fusion_abi::{
    FUSION_ABI_MAJOR, FUSION_ABI_MINOR, fusion_host, fusion_model_v1, fusion_status, fusion_str,
};
use fusion_sdk::Context;

/// What a plugin has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The status that it explains.
    pub(super) code: fusion_status,
    pub(super) message: String,
    /// JSON pointer of the setting to blame; may be empty.
    pub(super) pointer: String,
}

/// The longest text that is taken over.
pub(super) const LONGEST: u64 = 64 << 10;

/// A host table with a memory for reports. Its address must not change: it stands in a `Box`.
pub(super) struct Host {
    table: fusion_host,
    /// The last one: a plugin that reports at every call must not fill the memory.
    report: Mutex<Option<Report>>,
    /// For the table of a long call: what it may ask, and its models (or NULL). Both live through the call.
    context: Option<*const Context<'static>>,
    models: *const fusion_model_v1,
}

// SAFETY: the table is never written after it was made, its `ctx` points to this very struct, and the other fields are a mutex and
// pointers to what outlives the table and may be used from any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    pub(super) fn new() -> Box<Self> {
        let mut host = Box::new(Host {
            table: fusion_host {
                struct_size: size_of::<fusion_host>() as u64,
                abi_major: FUSION_ABI_MAJOR,
                abi_minor: FUSION_ABI_MINOR,
                ctx: std::ptr::null_mut(),
                log: Some(log),
                report: Some(report),
                progress: Some(progress),
                cancelled: Some(cancelled),
                service: Some(service),
            },
            report: Mutex::default(),
            context: None,
            models: std::ptr::null(),
        });
        host.table.ctx = (&raw mut *host).cast();
        host
    }

    /// A table for one long call.
    pub(super) fn during(context: &Context<'_>, models: Option<&fusion_model_v1>) -> Box<Self> {
        let mut host = Host::new();
        host.context = Some(std::ptr::from_ref(context).cast());
        host.models = models.map_or(std::ptr::null(), std::ptr::from_ref);
        host
    }

    pub(super) fn table(&self) -> *const fusion_host {
        &raw const self.table
    }

    /// The last report, and none left.
    pub(super) fn take(&self) -> Option<Report> {
        self.report().take()
    }

    fn report(&self) -> MutexGuard<'_, Option<Report>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies a text of a plugin's. Broken UTF-8 is mended, monsters are cut.
///
/// # Safety
/// `text` is valid for the call.
pub(super) unsafe fn owned(text: fusion_str) -> String {
    if text.ptr.is_null() || text.len == 0 {
        return String::new();
    }
    // SAFETY: as promised.
    let bytes = unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len.min(LONGEST) as usize) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Traces a line of a plugin's log at its level.
pub(super) fn trace(level: u32, message: &str) {
    match level {
        0 => tracing::error!(target: "plugin", "{message}"),
        1 => tracing::warn!(target: "plugin", "{message}"),
        2 => tracing::info!(target: "plugin", "{message}"),
        _ => tracing::debug!(target: "plugin", "{message}"),
    }
}

unsafe extern "C" fn log(_: *mut c_void, level: u32, message: fusion_str) {
    // SAFETY: the plugin's text, valid for the call.
    let message = unsafe { owned(message) };
    if !super::isolate::pass_on(level, &message) {
        trace(level, &message);
    }
}

unsafe extern "C" fn report(ctx: *mut c_void, code: fusion_status, message: fusion_str, pointer: fusion_str) {
    // SAFETY: `ctx` is the `Host` that made the table, and lives longer than every call; the texts are valid for this one.
    let (host, message, pointer) = unsafe { (&*ctx.cast::<Host>(), owned(message), owned(pointer)) };
    *host.report() = Some(Report { code, message, pointer });
}

/// # Safety
/// `ctx` is a `Host`, and its call goes on.
unsafe fn context<'a>(ctx: *mut c_void) -> Option<&'a Context<'a>> {
    // SAFETY: as promised.
    unsafe { (*ctx.cast::<Host>()).context.map(|context| &*context.cast::<Context<'a>>()) }
}

unsafe extern "C" fn progress(ctx: *mut c_void, done: u64, total: u64, note: fusion_str) {
    // SAFETY: the plugin's text, valid for the call, and the table's own context.
    let (note, context) = unsafe { (owned(note), context(ctx)) };
    match context {
        Some(context) => context.progress(done, total, &note),
        None => tracing::debug!(target: "plugin", done, total, "{note}"),
    }
}

/// No in element-wise calls, which last microseconds: the engine stops between them.
unsafe extern "C" fn cancelled(ctx: *mut c_void) -> u32 {
    // SAFETY: the table's own context, during a call.
    unsafe { context(ctx) }.map_or(0, |context| u32::from(context.check().is_err()))
}

unsafe extern "C" fn service(ctx: *mut c_void, id: fusion_str) -> *const c_void {
    // SAFETY: the plugin's text, valid for the call.
    let id = unsafe { owned(id) };
    if id == "fusion.model/1" {
        // SAFETY: the table's own context.
        return unsafe { (*ctx.cast::<Host>()).models.cast() };
    }
    super::services::service(&id).unwrap_or(std::ptr::null())
}
