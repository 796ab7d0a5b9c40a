//! The checkpoint files of the log directories: recovery points, log starts, high watermarks. Every core notes
//! what it knows; core 0 has them written.
//!
//! An offset is believed only with the topic id it was written for. Kafka's files go by name, so they are believed only
//! where Ottla's own file says nothing (a directory of Kafka or of an older Ottla, or one that another broker has had since):
//! the recovery point then only after a clean stop, and the log start only within the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::{BrokerId, Offset, TopicPartition, Uuid};
use crate::io::Files;
use crate::log::checkpoint::{self, Own, OwnError, OwnLine};
use crate::log::names;
use crate::meta::image::Image;

use super::{PartitionKey, Shard};

/// What is noted about a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Everything below is flushed.
    pub recovery_point: Option<Offset>,
    /// The first offset.
    pub log_start_offset: Option<Offset>,
    /// The high watermark.
    pub high_watermark: Option<Offset>,
    /// These are this topic's, and not only those of its name.
    pub certain: bool,
}

/// Why checkpoints cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path} is of version {version}, which a newer version of Ottla has written: start that one")]
pub struct NewerCheckpoint {
    path: PathBuf,
    version: u32,
}

/// What the files said at start.
#[derive(Default)]
pub struct Checkpoints {
    /// By directory: Ottla's own file, if it can be used.
    own: Vec<Option<Own>>,
    /// By directory: what Kafka's files say.
    by_name: Vec<BTreeMap<TopicPartition, Noted>>,
    clean_shutdown: bool,
}

impl Checkpoints {
    /// Reads the checkpoints of all directories. A file that is missing or damaged counts as empty: every partition
    /// it would have named is then recovered from its beginning.
    ///
    /// # Errors
    /// A file of a later version.
    pub fn read(files: &dyn Files, dirs: &[PathBuf]) -> Result<Checkpoints, NewerCheckpoint> {
        let mut read = Checkpoints::default();
        for dir in dirs {
            let path = dir.join(names::OTTLA_CHECKPOINT);
            let bytes = files.exists(&path).then(|| files.read(&path).unwrap_or_default());
            read.own.push(match bytes.map(|bytes| checkpoint::parse_own(&bytes)) {
                Some(Err(OwnError::Newer(version))) => return Err(NewerCheckpoint { path, version }),
                Some(Err(OwnError::Damaged)) => {
                    tracing::warn!(path = %path.display(), "the checkpoint is damaged and not used: its partitions are checked from their beginning");
                    None
                }
                Some(Ok(own)) => Some(own),
                None => None,
            });
            let mut by_name: BTreeMap<TopicPartition, Noted> = BTreeMap::new();
            for (partition, offset) in read_file(files, &dir.join(names::RECOVERY_POINT_CHECKPOINT)) {
                by_name.entry(partition).or_default().recovery_point = Some(offset);
            }
            for (partition, offset) in read_file(files, &dir.join(names::LOG_START_CHECKPOINT)) {
                by_name.entry(partition).or_default().log_start_offset = Some(offset);
            }
            read.by_name.push(by_name);
        }
        read.clean_shutdown =
            !dirs.is_empty() && dirs.iter().all(|d| files.exists(&d.join(names::CLEAN_SHUTDOWN)));
        Ok(read)
    }

    /// Whether every directory was closed cleanly.
    pub fn clean_shutdown(&self) -> bool {
        self.clean_shutdown
    }

    /// What is believed of a partition, and in which directory.
    fn believed(&self, registered: Uuid, key: PartitionKey, name: &TopicPartition) -> Option<(usize, Noted)> {
        // Another broker has registered since Ottla wrote its file: the log is no more what that says.
        let is_last = |own: &&Own| [own.incarnation_id, own.previous_id].contains(&registered);
        let usable =
            self.own.iter().enumerate().filter_map(|(dir, own)| Some((dir, own.as_ref().filter(is_last)?)));
        let lines =
            usable.filter_map(|(dir, own)| Some((dir, own.partitions.get(&(key.topic_id, key.partition))?)));
        if let Some((dir, line)) = lines.max_by_key(|(_, line)| line.log_start_offset) {
            let OwnLine { recovery_point, log_start_offset, certain } = *line;
            return Some((dir, Noted { recovery_point, log_start_offset, certain, high_watermark: None }));
        }
        let (dir, noted) =
            self.by_name.iter().enumerate().find_map(|(dir, of)| Some((dir, of.get(name)?)))?;
        if self.own.get(dir).and_then(Option::as_ref).is_some_and(|own| is_last(&own)) {
            return None; // of an earlier topic of this name, or the same in what Ottla has not come to write
        }
        let recovery_point = noted.recovery_point.filter(|_| self.clean_shutdown);
        let own =
            self.own.iter().flatten().filter_map(|own| own.partitions.get(&(key.topic_id, key.partition)));
        let log_start_offset = own.filter_map(|line| line.log_start_offset).max().max(noted.log_start_offset);
        Some((dir, Noted { recovery_point, log_start_offset, high_watermark: None, certain: false }))
    }
}

