//! Appends that the journal keeps: safe at the end of the turn, in their segments later.

use crate::base::limits::WRITES_BEHIND_AT_ONCE;
use crate::io::repeats::limited;
use crate::io::{Disk, DiskOutcome};
use crate::log::journal::{Level, Member};

use super::{Hosted, Shard};

impl Shard {
    /// The end of a turn: what was appended is made safe, and who waits for that is told. Tells whether anything came
    /// of it.
    pub fn commit(&mut self, disk: &mut dyn Disk) -> bool {
        self.journal.commit(disk);
        self.cache.share_memory(disk.buffer_bytes());
        let any = self.take_journal_outcomes(disk);
        self.reclaim(disk);
        let mut any_rotated = false;
        for (area, level) in self.journal.areas() {
            if let Some(members) = self.journal.rotated(area) {
                self.empty_half(disk, area, level, members);
                any_rotated = true;
            }
        }
        if any_rotated {
            self.reclaim(disk);
        }
        while let Some(member) = self.journal.next_to_flush() {
            self.with_log(disk, member.slot, |log, env, _| log.flush_upto(env, member.upto));
        }
        self.write_some_behind(disk);
        if any {
            self.settle(disk);
        }
        any
    }

    fn reclaim(&mut self, disk: &mut dyn Disk) {
        let partitions = &mut self.partitions;
        self.journal.reclaim(disk, |level, member| is_done(partitions.get(member.slot), level, member));
    }

    fn take_journal_outcomes(&mut self, disk: &mut dyn Disk) -> bool {
        let mut outcomes = std::mem::take(&mut self.journal_outcomes);
        self.journal.take_outcomes(&mut outcomes);
        let any = !outcomes.is_empty();
        for outcome in outcomes.drain(..) {
            let Member { slot, topic_id, upto } = outcome.member;
            if self.partitions.get(slot).is_none_or(|hosted| hosted.key.topic_id != topic_id) {
                continue;
            }
            self.with_log(disk, slot, |log, env, effects| {
                if outcome.safe {
                    log.on_journaled(env, upto, effects);
                } else {
                    log.on_not_journaled(env);
                }
            });
        }
        self.journal_outcomes = outcomes;
        any
    }

    /// The partitions of a half that is full write what they hold back: at the staged level little by little
    /// ([`Journal::next_to_write`](crate::log::journal::Journal::next_to_write)).
    fn empty_half(&mut self, disk: &mut dyn Disk, area: usize, level: Level, mut members: Vec<Member>) {
        for member in &mut members {
            let end = self.with_log(disk, member.slot, |log, env, _| {
                if level == Level::Flushed {
                    log.write_out(env);
                }
                log.log_end_offset()
            });
            member.upto = end.unwrap_or(member.upto);
        }
        self.journal.drains(area, members);
    }

    pub(super) fn journal_on_disk(&mut self, disk: &mut dyn Disk, tag: u32, outcome: DiskOutcome) {
        if let Some(warning) = self.journal.on_disk(disk, tag, outcome) {
            limited!(warn, "a warning of a journal", by "", of warning, "{warning}");
        }
        self.take_journal_outcomes(disk);
    }

    /// Writes what was held back for long enough; not too much in one turn.
    fn write_some_behind(&mut self, disk: &mut dyn Disk) {
        for _ in 0..WRITES_BEHIND_AT_ONCE {
            let Some(slot) = self.journal.next_to_write(disk.now()) else { return };
            self.with_log(disk, slot, |log, env, _| log.hold_back_no_more(env));
        }
    }

    /// Everything held back is written, and nothing is held back from now on: the process is about to end.
    pub fn write_through(&mut self, disk: &mut dyn Disk) {
        self.commit(disk);
        self.writes_through = true;
        let slots: Vec<u32> = self.partitions.iter_mut().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.with_log(disk, slot, |log, env, _| log.write_out(env));
        }
        self.settle(disk);
    }
}

/// Whether a partition needs the journal no more. One whose log has failed does, until the next start.
fn is_done(hosted: Option<&mut Hosted>, level: Level, member: &Member) -> bool {
    let Some(hosted) = hosted.filter(|hosted| hosted.key.topic_id == member.topic_id) else { return true };
    hosted.log().is_none_or(|log| match level {
        Level::Staged => log.written_end_offset() >= member.upto,
        Level::Flushed => log.flushed_end_offset() >= member.upto,
    })
}
