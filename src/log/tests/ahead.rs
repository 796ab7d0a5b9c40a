//! Reading ahead.

use super::super::flow::Op;
use super::super::reader::Read;
use super::*;
use crate::base::limits::{LOG_READ_AHEAD_BYTES_MAX, LOG_READ_BYTES_MIN};
use crate::io::sim::{DiskFault, DiskOp};

const VALUE_BYTES: usize = 60_000;
const CACHE_BYTES: usize = 32 << 20;

/// So many batches of one record, in segments of `segment_bytes`, and nothing of them in memory.
fn cold(seed: u64, batches: i64, segment_bytes: u32, cache_bytes: usize) -> Machine {
    let config = LogConfig { segment_bytes, ..LogConfig::default() };
    let mut m = Machine::with_cache(seed, config, cache_bytes);
    for i in 0..batches {
        m.append(&batch(1, &vec![i as u8; VALUE_BYTES])).unwrap();
    }
    m.restart();
    m
}

fn reads(m: &Machine) -> impl Iterator<Item = &Read> {
    m.partition.ops.iter().filter_map(|(_, op)| if let Op::Read(read) = op { Some(read) } else { None })
}

fn in_flight(m: &Machine) -> usize {
    reads(m).count()
}

/// What is read ahead, or is being read.
fn reserved(m: &Machine) -> usize {
    Cache::new(m.cache.bytes_max()).ahead_room() - m.cache.ahead_room()
}

fn answer_at_once(m: &mut Machine, offset: Offset, max_bytes: usize) -> Option<ReadData> {
    let request = ReadRequest { offset, max_bytes, min_one_message: true, upper: Offset::MAX };
    let ticket = m.next_ticket;
    m.next_ticket += 1;
    let (partition, mut env, _) = m.parts();
    partition.read(&mut env, request, ticket).map(Result::unwrap)
}

fn check(data: &ReadData, from: Offset) {
    let found = records(data);
    assert_eq!(found.first().map(|(offset, _)| *offset), Some(from));
    for ((offset, value), expected) in found.iter().zip(from..) {
        assert!(*offset == expected && value.len() == VALUE_BYTES && value[7] == *offset as u8);
    }
}

#[test]
fn one_who_reads_on_finds_it_in_memory() {
    let mut m = cold(1, 200, 1 << 30, CACHE_BYTES);
    let size = m.partition.size_bytes();
    let before = m.disk().bytes_read();
    let first = m.read(0, 1 << 20).unwrap();
    assert_eq!(in_flight(&m), 0, "nobody knows yet that it will read on");
    let mut offset = first.next_offset;
    let (mut waited, mut asked) = (0, 0);
    while offset < 200 {
        let data = answer_at_once(&mut m, offset, 1 << 20).unwrap_or_else(|| {
            waited += 1;
            m.read(offset, 1 << 20).unwrap()
        });
        check(&data, offset);
        (offset, asked) = (data.next_offset, asked + 1);
        assert!(reserved(&m) <= LOG_READ_AHEAD_BYTES_MAX);
        m.settle();
    }
    assert_eq!((waited, asked), (1, 11), "all but the first who reads on are answered from memory");
    let read = m.disk().bytes_read() - before;
    assert!(read < size + 30 * 4096, "{read} bytes of {size} were read: nothing is read twice");
    assert_eq!(reserved(&m), 0, "everything was asked for");
}

#[test]
fn who_needs_what_is_being_read_waits_for_it() {
    for seed in 0..20 {
        let mut m = cold(seed, 100, 3 << 20, CACHE_BYTES);
        let (size, before) = (m.partition.size_bytes(), m.disk().bytes_read());
        let mut offset = 0;
        while offset < 100 {
            // Two ask for the same.
            assert!(answer_at_once(&mut m, offset, 300_000).is_none_or(|data| data.next_offset > offset));
            let data = m.read(offset, 300_000).unwrap();
            check(&data, offset);
            offset = data.next_offset;
            let ranges: Vec<_> = reads(&m).map(Read::range).collect();
            for (i, a) in ranges.iter().enumerate() {
                assert!(ranges[..i].iter().all(|b| a.0 != b.0 || a.2 <= b.1 || b.2 <= a.1), "{ranges:?}");
            }
        }
        m.settle();
        let read = m.disk().bytes_read() - before;
        assert!(read < size + 100 * 4096, "seed {seed}: {read} bytes of {size} were read");
    }
}

#[test]
fn who_jumps_about_causes_no_more_than_it_asks_for() {
    let mut m = cold(2, 200, 1 << 30, CACHE_BYTES);
    for offset in [0, 90, 40, 150, 20, 120] {
        check(&m.read(offset, 1).unwrap(), offset);
        assert_eq!((in_flight(&m), reserved(&m)), (0, 0));
    }
}

