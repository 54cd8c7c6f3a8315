//! Training, recorders and measuring.

pub mod measure;
