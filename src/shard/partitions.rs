//! The partitions of one core: opening, finding, appending, acknowledging, closing.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{IdMap, LeaderEpoch, Offset, TopicId, TopicPartition, WallMs};
use crate::coord::AppendId;
use crate::coord::group::GroupCoordinator;
use crate::io::repeats::limited;
use crate::io::{Disk, FileJob, Files};
use crate::log::checkpoint::Content;
use crate::log::retire::Whose;
use crate::log::{
    CreateOptions, LogConfig, LogError, OpenOptions, Partition, RecoveryReport, flush_created, retire,
};
use crate::wire::record::Scratch;

use super::checkpoints::CheckpointBook;
use super::mail::PartitionKey;
use super::tokens::of_nobody;
use super::watches::Watcher;

/// Who waits for an append to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// Nobody; the bytes still count for watches.
    Nobody,
    /// A part of an append job.
    Job(usize, usize),
    /// The coordinator of this partition: the append's number.
    Coordinator(AppendId),
    /// The controller.
    Controller,
}

/// An append that is not durable yet.
struct Pending {
    end_offset: Offset,
    bytes: usize,
    waiter: Waiter,
}

/// A partition's place in this core.
pub struct Hosted {
    /// Which.
    pub key: PartitionKey,
    /// Its name.
    pub name: TopicPartition,
    /// Its log, once it is open.
    pub state: State,
    /// What the metadata says of it, as far as every append needs it.
    pub leadership: Leadership,
    /// What consumers may see up to.
    pub high_watermark: Offset,
    /// Whom to count appended bytes for.
    pub watchers: Vec<Watcher>,
    /// Whether the topic was deleted while the log was still opening.
    pub doomed: bool,
    pending: VecDeque<Pending>,
}

/// What the metadata says of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// Replicas in sync.
    pub in_sync: i32,
    /// All replicas.
    pub replicas: i32,
}

/// Whether a partition can be used.
pub enum State {
    /// The background executor opens it.
    Opening,
    /// In use.
    Open(Box<Partition>),
    /// It could not be opened: what was wrong.
    Broken(String),
}

impl Hosted {
    /// Whether it is not open yet.
    pub fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening)
    }

    /// The log, if it is open.
    pub fn log(&mut self) -> Option<&mut Partition> {
        match &mut self.state {
            State::Open(log) => Some(log),
            _ => None,
        }
    }

    /// Remembers an append until it is durable.
    pub fn wait(&mut self, end_offset: Offset, bytes: usize, waiter: Waiter) {
        self.pending.push_back(Pending { end_offset, bytes, waiter });
    }

    /// Takes those whose append is durable now, and gives the bytes that became visible.
    pub fn release(&mut self, durable_end: Offset, waiters: &mut Vec<Waiter>) -> usize {
        let mut bytes = 0;
        while self.pending.front().is_some_and(|p| p.end_offset <= durable_end) {
            let Some(done) = self.pending.pop_front() else { break };
            bytes += done.bytes;
            if done.waiter != Waiter::Nobody {
                waiters.push(done.waiter);
            }
        }
        self.high_watermark = self.high_watermark.max(durable_end);
        bytes
    }

    /// Takes all who wait; what they appended may still become durable.
    pub fn disown(&mut self) -> Vec<Waiter> {
        let waiters = self.pending.iter_mut().map(|p| std::mem::replace(&mut p.waiter, Waiter::Nobody));
        waiters.filter(|w| *w != Waiter::Nobody).collect()
    }

    /// Takes all who wait: their appends will never be durable.
    pub fn give_up(&mut self) -> Vec<Waiter> {
        self.pending.drain(..).map(|p| p.waiter).filter(|w| *w != Waiter::Nobody).collect()
    }
}

/// All partitions of a core. A place (slot) is never used twice, so a late completion cannot reach a stranger.
#[derive(Default)]
pub struct Partitions {
    /// By slot; places that were given up stay empty.
    slots: Vec<Option<Box<Hosted>>>,
    /// By topic and number, so many neighbours side by side; 0 is nobody's.
    by_key: IdMap<PartitionKey, Vec<u32>>,
}

/// Partitions of a topic whose places lie side by side.
const NEIGHBOURS: i32 = 1024;

/// Where a partition's place is: the key of its neighbours, and which of them it is.
fn place_of(key: PartitionKey) -> (PartitionKey, usize) {
    let first = PartitionKey { partition: key.partition.div_euclid(NEIGHBOURS), ..key };
    (first, key.partition.rem_euclid(NEIGHBOURS) as usize)
}

