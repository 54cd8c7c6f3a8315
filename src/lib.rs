//! The `fusion` command as a library.
