//! The command line.

use crate::broker::Side;
use crate::machine;
use crate::works::Work;
use clap::Parser;
use ottla::bench::{GROUPS, RateOf, cases};
use std::fmt::Write as _;

/// Ottla beside Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "perf", disable_version_flag = true)]
pub struct Options {
    /// `bars`, `all`, `idle`, `partitions`, `clients`, `list`, or one of the suite's scenarios.
    #[arg(default_value = "bars")]
    pub scenario: String,
    /// Lines whose name or description contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How often each broker is run (5; 1 for load).
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long each run counts (4).
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// How long before that Ottla is loaded uncounted (1).
    #[arg(long, value_name = "S")]
    warm: Option<f64>,
    /// The same for Kafka (12); longer while it gets faster.
    #[arg(long, value_name = "S")]
    kafka_warm: Option<f64>,
    /// Without Kafka.
    #[arg(long)]
    ottla_only: bool,
    /// Without Ottla.
    #[arg(long)]
    kafka_only: bool,
    /// Broker on core 0, this program on core 1. So it is by default, but for `load`.
    #[arg(long)]
    pin: bool,
    /// Broker and this program on all cores.
    #[arg(long, conflicts_with = "pin")]
    unpinned: bool,
    /// A broker that runs already, in place of our own ones.
    #[arg(long, value_name = "HOST:PORT")]
    pub against: Option<String>,
    /// Its process, for CPU time and memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// A moment of everything, without Kafka: to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// How many, for the scenario of that name.
    #[arg(long, default_value_t = 10_000)]
    pub partitions: usize,
    /// From cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn is_load(&self) -> bool {
        self.scenario == "load"
    }

    /// Which brokers.
    pub fn sides(&self) -> Vec<Side> {
        if self.kafka_only {
            return vec![Side::Kafka];
        }
        if self.ottla_only || self.quick || self.is_load() || self.against.is_some() {
            return vec![Side::Ottla];
        }
        vec![Side::Ottla, Side::Kafka]
    }

    /// How often.
    pub fn rounds(&self) -> usize {
        let once = self.quick || self.is_load() || self.against.is_some();
        self.rounds.unwrap_or(if once { 1 } else { 5 }).max(1)
    }

    /// Counted seconds of a run.
    pub fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.3 } else { 4.0 })
    }

    /// Uncounted seconds of Ottla.
    pub fn warm(&self) -> f64 {
        self.warm.unwrap_or(if self.quick { 0.1 } else { 1.0 })
    }

    /// Uncounted seconds of Kafka.
    pub fn kafka_warm(&self) -> f64 {
        self.kafka_warm.unwrap_or(12.0)
    }

    /// Whether broker and generator have a core each.
    pub fn is_pinned(&self) -> bool {
        let wanted = self.pin || !(self.unpinned || self.is_load() || self.against.is_some() || self.quick);
        wanted && machine::cores() > 1
    }

    /// What was selected.
    pub fn works(&self) -> Result<Vec<Work>, String> {
        let mut works: Vec<Work> = all()
            .into_iter()
            .filter(|work| self.scenario == work.group() || self.scenario == "all")
            .collect();
        if works.is_empty() {
            return Err(format!("there is no scenario {}", self.scenario));
        }
        if self.scenario == "all" {
            works.retain(|work| work.group() != "load");
        }
        if let Some(only) = &self.only {
            let has =
                |work: &Work| work.name().contains(only.as_str()) || work.describe().contains(only.as_str());
            let needed: Vec<_> = works.iter().filter(|work| has(work)).filter_map(needs).collect();
            works.retain(|work| has(work) || needed.contains(&work.name().as_str()));
        }
        if self.quick {
            // What takes long to set up shows nothing more.
            works.retain(|work| {
                !["partitions-10000", "start-10000", "spread-10000"].contains(&work.name().as_str())
            });
        }
        if works.is_empty() {
            return Err("nothing has that name".to_owned());
        }
        Ok(works)
    }
}

/// The line that a line takes its rate from.
fn needs(work: &Work) -> Option<&'static str> {
    match work {
        Work::Case(case) => match case.rate {
            RateOf::Kafka { case, .. } => Some(case),
            RateOf::Load => None,
        },
        _ => None,
    }
}

fn all() -> Vec<Work> {
    let mut works: Vec<_> = cases().into_iter().map(Work::Case).collect();
    works.extend([Work::Start(0), Work::Start(10_000), Work::ProducerPerf, Work::Kcat]);
    works
}

/// What there is.
pub fn list() -> String {
    let mut text = "scenarios:\n  all\n  idle: start, memory, CPU when idle, size of the binary\n  \
                    partitions: many of them, made, idle, stopped, started\n"
        .to_owned();
    let clients = ("clients", "Kafka's own producer-perf-test and librdkafka");
    for (group, what) in GROUPS.iter().chain([&clients]) {
        let _ = writeln!(text, "  {group}: {what}");
        for work in all().iter().filter(|work| work.group() == *group) {
            if work.name() == work.describe() {
                let _ = writeln!(text, "    {}", work.name());
            } else {
                let _ = writeln!(text, "    {:<24} {}", work.name(), work.describe());
            }
        }
    }
    text
}
