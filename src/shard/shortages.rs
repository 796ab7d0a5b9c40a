//! What waits because the disk lacked something before anything was written, in the whole process: one warning when it
//! begins, one line when it is over, and nothing for each of what may be thousands of partitions. And the timers that try
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::limits::{
    SHORTAGE_PATIENCE_MS, SHORTAGE_QUIET_MS, SHORTAGE_RETRIES_AT_ONCE, SHORTAGE_RETRY_MS_MAX,
};
use crate::base::{ShardId, Ticks};
use crate::io::descriptors::open_files;
use crate::io::{Disk, Lack, volume_bytes};
use crate::log::{Env, LogError, Partition};
use crate::wire::errors::ErrorCode;

use super::{Mail, Shard, controller};

/// What waits, of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The partition at a place; the metadata log has place 0.
    Partition(u32),
    /// The files of leader epochs.
    Epochs,
    /// The metadata snapshot.
    Snapshot,
    /// The checkpoint files.
    Checkpoints,
}

/// What waits in the process, by what is lacking; None for what failed otherwise.
#[derive(Default)]
pub struct Shortages {
    state: Mutex<BTreeMap<Option<Lack>, Kind>>,
}

#[derive(Default)]
struct Kind {
    waiting: BTreeSet<(ShardId, Subject)>,
    /// Since the last time that nothing waited.
    subjects: usize,
    since: Ticks,
    told_at: Option<Ticks>,
    told: bool,
    warnings: usize,
}

impl Shortages {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Option<Lack>, Kind>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something waits.
    pub fn begin(
        &self,
        core: ShardId,
        subject: Subject,
        now: Ticks,
        lack: Option<Lack>,
        error: &dyn std::fmt::Display,
        path: &Path,
    ) {
        let mut state = self.lock();
        // What failed for another reason before waits for this one now.
        for (_, kind) in state.iter_mut().filter(|(other, _)| **other != lack) {
            kind.end(core, subject, now);
        }
        let kind = state.entry(lack).or_default();
        if kind.waiting.is_empty() {
            kind.since = now;
            kind.subjects = 0;
            kind.told = kind.told_at.is_none_or(|at| now >= at.plus_ms(SHORTAGE_QUIET_MS));
            if kind.told {
                kind.told_at = Some(now);
                kind.warnings += 1;
                warn(lack, error, path);
            }
        }
        kind.subjects += usize::from(kind.waiting.insert((core, subject)));
    }

    /// It waits no more.
    pub fn end(&self, core: ShardId, subject: Subject, now: Ticks) {
        for kind in self.lock().values_mut() {
            kind.end(core, subject, now);
        }
    }

    /// Warnings so far, and whether anything waits.
    pub fn counts(&self) -> (usize, bool) {
        let state = self.lock();
        (state.values().map(|kind| kind.warnings).sum(), state.values().any(|kind| !kind.waiting.is_empty()))
    }
}

impl Kind {
    fn end(&mut self, core: ShardId, subject: Subject, now: Ticks) {
        if self.waiting.remove(&(core, subject)) && self.waiting.is_empty() && self.told {
            let seconds = now.ms_since(self.since) / 1000;
            tracing::info!(
                seconds,
                waited = self.subjects,
                "the disk takes everything again: what waited goes on"
            );
        }
    }
}

fn warn(lack: Option<Lack>, error: &dyn std::fmt::Display, path: &Path) {
    let Some(lack) = lack else {
        return tracing::warn!(%error, "a file could not be opened, made or reserved; nothing was written, and it is tried again until it works: look at the disk and at the permissions of the directory");
    };
    let limit = match lack {
        Lack::Space => {
            volume_of(path).map(|(total, usable)| format!("{usable} of {total} bytes of the volume are free"))
        }
        Lack::Descriptors => open_files().map(|max| format!("the process may have {max}")),
        Lack::Memory => None,
    };
    let (limit, remedy) = (limit.unwrap_or_default(), lack.remedy());
    tracing::warn!(%error, limit, "{lack}: what needs it waits and is tried again, appends there are refused until it works, all else is served; to end it, {remedy}");
}

/// Of the directory that a path lies in: the path itself may not be there.
fn volume_of(path: &Path) -> Option<(i64, i64)> {
    path.ancestors().find_map(|dir| volume_bytes(dir.to_str()?))
}

/// When which place tries again.
#[derive(Default)]
pub(super) struct Retries {
    at: BTreeSet<(Ticks, u32)>,
    of: BTreeMap<u32, Ticks>,
}

