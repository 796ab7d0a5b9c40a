//! Which broker keys may be altered while the broker runs (`DynamicBrokerConfig`, KIP-226).

use super::error::ConfigError;
use super::key::{Mode, Support};
use super::synonyms;
use super::table::BROKER;
use std::collections::BTreeMap;

/// Keys that can only be altered for one listener (`SslConfigs.RECONFIGURABLE_CONFIGS`).
const OF_LISTENER: &[&str] = &[
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Keys of a listener that can also be altered for all brokers.
const LISTENER_CLUSTER_WIDE: &[&str] =
    &["max.connections", "max.connection.creation.rate", "num.network.threads"];

/// Checks one pair to be altered for this broker (`per_broker`) or for all.
pub(super) fn check_pair(name: &str, value: &str, per_broker: bool) -> Result<(), ConfigError> {
    check_names([name], per_broker)?;
    let base = synonyms::listener_key(name).unwrap_or(name);
    match BROKER.get(base) {
        Some(key) => key.parse(value).map(|_| ()),
        None => Ok(()),
    }
}

/// Refuses to alter what would have no effect until a restart, or none at all: an operator who is told that a limit holds
/// would rely on it. What has none in any case, such as the number of a thread pool that Ottla does not have, is stored.
pub(super) fn check_effect(name: &str) -> Result<(), ConfigError> {
    let Some(key) = synonyms::broker_key(name) else { return Ok(()) };
    let why = match key.support {
        Support::Harmless(_) => return Ok(()),
        Support::Works if name == key.name => return Ok(()),
        Support::Works | Support::Warns => "this version of Ottla does not act on it",
        Support::AtStart => "in Ottla it takes effect at a start: set it in the configuration file",
        Support::Refused(why) => why,
    };
    Err(ConfigError::Request(format!("Cannot update {name} dynamically: {why}")))
}

/// Checks the names of pairs to be altered (`DynamicBrokerConfig.validateConfigs`).
pub(super) fn check_names<'a>(
    names: impl IntoIterator<Item = &'a str>,
    per_broker: bool,
) -> Result<(), ConfigError> {
    let (mut fixed, mut of_listener, mut of_broker) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let mode = BROKER.get(name).map(|key| key.mode);
        let per_listener = synonyms::listener_key(name);
        if mode == Some(Mode::ReadOnly) {
            fixed.push(name);
        } else if OF_LISTENER.contains(&name) {
            of_listener.push(name);
        } else if mode == Some(Mode::PerBroker)
            || per_listener.is_some_and(|base| !LISTENER_CLUSTER_WIDE.contains(&base))
        {
            of_broker.push(name);
        }
    }
    let refuse = |text: &str, names: &[&str]| match names {
        [] => Ok(()),
        names => Err(ConfigError::Rule(format!("{text}: [{}]", names.join(", ")))),
    };
    refuse("Cannot update these configs dynamically", &fixed)?;
    refuse(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        &of_listener,
    )?;
    if per_broker {
        return Ok(());
    }
    refuse("Cannot update these configs at default cluster level, broker id must be specified", &of_broker)
}

/// Checks all pairs that one broker (`per_broker`) or all brokers will have. The error is INVALID_REQUEST, as
/// `ConfigAdminManager` has it.
pub fn check_broker_overrides(
    config: &super::BrokerConfig,
    overrides: &BTreeMap<String, String>,
    per_broker: bool,
) -> Result<(), ConfigError> {
    check_names(overrides.keys().map(String::as_str), per_broker).map_err(ConfigError::into_request)?;
    for (name, value) in overrides {
        check_pair(name, value, per_broker).map_err(ConfigError::into_request)?;
    }
    let mut layers = config.layers.clone();
    if per_broker {
        layers.broker.clone_from(overrides);
    } else {
        layers.cluster.clone_from(overrides);
    }
    let wanted = super::BrokerConfig::of(layers).map_err(ConfigError::into_request)?;
    POOLS.iter().try_for_each(|pool| check_pool(pool, config.number(pool), wanted.number(pool)))
}

/// Sizes of thread pools that may be altered.
const POOLS: &[&str] = &[
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// A pool is at most halved or doubled in one step (`DynamicThreadPool`, `LogCleaner`, `DataPlaneAcceptor`). Ottla has none of
/// them, and takes what Kafka takes.
fn check_pool(name: &str, now: i64, wanted: i64) -> Result<(), ConfigError> {
    let (low, high) = (now / 2, now * 2);
    if (low..=high).contains(&wanted) {
        return Ok(());
    }
    Err(ConfigError::Request(if name == "log.cleaner.threads" {
        let what = if wanted < low { "reduced to less than half" } else { "increased to more than double" };
        format!("Log cleaner threads cannot be {what} the current value {now}")
    } else {
        let what = if wanted < low { "be at least half" } else { "not be greater than double" };
        format!(
            "Dynamic thread count update validation failed for {name}={wanted}, value should {what} the current value {now}"
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    /// num.io.threads=3 was taken where Kafka, with 8 now, refuses it.
    #[test]
    fn a_pool_is_at_most_halved_or_doubled() {
        let (config, _) =
            BrokerConfig::from_pairs([("num.io.threads", "8"), ("background.threads", "3")]).unwrap();
        let check = |name: &str, value: &str| {
            let overrides = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            [true, false].map(|per_broker| check_broker_overrides(&config, &overrides, per_broker))
        };
        for (name, value) in [("num.io.threads", "4"), ("num.io.threads", "16"), ("background.threads", "1")]
        {
            assert!(check(name, value).iter().all(Result::is_ok), "{name}={value}");
        }
        let failed = "Dynamic thread count update validation failed for ";
        for (name, value, want) in [
            (
                "num.io.threads",
                "3",
                format!("{failed}num.io.threads=3, value should be at least half the current value 8"),
            ),
            (
                "num.io.threads",
                "17",
                format!(
                    "{failed}num.io.threads=17, value should not be greater than double the current value 8"
                ),
            ),
            (
                "log.cleaner.threads",
                "3",
                "Log cleaner threads cannot be increased to more than double the current value 1".to_owned(),
            ),
        ] {
            for result in check(name, value) {
                let error = result.expect_err(value);
                assert_eq!((error.code(), error.to_string()), (42, want.clone()));
            }
        }
    }
}
