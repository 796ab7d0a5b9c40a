//! Produce (key 0), versions 3 to 13: KIP-98 (idempotence), KIP-467 (record errors), KIP-951 (leader hints),
//! KIP-516 (topic ids from version 13).
//!
//! Batches are validated here, on the connection's core, and appended by their partitions' owners.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::base::limits::{
    COMPRESSED_HERE_BYTES_MAX, INFLATED_HERE_BYTES_MAX, INFLATED_IN_TURN_BYTES_MAX,
    INFLATED_QUICKLY_BYTES_MAX, PARTITIONS_NAMED_FREE, POOL_KEPT_ITEMS, PRODUCE_PARTITIONS_COMPARED_MAX,
    RECORDS_UNCOMPRESSED_BYTES_MAX,
};
use crate::base::{ShardId, TopicId};
use crate::config::{self, TopicConfig};
use crate::meta::image::Topic;
use crate::shard::{AppendDone, AppendPart, Done, Job, PartitionKey};
use crate::wire::codec::{DecodeError, Element, Writer};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::ProduceRequest;
use crate::wire::messages::produce_request::PartitionProduceData;
use crate::wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
};
use crate::wire::produce::ProduceWalk;
use crate::wire::record::{
    Accepted, BatchHeader, Codec, Compression, Origin, RecordError, Scratch, TimestampType, Validated,
    ValidationError, ValidationRules, validate,
};
use crate::wire::topics::WalkedTopic;

use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting};
use super::pool::{Pools, Reuse};
use super::{REPLICAS_IN_TIME, named_max, topics};

/// A Produce request, from its walk to its response.
#[derive(Default)]
pub struct Produce {
    version: i16,
    acks: i16,
    listener: u32,
    topics: Vec<Asked>,
    /// Of all topics, in order.
    partitions: Vec<Partition>,
    /// What goes to each owner.
    by_owner: Vec<(ShardId, Vec<AppendPart>)>,
    outstanding: usize,
    inflate: Inflate,
}

/// What a Produce decompresses on its core, and what it leaves to a helper thread.
#[derive(Default)]
struct Inflate {
    /// Bytes that it may still make here.
    left: usize,
    /// Batches that are validated elsewhere.
    apart: Vec<Batch>,
    /// Dropped once nobody waits for them.
    wanted: Option<Arc<()>>,
}

/// A batch that is validated on a helper thread.
struct Batch {
    place: u32,
    key: PartitionKey,
    rules: ValidationRules,
    min_insync: i32,
    records: Bytes,
}

/// What a batch's validation gives.
struct Checked {
    place: u32,
    outcome: Result<AppendPart, AppendDone>,
    record_errors: RecordErrors,
}

/// One topic of the request.
struct Asked {
    topic: Named,
    id: TopicId,
    partitions: usize,
}

/// A topic's name for the response.
enum Named {
    Known(Arc<Topic>),
    Unknown(String),
}

/// One partition of the request; what has not come in time is None.
struct Partition {
    index: i32,
    done: Option<AppendDone>,
    record_errors: RecordErrors,
}

/// Records that were refused: their places in the batch, and why.
type RecordErrors = Vec<(i32, String)>;

/// What batches for a topic are held against.
struct Checks {
    /// The topic, or what to answer.
    topic: Result<(TopicId, ValidationRules), ErrorCode>,
    /// What to answer for a partition that there is.
    refusal: Option<ErrorCode>,
    min_insync: i32,
}

/// Serves a Produce request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    request.body.walk::<ProduceRequest<'_>, _>(request.api_version, |body| serve(cx, request, body))
}

