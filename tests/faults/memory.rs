//! Connections that make the broker keep what they do not take, or do not send what they began.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::support::broker::Broker;
use crate::support::poll;
use crate::support::raw::{self, Client, Reader, Writer, code};
use crate::support::records::Batch;

const MIB: u64 = 1 << 20;

fn one_record(bytes: usize) -> Vec<u8> {
    Batch::plain(&[&"x".repeat(bytes)]).encode()
}

/// Sends as much as the broker takes in.
fn stuff(stream: &TcpStream, bytes: &[u8]) {
    stream.set_nonblocking(true).expect("set nonblocking");
    let mut sent = 0;
    while sent < bytes.len() {
        match (&mut &*stream).write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
}

fn fetch_body(topic: &str, offset: i64, max_wait_ms: i32, min_bytes: i32) -> Vec<u8> {
    let head = Writer::default().i32(-1).i32(max_wait_ms).i32(min_bytes).i32(1_100_000).i8(0);
    head.i32(1).string(topic).i32(1).i32(0).i64(offset).i32(1_100_000).0
}

/// The offset of a batch, once its partition has a leader.
fn produce_when_led(client: &mut Client, topic: &str, partition: i32, batch: &[u8]) -> i64 {
    poll::until("a leader", Duration::from_secs(30), || {
        let (error, offset) = client.produce(topic, partition, 1, batch).unwrap();
        (error == code::NONE).then_some(offset)
    })
}

/// A topic with so many records of a million bytes each.
fn fill(broker: &Broker, topic: &str, records: usize) {
    let mut client = Client::connect(broker);
    assert_eq!(client.create_topic(topic, 1).unwrap(), code::NONE);
    let batch = one_record(1_000_000);
    for _ in 0..records {
        assert!(produce_when_led(&mut client, topic, 0, &batch) >= 0);
    }
}

/// Other clients are answered, which is counted and not timed.
fn others_are_served(broker: &Broker) {
    let mut other = Client::connect(broker);
    for _ in 0..300 {
        assert!(!other.api_versions().expect("others are served").is_empty());
    }
}

fn returns_below(broker: &Broker, bytes: u64, what: &str) {
    let back = poll::within(Duration::from_secs(30), || (broker.resident_bytes() <= bytes).then_some(()));
    assert!(back.is_some(), "{what}: {} MiB stay", broker.resident_bytes() / MIB);
}

/// 147 KB of pipelined Fetches with nothing read made 2.5 GB: budgets kept bytes from being read from the socket, but every
/// request that had been read was served. And what other cores had freed was never unmapped.
#[test]
fn pipelined_fetches_that_nobody_reads_hold_one_budget() {
    let broker = Broker::start("memory-fetches", &[]);
    fill(&broker, "fetched", 100);
    let before = broker.resident_bytes();
    let burst: Vec<u8> = (0..1500)
        .flat_map(|i| raw::frame(1, 4, i, &fetch_body("fetched", i64::from(i) % 100, 0, 1)))
        .collect();
    let hogs: Vec<TcpStream> = (0..3).map(|_| broker.connect()).collect();
    for hog in &hogs {
        stuff(hog, &burst);
    }
    others_are_served(&broker);
    let grown = poll::within(Duration::from_secs(3), || {
        (broker.resident_bytes() > before + 160 * MIB).then(|| broker.resident_bytes())
    });
    assert!(grown.is_none(), "{} MiB", grown.unwrap_or_default() / MIB);
    drop(hogs);
    others_are_served(&broker);
}

/// Five connections with pipelined whole-cluster Metadata made 3.9 GB, and others waited for 38 s.
#[test]
fn pipelined_metadata_that_nobody_reads_holds_one_budget() {
    let broker = Broker::start("memory-metadata", &[]);
    assert_eq!(Client::connect(&broker).create_topic("wide", 1000).unwrap(), code::NONE);
    let before = broker.resident_bytes();
    let burst = raw::frame(3, 1, 1, &Writer::default().i32(-1).0).repeat(6000);
    let hogs: Vec<TcpStream> = (0..5).map(|_| broker.connect()).collect();
    for hog in &hogs {
        stuff(hog, &burst);
    }
    others_are_served(&broker);
    assert!(broker.resident_bytes() < before + 64 * MIB, "{} MiB", broker.resident_bytes() / MIB);
    drop(hogs);
    returns_below(&broker, before + 48 * MIB, "after the burst");
}

/// After 800 well-behaved consumers 445 MB stayed, counted as in use, and the cache was small for good.
#[test]
fn memory_comes_back_after_many_consumers() {
    let broker = Broker::start("memory-consumers", &[("ottla.core.cache.bytes", "16777216")]);
    fill(&broker, "consumed", 120);
    let mut consumers: Vec<Client> = (0..600).map(|_| Client::connect(&broker)).collect();
    for round in 0..4 {
        let asked: Vec<i32> = consumers
            .iter_mut()
            .enumerate()
            .map(|(i, c)| c.send(1, 4, &fetch_body("consumed", (i as i64 * 3 + round) % 120, 0, 1)).unwrap())
            .collect();
        for (consumer, correlation) in consumers.iter_mut().zip(asked) {
            assert!(consumer.receive(correlation).unwrap().len() > 1_000_000);
        }
    }
    drop(consumers);
    returns_below(&broker, 110 * MIB, "after the consumers");
    // What is asked for again and again is in the cache again.
    let mut client = Client::connect(&broker);
    let mut pass = || {
        for offset in 0..6 {
            assert!(client.call(1, 4, &fetch_body("consumed", offset, 0, 1)).unwrap().len() > 1_000_000);
        }
        disk_bytes_read(&broker)
    };
    let cached = poll::within(Duration::from_secs(30), || (pass() == pass()).then_some(()));
    assert!(cached.is_some(), "every pass reads from the disk");
}

/// What the broker has had the disk read.
fn disk_bytes_read(broker: &Broker) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", broker.pid())).expect("read io");
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")).expect("a read_bytes line");
    line.parse().expect("a number")
}

