//! What handlers of the busiest requests use again and again, so that a request costs no memory of its own.

use crate::base::limits::{POOL_KEPT, POOL_KEPT_ITEMS};
use crate::shard::{AppendPart, ReadPart};

use super::k00_produce::Produce;
use super::k01_fetch::Fetch;

/// What a core keeps for later requests.
#[derive(Default)]
pub struct Pools {
    /// States of Produce requests.
    pub(super) produces: Pool<Box<Produce>>,
    /// What is sent to the owners of their partitions.
    pub(super) append_parts: Pool<Vec<AppendPart>>,
    /// States of Fetch requests.
    pub(super) fetches: Pool<Box<Fetch>>,
    /// What is sent to the owners of their partitions.
    pub(super) read_parts: Pool<Vec<ReadPart>>,
    /// Topics and partitions that requests have named since somebody asked.
    pub(super) named: usize,
}

impl Pools {
    /// What Produce and Fetch requests have named since the last time beyond the first few of each.
    pub fn take_named(&mut self) -> usize {
        std::mem::take(&mut self.named)
    }
}

/// Things that can be used again.
pub struct Pool<T>(Vec<T>);

/// What can be used again.
pub trait Reuse: Default {
    /// Makes it as good as new, with its memory kept. False if that is too much to keep.
    fn renew(&mut self) -> bool;
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool(Vec::new())
    }
}

impl<T: Reuse> Pool<T> {
    /// One that was used before, if there is one.
    pub fn take(&mut self) -> T {
        self.0.pop().unwrap_or_default()
    }

    /// Takes one back.
    pub fn keep(&mut self, mut used: T) {
        if self.0.len() < POOL_KEPT && used.renew() {
            self.0.push(used);
        }
    }
}

impl<T> Reuse for Vec<T> {
    fn renew(&mut self) -> bool {
        self.clear();
        self.capacity() <= POOL_KEPT_ITEMS
    }
}

impl<T: Reuse> Reuse for Box<T> {
    fn renew(&mut self) -> bool {
        (**self).renew()
    }
}
