//! Errors before anything was written: no descriptors, no space. And what a client's timeout may bound.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::broker::Broker;
use crate::support::raw::{Client, Reader, Writer, code};
use crate::support::records::Batch;
use crate::support::{TempDir, poll};

/// What a client may say that it waits, milliseconds.
const TIMEOUTS_MS: [i32; 6] = [0, 1, 5, -1, i32::MIN, i32::MAX];

/// CreatePartitions v0 of one topic; gives its error code.
fn create_partitions(client: &mut Client, name: &str, count: i32) -> i16 {
    let body = Writer::default().i32(1).string(name).i32(count).i32(-1).i32(client.timeout_ms).i8(0);
    let answer = client.call(37, 0, &body.0).expect("CreatePartitions");
    let mut reader = Reader(&answer);
    let _throttle = reader.i32();
    assert_eq!((reader.i32(), reader.string()), (1, name.to_owned()), "CreatePartitions");
    reader.i16()
}

fn create_topic(client: &mut Client, name: &str) -> i16 {
    client.create_topic(name, 1).expect("CreateTopics")
}

fn produce(client: &mut Client, name: &str, acks: i16, batch: &[u8]) -> (i16, i64) {
    client.produce(name, 0, acks, batch).expect("Produce")
}

/// With `timeout_ms` 0, and with a few milliseconds now and then, an append or a deletion was carried out and answered
/// REQUEST_TIMED_OUT, so that clients did it again: the client's patience with other replicas was taken as the deadline
/// of the broker's own work. Whatever it says, an answer tells what was done.
#[test]
fn a_timeout_does_not_bound_what_the_broker_does_itself() {
    let broker = Broker::start("space-timeouts", &[]);
    let mut client = Client::connect(&broker);
    for (round, timeout_ms) in TIMEOUTS_MS.into_iter().enumerate() {
        client.timeout_ms = timeout_ms;
        let name = format!("patience-{round}");
        let what = format!("timeout_ms {timeout_ms}");
        assert_eq!(create_topic(&mut client, &name), code::NONE, "CreateTopics, {what}");
        assert_eq!(create_partitions(&mut client, &name, 2), code::NONE, "CreatePartitions, {what}");
        let large = "x".repeat(700_000);
        let mut end = 0;
        for acks in [-1, 1] {
            for value in ["small", large.as_str()] {
                let batch = Batch::plain(&[value]).encode();
                let answer = produce(&mut client, &name, acks, &batch);
                assert_eq!(answer, (code::NONE, end), "Produce of {} bytes, {what}", batch.len());
                end += 1;
            }
        }
        assert_eq!(client.list_offset(&name, 0, -1).expect("ListOffsets"), Ok(end), "{what}");
        let deleted = client.delete_records(&name, 0, end - 1).expect("DeleteRecords");
        assert_eq!(deleted, Ok(end - 1), "DeleteRecords, {what}");
        let deleted = client.delete_topic(&name).expect("DeleteTopics");
        assert_eq!(deleted, code::NONE, "DeleteTopics, {what}");
        assert_eq!(create_topic(&mut client, &name), code::NONE, "CreateTopics again, {what}");
    }
}

/// A small tmpfs in the place of a log directory; None, with the reason, if this user may not mount one.
pub struct SmallVolume(pub TempDir);

impl SmallVolume {
    pub fn mount(name: &str, mebibytes: u32) -> Option<SmallVolume> {
        let dir = TempDir::new(name);
        let size = format!("size={mebibytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(SmallVolume(dir));
        }
        eprintln!("skipped: a tmpfs can only be mounted by root");
        None
    }

    fn data(&self) -> String {
        self.0.path().join("data").display().to_string()
    }