/// 400 uploads that stood still kept everyone's requests of 1 MB from being received for half a minute and longer.
#[test]
fn uploads_that_stand_still_do_not_keep_others_from_theirs() {
    let small = [("socket.request.max.bytes", "4194304"), ("ottla.core.buffer.bytes", "8388608")];
    let broker = Broker::start("memory-uploads", &small);
    fill(&broker, "uploaded", 1);
    let stalled: Vec<TcpStream> = (0..80).map(|_| broker.connect()).collect();
    let mut part = Writer::default().i32(4_000_000).i16(0).i16(9).i32(1).0;
    part.resize(400_000, 0);
    for stream in &stalled {
        stuff(stream, &part);
    }
    others_are_served(&broker);
    let batch = one_record(1_000_000);
    let mut producers: Vec<Client> = (0..4).map(|_| Client::connect(&broker)).collect();
    for producer in &mut producers {
        for _ in 0..5 {
            assert_eq!(producer.produce("uploaded", 0, 1, &batch).expect("others upload").0, code::NONE);
        }
    }
}

/// A client that closed its sending direction after its requests lost the replies.
#[test]
fn half_closed_connections_get_their_replies() {
    let broker = Broker::start("memory-half-closed", &[]);
    fill(&broker, "half", 1);
    let mut stream = broker.connect();
    let mut requests = raw::frame(18, 0, 1, &[]);
    requests.extend(raw::frame(1, 4, 2, &fetch_body("half", 0, 0, 1)));
    // A long poll is answered with what there is, as nothing tells this client from one that is gone.
    requests.extend(raw::frame(1, 4, 3, &fetch_body("half", 1, i32::MAX, 1)));
    requests.extend(raw::frame(18, 0, 4, &[]));
    stream.write_all(&requests).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let (mut reader, mut answered) = (Reader(&all), Vec::new());
    while !reader.0.is_empty() {
        answered.push(Reader(reader.bytes()).i32());
    }
    assert_eq!(answered, [1, 2, 3, 4]);
}

