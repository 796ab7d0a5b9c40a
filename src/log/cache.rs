//! The read cache of one core, bounded in bytes: runs of whole batches, and sealed segments that are open.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::index::{OffsetIndex, TimeIndex};
use crate::base::Offset;
use crate::base::limits::{
    CACHE_OPEN_FILE_BYTES, CACHE_SHARE_LEAST, LOG_READ_AHEAD_CACHE_SHARE, LOG_READ_AHEAD_CORE_BYTES_MAX,
};
use crate::io::File;

/// Consecutive whole batches of one segment, as they lie in its file.
#[derive(Debug)]
pub(super) struct Run {
    /// The segment's base offset.
    pub(super) segment: Offset,
    /// Where in the file `bytes` begins.
    pub(super) position: u64,
    /// The offset after the last batch.
    pub(super) next: Offset,
    /// The batches.
    pub(super) bytes: Bytes,
    /// Sparse: a batch's first offset, and its position in the file. Both rise.
    pub(super) marks: Vec<(Offset, u64)>,
    /// Bytes of memory that this run keeps.
    pub(super) cost: usize,
    /// It was read ahead, and nobody has asked for it yet.
    pub(super) ahead: Option<Reserved>,
}

/// Bytes that were read ahead, or are being read, and that nobody has asked for yet. They count until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A run as a reader sees it, in the cache or on its way to the disk.
pub(super) struct RunView<'a> {
    pub(super) position: u64,
    pub(super) next: Offset,
    pub(super) bytes: Bytes,
    pub(super) marks: &'a [(Offset, u64)],
}

impl Run {
    /// Where it ends in the file.
    pub(super) fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }

    pub(super) fn view(&self) -> RunView<'_> {
        RunView { position: self.position, next: self.next, bytes: self.bytes.clone(), marks: &self.marks }
    }
}

/// A sealed segment ready to be read.
#[derive(Clone)]
pub(super) struct OpenSegment {
    pub(super) file: File,
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
}

/// Partition slot, and first offset of the run or base offset of the segment.
type Key = (u32, Offset);

/// A map whose entries go when their cost exceeds a bound: the oldest ones that were not used since they were last
/// considered (a "clock").
struct Clock<V> {
    map: BTreeMap<Key, Entry<V>>,
    hand: VecDeque<(Key, u64)>,
    cost: usize,
    cost_max: usize,
    next_id: u64,
}

struct Entry<V> {
    value: V,
    cost: usize,
    id: u64,
    used: bool,
}

impl<V> Clock<V> {
    fn new(cost_max: usize) -> Clock<V> {
        Clock { map: BTreeMap::new(), hand: VecDeque::new(), cost: 0, cost_max, next_id: 0 }
    }

    /// Inserts or replaces; a replaced entry keeps its age.
    fn insert(&mut self, key: Key, value: V, cost: usize) {
        self.cost += cost;
        if let Some(entry) = self.map.get_mut(&key) {
            self.cost -= entry.cost;
            (entry.value, entry.cost) = (value, cost);
        } else {
            let id = self.next_id;
            self.next_id += 1;
            self.map.insert(key, Entry { value, cost, id, used: false });
            self.hand.push_back((key, id));
        }
        self.evict(Some(key));
    }

