//! Kills, power cuts and damaged journals at random moments, against a list of what was acknowledged: after a start it is
//! there, or the partition is refused with a word.

use std::collections::BTreeMap;

use super::journal::{INCARNATION, home};
use super::*;
use crate::base::prng::Prng;
use crate::io::OpenMode;
use crate::log::journal::Level;

/// How a run ends, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    PowerCut,
    /// A kill, and then a flipped bit in a journal.
    Damage,
    /// A kill, and then sectors of zeros in a segment, or its end missing.
    Hole,
}

/// What must hold.
struct Model {
    values: BTreeMap<Offset, Vec<u8>>,
    log_start: Offset,
    /// Everything below was acknowledged.
    durable: Offset,
    flushed: Offset,
    /// What the checkpoint says.
    recovery_point: Offset,
}

impl Machine {
    /// The end of a turn, as a core has it.
    fn end_turn(&mut self) {
        self.commit();
        let Some(mut journal) = self.journal.take() else { return };
        for (area, level) in journal.areas() {
            let Some(mut members) = journal.rotated(area) else { continue };
            let (partition, mut env, _) = self.parts();
            if level == Level::Flushed {
                partition.write_out(&mut env);
            }
            for member in &mut members {
                member.upto = partition.log_end_offset();
            }
            journal.drains(area, members);
        }
        let (written, flushed) = (self.partition.written_end_offset(), self.partition.flushed_end_offset());
        journal.reclaim(&mut self.world, |level, member| {
            member.upto <= if level == Level::Staged { written } else { flushed }
        });
        while let Some(member) = journal.next_to_flush() {
            let (partition, mut env, _) = self.parts();
            partition.flush_upto(&mut env, member.upto);
        }
        let now = self.world.now();
        while journal.next_to_write(now).is_some() {
            let (partition, mut env, _) = self.parts();
            partition.hold_back_no_more(&mut env);
        }
        self.journal = Some(journal);
    }

    /// Flips a bit of a journal. Whether there is one to flip.
    fn damage_journal(&mut self, prng: &mut Prng) -> bool {
        let disk = self.disk();
        let mut journals = disk.list(home()).unwrap();
        journals.retain(|entry| entry.name.starts_with("ottla-journal-") && entry.len > 8192);
        if journals.is_empty() {
            return false;
        }
        let journal = &journals[prng.below(journals.len() as u64) as usize];
        // Most of a file that was reserved is still zeros.
        let path = home().join(&journal.name);
        let used = disk.read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
        disk.flip(&path, prng.below(used.max(8192) + 1), 1 << prng.below(8)).unwrap();
        true
    }
}

/// What a hole in a segment has hit.
#[derive(Clone, Debug, Default)]
struct Hit {
    /// The offsets of batches with bytes in it.
    offsets: Vec<Offset>,
}

impl Machine {
    /// Makes sectors of what is written above the recovery point zeros, or cuts a segment off there.
    fn tear_segment(&mut self, prng: &mut Prng, recovery_point: Offset) -> Hit {
        let disk = self.disk();
        let mut found = Vec::new();
        for name in self.files().into_iter().filter(|name| name.ends_with(".log")) {
            let (bytes, mut at) = (self.file(&name), 0);
            for view in Batches::new(&bytes).map_while(Result::ok) {
                let (header, end) = (*view.header(), at + view.bytes().len() as u64);
                found.push((name.clone(), at, end, header.base_offset));
                at = end;
            }
        }
        found.retain(|(.., base)| *base >= recovery_point);
        if found.is_empty() {
            return Hit::default();
        }
        let (name, from, to, _) = found[prng.below(found.len() as u64) as usize].clone();
        let at = from + prng.below(to - from);
        let file = disk.open(&dir().join(&name), OpenMode::Direct).unwrap();
        let until = if prng.one_in(4) {
            disk.set_len(&file, at).unwrap();
            u64::MAX
        } else {
            let sector = crate::io::sim::SECTOR_BYTES as u64;
            let until = (at / sector + 1 + prng.below(3)) * sector;
            let until = until.min(disk.len(&file).unwrap());
            disk.write_at(&file, at, &vec![0; (until - at) as usize]).unwrap();
            until
        };
        disk.sync(&file).unwrap();
        let hit = found.iter().filter(|(other, begin, end, _)| *other == name && *begin < until && *end > at);
        Hit { offsets: hit.map(|(.., base)| *base).collect() }
    }
}

