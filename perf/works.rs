//! What can be measured: the suite's cases, starts, and programs of others as clients.

use crate::broker::{Broker, Side};
use crate::machine;
use crate::series::{Setup, is_durable, topic_prefix};
use crate::support::toolchain;
use ottla::bench::{BenchError, Case, Client, Load, Metric, Place, Sample, Task, process};
use ottla::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::messages::produce_response::ProduceResponse;
use ottla::wire::record::BatchBuilder;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Produce by name.
const PRODUCE: i16 = 12;
const RECORD_BYTES: usize = 1024;

/// One line of the report.
#[derive(Clone, Debug)]
pub enum Work {
    /// Of the suite.
    Case(Case),
    /// From the making of the process to the first acknowledged record, with so many partitions.
    Start(usize),
    /// Kafka's own `kafka-producer-perf-test`.
    ProducerPerf,
    /// `librdkafka` by kcat.
    Kcat,
}

impl Work {
    /// What it is selected by.
    pub fn name(&self) -> String {
        match self {
            Work::Case(case) => case.name.clone(),
            Work::Start(0) => "start-empty".to_owned(),
            Work::Start(partitions) => format!("start-{partitions}"),
            Work::ProducerPerf => "producer-perf-test".to_owned(),
            Work::Kcat => "kcat".to_owned(),
        }
    }

    /// The scenario.
    pub fn group(&self) -> &'static str {
        match self {
            Work::Case(case) => case.group,
            Work::Start(_) => "bars",
            Work::ProducerPerf | Work::Kcat => "clients",
        }
    }

    /// One line.
    pub fn describe(&self) -> String {
        match self {
            Work::Case(case) => case.describe(),
            Work::Start(0) => "process made to first acknowledged record, in a new directory".to_owned(),
            Work::Start(n) => {
                format!("process made to first acknowledged record, {n} partitions, stopped cleanly")
            }
            Work::ProducerPerf => "Kafka's kafka-producer-perf-test, 1 KiB, acks=all".to_owned(),
            Work::Kcat => "librdkafka by kcat, 1 KiB, acks=all".to_owned(),
        }
    }

    /// Whether Kafka's figure would say nothing.
    pub fn ours_only(&self) -> bool {
        match self {
            Work::Case(case) => case.ours_only,
            Work::Start(partitions) => *partitions > 0,
            Work::ProducerPerf | Work::Kcat => false,
        }
    }

    /// Runs it once on a broker of its own.
    pub fn run(&self, setup: &Setup, side: Side, rate: Option<f64>) -> io::Result<Sample> {
        let dir = setup.directory(side)?;
        let sample = match self {
            Work::Case(case) => case_on_own(case, setup, side, rate, &dir),
            Work::Start(partitions) => start(setup, side, *partitions, &dir),
            Work::ProducerPerf => program(setup, side, &dir, producer_perf),
            Work::Kcat => program(setup, side, &dir, kcat),
        };
        let _ = fs::remove_dir_all(&dir); // the whole scratch directory goes at the end
        sample
    }
}

fn case_on_own(case: &Case, setup: &Setup, side: Side, rate: Option<f64>, dir: &Path) -> io::Result<Sample> {
    let broker = Broker::start_side(side, dir, setup.broker_core())?;
    let target =
        Target { address: broker.address, pid: Some(broker.pid()), broker: Some(&broker), dir: Some(dir) };
    run_case(case, setup, side, rate, &target)
}

/// A broker to measure.
pub struct Target<'a> {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Its process, if it is on this machine.
    pub pid: Option<u32>,
    /// If it is ours to end: nothing is deleted then.
    pub broker: Option<&'a Broker>,
    /// Its data, if that may be read.
    pub dir: Option<&'a Path>,
}

impl Target<'_> {
    fn cpu_s(&self) -> Option<f64> {
        if let Some(cpu_s) = self.broker.and_then(|broker| broker.cgroup.as_ref()?.cpu_s().ok()?) {
            return Some(cpu_s);
        }
        process::cpu_ns(self.pid?).ok().map(|ns| ns as f64 / 1e9)
    }
}