/// A transfer that took longer than `connections.max.idle.ms` was cut off.
#[test]
fn slow_transfers_are_not_idle() {
    let broker = Broker::start("memory-slow", &[("connections.max.idle.ms", "1000")]);
    fill(&broker, "slow", 8);
    let batch = one_record(900_000);
    let request = raw::frame(0, 3, 5, &Client::produce_body("slow", 0, 1, &batch));
    let mut up = broker.connect();
    let mut pieces = request.chunks(6_000);
    let _: Option<()> = poll::within(Duration::from_secs(30), || {
        let Some(piece) = pieces.next() else { return Some(()) };
        up.write_all(piece).expect("the upload goes on");
        None
    });
    let mut head = [0; 8];
    up.read_exact(&mut head).expect("an answer");
    assert_eq!(head[4..], 5i32.to_be_bytes());

    let mut down = broker.connect();
    let body = Writer::default().i32(-1).i32(0).i32(1).i32(50 << 20).i8(0);
    let body = body.i32(1).string("slow").i32(1).i32(0).i64(0).i32(50 << 20).0;
    down.write_all(&raw::frame(1, 4, 6, &body)).unwrap();
    let mut length = [0; 4];
    down.read_exact(&mut length).unwrap();
    let mut left = i32::from_be_bytes(length) as usize;
    assert!(left > 7_000_000);
    let mut piece = vec![0; 40_000];
    let done = poll::within(Duration::from_mins(1), || {
        let n = down.read(&mut piece).expect("the download goes on");
        assert!(n > 0, "closed with {left} bytes left");
        left -= n;
        (left == 0).then_some(())
    });
    assert!(done.is_some());
}

/// Java decodes what is no UTF-8 with replacement characters; here the connection was closed.
#[test]
fn a_client_id_may_be_any_bytes() {
    let broker = Broker::start("memory-client-id", &[]);
    for (api, version, tags) in [(18i16, 0i16, &[][..]), (18, 3, &[0, 2, b'x', 2, b'1', 0])] {
        let mut stream = broker.connect();
        let mut request = Writer::default().i16(api).i16(version).i32(9).i16(3).0;
        request.extend([0xff, b'a', 0xc0]);
        request.extend(tags);
        stream.write_all(&Writer::default().bytes(&request).0).unwrap();
        let mut head = [0; 8];
        stream.read_exact(&mut head).expect("an answer");
        assert_eq!(head[4..], 9i32.to_be_bytes(), "version {version}");
    }
}

/// Isolation levels there are not, and sizes below zero, were served.
#[test]
fn fetches_with_impossible_fields_are_refused() {
    let broker = Broker::start("memory-fields", &[]);
    fill(&broker, "fields", 1);
    let mut client = Client::connect(&broker);
    let mut error = |max_bytes: i32, isolation: i8, partition_bytes: i32, epoch: i32| {
        let head = Writer::default().i32(-1).i32(0).i32(1).i32(max_bytes).i8(isolation).i32(0).i32(-1);
        let topic = head.i32(1).string("fields").i32(1).i32(0).i32(epoch).i64(0).i64(-1).i32(partition_bytes);
        let answer = client.call(1, 11, &topic.i32(0).string("").0).unwrap();
        let mut reader = Reader(&answer);
        let (_throttle, error, _session, topics) = (reader.i32(), reader.i16(), reader.i32(), reader.i32());
        assert_eq!(topics, 1);
        let _topic = (reader.string(), reader.i32(), reader.i32());
        (error, reader.i16())
    };
    assert_eq!(error(1 << 20, 0, 1 << 20, -1), (0, 0));
    assert_eq!(error(1 << 20, 2, 1 << 20, -1), (-1, -1));
    assert_eq!(error(1 << 20, -1, 1 << 20, -1), (-1, -1));
    assert_eq!(error(-1, 0, 1 << 20, -1), (0, -1));
    assert_eq!(error(1 << 20, 0, -5, -1), (0, -1));
    assert_eq!(error(1 << 20, 1, 1 << 20, i32::MIN), (0, 0), "as if there were none");
}

