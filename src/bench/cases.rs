//! The suite: a table of cases, OpenMessaging Benchmark's where it has one.

use super::load::Load;
use crate::wire::record::Codec;

/// What a case does with its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The load as it is.
    Load,
    /// Fills the topics with this many bytes, uncounted, and reads them back.
    CatchUp {
        /// Of batches.
        bytes: u64,
        /// Whether the page cache is emptied in between.
        cold: bool,
    },
    /// Fills the topics with this many bytes, uncounted; then the load runs and its consumers begin at the start.
    Drain {
        /// Of batches.
        bytes: u64,
    },
    /// Members join a group, commit and leave, one after another; the load is not used.
    Churn,
}

/// What is flushed before an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// V: nothing, Kafka's default.
    Neither,
    /// D: `flush.messages=1` on both brokers.
    Both,
    /// `flush.messages=1` on ours, Kafka's default on Kafka.
    Ours,
}

/// Where a load's rate comes from, if not from the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateOf {
    /// The load says.
    Load,
    /// A share of what Apache Kafka reached in another case, in records per second.
    Kafka {
        /// The other case.
        case: &'static str,
        /// The share.
        share: f64,
    },
}

/// One line of the suite.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is selected by.
    pub name: String,
    /// The scenario it belongs to.
    pub group: &'static str,
    /// What it does.
    pub task: Task,
    /// With what.
    pub load: Load,
    /// What is flushed.
    pub flush: Flush,
    /// The rate.
    pub rate: RateOf,
    /// Whether it is a comparison of Ottla with itself, in which Kafka's figure would say nothing.
    pub ours_only: bool,
}

impl Case {
    fn new(group: &'static str, name: impl Into<String>, load: Load) -> Case {
        Case {
            name: name.into(),
            group,
            task: Task::Load,
            load,
            flush: Flush::Neither,
            rate: RateOf::Load,
            ours_only: false,
        }
    }

    /// One line that says what it is.
    pub fn describe(&self) -> String {
        let load = match self.task {
            Task::Load => self.load.describe(),
            Task::CatchUp { bytes, cold } => format!(
                "read {} MB{} of {}",
                bytes / 1_000_000,
                if cold { " cold" } else { "" },
                self.load.describe()
            ),
            Task::Drain { bytes } => format!("{} MB behind {}", bytes / 1_000_000, self.load.describe()),
            Task::Churn => "join, sync, heartbeat, commit, leave".to_owned(),
        };
        let flush = match self.flush {
            Flush::Neither => "",
            Flush::Both => " flush.messages=1",
            Flush::Ours => " flush.messages=1 on Ottla only",
        };
        match self.rate {
            RateOf::Load => format!("{load}{flush}"),
            RateOf::Kafka { case, share } => format!("{load}{flush}, {share} of Kafka's {case}"),
        }
    }
}

/// The scenarios: groups of cases by name, and what they are for.
pub const GROUPS: &[(&str, &str)] = &[
    ("bars", "what Ottla is held to, beside Apache Kafka"),
    ("load", "one record, some, many; one connection, 4, 64: for work on the broker"),
    ("matrix", "partitions, record sizes and numbers of producers at the maximal rate"),
    ("codecs", "compressed batches"),
    ("acks", "acks 0, 1, all; idempotent producers; keyed ones with tiny batches"),
    ("durable", "flush.messages=1 with batches"),
    ("spread", "1 to 10,000 partitions"),
    ("end-to-end", "1 and 8 consumers at the end, at rising rates"),
    ("consumers", "drain while producing, small fetches, idle consumers, reading back cold"),
    ("topics", "many topics"),
    ("groups", "churn in consumer groups"),
];

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = bars();
    cases.extend(load());
    cases.extend(matrix());
    cases.extend(codecs());
    cases.extend(acks());
    cases.extend(durable());
    cases.extend(spread());
    cases.extend(end_to_end());
    cases.extend(consumers());
    cases.push(Case::new(
        "topics",
        "topics-1000",
        Load { topics: 1000, partitions: 2, records: 16, ..one_kib(64) },
    ));
    cases.push(Case { task: Task::Churn, ..Case::new("groups", "group-churn", Load::default()) });
    cases
}

fn one_kib(producers: usize) -> Load {
    Load { producers, record_bytes: 1024, ..Load::default() }
}

/// At a fixed rate, as a client sends that does not wait for its batches to fill.
fn following(rate: f64, consumers: usize) -> Load {
    Load { partitions: 16, depth: 5, records: 16, rate: Some(rate), consumers, ..one_kib(4) }
}

fn batches_of_64_kib(producers: usize) -> Load {
    Load { partitions: 16, records: 64, ..one_kib(producers) }
}

