//! What a segment's file really holds: a streaming scan that believes neither sizes nor indexes, and the decision
//! what to do where it is damaged.

use std::io;
use std::path::Path;

use super::config::LogConfig;
use super::epochs::Epochs;
use super::index::{OffsetIndex, TimeIndex};
use super::names::{FileKind, file_name, parse_file_name};
use super::partition::read_marker;
use super::producers::{Checked, PlannedBatch, Producers};
use super::segment::{Segment, Sink, index_batch, index_time};
use super::types::AppendOrigin;
use crate::base::limits::REPLAY_READ_BYTES;
use crate::base::{LeaderEpoch, Offset};
use crate::io::{File, Files, OpenMode};
use crate::wire::record::{BatchHeader, BatchView, HEADER_BYTES, LOG_OVERHEAD, RecordError, Scratch};

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

/// Where a defect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Where {
    /// In the last segment, above the recovery point, with all that follows within the reach of one write, and with
    /// sectors that were never written: a write that was cut off by a power failure.
    TornWrite,
    /// Anywhere else: bytes that were once written and have changed.
    Amidst,
}

/// What to do about a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// All is well: the segment ends here.
    End,
    /// The segment ends here; what follows was never written, and is cut off.
    CutUnwritten,
    /// The segment ends here; what follows was never acknowledged or is lost, is cut off and reported.
    CutDamaged,
    /// Valid batches follow that may have been acknowledged: only what is damaged is taken out and reported.
    Excise,
    /// Not ours to judge: the partition is not opened.
    Refuse,
}

/// The decision for every case. `valid_follows`: a valid batch with a higher offset comes later in the file.
///
/// Kafka cuts at the first defect and deletes all segments after it; here one flipped bit costs one batch.
pub(super) fn decide(defect: Defect, place: Where, valid_follows: bool, first_in_log: bool) -> Decision {
    match (defect, place, valid_follows) {
        (Defect::EndOfFile, _, _) => Decision::End,
        (Defect::Zeros, _, _) => Decision::CutUnwritten,
        (Defect::OldFormat, _, false) if first_in_log => Decision::Refuse,
        // A write that was torn was not acknowledged, so neither was anything after its first defect.
        (_, Where::TornWrite, _) | (_, Where::Amidst, false) => Decision::CutDamaged,
        (_, Where::Amidst, true) => Decision::Excise,
    }
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
    fn bytes(&mut self, position: u64, need: usize) -> io::Result<&[u8]> {
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
    fn batch(&mut self, position: u64, follows: &Follows) -> io::Result<Result<BatchHeader, Defect>> {
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
        let after_segment = (position + total as u64 >= self.len).then_some(follows.segment_end).flatten();
        let repaired = follows.repair(header, after.as_ref(), after_segment);
        Ok(if follows.admits(&repaired) { Ok(repaired) } else { Err(Defect::StaleOffset) })
    }

    /// The header of a batch with a right checksum, whatever its offsets.
    fn valid_header(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        let Ok(header) = BatchHeader::parse(self.bytes(position, HEADER_BYTES)?) else { return Ok(None) };
        let total = header.total_bytes();
        if position + total as u64 > self.len {
            return Ok(None);
        }
        let valid = BatchView::parse(self.bytes(position, total)?).is_ok_and(|view| view.check_crc().is_ok());
        Ok(valid.then_some(header))
    }

    /// The bytes of a batch that was found valid.
    fn view(&mut self, position: u64, header: &BatchHeader) -> io::Result<Option<BatchView<'_>>> {
        Ok(BatchView::parse(self.bytes(position, header.total_bytes())?).ok())
    }

    /// The next valid batch behind a defect: where the damaged batch's own length leads, else wherever there is one.
    fn resync(&mut self, position: u64, follows: &Follows) -> io::Result<Option<(u64, BatchHeader)>> {
        if let Ok(header) = BatchHeader::parse(self.bytes(position, HEADER_BYTES)?) {
            let at = position + header.total_bytes() as u64;
            if let Ok(next) = self.batch(at, follows)? {
                return Ok(Some((at, next)));
            }
        }
        let mut at = position + 1;
        while at + HEADER_BYTES as u64 <= self.len {
            let bytes = self.bytes(at, HEADER_BYTES)?;
            // Cheap tests first: the magic byte, then the length.
            let window = bytes.len() - (HEADER_BYTES - 1);
            let candidate =
                bytes.windows(HEADER_BYTES).position(|w| w[16] == 2 && w[8..LOG_OVERHEAD] != [0; 4]);
            let Some(skip) = candidate else {
                at += window as u64;
                continue;
            };
            at += skip as u64;
            if let Ok(header) = self.batch(at, follows)? {
                return Ok(Some((at, header)));
            }
            at += 1;
        }
        Ok(None)
    }
}

