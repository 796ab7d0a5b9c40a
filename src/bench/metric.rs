//! What is measured, by name, and sums over rounds.

use super::outcome::histogram;
use super::suite::Found;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// A figure of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// The broker's CPU time for a gigabyte of batches, produced or read.
    CpuPerGb,
    /// The broker's CPU time for a request, in microseconds: seconds for a million.
    CpuPerRequest,
    /// The broker's CPU time, percent of a core.
    CpuPercent,
    /// Produce requests acknowledged.
    Requests,
    /// Records acknowledged.
    Records,
    /// Megabytes of batches acknowledged.
    Produced,
    /// Megabytes of batches read, where reading was counted.
    Consumed,
    /// Intended send time to acknowledgement.
    Acknowledged50,
    /// As above.
    Acknowledged99,
    /// As above.
    Acknowledged999,
    /// As above.
    AcknowledgedMax,
    /// Intended send time to the consumer.
    EndToEnd50,
    /// As above.
    EndToEnd99,
    /// As above.
    EndToEnd999,
    /// As above.
    EndToEndMax,
    /// Process made to first acknowledged record.
    Start,
    /// The disk, read directly.
    DirectRead,
    /// The process's largest resident memory.
    Resident,
    /// How busy the generator was.
    Client,
    /// Interrupts' share of the broker's core, which the kernel may charge to nobody.
    SoftInterrupts,
}

impl Metric {
    /// All of them, in the order of the table: name in files, title, unit.
    pub const ALL: &'static [(Metric, &'static str, &'static str, &'static str)] = &[
        (Metric::CpuPerGb, "cpu_s_per_gb", "CPU per GB", "s"),
        (Metric::CpuPerRequest, "cpu_us_per_request", "CPU per request", "us"),
        (Metric::CpuPercent, "cpu_percent", "CPU", "% of a core"),
        (Metric::Requests, "requests_per_s", "requests", "/s"),
        (Metric::Records, "records_per_s", "records", "/s"),
        (Metric::Produced, "produced_mb_per_s", "produced", "MB/s"),
        (Metric::Consumed, "consumed_mb_per_s", "consumed", "MB/s"),
        (Metric::Acknowledged50, "acknowledged_p50_us", "acknowledged p50", "us"),
        (Metric::Acknowledged99, "acknowledged_p99_us", "acknowledged p99", "us"),
        (Metric::Acknowledged999, "acknowledged_p999_us", "acknowledged p99.9", "us"),
        (Metric::AcknowledgedMax, "acknowledged_max_us", "acknowledged max", "us"),
        (Metric::EndToEnd50, "end_to_end_p50_us", "end to end p50", "us"),
        (Metric::EndToEnd99, "end_to_end_p99_us", "end to end p99", "us"),
        (Metric::EndToEnd999, "end_to_end_p999_us", "end to end p99.9", "us"),
        (Metric::EndToEndMax, "end_to_end_max_us", "end to end max", "us"),
        (Metric::Start, "start_ms", "start to first acknowledgement", "ms"),
        (Metric::DirectRead, "direct_read_mb_per_s", "dd of the same files", "MB/s"),
        (Metric::Resident, "resident_mib", "resident at most", "MiB"),
        (Metric::Client, "client_percent", "generator busy", "%"),
        (Metric::SoftInterrupts, "soft_interrupts_percent", "soft interrupts on the core", "%"),
    ];

    fn row(self) -> (&'static str, &'static str, &'static str) {
        let row = Metric::ALL.iter().find(|row| row.0 == self);
        row.map_or(("", "", ""), |(_, name, title, unit)| (*name, *title, *unit))
    }

    /// In files.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// For people.
    pub fn title(self) -> &'static str {
        self.row().1
    }

    /// For people.
    pub fn unit(self) -> &'static str {
        self.row().2
    }
}

/// What one run found.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Figures.
    pub values: BTreeMap<Metric, f64>,
    /// Latencies in nanoseconds.
    pub acknowledged_ns: Histogram<u64>,
    /// Latencies in nanoseconds.
    pub end_to_end_ns: Histogram<u64>,
}

impl Default for Sample {
    fn default() -> Sample {
        Sample { values: BTreeMap::new(), acknowledged_ns: histogram(), end_to_end_ns: histogram() }
    }
}

impl Sample {
    /// Sets a figure, unless it is none.
    pub fn set(&mut self, metric: Metric, value: f64) {
        if value.is_finite() {
            self.values.insert(metric, value);
        }
    }

    /// What a bench found. `cpu_s` is the broker's in the time that counted.
    pub fn of(found: &Found, cpu_s: Option<f64>) -> Sample {
        let outcome = &found.outcome;
        let seconds = outcome.seconds;
        let mut sample = Sample::default();
        let mut rate = |metric, count: u64, unit: f64| {
            if count > 0 {
                sample.set(metric, count as f64 / seconds / unit);
            }
        };
        rate(Metric::Requests, outcome.requests, 1.0);
        rate(Metric::Records, outcome.records, 1.0);
        rate(Metric::Produced, outcome.bytes, 1e6);
        rate(Metric::Consumed, outcome.fetched_bytes, 1e6);
        sample.set(Metric::Client, outcome.client_busy * 100.0);
        if let Some(cpu_s) = cpu_s {
            // Only one of them is what the load is about; where both happen, cost is counted on what is produced.
            let (requests, bytes) = match outcome.requests {
                0 => (outcome.fetches, outcome.fetched_bytes),
                requests => (requests, outcome.bytes),
            };
            if requests > 0 {
                sample.set(Metric::CpuPerRequest, cpu_s * 1e6 / requests as f64);
            }
            if bytes > 0 {
                sample.set(Metric::CpuPerGb, cpu_s * 1e9 / bytes as f64);
            }
            sample.set(Metric::CpuPercent, cpu_s / seconds * 100.0);
        }
        let latencies = [
            (
                &outcome.acknowledged_ns,
                [
                    Metric::Acknowledged50,
                    Metric::Acknowledged99,
                    Metric::Acknowledged999,
                    Metric::AcknowledgedMax,
                ],
            ),
            (
                &outcome.end_to_end_ns,
                [Metric::EndToEnd50, Metric::EndToEnd99, Metric::EndToEnd999, Metric::EndToEndMax],
            ),
        ];
        for (histogram, metrics) in latencies {
            for (metric, quantile) in metrics.into_iter().zip([0.5, 0.99, 0.999, 1.0]) {
                if !histogram.is_empty() {
                    sample.set(metric, histogram.value_at_quantile(quantile) as f64 / 1e3);
                }
            }
        }
        sample.acknowledged_ns.clone_from(&outcome.acknowledged_ns);
        sample.end_to_end_ns.clone_from(&outcome.end_to_end_ns);
        sample
    }
}
