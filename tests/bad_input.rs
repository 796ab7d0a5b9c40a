//! What a broker must survive from the network: each bad client is answered with Kafka's error code or
//! disconnected, a good client on another connection goes on, and memory stays within its budget.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use support::broker::{Broker, Kind};
use support::poll;
use support::raw::{Client, Reader, Writer, code, frame};
use support::records::{self, Batch};

/// Request frames larger than this are refused in these tests.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// Growth of resident memory allowed for the clients that flood.
const GROWTH_BYTES_MAX: u64 = 192 << 20;

fn start(name: &str) -> (Broker, Good) {
    // The records have fixed timestamps of long ago, which retention must not see.
    let properties =
        [("socket.request.max.bytes", &*FRAME_BYTES_MAX.to_string()), ("log.retention.ms", "-1")];
    let broker = Broker::start(name, &properties);
    let good = Good::new(&broker);
    (broker, good)
}

/// A client that behaves; what it produced must stay readable.
struct Good {
    client: Client,
    produced: i64,
}

impl Good {
    fn new(broker: &Broker) -> Good {
        let mut client = Client::connect(broker);
        assert_eq!(client.create_topic("good", 1).expect("CreateTopics"), code::NONE);
        let mut good = Good { client, produced: 0 };
        good.works(broker, "at first");
        good
    }

    /// Produces on its old connection and reads on a new one.
    fn works(&mut self, broker: &Broker, when: &str) {
        let batch = Batch::plain(&[when]).encode();
        let answer = poll::until("a produce that succeeds", Duration::from_secs(30), || {
            let answer = self.client.produce("good", 0, -1, &batch).unwrap_or_else(|e| panic!("{when}: {e}"));
            (answer.0 != code::UNKNOWN_TOPIC_OR_PARTITION && answer.0 != 6).then_some(answer)
        });
        assert_eq!(answer, (code::NONE, self.produced), "{when}");
        let (error, end, bytes) = Client::connect(broker).fetch("good", 0, self.produced).expect(when);
        self.produced += 1;
        assert_eq!((error, end), (code::NONE, self.produced), "{when}");
        let fetched = &records::decode(&bytes)[0];
        assert_eq!(fetched.records[0].1.as_deref(), Some(when.as_bytes()));
    }
}

/// Whether the broker ends the connection (end of stream or reset) before the read timeout.
#[track_caller]
fn assert_closed(stream: &mut TcpStream, what: &str) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return,
            Err(e) => panic!("{what}: not closed: {e}"),
        }
    }
}

/// Sends bytes on a fresh connection; a reset while sending is an answer too.
fn send(broker: &Broker, bytes: &[u8]) -> TcpStream {
    let mut stream = broker.connect();
    let _ = stream.write_all(bytes);
    stream
}

/// A small generator for reproducible garbage (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn frames_with_absurd_lengths_end_the_connection() {
    let (broker, mut good) = start("bad-lengths");
    let lengths =
        [-1, i32::MIN, i32::MAX, FRAME_BYTES_MAX as i32 + 1, 0x1603_0100, i32::from_be_bytes(*b"GET ")];
    for length in lengths {
        let mut stream = send(&broker, &Writer::default().i32(length).i64(0).0);
        assert_closed(&mut stream, &format!("length {length}"));
        good.works(&broker, &format!("after length {length}"));
    }
    // Too short for a header.
    for length in 0..8 {
        let mut stream = send(&broker, &Writer::default().i32(length).0[..]);
        let _ = stream.write_all(&vec![0; length as usize]);
        assert_closed(&mut stream, &format!("length {length}"));
    }
    good.works(&broker, "after short frames");
}

#[test]
fn a_tls_hello_and_other_protocols_end_the_connection() {
    let (broker, mut good) = start("bad-protocols");
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    hello.extend(Random(3).bytes(500));
    for (name, bytes) in [
        ("TLS", hello),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("PROXY", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec()),
    ] {
        assert_closed(&mut send(&broker, &bytes), name);
        good.works(&broker, name);
    }
}

