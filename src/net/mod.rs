//! stub net
#![allow(missing_docs, unused)]
use crate::base::*;
use crate::io::*;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
/// slot
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// conn
    pub conn: crate::io::ConnId,
    /// seq
    pub seq: u64,
}
pub enum NetEvent {
    Frame { slot: Slot, frame: Bytes, peer: SocketAddr, listener: u32 },
    Gone(ConnId),
    Handover { listener: u32, socket: Socket, to: ShardId },
}
#[derive(Default)]
pub struct NetConfig {
    pub shard: ShardId,
    pub shards: usize,
    pub frame_bytes_max: usize,
    pub connection_bytes_max: usize,
    pub core_bytes_max: usize,
    pub idle_ms: i64,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
}
struct Conn {
    peer: SocketAddr,
    listener: u32,
    buf: Vec<u8>,
    next_in: u64,
    next_out: u64,
    done: BTreeMap<u64, Option<Vec<Bytes>>>,
    close_at: Option<u64>,
    sending: bool,
    out: Vec<Bytes>,
    closed: bool,
}
pub struct Net {
    config: NetConfig,
    conns: HashMap<ConnId, Conn>,
    listeners: HashMap<ListenerId, u32>,
    dirty: Vec<ConnId>,
    rr: usize,
}
impl Net {
    pub fn new(config: NetConfig) -> Net {
        Net { config, conns: HashMap::new(), listeners: HashMap::new(), dirty: vec![], rr: 0 }
    }
    pub fn deadline(&self) -> Ticks {
        Ticks::NEVER
    }
    pub fn on_event(&mut self, now: Ticks, e: SocketEvent, io: &mut dyn Sockets, out: &mut Vec<NetEvent>) {
        match e {
            SocketEvent::Accepted(l, socket) => {
                let listener = self.listeners.get(&l).copied().unwrap_or(0);
                let to = ShardId((self.rr % self.config.shards) as u16);
                self.rr += 1;
                if to == self.config.shard {
                    self.adopt(now, listener, socket, io)
                } else {
                    out.push(NetEvent::Handover { listener, socket, to })
                }
            }
            SocketEvent::Received(conn, bytes) => {
                let Some(c) = self.conns.get_mut(&conn) else { return };
                c.buf.extend_from_slice(&bytes);
                let mut at = 0;
                while c.buf.len() - at >= 4 {
                    let len = i32::from_be_bytes(c.buf[at..at + 4].try_into().unwrap());
                    if len < 0 || len as usize > self.config.frame_bytes_max {
                        tracing::warn!(peer=%c.peer, len, "absurd frame length; closed");
                        io.close(conn);
                        return;
                    }
                    let len = len as usize;
                    if c.buf.len() - at - 4 < len {
                        break;
                    }
                    let frame = Bytes::copy_from_slice(&c.buf[at + 4..at + 4 + len]);
                    at += 4 + len;
                    let slot = Slot { conn, seq: c.next_in };
                    c.next_in += 1;
                    out.push(NetEvent::Frame { slot, frame, peer: c.peer, listener: c.listener });
                }
                c.buf.drain(..at);
            }
            SocketEvent::Filled(..) => {}
            SocketEvent::Sent(conn) => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.sending = false;
                    self.dirty.push(conn);
                }
            }
            SocketEvent::Closed(conn, _) => {
                if self.conns.remove(&conn).is_some() {
                    out.push(NetEvent::Gone(conn));
                }
            }
        }
    }
    pub fn expire(&mut self, now: Ticks, io: &mut dyn Sockets, out: &mut Vec<NetEvent>) {}
    pub fn adopt(&mut self, now: Ticks, listener: u32, s: Socket, io: &mut dyn Sockets) {
        let peer = s.peer;
        if let Ok(id) = io.adopt(s) {
            self.conns.insert(
                id,
                Conn {
                    peer,
                    listener,
                    buf: vec![],
                    next_in: 0,
                    next_out: 0,
                    done: BTreeMap::new(),
                    close_at: None,
                    sending: false,
                    out: vec![],
                    closed: false,
                },
            );
        }
    }
    fn fill(&mut self, s: Slot, r: Option<Vec<Bytes>>) {
        let Some(c) = self.conns.get_mut(&s.conn) else { return };
        c.done.insert(s.seq, r);
        self.dirty.push(s.conn);
    }
    pub fn reply(&mut self, s: Slot, mut parts: Vec<Bytes>) {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        parts.insert(0, Bytes::copy_from_slice(&(len as i32).to_be_bytes()));
        self.fill(s, Some(parts));
    }
    pub fn no_reply(&mut self, s: Slot) {
        self.fill(s, None)
    }
    pub fn close_after(&mut self, s: Slot) {
        if let Some(c) = self.conns.get_mut(&s.conn) {
            c.close_at = Some(s.seq.min(c.close_at.unwrap_or(u64::MAX)));
            self.dirty.push(s.conn);
        }
    }
    pub fn flush<S: Sockets + ?Sized>(&mut self, io: &mut S) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(c) = self.conns.get_mut(&id) else { continue };
            while let Some(r) = c.done.remove(&c.next_out) {
                c.next_out += 1;
                if let Some(p) = r {
                    c.out.extend(p)
                }
            }
            if !c.sending && !c.out.is_empty() {
                c.sending = true;
                io.send(id, std::mem::take(&mut c.out));
            } else if !c.sending && c.close_at == Some(c.next_out) {
                io.close(id);
            }
        }
    }
    pub fn drain(&mut self, io: &mut dyn Sockets) {
        for l in self.listeners.keys() {
            io.unlisten(*l)
        }
        for c in self.conns.keys() {
            io.pause(*c)
        }
    }
    pub fn is_drained(&self) -> bool {
        self.conns.values().all(|c| !c.sending && c.out.is_empty() && c.next_in == c.next_out)
    }
    pub fn listen<S: Sockets + ?Sized>(
        &mut self,
        i: u32,
        a: SocketAddr,
        io: &mut S,
    ) -> std::io::Result<SocketAddr> {
        let (l, a) = io.listen(a)?;
        self.listeners.insert(l, i);
        Ok(a)
    }
}
