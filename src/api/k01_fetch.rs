//! Fetch (key 1), versions 4 to 18, as consumers use it: KIP-227 (sessions), KIP-320 (leader epochs), KIP-516
//! (topic ids from version 13), KIP-951 (leader hints). Long polls wait on the owners' watches.
//!
//! The response is written by hand: records leave as slices of the log's own buffers, never copied.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::base::limits::{
    FETCH_RESPONSE_BYTES_MAX, FETCH_WAIT_COARSE_MS, FETCH_WAIT_STEP_MS, NET_GRANT_BYTES_MIN,
    PARTITIONS_NAMED_FREE, POOL_KEPT_ITEMS,
};
use crate::base::{ShardId, Ticks, TopicId};
use crate::meta::image::Image;
use crate::shard::{Done, Job, PartitionKey, ReadDone, ReadJob, ReadPart};
use crate::wire::codec::{DecodeError, Writer};
use crate::wire::errors::ErrorCode;
use crate::wire::fetch::FetchWalk;
use crate::wire::messages::FetchRequest;

use super::cx::{Cx, Outcome, Parked, ReplyWriter, Request, Step, Waiting};
use super::fetch_session::{FetchKey, FetchWant, SessionUse, Told, TopicRef};
use super::named_max;
use super::pool::{Pools, Reuse};

/// A Fetch request, from its partitions to its response.
#[derive(Default)]
pub struct Fetch {
    version: i16,
    listener: u32,
    session: SessionUse,
    wants: Vec<(FetchKey, FetchWant)>,
    /// The places in `wants` of the partitions that the request names.
    named: HashMap<FetchKey, usize>,
    /// Where the outcomes of `wants` are.
    at: Vec<At>,
    owners: Vec<Owner>,
    outstanding: usize,
    min_bytes: usize,
    max_bytes: usize,
    /// What is reserved for the response while there are reads, or their outcomes.
    granted: Option<Granted>,
    /// Waits for memory.
    held_up: bool,
    committed: bool,
    /// No more waiting: answer as soon as nothing is outstanding.
    last_round: bool,
    /// What the response has, in order.
    chosen: Vec<usize>,
}

/// Memory that is reserved for a response.
#[derive(Clone, Copy)]
struct Granted {
    bytes: usize,
    /// What each owner may read.
    each: usize,
}

/// Where a partition's outcome is.
enum At {
    /// Among the parts of an owner, by their indices.
    Owner(usize, usize),
    /// Here: nobody was asked.
    Here(ReadDone),
}

/// What is asked of one core.
struct Owner {
    shard: ShardId,
    /// Empty while they are with the owner.
    parts: Vec<ReadPart>,
    watching: bool,
    /// The watch has seen enough before the parts came back: they are asked for once more.
    again: bool,
    /// To be asked, for the first time or because what it had read was let go.
    due: bool,
}

/// Serves a Fetch request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    request.body.walk::<FetchRequest<'_>, _>(request.api_version, |body| serve(cx, request, body))
}

