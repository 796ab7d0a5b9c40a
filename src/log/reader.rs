//! Reading: from the cache at once, or from the disk into the cache and then from there.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::ahead::stretch_end;
use super::cache::{OpenSegment, Reserved, Run, RunView};
use super::damage::{Stretch, replace_indexes};
use super::error::LogError;
use super::flow::{Op, parse_indexes};
use super::index::{OffsetIndex, TimeIndex};
use super::names::FileKind;
use super::partition::{Partition, State};
use super::recover;
use super::segment::storage;
use super::types::{Env, LogEffect, ReadData, ReadRequest};
use crate::base::Offset;
use crate::base::limits::{BLOCK_BYTES, LOG_READ_BYTES_MAX, LOG_READ_BYTES_MIN};
use crate::io::{File, FileJob, FileJobOutcome, OpenMode};
use crate::wire::record::{BatchHeader, BatchView, HEADER_BYTES};

/// Who waits for a read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiter {
    /// The caller of [`Partition::read`].
    Caller(u64, ReadRequest),
    /// A search by timestamp that wants the batches at an offset.
    Search(u64, Offset),
}

/// A read from a segment's file, for those who wait for it, or for somebody who will ask for it.
pub(super) struct Read {
    segment: Offset,
    /// A batch begins here.
    position: u64,
    /// What is known of that batch.
    expected: Expected,
    /// Where it ends.
    pub(super) end: u64,
    /// An offset in the batch that begins there; None where it may end within a batch.
    pub(super) end_offset: Option<Offset>,
    waiters: Vec<Waiter>,
    /// While nobody waits for it.
    ahead: Option<Reserved>,
}

/// What is known of the batch that a read begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Its base offset is not below.
    pub(super) from: Offset,
    /// It has this offset, as the index says: mostly its last one.
    pub(super) holds: Option<Offset>,
    /// No batch of the segment goes beyond.
    pub(super) end: Offset,
}

impl Read {
    /// Of something that nobody waits for: from a segment and position to a position and an offset.
    pub(super) fn ahead(
        from: (Offset, u64),
        to: (u64, Offset),
        expected: Expected,
        reserved: Reserved,
    ) -> Read {
        Read {
            segment: from.0,
            position: from.1,
            expected,
            end: to.0,
            end_offset: Some(to.1),
            waiters: Vec::new(),
            ahead: Some(reserved),
        }
    }

    /// Whether it has the batch that begins at a position.
    pub(super) fn holds(&self, segment: Offset, position: u64) -> bool {
        self.segment == segment && (self.position..self.end).contains(&position)
    }

    /// Its segment, and from where to where.
    #[cfg(test)]
    pub(super) fn range(&self) -> (Offset, u64, u64) {
        (self.segment, self.position, self.end)
    }

    /// Where it begins in the file.
    fn start(&self) -> u64 {
        block_start(self.position)
    }

    /// Whole blocks.
    fn len(&self) -> usize {
        (self.end - self.start()).next_multiple_of(BLOCK_BYTES as u64) as usize
    }
}

/// What is read begins with a whole block.
pub(super) fn block_start(position: u64) -> u64 {
    position - position % BLOCK_BYTES as u64
}

/// A segment that is open.
pub(super) struct Place {
    pub(super) file: File,
    /// Bytes of the file that hold written batches.
    pub(super) limit: u64,
}

/// How a stretch of bytes is read as batches.
enum Parsed {
    /// Whole batches that fit each other: the run, its first offset, and where it ends in the file.
    Run(Offset, Run, u64),
    /// Not even the first batch is whole: it needs this many bytes.
    Need(usize),
    /// The first batch does not fit: where, and what is wrong.
    Unfit(u64, &'static str),
}

/// A position that is known to be the end of a run, and the offset behind that run.
pub(super) type Behind = (u64, Offset);

impl Waiter {
    fn offset(&self) -> Offset {
        match self {
            Waiter::Caller(_, request) => request.offset,
            Waiter::Search(_, offset) => *offset,
        }
    }