impl Partitions {
    /// A new place for a partition whose log is about to be opened.
    pub fn insert(&mut self, key: PartitionKey, name: TopicPartition) -> u32 {
        let hosted = Hosted {
            key,
            name,
            state: State::Opening,
            leadership: Leadership::default(),
            high_watermark: 0,
            watchers: Vec::new(),
            doomed: false,
            pending: VecDeque::new(),
        };
        if self.slots.is_empty() {
            self.slots.push(None); // 0 is nobody's
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Some(Box::new(hosted)));
        let (neighbours, at) = place_of(key);
        let neighbours = self.by_key.entry(neighbours).or_default();
        neighbours.resize(neighbours.len().max(at + 1), 0);
        neighbours[at] = slot;
        slot
    }

    /// The place of a partition.
    pub fn slot(&self, key: PartitionKey) -> Option<u32> {
        let (neighbours, at) = place_of(key);
        self.by_key.get(&neighbours)?.get(at).copied().filter(|slot| *slot != 0)
    }

    /// The partition at a place.
    pub fn get(&mut self, slot: u32) -> Option<&mut Hosted> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// A partition by its key.
    pub fn find(&mut self, key: PartitionKey) -> Option<(u32, &mut Hosted)> {
        let slot = self.slot(key)?;
        Some((slot, self.get(slot)?))
    }

    /// As [`Partitions::find`], to look at.
    pub fn peek(&self, key: PartitionKey) -> Option<&Hosted> {
        self.slots.get(self.slot(key)? as usize)?.as_deref()
    }

    /// Makes a partition unreachable by its key; its place stays until [`Partitions::remove`].
    pub fn hide(&mut self, key: PartitionKey) -> Option<u32> {
        let (key, at) = place_of(key);
        let neighbours = self.by_key.get_mut(&key)?;
        let slot = std::mem::take(neighbours.get_mut(at)?);
        while neighbours.pop_if(|slot| *slot == 0).is_some() {}
        if neighbours.is_empty() {
            self.by_key.remove(&key);
        }
        (slot != 0).then_some(slot)
    }

    /// Forgets a place.
    pub fn remove(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = None;
        }
    }

    /// All places, in the order in which they were made.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Hosted)> {
        (0u32..).zip(&mut self.slots).filter_map(|(slot, hosted)| Some((slot, hosted.as_deref_mut()?)))
    }

    fn iter(&self) -> impl Iterator<Item = &Hosted> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    /// The keys that can be found.
    pub fn keys(&self) -> impl Iterator<Item = PartitionKey> + '_ {
        self.iter().map(|h| h.key).filter(|k| self.slot(*k).is_some())
    }

    /// Whether any partition is still being opened.
    pub fn any_opening(&self) -> bool {
        self.iter().any(|h| matches!(h.state, State::Opening))
    }

    /// Appends that are not durable.
    pub fn pending(&self) -> usize {
        self.iter().map(|h| h.pending.len()).sum()
    }

    /// Whether no open log has work in flight.
    pub fn all_idle(&self) -> bool {
        self.iter().all(|h| match &h.state {
            State::Open(log) => log.is_idle(),
            State::Opening | State::Broken(_) => true,
        })
    }
}

/// What is needed to open a partition's log, anywhere.
pub struct OpenSpec {
    /// Its place.
    pub slot: u32,
    /// Which.
    pub key: PartitionKey,
    /// Its name.
    pub name: TopicPartition,
    /// The log directories; an existing partition is found in one of them, a new one goes to `new_dir`.
    pub dirs: Arc<Vec<PathBuf>>,
    /// Index into `dirs` for a new partition.
    pub new_dir: usize,
    /// Whether the topic or partition has just been made: what stands in its place belongs to an earlier topic of the
    /// same name.
    pub is_new: bool,
    /// Settings.
    pub config: LogConfig,
    /// Whether the last stop was clean.
    pub clean_shutdown: bool,
    /// From the checkpoint.
    pub recovery_point: Option<Offset>,
    /// Everything below was acknowledged, as the journals of the last run said.
    pub acknowledged: Offset,
    /// From the checkpoint.
    pub log_start_offset: Option<Offset>,
    /// The log start is this topic's.
    pub log_start_is_certain: bool,
    /// Wall clock.
    pub now_ms: WallMs,
    /// For a partition of `__consumer_offsets`: its coordinator, to be filled from the log.
    pub coordinator: Option<Box<GroupCoordinator>>,
}

