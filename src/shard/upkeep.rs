//! What falls due between two rounds of retention: flushes by time (`flush.ms`), and the files of leader epochs, which
//! are written for many partitions at once.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::base::limits::{
    EPOCHS_SAVE_MS, EPOCHS_SAVED_AT_ONCE, FLUSHED_ONE_BY_ONE_MAX, SHORTAGE_RETRY_MS_MAX,
};
use crate::base::{Ticks, TopicId};
use crate::io::repeats::limited;
use crate::io::{Disk, DiskOutcome, FileJob, Files, OpenMode};
use crate::log::retire::replace;

use super::Shard;
use super::shortages::{Retries, Subject};
use super::tokens::{JobTag, token};

/// What is due when.
pub(super) struct Upkeep {
    /// Places with something unflushed that `flush.ms` bounds.
    flushes: BTreeSet<(Ticks, u32)>,
    registered: BTreeSet<u32>,
    /// When partitions are looked through for epochs to write down; never if nothing was appended since the last time.
    epochs_at: Ticks,
    /// The places in each job that writes them.
    saving: BTreeMap<u32, Vec<u32>>,
    last_job: u32,
    /// What is tried again.
    pub(super) retries: Retries,
    /// Not before this is a metadata snapshot written again that could not be.
    pub(super) snapshot_at: Ticks,
    /// Not before this are other cores told again that space is lacking.
    pub(super) tell_at: Ticks,
}

impl Default for Upkeep {
    fn default() -> Upkeep {
        Upkeep {
            flushes: BTreeSet::new(),
            registered: BTreeSet::new(),
            epochs_at: Ticks::NEVER,
            saving: BTreeMap::new(),
            last_job: 0,
            retries: Retries::default(),
            snapshot_at: Ticks(0),
            tell_at: Ticks(0),
        }
    }
}

impl Upkeep {
    /// When something is due.
    pub(super) fn deadline(&self) -> Ticks {
        let flushes = self.flushes.first().map_or(Ticks::NEVER, |(at, _)| *at);
        let snapshot = if self.snapshot_at == Ticks(0) { Ticks::NEVER } else { self.snapshot_at };
        flushes.min(self.epochs_at).min(self.retries.deadline()).min(snapshot)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.saving.is_empty()
    }

    pub(super) fn forget(&mut self, slot: u32) {
        if self.registered.remove(&slot) {
            self.flushes.retain(|(_, of)| *of != slot);
        }
    }
}

impl Shard {
    /// Something was written to a partition, or flushed.
    pub(super) fn note_written(&mut self, disk: &dyn Disk, slot: u32) {
        let (now, now_ms) = (disk.now(), disk.wall_ms());
        self.upkeep.epochs_at = self.upkeep.epochs_at.min(now.plus_ms(EPOCHS_SAVE_MS));
        let Some(due_ms) = self.partitions.get(slot).and_then(|h| h.log()).and_then(|log| log.flush_due_ms())
        else {
            return;
        };
        if self.upkeep.registered.insert(slot) {
            self.upkeep.flushes.insert((now.plus_ms(due_ms.saturating_sub(now_ms).max(0)), slot));
        }
    }

    /// Flushes what has waited long enough, and writes epochs down.
    pub(super) fn expire_upkeep(&mut self, disk: &mut dyn Disk) {
        let now = disk.now();
        while let Some((at, slot)) = self.upkeep.flushes.first().copied().filter(|(at, _)| *at <= now) {
            self.upkeep.flushes.remove(&(at, slot));
            self.upkeep.registered.remove(&slot);
            let now_ms = disk.wall_ms();
            self.with_log(disk, slot, |log, env, _| log.flush_if_due(env, now_ms));
        }
        self.retry_put_off(disk);
        self.ask_for_dirs(disk);
        if self.upkeep.epochs_at <= now {
            self.upkeep.epochs_at = Ticks::NEVER;
            self.save_epochs(disk);
        }
    }

    fn save_epochs(&mut self, disk: &mut dyn Disk) {
        let (mut slots, mut files) = (Vec::new(), Vec::new());
        for (slot, hosted) in self.partitions.iter_mut() {
            let Some(log) = hosted.log() else { continue };
            if let Some((path, bytes)) = log.epochs_to_save() {
                slots.push(slot);
                files.push(Small { topic_id: log.topic_id(), path, bytes });
            }
        }
        if files.is_empty() && self.upkeep.saving.is_empty() {
            // What could not be written may have been of a partition that is gone.
            self.waits_no_more(disk, Subject::Epochs);
        }
        let dirs = self.dirs.paths.clone();
        while !files.is_empty() {
            let left = files.len().saturating_sub(EPOCHS_SAVED_AT_ONCE);
            let (some, of) = (files.split_off(left), slots.split_off(left));
            let dirs = dirs.clone();
            let job = move |files: &dyn Files| -> io::Result<Box<dyn Any + Send>> {
                write_all(files, &dirs, &some)?;
                Ok(Box::new(()))
            };
            self.upkeep.last_job += 1;
            self.upkeep.saving.insert(self.upkeep.last_job, of);
            disk.background_slow(
                FileJob::Run(Box::new(job)),
                token(self.upkeep.last_job, JobTag::Epochs as u32),
            );
        }
    }

    /// A job that writes epochs down has ended.
    pub(super) fn epochs_saved(&mut self, disk: &dyn Disk, job: u32, outcome: DiskOutcome) {
        let failed = match outcome {
            DiskOutcome::Job(Err(error)) => Some(error),
            _ => None,
        };
        let lacking = self.note_small(disk, Subject::Epochs, failed.as_ref().map_or(Ok(()), Err));
        if let Some(error) = &failed {
            if !lacking {
                limited!(warn, "leader epochs could not be written down", %error, "leader epochs could not be written down: it is tried again");
            }
            self.upkeep.epochs_at = self.upkeep.epochs_at.min(disk.now().plus_ms(SHORTAGE_RETRY_MS_MAX));
        }
        for slot in self.upkeep.saving.remove(&job).unwrap_or_default() {
            if let Some(log) = self.partitions.get(slot).and_then(|hosted| hosted.log()) {
                log.epochs_saved(failed.is_none());
            }
            self.note_checkpoint(slot);
        }
    }
}

/// A file to be replaced, in the directory of a topic's partition.
struct Small {
    topic_id: TopicId,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Replaces small files so that a crash leaves the old or the new of each: many with two flushes of their volumes. Those
/// whose partition was deleted meanwhile are left out.
fn write_all(files: &dyn Files, dirs: &[PathBuf], all: &[Small]) -> io::Result<()> {
    let volumes = || dirs.iter().try_for_each(|dir| files.sync_all(dir));
    let few = all.len() <= FLUSHED_ONE_BY_ONE_MAX;
    let mut written = Vec::new();
    for small in all {
        match files.write(&beside(&small.path), &small.bytes) {
            Ok(()) => written.push(small),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if few {
        written.iter().try_for_each(|small| sync_file(files, &beside(&small.path)))?;
    } else {
        volumes()?;
    }
    for small in &written {
        let replaced = replace(files, &beside(&small.path), &small.path, small.topic_id)?;
        if let Some(dir) = small.path.parent().filter(|_| few && replaced) {
            files.sync_dir(dir)?;
        }
    }
    if few { Ok(()) } else { volumes() }
}

fn sync_file(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.open(path, OpenMode::Read).and_then(|file| files.sync(&file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}
