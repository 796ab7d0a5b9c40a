//! Appends that the journal keeps safe before they are in their segment.

use std::path::Path;

use super::*;
use crate::io::DiskOutcome;
use crate::log::journal::replay::{self, Found, Since, Target};
use crate::log::journal::{Journal, JournalDir, Member, Outcome, Run};

const BYTES: u64 = 1 << 20;

pub(super) fn home() -> &'static Path {
    Path::new("/data")
}

pub(super) fn journal_dir() -> JournalDir {
    JournalDir { path: home().to_path_buf(), directory_id: Uuid::from_u128(5) }
}

/// The topic of [`Machine`]'s partition.
const TOPIC: Uuid = Uuid::from_u128(77);
/// The broker's start of all tests here.
pub(super) const INCARNATION: Uuid = Uuid::from_u128(11);

impl Machine {
    pub(super) fn with_journal(seed: u64, config: LogConfig, bytes: u64) -> Machine {
        let mut m = Machine::new(seed, config);
        m.begin_journal(seed, bytes);
        m
    }

    pub(super) fn begin_journal(&mut self, seed: u64, bytes: u64) {
        let run = Run { boot_id: self.disk().boot_id(), incarnation_id: INCARNATION, salt: seed as u32 };
        let mut journal = Journal::new(&[journal_dir()], ShardId(0), bytes, run);
        journal.open(&self.disk()).unwrap();
        self.journal = Some(journal);
        self.partition.use_journal(0, 0);
    }

    /// The end of a turn. How many appends went another way.
    pub(super) fn commit(&mut self) -> usize {
        if let Some(journal) = &mut self.journal {
            journal.commit(&mut self.world);
        }
        self.outcomes()
    }

    fn outcomes(&mut self) -> usize {
        let mut outcomes = Vec::new();
        if let Some(journal) = &mut self.journal {
            journal.take_outcomes(&mut outcomes);
        }
        let refused = outcomes.iter().filter(|o| !o.safe).count();
        for Outcome { member, safe } in outcomes {
            let (partition, mut env, effects) = self.parts();
            if safe {
                partition.on_journaled(&mut env, member.upto, effects);
            } else {
                partition.on_not_journaled(&mut env);
            }
        }
        refused
    }

    pub(super) fn journal_on_disk(&mut self, tag: u32, outcome: DiskOutcome) {
        if let Some(journal) = &mut self.journal {
            assert_eq!(journal.on_disk(&mut self.world, tag, outcome), None);
        }
        self.outcomes();
    }

    pub(super) fn write_out(&mut self) {
        let (partition, mut env, _) = self.parts();
        partition.write_out(&mut env);
    }

    /// What a start does after a stop that was not clean.
    fn redo(&mut self, recovery_point: Offset) -> replay::Replayed {
        let done = self.replay(recovery_point, 0, INCARNATION);
        assert_eq!((&done.errors[..], &done.refused[..]), (&[][..], &[][..]));
        self.reopen(false, Some(recovery_point), None);
        done
    }

    pub(super) fn replay(
        &mut self,
        recovery_point: Offset,
        log_start: Offset,
        registered: Uuid,
    ) -> replay::Replayed {
        self.journal = None;
        let target = |topic_id, partition| {
            if (topic_id, partition) != (TOPIC, 0) {
                return Found::Gone; // a flipped bit in a damaged entry
            }
            Found::Here(Target { dir: dir(), recovery_point, log_start })
        };
        let journals = replay::find(&self.disk(), &[journal_dir()]).unwrap();
        let since = Since { registered, clean: false };
        let (disk, dirs) = (self.disk(), [home().to_path_buf()]);
        let redone =
            journals.redo(&disk, &dirs, since, |topic_id, partition| Ok(target(topic_id, partition)));
        let redone = redone.unwrap();
        redone.set_aside(&disk).unwrap();
        replay::remove(&disk, &dirs).unwrap();
        self.acknowledged = redone.done.acknowledged.get(&(TOPIC, 0)).copied().unwrap_or(0);
        redone.done
    }
}

fn numbers(m: &mut Machine) -> Vec<(Offset, u8)> {
    m.read_all(0, 1 << 20).into_iter().map(|(offset, value)| (offset, value[0])).collect()
}

fn numbered(count: u8) -> Vec<(Offset, u8)> {
    (0..count).map(|n| (Offset::from(n), n)).collect()
}

#[test]
fn acknowledged_at_the_end_of_the_turn_and_readable_before_it_is_written() {
    let mut m = Machine::with_journal(1, small(), BYTES);
    for n in 0..20 {
        m.append(&batch(1, &[n; 100])).unwrap();
    }
    assert_eq!(m.partition.durable_end_offset(), 0);
    assert_eq!(m.commit(), 0);
    assert_eq!((m.durable(), m.partition.durable_end_offset()), (20, 20));
    assert_eq!(m.partition.written_end_offset(), 0, "nothing is in the segment");
    assert_eq!(numbers(&mut m), numbered(20));
    m.write_out();
    m.settle();
    assert_eq!(m.partition.written_end_offset(), 20);
    assert_eq!(numbers(&mut m), numbered(20));
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut m = Machine::with_journal(2, small(), BYTES);
    for n in 0..50 {
        m.append(&batch(1, &[n; 700])).unwrap();
        if n % 3 == 0 {
            m.commit();
        }
        if n == 20 {
            m.write_out(); // some of it is on its way when the process dies
        }
    }
    m.commit();
    m.sim.kill();
    let done = m.redo(0);
    assert!(done.entries >= 29, "{done:?}");
    assert_eq!(m.partition.log_end_offset(), 50);
    assert_eq!(numbers(&mut m), numbered(50));
    assert!(m.disk().list(home()).unwrap().iter().all(|e| e.is_dir), "the journals are gone");
    assert_eq!(m.redo(0), replay::Replayed::default());
}

