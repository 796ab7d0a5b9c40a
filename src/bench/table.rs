//! The figures of a case as one row of a table.

use super::metric::Metric;
use std::fmt::Write as _;

/// Title, width and figure.
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
const NAME_WIDTH: usize = 30;

/// The titles.
pub fn head() -> String {
    let mut text = " ".repeat(NAME_WIDTH);
    for (title, width, _) in COLUMNS {
        let _ = write!(text, "{title:>width$}");
    }
    text
}

/// A row. A long name has a line of its own.
pub fn row(name: &str, figure: impl Fn(Metric) -> Option<f64>) -> String {
    let mut text = match name.len() {
        length if length < NAME_WIDTH => format!("{name:<NAME_WIDTH$}"),
        _ => format!("{name}\n{}", " ".repeat(NAME_WIDTH)),
    };
    for (_, width, metric) in COLUMNS {
        let value = figure(*metric).map_or("-".to_owned(), short);
        let _ = write!(text, "{value:>width$}");
    }
    text
}

/// A figure with the digits that say something.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        n if n >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_wide_as_the_head() {
        let row = row("a", |metric| (metric == Metric::Requests).then_some(12.345));
        assert_eq!(row.len(), head().len());
        assert!(row.contains("12.3") && row.ends_with('-'), "{row}");
        let digits = [(0.0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (99.96, "100.0"), (1234.5, "1234")];
        for (value, text) in digits {
            assert_eq!(short(value), text);
        }
    }
}
