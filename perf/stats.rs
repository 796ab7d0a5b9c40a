//! Small sums.

use std::fmt;

/// Minimum, median and maximum of repeated measurements.
pub struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    /// Of at least one value.
    pub fn of(mut values: Vec<f64>) -> Spread {
        assert!(!values.is_empty(), "something was measured");
        values.sort_by(f64::total_cmp);
        Spread { sorted: values }
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.sorted[self.sorted.len() / 2]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.sorted.len() - 1;
        write!(f, "{:.1} / {:.1} / {:.1}", self.sorted[0], self.median(), self.sorted[last])
    }
}

/// The processor, the kernel and how busy the machine is with other things.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{cores} cores, {}; Linux {}; load average at the start {}",
        model.trim_start_matches(['\t', ' ', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
    )
}
