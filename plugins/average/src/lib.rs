//! The survey's third family, weight averaging: one model from several, computed in weight space; and `stitch`.
//!
//! One file per method; each module's text holds the formula, the defaults and what differs from mergekit 0.1.5.
#![forbid(unsafe_code)]

mod combine;
pub mod dare;
#[cfg(feature = "burn")]
mod device;
pub mod linear;
pub mod mean;
pub mod model_stock;
pub mod settings;
pub mod slerp;
pub mod stitch;
pub mod task_arithmetic;
pub mod ties;
mod votes;
mod weights;

pub use dare::Dare;
pub use linear::Linear;
pub use mean::Mean;
pub use model_stock::ModelStock;
pub use slerp::Slerp;
pub use stitch::stitch;
pub use task_arithmetic::TaskArithmetic;
pub use ties::Ties;
pub use weights::Weight;

/// Adds every method of the family, with its form on burn devices where the build has them.
pub fn register(registry: &mut fusion_core::method::Registry) {
    use fusion_sdk::method::{elementwise, observing};
    macro_rules! add {
        ($($class:ident: $($method:ty),+;)+) => {$($(
            #[cfg(feature = "burn")]
            registry.add_on_device::<$method>($class::<$method>());
            #[cfg(not(feature = "burn"))]
            registry.add_method($class::<$method>());
        )+)+};
    }
    add! {
        elementwise: Mean, Linear, TaskArithmetic;
        observing: Slerp, Ties, Dare, ModelStock;
    }
    registry.add_route(&stitch());
}
