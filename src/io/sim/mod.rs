//! The simulated machine: disk, network, mail and clock of all cores, driven by one seed on one thread.
//!
//! The same seed and the same calls give the same events in the same order at the same virtual times;
//! [`Sim::trace`] is a hash of all of them. Nothing here reads a real clock.
//!
//! With one core, [`World::turn`] moves the clock on by itself. With several, a turn never waits: it hands out
//! what is ready and notes until when its core would have slept; whoever drives the cores calls [`Sim::step`]
//! between rounds, which moves the clock to the next completion or wake-up.

mod disk;
#[cfg(test)]
mod disk_tests;
mod net;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

pub use disk::{DiskConfig, DiskFault, DiskOp, SECTOR_BYTES, SimDisk};
pub use net::{NetworkConfig, SimClient};

use super::file::{File, Files};
use super::jobs;
use super::world::{
    Clock, ConnId, Disk, DiskOutcome, Event, FileJob, ListenerId, Socket, Sockets, Token, World,
    assert_aligned,
};
use crate::base::prng::Prng;
use crate::base::{ShardId, Ticks, WallMs};

/// What the wall clock shows at virtual time zero: 2026-01-01T00:00:00Z.
pub const WALL_START_MS: WallMs = 1_767_225_600_000;

/// How long a turn takes that finds nothing and may not wait.
const TURN: Duration = Duration::from_micros(1);

/// How a simulated machine is made.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// The seed of everything random.
    pub seed: u64,
    /// The number of cores.
    pub shards: usize,
    /// How the disk behaves.
    pub disk: DiskConfig,
    /// The slowest mail between cores.
    pub mail_ns_max: u64,
    /// How the network behaves.
    pub network: NetworkConfig,
    /// Whoever drives the cores moves the clock with [`Sim::step`] even if there is one core only.
    pub stepped: bool,
}

impl SimConfig {
    /// Gentle defaults: small random latencies and no faults.
    pub fn new(seed: u64, shards: usize) -> SimConfig {
        SimConfig {
            seed,
            shards,
            disk: DiskConfig::default(),
            mail_ns_max: 40_000,
            network: NetworkConfig::default(),
            stepped: false,
        }
    }
}

/// A simulated machine. Clones share it.
pub struct Sim<M> {
    inner: Rc<RefCell<Inner<M>>>,
    disk: SimDisk,
}

impl<M> Clone for Sim<M> {
    fn clone(&self) -> Self {
        Sim { inner: Rc::clone(&self.inner), disk: self.disk.clone() }
    }
}

/// One core of a simulated machine.
pub struct SimWorld<M> {
    sim: Sim<M>,
    shard: ShardId,
    life: u64,
    now: Ticks,
    wall: WallMs,
}

/// Something that will happen.
enum Pending<M> {
    Read { shard: ShardId, file: File, offset: u64, len: usize, token: Token },
    Write { shard: ShardId, file: File, offset: u64, bytes: Bytes, durable: bool, token: Token },
    Sync { shard: ShardId, file: File, upto: u64, token: Token },
    Job { shard: ShardId, job: FileJob, token: Token },
    Mail { from: ShardId, to: ShardId, mail: M },
    Net(net::Arrival),
    Stop,
}

struct Inner<M> {
    now: u64,
    wall_shift_ms: WallMs,
    life: u64,
    prng: Prng,
    sequence: u64,
    mail_ns_max: u64,
    trace: u64,
    queue: BTreeMap<(u64, u64), Pending<M>>,
    cores: Vec<Core<M>>,
    mail_at: BTreeMap<(ShardId, ShardId), u64>,
    net: net::Network,
    stepped: bool,
}

struct Core<M> {
    inbox: VecDeque<Event<M>>,
    wake_at: u64,
    jobs_until: u64,
    slow_jobs_until: u64,
    ended: bool,
}

