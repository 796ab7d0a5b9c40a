//! Produce validation against the rules of Kafka's `LogValidator` and of what runs before it.

use super::super::*;
use super::{LIMIT, golden, owned};

const NOW_MS: i64 = 1_700_000_000_000;

pub(super) fn rules() -> ValidationRules {
    ValidationRules {
        max_message_bytes: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compacted: false,
        compression: None,
        zstd_allowed: true,
        uncompressed_bytes_max: LIMIT,
        recompressed_bytes_max: usize::MAX,
        origin: Origin::Client,
        now_ms: NOW_MS,
    }
}

fn check(bytes: &[u8], rules: &ValidationRules) -> Result<Validated, ValidationError> {
    validate(bytes, rules, &mut Scratch::new())
}

/// For the tests with arbitrary bytes: whatever comes out, an accepted batch is a good one.
pub(super) fn validate_leniently(bytes: &[u8]) {
    for origin in [Origin::Client, Origin::Coordinator] {
        for compression in [None, Some(Codec::Lz4.into())] {
            let rules = ValidationRules { compression, origin, ..rules() };
            if let Ok(validated) = check(bytes, &rules) {
                stamped(&validated, bytes);
            }
        }
    }
}

/// What goes to the log, read back.
fn stamped(validated: &Validated, bytes: &[u8]) -> (BatchHeader, Vec<super::Owned>) {
    let mut batch = validated.bytes(bytes).to_vec();
    validated.stamp(&mut batch, 1000, 5);
    let (header, records) = super::read_all(&batch).expect("what was accepted is readable");
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1000, 5));
    (header, records)
}

fn batch() -> BatchBuilder {
    BatchBuilder::new(0)
        .record(NOW_MS, Some(b"a"), Some(b"1"))
        .record(NOW_MS + 9, Some(b"b"), Some(b"2"))
        .record(NOW_MS + 3, None, Some(b"3"))
}

/// A batch with its header changed and the checksum made right.
fn with_header(bytes: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(bytes).unwrap();
    change(&mut header);
    let mut changed = bytes.to_vec();
    header.seal(&mut changed);
    changed
}

#[test]
fn a_good_batch_is_taken_as_it_is() {
    for codec in Codec::ALL {
        let bytes = batch().compression(codec).build();
        let validated = check(&bytes, &rules()).unwrap();
        let as_is = Accepted::AsIs { batch_bytes: bytes.len(), patches_timestamp: false };
        assert_eq!(validated.accepted, as_is);
        assert_eq!((validated.max_timestamp, validated.max_timestamp_delta), (NOW_MS + 9, 1));
        assert_eq!(validated.records_count(), 3);
        assert_eq!(validated.uncompressed_bytes, batch().uncompressed_bytes());
        let mut logged = bytes.clone();
        validated.stamp(&mut logged, 0, NO_LEADER_EPOCH);
        assert_eq!(logged, bytes);
    }
}

