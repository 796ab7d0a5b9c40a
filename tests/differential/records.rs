//! Produce, Fetch and what asks for offsets and producers: ListOffsets, OffsetForLeaderEpoch, DeleteRecords,
//! InitProducerId, DescribeProducers.

use super::script::{Session, api, hex, step};
use super::support::records::{Batch, seal};
use serde_json::{Value, json};

const NO_SUCH_ID: &str = "AAAAAAAAAAAAAAAAAAAAEQ";
/// The timestamp of [`Batch::plain`].
const TIME: i64 = 1_700_000_000_000;

pub fn script(session: &mut Session) {
    let topics: Vec<Value> = [
        ("plain", 2, json!([])),
        ("small", 1, json!([{"name": "max.message.bytes", "value": "500"}])),
        ("compacted", 1, json!([{"name": "cleanup.policy", "value": "compact"}])),
        ("appended", 1, json!([{"name": "message.timestamp.type", "value": "LogAppendTime"}])),
        ("strict", 1, json!([{"name": "message.timestamp.before.max.ms", "value": "1000"}])),
        ("insync", 1, json!([{"name": "min.insync.replicas", "value": "2"}])),
        ("times", 1, json!([])),
        ("sequences", 2, json!([])),
        ("trimmed", 1, json!([])),
    ]
    .into_iter()
    .map(|(name, count, configs)| json!({"name": name, "numPartitions": count, "replicationFactor": 1, "configs": configs}))
    .collect();
    let body = json!({"topics": topics, "timeoutMs": 30000});
    session.run(step("CreateTopics", api::CREATE_TOPICS, body).latest());
    for (name, count) in [
        ("plain", 2),
        ("small", 1),
        ("compacted", 1),
        ("appended", 1),
        ("strict", 1),
        ("insync", 1),
        ("times", 1),
        ("sequences", 2),
        ("trimmed", 1),
    ] {
        session.wait_for_topic(name, count);
    }
    produce(session);
    bad_batches(session);
    fetch(session);
    sessions(session);
    list_offsets(session);
    epochs(session);
    delete_records(session);
    sequences(session);
}

/// A Produce request with one partition; the topic is named in both ways.
fn producing(topic: &str, partition: i32, acks: i16, records: Value) -> Value {
    let id = if topic == "absent" { json!(NO_SUCH_ID) } else { json!(format!("${topic}.id")) };
    json!({
        "acks": acks, "timeoutMs": 5000,
        "topicData": [{"name": topic, "topicId": id, "partitionData": [{"index": partition, "records": records}]}],
    })
}

