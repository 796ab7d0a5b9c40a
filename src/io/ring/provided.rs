//! The ring of receive buffers that multishot receives pick from.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::base::limits::{BLOCK_BYTES, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};

/// The only buffer group.
pub(super) const GROUP: u16 = 0;

/// Buffers in the kernel's hands, and the ring they come from.
pub(super) struct Provided {
    entries: NonNull<BufRingEntry>,
    buffers: Box<[u8]>, // zeroed by mapping: pages cost nothing until frames arrive in them
    tail: u16,
}

fn layout() -> Layout {
    Layout::from_size_align(RECEIVE_BUFFERS * size_of::<BufRingEntry>(), BLOCK_BYTES)
        .expect("a small constant layout")
}

impl Provided {
    /// Registers the buffers with a ring. The value must live until that ring is closed.
    pub(super) fn register(ring: &IoUring) -> io::Result<Provided> {
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout()) };
        #[allow(clippy::cast_ptr_alignment)] // the layout is aligned to whole blocks
        let Some(entries) = NonNull::new(raw.cast::<BufRingEntry>()) else { handle_alloc_error(layout()) };
        let buffers = vec![0; RECEIVE_BUFFERS * RECEIVE_BUFFER_BYTES].into_boxed_slice();
        let mut provided = Provided { entries, buffers, tail: 0 };
        let address = entries.as_ptr() as u64;
        // SAFETY: `entries` is page-aligned, holds RECEIVE_BUFFERS entries and outlives the ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, RECEIVE_BUFFERS as u16, GROUP, 0) }?;
        for id in 0..RECEIVE_BUFFERS {
            provided.put(id as u16);
        }
        provided.publish();
        Ok(provided)
    }

    /// The first `len` bytes of a buffer that a completion named.
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        let start = usize::from(id) * RECEIVE_BUFFER_BYTES;
        &self.buffers[start..start + len.min(RECEIVE_BUFFER_BYTES)]
    }

    /// Gives a buffer back; seen by the kernel after [`Provided::publish`].
    pub(super) fn put(&mut self, id: u16) {
        let slot = usize::from(self.tail) % RECEIVE_BUFFERS;
        let start = usize::from(id) * RECEIVE_BUFFER_BYTES;
        let address = self.buffers[start..].as_mut_ptr() as u64;
        // SAFETY: `slot` lies within the allocation.
        let entry = unsafe { self.entries.add(slot) };
        // SAFETY: the kernel reads this entry only after the tail has passed it.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address);
        entry.set_len(RECEIVE_BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was given back.
    pub(super) fn publish(&mut self) {
        // SAFETY: `entries` is the base of the ring, whose first entry holds the tail.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is an aligned u16 that only this thread writes and the kernel reads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with the same layout, dropped once, and the ring is closed by now.
        unsafe { dealloc(self.entries.as_ptr().cast(), layout()) }
    }
}
