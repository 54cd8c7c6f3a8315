//! Dynamic plugins: loads libraries of the C contract (`plugins/abi`) and makes their methods methods like any other.
//!
//! A library is loaded once, bound at once, and never unloaded. Every refusal has an error of its own that names the file and the fix.
#![allow(unsafe_code)]

use serde::{Deserialize, Serialize};

mod callbacks;
mod describe;
mod discover;
mod elementwise;
mod frame;
mod instance;
pub mod isolate;
mod load;
mod lock;
mod manifest;
mod method;
mod model;
mod pack;
mod scratch;
mod select;
mod services;
mod whole;

use fusion_dsl::codes::Code;

pub use discover::{Found, Inventory, Place, discover};
pub use load::{Plugin, load};
pub use lock::{Change, LOCK, Lock, Locked};
pub use manifest::{
    Bundle, MANIFEST, Manifest, ManifestAbi, ManifestError, ManifestLibrary, TARGET, is_id, short,
};
pub use pack::{Before, PackError, Packed, install, install_library, pack};
pub use select::{Candidate, Refusal, Wanted, candidates, requirement, select};
pub use services::{SERVICES, service};

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum HostError {
    /// The system's loader refused the file.
    #[error("`{path}` cannot be loaded: {reason}")]
    Open {
        /// The library.
        path: String,
        /// The loader's words.
        reason: String,
    },
    /// It has no entry of any version.
    #[error("`{path}` is no fusion plugin: it has no `fusion_plugin_entry_v1`")]
    NoEntry {
        /// The library.
        path: String,
    },
    /// It has an entry of another major version.
    #[error("`{path}` was built for version {found} of the plugin contract, this fusion speaks version 1")]
    OtherMajor {
        /// The library.
        path: String,
        /// Its version.
        found: u32,
    },
    /// The entry gave nothing.
    #[error("`{path}` refused to start: {reason}")]
    Refused {
        /// The library.
        path: String,
        /// What it reported.
        reason: String,
    },
    /// It needs a newer host.
    #[error("`{path}` needs version 1.{needs} of the plugin contract, this fusion has 1.{have}")]
    TooNew {
        /// The library.
        path: String,
        /// The minor version that it needs.
        needs: u32,
        /// The host's.
        have: u32,
    },
    /// It needs a service that is not offered.
    #[error("`{path}` needs the service `{service}`, which this fusion does not offer")]
    NoService {
        /// The library.
        path: String,
        /// The service.
        service: String,
    },
    /// A descriptor breaks the contract.
    #[error("`{path}` describes itself wrongly: {reason}")]
    Descriptor {
        /// The library.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be run in a process of its own.
    #[error("`{path}` cannot be run in a process of its own: {reason}")]
    Process {
        /// The library.
        path: String,
        /// What went wrong.
        reason: String,
    },
}

impl HostError {
    /// The code that a recipe's writer sees.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            HostError::Open { .. } | HostError::NoEntry { .. } => Code::PluginNotLoadable,
            HostError::OtherMajor { .. } => Code::PluginIncompatible,
            HostError::TooNew { .. } => Code::PluginTooNew,
            HostError::NoService { .. } => Code::PluginService,
            HostError::Descriptor { .. } => Code::PluginDescriptor,
            HostError::Refused { .. } | HostError::Process { .. } => Code::PluginFailed,
        }
    }

    /// How to fix it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            HostError::Open { .. } => "is it built for this system, with all its own libraries at hand?",
            HostError::NoEntry { .. } => {
                "a Rust plugin gets it from `fusion_sdk::export_plugin!`, a C plugin exports it itself"
            }
            HostError::OtherMajor { .. } => "rebuild it with the kit of this fusion's version",
            HostError::Refused { .. } => "ask its author",
            HostError::TooNew { .. } => "update fusion",
            HostError::NoService { .. } => "update fusion, or use an older version of the plugin",
            HostError::Descriptor { .. } => "this is a mistake of the plugin: tell its author",
            HostError::Process { .. } => {
                "where the plugin is to blame, tell its author; without `--isolate` it runs within fusion itself"
            }
        }
    }
}
