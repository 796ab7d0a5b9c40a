//! Reading the metadata log as power cuts leave it.

use std::path::PathBuf;

use super::*;
use crate::base::DirectoryId;
use crate::base::prng::Prng;
use crate::io::OpenMode;
use crate::io::sim::{DiskConfig, SimDisk};
use crate::meta::record::{METADATA_VERSION_LATEST, MetadataRecord, TopicRecord, samples};
use crate::raft::data_batch;

const SECTOR: usize = crate::io::sim::SECTOR_BYTES;

fn dir() -> PathBuf {
    PathBuf::from("/data/__cluster_metadata-0")
}

fn load_once(disk: &SimDisk) -> Result<i64, MetadataError> {
    let identity = Identity { node_id: 1, directory_id: DirectoryId::from_u128(9), endpoints: Vec::new() };
    load(disk, &dir(), "cluster", identity, false, 0).map(|loaded| loaded.log.log_end_offset())
}

/// Records of one batch: topics with names of any length, and partitions whose directory is not assigned.
fn values(prng: &mut Prng, number: &mut u128) -> Vec<Vec<u8>> {
    let records = (0..=prng.below(3)).flat_map(|_| {
        *number += 1;
        let topic_id = Uuid::from_u128(*number);
        let name = format!("{number}-{}", "x".repeat(prng.below(200) as usize));
        let topic = MetadataRecord::Topic(TopicRecord { name: name.as_str().into(), topic_id });
        let partition = samples::partition(topic_id, 0, &[1], &[Uuid::ZERO]);
        [topic, partition]
    });
    records.map(|record| record.encode(METADATA_VERSION_LATEST).unwrap()).collect()
}

/// Batches from an offset on, one behind the other, and the offset behind them.
fn batches(prng: &mut Prng, count: u64, next: &mut i64, number: &mut u128) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let values = values(prng, number);
        bytes.extend(data_batch(*next, 1, 0, &values).unwrap());
        *next += values.len() as i64;
    }
    bytes
}

/// A power cut left a hole in the metadata log's last write before a batch that was whole: the judge took the hole for torn and
/// read on behind it, recovery cut at the hole, and the first start ended with exit code 3 after it had changed the log. Any
/// sectors of a last write of any number of batches may be missing: every start serves what was flushed before, and each the same.
#[test]
fn any_tear_of_the_last_write_is_judged_as_it_is_opened() {
    let mut prng = Prng::new(1);
    let mut torn_before_whole = 0;
    for case in 0..600 {
        let disk = SimDisk::new(case, DiskConfig::default());
        disk.create_dir_all(&dir()).unwrap();
        let (mut next, mut number) = (0, 0);
        let mut log = batches(&mut prng, 1 + case % 4, &mut next, &mut number);
        let (flushed, from) = (next, log.len());
        let count = 1 + prng.below(6);
        log.extend(batches(&mut prng, count, &mut next, &mut number));
        let written = log.len();
        log.resize(written.next_multiple_of(4096) + 8192, 0);
        let lost = 1 + prng.below(4);
        for sector in from / SECTOR..written.div_ceil(SECTOR) {
            if prng.below(4) < lost {
                log[(sector * SECTOR).max(from)..(sector + 1) * SECTOR].fill(0);
            }
        }
        let path = dir().join("00000000000000000000.log");
        disk.write_atomic(&path, &log).unwrap();
        let first = load_once(&disk).unwrap_or_else(|error| panic!("case {case}: {error}"));
        assert!((flushed..=next).contains(&first), "case {case}: {first} of {flushed} to {next}");
        assert_eq!(load_once(&disk).unwrap(), first, "case {case}: the second start");
        let file = disk.open(&path, OpenMode::Read).unwrap();
        let end = disk.len(&file).unwrap() as usize;
        torn_before_whole += i32::from(log[end.min(log.len())..].iter().any(|byte| *byte != 0));
    }
    assert!(torn_before_whole > 100, "{torn_before_whole} with something behind the end");
}
