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
use crate::io::repeats::limited;
use crate::log::checkpoint::{self, Content, Own, OwnError, OwnLine};
use crate::log::{journal, names};
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
pub enum CheckpointError {
    /// The disk answered with an error, which is no damage: what is in the file stays.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A later version has written it.
    #[error("{0} is of version {1}, which a newer version of Ottla has written: start that one")]
    Newer(PathBuf, u32),
    /// Nothing says any more which partitions must stay offline.
    #[error(
        "{dir}: {own} and {copy} are damaged, so it is not known which partitions the journals that were set aside there ({journal}) keep offline; restore one of the two files from a copy, or move those journals elsewhere to go on without their records, and start again",
        own = names::OTTLA_CHECKPOINT,
        copy = names::OTTLA_OFFLINE
    )]
    OfflineUnknown {
        /// The log directory.
        dir: PathBuf,
        /// The first of its journals.
        journal: String,
    },
}

/// Partitions of a directory that are not opened as long as a file of this name is in it.
type Offline = BTreeMap<(Uuid, i32), String>;

/// What the files said at start.
#[derive(Default)]
pub struct Checkpoints {
    /// By directory: Ottla's own file, if it can be used.
    own: Vec<Option<Own>>,
    /// By directory: what the second file says of partitions that stay offline.
    offline: Vec<Option<Offline>>,
    /// By directory: what Kafka's files say.
    by_name: Vec<BTreeMap<TopicPartition, Noted>>,
    clean_shutdown: bool,
}

