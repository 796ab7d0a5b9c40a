//! Sockets of a ring: multishot accept, multishot receive into provided buffers for small frames, single receives
//! into the frame's own buffer for large ones, vectored sends.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use io_uring::{cqueue, opcode, types};

use super::super::descriptors::open_files;
use super::super::lack::Lack;
use super::super::world::{ConnId, ListenerId, Socket, SocketEvent};
use super::disk::outcome;
use super::provided::GROUP;
use super::reactor::{Done, Op, Reactor};
use crate::base::Ticks;
use crate::base::limits::{
    ACCEPT_AGAIN_MS, ACCEPT_RETRY_MS, CONNECTIONS_PER_CORE_MAX, DESCRIPTORS_FOR_FILES_MAX,
    DESCRIPTORS_FOR_FILES_PART, LISTEN_BACKLOG, POOL_KEPT, POOL_KEPT_ITEMS, SEND_NOTICE_BYTES_MAX,
    SEND_PARTS_MAX,
};
use crate::io::repeats::limited;

const BIND_RETRIES: u32 = 100;
const BIND_RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Asks a send without a copy to say whether there was one: `IORING_SEND_ZC_REPORT_USAGE`.
const SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
/// The answer: `IORING_NOTIF_USAGE_ZC_COPIED`.
const NOTICE_COPIED: i32 = i32::MIN;

pub(super) struct Listener {
    id: ListenerId,
    socket: TcpListener,
    op: Option<usize>,
    retry_at: Ticks,
    closing: bool,
}

/// Which connections there are descriptors for. The kernel gives the lowest number that is free, so a high one says that
/// most are in use, whatever for: what is left is for files, or partitions would starve of connections.
#[derive(Default)]
pub(super) struct Admission {
    /// The descriptor given last.
    last: u64,
    /// Since when connections are refused, and when one was refused last.
    refused: Option<(Ticks, Ticks)>,
    count: u64,
}

impl Admission {
    /// Connections may have descriptors below this.
    fn below() -> u64 {
        open_files().map_or(u64::MAX, |max| max - descriptors_for_files(max))
    }

    /// Whether as many connections as wait may be accepted at once.
    fn is_wide(&self) -> bool {
        self.last.saturating_add(LISTEN_BACKLOG as u64) < Admission::below()
    }

    /// Whether a connection with this descriptor is served.
    fn admits(&mut self, descriptor: i32, now: Ticks) -> bool {
        self.last = descriptor as u64;
        let admitted = self.last < Admission::below();
        if admitted {
            self.admitted(now);
        } else {
            self.refuse(now);
        }
        admitted
    }

    fn refuse(&mut self, now: Ticks) {
        self.count += 1;
        if let Some((_, last)) = &mut self.refused {
            *last = now;
            return;
        }
        self.refused = Some((now, now));
        let limit = open_files().unwrap_or(u64::MAX);
        limited!(
            warn,
            "new connections are refused for want of descriptors",
            limit,
            kept_for_files = descriptors_for_files(limit),
            "new connections are refused: of the descriptors that the process may have, those that are left are kept for files; {}",
            Lack::Descriptors.remedy()
        );
    }

    fn admitted(&mut self, now: Ticks) {
        let is_over = |(_, last): &mut (Ticks, Ticks)| now.ms_since(*last) >= ACCEPT_AGAIN_MS;
        if let Some((since, _)) = self.refused.take_if(is_over) {
            let (refused, seconds) = (std::mem::take(&mut self.count), now.ms_since(since) / 1000);
            limited!(
                info,
                "connections are accepted again",
                refused,
                seconds,
                "connections are accepted again"
            );
        }
    }
}

/// How many of so many descriptors connections leave for files.
fn descriptors_for_files(max: u64) -> u64 {
    (max / DESCRIPTORS_FOR_FILES_PART).min(DESCRIPTORS_FOR_FILES_MAX)
}

