//! File, environment and arguments, put together.

use super::{CliError, SettingsArgs};
use crate::config::{BrokerConfig, STANDALONE, Warning, environment, properties, table};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The configuration of a command.
#[derive(Debug)]
pub struct Settings {
    /// The broker's configuration.
    pub config: BrokerConfig,
    /// What in it is tolerated but should be known.
    pub warnings: Vec<String>,
    /// The variable CLUSTER_ID.
    pub cluster_id: Option<String>,
}

/// Reads what the arguments name, and the environment. `more` is stronger than all of it.
pub fn load(args: &SettingsArgs, more: &[(&str, &str)]) -> Result<Settings, CliError> {
    let file = match &args.config {
        None => None,
        Some(path) => {
            let bytes = fs::read(path).map_err(|e| {
                CliError::environment(format!("the configuration file {}: {e}", path.display()))
            })?;
            Some((path.display().to_string(), text_of(path, &bytes)?))
        }
    };
    let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
    let variables = std::env::vars_os().map(|(k, v)| (text(k), text(v))).collect();
    merge(file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), variables, &args.set, more)
}

/// The text of a configuration file. What is none is refused before its bytes reach a terminal.
fn text_of(path: &Path, bytes: &[u8]) -> Result<String, CliError> {
    let why = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "is in UTF-16: save it as UTF-8"
    } else if bytes.contains(&0) {
        "has bytes of zero, so it is no text in UTF-8; a configuration file has lines of KEY=VALUE with Kafka's keys"
    } else {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    };
    Err(CliError::usage(format!("the configuration file {} {why}", path.display())))
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
    let mut given = Given::default();
    match file {
        Some((name, text)) => given.file(name, text)?,
        None => given.pairs.extend(owned(STANDALONE)),
    }
    given.variables(variables)?;
    given.sets(sets)?;
    given.pairs.extend(owned(more));
    if let Some((name, _)) = file
        && !given.pairs.iter().any(|(key, _)| key == "process.roles")
    {
        let ending = name.rsplit('.').next().unwrap_or_default();
        if ["yaml", "yml", "json", "xml", "toml"].contains(&ending) {
            return Err(CliError::usage(format!(
                "{name}: a configuration file has lines of KEY=VALUE with Kafka's keys, as server.properties of its \
                 distribution; this one seems to be {ending}"
            )));
        }
        return Err(CliError::usage(format!(
            "{name}: process.roles is missing: add process.roles=broker,controller (a file of the ZooKeeper days needs \
             controller.listener.names too)"
        )));
    }
    let Given { pairs, origins } = given;
    let (config, warnings) = BrokerConfig::from_pairs(pairs).map_err(|error| {
        let origin = error.key().and_then(|key| origin_of(key, &origins)).unwrap_or_default();
        CliError::usage(format!("{origin}{error}"))
    })?;
    let ours = |w: &Warning| matches!(w, Warning::NoEffect(key) if STANDALONE.iter().any(|(k, _)| k == key));
    let warnings =
        warnings.iter().filter(|w| file.is_some() || !ours(w)).map(|w| worded(w, &origins)).collect();
    Ok(Settings { config, warnings, cluster_id })
}

/// Where a key stands, or the older one that stands for it.
fn origin_of(key: &str, origins: &BTreeMap<String, String>) -> Option<String> {
    let older = || Some(format!("{}: broker.id: ", origins.get("broker.id")?));
    let place = origins.get(key).map(|at| format!("{at}: "));
    if key == "node.id" { place.or_else(older) } else { place }
}

/// A warning with the place that it is about, and for an unknown key the one that may have been meant.
fn worded(warning: &Warning, origins: &BTreeMap<String, String>) -> String {
    let (Warning::UnknownKey(key) | Warning::NoEffect(key)) = warning else { return warning.to_string() };
    let origin = origins.get(key).map(|at| format!("{at}: ")).unwrap_or_default();
    let meant = match warning {
        Warning::UnknownKey(_) => meant(key).map(|near| format!("; is {near} meant?")),
        _ => None,
    };
    format!("{origin}{warning}{}", meant.unwrap_or_default())
}

/// What an unknown key may stand for: one that is spelled alike, or what another image calls it.
fn meant(key: &str) -> Option<String> {
    let of_an_image = key.strip_prefix("cfg.").filter(|key| table::BROKER.get(key).is_some());
    match (key, of_an_image) {
        ("kraft.cluster.id" | "cfg.kraft.cluster.id", _) => Some("the variable CLUSTER_ID".to_owned()),
        (_, Some(key)) => Some(key.to_owned()),
        _ => table::nearest(key).map(str::to_owned),
    }
}

