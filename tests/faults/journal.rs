//! What a kill, a deletion or another broker on the directory makes of acknowledged records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::broker::Broker;
use crate::support::raw::{Client, code};
use crate::support::records::Batch;
use crate::support::{contents, poll};

/// How long a broker may take to carry out what it has answered.
const SOON: Duration = Duration::from_mins(1);

/// What was acknowledged, by offset.
type Acknowledged = BTreeMap<i64, String>;

fn create(client: &mut Client, topic: &str, configs: &[(&str, &str)]) {
    poll::until("the topic is made", SOON, || {
        match client.create_topic_with(topic, 1, configs).expect("CreateTopics") {
            code::NONE => Some(()),
            code::TOPIC_ALREADY_EXISTS => None,
            error => panic!("CreateTopics: {error}"),
        }
    });
}

fn delete(client: &mut Client, topic: &str) {
    assert_eq!(client.delete_topic(topic).expect("DeleteTopics"), code::NONE, "DeleteTopics");
}

fn delete_records(client: &mut Client, topic: &str, before: i64) {
    assert_eq!(client.delete_records(topic, 0, before).expect("DeleteRecords"), Ok(before), "DeleteRecords");
}

fn produce(client: &mut Client, topic: &str, partition: i32, value: &str, acknowledged: &mut Acknowledged) {
    let (error, offset) =
        client.produce(topic, partition, -1, &Batch::plain(&[value]).encode()).expect("Produce");
    assert_eq!(error, code::NONE, "Produce to {topic}-{partition}");
    acknowledged.insert(offset, value.to_owned());
}

/// Sends all at once and waits then.
fn pipeline(client: &mut Client, topic: &str, values: &[String], acknowledged: &mut Acknowledged) {
    let send = |value: &String| {
        let batch = Batch::plain(&[value]).encode();
        client.send(0, 3, &Client::produce_body(topic, 0, -1, &batch)).expect("send")
    };
    let sent: Vec<i32> = values.iter().map(send).collect();
    for (correlation, value) in sent.into_iter().zip(values) {
        let (error, offset) = client.receive_produced(correlation).expect("Produce");
        assert_eq!(error, code::NONE);
        acknowledged.insert(offset, value.clone());
    }
}

fn read_all(client: &mut Client, topic: &str) -> Acknowledged {
    client.read_all(topic).expect("Fetch")
}

/// Everything acknowledged is there.
fn assert_holds(found: &Acknowledged, acknowledged: &Acknowledged, what: &str) {
    let lost: Vec<i64> =
        acknowledged.iter().filter(|(o, value)| found.get(*o) != Some(value)).map(|(o, _)| *o).collect();
    assert!(lost.is_empty(), "{what}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}

fn files(dir: &Path, part: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("list");
    let mut found: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)));
    found.sort();
    found
}

/// The journals that hold something.
fn journals(broker: &Broker) -> Vec<PathBuf> {
    let mut found = files(&broker.data_dir(), "ottla-journal-");
    found.retain(|path| std::fs::metadata(path).expect("metadata").len() > 8192);
    found
}

/// Where a value stands in a file.
fn find(path: &Path, value: &str) -> Option<usize> {
    let bytes = std::fs::read(path).expect("read");
    bytes.windows(value.len()).position(|window| window == value.as_bytes())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("read");
    bytes[at] ^= 4;
    std::fs::write(path, bytes).expect("write");
}

/// The process was killed while a small append that the journal had stood behind a large one, two segments behind the
/// recovery point. The next start looked through one segment only for what might be missing before it, saw less than all,
/// and left the small one out: 20 acknowledged records were lost, without a word.
#[test]
fn records_behind_a_large_append_and_several_segments_outlive_a_kill() {
    for flush in [false, true] {
        let mut broker = Broker::start("journal-kill", &[]);
        let sizes: &[usize] = if flush { &[200_000] } else { &[40_000, 200_000, 600_000, 900_000] };
        for (round, size) in sizes.iter().enumerate() {
            let topic = format!("t{round}");
            let mut client = Client::connect(&broker);
            let mut configs = vec![("segment.bytes", "1048576")];
            if flush {
                configs.push(("flush.messages", "1"));
            }
            create(&mut client, &topic, &configs);
            let mut acknowledged = Acknowledged::new();
            if flush {
                // Makes the journal of this level.
                produce(&mut client, &topic, 0, "first", &mut acknowledged);
                let made = || {
                    files(&broker.data_dir(), "flushed")
                        .iter()
                        .any(|p| p.extension() == Some("flushed".as_ref()))
                        .then_some(())
                };
                poll::until("the flushed journal is there", SOON, made);
            }
            for n in 0..8 {
                let value = format!("L{n}{}", "x".repeat(400_000));
                produce(&mut client, &topic, 0, &value, &mut acknowledged);
            }
            for lap in 0..if flush { 3 } else { 1 } {
                let mut values = vec![format!("M{lap}{}", "y".repeat(*size))];
                values.extend((0..20).map(|n| format!("S{lap}-{n}")));
                pipeline(&mut client, &topic, &values, &mut acknowledged);
            }
            broker.kill9();
            broker.restart();
            let found = read_all(&mut Client::connect(&broker), &topic);
            assert_holds(&found, &acknowledged, &format!("flush {flush}, size {size}"));
        }
    }
}

