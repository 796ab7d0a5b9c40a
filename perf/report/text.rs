//! Tables for a terminal.

use crate::bars::judge;
use crate::broker::Side;
use crate::series::Line;
use ottla::bench::table::{self, short};
use std::fmt::Write as _;

/// The head of the table.
pub fn head() -> String {
    format!("{:<6}{}", "", table::head())
}

/// A row for each broker.
pub fn line(line: &Line) -> String {
    let mut rows = Vec::new();
    for side in line.samples.keys() {
        let row = table::row(&line.work.name(), |metric| line.median(*side, metric));
        rows.push(format!("{:<6}{row}", side.name()));
    }
    rows.extend(line.failures.iter().map(|failure| format!("FAILED: {}: {failure}", line.work.name())));
    rows.join("\n")
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
