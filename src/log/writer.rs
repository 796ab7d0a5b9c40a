//! Group commit: what was appended and is not written yet, gathered into aligned units.
//!
//! One unit is in flight at a time. A unit begins with the bytes of the last, partial block before it, so that it
//! can be written as whole blocks; once it is submitted nobody changes it. Units are read while they wait: what the
//! journal keeps is acknowledged before it is written here.

use std::collections::VecDeque;

use bytes::Bytes;

use super::cache::RunView;
use crate::base::Offset;
use crate::base::limits::{BLOCK_BYTES, LOG_WRITE_BYTES_MAX};
use crate::io::AlignedBuf;

/// Bytes between two marks of a unit.
const MARK_BYTES: u64 = 4096;

/// From this size on a unit doubles when it is full.
const UNIT_DOUBLES_BYTES: usize = 32 << 10;

/// Whole batches on their way to the disk.
pub(super) struct Unit {
    /// The segment's base offset.
    pub(super) segment: Offset,
    /// Where in the file the buffer goes: a multiple of the block size.
    pub(super) position: u64,
    /// Bytes at the front that were written before.
    carry: usize,
    buf: AlignedBuf,
    /// The first new batch's first offset.
    pub(super) first: Offset,
    /// The offset after the last batch.
    pub(super) next: Offset,
    /// Sparse: a batch's first offset and its position in the file.
    marks: Vec<(Offset, u64)>,
    /// The next mark belongs to a batch that begins here or later.
    mark_at: u64,
}

/// A unit that was handed to the disk.
pub(super) struct InFlight {
    pub(super) segment: Offset,
    pub(super) position: u64,
    pub(super) carry: usize,
    /// Padded with zeros to whole blocks.
    pub(super) bytes: Bytes,
    /// Bytes before the padding.
    pub(super) len: usize,
    pub(super) first: Offset,
    pub(super) next: Offset,
    pub(super) marks: Vec<(Offset, u64)>,
}

impl Unit {
    /// The end in the file, padding included.
    pub(super) fn padded_end(&self) -> u64 {
        self.position + self.buf.len().next_multiple_of(BLOCK_BYTES) as u64
    }

    /// The end in the file.
    fn end(&self) -> u64 {
        self.position + self.buf.len() as u64
    }

    fn submit(self) -> InFlight {
        let len = self.buf.len();
        InFlight {
            segment: self.segment,
            position: self.position,
            carry: self.carry,
            len,
            first: self.first,
            next: self.next,
            marks: self.marks,
            bytes: self.buf.freeze(),
        }
    }
}

/// The queue of units of one partition.
pub(super) struct Writer {
    pending: VecDeque<Unit>,
    pub(super) in_flight: Option<InFlight>,
    /// The last, partial block of the segment being written, as it is on the device.
    tail: Vec<u8>,
    pending_bytes: usize,
    /// Bytes of the unit that was submitted last: the next one may become as large.
    last_len: usize,
}

impl Writer {
    /// `tail`: the bytes of the active segment behind its last whole block.
    pub(super) fn new(tail: Vec<u8>) -> Writer {
        debug_assert!(tail.len() < BLOCK_BYTES);
        Writer { pending: VecDeque::new(), in_flight: None, tail, pending_bytes: 0, last_len: 0 }
    }

    /// Bytes not written yet.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_none()
    }

    /// The next unit to be written.
    pub(super) fn front(&self) -> Option<&Unit> {
        self.pending.front()
    }

    /// Copies an append to the queue. Gives the copy, to be patched in place. `end` is the segment's size before,
    /// `first..next` the offsets.
    pub(super) fn push(
        &mut self,
        segment: Offset,
        end: u64,
        first: Offset,
        next: Offset,
        batches: &[u8],
    ) -> &mut [u8] {
        self.make_room(segment, end, first, batches.len());
        self.pending_bytes += batches.len();
        let unit = self.pending.back_mut().expect("make_room leaves a unit with room");
        debug_assert_eq!(unit.end(), end);
        if end >= unit.mark_at {
            unit.marks.push((first, end));
            unit.mark_at = end + MARK_BYTES;
        }
        unit.next = next;
        unit.buf.append(batches)
    }

    fn make_room(&mut self, segment: Offset, end: u64, first: Offset, bytes: usize) {
        let waiting = self.pending.back_mut().filter(|unit| unit.segment == segment);
        if let Some(unit) = waiting {
            let len = unit.buf.len() + bytes;
            if len <= LOG_WRITE_BYTES_MAX.max(unit.carry + bytes) {
                if unit.buf.remaining() < bytes {
                    unit.buf.grow(len.max(larger(unit.buf.capacity())));
                }
                return;
            }
        }
        let carry = (end % BLOCK_BYTES as u64) as usize;
        let expected = if self.last_len < UNIT_DOUBLES_BYTES { 0 } else { self.last_len / 2 + BLOCK_BYTES };
        let mut buf = AlignedBuf::with_capacity((carry + bytes).max(expected));
        buf.extend_from_slice(self.last_bytes(segment, carry));
        let position = end - carry as u64;
        self.pending.push_back(Unit {
            segment,
            position,
            carry,
            buf,
            first,
            next: first,
            marks: Vec::new(),
            mark_at: end,
        });
    }

    /// The batches of the unit that holds `offset`, if it is not written yet.
    pub(super) fn run(&mut self, offset: Offset) -> Option<RunView<'_>> {
        if let Some(unit) = self.in_flight.as_ref().filter(|unit| (unit.first..unit.next).contains(&offset)) {
            let position = unit.position + unit.carry as u64;
            let bytes = unit.bytes.slice(unit.carry..unit.len);
            return Some(RunView { position, next: unit.next, bytes, marks: &unit.marks });
        }
        let at = self.pending.partition_point(|unit| unit.next <= offset);
        let unit = self.pending.get_mut(at).filter(|unit| unit.first <= offset)?;
        let position = unit.position + unit.carry as u64;
        let bytes = unit.buf.share(unit.carry, unit.buf.len());
        Some(RunView { position, next: unit.next, bytes, marks: &unit.marks })
    }

    /// The last `n` bytes before the end of a segment, wherever they are.
    fn last_bytes(&self, segment: Offset, n: usize) -> &[u8] {
        let bytes = if n == 0 {
            &[]
        } else if let Some(unit) = self.pending.back().filter(|unit| unit.segment == segment) {
            unit.buf.as_slice()
        } else if let Some(unit) = self.in_flight.as_ref().filter(|unit| unit.segment == segment) {
            &unit.bytes[..unit.len]
        } else {
            self.tail.as_slice()
        };
        &bytes[bytes.len() - n..]
    }

    /// Takes the next unit to be written; what is appended from now on goes to another one.
    pub(super) fn submit(&mut self) -> Option<&InFlight> {
        assert!(self.in_flight.is_none(), "one write in flight per partition");
        let unit = self.pending.pop_front()?;
        self.last_len = unit.buf.len();
        self.in_flight = Some(unit.submit());
        self.in_flight.as_ref()
    }

    /// The unit in flight is on the device.
    pub(super) fn written(&mut self) -> Option<InFlight> {
        let unit = self.in_flight.take()?;
        self.pending_bytes -= unit.len - unit.carry;
        let partial = unit.len % BLOCK_BYTES;
        self.tail.clear();
        self.tail.extend_from_slice(&unit.bytes[unit.len - partial..unit.len]);
        Some(unit)
    }

    /// The next unit goes to a new segment.
    pub(super) fn drop_pending(&mut self) {
        self.pending.clear();
        self.pending_bytes = self.in_flight.as_ref().map_or(0, |unit| unit.len - unit.carry);
    }
}

