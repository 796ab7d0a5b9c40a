//! Compressed records as Java's consumers read them: what they cannot read must not be stored, for a consumer would fail on it
//! at each attempt, and what they can read must be accepted. Payloads of each codec in each of its shapes, and mutants of them.

use super::support::java::Driver;
use super::support::records::{Batch, HEADER_BYTES, with_compressed, zstd_frame};
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use ottla::base::prng::Prng;
use ottla::wire::record::{
    Accepted, BatchView, Codec, Origin, Scratch, TimestampType, ValidationError, ValidationRules, validate,
};
use serde_json::{Value, json};
use std::io::Write;
use zstd::zstd_safe::{CCtx, CParameter};

/// Mutants of each small payload, and of each large one.
const MUTANTS: (usize, usize) = (250, 3);
/// More than any of these payloads becomes.
const LIMIT: usize = 4 << 20;
const TIMESTAMP: i64 = 1_700_000_000_000;

/// Where a consumer may read what is refused here: the codec, what is said here, and why it is right.
const REFUSED: &[(Codec, &str, &str)] = &[
    (
        Codec::Gzip,
        "cut short",
        "the beginning of a member behind the last: Java sees it or not, as its buffer ends",
    ),
    (
        Codec::Snappy,
        "a chunk is longer",
        "half a header behind the last chunk: Java ends there or goes on, as its buffer ends",
    ),
    (Codec::Zstd, "a frame needs a window", "Java does not look at a frame that is cut short"),
    (
        Codec::Zstd,
        "Src size is incorrect",
        "the beginning of a frame behind the last: other clients fail on it",
    ),
];

/// Compressed records, and how many they are.
struct Payload {
    name: String,
    codec: Codec,
    count: i32,
    bytes: Vec<u8>,
}

/// The bytes of some records: few and small, or more than any codec's block.
fn records(large: bool) -> (i32, Vec<u8>) {
    let long = "0123456789".repeat(if large { 4_000 } else { 2 });
    let values = ["first", &long, "a third one", &long];
    (values.len() as i32, Batch::plain(&values).encode()[HEADER_BYTES..].to_vec())
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A gzip member with optional fields in its header, and their checksum where `flags` has it.
fn gzip_flags(data: &[u8], flags: u8) -> Vec<u8> {
    let plain = gzip(data);
    let mut bytes = plain[..10].to_vec();
    bytes[3] = flags;
    let fields: [(u8, &[u8]); 3] = [(4, b"\x03\0abc"), (8, b"name\0"), (16, b"comment\0")];
    for (flag, field) in fields {
        if flags & flag != 0 {
            bytes.extend(field);
        }
    }
    if flags & 2 != 0 {
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        bytes.extend((crc.sum() as u16).to_le_bytes());
    }
    bytes.extend(&plain[10..]);
    bytes
}

fn lz4(data: &[u8], change: impl Fn(FrameInfo) -> FrameInfo) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(change(FrameInfo::new()), Vec::new());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

fn snappy(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).expect("in memory")
}

/// In snappy-java's framing, with these versions in the header.
fn xerial(chunks: &[&[u8]], version: i32, compatible: i32) -> Vec<u8> {
    let mut bytes = b"\x82SNAPPY\0".to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend(compatible.to_be_bytes());
    for chunk in chunks {
        let chunk = snappy(chunk);
        bytes.extend((chunk.len() as i32).to_be_bytes());
        bytes.extend(chunk);
    }
    bytes
}

fn zstandard(data: &[u8], parameters: &[CParameter]) -> Vec<u8> {
    let mut context = CCtx::create();
    for parameter in parameters {
        context.set_parameter(*parameter).expect("a parameter that zstd has");
    }
    // In two steps, as the size is then not known beforehand and the window is as it was asked for.
    let mut bytes = Vec::with_capacity(data.len() + 1024);
    {
        let mut out = zstd::zstd_safe::OutBuffer::around(&mut bytes);
        context.compress_stream(&mut out, &mut zstd::zstd_safe::InBuffer::around(data)).expect("room");
        context.end_stream(&mut out).expect("room");
    }
    bytes
}

fn in_one_call(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(zstd::zstd_safe::compress_bound(data.len()));
    zstd::zstd_safe::compress(&mut bytes, data, 3).expect("room");
    bytes
}

