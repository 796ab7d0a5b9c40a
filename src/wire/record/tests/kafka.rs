//! The same batches, judged by Apache Kafka 4.3.1's classes and by us.

use super::super::*;
use super::validate::rules;
use super::{from_hex, read_all};

/// Written by `ProduceValidation.java` beside the file, which describes the format.
const JUDGED: &str = include_str!("../../../../tests/golden/produce_validation.txt");

/// Where we differ from Kafka, and how. The rest of a line is what we say in Kafka's place.
const DIFFERENCES: &[(&str, &str)] = &[
    // Kafka says UNKNOWN_SERVER_ERROR to what its decompressors refuse; the client learns no reason.
    ("codec-5-none default", "error 76"),
    ("codec-5-zstd default", "error 76"),
    ("wrong-codec-none default", "error 87"),
    ("wrong-codec-zstd default", "error 87"),
    // Kafka does not compare a compressed record's length with its fields; its consumers then fail on it.
    ("record-long-snappy default", "error 87"),
    ("record-short-snappy default", "error 87"),
    // Kafka stores wrong offset deltas as they are, or fails if compressed.
    ("deltas-equal-none default", "ok"),
    ("deltas-gap-none default", "ok"),
    ("deltas-equal-snappy default", "ok"),
    ("deltas-gap-snappy default", "ok"),
    // Kafka's batch builder has checks of its own and drops the control bit; no coordinator writes this.
    ("no-sequence-none coordinator", "ok"),
    ("no-sequence-zstd coordinator", "ok"),
    ("control-zstd coordinator", "ok"),
];

fn rules_of(name: &str) -> ValidationRules {
    let rules = rules();
    let bounded = ValidationRules { timestamp_before_max_ms: 10, timestamp_after_max_ms: 20, ..rules };
    match name {
        "default" => rules,
        "append-time" => ValidationRules { timestamp_type: TimestampType::LogAppendTime, ..rules },
        "bounded" => bounded,
        "compacted" => ValidationRules { compacted: true, ..bounded },
        "coordinator" => {
            ValidationRules { origin: Origin::Coordinator, compression: Some(Codec::Gzip.into()), ..rules }
        }
        "version-6" => ValidationRules { zstd_allowed: false, ..rules },
        "max-98" => ValidationRules { max_message_bytes: 98, ..rules },
        other => {
            let codec = other.strip_prefix("to-").and_then(Codec::from_name).expect("known rules");
            ValidationRules { compression: Some(codec.into()), ..rules }
        }
    }
}

/// Ours in the words of the file, save that an accepted batch is only "ok"; and what would be written.
fn judge(input: &[u8], rules: &ValidationRules) -> (String, Option<(Vec<u8>, bool)>) {
    match validate(input, rules, &mut Scratch::new()) {
        Ok(validated) => {
            let mut batch = validated.bytes(input).to_vec();
            validated.stamp(&mut batch, 1000, 5);
            let in_place = matches!(validated.accepted, Accepted::AsIs { .. });
            ("ok".to_owned(), Some((batch, in_place)))
        }
        Err(error) => {
            let mut words = vec!["error".to_owned(), error.code().0.to_string()];
            words.extend(error.record_issues().iter().map(|issue| issue.batch_index.to_string()));
            (words.join(" "), None)
        }
    }
}

/// What a reader sees of a batch: the header without what compression changes, and absolute timestamps.
fn seen(batch: &[u8]) -> impl PartialEq + std::fmt::Debug {
    let (header, records) = read_all(batch).unwrap();
    let mut plain = header;
    (plain.batch_length, plain.crc, plain.base_timestamp) = (0, 0, 0);
    let records: Vec<_> =
        records.into_iter().map(|(at, delta, k, v, h)| (at, header.timestamp(delta), k, v, h)).collect();
    (plain, records)
}

#[test]
fn batches_are_judged_as_kafka_judges_them() {
    let mut used = Vec::new();
    let mut judged = 0;
    for line in JUDGED.lines() {
        let [case, rules, input, outcome] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            panic!("not a judged case: {line}")
        };
        let input = if input == "-" { vec![] } else { from_hex(input) };
        let name = format!("{case} {rules}");
        let (ours, batch) = judge(&input, &rules_of(rules));
        judged += 1;
        if let Some((_, instead)) = DIFFERENCES.iter().find(|(differing, _)| *differing == name) {
            assert_eq!(ours, *instead, "{name}");
            used.push(name);
            continue;
        }
        match outcome.strip_prefix("ok ") {
            None => assert_eq!(ours, outcome, "{name}"),
            Some(written) => {
                let written = from_hex(written);
                let (batch, in_place) = batch.unwrap_or_else(|| panic!("{name}: {ours}"));
                if in_place {
                    assert_eq!(batch, written, "{name}");
                }
                assert_eq!(seen(&batch), seen(&written), "{name}");
            }
        }
    }
    assert!(judged > 150);
    assert_eq!(used.len(), DIFFERENCES.len(), "a difference no longer exists or has no case");
}
