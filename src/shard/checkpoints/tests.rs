use super::*;
use crate::io::sim::{DiskConfig, DiskFault, DiskOp, SimDisk};
use crate::meta::image::Delta;
use crate::meta::record::{MetadataRecord, RegisterBrokerRecord, TopicRecord, samples};

const TOPIC: u128 = 77;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn key(topic: u128) -> PartitionKey {
    PartitionKey { topic_id: id(topic), partition: 0 }
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A cluster whose broker 1 was registered last by this incarnation, and that has a topic `t` of this id.
fn image(registered: u128, topic: u128) -> Image {
    let records = [
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: 1,
            is_migrating_zk_broker: false,
            incarnation_id: id(registered),
            broker_epoch: 1,
            end_points: vec![],
            features: vec![],
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![],
            cordoned_log_dirs: None,
        }),
        MetadataRecord::Topic(TopicRecord { name: "t".into(), topic_id: id(topic) }),
        samples::partition(id(topic), 0, &[1], &[]),
    ];
    let mut image = Image::empty("c");
    for record in &records {
        image.apply(record, &mut Delta::default()).unwrap();
    }
    image
}

fn dirs() -> [PathBuf; 1] {
    [PathBuf::from("/data")]
}

fn disk() -> SimDisk {
    let disk = SimDisk::new(1, DiskConfig::default());
    disk.create_dir_all(&dirs()[0]).unwrap();
    disk
}

/// A start as incarnation `now`, with metadata that name another one and a topic.
fn start(disk: &SimDisk, now: u128, registered: u128, topic: u128) -> CheckpointBook {
    let read = Checkpoints::read(disk, &dirs()).unwrap();
    CheckpointBook::new(disk, &dirs(), &read, &image(registered, topic), (1, id(now)))
}

fn noted(recovery_point: Offset, log_start: Offset) -> Noted {
    Noted {
        recovery_point: Some(recovery_point),
        log_start_offset: Some(log_start),
        high_watermark: None,
        certain: true,
    }
}

fn kafkas(disk: &SimDisk, name: &str) -> String {
    String::from_utf8(disk.read(&dirs()[0].join(name)).unwrap()).unwrap()
}

/// DeleteRecords was answered, the process was killed before the next checkpoint, and the records were back: now
/// the log start to be is written before the answer, whatever a core still notes meanwhile.
#[test]
fn a_planned_log_start_is_written_over_an_older_note() {
    let disk = disk();
    let book = start(&disk, 2, 1, TOPIC);
    book.note(0, key(TOPIC), &name(), noted(0, 3));
    book.plan_log_start(key(TOPIC), 10);
    book.plan_log_start(key(TOPIC), 7);
    book.note(0, key(TOPIC), &name(), noted(0, 3));
    book.write(&disk, &dirs()).unwrap();
    assert_eq!(start(&disk, 3, 2, TOPIC).initial(key(TOPIC)), noted(0, 10));
    // One of them fails: the other one holds, and none when both are over.
    book.drop_plan(key(TOPIC), 10);
    book.write(&disk, &dirs()).unwrap();
    assert_eq!(start(&disk, 3, 2, TOPIC).initial(key(TOPIC)), noted(0, 7));
    book.drop_plan(key(TOPIC), 7);
    book.write(&disk, &dirs()).unwrap();
    assert_eq!(start(&disk, 3, 2, TOPIC).initial(key(TOPIC)), noted(0, 3));
    assert!(book.lines().planned.is_empty());
}

/// Whoever came to make partitions while another was still writing the files that were out of date did not wait for that: the
/// files still named an earlier partition of the name.
#[test]
fn no_file_names_an_earlier_partition_once_its_name_is_free() {
    let (old, new) = (TOPIC, TOPIC + 1);
    let disk = disk();
    let book = start(&disk, 2, 1, old);
    book.note(0, key(old), &name(), noted(1000, 900));
    book.write(&disk, &dirs()).unwrap();
    book.forget(key(old));
    // As a write begins: it will not write what was forgotten, and has not written yet.
    let mut copies = book.writing.lock().unwrap();
    book.stale.store(false, Ordering::Relaxed);
    let begun = AtomicBool::new(false);
    let is_named = std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            begun.store(true, Ordering::Relaxed);
            book.free_names(&disk, &dirs(), [(key(new), &name())].into_iter()).unwrap();
            kafkas(&disk, names::RECOVERY_POINT_CHECKPOINT).contains("t 0")
        });
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        // Time for it to be wrong: what it gives does not depend on how much it gets.
        (0..10_000).for_each(|_| std::thread::yield_now());
        book.write_all(&disk, &dirs(), &mut copies, |kafkas| kafkas).unwrap();
        drop(copies);
        maker.join().unwrap()
    });
    assert!(!is_named, "the files name the earlier one");
}

