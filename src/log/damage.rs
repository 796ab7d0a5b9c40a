//! Damage that reading comes across. What does not fit where it lies has its whole segment examined, once, in the background:
//! that gives an index built from the batches themselves, and the stretches that hold none. Reads of offsets in those are
//! refused, and everything before and behind them is served.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::cache::OpenSegment;
use super::error::LogError;
use super::flow::{Op, write_file};
use super::names::FileKind;
use super::partition::Partition;
use super::reader::Waiter;
use super::recover::{self, Examined};
use super::segment::storage;
use super::types::{Env, LogEffect};
use crate::base::limits::{DAMAGE_LINES_MAX, DAMAGE_STRETCHES_MAX, EXAMINE_AGAIN_MS};
use crate::base::{Offset, Ticks};
use crate::io::{FileJob, FileJobOutcome};

/// A stretch of a segment that holds no batch that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) segment: Offset,
    /// Where it begins in the file.
    pub(super) position: u64,
    /// Where the next batch begins, or the segment ends.
    pub(super) until: u64,
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) what: &'static str,
}

/// What is known to be damaged in a partition.
#[derive(Default)]
pub(super) struct Damaged {
    /// By first offset.
    stretches: BTreeMap<Offset, Stretch>,
    /// When segments were examined.
    examined: BTreeMap<Offset, Ticks>,
    /// Segments of which it was said that they end too early.
    short: BTreeSet<Offset>,
}

impl Damaged {
    /// The stretch that an offset is in.
    pub(super) fn at(&self, offset: Offset) -> Option<&Stretch> {
        let (_, stretch) = self.stretches.range(..=offset).next_back()?;
        (offset <= stretch.last).then_some(stretch)
    }

    /// Whether a segment has such a stretch.
    pub(super) fn is_in(&self, segment: Offset) -> bool {
        self.stretches.range(segment..).next().is_some_and(|(_, stretch)| stretch.segment == segment)
    }

    /// The end of the last stretch of a segment before an offset.
    pub(super) fn end_before(&self, segment: Offset, offset: Offset) -> Option<(u64, Offset)> {
        let (_, stretch) = self.stretches.range(..offset).next_back()?;
        (stretch.segment == segment && stretch.last < offset).then_some((stretch.until, stretch.last + 1))
    }

    /// Where the first stretch of a segment begins behind an offset.
    pub(super) fn next_start(&self, segment: Offset, offset: Offset) -> Option<u64> {
        let (_, stretch) = self.stretches.range(offset..).next()?;
        (stretch.segment == segment).then_some(stretch.position)
    }

    /// Whether all of a segment's batches were compared with each other.
    pub(super) fn was_examined(&self, segment: Offset) -> bool {
        self.examined.contains_key(&segment)
    }

    /// Forgets what is known of the segments from `from` to `to`: they are gone.
    pub(super) fn forget(&mut self, from: Offset, to: Offset) {
        self.stretches.retain(|_, stretch| !(from..to).contains(&stretch.segment));
        self.examined.retain(|segment, _| !(from..to).contains(segment));
        self.short.retain(|segment| !(from..to).contains(segment));
    }
}

impl Partition {
    /// What a read of an offset in a damaged stretch is answered with.
    pub(super) fn refuse_damaged(&self, offset: Offset) -> Option<LogError> {
        let stretch = self.damaged.at(offset)?;
        let path = self.path(stretch.segment, FileKind::Log).display().to_string();
        Some(LogError::Corrupt { path, position: stretch.position, what: stretch.what.into() })
    }

    pub(super) fn examined_recently(&self, env: &Env, segment: Offset) -> bool {
        let now = env.disk.now();
        self.damaged.examined.get(&segment).is_some_and(|at| now < at.plus_ms(EXAMINE_AGAIN_MS))
    }

