//! kill -9 under load: idempotent and plain producers with acks=all and a committing group go on while the broker is
//! killed at seeded points of their progress and started again on the same directory. In the end every idempotent
//! record is there exactly once and in order, every plain one at least once, and committed offsets never went back.
//!
//! `OTTLA_KILLS` sets the number of kills, `OTTLA_SEED` the seed.

mod support;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::broker::Broker;
use support::poll;
use support::raw::{Client, code};
use support::records::{self, Batch};

const IDEMPOTENT: (&str, i32) = ("idempotent", 4);
const PLAIN: (&str, i32) = ("plain", 2);
/// Requests a producer sends before it waits for the first answer, as Kafka's own clients do.
const IN_FLIGHT: usize = 5;
/// How long a client goes on asking a broker that is down or not ready.
const PATIENCE: Duration = Duration::from_mins(2);

/// A generator for reproducible sizes and moments (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What the threads share.
struct Load {
    address: SocketAddr,
    stop: AtomicBool,
    acknowledged: AtomicU64,
}

impl Load {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// A connection to a broker whose partition answers; waits while it is down or starting.
    fn connect(&self, topic: &str, partition: i32) -> Client {
        poll::until("a broker that serves the partition", PATIENCE, || {
            let mut client = Client::open(self.address).ok()?;
            matches!(client.list_offset(topic, partition, -1), Ok(Ok(_))).then_some(client)
        })
    }
}

/// One batch on its way: the number of its first record and its bytes.
struct Sent {
    first: u64,
    records: u64,
    bytes: Vec<u8>,
}

/// A producer of the values 0, 1, 2, ... to one partition; after every disturbance it sends what is unacknowledged
/// again, in order. Returns how many values it has produced, all of them acknowledged.
fn produce(load: &Load, topic: &str, partition: i32, idempotent: bool, mut random: Random) -> u64 {
    let mut client = load.connect(topic, partition);
    let producer = idempotent.then(|| {
        poll::until("a producer id", PATIENCE, || {
            client.init_producer_id().ok().or_else(|| {
                client = load.connect(topic, partition);
                None
            })
        })
    });
    let depth = if idempotent { IN_FLIGHT } else { 1 };
    let (mut pending, mut next) = (VecDeque::<Sent>::new(), 0);
    let mut failures = 0;
    while !load.stopping() || !pending.is_empty() {
        while pending.len() < depth && !load.stopping() {
            let records = 1 + random.below(20);
            pending.push_back(batch(topic, partition, producer, next, records));
            next += records;
        }
        let result = round(&mut client, &mut pending, load);
        match result {
            Ok(code::NONE) => failures = 0,
            Ok(error) => {
                failures += 1;
                assert!(failures < 1000, "{topic}-{partition}: error {error} again and again");
                client = load.connect(topic, partition);
            }
            Err(_) => client = load.connect(topic, partition),
        }
    }
    next
}

