//! The simulated network: clients, and the sockets that cores serve.
//!
//! Bytes travel in pieces of random size with random delays, in order per direction, through bounded windows; a
//! connection may be reset at random. As on the real ring, data is handed to a core when it takes its events, in the
//! form that it wants then.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use super::{Event, Inner, Pending, Sim};
use crate::base::ShardId;
use crate::base::limits::RECEIVE_BUFFER_BYTES;
use crate::io::world::{ConnId, ListenerId, Socket, SocketEvent};

/// What a socket holds that nobody has read yet, in each direction.
const WINDOW_BYTES: usize = 128 << 10;

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The fastest piece.
    pub delay_ns_min: u64,
    /// The slowest piece.
    pub delay_ns_max: u64,
    /// The largest piece; pieces are smaller at random.
    pub piece_bytes_max: usize,
    /// One in so many pieces resets its connection instead of arriving; zero for none.
    pub reset_one_in: u64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            delay_ns_min: 10_000,
            delay_ns_max: 200_000,
            piece_bytes_max: 40_000,
            reset_one_in: 0,
        }
    }
}

/// A step of a connection that will happen.
pub(super) enum Step {
    Accept(u64),
    ToServer(u64, Vec<u8>),
    ToClient(u64, Vec<u8>),
    EndToServer(u64),
    EndToClient(u64),
}

#[derive(Default)]
pub(super) struct Network {
    pub(super) config: NetworkConfig,
    listeners: BTreeMap<SocketAddr, (ShardId, ListenerId)>,
    links: BTreeMap<u64, Link>,
    by_conn: BTreeMap<ConnId, u64>,
    made: u64,
}

impl Network {
    pub(super) fn new(config: NetworkConfig) -> Network {
        Network { config, ..Network::default() }
    }
}

/// One connection, both ends.
struct Link {
    address: SocketAddr,
    peer: SocketAddr,
    to_server: Pipe,
    to_client: Pipe,
    server: Option<Served>,
    /// What the server's send in flight has not put into the window yet.
    sending: VecDeque<Bytes>,
    send_in_flight: bool,
    client_gone: bool,
}

#[derive(Default)]
struct Pipe {
    /// When the last piece under way arrives.
    last_at: u64,
    under_way: usize,
    arrived: VecDeque<u8>,
    /// The end has arrived; with an error if it is a reset.
    ended: Option<bool>,
}

struct Served {
    conn: ConnId,
    shard: ShardId,
    reading: bool,
    into: Option<Vec<u8>>,
    sent: bool,
}

/// The handle in a simulated [`Socket`].
struct SimSocket(u64);

/// A client of a simulated machine.
pub struct SimClient<M> {
    sim: Sim<M>,
    link: u64,
}

impl<M> Sim<M> {
    /// A client connects. Nothing is said if nobody listens: the client sees the end at once.
    pub fn connect(&self, address: SocketAddr) -> SimClient<M> {
        let mut inner = self.inner.borrow_mut();
        inner.network.made += 1;
        let link = inner.network.made;
        let host = 1 + (link % 250) as u8;
        let peer = SocketAddr::from(([10, 0, 0, host], 10_000 + (link % 50_000) as u16));
        let mut made = Link {
            address,
            peer,
            to_server: Pipe::default(),
            to_client: Pipe::default(),
            server: None,
            sending: VecDeque::new(),
            send_in_flight: false,
            client_gone: false,
        };
        if !inner.network.listeners.contains_key(&address) {
            made.to_client.ended = Some(true);
        }
        inner.network.links.insert(link, made);
        inner.travel(link, true, Step::Accept(link));
        SimClient { sim: self.clone(), link }
    }

    /// Changes how the network behaves from now on.
    pub fn configure_network(&self, change: impl FnOnce(&mut NetworkConfig)) {
        change(&mut self.inner.borrow_mut().network.config);
    }
}

impl<M> SimClient<M> {
    /// Sends as many of the bytes as the window takes; how many.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let mut inner = self.sim.inner.borrow_mut();
        let Some(link) = inner.network.links.get(&self.link).filter(|l| !l.client_gone) else { return 0 };
        if link.to_client.ended == Some(true) {
            return 0;
        }
        let room = WINDOW_BYTES.saturating_sub(link.to_server.under_way + link.to_server.arrived.len());
        let n = bytes.len().min(room);
        inner.send_pieces(self.link, true, &bytes[..n]);
        n
    }

    /// What has arrived since the last call; None once everything has come and the other side has closed.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut inner = self.sim.inner.borrow_mut();
        let link = inner.network.links.get_mut(&self.link)?;
        let got: Vec<u8> = link.to_client.arrived.drain(..).collect();
        if got.is_empty() && link.to_client.ended.is_some() {
            return None;
        }
        inner.push_send(self.link);
        Some(got)
    }

    /// Closes; what was sent before still arrives.
    pub fn close(self) {
        let mut inner = self.sim.inner.borrow_mut();
        if let Some(link) = inner.network.links.get_mut(&self.link).filter(|l| !l.client_gone) {
            link.client_gone = true;
            inner.travel(self.link, true, Step::EndToServer(self.link));
        }
    }
}