/// A topic was deleted and made again; after a kill the new one had the recovery point and the log start of the old one, so
/// its records in the journal were skipped, or lay below its log start. Every way in which a name can change hands between
/// two writes of the files: none of them gives the new topic an offset of the old one.
#[test]
fn offsets_of_a_topic_are_never_those_of_another_of_its_name() {
    let (old, new) = (TOPIC, TOPIC + 1);
    for forgotten in [false, true] {
        for noted_late in [false, true] {
            for written in [false, true] {
                let disk = disk();
                let book = start(&disk, 2, 1, old);
                book.note(0, key(old), &name(), noted(1000, 900));
                book.write(&disk, &dirs()).unwrap();
                if forgotten {
                    book.forget(key(old));
                }
                book.free_names(&disk, &dirs(), [(key(new), &name())].into_iter()).unwrap();
                assert_eq!(
                    kafkas(&disk, names::LOG_START_CHECKPOINT),
                    "0\n0\n",
                    "before the new one is made"
                );
                book.note(0, key(new), &name(), noted(0, 0));
                if noted_late {
                    book.note(0, key(old), &name(), noted(1000, 900)); // another core has not seen the deletion yet
                }
                if written {
                    book.write(&disk, &dirs()).unwrap();
                }
                let expected = if written { noted(0, 0) } else { Noted::default() };
                assert_eq!(start(&disk, 3, 2, new).initial(key(new)), expected);
                let of_kafka = kafkas(&disk, names::RECOVERY_POINT_CHECKPOINT);
                assert!(!of_kafka.contains("1000"), "{of_kafka}");
            }
        }
    }
}

/// The line of a deleted topic stayed in the files for ever, as every start took over what it found.
#[test]
fn lines_of_topics_that_the_metadata_does_not_know_go() {
    let disk = disk();
    let book = start(&disk, 2, 1, TOPIC);
    book.note(0, key(TOPIC), &name(), noted(1000, 900));
    book.note(0, key(5), &TopicPartition::new("gone", 0), noted(7, 6));
    book.write(&disk, &dirs()).unwrap();
    start(&disk, 3, 2, TOPIC).write(&disk, &dirs()).unwrap();
    assert_eq!(kafkas(&disk, names::RECOVERY_POINT_CHECKPOINT), "0\n1\nt 0 1000\n");
    let own = checkpoint::parse_own(kafkas(&disk, names::OTTLA_CHECKPOINT).as_bytes()).unwrap();
    assert_eq!(own.partitions.len(), 1);
}

/// Without Ottla's own file, or when another broker has been registered since it was written, Kafka's files count by name:
/// the recovery point after a clean stop only, and nothing is certain.
#[test]
fn kafkas_checkpoints_are_believed_only_as_far_as_they_can_be() {
    for (clean, own, registered) in [
        (false, false, 1),
        (true, false, 1),
        (false, true, 9),
        (true, true, 9),
        (false, true, 2),
        (false, true, 1),
    ] {
        let disk = disk();
        let book = start(&disk, 2, 1, TOPIC);
        book.note(0, key(TOPIC), &name(), noted(1000, 900));
        book.write(&disk, &dirs()).unwrap();
        if !own {
            disk.remove_file(&dirs()[0].join(names::OTTLA_CHECKPOINT)).unwrap();
        }
        if clean {
            disk.write_atomic(&dirs()[0].join(names::CLEAN_SHUTDOWN), b"{}").unwrap();
        }
        let found = start(&disk, 3, registered, TOPIC).initial(key(TOPIC));
        if own && registered != 9 {
            assert_eq!(found, noted(1000, 900));
        } else {
            assert_eq!(found.recovery_point, clean.then_some(1000));
            assert_eq!((found.log_start_offset, found.certain), (Some(900), false));
        }
    }
}