fn batch(topic: &str, partition: i32, producer: Option<(i64, i16)>, first: u64, records: u64) -> Sent {
    let values: Vec<String> = (first..first + records).map(|n| format!("{topic}-{partition}-{n}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut batch = Batch::plain(&values);
    // Records with old timestamps would let the broker forget their producer (producer.id.expiration.ms) at a restart.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    batch.timestamp = now.as_millis() as i64;
    if let Some(producer) = producer {
        batch = batch.idempotent(producer, first as i32);
    }
    Sent { first, records, bytes: Client::produce_body(topic, partition, -1, &batch.encode()) }
}

/// Sends all pending batches at once and takes their answers in order, dropping what is acknowledged; returns the
/// first error code.
fn round(client: &mut Client, pending: &mut VecDeque<Sent>, load: &Load) -> io::Result<i16> {
    let mut correlations = Vec::new();
    for sent in pending.iter() {
        correlations.push(client.send(0, 3, &sent.bytes)?);
    }
    for correlation in correlations {
        let (error, offset) = client.receive_produced(correlation)?;
        match error {
            code::NONE | code::DUPLICATE_SEQUENCE_NUMBER => {
                let sent = pending.pop_front().expect("an answer for each request");
                assert!(offset >= -1, "offset {offset} of the batch from {}", sent.first);
                load.acknowledged.fetch_add(sent.records, Ordering::SeqCst);
            }
            error => return Ok(error),
        }
    }
    Ok(code::NONE)
}

/// Commits 1, 2, 3, ... for a group and looks at what is committed after every disturbance. Returns the last
/// acknowledged offset.
fn commit(load: &Load, group: &str) -> i64 {
    let (topic, partition) = (PLAIN.0, 0);
    let mut client = load.connect(topic, partition);
    let (mut acknowledged, mut attempted) = (0, 0);
    while !load.stopping() {
        attempted += 1;
        match client.commit(group, topic, partition, attempted) {
            Ok(code::NONE) => acknowledged = attempted,
            Ok(error) => {
                let waits = [
                    code::COORDINATOR_LOAD_IN_PROGRESS,
                    code::COORDINATOR_NOT_AVAILABLE,
                    code::NOT_COORDINATOR,
                    code::UNKNOWN_TOPIC_OR_PARTITION,
                ];
                assert!(waits.contains(&error), "OffsetCommit: error {error}");
                client = load.connect(topic, partition);
            }
            Err(_) => {
                client = load.connect(topic, partition);
                let found = committed(load, group);
                assert!(
                    (acknowledged..=attempted).contains(&found),
                    "committed {found}, acknowledged {acknowledged}, attempted {attempted}"
                );
                acknowledged = found;
            }
        }
    }
    acknowledged
}

/// The committed offset, asked until the coordinator answers; 0 when nothing is committed.
fn committed(load: &Load, group: &str) -> i64 {
    poll::until("the committed offset", PATIENCE, || {
        let mut client = Client::open(load.address).ok()?;
        let _ = client.find_coordinator(group).ok()?;
        let found = client.committed(group, PLAIN.0, 0).ok()?.ok()?;
        Some(found.max(0))
    })
}

/// Every value of a partition in the order of its offsets, which must be dense.
fn read(load: &Load, topic: &str, partition: i32) -> Vec<u64> {
    let mut client = load.connect(topic, partition);
    let end = client.list_offset(topic, partition, -1).expect("ListOffsets").expect("an end offset");
    let prefix = format!("{topic}-{partition}-");
    let mut values = Vec::new();
    let mut offset = 0;
    while offset < end {
        let (error, _, bytes) = client.fetch(topic, partition, offset).expect("Fetch");
        assert_eq!(error, code::NONE, "Fetch at {offset}");
        let batches = records::decode(&bytes);
        assert!(!batches.is_empty(), "no batch at {offset} of {end}");
        for batch in batches {
            assert_eq!(batch.base_offset, offset, "dense offsets in {topic}-{partition}");
            for (_, value) in &batch.records {
                let text = String::from_utf8(value.clone().expect("a value")).expect("UTF-8");
                let number = text.strip_prefix(&prefix).and_then(|n| n.parse().ok());
                values
                    .push(number.unwrap_or_else(|| panic!("a foreign value in {topic}-{partition}: {text}")));
            }
            offset += batch.records.len() as i64;
        }
    }
    values
}

fn verify(load: &Load, produced: &[(&'static str, i32, u64)], group: &str, acknowledged: i64) {
    for &(topic, partition, count) in produced {
        let values = read(load, topic, partition);
        if topic == IDEMPOTENT.0 {
            let wrong = values.iter().enumerate().find(|(index, value)| *index as u64 != **value);
            assert!(
                wrong.is_none() && values.len() as u64 == count,
                "{topic}-{partition}: {} values of {count}, the first wrong one (place, value): {wrong:?}",
                values.len()
            );
        } else {
            // A value that was sent again may stand twice, and what followed it too, but first times are in order.
            let mut next = 0;
            for value in values {
                assert!(value <= next, "{topic}-{partition}: {value} before {next}");
                next = next.max(value + 1);
            }
            assert_eq!(next, count, "{topic}-{partition}: all values are there");
        }
    }
    assert!(committed(load, group) >= acknowledged, "the committed offset went back");
}

fn kill_under_load(kills: u64, seed: u64) {
    println!("{kills} kills, seed {seed}");
    let mut random = Random(seed.max(1));
    let mut broker = Broker::start("kill9", &[("offsets.topic.num.partitions", "3")]);
    let mut client = Client::connect(&broker);
    for (topic, partitions) in [IDEMPOTENT, PLAIN] {
        assert_eq!(client.create_topic(topic, partitions).expect("CreateTopics"), code::NONE);
    }
    let load =
        Load { address: broker.address(), stop: AtomicBool::new(false), acknowledged: AtomicU64::new(0) };
    let group = "committers";
    assert_eq!(committed(&load, group), 0);
    let (produced, acknowledged) = std::thread::scope(|scope| {
        let load = &load;
        let stop_on_panic = StopOnDrop(load);
        let mut producers = Vec::new();
        for (topic, partitions) in [IDEMPOTENT, PLAIN] {
            for partition in 0..partitions {
                let random = Random(random.below(u64::MAX) | 1);
                let work = move || produce(load, topic, partition, topic == IDEMPOTENT.0, random);
                producers.push((topic, partition, scope.spawn(work)));
            }
        }
        let committer = scope.spawn(move || commit(load, group));
        for kill in 1..=kills {
            let goal = load.acknowledged.load(Ordering::SeqCst) + 200 + random.below(4000);
            poll::until("progress", PATIENCE, || {
                (load.acknowledged.load(Ordering::SeqCst) >= goal).then_some(())
            });
            broker.kill9();
            println!("kill {kill}: {} records acknowledged", load.acknowledged.load(Ordering::SeqCst));
            broker.restart();
        }
        let goal = load.acknowledged.load(Ordering::SeqCst) + 200;
        poll::until("progress", PATIENCE, || {
            (load.acknowledged.load(Ordering::SeqCst) >= goal).then_some(())
        });
        drop(stop_on_panic);
        let join = |(topic, partition, thread): (&'static str, i32, std::thread::ScopedJoinHandle<u64>)| {
            (topic, partition, thread.join().expect("a producer"))
        };
        let produced: Vec<_> = producers.into_iter().map(join).collect();
        (produced, committer.join().expect("the committer"))
    });
    verify(&load, &produced, group, acknowledged);
    // The same after one more kill without load, and after a clean stop.
    broker.kill9();
    broker.restart();
    verify(&load, &produced, group, acknowledged);
    broker.stop();
    broker.restart();
    verify(&load, &produced, group, acknowledged);
    broker.stop();
}

/// Ends the load when the test's own thread is done or panics; otherwise the scope would wait for it for ever.
struct StopOnDrop<'a>(&'a Load);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    kill_under_load(number("OTTLA_KILLS", 3), number("OTTLA_SEED", 1));
}

#[test]
#[ignore = "fifty kills take minutes"]
fn fifty_kills() {
    kill_under_load(50, number("OTTLA_SEED", 50));
}
