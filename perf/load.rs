//! A broker under load: produce, then fetch everything back and compare.
//!
//! The loop is closed: each connection keeps a fixed number of requests in flight, and a latency counts from the
//! moment a request is sent. So a stall of the broker slows the sending down too, and the tail looks better than an
//! independent stream of requests would see it; rates and CPU time are not affected. Every acknowledged batch must
//! come back at the offset that it was acknowledged with, unchanged, and in the order its connection sent it.

use super::broker::{Broker, CpuTime, Scratch, status_bytes};
use super::client::{Client, wrong};
use super::payload::{Acknowledged, Check, PRODUCE_VERSION, Template};
use super::stats::machine;
use hdrhistogram::Histogram;
use ottla::wire::api::ApiKey;
use ottla::wire::codec::Message as _;
use ottla::wire::frame;
use ottla::wire::messages::produce_response::ProduceResponse;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::thread;
use std::time::{Duration, Instant};

/// A case ends when it has produced this much, whatever the time.
const CASE_BYTES_MAX: u64 = 1 << 30;
const FETCH_BYTES: i32 = 4 << 20;

/// What to load, and how.
pub struct LoadOptions {
    /// A running broker instead of one of our own.
    pub against: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Broker on core 0, this program on core 1.
    pub pin: bool,
    /// How long each case produces.
    pub seconds: f64,
    /// How long before that it produces uncounted.
    pub warm_seconds: f64,
    /// Cases whose line contains this.
    pub only: Option<String>,
    /// A few short cases.
    pub quick: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            against: None,
            pid: None,
            pin: false,
            seconds: 4.0,
            warm_seconds: 1.0,
            only: None,
            quick: false,
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy)]
struct Case {
    records: usize,
    value_bytes: usize,
    partitions: usize,
    connections: usize,
    depth: usize,
    acks: i16,
}

impl Case {
    fn name(&self) -> String {
        let acks = if self.acks < 0 { "all".to_owned() } else { self.acks.to_string() };
        format!(
            "{}x{}B partitions={} connections={} depth={} acks={acks}",
            self.records, self.value_bytes, self.partitions, self.connections, self.depth
        )
    }
}

fn cases(quick: bool) -> Vec<Case> {
    let case = |(records, value_bytes), partitions, connections, depth, acks| Case {
        records,
        value_bytes,
        partitions,
        connections,
        depth,
        acks,
    };
    if quick {
        return vec![case((1, 100), 1, 4, 1, -1), case((64, 1024), 4, 2, 2, 1)];
    }
    let mut cases = Vec::new();
    for shape in [(1, 100), (1, 1024), (64, 1024)] {
        for partitions in [1, 16] {
            for connections in [1, 4, 64] {
                cases.push(case(shape, partitions, connections, 1, -1));
            }
        }
        cases.push(case(shape, 1, 4, 1, 1));
    }
    cases.push(case((100, 100), 1, 1, 4, -1));
    cases.push(case((1, 100), 16, 64, 8, -1));
    cases
}

/// Runs the cases; an error says which record went wrong.
pub fn run(options: &LoadOptions) -> io::Result<bool> {
    println!("load: {}", machine());
    if options.pin {
        core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
    }
    let scratch = Scratch::new("load")?;
    let own = match options.against {
        Some(_) => None,
        None => Some(Broker::start(&scratch.join("data"), options.pin.then_some(0))?),
    };
    let address = match (&options.against, &own) {
        (Some(text), _) => {
            text.to_socket_addrs()?.next().ok_or_else(|| wrong(format!("{text} is no address")))?
        }
        (None, Some(broker)) => broker.address,
        (None, None) => return Err(wrong("no broker")),
    };
    let pid = own.as_ref().map(Broker::pid).or(options.pid);
    println!(
        "{:<56}{:>9}{:>9}{:>9}{:>9}{:>10}{:>11}{:>11}{:>9}{:>11}",
        "produce",
        "req/s",
        "MB/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "cpu us/req",
        "cpu s/GB",
        "fetch MB/s",
        "cpu s/GB"
    );
    let seconds = if options.quick { [0.1, 0.5] } else { [options.warm_seconds, options.seconds] };
    let [warm, time] = seconds.map(Duration::from_secs_f64);
    for (number, case) in cases(options.quick).iter().enumerate() {
        if options.only.as_ref().is_none_or(|only| case.name().contains(only.as_str())) {
            one(case, number, address, pid, warm, time)?;
        }
    }
    if let Some(pid) = pid {
        let mib = |key| status_bytes(pid, key).map(|bytes| bytes as f64 / f64::from(1 << 20));
        println!("broker: {:.1} MiB resident, {:.1} at most", mib("VmRSS")?, mib("VmHWM")?);
    }
    own.map_or(Ok(()), |broker| broker.stop().map(|_| ()))?;
    println!("every acknowledged record was read back at its offset, unchanged and in order");
    Ok(true)
}