    /// Takes all that is free, but for so many bytes.
    pub fn fill(&self, but: u64) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut file = File::create(&path).expect("create the filler");
        let block = vec![b'x'; 64 << 10];
        while file.write_all(&block).is_ok() {}
        let len = file.metadata().expect("its length").len();
        file.set_len(len.saturating_sub(but)).expect("cut the filler");
        path
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn warnings(broker: &Broker, with: &str) -> usize {
    broker.log_tail().lines().filter(|line| line.contains("WARN") && line.contains(with)).count()
}

/// Every offset that was acknowledged and its value.
type Acknowledged = BTreeMap<i64, String>;

/// Produces until `enough` requests in a row were refused; with what.
fn produce_until_refused(
    client: &mut Client,
    topic: &str,
    bytes: usize,
    acked: &mut Acknowledged,
) -> Vec<i16> {
    let mut refused = Vec::new();
    for i in 0..1000 {
        let value = format!("{i}-{}", "v".repeat(bytes));
        match produce(client, topic, -1, &Batch::plain(&[&value]).encode()) {
            (code::NONE, offset) => {
                refused.clear();
                assert!(acked.insert(offset, value).is_none(), "offset {offset} twice");
            }
            (error, _) => refused.push(error),
        }
        if refused.len() == 3 {
            return refused;
        }
    }
    panic!("the disk is never full");
}

/// Everything acknowledged from the log start on is read.
fn check_acknowledged(client: &mut Client, topic: &str, acked: &Acknowledged) {
    let log_start = client.list_offset(topic, 0, -2).expect("ListOffsets").expect("a log start");
    let found = client.read_all(topic).expect("Fetch");
    let start = *found.first_key_value().map_or(&log_start, |(first, _)| first);
    for (offset, value) in acked.range(start..) {
        assert!(found.get(offset) == Some(value), "offset {offset} of {topic} was acknowledged");
    }
}

fn until_produced(client: &mut Client, topic: &str) -> i64 {
    poll::until("a Produce that is taken again", Duration::from_secs(15), || {
        let answer = produce(client, topic, -1, &Batch::plain(&["again"]).encode());
        (answer.0 == code::NONE).then_some(answer.1)
    })
}

/// A volume filled up; the partition was fenced until a restart, and as fenced partitions were not trimmed, retention never
/// freed the space that it was fenced for: a full disk stayed full.
#[test]
fn a_full_disk_is_emptied_by_retention_and_takes_records_again() {
    let Some(volume) = SmallVolume::mount("space-retention", 24) else { return };
    let settings = [
        ("log.dirs", &*volume.data()),
        ("log.segment.bytes", "1048576"),
        ("log.retention.bytes", "4194304"),
        ("log.retention.check.interval.ms", "2000"),
        ("log.segment.delete.delay.ms", "100"),
        ("offsets.topic.num.partitions", "1"),
    ];
    let broker = Broker::start("space-retention", &settings);
    let mut client = Client::connect(&broker);
    assert_eq!(create_topic(&mut client, "full"), code::NONE);
    let filler = volume.fill(6 << 20);
    let mut acked = Acknowledged::new();
    for _ in 0..2 {
        produce_until_refused(&mut client, "full", 300_000, &mut acked);
        check_acknowledged(&mut client, "full", &acked);
        acked.insert(until_produced(&mut client, "full"), "again".into());
        check_acknowledged(&mut client, "full", &acked);
    }
    assert!(warnings(&broker, "no space is left") <= 2, "{}", broker.log_tail());
    std::fs::remove_file(filler).expect("remove the filler");
}

/// On a full volume `DeleteRecords` was refused, as the checkpoint of log starts could not be written either.
#[test]
fn a_full_disk_is_emptied_by_delete_records() {
    let Some(volume) = SmallVolume::mount("space-delete", 24) else { return };
    let settings = [
        ("log.dirs", &*volume.data()),
        ("log.segment.bytes", "1048576"),
        ("offsets.topic.num.partitions", "1"),
    ];
    let mut broker = Broker::start("space-delete", &settings);
    let mut client = Client::connect(&broker);
    assert_eq!(create_topic(&mut client, "full"), code::NONE);
    let mut acked = Acknowledged::new();
    produce_until_refused(&mut client, "full", 300_000, &mut acked);
    let filler = volume.fill(0);
    let end = acked.last_key_value().map_or(0, |(last, _)| last + 1);
    assert_eq!(client.delete_records("full", 0, end - 1).expect("DeleteRecords"), Ok(end - 1));
    acked.insert(until_produced(&mut client, "full"), "again".into());
    check_acknowledged(&mut client, "full", &acked);
    assert!(warnings(&broker, "no space is left") <= 1, "{}", broker.log_tail());
    std::fs::remove_file(filler).expect("remove the filler");
    broker.kill9();
    broker.restart();
    let mut client = Client::connect(&broker);
    assert!(client.list_offset("full", 0, -2).expect("ListOffsets") >= Ok(end - 1), "the log start stays");
    check_acknowledged(&mut client, "full", &acked);
}

/// Groups and the controller live through a full disk: commits and new topics are refused, and work again by themselves.
#[test]
fn groups_and_the_controller_live_through_a_full_disk() {
    let Some(volume) = SmallVolume::mount("space-groups", 24) else { return };
    let settings = [("log.dirs", &*volume.data()), ("offsets.topic.num.partitions", "1")];
    let broker = Broker::start("space-groups", &settings);
    let mut client = Client::connect(&broker);
    assert_eq!(create_topic(&mut client, "full"), code::NONE);
    client.wait_for_coordinator("g");
    poll::until("a commit", Duration::from_secs(20), || {
        (client.commit("g", "full", 0, 7).expect("OffsetCommit") == code::NONE).then_some(())
    });
    let filler = volume.fill(0);
    let mut committed = 7;
    let mut topics = Vec::new();
    for i in 0..400 {
        match client.commit("g", "full", 0, 100 + i).expect("OffsetCommit") {
            code::NONE => committed = 100 + i,
            code::COORDINATOR_LOAD_IN_PROGRESS | code::COORDINATOR_NOT_AVAILABLE | code::NOT_COORDINATOR => {}
            other => panic!("a commit on a full disk: error {other}"),
        }
        if i % 20 == 0 {
            let name = format!("late-{i}");
            if create_topic(&mut client, &name) == code::NONE {
                topics.push(name);
            }
        }
    }
    assert!(client.committed("g", "full", 0).expect("OffsetFetch").is_ok_and(|offset| offset >= committed));
    std::fs::remove_file(filler).expect("remove the filler");
    poll::until("a commit with space", Duration::from_secs(15), || {
        (client.commit("g", "full", 0, 5000).expect("OffsetCommit") == code::NONE).then_some(())
    });
    assert_eq!(client.committed("g", "full", 0).expect("OffsetFetch"), Ok(5000));
    poll::until("a topic with space", Duration::from_secs(15), || {
        let made = create_topic(&mut client, "after");
        [code::NONE, code::TOPIC_ALREADY_EXISTS].contains(&made).then_some(())
    });
    topics.push("after".into());
    for topic in &topics {
        until_produced(&mut client, topic);
    }
    assert!(warnings(&broker, "no space is left") <= 1, "{}", broker.log_tail());
}

/// Connections used up the descriptors; then segments could not be opened or rolled, and their partitions were fenced until
/// a restart.
#[test]
fn connections_leave_descriptors_for_files() {
    let broker = Broker::start("space-descriptors", &[("log.segment.bytes", "1048576")]);
    let mut client = Client::connect(&broker);
    let topics: Vec<String> = (0..8).map(|i| format!("t{i}")).collect();
    for topic in &topics {
        assert_eq!(create_topic(&mut client, topic), code::NONE);
    }
    let limit =
        Command::new("prlimit").arg(format!("--pid={}", broker.pid())).arg("--nofile=256:4096").status();
    assert!(limit.is_ok_and(|status| status.success()), "prlimit");
    // From the first one on, the broker knows.
    Client::connect(&broker).api_versions().expect("ApiVersions");
    let connections: Vec<TcpStream> =
        (0..400).filter_map(|_| TcpStream::connect(broker.address()).ok()).collect();
    let large = "x".repeat(400_000);
    let batch = Batch::plain(&[&large]).encode();
    for topic in &topics {
        for round in 0..6 {
            assert_eq!(produce(&mut client, topic, -1, &batch), (code::NONE, round), "{topic}");
        }
    }
    assert_eq!(create_topic(&mut client, "new"), code::NONE);
    assert_eq!(produce(&mut client, "new", -1, &batch), (code::NONE, 0));
    assert_eq!(warnings(&broker, "new connections are refused"), 1, "{}", broker.log_tail());
    drop(connections);
    poll::until("a new connection that is served", Duration::from_secs(15), || {
        Client::open(broker.address()).ok()?.api_versions().ok()
    });
    assert_eq!(warnings(&broker, "new connections are refused"), 1, "{}", broker.log_tail());
}

/// The limit was lowered below what is in use: files cannot be opened for a while. Nothing is lost, and partitions that
/// could not be opened or rolled work again by themselves.
#[test]
fn partitions_outlive_a_lack_of_descriptors() {
    let broker = Broker::start("space-nofile", &[("log.segment.bytes", "1048576")]);
    let mut client = Client::connect(&broker);
    for topic in ["used", "fresh"] {
        assert_eq!(create_topic(&mut client, topic), code::NONE);
    }
    let large = "x".repeat(400_000);
    let batch = Batch::plain(&[&large]).encode();
    assert_eq!(produce(&mut client, "used", -1, &batch), (code::NONE, 0));
    limit_descriptors(&broker, "8");
    assert_ne!(produce(&mut client, "fresh", -1, &batch).0, code::NONE);
    let answers: Vec<i16> = (0..6).map(|_| produce(&mut client, "used", -1, &batch).0).collect();
    assert!(answers.contains(&56), "{answers:?}");
    let made = create_topic(&mut client, "made");
    limit_descriptors(&broker, "4096");
    let topics: &[&str] = if made == code::NONE { &["used", "fresh", "made"] } else { &["used", "fresh"] };
    for topic in topics {
        until_produced(&mut client, topic);
    }
    assert_eq!(warnings(&broker, "no file descriptors are left"), 1, "{}", broker.log_tail());
}

/// A topic was deleted while its partition could not be opened: that was waited for ever after, so the broker's log never
/// said that the shortage was over, and told of no later one.
#[test]
fn a_lack_is_over_when_what_waited_for_it_is_deleted() {
    let broker = Broker::start("space-deleted", &[]);
    let mut client = Client::connect(&broker);
    // The connection is accepted once it was answered.
    assert_eq!(create_topic(&mut client, "before"), code::NONE);
    limit_descriptors(&broker, "8");
    assert_eq!(create_topic(&mut client, "t"), code::NONE);
    assert_ne!(produce(&mut client, "t", -1, &Batch::plain(&["v"]).encode()).0, code::NONE);
    assert_eq!(warnings(&broker, "no file descriptors are left"), 1, "{}", broker.log_tail());
    assert_eq!(client.delete_topic("t").expect("DeleteTopics"), code::NONE);
    limit_descriptors(&broker, "4096");
    poll::until("the shortage is over", Duration::from_secs(30), || {
        broker.log_tail().contains("the disk takes everything again").then_some(())
    });
}

/// The same with the leader epochs of a partition that was deleted before they could be written down.
#[test]
fn a_lack_is_over_when_the_epochs_that_waited_for_it_are_deleted() {
    let broker = Broker::start("space-epochs", &[]);
    let mut client = Client::connect(&broker);
    assert_eq!(create_topic(&mut client, "t"), code::NONE);
    until_produced(&mut client, "t");
    limit_descriptors(&broker, "8");
    poll::until("a lack of descriptors", Duration::from_mins(1), || {
        (warnings(&broker, "no file descriptors are left") == 1).then_some(())
    });
    assert_eq!(client.delete_topic("t").expect("DeleteTopics"), code::NONE);
    limit_descriptors(&broker, "4096");
    poll::until("the shortage is over", Duration::from_secs(30), || {
        broker.log_tail().contains("the disk takes everything again").then_some(())
    });
}

fn limit_descriptors(broker: &Broker, nofile: &str) {
    let pid = format!("--pid={}", broker.pid());
    let set = Command::new("prlimit").arg(pid).arg(format!("--nofile={nofile}:4096")).status();
    assert!(set.is_ok_and(|status| status.success()), "prlimit");
}

/// What the journals take of the volume.
fn journal_bytes(volume: &SmallVolume) -> u64 {
    let entries = std::fs::read_dir(volume.data()).expect("list");
    let blocks = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_journal = entry.file_name().to_string_lossy().starts_with("ottla-journal-");
        is_journal.then(|| entry.metadata().map_or(0, |metadata| metadata.blocks()))
    });
    blocks.sum::<u64>() * 512
}

