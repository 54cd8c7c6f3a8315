//! The C contract between the command and its plugins, and nothing else: plain structs whose layout is part of the product.
//!
//! `fusion_plugin.h` is generated from these modules. Rules that every change keeps:
//! - Every struct but the smallest starts with `struct_size`, the size that its writer knew, and only ever grows at its end. A reader
//!   looks at a field only if `struct_size` covers it ([`covers`]).
//! - No implicit padding; sizes and offsets are pinned by a test.
//! - Texts are UTF-8 with a length, borrowed for the call unless a comment says otherwise. What one side allocates, that side frees.
//! - Threads: each function says who may call it, and when.
#![no_std]
#![allow(non_camel_case_types, reason = "these are the names of the C header")]

mod host;
mod method;
mod plugin;
mod services;
mod tensor;

pub use host::*;
pub use method::*;
pub use plugin::*;
pub use services::*;
pub use tensor::*;

/// Major version of the contract; also part of the entry's name.
pub const FUSION_ABI_MAJOR: u32 = 1;
/// Minor version that these structs describe.
pub const FUSION_ABI_MINOR: u32 = 0;

/// A text: UTF-8, borrowed, without a terminating NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_str {
    /// First byte; anything where `len` is 0.
    pub ptr: *const core::ffi::c_char,
    /// Bytes.
    pub len: u64,
}

/// How a call ended.
pub type fusion_status = i32;
/// It worked.
pub const FUSION_OK: fusion_status = 0;
/// Settings that do not fit; `report` has said which.
pub const FUSION_INVALID: fusion_status = 1;
/// Not supported on these tensors or by this host.
pub const FUSION_UNSUPPORTED: fusion_status = 2;
/// No memory.
pub const FUSION_OUT_OF_MEMORY: fusion_status = 3;
/// Stopped because the host asked for it.
pub const FUSION_CANCELLED: fusion_status = 4;
/// The computation failed; `report` has said why.
pub const FUSION_FAILED: fusion_status = 5;
/// A panic or exception was caught at the border: the instance may only be destroyed.
pub const FUSION_PANICKED: fusion_status = 6;

/// Whether a struct whose `struct_size` is `size` has the field that ends at `end`.
#[must_use]
pub const fn covers(size: u64, end: usize) -> bool {
    size >= end as u64
}

/// Reads a field of a struct that another version may have written: `None` where `struct_size` does not cover it.
///
/// `field!(pointer, fusion_method, wants)`; `pointer` must be valid for the size that it states.
#[macro_export]
macro_rules! field {
    ($pointer:expr, $type:ident, $field:ident) => {{
        let pointer: *const $crate::$type = $pointer;
        let end = ::core::mem::offset_of!($type, $field) + $crate::size_of_field(|s: &$crate::$type| &s.$field);
        if $crate::covers((*pointer).struct_size, end) { Some((*pointer).$field) } else { None }
    }};
}

/// The size of the field that the closure picks; for [`field!`].
#[must_use]
pub const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

// SAFETY (of all below): the structs are plain data; who may use what they point to from which thread is said at each field, and is
// for the two sides to keep.
unsafe impl Sync for fusion_str {}
unsafe impl Send for fusion_str {}
