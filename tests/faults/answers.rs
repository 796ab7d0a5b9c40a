//! Answers at the edges of fields and versions: what a client gets that Apache Kafka would not send.

use crate::support::broker::Broker;
use crate::support::poll;
use crate::support::raw::{Client, Reader, Writer, code};
use crate::support::records::{Batch, HEADER_BYTES, with_compressed, zstd_frame};
use std::time::Duration;

const INVALID_REQUEST: i16 = 42;
const INVALID_RECORD: i16 = 87;

fn start(name: &str) -> (Broker, Client) {
    let broker = Broker::start(name, &[]);
    let client = Client::connect(&broker);
    (broker, client)
}

/// Creates a topic and waits until its partitions take requests.
fn create(client: &mut Client, name: &str, partitions: i32) {
    assert_eq!(client.create_topic(name, partitions).expect("CreateTopics"), code::NONE);
    for partition in 0..partitions {
        poll::until("a partition that answers", Duration::from_secs(30), || {
            client.list_offset(name, partition, -1).expect("ListOffsets").ok()
        });
    }
}

/// Topics with their partitions, in the order of the request; each partition has one record.
type Asked<'a> = &'a [(&'a str, &'a [i32])];

/// Sends one Produce (version 3) and returns the error code of each partition in the answer.
fn produce(client: &mut Client, asked: Asked<'_>) -> Vec<i16> {
    let batch = Batch::plain(&["x"]).encode();
    let mut body = Writer::default().null_string().i16(-1).i32(20_000).i32(asked.len() as i32);
    for (topic, partitions) in asked {
        body = body.string(topic).i32(partitions.len() as i32);
        for partition in *partitions {
            body = body.i32(*partition).bytes(&batch);
        }
    }
    let answer = client.call(0, 3, &body.0).expect("Produce");
    let mut reader = Reader(&answer);
    let mut codes = Vec::new();
    for _ in 0..reader.i32() {
        let _topic = reader.string();
        for _ in 0..reader.i32() {
            let _index = reader.i32();
            codes.push(reader.i16());
            let _offset_and_time = (reader.i64(), reader.i64());
        }
    }
    codes
}

/// A Produce that named a partition twice was appended twice: a client that builds its requests wrongly had its records
/// doubled, where Apache Kafka keeps one of the two batches and tells nobody. Now nothing of it is appended.
#[test]
fn a_produce_that_names_a_partition_twice_appends_nothing() {
    let (_broker, mut client) = start("produce-twice");
    create(&mut client, "a", 24);
    create(&mut client, "b", 3);
    let many: Vec<i32> = (0..24).collect();
    let many_and_one: Vec<i32> = many.iter().copied().chain([5]).collect();
    let twice: [Asked<'_>; 8] = [
        &[("a", &[1, 1])],
        &[("a", &[0, 1, 0])],
        &[("a", &[2, 1, 0, 2])],
        &[("a", &[1]), ("a", &[1])],
        &[("a", &[0]), ("b", &[0, 1]), ("a", &[2, 0])],
        &[("a", &many_and_one)],
        &[("b", &[2]), ("a", &many), ("b", &[2])],
        &[("absent", &[0]), ("b", &[1]), ("absent", &[0])],
    ];
    for asked in twice {
        let codes = produce(&mut client, asked);
        assert_eq!(codes.len(), asked.iter().map(|(_, partitions)| partitions.len()).sum::<usize>());
        assert!(codes.iter().all(|code| *code == INVALID_REQUEST), "{asked:?}: {codes:?}");
    }
    for (topic, partitions) in [("a", 24), ("b", 3)] {
        for partition in 0..partitions {
            assert_eq!(
                client.list_offset(topic, partition, -1).expect("ListOffsets"),
                Ok(0),
                "{topic} {partition}"
            );
        }
    }
    let once: [Asked<'_>; 3] = [
        &[("b", &[2, 0, 1]), ("a", &[2, 0, 1])],
        &[("a", &[0]), ("b", &[0]), ("a", &[1])],
        &[("b", &[0]), ("a", &many)],
    ];
    for asked in once {
        let codes = produce(&mut client, asked);
        assert!(codes.iter().all(|code| *code == code::NONE), "{asked:?}: {codes:?}");
    }
}

/// A batch with one record, its zstd frame asking for a window of 2^`log` bytes.
fn zstd_with_window(log: u8) -> Vec<u8> {
    let batch = Batch::plain(&["x"]).encode();
    with_compressed(&batch, 4, &zstd_frame((log - 10) << 3, &batch[HEADER_BYTES..]))
}

/// A zstd frame that asks for a window of 1 GiB was stored, for this broker decompresses without one. Java's consumers
/// take 128 MiB at most: each of them failed on this batch at each attempt, and none came past it.
#[test]
fn a_zstd_window_that_consumers_refuse_is_not_stored() {
    let (_broker, mut client) = start("zstd-window");
    create(&mut client, "z", 1);
    let mut produce = |log: u8| {
        // Version 7 is the first that knows zstd.
        let answer =
            client.call(0, 7, &Client::produce_body("z", 0, -1, &zstd_with_window(log))).expect("Produce");
        let mut reader = Reader(&answer);
        let _topics = (reader.i32(), reader.string(), reader.i32(), reader.i32());
        (reader.i16(), reader.i64())
    };
    for (offset, log) in (10..=27).enumerate() {
        assert_eq!(produce(log), (code::NONE, offset as i64), "window of 2^{log}");
    }
    for log in 28..=41 {
        assert_eq!(produce(log), (INVALID_RECORD, -1), "window of 2^{log}");
    }
}