fn payloads() -> Vec<Payload> {
    let mut all = Vec::new();
    for large in [false, true] {
        let (count, data) = records(large);
        let (a, b) = data.split_at(data.len() / 3);
        let mut add = |codec: Codec, name: String, bytes: Vec<u8>| {
            let name = format!("{} {name}{}", codec.name(), if large { ", large" } else { "" });
            all.push(Payload { name, codec, count, bytes });
        };
        add(Codec::None, "as it is".into(), data.clone());

        let one = gzip(&data);
        add(Codec::Gzip, "plain".into(), one.clone());
        add(Codec::Gzip, "two members".into(), [gzip(a), gzip(b)].concat());
        add(Codec::Gzip, "an empty member first".into(), [gzip(b""), one.clone()].concat());
        add(Codec::Gzip, "an empty member last".into(), [one.clone(), gzip(b"")].concat());
        add(Codec::Gzip, "zeros behind".into(), [&one[..], &[0; 20]].concat());
        add(Codec::Gzip, "words behind".into(), [&one[..], b"what is this, behind the trailer?"].concat());
        for flags in 0..32 {
            add(Codec::Gzip, format!("header flags {flags}"), gzip_flags(&data, flags));
        }
        add(Codec::Gzip, "reserved flags".into(), gzip_flags(&data, 0xe0));

        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for (bits, size) in (0..8).zip(
                [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB]
                    .into_iter()
                    .cycle(),
            ) {
                {
                    let bytes = lz4(&data, |info| {
                        info.block_mode(mode)
                            .block_size(size)
                            .block_checksums(bits & 1 != 0)
                            .content_checksum(bits & 2 != 0)
                            .content_size((bits & 4 != 0).then_some(data.len() as u64))
                    });
                    add(Codec::Lz4, format!("{mode:?} {size:?} {bits:03b}"), bytes);
                }
            }
        }
        let plain = lz4(&data, |info| info.block_mode(BlockMode::Independent));
        let independent = |data: &[u8]| lz4(data, |info| info.block_mode(BlockMode::Independent));
        add(Codec::Lz4, "two frames".into(), [independent(a), independent(b)].concat());
        add(Codec::Lz4, "words behind".into(), [&plain[..], b"what is this?"].concat());
        add(Codec::Lz4, "no end mark".into(), plain[..plain.len() - 4].to_vec());
        add(Codec::Lz4, "legacy".into(), lz4(&data, |info| info.legacy_frame(true)));
        let end = plain.len() - 4;
        add(Codec::Lz4, "an empty block last".into(), [&plain[..end], &[1, 0, 0, 0, 0], &[0; 4]].concat());
        add(Codec::Lz4, "an empty block first".into(), [&plain[..7], &[1, 0, 0, 0, 0], &plain[7..]].concat());
        let mut empty_between = plain[..end].to_vec();
        empty_between.extend([1, 0, 0, 0, 0]);
        empty_between.extend(&plain[7..]);
        add(Codec::Lz4, "all again behind an empty block".into(), empty_between);

        add(Codec::Snappy, "raw".into(), snappy(&data));
        add(Codec::Snappy, "raw, bytes behind".into(), [&snappy(&data)[..], &[0, 0]].concat());
        for (version, compatible) in [(1, 1), (2, 1), (2, 2), (0, 0), (0, 1), (-1, 1), (1, 9), (i32::MAX, 1)]
        {
            add(Codec::Snappy, format!("{version}/{compatible}"), xerial(&[&data], version, compatible));
            let second = xerial(&[b], version, compatible);
            add(
                Codec::Snappy,
                format!("a second stream {version}/{compatible}"),
                [xerial(&[a], 1, 1), second].concat(),
            );
        }
        add(Codec::Snappy, "two chunks".into(), xerial(&[a, b], 1, 1));
        add(Codec::Snappy, "empty chunks".into(), xerial(&[b"", a, b"", b""], 1, 1));
        add(Codec::Snappy, "empty chunks around".into(), xerial(&[b"", a, b"", b, b""], 1, 1));
        for behind in 1..6 {
            let bytes = [&xerial(&[&data], 1, 1)[..], &vec![0; behind]].concat();
            add(Codec::Snappy, format!("{behind} bytes behind"), bytes);
        }
        let sized_zero = [&xerial(&[a], 1, 1)[..], &[0; 4], &xerial(&[b], 1, 1)[16..]].concat();
        add(Codec::Snappy, "a chunk without bytes".into(), sized_zero);

        let one = zstandard(&data, &[]);
        add(Codec::Zstd, "plain".into(), one.clone());
        add(Codec::Zstd, "in one call".into(), in_one_call(&data));
        add(Codec::Zstd, "with a checksum".into(), zstandard(&data, &[CParameter::ChecksumFlag(true)]));
        add(Codec::Zstd, "two frames".into(), [zstandard(a, &[]), zstandard(b, &[])].concat());
        let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"abcd"].concat();
        add(Codec::Zstd, "skippable first".into(), [&skippable[..], &one].concat());
        add(Codec::Zstd, "skippable last".into(), [&one[..], &skippable].concat());
        add(Codec::Zstd, "words behind".into(), [&one[..], b"what is this?"].concat());
        add(Codec::Zstd, "an empty frame first".into(), [zstandard(b"", &[]), one.clone()].concat());
        if !large {
            for window in 0..=255 {
                add(Codec::Zstd, format!("window byte {window}"), zstd_frame(window, &data));
            }
            let second = [one.clone(), zstd_frame(20 << 3, b"")].concat();
            add(Codec::Zstd, "a large window in the second frame".into(), second);
        }
    }
    all
}

