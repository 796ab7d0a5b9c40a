//! What a core spends on a request in user space: `cargo bench --bench requests`.
//!
//! A whole core, its connections and its partitions run over a world whose disk and network take no time: what is
//! written is on the disk in the next turn, what is sent has left. So nothing but the broker's own work is timed, and
//! every allocation is counted. Requests of all connections of a case come in one turn, as under load.

#[allow(dead_code)]
mod support;

use bytes::Bytes;
use ottla::base::{ShardId, Ticks, Uuid, WallMs};
use ottla::config::{BrokerConfig, STANDALONE};
use ottla::io::{
    Clock, ConnId, Disk, DiskOutcome, Event, File, FileJob, FileJobOutcome, Files, ListenerId, OsFiles,
    Socket, SocketEvent, Sockets, Token, World,
};
use ottla::server::boot::{Boot, Given};
use ottla::server::core::{Core, Turned};
use ottla::server::report::Counts;
use ottla::shard::Mail;
use ottla::wire::frame;
use ottla::wire::messages::api_versions_request::ApiVersionsRequest;
use ottla::wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla::wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::record::BatchBuilder;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The last version that names topics by name.
const PRODUCE_VERSION: i16 = 12;
const TOPIC: &str = "requests";
const PARTITIONS: i32 = 100;
/// A topic of which a partition is out of the caches when its turn comes again.
const LARGE_TOPIC: &str = "many";
const LARGE_PARTITIONS: i32 = 10_000;

