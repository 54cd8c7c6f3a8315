//! The ground floor: element types and conversions that every other room builds on.

pub mod convert;
mod dtype;
mod prefetch;

pub use convert::{count_beyond_f32, count_non_finite, from_f32, to_f32};
pub use dtype::{Dtype, UnknownDtype};
pub(crate) use prefetch::prefetch;
