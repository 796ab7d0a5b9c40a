//! The controller and the metadata log, on core 0: requests become records, records become durable, and only then
//! replies leave and the new image goes to every core.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::limits::REQUEST_SMALL_BYTES_MAX;
use crate::base::prng::Prng;
use crate::base::{Offset, ShardId, TopicId, Uuid, WallMs};
use crate::config::BrokerConfig;
use crate::io::repeats::limited;
use crate::io::{Disk, DiskOutcome, FileJob, FileJobOutcome, Files, remedy};
use crate::log::{AppendError, AppendInfo, AppendOrigin, Env, LogEffect, LogError, Partition};
use crate::meta::controller::{
    AlterConfigsReply, ApiError, BrokerRegistration, Context, Controller, CreatePartitionsReply,
    CreateTopicsReply, Decision, DeleteTopicsReply,
};
use crate::meta::image::Loader;
use crate::meta::record::MetadataRecord;
use crate::raft::{Effect, Input, Raft, SnapshotPolicy};
use crate::wire::api::ApiKey;
use crate::wire::codec::{Message, encode};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use crate::wire::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use crate::wire::messages::create_topics_request::CreateTopicsRequest;
use crate::wire::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use crate::wire::messages::delete_topics_request::DeleteTopicsRequest;
use crate::wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use super::changes::Changes;
use super::lifecycle::not_closed;
use super::metadata_end::MetadataEnd;
use super::tokens::{CoreTag, Place, of_core};
use super::{ControlJob, Done, Mail, ReplyTo, Shard};

/// The place of the metadata log among core 0's tokens.
pub const SLOT: u32 = Place::Core as u32;
/// Kafka's name for the file with this node's vote.
pub const QUORUM_STATE_FILE: &str = "quorum-state";

/// What a request is told while the metadata log takes no records.
const NO_ROOM: &str =
    "The metadata log takes no records: its disk has failed, or lacks space; see the broker's log.";

/// A reply that waits until everything it reveals is durable.
struct Pending {
    end_offset: Offset,
    reply_to: ReplyTo,
    body: Vec<u8>,
}

/// Records that are in the log and not committed.
struct Uncommitted {
    offset: Offset,
    record: MetadataRecord,
}

/// Requests that wait for the decision on another. Decisions are made one after the other: each sees what the ones before
/// have changed.
#[derive(Default)]
struct Queue {
    /// Whose decision a helper thread makes.
    deciding: Option<ReplyTo>,
    waiting: VecDeque<(ReplyTo, ControlJob)>,
}

/// What a request leads to: records, and the response body for when they are committed.
type Decided = Result<Decision<Vec<u8>>, ErrorCode>;

/// What a decision is made from, beside the state.
struct Facts {
    config: Arc<BrokerConfig>,
    random: Prng,
    ids: Prng,
}

/// The controller of this node.
pub struct ControllerHost {
    pub(super) controller: Controller,
    pub(super) loader: Loader,
    pub(super) raft: Raft,
    pub(super) policy: SnapshotPolicy,
    registration: BrokerRegistration,
    pub(super) log: Box<Partition>,
    pub(super) dir: PathBuf,
    uncommitted: VecDeque<Uncommitted>,
    pending: VecDeque<Pending>,
    queue: Queue,
    random: Prng,
    pub(super) snapshot_in_flight: bool,
    /// Says outside of the log how far it is committed.
    end: Option<MetadataEnd>,
    failed: Option<String>,
    /// Why it has taken none for a while, and is tried again.
    lacking: Option<String>,
}

