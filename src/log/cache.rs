//! The read cache of one core, bounded in bytes.

/// Recently written and read batches, indexes of sealed segments, and their open files, for all partitions of one
/// core.
pub struct Cache {
    bytes_max: usize,
}

impl Cache {
    /// A cache that holds about this many bytes.
    pub fn new(bytes_max: usize) -> Cache {
        Cache { bytes_max }
    }

    /// The bound in bytes.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}