/// Pairs in rising precedence, and where the last one of each key stands.
#[derive(Default)]
struct Given {
    pairs: Vec<(String, String)>,
    origins: BTreeMap<String, String>,
}

impl Given {
    fn file(&mut self, name: &str, text: &str) -> Result<(), CliError> {
        // Editors of other systems put a mark of the encoding in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = properties::parse_lines(text).map_err(|e| CliError::usage(format!("{name}: {e}")))?;
        lines.into_iter().try_for_each(|(line, key, value)| self.add(format!("{name}:{line}"), key, value))
    }

    fn variables(&mut self, variables: Vec<(String, String)>) -> Result<(), CliError> {
        let pairs = environment::pairs(variables).map_err(|e| CliError::usage(e.to_string()))?;
        pairs.into_iter().try_for_each(|(name, key, value)| self.add(name, key, value))
    }

    fn sets(&mut self, sets: &[String]) -> Result<(), CliError> {
        sets.iter().try_for_each(|set| match set.split_once('=') {
            Some((key, value)) => self.add("--set".to_owned(), key.trim().to_owned(), value.to_owned()),
            None => Err(CliError::usage(format!("--set {set}: must be in the form KEY=VALUE"))),
        })
    }

    fn add(&mut self, origin: String, key: String, value: String) -> Result<(), CliError> {
        if key.is_empty() {
            return Err(CliError::usage(format!("{origin}: there is no key before ={value}")));
        }
        self.origins.insert(key.clone(), origin);
        self.pairs.push((key, value));
        Ok(())
    }
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
        let file =
            "process.roles=broker,controller\nnum.partitions=2\ndefault.replication.factor=1\nnode.id=5\n";
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
        assert_eq!(s.warnings, Vec::<String>::new());
    }

    #[test]
    fn unknown_keys_are_named_with_their_place_and_the_key_that_is_meant() {
        let file = "\u{feff}process.roles=broker,controller\nnum.partition=3\n";
        let variables = env(&[("KAFKA_RETENTION_MS", "1"), ("KAFKA_MY_KEY", "x")]);
        let s = merge(Some(("f", file)), variables, &["log.dir.s=/tmp/x".to_owned()], &[]).unwrap();
        let want = [
            "--set: unknown configuration key log.dir.s is ignored; is log.dirs meant?",
            "KAFKA_MY_KEY: unknown configuration key my.key is ignored",
            "f:2: unknown configuration key num.partition is ignored; is num.partitions meant?",
            "KAFKA_RETENTION_MS: unknown configuration key retention.ms is ignored; is log.retention.ms meant?",
        ];
        assert_eq!(s.warnings, want);
    }

    #[test]
    fn faults() {
        let table = [
            (None, "a", "--set a: must be in the form KEY=VALUE"),
            (None, "=a", "--set: there is no key before =a"),
            (None, "num.partitions=x", "--set: Invalid value x for configuration num.partitions"),
            (Some(("f", "a=\\uzzzz")), "b=c", "f: Malformed \\uxxxx encoding"),
            (Some(("f", "a=b\n\n=c")), "b=c", "f:3: there is no key before =c"),
            (
                Some(("f", "node.id=1")),
                "b=c",
                "f: process.roles is missing: add process.roles=broker,controller",
            ),
            (Some(("f", "process.roles=broker,controller\nnode.id=x")), "b=c", "f:2: Invalid value x"),
            (
                Some(("redpanda.yaml", "redpanda:\n  kafka_api:\n    - port: 9092\n")),
                "b=c",
                "redpanda.yaml: a configuration file has lines of KEY=VALUE",
            ),
            (
                None,
                "listeners=PLAINTEXT://0.0.0.0:99999",
                "--set: Invalid value PLAINTEXT://0.0.0.0:99999 for configuration listeners: in `PLAINTEXT://0.0.0.0:99999` the port must be",
            ),
            (
                None,
                "listeners=PLAINTEXT://0.0.0.0:9092",
                "--set: Invalid value PLAINTEXT://0.0.0.0:9092 for configuration listeners: clients would be told",
            ),
            (
                None,
                "cordoned.log.dirs=x",
                "--set: Invalid value x for configuration cordoned.log.dirs: all entries",
            ),
        ];
        for (file, set, want) in table {
            let error = merge(file, Vec::new(), &[set.to_owned()], &[]).unwrap_err();
            assert_eq!(error.fault, Fault::Usage);
            assert!(error.message.starts_with(want), "{}", error.message);
        }
        let args = SettingsArgs { config: Some("/does/not/exist".into()), set: Vec::new() };
        let error = load(&args, &[]).unwrap_err();
        assert_eq!(error.fault, Fault::Environment);
        assert!(error.message.starts_with("the configuration file /does/not/exist: "), "{}", error.message);
    }
}
