//! Appending, rolling, restarting, retention.

use super::*;
use crate::io::sim::{DiskFault, DiskOp};

#[test]
fn an_append_becomes_durable_and_readable() {
    let mut m = Machine::new(1, LogConfig::default());
    let appended = m.append(&batch(3, b"hello")).unwrap();
    assert_eq!((appended.base_offset, appended.last_offset), (0, 2));
    assert_eq!(m.partition.durable_end_offset(), 0);
    assert!(m.read(0, 1000).unwrap().slices.is_empty(), "not durable, not readable");
    m.settle();
    assert_eq!((m.durable(), m.partition.durable_end_offset()), (3, 3));
    let data = m.read(0, 1000).unwrap();
    assert_eq!(data.next_offset, 3);
    assert_eq!(records(&data), (0..3).map(|i| (i, b"hello".to_vec())).collect::<Vec<_>>());
    assert!(matches!(m.read(4, 1000), Err(LogError::OffsetOutOfRange { offset: 4, start: 0, end: 3 })));
    assert!(m.read(3, 1000).unwrap().slices.is_empty());
}

#[test]
fn appends_in_a_burst_share_writes() {
    let mut m = Machine::new(2, LogConfig::default());
    for i in 0..1000 {
        let appended = m.append(&batch(1, &[7; 100])).unwrap();
        assert_eq!(appended.base_offset, i);
    }
    m.settle();
    let durable = m.effects.iter().filter(|e| matches!(e, LogEffect::Durable { .. })).count();
    assert!(durable < 20, "{durable} writes for a burst");
    assert_eq!(m.read_all(0, 1 << 20).len(), 1000);
    assert_eq!(m.partition.pending_bytes(), 0);
}

#[test]
fn segments_roll_and_everything_survives_a_restart() {
    let mut m = Machine::new(3, small());
    for i in 0..200u32 {
        m.append(&batch(2, &[i as u8; 300])).unwrap();
        if i % 7 == 0 {
            m.settle();
        }
    }
    m.settle();
    assert!(m.partition.segments_count() > 5);
    let before = m.read_all(0, 3000);
    assert_eq!(before.len(), 400);
    let report = m.restart();
    assert_eq!(report, RecoveryReport { scanned_bytes: report.scanned_bytes, ..RecoveryReport::default() });
    assert!(report.scanned_bytes <= 20_000, "only the last segment is read: {report:?}");
    assert_eq!((m.partition.log_start_offset(), m.partition.log_end_offset()), (0, 400));
    assert_eq!(m.read_all(0, 3000), before);
    m.append(&batch(1, b"more")).unwrap();
    m.settle();
    assert_eq!(m.read_all(0, 3000).len(), 401);
    // Sealed segments are exactly as long as what is in them, with their indexes beside.
    let sizes: u64 = m.partition.size_bytes();
    let names = m.files();
    let logs: Vec<&String> = names.iter().filter(|n| n.ends_with(".log")).collect();
    let on_disk: u64 = logs.iter().map(|n| m.file(n).len() as u64).sum();
    assert!(on_disk >= sizes && on_disk < sizes + 64 * 1024);
    for log in &logs[..logs.len() - 1] {
        assert!(names.contains(&log.replace(".log", ".index")), "{log}");
        assert!(names.contains(&log.replace(".log", ".timeindex")), "{log}");
    }
}

#[test]
fn a_new_partition_has_kafkas_files() {
    let mut m = Machine::new(4, LogConfig::default());
    m.append(&batch(1, b"x")).unwrap();
    m.restart();
    assert_eq!(
        m.files(),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "leader-epoch-checkpoint",
            "partition.metadata",
        ],
        "no snapshot: there are no producers"
    );
    assert_eq!(m.file("leader-epoch-checkpoint"), b"0\n1\n0 0\n");
    assert_eq!(m.file("00000000000000000000.log").len() as u64, m.partition.size_bytes());
    assert_eq!(m.partition.topic_id(), Uuid::from_u128(77));
}

