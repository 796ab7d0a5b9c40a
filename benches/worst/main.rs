//! What the worst request of up to 1 MB of each API does to others: `cargo bench --bench worst`.
//!
//! A broker serves four clients that produce, fetch and send heartbeats, while two others send the request again and again.
//! Printed for each: the others' 99th percentile and worst time, the process's memory at its peak, and what of it is still
//! there ten seconds after. The exit code is 1 where a bar is missed. `--quick` plays each for a moment; a name plays what
//! contains it; `OTTLA=PATH` plays another build.

mod cases;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ottla::bench::process;
use ottla::wire::frame;
use ottla::wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla::wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla::wire::messages::heartbeat_request::HeartbeatRequest;
use ottla::wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::record::BatchBuilder;

use cases::{Case, GROUP, PARTITIONS, TOPIC};

/// What others may wait, save for one in a hundred.
const P99_MAX: Duration = Duration::from_millis(50);
/// What a request may take of memory beside what was there: the bound of a core's connections.
const MEMORY_MAX: u64 = 256 << 20;
/// What may be left of it ten seconds after.
const LEFT_MAX: u64 = 64 << 20;
const ATTACKERS: usize = 2;
const OTHERS: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let name = arguments.iter().find(|a| !a.starts_with("--")).cloned().unwrap_or_default();
    let time = if quick { Duration::from_millis(300) } else { Duration::from_secs(3) };
    let mut chosen = cases::all();
    chosen.retain(|case| case.name.contains(&name));
    let mut missed = 0;
    let mut broker = Broker::start().expect("start a broker");
    prepare(&broker).expect("prepare the broker");
    println!(
        "{:<62}{:>9}{:>10}{:>10}{:>12}{:>12}",
        "request", "answers", "p99 ms", "worst ms", "peak MiB", "left MiB"
    );
    for case in chosen {
        let outcome = play(&broker, case, time);
        missed += usize::from(outcome.is_missed());
        outcome.print();
        if !broker.is_running() {
            println!("the broker has ended");
            broker = Broker::start().expect("start a broker");
            prepare(&broker).expect("prepare the broker");
        }
    }
    println!("{missed} missed the bars: p99 {} ms, peak {} MiB", P99_MAX.as_millis(), MEMORY_MAX >> 20);
    ExitCode::from(u8::from(missed > 0))
}

/// What a request did.
struct Outcome {
    name: &'static str,
    answers: usize,
    p99: Duration,
    worst: Duration,
    peak: u64,
    left: u64,
}

impl Outcome {
    fn is_missed(&self) -> bool {
        self.p99 > P99_MAX || self.peak > MEMORY_MAX || self.left > LEFT_MAX
    }

    fn print(&self) {
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        let mark = if self.is_missed() { "  missed" } else { "" };
        println!(
            "{:<62}{:>9}{:>10.1}{:>10.1}{:>12}{:>12}{mark}",
            self.name,
            self.answers,
            ms(self.p99),
            ms(self.worst),
            self.peak >> 20,
            self.left >> 20
        );
    }
}

fn play(broker: &Broker, case: Case, time: Duration) -> Outcome {
    let Case { name, frame } = case;
    broker.forget_peak();
    let before = broker.memory("VmRSS");
    let over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..OTHERS).map(|n| spawn_other(broker.address, n, over.clone())).collect();
    let end = Instant::now() + time;
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|_| {
            let (frame, address) = (frame.clone(), broker.address);
            thread::spawn(move || attack(address, &frame, end).unwrap_or_default())
        })
        .collect();
    let answers = attackers.into_iter().map(|thread| thread.join().unwrap_or_default()).sum();
    over.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> = others.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect();
    times.sort_unstable();
    let at =
        |part: usize| times.get(times.len() * part / 100).or(times.last()).copied().unwrap_or(Duration::MAX);
    let peak = broker.memory("VmHWM").saturating_sub(before);
    let left = || broker.memory("VmRSS").saturating_sub(before);
    let since = Instant::now();
    while left() > LEFT_MAX && since.elapsed() < Duration::from_secs(10) {
        wait(Duration::from_millis(100));
    }
    Outcome { name, answers, p99: at(99), worst: at(100), peak, left: left() }
}

/// Asks again and again; how often it was answered.
fn attack(address: SocketAddr, frame: &[u8], end: Instant) -> io::Result<usize> {
    let (mut answers, mut connection) = (0, connect(address)?);
    loop {
        // A connection that is closed is an answer too.
        if exchange(&mut connection, frame).is_err() {
            connection = connect(address)?;
        }
        answers += 1;
        if Instant::now() >= end {
            return Ok(answers);
        }
    }
}

