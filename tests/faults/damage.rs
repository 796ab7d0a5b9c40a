//! Flipped, cut, zeroed and missing bytes in every kind of file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::broker::{Broker, Kind};
use crate::support::raw::{Client, code};
use crate::support::records::Batch;
use crate::support::{contents, poll};

const PATIENCE: Duration = Duration::from_mins(1);
const METADATA: &str = "__cluster_metadata-0/00000000000000000000.log";

/// Every file with its bytes, except what a process leaves that only looks.
fn image(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = contents(data);
    files.retain(|name, _| name.file_name().is_some_and(|name| name != ".lock"));
    files
}

fn restore(data: &Path, image: &BTreeMap<PathBuf, Vec<u8>>) {
    fs::remove_dir_all(data).expect("remove the data");
    for (name, bytes) in image {
        let path = data.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("create a directory");
        fs::write(path, bytes).expect("write a file");
    }
}

/// Where each batch of a log begins and ends.
fn batches(log: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 61 <= log.len() {
        let length = i32::from_be_bytes(log[at + 8..at + 12].try_into().expect("4 bytes"));
        if length <= 0 {
            break;
        }
        found.push((at, at + 12 + length as usize));
        at += 12 + length as usize;
    }
    found
}

/// A broker with topics of one record each, stopped or killed.
fn with_topics(name: &str, clean: bool) -> Option<Broker> {
    if Kind::under_test() != Kind::Ottla {
        return None;
    }
    let mut broker = Broker::start(name, &[("offsets.topic.num.partitions", "1")]);
    let mut client = Client::connect(&broker);
    for topic in ["a", "b", "c"] {
        assert_eq!(client.create_topic(topic, 1).expect("create"), code::NONE);
        let produced = client.produce(topic, 0, -1, &Batch::plain(&[topic]).encode()).expect("produce");
        assert_eq!(produced, (code::NONE, 0));
    }
    if clean {
        broker.stop();
    } else {
        broker.kill9();
    }
    Some(broker)
}

/// One flipped bit in the metadata log: the first start refused, but had cut the damaged batch out before it did, so that the
/// second start served without the topics in it and set their directories aside. After a clean stop the mark of it was taken
/// away by the first start, so that the second took the last batch for a torn write and cut it off. And after a kill, a bit in
/// the last batch passed for a torn write, and last batches of zeros for space that was never written to: topics were gone, and
/// with them their acknowledged records in the journal.
#[test]
fn a_damaged_metadata_log_is_refused_at_every_start_and_left_as_it_is() {
    for clean in [true, false] {
        let Some(mut broker) = with_topics("metadata-damage", clean) else { return };
        let data = broker.data_dir();
        let whole = image(&data);
        let log = &whole[Path::new(METADATA)];
        let found = batches(log);
        let last = found.len() - 1;
        let middle = found[found.len() / 2];
        let mut cases: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        let mut change = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = log.clone();
            change(&mut bytes);
            cases.push((format!("{what}, clean {clean}"), Some(bytes)));
        };
        change("a bit of a record", &|log| log[middle.0 + 70] ^= 4);
        change("a batch's base offset", &|log| log[middle.0 + 7] ^= 1);
        change("a batch's length", &|log| log[middle.0 + 11] ^= 8);
        change("the first batch zeroed", &|log| log[..found[0].1].fill(0));
        change("a batch missing", &|log| drop(log.drain(middle.0..middle.1)));
        change("nothing left", &Vec::clear);
        change("a bit of the last batch", &|log| log[found[last].0 + 70] ^= 4);
        change("the length of the last batch", &|log| log[found[last].0 + 10] ^= 8);
        change("the last sector of the last batch zeroed", &|log| log[found[last].1 - 20..].fill(0));
        change("the last batch cut", &|log| log.truncate(found[last].1 - 5));
        for count in 0..3 {
            let from = found[last - count].0;
            change(&format!("the last batch and {count} more zeroed"), &|log| log[from..].fill(0));
            change(&format!("the last batch and {count} more missing"), &|log| log.truncate(from));
        }
        cases.push((format!("deleted, clean {clean}"), None));
        for (what, bytes) in cases {
            restore(&data, &whole);
            match bytes {
                Some(bytes) => fs::write(data.join(METADATA), bytes).expect("damage it"),
                None => fs::remove_file(data.join(METADATA)).expect("remove it"),
            }
            let damaged = image(&data);
            for start in 1..=2 {
                let (exit, said) = broker.restart_refused();
                assert_eq!(exit, Some(3), "{what}, start {start}: {said}");
                assert!(said.contains("__cluster_metadata-0"), "{what}, start {start}: {said}");
                assert!(image(&data) == damaged, "{what}: start {start} changed something");
            }
        }
    }
}

