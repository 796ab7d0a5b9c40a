//! Batches in a segment's file as they lie there: neither sizes nor indexes are believed.

use std::io;

use super::resync::{self, Found};
use crate::base::limits::{LOG_WRITE_BYTES_MAX, RECORD_ZEROS_MAX, REPLAY_READ_BYTES};
use crate::base::{LeaderEpoch, Offset};
use crate::io::{File, Files};
use crate::wire::record::{BatchHeader, BatchView, HEADER_BYTES, RecordError};

/// What a power failure tears.
const SECTOR_BYTES: u64 = 512;

/// Why no valid batch begins at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Defect {
    /// The file ends here.
    EndOfFile,
    /// Zeros up to the file's end: reserved and never written.
    Zeros,
    /// Zeros, and then something else: lost in a power cut.
    Hole,
    /// The file ends within a batch.
    CutShort,
    /// No batch header: wrong magic or length.
    NoHeader,
    /// A batch of format 0 or 1.
    OldFormat,
    /// A header, but the checksum is not that of the bytes.
    Checksum,
    /// A valid batch whose offsets do not follow.
    StaleOffset,
}

impl Defect {
    /// In words.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Defect::EndOfFile => "the file ends",
            Defect::Zeros => "zeros up to the end of the file",
            Defect::Hole => "zeros where a batch should be",
            Defect::CutShort => "a batch goes beyond the end of the file",
            Defect::NoHeader => "no batch begins there",
            Defect::OldFormat => "a batch of record format 0 or 1, or a damaged header",
            Defect::Checksum => "the checksum is not that of the batch",
            Defect::StaleOffset => "the batch's offsets do not follow the ones before it",
        }
    }

    /// All of them, for the test of the table.
    #[cfg(test)]
    pub(super) const ALL: [Defect; 8] = [
        Defect::EndOfFile,
        Defect::Zeros,
        Defect::Hole,
        Defect::CutShort,
        Defect::NoHeader,
        Defect::OldFormat,
        Defect::Checksum,
        Defect::StaleOffset,
    ];
}

/// Reads a file in chunks.
pub(super) struct Scanner<'a> {
    files: &'a dyn Files,
    file: &'a File,
    /// The file's length.
    pub(super) len: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Bytes read so far.
    pub(super) read_bytes: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(files: &'a dyn Files, file: &'a File) -> io::Result<Scanner<'a>> {
        let len = files.len(file)?;
        Ok(Scanner { files, file, len, buffer: Vec::new(), buffer_at: 0, read_bytes: 0 })
    }

    /// At least `need` bytes at `position`, fewer at the file's end.
    pub(super) fn bytes(&mut self, position: u64, need: usize) -> io::Result<&[u8]> {
        let end = self.len.min(position.saturating_add(need as u64));
        let have = self.buffer_at..self.buffer_at + self.buffer.len() as u64;
        if position < have.start || end > have.end {
            let want = need.max(REPLAY_READ_BYTES).min(self.len.saturating_sub(position) as usize);
            self.buffer = self.files.read_at(self.file, position, want)?;
            self.read_bytes += self.buffer.len() as u64;
            if (self.buffer.len() as u64) < end.saturating_sub(position) {
                self.len = position + self.buffer.len() as u64;
            }
            self.buffer_at = position;
        }
        let from = ((position - self.buffer_at) as usize).min(self.buffer.len());
        Ok(&self.buffer[from..])
    }

    /// The batch at `position`, or why there is none.
    pub(super) fn batch(
        &mut self,
        position: u64,
        follows: &Follows,
    ) -> io::Result<Result<BatchHeader, Defect>> {
        if position >= self.len {
            return Ok(Err(Defect::EndOfFile));
        }
        let left = self.len - position;
        let head = self.bytes(position, HEADER_BYTES)?;
        let header = match BatchHeader::parse(head) {
            Ok(header) => header,
            Err(_) if head[..head.len().min(HEADER_BYTES)].iter().all(|b| *b == 0) => {
                let written = within_one_write(self, position, 0)?;
                return Ok(Err(if written { Defect::Zeros } else { Defect::Hole }));
            }
            Err(RecordError::Magic(0 | 1)) => return Ok(Err(Defect::OldFormat)),
            Err(RecordError::Truncated { .. }) => return Ok(Err(Defect::CutShort)),
            Err(_) => return Ok(Err(Defect::NoHeader)),
        };
        let total = header.total_bytes();
        if total as u64 > left {
            return Ok(Err(Defect::CutShort));
        }
        let valid = BatchView::parse(self.bytes(position, total)?).is_ok_and(|view| view.check_crc().is_ok());
        if !valid {
            return Ok(Err(Defect::Checksum));
        }
        if header.base_offset == follows.next && header.partition_leader_epoch == follows.epoch {
            return Ok(Ok(header));
        }
        let after = self.valid_header(position + total as u64)?;
        let end = follows.segment_end.or(follows.log_end);
        let after_segment = end.filter(|_| position + total as u64 >= self.len);
        let repaired = follows.repair(header, after.as_ref(), after_segment);
        let fits = follows.admits(&repaired) && !follows.is_contradicted(&repaired, after.as_ref());
        Ok(if fits { Ok(repaired) } else { Err(Defect::StaleOffset) })
    }

    /// What stands where a header would.
    pub(super) fn header(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        Ok(BatchHeader::parse(self.bytes(position, HEADER_BYTES)?).ok())
    }

    /// The header of a batch with a right checksum, whatever its offsets.
    pub(super) fn valid_header(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        let Ok(header) = BatchHeader::parse(self.bytes(position, HEADER_BYTES)?) else { return Ok(None) };
        let total = header.total_bytes();
        if position + total as u64 > self.len {
            return Ok(None);
        }
        let valid = BatchView::parse(self.bytes(position, total)?).is_ok_and(|view| view.check_crc().is_ok());
        Ok(valid.then_some(header))
    }

    /// The bytes of a batch that was found valid.
    pub(super) fn view(&mut self, position: u64, header: &BatchHeader) -> io::Result<Option<BatchView<'_>>> {
        Ok(BatchView::parse(self.bytes(position, header.total_bytes())?).ok())
    }

    /// Whether what lies before a batch, or before the end of the file, may be sectors that a write left out in a power cut:
    /// within one write's reach, with a sector that was never written, and without one of which only the beginning is
    /// zeros. Whoever judges a log before it is opened and who opens it go by this.
    pub(super) fn looks_torn(&mut self, position: u64, until: u64) -> io::Result<bool> {
        let sector = until - until % SECTOR_BYTES;
        let from = sector.max(position);
        let (part, len) = ((until - from) as usize, (sector + SECTOR_BYTES - from) as usize);
        let bytes = self.bytes(from, len)?;
        let (before, behind) = bytes[..len.min(bytes.len())].split_at(part.min(bytes.len()));
        let zeros = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
        // A batch may begin with zeros of a sector that was not written.
        let wiped = part > RECORD_ZEROS_MAX && zeros(before) && !zeros(behind);
        Ok(!wiped
            && within_one_write(self, position, LOG_WRITE_BYTES_MAX as u64)?
            && has_unwritten_sector(self, position, until)?)
    }

    /// The next valid batch behind a defect: where the damaged batch's own length leads, else wherever there is one.
    pub(super) fn resync(
        &mut self,
        position: u64,
        follows: &Follows,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        if let Ok(header) = BatchHeader::parse(self.bytes(position, HEADER_BYTES)?) {
            let at = position + header.total_bytes() as u64;
            if let Ok(next) = self.batch(at, follows)? {
                return Ok(Some((at, next)));
            }
        }
        let mut from = position + 1;
        loop {
            match resync::search(self, from, |header| follows.admits(header))? {
                Found::Batch(at) => match self.batch(at, follows)? {
                    Ok(header) => return Ok(Some((at, header))),
                    Err(_) => from = at + 1,
                },
                Found::GoOn(at) => from = at,
                Found::Nothing => return Ok(None),
            }
        }
    }
}