fn serve(cx: &mut Cx<'_>, request: &Request<'_>, body: &[u8]) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let mut walk = FetchWalk::new(body, version)?;
    walk.limit(named_max(cx.image));
    let mut fetch = cx.pools.fetches.take();
    fetch.version = version;
    fetch.listener = request.listener;
    let max_bytes = walk.max_bytes.min(cx.config().network.fetch_max_bytes);
    fetch.max_bytes = (max_bytes.max(0) as usize).min(FETCH_RESPONSE_BYTES_MAX);
    let min_bytes = walk.min_bytes.min(max_bytes);
    fetch.min_bytes = (min_bytes.max(0) as usize).min(fetch.max_bytes);
    let isolation_level = walk.isolation_level;
    fetch.committed = isolation_level == 1;
    let max_wait_ms = walk.max_wait_ms;
    fetch.last_round = max_wait_ms <= 0 || min_bytes <= 0;
    fetch.outstanding = 0;
    let session = (walk.session_id, walk.session_epoch);
    fetch.read_named(cx, &mut walk)?;
    let forgotten = forgotten(cx, &mut walk, version)?;
    cx.pools.named += walk.named_count().saturating_sub(PARTITIONS_NAMED_FREE);
    walk.end()?;
    if !(0..=1).contains(&isolation_level) {
        let outcome = fetch.refuse(cx, session.0, ErrorCode::UNKNOWN_SERVER_ERROR);
        cx.pools.fetches.keep(fetch);
        return Ok(outcome);
    }
    let begun =
        cx.sessions.begin((cx.now, request.slot.conn), session, version >= 13, &mut fetch.wants, &forgotten);
    match begun {
        Ok(session) => fetch.session = session,
        Err(code) => {
            cx.pools.fetches.keep(fetch);
            return Ok(header(cx, version, code, 0, 0).finish());
        }
    }
    fetch.plan(cx, max_bytes >= 0);
    fetch.last_round |= fetch.has_error();
    if fetch.owners.is_empty() && (fetch.last_round || fetch.wants.is_empty()) {
        let outcome = fetch.finish(cx);
        cx.pools.fetches.keep(fetch);
        return Ok(outcome);
    }
    let id = cx.open();
    fetch.read_due(cx, id);
    let deadline = if fetch.last_round { Ticks::NEVER } else { wait_until(cx.now, max_wait_ms) };
    Ok(Outcome::Parked(Parked { id, deadline, waiting: fetch }))
}

/// When a long poll ends.
fn wait_until(now: Ticks, max_wait_ms: i32) -> Ticks {
    let end = now.plus_ms(max_wait_ms.into());
    if max_wait_ms < FETCH_WAIT_COARSE_MS { end } else { end.round_up_ms(FETCH_WAIT_STEP_MS) }
}

/// A topic as a request names it; one that there is lends its name.
fn topic_ref(image: &Image, by_id: bool, name: &str, id: TopicId) -> TopicRef {
    if by_id {
        return TopicRef::Id(id);
    }
    TopicRef::Name(image.topics().get(name).map_or_else(|| Arc::from(name), |topic| topic.name.clone()))
}

/// The partitions that leave the session.
fn forgotten(cx: &Cx<'_>, walk: &mut FetchWalk<'_>, version: i16) -> Result<Vec<FetchKey>, DecodeError> {
    let mut forgotten = Vec::new();
    walk.begin_forgotten()?;
    while let Some(topic) = walk.forgotten_topic()? {
        let topic = topic_ref(cx.image, version >= 13, topic.name, topic.id);
        while let Some(partition) = walk.forgotten_partition()? {
            forgotten.push(FetchKey { topic: topic.clone(), partition });
        }
    }
    Ok(forgotten)
}

impl Fetch {
    /// The partitions that the request names.
    fn read_named(&mut self, cx: &Cx<'_>, walk: &mut FetchWalk<'_>) -> Result<(), DecodeError> {
        while let Some(topic) = walk.topic()? {
            let topic_ref = topic_ref(cx.image, self.version >= 13, topic.name, topic.id);
            while let Some(p) = walk.partition()? {
                let key = FetchKey { topic: topic_ref.clone(), partition: p.partition };
                let want = FetchWant {
                    offset: p.fetch_offset,
                    max_bytes: p.partition_max_bytes,
                    current_leader_epoch: p.current_leader_epoch.max(-1),
                    last_fetched_epoch: p.last_fetched_epoch,
                };
                // One that is named twice is fetched once, as it was named last.
                match self.named.entry(key.clone()) {
                    Entry::Occupied(place) => self.wants[*place.get()] = (key, want),
                    Entry::Vacant(place) => {
                        place.insert(self.wants.len());
                        self.wants.push((key, want));
                    }
                }
            }
        }
        Ok(())
    }