/// What is torn by an unclean stop was never acknowledged: it is removed with a line that names it, and all is served.
#[test]
fn a_torn_end_of_the_metadata_log_is_named_and_removed() {
    let Some(mut broker) = with_topics("metadata-torn", false) else { return };
    let path = broker.data_dir().join(METADATA);
    let log = fs::read(&path).expect("the log");
    let end = batches(&log).last().expect("a batch").1;
    let torn = [&log[..end], &log[..40], &[0; 500]].concat();
    fs::write(&path, torn).expect("tear it");
    broker.restart();
    assert!(
        broker.log_tail().contains("the metadata log ends with a write that was cut off"),
        "{}",
        broker.log_tail()
    );
    let mut client = Client::connect(&broker);
    for topic in ["a", "b", "c"] {
        assert_eq!(client.list_offset(topic, 0, -1).expect("an answer"), Ok(1), "{topic}");
    }
}

/// One flipped bit in a partition of `__consumer_offsets`: the replay at the start ended there without a word, and every
/// group whose commits came later had none any more.
#[test]
fn a_damaged_commit_costs_its_group_only_and_is_named() {
    if Kind::under_test() != Kind::Ottla {
        return;
    }
    let mut broker = Broker::start("group-damage", &[("offsets.topic.num.partitions", "1")]);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("t", 1).expect("create"), code::NONE);
    let hundred: Vec<&str> = vec!["x"; 100];
    client.produce("t", 0, -1, &Batch::plain(&hundred).encode()).expect("produce");
    client.find_coordinator("first").expect("an answer");
    let commit = |client: &mut Client, group: &str, offset: i64| {
        poll::until("a commit", PATIENCE, || {
            (client.commit(group, "t", 0, offset).ok()? == code::NONE).then_some(())
        });
    };
    commit(&mut client, "before", 3);
    commit(&mut client, "first", 4);
    commit(&mut client, "first", 5);
    for offset in 0..40 {
        commit(&mut client, "after", offset);
    }
    broker.stop();
    let data = broker.data_dir();
    let whole = image(&data);
    let path = data.join("__consumer_offsets-0/00000000000000000000.log");
    let log = fs::read(&path).expect("the log");
    let of_first: Vec<_> = batches(&log)
        .into_iter()
        .filter(|(from, to)| log[*from..*to].windows(5).any(|w| w == b"first"))
        .collect();
    let (from, to) = *of_first.last().expect("the group's last commit");
    let places = [
        ("its value", to - 20),
        ("its key", from + 70),
        ("the length", from + 11),
        ("lastOffsetDelta", from + 26),
    ];
    for (what, at) in places {
        restore(&data, &whole);
        let mut damaged = log.clone();
        damaged[at] ^= 4;
        fs::write(&path, &damaged).expect("damage it");
        for start in 1..=2 {
            broker.restart();
            let mut client = Client::connect(&broker);
            let mut committed = |group: &str| {
                poll::until("the group's offset", PATIENCE, || client.committed(group, "t", 0).ok()?.ok())
            };
            assert_eq!((committed("before"), committed("after")), (3, 39), "{what}, start {start}");
            let first = committed("first");
            assert_eq!(first, 4, "{what}, start {start}: the commit before it holds again");
            let said = broker.log_tail();
            assert!(said.contains(&format!("damaged at byte {from}")), "{what}, start {start}: {said}");
            broker.stop();
            assert!(fs::read(&path).expect("the log").starts_with(&damaged[..to]), "{what}: rewritten");
        }
    }
}