#[test]
fn refusals_have_kafkas_codes() {
    let good = batch().build();
    let legacy = |magic: u8| {
        let mut bytes = good.clone();
        bytes[16] = magic;
        bytes
    };
    let mut bad_crc = good.clone();
    bad_crc[80] ^= 1;
    let header = |change: fn(&mut BatchHeader)| with_header(&good, change);
    let offset_range = |last_offset_delta, count| ValidationError::OffsetRange { last_offset_delta, count };
    let strict = ValidationRules { max_message_bytes: good.len() - 1, ..rules() };
    let no_zstd = ValidationRules { zstd_allowed: false, ..rules() };
    let crc = BatchView::parse(&bad_crc).unwrap().check_crc().unwrap_err();
    let cases = [
        (vec![], rules(), 87, ValidationError::NoBatch),
        (good[..good.len() - 1].to_vec(), rules(), 87, ValidationError::NoBatch),
        ([&good[..], &good].concat(), rules(), 87, ValidationError::MoreThanOneBatch),
        (legacy(0), rules(), 87, ValidationError::OldFormat(0)),
        (legacy(1), rules(), 87, ValidationError::OldFormat(1)),
        (legacy(3), rules(), 2, RecordError::Magic(3).into()),
        (vec![0; 100], rules(), 2, RecordError::BatchLength(0).into()),
        (bad_crc, rules(), 2, crc.into()),
        (batch().compression(Codec::Zstd).build(), no_zstd, 76, ValidationError::ZstdNotAllowed),
        (header(|h| h.attributes.0 |= 7), rules(), 76, RecordError::CodecId(7).into()),
        (header(|h| h.base_offset = 4), rules(), 87, ValidationError::BaseOffset(4)),
        (good.clone(), strict, 10, ValidationError::TooLarge { bytes: good.len(), max: good.len() - 1 }),
        (header(|h| h.records_count = 0), rules(), 87, offset_range(2, 0)),
        (header(|h| h.records_count = -1), rules(), 87, offset_range(2, -1)),
        (header(|h| h.records_count = 2), rules(), 87, offset_range(2, 2)),
        (header(|h| h.last_offset_delta = -1), rules(), 87, offset_range(-1, 3)),
        (
            header(|h| (h.last_offset_delta, h.records_count) = (i32::MIN, i32::MIN)),
            rules(),
            87,
            offset_range(i32::MIN, i32::MIN),
        ),
        (
            header(|h| (h.last_offset_delta, h.records_count) = (1, 2)),
            rules(),
            87,
            RecordError::Trailing { count: 2, left: 8 }.into(),
        ),
        (
            header(|h| h.attributes = h.attributes.with_control(true)),
            rules(),
            87,
            ValidationError::ControlBatch,
        ),
        (
            header(|h| h.producer_id = 6),
            rules(),
            87,
            ValidationError::Sequence { producer_id: 6, base_sequence: -1 },
        ),
    ];
    for (bytes, rules, code, error) in cases {
        let refused = check(&bytes, &rules).unwrap_err();
        assert_eq!(refused, error);
        assert_eq!(refused.code().0, code, "{refused}");
        assert!(refused.record_issues().is_empty());
    }
}

#[test]
fn undecodable_records_are_refused() {
    // The header says gzip; the records are not.
    let lying = with_header(&batch().build(), |h| h.attributes = h.attributes.with_codec(Codec::Gzip));
    let error = check(&lying, &rules()).unwrap_err();
    assert!(matches!(error, ValidationError::Batch(RecordError::Decompress { codec: "gzip", .. })));
    assert_eq!(error.code().0, 87);

    let zeros = vec![0; LIMIT];
    let bomb = BatchBuilder::new(0).compression(Codec::Zstd).record(NOW_MS, None, Some(&zeros)).build();
    let error = check(&bomb, &rules()).unwrap_err();
    assert_eq!(error, RecordError::Uncompressed { limit: LIMIT }.into());
    assert_eq!(error.code().0, 10);
}

#[test]
fn a_cut_batch_behind_the_first_is_dropped() {
    let good = batch().build();
    for extra in 1..good.len() {
        let bytes = [&good, &good[..extra]].concat();
        let validated = check(&bytes, &rules()).unwrap();
        assert_eq!(validated.bytes(&bytes), good);
    }
}

#[test]
fn compacted_topics_want_keys() {
    let compacted = ValidationRules { compacted: true, ..rules() };
    for codec in Codec::ALL {
        let error = check(&batch().compression(codec).build(), &compacted).unwrap_err();
        assert_eq!(error.code().0, 87);
        assert_eq!(error.record_issues().iter().map(|i| i.batch_index).collect::<Vec<_>>(), [2]);
        let keyed = BatchBuilder::new(0).compression(codec).record(NOW_MS, Some(b""), None).build();
        assert!(check(&keyed, &compacted).is_ok());
    }
}