/// At a stop with 10,000 partitions each of these files is an inode to be found and one to be freed.
#[test]
fn a_stop_writes_no_more_than_has_changed() {
    let mut m = Machine::new(4, LogConfig::default());
    m.append(&batch(1, b"x")).unwrap();
    m.save_epochs();
    let epochs = m.file("leader-epoch-checkpoint");
    m.settle();
    let disk = m.disk();
    assert!(m.partition.close_begin(&disk).unwrap());
    assert!(!m.files().iter().any(|name| name.ends_with(".tmp") || name.ends_with(".snapshot")));
    m.partition.close_end(&disk).unwrap();
    assert_eq!(m.file("leader-epoch-checkpoint"), epochs);
    m.sim.kill();
    assert_eq!(m.reopen(true, Some(1), Some(0)).warnings, Vec::<String>::new());
    m.append_as(&batch(1, b"y"), AppendInfo { leader_epoch: 3, ..info() }).unwrap();
    assert_eq!(m.restart().warnings, Vec::<String>::new());
    assert_eq!(m.file("leader-epoch-checkpoint"), b"0\n2\n0 0\n3 1\n");
    assert!(m.partition.describe_producers(0, usize::MAX).0.is_empty());
    let with_producer = {
        let mut builder = BatchBuilder::new(0).producer(7, 0, 0);
        builder.append(1000, None, Some(b"z"), &[]);
        builder.build()
    };
    m.append(&with_producer).unwrap();
    m.restart();
    assert!(m.files().contains(&"00000000000000000003.snapshot".to_owned()));
    assert_eq!(m.partition.describe_producers(0, usize::MAX).0.len(), 1);
}

#[test]
fn flush_messages_acknowledges_after_a_flush() {
    let mut m = Machine::new(5, LogConfig { flush_messages: 1, ..small() });
    for _ in 0..100 {
        m.append(&batch(1, &[1; 700])).unwrap();
        m.turn();
        assert!(m.partition.durable_end_offset() <= m.partition.flushed_end_offset());
    }
    m.settle();
    assert_eq!((m.durable(), m.partition.flushed_end_offset()), (100, 100));
    m.sim.power_cut();
    m.reopen(false, Some(0), None);
    assert_eq!(m.partition.log_end_offset(), 100, "a power cut loses nothing");
}

#[test]
fn sync_now_flushes_what_was_appended() {
    let mut m = Machine::new(6, small());
    for _ in 0..100 {
        m.append(&batch(1, &[1; 700])).unwrap();
    }
    let (partition, mut env, effects) = m.parts();
    partition.sync_now(&mut env, effects);
    m.settle();
    assert_eq!(m.partition.flushed_end_offset(), 100);
    assert_eq!(m.partition.recovery_point(), 0, "the epoch of these records is not written down");
    m.save_epochs();
    assert_eq!(m.partition.recovery_point(), 100);
    assert!(m.effects.iter().any(|e| matches!(e, LogEffect::Flushed { upto: 100 })));
    m.effects.clear();
    let (partition, mut env, effects) = m.parts();
    partition.sync_now(&mut env, effects);
    assert!(matches!(m.effects[..], [LogEffect::Flushed { upto: 100 }]));
}

#[test]
fn a_failed_write_fences_the_partition() {
    for op in [DiskOp::Write, DiskOp::Sync] {
        let mut m = Machine::new(7, LogConfig { flush_messages: 1, ..LogConfig::default() });
        m.append(&batch(1, b"kept")).unwrap();
        m.settle();
        m.disk().fail(DiskFault { path_contains: ".log".into(), op, errno: libc::EIO, skip: 0, times: 1 });
        m.append(&batch(1, &[1; 130_000])).unwrap();
        m.append(&batch(1, b"waiting")).unwrap();
        m.settle();
        let failed = m.effects.iter().filter(|e| matches!(e, LogEffect::Failed { .. })).count();
        assert_eq!((failed, m.durable()), (1, 1), "{op:?}");
        assert!(matches!(m.append(&batch(1, b"late")), Err(AppendError::Log(LogError::Fenced(_)))), "{op:?}");
        assert_eq!(records(&m.read(0, 1000).unwrap()), [(0, b"kept".to_vec())], "{op:?}");
        let disk = m.disk();
        assert!(m.partition.close_clean(&disk).is_err());
    }
}