    fn max_bytes(&self) -> usize {
        match self {
            Waiter::Caller(_, request) => request.max_bytes,
            Waiter::Search(..) => LOG_READ_BYTES_MAX,
        }
    }
}

impl Partition {
    /// Reads whole batches. None: [`LogEffect::ReadDone`] follows with this ticket. An offset equal to `upper` (or
    /// to the log's end) gives no bytes and is no error.
    pub fn read(
        &mut self,
        env: &mut Env,
        request: ReadRequest,
        ticket: u64,
    ) -> Option<Result<ReadData, LogError>> {
        let answer = self.read_now(env, &request);
        match &answer {
            Some(Ok(data)) => self.answered(env, request.offset, data, false),
            Some(Err(_)) => {}
            None => {
                self.read_later(env, Waiter::Caller(ticket, request), None);
                self.waits(env, request.offset);
            }
        }
        answer
    }

    /// An answer that needs no disk.
    fn read_now(&mut self, env: &mut Env, request: &ReadRequest) -> Option<Result<ReadData, LogError>> {
        if matches!(self.state, State::Truncating | State::Closed) {
            return Some(Err(LogError::Closed));
        }
        let (offset, start, end) = (request.offset, self.log_start, self.log_end);
        if offset < start || offset > end {
            return Some(Err(LogError::OffsetOutOfRange { offset, start, end }));
        }
        let upper = request.upper.min(self.durable_end);
        let empty = ReadData { slices: Vec::new(), bytes: 0, next_offset: offset };
        if offset >= upper {
            return Some(Ok(empty));
        }
        if let Some(error) = self.refuse_damaged(offset) {
            return Some(Err(error));
        }
        self.collect(env, empty, upper, request.max_bytes, request.min_one_message).map(Ok)
    }

