//! Creating partitions, and opening what is on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use slab::Slab;

use super::ahead::Readers;
use super::checkpoint::{self, Content};
use super::config::LogConfig;
use super::damage::Damaged;
use super::epochs::Epochs;
use super::error::LogError;
use super::flow::{parse_indexes, write_file};
use super::names::{self, FileKind, file_name, parse_file_name};
use super::partition::{Journaled, Partition, State};
use super::producers::Producers;
use super::recover::{self, Carried, Decision, ScanContext, Scanned};
use super::scanner::Defect;
use super::segment::{Segment, Segments, Sink, storage};
use super::shortage::Shortage;
use super::types::{CreateOptions, OpenOptions, RecoveryReport};
use super::writer::Writer;
use super::{retire, txn_index};
use crate::base::limits::{BLOCK_BYTES, FLUSHED_ONE_BY_ONE_MAX};
use crate::base::prng::Prng;
use crate::base::{Offset, TopicId};
use crate::io::{File, Files, OpenMode};

impl Partition {
    /// Creates the directory and files of a new partition, and flushes them. Blocks.
    pub fn create(
        files: &dyn Files,
        dir: &Path,
        config: LogConfig,
        options: &CreateOptions,
    ) -> Result<Partition, LogError> {
        let partition = Partition::create_unflushed(files, dir, config, options)?;
        flush_created(files, &[dir.to_path_buf()])?;
        Ok(partition)
    }

    /// As [`Partition::create`], for many at once: [`flush_created`] must follow before anything is appended. Blocks.
    pub fn create_unflushed(
        files: &dyn Files,
        dir: &Path,
        config: LogConfig,
        options: &CreateOptions,
    ) -> Result<Partition, LogError> {
        files.create_dir_all(dir).map_err(storage("creating", dir))?;
        if !options.topic_id.is_zero() {
            let path = dir.join(names::PARTITION_METADATA);
            let bytes = checkpoint::format_partition_metadata(options.topic_id);
            files.write(&path, &bytes).map_err(storage("writing", &path))?;
        }
        let base = options.start_offset;
        let path = dir.join(file_name(base, FileKind::Log));
        files.write(&path, &[]).map_err(storage("creating", &path))?;
        let start = Start {
            segments: BTreeMap::from([(base, Segment::new(base, options.now_ms))]),
            active: Sink::new(base, None, 0),
            tail: Vec::new(),
            producers: Producers::default(),
            epochs: Epochs::default(),
            log_start: base,
            log_end: base,
            flushed_end: base,
            topic_id: options.topic_id,
            has_snapshots: false,
            epochs_saved: true,
            dirty: false,
        };
        Ok(Partition::start(dir, config, options.slot, options.seed, start))
    }

    /// Opens what is on disk, recovering if the last stop was not clean. Blocks.
    pub fn open(
        files: &dyn Files,
        dir: &Path,
        config: LogConfig,
        options: &OpenOptions,
    ) -> Result<(Partition, RecoveryReport), LogError> {
        let mut loader = Loader {
            files,
            dir,
            config: &config,
            options,
            report: RecoveryReport::default(),
            names_changed: false,
        };
        let start = loader.load()?;
        let report = loader.report;
        Ok((Partition::start(dir, config, options.slot, options.seed, start), report))
    }

    fn start(dir: &Path, config: LogConfig, slot: u32, seed: u64, start: Start) -> Partition {
        let mut prng = Prng::new(seed);
        let roll_jitter_ms = prng.below(config.segment_jitter_ms.max(0) as u64) as i64;
        Partition {
            slot,
            dir: dir.to_path_buf(),
            topic_id: start.topic_id,
            config,
            state: State::Open,
            prng,
            roll_jitter_ms,
            segments: Segments::new(start.segments),
            sinks: VecDeque::from([start.active]),
            writer: Writer::new(start.tail),
            producers: start.producers,
            epochs: start.epochs,
            has_snapshots: start.has_snapshots,
            epochs_dirty: !start.epochs_saved,
            epochs_wanted: false,
            epochs_unsaved: Offset::MAX,
            log_start: start.log_start,
            log_end: start.log_end,
            written_end: start.log_end,
            durable_end: start.log_end,
            flushed_end: start.flushed_end,
            unflushed_since_ms: None,
            sync_target: 0,
            ops: Slab::new(),
            searches: BTreeMap::new(),
            next_search: 0,
            dirty: start.dirty,
            damaged: Damaged::default(),
            readers: Readers::default(),
            truncate_target: None,
            write_target: 0,
            journaled: Journaled::none(),
            shortage: Shortage::default(),
        }
    }
}

