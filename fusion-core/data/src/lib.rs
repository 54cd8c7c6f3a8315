//! Data sets: built-in generators, files, transforms, batches.
