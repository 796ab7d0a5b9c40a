//! Produce (key 0), versions 3 to 13: KIP-98 (idempotence), KIP-467 (record errors), KIP-951 (leader hints),
//! KIP-516 (topic ids from version 13).
//!
//! Batches are validated here, on the connection's core, and appended by their partitions' owners.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::TopicId;
use crate::base::limits::RECORDS_UNCOMPRESSED_BYTES_MAX;
use crate::config::{self, TopicConfig};
use crate::meta::image::Topic;
use crate::shard::{AppendDone, AppendPart, Done, Job, PartitionKey};
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::produce_request::ProduceRequest;
use crate::wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use crate::wire::record::{Accepted, Codec, Compression, Origin, TimestampType, ValidationRules, validate};

use super::cx::{ByOwner, Cx, Outcome, Parked, Request, Step, Waiting};
use super::{deadline, reply, topics};

/// One topic of the request, with the places of its partitions' outcomes.
struct TopicPlaces {
    name: String,
    id: TopicId,
    partitions: Vec<(i32, usize)>,
}

/// What became of one partition.
struct PartOutcome {
    done: AppendDone,
    record_errors: Vec<(i32, String)>,
}

struct Produce {
    version: i16,
    acks: i16,
    listener: u32,
    topics: Vec<TopicPlaces>,
    outcomes: Vec<Option<PartOutcome>>,
    /// The places of each part's items.
    parts: Vec<Vec<usize>>,
    outstanding: usize,
}

/// Serves a Produce request.
pub fn handle(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: ProduceRequest<'_> = decode_request(&request.body, version)?;
    let mut produce = Produce {
        version,
        acks: message.acks,
        listener: request.listener,
        topics: Vec::with_capacity(message.topic_data.len()),
        outcomes: Vec::new(),
        parts: Vec::new(),
        outstanding: 0,
    };
    let refusal = match message.acks {
        // Transactions are not built: InitProducerId refuses them, so a client that comes here is out of order.
        _ if message.transactional_id.is_some() => Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        -1..=1 => None,
        _ => Some(ErrorCode::INVALID_REQUIRED_ACKS),
    };
    // Only Kafka's own tools write to internal topics, and say so by this name (`KafkaApis.handleProduceRequest`).
    let internal_allowed = request.client_id.as_deref() == Some("__admin_client");
    let mut by_owner = ByOwner::default();
    for topic in &message.topic_data {
        let known = topics::find_topic(cx.image, version >= 13, topic.name, topic.topic_id).cloned();
        let mut places =
            TopicPlaces { name: topic.name.to_owned(), id: topic.topic_id, partitions: Vec::new() };
        for partition in &topic.partition_data {
            let place = produce.outcomes.len();
            places.partitions.push((partition.index, place));
            let checked = if let Some(code) = refusal {
                Err(PartOutcome::error(code, None))
            } else {
                let records = partition.records.map(|r| request.body.slice_ref(r));
                let known = known.as_ref();
                check(cx, version, message.acks, internal_allowed, known, partition.index, records)
            };
            match checked {
                Ok(part) => {
                    by_owner.push(part.key.owner(cx.shards), place, part);
                    produce.outcomes.push(None);
                }
                Err(outcome) => produce.outcomes.push(Some(outcome)),
            }
        }
        produce.topics.push(places);
    }
    produce.outstanding = by_owner.groups.len();
    if by_owner.groups.is_empty() {
        return Ok(produce.finish(cx));
    }
    let id = cx.open();
    let durable = message.acks != 0;
    for (part, (owner, places, parts)) in by_owner.groups.into_iter().enumerate() {
        produce.parts.push(places);
        cx.send(owner, id, part as u32, Job::Append { parts, durable });
    }
    Ok(Outcome::Parked(Parked { id, deadline: deadline(cx, message.timeout_ms), waiting: Box::new(produce) }))
}

/// Everything that can be checked without the partition's state.
fn check(
    cx: &mut Cx<'_>,
    version: i16,
    acks: i16,
    internal_allowed: bool,
    topic: Option<&Arc<Topic>>,
    index: i32,
    records: Option<Bytes>,
) -> Result<AppendPart, PartOutcome> {
    let Some(topic) = topic else {
        let code =
            if version >= 13 { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        return Err(PartOutcome::error(code, None));
    };
    if !topic.partitions.contains_key(&index) {
        return Err(PartOutcome::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None));
    }
    if topics::is_internal(&topic.name) && !internal_allowed {
        return Err(PartOutcome::error(ErrorCode::INVALID_TOPIC_EXCEPTION, None));
    }
    let topic_config = cx.topic_config(topic);
    let rules = ValidationRules {
        max_message_bytes: topic_config.max_message_bytes.max(0) as usize,
        timestamp_type: timestamp_type(&topic_config),
        timestamp_before_max_ms: topic_config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: topic_config.message_timestamp_after_max_ms,
        compacted: topic_config.cleanup_policy.compact,
        compression: compression(&topic_config),
        zstd_allowed: version >= 7,
        uncompressed_bytes_max: RECORDS_UNCOMPRESSED_BYTES_MAX,
        origin: Origin::Client,
        now_ms: cx.wall_ms,
    };
    let records = records.unwrap_or_default();
    let validated = validate(&records, &rules, cx.scratch).map_err(|e| PartOutcome {
        done: AppendDone::error(e.code(), (!e.record_issues().is_empty()).then(|| e.to_string())),
        record_errors: e.record_issues().iter().map(|i| (i.batch_index, i.message.clone())).collect(),
    })?;
    let (batches, timestamp) = match validated.accepted {
        Accepted::AsIs { batch_bytes, patches_timestamp } => {
            let timestamp = patches_timestamp.then_some((rules.timestamp_type, validated.max_timestamp));
            (records.slice(..batch_bytes), timestamp)
        }
        Accepted::Rewritten(bytes) => {
            let stamped = rules.timestamp_type == TimestampType::LogAppendTime;
            (Bytes::from(bytes), stamped.then_some((rules.timestamp_type, validated.max_timestamp)))
        }
    };
    Ok(AppendPart {
        key: PartitionKey { topic_id: topic.id, partition: index },
        batches,
        timestamp,
        min_insync: if acks == -1 { topic_config.min_insync_replicas } else { 0 },
    })
}

