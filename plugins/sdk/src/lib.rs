//! The contract that every fusion method is written against, built-in or not.
//!
//! A method author implements one of the traits below, by what the method must see at once: what it is called and takes ([`About`]),
//! how its settings become a kernel (`prepare`), and the arithmetic. The engine does the rest: reading, conversion to f32, chunking,
//! threads, per-layer settings, rounding, writing, resuming.
//!
//! | trait | sees | memory |
//! |---|---|---|
//! | [`Elementwise`] | the same [`TILE`] of elements of every input | a few tiles a thread |
//! | [`Observe`] (with `Elementwise`) | all tiles, for statistics, before it computes | and its statistics |
//! | [`WholeTensor`] | a tensor of every input | that tensor |
//! | [`Group`] | the tensors of a layer, or of the stage | those tensors |
//! | [`WholeModel`] | whatever it asks for | what it holds |
//!
//! # Determinism
//! A kernel sees the same [`TILE`]s in the same blocks of [`BLOCK`] elements whatever the chunk size and the thread count;
//! partial statistics are absorbed in block order. A kernel whose functions are pure therefore gives the same bytes on
//! every run. Random numbers come from [`rng`], a pure function of (seed, tensor name, stream, element).
#![deny(unsafe_code)]

// The derives speak of `::fusion_sdk`, here too.
extern crate self as fusion_sdk;

mod about;
pub mod align;
pub mod alignment;
pub mod assign;
pub mod batch;
pub mod connect;
pub mod context;
mod delta;
mod elementwise;
mod error;
pub mod export;
mod kernel;
pub mod method;
mod model;
pub mod objective;
mod observe;
pub mod optim;
mod params;
pub mod path;
pub mod rng;
pub mod schedule;
pub mod select;
pub mod stats;
pub mod symmetry;
mod task;
pub mod testing;
mod whole;

pub use fusion_abi as abi;
pub use fusion_sdk_macros::{Params, Words};

pub use about::{About, Category, Claim, Class, Described, Port, Role, Space};
pub use context::Context;
pub use delta::Deltas;
pub use elementwise::Elementwise;
pub use error::{ErrorKind, MethodError};
pub use kernel::{BLOCK, Kernel, TILE, Tile};
pub use method::{Method, Prepared};
pub use model::{ModelKernel, Models, WholeModel};
pub use observe::Observe;
pub use task::{Input, Layer, NoParams, Params, RawGroup, RawInput, RawTensor, Scope, Tasks, TensorTask};
pub use whole::{Group, Member, WholeKernel, WholeTensor};

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