#[test]
fn a_full_disk_refuses_and_a_restart_with_space_goes_on() {
    let mut m = Machine::new(8, LogConfig::default());
    m.disk().configure(|c| c.capacity_bytes = 200_000);
    let mut appended = 0;
    while m.append(&batch(1, &[1; 5000])).is_ok() {
        appended += 1;
        m.turn();
        assert!(appended < 1000, "the disk never fills up");
    }
    m.settle();
    let durable = m.partition.durable_end_offset();
    assert!(durable > 10);
    m.sim.kill();
    m.disk().configure(|c| c.capacity_bytes = u64::MAX);
    m.reopen(false, None, None);
    assert!(m.partition.log_end_offset() >= durable);
    m.append(&batch(1, b"on")).unwrap();
    m.settle();
    assert_eq!(m.partition.durable_end_offset(), m.partition.log_end_offset());
}

#[test]
fn retention_by_size_and_time() {
    let mut m = Machine::new(9, LogConfig { retention_bytes: 50_000, retention_ms: -1, ..small() });
    for i in 0..300 {
        m.append(&batch_at(i * 10, 1, &[1; 500])).unwrap();
    }
    m.settle();
    let (partition, mut env, effects) = m.parts();
    partition.retain(&mut env, 10_000, 300, effects);
    m.settle();
    let start = m.partition.log_start_offset();
    assert!(start > 0 && m.partition.size_bytes() >= 50_000 && m.partition.size_bytes() < 71_000);
    assert!(
        m.effects.iter().any(
            |e| matches!(e, LogEffect::LogStartMoved { log_start_offset } if *log_start_offset == start)
        )
    );
    assert!(matches!(m.read(start - 1, 100), Err(LogError::OffsetOutOfRange { .. })));
    assert_eq!(m.read_all(start, 9000).len() as i64, 300 - start);
    let first = m.files().into_iter().find(|n| n.ends_with(".log")).unwrap();
    assert_eq!(first, format!("{start:020}.log"));

    // Everything is old: the active segment is rolled and goes as well.
    let config = LogConfig { retention_ms: 1000, ..small() };
    m.partition.update_config(config.clone());
    m.config = config;
    let (partition, mut env, effects) = m.parts();
    partition.retain(&mut env, 1_000_000, 300, effects);
    m.settle();
    let (partition, mut env, effects) = m.parts();
    partition.retain(&mut env, 1_000_000, 300, effects);
    m.settle();
    assert_eq!((m.partition.log_start_offset(), m.partition.size_bytes()), (300, 0));
    m.restart();
    assert_eq!((m.partition.log_start_offset(), m.partition.log_end_offset()), (300, 300));
    assert_eq!(m.append(&batch(1, b"x")).unwrap().base_offset, 300);
}

#[test]
fn only_below_the_high_watermark_is_deleted() {
    let mut m = Machine::new(10, LogConfig { retention_bytes: 0, ..small() });
    for _ in 0..300 {
        m.append(&batch(1, &[1; 500])).unwrap();
    }
    m.settle();
    let (partition, mut env, effects) = m.parts();
    partition.retain(&mut env, 2000, 100, effects);
    m.settle();
    assert!(m.partition.log_start_offset() <= 100 && m.partition.log_start_offset() > 0);
}