/// Segments of about 1 MiB with one record in each batch, cleanly stopped; gives the segments' base offsets.
fn with_segments(name: &str, settings: &[(&str, &str)]) -> Option<(Broker, Vec<i64>)> {
    if Kind::under_test() != Kind::Ottla {
        return None;
    }
    let settings = [settings, &[("log.segment.bytes", "1048576")]].concat();
    let mut broker = Broker::start(name, &settings);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("t", 1).expect("create"), code::NONE);
    for offset in 0..RECORDS {
        let batch = Batch { timestamp: TIME + offset * 1000, ..Batch::plain(&[&value(offset)]) };
        let produced = client.produce("t", 0, -1, &batch.encode()).expect("produce");
        assert_eq!(produced, (code::NONE, offset));
    }
    broker.stop();
    let names =
        fs::read_dir(broker.data_dir().join("t-0")).expect("list").map(|e| e.expect("an entry").file_name());
    let names = names.filter_map(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
    let mut bases: Vec<i64> = names.collect();
    bases.sort_unstable();
    assert!(bases.len() >= 3, "{bases:?}");
    Some((broker, bases))
}

const RECORDS: i64 = 300;
const TIME: i64 = 1_700_000_000_000;

fn value(offset: i64) -> String {
    format!("{offset:06}{}", "x".repeat(9_000))
}

fn segment(broker: &Broker, base: i64, kind: &str) -> PathBuf {
    broker.data_dir().join(format!("t-0/{base:020}.{kind}"))
}

/// Fetches every offset by itself; gives those whose record does not come, and the error codes.
fn unreadable(broker: &Broker, offsets: impl Iterator<Item = i64>) -> Vec<(i64, i16)> {
    let mut client = Client::connect(broker);
    let mut missing = Vec::new();
    for offset in offsets {
        let (error, _, bytes) = client.fetch("t", 0, offset).expect("an answer");
        let first = bytes.get(..8).map(|b| i64::from_be_bytes(b.try_into().expect("8 bytes")));
        let right = first == Some(offset) && bytes.windows(6).any(|w| w == &value(offset).as_bytes()[..6]);
        if !right {
            missing.push((offset, error));
        }
    }
    missing
}

/// A flipped bit in a batch's header failed the whole read, so that hundreds of whole batches before it were withheld for
/// ever; a flipped `lastOffsetDelta` in a segment's last batch made a run in the cache claim all of the next segment, where
/// fetches were then answered with no bytes. Nothing was said.
#[test]
fn a_damaged_header_costs_its_batch_only_and_is_named() {
    let Some((mut broker, bases)) = with_segments("header-damage", &[]) else { return };
    let data = broker.data_dir();
    let whole = image(&data);
    let log = fs::read(segment(&broker, bases[1], "log")).expect("the log");
    let found = batches(&log);
    let last = found.len() - 1;
    // A field's byte, and which batch: the base offset, the length, the magic byte, lastOffsetDelta.
    let cases = [(3, 40), (7, 40), (8, 40), (10, 40), (16, 40), (23, last), (26, 40), (7, last), (25, 0)];
    for (field, which) in cases {
        restore(&data, &whole);
        let mut damaged = log.clone();
        damaged[found[which].0 + field] ^= 0x10;
        fs::write(segment(&broker, bases[1], "log"), &damaged).expect("damage it");
        broker.restart();
        let hit = bases[1] + which as i64;
        // First as a consumer that reads on from before, then each offset by itself, backwards.
        let mut client = Client::connect(&broker);
        let mut at = bases[1] - 3;
        while at < hit {
            let (error, _, bytes) = client.fetch("t", 0, at).expect("an answer");
            assert_eq!(error, code::NONE, "byte {field} of batch {which}: at {at} before {hit}");
            at += batches(&bytes).len() as i64;
            assert!(!bytes.is_empty(), "byte {field} of batch {which}: nothing at {at}");
        }
        let missing = unreadable(&broker, (bases[0]..RECORDS).rev());
        assert!(
            missing.iter().all(|(offset, _)| *offset == hit),
            "byte {field} of batch {which}: {missing:?}, hit {hit}"
        );
        if let Some((_, error)) = missing.first() {
            assert_eq!(*error, 2, "CORRUPT_MESSAGE, byte {field} of batch {which}");
            let said = broker.log_tail();
            let said = &said[said.rfind("ready on").unwrap_or(0)..];
            let named = format!("is damaged at byte {}", found[which].0);
            assert_eq!(said.matches(&named).count(), 1, "byte {field} of batch {which}: {said}");
        }
        broker.stop();
        assert!(fs::read(segment(&broker, bases[1], "log")).expect("the log") == damaged, "it was changed");
    }
}

