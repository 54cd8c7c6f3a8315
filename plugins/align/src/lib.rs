//! The survey's second family, alignment: units of independently trained networks are brought into one order, so that their weights can be
//! averaged and walked between.
//!
//! One file per method; each module's text holds the formula, the defaults and what differs from the reference code. Methods see models as
//! named tensors whose axes are expressions over nodes (`fusion_sdk::symmetry`), so the same code aligns an MLP, a residual network and
//! attention heads; what they find is `fusion_sdk::alignment`.
#![forbid(unsafe_code)]

use fusion_sdk::align::AlignMethod;

/// Every method of the family, in the registry's form.
#[must_use]
pub fn methods() -> Vec<Box<dyn AlignMethod>> {
    Vec::new()
}
