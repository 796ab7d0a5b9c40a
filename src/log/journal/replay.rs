//! Redoing what a journal holds after a stop that was not clean.
//!
//! Entries are written again to where they belong, whether they had got there or not: the same bytes to the same
//! places. What lies below a partition's recovery point is flushed already and left alone. Recovery then finds
//! segments without holes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Level;
use super::frame::{Entry, FileHeader, Frame};
use crate::base::limits::BLOCK_BYTES;
use crate::base::{Offset, TopicId};
use crate::io::{File, Files, OpenMode, side_by_side};
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

/// An entry that is to be redone.
struct Redo<'a> {
    entry: Entry,
    batches: &'a [u8],
    /// Only if nothing is missing before it.
    checked: bool,
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
    target: impl Fn(TopicId, i32) -> Option<Target> + Sync,
) -> io::Result<Replayed> {
    let journals = journals(files, dir)?;
    let read = |(path, level): &(PathBuf, Level)| files.read(path).map(|bytes| (bytes, *level));
    let read: Vec<(Vec<u8>, Level)> = journals.iter().map(read).collect::<io::Result<_>>()?;
    let mut by_partition: BTreeMap<(TopicId, i32), Vec<Redo<'_>>> = BTreeMap::new();
    for (bytes, level) in &read {
        let Some(header) = FileHeader::parse(bytes) else { continue };
        // Behind a power cut, what lies before a staged entry may be gone.
        let checked = *level == Level::Staged && header.boot_id != files.boot_id();
        for (entry, batches) in believed(bytes, header, *level).iter().flat_map(Frame::entries) {
            let checked = checked || entry.behind_gap;
            let of = by_partition.entry((entry.topic_id, entry.partition)).or_default();
            of.push(Redo { entry, batches, checked });
        }
    }
    let done = Mutex::new(Replayed::default());
    // Each partition's part is its own: they are written side by side, as most of it is waiting for the disk.
    side_by_side(files, by_partition.into_iter().collect(), |((topic_id, partition), entries)| {
        let Some(target) = target(topic_id, partition) else { return Ok(()) };
        let part = Known::new(target).redo(files, &entries)?;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.entries += part.entries;
        done.bytes += part.bytes;
        Ok(())
    })?;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
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

/// A partition while its entries are redone.
struct Known {
    target: Target,
    /// Base offsets of its segments, once they are asked for.
    bases: Option<BTreeSet<Offset>>,
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

impl Known {
    fn new(target: Target) -> Known {
        Known { target, bases: None, open: None, whole: None }
    }

    /// Writes batches where they belong; those to be checked only if nothing is missing before them. Those that are there
    /// for certain, or cannot be used, are left out.
    fn redo(&mut self, files: &dyn Files, entries: &[Redo<'_>]) -> io::Result<Replayed> {
        let mut done = Replayed::default();
        let flushed = entries.iter().take_while(|redo| redo.entry.next <= self.target.recovery_point).count();
        let (_, mut left) = entries.split_at(flushed);
        while let Some(Redo { entry, checked, .. }) = left.first() {
            // What lies behind each other is written at once.
            let joins = |a: &Redo<'_>, b: &Redo<'_>| {
                let end = a.entry.position + a.batches.len() as u64;
                !b.checked && b.entry.segment == a.entry.segment && b.entry.position == end
            };
            let count = 1 + left.windows(2).take_while(|pair| !checked && joins(&pair[0], &pair[1])).count();
            let (now, rest) = left.split_at(count);
            left = rest;
            let last = now.last().map_or(entry.next, |redo| redo.entry.next);
            if last <= self.target.recovery_point || self.is_deleted(files, entry.segment)? {
                continue;
            }
            if *checked && !self.is_whole_upto(files, entry.segment, entry.position)? {
                continue;
            }
            let file = self.file(files, entry.segment)?;
            let bytes: Vec<&[u8]> = now.iter().map(|redo| redo.batches).collect();
            let bytes = bytes.concat();
            files.write_at(&file, entry.position, &bytes)?;
            done.entries += count as u64;
            done.bytes += bytes.len() as u64;
        }
        Ok(done)
    }

    /// A segment that is missing before others was deleted; one that is missing behind them was not made yet.
    fn is_deleted(&mut self, files: &dyn Files, segment: Offset) -> io::Result<bool> {
        let is_open = self.open.as_ref().is_some_and(|(base, _)| *base == segment);
        if is_open || files.exists(&self.path(segment)) {
            return Ok(false);
        }
        Ok(self.bases(files)?.last().is_some_and(|last| segment < *last))
    }

    fn path(&self, segment: Offset) -> PathBuf {
        self.target.dir.join(file_name(segment, FileKind::Log))
    }

    fn bases(&mut self, files: &dyn Files) -> io::Result<&mut BTreeSet<Offset>> {
        if self.bases.is_none() {
            let mut bases = BTreeSet::new();
            if files.exists(&self.target.dir) {
                for entry in files.list(&self.target.dir)? {
                    if let Some((base, FileKind::Log)) = parse_file_name(&entry.name) {
                        bases.insert(base);
                    }
                }
            }
            self.bases = Some(bases);
        }
        Ok(self.bases.get_or_insert_default())
    }

    fn file(&mut self, files: &dyn Files, segment: Offset) -> io::Result<File> {
        if let Some((_, file)) = self.open.as_ref().filter(|(base, _)| *base == segment) {
            return Ok(file.clone());
        }
        let path = self.path(segment);
        if !files.exists(&path) {
            files.create_dir_all(&self.target.dir)?;
        }
        let file = files.open(&path, OpenMode::Buffered)?;
        if let Some(bases) = &mut self.bases {
            bases.insert(segment);
        }
        self.open = Some((segment, file.clone()));
        Ok(file)
    }

    /// Whether valid batches follow each other without a gap up to a position.
    fn is_whole_upto(&mut self, files: &dyn Files, segment: Offset, position: u64) -> io::Result<bool> {
        let recovery_point = self.target.recovery_point;
        let bases = self.bases(files)?;
        let first = bases.range(..=recovery_point).next_back().or(bases.first());
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
        if !self.bases(files)?.contains(&at.segment) {
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