    /// Slices of consecutive runs in memory. None if the first one is not there.
    pub(super) fn collect(
        &mut self,
        env: &mut Env,
        mut data: ReadData,
        upper: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Option<ReadData> {
        let mut found = false;
        while data.next_offset < upper {
            let cached = env.cache.run(self.slot, data.next_offset).map(|(_, run)| run.view());
            let Some(run) = cached.or_else(|| self.writer.run(data.next_offset)) else { break };
            found = true;
            let room = max_bytes.saturating_sub(data.bytes);
            let (slice, next) = slice_run(&run, data.next_offset, upper, room, min_one && data.bytes == 0);
            let complete = next == run.next;
            data.next_offset = next;
            if !slice.is_empty() {
                data.bytes += slice.len();
                data.slices.push(slice);
            }
            if !complete || data.bytes >= max_bytes {
                break;
            }
        }
        found.then_some(data)
    }

    /// Starts what brings `waiter`'s batches into the cache. `from` is known to be at or before them.
    pub(super) fn read_later(&mut self, env: &mut Env, waiter: Waiter, from: Option<Behind>) {
        let offset = waiter.offset();
        let Some(base) = self.segment_of(offset) else {
            unreachable!("offset {offset} is not below the first segment")
        };
        // Reading on where the last read ended: much more is likely to be wanted.
        let sequential = self.readers.is_sequential(offset);
        let want = if sequential { LOG_READ_BYTES_MAX } else { waiter.max_bytes() };
        let want = want.clamp(LOG_READ_BYTES_MIN, LOG_READ_BYTES_MAX);
        let known = self.known_before(env, base, offset, from);
        let expected_end = self.offset_behind(base);
        let found = self.place(env, base, |offsets, limit| {
            let (position, expected) = begin_at(offsets, base, offset, known, expected_end);
            (position, expected, stretch_end(offsets, position, want, limit))
        });
        let Some((place, (position, expected, end))) = found else {
            return self.load_segment(env, base, Some(waiter), false);
        };
        let damage = self.damaged.next_start(base, offset).unwrap_or(u64::MAX);
        for (_, op) in &mut self.ops {
            if let Op::Read(read) = op
                && read.holds(base, position)
            {
                read.ahead = None;
                return read.waiters.push(waiter);
            }
        }
        let to = (block_start(position) + want as u64).min(place.limit).max(position + 1);
        let (end, end_offset) = match end.filter(|(end, _)| sequential && *end <= to) {
            Some((end, offset)) => (end, Some(offset.unwrap_or_else(|| self.offset_behind(base)))),
            None => (to, None),
        };
        let there = self.what_is_there(env, base, offset, position);
        let there = there.into_iter().chain([damage]).filter(|at| (position + 1..end).contains(at)).min();
        let (end, end_offset) = there.map_or((end, end_offset), |there| (there, None));
        let waiters = vec![waiter];
        let read = Read { segment: base, position, expected, end, end_offset, waiters, ahead: None };
        self.submit_read(env, &place.file, read);
    }

    /// The next position behind this one that begins what is being read already, or is in the cache.
    fn what_is_there(&self, env: &Env, base: Offset, offset: Offset, position: u64) -> Option<u64> {
        let reads = self.ops.iter().filter_map(|(_, op)| match op {
            Op::Read(read) if read.segment == base => Some(read.position),
            _ => None,
        });
        let cached = env.cache.peek_next_run(self.slot, offset).filter(|run| run.segment == base);
        reads.chain(cached.map(|run| run.position)).filter(|at| *at > position).min()
    }

    pub(super) fn submit_read(&mut self, env: &mut Env, file: &File, read: Read) {
        let (start, len) = (read.start(), read.len());
        let token = self.token(Op::Read(read));
        env.disk.read(file, start, len, token);
    }

    /// A segment's file, and what its index and the end of what is written in it say; None if it is not open.
    pub(super) fn place<R>(
        &self,
        env: &mut Env,
        base: Offset,
        look: impl FnOnce(&OffsetIndex, u64) -> R,
    ) -> Option<(Place, R)> {
        if let Some(sink) = self.sinks.iter().find(|sink| sink.base == base)
            && let Some(file) = &sink.file
        {
            let limit = sink.written;
            return Some((Place { file: file.clone(), limit }, look(&sink.offsets, limit)));
        }
        let open = env.cache.segment(self.slot, base)?;
        let limit = self.size_on_disk(base);
        Some((Place { file: open.file.clone(), limit }, look(&open.offsets, limit)))
    }

    /// Bytes of a segment that are written.
    fn size_on_disk(&self, base: Offset) -> u64 {
        let sink = self.sinks.iter().find(|sink| sink.base == base);
        sink.map_or_else(|| self.segments.get(base).map_or(0, |s| s.size), |sink| sink.written)
    }

    /// Opens a sealed segment and reads its indexes; builds them anew if they are missing or wrong. With
    /// `verify`, the end of its time index is compared with its batches.
    pub(super) fn load_segment(&mut self, env: &mut Env, base: Offset, waiter: Option<Waiter>, verify: bool) {
        for (_, op) in &mut self.ops {
            if let Op::Load(loading, waiters) = op
                && *loading == base
            {
                return waiters.extend(waiter);
            }
        }
        let [log, index, times] =
            [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex].map(|kind| self.path(base, kind));
        let size = self.size_on_disk(base);
        let interval = self.config.index_interval_bytes;
        let end = self.offset_behind(base);
        // The indexes of one that is written to are in memory.
        let has_indexes = self.sinks.iter().any(|sink| sink.base == base);
        let work = move |files: &dyn crate::io::Files| {
            let file = files.open(&log, OpenMode::Direct)?;
            if has_indexes {
                let (offsets, times) = (OffsetIndex::new(base), TimeIndex::new(base));
                return Ok(loaded(OpenSegment { file, offsets, times }, Vec::new(), false));
            }
            let indexes = parse_indexes(base, files.read(&index).ok(), files.read(&times).ok(), size);
            let are_indexes = indexes.is_some();
            if let Some((offsets, times)) = indexes
                && (!verify || recover::ends_rightly(files, &file, (&offsets, &times))?)
            {
                return Ok(loaded(OpenSegment { file, offsets, times }, Vec::new(), verify));
            }
            let examined = recover::examine(files, &file, (base, end), size, interval)?;
            if are_indexes && examined.damage.is_empty() {
                replace_indexes(files, &[index, times], &examined)?;
            }
            let recover::Examined { offsets, times, damage } = examined;
            Ok(loaded(OpenSegment { file, offsets, times }, damage, true))
        };
        let token = self.token(Op::Load(base, waiter.into_iter().collect()));
        env.disk.background(FileJob::Run(Box::new(work)), token);
    }

    pub(super) fn on_loaded(
        &mut self,
        env: &mut Env,
        base: Offset,
        waiters: Vec<Waiter>,
        result: io::Result<FileJobOutcome>,
        effects: &mut Vec<LogEffect>,
    ) {
        let open = match result {
            Ok(FileJobOutcome::Ran(value)) => value.downcast::<Loaded>().ok(),
            Ok(_) => None,
            Err(error) => {
                let path = self.path(base, FileKind::Log);
                return self.fail_waiters(waiters, &storage("opening", &path)(error), effects);
            }
        };
        let Some(open) = open else { unreachable!("loading gives an open segment") };
        let (open, damage, verified) = *open;
        self.note_damage(&self.path(base, FileKind::Log), damage, effects);
        if verified {
            self.segments.set_largest(base, open.times.last());
        }
        if let Some(sink) = self.sinks.iter_mut().find(|sink| sink.base == base) {
            // Not into the cache, which may be too small for the open segments of all partitions that are read.
            sink.file.get_or_insert(open.file);
        } else if self.segments.contains(base) && env.cache.segment(self.slot, base).is_none() {
            env.cache.insert_segment(self.slot, base, Arc::new(open));
        }
        for waiter in waiters {
            self.resume(env, waiter, None, effects);
        }
    }

    pub(super) fn on_read(
        &mut self,
        env: &mut Env,
        mut read: Read,
        result: io::Result<Bytes>,
        effects: &mut Vec<LogEffect>,
    ) {
        let path = self.path(read.segment, FileKind::Log);
        let waiters = std::mem::take(&mut read.waiters);
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => return self.fail_waiters(waiters, &storage("reading", &path)(error), effects),
        };
        let there =
            matches!(self.state, State::Open | State::Fenced(_)) && self.segments.contains(read.segment);
        let Some((place, ())) = self.place(env, read.segment, |_, _| ()).filter(|_| there) else {
            // Deleted, truncated, or thrown out of the cache meanwhile: from the start.
            for waiter in waiters {
                self.resume(env, waiter, None, effects);
            }
            return;
        };
        read.expected.end = self.offset_behind(read.segment);
        let examined = self.damaged.was_examined(read.segment);
        let short = (bytes.len() as u64) < place.limit.saturating_sub(read.start()).min(read.len() as u64);
        match parse_run(&read, &bytes, place.limit, examined) {
            Parsed::Need(need) if !short && read.position + need as u64 <= place.limit => {
                if !waiters.is_empty() {
                    let end = read.position + need as u64;
                    let read = Read { end, end_offset: None, waiters, ahead: None, ..read };
                    self.submit_read(env, &place.file, read);
                }
            }
            Parsed::Run(first, mut run, end) => {
                let next = run.next;
                run.ahead = read.ahead.take();
                // An offset in a gap before the first batch is answered by that batch.
                let lowest = waiters.iter().map(Waiter::offset).min().unwrap_or(first);
                env.cache.insert_run(self.slot, first.min(lowest.max(read.segment)), run);
                for waiter in waiters {
                    let from = (waiter.offset() >= next).then_some((end, next));
                    if from.is_some_and(|(from, _)| from >= place.limit) {
                        let behind = self.segments.next_base(read.segment).unwrap_or(next);
                        self.note_short(read.segment, next, behind, effects);
                        self.skip_to_next_segment(env, read.segment, waiter, effects);
                    } else {
                        self.resume(env, waiter, from, effects);
                    }
                }
            }
            Parsed::Need(_) if read.position >= place.limit => {
                let behind = self.segments.next_base(read.segment).unwrap_or(read.expected.from);
                self.note_short(read.segment, read.expected.from, behind, effects);
                for waiter in waiters {
                    self.skip_to_next_segment(env, read.segment, waiter, effects);
                }
            }
            Parsed::Need(_) | Parsed::Unfit(..) if waiters.is_empty() => {}
            Parsed::Need(_) => {
                let unfit = (read.position, "a batch goes beyond the end of the segment");
                self.examine(env, read.segment, unfit, waiters, effects);
            }
            Parsed::Unfit(position, what) => {
                self.examine(env, read.segment, (position, what), waiters, effects);
            }
        }
    }

