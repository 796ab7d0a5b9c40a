//! A broker as a child process, and what the kernel says of it.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The release binary that cargo built with this program.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ottla");

/// A running broker; killed on drop.
pub struct Broker {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From the moment before the process was made until its ready line was read.
    pub ready_after: Duration,
}

impl Broker {
    /// Starts `ottla serve` on a directory with its default configuration, on a free port of 127.0.0.1. With `core`,
    /// it may only use that core.
    pub fn start(dir: &Path, core: Option<usize>) -> io::Result<Broker> {
        let address = free_address()?;
        let mut command = match core {
            None => Command::new(BINARY),
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", &core.to_string(), BINARY]);
                taskset
            }
        };
        command
            .args(["serve", "--log", "warn"])
            .args(["--set", &format!("log.dirs={}", dir.display())])
            .args(["--set", &format!("listeners=PLAINTEXT://{address}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let begin = Instant::now();
        let mut child = command.spawn()?;
        let mut ready_line = String::new();
        let read = match child.stdout.take() {
            Some(out) => BufReader::new(out).read_line(&mut ready_line),
            None => Ok(0),
        };
        let ready_after = begin.elapsed();
        if !matches!(read, Ok(n) if n > 0) {
            let status = child.wait()?;
            return Err(io::Error::other(format!("the broker did not start: {status}")));
        }
        Ok(Broker { child, address, ready_after })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it with SIGTERM; gives how long that took.
    pub fn stop(mut self) -> io::Result<Duration> {
        let begin = Instant::now();
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("the broker ended with {status} after SIGTERM")));
        }
        Ok(begin.elapsed())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// A fresh directory below `target/perf`, removed on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    pub fn new(name: &str) -> io::Result<Scratch> {
        // The binary lies in target/release.
        let target = Path::new(BINARY).ancestors().nth(2).unwrap_or(Path::new("target"));
        let path = target.join("perf").join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path); // left over from a process of the same number
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    /// A path in it that does not exist yet.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a leftover harms nobody
    }
}

/// CPU time that all threads of a process have had: in user space and in the kernel, to 10 ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// In user space.
    pub user_s: f64,
    /// In the kernel.
    pub system_s: f64,
}

impl CpuTime {
    /// Reads `/proc/PID/stat`, which counts in ticks of 10 ms.
    pub fn of(pid: u32) -> io::Result<CpuTime> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command in parentheses may hold spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut times = fields.split_whitespace().skip(11).map(|f| f.parse::<f64>().unwrap_or(0.0) / 100.0);
        let (user_s, system_s) = (times.next().unwrap_or(0.0), times.next().unwrap_or(0.0));
        Ok(CpuTime { user_s, system_s })
    }

    /// Both.
    pub fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    /// What was added since.
    pub fn since(self, before: CpuTime) -> CpuTime {
        CpuTime { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }
}

/// CPU time of all living threads in nanoseconds, from `/proc/PID/task/*/schedstat`.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(total)
}

/// A line of `/proc/PID/status` that is in kB, in bytes.
pub fn status_bytes(pid: u32, key: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kilobytes = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kilobytes.map(|n| n << 10).ok_or_else(|| io::Error::other(format!("no {key} in /proc/{pid}/status")))
}
