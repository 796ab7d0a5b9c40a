//! One partition while its entries are redone: whether an entry is there already, can be written, or does not fit.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::frame::Entry;
use super::window::Window;
use crate::base::Offset;
use crate::base::limits::BLOCK_BYTES;
use crate::io::{File, Files, OpenMode};
use crate::log::names::{FileKind, file_name, parse_file_name};
use crate::wire::record::{BatchHeader, BatchView, Batches, HEADER_BYTES};

/// What a power failure tears.
const SECTOR_BYTES: usize = 512;

/// A partition as a replay sees it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its directory.
    pub dir: PathBuf,
    /// Everything below is flushed, as this topic's checkpoint says.
    pub recovery_point: Offset,
    /// What is below was deleted.
    pub log_start: Offset,
}

/// How much is known of an entry, from where it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// Another broker may have written to the directories since.
    pub(super) foreign: bool,
    /// A power cut may have taken what lies before.
    pub(super) cut: bool,
    /// Frames before it are missing, or its own is damaged.
    pub(super) behind_loss: bool,
    /// It was in the last write, which was not acknowledged if it was cut off.
    pub(super) torn: bool,
}

/// An entry that is to be redone.
#[derive(Clone, Debug)]
pub(super) struct Redo {
    pub(super) entry: Entry,
    pub(super) batches: Vec<u8>,
    pub(super) trust: Trust,
}

impl Redo {
    /// The offset of the first record; none if there is no batch.
    pub(super) fn base(&self) -> Option<Offset> {
        BatchHeader::parse(&self.batches).ok().map(|header| header.base_offset)
    }

    /// Whether every batch is whole, and the offsets are those that the entry names.
    pub(super) fn is_sound(&self) -> bool {
        let mut next = None;
        for view in Batches::new(&self.batches) {
            let Some(view) = view.ok().filter(|view| view.check_crc().is_ok()) else { return false };
            let header = view.header();
            if next.is_some_and(|next| header.base_offset < next) || header.last_offset_delta < 0 {
                return false;
            }
            next = Some(header.next_offset());
        }
        next == Some(self.entry.next)
    }

    /// Leaves out what begins at `cut` or ends behind it.
    pub(super) fn cut_at(&mut self, cut: Offset) {
        let (mut len, mut next) = (0, Offset::MIN);
        for view in Batches::new(&self.batches) {
            let Ok(view) = view else { break };
            if view.header().next_offset() > cut {
                break;
            }
            len += view.bytes().len();
            next = view.header().next_offset();
        }
        self.batches.truncate(len);
        self.entry.len = len;
        self.entry.next = next;
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in its segment, or was and has been deleted since.
    There,
    /// It was written.
    Written,
    /// It stands behind something that was never written, and so was never acknowledged.
    Unacknowledged,
    /// It was acknowledged and cannot be written back: why.
    Unfit(String),
    /// What lies before it did not outlive a power cut: from which offset on.
    BehindCut(Offset),
}

/// A partition while its entries are redone.
pub(super) struct Known {
    target: Target,
    /// The largest offset of which entries say that everything below was safe.
    safe: Offset,
    /// Base offsets of its segments, once they are asked for.
    bases: Option<BTreeSet<Offset>>,
    open: Option<(Offset, Window)>,
    whole: Option<Whole>,
}

/// How far a partition was found to be without holes, from the segment with the recovery point on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole {
    segment: Offset,
    position: u64,
    next: Offset,
}

/// What lies at an entry's place.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Its own bytes.
    Same,
    /// Nothing that is valid.
    Free,
    /// A valid batch with the same offset and other content.
    Taken,
}

impl Known {
    pub(super) fn new(target: Target, safe: Offset) -> Known {
        Known { target, safe, bases: None, open: None, whole: None }
    }

