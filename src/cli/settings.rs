//! File, environment and arguments, put together.

use super::{CliError, SettingsArgs};
use crate::config::{BrokerConfig, ConfigError, STANDALONE, Warning, environment, properties};
use std::fs;

/// The configuration of a command.
#[derive(Debug)]
pub struct Settings {
    /// The broker's configuration.
    pub config: BrokerConfig,
    /// What in it is tolerated but should be known.
    pub warnings: Vec<Warning>,
    /// The variable CLUSTER_ID.
    pub cluster_id: Option<String>,
}

/// Reads what the arguments name, and the environment. `more` is stronger than all of it.
pub fn load(args: &SettingsArgs, more: &[(&str, &str)]) -> Result<Settings, CliError> {
    let file = match &args.config {
        None => None,
        Some(path) => {
            let bytes =
                fs::read(path).map_err(|e| CliError::environment(format!("{}: {e}", path.display())))?;
            Some((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()))
        }
    };
    let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
    let variables = std::env::vars_os().map(|(k, v)| (text(k), text(v))).collect();
    merge(file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), variables, &args.set, more)
}

fn merge(
    file: Option<(&str, &str)>,
    variables: Vec<(String, String)>,
    sets: &[String],
    more: &[(&str, &str)],
) -> Result<Settings, CliError> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let cluster_id = variables.iter().find(|(k, v)| k == environment::CLUSTER_ID && !v.is_empty());
    let cluster_id = cluster_id.map(|(_, v)| v.clone());
    // With a file it says everything; without one the defaults make a broker of their own.
    let mut pairs = match file {
        Some((name, text)) => properties::parse(text).map_err(|e| CliError::usage(format!("{name}: {e}")))?,
        None => owned(STANDALONE),
    };
    let usage = |e: ConfigError| CliError::usage(e.to_string());
    pairs.extend(environment::pairs(variables).map_err(usage)?);
    for set in sets {
        let Some((key, value)) = set.split_once('=') else {
            return Err(CliError::usage(format!("--set {set}: must be in the form KEY=VALUE")));
        };
        pairs.push((key.trim().to_owned(), value.to_owned()));
    }
    pairs.extend(owned(more));
    let (config, mut warnings) = BrokerConfig::from_pairs(pairs).map_err(usage)?;
    if file.is_none() {
        warnings.retain(|w| !matches!(w, Warning::NoEffect(key) if STANDALONE.iter().any(|(k, _)| k == key)));
    }
    Ok(Settings { config, warnings, cluster_id })
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_later_layer_holds() {
        let file = "num.partitions=2\ndefault.replication.factor=1\nnode.id=5\n";
        let variables = env(&[
            ("KAFKA_NUM_PARTITIONS", "3"),
            ("KAFKA_NODE_ID", "6"),
            ("CLUSTER_ID", "abc"),
            ("HOME", "/"),
        ]);
        let sets = ["num.partitions=4".to_owned()];
        let s = merge(Some(("f", file)), variables.clone(), &sets, &[]).unwrap();
        assert_eq!((s.config.num_partitions, s.config.node_id), (4, 6));
        assert_eq!(s.cluster_id.as_deref(), Some("abc"));
        // A file that names no listeners means Kafka's, on all interfaces; no file means this machine only.
        assert_eq!(s.config.listeners[0].host, None);
        let s = merge(None, variables, &sets, &[("num.partitions", "9")]).unwrap();
        assert_eq!(s.config.num_partitions, 9);
        assert_eq!(s.config.listeners[0].host.as_deref(), Some("localhost"));
        assert_eq!(s.config.offsets.topic_replication_factor, 1);
        assert_eq!(s.warnings, []);
    }

    #[test]
    fn faults() {
        let table = [
            (None, "a", "--set a: must be in the form KEY=VALUE"),
            (None, "num.partitions=x", "Invalid value x for configuration num.partitions"),
            (Some(("f", "a=\\uzzzz")), "b=c", "f: Malformed \\uxxxx encoding"),
        ];
        for (file, set, want) in table {
            let error = merge(file, Vec::new(), &[set.to_owned()], &[]).unwrap_err();
            assert_eq!(error.fault, Fault::Usage);
            assert!(error.message.starts_with(want), "{}", error.message);
        }
        let args = SettingsArgs { config: Some("/does/not/exist".into()), set: Vec::new() };
        let error = load(&args, &[]).unwrap_err();
        assert_eq!(error.fault, Fault::Environment);
        assert!(error.message.starts_with("/does/not/exist: "), "{}", error.message);
    }
}
