//! The effective configuration of a topic (`LogConfig`), and the rules of its overrides.

use super::broker::BrokerConfig;
use super::error::ConfigError;
use super::synonyms;
use super::table::TOPIC;
use super::value::Value;
use std::collections::BTreeMap;

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// How stored batches are compressed (`BrokerCompressionType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer chose.
    #[default]
    Producer,
    /// Not at all.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// What happens to old data. Neither means that it is kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Only the last record of each key is kept.
    pub compact: bool,
    /// Segments are deleted by age and size.
    pub delete: bool,
}

/// The configuration of a topic: its own overrides over what the broker gives all topics. Times are in
/// milliseconds; for retention -1 means no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`: 1 to 9, or -1 for the library's default.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`.
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: records.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `follower.replication.throttled.replicas`.
    pub follower_replication_throttled_replicas: Vec<String>,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `leader.replication.throttled.replicas`.
    pub leader_replication_throttled_replicas: Vec<String>,
    /// `local.retention.bytes`; here already resolved to `retention.bytes` if it was -2.
    pub local_retention_bytes: i64,
    /// `local.retention.ms`; here already resolved to `retention.ms` if it was -2.
    pub local_retention_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`: of a batch.
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`: 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `remote.log.copy.disable`.
    pub remote_log_copy_disable: bool,
    /// `remote.log.delete.on.disable`.
    pub remote_log_delete_on_disable: bool,
    /// `remote.storage.enable`.
    pub remote_storage_enable: bool,
    /// `retention.bytes`; -1 means no limit.
    pub retention_bytes: i64,
    /// `retention.ms`; -1 means no limit.
    pub retention_ms: i64,
    /// `segment.bytes`, or `internal.segment.bytes` if that is set.
    pub segment_bytes: i32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
}

