//! What happens between an append and its acknowledgement: writes, flushes, reservations, rolling and sealing.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::{OpenSegment, Run};
use super::checkpoint;
use super::error::LogError;
use super::index::{OffsetIndex, TimeIndex};
use super::names::{self, FileKind, file_name};
use super::partition::{Partition, State};
use super::reader::{Read, Waiter};
use super::segment::{Sealed, Segment, Sink, index_time, storage};
use super::shortage::Step;
use super::snapshot;
use super::types::{Env, LogEffect};
use super::writer::{InFlight, Unit};
use crate::base::limits::{BLOCK_BYTES, LOG_ALLOCATE_BYTES_MAX, LOG_ALLOCATE_BYTES_MIN};
use crate::base::{Offset, TopicId, WallMs};
use crate::io::{DiskOutcome, File, FileJob, FileJobOutcome, Files, Lack, OpenMode, Token};

/// A disk operation that was submitted and has not ended.
pub(super) enum Op {
    /// The writer's unit in flight.
    Write,
    /// A flush of the active segment up to an offset.
    Sync(Offset),
    /// Space for a segment (base offset).
    Allocate(Offset),
    /// The file of a new segment.
    Open(Offset),
    /// The end of a rolled segment.
    Seal(Offset),
    /// File and indexes of a sealed segment.
    Load(Offset, Vec<Waiter>),
    /// A look at all of a segment (base offset, bytes), in which something did not fit.
    Examine(Offset, u64, Vec<Waiter>),
    /// A read for one or more waiters.
    Read(Read),
    /// The files of a segment that is gone.
    Remove(Offset),
    /// The job of `truncate_to`.
    Truncate,
    /// The job of `delete`.
    Delete,
}

impl Partition {
    /// A disk operation of this partition ended: `tag` is the lower half of its token.
    pub fn on_disk(&mut self, env: &mut Env, tag: u32, outcome: DiskOutcome, effects: &mut Vec<LogEffect>) {
        let Some(op) = self.ops.try_remove(tag as usize) else {
            effects
                .push(LogEffect::Warning(format!("{}: completion {tag} is not known", self.dir.display())));
            return;
        };
        match (op, outcome) {
            (Op::Write, DiskOutcome::Written(result)) => self.on_written(env, result, effects),
            (Op::Sync(upto), DiskOutcome::Synced(result)) => self.on_synced(env, upto, result, effects),
            (Op::Read(read), DiskOutcome::Read(result)) => self.on_read(env, read, result, effects),
            (op, DiskOutcome::Job(result)) => self.on_job(env, op, result, effects),
            _ => unreachable!("an outcome of another kind than the operation"),
        }
        self.truncate_if_quiet(env);
    }

    fn on_job(
        &mut self,
        env: &mut Env,
        op: Op,
        result: io::Result<FileJobOutcome>,
        effects: &mut Vec<LogEffect>,
    ) {
        match op {
            Op::Allocate(base) => self.on_allocated(env, base, result, effects),
            Op::Open(base) => self.on_opened(env, base, result, effects),
            Op::Seal(base) => self.on_sealed(env, base, result, effects),
            Op::Load(base, waiters) => self.on_loaded(env, base, waiters, result, effects),
            Op::Examine(base, limit, waiters) => {
                self.on_examined(env, (base, limit), waiters, result, effects);
            }
            Op::Truncate => self.on_truncated(result, effects),
            Op::Delete => {
                let result = result.map(ran::<Option<PathBuf>>).map_err(storage("removing", &self.dir));
                effects.push(LogEffect::Deleted { result });
            }
            Op::Remove(base) => match result {
                Ok(_) => self.taken(Step::Remove(base), effects),
                Err(error) => {
                    let error = storage("removing", &self.path(base, FileKind::Log))(error);
                    self.put_off(env, Step::Remove(base), error, effects);
                }
            },
            Op::Write | Op::Sync(_) | Op::Read(_) => unreachable!("not a job"),
        }
    }

