//! Buffers whose address is a multiple of the block size, as direct I/O wants them.

use std::slice;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::memory::Memory;
use crate::base::limits::BLOCK_BYTES;

/// A byte vector of fixed capacity, aligned to [`BLOCK_BYTES`], zeroed where nothing was written.
///
/// It is filled by one owner, from the front; what has been [shared](AlignedBuf::share) or frozen cannot be changed
/// any more, which is what makes it safe to hand to the kernel and to readers at once.
pub struct AlignedBuf {
    memory: Arc<Memory>,
    len: usize,
    /// Bytes from the start on that hold something; `len` is never above it.
    initialised: usize,
    /// Bytes from the start on that were shared; `len` is never below it.
    shared: usize,
}

/// A part of a buffer that nobody changes any more.
struct Part {
    memory: Arc<Memory>,
    from: usize,
    to: usize,
}

/// See [`AlignedBuf::in_use`].
pub(super) struct InUse(Weak<Memory>);

impl InUse {
    /// Whether anybody does.
    pub(super) fn get(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl AlignedBuf {
    /// An empty buffer that holds at least `bytes`, rounded up to whole blocks (at least one).
    pub fn with_capacity(bytes: usize) -> AlignedBuf {
        let memory = Arc::new(Memory::new(bytes.max(1).next_multiple_of(BLOCK_BYTES)));
        AlignedBuf { memory, len: 0, initialised: 0, shared: 0 }
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
        self.memory.capacity()
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.capacity() - self.len
    }

    /// Makes room for `bytes` in all, in whole blocks; what is there may move.
    pub fn grow(&mut self, bytes: usize) {
        let wanted = bytes.next_multiple_of(BLOCK_BYTES);
        if wanted <= self.capacity() || Arc::get_mut(&mut self.memory).is_some_and(|m| m.extend(wanted)) {
            return;
        }
        let mut larger = AlignedBuf::with_capacity(wanted);
        larger.extend_from_slice(self.as_slice());
        *self = larger;
    }

    /// Appends `bytes`, which must fit; gives the copy.
    pub fn append(&mut self, bytes: &[u8]) -> &mut [u8] {
        let at = self.len;
        self.extend_from_slice(bytes);
        // SAFETY: within the allocation, as it has just been written.
        let start = unsafe { self.memory.start().add(at) };
        // SAFETY: `bytes.len()` bytes that hold something from there on; behind what was shared, so that nobody else
        // looks at them while `self` is borrowed.
        unsafe { slice::from_raw_parts_mut(start, bytes.len()) }
    }

    /// Bytes written so far, to be read by others too: they stay as they are from now on.
    pub fn share(&mut self, from: usize, to: usize) -> Bytes {
        assert!(from <= to && to <= self.len, "{from}..{to} of {} bytes", self.len);
        self.shared = self.shared.max(to);
        Bytes::from_owner(Part { memory: Arc::clone(&self.memory), from, to })
    }

    /// Appends `bytes`, which must fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let at = self.len;
        assert!(bytes.len() <= self.remaining(), "{} bytes where {} fit", bytes.len(), self.remaining());
        // SAFETY: `at` is at most the capacity.
        let to = unsafe { self.memory.start().add(at) };
        // SAFETY: the bytes fit, as asserted, and a shared borrow cannot overlap what `&mut self` owns.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.len += bytes.len();
        self.initialised = self.initialised.max(self.len);
    }

    /// Sets the length; bytes that were never written are zero. Must not exceed the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "length {len} exceeds capacity {}", self.capacity());
        assert!(len >= self.shared, "length {len} is below what was shared, {}", self.shared);
        if let Some(missing) = len.checked_sub(self.initialised) {
            // SAFETY: `initialised` is at most the capacity.
            let from = unsafe { self.memory.start().add(self.initialised) };
            // SAFETY: `missing` bytes from there on end at `len`, which is within the capacity.
            unsafe { from.write_bytes(0, missing) };
            self.initialised = len;
        }
        self.len = len;
    }

    /// Where the kernel may write `capacity` bytes, whatever they hold now. Valid until the buffer is moved out of
    /// or dropped.
    pub(super) fn start(&mut self) -> *mut u8 {
        assert_eq!(self.shared, 0, "shared bytes are not written again");
        self.memory.start()
    }

    /// Where the kernel may write behind what is there, and how much.
    pub(super) fn spare(&mut self) -> (*mut u8, usize) {
        (self.memory.start().wrapping_add(self.len), self.remaining())
    }

