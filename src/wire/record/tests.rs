//! Format, golden bytes of Apache Kafka, damage. Validation has its own files.

mod kafka;
mod validate;

use super::*;
use proptest::prelude::*;

/// Written by Apache Kafka 4.3.1's classes; `RecordBatches.java` beside the file says how.
const GOLDEN: &str = include_str!("../../../tests/golden/record_batches.hex");

const LIMIT: usize = 1 << 20;

fn golden(name: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    from_hex(line.unwrap_or_else(|| panic!("no golden batch {name}")))
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// An owned record: offset delta, timestamp delta, key, value, headers.
type Owned = (i32, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn owned(record: &Record) -> Owned {
    let headers = record.headers.clone().map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
    (
        record.offset_delta,
        record.timestamp_delta,
        record.key.map(<[u8]>::to_vec),
        record.value.map(<[u8]>::to_vec),
        headers,
    )
}

/// Everything in one batch, or what is wrong with it.
fn read_all(bytes: &[u8]) -> Result<(BatchHeader, Vec<Owned>), RecordError> {
    let mut batches = Batches::new(bytes);
    let batch = batches.next().unwrap_or(Err(RecordError::Truncated { need: HEADER_BYTES, have: 0 }))?;
    assert_eq!(batches.position(), bytes.len());
    let mut scratch = Scratch::new();
    let records = batch.records(&mut scratch, LIMIT)?.map(|record| record.map(|record| owned(&record)));
    Ok((*batch.header(), records.collect::<Result<_, _>>()?))
}

/// The records of the golden batches, as `RecordBatches.java` appends them.
fn append_golden_records(builder: &mut BatchBuilder) {
    let none: Option<&[u8]> = None;
    builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[]);
    builder.append(1_700_000_000_123, None, Some(b"no key"), &[(b"h1", Some(b"x")), (b"null", none)]);
    builder.append(1_699_999_999_999, Some(b"gone"), None, &[]);
}

fn golden_builder() -> BatchBuilder {
    BatchBuilder::new(7).leader_epoch(12)
}

fn built(mut builder: BatchBuilder) -> Vec<u8> {
    append_golden_records(&mut builder);
    builder.build()
}

#[test]
fn uncompressed_batches_are_byte_for_byte_those_of_kafka() {
    let marker = |committed| {
        BatchBuilder::end_transaction(50, 4000, 3, committed, 21, 1_700_000_000_000).leader_epoch(4)
    };
    let kraft = |offset, control, value: &[u8]| {
        BatchBuilder::new(offset).leader_epoch(5).control(control, 1_700_000_000_000, value).build()
    };
    let now = 1_700_000_000_000_i64.to_be_bytes();
    // Version, leader 1, voters [1], granting voters [1]; compact arrays and empty tagged fields.
    let leader_change = [&[0, 0, 0, 0, 0, 1][..], &[2, 0, 0, 0, 1, 0], &[2, 0, 0, 0, 1, 0], &[0]].concat();
    let snapshot_header = [&[0, 0][..], &now, &[0]].concat();
    let cases = [
        ("none", built(golden_builder())),
        ("idempotent", built(golden_builder().producer(4000, 3, 99).transactional())),
        ("log-append-time", built(golden_builder().log_append_time(1_700_000_009_999))),
        ("commit", marker(true).build()),
        ("abort", marker(false).build()),
        ("leader-change", kraft(0, ControlType::LeaderChange, &leader_change)),
        ("snapshot-header", kraft(0, ControlType::SnapshotHeader, &snapshot_header)),
        ("snapshot-footer", kraft(9, ControlType::SnapshotFooter, &[0, 0, 0])),
    ];
    for (name, ours) in cases {
        assert_eq!(ours, golden(name), "{name}");
    }
}

#[test]
fn batches_compressed_by_kafka_hold_the_same_records() {
    let (plain_header, plain) = read_all(&golden("none")).unwrap();
    for codec in Codec::ALL {
        let (header, records) = read_all(&golden(codec.name())).unwrap();
        assert_eq!(header.attributes.codec(), Ok(codec));
        assert_eq!(records, plain, "{codec:?}");
        let expected = BatchHeader {
            attributes: header.attributes,
            batch_length: header.batch_length,
            crc: header.crc,
            ..plain_header
        };
        assert_eq!(header, expected);
        if codec != Codec::None {
            let (_, records) = read_all(&golden(&format!("{}-large", codec.name()))).unwrap();
            assert_eq!(records, [(0, 0, None, Some(vec![b'a'; 70_000]), vec![])], "{codec:?}");
        }
    }
}

#[test]
fn every_codec_and_level_brings_the_records_back() {
    let (_, plain) = read_all(&golden("none")).unwrap();
    for codec in Codec::ALL {
        for level in (-131_072..-131_070).chain(-2..=25).filter(|level| codec.allows_level(*level)) {
            let compression = Compression::with_level(codec, level);
            let bytes = built(golden_builder().compression(compression));
            assert_eq!(read_all(&bytes).unwrap().1, plain, "{compression:?}");
        }
        assert!(codec.allows_level(codec.default_level()));
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
        assert_eq!(Codec::from_id(codec.id()), Some(codec));
    }
    assert_eq!(Codec::from_id(5), None);
    assert_eq!(Compression::with_level(Codec::Gzip, 0), Compression::of(Codec::Gzip));
}

#[test]
fn codecs_bring_back_data_of_any_shape() {
    let noise: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let edges = [0, 1, 32 << 10, (32 << 10) + 1, 64 << 10, (64 << 10) + 1, 200_000];
    let mut scratch = Scratch::new();
    for codec in Codec::ALL {
        for data in edges.iter().flat_map(|&length| [vec![7; length], noise[..length].to_vec()]) {
            let mut compressed = b"before".to_vec();
            compress(codec.into(), &data, &mut compressed);
            let compressed = compressed.strip_prefix(b"before").unwrap();
            let mut out = b"replaced".to_vec();
            decompress(codec, compressed, data.len(), &mut out).unwrap();
            assert!(out == data, "{codec:?} {}", data.len());
            assert!(scratch.decompress(codec, compressed, data.len()).unwrap() == data);
            if let Some(limit) = data.len().checked_sub(1) {
                let refused = scratch.decompress(codec, compressed, limit).unwrap_err();
                assert_eq!(refused, RecordError::Uncompressed { limit }, "{codec:?} {}", data.len());
            }
        }
    }
}

#[test]
fn bombs_stop_at_the_bound() {
    let zeros = vec![0; 64 << 20];
    for codec in Codec::ALL {
        let mut bomb = Vec::new();
        compress(codec.into(), &zeros, &mut bomb);
        let mut out = Vec::new();
        assert_eq!(
            decompress(codec, &bomb, LIMIT, &mut out),
            Err(RecordError::Uncompressed { limit: LIMIT })
        );
        assert!(out.capacity() <= 2 * LIMIT, "{codec:?} used {} bytes", out.capacity());
    }
    // A snappy block of five bytes that declares 1 MiB.
    let mut out = Vec::new();
    assert!(decompress(Codec::Snappy, &[0x80, 0x80, 0x40, 0, 0], LIMIT, &mut out).is_err());
    assert_eq!(out.capacity(), 0);
}

#[test]
fn snappy_is_read_bare_and_in_several_streams() {
    let bare = snap::raw::Encoder::new().compress_vec(b"as librdkafka sends it").unwrap();
    let mut out = Vec::new();
    decompress(Codec::Snappy, &bare, LIMIT, &mut out).unwrap();
    assert_eq!(out, b"as librdkafka sends it");

    let mut streams = Vec::new();
    compress(Codec::Snappy.into(), b"one ", &mut streams);
    compress(Codec::Snappy.into(), b"two", &mut streams);
    decompress(Codec::Snappy, &streams, LIMIT, &mut out).unwrap();
    assert_eq!(out, b"one two");
}

#[test]
fn lz4_frames_are_taken_as_kafka_takes_them() {
    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
    use std::io::Write;
    let data = vec![b'x'; 100_000];
    let encode = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&data).unwrap();
        encoder.finish().unwrap()
    };
    let independent = FrameInfo::new().block_mode(BlockMode::Independent);
    let all = independent.clone().block_checksums(true).content_checksum(true).content_size(Some(100_000));
    let mut out = Vec::new();
    for info in [independent, all.clone()] {
        decompress(Codec::Lz4, &encode(info), LIMIT, &mut out).unwrap();
        assert!(out == data);
    }
    let mut damaged = encode(all);
    damaged[25] ^= 1; // in the first block, after 15 bytes of header and 4 of length
    let linked = encode(FrameInfo::new().block_mode(BlockMode::Linked));
    for refused in [damaged, linked] {
        let error = decompress(Codec::Lz4, &refused, LIMIT, &mut out).unwrap_err();
        assert!(matches!(error, RecordError::Decompress { codec: "lz4", .. }), "{error}");
    }
}