/// What a start has taken over from Kafka's files and not compared with a log yet stays what it was.
#[test]
fn nothing_becomes_certain_by_being_written_again() {
    let disk = disk();
    let text = checkpoint::format_offsets(&BTreeMap::from([(name(), 900)]));
    disk.write_atomic(&dirs()[0].join(names::LOG_START_CHECKPOINT), &text).unwrap();
    for incarnation in 2..5 {
        let book = start(&disk, incarnation, incarnation - 1, TOPIC);
        let found = book.initial(key(TOPIC));
        assert_eq!((found.log_start_offset, found.certain), (Some(900), false));
        book.write(&disk, &dirs()).unwrap();
    }
}

#[test]
fn a_partition_stays_offline_as_long_as_its_journal_is_there() {
    let disk = disk();
    let journal = "ottla-journal-0.staged.aside-1";
    disk.write(&dirs()[0].join(journal), b"x").unwrap();
    let book = start(&disk, 2, 1, TOPIC);
    book.keep_offline(key(TOPIC), 0, journal.to_owned());
    book.write(&disk, &dirs()).unwrap();
    for incarnation in 3..6 {
        let book = start(&disk, incarnation, incarnation - 1, TOPIC);
        assert_eq!(book.offline(key(TOPIC)), Some((0, journal.to_owned())));
        book.write(&disk, &dirs()).unwrap();
    }
    disk.remove_file(&dirs()[0].join(journal)).unwrap();
    assert_eq!(start(&disk, 6, 5, TOPIC).offline(key(TOPIC)), None);
}

/// A damaged `ottla-checkpoint` counted as empty, and so did one that could not be read: it was written anew without the
/// partitions that are offline. Every kind of damage to either file, and every error of a read, in every file of the start.
#[test]
fn what_keeps_a_partition_offline_outlives_damage_to_a_file_and_errors() {
    let disk = disk();
    let journal = "ottla-journal-0.staged.aside-1";
    disk.write(&dirs()[0].join(journal), b"x").unwrap();
    let book = start(&disk, 2, 1, TOPIC);
    book.note(0, key(TOPIC), &name(), noted(1000, 900));
    book.keep_offline(key(TOPIC), 0, journal.to_owned());
    book.write(&disk, &dirs()).unwrap();
    for file in [names::OTTLA_CHECKPOINT, names::OTTLA_OFFLINE] {
        let path = dirs()[0].join(file);
        let bytes = disk.read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..bytes.len()).map(|at| bytes[..at].to_vec()).collect();
        damaged.extend((0..bytes.len()).map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            flipped
        }));
        damaged.push(vec![0; bytes.len()]);
        for damaged in damaged {
            disk.write_atomic(&path, &damaged).unwrap();
            let Ok(read) = Checkpoints::read(&disk, &dirs()) else { continue }; // a version of tomorrow
            let book = CheckpointBook::new(&disk, &dirs(), &read, &image(2, TOPIC), (1, id(3)));
            assert_eq!(book.offline(key(TOPIC)), Some((0, journal.to_owned())), "{file}");
            assert_eq!(book.initial(key(TOPIC)).log_start_offset, Some(900), "{file}");
        }
        disk.remove_file(&path).unwrap();
        assert!(start(&disk, 3, 2, TOPIC).offline(key(TOPIC)).is_some(), "{file} is gone");
        disk.write_atomic(&path, &bytes).unwrap();
        for errno in [libc::EIO, libc::EMFILE, libc::ENOMEM, libc::EACCES] {
            for op in [DiskOp::Read, DiskOp::Open] {
                let path_contains = file.to_owned();
                disk.fail(DiskFault { path_contains, op, errno, skip: 0, times: 1 });
            }
            let error = Checkpoints::read(&disk, &dirs()).map(|_| ()).unwrap_err();
            assert!(matches!(error, CheckpointError::Io(..)), "{file}: {error}");
            disk.heal();
        }
    }
    for file in [names::OTTLA_CHECKPOINT, names::OTTLA_OFFLINE] {
        disk.flip(&dirs()[0].join(file), 20, 1).unwrap();
    }
    let error = Checkpoints::read(&disk, &dirs()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("aside-1") && error.contains("restore"), "{error}");
}

#[test]
fn a_later_version_is_refused() {
    let disk = disk();
    let text = "ottla-checkpoint 2\n";
    let text = format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()));
    disk.write(&dirs()[0].join(names::OTTLA_CHECKPOINT), text.as_bytes()).unwrap();
    let error = Checkpoints::read(&disk, &dirs()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
}
