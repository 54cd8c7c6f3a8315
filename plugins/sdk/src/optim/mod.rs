//! Optimisers over flat weights: what training and curve finding share.
//!
//! Each step is one fused pass over weights, gradient and state; burn's own optimisers walk over memory once for every operation.

mod clip;
mod optimizer;
mod rule;

pub use clip::{clip_norm, clip_value};
pub use optimizer::{Optimizer, OptimizerState};
pub use rule::Rule;