fn main() {
    let dir = std::env::temp_dir().join(format!("ottla-requests-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let mut machine = Machine::start(&dir);
    println!("{:<52}{:>12}{:>14}{:>12}", "request", "ns", "allocations", "bytes");
    cases(&mut machine);
    let _ = std::fs::remove_dir_all(&dir);
}

fn cases(machine: &mut Machine) {
    let hello = ApiVersionsRequest { client_software_name: "perf", client_software_version: "1" };
    let hello = frame::request(&hello, 3, 1, Some("perf")).expect("a request");
    machine.measure("ApiVersions, 64 connections", &vec![hello; 64], 1);
    // Before so much is written that the first batches are in memory no more.
    let small = vec![fetch(0..1, 200); 64];
    machine.measure("Fetch one small batch, 64 connections", &small, 1);
    machine.measure("Fetch one small batch of each of 100 partitions", &[fetch(0..100, 200)], 1);
    for connections in [1, 4, 64] {
        let frames: Vec<_> = (0..connections).map(|_| produce(1, 0..1, 100)).collect();
        machine.measure(&format!("Produce 1 x 100 B, {connections} connections"), &frames, 1);
    }
    let spread: Vec<_> = (0..64).map(|c| produce(1, c % 16..c % 16 + 1, 100)).collect();
    machine.measure("Produce 1 x 100 B, 64 connections, 16 partitions", &spread, 1);
    machine.measure("the same, depth 8", &spread, 8);
    machine.measure("Produce 100 x 100 B, 1 connection, depth 4", &[produce(100, 0..1, 100)], 4);
    for partitions in [10, 100] {
        let frame = produce(1, 0..partitions, 100);
        machine.measure(&format!("Produce 1 x 100 B to each of {partitions} partitions"), &[frame], 1);
    }
    for (topic, partitions) in [(TOPIC, PARTITIONS), (LARGE_TOPIC, LARGE_PARTITIONS)] {
        machine.measure_in_turn(topic, partitions);
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

fn produce(records: usize, partitions: std::ops::Range<i32>, value_bytes: usize) -> Vec<u8> {
    produce_to(TOPIC, records, partitions, value_bytes)
}

fn produce_to(name: &str, records: usize, partitions: std::ops::Range<i32>, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    for _ in 0..records {
        builder.append(now_ms(), None, Some(&vec![7; value_bytes]), &[]);
    }
    let batch = builder.build();
    let data = partitions.map(|index| PartitionProduceData { index, records: Some(&batch) }).collect();
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData { name, partition_data: data, ..Default::default() }],
    };
    frame::request(&request, PRODUCE_VERSION, 0, Some("perf")).expect("a request")
}

fn fetch(partitions: std::ops::Range<i32>, max_bytes: i32) -> Vec<u8> {
    let of = |partition| FetchPartition {
        partition,
        fetch_offset: 0,
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    let topic = FetchTopic { topic: TOPIC, partitions: partitions.map(of).collect(), ..Default::default() };
    let request = FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..Default::default() };
    frame::request(&request, 12, 1, Some("perf")).expect("a request")
}

/// A core over a world that takes no time.
struct Machine {
    core: Core,
    world: Instantly,
    conns: Vec<ConnId>,
}

impl Machine {
    fn start(dir: &Path) -> Machine {
        let address = "127.0.0.1:9092";
        let mut pairs: Vec<(String, String)> =
            STANDALONE.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        pairs.push(("log.dirs".to_owned(), dir.display().to_string()));
        pairs.push(("listeners".to_owned(), format!("PLAINTEXT://{address}")));
        let (config, _) = BrokerConfig::from_pairs(pairs).expect("a configuration");
        let given = Given {
            config,
            cluster_id: "a-cluster-that-is-timed".to_owned(),
            directory_ids: vec![Uuid::from_u128(0x7777_0000_0000_4000_8000_0000_0000_0077)],
            metadata_directory_id: Uuid::from_u128(0x7777_0000_0000_4000_8000_0000_0000_0077),
            incarnation_id: Uuid::from_u128(1000),
            shards: 1,
            now_ms: now_ms(),
            seed: 1,
            counts: Counts::default(),
        };
        let (boot, host) = Boot::prepare(&OsFiles, given).expect("a broker");
        let shard = boot.open_shard(&OsFiles, ShardId(0));
        let mut world = Instantly::default();
        let mut core = boot.begin(&OsFiles, &mut world, shard, Some(host), |_| None).expect("a core");
        while core.turn(&mut world) != Turned::Ready {}
        boot.listen(&mut core, &mut world).expect("an address");
        let mut machine = Machine { core, world, conns: Vec::new() };
        machine.connect(64);
        machine.create_topic(TOPIC, PARTITIONS);
        // Something to fetch, in memory.
        machine.answer(&[Bytes::from(produce(1, 0..PARTITIONS, 100))], 1);
        machine
    }

    fn connect(&mut self, count: u16) {
        for port in 0..count {
            let socket = Socket { handle: Box::new(()), peer: SocketAddr::from(([127, 0, 0, 1], port)) };
            self.world.events.push(Event::Socket(SocketEvent::Accepted(ListenerId(0), socket)));
        }
        self.core.turn(&mut self.world);
        self.conns = (0..u64::from(count)).map(ConnId).collect();
    }

    fn create_topic(&mut self, name: &str, num_partitions: i32) {
        let topic = CreatableTopic { name, num_partitions, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only: false };
        let frame = frame::request(&request, 7, 1, Some("perf")).expect("a request");
        self.answer(&[Bytes::from(frame)], 1);
        for _ in 0..1000 {
            self.core.turn(&mut self.world); // the partitions open
        }
    }

    /// Each frame on its own connection, so many times, and turns until all are answered.
    fn answer(&mut self, frames: &[Bytes], depth: usize) {
        self.world.replies = 0;
        for (conn, frame) in self.conns.iter().zip(frames) {
            for _ in 0..depth {
                self.world.events.push(Event::Socket(SocketEvent::Received(*conn, frame.clone())));
            }
        }
        while self.world.replies < frames.len() * depth {
            self.core.turn(&mut self.world);
        }
        self.core.turn(&mut self.world);
    }

    fn measure(&mut self, name: &str, frames: &[Vec<u8>], depth: usize) {
        if !is_wanted(name) {
            return;
        }
        let frames: Vec<Bytes> = frames.iter().map(|f| Bytes::copy_from_slice(f)).collect();
        let requests = frames.len() * depth;
        let (rounds, time) = if support::is_quick() { (1, 1) } else { (15, 20) };
        self.answer(&frames, depth);
        let start = Instant::now();
        self.answer(&frames, depth);
        let calls =
            (Duration::from_millis(time).as_nanos() / start.elapsed().as_nanos().max(1)).max(1) as usize;
        (0..calls).for_each(|_| self.answer(&frames, depth));
        let round = || (0..calls).for_each(|_| self.answer(&frames, depth));
        report(name, requests * calls, rounds, round);
    }

    /// One record for each partition in turn, 64 in a turn of the loop.
    fn measure_in_turn(&mut self, topic: &str, partitions: i32) {
        let name = format!("Produce 1 x 100 B, {partitions} partitions in turn");
        if !is_wanted(&name) {
            return;
        }
        if topic != TOPIC {
            self.create_topic(topic, partitions);
        }
        let frame = |partition| Bytes::from(produce_to(topic, 1, partition..partition + 1, 100));
        let frames: Vec<Bytes> = (0..partitions).map(frame).collect();
        let rounds = if support::is_quick() { 1 } else { 100_000 / frames.len() * 5 };
        let mut walk = || frames.chunks(64).for_each(|chunk| self.answer(chunk, 1));
        walk();
        report(&name, frames.len(), rounds, walk);
    }
}

/// Runs the rounds of so many requests, and prints the best time and what was allocated, for each request.
fn report(name: &str, requests: usize, rounds: usize, mut round: impl FnMut()) {
    let region = Region::new(ALLOCATOR);
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed());
    }
    let counted = region.change();
    let all = (requests * rounds) as f64;
    println!(
        "{name:<52}{:>12.0}{:>14.2}{:>12.0}",
        best.as_nanos() as f64 / requests as f64,
        (counted.allocations + counted.reallocations) as f64 / all,
        counted.bytes_allocated as f64 / all,
    );
}

