//! Building batches: internal topics, the metadata log, control records, tests.

use super::varint::{write_i32, write_i64};
use super::{
    Attributes, BatchHeader, Codec, Compression, HEADER_BYTES, MAGIC, NO_LEADER_EPOCH, NO_TIMESTAMP,
    TimestampType, compress,
};

/// No idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
/// No idempotence.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// No idempotence.
pub const NO_SEQUENCE: i32 = -1;

/// What a control record says (Kafka's `ControlRecordType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum ControlType {
    /// A transaction was aborted.
    Abort = 0,
    /// A transaction was committed.
    Commit = 1,
    /// KRaft: a leader was elected.
    LeaderChange = 2,
    /// KRaft: a snapshot starts.
    SnapshotHeader = 3,
    /// KRaft: a snapshot ends.
    SnapshotFooter = 4,
    /// KRaft: the version of the quorum's protocol (KIP-853).
    KraftVersion = 5,
    /// KRaft: the voters (KIP-853).
    KraftVoters = 6,
}

impl ControlType {
    /// All of them, by number.
    pub const ALL: [ControlType; 7] = [
        ControlType::Abort,
        ControlType::Commit,
        ControlType::LeaderChange,
        ControlType::SnapshotHeader,
        ControlType::SnapshotFooter,
        ControlType::KraftVersion,
        ControlType::KraftVoters,
    ];

    /// The record key: version 0 and the type.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = (self as i16).to_be_bytes();
        [0, 0, high, low]
    }

    /// The type in a control record's key; `None` for one that this version does not know and so skips, or
    /// for a key that is none. Keys of a later version start with the same fields.
    pub fn from_key(key: &[u8]) -> Option<ControlType> {
        let &[version_high, version_low, high, low, ..] = key else { return None };
        if i16::from_be_bytes([version_high, version_low]) < 0 {
            return None;
        }
        Self::ALL.into_iter().find(|known| *known as i16 == i16::from_be_bytes([high, low]))
    }
}

/// Builds one batch. Records are appended at consecutive offsets unless told otherwise.
///
/// ```
/// use ottla::wire::record::{BatchBuilder, Batches, Codec};
/// let bytes = BatchBuilder::new(100).compression(Codec::Lz4).record(0, Some(b"k"), Some(b"v")).build();
/// assert_eq!(Batches::new(&bytes).next().unwrap().unwrap().header().next_offset(), 101);
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    log_append_time_ms: Option<i64>,
    records: Vec<u8>,
    /// One record's body while it is written, as its length comes first.
    body: Vec<u8>,
}

impl BatchBuilder {
    /// A batch whose first record has `base_offset`: create time, no compression, no producer, no epoch.
    pub fn new(base_offset: i64) -> BatchBuilder {
        BatchBuilder {
            header: BatchHeader {
                base_offset,
                batch_length: 0,
                partition_leader_epoch: NO_LEADER_EPOCH,
                magic: MAGIC,
                crc: 0,
                attributes: Attributes::new(Codec::None),
                last_offset_delta: -1,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            compression: Compression::default(),
            log_append_time_ms: None,
            records: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The epoch of the leader that appends it.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// The producer and the sequence number of the first record.
    #[must_use]
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(true);
        self
    }

    /// Compresses the records.
    #[must_use]
    pub fn compression(mut self, compression: impl Into<Compression>) -> Self {
        self.compression = compression.into();
        self
    }

    /// Readers take this (milliseconds) for every record's timestamp; the records keep their own besides.
    #[must_use]
    pub fn log_append_time(mut self, append_time_ms: i64) -> Self {
        self.header.attributes = self.header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.log_append_time_ms = Some(append_time_ms);
        self
    }

    /// Adds a record without headers.
    #[must_use]
    pub fn record(mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.append(timestamp_ms, key, value, &[]);
        self
    }

    /// Adds a record at the next offset.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        self.append_at(self.header.next_offset(), timestamp_ms, key, value, headers);
    }

    /// Adds a record at `offset`, which is after the last one's: compaction leaves gaps.
    pub fn append_at(
        &mut self,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        let header = &mut self.header;
        assert!(offset >= header.next_offset(), "offsets in a batch increase");
        if header.records_count == 0 {
            header.base_timestamp = timestamp_ms;
        }
        header.max_timestamp = header.max_timestamp.max(timestamp_ms);
        header.records_count += 1;
        header.last_offset_delta =
            i32::try_from(offset - header.base_offset).expect("a batch spans less than 2^31 offsets");

        let body = &mut self.body;
        body.clear();
        body.push(0); // attributes, unused
        write_i64(body, timestamp_ms.wrapping_sub(header.base_timestamp));
        write_i32(body, header.last_offset_delta);
        write_nullable(body, key);
        write_nullable(body, value);
        write_i32(body, headers.len() as i32);
        for (key, value) in headers {
            write_nullable(body, Some(key));
            write_nullable(body, *value);
        }
        write_i32(&mut self.records, i32::try_from(body.len()).expect("a record is below 2 GiB"));
        self.records.extend_from_slice(body);
    }

    /// Makes it a control batch with one record. The value is the control type's own message.
    #[must_use]
    pub fn control(mut self, control: ControlType, timestamp_ms: i64, value: &[u8]) -> Self {
        self.header.attributes = self.header.attributes.with_control(true);
        self.record(timestamp_ms, Some(&control.key()), Some(value))
    }

    /// A transaction marker as a coordinator writes it to a partition (Kafka's `EndTransactionMarker`).
    #[must_use]
    pub fn end_transaction(
        base_offset: i64,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
        coordinator_epoch: i32,
        timestamp_ms: i64,
    ) -> BatchBuilder {
        let control = if committed { ControlType::Commit } else { ControlType::Abort };
        let mut value = [0; 6]; // version 0, coordinator epoch
        value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
        BatchBuilder::new(base_offset)
            .producer(producer_id, producer_epoch, NO_SEQUENCE)
            .transactional()
            .control(control, timestamp_ms, &value)
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.header.records_count as usize
    }

    /// Whether there are no records yet.
    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The batch's bytes; none if it has no records, as Kafka's builder does.
    pub fn build(mut self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        self.header.max_timestamp = self.log_append_time_ms.unwrap_or(self.header.max_timestamp);
        assemble(self.header, self.compression, &self.records)
    }

    /// The records of this builder under another batch's header.
    pub(super) fn build_as(self, mut header: BatchHeader, compression: Compression) -> Vec<u8> {
        header.base_timestamp = self.header.base_timestamp;
        header.last_offset_delta = self.header.last_offset_delta;
        header.records_count = self.header.records_count;
        assemble(header, compression, &self.records)
    }
}

/// A batch from a header and uncompressed records: compresses, sets codec, length and checksum.
pub(super) fn assemble(mut header: BatchHeader, compression: Compression, records: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; HEADER_BYTES];
    compress(compression, records, &mut batch);
    header.attributes = header.attributes.with_codec(compression.codec());
    header.seal(&mut batch);
    batch
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return write_i32(out, -1) };
    write_i32(out, i32::try_from(bytes.len()).expect("a field is below 2 GiB"));
    out.extend_from_slice(bytes);
}
