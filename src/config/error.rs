//! What can be wrong with a configuration.

use std::fmt;

/// Why a configuration or a change to one was refused. The texts have the shape of Kafka's, for clients
/// show them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is of the wrong type or out of bounds (`ConfigException`).
    #[error("Invalid value {value} for configuration {key}: {why}")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value as given; a secret is hidden.
        value: String,
        /// What is allowed.
        why: String,
    },
    /// A value breaks a rule, or two values contradict each other (`ConfigException`,
    /// `InvalidConfigurationException`).
    #[error("{0}")]
    Rule(String),
    /// Values of a broker that cannot be together (`require` in `KafkaConfig`).
    #[error("{0}")]
    Requirement(String),
    /// No topic has such a key.
    #[error("Unknown topic config name: {0}")]
    UnknownTopicKey(String),
    /// No group has such a key.
    #[error("Unknown group config name: {0}")]
    UnknownGroupKey(String),
    /// The request itself makes no sense (`InvalidRequestException`).
    #[error("{0}")]
    Request(String),
    /// A line of a properties text cannot be read.
    #[error("Malformed \\uxxxx encoding in line {line}: {text}")]
    Escape {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

impl ConfigError {
    /// Kafka's INVALID_CONFIG.
    pub const INVALID_CONFIG: i16 = 40;
    /// Kafka's INVALID_REQUEST.
    pub const INVALID_REQUEST: i16 = 42;

    /// The key whose value is at fault, where it is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            ConfigError::InvalidValue { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Kafka's error code for it.
    pub fn code(&self) -> i16 {
        match self {
            ConfigError::Request(_) => Self::INVALID_REQUEST,
            ConfigError::InvalidValue { .. }
            | ConfigError::Rule(_)
            | ConfigError::Requirement(_)
            | ConfigError::UnknownTopicKey(_)
            | ConfigError::UnknownGroupKey(_)
            | ConfigError::Escape { .. } => Self::INVALID_CONFIG,
        }
    }

    /// The same complaint as INVALID_REQUEST, which is what brokers answer to changes of their own keys.
    #[must_use]
    pub fn into_request(self) -> ConfigError {
        match self {
            // Kafka's clients know these with the words that Scala puts before them.
            ConfigError::Requirement(text) => ConfigError::Request(format!("requirement failed: {text}")),
            other => ConfigError::Request(other.to_string()),
        }
    }
}

/// Something in a configuration that is tolerated but should be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Neither Kafka nor Ottla knows the key.
    UnknownKey(String),
    /// Kafka knows the key, and it has no effect in Ottla yet.
    NoEffect(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnknownKey(key) => write!(f, "unknown configuration key {key} is ignored"),
            Warning::NoEffect(key) => write!(f, "configuration key {key} has no effect in Ottla yet"),
            Warning::Other(text) => f.write_str(text),
        }
    }
}
