//! Produce requests that are made once and patched for each send.
//!
//! A record's value starts with a [`Mark`]: which producer sent it, its number among that producer's records of the
//! partition, and when it should have been sent. The bytes of a compressed batch cannot be patched, so there each of
//! [`VARIANTS`] requests is used in turn, and the batch's timestamp, which is outside the compressed part, says which
//! and whose it is.

use super::BenchError;
use super::client::{Topic, Versions};
use super::load::Load;
use crate::wire::frame;
use crate::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::wire::record::{BatchBuilder, BatchHeader, Codec, HEADER_BYTES};

/// Bytes of a mark.
pub const MARK_BYTES: usize = 20;
/// Different compressed batches that a producer sends in turn.
pub const VARIANTS: u64 = 8;
/// The name of our connections.
pub const CLIENT_ID: &str = "ottla-bench";

const CORRELATION_AT: usize = 8;
const TIMEOUT_MS: i32 = 60_000;
// Fields of a batch's header.
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const BASE_TIMESTAMP: usize = 27;
const PRODUCER_ID: usize = 43;

/// What stands at the start of a record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The producer.
    pub producer: u32,
    /// Counts the producer's records in this partition from 0.
    pub sequence: u64,
    /// When it should have been sent, in nanoseconds of the run's clock.
    pub intended_ns: u64,
}

impl Mark {
    /// Writes it.
    pub fn put(&self, out: &mut [u8]) {
        out[..4].copy_from_slice(&self.producer.to_be_bytes());
        out[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        out[12..MARK_BYTES].copy_from_slice(&self.intended_ns.to_be_bytes());
    }

    /// Reads it; `None` if there is too little.
    pub fn get(value: &[u8]) -> Option<Mark> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Some(Mark {
            producer: number(value.get(..4)?) as u32,
            sequence: number(value.get(4..12)?),
            intended_ns: number(value.get(12..MARK_BYTES)?),
        })
    }
}

/// Where things are in an uncompressed batch of a load; a batch of fewer records is the beginning of a longer one.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Compression; with one only the header can be read without work.
    pub codec: Codec,
    /// Where each record's mark is.
    pub mark_at: Vec<usize>,
    /// Where each record ends.
    pub end: Vec<usize>,
    /// The timestamp of the batches, and the one that the first compressed variant counts from.
    pub base_ms: i64,
}

impl Shape {
    /// Of a load's batches.
    pub fn new(load: &Load, now_ms: i64) -> Shape {
        let mut shape = Shape { codec: load.codec, mark_at: Vec::new(), end: Vec::new(), base_ms: now_ms };
        let mut builder = BatchBuilder::new(0);
        for record in 0..load.records {
            append(&mut builder, load, record, 0, now_ms);
            let end = builder.uncompressed_bytes();
            shape.end.push(end);
            // A record ends with its value and the number of its headers, one byte.
            shape.mark_at.push(end - 1 - load.record_bytes);
        }
        shape
    }
}

fn append(builder: &mut BatchBuilder, load: &Load, record: usize, variant: u64, now_ms: i64) {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ (record as u64) << 32 ^ variant;
    let value: Vec<u8> = (0..load.record_bytes)
        .map(|at| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // To be compressed: numbers and words in fixed places, as logs and JSON have them.
            match load.codec {
                Codec::None => random as u8,
                _ if at % 16 < 6 => b'0' + (random % 10) as u8,
                _ => b"\",\"level\":\"info"[at % 15],
            }
        })
        .collect();
    let key = (record as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    builder.append(now_ms, load.keyed.then_some(key.as_slice()), Some(&value), &[]);
}

/// Who sends a batch, and what it is to say.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The producer's number.
    pub producer: u32,
    /// The first record's number in the partition.
    pub sequence: u64,
    /// Id and epoch of an idempotent producer.
    pub identity: Option<(i64, i16)>,
}

/// A request with the same number of records for each of its partitions.
pub struct Template {
    frame: Vec<u8>,
    records: usize,
    batch_bytes: usize,
    topic_at: usize,
    topic_by_id: bool,
    /// Where each partition's index and batch are.
    places: Vec<(usize, usize)>,
}