    pub(super) fn token(&mut self, op: Op) -> Token {
        let tag = u32::try_from(self.ops.insert(op)).expect("operations in flight are few");
        Token(u64::from(self.slot) << 32 | u64::from(tag))
    }

    pub(super) fn path(&self, offset: Offset, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(offset, kind))
    }

    /// Hands the next unit to the disk if it is to be written, none is in flight, its file is there, and there is
    /// space.
    pub(super) fn write_next(&mut self, env: &mut Env) {
        if self.writer.in_flight.is_some() || !matches!(self.state, State::Open) {
            return;
        }
        let next = self.writer.front().filter(|unit| unit.first < self.write_target);
        let Some((segment, end)) = next.map(|unit| (unit.segment, unit.padded_end())) else { return };
        let Some(sink) = self.sinks.iter().find(|sink| sink.base == segment) else { return };
        let (Some(file), has_space) = (sink.file.clone(), end <= sink.allocated) else {
            return self.ensure_open(env, segment);
        };
        self.allocate_ahead(env, segment, end);
        if !has_space {
            return;
        }
        let token = self.token(Op::Write);
        if let Some(unit) = self.writer.submit() {
            env.disk.write(&file, unit.position, unit.bytes.clone(), token);
        }
    }

    /// Has more space reserved if less than is likely to be wanted would be left behind `end`.
    fn allocate_ahead(&mut self, env: &mut Env, segment: Offset, end: u64) {
        let segment_bytes = self.config.segment_bytes;
        if self.is_put_off(env, Step::Reserve(segment)) {
            return;
        }
        let Some(sink) = self.sinks.iter_mut().find(|sink| sink.base == segment) else { return };
        let (Some(wanted), Some(file)) = (sink.wanted_allocation(end, segment_bytes), sink.file.clone())
        else {
            return;
        };
        sink.allocating = Some(wanted);
        let (from, token) = (sink.allocated, self.token(Op::Allocate(segment)));
        let path = self.path(segment, FileKind::Log);
        let work =
            move |files: &dyn Files| Ok(Box::new(reserve(files, (&path, &file), from, wanted, end)) as Value);
        env.disk.background(FileJob::Run(Box::new(work)), token);
    }

    /// Space could not be reserved: it is tried again, if it is still wanted.
    pub(super) fn reserve_again(&mut self, env: &mut Env, base: Offset, effects: &mut Vec<LogEffect>) {
        let Some(sink) = self.sinks.iter().find(|sink| sink.base == base) else { return };
        if sink.file.is_none() {
            return self.ensure_open(env, base);
        }
        let unit = self.writer.front().filter(|unit| unit.segment == base).map_or(0, Unit::padded_end);
        let size = self.segments.get(base).map_or(0, |segment| segment.size);
        let end = unit.max(size.next_multiple_of(BLOCK_BYTES as u64));
        let wanted = sink.wanted_allocation(end, self.config.segment_bytes).is_some();
        if wanted {
            self.allocate_ahead(env, base, end);
        } else if sink.allocating.is_none() {
            self.taken(Step::Reserve(base), effects);
        }
    }

    fn on_allocated(
        &mut self,
        env: &mut Env,
        base: Offset,
        result: io::Result<FileJobOutcome>,
        effects: &mut Vec<LogEffect>,
    ) {
        let result = result.and_then(ran::<io::Result<u64>>);
        self.reserved(env, base, result, effects);
        self.write_next(env);
    }

    fn reserved(
        &mut self,
        env: &mut Env,
        base: Offset,
        result: io::Result<u64>,
        effects: &mut Vec<LogEffect>,
    ) {
        let path = self.path(base, FileKind::Log);
        let Some(sink) = self.sinks.iter_mut().find(|sink| sink.base == base) else { return };
        sink.allocating = None;
        match result {
            Ok(bytes) => {
                sink.allocated = sink.allocated.max(bytes);
                self.taken(Step::Reserve(base), effects);
            }
            Err(error) => {
                let error = storage("reserving space in", &path)(error);
                self.put_off(env, Step::Reserve(base), error, effects);
            }
        }
    }

    fn on_written(&mut self, env: &mut Env, result: io::Result<()>, effects: &mut Vec<LogEffect>) {
        let Some(segment) = self.writer.in_flight.as_ref().map(|unit| unit.segment) else { return };
        let lacks = result.as_ref().is_err_and(|error| Lack::of(error).is_some());
        if let Some(error) = result.err() {
            let error = storage("writing", &self.path(segment, FileKind::Log))(error);
            if lacks && matches!(self.state, State::Open) {
                return self.put_off(env, Step::Write, error, effects);
            }
            // What the journal has is read from memory until the next start writes it.
            if !self.is_in_journal_only() {
                self.writer.written();
            }
            return self.fence(error, effects);
        }
        self.taken(Step::Write, effects);
        let Some(unit) = self.writer.written() else { return };
        let is_open = matches!(self.state, State::Open);
        if !is_open && !matches!(self.state, State::Fenced(_)) {
            return;
        }
        if let Some(sink) = self.sinks.iter_mut().find(|sink| sink.base == unit.segment) {
            sink.written = unit.position + unit.len as u64;
        }
        self.written_end = unit.next;
        self.unflushed_since_ms.get_or_insert(env.disk.wall_ms());
        self.keep_in_cache(env, unit);
        if is_open {
            self.write_next(env);
            self.advance(env, effects);
            self.seal_written(env);
        }
    }

    /// Keeps what was written for readers. A run in the same block that this unit rewrote goes into the new one.
    fn keep_in_cache(&self, env: &mut Env, unit: InFlight) {
        let mut first = unit.first;
        let mut start = unit.position + unit.carry as u64;
        if unit.carry > 0
            && let Some((run_first, run)) = env.cache.run(self.slot, unit.first - 1)
            && run.segment == unit.segment
            && run.next == unit.first
            && run.position >= unit.position
        {
            (first, start) = (run_first, run.position);
        }
        let from = (start - unit.position) as usize;
        let run = Run {
            segment: unit.segment,
            position: start,
            next: unit.next,
            cost: unit.bytes.len(),
            bytes: unit.bytes.slice(from..unit.len),
            marks: unit.marks,
            ahead: None,
        };
        env.cache.insert_run(self.slot, first, run);
    }

    /// Acknowledges what the journal has, and what is written, after a flush if the settings want one.
    pub(super) fn advance(&mut self, env: &mut Env, effects: &mut Vec<LogEffect>) {
        let needs_flush = self.written_end - self.flushed_end >= self.config.flush_messages.max(1);
        let on_device = if needs_flush { self.flushed_end } else { self.written_end };
        let durable = self.journaled.extend(on_device, self.config.flush_messages < i64::MAX);
        if durable > self.durable_end {
            self.durable_end = durable;
            effects.push(LogEffect::Durable { log_end_offset: durable });
        }
        if needs_flush && self.durable_end < self.written_end {
            self.sync_target = self.sync_target.max(self.written_end);
        }
        self.sync_if_wanted(env);
    }

    /// Flushes everything appended so far; [`LogEffect::Flushed`] follows (at once if nothing is unflushed).
    pub fn sync_now(&mut self, env: &mut Env, effects: &mut Vec<LogEffect>) {
        if self.flushed_end >= self.log_end {
            effects.push(LogEffect::Flushed { upto: self.flushed_end });
            return;
        }
        self.flush_out(env);
    }

    /// Submits a flush of what is written if one is wanted and none is in flight. Rolled segments are flushed when
    /// they are sealed.
    pub(super) fn sync_if_wanted(&mut self, env: &mut Env) {
        let wanted = self.sync_target > self.flushed_end && self.written_end > self.flushed_end;
        if !wanted || !matches!(self.state, State::Open) {
            return;
        }
        let syncing = self.ops.iter().any(|(_, op)| matches!(op, Op::Sync(_)));
        if syncing || self.sinks.len() != 1 {
            return;
        }
        let Some(file) = self.sinks.back().and_then(|sink| sink.file.clone()) else {
            return self.ensure_open(env, self.active().base);
        };
        let token = self.token(Op::Sync(self.written_end));
        env.disk.sync(&file, token);
    }

    fn on_synced(
        &mut self,
        env: &mut Env,
        upto: Offset,
        result: io::Result<()>,
        effects: &mut Vec<LogEffect>,
    ) {
        if let Err(error) = result {
            let path = self.path(self.active().base, FileKind::Log);
            return self.fence(storage("flushing", &path)(error), effects);
        }
        self.flushed(env, upto, effects);
    }

    fn flushed(&mut self, env: &mut Env, upto: Offset, effects: &mut Vec<LogEffect>) {
        if upto > self.flushed_end && matches!(self.state, State::Open) {
            self.flushed_end = upto;
            self.unflushed_since_ms = (self.written_end > upto).then(|| env.disk.wall_ms());
            effects.push(LogEffect::Flushed { upto });
            self.advance(env, effects);
        }
    }

    /// Whether the journal has, or is being given, what no segment has.
    fn is_in_journal_only(&self) -> bool {
        self.durable_end.max(self.journaled.next) > self.written_end
    }

    /// No more appends: what was not acknowledged never will be.
    pub(super) fn fence(&mut self, error: LogError, effects: &mut Vec<LogEffect>) {
        // What the journal has was acknowledged, or will be, and stays readable; the next start writes it.
        if !self.is_in_journal_only() {
            self.writer.drop_pending();
        }
        if matches!(self.state, State::Open | State::Truncating) {
            self.state = State::Fenced(error.clone());
            self.nothing_put_off(effects);
            effects.push(LogEffect::Failed { error });
        }
    }

    /// Rolls the active segment if this append does not fit (`LogSegment.shouldRoll`).
    pub(super) fn roll_if_due(
        &mut self,
        env: &mut Env,
        bytes: usize,
        last_offset: Offset,
        max_timestamp: WallMs,
        now_ms: WallMs,
    ) {
        let config = &self.config;
        let active = self.active();
        let sink = self.sinks.back().expect("a partition has an active segment");
        let full = active.size + bytes as u64 > u64::from(config.segment_bytes);
        let old = active.size > 0
            && active.waited_ms(now_ms, Some(max_timestamp))
                > config.segment_ms.saturating_sub(self.roll_jitter_ms);
        let overflow = last_offset - active.base > i64::from(i32::MAX);
        if active.size > 0 && (full || old || overflow || sink.index_is_full(config)) {
            self.roll(env, now_ms);
        }
    }

    /// Begins a new segment, unless the last one is empty.
    pub fn roll_now(&mut self, env: &mut Env, now_ms: WallMs) {
        if matches!(self.state, State::Open) && self.active().size > 0 {
            self.roll(env, now_ms);
        }
    }

    /// Ends the active segment; the next append begins a new one.
    pub(super) fn roll(&mut self, env: &mut Env, now_ms: WallMs) {
        let end = self.log_end;
        self.write_target = end;
        let snapshot = snapshot::format(&self.producers);
        let (active, Some(sink)) = (self.segments.active(), self.sinks.back_mut()) else {
            unreachable!("a partition has an active segment")
        };
        index_time(active, sink);
        self.has_snapshots = true;
        sink.sealed = Some(Sealed { end, snapshot });
        // A segment that filled up is likely to be followed by one that does.
        let allocate = (active.size / 4).clamp(LOG_ALLOCATE_BYTES_MIN, LOG_ALLOCATE_BYTES_MAX);
        let allocate = allocate.next_multiple_of(LOG_ALLOCATE_BYTES_MIN);
        self.segments.push(Segment::new(end, now_ms));
        self.sinks.push_back(Sink::new(end, None, allocate));
        self.roll_jitter_ms = self.prng.below(self.config.segment_jitter_ms.max(0) as u64) as i64;
        self.ensure_open(env, end);
        self.seal_written(env);
    }

    /// Has a segment's file opened, or made, with the space that is to be reserved in it. One that is only read needs
    /// none of this.
    pub(super) fn ensure_open(&mut self, env: &mut Env, base: Offset) {
        let needed = self.writer.front().filter(|unit| unit.segment == base).map_or(0, Unit::padded_end);
        let segment_bytes = self.config.segment_bytes;
        if self.is_put_off(env, Step::Open(base)) {
            return;
        }
        let Some(sink) = self.sinks.iter_mut().find(|sink| sink.base == base) else { return };
        if sink.file.is_some() || sink.opening {
            return;
        }
        sink.opening = true;
        let wanted = sink.wanted_allocation(needed, segment_bytes).filter(|_| needed > 0);
        let wanted = wanted.unwrap_or(sink.allocated);
        let (path, again) = (self.path(base, FileKind::Log), self.opens_again(base));
        let token = self.token(Op::Open(base));
        let work = move |files: &dyn Files| -> io::Result<Value> {
            let file = open_segment(files, &path, again)?;
            let len = files.len(&file)?;
            let reserved = reserve(files, (&path, &file), 0, wanted, needed);
            Ok(Box::new((file, len, reserved)))
        };
        env.disk.background(FileJob::Run(Box::new(work)), token);
    }

    fn on_opened(
        &mut self,
        env: &mut Env,
        base: Offset,
        result: io::Result<FileJobOutcome>,
        effects: &mut Vec<LogEffect>,
    ) {
        let path = self.path(base, FileKind::Log);
        let Some(sink) = self.sinks.iter_mut().find(|sink| sink.base == base) else { return };
        sink.opening = false;
        match result.map(ran::<(File, u64, io::Result<u64>)>) {
            Ok((file, len, reserved)) => {
                (sink.file, sink.allocated) = (Some(file), len);
                self.taken(Step::Open(base), effects);
                self.reserved(env, base, reserved, effects);
                self.write_next(env);
                self.seal_written(env);
                self.sync_if_wanted(env);
            }
            Err(error) => self.put_off(env, Step::Open(base), storage("opening", &path)(error), effects),
        }
    }

    /// Submits the end of rolled segments that are written: flush, cut to size, indexes, snapshot.
    pub(super) fn seal_written(&mut self, env: &mut Env) {
        if !matches!(self.state, State::Open) {
            return;
        }
        for i in 0..self.sinks.len() {
            let base = self.sinks[i].base;
            let put_off = self.is_put_off(env, Step::Seal(base));
            let sink = &mut self.sinks[i];
            let Some(sealed) = sink.sealed.as_ref().filter(|sealed| self.written_end >= sealed.end) else {
                continue;
            };
            let Some(file) = &sink.file else {
                self.ensure_open(env, base);
                continue;
            };
            if sink.sealing || put_off {
                continue;
            }
            sink.sealing = true;
            let work = SealWork {
                dir: self.dir.clone(),
                base,
                end: sealed.end,
                file: Some(file.clone()),
                size: sink.written,
                offsets: sink.offsets.as_bytes().to_vec(),
                times: sink.times.as_bytes().to_vec(),
                aborted: self
                    .segments
                    .get(base)
                    .map(|s| super::txn_index::format(&s.aborted))
                    .unwrap_or_default(),
                snapshot: Some(sealed.snapshot.clone()),
            };
            let token = self.token(Op::Seal(base));
            env.disk.background(FileJob::Run(Box::new(move |files| work.run(files))), token);
        }
    }

    fn on_sealed(
        &mut self,
        env: &mut Env,
        base: Offset,
        result: io::Result<FileJobOutcome>,
        effects: &mut Vec<LogEffect>,
    ) {
        let path = self.path(base, FileKind::Log);
        let Some(at) = self.sinks.iter().position(|sink| sink.base == base) else { return };
        match result.map(ran::<io::Result<()>>) {
            Ok(Ok(())) => {}
            Ok(Err(not_flushed)) => return self.fence(storage("flushing", &path)(not_flushed), effects),
            Err(error) => {
                self.sinks[at].sealing = false;
                let error = storage("sealing", &path)(error);
                self.put_off(env, Step::Seal(base), error, effects);
                return self.drop_segments(env);
            }
        }
        let Some(sink) = self.sinks.remove(at) else { return };
        self.taken(Step::Seal(base), effects);
        if let (Some(_), Some(file)) = (sink.sealed, sink.file) {
            let open = OpenSegment { file, offsets: sink.offsets, times: sink.times };
            env.cache.insert_segment(self.slot, base, Arc::new(open));
            self.flushed_to_first_sink(env, effects);
        }
        self.drop_segments(env);
        self.sync_if_wanted(env);
    }

    /// Everything below the first segment that is not sealed is flushed.
    fn flushed_to_first_sink(&mut self, env: &mut Env, effects: &mut Vec<LogEffect>) {
        if let Some(first) = self.sinks.front().map(|sink| sink.base) {
            self.flushed(env, first, effects);
        }
    }

    /// `leader-epoch-checkpoint` is to be written if it changed. Whoever owns the partitions has it done for many at
    /// once ([`Partition::epochs_to_save`]); until then the recovery point stays where the file's knowledge ends.
    pub(super) fn want_epochs_saved(&mut self) {
        self.epochs_wanted |= self.epochs_dirty;
    }

    /// The file and its bytes, if it is to be written. [`Partition::epochs_saved`] follows.
    pub fn epochs_to_save(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        if !self.epochs_wanted || !matches!(self.state, State::Open) {
            return None;
        }
        (self.epochs_wanted, self.epochs_dirty) = (false, false);
        let bytes = checkpoint::format_epochs(self.epochs.entries());
        Some((self.dir.join(names::LEADER_EPOCH_CHECKPOINT), bytes))
    }

    /// The bytes of [`Partition::epochs_to_save`] are durable, or are not.
    pub fn epochs_saved(&mut self, done: bool) {
        if !done {
            (self.epochs_wanted, self.epochs_dirty) = (true, true);
        } else if !self.epochs_dirty {
            self.epochs_unsaved = Offset::MAX;
        }
    }

    /// Writes the topic id into `partition.metadata`, if it has none yet. Blocks.
    pub fn set_topic_id(&mut self, files: &dyn Files, topic_id: TopicId) -> Result<(), LogError> {
        if self.topic_id != topic_id && !topic_id.is_zero() {
            let path = self.dir.join(names::PARTITION_METADATA);
            let bytes = checkpoint::format_partition_metadata(topic_id);
            files.write_atomic(&path, &bytes).map_err(storage("writing", &path))?;
            self.topic_id = topic_id;
        }
        Ok(())
    }

    /// Whether no write, flush or background job is in flight or queued: [`Partition::close_clean`] may be called.
    ///
    /// What was put off does not count: it may take for ever.
    pub fn is_idle(&self) -> bool {
        let waits = self.writer.is_empty() || self.put_off_by().is_some();
        self.ops.is_empty() && (waits || !matches!(self.state, State::Open))
    }

    /// Writes everything down so that the next start believes it, and flushes it. Blocks; for the end of the process,
    /// when [`Partition::is_idle`]. The caller writes the checkpoints and `.kafka_cleanshutdown` after all partitions.
    pub fn close_clean(&mut self, files: &dyn Files) -> Result<(), LogError> {
        if self.close_begin(files)? {
            let sync = |dir: &Path| files.sync_all(dir).map_err(storage("flushing", dir));
            sync(&self.dir)?;
            self.close_end(files)?;
            sync(&self.dir)?;
        }
        Ok(())
    }

    /// [`Partition::close_clean`] without the flushes, for many partitions at once: cuts the active segment to its
    /// logical end and writes indexes, producer snapshot and epochs. Whether there was anything to write: then comes a
    /// flush, [`Partition::close_end`], and another flush.
    pub fn close_begin(&mut self, files: &dyn Files) -> Result<bool, LogError> {
        self.check_open()?;
        if let Some(error) = self.put_off_by() {
            return Err(error.clone());
        }
        if !self.is_idle() {
            return Err(LogError::Closed);
        }
        self.state = State::Closed;
        let no_producers = !self.has_snapshots && self.producers.iter().len() == 0;
        let (active, Some(sink)) = (self.segments.active(), self.sinks.back_mut()) else {
            unreachable!("a partition has an active segment")
        };
        let file = sink.file.take();
        if !self.dirty && file.is_none() {
            return Ok(false);
        }
        index_time(active, sink);
        let work = SealWork {
            dir: self.dir.clone(),
            base: sink.base,
            end: self.log_end,
            file,
            size: sink.written,
            offsets: sink.offsets.as_bytes().to_vec(),
            times: sink.times.as_bytes().to_vec(),
            aborted: super::txn_index::format(&active.aborted),
            snapshot: (!no_producers).then(|| snapshot::format(&self.producers)),
        };
        let path = self.path(work.base, FileKind::Log);
        if !self.dirty {
            work.cut(files).map_err(storage("truncating", &path))?;
            return Ok(true);
        }
        work.write(files).map_err(storage("sealing", &path))?;
        self.epochs_wanted |= self.epochs_dirty || self.epochs_unsaved < Offset::MAX;
        if self.epochs_wanted {
            let epochs = self.epochs_beside();
            let bytes = checkpoint::format_epochs(self.epochs.entries());
            files.write(&epochs, &bytes).map_err(storage("writing", &epochs))?;
        }
        Ok(true)
    }

    /// What [`Partition::close_begin`] has written is flushed: it takes the place of what was there.
    pub fn close_end(&mut self, files: &dyn Files) -> Result<(), LogError> {
        if self.dirty && self.epochs_wanted {
            let (from, to) = (self.epochs_beside(), self.dir.join(names::LEADER_EPOCH_CHECKPOINT));
            files.rename(&from, &to).map_err(storage("renaming", &from))?;
        }
        self.flushed_end = self.log_end;
        self.epochs_unsaved = Offset::MAX;
        Ok(())
    }

    fn epochs_beside(&self) -> PathBuf {
        self.dir.join(format!("{}.tmp", names::LEADER_EPOCH_CHECKPOINT))
    }
}

