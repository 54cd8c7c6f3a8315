//! Scratch for a call: 64-byte aligned, reused by the thread that has asked for it before.

use std::ffi::c_void;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A growing buffer of whole cache lines.
pub(super) struct Scratch(Vec<Line>);

impl Scratch {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Scratch(Vec::new())
    }

    /// A pointer to at least `bytes` bytes with any content; NULL for none.
    pub(super) fn fit(&mut self, bytes: usize) -> *mut c_void {
        if bytes == 0 {
            return std::ptr::null_mut();
        }
        let lines = bytes.div_ceil(size_of::<Line>());
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; 64]));
        }
        self.0.as_mut_ptr().cast()
    }
}
