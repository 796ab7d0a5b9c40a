//! The loop of one core: events in, state changes to completion, then mail, replies and writes out.

use super::heavy::Heavy;
use crate::api;
use crate::api::cx::{Cx, Node, Outcome, Parked, Request, Step, Waiting};
use crate::api::fetch_session::FetchSessions;
use crate::api::parked::{Asked, ParkedTable};
use crate::api::pool::Pools;
use crate::api::producer_ids::ProducerIdBlock;
use crate::base::limits::{
    JOURNAL_ENTRY_BYTES_MAX, MEMORY_TIDY_MS, MEMORY_TIDY_TIMES, PARTITION_NAMED_BYTES, SHUTDOWN_DRAIN_MS,
    STEPS_IN_TURN, TURN_INFLATED_BYTES_MAX, TURN_LARGE_BYTES, TURN_SMALL_BYTES,
};
use crate::base::prng::Prng;
use crate::base::{ShardId, Ticks};
use crate::config::NetworkConfig;
use crate::io::repeats::limited;
use crate::io::{Disk, Event, Sockets, World};
use crate::meta::image::ResourceType;
use crate::net::{Arrived, Net, NetConfig, NetEvent};
use crate::shard::{Mail, Shard};
use crate::wire::api::ApiKey;
use crate::wire::frame::{self, FrameError};
use crate::wire::record::{Scratch, decompressed_here};
use std::collections::VecDeque;

/// Where a core is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// No new connections or requests; what is in flight is finished.
    Draining,
    /// Partitions are being closed.
    Closing,
    Ended,
}

/// What a core asks of whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Go on.
    More,
    /// This broker may serve: its registration is in the metadata. Told once, by core 0.
    Ready,
    /// It never will: why the metadata log does not take this start's records. Told by core 0.
    Failed(String),
    /// The loop is over; whether everything was closed cleanly.
    Ended(bool),
}

/// What a core is made of.
pub struct CoreParts {
    /// The owner of partitions.
    pub shard: Shard,
    /// Connections.
    pub net: Net,
    /// This core.
    pub id: ShardId,
    /// The number of cores.
    pub shards: usize,
    /// What the process knows of itself.
    pub node: Node,
    /// Fetch sessions of this core.
    pub session_slots: usize,
    /// Seed of this core's random numbers.
    pub seed: u64,
    /// Asks for a volume's total and usable bytes.
    pub volume: fn(&str) -> Option<(i64, i64)>,
}

/// The limits of connections that may change while the broker runs.
pub(super) fn limit_connections(config: &mut NetConfig, network: &NetworkConfig) {
    config.connections_max = network.max_connections.max(0) as usize;
    config.connections_per_ip_max = network.max_connections_per_ip.max(0) as usize;
    let overrides = network.max_connections_per_ip_overrides.iter();
    config.connections_per_ip_overrides = overrides
        .filter_map(|(address, max)| Some((address.parse().ok()?, (*max).max(0) as usize)))
        .collect();
}

/// One core.
pub struct Core {
    shard: Shard,
    net: Net,
    id: ShardId,
    shards: usize,
    node: Node,
    /// Listeners with this number and above are the controller's.
    broker_listeners: usize,
    volume: fn(&str) -> Option<(i64, i64)>,
    sessions: FetchSessions,
    producer_ids: ProducerIdBlock,
    scratch: Scratch,
    parked: ParkedTable,
    pools: Pools,
    outbox: Vec<(ShardId, Mail)>,
    /// Mail that is being sent.
    leaving: Vec<(ShardId, Mail)>,
    events: Vec<Event<Mail>>,
    /// Requests that are worked on in more than one turn.
    heavy: Heavy,
    /// What `net` found beside requests.
    net_events: VecDeque<NetEvent>,
    phase: Phase,
    /// Core 0 was told that this core has the metadata in which this broker serves.
    active_told: bool,
    /// On core 0: cores that have it.
    active: usize,
    ready_told: bool,
    /// On core 0, during shutdown: cores that have nothing in flight.
    drained: usize,
    drain_deadline: Ticks,
    clean: bool,
    tidy: Tidy,
}

