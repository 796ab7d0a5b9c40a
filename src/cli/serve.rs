//! `ottla serve`.

use super::settings::{self, Settings};
use super::{CliError, Fault, ServeArgs, SettingsArgs};
use crate::server::{self, ServeError, ServeOptions};
use std::io::{self, IsTerminal as _, Write};

/// Reads the configuration and runs a broker with it until it is told to stop.
pub fn run(args: &ServeArgs) -> Result<(), CliError> {
    tracing_subscriber::fmt()
        .with_max_level(args.log)
        .with_writer(|| Log)
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let cores: Vec<(&str, &str)> = args.cores.iter().map(|cores| ("ottla.cores", cores.as_str())).collect();
    let settings = settings::load(&args.settings, &cores)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    start(settings, format_command(&args.settings))
}

/// The standard error, where a line that cannot be written is lost and nothing else: its reader may be gone, its disk full, its
/// terminal closed.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The call of `ottla format` with the same configuration, as one types it into a shell.
fn format_command(args: &SettingsArgs) -> String {
    let mut words = vec!["ottla format --ignore-formatted".to_owned()];
    words.extend(args.config.iter().map(|file| format!("--config {}", quoted(&file.display().to_string()))));
    words.extend(args.set.iter().map(|set| format!("--set {}", quoted(set))));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Hands over to the server.
fn start(settings: Settings, format_command: String) -> Result<(), CliError> {
    let Settings { config, cluster_id, .. } = settings;
    server::serve(ServeOptions { config, cluster_id, format_command }).map_err(|error| match error {
        ServeError::Config(text) => CliError::usage(text),
        ServeError::Data(text) => CliError::data(text),
        ServeError::Unclean(text) => CliError { fault: Fault::Unclean, message: text },
        ServeError::Environment(text) | ServeError::Bug(text) => CliError::environment(text),
    })
}
