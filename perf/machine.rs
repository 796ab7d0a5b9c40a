//! What the figures were measured on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The processor, the kernel and how busy the machine is with other things.
pub fn machine() -> String {
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{cores} cores, {}; Linux {}; load average at the start {}",
        model.trim_start_matches(['\t', ' ', ':']),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
    )
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The disk below a directory: device, scheduler, file system, mount options.
pub fn disk(directory: &Path) -> String {
    let Ok(meta) = fs::metadata(directory) else { return "unknown".to_owned() };
    let device = meta.dev();
    let numbers = format!("{}:{}", libc::major(device), libc::minor(device));
    let mounts = read("/proc/self/mountinfo");
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&numbers)).unwrap_or_default();
    let (left, right) = mount.split_once(" - ").unwrap_or_default();
    let mut right = right.split(' ');
    let (file_system, source) = (right.next().unwrap_or("?"), right.next().unwrap_or("?"));
    let options = left.split(' ').nth(5).unwrap_or("?");
    let block = Path::new("/sys/dev/block").join(numbers);
    let queue = [block.join("queue"), block.join("../queue")].into_iter().find(|queue| queue.exists());
    let of_queue = |name: &str| queue.as_ref().map(|queue| read(queue.join(name))).unwrap_or_default();
    format!(
        "{source}, {file_system} ({options}); scheduler {}; write cache {}",
        of_queue("scheduler"),
        of_queue("write_cache")
    )
}

/// What `java -version` says first.
pub fn java() -> String {
    let output = Command::new("java").arg("-version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("no Java").to_owned()
}

/// Hard and soft interrupts on a core so far, in seconds.
pub fn interrupts_s(core: usize) -> f64 {
    let stat = read("/proc/stat");
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
    // user nice system idle iowait irq softirq, in ticks of 10 ms
    let ticks: f64 = line.split(' ').skip(5).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}