/// When a core looks for memory to give back: while it works and for some seconds after.
struct Tidy {
    at: Ticks,
    times_left: u32,
}

/// What a request counts for in a turn: large appends are the disk's and the network's, other large requests the core's. What
/// many partitions cost is counted as they are named.
fn turn_bytes(frame: &[u8]) -> usize {
    let data = matches!(frame, [0, 0, ..]);
    if data && frame.len() > JOURNAL_ENTRY_BYTES_MAX { 0 } else { frame.len() }
}

impl Core {
    /// A core about to run.
    pub fn new(mut parts: CoreParts) -> Core {
        let broker_listeners = parts.shard.metadata().1.statics().listeners.len();
        Core {
            broker_listeners,
            shard: parts.shard,
            net: parts.net,
            id: parts.id,
            shards: parts.shards,
            node: parts.node,
            volume: parts.volume,
            sessions: FetchSessions::new(parts.session_slots, Prng::new(parts.seed)),
            producer_ids: ProducerIdBlock::default(),
            scratch: Scratch::default(),
            parked: ParkedTable::default(),
            pools: Pools::default(),
            outbox: Vec::new(),
            leaving: Vec::new(),
            events: Vec::new(),
            heavy: Heavy::default(),
            net_events: VecDeque::new(),
            phase: Phase::Serving,
            active_told: false,
            active: 0,
            ready_told: false,
            drained: 0,
            drain_deadline: Ticks::NEVER,
            clean: true,
            tidy: Tidy { at: Ticks::NEVER, times_left: 0 },
        }
    }

    /// Sends what was prepared before the first turn.
    pub fn begin(&mut self, world: &mut dyn World<Mail>) {
        let disk: &mut dyn Disk = world;
        self.shard.begin(disk);
        self.deliver(world);
    }

    /// The shard of this core.
    pub fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// The connections of this core.
    pub fn net(&mut self) -> &mut Net {
        &mut self.net
    }

    /// What is in flight and who waits, by name: all zero when no client is connected and nothing is to be done.
    pub fn load(&self) -> Vec<(&'static str, usize)> {
        let mut load = self.shard.load();
        load.push(("parked requests", self.parked.len()));
        load.push(("connections", self.net.len()));
        load.push(("bytes held for connections", self.net.held_bytes()));
        load
    }

    /// One turn of the loop: waits for events, handles them, sends what came of them.
    pub fn turn(&mut self, world: &mut dyn World<Mail>) -> Turned {
        let until = self
            .net
            .deadline()
            .min(self.parked.deadline())
            .min(self.shard.deadline())
            .min(self.drain_deadline)
            .min(self.tidy.at);
        let until = if self.net.has_ready()
            || !self.heavy.rests()
            || self.shard.looks_up()
            || self.shard.ends_watches()
        {
            world.now()
        } else {
            until
        };
        let mut events = std::mem::take(&mut self.events);
        world.turn(until, &mut events);
        self.scratch.forget_made();
        let decompressed = decompressed_here();
        self.tidy.turn(world, !events.is_empty());
        self.shard.begin_turn();
        for event in events.drain(..) {
            self.on_event(world, event);
        }
        self.events = events;
        self.handle_net(world);
        self.expire(world);
        self.go_on(world);
        self.deliver(world);
        if self.shard.looks_up() {
            self.shard.look_up(world);
            self.deliver(world);
        }
        // One write for all appends of this turn; what it makes safe is answered in this turn.
        while self.shard.commit(world) {
            self.deliver(world);
        }
        self.heavy.submit(world);
        self.net.flush(world);
        let decompressed = decompressed_here().wrapping_sub(decompressed);
        debug_assert!(decompressed <= TURN_INFLATED_BYTES_MAX, "{decompressed} bytes were made in one turn");
        self.progress(world)
    }

