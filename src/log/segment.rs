//! What is known about a segment, and what a segment needs while it is written.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::LogConfig;
use super::error::LogError;
use super::index::{OffsetIndex, TimeIndex};
use super::types::AbortedTransaction;
use crate::base::limits::{BLOCK_BYTES, LOG_ALLOCATE_BYTES_MAX, LOG_ALLOCATE_BYTES_MIN, LOG_ALLOCATE_GROWTH};
use crate::base::{Offset, WallMs};
use crate::io::File;
use crate::wire::record::BatchHeader;

/// A segment, as long as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first offset it may hold.
    pub(super) base: Offset,
    /// Bytes of batches, those that wait to be written included.
    pub(super) size: u64,
    /// The largest timestamp and the offset of its batch's last record; None while empty.
    pub(super) max_timestamp: Option<(WallMs, Offset)>,
    /// So its time index says, which was not compared with its batches yet.
    pub(super) max_is_believed: bool,
    /// The largest timestamp of the first batch.
    pub(super) first_timestamp: Option<WallMs>,
    /// When it was created or last opened: stands in for timestamps.
    pub(super) created_ms: WallMs,
    /// Transactions that were aborted in it.
    pub(super) aborted: Vec<AbortedTransaction>,
}

impl Segment {
    pub(super) fn new(base: Offset, created_ms: WallMs) -> Segment {
        Segment {
            base,
            size: 0,
            max_timestamp: None,
            max_is_believed: false,
            first_timestamp: None,
            created_ms,
            aborted: Vec::new(),
        }
    }

    /// What retention goes by.
    pub(super) fn largest_timestamp(&self) -> WallMs {
        self.max_timestamp.map(|(timestamp, _)| timestamp).filter(|t| *t >= 0).unwrap_or(self.created_ms)
    }

    /// How long it has waited to be rolled, at `now`, or by the time of what is appended (`timeWaitedForRoll`).
    pub(super) fn waited_ms(&self, now_ms: WallMs, appended: Option<WallMs>) -> i64 {
        match (self.first_timestamp.filter(|t| *t >= 0), appended) {
            (Some(first), Some(appended)) => appended.saturating_sub(first),
            (Some(first), None) => now_ms.saturating_sub(first),
            (None, _) => now_ms.saturating_sub(self.created_ms),
        }
    }

    pub(super) fn note(&mut self, header: &BatchHeader) {
        if self.first_timestamp.is_none() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.max_timestamp.is_none_or(|(max, _)| header.max_timestamp > max) {
            self.max_timestamp = Some((header.max_timestamp, header.last_offset()));
        }
    }
}

/// The segments of a log, by base offset. There is always one; the last is active.
pub(super) struct Segments(Vec<Segment>);

impl Segments {
    /// These, which are at least one.
    pub(super) fn new(segments: BTreeMap<Offset, Segment>) -> Segments {
        assert!(!segments.is_empty(), "a partition has an active segment");
        Segments(segments.into_values().collect())
    }

    /// Where batches are appended.
    pub(super) fn active(&self) -> &Segment {
        self.0.last().expect("a partition has an active segment")
    }

    pub(super) fn active_mut(&mut self) -> &mut Segment {
        self.0.last_mut().expect("a partition has an active segment")
    }

    /// Begins another one.
    pub(super) fn push(&mut self, segment: Segment) {
        assert!(segment.base > self.active().base, "a segment begins behind the one before");
        self.0.push(segment);
    }