fn bars() -> Vec<Case> {
    let case = |name: &str, load| Case::new("bars", name, load);
    let small = |producers| Load { producers, ..Load::default() };
    let durable = Load { partitions: 16, records: 16, depth: 5, ..one_kib(16) };
    let (name, share) = ("durable-ours-max", 0.5);
    vec![
        case("produce-64KiB-consume", Load { depth: 2, consumers: 1, ..batches_of_64_kib(4) }),
        case("produce-100B-4", small(4)),
        case("produce-100B-64", small(64)),
        case("produce-100x100B", Load { records: 100, depth: 4, ..small(1) }),
        case("end-to-end-1000", following(1_000.0, 1)),
        case("end-to-end-10000", following(10_000.0, 1)),
        Case { flush: Flush::Both, ..case("durable-both-100", Load { partitions: 100, ..one_kib(100) }) },
        Case { flush: Flush::Both, ..case("durable-both-1", one_kib(64)) },
        Case { flush: Flush::Ours, ..case(name, durable.clone()) },
        Case {
            flush: Flush::Ours,
            rate: RateOf::Kafka { case: name, share },
            ..case("durable-ours-half", Load { linger_ms: 5.0, ..durable })
        },
        Case {
            task: Task::CatchUp { bytes: 2_000_000_000, cold: true },
            ..case("catch-up", Load { partitions: 4, depth: 2, ..batches_of_64_kib(4) })
        },
        Case { ours_only: true, ..case("partitions-100", Load { partitions: 100, ..one_kib(64) }) },
        Case { ours_only: true, ..case("partitions-10000", Load { partitions: 10_000, ..one_kib(64) }) },
        case("idle-500", Load { partitions: 16, idle: 500, ..Load::default() }),
    ]
}

fn load() -> Vec<Case> {
    let mut loads = Vec::new();
    for (records, record_bytes) in [(1, 100), (1, 1024), (64, 1024)] {
        let shape = Load { records, record_bytes, ..Load::default() };
        for partitions in [1, 16] {
            for producers in [1, 4, 64] {
                loads.push(Load { partitions, producers, ..shape.clone() });
            }
        }
        loads.push(Load { producers: 4, acks: 1, ..shape });
    }
    loads.push(Load { records: 100, producers: 1, depth: 4, ..Load::default() });
    loads.push(Load { partitions: 16, producers: 64, depth: 8, ..Load::default() });
    loads.into_iter().map(|load| Case::new("load", load.describe(), load)).collect()
}

fn matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for (text, records, record_bytes) in [("100B", 1, 100), ("1KiB", 1, 1024), ("64KiB", 1, 65_536)] {
        for producers in [1, 64, 500] {
            for partitions in [1, 16, 100] {
                let load = Load { partitions, producers, records, record_bytes, ..Load::default() };
                cases.push(Case::new("matrix", format!("matrix-{text}-{producers}-{partitions}"), load));
            }
        }
    }
    cases
}

fn codecs() -> Vec<Case> {
    let case = |codec: Codec| {
        let load = Load { codec, records: 64, partitions: 16, ..one_kib(16) };
        Case::new("codecs", format!("codec-{}", codec.name()), load)
    };
    Codec::ALL.into_iter().map(case).collect()
}

fn acks() -> Vec<Case> {
    let load = Load { records: 16, partitions: 16, depth: 5, ..one_kib(16) };
    let mut cases = vec![
        Case::new("acks", "acks-0", Load { acks: 0, ..load.clone() }),
        Case::new("acks", "acks-1", Load { acks: 1, ..load.clone() }),
        Case::new("acks", "acks-all", load.clone()),
        Case::new("acks", "idempotent", Load { idempotent: true, ..load }),
    ];
    let tiny = Load { keyed: true, batches: 8, records: 2, partitions: 64, producers: 16, ..Load::default() };
    cases.push(Case::new("acks", "keyed", tiny));
    cases
}

fn durable() -> Vec<Case> {
    let case = |partitions: usize| Case {
        flush: Flush::Both,
        ..Case::new(
            "durable",
            format!("durable-batches-{partitions}"),
            Load { partitions, records: 16, depth: 5, ..one_kib(16) },
        )
    };
    [1, 16, 100].into_iter().map(case).collect()
}

fn spread() -> Vec<Case> {
    let case = |partitions: usize| {
        Case::new("spread", format!("spread-{partitions}"), Load { partitions, ..one_kib(64) })
    };
    [1, 16, 100, 1_000, 10_000].into_iter().map(case).collect()
}

fn end_to_end() -> Vec<Case> {
    let rates = [500, 2_000, 5_000, 20_000, 50_000, 100_000];
    let mut cases: Vec<_> = rates
        .into_iter()
        .map(|rate| Case::new("end-to-end", format!("follow-{rate}"), following(f64::from(rate), 1)))
        .collect();
    cases.push(Case::new("end-to-end", "follow-5000-8", following(5_000.0, 8)));
    cases
}

fn consumers() -> Vec<Case> {
    let drain = Load { consumers: 1, rate: Some(20_000.0), linger_ms: 5.0, ..following(1.0, 1) };
    let small = Load { partitions: 1, records: 1, fetch_bytes: 1024, ..one_kib(16) };
    vec![
        Case { task: Task::Drain { bytes: 1_000_000_000 }, ..Case::new("consumers", "drain", drain) },
        Case {
            task: Task::CatchUp { bytes: 50_000_000, cold: false },
            ..Case::new("consumers", "small-fetches", small)
        },
        Case::new("consumers", "idle-100", Load { partitions: 16, idle: 100, ..Load::default() }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_holds_together() {
        let cases = cases();
        let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len(), "names are different");
        for case in &cases {
            assert!(GROUPS.iter().any(|(group, _)| *group == case.group), "{}", case.group);
            if case.task != Task::Churn {
                case.load.check().unwrap_or_else(|e| panic!("{}: {e}", case.name));
            }
            if let RateOf::Kafka { case: other, .. } = case.rate {
                assert!(names.contains(other));
            }
        }
        for (group, _) in GROUPS {
            assert!(cases.iter().any(|case| case.group == *group), "{group}");
        }
    }
}
