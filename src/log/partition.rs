//! One partition: the public face of this room, and appending.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use slab::Slab;
use smallvec::SmallVec;

use super::ahead::Readers;
use super::config::LogConfig;
use super::damage::Damaged;
use super::epochs::Epochs;
use super::error::{AppendError, LogError};
use super::flow::Op;
use super::journal::Level;
use super::lookup::Search;
use super::producers::{Checked, Marker, PlannedBatch, Producers};
use super::segment::{Segment, Segments, Sink, index_batch};
use super::shortage::Shortage;
use super::types::{
    AbortedTransaction, AppendInfo, AppendOrigin, Appended, Env, EpochEnd, ProducerDescription,
};
use super::writer::Writer;
use crate::base::limits::LOG_PENDING_BYTES_MAX;
use crate::base::prng::Prng;
use crate::base::{LeaderEpoch, Offset, ProducerId, TopicId, WallMs};
use crate::wire::record::{
    BatchView, ControlType, HEADER_BYTES, Scratch, TimestampType, set_base_offset, set_leader_epoch,
    set_max_timestamp,
};

/// Whether a partition works.
#[derive(Debug)]
pub(super) enum State {
    /// It does.
    Open,
    /// A write or flush failed; the effect that says so was given.
    Fenced(LogError),
    /// It is being truncated: nothing is appended or read.
    Truncating,
    /// It was closed or deleted.
    Closed,
}

/// One partition's log.
///
/// `log_start <= recovery point <= durable end <= log end`, except that the log start may pass the recovery point
/// by `delete_records`.
pub struct Partition {
    pub(super) slot: u32,
    pub(super) dir: PathBuf,
    pub(super) topic_id: TopicId,
    pub(super) config: LogConfig,
    pub(super) state: State,
    pub(super) prng: Prng,
    /// Subtracted from `segment.ms` for the active segment.
    pub(super) roll_jitter_ms: i64,
    /// By base offset; the last one is active.
    pub(super) segments: Segments,
    /// Segments that are written or being sealed, oldest first; the last one is active.
    pub(super) sinks: VecDeque<Sink>,
    pub(super) writer: Writer,
    pub(super) producers: Producers,
    /// There may be snapshots of producers in the directory.
    pub(super) has_snapshots: bool,
    pub(super) epochs: Epochs,
    pub(super) epochs_dirty: bool,
    /// They are to be written down: a record of a new epoch was appended, or some were dropped.
    pub(super) epochs_wanted: bool,
    /// From here on the file may not know the epochs.
    pub(super) epochs_unsaved: Offset,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    /// Everything below is on the device.
    pub(super) written_end: Offset,
    /// Everything below was acknowledged.
    pub(super) durable_end: Offset,
    /// Everything below is flushed.
    pub(super) flushed_end: Offset,
    /// Since when something written is not flushed.
    pub(super) unflushed_since_ms: Option<WallMs>,
    /// A flush was asked for up to here.
    pub(super) sync_target: Offset,
    pub(super) ops: Slab<Op>,
    pub(super) searches: BTreeMap<u64, Search>,
    pub(super) next_search: u64,
    /// Something was appended since the files were last written as for a clean stop.
    pub(super) dirty: bool,
    pub(super) readers: Readers,
    pub(super) damaged: Damaged,
    pub(super) truncate_target: Option<Offset>,
    /// Everything below is to be written to its segment as soon as the disk takes it; what is above waits for more.
    pub(super) write_target: Offset,
    pub(super) journaled: Journaled,
    /// What failed before anything was written, and is tried again.
    pub(super) shortage: Shortage,
}

/// What the journal has of a partition.
pub(super) struct Journaled {
    /// The partition's number; None if its appends go straight to the segments.
    pub(super) partition: Option<i32>,
    /// The number of its log directory.
    pub(super) dir: usize,
    pub(super) level: Level,
    /// Everything from here ...
    pub(super) from: Offset,
    /// ... to here is safe, ...
    pub(super) end: Offset,
    /// ... and will be to here.
    pub(super) next: Offset,
    /// Which halves know this partition, by level.
    pub(super) marks: [u64; 2],
    /// Its place among those of which the journal knows that they hold back.
    pub(super) held: Option<u64>,
}