/// An opened partition.
pub struct Opened {
    /// The log.
    pub log: Box<Partition>,
    /// Whether it was made just now.
    pub is_new: bool,
    /// What recovery did.
    pub report: RecoveryReport,
    /// The coordinator, with every record of the log replayed.
    pub coordinator: Option<Box<GroupCoordinator>>,
}

/// Opens the logs of partitions, or makes them and flushes what was made. Blocks.
pub fn open_all(files: &dyn Files, specs: Vec<OpenSpec>) -> Vec<(u32, Result<Opened, LogError>)> {
    let open = |spec: OpenSpec| (spec.slot, open_unflushed(files, spec));
    let mut all: Vec<(u32, Result<Opened, LogError>)> = specs.into_iter().map(open).collect();
    let made = all.iter().filter_map(|(_, result)| result.as_ref().ok()).filter(|opened| opened.is_new);
    let dirs: Vec<PathBuf> = made.map(|opened| opened.log.dir().to_path_buf()).collect();
    if !dirs.is_empty()
        && let Err(error) = flush_created(files, &dirs)
    {
        for (_, result) in &mut all {
            if result.as_ref().is_ok_and(|opened| opened.is_new) {
                *result = Err(error.clone());
            }
        }
    }
    all
}

/// Opens a partition's log, or makes a new one without flushing it.
fn open_unflushed(files: &dyn Files, mut spec: OpenSpec) -> Result<Opened, LogError> {
    let dir_name = spec.name.to_string();
    if spec.is_new {
        for dir in spec.dirs.iter() {
            let path = dir.join(&dir_name);
            make_way(files, &path, spec.key.topic_id).map_err(LogError::storage("making way for", &path))?;
        }
    }
    let of = (spec.key.topic_id, spec.log_start_is_certain);
    let found = match retire::find(files, &spec.dirs, &dir_name, of) {
        Ok((None, Some(Whose::Unclear))) => return Err(unclear(&spec.dirs, &dir_name)),
        Ok((found, _)) => found,
        Err(error) => {
            return Err(LogError::storage("reading partition.metadata of", Path::new(&dir_name))(error));
        }
    };
    for (_, dir) in spec.dirs.iter().enumerate().filter(|(index, _)| Some(*index) != found) {
        let path = dir.join(&dir_name);
        set_aside(files, &path, spec.key.topic_id).map_err(LogError::storage("setting aside", &path))?;
    }
    let path = spec.dirs[found.unwrap_or(spec.new_dir)].join(&dir_name);
    let seed = u64::from(spec.slot) ^ spec.now_ms as u64;
    if found.is_some() {
        let options = OpenOptions {
            slot: spec.slot,
            clean_shutdown: spec.clean_shutdown,
            recovery_point: spec.recovery_point,
            acknowledged: spec.acknowledged,
            log_start_offset: spec.log_start_offset,
            log_start_is_certain: spec.log_start_is_certain,
            now_ms: spec.now_ms,
            seed,
        };
        let (mut log, mut report) = Partition::open(files, &path, spec.config, &options)?;
        if !log.topic_id().is_zero() && log.topic_id() != spec.key.topic_id {
            report
                .warnings
                .push(format!("{}: partition.metadata was damaged and is written anew", path.display()));
        }
        log.set_topic_id(files, spec.key.topic_id)?;
        if let Some(coordinator) = &mut spec.coordinator {
            replay(files, &log, coordinator, &mut report)?;
        }
        let coordinator = spec.coordinator;
        return Ok(Opened { log: Box::new(log), is_new: false, report, coordinator });
    }
    let options = CreateOptions {
        slot: spec.slot,
        topic_id: spec.key.topic_id,
        start_offset: 0,
        now_ms: spec.now_ms,
        seed,
    };
    let log = Partition::create_unflushed(files, &path, spec.config, &options)?;
    let report = RecoveryReport::default();
    Ok(Opened { log: Box::new(log), is_new: true, report, coordinator: spec.coordinator })
}

/// Renames a directory that says that it belongs to another topic to `-stray`.
fn set_aside(files: &dyn Files, path: &Path, topic_id: TopicId) -> io::Result<()> {
    match retire::topic_id_of(files, path)? {
        Content::Whole(found) if !retire::resembles_id(found, topic_id) => {
            stray(files, path, &Content::Whole(found))
        }
        // A damaged one may be the one that was found, or was copied.
        Content::Whole(_) | Content::Absent | Content::Damaged(_) => Ok(()),
    }
}

