//! Asks for bytes that are needed soon: the processor's own prefetcher stops at the end of each 4 KiB page, and mapped inputs
//! are read a page here and a page there.
#![allow(unsafe_code)]

/// Starts loading these bytes into the second-level cache. Only speed depends on it; elsewhere than on x86-64 it does nothing.
#[inline(always)]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch never faults and changes nothing that a program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
