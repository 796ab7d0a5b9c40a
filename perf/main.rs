//! Ottla beside Apache Kafka, and what Ottla costs by itself: `cargo bench --bench perf -- [SCENARIO] [OPTIONS]`.
//!
//! The suite's cases and the load generator are the library's (`ottla::bench`), as `ottla bench` has them for any
//! broker. Here brokers are started and placed, runs are repeated in turn and put beside each other and beside the bars.
//! Everything is written to `target/perf`, data to fresh directories there.

#[path = "../tests/support/mod.rs"]
mod support;

mod idle;
mod options;
mod partitions;

mod series;
mod works;

mod bars;
mod report;

mod broker;
mod cgroup;
mod machine;
mod stats;

use broker::Scratch;
use clap::Parser as _;
use options::Options;
use report::{Facts, text};
use series::{Line, Setup};
use std::io;
use std::net::ToSocketAddrs as _;
use std::process::ExitCode;
use works::{Target, Work};

fn main() -> ExitCode {
    let options = Options::parse();
    let ran = match options.scenario.as_str() {
        "idle" => idle::run(options.quick),
        "partitions" => partitions::run(options.partitions),
        "list" => {
            print!("{}", options::list());
            Ok(true)
        }
        _ => match options.works() {
            Ok(works) => suite(&options, &works),
            Err(message) => {
                eprintln!("{message}\n\n{}", options::list());
                return ExitCode::from(2);
            }
        },
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything gave figures.
fn suite(options: &Options, works: &[Work]) -> io::Result<bool> {
    let setup = Setup {
        scratch: Scratch::new(&options.scenario)?,
        sides: options.sides(),
        rounds: options.rounds(),
        seconds: options.seconds(),
        warm_seconds: options.warm(),
        kafka_warm_seconds: options.kafka_warm(),
        pin: options.is_pinned(),
        quick: options.quick,
    };
    if setup.pin {
        core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
    }
    let facts = Facts::of(&setup);
    println!("{}\n\n{}", facts.text(), text::head());
    let out = support::target_dir().join("perf");
    let done = |lines: &[Line]| {
        if let Some(line) = lines.last() {
            println!("{}", text::line(line));
        }
        report::write(&out, &facts, lines)
    };
    let lines = match &options.against {
        None => series::run(&setup, works, done)?,
        Some(name) => {
            let address = name.to_socket_addrs()?.next();
            let address = address.ok_or_else(|| io::Error::other(format!("{name} is no address")))?;
            series::run_against(
                &setup,
                works,
                &Target { address, pid: options.pid, broker: None, dir: None },
                done,
            )?
        }
    };
    let bars = text::bars(&lines);
    if !bars.is_empty() && !options.quick {
        println!("\n{bars}");
    }
    let failed = lines.iter().filter(|line| !line.failures.is_empty()).count();
    let came_back = match failed {
        0 => "every record that was sent came back once, in order and unchanged".to_owned(),
        _ => format!("{failed} of {} FAILED, see above", lines.len()),
    };
    println!("\n{came_back}; {}", out.display());
    Ok(failed == 0)
}