/// The capacity that follows: small ones in small steps, as there may be very many of them.
fn larger(capacity: usize) -> usize {
    let step = if capacity < UNIT_DOUBLES_BYTES { capacity / 2 } else { capacity };
    (capacity + step).min(LOG_WRITE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_carry_the_partial_block() {
        let mut writer = Writer::new(b"tail".to_vec());
        writer.push(0, 4100, 10, 11, &[1; 100]);
        let unit = writer.submit().expect("a unit");
        assert_eq!((unit.position, unit.carry, unit.len, unit.bytes.len()), (4096, 4, 104, 4096));
        assert_eq!(&unit.bytes[..5], b"tail\x01");
        writer.push(0, 4200, 11, 12, &[2; 5000]);
        writer.push(0, 9200, 12, 13, &[3; 8]);
        writer.written();
        assert_eq!(writer.pending_bytes(), 5008);
        let unit = writer.submit().expect("a unit");
        assert_eq!((unit.position, unit.carry, unit.first), (4096, 104, 11));
        assert_eq!(&unit.bytes[..4], b"tail");
        let written = writer.written().expect("was in flight");
        assert_eq!(written.bytes[written.len - 1], if written.next == 13 { 3 } else { 2 });
    }

    #[test]
    fn what_waits_can_be_read() {
        let mut writer = Writer::new(b"tail".to_vec());
        writer.push(0, 4100, 10, 12, &[1; 100]);
        writer.push(0, 4200, 12, 13, &[2; 50]);
        let before = writer.run(11).expect("it waits").bytes;
        assert_eq!((before.len(), before[99], before[100]), (150, 1, 2));
        writer.push(0, 4250, 13, 20, &[3; 7]);
        writer.submit();
        writer.push(0, 4257, 20, 21, &[4; 9000]);
        let view = writer.run(19).expect("it is in flight");
        assert_eq!((view.position, view.next, view.bytes.len(), view.bytes[156]), (4100, 20, 157, 3));
        let view = writer.run(20).expect("it waits");
        assert_eq!((view.position, view.next, view.bytes.len()), (4257, 21, 9000));
        assert!(writer.run(9).is_none() && writer.run(21).is_none());
        assert_eq!(before.len(), 150);
        writer.written();
        assert!(writer.run(19).is_none());
    }

    #[test]
    fn a_new_segment_starts_without_carry() {
        let mut writer = Writer::new(vec![9; 7]);
        writer.push(0, 7, 1, 2, &[1; 10]);
        writer.push(2, 0, 2, 3, &[2; 10]);
        assert_eq!(writer.submit().expect("old segment").len, 17);
        writer.written();
        let unit = writer.submit().expect("new segment");
        assert_eq!((unit.segment, unit.position, unit.carry, unit.len), (2, 0, 0, 10));
    }

    #[test]
    fn a_backlog_is_written_in_few_large_units() {
        let mut writer = Writer::new(Vec::new());
        let mut end = 0;
        let mut push = |writer: &mut Writer, n: u64| {
            for _ in 0..n {
                writer.push(0, end, end as i64, end as i64 + 1, &[7; 1000]);
                end += 1000;
            }
        };
        push(&mut writer, 1);
        writer.submit();
        push(&mut writer, 10_000);
        writer.written();
        let mut units = 0;
        while writer.submit().is_some() {
            writer.written();
            units += 1;
        }
        assert!(units <= 20, "{units}");
        assert_eq!(writer.pending_bytes(), 0);
    }
}
