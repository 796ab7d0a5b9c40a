//! A session with an Apache Kafka broker, replayed: what it described, altered and refused.

use super::*;
use crate::config::{AlterOp, Alteration, Altered, Outcome, ResourceKind};

const SESSION: &str = include_str!("../../../tests/config/kafka-4.3.1-session.tsv");

type Overrides = BTreeMap<String, String>;

struct World {
    started: BrokerConfig,
    overrides: BTreeMap<(ResourceKind, String), Overrides>,
}

impl World {
    fn new() -> World {
        let statics = SESSION.lines().filter_map(|l| l.strip_prefix("static\t")?.split_once('='));
        let (started, _) = BrokerConfig::from_pairs(statics).unwrap();
        let mut overrides = BTreeMap::new();
        let mut put = |kind, name: &str, pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Overrides>();
            overrides.insert((kind, name.to_owned()), pairs);
        };
        put(ResourceKind::Topic, "t", &[("cleanup.policy", "compact"), ("max.message.bytes", "2000000")]);
        put(ResourceKind::Broker, "", &[("min.insync.replicas", "1")]);
        World { started, overrides }
    }

    fn of(&self, kind: ResourceKind, name: &str) -> Overrides {
        self.overrides.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
    }

    fn config(&self) -> BrokerConfig {
        let (cluster, broker) = (self.of(ResourceKind::Broker, ""), self.of(ResourceKind::Broker, "1"));
        let (config, warnings) = self.started.with_dynamic(&cluster, &broker);
        assert!(warnings.is_empty(), "{warnings:?}");
        config
    }

    fn describe(&self, label: &str) -> Vec<String> {
        let config = self.config();
        let entries = match label.trim_end_matches('2') {
            "topic" => describe_topic(&config, &self.of(ResourceKind::Topic, "t")),
            "broker" => describe_broker(&config),
            "cluster" => describe_broker_defaults(&config),
            "group" => describe_group(&config, &self.of(ResourceKind::Group, "g")),
            "metrics" => describe_client_metrics(&self.of(ResourceKind::ClientMetrics, "m")),
            other => panic!("{other}"),
        };
        let mut lines: Vec<_> =
            entries.iter().filter(|e| !e.name.starts_with("ottla.")).map(|e| line(label, e)).collect();
        lines.sort();
        lines
    }

    fn alter(&mut self, fields: &[&str]) {
        let kind = match fields[0] {
            "TOPIC" => ResourceKind::Topic,
            "BROKER" => ResourceKind::Broker,
            "GROUP" => ResourceKind::Group,
            "CLIENT_METRICS" => ResourceKind::ClientMetrics,
            other => panic!("{other}"),
        };
        let operations: Vec<Alteration> = fields[2].split('|').map(operation).collect();
        let (config, before) = (self.config(), self.of(kind, fields[1]));
        let altered = Altered { config: &config, kind, name: fields[1], before: &before, elr_enabled: true };
        let got = match altered.incremental(&operations) {
            Ok(Outcome { overrides, .. }) => {
                self.overrides.insert((kind, fields[1].to_owned()), overrides);
                "ok".to_owned()
            }
            Err(error) => format!("{}\t{error}", error.code()),
        };
        if let Some((_, why)) = REFUSED.iter().find(|(pair, _)| *pair == fields[2]) {
            assert_eq!(got, format!("42\tCannot update {why}"));
            // As if it had been stored by Kafka.
            let (name, value) = fields[2].split_once('=').unwrap();
            let stored = self.overrides.entry((kind, fields[1].to_owned())).or_default();
            stored.insert(name.to_owned(), value.to_owned());
            return;
        }
        assert_eq!(got, fields[3..].join("\t"), "{fields:?}");
    }
}

/// What Kafka accepts, and Ottla refuses as it would not act on it.
const REFUSED: &[(&str, &str)] = &[(
    "listener.name.plaintext.max.connections=5",
    "listener.name.plaintext.max.connections dynamically: this version of Ottla does not act on it",
)];

