//! Produce requests that say who sent them, and the check that they came back whole and in order.

use super::client::wrong;
use ottla::wire::codec::Message as _;
use ottla::wire::frame;
use ottla::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::record::{BatchBuilder, BatchView, Batches, HEADER_BYTES};
use std::io;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The last version that names topics by name.
pub const PRODUCE_VERSION: i16 = 12;
const MARK: &[u8; 16] = b"<connection,seq>";
const CORRELATION_AT: usize = 4 + 2 + 2;
/// Where a batch has its checksum, and where what it covers begins.
const CRC: std::ops::Range<usize> = 17..21;

/// One timestamp for all records, so that every connection's batches are alike.
static NOW_MS: LazyLock<i64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
});

/// A produce request for one partition, made once and stamped for each send.
pub struct Template {
    frame: Vec<u8>,
    batch_at: usize,
    mark_at: usize,
    batch_bytes: usize,
}

impl Template {
    /// A request with one batch of `records` records, each with a value of `value_bytes`.
    pub fn new(topic: &str, partition: i32, acks: i16, records: usize, value_bytes: usize) -> Template {
        let batch = batch(records, value_bytes);
        let request = ProduceRequest {
            transactional_id: None,
            acks,
            timeout_ms: 60_000,
            topic_data: vec![TopicProduceData {
                name: topic,
                partition_data: vec![PartitionProduceData { index: partition, records: Some(&batch) }],
                ..Default::default()
            }],
        };
        let frame = frame::request(&request, PRODUCE_VERSION, 0, Some("perf"))
            .unwrap_or_else(|e| panic!("{}: {e}", ProduceRequest::NAME));
        let mark_at = find(&frame, MARK);
        let batch_at = find(&frame, &batch[..HEADER_BYTES]);
        Template { frame, batch_at, mark_at, batch_bytes: batch.len() }
    }

    /// The length of its batch.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// The request as connection `connection` sends it for the `sequence`-th time; its correlation id is the sequence.
    pub fn stamp(&mut self, connection: u64, sequence: u64) -> &[u8] {
        let id = sequence as i32;
        self.frame[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&id.to_be_bytes());
        self.frame[self.mark_at..self.mark_at + 8].copy_from_slice(&connection.to_be_bytes());
        self.frame[self.mark_at + 8..self.mark_at + 16].copy_from_slice(&sequence.to_be_bytes());
        let batch = &mut self.frame[self.batch_at..self.batch_at + self.batch_bytes];
        let crc = crc32c::crc32c(&batch[CRC.end..]);
        batch[CRC].copy_from_slice(&crc.to_be_bytes());
        &self.frame
    }
}

fn batch(records: usize, value_bytes: usize) -> Vec<u8> {
    // Not compressible, and the same for every connection.
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut builder = BatchBuilder::new(0);
    let now_ms = *NOW_MS;
    for record in 0..records {
        let mut value: Vec<u8> = (0..value_bytes)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed as u8
            })
            .collect();
        if record == 0 {
            value[..MARK.len()].copy_from_slice(MARK);
        }
        builder.append(now_ms, None, Some(&value), &[]);
    }
    builder.build()
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    let at = bytes.windows(what.len()).position(|w| w == what);
    at.expect("a request that was just made holds its batch")
}

/// What connections were told: for each the offset of each of its requests, by sequence.
pub type Acknowledged = Vec<Vec<i64>>;

/// Checks the batches of one partition as they are read from its start.
pub struct Check<'a> {
    acknowledged: &'a Acknowledged,
    /// The batch as it was sent, from the end of the checksum, with its mark at `mark_at`.
    sent: Vec<u8>,
    mark_at: usize,
    records: i64,
    /// The next offset expected.
    pub offset: i64,
    /// Per connection the next sequence that may come.
    next: Vec<u64>,
    /// Batches that came back.
    pub batches: u64,
}

impl<'a> Check<'a> {
    /// Nothing was read yet.
    pub fn new(template: &Template, records: usize, acknowledged: &'a Acknowledged) -> Check<'a> {
        let batch = &template.frame[template.batch_at..template.batch_at + template.batch_bytes];
        Check {
            acknowledged,
            sent: batch[CRC.end..].to_vec(),
            mark_at: template.mark_at - template.batch_at - CRC.end,
            records: records as i64,
            offset: 0,
            next: vec![0; acknowledged.len()],
            batches: 0,
        }
    }

    /// The next bytes of the partition.
    ///
    /// # Errors
    /// A record that is lost, doubled, reordered or changed.
    pub fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        for batch in Batches::new(bytes).truncated_tail() {
            let batch = batch.map_err(|e| wrong(format!("at offset {}: {e}", self.offset)))?;
            self.one(&batch)?;
        }
        Ok(())
    }

    fn one(&mut self, batch: &BatchView<'_>) -> io::Result<()> {
        let base = batch.header().base_offset;
        if base != self.offset {
            return Err(wrong(format!("offset {base} where {} was expected", self.offset)));
        }
        let got = &batch.bytes()[CRC.end..];
        let mark = got.get(self.mark_at..self.mark_at + 16).ok_or_else(|| wrong("a short batch"))?;
        let number = |at: usize| mark[at..at + 8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let (connection, sequence) = (number(0), number(8));
        self.sent[self.mark_at..self.mark_at + 16].copy_from_slice(mark);
        if got != self.sent {
            return Err(wrong(format!("the batch at offset {base} is not the one that was sent")));
        }
        let told = self.acknowledged.get(connection as usize).and_then(|c| c.get(sequence as usize));
        if told != Some(&base) {
            return Err(wrong(format!(
                "request {sequence} of connection {connection} was acknowledged at {told:?} and lies at {base}"
            )));
        }
        let next = &mut self.next[connection as usize];
        if sequence < *next {
            return Err(wrong(format!("request {sequence} of connection {connection} came after {next}")));
        }
        *next = sequence + 1;
        self.offset += self.records;
        self.batches += 1;
        Ok(())
    }
}