    /// Takes the first one, unless it is the active one.
    pub(super) fn pop_first(&mut self) -> Option<Segment> {
        (self.0.len() > 1).then(|| self.0.remove(0))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Segment> {
        self.0.iter()
    }

    pub(super) fn get(&self, base: Offset) -> Option<&Segment> {
        self.floor(base).filter(|segment| segment.base == base)
    }

    /// A sealed segment's largest timestamp and its offset are these, or cannot be known better.
    pub(super) fn set_largest(&mut self, base: Offset, largest: Option<(WallMs, Offset)>) {
        let sealed = self.0.len() - 1;
        if let Some(segment) = self.0[..sealed].iter_mut().find(|segment| segment.base == base) {
            segment.max_timestamp = largest.or(segment.max_timestamp);
            segment.max_is_believed = false;
        }
    }

    pub(super) fn contains(&self, base: Offset) -> bool {
        self.get(base).is_some()
    }

    /// The one that has an offset, if it is not below the first.
    pub(super) fn floor(&self, offset: Offset) -> Option<&Segment> {
        self.0.get(self.above(offset).checked_sub(1)?)
    }

    /// The one that has an offset, or the first one, and all that follow.
    pub(super) fn from(&self, offset: Offset) -> &[Segment] {
        &self.0[self.above(offset).saturating_sub(1)..]
    }

    /// Where the one behind an offset begins.
    pub(super) fn next_base(&self, offset: Offset) -> Option<Offset> {
        self.0.get(self.above(offset)).map(|segment| segment.base)
    }

    /// How many begin at or below an offset.
    fn above(&self, offset: Offset) -> usize {
        self.0.partition_point(|segment| segment.base <= offset)
    }
}

/// A segment's file and indexes while it is written, until its sealing has ended.
pub(super) struct Sink {
    pub(super) base: Offset,
    /// None until it is needed first, and while it is being opened or created.
    pub(super) file: Option<File>,
    /// A job opens or creates the file.
    pub(super) opening: bool,
    /// Bytes reserved in the file.
    pub(super) allocated: u64,
    /// A reservation is under way, for this many bytes in all.
    pub(super) allocating: Option<u64>,
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
    pub(super) bytes_since_index: u64,
    /// Bytes that are on the device.
    pub(super) written: u64,
    /// Set when the segment was rolled.
    pub(super) sealed: Option<Sealed>,
    /// The job that seals it was submitted.
    pub(super) sealing: bool,
}

/// What a rolled segment still needs.
pub(super) struct Sealed {
    /// The offset after its last record.
    pub(super) end: Offset,
    /// The producers at that offset.
    pub(super) snapshot: Vec<u8>,
}

impl Sink {
    pub(super) fn new(base: Offset, file: Option<File>, allocated: u64) -> Sink {
        Sink {
            base,
            file,
            opening: false,
            allocated,
            allocating: None,
            offsets: OffsetIndex::new(base),
            times: TimeIndex::new(base),
            bytes_since_index: 0,
            written: 0,
            sealed: None,
            sealing: false,
        }
    }

    /// Whether an index cannot take another entry.
    pub(super) fn index_is_full(&self, config: &LogConfig) -> bool {
        let max = config.segment_index_bytes as usize;
        self.offsets.as_bytes().len() + 8 > max - max % 8 || self.times.as_bytes().len() + 12 > max - max % 12
    }

    /// How much to reserve so that `end` bytes fit and the next writes do as well; None if nothing is to be done.
    /// Grows with the segment, so that a small one stays small and a fast one asks rarely.
    pub(super) fn wanted_allocation(&self, end: u64, segment_bytes: u32) -> Option<u64> {
        let ahead = (self.allocated / 4).min(LOG_ALLOCATE_BYTES_MAX / 2);
        if self.allocating.is_some() || end + ahead <= self.allocated {
            return None;
        }
        let chunk = LOG_ALLOCATE_GROWTH * self.allocated;
        let chunk = chunk.clamp(LOG_ALLOCATE_BYTES_MIN, LOG_ALLOCATE_BYTES_MAX);
        let block = BLOCK_BYTES as u64;
        let bound = u64::from(segment_bytes).next_multiple_of(block).max(end.next_multiple_of(block));
        let wanted = (end.next_multiple_of(block) + chunk).min(bound);
        (wanted > self.allocated).then_some(wanted)
    }
}

/// Adds a batch at `position` to a segment's indexes, as `LogSegment.append` does.
pub(super) fn index_batch(
    segment: &mut Segment,
    sink: &mut Sink,
    header: &BatchHeader,
    position: u64,
    interval_bytes: u32,
) {
    segment.note(header);
    if sink.bytes_since_index > u64::from(interval_bytes) {
        sink.offsets.append(header.last_offset(), position);
        index_time(segment, sink);
        sink.bytes_since_index = 0;
    }
    sink.bytes_since_index += header.total_bytes() as u64;
}

/// Adds the largest timestamp so far to the time index.
pub(super) fn index_time(segment: &Segment, sink: &mut Sink) {
    if let Some((timestamp, offset)) = segment.max_timestamp {
        sink.times.append(timestamp, offset);
    }
}

/// A storage error with what was tried.
pub(super) fn storage(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    LogError::storage(action, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_little_for_small_segments_and_never_beyond_the_segment() {
        let mut sink = Sink::new(0, None, 0);
        let mut steps = Vec::new();
        let mut end = 0;
        while end < 1 << 30 {
            end += 4096;
            if let Some(wanted) = sink.wanted_allocation(end, 1 << 30) {
                assert!(wanted >= end && wanted <= 1 << 30);
                sink.allocated = wanted;
                steps.push(wanted);
            }
            assert!(end <= sink.allocated);
        }
        assert_eq!(steps[0], LOG_ALLOCATE_BYTES_MIN + 4096);
        assert!(steps.len() < 40, "{}", steps.len());
        assert_eq!(sink.wanted_allocation(sink.allocated, 1 << 30), None);
    }
}
