//! The same for programs.

use crate::bars::judge;
use crate::report::Facts;
use crate::series::Line;
use ottla::bench::Metric;
use serde_json::{Map, Value, json};

/// Everything that was measured.
pub fn json(facts: &Facts, lines: &[Line]) -> Value {
    let lines: Vec<_> = lines.iter().map(one).collect::<Vec<_>>();
    let facts: Map<String, Value> = facts.0.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({ "facts": facts, "lines": lines })
}

/// The bars.
pub fn bars(lines: &[Line]) -> Value {
    let verdicts = judge(lines).into_iter().map(|verdict| {
        json!({
            "case": verdict.bar.case,
            "metric": verdict.bar.metric.name(),
            "bar": verdict.rule(),
            "found": verdict.found,
            "met": verdict.met,
        })
    });
    verdicts.collect()
}

fn one(line: &Line) -> Value {
    let mut sides = Map::new();
    for (side, samples) in &line.samples {
        let mut figures = Map::new();
        for (metric, name, _, unit) in Metric::ALL {
            if let Some(spread) = line.spread(*side, *metric) {
                let rounds: Vec<_> = samples.iter().map(|s| s.values.get(metric)).collect();
                figures.insert(
                    (*name).to_owned(),
                    json!({
                        "unit": unit, "median": spread.median(), "min": spread.min(), "max": spread.max(),
                        "rounds": rounds,
                    }),
                );
            }
        }
        sides.insert(side.name().to_lowercase(), Value::Object(figures));
    }
    json!({
        "name": line.work.name(),
        "group": line.work.group(),
        "load": line.work.describe(),
        "rate_records_per_s": line.rate,
        "failures": line.failures,
        "figures": sides,
    })
}
