//! Real files, and Apache Kafka's own reader of them.

use std::collections::VecDeque;
use std::process::Command;

use bytes::Bytes;

use super::*;
use crate::base::Ticks;
use crate::io::{Clock, Disk, DiskOutcome, File, FileJob, FileJobOutcome, OpenMode, OsFiles, Token};
use crate::wire::record::Codec;

/// A disk that does everything at once, on the operating system's files.
#[derive(Default)]
struct AtOnce {
    done: VecDeque<(Token, DiskOutcome)>,
}

impl Clock for AtOnce {
    fn now(&self) -> Ticks {
        Ticks(0)
    }

    fn wall_ms(&self) -> WallMs {
        2000
    }
}

impl Disk for AtOnce {
    fn read(&mut self, file: &File, offset: u64, len: usize, token: Token) {
        let bytes = OsFiles.read_at(file, offset, len).map(Bytes::from);
        self.done.push_back((token, DiskOutcome::Read(bytes)));
    }

    fn write(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        assert!(offset.is_multiple_of(4096) && bytes.len().is_multiple_of(4096));
        assert!(bytes.as_ptr().addr().is_multiple_of(4096), "direct I/O wants aligned memory");
        self.done.push_back((token, DiskOutcome::Written(OsFiles.write_at(file, offset, &bytes))));
    }

    fn write_durable(&mut self, _: &File, _: u64, _: Bytes, _: Token) {
        unreachable!("no journal here");
    }
    fn stage(&mut self, _: &File, _: u64, _: &[u8]) -> std::io::Result<()> {
        unreachable!("no journal here");
    }
    fn sync(&mut self, file: &File, token: Token) {
        self.done.push_back((token, DiskOutcome::Synced(OsFiles.sync(file))));
    }

    fn background(&mut self, job: FileJob, token: Token) {
        let done = match job {
            FileJob::Open { path, mode, allocate } => OsFiles.open(&path, mode).map(|file| {
                OsFiles.allocate(&file, allocate).expect("space");
                FileJobOutcome::Opened(file)
            }),
            FileJob::Allocate(file, len) => OsFiles.allocate(&file, len).map(|()| FileJobOutcome::Done),
            FileJob::WriteAtomic(path, bytes) => {
                OsFiles.write_atomic(&path, &bytes).map(|()| FileJobOutcome::Done)
            }
            FileJob::Run(work) => work(&OsFiles).map(FileJobOutcome::Ran),
            _ => panic!("not used by a partition"),
        };
        self.done.push_back((token, DiskOutcome::Job(done)));
    }
}

fn drain(partition: &mut Partition, disk: &mut AtOnce, cache: &mut Cache) {
    while let Some((token, outcome)) = disk.done.pop_front() {
        partition.on_disk(&mut Env { disk, cache, journal: None }, token.0 as u32, outcome, &mut Vec::new());
    }
    assert!(partition.is_idle());
}

/// A partition with all kinds of batches in several segments, stopped cleanly.
fn written(dir: &Path) -> Partition {
    let config = LogConfig { segment_bytes: 60_000, index_interval_bytes: 4096, ..LogConfig::default() };
    let options =
        CreateOptions { slot: 0, topic_id: Uuid::from_u128(77), start_offset: 0, now_ms: 1000, seed: 1 };
    let mut partition = Partition::create(&OsFiles, dir, config, &options).unwrap();
    let (mut disk, mut cache) = (AtOnce::default(), Cache::new(1 << 20));
    for i in 0..400i32 {
        let codec = Codec::ALL[i as usize % Codec::ALL.len()];
        let mut builder = BatchBuilder::new(0).compression(codec).producer(7, 0, i * 3);
        if i % 100 >= 50 {
            builder = builder.producer(8, 0, (i / 100 * 50 + i % 100 - 50) * 3).transactional();
        } else {
            builder = builder.producer(7, 0, (i / 100 * 50 + i % 100) * 3);
        }
        for r in 0..3 {
            let value: Vec<u8> = (0..300).map(|n| ((n * 31 + i * 7 + r) % 251) as u8).collect();
            builder.append(
                1_700_000_000_000 + i64::from(i),
                Some(b"key"),
                Some(&value),
                &[(b"h", Some(b"v"))],
            );
        }
        let mut env = Env { disk: &mut disk, cache: &mut cache, journal: None };
        let info = AppendInfo { leader_epoch: i / 150, ..info() };
        partition.append(&mut env, &builder.build(), info).unwrap();
        if i % 100 == 99 {
            let marker = BatchBuilder::end_transaction(0, 8, 0, i % 200 == 99, 3, 1_700_000_000_000).build();
            let mut env = Env { disk: &mut disk, cache: &mut cache, journal: None };
            let origin = AppendOrigin::Coordinator;
            let version = AppendInfo { origin, transaction_version: 0, ..info };
            partition.append(&mut env, &marker, version).unwrap();
        }
        drain(&mut partition, &mut disk, &mut cache);
    }
    partition.close_clean(&OsFiles).unwrap();
    partition
}

#[test]
fn real_files_are_written_and_opened_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("topic-0");
    let partition = written(&dir);
    let segments = partition.segments_count();
    assert!(segments > 3);
    drop(partition);
    for clean_shutdown in [true, false] {
        let options = OpenOptions {
            slot: 0,
            clean_shutdown,
            acknowledged: 0,
            recovery_point: Some(0),
            log_start_offset: None,
            log_start_is_certain: false,
            now_ms: 2000,
            seed: 0,
        };
        let config = LogConfig { segment_bytes: 60_000, ..LogConfig::default() };
        let (mut partition, report) = Partition::open(&OsFiles, &dir, config, &options).unwrap();
        assert_eq!((partition.log_end_offset(), report.warnings), (1204, Vec::new()));
        assert_eq!(partition.segments_count(), segments);
        assert_eq!(partition.aborted_transactions(0, 1204).len(), 2);
        partition.close_clean(&OsFiles).unwrap();
    }
    let log = OsFiles.open(&dir.join("00000000000000000000.log"), OpenMode::Read).unwrap();
    assert!(OsFiles.len(&log).unwrap() <= 60_000);
}

/// Runs Apache Kafka's dump-log over everything; wants its jars (a directory) in `OTTLA_KAFKA_LIBS`, and `java`.
#[test]
#[ignore = "needs Apache Kafka's jars"]
fn apache_kafkas_dump_log_reads_our_files() {
    let libs = std::env::var("OTTLA_KAFKA_LIBS").expect("OTTLA_KAFKA_LIBS names the directory of the jars");
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("topic-0");
    drop(written(&dir));
    let mut count = 0;
    for entry in OsFiles.list(&dir).unwrap() {
        let kinds = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];
        if !kinds.iter().any(|kind| entry.name.ends_with(kind)) {
            continue;
        }
        let output = Command::new("java")
            .args(["-cp", &format!("{libs}/*"), "org.apache.kafka.tools.DumpLogSegments", "--deep-iteration"])
            .args(["--files", &dir.join(&entry.name).display().to_string()])
            .output()
            .expect("java");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", entry.name);
        for bad in [
            "Exception",
            "orrupt",
            "Mismatches",
            "isvalid: false",
            "not found",
            "Found timestamp mismatch",
            "out of order",
        ] {
            assert!(!text.contains(bad), "{}: {text}", entry.name);
        }
        println!("{}: {} lines", entry.name, text.lines().count());
        count += text.matches("isvalid: true").count();
    }
    assert_eq!(count, 404, "all batches");
}