    /// Groups the partitions by owner; what cannot be found has its outcome at once. Of a request that asks for less than
    /// nothing only the first partition that there is fails, as in Kafka.
    fn plan(&mut self, cx: &mut Cx<'_>, mut size_is_valid: bool) {
        for (key, want) in &self.wants {
            let part = match find(cx.image, key) {
                Ok(key) => ReadPart {
                    key,
                    offset: want.offset,
                    max_bytes: usize::try_from(want.max_bytes).ok().filter(|_| size_is_valid),
                    current_leader_epoch: want.current_leader_epoch,
                    last_fetched_epoch: want.last_fetched_epoch,
                    done: ReadDone::error(ErrorCode::NONE),
                },
                Err(code) => {
                    self.at.push(At::Here(ReadDone::error(code)));
                    continue;
                }
            };
            size_is_valid = true;
            let shard = part.key.owner(cx.shards);
            let owner = self.owners.iter().position(|o| o.shard == shard).unwrap_or_else(|| {
                let parts = cx.pools.read_parts.take();
                self.owners.push(Owner { shard, parts, watching: false, again: false, due: true });
                self.owners.len() - 1
            });
            let parts = &mut self.owners[owner].parts;
            self.at.push(At::Owner(owner, parts.len()));
            parts.push(part);
        }
    }

    /// What the owners may read in all, save for first batches that are larger: each of them reads up to the limit of the
    /// response.
    fn wanted(&self) -> usize {
        let of_owner = |owner: &Owner| {
            let parts = owner.parts.iter().filter_map(|part| part.max_bytes);
            parts.fold(0usize, usize::saturating_add).min(self.max_bytes)
        };
        self.owners.iter().map(of_owner).fold(0, usize::saturating_add)
    }

    /// Reserves memory for what all owners read. Where less is granted than they may read, they share it.
    fn reserve(&self, cx: &mut Cx<'_>) -> Option<Granted> {
        let wanted = self.wanted();
        let bytes = cx.budget.grant(wanted)?;
        let each = if bytes >= wanted { self.max_bytes } else { bytes / self.owners.len().max(1) };
        Some(Granted { bytes, each })
    }

    /// Asks the owners that are to be asked, once there is memory for the response.
    fn read_due(&mut self, cx: &mut Cx<'_>, id: u64) {
        if self.granted.is_none() {
            self.granted = self.reserve(cx);
        }
        let Some(granted) = self.granted else {
            if !std::mem::replace(&mut self.held_up, true) {
                cx.budget.wait(id, NET_GRANT_BYTES_MIN);
            }
            return;
        };
        for part in 0..self.owners.len() {
            if std::mem::take(&mut self.owners[part].due) {
                self.read(cx, id, part, granted.each);
            }
        }
    }

    /// Asks one owner, again or for the first time.
    fn read(&mut self, cx: &mut Cx<'_>, id: u64, part: usize, max_bytes: usize) {
        let owner = &mut self.owners[part];
        owner.watching = !self.last_round;
        let job = ReadJob {
            parts: std::mem::take(&mut owner.parts),
            max_bytes,
            committed: self.committed,
            watch_bytes: owner.watching.then_some(self.min_bytes),
        };
        self.outstanding += 1;
        cx.send(owner.shard, id, part as u32, Job::Read(job));
    }

    /// The outcomes that are there.
    fn results(&self) -> impl Iterator<Item = &ReadDone> {
        let here = self.at.iter().filter_map(|at| if let At::Here(done) = at { Some(done) } else { None });
        here.chain(self.owners.iter().flat_map(|owner| &owner.parts).map(|part| &part.done))
    }

    fn bytes(&self) -> usize {
        self.results().map(|r| r.bytes).sum()
    }

    fn has_error(&self) -> bool {
        self.results().any(|r| r.error != ErrorCode::NONE || r.diverging.is_some())
    }

    /// Whether what is there can be answered with.
    fn is_enough(&self) -> bool {
        self.last_round || self.bytes() >= self.min_bytes || self.has_error()
    }

    fn step(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        if self.outstanding > 0 || self.held_up {
            return Step::Wait;
        }
        if !self.is_enough() {
            self.let_go(cx);
            return Step::Wait;
        }
        self.forget_watches(cx, id);
        let outcome = self.finish(cx);
        self.release(cx);
        Step::Finish(outcome)
    }

