//! Which frames of a journal count, and which are missing among them.
//!
//! A half holds, from its start, the frames of its present use; behind them may stand what is left of earlier uses. The
//! frames of both halves' present uses follow each other by number. A frame that cannot be read is passed over: those
//! behind it are found again by their marks, which no client can know.

use std::io;

use super::Level;
use super::frame::{FileHeader, Frame, HEADER_BYTES};
use super::window::Window;
use crate::base::limits::{JOURNAL_FRAME_BYTES_MAX, JOURNAL_RESYNC_BYTES_MAX};
use crate::io::Files;

/// Whole frames one behind the other, with numbers that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) half_use: u32,
}

/// Frames that should be there and are not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Their numbers; none are between if `first > last`.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where in the file.
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Lost {
    /// In words.
    pub(super) fn tell(&self, journal: &str) -> String {
        let Lost { first, last, from, to } = self;
        let frames = if last < first { "frames".to_owned() } else { format!("frames {first} to {last}") };
        format!("{journal}: {frames} in the bytes {from} to {to} are damaged")
    }

    /// Whether a frame of this number is one of them.
    pub(super) fn may_hold(&self, sequence: u64) -> bool {
        if self.last < self.first {
            sequence < self.first
        } else {
            (self.first..=self.last).contains(&sequence)
        }
    }
}

/// A stretch of a journal, in the order in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Can be read.
    Run(Run),
    /// Cannot, or only in part.
    Lost(Lost),
    /// The last write, which was cut off before it was acknowledged; or it is damaged, which looks alike.
    Torn(Lost),
}

/// What counts of a journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) parts: Vec<Part>,
}

/// Reads all of the journal.
pub(super) fn layout(
    files: &dyn Files,
    window: &mut Window,
    header: FileHeader,
    level: Level,
) -> io::Result<Layout> {
    let len = files.len(window.file())?;
    let first = header.data_at();
    let middle = first.saturating_add(header.half_bytes);
    let mut scan = Scan { files, window, header, level, budget: JOURNAL_RESYNC_BYTES_MAX };
    let older = scan.half(first, middle.min(len))?;
    let newer = scan.half(middle, middle.saturating_add(header.half_bytes).min(len))?;
    let swapped = older.last() > newer.last();
    let (older, newer) = if swapped { (newer, older) } else { (older, newer) };
    let mut layout = Layout::default();
    let begun_anew = older.head.filter(|head| head.sequence == newer.last() + 1);
    let mut expected = None;
    if begun_anew.is_none() && older.counts_before(&newer, header) {
        expected = layout.add(&older, None, false);
    } else if newer.first() == Some(1) || begun_anew.is_some() || older.is_free_before(&newer, header) {
        expected =
            newer.first().filter(|_| newer.head.is_some_and(|head| Some(head.sequence) == newer.first()));
    }
    layout.add(&newer, expected, begun_anew.is_none() && expected.is_none() && newer.first() > Some(1));
    let tail = match begun_anew {
        Some(head) => Some((older.start, head)),
        None => scan.claim(newer.end(), newer.until)?.map(|claim| (newer.end(), claim)),
    };
    if let Some((at, claim)) = tail.filter(|(_, claim)| claim.sequence == newer.last() + 1) {
        layout.end(at, claim, level);
    }
    Ok(layout)
}

impl Layout {
    /// Adds what a half holds; gives the number that follows. `expected` is None where it is not known what comes first:
    /// something is missing then if `is_behind_loss`, or if the half does not begin with a whole frame.
    fn add(&mut self, half: &Half, mut expected: Option<u64>, is_behind_loss: bool) -> Option<u64> {
        let mut at = half.start;
        for run in &half.runs {
            if expected.map_or(is_behind_loss || run.from > at, |next| next < run.first) {
                let first = expected.unwrap_or(run.first);
                self.parts.push(Part::Lost(Lost { first, last: run.first - 1, from: at, to: run.from }));
            }
            self.parts.push(Part::Run(*run));
            (expected, at) = (Some(run.last + 1), run.to);
        }
        expected
    }

    /// What follows the last whole frame calls itself the next one. At the staged level the end of a write is there only if
    /// all of it is, unless the machine has ended too; at the flushed level its sectors come in any order.
    fn end(&mut self, at: u64, claim: Claim, level: Level) {
        let (number, to) = (claim.sequence, at + claim.len);
        let frame = Lost { first: number, last: number, from: at, to };
        let is_complete = claim.has_end && level == Level::Staged;
        self.parts.push(if is_complete { Part::Lost(frame) } else { Part::Torn(frame) });
    }
}

/// What a half holds of one use.
struct Half {
    start: u64,
    until: u64,
    runs: Vec<Run>,
    /// What calls itself a frame at the start.
    head: Option<Claim>,
}

