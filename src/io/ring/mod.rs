//! The real world: one `io_uring` per core.
//!
//! A process has one [`Remote`], made first; each core's thread then makes its own [`Ring`] from it. Nothing of a
//! ring may leave its thread.

mod disk;
mod error;
mod fixed;
mod mail;
mod provided;
mod reactor;
mod sockets;
#[cfg(test)]
mod tests;

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub use error::RingError;
pub use mail::Remote;
pub use sockets::bind;

use super::background::Lane;
use super::clock;
use super::file::{File, Files};
use super::memory;
use super::os_files::OsFiles;
use super::world::{
    Clock, ConnId, Disk, DiskOutcome, Event, FileJob, ListenerId, Socket, Sockets, Token, World,
};
use crate::base::{ShardId, Ticks, WallMs};
use mail::{Item, Shared, Wake};
use reactor::{Done, Reactor};

impl<M: Send + 'static> Remote<M> {
    /// The mailboxes of a process with so many cores. Fails when descriptors are short.
    pub fn new(shards: usize) -> io::Result<Remote<M>> {
        assert!(shards > 0, "a process has cores");
        Ok(Remote { shared: Arc::new(Shared::new(shards)?) })
    }
}

/// One core of the real machine.
pub struct Ring<M: Send + 'static> {
    reactor: Reactor,
    remote: Remote<M>,
    shard: ShardId,
    /// Mail that leaves with the next turn, by receiver.
    outbox: Vec<Vec<Item<M>>>,
    wall: WallMs,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl<M: Send + 'static> Ring<M> {
    /// Sets up the ring of one core, on the calling thread, which must be the one that uses it.
    pub fn new(remote: &Remote<M>, shard: ShardId) -> Result<Ring<M>, RingError> {
        let shared = &remote.shared;
        assert!(usize::from(shard.0) < shared.shards(), "no core {}", shard.0);
        let mut reactor = Reactor::new(shared.event_fd(shard))?;
        let fd: RawFd = reactor.ring_fd();
        shared.set_ring(shard, fd);
        let outbox = (0..shared.shards()).map(|_| Vec::new()).collect();
        let (remote, wall) = (remote.clone(), clock::wall());
        Ok(Ring { reactor, remote, shard, outbox, wall, _stays_on_its_thread: PhantomData })
    }

    /// The handle through which other threads reach the cores.
    pub fn remote(&self) -> &Remote<M> {
        &self.remote
    }

    /// From now on, replies with a part of at least so many bytes leave without a copy, as long as their connection's way
    /// really needs none; 0 for none, as at first.
    pub fn send_without_copy(&mut self, bytes_min: usize) {
        self.reactor.zero_copy_bytes_min = if bytes_min == 0 { usize::MAX } else { bytes_min };
    }

    /// Hands the mail of this turn over, waking each receiver that sleeps once.
    fn deliver_outbox(&mut self) {
        for to in 0..self.outbox.len() {
            if to == usize::from(self.shard.0) || self.outbox[to].is_empty() {
                continue;
            }
            let wake = self.remote.shared.push(ShardId(to as u16), &mut self.outbox[to]);
            if let Wake::Ring(ring) = wake {
                self.reactor.wake_ring(ring);
            }
        }
    }

    fn collect(&mut self, events: &mut Vec<Event<M>>) {
        events.extend(self.reactor.out.drain(..).map(|done| match done {
            Done::Disk(token, outcome) => Event::Disk(token, outcome),
            Done::Socket(event) => Event::Socket(event),
        }));
        let own = std::mem::take(&mut self.outbox[usize::from(self.shard.0)]);
        let mail = own.into_iter().chain(self.remote.shared.take(self.shard));
        events.extend(mail.map(|item| match item {
            Item::Mail(from, mail) => Event::Mail(from, mail),
            Item::Job(token, result) => Event::Disk(token, DiskOutcome::Job(result)),
        }));
        if self.shard.0 == 0 && self.remote.shared.take_stop() {
            events.push(Event::Stop);
        }
    }

    fn has_events(&mut self) -> bool {
        !self.outbox[usize::from(self.shard.0)].is_empty()
            || self.remote.shared.has_mail(self.shard)
            || self.reactor.has_events()
    }
}

