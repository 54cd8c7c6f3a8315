//! Names: what a recipe binds, and what each use of a name means.

pub(crate) mod build;
pub(crate) mod expand;
pub(crate) mod names;
pub(crate) mod params;
pub(crate) mod scope;
pub(crate) mod statics;