/// What a background job gives.
type Value = Box<dyn Any + Send>;

/// The value of a job that runs.
fn ran<T: 'static>(outcome: FileJobOutcome) -> T {
    let FileJobOutcome::Ran(value) = outcome else { unreachable!("a job that runs gives a value") };
    *value.downcast().unwrap_or_else(|_| unreachable!("of the kind that it was made for"))
}

/// Opens the file of a segment, or makes it and flushes its name; so it does as well if that may have failed before.
fn open_segment(files: &dyn Files, path: &Path, again: bool) -> io::Result<File> {
    let flush = again || !files.exists(path);
    let file = files.open(path, OpenMode::DirectCreate)?;
    if let Some(dir) = path.parent().filter(|_| flush) {
        files.sync_dir(dir)?;
    }
    Ok(file)
}

/// Reserves space up to `wanted` bytes of a file of which `from` are reserved, or a quarter of what is free, at least up
/// to `least`. Gives how much it has then. What a half-done attempt has taken is given back at once: others need it.
fn reserve(
    files: &dyn Files,
    (path, file): (&Path, &File),
    from: u64,
    wanted: u64,
    least: u64,
) -> io::Result<u64> {
    let len = files.len(file)?;
    let from = from.max(len);
    let block = BLOCK_BYTES as u64;
    let fair = from.saturating_add(files.free_bytes(path) / 4 / block * block);
    let mut upto = wanted.min(fair).max(least);
    while upto > from {
        let Err(error) = files.allocate(file, upto) else { return Ok(upto) };
        let _ = files.set_len(file, len);
        let less = smaller(from, upto, least).filter(|_| Lack::of(&error) == Some(Lack::Space));
        upto = less.ok_or(error)?;
    }
    Ok(from)
}

