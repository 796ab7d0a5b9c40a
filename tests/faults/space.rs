//! Errors before anything was written: no descriptors, no space. And what a client's timeout may bound.

use crate::support::broker::Broker;
use crate::support::raw::{Client, Reader, Writer, code};
use crate::support::records::Batch;

/// What a client may say that it waits, milliseconds.
const TIMEOUTS_MS: [i32; 6] = [0, 1, 5, -1, i32::MIN, i32::MAX];

/// Skips `_` of an answer that begins with a count of topics and a name; gives the error of its only topic.
fn topic_error(answer: &[u8], throttle: bool) -> i16 {
    let mut reader = Reader(answer);
    if throttle {
        reader.i32();
    }
    assert_eq!(reader.i32(), 1, "topics");
    reader.string();
    reader.i16()
}

fn create_topic(client: &mut Client, name: &str, timeout_ms: i32) -> i16 {
    let body = Writer::default().i32(1).string(name).i32(1).i16(1).i32(0).i32(0).i32(timeout_ms).i8(0);
    topic_error(&client.call(19, 2, &body.0).expect("CreateTopics"), true)
}

fn create_partitions(client: &mut Client, name: &str, count: i32, timeout_ms: i32) -> i16 {
    let body = Writer::default().i32(1).string(name).i32(count).i32(-1).i32(timeout_ms).i8(0);
    topic_error(&client.call(37, 0, &body.0).expect("CreatePartitions"), true)
}

fn delete_topic(client: &mut Client, name: &str, timeout_ms: i32) -> i16 {
    let body = Writer::default().i32(1).string(name).i32(timeout_ms);
    topic_error(&client.call(20, 1, &body.0).expect("DeleteTopics"), true)
}

fn delete_records(client: &mut Client, name: &str, before: i64, timeout_ms: i32) -> (i64, i16) {
    let body = Writer::default().i32(1).string(name).i32(1).i32(0).i64(before).i32(timeout_ms);
    let answer = client.call(21, 0, &body.0).expect("DeleteRecords");
    let mut reader = Reader(&answer);
    let _head = (reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32());
    (reader.i64(), reader.i16())
}

fn produce(client: &mut Client, name: &str, acks: i16, timeout_ms: i32, batch: &[u8]) -> (i16, i64) {
    let head = Writer::default().null_string().i16(acks).i32(timeout_ms);
    let body = head.i32(1).string(name).i32(1).i32(0).bytes(batch);
    let correlation = client.send(0, 3, &body.0).expect("Produce");
    client.receive_produced(correlation).expect("Produce")
}

/// With `timeout_ms` 0, and with a few milliseconds now and then, an append or a deletion was carried out and answered
/// REQUEST_TIMED_OUT, so that clients did it again: the client's patience with other replicas was taken as the deadline
/// of the broker's own work. Whatever it says, an answer tells what was done.
#[test]
fn a_timeout_does_not_bound_what_the_broker_does_itself() {
    let broker = Broker::start("space-timeouts", &[("log.retention.ms", "-1")]);
    let mut client = Client::connect(&broker);
    for (round, timeout_ms) in TIMEOUTS_MS.into_iter().enumerate() {
        let name = format!("patience-{round}");
        let what = format!("timeout_ms {timeout_ms}");
        assert_eq!(create_topic(&mut client, &name, timeout_ms), code::NONE, "CreateTopics, {what}");
        assert_eq!(
            create_partitions(&mut client, &name, 2, timeout_ms),
            code::NONE,
            "CreatePartitions, {what}"
        );
        let large = "x".repeat(700_000);
        let mut end = 0;
        for acks in [-1, 1] {
            for value in ["small", large.as_str()] {
                let batch = Batch::plain(&[value]).encode();
                let answer = produce(&mut client, &name, acks, timeout_ms, &batch);
                assert_eq!(answer, (code::NONE, end), "Produce of {} bytes, {what}", batch.len());
                end += 1;
            }
        }
        assert_eq!(client.list_offset(&name, 0, -1).expect("ListOffsets"), Ok(end), "{what}");
        let deleted = delete_records(&mut client, &name, end - 1, timeout_ms);
        assert_eq!(deleted, (end - 1, code::NONE), "DeleteRecords, {what}");
        assert_eq!(delete_topic(&mut client, &name, timeout_ms), code::NONE, "DeleteTopics, {what}");
        assert_eq!(create_topic(&mut client, &name, timeout_ms), code::NONE, "CreateTopics again, {what}");
    }
}