    /// The segment ends before the waiter's offset: a gap that compaction left.
    fn skip_to_next_segment(
        &mut self,
        env: &mut Env,
        base: Offset,
        waiter: Waiter,
        effects: &mut Vec<LogEffect>,
    ) {
        let next = self.segments.next_base(base);
        let waiter = match (waiter, next) {
            (Waiter::Caller(ticket, request), Some(offset)) => {
                Waiter::Caller(ticket, ReadRequest { offset, ..request })
            }
            (Waiter::Search(id, _), Some(offset)) => Waiter::Search(id, offset),
            (Waiter::Caller(ticket, request), None) => {
                let result = self.read_now(env, &request).unwrap_or_else(|| Err(self.ends_early(base)));
                return effects.push(LogEffect::ReadDone { ticket, result });
            }
            (Waiter::Search(id, _), None) => return self.exhaust_search(env, id, effects),
        };
        self.resume(env, waiter, None, effects);
    }

    /// Why what was acknowledged is neither in memory nor in the last segment.
    fn ends_early(&self, base: Offset) -> LogError {
        if let State::Fenced(error) = &self.state {
            return error.clone();
        }
        LogError::Corrupt {
            path: self.path(base, FileKind::Log).display().to_string(),
            position: self.size_on_disk(base),
            what: "the last segment ends before the log does".into(),
        }
    }

