//! The configuration of a broker (`KafkaConfig`): typed, checked, and with the pairs it came from.

use super::error::{ConfigError, Warning};
use super::key::{DefaultValue, Key, Support};
use super::listeners::{self, Listener, SecurityProtocol};
use super::rules::Cores;
use super::synonyms;
use super::table::{self, BROKER};
use super::topic::{self, TopicConfig};
use super::value::{Value, list_parts};
use crate::base::BrokerId;
use crate::base::limits::SHARDS_MAX;
use std::collections::BTreeMap;

/// What holds without a configuration file: one node that is broker and controller, reachable from this
/// machine, with its data beside it.
pub const STANDALONE: &[(&str, &str)] = &[
    ("listeners", "PLAINTEXT://localhost:9092"),
    ("offsets.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.replication.factor", "1"),
];

/// What Ottla puts in the place of keys that Kafka insists on, and of its data directory in `/tmp`.
const NODE_ID: &str = "1";
const PROCESS_ROLES: &str = "broker,controller";
const CONTROLLER_LISTENER_NAMES: &str = "CONTROLLER";
const LOG_DIRS: &str = "ottla-data";

/// The limits of classic consumer groups. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicGroupLimits {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`: members.
    pub max_size: i32,
}

/// Everything about `__consumer_offsets` and what stands in it. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsConfig {
    /// `offset.metadata.max.bytes`.
    pub metadata_max_bytes: i32,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout_ms: i32,
    /// `offsets.retention.minutes`, in milliseconds.
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// `offsets.topic.num.partitions`.
    pub topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: i32,
}

/// Limits of connections and requests. Sizes are in bytes, times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: i32,
    /// `socket.send.buffer.bytes`; -1 leaves it to the kernel.
    pub socket_send_buffer_bytes: i32,
    /// `socket.receive.buffer.bytes`; -1 leaves it to the kernel.
    pub socket_receive_buffer_bytes: i32,
    /// `socket.listen.backlog.size`.
    pub socket_listen_backlog_size: i32,
    /// `max.connections`.
    pub max_connections: i32,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: i32,
    /// `max.connections.per.ip.overrides`: address to limit.
    pub max_connections_per_ip_overrides: BTreeMap<String, i32>,
    /// `max.connection.creation.rate`: per second.
    pub max_connection_creation_rate: i32,
    /// `connections.max.idle.ms`; negative means for ever.
    pub connections_max_idle_ms: i64,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: i32,
    /// `max.request.partition.size.limit`.
    pub max_request_partition_size_limit: i32,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `ottla.connection.buffer.bytes`.
    pub connection_buffer_bytes: i32,
    /// `ottla.connection.zero.copy.bytes`.
    pub connection_zero_copy_bytes: i32,
    /// `ottla.core.buffer.bytes`.
    pub core_buffer_bytes: i64,
}

/// The configuration of this broker: what its file, environment and arguments say, and what was altered
/// since.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `listeners` for clients.
    pub listeners: Vec<Listener>,
    /// `advertised.listeners` for clients, or `listeners`. A host of None is for the server to fill in.
    pub advertised_listeners: Vec<Listener>,
    /// `listeners` that belong to the controller.
    pub controller_listeners: Vec<Listener>,
    /// `log.dirs`, or `log.dir`.
    pub log_dirs: Vec<String>,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `log.initial.task.delay.ms`.
    pub log_initial_task_delay_ms: i64,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i32,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_id_expiration_check_interval_ms: i32,
    /// Limits of connections and requests.
    pub network: NetworkConfig,
    /// Limits of classic groups.
    pub classic_groups: ClassicGroupLimits,
    /// Committed offsets.
    pub offsets: OffsetsConfig,
    /// `ottla.cores`; None means all that the process may use.
    pub cores: Option<Cores>,
    /// `ottla.core.cache.bytes`.
    pub core_cache_bytes: i64,
    /// `ottla.core.journal.bytes`.
    pub core_journal_bytes: i64,
    /// The configuration of a topic that overrides nothing.
    pub topic_defaults: TopicConfig,
    values: BTreeMap<&'static str, Value>,
    pub(super) layers: Layers,
}

