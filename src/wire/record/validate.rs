//! What a leader checks before it appends a producer's batch (Kafka's `ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`, for format 2).
//!
//! Everything here is a function of the bytes and of the topic's configuration. Producer epochs, sequences and
//! transactions need the partition's state and are checked by its log.

use super::build::assemble;
use super::{
    BatchBuilder, BatchHeader, BatchView, Codec, Compression, HEADER_BYTES, NO_TIMESTAMP, RecordError,
    Records, Scratch, TimestampType, set_base_offset, set_leader_epoch, set_max_timestamp,
};
use crate::base::limits::RECORD_ERRORS_MAX;
use crate::wire::ErrorCode;
use thiserror::Error;

/// Who appends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request: everything is checked.
    #[default]
    Client,
    /// The broker's own coordinators, which may write control batches.
    Coordinator,
}

/// The topic's rules, and the moment.
#[derive(Clone, Copy, Debug)]
pub struct ValidationRules {
    /// `max.message.bytes`: bytes of a batch, header included.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// `compression.type` and its level; `None` is `producer`: as it came.
    pub compression: Option<Compression>,
    /// Whether zstd may be used: not before Produce version 7.
    pub zstd_allowed: bool,
    /// Bound on a batch's records when decompressed, in bytes.
    pub uncompressed_bytes_max: usize,
    /// Bound on what is compressed anew, in bytes before compression.
    pub recompressed_bytes_max: usize,
    /// Who appends.
    pub origin: Origin,
    /// The wall clock: the append time, and what timestamps are compared with.
    pub now_ms: i64,
}

/// A batch that may be appended.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The header as it came.
    pub header: BatchHeader,
    /// The largest record timestamp, or the append time; milliseconds, -1 if no record has one.
    pub max_timestamp: i64,
    /// Offset delta of the first record with that timestamp. (Kafka's time index uses the batch's last offset.)
    pub max_timestamp_delta: i32,
    /// Bytes of header and records before compression.
    pub uncompressed_bytes: usize,
    /// What to append.
    pub accepted: Accepted,
    timestamp_type: TimestampType,
}

/// What to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The batch as it came.
    AsIs {
        /// Its bytes, from the start of what was validated. Less than all if a cut batch followed.
        batch_bytes: usize,
        /// Whether [`Validated::stamp`] changes bytes under the checksum: append time, or a maximum timestamp
        /// that the producer had wrong. If not, only base offset and leader epoch change.
        patches_timestamp: bool,
    },
    /// Other bytes: recompressed, or with the offset deltas that the producer had wrong.
    Rewritten(Vec<u8>),
}

impl Validated {
    /// Makes `batch`, a copy of the accepted bytes, what goes to the log.
    pub fn stamp(&self, batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
        set_base_offset(batch, base_offset);
        set_leader_epoch(batch, leader_epoch);
        set_max_timestamp(batch, self.timestamp_type, self.max_timestamp);
    }

    /// The accepted bytes, where `batches` is what was validated.
    pub fn bytes<'a>(&'a self, batches: &'a [u8]) -> &'a [u8] {
        match &self.accepted {
            Accepted::AsIs { batch_bytes, .. } => batches.get(..*batch_bytes).unwrap_or_default(),
            Accepted::Rewritten(bytes) => bytes,
        }
    }

    /// Records in the batch.
    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }
}

