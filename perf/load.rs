//! A broker under load: produce, then fetch everything back and compare.
//!
//! The loop is closed: each connection keeps a fixed number of requests in flight, and a latency counts from the
//! moment a request is sent. So a stall of the broker slows the sending down too, and the tail looks better than an
//! independent stream of requests would see it; rates and CPU time are not affected.

use super::broker::{Broker, CpuTime, Scratch, status_bytes};
use super::stats::machine;
use ottla::bench::{Bench, BenchError, Load, Moment};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

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

fn cases(quick: bool) -> Vec<Load> {
    let case = |(records, record_bytes), partitions, producers, depth, acks| Load {
        records,
        record_bytes,
        partitions,
        producers,
        depth,
        acks,
        ..Load::default()
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
            text.to_socket_addrs()?.next().ok_or_else(|| io::Error::other(format!("{text} is no address")))?
        }
        (None, Some(broker)) => broker.address,
        (None, None) => return Err(io::Error::other("no broker")),
    };
    let pid = own.as_ref().map(Broker::pid).or(options.pid);
    println!(
        "{:<56}{:>9}{:>9}{:>9}{:>9}{:>10}{:>11}{:>11}{:>7}{:>11}{:>11}",
        "produce",
        "req/s",
        "MB/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "cpu us/req",
        "cpu s/GB",
        "client",
        "fetch MB/s",
        "cpu s/GB"
    );
    let seconds = if options.quick { [0.1, 0.5] } else { [options.warm_seconds, options.seconds] };
    let [warm, time] = seconds.map(Duration::from_secs_f64);
    for (number, case) in cases(options.quick).into_iter().enumerate() {
        if options.only.as_ref().is_none_or(|only| case.describe().contains(only.as_str())) {
            let name = format!("load-{}-{number}", std::process::id());
            one(&Load { spin: options.pin, ..case }, &name, address, pid, warm, time)
                .map_err(io::Error::other)?;
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
    load: &Load,
    name: &str,
    address: SocketAddr,
    pid: Option<u32>,
    warm: Duration,
    time: Duration,
) -> Result<(), BenchError> {
    let mut bench = Bench::prepare(address, load.clone(), name)?;
    let produce_cpu = &mut Meter::new(pid);
    let produced = bench.run(warm, time, &mut |moment| produce_cpu.read(moment))?;
    let fetch_cpu = &mut Meter::new(pid);
    let fetched = bench.read_back(&mut |moment| fetch_cpu.read(moment))?;
    bench.delete()?;
    let (requests, bytes) = (produced.requests as f64, produced.bytes as f64);
    let us = |quantile| produced.acknowledged_ns.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{:<56}{:>9.0}{:>9.1}{:>9.0}{:>9.0}{:>10.0}{:>11.2}{:>11.2}{:>6.0}%{:>11.0}{:>11.2}",
        load.describe(),
        requests / produced.seconds,
        bytes / produced.seconds / 1e6,
        us(0.5),
        us(0.99),
        us(0.999),
        produce_cpu.total_s() * 1e6 / requests,
        produce_cpu.total_s() * 1e9 / bytes,
        produced.client_busy * 100.0,
        fetched.fetched_bytes as f64 / fetched.seconds / 1e6,
        fetch_cpu.total_s() * 1e9 / fetched.fetched_bytes as f64,
    );
    Ok(())
}

/// CPU time of a process between the two moments of a run.
struct Meter {
    pid: Option<u32>,
    times: [CpuTime; 2],
}

impl Meter {
    fn new(pid: Option<u32>) -> Meter {
        Meter { pid, times: [CpuTime::default(); 2] }
    }

    fn read(&mut self, moment: Moment) {
        // A process that is gone ends the run by its connections.
        let time = self.pid.and_then(|pid| CpuTime::of(pid).ok()).unwrap_or_default();
        self.times[usize::from(moment == Moment::End)] = time;
    }

    fn total_s(&self) -> f64 {
        self.times[1].since(self.times[0]).total_s()
    }
}
