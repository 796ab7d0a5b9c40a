//! What a run found.

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// Latencies in nanoseconds, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("bounds that the library takes")
}

/// What happened between the two moments that count.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From one moment to the other.
    pub seconds: f64,
    /// Requests acknowledged; with acks=0 sent.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their batches.
    pub bytes: u64,
    /// From the intended send time to the acknowledgement. Of each record with a rate, otherwise of each request.
    pub acknowledged_ns: Histogram<u64>,
    /// Fetches answered.
    pub fetches: u64,
    /// Records read, by all consumers together.
    pub fetched_records: u64,
    /// Bytes of their batches.
    pub fetched_bytes: u64,
    /// From a record's intended send time until a consumer had it.
    pub end_to_end_ns: Histogram<u64>,
    /// The part of the time in which the generator was not waiting: near 1 it is the limit, not the broker.
    pub client_busy: f64,
}

impl Outcome {
    pub(super) fn new() -> Outcome {
        Outcome {
            seconds: 0.0,
            requests: 0,
            records: 0,
            bytes: 0,
            acknowledged_ns: histogram(),
            fetches: 0,
            fetched_records: 0,
            fetched_bytes: 0,
            end_to_end_ns: histogram(),
            client_busy: 0.0,
        }
    }
}