#[test]
fn flushed_entries_outlive_a_power_cut() {
    let mut m = Machine::with_journal(3, LogConfig { flush_messages: 1, ..small() }, BYTES);
    m.append(&batch(1, &[0; 100])).unwrap(); // goes to the segment: the journal's file is made meanwhile
    while m.partition.flushed_end_offset() < 1 || !m.journal.as_ref().unwrap().is_idle() {
        m.turn();
    }
    for n in 1..60 {
        m.append(&batch(1, &[n; 100])).unwrap();
        m.commit();
        if n % 7 == 0 {
            m.turn();
        }
    }
    while m.partition.durable_end_offset() < 60 {
        assert!(m.turn());
    }
    assert_eq!(m.partition.flushed_end_offset(), 1, "only the journal was flushed");
    m.sim.power_cut();
    m.redo(0);
    assert_eq!(numbers(&mut m), numbered(60));
}

/// A kill found appends that had gone straight to the segment, and were not there yet, before ones that were in the
/// journal: redoing the later ones left a hole, and recovery reported records as lost that nobody had been promised.
#[test]
fn what_stands_behind_a_gap_is_only_redone_if_the_gap_was_filled() {
    let mut m = Machine::with_journal(4, LogConfig { segment_bytes: 1 << 20, ..small() }, BYTES);
    m.append(&batch(1, &[0; 100])).unwrap();
    m.commit();
    m.append(&batch(1, &[1; 40_000])).unwrap(); // too large for the journal, and never written
    m.append(&batch(1, &[2; 100])).unwrap();
    m.commit();
    assert_eq!(m.partition.durable_end_offset(), 1);
    let mut sure = 0;
    for kill_first in [true, false] {
        if !kill_first {
            m.settle();
        }
        let before = m.partition.log_end_offset();
        m.sim.kill();
        m.redo(0);
        assert!(m.partition.log_end_offset() <= before);
        let left = numbers(&mut m);
        assert_eq!(left, numbered(left.len() as u8), "a prefix");
        assert!(!left.is_empty() && left.len() >= sure);
        sure = left.len();
    }
}

#[test]
fn a_half_is_used_again_when_its_members_have_written() {
    let mut m = Machine::with_journal(5, LogConfig { segment_bytes: 1 << 20, ..small() }, 2 * (128 << 10));
    let mut n = 0;
    let mut rotations = 0;
    while rotations < 5 {
        m.append(&batch(1, &[n; 1000])).unwrap();
        n = (n + 1) % 200;
        m.commit();
        let Some(members) = m.journal.as_mut().unwrap().rotated(0) else { continue };
        rotations += 1;
        assert_eq!(members.len(), 1, "a partition is in a half once");
        m.write_out();
        let upto = m.partition.log_end_offset();
        let members = members.into_iter().map(|member| Member { upto, ..member }).collect();
        m.journal.as_mut().unwrap().drains(0, members);
        while m.partition.written_end_offset() < upto {
            assert!(m.turn());
        }
        let written = m.partition.written_end_offset();
        let mut journal = m.journal.take().unwrap();
        journal.reclaim(&mut m.world, |_, member| written >= member.upto);
        m.journal = Some(journal);
    }
    let (end, durable) = (m.partition.log_end_offset(), m.partition.durable_end_offset());
    assert_eq!(end, durable);
    m.sim.kill();
    m.redo(0);
    assert_eq!(m.partition.log_end_offset(), end);
}

#[test]
fn without_room_appends_go_to_their_segment() {
    let mut m = Machine::with_journal(6, LogConfig { segment_bytes: 1 << 20, ..small() }, 2 * (128 << 10));
    for n in 0..100 {
        m.append(&batch(1, &[n; 5000])).unwrap();
        m.commit();
    }
    assert!(m.partition.durable_end_offset() < 100, "the halves are full, as nobody empties them");
    m.settle();
    assert_eq!(m.partition.durable_end_offset(), 100);
    assert_eq!(numbers(&mut m), numbered(100));
}

/// Records were deleted up to a place in the middle of a segment, and the process was killed. Entries below the log start
/// were not redone; recovery found a hole where their segment begins and cut off what was acknowledged behind it.
#[test]
fn what_was_deleted_is_redone_as_what_was_not_follows_it() {
    let mut m = Machine::with_journal(12, small(), BYTES);
    for n in 0..50 {
        m.append(&batch(1, &[n; 100])).unwrap();
        m.commit();
    }
    m.sim.kill();
    let done = m.replay(0, 20, INCARNATION);
    assert_eq!((&done.errors[..], &done.refused[..]), (&[][..], &[][..]));
    m.reopen(false, Some(0), Some(20));
    assert_eq!((m.partition.log_start_offset(), m.partition.log_end_offset()), (20, 50));
    let left: Vec<Offset> = m.read_all(20, 1 << 20).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(left, (20..50).collect::<Vec<Offset>>());
}

#[test]
fn a_journal_that_cannot_be_written_is_given_up() {
    let mut m = Machine::with_journal(7, small(), BYTES);
    m.disk().fail(crate::io::sim::DiskFault {
        path_contains: "ottla-journal".into(),
        op: crate::io::sim::DiskOp::Write,
        errno: libc::ENOSPC,
        skip: 1,
        times: 1,
    });
    for n in 0..10 {
        m.append(&batch(1, &[n; 100])).unwrap();
        let refused = m.commit();
        assert_eq!(refused, usize::from(n == 1));
    }
    m.settle();
    assert_eq!(m.partition.durable_end_offset(), 10);
    assert_eq!(numbers(&mut m), numbered(10));
}
