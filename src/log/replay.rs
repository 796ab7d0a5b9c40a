//! Reading a whole log without changing a byte of it: for coordinators and the controller, whose state is in their
//! partitions, and to decide about damage before anything is repaired.

use std::fmt;
use std::path::{Path, PathBuf};

use super::names::{FileKind, file_name, parse_file_name};
use super::scanner::{Defect, Follows, Scanner};
use super::segment::storage;
use super::{LogError, Partition};
use crate::base::Offset;
use crate::io::{Files, OpenMode};
use crate::wire::record::{BatchHeader, BatchView};

/// What was asked of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Batches that end before this are checked and not given.
    pub from: Offset,
    /// What begins here is not of the log any more.
    pub end: Offset,
    /// Offsets have no gaps, and neither offsets nor epochs that changed are put right.
    pub exact: bool,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// The first segment's base offset; None if there is no segment.
    pub start: Option<Offset>,
    /// The offset after the last whole batch.
    pub next: Offset,
    /// What is no whole batch, in order.
    pub damage: Vec<Damage>,
}

/// A stretch of a segment's file that is no whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where it begins.
    pub position: u64,
    /// Where the next whole batch begins, or the file ends.
    pub until: u64,
    /// The first offset that it may have held.
    pub first: Offset,
    /// The last one; None if nothing whole follows in the log.
    pub last: Option<Offset>,
    /// Zeros up to the end of the file: space that was reserved, or a lost end.
    pub is_blank: bool,
    /// It is in the last segment.
    pub in_last_segment: bool,
    /// It looks like sectors that one write left out, or the file is too short.
    pub looks_torn: bool,
    /// What is wrong.
    pub cause: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, position, until, first, cause, .. } = self;
        write!(
            f,
            "{} is damaged at byte {position} ({} bytes): {cause}; ",
            path.display(),
            until - position
        )?;
        match self.last {
            Some(last) if last < *first => write!(f, "no offset is missing"),
            Some(last) => write!(f, "offsets {first} to {last}"),
            None => write!(f, "everything from offset {first} on"),
        }
    }
}