impl<M> Core<M> {
    fn new() -> Core<M> {
        Core { inbox: VecDeque::new(), wake_at: u64::MAX, jobs_until: 0, slow_jobs_until: 0, ended: false }
    }
}

impl<M> Inner<M> {
    fn schedule(&mut self, at: u64, what: Pending<M>) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), what);
    }

    fn next_at(&self) -> u64 {
        self.queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at)
    }

    fn wall_ms(&self) -> WallMs {
        WALL_START_MS + (self.now / 1_000_000) as i64 + self.wall_shift_ms
    }

    fn note(&mut self, words: &[u64]) {
        // FNV-1a over whole words.
        for word in words {
            self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn deliver(&mut self, to: ShardId, event: Event<M>) {
        let words = match &event {
            Event::Disk(token, outcome) => {
                let (kind, size) = match outcome {
                    DiskOutcome::Read(r) => {
                        (1, r.as_ref().map_or(u64::MAX, |b| u64::from(crc32c::crc32c(b))))
                    }
                    DiskOutcome::Written(r) => (2, u64::from(r.is_ok())),
                    DiskOutcome::Synced(r) => (3, u64::from(r.is_ok())),
                    DiskOutcome::Job(r) => (4, u64::from(r.is_ok())),
                };
                [kind, token.0, size]
            }
            Event::Mail(from, _) => [5, u64::from(from.0), 0],
            Event::Socket(event) => net::trace_words(event),
            Event::Stop => [7, 0, 0],
        };
        let now = self.now;
        self.note(&[now, u64::from(to.0)]);
        self.note(&words);
        let core = &mut self.cores[usize::from(to.0)];
        if !core.ended {
            core.inbox.push_back(event);
        }
    }
}

impl<M> Sim<M> {
    /// A machine with an empty disk, switched on at virtual time zero.
    pub fn new(config: SimConfig) -> Sim<M> {
        assert!(config.shards > 0, "a machine has cores");
        let mut prng = Prng::new(config.seed);
        let disk = SimDisk::new(prng.next_u64(), config.disk);
        let inner = Inner {
            now: 1_000_000,
            wall_shift_ms: 0,
            life: 0,
            prng,
            sequence: 0,
            mail_ns_max: config.mail_ns_max,
            trace: 0xCBF2_9CE4_8422_2325,
            queue: BTreeMap::new(),
            cores: (0..config.shards).map(|_| Core::new()).collect(),
            mail_at: BTreeMap::new(),
            net: net::Network::new(config.network),
            stepped: config.stepped,
        };
        Sim { inner: Rc::new(RefCell::new(inner)), disk }
    }

    /// A core of the process that runs now. One made before a kill or a power cut is dead: what it submits is lost
    /// and it hears nothing.
    pub fn world(&self, shard: ShardId) -> SimWorld<M> {
        let inner = self.inner.borrow();
        assert!(usize::from(shard.0) < inner.cores.len(), "no core {}", shard.0);
        let (now, wall) = (Ticks(inner.now), inner.wall_ms());
        SimWorld { sim: self.clone(), shard, life: inner.life, now, wall }
    }

    /// The disk, which is also the machine's [`Files`].
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Virtual time.
    pub fn now(&self) -> Ticks {
        Ticks(self.inner.borrow().now)
    }

    /// Makes the wall clock jump.
    pub fn shift_wall_ms(&self, by: WallMs) {
        self.inner.borrow_mut().wall_shift_ms += by;
    }

    /// A hash of everything delivered so far, with its times.
    pub fn trace(&self) -> u64 {
        self.inner.borrow().trace
    }

    /// Mail from outside the cores; it comes as from the core itself.
    pub fn post(&self, to: ShardId, mail: M) {
        let mut inner = self.inner.borrow_mut();
        let now = inner.now;
        inner.schedule(now, Pending::Mail { from: to, to, mail });
    }

    /// Asks the process to stop: core 0 gets [`Event::Stop`].
    pub fn stop(&self) {
        let mut inner = self.inner.borrow_mut();
        let now = inner.now;
        inner.schedule(now, Pending::Stop);
    }

    /// Moves the clock to the next completion or wake-up, but not beyond `limit`, and lets everything due happen.
    /// False when nothing was left to happen until `limit`.
    pub fn step(&self, limit: Ticks) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.cores.iter().any(|c| !c.inbox.is_empty()) {
            return true;
        }
        let wake = inner.cores.iter().map(|c| c.wake_at).min().unwrap_or(u64::MAX);
        let next = inner.next_at().min(wake);
        if next > limit.0 || next == u64::MAX {
            inner.now = inner.now.max(if limit == Ticks::NEVER { inner.now } else { limit.0 });
            return false;
        }
        let to = inner.now.max(next);
        drop(inner);
        self.advance(to);
        true
    }

    /// Moves the clock to `to` and lets everything due happen.
    fn advance(&self, to: u64) {
        loop {
            let mut inner = self.inner.borrow_mut();
            let at = inner.next_at();
            if at > to || at == u64::MAX {
                inner.now = inner.now.max(to);
                return;
            }
            let Some((_, what)) = inner.queue.pop_first() else { return };
            inner.now = inner.now.max(at);
            drop(inner);
            self.happen(what);
        }
    }

    fn happen(&self, what: Pending<M>) {
        let disk = &self.disk;
        let (to, event) = match what {
            Pending::Net(arrival) => return self.inner.borrow_mut().arrive(arrival),
            Pending::Read { shard, file, offset, len, token } => {
                let bytes = disk.read_at(&file, offset, len).map(Bytes::from);
                (shard, Event::Disk(token, DiskOutcome::Read(bytes)))
            }
            Pending::Write { shard, file, offset, bytes, durable, token } => {
                let written = disk.write_at(&file, offset, &bytes);
                let flush = || if durable { disk.sync(&file) } else { Ok(()) };
                let written = written.and_then(|()| flush());
                (shard, Event::Disk(token, DiskOutcome::Written(written)))
            }
            Pending::Sync { shard, file, upto, token } => {
                (shard, Event::Disk(token, DiskOutcome::Synced(disk.flush_upto(&file, upto))))
            }
            Pending::Job { shard, job, token } => {
                let done = jobs::run(disk, job, |path, mode| disk.open_or_create(path, mode));
                (shard, Event::Disk(token, DiskOutcome::Job(done)))
            }
            Pending::Mail { from, to, mail } => (to, Event::Mail(from, mail)),
            Pending::Stop => (ShardId(0), Event::Stop),
        };
        self.inner.borrow_mut().deliver(to, event);
    }

    /// The process is killed: memory, mail and sockets are gone; of each write in flight any sectors may have been
    /// written; what had completed is there.
    pub fn kill(&self) {
        let (queue, cores) = {
            let mut inner = self.inner.borrow_mut();
            inner.life += 1;
            inner.mail_at.clear();
            inner.net.kill();
            let fresh = inner.cores.iter().map(|_| Core::new()).collect();
            (std::mem::take(&mut inner.queue), std::mem::replace(&mut inner.cores, fresh))
        };
        for what in queue.into_values() {
            if let Pending::Write { file, offset, bytes, .. } = what {
                self.disk.write_torn(&file, offset, &bytes);
            }
        }
        drop(cores);
        self.disk.kill();
    }

    /// The process has ended by itself: as [`Sim::kill`], but what it had sent on connections that it closed arrives.
    pub fn exit(&self) {
        let mut queue = std::mem::take(&mut self.inner.borrow_mut().queue);
        let leaving = queue.extract_if(.., |_, what| matches!(what, Pending::Net(a) if a.is_leaving()));
        let leaving: Vec<_> = leaving.collect();
        self.inner.borrow_mut().queue = queue;
        self.kill();
        let mut inner = self.inner.borrow_mut();
        for (at, what) in leaving {
            if let Pending::Net(arrival) = &what {
                inner.net.not_yet(arrival);
            }
            inner.queue.insert(at, what);
        }
    }

    /// The next process has so many cores. To be called between [`Sim::kill`] and the next process's first world.
    pub fn set_shards(&self, shards: usize) {
        assert!(shards > 0, "a machine has cores");
        self.inner.borrow_mut().cores = (0..shards).map(|_| Core::new()).collect();
    }

    /// A core's loop is over: it hears nothing more and wants no wake-up.
    pub fn core_ended(&self, shard: ShardId) {
        if let Some(core) = self.inner.borrow_mut().cores.get_mut(usize::from(shard.0)) {
            core.inbox.clear();
            (core.wake_at, core.ended) = (u64::MAX, true);
        }
    }

    /// File jobs that a core submits from now on wait so long before they begin: quick ones, slow ones.
    pub fn delay_jobs(&self, shard: ShardId, quick_ms: i64, slow_ms: i64) {
        let mut inner = self.inner.borrow_mut();
        let until = |ms| Ticks(inner.now).plus_ms(ms).0;
        let (quick, slow) = (until(quick_ms), until(slow_ms));
        if let Some(core) = inner.cores.get_mut(usize::from(shard.0)) {
            core.jobs_until = core.jobs_until.max(quick);
            core.slow_jobs_until = core.slow_jobs_until.max(slow);
        }
    }

    /// Whether a core has something to do now.
    pub fn is_due(&self, shard: ShardId) -> bool {
        let inner = self.inner.borrow();
        inner.cores.get(usize::from(shard.0)).is_some_and(|c| !c.inbox.is_empty() || c.wake_at <= inner.now)
    }

    /// The power fails: as [`Sim::kill`], and the disk forgets some of what was not flushed.
    pub fn power_cut(&self) {
        self.kill();
        self.disk.power_cut();
    }
}

