//! Time as the pure rooms see it: numbers handed in by whoever owns a clock.

use std::time::Duration;

/// Monotonic time, nanoseconds since an arbitrary origin that is the same for all cores of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

/// Wall-clock time, milliseconds since the Unix epoch (the unit of Kafka's timestamps).
pub type WallMs = i64;

impl Ticks {
    /// The end of time: a deadline that never comes.
    pub const NEVER: Ticks = Ticks(u64::MAX);

    /// This instant plus `ms` milliseconds; saturates, and a negative `ms` counts as zero.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Ticks {
        Ticks(self.0.saturating_add((ms.max(0) as u64).saturating_mul(1_000_000)))
    }

    /// This instant plus a duration; saturates.
    #[must_use]
    pub fn plus(self, d: Duration) -> Ticks {
        Ticks(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The next instant that is a multiple of `ms` milliseconds since the origin, or this one if it is.
    #[must_use]
    pub fn round_up_ms(self, ms: u64) -> Ticks {
        Ticks(self.0.checked_next_multiple_of(ms.max(1) * 1_000_000).unwrap_or(u64::MAX))
    }

    /// Whole milliseconds from `earlier` to this instant, zero if `earlier` is later.
    pub fn ms_since(self, earlier: Ticks) -> i64 {
        (self.0.saturating_sub(earlier.0) / 1_000_000) as i64
    }

    /// The time from now until this instant, zero if it has passed.
    pub fn after(self, now: Ticks) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(now.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Ticks::NEVER.plus_ms(5), Ticks::NEVER);
        assert_eq!(Ticks(7).plus_ms(-1), Ticks(7));
        assert_eq!(Ticks(3_000_000).ms_since(Ticks(1_000_000)), 2);
        assert_eq!(Ticks(3_000_000).round_up_ms(3), Ticks(3_000_000));
        assert_eq!(Ticks(3_000_001).round_up_ms(3), Ticks(6_000_000));
        assert_eq!(Ticks::NEVER.round_up_ms(10), Ticks::NEVER);
        assert_eq!(Ticks(1).ms_since(Ticks(9_000_000)), 0);
        assert_eq!(Ticks(5).after(Ticks(9)), Duration::ZERO);
    }
}