fn produce(session: &mut Session) {
    let good = Batch::plain(&["one", "two", "three"]).encode();
    session.run(step("Produce", api::PRODUCE, producing("plain", 0, -1, hex(&good))));
    session.run(step("Produce, leader acks", api::PRODUCE, producing("plain", 0, 1, hex(&good))));
    session.run(step("Produce to LogAppendTime", api::PRODUCE, producing("appended", 0, -1, hex(&good))));
    session.run(step("Produce, wrong acks", api::PRODUCE, producing("plain", 0, 2, hex(&good))));
    session.run(step("Produce, wrong acks", api::PRODUCE, producing("plain", 0, -2, hex(&good))));
    session.run(step("Produce, no partition", api::PRODUCE, producing("plain", 9, -1, hex(&good))));
    session.run(step("Produce, negative partition", api::PRODUCE, producing("plain", -1, -1, hex(&good))));
    session.run(step("Produce, no topic", api::PRODUCE, producing("absent", 0, -1, hex(&good))));
    session.run(step("Produce, too few replicas", api::PRODUCE, producing("insync", 0, -1, hex(&good))));
    session.run(step("Produce, too few but acks 1", api::PRODUCE, producing("insync", 0, 1, hex(&good))));
    session.run(step("Produce, too old", api::PRODUCE, producing("strict", 0, -1, hex(&good))));
    let large = Batch::plain(&["x".repeat(600).as_str()]).encode();
    session.run(step("Produce, too large", api::PRODUCE, producing("small", 0, -1, hex(&large))));
    session.run(step("Produce, no keys", api::PRODUCE, producing("compacted", 0, -1, hex(&good))));
    session.run(step("Produce, no records", api::PRODUCE, producing("plain", 0, -1, hex(&[]))));
    let several = json!({
        "acks": -1, "timeoutMs": 5000, "topicData": [
            {"name": "plain", "topicId": "$plain.id", "partitionData": [
                {"index": 0, "records": hex(&good)}, {"index": 1, "records": hex(&good)}, {"index": 7, "records": hex(&good)},
            ]},
            {"name": "small", "topicId": "$small.id", "partitionData": [{"index": 0, "records": hex(&large)}]},
            {"name": "absent", "topicId": NO_SUCH_ID, "partitionData": [{"index": 0, "records": hex(&good)}]},
        ],
    });
    session.run(step("Produce, several", api::PRODUCE, several));
    session.run(step(
        "Produce, nothing",
        api::PRODUCE,
        json!({"acks": -1, "timeoutMs": 5000, "topicData": []}),
    ));
    let two = [good.clone(), good.clone()].concat();
    session.run(step("Produce, two batches", api::PRODUCE, producing("plain", 0, -1, hex(&two))));
    let mut named = producing("plain", 0, -1, hex(&good));
    named["transactionalId"] = json!("nobody");
    session.run(step("Produce, unused transactional id", api::PRODUCE, named));
}

