//! Setting a log's segments aside where it ends before it starts.

use std::collections::BTreeMap;

use super::error::LogError;
use super::names::{FileKind, file_name};
use super::open::{Loaded, Loader, create_log};
use super::producers::Producers;
use super::recover::Carried;
use super::segment::{Segment, Sink, storage};
use crate::base::Offset;
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
}