impl<M> SimWorld<M> {
    /// The machine this core belongs to.
    pub fn sim(&self) -> &Sim<M> {
        &self.sim
    }

    /// Takes what is ready and reads the clock. False if this core has to wait and may move the clock.
    fn take(&mut self, until: Ticks, events: &mut Vec<Event<M>>) -> bool {
        let mut inner = self.sim.inner.borrow_mut();
        let (alone, now, life) = (inner.cores.len() == 1 && !inner.stepped, inner.now, inner.life);
        if life != self.life {
            return true; // dead
        }
        let stuck = until == Ticks::NEVER && inner.next_at() == u64::MAX;
        let core = &mut inner.cores[usize::from(self.shard.0)];
        let got = !core.inbox.is_empty();
        events.extend(core.inbox.drain(..));
        core.wake_at = if got { now } else { until.0 };
        (self.now, self.wall) = (Ticks(now), inner.wall_ms());
        got || !alone || stuck || now >= until.0
    }

    fn schedule_disk(&mut self, what: Pending<M>) {
        let mut inner = self.sim.inner.borrow_mut();
        if inner.life == self.life {
            let latency = self.sim.disk.latency_ns(&mut inner.prng);
            let at = inner.now + latency;
            inner.schedule(at, what);
        }
    }
}

