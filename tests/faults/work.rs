//! Small requests that cost much: work and size of replies.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::broker::Broker;
use crate::support::poll;
use crate::support::raw::{self, Client, Reader, Writer};

/// Compact lengths and counts of the protocol's flexible versions, and of records.
fn uvarint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A request of a flexible version: header 2 has tags.
fn flexible(api_key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    raw::frame(api_key, version, correlation, &[&[0], body].concat())
}

/// The most that the process has had in memory, in bytes.
pub fn peak_bytes(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("read status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a VmHWM line");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number of kB") * 1024
}

fn send(broker: &Broker, frame: &[u8]) -> TcpStream {
    let mut stream = broker.connect();
    stream.set_read_timeout(Some(Duration::from_mins(3))).expect("a timeout");
    stream.write_all(frame).expect("send");
    stream
}

/// The length of the next answer and what stands in it.
fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Whether an answer has begun to come.
fn has_answer(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("nonblocking");
    let peeked = stream.peek(&mut [0; 1]);
    stream.set_nonblocking(false).expect("blocking");
    peeked.is_ok_and(|n| n > 0)
}

/// A batch of one record of zeros, compressed a thousandfold.
fn bomb(bytes: usize) -> Vec<u8> {
    let zigzag = |n: i64| ((n << 1) ^ (n >> 63)) as u64;
    let mut inner = vec![0];
    for n in [0, 0, -1, bytes as i64] {
        uvarint(zigzag(n), &mut inner);
    }
    inner.resize(inner.len() + bytes, 0);
    uvarint(0, &mut inner);
    let mut record = Vec::new();
    uvarint(zigzag(inner.len() as i64), &mut record);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&record).and_then(|()| gzip.write_all(&inner)).expect("compress");
    let records = gzip.finish().expect("compress");
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_millis() as i64;
    let tail = Writer::default().i16(1).i32(0).i64(now_ms).i64(now_ms).i64(-1).i16(-1).i32(-1).i32(1);
    let tail = [tail.0, records].concat();
    let crc = crc32c::crc32c(&tail);
    let head = Writer::default().i64(0).i32((tail.len() + 9) as i32).i32(-1).i8(2).i32(crc as i32);
    [head.0, tail].concat()
}

/// Four clients of 0.5 MB of gzip each, which is 2 GB, kept every other client waiting for 12 s, and members of groups were
/// expelled: a core decompressed all that had come before it looked at anybody else.
#[test]
fn batches_that_decompress_a_thousandfold_hold_up_nobody_else() {
    const BOMBS: usize = 12;
    let broker = Broker::start("work-bombs", &[]);
    let mut first = Client::connect(&broker);
    assert_eq!(first.create_topic("bombs", 2).expect("create"), raw::code::NONE);
    // One that needs no decompression does not overtake those before it.
    let (batch, small) = (bomb(48 << 20), bomb(10));
    let frames: Vec<u8> = (0..BOMBS)
        .map(|i| if i % 4 == 3 { &small } else { &batch })
        .flat_map(|batch| raw::frame(0, 3, 7, &Client::produce_body("bombs", 0, 1, batch)))
        .collect();
    // Of several connections some are on each core.
    let mut attackers: Vec<TcpStream> = (0..4).map(|_| send(&broker, &frames)).collect();
    let mut others: Vec<Client> = (0..4).map(|_| Client::connect(&broker)).collect();
    for _ in 0..5 {
        for other in &mut others {
            other.api_versions().expect("others are served");
        }
    }
    let mut waiting = 0;
    for attacker in &mut attackers {
        let mut offsets = Vec::new();
        while offsets.len() < BOMBS && has_answer(attacker) {
            offsets.push(produced(attacker));
        }
        waiting += BOMBS - offsets.len();
        while offsets.len() < BOMBS {
            offsets.push(produced(attacker));
        }
        assert!(offsets.is_sorted(), "answers, and appends, keep the order of their connection: {offsets:?}");
    }
    assert!(waiting > 0, "twenty round trips of others were done before the decompression was");
    assert_eq!(first.list_offset("bombs", 0, -1).expect("list"), Ok((4 * BOMBS) as i64));
}