fn operation(text: &str) -> Alteration<'_> {
    let (name, value) = text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v)));
    let (op, name) = match name.as_bytes()[0] {
        b'+' => (AlterOp::Append, &name[1..]),
        b'-' => (AlterOp::Subtract, &name[1..]),
        b'!' => (AlterOp::Delete, &name[1..]),
        _ => (AlterOp::Set, name),
    };
    Alteration { name, op, value }
}

fn line(label: &str, entry: &Entry) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "~".to_owned());
    let synonyms: Vec<_> =
        entry.synonyms.iter().map(|s| format!("{}:{}={}", s.source.code(), s.name, text(&s.value))).collect();
    [
        label,
        &entry.name,
        &text(&entry.value),
        &entry.source.code().to_string(),
        &entry.kind_code.to_string(),
        if entry.read_only { "ro" } else { "rw" },
        if entry.sensitive { "secret" } else { "" },
        &synonyms.join(";"),
    ]
    .join("\t")
}

#[test]
fn a_session_goes_as_with_kafka() {
    let mut world = World::new();
    let lines: Vec<&str> =
        SESSION.lines().filter(|l| !l.starts_with('#') && !l.starts_with("static\t")).collect();
    let mut rest = lines.as_slice();
    while let [first, ..] = rest {
        let label = first.split('\t').next().unwrap();
        let n = rest.iter().take_while(|l| l.split('\t').next() == Some(label)).count();
        let (block, after) = rest.split_at(n);
        rest = after;
        if label == "alter" {
            for line in block {
                world.alter(&line.split('\t').skip(1).collect::<Vec<_>>());
            }
            continue;
        }
        let (ours, mut theirs) = (world.describe(label), block.to_vec());
        theirs.sort_unstable();
        let missing: Vec<_> = theirs.iter().filter(|l| !ours.iter().any(|o| o == *l)).collect();
        let extra: Vec<_> = ours.iter().filter(|l| !theirs.contains(&l.as_str())).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{label}: missing {missing:#?}\nextra {extra:#?}");
    }
}

#[test]
fn replacing_deletes_what_is_not_named() {
    let world = World::new();
    let (config, before) = (world.config(), world.of(ResourceKind::Topic, "t"));
    let topic =
        Altered { config: &config, kind: ResourceKind::Topic, name: "t", before: &before, elr_enabled: true };
    let out = topic.replace(&[("retention.ms", Some("5")), ("cleanup.policy", Some("compact"))]).unwrap();
    assert_eq!(
        out.records,
        [("retention.ms".to_owned(), Some("5".to_owned())), ("max.message.bytes".to_owned(), None)]
    );
    assert_eq!(out.overrides.len(), 2);
    for (pairs, want) in [
        (vec![("retention.ms", None)], "Null value not supported for : retention.ms"),
        (
            vec![("retention.ms", Some("1")), ("retention.ms", Some("2"))],
            "Error due to duplicate config keys",
        ),
    ] {
        let error = topic.replace(&pairs).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (42, want));
    }
    let long = "x".repeat(40_000);
    let error = topic.replace(&[("retention.ms", Some(&long))]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes."
    );
}

#[test]
fn brokers_get_records_for_unchanged_values() {
    let world = World::new();
    let config = world.config();
    let before = Overrides::from([("num.io.threads".to_owned(), "4".to_owned())]);
    let set = [Alteration { name: "num.io.threads", op: AlterOp::Set, value: Some("4") }];
    let broker = Altered {
        config: &config,
        kind: ResourceKind::Broker,
        name: "1",
        before: &before,
        elr_enabled: true,
    };
    assert_eq!(broker.incremental(&set).unwrap().records.len(), 1);
    let other = Altered { name: "2", ..broker };
    let error = other.incremental(&set).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (42, "Unexpected broker id, expected 1, but received 2")
    );
}