impl<M> Clock for SimWorld<M> {
    fn now(&self) -> Ticks {
        self.now
    }

    fn wall_ms(&self) -> WallMs {
        self.wall
    }
}

impl<M> SimWorld<M> {
    /// Schedules a job behind those of its lane.
    fn schedule_job(&mut self, job: FileJob, token: Token, lane: fn(&mut Core<M>) -> &mut u64) {
        let mut inner = self.sim.inner.borrow_mut();
        if inner.life != self.life {
            return;
        }
        let latency = self.sim.disk.latency_ns(&mut inner.prng);
        let now = inner.now;
        let until = lane(&mut inner.cores[usize::from(self.shard.0)]);
        *until = now.max(*until) + latency;
        let at = *until;
        inner.schedule(at, Pending::Job { shard: self.shard, job, token });
    }
}

impl<M> Disk for SimWorld<M> {
    fn read(&mut self, file: &File, offset: u64, len: usize, token: Token) {
        assert_aligned(offset, len, 0);
        self.schedule_disk(Pending::Read { shard: self.shard, file: file.clone(), offset, len, token });
    }

    fn write(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        assert_aligned(offset, bytes.len(), bytes.as_ptr() as usize);
        let (shard, file) = (self.shard, file.clone());
        self.schedule_disk(Pending::Write { shard, file, offset, bytes, durable: false, token });
    }

