//! What the broker costs: `cargo bench --bench perf -- [SCENARIO] [OPTIONS]`.
//!
//! `idle` measures start, memory, idle CPU and the binary against the bars that we hold ourselves to; `load` drives
//! a broker over the wire and checks every record that it acknowledged. Both run the release binary in a fresh
//! directory below `target/perf`, on the file system that the working tree is on.

mod broker;
mod idle;
mod load;
mod partitions;
mod stats;

use std::process::ExitCode;

const USAGE: &str = "\
cargo bench --bench perf -- [SCENARIO] [OPTIONS]

  idle                  start, memory, CPU when idle, size of the binary
  load                  produce and fetch back
  partitions            many partitions: made, idle, stopped, started (--partitions N, 10000)

options of load:
  --against HOST:PORT   a broker that runs already, with --pid PID for its CPU time
  --pin                 broker on core 0, this program on core 1
  --seconds N           how long each case produces (4)
  --warm N              how long before that it produces uncounted (1)
  --only TEXT           cases whose line contains TEXT
options of both:
  --quick               shorter, to see that it works";

/// What was asked for.
struct Options {
    scenario: Option<String>,
    quick: bool,
    partitions: usize,
    load: load::LoadOptions,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let ran = match options.scenario.as_deref() {
        Some("idle") => idle::run(options.quick),
        Some("partitions") => partitions::run(options.partitions),
        Some("load") => load::run(&options.load),
        Some(other) => {
            eprintln!("there is no scenario {other}\n\n{USAGE}");
            return ExitCode::from(2);
        }
        None => idle::run(options.quick).and_then(|idle| Ok(load::run(&options.load)? && idle)),
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

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options =
        Options { scenario: None, quick: false, partitions: 10_000, load: load::LoadOptions::default() };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--bench" => {} // from cargo
            "--quick" => options.quick = true,
            "--partitions" => {
                options.partitions = value()?.parse().map_err(|_| "--partitions needs a number")?;
            }
            "--pin" => options.load.pin = true,
            "--against" => options.load.against = Some(value()?),
            "--pid" => options.load.pid = Some(value()?.parse().map_err(|_| "--pid needs a number")?),
            "--seconds" => {
                options.load.seconds = value()?.parse().map_err(|_| "--seconds needs a number")?;
            }
            "--warm" => {
                options.load.warm_seconds = value()?.parse().map_err(|_| "--warm needs a number")?;
            }
            "--only" => options.load.only = Some(value()?),
            other if other.starts_with('-') => return Err(format!("there is no option {other}")),
            other if options.scenario.is_none() => options.scenario = Some(other.to_owned()),
            other => return Err(format!("one scenario at a time, not also {other}")),
        }
    }
    options.load.quick = options.quick;
    Ok(options)
}