impl Journaled {
    /// Nothing, and nothing to come.
    pub(super) fn none() -> Journaled {
        Journaled {
            partition: None,
            dir: 0,
            level: Level::Staged,
            from: -1,
            end: -1,
            next: -1,
            marks: [0; 2],
            held: None,
        }
    }

    /// Everything that is safe, given that everything below `durable` is.
    pub(super) fn extend(&self, durable: Offset, flush: bool) -> Offset {
        let counts = self.from <= durable && (self.level == Level::Flushed || !flush);
        if counts { durable.max(self.end) } else { durable }
    }
}

/// The batches of an append: of a client's for one partition, one.
type Planned = SmallVec<[PlannedBatch; 1]>;

impl Partition {
    /// Appends validated, whole batches. Their bytes are copied once. What becomes durable comes through
    /// [`Partition::on_disk`].
    pub fn append(
        &mut self,
        env: &mut Env,
        batches: &[u8],
        info: AppendInfo,
    ) -> Result<Appended, AppendError> {
        self.check_open()?;
        self.check_room()?;
        let waiting = self.writer.pending_bytes();
        if waiting > LOG_PENDING_BYTES_MAX && info.origin == AppendOrigin::Client {
            return Err(AppendError::Backlog(waiting));
        }
        let planned = self.plan(batches, &info)?;
        self.append_planned(env, batches, &info, &planned)
    }

    /// Reads the headers and gives every batch its offsets.
    fn plan(&mut self, batches: &[u8], info: &AppendInfo) -> Result<Planned, AppendError> {
        let mut planned = Planned::new();
        let mut left = batches;
        let mut next = self.log_end;
        while !left.is_empty() {
            let view =
                BatchView::parse(left).map_err(|_| AppendError::Malformed("they are not whole batches"))?;
            let mut header = *view.header();
            match info.origin {
                AppendOrigin::Client | AppendOrigin::Coordinator => {
                    header.base_offset = next;
                    header.partition_leader_epoch = info.leader_epoch;
                }
                AppendOrigin::RaftLeader if header.base_offset != next => {
                    return Err(AppendError::Malformed("their base offset is not the log's end"));
                }
                AppendOrigin::Replication if header.base_offset < next => {
                    return Err(AppendError::Malformed("their base offset is below the log's end"));
                }
                AppendOrigin::RaftLeader | AppendOrigin::Replication => {}
            }
            if let Some((_, timestamp)) = info.timestamp {
                header.max_timestamp = timestamp;
            }
            if header.last_offset_delta < 0 || header.base_offset > Offset::MAX - (1 << 32) {
                return Err(AppendError::Malformed("their offsets are out of range"));
            }
            next = header.next_offset();
            let marker = Self::marker_of(&view)?;
            planned.push(PlannedBatch { header, marker });
            left = left.get(header.total_bytes()..).unwrap_or_default();
        }
        if planned.is_empty() { Err(AppendError::Malformed("there is none")) } else { Ok(planned) }
    }

    fn marker_of(view: &BatchView) -> Result<Option<Marker>, AppendError> {
        if !view.header().attributes.is_control() || !view.header().has_producer_id() {
            return Ok(None);
        }
        read_marker(view, &mut Scratch::new()).map_err(|()| AppendError::Malformed("a marker cannot be read"))
    }