/// What the next batch must follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follows {
    pub(super) segment: Offset,
    pub(super) next: Offset,
    pub(super) epoch: LeaderEpoch,
    /// Where the next segment begins, if there is one.
    pub(super) segment_end: Option<Offset>,
    /// Where the log ends, if that is known: no batch is refused for it.
    pub(super) log_end: Option<Offset>,
}

impl Follows {
    /// Base offset and leader epoch are not under the checksum, so a flipped bit there shows only by the
    /// neighbours: `after` is the batch that follows this one.
    fn repair(
        &self,
        mut header: BatchHeader,
        after: Option<&BatchHeader>,
        after_segment: Option<Offset>,
    ) -> BatchHeader {
        let next_if_dense = self.next + i64::from(header.last_offset_delta) + 1;
        if after.map(|after| after.base_offset).or(after_segment) == Some(next_if_dense) {
            header.base_offset = self.next;
        }
        let epoch = header.partition_leader_epoch;
        if epoch < self.epoch || after.is_some_and(|after| after.partition_leader_epoch < epoch) {
            let known = (self.epoch >= 0).then_some(self.epoch);
            let after = after.map_or(-1, |after| after.partition_leader_epoch);
            header.partition_leader_epoch = known.unwrap_or(after);
        }
        header
    }

    /// Whether a batch that does not stand where it is expected reaches into the next one, which may follow.
    fn is_contradicted(&self, header: &BatchHeader, after: Option<&BatchHeader>) -> bool {
        let room = self.next + i64::from(header.last_offset_delta) + 1;
        header.base_offset != self.next
            && after.is_some_and(|after| (room..header.next_offset()).contains(&after.base_offset))
    }

    pub(super) fn at(segment: Offset) -> Follows {
        Follows { segment, next: segment, epoch: -1, segment_end: None, log_end: None }
    }

    pub(super) fn passed(&mut self, header: &BatchHeader) {
        self.next = header.next_offset();
        self.epoch = header.partition_leader_epoch;
    }

    pub(super) fn admits(&self, header: &BatchHeader) -> bool {
        header.last_offset_delta >= 0
            && header.base_offset >= self.next
            && header.base_offset - self.segment <= i64::from(i32::MAX) - i64::from(header.last_offset_delta)
            && self.segment_end.is_none_or(|end| header.next_offset() <= end)
    }
}

/// Whether all bytes further from a position than one write are zeros.
fn within_one_write(scanner: &mut Scanner, position: u64, write_bytes_max: u64) -> io::Result<bool> {
    let mut at = position + write_bytes_max;
    while at < scanner.len {
        let bytes = scanner.bytes(at, 1)?;
        if bytes.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at += bytes.len().max(1) as u64;
    }
    Ok(true)
}

/// Whether a sector between two positions holds what was there before the write: zeros from where the write began,
/// or from the sector's start, to the sector's end.
fn has_unwritten_sector(scanner: &mut Scanner, from: u64, to: u64) -> io::Result<bool> {
    let mut at = from;
    while at < to {
        let end = (at + 1).next_multiple_of(SECTOR_BYTES);
        let len = (end - at) as usize;
        let bytes = scanner.bytes(at, len)?;
        if bytes[..len.min(bytes.len())].iter().all(|b| *b == 0) {
            return Ok(true);
        }
        at = end;
    }
    Ok(false)
}
