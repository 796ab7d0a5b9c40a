//! The checkpoint files of the log directories: recovery points, log starts, high watermarks. Every core notes
//! what it knows; core 0 has them written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::{Offset, TopicPartition};
use crate::io::Files;
use crate::log::{checkpoint, names};

use super::Shard;

/// What is noted about a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Everything below is flushed.
    pub recovery_point: Option<Offset>,
    /// The first offset.
    pub log_start_offset: Option<Offset>,
    /// The high watermark.
    pub high_watermark: Option<Offset>,
}

/// What all cores have noted. Not on the data path: it is touched when something moved, and read once a minute.
pub struct CheckpointBook {
    initial: BTreeMap<TopicPartition, (usize, Noted)>,
    clean_shutdown: bool,
    current: Mutex<BTreeMap<TopicPartition, (usize, Noted)>>,
    /// Log starts that are about to be: written before they are shown, or a killed process would take them back.
    planned: Mutex<BTreeMap<TopicPartition, Offset>>,
    writing: Mutex<()>,
    wanted: AtomicBool,
    broker_epoch: AtomicI64,
}

impl CheckpointBook {
    /// Reads the checkpoints of all directories. A file that is missing or damaged counts as empty: every partition
    /// it would have named is then recovered from its beginning.
    pub fn read(files: &dyn Files, dirs: &[PathBuf]) -> CheckpointBook {
        let mut initial: BTreeMap<TopicPartition, (usize, Noted)> = BTreeMap::new();
        for (index, dir) in dirs.iter().enumerate() {
            let none = || (index, Noted::default());
            for (partition, offset) in read_file(files, &dir.join(names::RECOVERY_POINT_CHECKPOINT)) {
                initial.entry(partition).or_insert_with(none).1.recovery_point = Some(offset);
            }
            for (partition, offset) in read_file(files, &dir.join(names::LOG_START_CHECKPOINT)) {
                initial.entry(partition).or_insert_with(none).1.log_start_offset = Some(offset);
            }
        }
        let clean_shutdown =
            !dirs.is_empty() && dirs.iter().all(|d| files.exists(&d.join(names::CLEAN_SHUTDOWN)));
        CheckpointBook {
            // A partition that cannot be opened now keeps what is known of it.
            current: Mutex::new(initial.clone()),
            initial,
            clean_shutdown,
            planned: Mutex::default(),
            writing: Mutex::default(),
            wanted: AtomicBool::new(false),
            broker_epoch: AtomicI64::new(-1),
        }
    }

    /// What the files said of a partition.
    pub fn initial(&self, partition: &TopicPartition) -> Noted {
        self.initial.get(partition).map_or_else(Noted::default, |(_, noted)| *noted)
    }

    /// Whether every directory was closed cleanly.
    pub fn clean_shutdown(&self) -> bool {
        self.clean_shutdown
    }

    /// Notes where a partition in directory `dir` stands.
    pub fn note(&self, dir: usize, partition: &TopicPartition, noted: Noted) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.insert(partition.clone(), (dir, noted));
    }

    /// A partition's log start will be this: the files say so from the next [`CheckpointBook::write`] on.
    pub fn plan_log_start(&self, partition: &TopicPartition, offset: Offset) {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = planned.entry(partition.clone()).or_insert(offset);
        *entry = offset.max(*entry);
    }

    /// Forgets a partition that is gone.
    pub fn forget(&self, partition: &TopicPartition) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).remove(partition);
        self.current.lock().unwrap_or_else(PoisonError::into_inner).remove(partition);
    }

    /// This start's broker epoch, for the mark of a clean stop.
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
    }

    /// What was set, or -1.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Relaxed)
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
    pub fn write(&self, files: &dyn Files, dirs: &[PathBuf]) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (partition, start) in self.planned.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some((_, noted)) = current.get_mut(partition) {
                noted.log_start_offset = noted.log_start_offset.max(Some(*start));
            }
        }
        for (index, dir) in dirs.iter().enumerate() {
            let of = |pick: fn(&Noted) -> Option<Offset>| {
                let entries = current.iter().filter(|(_, (d, _))| *d == index);
                entries.filter_map(|(p, (_, n))| Some((p.clone(), pick(n)?))).collect::<BTreeMap<_, _>>()
            };
            write_file(files, &dir.join(names::RECOVERY_POINT_CHECKPOINT), &of(|n| n.recovery_point))?;
            write_file(files, &dir.join(names::LOG_START_CHECKPOINT), &of(|n| n.log_start_offset))?;
            write_file(files, &dir.join(names::REPLICATION_CHECKPOINT), &of(|n| n.high_watermark))?;
        }
        Ok(())
    }
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
        let Some(hosted) = self.partitions.get(slot) else { return };
        let (name, high_watermark) = (hosted.name.clone(), hosted.high_watermark);
        let Some(log) = hosted.log() else { return };
        let dir = dirs.iter().position(|d| log.dir().starts_with(d)).unwrap_or(0);
        let noted = Noted {
            recovery_point: Some(log.recovery_point()),
            log_start_offset: Some(log.log_start_offset()),
            high_watermark: Some(high_watermark),
        };
        self.book.note(dir, &name, noted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sim::{DiskConfig, SimDisk};

    /// DeleteRecords was answered, the process was killed before the next checkpoint, and the records were back: now
    /// the log start to be is written before the answer, whatever a core still notes meanwhile.
    #[test]
    fn a_planned_log_start_is_written_over_an_older_note() {
        let disk = SimDisk::new(1, DiskConfig::default());
        let dirs = [PathBuf::from("/data")];
        disk.create_dir_all(&dirs[0]).unwrap();
        let book = CheckpointBook::read(&disk, &dirs);
        let partition = TopicPartition::new("t", 0);
        let noted = Noted { log_start_offset: Some(3), ..Noted::default() };
        book.note(0, &partition, noted);
        book.plan_log_start(&partition, 10);
        book.plan_log_start(&partition, 7);
        book.note(0, &partition, noted);
        book.write(&disk, &dirs).unwrap();
        let read = |book: &CheckpointBook| book.initial(&partition).log_start_offset;
        assert_eq!(read(&CheckpointBook::read(&disk, &dirs)), Some(10));
        // The topic was deleted; one of the same name begins at zero again.
        book.forget(&partition);
        book.note(0, &partition, Noted { log_start_offset: Some(0), ..Noted::default() });
        book.write(&disk, &dirs).unwrap();
        assert_eq!(read(&CheckpointBook::read(&disk, &dirs)), Some(0));
    }
}