    fn write_durable(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        assert_aligned(offset, bytes.len(), bytes.as_ptr() as usize);
        let (shard, file) = (self.shard, file.clone());
        self.schedule_disk(Pending::Write { shard, file, offset, bytes, durable: true, token });
    }

    fn stage(&mut self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.sim.inner.borrow().life != self.life {
            return Ok(()); // a process that is gone, and knows nothing of it
        }
        self.sim.disk.write_at(file, offset, bytes)
    }

    fn free_bytes(&self, path: &std::path::Path) -> u64 {
        self.sim.disk.free_bytes(path)
    }

    fn sync(&mut self, file: &File, token: Token) {
        let upto = self.sim.disk.newest_change();
        self.schedule_disk(Pending::Sync { shard: self.shard, file: file.clone(), upto, token });
    }

    fn background(&mut self, job: FileJob, token: Token) {
        self.schedule_job(job, token, |core| &mut core.jobs_until);
    }

    fn background_slow(&mut self, job: FileJob, token: Token) {
        self.schedule_job(job, token, |core| &mut core.slow_jobs_until);
    }
}

impl<M> Sockets for SimWorld<M> {
    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        self.net_listen(address)
    }
    fn unlisten(&mut self, listener: ListenerId) {
        self.net_unlisten(listener);
    }
    fn adopt(&mut self, socket: Socket) -> io::Result<ConnId> {
        self.net_adopt(socket)
    }
    fn pause(&mut self, conn: ConnId) {
        self.net_read(conn, false);
    }
    fn resume(&mut self, conn: ConnId) {
        self.net_read(conn, true);
    }
    fn watch(&mut self, conn: ConnId) {
        self.net_watch(conn);
    }
    fn transferred(&self, conn: ConnId) -> u64 {
        self.net_transferred(conn)
    }
    fn recv_into(&mut self, conn: ConnId, buffer: Vec<u8>) {
        self.net_recv_into(conn, buffer);
    }
    fn send(&mut self, conn: ConnId, parts: &mut Vec<Bytes>) {
        self.net_send(conn, std::mem::take(parts));
    }
    fn close(&mut self, conn: ConnId) {
        self.net_close(conn);
    }
}

impl<M> World<M> for SimWorld<M> {
    fn shard(&self) -> ShardId {
        self.shard
    }

    fn shards(&self) -> usize {
        self.sim.inner.borrow().cores.len()
    }

    fn files(&self) -> &dyn Files {
        &self.sim.disk
    }

    fn post(&mut self, to: ShardId, mail: M) {
        let mut inner = self.sim.inner.borrow_mut();
        if inner.life != self.life {
            return;
        }
        let max = inner.mail_ns_max;
        let delay = if to == self.shard { 1 } else { 1_000 + inner.prng.below(max) };
        let at = inner.now + delay;
        let last = inner.mail_at.entry((self.shard, to)).or_insert(0);
        *last = at.max(*last);
        let at = *last;
        inner.schedule(at, Pending::Mail { from: self.shard, to, mail });
    }

    fn turn(&mut self, until: Ticks, events: &mut Vec<Event<M>>) {
        // A turn that does not wait still takes a moment, or a loop of them would never see time pass.
        let until = until.max(self.sim.now().plus(TURN));
        while !self.take(until, events) {
            let next = self.sim.inner.borrow().next_at();
            self.sim.advance(next.min(until.0));
        }
    }
}
