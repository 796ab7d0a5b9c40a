//! Mail between two cores on rings of their own: round trips one at a time, and bursts.
//!
//! `cargo bench --bench mailbox`. Cores 0 and 1 of the affinity mask, if there are two.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ottla::base::{ShardId, Ticks};
use ottla::io::{Clock, Event, Remote, Ring, World};

const ROUND_TRIPS: u64 = 20_000;
const BURST: u64 = 64;
const BURSTS: u64 = 3_000;
const STOP: u64 = u64::MAX;

fn main() {
    let remote: Remote<u64> = Remote::new(2).expect("mailboxes");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let theirs = remote.clone();
    let their_core = cores.get(1).copied();
    let echo = thread::spawn(move || {
        their_core.map(core_affinity::set_for_current);
        let mut ring = Ring::new(&theirs, ShardId(1)).expect("a ring");
        let mut events = Vec::new();
        loop {
            ring.turn(Ticks::NEVER, &mut events);
            for event in events.drain(..) {
                match event {
                    Event::Mail(_, STOP) => return,
                    Event::Mail(from, n) => ring.post(from, n),
                    _ => {}
                }
            }
        }
    });
    cores.first().copied().map(core_affinity::set_for_current);
    let mut ring = Ring::new(&remote, ShardId(0)).expect("a ring");
    let (single, single_took) = run(&mut ring, ROUND_TRIPS, 1);
    print("mailbox round trip, one at a time", &single, single_took, ROUND_TRIPS);
    let (burst, burst_took) = run(&mut ring, BURSTS, BURST);
    print("mailbox round trip of 64 at once", &burst, burst_took, BURSTS * BURST);
    ring.post(ShardId(1), STOP);
    ring.turn(ring.now(), &mut Vec::new());
    echo.join().expect("the other core");
}

/// Sends `burst` messages and waits for all of them, `times` times; nanoseconds each time, and the whole.
fn run(ring: &mut Ring<u64>, times: u64, burst: u64) -> (Histogram<u64>, Duration) {
    let mut histogram = Histogram::new(3).expect("a histogram");
    let mut events = Vec::new();
    let start = Instant::now();
    for _ in 0..times {
        let sent = Instant::now();
        for n in 0..burst {
            ring.post(ShardId(1), n);
        }
        let mut missing = burst;
        while missing > 0 {
            ring.turn(Ticks::NEVER, &mut events);
            missing -= events.drain(..).filter(|e| matches!(e, Event::Mail(..))).count() as u64;
        }
        histogram.record(sent.elapsed().as_nanos() as u64).expect("the histogram grows");
    }
    (histogram, start.elapsed())
}

fn print(what: &str, histogram: &Histogram<u64>, took: Duration, messages: u64) {
    let micros = |ns: u64| ns as f64 / 1000.0;
    println!(
        "{what}: p50 {:.1} us, p99 {:.1} us, {:.0} messages/s",
        micros(histogram.value_at_quantile(0.5)),
        micros(histogram.value_at_quantile(0.99)),
        messages as f64 / took.as_secs_f64(),
    );
}