/// Where the values of a broker's keys come from, weakest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    /// File, environment, arguments.
    pub statics: BTreeMap<String, String>,
    /// Altered for all brokers.
    pub cluster: BTreeMap<String, String>,
    /// Altered for this broker.
    pub broker: BTreeMap<String, String>,
}

impl Layers {
    /// All pairs; a stronger layer takes away the synonyms of what it sets (`overrideProps`).
    pub(super) fn merged(&self) -> BTreeMap<String, String> {
        let mut pairs = self.statics.clone();
        for (key, value) in self.cluster.iter().chain(&self.broker) {
            for synonym in synonyms::of_broker_key(key, false) {
                pairs.remove(&synonym);
            }
            pairs.insert(key.clone(), value.clone());
        }
        pairs
    }
}

impl BrokerConfig {
    /// From pairs in rising precedence: of two with the same key the later one holds.
    pub fn from_pairs<I, K, V>(pairs: I) -> Result<(BrokerConfig, Vec<Warning>), ConfigError>
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        let mut statics: BTreeMap<String, String> =
            pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        let warnings = warnings(&statics);
        complete(&mut statics);
        let config = BrokerConfig::of(Layers { statics, ..Layers::default() })?;
        Ok((config, warnings))
    }

    /// The same broker with what was altered for all brokers and for this one, from the metadata. A pair that
    /// does not fit is passed over with a warning, for it was checked when it was stored.
    pub fn with_dynamic(
        &self,
        cluster: &BTreeMap<String, String>,
        broker: &BTreeMap<String, String>,
    ) -> (BrokerConfig, Vec<Warning>) {
        let mut warnings = Vec::new();
        let mut fitting = |pairs: &BTreeMap<String, String>, per_broker: bool| {
            let mut kept = pairs.clone();
            kept.retain(|key, value| match super::dynamic::check_pair(key, value, per_broker) {
                Ok(()) => true,
                Err(error) => {
                    warnings.push(Warning::Other(format!("stored configuration ignored: {error}")));
                    false
                }
            });
            kept
        };
        let layers = Layers {
            statics: self.layers.statics.clone(),
            cluster: fitting(cluster, false),
            broker: fitting(broker, true),
        };
        match BrokerConfig::of(layers) {
            Ok(config) => (config, warnings),
            Err(error) => {
                warnings.push(Warning::Other(format!("stored configuration ignored: {error}")));
                (self.clone(), warnings)
            }
        }
    }

    pub(super) fn of(layers: Layers) -> Result<BrokerConfig, ConfigError> {
        let pairs = layers.merged();
        // Before its synonym, so that an error names the key that is used.
        if let (Some(key), Some(text)) = (BROKER.get("node.id"), pairs.get("node.id")) {
            key.parse(text)?;
        }
        let mut values = BTreeMap::new();
        for key in BROKER.iter() {
            let value = match pairs.get(key.name) {
                Some(text) => key.parse(text)?,
                None => key.default_value(),
            };
            values.insert(key.name, value);
        }
        let mut config = BrokerConfig::typed(values, layers)?;
        config.check(&pairs)?;
        config.topic_defaults = TopicConfig::effective(&config, &BTreeMap::new());
        Ok(config)
    }

    fn typed(values: BTreeMap<&'static str, Value>, layers: Layers) -> Result<BrokerConfig, ConfigError> {
        let v = Values(&values);
        let (open, advertised) = endpoints(&v)?;
        let controller_names: Vec<String> =
            v.list("controller.listener.names").iter().map(|n| n.to_uppercase()).collect();
        let (controller_listeners, listeners): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|l| controller_names.contains(&l.name));
        let advertised_listeners = match advertised {
            Some(all) => all.into_iter().filter(|l| !controller_names.contains(&l.name)).collect(),
            None => listeners.clone(),
        };
        let log_dirs = match v.get("log.dirs") {
            Value::List(dirs) => dirs.clone(),
            _ => v.list("log.dir").to_vec(),
        };
        Ok(BrokerConfig {
            node_id: v.int("node.id"),
            rack: v.text("broker.rack").map(str::to_owned),
            listeners,
            advertised_listeners,
            controller_listeners,
            log_dirs,
            auto_create_topics_enable: v.flag("auto.create.topics.enable"),
            delete_topic_enable: v.flag("delete.topic.enable"),
            num_partitions: v.int("num.partitions"),
            default_replication_factor: v.int("default.replication.factor") as i16,
            log_initial_task_delay_ms: v.long("log.initial.task.delay.ms"),
            log_retention_check_interval_ms: v.long("log.retention.check.interval.ms"),
            producer_id_expiration_ms: v.int("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: v.int("producer.id.expiration.check.interval.ms"),
            network: network(&v)?,
            classic_groups: ClassicGroupLimits {
                initial_rebalance_delay_ms: v.int("group.initial.rebalance.delay.ms"),
                min_session_timeout_ms: v.int("group.min.session.timeout.ms"),
                max_session_timeout_ms: v.int("group.max.session.timeout.ms"),
                max_size: v.int("group.max.size"),
            },
            offsets: OffsetsConfig {
                metadata_max_bytes: v.int("offset.metadata.max.bytes"),
                commit_timeout_ms: v.int("offsets.commit.timeout.ms"),
                retention_ms: v.long("offsets.retention.minutes") * 60_000,
                retention_check_interval_ms: v.long("offsets.retention.check.interval.ms"),
                topic_num_partitions: v.int("offsets.topic.num.partitions"),
                topic_replication_factor: v.int("offsets.topic.replication.factor") as i16,
                topic_segment_bytes: v.int("offsets.topic.segment.bytes"),
            },
            cores: cores(&v)?,
            core_cache_bytes: v.long("ottla.core.cache.bytes"),
            core_journal_bytes: v.long("ottla.core.journal.bytes"),
            topic_defaults: TopicConfig::kafka_defaults(),
            values,
            layers,
        })
    }

    /// The directory with the metadata log: `metadata.log.dir`, or the first of the log directories.
    pub fn metadata_log_dir(&self) -> &str {
        let first = || self.log_dirs.first().map_or("", String::as_str);
        self.value("metadata.log.dir").as_text().unwrap_or_else(first)
    }

    /// The value of any broker key; Null for a name that is none.
    pub fn value(&self, name: &str) -> &Value {
        Values(&self.values).get(name)
    }

    /// The value of a broker key that is a whole number.
    pub fn number(&self, name: &str) -> i64 {
        Values(&self.values).long(name)
    }

    /// The pairs that the broker was started with.
    pub fn static_pairs(&self) -> &BTreeMap<String, String> {
        &self.layers.statics
    }

    /// `log.retention.ms`, `.minutes` or `.hours` in milliseconds; -1 means no limit.
    pub(super) fn retention_ms(&self) -> i64 {
        let chain = [("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)];
        self.in_ms("log.retention.ms", &chain).max(-1)
    }

    /// The first of these keys that has a value, times its unit.
    pub(super) fn in_ms(&self, first: &str, others: &[(&str, i64)]) -> i64 {
        let first = (first, 1);
        let mut chain = std::iter::once(&first).chain(others);
        chain
            .find_map(|(name, unit)| self.value(name).as_i64().map(|v| v.saturating_mul(*unit)))
            .unwrap_or(-1)
    }

    /// What two keys must fulfil together, and what this version of Ottla cannot do.
    fn check(&self, pairs: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let rule = |text: String| Err(ConfigError::Requirement(text));
        let invalid = |key: &str, why: &str| {
            let value = pairs.get(key).cloned().unwrap_or_default();
            Err(ConfigError::InvalidValue { key: key.to_owned(), value, why: why.to_owned() })
        };
        if self.number("broker.id") != i64::from(self.node_id) {
            return Err(ConfigError::Rule(
                "You must set `node.id` to the same value as `broker.id`.".to_owned(),
            ));
        }
        let values = topic::broker_values(self);
        let number = |name: &str| values.get(name).as_i64().unwrap_or_default();
        if number("segment.ms") < 1 {
            return rule("log.roll.ms must be greater than or equal to 1".to_owned());
        }
        if number("segment.jitter.ms") < 0 {
            return rule("log.roll.jitter.ms must be greater than or equal to 0".to_owned());
        }
        if number("retention.ms") == 0 {
            return rule("log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned());
        }
        topic::check_lags(&values)?;
        // What Kafka has stored since is passed over with a warning, and what a client asks for is refused by itself.
        for (name, text) in &self.layers.statics {
            if let Some(why) = why_refused(name, text) {
                let secret = BROKER.get(name).is_some_and(Key::sensitive);
                return Err(ConfigError::InvalidValue {
                    key: name.clone(),
                    value: if secret { "[hidden]".to_owned() } else { text.clone() },
                    why: format!("{why}; remove the key to start without it"),
                });
            }
        }
        let roles = Values(&self.values).list("process.roles");
        if roles.len() != 2 {
            return invalid(
                "process.roles",
                "this version of Ottla is both, so it must be broker,controller",
            );
        }
        let voters = Values(&self.values).list("controller.quorum.voters");
        let me = format!("{}@", self.node_id);
        if voters.iter().any(|voter| !voter.starts_with(&me)) {
            return invalid(
                "controller.quorum.voters",
                "this version of Ottla runs alone, so the only voter can be this node",
            );
        }
        self.check_listeners(&invalid)?;
        self.check_cordoned(&invalid)?;
        let queued = self.number("queued.max.request.bytes");
        if queued > 0 && queued < i64::from(self.network.socket_request_max_bytes) {
            return rule(
                "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned(),
            );
        }
        if self.network.core_buffer_bytes < i64::from(self.network.socket_request_max_bytes) {
            return rule(
                "ottla.core.buffer.bytes must be larger or equal to socket.request.max.bytes".to_owned(),
            );
        }
        if self.network.max_connections_per_ip == 0
            && self.network.max_connections_per_ip_overrides.is_empty()
        {
            return rule(
                "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property \
                 is set."
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Directories that take no new partitions are among those that there are, or it is `*`.
    fn check_cordoned(
        &self,
        invalid: &dyn Fn(&str, &str) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let cordoned = Values(&self.values).list("cordoned.log.dirs");
        if cordoned.iter().any(|dir| dir == "*") {
            return match cordoned {
                [_] => Ok(()),
                _ => invalid("cordoned.log.dirs", "with * it must not contain other values"),
            };
        }
        match cordoned.iter().find(|dir| !self.log_dirs.contains(dir)) {
            Some(dir) => {
                invalid("cordoned.log.dirs", &format!("all entries must be in log.dirs, and {dir} is not"))
            }
            None => Ok(()),
        }
    }

    fn check_listeners(
        &self,
        invalid: &dyn Fn(&str, &str) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        if self.listeners.is_empty() {
            return invalid("listeners", "at least one listener must not be in controller.listener.names");
        }
        if self.listeners.iter().any(|l| l.protocol != SecurityProtocol::Plaintext) {
            return invalid("listeners", "this version of Ottla speaks PLAINTEXT only");
        }
        if self.controller_listeners.iter().any(|l| l.protocol != SecurityProtocol::Plaintext) {
            return invalid(
                "listener.security.protocol.map",
                "this version of Ottla speaks PLAINTEXT only, with controllers too",
            );
        }
        if self.advertised_listeners.is_empty() {
            return invalid("advertised.listeners", "There must be at least one broker advertised listener.");
        }
        for advertised in &self.advertised_listeners {
            if !self.listeners.iter().any(|l| l.name == advertised.name) {
                return invalid("advertised.listeners", "each name must also be one of listeners");
            }
            if advertised.host.as_deref() != Some("0.0.0.0") {
                continue;
            }
            if *self.value("advertised.listeners") == Value::Null {
                let why = format!(
                    "clients would be told to connect to 0.0.0.0, which is no address: set advertised.listeners={}://HOST:{}, \
                     with the name or address of this machine that clients use",
                    advertised.name, advertised.port
                );
                return invalid("listeners", &why);
            }
            return invalid(
                "advertised.listeners",
                "cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
            );
        }
        match Values(&self.values).text("inter.broker.listener.name") {
            Some(name) if !self.advertised_listeners.iter().any(|l| l.name.eq_ignore_ascii_case(name)) => {
                invalid(
                    "inter.broker.listener.name",
                    "must be a listener name defined in advertised.listeners",
                )
            }
            _ => Ok(()),
        }
    }
}

/// Puts in what Kafka insists on, and makes `node.id` and `broker.id` one (`populateSynonyms`).
fn complete(pairs: &mut BTreeMap<String, String>) {
    let mut default = |key: &str, value: String| pairs.entry(key.to_owned()).or_insert(value).clone();
    default("process.roles", PROCESS_ROLES.to_owned());
    default("controller.listener.names", CONTROLLER_LISTENER_NAMES.to_owned());
    if !pairs.contains_key("log.dir") && !pairs.contains_key("log.dirs") {
        pairs.insert("log.dirs".to_owned(), LOG_DIRS.to_owned());
    }
    let id = match pairs.get("node.id").or_else(|| pairs.get("broker.id")) {
        Some(id) => id.clone(),
        None => NODE_ID.to_owned(),
    };
    for key in ["node.id", "broker.id"] {
        pairs.entry(key.to_owned()).or_insert_with(|| id.clone());
    }
}

/// Names the keys that nobody knows and those that have no effect yet.
fn warnings(pairs: &BTreeMap<String, String>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (name, text) in pairs {
        let Some(key) = synonyms::broker_key(name) else {
            warnings.push(Warning::UnknownKey(name.clone()));
            continue;
        };
        let same = match key.default {
            DefaultValue::Is(default) => default == text.trim(),
            DefaultValue::Null | DefaultValue::Required => false,
        };
        let of_listener = name != key.name && !matches!(key.support, Support::Harmless(_));
        if table::is_dynamic_only(name) || ((key.support == Support::Warns || of_listener) && !same) {
            warnings.push(Warning::NoEffect(name.clone()));
        }
    }
    warnings
}

/// Why a pair must not be ignored: that would allow more than the operator meant. What is not set, or set to what Ottla does
/// anyway, is as if it were not there.
fn why_refused(name: &str, text: &str) -> Option<&'static str> {
    let key = synonyms::broker_key(name)?;
    let entries = list_parts(text.trim());
    let is_default = |entry: &String| match key.default {
        DefaultValue::Is(default) => list_parts(default).contains(entry),
        DefaultValue::Null | DefaultValue::Required => false,
    };
    if entries.iter().all(|entry| entry.is_empty() || is_default(entry)) {
        return None;
    }
    match key.support {
        Support::Refused(why) => Some(why),
        Support::Works if name != key.name && key.name == "max.connections" => {
            Some("this version of Ottla limits connections for all listeners together: set max.connections")
        }
        _ => None,
    }
}

/// The open and the advertised listeners.
fn endpoints(v: &Values) -> Result<(Vec<Listener>, Option<Vec<Listener>>), ConfigError> {
    let text = v.text("listener.security.protocol.map").unwrap_or_default();
    let mut protocols = listeners::parse_protocol_map(text)?;
    // Controller listeners need no entry as long as nothing else is protected.
    for name in v.list("controller.listener.names") {
        protocols.entry(name.to_uppercase()).or_insert(SecurityProtocol::Plaintext);
    }
    let open = listeners::parse_listeners("listeners", v.list("listeners"), &protocols)?;
    listeners::check_ports("listeners", &open)?;
    let advertised = match v.get("advertised.listeners") {
        Value::List(entries) => {
            Some(listeners::parse_listeners("advertised.listeners", entries, &protocols)?)
        }
        _ => None,
    };
    Ok((open, advertised))
}

fn cores(v: &Values) -> Result<Option<Cores>, ConfigError> {
    let Some(text) = v.text("ottla.cores").filter(|text| !text.is_empty()) else { return Ok(None) };
    match Cores::parse(text) {
        Some(cores) => Ok(Some(cores)),
        None => Err(ConfigError::InvalidValue {
            key: "ottla.cores".to_owned(),
            value: text.to_owned(),
            why: format!("must be a number from 1 to {SHARDS_MAX}, or a list of cores such as 0,2-4"),
        }),
    }
}

fn network(v: &Values) -> Result<NetworkConfig, ConfigError> {
    let key = "max.connections.per.ip.overrides";
    let text = v.text(key).unwrap_or_default();
    let mut overrides = BTreeMap::new();
    for entry in list_parts(text) {
        let limit = entry.rsplit_once(':').and_then(|(ip, n)| Some((ip, n.trim().parse::<i32>().ok()?)));
        let Some((address, limit)) = limit else {
            return Err(ConfigError::InvalidValue {
                key: key.to_owned(),
                value: text.to_owned(),
                why: format!("`{entry}` must be in the form address:count"),
            });
        };
        overrides.insert(address.trim().to_owned(), limit);
    }
    Ok(NetworkConfig {
        socket_request_max_bytes: v.int("socket.request.max.bytes"),
        socket_send_buffer_bytes: v.int("socket.send.buffer.bytes"),
        socket_receive_buffer_bytes: v.int("socket.receive.buffer.bytes"),
        socket_listen_backlog_size: v.int("socket.listen.backlog.size"),
        max_connections: v.int("max.connections"),
        max_connections_per_ip: v.int("max.connections.per.ip"),
        max_connections_per_ip_overrides: overrides,
        max_connection_creation_rate: v.int("max.connection.creation.rate"),
        connections_max_idle_ms: v.long("connections.max.idle.ms"),
        max_incremental_fetch_session_cache_slots: v.int("max.incremental.fetch.session.cache.slots"),
        max_request_partition_size_limit: v.int("max.request.partition.size.limit"),
        fetch_max_bytes: v.int("fetch.max.bytes"),
        connection_buffer_bytes: v.int("ottla.connection.buffer.bytes"),
        connection_zero_copy_bytes: v.int("ottla.connection.zero.copy.bytes"),
        core_buffer_bytes: v.long("ottla.core.buffer.bytes"),
    })
}

/// The values of broker keys by their type. A wrong name or type is a bug of ours.
struct Values<'a>(&'a BTreeMap<&'static str, Value>);

impl<'a> Values<'a> {
    fn get(&self, name: &str) -> &'a Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn long(&self, name: &str) -> i64 {
        let value = self.get(name).as_i64();
        debug_assert!(value.is_some(), "{name} is not a number");
        value.unwrap_or_default()
    }

    fn int(&self, name: &str) -> i32 {
        self.long(name) as i32
    }

    fn flag(&self, name: &str) -> bool {
        let value = self.get(name).as_bool();
        debug_assert!(value.is_some(), "{name} is not a truth value");
        value.unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).as_text()
    }

    fn list(&self, name: &str) -> &'a [String] {
        self.get(name).as_list().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
