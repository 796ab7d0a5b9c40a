//! The 61 bytes before the records, and the fields that a leader may change in place.

use super::{Codec, RecordError};

/// Bytes of base offset and length, which the length field does not count.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes of a batch before its records, and so the smallest batch.
pub const HEADER_BYTES: usize = 61;
/// The only record format that is spoken.
pub const MAGIC: i8 = 2;
/// A timestamp that was not set.
pub const NO_TIMESTAMP: i64 = -1;
/// A leader epoch that was not set: what producers send.
pub const NO_LEADER_EPOCH: i32 = -1;

const BASE_OFFSET: usize = 0;
const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC_AT: usize = 16;
const CRC: usize = 17;
/// Where the bytes under the checksum start.
const ATTRIBUTES: usize = 21;
/// Where in a batch begins what its checksum covers, which goes to its end.
pub const CRC_FROM: usize = ATTRIBUTES;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const COUNT: usize = 57;

/// The smallest length field of any format Kafka ever had (`LegacyRecord.RECORD_OVERHEAD_V0`).
const LENGTH_MIN_LEGACY: i32 = 14;
const LENGTH_MIN: i32 = (HEADER_BYTES - LOG_OVERHEAD) as i32;

/// Where a record's timestamp comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// Set by the producer.
    #[default]
    CreateTime,
    /// Set by the leader; the batch's maximum timestamp holds for every record.
    LogAppendTime,
}