#[test]
fn a_flipped_bit_is_found_or_lies_outside_the_checksum() {
    for codec in Codec::ALL {
        let whole = golden(codec.name());
        let (header, records) = read_all(&whole).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Base offset and leader epoch are the leader's to set and so not covered.
            let outside = matches!(bit / 8, 0..8 | 12..16);
            match Batches::new(&flipped).next().unwrap() {
                Err(_) => assert!(!outside, "{codec:?} bit {bit}"),
                Ok(batch) => {
                    assert!(outside, "{codec:?} bit {bit}");
                    let read = BatchHeader {
                        base_offset: header.base_offset,
                        partition_leader_epoch: header.partition_leader_epoch,
                        ..*batch.header()
                    };
                    assert_eq!(read, header);
                    assert_eq!(read_all(&flipped).unwrap().1, records);
                }
            }
        }
    }
}

#[test]
fn a_batch_cut_anywhere_is_truncated() {
    let one = golden("none");
    let two = [one.clone(), golden("zstd")].concat();
    for length in 0..two.len() {
        let cut = &two[..length];
        let whole = usize::from(length >= one.len());
        let mut lenient = Batches::new(cut).truncated_tail();
        assert_eq!(lenient.by_ref().map(Result::unwrap).count(), whole);
        assert_eq!(lenient.position(), whole * one.len());
        let strict: Vec<_> = Batches::new(cut).collect();
        if length == whole * one.len() {
            assert_eq!(strict.len(), whole);
        } else {
            assert_eq!(strict.len(), whole + 1);
            assert!(matches!(strict[whole], Err(RecordError::Truncated { .. })));
        }
    }
    assert_eq!(Batches::new(&two).map(Result::unwrap).count(), 2);
}