#[test]
fn several_readers_are_told_apart() {
    let mut m = cold(3, 200, 4 << 20, CACHE_BYTES);
    let mut at = [0, 60, 120];
    for offset in &mut at {
        *offset = m.read(*offset, 1 << 20).unwrap().next_offset;
    }
    for round in 0..4 {
        for offset in &mut at {
            let at_once = answer_at_once(&mut m, *offset, 500_000);
            assert!(round == 0 || at_once.is_some(), "only the first who reads on wait");
            let data = at_once.unwrap_or_else(|| m.read(*offset, 500_000).unwrap());
            check(&data, *offset);
            *offset = data.next_offset;
            m.settle();
        }
    }
}

#[test]
fn it_stays_within_its_part_of_the_cache() {
    for cache_bytes in [1, 300_000, 1 << 20, 3 << 20] {
        let mut m = cold(4, 200, 2 << 20, cache_bytes);
        let room = m.cache.ahead_room();
        assert!(room <= cache_bytes / 4);
        let mut most = 0;
        let mut at = [0, 50, 100, 150];
        while at[0] < 40 {
            for offset in &mut at {
                let data = m.read(*offset, 200_000).unwrap();
                check(&data, *offset);
                *offset = data.next_offset;
                most = most.max(reserved(&m));
            }
        }
        assert!(most <= room, "{most} of {room} bytes");
        assert_eq!(most > 0, room >= LOG_READ_BYTES_MIN, "{cache_bytes}");
    }
}

#[test]
fn a_failure_is_told_only_to_those_who_ask() {
    let mut told = 0;
    for skip in 1..7 {
        let mut m = cold(5, 100, 1 << 30, CACHE_BYTES);
        let op = DiskOp::Read;
        m.disk().fail(DiskFault { path_contains: ".log".into(), op, errno: libc::EIO, skip, times: 1 });
        let (mut offset, mut failed) = (0, 0);
        while offset < 100 {
            match m.read(offset, 1 << 20) {
                Ok(data) => {
                    check(&data, offset);
                    offset = data.next_offset;
                }
                Err(_) => failed += 1,
            }
            m.settle();
        }
        assert!(failed <= 1 && m.partition.fenced().is_none(), "{failed}");
        assert_eq!(reserved(&m), 0);
        told += failed;
    }
    assert!(told < 3, "{told} of six: most are met by what nobody waits for");
}

#[test]
fn a_log_that_ends_while_reads_are_in_flight_leaves_nothing() {
    for (seed, delete) in [(6, true), (7, false), (8, true), (9, false)] {
        let mut m = cold(seed, 100, 1 << 30, CACHE_BYTES);
        let mut offset = 0;
        while in_flight(&m) == 0 {
            offset = m.read(offset, 1 << 20).unwrap().next_offset;
        }
        assert!(reserved(&m) > 0);
        let (partition, mut env, effects) = m.parts();
        if delete {
            partition.delete(&mut env, "x");
        } else {
            partition.truncate_to(&mut env, offset + 3, effects);
        }
        m.settle();
        assert_eq!((reserved(&m), m.cache.bytes()), (0, 0));
        if !delete {
            m.append(&batch(1, &vec![77; VALUE_BYTES])).unwrap();
            m.settle();
            let all = m.read_all(0, 1 << 20);
            assert_eq!(all.len() as i64, offset + 4);
            assert_eq!(all.last().unwrap().1[7], 77, "and not what was cut off");
        }
    }
}

#[test]
fn a_partition_that_is_dropped_gives_back_what_it_reserved() {
    let mut m = cold(10, 100, 1 << 30, CACHE_BYTES);
    let mut offset = 0;
    while in_flight(&m) == 0 {
        offset = m.read(offset, 1 << 20).unwrap().next_offset;
    }
    m.restart();
    m.cache = Cache::new(CACHE_BYTES);
    while in_flight(&m) == 0 {
        offset = m.read(offset % 90, 1 << 20).unwrap().next_offset;
    }
    let room = m.cache.ahead_room();
    m.partition.ops.clear();
    assert!(m.cache.ahead_room() > room);
}

#[test]
fn what_cannot_be_read_as_batches_is_told_to_those_who_ask() {
    let mut m = cold(11, 100, 1 << 30, CACHE_BYTES);
    let (log, each) = (dir().join("00000000000000000000.log"), m.partition.size_bytes() / 100);
    let magic = 40 * each + 16;
    m.disk().flip(&log, magic, 0xFF).unwrap();
    let mut offset = 0;
    while offset < 34 {
        let data = m.read(offset, 500_000).unwrap();
        check(&data, offset);
        offset = data.next_offset;
        m.settle();
    }
    m.disk().flip(&log, magic, 0xFF).unwrap();
    while offset < 100 {
        let data = m.read(offset, 500_000).unwrap();
        check(&data, offset);
        offset = data.next_offset;
    }
}