    /// What was read is not enough: it is not kept while the request waits for more, but read anew then.
    fn let_go(&mut self, cx: &mut Cx<'_>) {
        self.release(cx);
        for owner in &mut self.owners {
            for part in owner.parts.iter_mut().filter(|part| part.done.bytes > 0) {
                part.done.records = Vec::new();
                part.done.bytes = 0;
                owner.due = true;
            }
        }
    }

    fn release(&mut self, cx: &mut Cx<'_>) {
        cx.budget.release(self.granted.take().map_or(0, |granted| granted.bytes));
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
            Done::Read { parts, watching } => {
                self.outstanding -= 1;
                self.owners[part].watching = watching;
                self.owners[part].parts = parts;
                // Only if need be: under a steady stream of appends there would be no end of it.
                if std::mem::take(&mut self.owners[part].again) && !self.is_enough() {
                    self.owners[part].due = true;
                    self.read_due(cx, id);
                }
            }
            Done::Wake if self.owners[part].parts.is_empty() => self.owners[part].again = true,
            Done::Wake => {
                self.owners[part].watching = false;
                self.owners[part].due = true;
                self.read_due(cx, id);
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
            self.owners.iter_mut().for_each(|owner| owner.due = true);
            self.read_due(cx, id);
        }
        self.step(cx, id)
    }

    fn granted(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.held_up = false;
        self.read_due(cx, id);
        self.step(cx, id)
    }

    fn hurry(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.expired(cx, id)
    }

    fn abandoned(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.forget_watches(cx, id);
        self.release(cx);
        cx.budget.forget(id);
    }

    fn recycle(mut self: Box<Self>, pools: &mut Pools) {
        for owner in self.owners.drain(..) {
            pools.read_parts.keep(owner.parts);
        }
        pools.fetches.keep(self);
    }
}

impl Reuse for Fetch {
    fn renew(&mut self) -> bool {
        self.wants.clear();
        self.named.clear();
        self.at.clear();
        self.owners.clear();
        self.chosen.clear();
        (self.granted, self.held_up) = (None, false);
        self.wants.capacity().max(self.named.capacity()) <= POOL_KEPT_ITEMS
    }
}