/// A cursor behind the last partition that there can be made the broker count past the largest number: a debug build ended,
/// a release build sent the client back to a negative partition, from which it would have begun again and again.
#[test]
fn a_cursor_behind_every_partition_ends_the_listing() {
    let (_broker, mut client) = start("last-cursor");
    create(&mut client, "c", 2);
    // A compact request: the header's tags, one topic, a limit, the cursor, no tags.
    let body = Writer(vec![0, 2, 2, b'c', 0]).i32(100).i8(1).i8(2).i8(b'c' as i8).i32(i32::MAX).i8(0).i8(0);
    let answer = client.call(75, 0, &body.0).expect("DescribeTopicPartitions");
    // No cursor, and no tags behind it.
    assert_eq!(answer[answer.len() - 2..], [0xff, 0]);
    assert_eq!(client.list_offset("c", 0, -1).expect("ListOffsets"), Ok(0), "the broker goes on");
}

/// DeleteRecords answered a partition once for each time that it was named, and so did other requests: clients that put
/// the answers into a map saw one of them. Now the last offset holds, and there is one answer.
#[test]
fn delete_records_answers_a_partition_once() {
    let (_broker, mut client) = start("delete-twice");
    create(&mut client, "d", 1);
    assert_eq!(produce(&mut client, &[("d", &[0])]), [code::NONE]);
    let one = |writer: Writer, offset: i64| writer.i32(0).i64(offset);
    let twice = one(one(Writer::default().i32(1).string("d").i32(2), 7), 1).i32(20_000);
    let answer = client.call(21, 0, &twice.0).expect("DeleteRecords");
    let expected = Writer::default().i32(0).i32(1).string("d").i32(1).i32(0).i64(1).i16(code::NONE);
    assert_eq!(answer, expected.0);
}

/// DescribeProducers had words for a partition that is not there and none for a topic, the other way round than Apache Kafka;
/// a partition is described as often as it is named.
#[test]
fn producers_of_what_is_not_there_are_answered_as_in_kafka() {
    let (_broker, mut client) = start("describe-producers");
    create(&mut client, "a", 1);
    let mut ask = |topic: &str, partitions: &[i32]| -> Vec<(i32, i16, bool)> {
        // Version 0 is flexible: compact lengths, and tags behind each structure.
        let mut body = vec![0, 2, topic.len() as u8 + 1];
        body.extend(topic.as_bytes());
        body.push(partitions.len() as u8 + 1);
        body.extend(partitions.iter().flat_map(|p| p.to_be_bytes()));
        body.extend([0, 0]);
        let answer = client.call(61, 0, &body).expect("DescribeProducers");
        let mut r = Reader(&answer);
        let _head = (r.i8(), r.i32(), r.i8());
        let name = r.i8() as usize - 1;
        r.raw(name);
        let count = r.i8() - 1;
        let told = (0..count).map(|_| {
            let (index, error, text) = (r.i32(), r.i16(), r.i8() as u8 as usize);
            r.raw(text.saturating_sub(1));
            let _ = (r.i8(), r.i8());
            (index, error, text > 0)
        });
        told.collect()
    };
    assert_eq!(ask("absent", &[0]), [(0, code::UNKNOWN_TOPIC_OR_PARTITION, true)]);
    assert_eq!(ask(".", &[0]), [(0, 17, true)]);
    assert_eq!(
        ask("a", &[9, 0, 0]),
        [(9, code::UNKNOWN_TOPIC_OR_PARTITION, false), (0, 0, false), (0, 0, false)]
    );
}

/// A partition that two entries of its topic named was answered twice, and a topic without partitions had an entry.
#[test]
fn offsets_of_a_partition_in_two_entries_of_its_topic_are_refused_once() {
    let (_broker, mut client) = start("list-offsets-twice");
    create(&mut client, "a", 2);
    let mut ask = |topics: Asked<'_>| -> Vec<(String, Vec<(i32, i16)>)> {
        let mut body = Writer::default().i32(-1).i32(topics.len() as i32);
        for (topic, partitions) in topics {
            body = body.string(topic).i32(partitions.len() as i32);
            for partition in *partitions {
                body = body.i32(*partition).i64(-1);
            }
        }
        let answer = client.call(2, 1, &body.0).expect("ListOffsets");
        let mut r = Reader(&answer);
        let mut told = Vec::new();
        for _ in 0..r.i32() {
            let topic = r.string();
            let mut partitions = Vec::new();
            for _ in 0..r.i32() {
                partitions.push((r.i32(), r.i16()));
                let _ = (r.i64(), r.i64());
            }
            told.push((topic, partitions));
        }
        told
    };
    let of_a = |partitions: &[(i32, i16)]| vec![("a".to_owned(), partitions.to_vec())];
    assert_eq!(ask(&[("a", &[0]), ("a", &[0])]), of_a(&[(0, INVALID_REQUEST)]));
    assert_eq!(ask(&[("a", &[0]), ("a", &[1])]), of_a(&[(0, 0), (1, 0)]));
    assert_eq!(ask(&[("a", &[0, 1, 0])]), of_a(&[(0, INVALID_REQUEST), (1, 0)]));
    assert_eq!(ask(&[("a", &[]), ("b", &[])]), vec![]);
}
