//! DescribeConfigs (key 32), versions 1 to 4: KIP-226 (synonyms), KIP-569 (documentation), as `ConfigHelper`.

use std::collections::HashSet;

use crate::base::limits::{CONFIGS_REPLY_BYTES_MAX, CONFIGS_REQUEST_SMALL_BYTES_MAX};
use crate::config::{self, Entry, ResourceKind, topic_name_fault};
use crate::meta::image::ResourceType;
use crate::shard::effective::overrides;
use crate::wire::codec::{Body, DecodeError, Element};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use crate::wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::apart::{View, apart};
use super::cx::{Cx, Outcome, ReplyWriter, Request, Written};

/// The resource type of log levels.
const BROKER_LOGGER: i8 = 8;

/// Why a resource cannot be described: the code and words for the client.
type Refusal = (ErrorCode, Option<String>);

/// Serves a DescribeConfigs request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (view, body, version) = (View::of(cx, request.listener), request.body.clone(), request.api_version);
    // A few hundred bytes for each key of each resource.
    let heavy = request.body.len() > CONFIGS_REQUEST_SMALL_BYTES_MAX;
    apart(cx, heavy, move || answer(&view, &body, version), |_, written| written.into())
}

/// Writes one resource after the other: no more than one of them exists beside the reply.
fn answer(view: &View, body: &Body, version: i16) -> Result<Written, DecodeError> {
    let message: DescribeConfigsRequest<'_> = body.decode(version)?;
    // Clients keep the answers by resource: one that is named twice is described once.
    let mut seen = HashSet::new();
    let mut resources: Vec<&DescribeConfigsResource<'_>> = message.resources.iter().collect();
    resources.retain(|r| seen.insert((r.resource_type, r.resource_name)));
    let mut reply = ReplyWriter::default();
    let w = &mut reply.writer;
    w.i32(0); // throttle time
    w.count(version >= 4, resources.len());
    for resource in resources {
        let found =
            if w.position() > CONFIGS_REPLY_BYTES_MAX { Err(too_many()) } else { describe(view, resource) };
        let (error_code, error_message, entries): (i16, Option<&str>, &[Entry]) = match &found {
            // Kafka leaves the text empty, not null, where it has none.
            Ok(entries) => (0, Some(""), entries),
            Err((code, text)) => (code.code(), Some(text.as_deref().unwrap_or_default()), &[]),
        };
        let keys = keys(resource);
        let wanted = entries.iter().filter(|e| keys.as_ref().is_none_or(|keys| keys.contains(&*e.name)));
        let result = DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs: wanted
                .map(|e| result(e, message.include_synonyms, message.include_documentation))
                .collect(),
        };
        result.put(w, version);
    }
    if version >= 4 {
        w.tags();
    }
    Ok(reply.written())
}

/// The refusal of a resource that the reply has no room for.
fn too_many() -> Refusal {
    let text =
        format!("the reply would be larger than {CONFIGS_REPLY_BYTES_MAX} bytes; describe fewer resources");
    (ErrorCode::INVALID_REQUEST, Some(text))
}

/// The keys that were asked for; None for all.
fn keys<'a>(resource: &DescribeConfigsResource<'a>) -> Option<HashSet<&'a str>> {
    let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty())?;
    Some(keys.iter().copied().collect())
}

fn describe(view: &View, resource: &DescribeConfigsResource<'_>) -> Result<Vec<Entry>, Refusal> {
    let name = resource.resource_name;
    let invalid = |text: String| (ErrorCode::INVALID_REQUEST, Some(text));
    let broker = &*view.broker;
    let node_id = broker.node_id;
    match ResourceKind::from_code(resource.resource_type) {
        Some(ResourceKind::Topic) => {
            if let Some(fault) = topic_name_fault(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(fault)));
            }
            if view.image.topics().get(name).is_none() {
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None));
            }
            Ok(config::describe_topic(broker, &overrides(&view.image, ResourceType::Topic, name)))
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
            Ok(config::describe_client_metrics(&overrides(&view.image, ResourceType::ClientMetrics, name)))
        }
        Some(ResourceKind::Group) if name.is_empty() => {
            Err(invalid("Group name must not be empty".to_owned()))
        }
        Some(ResourceKind::Group) => {
            Ok(config::describe_group(broker, &overrides(&view.image, ResourceType::Group, name)))
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