/// What to ask for if there is no room for `upto` bytes; None if that is no more than there is, or than is needed.
fn smaller(from: u64, upto: u64, least: u64) -> Option<u64> {
    let more = (upto - from) / 4;
    let less = if more < LOG_ALLOCATE_BYTES_MIN { least } else { from + more };
    let less = less.max(least).next_multiple_of(BLOCK_BYTES as u64);
    (less > from && less < upto).then_some(less)
}

/// Everything a segment needs when nothing more comes to it.
pub(super) struct SealWork {
    pub(super) dir: PathBuf,
    pub(super) base: Offset,
    /// The offset after its last record, where the snapshot belongs.
    pub(super) end: Offset,
    /// None if the file is as long as it should be.
    pub(super) file: Option<File>,
    pub(super) size: u64,
    pub(super) offsets: Vec<u8>,
    pub(super) times: Vec<u8>,
    pub(super) aborted: Vec<u8>,
    /// None if it would say nothing, and none was ever written: no snapshot means no producers after a clean stop, for
    /// Kafka as well (`UnifiedLog.rebuildProducerState`).
    pub(super) snapshot: Option<Vec<u8>>,
}

impl SealWork {
    /// Writes and flushes. If the log itself cannot be flushed, that is in what it gives: everything else may be done
    /// again.
    pub(super) fn run(self, files: &dyn Files) -> io::Result<Value> {
        let written = self.write(files)?;
        if let Some(Err(not_flushed)) = self.file.as_ref().map(|file| files.sync(file)) {
            return Ok(Box::new(Err::<(), io::Error>(not_flushed)));
        }
        written.iter().try_for_each(|path| sync_file(files, path))?;
        files.sync_dir(&self.dir)?;
        Ok(Box::new(Ok::<(), io::Error>(())))
    }

