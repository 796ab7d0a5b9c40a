//! The connections of one core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};

use super::acceptor::Acceptor;
use super::budget::Budget;
use super::dispatch::{Queue, Ready};
use super::frames::{FrameError, Frames};
use super::pressure::{Mark, Pressure};
use super::replies::{Replies, Reply, Spare};
use super::{NetConfig, NetEvent, Slot};
use crate::base::limits::NET_SCRATCH_BYTES;
use crate::base::{IdMap, ShardId, Ticks};
use crate::io::repeats::limited;
use crate::io::{ConnId, ListenerId, Socket, SocketEvent, Sockets};

/// The connections of one core; see the [module](super).
pub struct Net {
    pub(super) config: NetConfig,
    /// On core 0, which decides for all.
    acceptor: Option<Acceptor>,
    listeners: BTreeMap<ListenerId, u32>,
    pub(super) conns: IdMap<ConnId, Conn>,
    /// Connections that may have something to send or whose reading may have to change.
    pub(super) dirty: Vec<ConnId>,
    /// Connections with requests to serve.
    pub(super) ready: Ready,
    pub(super) pressure: Pressure,
    /// When to look at a connection for idleness: never later than it is due.
    pub(super) checks: BTreeSet<(Ticks, ConnId)>,
    pub(super) now: Ticks,
    pub(super) budget: Budget,
    draining: bool,
    /// Where replies are put together that leave with one send.
    scratch: BytesMut,
    /// Of the send that is being made.
    parts: Vec<Bytes>,
    spare: Spare,
}

pub(super) struct Conn {
    pub(super) peer: SocketAddr,
    pub(super) listener: u32,
    pub(super) frames: Frames,
    /// Whole requests that are not being served yet.
    pub(super) queue: Queue,
    pub(super) replies: Replies,
    pub(super) reading: Reading,
    /// Bytes of the send in flight.
    pub(super) sending: usize,
    pub(super) send_in_flight: bool,
    /// What this connection has in the budget.
    pub(super) held: usize,
    dirty: bool,
    /// Ends after the slot before this one has been sent.
    close_before: Option<u64>,
    /// Closed by us; its end is not reported yet.
    pub(super) closing: bool,
    peer_state: Peer,
    pub(super) active: Ticks,
    pub(super) mark: Mark,
}

/// What decides how a connection is read, beside its own state.
pub(super) struct Given<'a> {
    pub(super) config: &'a NetConfig,
    pub(super) budget: &'a mut Budget,
    pub(super) pressure: &'a mut Pressure,
}

/// What is known of the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// It may send more.
    Open,
    /// It sends no more than what is still to be read.
    Ending,
    /// It sends no more: what it has asked for is answered, then the connection closes.
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Small requests, as they come.
    Small,
    /// Into the buffer of a large request.
    Large,
    /// Not at all.
    Paused,
}