/// What the cores note of a partition.
#[derive(Clone)]
struct Line {
    dir: usize,
    name: TopicPartition,
    noted: Noted,
}

/// The lines, and whose a name is.
#[derive(Default)]
struct Lines {
    by_key: BTreeMap<PartitionKey, Line>,
    by_name: BTreeMap<TopicPartition, PartitionKey>,
    /// Log starts that are about to be: written before they are shown, or a killed process would take them back.
    planned: BTreeMap<PartitionKey, Offset>,
    /// Who may use the directories of a name, by path: one partition at a time, whatever core it is on.
    held: BTreeMap<TopicPartition, PartitionKey>,
    /// Partitions that stay offline, the directory and the name of the journal with their records.
    offline: BTreeMap<PartitionKey, (usize, String)>,
}

/// What all cores have noted. Not on the data path: it is touched when something moved, and read once a minute.
pub struct CheckpointBook {
    initial: BTreeMap<PartitionKey, Noted>,
    clean_shutdown: bool,
    incarnation_id: Uuid,
    previous_id: Uuid,
    /// Partitions with records that the last stop knew nothing of, so that they are to be recovered.
    changed: Mutex<BTreeSet<PartitionKey>>,
    lines: Mutex<Lines>,
    writing: Mutex<()>,
    wanted: AtomicBool,
    /// A partition could not be opened.
    unopened: AtomicBool,
    /// The files name partitions that are gone.
    stale: AtomicBool,
    broker_epoch: AtomicI64,
}

