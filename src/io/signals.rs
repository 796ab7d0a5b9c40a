//! SIGTERM and SIGINT as [`super::Event::Stop`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;

use super::ring::Remote;

/// From now on the first SIGTERM or SIGINT asks core 0 to stop; a second one ends the process at once with status
/// 128 + its number, as a shell would show it.
pub fn stop_on_signals<M: Send + 'static>(remote: &Remote<M>) -> io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        let (remote, asked) = (remote.clone(), Arc::clone(&asked));
        let act = move || {
            if asked.swap(true, Ordering::SeqCst) {
                low_level::exit(128 + signal);
            }
            remote.stop();
        };
        // SAFETY: the action uses atomics, write(2) and _exit(2) only, all allowed in a signal handler.
        unsafe { low_level::register(signal, act) }?;
    }
    Ok(())
}