impl<M> Inner<M> {
    /// Schedules a step behind everything under way in its direction.
    fn travel(&mut self, id: u64, to_server: bool, step: Step) {
        let config = &self.network.config;
        let spread = config.delay_ns_max.saturating_sub(config.delay_ns_min) + 1;
        let at = self.now + config.delay_ns_min + self.prng.below(spread);
        let Some(link) = self.network.links.get_mut(&id) else { return };
        let pipe = if to_server { &mut link.to_server } else { &mut link.to_client };
        pipe.last_at = pipe.last_at.max(at);
        let at = pipe.last_at;
        self.schedule(at, Pending::Network(step));
    }

    fn send_pieces(&mut self, id: u64, to_server: bool, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let max = self.network.config.piece_bytes_max.max(1);
            let n = 1 + self.prng.below(bytes.len().min(max) as u64) as usize;
            let (piece, rest) = bytes.split_at(n.min(bytes.len()));
            bytes = rest;
            let Some(link) = self.network.links.get_mut(&id) else { return };
            let pipe = if to_server { &mut link.to_server } else { &mut link.to_client };
            pipe.under_way += piece.len();
            let piece = piece.to_vec();
            let step = if to_server { Step::ToServer(id, piece) } else { Step::ToClient(id, piece) };
            self.travel(id, to_server, step);
        }
    }

    pub(super) fn network_step(&mut self, step: Step) {
        let resets = self.network.config.reset_one_in;
        let reset = resets > 0 && self.prng.one_in(resets);
        match step {
            Step::Accept(id) => self.accept(id),
            Step::ToServer(id, _) | Step::ToClient(id, _) if reset => self.reset(id),
            Step::ToServer(id, bytes) => {
                if let Some(link) = self.network.links.get_mut(&id) {
                    link.to_server.arrive(bytes);
                }
            }
            Step::ToClient(id, bytes) => {
                if let Some(link) = self.network.links.get_mut(&id) {
                    link.to_client.arrive(bytes);
                }
            }
            Step::EndToServer(id) => {
                if let Some(link) = self.network.links.get_mut(&id) {
                    link.to_server.ended.get_or_insert(false);
                }
            }
            Step::EndToClient(id) => {
                if let Some(link) = self.network.links.get_mut(&id) {
                    link.to_client.ended.get_or_insert(false);
                }
            }
        }
    }

    fn accept(&mut self, id: u64) {
        let Some(link) = self.network.links.get_mut(&id) else { return };
        match self.network.listeners.get(&link.address) {
            None => link.to_client.ended = Some(true),
            Some(&(shard, listener)) => {
                let socket = Socket { handle: Box::new(SimSocket(id)), peer: link.peer };
                self.deliver(shard, Event::Socket(SocketEvent::Accepted(listener, socket)));
            }
        }
    }

    fn reset(&mut self, id: u64) {
        if let Some(link) = self.network.links.get_mut(&id) {
            for pipe in [&mut link.to_server, &mut link.to_client] {
                pipe.arrived.clear();
                pipe.ended = Some(true);
            }
        }
    }

    /// Moves what the server sends into the client's window.
    fn push_send(&mut self, id: u64) {
        loop {
            let Some(link) = self.network.links.get_mut(&id).filter(|l| l.send_in_flight) else { return };
            let room = WINDOW_BYTES.saturating_sub(link.to_client.under_way + link.to_client.arrived.len());
            let Some(part) = link.sending.front_mut() else {
                link.send_in_flight = false;
                if let Some(served) = &mut link.server {
                    served.sent = true;
                }
                return;
            };
            if room == 0 {
                return;
            }
            let n = room.min(part.len());
            let piece = part.split_to(n);
            if part.is_empty() {
                link.sending.pop_front();
            }
            self.send_pieces(id, false, &piece);
        }
    }

    /// Whether a core has something to read, to have sent, or to see end.
    pub(super) fn network_ready(&self, shard: ShardId) -> bool {
        self.network.links.values().any(|link| link.is_ready(shard))
    }

    /// Takes what the sockets of a core have for it now.
    pub(super) fn take_network(&mut self, shard: ShardId, out: &mut Vec<Event<M>>) {
        let ready: Vec<u64> =
            self.network.links.iter().filter(|(_, l)| l.is_ready(shard)).map(|(id, _)| *id).collect();
        for id in ready {
            let mut events = Vec::new();
            if let Some(link) = self.network.links.get_mut(&id) {
                link.take(&mut self.prng, &mut events);
                if link.server.is_none() {
                    self.network.by_conn.retain(|_, of| *of != id);
                }
            }
            for event in events.into_iter().map(Event::Socket) {
                self.note_event(shard, &event);
                out.push(event);
            }
        }
    }

    pub(super) fn listen(
        &mut self,
        shard: ShardId,
        mut address: SocketAddr,
    ) -> io::Result<(ListenerId, SocketAddr)> {
        self.network.made += 1;
        if address.port() == 0 {
            address.set_port(20_000 + (self.network.made % 40_000) as u16);
        }
        if self.network.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = ListenerId(self.network.made as u32);
        self.network.listeners.insert(address, (shard, id));
        Ok((id, address))
    }

    pub(super) fn unlisten(&mut self, listener: ListenerId) {
        self.network.listeners.retain(|_, (_, id)| *id != listener);
    }

    pub(super) fn adopt(&mut self, shard: ShardId, socket: Socket) -> io::Result<ConnId> {
        let foreign = |_| io::Error::new(io::ErrorKind::InvalidInput, "a socket of another world");
        let SimSocket(id) = *socket.handle.downcast::<SimSocket>().map_err(foreign)?;
        self.network.made += 1;
        let conn = ConnId(self.network.made);
        let link = self.network.links.get_mut(&id).ok_or(io::ErrorKind::NotConnected)?;
        link.server = Some(Served { conn, shard, reading: true, into: None, sent: false });
        self.network.by_conn.insert(conn, id);
        Ok(conn)
    }

    fn served(&mut self, conn: ConnId) -> Option<(u64, &mut Link)> {
        let id = *self.network.by_conn.get(&conn)?;
        Some((id, self.network.links.get_mut(&id)?))
    }

    pub(super) fn set_reading(&mut self, conn: ConnId, reading: bool) {
        if let Some((_, Link { server: Some(served), .. })) = self.served(conn) {
            served.reading = reading;
        }
    }

    pub(super) fn recv_into(&mut self, conn: ConnId, buffer: Vec<u8>) {
        assert!(buffer.capacity() > buffer.len(), "no room to receive into");
        if let Some((_, Link { server: Some(served), .. })) = self.served(conn) {
            assert!(!served.reading && served.into.is_none(), "receiving into a buffer while reading");
            served.into = Some(buffer);
        }
    }

    pub(super) fn send(&mut self, conn: ConnId, parts: Vec<Bytes>) {
        let Some((id, link)) = self.served(conn) else { return };
        assert!(!link.send_in_flight, "one send in flight per connection");
        link.sending = parts.into_iter().filter(|p| !p.is_empty()).collect();
        link.send_in_flight = true;
        self.push_send(id);
    }

    pub(super) fn close(&mut self, shard: ShardId, conn: ConnId) {
        let Some((id, link)) = self.served(conn) else { return };
        link.server = None;
        link.send_in_flight = false;
        self.network.by_conn.remove(&conn);
        self.travel(id, false, Step::EndToClient(id));
        self.deliver(shard, Event::Socket(SocketEvent::Closed(conn, Ok(()))));
    }

    /// The process is gone: every connection is reset, nobody listens.
    pub(super) fn network_killed(&mut self) {
        self.network.listeners.clear();
        self.network.by_conn.clear();
        for link in self.network.links.values_mut() {
            link.server = None;
            link.send_in_flight = false;
            link.to_client.ended = Some(true);
        }
    }
}

