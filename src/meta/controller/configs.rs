//! IncrementalAlterConfigs (API 44) and AlterConfigs (API 33), as Kafka's `ConfigAdminManager` on the broker and
//! `ConfigurationControlManager` on the controller.

use std::collections::{BTreeMap, BTreeSet};

use super::super::image::ResourceType;
use super::super::record::{ClearElrRecord, ConfigRecord, MetadataRecord};
use super::super::topic_name;
use super::{ApiError, Context, Controller, Decision, RECORDS_PER_REQUEST_MAX, codes};
use crate::config::{self, Key, Kind, table};
use crate::wire::messages::alter_configs_response::{self, AlterConfigsResponse};
use crate::wire::messages::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};
use crate::wire::messages::{AlterConfigsRequest, IncrementalAlterConfigsRequest};

pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// The longest value that may be stored, in UTF-16 units as Kafka counts.
const VALUE_LENGTH_MAX: usize = i16::MAX as usize;

const BROKER_ID_NOT_REGISTERED: i16 = 102;

/// The reply to either request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlterConfigsReply {
    /// A result for each resource of the request, in its order.
    pub resources: Vec<AlteredResource>,
}

/// What came of one resource: all of its changes or none.
#[derive(Clone, Debug, PartialEq)]
pub struct AlteredResource {
    /// The type's number as requested.
    pub resource_type: i8,
    /// The name as requested.
    pub name: String,
    /// The error, if any.
    pub error: ApiError,
}

impl AlterConfigsReply {
    /// The response to IncrementalAlterConfigs.
    pub fn to_incremental(&self) -> IncrementalAlterConfigsResponse<'_> {
        let responses =
            self.resources.iter().map(|r| incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code: r.error.code,
                error_message: r.error.message.as_deref(),
                resource_type: r.resource_type,
                resource_name: &r.name,
            });
        IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() }
    }

    /// The response to AlterConfigs.
    pub fn to_legacy(&self) -> AlterConfigsResponse<'_> {
        let responses = self.resources.iter().map(|r| alter_configs_response::AlterConfigsResourceResponse {
            error_code: r.error.code,
            error_message: r.error.message.as_deref(),
            resource_type: r.resource_type,
            resource_name: &r.name,
        });
        AlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() }
    }
}

/// `AlterConfigOp.OpType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Operation {
    fn from_id(id: i8) -> Option<Operation> {
        Some(match id {
            0 => Operation::Set,
            1 => Operation::Delete,
            2 => Operation::Append,
            3 => Operation::Subtract,
            _ => return None,
        })
    }
}

/// The changes of one resource: new values by key, `None` to remove.
type Changes = BTreeMap<String, Option<String>>;

