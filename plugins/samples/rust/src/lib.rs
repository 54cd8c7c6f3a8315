//! A plugin to copy from, with two methods that are not built in: one element by element over task vectors, one over whole tensors.
//!
//! `docs/plugins.md` walks through it. Each method stands in a file of its own, with its formula, its edge cases and its tests.

pub mod consensus;
pub mod geometric_median;

pub use consensus::Consensus;
pub use geometric_median::GeometricMedian;

fusion_sdk::export_plugin! {
    id = "org.fusion.samples.consensus",
    methods = [Consensus: Elementwise, GeometricMedian: WholeTensor],
}

/// The book for method authors: its Rust examples are compiled and run as tests of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/plugins.md")]
pub struct Book;