#[test]
fn delete_records_moves_the_start_and_survives_by_checkpoint() {
    let mut m = Machine::new(11, small());
    for _ in 0..100 {
        m.append(&batch(1, &[1; 500])).unwrap();
    }
    m.settle();
    let (partition, mut env, effects) = m.parts();
    assert_eq!(partition.delete_records(&mut env, 77, 100, effects).unwrap(), 77);
    assert!(partition.delete_records(&mut env, 101, 100, effects).is_err());
    assert_eq!(partition.delete_records(&mut env, 5, 100, effects).unwrap(), 77);
    m.settle();
    assert_eq!(m.read_all(77, 1000).first().unwrap().0, 77);
    assert!(m.read(76, 100).is_err());
    m.restart();
    assert_eq!(m.partition.log_start_offset(), 77);
    assert_eq!(m.file("leader-epoch-checkpoint"), b"0\n1\n0 77\n");
}

#[test]
fn truncation_cuts_batches_producers_and_epochs() {
    let mut m = Machine::new(12, LogConfig { producer_id_expiration_ms: i64::MAX, ..small() });
    for i in 0..100 {
        let mut builder = BatchBuilder::new(0).producer(5, 0, i);
        builder.append(1000, None, Some(&[1; 500]), &[]);
        m.append_as(&builder.build(), AppendInfo { leader_epoch: i / 30, ..info() }).unwrap();
    }
    m.settle();
    let (partition, mut env, effects) = m.parts();
    partition.truncate_to(&mut env, 42, effects);
    assert!(m.append(&batch(1, b"no")).is_err());
    m.settle();
    assert!(m.effects.iter().any(|e| matches!(e, LogEffect::Truncated { result: Ok(42) })));
    assert_eq!(m.partition.log_end_offset(), 42);
    assert_eq!(m.partition.latest_epoch(), Some(1));
    assert_eq!(m.partition.describe_producers(0, usize::MAX).0[0].last_sequence, 41);
    assert_eq!(m.read_all(0, 5000).len(), 42);
    m.append(&batch(1, b"new")).unwrap();
    m.settle();
    assert_eq!(m.read_all(42, 5000), [(42, b"new".to_vec())]);
    m.restart();
    assert_eq!(m.partition.log_end_offset(), 43);
}

#[test]
fn duplicates_are_known_after_a_restart_and_after_a_kill() {
    for clean in [true, false] {
        let mut m = Machine::new(13, small());
        let sequenced = |i: i32| {
            let mut builder = BatchBuilder::new(0).producer(5, 2, i * 2);
            builder.append(1000, None, Some(&[1; 500]), &[]);
            builder.append(1000, None, Some(&[1; 500]), &[]);
            builder.build()
        };
        for i in 0..60 {
            m.append(&sequenced(i)).unwrap();
        }
        m.settle();
        if clean {
            m.restart();
        } else {
            let point = m.partition.recovery_point();
            m.sim.kill();
            m.reopen(false, Some(point), None);
        }
        let again = m.append(&sequenced(59)).unwrap();
        assert!(again.duplicate && again.base_offset == 118 && again.last_offset == 119, "{again:?}");
        assert!(matches!(m.append(&sequenced(61)), Err(AppendError::OutOfOrderSequence { .. })));
        assert_eq!(m.append(&sequenced(60)).unwrap().base_offset, 120);
    }
}

#[test]
fn transactions_bound_the_stable_offset_and_are_indexed_when_aborted() {
    for clean in [true, false] {
        let mut m = Machine::new(14, small());
        let txn = |sequence| {
            let mut builder = BatchBuilder::new(0).producer(9, 0, sequence).transactional();
            builder.append(1000, None, Some(&[1; 500]), &[]);
            builder.build()
        };
        for i in 0..50 {
            m.append(&batch(1, &[1; 500])).unwrap();
            m.append(&txn(i)).unwrap();
        }
        m.settle();
        assert_eq!(m.partition.last_stable_offset(100), 1);
        assert!(m.partition.has_ongoing_transaction(9, 0));
        let marker = BatchBuilder::end_transaction(0, 9, 1, false, 3, 2000).build();
        m.append_as(&marker, AppendInfo { origin: AppendOrigin::Coordinator, ..info() }).unwrap();
        m.settle();
        assert_eq!(m.partition.last_stable_offset(101), 101);
        let expected =
            AbortedTransaction { producer_id: 9, first_offset: 1, last_offset: 100, last_stable_offset: 101 };
        assert_eq!(m.partition.aborted_transactions(0, 101), [expected]);
        assert_eq!(m.partition.aborted_transactions(50, 60), [expected]);
        if clean {
            m.restart();
        } else {
            let point = m.partition.recovery_point();
            m.sim.kill();
            m.reopen(false, Some(point), None);
        }
        assert_eq!(m.partition.aborted_transactions(0, 101), [expected]);
        assert_eq!(m.partition.last_stable_offset(101), 101);
        assert_eq!(m.partition.describe_producers(0, usize::MAX).0[0].producer_epoch, 1);
    }
}