/// A batch around the payload.
fn batch(payload: &Payload) -> Vec<u8> {
    let records = vec![(None, None); payload.count as usize];
    let batch = Batch { timestamp: TIMESTAMP, records, ..Batch::plain(&[]) }.encode();
    with_compressed(&batch, payload.codec.id(), &payload.bytes)
}

/// Takes a payload's bytes apart a little.
fn mutant(payload: &Payload, random: &mut Prng) -> Payload {
    let mut bytes = payload.bytes.clone();
    for _ in 0..=random.below(2) {
        // What matters stands mostly at the front and at the end.
        let (len, near) = (bytes.len() as u64 + 1, random.below(40));
        let at = match random.below(3) {
            0 => near.min(len - 1),
            1 => (len - 1).saturating_sub(near),
            _ => random.below(len),
        } as usize;
        let noise: Vec<u8> = (0..random.below(24)).map(|_| random.next_u64() as u8).collect();
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, noise)),
            2 => bytes.extend(noise),
            3 => bytes.extend(vec![0; random.below(24) as usize]),
            4 => bytes.extend(&payload.bytes[..at.min(payload.bytes.len())]),
            5 if at < bytes.len() => drop(bytes.remove(at)),
            6 if at < bytes.len() => bytes[at] = [0, 0xff, 0x80][random.below(3) as usize],
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    Payload { name: format!("a mutant of {}", payload.name), bytes, ..*payload }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// What would be stored for a batch, and its records in the driver's words; or why nothing would.
fn ours(input: &[u8]) -> Result<(Vec<u8>, Value), ValidationError> {
    let rules = ValidationRules {
        max_message_bytes: LIMIT,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compacted: false,
        compression: None,
        zstd_allowed: true,
        uncompressed_bytes_max: LIMIT,
        recompressed_bytes_max: usize::MAX,
        origin: Origin::Client,
        now_ms: TIMESTAMP,
    };
    let validated = validate(input, &rules, &mut Scratch::new())?;
    let mut stored = validated.bytes(input).to_vec();
    if !matches!(validated.accepted, Accepted::AsIs { .. }) {
        // It was written anew with the offsets it should have had.
        validated.stamp(&mut stored, 0, 0);
    }
    let (mut scratch, view) = (Scratch::new(), BatchView::parse(&stored)?);
    let mut all = Vec::new();
    for record in view.records(&mut scratch, LIMIT)? {
        let record = record?;
        let headers: Vec<Value> = record
            .headers
            .flat_map(|h| [json!(String::from_utf8_lossy(h.key)), json!(h.value.map(hex))])
            .collect();
        let (offset, timestamp) = (record.offset_delta, view.header().timestamp(record.timestamp_delta));
        all.push(json!([offset, timestamp, record.key.map(hex), record.value.map(hex), headers]));
    }
    Ok((stored, Value::Array(all)))
}

/// What is wrong with how this batch is judged.
fn difference(
    payload: &Payload,
    ours: &Result<(Vec<u8>, Value), ValidationError>,
    theirs: &Value,
) -> Option<String> {
    match ours {
        Ok((_, records)) if records == theirs => None,
        Ok(_) if theirs.is_array() => Some("read otherwise by Java".into()),
        Ok(_) => Some(format!("stored, but Java cannot read it: {theirs}")),
        Err(_) if theirs.is_string() => None,
        // The topic's rules, not the codec's.
        Err(ValidationError::Records { .. }) => None,
        Err(error) => {
            let said = error.to_string();
            let listed =
                REFUSED.iter().any(|(codec, reason, _)| *codec == payload.codec && said.contains(reason));
            (!listed).then(|| format!("refused, but Java reads it: {said}"))
        }
    }
}

#[test]
fn compressed_records_are_those_that_java_reads() {
    let Some(mut driver) = Driver::start("CodecDriver") else { return };
    let mut found = Vec::new();
    let mut random = Prng::new(0x6f74_746c_6122);
    for payload in payloads() {
        let count = match &payload.name {
            name if name.contains("window byte") => 0,
            name if name.ends_with("large") => MUTANTS.1,
            _ => MUTANTS.0,
        };
        let mutants: Vec<Payload> = (0..count).map(|_| mutant(&payload, &mut random)).collect();
        let all: Vec<Payload> = std::iter::once(payload).chain(mutants).collect();
        let judged: Vec<_> = all.iter().map(|payload| ours(&batch(payload))).collect();
        // Java is given what would be stored, or else what was refused.
        let batches: Vec<String> = all
            .iter()
            .zip(&judged)
            .map(|(payload, ours)| {
                hex(ours.as_ref().map_or_else(|_| batch(payload), |(stored, _)| stored.clone()).as_slice())
            })
            .collect();
        let read = driver.call(&json!({"batches": batches}));
        for ((payload, ours), theirs) in
            all.iter().zip(&judged).zip(read["read"].as_array().expect("an array"))
        {
            if let Some(what) = difference(payload, ours, theirs) {
                found.push(format!("{}: {what}", payload.name));
            }
        }
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found[..found.len().min(60)].join("\n"));
}
