//! Writes and flushes that fail for good: what was acknowledged is given, or an error is, and never nothing.

use std::collections::BTreeMap;

use super::*;
use crate::base::prng::Prng;
use crate::io::sim::{DiskFault, DiskOp};

/// What is read at every offset below the high watermark.
fn check_reads(m: &mut Machine, values: &BTreeMap<Offset, Vec<u8>>, what: &str) -> (usize, usize) {
    let (mut given, mut refused) = (0, 0);
    for offset in m.partition.log_start_offset()..m.partition.durable_end_offset() {
        match m.read(offset, 1 << 20) {
            Ok(data) => {
                let found = records(&data);
                let record = found.iter().find(|(at, _)| *at == offset);
                assert!(
                    record.is_some_and(|(_, value)| *value == values[&offset]),
                    "{what}: offset {offset}, {found:?}"
                );
                given += 1;
            }
            Err(_) => refused += 1,
        }
    }
    (given, refused)
}

/// The write of what the journal had was failed by a disk that had become read-only: the unit was dropped from memory before
/// the partition was fenced, and fetches were answered with no error and no bytes below the high watermark, so that consumers
/// waited for ever. Any write or flush of a segment may fail, at any step.
#[test]
fn below_the_high_watermark_there_are_records_or_an_error() {
    let (mut fenced, mut given_then) = (0, 0);
    for seed in 0..400 {
        let mut prng = Prng::new(seed);
        let flush_messages = if prng.one_in(2) { 1 } else { i64::MAX };
        let config = LogConfig { flush_messages, retention_ms: -1, ..small() };
        let mut m = Machine::with_journal(seed, config, 400 << 10);
        let op = if prng.one_in(3) { DiskOp::Sync } else { DiskOp::Write };
        let errno = if prng.one_in(2) { libc::EIO } else { libc::EROFS };
        let skip = prng.below(6) as u32;
        m.disk().fail(DiskFault { path_contains: ".log".into(), op, errno, skip, times: u32::MAX });
        let mut values = BTreeMap::new();
        for _ in 0..80 {
            match prng.below(10) {
                0..5 => {
                    let bytes = if prng.one_in(8) { 40_000 } else { prng.below(3000) };
                    let value: Vec<u8> = (0..=bytes).map(|_| prng.below(256) as u8).collect();
                    if let Ok(appended) = m.append(&batch(1, &value)) {
                        values.insert(appended.base_offset, value);
                    }
                }
                5..7 => drop(m.commit()),
                7..9 => {
                    let journals = m.journal.as_ref().is_none_or(crate::log::journal::Journal::is_idle);
                    let _ = (m.partition.is_idle() && journals) || m.turn();
                }
                _ => m.write_out(),
            }
            if prng.one_in(6) {
                check_reads(&mut m, &values, &format!("seed {seed}"));
            }
        }
        m.commit();
        m.write_out();
        m.settle();
        let (given, _) = check_reads(&mut m, &values, &format!("seed {seed}, at the end"));
        if m.partition.fenced().is_some() {
            fenced += 1;
            given_then += given;
        }
    }
    assert!(fenced > 100 && given_then > 1000, "{fenced} were fenced, {given_then} records were given then");
}
