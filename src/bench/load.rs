//! What a load consists of.

use super::BenchError;
use super::template::MARK_BYTES;
use crate::base::limits::{BENCH_CONNECTIONS_MAX, BENCH_RECORD_BYTES_MAX, BENCH_RECORDS_PER_BATCH_MAX};
use crate::wire::record::Codec;

/// One load: a shape of topics, producers and consumers. All fields have a plain default, so that a table of loads
/// says only what is special in each.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Topics with the same number of partitions.
    pub topics: usize,
    /// Partitions of each topic.
    pub partitions: usize,
    /// Topic configuration beside the broker's defaults.
    pub config: Vec<(String, String)>,
    /// Producing connections.
    pub producers: usize,
    /// Produce requests that one connection has in flight at most.
    pub depth: usize,
    /// Records per second of all producers together, as an open loop. None: each acknowledgement sends the next
    /// request, a closed loop.
    pub rate: Option<f64>,
    /// How long a record waits for others to fill its batch, in milliseconds; only with a rate.
    pub linger_ms: f64,
    /// Records of one batch: always with a closed loop, at most with an open one.
    pub records: usize,
    /// Bytes of one record's value.
    pub record_bytes: usize,
    /// Partitions in one request, a batch for each.
    pub batches: usize,
    /// Whether records have a key (8 bytes).
    pub keyed: bool,
    /// 0, 1 or -1 (all).
    pub acks: i16,
    /// Whether producers are idempotent.
    pub idempotent: bool,
    /// Compression of the batches. End-to-end latency is not measured with one.
    pub codec: Codec,
    /// Consuming connections; each follows the end of every partition and checks every record.
    pub consumers: usize,
    /// Connections that poll one partition each, in which nothing comes; only in a load without producers.
    pub idle: usize,
    /// `max.partition.fetch.bytes`; `fetch.max.bytes` is fifty times that, as with Kafka's defaults.
    pub fetch_bytes: i32,
    /// `fetch.max.wait.ms`.
    pub fetch_wait_ms: i32,
    /// Whether to poll without ever sleeping: on a core of one's own that keeps the client's wake-ups out of what is
    /// measured.
    pub spin: bool,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            topics: 1,
            partitions: 1,
            config: Vec::new(),
            producers: 0,
            depth: 1,
            rate: None,
            linger_ms: 0.0,
            records: 1,
            record_bytes: 100,
            batches: 1,
            keyed: false,
            acks: -1,
            idempotent: false,
            codec: Codec::None,
            consumers: 0,
            idle: 0,
            fetch_bytes: 1 << 20,
            fetch_wait_ms: 500,
            spin: false,
        }
    }
}

impl Load {
    /// All partitions of all topics.
    pub fn partitions_total(&self) -> usize {
        self.topics * self.partitions
    }

    /// Whether the load can be run.
    pub fn check(&self) -> Result<(), BenchError> {
        let connections = self.producers + self.consumers + self.idle;
        let rules = [
            (connections > 0, "no producers and no consumers".to_owned()),
            (connections <= BENCH_CONNECTIONS_MAX, format!("at most {BENCH_CONNECTIONS_MAX} connections")),
            (self.topics > 0 && self.partitions > 0, "at least one topic and one partition".to_owned()),
            (self.depth > 0 && self.batches > 0, "depth and batches start at 1".to_owned()),
            (
                (1..=BENCH_RECORDS_PER_BATCH_MAX).contains(&self.records),
                format!("1 to {BENCH_RECORDS_PER_BATCH_MAX} records in a batch"),
            ),
            (
                (MARK_BYTES..=BENCH_RECORD_BYTES_MAX).contains(&self.record_bytes),
                format!("a record has {MARK_BYTES} to {BENCH_RECORD_BYTES_MAX} bytes"),
            ),
            (
                self.batches <= self.partitions,
                "a request has at most one batch for each partition".to_owned(),
            ),
            ((-1..=1).contains(&self.acks), "acks are -1, 0 or 1".to_owned()),
            (
                self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
                "a rate is a number above 0".to_owned(),
            ),
            (
                self.idle == 0 || self.producers == 0,
                "idle consumers stay idle without producers only".to_owned(),
            ),
            (self.acks != 0 || self.rate.is_none(), "acks=0 has no latency, and so no rate".to_owned()),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(BenchError::Usage(rule)),
            None => Ok(()),
        }
    }

    /// One line that says what it is.
    pub fn describe(&self) -> String {
        let mut text = Vec::new();
        if self.producers > 0 {
            let acks = if self.acks < 0 { "all".to_owned() } else { self.acks.to_string() };
            text.push(format!("{}x{}B", self.records, self.record_bytes));
            text.push(format!("partitions={}", self.partitions_total()));
            text.push(format!("connections={} depth={} acks={acks}", self.producers, self.depth));
        } else {
            text.push(format!("partitions={}", self.partitions_total()));
        }
        let optional = [
            (self.topics > 1, format!("topics={}", self.topics)),
            (self.batches > 1, format!("batches={}", self.batches)),
            (self.keyed, "keyed".to_owned()),
            (self.idempotent, "idempotent".to_owned()),
            (self.codec != Codec::None, self.codec.name().to_owned()),
            (self.rate.is_some(), format!("rate={}/s", self.rate.unwrap_or_default())),
            (self.linger_ms > 0.0, format!("linger={}ms", self.linger_ms)),
            (self.consumers > 0, format!("consumers={}", self.consumers)),
            (self.idle > 0, format!("idle={}", self.idle)),
        ];
        text.extend(optional.into_iter().filter(|(is, _)| *is).map(|(_, what)| what));
        text.extend(self.config.iter().map(|(key, value)| format!("{key}={value}")));
        text.join(" ")
    }
}
