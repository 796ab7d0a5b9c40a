//! What Ottla is held to.

use crate::broker::Side;
use crate::series::Line;
use ottla::bench::Metric;
use ottla::bench::table::short;

/// When a bar is met.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Ottla's figure over Kafka's is at most this.
    RatioAtMost(f64),
    /// Ottla's figure over Kafka's is at least this.
    RatioAtLeast(f64),
    /// Ottla's figure is at most this.
    AtMost(f64),
    /// Ottla's figure is at least this share of its own in another case.
    ShareOfCase(&'static str, f64),
    /// Ottla's figure is at least this share of another of its figures, or the generator is the limit.
    ShareOfMetric(Metric, f64),
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// Of which case.
    pub case: &'static str,
    /// Which figure.
    pub metric: Metric,
    /// The rule.
    pub rule: Rule,
}

const fn bar(case: &'static str, metric: Metric, rule: Rule) -> Bar {
    Bar { case, metric, rule }
}

const THIRD: Rule = Rule::RatioAtMost(1.0 / 3.0);
/// The generator is the limit when it waits for less than a tenth of the time.
const CLIENT_PERCENT_FULL: f64 = 90.0;

/// All bars.
pub const BARS: &[Bar] = &[
    bar("produce-64KiB-consume", Metric::CpuPerGb, THIRD),
    bar("produce-64KiB-consume", Metric::CpuPerGb, Rule::AtMost(0.6)),
    bar("produce-100B-4", Metric::CpuPerRequest, Rule::RatioAtMost(0.2)),
    bar("produce-100B-64", Metric::CpuPerRequest, Rule::RatioAtMost(0.2)),
    bar("produce-100x100B", Metric::Records, Rule::RatioAtLeast(3.0)),
    bar("end-to-end-1000", Metric::EndToEnd99, THIRD),
    bar("end-to-end-1000", Metric::EndToEnd999, THIRD),
    bar("end-to-end-10000", Metric::EndToEnd99, THIRD),
    bar("end-to-end-10000", Metric::EndToEnd999, THIRD),
    bar("durable-both-100", Metric::Records, Rule::RatioAtLeast(10.0)),
    bar("durable-both-100", Metric::Acknowledged99, Rule::RatioAtMost(0.1)),
    bar("durable-both-1", Metric::Records, Rule::RatioAtLeast(2.0)),
    bar("durable-ours-max", Metric::Records, Rule::RatioAtLeast(1.0)),
    bar("durable-ours-half", Metric::Acknowledged99, Rule::RatioAtMost(1.0)),
    bar("durable-ours-half", Metric::Acknowledged999, Rule::RatioAtMost(0.5)),
    bar("catch-up", Metric::Consumed, Rule::ShareOfMetric(Metric::DirectRead, 0.8)),
    bar("partitions-10000", Metric::Records, Rule::ShareOfCase("partitions-100", 0.8)),
    bar("idle-500", Metric::CpuPercent, Rule::AtMost(2.0)),
    bar("produce-64KiB-consume", Metric::Resident, THIRD),
    bar("produce-100B-4", Metric::Resident, THIRD),
    bar("produce-100B-64", Metric::Resident, THIRD),
    bar("produce-100x100B", Metric::Resident, THIRD),
    bar("end-to-end-1000", Metric::Resident, THIRD),
    bar("end-to-end-10000", Metric::Resident, THIRD),
    bar("durable-both-100", Metric::Resident, THIRD),
    bar("durable-both-1", Metric::Resident, THIRD),
    bar("durable-ours-max", Metric::Resident, THIRD),
    bar("durable-ours-half", Metric::Resident, THIRD),
    bar("catch-up", Metric::Resident, THIRD),
    bar("idle-500", Metric::Resident, THIRD),
    bar("start-empty", Metric::Start, Rule::AtMost(50.0)),
    bar("start-10000", Metric::Start, Rule::AtMost(1000.0)),
];

/// A bar beside what was found.
pub struct Verdict {
    /// The bar.
    pub bar: Bar,
    /// What is compared with it: a ratio, a share or the figure itself.
    pub found: f64,
    /// Whether it is met.
    pub met: bool,
}

impl Verdict {
    /// The bar in words.
    pub fn rule(&self) -> String {
        let unit = self.bar.metric.unit();
        match self.bar.rule {
            Rule::RatioAtMost(most) => format!("Ottla / Kafka <= {}", short(most)),
            Rule::RatioAtLeast(least) => format!("Ottla / Kafka >= {}", short(least)),
            Rule::AtMost(most) => format!("<= {} {unit}", short(most)),
            Rule::ShareOfCase(case, share) => format!(">= {share} of {case}"),
            Rule::ShareOfMetric(metric, share) => format!(">= {share} of {}", metric.title()),
        }
    }
}

/// Every bar whose figures are there.
pub fn judge(lines: &[Line]) -> Vec<Verdict> {
    let find = |name: &str| lines.iter().find(|line| line.work.name() == name);
    let mut verdicts = Vec::new();
    for bar in BARS {
        let Some(line) = find(bar.case) else { continue };
        let Some(ours) = line.median(Side::Ottla, bar.metric) else { continue };
        let ratio = || Some(ours / line.median(Side::Kafka, bar.metric)?);
        let (found, met) = match bar.rule {
            Rule::RatioAtMost(most) => match ratio() {
                Some(ratio) => (ratio, ratio <= most),
                None => continue,
            },
            Rule::RatioAtLeast(least) => match ratio() {
                Some(ratio) => (ratio, ratio >= least),
                None => continue,
            },
            Rule::AtMost(most) => (ours, ours <= most),
            Rule::ShareOfCase(case, least) => {
                match find(case).and_then(|line| line.median(Side::Ottla, bar.metric)) {
                    Some(other) => (ours / other, ours / other >= least),
                    None => continue,
                }
            }
            Rule::ShareOfMetric(metric, least) => match line.median(Side::Ottla, metric) {
                Some(other) => {
                    let full = line.median(Side::Ottla, Metric::Client) >= Some(CLIENT_PERCENT_FULL);
                    (ours / other, ours / other >= least || full)
                }
                None => continue,
            },
        };
        verdicts.push(Verdict { bar: *bar, found, met });
    }
    verdicts
}