    /// Answers a waiter from the cache, or reads on for it.
    pub(super) fn resume(
        &mut self,
        env: &mut Env,
        waiter: Waiter,
        from: Option<Behind>,
        effects: &mut Vec<LogEffect>,
    ) {
        match waiter {
            Waiter::Caller(ticket, request) => match self.read_now(env, &request) {
                Some(result) => {
                    if let Ok(data) = &result {
                        self.answered(env, request.offset, data, true);
                    }
                    effects.push(LogEffect::ReadDone { ticket, result });
                }
                None => self.read_later(env, waiter, from),
            },
            Waiter::Search(id, offset) => self.continue_search(env, id, offset, from, effects),
        }
    }

    pub(super) fn fail_waiters(
        &mut self,
        waiters: Vec<Waiter>,
        error: &LogError,
        effects: &mut Vec<LogEffect>,
    ) {
        for waiter in waiters {
            match waiter {
                Waiter::Caller(ticket, _) => {
                    effects.push(LogEffect::ReadDone { ticket, result: Err(error.clone()) });
                }
                Waiter::Search(id, _) => self.fail_search(id, error.clone(), effects),
            }
        }
    }
}

/// What loading a segment gives: also what is damaged, where its index had to be built anew, and whether its time index ends
/// as its batches do.
type Loaded = (OpenSegment, Vec<Stretch>, bool);

fn loaded(open: OpenSegment, damage: Vec<Stretch>, verified: bool) -> Box<dyn std::any::Any + Send> {
    Box::new((open, damage, verified))
}

/// Where a read for an offset begins, and what the batch there is to be like: where the index says, or behind a run or damage
/// that is known to end further on.
pub(super) fn begin_at(
    offsets: &OffsetIndex,
    base: Offset,
    offset: Offset,
    known: Option<Behind>,
    end: Offset,
) -> (u64, Expected) {
    let (position, holds) = offsets.lookup(offset);
    match known.filter(|(at, _)| *at >= position) {
        Some((at, from)) => (at, Expected { from, holds: None, end }),
        None => (position, Expected { from: base, holds, end }),
    }
}

/// The batches of a run, one after the other.
struct RunWalk<'a> {
    expected: Expected,
    bytes: &'a Bytes,
    /// Where `bytes` begin in the file.
    start: u64,
    at: usize,
    /// The offset behind the last batch.
    next: Option<Offset>,
    /// The last batch: where it begins, and the offset behind the one before.
    last: usize,
    before: Option<Offset>,
    /// Offsets are missing before the last batch, or it is not known where it should begin.
    is_unsure: bool,
    /// The header behind the last batch agrees with it.
    agreed: bool,
    marks: Vec<(Offset, u64)>,
}