impl CheckpointBook {
    /// What the files said of the partitions that the metadata gives this broker; lines of others are left out from now on.
    /// `incarnation_id` is this start's.
    pub fn new(
        files: &dyn Files,
        dirs: &[PathBuf],
        read: &Checkpoints,
        image: &Image,
        (node_id, incarnation_id): (BrokerId, Uuid),
    ) -> CheckpointBook {
        let previous_id = image.cluster().broker(node_id).map_or(Uuid::ZERO, |broker| broker.incarnation_id);
        let mut lines = Lines::default();
        for topic in image.topics().iter() {
            let ours = topic.partitions.iter().filter(|(_, state)| state.replicas.contains(&node_id));
            for partition in ours.map(|(partition, _)| *partition) {
                let key = PartitionKey { topic_id: topic.id, partition };
                let name = TopicPartition::new(&*topic.name, partition);
                if let Some((dir, noted)) = read.believed(previous_id, key, &name) {
                    lines.note(dir, key, &name, noted);
                }
                for (dir, own) in read.own.iter().enumerate() {
                    let file = own.as_ref().and_then(|own| own.offline.get(&(key.topic_id, partition)));
                    if let Some(file) = file.filter(|file| files.exists(&dirs[dir].join(file))) {
                        lines.offline.insert(key, (dir, file.clone()));
                    }
                }
            }
        }
        CheckpointBook {
            initial: lines.by_key.iter().map(|(key, line)| (*key, line.noted)).collect(),
            clean_shutdown: read.clean_shutdown,
            incarnation_id,
            previous_id,
            changed: Mutex::default(),
            // A partition that cannot be opened now keeps what is known of it.
            lines: Mutex::new(lines),
            writing: Mutex::default(),
            wanted: AtomicBool::new(false),
            unopened: AtomicBool::new(false),
            stale: AtomicBool::new(true),
            broker_epoch: AtomicI64::new(-1),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the files said of a partition.
    pub fn initial(&self, key: PartitionKey) -> Noted {
        self.initial.get(&key).copied().unwrap_or_default()
    }

    /// Whether every directory was closed cleanly.
    pub fn clean_shutdown(&self) -> bool {
        self.clean_shutdown
    }

    /// The incarnation of this broker that the metadata named at start.
    pub fn previous_id(&self) -> Uuid {
        self.previous_id
    }

    /// Whether a partition is as a clean stop left it.
    pub fn is_clean(&self, key: PartitionKey) -> bool {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        self.clean_shutdown && !changed.contains(&key)
    }

    /// Something was written to a partition since the last stop.
    pub fn note_changed(&self, key: PartitionKey) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Notes where a partition in directory `dir` stands.
    pub fn note(&self, dir: usize, key: PartitionKey, name: &TopicPartition, noted: Noted) {
        self.lines().note(dir, key, name, noted);
    }

    /// A partition's log start will be this: the files say so from the next [`CheckpointBook::write`] on.
    pub fn plan_log_start(&self, key: PartitionKey, offset: Offset) {
        let mut lines = self.lines();
        let entry = lines.planned.entry(key).or_insert(offset);
        *entry = offset.max(*entry);
    }

    /// Forgets a partition that is gone.
    pub fn forget(&self, key: PartitionKey) {
        if self.lines().forget(key) {
            self.stale.store(true, Ordering::Relaxed);
            self.want_write();
        }
    }

    /// A directory of this name belongs to another topic: what was only believed by its name is not this one's.
    pub fn distrust(&self, name: &TopicPartition) {
        let mut lines = self.lines();
        let key = lines.by_name.get(name).copied();
        if let Some(line) = key.and_then(|key| lines.by_key.get_mut(&key)).filter(|line| !line.noted.certain)
        {
            line.noted = Noted::default();
        }
    }

    /// A partition is about to use the directory of its name; whether no earlier one of the same name does. From then on
    /// it is the only one, until [`CheckpointBook::leave_dir`]: jobs go by path, and would take another's files.
    pub fn enter_dir(&self, name: &TopicPartition, key: PartitionKey) -> bool {
        *self.lines().held.entry(name.clone()).or_insert(key) == key
    }

    /// No job of the partition will use the directory of its name any more.
    pub fn leave_dir(&self, name: &TopicPartition, key: PartitionKey) {
        let mut lines = self.lines();
        if lines.held.get(name) == Some(&key) {
            lines.held.remove(name);
        }
    }

    /// A partition stays offline as long as a journal of this name is in the directory.
    pub fn keep_offline(&self, key: PartitionKey, dir: usize, journal: String) {
        self.lines().offline.insert(key, (dir, journal));
    }

    /// The journal that keeps a partition offline.
    pub fn offline(&self, key: PartitionKey) -> Option<(usize, String)> {
        self.lines().offline.get(&key).cloned()
    }

    /// Partitions are about to be made: when this returns, no file has a line of an earlier one of the same name. Blocks.
    ///
    /// # Errors
    /// The file system's.
    pub fn free_names<'a>(
        &self,
        files: &dyn Files,
        dirs: &[PathBuf],
        made: impl Iterator<Item = (PartitionKey, &'a TopicPartition)>,
    ) -> io::Result<()> {
        for (key, name) in made {
            let mut lines = self.lines();
            let earlier = lines.by_name.get(name).copied().filter(|earlier| *earlier != key);
            if earlier.is_some_and(|earlier| lines.forget(earlier)) {
                self.stale.store(true, Ordering::Relaxed);
            }
        }
        // Who writes the files just now may have taken note of an earlier one's end, and not be done with them.
        let alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stale.load(Ordering::Relaxed) { self.write_alone(files, dirs, &alone) } else { Ok(()) }
    }

    /// This start's broker epoch, for the mark of a clean stop.
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
    }

    /// What was set, or -1.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Relaxed)
    }

    /// A partition could not be opened: it is not as after a clean stop, whatever becomes of the others.
    pub fn note_unopened(&self) {
        self.unopened.store(true, Ordering::Relaxed);
    }

    /// Whether there is such a partition.
    pub fn has_unopened(&self) -> bool {
        self.unopened.load(Ordering::Relaxed)
    }

    /// Asks for the files to be written soon.
    pub fn want_write(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked, once.
    pub fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }

    /// Writes all checkpoint files. Blocks.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, files: &dyn Files, dirs: &[PathBuf]) -> io::Result<()> {
        let alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_alone(files, dirs, &alone)
    }

    fn write_alone(
        &self,
        files: &dyn Files,
        dirs: &[PathBuf],
        _alone: &MutexGuard<'_, ()>,
    ) -> io::Result<()> {
        self.stale.store(false, Ordering::Relaxed);
        let (current, offline) = self.lines().now();
        let written = (0..).zip(dirs).try_for_each(|(index, dir)| {
            let here = || current.iter().filter(|(_, line)| line.dir == index);
            let own = Own {
                incarnation_id: self.incarnation_id,
                previous_id: self.previous_id,
                partitions: here()
                    .map(|(key, line)| ((key.topic_id, key.partition), line.noted.own()))
                    .collect(),
                offline: (offline.iter().filter(|(_, (dir, _))| *dir == index))
                    .map(|(key, (_, file))| ((key.topic_id, key.partition), file.clone()))
                    .collect(),
            };
            // Before Kafka's: what it says holds even if a kill comes between.
            files.write_atomic(&dir.join(names::OTTLA_CHECKPOINT), &checkpoint::format_own(&own))?;
            let of = |pick: fn(&Noted) -> Option<Offset>| by_name(here(), pick);
            write_file(files, &dir.join(names::RECOVERY_POINT_CHECKPOINT), &of(|n| n.recovery_point))?;
            write_file(files, &dir.join(names::LOG_START_CHECKPOINT), &of(|n| n.log_start_offset))?;
            write_file(files, &dir.join(names::REPLICATION_CHECKPOINT), &of(|n| n.high_watermark))
        });
        if written.is_err() {
            self.stale.store(true, Ordering::Relaxed);
        }
        written
    }
}