impl Controller {
    /// Decides on IncrementalAlterConfigs. With `validate_only` nothing changes.
    pub fn incremental_alter_configs(
        &self,
        context: &Context<'_>,
        request: &IncrementalAlterConfigsRequest<'_>,
    ) -> Decision<AlterConfigsReply> {
        let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, r.resource_name)));
        let decided = request.resources.iter().map(|r| {
            let configs: Vec<(&str, Option<&str>, i8)> =
                r.configs.iter().map(|c| (c.name, c.value, c.config_operation)).collect();
            let records = check_once(&repeated, r.resource_type, r.resource_name)
                .and_then(|()| self.alter_incrementally(context, r.resource_type, r.resource_name, &configs));
            (r.resource_type, r.resource_name, records)
        });
        self.decide_configs(request.validate_only, decided)
    }

    /// Decides on AlterConfigs: what is not named is removed. With `validate_only` nothing changes.
    pub fn alter_configs(
        &self,
        context: &Context<'_>,
        request: &AlterConfigsRequest<'_>,
    ) -> Decision<AlterConfigsReply> {
        let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, r.resource_name)));
        let decided = request.resources.iter().map(|r| {
            let configs: Vec<(&str, Option<&str>)> = r.configs.iter().map(|c| (c.name, c.value)).collect();
            let records = check_once(&repeated, r.resource_type, r.resource_name)
                .and_then(|()| self.alter_wholly(context, r.resource_type, r.resource_name, &configs));
            (r.resource_type, r.resource_name, records)
        });
        self.decide_configs(request.validate_only, decided)
    }

    fn decide_configs<'r>(
        &self,
        validate_only: bool,
        decided: impl Iterator<Item = (i8, &'r str, Result<Vec<MetadataRecord>, ApiError>)>,
    ) -> Decision<AlterConfigsReply> {
        let mut records = Vec::new();
        let mut reply = AlterConfigsReply::default();
        for (resource_type, name, outcome) in decided {
            let error = match outcome {
                Ok(more) if records.len() + more.len() > RECORDS_PER_REQUEST_MAX => {
                    ApiError::new(codes::POLICY_VIOLATION, "The request changes too many configurations.")
                }
                Ok(more) => {
                    records.extend(more);
                    ApiError::NONE
                }
                Err(error) => error,
            };
            reply.resources.push(AlteredResource { resource_type, name: name.to_owned(), error });
        }
        records.extend(self.clear_elr_records(&records));
        if validate_only {
            records.clear();
        }
        Decision { records, reply }
    }

    fn alter_incrementally(
        &self,
        context: &Context<'_>,
        resource_type: i8,
        name: &str,
        configs: &[(&str, Option<&str>, i8)],
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        check_keys(configs.iter().map(|(key, ..)| *key))?;
        let delete = Operation::Delete as i8;
        check_nulls(configs.iter().filter(|(.., op)| *op != delete).map(|(key, value, _)| (*key, *value)))?;
        let kind = kind_of(context, resource_type, name)?;
        let current = self.image().configs().get(kind, name);
        let mut changes = Changes::new();
        for (key, value, operation) in configs {
            let Some(operation) = Operation::from_id(*operation) else {
                return Err(invalid_request(format!("Unknown operations type {operation}")));
            };
            let old = current.and_then(|c| c.get(*key)).map(String::as_str);
            let new = apply(kind, key, old, value.unwrap_or(""), operation)?;
            // A broker reloads its files when a value is set again, so that an equal value is a change too.
            if kind == ResourceType::Broker || new.as_deref() != old {
                changes.insert((*key).to_owned(), new);
            }
        }
        self.check_changes(context, kind, name, &changes)?;
        Ok(records_of(kind, name, &changes))
    }

    fn alter_wholly(
        &self,
        context: &Context<'_>,
        resource_type: i8,
        name: &str,
        configs: &[(&str, Option<&str>)],
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        check_keys(configs.iter().map(|(key, _)| *key))?;
        check_nulls(configs.iter().copied())?;
        let kind = match kind_of(context, resource_type, name)? {
            ResourceType::BrokerLogger => return Err(unknown_type(resource_type)),
            kind => kind,
        };
        let current = self.image().configs().get(kind, name);
        let mut changes = Changes::new();
        for (key, value) in configs {
            let old = current.and_then(|c| c.get(*key)).map(String::as_str);
            if kind == ResourceType::Broker || *value != old {
                changes.insert((*key).to_owned(), value.map(str::to_owned));
            }
        }
        let named: BTreeSet<&str> = configs.iter().map(|(key, _)| *key).collect();
        for key in current.into_iter().flat_map(|c| c.keys()).filter(|k| !named.contains(k.as_str())) {
            changes.insert(key.clone(), None);
        }
        self.check_changes(context, kind, name, &changes)?;
        Ok(records_of(kind, name, &changes))
    }

    /// Checks what a resource's configuration would become.
    fn check_changes(
        &self,
        context: &Context<'_>,
        kind: ResourceType,
        name: &str,
        changes: &Changes,
    ) -> Result<(), ApiError> {
        self.check_min_isr(kind, name, changes)?;
        check_value_lengths(changes.values().flatten())?;
        let empty = BTreeMap::new();
        let before = self.image().configs().get(kind, name).map_or(&empty, AsRef::as_ref);
        let mut after = before.clone();
        for (key, value) in changes {
            match value {
                Some(value) => after.insert(key.clone(), value.clone()),
                None => after.remove(key),
            };
        }
        match kind {
            ResourceType::Topic => {
                if name.is_empty() {
                    return Err(invalid_request("Default topic resources are not allowed.".to_owned()));
                }
                topic_name::validate(name).map_err(|e| ApiError::new(codes::INVALID_TOPIC_EXCEPTION, e))?;
                config::check_topic_overrides(context.config, before, &after)?;
                if self.image().topics().get(name).is_none() {
                    let message = format!("The topic '{name}' does not exist.");
                    return Err(ApiError::new(codes::UNKNOWN_TOPIC_OR_PARTITION, message));
                }
            }
            ResourceType::Broker => {
                config::check_broker_overrides(context.config, &after, !name.is_empty())?;
                let id = context.config.node_id;
                if !name.is_empty() && self.image().cluster().broker(id).is_none() {
                    return Err(ApiError::new(
                        BROKER_ID_NOT_REGISTERED,
                        format!("No node with id {id} found."),
                    ));
                }
            }
            ResourceType::Group => {
                if name.is_empty() {
                    return Err(invalid_request("Default group resources are not allowed.".to_owned()));
                }
                check_by_table(&table::GROUP, &after)?;
            }
            ResourceType::ClientMetrics => check_by_table(&table::CLIENT_METRICS, &after)?,
            ResourceType::BrokerLogger => {
                let message = "Log levels cannot be altered over the protocol; restart with another level.";
                return Err(invalid_request(message.to_owned()));
            }
        }
        Ok(())
    }

    /// With eligible leader replicas one value of `min.insync.replicas` holds for all brokers.
    fn check_min_isr(&self, kind: ResourceType, name: &str, changes: &Changes) -> Result<(), ApiError> {
        let Some(change) = changes.get(MIN_INSYNC_REPLICAS) else { return Ok(()) };
        if kind != ResourceType::Broker || !self.elr_enabled() {
            return Ok(());
        }
        let (level, what) = match (name.is_empty(), change) {
            (false, _) => ("Broker", "altered"),
            (true, None) => ("Cluster", "removed"),
            (true, Some(_)) => return Ok(()),
        };
        let message = format!("{level}-level {MIN_INSYNC_REPLICAS} cannot be {what} while ELR is enabled.");
        Err(ApiError::new(codes::INVALID_CONFIG, message))
    }

    /// A change of `min.insync.replicas` makes the eligible leader replicas void.
    fn clear_elr_records(&self, records: &[MetadataRecord]) -> Vec<MetadataRecord> {
        if !self.elr_enabled() {
            return Vec::new();
        }
        let clear = |r: &MetadataRecord| match r {
            MetadataRecord::Config(c) if *c.name == *MIN_INSYNC_REPLICAS => {
                let of_topic = c.resource_type == ResourceType::Topic.id();
                let topic_name = if of_topic { c.resource_name.clone() } else { "".into() };
                Some(MetadataRecord::ClearElr(ClearElrRecord { topic_name }))
            }
            _ => None,
        };
        records.iter().filter_map(clear).collect()
    }
}

