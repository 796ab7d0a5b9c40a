//! IncrementalAlterConfigs (API 44) and AlterConfigs (API 33), as Kafka's `ConfigAdminManager` on the broker and
//! `ConfigurationControlManager` on the controller.

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::{ClearElrRecord, ConfigRecord, MetadataRecord};
use super::super::topic_name;
use super::{ApiError, Context, Controller, Decision, codes};
use crate::base::limits::METADATA_RECORDS_PER_REQUEST_MAX;
use crate::config::{AlterOp, Alteration, Altered, ConfigError, Outcome, ResourceKind};
use crate::wire::messages::alter_configs_response::{self, AlterConfigsResponse};
use crate::wire::messages::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};
use crate::wire::messages::{AlterConfigsRequest, IncrementalAlterConfigsRequest};

pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// `ConfigResource.Type.BROKER_LOGGER`.
const BROKER_LOGGER: i8 = 8;

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
                Ok(more) if records.len() + more.len() > METADATA_RECORDS_PER_REQUEST_MAX => too_many(),
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
        let mut operations = Vec::with_capacity(configs.len().min(METADATA_RECORDS_PER_REQUEST_MAX));
        for (name, value, operation) in configs {
            let Some(op) = AlterOp::from_code(*operation) else {
                return Err(invalid_request(format!("Unknown operations type {operation}")));
            };
            operations.push(Alteration { name, op, value: *value });
        }
        self.alter(context, resource_type, name, configs.len(), |altered| altered.incremental(&operations))
    }

    fn alter_wholly(
        &self,
        context: &Context<'_>,
        resource_type: i8,
        name: &str,
        configs: &[(&str, Option<&str>)],
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        self.alter(context, resource_type, name, configs.len(), |altered| altered.replace(configs))
    }

    fn alter(
        &self,
        context: &Context<'_>,
        resource_type: i8,
        name: &str,
        count: usize,
        alter: impl FnOnce(&Altered<'_>) -> Result<Outcome, ConfigError>,
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        check_count(count)?;
        let kind = kind_of(context, resource_type, name)?;
        if kind == ResourceKind::Topic && !name.is_empty() {
            topic_name::validate(name).map_err(|e| ApiError::new(codes::INVALID_TOPIC_EXCEPTION, e))?;
        }
        let empty = BTreeMap::new();
        let before = self.image().configs().get(kind, name).map_or(&empty, AsRef::as_ref);
        let config = context.config;
        let outcome = alter(&Altered { config, kind, name, before, elr_enabled: self.elr_enabled() })?;
        self.check_exists(context, kind, name)?;
        let record = |(key, value): &(String, Option<String>)| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: kind.code(),
                resource_name: name.into(),
                name: key.as_str().into(),
                value: value.as_deref().map(Into::into),
            })
        };
        Ok(outcome.records.iter().map(record).collect())
    }

    fn check_exists(&self, context: &Context<'_>, kind: ResourceKind, name: &str) -> Result<(), ApiError> {
        let id = context.config.node_id;
        match kind {
            ResourceKind::Topic if self.image().topics().get(name).is_none() => {
                let message = format!("The topic '{name}' does not exist.");
                Err(ApiError::new(codes::UNKNOWN_TOPIC_OR_PARTITION, message))
            }
            ResourceKind::Broker if !name.is_empty() && self.image().cluster().broker(id).is_none() => {
                Err(ApiError::new(codes::BROKER_ID_NOT_REGISTERED, format!("No node with id {id} found.")))
            }
            _ => Ok(()),
        }
    }

    /// A change of `min.insync.replicas` makes the eligible leader replicas void.
    fn clear_elr_records(&self, records: &[MetadataRecord]) -> Vec<MetadataRecord> {
        if !self.elr_enabled() {
            return Vec::new();
        }
        let clear = |r: &MetadataRecord| match r {
            MetadataRecord::Config(c) if *c.name == *MIN_INSYNC_REPLICAS => {
                let of_topic = c.resource_type == ResourceKind::Topic.code();
                let topic_name = if of_topic { c.resource_name.clone() } else { "".into() };
                Some(MetadataRecord::ClearElr(ClearElrRecord { topic_name }))
            }
            _ => None,
        };
        records.iter().filter_map(clear).collect()
    }
}

/// Refuses more configurations of one resource than one request may change.
pub(super) fn check_count(count: usize) -> Result<(), ApiError> {
    if count > METADATA_RECORDS_PER_REQUEST_MAX { Err(too_many()) } else { Ok(()) }
}

fn too_many() -> ApiError {
    ApiError::new(codes::POLICY_VIOLATION, "The request changes too many configurations.")
}

fn repeated<'r>(resources: impl Iterator<Item = (i8, &'r str)>) -> BTreeSet<(i8, &'r str)> {
    let mut seen = BTreeSet::new();
    resources.filter(|r| !seen.insert(*r)).collect()
}

fn check_once(repeated: &BTreeSet<(i8, &str)>, resource_type: i8, name: &str) -> Result<(), ApiError> {
    if repeated.contains(&(resource_type, name)) {
        return Err(invalid_request("Each resource must appear at most once.".to_owned()));
    }
    Ok(())
}

fn kind_of(context: &Context<'_>, resource_type: i8, name: &str) -> Result<ResourceKind, ApiError> {
    let Some(kind) = ResourceKind::from_code(resource_type) else {
        return Err(invalid_request(match resource_type {
            BROKER_LOGGER => {
                "Log levels cannot be altered; restart the broker with another level.".to_owned()
            }
            other => format!("Unknown resource type {other}"),
        }));
    };
    if kind == ResourceKind::Broker && !name.is_empty() {
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

fn invalid_request(message: String) -> ApiError {
    ApiError::new(codes::INVALID_REQUEST, message)
}