impl<'a> RunWalk<'a> {
    fn new(read: &Read, bytes: &'a Bytes, at: usize) -> RunWalk<'a> {
        RunWalk {
            expected: read.expected,
            bytes,
            start: read.start(),
            at,
            next: None,
            last: at,
            before: None,
            is_unsure: false,
            agreed: false,
            marks: Vec::new(),
        }
    }

    /// The next header, or why it does not fit what is before it.
    fn header(&self, left: &[u8]) -> Result<BatchHeader, &'static str> {
        let header = BatchHeader::parse(left).map_err(|_| "no batch begins there")?;
        let Expected { from, holds, end } = self.expected;
        let (first, last) = (header.base_offset, header.last_offset());
        if first < self.next.unwrap_or(from) || header.last_offset_delta < 0 || header.next_offset() > end {
            return Err("the batch's offsets do not follow the ones before it");
        }
        if self.next.is_none() && holds.is_some_and(|holds| !(first..=last).contains(&holds)) {
            return Err("not the batch that the index names");
        }
        if self.next.is_some_and(|next| first > next) && !self.last_is_valid() {
            return Err("offsets are missing before it");
        }
        Ok(header)
    }

    fn take(&mut self, header: &BatchHeader) {
        let position = self.start + self.at as u64;
        if self.marks.last().is_none_or(|(_, mark)| position - mark >= BLOCK_BYTES as u64) {
            self.marks.push((header.base_offset, position));
        }
        let Expected { from, holds, .. } = self.expected;
        self.is_unsure = match (self.next, holds) {
            (None, Some(holds)) => header.last_offset() != holds,
            (next, _) => header.base_offset > next.unwrap_or(from),
        };
        (self.last, self.before, self.agreed) = (self.at, self.next, false);
        self.next = Some(header.next_offset());
        self.at += header.total_bytes();
    }

    /// Whether the last batch has a right checksum, so that its last offset is as it was written.
    fn last_is_valid(&self) -> bool {
        let bytes = self.bytes.get(self.last..self.at).unwrap_or_default();
        bytes.is_empty() || BatchView::parse(bytes).is_ok_and(|view| view.check_crc().is_ok())
    }

    /// Whether what the last batch says of its offsets can be believed, although what is behind it does not say so: its
    /// checksum is right, which is not over its base offset, and that is the one expected. Where the segment was examined,
    /// offsets that are missing were missed then.
    fn is_certain(&self, examined: bool) -> bool {
        (examined || !self.is_unsure) && self.last_is_valid()
    }

    /// As [`RunWalk::is_certain`], if nothing behind it contradicts; `whole` where the segment ends behind it.
    fn ends_well(&self, whole: bool, examined: bool) -> bool {
        self.agreed || (whole && self.next == Some(self.expected.end)) || self.is_certain(examined)
    }