/// Runs a case of the suite on a broker.
pub fn run_case(
    case: &Case,
    setup: &Setup,
    side: Side,
    rate: Option<f64>,
    target: &Target<'_>,
) -> io::Result<Sample> {
    let mut load = Load { spin: setup.pin, rate: rate.or(case.load.rate), ..case.load.clone() };
    if is_durable(case, side) {
        load.config.push(("flush.messages".to_owned(), "1".to_owned()));
    }
    let mut readings = Vec::new();
    let mut meter = |_| readings.push((target.cpu_s(), machine::interrupts_s(0), Instant::now()));
    let mut direct = None;
    let mut filled = || {
        if let (Task::CatchUp { bytes, cold: true }, Some(dir)) = (case.task, target.dir) {
            drop_caches();
            direct = direct_read(dir, bytes / setup.timing(side, case).shrink / case.load.partitions as u64);
        }
    };
    // A JVM compiles beside what it serves. On one core it would take minutes until that is over; so it may use all
    // of them until what counts begins.
    let confine = |cores: &str| {
        if let (true, Side::Kafka, Some(broker)) = (setup.pin, side, target.broker) {
            let _ = Command::new("taskset")
                .args(["-a", "-c", "-p", cores, &broker.pid().to_string()])
                .stdout(Stdio::null())
                .status(); // as it was started by taskset, it is there
        }
    };
    confine("0-1");
    let prefix = topic_prefix();
    let mut place = Place {
        address: target.address,
        prefix: &prefix,
        delete: target.broker.is_none(),
        warmed: &mut || confine("0"),
        filled: &mut filled,
        meter: &mut meter,
    };
    let found =
        ottla::bench::run(case, &load, &setup.timing(side, case), &mut place).map_err(io::Error::other)?;
    let mut interrupts = None;
    let mut cpu_s = None;
    if let [(Some(cpu), irq, at), (Some(cpu_after), irq_after, at_after)] = readings[..] {
        cpu_s = Some(cpu_after - cpu);
        interrupts = Some((irq_after - irq) / (at_after - at).as_secs_f64() * 100.0);
    }
    let mut sample = Sample::of(&found, cpu_s);
    if let Some(percent) = interrupts.filter(|_| setup.pin) {
        sample.set(Metric::SoftInterrupts, percent);
    }
    if let Some(direct) = direct {
        sample.set(Metric::DirectRead, direct);
    }
    if let Some(read) = found.read_back.filter(|read| read.fetched_bytes > 0) {
        sample.set(Metric::Consumed, read.fetched_bytes as f64 / read.seconds / 1e6);
    }
    if let Some(resident) = target.pid.and_then(|pid| process::status_bytes(pid, "VmHWM").ok()) {
        sample.set(Metric::Resident, resident as f64 / f64::from(1 << 20));
    }
    Ok(sample)
}

/// Writes what is dirty and empties the page cache.
fn drop_caches() {
    let _ = Command::new("sync").status();
    if fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
        eprintln!("perf: the page cache cannot be emptied here: what is read back is not cold");
    }
}

/// MB/s of `dd` with direct I/O over the first `bytes` of each large log file.
fn direct_read(dir: &Path, bytes: u64) -> Option<f64> {
    let mut files = Vec::new();
    logs(dir, &mut files);
    let begin = Instant::now();
    let mut read = 0;
    for file in files {
        if fs::metadata(&file).ok()?.len() < bytes {
            continue;
        }
        let count = bytes >> 20;
        let done = Command::new("dd")
            .arg(format!("if={}", file.display()))
            .args(["of=/dev/null", "bs=1M", "iflag=direct", "status=none", &format!("count={count}")])
            .status();
        if !done.ok()?.success() {
            return None;
        }
        read += count << 20;
    }
    (read > 0).then(|| read as f64 / begin.elapsed().as_secs_f64() / 1e6)
}

fn logs(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            logs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
}

fn start(setup: &Setup, side: Side, partitions: usize, dir: &Path) -> io::Result<Sample> {
    const TOPIC: &str = "start";
    let mut made = false;
    if partitions > 0 {
        let broker = Broker::start_side(side, dir, setup.broker_core())?;
        let mut client = Client::connect(broker.address).map_err(io::Error::other)?;
        client.create_topics(&[TOPIC.to_owned()], partitions, &[]).map_err(io::Error::other)?;
        broker.stop()?;
        made = true;
    }
    let broker = Broker::start_side(side, dir, setup.broker_core())?;
    let began = broker.began;
    loop {
        match first_record(&broker, TOPIC, made) {
            Ok(()) => break,
            Err(error) if began.elapsed() > Duration::from_mins(2) => return Err(io::Error::other(error)),
            Err(_) => sleep(Duration::from_millis(1)),
        }
    }
    let mut sample = Sample::default();
    sample.set(Metric::Start, began.elapsed().as_secs_f64() * 1e3);
    if let Ok(resident) = process::status_bytes(broker.pid(), "VmHWM") {
        sample.set(Metric::Resident, resident as f64 / f64::from(1 << 20));
    }
    Ok(sample)
}

fn first_record(broker: &Broker, topic: &str, made: bool) -> Result<(), BenchError> {
    let mut client = Client::connect(broker.address)?;
    if !made {
        client.create_topics(&[topic.to_owned()], 1, &[])?;
    }
    let batch = BatchBuilder::new(0).record(0, None, Some(b"first")).build();
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 60_000,
        topic_data: vec![TopicProduceData {
            name: topic,
            partition_data: vec![PartitionProduceData { index: 0, records: Some(&batch) }],
            ..TopicProduceData::default()
        }],
    };
    let reply: ProduceResponse<'_> = client.call(&request, PRODUCE)?;
    for part in reply.responses.iter().flat_map(|topic| &topic.partition_responses) {
        BenchError::check(|| "Produce".to_owned(), part.error_code)?;
    }
    Ok(())
}