/// One partition's batch in a request was decompressed on its core if it came to no more than 256 KiB, and so were those of a
/// thousand others in the same request, also those that failed only then. A core now says if it makes too much in a turn.
#[test]
fn many_batches_that_decompress_a_thousandfold_are_not_one_cores_work_at_once() {
    const PARTITIONS: i32 = 64;
    let broker = Broker::start("work-small-bombs", &[]);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("bombs", PARTITIONS).expect("create"), raw::code::NONE);
    let mut broken = bomb(200 << 10);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let crc = crc32c::crc32c(&broken[21..]);
    broken[17..21].copy_from_slice(&crc.to_be_bytes());
    for (name, batch, code) in [
        ("whole", bomb(200 << 10), raw::code::NONE),
        ("large", bomb(300 << 10), raw::code::NONE),
        ("broken", broken, 87),
    ] {
        let head = Writer::default().null_string().i16(1).i32(20_000).i32(1).string("bombs").i32(PARTITIONS);
        let body = (0..PARTITIONS).fold(head, |body, partition| body.i32(partition).bytes(&batch));
        let answer = client.call(0, 3, &body.0).expect("an answer");
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.string(), reader.i32());
        for _ in 0..PARTITIONS {
            let (partition, error) = (reader.i32(), reader.i16());
            assert_eq!(error, code, "{name} for partition {partition}");
            let _ = (reader.i64(), reader.i64());
        }
    }
}