#[test]
fn random_bytes_are_survived() {
    let (mut broker, mut good) = start("bad-random");
    let mut random = Random(0x0071_1a00_5eed);
    for round in 0..300_u32 {
        let count = random.next() as usize % 600;
        let mut bytes = random.bytes(count);
        if round % 3 > 0 && bytes.len() > 12 {
            // A frame that has a right length, and in every other one a known key and a version that exists.
            let length = (bytes.len() - 4) as i32;
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            if round % 3 == 2 {
                bytes[4..6].copy_from_slice(&(random.next() as i16).rem_euclid(93).to_be_bytes());
                bytes[6..8].copy_from_slice(&(random.next() as i16).rem_euclid(18).to_be_bytes());
            }
        }
        let mut stream = send(&broker, &bytes);
        let _ = stream.shutdown(Shutdown::Write);
        assert_closed(&mut stream, &format!("random bytes, round {round}"));
    }
    good.works(&broker, "after random bytes");
    assert!(broker.is_running());
}

#[test]
fn truncated_requests_of_every_api_are_survived() {
    let (mut broker, mut good) = start("bad-truncated");
    let versions = good.client.api_versions().expect("ApiVersions");
    for &(key, low, high) in &versions {
        for version in [low, high] {
            // A header and then nothing, a few zero bytes, or ones: every length field is wrong.
            for body in [&[][..], &[0; 3][..], &[0x7f; 24][..], &[0xff; 24][..]] {
                let mut stream = send(&broker, &frame(key, version, 7, body));
                let _ = stream.shutdown(Shutdown::Write);
                assert_closed(&mut stream, &format!("api {key} version {version} body {body:?}"));
            }
        }
    }
    good.works(&broker, "after truncated requests");
    // The same through every prefix of a good request.
    let whole = frame(0, 3, 1, &Client::produce_body("good", 0, -1, &Batch::plain(&["cut"]).encode()));
    for cut in 0..whole.len() {
        let mut stream = send(&broker, &whole[..cut]);
        let _ = stream.shutdown(Shutdown::Write);
        assert_closed(&mut stream, &format!("cut at {cut}"));
    }
    for cut in 8..whole.len() - 4 {
        let mut bytes = whole[..4 + cut].to_vec();
        bytes[..4].copy_from_slice(&(cut as i32).to_be_bytes());
        let mut stream = send(&broker, &bytes);
        let _ = stream.shutdown(Shutdown::Write);
        assert_closed(&mut stream, &format!("frame of {cut} bytes"));
    }
    good.works(&broker, "after every cut");
    assert!(broker.is_running());
}

#[test]
fn unknown_keys_and_versions_are_refused() {
    let (broker, mut good) = start("bad-versions");
    let versions = good.client.api_versions().expect("ApiVersions");
    let high = |key: i16| versions.iter().find(|v| v.0 == key).expect("a known key").2;
    for (key, version) in [
        (999, 0),
        (-1, 0),
        (i16::MAX, i16::MAX),
        (0, high(0) + 1),
        (0, 0),
        (0, -1),
        (1, 0),
        (3, high(3) + 1),
        (3, -5),
        (19, high(19) + 1),
    ] {
        let mut stream = send(&broker, &frame(key, version, 1, &[0; 40]));
        assert_closed(&mut stream, &format!("api {key} version {version}"));
        good.works(&broker, &format!("after api {key} version {version}"));
    }
    // ApiVersions alone is answered at any version: with an error, the versions, and in the oldest form.
    for version in [high(18) + 1, 77, i16::MAX] {
        let mut client = Client::connect(&broker);
        let answer = client.call(18, version, &[0; 20]).expect("an answer");
        let mut reader = Reader(&answer);
        assert_eq!(reader.i16(), code::UNSUPPORTED_VERSION, "version {version}");
        let listed: Vec<_> = (0..reader.i32()).map(|_| (reader.i16(), reader.i16(), reader.i16())).collect();
        assert!(listed.contains(&(18, 0, high(18))), "version {version}: {listed:?}");
        reader.end();
        assert!(client.api_versions().is_ok(), "the connection lives on");
    }
}