impl Conn {
    /// Has it looked at by the next [`Net::flush`].
    pub(super) fn touch(&mut self, id: ConnId, dirty: &mut Vec<ConnId>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(id);
        }
    }

    /// Brings what all connections hold up to date.
    pub(super) fn account(&mut self, budget: &mut Budget) {
        let held = self.busy() + self.queue.bytes() + self.frames.held();
        budget.held = budget.held - self.held + held;
        self.held = held;
    }

    /// Bytes of requests under way and of replies that have not left.
    pub(super) fn busy(&self) -> usize {
        self.replies.held() + self.sending
    }

    /// Whether requests of it may be served.
    pub(super) fn is_served(&self) -> bool {
        !self.closing && self.close_before.is_none()
    }

    /// Whether bytes are on their way in one of both directions.
    pub(super) fn is_in_transfer(&self) -> bool {
        self.send_in_flight || self.frames.held() > 0
    }

    /// Whether all that was asked for has been answered, and all answers have left.
    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.replies.len() == 0 && !self.send_in_flight
    }

    /// Makes it be read the way its state and the budgets want.
    pub(super) fn steer(&mut self, id: ConnId, given: &mut Given<'_>, io: &mut dyn Sockets) {
        let large = self.frames.is_large();
        let (allowed, starved) = self.allowance(given, large, id);
        given.pressure.steered(id, large, starved);
        match (self.reading, large, allowed) {
            // The buffer is with the ring until it is filled.
            (Reading::Large, _, _) | (Reading::Small, false, true) | (Reading::Paused, _, false) => {}
            (Reading::Paused, false, true) => {
                io.resume(id);
                self.reading = Reading::Small;
            }
            (Reading::Small, _, false) => {
                io.pause(id);
                if self.peer_state == Peer::Open {
                    io.watch(id);
                }
                self.reading = Reading::Paused;
            }
            (Reading::Small | Reading::Paused, true, true) => {
                if self.reading == Reading::Small {
                    io.pause(id);
                }
                self.reading = Reading::Paused;
                if let Some(buffer) = self.frames.lend(given.budget.is_half_used()) {
                    io.recv_into(id, buffer);
                    self.reading = Reading::Large;
                }
                self.account(given.budget);
            }
        }
    }

    /// Whether it may be read, and if not, whether the core's budget is the reason.
    fn allowance(&self, given: &Given<'_>, large: bool, id: ConnId) -> (bool, bool) {
        let Given { config, budget, pressure } = given;
        let requests = self.replies.open_count() + self.queue.len();
        if self.peer_state == Peer::Ended
            || self.close_before.is_some()
            || requests >= config.requests_in_flight_max
        {
            return (false, false);
        }
        let busy = self.busy() + self.queue.bytes();
        if busy >= config.connection_bytes_max {
            return (false, false);
        }
        if !large {
            // Whoever has nothing in flight may ask one thing, or a few clients could silence all others.
            let allowed = !budget.is_short() || busy == 0;
            return (allowed, !allowed);
        }
        // A large request goes on alone on its connection, or it could fill the connection's budget twice.
        let growth = self.frames.growth(budget.is_half_used());
        if self.held + growth > config.connection_bytes_max && busy > 0 {
            return (false, false);
        }
        if budget.used() + growth <= config.core_bytes_max || pressure.is_privileged(id) {
            return (true, false);
        }
        (false, true)
    }
}

impl Net {
    /// Without connections.
    pub fn new(config: NetConfig) -> Net {
        Net {
            acceptor: (config.shard.0 == 0).then(|| Acceptor::new(config.shards)),
            budget: Budget::new(config.core_bytes_max),
            config,
            listeners: BTreeMap::new(),
            conns: IdMap::default(),
            dirty: Vec::new(),
            ready: Ready::default(),
            pressure: Pressure::default(),
            checks: BTreeSet::new(),
            now: Ticks::default(),
            draining: false,
            scratch: BytesMut::with_capacity(NET_SCRATCH_BYTES),
            parts: Vec::new(),
            spare: Spare::default(),
        }
    }

    /// Changes the limits for connections and requests to come.
    pub fn configure(&mut self, change: impl FnOnce(&mut NetConfig)) {
        change(&mut self.config);
    }

    /// Listens on an address; connections through it carry `listener`. Gives the address bound.
    pub fn listen(
        &mut self,
        listener: u32,
        address: SocketAddr,
        io: &mut dyn Sockets,
    ) -> std::io::Result<SocketAddr> {
        let (id, bound) = io.listen(address)?;
        self.listeners.insert(id, listener);
        Ok(bound)
    }