/// What a partition starts with.
#[allow(clippy::struct_field_names)] // Kafka's words: the offset where the log starts
pub(super) struct Start {
    pub(super) segments: BTreeMap<Offset, Segment>,
    pub(super) active: Sink,
    pub(super) tail: Vec<u8>,
    pub(super) producers: Producers,
    pub(super) epochs: Epochs,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    pub(super) flushed_end: Offset,
    pub(super) topic_id: TopicId,
    pub(super) has_snapshots: bool,
    /// `leader-epoch-checkpoint` says what `epochs` does.
    pub(super) epochs_saved: bool,
    pub(super) dirty: bool,
}

/// Flushes what [`Partition::create_unflushed`] has made in these directories: a few one by one, many with one flush of
/// their volume. Blocks.
pub fn flush_created(files: &dyn Files, dirs: &[PathBuf]) -> Result<(), LogError> {
    let parents: BTreeSet<&Path> = dirs.iter().filter_map(|dir| dir.parent()).collect();
    if dirs.len() > FLUSHED_ONE_BY_ONE_MAX {
        return parents.into_iter().try_for_each(|dir| files.sync_all(dir).map_err(storage("flushing", dir)));
    }
    for dir in dirs {
        let path = dir.join(names::PARTITION_METADATA);
        if files.exists(&path) {
            let file = files.open(&path, OpenMode::Read).and_then(|file| files.sync(&file));
            file.map_err(storage("flushing", &path))?;
        }
    }
    let all = dirs.iter().map(PathBuf::as_path).chain(parents);
    all.into_iter().try_for_each(|dir| files.sync_dir(dir).map_err(storage("flushing", dir)))
}

/// Where the segment behind this one begins.
fn end_of(logs: &BTreeMap<Offset, u64>, base: Offset) -> Offset {
    logs.range(base + 1..).next().map_or(Offset::MAX, |(next, _)| *next)
}

pub(super) fn create_log(files: &dyn Files, path: &Path) -> io::Result<()> {
    files.write(path, &[])?;
    path.parent().map_or(Ok(()), |dir| files.sync_dir(dir))
}

/// What the segments gave.
pub(super) struct Loaded {
    pub(super) segments: BTreeMap<Offset, Segment>,
    pub(super) active: Sink,
    pub(super) carried: Carried,
    /// Batches were read, not only the end of the last segment.
    pub(super) scanned: bool,
}

/// Opens one partition.
pub(super) struct Loader<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) dir: &'a Path,
    pub(super) config: &'a LogConfig,
    pub(super) options: &'a OpenOptions,
    pub(super) report: RecoveryReport,
    /// Something was removed: a power failure must not bring it back.
    pub(super) names_changed: bool,
}