    fn on_event(&mut self, world: &mut dyn World<Mail>, event: Event<Mail>) {
        match event {
            Event::Socket(event) => {
                let now = world.now();
                let sockets: &mut dyn Sockets = world;
                self.net.on_event(now, event, sockets, &mut self.net_events);
            }
            Event::Disk(token, outcome) if Heavy::owns(token) => {
                if let Some((id, done)) = self.heavy.computed(token, outcome) {
                    self.done(world, id, 0, done);
                }
            }
            Event::Disk(token, outcome) => {
                let disk: &mut dyn Disk = world;
                self.shard.on_disk(disk, token, outcome);
            }
            Event::Mail(_, mail) => self.on_mail(world, mail),
            Event::Stop => self.stop(world),
        }
    }

    fn on_mail(&mut self, world: &mut dyn World<Mail>, mail: Mail) {
        match mail {
            Mail::Connection(listener, socket) => {
                if self.phase == Phase::Serving {
                    let now = world.now();
                    let sockets: &mut dyn Sockets = world;
                    self.net.adopt(now, listener, socket, sockets, &mut self.net_events);
                }
            }
            Mail::ConnectionGone(shard, peer) => self.net.released(shard, peer),
            Mail::Job { reply_to, image, job } => {
                let disk: &mut dyn Disk = world;
                self.shard.run(disk, reply_to, image, job);
            }
            Mail::Done(reply_to, done) => self.done(world, reply_to.request, reply_to.part, done),
            Mail::Forget(reply_to) => self.shard.forget(reply_to),
            Mail::Metadata(image, delta) => {
                let disk: &mut dyn Disk = world;
                self.shard.on_metadata(disk, image, &delta);
                if delta.configs.iter().any(|c| c.kind == ResourceType::Broker) {
                    let (_, effective) = self.shard.metadata();
                    let network = effective.broker().network.clone();
                    self.net.configure(|config| limit_connections(config, &network));
                }
            }
            Mail::NoSpace(path) => self.shard.give_space_back(&path),
            Mail::Drain => self.drain(world),
            Mail::Active => self.active += 1,
            Mail::Drained(_) => self.drained += 1,
            Mail::Close => self.phase = Phase::Closing,
        }
    }

    fn handle_net(&mut self, world: &mut dyn World<Mail>) {
        while let Some(event) = self.net_events.pop_front() {
            match event {
                NetEvent::Ended { waiting } => {
                    for id in waiting {
                        self.resume(world, id, |waiting, cx| waiting.hurry(cx, id));
                    }
                }
                NetEvent::Gone { conn, peer, waiting } => {
                    self.heavy.gone(conn);
                    self.sessions.gone(conn);
                    self.gone(world, waiting);
                    if self.id.0 != 0 {
                        self.outbox.push((ShardId(0), Mail::ConnectionGone(self.id, peer.ip())));
                    }
                }
                NetEvent::Handover { listener, socket, to } => {
                    self.outbox.push((to, Mail::Connection(listener, socket)));
                }
            }
        }
        self.handle_requests(world);
    }

    /// Serves what has arrived. The rest waits for the next turn after so many bytes of small requests, as these are
    /// answered at the end of this one, so that a client that sends several at once has answers to go on with; and after so
    /// many bytes of large replies, so that small requests need not wait for long.
    fn handle_requests(&mut self, world: &mut dyn World<Mail>) {
        let mut small = 0;
        while small < TURN_SMALL_BYTES {
            let (image, _) = self.shard.metadata();
            let Some(arrived) = self.net.next_small(|frame| api::weight::of(image, frame)) else { break };
            small += turn_bytes(&arrived.frame);
            self.request(world, &arrived);
            small += self.pools.take_named() * PARTITION_NAMED_BYTES;
        }
        let mut large = 0;
        while large < TURN_LARGE_BYTES {
            let (image, _) = self.shard.metadata();
            let Some(arrived) = self.net.next_large(|frame| api::weight::of(image, frame)) else { break };
            large += arrived.weight.bytes + turn_bytes(&arrived.frame);
            self.request(world, &arrived);
            large += self.pools.take_named() * PARTITION_NAMED_BYTES;
        }
        while let Some(id) = self.net.for_replies().1.next_waiting() {
            self.resume(world, id, |waiting, cx| waiting.granted(cx, id));
        }
    }

