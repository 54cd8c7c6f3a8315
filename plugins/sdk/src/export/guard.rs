//! Guards: panics end here, with their text and place; errors become a status and a report.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use fusion_abi::{
    FUSION_CANCELLED, FUSION_FAILED, FUSION_INVALID, FUSION_OK, FUSION_PANICKED, FUSION_UNSUPPORTED, field,
    fusion_host, fusion_status, fusion_str,
};

use crate::error::{ErrorKind, MethodError};

thread_local! {
    /// Place of the last panic on this thread.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A library has its own copy of std, so the host's panic hook does not count here: remember the place, print nothing.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            let _ = PLACE.try_with(|slot| slot.replace(place));
        }));
    });
}

/// A text for the host, which copies it.
pub(super) fn text(text: &str) -> fusion_str {
    fusion_str { ptr: text.as_ptr().cast(), len: text.len() as u64 }
}

/// Reads a text of the host's.
///
/// # Safety
/// `text` is valid for the lifetime chosen.
pub(super) unsafe fn read<'a>(text: fusion_str) -> &'a str {
    if text.len == 0 || text.ptr.is_null() {
        return "";
    }
    // SAFETY: as promised; the contract says UTF-8, and a host that breaks it gets an empty text.
    let bytes = unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len as usize) };
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Runs `body`; a panic or an error is reported to the host and becomes a status. `pointer` makes the JSON pointer of an error.
///
/// # Safety
/// `host` is NULL or valid for the call.
pub(super) unsafe fn guarded(
    host: *const fusion_host,
    pointer: impl FnOnce(&MethodError) -> String,
    body: impl FnOnce() -> Result<(), MethodError>,
) -> fusion_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => FUSION_OK,
        Ok(Err(error)) => {
            let code = match error.kind {
                ErrorKind::Invalid | ErrorKind::ZeroSum | ErrorKind::Cancelling => FUSION_INVALID,
                ErrorKind::Shape => FUSION_UNSUPPORTED,
                ErrorKind::Failed => FUSION_FAILED,
                ErrorKind::Cancelled => FUSION_CANCELLED,
            };
            let mut message = error.message.clone();
            if let Some(help) = &error.help {
                message.push_str("\nhelp: ");
                message.push_str(help);
            }
            // SAFETY: as promised.
            unsafe { report(host, code, &message, &pointer(&error)) };
            code
        }
        // SAFETY: as promised.
        Err(payload) => unsafe { panicked(host, payload) },
    }
}

/// Reports a panic.
///
/// # Safety
/// `host` is NULL or valid for the call.
#[cold]
pub(super) unsafe fn panicked(host: *const fusion_host, payload: Box<dyn Any + Send>) -> fusion_status {
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    // Dropping a foreign payload could panic again.
    std::mem::forget(payload);
    let place = PLACE.with(|slot| slot.take());
    // SAFETY: as promised.
    unsafe { report(host, FUSION_PANICKED, &format!("panicked at {place}: {said}"), "") };
    FUSION_PANICKED
}

/// # Safety
/// `host` is NULL or valid.
unsafe fn report(host: *const fusion_host, code: fusion_status, message: &str, pointer: &str) {
    if host.is_null() {
        return;
    }
    // SAFETY: a valid host, read only as far as it says.
    unsafe {
        if let Some(Some(report)) = field!(host, fusion_host, report)
            && let Some(ctx) = field!(host, fusion_host, ctx)
        {
            report(ctx, code, text(message), text(pointer));
        }
    }
}
