//! The memory that one call gets: every piece apart from the others, between canaries or in front of a forbidden page.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// How pieces are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes with a known content stand before and behind each piece.
    #[default]
    Canaries,
    /// Each piece ends at a page that nobody may touch, and nobody may touch the piece itself once the call is over. For few calls: every
    /// piece is a mapping of its own that stays for good.
    Fenced,
}

/// What a call did to memory that it must leave alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes before a piece were written.
    Before,
    /// The bytes behind it were written.
    Behind,
    /// A piece that is only lent for reading was written, at this byte.
    Changed(usize),
}

/// A piece of memory that was mistreated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// What the piece holds (`input`, `output`, `scratch`, `settings`, …).
    pub(crate) what: &'static str,
    /// Which one of them.
    pub(crate) index: usize,
    /// What was done.
    pub(crate) fault: Fault,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Violation { what, index, fault } = self;
        match fault {
            Fault::Before => write!(f, "{what} {index}: the bytes before it were written"),
            Fault::Behind => write!(f, "{what} {index}: the bytes behind it were written"),
            Fault::Changed(at) => {
                write!(f, "{what} {index}: byte {at} was changed, though it is lent for reading")
            }
        }
    }
}

/// Bytes of canary on either side; more than the widest vector.
const PAD: usize = 256;

/// Every allocation starts at a multiple of this.
const ALIGN: usize = 64;

struct Piece {
    what: &'static str,
    index: usize,
    base: NonNull<u8>,
    size: usize,
    start: usize,
    len: usize,
    /// What it must still hold after the call.
    frozen: Option<Vec<u8>>,
}

/// All pieces of one call.
pub(crate) struct Memory {
    kind: Kind,
    pieces: Vec<Piece>,
}

/// The canary at a place.
fn canary(at: usize) -> u8 {
    (at as u8).wrapping_mul(31) ^ 0xc5
}

/// Another filling each time, so that whoever reads what it did not write gives different results.
fn filling() -> u8 {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    NEXT.fetch_add(37, Ordering::Relaxed)
}

impl Memory {
    pub(crate) fn new(kind: Kind) -> Self {
        Memory { kind, pieces: Vec::new() }
    }

    /// Room for `len` bytes with any content, aligned to 64.
    pub(crate) fn room(&mut self, what: &'static str, index: usize, len: usize) -> *mut u8 {
        self.piece(what, index, len, ALIGN, 0)
    }

    /// With canaries, the piece starts `off` bytes behind a multiple of 64; fenced, as close to the fence as `align` lets it.
    fn piece(&mut self, what: &'static str, index: usize, len: usize, align: usize, off: usize) -> *mut u8 {
        let (base, size, start) = match self.kind {
            Kind::Canaries => {
                let size = (len + off + 2 * PAD).next_multiple_of(ALIGN);
                (allocate(size), size, PAD + off)
            }
            Kind::Fenced => {
                let page = rustix::param::page_size();
                let size = (len + PAD).next_multiple_of(page);
                (map(size, page), size, (size - len) / align * align)
            }
        };
        let fill = filling();
        for at in 0..size {
            let inside = (start..start + len).contains(&at);
            // SAFETY: within the allocation of `size` bytes, which nobody else knows yet.
            unsafe { base.add(at).write(if inside { fill } else { canary(at) }) };
        }
        self.pieces.push(Piece { what, index, base, size, start, len, frozen: None });
        // SAFETY: `start + len` is within the allocation.
        unsafe { base.add(start).as_ptr() }
    }

    /// A copy of values of a plain type, which the call must not change if `frozen`.
    pub(crate) fn put<T: Copy>(
        &mut self,
        what: &'static str,
        index: usize,
        values: &[T],
        off: usize,
        frozen: bool,
    ) -> *mut T {
        let room: *mut T = self.piece(what, index, size_of_val(values), align_of::<T>(), off).cast();
        // SAFETY: the room is new, large enough and aligned, as `off` is a multiple of the element's alignment.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), room, values.len()) };
        if frozen && let Some(piece) = self.pieces.last_mut() {
            piece.frozen = Some(piece.bytes());
        }
        room
    }

    /// A struct of the contract followed by `extra` bytes that its reader does not know; `frozen` as in [`Memory::put`].
    pub(crate) fn grown<T: Copy>(
        &mut self,
        what: &'static str,
        value: T,
        extra: usize,
        frozen: bool,
    ) -> *mut T {
        let room: *mut T = self.piece(what, 0, size_of::<T>() + extra, align_of::<T>(), 0).cast();
        // SAFETY: the room is new, large enough and aligned.
        unsafe { room.write(value) };
        if frozen && let Some(piece) = self.pieces.last_mut() {
            piece.frozen = Some(piece.bytes());
        }
        room
    }