impl Retries {
    pub(super) fn set(&mut self, slot: u32, at: Ticks) {
        self.forget(slot);
        self.of.insert(slot, at);
        self.at.insert((at, slot));
    }

    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(at) = self.of.remove(&slot) {
            self.at.remove(&(at, slot));
        }
    }

    pub(super) fn deadline(&self) -> Ticks {
        self.at.first().map_or(Ticks::NEVER, |(at, _)| *at)
    }

    /// A place whose time has come; it comes again later, unless it is told otherwise.
    fn next(&mut self, now: Ticks) -> Option<u32> {
        let (_, slot) = self.at.first().copied().filter(|(at, _)| *at <= now)?;
        self.set(slot, now.plus_ms(SHORTAGE_RETRY_MS_MAX));
        Some(slot)
    }
}

impl Shard {
    /// A partition, or the metadata log, puts something off.
    pub(super) fn put_off(
        &mut self,
        disk: &mut dyn Disk,
        slot: u32,
        error: &LogError,
        retry_at: Ticks,
        give_up: bool,
    ) {
        self.upkeep.retries.set(slot, retry_at);
        let path = match error {
            LogError::Storage { path, .. } => Path::new(path),
            _ => Path::new(""),
        };
        self.waits(disk, Subject::Partition(slot), error.lack(), error, path);
        if give_up && slot == controller::SLOT {
            self.controller_gives_up(error);
        } else if give_up {
            self.disown_waiters(disk, slot, ErrorCode::KAFKA_STORAGE_ERROR);
        }
        self.retry_deferred = true;
    }

    /// Everything that it put off is done, or is not wanted any more.
    pub(super) fn resumed(&mut self, disk: &dyn Disk, slot: u32) {
        self.upkeep.retries.forget(slot);
        self.waits_no_more(disk, Subject::Partition(slot));
        self.retry_deferred = true;
    }

    pub(super) fn waits(
        &mut self,
        disk: &dyn Disk,
        subject: Subject,
        lack: Option<Lack>,
        error: &dyn std::fmt::Display,
        path: &Path,
    ) {
        self.shortages.begin(self.id, subject, disk.now(), lack, error, path);
        if lack == Some(Lack::Space) && disk.now() >= self.upkeep.tell_at {
            self.upkeep.tell_at = disk.now().plus_ms(SHORTAGE_PATIENCE_MS);
            self.give_space_back(path);
            let others = (0..self.shards as u16).map(ShardId).filter(|other| *other != self.id);
            let path: Arc<Path> = path.into();
            self.outbox.extend(others.map(|other| (other, Mail::NoSpace(path.clone()))));
        }
    }

    /// No space is left on the volume of a path.
    pub fn give_space_back(&mut self, path: &Path) {
        self.journal.give_back(path);
    }

    pub(super) fn waits_no_more(&self, disk: &dyn Disk, subject: Subject) {
        self.shortages.end(self.id, subject, disk.now());
    }

    /// A file that is written beside the logs: whether it waits for what the disk lacks. Other errors are the caller's.
    pub(super) fn note_small(
        &mut self,
        disk: &dyn Disk,
        subject: Subject,
        result: Result<(), &io::Error>,
    ) -> bool {
        let lack = result.err().and_then(Lack::of);
        match (lack, result) {
            (Some(_), Err(error)) => {
                let paths = self.dirs.paths.clone();
                self.waits(disk, subject, lack, error, &paths[0]);
            }
            _ => self.waits_no_more(disk, subject),
        }
        lack.is_some()
    }

    /// What was put off and whose time has come is tried again.
    pub(super) fn retry_put_off(&mut self, disk: &mut dyn Disk) {
        let now = disk.now();
        for _ in 0..SHORTAGE_RETRIES_AT_ONCE {
            let Some(slot) = self.upkeep.retries.next(now) else { return };
            if slot == controller::SLOT {
                self.retry_controller(disk);
            } else if self.reopen(disk, slot) {
                self.upkeep.retries.forget(slot);
            } else {
                self.with_log(disk, slot, Partition::retry);
            }
        }
    }

    fn retry_controller(&mut self, disk: &mut dyn Disk) {
        let Some(host) = self.controller.as_mut() else { return };
        let mut effects = Vec::new();
        host.log.retry(&mut Env { disk, cache: &mut self.cache, journal: None }, &mut effects);
        self.controller_effects(disk, effects);
    }
}