impl Pipe {
    fn arrive(&mut self, bytes: Vec<u8>) {
        self.under_way = self.under_way.saturating_sub(bytes.len());
        // Nothing follows a reset, which has lost a piece.
        if self.ended != Some(true) {
            self.arrived.extend(bytes);
        }
    }
}

impl Link {
    fn is_ready(&self, shard: ShardId) -> bool {
        let Some(served) = self.server.as_ref().filter(|s| s.shard == shard) else { return false };
        let wants = served.reading || served.into.is_some();
        let reset = self.to_server.ended == Some(true);
        served.sent
            || reset
            || (wants && (!self.to_server.arrived.is_empty() || self.to_server.ended.is_some()))
    }

    fn take(&mut self, prng: &mut crate::base::prng::Prng, out: &mut Vec<SocketEvent>) {
        let Some(served) = &mut self.server else { return };
        let conn = served.conn;
        if std::mem::take(&mut served.sent) {
            out.push(SocketEvent::Sent(conn));
        }
        let arrived = &mut self.to_server.arrived;
        if let Some(buffer) = &mut served.into {
            let n = arrived.len().min(buffer.capacity() - buffer.len());
            buffer.extend(arrived.drain(..n));
            let full = buffer.len() == buffer.capacity();
            // The ring usually waits for all of it; it need not.
            if full || (n > 0 && (self.to_server.ended.is_some() || prng.one_in(8))) {
                let buffer = served.into.take().unwrap_or_default();
                out.push(SocketEvent::Filled(conn, buffer));
            }
        }
        while served.reading && !arrived.is_empty() {
            let n = 1 + prng.below(arrived.len().min(RECEIVE_BUFFER_BYTES) as u64) as usize;
            let chunk: Vec<u8> = arrived.drain(..n).collect();
            out.push(SocketEvent::Received(conn, Bytes::from(chunk)));
            if prng.one_in(4) {
                break;
            }
        }
        let wants = served.reading || served.into.is_some();
        let end = match self.to_server.ended {
            Some(true) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            Some(false) if wants && arrived.is_empty() => Some(Ok(())),
            _ => None,
        };
        if let Some(how) = end {
            self.server = None;
            self.send_in_flight = false;
            self.to_client.ended.get_or_insert(false);
            out.push(SocketEvent::Closed(conn, how));
        }
    }
}