/// A topic was deleted and made again under its name, and the process killed: recovery point and log start of the old one
/// were taken for the new one's, so that 10 of 10 acknowledged records were skipped or lay below the log start.
#[test]
fn a_topic_made_again_does_not_inherit_offsets() {
    for stopped in [true, false] {
        let mut broker = Broker::start("journal-again", &[]);
        let mut client = Client::connect(&broker);
        create(&mut client, "t", &[]);
        let mut old = Acknowledged::new();
        for n in 0..100 {
            produce(&mut client, "t", 0, &format!("old-{n}"), &mut old);
        }
        delete_records(&mut client, "t", 90);
        if stopped {
            broker.stop();
            broker.restart();
            client = Client::connect(&broker);
        }
        delete(&mut client, "t");
        create(&mut client, "t", &[]);
        let mut acknowledged = Acknowledged::new();
        for n in 0..10 {
            produce(&mut client, "t", 0, &format!("new-{n}"), &mut acknowledged);
        }
        for _ in 0..2 {
            broker.kill9();
            broker.restart();
            assert_eq!(read_all(&mut Client::connect(&broker), "t"), acknowledged, "stopped {stopped}");
        }
    }
}

/// The checkpoints kept the lines of a topic that was deleted, start after start, and a topic of its name that was made
/// much later got them.
#[test]
fn the_checkpoints_forget_a_deleted_topic() {
    let mut broker = Broker::start("journal-forget", &[]);
    let mut client = Client::connect(&broker);
    create(&mut client, "t", &[]);
    for n in 0..50 {
        produce(&mut client, "t", 0, &format!("old-{n}"), &mut Acknowledged::new());
    }
    delete_records(&mut client, "t", 40);
    broker.stop();
    broker.restart();
    delete(&mut Client::connect(&broker), "t");
    broker.kill9();
    broker.restart();
    broker.stop();
    for name in
        ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"]
    {
        let text = std::fs::read_to_string(broker.data_dir().join(name)).expect("a checkpoint");
        assert!(!text.contains("t 0"), "{name}: {text}");
    }
    // As an older Ottla has left it: the lines of the deleted topic, and nothing that says whose they are.
    std::fs::write(broker.data_dir().join("recovery-point-offset-checkpoint"), "0\n1\nt 0 50\n")
        .expect("write");
    std::fs::write(broker.data_dir().join("log-start-offset-checkpoint"), "0\n1\nt 0 40\n").expect("write");
    let _ = std::fs::remove_file(broker.data_dir().join("ottla-checkpoint"));
    broker.restart();
    let mut client = Client::connect(&broker);
    create(&mut client, "t", &[]);
    let mut acknowledged = Acknowledged::new();
    for n in 0..10 {
        produce(&mut client, "t", 0, &format!("new-{n}"), &mut acknowledged);
    }
    broker.kill9();
    broker.restart();
    assert_eq!(read_all(&mut Client::connect(&broker), "t"), acknowledged);
}

