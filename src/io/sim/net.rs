//! The simulated network: listeners, connections as two streams of bytes, and the clients at their other ends.
//!
//! Bytes travel in order with random delays and are cut at random. What a client does not read fills its window, and
//! then the server's send does not end. As in a real kernel, the end of a connection is noticed by a receive or a send,
//! not by a connection that is paused.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Event, Inner, Pending, Sim, SimWorld};
use crate::base::ShardId;
use crate::base::prng::Prng;
use crate::io::world::{ConnId, ListenerId, Socket, SocketEvent};

/// What one receive gives at most, as with the ring's provided buffers.
const CHUNK_BYTES: usize = 16 << 10;

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The shortest way of bytes.
    pub latency_ns_min: u64,
    /// The longest.
    pub latency_ns_max: u64,
    /// Bytes that a client takes in without reading them.
    pub window_bytes: usize,
    /// One in so many arrivals is cut in two; zero for none.
    pub cut_one_in: u64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            latency_ns_min: 10_000,
            latency_ns_max: 200_000,
            window_bytes: 256 << 10,
            cut_one_in: 8,
        }
    }
}

/// A client's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimClient(u64);

/// What happens on the network at a time.
pub(super) enum Arrival {
    Connect(u64, SocketAddr),
    /// Bytes at the server.
    Up(u64, Bytes),
    /// The client has closed.
    UpEnd(u64),
    /// The client's reset.
    Reset(u64),
    /// Bytes at the client.
    Down(u64, Bytes),
    /// The server has closed.
    DownEnd(u64),
    /// The server's send has left.
    Sent(u64),
}

impl Arrival {
    /// Whether it is on its way to a client.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self, Arrival::Down(..) | Arrival::DownEnd(_))
    }
}

/// The handle in a [`Socket`].
struct Accepted {
    id: u64,
    _alive: Arc<()>,
}

#[derive(Default)]
pub(super) struct Network {
    pub(super) config: NetworkConfig,
    listeners: BTreeMap<u32, (ShardId, SocketAddr)>,
    last_listener: u32,
    pipes: BTreeMap<u64, Pipe>,
    last_pipe: u64,
}

/// One connection.
struct Pipe {
    peer: SocketAddr,
    socket: Weak<()>,
    owner: Option<ShardId>,
    up_at: u64,
    down_at: u64,
    arrived: VecDeque<Bytes>,
    up_end: bool,
    reset: bool,
    reading: bool,
    /// The server wants to know of the end while it does not read.
    watched: bool,
    /// The server knows that the client sends no more.
    end_told: bool,
    /// Bytes that the server has read and the client has received.
    transferred: u64,
    into: Option<Vec<u8>>,
    /// The server knows of the end.
    closed: bool,
    out: VecDeque<Bytes>,
    sending: bool,
    on_the_way: usize,
    unread: VecDeque<Bytes>,
    down_end: bool,
    /// The client has closed or reset: it reads no more.
    left: bool,
}

impl Pipe {
    fn unread_bytes(&self) -> usize {
        self.unread.iter().map(Bytes::len).sum()
    }

    /// The next bytes for the server, up to `max`.
    fn take(&mut self, max: usize) -> Option<Bytes> {
        let first = self.arrived.front_mut()?;
        let taken = if first.len() > max { first.split_to(max) } else { self.arrived.pop_front()? };
        self.transferred += taken.len() as u64;
        Some(taken)
    }
}

impl Network {
    pub(super) fn new(config: NetworkConfig) -> Network {
        Network { config, ..Network::default() }
    }

    /// Sets free what nobody can see any more.
    fn forget_dead(&mut self, id: u64) {
        if self.pipes.get(&id).is_some_and(|p| p.left && p.closed) {
            self.pipes.remove(&id);
        }
    }

    /// The process is gone: clients see the end behind what has already arrived.
    pub(super) fn kill(&mut self) {
        self.listeners.clear();
        self.pipes.retain(|_, pipe| !pipe.left);
        for pipe in self.pipes.values_mut() {
            (pipe.down_end, pipe.closed, pipe.sending) = (true, true, false);
            pipe.arrived.clear();
            pipe.out.clear();
            pipe.on_the_way = 0;
        }
    }