fn serve(cx: &mut Cx<'_>, request: &Request<'_>, body: &Bytes) -> Result<Outcome, DecodeError> {
    let mut walk = ProduceWalk::new(body, request.api_version)?;
    walk.limit(named_max(cx.image));
    let mut produce = cx.pools.produces.take();
    produce.version = request.api_version;
    produce.acks = walk.acks;
    produce.listener = request.listener;
    produce.inflate.left = INFLATED_HERE_BYTES_MAX;
    let read = produce.read(cx, request, &mut walk);
    cx.pools.named += walk.named_count().saturating_sub(PARTITIONS_NAMED_FREE);
    read?;
    if !produce.inflate.apart.is_empty() {
        return Ok(produce.validate_apart(cx));
    }
    if produce.by_owner.is_empty() {
        let outcome = produce.finish(cx);
        cx.pools.produces.keep(produce);
        return Ok(outcome);
    }
    let id = cx.open();
    produce.append(cx, id);
    Ok(Outcome::Parked(Parked { id, deadline: REPLICAS_IN_TIME, waiting: produce }))
}

impl Produce {
    /// Sends what is validated to its owners.
    fn append(&mut self, cx: &mut Cx<'_>, id: u64) {
        let durable = self.acks != 0;
        self.outstanding = self.by_owner.len();
        for (part, (owner, parts)) in self.by_owner.drain(..).enumerate() {
            cx.send(owner, id, part as u32, Job::Append { parts, durable });
        }
    }

    /// Has a helper thread validate the batches that take long; nothing is appended before.
    fn validate_apart(mut self: Box<Self>, cx: &mut Cx<'_>) -> Outcome {
        let id = cx.open();
        let batches = std::mem::take(&mut self.inflate.apart);
        let wanted = Arc::downgrade(self.inflate.wanted.insert(Arc::default()));
        cx.compute(id, Box::new(move || Box::new(validate_quickly(batches, &wanted))));
        Outcome::Parked(Parked { id, deadline: REPLICAS_IN_TIME, waiting: self })
    }

    /// Batches were validated elsewhere.
    fn validated(&mut self, cx: &mut Cx<'_>, id: u64, (checked, long): AllChecked) -> Step {
        for batch in checked {
            self.partitions[batch.place as usize].record_errors = batch.record_errors;
            self.take_in(cx, batch.place, batch.outcome);
        }
        if let Some(wanted) = self.inflate.wanted.as_ref().filter(|_| !long.is_empty()) {
            let wanted = Arc::downgrade(wanted);
            cx.compute_long(id, Box::new(move || Box::new(validate_long(long, &wanted))));
            return Step::Wait;
        }
        self.inflate.wanted = None;
        if self.by_owner.is_empty() {
            return Step::Finish(self.finish(cx));
        }
        self.append(cx, id);
        Step::Wait
    }