/// DeleteRecords was acknowledged, and a power cut took the records, which nothing had flushed: the log began again at
/// offset 0, and what was acknowledged then vanished below the old log start at the next kill.
#[test]
fn the_log_start_never_goes_back() {
    let mut broker = Broker::start("journal-start", &[]);
    let mut client = Client::connect(&broker);
    create(&mut client, "t", &[]);
    for n in 0..10 {
        produce(&mut client, "t", 0, &format!("old-{n}"), &mut Acknowledged::new());
    }
    delete_records(&mut client, "t", 10);
    broker.kill9();
    // What a power cut may leave of it.
    for path in journals(&broker) {
        std::fs::remove_file(path).expect("remove");
    }
    std::fs::write(broker.data_dir().join("t-0/00000000000000000000.log"), "").expect("truncate");
    broker.restart();
    let mut client = Client::connect(&broker);
    let bounds = [-2, -1].map(|which| client.list_offset("t", 0, which).expect("ListOffsets"));
    assert_eq!(bounds, [Ok(10), Ok(10)]);
    assert!(broker.log_tail().contains("starts at 10"), "{}", broker.log_tail());
    let mut acknowledged = Acknowledged::new();
    for n in 0..5 {
        produce(&mut client, "t", 0, &format!("new-{n}"), &mut acknowledged);
    }
    assert_eq!(acknowledged.keys().next(), Some(&10));
    broker.kill9();
    broker.restart();
    assert_eq!(read_all(&mut Client::connect(&broker), "t"), acknowledged);
}

/// One flipped bit in a frame of the journal dropped that frame and all later ones of the core, unnamed. Now a frame whose
/// entries are whole is used whatever else is damaged in it; a damaged entry keeps its partition offline, start after start,
/// until its journal is taken away; and every other partition has all of its records.
#[test]
fn damage_in_the_journal_is_named_and_costs_no_other_partition() {
    for (what, hits_entry) in [("frame", false), ("entry", true)] {
        let mut broker = Broker::start("journal-flip", &[]);
        let mut client = Client::connect(&broker);
        create(&mut client, "hit", &[]);
        create(&mut client, "other", &[]);
        let (mut hit, mut other) = (Acknowledged::new(), Acknowledged::new());
        for n in 0..30 {
            produce(&mut client, "hit", 0, &format!("hit-{n:02}."), &mut hit);
            produce(&mut client, "other", 0, &format!("other-{n:02}."), &mut other);
        }
        broker.kill9();
        let (path, at) = journals(&broker)
            .into_iter()
            .find_map(|path| find(&path, "hit-15.").map(|at| (path, at)))
            .expect("it is in a journal");
        let bytes = std::fs::read(&path).expect("read");
        // A frame ends with its number, eight bytes; the next one begins with the mark of all of them.
        let mark = bytes[8192..8196].to_vec();
        let head = bytes[..at].windows(4).rposition(|window| window == mark).expect("a frame");
        flip(&path, if hits_entry { at } else { head + 4 });
        broker.restart();
        let log = broker.log_tail();
        assert!(log.contains("are damaged") && log.contains(".aside-1"), "{what}: {log}");
        let mut client = Client::connect(&broker);
        assert_holds(&read_all(&mut client, "other"), &other, what);
        if !hits_entry {
            assert_holds(&read_all(&mut client, "hit"), &hit, what);
            continue;
        }
        let offline = |broker: &Broker| {
            let (error, ..) = Client::connect(broker).fetch("hit", 0, 0).expect("Fetch");
            assert_eq!(error, 56, "KAFKA_STORAGE_ERROR");
        };
        offline(&broker);
        // Such a stop ended with exit code 0 as any other, and another broker was given the directories.
        broker.stop_with(4);
        let log = broker.log_tail();
        assert!(log.contains("offline (hit-0)") && log.contains("before Apache Kafka is given"), "{log}");
        let left = journals(&broker);
        assert!(left.iter().all(|path| path.to_string_lossy().contains(".aside-")), "written out: {left:?}");
        assert!(!broker.data_dir().join(".kafka_cleanshutdown").exists(), "not all is clean");
        broker.restart();
        offline(&broker);
        broker.kill9();
        for path in files(&broker.data_dir(), ".aside-") {
            std::fs::remove_file(path).expect("remove");
        }
        broker.restart();
        let found = read_all(&mut Client::connect(&broker), "hit");
        let expected: Acknowledged = hit.into_iter().filter(|(offset, _)| *offset < 15).collect();
        assert_eq!(found, expected, "what lies before the damage");
    }
}

