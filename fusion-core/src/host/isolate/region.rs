//! Memory that both processes see: tensors cross without going through a pipe.
//!
//! A nameless file in memory, mapped on both sides. Its first page holds the flag by which a long call is asked to stop; the rest holds
//! elements, each run of them at a multiple of 64 bytes. Whoever sends more than fits makes it larger; the other side then maps it anew.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};

/// Bytes before the elements.
const HEAD: usize = 4096;
/// Elements start at multiples of this.
const ALIGN: usize = 64;
/// A region grows by multiples of this.
const STEP: usize = 1 << 20;
/// What a region may keep between calls.
const KEPT: usize = 64 << 20;

/// Places one run of elements after the other.
#[derive(Default)]
pub(super) struct Layout(usize);

impl Layout {
    /// Where the next `elements` stand, in bytes.
    pub(super) fn place(&mut self, elements: usize) -> usize {
        let at = self.0;
        self.0 = at.saturating_add(elements.saturating_mul(size_of::<f32>())).saturating_add(ALIGN - 1)
            / ALIGN
            * ALIGN;
        at
    }

    /// Bytes that all of them take.
    pub(super) const fn bytes(&self) -> usize {
        self.0
    }
}

/// One side's view of the memory.
pub(super) struct Region {
    file: File,
    head: MmapRaw,
    data: MmapRaw,
}

impl Region {
    /// A new one.
    pub(super) fn create() -> io::Result<Self> {
        let file = File::from(memfd_create("fusion-plugin", MemfdFlags::CLOEXEC)?);
        file.set_len((HEAD + STEP) as u64)?;
        Region::of(file)
    }

    /// The other side's.
    pub(super) fn open(file: OwnedFd) -> io::Result<Self> {
        Region::of(File::from(file))
    }

    fn of(file: File) -> io::Result<Self> {
        let head = MmapOptions::new().len(HEAD).map_raw(&file)?;
        let data = Region::map(&file)?;
        Ok(Region { file, head, data })
    }

    fn map(file: &File) -> io::Result<MmapRaw> {
        let size = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let len = size.checked_sub(HEAD).filter(|len| *len > 0).ok_or(io::ErrorKind::UnexpectedEof)?;
        MmapOptions::new().offset(HEAD as u64).len(len).map_raw(file)
    }

    /// For the other process.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Makes room for what is about to be sent.
    pub(super) fn grow(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.data.len() {
            let size = bytes.checked_next_multiple_of(STEP).ok_or(io::ErrorKind::OutOfMemory)? + HEAD;
            if (self.file.metadata()?.len() as usize) < size {
                self.file.set_len(size as u64)?;
            }
            self.data = Region::map(&self.file)?;
        }
        Ok(())
    }

    /// Sees what the other side has made room for.
    pub(super) fn reach(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.data.len() {
            self.data = Region::map(&self.file)?;
        }
        if bytes > self.data.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Gives the memory of a large call back to the system.
    pub(super) fn shrink(&self) {
        if self.data.len() > KEPT {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where that is not possible, the memory is kept.
            let _ = fallocate(&self.file, flags, HEAD as u64, self.data.len() as u64);
        }
    }

    /// Asks the call that uses this region to stop, or no longer.
    pub(super) fn ask_to_stop(&self, stop: bool) {
        self.flag().store(u32::from(stop), Ordering::Relaxed);
    }

    /// Whether the call is asked to stop.
    pub(super) fn stop(&self) -> bool {
        self.flag().load(Ordering::Relaxed) != 0
    }

    fn flag(&self) -> &AtomicU32 {
        // SAFETY: the first bytes of a page that stays mapped as long as this, and both sides use them as an atomic alone.
        unsafe { AtomicU32::from_ptr(self.head.as_mut_ptr().cast()) }
    }

    /// The address of `elements` at `at`, if they are within.
    fn span(&self, at: usize, elements: usize) -> io::Result<*mut f32> {
        let end = elements.checked_mul(size_of::<f32>()).and_then(|bytes| bytes.checked_add(at));
        match end {
            Some(end) if end <= self.data.len() && at.is_multiple_of(ALIGN) => {
                // SAFETY: within the mapping.
                Ok(unsafe { self.data.as_mut_ptr().add(at) }.cast())
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Copies elements into the memory.
    pub(super) fn put(&self, at: usize, values: &[f32]) -> io::Result<()> {
        let to = self.span(at, values.len())?;
        // SAFETY: room for as many; `values` cannot be in the region, of which this side hands out no reference but to a call.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
        Ok(())
    }

    /// Copies elements out of the memory.
    pub(super) fn take(&self, at: usize, values: &mut [f32]) -> io::Result<()> {
        let from = self.span(at, values.len())?;
        // SAFETY: as many are there; `values` is not in the region, as above. The other side has answered and writes no more; if it
        // does against the rules, these are wrong numbers, which any bit pattern is.
        unsafe { std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), values.len()) };
        Ok(())
    }

    /// Elements for a call in the child.
    ///
    /// # Safety
    /// Nobody writes to them as long as the reference lives.
    pub(super) unsafe fn floats(&self, at: usize, elements: usize) -> io::Result<&[f32]> {
        let from = self.span(at, elements)?;
        // SAFETY: aligned, within the mapping, and the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts(from, elements) })
    }

    /// Elements for a call in the child to write to.
    ///
    /// # Safety
    /// Nobody else reads or writes them as long as the reference lives.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that it is the only one")]
    pub(super) unsafe fn floats_mut(&self, at: usize, elements: usize) -> io::Result<&mut [f32]> {
        let to = self.span(at, elements)?;
        // SAFETY: aligned, within the mapping, and the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts_mut(to, elements) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_and_growth_is_followed() {
        let mut ours = Region::create().unwrap();
        let mut theirs = Region::open(ours.fd().try_clone_to_owned().unwrap()).unwrap();
        let mut layout = Layout::default();
        let (first, second) = (layout.place(3), layout.place(STEP));
        assert_eq!((first, second, layout.bytes()), (0, 64, 64 + 4 * STEP));
        let values: Vec<f32> = (0..STEP).map(|i| i as f32).collect();
        assert!(ours.put(second, &values).is_err(), "beyond the end");
        assert!(theirs.reach(layout.bytes()).is_err(), "nobody has made room");
        ours.grow(layout.bytes()).unwrap();
        ours.put(second, &values).unwrap();
        let mut found = vec![0.0; STEP];
        theirs.reach(layout.bytes()).unwrap();
        theirs.take(second, &mut found).unwrap();
        assert!(found == values);
        assert!(ours.take(4, &mut [0.0]).is_err(), "not aligned");
        assert!(ours.take(usize::MAX - 63, &mut [0.0; 32]).is_err(), "overflows");
        ours.ask_to_stop(true);
        assert!(theirs.stop());
        ours.ask_to_stop(false);
        assert!(!theirs.stop());
    }

    #[test]
    fn the_memory_of_a_large_call_is_given_back() {
        let mut region = Region::create().unwrap();
        region.grow(KEPT + 1).unwrap();
        region.put(0, &[7.0]).unwrap();
        region.shrink();
        let mut found = [1.0];
        region.take(0, &mut found).unwrap();
        assert_eq!(found, [0.0]);
    }
}
