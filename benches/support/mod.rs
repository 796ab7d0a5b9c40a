//! The timing loop of the benches: rounds of a fixed number of calls, of which the best counts, as noise only adds.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long and how often.
pub struct Rounds {
    count: usize,
    time: Duration,
}

impl Rounds {
    /// From the command line: with `--quick` just enough to see that everything works.
    pub fn from_arguments() -> Rounds {
        if is_quick() {
            Rounds { count: 1, time: Duration::from_micros(100) }
        } else {
            Rounds { count: 15, time: Duration::from_millis(10) }
        }
    }

    /// Nanoseconds of one call of `work`.
    pub fn measure<T>(&self, mut work: impl FnMut() -> T) -> f64 {
        let mut time = |calls: u32| {
            let start = Instant::now();
            for _ in 0..calls {
                black_box(work());
            }
            start.elapsed()
        };
        let mut calls = 1;
        while time(calls) < self.time {
            calls *= 2;
        }
        let best = (0..self.count).map(|_| time(calls)).min().unwrap_or_default();
        best.as_nanos() as f64 / f64::from(calls)
    }
}

/// Whether the bench shall only show that it works.
pub fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}