/// What the next batch must follow.
#[derive(Clone, Copy, Debug)]
struct Follows {
    segment: Offset,
    next: Offset,
    epoch: LeaderEpoch,
    /// Where the next segment begins, if there is one.
    segment_end: Option<Offset>,
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

    fn at(segment: Offset) -> Follows {
        Follows { segment, next: segment, epoch: -1, segment_end: None }
    }

    fn passed(&mut self, header: &BatchHeader) {
        self.next = header.next_offset();
        self.epoch = header.partition_leader_epoch;
    }

    fn admits(&self, header: &BatchHeader) -> bool {
        header.last_offset_delta >= 0
            && header.base_offset >= self.next
            && header.base_offset - self.segment <= i64::from(i32::MAX) - i64::from(header.last_offset_delta)
            && self.segment_end.is_none_or(|end| header.next_offset() <= end)
    }
}

/// What the scan of a segment needs to know.
pub(super) struct ScanContext<'a> {
    pub(super) config: &'a LogConfig,
    /// Where the next segment begins; None for the last one.
    pub(super) segment_end: Option<Offset>,
    /// Everything below was flushed.
    pub(super) recovery_point: Offset,
    /// Whether no segment comes before.
    pub(super) is_first: bool,
    /// The bytes of the largest write.
    pub(super) write_bytes_max: u64,
    pub(super) created_ms: i64,
}

/// What a scan carries from segment to segment.
#[derive(Clone)]
pub(super) struct Carried {
    pub(super) producers: Producers,
    /// The producers already know what is below.
    pub(super) producers_from: Offset,
    pub(super) epochs: Epochs,
    /// Of the last batch, -1 before the first.
    pub(super) epoch: LeaderEpoch,
    pub(super) next: Offset,
}

/// What a scan found.
pub(super) struct Scanned {
    pub(super) segment: Segment,
    /// With the indexes.
    pub(super) sink: Sink,
    /// Where the segment ends, and why.
    pub(super) end: Decision,
    pub(super) defect: Defect,
    /// Bytes behind the end.
    pub(super) cut_bytes: u64,
    /// What is to be taken out: position from and to, first and last offset that are lost.
    pub(super) excise: Vec<(u64, u64, Offset, Offset)>,
    /// Batches whose base offset or epoch is wrong: position, and the header as it should be.
    pub(super) repairs: Vec<(u64, BatchHeader)>,
    pub(super) read_bytes: u64,
}

