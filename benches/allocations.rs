//! How often a broker's cores ask the allocator for memory, per request in steady state:
//! `cargo bench --bench allocations`.
//!
//! A whole broker runs in this process, with its ring, its files and its sockets. The client here sends frames that
//! were made before and allocates nothing between two replies, so every allocation of the process is the broker's.
//! The null case is ApiVersions, a request that touches no partition.

#[path = "../perf/client.rs"]
#[allow(dead_code)] // the part of it that is not needed here
mod client;
#[path = "../perf/payload.rs"]
#[allow(dead_code)]
mod payload;
#[allow(dead_code)]
mod support;

use client::Client;
use ottla::config::{BrokerConfig, STANDALONE};
use ottla::server::{ServeOptions, serve};
use ottla::wire::frame;
use ottla::wire::messages::api_versions_request::ApiVersionsRequest;
use payload::Template;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

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
    thread::spawn(move || serve(ServeOptions { config, cluster_id: None }).expect("the broker serves"));

    let measured = measure(address, requests);
    std::fs::remove_dir_all(&dir)?; // the broker ends with this process
    measured
}

fn measure(address: SocketAddr, requests: u64) -> io::Result<()> {
    let mut client = Client::connect_soon(address)?;
    client.create_topic(TOPIC, 2)?;
    println!("{:<52}{:>14}{:>14}", "request", "allocations", "bytes");

    let hello = ApiVersionsRequest { client_software_name: "perf", client_software_version: "1" };
    let hello = frame::request(&hello, 3, 1, Some("perf")).map_err(io::Error::other)?;
    line("ApiVersions", requests, |_| {
        client.send(&hello)?;
        client.receive().map(|_| ())
    })?;
    let shapes = [("1 x 100 B", 1, 100), ("1 x 1 KiB", 1, 1024), ("64 x 1 KiB", 64, 1024)];
    for (name, records, value_bytes) in shapes {
        for partition in 0..2 {
            let mut template = Template::new(TOPIC, partition, -1, records, value_bytes);
            line(&format!("Produce {name}, partition {partition}"), requests, |n| {
                client.send(template.stamp(0, n))?;
                client.receive().map(|_| ())
            })?;
        }
    }
    for partition in 0..2 {
        for (name, max_bytes) in [("one small batch", 200), ("64 KiB", 64 << 10)] {
            let request = client::fetch_frame(TOPIC, partition, 10, max_bytes, 1)?;
            line(&format!("Fetch {name}, partition {partition}, in memory"), requests, |_| {
                client.send(&request)?;
                client.receive().map(|_| ())
            })?;
        }
    }
    Ok(())
}

/// Sends requests until everything has its size, then counts.
fn line(name: &str, requests: u64, mut request: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    let warm = requests / 4;
    (0..warm).try_for_each(&mut request)?;
    let region = Region::new(ALLOCATOR);
    (warm..warm + requests).try_for_each(&mut request)?;
    let counted = region.change();
    let calls = counted.allocations + counted.reallocations;
    let bytes = counted.bytes_allocated;
    println!("{name:<52}{:>14.2}{:>14.0}", calls as f64 / requests as f64, bytes as f64 / requests as f64);
    Ok(())
}
