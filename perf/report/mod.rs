//! What is written: tables, JSON, histograms, plots and a page.

pub mod text;

mod hdr;
mod json;
mod page;
mod plot;

use crate::broker::{KAFKA_JVM, Side};
use crate::cgroup::{Cgroup, MEMORY_BYTES_MAX};
use crate::machine;
use crate::series::{Line, Setup};
use crate::support::toolchain::KAFKA_VERSION;
use std::fs;
use std::io;
use std::path::Path;

/// What is true of all lines: a name and what there is to say.
pub struct Facts(pub Vec<(String, String)>);

impl Facts {
    /// Of this machine and this run.
    pub fn of(setup: &Setup) -> Facts {
        let mut facts: Vec<(String, String)> = Vec::new();
        let mut fact = |name: &str, text: String| facts.push((name.to_owned(), text));
        fact("machine", machine::machine());
        fact("disk", machine::disk(&setup.scratch.join("")));
        fact("Ottla", format!("{}, default configuration", env!("CARGO_PKG_VERSION")));
        if setup.sides.contains(&Side::Kafka) {
            fact("Apache Kafka", format!("{KAFKA_VERSION}, default configuration, {}", KAFKA_JVM.join(" ")));
            fact("Java", machine::java());
        }
        let placing = if setup.pin {
            "broker on core 0 (Ottla with one thread, Kafka by taskset), generator on core 1, which never sleeps"
        } else {
            "broker and generator on all cores"
        };
        fact("placing", placing.to_owned());
        let cgroup = Cgroup::new();
        let notes = cgroup.notes();
        let gib = MEMORY_BYTES_MAX >> 30;
        let limit =
            format!("both brokers: {gib} GiB of memory, page cache included; CPU time is the group's");
        fact("control group", if notes.is_empty() { limit } else { notes.join("; ") });
        fact(
            "rounds",
            format!(
                "{} of {} s each, brokers in turn A B B A, a new process and directory for every run; before that \
                 uncounted and as fast as the broker answers: {} s for Ottla, {} s for Kafka, which may use both cores in that \
                 time so that its compiler comes to an end, and longer while it still gets faster; and 0.5 s of the load itself",
                setup.rounds, setup.seconds, setup.warm_seconds, setup.kafka_warm_seconds
            ),
        );
        Facts(facts)
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(|(name, text)| format!("{name}: {text}")).collect();
        lines.join("\n")
    }
}

/// Writes everything to a directory; done after each line, so that what is there is never lost.
pub fn write(dir: &Path, facts: &Facts, lines: &[Line]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut all = json::json(facts, lines);
    all["bars"] = json::bars(lines);
    fs::write(dir.join("results.json"), format!("{all:#}\n"))?;
    fs::write(dir.join("report.html"), page::page(facts, lines)?)?;
    if let Some(svg) = plot::loads(lines)? {
        fs::write(dir.join("latency-by-load.svg"), svg)?;
    }
    let Some(line) = lines.last() else { return Ok(()) };
    if let Some(svg) = plot::percentiles(line)? {
        fs::write(dir.join(format!("latency-{}.svg", hdr::file_name(&line.work.name()))), svg)?;
    }
    hdr::write(&dir.join("histograms"), line)
}
