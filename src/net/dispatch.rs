//! Which request is served next: the connections take turns, and a connection that does not take its replies gets no more.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::budget::{Budget, Weight};
use super::connections::{Conn, Net};
use super::{Arrived, NetConfig, Slot};
use crate::base::limits::{NET_BEHIND_BYTES_MAX, NET_STANDING_MS, NET_TURN_BYTES};
use crate::base::{IdMap, Ticks};
use crate::io::{ConnId, Sockets};

/// Whole requests of one connection that are not being served yet.
#[derive(Default)]
pub(super) struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// It is in one of the lists of [`Ready`].
    listed: bool,
    /// Its requests wait for one that is worked on.
    held: bool,
    /// It is among [`Ready::large_unsent`].
    large_unsent: bool,
}

/// Connections with requests to serve.
#[derive(Default)]
pub(super) struct Ready {
    /// In turn.
    small: VecDeque<ConnId>,
    /// Whose turn it is, and how many bytes of requests it may still have served: what came together is answered together,
    /// with one send.
    turn: (Option<ConnId>, usize),
    /// Those whose next request may have a large reply.
    large: VecDeque<ConnId>,
    /// The same, while the core's budget has no room for it.
    blocked: VecDeque<ConnId>,
    /// What was used when the last one was blocked.
    blocked_at: usize,
    /// Connections with a large reply that has not left, and what they had taken of it when. Those that stand still are not
    /// waited for.
    large_unsent: BTreeMap<ConnId, (u64, Ticks)>,
}

/// Whether a request may be served now.
enum Permit {
    Yes,
    /// When its connection has been answered, or has taken what it was sent.
    Later,
    /// When there is memory.
    Blocked,
}

impl Extend<Bytes> for Queue {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, frames: I) {
        for frame in frames {
            self.bytes += frame.len();
            self.frames.push_back(frame);
        }
    }
}

impl Queue {
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

impl Ready {
    /// A connection has requests to serve.
    pub(super) fn push(&mut self, id: ConnId, conn: &mut Conn) {
        if !conn.queue.listed && !conn.queue.is_empty() {
            conn.queue.listed = true;
            self.small.push_back(id);
        }
    }

    /// Something has happened to a connection: its next request may be served now.
    pub(super) fn look_at(&mut self, id: ConnId, conn: &mut Conn) {
        if conn.queue.large_unsent && conn.busy() == 0 {
            self.forget(id, conn);
        }
        self.push(id, conn);
    }

    /// A connection has no large reply any more, or has ended.
    pub(super) fn forget(&mut self, id: ConnId, conn: &mut Conn) {
        if std::mem::take(&mut conn.queue.large_unsent) {
            self.large_unsent.remove(&id);
        }
    }

    /// While others wait for memory, those that take nothing of their large replies give up their place: what they hold
    /// stays counted.
    pub(super) fn pass_standing(&mut self, now: Ticks, conns: &mut IdMap<ConnId, Conn>, io: &dyn Sockets) {
        if !self.is_blocked() {
            return;
        }
        self.large_unsent.retain(|id, (taken, at)| {
            let Some(conn) = conns.get_mut(id) else { return false };
            let bytes = io.transferred(*id);
            if !conn.send_in_flight || bytes > *taken {
                (*taken, *at) = (bytes, now);
            }
            conn.queue.large_unsent = now < at.plus_ms(NET_STANDING_MS);
            conn.queue.large_unsent
        });
    }

    /// A request of a connection is being served, and it may have more.
    fn served(&mut self, id: ConnId, bytes: usize, more: bool) {
        let left = if self.turn.0 == Some(id) { self.turn.1 } else { NET_TURN_BYTES };
        self.turn = (Some(id), left.saturating_sub(bytes));
        match (more, self.turn.1) {
            (false, _) => {}
            (true, 0) => {
                self.turn.0 = None;
                self.small.push_back(id);
            }
            (true, _) => self.small.push_front(id),
        }
    }

