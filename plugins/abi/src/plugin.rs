//! What a library exports: one function, one description.

use crate::{fusion_host, fusion_method, fusion_str};

/// A plugin. Static: valid as long as the library is loaded, which is until the process ends.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_plugin {
    /// Size of this struct.
    pub struct_size: u64,
    /// Major version of the header that it was built with. Shown, never compared.
    pub built_major: u32,
    /// Minor version of that header. Shown, never compared.
    pub built_minor: u32,
    /// The lowest minor version of a host that it can run on. This is compared.
    pub needs_minor: u32,
    /// 0.
    pub flags: u32,
    /// Reverse domain name in lower case, such as `org.example.consensus`.
    pub id: fusion_str,
    /// Its version (semver).
    pub version: fusion_str,
    /// SPDX expression.
    pub license: fusion_str,
    /// Compiler, date, whatever helps to report a bug.
    pub build_info: fusion_str,
    /// Its methods.
    pub methods: *const fusion_method,
    /// How many.
    pub n_methods: u64,
    /// Services without which it cannot run.
    pub services: *const fusion_str,
    /// How many.
    pub n_services: u64,
}

/// The type of the exported function `fusion_plugin_entry_v1`. Does no work; called again, it returns the same pointer. NULL: it cannot
/// run here, and has said why by `report`.
pub type fusion_entry_fn = Option<unsafe extern "C" fn(host: *const fusion_host) -> *const fusion_plugin>;
