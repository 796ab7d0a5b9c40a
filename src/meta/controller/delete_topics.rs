//! DeleteTopics (API 20), as Kafka's `ControllerApis.deleteTopics`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::{MetadataRecord, RemoveTopicRecord};
use super::{ApiError, Context, Controller, Decision, codes};
use crate::base::{TopicId, Uuid};
use crate::wire::messages::DeleteTopicsRequest;
use crate::wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

/// The reply to DeleteTopics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteTopicsReply {
    /// A result for each topic.
    pub topics: Vec<DeletedTopic>,
}

/// What came of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedTopic {
    /// Its name, if it is known.
    pub name: Option<String>,
    /// Its id, zero if it is not known.
    pub topic_id: TopicId,
    /// The error, if any.
    pub error: ApiError,
}

impl DeleteTopicsReply {
    /// The response. In versions without null names an unknown name is empty.
    pub fn to_wire(&self, version: i16) -> DeleteTopicsResponse<'_> {
        let unnamed = (version < 6).then_some("");
        let responses = self.topics.iter().map(|t| DeletableTopicResult {
            name: t.name.as_deref().or(unnamed),
            topic_id: t.topic_id,
            error_code: t.error.code,
            error_message: t.error.message.as_deref(),
        });
        DeleteTopicsResponse { throttle_time_ms: 0, responses: responses.collect() }
    }

    fn push(&mut self, name: Option<&str>, topic_id: TopicId, error: ApiError) {
        self.topics.push(DeletedTopic { name: name.map(str::to_owned), topic_id, error });
    }
}

impl Controller {
    /// Decides on DeleteTopics in `version`. The error is one for the whole request.
    pub fn delete_topics(
        &self,
        context: &Context<'_>,
        request: &DeleteTopicsRequest<'_>,
        version: i16,
    ) -> Result<Decision<DeleteTopicsReply>, ApiError> {
        if !context.config.delete_topic_enable {
            return Err(match version {
                ..3 => ApiError::new(codes::INVALID_REQUEST, "This version does not support topic deletion."),
                3.. => ApiError::new(codes::TOPIC_DELETION_DISABLED, "Topic deletion is disabled."),
            });
        }
        let mut reply = DeleteTopicsReply::default();
        let (names, ids) = wanted(request, &mut reply);
        let mut doomed: BTreeMap<TopicId, &str> = BTreeMap::new();
        for (id, count) in &ids {
            match self.image().topics().get_by_id(*id) {
                _ if *count > 1 => reply.push(None, *id, invalid("Duplicate topic id.")),
                Some(topic) => {
                    doomed.insert(*id, &topic.name);
                }
                None => reply.push(None, *id, ApiError::unknown_topic_id()),
            }
        }
        let mut clashes: BTreeSet<TopicId> = BTreeSet::new();
        for (name, count) in &names {
            let topic = self.image().topics().get(name);
            match topic {
                _ if *count > 1 => reply.push(Some(name), Uuid::ZERO, invalid("Duplicate topic name.")),
                None => reply.push(Some(name), Uuid::ZERO, ApiError::unknown_topic()),
                Some(topic) if ids.contains_key(&topic.id) => {
                    let message = "The provided topic name maps to an ID that was already supplied.";
                    reply.push(Some(name), topic.id, invalid(message));
                    clashes.insert(topic.id);
                }
                Some(topic) => {
                    doomed.insert(topic.id, &topic.name);
                }
            }
        }
        doomed.retain(|id, _| !clashes.contains(id));
        let remove = |id: &TopicId| MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: *id });
        let records = doomed.keys().map(remove).collect();
        for (id, name) in doomed {
            reply.push(Some(name), id, ApiError::NONE);
        }
        Ok(Decision { records, reply })
    }
}

/// How often the request names each topic, by name and by id. What is neither or both is answered at once.
fn wanted<'a>(
    request: &DeleteTopicsRequest<'a>,
    reply: &mut DeleteTopicsReply,
) -> (BTreeMap<&'a str, usize>, BTreeMap<TopicId, usize>) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids: BTreeMap<TopicId, usize> = BTreeMap::new();
    for name in &request.topic_names {
        *names.entry(name).or_default() += 1;
    }
    for topic in &request.topics {
        match (topic.name, topic.topic_id.is_zero()) {
            (None, true) => {
                reply.push(None, Uuid::ZERO, invalid("Neither topic name nor id were specified."));
            }
            (None, false) => *ids.entry(topic.topic_id).or_default() += 1,
            (Some(name), true) => *names.entry(name).or_default() += 1,
            (Some(name), false) => {
                let message = "You may not specify both topic name and topic id.";
                reply.push(Some(name), topic.topic_id, invalid(message));
            }
        }
    }
    (names, ids)
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(codes::INVALID_REQUEST, message)
}