impl Noted {
    fn own(self) -> OwnLine {
        let Noted { recovery_point, log_start_offset, certain, .. } = self;
        OwnLine { recovery_point, log_start_offset, certain }
    }
}

impl Lines {
    fn note(&mut self, dir: usize, key: PartitionKey, name: &TopicPartition, noted: Noted) {
        if let Some(line) = self.by_key.get_mut(&key) {
            (line.dir, line.noted) = (dir, noted);
        } else {
            self.by_key.insert(key, Line { dir, name: name.clone(), noted });
            self.by_name.insert(name.clone(), key);
        }
        if self.planned.get(&key).is_some_and(|planned| noted.log_start_offset >= Some(*planned)) {
            self.planned.remove(&key);
        }
    }

    /// Whether anything was known.
    fn forget(&mut self, key: PartitionKey) -> bool {
        self.planned.remove(&key);
        let offline = self.offline.remove(&key);
        let Some(line) = self.by_key.remove(&key) else { return offline.is_some() };
        if self.by_name.get(&line.name) == Some(&key) {
            self.by_name.remove(&line.name);
        }
        true
    }

    /// Everything, with the log starts that are planned.
    #[allow(clippy::type_complexity)]
    fn now(&self) -> (BTreeMap<PartitionKey, Line>, BTreeMap<PartitionKey, (usize, String)>) {
        let mut current = self.by_key.clone();
        for (key, start) in &self.planned {
            if let Some(line) = current.get_mut(key) {
                line.noted.log_start_offset = line.noted.log_start_offset.max(Some(*start));
            }
        }
        (current, self.offline.clone())
    }
}

/// The lines of a file that goes by name. Of two topics of one name, the earlier of which is just being deleted, neither
/// has one: an offset that is missing does no harm.
fn by_name<'a>(
    lines: impl Iterator<Item = (&'a PartitionKey, &'a Line)>,
    pick: fn(&Noted) -> Option<Offset>,
) -> BTreeMap<TopicPartition, Offset> {
    let mut found: BTreeMap<&TopicPartition, Option<Offset>> = BTreeMap::new();
    for (_, line) in lines {
        found.entry(&line.name).and_modify(|offset| *offset = None).or_insert_with(|| pick(&line.noted));
    }
    found.into_iter().filter_map(|(name, offset)| Some((name.clone(), offset?))).collect()
}

fn read_file(files: &dyn Files, path: &Path) -> BTreeMap<TopicPartition, Offset> {
    if !files.exists(path) {
        return BTreeMap::new();
    }
    let parsed = files.read(path).ok().and_then(|bytes| checkpoint::parse_offsets(&bytes));
    parsed.unwrap_or_else(|| {
        tracing::warn!(path = %path.display(), "the checkpoint is damaged and not used: its partitions are checked from their beginning");
        BTreeMap::new()
    })
}

fn write_file(files: &dyn Files, path: &Path, entries: &BTreeMap<TopicPartition, Offset>) -> io::Result<()> {
    files.write_atomic(path, &checkpoint::format_offsets(entries))
}

impl Shard {
    /// Notes where a partition stands.
    pub(super) fn note_checkpoint(&mut self, slot: u32) {
        let dirs = self.dirs.paths.clone();
        let Some(key) = self.partitions.get(slot).map(|hosted| hosted.key) else { return };
        if self.partitions.slot(key) != Some(slot) {
            return; // it is being deleted
        }
        let Some(hosted) = self.partitions.get(slot) else { return };
        let (name, high_watermark) = (hosted.name.clone(), hosted.high_watermark);
        let Some(log) = hosted.log() else { return };
        let dir = dirs.iter().position(|d| log.dir().starts_with(d)).unwrap_or(0);
        let noted = Noted {
            recovery_point: Some(log.recovery_point()),
            log_start_offset: Some(log.log_start_offset()),
            high_watermark: Some(high_watermark),
            certain: true,
        };
        self.book.note(dir, key, &name, noted);
    }
}

#[cfg(test)]
mod tests;
