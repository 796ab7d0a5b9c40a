//! What DescribeConfigs shows (`kafka.server.ConfigHelper`).

use super::broker::BrokerConfig;
use super::group;
use super::key::{DefaultValue, Key, Mode};
use super::synonyms;
use super::table::{self, BROKER, CLIENT_METRICS, GROUP, TOPIC};
use super::topic;
use super::value::Value;
use std::collections::BTreeMap;

/// Where a value comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic's own.
    Topic,
    /// Altered for this broker.
    DynamicBroker,
    /// Altered for all brokers.
    DynamicDefaultBroker,
    /// File, environment or arguments.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// The subscription's own.
    ClientMetrics,
    /// The group's own.
    Group,
}

impl Source {
    /// Kafka's number of it.
    pub fn code(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::DynamicBroker => 2,
            Source::DynamicDefaultBroker => 3,
            Source::StaticBroker => 4,
            Source::Default => 5,
            Source::ClientMetrics => 7,
            Source::Group => 8,
        }
    }
}

/// One place where a value may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The key there.
    pub name: String,
    /// The value there; None for a secret.
    pub value: Option<String>,
    /// The place.
    pub source: Source,
}

/// One key of a resource as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Its value; None for no value and for a secret.
    pub value: Option<String>,
    /// Whether it needs a restart.
    pub read_only: bool,
    /// Where the value comes from.
    pub source: Source,
    /// Whether it is a secret, or unknown and so perhaps one.
    pub sensitive: bool,
    /// The type's number ([`super::Kind::code`]); 0 for an unknown key.
    pub kind_code: i8,
    /// All places where the value may come from, the one that holds first.
    pub synonyms: Vec<Synonym>,
    /// One line about it; None for an unknown key.
    pub documentation: Option<&'static str>,
}

/// All keys of a topic that is there.
pub fn describe_topic(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Vec<Entry> {
    let values = topic::effective_values(broker, overrides);
    let mut entries = Vec::new();
    for key in TOPIC.iter().filter(|key| !key.internal || overrides.contains_key(key.name)) {
        let value = values.get(key.name).to_text();
        let mut synonyms = match synonyms::of_topic_key(key.name).first() {
            Some(first) => broker_synonyms(broker, first, false),
            None => Vec::new(),
        };
        own(&mut synonyms, key, value.as_deref(), overrides, Source::Topic);
        entries.push(entry(key, value, synonyms, false));
    }
    entries.extend(unknown(overrides, &TOPIC, Source::Topic));
    entries
}

/// All keys of a group.
pub fn describe_group(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Vec<Entry> {
    let values = group::effective_values(broker, overrides);
    let mut entries = Vec::new();
    for key in GROUP.iter() {
        let value = values.get(key.name).and_then(Value::to_text);
        let mut synonyms = match synonyms::of_group_key(key.name) {
            Some(synonym) => broker_synonyms(broker, &synonym, false),
            None => vec![default_synonym(key)],
        };
        own(&mut synonyms, key, value.as_deref(), overrides, Source::Group);
        entries.push(entry(key, value, synonyms, false));
    }
    entries
}

/// All keys of a client-metrics subscription.
pub fn describe_client_metrics(overrides: &BTreeMap<String, String>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for key in CLIENT_METRICS.iter() {
        let set = overrides.get(key.name).and_then(|text| key.parse(text).ok());
        let value = set.unwrap_or_else(|| key.default_value()).to_text();
        let mut synonyms = Vec::new();
        own(&mut synonyms, key, value.as_deref(), overrides, Source::ClientMetrics);
        entries.push(entry(key, value, synonyms, false));
    }
    entries
}

/// All keys of this broker: those in the table, and what else was set.
pub fn describe_broker(broker: &BrokerConfig) -> Vec<Entry> {
    let set = broker.layers.merged();
    let mut entries = Vec::new();
    for key in BROKER.iter() {
        let shown = !key.internal && !table::is_dynamic_only(key.name);
        if shown || set.contains_key(key.name) {
            let synonyms = broker_synonyms(broker, key.name, key.sensitive());
            let value = broker.value(key.name).to_text();
            entries.push(entry(key, value, synonyms, key.mode == Mode::ReadOnly));
        }
    }
    for (name, value) in set.iter().filter(|(name, _)| BROKER.get(name).is_none()) {
        let known = key_of(name);
        let synonyms = broker_synonyms(broker, name, known.is_none_or(Key::sensitive));
        entries.push(foreign(name, value, known, synonyms));
    }
    entries
}

/// What was altered for all brokers.
pub fn describe_broker_defaults(broker: &BrokerConfig) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, value) in &broker.layers.cluster {
        let known = key_of(name);
        let mut synonyms = broker_synonyms(broker, name, known.is_none_or(Key::sensitive));
        synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        entries.push(match BROKER.get(name) {
            Some(key) => entry(key, Some(value.clone()), synonyms, key.mode == Mode::ReadOnly),
            None => foreign(name, value, known, synonyms),
        });
    }
    entries
}

