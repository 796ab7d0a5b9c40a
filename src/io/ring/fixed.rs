//! Regions of memory that the ring knows by number: what is read into them and written from them needs its pages neither
//! looked up nor held for each operation.
//!
//! A region is registered by the first large operation on it and stays until it is unmapped, which it cannot be while an
//! operation uses it. The kernel holds all its pages then, touched or not; so a core that does little registers none.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::memory;
use super::reactor::Reactor;
use crate::base::limits::{FIXED_BYTES_MIN, REGIONS_REGISTERED_MAX};

/// What a ring knows of its registered regions.
#[derive(Default)]
pub(super) struct Fixed {
    /// The regions of this thread are registered here, not with another ring.
    attached: bool,
    /// Operations on registered memory so far.
    pub(super) operations: u64,
}

/// Said once by a process.
fn tell_no_room(e: &io::Error) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        tracing::info!(
            error = %e,
            "not all buffers can be registered with io_uring; large reads and writes cost a little more CPU time \
             (RLIMIT_MEMLOCK: ulimit -l, LimitMEMLOCK= in the service's unit)"
        );
    }
}

impl Reactor {
    /// Makes a table for regions, if the kernel has such. Without it every operation goes the longer way.
    pub(super) fn make_places(&mut self) {
        let count = REGIONS_REGISTERED_MAX;
        if !memory::attach(count) {
            return;
        }
        match self.ring().submitter().register_buffers_sparse(u32::from(count)) {
            Ok(()) => self.fixed.attached = true,
            Err(e) => {
                memory::detach();
                tracing::debug!(error = %e, "no registered buffers on this kernel");
            }
        }
    }

    /// The number of the region that holds these bytes, for an operation that gains by it.
    pub(super) fn place(&mut self, start: *const u8, bytes: usize) -> Option<u16> {
        if !self.fixed.attached || bytes < FIXED_BYTES_MIN {
            return None;
        }
        let submitter = self.ring.as_ref()?.submitter();
        let mut refused = None;
        let place = memory::place_of(start, bytes, |place, region, len| {
            let vector = libc::iovec { iov_base: region.cast(), iov_len: len };
            // SAFETY: the region stays mapped until its place is emptied, or a moment before, when nothing uses it.
            let done = unsafe { submitter.register_buffers_update(u32::from(place), &[vector], None) };
            refused = done.err();
            refused.is_none()
        });
        if let Some(e) = refused {
            tell_no_room(&e);
        }
        self.fixed.operations += u64::from(place.is_some());
        place
    }

    /// Lets the kernel forget the regions that were unmapped, whose pages it would keep. Once a turn, when everything is
    /// submitted: what is in flight keeps what it uses.
    pub(super) fn empty_places(&mut self) {
        if !self.fixed.attached || !self.ring().submission().is_empty() {
            return;
        }
        let submitter = self.ring().submitter();
        memory::empty_places(|place| {
            let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
            // SAFETY: no memory at all.
            let done = unsafe { submitter.register_buffers_update(u32::from(place), &[none], None) };
            debug_assert!(done.is_ok(), "a place of ours is emptied: {done:?}");
        });
    }

    /// The ring is closed.
    pub(super) fn leave_places(&mut self) {
        if std::mem::take(&mut self.fixed.attached) {
            memory::detach();
        }
    }
}
