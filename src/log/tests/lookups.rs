//! Lookups by time, against a list of all records. `Machine::lookup` asserts that no step decompresses more than a core may
//! in one go.

use super::*;
use crate::base::prng::Prng;
use crate::wire::record::Codec;

const RUNS: u64 = 30;

/// A batch of records with these timestamps, one of which has a large value.
fn timed(codec: Codec, timestamps: &[WallMs], value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0).compression(codec);
    let value = vec![0; value_bytes];
    for (i, timestamp) in timestamps.iter().enumerate() {
        builder.append(*timestamp, None, Some(if i == 0 { &value } else { b"v" }), &[]);
    }
    builder.build()
}

/// Deletes the records before an offset.
fn delete(m: &mut Machine, before: Offset) {
    let (partition, mut env, effects) = m.parts();
    let end = partition.durable_end_offset();
    partition.delete_records(&mut env, before, end, effects).unwrap();
}

fn check(m: &mut Machine, all: &[WallMs], start: Offset, seed: u64) {
    let left = || (start..).zip(&all[start as usize..]).map(|(offset, timestamp)| (*timestamp, offset));
    for t in (0..110).step_by(9) {
        let expected = left().find(|(timestamp, _)| *timestamp >= t);
        let found = m.lookup(Lookup::Timestamp(t)).map(|found| (found.timestamp, found.offset));
        assert_eq!(found, expected, "seed {seed}, from {start}, at {t}");
    }
    let largest = left().reduce(|best, other| if other.0 > best.0 { other } else { best });
    let found = m.lookup(Lookup::MaxTimestamp).map(|found| (found.timestamp, found.offset));
    assert_eq!(found, largest, "seed {seed}, from {start}");
}

/// 100 KB of gzip that hold 100 MB were decompressed by the core that was asked for an offset by time: 0.3 s for each partition
/// that a request named, in which nobody else was served; for the largest timestamp after DeleteRecords all batches of a segment
/// were, one after the other. And what was decompressed last stayed with the partition, up to 4 MiB of it.
#[test]
fn lookups_find_what_a_list_says_and_no_step_decompresses_much() {
    for seed in 0..RUNS {
        let mut prng = Prng::new(seed);
        let config = LogConfig { segment_bytes: 400_000, index_interval_bytes: 1000, ..LogConfig::default() };
        let mut m = Machine::new(seed, config);
        let (mut all, mut start): (Vec<WallMs>, Offset) = (Vec::new(), 0);
        for _ in 0..=prng.below(40) {
            let timestamps: Vec<WallMs> = (0..=prng.below(4)).map(|_| prng.below(100) as WallMs).collect();
            let codec = Codec::ALL[prng.below(5) as usize];
            let sizes = if codec == Codec::None {
                [10, 300, 5_000, 100_000]
            } else {
                [10, 5_000, 300_000, 3_000_000]
            };
            m.append(&timed(codec, &timestamps, sizes[prng.below(4) as usize])).unwrap();
            all.extend(timestamps);
        }
        m.settle();
        check(&mut m, &all, start, seed);
        for _ in 0..3 {
            start += prng.below(all.len() as u64 - start as u64) as Offset;
            delete(&mut m, start);
            if prng.below(2) == 0 {
                m.restart();
            }
            check(&mut m, &all, start, seed);
        }
    }
}

/// Nobody waits for it any more: a helper need not begin, and nothing is kept of it.
#[test]
fn a_lookup_that_is_forgotten_ends() {
    let mut m = Machine::new(1, small());
    m.append(&timed(Codec::Gzip, &[5, 7], 3_000_000)).unwrap();
    m.settle();
    m.effects.clear();
    let (partition, mut env, effects) = m.parts();
    assert!(partition.lookup(&mut env, Lookup::Timestamp(6), Offset::MAX, 1, effects).is_none());
    let paused = effects.pop();
    let Some(LogEffect::LookupPaused { ticket: 1, mut paused }) = paused else { panic!("{paused:?}") };
    let scan = paused.take_scan().expect("the batch takes long");
    let wanted = Arc::new(());
    assert!(scan.run(&Arc::downgrade(&wanted), LOOKUP_STEP_BYTES).is_err());
    assert!(
        scan.run_long(&Arc::downgrade(&wanted))
            .is_some_and(|found| (found.offset, found.timestamp) == (1, 7))
    );
    let nobody = Arc::downgrade(&wanted);
    drop(wanted);
    assert!(scan.run_long(&nobody).is_none());
    partition.forget_lookup(1);
    partition.go_on(&mut env, &paused, None, effects);
    assert!(partition.searches.is_empty() && effects.is_empty(), "{effects:?}");
}
