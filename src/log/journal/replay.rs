//! Redoing what a journal holds after a stop that was not clean.
//!
//! Entries are written again to where they belong, whether they had got there or not: the same bytes to the same
//! places. What lies below a partition's recovery point is flushed already and left alone. Recovery then finds
//! segments without holes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::Level;
use super::frame::{Entry, FileHeader, Frame};
use crate::base::limits::{BLOCK_BYTES, JOURNAL_REPLAY_FILES_MAX};
use crate::base::{Offset, TopicId};
use crate::io::{File, Files, OpenMode};
use crate::log::names::{FileKind, file_name, parse_file_name};
use crate::wire::record::{BatchHeader, BatchView, HEADER_BYTES};

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Entries that were written to segments.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A partition as a replay sees it.
pub struct Target {
    /// Its directory.
    pub dir: PathBuf,
    /// Everything below is flushed.
    pub recovery_point: Offset,
}

/// Redoes every journal in `dir`: writes, flushes, and removes the journals. `target` finds a partition, None if it is
/// gone. Blocks.
///
/// # Errors
/// If something cannot be read or written; the journals stay for the next try.
pub fn replay(
    files: &dyn Files,
    dir: &Path,
    log_dirs: &[PathBuf],
    target: impl Fn(TopicId, i32) -> Option<Target>,
) -> io::Result<Replayed> {
    let mut done = Replayed::default();
    let journals = journals(files, dir)?;
    let mut segments = Segments { files, target, known: BTreeMap::new(), opened: 0 };
    for (path, level) in &journals {
        let bytes = files.read(path)?;
        let Some(header) = FileHeader::parse(&bytes) else { continue };
        // Behind a power cut, what lies before a staged entry may be gone.
        let checked = *level == Level::Staged && header.boot_id != files.boot_id();
        for (entry, batches) in believed(&bytes, header, *level).iter().flat_map(Frame::entries) {
            if segments.redo(&entry, batches, checked || entry.behind_gap)? {
                done.entries += 1;
                done.bytes += batches.len() as u64;
            }
        }
    }
    if done.entries > 0 {
        log_dirs.iter().try_for_each(|dir| files.sync_all(dir))?;
    }
    remove_all(files, dir, &journals)?;
    Ok(done)
}

/// Removes the journals: everything in them is in the segments. Blocks.
///
/// # Errors
/// If one cannot be removed.
pub fn remove(files: &dyn Files, dir: &Path) -> io::Result<()> {
    remove_all(files, dir, &journals(files, dir)?)
}

fn remove_all(files: &dyn Files, dir: &Path, journals: &[(PathBuf, Level)]) -> io::Result<()> {
    if journals.is_empty() {
        return Ok(());
    }
    journals.iter().try_for_each(|(path, _)| files.remove_file(path))?;
    files.sync_dir(dir)
}

fn journals(files: &dyn Files, dir: &Path) -> io::Result<Vec<(PathBuf, Level)>> {
    let entries = files.list(dir)?.into_iter().filter(|e| !e.is_dir);
    Ok(entries.filter_map(|e| Some((dir.join(&e.name), Level::of_file(&e.name)?))).collect())
}

/// The frames that can be believed, in order: no number among them is missing.
///
/// After a kill, and at the flushed level always, only the newest frame can be damaged. A power cut may take any staged
/// frame: what comes after the first that is gone is left out, so that a partition loses its end and not its middle. At
/// the flushed level the write that was cut off may have spared old frames of the half it was to begin: they do not
/// join, and the newer half counts.
fn believed(bytes: &[u8], header: FileHeader, level: Level) -> Vec<Frame<'_>> {
    let half = usize::try_from(header.half_bytes).unwrap_or(usize::MAX);
    let [mut first, mut second] = [0, 1].map(|number| {
        let from = BLOCK_BYTES.saturating_add(half.saturating_mul(number));
        let to = from.saturating_add(half).min(bytes.len());
        chain(bytes.get(from..to).unwrap_or_default(), level, header.salt)
    });
    let number = |frames: &[Frame<'_>]| frames.first().map_or(u64::MAX, |frame| frame.sequence);
    if number(&second) < number(&first) {
        std::mem::swap(&mut first, &mut second);
    }
    let joined = first.last().is_some_and(|last| last.sequence + 1 == number(&second));
    match (joined, level, second.is_empty()) {
        (true, ..) => {
            first.append(&mut second);
            first
        }
        (false, Level::Flushed, false) => second,
        (false, ..) => first,
    }
}

fn chain(half: &[u8], level: Level, salt: u32) -> Vec<Frame<'_>> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut at = 0;
    while let Some(frame) = half.get(at..).and_then(|left| Frame::parse(left, salt)) {
        if frames.last().is_some_and(|last| frame.sequence != last.sequence + 1) {
            break;
        }
        at += frame.len.next_multiple_of(level.alignment());
        frames.push(frame);
    }
    frames
}