    /// An end that is still on its way has not come.
    pub(super) fn not_yet(&mut self, arrival: &Arrival) {
        if let Arrival::DownEnd(id) = arrival
            && let Some(pipe) = self.pipes.get_mut(id)
        {
            pipe.down_end = false;
        }
    }

    /// Open connections as the server sees them.
    pub(super) fn open(&self) -> usize {
        self.pipes.values().filter(|p| p.owner.is_some() && !p.closed).count()
    }
}

impl<M> Inner<M> {
    fn latency(&mut self) -> u64 {
        let config = &self.net.config;
        let spread = config.latency_ns_max.saturating_sub(config.latency_ns_min);
        config.latency_ns_min + self.prng.below(spread + 1)
    }

    /// Plans an arrival at the server, behind all others of the connection.
    fn up(&mut self, id: u64, what: Arrival) {
        let at = self.now + self.latency();
        let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
        pipe.up_at = pipe.up_at.max(at);
        let at = pipe.up_at;
        self.schedule(at, Pending::Net(what));
    }

    fn down(&mut self, id: u64, what: Arrival) {
        let at = self.now + self.latency();
        let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
        pipe.down_at = pipe.down_at.max(at);
        let at = pipe.down_at;
        self.schedule(at, Pending::Net(what));
    }

