//! The real clocks.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::{Ticks, WallMs};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Monotonic time since the process first asked, the same for all threads.
pub fn monotonic() -> Ticks {
    let origin = *ORIGIN.get_or_init(Instant::now);
    // Never zero, so that the first reading lies after the origin of every deadline.
    Ticks(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
}

/// Wall-clock time; zero before 1970.
pub fn wall() -> WallMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