impl Loader<'_> {
    pub(super) fn load(&mut self) -> Result<Start, LogError> {
        self.remove_leftovers()?;
        let (mut logs, snapshots) = self.list()?;
        let start_checkpoint = self.options.log_start_offset.unwrap_or(0).max(0);
        if logs.is_empty() {
            let base = if self.options.log_start_is_certain { start_checkpoint } else { 0 };
            let path = self.path(base, FileKind::Log);
            create_log(self.files, &path).map_err(storage("creating", &path))?;
            logs.insert(base, 0);
        }
        let topic_id = self.topic_id()?;
        let epochs = self.epochs()?;
        let on_disk = epochs.clone();
        let mut loaded = match self.believe_all(&logs, &snapshots, epochs.as_ref())? {
            Some(loaded) => loaded,
            None => self.recover_all(&mut logs, &snapshots, epochs)?,
        };
        if start_checkpoint > loaded.carried.next && self.options.log_start_is_certain {
            loaded = self.begin_at(start_checkpoint, &mut logs, loaded.carried)?;
        }
        if let Some(point) = self.promised().filter(|point| *point > loaded.carried.next) {
            self.go_on_at(point, &mut logs, &mut loaded)?;
        }
        let carried = &mut loaded.carried;
        let (first, log_end) = (*logs.first_key_value().expect("there is a segment").0, carried.next);
        let log_start = if start_checkpoint > log_end { first } else { start_checkpoint.max(first) };
        if start_checkpoint > log_end {
            self.warn(&format!(
                "the log start {start_checkpoint} of a checkpoint that does not say whose it is lies above the log's end {log_end} and is not used"
            ));
        }
        carried.epochs.truncate_end(log_end);
        carried.epochs.truncate_start(log_start);
        carried.producers.expire(self.options.now_ms, self.config.producer_id_expiration_ms);
        carried.producers.forget_ended(Offset::MAX);
        let epochs_saved = on_disk.as_ref() == Some(&carried.epochs);
        self.remove_snapshots(&snapshots, &logs, log_end);
        if self.names_changed {
            self.files.sync_dir(self.dir).map_err(storage("flushing", self.dir))?;
        }
        let tail = self.tail(&loaded.active)?;
        let mut flushed_end = log_end;
        if loaded.scanned {
            flushed_end = self.options.recovery_point.unwrap_or(0).max(loaded.active.base);
            // What is readable from now on must stay, if flushing is what acknowledging means here.
            if self.config.flush_messages < i64::MAX && flushed_end < log_end {
                self.sync_active(&loaded.active)?;
                flushed_end = log_end;
            }
        }
        // As it was made: nothing is to be written down about it.
        let untouched = loaded.segments.len() == 1
            && log_end == first
            && loaded.carried.producers.iter().len() == 0
            && loaded.carried.epochs.latest().is_none();
        // Opened again when it is needed: most partitions are quiet.
        loaded.active.file = None;
        Ok(Start {
            segments: loaded.segments,
            active: loaded.active,
            tail,
            producers: loaded.carried.producers,
            epochs: loaded.carried.epochs,
            log_start,
            log_end,
            flushed_end: flushed_end.min(log_end),
            topic_id,
            has_snapshots: !snapshots.is_empty(),
            epochs_saved,
            dirty: loaded.scanned && !untouched,
        })
    }

    /// After a clean stop: what indexes, snapshot and epochs say, with the end of the last segment checked. None if
    /// anything does not fit.
    fn believe_all(
        &mut self,
        logs: &BTreeMap<Offset, u64>,
        snapshots: &BTreeSet<Offset>,
        epochs: Option<&Epochs>,
    ) -> Result<Option<Loaded>, LogError> {
        let Some((base, len)) = logs.last_key_value().filter(|_| self.options.clean_shutdown) else {
            return Ok(None);
        };
        let (base, len) = (*base, *len);
        let read = |kind| self.read_if_there(&self.path(base, kind));
        let indexes = parse_indexes(base, read(FileKind::OffsetIndex)?, read(FileKind::TimeIndex)?, len);
        let aborted =
            read(FileKind::TransactionIndex)?.map_or(Some(Vec::new()), |bytes| txn_index::parse(&bytes));
        let path = self.path(base, FileKind::Log);
        let file = self.files.open(&path, OpenMode::Direct).map_err(storage("opening", &path))?;
        let empty = len == 0;
        let (Some((offsets, times)), Some(aborted)) =
            (if empty { Some(Default::default()) } else { indexes }, aborted)
        else {
            self.warn(&format!("indexes of segment {base} are missing or damaged: the segment is read anew"));
            return Ok(None);
        };
        let mut segment = Segment { aborted, ..Segment::new(base, self.options.now_ms) };
        let mut sink = Sink { offsets, times, ..Sink::new(base, Some(file.clone()), len) };
        if empty {
            sink = Sink::new(base, Some(file.clone()), 0);
        }
        let next = recover::check_end(self.files, &file, &mut segment, &mut sink)
            .map_err(storage("reading", &path))?;
        // After a clean stop the recovery point is the log's end, and no index knows more than the log holds.
        let end = self.options.recovery_point.filter(|point| *point > base);
        let is_end = |next: &Offset| {
            end.is_none_or(|end| *next <= end)
                && sink.times.last().is_none_or(|(_, at)| at < *next)
                && segment.aborted.iter().all(|aborted| aborted.last_offset < *next)
        };
        let Some(next) = next.filter(is_end) else {
            self.warn(&format!("segment {base} does not end as after a clean stop: it is read anew"));
            return Ok(None);
        };
        let new = next == *logs.first_key_value().map_or(&0, |(first, _)| first);
        let none = new || snapshots.is_empty();
        let Some(producers) = self.snapshot_at(next, snapshots)?.or(none.then(Producers::default)) else {
            self.warn(&format!("no producer snapshot at {next}: the log is read anew"));
            return Ok(None);
        };
        let Some(epochs) = epochs.cloned().or(new.then(Epochs::default)) else { return Ok(None) };
        let mut segments = BTreeMap::from([(base, segment)]);
        for (sealed, len) in logs.range(..base) {
            segments.insert(*sealed, self.believe(*sealed, *len, end_of(logs, *sealed))?);
        }
        self.name_missing(logs);
        let carried = Carried { producers, producers_from: next, epochs, epoch: -1, next };
        Ok(Some(Loaded { segments, active: sink, carried, scanned: false }))
    }

    pub(super) fn sync_active(&self, active: &Sink) -> Result<(), LogError> {
        let Some(file) = &active.file else { return Ok(()) };
        self.files.sync(file).map_err(storage("flushing", &self.path(active.base, FileKind::Log)))
    }

    /// Reads batches from the recovery point on, and as far back as producers and epochs must be learned.
    fn recover_all(
        &mut self,
        logs: &mut BTreeMap<Offset, u64>,
        snapshots: &BTreeSet<Offset>,
        epochs: Option<Epochs>,
    ) -> Result<Loaded, LogError> {
        let (Some((first, _)), Some((last, _))) = (logs.first_key_value(), logs.last_key_value()) else {
            unreachable!("there is a segment")
        };
        let first = *first;
        let unflushed = match epochs {
            // Without epochs all of the log is read.
            None => first,
            Some(_) if self.options.clean_shutdown => *last,
            Some(_) => self.options.recovery_point.unwrap_or(0),
        };
        let unflushed = logs.range(..=unflushed).next_back().map_or(first, |(base, _)| *base);
        let empty_last = self.remove_empty_tail(logs, unflushed)?;
        // Snapshots stand at the bases of segments; later ones may know batches that were lost.
        let mut known = None;
        for (base, _) in logs.range(..=unflushed).rev() {
            known = self.snapshot_at(*base, snapshots)?.map(|producers| (*base, producers));
            if known.is_some() {
                break;
            }
        }
        let (scan_from, producers) = known.unwrap_or((first, Producers::default()));
        let mut carried = Carried {
            producers,
            producers_from: scan_from,
            epochs: epochs.unwrap_or_default(),
            epoch: -1,
            next: scan_from,
        };
        carried.epochs.truncate_end(scan_from);
        let mut segments = BTreeMap::new();
        let mut active = None;
        let mut gap_from = None;
        for (base, len) in logs.clone() {
            if base < scan_from {
                segments.insert(base, self.believe(base, len, end_of(logs, base))?);
                continue;
            }
            let next = logs.range(base + 1..).next().map(|(next, _)| *next);
            let (end_before, is_last) = (carried.next, next.is_none());
            // What is empty says nothing about what comes before.
            let next = next.filter(|next| Some(*next) != empty_last);
            let scanned = self.recover(base, base == first, next, is_last, &mut carried)?;
            let stale = end_before > base || base > unflushed;
            if is_last && scanned.segment.size == 0 && stale && active.is_some() {
                // All of it was torn, so nothing from its base on was acknowledged; or it was removed before, and a
                // power failure brought its name back.
                self.remove_segment(base)?;
                logs.remove(&base);
                carried.next = end_before;
                break;
            }
            if let Some(from) = gap_from {
                self.report_gap(from, base);
            }
            let compacted = scanned.end == Decision::End && self.config.cleanup_compact;
            gap_from = (!compacted).then_some(carried.next);
            segments.insert(base, scanned.segment);
            active = Some(scanned.sink);
        }
        let Some(active) = active else { unreachable!("the last segment is always read") };
        Ok(Loaded { segments, active, carried, scanned: true })
    }

    /// Removes segments at the end that hold nothing: rolled just before a crash, when the segment before may still
    /// have been written to. One whose base is at or below `flushed` stays, and is told.
    fn remove_empty_tail(
        &mut self,
        logs: &mut BTreeMap<Offset, u64>,
        flushed: Offset,
    ) -> Result<Option<Offset>, LogError> {
        while let Some((base, _)) = logs.last_key_value() {
            let base = *base;
            let path = self.path(base, FileKind::Log);
            let file = self.files.open(&path, OpenMode::Read).map_err(storage("opening", &path))?;
            let empty =
                recover::without_a_batch(self.files, &file, base).map_err(storage("reading", &path))?;
            let Some(defect) = empty else { return Ok(None) };
            if base <= flushed {
                return Ok(Some(base));
            }
            if !matches!(defect, Defect::EndOfFile | Defect::Zeros) {
                self.warn(&format!("{} holds no whole batch and is removed: {defect:?}", path.display()));
            }
            self.remove_segment(base)?;
            logs.remove(&base);
        }
        Ok(None)
    }

    fn remove_segment(&mut self, base: Offset) -> Result<(), LogError> {
        let kinds = [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex];
        kinds.iter().try_for_each(|kind| self.remove(&self.path(base, *kind)))
    }

    /// Reports offsets that are missing between the end of a segment and the next one.
    fn report_gap(&mut self, from: Offset, to: Offset) {
        if from < to && to > self.options.log_start_offset.unwrap_or(0) {
            let last = to - 1;
            self.report.lost_offsets.push((from, last));
            self.warn(&format!("the segment before {to} ends too early: offsets {from} to {last} are lost"));
        }
    }

    pub(super) fn path(&self, offset: Offset, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(offset, kind))
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.report.warnings.push(format!("{}: {text}", self.dir.display()));
    }

    /// Removes what an interrupted deletion or compaction has left, and ends an interrupted swap (`LogLoader`).
    fn remove_leftovers(&mut self) -> Result<(), LogError> {
        let entries = self.files.list(self.dir).map_err(storage("listing", self.dir))?;
        let named = |suffix: &str| -> Vec<&str> {
            let names = entries.iter().filter(|e| !e.is_dir).map(|e| e.name.as_str());
            names.filter_map(|name| name.strip_suffix(suffix)).collect()
        };
        let cleaned: Vec<Offset> =
            named(".cleaned").iter().filter_map(|n| Some(parse_file_name(n)?.0)).collect();
        let cleaned_min = cleaned.iter().min().copied().unwrap_or(Offset::MAX);
        for entry in entries.iter().filter(|e| !e.is_dir) {
            let name = entry.name.as_str();
            // KRaft's snapshots are deleted by their owner.
            let deleted = name.ends_with(".deleted") && !name.ends_with(".checkpoint.deleted");
            let swap_offset = name.strip_suffix(".swap").and_then(parse_file_name).map(|(offset, _)| offset);
            // A swap file above a cleaned one is part of a split that did not end.
            let unfinished = swap_offset.is_some_and(|offset| offset >= cleaned_min);
            if deleted || unfinished || name.ends_with(".cleaned") {
                self.remove(&self.dir.join(name))?;
            }
        }
        let swaps: Vec<&str> = named(".swap")
            .into_iter()
            .filter(|n| parse_file_name(n).is_some_and(|(o, _)| o < cleaned_min))
            .collect();
        if swaps.is_empty() {
            return Ok(());
        }
        self.end_swap(&swaps)
    }

    /// Compaction had written its result completely: it takes the place of the segments that it was made from.
    fn end_swap(&mut self, swaps: &[&str]) -> Result<(), LogError> {
        let mut replaced = BTreeSet::new();
        for name in swaps {
            let Some((base, FileKind::Log)) = parse_file_name(name) else { continue };
            let path = self.dir.join(format!("{name}.swap"));
            let file = self.files.open(&path, OpenMode::Read).map_err(storage("opening", &path))?;
            let end = recover::valid_end(self.files, &file, base).map_err(storage("reading", &path))?;
            replaced.insert((base, end));
        }
        let (from, to) = (replaced.iter().map(|r| r.0).min(), replaced.iter().map(|r| r.1).max());
        if let (Some(from), Some(to)) = (from, to) {
            for entry in self.files.list(self.dir).map_err(storage("listing", self.dir))? {
                if parse_file_name(&entry.name).is_some_and(|(o, _)| o >= from && o < to) {
                    self.remove(&self.dir.join(&entry.name))?;
                }
            }
        }
        for name in swaps {
            let (from, to) = (self.dir.join(format!("{name}.swap")), self.dir.join(name));
            self.files.rename(&from, &to).map_err(storage("renaming", &from))?;
        }
        self.warn(&format!("ended an interrupted compaction of {} files", swaps.len()));
        self.files.sync_dir(self.dir).map_err(storage("flushing", self.dir))
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<(), LogError> {
        self.names_changed = true;
        self.files.remove_file(path).map_err(storage("removing", path))
    }

    /// The segments with their lengths, and the offsets of producer snapshots.
    fn list(&mut self) -> Result<(BTreeMap<Offset, u64>, BTreeSet<Offset>), LogError> {
        let entries = self.files.list(self.dir).map_err(storage("listing", self.dir))?;
        let (mut logs, mut snapshots, mut others) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for entry in entries.iter().filter(|e| !e.is_dir) {
            match parse_file_name(&entry.name) {
                Some((base, FileKind::Log)) => {
                    logs.insert(base, entry.len);
                }
                Some((offset, FileKind::ProducerSnapshot)) => {
                    snapshots.insert(offset);
                }
                Some((base, _)) => others.push((base, entry.name.clone())),
                None => {}
            }
        }
        for (base, name) in others {
            if !logs.contains_key(&base) {
                self.warn(&format!("removed index {name} without a log"));
                self.remove(&self.dir.join(name))?;
            }
        }
        Ok((logs, snapshots))
    }

    /// What `partition.metadata` says; whoever opens has decided whose the directory is.
    fn topic_id(&mut self) -> Result<TopicId, LogError> {
        let said = retire::topic_id_of(self.files, self.dir);
        Ok(match said.map_err(storage("reading partition.metadata of", self.dir))? {
            Content::Whole(id) => id,
            Content::Absent => TopicId::ZERO,
            Content::Damaged(_) => {
                self.warn("partition.metadata is damaged: the topic's id is taken from the metadata");
                TopicId::ZERO
            }
        })
    }

    /// Everything below was flushed or acknowledged: what of it is not there was there once.
    fn promised(&self) -> Option<Offset> {
        self.options.recovery_point.max(Some(self.options.acknowledged).filter(|upto| *upto > 0))
    }

    /// Scans a segment and does what was decided, until it is whole.
    fn recover(
        &mut self,
        base: Offset,
        is_first: bool,
        segment_end: Option<Offset>,
        is_last: bool,
        carried: &mut Carried,
    ) -> Result<Scanned, LogError> {
        let path = self.path(base, FileKind::Log);
        let context = ScanContext {
            config: self.config,
            segment_end,
            log_end: self.options.recovery_point.filter(|_| self.options.clean_shutdown),
            is_first,
            recovery_point: if self.options.clean_shutdown {
                Offset::MAX
            } else {
                self.promised().unwrap_or(0)
            },
            created_ms: self.options.now_ms,
        };
        loop {
            let before = carried.clone();
            let file = self.files.open(&path, OpenMode::Direct).map_err(storage("opening", &path))?;
            let mut scanned = recover::scan(self.files, &file, base, &context, carried)
                .map_err(storage("reading", &path))?;
            self.report.scanned_bytes += scanned.read_bytes;
            if scanned.end == Decision::Refuse {
                let what = "record format 0 or 1 is not supported: convert it with Apache Kafka 3".into();
                return Err(LogError::Corrupt { path: path.display().to_string(), position: 0, what });
            }
            if !scanned.excise.is_empty() {
                self.excise(&file, base, &scanned)?;
                *carried = before;
                continue;
            }
            self.name_gaps(&path, &scanned.gaps);
            self.repair(&file, &path, &scanned)?;
            self.finish(&file, &path, &mut scanned, (is_last, carried.next))?;
            return Ok(scanned);
        }
    }

    fn finish(
        &mut self,
        file: &File,
        path: &Path,
        scanned: &mut Scanned,
        (is_last, next): (bool, Offset),
    ) -> Result<(), LogError> {
        let size = scanned.segment.size;
        if scanned.cut_bytes > 0 {
            self.files.set_len(file, size).map_err(storage("truncating", path))?;
        }
        // Cutting within a block leaves a page to be written back, and writes past the page cache follow here.
        let leaves_page = scanned.cut_bytes > 0 && !size.is_multiple_of(BLOCK_BYTES as u64);
        if scanned.end == Decision::CutDamaged {
            self.report.truncated_bytes += scanned.cut_bytes;
            let (cut, what) = (scanned.cut_bytes, scanned.defect.describe());
            self.warn(&format!(
                "{} is cut by {cut} bytes at byte {size}, offsets from {next} on: {what}",
                path.display()
            ));
        }
        // What was cut off must not come back after a power failure, in the place of what is written then.
        if !is_last || leaves_page || scanned.end == Decision::CutDamaged || !scanned.repairs.is_empty() {
            self.files.sync(file).map_err(storage("flushing", path))?;
        }
        if is_last {
            return Ok(());
        }
        let base = scanned.segment.base;
        let aborted = txn_index::format(&scanned.segment.aborted);
        let aborted_path = self.path(base, FileKind::TransactionIndex);
        let mut writes = vec![
            (self.path(base, FileKind::OffsetIndex), scanned.sink.offsets.as_bytes()),
            (self.path(base, FileKind::TimeIndex), scanned.sink.times.as_bytes()),
        ];
        if !aborted.is_empty() || self.files.exists(&aborted_path) {
            writes.push((aborted_path, &aborted));
        }
        for (path, bytes) in writes {
            write_file(self.files, &path, bytes).map_err(storage("writing", &path))?;
        }
        Ok(())
    }

    /// Puts right what flipped in fields outside of the checksum.
    fn repair(&mut self, file: &File, path: &Path, scanned: &Scanned) -> Result<(), LogError> {
        for (position, header) in &scanned.repairs {
            let bytes = header.to_bytes();
            self.files.write_at(file, *position, &bytes[..16]).map_err(storage("repairing", path))?;
            let (base, epoch) = (header.base_offset, header.partition_leader_epoch);
            self.warn(&format!(
                "batch at {position} of {} got its offset {base} and epoch {epoch} back",
                path.display()
            ));
        }
        Ok(())
    }

    /// Writes the segment anew without what is damaged, which is saved beside it.
    fn excise(&mut self, file: &File, base: Offset, scanned: &Scanned) -> Result<(), LogError> {
        let path = self.path(base, FileKind::Log);
        let cleaned = self.dir.join(format!("{}.cleaned", file_name(base, FileKind::Log)));
        let copied = recover::copy_without(self.files, file, &cleaned, &scanned.excise, scanned.segment.size);
        copied.map_err(storage("writing", &cleaned))?;
        for (from, to, first, last) in &scanned.excise {
            let saved = self.dir.join(format!("{base:020}.{from}.damaged"));
            let bytes =
                self.files.read_at(file, *from, (to - from) as usize).map_err(storage("reading", &path))?;
            write_file(self.files, &saved, &bytes).map_err(storage("writing", &saved))?;
            self.report.lost_offsets.push((*first, *last));
            let bytes = to - from;
            self.warn(&format!(
                "{bytes} damaged bytes at {from} of segment {base} were taken out and saved in {}: offsets {first} to {last} are lost",
                saved.display()
            ));
        }
        self.files.rename(&cleaned, &path).map_err(storage("renaming", &cleaned))?;
        self.files.sync_dir(self.dir).map_err(storage("flushing", self.dir))
    }

    /// Removes snapshots of no use: neither at a segment's base nor at the log's end.
    fn remove_snapshots(
        &mut self,
        snapshots: &BTreeSet<Offset>,
        logs: &BTreeMap<Offset, u64>,
        log_end: Offset,
    ) {
        for offset in snapshots {
            let useful = *offset == log_end || (logs.contains_key(offset) && *offset < log_end);
            if !useful && let Err(error) = self.remove(&self.path(*offset, FileKind::ProducerSnapshot)) {
                self.warn(&error.to_string());
            }
        }
    }

    /// The bytes behind the active segment's last whole block.
    fn tail(&self, active: &Sink) -> Result<Vec<u8>, LogError> {
        let path = self.path(active.base, FileKind::Log);
        let Some(file) = &active.file else { unreachable!("a scanned segment has a file") };
        let partial = active.written % BLOCK_BYTES as u64;
        let tail = self
            .files
            .read_at(file, active.written - partial, partial as usize)
            .map_err(storage("reading", &path))?;
        if tail.len() as u64 != partial {
            let (path, what) = (path.display().to_string(), "it became shorter while it was opened".into());
            return Err(LogError::Corrupt { path, position: active.written, what });
        }
        Ok(tail)
    }
}