impl ControllerHost {
    /// A controller that is about to lead: everything in `log` has been replayed to `controller` and `raft`.
    pub fn new(
        controller: Controller,
        raft: Raft,
        policy: SnapshotPolicy,
        registration: BrokerRegistration,
        log: Box<Partition>,
        seed: u64,
    ) -> ControllerHost {
        ControllerHost {
            loader: Loader::new(controller.image().clone()),
            controller,
            raft,
            policy,
            registration,
            dir: log.dir().to_path_buf(),
            log,
            uncommitted: VecDeque::new(),
            pending: VecDeque::new(),
            queue: Queue::default(),
            random: Prng::new(seed),
            snapshot_in_flight: false,
            end: None,
            failed: None,
            lacking: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        let decided = self.queue.deciding.is_none() && self.queue.waiting.is_empty();
        decided && self.pending.is_empty() && !self.snapshot_in_flight && self.log.is_idle()
    }

    fn end_offset(&self) -> Offset {
        self.log.log_end_offset()
    }

    /// Appends the records of a decision as one batch, and replays them at once: the next decision sees them.
    fn propose(&mut self, env: &mut Env<'_>, records: Vec<MetadataRecord>) -> Result<(), ErrorCode> {
        if self.failed.is_some() {
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        if records.is_empty() {
            return Ok(());
        }
        // Before the quorum knows of them.
        if self.log.check_room().is_err() {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let base = self.end_offset();
        let bug = |error: &dyn std::fmt::Display| {
            limited!(error, "metadata records could not be written", %error, "metadata records could not be written: please report this");
            ErrorCode::UNKNOWN_SERVER_ERROR
        };
        let version = self.controller.metadata_version();
        let values: Result<Vec<Vec<u8>>, _> = records.iter().map(|r| r.encode(version)).collect();
        let values = values.map_err(|e| bug(&e))?;
        let mut effects = Vec::new();
        self.raft
            .step(env.disk.now(), env.disk.wall_ms(), Input::Propose(&values), &mut effects)
            .map_err(|e| bug(&e))?;
        self.append(env, effects)?;
        let epoch = self.raft.epoch();
        for (i, record) in records.into_iter().enumerate() {
            let offset = base + i as Offset;
            if let Err(error) = self.controller.replay(offset, epoch, &record) {
                tracing::error!(%error, "a metadata record of ours does not apply: please report this");
                self.failed = Some(error.to_string());
                return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
            }
            self.uncommitted.push_back(Uncommitted { offset, record });
        }
        Ok(())
    }

    /// Why a start ends whose first records were refused.
    fn refused(&self, code: ErrorCode) -> String {
        let waits = || match self.log.check_room() {
            Err(AppendError::Log(error)) => Some(with_remedy(&error)),
            _ => None,
        };
        let why = self.failed.clone().or_else(|| self.lacking.clone()).or_else(waits);
        let why = why.unwrap_or_else(|| code.to_string());
        format!("the metadata log refused its first records: {why}")
    }

    /// What the next decision is made from.
    fn facts(&mut self, config: Arc<BrokerConfig>) -> Facts {
        Facts { config, random: Prng::new(self.random.next_u64()), ids: Prng::new(self.random.next_u64()) }
    }

    /// Proposes what was decided; the body counts once that is committed.
    fn carry_out(
        &mut self,
        env: &mut Env<'_>,
        job: &ControlJob,
        decided: Decided,
    ) -> Result<Vec<u8>, ErrorCode> {
        let Decision { records, reply } = decided?;
        self.propose(env, records).map_or_else(|code| refused(job, code), |()| Ok(reply))
    }

    /// Decides here and now.
    fn decide(&self, facts: Facts, job: &ControlJob, now_ms: WallMs) -> Decided {
        if job.api_key == ApiKey::DescribeQuorum {
            let version = job.api_version;
            return body(&self.raft.describe(&read(job)?, version, now_ms), version).map(Decision::reply);
        }
        decide(&self.controller, facts, job, self.log.put_off_by().is_none())
    }

    /// Appends what the quorum says.
    fn append(&mut self, env: &mut Env<'_>, effects: Vec<Effect>) -> Result<(), ErrorCode> {
        for effect in effects {
            let Effect::Append { bytes, .. } = effect else { continue };
            let info = AppendInfo {
                origin: AppendOrigin::RaftLeader,
                leader_epoch: self.raft.epoch(),
                now_ms: env.disk.wall_ms(),
                timestamp: None,
                transaction_version: 0,
            };
            self.policy.committed(bytes.len());
            self.log.append(env, &bytes, info).map_err(|error| {
                tracing::error!(%error, "the metadata log takes no records");
                self.failed.get_or_insert_with(|| match &error {
                    AppendError::Log(error) => with_remedy(error),
                    other => other.to_string(),
                });
                ErrorCode::KAFKA_STORAGE_ERROR
            })?;
        }
        Ok(())
    }

    /// Everything below `durable` is on the device: what is committed by that is applied.
    fn commit(&mut self, disk: &mut dyn Disk, durable: Offset) {
        let mut effects = Vec::new();
        let durable = Input::Durable(durable);
        if let Err(error) = self.raft.step(disk.now(), disk.wall_ms(), durable, &mut effects) {
            limited!(error, "the quorum refused what is durable", %error, "the quorum refused what is durable: please report this");
            return;
        }
        for effect in effects {
            if let Effect::Committed { high_watermark } = effect {
                if let Some(end) = &self.end {
                    end.note(disk, high_watermark);
                }
                self.apply(high_watermark);
            }
        }
    }

    fn apply(&mut self, end: Offset) {
        let mut changes = Changes::default();
        while self.uncommitted.front().is_some_and(|u| u.offset < end) {
            let Some(done) = self.uncommitted.pop_front() else { break };
            changes.add(self.loader.image(), &done.record);
            if let Err(error) = self.loader.replay(done.offset, self.raft.epoch(), &done.record) {
                tracing::error!(%error, "a committed metadata record does not apply: please report this");
            }
        }
        for line in changes.into_lines() {
            tracing::info!("{line}");
        }
        // Control batches hold no metadata, but the image has seen them too.
        if self.loader.image().offset() < end - 1 {
            self.loader.advance(end - 1, self.raft.epoch());
        }
    }
}

impl Shard {
    /// Gives this shard the controller.
    pub fn host_controller(&mut self, host: ControllerHost) {
        self.controller = Some(Box::new(host));
    }

    /// A request for the controller.
    pub(super) fn control(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, job: ControlJob) {
        let Some(host) = self.controller.as_mut() else {
            return self.answer(reply_to, Done::Body(Err(ErrorCode::NOT_CONTROLLER)));
        };
        host.queue.waiting.push_back((reply_to, job));
        self.decide_next(disk);
    }

    /// Decides on what waits, as far as nobody else decides. Long requests are decided on by a helper thread, on a copy of
    /// the state, which does not change meanwhile.
    fn decide_next(&mut self, disk: &mut dyn Disk) {
        while let Some(host) = self.controller.as_mut() {
            if host.queue.deciding.is_some() {
                return;
            }
            let Some((reply_to, job)) = host.queue.waiting.pop_front() else { return };
            let facts = host.facts(self.effective.broker().clone());
            if job.body.len() <= REQUEST_SMALL_BYTES_MAX {
                let decided = host.decide(facts, &job, disk.wall_ms());
                self.decided(disk, reply_to, &job, decided);
                continue;
            }
            host.queue.deciding = Some(reply_to);
            let (controller, room) = (host.controller.clone(), host.log.put_off_by().is_none());
            let work = move |_: &dyn Files| -> io::Result<Box<dyn Any + Send>> {
                let decided = decide(&controller, facts, &job, room);
                Ok(Box::new((job, decided)))
            };
            disk.compute(FileJob::Run(Box::new(work)), of_core(CoreTag::Decided));
        }
    }

    /// A helper thread has decided.
    fn decided_apart(&mut self, disk: &mut dyn Disk, outcome: DiskOutcome) {
        let deciding = self.controller.as_mut().and_then(|host| host.queue.deciding.take());
        let Some(reply_to) = deciding else { return };
        let ran = match outcome {
            DiskOutcome::Job(Ok(FileJobOutcome::Ran(ran))) => ran.downcast::<(ControlJob, Decided)>().ok(),
            _ => None,
        };
        match ran {
            Some(ran) => self.decided(disk, reply_to, &ran.0, ran.1),
            None => self.answer(reply_to, Done::Body(Err(ErrorCode::UNKNOWN_SERVER_ERROR))),
        }
        self.decide_next(disk);
    }

    /// Proposes what was decided, and gives the reply for when that is durable.
    fn decided(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, job: &ControlJob, decided: Decided) {
        let Some(host) = self.controller.as_mut() else { return };
        let mut effects = Vec::new();
        let env = &mut Env { disk, cache: &mut self.cache, journal: None };
        match host.carry_out(env, job, decided) {
            Ok(body) => {
                let end_offset = host.end_offset();
                host.pending.push_back(Pending { end_offset, reply_to, body });
                host.log.sync_now(env, &mut effects);
            }
            Err(code) => self.answer(reply_to, Done::Body(Err(code))),
        }
        self.controller_effects(disk, effects);
        self.release_replies();
    }

    pub(super) fn controller_on_disk(&mut self, disk: &mut dyn Disk, tag: u32, outcome: DiskOutcome) {
        if tag == CoreTag::Snapshot as u32 {
            return self.snapshot_written(disk, outcome);
        }
        if tag == CoreTag::Decided as u32 {
            return self.decided_apart(disk, outcome);
        }
        let Some(host) = self.controller.as_mut() else { return };
        let mut effects = Vec::new();
        host.log.on_disk(
            &mut Env { disk, cache: &mut self.cache, journal: None },
            tag,
            outcome,
            &mut effects,
        );
        self.controller_effects(disk, effects);
        self.release_replies();
    }

    pub(super) fn controller_effects(&mut self, disk: &mut dyn Disk, effects: Vec<LogEffect>) {
        for effect in effects {
            match effect {
                LogEffect::Flushed { upto } => {
                    let Some(host) = self.controller.as_mut() else { return };
                    host.commit(disk, upto);
                    if let Some((image, delta)) = host.loader.publish() {
                        self.publish(&image, delta);
                    }
                    self.snapshot_if_due(disk);
                }
                LogEffect::Failed { error } => {
                    tracing::error!(%error, "the metadata log failed: no topic or configuration can be changed until a restart");
                    self.fail_controller(with_remedy(&error));
                }
                LogEffect::PutOff { error, retry_at, give_up } => {
                    self.put_off(disk, SLOT, &error, retry_at, give_up);
                }
                LogEffect::Resumed => {
                    self.resumed(disk, SLOT);
                    if let Some(host) = self.controller.as_mut() {
                        host.lacking = None;
                    }
                }
                LogEffect::Warning(text) => {
                    limited!(warn, "a warning of the metadata log", by "", of text, "{text}");
                }
                LogEffect::Damage(text) => tracing::warn!("the metadata log: {text}"),
                _ => {}
            }
        }
    }

    /// Why the metadata log takes no records, if it does not, or has not for a while.
    pub fn controller_failure(&self) -> Option<&str> {
        let host = self.controller.as_ref()?;
        host.failed.as_deref().or(host.lacking.as_deref())
    }

    fn fail_controller(&mut self, why: String) {
        if let Some(host) = self.controller.as_mut() {
            host.failed = Some(why);
        }
        self.refuse_pending();
    }

    /// Whoever waits for a change is told that it cannot be written yet.
    pub(super) fn controller_gives_up(&mut self, error: &LogError) {
        if let Some(host) = self.controller.as_mut() {
            host.lacking = Some(with_remedy(error));
        }
        self.refuse_pending();
    }

    fn refuse_pending(&mut self) {
        let Some(host) = self.controller.as_mut() else { return };
        let pending = std::mem::take(&mut host.pending);
        for p in pending {
            self.answer(p.reply_to, Done::Body(Err(ErrorCode::KAFKA_STORAGE_ERROR)));
        }
    }

    /// Sends the new image everywhere, this core included. Mail keeps its order, so a reply that follows is never
    /// ahead of the image that it speaks of.
    fn publish(&mut self, image: &Arc<crate::meta::image::Image>, delta: crate::meta::image::Delta) {
        let delta = Arc::new(delta);
        for shard in 0..self.shards {
            self.outbox.push((ShardId(shard as u16), Mail::Metadata(image.clone(), delta.clone())));
        }
    }

    fn release_replies(&mut self) {
        let Some(host) = self.controller.as_mut() else { return };
        let durable = host.loader.image().offset() + 1;
        let mut ready = Vec::new();
        while host.pending.front().is_some_and(|p| p.end_offset <= durable) {
            let Some(p) = host.pending.pop_front() else { break };
            ready.push((p.reply_to, p.body));
        }
        for (reply_to, body) in ready {
            self.answer(reply_to, Done::Body(Ok(body)));
        }
    }

    /// Begins to lead: a new epoch, the first records of a new cluster, and this broker's registration. Blocks for the
    /// vote; the rest goes on in the loop, and ends with an image in which this broker is not fenced.
    ///
    /// # Errors
    /// In words, if the quorum or the log refuses.
    pub fn start_controller(&mut self, disk: &mut dyn Disk, files: &dyn Files) -> Result<(), String> {
        let Some(mut host) = self.controller.take() else { return Ok(()) };
        let started = self.lead(disk, files, &mut host);
        let mut effects = Vec::new();
        host.log.sync_now(&mut Env { disk, cache: &mut self.cache, journal: None }, &mut effects);
        self.controller = Some(host);
        self.controller_effects(disk, effects);
        started
    }

    fn lead(
        &mut self,
        disk: &mut dyn Disk,
        files: &dyn Files,
        host: &mut ControllerHost,
    ) -> Result<(), String> {
        let home = host.dir.parent().unwrap_or(Path::new("."));
        host.end = Some(MetadataEnd::open(files, home, host.loader.image().cluster_id()));
        let mut effects = Vec::new();
        let (now, now_ms) = (disk.now(), disk.wall_ms());
        host.raft.step(now, now_ms, Input::Start, &mut effects).map_err(|e| e.to_string())?;
        for effect in &effects {
            if let Effect::PersistQuorumState(text) = effect {
                let path = host.dir.join(QUORUM_STATE_FILE);
                files
                    .write_atomic(&path, text.as_bytes())
                    .map_err(|e| format!("cannot write {}: {e}{}", path.display(), remedy(&e)))?;
            }
        }
        let env = &mut Env { disk, cache: &mut self.cache, journal: None };
        host.append(env, effects).map_err(|code| host.refused(code))?;
        let end = host.end_offset();
        host.controller.advance(end - 1, host.raft.epoch());

        let config = self.effective.broker().clone();
        let mut random = host.random.clone();
        let mut new_topic_id = || Uuid::ZERO;
        let context = Context { config: &config, random: &mut random, new_topic_id: &mut new_topic_id };
        let min_insync = config.topic_defaults.min_insync_replicas;
        let node_id = config.node_id;
        let bootstrap = crate::meta::controller::bootstrap_records();
        let activated = host.controller.activate(&bootstrap, min_insync);
        host.propose(env, activated.records).map_err(|code| host.refused(code))?;
        let words = |e: ApiError| e.message.unwrap_or_else(|| ErrorCode(e.code).to_string());
        let next = host.end_offset();
        let registered =
            host.controller.register_broker(&context, &host.registration, next).map_err(words)?;
        host.propose(env, registered.records).map_err(|code| host.refused(code))?;
        let unfenced = host.controller.unfence_broker(&context, node_id).map_err(words)?;
        host.propose(env, unfenced.records).map_err(|code| host.refused(code))?;
        let recovered = host.controller.partitions_recovered(node_id);
        host.propose(env, recovered.records).map_err(|code| host.refused(code))
    }

    pub(super) fn expire_controller(&mut self, disk: &mut dyn Disk) {
        self.snapshot_if_due(disk);
    }

    /// First half of closing the metadata log. Whether there was anything to write; None if that failed.
    pub(super) fn close_controller_begin(&mut self, files: &dyn Files) -> Option<bool> {
        let Some(host) = self.controller.as_mut() else { return Some(false) };
        host.log.close_begin(files).map_err(|error| not_closed("__cluster_metadata-0", &error)).ok()
    }

    /// Second half, after a flush; whether it was clean.
    pub(super) fn close_controller_end(&mut self, files: &dyn Files) -> bool {
        let Some(host) = self.controller.as_mut() else { return true };
        host.log.close_end(files).map_or_else(|error| not_closed("__cluster_metadata-0", &error), |()| true)
    }
}

/// Decides on a request. Where there is no `room`, no space to be reserved ahead, what is left is for what frees some.
fn decide(controller: &Controller, facts: Facts, job: &ControlJob, room: bool) -> Decided {
    let Facts { config, mut random, mut ids } = facts;
    let version = job.api_version;
    let mut new_topic_id = || random_uuid(&mut ids);
    let mut context = Context { config: &config, random: &mut random, new_topic_id: &mut new_topic_id };
    match job.api_key {
        ApiKey::CreateTopics if !room => refused(job, ErrorCode::KAFKA_STORAGE_ERROR).map(Decision::reply),
        ApiKey::CreateTopics => {
            let request: CreateTopicsRequest<'_> = read(job)?;
            match controller.create_topics(&mut context, &request) {
                Ok(decision) => written(decision, |reply| body(&CreateTopicsReply::to_wire(reply), version)),
                Err(error) => body(&create_topics_refused(&request, &error), version).map(Decision::reply),
            }
        }
        ApiKey::DeleteTopics => {
            let request: DeleteTopicsRequest<'_> = read(job)?;
            match controller.delete_topics(&context, &request, version) {
                Ok(decision) => {
                    written(decision, |reply| body(&DeleteTopicsReply::to_wire(reply, version), version))
                }
                Err(error) => {
                    body(&delete_topics_refused(&request, &error, version), version).map(Decision::reply)
                }
            }
        }
        ApiKey::CreatePartitions => {
            let decision = controller.create_partitions(&mut context, &read(job)?);
            written(decision, |reply| body(&CreatePartitionsReply::to_wire(reply), version))
        }
        ApiKey::IncrementalAlterConfigs => {
            let decision = controller.incremental_alter_configs(&context, &read(job)?);
            written(decision, |reply| body(&AlterConfigsReply::to_incremental(reply), version))
        }
        ApiKey::AlterConfigs => {
            let decision = controller.alter_configs(&context, &read(job)?);
            written(decision, |reply| body(&AlterConfigsReply::to_legacy(reply), version))
        }
        ApiKey::AllocateProducerIds => {
            let request: AllocateProducerIdsRequest = read(job)?;
            match controller.allocate_producer_ids(request.broker_id, request.broker_epoch) {
                Ok(decision) => written(decision, |block| {
                    let response = AllocateProducerIdsResponse {
                        producer_id_start: block.first,
                        producer_id_len: block.len,
                        ..Default::default()
                    };
                    body(&response, version)
                }),
                Err(error) => producer_ids_refused(error.code, version).map(Decision::reply),
            }
        }
        _ => Err(ErrorCode::UNSUPPORTED_VERSION),
    }
}

/// A decision with its reply as the response's body.
fn written<R>(decision: Decision<R>, write: impl FnOnce(&R) -> Result<Vec<u8>, ErrorCode>) -> Decided {
    Ok(Decision { reply: write(&decision.reply)?, records: decision.records })
}

/// The answer to a request whose records the metadata log does not take.
fn refused(job: &ControlJob, code: ErrorCode) -> Result<Vec<u8>, ErrorCode> {
    let (error, version) = (ApiError::new(code.code(), NO_ROOM), job.api_version);
    match job.api_key {
        ApiKey::CreateTopics => body(&create_topics_refused(&read(job)?, &error), version),
        ApiKey::DeleteTopics => body(&delete_topics_refused(&read(job)?, &error, version), version),
        ApiKey::AllocateProducerIds => producer_ids_refused(error.code, version),
        _ => Err(code),
    }
}

fn producer_ids_refused(error_code: i16, version: i16) -> Result<Vec<u8>, ErrorCode> {
    body(&AllocateProducerIdsResponse { error_code, ..Default::default() }, version)
}

fn read<'a, M: Message<'a>>(job: &'a ControlJob) -> Result<M, ErrorCode> {
    job.body.decode(job.api_version).map_err(|error| {
        limited!(warn, "a request for the controller could not be read", %error, api = ?job.api_key, "a request for the controller could not be read");
        ErrorCode::INVALID_REQUEST
    })
}

fn body<'a, M: Message<'a>>(message: &M, version: i16) -> Result<Vec<u8>, ErrorCode> {
    encode(message, version).map_err(|error| {
        limited!(error, "a response of the controller could not be written", %error, "a response of the controller could not be written: please report this");
        ErrorCode::UNKNOWN_SERVER_ERROR
    })
}

fn create_topics_refused<'a>(
    request: &CreateTopicsRequest<'a>,
    error: &'a ApiError,
) -> CreateTopicsResponse<'a> {
    let refused = |name| CreatableTopicResult {
        name,
        error_code: error.code,
        error_message: error.message.as_deref(),
        ..Default::default()
    };
    CreateTopicsResponse {
        topics: request.topics.iter().map(|t| refused(t.name)).collect(),
        ..Default::default()
    }
}

fn delete_topics_refused<'a>(
    request: &DeleteTopicsRequest<'a>,
    error: &'a ApiError,
    version: i16,
) -> DeleteTopicsResponse<'a> {
    let refused = |name, topic_id| DeletableTopicResult {
        name,
        topic_id,
        error_code: error.code,
        error_message: error.message.as_deref(),
    };
    let responses = match version {
        ..6 => request.topic_names.iter().map(|n| refused(Some(n), TopicId::ZERO)).collect(),
        6.. => request.topics.iter().map(|t| refused(t.name, t.topic_id)).collect(),
    };
    DeleteTopicsResponse { responses, ..Default::default() }
}

/// A random id of version 4, never a reserved one and never one that begins with a dash (it would look like an option
/// on a command line).
fn random_uuid(prng: &mut Prng) -> Uuid {
    loop {
        let bits = u128::from(prng.next_u64()) << 64 | u128::from(prng.next_u64());
        let version = (bits & !(0xf << 76) | (0x4 << 76)) & !(0x3 << 62) | (0x2 << 62);
        let id = Uuid::from_u128(version);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// An error of the metadata log, and what helps.
fn with_remedy(error: &LogError) -> String {
    match error {
        LogError::Storage { error: system, .. } => format!("{error}{}", remedy(system)),
        other => other.to_string(),
    }
}

/// Where the metadata log is within a log directory.
pub fn metadata_dir(log_dir: &Path) -> PathBuf {
    log_dir.join("__cluster_metadata-0")
}
