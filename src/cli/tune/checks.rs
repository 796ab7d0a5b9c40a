//! What the kernel's words mean for a broker.

/// What a ring and its buffers were seen to count as locked memory is a half of this.
const LOCKED_BYTES_PER_CORE: u64 = 512 << 10;
/// What registered memory comes to with the default configuration: the buffers of a busy core.
const REGISTERED_BYTES_PER_CORE: u64 = 96 << 20;

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// A broker runs, but not as well as it could.
    Warn,
    /// A broker does not run.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What it was found to be.
    pub found: String,
    /// How good that is.
    pub verdict: Verdict,
    /// What to change, or to keep in mind.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(what: &str, found: impl Into<String>) -> Finding {
        Finding { what: what.to_owned(), found: found.into(), verdict: Verdict::Ok, advice: None }
    }

    fn warn(what: &str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        let (what, advice) = (what.to_owned(), Some(advice.into()));
        Finding { what, found: found.into(), verdict: Verdict::Warn, advice }
    }

    fn fail(what: &str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, ..Finding::warn(what, found, advice) }
    }

    fn with(self, advice: &str) -> Finding {
        Finding { advice: Some(advice.to_owned()), ..self }
    }

    /// One line for people, `width` being that of the first column.
    pub fn line(&self, width: usize) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let advice = self.advice.as_ref().map(|a| format!("  -> {a}")).unwrap_or_default();
        format!("{verdict}  {:width$}  {}{advice}", self.what, self.found)
    }
}

/// `/proc/sys/kernel/osrelease`.
pub fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 12) {
        Finding::ok("kernel", release)
    } else if version >= (6, 1) {
        Finding::warn("kernel", release, "6.12 or later receives large requests with one copy, not three")
    } else if version >= (5, 18) {
        Finding::warn("kernel", release, "6.1 or later lets cores work with fewer interrupts")
    } else {
        Finding::fail("kernel", release, "Linux 5.18 or later is needed to pass messages between rings")
    }
}

/// Whether rings could be set up, and if not why, and what helps.
pub fn io_uring(tried: Result<(), String>) -> Finding {
    match tried {
        Ok(()) => Finding::ok("io_uring", "works"),
        Err(found) => Finding { found, verdict: Verdict::Fail, ..Finding::ok("io_uring", "") },
    }
}

/// The soft limit of a line in `/proc/self/limits`; None for unlimited.
fn limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `Max open files`.
pub fn open_files(limits: &str) -> Finding {
    let what = "open files (nofile)";
    match limit(limits, "Max open files") {
        None => Finding::ok(what, "unlimited"),
        Some(n) if n >= 65_536 => Finding::ok(what, n.to_string()),
        Some(n) => Finding::warn(
            what,
            n.to_string(),
            "each partition has several files and each client a socket: ulimit -n 1048576, or \
             LimitNOFILE=1048576 in the systemd unit",
        ),
    }
}

/// `Max locked memory`, which the rings of the cores count as, unless the user is root.
pub fn locked_memory(limits: &str, cores: usize) -> Finding {
    let what = "locked memory (memlock)";
    let need = cores as u64 * LOCKED_BYTES_PER_CORE;
    match limit(limits, "Max locked memory") {
        None => Finding::ok(what, "unlimited"),
        Some(n) if n >= need + cores as u64 * REGISTERED_BYTES_PER_CORE => {
            Finding::ok(what, format!("{n} bytes"))
        }
        Some(n) if n >= need => Finding::ok(what, format!("{n} bytes")).with(
            "the broker runs, but cannot register all of its buffers unless the user is root, which costs a little CPU time \
             in large writes: ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
        ),
        Some(n) => Finding::warn(
            what,
            format!("{n} bytes"),
            format!(
                "the rings of {cores} cores may need {need}, unless the user is root: ulimit -l unlimited, or \
                 LimitMEMLOCK=infinity in the systemd unit"
            ),
        ),
    }
}

/// The cores that the process may use, and `cpu.max` of its cgroup.
pub fn cores(cores: usize, quota: Option<&str>) -> Finding {
    let what = "cores";
    let parts: Vec<&str> = quota.unwrap_or("max").split_whitespace().collect();
    let numbers = match parts.as_slice() {
        [time, period] => time.parse::<f64>().ok().zip(period.parse::<f64>().ok()),
        _ => None,
    };
    match numbers {
        Some((time, period)) if period > 0.0 && (time / period).fract() > 0.001 => Finding::warn(
            what,
            format!("{cores}, with a quota of {:.2}", time / period),
            "a quota that is not whole stops a core in the middle of its work; make it whole",
        ),
        _ => Finding::ok(what, cores.to_string()),
    }
}