/// Refuses values that are too long to be stored.
pub(super) fn check_value_lengths<'a>(values: impl IntoIterator<Item = &'a String>) -> Result<(), ApiError> {
    // Only a text of more bytes can have more UTF-16 units.
    let long = |v: &&String| v.len() > VALUE_LENGTH_MAX;
    match values.into_iter().find(long) {
        Some(_) => {
            let message = format!(
                "The configuration value cannot be added because it exceeds the maximum value size of \
                 {VALUE_LENGTH_MAX} bytes."
            );
            Err(ApiError::new(codes::INVALID_CONFIG, message))
        }
        None => Ok(()),
    }
}

fn repeated<'r>(resources: impl Iterator<Item = (i8, &'r str)>) -> BTreeSet<(i8, &'r str)> {
    let mut seen = BTreeSet::new();
    resources.filter(|r| !seen.insert(*r)).collect()
}

fn check_once(repeated: &BTreeSet<(i8, &str)>, resource_type: i8, name: &str) -> Result<(), ApiError> {
    match repeated.contains(&(resource_type, name)) {
        true => Err(invalid_request("Each resource must appear at most once.".to_owned())),
        false => Ok(()),
    }
}

fn check_keys<'r>(keys: impl Iterator<Item = &'r str>) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(invalid_request("Error due to duplicate config keys".to_owned()));
        }
    }
    Ok(())
}