    /// Reads the whole request and checks what can be checked without the partitions' state.
    fn read(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_>,
        walk: &mut ProduceWalk<'_>,
    ) -> Result<(), DecodeError> {
        let mut transactional = false;
        while let Some(topic) = walk.topic()? {
            let (known, checks) = Checks::of(cx, request, self.acks, topic);
            let first = self.partitions.len();
            while let Some(partition) = walk.partition()? {
                transactional |= partition.records.is_some_and(BatchHeader::is_transactional);
                let there = known.is_none_or(|known| known.has(partition.index));
                self.check(cx, &checks, &request.body, there, &partition);
            }
            let partitions = self.partitions.len() - first;
            // Kafka answers for partitions; a topic with none of them is not in its answer.
            if partitions == 0 {
                continue;
            }
            let named =
                known.map_or_else(|| Named::Unknown(topic.name.to_owned()), |t| Named::Known(t.clone()));
            self.topics.push(Asked { topic: named, id: topic.id, partitions });
        }
        // Kafka keeps one of the two batches and answers once, so that the other is lost and nobody is told.
        if self.names_a_partition_twice() {
            self.refuse(ErrorCode::INVALID_REQUEST);
            return Ok(());
        }
        // Transactions are not built and InitProducerId refuses them. A transactional id alone does no harm, as in Kafka.
        if transactional {
            self.refuse(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        } else if !(-1..=1).contains(&self.acks) {
            self.refuse(ErrorCode::INVALID_REQUIRED_ACKS);
        }
        Ok(())
    }

    /// Partitions that are named in ascending order, as clients do with those of one topic, are seen to be different on the
    /// way; a few others are compared with each other.
    fn names_a_partition_twice(&self) -> bool {
        let ascending = self.partitions.is_sorted_by(|a, b| a.index < b.index);
        if ascending && self.topics.len() <= 1 {
            return false;
        }
        let topics = self.topics.iter().flat_map(|topic| std::iter::repeat_n(topic.key(), topic.partitions));
        let mut named = topics.zip(self.partitions.iter().map(|partition| partition.index));
        if self.partitions.len() <= PRODUCE_PARTITIONS_COMPARED_MAX {
            return named
                .clone()
                .enumerate()
                .any(|(at, one)| named.clone().take(at).any(|other| other == one));
        }
        let mut seen = HashSet::with_capacity(self.partitions.len());
        !named.all(|one| seen.insert(one))
    }

    /// Nothing is appended.
    fn refuse(&mut self, code: ErrorCode) {
        self.by_owner.clear();
        self.inflate.apart.clear();
        for partition in &mut self.partitions {
            partition.done = Some(AppendDone::error(code, None));
            partition.record_errors.clear();
        }
    }

    /// Checks one partition's batch: it is sent to its owner, or has its outcome.
    fn check(
        &mut self,
        cx: &mut Cx<'_>,
        checks: &Checks,
        body: &Bytes,
        there: bool,
        data: &PartitionProduceData<'_>,
    ) {
        let place = self.partitions.len() as u32;
        let mut record_errors = RecordErrors::new();
        let outcome = checks.check(cx, body, there, data, &mut self.inflate, &mut record_errors);
        self.partitions.push(Partition { index: data.index, done: None, record_errors });
        match outcome {
            Some(outcome) => self.take_in(cx, place, outcome),
            None => self.inflate.apart.extend(checks.apart(place, body, data)),
        }
    }

    /// A partition's batch goes to its owner, or has its outcome.
    fn take_in(&mut self, cx: &mut Cx<'_>, place: u32, outcome: Result<AppendPart, AppendDone>) {
        match outcome {
            Ok(mut part) => {
                part.place = place;
                self.owners_parts(cx, part.key.owner(cx.shards)).push(part);
            }
            Err(done) => self.partitions[place as usize].done = Some(done),
        }
    }

    fn owners_parts(&mut self, cx: &mut Cx<'_>, owner: ShardId) -> &mut Vec<AppendPart> {
        let known = self.by_owner.iter().position(|(shard, _)| *shard == owner);
        let at = known.unwrap_or_else(|| {
            self.by_owner.push((owner, cx.pools.append_parts.take()));
            self.by_owner.len() - 1
        });
        &mut self.by_owner[at].1
    }
}

impl Checks {
    fn of<'a>(
        cx: &mut Cx<'a>,
        request: &Request<'_>,
        acks: i16,
        topic: WalkedTopic<'_>,
    ) -> (Option<&'a Arc<Topic>>, Checks) {
        let by_id = request.api_version >= 13;
        let image = cx.image;
        let Some(known) = topics::find_topic(image, by_id, topic.name, topic.id) else {
            let unknown =
                if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            return (None, Checks { topic: Err(unknown), refusal: None, min_insync: 0 });
        };
        // Only Kafka's own tools write to internal topics, and say so by this name (`KafkaApis.handleProduceRequest`).
        let internal = topics::is_internal(&known.name) && request.client_id != Some("__admin_client");
        let now_ms = cx.wall_ms;
        let config = cx.topic_config(known);
        let checks = Checks {
            topic: Ok((known.id, rules(config, request.api_version, now_ms))),
            refusal: internal.then_some(ErrorCode::INVALID_TOPIC_EXCEPTION),
            min_insync: if acks == -1 { config.min_insync_replicas } else { 0 },
        };
        (Some(known), checks)
    }