pub(super) struct Conn {
    id: ConnId,
    socket: TcpStream,
    /// Operations in flight; the socket is closed after the last.
    ops: u32,
    /// The receive in flight.
    recv: Option<usize>,
    /// That receive was asked to end.
    cancelling: bool,
    /// Reading small frames is wanted.
    reading: bool,
    /// The buffer to read into as soon as no other receive is in flight.
    into: Option<Vec<u8>>,
    /// The peer's end is waited for.
    watched: bool,
    /// The peer sends no more.
    ended: bool,
    sending: bool,
    /// Sending without a copy has not turned out to be in vain.
    zero_copy: bool,
    closed: bool,
}

/// A send in flight: what the kernel reads, at addresses that do not move.
pub(super) struct Sending {
    parts: Vec<Bytes>,
    /// The first part that has not left completely, and how much of it has.
    part: usize,
    offset: usize,
    vectors: Vec<libc::iovec>,
    header: libc::msghdr,
    /// The kernel shall read the parts where they are, until it says that it has.
    zero_copy: bool,
}

/// What was sent without a copy, and is still read.
pub(super) struct Notice {
    conn: ConnId,
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Sending {
    fn new() -> Sending {
        // SAFETY: all-zero bytes are a valid msghdr: null pointers and zero lengths.
        let header = unsafe { std::mem::zeroed() };
        Sending { parts: Vec::new(), part: 0, offset: 0, vectors: Vec::new(), header, zero_copy: false }
    }

    /// Forgets what was sent; false if that leaves too much memory to keep.
    fn renew(&mut self) -> bool {
        self.parts.clear();
        (self.part, self.offset) = (0, 0);
        self.parts.capacity().max(self.vectors.capacity()) <= POOL_KEPT_ITEMS
    }

    /// Counts `n` bytes as sent. True when nothing is left.
    fn advance(&mut self, mut n: usize) -> bool {
        while let Some(part) = self.parts.get_mut(self.part) {
            let left = part.len() - self.offset;
            if n < left {
                self.offset += n;
                return false;
            }
            n -= left;
            *part = Bytes::new(); // free early: the rest may take long
            self.part += 1;
            self.offset = 0;
        }
        true
    }

    /// The header for what is left, up to the system's bound.
    fn fill(&mut self) -> *const libc::msghdr {
        self.vectors.clear();
        let mut skip = self.offset;
        for part in self.parts[self.part..].iter().take(SEND_PARTS_MAX) {
            let rest = &part[skip..];
            skip = 0;
            self.vectors.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
        }
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.vectors.len();
        &raw const self.header
    }
}

/// Binds an address. One that is in use is tried again for two seconds: the ring of a process that has just been killed is
/// taken down after its end was seen, and its listeners with it.
///
/// # Errors
/// An address that cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && address.port() != 0 && tries < BIND_RETRIES => {
                tries += 1;
                thread::sleep(BIND_RETRY_PAUSE);
            }
            other => return other,
        }
    }
}

/// The first fields of Linux's `tcp_info`, up to the two counters that are wanted.
#[repr(C)]
struct TcpInfo {
    before: [u8; 120],
    bytes_acked: u64,
    bytes_received: u64,
}

/// Bytes that the peer has acknowledged and that have come from it.
fn tcp_progress(socket: &TcpStream) -> Option<u64> {
    let mut info = TcpInfo { before: [0; 120], bytes_acked: 0, bytes_received: 0 };
    let mut len = size_of::<TcpInfo>() as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: the kernel writes at most `len` bytes to `info`, which are plain numbers.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut info).cast(), &raw mut len) };
    (result == 0).then(|| info.bytes_acked.wrapping_add(info.bytes_received))
}