impl Template {
    /// A request of `records` records for each of the load's `batches` partitions.
    pub fn new(
        load: &Load,
        shape: &Shape,
        records: usize,
        variant: u64,
        topic: &Topic,
        versions: Versions,
    ) -> Result<Template, BenchError> {
        let mut builder = BatchBuilder::new(0).compression(load.codec);
        for record in 0..records {
            append(&mut builder, load, record, variant, shape.base_ms);
        }
        let batch = builder.build();
        let one = PartitionProduceData { index: 0, records: Some(&batch) };
        let request = ProduceRequest {
            transactional_id: None,
            acks: load.acks,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: &topic.name,
                topic_id: topic.id,
                partition_data: vec![one; load.batches],
            }],
        };
        let frame = frame::request(&request, versions.produce, 0, Some(CLIENT_ID))
            .map_err(BenchError::reply("a Produce request"))?;
        let topic_by_id = versions.produce >= 13;
        let topic_at = find(&frame, 0, if topic_by_id { &topic.id.0 } else { topic.name.as_bytes() });
        // The index, four bytes, and the length in between: an int32, or a varint of the length plus one.
        let length_bytes = if versions.produce >= 9 { varint_bytes(batch.len() + 1) } else { 4 };
        let mut places = Vec::with_capacity(load.batches);
        let mut from = topic_at;
        for _ in 0..load.batches {
            let batch_at = find(&frame, from, &batch[..HEADER_BYTES]);
            places.push((batch_at - length_bytes - 4, batch_at));
            from = batch_at + batch.len();
        }
        Ok(Template { frame, records, batch_bytes: batch.len(), topic_at, topic_by_id, places })
    }

    /// Bytes of one batch.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Sets the correlation id and the topic, whose name is as long as the first one's.
    pub fn address(&mut self, correlation_id: i32, topic: &Topic) {
        self.frame[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation_id.to_be_bytes());
        let name = if self.topic_by_id { topic.id.0.as_slice() } else { topic.name.as_bytes() };
        self.frame[self.topic_at..self.topic_at + name.len()].copy_from_slice(name);
    }

    /// Makes the batch number `batch` one for partition `index`; gives its checksum.
    pub fn stamp(
        &mut self,
        shape: &Shape,
        batch: usize,
        index: i32,
        stamp: &Stamp,
        intended_ns: impl Fn(usize) -> u64,
    ) -> u32 {
        let (index_at, at) = self.places[batch];
        self.frame[index_at..index_at + 4].copy_from_slice(&index.to_be_bytes());
        let bytes = &mut self.frame[at..at + self.batch_bytes];
        if let Some((id, epoch)) = stamp.identity {
            let sequence = (stamp.sequence % (1 << 31)) as i32;
            bytes[PRODUCER_ID..PRODUCER_ID + 8].copy_from_slice(&id.to_be_bytes());
            bytes[PRODUCER_ID + 8..PRODUCER_ID + 10].copy_from_slice(&epoch.to_be_bytes());
            bytes[PRODUCER_ID + 10..PRODUCER_ID + 14].copy_from_slice(&sequence.to_be_bytes());
        }
        if shape.codec == Codec::None {
            for (record, at) in shape.mark_at.iter().enumerate().take(self.records) {
                let sequence = stamp.sequence + record as u64;
                let mark = Mark { producer: stamp.producer, sequence, intended_ns: intended_ns(record) };
                mark.put(&mut bytes[*at..]);
            }
        } else {
            let variant = stamp.sequence / self.records as u64 % VARIANTS;
            let time = shape.base_ms + (u64::from(stamp.producer) * VARIANTS + variant) as i64;
            // Base and maximum: the records have no distance in time.
            bytes[BASE_TIMESTAMP..BASE_TIMESTAMP + 8].copy_from_slice(&time.to_be_bytes());
            bytes[BASE_TIMESTAMP + 8..BASE_TIMESTAMP + 16].copy_from_slice(&time.to_be_bytes());
        }
        let crc = crc32c::crc32c(&bytes[ATTRIBUTES..]);
        bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
        crc
    }

    /// The request, its length in front.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

/// Producer and variant of a compressed batch.
pub fn variant_of(shape: &Shape, header: &BatchHeader) -> Option<(u32, u64)> {
    let number = u64::try_from(header.base_timestamp.checked_sub(shape.base_ms)?).ok()?;
    Some(((number / VARIANTS).try_into().ok()?, number % VARIANTS))
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let at = bytes[from..].windows(what.len()).position(|w| w == what);
    from + at.expect("a request that was just made holds what was put into it")
}

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - value.leading_zeros()).div_ceil(7).max(1) as usize
}