/// One record that was refused, as the Produce response lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordIssue {
    /// Position in the batch, from 0.
    pub batch_index: i32,
    /// Why.
    pub message: String,
}

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValidationError {
    /// There is no complete batch.
    #[error("there is no record batch; send one per partition")]
    NoBatch,
    /// Only one batch per partition and request.
    #[error("there is more than one record batch; send one per partition and request")]
    MoreThanOneBatch,
    /// Magic 0 or 1.
    #[error("record format {0} is no longer supported; use format 2 (clients since 0.11)")]
    OldFormat(i8),
    /// zstd below Produce version 7.
    #[error("zstd needs Produce version 7 or later; upgrade the client or choose another compression")]
    ZstdNotAllowed,
    /// The batch cannot be read.
    #[error(transparent)]
    Batch(#[from] RecordError),
    /// Producers count from 0.
    #[error("the base offset of a produced batch is 0, but this one's is {0}")]
    BaseOffset(i64),
    /// Above `max.message.bytes`.
    #[error("the batch has {bytes} bytes, more than the topic's max.message.bytes of {max}")]
    TooLarge {
        /// Of the batch, after recompression if the topic asks for that.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The offset range is empty, there are no records, or the two differ.
    #[error("the last offset delta is {last_offset_delta} but the batch counts {count} records")]
    OffsetRange {
        /// From the header; one less than the count.
        last_offset_delta: i32,
        /// From the header; at least one.
        count: i32,
    },
    /// Only the broker writes control records.
    #[error("clients may not write control records")]
    ControlBatch,
    /// An idempotent producer's sequence is not negative.
    #[error("the batch of producer {producer_id} has the invalid sequence number {base_sequence}")]
    Sequence {
        /// Who.
        producer_id: i64,
        /// Which.
        base_sequence: i32,
    },
    /// Records that the topic does not take. Nothing of the batch was appended.
    #[error("{total} records of the batch were refused, the first one because: {}", first(.issues))]
    Records {
        /// Whether a timestamp was among the reasons.
        timestamps: bool,
        /// How many.
        total: usize,
        /// The first ones of them.
        issues: Vec<RecordIssue>,
    },
}

fn first(issues: &[RecordIssue]) -> &str {
    issues.first().map_or("", |issue| &issue.message)
}

impl ValidationError {
    /// Kafka's error code.
    pub fn code(&self) -> ErrorCode {
        match self {
            ValidationError::Batch(error) => match error {
                RecordError::Truncated { .. }
                | RecordError::BatchLength(_)
                | RecordError::Magic(_)
                | RecordError::Crc { .. } => ErrorCode::CORRUPT_MESSAGE,
                RecordError::CodecId(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
                // The producer splits a batch on this answer, which is the remedy.
                RecordError::Uncompressed { .. } => ErrorCode::MESSAGE_TOO_LARGE,
                // Kafka answers UNKNOWN_SERVER_ERROR to data that does not decompress.
                RecordError::Decompress { .. }
                | RecordError::Record { .. }
                | RecordError::Count(_)
                | RecordError::Trailing { .. } => ErrorCode::INVALID_RECORD,
            },
            ValidationError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            ValidationError::ZstdNotAllowed => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            ValidationError::Records { timestamps: true, .. } => ErrorCode::INVALID_TIMESTAMP,
            ValidationError::NoBatch
            | ValidationError::MoreThanOneBatch
            | ValidationError::OldFormat(_)
            | ValidationError::BaseOffset(_)
            | ValidationError::OffsetRange { .. }
            | ValidationError::ControlBatch
            | ValidationError::Sequence { .. }
            | ValidationError::Records { timestamps: false, .. } => ErrorCode::INVALID_RECORD,
        }
    }

    /// The refused records, for the response's `record_errors`. Kafka sends its `error_message` with these
    /// and leaves it null for every other error.
    pub fn record_issues(&self) -> &[RecordIssue] {
        match self {
            ValidationError::Records { issues, .. } => issues,
            _ => &[],
        }
    }
}

/// All checks: [`validate_shallow`], then every record.
pub fn validate(
    batches: &[u8],
    rules: &ValidationRules,
    scratch: &mut Scratch,
) -> Result<Validated, ValidationError> {
    let batch = validate_shallow(batches, rules)?;
    let header = *batch.header();
    let source = header.attributes.codec()?;
    let raw = match source {
        Codec::None => batch.records_bytes(),
        codec => scratch.decompress(codec, batch.records_bytes(), rules.uncompressed_bytes_max)?,
    };
    let walk = walk(Records::new(raw, header.records_count)?, &header, rules)?;

    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => walk.max_timestamp,
        TimestampType::LogAppendTime => rules.now_ms,
    };
    let target = target_compression(&header, source, rules);
    let renumber = rules.origin == Origin::Client && !walk.consecutive;
    let accepted = if target.codec() == source && !renumber {
        Accepted::AsIs {
            batch_bytes: batch.bytes().len(),
            patches_timestamp: header.attributes.timestamp_type() != rules.timestamp_type
                || header.max_timestamp != max_timestamp,
        }
    } else {
        if target.codec() != Codec::None && raw.len() > rules.recompressed_bytes_max {
            return Err(RecordError::Uncompressed { limit: rules.recompressed_bytes_max }.into());
        }
        let mut header = header;
        header.attributes = header.attributes.with_timestamp_type(rules.timestamp_type);
        header.max_timestamp = max_timestamp;
        let bytes = if renumber { renumbered(header, target, raw)? } else { assemble(header, target, raw) };
        check_size(bytes.len(), rules)?;
        Accepted::Rewritten(bytes)
    };
    Ok(Validated {
        header,
        max_timestamp,
        max_timestamp_delta: walk.max_timestamp_delta,
        uncompressed_bytes: HEADER_BYTES + raw.len(),
        accepted,
        timestamp_type: rules.timestamp_type,
    })
}

/// The checks that look at the header and the checksum only, in Kafka's order.
pub fn validate_shallow<'a>(
    batches: &'a [u8],
    rules: &ValidationRules,
) -> Result<BatchView<'a>, ValidationError> {
    let batch = only_batch(batches)?;
    let header = batch.header();
    if !rules.zstd_allowed && header.attributes.codec() == Ok(Codec::Zstd) {
        return Err(ValidationError::ZstdNotAllowed);
    }
    if rules.origin == Origin::Client && header.base_offset != 0 {
        return Err(ValidationError::BaseOffset(header.base_offset));
    }
    check_size(batch.bytes().len(), rules)?;
    batch.check_crc()?;
    header.attributes.codec()?;
    if rules.origin == Origin::Client {
        check_client_header(header)?;
    }
    Ok(batch)
}

