//! The C contract between the command and its plugins, and nothing else: plain structs whose layout is part of the product.
//!
//! `fusion_plugin.h` is generated from these modules. Rules that every change keeps:
//! - Every struct but the smallest starts with `struct_size`, the size that its writer knew, and only ever grows at its end. A reader
//!   looks at a field only if `struct_size` covers it ([`covers`]). Structs that stand in arrays (`fusion_port`, `fusion_input`,
//!   `fusion_member`, `fusion_tensor`) never grow within a major version, so that a reader may index them; `fusion_method`s are
//!   walked by their `struct_size`.
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
/// A panic or exception was caught at the border. After this, as after any failed call, the instance gets no call but `state_free`
/// and `destroy`.
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
        let end =
            ::core::mem::offset_of!($type, $field) + $crate::size_of_field(|s: &$crate::$type| &s.$field);
        if $crate::covers((*pointer).struct_size, end) { Some((*pointer).$field) } else { None }
    }};
}

/// The size of the field that the closure picks; for [`field!`].
#[must_use]
pub const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::mem::{align_of, offset_of};
    use std::{format, string::String};

    use super::*;

    macro_rules! layout {
        ($($type:ident { $($field:ident),* $(,)? })*) => {{
            let mut out = String::new();
            $(
                out += &format!("{} size {} align {}\n", stringify!($type), size_of::<$type>(), align_of::<$type>());
                let mut end = 0;
                $(
                    let at = offset_of!($type, $field);
                    assert_eq!(at, end, "padding before {}.{}", stringify!($type), stringify!($field));
                    end = at + size_of_field(|s: &$type| &s.$field);
                    out += &format!("  {} {}\n", at, stringify!($field));
                )*
                assert_eq!(end, size_of::<$type>(), "a field of {} is not listed, or padding ends it", stringify!($type));
            )*
            out
        }};
    }

    /// The layout of every struct on 64-bit targets: it may grow at the end, and nothing else.
    #[test]
    fn sizes_and_offsets_stay() {
        let layout = layout! {
            fusion_str { ptr, len }
            fusion_device { kind, id }
            fusion_dtype { code, bits, lanes }
            fusion_dltensor { data, device, ndim, dtype, shape, strides, byte_offset }
            fusion_tensor { struct_size, dl, name, key, first, total, member }
            fusion_host { struct_size, abi_major, abi_minor, ctx, log, report, progress, cancelled, service }
            fusion_port { struct_size, name, doc, space, flags, min, max }
            fusion_input { struct_size, port, params }
            fusion_member {
                struct_size, name, key, shape, ndim, layer, layers, params, inputs, n_inputs, settings, n_settings,
            }
            fusion_group { struct_size, members, n_members, seed }
            fusion_plan { struct_size, action, reserved, scratch_bytes }
            fusion_call {
                struct_size, host, inputs, n_inputs, outputs, n_outputs, settings, n_settings, scratch, n_scratch,
            }
            fusion_method {
                struct_size, id, title, formula, citation, params_schema, version, category, kernel, observe_passes,
                threading, reserved, needs, traits, ports, n_ports, numbers, n_numbers, scope, create, destroy, plan,
                observing, wants, state_new, observe, absorb, pass_end, state_free, state_bytes, apply, run,
            }
            fusion_plugin {
                struct_size, built_major, built_minor, needs_minor, flags, id, version, license, build_info, methods,
                n_methods, services, n_services,
            }
            fusion_rng_v1 { struct_size, ctx, uniform_f32, normal_f32 }
            fusion_threads_v1 { struct_size, ctx, for_each }
            fusion_assign_v1 { struct_size, ctx, solve }
            fusion_model_v1 { struct_size, ctx, models, find, info, read, release, write }
        };
        insta::assert_snapshot!(layout);
    }

    #[test]
    fn a_field_is_read_only_where_the_size_covers_it() {
        let plan = fusion_plan {
            struct_size: offset_of!(fusion_plan, scratch_bytes) as u64,
            action: 1,
            reserved: 0,
            scratch_bytes: 8,
        };
        // SAFETY: `plan` is a whole struct, whatever size it states.
        unsafe {
            assert_eq!(field!(&plan, fusion_plan, action), Some(1));
            assert_eq!(field!(&plan, fusion_plan, scratch_bytes), None);
        }
    }
}