/// A flipped entry of an index was answered with an error for ever, or with records behind the ones that were asked for.
#[test]
fn a_damaged_index_is_built_anew() {
    let Some((mut broker, bases)) = with_segments("index-damage", &[("log.index.interval.bytes", "20000")])
    else {
        return;
    };
    let data = broker.data_dir();
    let whole = image(&data);
    for (kind, entry, fields) in
        [("index", 8, vec![0, 2, 3, 4, 6, 7]), ("timeindex", 12, vec![0, 5, 6, 7, 8, 10, 11])]
    {
        let index = fs::read(segment(&broker, bases[1], kind)).expect("the index");
        let middle = index.len() / entry / 2 * entry;
        for field in fields {
            restore(&data, &whole);
            let mut damaged = index.clone();
            damaged[middle + field] ^= 1;
            fs::write(segment(&broker, bases[1], kind), damaged).expect("damage it");
            broker.restart();
            let missing = unreadable(&broker, (bases[1]..bases[2]).rev().step_by(3));
            assert!(missing.is_empty(), "{kind}, byte {field}: {missing:?}");
            let mut client = Client::connect(&broker);
            for offset in bases[1]..bases[2] {
                let found = client.list_offset("t", 0, TIME + offset * 1000).expect("an answer");
                assert_eq!(found, Ok(offset), "{kind}, byte {field}");
            }
            broker.stop();
        }
    }
}

/// A partition that could not be opened after a kill was no reason for the stop not to count as clean: the next start believed
/// what was never checked.
#[test]
fn a_partition_that_could_not_be_opened_makes_the_stop_unclean() {
    let Some((mut broker, bases)) = with_segments("unopened", &[]) else { return };
    broker.restart();
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("other", 1).expect("create"), code::NONE);
    client.produce("other", 0, -1, &Batch::plain(&["one"]).encode()).expect("produce");
    broker.kill9();
    // All of it is checked at the next start, and an index that cannot be written ends that.
    for file in ["recovery-point-offset-checkpoint", "ottla-checkpoint", "t-0/leader-epoch-checkpoint"] {
        let _ = fs::remove_file(broker.data_dir().join(file));
    }
    let index = segment(&broker, bases[0], "index");
    fs::remove_file(&index).expect("remove the index");
    fs::create_dir(&index).expect("put a directory there");
    broker.restart();
    let mut client = Client::connect(&broker);
    assert_eq!(client.list_offset("other", 0, -1).expect("an answer"), Ok(1));
    broker.stop_with(4);
    assert!(!broker.data_dir().join(".kafka_cleanshutdown").exists());
    fs::remove_dir(&index).expect("remove the directory");
    broker.restart();
    let missing = unreadable(&broker, (0..RECORDS).step_by(7));
    assert!(missing.is_empty(), "{missing:?}");
}

/// What stands beside the partitions: without it, or with a flipped bit in it, everything is served all the same.
#[test]
fn damaged_checkpoints_cost_nothing() {
    for clean in [true, false] {
        let Some(mut broker) = with_topics("checkpoint-damage", clean) else { return };
        let data = broker.data_dir();
        let whole = image(&data);
        let files = [
            ".kafka_cleanshutdown",
            "recovery-point-offset-checkpoint",
            "log-start-offset-checkpoint",
            "replication-offset-checkpoint",
            "a-0/partition.metadata",
            "a-0/leader-epoch-checkpoint",
        ];
        for file in files.map(Path::new) {
            let Some(bytes) = whole.get(file) else { continue };
            let mut cases = vec![("deleted", None), ("emptied", Some(Vec::new()))];
            if let Some(byte) = bytes.first() {
                cases.push(("flipped", Some([&[byte ^ 2], &bytes[1..]].concat())));
            }
            for (what, bytes) in cases {
                restore(&data, &whole);
                match bytes {
                    Some(bytes) => fs::write(data.join(file), bytes).expect("damage it"),
                    None => fs::remove_file(data.join(file)).expect("remove it"),
                }
                broker.restart();
                let mut client = Client::connect(&broker);
                for topic in ["a", "b", "c"] {
                    let end = client.list_offset(topic, 0, -1).expect("an answer");
                    assert_eq!(end, Ok(1), "{topic}: {} {what}, clean {clean}", file.display());
                    let (error, _, bytes) = client.fetch(topic, 0, 0).expect("an answer");
                    assert_eq!((error, bytes.is_empty()), (code::NONE, false), "{} {what}", file.display());
                }
                broker.stop();
            }
        }
    }
}

