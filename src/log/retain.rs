//! What goes with time or size: retention, deleted records, rolling by age, flushing by age, silent producers
//! (`UnifiedLog.deleteOldSegments`).

use super::checkpoint::Content;
use super::error::LogError;
use super::flow::Op;
use super::names::{FileKind, file_name};
use super::partition::{Partition, State};
use super::retire::retire;
use super::types::{Env, LogEffect};
use crate::base::{Offset, TopicId, WallMs};
use crate::io::FileJob;

impl Partition {
    /// Everything that hangs on time or size: `flush.ms`, retention, rolling by age, expiry of producers. Call about
    /// once a second or less often. Gives the log start that retention asks for, if it is another one: it is to be made
    /// durable before [`Partition::retain_from`], or a kill between two removals, or a power cut, would take it back.
    pub fn maintain(&mut self, env: &mut Env, now_ms: WallMs, high_watermark: Offset) -> Option<Offset> {
        if self.check_trimmable().is_err() {
            return None;
        }
        self.producers.forget_ended(high_watermark);
        self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
        self.flush_if_due(env, now_ms);
        let (start, unverified) = self.retained_from(now_ms, high_watermark);
        if let Some(base) = unverified {
            self.load_segment(env, base, None, true);
        }
        if start > self.log_start {
            return Some(start);
        }
        self.drop_segments(env);
        None
    }

    /// Gives up what lies before a log start of [`Partition::maintain`], which a checkpoint names now.
    pub fn retain_from(
        &mut self,
        env: &mut Env,
        now_ms: WallMs,
        start: Offset,
        effects: &mut Vec<LogEffect>,
    ) -> Result<(), LogError> {
        self.check_trimmable()?;
        if start > self.log_start && start <= self.durable_end {
            if start == self.log_end && self.active().size > 0 {
                self.roll(env, now_ms);
            }
            self.move_log_start(env, start, effects);
        }
        Ok(())
    }

    /// When `flush.ms` asks for a flush of what is written and not flushed.
    pub fn flush_due_ms(&self) -> Option<WallMs> {
        let since = self.unflushed_since_ms.filter(|_| self.config.flush_ms < i64::MAX)?;
        Some(since.saturating_add(self.config.flush_ms))
    }

    /// Flushes what `flush.ms` says has waited long enough.
    pub fn flush_if_due(&mut self, env: &mut Env, now_ms: WallMs) {
        if matches!(self.state, State::Open) && self.flush_due_ms().is_some_and(|due| due <= now_ms) {
            self.flush_out(env);
        }
    }

    /// The base offset from which segments are kept (`retention.ms`, `retention.bytes`, the log start), and the first
    /// that is too old, or from the future, if its time index is right, which was only believed so far.
    fn retained_from(&self, now_ms: WallMs, high_watermark: Offset) -> (Offset, Option<Offset>) {
        let config = &self.config;
        let mut excess = match config.retention_bytes {
            max if max >= 0 && config.cleanup_delete => self.size_bytes() as i64 - max,
            _ => -1,
        };
        let mut keep = Offset::MIN;
        let mut unverified = None;
        let by_age = config.cleanup_delete && config.retention_ms >= 0;
        let mut too_old = by_age;
        for segment in self.segments.iter() {
            let next = self.next_base(segment.base);
            if next > high_watermark || segment.size == 0 {
                break;
            }
            too_old &= now_ms.saturating_sub(segment.largest_timestamp()) > config.retention_ms;
            let is_odd = segment.largest_timestamp() > now_ms;
            if by_age && segment.max_is_believed && (too_old || is_odd) {
                unverified.get_or_insert(segment.base);
                too_old = false;
            }
            excess -= segment.size as i64;
            if !too_old && excess < 0 {
                break;
            }
            keep = next;
        }
        (keep, unverified)
    }

    /// Where the segment after this one begins, or the log's end.
    fn next_base(&self, base: Offset) -> Offset {
        self.segments.next_base(base).unwrap_or(self.log_end)
    }

    /// Moves the log start (`DeleteRecords`) to `before`, which must not exceed `high_watermark`
    /// (else [`LogError::OffsetOutOfRange`]). Gives the log start offset.
    pub fn delete_records(
        &mut self,
        env: &mut Env,
        before: Offset,
        high_watermark: Offset,
        effects: &mut Vec<LogEffect>,
    ) -> Result<Offset, LogError> {
        self.check_trimmable()?;
        let end = high_watermark.min(self.durable_end);
        if before < 0 || before > end {
            return Err(LogError::OffsetOutOfRange { offset: before, start: self.log_start, end });
        }
        if before > self.log_start {
            self.move_log_start(env, before, effects);
        }
        Ok(self.log_start)
    }

