//! Metadata (key 3), versions 0 to 13: KIP-516 (topic ids from 10, by id from 12), KIP-430 (authorized operations),
//! KIP-1102 (bootstrap hint, 13). Topics that do not exist are created if both sides allow it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::base::limits::{
    METADATA_PARTITIONS_SMALL_MAX, METADATA_RECORDS_PER_REQUEST_MAX, REQUEST_TIMEOUT_MS,
};
use crate::base::{ShardId, TopicId};
use crate::meta::image::{Image, Partition, Topic};
use crate::shard::{ControlJob, Done, Job};
use crate::wire::api::ApiKey;
use crate::wire::codec::{Body, DecodeError, Element, decode, encode};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::create_topics_request::CreateTopicsRequest;
use crate::wire::messages::create_topics_response::CreateTopicsResponse;
use crate::wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use crate::wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::apart::{View, apart};
use super::cx::{Cx, Outcome, Parked, ReplyWriter, Request, Step, Waiting, Written};
use super::topics::INTERNAL_TOPICS;
use super::{deadline, topics, write};

/// Every operation that a topic or cluster allows, when nobody is refused anything: bits of `AclOperation`.
pub const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// As [`TOPIC_OPERATIONS`], for the cluster.
pub const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
/// As [`TOPIC_OPERATIONS`], for a group.
pub const GROUP_OPERATIONS: i32 = bits(&[3, 6, 8, 10, 11]);

const fn bits(operations: &[u32]) -> i32 {
    let (mut sum, mut i) = (0, 0);
    while i < operations.len() {
        sum |= 1 << operations[i];
        i += 1;
    }
    sum
}

/// The version in which topics are created on the client's behalf.
const CREATE_VERSION: i16 = 7;

#[derive(Clone, Debug)]
struct Wanted {
    name: Option<String>,
    id: TopicId,
}

struct Metadata {
    version: i16,
    listener: u32,
    /// None: all topics.
    topics: Option<Vec<Wanted>>,
    cluster_operations: bool,
    topic_operations: bool,
    /// Whether topics that do not exist are to be created.
    create: bool,
    /// What became of topics that were created for this request.
    refused: BTreeMap<String, ErrorCode>,
}

/// Serves a Metadata request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, listener) = (request.body.clone(), request.api_version, request.listener);
    apart(
        cx,
        request.is_large(),
        move || read(&body, version, listener),
        |cx, asked| match asked {
            Ok(metadata) => metadata.begin(cx),
            Err(refused) => refused.into(),
        },
    )
}

/// What is asked, or the answer to a request that asks in a way its version does not have.
fn read(body: &Body, version: i16, listener: u32) -> Result<Result<Metadata, Written>, DecodeError> {
    let message: MetadataRequest<'_> = body.decode(version)?;
    let wanted: Option<Vec<Wanted>> = match &message.topics {
        // Version 0 has no null: there, none means all.
        Some(topics) if version == 0 && topics.is_empty() => None,
        // Ids came with version 10, but asking by them with version 12.
        Some(topics) if version < 12 && topics.iter().any(|t| t.name.is_none() || !t.topic_id.is_zero()) => {
            return Ok(Err(refused(topics, version)));
        }
        Some(topics) => {
            // One that is named twice is answered once. A set, for a request may name very many.
            let mut seen = HashSet::new();
            Some(topics.iter().filter(|t| seen.insert(asked_by(t))).map(wanted).collect())
        }
        None => None,
    };
    Ok(Ok(Metadata {
        version,
        listener,
        topics: wanted,
        cluster_operations: message.include_cluster_authorized_operations,
        topic_operations: message.include_topic_authorized_operations,
        create: version < 4 || message.allow_auto_topic_creation,
        refused: BTreeMap::new(),
    }))
}

/// The answer to a request that asks in a way its version does not have.
fn refused(topics: &[MetadataRequestTopic<'_>], version: i16) -> Written {
    let topics = topics.iter().map(refused_topic).collect();
    write(&MetadataResponse { topics, ..Default::default() }, version)
}

fn refused_topic<'a>(topic: &MetadataRequestTopic<'a>) -> MetadataResponseTopic<'a> {
    MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST.code(),
        name: Some(topic.name.unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    }
}

/// What a topic is looked up by: its id, or else its name.
fn asked_by<'a>(topic: &MetadataRequestTopic<'a>) -> (Option<&'a str>, TopicId) {
    (topic.name.filter(|_| topic.topic_id.is_zero()), topic.topic_id)
}

