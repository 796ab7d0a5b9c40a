//! One case on one broker.

use super::BenchError;
use super::cases::{Case, Task};
use super::churn;
use super::load::Load;
use super::outcome::Outcome;
use super::run::{Bench, Moment};
use std::net::SocketAddr;
use std::time::Duration;

/// Warming is done in cycles of about this many seconds.
const WARM_CYCLE_S: f64 = 3.0;

/// Warming lasts at most so many times as long as it was asked for.
const WARM_TIMES_MAX: u32 = 4;
/// A broker that is not this much faster than before is warm.
const WARM_GAIN: f64 = 1.08;

/// How long the parts of a case take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Uncounted, in topics of its own; longer if the broker is still getting faster.
    pub warm: Duration,
    /// Uncounted, at the start of what is counted.
    pub ramp: Duration,
    /// Counted.
    pub time: Duration,
    /// Bytes to fill topics with are divided by this.
    pub shrink: u64,
}

/// Where a case runs, and what happens around it.
pub struct Place<'a> {
    /// The broker.
    pub address: SocketAddr,
    /// What the topics' names begin with.
    pub prefix: &'a str,
    /// Whether the topics are deleted at the end.
    pub delete: bool,
    /// Called when the warming is over.
    pub warmed: &'a mut dyn FnMut(),
    /// Called between filling topics and reading them.
    pub filled: &'a mut dyn FnMut(),
    /// Called at the two moments of what is counted.
    pub meter: &'a mut dyn FnMut(Moment),
}

/// What a case found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was counted.
    pub outcome: Outcome,
    /// Reading everything back afterwards, where no consumer had read it.
    pub read_back: Option<Outcome>,
}

/// Runs a case with `load`, which is the case's own with what the caller has added to it: configuration, a rate.
///
/// # Errors
/// Also a record that is lost, doubled, out of order or changed.
pub fn run(case: &Case, load: &Load, timing: &Timing, place: &mut Place<'_>) -> Result<Found, BenchError> {
    if case.task == Task::Churn {
        let outcome = churn::run(timing, place)?;
        return Ok(Found { outcome, read_back: None });
    }
    warm(case, load, timing, place)?;
    let mut bench = Bench::prepare(place.address, load.clone(), place.prefix)?;
    let found = counted(case, load, timing, place, &mut bench);
    leave(place, bench, found)
}

/// Deletes the topics, whatever came of the run.
fn leave<T>(place: &Place<'_>, bench: Bench, found: Result<T, BenchError>) -> Result<T, BenchError> {
    let left = if place.delete { bench.delete() } else { Ok(()) };
    // What went wrong first is what matters.
    found.and_then(|found| left.map(|()| found))
}

fn counted(
    case: &Case,
    load: &Load,
    timing: &Timing,
    place: &mut Place<'_>,
    bench: &mut Bench,
) -> Result<Found, BenchError> {
    if let Task::CatchUp { bytes, .. } | Task::Drain { bytes } = case.task {
        bench.fill(bytes / timing.shrink)?;
        (place.filled)();
    }
    if let Task::CatchUp { .. } = case.task {
        return Ok(Found { outcome: bench.read_back(place.meter)?, read_back: None });
    }
    let outcome = bench.run(timing.ramp, timing.time, place.meter)?;
    let unread = load.producers > 0 && load.consumers == 0;
    let read_back = if unread { Some(bench.read_back(&mut |_| {})?) } else { None };
    Ok(Found { outcome, read_back })
}

/// Caches and a JIT see the load, with all that belongs to it: topics are made anew and connections opened several
/// times, as a JIT drops code when something happens for the first time. At first without a rate, until the broker gets
/// no faster; then, when the place is as it will be, the load as it is. That all of it arrived is seen by where the
/// partitions end.
fn warm(case: &Case, load: &Load, timing: &Timing, place: &mut Place<'_>) -> Result<(), BenchError> {
    let cycles = (timing.warm.as_secs_f64() / WARM_CYCLE_S).ceil() as u32;
    let cycle = |load: &Load, place: &Place<'_>, number: u32| {
        let name = format!("{}-warm{number}", place.prefix);
        let mut bench = Bench::prepare(place.address, load.clone(), &name)?;
        let warmed = heat(case, timing.warm / cycles, &mut bench);
        leave(place, bench, warmed)
    };
    // The broker may use this core too.
    let fast = Load { rate: None, spin: false, ..load.clone() };
    let mut best = 0.0;
    for number in 1..cycles * WARM_TIMES_MAX {
        if cycles == 1 {
            break;
        }
        let rate = cycle(&fast, place, number)?;
        if number + 1 >= cycles && rate < best * WARM_GAIN {
            break;
        }
        best = rate.max(best);
    }
    (place.warmed)();
    if cycles > 0 {
        cycle(load, place, 0)?;
    }
    Ok(())
}

/// Gives how fast it went.
fn heat(case: &Case, time: Duration, bench: &mut Bench) -> Result<f64, BenchError> {
    let mut outcome = bench.run(Duration::ZERO, time, &mut |_| {})?;
    if let Task::CatchUp { .. } = case.task {
        outcome = bench.read_back(&mut |_| {})?;
    }
    bench.check_ends()?;
    Ok((outcome.records + outcome.fetched_records) as f64 / outcome.seconds)
}