    fn evict(&mut self, keep: Option<Key>) {
        while self.cost > self.cost_max && self.map.len() > 1 {
            let Some((key, id)) = self.hand.pop_front() else { return };
            let Some(entry) = self.map.get_mut(&key).filter(|entry| entry.id == id) else { continue };
            if entry.used || Some(key) == keep {
                entry.used = false;
                self.hand.push_back((key, id));
            } else {
                self.remove(key);
            }
        }
        // What was removed by name leaves its place in the queue behind.
        if self.hand.len() > 2 * self.map.len() + 64 {
            let map = &self.map;
            self.hand.retain(|(key, id)| map.get(key).is_some_and(|entry| entry.id == *id));
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.map.remove(&key) {
            self.cost -= entry.cost;
        }
    }

    fn remove_range(&mut self, slot: u32, from: Offset, to: Offset) {
        let keys: Vec<Key> = self.map.range((slot, from)..(slot, to)).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    /// The entry of this slot with the largest offset that is not above `offset`.
    fn floor(&mut self, slot: u32, offset: Offset) -> Option<(Offset, &mut V)> {
        let ((_, first), entry) = self.map.range_mut((slot, Offset::MIN)..=(slot, offset)).next_back()?;
        entry.used = true;
        Some((*first, &mut entry.value))
    }

    /// The same, without a use.
    fn peek_floor(&self, slot: u32, offset: Offset) -> Option<(Offset, &V)> {
        let ((_, first), entry) = self.map.range((slot, Offset::MIN)..=(slot, offset)).next_back()?;
        Some((*first, &entry.value))
    }
}

/// Recently written and read batches, indexes of sealed segments, and their open files, for all partitions of one
/// core.
pub struct Cache {
    bytes_max: usize,
    runs: Clock<Run>,
    segments: Clock<Arc<OpenSegment>>,
    /// Bytes that are [`Reserved`].
    ahead: Arc<AtomicUsize>,
}

impl Cache {
    /// A cache that holds about this many bytes of batches, and an eighth of it for indexes and open files.
    pub fn new(bytes_max: usize) -> Cache {
        let ahead = Arc::default();
        Cache { bytes_max, runs: Clock::new(bytes_max), segments: Clock::new(bytes_max / 8), ahead }
    }

    /// Bytes of batches held.
    pub fn bytes(&self) -> usize {
        self.runs.cost
    }

    /// The bound on bytes of batches.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Leaves room for what else the core's buffers hold: records that wait to be written, replies that wait to be sent,
    /// reads. `buffer_bytes` is all of them, the cache included. A part of the cache stays in any case.
    pub fn share_memory(&mut self, buffer_bytes: usize) {
        let others = buffer_bytes.saturating_sub(self.runs.cost);
        let least = self.bytes_max / CACHE_SHARE_LEAST;
        self.runs.cost_max = self.bytes_max.saturating_sub(others).max(least);
        self.runs.evict(None);
    }

    /// The run that holds `offset`.
    pub(super) fn run(&mut self, slot: u32, offset: Offset) -> Option<(Offset, &Run)> {
        let (first, run) = self.runs.floor(slot, offset).filter(|(_, run)| offset < run.next)?;
        run.ahead = None;
        Some((first, run))
    }

    /// The same, for somebody who does not want its bytes.
    pub(super) fn peek_run(&self, slot: u32, offset: Offset) -> Option<(Offset, &Run)> {
        self.runs.peek_floor(slot, offset).filter(|(_, run)| offset < run.next)
    }

    /// The first run that begins behind `offset`.
    pub(super) fn peek_next_run(&self, slot: u32, offset: Offset) -> Option<&Run> {
        let behind = (Bound::Excluded((slot, offset)), Bound::Included((slot, Offset::MAX)));
        self.runs.map.range(behind).next().map(|(_, entry)| &entry.value)
    }

    /// How many more bytes may be read ahead: a part of the cache, so that they are still there when they are wanted.
    pub(super) fn ahead_room(&self) -> usize {
        let max = LOG_READ_AHEAD_CORE_BYTES_MAX.min(self.runs.cost_max / LOG_READ_AHEAD_CACHE_SHARE);
        max.saturating_sub(self.ahead.load(Ordering::Relaxed))
    }

    /// Counts bytes that are about to be read ahead.
    pub(super) fn reserve(&self, bytes: usize) -> Reserved {
        self.ahead.fetch_add(bytes, Ordering::Relaxed);
        Reserved { bytes, all: Arc::clone(&self.ahead) }
    }

    pub(super) fn insert_run(&mut self, slot: u32, first: Offset, run: Run) {
        let cost = run.cost;
        self.runs.insert((slot, first), run, cost);
    }

    pub(super) fn segment(&mut self, slot: u32, base: Offset) -> Option<Arc<OpenSegment>> {
        let (_, open) = self.segments.floor(slot, base).filter(|(first, _)| *first == base)?;
        Some(Arc::clone(open))
    }

    pub(super) fn insert_segment(&mut self, slot: u32, base: Offset, open: Arc<OpenSegment>) {
        let cost = CACHE_OPEN_FILE_BYTES + open.offsets.as_bytes().len() + open.times.as_bytes().len();
        self.segments.insert((slot, base), open, cost);
    }

    /// Forgets what begins in `from..to`. A run that begins before and reaches in stays: use the log's own bounds.
    pub(super) fn remove_range(&mut self, slot: u32, from: Offset, to: Offset) {
        self.runs.remove_range(slot, from, to);
        self.segments.remove_range(slot, from, to);
    }

    /// Forgets everything of a partition; call when its slot is given up.
    pub fn remove_slot(&mut self, slot: u32) {
        self.remove_range(slot, Offset::MIN, Offset::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(next: Offset, cost: usize) -> Run {
        Run { segment: 0, position: 0, next, bytes: Bytes::new(), marks: Vec::new(), cost, ahead: None }
    }

    #[test]
    fn bounded_and_used_runs_stay() {
        let mut cache = Cache::new(100);
        for i in 0..10 {
            cache.insert_run(1, i * 10, run(i * 10 + 10, 10));
        }
        assert!(cache.run(1, 5).is_some());
        for i in 10..14 {
            cache.insert_run(1, i * 10, run(i * 10 + 10, 10));
        }
        assert_eq!(cache.bytes(), 100);
        assert!(cache.run(1, 5).is_some(), "it was used");
        assert!(cache.run(1, 15).is_none(), "the oldest unused one went");
        assert!(cache.run(2, 5).is_none(), "another partition");
    }

    #[test]
    fn leaves_room_for_others_and_keeps_a_part() {
        let mut cache = Cache::new(100);
        for i in 0..10 {
            cache.insert_run(1, i * 10, run(i * 10 + 10, 10));
        }
        cache.share_memory(100);
        assert_eq!(cache.bytes(), 100);
        cache.share_memory(130);
        assert_eq!(cache.bytes(), 70);
        cache.share_memory(1000);
        assert_eq!(cache.bytes(), 20);
        cache.share_memory(20);
        cache.insert_run(2, 0, run(1, 60));
        assert_eq!((cache.bytes(), cache.bytes_max()), (80, 100));
    }

    #[test]
    fn replaced_and_removed_runs_leave_nothing_behind() {
        let mut cache = Cache::new(1000);
        for i in 0..10_000 {
            cache.insert_run(1, 0, run(i, 10));
            cache.insert_run(2, i, run(i + 1, 10));
            cache.remove_range(2, i, i + 1);
        }
        assert_eq!(cache.bytes(), 10);
        assert!(cache.runs.hand.len() < 200);
        cache.remove_slot(1);
        assert_eq!(cache.bytes(), 0);
    }
}
