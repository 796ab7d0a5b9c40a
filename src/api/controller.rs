//! The APIs that only the controller can answer: CreateTopics, DeleteTopics, CreatePartitions, AlterConfigs,
//! IncrementalAlterConfigs, DescribeQuorum. The whole body goes to the controller's core, and its answer comes back.

use crate::base::limits::{API_TIMEOUT_MS, METADATA_RECORDS_PER_REQUEST_MAX};
use crate::base::{ShardId, TopicId};
use crate::shard::{ControlJob, Done, Job};
use crate::wire::api::ApiKey;
use crate::wire::codec::{Body, DecodeError, Message, Reader};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::alter_configs_response::{self, AlterConfigsResponse};
use crate::wire::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use crate::wire::messages::create_topics_request::CreateTopicsRequest;
use crate::wire::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use crate::wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use crate::wire::messages::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};
use crate::wire::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
};

use super::apart::apart;
use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting, Written};
use super::{deadline, write};

/// A request that the controller was sent, for its refusal.
struct Forwarded {
    api_key: ApiKey,
    api_version: i16,
    body: Body,
}

/// What a change beyond [`METADATA_RECORDS_PER_REQUEST_MAX`] is told.
const TOO_LARGE: (ErrorCode, &str) =
    (ErrorCode::POLICY_VIOLATION, "Unable to perform excessively large batch operation.");
/// What a change is told that the controller could not write.
const NOT_WRITTEN: &str = "The controller could not write the change; see the broker's log.";

/// Sends a request to the controller. One that is about more than the controller changes at once is refused as Apache Kafka
/// refuses it, at every item, without the controller.
pub fn forward(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    if request.is_large() && items(request)? > METADATA_RECORDS_PER_REQUEST_MAX {
        let (key, body, version) = (request.api_key, request.body.clone(), request.api_version);
        return apart(cx, true, move || refused(key, &body, version, TOO_LARGE), |_, written| written.into());
    }
    let id = cx.open();
    let (api_key, api_version, body) = (request.api_key, request.api_version, request.body.clone());
    let waiting = Forwarded { api_key, api_version, body };
    let job =
        ControlJob { api_key: request.api_key, api_version: request.api_version, body: request.body.clone() };
    cx.send(ShardId(0), id, 0, Job::Control(job));
    Ok(Outcome::Parked(Parked { id, deadline: deadline(cx, API_TIMEOUT_MS), waiting: Box::new(waiting) }))
}

/// How many topics or resources a request names. The list of them stands first in all of these.
fn items(request: &Request<'_>) -> Result<usize, DecodeError> {
    let flexible_from = match request.api_key {
        ApiKey::CreateTopics => CreateTopicsRequest::FLEXIBLE_FROM,
        ApiKey::DeleteTopics => DeleteTopicsRequest::FLEXIBLE_FROM,
        ApiKey::CreatePartitions => CreatePartitionsRequest::FLEXIBLE_FROM,
        ApiKey::AlterConfigs => AlterConfigsRequest::FLEXIBLE_FROM,
        ApiKey::IncrementalAlterConfigs => IncrementalAlterConfigsRequest::FLEXIBLE_FROM,
        _ => return Ok(0),
    };
    let flex = flexible_from.is_some_and(|from| request.api_version >= from);
    Ok(Reader::new(&request.body).count(flex, 1)?.unwrap_or_default())
}

/// The refusal of every item.
fn refused(
    key: ApiKey,
    body: &Body,
    version: i16,
    (code, message): (ErrorCode, &'static str),
) -> Result<Written, DecodeError> {
    let (error_code, error_message) = (code.code(), Some(message));
    Ok(match key {
        ApiKey::CreateTopics => {
            let request: CreateTopicsRequest<'_> = body.decode(version)?;
            let topics = request.topics.iter().map(|topic| CreatableTopicResult {
                name: topic.name,
                error_code,
                error_message,
                ..Default::default()
            });
            write(&CreateTopicsResponse { topics: topics.collect(), ..Default::default() }, version)
        }
        ApiKey::DeleteTopics => {
            let request: DeleteTopicsRequest<'_> = body.decode(version)?;
            let names = request.topic_names.iter().map(|name| (Some(*name), TopicId::ZERO));
            let states = request.topics.iter().map(|topic| (topic.name, topic.topic_id));
            let error_message = error_message.filter(|_| version >= 5);
            let responses = names.chain(states).map(|(name, topic_id)| DeletableTopicResult {
                name,
                topic_id,
                error_code,
                error_message,
            });
            write(&DeleteTopicsResponse { responses: responses.collect(), ..Default::default() }, version)
        }
        ApiKey::CreatePartitions => {
            let request: CreatePartitionsRequest<'_> = body.decode(version)?;
            let results = request.topics.iter().map(|topic| CreatePartitionsTopicResult {
                name: topic.name,
                error_code,
                error_message,
            });
            write(&CreatePartitionsResponse { results: results.collect(), ..Default::default() }, version)
        }
        ApiKey::AlterConfigs => {
            let request: AlterConfigsRequest<'_> = body.decode(version)?;
            let responses =
                request.resources.iter().map(|r| alter_configs_response::AlterConfigsResourceResponse {
                    error_code,
                    error_message,
                    resource_type: r.resource_type,
                    resource_name: r.resource_name,
                });
            write(&AlterConfigsResponse { responses: responses.collect(), ..Default::default() }, version)
        }
        _ => {
            let request: IncrementalAlterConfigsRequest<'_> = body.decode(version)?;
            let responses = request.resources.iter().map(|r| {
                incremental_alter_configs_response::AlterConfigsResourceResponse {
                    error_code,
                    error_message,
                    resource_type: r.resource_type,
                    resource_name: r.resource_name,
                }
            });
            write(
                &IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() },
                version,
            )
        }
    })
}

impl Waiting for Forwarded {
    fn done(&mut self, _cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        Step::Finish(match done {
            Done::Body(Ok(body)) => Outcome::body(body),
            // A closed connection would say nothing, and the client would try again for ever.
            Done::Body(Err(code)) if self.api_key != ApiKey::DescribeQuorum => {
                refused(self.api_key, &self.body, self.api_version, (code, NOT_WRITTEN))
                    .map_or(Outcome::Close("the request could not be read"), Into::into)
            }
            _ => Outcome::Close("the controller could not answer"),
        })
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish(Outcome::Close("the controller did not answer in time"))
    }
}