    /// Where the partition is.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Lets go of the file, as there may be many partitions.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Redoes entries, which come in the order of their offsets. What lies behind each other is written at once. Tells
    /// `done` what became of each; after one that is unfit no more are tried.
    pub(super) fn redo(
        &mut self,
        files: &dyn Files,
        entries: &[Redo],
        done: &mut dyn FnMut(&Redo, Verdict),
    ) -> io::Result<bool> {
        let mut left = entries;
        while let Some(first) = left.first() {
            let count = if Known::needs_walk(first) {
                1
            } else {
                1 + left.windows(2).take_while(|p| self.join(&p[0], &p[1])).count()
            };
            let (now, rest) = left.split_at(count);
            left = rest;
            let verdict = self.redo_joined(files, now)?;
            let unfit = matches!(verdict, Verdict::Unfit(_));
            for redo in now {
                done(redo, verdict.clone());
            }
            if unfit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn needs_walk(redo: &Redo) -> bool {
        redo.entry.behind_gap || redo.trust != Trust::default()
    }

    fn join(&self, a: &Redo, b: &Redo) -> bool {
        let end = a.entry.position + a.batches.len() as u64;
        let is_known = a.entry.next <= self.target.recovery_point;
        !is_known && !Known::needs_walk(b) && b.entry.segment == a.entry.segment && b.entry.position == end
    }

    fn redo_joined(&mut self, files: &dyn Files, now: &[Redo]) -> io::Result<Verdict> {
        // What was deleted is redone too, as what was not may follow it in its segment; but it cannot be missed.
        let was_deleted = now.last().is_none_or(|last| last.entry.next <= self.target.log_start);
        match self.redo_wanted(files, now)? {
            Verdict::Written => Ok(Verdict::Written),
            _ if was_deleted => Ok(Verdict::There),
            verdict => Ok(verdict),
        }
    }

    fn redo_wanted(&mut self, files: &dyn Files, now: &[Redo]) -> io::Result<Verdict> {
        let Some(first) = now.first() else { return Ok(Verdict::There) };
        let known = first.entry.next <= self.target.recovery_point && !first.trust.foreign;
        if known || self.is_deleted(files, first.entry.segment)? {
            return Ok(Verdict::There);
        }
        let (segment, position) = (first.entry.segment, first.entry.position);
        if Known::needs_walk(first) {
            let at = self.walk(files, segment, position)?;
            if (at.segment, at.position) < (segment, position) {
                return self.behind_gap(files, first, at);
            }
            if (at.segment, at.position) > (segment, position) {
                return self.passed(files, first);
            }
            if first.base().is_none_or(|base| base < at.next) {
                return Ok(Verdict::Unfit(format!("the log goes on at offset {}", at.next)));
            }
        }
        self.put(files, now)
    }

    /// An entry in whose place valid batches stand: its own, or others.
    fn passed(&mut self, files: &dyn Files, redo: &Redo) -> io::Result<Verdict> {
        let Entry { segment, position, .. } = redo.entry;
        let found = self.valid_at(files, segment, position)?;
        let own = BatchHeader::parse(&redo.batches).ok();
        if found.zip(own).is_some_and(|(found, own)| found.crc == own.crc) {
            return self.put(files, std::slice::from_ref(redo));
        }
        Ok(Verdict::Unfit("other records stand in their place".to_owned()))
    }

    /// Writes entries unless they are there, or something else is.
    fn put(&mut self, files: &dyn Files, now: &[Redo]) -> io::Result<Verdict> {
        let entry = now[0].entry;
        let bytes = now.iter().map(|redo| redo.batches.as_slice()).collect::<Vec<_>>().concat();
        match self.place(files, entry.segment, entry.position, &bytes)? {
            Place::Same => return Ok(Verdict::There),
            Place::Taken => return Ok(Verdict::Unfit("other records stand in their place".to_owned())),
            Place::Free => {}
        }
        let window = self.window(files, entry.segment)?;
        write_blocks(files, window.file(), entry.position, &bytes)?;
        window.forget();
        let end = entry.position + bytes.len() as u64;
        let next = now.last().map_or(entry.next, |redo| redo.entry.next);
        if self.whole.is_some_and(|at| (at.segment, at.position) == (entry.segment, entry.position)) {
            self.whole = Some(Whole { segment: entry.segment, position: end, next });
        }
        Ok(Verdict::Written)
    }

    fn place(
        &mut self,
        files: &dyn Files,
        segment: Offset,
        position: u64,
        bytes: &[u8],
    ) -> io::Result<Place> {
        if !files.exists(&self.path(segment)) {
            return Ok(Place::Free);
        }
        let end = position + bytes.len() as u64;
        let found = self.window(files, segment)?.get(files, position, bytes.len(), end)?.to_vec();
        if found == bytes {
            return Ok(Place::Same);
        }
        let mut at = position;
        for batch in Batches::new(bytes).map_while(Result::ok) {
            let header = batch.header();
            if let Some(other) = self.valid_at(files, segment, at)?
                && other.base_offset == header.base_offset
                && other.crc != header.crc
            {
                return Ok(Place::Taken);
            }
            at += header.total_bytes() as u64;
        }
        Ok(Place::Free)
    }

    /// An entry with something missing before it.
    fn behind_gap(&mut self, files: &dyn Files, redo: &Redo, at: Whole) -> io::Result<Verdict> {
        let Redo { entry, trust, .. } = redo;
        if trust.torn {
            return Ok(Verdict::Unacknowledged);
        }
        if trust.cut {
            return Ok(Verdict::BehindCut(at.next));
        }
        let missing = format!("offsets from {} on are missing before them", at.next);
        if !trust.foreign && !self.is_unwritten(files, at, entry)? {
            // What is missing was written once and is damaged: recovery takes it out and names it.
            return self.put(files, std::slice::from_ref(redo));
        }
        let was_safe = at.next < self.safe || entry.next <= self.safe;
        if trust.foreign || was_safe || (trust.behind_loss && !entry.behind_gap) {
            return Ok(Verdict::Unfit(missing));
        }
        Ok(Verdict::Unacknowledged)
    }

    /// Whether something between was never written: a sector of zeros, or the end of a file.
    fn is_unwritten(&mut self, files: &dyn Files, at: Whole, entry: &Entry) -> io::Result<bool> {
        if at.segment != entry.segment || !files.exists(&self.path(entry.segment)) {
            return Ok(true);
        }
        let window = self.window(files, entry.segment)?;
        let mut position = at.position.next_multiple_of(SECTOR_BYTES as u64);
        if position >= entry.position {
            let rest =
                window.get(files, at.position, (entry.position - at.position) as usize, entry.position)?;
            return Ok(rest.iter().all(|byte| *byte == 0));
        }
        while position < entry.position {
            let sector = window.get(files, position, SECTOR_BYTES, position + SECTOR_BYTES as u64)?;
            if sector.len() < SECTOR_BYTES || sector.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            position += SECTOR_BYTES as u64;
        }
        Ok(false)
    }

    /// A segment that is missing before all others was deleted.
    fn is_deleted(&mut self, files: &dyn Files, segment: Offset) -> io::Result<bool> {
        let is_open = self.open.as_ref().is_some_and(|(base, _)| *base == segment);
        Ok(!is_open && self.bases(files)?.first().is_some_and(|first| segment < *first))
    }

    fn path(&self, segment: Offset) -> PathBuf {
        self.target.dir.join(file_name(segment, FileKind::Log))
    }

    fn bases(&mut self, files: &dyn Files) -> io::Result<&mut BTreeSet<Offset>> {
        if self.bases.is_none() {
            let mut bases = BTreeSet::new();
            for entry in files.list(&self.target.dir)? {
                if let Some((base, FileKind::Log)) = parse_file_name(&entry.name) {
                    bases.insert(base);
                }
            }
            self.bases = Some(bases);
        }
        Ok(self.bases.get_or_insert_default())
    }

    /// The file of a segment, which is made if it is missing.
    fn window(&mut self, files: &dyn Files, segment: Offset) -> io::Result<&mut Window> {
        if self.open.as_ref().is_none_or(|(base, _)| *base != segment) {
            let file = files.open(&self.path(segment), OpenMode::DirectCreate)?;
            self.bases(files)?.insert(segment);
            self.open = Some((segment, Window::new(file)));
        }
        self.open.as_mut().map(|(_, window)| window).ok_or_else(|| io::Error::other("no file is open"))
    }

    /// Follows valid batches from segment to segment, up to a position or to where one is missing.
    fn walk(&mut self, files: &dyn Files, segment: Offset, position: u64) -> io::Result<Whole> {
        let from = self.target.recovery_point;
        let bases = self.bases(files)?;
        let first = bases.range(..=from).next_back().or(bases.first()).copied().unwrap_or(segment);
        let mut at = self.whole.unwrap_or(Whole { segment: first, position: 0, next: first });
        while (at.segment, at.position) < (segment, position) {
            if let Some(next) = self.batch_at(files, at)? {
                at = next;
                continue;
            }
            // The next segment begins where this one ends; behind a compaction, offsets may be missing at its end.
            let next = at.next;
            let bases = self.bases(files)?;
            let following = bases.range(at.segment + 1..).next().copied().unwrap_or(segment).min(segment);
            if following <= at.segment || following != next {
                break;
            }
            at = Whole { segment: following, position: 0, next };
        }
        self.whole = Some(at);
        Ok(at)
    }

    /// Where the batch at `at` ends, if a valid one is there that follows.
    fn batch_at(&mut self, files: &dyn Files, at: Whole) -> io::Result<Option<Whole>> {
        if !self.bases(files)?.contains(&at.segment) {
            return Ok(None);
        }
        let header = self.valid_at(files, at.segment, at.position)?;
        let header = header.filter(|header| header.base_offset >= at.next && header.last_offset_delta >= 0);
        Ok(header.map(|header| Whole {
            position: at.position + header.total_bytes() as u64,
            next: header.next_offset(),
            ..at
        }))
    }

    /// The header of a batch with a right checksum.
    fn valid_at(
        &mut self,
        files: &dyn Files,
        segment: Offset,
        position: u64,
    ) -> io::Result<Option<BatchHeader>> {
        let window = self.window(files, segment)?;
        let head = window.get(files, position, HEADER_BYTES, u64::MAX)?;
        let Ok(header) = BatchHeader::parse(head) else { return Ok(None) };
        let total = header.total_bytes();
        if position + total as u64 > files.len(window.file())? {
            return Ok(None);
        }
        let bytes = window.get(files, position, total, u64::MAX)?;
        let valid = BatchView::parse(bytes).is_ok_and(|view| view.check_crc().is_ok());
        Ok(valid.then_some(header))
    }
}

/// Writes bytes as whole blocks, with what is there around them: never through the page cache, as the partition is written
/// past it from its opening on, and the kernel does not promise what becomes of pages that are still there then.
fn write_blocks(files: &dyn Files, file: &File, position: u64, bytes: &[u8]) -> io::Result<()> {
    let from = position - position % BLOCK_BYTES as u64;
    let end = position + bytes.len() as u64;
    let len = (end - from).next_multiple_of(BLOCK_BYTES as u64) as usize;
    let skip = (position - from) as usize;
    let mut blocks = vec![0; len];
    let mut keep = |at: usize, to: usize| -> io::Result<()> {
        let there = if at < to { files.read_at(file, from + at as u64, to - at)? } else { Vec::new() };
        blocks[at..at + there.len()].copy_from_slice(&there);
        Ok(())
    };
    keep(0, skip)?;
    keep(skip + bytes.len(), len)?;
    blocks[skip..skip + bytes.len()].copy_from_slice(bytes);
    files.write_at(file, from, &blocks)
}