/// Calls `each` with every whole batch from the one that holds `from` to the log's end, and gives what is damaged between
/// them. Blocks; memory is bounded by one read or one batch, whichever is larger.
pub fn replay(
    files: &dyn Files,
    log: &Partition,
    from: Offset,
    each: &mut dyn FnMut(&BatchView<'_>),
) -> Result<Vec<Damage>, LogError> {
    let walk = Walk { from, end: log.log_end_offset(), exact: false };
    Ok(walk_log(files, log.dir(), walk, each)?.damage)
}

/// As [`replay`], for a log that is not open.
pub fn walk_log(
    files: &dyn Files,
    dir: &Path,
    walk: Walk,
    each: &mut dyn FnMut(&BatchView<'_>),
) -> Result<Walked, LogError> {
    let bases = segment_bases(files, dir)?;
    let mut walked = Walked { start: bases.first().copied(), ..Walked::default() };
    let first = if walk.exact { 0 } else { bases.iter().rposition(|b| *b <= walk.from).unwrap_or(0) };
    walked.next = bases.get(first).copied().unwrap_or(0);
    let mut epoch = -1;
    for (i, base) in bases.iter().enumerate().skip(first) {
        let segment_end = bases.get(i + 1).copied();
        let path = dir.join(file_name(*base, FileKind::Log));
        if walk.exact && walked.next < *base {
            walked.damage.push(gap(&path, walked.next, *base));
        }
        let follows =
            Follows { segment: *base, next: walked.next.max(*base), epoch, segment_end, log_end: None };
        let mut segment = SegmentWalk { walk, path, follows, is_last: segment_end.is_none() };
        segment.run(files, &mut walked, each)?;
        epoch = segment.follows.epoch;
    }
    Ok(walked)
}

fn segment_bases(files: &dyn Files, dir: &Path) -> Result<Vec<Offset>, LogError> {
    let listed = files.list(dir).map_err(storage("listing", dir))?;
    let named = listed.iter().filter_map(|e| parse_file_name(&e.name));
    let mut bases: Vec<Offset> =
        named.filter(|(_, kind)| *kind == FileKind::Log).map(|(base, _)| base).collect();
    bases.sort_unstable();
    Ok(bases)
}

fn gap(path: &Path, from: Offset, base: Offset) -> Damage {
    Damage {
        path: path.to_path_buf(),
        position: 0,
        until: 0,
        first: from,
        last: Some(base - 1),
        is_blank: false,
        in_last_segment: false,
        looks_torn: false,
        cause: "the segment before it ends too early or is missing",
    }
}

/// The walk through one segment.
struct SegmentWalk {
    walk: Walk,
    path: PathBuf,
    follows: Follows,
    is_last: bool,
}

impl SegmentWalk {
    fn run(
        &mut self,
        files: &dyn Files,
        walked: &mut Walked,
        each: &mut dyn FnMut(&BatchView<'_>),
    ) -> Result<(), LogError> {
        let file = files.open(&self.path, OpenMode::Read).map_err(storage("opening", &self.path))?;
        let mut scanner = Scanner::new(files, &file).map_err(storage("reading", &self.path))?;
        let mut position = 0;
        while self.follows.next < self.walk.end {
            let found = scanner.batch(position, &self.follows).map_err(storage("reading", &self.path))?;
            let header = match found {
                Ok(header) if header.base_offset >= self.walk.end => break,
                Ok(header) => header,
                Err(Defect::EndOfFile) => break,
                Err(defect) => {
                    let behind = self.step_over(&mut scanner, position, defect, walked);
                    let Some(at) = behind.map_err(storage("reading", &self.path))? else { break };
                    position = at;
                    continue;
                }
            };
            let until = position + header.total_bytes() as u64;
            if let Some(view) = scanner.view(position, &header).map_err(storage("reading", &self.path))? {
                if self.walk.exact && (*view.header() != header || header.base_offset != self.follows.next) {
                    walked.damage.push(self.changed(position, until, &header));
                } else if header.last_offset() >= self.walk.from {
                    each(&view);
                }
            }
            self.follows.passed(&header);
            walked.next = header.next_offset();
            position = until;
        }
        Ok(())
    }

    /// Notes what is damaged; gives where the next whole batch begins.
    fn step_over(
        &mut self,
        scanner: &mut Scanner,
        position: u64,
        defect: Defect,
        walked: &mut Walked,
    ) -> std::io::Result<Option<u64>> {
        let found = if defect == Defect::Zeros { None } else { scanner.resync(position, &self.follows)? };
        let until = found.map_or(scanner.len, |(at, _)| at);
        let next = found.map(|(_, header)| header.base_offset).or(self.follows.segment_end);
        // What was reserved behind the last batch says nothing about it.
        let own = scanner.header(position)?.map(|header| position + header.total_bytes() as u64);
        let written = until.min(own.unwrap_or(until));
        walked.damage.push(Damage {
            path: self.path.clone(),
            position,
            until,
            first: self.follows.next,
            last: next.map(|next| next - 1),
            is_blank: defect == Defect::Zeros,
            in_last_segment: self.is_last,
            looks_torn: (found.is_none() && defect == Defect::CutShort)
                || scanner.looks_torn(position, written)?,
            cause: defect.describe(),
        });
        if let Some((_, header)) = found {
            self.follows.next = header.base_offset;
        }
        Ok(found.map(|(at, _)| at))
    }

    fn changed(&self, position: u64, until: u64, header: &BatchHeader) -> Damage {
        Damage {
            path: self.path.clone(),
            position,
            until,
            first: header.base_offset,
            last: Some(header.last_offset()),
            is_blank: false,
            in_last_segment: self.is_last,
            looks_torn: false,
            cause: "its base offset or leader epoch does not follow from the batches around it",
        }
    }
}
