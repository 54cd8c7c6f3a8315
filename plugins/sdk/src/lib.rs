//! The contract that every fusion method is written against, built-in or not.
//!
//! A method author implements [`Elementwise`]: what the method is called and takes ([`About`]), how its settings become a
//! kernel ([`Elementwise::prepare`]), any statistics passes ([`Elementwise::observe`]) and the arithmetic of one tile
//! ([`Elementwise::apply`]). The engine does the rest: reading, conversion to f32, chunking, threads, per-layer settings,
//! rounding, writing, resuming.
//!
//! # Determinism
//! A kernel sees the same [`TILE`]s in the same blocks of [`BLOCK`] elements whatever the chunk size and the thread count;
//! partial statistics are absorbed in block order. A kernel whose functions are pure therefore gives the same bytes on
//! every run. Random numbers come from [`rng`], a pure function of (seed, tensor name, stream, element).
#![deny(unsafe_code)]

// The derives speak of `::fusion_sdk`, here too.
extern crate self as fusion_sdk;

mod about;
mod elementwise;
mod error;
pub mod export;
mod kernel;
mod params;
pub mod rng;
pub mod select;
pub mod stats;
mod task;
pub mod testing;

pub use fusion_abi as abi;
pub use fusion_sdk_macros::{Params, Words};

pub use about::{About, Category, Class, Described, Port, Role, Space};
pub use elementwise::{Elementwise, Method, erase};
pub use error::{ErrorKind, MethodError};
pub use kernel::{BLOCK, Kernel, TILE, Tile};
pub use task::{Group, Input, NoParams, Params, RawGroup, RawInput, RawTensor, Scope, TensorTask};

/// For the code that the derives generate.
#[doc(hidden)]
pub mod __private {
    pub use crate::params::*;
}

/// Runs `body` with the widest vector instructions of this processor. `body` and what it calls must be
/// `#[inline(always)]` to be compiled for them. Results do not depend on the width: Rust neither reassociates nor fuses
/// floating-point operations.
#[inline(always)]
pub fn simd<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}