#[test]
fn timestamps_are_bounded_on_both_sides() {
    let bounded = ValidationRules { timestamp_before_max_ms: 10, timestamp_after_max_ms: 20, ..rules() };
    let mut builder = BatchBuilder::new(0);
    for timestamp in [NOW_MS - 10, NOW_MS + 20, NO_TIMESTAMP] {
        builder.append(timestamp, None, None, &[]);
    }
    assert!(check(&builder.clone().build(), &bounded).is_ok());
    builder.append(NOW_MS - 11, None, None, &[]);
    builder.append(NOW_MS + 21, None, None, &[]);
    let bytes = builder.build();
    let error = check(&bytes, &bounded).unwrap_err();
    assert_eq!(error.code().0, 32);
    assert_eq!(error.record_issues().iter().map(|i| i.batch_index).collect::<Vec<_>>(), [3, 4]);
    assert!(error.to_string().contains("1699999999989 is not between 1699999999990 and 1700000000020"));

    // With append time the producer's clock does not matter; without bounds neither does the past.
    let append_time = ValidationRules { timestamp_type: TimestampType::LogAppendTime, ..bounded };
    assert!(check(&bytes, &append_time).is_ok());
    assert!(check(&BatchBuilder::new(0).record(0, None, None).build(), &rules()).is_ok());
}

#[test]
fn one_bad_timestamp_among_missing_keys_decides_the_code() {
    let rules = ValidationRules { compacted: true, timestamp_before_max_ms: 10, ..rules() };
    let bytes = BatchBuilder::new(0).record(0, Some(b"k"), None).record(NOW_MS, None, None).build();
    let error = check(&bytes, &rules).unwrap_err();
    assert_eq!((error.code().0, error.record_issues().len()), (32, 2));
}

#[test]
fn the_list_of_refused_records_is_bounded() {
    let mut builder = BatchBuilder::new(0);
    for _ in 0..2000 {
        builder.append(NOW_MS, None, None, &[]);
    }
    let error = check(&builder.build(), &ValidationRules { compacted: true, ..rules() }).unwrap_err();
    assert_eq!(error.record_issues().len(), crate::base::limits::RECORD_ERRORS_MAX);
    assert!(error.to_string().starts_with("2000 records"));
}

#[test]
fn append_time_is_stamped() {
    let append_time = ValidationRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    for codec in Codec::ALL {
        let bytes = batch().compression(codec).build();
        let validated = check(&bytes, &append_time).unwrap();
        let as_is = Accepted::AsIs { batch_bytes: bytes.len(), patches_timestamp: true };
        assert_eq!(validated.accepted, as_is);
        assert_eq!(validated.max_timestamp, NOW_MS);
        let (header, _) = stamped(&validated, &bytes);
        assert_eq!(header.max_timestamp, NOW_MS);
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    }
}

#[test]
fn producers_do_not_set_append_time() {
    let bytes = BatchBuilder::new(0).log_append_time(NOW_MS).record(0, None, None).build();
    let append_time = ValidationRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    assert_eq!(check(&bytes, &append_time).unwrap_err().code().0, 32);
    // With create time Kafka takes it if the timestamps are within bounds, and turns the type back.
    let validated = check(&bytes, &rules()).unwrap();
    let (header, _) = stamped(&validated, &bytes);
    assert_eq!(header.attributes.timestamp_type(), TimestampType::CreateTime);
    let unset = BatchBuilder::new(0).log_append_time(NO_TIMESTAMP).record(0, None, None).build();
    assert_eq!(check(&unset, &rules()).unwrap_err().code().0, 32);
}

#[test]
fn a_wrong_maximum_timestamp_is_put_right() {
    let bytes = with_header(&batch().build(), |h| h.max_timestamp = 5);
    let validated = check(&bytes, &rules()).unwrap();
    let as_is = Accepted::AsIs { batch_bytes: bytes.len(), patches_timestamp: true };
    assert_eq!(validated.accepted, as_is);
    assert_eq!(stamped(&validated, &bytes).0.max_timestamp, NOW_MS + 9);
}