/// A half-made journal of the flushed level, or one that had grown, held the last free space of a volume, and so did what a
/// reservation that found too little had taken: appends were refused and a stop was unclean although an operator had made
/// room. Journals leave room, are given back while there is none, and come back.
#[test]
fn journals_and_reservations_never_hold_the_last_space() {
    for flush in ["1", "9223372036854775807"] {
        let Some(volume) = SmallVolume::mount("space-journal", 96) else { return };
        let settings = [
            ("log.dirs", &*volume.data()),
            ("log.flush.interval.messages", flush),
            ("ottla.core.journal.bytes", "16777216"),
            ("offsets.topic.num.partitions", "1"),
        ];
        let mut broker = Broker::start("space-journal", &settings);
        let mut client = Client::connect(&broker);
        for topic in ["small", "large"] {
            assert_eq!(create_topic(&mut client, topic), code::NONE);
        }
        let (mut small, mut large) = (Acknowledged::new(), Acknowledged::new());
        for _ in 0..2 {
            poll::until("a journal that is used", Duration::from_secs(30), || {
                let offset = until_produced(&mut client, "small");
                small.insert(offset, "again".into());
                let level = if flush == "1" { "flushed" } else { "staged" };
                let used = |entry: std::io::Result<std::fs::DirEntry>| {
                    let path = entry.expect("an entry").path();
                    path.display().to_string().ends_with(level)
                        && std::fs::read(path)
                            .is_ok_and(|bytes| bytes.windows(5).any(|window| window == b"again"))
                };
                std::fs::read_dir(volume.data()).expect("list").any(used).then_some(())
            });
            let filler = volume.fill(3 << 20);
            produce_until_refused(&mut client, "large", 200_000, &mut large);
            poll::until("the journals are given back", Duration::from_secs(15), || {
                (journal_bytes(&volume) == 0).then_some(())
            });
            broker.kill9();
            broker.restart();
            client = Client::connect(&broker);
            check_acknowledged(&mut client, "small", &small);
            check_acknowledged(&mut client, "large", &large);
            std::fs::remove_file(filler).expect("remove the filler");
            large.insert(until_produced(&mut client, "large"), "again".into());
        }
        check_acknowledged(&mut client, "small", &small);
        check_acknowledged(&mut client, "large", &large);
        broker.stop();
        assert!(warnings(&broker, "room for the journal") <= 8, "{}", broker.log_tail());
    }
}
