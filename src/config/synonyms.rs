//! Which keys stand for which: the broker's defaults of topics and groups, and broker keys that are one
//! setting in several units (`ServerTopicConfigSynonyms`, `DynamicBrokerConfig`, `GroupConfig`).

use super::key::Key;
use super::table::BROKER;

/// The broker keys that give a topic key its default; the first that is set holds.
const TOPIC: &[(&str, &[&str])] = &[
    ("cleanup.policy", &["log.cleanup.policy"]),
    ("compression.gzip.level", &["compression.gzip.level"]),
    ("compression.lz4.level", &["compression.lz4.level"]),
    ("compression.type", &["compression.type"]),
    ("compression.zstd.level", &["compression.zstd.level"]),
    ("delete.retention.ms", &["log.cleaner.delete.retention.ms"]),
    ("file.delete.delay.ms", &["log.segment.delete.delay.ms"]),
    ("flush.messages", &["log.flush.interval.messages"]),
    ("flush.ms", &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]),
    ("index.interval.bytes", &["log.index.interval.bytes"]),
    ("local.retention.bytes", &["log.local.retention.bytes"]),
    ("local.retention.ms", &["log.local.retention.ms"]),
    ("max.compaction.lag.ms", &["log.cleaner.max.compaction.lag.ms"]),
    ("max.message.bytes", &["message.max.bytes"]),
    ("message.timestamp.after.max.ms", &["log.message.timestamp.after.max.ms"]),
    ("message.timestamp.before.max.ms", &["log.message.timestamp.before.max.ms"]),
    ("message.timestamp.type", &["log.message.timestamp.type"]),
    ("min.cleanable.dirty.ratio", &["log.cleaner.min.cleanable.ratio"]),
    ("min.compaction.lag.ms", &["log.cleaner.min.compaction.lag.ms"]),
    ("min.insync.replicas", &["min.insync.replicas"]),
    ("preallocate", &["log.preallocate"]),
    ("retention.bytes", &["log.retention.bytes"]),
    ("retention.ms", &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]),
    ("segment.bytes", &["log.segment.bytes"]),
    ("segment.index.bytes", &["log.index.size.max.bytes"]),
    ("segment.jitter.ms", &["log.roll.jitter.ms", "log.roll.jitter.hours"]),
    ("segment.ms", &["log.roll.ms", "log.roll.hours"]),
    ("unclean.leader.election.enable", &["unclean.leader.election.enable"]),
];

/// Broker keys for one and the same setting, strongest first.
const CHAINS: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

/// Listener keys that stand behind a mechanism's name: `listener.name.<listener>.<mechanism>.<key>`.
const OF_MECHANISM: &[&str] = &[
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

/// The broker keys that give a topic key its default, strongest first; none for keys without.
pub fn of_topic_key(name: &str) -> &'static [&'static str] {
    TOPIC.iter().find(|(key, _)| *key == name).map_or(&[], |(_, synonyms)| synonyms)
}

/// The broker key that gives a group key its default.
pub fn of_group_key(name: &str) -> Option<String> {
    match name {
        "share.auto.offset.reset" | "share.isolation.level" | "share.renew.acknowledge.enable" => None,
        _ => Some(format!("group.{name}")),
    }
}

/// The broker keys that mean the same setting as `name`, strongest first; at least `name` itself
/// (`DynamicBrokerConfig.brokerConfigSynonyms`). With `listeners`, a key of one listener falls back on the key
/// of all.
pub fn of_broker_key(name: &str, listeners: bool) -> Vec<String> {
    if let Some(chain) = CHAINS.iter().find(|chain| chain.contains(&name)) {
        return chain.iter().map(|key| (*key).to_owned()).collect();
    }
    if name == "log.flush.interval.ms" {
        return vec![name.to_owned(), "log.flush.scheduler.interval.ms".to_owned()];
    }
    match listener_key(name) {
        Some(base) if listeners => {
            let base = OF_MECHANISM.iter().copied().find(|key| base.ends_with(key)).unwrap_or(base);
            vec![name.to_owned(), base.to_owned()]
        }
        _ => vec![name.to_owned()],
    }
}

/// The part after `listener.name.<listener>.`, if the key is of that form.
pub fn listener_key(name: &str) -> Option<&str> {
    let (_, base) = name.strip_prefix("listener.name.")?.split_once('.')?;
    Some(base)
}

/// The key of a server that a name stands for: of this name, or the one of all listeners that it sets for one.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    BROKER.get(name).or_else(|| BROKER.get(listener_key(name)?))
}

#[cfg(test)]
mod tests {
    use super::super::table::{GROUP, TOPIC as TOPIC_TABLE};
    use super::*;

    #[test]
    fn synonyms_are_keys() {
        for (key, synonyms) in TOPIC {
            assert!(TOPIC_TABLE.get(key).is_some(), "{key}");
            for synonym in *synonyms {
                assert!(BROKER.get(synonym).is_some(), "{synonym}");
            }
        }
        for key in GROUP.iter() {
            if let Some(synonym) = of_group_key(key.name) {
                assert!(BROKER.get(&synonym).is_some(), "{synonym}");
            }
        }
    }

    #[test]
    fn broker_synonyms() {
        assert_eq!(of_broker_key("log.roll.hours", true), ["log.roll.ms", "log.roll.hours"]);
        assert_eq!(
            of_broker_key("log.flush.scheduler.interval.ms", true),
            ["log.flush.scheduler.interval.ms"]
        );
        assert_eq!(
            of_broker_key("listener.name.ssl.ssl.keystore.type", true),
            ["listener.name.ssl.ssl.keystore.type", "ssl.keystore.type"]
        );
        assert_eq!(
            of_broker_key("listener.name.a.plain.sasl.jaas.config", true),
            ["listener.name.a.plain.sasl.jaas.config", "sasl.jaas.config"]
        );
        assert_eq!(of_broker_key("listener.name.a.x", false), ["listener.name.a.x"]);
    }
}