#[test]
fn a_deleted_partition_leaves_a_directory_to_remove() {
    let mut m = Machine::new(15, small());
    m.append(&batch(1, b"x")).unwrap();
    let (partition, mut env, _) = m.parts();
    partition.delete(&mut env, "0123456789abcdef0123456789abcdef");
    m.settle();
    let renamed = m.effects.iter().find_map(|e| match e {
        LogEffect::Deleted { result: Ok(renamed) } => renamed.clone(),
        _ => None,
    });
    m.disk().remove_dir_all(&renamed.unwrap()).unwrap();
    assert_eq!(m.disk().list(Path::new("/data")).unwrap(), []);
    assert!(m.append(&batch(1, b"x")).is_err());
}

#[test]
fn a_raft_leader_gives_its_own_offsets() {
    let mut m = Machine::new(16, small());
    let raft = AppendInfo { origin: AppendOrigin::RaftLeader, ..info() };
    let record = |base| BatchBuilder::new(base).leader_epoch(4).record(1, None, Some(b"r")).build();
    m.append_as(&record(0), raft).unwrap();
    assert!(matches!(m.append_as(&record(5), raft), Err(AppendError::Malformed(_))));
    m.append_as(&record(1), raft).unwrap();
    m.settle();
    assert_eq!(m.partition.latest_epoch(), Some(4));
    assert_eq!(m.partition.epoch_end(4).end_offset, 2);
}

#[test]
fn malformed_appends_change_nothing() {
    let mut m = Machine::new(17, small());
    let good = batch(1, b"x");
    for bad in [&good[..good.len() - 1], &[], &[0; 100]] {
        assert!(matches!(m.append(bad), Err(AppendError::Malformed(_))));
    }
    assert!(matches!(m.append(&batch(1, &[1; 20_000])), Err(AppendError::TooLarge { .. })));
    assert_eq!(m.partition.log_end_offset(), 0);
    assert!(m.partition.is_idle());
}

#[test]
fn a_damaged_transaction_index_is_built_anew() {
    let mut m = Machine::new(18, small());
    for i in 0..60 {
        let mut builder = BatchBuilder::new(0).producer(9, i, 0).transactional();
        builder.append(1000, None, Some(&[1; 500]), &[]);
        m.append(&builder.build()).unwrap();
        let marker = BatchBuilder::end_transaction(0, 9, i + 1, i % 2 == 0, 3, 2000).build();
        m.append_as(&marker, AppendInfo { origin: AppendOrigin::Coordinator, ..info() }).unwrap();
    }
    m.settle();
    let aborted = m.partition.aborted_transactions(0, 120);
    assert_eq!(aborted.len(), 30);
    m.restart();
    assert_eq!(m.partition.aborted_transactions(0, 120), aborted);
    let disk = m.disk();
    for name in m.files().iter().filter(|n| n.ends_with(".txnindex")) {
        disk.flip(&dir().join(name), 1, 1).unwrap();
    }
    let report = m.restart();
    assert!(report.rebuilt_indexes > 0 && !report.warnings.is_empty(), "{report:?}");
    assert_eq!(m.partition.aborted_transactions(0, 120), aborted);
}