/// Each of these has one thing wrong with it; where the bytes lie inside the CRC it is made right again.
fn bad_batches(session: &mut Session) {
    type Damage = fn(&mut Vec<u8>);
    let damages: &[(&'static str, Damage)] = &[
        ("Produce, wrong CRC", |b| b[17] ^= 1),
        ("Produce, changed value", |b| *b.last_mut().expect("a byte") ^= 1),
        ("Produce, magic 1", |b| b[16] = 1),
        ("Produce, magic 0", |b| b[16] = 0),
        ("Produce, magic 3", |b| b[16] = 3),
        ("Produce, magic -1", |b| b[16] = 0xff),
        ("Produce, base offset 5", |b| b[7] = 5),
        ("Produce, leader epoch 9", |b| b[15] = 9),
        ("Produce, length too long", |b| b[11] += 1),
        ("Produce, length too short", |b| b[11] -= 1),
        ("Produce, length zero", |b| b[8..12].fill(0)),
        ("Produce, length negative", |b| b[8..12].fill(0xff)),
        ("Produce, cut", |b| b.truncate(b.len() - 3)),
        ("Produce, only a header", |b| b.truncate(61)),
        ("Produce, half a header", |b| b.truncate(30)),
        ("Produce, bytes after it", |b| b.extend([0; 5])),
        ("Produce, control batch", |b| sealed(b, |b| b[22] |= 0x20)),
        ("Produce, transactional batch", |b| sealed(b, |b| b[22] |= 0x10)),
        ("Produce, unknown codec", |b| sealed(b, |b| b[22] |= 5)),
        ("Produce, says gzip and is not", |b| sealed(b, |b| b[22] |= 1)),
        ("Produce, says snappy and is not", |b| sealed(b, |b| b[22] |= 2)),
        ("Produce, says lz4 and is not", |b| sealed(b, |b| b[22] |= 3)),
        ("Produce, says zstd and is not", |b| sealed(b, |b| b[22] |= 4)),
        ("Produce, says log append time", |b| sealed(b, |b| b[22] |= 8)),
        ("Produce, reserved attribute", |b| sealed(b, |b| b[21] |= 0x40)),
        ("Produce, last offset delta too large", |b| sealed(b, |b| b[26] += 1)),
        ("Produce, last offset delta too small", |b| sealed(b, |b| b[26] -= 1)),
        ("Produce, count too large", |b| sealed(b, |b| b[60] += 1)),
        ("Produce, count too small", |b| sealed(b, |b| b[60] -= 1)),
        ("Produce, count zero", |b| sealed(b, |b| b[60] = 0)),
        ("Produce, count negative", |b| sealed(b, |b| b[57..61].fill(0xff))),
        ("Produce, wrong record length", |b| sealed(b, |b| b[61] += 2)),
        ("Produce, negative record length", |b| sealed(b, |b| b[61] = 1)),
        ("Produce, offset delta twice", |b| {
            sealed(b, |b| {
                // The second record's offset delta: after the first record and the second's length, attributes, time.
                let second = 61 + 1 + usize::from(b[61] >> 1);
                b[second + 3] = 0;
            });
        }),
        ("Produce, wrong max timestamp", |b| sealed(b, |b| b[42] ^= 1)),
        ("Produce, negative timestamp", |b| sealed(b, |b| b[27..43].fill(0xff))),
        ("Produce, far future", |b| {
            sealed(b, |b| {
                b[28] = 0x10;
                b[36] = 0x10;
            });
        }),
    ];
    for (name, damage) in damages {
        let mut bytes = Batch::plain(&["one", "two", "three"]).encode();
        damage(&mut bytes);
        // Some of these are accepted and stored as they are: the next step sees the end offset.
        session.run(step(name, api::PRODUCE, producing("plain", 1, -1, hex(&bytes))));
        let offsets =
            json!({"topics": [{"name": "plain", "partitions": [{"partitionIndex": 1, "timestamp": -1}]}]});
        session.run(step(name, api::LIST_OFFSETS, offsets).latest());
    }
}

fn sealed(batch: &mut Vec<u8>, change: fn(&mut Vec<u8>)) {
    change(batch);
    seal(batch);
}

/// A Fetch request for some (topic, partition, offset); each topic is named in both ways.
fn fetching(partitions: &[(&str, i32, i64)]) -> Value {
    let topics: Vec<Value> = partitions
        .iter()
        .map(|(topic, partition, offset)| {
            let id = if *topic == "absent" { json!(NO_SUCH_ID) } else { json!(format!("${topic}.id")) };
            json!({"topic": topic, "topicId": id, "partitions": [
                {"partition": partition, "fetchOffset": offset, "partitionMaxBytes": 1_000_000},
            ]})
        })
        .collect();
    json!({"maxWaitMs": 100, "minBytes": 1, "maxBytes": 10_000_000, "topics": topics})
}

fn fetch(session: &mut Session) {
    let bytes = "batches that keep the clock of the broker; the lengths are compared through ListOffsets";
    for (name, partitions) in [
        ("Fetch", &[("plain", 0, 0)][..]),
        ("Fetch from the middle", &[("plain", 0, 4)]),
        ("Fetch two partitions", &[("plain", 0, 0), ("compacted", 0, 0)]),
        ("Fetch past the end", &[("plain", 0, 100_000)]),
        ("Fetch before the beginning", &[("plain", 0, -1)]),
        ("Fetch an absent partition", &[("plain", 8, 0)]),
        ("Fetch a negative partition", &[("plain", -1, 0)]),
        ("Fetch an absent topic", &[("absent", 0, 0)]),
        ("Fetch a good and a bad one", &[("plain", 0, 0), ("absent", 0, 0), ("small", 0, 77)]),
        ("Fetch from an empty partition", &[("small", 0, 0)]),
        ("Fetch nothing", &[]),
    ] {
        session.run(step(name, api::FETCH, fetching(partitions)));
    }
    session.run(
        step("Fetch LogAppendTime", api::FETCH, fetching(&[("appended", 0, 0)])).ignore("records", bytes),
    );
    for (key, value) in [
        ("maxBytes", json!(1)),
        ("maxBytes", json!(0)),
        ("maxBytes", json!(250)),
        ("maxBytes", json!(-1)),
        ("minBytes", json!(0)),
        ("minBytes", json!(1_000_000_000)),
        ("isolationLevel", json!(1)),
        ("isolationLevel", json!(7)),
        ("maxWaitMs", json!(0)),
        ("maxWaitMs", json!(-1)),
        ("rackId", json!("rack")),
    ] {
        let mut body = fetching(&[("plain", 0, 1), ("compacted", 0, 0)]);
        body[key] = value;
        session.run(step("Fetch, other bounds", api::FETCH, body));
    }
    for (key, value) in [
        ("partitionMaxBytes", json!(1)),
        ("partitionMaxBytes", json!(0)),
        ("partitionMaxBytes", json!(200)),
        ("partitionMaxBytes", json!(-1)),
        ("currentLeaderEpoch", json!(0)),
        ("currentLeaderEpoch", json!(9)),
        ("lastFetchedEpoch", json!(0)),
        ("lastFetchedEpoch", json!(5)),
        ("logStartOffset", json!(3)),
    ] {
        let mut body = fetching(&[("plain", 0, 2)]);
        body["topics"][0]["partitions"][0][key] = value;
        session.run(step("Fetch, other partition fields", api::FETCH, body));
    }
    let long = fetching(&[("plain", 0, 0), ("plain", 0, 3)]);
    session.run(step("Fetch, the same partition twice", api::FETCH, long));
}

/// Incremental fetch sessions.
fn sessions(session: &mut Session) {
    session.run_each_version(api::FETCH, 7, || {
        let with = |mut body: Value, id: Value, epoch: i32| {
            body["sessionId"] = id;
            body["sessionEpoch"] = json!(epoch);
            body
        };
        let first = with(fetching(&[("plain", 0, 0), ("small", 0, 0)]), json!(0), 0);
        let mut forget = with(fetching(&[]), json!("$session"), 2);
        forget["forgottenTopicsData"] =
            json!([{"topic": "plain", "topicId": "$plain.id", "partitions": [0]}]);
        vec![
            step("Fetch, new session", api::FETCH, first).save("session", "/sessionId"),
            step("Fetch, nothing changed", api::FETCH, with(fetching(&[]), json!("$session"), 1)),
            step("Fetch, forgets", api::FETCH, forget),
            step("Fetch, adds", api::FETCH, with(fetching(&[("compacted", 0, 0)]), json!("$session"), 3)),
            step("Fetch, wrong epoch", api::FETCH, with(fetching(&[]), json!("$session"), 9)),
            step("Fetch, closes", api::FETCH, with(fetching(&[]), json!("$session"), -1)),
            step("Fetch, closed", api::FETCH, with(fetching(&[]), json!("$session"), 4)),
            step("Fetch, no such session", api::FETCH, with(fetching(&[]), json!(123_456), 1)),
        ]
    });
}

fn list_offsets(session: &mut Session) {
    for time in [50, 10, 90, 90, 30] {
        let mut batch = Batch::plain(&["a", "b"]);
        batch.timestamp = TIME + time;
        session.run(step("Produce", api::PRODUCE, producing("times", 0, -1, hex(&batch.encode()))).latest());
    }
    let asking = |topic: &str, partition: i32, timestamp: i64| {
        json!({"replicaId": -1, "topics": [{"name": topic, "partitions": [
            {"partitionIndex": partition, "timestamp": timestamp, "currentLeaderEpoch": -1},
        ]}], "timeoutMs": 1000})
    };
    for timestamp in [
        -1,
        -2,
        -3,
        -4,
        -5,
        -6,
        -7,
        -99,
        0,
        TIME,
        TIME + 10,
        TIME + 11,
        TIME + 50,
        TIME + 51,
        TIME + 90,
        TIME + 91,
    ] {
        session.run(step("ListOffsets", api::LIST_OFFSETS, asking("times", 0, timestamp)));
        session.run(step("ListOffsets, empty", api::LIST_OFFSETS, asking("small", 0, timestamp)).latest());
    }
    session.run(step("ListOffsets, no partition", api::LIST_OFFSETS, asking("times", 4, -1)));
    session.run(step("ListOffsets, negative partition", api::LIST_OFFSETS, asking("times", -4, -1)));
    session.run(step("ListOffsets, no topic", api::LIST_OFFSETS, asking("absent", 0, -1)));
    session.run(step("ListOffsets, nothing", api::LIST_OFFSETS, json!({"topics": []})));
    for epoch in [0, 5] {
        let mut body = asking("times", 0, -1);
        body["topics"][0]["partitions"][0]["currentLeaderEpoch"] = json!(epoch);
        session.run(step("ListOffsets, leader epoch", api::LIST_OFFSETS, body));
    }
    for level in [1, 5] {
        let mut body = asking("times", 0, -1);
        body["isolationLevel"] = json!(level);
        session.run(step("ListOffsets, isolation", api::LIST_OFFSETS, body).versions(2, 11));
    }
    let mut twice = asking("times", 0, -1);
    twice["topics"][0]["partitions"] = json!([
        {"partitionIndex": 0, "timestamp": -1}, {"partitionIndex": 0, "timestamp": -2},
    ]);
    session.run(step("ListOffsets, twice", api::LIST_OFFSETS, twice));
}

fn epochs(session: &mut Session) {
    for (topic, partition, current, asked) in [
        ("times", 0, -1, 0),
        ("times", 0, 0, 0),
        ("times", 0, 5, 0),
        ("times", 0, -1, 7),
        ("times", 0, -1, -1),
        ("times", 9, -1, 0),
        ("small", 0, -1, 0),
        ("absent", 0, -1, 0),
    ] {
        let body = json!({"replicaId": -1, "topics": [{"topic": topic, "partitions": [
            {"partition": partition, "currentLeaderEpoch": current, "leaderEpoch": asked},
        ]}]});
        session.run(step("OffsetForLeaderEpoch", api::OFFSET_FOR_LEADER_EPOCH, body));
    }
}

fn delete_records(session: &mut Session) {
    let values = Batch::plain(&["0", "1", "2", "3"]).encode();
    for _ in 0..5 {
        session.run(step("Produce", api::PRODUCE, producing("trimmed", 0, -1, hex(&values))).latest());
    }
    let deleting = |topic: &str, partition: i32, offset: i64| json!({"topics": [{"name": topic, "partitions": [{"partitionIndex": partition, "offset": offset}]}], "timeoutMs": 10000});
    for (topic, partition, offset) in [
        ("trimmed", 0, 0),
        ("trimmed", 0, 6),
        ("trimmed", 0, 2),
        ("trimmed", 0, 21),
        ("trimmed", 0, -2),
        ("trimmed", 5, 0),
        ("trimmed", -1, 0),
        ("absent", 0, 0),
        ("compacted", 0, 0),
    ] {
        session.run(step("DeleteRecords", api::DELETE_RECORDS, deleting(topic, partition, offset)));
    }
    session.run(step("Fetch, deleted", api::FETCH, fetching(&[("trimmed", 0, 0)])));
    session.run(step("Fetch, the first left", api::FETCH, fetching(&[("trimmed", 0, 6)])));
    session.run(step("DeleteRecords, all", api::DELETE_RECORDS, deleting("trimmed", 0, -1)));
    let offsets =
        json!({"topics": [{"name": "trimmed", "partitions": [{"partitionIndex": 0, "timestamp": -2}]}]});
    session.run(step("ListOffsets, all deleted", api::LIST_OFFSETS, offsets));
    session.run(step("DeleteRecords, none", api::DELETE_RECORDS, json!({"topics": [], "timeoutMs": 10})));
}

/// Idempotent producers. The batches hold the producer's id, which is another one at each broker.
fn sequences(session: &mut Session) {
    let plain = json!({"transactionalId": null, "transactionTimeoutMs": 60000});
    session.run(step("InitProducerId", api::INIT_PRODUCER_ID, plain.clone()).save("producer", "/producerId"));
    session.run(step("InitProducerId", api::INIT_PRODUCER_ID, plain).latest().save("other", "/producerId"));
    let mut known = json!({"transactionalId": null, "transactionTimeoutMs": 60000, "producerId": "$other", "producerEpoch": 0});
    session.run(step("InitProducerId, known", api::INIT_PRODUCER_ID, known.clone()).versions(3, 6));
    known["producerEpoch"] = json!(-1);
    session
        .run(step("InitProducerId, id without epoch", api::INIT_PRODUCER_ID, known.clone()).versions(3, 6));
    known["producerId"] = json!(-1);
    known["producerEpoch"] = json!(4);
    session.run(step("InitProducerId, epoch without id", api::INIT_PRODUCER_ID, known).versions(3, 6));
    session.run(step(
        "InitProducerId, empty transactional id",
        api::INIT_PRODUCER_ID,
        json!({"transactionalId": "", "transactionTimeoutMs": 60000}),
    ));

    let cases: &[(&'static str, i32, &str, i16, i32, usize)] = &[
        ("Produce, first", 0, "producer", 0, 0, 3),
        ("Produce, next", 0, "producer", 0, 3, 2),
        ("Produce, the same again", 0, "producer", 0, 3, 2),
        ("Produce, the first again", 0, "producer", 0, 0, 3),
        ("Produce, a gap", 0, "producer", 0, 9, 1),
        ("Produce, part of an old one", 0, "producer", 0, 1, 1),
        ("Produce, overlapping", 0, "producer", 0, 4, 2),
        ("Produce, goes on", 0, "producer", 0, 5, 1),
        ("Produce, new epoch from 5", 0, "producer", 1, 5, 1),
        ("Produce, new epoch", 0, "producer", 1, 0, 2),
        ("Produce, old epoch", 0, "producer", 0, 6, 1),
        ("Produce, new epoch goes on", 0, "producer", 1, 2, 1),
        ("Produce, negative sequence", 0, "producer", 1, -1, 1),
        ("Produce, negative epoch", 0, "producer", -1, 3, 1),
        ("Produce, unknown from 7", 1, "producer", 1, 7, 2),
        ("Produce, unknown goes on", 1, "producer", 1, 9, 1),
        ("Produce, another", 1, "other", 0, i32::MAX, 2),
        ("Produce, after the wrap", 1, "other", 0, 1, 1),
        ("Produce, five more", 0, "producer", 1, 3, 1),
        ("Produce, five more", 0, "producer", 1, 4, 1),
        ("Produce, five more", 0, "producer", 1, 5, 1),
        ("Produce, five more", 0, "producer", 1, 6, 1),
        ("Produce, five more", 0, "producer", 1, 7, 1),
        ("Produce, fifth last again", 0, "producer", 1, 3, 1),
        ("Produce, sixth last again", 0, "producer", 1, 2, 1),
    ];
    for &(name, partition, producer, epoch, sequence, count) in cases {
        session.save("batch", |saved| {
            let id = saved[producer].as_i64().expect("a producer id");
            let mut batch = Batch::plain(&vec!["value"; count]).idempotent((id, epoch), sequence);
            // Recent enough that no broker forgets the producer, the same in all runs of one hour.
            batch.timestamp = recent();
            hex(&batch.encode())
        });
        session
            .run(step(name, api::PRODUCE, producing("sequences", partition, -1, json!("$batch"))).latest());
        session.run(
            step("DescribeProducers", api::DESCRIBE_PRODUCERS, describing("sequences", partition)).settles(),
        );
    }
    for (topic, partition) in [("sequences", 9), ("sequences", -1), ("absent", 0), ("small", 0)] {
        session.run(step("DescribeProducers", api::DESCRIBE_PRODUCERS, describing(topic, partition)));
    }
}

fn describing(topic: &str, partition: i32) -> Value {
    json!({"topics": [{"name": topic, "partitionIndexes": [partition]}]})
}

/// The start of this hour in milliseconds.
fn recent() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    (now.as_secs() / 3600 * 3_600_000) as i64
}