fn value(prng: &mut Prng) -> Vec<u8> {
    let bytes = match prng.below(12) {
        0 => 33_000 + prng.below(60_000), // straight to the segment
        1..4 => prng.below(9000),
        _ => prng.below(100),
    };
    (0..=bytes).map(|_| prng.below(256) as u8).collect()
}

fn step(m: &mut Machine, model: &mut Model, prng: &mut Prng) {
    match prng.below(100) {
        0..50 => {
            let value = value(prng);
            let appended = m.append(&batch(1, &value)).unwrap();
            model.values.insert(appended.base_offset, value);
        }
        50..75 => m.end_turn(),
        75..90 => {
            let journals = m.journal.as_ref().is_none_or(crate::log::journal::Journal::is_idle);
            let _ = (m.partition.is_idle() && journals) || m.turn();
        }
        90..93 => m.save_epochs(),
        93..95 => model.recovery_point = m.partition.recovery_point(),
        95..96 => {
            let (partition, mut env, effects) = m.parts();
            partition.sync_now(&mut env, effects);
        }
        96..98 => {
            // In two steps: the checkpoint says so first.
            let durable = m.partition.durable_end_offset();
            let before = model.log_start + prng.below((durable - model.log_start + 1) as u64) as i64;
            model.log_start = before;
            let (partition, mut env, effects) = m.parts();
            partition.delete_records(&mut env, before, durable, effects).unwrap();
        }
        _ => m.write_out(),
    }
    let durable = m.partition.durable_end_offset();
    assert!(durable >= model.durable && m.partition.fenced().is_none());
    (model.durable, model.flushed) = (durable, m.partition.flushed_end_offset().min(durable));
}

/// Ends and starts again. False if the partition was refused, which only damage may do.
fn end(m: &mut Machine, model: &mut Model, prng: &mut Prng, end: End, what: &str) -> bool {
    match end {
        End::PowerCut => m.sim.power_cut(),
        End::Kill | End::Damage | End::Hole => m.sim.kill(),
    }
    let hit = if end == End::Hole { m.tear_segment(prng, model.recovery_point) } else { Hit::default() };
    let damaged = end == End::Damage && m.damage_journal(prng);
    let done = m.replay(model.recovery_point, model.log_start, INCARNATION);
    if !damaged && hit.offsets.is_empty() {
        assert_eq!((&done.errors[..], &done.refused[..]), (&[][..], &[][..]), "{what}");
    }
    if !done.refused.is_empty() {
        assert!(done.refused.iter().all(|refused| m.disk().exists(&refused.journal)), "{what}: {done:?}");
        return false;
    }
    let report = m.reopen(false, Some(model.recovery_point), Some(model.log_start));
    let (start, found_end) = (m.partition.log_start_offset(), m.partition.log_end_offset());
    assert_eq!(start, model.log_start, "{what}: the log start goes neither back nor forward: {report:?}");
    let flushes = m.config.flush_messages == 1;
    let mut promised = if end == End::PowerCut && !flushes { model.flushed } else { model.durable };
    if !hit.offsets.is_empty() {
        // Nothing but the journal tells what a torn last write was.
        assert!(found_end >= m.acknowledged, "{what}: {} were acknowledged, {report:?}", m.acknowledged);
        promised = m.acknowledged;
    }
    let found: BTreeMap<Offset, Vec<u8>> = m.read_all(start, 1 << 20).into_iter().collect();
    // Holes that an earlier power cut has torn into what was not acknowledged stay.
    let wanted = model.values.range(start.min(promised)..promised).map(|(offset, _)| *offset);
    let mut lost: Vec<Offset> = wanted.filter(|offset| !found.contains_key(offset)).collect();
    let hit_and_lost = lost.iter().any(|offset| hit.offsets.contains(offset));
    assert!(!hit_and_lost || !report.warnings.is_empty(), "{what}: {hit:?}, and nothing is said");
    lost.retain(|offset| !hit.offsets.contains(offset));
    // The frame that was damaged may have been the last of a partition: it is named.
    let named = damaged && !(done.errors.is_empty() && done.warnings.is_empty());
    assert!(
        lost.is_empty() || named,
        "{what}: {promised} were promised, lost {lost:?} of {found_end}: {done:?} {report:?}"
    );
    for (offset, value) in &found {
        assert_eq!(model.values.get(offset), Some(value), "{what}: offset {offset}");
    }
    model.values.retain(|offset, _| found.contains_key(offset));
    (model.durable, model.flushed) = (found_end.max(start), m.partition.flushed_end_offset());
    m.begin_journal(prng.next_u64(), JOURNAL_BYTES);
    true
}