/// The batches in a Fetch response of version 4, by partition: error and bytes.
fn fetched(answer: &[u8]) -> Vec<(i32, i16, usize)> {
    let mut reader = Reader(answer);
    let _throttle = reader.i32();
    assert_eq!(reader.i32(), 1, "topics");
    let _topic = reader.string();
    let partition = |reader: &mut Reader<'_>| {
        let (index, error) = (reader.i32(), reader.i16());
        let _offsets = (reader.i64(), reader.i64());
        for _ in 0..reader.i32().max(0) {
            let _aborted = (reader.i64(), reader.i64());
        }
        (index, error, reader.bytes().len())
    };
    (0..reader.i32()).map(|_| partition(&mut reader)).collect()
}

fn fetch_all(
    client: &mut Client,
    topic: &str,
    partitions: i32,
    sizes: [i32; 2],
    wait: [i32; 2],
) -> Vec<(i32, i16, usize)> {
    let [max_bytes, partition_max_bytes] = sizes;
    let [max_wait_ms, min_bytes] = wait;
    let head = Writer::default().i32(-1).i32(max_wait_ms).i32(min_bytes).i32(max_bytes).i8(0);
    let topic = head.i32(1).string(topic).i32(partitions);
    let body = (0..partitions).fold(topic, |body, p| body.i32(p).i64(0).i32(partition_max_bytes)).0;
    fetched(&client.call(1, 4, &body).unwrap())
}

/// Each core gave its first batch though it was larger than the limit, so that a response was as many times too large as
/// there were cores.
#[test]
fn one_first_batch_of_a_response_may_be_too_large() {
    let broker = Broker::start("memory-first-batch", &[("ottla.cores", "2")]);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("first", 12).unwrap(), code::NONE);
    let batch = one_record(20_000);
    for partition in 0..12 {
        produce_when_led(&mut client, "first", partition, &batch);
    }
    let one = batch.len();
    for (sizes, expected) in [
        ([1 << 20, 10], 1),
        ([10, 1 << 20], 1),
        ([0, 0], 1),
        ([10, 10], 1),
        ([3 * one as i32, 1 << 20], 3),
        ([3 * one as i32 - 1, 1 << 20], 2),
        ([1 << 20, one as i32], 12),
    ] {
        let all = fetch_all(&mut client, "first", 12, sizes, [0, 1]);
        let given: Vec<_> = all.iter().filter(|(_, _, bytes)| *bytes > 0).collect();
        assert_eq!((all.len(), given.len()), (12, expected), "{sizes:?}: {all:?}");
        assert!(all.iter().all(|(_, error, _)| *error == code::NONE), "{all:?}");
    }
}

/// Sizes below zero are an error where there is something to read, as in Kafka, and only there; and no request waits for
/// more bytes than it takes.
#[test]
fn a_fetch_of_less_than_nothing_fails_where_there_is_something() {
    let broker = Broker::start("memory-negative", &[]);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("negative", 3).unwrap(), code::NONE);
    let batch = one_record(100);
    produce_when_led(&mut client, "negative", 1, &batch);
    let forever = [i32::MAX, i32::MAX];
    let mut errors = |sizes: [i32; 2]| {
        let all = fetch_all(&mut client, "negative", 3, sizes, forever);
        all.into_iter().map(|(_, error, bytes)| (error, bytes > 0)).collect::<Vec<_>>()
    };
    assert_eq!(errors([1 << 20, -1]), [(0, false), (-1, false), (0, false)]);
    // Only the first partition sees the limit of the response below zero; there is nothing in it.
    assert_eq!(errors([-1, 1 << 20]), [(0, false), (0, true), (0, false)]);
    assert_eq!(errors([10, 1 << 20]), [(0, false), (0, true), (0, false)], "as much as it takes");
}
