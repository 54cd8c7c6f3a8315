//! From the safe traits to the C contract: what [`export_plugin!`](crate::export_plugin) writes for an author.
//!
//! The only place of the kit with `unsafe`. Every function that the host calls is a guard: a panic becomes a status and a report, and
//! never crosses the border.
#![allow(unsafe_code)]

mod border;
mod describe;
mod elementwise;
mod guard;
mod instance;
mod model;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::OnceLock;

use fusion_abi::{fusion_host, fusion_plugin};

pub use describe::Exported;

use crate::elementwise::Elementwise;
use crate::model::WholeModel;
use crate::observe::Observe;
use crate::whole::{Group, WholeTensor};

/// Who the plugin is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Reverse domain name in lower case.
    pub id: &'static str,
    /// Version of the plugin's crate.
    pub version: &'static str,
    /// SPDX expression.
    pub license: &'static str,
}

/// The descriptor of one method, made on the first call of the entry.
pub type MakeMethod = fn() -> fusion_abi::fusion_method;

/// The makers, named as the traits, so that `export_plugin!` can say `Consensus: Elementwise`.
#[allow(non_snake_case, reason = "they stand for the traits of the same names")]
pub mod classes {
    use super::*;

    /// For [`Elementwise`] methods without observe passes.
    #[must_use]
    pub const fn Elementwise<K: Elementwise>() -> MakeMethod {
        super::elementwise::plain::<K>
    }

    /// For [`Observe`] methods.
    #[must_use]
    pub const fn Observe<K: Observe>() -> MakeMethod {
        super::elementwise::observing::<K>
    }

    /// For [`WholeTensor`] methods.
    #[must_use]
    pub const fn WholeTensor<K: WholeTensor>() -> MakeMethod {
        super::whole::tensor::<K>
    }

    /// For [`Group`] methods.
    #[must_use]
    pub const fn Group<K: Group>() -> MakeMethod {
        super::whole::group::<K>
    }

    /// For [`WholeModel`] methods.
    #[must_use]
    pub const fn WholeModel<K: WholeModel>() -> MakeMethod {
        super::model::model::<K>
    }
}

/// What the exported entry does: describes the plugin, once.
///
/// # Safety
/// `host` is NULL or points to a `fusion_host` that stays valid for the call.
#[must_use]
pub unsafe fn entry(
    _host: *const fusion_host,
    plugin: &'static OnceLock<Exported>,
    identity: Identity,
    methods: &[MakeMethod],
) -> *const fusion_plugin {
    guard::install_hook();
    std::panic::catch_unwind(|| plugin.get_or_init(|| Exported::new(identity, methods)).plugin())
        .unwrap_or(std::ptr::null())
}

/// Makes a dynamic plugin of methods: the exported entry, descriptors, schemas and guards.
///
/// ```ignore
/// fusion_sdk::export_plugin! {
///     id = "org.example.consensus",
///     methods = [Consensus: Elementwise, Arithmetic: Observe],
/// }
/// ```
///
/// Each method stands with the trait by which it is called: `Elementwise`, `Observe`, `WholeTensor`, `Group` or `WholeModel`.
///
/// The crate is a `cdylib` and unwinds on panic. An author who forbids `unsafe` puts this into a crate of its own: the exported name
/// is an unsafe attribute.
#[macro_export]
macro_rules! export_plugin {
    (id = $id:literal, methods = [$($method:ident : $class:ident),+ $(,)?] $(,)?) => {
        #[cfg(panic = "abort")]
        compile_error!("a fusion plugin must be built with `panic = \"unwind\"`: with `abort` a panic would end the whole run");
        #[cfg(not(target_pointer_width = "64"))]
        compile_error!("fusion plugins are built for 64-bit targets");

        /// The one exported function of the plugin.
        ///
        /// # Safety
        /// Called by the host as `fusion_plugin.h` says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn fusion_plugin_entry_v1(
            host: *const $crate::abi::fusion_host,
        ) -> *const $crate::abi::fusion_plugin {
            static PLUGIN: ::std::sync::OnceLock<$crate::export::Exported> = ::std::sync::OnceLock::new();
            let identity = $crate::export::Identity {
                id: $id,
                version: env!("CARGO_PKG_VERSION"),
                license: env!("CARGO_PKG_LICENSE"),
            };
            // SAFETY: `host` is the host's.
            unsafe {
                $crate::export::entry(host, &PLUGIN, identity, &[$($crate::export::classes::$class::<$method>()),+])
            }
        }
    };
}
