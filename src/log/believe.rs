//! Segments that were flushed and sealed: what their indexes say is believed, and built anew where it cannot be right.

use super::epochs::Epochs;
use super::error::LogError;
use super::flow::write_file;
use super::index::{OffsetIndex, TimeIndex};
use super::names::FileKind;
use super::open::Loader;
use super::recover::{self, Carried, Examined, ScanContext};
use super::segment::{Segment, storage};
use super::types::AbortedTransaction;
use super::{snapshot, txn_index};
use crate::base::{Offset, WallMs};
use crate::io::OpenMode;

impl Loader<'_> {
    /// A segment that was flushed and sealed: its largest timestamp and aborted transactions from their indexes.
    pub(super) fn believe(&mut self, base: Offset, len: u64, end: Offset) -> Result<Segment, LogError> {
        let mut segment = Segment::new(base, self.options.now_ms);
        segment.size = len;
        let last = self.last_time(base, len);
        segment.max_is_believed = last.is_some();
        segment.max_timestamp = match last.filter(|last| last.is_none_or(|(_, at)| at < end)) {
            Some(last) => last,
            None => self.rebuild(base, len)?.last(),
        };
        let aborted = self.path(base, FileKind::TransactionIndex);
        if self.files.exists(&aborted) {
            let parsed = self.files.read(&aborted).ok().and_then(|bytes| txn_index::parse(&bytes));
            segment.aborted = match parsed {
                Some(aborted) => aborted,
                None => self.rebuild_aborted(base)?,
            };
        }
        Ok(segment)
    }

    /// The last entry of a time index, without reading all of it. None if it or the offset index cannot be right.
    #[allow(clippy::option_option)] // an index without entries is right as well
    fn last_time(&self, base: Offset, len: u64) -> Option<Option<(WallMs, Offset)>> {
        let open = |kind| self.files.open(&self.path(base, kind), OpenMode::Read).ok();
        let offsets = open(FileKind::OffsetIndex)?;
        let offsets_len = self.files.len(&offsets).ok()?;
        let last = self.files.read_at(&offsets, offsets_len.saturating_sub(8), 8).ok()?;
        OffsetIndex::parse(base, last, len).filter(|_| offsets_len.is_multiple_of(8))?;
        let times = open(FileKind::TimeIndex)?;
        let times_len = self.files.len(&times).ok()?;
        let last = self.files.read_at(&times, times_len.saturating_sub(12), 12).ok()?;
        let zeros = !last.is_empty() && last.iter().all(|b| *b == 0);
        if zeros || !times_len.is_multiple_of(12) {
            return None;
        }
        Some(TimeIndex::parse(base, last)?.last())
    }

    /// Finds the aborted transactions of a sealed segment anew.
    fn rebuild_aborted(&mut self, base: Offset) -> Result<Vec<AbortedTransaction>, LogError> {
        let path = self.path(base, FileKind::Log);
        let snapshot = self.files.read(&self.path(base, FileKind::ProducerSnapshot)).ok();
        let producers = snapshot.and_then(|bytes| snapshot::parse(&bytes)).unwrap_or_default();
        let epochs = Epochs::default();
        let mut carried = Carried { producers, producers_from: base, epochs, epoch: -1, next: base };
        let context = ScanContext {
            config: self.config,
            segment_end: None,
            log_end: None,
            recovery_point: Offset::MAX,
            is_first: false,
            created_ms: self.options.now_ms,
        };
        let file = self.files.open(&path, OpenMode::Read).map_err(storage("opening", &path))?;
        let scanned = recover::scan(self.files, &file, base, &context, &mut carried);
        let aborted = scanned.map_err(storage("reading", &path))?.segment.aborted;
        let path = self.path(base, FileKind::TransactionIndex);
        write_file(self.files, &path, &txn_index::format(&aborted)).map_err(storage("writing", &path))?;
        self.report.rebuilt_indexes += 1;
        self.warn(&format!("the transaction index of segment {base} was damaged and is built anew"));
        Ok(aborted)
    }

    fn rebuild(&mut self, base: Offset, len: u64) -> Result<TimeIndex, LogError> {
        let path = self.path(base, FileKind::Log);
        let file = self.files.open(&path, OpenMode::Read).map_err(storage("opening", &path))?;
        let interval = self.config.index_interval_bytes;
        let examined = recover::examine(self.files, &file, (base, Offset::MAX), len, interval);
        let Examined { offsets, times, .. } = examined.map_err(storage("reading", &path))?;
        for (kind, bytes) in
            [(FileKind::OffsetIndex, offsets.as_bytes()), (FileKind::TimeIndex, times.as_bytes())]
        {
            let path = self.path(base, kind);
            write_file(self.files, &path, bytes).map_err(storage("writing", &path))?;
        }
        self.report.rebuilt_indexes += 1;
        self.warn(&format!("indexes of segment {base} were missing or damaged and are built anew"));
        Ok(times)
    }
}