/// The key of this name, or for a key of one listener that of all.
fn key_of(name: &str) -> Option<&'static Key> {
    synonyms::of_broker_key(name, true).iter().find_map(|name| BROKER.get(name))
}

/// Every place that a broker key's value may come from, strongest first, from the first that has the key's own
/// name on.
fn broker_synonyms(broker: &BrokerConfig, name: &str, sensitive: bool) -> Vec<Synonym> {
    let names = synonyms::of_broker_key(name, true);
    let layers = [
        (Source::DynamicBroker, &broker.layers.broker),
        (Source::DynamicDefaultBroker, &broker.layers.cluster),
        (Source::StaticBroker, &broker.layers.statics),
    ];
    let mut found = Vec::new();
    for (source, pairs) in layers {
        for name in &names {
            if let Some(value) = pairs.get(name) {
                let value = if sensitive { None } else { Some(value.clone()) };
                found.push(Synonym { name: name.clone(), value, source });
            }
        }
    }
    for key in names.iter().filter_map(|name| BROKER.get(name)) {
        if matches!(key.default, DefaultValue::Is(_)) && !table::is_dynamic_only(key.name) {
            found.push(default_synonym(key));
        }
    }
    let first = found.iter().position(|synonym| synonym.name == name).unwrap_or(found.len());
    found.split_off(first)
}

fn default_synonym(key: &Key) -> Synonym {
    let value = if key.sensitive() { None } else { key.default_value().to_text() };
    Synonym { name: key.name.to_owned(), value, source: Source::Default }
}

/// Puts the resource's own value before all others.
fn own(
    synonyms: &mut Vec<Synonym>,
    key: &Key,
    value: Option<&str>,
    overrides: &BTreeMap<String, String>,
    source: Source,
) {
    if overrides.contains_key(key.name) {
        let value = value.map(str::to_owned);
        synonyms.insert(0, Synonym { name: key.name.to_owned(), value, source });
    }
}

fn entry(key: &Key, value: Option<String>, synonyms: Vec<Synonym>, read_only: bool) -> Entry {
    Entry {
        name: key.name.to_owned(),
        value: if key.sensitive() { None } else { value },
        read_only,
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        sensitive: key.sensitive(),
        kind_code: key.kind.code(),
        synonyms,
        documentation: Some(key.doc),
    }
}

/// A key that is not in the table, or that of one listener (`known` being the key of all).
fn foreign(name: &str, value: &str, known: Option<&'static Key>, synonyms: Vec<Synonym>) -> Entry {
    let sensitive = known.is_none_or(Key::sensitive);
    Entry {
        name: name.to_owned(),
        value: if sensitive { None } else { Some(value.to_owned()) },
        read_only: true,
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        sensitive,
        kind_code: known.map_or(0, |key| key.kind.code()),
        synonyms,
        documentation: None,
    }
}

/// Stored overrides that nobody knows.
fn unknown<'a>(
    overrides: &'a BTreeMap<String, String>,
    table: &'static table::Table,
    source: Source,
) -> impl Iterator<Item = Entry> + 'a {
    overrides.iter().filter(|(name, _)| table.get(name).is_none()).map(move |(name, value)| {
        let synonym = Synonym { name: name.clone(), value: None, source };
        Entry { read_only: false, ..foreign(name, value, None, vec![synonym]) }
    })
}

#[cfg(test)]
mod tests;
