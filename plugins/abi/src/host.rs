//! What the host offers to a plugin.

use core::ffi::c_void;

use crate::{fusion_status, fusion_str};

/// The host's functions. All may be called from any thread, but only during a call from the host into the plugin.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_host {
    /// Size of this struct.
    pub struct_size: u64,
    /// The host's major version.
    pub abi_major: u32,
    /// The host's minor version.
    pub abi_minor: u32,
    /// Passed back to every function.
    pub ctx: *mut c_void,
    /// A line for the log: 0 error, 1 warning, 2 information, 3 debugging.
    pub log: Option<unsafe extern "C" fn(ctx: *mut c_void, level: u32, message: fusion_str)>,
    /// Says why a call is about to fail, and which setting is to blame: a JSON pointer into the parameters (`/density`, `/from/2/weight`)
    /// or empty. The text is copied at once.
    pub report: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            code: fusion_status,
            message: fusion_str,
            json_pointer: fusion_str,
        ),
    >,
    /// Progress within a long call, in units of the plugin's choice.
    pub progress: Option<unsafe extern "C" fn(ctx: *mut c_void, done: u64, total: u64, note: fusion_str)>,
    /// Not 0 once the user has asked to stop: return [`FUSION_CANCELLED`](crate::FUSION_CANCELLED) soon. Always 0 in element-wise calls,
    /// which last microseconds: the host stops between them.
    pub cancelled: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u32>,
    /// A table of functions by id and revision (`fusion.rng/1`), NULL where it is not offered.
    pub service: Option<unsafe extern "C" fn(ctx: *mut c_void, id: fusion_str) -> *const c_void>,
}