/// The header of what may not be a whole frame.
#[derive(Clone, Copy)]
struct Claim {
    sequence: u64,
    len: u64,
    has_end: bool,
}

impl Half {
    fn first(&self) -> Option<u64> {
        self.runs.first().map(|run| run.first)
    }

    fn last(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.last)
    }

    fn end(&self) -> u64 {
        self.runs.last().map_or(self.start, |run| run.to)
    }

    /// Whether this half's frames were written just before those of the other, and are still wanted.
    fn counts_before(&self, newer: &Half, header: FileHeader) -> bool {
        let (Some(run), Some(of)) = (self.runs.first(), newer.runs.first()) else { return false };
        if header.version > 1 {
            return run.half_use + 1 == of.half_use;
        }
        // A write that was cut off at the start of this half may have spared frames of the use before.
        run.from == self.start || self.last() + 1 == of.first
    }

    /// Whether nothing of this half can be wanted: it was begun anew, or never begun.
    fn is_free_before(&self, newer: &Half, header: FileHeader) -> bool {
        match newer.runs.first() {
            Some(run) if header.version > 1 => run.half_use <= 1,
            Some(_) => !self.runs.is_empty(),
            None => true,
        }
    }
}

struct Scan<'a> {
    files: &'a dyn Files,
    window: &'a mut Window,
    header: FileHeader,
    level: Level,
    /// Bytes of what only calls itself a frame that may still be checked.
    budget: u64,
}

impl Scan<'_> {
    fn half(&mut self, start: u64, until: u64) -> io::Result<Half> {
        let mut half = Half { start, until, runs: Vec::new(), head: self.claim(start, until)? };
        let mut at = start;
        while let Some((run, behind)) = self.next_run(at, until)? {
            let goes_on =
                half.runs.last().is_none_or(|last| last.last < run.first && last.half_use == run.half_use);
            if !goes_on {
                break; // of an earlier use
            }
            half.runs.push(run);
            at = behind;
        }
        Ok(half)
    }

    /// The next whole frame and those that follow it without a gap.
    fn next_run(&mut self, from: u64, until: u64) -> io::Result<Option<(Run, u64)>> {
        let Some((at, sequence, half_use, len)) = self.next_whole(from, until)? else { return Ok(None) };
        let mut run = Run { first: sequence, last: sequence, from: at, to: at + len, half_use };
        let aligned = self.level.alignment() as u64;
        let mut at = at + len.next_multiple_of(aligned);
        loop {
            let bytes = self.window.get(self.files, at, JOURNAL_FRAME_BYTES_MAX, until)?;
            let frame = Frame::parse(bytes, self.header).filter(|f| f.is_whole);
            let Some(frame) = frame.filter(|f| f.sequence == run.last + 1 && f.half_use == half_use) else {
                return Ok(Some((Run { to: at.min(until), ..run }, at)));
            };
            run.last = frame.sequence;
            at += frame.len.next_multiple_of(self.level.alignment()) as u64;
        }
    }

    /// The first whole frame from a position on: where, its number, use and length.
    fn next_whole(&mut self, from: u64, until: u64) -> io::Result<Option<(u64, u64, u32, u64)>> {
        let aligned = self.level.alignment();
        let mut at = from;
        while at + (HEADER_BYTES as u64) <= until {
            let bytes = self.window.get(self.files, at, JOURNAL_FRAME_BYTES_MAX, until)?;
            let frame = Frame::parse(bytes, self.header);
            if let Some(frame) = frame.filter(|frame| frame.is_whole) {
                return Ok(Some((at, frame.sequence, frame.half_use, frame.len as u64)));
            }
            let checked = frame.map_or(0, |frame| frame.len as u64);
            let mark = self.header.mark().to_be_bytes();
            let steps = bytes.chunks(aligned).skip(1).position(|chunk| chunk.starts_with(&mark));
            let skip = steps.map_or(bytes.len().next_multiple_of(aligned), |steps| (steps + 1) * aligned);
            at += (skip as u64).max(aligned as u64);
            let left = self.budget.checked_sub(checked);
            self.budget = left.ok_or_else(|| {
                io::Error::other("a journal holds more that looks like frames than can be checked")
            })?;
        }
        Ok(None)
    }

    fn claim(&mut self, at: u64, until: u64) -> io::Result<Option<Claim>> {
        let bytes = self.window.get(self.files, at, JOURNAL_FRAME_BYTES_MAX, until)?;
        let claim = |f: Frame<'_>| Claim { sequence: f.sequence, len: f.len as u64, has_end: f.has_end };
        Ok(Frame::parse(bytes, self.header).map(claim))
    }
}