    /// What the call did wrong.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for piece in &self.pieces {
            let mut tell = |fault| found.push(Violation { what: piece.what, index: piece.index, fault });
            // SAFETY: within the allocation; the call is over.
            let intact = |at: usize| unsafe { piece.base.add(at).read() } == canary(at);
            if !(0..piece.start).all(intact) {
                tell(Fault::Before);
            }
            if !(piece.start + piece.len..piece.size).all(intact) {
                tell(Fault::Behind);
            }
            if let Some(frozen) = &piece.frozen
                && let Some(at) = frozen.iter().zip(piece.bytes()).position(|(a, b)| *a != b)
            {
                tell(Fault::Changed(at));
            }
        }
        found
    }

    /// Ends the call: from now on the pieces are forbidden ground, or hold garbage.
    pub(crate) fn retire(mut self) {
        for piece in self.pieces.drain(..) {
            match self.kind {
                // SAFETY: our own allocation; by the contract nobody uses it any more.
                Kind::Canaries => unsafe {
                    piece.base.write_bytes(0xdd, piece.size);
                    dealloc(piece.base.as_ptr(), layout(piece.size));
                },
                // The mapping stays, so that the address is not used again and every later use ends the process.
                Kind::Fenced => {
                    // SAFETY: our own mapping; by the contract nobody uses it any more.
                    let done =
                        unsafe { mprotect(piece.base.as_ptr().cast(), piece.size, MprotectFlags::empty()) };
                    debug_assert!(done.is_ok());
                }
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for piece in self.pieces.drain(..) {
            // SAFETY: our own allocations, made as they are given back.
            unsafe {
                match self.kind {
                    Kind::Canaries => dealloc(piece.base.as_ptr(), layout(piece.size)),
                    Kind::Fenced => {
                        let _ = munmap(piece.base.as_ptr().cast(), piece.size);
                    }
                }
            }
        }
    }
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        // SAFETY: within the allocation, written when it was made.
        unsafe { std::slice::from_raw_parts(self.base.add(self.start).as_ptr(), self.len) }.to_vec()
    }
}

fn layout(size: usize) -> Layout {
    // Sizes are multiples of `ALIGN` and come from small tests.
    Layout::from_size_align(size, ALIGN).unwrap_or(Layout::new::<u64>())
}

fn allocate(size: usize) -> NonNull<u8> {
    // SAFETY: the size is never 0: there are always canaries.
    NonNull::new(unsafe { alloc(layout(size)) }).unwrap_or_else(|| handle_alloc_error(layout(size)))
}

/// `size` bytes, and behind them a page that nobody may touch.
fn map(size: usize, page: usize) -> NonNull<u8> {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping; its last page is made inaccessible before anybody knows it.
    let base = unsafe {
        mmap_anonymous(std::ptr::null_mut(), size + page, flags, MapFlags::PRIVATE).and_then(|base| {
            mprotect(base.byte_add(size), page, MprotectFlags::empty())?;
            Ok(base)
        })
    };
    base.ok().and_then(|base| NonNull::new(base.cast())).unwrap_or_else(|| handle_alloc_error(layout(size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_memory_has_no_violations() {
        for kind in [Kind::Canaries, Kind::Fenced] {
            let mut memory = Memory::new(kind);
            memory.put("input", 0, &[1.0_f32, 2.0], 4, true);
            memory.room("scratch", 0, 100);
            memory.room("output", 0, 0);
            assert_eq!(memory.violations(), []);
            memory.retire();
        }
    }

    #[test]
    fn every_border_is_watched() {
        for off in [0, 4, 60] {
            let mut memory = Memory::new(Kind::Canaries);
            let input = memory.put("input", 3, &[1.0_f32, 2.0], off, true);
            let output = memory.room("output", 1, 8);
            assert_eq!(input as usize % 64, off);
            assert_eq!(output as usize % 64, 0);
            // SAFETY: within the allocation: canaries surround the pieces.
            unsafe {
                input.add(1).write(7.0);
                output.sub(1).write(0);
                output.add(8).write(0);
            }
            let found: Vec<(&str, usize, Fault)> =
                memory.violations().iter().map(|v| (v.what, v.index, v.fault)).collect();
            assert_eq!(
                found,
                [("input", 3, Fault::Changed(6)), ("output", 1, Fault::Before), ("output", 1, Fault::Behind)]
            );
        }
    }

    #[test]
    fn fenced_pieces_end_at_their_page() {
        let page = rustix::param::page_size();
        let mut memory = Memory::new(Kind::Fenced);
        for count in [1, 3, 1024, 4096] {
            let at = memory.put("input", 0, &vec![0.0_f32; count], 0, true) as usize;
            assert!((at + 4 * count).is_multiple_of(page), "{count}");
            assert!((memory.room("output", 0, 4 * count) as usize).is_multiple_of(64));
        }
        assert_eq!(memory.violations(), []);
    }
}