fn wanted(topic: &MetadataRequestTopic<'_>) -> Wanted {
    Wanted { name: topic.name.map(str::to_owned), id: topic.topic_id }
}

/// A CreateTopics request for topics that a client asked about or that Kafka keeps for itself.
pub fn create_request(cx: &Cx<'_>, names: &[String]) -> Option<Vec<u8>> {
    let create = |n: &String| crate::meta::controller::creatable_topic(cx.config(), n);
    let specs: Vec<_> = names.iter().filter_map(create).collect();
    let topics = specs.iter().map(crate::meta::controller::CreatableTopic::to_wire).collect();
    let request = CreateTopicsRequest { topics, timeout_ms: REQUEST_TIMEOUT_MS, ..Default::default() };
    encode(&request, CREATE_VERSION).ok()
}

impl Metadata {
    /// Names that could be topics and are not; of more than the controller creates at once, one more than those.
    fn missing(&self, cx: &Cx<'_>) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let names = self.topics.iter().flatten().filter_map(|t| t.name.as_ref());
        let missing = names.filter(|name| {
            let valid = crate::meta::topic_name::validate(name).is_ok();
            valid && cx.image.topics().get(name).is_none() && seen.insert(name.as_str())
        });
        missing.take(METADATA_RECORDS_PER_REQUEST_MAX + 1).cloned().collect()
    }

    /// Creates what is missing, if both sides want that, and answers.
    fn begin(self, cx: &mut Cx<'_>) -> Outcome {
        let create = self.create && cx.config().auto_create_topics_enable;
        let missing = if create { self.missing(cx) } else { Vec::new() };
        // More than the controller creates at once are no topics that somebody is about to use.
        if missing.is_empty() || missing.len() > METADATA_RECORDS_PER_REQUEST_MAX {
            return self.answer(cx);
        }
        let Some(body) = create_request(cx, &missing) else { return self.answer(cx) };
        let id = cx.open();
        let job =
            ControlJob { api_key: ApiKey::CreateTopics, api_version: CREATE_VERSION, body: body.into() };
        cx.send(ShardId(0), id, 0, Job::Control(job));
        let waiting = Box::new(Creating { metadata: Some(self) });
        Outcome::Parked(Parked { id, deadline: deadline(cx, REQUEST_TIMEOUT_MS), waiting })
    }

    /// Answers: here if it is about few partitions, otherwise on a helper thread.
    fn answer(self, cx: &mut Cx<'_>) -> Outcome {
        let heavy = self.is_large(cx.image);
        let view = View::of(cx, self.listener);
        let answered = apart(cx, heavy, move || Ok(self.write(&view)), |_, written: Written| written.into());
        answered.unwrap_or(Outcome::Close("a malformed request"))
    }

    fn is_large(&self, image: &Image) -> bool {
        match &self.topics {
            None => image.topics().partitions_count() > METADATA_PARTITIONS_SMALL_MAX,
            Some(wanted) if wanted.len() > METADATA_PARTITIONS_SMALL_MAX => true,
            Some(wanted) => {
                let known = wanted.iter().filter_map(|w| w.found(image));
                known.map(|topic| topic.partitions.len()).sum::<usize>() > METADATA_PARTITIONS_SMALL_MAX
            }
        }
    }

    /// Writes one topic after the other: no more than one of them exists beside the reply.
    fn write(&self, view: &View) -> Written {
        let (version, listener) = (self.version, view.listener_name());
        let flex = version >= 9;
        let brokers: Vec<_> = topics::endpoints(&view.image, listener)
            .map(|(node_id, host, port, rack)| MetadataResponseBroker {
                node_id,
                host,
                port: port.into(),
                rack,
            })
            .collect();
        let mut reply = ReplyWriter::default();
        let w = &mut reply.writer;
        if version >= 3 {
            w.i32(0); // throttle time
        }
        w.array(flex, &brokers, version);
        if version >= 2 {
            w.nullable_string(flex, Some(view.image.cluster_id()));
        }
        if version >= 1 {
            w.i32(topics::controller_id(&view.image));
        }
        match &self.topics {
            None => {
                w.count(flex, view.image.topics().len());
                for topic in view.image.topics().iter() {
                    self.topic(view, topic).put(w, version);
                }
            }
            Some(wanted) => {
                w.count(flex, wanted.len());
                for wanted in wanted {
                    self.one(view, wanted).put(w, version);
                }
            }
        }
        let operations = if self.cluster_operations { CLUSTER_OPERATIONS } else { i32::MIN };
        if (8..=10).contains(&version) {
            w.i32(operations);
        } else if version < 8 {
            w.lacks(self.cluster_operations, "ClusterAuthorizedOperations");
        }
        if version >= 13 {
            w.i16(ErrorCode::NONE.code());
        }
        if flex {
            w.tags();
        }
        reply.written()
    }