    /// Those that waited for memory try again, if there is more of it.
    pub(super) fn unblock(&mut self, budget: &Budget) {
        if self.is_blocked() && (budget.used() < self.blocked_at || self.large_unsent.is_empty()) {
            self.large.append(&mut self.blocked);
        }
    }

    /// Whether a connection waits for memory.
    pub(super) fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether a connection's next request may be served. One of each connection always may if it is small; a large one
    /// needs room for its reply, or that no other large reply waits to be sent.
    fn permit(&self, conn: &Conn, weight: Weight, config: &NetConfig, budget: &Budget) -> Permit {
        let busy = conn.busy();
        let alone = conn.queue.held
            || weight.alone && (conn.replies.has_alone() || (busy > 0 && budget.is_half_used()))
            || weight.behind_replies && busy > NET_BEHIND_BYTES_MAX;
        let full = busy >= config.connection_bytes_max && busy > 0;
        if alone || full || conn.replies.open_count() >= config.requests_in_flight_max {
            return Permit::Later;
        }
        let fits = if weight.bytes > 0 { budget.room() >= weight.bytes } else { !budget.is_short() };
        match (fits, busy > 0) {
            (true, _) => Permit::Yes,
            (false, true) => Permit::Later,
            (false, false) if weight.bytes == 0 || self.large_unsent.is_empty() => Permit::Yes,
            (false, false) => Permit::Blocked,
        }
    }
}

impl Net {
    /// Lets a connection's requests wait, as one of it costs much and is worked on, or serves them again.
    pub fn hold(&mut self, id: ConnId, held: bool) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.queue.held = held;
            if !held {
                self.ready.push(id, conn);
            }
        }
    }

    /// Whether requests may be served at once.
    pub fn has_ready(&self) -> bool {
        !self.ready.small.is_empty() || !self.ready.large.is_empty() || self.budget.has_next()
    }

    /// The next small request: a few of each connection in turn.
    pub fn next_small(&mut self, weigh: impl Fn(&[u8]) -> Weight) -> Option<Arrived> {
        while let Some(id) = self.ready.small.pop_front() {
            if let Some(arrived) = self.serve(id, &weigh, false) {
                return Some(arrived);
            }
        }
        None
    }

    /// The next request whose reply may be large.
    pub fn next_large(&mut self, weigh: impl Fn(&[u8]) -> Weight) -> Option<Arrived> {
        while let Some(id) = self.ready.large.pop_front() {
            if let Some(arrived) = self.serve(id, &weigh, true) {
                return Some(arrived);
            }
        }
        None
    }

    /// A connection's next request, if it may be served now, and is small or `large` ones are; else the connection goes to
    /// the list in which it waits, or to none.
    fn serve(&mut self, id: ConnId, weigh: &impl Fn(&[u8]) -> Weight, large: bool) -> Option<Arrived> {
        let conn = self.conns.get_mut(&id)?;
        conn.queue.listed = false;
        let weight = weigh(conn.queue.frames.front().filter(|_| conn.is_served())?);
        if weight.bytes > 0 && !large {
            conn.queue.listed = true;
            self.ready.large.push_back(id);
            return None;
        }
        match self.ready.permit(conn, weight, &self.config, &self.budget) {
            Permit::Later => return None,
            Permit::Blocked => {
                conn.queue.listed = true;
                self.ready.blocked.push_back(id);
                self.ready.blocked_at = self.budget.used();
                return None;
            }
            Permit::Yes => {}
        }
        let frame = conn.queue.pop()?;
        let slot = Slot { conn: id, seq: conn.replies.open(frame.len(), weight.alone) };
        if weight.bytes > 0 && !conn.queue.large_unsent {
            conn.queue.large_unsent = true;
            self.ready.large_unsent.insert(id, (0, self.now));
        }
        conn.queue.listed = !conn.queue.is_empty();
        self.ready.served(id, frame.len(), conn.queue.listed);
        conn.touch(id, &mut self.dirty);
        Some(Arrived { slot, frame, peer: conn.peer, listener: conn.listener, weight })
    }
}
