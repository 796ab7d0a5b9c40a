//! Environment variables of the apache/kafka container image (`kafka.docker.KafkaDockerWrapper`).

use super::error::ConfigError;
use super::properties;

/// Variables that begin with `KAFKA_` and are not keys: the image's, those that the scripts in Kafka's `bin` read, and where an
/// installation of it lies.
const EXCLUDED: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_CMD_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_DEBUG",
    "KAFKA_MODE",
    "KAFKA_HOME",
    "KAFKA_LIBS",
];

/// The variable that holds the cluster id.
pub const CLUSTER_ID: &str = "CLUSTER_ID";

/// The key that a variable stands for: `KAFKA_X_Y` is `x.y`, `__` is `_`, `___` is `-`. None if it is no key.
pub fn key_of(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_")?;
    if EXCLUDED.contains(&variable) {
        return None;
    }
    Some(rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_"))
}

/// The pairs that an environment stands for, each behind its variable's name, in the order of these names. A value
/// is read as if it stood in a properties file, which is where the image puts it.
pub fn pairs<I>(variables: I) -> Result<Vec<(String, String, String)>, ConfigError>
where
    I: IntoIterator<Item = (String, String)>,
{
    let mut sorted: Vec<_> = variables.into_iter().collect();
    sorted.sort();
    let mut found = Vec::new();
    for (name, value) in sorted {
        if let Some(key) = key_of(&name) {
            let parsed = properties::parse(&format!("{key}={value}"))?;
            found.extend(parsed.into_iter().map(|(key, value)| (name.clone(), key, value)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping() {
        let table = [
            ("KAFKA_NODE_ID", Some("node.id")),
            ("KAFKA_LISTENERS", Some("listeners")),
            ("KAFKA_HOME", None),
            ("KAFKA_JMX_PORT", None),
            ("KAFKA_LIBS", None),
            ("KAFKA_SSL_TRUSTSTORE__X", Some("ssl.truststore_x")),
            ("KAFKA_A___B", Some("a-b")),
            ("KAFKA_A____B", Some("a-.b")),
            ("KAFKA_A_____B", Some("a-_b")),
            ("KAFKA_KAFKA_METRICS_REPORTERS", Some("kafka.metrics.reporters")),
            ("KAFKA_LISTENER_NAME_SSL_SSL_KEYSTORE_TYPE", Some("listener.name.ssl.ssl.keystore.type")),
            ("KAFKA_OTTLA_CORES", Some("ottla.cores")),
            ("KAFKA_HEAP_OPTS", None),
            ("KAFKA_LOG4J_ROOT_LOGLEVEL", None),
            ("CLUSTER_ID", None),
            ("XKAFKA_NODE_ID", None),
            ("kafka_node_id", None),
        ];
        for (name, want) in table {
            assert_eq!(key_of(name).as_deref(), want, "{name}");
        }
    }

    #[test]
    fn values_are_read_as_properties() {
        let env = [("KAFKA_B", " x\\ty "), ("KAFKA_A", "1"), ("PATH", "/bin")];
        let got = pairs(env.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
        let want = [("KAFKA_A", "a", "1"), ("KAFKA_B", "b", "x\ty ")];
        assert_eq!(got, want.map(|(name, k, v)| (name.to_owned(), k.to_owned(), v.to_owned())));
    }
}