/// The partitions' files, while they are written to.
struct Segments<'a, T> {
    files: &'a dyn Files,
    target: T,
    known: BTreeMap<(TopicId, i32), Option<Known>>,
    /// Partitions with an open file.
    opened: usize,
}

struct Known {
    target: Target,
    /// Base offsets of its segments.
    bases: BTreeSet<Offset>,
    open: Option<(Offset, File)>,
    whole: Option<Whole>,
}

/// How far a partition was found to be without holes, from the segment with the recovery point on.
#[derive(Clone, Copy)]
struct Whole {
    segment: Offset,
    position: u64,
    next: Offset,
}

impl<T: Fn(TopicId, i32) -> Option<Target>> Segments<'_, T> {
    /// Writes an entry's batches where they belong; with `checked` only if nothing is missing before them. False if they
    /// are there for certain, or cannot be used.
    fn redo(&mut self, entry: &Entry, batches: &[u8], checked: bool) -> io::Result<bool> {
        let key = (entry.topic_id, entry.partition);
        if !self.known.contains_key(&key) {
            let found =
                (self.target)(key.0, key.1).map(|target| Known::find(self.files, target)).transpose()?;
            self.known.insert(key, found);
        }
        if self.opened >= JOURNAL_REPLAY_FILES_MAX {
            self.opened = 0;
            self.known.values_mut().flatten().for_each(|known| known.open = None);
        }
        let Some(Some(known)) = self.known.get_mut(&key) else { return Ok(false) };
        // A segment that is missing before others was deleted; one that is missing behind them was not made yet.
        let deleted = known.bases.last().is_some_and(|last| entry.segment < *last)
            && !known.bases.contains(&entry.segment);
        if entry.next <= known.target.recovery_point || deleted {
            return Ok(false);
        }
        self.opened += usize::from(known.open.is_none());
        if checked && !known.is_whole_upto(self.files, entry.segment, entry.position)? {
            return Ok(false);
        }
        let file = known.file(self.files, entry.segment)?;
        self.files.write_at(&file, entry.position, batches)?;
        Ok(true)
    }
}

impl Known {
    fn find(files: &dyn Files, target: Target) -> io::Result<Known> {
        let mut bases = BTreeSet::new();
        if files.exists(&target.dir) {
            for entry in files.list(&target.dir)? {
                if let Some((base, FileKind::Log)) = parse_file_name(&entry.name) {
                    bases.insert(base);
                }
            }
        }
        Ok(Known { target, bases, open: None, whole: None })
    }

    fn file(&mut self, files: &dyn Files, segment: Offset) -> io::Result<File> {
        if let Some((_, file)) = self.open.as_ref().filter(|(base, _)| *base == segment) {
            return Ok(file.clone());
        }
        files.create_dir_all(&self.target.dir)?;
        let path = self.target.dir.join(file_name(segment, FileKind::Log));
        let file = files.open(&path, OpenMode::Buffered)?;
        self.bases.insert(segment);
        self.open = Some((segment, file.clone()));
        Ok(file)
    }

    /// Whether valid batches follow each other without a gap up to a position.
    fn is_whole_upto(&mut self, files: &dyn Files, segment: Offset, position: u64) -> io::Result<bool> {
        let first = self.bases.range(..=self.target.recovery_point).next_back().or(self.bases.first());
        let begin = first.copied().unwrap_or(segment);
        let mut at = self.whole.unwrap_or(Whole { segment: begin, position: 0, next: begin });
        while (at.segment, at.position) < (segment, position) {
            if let Some(next) = self.batch_at(files, at)? {
                at = next;
            } else if at.segment < segment && at.next == segment {
                at = Whole { segment, position: 0, next: segment };
            } else {
                break;
            }
        }
        self.whole = Some(at);
        // An entry that begins before is there already, or lies in a segment that was not looked at.
        Ok((segment, position) <= (at.segment, at.position))
    }

    /// Where the batch at `at` ends, if a valid one is there that follows.
    fn batch_at(&mut self, files: &dyn Files, at: Whole) -> io::Result<Option<Whole>> {
        if !self.bases.contains(&at.segment) {
            return Ok(None);
        }
        let file = self.file(files, at.segment)?;
        let head = files.read_at(&file, at.position, HEADER_BYTES)?;
        let Ok(header) = BatchHeader::parse(&head) else { return Ok(None) };
        let total = header.total_bytes();
        let bytes = files.read_at(&file, at.position, total)?;
        let valid = BatchView::parse(&bytes).is_ok_and(|view| view.check_crc().is_ok());
        let follows = header.base_offset >= at.next && header.last_offset_delta >= 0;
        Ok((valid && follows).then(|| Whole {
            position: at.position + total as u64,
            next: header.next_offset(),
            ..at
        }))
    }
}
