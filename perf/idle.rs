//! What a broker costs that nobody uses.

use crate::broker::{BINARY, Broker, Scratch};
use crate::machine::machine;
use crate::stats::Spread;
use ottla::bench::Client;
use ottla::bench::process::{cpu_ns, status_bytes};
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

const READY_MS_MAX: f64 = 50.0;
const RESIDENT_MIB_MAX: f64 = 32.0;
const CPU_PERCENT_MAX: f64 = 0.5;
const BINARY_MB_MAX: f64 = 20.0;

/// Measures and prints; whether every bar was met.
pub fn run(quick: bool) -> io::Result<bool> {
    println!("idle: {}", machine());
    let (runs, watch) = if quick { (3, Duration::from_secs(2)) } else { (11, Duration::from_secs(10)) };
    let scratch = Scratch::new("idle")?;
    let mut met = true;
    let mut bar = |what: &str, found: String, value: f64, max: f64, unit: &str| {
        let passed = value <= max;
        met &= passed;
        println!("{}  {what:<44} {found:>22} {unit:<10} bar {max}", if passed { "pass" } else { "MISS" });
    };

    let mut ready_ms = Vec::new();
    for run in 0..runs {
        let broker = Broker::start(&scratch.join(format!("empty-{run}")), None)?;
        ready_ms.push(broker.ready_after.as_secs_f64() * 1e3);
        broker.stop()?;
    }
    let ready = Spread::of(ready_ms);
    bar("empty directory to ready, min/median/max", ready.to_string(), ready.median(), READY_MS_MAX, "ms");

    let broker = Broker::start(&scratch.join("idle"), None)?;
    sleep(Duration::from_secs(1));
    let (began, before) = (Instant::now(), cpu_ns(broker.pid())?);
    sleep(watch);
    let cpu = (cpu_ns(broker.pid())? - before) as f64 / began.elapsed().as_nanos() as f64 * 100.0;
    let resident = status_bytes(broker.pid(), "VmRSS")? as f64 / f64::from(1 << 20);
    bar("resident memory", format!("{resident:.1}"), resident, RESIDENT_MIB_MAX, "MiB");
    bar(&format!("CPU over {} s", watch.as_secs()), format!("{cpu:.3}"), cpu, CPU_PERCENT_MAX, "% of a core");
    let binary = std::fs::metadata(BINARY)?.len() as f64 / 1e6;
    bar("binary", format!("{binary:.2}"), binary, BINARY_MB_MAX, "MB");
    broker.stop()?;

    partitions(&scratch, if quick { 100 } else { 1000 })?;
    Ok(met)
}

/// A restart with many partitions: for information, without a bar.
fn partitions(scratch: &Scratch, count: usize) -> io::Result<()> {
    let dir = scratch.join("partitions");
    let broker = Broker::start(&dir, None)?;
    let mut client = Client::connect(broker.address).map_err(io::Error::other)?;
    let began = Instant::now();
    client.create_topics(&["many".to_owned()], count, &[]).map_err(io::Error::other)?;
    let created = began.elapsed();
    let resident = status_bytes(broker.pid(), "VmRSS")?;
    let stopped = broker.stop()?;
    let clean = Broker::start(&dir, None)?;
    let clean_after = clean.ready_after;
    drop(clean); // which kills it
    let killed = Broker::start(&dir, None)?;
    println!(
        "info  {count} empty partitions: created in {:.0} ms, {:.1} MiB resident, stopped in {:.0} ms, \
         restart to ready {:.0} ms, after a kill {:.0} ms",
        created.as_secs_f64() * 1e3,
        resident as f64 / f64::from(1 << 20),
        stopped.as_secs_f64() * 1e3,
        clean_after.as_secs_f64() * 1e3,
        killed.ready_after.as_secs_f64() * 1e3,
    );
    killed.stop()?;
    Ok(())
}