/// What a start with a damaged file has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// Exit code 3, the file named, and no byte changed.
    Refuse,
    /// Everything is served, and a line names the file.
    Name,
    /// Everything is served.
    Serve,
}

/// A damage, and what is left of the file.
type Way = (String, Option<Vec<u8>>);

/// Every damage that does not depend on what is in the file.
fn ways(bytes: &[u8]) -> Vec<Way> {
    let mut ways = Vec::new();
    for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 2] {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 4;
        ways.push((format!("a bit of byte {at}"), Some(flipped)));
    }
    for len in [0, bytes.len() / 2, bytes.len() - 2] {
        ways.push((format!("cut to {len}"), Some(bytes[..len].to_vec())));
    }
    ways.push(("zeroed".to_owned(), Some(vec![0; bytes.len()])));
    ways
}

/// Damages a file, starts twice, and looks whether that was right.
fn judge(
    broker: &mut Broker,
    whole: &BTreeMap<PathBuf, Vec<u8>>,
    file: &Path,
    bytes: Option<Vec<u8>>,
    right: Right,
    what: &str,
) {
    let data = broker.data_dir();
    restore(&data, whole);
    match bytes {
        Some(bytes) => fs::write(data.join(file), bytes).expect("damage it"),
        None => fs::remove_file(data.join(file)).expect("remove it"),
    }
    let what = format!("{} {what}: {right:?}", file.display());
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let damaged = image(&data);
    for start in 1..=2 {
        if right == Right::Refuse {
            let (exit, said) = broker.restart_refused();
            assert_eq!(exit, Some(3), "{what}, start {start}: {said}");
            assert!(said.contains(&name), "{what}, start {start}: {said}");
            assert!(image(&data) == damaged, "{what}: start {start} changed something");
            continue;
        }
        broker.restart();
        let said = broker.last_start();
        if right == Right::Name && start == 1 {
            assert!(said.contains(&name), "{what}: {said}");
        }
        let mut client = Client::connect(broker);
        for topic in ["a", "b", "c"] {
            let end = client.list_offset(topic, 0, -1).expect("an answer");
            assert_eq!(end, Ok(1), "{topic}: {what}, start {start}: {said}");
            let (error, _, bytes) = client.fetch(topic, 0, 0).expect("an answer");
            assert_eq!((error, bytes.is_empty()), (code::NONE, false), "{topic}: {what}, start {start}");
        }
        broker.stop();
    }
}