/// A Produce or a Fetch of 100 MB could name 17 million partitions, all of which its core looked up in one turn, and a fetch
/// session remembered them: clients name what there is.
#[test]
fn a_request_cannot_name_many_more_partitions_than_there_are() {
    type Frame<'a> = &'a dyn Fn(i32) -> Vec<u8>;
    let broker = Broker::start("work-partitions", &[]);
    let mut other = Client::connect(&broker);
    let produce = |count: i32| {
        let head = Writer::default().null_string().i16(1).i32(20_000).i32(1).string("nothing").i32(count);
        raw::frame(0, 3, 7, &(0..count).fold(head, |body, partition| body.i32(partition).i32(-1)).0)
    };
    let fetch = |count: i32| {
        let head =
            Writer::default().i32(-1).i32(0).i32(0).i32(1 << 20).i8(0).i32(1).string("nothing").i32(count);
        raw::frame(1, 4, 7, &(0..count).fold(head, |body, partition| body.i32(partition).i64(0).i32(1)).0)
    };
    let topics = |count: i32| {
        let head = Writer::default().null_string().i16(1).i32(20_000).i32(count);
        raw::frame(0, 3, 7, &(0..count).fold(head, |body, _| body.string("x").i32(0)).0)
    };
    let frames: [(&str, Frame<'_>); 3] =
        [("Produce", &produce), ("Fetch", &fetch), ("Produce without partitions", &topics)];
    for (name, frame) in frames {
        assert!(receive(&mut send(&broker, &frame(5_000))).is_ok(), "{name}: clients may name what is gone");
        assert!(receive(&mut send(&broker, &frame(40_000))).is_err(), "{name}: the connection is closed");
        other.api_versions().expect("others are served");
    }
}

/// A batch of 100 KB that holds 100 MB was decompressed by the core that was asked for an offset by time: 0.3 s for each
/// partition that a request named, in which nobody else was served.
#[test]
fn lookups_by_time_that_decompress_a_thousandfold_hold_up_nobody_else() {
    const PARTITIONS: i32 = 2;
    let broker = Broker::start("work-lookups", &[]);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("lookups", PARTITIONS).expect("create"), raw::code::NONE);
    let batch = bomb(24 << 20);
    for partition in 0..PARTITIONS {
        assert_eq!(client.produce("lookups", partition, 1, &batch).expect("produce"), (raw::code::NONE, 0));
    }
    let head = Writer::default().i32(-1).i32(1).string("lookups").i32(PARTITIONS);
    let body = (0..PARTITIONS).fold(head, |body, partition| body.i32(partition).i64(1));
    let frames = raw::frame(2, 1, 7, &body.0).repeat(3);
    let mut attackers: Vec<TcpStream> = (0..4).map(|_| send(&broker, &frames)).collect();
    let mut others: Vec<Client> = (0..4).map(|_| Client::connect(&broker)).collect();
    for _ in 0..5 {
        for other in &mut others {
            other.api_versions().expect("others are served");
        }
    }
    let waiting = attackers.iter().filter(|attacker| !has_answer(attacker)).count();
    assert!(waiting > 0, "twenty round trips of others were done before the first lookups were");
    let answer = receive(&mut attackers[0]).expect("an answer");
    let mut reader = Reader(&answer);
    let _topics = (reader.i32(), reader.i32(), reader.string(), reader.i32());
    for _ in 0..PARTITIONS {
        let (_partition, error, _timestamp, offset) =
            (reader.i32(), reader.i16(), reader.i64(), reader.i64());
        assert_eq!((error, offset), (raw::code::NONE, 0));
    }
    // Nobody waits for the others any more.
    drop(attackers);
    assert_eq!(client.list_offset("lookups", 0, 1).expect("list"), Ok(0));
}

fn produced(stream: &mut TcpStream) -> i64 {
    let answer = receive(stream).expect("an answer");
    let mut reader = Reader(&answer);
    let _ = (reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32());
    assert_eq!(reader.i16(), raw::code::NONE, "a batch that decompresses well is taken");
    reader.i64()
}

fn group_of_one(broker: &Broker, group: &str, assignment: &[u8]) -> (Client, i16) {
    let mut client = Client::connect(broker);
    poll::until("a coordinator", Duration::from_secs(30), || {
        (client.find_coordinator(group).ok()? == raw::code::NONE).then_some(())
    });
    let join = Writer::default().string(group).i32(60_000).i32(60_000).string("").string("x");
    let join = join.i32(1).string("p").bytes(b"m").0;
    let (generation, member) = poll::until("a member", Duration::from_secs(30), || {
        let answer = client.call(11, 2, &join).expect("join");
        let mut r = Reader(&answer);
        let (_throttle, error, generation) = (r.i32(), r.i16(), r.i32());
        let (_protocol, _leader, member) = (r.string(), r.string(), r.string());
        (error == raw::code::NONE).then_some((generation, member))
    });
    let sync = Writer::default().string(group).i32(generation).string(&member);
    let sync = sync.i32(1).string(&member).bytes(assignment).0;
    let answer = client.call(14, 1, &sync).expect("sync");
    let mut r = Reader(&answer);
    let (_throttle, error) = (r.i32(), r.i16());
    (client, error)
}

/// A group with an assignment of 16 MiB, described 130 times in one request of 1.5 KB, was a reply of more than 2 GiB, and
/// the process ended.
#[test]
fn a_group_cannot_be_so_large_that_its_description_is_no_frame() {
    let mut broker = Broker::start("work-describe", &[]);
    let (mut client, error) = group_of_one(&broker, "huge", &vec![7; 16 << 20]);
    assert_eq!(error, -1, "Kafka's record of the group would be too large: UNKNOWN_SERVER_ERROR");
    let (mut member, error) = group_of_one(&broker, "large", &vec![7; 1 << 19]);
    assert_eq!(error, raw::code::NONE);
    let named = |group: &str, n: usize| {
        let mut body = Writer::default().i32(n as i32).0;
        (0..n).for_each(|_| body.extend(Writer::default().string(group).0));
        body
    };
    client.call(15, 1, &named("huge", 130)).expect("described");
    // 64 MiB would be half a megabyte of request a thousand times over: what has no room is an error of its own.
    let answer = member.call(15, 1, &named("large", 200)).expect("described");
    let mut r = Reader(&answer);
    let (_throttle, mut whole, mut refused) = (r.i32(), 0, 0);
    for _ in 0..r.i32() {
        let (error, group) = (r.i16(), r.string());
        assert_eq!(group, "large");
        let _ = (r.string(), r.string(), r.string());
        for _ in 0..r.i32() {
            let _ = (r.string(), r.string(), r.string(), r.bytes());
            assert_eq!(r.bytes().len(), 1 << 19);
        }
        if error == raw::code::NONE { whole += 1 } else { refused += 1 }
    }
    r.end();
    assert_eq!(whole + refused, 200, "every group has its answer");
    assert!(whole > 10 && refused > 10, "{whole} whole, {refused} refused");
    assert!(broker.is_running());
}

/// 5 MiB of the shortest names took DescribeGroups 4 GB and everybody 15 s, OffsetFetch and IncrementalAlterConfigs 9 s: an
/// element cost a thousand times its bytes, and all of a request was done at once.
#[test]
fn a_request_of_very_many_names_is_cheap_and_holds_up_nobody() {
    let broker = Broker::start("work-names", &[]);
    let mut first = Client::connect(&broker);
    poll::until("a coordinator", Duration::from_secs(30), || {
        (first.find_coordinator("g").ok()? == raw::code::NONE).then_some(())
    });
    let mut others: Vec<Client> = (0..4).map(|_| Client::connect(&broker)).collect();
    let many = |n: usize, one: &dyn Fn(usize, &mut Vec<u8>), tail: &[u8]| {
        let mut body = Vec::new();
        uvarint(n as u64 + 1, &mut body);
        (0..n).for_each(|i| one(i, &mut body));
        body.extend(tail);
        body
    };
    let named = |i: usize, out: &mut Vec<u8>| {
        out.push(6);
        out.extend(format!("{i:05x}").bytes());
    };
    assert_eq!(first.create_topic("there", 2).expect("create"), raw::code::NONE);
    let there = |n: usize, one: &[u8]| {
        let head = [&[2][..], b"\x06there"].concat();
        [head, many(n, &|_, out| out.extend(one), &[0, 0])].concat()
    };
    let epoch = [[0; 4], [0xff; 4], [0; 4]].concat();
    let created = |i: usize, out: &mut Vec<u8>| {
        named(i, out);
        out.extend([0, 0, 0, 1, 0, 1, 1, 1, 0]);
    };
    let cases = [
        ("DescribeGroups", 15, 5, many(800_000, &|_, out| out.extend(b"\x02g"), &[0, 0])),
        ("DeleteGroups", 42, 2, many(250_000, &named, &[0])),
        ("OffsetFetch", 9, 8, many(400_000, &|_, out| out.extend(b"\x02g\0\0"), &[0, 0])),
        ("FindCoordinator", 10, 4, [vec![0], many(400_000, &|_, out| out.extend(b"\x02g"), &[0])].concat()),
        (
            "IncrementalAlterConfigs",
            44,
            1,
            many(
                250_000,
                &|i, out| {
                    out.push(2);
                    named(i, out);
                    out.extend([1, 0]);
                },
                &[1, 0],
            ),
        ),
        (
            "Metadata",
            3,
            9,
            many(
                200_000,
                &|i, out| {
                    named(i, out);
                    out.push(0);
                },
                &[0, 0, 0, 0],
            ),
        ),
        ("ListGroups", 16, 4, many(500_000, &|_, out| out.extend(b"\x02x"), &[0])),
        ("ListTransactions", 66, 0, many(500_000, &named, &[1, 0])),
        (
            "OffsetForLeaderEpoch",
            23,
            4,
            [vec![0xff; 4], there(80_000, &[&epoch[..], &[0]].concat())].concat(),
        ),
        ("DescribeProducers", 61, 0, there(250_000, &[0; 4])),
        ("DescribeLogDirs", 35, 2, there(250_000, &[0; 4])),
        (
            "OffsetFetch of one group",
            9,
            8,
            [b"\x02\x02g".to_vec(), there(250_000, &[0; 4]), vec![0, 0]].concat(),
        ),
        ("OffsetFetch of one group, many topics", 9, 8, {
            let topic = |i: usize, out: &mut Vec<u8>| {
                named(i, out);
                out.extend([1, 0]);
            };
            [b"\x02\x02g".to_vec(), many(120_000, &topic, &[0, 0, 0])].concat()
        }),
        ("OffsetCommit", 8, 8, {
            let one = [[0; 4], [0; 4], [0; 4], [0xff; 4], [1, 0, 0, 0]].concat();
            [b"\x02g\xff\xff\xff\xff\x01\0".to_vec(), there(55_000, &one[..18])].concat()
        }),
        ("LeaveGroup", 13, 4, {
            let member = |i: usize, out: &mut Vec<u8>| {
                named(i, out);
                out.extend([0, 0]);
            };
            [b"\x02g".to_vec(), many(110_000, &member, &[0])].concat()
        }),
        ("CreateTopics", 19, 5, many(9_999, &created, &[0, 0, 3, 0xe8, 1, 0])),
    ];
    let mut missed = Vec::new();
    for (name, key, version, body) in cases {
        // From here on the peak is this request's.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", broker.pid()), "5");
        let before = peak_bytes(&broker);
        let mut attacker = send(&broker, &flexible(key, version, 7, &body));
        let mut answered = 0;
        while answered < 40 && !has_answer(&attacker) {
            for other in &mut others {
                other.api_versions().expect("others are served");
            }
            answered += 1;
        }
        let answer = receive(&mut attacker).expect("an answer");
        let short = ["ListGroups", "DescribeLogDirs"].contains(&name);
        assert!(short || answer.len() > body.len() / 8, "{name}: {} bytes", answer.len());
        let grown = peak_bytes(&broker).saturating_sub(before);
        eprintln!("{name}: {answered} rounds of others, {grown} bytes more, {} of reply", answer.len());
        if answered < 4 {
            missed.push(format!("{name}: others had {answered} rounds meanwhile"));
        }
        if grown > 120 << 20 {
            missed.push(format!("{name}: {grown} bytes for a request of {}", body.len()));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// DescribeConfigs described a resource as often as it was named: 100 KB of request were a reply of 900 MB.
#[test]
fn a_resource_that_is_named_often_is_described_once() {
    let broker = Broker::start("work-configs", &[]);
    let one = b"\x04\x021\0\0";
    let mut body = Vec::new();
    uvarint(5001, &mut body);
    (0..5000).for_each(|_| body.extend(one));
    body.extend([1, 1, 0]);
    let mut stream = send(&broker, &flexible(32, 4, 7, &body));
    let answer = receive(&mut stream).expect("an answer");
    assert!(answer.len() < 1 << 20, "{} bytes", answer.len());
    assert_eq!(answer[5 + 4], 2, "one result");
}

/// Groups are asked a few at a time: however many a request names, the answer is the one of asking for each.
#[test]
fn what_is_asked_in_steps_is_answered_in_order() {
    const GROUPS: usize = 300;
    let broker = Broker::start("work-steps", &[]);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("t", 1).expect("create"), raw::code::NONE);
    poll::until("a coordinator", Duration::from_secs(30), || {
        (client.find_coordinator("g").ok()? == raw::code::NONE).then_some(())
    });
    let name = |i: usize| format!("group-{i}");
    for i in 0..GROUPS {
        poll::until("an offset", Duration::from_secs(30), || {
            (client.commit(&name(i), "t", 0, i as i64).ok()? == raw::code::NONE).then_some(())
        });
    }
    // Every group twice, and between them one that is not there.
    let asked: Vec<usize> =
        (0..3 * GROUPS).map(|i| if i % 3 == 2 { GROUPS + i } else { i % GROUPS }).collect();
    let mut body = Vec::new();
    uvarint(asked.len() as u64 + 1, &mut body);
    let mut expected = [7i32.to_be_bytes().to_vec(), vec![0, 0, 0, 0, 0]].concat();
    uvarint(asked.len() as u64 + 1, &mut expected);
    for i in &asked {
        let text = name(*i);
        for out in [&mut body, &mut expected] {
            uvarint(text.len() as u64 + 1, out);
            out.extend(text.bytes());
        }
        body.extend([0, 0]);
        if *i < GROUPS {
            expected.extend(b"\x02\x02t\x02");
            expected.extend([0; 4]);
            expected.extend((*i as i64).to_be_bytes());
            // No leader epoch, no text, no error, tags of the partition and of the topic.
            expected.extend([0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0]);
        } else {
            expected.push(1);
        }
        expected.extend([0, 0, 0]);
    }
    body.extend([0, 0]);
    expected.push(0);
    let mut stream = send(&broker, &flexible(9, 8, 7, &body));
    let answer = receive(&mut stream).expect("an answer");
    let differs = answer.iter().zip(&expected).position(|(a, b)| a != b);
    assert!(answer == expected, "{} and {} bytes, different at {differs:?}", answer.len(), expected.len());
}

/// Thousands of topics that are created at once are made over a while; each was prepared before the first, while others waited.
/// Those that are deleted before their turn are not made at all, and their names are free.
#[test]
fn topics_that_are_deleted_before_they_are_made() {
    let broker = Broker::start("work-topics", &[]);
    let mut client = Client::connect(&broker);
    let names: Vec<String> = (0..1500).map(|i| format!("t{i}")).collect();
    let create = names.iter().fold(Writer::default().i32(names.len() as i32), |body, name| {
        body.string(name).i32(2).i16(1).i32(0).i32(0)
    });
    let create = create.i32(60_000).i8(0);
    let delete = names
        .iter()
        .fold(Writer::default().i32(names.len() as i32), |body, name| body.string(name))
        .i32(60_000);
    let codes = |answer: &[u8], with_message: bool| {
        let mut reader = Reader(answer);
        let _throttle = reader.i32();
        let codes: Vec<i16> = (0..reader.i32())
            .map(|_| {
                reader.string();
                let code = reader.i16();
                if with_message {
                    let _message = reader.string();
                }
                code
            })
            .collect();
        codes
    };
    for round in 0..3 {
        let created = codes(&client.call(19, 2, &create.0).expect("CreateTopics"), true);
        assert_eq!(created, vec![0; names.len()], "round {round}");
        if round < 2 {
            let deleted = codes(&client.call(20, 1, &delete.0).expect("DeleteTopics"), false);
            assert_eq!(deleted, vec![0; names.len()], "round {round}");
        }
    }
    for name in [&names[0], &names[700], &names[1499]] {
        for partition in 0..2 {
            poll::until("a partition that answers", Duration::from_mins(1), || {
                client.list_offset(name, partition, -1).expect("ListOffsets").ok()
            });
        }
    }
}
