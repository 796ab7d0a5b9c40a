//! The sparse indexes of a segment, in memory exactly as on disk (`OffsetIndex`, `TimeIndex`).

use crate::base::{Offset, WallMs};

/// Offset → position in the `.log`. Entries of 8 bytes: relative offset (i32), position (i32), both rising.
///
/// An entry names a batch by its last offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetIndex {
    base: Offset,
    bytes: Vec<u8>,
}

/// Timestamp → offset. Entries of 12 bytes: timestamp (i64), relative offset (i32); timestamps rise.
///
/// An entry says: up to this offset no record has a larger timestamp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeIndex {
    base: Offset,
    bytes: Vec<u8>,
}

const OFFSET_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| i32::from_be_bytes(*b))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| i64::from_be_bytes(*b))
}

/// The number of leading entries for which `before` holds.
fn partition_point(entries: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, entries);
    while low < high {
        let mid = usize::midpoint(low, high);
        if before(mid) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    low
}

impl OffsetIndex {
    /// No entries.
    pub fn new(base: Offset) -> OffsetIndex {
        OffsetIndex { base, bytes: Vec::new() }
    }

    /// From a file's bytes. None unless they are an index of a segment of `log_bytes`, in which each entry names a batch.
    /// Zeros behind the entries (Kafka allocates ahead) are dropped.
    pub fn parse(base: Offset, mut bytes: Vec<u8>, log_bytes: u64) -> Option<OffsetIndex> {
        let mut entries = bytes.len() / OFFSET_ENTRY;
        // The first entry's position is never zero: the first batch of a segment is not indexed.
        while entries > 0 && bytes[(entries - 1) * OFFSET_ENTRY..].iter().all(|b| *b == 0) {
            entries -= 1;
            bytes.truncate(entries * OFFSET_ENTRY);
        }
        if !bytes.len().is_multiple_of(OFFSET_ENTRY) {
            return None;
        }
        let (mut last_offset, mut last_position) = (-1, 0);
        for entry in bytes.as_chunks::<OFFSET_ENTRY>().0 {
            let (offset, position) = (i32_at(entry, 0), i32_at(entry, 4));
            if offset <= last_offset || position <= last_position {
                return None;
            }
            (last_offset, last_position) = (offset, position);
        }
        (bytes.is_empty() || (last_position as u64) < log_bytes).then_some(OffsetIndex { base, bytes })
    }

    /// The file's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.bytes.len() / OFFSET_ENTRY
    }

    /// Adds an entry. One that does not rise is left out.
    pub fn append(&mut self, last_offset: Offset, position: u64) {
        let (Ok(relative), Ok(position)) = (i32::try_from(last_offset - self.base), i32::try_from(position))
        else {
            return;
        };
        if let Some(last) = self.len().checked_sub(1) {
            let at = last * OFFSET_ENTRY;
            if relative <= i32_at(&self.bytes, at) || position <= i32_at(&self.bytes, at + 4) {
                return;
            }
        }
        self.bytes.extend_from_slice(&relative.to_be_bytes());
        self.bytes.extend_from_slice(&position.to_be_bytes());
    }

    /// A position at or before the batch that holds `offset`, and the offset that names the batch there; zero and None for
    /// the segment's beginning.
    pub fn lookup(&self, offset: Offset) -> (u64, Option<Offset>) {
        let relative = offset - self.base;
        let n = partition_point(self.len(), |i| i64::from(i32_at(&self.bytes, i * OFFSET_ENTRY)) <= relative);
        n.checked_sub(1).map_or((0, None), |i| {
            let (offset, position) = self.entry(i);
            (position, Some(offset))
        })
    }

    fn entry(&self, i: usize) -> (Offset, u64) {
        let at = i * OFFSET_ENTRY;
        (self.base + i64::from(i32_at(&self.bytes, at)), i32_at(&self.bytes, at + 4) as u64)
    }

    /// These entries, and those of `other` from a position on.
    #[must_use]
    pub fn with_entries_from(mut self, other: &OffsetIndex, position: u64) -> OffsetIndex {
        for (offset, at) in (0..other.len()).map(|i| other.entry(i)).filter(|(_, at)| *at >= position) {
            self.append(offset, at);
        }
        self
    }

    /// A batch's position behind `after` and the offset that names it: the last one up to `upto`, or else the first one
    /// behind that. None if there is none.
    pub fn boundary(&self, after: u64, upto: u64) -> Option<(u64, Offset)> {
        let position = |i: usize| i32_at(&self.bytes, i * OFFSET_ENTRY + 4) as u64;
        let behind = partition_point(self.len(), |i| position(i) <= upto);
        let within = behind.checked_sub(1).filter(|i| position(*i) > after);
        let entry = within.or_else(|| (behind < self.len()).then_some(behind))?;
        Some((position(entry), self.base + i64::from(i32_at(&self.bytes, entry * OFFSET_ENTRY))))
    }

    /// The position of the last entry, zero if there is none.
    pub fn last_position(&self) -> u64 {
        self.len().checked_sub(1).map_or(0, |i| i32_at(&self.bytes, i * OFFSET_ENTRY + 4) as u64)
    }
}

impl TimeIndex {
    /// No entries.
    pub fn new(base: Offset) -> TimeIndex {
        TimeIndex { base, bytes: Vec::new() }
    }

