//! The rules of a group's configuration (`GroupConfig.validate`).

use super::broker::BrokerConfig;
use super::error::ConfigError;
use super::synonyms;
use super::table::GROUP;
use super::value::Value;
use std::collections::BTreeMap;

/// The bounds that the broker sets for keys of groups, in the order in which Kafka checks them. `always` is false
/// for keys that are only checked if the group sets them.
const BOUNDS: &[(&str, Option<&str>, &str, bool)] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        "group.consumer.max.heartbeat.interval.ms",
        true,
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        "group.consumer.max.session.timeout.ms",
        true,
    ),
    (
        "consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        "group.consumer.max.assignment.interval.ms",
        false,
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        "group.share.max.heartbeat.interval.ms",
        true,
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        "group.share.max.session.timeout.ms",
        true,
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        "group.share.max.record.lock.duration.ms",
        true,
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        "group.share.max.delivery.count.limit",
        true,
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        "group.share.max.partition.max.record.locks",
        true,
    ),
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        "group.share.max.assignment.interval.ms",
        false,
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        "group.streams.max.heartbeat.interval.ms",
        true,
    ),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        "group.streams.max.session.timeout.ms",
        true,
    ),
    ("streams.num.standby.replicas", None, "group.streams.max.standby.replicas", true),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        "group.streams.max.assignment.interval.ms",
        false,
    ),
];

/// The value of every group key: the group's own, or the broker's.
pub(super) fn effective_values(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, Value> {
    let mut values = BTreeMap::new();
    for key in GROUP.iter() {
        let own = overrides.get(key.name).and_then(|text| key.parse(text).ok());
        let given = || match synonyms::of_group_key(key.name) {
            Some(synonym) => broker.value(&synonym).clone(),
            None => key.default_value(),
        };
        values.insert(key.name, own.unwrap_or_else(given));
    }
    values
}

/// Checks all that a group will override.
pub(super) fn check_overrides(
    broker: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    if let Some(unknown) = overrides.keys().find(|name| GROUP.get(name).is_none()) {
        return Err(ConfigError::UnknownGroupKey(unknown.clone()));
    }
    for (name, text) in overrides {
        if let Some(key) = GROUP.get(name) {
            key.parse(text)?;
        }
    }
    let values = effective_values(broker, overrides);
    let number = |name: &str| values.get(name).and_then(Value::as_i64).unwrap_or_default();
    for (name, min, max, always) in BOUNDS {
        if !always && !overrides.contains_key(*name) {
            continue;
        }
        match min {
            Some(min) if number(name) < broker.number(min) => {
                return Err(ConfigError::Rule(format!("{name} must be greater than or equal to {min}")));
            }
            _ => {}
        }
        if number(name) > broker.number(max) {
            return Err(ConfigError::Rule(format!("{name} must be less than or equal to {max}")));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) =
            (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        if number(&session) <= number(&heartbeat) {
            return Err(ConfigError::Rule(format!("{session} must be greater than {heartbeat}")));
        }
    }
    Ok(())
}
