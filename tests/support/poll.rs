//! The only place in the tests that sleeps: a probe repeated until it holds, within a bound.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Repeats `probe` until it returns a value; `None` when `limit` has passed.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Like [`within`], but without a pause, for a moment that is not to be missed.
pub fn within_busily<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() <= limit {
        if let Some(value) = probe() {
            return Some(value);
        }
        std::thread::yield_now();
    }
    None
}

/// Like [`within`], but the test fails with `what` when the probe never holds.
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    within(limit, probe).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}