    fn append_planned(
        &mut self,
        env: &mut Env,
        batches: &[u8],
        info: &AppendInfo,
        planned: &[PlannedBatch],
    ) -> Result<Appended, AppendError> {
        let update = match self.producers.check(planned, info.origin, info.transaction_version)? {
            Checked::Accept(update) => update,
            Checked::Duplicate(mark) => {
                return Ok(Appended {
                    base_offset: mark.first_offset(),
                    last_offset: mark.last_offset,
                    log_append_time_ms: mark.timestamp,
                    log_start_offset: self.log_start,
                    duplicate: true,
                });
            }
        };
        let (first, last) = (&planned[0].header, &planned[planned.len() - 1].header);
        let (base_offset, last_offset) = (first.base_offset, last.last_offset());
        let max = self.config.segment_bytes as usize;
        if batches.len() > max {
            return Err(AppendError::TooLarge { bytes: batches.len(), max });
        }
        let max_timestamp = planned.iter().map(|batch| batch.header.max_timestamp).max();
        self.roll_if_due(env, batches.len(), last_offset, max_timestamp.unwrap_or(-1), info.now_ms);
        let journal = self.begin_entry(env, batches.len(), base_offset, last_offset + 1);
        self.copy_in(env, batches, info, planned, journal);
        self.log_end = last_offset + 1;
        self.hold_back_or_write(env, base_offset, journal);
        self.dirty = true;
        let aborted = self.producers.apply(update);
        self.active_mut().aborted.extend(aborted);
        for batch in planned {
            self.note_epoch(batch.header.partition_leader_epoch, batch.header.base_offset);
        }
        self.want_epochs_saved();
        let stamp = info.timestamp.filter(|(kind, _)| *kind == TimestampType::LogAppendTime);
        Ok(Appended {
            base_offset,
            last_offset,
            log_append_time_ms: stamp.map_or(-1, |(_, timestamp)| timestamp),
            log_start_offset: self.log_start,
            duplicate: false,
        })
    }

    /// Copies the batches to the writer, sets what the leader sets, and indexes them.
    fn copy_in(
        &mut self,
        env: &mut Env,
        batches: &[u8],
        info: &AppendInfo,
        planned: &[PlannedBatch],
        journal: Option<Level>,
    ) {
        let (segment, Some(sink)) = (self.segments.active_mut(), self.sinks.back_mut()) else {
            unreachable!("a partition has an active segment")
        };
        let mut left = batches;
        for batch in planned {
            let header = &batch.header;
            let (bytes, rest) = left.split_at(header.total_bytes());
            left = rest;
            let position = segment.size;
            let copy =
                self.writer.push(segment.base, position, header.base_offset, header.next_offset(), bytes);
            if matches!(info.origin, AppendOrigin::Client | AppendOrigin::Coordinator) {
                set_base_offset(copy, header.base_offset);
                set_leader_epoch(copy, header.partition_leader_epoch);
            }
            if let Some((kind, timestamp)) = info.timestamp {
                set_max_timestamp(copy, kind, timestamp);
            }
            if let (Some(level), Some(journal)) = (journal, env.journal.as_mut()) {
                journal.add(self.journaled.dir, level, copy);
            }
            index_batch(segment, sink, header, position, self.config.index_interval_bytes);
            segment.size += bytes.len() as u64;
        }
    }

    /// Whether appends and reads are taken.
    pub(super) fn check_open(&self) -> Result<(), LogError> {
        match &self.state {
            State::Open => Ok(()),
            State::Fenced(error) => Err(LogError::Fenced(error.to_string().into())),
            State::Truncating | State::Closed => Err(LogError::Closed),
        }
    }

    pub(super) fn active_mut(&mut self) -> &mut Segment {
        self.segments.active_mut()
    }

    pub(super) fn active(&self) -> &Segment {
        self.segments.active()
    }

