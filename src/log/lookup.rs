//! Finding records by timestamp (`UnifiedLog.fetchOffsetByTimestamp`, KIP-734).
//!
//! What a search looks at in one go is bounded, as others wait for the core meanwhile: it goes on when it is called again,
//! and records of which there are many, or may be when they are decompressed, are looked through on another thread.

use std::sync::Weak;

use bytes::Bytes;

use super::error::LogError;
use super::partition::{Partition, State};
use super::reader::{Behind, Waiter};
use super::segment::Segment;
use super::types::{Env, LogEffect, Lookup, OffsetAndTimestamp, ReadData};
use crate::base::limits::{LOOKUP_STEP_BYTES, RECORDS_UNCOMPRESSED_BYTES_MAX};
use crate::base::{Offset, WallMs};
use crate::wire::record::{BatchView, Codec, RecordError, Records, Scratch};

/// A lookup, while it goes on.
pub(super) struct Search {
    ticket: u64,
    lookup: Lookup,
    target: Target,
    upper: Offset,
    /// The segment whose time index says where to begin; None once that was done.
    segment: Option<Offset>,
    /// What the time index said: the batch with this offset has this largest timestamp.
    said: Option<(WallMs, Offset)>,
    /// Where the records end among which is searched now.
    end: Offset,
    /// The best record so far.
    best: Option<OffsetAndTimestamp>,
    /// A whole batch with a better one, as its header says: its largest timestamp, and its last offset.
    better: Option<(WallMs, Offset)>,
    /// What its batch should have, if none of the batch's records were deleted.
    unless_deleted: Option<WallMs>,
    /// What it went by was wrong: it begins anew.
    again: bool,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// The first record with at least this timestamp.
    AtLeast(WallMs),
    /// The record with the largest timestamp among some batches, if that is at least this; else the one of the batch at an
    /// offset.
    Largest(WallMs, Option<Offset>),
    /// The record with the largest timestamp of a batch.
    OfBatch,
}

/// A lookup that goes on when it is called again.
#[derive(Debug)]
pub struct Paused {
    search: u64,
    at: Offset,
    scan: Option<BatchScan>,
}

impl Paused {
    /// Whether something is to be done for it first, on another thread.
    pub fn is_heavy(&self) -> bool {
        self.scan.is_some()
    }

    /// What is to be done for it first, on another thread.
    pub fn take_scan(&mut self) -> Option<BatchScan> {
        self.scan.take()
    }
}

/// A look through the records of a batch.
#[derive(Debug)]
pub struct BatchScan {
    batch: Bytes,
    scan: Scan,
    best: Option<WallMs>,
}

impl BatchScan {
    /// What the batch has, unless nobody waits for it any more. An error if its records are more bytes than are allowed.
    pub fn run(
        &self,
        wanted: &Weak<()>,
        mut allowed: usize,
    ) -> Result<Option<OffsetAndTimestamp>, TakesLong> {
        let view = BatchView::parse(&self.batch).ok().filter(|_| wanted.strong_count() > 0);
        let Some(view) = view else { return Ok(None) };
        self.scan.in_batch(&view, self.best, &mut Scratch::new(), &mut allowed)
    }

    /// The same, however long it takes; a batch of which nobody could have stored more has nothing.
    pub fn run_long(&self, wanted: &Weak<()>) -> Option<OffsetAndTimestamp> {
        self.run(wanted, RECORDS_UNCOMPRESSED_BYTES_MAX.max(self.batch.len())).ok().flatten()
    }
}

type Found = Result<Option<OffsetAndTimestamp>, LogError>;