impl Checkpoints {
    /// Reads the checkpoints of all directories; changes nothing. A file that is missing or damaged counts as empty: every
    /// partition it would have named is then recovered from its beginning, and log starts are those of Kafka's file. What
    /// stays offline stands in two files.
    ///
    /// # Errors
    /// A file that cannot be read or is of a later version; both files that say what stays offline are damaged.
    pub fn read(files: &dyn Files, dirs: &[PathBuf]) -> Result<Checkpoints, CheckpointError> {
        let mut read = Checkpoints::default();
        for dir in dirs {
            let own = read_own(files, &dir.join(names::OTTLA_CHECKPOINT))?;
            let copy = read_own(files, &dir.join(names::OTTLA_OFFLINE))?;
            if let (Content::Damaged(_), Content::Damaged(_) | Content::Absent)
            | (Content::Absent, Content::Damaged(_)) = (&own, &copy)
            {
                refuse_journals_aside(files, dir)?;
            }
            read.own.push(whole(own));
            read.offline.push(whole(copy).map(|own| own.offline));
            let mut by_name: BTreeMap<TopicPartition, Noted> = BTreeMap::new();
            for (partition, offset) in read_file(files, &dir.join(names::RECOVERY_POINT_CHECKPOINT))? {
                by_name.entry(partition).or_default().recovery_point = Some(offset);
            }
            for (partition, offset) in read_file(files, &dir.join(names::LOG_START_CHECKPOINT))? {
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

    /// What stays offline, and in which directory: what either file says.
    fn offline(&self) -> impl Iterator<Item = (usize, &Offline)> {
        let own = self.own.iter().map(|own| own.as_ref().map(|own| &own.offline));
        let copies = self.offline.iter().map(Option::as_ref);
        own.enumerate().chain(copies.enumerate()).filter_map(|(dir, offline)| Some((dir, offline?)))
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
    /// Log starts that are about to be, of each deletion one: written before they are shown, or a killed process would
    /// take them back.
    planned: BTreeMap<PartitionKey, Vec<Offset>>,
    /// Who may use the directories of a name, by path: one partition at a time, whatever core it is on.
    held: BTreeMap<TopicPartition, PartitionKey>,
    /// Partitions that stay offline, the directory and the name of the journal with their records.
    offline: BTreeMap<PartitionKey, (usize, String)>,
}

/// Why a stop is not as clean as others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unclean {
    /// Partitions that could not be opened.
    pub offline: BTreeSet<TopicPartition>,
    /// How many were not opened yet, so that the next start has to check them.
    pub unopened: usize,
}

/// What all cores have noted. Not on the data path: it is touched when something moved, and read once a minute.
pub struct CheckpointBook {
    initial: BTreeMap<PartitionKey, Noted>,
    clean_shutdown: bool,
    incarnation_id: Uuid,
    previous_id: Uuid,
    /// Partitions with records that the last stop knew nothing of, so that they are to be recovered.
    changed: Mutex<BTreeSet<PartitionKey>>,
    /// Below what offset all was acknowledged, as the journals of the last run said.
    acknowledged: Mutex<BTreeMap<PartitionKey, Offset>>,
    lines: Mutex<Lines>,
    /// Held while files are written. By directory: what the second file says of partitions that stay offline.
    writing: Mutex<Vec<Option<Offline>>>,
    wanted: AtomicBool,
    /// Partitions that are not as after a clean stop.
    unclean: Mutex<Unclean>,
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
                for (dir, offline) in read.offline() {
                    let file = offline.get(&(key.topic_id, partition));
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
            acknowledged: Mutex::default(),
            // A partition that cannot be opened now keeps what is known of it.
            lines: Mutex::new(lines),
            writing: Mutex::new(read.offline.clone()),
            wanted: AtomicBool::new(false),
            unclean: Mutex::default(),
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

    /// Everything below an offset was acknowledged before the last stop.
    pub fn note_acknowledged(&self, key: PartitionKey, upto: Offset) {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(key, upto);
    }

    /// What was noted, or 0.
    pub fn acknowledged(&self, key: PartitionKey) -> Offset {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.get(&key).copied().unwrap_or(0)
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
        self.lines().planned.entry(key).or_default().push(offset);
    }

    /// A deletion is over: what it planned holds no more. If it failed, the files say so from the next write on.
    pub fn drop_plan(&self, key: PartitionKey, offset: Offset) {
        let mut lines = self.lines();
        let Some(plans) = lines.planned.get_mut(&key) else { return };
        if let Some(at) = plans.iter().position(|planned| *planned == offset) {
            plans.swap_remove(at);
        }
        if plans.is_empty() {
            lines.planned.remove(&key);
        }
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
        let mut copies = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = self.stale.load(Ordering::Relaxed);
        if stale { self.write_all(files, dirs, &mut copies, |kafkas| kafkas) } else { Ok(()) }
    }

    /// This start's broker epoch, for the mark of a clean stop.
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
    }

    /// What was set, or -1.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Relaxed)
    }

    /// Notes a partition that is not as after a clean stop, whatever becomes of the others.
    pub fn note_unclean(&self, note: impl FnOnce(&mut Unclean)) {
        note(&mut self.unclean.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The partitions of which this was noted.
    pub fn unclean(&self) -> Unclean {
        self.unclean.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let mut copies = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_all(files, dirs, &mut copies, |kafkas| kafkas)
    }

    /// As [`CheckpointBook::write`], but that it counts what Ottla's own files say: if only Kafka's fail, that is logged, and
    /// they are written again. Blocks.
    ///
    /// # Errors
    /// The file system's. What is planned may stand in the files or not.
    pub fn write_plans(&self, files: &dyn Files, dirs: &[PathBuf]) -> io::Result<()> {
        let mut copies = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_all(files, dirs, &mut copies, |kafkas| {
            if let Err(error) = kafkas {
                self.stale.store(true, Ordering::Relaxed);
                self.want_write();
                limited!(error, "Kafka's checkpoints could not be written", %error, "Kafka's checkpoints could not be written; Ottla's own says the same");
            }
            Ok(())
        })
    }

    /// Who calls holds what `copies` stands in.
    fn write_all(
        &self,
        files: &dyn Files,
        dirs: &[PathBuf],
        copies: &mut Vec<Option<Offline>>,
        judge: impl FnOnce(io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.stale.store(false, Ordering::Relaxed);
        let (current, offline) = self.lines().now();
        copies.resize(dirs.len(), None);
        // Before Kafka's: what they say holds even if a kill comes between.
        let own = (0..).zip(dirs.iter().zip(copies.iter_mut()));
        let own =
            own.map(|(index, (dir, copy))| self.write_own(files, (index, dir), &current, &offline, copy));
        let written = own.collect::<io::Result<()>>().and_then(|()| {
            judge((0..).zip(dirs).try_for_each(|(index, dir)| write_kafkas(files, dir, index, &current)))
        });
        if written.is_err() {
            self.stale.store(true, Ordering::Relaxed);
        }
        written
    }

    /// Writes Ottla's own files of a directory: `copy` is what the second one says.
    fn write_own(
        &self,
        files: &dyn Files,
        (index, dir): (usize, &Path),
        current: &BTreeMap<PartitionKey, Line>,
        offline: &BTreeMap<PartitionKey, (usize, String)>,
        copy: &mut Option<Offline>,
    ) -> io::Result<()> {
        let here = current.iter().filter(|(_, line)| line.dir == index);
        let (incarnation_id, previous_id) = (self.incarnation_id, self.previous_id);
        let offline: Offline = (offline.iter().filter(|(_, (dir, _))| *dir == index))
            .map(|(key, (_, file))| ((key.topic_id, key.partition), file.clone()))
            .collect();
        if copy.as_ref() != Some(&offline) {
            let own = Own { incarnation_id, previous_id, offline: offline.clone(), ..Own::default() };
            *copy = None; // after an error nobody knows
            files.write_atomic(&dir.join(names::OTTLA_OFFLINE), &checkpoint::format_own(&own))?;
            *copy = Some(offline.clone());
        }
        let partitions = here.map(|(key, line)| ((key.topic_id, key.partition), line.noted.own())).collect();
        let own = Own { incarnation_id, previous_id, partitions, offline };
        files.write_atomic(&dir.join(names::OTTLA_CHECKPOINT), &checkpoint::format_own(&own))
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
        for (key, starts) in &self.planned {
            if let Some(line) = current.get_mut(key) {
                line.noted.log_start_offset = line.noted.log_start_offset.max(starts.iter().max().copied());
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

/// Reads a file of Ottla's own; warns of one that is damaged.
fn read_own(files: &dyn Files, path: &Path) -> Result<Content<Own>, CheckpointError> {
    let mut newer = None;
    let parse = |bytes: &[u8]| match checkpoint::parse_own(bytes) {
        Ok(own) => Some(own),
        Err(OwnError::Damaged) => None,
        Err(OwnError::Newer(version)) => {
            newer = Some(version);
            None
        }
    };
    let read =
        checkpoint::read(files, path, parse).map_err(|error| CheckpointError::Io(path.into(), error))?;
    match newer {
        Some(version) => Err(CheckpointError::Newer(path.into(), version)),
        None => Ok(warn_of_damage(path, read)),
    }
}

fn warn_of_damage<T>(path: &Path, read: Content<T>) -> Content<T> {
    if matches!(read, Content::Damaged(_)) {
        tracing::warn!(path = %path.display(), "the checkpoint is damaged and not used: its partitions are checked from their beginning, and what other checkpoints say of them holds");
    }
    read
}

fn whole<T>(read: Content<T>) -> Option<T> {
    match read {
        Content::Whole(own) => Some(own),
        Content::Absent | Content::Damaged(_) => None,
    }
}

/// What stays offline is not known: only where there is no journal that may keep a partition offline, nothing does.
fn refuse_journals_aside(files: &dyn Files, dir: &Path) -> Result<(), CheckpointError> {
    let listed = files.list(dir).map_err(|error| CheckpointError::Io(dir.into(), error))?;
    match listed.into_iter().find(|entry| journal::replay::is_aside(&entry.name)) {
        Some(entry) => Err(CheckpointError::OfflineUnknown { dir: dir.into(), journal: entry.name }),
        None => Ok(()),
    }
}

/// A file that goes by name.
fn read_file(files: &dyn Files, path: &Path) -> Result<BTreeMap<TopicPartition, Offset>, CheckpointError> {
    let read = checkpoint::read(files, path, checkpoint::parse_offsets);
    let read = read.map_err(|error| CheckpointError::Io(path.into(), error))?;
    Ok(whole(warn_of_damage(path, read)).unwrap_or_default())
}

fn write_kafkas(
    files: &dyn Files,
    dir: &Path,
    index: usize,
    current: &BTreeMap<PartitionKey, Line>,
) -> io::Result<()> {
    let here = || current.iter().filter(|(_, line)| line.dir == index);
    let of = |pick: fn(&Noted) -> Option<Offset>| by_name(here(), pick);
    write_file(files, &dir.join(names::RECOVERY_POINT_CHECKPOINT), &of(|n| n.recovery_point))?;
    write_file(files, &dir.join(names::LOG_START_CHECKPOINT), &of(|n| n.log_start_offset))?;
    write_file(files, &dir.join(names::REPLICATION_CHECKPOINT), &of(|n| n.high_watermark))
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