/// A journal of a later version was taken for an empty one and removed.
#[test]
fn a_journal_of_a_later_version_is_left_alone() {
    let mut broker = Broker::start("journal-later", &[]);
    let mut client = Client::connect(&broker);
    create(&mut client, "t", &[]);
    let mut acknowledged = Acknowledged::new();
    produce(&mut client, "t", 0, "one", &mut acknowledged);
    broker.kill9();
    let journal = journals(&broker).into_iter().find(|path| find(path, "one").is_some()).expect("a journal");
    let bytes = std::fs::read(&journal).expect("read");
    let mut later = bytes.clone();
    for block in [0, 4096] {
        later[block + 23] = 3;
        let crc = crc32c::crc32c(&later[block + 8..block + 4096]);
        later[block + 4..block + 8].copy_from_slice(&crc.to_be_bytes());
    }
    std::fs::write(&journal, &later).expect("write");
    let before = contents(&broker.data_dir());
    for _ in 0..3 {
        let (exit, text) = broker.restart_refused();
        assert_eq!(exit, Some(3), "{text}");
        assert!(text.contains("newer version") && text.contains("ottla-journal-"), "{text}");
        assert_eq!(contents(&broker.data_dir()), before, "a byte was changed");
    }
    std::fs::write(&journal, &bytes).expect("write");
    broker.restart();
    assert_eq!(read_all(&mut Client::connect(&broker), "t"), acknowledged);
}

/// After a kill another broker had the directory and stopped cleanly; the next start of Ottla removed the journal with 500
/// acknowledged records. The other broker is Ottla here, which does not see the journal: it truncates, appends, registers
/// and stops as Apache Kafka would.
#[test]
fn what_another_broker_wrote_stays_and_what_no_longer_fits_is_kept_aside() {
    for goes_on in [true, false] {
        let mut broker = Broker::start("journal-hands", &[]);
        let mut client = Client::connect(&broker);
        create(&mut client, "t", &[]);
        let mut ours = Acknowledged::new();
        let values: Vec<String> = (0..50).map(|n| format!("ours-{n}")).collect();
        pipeline(&mut client, "t", &values, &mut ours);
        broker.kill9();
        let journals = journals(&broker);
        assert!(!journals.is_empty());
        let away = |path: &PathBuf| broker.data_dir().join("..").join(path.file_name().expect("a name"));
        let moved: Vec<(PathBuf, PathBuf)> = journals.iter().map(|path| (path.clone(), away(path))).collect();
        for (from, to) in &moved {
            std::fs::rename(from, to).expect("move");
        }
        // What was in its segment already is gone with the tail that the other broker does not believe.
        std::fs::write(broker.data_dir().join("t-0/00000000000000000000.log"), "").expect("truncate");
        broker.restart();
        let mut theirs = Acknowledged::new();
        let mut client = Client::connect(&broker);
        for n in 0..if goes_on { 20 } else { 0 } {
            produce(&mut client, "t", 0, &format!("theirs-{n}"), &mut theirs);
        }
        broker.stop();
        for (to, from) in &moved {
            std::fs::rename(from, to).expect("move back");
        }
        broker.restart();
        let found = read_all(&mut Client::connect(&broker), "t");
        let aside = files(&broker.data_dir(), ".aside-");
        if goes_on {
            assert_eq!(found, theirs, "what the other broker has acknowledged");
            assert!(
                aside.iter().any(|path| find(path, "ours-49").is_some()),
                "the journal is kept: {aside:?}"
            );
            assert!(broker.log_tail().contains("another broker"), "{}", broker.log_tail());
        } else {
            assert_eq!(found, ours, "the log ends where the journal goes on");
            assert!(aside.is_empty(), "{aside:?}");
        }
    }
}

/// A process was killed while it made the journal of the flushed level: the next start said that its header was damaged and
/// that records might be lost, and kept the file for ever, again at each kill; with two log directories two such files had
/// one name, were taken for one partition in two places, and the start refused.
#[test]
fn a_kill_while_a_journal_is_made_leaves_nothing_and_is_no_damage() {
    let mut broker = Broker::start("journal-made", &[("num.partitions", "8")]);
    let mut client = Client::connect(&broker);
    let made = client.create_topic_with("t", 8, &[("flush.messages", "1")]).expect("CreateTopics");
    assert_eq!(made, code::NONE);
    for _ in 0..3 {
        for partition in 0..8 {
            let body = Client::produce_body("t", partition, -1, &Batch::plain(&["x"]).encode());
            client.send(0, 3, &body).expect("send");
        }
        let begun = || (!files(&broker.data_dir(), ".flushed").is_empty()).then_some(());
        poll::within_busily(SOON, begun).expect("a journal is made");
        broker.kill9();
        broker.restart();
        let log = broker.last_start();
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
        let left = files(&broker.data_dir(), "flushed");
        assert!(left.is_empty(), "{left:?}");
        client = Client::connect(&broker);
    }
}