impl Partition {
    /// Finds a record by timestamp, below `upper`. None: [`LogEffect::LookupDone`] follows with this ticket, and
    /// [`LogEffect::LookupPaused`] may before.
    pub fn lookup(
        &mut self,
        env: &mut Env,
        lookup: Lookup,
        upper: Offset,
        ticket: u64,
        effects: &mut Vec<LogEffect>,
    ) -> Option<Found> {
        if matches!(self.state, State::Truncating | State::Closed) {
            return Some(Err(LogError::Closed));
        }
        let upper = upper.min(self.durable_end);
        let (search, offset) = match self.begin_search(lookup, upper, ticket) {
            Some((search, offset)) if offset < upper => (search, offset),
            _ => return Some(Ok(None)),
        };
        let id = self.next_search;
        self.next_search += 1;
        self.searches.insert(id, search);
        self.continue_search(env, id, offset, None, effects);
        let ended = effects.pop_if(|last| matches!(last, LogEffect::LookupDone { .. }));
        ended.and_then(|effect| match effect {
            LogEffect::LookupDone { result, .. } => Some(result),
            _ => None,
        })
    }

    /// Goes on with a lookup, with what was found in the batch that was to be looked through.
    pub fn go_on(
        &mut self,
        env: &mut Env,
        paused: &Paused,
        found: Option<OffsetAndTimestamp>,
        effects: &mut Vec<LogEffect>,
    ) {
        let Some(search) = self.searches.get_mut(&paused.search) else { return };
        search.best = found.or(search.best);
        if let (Target::AtLeast(_), Some(found)) = (search.target, found) {
            let ticket = search.ticket;
            self.searches.remove(&paused.search);
            return end_search(ticket, Ok(Some(found)), effects);
        }
        self.continue_search(env, paused.search, paused.at, None, effects);
    }

    /// Nobody waits for a lookup any more.
    pub fn forget_lookup(&mut self, ticket: u64) {
        self.searches.retain(|_, search| search.ticket != ticket);
    }

    fn begin_search(&self, lookup: Lookup, upper: Offset, ticket: u64) -> Option<(Search, Offset)> {
        let search = |target, segment, said, end| Search {
            ticket,
            lookup,
            target,
            upper,
            segment,
            said,
            end,
            best: None,
            better: None,
            unless_deleted: None,
            again: false,
        };
        match lookup {
            Lookup::Timestamp(at_least) => {
                let (base, end) = self.timed_segment(self.log_start, at_least)?;
                let search = search(Target::AtLeast(at_least), Some(base), None, end);
                Some((search, base.max(self.log_start)))
            }
            Lookup::MaxTimestamp => {
                let all = self.segments.from(self.log_start);
                let first = all.first().filter(|segment| segment.base < self.log_start);
                if first.and_then(|first| first.max_timestamp).is_some_and(|(_, at)| at < self.log_start) {
                    let (target, end) = self.among_first();
                    return Some((search(target, None, None, end), self.log_start));
                }
                let said = largest(all)?;
                let mut search = search(Target::OfBatch, None, Some(said), said.1 + 1);
                search.unless_deleted = first.map(|_| said.0);
                Some((search, said.1.max(self.log_start)))
            }
        }
    }

    /// Where the record with the first segment's largest timestamp was deleted, others of it may be left: what is looked for
    /// among them, and where they end.
    fn among_first(&self) -> (Target, Offset) {
        let all = self.segments.from(self.log_start);
        let others = all.get(1..).unwrap_or_default();
        let (at_least, offset) = largest(others).unzip();
        let end = others.first().map_or(Offset::MAX, |next| next.base);
        (Target::Largest(at_least.unwrap_or(i64::MIN), offset), end)
    }

    /// The first segment with records from an offset on that has a timestamp of at least this, and where it ends.
    fn timed_segment(&self, from: Offset, at_least: WallMs) -> Option<(Offset, Offset)> {
        let all = self.segments.from(from);
        let at = all.iter().position(|s| s.max_timestamp.is_some_and(|(largest, _)| largest >= at_least))?;
        Some((all[at].base, all.get(at + 1).map_or(Offset::MAX, |next| next.base)))
    }