    fn one<'a>(&'a self, view: &'a View, wanted: &'a Wanted) -> MetadataResponseTopic<'a> {
        let by_id = !wanted.id.is_zero();
        let name = wanted.name.as_deref();
        if let Some(found) = wanted.found(&view.image) {
            return self.topic(view, found);
        }
        let error = match name {
            _ if by_id => ErrorCode::UNKNOWN_TOPIC_ID,
            Some(n) if crate::meta::topic_name::validate(n).is_err() => ErrorCode::INVALID_TOPIC_EXCEPTION,
            Some(n) => self.refused.get(n).copied().unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            None => ErrorCode::INVALID_TOPIC_EXCEPTION,
        };
        MetadataResponseTopic {
            error_code: error.code(),
            name: if by_id && self.version >= 12 { None } else { Some(name.unwrap_or_default()) },
            topic_id: wanted.id,
            is_internal: name.is_some_and(|n| INTERNAL_TOPICS.contains(&n)),
            topic_authorized_operations: if by_id || name.is_none() { i32::MIN } else { self.operations() },
            ..Default::default()
        }
    }

    fn operations(&self) -> i32 {
        if self.topic_operations { TOPIC_OPERATIONS } else { i32::MIN }
    }

    fn topic<'a>(&self, view: &View, topic: &'a Arc<Topic>) -> MetadataResponseTopic<'a> {
        MetadataResponseTopic {
            name: Some(&topic.name),
            topic_id: topic.id,
            is_internal: topics::is_internal(&topic.name),
            partitions: topic.partitions.iter().map(|(i, p)| partition(&view.image, *i, p)).collect(),
            topic_authorized_operations: self.operations(),
            ..Default::default()
        }
    }
}

fn partition(image: &Image, partition_index: i32, state: &Partition) -> MetadataResponsePartition {
    let led = image.cluster().is_active(state.leader);
    MetadataResponsePartition {
        error_code: if led { 0 } else { ErrorCode::LEADER_NOT_AVAILABLE.code() },
        partition_index,
        leader_id: if led { state.leader } else { -1 },
        leader_epoch: state.leader_epoch,
        replica_nodes: state.replicas.clone(),
        isr_nodes: state.isr.clone(),
        offline_replicas: offline(image, state),
    }
}

/// The replicas whose broker is not there.
pub fn offline(image: &Image, state: &Partition) -> Vec<i32> {
    state.replicas.iter().copied().filter(|r| !image.cluster().is_active(*r)).collect()
}

impl Wanted {
    fn found<'a>(&self, image: &'a Image) -> Option<&'a Arc<Topic>> {
        topics::find_topic(image, !self.id.is_zero(), self.name.as_deref().unwrap_or_default(), self.id)
    }
}

/// Topics are being created for a request.
struct Creating {
    metadata: Option<Metadata>,
}

impl Creating {
    fn answer(&mut self, cx: &mut Cx<'_>) -> Step {
        let answered = self.metadata.take().map(|metadata| metadata.answer(cx));
        Step::Finish(answered.unwrap_or(Outcome::Close("answered twice")))
    }
}

impl Waiting for Creating {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        if let Done::Body(Ok(body)) = &done
            && let Ok(created) = decode::<CreateTopicsResponse<'_>>(body, CREATE_VERSION)
            && let Some(metadata) = &mut self.metadata
        {
            for topic in created.topics {
                let code = match ErrorCode(topic.error_code) {
                    // Somebody else was faster; the next request will find it.
                    ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => ErrorCode::LEADER_NOT_AVAILABLE,
                    code => code,
                };
                metadata.refused.insert(topic.name.to_owned(), code);
            }
        }
        self.answer(cx)
    }

    fn expired(&mut self, cx: &mut Cx<'_>, _id: u64) -> Step {
        self.answer(cx)
    }
}
