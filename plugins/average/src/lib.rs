//! The survey's third family, weight averaging: one model from several, computed in weight space; and `stitch`.
//!
//! One file per method; each module's text holds the formula, the defaults and what differs from mergekit 0.1.5.
#![forbid(unsafe_code)]

mod combine;
pub mod linear;
pub mod mean;
pub mod stitch;
mod weights;

pub use linear::Linear;
pub use mean::Mean;
pub use weights::Weight;

/// Adds every method of the family.
pub fn register(registry: &mut fusion_core::method::Registry) {
    registry.add::<Mean>();
    registry.add::<Linear>();
    registry.add_route(&stitch::stitch());
}