    /// What goes to the partition's owner, or the partition's outcome; None if a helper thread has to find out.
    fn check(
        &self,
        cx: &mut Cx<'_>,
        body: &Bytes,
        there: bool,
        data: &PartitionProduceData<'_>,
        inflate: &mut Inflate,
        record_errors: &mut RecordErrors,
    ) -> Option<Result<AppendPart, AppendDone>> {
        let (topic_id, rules) = match &self.topic {
            Ok(known) => known,
            Err(code) => return Some(Err(AppendDone::error(*code, None))),
        };
        if !there {
            return Some(Err(AppendDone::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None)));
        }
        if let Some(code) = self.refusal {
            return Some(Err(AppendDone::error(code, None)));
        }
        let key = PartitionKey { topic_id: *topic_id, partition: data.index };
        let records = data.records.unwrap_or_default();
        if rules.compression.is_some() && records.len() > COMPRESSED_HERE_BYTES_MAX {
            return None;
        }
        let (before, left_in_turn) =
            (cx.scratch.made(), INFLATED_IN_TURN_BYTES_MAX.saturating_sub(cx.scratch.made()));
        let here = ValidationRules {
            uncompressed_bytes_max: inflate.left.min(left_in_turn),
            recompressed_bytes_max: COMPRESSED_HERE_BYTES_MAX,
            ..*rules
        };
        let validated = validate(records, &here, cx.scratch);
        // One that fails took as much as it was allowed, so that what follows it is done elsewhere as well.
        inflate.left = inflate.left.saturating_sub(cx.scratch.made() - before);
        match validated {
            // Within what a batch may have, for all that is known here.
            Err(ValidationError::Batch(RecordError::Uncompressed { .. })) => None,
            Err(error) => Some(refused(key, &error, record_errors)),
            Ok(validated) => Some(Ok(accepted(key, rules, self.min_insync, validated, |bytes| {
                body.slice_ref(records.get(..bytes).unwrap_or_default())
            }))),
        }
    }

    /// What a helper thread needs to know of a batch.
    fn apart(&self, place: u32, body: &Bytes, data: &PartitionProduceData<'_>) -> Option<Batch> {
        let (topic_id, rules) = self.topic.as_ref().ok()?;
        let key = PartitionKey { topic_id: *topic_id, partition: data.index };
        let records = body.slice_ref(data.records.unwrap_or_default());
        Some(Batch { place, key, rules: *rules, min_insync: self.min_insync, records })
    }
}

/// What came of batches that are validated elsewhere, and those that take long.
type AllChecked = (Vec<Checked>, Vec<Batch>);

/// Validates batches, on whatever thread, while somebody waits for them; those that take long are left.
fn validate_quickly(batches: Vec<Batch>, wanted: &Weak<()>) -> AllChecked {
    let (mut scratch, mut left) = (Scratch::new(), INFLATED_QUICKLY_BYTES_MAX);
    let (mut checked, mut long) = (Vec::with_capacity(batches.len()), Vec::new());
    for batch in batches.into_iter().take_while(|_| wanted.strong_count() > 0) {
        let rules = ValidationRules {
            uncompressed_bytes_max: left,
            recompressed_bytes_max: left.min(INFLATED_HERE_BYTES_MAX),
            ..batch.rules
        };
        let before = scratch.made();
        let validated = validate(&batch.records, &rules, &mut scratch);
        let bytes = validated.as_ref().map_or(0, |validated| validated.uncompressed_bytes);
        left = left.saturating_sub(bytes.max(scratch.made() - before));
        match validated {
            Err(ValidationError::Batch(RecordError::Uncompressed { .. })) => long.push(batch),
            validated => checked.push(batch.checked(validated)),
        }
    }
    (checked, long)
}

/// Validates one of the batches that take long.
fn validate_long(mut batches: Vec<Batch>, wanted: &Weak<()>) -> AllChecked {
    let batch = batches.pop().filter(|_| wanted.strong_count() > 0);
    let checked = batch.map(|batch| {
        let validated = validate(&batch.records, &batch.rules, &mut Scratch::new());
        batch.checked(validated)
    });
    (checked.into_iter().collect(), batches)
}

