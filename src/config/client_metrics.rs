//! The rules of client-metrics subscriptions (`ClientMetricsConfigs`, KIP-714).

use super::error::ConfigError;
use super::table::CLIENT_METRICS;
use super::value::Value;
use crate::base::limits::{CLIENT_METRICS_INTERVAL_MS_MAX, CLIENT_METRICS_INTERVAL_MS_MIN};
use std::collections::BTreeMap;

const SELECTORS: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Checks all that a subscription will say. Of a pattern's regular expression only its brackets are checked.
pub(super) fn check_overrides(name: &str, overrides: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::Request("Subscription name can't be empty".to_owned()));
    }
    for (key, text) in overrides {
        let Some(known) = CLIENT_METRICS.get(key) else {
            return Err(ConfigError::Request(format!("Unknown client metrics configuration: {key}")));
        };
        match known.parse(text)? {
            Value::Int(ms)
                if !(CLIENT_METRICS_INTERVAL_MS_MIN..=CLIENT_METRICS_INTERVAL_MS_MAX)
                    .contains(&i64::from(ms)) =>
            {
                return Err(ConfigError::Request(format!(
                    "Invalid value {ms} for {key}, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            Value::List(patterns) if key == "match" => {
                if let Some(bad) = patterns.iter().find(|p| !is_pattern(p)) {
                    return Err(ConfigError::Rule(format!("Illegal client matching pattern: {bad}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `selector=pattern`, with one `=` only.
fn is_pattern(text: &str) -> bool {
    match text.split_once('=') {
        Some((selector, pattern)) => {
            SELECTORS.contains(&selector.trim()) && !pattern.contains('=') && is_balanced(pattern.trim())
        }
        None => false,
    }
}

/// Not empty, and every group and class of the expression is closed.
fn is_balanced(pattern: &str) -> bool {
    let (mut groups, mut class, mut escaped) = (0_u32, false, false);
    for c in pattern.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => class = false,
            '[' => class = true,
            _ if class => {}
            '(' => groups += 1,
            ')' if groups == 0 => return false,
            ')' => groups -= 1,
            _ => {}
        }
    }
    !pattern.is_empty() && groups == 0 && !class && !escaped
}