    /// Goes on with a search at `offset`, as far as the cache reaches, for one step in which it looks at batches.
    pub(super) fn continue_search(
        &mut self,
        env: &mut Env,
        id: u64,
        mut offset: Offset,
        mut from: Option<Behind>,
        effects: &mut Vec<LogEffect>,
    ) {
        let Some(mut search) = self.searches.remove(&id) else { return };
        if matches!(self.state, State::Truncating | State::Closed) {
            return end_search(search.ticket, Err(LogError::Closed), effects);
        }
        if search.again {
            let Some((anew, at)) = self.begin_search(search.lookup, search.upper, search.ticket) else {
                return end_search(search.ticket, Ok(None), effects);
            };
            (search, offset, from) = (anew, at, None);
        }
        // Records may have been deleted while it waited.
        offset = offset.max(self.log_start);
        loop {
            match self.step(env, &mut search, &mut offset) {
                Step::GoOn => from = None,
                Step::Pause(scan) => {
                    let paused = Paused { search: id, at: offset, scan };
                    effects.push(LogEffect::LookupPaused { ticket: search.ticket, paused });
                    self.searches.insert(id, search);
                    return;
                }
                Step::Done(result) => return end_search(search.ticket, result, effects),
                Step::Read => {
                    self.searches.insert(id, search);
                    return self.read_later(env, Waiter::Search(id, offset), from);
                }
                // It was built from the batches just now: there is nothing better to go by.
                Step::Unfit(segment) if self.examined_recently(env, segment) => {
                    (offset, from) = (segment.max(self.log_start), None);
                }
                Step::Unfit(segment) => {
                    search.again = true;
                    self.searches.insert(id, search);
                    let unfit = (0, "its time index does not fit it");
                    return self.examine(env, segment, unfit, vec![Waiter::Search(id, offset)], effects);
                }
            }
        }
    }

    /// One step of a search at an offset, which moves on.
    fn step(&mut self, env: &mut Env, search: &mut Search, offset: &mut Offset) -> Step {
        if *offset >= search.upper.min(search.end) {
            return self.next_part(search, offset);
        }
        if let Some(stretch) = self.damaged.at(*offset) {
            (*offset, search.said) = (stretch.last + 1, None);
            return Step::GoOn;
        }
        if let (Some(base), Target::AtLeast(timestamp)) = (search.segment, search.target) {
            let Some(entry) = self.time_lookup(env, base, timestamp) else {
                return if self.segments.contains(base) { Step::Read } else { Step::Done(Ok(None)) };
            };
            search.segment = None;
            if let Some((said, at)) = entry.filter(|(_, at)| *at > *offset) {
                (search.said, *offset) = (Some((said, at)), at);
                return Step::GoOn;
            }
        }
        let empty = ReadData { slices: Vec::new(), bytes: 0, next_offset: *offset };
        let upper = search.upper.min(search.end);
        let Some(data) = self.collect(env, empty, upper, LOOKUP_STEP_BYTES, true) else {
            return Step::Read;
        };
        if let Some(segment) = search.said.take().and_then(|said| self.contradicts(&data, said)) {
            return Step::Unfit(segment);
        }
        // What led here names the last record of a batch, and its first may be meant.
        let scan = Scan { target: search.target, from: self.log_start, upper: search.upper };
        match scan.run(&data, search) {
            Scanned::Found(found) => Step::Done(Ok(Some(found))),
            Scanned::Heavy(batch, next_offset) => {
                *offset = next_offset;
                let best = search.best.map(|best| best.timestamp);
                Step::Pause(Some(BatchScan { batch, scan, best }))
            }
            Scanned::Through if data.next_offset <= *offset => {
                *offset = search.end;
                self.next_part(search, offset)
            }
            Scanned::Through => {
                *offset = data.next_offset;
                Step::Pause(None)
            }
        }
    }

