//! The things that have a configuration, and the check of all that one of them overrides.

use super::broker::BrokerConfig;
use super::error::ConfigError;
use super::table::{self, Table};
use super::{client_metrics, dynamic, group, topic};
use crate::base::limits::TOPIC_NAME_BYTES_MAX;
use std::collections::BTreeMap;

/// What a configuration belongs to (`ConfigResource.Type`). Loggers are not among them: their levels are not
/// stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// One broker by its id, or all brokers by an empty name.
    Broker,
    /// A client-metrics subscription.
    ClientMetrics,
    /// A group.
    Group,
}

impl ResourceKind {
    /// Kafka's number of it.
    pub fn code(self) -> i8 {
        match self {
            ResourceKind::Topic => 2,
            ResourceKind::Broker => 4,
            ResourceKind::ClientMetrics => 16,
            ResourceKind::Group => 32,
        }
    }

    /// From Kafka's number. None for loggers and for numbers that mean nothing.
    pub fn from_code(code: i8) -> Option<ResourceKind> {
        match code {
            2 => Some(ResourceKind::Topic),
            4 => Some(ResourceKind::Broker),
            16 => Some(ResourceKind::ClientMetrics),
            32 => Some(ResourceKind::Group),
            _ => None,
        }
    }

    /// The keys it may have.
    pub fn table(self) -> &'static Table {
        match self {
            ResourceKind::Topic => &table::TOPIC,
            ResourceKind::Broker => &table::BROKER,
            ResourceKind::ClientMetrics => &table::CLIENT_METRICS,
            ResourceKind::Group => &table::GROUP,
        }
    }
}

/// Checks all that a resource will override, `before` being what it overrides now
/// (`ControllerConfigurationValidator`, and for brokers `ConfigAdminManager`).
pub fn check_overrides(
    config: &BrokerConfig,
    kind: ResourceKind,
    name: &str,
    before: &BTreeMap<String, String>,
    overrides: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let request = |text: &str| Err(ConfigError::Request(text.to_owned()));
    match kind {
        ResourceKind::Topic if name.is_empty() => request("Default topic resources are not allowed."),
        ResourceKind::Topic => topic::check_topic_overrides(config, before, overrides),
        ResourceKind::Broker => {
            if !name.is_empty() && name != config.node_id.to_string() {
                return match name.parse::<i32>() {
                    Ok(_) => request(&format!(
                        "Unexpected broker id, expected {}, but received {name}",
                        config.node_id
                    )),
                    Err(_) => request(&format!("Node id must be an integer, but it is: {name}")),
                };
            }
            dynamic::check_broker_overrides(config, overrides, !name.is_empty())
        }
        ResourceKind::ClientMetrics => client_metrics::check_overrides(name, overrides),
        ResourceKind::Group if name.is_empty() => request("Default group resources are not allowed."),
        ResourceKind::Group => group::check_overrides(config, overrides),
    }
}

/// Why a topic cannot have this name, in Kafka's words (`Topic.validate`); its error code is INVALID_TOPIC.
pub fn topic_name_fault(name: &str) -> Option<String> {
    let fault = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}")
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return None;
    };
    Some(format!("Topic name is invalid: {fault}"))
}