fn stray(files: &dyn Files, path: &Path, said: &Content<TopicId>) -> io::Result<()> {
    let id = if let Content::Whole(id) = said { *id } else { TopicId::ZERO };
    let stray = retire::retire(files, path, &retire::suffix(id, "stray"), |now| now == said)?;
    if let Some(stray) = &stray {
        tracing::warn!(topic_id = %id, path = %stray.display(), "the directory belongs to another topic and was set aside; remove it when nothing in it is wanted");
    }
    Ok(())
}

/// Directories of the partition's name are there, and none says whose it is.
fn unclear(dirs: &[PathBuf], name: &str) -> LogError {
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.join(name).display().to_string()).collect();
    LogError::Corrupt {
        path: format!("partition.metadata of {name} (in {})", dirs.join(" or ")),
        position: 0,
        what: "so whose the directory is cannot be told: restore that file from a copy, or remove it if the directory is this topic's, and start again".into(),
    }
}

/// Removes the directory of an earlier topic of the same name, which its own core may not have come to yet (KIP-516).
fn make_way(files: &dyn Files, path: &Path, topic_id: TopicId) -> io::Result<()> {
    let said = retire::topic_id_of(files, path)?;
    let old = match said {
        Content::Whole(id) if retire::resembles_id(id, topic_id) => return Ok(()),
        Content::Whole(id) => id,
        Content::Absent => TopicId::ZERO,
        // Nobody knows what it is: it is not removed.
        Content::Damaged(_) => return stray(files, path, &said),
    };
    match retire::retire(files, path, &retire::suffix(old, "delete"), |now| *now == said)? {
        Some(gone) => files.remove_dir_all(&gone),
        None => Ok(()),
    }
}

/// Fills a coordinator from its partition. A damaged batch costs its own records: what a group had committed before, of
/// which there is mostly a record, holds again.
fn replay(
    files: &dyn Files,
    log: &Partition,
    coordinator: &mut GroupCoordinator,
    report: &mut RecoveryReport,
) -> Result<(), LogError> {
    let mut scratch = Scratch::default();
    let mut unreadable = Vec::new();
    let damage = crate::log::replay(files, log, log.log_start_offset(), &mut |batch| {
        if !super::groups::replay_batch(coordinator, batch, &mut scratch) {
            unreadable.push((batch.header().base_offset, batch.header().last_offset()));
        }
    })?;
    let cost = "groups whose commits or members stood there go on from what an older record says, others are complete";
    report.warnings.extend(damage.iter().map(|damage| format!("{damage}; {cost}")));
    report.warnings.extend(unreadable.iter().map(|(first, last)| {
        format!("{}: records at offsets {first} to {last} cannot be read; {cost}", log.dir().display())
    }));
    Ok(())
}

/// Has a directory removed in the background. Nobody waits for it: at the next start it is tried again.
pub fn remove_later(disk: &mut dyn Disk, dir: PathBuf) {
    let job = move |files: &dyn Files| -> io::Result<Box<dyn std::any::Any + Send>> {
        remove_dir(files, &dir);
        Ok(Box::new(()))
    };
    disk.background_slow(FileJob::Run(Box::new(job)), of_nobody());
}

/// A partition's directory is renamed: another may take the name once the slow jobs that were submitted before have ended, as
/// the quick ones have. Then it is removed, as in [`remove_later`].
pub fn leave_later(
    disk: &mut dyn Disk,
    book: &Arc<CheckpointBook>,
    (name, key): (TopicPartition, PartitionKey),
    renamed: Option<PathBuf>,
) {
    let book = book.clone();
    let job = move |files: &dyn Files| -> io::Result<Box<dyn std::any::Any + Send>> {
        book.leave_dir(&name, key);
        if let Some(dir) = &renamed {
            remove_dir(files, dir);
        }
        Ok(Box::new(()))
    };
    disk.background_slow(FileJob::Run(Box::new(job)), of_nobody());
}

fn remove_dir(files: &dyn Files, dir: &Path) {
    if let Err(error) = files.remove_dir_all(dir) {
        limited!(warn, "the directory of a deleted partition could not be removed", %error, path = %dir.display(), "a deleted partition's directory could not be removed");
    }
}

/// Has files removed in the background. Nobody waits for it.
pub fn remove_files_later(disk: &mut dyn Disk, paths: Vec<PathBuf>) {
    let job = move |files: &dyn Files| -> io::Result<Box<dyn std::any::Any + Send>> {
        for path in &paths {
            if let Err(error) = files.remove_file(path) {
                limited!(warn, "a file that is not needed any more could not be removed", %error, path = %path.display(), "a file that is not needed any more could not be removed");
            }
        }
        Ok(Box::new(()))
    };
    disk.background_slow(FileJob::Run(Box::new(job)), of_nobody());
}
