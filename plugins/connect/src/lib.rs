//! The survey's first family, mode connectivity: paths between models, and how they are found.
//!
//! One file per method; each module's text holds the formula, the defaults and what differs from the reference code. Methods
//! see weights as flat vectors and the network as a loss with a gradient (`fusion_sdk::objective`), so everything here is
//! arithmetic on slices. What a path is, and what can be asked of it, is `fusion_sdk::path`.
#![forbid(unsafe_code)]

pub mod autoneb;
pub mod bezier;
pub mod curve;
pub mod descent;
pub mod fge;
pub mod instability;
pub mod linear;
pub mod plane;
pub mod polychain;
mod ports;
pub mod simplex;
pub mod subspace;
pub mod swag;
#[cfg(test)]
mod toy;

use fusion_sdk::connect::{PathMethod, method};

pub use autoneb::AutoNeb;
pub use bezier::Bezier;
pub use fge::Fge;
pub use instability::Instability;
pub use linear::Linear;
pub use plane::Plane;
pub use polychain::Polychain;
pub use simplex::Simplex;
pub use subspace::Subspace;
pub use swag::Swag;

/// Every method of the family, in the registry's form.
#[must_use]
pub fn methods() -> Vec<Box<dyn PathMethod>> {
    vec![
        method::<Linear>(),
        method::<Bezier>(),
        method::<Polychain>(),
        method::<AutoNeb>(),
        method::<Subspace>(),
        method::<Simplex>(),
        method::<Swag>(),
        method::<Fge>(),
        method::<Instability>(),
        method::<Plane>(),
    ]
}

#[cfg(test)]
mod tests;
