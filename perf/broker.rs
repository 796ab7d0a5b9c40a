//! A broker as a child process, and what the kernel says of it.

use crate::cgroup::Cgroup;
use crate::support::{broker as tests, toolchain};
use ottla::bench::Client;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The binary that cargo built with this program.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ottla");
/// How long a broker may take to answer.
const READY_WAIT: Duration = Duration::from_mins(2);
/// What both get beside their defaults: one broker is enough for the offsets, and groups need not wait for more
/// members.
const PROPERTIES: &[(&str, &str)] = &[
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
];
/// As `kafka-server-start.sh` has them.
pub const KAFKA_JVM: &[&str] = &[
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The one built here.
    Ottla,
    /// Apache Kafka.
    Kafka,
}

impl Side {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Side::Ottla => "Ottla",
            Side::Kafka => "Kafka",
        }
    }
}

/// A running broker; killed on drop.
pub struct Broker {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// When its process was made.
    pub began: Instant,
    /// From then until its ready line was read, or with Kafka until it answered.
    pub ready_after: Duration,
    /// Where it runs, if it was asked for.
    pub cgroup: Option<Cgroup>,
}

impl Broker {
    /// Starts `ottla serve` on a directory with its default configuration, on a free port of 127.0.0.1. With `core`,
    /// it may only use that core.
    pub fn start(dir: &Path, core: Option<usize>) -> io::Result<Broker> {
        Broker::start_ottla(dir, core, None)
    }

    /// Starts either in a control group.
    pub fn start_side(side: Side, dir: &Path, core: Option<usize>) -> io::Result<Broker> {
        let cgroup = Some(Cgroup::new());
        match side {
            Side::Ottla => Broker::start_ottla(dir, core, cgroup),
            Side::Kafka => Broker::start_kafka(dir, core, cgroup),
        }
    }

    fn start_ottla(dir: &Path, core: Option<usize>, cgroup: Option<Cgroup>) -> io::Result<Broker> {
        let address = free_address()?;
        let mut command = Command::new(BINARY);
        command
            .args(["serve", "--log", "warn"])
            .args(["--set", &format!("log.dirs={}", dir.display())])
            .args(["--set", &format!("listeners=PLAINTEXT://{address}")])
            .args(["--set", "group.initial.rebalance.delay.ms=0"]);
        let mut command = placed(command, core, cgroup.as_ref());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn()?;
        let mut ready_line = String::new();
        let read = match child.stdout.take() {
            Some(out) => BufReader::new(out).read_line(&mut ready_line),
            None => Ok(0),
        };
        let ready_after = began.elapsed();
        if !matches!(read, Ok(n) if n > 0) {
            let status = child.wait()?;
            return Err(io::Error::other(format!("the broker did not start: {status}")));
        }
        Ok(Broker { child, address, began, ready_after, cgroup })
    }

    fn start_kafka(dir: &Path, core: Option<usize>, cgroup: Option<Cgroup>) -> io::Result<Broker> {
        let Some(class_path) = toolchain::kafka_classpath() else {
            return Err(io::Error::other("Apache Kafka cannot be run here"));
        };
        let address = free_address()?;
        let data = dir.join("data");
        let properties = dir.join("server.properties");
        let extra: Vec<_> = PROPERTIES.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        if !data.exists() {
            tests::copy_tree(&tests::apache_template(&class_path), &data);
        }
        tests::write_properties(&properties, &data, address.port(), free_address()?.port(), &extra);
        let mut command = Command::new("java");
        command.args(KAFKA_JVM).args(["-cp", &class_path, "kafka.Kafka"]).arg(&properties);
        let mut command = placed(command, core, cgroup.as_ref());
        let log = File::options().create(true).append(true).open(dir.join("broker.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let child = command.spawn()?;
        let mut broker = Broker { child, address, began, ready_after: Duration::ZERO, cgroup };
        let probe = |client: &mut Client| client.create_topics(&["probe".to_owned()], 1, &[]);
        loop {
            // It accepts connections before it takes part in its own cluster.
            if Client::connect(address).is_ok_and(|mut client| probe(&mut client).is_ok()) {
                break;
            }
            if let Some(status) = broker.child.try_wait()? {
                let log = fs::read_to_string(dir.join("broker.log")).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(20).collect();
                return Err(io::Error::other(format!("Kafka did not start: {status}\n{}", tail.join("\n"))));
            }
            if began.elapsed() > READY_WAIT {
                return Err(io::Error::other("Kafka does not answer"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        broker.ready_after = began.elapsed();
        Ok(broker)
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
        // Kafka ends with what the signal says.
        if !status.success() && status.code() != Some(143) {
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

/// The command on a core and in a group.
fn placed(command: Command, core: Option<usize>, cgroup: Option<&Cgroup>) -> Command {
    // Both end in an `exec`, so that the child's id is the broker's.
    let on_core = match core {
        None => command,
        Some(core) => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &core.to_string()]).arg(command.get_program()).args(command.get_args());
            taskset
        }
    };
    match cgroup {
        Some(cgroup) => cgroup.wrap(&on_core),
        None => on_core,
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
        let path = crate::support::target_dir().join("perf").join(format!("{name}-{}", std::process::id()));
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
