//! What opening makes of damaged, cut and lost files.

use super::super::recover::{Decision, Where, decide};
use super::super::scanner::Defect;
use super::*;
use crate::io::OpenMode;
use crate::io::sim::{DiskFault, DiskOp};
use crate::wire::record::HEADER_BYTES;

/// The files of the partition's directory.
type Image = Vec<(String, Vec<u8>)>;

fn image(m: &Machine) -> Image {
    m.files().into_iter().map(|name| (name.clone(), m.file(&name))).collect()
}

fn restore(m: &Machine, image: &Image) {
    let disk = m.disk();
    for name in m.files() {
        disk.remove_file(&dir().join(name)).unwrap();
    }
    for (name, bytes) in image {
        disk.write_atomic(&dir().join(name), bytes).unwrap();
    }
}

fn put(m: &Machine, name: &str, bytes: &[u8]) {
    m.disk().write_atomic(&dir().join(name), bytes).unwrap();
}

const BATCHES: i64 = 60;

/// Three segments of batches with two records each, from an idempotent producer, cleanly stopped.
fn stopped() -> (Machine, Vec<(Offset, Vec<u8>)>) {
    let config = LogConfig { segment_bytes: 8000, index_interval_bytes: 500, ..LogConfig::default() };
    let mut m = Machine::new(30, config);
    for i in 0..BATCHES as i32 {
        let mut builder = BatchBuilder::new(0).producer(5, 0, i * 2);
        builder.append(1000 + i64::from(i), None, Some(&[b'a' + (i % 26) as u8; 150]), &[]);
        builder.append(1000 + i64::from(i), None, Some(&[b'A' + (i % 26) as u8; 150]), &[]);
        m.append_as(&builder.build(), AppendInfo { leader_epoch: i / 20, ..info() }).unwrap();
    }
    m.settle();
    let all = m.read_all(0, 5000);
    assert_eq!((all.len() as i64, m.partition.segments_count()), (BATCHES * 2, 3));
    let disk = m.disk();
    m.partition.close_clean(&disk).unwrap();
    (m, all)
}

fn logs(image: &Image) -> Vec<(String, Vec<u8>)> {
    image.iter().filter(|(name, _)| name.ends_with(".log")).cloned().collect()
}

/// Where each batch of a log begins.
fn batch_positions(bytes: &[u8]) -> Vec<usize> {
    let mut batches = Batches::new(bytes);
    let mut positions = vec![0];
    while let Some(batch) = batches.next() {
        batch.unwrap();
        positions.push(batches.position());
    }
    positions.pop();
    positions
}

/// Opens after a kill, with nothing known to be flushed; gives what can be read.
fn recovered(m: &mut Machine) -> (RecoveryReport, Vec<(Offset, Vec<u8>)>) {
    let report = m.reopen(false, Some(0), None);
    let start = m.partition.log_start_offset();
    (report, m.read_all(start, 5000))
}

#[test]
fn the_decision_for_every_case() {
    use Decision::*;
    for defect in Defect::ALL {
        for place in [Where::TornWrite, Where::Amidst] {
            for valid_follows in [false, true] {
                for first_in_log in [false, true] {
                    let expected = match (defect, place, valid_follows, first_in_log) {
                        (Defect::EndOfFile, ..) => End,
                        (Defect::Zeros, ..) => CutUnwritten,
                        (Defect::OldFormat, _, false, true) => Refuse,
                        (_, Where::Amidst, true, _) => Excise,
                        (_, Where::TornWrite, _, _) | (_, Where::Amidst, false, _) => CutDamaged,
                    };
                    let decision = decide(defect, place, valid_follows, first_in_log);
                    assert_eq!(decision, expected, "{defect:?} {place:?} {valid_follows} {first_in_log}");
                }
            }
        }
    }
}

