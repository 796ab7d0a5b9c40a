//! A control group for a broker: its memory limit, and the CPU time that the kernel charges to it.
//!
//! Both versions of the kernel's interface are known. What cannot be made here (no permission, no controller) is left
//! out, and the report says so: CPU time then comes from `/proc`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// What both brokers may use, page cache included.
pub const MEMORY_BYTES_MAX: u64 = 4 << 30;

const ROOT: &str = "/sys/fs/cgroup";

/// The groups of one broker; removed on drop, when it has ended.
pub struct Cgroup {
    /// One directory, or with version 1 one for each controller.
    directories: Vec<PathBuf>,
    /// The file with the CPU time, and what its number is to be divided by for seconds.
    cpu: Option<(PathBuf, f64)>,
    limited: bool,
}

impl Cgroup {
    /// Makes what can be made.
    pub fn new() -> Cgroup {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ottla-perf-{}-{number}", std::process::id());
        let mut group = Cgroup { directories: Vec::new(), cpu: None, limited: false };
        let root = Path::new(ROOT);
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        if controllers.contains("memory") {
            let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu +memory"); // it may be so already
            if let Some(directory) = group.add(&root.join(&name)) {
                group.cpu = Some((directory.join("cpu.stat"), 1e6));
                group.limited = fs::write(directory.join("memory.max"), MEMORY_BYTES_MAX.to_string()).is_ok();
            }
            return group;
        }
        if let Some(directory) = group.add(&root.join("cpuacct").join(&name)) {
            group.cpu = Some((directory.join("cpuacct.usage"), 1e9));
        }
        if let Some(directory) = group.add(&root.join("memory").join(&name)) {
            let limit = directory.join("memory.limit_in_bytes");
            group.limited = fs::write(limit, MEMORY_BYTES_MAX.to_string()).is_ok();
        }
        group
    }

    fn add(&mut self, directory: &Path) -> Option<PathBuf> {
        fs::create_dir(directory).ok()?;
        self.directories.push(directory.to_owned());
        Some(directory.to_owned())
    }

    /// What is missing, for the report.
    pub fn notes(&self) -> Vec<&'static str> {
        let mut notes = Vec::new();
        if self.cpu.is_none() {
            notes
                .push("no cgroup could be made for CPU accounting: CPU time is that of the process in /proc");
        }
        if !self.limited {
            notes.push("no cgroup could be made for memory: the brokers run without a memory limit");
        }
        notes
    }

    /// `command`, to be run inside.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("sh");
        let enter: Vec<_> =
            self.directories.iter().map(|d| format!("echo $$ > {}/cgroup.procs && ", d.display())).collect();
        wrapped.arg("-c").arg(format!("{}exec \"$@\"", enter.concat())).arg("sh");
        wrapped.arg(command.get_program()).args(command.get_args());
        wrapped
    }

    /// CPU seconds charged so far; `None` without accounting.
    pub fn cpu_s(&self) -> io::Result<Option<f64>> {
        let Some((file, unit)) = &self.cpu else { return Ok(None) };
        let text = fs::read_to_string(file)?;
        // A number by itself, or on a line with its name.
        let number = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap_or(text.trim());
        number
            .trim()
            .parse::<f64>()
            .map(|n| Some(n / unit))
            .map_err(|e| io::Error::other(format!("{}: {text:?} ({e})", file.display())))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // The kernel may need a moment to see that the last process is gone.
            for _ in 0..100 {
                if fs::remove_dir(directory).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}