#[test]
fn a_damaged_batch_is_refused_and_not_stored() {
    let (broker, mut good) = start("bad-batches");
    let mut client = Client::connect(&broker);
    let whole = Batch::plain(&["one", "two"]).encode();
    for at in (0..whole.len()).filter(|at| !(0..8).contains(at) && !(12..16).contains(at)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        // The broker answers with an error or, where the frame no longer decodes, closes.
        match client.produce("good", 0, -1, &bytes) {
            Ok((error, _)) => assert_ne!(error, code::NONE, "byte {at} changed"),
            Err(_) => client = Client::connect(&broker),
        }
    }
    good.works(&broker, "after damaged batches");
}

#[test]
fn partial_frames_of_many_clients_hold_nobody_up() {
    let (broker, mut good) = start("bad-slow");
    let whole = frame(18, 0, 9, &[]);
    let mut slow: Vec<TcpStream> = (0..200).map(|_| broker.connect()).collect();
    for at in 0..whole.len() {
        for stream in &mut slow {
            stream.write_all(&whole[at..=at]).expect("send a byte");
        }
        if at % 5 == 0 {
            good.works(&broker, &format!("at byte {at}"));
        }
    }
    for stream in &mut slow {
        let mut head = [0; 10];
        stream.read_exact(&mut head).expect("an answer to the frame sent byte by byte");
        assert_eq!(head[4..], [0, 0, 0, 9, 0, 0], "correlation id and error");
    }
}

/// A frame announced in full size but never sent must not be paid for in advance (Apache Kafka does pay).
#[test]
fn announced_frames_cost_no_memory() {
    let (broker, mut good) = start("bad-announced");
    let before = broker.resident_bytes();
    let announced: Vec<TcpStream> = (0..400)
        .map(|_| send(&broker, &Writer::default().i32(FRAME_BYTES_MAX as i32).i16(0).i16(3).0))
        .collect();
    good.works(&broker, "with announced frames");
    let grown = broker.resident_bytes().saturating_sub(before);
    if broker.kind() == Kind::Ottla {
        assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes for {} announced frames", announced.len());
    }
}

#[test]
fn clients_that_send_and_never_read_are_not_read() {
    let (broker, mut good) = start("bad-deaf");
    // Values of one megabyte, fetched over and over: each answer is large, each request small.
    let value = "x".repeat(900_000);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("large", 1).expect("CreateTopics"), code::NONE);
    let batch = Batch::plain(&[&value]).encode();
    poll::until("the topic has a leader", Duration::from_secs(30), || {
        let (error, _) = client.produce("large", 0, -1, &batch).expect("Produce");
        (error == code::NONE).then_some(())
    });
    let before = broker.resident_bytes();
    let head = Writer::default().i32(-1).i32(0).i32(1).i32(50 << 20).i8(0);
    let fetch = head.i32(1).string("large").i32(1).i32(0).i64(0).i32(8 << 20).0;
    let request = frame(1, 4, 1, &fetch);
    let limit = 64 << 20;
    let mut peak = 0;
    let deaf: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = broker.connect();
            stream.set_write_timeout(Some(Duration::from_secs(2))).expect("set the write timeout");
            let chunk = request.repeat(1000);
            let mut sent = 0;
            while sent < limit && stream.write_all(&chunk).is_ok() {
                sent += chunk.len();
            }
            assert!(sent < limit, "the broker stops reading a client that does not read");
            peak = peak.max(broker.resident_bytes());
            stream
        })
        .collect();
    good.works(&broker, "beside clients that do not read");
    let grown = peak.max(broker.resident_bytes()).saturating_sub(before);
    if broker.kind() == Kind::Ottla {
        assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    }
    drop(deaf);
    good.works(&broker, "after they left");
}