impl Batch {
    fn checked(self, validated: Result<Validated, ValidationError>) -> Checked {
        let Batch { place, key, rules, min_insync, records } = self;
        let mut record_errors = RecordErrors::new();
        let outcome = match validated {
            Ok(validated) => Ok(accepted(key, &rules, min_insync, validated, |bytes| {
                records.slice(..bytes.min(records.len()))
            })),
            Err(error) => refused(key, &error, &mut record_errors),
        };
        Checked { place, outcome, record_errors }
    }
}

/// What goes to the owner of a partition whose batch has passed; `as_is` gives the first bytes of what came.
fn accepted(
    key: PartitionKey,
    rules: &ValidationRules,
    min_insync: i32,
    validated: Validated,
    as_is: impl FnOnce(usize) -> Bytes,
) -> AppendPart {
    let (batches, stamped) = match validated.accepted {
        Accepted::AsIs { batch_bytes, patches_timestamp } => (as_is(batch_bytes), patches_timestamp),
        Accepted::Rewritten(bytes) => {
            (Bytes::from(bytes), rules.timestamp_type == TimestampType::LogAppendTime)
        }
    };
    let timestamp = stamped.then_some((rules.timestamp_type, validated.max_timestamp));
    AppendPart { batches, timestamp, min_insync, ..AppendPart::new(key) }
}

fn rules(config: &TopicConfig, version: i16, now_ms: i64) -> ValidationRules {
    ValidationRules {
        max_message_bytes: config.max_message_bytes.max(0) as usize,
        timestamp_type: timestamp_type(config),
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        compacted: config.cleanup_policy.compact,
        compression: compression(config),
        zstd_allowed: version >= 7,
        uncompressed_bytes_max: RECORDS_UNCOMPRESSED_BYTES_MAX,
        recompressed_bytes_max: usize::MAX,
        origin: Origin::Client,
        now_ms,
    }
}

/// What a batch that did not pass becomes. As in Kafka, a header that cannot be one is answered with words, what is wrong
/// with the request, damage and size without, and what breaks the topic's rules with the log's start, which its owner
/// fills in.
#[cold]
fn refused(
    key: PartitionKey,
    error: &ValidationError,
    record_errors: &mut RecordErrors,
) -> Result<AppendPart, AppendDone> {
    use ValidationError as E;
    let code = error.code();
    match error {
        E::Batch(RecordError::Magic(_) | RecordError::BatchLength(_)) => {
            Err(AppendDone::error(code, Some(error.to_string())))
        }
        E::NoBatch
        | E::MoreThanOneBatch
        | E::OldFormat(_)
        | E::ZstdNotAllowed
        | E::TooLarge { .. }
        | E::Batch(RecordError::Crc { .. } | RecordError::Truncated { .. }) => {
            Err(AppendDone::error(code, None))
        }
        _ => {
            record_errors.extend(error.record_issues().iter().map(|i| (i.batch_index, i.message.clone())));
            let message = (!record_errors.is_empty()).then(|| error.to_string());
            Ok(AppendPart { done: AppendDone::error(code, message), ..AppendPart::new(key) })
        }
    }
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

impl Waiting for Produce {
    fn done(&mut self, cx: &mut Cx<'_>, id: u64, _part: u32, done: Done) -> Step {
        let mut parts = match done {
            Done::Append(parts) => parts,
            Done::Computed(checked) => {
                let checked = checked.downcast::<AllChecked>();
                return checked.map_or(Step::Wait, |checked| self.validated(cx, id, *checked));
            }
            _ => return Step::Finish(Outcome::Close("batches could not be validated")),
        };
        for part in parts.drain(..) {
            self.partitions[part.place as usize].done = Some(part.done);
        }
        cx.pools.append_parts.keep(parts);
        self.outstanding -= 1;
        if self.outstanding > 0 { Step::Wait } else { Step::Finish(self.finish(cx)) }
    }

    fn is_heavy(&self) -> bool {
        self.inflate.wanted.is_some()
    }

    fn recycle(self: Box<Self>, pools: &mut Pools) {
        pools.produces.keep(self);
    }
}

impl Reuse for Produce {
    fn renew(&mut self) -> bool {
        self.topics.clear();
        self.partitions.clear();
        self.by_owner.clear();
        self.inflate.apart.clear();
        self.inflate.wanted = None;
        self.topics.capacity().max(self.partitions.capacity()) <= POOL_KEPT_ITEMS
    }
}

impl Produce {
    /// Answers.
    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        if self.acks == 0 {
            let failed =
                self.partitions.iter().filter_map(|p| p.done.as_ref()).any(|d| d.error != ErrorCode::NONE);
            // The only way to tell a producer that asks for no answers (as Kafka does).
            return if failed { Outcome::Close("a Produce with acks=0 failed") } else { Outcome::Silent };
        }
        let mut reply = cx.begin_reply();
        self.write(cx, &mut reply.writer);
        reply.finish()
    }

    /// Writes a `ProduceResponse`.
    fn write(&self, cx: &Cx<'_>, w: &mut Writer) {
        let version = self.version;
        let flex = version >= 9;
        let mut partitions = self.partitions.iter();
        let mut moved = false;
        w.count(flex, self.topics.len());
        for topic in &self.topics {
            if version >= 13 {
                w.uuid(topic.id);
            } else {
                w.string(flex, topic.name());
            }
            w.count(flex, topic.partitions);
            for partition in partitions.by_ref().take(topic.partitions) {
                let mut response = partition.response();
                // KIP-951: who leads a partition that the client looked for here.
                if partition.has_moved() && version >= 10 {
                    moved = true;
                    response.current_leader = topic.leader(cx, version, partition.index);
                }
                response.put(w, version);
            }
            if flex {
                w.tags();
            }
        }
        w.i32(0); // throttle time
        if flex {
            let tags = w.tags();
            let endpoints: Vec<NodeEndpoint<'_>> =
                if moved { endpoints(cx, self.listener) } else { Vec::new() };
            if !endpoints.is_empty() {
                w.tag(tags, 0, |w| w.array(true, &endpoints, version));
            }
        }
    }
}

