//! Connections of one core: frames in, replies out in the order of their requests, within a memory budget.
//!
//! [`Net`] is a state machine over [`SocketEvent`](crate::io::SocketEvent)s and [`Sockets`](crate::io::Sockets); it
//! reads no clock and does no I/O of its own. Whole requests wait on their connection until [`Net::next_small`] or
//! [`Net::next_large`] gives them out, one of each connection in turn, with a [`Slot`]; the slot is answered later, in any
//! order, and [`Net::flush`], once per turn, sends what is due: one vectored send per connection.
//!
//! A connection stops being read, and its requests being served, while its requests in flight and unread replies fill its
//! budget, or the core's ([`Budget`]); both go on when they have drained. TLS would stand between the received bytes and
//! `frames`.

mod acceptor;
mod budget;
mod connections;
mod dispatch;
mod frames;
mod pressure;
mod replies;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::base::ShardId;
use crate::base::limits::{
    NET_CONNECTION_BYTES, NET_CORE_BYTES, NET_PRESSURE_MS, NET_REQUESTS_IN_FLIGHT,
    SOCKET_REQUEST_BYTES_DEFAULT,
};
use crate::io::{ConnId, Socket};

pub use budget::{Budget, Weight};
pub use connections::Net;
pub use frames::FrameError;
pub use replies::{Reply, Spare};

/// The place of one request's reply in the order of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The connection.
    pub conn: ConnId,
    /// The request's number on its connection, from 0.
    pub seq: u64,
}

/// One core's place and the bounds of its connections.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// This core.
    pub shard: ShardId,
    /// The number of cores.
    pub shards: usize,
    /// `socket.request.max.bytes`: the largest request; a larger one closes its connection.
    pub frame_bytes_max: usize,
    /// `connections.max.idle.ms`; negative for never.
    pub idle_ms: i64,
    /// `max.connections`, of all cores.
    pub connections_max: usize,
    /// `max.connections.per.ip`, of all cores.
    pub connections_per_ip_max: usize,
    /// `max.connections.per.ip.overrides`.
    pub connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// Requests in flight and unread replies of one connection, in bytes, before it stops being read. One request may
    /// always be read, however large.
    pub connection_bytes_max: usize,
    /// The same for all connections of the core. Beyond it only connections without anything in flight are read and served,
    /// one large request and one large reply at a time.
    pub core_bytes_max: usize,
    /// Requests of one connection that are not answered yet.
    pub requests_in_flight_max: usize,
    /// While somebody waits for the core's budget, a connection that makes no progress for so long is closed.
    pub pressure_ms: i64,
}

impl Default for NetConfig {
    fn default() -> Self {
        NetConfig {
            shard: ShardId(0),
            shards: 1,
            frame_bytes_max: SOCKET_REQUEST_BYTES_DEFAULT,
            idle_ms: 600_000,
            connections_max: usize::MAX,
            connections_per_ip_max: usize::MAX,
            connections_per_ip_overrides: BTreeMap::new(),
            connection_bytes_max: NET_CONNECTION_BYTES,
            core_bytes_max: NET_CORE_BYTES,
            requests_in_flight_max: NET_REQUESTS_IN_FLIGHT,
            pressure_ms: NET_PRESSURE_MS,
        }
    }
}

/// A whole request. Its slot must be answered exactly once.
pub struct Arrived {
    /// Where the answer goes.
    pub slot: Slot,
    /// The request without its length prefix: API key, version, and so on.
    pub frame: Bytes,
    /// The client's address.
    pub peer: SocketAddr,
    /// The listener it came through: the number given to [`Net::listen`].
    pub listener: u32,
    /// What it was weighed as.
    pub weight: Weight,
}

/// What the connections want from the rooms above.
pub enum NetEvent {
    /// A client sends no more, but takes replies. What only waits for something to happen is to be answered now.
    Ended {
        /// Who was named by [`Net::waits`] for its open slots, in their order.
        waiting: Vec<u64>,
    },
    /// A connection has ended; its open slots need no answer any more. Core 0 wants to know of those of other cores
    /// ([`Net::released`]).
    Gone {
        /// The connection.
        conn: ConnId,
        /// Its client's address.
        peer: SocketAddr,
        /// Who was named by [`Net::waits`] for its open slots, in their order.
        waiting: Vec<u64>,
    },
    /// Core 0 gives a new connection to another core, which calls [`Net::adopt`].
    Handover {
        /// The connection.
        socket: Socket,
        /// The number of the listener it came through.
        listener: u32,
        /// The core that shall serve it.
        to: ShardId,
    },
}
