//! Finding records by timestamp (`UnifiedLog.fetchOffsetByTimestamp`, KIP-734).

use super::error::LogError;
use super::partition::{Partition, State};
use super::reader::{Behind, Waiter};
use super::segment::Segment;
use super::types::{Env, LogEffect, Lookup, OffsetAndTimestamp, ReadData};
use crate::base::limits::{LOG_READ_BYTES_MAX, RECORDS_UNCOMPRESSED_BYTES_MAX};
use crate::base::{Offset, WallMs};
use crate::wire::record::{BatchView, Scratch};

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
    /// What it went by was wrong: it begins anew.
    again: bool,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// The first record with at least this timestamp.
    AtLeast(WallMs),
    /// The record with the largest timestamp among some, if that is at least this; else the one of the batch at an offset.
    Largest(WallMs, Option<Offset>),
}

type Found = Result<Option<OffsetAndTimestamp>, LogError>;

impl Partition {
    /// Finds a record by timestamp, below `upper`. None: [`LogEffect::LookupDone`] follows with this ticket.
    pub fn lookup(&mut self, env: &mut Env, lookup: Lookup, upper: Offset, ticket: u64) -> Option<Found> {
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
        let mut effects = Vec::new();
        self.continue_search(env, id, offset, None, &mut effects);
        // At most one effect: the end of this search.
        effects.into_iter().find_map(|effect| match effect {
            LogEffect::LookupDone { result, .. } => Some(result),
            _ => None,
        })
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
            again: false,
        };
        match lookup {
            Lookup::Timestamp(at_least) => {
                let (base, end) = self.timed_segment(self.log_start, at_least)?;
                let search = search(Target::AtLeast(at_least), Some(base), None, end);
                Some((search, base.max(self.log_start)))
            }
            Lookup::MaxTimestamp => {
                // Where the record with a segment's largest timestamp was deleted, others of it may be left.
                let all = self.segments.from(self.log_start);
                let is_trimmed = |segment: &Segment| {
                    segment.base < self.log_start
                        && segment.max_timestamp.is_some_and(|(_, at)| at < self.log_start)
                };
                let first = all.first().filter(|segment| is_trimmed(segment));
                let others = all.iter().skip(usize::from(first.is_some())).filter_map(|s| s.max_timestamp);
                // The earliest of equals.
                let largest = others.reduce(|a, b| if b.0 > a.0 { b } else { a });
                let offset = largest.map(|(_, offset)| offset);
                match (first, largest) {
                    (Some(_), _) => {
                        let at_least = largest.map_or(i64::MIN, |(timestamp, _)| timestamp);
                        let end = all.get(1).map_or(Offset::MAX, |next| next.base);
                        Some((search(Target::Largest(at_least, offset), None, None, end), self.log_start))
                    }
                    (None, Some(said)) => {
                        let search = search(Target::Largest(i64::MIN, None), None, Some(said), said.1 + 1);
                        Some((search, said.1.max(self.log_start)))
                    }
                    (None, None) => None,
                }
            }
        }
    }

    /// The first segment with records from an offset on that has a timestamp of at least this, and where it ends.
    fn timed_segment(&self, from: Offset, at_least: WallMs) -> Option<(Offset, Offset)> {
        let all = self.segments.from(from);
        let at = all.iter().position(|s| s.max_timestamp.is_some_and(|(largest, _)| largest >= at_least))?;
        Some((all[at].base, all.get(at + 1).map_or(Offset::MAX, |next| next.base)))
    }

    /// Goes on with a search at `offset`, as far as the cache reaches.
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
        let Some(data) = self.collect(env, empty, upper, LOG_READ_BYTES_MAX, true) else {
            return Step::Read;
        };
        if let Some(segment) = search.said.take().and_then(|said| self.contradicts(&data, said)) {
            return Step::Unfit(segment);
        }
        // What led here names the last record of a batch, and its first may be meant.
        let scan = Scan { target: search.target, from: self.log_start, upper: search.upper };
        match scan.run(&data, &mut search.best, &mut self.scratch) {
            Some(found) => return Step::Done(Ok(Some(found))),
            None if data.next_offset <= *offset => return Step::Done(Ok(search.best)),
            None => *offset = data.next_offset,
        }
        Step::GoOn
    }

    /// The records among which was searched are over.
    fn next_part(&self, search: &mut Search, offset: &mut Offset) -> Step {
        let over = Step::Done(Ok(search.best));
        if search.end >= search.upper {
            return over;
        }
        match search.target {
            Target::AtLeast(timestamp) => {
                let Some((base, end)) = self.timed_segment(search.end, timestamp) else {
                    return Step::Done(Ok(None));
                };
                (search.segment, search.end, *offset) = (Some(base), end, base);
            }
            Target::Largest(at_least, fallback) => {
                let found = search.best.is_some_and(|best| best.timestamp >= at_least);
                let Some(at) = fallback.filter(|at| !found && *at < search.upper) else { return over };
                (search.target, search.said) = (Target::Largest(i64::MIN, None), Some((at_least, at)));
                (search.best, search.end, *offset) = (None, at + 1, at);
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
    pub(super) fn exhaust_search(&mut self, id: u64, effects: &mut Vec<LogEffect>) {
        if let Some(search) = self.searches.remove(&id) {
            end_search(search.ticket, Ok(search.best), effects);
        }
    }
}

/// What a step of a search gave.
enum Step {
    /// It goes on at the offset.
    GoOn,
    /// It needs what is on the disk.
    Read,
    /// The time index of this segment is wrong.
    Unfit(Offset),
    /// It is over.
    Done(Found),
}

fn end_search(ticket: u64, result: Found, effects: &mut Vec<LogEffect>) {
    effects.push(LogEffect::LookupDone { ticket, result });
}

/// A look through batches, in order.
struct Scan {
    target: Target,
    from: Offset,
    upper: Offset,
}

impl Scan {
    /// The record, if it is among these; what is the best so far goes to `best`. A batch that cannot be read has none: it costs
    /// only itself.
    fn run(
        &self,
        data: &ReadData,
        best: &mut Option<OffsetAndTimestamp>,
        scratch: &mut Scratch,
    ) -> Option<OffsetAndTimestamp> {
        for slice in &data.slices {
            let mut left: &[u8] = slice;
            while let Ok(view) = BatchView::parse(left) {
                let found = self.in_batch(&view, best.map(|best| best.timestamp), scratch);
                match self.target {
                    Target::AtLeast(_) if found.is_some() => return found,
                    _ => *best = found.or(*best),
                }
                left = left.get(view.bytes().len()..).unwrap_or_default();
            }
        }
        None
    }

    /// The first record that is looked for; the largest one only if it is larger than the best so far.
    fn in_batch(
        &self,
        view: &BatchView,
        best: Option<WallMs>,
        scratch: &mut Scratch,
    ) -> Option<OffsetAndTimestamp> {
        let header = view.header();
        let (at_least, largest) = match self.target {
            Target::AtLeast(timestamp) => (timestamp, false),
            Target::Largest(at_least, _) => (at_least.max(best.map_or(i64::MIN, |best| best + 1)), true),
        };
        if header.max_timestamp < at_least {
            return None;
        }
        let mut found: Option<OffsetAndTimestamp> = None;
        for record in view.records(scratch, RECORDS_UNCOMPRESSED_BYTES_MAX).ok()?.flatten() {
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
        found
    }
}
