//! How often a broker's cores ask the allocator for memory, per request in steady state:
//! `cargo bench --bench allocations`.
//!
//! A whole broker runs in this process, with its ring, its files and its sockets. The client here sends frames that
//! were made before and allocates nothing between two replies, so every allocation of the process is the broker's.
//! The null case is ApiVersions, a request that touches no partition.

#[allow(dead_code)]
mod support;

use ottla::bench::{BenchError, Client};
use ottla::config::{BrokerConfig, STANDALONE};
use ottla::server::{ServeOptions, serve};
use ottla::wire::frame;
use ottla::wire::messages::api_versions_request::ApiVersionsRequest;
use ottla::wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::record::BatchBuilder;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

const TOPIC: &str = "allocations";

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> io::Result<()> {
    let requests = if support::is_quick() { 50 } else { 2000 };
    let dir = std::env::temp_dir().join(format!("ottla-allocations-{}", std::process::id()));
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let mut pairs: Vec<(String, String)> =
        STANDALONE.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    pairs.push(("log.dirs".to_owned(), dir.display().to_string()));
    pairs.push(("listeners".to_owned(), format!("PLAINTEXT://{address}")));
    let (config, _) = BrokerConfig::from_pairs(pairs).map_err(io::Error::other)?;
    thread::spawn(move || {
        serve(ServeOptions { config, cluster_id: None, format_command: String::new() })
            .expect("the broker serves");
    });

    let measured = measure(address, requests);
    std::fs::remove_dir_all(&dir)?; // the broker ends with this process
    measured
}

fn measure(address: SocketAddr, requests: u64) -> io::Result<()> {
    let mut client = Client::connect_within(address, Duration::from_secs(30)).map_err(io::Error::other)?;
    client.create_topics(&[TOPIC.to_owned()], 2, &[]).map_err(io::Error::other)?;
    println!("{:<52}{:>14}{:>14}", "request", "allocations", "bytes");

    let hello = ApiVersionsRequest { client_software_name: "perf", client_software_version: "1" };
    let hello = frame::request(&hello, 3, 1, Some("perf")).map_err(io::Error::other)?;
    line("ApiVersions", requests, || client.exchange(&hello).map(|_| ()))?;
    let shapes = [("1 x 100 B", 1, 100), ("1 x 1 KiB", 1, 1024), ("64 x 1 KiB", 64, 1024)];
    for (name, records, value_bytes) in shapes {
        for partition in 0..2 {
            let request = produce(partition, records, value_bytes)?;
            line(&format!("Produce {name}, partition {partition}"), requests, || {
                client.exchange(&request).map(|_| ())
            })?;
        }
    }
    for partition in 0..2 {
        for (name, max_bytes) in [("one small batch", 200), ("64 KiB", 64 << 10)] {
            let request = fetch(partition, 10, max_bytes)?;
            line(&format!("Fetch {name}, partition {partition}, in memory"), requests, || {
                client.exchange(&request).map(|_| ())
            })?;
        }
    }
    Ok(())
}

/// A produce request of one batch, its length in front.
fn produce(index: i32, records: usize, value_bytes: usize) -> io::Result<Vec<u8>> {
    let mut batch = BatchBuilder::new(0);
    for _ in 0..records {
        batch.append(0, None, Some(&vec![7; value_bytes]), &[]);
    }
    let batch = batch.build();
    let topic_data = vec![TopicProduceData {
        name: TOPIC,
        partition_data: vec![PartitionProduceData { index, records: Some(&batch) }],
        ..Default::default()
    }];
    let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 60_000, topic_data };
    frame::request(&request, 12, 1, Some("perf")).map_err(io::Error::other)
}

/// A fetch of one partition, its length in front.
fn fetch(partition: i32, fetch_offset: i64, max_bytes: i32) -> io::Result<Vec<u8>> {
    let part = FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    let request = FetchRequest {
        replica_id: -1,
        min_bytes: 1,
        max_bytes,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: TOPIC, partitions: vec![part], ..Default::default() }],
        ..Default::default()
    };
    frame::request(&request, 12, 1, Some("perf")).map_err(io::Error::other)
}

/// Sends requests until everything has its size, then counts.
fn line(name: &str, requests: u64, mut request: impl FnMut() -> Result<(), BenchError>) -> io::Result<()> {
    let mut times = |count| (0..count).try_for_each(|_| request()).map_err(io::Error::other);
    times(requests / 4)?;
    let region = Region::new(ALLOCATOR);
    times(requests)?;
    let counted = region.change();
    let calls = counted.allocations + counted.reallocations;
    let bytes = counted.bytes_allocated;
    println!("{name:<52}{:>14.2}{:>14.0}", calls as f64 / requests as f64, bytes as f64 / requests as f64);
    Ok(())
}
