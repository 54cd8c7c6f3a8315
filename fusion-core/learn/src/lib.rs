//! Training, recorders and measuring.

pub mod measure;
pub mod objective;
pub mod record;
pub mod repair;
pub mod shards;
pub mod train;