/// The first batch, and that no other one follows. A batch that is cut short counts as none, as in Kafka.
fn only_batch(batches: &[u8]) -> Result<BatchView<'_>, ValidationError> {
    let batch = BatchView::parse(batches).map_err(|error| match error {
        RecordError::Truncated { .. } => ValidationError::NoBatch,
        RecordError::Magic(magic @ 0..=1) => ValidationError::OldFormat(magic),
        error => ValidationError::Batch(error),
    })?;
    let rest = batches.get(batch.bytes().len()..).unwrap_or_default();
    match BatchHeader::parse(rest).map(|next| next.total_bytes()) {
        Ok(bytes) if bytes <= rest.len() => Err(ValidationError::MoreThanOneBatch),
        Ok(_) | Err(RecordError::Truncated { .. }) => Ok(batch),
        Err(RecordError::Magic(0..=1)) => Err(ValidationError::MoreThanOneBatch),
        Err(error) => Err(ValidationError::Batch(error)),
    }
}

fn check_size(bytes: usize, rules: &ValidationRules) -> Result<(), ValidationError> {
    let max = rules.max_message_bytes;
    if bytes > max { Err(ValidationError::TooLarge { bytes, max }) } else { Ok(()) }
}

fn check_client_header(header: &BatchHeader) -> Result<(), ValidationError> {
    let (last_offset_delta, count) = (header.last_offset_delta, header.records_count);
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(ValidationError::OffsetRange { last_offset_delta, count });
    }
    if header.attributes.is_control() {
        return Err(ValidationError::ControlBatch);
    }
    let (producer_id, base_sequence) = (header.producer_id, header.base_sequence);
    if header.has_producer_id() && base_sequence < 0 {
        return Err(ValidationError::Sequence { producer_id, base_sequence });
    }
    Ok(())
}

/// What the topic wants it to be. Control records stay as they are.
fn target_compression(header: &BatchHeader, source: Codec, rules: &ValidationRules) -> Compression {
    match rules.compression {
        Some(target) if !(source == Codec::None && header.attributes.is_control()) => target,
        _ => source.into(),
    }
}