    fn cut(&self, files: &dyn Files) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| files.set_len(file, self.size))
    }

    /// Writes without a flush; gives the small files.
    fn write(&self, files: &dyn Files) -> io::Result<Vec<PathBuf>> {
        self.cut(files)?;
        let path = |offset, kind| self.dir.join(file_name(offset, kind));
        let mut small = vec![
            (path(self.base, FileKind::OffsetIndex), &self.offsets),
            (path(self.base, FileKind::TimeIndex), &self.times),
        ];
        // Made empty, and still so.
        small.retain(|(path, bytes)| !bytes.is_empty() || !files.is_empty(path));
        let aborted = path(self.base, FileKind::TransactionIndex);
        if !self.aborted.is_empty() || files.exists(&aborted) {
            small.push((aborted, &self.aborted));
        }
        if let Some(bytes) = &self.snapshot {
            let snapshot = path(self.end, FileKind::ProducerSnapshot);
            if self.end > self.base || (self.end > 0 && !files.exists(&snapshot)) {
                small.push((snapshot, bytes));
            }
        }
        small.iter().try_for_each(|(path, bytes)| files.write(path, bytes))?;
        Ok(small.into_iter().map(|(path, _)| path).collect())
    }
}

/// Writes a whole file in place. A crash may leave it torn, so only for what is rebuilt then.
pub(super) fn write_file(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    files.write(path, bytes)?;
    sync_file(files, path)
}

fn sync_file(files: &dyn Files, path: &Path) -> io::Result<()> {
    files.sync(&files.open(path, OpenMode::Read)?)
}

/// The indexes of a segment from their files' bytes; None if one is missing or wrong.
pub(super) fn parse_indexes(
    base: Offset,
    offsets: Option<Vec<u8>>,
    times: Option<Vec<u8>>,
    log_bytes: u64,
) -> Option<(OffsetIndex, TimeIndex)> {
    Some((OffsetIndex::parse(base, offsets?, log_bytes)?, TimeIndex::parse(base, times?)?))
}