/// The attributes field: bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// Attributes with this codec and nothing else set.
    pub fn new(codec: Codec) -> Attributes {
        Attributes(i16::from(codec.id()))
    }

    /// How the records are compressed.
    pub fn codec(self) -> Result<Codec, RecordError> {
        let id = (self.0 & Self::CODEC) as u8;
        Codec::from_id(id).ok_or(RecordError::CodecId(id))
    }

    /// Where timestamps come from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record: transaction markers, KRaft's own.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon set by compaction (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// With this codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !Self::CODEC | i16::from(codec.id()))
    }

    /// With this timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    /// With or without the transactional bit.
    #[must_use]
    pub fn with_transactional(self, on: bool) -> Attributes {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// With or without the control bit.
    #[must_use]
    pub fn with_control(self, on: bool) -> Attributes {
        self.with(Self::CONTROL, on)
    }

    /// With or without the delete-horizon bit.
    #[must_use]
    pub fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with(Self::DELETE_HORIZON, on)
    }

    fn with(self, bit: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// The fields of a batch header, in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record the batch was made with (compaction may have removed it).
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; not under the checksum.
    pub partition_leader_epoch: i32,
    /// 2.
    pub magic: i8,
    /// CRC-32C over attributes to end.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Last offset minus base offset; compaction keeps it.
    pub last_offset_delta: i32,
    /// What record timestamps are relative to, milliseconds; the delete horizon if that bit is set.
    pub base_timestamp: i64,
    /// Largest timestamp, or the append time; milliseconds.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without idempotence.
    pub base_sequence: i32,
    /// Records in the batch.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. Checks magic and length, not that the records are here.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, RecordError> {
        let truncated = RecordError::Truncated { need: HEADER_BYTES, have: bytes.len() };
        // The order is Kafka's (`ByteBufferLogInputStream`), so that an old format is told from garbage.
        let Some(length) = peek_length(bytes) else { return Err(truncated) };
        if length < LENGTH_MIN_LEGACY {
            return Err(RecordError::BatchLength(length));
        }
        let Some(&magic) = bytes.get(MAGIC_AT) else { return Err(truncated) };
        if magic as i8 != MAGIC {
            return Err(RecordError::Magic(magic as i8));
        }
        if length < LENGTH_MIN {
            return Err(RecordError::BatchLength(length));
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Err(truncated) };
        Ok(BatchHeader {
            base_offset: i64::from_be_bytes(field(header, BASE_OFFSET)),
            batch_length: length,
            partition_leader_epoch: i32::from_be_bytes(field(header, LEADER_EPOCH)),
            magic: MAGIC,
            crc: u32::from_be_bytes(field(header, CRC)),
            attributes: Attributes(i16::from_be_bytes(field(header, ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(field(header, LAST_OFFSET_DELTA)),
            base_timestamp: i64::from_be_bytes(field(header, BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(field(header, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(field(header, PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(field(header, PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(field(header, BASE_SEQUENCE)),
            records_count: i32::from_be_bytes(field(header, COUNT)),
        })
    }

    /// Whether `bytes` start with a batch that says that it belongs to a transaction.
    pub fn is_transactional(bytes: &[u8]) -> bool {
        // Nearly always the bit tells enough.
        let bit = bytes
            .get(LAST_OFFSET_DELTA - 1)
            .is_some_and(|low| i16::from(*low) & Attributes::TRANSACTIONAL != 0);
        bit && BatchHeader::parse(bytes).is_ok()
    }

    /// The header's bytes, fields as they are: length and checksum are not computed.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        put(&mut out, BASE_OFFSET, self.base_offset.to_be_bytes());
        put(&mut out, LENGTH, self.batch_length.to_be_bytes());
        put(&mut out, LEADER_EPOCH, self.partition_leader_epoch.to_be_bytes());
        put(&mut out, MAGIC_AT, self.magic.to_be_bytes());
        put(&mut out, CRC, self.crc.to_be_bytes());
        put(&mut out, ATTRIBUTES, self.attributes.0.to_be_bytes());
        put(&mut out, LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(&mut out, BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(&mut out, MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put(&mut out, PRODUCER_ID, self.producer_id.to_be_bytes());
        put(&mut out, PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(&mut out, BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(&mut out, COUNT, self.records_count.to_be_bytes());
        out
    }

    /// Writes the header over the first bytes of `batch`, with the length and checksum of all of `batch`.
    /// `batch` is header space followed by the records.
    pub fn seal(mut self, batch: &mut [u8]) {
        assert!(batch.len() >= HEADER_BYTES, "a batch has at least its header");
        self.batch_length = i32::try_from(batch.len() - LOG_OVERHEAD).expect("a batch is below 2 GiB");
        batch[..HEADER_BYTES].copy_from_slice(&self.to_bytes());
        let crc = crc_of(batch);
        put(batch, CRC, crc.to_be_bytes());
    }

    /// Offset of the last record the batch was made with.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Bytes of the whole batch, header included.
    pub fn total_bytes(&self) -> usize {
        LOG_OVERHEAD + self.batch_length.max(0) as usize
    }

    /// Whether a producer id is set.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > super::NO_PRODUCER_ID
    }

    /// Sequence number of the last record; wraps to 0 after `i32::MAX`. -1 without idempotence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return super::NO_SEQUENCE;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// The timestamp of a record with this delta, milliseconds.
    #[inline]
    pub fn timestamp(&self, timestamp_delta: i64) -> i64 {
        match self.attributes.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// When a tombstone or marker of this batch may be dropped, milliseconds, if compaction has set it.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

/// The checksum over a whole batch's attributes to end.
pub(super) fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(ATTRIBUTES..).unwrap_or_default())
}

/// The length field, if it is here.
pub(super) fn peek_length(bytes: &[u8]) -> Option<i32> {
    let length = bytes.get(LENGTH..)?.first_chunk()?;
    Some(i32::from_be_bytes(*length))
}

/// Sets the base offset of the batch at the start of `batch`. Not under the checksum.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    put(batch, BASE_OFFSET, base_offset.to_be_bytes());
}

/// Sets the partition leader epoch of the batch at the start of `batch`. Not under the checksum.
pub fn set_leader_epoch(batch: &mut [u8], epoch: i32) {
    put(batch, LEADER_EPOCH, epoch.to_be_bytes());
}

/// Makes this the append time of all records: sets timestamp type and maximum timestamp (milliseconds), and
/// the checksum over it. `batch` is exactly one batch.
pub fn set_log_append_time(batch: &mut [u8], append_time_ms: i64) {
    set_max_timestamp(batch, TimestampType::LogAppendTime, append_time_ms);
}

/// Sets timestamp type and maximum timestamp (milliseconds) of `batch`, exactly one batch, and the checksum
/// unless nothing changes.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has at least its header");
    let attributes = Attributes(i16::from_be_bytes([batch[ATTRIBUTES], batch[ATTRIBUTES + 1]]));
    let patched = attributes.with_timestamp_type(timestamp_type);
    let max = max_timestamp.to_be_bytes();
    if patched == attributes && batch[MAX_TIMESTAMP..MAX_TIMESTAMP + 8] == max {
        return;
    }
    put(batch, ATTRIBUTES, patched.0.to_be_bytes());
    put(batch, MAX_TIMESTAMP, max);
    let crc = crc_of(batch);
    put(batch, CRC, crc.to_be_bytes());
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}

fn put<const N: usize>(batch: &mut [u8], at: usize, value: [u8; N]) {
    batch[at..at + N].copy_from_slice(&value);
}