    /// The next `n` bytes were written through [`AlignedBuf::spare`].
    ///
    /// # Safety
    /// They were.
    pub(super) unsafe fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "{n} bytes written where {} fit", self.remaining());
        self.len += n;
        self.initialised = self.initialised.max(self.len);
    }

    /// Empties the buffer, unless somebody refers to a part of it.
    pub(super) fn reset(&mut self) -> bool {
        let alone = Arc::get_mut(&mut self.memory).is_some();
        if alone {
            (self.len, self.shared) = (0, 0);
        }
        alone
    }

    /// Tells how long anybody still refers to this buffer's memory.
    pub(super) fn in_use(&self) -> InUse {
        InUse(Arc::downgrade(&self.memory))
    }

    /// The first `len` bytes were written through [`AlignedBuf::start`]; the length is theirs.
    ///
    /// # Safety
    /// They were.
    pub(super) unsafe fn set_written(&mut self, len: usize) {
        assert!(len <= self.capacity(), "{len} bytes written beyond capacity {}", self.capacity());
        self.initialised = self.initialised.max(len);
        self.len = len;
    }

    /// The bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is valid for `initialised` bytes that hold something, and `len` is at most that.
        unsafe { slice::from_raw_parts(self.memory.start(), self.len) }
    }

    /// The bytes written so far, to change. Nothing of them may have been shared.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        assert_eq!(self.shared, 0, "shared bytes are not changed");
        // SAFETY: as above, and `&mut self` is the only access.
        unsafe { slice::from_raw_parts_mut(self.memory.start(), self.len) }
    }

    /// Ends writing: the whole of the written part, padded with zeros to whole blocks, as shared immutable bytes. What
    /// lies behind is given back, unless a part was shared that somebody still refers to.
    pub fn freeze(mut self) -> Bytes {
        let padded = self.len.next_multiple_of(BLOCK_BYTES).min(self.capacity());
        self.set_len(padded);
        if let Some(memory) = Arc::get_mut(&mut self.memory).filter(|_| padded > 0) {
            memory.shrink(padded);
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `from` is within the allocation, as `share` asserted.
        let start = unsafe { self.memory.start().add(self.from) };
        // SAFETY: these bytes hold something, and nobody changes them since they were shared.
        unsafe { slice::from_raw_parts(start, self.to - self.from) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 64 << 10;

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

    #[test]
    fn memory_is_used_again_and_shows_nothing_of_its_past() {
        let mut first = AlignedBuf::with_capacity(LARGE + 1);
        first.extend_from_slice(&vec![0xAA; LARGE + 1]);
        let place = first.as_slice().as_ptr();
        drop(first.freeze());
        let mut again = AlignedBuf::with_capacity(LARGE + 5);
        assert_eq!(again.as_slice().as_ptr(), place);
        again.extend_from_slice(b"new");
        again.set_len(3 * BLOCK_BYTES);
        again.set_len(1);
        again.set_len(BLOCK_BYTES);
        assert_eq!(&again.as_slice()[..4], b"new\0");
        let frozen = again.freeze();
        assert!(frozen[3..].iter().all(|b| *b == 0));
    }

    #[test]
    fn a_shared_part_stays_while_more_is_appended() {
        let mut b = AlignedBuf::with_capacity(100);
        b.append(b"abc")[1] = b'B';
        let first = b.share(0, 3);
        assert_eq!(b.append(b"def"), b"def");
        let second = b.share(1, 6);
        let frozen = b.freeze();
        assert_eq!((&first[..], &second[..], &frozen[..7]), (&b"aBc"[..], &b"Bcdef"[..], &b"aBcdef\0"[..]));
        drop(frozen);
        assert_eq!(&second[..], b"Bcdef");
    }

    #[test]
    fn grows_and_leaves_to_readers_what_they_have() {
        let mut b = AlignedBuf::with_capacity(1);
        b.extend_from_slice(&[1; 4000]);
        let shared = b.share(0, 4000);
        b.grow(2 * BLOCK_BYTES + 1);
        assert_eq!((b.len(), b.capacity()), (4000, 3 * BLOCK_BYTES));
        b.extend_from_slice(&[2; 5000]);
        b.grow(10);
        b.grow(4 * BLOCK_BYTES);
        assert_eq!(b.remaining(), 4 * BLOCK_BYTES - 9000);
        let frozen = b.freeze();
        assert_eq!(
            (&frozen[..4000], &frozen[4000..9000], frozen.len()),
            (&shared[..], &[2; 5000][..], 12288)
        );
    }

    #[test]
    #[should_panic(expected = "shared bytes are not changed")]
    fn a_shared_part_cannot_be_changed() {
        let mut b = AlignedBuf::with_capacity(100);
        b.append(b"abc");
        let _first = b.share(0, 1);
        b.as_mut_slice()[2] = 0;
    }
}