    fn drop_last(&mut self) {
        let position = self.start + self.last as u64;
        self.marks.pop_if(|(_, mark)| *mark == position);
        (self.at, self.next) = (self.last, self.before);
    }
}

/// The batches of a read that are whole, from its position on, as far as they fit each other.
///
/// Neither base offset nor length is under a batch's checksum, and to check those of all that is read would cost too much: what
/// a batch says of itself is believed where the one behind it, or the end of the segment, agrees. Where not, its checksum is
/// looked at; and a run ends before what cannot be believed.
fn parse_run(read: &Read, bytes: &Bytes, limit: u64, examined: bool) -> Parsed {
    let start = read.start();
    let skip = (read.position - start) as usize;
    // What begins behind its end belongs to another read.
    let limit_here = if read.end_offset.is_some() { limit.min(read.end) } else { limit };
    let have = bytes.len().min(limit_here.saturating_sub(start) as usize);
    let mut walk = RunWalk::new(read, bytes, skip);
    let mut need = HEADER_BYTES;
    let mut unfit = None;
    while let Some(left) = bytes.get(walk.at..have).filter(|left| left.len() >= HEADER_BYTES) {
        match walk.header(left) {
            Err(what) => {
                unfit = Some((start + walk.at as u64, what));
                break;
            }
            Ok(header) => {
                need = header.total_bytes();
                if left.len() < need {
                    walk.agreed = true;
                    break;
                }
                walk.take(&header);
            }
        }
    }
    let whole = start + walk.at as u64 >= limit;
    let can_be_believed =
        if unfit.is_some() { walk.is_certain(examined) } else { walk.ends_well(whole, examined) };
    if walk.next.is_some() && !can_be_believed {
        unfit = unfit.or(Some((start + walk.last as u64, "its last offset does not fit what follows")));
        walk.drop_last();
    }
    match (walk.next, walk.marks.first().copied(), unfit) {
        (Some(next), Some((first, _)), _) => {
            let run = Run {
                segment: read.segment,
                position: read.position,
                next,
                bytes: bytes.slice(skip..walk.at),
                cost: bytes.len(),
                marks: walk.marks,
                ahead: None,
            };
            Parsed::Run(first, run, start + walk.at as u64)
        }
        (_, _, Some((position, what))) => Parsed::Unfit(position, what),
        _ => Parsed::Need(need),
    }
}

/// The part of a run from the batch that holds `offset` on, as far as it is below `upper` and fits `room`; with
/// `min_one` the first batch in any case. Gives the offset after it, or `offset` if there is none.
fn slice_run(
    run: &RunView<'_>,
    offset: Offset,
    upper: Offset,
    room: usize,
    min_one: bool,
) -> (Bytes, Offset) {
    let mark = run.marks.partition_point(|(first, _)| *first <= offset);
    let position = mark.checked_sub(1).and_then(|i| run.marks.get(i)).map_or(run.position, |(_, at)| *at);
    let mut at = position.saturating_sub(run.position) as usize;
    let mut from = None;
    let mut next = offset;
    while let Some((len, last)) = run.bytes.get(at..).and_then(peek) {
        if last >= offset {
            let start = *from.get_or_insert(at);
            if start == at && upper >= run.next && run.bytes.len() - at <= room {
                return (run.bytes.slice(at..), run.next);
            }
            let fits = at + len - start <= room || (min_one && start == at);
            if last >= upper || !fits {
                break;
            }
            next = last + 1;
        }
        at += len;
    }
    (run.bytes.slice(from.unwrap_or(at)..at), next)
}

/// Length and last offset of the batch at the start of `bytes`, whose header was checked when the run was made.
pub(super) fn peek(bytes: &[u8]) -> Option<(usize, Offset)> {
    let base = Offset::from_be_bytes(*bytes.first_chunk()?);
    let length = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    let delta = i32::from_be_bytes(*bytes.get(23..)?.first_chunk()?);
    let len = 12 + usize::try_from(length).ok()?;
    (len <= bytes.len()).then_some((len, base + i64::from(delta)))
}
