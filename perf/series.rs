//! Rounds: both brokers in turn, A B B A, each run with a broker and a directory of its own.

use crate::broker::{Scratch, Side};
use crate::stats::Spread;
use crate::works::{Target, Work, run_case};
use hdrhistogram::Histogram;
use ottla::bench::{Case, Flush, Metric, RateOf, Sample, Timing, histogram};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How everything is run.
pub struct Setup {
    /// Where data is written.
    pub scratch: Scratch,
    /// Which brokers.
    pub sides: Vec<Side>,
    /// How often each.
    pub rounds: usize,
    /// Counted time of a run.
    pub seconds: f64,
    /// Uncounted time before it.
    pub warm_seconds: f64,
    /// The same for Kafka, whose compiler needs it.
    pub kafka_warm_seconds: f64,
    /// Broker on core 0, this program on core 1.
    pub pin: bool,
    /// Only to see that it works.
    pub quick: bool,
}

impl Setup {
    /// The broker's core.
    pub fn broker_core(&self) -> Option<usize> {
        self.pin.then_some(0)
    }

    /// A fresh directory for a broker.
    pub fn directory(&self, side: Side) -> io::Result<PathBuf> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = self.scratch.join(format!("{}-{number}", side.name().to_lowercase()));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// How long the parts of a run take.
    pub fn timing(&self, side: Side, case: &Case) -> Timing {
        let warm = if side == Side::Kafka { self.kafka_warm_seconds } else { self.warm_seconds };
        // What only waits has little to warm.
        let warm = if case.load.idle > 0 { warm / 2.0 } else { warm };
        Timing {
            warm: Duration::from_secs_f64(warm),
            ramp: Duration::from_secs_f64(if self.quick { 0.05 } else { 0.5 }),
            time: Duration::from_secs_f64(self.seconds),
            shrink: if self.quick { 100 } else { 1 },
        }
    }
}

/// What the next run's topics are called.
pub fn topic_prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("ottla-bench-{}-{number}", std::process::id())
}

/// Whether a side flushes before it acknowledges.
pub fn is_durable(case: &Case, side: Side) -> bool {
    match case.flush {
        Flush::Neither => false,
        Flush::Both => true,
        Flush::Ours => side == Side::Ottla,
    }
}

/// All runs of one work.
pub struct Line {
    /// What was run.
    pub work: Work,
    /// What came of it.
    pub samples: BTreeMap<Side, Vec<Sample>>,
    /// Runs that gave no figures, and why.
    pub failures: Vec<String>,
    /// The rate that was taken from another line.
    pub rate: Option<f64>,
}

impl Line {
    /// Of all rounds.
    pub fn spread(&self, side: Side, metric: Metric) -> Option<Spread> {
        let samples = self.samples.get(&side)?;
        let values: Vec<_> = samples.iter().filter_map(|s| s.values.get(&metric).copied()).collect();
        (!values.is_empty()).then(|| Spread::of(values))
    }

    /// Of all rounds.
    pub fn median(&self, side: Side, metric: Metric) -> Option<f64> {
        self.spread(side, metric).map(|spread| spread.median())
    }

    /// Latencies of all rounds together: end to end if that was measured, otherwise to the acknowledgement.
    pub fn latencies(&self, side: Side) -> Histogram<u64> {
        let mut all = histogram();
        for sample in self.samples.get(&side).into_iter().flatten() {
            let of =
                if sample.end_to_end_ns.is_empty() { &sample.acknowledged_ns } else { &sample.end_to_end_ns };
            let _ = all.add(of); // of one kind, so they fit
        }
        all
    }
}

/// Runs works one after another; `done` is called after each.
pub fn run(
    setup: &Setup,
    works: &[Work],
    mut done: impl FnMut(&[Line]) -> io::Result<()>,
) -> io::Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for work in works {
        let rate = rate_of(work, &lines);
        let mut line = Line { work: work.clone(), samples: BTreeMap::new(), failures: Vec::new(), rate };
        for round in 0..setup.rounds {
            let mut sides = setup.sides.clone();
            if round % 2 == 1 {
                sides.reverse();
            }
            for side in sides {
                if work.ours_only() && side == Side::Kafka {
                    continue;
                }
                match work.run(setup, side, rate) {
                    Ok(sample) => line.samples.entry(side).or_default().push(sample),
                    Err(error) => {
                        let text = format!("{} round {round}: {error}", side.name());
                        eprintln!("perf: {}: {text}", work.name());
                        line.failures.push(text);
                    }
                }
            }
        }
        lines.push(line);
        done(&lines)?;
    }
    Ok(lines)
}

/// Runs the suite's cases once on a broker that runs already.
pub fn run_against(
    setup: &Setup,
    works: &[Work],
    target: &Target<'_>,
    mut done: impl FnMut(&[Line]) -> io::Result<()>,
) -> io::Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for work in works {
        let Work::Case(case) = work else { continue };
        let mut line =
            Line { work: work.clone(), samples: BTreeMap::new(), failures: Vec::new(), rate: None };
        match run_case(case, setup, Side::Ottla, None, target) {
            Ok(sample) => line.samples.entry(Side::Ottla).or_default().push(sample),
            Err(error) => {
                eprintln!("perf: {}: {error}", work.name());
                line.failures.push(error.to_string());
            }
        }
        lines.push(line);
        done(&lines)?;
    }
    Ok(lines)
}

/// A share of what a side reached in another line, Kafka's if it ran.
fn rate_of(work: &Work, lines: &[Line]) -> Option<f64> {
    let Work::Case(Case { rate: RateOf::Kafka { case, share }, .. }) = work else { return None };
    let other = lines.iter().find(|line| line.work.name() == *case)?;
    let reached = |side| other.median(side, Metric::Records);
    Some(reached(Side::Kafka).or_else(|| reached(Side::Ottla))? * share)
}
