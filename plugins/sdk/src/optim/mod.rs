//! Optimisers over flat weights: what training and curve finding share.
//!
//! Each step is one fused pass over weights, gradient and state; burn's own optimisers walk over memory once for every operation.

mod rule;

pub use rule::{Optimizer, Rule};