fn timestamp_type(config: &TopicConfig) -> TimestampType {
    match config.message_timestamp_type {
        config::TimestampType::CreateTime => TimestampType::CreateTime,
        config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
    }
}

/// The compression that the topic asks for; None for the producer's own.
fn compression(config: &TopicConfig) -> Option<Compression> {
    use config::CompressionType as T;
    match config.compression_type {
        T::Producer => None,
        T::Uncompressed => Some(Compression::of(Codec::None)),
        T::Gzip => Some(Compression::with_level(Codec::Gzip, config.compression_gzip_level)),
        T::Snappy => Some(Compression::of(Codec::Snappy)),
        T::Lz4 => Some(Compression::with_level(Codec::Lz4, config.compression_lz4_level)),
        T::Zstd => Some(Compression::with_level(Codec::Zstd, config.compression_zstd_level)),
    }
}

impl PartOutcome {
    fn error(code: ErrorCode, message: Option<String>) -> PartOutcome {
        PartOutcome { done: AppendDone::error(code, message), record_errors: Vec::new() }
    }
}

impl Waiting for Produce {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, part: u32, done: Done) -> Step {
        let Done::Append(outcomes) = done else { return Step::Wait };
        for (place, done) in self.parts[part as usize].iter().zip(outcomes) {
            self.outcomes[*place] = Some(PartOutcome { done, record_errors: Vec::new() });
        }
        self.outstanding -= 1;
        if self.outstanding > 0 { Step::Wait } else { Step::Finish(self.finish(cx)) }
    }

    fn expired(&mut self, cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish(self.finish(cx))
    }
}

impl Produce {
    /// Answers; what has not come by now has timed out.
    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        if self.acks == 0 {
            let failed = self.outcomes.iter().flatten().any(|o| o.done.error != ErrorCode::NONE);
            // The only way to tell a producer that asks for no answers (as Kafka does).
            return if failed { Outcome::Close("a Produce with acks=0 failed") } else { Outcome::Silent };
        }
        let mut response = ProduceResponse::default();
        let mut moved = false;
        for topic in &self.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, place) in &topic.partitions {
                let outcome = self.outcomes[*place].as_ref();
                moved |= outcome.is_some_and(|o| o.done.error == ErrorCode::NOT_LEADER_OR_FOLLOWER);
                partitions.push(partition_response(*index, outcome));
            }
            response.responses.push(TopicProduceResponse {
                name: &topic.name,
                topic_id: topic.id,
                partition_responses: partitions,
            });
        }
        if moved && self.version >= 10 {
            let endpoints = topics::endpoints(cx.image, cx.listener_name(self.listener));
            response.node_endpoints = endpoints
                .map(|(node_id, host, port, rack)| NodeEndpoint {
                    node_id,
                    host,
                    port: i32::from(port),
                    rack,
                })
                .collect();
            self.hint_leaders(cx, &mut response);
        }
        reply(&response, self.version)
    }

    /// KIP-951: who leads a partition that the client looked for here.
    fn hint_leaders<'a>(&'a self, cx: &Cx<'a>, response: &mut ProduceResponse<'a>) {
        for topic in &mut response.responses {
            let Some(known) = topics::find_topic(cx.image, self.version >= 13, topic.name, topic.topic_id)
            else {
                continue;
            };
            for partition in &mut topic.partition_responses {
                if partition.error_code != ErrorCode::NOT_LEADER_OR_FOLLOWER.code() {
                    continue;
                }
                if let Some(state) = known.partitions.get(&partition.index) {
                    partition.current_leader =
                        LeaderIdAndEpoch { leader_id: state.leader, leader_epoch: state.leader_epoch };
                }
            }
        }
    }
}

fn partition_response(index: i32, outcome: Option<&PartOutcome>) -> PartitionProduceResponse<'_> {
    let Some(outcome) = outcome else {
        return PartitionProduceResponse {
            index,
            error_code: ErrorCode::REQUEST_TIMED_OUT.code(),
            base_offset: -1,
            ..Default::default()
        };
    };
    let done = &outcome.done;
    PartitionProduceResponse {
        index,
        error_code: done.error.code(),
        base_offset: done.base_offset,
        log_append_time_ms: done.log_append_time_ms,
        log_start_offset: done.log_start_offset,
        record_errors: outcome
            .record_errors
            .iter()
            .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                batch_index: *batch_index,
                batch_index_error_message: Some(message),
            })
            .collect(),
        error_message: done.message.as_deref(),
        ..Default::default()
    }
}
