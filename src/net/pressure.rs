//! Connections without progress: those that are idle, and, while memory is short, those that keep others from theirs.

use std::collections::BTreeSet;

use super::connections::{Given, Net, Reading};
use crate::base::Ticks;
use crate::base::limits::{NET_PRIVILEGE_MS, NET_PROGRESS_BYTES_MIN};
use crate::io::repeats::limited;
use crate::io::{ConnId, Sockets};

/// What a connection had transferred, and when that was looked at.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    bytes: u64,
    at: Option<Ticks>,
}

/// Who waits for memory, and who is looked at for it.
pub(super) struct Pressure {
    /// Connections that the core's budget keeps from being read.
    starved: BTreeSet<ConnId>,
    /// The connection that may assemble a large request beyond the core's budget, and what it had transferred then.
    privileged: Option<(ConnId, u64)>,
    /// When to look for those in the way; never while memory is not short.
    at: Ticks,
}

impl Default for Pressure {
    fn default() -> Self {
        Pressure { starved: BTreeSet::new(), privileged: None, at: Ticks::NEVER }
    }
}

impl Pressure {
    /// How a connection is read has been decided: whether it assembles a large request, and whether the budget keeps it from
    /// that.
    pub(super) fn steered(&mut self, id: ConnId, large: bool, starved: bool) {
        if starved {
            self.starved.insert(id);
        } else if !self.starved.is_empty() {
            self.starved.remove(&id);
        }
        if !large && self.is_privileged(id) {
            self.privileged = None;
        }
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.steered(id, false, false);
    }

    pub(super) fn is_privileged(&self, id: ConnId) -> bool {
        self.privileged.is_some_and(|(privileged, _)| privileged == id)
    }
}

impl Net {
    /// When [`Net::expire`] wants to be called.
    pub fn deadline(&self) -> Ticks {
        self.checks.first().map_or(Ticks::NEVER, |(at, _)| *at).min(self.pressure.at)
    }

    /// Closes connections that were idle for too long, and, while memory is short, those without progress.
    pub fn expire(&mut self, now: Ticks, io: &mut dyn Sockets) {
        self.now = now;
        while let Some(&(at, id)) = self.checks.first()
            && at <= now
        {
            self.checks.pop_first();
            self.check_idle(id, io);
        }
        if self.pressure.at <= now {
            self.pressure.at = now.plus_ms(NET_PRIVILEGE_MS.min(self.config.pressure_ms));
            self.move_privilege(io);
            self.ready.pass_standing(now, &mut self.conns, io);
            self.close_those_in_the_way(io);
        }
    }

    /// Ends a connection on which nothing was asked, sent or received for `connections.max.idle.ms`. A transfer that goes
    /// on is not idle, however slow; nor is a connection whose request is being served.
    fn check_idle(&mut self, id: ConnId, io: &mut dyn Sockets) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| !c.closing) else { return };
        let idle = self.now >= conn.active.plus_ms(self.config.idle_ms);
        if idle && conn.replies.open_count() == 0 && conn.queue.is_empty() {
            let bytes = if conn.is_in_transfer() { io.transferred(id) } else { conn.mark.bytes };
            if bytes == conn.mark.bytes {
                tracing::debug!(peer = %conn.peer, "connection closed: idle");
                return self.close(id, io);
            }
            conn.mark.bytes = bytes;
            conn.active = self.now;
        }
        self.check_idle_later(id);
    }

    /// Plans the next look at a connection: when it would be idle if nothing happened until then.
    pub(super) fn check_idle_later(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if self.config.idle_ms >= 0 {
            let due = conn.active.plus_ms(self.config.idle_ms);
            // Overdue only while it waits for our replies.
            let at = if due > self.now { due } else { self.now.plus_ms(self.config.idle_ms.max(1)) };
            self.checks.insert((at, id));
        }
    }

    /// Begins or ends to look for those in the way.
    pub(super) fn watch_pressure(&mut self) {
        let waited_for =
            !self.pressure.starved.is_empty() || self.ready.is_blocked() || self.budget.has_waiting();
        let short = waited_for || self.budget.is_short();
        if !short {
            self.pressure.at = Ticks::NEVER;
        } else if self.pressure.at == Ticks::NEVER {
            self.pressure.at = self.now.plus_ms(NET_PRIVILEGE_MS.min(self.config.pressure_ms));
        }
    }

    /// Lets connections read on that waited for the core's budget, as far as it reaches; beyond it the one that misses
    /// least.
    pub(super) fn feed_starved(&mut self, io: &mut dyn Sockets) {
        if self.pressure.starved.is_empty() || (self.budget.is_short() && self.pressure.privileged.is_some())
        {
            return;
        }
        let missing = |id: &ConnId| self.conns.get(id).map_or(0, |conn| conn.frames.missing());
        let mut starved: Vec<(usize, ConnId)> =
            self.pressure.starved.iter().map(|id| (missing(id), *id)).collect();
        starved.sort_unstable();
        if self.pressure.privileged.is_none() {
            let first = starved.iter().find(|(missing, _)| *missing > 0);
            self.pressure.privileged = first.map(|(_, id)| (*id, io.transferred(*id)));
        }
        for (_, id) in starved {
            let Some(conn) = self.conns.get_mut(&id).filter(|c| !c.closing) else { continue };
            let (config, budget, pressure) = (&self.config, &mut self.budget, &mut self.pressure);
            conn.steer(id, &mut Given { config, budget, pressure }, io);
        }
    }

    /// The privilege goes on to another if its holder does not use it.
    fn move_privilege(&mut self, io: &mut dyn Sockets) {
        let Some((id, before)) = self.pressure.privileged else { return };
        let bytes = io.transferred(id);
        self.pressure.privileged = (bytes > before).then_some((id, bytes));
        self.feed_starved(io);
    }

    /// Closes connections that hold memory and make no progress while others wait for it: the slowest first, and of those
    /// the ones that stand still for longest, until there is room.
    fn close_those_in_the_way(&mut self, io: &mut dyn Sockets) {
        let (now, pressure_ms) = (self.now, self.config.pressure_ms);
        let mut found = Vec::new();
        for (id, conn) in &mut self.conns {
            let receives = conn.reading == Reading::Large;
            if conn.closing || !(conn.send_in_flight || receives) {
                conn.mark.at = None;
                continue;
            }
            let Some(at) = conn.mark.at else {
                conn.mark = Mark { bytes: io.transferred(*id), at: Some(now.max(conn.active)) };
                continue;
            };
            if now < at.plus_ms(pressure_ms) {
                continue;
            }
            let bytes = io.transferred(*id);
            let progress = bytes - conn.mark.bytes;
            if progress < NET_PROGRESS_BYTES_MIN && now >= conn.active.plus_ms(pressure_ms) {
                found.push((progress, conn.active, *id, conn.held));
            } else {
                conn.mark = Mark { bytes, at: Some(now) };
            }
        }
        found.sort_unstable();
        let mut used = self.budget.used();
        for (_, _, id, held) in found {
            if used < self.config.core_bytes_max / 2 {
                return;
            }
            used -= held;
            limited!(
                info,
                "a connection is closed while memory is short",
                conn = id.0,
                held,
                "connection closed: no progress while memory is short"
            );
            self.close(id, io);
        }
    }
}