/// `scaling_governor` of every core; nothing where the kernel does not choose frequencies.
pub fn governors(governors: &[String]) -> Option<Finding> {
    let what = "CPU governor";
    let slow = governors.iter().find(|g| g.as_str() != "performance");
    match (governors.first(), slow) {
        (None, _) => None,
        (Some(_), None) => Some(Finding::ok(what, "performance")),
        (Some(_), Some(slow)) => {
            Some(Finding::warn(what, slow.as_str(), "cpupower frequency-set -g performance"))
        }
    }
}

/// Names and wake-up times (µs) of the sleeping states that the first core may enter.
pub fn idle_states(states: &[(String, u64)]) -> Option<Finding> {
    let what = "CPU idle states";
    let (name, wake_us) = states.iter().max_by_key(|(_, wake_us)| *wake_us)?;
    let found = format!("down to {name}, {wake_us} us to wake");
    if *wake_us <= 50 {
        return Some(Finding::ok(what, found));
    }
    Some(Finding::warn(what, found, "for the lowest latency: cpupower idle-set -D 50"))
}

/// The choice in brackets, or all of the text.
fn chosen(text: &str) -> &str {
    text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or(text, |(chosen, _)| chosen)
}

/// `transparent_hugepage/enabled`.
pub fn huge_pages(text: &str) -> Finding {
    let what = "transparent huge pages";
    match chosen(text) {
        "always" => Finding::warn(
            what,
            "always",
            "memory may grow in steps of 2 MiB: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        "never" => Finding::warn(
            what,
            "never",
            "the buffers are made of small pages then, with thousands of page faults per GB: echo madvise > \
             /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        other => Finding::ok(what, other),
    }
}

/// `vm.swappiness`.
pub fn swappiness(text: &str) -> Finding {
    match text.parse::<u32>() {
        Ok(n) if n > 10 => Finding::warn(
            "vm.swappiness",
            text,
            "a broker's memory should not be swapped: sysctl vm.swappiness=1",
        ),
        _ => Finding::ok("vm.swappiness", text),
    }
}

/// `net.core.somaxconn`.
pub fn backlog(text: &str) -> Finding {
    match text.parse::<u32>() {
        Ok(n) if n < 1024 => Finding::warn(
            "net.core.somaxconn",
            text,
            "many clients at once may be refused: sysctl net.core.somaxconn=4096",
        ),
        _ => Finding::ok("net.core.somaxconn", text),
    }
}

/// Receive queues of a network card.
pub fn queues(card: &str, queues: usize, cores: usize) -> Finding {
    let what = format!("queues of {card}");
    if queues >= cores {
        return Finding::ok(&what, queues.to_string());
    }
    Finding::warn(
        &what,
        queues.to_string(),
        format!("with one for each of {cores} cores they share the work: ethtool -L {card} combined {cores}"),
    )
}

/// The file system on a device (`major:minor`) according to `/proc/self/mountinfo`.
pub fn file_system(dir: &str, mounts: &str, device: &str) -> Option<Finding> {
    let line = mounts.lines().rfind(|line| line.split(' ').nth(2) == Some(device))?;
    let kind = line.split_once(" - ")?.1.split(' ').next()?;
    let what = format!("file system of {dir}");
    Some(match kind {
        "xfs" | "ext4" => Finding::ok(&what, kind),
        "tmpfs" | "ramfs" => Finding::warn(&what, kind, "a restart of the machine loses everything"),
        "nfs" | "nfs4" | "cifs" | "9p" | "fuse" => {
            Finding::warn(&what, kind, "use a local disk; replication is the broker's work")
        }
        other => Finding::warn(&what, other, "not tested for direct I/O; xfs and ext4 are"),
    })
}

/// `queue/scheduler` of a disk.
pub fn scheduler(disk: &str, text: &str, rotational: bool) -> Finding {
    let what = format!("scheduler of {disk}");
    match (chosen(text), rotational) {
        ("none" | "noop", false) => Finding::ok(&what, "none"),
        ("mq-deadline", _) => Finding::ok(&what, "mq-deadline"),
        (other, true) => Finding::warn(
            &what,
            other,
            format!("a turning disk: echo mq-deadline > /sys/block/{disk}/queue/scheduler"),
        ),
        (other, false) => {
            Finding::warn(&what, other, format!("echo none > /sys/block/{disk}/queue/scheduler"))
        }
    }
}

/// `queue/write_cache` of a disk.
pub fn write_cache(disk: &str, text: &str) -> Finding {
    let finding = Finding::ok(&format!("write cache of {disk}"), text);
    match text {
        "write back" => finding.with(
            "a power cut may lose acknowledged records, unless the disk has capacitors or topics have \
             flush.messages=1",
        ),
        _ => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 1048576              files
Max locked memory         8388608              8388608              bytes
Max address space         unlimited            unlimited            bytes";

    #[test]
    fn limits() {
        assert_eq!(open_files(LIMITS).verdict, Verdict::Warn);
        assert_eq!(open_files(LIMITS).found, "1024");
        assert_eq!(locked_memory(LIMITS, 64).verdict, Verdict::Warn);
        assert_eq!(locked_memory(LIMITS, 2).found, "8388608 bytes");
        let plenty = LIMITS.replace("1024  ", "1048576  ").replace("8388608  ", "unlimited  ");
        assert_eq!(locked_memory(&plenty, 64).found, "unlimited");
        assert_eq!(open_files(&plenty).verdict, Verdict::Ok);
    }

    #[test]
    fn kernels() {
        for (release, want) in [
            ("6.12.1", Verdict::Ok),
            ("6.8.0-45-generic", Verdict::Warn),
            ("6.1.0", Verdict::Warn),
            ("5.19.17", Verdict::Warn),
            ("5.15.0-1", Verdict::Fail),
            ("", Verdict::Fail),
        ] {
            assert_eq!(kernel(release).verdict, want, "{release}");
        }
        assert_eq!(io_uring(Ok(())).verdict, Verdict::Ok);
        let refused = io_uring(Err("io_uring is not permitted (EPERM): allow it".to_owned()));
        assert_eq!(refused.verdict, Verdict::Fail);
        assert!(refused.line(8).contains("not permitted (EPERM): allow it"));
    }

    #[test]
    fn processors() {
        assert_eq!(cores(4, Some("max 100000")).found, "4");
        assert_eq!(cores(2, Some("200000 100000")).verdict, Verdict::Ok);
        assert_eq!(cores(2, Some("150000 100000")).verdict, Verdict::Warn);
        assert_eq!(cores(2, None).verdict, Verdict::Ok);
        assert_eq!(governors(&[]), None);
        let (fast, slow) = ("performance".to_owned(), "powersave".to_owned());
        assert_eq!(governors(&[fast.clone(), fast.clone()]).unwrap().verdict, Verdict::Ok);
        assert_eq!(governors(&[fast, slow]).unwrap().found, "powersave");
        assert_eq!(idle_states(&[]), None);
        assert_eq!(idle_states(&[("POLL".into(), 0), ("C1".into(), 2)]).unwrap().verdict, Verdict::Ok);
        assert_eq!(idle_states(&[("C6".into(), 133), ("C1".into(), 2)]).unwrap().verdict, Verdict::Warn);
    }

    #[test]
    fn memory_and_network() {
        assert_eq!(huge_pages("always [madvise] never").found, "madvise");
        assert_eq!(huge_pages("[always] madvise never").verdict, Verdict::Warn);
        assert_eq!(huge_pages("always madvise [never]").verdict, Verdict::Warn);
        assert_eq!(swappiness("60").verdict, Verdict::Warn);
        assert_eq!(swappiness("1").verdict, Verdict::Ok);
        assert_eq!(backlog("128").verdict, Verdict::Warn);
        assert_eq!(queues("eth0", 1, 4).verdict, Verdict::Warn);
        assert_eq!(queues("eth0", 8, 4).verdict, Verdict::Ok);
    }

    #[test]
    fn disks() {
        let mounts = "\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw
41 22 259:5 / /data rw shared:7 - xfs /dev/nvme1n1 rw";
        let kind = |device| file_system("d", mounts, device).map(|f| (f.found, f.verdict));
        assert_eq!(kind("259:5"), Some(("xfs".to_owned(), Verdict::Ok)));
        assert_eq!(kind("0:26"), Some(("tmpfs".to_owned(), Verdict::Warn)));
        assert_eq!(kind("8:1"), None);
        assert_eq!(scheduler("nvme0n1", "[none] mq-deadline", false).verdict, Verdict::Ok);
        assert_eq!(scheduler("sda", "none [bfq]", false).verdict, Verdict::Warn);
        assert_eq!(scheduler("sda", "[none] mq-deadline", true).verdict, Verdict::Warn);
        assert!(write_cache("sda", "write back").advice.is_some());
        assert!(write_cache("sda", "write through").advice.is_none());
    }

    #[test]
    fn a_line() {
        let finding = Finding::warn("x", "1", "make it 2");
        assert_eq!(finding.line(3), "warn  x    1  -> make it 2");
    }
}
