//! The commands of the `ottla` binary.
//!
//! Exit codes: 0 all went well; 1 what is around the broker is at fault (a missing file, a port in use, a
//! directory that is formatted already, a kernel without `io_uring`); 2 the command line or the configuration
//! is; 3 the data is (a directory of another node or cluster, a damaged file). Apache Kafka's scripts end with 1
//! in all of these cases. A broker that SIGTERM stops ends with 0, where Kafka's ends with 143.

mod bench;
mod dump;
mod format;
mod serve;
mod settings;
mod tune;

use clap::{Args, Parser, Subcommand};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// Why a command failed: the exit code and what to print.
#[derive(Debug)]
pub struct CliError {
    /// Who is at fault.
    pub fault: Fault,
    /// What is wrong, and what helps.
    pub message: String,
}

/// Who is at fault when a command fails; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What is around the broker.
    Environment = 1,
    /// The command line or the configuration.
    Usage = 2,
    /// The data.
    Data = 3,
    /// A stop that left a partition offline or not written out.
    Unclean = 4,
}

impl CliError {
    fn environment(message: impl Into<String>) -> CliError {
        CliError { fault: Fault::Environment, message: message.into() }
    }

    fn usage(message: impl Into<String>) -> CliError {
        CliError { fault: Fault::Usage, message: message.into() }
    }

    fn data(message: impl Into<String>) -> CliError {
        CliError { fault: Fault::Data, message: message.into() }
    }
}

#[derive(Debug, Parser)]
#[command(name = "ottla", version, about = "A broker that speaks the Apache Kafka protocol.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker. Without a configuration: on localhost:9092, with its data in ./ottla-data.
    Serve(ServeArgs),
    /// Prepare log directories for a node of a cluster.
    Format(FormatArgs),
    /// Print log segments, indexes, checkpoints, meta.properties and Ottla's journals.
    Dump(DumpArgs),
    /// Load a running broker of any make, check that it keeps every record, and print what it does. Makes topics
    /// called ottla-bench-..., and deletes them.
    Bench(BenchArgs),
    /// Check this machine, and say what would make a broker faster or safer on it.
    Tune(SettingsArgs),
}

/// Where the configuration comes from; the last of these holds: defaults, file, KAFKA_* variables, --set.
#[derive(Args, Clone, Debug, Default)]
struct SettingsArgs {
    /// A properties file with Kafka's keys.
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// One key, stronger than file and environment; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args, Debug)]
struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Cores to run on: a number, or a list such as 0,2-4.
    #[arg(long, value_name = "N|LIST")]
    cores: Option<String>,
    /// What to log: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

#[derive(Args, Debug)]
struct FormatArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The cluster's id: 22 characters of URL-safe base64. Made up if neither this nor CLUSTER_ID is given.
    #[arg(long, short = 't', value_name = "ID")]
    cluster_id: Option<String>,
    /// Leave directories alone that are formatted already.
    #[arg(long, short = 'g')]
    ignore_formatted: bool,
    /// The directory.id of a log directory that is lost for good and that a new one replaces: its partitions begin
    /// anew, empty.
    #[arg(long, value_name = "ID")]
    directory_id: Option<String>,
}

#[derive(Args, Debug)]
struct DumpArgs {
    /// Files of a log directory: *.log, *.index, *.timeindex, *-checkpoint, meta.properties, ottla-journal-*.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the records of each batch too.
    #[arg(long)]
    records: bool,
}

#[derive(Args, Debug)]
struct BenchArgs {
    /// The broker; without it the scenarios are listed.
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<String>,
    /// Which loads: see --list.
    #[arg(long, value_name = "NAME", default_value = "load")]
    scenario: String,
    /// Loads whose name or description contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How long each load counts.
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    seconds: f64,
    /// How long before that it runs uncounted.
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    warm: f64,
    /// The broker's process on this machine: CPU time and memory are reported then.
    #[arg(long)]
    pid: Option<u32>,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, and are not to us.
            let code = if error.use_stderr() { Fault::Usage as u8 } else { 0 };
            let _ = error.print(); // there is nowhere to complain to
            if let Some(tip) = std::env::args().skip(1).find_map(|argument| tip(&argument)) {
                complain(&format!("\nFor those who know Kafka's scripts: {tip}"));
            }
            return ExitCode::from(code);
        }
    };
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("ottla: {}", error.message));
            ExitCode::from(error.fault as u8)
        }
    }
}

/// Writes lines to the standard error; if that does not work, the exit code has to do. What a terminal would take for a command
/// is shown instead, as the lines quote files.
fn complain(lines: &str) {
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    let shown: String =
        lines.chars().map(|c| if is_odd(c) { c.escape_default().to_string() } else { c.into() }).collect();
    let _ = writeln!(io::stderr(), "{shown}");
}

/// Writes what a command found out to the standard output. Someone who has seen enough of it is no error.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::environment(format!("standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// What stands here for an argument of Kafka's scripts.
fn tip(argument: &str) -> Option<&'static str> {
    match argument.split_once('=').map_or(argument, |(name, _)| name) {
        "--override" => Some("a key is given with --set KEY=VALUE"),
        "-daemon" | "--daemon" => {
            Some("ottla stays in the foreground; a service manager, or nohup and &, runs it behind")
        }
        "--bootstrap-server" => {
            Some("ottla bench takes --against HOST:PORT; for topics and groups use Kafka's own tools")
        }
        name if name.ends_with(".properties") => Some("a configuration file is given with --config FILE"),
        _ => None,
    }
}

fn execute(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Format(args) => format::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Tune(args) => tune::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["ottla", "serve", "--set", "a=b", "--set", "c=d", "--cores", "0-3"]);
        let Command::Serve(args) = cli.unwrap().command else { panic!() };
        assert_eq!(args.settings.set, ["a=b", "c=d"]);
        assert_eq!(args.cores.as_deref(), Some("0-3"));
        assert_eq!(args.log, LevelFilter::INFO);
        assert!(tip("--override").is_some_and(|tip| tip.contains("--set")));
        assert!(tip("config/server.properties").is_some_and(|tip| tip.contains("--config")));
        assert_eq!(tip("serve"), None);
        assert!(Cli::try_parse_from(["ottla"]).is_err());
        assert!(Cli::try_parse_from(["ottla", "dump"]).is_err());
        assert!(Cli::try_parse_from(["ottla", "serve", "--log", "loud"]).is_err());
    }
}