struct Walk {
    max_timestamp: i64,
    max_timestamp_delta: i32,
    /// Offset deltas are 0, 1, 2 and so on.
    consecutive: bool,
}

/// Checks every record.
fn walk(records: Records, header: &BatchHeader, rules: &ValidationRules) -> Result<Walk, ValidationError> {
    let mut walk = Walk { max_timestamp: NO_TIMESTAMP, max_timestamp_delta: 0, consecutive: true };
    let mut refused = Refused::default();
    for (index, record) in (0..).zip(records) {
        let record = record?;
        let timestamp = header.timestamp(record.timestamp_delta);
        walk.consecutive &= record.offset_delta == index;
        if timestamp > walk.max_timestamp {
            walk.max_timestamp = timestamp;
            walk.max_timestamp_delta = index;
        }
        if rules.compacted && record.key.is_none() {
            refused.add(index, false, || "a compacted topic takes only records with a key".to_owned());
        } else if let Some(why) = bad_timestamp(timestamp, header, rules) {
            refused.add(index, true, || why.message(timestamp, rules));
        }
    }
    refused.into_result().map(|()| walk)
}

#[derive(Clone, Copy)]
enum BadTimestamp {
    OutOfRange,
    SetByProducer,
}

/// Kafka compares with wrapping arithmetic, so do we: the bounds may be `i64::MAX`.
#[inline]
fn bad_timestamp(timestamp: i64, header: &BatchHeader, rules: &ValidationRules) -> Option<BadTimestamp> {
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        let age_ms = rules.now_ms.wrapping_sub(timestamp);
        let bad =
            age_ms > rules.timestamp_before_max_ms || age_ms.wrapping_neg() > rules.timestamp_after_max_ms;
        bad.then_some(BadTimestamp::OutOfRange)
    } else {
        let append_time = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        append_time.then_some(BadTimestamp::SetByProducer)
    }
}

impl BadTimestamp {
    #[cold]
    fn message(self, timestamp: i64, rules: &ValidationRules) -> String {
        let oldest = rules.now_ms.wrapping_sub(rules.timestamp_before_max_ms);
        let newest = rules.now_ms.wrapping_add(rules.timestamp_after_max_ms);
        match self {
            BadTimestamp::OutOfRange => {
                format!(
                    "timestamp {timestamp} is not between {oldest} and {newest}, what the topic takes now"
                )
            }
            BadTimestamp::SetByProducer => {
                "the timestamp type of a produced batch is CreateTime, not LogAppendTime".to_owned()
            }
        }
    }
}

#[derive(Default)]
struct Refused {
    timestamps: bool,
    total: usize,
    issues: Vec<RecordIssue>,
}

impl Refused {
    #[cold]
    fn add(&mut self, batch_index: i32, timestamp: bool, message: impl FnOnce() -> String) {
        self.timestamps |= timestamp;
        self.total += 1;
        if self.issues.len() < RECORD_ERRORS_MAX {
            self.issues.push(RecordIssue { batch_index, message: message() });
        }
    }

    fn into_result(self) -> Result<(), ValidationError> {
        let Refused { timestamps, total, issues } = self;
        if total == 0 { Ok(()) } else { Err(ValidationError::Records { timestamps, total, issues }) }
    }
}

/// The batch with the offsets it should have had. Kafka stores such a batch as it is, for consumers to see
/// its wrong offsets, or fails with an unknown error if it is compressed.
fn renumbered(header: BatchHeader, target: Compression, raw: &[u8]) -> Result<Vec<u8>, RecordError> {
    let mut builder = BatchBuilder::new(0);
    let mut headers = Vec::new();
    for record in Records::new(raw, header.records_count)? {
        let record = record?;
        headers.clear();
        headers.extend(record.headers.map(|header| (header.key, header.value)));
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        builder.append(timestamp, record.key, record.value, &headers);
    }
    Ok(builder.build_as(header, target))
}