fn endpoints<'a>(cx: &'a Cx<'_>, listener: u32) -> Vec<NodeEndpoint<'a>> {
    let all = topics::endpoints(cx.image, cx.listener_name(listener));
    all.map(|(node_id, host, port, rack)| NodeEndpoint { node_id, host, port: port.into(), rack }).collect()
}

impl Asked {
    /// What tells it from other topics, by whatever it is named.
    fn key(&self) -> (TopicId, &str) {
        match &self.topic {
            Named::Known(topic) => (topic.id, ""),
            Named::Unknown(name) => (self.id, name),
        }
    }

    fn name(&self) -> &str {
        match &self.topic {
            Named::Known(topic) => &topic.name,
            Named::Unknown(name) => name,
        }
    }

    fn leader(&self, cx: &Cx<'_>, version: i16, index: i32) -> LeaderIdAndEpoch {
        let topic = topics::find_topic(cx.image, version >= 13, self.name(), self.id);
        topic.and_then(|t| t.partitions.get(&index)).map_or_else(LeaderIdAndEpoch::default, |state| {
            LeaderIdAndEpoch { leader_id: state.leader, leader_epoch: state.leader_epoch }
        })
    }
}

impl Partition {
    fn has_moved(&self) -> bool {
        self.done.as_ref().is_some_and(|done| done.error == ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    fn response(&self) -> PartitionProduceResponse<'_> {
        let Some(done) = &self.done else {
            return PartitionProduceResponse {
                index: self.index,
                error_code: ErrorCode::REQUEST_TIMED_OUT.code(),
                base_offset: -1,
                ..Default::default()
            };
        };
        PartitionProduceResponse {
            index: self.index,
            error_code: done.error.code(),
            base_offset: done.base_offset,
            log_append_time_ms: done.log_append_time_ms,
            log_start_offset: done.log_start_offset,
            record_errors: self
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
}
