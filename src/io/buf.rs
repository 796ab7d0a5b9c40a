//! Buffers whose address is a multiple of the block size, as direct I/O wants them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::slice;

use bytes::Bytes;

use crate::base::limits::BLOCK_BYTES;

/// A byte vector of fixed capacity, aligned to [`BLOCK_BYTES`], zeroed where nothing was written.
///
/// It is filled by one owner, then frozen into [`Bytes`]; nobody can change it afterwards, which is what makes
/// it safe to hand to the kernel and to readers at once.
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: the allocation is owned by this value alone and holds plain bytes.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer that holds at least `bytes`, rounded up to whole blocks (at least one).
    pub fn with_capacity(bytes: usize) -> AlignedBuf {
        let capacity = bytes.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = AlignedBuf::layout(capacity);
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(layout) };
        AlignedBuf { start, len: 0, capacity }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BLOCK_BYTES).expect("a capacity that fits in memory")
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.capacity - self.len
    }

    /// Appends `bytes`, which must fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let at = self.len;
        self.set_len(at + bytes.len());
        self.as_mut_slice()[at..].copy_from_slice(bytes);
    }

    /// Sets the length; bytes that were never written are zero. Must not exceed the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "length {len} exceeds capacity {}", self.capacity);
        self.len = len;
    }

    /// The bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is valid for `capacity` initialised bytes and `len <= capacity`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes written so far, to change.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only access.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Ends writing: the whole of the written part, padded with zeros to whole blocks, as shared immutable bytes.
    pub fn freeze(mut self) -> Bytes {
        let padded = self.len.next_multiple_of(BLOCK_BYTES).min(self.capacity);
        self.set_len(padded);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let layout = AlignedBuf::layout(self.capacity);
        // SAFETY: allocated in `with_capacity` with the same layout, and dropped once.
        unsafe { dealloc(self.start.as_ptr(), layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezes_to_whole_aligned_blocks() {
        let mut b = AlignedBuf::with_capacity(5000);
        assert_eq!(b.capacity(), 8192);
        b.extend_from_slice(b"hello");
        assert_eq!((b.len(), b.remaining()), (5, 8187));
        let frozen = b.freeze();
        assert_eq!(frozen.len(), 4096);
        assert_eq!(frozen.as_ptr() as usize % BLOCK_BYTES, 0);
        assert_eq!(&frozen[..6], b"hello\0");
    }
}
