//! `ottla tune`: what this machine is like for a broker, and what to change.
//!
//! This file reads; what a reading means is decided in [`checks`].

mod checks;

use super::settings;
use super::{CliError, SettingsArgs, print};
use crate::base::ShardId;
use crate::io::{Remote, Ring};
use checks::{Finding, Verdict};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Prints one line for each thing that was looked at.
pub fn run(args: &SettingsArgs) -> Result<(), CliError> {
    let settings = settings::load(args, &[])?;
    let mut findings = process();
    findings.extend(processors());
    findings.extend(memory());
    findings.extend(network());
    for dir in &settings.config.log_dirs {
        findings.extend(disk(Path::new(dir)));
    }
    let width = findings.iter().map(|f| f.what.chars().count()).max().unwrap_or_default();
    print(&findings.iter().map(|finding| finding.line(width) + "\n").collect::<String>())?;
    match findings.iter().find(|f| f.verdict == Verdict::Fail) {
        Some(fatal) => Err(CliError::environment(format!("Ottla cannot run here: {}", fatal.what))),
        None => Ok(()),
    }
}

/// The text of a file of the kernel's, without the line's end. None if it is not there.
fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// The entries of a directory, in the order of their names.
fn entries(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let found = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Sets up the rings of so many cores, as a broker does: neither a sandbox's rules nor what is left of a limit can be read.
fn rings(cores: usize) -> Result<(), String> {
    let remote = Remote::<()>::new(cores).map_err(|e| e.to_string())?;
    let rings = (0..cores).map(|core| Ring::new(&remote, ShardId(core as u16)));
    rings.collect::<Result<Vec<_>, _>>().map(drop).map_err(|e| e.to_string())
}

fn process() -> Vec<Finding> {
    let limits = read("/proc/self/limits").unwrap_or_default();
    vec![
        checks::kernel(&read("/proc/sys/kernel/osrelease").unwrap_or_default()),
        checks::io_uring(rings(available_cores())),
        checks::open_files(&limits),
        checks::locked_memory(&limits, available_cores()),
    ]
}

fn processors() -> Vec<Finding> {
    let mut findings = vec![checks::cores(available_cores(), read("/sys/fs/cgroup/cpu.max").as_deref())];
    let cpus = entries("/sys/devices/system/cpu");
    let governors: Vec<String> =
        cpus.iter().filter_map(|cpu| read(cpu.join("cpufreq/scaling_governor"))).collect();
    findings.extend(checks::governors(&governors));
    let states: Vec<(String, u64)> = entries("/sys/devices/system/cpu/cpu0/cpuidle")
        .iter()
        .filter(|state| read(state.join("disable")).as_deref() == Some("0"))
        .filter_map(|state| Some((read(state.join("name"))?, read(state.join("latency"))?.parse().ok()?)))
        .collect();
    findings.extend(checks::idle_states(&states));
    findings
}

fn memory() -> Vec<Finding> {
    let huge = read("/sys/kernel/mm/transparent_hugepage/enabled");
    let swappiness = read("/proc/sys/vm/swappiness");
    let mut findings: Vec<_> = huge.iter().map(|text| checks::huge_pages(text)).collect();
    findings.extend(swappiness.iter().map(|text| checks::swappiness(text)));
    findings
}

fn network() -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut findings: Vec<_> =
        read("/proc/sys/net/core/somaxconn").iter().map(|text| checks::backlog(text)).collect();
    // Only what stands for hardware has queues worth a word.
    for card in entries("/sys/class/net").iter().filter(|card| card.join("device").exists()) {
        let queues = entries(card.join("queues")).iter().filter(|q| name(q).starts_with("rx-")).count();
        findings.push(checks::queues(&name(card), queues, cores));
    }
    findings
}

fn disk(dir: &Path) -> Vec<Finding> {
    // Before the first start the directory is not there yet.
    let mut there = dir.ancestors().map(|a| if a.as_os_str().is_empty() { Path::new(".") } else { a });
    let Some(meta) = there.find_map(|a| fs::metadata(a).ok()) else { return Vec::new() };
    let device = meta.dev();
    let numbers = format!("{}:{}", libc::major(device), libc::minor(device));
    let mut findings = Vec::new();
    if let Some(mounts) = read("/proc/self/mountinfo") {
        findings.extend(checks::file_system(&dir.display().to_string(), &mounts, &numbers));
    }
    let Ok(block) = fs::canonicalize(Path::new("/sys/dev/block").join(&numbers)) else { return findings };
    // A partition has its queue in the disk above it.
    let queue = [block.join("queue"), block.join("../queue")].into_iter().find(|q| q.exists());
    if let Some(queue) = queue {
        let rotational = read(queue.join("rotational")).as_deref() == Some("1");
        let (scheduler, cache) = (read(queue.join("scheduler")), read(queue.join("write_cache")));
        findings.extend(scheduler.iter().map(|text| checks::scheduler(&name(&block), text, rotational)));
        findings.extend(cache.iter().map(|text| checks::write_cache(&name(&block), text)));
    }
    findings
}