    /// From a file's bytes. None unless they are a time index. Zeros behind the entries are dropped.
    pub fn parse(base: Offset, mut bytes: Vec<u8>) -> Option<TimeIndex> {
        let mut entries = bytes.len() / TIME_ENTRY;
        while entries > 0 && bytes[(entries - 1) * TIME_ENTRY..].iter().all(|b| *b == 0) {
            entries -= 1;
            bytes.truncate(entries * TIME_ENTRY);
        }
        if !bytes.len().is_multiple_of(TIME_ENTRY) {
            return None;
        }
        let (mut last_time, mut last_offset) = (i64::MIN, -1);
        for entry in bytes.as_chunks::<TIME_ENTRY>().0 {
            let (time, offset) = (i64_at(entry, 0), i32_at(entry, 8));
            if time <= last_time || offset < last_offset || offset < 0 {
                return None;
            }
            (last_time, last_offset) = (time, offset);
        }
        Some(TimeIndex { base, bytes })
    }

    /// The file's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.bytes.len() / TIME_ENTRY
    }

    /// The last entry.
    pub fn last(&self) -> Option<(WallMs, Offset)> {
        self.len().checked_sub(1).map(|i| self.entry(i))
    }

    fn entry(&self, i: usize) -> (WallMs, Offset) {
        let at = i * TIME_ENTRY;
        (i64_at(&self.bytes, at), self.base + i64::from(i32_at(&self.bytes, at + 8)))
    }

    /// These entries, and those of `other` that go on behind them.
    #[must_use]
    pub fn with_entries_behind(mut self, other: &TimeIndex) -> TimeIndex {
        for (time, offset) in (0..other.len()).map(|i| other.entry(i)) {
            if self.last().is_none_or(|(_, last)| offset > last) {
                self.append(time, offset);
            }
        }
        self
    }

    /// Adds an entry if its timestamp is larger than the last one's.
    pub fn append(&mut self, timestamp: WallMs, offset: Offset) {
        let Ok(relative) = i32::try_from(offset - self.base) else { return };
        if timestamp < 0 || self.last().is_some_and(|(last, at)| timestamp <= last || offset < at) {
            return;
        }
        self.bytes.extend_from_slice(&timestamp.to_be_bytes());
        self.bytes.extend_from_slice(&relative.to_be_bytes());
    }

    /// The last entry up to `timestamp`, if there is one: its offset is the last one known to have only smaller or equal
    /// timestamps up to it, where a search begins.
    pub fn lookup(&self, timestamp: WallMs) -> Option<(WallMs, Offset)> {
        let n = partition_point(self.len(), |i| self.entry(i).0 <= timestamp);
        n.checked_sub(1).map(|i| self.entry(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_index() {
        let mut index = OffsetIndex::new(100);
        for (offset, position) in [(109, 5000), (120, 9100), (130, 20_000)] {
            index.append(offset, position);
        }
        index.append(130, 30_000);
        index.append(140, 20_000);
        assert_eq!(index.len(), 3);
        let found: Vec<u64> = [100, 108, 109, 119, 120, 131].map(|o| index.lookup(o).0).to_vec();
        assert_eq!(found, [0, 0, 5000, 5000, 9100, 20_000]);
        assert_eq!(OffsetIndex::parse(100, index.as_bytes().to_vec(), 20_001), Some(index.clone()));
        assert_eq!(OffsetIndex::parse(100, index.as_bytes().to_vec(), 20_000), None);
        assert_eq!(OffsetIndex::parse(100, index.as_bytes()[..20].to_vec(), 20_001), None);
        let padded = [index.as_bytes(), &[0; 800]].concat();
        assert_eq!(OffsetIndex::parse(100, padded, 20_001), Some(index.clone()));
        assert_eq!(OffsetIndex::parse(100, Vec::new(), 0), Some(OffsetIndex::new(100)));
        assert_eq!(index.last_position(), 20_000);
    }

    #[test]
    fn every_flipped_bit_is_refused_or_harmless() {
        let mut index = OffsetIndex::new(0);
        (1..20).for_each(|i| index.append(i * 10, i as u64 * 4100));
        for bit in 0..index.as_bytes().len() * 8 {
            let mut bytes = index.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Some(parsed) = OffsetIndex::parse(0, bytes, 20 * 4100) {
                assert!(parsed.last_position() < 20 * 4100);
            }
        }
    }

    #[test]
    fn time_index() {
        let mut index = TimeIndex::new(10);
        assert_eq!((index.lookup(5), index.last()), (None, None));
        index.append(1000, 15);
        index.append(1000, 16);
        index.append(900, 17);
        index.append(2000, 20);
        assert_eq!(index.len(), 2);
        let found = [999, 1000, 1999, 2000, 9999].map(|t| index.lookup(t).map(|(_, offset)| offset));
        assert_eq!(found, [None, Some(15), Some(15), Some(20), Some(20)]);
        assert_eq!(TimeIndex::parse(10, index.as_bytes().to_vec()), Some(index.clone()));
        assert_eq!(TimeIndex::parse(10, [index.as_bytes(), &[0; 24]].concat()), Some(index.clone()));
        assert_eq!(index.last(), Some((2000, 20)));
    }
}