#[test]
fn the_topics_compression_is_applied() {
    let plain = super::read_all(&batch().build()).unwrap().1;
    for source in Codec::ALL {
        let bytes = batch().compression(source).producer(9, 1, 40).transactional().build();
        for target in Codec::ALL {
            let rules = ValidationRules { compression: Some(target.into()), ..rules() };
            let validated = check(&bytes, &rules).unwrap();
            assert_eq!(matches!(validated.accepted, Accepted::AsIs { .. }), source == target);
            let (header, records) = stamped(&validated, &bytes);
            assert_eq!(records, plain);
            assert_eq!(header.attributes.codec(), Ok(target));
            assert!(header.attributes.is_transactional());
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 1, 40));
            assert_eq!(header.max_timestamp, NOW_MS + 9);
        }
    }
}

#[test]
fn the_size_bound_holds_after_recompression_too() {
    let bytes = BatchBuilder::new(0).compression(Codec::Zstd).record(NOW_MS, None, Some(&[0; 5000])).build();
    let rules = ValidationRules { max_message_bytes: 1000, compression: Some(Codec::None.into()), ..rules() };
    let error = check(&bytes, &rules).unwrap_err();
    assert!(matches!(error, ValidationError::TooLarge { bytes: 5001.., max: 1000 }));
}

#[test]
fn wrong_offset_deltas_are_put_right() {
    let mut builder = BatchBuilder::new(0).producer(9, 1, 40);
    builder.append_at(3, NOW_MS, Some(b"a"), Some(b"1"), &[(b"h", None)]);
    builder.append_at(7, NOW_MS + 1, Some(b"b"), None, &[]);
    for codec in Codec::ALL {
        let gaps = builder.clone().compression(codec).build();
        let bytes = with_header(&gaps, |h| h.last_offset_delta = 1);
        let validated = check(&bytes, &rules()).unwrap();
        assert!(matches!(validated.accepted, Accepted::Rewritten(_)));
        let (header, records) = stamped(&validated, &bytes);
        assert_eq!((header.last_offset_delta, header.records_count, header.base_sequence), (1, 2, 40));
        assert_eq!(header.attributes.codec(), Ok(codec));
        let expected = [
            (0, 0, Some(b"a".to_vec()), Some(b"1".to_vec()), vec![(b"h".to_vec(), None)]),
            (1, 1, Some(b"b".to_vec()), None, vec![]),
        ];
        assert_eq!(records, expected);
    }
}

#[test]
fn coordinators_write_what_clients_may_not() {
    let coordinator = ValidationRules { origin: Origin::Coordinator, ..rules() };
    let marker = golden("commit");
    assert!(matches!(check(&marker, &rules()), Err(ValidationError::BaseOffset(50))));
    let validated = check(&marker, &coordinator).unwrap();
    assert!(stamped(&validated, &marker).0.attributes.is_control());
    // A control batch is not compressed, whatever the topic says.
    let compressing = ValidationRules { compression: Some(Codec::Gzip.into()), ..coordinator };
    let validated = check(&marker, &compressing).unwrap();
    assert_eq!(validated.bytes(&marker), marker);
}

#[test]
fn the_shallow_checks_do_not_look_at_records() {
    let lying = with_header(&batch().build(), |h| h.attributes = h.attributes.with_codec(Codec::Gzip));
    let view = validate_shallow(&lying, &rules()).unwrap();
    assert_eq!(view.header().records_count, 3);
    let mut scratch = Scratch::new();
    assert!(view.records(&mut scratch, LIMIT).is_err());
    let good = batch().build();
    let view = validate_shallow(&good, &rules()).unwrap();
    let first = view.records(&mut scratch, LIMIT).unwrap().next().unwrap().unwrap();
    assert_eq!(owned(&first).2.as_deref(), Some(&b"a"[..]));
}