    fn request(&mut self, world: &mut dyn World<Mail>, arrived: &Arrived) {
        let Arrived { slot, ref frame, peer, listener, .. } = *arrived;
        let (header, body_at) = match frame::read_request(frame) {
            Ok((header, rest)) => (header, frame.len() - rest.remaining()),
            Err(error) => {
                let why = match error {
                    FrameError::Header(_) => "a malformed request header",
                    FrameError::UnknownApi { .. } => "an API that we do not know",
                    _ => "a version that we do not know",
                };
                limited!(warn, "a connection is closed for its header", by why, of peer, %peer, %error, "the connection is closed: {why}");
                return self.net.close_after(slot);
            }
        };
        let request = Request {
            slot,
            api_key: header.api_key,
            api_version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.as_deref(),
            body: frame.slice(body_at..).into(),
            peer,
            listener,
        };
        let route = api::find(request.api_key);
        let on_controller = listener as usize >= self.broker_listeners;
        let offered = api::is_offered(request.api_key, on_controller);
        let outcome = match route {
            Some(route) if route.versions.contains(&request.api_version) && offered => {
                let handle = route.handle;
                self.with_cx(world, |cx| handle(cx, &request)).unwrap_or_else(|error| {
                    limited!(warn, "a connection is closed for a malformed request", by "", of peer, %peer, %error, "the connection is closed: a malformed request");
                    Outcome::Close("a malformed request")
                })
            }
            _ if request.api_key == ApiKey::ApiVersions => Outcome::body(api::unsupported_api_versions()),
            _ => Outcome::Close("an API or a version that ApiVersions does not offer"),
        };
        match outcome {
            Outcome::Parked(parked) => self.park(world, request.asked(), parked),
            other => self.answer(request.asked(), other),
        }
    }

    fn park(&mut self, world: &mut dyn World<Mail>, asked: Asked, parked: Parked) {
        let id = parked.id;
        if parked.waiting.is_heavy() {
            self.heavy.begin(asked.slot.conn, id);
            self.net.hold(asked.slot.conn, true);
        }
        self.parked.insert(asked, parked);
        let (listens, sends) = self.net.waits(asked.slot, id);
        if !listens {
            self.heavy.gone(asked.slot.conn);
            self.gone(world, vec![id]);
        } else if !sends || self.phase != Phase::Serving {
            self.resume(world, id, |waiting, cx| waiting.hurry(cx, id));
        }
    }

    fn answer(&mut self, asked: Asked, outcome: Outcome) {
        let Asked { slot, api_key, api_version, .. } = asked;
        match outcome {
            Outcome::Reply(reply) => {
                let known = api::find(api_key).is_some_and(|r| r.versions.contains(&api_version));
                let version = if known { api_version } else { 0 };
                let (head, len) = frame::response_header(api_key, version, asked.correlation_id);
                self.net.reply(slot, &head[..len], reply);
            }
            Outcome::Silent => self.net.no_reply(slot),
            Outcome::Close(why) => {
                limited!(warn, "a connection is closed", by why, of asked.peer, peer = %asked.peer, api = ?api_key, version = api_version, "the connection is closed: {why}");
                self.net.close_after(slot);
            }
            Outcome::Parked(_) => unreachable!("a parked request is parked once"),
        }
    }