    pub(super) fn arrive(&mut self, what: Arrival) {
        match what {
            Arrival::Connect(id, to) => self.connected(id, to),
            Arrival::Up(id, bytes) => {
                let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
                pipe.arrived.push_back(bytes);
                self.pump_up(id);
            }
            Arrival::UpEnd(id) => {
                let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
                pipe.up_end = true;
                if pipe.watched {
                    self.tell_ending(id);
                }
                self.pump_up(id);
            }
            Arrival::Reset(id) => {
                let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
                pipe.reset = true;
                pipe.arrived.clear();
                if pipe.reading || pipe.watched || pipe.into.is_some() || pipe.sending {
                    self.ended(id, Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
            Arrival::Down(id, bytes) => {
                let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
                pipe.on_the_way -= bytes.len().min(pipe.on_the_way);
                pipe.transferred += bytes.len() as u64;
                if !pipe.left {
                    pipe.unread.push_back(bytes);
                }
            }
            Arrival::DownEnd(id) => {
                if let Some(pipe) = self.net.pipes.get_mut(&id) {
                    pipe.down_end = true;
                }
            }
            Arrival::Sent(id) => {
                let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
                if pipe.sending && !pipe.closed {
                    pipe.sending = false;
                    if let Some(owner) = pipe.owner {
                        self.deliver(owner, Event::Socket(SocketEvent::Sent(ConnId(id))));
                    }
                }
            }
        }
    }

    fn connected(&mut self, id: u64, to: SocketAddr) {
        let listener = self.net.listeners.iter().find(|(_, (_, at))| *at == to).map(|(l, (s, _))| (*l, *s));
        let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
        let Some((listener, shard)) = listener else {
            (pipe.down_end, pipe.closed) = (true, true);
            return;
        };
        let alive = Arc::new(());
        pipe.socket = Arc::downgrade(&alive);
        let handle = Box::new(Accepted { id, _alive: alive });
        let socket = Socket { handle, peer: pipe.peer };
        self.deliver(shard, Event::Socket(SocketEvent::Accepted(ListenerId(listener), socket)));
    }

    /// Hands the server what has arrived, as it reads.
    fn pump_up(&mut self, id: u64) {
        let mut prng = Prng::new(self.prng.next_u64());
        let cut_one_in = self.net.config.cut_one_in;
        loop {
            let Some(pipe) = self.net.pipes.get_mut(&id).filter(|p| !p.closed) else { return };
            let Some(owner) = pipe.owner else { return };
            if pipe.into.is_none() && !pipe.reading {
                return;
            }
            if pipe.arrived.is_empty() {
                if pipe.reset {
                    self.ended(id, Err(io::ErrorKind::ConnectionReset.into()));
                } else if pipe.up_end {
                    self.tell_end(id);
                }
                return;
            }
            if let Some(mut buffer) = pipe.into.take() {
                while buffer.len() < buffer.capacity()
                    && let Some(bytes) = pipe.take(buffer.capacity() - buffer.len())
                {
                    buffer.extend_from_slice(&bytes);
                }
                let short = buffer.len() < buffer.capacity();
                if short && !pipe.up_end && !prng.one_in(4) {
                    pipe.into = Some(buffer);
                    return;
                }
                self.deliver(owner, Event::Socket(SocketEvent::Filled(ConnId(id), buffer)));
                continue;
            }
            let mut max = CHUNK_BYTES;
            if cut_one_in > 0 && prng.one_in(cut_one_in) {
                max = 1 + prng.below(pipe.arrived[0].len() as u64) as usize;
            }
            if let Some(bytes) = pipe.take(max.min(CHUNK_BYTES)) {
                self.deliver(owner, Event::Socket(SocketEvent::Received(ConnId(id), bytes)));
            }
        }
    }

    /// Sends the client what fits in its window.
    fn pump_down(&mut self, id: u64) {
        let window = self.net.config.window_bytes;
        loop {
            let Some(pipe) = self.net.pipes.get_mut(&id).filter(|p| p.sending && !p.closed) else { return };
            let room = if pipe.left {
                usize::MAX
            } else {
                window.saturating_sub(pipe.unread_bytes() + pipe.on_the_way)
            };
            let Some(first) = pipe.out.front_mut() else {
                let at = self.now + 1_000;
                return self.schedule(at, Pending::Net(Arrival::Sent(id)));
            };
            if room == 0 {
                return;
            }
            let bytes = first.split_to(room.min(first.len()).min(CHUNK_BYTES));
            if first.is_empty() {
                pipe.out.pop_front();
            }
            pipe.on_the_way += bytes.len();
            self.down(id, Arrival::Down(id, bytes));
        }
    }

    /// The server, which does not read, learns that there is an end to it.
    fn tell_ending(&mut self, id: u64) {
        let Some(pipe) = self.net.pipes.get_mut(&id).filter(|p| !p.closed && p.watched) else { return };
        pipe.watched = false;
        if let Some(owner) = pipe.owner {
            self.deliver(owner, Event::Socket(SocketEvent::Ending(ConnId(id))));
        }
    }

    /// The server learns that the client sends no more.
    fn tell_end(&mut self, id: u64) {
        let Some(pipe) = self.net.pipes.get_mut(&id).filter(|p| !p.closed && !p.end_told) else { return };
        pipe.end_told = true;
        if let Some(owner) = pipe.owner {
            self.deliver(owner, Event::Socket(SocketEvent::Ended(ConnId(id))));
        }
    }

    /// The server learns of the end, or ends the connection itself.
    fn ended(&mut self, id: u64, how: io::Result<()>) {
        let Some(pipe) = self.net.pipes.get_mut(&id).filter(|p| !p.closed) else { return };
        (pipe.closed, pipe.sending, pipe.into) = (true, false, None);
        pipe.out.clear();
        let owner = pipe.owner;
        self.down(id, Arrival::DownEnd(id));
        if let Some(owner) = owner {
            self.deliver(owner, Event::Socket(SocketEvent::Closed(ConnId(id), how)));
        }
        self.net.forget_dead(id);
    }
}

impl<M> Sim<M> {
    /// A client connects; whether somebody listens shows when it reads.
    pub fn connect(&self, from: SocketAddr, to: SocketAddr) -> SimClient {
        let mut inner = self.inner.borrow_mut();
        inner.net.last_pipe += 1;
        let id = inner.net.last_pipe;
        let pipe = Pipe {
            peer: from,
            socket: Weak::new(),
            owner: None,
            up_at: 0,
            down_at: 0,
            arrived: VecDeque::new(),
            up_end: false,
            reset: false,
            reading: true,
            watched: false,
            end_told: false,
            transferred: 0,
            into: None,
            closed: false,
            out: VecDeque::new(),
            sending: false,
            on_the_way: 0,
            unread: VecDeque::new(),
            down_end: false,
            left: false,
        };
        inner.net.pipes.insert(id, pipe);
        inner.up(id, Arrival::Connect(id, to));
        SimClient(id)
    }

    /// The client sends.
    pub fn client_send(&self, client: SimClient, bytes: Bytes) {
        let mut inner = self.inner.borrow_mut();
        if !bytes.is_empty() && inner.net.pipes.get(&client.0).is_some_and(|p| !p.left && !p.down_end) {
            inner.up(client.0, Arrival::Up(client.0, bytes));
        }
    }

    /// What has arrived at the client since it last asked; None when the server has closed and all was read.
    pub fn client_receive(&self, client: SimClient) -> Option<Vec<u8>> {
        let mut inner = self.inner.borrow_mut();
        let pipe = inner.net.pipes.get_mut(&client.0)?;
        let mut got = Vec::with_capacity(pipe.unread_bytes());
        pipe.unread.drain(..).for_each(|bytes| got.extend_from_slice(&bytes));
        if got.is_empty() {
            // A socket that nobody adopted was dropped: the kernel would close it.
            let dropped = pipe.owner.is_none() && pipe.socket.upgrade().is_none() && pipe.up_at < inner.now;
            let end = inner.net.pipes.get(&client.0).is_none_or(|p| p.down_end);
            return if end || dropped { None } else { Some(got) };
        }
        inner.pump_down(client.0);
        Some(got)
    }

    /// The client sends no more, and still receives.
    pub fn client_shutdown(&self, client: SimClient) {
        let mut inner = self.inner.borrow_mut();
        if inner.net.pipes.get(&client.0).is_some_and(|p| !p.left && !p.closed) {
            inner.up(client.0, Arrival::UpEnd(client.0));
        }
    }

    /// The client closes: what it has sent still arrives.
    pub fn client_close(&self, client: SimClient) {
        self.client_ends(client, Arrival::UpEnd(client.0));
    }

    /// The client resets the connection: what is on the way is lost.
    pub fn client_reset(&self, client: SimClient) {
        self.client_ends(client, Arrival::Reset(client.0));
    }

    fn client_ends(&self, client: SimClient, how: Arrival) {
        let mut inner = self.inner.borrow_mut();
        let Some(pipe) = inner.net.pipes.get_mut(&client.0) else { return };
        pipe.left = true;
        pipe.unread.clear();
        if pipe.closed {
            inner.net.pipes.remove(&client.0);
        } else {
            inner.up(client.0, how);
            inner.pump_down(client.0);
        }
    }

    /// Connections that the server has not closed and knows to be open.
    pub fn open_connections(&self) -> usize {
        self.inner.borrow().net.open()
    }

    /// Changes how the network behaves from now on.
    pub fn configure_network(&self, change: impl FnOnce(&mut NetworkConfig)) {
        change(&mut self.inner.borrow_mut().net.config);
    }
}

impl<M> SimWorld<M> {
    /// Calls with the connection if it is this core's and open.
    fn with_pipe(&mut self, conn: ConnId, call: impl FnOnce(&mut Inner<M>, u64)) {
        let mut inner = self.sim.inner.borrow_mut();
        let shard = self.shard;
        let mine = inner.net.pipes.get(&conn.0).is_some_and(|p| p.owner == Some(shard) && !p.closed);
        if inner.life == self.life && mine {
            call(&mut inner, conn.0);
        }
    }

    pub(super) fn net_listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let mut inner = self.sim.inner.borrow_mut();
        let net = &mut inner.net;
        if net.listeners.values().any(|(_, at)| *at == address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        net.last_listener += 1;
        let mut bound = address;
        if bound.port() == 0 {
            bound.set_port(40_000 + net.last_listener as u16);
        }
        let id = net.last_listener;
        net.listeners.insert(id, (self.shard, bound));
        Ok((ListenerId(id), bound))
    }

    pub(super) fn net_unlisten(&mut self, listener: ListenerId) {
        let mut inner = self.sim.inner.borrow_mut();
        if inner.life == self.life {
            inner.net.listeners.remove(&listener.0);
        }
    }

    pub(super) fn net_adopt(&mut self, socket: Socket) -> io::Result<ConnId> {
        let foreign = |_| io::Error::new(io::ErrorKind::InvalidInput, "a socket of another world");
        let accepted = socket.handle.downcast::<Accepted>().map_err(foreign)?;
        let mut inner = self.sim.inner.borrow_mut();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        if inner.life != self.life {
            return Err(gone());
        }
        let pipe = inner.net.pipes.get_mut(&accepted.id).filter(|p| !p.closed).ok_or_else(gone)?;
        pipe.owner = Some(self.shard);
        inner.pump_up(accepted.id);
        Ok(ConnId(accepted.id))
    }

    pub(super) fn net_read(&mut self, conn: ConnId, reading: bool) {
        self.with_pipe(conn, |inner, id| {
            if let Some(pipe) = inner.net.pipes.get_mut(&id) {
                pipe.reading = reading;
            }
            inner.pump_up(id);
        });
    }

    pub(super) fn net_watch(&mut self, conn: ConnId) {
        self.with_pipe(conn, |inner, id| {
            let Some(pipe) = inner.net.pipes.get_mut(&id) else { return };
            pipe.watched = true;
            let (reset, end) = (pipe.reset, pipe.up_end);
            if reset {
                inner.ended(id, Err(io::ErrorKind::ConnectionReset.into()));
            } else if end {
                inner.tell_ending(id);
            }
        });
    }

    pub(super) fn net_transferred(&self, conn: ConnId) -> u64 {
        self.sim.inner.borrow().net.pipes.get(&conn.0).map_or(0, |pipe| pipe.transferred)
    }

    pub(super) fn net_recv_into(&mut self, conn: ConnId, buffer: Vec<u8>) {
        assert!(buffer.capacity() > buffer.len(), "no room to receive into");
        self.with_pipe(conn, |inner, id| {
            let Some(pipe) = inner.net.pipes.get_mut(&id) else { return };
            assert!(!pipe.reading && pipe.into.is_none(), "receiving into a buffer while reading");
            pipe.into = Some(buffer);
            inner.pump_up(id);
        });
    }

    pub(super) fn net_send(&mut self, conn: ConnId, parts: Vec<Bytes>) {
        self.with_pipe(conn, |inner, id| {
            let Some(pipe) = inner.net.pipes.get_mut(&id) else { return };
            assert!(!pipe.sending, "one send in flight per connection");
            if pipe.reset {
                return inner.ended(id, Err(io::ErrorKind::ConnectionReset.into()));
            }
            pipe.sending = true;
            pipe.out = parts.into_iter().filter(|p| !p.is_empty()).collect();
            inner.pump_down(id);
        });
    }

    pub(super) fn net_close(&mut self, conn: ConnId) {
        self.with_pipe(conn, |inner, id| inner.ended(id, Ok(())));
    }
}

/// What the trace notes of a socket's event.
pub(super) fn trace_words(event: &SocketEvent) -> [u64; 3] {
    match event {
        SocketEvent::Accepted(listener, _) => [10, u64::from(listener.0), 0],
        SocketEvent::Received(conn, bytes) => [11, conn.0, u64::from(crc32c::crc32c(bytes))],
        SocketEvent::Filled(conn, bytes) => [12, conn.0, u64::from(crc32c::crc32c(bytes))],
        SocketEvent::Sent(conn) => [13, conn.0, 0],
        SocketEvent::Ending(conn) => [16, conn.0, 0],
        SocketEvent::Ended(conn) => [15, conn.0, 0],
        SocketEvent::Closed(conn, how) => [14, conn.0, u64::from(how.is_ok())],
    }
}