#[test]
fn an_error_in_the_middle_ends_the_batches() {
    let mut bytes = [golden("none"), golden("gzip"), golden("none")].concat();
    let at = golden("none").len();
    bytes[at + 70] ^= 1;
    let mut batches = Batches::new(&bytes).truncated_tail();
    assert!(batches.next().unwrap().is_ok());
    assert!(matches!(batches.next(), Some(Err(RecordError::Crc { .. }))));
    assert!(batches.next().is_none());
    assert_eq!(batches.position(), at);
    assert_eq!(Batches::new(&bytes).without_crc().map(Result::unwrap).count(), 3);
}

#[test]
fn the_length_field_is_not_believed() {
    let whole = golden("none");
    let with_length = |length: i32| {
        let mut bytes = whole.clone();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        BatchView::parse(&bytes).unwrap_err()
    };
    for length in [i32::MIN, -1, 0, 13, 48] {
        assert_eq!(with_length(length), RecordError::BatchLength(length));
    }
    assert!(matches!(with_length(i32::MAX), RecordError::Truncated { .. }));
    for magic in [-1_i8, 0, 1, 3] {
        let mut bytes = whole.clone();
        bytes[16] = magic as u8;
        assert_eq!(BatchView::parse(&bytes).unwrap_err(), RecordError::Magic(magic));
    }
}