    pub(super) fn note_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.epochs.latest() != Some(epoch) {
            self.epochs_dirty |= self.epochs.assign(epoch, start);
            self.epochs_unsaved = self.epochs_unsaved.min(start);
        }
    }

    /// Notes that this broker leads with an epoch, from the log's end on. It is written down with the next append: until
    /// then no record has it.
    pub fn note_leader_epoch(&mut self, epoch: LeaderEpoch) {
        self.note_epoch(epoch, self.log_end);
    }

    /// New settings; they hold from the next append on.
    pub fn update_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// The partition's place in its core's table.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The topic's id as in `partition.metadata`; zero if it has none.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// Everything below is written (and flushed, if the flush settings ask for it).
    pub fn durable_end_offset(&self) -> Offset {
        self.durable_end
    }

    /// Everything below is flushed.
    pub fn flushed_end_offset(&self) -> Offset {
        self.flushed_end
    }

    /// Everything below is flushed, and the epochs of what is below are: for the checkpoint of recovery points.
    pub fn recovery_point(&self) -> Offset {
        self.flushed_end.min(self.epochs_unsaved)
    }

    /// Everything below, up to `high_watermark`, belongs to no open transaction.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.producers
            .first_unstable_offset(high_watermark)
            .map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// The aborted transactions that overlap `from..upper`, ordered by their marker's offset.
    pub fn aborted_transactions(&self, from: Offset, upper: Offset) -> Vec<AbortedTransaction> {
        // A transaction is listed in the segment of its marker, which may come long after its records.
        let mut found = Vec::new();
        for txn in self.segments.from(from).iter().flat_map(|segment| &segment.aborted) {
            if txn.last_offset >= from && txn.first_offset < upper {
                found.push(*txn);
            }
            if txn.last_stable_offset >= upper {
                break;
            }
        }
        found
    }

    /// The newest leader epoch in the log.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// Where a leader epoch ends (`LeaderEpochFileCache.endOffsetFor`).
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> EpochEnd {
        self.epochs.end_offset_for(epoch, self.log_end)
    }

    /// The epoch of the record at an offset, as far as the epochs known tell.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_at(offset)
    }

    /// Bytes of all segments' logs.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Bytes of the segments that are needed from an offset on.
    pub fn size_from(&self, offset: Offset) -> u64 {
        self.segments.from(offset).iter().map(|segment| segment.size).sum()
    }

    /// Bytes of the active segment.
    pub fn active_bytes(&self) -> u64 {
        self.active().size
    }

    /// The number of segments.
    pub fn segments_count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes appended that are not written yet.
    pub fn pending_bytes(&self) -> usize {
        self.writer.pending_bytes()
    }

    /// The producers that have written here, by id: from one on, so many at most; and whether there are more.
    pub fn describe_producers(&self, from: ProducerId, most: usize) -> (Vec<ProducerDescription>, bool) {
        self.producers.describe(from, most)
    }

    /// Whether a producer with this epoch has a transaction open here.
    pub fn has_ongoing_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.producers.get(producer_id).is_some_and(|p| p.txn_first_offset.is_some() && p.epoch == epoch)
    }

    /// The high watermark moved: transactions that ended below it no longer hold the last stable offset.
    pub fn high_watermark_moved(&mut self, high_watermark: Offset) {
        self.producers.forget_ended(high_watermark);
    }

    /// Why the partition takes no more appends, if so.
    pub fn fenced(&self) -> Option<&LogError> {
        match &self.state {
            State::Fenced(error) => Some(error),
            _ => None,
        }
    }
}

/// The marker in a control batch of a producer. None if it has no record, or is of another kind. An error if it
/// cannot be read.
pub(super) fn read_marker(view: &BatchView, scratch: &mut Scratch) -> Result<Option<Marker>, ()> {
    let limit = view.bytes().len().max(HEADER_BYTES);
    let mut records = view.records(scratch, limit).map_err(|_| ())?;
    let Some(record) = records.next() else { return Ok(None) };
    let record = record.map_err(|_| ())?;
    let commit = match ControlType::from_key(record.key.unwrap_or_default()) {
        Some(ControlType::Commit) => true,
        Some(ControlType::Abort) => false,
        _ => return Ok(None),
    };
    let epoch = record.value.and_then(|v| v.get(2..6)).and_then(|v| v.first_chunk()).ok_or(())?;
    let timestamp = view.header().timestamp(record.timestamp_delta);
    Ok(Some(Marker { commit, coordinator_epoch: i32::from_be_bytes(*epoch), timestamp }))
}