impl Reactor {
    pub(super) fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let socket = bind(address)?;
        // SAFETY: a plain system call on a descriptor that `socket` keeps open.
        let longer = unsafe { libc::listen(socket.as_raw_fd(), LISTEN_BACKLOG) };
        if longer < 0 {
            return Err(io::Error::last_os_error());
        }
        let bound = socket.local_addr()?;
        let id = ListenerId(self.listeners_made);
        self.listeners_made += 1;
        self.listeners.push(Listener { id, socket, op: None, retry_at: Ticks::NEVER, closing: false });
        self.accept(self.listeners.len() - 1);
        Ok((id, bound))
    }

    fn accept(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        listener.retry_at = Ticks::NEVER;
        let (id, fd) = (listener.id, types::Fd(listener.socket.as_raw_fd()));
        // Where descriptors may run short, one at a time: the kernel would take all that are left for those that wait.
        let many = self.admission.is_wide();
        let key = self.start(Op::Accept(id), |_| {
            if many {
                opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()
            } else {
                let one = opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut());
                one.flags(libc::SOCK_CLOEXEC).build()
            }
        });
        self.listeners[index].op = Some(key);
    }

    pub(super) fn unlisten(&mut self, id: ListenerId) {
        let Some(index) = self.listeners.iter().position(|l| l.id == id) else { return };
        self.listeners[index].closing = true;
        match self.listeners[index].op {
            Some(key) => self.cancel(key),
            None => drop(self.listeners.remove(index)),
        }
    }

    pub(super) fn accepted(&mut self, id: ListenerId, result: i32) {
        if result < 0 {
            return;
        }
        // SAFETY: a successful accept gives this descriptor to us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(result) };
        if self.is_closing() || !self.listeners.iter().any(|l| l.id == id && !l.closing) {
            return;
        }
        let was_wide = self.admission.is_wide();
        let admitted = self.admission.admits(fd.as_raw_fd(), self.now);
        let narrow =
            self.listeners.iter().find(|l| l.id == id).filter(|_| was_wide && !self.admission.is_wide());
        if let Some(key) = narrow.and_then(|listener| listener.op) {
            self.cancel(key);
        }
        if !admitted {
            return;
        }
        let stream = TcpStream::from(fd);
        // No address: the client has gone again.
        let Ok(peer) = stream.peer_addr() else { return };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let socket = Socket { handle: Box::new(stream), peer };
        self.out.push(Done::Socket(SocketEvent::Accepted(id, socket)));
    }

    pub(super) fn accept_ended(&mut self, id: ListenerId, result: i32) {
        self.accepted(id, result);
        let Some(index) = self.listeners.iter().position(|l| l.id == id) else { return };
        self.listeners[index].op = None;
        if self.is_closing() || self.listeners[index].closing {
            self.listeners.remove(index);
        } else if result < 0 && ![libc::ECONNABORTED, libc::EINTR, libc::ECANCELED].contains(&-result) {
            let e = io::Error::from_raw_os_error(-result);
            if Lack::of(&e) == Some(Lack::Descriptors) {
                self.admission.refuse(self.now);
            } else {
                limited!(warn, "cannot accept connections", error = %e, "cannot accept connections; trying again soon");
            }
            self.listeners[index].retry_at = self.now.plus_ms(ACCEPT_RETRY_MS);
        } else {
            self.accept(index);
        }
    }

    pub(super) fn next_accept_retry(&self) -> Ticks {
        self.listeners.iter().map(|l| l.retry_at).min().unwrap_or(Ticks::NEVER)
    }

    pub(super) fn retry_accepts(&mut self) {
        for index in 0..self.listeners.len() {
            if self.listeners[index].retry_at <= self.now && !self.is_closing() {
                self.accept(index);
            }
        }
    }

    pub(super) fn adopt(&mut self, socket: Socket) -> io::Result<ConnId> {
        let foreign = |_| io::Error::new(io::ErrorKind::InvalidInput, "a socket of another world");
        let socket = *socket.handle.downcast::<TcpStream>().map_err(foreign)?;
        if self.conns.len() >= CONNECTIONS_PER_CORE_MAX {
            return Err(io::Error::other("too many connections on one core"));
        }
        socket.set_nodelay(true)?;
        let entry = self.conns.vacant_entry();
        let index = entry.key();
        self.conns_made += 1;
        // The index is found again in the low bits; the count above makes the whole unique.
        let id = ConnId(self.conns_made * CONNECTIONS_PER_CORE_MAX as u64 + index as u64);
        entry.insert(Conn {
            id,
            socket,
            ops: 0,
            recv: None,
            cancelling: false,
            reading: true,
            into: None,
            watched: false,
            ended: false,
            sending: false,
            zero_copy: true,
            closed: false,
        });
        self.receive(index);
        Ok(id)
    }

    /// The open connection with this id.
    fn conn(&mut self, id: ConnId) -> Option<(usize, &mut Conn)> {
        let index = (id.0 % CONNECTIONS_PER_CORE_MAX as u64) as usize;
        let conn = self.conns.get_mut(index)?;
        (conn.id == id && !conn.closed).then_some((index, conn))
    }

    /// Starts the receive that is wanted, unless one is in flight.
    fn receive(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if conn.closed || conn.ended || conn.recv.is_some() {
            return;
        }
        let fd = types::Fd(conn.socket.as_raw_fd());
        let key = if let Some(buffer) = conn.into.take() {
            conn.ops += 1;
            self.start(Op::RecvInto(index, buffer), |op| {
                let Op::RecvInto(_, buffer) = op else { unreachable!("just made") };
                let spare = buffer.spare_capacity_mut();
                let entry = opcode::Recv::new(fd, spare.as_mut_ptr().cast(), spare.len() as u32);
                entry.flags(libc::MSG_WAITALL).build()
            })
        } else if conn.reading {
            conn.ops += 1;
            self.start(Op::Recv(index), |_| opcode::RecvMulti::new(fd, GROUP).build())
        } else {
            return;
        };
        self.conns[index].recv = Some(key);
    }

    pub(super) fn pause(&mut self, id: ConnId) {
        let Some((index, conn)) = self.conn(id) else { return };
        conn.reading = false;
        let Some(key) = conn.recv else { return };
        if conn.cancelling || !matches!(self.ops[key], Op::Recv(_)) {
            return;
        }
        self.conns[index].cancelling = true;
        self.start(Op::EndRecv(index, id), |_| opcode::AsyncCancel::new(key as u64).build());
    }

    /// The kernel does not find a receive that is just running: then it is asked again.
    pub(super) fn end_recv_ended(&mut self, index: usize, id: ConnId, result: i32) {
        let Some((at, conn)) = self.conn(id) else { return };
        if at == index && result < 0 && conn.cancelling {
            conn.cancelling = false;
            if !conn.reading && !self.is_closing() {
                self.pause(id);
            }
        }
    }

    pub(super) fn resume(&mut self, id: ConnId) {
        let Some((index, conn)) = self.conn(id) else { return };
        conn.reading = true;
        self.receive(index);
    }

    pub(super) fn recv_into(&mut self, id: ConnId, buffer: Vec<u8>) {
        assert!(buffer.capacity() > buffer.len(), "no room to receive into");
        let Some((index, conn)) = self.conn(id) else { return };
        assert!(!conn.reading && conn.into.is_none(), "receiving into a buffer while reading");
        conn.into = Some(buffer);
        self.receive(index);
    }

    /// A chunk of a multishot receive, which goes on.
    pub(super) fn received(&mut self, index: usize, result: i32, flags: u32) {
        let Some(id) = cqueue::buffer_select(flags) else { return };
        let conn = &mut self.conns[index];
        let Some(provided) = &mut self.provided else { return };
        let mut chunk = provided.take(id, result, flags);
        if conn.closed {
            return;
        }
        // What came before the receive could be ended belongs into the buffer that waits.
        if let Some(buffer) = &mut conn.into {
            let first = chunk.split_to(chunk.len().min(buffer.capacity() - buffer.len()));
            buffer.extend_from_slice(&first);
            if buffer.len() == buffer.capacity() {
                let buffer = conn.into.take().unwrap_or_default();
                self.out.push(Done::Socket(SocketEvent::Filled(conn.id, buffer)));
            }
        }
        if !chunk.is_empty() {
            self.out.push(Done::Socket(SocketEvent::Received(conn.id, chunk)));
        }
    }

    pub(super) fn recv_ended(&mut self, index: usize, result: i32, flags: u32) {
        self.received(index, result, flags);
        let conn = &mut self.conns[index];
        conn.recv = None;
        conn.cancelling = false;
        match result {
            0 => self.peer_ended(index),
            // Ended by us, or out of buffers, which are back by now: go on as wanted.
            1.. => {}
            code if [libc::ECANCELED, libc::ENOBUFS, libc::EINTR, libc::EAGAIN].contains(&-code) => {}
            code => self.ended(index, Err(io::Error::from_raw_os_error(-code))),
        }
        self.operation_ended(index);
    }

    pub(super) fn recv_into_ended(&mut self, index: usize, mut buffer: Vec<u8>, result: i32) {
        let conn = &mut self.conns[index];
        conn.recv = None;
        match outcome(result) {
            None => conn.into = Some(buffer),
            Some(Ok(0)) => self.peer_ended(index),
            Some(Ok(n)) => {
                let len = buffer.len() + n;
                // SAFETY: the kernel has written `n` bytes behind the old length, within the capacity it was given.
                unsafe { buffer.set_len(len) };
                if !conn.closed {
                    let id = conn.id;
                    self.out.push(Done::Socket(SocketEvent::Filled(id, buffer)));
                }
            }
            Some(Err(e)) => self.ended(index, Err(e)),
        }
        self.operation_ended(index);
    }

    /// The peer sends no more.
    fn peer_ended(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if !conn.closed && !std::mem::replace(&mut conn.ended, true) {
            self.out.push(Done::Socket(SocketEvent::Ended(conn.id)));
        }
    }

    pub(super) fn watch(&mut self, id: ConnId) {
        let Some((index, conn)) = self.conn(id) else { return };
        if !std::mem::replace(&mut conn.watched, true) {
            conn.ops += 1;
            let fd = types::Fd(conn.socket.as_raw_fd());
            self.start(Op::Watch(index), |_| opcode::PollAdd::new(fd, libc::POLLRDHUP as u32).build());
        }
    }

    pub(super) fn watch_ended(&mut self, index: usize, result: i32) {
        self.conns[index].watched = false;
        let broken = i32::from(libc::POLLERR | libc::POLLHUP);
        if result > 0 && result & broken != 0 {
            self.ended(index, Err(io::ErrorKind::ConnectionReset.into()));
        } else if result > 0 && !self.conns[index].closed {
            let id = self.conns[index].id;
            self.out.push(Done::Socket(SocketEvent::Ending(id)));
        }
        self.operation_ended(index);
    }

    pub(super) fn transferred(&self, id: ConnId) -> u64 {
        let index = (id.0 % CONNECTIONS_PER_CORE_MAX as u64) as usize;
        let Some(conn) = self.conns.get(index).filter(|conn| conn.id == id) else { return 0 };
        tcp_progress(&conn.socket).unwrap_or_default()
    }

    pub(super) fn send(&mut self, id: ConnId, parts: &mut Vec<Bytes>) {
        let Some((index, conn)) = self.conn(id) else { return parts.clear() };
        assert!(!conn.sending, "one send in flight per connection");
        conn.sending = true;
        conn.ops += 1;
        let mut sending = self.spare_sends.pop().unwrap_or_else(|| Box::new(Sending::new()));
        sending.parts.append(parts);
        sending.advance(0); // skips empty parts
        self.send_on(index, sending);
    }

    /// Keeps a send that has ended for the next.
    fn keep(&mut self, mut sending: Box<Sending>) {
        if self.spare_sends.len() < POOL_KEPT && sending.renew() {
            self.spare_sends.push(sending);
        }
    }

    /// Whether a send, or what is left of it, is to leave without a copy: a copy costs less than the bookkeeping unless it
    /// is large, and what the peer is slow to acknowledge must not take all memory.
    fn is_zero_copy(&self, index: usize, sending: &Sending) -> bool {
        let min = self.zero_copy_bytes_min;
        min < usize::MAX
            && self.conns[index].zero_copy
            && self.notice_bytes < SEND_NOTICE_BYTES_MAX
            && sending.parts[sending.part..].iter().any(|part| part.len() >= min)
    }

    fn send_on(&mut self, index: usize, mut sending: Box<Sending>) {
        sending.zero_copy = self.is_zero_copy(index, &sending);
        let fd = types::Fd(self.conns[index].socket.as_raw_fd());
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        self.start(Op::Send(index, sending), |op| {
            let Op::Send(_, s) = op else { unreachable!("just made") };
            if s.zero_copy {
                let entry = opcode::SendMsgZc::new(fd, s.fill()).flags(flags as u32);
                return entry.ioprio(SEND_ZC_REPORT_USAGE).build();
            }
            match &s.parts[s.part.min(s.parts.len())..] {
                [one] => {
                    let rest = &one[s.offset..];
                    opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32).flags(flags).build()
                }
                _ => opcode::SendMsg::new(fd, s.fill()).flags(flags as u32).build(),
            }
        });
    }

    /// The kernel has taken over what a send without a copy was to send, and will say when it has read it.
    pub(super) fn send_taken(&mut self, key: usize, result: i32) {
        let Some(op) = self.ops.get_mut(key) else { return };
        let nothing = Notice { conn: ConnId(0), parts: Vec::new(), bytes: 0 };
        let (index, sending) = match std::mem::replace(op, Op::Notice(nothing)) {
            Op::Send(index, sending) => (index, sending),
            other => return *op = other,
        };
        let parts: Vec<Bytes> = sending.parts[sending.part..].iter().take(SEND_PARTS_MAX).cloned().collect();
        let (conn, bytes) = (self.conns[index].id, parts.iter().map(Bytes::len).sum());
        *op = Op::Notice(Notice { conn, parts, bytes });
        self.notice_bytes += bytes;
        self.sent_without_copy += 1;
        self.send_ended(index, sending, result);
    }

    /// The kernel has read what was sent without a copy, or has copied it after all: then it would do so again.
    pub(super) fn noticed(&mut self, notice: Notice, result: i32) {
        let Notice { conn, parts, bytes } = notice;
        drop(parts);
        self.notice_bytes -= bytes;
        if result & NOTICE_COPIED != 0
            && let Some((_, conn)) = self.conn(conn)
        {
            conn.zero_copy = false;
        }
    }

    pub(super) fn send_ended(&mut self, index: usize, mut sending: Box<Sending>, result: i32) {
        let failed = match outcome(result) {
            None => None,
            Some(Ok(n)) => {
                if sending.advance(n) {
                    self.keep(sending);
                    let conn = &mut self.conns[index];
                    conn.sending = false;
                    if !conn.closed {
                        let id = conn.id;
                        self.out.push(Done::Socket(SocketEvent::Sent(id)));
                    }
                    self.operation_ended(index);
                    return;
                }
                (n == 0).then(|| io::ErrorKind::WriteZero.into())
            }
            // Locked memory may be short. What is wrong with the connection will be told again.
            Some(Err(_)) if sending.zero_copy => {
                self.conns[index].zero_copy = false;
                None
            }
            Some(Err(e)) => Some(e),
        };
        match failed {
            None if !self.conns[index].closed => self.send_on(index, sending),
            None => self.operation_ended(index),
            Some(e) => {
                self.ended(index, Err(e));
                self.operation_ended(index);
            }
        }
    }

    pub(super) fn close(&mut self, id: ConnId) {
        let Some((index, _)) = self.conn(id) else { return };
        self.ended(index, Ok(()));
        self.free_if_idle(index);
    }

    /// Reports the end of a connection, once, and makes its operations end.
    fn ended(&mut self, index: usize, how: io::Result<()>) {
        let conn = &mut self.conns[index];
        if conn.closed {
            return;
        }
        conn.closed = true;
        conn.into = None;
        let _ = conn.socket.shutdown(Shutdown::Both); // fails only if the peer was faster
        self.out.push(Done::Socket(SocketEvent::Closed(conn.id, how)));
    }

    fn operation_ended(&mut self, index: usize) {
        self.conns[index].ops -= 1;
        self.free_if_idle(index);
        if self.conns.contains(index) {
            self.receive(index);
        }
    }

    fn free_if_idle(&mut self, index: usize) {
        let conn = &self.conns[index];
        if conn.closed && conn.ops == 0 {
            self.conns.remove(index); // closes the socket
        }
    }

    pub(super) fn close_sockets(&mut self) {
        let ids: Vec<ConnId> = self.conns.iter().map(|(_, conn)| conn.id).collect();
        for id in ids {
            self.close(id);
        }
    }
}
