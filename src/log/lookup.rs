//! Finding records by timestamp (`UnifiedLog.fetchOffsetByTimestamp`, KIP-734).

use super::error::LogError;
use super::partition::{Partition, State};
use super::reader::Waiter;
use super::types::{Env, LogEffect, Lookup, OffsetAndTimestamp, ReadData};
use crate::base::limits::{LOG_READ_BYTES_MAX, RECORDS_UNCOMPRESSED_BYTES_MAX};
use crate::base::{Offset, WallMs};
use crate::wire::record::{BatchView, RecordError, Scratch};

/// A lookup that waits for the disk.
pub(super) struct Search {
    ticket: u64,
    target: Target,
    upper: Offset,
    /// The segment whose time index says where to begin; None once that was done.
    segment: Option<Offset>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// The first record with at least this timestamp.
    AtLeast(WallMs),
    /// The first record of a batch with the batch's largest timestamp.
    LargestOf,
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
        let segments = self.segments.from(self.log_start).iter();
        let timed = segments.filter_map(|segment| Some((segment.base, segment.max_timestamp?)));
        match lookup {
            Lookup::Timestamp(at_least) => {
                let (base, _) = timed.into_iter().find(|(_, (timestamp, _))| *timestamp >= at_least)?;
                let target = Target::AtLeast(at_least);
                Some((Search { ticket, target, upper, segment: Some(base) }, base.max(self.log_start)))
            }
            Lookup::MaxTimestamp => {
                // The earliest of equals.
                let (_, (_, offset)) = timed.into_iter().reduce(|a, b| if b.1.0 > a.1.0 { b } else { a })?;
                let search = Search { ticket, target: Target::LargestOf, upper, segment: None };
                Some((search, offset.max(self.log_start)))
            }
        }
    }

    /// Goes on with a search at `offset`, as far as the cache reaches.
    pub(super) fn continue_search(
        &mut self,
        env: &mut Env,
        id: u64,
        mut offset: Offset,
        mut from: Option<u64>,
        effects: &mut Vec<LogEffect>,
    ) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        if matches!(self.state, State::Truncating | State::Closed) {
            return self.end_search(id, Err(LogError::Closed), effects);
        }
        let (target, upper, segment) = (search.target, search.upper, search.segment);
        // Records may have been deleted while it waited.
        offset = offset.max(self.log_start);
        if let (Some(base), Target::AtLeast(timestamp)) = (segment, target) {
            if self.place(env, base, |_, _| ()).is_none() && self.segments.contains(base) {
                return self.read_later(env, Waiter::Search(id, offset), None);
            }
            offset = offset.max(self.time_lookup(env, base, timestamp));
            if let Some(search) = self.searches.get_mut(&id) {
                search.segment = None;
            }
        }
        loop {
            if offset >= upper {
                return self.end_search(id, Ok(None), effects);
            }
            let empty = ReadData { slices: Vec::new(), bytes: 0, next_offset: offset };
            let Some(data) = self.collect(env, empty, upper, LOG_READ_BYTES_MAX, true) else {
                return self.read_later(env, Waiter::Search(id, offset), from);
            };
            from = None;
            match find(&data, target, offset, upper, &mut self.scratch) {
                Ok(None) if data.next_offset > offset => offset = data.next_offset,
                Ok(found) => return self.end_search(id, Ok(found), effects),
                Err(error) => {
                    let path = self.dir.display().to_string();
                    let what = format!("batch at offset {offset}: {error}").into();
                    return self.end_search(id, Err(LogError::Corrupt { path, position: 0, what }), effects);
                }
            }
        }
    }

    fn time_lookup(&self, env: &mut Env, base: Offset, timestamp: WallMs) -> Offset {
        // The entry before: the record itself may lie at or before the offset of an entry with its timestamp.
        let before = timestamp.saturating_sub(1);
        if let Some(sink) = self.sinks.iter().find(|sink| sink.base == base) {
            return sink.times.lookup(before);
        }
        env.cache.segment(self.slot, base).map_or(base, |open| open.times.lookup(before))
    }

    pub(super) fn end_search(&mut self, id: u64, result: Found, effects: &mut Vec<LogEffect>) {
        if let Some(search) = self.searches.remove(&id) {
            effects.push(LogEffect::LookupDone { ticket: search.ticket, result });
        }
    }
}

fn find(
    data: &ReadData,
    target: Target,
    from: Offset,
    upper: Offset,
    scratch: &mut Scratch,
) -> Result<Option<OffsetAndTimestamp>, RecordError> {
    for slice in &data.slices {
        let mut left: &[u8] = slice;
        while !left.is_empty() {
            let view = BatchView::parse(left)?;
            if let Some(found) = find_in_batch(&view, target, from, upper, scratch)? {
                return Ok(Some(found));
            }
            left = left.get(view.bytes().len()..).unwrap_or_default();
        }
    }
    Ok(None)
}

fn find_in_batch(
    view: &BatchView,
    target: Target,
    from: Offset,
    upper: Offset,
    scratch: &mut Scratch,
) -> Result<Option<OffsetAndTimestamp>, RecordError> {
    let header = view.header();
    let at_least = match target {
        Target::AtLeast(timestamp) => timestamp,
        Target::LargestOf => header.max_timestamp,
    };
    if header.max_timestamp < at_least {
        return Ok(None);
    }
    for record in view.records(scratch, RECORDS_UNCOMPRESSED_BYTES_MAX)? {
        let record = record?;
        let offset = header.base_offset + i64::from(record.offset_delta);
        let timestamp = header.timestamp(record.timestamp_delta);
        let wanted = matches!(target, Target::LargestOf) || offset >= from;
        if timestamp >= at_least && wanted && offset < upper {
            return Ok(Some(OffsetAndTimestamp {
                offset,
                timestamp,
                leader_epoch: header.partition_leader_epoch,
            }));
        }
    }
    Ok(None)
}
