//! Reading and looking up.

use super::*;

fn filled(cache_bytes: usize) -> Machine {
    let mut m = Machine::with_cache(20, small(), cache_bytes);
    for i in 0..300i64 {
        m.append(&batch_at(10_000 + i * 10, 2, &[i as u8; 200])).unwrap();
        if i % 11 == 0 {
            m.settle();
        }
    }
    m.settle();
    m
}

#[test]
fn every_offset_is_found_from_cache_and_from_disk() {
    for cache_bytes in [1 << 20, 40_000, 1] {
        let mut m = filled(cache_bytes);
        for offset in (0..600).rev().chain(0..600) {
            let data = m.read(offset, 1).unwrap();
            let found = records(&data);
            let first = offset / 2 * 2;
            assert_eq!(
                found.iter().map(|(o, _)| *o).collect::<Vec<_>>(),
                [first, first + 1],
                "{cache_bytes}"
            );
            assert_eq!(found[0].1, [(offset / 2) as u8; 200]);
        }
        assert!(m.cache.bytes() <= cache_bytes.max(200_000));
    }
}

#[test]
fn bounds_of_a_read() {
    let mut m = filled(1 << 20);
    let one = batch(2, &[0; 200]).len();
    let request = ReadRequest { offset: 100, max_bytes: one * 3 + 5, min_one_message: true, upper: 600 };
    assert_eq!(records(&m.read_with(request).unwrap()).len(), 6, "whole batches that fit");
    let tight = ReadRequest { max_bytes: one - 1, ..request };
    assert_eq!(records(&m.read_with(tight).unwrap()).len(), 2);
    let none = m.read_with(ReadRequest { min_one_message: false, ..tight }).unwrap();
    assert!(none.slices.is_empty() && none.next_offset == 100);
    let bounded = m.read_with(ReadRequest { upper: 104, max_bytes: 1 << 20, ..request }).unwrap();
    assert_eq!(bounded.next_offset, 104);
    let within = m.read_with(ReadRequest { upper: 103, max_bytes: 1 << 20, ..request }).unwrap();
    assert_eq!(within.next_offset, 102, "a batch that reaches the bound is left out");
}

#[test]
fn concurrent_reads_of_the_same_place_share_one_operation() {
    let mut m = filled(1 << 20);
    m.restart();
    let request = ReadRequest { offset: 10, max_bytes: 100, min_one_message: true, upper: 600 };
    for ticket in 1000..1010 {
        let (partition, mut env, _) = m.parts();
        assert!(partition.read(&mut env, request, ticket).is_none());
    }
    m.settle();
    let done = m
        .effects
        .iter()
        .filter(|e| matches!(e, LogEffect::ReadDone { result: Ok(d), .. } if d.bytes > 0))
        .count();
    assert_eq!(done, 10);
}

#[test]
fn timestamps_are_found() {
    for restart in [false, true] {
        let mut m = filled(1 << 20);
        if restart {
            m.restart();
        }
        for i in [0i64, 1, 7, 150, 299] {
            let found = m.lookup(Lookup::Timestamp(10_000 + i * 10)).unwrap();
            assert_eq!((found.offset, found.timestamp, found.leader_epoch), (i * 2, 10_000 + i * 10, 0));
            let found = m.lookup(Lookup::Timestamp(10_000 + i * 10 - 3)).unwrap();
            assert_eq!(found.offset, i * 2);
        }
        assert_eq!(m.lookup(Lookup::Timestamp(10_000 + 299 * 10 + 1)).unwrap().offset, 599);
        assert_eq!(m.lookup(Lookup::Timestamp(20_000)), None);
        assert_eq!(m.lookup(Lookup::MaxTimestamp).unwrap().offset, 599);
    }
}

#[test]
fn timestamps_out_of_order_are_found_too() {
    let mut m = Machine::new(21, small());
    let times = [50, 900, 20, 20, 900, 30, 1000, 10, 1000];
    for round in 0..40i64 {
        for t in times {
            m.append(&batch_at(round * 1000 + t, 1, &[1; 100])).unwrap();
        }
    }
    m.settle();
    let all: Vec<i64> = (0..40).flat_map(|r| times.map(|t| r * 1000 + t)).collect();
    for t in (0..41_000).step_by(487) {
        let expected = all.iter().position(|have| *have >= t).map(|i| i as i64);
        assert_eq!(m.lookup(Lookup::Timestamp(t)).map(|f| f.offset), expected, "{t}");
    }
    let max = all.iter().max().unwrap();
    assert_eq!(
        m.lookup(Lookup::MaxTimestamp).map(|f| f.offset),
        all.iter().position(|t| t == max).map(|i| i as i64)
    );
}

#[test]
fn a_batch_larger_than_a_read_is_read_whole() {
    let mut m = Machine::new(22, LogConfig { segment_bytes: 8 << 20, ..LogConfig::default() });
    m.append(&batch(1, b"small")).unwrap();
    m.append(&batch(1, &vec![9; 3 << 20])).unwrap();
    m.append(&batch(1, b"last")).unwrap();
    m.restart();
    assert_eq!(m.read_all(0, 10).iter().map(|(_, v)| v.len()).collect::<Vec<_>>(), [5, 3 << 20, 4]);
}

#[test]
fn lost_indexes_of_a_sealed_segment_are_built_anew() {
    let mut m = filled(1 << 20);
    m.settle();
    m.restart();
    let disk = m.disk();
    for (i, name) in m.files().iter().enumerate().filter(|(_, n)| n.ends_with(".index")) {
        match i % 2 {
            0 => disk.remove_file(&dir().join(name)).unwrap(),
            _ => disk.write_atomic(&dir().join(name), b"nonsense").unwrap(),
        }
    }
    assert_eq!(m.read_all(0, 1000).len(), 600);
    let report = m.restart();
    assert!(report.rebuilt_indexes > 3, "{report:?}");
    assert_eq!(m.read_all(0, 1000).len(), 600);
}
