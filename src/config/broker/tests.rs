use super::*;
use crate::config::topic::{CompressionType, TimestampType};

fn config(pairs: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_pairs(pairs.iter().copied()).unwrap().0
}

fn error(pairs: &[(&str, &str)]) -> String {
    BrokerConfig::from_pairs(pairs.iter().copied()).unwrap_err().to_string()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn without_a_file() {
    let (c, warnings) = BrokerConfig::from_pairs(STANDALONE.iter().copied()).unwrap();
    assert_eq!(c.node_id, 1);
    assert_eq!(c.log_dirs, ["ottla-data"]);
    assert_eq!(c.listeners.len(), 1);
    assert_eq!(c.listeners[0].to_string(), "PLAINTEXT://localhost:9092");
    assert_eq!(c.advertised_listeners, c.listeners);
    assert_eq!(c.offsets.topic_replication_factor, 1);
    assert_eq!(c.offsets.retention_ms, 7 * 86_400_000);
    assert_eq!(c.topic_defaults, TopicConfig { ..TopicConfig::kafka_defaults() });
    // The replication of topics that later versions will have.
    assert!(warnings.iter().all(|w| matches!(w, Warning::NoEffect(_))), "{warnings:?}");
}

#[test]
fn the_quick_start_file_of_kafka() {
    let c = config(&[
        ("process.roles", "broker,controller"),
        ("node.id", "7"),
        ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("inter.broker.listener.name", "PLAINTEXT"),
        ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        (
            "listener.security.protocol.map",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        ),
        ("num.network.threads", "3"),
        ("log.dirs", "/tmp/a, /tmp/b"),
        ("log.retention.hours", "168"),
    ]);
    assert_eq!((c.node_id, c.number("broker.id")), (7, 7));
    assert_eq!(c.listeners.len(), 1);
    assert_eq!(c.listeners[0].host, None);
    assert_eq!(c.advertised_listeners[0].to_string(), "PLAINTEXT://localhost:9092");
    assert_eq!(c.controller_listeners[0].port, 9093);
    assert_eq!(c.log_dirs, ["/tmp/a", "/tmp/b"]);
}

#[test]
fn retention_chain() {
    let hour = 3_600_000;
    let table: &[(&[(&str, &str)], i64)] = &[
        (&[], 168 * hour),
        (&[("log.retention.hours", "1")], hour),
        (&[("log.retention.hours", "1"), ("log.retention.minutes", "3")], 180_000),
        (&[("log.retention.minutes", "3"), ("log.retention.ms", "5")], 5),
        (&[("log.retention.hours", "-1")], -1),
        (&[("log.retention.ms", "-1"), ("log.retention.hours", "2")], -1),
        (&[("log.retention.minutes", "-7")], -1),
        (&[("log.retention.hours", "2147483647")], 2_147_483_647 * hour),
    ];
    for (pairs, want) in table {
        assert_eq!(config(pairs).topic_defaults.retention_ms, *want, "{pairs:?}");
    }
}

#[test]
fn roll_and_flush_chains() {
    let c = config(&[
        ("log.roll.hours", "2"),
        ("log.roll.jitter.hours", "1"),
        ("log.flush.scheduler.interval.ms", "9"),
    ]);
    let t = &c.topic_defaults;
    assert_eq!((t.segment_ms, t.segment_jitter_ms, t.flush_ms), (7_200_000, 3_600_000, 9));
    let c = config(&[("log.roll.hours", "2"), ("log.roll.ms", "11"), ("log.flush.interval.ms", "4")]);
    assert_eq!((c.topic_defaults.segment_ms, c.topic_defaults.flush_ms), (11, 4));
}

#[test]
fn later_pairs_hold_and_topics_override() {
    let c = config(&[
        ("log.segment.bytes", "2097152"),
        ("log.segment.bytes", "1048576"),
        ("compression.type", "zstd"),
        ("log.message.timestamp.type", "LogAppendTime"),
    ]);
    let t = TopicConfig::effective(
        &c,
        &map(&[("retention.ms", "1000"), ("cleanup.policy", "compact,delete"), ("segment.ms", "rubbish")]),
    );
    assert_eq!(t.segment_bytes, 1_048_576);
    assert_eq!(t.compression_type, CompressionType::Zstd);
    assert_eq!(t.message_timestamp_type, TimestampType::LogAppendTime);
    assert_eq!((t.retention_ms, t.local_retention_ms), (1000, 1000));
    assert!(t.cleanup_policy.compact && t.cleanup_policy.delete);
    assert_eq!(t.segment_ms, 7 * 86_400_000);
    let t = TopicConfig::effective(&c, &map(&[("cleanup.policy", "")]));
    assert!(!t.cleanup_policy.compact && !t.cleanup_policy.delete);
}

#[test]
fn dynamic_layers() {
    let c = config(&[("log.retention.ms", "10"), ("message.max.bytes", "100")]);
    let (d, warnings) = c.with_dynamic(
        &map(&[("message.max.bytes", "200"), ("log.retention.ms", "20"), ("log.dirs", "/x")]),
        &map(&[("message.max.bytes", "300")]),
    );
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(d.topic_defaults.max_message_bytes, 300);
    assert_eq!(d.topic_defaults.retention_ms, 20);
    assert_eq!(d.log_dirs, c.log_dirs);
    let (back, _) = d.with_dynamic(&BTreeMap::new(), &BTreeMap::new());
    assert_eq!(back.topic_defaults, c.topic_defaults);
}

#[test]
fn errors_name_key_value_and_what_is_allowed() {
    let table: &[(&[(&str, &str)], &str)] = &[
        (
            &[("num.partitions", "many")],
            "Invalid value many for configuration num.partitions: Not a number of type INT",
        ),
        (
            &[("num.partitions", "0")],
            "Invalid value 0 for configuration num.partitions: Value must be at least 1",
        ),
        (
            &[("log.segment.bytes", "99999999999")],
            "Invalid value 99999999999 for configuration log.segment.bytes: Not a number of type INT",
        ),
        (
            &[("delete.topic.enable", "yes")],
            "Invalid value yes for configuration delete.topic.enable: Expected value to be either true or false",
        ),
        (
            &[("compression.type", "brotli")],
            "Invalid value brotli for configuration compression.type: String must be one of: uncompressed, zstd, \
             lz4, snappy, gzip, producer",
        ),
        (
            &[("log.cleanup.policy", "delete,keep")],
            "Invalid value keep for configuration log.cleanup.policy: String must be one of: compact, delete",
        ),
        (
            &[("process.roles", "")],
            "Configuration 'process.roles' must not be empty. Valid values include: [broker, controller]",
        ),
        (
            &[("process.roles", "broker")],
            "Invalid value broker for configuration process.roles: this version of Ottla is both, so it must be \
             broker,controller",
        ),
        (
            &[("listeners", "SSL://:9093")],
            "Invalid value SSL://:9093 for configuration listeners: this version of Ottla speaks PLAINTEXT only",
        ),
        (&[("node.id", "1"), ("broker.id", "2")], "You must set `node.id` to the same value as `broker.id`."),
        (&[("log.roll.ms", "0")], "log.roll.ms must be greater than or equal to 1"),
        (
            &[("log.retention.ms", "0")],
            "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        (
            &[("advertised.listeners", "PLAINTEXT://0.0.0.0:1")],
            "Invalid value PLAINTEXT://0.0.0.0:1 for configuration advertised.listeners: cannot use the \
             nonroutable meta-address 0.0.0.0. Use a routable IP address.",
        ),
        (
            &[("controller.quorum.voters", "1@a:9093,2@b:9093")],
            "Invalid value 1@a:9093,2@b:9093 for configuration controller.quorum.voters: this version of Ottla \
             runs alone, so the only voter can be this node",
        ),
        (
            &[("controller.quorum.voters", "a:9093")],
            "Invalid value a:9093 for configuration controller.quorum.voters: Each entry must be in the form \
             `id@host:port`.",
        ),
        (
            &[("max.connections.per.ip.overrides", "a")],
            "Invalid value a for configuration max.connections.per.ip.overrides: `a` must be in the form \
             address:count",
        ),
        (
            &[("ottla.cores", "none")],
            "Invalid value none for configuration ottla.cores: must be a number from 1 to 256, or a list of cores \
             such as 0,2-4",
        ),
        (
            &[("ottla.core.buffer.bytes", "1048576")],
            "ottla.core.buffer.bytes must be larger or equal to socket.request.max.bytes",
        ),
    ];
    for (pairs, want) in table {
        assert_eq!(error(pairs), *want);
    }
}

#[test]
fn warnings_name_keys() {
    let (_, warnings) = BrokerConfig::from_pairs([
        ("zookeeper.connect", "x"),
        ("num.io.threads", "8"),
        ("num.network.threads", "9"),
        ("log.cleaner.backoff.ms", "9"),
        ("listener.name.a.ssl.keystore.type", "PEM"),
        ("num.partitions", "3"),
    ])
    .unwrap();
    assert_eq!(
        warnings,
        [
            Warning::NoEffect("listener.name.a.ssl.keystore.type".into()),
            Warning::NoEffect("log.cleaner.backoff.ms".into()),
            Warning::UnknownKey("zookeeper.connect".into()),
        ]
    );
}