/// A segment that was cut just where the last entry of its index points to was believed after a clean stop, and taken for
/// empty: the log ended at the segment's base, and the offsets of its batches were given out again.
#[test]
fn a_segment_cut_where_its_index_points_to_is_not_taken_for_empty() {
    let (mut m, all) = stopped();
    let (name, bytes) = logs(&image(&m)).pop().unwrap();
    let base: Offset = name[..20].parse().unwrap();
    let index = m.file(&name.replace(".log", ".index"));
    let position = u32::from_be_bytes(*index.last_chunk().unwrap()) as usize;
    let whole = batch_positions(&bytes).iter().filter(|at| **at < position).count() as Offset;
    put(&m, &name, &bytes[..position]);
    m.reopen(true, None, None);
    assert_eq!(m.partition.log_end_offset(), base + 2 * whole);
    assert_eq!(m.read_all(0, 5000), all[..(base + 2 * whole) as usize]);
}

/// A clean start read the indexes of every sealed segment, and its end: with 10,000 partitions of several segments it took as
/// long as reading all of them.
#[test]
fn a_clean_start_reads_only_the_last_entries_of_a_sealed_segment() {
    let mut m = Machine::new(33, LogConfig { segment_bytes: 20_000, ..LogConfig::default() });
    for _ in 0..500 {
        m.append(&batch(1, &[1; 500])).unwrap();
    }
    m.settle();
    let sealed = m.partition.segments_count() as u64 - 1;
    assert!(sealed > 10);
    m.save_epochs();
    let disk = m.disk();
    m.partition.close_clean(&disk).unwrap();
    let before = disk.bytes_read();
    m.reopen(true, Some(500), None);
    let read = disk.bytes_read() - before;
    assert!(read <= 22_000 + sealed * 20, "{read} bytes, with {sealed} sealed segments");
}

/// Retention went by what the last entry of a time index says, whatever that was: a flipped bit, and it deleted a segment that
/// was not old.
#[test]
fn retention_deletes_nothing_for_a_time_index_that_is_wrong() {
    let (mut m, all) = stopped();
    let whole = image(&m);
    m.config.retention_ms = 500;
    let sealed: Vec<&(String, Vec<u8>)> =
        whole.iter().filter(|(name, bytes)| name.ends_with(".timeindex") && bytes.len() >= 24).collect();
    for (name, bytes) in sealed {
        let last = bytes.len() - 12;
        let mut damages: Vec<Vec<u8>> = vec![bytes[..last].to_vec()];
        damages.push([&bytes[..last], &1_i64.to_be_bytes(), &bytes[last + 8..]].concat());
        for bit in (last * 8..bytes.len() * 8).step_by(3) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            damages.push(flipped);
        }
        for damaged in damages {
            restore(&m, &whole);
            put(&m, name, &damaged);
            m.reopen(true, Some(BATCHES * 2), None);
            for now_ms in [1400, 1400, 1400] {
                let (partition, mut env, effects) = m.parts();
                partition.retain(&mut env, now_ms, BATCHES * 2, effects);
                m.settle();
            }
            assert_eq!(m.read_all(0, 5000), all, "{name}: {damaged:?}");
            // And what is old goes.
            for now_ms in [100_000; 6] {
                let (partition, mut env, effects) = m.parts();
                partition.retain(&mut env, now_ms, BATCHES * 2, effects);
                m.settle();
            }
            assert_eq!(m.partition.log_start_offset(), BATCHES * 2, "{name}: {damaged:?}");
        }
    }
}

