//! Logs that end too early: what is missing is named, and offsets that were given out are not given out again. Where the end
//! lies before the start, the segments are set aside.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::LogError;
use super::flow::write_file;
use super::names::{FileKind, file_name};
use super::open::{Loaded, Loader, create_log};
use super::producers::Producers;
use super::recover::Carried;
use super::segment::{Segment, Sink, storage};
use super::txn_index;
use crate::base::Offset;
use crate::base::limits::DAMAGE_LINES_MAX;
use crate::io::OpenMode;

impl Loader<'_> {
    /// The log ends before it starts, as a power cut took what was not flushed: offsets that were given out are not given
    /// out again, so it goes on at its start, and the segments are set aside.
    pub(super) fn begin_at(
        &mut self,
        start: Offset,
        logs: &mut BTreeMap<Offset, u64>,
        carried: Carried,
    ) -> Result<Loaded, LogError> {
        self.warn(&format!(
            "the log ends at offset {} and starts at {start}, as records were deleted up to there: it goes on at {start}, and its segments (from {} on) are kept as *.log.aside; remove them when nothing in them is wanted",
            carried.next,
            logs.keys().next().copied().unwrap_or_default()
        ));
        for base in std::mem::take(logs).into_keys() {
            let path = self.path(base, FileKind::Log);
            let aside = self.dir.join(format!("{}.aside", file_name(base, FileKind::Log)));
            self.files.rename(&path, &aside).map_err(storage("renaming", &path))?;
            for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex] {
                self.remove(&self.path(base, kind))?;
            }
        }
        let path = self.path(start, FileKind::Log);
        create_log(self.files, &path).map_err(storage("creating", &path))?;
        let file = self.files.open(&path, OpenMode::Direct).map_err(storage("opening", &path))?;
        logs.insert(start, 0);
        Ok(Loaded {
            segments: BTreeMap::from([(start, Segment::new(start, self.options.now_ms))]),
            active: Sink::new(start, Some(file), 0),
            carried: Carried {
                producers: Producers::default(),
                producers_from: start,
                next: start,
                ..carried
            },
            scanned: true,
        })
    }

    /// Names what is missing before the first segment. What is missing at the end of a sealed one is named when it is read
    /// ([`Partition::note_short`](super::Partition)): there may be 10,000 of them.
    pub(super) fn name_missing(&mut self, logs: &BTreeMap<Offset, u64>) {
        let log_start = self.options.log_start_offset.unwrap_or(Offset::MAX);
        if let Some(first) = logs.keys().next().filter(|first| **first > log_start)
            && self.options.log_start_is_certain
        {
            let (path, last) = (self.path(log_start, FileKind::Log), first - 1);
            self.warn(&format!("{} is missing: offsets {log_start} to {last} are lost", path.display()));
        }
    }

    /// Names offsets that are missing between whole batches, unless compaction or what was just taken out left the gap: they
    /// were lost before, or the base offset of the batch behind them has changed, which has no neighbour that tells.
    pub(super) fn name_gaps(&mut self, path: &Path, gaps: &[(u64, Offset, Offset)]) {
        // What was taken out of the segment was named then, and is saved beside it.
        let segment = path.file_stem().map(|stem| format!("{}.", stem.to_string_lossy())).unwrap_or_default();
        let names = if gaps.is_empty() { Vec::new() } else { self.files.list(self.dir).unwrap_or_default() };
        if names.iter().any(|e| e.name.starts_with(&segment) && e.name.ends_with(".damaged")) {
            return;
        }
        let log_start = self.options.log_start_offset.unwrap_or(0);
        let is_new = |(_, first, last): &&(u64, Offset, Offset)| {
            *last >= log_start && !self.report.lost_offsets.contains(&(*first, *last))
        };
        let found: Vec<_> =
            gaps.iter().filter(is_new).filter(|_| !self.config.cleanup_compact).copied().collect();
        for (position, first, last) in found.iter().take(DAMAGE_LINES_MAX) {
            self.warn(&format!(
                "{}: offsets {first} to {last} are missing before the batch at byte {position}; they were lost before, or its offset has changed",
                path.display()
            ));
        }
        if let Some(more) = found.len().checked_sub(DAMAGE_LINES_MAX).filter(|more| *more > 0) {
            self.warn(&format!("{}: offsets are missing in {more} more places", path.display()));
        }
    }

    /// The log ends before what was flushed: it goes on behind that, in a new segment.
    pub(super) fn go_on_at(
        &mut self,
        point: Offset,
        logs: &mut BTreeMap<Offset, u64>,
        loaded: &mut Loaded,
    ) -> Result<(), LogError> {
        let (base, from, last) = (loaded.active.base, loaded.carried.next, point - 1);
        let path = self.path(base, FileKind::Log);
        self.report.lost_offsets.push((from, last));
        self.warn(&format!(
            "{} ends at offset {from}, and everything below {point} was flushed or acknowledged: offsets {from} to {last} are lost, the log goes on at {point}",
            path.display()
        ));
        self.sync_active(&loaded.active)?;
        let aborted = loaded.segments.get(&base).map_or(Vec::new(), |s| txn_index::format(&s.aborted));
        let mut indexes = vec![
            (FileKind::OffsetIndex, loaded.active.offsets.as_bytes()),
            (FileKind::TimeIndex, loaded.active.times.as_bytes()),
        ];
        if !aborted.is_empty() {
            indexes.push((FileKind::TransactionIndex, &aborted));
        }
        for (kind, bytes) in indexes {
            let path = self.path(base, kind);
            write_file(self.files, &path, bytes).map_err(storage("writing", &path))?;
        }
        let path = self.path(point, FileKind::Log);
        create_log(self.files, &path).map_err(storage("creating", &path))?;
        let file = self.files.open(&path, OpenMode::Direct).map_err(storage("opening", &path))?;
        logs.insert(point, 0);
        loaded.segments.insert(point, Segment::new(point, self.options.now_ms));
        loaded.active = Sink::new(point, Some(file), 0);
        loaded.carried.next = point;
        loaded.scanned = true;
        Ok(())
    }
}