/// Scans a segment from its start to its end.
pub(super) fn scan(
    files: &dyn Files,
    file: &File,
    base: Offset,
    context: &ScanContext,
    carried: &mut Carried,
) -> io::Result<Scanned> {
    let mut scanner = Scanner::new(files, file)?;
    let mut segment = Segment::new(base, context.created_ms);
    let mut sink = Sink::new(base, Some(file.clone()), 0);
    let (mut excise, mut repairs) = (Vec::new(), Vec::new());
    let mut scratch = Scratch::new();
    let mut position = 0;
    carried.next = carried.next.max(base);
    loop {
        let follows = Follows {
            segment: base,
            next: carried.next,
            epoch: carried.epoch,
            segment_end: context.segment_end,
        };
        let defect = match scanner.batch(position, &follows)? {
            Ok(header) => {
                if let Some(view) = scanner.view(position, &header)? {
                    let found = view.header();
                    if (found.base_offset, found.partition_leader_epoch)
                        != (header.base_offset, header.partition_leader_epoch)
                    {
                        repairs.push((position, header));
                    }
                    note_batch(carried, &view, header, &mut segment, &mut scratch);
                }
                index_batch(&mut segment, &mut sink, &header, position, context.config.index_interval_bytes);
                position += header.total_bytes() as u64;
                carried.next = header.next_offset();
                continue;
            }
            Err(defect) => defect,
        };
        let over = matches!(defect, Defect::EndOfFile | Defect::Zeros);
        let found = if over { None } else { scanner.resync(position, &follows)? };
        let rest = scanner.len - position;
        let until = found.map_or(scanner.len, |(at, _)| at);
        let torn = context.segment_end.is_none()
            && carried.next >= context.recovery_point
            && within_one_write(&mut scanner, position, context.write_bytes_max)?
            && has_unwritten_sector(&mut scanner, position, until)?;
        let place = if torn { Where::TornWrite } else { Where::Amidst };
        let first_in_log = context.is_first && position == 0;
        match (decide(defect, place, found.is_some(), first_in_log), found) {
            (Decision::Excise, Some((at, header))) => {
                excise.push((position, at, carried.next, header.base_offset - 1));
                position = at;
                carried.next = header.base_offset;
            }
            (end, _) => {
                segment.size = position;
                sink.written = position;
                sink.allocated = position;
                index_time(&segment, &mut sink);
                let read_bytes = scanner.read_bytes;
                return Ok(Scanned {
                    segment,
                    sink,
                    end,
                    defect,
                    cut_bytes: rest,
                    excise,
                    repairs,
                    read_bytes,
                });
            }
        }
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

/// Learns epochs, producers and aborted transactions from a batch.
fn note_batch(
    carried: &mut Carried,
    view: &BatchView,
    header: BatchHeader,
    segment: &mut Segment,
    scratch: &mut Scratch,
) {
    if header.partition_leader_epoch != carried.epoch {
        carried.epoch = header.partition_leader_epoch;
        carried.epochs.assign(carried.epoch, header.base_offset);
    }
    if !header.has_producer_id() || header.base_offset < carried.producers_from {
        return;
    }
    let marker =
        if header.attributes.is_control() { read_marker(view, scratch).ok().flatten() } else { None };
    let planned = [PlannedBatch { header, marker }];
    // What is in the log was accepted when it came: nothing is refused.
    if let Ok(Checked::Accept(update)) = carried.producers.check(&planned, AppendOrigin::Replication, 0) {
        segment.aborted.extend(carried.producers.apply(update));
    }
}

/// Builds the indexes of a sealed segment from its batches, as far as they are valid.
pub(super) fn rebuild_indexes(
    files: &dyn Files,
    file: &File,
    base: Offset,
    size: u64,
    interval_bytes: u32,
) -> io::Result<(OffsetIndex, TimeIndex)> {
    let mut scanner = Scanner::new(files, file)?;
    scanner.len = scanner.len.min(size);
    let mut segment = Segment::new(base, 0);
    let mut sink = Sink::new(base, None, 0);
    let mut follows = Follows::at(base);
    let mut position = 0;
    while let Ok(header) = scanner.batch(position, &follows)? {
        index_batch(&mut segment, &mut sink, &header, position, interval_bytes);
        position += header.total_bytes() as u64;
        follows.passed(&header);
    }
    index_time(&segment, &mut sink);
    Ok((sink.offsets, sink.times))
}

/// Reads the end of a segment that was closed cleanly, from the last entry of its index on, into the rest of what is
/// known about it. The offset after its last batch; None if it does not end with a whole batch.
pub(super) fn check_end(
    files: &dyn Files,
    file: &File,
    segment: &mut Segment,
    sink: &mut Sink,
) -> io::Result<Option<Offset>> {
    let mut scanner = Scanner::new(files, file)?;
    let mut follows = Follows::at(segment.base);
    if let Ok(first) = scanner.batch(0, &follows)? {
        segment.first_timestamp = Some(first.max_timestamp);
    }
    segment.max_timestamp = sink.times.last();
    let mut position = sink.offsets.last_position();
    sink.bytes_since_index = scanner.len.saturating_sub(position);
    while position < scanner.len {
        let Some(header) = scanner.valid_header(position)?.filter(|header| follows.admits(header)) else {
            return Ok(None);
        };
        segment.note(&header);
        position += header.total_bytes() as u64;
        follows.passed(&header);
    }
    segment.size = position;
    sink.written = position;
    Ok(Some(follows.next))
}

/// Whether there is a valid batch anywhere in a segment's file.
pub(super) fn holds_a_batch(files: &dyn Files, file: &File, base: Offset) -> io::Result<bool> {
    let mut scanner = Scanner::new(files, file)?;
    let follows = Follows::at(base);
    Ok(match scanner.batch(0, &follows)? {
        Ok(_) => true,
        Err(Defect::EndOfFile | Defect::Zeros) => false,
        Err(_) => scanner.resync(0, &follows)?.is_some(),
    })
}

/// The offset after the last batch of a file that is valid from its start.
pub(super) fn valid_end(files: &dyn Files, file: &File, base: Offset) -> io::Result<Offset> {
    let mut scanner = Scanner::new(files, file)?;
    let mut follows = Follows::at(base);
    let mut position = 0;
    while let Ok(header) = scanner.batch(position, &follows)? {
        position += header.total_bytes() as u64;
        follows.passed(&header);
    }
    Ok(follows.next)
}

/// Copies the first `size` bytes of a file to a new one, without the ranges in `excise` (position from and to).
pub(super) fn copy_without(
    files: &dyn Files,
    from: &File,
    to: &Path,
    excise: &[(u64, u64, Offset, Offset)],
    size: u64,
) -> io::Result<()> {
    let target = files.open(to, OpenMode::DirectCreate)?;
    files.set_len(&target, 0)?;
    let (mut at, mut written) = (0, 0);
    let ends = excise.iter().map(|(from, to, ..)| (*from, *to)).chain([(size, size)]);
    for (stop, resume) in ends {
        while at < stop {
            let len = REPLAY_READ_BYTES.min((stop - at) as usize);
            let bytes = files.read_at(from, at, len)?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            files.write_at(&target, written, &bytes)?;
            at += bytes.len() as u64;
            written += bytes.len() as u64;
        }
        at = resume;
    }
    files.sync(&target)
}

/// Cuts a partition's files so that no batch reaches `offset` or beyond.
pub(super) fn cut_at(files: &dyn Files, dir: &Path, offset: Offset) -> io::Result<()> {
    let mut bases = Vec::new();
    for entry in files.list(dir)? {
        match parse_file_name(&entry.name) {
            Some((base, FileKind::Log)) => bases.push(base),
            Some((at, FileKind::ProducerSnapshot)) if at > offset => {
                files.remove_file(&dir.join(&entry.name))?;
            }
            _ => {}
        }
    }
    bases.sort_unstable();
    let keep = bases.iter().rposition(|base| *base <= offset).unwrap_or(0);
    for base in bases.iter().skip(keep + 1).rev() {
        for kind in FileKind::ALL {
            files.remove_file(&dir.join(file_name(*base, kind)))?;
        }
    }
    let Some(base) = bases.get(keep).copied() else { return Ok(()) };
    let file = files.open(&dir.join(file_name(base, FileKind::Log)), OpenMode::Direct)?;
    let mut scanner = Scanner::new(files, &file)?;
    let mut follows = Follows::at(base);
    let mut position = 0;
    while let Ok(header) = scanner.batch(position, &follows)?
        && header.last_offset() < offset
    {
        position += header.total_bytes() as u64;
        follows.passed(&header);
    }
    files.set_len(&file, position)?;
    files.sync(&file)?;
    files.sync_dir(dir)
}
