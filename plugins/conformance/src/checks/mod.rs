//! The checks behind the tests, a file per group; each stops at the first promise that does not hold.

pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod numerics;
pub(crate) mod parameters;
pub(crate) mod traits;
