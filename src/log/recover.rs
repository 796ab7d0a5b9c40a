//! What a segment's file really holds: a streaming scan that believes neither sizes nor indexes, and the decision
//! what to do where it is damaged.

use std::io;
use std::path::Path;

use super::config::LogConfig;
use super::damage::Stretch;
use super::epochs::Epochs;
use super::index::{OffsetIndex, TimeIndex};
use super::names::{FileKind, file_name, parse_file_name};
use super::partition::read_marker;
use super::producers::{Checked, PlannedBatch, Producers};
use super::scanner::{Defect, Follows, Scanner};
use super::segment::{Segment, Sink, index_batch, index_time};
use super::types::AppendOrigin;
use crate::base::limits::REPLAY_READ_BYTES;
use crate::base::{LeaderEpoch, Offset};
use crate::io::{File, Files, OpenMode};
use crate::wire::record::{BatchHeader, BatchView, HEADER_BYTES, Scratch};

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

/// What the scan of a segment needs to know.
pub(super) struct ScanContext<'a> {
    pub(super) config: &'a LogConfig,
    /// Where the next segment begins; None for the last one.
    pub(super) segment_end: Option<Offset>,
    /// Where the log ends, if that is known.
    pub(super) log_end: Option<Offset>,
    /// Everything below was flushed or acknowledged.
    pub(super) recovery_point: Offset,
    /// Whether no segment comes before.
    pub(super) is_first: bool,
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
    /// Where offsets are missing before a batch, although nothing is damaged there: its position, first and last of them.
    pub(super) gaps: Vec<(u64, Offset, Offset)>,
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
    let (mut excise, mut repairs, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    let mut scratch = Scratch::new();
    let mut position = 0;
    carried.next = carried.next.max(base);
    loop {
        let follows = Follows {
            segment: base,
            next: carried.next,
            epoch: carried.epoch,
            segment_end: context.segment_end,
            log_end: context.log_end,
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
                if header.base_offset > carried.next {
                    gaps.push((position, carried.next, header.base_offset - 1));
                }
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
            && scanner.looks_torn(position, until)?;
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
                    gaps,
                    repairs,
                    read_bytes,
                });
            }
        }
    }
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

/// What a segment's file holds.
pub(super) struct Examined {
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
    /// What is no batch that can be read.
    pub(super) damage: Vec<Stretch>,
}

/// Reads `size` bytes of a segment that holds the offsets from the first to below the second of `offsets`: what indexes
/// should say, and where it is damaged.
pub(super) fn examine(
    files: &dyn Files,
    file: &File,
    (base, end): (Offset, Offset),
    size: u64,
    interval_bytes: u32,
) -> io::Result<Examined> {
    let mut scanner = Scanner::new(files, file)?;
    scanner.len = scanner.len.min(size);
    let mut segment = Segment::new(base, 0);
    let mut sink = Sink::new(base, None, 0);
    let mut damage = Vec::new();
    let mut follows = Follows { segment_end: Some(end), ..Follows::at(base) };
    let mut position = 0;
    loop {
        let found = scanner.batch(position, &follows)?;
        if let Err(defect) = found {
            let over = matches!(defect, Defect::EndOfFile | Defect::Zeros);
            let next = if over { None } else { scanner.resync(position, &follows)? };
            let until = next.map_or(scanner.len, |(at, _)| at);
            let (first, behind) = (follows.next, next.map_or(end, |(_, header)| header.base_offset));
            if first < behind && until > position {
                let (what, last) = (defect.describe(), behind - 1);
                damage.push(Stretch { segment: base, position, until, first, last, what });
            }
            let Some((at, header)) = next else { break };
            (position, follows.next) = (at, header.base_offset);
            continue;
        }
        let Ok(header) = found else { break };
        let until = position + header.total_bytes() as u64;
        let on_disk = scanner.view(position, &header)?.map(|view| view.header().base_offset);
        if on_disk == Some(header.base_offset) {
            index_batch(&mut segment, &mut sink, &header, position, interval_bytes);
        } else {
            let (first, last) = (header.base_offset, header.last_offset());
            let what = "its base offset is not the one that follows";
            damage.push(Stretch { segment: base, position, until, first, last, what });
        }
        position = until;
        follows.passed(&header);
    }
    index_time(&segment, &mut sink);
    Ok(Examined { offsets: sink.offsets, times: sink.times, damage })
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
    if !is_named_rightly(&mut scanner, (&sink.offsets, &sink.times))? {
        return Ok(None);
    }
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

/// Whether the batch that the last entry of a time index names has the timestamp that it says.
fn is_named_rightly(
    scanner: &mut Scanner<'_>,
    (offsets, times): (&OffsetIndex, &TimeIndex),
) -> io::Result<bool> {
    let Some((time, at)) = times.last() else { return Ok(true) };
    let mut position = offsets.lookup(at).0;
    loop {
        let Ok(header) = BatchHeader::parse(scanner.bytes(position, HEADER_BYTES)?) else { return Ok(false) };
        if header.last_offset() >= at {
            return Ok(header.base_offset <= at && header.max_timestamp == time);
        }
        position += header.total_bytes() as u64;
    }
}

/// Whether the last entry of a sealed segment's time index says what the segment's largest timestamp is: retention goes by
/// it. Reads batches from the one that it names on, mostly the last.
pub(super) fn ends_rightly(
    files: &dyn Files,
    file: &File,
    (offsets, times): (&OffsetIndex, &TimeIndex),
) -> io::Result<bool> {
    let mut scanner = Scanner::new(files, file)?;
    if !is_named_rightly(&mut scanner, (offsets, times))? {
        return Ok(false);
    }
    let Some((time, at)) = times.last() else { return Ok(true) };
    let mut position = offsets.lookup(at).0;
    while let Ok(header) = BatchHeader::parse(scanner.bytes(position, HEADER_BYTES)?) {
        if header.max_timestamp > time {
            return Ok(false);
        }
        position += header.total_bytes() as u64;
    }
    Ok(true)
}

/// What is wrong with a segment's file in which there is no valid batch anywhere; None if there is one.
pub(super) fn without_a_batch(files: &dyn Files, file: &File, base: Offset) -> io::Result<Option<Defect>> {
    let mut scanner = Scanner::new(files, file)?;
    let follows = Follows::at(base);
    let Err(defect) = scanner.batch(0, &follows)? else { return Ok(None) };
    let over = matches!(defect, Defect::EndOfFile | Defect::Zeros);
    Ok((over || scanner.resync(0, &follows)?.is_none()).then_some(defect))
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
