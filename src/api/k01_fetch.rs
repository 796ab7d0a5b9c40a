//! Fetch (key 1), versions 4 to 18, as consumers use it: KIP-227 (sessions), KIP-320 (leader epochs), KIP-516
//! (topic ids from version 13), KIP-951 (leader hints). Long polls wait on the owners' watches.
//!
//! The response is written by hand: records leave as slices of the log's own buffers, never copied.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::base::limits::FETCH_RESPONSE_BYTES_MAX;
use crate::base::{ShardId, Ticks};
use crate::shard::{Done, Job, PartitionKey, ReadDone, ReadJob, ReadPart};
use crate::wire::codec::{DecodeError, Writer, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::fetch_request::FetchRequest;

use super::cx::{ByOwner, Cx, Outcome, Parked, ReplyWriter, Request, Step, Waiting};
use super::fetch_session::{FetchKey, FetchWant, SessionUse, Told, TopicRef};

struct Fetch {
    version: i16,
    listener: u32,
    session: SessionUse,
    wants: Vec<(FetchKey, FetchWant)>,
    results: Vec<Option<ReadDone>>,
    owners: Vec<Owner>,
    outstanding: usize,
    min_bytes: usize,
    max_bytes: usize,
    committed: bool,
    /// No more waiting: answer as soon as nothing is outstanding.
    last_round: bool,
}

/// What is asked of one core.
struct Owner {
    shard: ShardId,
    places: Vec<usize>,
    parts: Vec<ReadPart>,
    watching: bool,
}

/// Serves a Fetch request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: FetchRequest<'_> = decode_request(&request.body, version)?;
    let by_id = version >= 13;
    let topic_ref = |name: &str, id| if by_id { TopicRef::Id(id) } else { TopicRef::Name(Arc::from(name)) };
    let mut wants: Vec<(FetchKey, FetchWant)> = Vec::new();
    let mut places = HashMap::new();
    for topic in &message.topics {
        for p in &topic.partitions {
            let key = FetchKey { topic: topic_ref(topic.topic, topic.topic_id), partition: p.partition };
            let want = FetchWant {
                offset: p.fetch_offset,
                max_bytes: p.partition_max_bytes,
                current_leader_epoch: p.current_leader_epoch,
                last_fetched_epoch: p.last_fetched_epoch,
            };
            // One that is named twice is fetched once, as it was named last.
            match places.entry(key.clone()) {
                Entry::Occupied(place) => wants[*place.get()] = (key, want),
                Entry::Vacant(place) => {
                    place.insert(wants.len());
                    wants.push((key, want));
                }
            }
        }
    }
    let forgotten: Vec<FetchKey> = message
        .forgotten_topics_data
        .iter()
        .flat_map(|t| {
            t.partitions.iter().map(|p| FetchKey { topic: topic_ref(t.topic, t.topic_id), partition: *p })
        })
        .collect();
    let session = (message.session_id, message.session_epoch);
    let (session, wants) = match cx.sessions.begin(cx.now, session, by_id, wants, &forgotten) {
        Ok(begun) => begun,
        Err(code) => return Ok(header(cx, version, code, 0, 0).finish()),
    };
    let mut fetch = Fetch {
        version,
        listener: request.listener,
        session,
        results: vec![None; wants.len()],
        wants,
        owners: Vec::new(),
        outstanding: 0,
        min_bytes: message.min_bytes.max(0) as usize,
        max_bytes: (message.max_bytes.min(cx.config().network.fetch_max_bytes).max(0) as usize)
            .min(FETCH_RESPONSE_BYTES_MAX),
        committed: message.isolation_level == 1,
        last_round: message.max_wait_ms <= 0 || message.min_bytes <= 0,
    };
    fetch.plan(cx);
    fetch.last_round |= fetch.has_error();
    if fetch.owners.is_empty() && (fetch.last_round || fetch.wants.is_empty()) {
        return Ok(fetch.finish(cx));
    }
    let id = cx.open();
    for part in 0..fetch.owners.len() {
        fetch.read(cx, id, part);
    }
    let deadline = if fetch.last_round { Ticks::NEVER } else { cx.now.plus_ms(message.max_wait_ms.into()) };
    Ok(Outcome::Parked(Parked { id, deadline, waiting: Box::new(fetch) }))
}

