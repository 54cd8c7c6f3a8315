//! The words that several methods share, so that `rescale` or `dialect` mean the same in each.

use fusion_sdk::{MethodError, Words};

/// Whose semantics decide where tools differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Dialect {
    /// the defaults documented here
    Fusion,
    /// exactly what mergekit 0.1.5 computes, computed in f32
    Mergekit,
}

/// Over what the largest changes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Trim {
    /// each tensor keeps its own share
    Tensor,
    /// the share is of the whole model, as in the paper: tensors that changed more keep more
    Model,
}

/// How the sign of each element is elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Election {
    /// the sign of the sum of the weighted changes
    Weighted,
    /// one vote per model; a draw goes to the sign of the weighted sum
    Count,
}

/// How the changes that remain become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Combine {
    /// divide by the weights of the models that take part in the element
    Mean,
    /// add
    Sum,
}

/// How dropped changes are made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Rescale {
    /// divide what is kept by the density
    Expected,
    /// scale what is kept to the L1 norm that the change had before (mergekit)
    L1,
    /// leave it
    None,
}

/// The smallest L1 norm that mergekit rescales.
pub(crate) const MERGEKIT_L1: f64 = 1e-7;

/// A setting that `dialect = mergekit` rules out.
pub(crate) fn contradicts(parameter: &'static str, value: &str) -> MethodError {
    MethodError::invalid(format!(
        "`{parameter} = {value}` contradicts `dialect = mergekit`, which has no such mode"
    ))
    .at(parameter)
    .help(format!("remove `{parameter}`, or remove `dialect` and set the other parameters as needed"))
}

/// The factor of an L1 rescale, from the norms before and after dropping.
pub(crate) fn l1_factor([all, kept]: [f64; 2], dialect: Dialect) -> f64 {
    let skip = match dialect {
        Dialect::Mergekit => all < MERGEKIT_L1 || kept < MERGEKIT_L1,
        Dialect::Fusion => all == 0.0 || kept == 0.0,
    };
    if skip { 1.0 } else { all / kept }
}
