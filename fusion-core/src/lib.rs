//! The engine of fusion: it reads checkpoints, plans what a recipe's graph needs, and streams the result to disk.
//!
//! The rooms, floor by floor: [`tensor`] and [`checkpoint`], [`method`] and [`host`], [`plan`], [`engine`]. See ARCHITECTURE.md.
#![deny(unsafe_code)]

pub mod checkpoint;
pub mod engine;
#[cfg(feature = "learn")]
pub mod experiment;
pub mod host;
pub mod method;
pub mod plan;
pub mod symmetry;
pub mod tensor;