impl Fetch {
    /// Groups the partitions by owner; what cannot be found has its result at once.
    fn plan(&mut self, cx: &Cx<'_>) {
        let mut by_owner = ByOwner::default();
        for (place, (key, want)) in self.wants.iter().enumerate() {
            let (topic, missing) = match &key.topic {
                TopicRef::Id(id) => (cx.image.topics().get_by_id(*id), ErrorCode::UNKNOWN_TOPIC_ID),
                TopicRef::Name(name) => (cx.image.topics().get(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            };
            let found = topic.ok_or(missing).and_then(|t| match t.partitions.get(&key.partition) {
                Some(_) => Ok(PartitionKey { topic_id: t.id, partition: key.partition }),
                None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            });
            match found {
                Ok(found) => by_owner.push(
                    found.owner(cx.shards),
                    place,
                    ReadPart {
                        key: found,
                        offset: want.offset,
                        max_bytes: want.max_bytes.max(0) as usize,
                        current_leader_epoch: want.current_leader_epoch,
                        last_fetched_epoch: want.last_fetched_epoch,
                    },
                ),
                Err(code) => self.results[place] = Some(ReadDone::error(code)),
            }
        }
        self.owners = by_owner
            .groups
            .into_iter()
            .map(|(shard, places, parts)| Owner { shard, places, parts, watching: false })
            .collect();
    }

    /// Asks one owner, again or for the first time.
    fn read(&mut self, cx: &mut Cx<'_>, id: u64, part: usize) {
        let owner = &mut self.owners[part];
        owner.watching = !self.last_round;
        let job = ReadJob {
            parts: owner.parts.clone(),
            max_bytes: self.max_bytes,
            committed: self.committed,
            watch_bytes: owner.watching.then_some(self.min_bytes),
        };
        self.outstanding += 1;
        cx.send(owner.shard, id, part as u32, Job::Read(job));
    }

    fn bytes(&self) -> usize {
        self.results.iter().flatten().map(|r| r.bytes).sum()
    }

    fn has_error(&self) -> bool {
        self.results.iter().flatten().any(|r| r.error != ErrorCode::NONE || r.diverging.is_some())
    }

    fn step(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        if self.outstanding > 0 || !(self.last_round || self.bytes() >= self.min_bytes || self.has_error()) {
            return Step::Wait;
        }
        self.forget_watches(cx, id);
        Step::Finish(self.finish(cx))
    }

    fn forget_watches(&mut self, cx: &mut Cx<'_>, id: u64) {
        for (part, owner) in self.owners.iter_mut().enumerate() {
            if std::mem::take(&mut owner.watching) {
                cx.forget(owner.shard, id, part as u32);
            }
        }
    }
}

impl Waiting for Fetch {
    fn done(&mut self, cx: &mut Cx<'_>, id: u64, part: u32, done: Done) -> Step {
        let part = part as usize;
        match done {
            Done::Read { results, watching } => {
                self.outstanding -= 1;
                self.owners[part].watching = watching;
                for (place, result) in self.owners[part].places.iter().zip(results) {
                    self.results[*place] = Some(result);
                }
            }
            Done::Wake => {
                self.owners[part].watching = false;
                self.read(cx, id, part);
            }
            _ => {}
        }
        self.step(cx, id)
    }

    fn expired(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.last_round = true;
        if self.min_bytes > 1 && self.outstanding == 0 {
            // Less than was asked for may have arrived without a wake-up: look once more.
            self.forget_watches(cx, id);
            for part in 0..self.owners.len() {
                self.read(cx, id, part);
            }
        }
        self.step(cx, id)
    }

    fn hurry(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.expired(cx, id)
    }

    fn abandoned(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.forget_watches(cx, id);
    }
}

/// The response up to and with the count of topics. With no topics it is complete.
fn header(cx: &mut Cx<'_>, version: i16, error: ErrorCode, session_id: i32, topics: usize) -> ReplyWriter {
    let flex = version >= 12;
    let mut reply = cx.begin_reply();
    let w = &mut reply.writer;
    w.i32(0); // throttle time
    if version >= 7 {
        w.i16(error.code());
        w.i32(session_id);
    }
    w.count(flex, topics);
    if flex && topics == 0 {
        w.tags();
    }
    reply
}

impl Fetch {
    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let chosen = self.choose(cx);
        let mut moved = false;
        // Consecutive partitions of one topic share its entry.
        let mut topics: Vec<(TopicRef, Vec<usize>)> = Vec::new();
        for place in chosen {
            let topic = &self.wants[place].0.topic;
            match topics.last_mut() {
                Some((last, places)) if last == topic => places.push(place),
                _ => topics.push((topic.clone(), vec![place])),
            }
        }
        let flex = self.version >= 12;
        let mut body = header(cx, self.version, ErrorCode::NONE, self.session.id(), topics.len());
        for (topic, places) in &topics {
            match topic {
                TopicRef::Id(id) => body.writer.uuid(*id),
                TopicRef::Name(name) => body.writer.string(flex, name),
            }
            body.writer.count(flex, places.len());
            for place in places {
                let result = self.results[*place].take().unwrap_or_else(|| ReadDone::error(ErrorCode::NONE));
                moved |= result.error == ErrorCode::NOT_LEADER_OR_FOLLOWER;
                self.partition(cx, &mut body, *place, result);
            }
            if flex {
                body.writer.tags();
            }
        }
        if flex && !topics.is_empty() {
            let tags = body.writer.tags();
            if moved && self.version >= 16 {
                body.writer.tag(tags, 0, |w| endpoints(cx, self.listener, w));
            }
        }
        body.finish()
    }

    /// The places that belong in the response, within its byte limit, and tells the session.
    fn choose(&mut self, cx: &mut Cx<'_>) -> Vec<usize> {
        let mut left = self.max_bytes;
        let mut any = false;
        let mut chosen = Vec::with_capacity(self.wants.len());
        for (place, (key, _)) in self.wants.iter().enumerate() {
            let Some(result) = self.results[place].as_mut() else { continue };
            // Each owner collects up to the limit; together they may have more. The first batch always goes.
            if result.bytes > left && any {
                result.records.clear();
                result.bytes = 0;
            }
            left = left.saturating_sub(result.bytes);
            any |= result.bytes > 0;
            let told = Told {
                high_watermark: result.high_watermark,
                last_stable_offset: result.last_stable_offset,
                log_start_offset: result.log_start_offset,
            };
            let error = result.error != ErrorCode::NONE || result.diverging.is_some();
            if cx.sessions.tell(self.session, key, told, result.bytes > 0, error) {
                chosen.push(place);
            }
        }
        chosen
    }

    fn partition(&self, cx: &Cx<'_>, body: &mut ReplyWriter, place: usize, result: ReadDone) {
        let version = self.version;
        let flex = version >= 12;
        let w = &mut body.writer;
        w.i32(self.wants[place].0.partition);
        w.i16(result.error.code());
        w.i64(result.high_watermark);
        w.i64(result.last_stable_offset);
        if version >= 5 {
            w.i64(result.log_start_offset);
        }
        // Kafka leaves this list empty, not null, where it never asked a log.
        let unasked =
            matches!(result.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID);
        if self.committed || unasked {
            w.count(flex, result.aborted.len());
            for (producer_id, first_offset) in &result.aborted {
                w.i64(*producer_id);
                w.i64(*first_offset);
                if flex {
                    w.tags();
                }
            }
        } else {
            w.nullable_array::<i32>(flex, None, version);
        }
        if version >= 11 {
            w.i32(-1); // preferred read replica
        }
        if flex {
            w.uvarint(result.bytes as u32 + 1);
        } else {
            w.i32(result.bytes as i32);
        }
        if result.bytes > 0 {
            body.slices(result.records);
        }
        if flex {
            let w = &mut body.writer;
            let tags = w.tags();
            if let Some((epoch, end_offset)) = result.diverging {
                w.tag(tags, 0, |w| {
                    w.i32(epoch);
                    w.i64(end_offset);
                    w.tags();
                });
            }
            if matches!(result.error, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH) {
                let (leader, epoch) = self.leader(cx, place);
                w.tag(tags, 1, |w| {
                    w.i32(leader);
                    w.i32(epoch);
                    w.tags();
                });
            }
        }
    }

    fn leader(&self, cx: &Cx<'_>, place: usize) -> (i32, i32) {
        let key = &self.wants[place].0;
        let topic = match &key.topic {
            TopicRef::Id(id) => cx.image.topics().get_by_id(*id),
            TopicRef::Name(name) => cx.image.topics().get(name),
        };
        topic.and_then(|t| t.partitions.get(&key.partition)).map_or((-1, -1), |p| (p.leader, p.leader_epoch))
    }
}

fn endpoints(cx: &Cx<'_>, listener: u32, w: &mut Writer) {
    let all: Vec<_> = super::topics::endpoints(cx.image, cx.listener_name(listener)).collect();
    w.count(true, all.len());
    for (id, host, port, rack) in all {
        w.i32(id);
        w.string(true, host);
        w.i32(i32::from(port));
        w.nullable_string(true, rack);
        w.tags();
    }
}
