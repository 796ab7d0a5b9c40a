//! What whoever drives the machine asks of its disk.

use std::io;
use std::path::Path;

use super::{DiskConfig, DiskFault, Inode, Node, PAGE_BYTES, SimDisk, errno};

impl SimDisk {
    /// Asks for a fault.
    pub fn fail(&self, fault: DiskFault) {
        self.lock().faults.push(fault);
    }

    /// Forgets the faults asked for.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Changes how the disk behaves from now on.
    pub fn configure(&self, change: impl FnOnce(&mut DiskConfig)) {
        change(&mut self.lock().config);
    }

    /// So many operations still happen, as if the process were killed before the next: all later ones fail and change
    /// nothing, until the kill or power cut that is to follow.
    pub fn end_after(&self, calls: u64) {
        self.lock().calls_left = calls;
    }

    /// Flips the bits of `mask` in one byte of a file, durably.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut state = self.lock();
        let Some(Node::File(inode)) = state.node(path) else { return Err(errno(libc::ENOENT)) };
        let node = state.inode_mut(inode)?;
        let byte = *node.read(offset, 1).first().ok_or_else(|| errno(libc::EINVAL))?;
        node.write(offset, &[byte ^ mask], 0, || true);
        node.flush(0);
        Ok(())
    }

    /// Bytes in use, as `statvfs` would count them.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used()
    }

    /// Bytes that were read so far, out of whatever files.
    pub fn bytes_read(&self) -> u64 {
        self.lock().bytes_read
    }

    /// Files that were made so far.
    pub fn files_made(&self) -> u64 {
        self.lock().next_inode
    }
}

impl Inode {
    /// Notes a write through the page cache; one past it must find no pages that wait to be written back.
    /// What a process has left, the kernel writes back before that (so a kill leaves none).
    pub(super) fn write_pages(&mut self, buffered: bool, offset: u64, len: usize) {
        self.dirty_pages |= buffered;
        let whole_pages = len > 0 && (offset | len as u64).is_multiple_of(PAGE_BYTES as u64);
        let collides = self.dirty_pages && whole_pages && !buffered;
        assert!(!collides, "{} is written past dirty pages", self.path.display());
    }
}