#[test]
fn in_place_changes_keep_the_checksum_right() {
    let mut bytes = golden("none");
    set_base_offset(&mut bytes, 1 << 40);
    set_leader_epoch(&mut bytes, 77);
    let (header, _) = read_all(&bytes).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1 << 40, 77));
    assert_eq!((header.last_offset(), header.next_offset()), ((1 << 40) + 2, (1 << 40) + 3));
    assert_eq!(header.timestamp(5), 1_700_000_000_005);

    set_log_append_time(&mut bytes, 1_800_000_000_000);
    let (header, _) = read_all(&bytes).unwrap();
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.timestamp(5), 1_800_000_000_000);
    assert_eq!(header.total_bytes(), bytes.len());

    set_max_timestamp(&mut bytes, TimestampType::CreateTime, 1_700_000_000_123);
    set_base_offset(&mut bytes, 7);
    set_leader_epoch(&mut bytes, 12);
    assert_eq!(bytes, golden("none"));
}

#[test]
fn headers_and_attributes_come_back() {
    for name in GOLDEN.lines().filter_map(|line| line.split(' ').next()) {
        let bytes = golden(name);
        assert_eq!(BatchHeader::parse(&bytes).unwrap().to_bytes(), bytes[..HEADER_BYTES]);
    }
    let all = Attributes::new(Codec::Zstd)
        .with_control(true)
        .with_delete_horizon(true)
        .with_timestamp_type(TimestampType::LogAppendTime)
        .with_transactional(true);
    assert_eq!(all.0, 0b111_1100);
    assert!(all.is_control() && all.has_delete_horizon() && all.is_transactional());
    assert_eq!(all.with_codec(Codec::Gzip).codec(), Ok(Codec::Gzip));
    assert_eq!(Attributes(6).codec(), Err(RecordError::CodecId(6)));
    let header = BatchHeader::parse(&golden("idempotent")).unwrap();
    assert_eq!((header.base_sequence, header.last_sequence()), (99, 101));
    let wrapping = BatchHeader { base_sequence: i32::MAX - 1, ..header };
    assert_eq!(wrapping.last_sequence(), 0);
}

#[test]
fn control_keys_come_back() {
    for control in ControlType::ALL {
        assert_eq!(ControlType::from_key(&control.key()), Some(control));
    }
    assert_eq!(ControlType::from_key(&[0, 1, 0, 1, 9]), Some(ControlType::Commit));
    for unknown in [&[][..], &[0, 0, 0], &[0, 0, 0, 7], &[0xff, 0xff, 0, 0]] {
        assert_eq!(ControlType::from_key(unknown), None);
    }
}

#[test]
fn malformed_records_are_named() {
    // Length, attributes, timestamp delta, offset delta, key, value, header count.
    let good = [14, 0, 0, 0, 2, b'k', 1, 0];
    assert_eq!(Records::new(&good, 1).unwrap().map(Result::unwrap).count(), 1);
    // Any negative length is null.
    assert_eq!(Records::new(&[12, 0, 0, 0, 3, 9, 0], 1).unwrap().next().unwrap().unwrap().key, None);
    let cases: &[(&[u8], i32, &str)] = &[
        (&[], 1, "its length is cut short"),
        (&[1], 1, "its length is negative"),
        (&[16, 0], 1, "longer than the batch"),
        (&[0], 1, "it is empty"),
        (&[2, 0], 1, "timestamp delta"),
        (&[4, 0, 0], 1, "offset delta"),
        (&[6, 0, 0, 0], 1, "its key"),
        (&[14, 0, 0, 0, 20, b'k', 1, 0], 1, "its key"),
        (&[14, 0, 0, 0, 2, b'k', 4, 0], 1, "its value"),
        (&[14, 0, 0, 0, 2, b'k', 1, 1], 1, "header count is negative"),
        (&[14, 0, 0, 0, 2, b'k', 1, 2], 1, "a header key is longer"),
        (&[16, 0, 0, 0, 2, b'k', 1, 2, 1], 1, "a header key is null"),
        (&[18, 0, 0, 0, 2, b'k', 1, 2, 0, 8], 1, "a header value"),
        (&[16, 0, 0, 0, 2, b'k', 1, 0, 0], 1, "bytes follow its last header"),
        (&[14, 0, 0, 0, 2, b'k', 1, 0], 2, "record 1 of the batch is malformed: its length"),
        (&[14, 0, 0, 0, 2, b'k', 1, 0, 0], 1, "1 bytes follow the last of the 1 records"),
        (&[0], 0, "1 bytes follow the last of the 0 records"),
        (&[], -1, "counts -1 records"),
    ];
    for (bytes, count, why) in cases {
        let read = Records::new(bytes, *count).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let error = read.unwrap_err().to_string();
        assert!(error.contains(why), "{bytes:?}: {error}");
    }
}

