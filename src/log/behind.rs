//! Appends that the journal keeps safe while they wait to be written to their segment with others.

use super::journal::{Entry, Kind, Level};
use super::partition::Partition;
use super::types::{Env, LogEffect};
use crate::base::Offset;
use crate::base::limits::WRITE_BEHIND_BYTES_MAX;

impl Partition {
    /// From now on small appends go to the core's journal in log directory `dir`; `partition` is this partition's number.
    pub fn use_journal(&mut self, partition: i32, dir: usize) {
        self.journaled.partition = (!self.topic_id.is_zero()).then_some(partition);
        self.journaled.dir = dir;
    }

    /// Begins an entry for an append of `first..next`, if the journal takes it.
    pub(super) fn begin_entry(
        &mut self,
        env: &mut Env,
        len: usize,
        first: Offset,
        next: Offset,
    ) -> Option<Level> {
        let partition = self.journaled.partition?;
        let level = match self.config.flush_messages {
            ..=1 => Level::Flushed,
            i64::MAX => Level::Staged,
            _ => return None, // every so many records need a flush of the segment
        };
        let segment = self.active();
        let (segment, position) = (segment.base, segment.size);
        let joins = self.journaled.next == first && self.journaled.level == level;
        let from = if joins { self.journaled.from } else { first };
        let safe = if level == Level::Flushed { self.flushed_end } else { self.durable_end };
        let behind_gap = from > safe;
        let topic_id = self.topic_id;
        let kind = Kind::Append;
        let entry = Entry {
            kind,
            generation: 0,
            topic_id,
            partition,
            segment,
            position,
            next,
            safe,
            behind_gap,
            len,
        };
        let journal = env.journal.as_deref_mut()?;
        let place = (self.journaled.dir, level);
        let mark = &mut self.journaled.marks[level.index()];
        if !journal.begin(env.disk, place, self.slot, &entry, mark) {
            return None;
        }
        let journaled = &mut self.journaled;
        if !joins {
            (journaled.level, journaled.from, journaled.end) = (level, first, first);
        }
        journaled.next = next;
        Some(level)
    }

    /// After an append that began at `first`: it waits for more if the journal has it, and else is written now.
    pub(super) fn hold_back_or_write(&mut self, env: &mut Env, first: Offset, journal: Option<Level>) {
        let level = match journal {
            Some(level) if self.writer.pending_bytes() < WRITE_BEHIND_BYTES_MAX => level,
            _ => return self.write_out(env),
        };
        if let Some(journal) = env.journal.as_mut() {
            let waiting = self.writer.pending_bytes();
            journal.holds_back(&mut self.journaled.held, self.slot, waiting, env.disk.now());
        }
        // What comes before has to be flushed where it is.
        if level == Level::Flushed && self.journaled.from == first && self.flushed_end < first {
            self.flush_upto(env, first);
        }
    }

    /// Writes everything appended so far to its segment.
    pub fn write_out(&mut self, env: &mut Env) {
        self.write_target = self.log_end;
        self.write_next(env);
    }

    /// The journal lists this partition no more ([`Journal::next_to_write`](super::journal::Journal::next_to_write)).
    pub fn hold_back_no_more(&mut self, env: &mut Env) {
        self.journaled.held = None;
        self.write_out(env);
    }

    /// Writes everything appended so far to its segment, and flushes it there.
    pub fn flush_out(&mut self, env: &mut Env) {
        self.flush_upto(env, self.log_end);
    }

    /// Writes and flushes everything below an offset.
    pub fn flush_upto(&mut self, env: &mut Env, upto: Offset) {
        self.write_target = self.write_target.max(upto);
        self.sync_target = self.sync_target.max(upto);
        self.write_next(env);
        self.sync_if_wanted(env);
    }

    /// The journal has everything up to an offset safe.
    pub fn on_journaled(&mut self, env: &mut Env, upto: Offset, effects: &mut Vec<LogEffect>) {
        let journaled = &mut self.journaled;
        if upto > journaled.from && upto <= journaled.next {
            journaled.end = journaled.end.max(upto);
            self.unflushed_since_ms.get_or_insert(env.disk.wall_ms());
            self.advance(env, effects);
        }
    }

    /// The journal could not keep what it was given: it goes to the segment, as it would have without.
    pub fn on_not_journaled(&mut self, env: &mut Env) {
        self.journaled.next = -1;
        self.write_out(env);
    }

    /// Everything below is written to its segment.
    pub fn written_end_offset(&self) -> Offset {
        self.written_end
    }
}
