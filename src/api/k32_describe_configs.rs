//! DescribeConfigs (key 32), versions 1 to 4: KIP-226 (synonyms), KIP-569 (documentation), as `ConfigHelper`.

use crate::config::{self, Entry, ResourceKind, topic_name_fault};
use crate::meta::image::ResourceType;
use crate::shard::effective::overrides;
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use crate::wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::cx::{Cx, Outcome, Request};
use super::reply;

/// The resource type of log levels.
const BROKER_LOGGER: i8 = 8;

/// Why a resource cannot be described: the code and words for the client.
type Refusal = (ErrorCode, Option<String>);

/// Serves a DescribeConfigs request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: DescribeConfigsRequest<'_> = decode_request(&request.body, version)?;
    let found: Vec<(&DescribeConfigsResource<'_>, Result<Vec<Entry>, Refusal>)> =
        message.resources.iter().map(|r| (r, describe(cx, r))).collect();
    let results = found
        .iter()
        .map(|(resource, found)| {
            let (error_code, error_message, entries): (i16, Option<&str>, &[Entry]) = match found {
                // Kafka leaves the text empty, not null, where it has none.
                Ok(entries) => (0, Some(""), entries),
                Err((code, text)) => (code.code(), Some(text.as_deref().unwrap_or_default()), &[]),
            };
            DescribeConfigsResult {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                configs: entries
                    .iter()
                    .filter(|e| wanted(resource, &e.name))
                    .map(|e| result(e, message.include_synonyms, message.include_documentation))
                    .collect(),
            }
        })
        .collect();
    Ok(reply(&DescribeConfigsResponse { results, ..Default::default() }, version))
}

/// Whether a key was asked for: all are, unless some are named.
fn wanted(resource: &DescribeConfigsResource<'_>, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.contains(&name),
        _ => true,
    }
}

fn describe(cx: &Cx<'_>, resource: &DescribeConfigsResource<'_>) -> Result<Vec<Entry>, Refusal> {
    let name = resource.resource_name;
    let invalid = |text: String| (ErrorCode::INVALID_REQUEST, Some(text));
    let broker = cx.config();
    let node_id = broker.node_id;
    match ResourceKind::from_code(resource.resource_type) {
        Some(ResourceKind::Topic) => {
            if let Some(fault) = topic_name_fault(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(fault)));
            }
            if cx.image.topics().get(name).is_none() {
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None));
            }
            Ok(config::describe_topic(broker, &overrides(cx.image, ResourceType::Topic, name)))
        }
        Some(ResourceKind::Broker) if name.is_empty() => Ok(config::describe_broker_defaults(broker)),
        Some(ResourceKind::Broker) => match broker_id(name)? {
            id if id == node_id => Ok(config::describe_broker(broker)),
            _ => Err(invalid(format!(
                "Unexpected broker id, expected {node_id} or empty string, but received {name}"
            ))),
        },
        None if resource.resource_type == BROKER_LOGGER && name.is_empty() => {
            Err(invalid("Broker id must not be empty".to_owned()))
        }
        None if resource.resource_type == BROKER_LOGGER => match broker_id(name)? {
            // There are no loggers whose level could be altered.
            id if id == node_id => Ok(Vec::new()),
            _ => Err(invalid(format!("Unexpected broker id, expected {node_id} but received {name}"))),
        },
        Some(ResourceKind::ClientMetrics) if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty".to_owned()))
        }
        Some(ResourceKind::ClientMetrics) => {
            Ok(config::describe_client_metrics(&overrides(cx.image, ResourceType::ClientMetrics, name)))
        }
        Some(ResourceKind::Group) if name.is_empty() => {
            Err(invalid("Group name must not be empty".to_owned()))
        }
        Some(ResourceKind::Group) => {
            Ok(config::describe_group(broker, &overrides(cx.image, ResourceType::Group, name)))
        }
        None => Err(invalid(format!("Unexpected resource type {}", resource.resource_type))),
    }
}

fn broker_id(name: &str) -> Result<i32, Refusal> {
    let text = || format!("Broker id must be an integer, but it is: {name}");
    name.parse().map_err(|_| (ErrorCode::INVALID_REQUEST, Some(text())))
}

fn result(entry: &Entry, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult<'_> {
    let synonyms = entry.synonyms.iter().filter(|_| synonyms).map(|s| DescribeConfigsSynonym {
        name: &s.name,
        value: s.value.as_deref(),
        source: s.source.code(),
    });
    DescribeConfigsResourceResult {
        name: &entry.name,
        value: entry.value.as_deref(),
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        synonyms: synonyms.collect(),
        config_type: entry.kind_code,
        documentation: entry.documentation.filter(|_| documentation),
    }
}