/// The first argument that is no option chooses cases by their names.
fn is_wanted(name: &str) -> bool {
    std::env::args().skip(1).find(|a| !a.starts_with('-')).is_none_or(|only| name.contains(&only))
}

/// A world in which everything has happened by the next turn.
#[derive(Default)]
struct Instantly {
    conns: u64,
    events: Vec<Event<Mail>>,
    replies: usize,
    now: Ticks,
    wall: WallMs,
}

impl Clock for Instantly {
    fn now(&self) -> Ticks {
        self.now
    }

    fn wall_ms(&self) -> WallMs {
        self.wall
    }
}

impl Disk for Instantly {
    fn read(&mut self, file: &File, offset: u64, len: usize, token: Token) {
        let outcome = OsFiles.read_at(file, offset, len).map(Bytes::from);
        self.events.push(Event::Disk(token, DiskOutcome::Read(outcome)));
    }

    fn write(&mut self, _file: &File, _offset: u64, _bytes: Bytes, token: Token) {
        self.events.push(Event::Disk(token, DiskOutcome::Written(Ok(()))));
    }

    fn write_durable(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token) {
        self.write(file, offset, bytes, token);
    }

    fn stage(&mut self, _file: &File, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self, _file: &File, token: Token) {
        self.events.push(Event::Disk(token, DiskOutcome::Synced(Ok(()))));
    }

    fn background(&mut self, job: FileJob, token: Token) {
        self.events.push(Event::Disk(token, DiskOutcome::Job(run(job))));
    }
}

fn run(job: FileJob) -> io::Result<FileJobOutcome> {
    match job {
        FileJob::Open { path, mode, .. } => return OsFiles.open(&path, mode).map(FileJobOutcome::Opened),
        FileJob::Allocate(..) => {}
        FileJob::SetLen(file, len) => OsFiles.set_len(&file, len)?,
        FileJob::Rename(from, to) => OsFiles.rename(&from, &to)?,
        FileJob::RemoveFile(path) => OsFiles.remove_file(&path)?,
        FileJob::RemoveDirAll(path) => OsFiles.remove_dir_all(&path)?,
        FileJob::WriteAtomic(path, bytes) => OsFiles.write_atomic(&path, &bytes)?,
        FileJob::Run(work) => return work(&OsFiles).map(FileJobOutcome::Ran),
    }
    Ok(FileJobOutcome::Done)
}

impl Sockets for Instantly {
    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        Ok((ListenerId(0), address))
    }

    fn unlisten(&mut self, _listener: ListenerId) {}

    fn adopt(&mut self, _socket: Socket) -> io::Result<ConnId> {
        self.conns += 1;
        Ok(ConnId(self.conns - 1))
    }

    fn pause(&mut self, _conn: ConnId) {}

    fn resume(&mut self, _conn: ConnId) {}

    fn watch(&mut self, _conn: ConnId) {}

    fn transferred(&self, _conn: ConnId) -> u64 {
        0
    }

    fn recv_into(&mut self, _conn: ConnId, _buffer: Vec<u8>) {
        unreachable!("a small request")
    }

    fn send(&mut self, conn: ConnId, parts: &mut Vec<Bytes>) {
        // One reply after another, each with its length before it; parts end anywhere.
        let mut left = 0;
        let mut prefix: Vec<u8> = Vec::new();
        for part in parts.drain(..) {
            let mut part = &part[..];
            while !part.is_empty() {
                if left == 0 {
                    prefix.push(part[0]);
                    part = &part[1..];
                    if let Some(len) = prefix.first_chunk::<4>() {
                        left = u32::from_be_bytes(*len) as usize;
                        self.replies += 1;
                        prefix.clear();
                    }
                } else {
                    let n = left.min(part.len());
                    left -= n;
                    part = &part[n..];
                }
            }
        }
        self.events.push(Event::Socket(SocketEvent::Sent(conn)));
    }

    fn close(&mut self, conn: ConnId) {
        self.events.push(Event::Socket(SocketEvent::Closed(conn, Ok(()))));
    }
}

impl World<Mail> for Instantly {
    fn shard(&self) -> ShardId {
        ShardId(0)
    }

    fn shards(&self) -> usize {
        1
    }

    fn files(&self) -> &dyn Files {
        &OsFiles
    }

    fn post(&mut self, to: ShardId, mail: Mail) {
        self.events.push(Event::Mail(to, mail));
    }

    fn turn(&mut self, _until: Ticks, events: &mut Vec<Event<Mail>>) {
        self.now = ottla::io::clock::monotonic();
        self.wall = ottla::io::clock::wall();
        events.append(&mut self.events);
    }
}
