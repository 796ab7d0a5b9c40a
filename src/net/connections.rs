//! The connections of one core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};

use super::acceptor::Acceptor;
use super::frames::{FrameError, Frames};
use super::replies::{Replies, Reply, Spare};
use super::{NetConfig, NetEvent, Slot};
use crate::base::limits::NET_SCRATCH_BYTES;
use crate::base::{IdMap, ShardId, Ticks};
use crate::io::{ConnId, ListenerId, Socket, SocketEvent, Sockets};

/// The connections of one core; see the [module](super).
pub struct Net {
    config: NetConfig,
    /// On core 0, which decides for all.
    acceptor: Option<Acceptor>,
    listeners: BTreeMap<ListenerId, u32>,
    conns: IdMap<ConnId, Conn>,
    /// Connections that may have something to send or whose reading may have to change.
    dirty: Vec<ConnId>,
    /// Connections that the core's budget keeps from being read.
    starved: BTreeSet<ConnId>,
    /// The connection that may assemble a large request beyond the core's budget.
    privileged: Option<ConnId>,
    /// When to look at a connection for idleness: never later than it is due.
    checks: BTreeSet<(Ticks, ConnId)>,
    /// When to look for connections in the way of starved ones; never while none is starved.
    pressure_at: Ticks,
    now: Ticks,
    /// What all connections hold.
    held: usize,
    draining: bool,
    /// Where replies are put together that leave with one send.
    scratch: BytesMut,
    /// Of the send that is being made.
    parts: Vec<Bytes>,
    spare: Spare,
    frames: Vec<Bytes>,
}

struct Conn {
    peer: SocketAddr,
    listener: u32,
    frames: Frames,
    replies: Replies,
    reading: Reading,
    /// Bytes of the send in flight.
    sending: usize,
    send_in_flight: bool,
    /// What this connection has in [`Net::held`].
    held: usize,
    dirty: bool,
    /// Ends after the slot before this one has been sent.
    close_before: Option<u64>,
    /// Closed by us; its end is not reported yet.
    closing: bool,
    active: Ticks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Small requests, as they come.
    Small,
    /// Into the buffer of a large request.
    Large,
    /// Not at all.
    Paused,
}

impl Conn {
    /// Has it looked at by the next [`Net::flush`].
    fn touch(&mut self, id: ConnId, dirty: &mut Vec<ConnId>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(id);
        }
    }

    /// Brings what all connections hold up to date.
    fn account(&mut self, all: &mut usize) {
        let held = self.replies.held() + self.sending + self.frames.held();
        *all = *all - self.held + held;
        self.held = held;
    }
}

impl Net {
    /// Without connections.
    pub fn new(config: NetConfig) -> Net {
        Net {
            acceptor: (config.shard.0 == 0).then(|| Acceptor::new(config.shards)),
            config,
            listeners: BTreeMap::new(),
            conns: IdMap::default(),
            dirty: Vec::new(),
            starved: BTreeSet::new(),
            privileged: None,
            checks: BTreeSet::new(),
            pressure_at: Ticks::NEVER,
            now: Ticks::default(),
            held: 0,
            draining: false,
            scratch: BytesMut::with_capacity(NET_SCRATCH_BYTES),
            parts: Vec::new(),
            spare: Spare::default(),
            frames: Vec::new(),
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

    /// Bytes of requests in flight and unread replies.
    pub fn held_bytes(&self) -> usize {
        self.held
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
                self.arrived(now, id, io, out, |conn, frames| conn.frames.feed(bytes, frames));
            }
            SocketEvent::Filled(id, buffer) => {
                self.arrived(now, id, io, out, |conn, frames| {
                    conn.reading = Reading::Paused;
                    conn.frames.filled(buffer, frames)
                });
            }
            SocketEvent::Sent(id) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.send_in_flight = false;
                    conn.sending = 0;
                    conn.active = now;
                    conn.touch(id, &mut self.dirty);
                }
            }
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
                    tracing::info!(peer = %socket.peer, "connection refused: {refusal}");
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
                    replies: Replies::default(),
                    reading: Reading::Small,
                    sending: 0,
                    send_in_flight: false,
                    held: 0,
                    dirty: false,
                    close_before: self.draining.then_some(0),
                    closing: false,
                    active: now,
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