    /// The records among which was searched are over.
    fn next_part(&self, search: &mut Search, offset: &mut Offset) -> Step {
        let over = Step::Done(Ok(search.best));
        match search.target {
            Target::AtLeast(_) if search.end >= search.upper => return over,
            Target::AtLeast(timestamp) => {
                let Some((base, end)) = self.timed_segment(search.end, timestamp) else {
                    return Step::Done(Ok(None));
                };
                (search.segment, search.end, *offset) = (Some(base), end, base);
            }
            Target::Largest(at_least, fallback) => {
                let best = search.best.map(|best| best.timestamp);
                let better = search.better.filter(|(timestamp, _)| best.is_none_or(|best| *timestamp > best));
                let fallback = fallback.map(|at| (at_least, at)).filter(|_| best.is_none());
                let Some((timestamp, at)) = better.or(fallback).filter(|(_, at)| *at < search.upper) else {
                    return over;
                };
                (search.target, search.said) = (Target::OfBatch, Some((timestamp, at)));
                (search.best, search.end, *offset) = (None, at + 1, at.max(self.log_start));
            }
            Target::OfBatch => {
                let best = search.best.map(|best| best.timestamp);
                let Some(_) = search.unless_deleted.take().filter(|largest| best < Some(*largest)) else {
                    return over;
                };
                (search.target, search.end) = self.among_first();
                (search.best, *offset) = (None, self.log_start);
            }
        }
        Step::GoOn
    }

    /// The segment whose time index said something that its batch contradicts.
    fn contradicts(&self, data: &ReadData, (timestamp, offset): (WallMs, Offset)) -> Option<Offset> {
        let view = data.slices.first().and_then(|slice| BatchView::parse(slice).ok())?;
        let header = view.header();
        let agrees = (header.base_offset..=header.last_offset()).contains(&offset)
            && header.max_timestamp == timestamp;
        if agrees { None } else { self.segment_of(offset) }
    }

    /// Where the time index of a segment says that a search begins; None if it is not in memory.
    #[allow(clippy::option_option)] // it may say nothing
    fn time_lookup(
        &self,
        env: &mut Env,
        base: Offset,
        timestamp: WallMs,
    ) -> Option<Option<(WallMs, Offset)>> {
        // The entry before: the record itself may lie at or before the offset of an entry with its timestamp.
        let before = timestamp.saturating_sub(1);
        if let Some(sink) = self.sinks.iter().find(|sink| sink.base == base) {
            return Some(sink.times.lookup(before));
        }
        env.cache.segment(self.slot, base).map(|open| open.times.lookup(before))
    }

    /// A search cannot go on.
    pub(super) fn fail_search(&mut self, id: u64, error: LogError, effects: &mut Vec<LogEffect>) {
        if let Some(search) = self.searches.remove(&id) {
            end_search(search.ticket, Err(error), effects);
        }
    }

    /// A search has come to the log's end.
    pub(super) fn exhaust_search(&mut self, env: &mut Env, id: u64, effects: &mut Vec<LogEffect>) {
        self.continue_search(env, id, Offset::MAX, None, effects);
    }
}

/// What a step of a search gave.
enum Step {
    /// It goes on at the offset.
    GoOn,
    /// It goes on at the offset when it is called again; a batch is to be looked through first, if any.
    Pause(Option<BatchScan>),
    /// It needs what is on the disk.
    Read,
    /// The time index of this segment is wrong.
    Unfit(Offset),
    /// It is over.
    Done(Found),
}

/// The largest timestamp of some segments, the earliest of equals, and an offset in its batch.
fn largest(segments: &[Segment]) -> Option<(WallMs, Offset)> {
    segments.iter().filter_map(|s| s.max_timestamp).reduce(|a, b| if b.0 > a.0 { b } else { a })
}

fn end_search(ticket: u64, result: Found, effects: &mut Vec<LogEffect>) {
    effects.push(LogEffect::LookupDone { ticket, result });
}

/// A look through batches, in order.
#[derive(Clone, Copy, Debug)]
struct Scan {
    target: Target,
    from: Offset,
    upper: Offset,
}

/// What a look through batches gave.
enum Scanned {
    /// The record.
    Found(OffsetAndTimestamp),
    /// It came to the end; the best so far is in the search.
    Through,
    /// It came to a batch that takes long to look through, behind which is this offset.
    Heavy(Bytes, Offset),
}

/// A batch takes longer to look through than was allowed.
#[derive(Debug)]
pub struct TakesLong;

