//! SIGTERM, SIGINT and SIGHUP as [`super::Event::Stop`], and as a flag for commands without cores.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

use super::ring::Remote;
use crate::base::limits::FORCED_STOP_AFTER_MS;

/// No cores are there yet that could be asked to stop.
static STARTING: AtomicBool = AtomicBool::new(true);

/// From now on, until [`stop_on_signals`], SIGTERM, SIGINT and SIGHUP end the process with a word and status 128 + their number.
///
/// # Errors
/// If handlers cannot be set.
pub fn end_on_signals() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
        let act = move || {
            if STARTING.load(Ordering::SeqCst) {
                say(NOT_YET);
                low_level::exit(128 + signal);
            }
        };
        // SAFETY: the action uses an atomic, write(2) and _exit(2) only, all allowed in a signal handler.
        unsafe { low_level::register(signal, act) }?;
    }
    Ok(())
}

/// From now on the first SIGTERM, SIGINT or SIGHUP asks core 0 to stop. Another one is only answered, as many send two at
/// once (a terminal and a script, or `timeout`), unless the stop has taken long: then it ends the process with status
/// 128 + its number, as a shell would show it. What was ignored when the process began (`nohup`) stays so.
pub fn stop_on_signals<M: Send + 'static>(remote: &Remote<M>) -> io::Result<()> {
    let asked_at = Arc::new(AtomicI64::new(i64::MAX));
    for signal in [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
        let (remote, asked_at) = (remote.clone(), Arc::clone(&asked_at));
        let act = move || match asked(&asked_at, monotonic_ms()) {
            Asked::Stop => remote.stop(),
            Asked::Again => say(STOPPING),
            Asked::AgainLate => {
                say(FORCED);
                low_level::exit(128 + signal);
            }
        };
        // SAFETY: the action uses atomics, clock_gettime(2), write(2) and _exit(2) only, all allowed in a signal handler.
        unsafe { low_level::register(signal, act) }?;
    }
    STARTING.store(false, Ordering::SeqCst);
    Ok(())
}

/// A file that reaches the limit of its size (`ulimit -f`), be it only the one that the log goes to, is an error of that write
/// from now on, and does not end the process.
pub fn ignore_file_size() {
    // SAFETY: to ignore a signal runs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The first one.
    Stop,
    /// Another one soon after it: nothing.
    Again,
    /// Another one when the stop has taken long: the end.
    AgainLate,
}

/// The rule; `asked_at` holds when the first one came, `i64::MAX` before.
fn asked(asked_at: &AtomicI64, now: i64) -> Asked {
    match asked_at.compare_exchange(i64::MAX, now, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => Asked::Stop,
        Err(at) if now.saturating_sub(at) < FORCED_STOP_AFTER_MS => Asked::Again,
        Err(_) => Asked::AgainLate,
    }
}

/// Holds the number of the first SIGTERM, SIGINT or SIGHUP once it has come, 0 before; a second one ends the process.
pub fn flag_on_signals() -> io::Result<Arc<AtomicI32>> {
    let flag = Arc::new(AtomicI32::new(0));
    for signal in [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
        let set = Arc::clone(&flag);
        let act = move || {
            if set.swap(signal, Ordering::SeqCst) != 0 {
                low_level::exit(128 + signal);
            }
        };
        // SAFETY: the action uses an atomic and _exit(2) only, both allowed in a signal handler.
        unsafe { low_level::register(signal, act) }?;
    }
    Ok(flag)
}

const STOPPING: &str =
    "ottla: stopping already; a signal 10 seconds after the first one ends the process at once\n";
const NOT_YET: &str =
    "ottla: ended by a signal before it served; the next start goes on where this one was\n";
const FORCED: &str = "ottla: ended at once by another signal; nothing acknowledged is lost, and the next start checks the partitions\n";

/// Writes to the standard error without a lock or memory of its own.
fn say(text: &'static str) {
    // SAFETY: the text outlives the call and is as long as it says.
    let _ = unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

fn monotonic_ms() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists and `now` outlives the call.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Whether a signal was ignored when the process began.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second signal within milliseconds ended the process at once; and one that hangs must be possible to end.
    #[test]
    fn another_signal_ends_the_process_only_when_the_stop_has_taken_long() {
        let asked_at = AtomicI64::new(i64::MAX);
        let all = [5, 5, 6, 4 + FORCED_STOP_AFTER_MS, 5 + FORCED_STOP_AFTER_MS, i64::MAX];
        let want =
            [Asked::Stop, Asked::Again, Asked::Again, Asked::Again, Asked::AgainLate, Asked::AgainLate];
        assert_eq!(all.map(|now| asked(&asked_at, now)), want);
        assert_eq!(asked(&asked_at, 4), Asked::Again, "handlers of two threads");
    }
}