fn one(
    case: &Case,
    number: usize,
    address: SocketAddr,
    pid: Option<u32>,
    warm: Duration,
    time: Duration,
) -> io::Result<()> {
    let topic = format!("load-{}-{number}", std::process::id());
    let mut client = Client::connect(address)?;
    client.create_topic(&topic, case.partitions as i32)?;
    // Caches and branch predictors, and a JIT, see the load before it counts.
    let warm_topic = format!("{topic}-warm");
    client.create_topic(&warm_topic, case.partitions as i32)?;
    produce(case, &warm_topic, address, warm)?;
    client.delete_topic(&warm_topic)?;

    let cpu = || pid.map_or(Ok(CpuTime::default()), CpuTime::of);
    let (began, before) = (Instant::now(), cpu()?);
    let produced = produce(case, &topic, address, time)?;
    let (took, used) = (began.elapsed().as_secs_f64(), cpu()?.since(before));
    let requests = produced.latency_ns.len();
    let template = Template::new(&topic, 0, case.acks, case.records, case.value_bytes);
    let bytes = (requests * template.batch_bytes() as u64) as f64;

    let (began, before) = (Instant::now(), cpu()?);
    fetch_back(case, &topic, &mut client, &template, &produced.acknowledged)?;
    let (fetch_took, fetch_used) = (began.elapsed().as_secs_f64(), cpu()?.since(before));
    client.delete_topic(&topic)?;

    let us = |quantile| produced.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{:<56}{:>9.0}{:>9.1}{:>9.0}{:>9.0}{:>10.0}{:>11.2}{:>11.2}{:>9.0}{:>11.2}",
        case.name(),
        requests as f64 / took,
        bytes / took / 1e6,
        us(0.5),
        us(0.99),
        us(0.999),
        used.total_s() * 1e6 / requests as f64,
        used.total_s() * 1e9 / bytes,
        bytes / fetch_took / 1e6,
        fetch_used.total_s() * 1e9 / bytes,
    );
    Ok(())
}

/// What came of producing.
struct Produced {
    latency_ns: Histogram<u64>,
    acknowledged: Acknowledged,
}

fn produce(case: &Case, topic: &str, address: SocketAddr, time: Duration) -> io::Result<Produced> {
    let until = Instant::now() + time;
    let connections: Vec<_> = thread::scope(|scope| {
        let run = |connection| move || connect_and_produce(case, topic, address, connection, until);
        let threads: Vec<_> = (0..case.connections).map(|c| scope.spawn(run(c as u64))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(wrong("a thread panicked")))).collect()
    });
    let mut latency_ns = histogram();
    let mut acknowledged = Vec::with_capacity(case.connections);
    for connection in connections {
        let (latencies, offsets) = connection?;
        latency_ns.add(&latencies).map_err(|e| wrong(e.to_string()))?;
        acknowledged.push(offsets);
    }
    Ok(Produced { latency_ns, acknowledged })
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("bounds that the library takes")
}

fn connect_and_produce(
    case: &Case,
    topic: &str,
    address: SocketAddr,
    connection: u64,
    until: Instant,
) -> io::Result<(Histogram<u64>, Vec<i64>)> {
    let mut client = Client::connect(address)?;
    let partitions = case.partitions as u64;
    let mut templates: Vec<_> = (0..partitions)
        .map(|p| Template::new(topic, p as i32, case.acks, case.records, case.value_bytes))
        .collect();
    let requests_max = CASE_BYTES_MAX / case.connections as u64 / templates[0].batch_bytes() as u64;
    let (mut latency_ns, mut offsets) = (histogram(), Vec::new());
    let mut in_flight = VecDeque::with_capacity(case.depth);
    let mut sequence = 0;
    loop {
        while in_flight.len() < case.depth && sequence < requests_max && Instant::now() < until {
            let template = &mut templates[((connection + sequence) % partitions) as usize];
            let request = template.stamp(connection, sequence);
            in_flight.push_back((sequence, Instant::now()));
            client.send(request)?;
            sequence += 1;
        }
        let Some((answered, sent)) = in_flight.pop_front() else { return Ok((latency_ns, offsets)) };
        let offset = acknowledged_at(client.receive()?, answered)?;
        latency_ns.saturating_record(sent.elapsed().as_nanos() as u64);
        offsets.push(offset);
    }
}

fn acknowledged_at(reply: &[u8], sequence: u64) -> io::Result<i64> {
    let mut r = frame::read_response(reply, ApiKey::Produce, PRODUCE_VERSION, sequence as i32)
        .map_err(|e| wrong(e.to_string()))?;
    let reply = ProduceResponse::read(&mut r, PRODUCE_VERSION).map_err(|e| wrong(e.to_string()))?;
    let part = reply.responses.first().and_then(|t| t.partition_responses.first());
    match part {
        Some(part) if part.error_code == 0 => Ok(part.base_offset),
        Some(part) => Err(wrong(format!("produce: error {}", part.error_code))),
        None => Err(wrong("produce: an empty answer")),
    }
}

fn fetch_back(
    case: &Case,
    topic: &str,
    client: &mut Client,
    template: &Template,
    acknowledged: &Acknowledged,
) -> io::Result<()> {
    let mut batches = 0;
    for partition in 0..case.partitions as i32 {
        let mut check = Check::new(template, case.records, acknowledged);
        loop {
            let offset = check.offset;
            let (bytes, high_watermark) = client.fetch(topic, partition, offset, FETCH_BYTES)?;
            check.feed(bytes)?;
            if check.offset >= high_watermark {
                break;
            }
            if check.offset == offset {
                return Err(wrong(format!("{topic}-{partition} gives nothing at {offset}")));
            }
        }
        batches += check.batches;
    }
    let sent: usize = acknowledged.iter().map(Vec::len).sum();
    if batches != sent as u64 {
        return Err(wrong(format!("{sent} batches were acknowledged and {batches} came back")));
    }
    Ok(())
}