    /// Gives up the whole segments below `before` (which is checked as in [`Partition::delete_records`]): no checkpoint has
    /// to say so first, as a start begins with the first segment that there is. Whether there were any.
    pub fn delete_segments(
        &mut self,
        env: &mut Env,
        before: Offset,
        high_watermark: Offset,
        effects: &mut Vec<LogEffect>,
    ) -> bool {
        let base = self.segments.floor(before.min(high_watermark)).map_or(0, |segment| segment.base);
        let any = base > self.log_start && self.check_trimmable().is_ok();
        if any {
            self.move_log_start(env, base, effects);
        }
        any
    }

    fn move_log_start(&mut self, env: &mut Env, start: Offset, effects: &mut Vec<LogEffect>) {
        self.log_start = start;
        self.drop_segments(env);
        if self.epochs.truncate_start(start) {
            self.epochs_dirty = true;
            self.want_epochs_saved();
        }
        effects.push(LogEffect::LogStartMoved { log_start_offset: start });
    }

    /// Deletes the segments that end at or below the log start, never the active one.
    pub(super) fn drop_segments(&mut self, env: &mut Env) {
        if self.check_trimmable().is_err() {
            return;
        }
        let (mut removed, mut bytes) = (0, 0);
        while let Some((base, size)) = self.segments.iter().next().map(|segment| (segment.base, segment.size))
        {
            let next = self.next_base(base);
            // What is still being written or sealed goes later, unless that waits for space.
            if next > self.log_start || self.is_busy(base) {
                break;
            }
            if self.segments.pop_first().is_none() {
                break;
            }
            (removed, bytes) = (removed + 1, bytes + size);
            self.sinks.retain(|sink| sink.base != base);
            self.remove_files(env, base);
            env.cache.remove_range(self.slot, base, next);
            self.damaged.forget(base, next);
        }
        if removed > 0 {
            let (dir, log_start) = (self.dir.display(), self.log_start);
            tracing::info!(%dir, log_start, segments = removed, bytes, "segments below the log start are removed");
        }
    }

    fn is_busy(&self, base: Offset) -> bool {
        self.sinks.iter().find(|sink| sink.base == base).is_some_and(|sink| {
            let written = sink.sealed.as_ref().is_some_and(|sealed| self.written_end >= sealed.end);
            !written || sink.sealing || sink.opening || sink.allocating.is_some()
        })
    }

    /// Removes a segment's files in the background, the log first: an index without a log is removed at start-up.
    pub(super) fn remove_files(&mut self, env: &mut Env, base: Offset) {
        if self.ops.iter().any(|(_, op)| matches!(op, Op::Remove(other) if *other == base)) {
            return;
        }
        let paths = FileKind::ALL.map(|kind| self.dir.join(file_name(base, kind)));
        let dir = self.dir.clone();
        let token = self.token(Op::Remove(base));
        let work = move |files: &dyn crate::io::Files| {
            paths.iter().try_for_each(|path| files.remove_file(path))?;
            // Otherwise a power failure may bring some of them back.
            files.sync_dir(&dir)?;
            Ok(Box::new(()) as Box<dyn std::any::Any + Send>)
        };
        env.disk.background(FileJob::Run(Box::new(work)), token);
    }

    /// Renames the directory to `<name>.<unique>-delete` in the background; [`LogEffect::Deleted`] follows. What is in flight
    /// still completes before, but for slow jobs; its effects may be ignored.
    pub fn delete(&mut self, env: &mut Env, unique: &str) {
        self.state = State::Closed;
        self.writer.drop_pending();
        self.readers.clear();
        env.cache.remove_slot(self.slot);
        let (dir, own, suffix) = (self.dir.clone(), self.topic_id, format!("{unique}-delete"));
        let token = self.token(Op::Delete);
        let work = move |files: &dyn crate::io::Files| {
            let renamed = retire(files, &dir, &suffix, |said| is_of(said, own, &dir))?;
            Ok(Box::new(renamed) as Box<dyn std::any::Any + Send>)
        };
        env.disk.background(FileJob::Run(Box::new(work)), token);
    }
}

/// Whether the directory of a deleted partition is still its own. If nobody can tell, it stays, until a start that finds no
/// topic for it sets it aside.
fn is_of(said: &Content<TopicId>, own: TopicId, dir: &std::path::Path) -> bool {
    match said {
        Content::Whole(id) => *id == own,
        Content::Absent if own.is_zero() => true,
        Content::Absent | Content::Damaged(_) => {
            tracing::warn!(path = %dir.display(), "the directory of a deleted partition does not say any more whose it is and stays; the next start sets it aside");
            false
        }
    }
}
