//! What many partitions cost: making them, memory, idling, stopping, and starting again after a stop and after a kill.

use crate::broker::{Broker, Scratch};
use crate::machine::machine;
use ottla::bench::process::{cpu_ns, status_bytes};
use ottla::bench::{Client, Topic};
use ottla::wire::api::ApiKey;
use ottla::wire::codec::Message as _;
use ottla::wire::frame;
use ottla::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::messages::produce_response::ProduceResponse;
use ottla::wire::record::BatchBuilder;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Partitions of one topic.
const PER_TOPIC: usize = 1000;
/// Produce requests in flight while every partition gets a record.
const DEPTH: usize = 64;
/// The last version that names topics by name.
const PRODUCE_VERSION: i16 = 12;
const READY_MS_MAX: f64 = 1000.0;
const MIB: f64 = (1 << 20) as f64;

/// Runs all of it once and prints a line per step; whether the bar of 10,000 partitions' first acknowledged produce
/// was met every time.
pub fn run(count: usize) -> io::Result<bool> {
    println!("partitions: {count}; {}", machine());
    let scratch = Scratch::new("partitions")?;
    let dir = scratch.join("data");
    let broker = Broker::start(&dir, None)?;
    let each = count.min(PER_TOPIC);
    let names: Vec<String> = (0..count.div_ceil(each)).map(|n| format!("many{n}")).collect();
    let mut client = Client::connect(broker.address).map_err(io::Error::other)?;
    let began = Instant::now();
    let topics = client.create_topics(&names, each, &[]).map_err(io::Error::other)?;
    let known = began.elapsed();
    for topic in &topics {
        client.ends(topic, each).map_err(io::Error::other)?;
    }
    println!(
        "created                {:>8.0} ms, in the metadata after {:.0} ms",
        ms(began.elapsed()),
        ms(known)
    );
    drop(client);
    let mut met = true;
    let mut start = |what: &str| -> io::Result<Broker> {
        let (broker, first) = start(&dir, &topics, what)?;
        met &= first <= READY_MS_MAX;
        Ok(broker)
    };
    state(&broker, "empty")?;
    println!("stopped, empty         {:>8.0} ms", ms(broker.stop()?));
    drop(start("after a stop, empty")?); // which kills it
    let broker = start("after a kill, empty")?;
    fill(&broker, &topics, each, "a first record each")?;
    state(&broker, "a record each")?;
    fill(&broker, &topics, each, "one more record each")?;
    drop(broker);
    let broker = start("after a kill, filled")?;
    println!("stopped after that     {:>8.0} ms", ms(broker.stop()?));
    let broker = start("after a stop, filled")?;
    fill(&broker, &topics, each, "one more record each")?;
    println!("stopped, all written   {:>8.0} ms", ms(broker.stop()?));
    Ok(met)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Memory, descriptors and CPU while nobody asks for anything.
fn state(broker: &Broker, what: &str) -> io::Result<()> {
    sleep(Duration::from_secs(1));
    let (began, before) = (Instant::now(), cpu_ns(broker.pid())?);
    sleep(Duration::from_secs(3));
    let cpu = cpu_ns(broker.pid())?.saturating_sub(before) as f64 / began.elapsed().as_nanos() as f64 * 100.0;
    let files = std::fs::read_dir(format!("/proc/{}/fd", broker.pid()))?.count();
    let resident = status_bytes(broker.pid(), "VmRSS")? as f64 / MIB;
    println!("{what:<22} {resident:>8.1} MiB resident, {files} descriptors, {cpu:.2} % of a core");
    Ok(())
}

/// Starts, and produces one record; the milliseconds until it is acknowledged.
fn start(dir: &Path, topics: &[Topic], what: &str) -> io::Result<(Broker, f64)> {
    let broker = Broker::start(dir, None)?;
    let began = Instant::now();
    let mut stream = TcpStream::connect(broker.address)?;
    produce(&mut stream, &topics[topics.len() - 1].name, 0..1)?;
    let (ready, first) = (ms(broker.ready_after), ms(broker.ready_after + began.elapsed()));
    println!("{what:<22} {ready:>8.0} ms to ready, {first:.0} ms to the first acknowledged produce");
    Ok((broker, first))
}

/// A record into every partition.
fn fill(broker: &Broker, topics: &[Topic], each: usize, what: &str) -> io::Result<()> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(broker.address)?;
    topics.iter().try_for_each(|topic| produce(&mut stream, &topic.name, 0..each))?;
    println!("{what:<22} {:>8.0} ms", ms(began.elapsed()));
    Ok(())
}

fn produce(stream: &mut TcpStream, topic: &str, partitions: std::ops::Range<usize>) -> io::Result<()> {
    let mut builder = BatchBuilder::new(0);
    builder.append(0, None, Some(&[7; 1000]), &[]);
    let batch = builder.build();
    let (mut sent, mut got) = (partitions.start, partitions.start);
    let mut reply = Vec::new();
    while got < partitions.end {
        while sent < partitions.end && sent - got < DEPTH {
            let part = PartitionProduceData { index: sent as i32, records: Some(&batch) };
            let data = TopicProduceData { name: topic, partition_data: vec![part], ..Default::default() };
            let request = ProduceRequest {
                transactional_id: None,
                acks: -1,
                timeout_ms: 60_000,
                topic_data: vec![data],
            };
            let bytes = frame::request(&request, PRODUCE_VERSION, sent as i32, Some("perf"))
                .map_err(io::Error::other)?;
            stream.write_all(&bytes)?;
            sent += 1;
        }
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix)?;
        reply.resize(u32::from_be_bytes(prefix) as usize, 0);
        stream.read_exact(&mut reply)?;
        let mut r = frame::read_response(&reply, ApiKey::Produce, PRODUCE_VERSION, got as i32)
            .map_err(io::Error::other)?;
        let response = ProduceResponse::read(&mut r, PRODUCE_VERSION).map_err(io::Error::other)?;
        let mut codes = response.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code);
        if let Some(code) = codes.find(|code| *code != 0) {
            return Err(io::Error::other(format!("produce to {topic}-{got}: error {code}")));
        }
        got += 1;
    }
    Ok(())
}