/// What a program of others reports by itself.
struct Reported {
    records: u64,
    seconds: f64,
    latencies_ms: Vec<(Metric, f64)>,
}

type Program = fn(&Setup, &Broker, &str, u64, &Path) -> io::Result<Reported>;

fn program(setup: &Setup, side: Side, dir: &Path, program: Program) -> io::Result<Sample> {
    const TOPIC: &str = "programs";
    let broker = Broker::start_side(side, dir, setup.broker_core())?;
    let mut client = Client::connect(broker.address).map_err(io::Error::other)?;
    let topics = client.create_topics(&[TOPIC.to_owned()], 16, &[]).map_err(io::Error::other)?;
    let target =
        Target { address: broker.address, pid: Some(broker.pid()), broker: Some(&broker), dir: None };
    let records = if setup.quick { 1_000 } else { 500_000 };
    // Once for the compiler of the JVMs, once to count.
    program(setup, &broker, TOPIC, records, dir)?;
    let cpu_s = target.cpu_s();
    let reported = program(setup, &broker, TOPIC, records, dir)?;
    let ends = client.ends(&topics[0], 16).map_err(io::Error::other)?;
    let (there, sent) = (ends.iter().sum::<i64>() as u64, 2 * reported.records);
    if there != sent {
        return Err(io::Error::other(format!("{sent} records were sent and {there} are there")));
    }
    let mut sample = Sample::default();
    let bytes = (reported.records * RECORD_BYTES as u64) as f64;
    sample.set(Metric::Records, reported.records as f64 / reported.seconds);
    sample.set(Metric::Produced, bytes / reported.seconds / 1e6);
    for (metric, ms) in reported.latencies_ms {
        sample.set(metric, ms * 1e3);
    }
    if let (Some(before), Some(after)) = (cpu_s, target.cpu_s()) {
        sample.set(Metric::CpuPerGb, (after - before) * 1e9 / bytes);
    }
    if let Ok(resident) = process::status_bytes(broker.pid(), "VmHWM") {
        sample.set(Metric::Resident, resident as f64 / f64::from(1 << 20));
    }
    Ok(sample)
}

fn producer_perf(_: &Setup, broker: &Broker, topic: &str, records: u64, _: &Path) -> io::Result<Reported> {
    let Some(class_path) = toolchain::kafka_classpath() else {
        return Err(io::Error::other("Apache Kafka's tools cannot be run here"));
    };
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-cp", &class_path, "org.apache.kafka.tools.ProducerPerformance"])
        .args(["--topic", topic, "--num-records", &records.to_string()])
        .args(["--record-size", &RECORD_BYTES.to_string(), "--throughput", "-1", "--producer-props"])
        .arg(format!("bootstrap.servers={}", broker.address))
        .arg("acks=all");
    let text = toolchain::run("kafka-producer-perf-test", &mut command);
    // ... records sent, 1.0 records/sec (...), 2.0 ms avg latency, 3.0 ms max latency, 4 ms 50th, 5 ms 95th, ...
    let line = text.lines().rev().find(|line| line.contains("99.9th")).unwrap_or_default();
    let before = |what: &str| -> Option<f64> {
        let (head, _) = line.split_once(what)?;
        head.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse().ok()
    };
    let unread = || io::Error::other(format!("kafka-producer-perf-test said {text:?}"));
    let rate = before(" records/sec").ok_or_else(unread)?;
    let of = [
        (Metric::Acknowledged50, " ms 50th"),
        (Metric::Acknowledged99, " ms 99th"),
        (Metric::Acknowledged999, " ms 99.9th"),
        (Metric::AcknowledgedMax, " ms max latency"),
    ];
    let latencies_ms = of.into_iter().filter_map(|(metric, what)| Some((metric, before(what)?))).collect();
    Ok(Reported { records, seconds: records as f64 / rate, latencies_ms })
}

fn kcat(_: &Setup, broker: &Broker, topic: &str, records: u64, dir: &Path) -> io::Result<Reported> {
    let Some(program) = toolchain::kcat() else { return Err(io::Error::other("kcat is not installed")) };
    let lines = dir.join("lines");
    if !lines.exists() {
        let mut out = io::BufWriter::new(fs::File::create(&lines)?);
        for number in 0..records {
            writeln!(out, "{number:0>RECORD_BYTES$}")?;
        }
        out.flush()?;
    }
    let begin = Instant::now();
    let done = Command::new(program)
        .args(["-P", "-b", &broker.address.to_string(), "-t", topic, "-X", "acks=all", "-l"])
        .arg(&lines)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !done.success() {
        return Err(io::Error::other(format!("kcat ended with {done}")));
    }
    Ok(Reported { records, seconds: begin.elapsed().as_secs_f64(), latencies_ms: Vec::new() })
}