const JOURNAL_BYTES: u64 = 400 << 10;

/// One life of a partition; how many starts it saw, and whether it was refused in the end.
fn run(seed: u64, flush_messages: i64, ends: &[End]) -> (u32, bool) {
    let mut prng = Prng::new(seed);
    let segment_bytes = [100_000, 150_000, 1 << 20][prng.below(3) as usize];
    let config = LogConfig { segment_bytes, flush_messages, retention_ms: -1, ..small() };
    let mut m = Machine::with_journal(seed, config, JOURNAL_BYTES);
    let mut model = Model { values: [].into(), log_start: 0, durable: 0, flushed: 0, recovery_point: 0 };
    for starts in 0..4 {
        for _ in 0..prng.below(120) {
            step(&mut m, &mut model, &mut prng);
        }
        let how = ends[prng.below(ends.len() as u64) as usize];
        let what = format!("seed {seed}, flush.messages {flush_messages}, start {starts}, {how:?}");
        if !end(&mut m, &mut model, &mut prng, how, &what) {
            return (starts, true);
        }
    }
    (4, false)
}

/// Sixty seeds; more with `OTTLA_SEEDS`.
fn seeds(from: u64) -> std::ops::Range<u64> {
    let count = std::env::var("OTTLA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    from * 1_000_000..from * 1_000_000 + count
}

#[test]
fn kills_take_nothing_that_was_acknowledged() {
    for seed in seeds(1) {
        run(seed, i64::MAX, &[End::Kill]);
        run(seed, 1, &[End::Kill]);
    }
}

#[test]
fn power_cuts_take_nothing_that_was_flushed() {
    for seed in seeds(2) {
        run(seed, i64::MAX, &[End::Kill, End::PowerCut]);
        run(seed, 1, &[End::Kill, End::PowerCut]);
    }
}

#[test]
fn damage_in_the_journal_is_never_silent() {
    let mut refused = 0;
    for seed in seeds(3) {
        for flush_messages in [i64::MAX, 1] {
            refused += u32::from(run(seed, flush_messages, &[End::Kill, End::Damage]).1);
        }
    }
    assert!(refused > 0, "no damage ever hit what was wanted");
}

/// A hole in an unflushed batch, or a cut file, took the records behind it that the journal had just put back: recovery took it
/// for a write that was torn, as it knew nothing of the journal, and the offsets were given out again.
#[test]
fn a_hole_costs_its_batch_and_nothing_that_the_journal_had() {
    for seed in seeds(4) {
        run(seed, i64::MAX, &[End::Kill, End::Hole]);
        run(seed, 1, &[End::Kill, End::Hole]);
    }
}