/// What stands beside the partitions and says what they are: refused with no byte changed, or everything is served and the
/// damage named.
#[test]
fn damage_to_what_a_start_reads_first_is_refused_or_named() {
    for clean in [true, false] {
        let Some(mut broker) = with_topics("first-files", clean) else { return };
        let data = broker.data_dir();
        fs::write(data.join("bootstrap.checkpoint"), "of another broker").expect("write");
        let whole = image(&data);
        let meta = Path::new("meta.properties");
        let text = String::from_utf8(whole[meta].clone()).expect("text");
        let id = text.lines().find_map(|line| line.strip_prefix("directory.id=")).expect("an id");
        let other = format!("{}{}", if id.starts_with('A') { 'B' } else { 'A' }, &id[1..]);
        for (from, to, right) in [
            ("node.id=1", "node.id=3", Right::Refuse),
            ("node.id=1", "node.id=q", Right::Refuse),
            ("node.id", "node.ie", Right::Refuse),
            ("version=1", "version=5", Right::Refuse),
            ("cluster.id", "cluster.ie", Right::Refuse),
            ("directory.id=", "directory.id=!", Right::Refuse),
            ("directory.id", "directory.ie", Right::Refuse),
            // The metadata say which directory is the voter's.
            (id, other.as_str(), Right::Refuse),
            // Nothing else says which cluster it was: served, as by Apache Kafka.
            ("cluster.id=", "cluster.id=A", Right::Serve),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            judge(
                &mut broker,
                &whole,
                meta,
                Some(changed.into_bytes()),
                right,
                &format!("{to}, clean {clean}"),
            );
        }
        for (what, bytes) in
            [("emptied", Some(Vec::new())), ("zeroed", Some(vec![0; text.len()])), ("deleted", None)]
        {
            judge(&mut broker, &whole, meta, bytes, Right::Refuse, &format!("{what}, clean {clean}"));
        }
        let own = Path::new("ottla-checkpoint");
        for (what, bytes) in ways(&whole[own]) {
            judge(&mut broker, &whole, own, bytes, Right::Name, &format!("{what}, clean {clean}"));
        }
        // A directory of Apache Kafka, or of an older Ottla, has none.
        judge(&mut broker, &whole, own, None, Right::Serve, &format!("deleted, clean {clean}"));
        let bootstrap = Path::new("bootstrap.checkpoint");
        judge(
            &mut broker,
            &whole,
            bootstrap,
            Some(vec![0; 17]),
            Right::Serve,
            &format!("zeroed, clean {clean}"),
        );
    }
}

/// The newest snapshot of the metadata, damaged: where the log goes back to the beginning, or to an older snapshot, they hold
/// all of it, which is served, and the damage is named. Otherwise nothing is.
#[test]
fn a_damaged_metadata_snapshot_is_refused_unless_all_it_holds_is_elsewhere() {
    if Kind::under_test() != Kind::Ottla {
        return;
    }
    for (retained, right) in [("104857600", Right::Name), ("1", Right::Refuse)] {
        for clean in [true, false] {
            let settings = [
                ("offsets.topic.num.partitions", "1"),
                ("metadata.log.max.record.bytes.between.snapshots", "3000"),
                ("metadata.max.retention.bytes", retained),
            ];
            let mut broker = Broker::start("snapshot-damage", &settings);
            let data = broker.data_dir();
            let mut client = Client::connect(&broker);
            for topic in ["a", "b", "c"] {
                assert_eq!(client.create_topic(topic, 1).expect("create"), code::NONE);
                let produced =
                    client.produce(topic, 0, -1, &Batch::plain(&[topic]).encode()).expect("produce");
                assert_eq!(produced, (code::NONE, 0));
            }
            let mut made = 0;
            let metadata = Path::new("__cluster_metadata-0");
            let snapshots = || -> Vec<PathBuf> {
                let names = fs::read_dir(data.join(metadata)).expect("list");
                let names = names.map(|entry| metadata.join(entry.expect("an entry").file_name()));
                let mut found: Vec<_> =
                    names.filter(|name| name.extension() == Some("checkpoint".as_ref())).collect();
                found.sort_unstable();
                found
            };
            poll::until(&format!("snapshots, {right:?}, clean {clean}"), PATIENCE, || {
                made += 1;
                client.create_topic(&format!("more-{made}"), 4).expect("create");
                match right {
                    Right::Refuse => snapshots().len() == 1 && !data.join(METADATA).exists(),
                    Right::Name | Right::Serve => snapshots().len() > 1,
                }
                .then_some(())
            });
            if clean {
                broker.stop();
            } else {
                broker.kill9();
            }
            // The end may have come between a snapshot and the removal of the one before.
            let right = if snapshots().len() > 1 { Right::Name } else { right };
            let whole = image(&data);
            let newest = snapshots().pop().expect("a snapshot");
            for (what, bytes) in ways(&whole[&newest]) {
                judge(&mut broker, &whole, &newest, bytes, right, &format!("{what}, clean {clean}"));
            }
            if right == Right::Name {
                judge(&mut broker, &whole, &newest, None, Right::Serve, &format!("deleted, clean {clean}"));
            } else {
                restore(&data, &whole);
                fs::remove_file(data.join(&newest)).expect("remove it");
                let (exit, said) = broker.restart_refused();
                assert_eq!(exit, Some(3), "deleted, clean {clean}: {said}");
            }
        }
    }
}