    fn with_cx<R>(&mut self, world: &mut dyn World<Mail>, call: impl FnOnce(&mut Cx<'_>) -> R) -> R {
        let (image, effective) = self.shard.metadata();
        let (spare, budget) = self.net.for_replies();
        let mut cx = Cx {
            now: world.now(),
            wall_ms: world.wall_ms(),
            shard: self.id,
            shards: self.shards,
            image,
            effective,
            node: &self.node,
            volume: self.volume,
            scratch: &mut self.scratch,
            sessions: &mut self.sessions,
            producer_ids: &mut self.producer_ids,
            outbox: &mut self.outbox,
            parked: &mut self.parked,
            spare,
            budget,
            pools: &mut self.pools,
            computing: &mut self.heavy.wanted,
        };
        call(&mut cx)
    }

    /// The answer to a job has come.
    fn done(&mut self, world: &mut dyn World<Mail>, id: u64, part: u32, done: crate::shard::Done) {
        self.resume(world, id, |waiting, cx| waiting.done(cx, id, part, done));
    }

    /// Something happened to a parked request, if it is there still: it waits on, or is answered.
    fn resume(
        &mut self,
        world: &mut dyn World<Mail>,
        id: u64,
        call: impl FnOnce(&mut dyn Waiting, &mut Cx<'_>) -> Step,
    ) {
        let Some(mut waiting) = self.parked.take(id) else { return };
        match self.with_cx(world, |cx| call(&mut *waiting, cx)) {
            Step::Wait => {
                if !self.heavy.is_empty() && !waiting.is_heavy() {
                    self.heavy_ended(id);
                }
                self.parked.put_back(id, waiting);
            }
            Step::Yield => {
                self.parked.put_back(id, waiting);
                self.heavy.yielded(id);
            }
            Step::Finish(outcome) => {
                waiting.recycle(&mut self.pools);
                self.heavy_ended(id);
                self.finish(world, id, outcome);
            }
        }
    }

    /// A request is heavy no more, if it was: what its connection has sent meanwhile is served.
    fn heavy_ended(&mut self, id: u64) {
        if let Some(conn) = self.heavy.ended(id) {
            self.net.hold(conn, false);
        }
    }

    fn finish(&mut self, world: &mut dyn World<Mail>, id: u64, outcome: Outcome) {
        match outcome {
            // Opened while this one was there, so it is parked before this one goes.
            Outcome::Parked(parked) => {
                let Some(asked) = self.parked.asked(id) else { return };
                self.park(world, asked, parked);
                self.parked.finish(id);
            }
            outcome => {
                if let Some(asked) = self.parked.finish(id) {
                    self.answer(asked, outcome);
                }
            }
        }
    }

    /// Requests that are worked on in several turns have theirs, the one that has waited longest first.
    fn go_on(&mut self, world: &mut dyn World<Mail>) {
        for _ in 0..STEPS_IN_TURN {
            let Some(id) = self.heavy.next() else { return };
            self.resume(world, id, |waiting, cx| waiting.resume(cx, id));
        }
    }

    /// A connection is gone: nobody waits for its requests any more. What their owners still answer is dropped.
    fn gone(&mut self, world: &mut dyn World<Mail>, requests: Vec<u64>) {
        for id in requests {
            let Some(mut waiting) = self.parked.take(id) else { continue };
            self.with_cx(world, |cx| waiting.abandoned(cx, id));
            waiting.recycle(&mut self.pools);
            self.parked.finish(id);
        }
    }

    fn expire(&mut self, world: &mut dyn World<Mail>) {
        let now = world.now();
        while let Some(id) = self.parked.pop_expired(now) {
            self.resume(world, id, |waiting, cx| waiting.expired(cx, id));
        }
        if self.shard.deadline() <= now {
            let disk: &mut dyn Disk = world;
            self.shard.expire(disk);
        }
        if self.net.deadline() <= now {
            let sockets: &mut dyn Sockets = world;
            self.net.expire(now, sockets);
        }
    }

    /// Sends mail; what is for this core is handled at once, until nothing is left.
    fn deliver(&mut self, world: &mut dyn World<Mail>) {
        let mut leaving = std::mem::take(&mut self.leaving);
        loop {
            leaving.append(&mut self.outbox);
            leaving.append(self.shard.outbox());
            if leaving.is_empty() {
                break;
            }
            for (to, mail) in leaving.drain(..) {
                if to == self.id {
                    self.on_mail(world, mail);
                } else {
                    world.post(to, mail);
                }
            }
        }
        self.leaving = leaving;
    }

    /// Core 0 was asked to stop: every core is told to finish.
    fn stop(&mut self, world: &mut dyn World<Mail>) {
        tracing::info!("stopping: no new connections; finishing what is in flight");
        for shard in 0..self.shards {
            if shard != usize::from(self.id.0) {
                world.post(ShardId(shard as u16), Mail::Drain);
            }
        }
        self.drain(world);
    }

    fn drain(&mut self, world: &mut dyn World<Mail>) {
        if self.phase != Phase::Serving {
            return;
        }
        self.phase = Phase::Draining;
        self.drain_deadline = world.now().plus_ms(SHUTDOWN_DRAIN_MS);
        self.shard.halt_opening();
        let sockets: &mut dyn Sockets = world;
        self.net.drain(sockets);
        self.shard.write_through(world);
        // Long polls are answered now, with what there is.
        for id in self.parked.all() {
            self.resume(world, id, |waiting, cx| waiting.hurry(cx, id));
        }
    }

    fn progress(&mut self, world: &mut dyn World<Mail>) -> Turned {
        match self.phase {
            Phase::Serving => return self.tell_ready(world),
            Phase::Draining => {
                let late = world.now() >= self.drain_deadline;
                let idle = self.net.is_drained() && self.parked.is_empty() && self.shard.is_idle();
                if (idle || late) && self.drain_deadline != Ticks::NEVER {
                    if late {
                        tracing::warn!(
                            core = self.id.0,
                            "some requests were still in flight when the broker stopped"
                        );
                    }
                    self.drain_deadline = Ticks::NEVER;
                    self.outbox.push((ShardId(0), Mail::Drained(self.id)));
                    self.deliver(world);
                }
                if self.id.0 == 0 && self.drained == self.shards {
                    // To this core as well through the world: it must not begin before the others have theirs.
                    for shard in 0..self.shards {
                        world.post(ShardId(shard as u16), Mail::Close);
                    }
                    self.drained = 0;
                }
            }
            Phase::Closing | Phase::Ended => {}
        }
        if self.phase == Phase::Closing && (self.shard.is_idle() || self.close_late(world)) {
            self.clean = self.shard.close_clean(world.files());
            self.phase = Phase::Ended;
            // The mail of this turn still has to leave: the other cores wait for it.
            let mut rest = Vec::new();
            world.turn(world.now(), &mut rest);
            return Turned::Ended(self.clean);
        }
        Turned::More
    }

    fn close_late(&mut self, world: &mut dyn World<Mail>) -> bool {
        if self.drain_deadline == Ticks::NEVER {
            self.drain_deadline = world.now().plus_ms(SHUTDOWN_DRAIN_MS);
        }
        world.now() >= self.drain_deadline
    }

    /// The broker is ready when every core leads its partitions: a client may come to any of them.
    fn tell_ready(&mut self, world: &mut dyn World<Mail>) -> Turned {
        if !self.active_told && self.shard.is_registered() {
            self.active_told = true;
            self.outbox.push((ShardId(0), Mail::Active));
            self.deliver(world);
        }
        if self.ready_told || self.active < self.shards {
            let failure = self.shard.controller_failure().filter(|_| !self.ready_told);
            return failure.map_or(Turned::More, |why| Turned::Failed(why.to_owned()));
        }
        self.ready_told = true;
        Turned::Ready
    }
}

impl Tidy {
    fn turn(&mut self, world: &mut dyn World<Mail>, works: bool) {
        let now = world.now();
        if works {
            self.times_left = MEMORY_TIDY_TIMES;
        }
        if self.at > now {
            self.at = if self.at == Ticks::NEVER && works { now.plus_ms(MEMORY_TIDY_MS) } else { self.at };
            return;
        }
        self.times_left = self.times_left.saturating_sub(1);
        self.at = if self.times_left > 0 { now.plus_ms(MEMORY_TIDY_MS) } else { Ticks::NEVER };
        world.tidy_memory();
    }
}