impl Scan {
    fn run(&self, data: &ReadData, search: &mut Search) -> Scanned {
        let (mut scratch, mut allowed) = (Scratch::new(), LOOKUP_STEP_BYTES);
        for slice in &data.slices {
            let mut left: &[u8] = slice;
            while let Ok(view) = BatchView::parse(left) {
                left = left.get(view.bytes().len()..).unwrap_or_default();
                let (timestamp, last) = (view.header().max_timestamp, view.header().last_offset());
                if !self.may_have_it(timestamp, search) {
                    continue;
                }
                let is_whole = view.header().base_offset >= self.from && last < self.upper;
                if is_whole && matches!(self.target, Target::Largest(..)) {
                    search.better = Some((timestamp, last));
                    continue;
                }
                let best = search.best.map(|best| best.timestamp);
                match (self.in_batch(&view, best, &mut scratch, &mut allowed), self.target) {
                    (Err(TakesLong), _) => return Scanned::Heavy(slice.slice_ref(view.bytes()), last + 1),
                    (Ok(Some(found)), Target::AtLeast(_)) => return Scanned::Found(found),
                    (Ok(found), _) => search.best = found.or(search.best),
                }
            }
        }
        Scanned::Through
    }

    /// Whether a batch with this largest timestamp may have what is looked for.
    fn may_have_it(&self, timestamp: WallMs, search: &Search) -> bool {
        match self.target {
            Target::AtLeast(at_least) => timestamp >= at_least,
            Target::Largest(at_least, _) => {
                let best = search.best.map(|best| best.timestamp).max(search.better.map(|better| better.0));
                timestamp >= at_least && best.is_none_or(|best| timestamp > best)
            }
            Target::OfBatch => true,
        }
    }

    /// The first record that is looked for; the largest one only if it is larger than the best so far. A batch that cannot be
    /// read has none: it costs only itself.
    fn in_batch(
        &self,
        view: &BatchView,
        best: Option<WallMs>,
        scratch: &mut Scratch,
        allowed: &mut usize,
    ) -> Result<Option<OffsetAndTimestamp>, TakesLong> {
        let Some(records) = records(view, scratch, allowed)? else { return Ok(None) };
        let header = view.header();
        let (at_least, largest) = match self.target {
            Target::AtLeast(timestamp) => (timestamp, false),
            Target::Largest(at_least, _) => (at_least.max(best.map_or(i64::MIN, |best| best + 1)), true),
            Target::OfBatch => (best.map_or(i64::MIN, |best| best + 1), true),
        };
        let mut found: Option<OffsetAndTimestamp> = None;
        for record in records.flatten() {
            let offset = header.base_offset + i64::from(record.offset_delta);
            let timestamp = header.timestamp(record.timestamp_delta);
            let better = found.is_none_or(|found| timestamp > found.timestamp);
            if timestamp >= at_least && better && offset >= self.from && offset < self.upper {
                found = Some(OffsetAndTimestamp {
                    offset,
                    timestamp,
                    leader_epoch: header.partition_leader_epoch,
                });
                if !largest || timestamp >= header.max_timestamp {
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// The records of a batch, if they can be read and are no more bytes than are allowed, which become as many less.
fn records<'s>(
    view: &BatchView<'s>,
    scratch: &'s mut Scratch,
    allowed: &mut usize,
) -> Result<Option<Records<'s>>, TakesLong> {
    let raw = match view.header().attributes.codec() {
        Ok(Codec::None) if view.records_bytes().len() > *allowed => return Err(TakesLong),
        Ok(Codec::None) => view.records_bytes(),
        Ok(codec) => match scratch.decompress(codec, view.records_bytes(), *allowed) {
            Ok(raw) => raw,
            Err(RecordError::Uncompressed { .. }) => return Err(TakesLong),
            Err(_) => return Ok(None),
        },
        Err(_) => return Ok(None),
    };
    *allowed -= raw.len();
    Ok(Records::new(raw, view.header().records_count).ok())
}
