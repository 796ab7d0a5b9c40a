//! Tables for a terminal.

use crate::bars::judge;
use crate::broker::Side;
use crate::metric::Metric;
use crate::series::Line;
use crate::stats::short;
use std::fmt::Write as _;

/// The columns of a line as it is done: title, and the figure.
const COLUMNS: &[(&str, usize, Metric)] = &[
    ("req/s", 9, Metric::Requests),
    ("rec/s", 9, Metric::Records),
    ("MB/s", 7, Metric::Produced),
    ("p50 us", 8, Metric::Acknowledged50),
    ("p99 us", 8, Metric::Acknowledged99),
    ("p99.9 us", 9, Metric::Acknowledged999),
    ("e2e p50", 8, Metric::EndToEnd50),
    ("p99", 8, Metric::EndToEnd99),
    ("p99.9", 8, Metric::EndToEnd999),
    ("cpu us/req", 11, Metric::CpuPerRequest),
    ("cpu s/GB", 9, Metric::CpuPerGb),
    ("cpu %", 7, Metric::CpuPercent),
    ("read MB/s", 10, Metric::Consumed),
    ("dd MB/s", 8, Metric::DirectRead),
    ("start ms", 9, Metric::Start),
    ("MiB", 6, Metric::Resident),
    ("client %", 9, Metric::Client),
];

/// The head of the table.
pub fn head() -> String {
    let mut text = format!("{:<34}{:<6}", "medians", "");
    for (title, width, _) in COLUMNS {
        let _ = write!(text, "{title:>width$}");
    }
    text
}

/// A line for each broker.
pub fn line(line: &Line) -> String {
    let mut text = String::new();
    let mut name = line.work.name();
    if name.len() > 33 {
        let _ = writeln!(text, "{name}");
        name.clear();
    }
    for side in line.samples.keys() {
        let _ = write!(text, "{name:<34}{:<6}", side.name());
        for (_, width, metric) in COLUMNS {
            let value = line.median(*side, *metric).map_or("-".to_owned(), short);
            let _ = write!(text, "{value:>width$}");
        }
        text.push('\n');
        name.clear();
    }
    for failure in &line.failures {
        let _ = writeln!(text, "  FAILED: {failure}");
    }
    text.trim_end().to_owned()
}

/// The bars, and whether each is met.
pub fn bars(lines: &[Line]) -> String {
    let verdicts = judge(lines);
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:<5} {:<24}{:<30}{:>30}{:>30}{:>10}  {}\n",
        "", "case", "figure", "Ottla min / median / max", "Kafka min / median / max", "found", "bar"
    );
    for verdict in &verdicts {
        let line = lines.iter().find(|line| line.work.name() == verdict.bar.case);
        let spread = |side| {
            let spread = line.and_then(|line| line.spread(side, verdict.bar.metric));
            spread.map_or("-".to_owned(), |s| {
                format!("{} / {} / {}", short(s.min()), short(s.median()), short(s.max()))
            })
        };
        let figure = format!("{}, {}", verdict.bar.metric.title(), verdict.bar.metric.unit());
        let _ = writeln!(
            text,
            "{:<5} {:<24}{figure:<30}{:>30}{:>30}{:>10}  {}",
            if verdict.met { "met" } else { "MISS" },
            verdict.bar.case,
            spread(Side::Ottla),
            spread(Side::Kafka),
            short(verdict.found),
            verdict.rule(),
        );
    }
    let met = verdicts.iter().filter(|verdict| verdict.met).count();
    let _ = write!(text, "{met} of {} bars met", verdicts.len());
    text
}
