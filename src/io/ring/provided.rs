//! The ring of receive buffers that multishot receives pick from.
//!
//! The kernel fills one buffer after the other, receive behind receive, whatever connection they are for (it can since
//! 6.12; before, each receive takes a whole buffer, and then they are many and small). What arrives in one piece and is
//! large stays where it is: a request is a slice of the buffer, which is freed when nobody needs it any more.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::{Bytes, BytesMut};
use io_uring::types::{BufRingEntry, IOU_PBUF_RING_INC};
use io_uring::{IoUring, cqueue};

use super::super::buf::{AlignedBuf, InUse};
use crate::base::limits::{
    BLOCK_BYTES, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RECEIVE_BUFFERS_KEPT_MAX, RECEIVE_KEPT_BYTES_MIN,
    RECEIVE_SMALL_BYTES, RECEIVE_WHOLE_BUFFER_BYTES, RECEIVE_WHOLE_BUFFERS,
};

/// The only buffer group.
pub(super) const GROUP: u16 = 0;
/// Buffers are consumed bit by bit.
const INCREMENTAL: u16 = IOU_PBUF_RING_INC as u16;

/// Buffers in the kernel's hands, and the ring they come from.
pub(super) struct Provided {
    entries: NonNull<BufRingEntry>,
    /// By id.
    buffers: Vec<AlignedBuf>,
    incremental: bool,
    /// Full buffers of which somebody needs something.
    kept: Vec<InUse>,
    /// What is copied out of buffers, one receive behind another: that costs no allocation for each.
    small: BytesMut,
    tail: u16,
}

fn layout() -> Layout {
    Layout::from_size_align(RECEIVE_WHOLE_BUFFERS * size_of::<BufRingEntry>(), BLOCK_BYTES)
        .expect("a small constant layout")
}

impl Provided {
    /// Registers the buffers with a ring. The value must live until that ring is closed.
    pub(super) fn register(ring: &IoUring) -> io::Result<Provided> {
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout()) };
        #[allow(clippy::cast_ptr_alignment)] // the layout is aligned to whole blocks
        let Some(entries) = NonNull::new(raw.cast::<BufRingEntry>()) else { handle_alloc_error(layout()) };
        let mut provided = Provided {
            entries,
            buffers: Vec::new(),
            incremental: true,
            kept: Vec::new(),
            small: BytesMut::new(),
            tail: 0,
        };
        let address = entries.as_ptr() as u64;
        let register = |count: usize, flags| {
            // SAFETY: `entries` is page-aligned, holds so many entries and outlives the ring.
            unsafe { ring.submitter().register_buf_ring_with_flags(address, count as u16, GROUP, flags) }
        };
        if register(RECEIVE_BUFFERS, INCREMENTAL).is_err() {
            provided.incremental = false;
            register(RECEIVE_WHOLE_BUFFERS, 0)?;
        }
        let (count, bytes) = provided.sizes();
        for id in 0..count {
            provided.buffers.push(AlignedBuf::with_capacity(bytes));
            provided.put(id as u16);
        }
        provided.publish();
        Ok(provided)
    }

    /// How many buffers there are, and the size of each.
    fn sizes(&self) -> (usize, usize) {
        if self.incremental {
            (RECEIVE_BUFFERS, RECEIVE_BUFFER_BYTES)
        } else {
            (RECEIVE_WHOLE_BUFFERS, RECEIVE_WHOLE_BUFFER_BYTES)
        }
    }

    /// The bytes of a completion that named buffer `id`, none if it is an error's. Then the buffer is the kernel's
    /// again, after [`Provided::publish`] if it was full.
    pub(super) fn take(&mut self, id: u16, result: i32, flags: u32) -> Bytes {
        let len = result.max(0) as usize;
        let buffer = &mut self.buffers[usize::from(id)];
        let from = buffer.len();
        // SAFETY: the kernel says that it has written so many bytes behind what it had.
        unsafe { buffer.advance(len) };
        let stays =
            self.incremental && len >= RECEIVE_KEPT_BYTES_MIN && self.kept.len() < RECEIVE_BUFFERS_KEPT_MAX;
        let bytes = if stays {
            buffer.share(from, from + len)
        } else {
            if self.small.capacity() < len {
                self.small = BytesMut::with_capacity(len.max(RECEIVE_SMALL_BYTES));
            }
            self.small.extend_from_slice(&buffer.as_slice()[from..]);
            self.small.split().freeze()
        };
        // Our own count, as older kernels do not say "there is more of it" when a connection ends (with no bytes).
        let full = buffer.remaining() == 0;
        debug_assert!(!self.incremental || len == 0 || full != cqueue::buffer_more(flags));
        if full || !self.incremental {
            self.renew(id);
        }
        bytes
    }

    /// Gives the kernel an empty buffer by the name of a full one.
    fn renew(&mut self, id: u16) {
        let (_, bytes) = self.sizes();
        let buffer = &mut self.buffers[usize::from(id)];
        if !buffer.reset() {
            self.kept.push(buffer.in_use());
            *buffer = AlignedBuf::with_capacity(bytes);
        }
        self.kept.retain(InUse::get);
        self.put(id);
    }

    /// Gives a buffer to the kernel; seen there after [`Provided::publish`].
    fn put(&mut self, id: u16) {
        let slot = usize::from(self.tail) % self.sizes().0;
        let (start, len) = self.buffers[usize::from(id)].spare();
        // SAFETY: `slot` lies within the allocation.
        let entry = unsafe { self.entries.add(slot) };
        // SAFETY: the kernel reads this entry only after the tail has passed it.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(start as u64);
        entry.set_len(len as u32);
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