#[test]
fn a_builder_without_records_builds_nothing_and_gaps_are_kept() {
    assert!(BatchBuilder::new(5).build().is_empty());
    let mut builder = BatchBuilder::new(5);
    builder.append_at(8, 1, None, None, &[]);
    builder.append_at(20, 2, None, None, &[]);
    assert_eq!((builder.len(), builder.is_empty()), (2, false));
    let (header, records) = read_all(&builder.build()).unwrap();
    assert_eq!((header.base_offset, header.next_offset(), header.records_count), (5, 21, 2));
    assert_eq!(records.iter().map(|record| record.0).collect::<Vec<_>>(), [3, 15]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_records_come_back(
        codec in proptest::sample::select(Codec::ALL.to_vec()),
        records in proptest::collection::vec(
            (
                any::<i64>(),
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
                proptest::collection::vec(
                    (
                        proptest::collection::vec(any::<u8>(), 0..5),
                        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..5)),
                    ),
                    0..4,
                ),
            ),
            1..30,
        ),
    ) {
        let mut builder = BatchBuilder::new(1).compression(codec);
        for (timestamp, key, value, headers) in &records {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
            builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers);
        }
        let (header, read) = read_all(&builder.build()).unwrap();
        let read: Vec<_> =
            read.into_iter().map(|(_, delta, k, v, h)| (header.timestamp(delta), k, v, h)).collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        name in proptest::sample::select(vec!["none", "gzip", "snappy", "lz4", "zstd", "commit"]),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        length in any::<proptest::sample::Index>(),
        fix_crc in any::<bool>(),
    ) {
        let mut bytes = golden(name);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(HEADER_BYTES + length.index(bytes.len() - HEADER_BYTES + 1));
        if fix_crc {
            // A peer that means it: everything behind the checksum is reached.
            bytes[16] = 2;
            if let Ok(header) = BatchHeader::parse(&bytes) {
                header.seal(&mut bytes);
            }
        }
        let _ = read_all_lenient(&bytes);
        validate::validate_leniently(&bytes);
    }

    #[test]
    fn any_compressed_data_is_read_or_refused(
        data in proptest::collection::vec(any::<u8>(), 0..400),
        codec in proptest::sample::select(Codec::ALL.to_vec()),
    ) {
        let mut out = Vec::new();
        if decompress(codec, &data, LIMIT, &mut out).is_ok() {
            prop_assert!(out.len() <= LIMIT);
        }
        let _ = Records::new(&data, 3).map(Iterator::count);
        let _ = Batches::new(&data).count();
    }
}

fn read_all_lenient(bytes: &[u8]) -> usize {
    let mut scratch = Scratch::new();
    let batches = Batches::new(bytes).without_crc().truncated_tail().filter_map(Result::ok);
    batches.map(|batch| batch.records(&mut scratch, LIMIT).map_or(0, Iterator::count)).sum()
}