/// A client that does little at a time; how long each of its requests took.
fn spawn_other(
    address: SocketAddr,
    number: usize,
    over: Arc<AtomicBool>,
) -> thread::JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let frames = small(number as i32);
        let mut connection = connect(address).expect("connect");
        let mut times = Vec::new();
        while !over.load(Ordering::Relaxed) {
            for frame in &frames {
                let start = Instant::now();
                if exchange(&mut connection, frame).is_err() {
                    return times;
                }
                times.push(start.elapsed());
                wait(Duration::from_millis(2));
            }
        }
        times
    })
}

fn small(partition: i32) -> Vec<Vec<u8>> {
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_millis() as i64);
    let mut batch = BatchBuilder::new(0);
    batch.append(now_ms, None, Some(b"a small record"), &[]);
    let batch = batch.build();
    let partition_data = vec![PartitionProduceData { index: partition, records: Some(&batch) }];
    let topic_data = vec![TopicProduceData { name: TOPIC, partition_data, ..Default::default() }];
    let produce = ProduceRequest { acks: 1, timeout_ms: 30_000, topic_data, ..Default::default() };
    let partitions = vec![FetchPartition { partition, partition_max_bytes: 1000, ..Default::default() }];
    let topics = vec![FetchTopic { topic: TOPIC, partitions, ..Default::default() }];
    let fetch = FetchRequest { max_bytes: 1000, topics, ..Default::default() };
    let heartbeat = HeartbeatRequest { group_id: GROUP, member_id: "nobody", ..Default::default() };
    let frames = [
        frame::request(&produce, 9, 1, Some("other")),
        frame::request(&fetch, 11, 2, Some("other")),
        frame::request(&heartbeat, 3, 3, Some("other")),
    ];
    frames.into_iter().map(|frame| frame.expect("a request")).collect()
}

/// A topic with many partitions, and a group with an offset of each.
fn prepare(broker: &Broker) -> io::Result<()> {
    let mut connection = connect(broker.address)?;
    let topic = CreatableTopic {
        name: TOPIC,
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let create = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
    exchange(&mut connection, &frame::request(&create, 5, 1, None).expect("a request"))?;
    let find = FindCoordinatorRequest { key: GROUP, ..Default::default() };
    let find = frame::request(&find, 2, 1, None).expect("a request");
    let partition =
        |i| OffsetCommitRequestPartition { partition_index: i, committed_offset: 1, ..Default::default() };
    let partitions = (0..PARTITIONS).map(partition).collect();
    let topics = vec![OffsetCommitRequestTopic { name: TOPIC, partitions, ..Default::default() }];
    let commit = OffsetCommitRequest {
        group_id: GROUP,
        generation_id_or_member_epoch: -1,
        topics,
        ..Default::default()
    };
    let commit = frame::request(&commit, 7, 1, None).expect("a request");
    for _ in 0..100 {
        exchange(&mut connection, &find)?;
        let answer = exchange(&mut connection, &commit)?;
        // The last partition's error.
        if answer.ends_with(&[0, 0]) {
            return Ok(());
        }
        wait(Duration::from_millis(100));
    }
    Err(io::Error::other("the group's coordinator does not serve"))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_mins(2)))?;
    Ok(stream)
}

fn exchange(connection: &mut TcpStream, frame: &[u8]) -> io::Result<Vec<u8>> {
    connection.write_all(frame)?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let mut left = u32::from_be_bytes(length) as usize;
    let mut answer = vec![0; left.min(1 << 20)];
    while left > 0 {
        let part = left.min(answer.len());
        connection.read_exact(&mut answer[..part])?;
        left -= part;
    }
    Ok(answer)
}

fn wait(time: Duration) {
    let (_keep, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(time);
}

/// A broker with a directory of its own.
struct Broker {
    child: Child,
    address: SocketAddr,
    dir: std::path::PathBuf,
}

impl Broker {
    fn start() -> io::Result<Broker> {
        let binary = std::env::var_os("OTTLA").unwrap_or_else(|| env!("CARGO_BIN_EXE_ottla").into());
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let dir = std::env::temp_dir().join(format!("ottla-worst-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&dir)?;
        let mut child = Command::new(binary)
            .arg("serve")
            .args(["--set", &format!("listeners=PLAINTEXT://{address}")])
            .args(["--set", &format!("log.dirs={}", dir.join("data").display())])
            .args(["--set", "offsets.topic.replication.factor=1"])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut ready = String::new();
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        BufReader::new(stdout).read_line(&mut ready)?;
        Ok(Broker { child, address, dir })
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Lets the peak of memory begin anew.
    fn forget_peak(&self) {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// A line of the process's status, in bytes; 0 when it has ended.
    fn memory(&self, key: &str) -> u64 {
        process::status_bytes(self.child.id(), key).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
