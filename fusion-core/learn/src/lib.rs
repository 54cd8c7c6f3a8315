//! Training, recorders and measuring.