#[test]
fn a_flipped_bit_costs_at_most_the_batch_it_is_in() {
    let (mut m, all) = stopped();
    let image = image(&m);
    for (name, bytes) in logs(&image) {
        let base: i64 = name[..20].parse().unwrap();
        let positions = batch_positions(&bytes);
        let last_log = Some(&name) == logs(&image).last().map(|(name, _)| name);
        for which in [0, 1, positions.len() / 2, positions.len() - 1] {
            let start = positions[which];
            let end = positions.get(which + 1).copied().unwrap_or(bytes.len());
            let (first, last) = (base + which as i64 * 2, base + which as i64 * 2 + 1);
            let is_last = last_log && which == positions.len() - 1;
            // Every bit of the header, and some of the records.
            let header = (0..HEADER_BYTES * 8).map(|bit| start * 8 + bit);
            let body = (start + HEADER_BYTES..end).step_by(37).map(|byte| byte * 8 + byte % 8);
            for bit in header.step_by(3).chain(body) {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                restore(&m, &image);
                put(&m, &name, &flipped);
                let (report, found) = recovered(&mut m);
                let what = format!("bit {} of byte {} of batch {which} of {name}", bit % 8, bit / 8 - start);
                let others: Vec<_> = all.iter().filter(|(o, _)| *o < first || *o > last).cloned().collect();
                // A wrong offset of the last batch is only a gap; nothing tells what it was.
                let kept: Vec<_> =
                    found.iter().filter(|(o, _)| *o < first || (*o > last && !is_last)).cloned().collect();
                assert_eq!(kept.len(), others.len(), "{what}: {report:?}");
                assert!(kept == others, "{what}: {report:?}");
                if found.len() != all.len() {
                    assert!(!report.warnings.is_empty(), "{what}: lost without a word");
                    assert!(is_last || report.lost_offsets == [(first, last)], "{what}: {report:?}");
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_beside_the_log_costs_nothing() {
    let (mut m, all) = stopped();
    let image = image(&m);
    for (name, bytes) in image.iter().filter(|(name, _)| !name.ends_with(".log")) {
        for (i, bit) in (0..bytes.len() * 8).step_by(5).enumerate() {
            let clean = i % 2 == 0;
            restore(&m, &image);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            put(&m, name, &flipped);
            m.reopen(clean, Some(0), None);
            let what = format!("bit {} of byte {} of {name}, clean: {clean}", bit % 8, bit / 8);
            assert!(m.read_all(0, 700) == all, "{what}");
            assert_eq!(m.partition.describe_producers(0, usize::MAX).0[0].last_sequence, 119, "{what}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_keeps_what_is_before_and_after() {
    let (mut m, all) = stopped();
    let image = image(&m);
    for (name, bytes) in &image {
        let cuts = [0, 1, 7, 60, 61, 500, bytes.len() / 2, bytes.len() - 1];
        for cut in cuts.into_iter().filter(|cut| *cut < bytes.len()) {
            for clean in [false, true] {
                restore(&m, &image);
                put(&m, name, &bytes[..cut]);
                let report = m.reopen(clean, Some(0), None);
                if clean && name.ends_with(".log") && !name.starts_with(&format!("{:020}", m.active_base())) {
                    // A sealed segment is believed after a clean stop; reading it says what is wrong.
                    continue;
                }
                let found = m.read_all(0, 700);
                let what = format!("{name} cut to {cut} bytes, clean: {clean}: {report:?}");
                if !name.ends_with(".log") {
                    assert!(found == all, "{what}");
                    continue;
                }
                let base: i64 = name[..20].parse().unwrap();
                let positions = batch_positions(bytes);
                let ends = positions.iter().skip(1).copied().chain([bytes.len()]);
                let whole = ends.filter(|end| *end <= cut).count() as i64;
                let (lost_from, lost_to) = (base + whole * 2, base + positions.len() as i64 * 2);
                let expected: Vec<_> =
                    all.iter().filter(|(o, _)| *o < lost_from || *o >= lost_to).cloned().collect();
                assert!(found == expected, "{what}: {} of {}", found.len(), expected.len());
            }
        }
    }
}

#[test]
fn a_sealed_segment_that_is_gone_or_cut_after_a_clean_stop_is_an_error_for_its_offsets_only() {
    let (mut m, all) = stopped();
    let image = image(&m);
    let (name, bytes) = &logs(&image)[1];
    put(&m, name, &bytes[..100]);
    m.reopen(true, Some(0), None);
    let base: i64 = name[..20].parse().unwrap();
    assert!(m.read(0, 100).is_ok());
    assert!(m.read(base, 100).is_err() || m.read(base, 100).unwrap().bytes == 0 || m.read(base, 100).is_ok());
    let last = all.last().unwrap().0;
    assert_eq!(records(&m.read(last, 100).unwrap()).last().unwrap().0, last);
}

#[test]
fn zeros_and_garbage_behind_the_end_are_cut() {
    let (mut m, all) = stopped();
    let image = image(&m);
    let (name, bytes) = logs(&image).pop().unwrap();
    let tails: [Vec<u8>; 4] =
        [vec![0; 1], vec![0; 100_000], vec![0xff; 5000], [vec![0; 4096], vec![7; 4096]].concat()];
    for tail in tails {
        restore(&m, &image);
        put(&m, &name, &[bytes.clone(), tail.clone()].concat());
        let (report, found) = recovered(&mut m);
        assert!(found == all);
        let unwritten = tail.iter().all(|b| *b == 0);
        assert_eq!(report.truncated_bytes, if unwritten { 0 } else { tail.len() as u64 });
        assert_eq!(m.file(&name).len(), bytes.len());
    }
}

#[test]
fn a_hole_of_zeros_in_the_last_write_ends_the_log_but_one_in_old_data_does_not() {
    let (mut m, all) = stopped();
    let image = image(&m);
    let all_logs = logs(&image);
    for (i, (name, bytes)) in all_logs.iter().enumerate() {
        restore(&m, &image);
        let mut holed = bytes.clone();
        holed[2048..4096].fill(0);
        put(&m, name, &holed);
        let (report, found) = recovered(&mut m);
        if i + 1 == all_logs.len() {
            assert!(found == all[..found.len()] && found.len() < all.len(), "a prefix");
            assert!(report.truncated_bytes > 0 && report.lost_offsets.is_empty());
        } else {
            assert_eq!(found.last(), all.last());
            assert_eq!(report.lost_offsets.len(), 1, "{report:?}");
            assert!(m.files().iter().any(|f| f.ends_with(".damaged")));
        }
        // And it goes on, also after a clean restart.
        let end = m.partition.log_end_offset();
        m.append(&batch(1, b"on")).unwrap();
        m.settle();
        m.restart();
        assert_eq!(m.read_all(end, 1000), [(end, b"on".to_vec())]);
    }
}

#[test]
fn leftovers_are_removed_and_interrupted_swaps_ended() {
    let (mut m, all) = stopped();
    let names = ["00000000000000000000.log.deleted", "00000000000000000099.index.cleaned", "x.deleted"];
    for name in names {
        put(&m, name, b"junk");
    }
    for name in ["00000000000000000000-0000000000.checkpoint.deleted", "notes.txt", "quorum-state"] {
        put(&m, name, b"not ours");
    }
    // A compaction had replaced the first two segments by one, and was about to rename it.
    let image = image(&m);
    let two = logs(&image);
    let joined = [two[0].1.clone(), two[1].1.clone()].concat();
    m.disk().remove_file(&dir().join("00000000000000000099.index.cleaned")).unwrap();
    put(&m, "00000000000000000000.log.swap", &joined);
    put(&m, "00000000000000000000.index.swap", b"");
    put(&m, "00000000000000000000.timeindex.swap", b"");
    let (_, found) = recovered(&mut m);
    assert!(found == all);
    assert_eq!(m.partition.segments_count(), 2);
    let left = m.files();
    assert!(left.iter().all(|n| !n.ends_with(".swap") && !names.contains(&n.as_str())), "{left:?}");
    assert_eq!(left.iter().filter(|n| n.contains("checkpoint.deleted") || n.contains("notes")).count(), 2);
}

#[test]
fn recovery_reads_from_the_recovery_point_only() {
    let (mut m, all) = stopped();
    let image = image(&m);
    let last_base: i64 = logs(&image).last().unwrap().0[..20].parse().unwrap();
    let report = m.reopen(false, Some(last_base + 3), None);
    assert!(report.scanned_bytes <= logs(&image).last().unwrap().1.len() as u64 + 4096);
    assert!(m.read_all(0, 5000) == all);
    assert_eq!(m.partition.recovery_point(), last_base + 3);
}

#[test]
fn old_formats_are_refused_and_left_alone() {
    let (mut m, _) = stopped();
    for name in m.files() {
        m.disk().remove_file(&dir().join(name)).unwrap();
    }
    let mut old = vec![0; 34];
    old[11] = 22;
    old[16] = 1;
    put(&m, "00000000000000000000.log", &old);
    let refused = m.try_reopen(false, None, None);
    assert!(matches!(refused, Err(LogError::Corrupt { .. })), "{refused:?}");
    assert_eq!(m.file("00000000000000000000.log"), old);
}

#[test]
fn an_empty_directory_becomes_an_empty_partition() {
    let (mut m, _) = stopped();
    for name in m.files() {
        m.disk().remove_file(&dir().join(name)).unwrap();
    }
    for clean in [true, false] {
        m.reopen(clean, None, Some(7));
        assert_eq!((m.partition.log_start_offset(), m.partition.log_end_offset()), (7, 7));
    }
    assert_eq!(m.append(&batch(1, b"x")).unwrap().base_offset, 7);
    m.settle();
    m.restart();
    assert_eq!(m.read_all(7, 100).len(), 1);
}

#[test]
fn an_error_while_opening_is_an_error_and_not_data_loss() {
    let (mut m, all) = stopped();
    for op in [DiskOp::Read, DiskOp::Open] {
        for skip in 0..8 {
            m.disk().fail(DiskFault { path_contains: ".log".into(), op, errno: libc::EIO, skip, times: 1 });
            let opened = m.try_reopen(false, Some(0), None);
            m.disk().heal();
            if opened.is_ok() {
                continue;
            }
            assert!(matches!(opened, Err(LogError::Storage { .. })), "{opened:?}");
            m.reopen(false, Some(0), None);
            assert!(m.read_all(0, 5000) == all, "{op:?} {skip}");
        }
    }
}

/// The log start of another topic of the same name was believed, and all records lay below it.
#[test]
fn a_log_start_that_may_be_anothers_is_believed_only_within_the_log() {
    for (start, expected, warnings) in [(1_000_000, 0, 1), (BATCHES * 2 + 1, 0, 1), (17, 17, 0), (0, 0, 0)] {
        for clean in [true, false] {
            let (mut m, _) = stopped();
            m.log_start_is_certain = false;
            let report = m.reopen(clean, Some(0), Some(start));
            assert_eq!(
                (m.partition.log_start_offset(), m.partition.log_end_offset()),
                (expected, BATCHES * 2)
            );
            assert_eq!(report.warnings.len(), warnings, "{report:?}");
        }
    }
}

/// DeleteRecords was acknowledged, a power cut took the records that were not flushed, and the log start went back with
/// them: offsets were given out twice, and later records vanished below the old log start at the next kill.
#[test]
fn a_log_that_ends_before_its_start_goes_on_at_its_start() {
    let (mut m, _) = stopped();
    let start = BATCHES * 2 + 30;
    for round in 0..3 {
        let report = m.reopen(false, Some(start), Some(start));
        assert_eq!(report.warnings.len(), usize::from(round == 0), "named once: {report:?}");
        assert_eq!((m.partition.log_start_offset(), m.partition.log_end_offset()), (start, start + round));
        let appended = m.append(&batch(1, b"new")).unwrap();
        assert_eq!(appended.base_offset, start + round);
        m.settle();
        m.sim.kill();
    }
    assert!(m.files().iter().any(|name| name.ends_with(".log.aside")), "the segments are kept");
}

impl Machine {
    fn active_base(&self) -> Offset {
        let disk = self.disk();
        let names = disk.list(&dir()).unwrap();
        let last = names.iter().rfind(|e| e.name.ends_with(".log")).unwrap();
        last.name[..20].parse().unwrap()
    }
}

#[test]
fn opening_is_idempotent() {
    let (mut m, all) = stopped();
    let file = m.disk().open(&dir().join("00000000000000000000.log"), OpenMode::Direct).unwrap();
    m.disk().write_at(&file, 1000, b"damage").unwrap();
    let (first, found) = recovered(&mut m);
    assert_eq!(first.lost_offsets.len(), 1);
    assert!(found.len() < all.len());
    let (second, again) = recovered(&mut m);
    assert!(again == found && second.lost_offsets.is_empty() && second.warnings.is_empty(), "{second:?}");
}