impl<M: Send + 'static> Drop for Ring<M> {
    fn drop(&mut self) {
        self.remote.shared.set_ring(self.shard, -1);
    }
}

impl<M: Send + 'static> Clock for Ring<M> {
    fn now(&self) -> Ticks {
        self.reactor.now
    }

    fn wall_ms(&self) -> WallMs {
        self.wall
    }
}

impl<M: Send + 'static> Disk for Ring<M> {
    fn read(&mut self, file: &File, offset: u64, len: usize, token: Token) {
        self.reactor.read(file, offset, len, token);
    }

    fn write(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        self.reactor.write(file, offset, bytes, token);
    }

    fn write_durable(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        self.reactor.write_durable(file, offset, bytes, token);
    }

    fn stage(&mut self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        OsFiles.write_at(file, offset, bytes)
    }

    fn free_bytes(&self, path: &Path) -> u64 {
        OsFiles.free_bytes(path)
    }

    fn sync(&mut self, file: &File, token: Token) {
        self.reactor.sync(file, token);
    }

    fn background(&mut self, job: FileJob, token: Token) {
        Shared::background(&self.remote.shared, self.shard, Lane::Quick, token, job);
    }

    fn background_slow(&mut self, job: FileJob, token: Token) {
        Shared::background(&self.remote.shared, self.shard, Lane::Slow, token, job);
    }

    fn compute(&mut self, job: FileJob, token: Token) {
        Shared::background(&self.remote.shared, self.shard, Lane::Compute, token, job);
    }

    fn compute_long(&mut self, job: FileJob, token: Token) {
        Shared::background(&self.remote.shared, self.shard, Lane::ComputeLong, token, job);
    }

    fn buffer_bytes(&self) -> usize {
        memory::in_use()
    }

    fn tidy_memory(&mut self) {
        memory::collect();
        memory::trim_heap();
    }
}

impl<M: Send + 'static> Sockets for Ring<M> {
    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        self.reactor.listen(address)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.reactor.unlisten(listener);
    }

    fn adopt(&mut self, socket: Socket) -> io::Result<ConnId> {
        self.reactor.adopt(socket)
    }

    fn pause(&mut self, conn: ConnId) {
        self.reactor.pause(conn);
    }

    fn resume(&mut self, conn: ConnId) {
        self.reactor.resume(conn);
    }

    fn watch(&mut self, conn: ConnId) {
        self.reactor.watch(conn);
    }

    fn transferred(&self, conn: ConnId) -> u64 {
        self.reactor.transferred(conn)
    }

    fn recv_into(&mut self, conn: ConnId, buffer: Vec<u8>) {
        self.reactor.recv_into(conn, buffer);
    }

    fn send(&mut self, conn: ConnId, parts: &mut Vec<Bytes>) {
        self.reactor.send(conn, parts);
    }

    fn close(&mut self, conn: ConnId) {
        self.reactor.close(conn);
    }
}

impl<M: Send + 'static> World<M> for Ring<M> {
    fn shard(&self) -> ShardId {
        self.shard
    }

    fn shards(&self) -> usize {
        self.remote.shared.shards()
    }

    fn files(&self) -> &dyn Files {
        &OsFiles
    }

    fn post(&mut self, to: ShardId, mail: M) {
        self.outbox[usize::from(to.0)].push(Item::Mail(self.shard, mail));
    }

    fn turn(&mut self, until: Ticks, events: &mut Vec<Event<M>>) {
        self.deliver_outbox();
        if self.has_events() || !self.remote.shared.fall_asleep(self.shard) {
            self.reactor.submit();
        } else {
            self.reactor.submit_and_wait(until);
            self.remote.shared.wake_up(self.shard);
        }
        memory::collect();
        self.reactor.reap();
        self.wall = clock::wall();
        self.collect(events);
    }
}