impl TopicConfig {
    /// The configuration of a topic with these overrides on this broker.
    ///
    /// Overrides are checked before they are stored ([`check_topic_overrides`]). One that does not parse can
    /// only come from foreign data, and is passed over.
    pub fn effective(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> TopicConfig {
        TopicConfig::of(&effective_values(broker, overrides))
    }

    /// What Kafka gives a topic if neither it nor the broker says anything.
    pub fn kafka_defaults() -> TopicConfig {
        TopicConfig::of(&TopicValues(TOPIC.iter().map(|key| (key.name, key.default_value())).collect()))
    }

    fn of(values: &TopicValues) -> TopicConfig {
        let int = |name| values.number(name) as i32;
        let long = |name| values.number(name);
        let flag = |name| values.get(name).as_bool().unwrap_or_default();
        let list = |name| values.get(name).as_list().unwrap_or_default();
        let policy = list("cleanup.policy");
        let (retention_ms, retention_bytes) = (long("retention.ms"), long("retention.bytes"));
        let or = |name, broad| if long(name) == -2 { broad } else { long(name) };
        TopicConfig {
            cleanup_policy: CleanupPolicy {
                compact: policy.iter().any(|p| p == "compact"),
                delete: policy.iter().any(|p| p == "delete"),
            },
            compression_type: match values.get("compression.type").as_text() {
                Some("uncompressed") => CompressionType::Uncompressed,
                Some("gzip") => CompressionType::Gzip,
                Some("snappy") => CompressionType::Snappy,
                Some("lz4") => CompressionType::Lz4,
                Some("zstd") => CompressionType::Zstd,
                _ => CompressionType::Producer,
            },
            compression_gzip_level: int("compression.gzip.level"),
            compression_lz4_level: int("compression.lz4.level"),
            compression_zstd_level: int("compression.zstd.level"),
            delete_retention_ms: long("delete.retention.ms"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            follower_replication_throttled_replicas: list("follower.replication.throttled.replicas").to_vec(),
            index_interval_bytes: int("index.interval.bytes"),
            leader_replication_throttled_replicas: list("leader.replication.throttled.replicas").to_vec(),
            local_retention_bytes: or("local.retention.bytes", retention_bytes),
            local_retention_ms: or("local.retention.ms", retention_ms),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            max_message_bytes: int("max.message.bytes"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            message_timestamp_type: match values.get("message.timestamp.type").as_text() {
                Some("LogAppendTime") => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: values.get("min.cleanable.dirty.ratio").as_f64().unwrap_or_default(),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: flag("preallocate"),
            remote_log_copy_disable: flag("remote.log.copy.disable"),
            remote_log_delete_on_disable: flag("remote.log.delete.on.disable"),
            remote_storage_enable: flag("remote.storage.enable"),
            retention_bytes,
            retention_ms,
            segment_bytes: match values.get("internal.segment.bytes") {
                Value::Int(bytes) => *bytes,
                _ => int("segment.bytes"),
            },
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_ms: long("segment.ms"),
            unclean_leader_election_enable: flag("unclean.leader.election.enable"),
        }
    }
}

/// The value of every topic key.
pub(super) struct TopicValues(BTreeMap<&'static str, Value>);

impl TopicValues {
    pub(super) fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn number(&self, name: &str) -> i64 {
        self.get(name).as_i64().unwrap_or_default()
    }
}

/// What the broker gives a topic that overrides nothing (`KafkaConfig.extractLogConfigMap`).
pub(super) fn broker_values(broker: &BrokerConfig) -> TopicValues {
    let value = |key: &'static super::Key| match synonyms::of_topic_key(key.name) {
        [] => key.default_value(),
        [only] => broker.value(only).clone(),
        _ => Value::Long(match key.name {
            "retention.ms" => broker.retention_ms(),
            "segment.ms" => broker.in_ms("log.roll.ms", &[("log.roll.hours", 3_600_000)]),
            "segment.jitter.ms" => {
                broker.in_ms("log.roll.jitter.ms", &[("log.roll.jitter.hours", 3_600_000)])
            }
            _ => broker.in_ms("log.flush.interval.ms", &[("log.flush.scheduler.interval.ms", 1)]),
        }),
    };
    TopicValues(TOPIC.iter().map(|key| (key.name, value(key))).collect())
}

/// The same with the overrides that parse.
pub(super) fn effective_values(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> TopicValues {
    let mut values = broker_values(broker);
    for (name, text) in overrides {
        let parsed = TOPIC.get(name).and_then(|key| Some((key.name, key.parse(text).ok()?)));
        values.0.extend(parsed);
    }
    values
}

/// Checks one override by itself: the key is a topic's, and the value is of its type and within its bounds.
pub fn check_topic_override(name: &str, value: &str) -> Result<(), ConfigError> {
    match TOPIC.get(name) {
        Some(key) => key.parse(value).map(|_| ()),
        None => Err(ConfigError::UnknownTopicKey(name.to_owned())),
    }
}

/// Checks all overrides that a topic will have, `before` being those it has now (`LogConfig.validate`).
pub fn check_topic_overrides(
    broker: &BrokerConfig,
    before: &BTreeMap<String, String>,
    overrides: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    if let Some(unknown) = overrides.keys().find(|name| TOPIC.get(name).is_none()) {
        return Err(ConfigError::UnknownTopicKey(unknown.clone()));
    }
    for (name, value) in overrides {
        check_topic_override(name, value)?;
    }
    let values = effective_values(broker, overrides);
    check_lags(&values)?;
    if values.get("remote.storage.enable").as_bool() == Some(true) {
        return check_remote(broker, &values);
    }
    let was_remote = before.get("remote.storage.enable").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if was_remote && values.get("remote.log.delete.on.disable").as_bool() != Some(true) {
        return Err(ConfigError::Rule(
            "It is invalid to disable remote storage without deleting remote data. If you want to keep the \
             remote data and turn to read only, please set \
             `remote.storage.enable=true,remote.log.copy.disable=true`. If you want to disable remote storage \
             and delete all remote data, please set \
             `remote.storage.enable=false,remote.log.delete.on.disable=true`."
                .to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn check_lags(values: &TopicValues) -> Result<(), ConfigError> {
    let (min, max) = (values.number("min.compaction.lag.ms"), values.number("max.compaction.lag.ms"));
    if min > max {
        return Err(ConfigError::Rule(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    Ok(())
}

fn check_remote(broker: &BrokerConfig, values: &TopicValues) -> Result<(), ConfigError> {
    let rule = |text: &str| Err(ConfigError::Rule(text.to_owned()));
    if broker.value("remote.log.storage.system.enable").as_bool() != Some(true) {
        return rule(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
             log storage.",
        );
    }
    if values.get("cleanup.policy").as_list().is_some_and(|p| p.iter().any(|p| p != "delete")) {
        return rule(
            "Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an \
             empty list.",
        );
    }
    for (local, broad) in
        [("local.retention.bytes", "retention.bytes"), ("local.retention.ms", "retention.ms")]
    {
        let (local_value, broad_value) = (values.number(local), values.number(broad));
        let why = if broad_value < 0 || local_value == -2 {
            continue;
        } else if local_value == -1 {
            format!("Value must not be -1 as {broad} value is set as {broad_value}.")
        } else if local_value > broad_value {
            format!("Value must not be more than {broad} property value: {broad_value}")
        } else {
            continue;
        };
        return Err(ConfigError::InvalidValue { key: local.to_owned(), value: local_value.to_string(), why });
    }
    if values.get("remote.log.copy.disable").as_bool() == Some(true) {
        for (local, broad) in
            [("local.retention.bytes", "retention.bytes"), ("local.retention.ms", "retention.ms")]
        {
            let local_value = values.number(local);
            if local_value != -2 && local_value != values.number(broad) {
                return Err(ConfigError::Rule(format!(
                    "When `remote.log.copy.disable` is set to true, the `{local}` and `{broad}` must be set to \
                     the identical value because there will be no more logs copied to the remote storage."
                )));
            }
        }
    }
    Ok(())
}