fn check_nulls<'r>(configs: impl Iterator<Item = (&'r str, Option<&'r str>)>) -> Result<(), ApiError> {
    let nulls: Vec<&str> = configs.filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect();
    match nulls.is_empty() {
        true => Ok(()),
        false => Err(invalid_request(format!("Null value not supported for : {}", nulls.join(", ")))),
    }
}

fn kind_of(context: &Context<'_>, resource_type: i8, name: &str) -> Result<ResourceType, ApiError> {
    let kind = ResourceType::from_id(resource_type).ok_or_else(|| unknown_type(resource_type))?;
    if kind == ResourceType::Broker && !name.is_empty() {
        let expected = context.config.node_id;
        match name.parse::<i32>() {
            Ok(id) if id == expected => {}
            Ok(_) => {
                let message = format!("Unexpected broker id, expected {expected}, but received {name}");
                return Err(invalid_request(message));
            }
            Err(_) => return Err(invalid_request(format!("Node id must be an integer, but it is: {name}"))),
        }
    }
    Ok(kind)
}

/// The value of a key after an operation on it.
fn apply(
    kind: ResourceType,
    key: &str,
    old: Option<&str>,
    value: &str,
    operation: Operation,
) -> Result<Option<String>, ApiError> {
    let known = key_of(kind, key);
    let list = |word: &str| match known {
        Some(known) if known.kind == Kind::List => {
            let text = old.map_or_else(|| known.default_value().to_text().unwrap_or_default(), str::to_owned);
            Ok(text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<String>>())
        }
        _ => {
            let message = format!("Can't {word} to key {key} because its type is not LIST.");
            Err(ApiError::new(codes::INVALID_CONFIG, message))
        }
    };
    Ok(match operation {
        Operation::Set => Some(value.to_owned()),
        Operation::Delete => None,
        Operation::Append => {
            let mut parts = list("APPEND")?;
            for part in value.split(',') {
                if !parts.iter().any(|p| p == part) {
                    parts.push(part.to_owned());
                }
            }
            Some(parts.join(","))
        }
        Operation::Subtract => {
            let mut parts = list("SUBTRACT")?;
            for part in value.split(',') {
                if let Some(at) = parts.iter().position(|p| p == part) {
                    parts.remove(at);
                }
            }
            Some(parts.join(","))
        }
    })
}

fn check_by_table(table: &table::Table, configs: &BTreeMap<String, String>) -> Result<(), ApiError> {
    for (name, value) in configs {
        let Some(key) = table.get(name) else {
            return Err(ApiError::new(codes::INVALID_CONFIG, format!("Unknown config name: {name}")));
        };
        key.parse(value)?;
    }
    Ok(())
}

fn key_of(kind: ResourceType, key: &str) -> Option<&'static Key> {
    match kind {
        ResourceType::Topic => table::TOPIC.get(key),
        ResourceType::Broker => table::BROKER.get(key),
        ResourceType::Group => table::GROUP.get(key),
        ResourceType::ClientMetrics => table::CLIENT_METRICS.get(key),
        ResourceType::BrokerLogger => None,
    }
}

fn records_of(kind: ResourceType, name: &str, changes: &Changes) -> Vec<MetadataRecord> {
    let record = |(key, value): (&String, &Option<String>)| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: kind.id(),
            resource_name: name.into(),
            name: key.as_str().into(),
            value: value.as_deref().map(Into::into),
        })
    };
    changes.iter().map(record).collect()
}

fn unknown_type(resource_type: i8) -> ApiError {
    invalid_request(format!("Unknown resource type {resource_type}"))
}

fn invalid_request(message: String) -> ApiError {
    ApiError::new(codes::INVALID_REQUEST, message)
}