    /// Open connections of this core.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Bytes of requests in flight and unread replies, and what is reserved for replies under construction.
    pub fn held_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Takes what happened to a socket.
    pub fn on_event(
        &mut self,
        now: Ticks,
        event: SocketEvent,
        io: &mut dyn Sockets,
        out: &mut VecDeque<NetEvent>,
    ) {
        self.now = now;
        match event {
            SocketEvent::Accepted(listener, socket) => self.accepted(now, listener, socket, io, out),
            SocketEvent::Received(id, bytes) => {
                self.arrived(now, id, |conn| conn.frames.feed(bytes, &mut conn.queue));
            }
            SocketEvent::Filled(id, buffer) => {
                self.arrived(now, id, |conn| {
                    conn.reading = Reading::Paused;
                    conn.frames.filled(buffer, &mut conn.queue)
                });
            }
            SocketEvent::Sent(id) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.send_in_flight = false;
                    conn.sending = 0;
                    conn.active = now;
                    conn.account(&mut self.budget);
                    conn.touch(id, &mut self.dirty);
                }
            }
            SocketEvent::Ending(id) => self.peer_ends(id, Peer::Ending, out),
            SocketEvent::Ended(id) => self.peer_ends(id, Peer::Ended, out),
            SocketEvent::Closed(id, how) => self.ended(id, &how, out),
        }
    }

    fn accepted(
        &mut self,
        now: Ticks,
        listener: ListenerId,
        socket: Socket,
        io: &mut dyn Sockets,
        out: &mut VecDeque<NetEvent>,
    ) {
        let Some(listener) = self.listeners.get(&listener).copied().filter(|_| !self.draining) else {
            return;
        };
        let here = self.config.shard;
        let to = match &mut self.acceptor {
            None => here,
            Some(acceptor) => match acceptor.admit(&self.config, socket.peer.ip()) {
                Ok(to) => to,
                Err(refusal) => {
                    limited!(info, "a connection is refused", by refusal.cause(), of socket.peer, peer = %socket.peer, "connection refused: {refusal}");
                    return;
                }
            },
        };
        if to == here {
            self.adopt(now, listener, socket, io, out);
        } else {
            out.push_back(NetEvent::Handover { socket, listener, to });
        }
    }

    /// Serves a connection that core 0 has given to this core.
    pub fn adopt(
        &mut self,
        now: Ticks,
        listener: u32,
        socket: Socket,
        io: &mut dyn Sockets,
        out: &mut VecDeque<NetEvent>,
    ) {
        self.now = now;
        let peer = socket.peer;
        match io.adopt(socket) {
            Err(e) => {
                tracing::debug!(%peer, error = %e, "connection lost before it began");
                // No id was given; this one is nobody's.
                self.report_gone(ConnId(u64::MAX), peer, Vec::new(), out);
            }
            Ok(id) => {
                let conn = Conn {
                    peer,
                    listener,
                    frames: Frames::new(self.config.frame_bytes_max),
                    queue: Queue::default(),
                    replies: Replies::default(),
                    reading: Reading::Small,
                    sending: 0,
                    send_in_flight: false,
                    held: 0,
                    dirty: false,
                    close_before: self.draining.then_some(0),
                    closing: false,
                    peer_state: Peer::Open,
                    active: now,
                    mark: Mark::default(),
                };
                self.conns.entry(id).insert_entry(conn).get_mut().touch(id, &mut self.dirty);
                self.check_idle_later(id);
            }
        }
    }

    /// A connection of another core has ended (core 0).
    pub fn released(&mut self, shard: ShardId, peer: IpAddr) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.released(shard, peer);
        }
    }

    fn arrived(&mut self, now: Ticks, id: ConnId, take: impl FnOnce(&mut Conn) -> Result<(), FrameError>) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.is_served() && c.peer_state != Peer::Ended)
        else {
            return;
        };
        conn.active = now;
        let taken = take(conn);
        self.ready.push(id, conn);
        if let Err(e) = taken {
            // What came before is served.
            limited!(info, "a connection is closed", by e.cause(), of conn.peer, peer = %conn.peer, "connection closed: {e}");
            conn.peer_state = Peer::Ended;
        }
        // Steered at the end of the turn: more of this connection may lie among this turn's events, and must not come
        // after a buffer was lent for it.
        conn.account(&mut self.budget);
        conn.touch(id, &mut self.dirty);
    }

    /// The client sends no more. What it still waits for is answered; what only waits for something to happen, now.
    fn peer_ends(&mut self, id: ConnId, state: Peer, out: &mut VecDeque<NetEvent>) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| !c.closing && c.peer_state != Peer::Ended) else {
            return;
        };
        conn.peer_state = state;
        conn.touch(id, &mut self.dirty);
        let waiting: Vec<u64> = conn.replies.waiting().collect();
        if !waiting.is_empty() {
            out.push_back(NetEvent::Ended { waiting });
        }
    }

    /// Replies to write into, and the memory for them.
    pub fn for_replies(&mut self) -> (&mut Spare, &mut Budget) {
        (&mut self.spare, &mut self.budget)
    }

    /// Names who is to be told, by [`NetEvent::Gone`], if the connection ends before this slot is answered. Gives whether
    /// its client still takes an answer, and whether it may send more: if not, nothing is to be waited for.
    pub fn waits(&mut self, slot: Slot, waiting: u64) -> (bool, bool) {
        let Some(conn) = self.conns.get_mut(&slot.conn) else { return (false, false) };
        conn.replies.waits(slot.seq, waiting);
        (!conn.closing, !conn.closing && conn.peer_state == Peer::Open)
    }

    /// Answers a request: `head`, then the reply. Nothing happens if its connection has ended. Sent by the next
    /// [`Net::flush`].
    pub fn reply(&mut self, slot: Slot, head: &[u8], reply: Reply) {
        self.answer(slot, Some((head, reply)));
    }

    /// Ends a request that gets no reply (Produce with `acks=0`).
    pub fn no_reply(&mut self, slot: Slot) {
        self.answer(slot, None);
    }

    fn answer(&mut self, slot: Slot, reply: Option<(&[u8], Reply)>) {
        let Some(conn) = self.conns.get_mut(&slot.conn).filter(|c| !c.closing) else { return };
        let answered = conn.replies.answer(slot.seq, reply, conn.send_in_flight);
        debug_assert!(answered, "a slot is answered once: {slot:?}");
        conn.account(&mut self.budget);
        conn.touch(slot.conn, &mut self.dirty);
    }

    /// Ends a connection with this slot: what was asked before it is answered and sent, and its own reply if it has been
    /// given; then the connection closes. It is not read any more.
    pub fn close_after(&mut self, slot: Slot) {
        if let Some(conn) = self.conns.get_mut(&slot.conn).filter(|c| !c.closing) {
            conn.replies.answer(slot.seq, None, false); // unless it has been answered
            conn.queue.clear();
            let end = slot.seq + 1;
            conn.close_before = Some(conn.close_before.map_or(end, |before| before.min(end)));
            conn.touch(slot.conn, &mut self.dirty);
        }
    }

    /// Closes a connection at once; [`NetEvent::Gone`] follows.
    pub fn close(&mut self, id: ConnId, io: &mut dyn Sockets) {
        if let Some(conn) = self.conns.get_mut(&id).filter(|c| !c.closing) {
            conn.closing = true;
            io.close(id);
        }
    }

    /// Begins to shut down: no new connections and requests; each connection closes when its replies have left.
    pub fn drain(&mut self, io: &mut dyn Sockets) {
        self.draining = true;
        for id in std::mem::take(&mut self.listeners).into_keys() {
            io.unlisten(id);
        }
        for (id, conn) in &mut self.conns {
            let end = conn.replies.first_seq() + conn.replies.len() as u64;
            conn.queue.clear();
            conn.close_before = Some(conn.close_before.map_or(end, |before| before.min(end)));
            conn.touch(*id, &mut self.dirty);
        }
        self.dirty.sort_unstable();
    }

    /// Whether every connection has ended after [`Net::drain`].
    pub fn is_drained(&self) -> bool {
        self.draining && self.conns.is_empty()
    }

    /// Sends what is due and reads on or stops reading as the budgets want. To be called once at the end of a turn.
    pub fn flush(&mut self, io: &mut dyn Sockets) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            conn.dirty = false;
            if conn.closing {
                continue;
            }
            if !conn.send_in_flight {
                let bytes = conn.replies.take_due(&mut self.scratch, &mut self.parts, &mut self.spare);
                if bytes > 0 {
                    conn.sending = bytes;
                    conn.send_in_flight = true;
                    io.send(id, &mut self.parts);
                }
            }
            let ends = conn.close_before.is_some_and(|before| conn.replies.first_seq() >= before);
            conn.account(&mut self.budget);
            if (ends && !conn.send_in_flight) || (conn.peer_state == Peer::Ended && conn.is_done()) {
                conn.closing = true;
                io.close(id);
            } else {
                self.ready.look_at(id, conn);
                let (config, budget, pressure) = (&self.config, &mut self.budget, &mut self.pressure);
                conn.steer(id, &mut Given { config, budget, pressure }, io);
            }
        }
        debug_assert!(self.dirty.is_empty(), "nothing is touched while it is looked at");
        self.dirty = dirty;
        self.ready.unblock(&self.budget);
        self.feed_starved(io);
        self.watch_pressure();
    }

    fn ended(&mut self, id: ConnId, how: &std::io::Result<()>, out: &mut VecDeque<NetEvent>) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        if let Err(e) = how {
            tracing::debug!(peer = %conn.peer, error = %e, "connection lost");
        }
        self.budget.held -= conn.held;
        self.ready.forget(id, &mut conn);
        self.pressure.forget(id);
        self.report_gone(id, conn.peer, conn.replies.waiting().collect(), out);
    }

    fn report_gone(
        &mut self,
        conn: ConnId,
        peer: SocketAddr,
        waiting: Vec<u64>,
        out: &mut VecDeque<NetEvent>,
    ) {
        let shard = self.config.shard;
        self.released(shard, peer.ip());
        out.push_back(NetEvent::Gone { conn, peer, waiting });
    }
}