    /// What was read at a position does not fit: the segment is examined for those who wait.
    pub(super) fn examine(
        &mut self,
        env: &mut Env,
        segment: Offset,
        (position, what): (u64, &'static str),
        waiters: Vec<Waiter>,
        effects: &mut Vec<LogEffect>,
    ) {
        for (_, op) in &mut self.ops {
            if let Op::Examine(examined, _, waiting) = op
                && *examined == segment
            {
                return waiting.extend(waiters);
            }
        }
        let recently = self.examined_recently(env, segment);
        let file = self.place(env, segment, |_, limit| limit).map(|(place, limit)| (place.file, limit));
        let Some((file, limit)) = file.filter(|_| !recently) else {
            let path = self.path(segment, FileKind::Log).display().to_string();
            return self.fail_waiters(
                waiters,
                &LogError::Corrupt { path, position, what: what.into() },
                effects,
            );
        };
        let interval = self.config.index_interval_bytes;
        let end = self.offset_behind(segment);
        let sealed = !self.sinks.iter().any(|sink| sink.base == segment);
        let paths = [FileKind::OffsetIndex, FileKind::TimeIndex].map(|kind| self.path(segment, kind));
        let work = move |files: &dyn crate::io::Files| {
            let examined = recover::examine(files, &file, (segment, end), limit, interval)?;
            if sealed && examined.damage.is_empty() {
                replace_indexes(files, &paths, &examined)?;
            }
            Ok(Box::new((examined, file)) as Box<dyn Any + Send>)
        };
        let token = self.token(Op::Examine(segment, limit, waiters));
        env.disk.background_slow(FileJob::Run(Box::new(work)), token);
    }

    pub(super) fn on_examined(
        &mut self,
        env: &mut Env,
        (base, limit): (Offset, u64),
        waiters: Vec<Waiter>,
        result: io::Result<FileJobOutcome>,
        effects: &mut Vec<LogEffect>,
    ) {
        let path = self.path(base, FileKind::Log);
        let value = match result {
            Ok(FileJobOutcome::Ran(value)) => value.downcast::<(Examined, crate::io::File)>().ok(),
            Ok(_) => None,
            Err(error) => return self.fail_waiters(waiters, &storage("examining", &path)(error), effects),
        };
        let Some(value) = value else { unreachable!("an examination gives what it found") };
        let (examined, file) = *value;
        if self.segments.contains(base) {
            self.damaged.examined.insert(base, env.disk.now());
            // What is in memory was read by what is known to be wrong now.
            let behind = self.segments.next_base(base).unwrap_or(Offset::MAX);
            env.cache.remove_range(self.slot, base, behind);
            self.note_damage(&path, examined.damage, effects);
            let Examined { offsets, times, .. } = examined;
            self.segments.set_largest(base, times.last());
            if let Some(sink) = self.sinks.iter_mut().find(|sink| sink.base == base) {
                sink.offsets = offsets.with_entries_from(&sink.offsets, limit);
                sink.times = times.with_entries_behind(&sink.times);
            } else {
                env.cache.insert_segment(self.slot, base, Arc::new(OpenSegment { file, offsets, times }));
            }
        }
        for waiter in waiters {
            self.resume(env, waiter, None, effects);
        }
    }

    /// Takes in what is damaged in a segment, and names what was not known.
    pub(super) fn note_damage(&mut self, path: &Path, found: Vec<Stretch>, effects: &mut Vec<LogEffect>) {
        let Some(base) = found.first().map(|stretch| stretch.segment) else { return };
        let known = self.damaged.stretches.values().filter(|stretch| stretch.segment == base).count();
        let mut named = known;
        for stretch in found {
            if self.damaged.stretches.get(&stretch.first) == Some(&stretch)
                || self.damaged.stretches.len() >= DAMAGE_STRETCHES_MAX
            {
                continue;
            }
            named += 1;
            if named <= DAMAGE_LINES_MAX {
                let Stretch { position, until, first, last, what, .. } = &stretch;
                effects.push(LogEffect::Damage(format!(
                    "{} is damaged at byte {position} ({} bytes): {what}; offsets {first} to {last} cannot be read, fetches of them are answered with CORRUPT_MESSAGE, those behind are served",
                    path.display(),
                    until - position
                )));
            }
            self.damaged.stretches.insert(stretch.first, stretch);
        }
        let more = named - named.min(known.max(DAMAGE_LINES_MAX));
        if more > 0 {
            effects.push(LogEffect::Damage(format!("{} is damaged in {more} more places", path.display())));
        }
    }

    /// A reader was led over the end of a segment: unless compaction left the gap, its end is missing. Said once.
    pub(super) fn note_short(
        &mut self,
        base: Offset,
        from: Offset,
        next: Offset,
        effects: &mut Vec<LogEffect>,
    ) {
        if self.config.cleanup_compact || from >= next || !self.damaged.short.insert(base) {
            return;
        }
        let (path, last) = (self.path(base, FileKind::Log), next - 1);
        effects.push(LogEffect::Damage(format!(
            "{} ends too early: offsets {from} to {last} are missing, readers go on behind them",
            path.display()
        )));
    }
}

/// Writes the indexes of a sealed segment if their files say something else. Where it is the segment that is damaged, they may
/// still be those of all its batches.
pub(super) fn replace_indexes(
    files: &dyn crate::io::Files,
    paths: &[std::path::PathBuf; 2],
    examined: &Examined,
) -> io::Result<()> {
    for (path, bytes) in paths.iter().zip([examined.offsets.as_bytes(), examined.times.as_bytes()]) {
        if files.read(path).ok().as_deref() != Some(bytes) {
            write_file(files, path, bytes)?;
            tracing::warn!(path = %path.display(), "the index did not fit its segment and was built anew");
        }
    }
    Ok(())
}