    fn arrived(
        &mut self,
        now: Ticks,
        id: ConnId,
        io: &mut dyn Sockets,
        out: &mut VecDeque<NetEvent>,
        take: impl FnOnce(&mut Conn, &mut Vec<Bytes>) -> Result<(), FrameError>,
    ) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| !c.closing && c.close_before.is_none()) else {
            return;
        };
        conn.active = now;
        let taken = take(conn, &mut self.frames);
        for frame in self.frames.drain(..) {
            let slot = Slot { conn: id, seq: conn.replies.open(frame.len()) };
            out.push_back(NetEvent::Frame { slot, frame, peer: conn.peer, listener: conn.listener });
        }
        if let Err(e) = taken {
            tracing::info!(peer = %conn.peer, "connection closed: {e}");
            self.close(id, io);
        } else {
            // Steered at the end of the turn: more of this connection may lie among this turn's events, and must
            // not come after a buffer was lent for it.
            conn.account(&mut self.held);
            conn.touch(id, &mut self.dirty);
        }
    }

    /// Replies to write into.
    pub fn spare(&mut self) -> &mut Spare {
        &mut self.spare
    }

    /// Names who is to be told, by [`NetEvent::Gone`], if the connection ends before this slot is answered.
    pub fn waits(&mut self, slot: Slot, waiting: u64) {
        if let Some(conn) = self.conns.get_mut(&slot.conn) {
            conn.replies.waits(slot.seq, waiting);
        }
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
        let answered = conn.replies.answer(slot.seq, reply);
        debug_assert!(answered, "a slot is answered once: {slot:?}");
        conn.touch(slot.conn, &mut self.dirty);
    }

    /// Ends a connection with this slot: what was asked before it is answered and sent, and its own reply if it has been
    /// given; then the connection closes. It is not read any more.
    pub fn close_after(&mut self, slot: Slot) {
        if let Some(conn) = self.conns.get_mut(&slot.conn).filter(|c| !c.closing) {
            conn.replies.answer(slot.seq, None); // unless it has been answered
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
            if ends && !conn.send_in_flight {
                self.close(id, io);
            } else {
                conn.account(&mut self.held);
                self.steer(id, io);
            }
        }
        debug_assert!(self.dirty.is_empty(), "nothing is touched while it is looked at");
        self.dirty = dirty;
        self.feed_starved(io);
    }

    /// When [`Net::expire`] wants to be called.
    pub fn deadline(&self) -> Ticks {
        self.checks.first().map_or(Ticks::NEVER, |(at, _)| *at).min(self.pressure_at)
    }

    /// Closes connections that were idle for too long, and, while the budget is used up, those without progress.
    pub fn expire(&mut self, now: Ticks, io: &mut dyn Sockets) {
        self.now = now;
        while let Some(&(at, id)) = self.checks.first()
            && at <= now
        {
            self.checks.pop_first();
            let Some(conn) = self.conns.get(&id) else { continue };
            let idle = now >= conn.active.plus_ms(self.config.idle_ms);
            if idle && conn.replies.open_count() == 0 {
                tracing::debug!(peer = %conn.peer, "connection closed: idle");
                self.close(id, io);
            } else {
                self.check_idle_later(id);
            }
        }
        if self.pressure_at <= now {
            self.pressure_at = now.plus_ms(self.config.pressure_ms);
            let in_the_way = |id: ConnId, conn: &Conn| {
                (conn.send_in_flight || self.privileged == Some(id))
                    && now >= conn.active.plus_ms(self.config.pressure_ms)
            };
            let mut found: Vec<ConnId> =
                self.conns.iter().filter(|(id, c)| in_the_way(**id, c)).map(|(id, _)| *id).collect();
            found.sort_unstable();
            for id in found {
                tracing::info!(conn = id.0, "connection closed: no progress while memory is short");
                self.close(id, io);
            }
        }
    }

    /// Plans the next look at a connection: when it would be idle if nothing happened until then.
    fn check_idle_later(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if self.config.idle_ms >= 0 {
            let due = conn.active.plus_ms(self.config.idle_ms);
            // Overdue only while it waits for our replies.
            let at = if due > self.now { due } else { self.now.plus_ms(self.config.idle_ms.max(1)) };
            self.checks.insert((at, id));
        }
    }

    fn set_starved(&mut self, id: ConnId, starved: bool) {
        if starved {
            self.starved.insert(id);
        } else {
            self.starved.remove(&id);
        }
        if self.starved.is_empty() {
            self.pressure_at = Ticks::NEVER;
        } else if self.pressure_at == Ticks::NEVER {
            self.pressure_at = self.now.plus_ms(self.config.pressure_ms);
        }
    }

    fn ended(&mut self, id: ConnId, how: &std::io::Result<()>, out: &mut VecDeque<NetEvent>) {
        let Some(conn) = self.conns.remove(&id) else { return };
        if let Err(e) = how {
            tracing::debug!(peer = %conn.peer, error = %e, "connection lost");
        }
        self.held -= conn.held;
        self.set_starved(id, false);
        self.lose_privilege(id);
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

    fn lose_privilege(&mut self, id: ConnId) {
        if self.privileged == Some(id) {
            self.privileged = None;
        }
    }

    /// Makes a connection be read the way its state and the budgets want.
    fn steer(&mut self, id: ConnId, io: &mut dyn Sockets) {
        let Some(conn) = self.conns.get(&id).filter(|c| !c.closing) else { return };
        let large = conn.frames.is_large();
        if !large {
            self.lose_privilege(id);
        }
        let (allowed, starved) = self.allowance(id);
        self.set_starved(id, starved);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match (conn.reading, large, allowed) {
            // The buffer is with the ring until it is filled.
            (Reading::Large, _, _) | (Reading::Small, false, true) | (Reading::Paused, _, false) => {}
            (Reading::Paused, false, true) => {
                io.resume(id);
                conn.reading = Reading::Small;
            }
            (Reading::Small, _, false) => {
                io.pause(id);
                conn.reading = Reading::Paused;
            }
            (Reading::Small | Reading::Paused, true, true) => {
                if conn.reading == Reading::Small {
                    io.pause(id);
                }
                conn.reading = Reading::Paused;
                if let Some(buffer) = conn.frames.lend() {
                    io.recv_into(id, buffer);
                    conn.reading = Reading::Large;
                }
                conn.account(&mut self.held);
            }
        }
    }

    /// Whether a connection may be read, and if not, whether the core's budget is the reason.
    fn allowance(&mut self, id: ConnId) -> (bool, bool) {
        let Some(conn) = self.conns.get(&id) else { return (false, false) };
        let config = &self.config;
        if conn.close_before.is_some() || conn.replies.open_count() >= config.requests_in_flight_max {
            return (false, false);
        }
        let busy = conn.replies.held() + conn.sending;
        if busy >= config.connection_bytes_max {
            return (false, false);
        }
        if !conn.frames.is_large() {
            // Whoever has nothing in flight may ask one thing, or a few clients could silence all others.
            let allowed = self.held < config.core_bytes_max || busy == 0;
            return (allowed, !allowed);
        }
        // A large request goes on alone on its connection, or it could fill the connection's budget twice.
        let growth = conn.frames.growth();
        if conn.held + growth > config.connection_bytes_max && busy > 0 {
            return (false, false);
        }
        if self.held + growth <= config.core_bytes_max || self.privileged == Some(id) {
            return (true, false);
        }
        if self.privileged.is_none() {
            self.privileged = Some(id);
            return (true, false);
        }
        (false, true)
    }

    /// Lets connections read on that waited for the core's budget, as far as it reaches.
    fn feed_starved(&mut self, io: &mut dyn Sockets) {
        if self.starved.is_empty() || (self.held >= self.config.core_bytes_max && self.privileged.is_some()) {
            return;
        }
        for id in self.starved.iter().copied().collect::<Vec<_>>() {
            self.steer(id, io);
        }
    }
}
