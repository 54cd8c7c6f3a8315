//! The survey's second family, alignment: units of independently trained networks are brought into one order, so that their weights can be
//! averaged and walked between.
//!
//! One file per method; each module's text holds the formula, the defaults and what differs from the reference code. Methods see models as
//! named tensors whose axes are expressions over nodes (`fusion_sdk::symmetry`), so the same code aligns an MLP, a residual network and
//! attention heads; what they find is `fusion_sdk::alignment`.
#![forbid(unsafe_code)]

pub mod activation_matching;
#[cfg(test)]
mod activations;
pub mod apply;
mod branches;
pub mod cca;
mod cost;
mod cut;
pub mod distances;
mod family;
pub mod frank_wolfe;
pub mod gradient_matching;
#[cfg(test)]
mod held;
mod moments;
mod nested;
#[cfg(test)]
mod oracle;
pub mod ot_fusion;
pub mod pfnm;
mod ports;
pub mod random_permutation;
mod relaxed;
mod rows;
mod search;
pub mod simulated_annealing;
pub mod sinkhorn;
mod state;
pub mod straight_through;
#[cfg(test)]
mod toy;
pub mod transport;
mod watch;
pub mod weight_matching;
pub mod zipit;

use fusion_sdk::align::{AlignMethod, method};

pub use activation_matching::ActivationMatching;
pub use apply::Apply;
pub use cca::Cca;
pub use frank_wolfe::FrankWolfe;
pub use gradient_matching::GradientMatching;
pub use ot_fusion::OtFusion;
pub use pfnm::Pfnm;
pub use random_permutation::RandomPermutation;
pub use simulated_annealing::SimulatedAnnealing;
pub use sinkhorn::Sinkhorn;
pub use straight_through::StraightThrough;
pub use weight_matching::WeightMatching;
pub use zipit::ZipIt;

/// Every method of the family, in the registry's form.
#[must_use]
pub fn methods() -> Vec<Box<dyn AlignMethod>> {
    vec![
        method::<WeightMatching>(),
        method::<ActivationMatching>(),
        method::<RandomPermutation>(),
        method::<Apply>(),
        method::<OtFusion>(),
        method::<ZipIt>(),
        method::<Pfnm>(),
        method::<FrankWolfe>(),
        method::<Sinkhorn>(),
        method::<SimulatedAnnealing>(),
        method::<Cca>(),
        method::<StraightThrough>(),
        method::<GradientMatching>(),
    ]
}