/// The partition that a client names.
fn find(image: &Image, key: &FetchKey) -> Result<PartitionKey, ErrorCode> {
    let (topic, missing) = match &key.topic {
        TopicRef::Id(id) => (image.topics().get_by_id(*id), ErrorCode::UNKNOWN_TOPIC_ID),
        TopicRef::Name(name) => (image.topics().get(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    };
    let topic = topic.ok_or(missing)?;
    if !topic.partitions.contains_key(&key.partition) {
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    Ok(PartitionKey { topic_id: topic.id, partition: key.partition })
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
        self.choose(cx);
        self.write(cx, ErrorCode::NONE, self.session.id())
    }

    /// Refuses a request as a whole: before version 13 every partition says so as well.
    fn refuse(&mut self, cx: &mut Cx<'_>, session_id: i32, code: ErrorCode) -> Outcome {
        let named = if self.version < 13 { self.wants.len() } else { 0 };
        self.committed = true; // Kafka leaves the lists of aborted transactions empty then, not null
        self.chosen.extend(0..named);
        self.at.extend((0..named).map(|_| At::Here(ReadDone::error(code))));
        self.write(cx, code, session_id)
    }

    fn write(&self, cx: &mut Cx<'_>, error: ErrorCode, session_id: i32) -> Outcome {
        // Consecutive partitions of one topic share its entry.
        let wants = &self.wants;
        let same_topic = |a: &usize, b: &usize| wants[*a].0.topic == wants[*b].0.topic;
        let topics = self.chosen.chunk_by(same_topic).count();
        let flex = self.version >= 12;
        let mut moved = false;
        let mut body = header(cx, self.version, error, session_id, topics);
        for places in self.chosen.chunk_by(same_topic) {
            match &self.wants[places[0]].0.topic {
                TopicRef::Id(id) => body.writer.uuid(*id),
                TopicRef::Name(name) => body.writer.string(flex, name),
            }
            body.writer.count(flex, places.len());
            for place in places {
                let result = outcome(&self.at, &self.owners, *place);
                moved |= result.error == ErrorCode::NOT_LEADER_OR_FOLLOWER;
                self.partition(cx, &mut body, *place, result);
            }
            if flex {
                body.writer.tags();
            }
        }
        if flex && topics > 0 {
            let tags = body.writer.tags();
            if moved && self.version >= 16 {
                body.writer.tag(tags, 0, |w| endpoints(cx, self.listener, w));
            }
        }
        body.finish()
    }

    /// Chooses what belongs in the response, within its byte limit, and tells the session.
    fn choose(&mut self, cx: &mut Cx<'_>) {
        let mut left = self.max_bytes;
        let mut any = false;
        for (place, (key, want)) in self.wants.iter().enumerate() {
            let result = match &mut self.at[place] {
                At::Here(done) => done,
                // What has not come has nothing to say.
                At::Owner(owner, index) => match self.owners[*owner].parts.get_mut(*index) {
                    Some(part) => &mut part.done,
                    None => continue,
                },
            };
            // Each owner collects up to the limit, and gives a first batch that is larger than its partition's limit; of
            // these only the response's first one goes.
            if any && (result.bytes > left || result.bytes > want.max_bytes as usize) {
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
                self.chosen.push(place);
            }
        }
    }

    fn partition(&self, cx: &Cx<'_>, body: &mut ReplyWriter, place: usize, result: &ReadDone) {
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
            body.slices(result.records.iter().cloned());
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

/// The outcome at a place that was chosen.
fn outcome<'a>(at: &'a [At], owners: &'a [Owner], place: usize) -> &'a ReadDone {
    match &at[place] {
        At::Here(done) => done,
        At::Owner(owner, index) => &owners[*owner].parts[*index].done,
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

#[cfg(test)]
mod tests {
    use super::super::cx::Node;
    use super::super::fetch_session::FetchSessions;
    use super::super::parked::ParkedTable;
    use super::super::producer_ids::ProducerIdBlock;
    use super::*;
    use crate::base::prng::Prng;
    use crate::config::{BrokerConfig, STANDALONE};
    use crate::net::{Budget, Spare};
    use crate::shard::Mail;
    use crate::shard::effective::Effective;
    use crate::wire::record::Scratch;

    /// A fetch of one partition that is with its owner.
    fn asked() -> Fetch {
        let topic = TopicRef::Id(TopicId::ONE);
        let want = FetchWant { offset: 0, max_bytes: 1, current_leader_epoch: -1, last_fetched_epoch: -1 };
        Fetch {
            version: 13,
            wants: vec![(FetchKey { topic, partition: 0 }, want)],
            at: vec![At::Owner(0, 0)],
            owners: vec![Owner {
                shard: ShardId(0),
                parts: Vec::new(),
                watching: true,
                again: false,
                due: false,
            }],
            outstanding: 1,
            min_bytes: 10,
            max_bytes: 100,
            ..Fetch::default()
        }
    }

    fn read(bytes: usize) -> Done {
        let part = ReadPart {
            key: PartitionKey { topic_id: TopicId::ONE, partition: 0 },
            offset: 0,
            max_bytes: Some(1),
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            done: ReadDone { bytes, ..ReadDone::error(ErrorCode::NONE) },
        };
        Done::Read { parts: vec![part], watching: true }
    }

    fn with_cx(test: impl FnOnce(&mut Cx<'_>)) {
        let pairs = STANDALONE.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let (config, _) = BrokerConfig::from_pairs(pairs.collect::<Vec<_>>()).unwrap();
        let image = Arc::new(Image::empty("cluster"));
        test(&mut Cx {
            now: Ticks(0),
            wall_ms: 0,
            shard: ShardId(0),
            shards: 1,
            image: &image,
            effective: &mut Effective::new(Arc::new(config), &image),
            node: &Node { log_dirs: Vec::new(), controller_listeners: Vec::new() },
            volume: |_| None,
            scratch: &mut Scratch::default(),
            sessions: &mut FetchSessions::new(0, Prng::new(1)),
            producer_ids: &mut ProducerIdBlock::default(),
            outbox: &mut Vec::new(),
            parked: &mut ParkedTable::default(),
            spare: &mut Spare::default(),
            budget: &mut Budget::default(),
            pools: &mut Pools::default(),
            computing: &mut Vec::new(),
        });
    }

    /// A fetch that each of its owners may answer with `max_bytes`, when it has asked them.
    fn asked_of(cx: &mut Cx<'_>, owners: u16, max_bytes: usize) -> Fetch {
        let mut fetch = asked();
        (fetch.max_bytes, fetch.outstanding) = (max_bytes, 0);
        fetch.owners.clear();
        for shard in 0..owners {
            let Done::Read { mut parts, .. } = read(0) else { unreachable!() };
            parts[0].max_bytes = Some(max_bytes);
            let shard = ShardId(shard);
            fetch.owners.push(Owner { shard, parts, watching: false, again: false, due: true });
        }
        fetch.read_due(cx, 1);
        fetch
    }

    /// The reads that were asked for since the last time.
    fn reads(cx: &mut Cx<'_>) -> Vec<ReadJob> {
        let job = |mail| match mail {
            Mail::Job { job: Job::Read(job), .. } => job,
            _ => unreachable!("it reads"),
        };
        cx.outbox.drain(..).map(|(_, mail)| job(mail)).collect()
    }

    /// Each owner read up to the limit of the response, and the memory for one of them was reserved.
    #[test]
    fn owners_read_no_more_than_is_reserved() {
        for (owners, max_bytes) in [(1, 100_000), (2, 100_000), (2, 200_000), (5, 200_000), (64, 50 << 20)] {
            with_cx(|cx| {
                asked_of(cx, owners, max_bytes);
                let reads: usize = reads(cx).iter().map(|job| job.max_bytes).sum();
                assert!(reads > 0 && reads <= cx.budget.reserved(), "{owners} owners: {reads}");
            });
        }
    }

    /// An owner that was woken up while others read was held against what it alone wanted: what was granted for all seemed
    /// to be enough, and it read up to the limit of the response.
    #[test]
    fn an_owner_that_reads_again_has_its_share_while_others_read() {
        for (owners, max_bytes) in [(2, 200_000), (5, 200_000)] {
            with_cx(|cx| {
                let mut fetch = asked_of(cx, owners, max_bytes);
                let mut first = reads(cx);
                let others: usize = first.iter().skip(1).map(|job| job.max_bytes).sum();
                let parts = first.swap_remove(0).parts;
                assert!(matches!(fetch.done(cx, 1, 0, Done::Read { parts, watching: true }), Step::Wait));
                assert!(matches!(fetch.done(cx, 1, 0, Done::Wake), Step::Wait));
                let again: usize = reads(cx).iter().map(|job| job.max_bytes).sum();
                assert!(again > 0 && others + again <= cx.budget.reserved(), "{owners} owners: {again}");
            });
        }
    }

    #[test]
    fn a_wake_up_that_comes_before_the_read_asks_once_more() {
        with_cx(|cx| {
            let mut fetch = asked();
            assert!(matches!(fetch.done(cx, 1, 0, Done::Wake), Step::Wait));
            assert!(cx.outbox.is_empty(), "the parts are with their owner");
            assert!(matches!(fetch.done(cx, 1, 0, read(0)), Step::Wait));
            assert!(matches!(cx.outbox[..], [(_, Mail::Job { .. })]));
            assert!(matches!(fetch.done(cx, 1, 0, Done::Wake), Step::Wait));
            let enough = fetch.done(cx, 1, 0, read(20));
            assert!(
                matches!(enough, Step::Finish(Outcome::Reply(_))),
                "appends that go on do not hold it up"
            );
        });
    }

    #[test]
    fn long_polls_end_together() {
        let now = Ticks(1_234_567_890);
        assert_eq!(wait_until(now, 99), now.plus_ms(99));
        assert_eq!(wait_until(now, 500), Ticks(1_740_000_000));
    }
}
