//! A broker as a child process: Ottla, or Apache Kafka to check the tests themselves and to compare with.

use super::{TempDir, poll, target_dir, toolchain};
use ottla::bench::process::status_bytes;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// How long a broker may take to become ready on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How long a broker may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// Which broker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The broker built here.
    Ottla,
    /// Apache Kafka 4.3.1, one node, KRaft.
    Apache,
}

impl Kind {
    /// The broker under test: Ottla unless `OTTLA_TEST_BROKER=apache`.
    pub fn under_test() -> Kind {
        match std::env::var("OTTLA_TEST_BROKER").as_deref() {
            Ok("apache") => Kind::Apache,
            Ok(other) if other != "ottla" => panic!("OTTLA_TEST_BROKER is ottla or apache, not {other}"),
            _ => Kind::Ottla,
        }
    }
}

/// The binary under test: the one built here unless `OTTLA_TEST_BINARY` names another, such as that of an older commit, on
/// which a regression test has to fail.
pub fn ottla() -> PathBuf {
    std::env::var_os("OTTLA_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_ottla").into(), PathBuf::from)
}

/// The settings every test broker gets, under Kafka's own names.
const PROPERTIES: &[(&str, &str)] = &[
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    // The records of the tests have fixed timestamps of long ago, which retention must not see.
    ("log.retention.ms", "-1"),
    ("log.initial.task.delay.ms", "0"),
];

/// A running (or killed) broker with its data directory and port; killed on drop.
pub struct Broker {
    kind: Kind,
    directory: TempDir,
    port: u16,
    properties: Vec<(String, String)>,
    child: Option<Child>,
}

impl Broker {
    /// Starts the broker under test with extra `properties` and waits until it serves.
    pub fn start(name: &str, properties: &[(&str, &str)]) -> Broker {
        Broker::start_kind(Kind::under_test(), name, properties)
    }

    /// Starts a broker of the given kind.
    pub fn start_kind(kind: Kind, name: &str, properties: &[(&str, &str)]) -> Broker {
        let own = PROPERTIES.iter().filter(|(key, _)| !properties.iter().any(|(other, _)| other == key));
        let properties = own.chain(properties).map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        let mut broker =
            Broker { kind, directory: TempDir::new(name), port: free_port(), properties, child: None };
        broker.restart();
        broker
    }

    /// Starts it again on the same directory and port; it must not be running.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the broker is still running");
        match self.kind {
            Kind::Ottla => self.spawn_ottla(),
            Kind::Apache => self.spawn_apache(),
        }
    }

    /// Changes a property for the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.properties.retain(|(other, _)| other != key);
        self.properties.push((key.to_owned(), value.to_owned()));
    }

    /// Starts it again and kills it as soon as it has read and written so many times, at the latest when it is ready.
    pub fn restart_and_kill9(&mut self, calls: u64) {
        assert!(self.child.is_none(), "the broker is still running");
        let lines = self.begin_ottla();
        let counted = format!("/proc/{}/io", self.pid());
        let number = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        let _ = poll::within_busily(READY_LIMIT, || {
            let text = std::fs::read_to_string(&counted).unwrap_or_default();
            let enough = number(&text, "syscr:") + number(&text, "syscw:") >= calls;
            (enough || !matches!(lines.try_recv(), Err(mpsc::TryRecvError::Empty))).then_some(())
        });
        self.kill9();
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address for raw connections.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the broker is running").id()
    }

    /// Which broker it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its data directory (`log.dirs`).
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("connect to the broker");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set the read timeout");
        stream.set_nodelay(true).expect("set nodelay");
        stream
    }

    /// Resident memory in bytes, from `/proc/<pid>/status`.
    pub fn resident_bytes(&self) -> u64 {
        status_bytes(self.pid(), "VmRSS").expect("a VmRSS line")
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("wait").is_none())
    }

    /// Kills it as `kill -9` does and waits for its end.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the broker is running");
        child.kill().expect("kill -9");
        child.wait().expect("wait for the killed broker");
    }

    /// Sends SIGTERM and waits for its end. Ottla must exit 0; Apache Kafka ends with 143.
    pub fn stop(&mut self) -> ExitStatus {
        self.stop_with(0)
    }

    /// As [`Broker::stop`], with another exit code of Ottla.
    pub fn stop_with(&mut self, code: i32) -> ExitStatus {
        let mut child = self.child.take().expect("the broker is running");
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("run kill");
        assert!(sent.success(), "kill -TERM {id}: {sent}");
        let ended = poll::within(STOP_LIMIT, || child.try_wait().expect("wait"));
        let Some(status) = ended else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the broker did not end within {STOP_LIMIT:?} after SIGTERM\n{}", self.log_tail());
        };
        let wanted = match self.kind {
            Kind::Ottla => status.code() == Some(code),
            Kind::Apache => status.code() == Some(143) || status.signal() == Some(15),
        };
        assert!(wanted, "exit after SIGTERM: {status}\n{}", self.log_tail());
        status
    }

    /// The last lines the broker wrote, for messages of failed tests.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.directory.path().join("broker.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// What was said from when the start before was ready until the last one was.
    pub fn last_start(&self) -> String {
        let tail = self.log_tail();
        let ready: Vec<usize> = tail.match_indices("stdout: ").map(|(at, _)| at).collect();
        let from = ready.len().checked_sub(2).map_or(0, |before| ready[before]);
        tail[from..].to_owned()
    }

    fn log_file(&self) -> File {
        let path = self.directory.path().join("broker.log");
        File::options().create(true).append(true).open(path).expect("open broker.log")
    }

    /// Starts Ottla where it must refuse: its exit code and what it wrote.
    pub fn restart_refused(&mut self) -> (Option<i32>, String) {
        assert!(self.child.is_none(), "the broker is still running");
        let out = self.directory.path().join("refused.log");
        let file = File::create(&out).expect("create a log");
        let mut command = self.ottla_command();
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("clone")).stderr(file);
        let mut child = command.spawn().expect("start ottla");
        let ended = poll::within(READY_LIMIT, || child.try_wait().expect("wait"));
        if ended.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = std::fs::read_to_string(&out).expect("read the log");
        (ended.unwrap_or_else(|| panic!("it does not refuse:\n{text}")).code(), text)
    }

    fn ottla_command(&self) -> Command {
        let mut command = Command::new(ottla());
        command.arg("serve").current_dir(self.directory.path());
        command.arg("--set").arg(format!("log.dirs={}", self.data_dir().display()));
        command.arg("--set").arg(format!("listeners=PLAINTEXT://127.0.0.1:{}", self.port));
        for (key, value) in &self.properties {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command
    }

    /// Starts Ottla; gives the lines of its standard output as they come.
    fn begin_ottla(&mut self) -> mpsc::Receiver<String> {
        let mut child = self
            .ottla_command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log_file())
            .spawn()
            .expect("start ottla");
        let stdout = child.stdout.take().expect("a piped stdout");
        self.child = Some(child);
        let (sender, lines) = mpsc::channel();
        let mut log = self.log_file();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = writeln!(log, "stdout: {line}");
                let _ = sender.send(line);
            }
        });
        lines
    }

    fn spawn_ottla(&mut self) {
        let lines = self.begin_ottla();
        match lines.recv_timeout(READY_LIMIT) {
            Ok(line) => assert!(
                line.contains(&self.port.to_string()),
                "the ready line names the address, port {}: {line:?}",
                self.port
            ),
            Err(error) => {
                let state = self.child.as_mut().map(Child::try_wait);
                panic!("ottla serve is not ready ({error}); process: {state:?}\n{}", self.log_tail());
            }
        }
    }

    fn spawn_apache(&mut self) {
        let classpath = toolchain::kafka_classpath().expect("Apache Kafka's jars");
        let controller_port = free_port();
        let properties = self.directory.path().join("server.properties");
        write_properties(&properties, &self.data_dir(), self.port, controller_port, &self.properties);
        if !self.data_dir().exists() {
            copy_tree(&apache_template(&classpath), &self.data_dir());
        }
        let mut command = java(&classpath);
        let archive = target_dir().join(format!("kafka-{}", toolchain::KAFKA_VERSION)).join("classes.jsa");
        if archive.exists() {
            command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        command.args(["-Xmx768m", "kafka.Kafka"]).arg(&properties);
        command.stdin(Stdio::null()).stdout(self.log_file()).stderr(self.log_file());
        self.child = Some(command.spawn().expect("start Apache Kafka"));
        let address = self.address();
        let ready = poll::within(READY_LIMIT, || {
            if !self.is_running() {
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        });
        assert!(ready == Some(true), "Apache Kafka is not ready\n{}", self.log_tail());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the broker's last lines\n{}", self.log_tail());
        }
    }
}

/// A port nobody listens on, below the ephemeral range so that no outgoing connection takes it meanwhile.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = (std::process::id() % 250) as u16 * 40;
    for _ in 0..1000 {
        let port = 20_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 32000");
}

/// `java` with the flags that start a JVM quickly.
pub fn java(classpath: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", classpath]);
    command
}

/// The configuration of a broker that is its own controller.
pub fn write_properties(
    file: &Path,
    data: &Path,
    port: u16,
    controller_port: u16,
    extra: &[(String, String)],
) {
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=0\n\
         controller.quorum.voters=0@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\n",
        data.display()
    );
    for (key, value) in extra {
        text.extend([key, "=", value, "\n"]);
    }
    std::fs::write(file, text).expect("write server.properties");
}

/// A formatted, never started data directory and (beside it) a class-data archive: made once, copied for each start.
pub fn apache_template(classpath: &str) -> PathBuf {
    let home = target_dir().join(format!("kafka-{}", toolchain::KAFKA_VERSION));
    let template = home.join("template");
    toolchain::once(&template, |partial| {
        let properties = partial.join("server.properties");
        let data = partial.join("data");
        write_properties(&properties, &data, free_port(), free_port(), &[]);
        let mut format = java(classpath);
        format
            .args(["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
            .arg(&properties);
        toolchain::run("StorageTool format", &mut format);
        archive_classes(classpath, partial, &home.join("classes.jsa"));
    });
    template.join("data")
}

/// One start and stop of the broker that leaves an archive of its loaded classes: later starts take half the time.
fn archive_classes(classpath: &str, template: &Path, archive: &Path) {
    let scratch = template.join("archive");
    let port = free_port();
    std::fs::create_dir_all(&scratch).expect("create the scratch directory");
    copy_tree(&template.join("data"), &scratch.join("data"));
    let properties = scratch.join("server.properties");
    write_properties(&properties, &scratch.join("data"), port, free_port(), &[]);
    let log = File::create(scratch.join("log")).expect("create a log");
    let mut command = java(classpath);
    command
        .arg(format!("-XX:ArchiveClassesAtExit={}", archive.display()))
        .arg("kafka.Kafka")
        .arg(&properties);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("clone"))
        .stderr(log)
        .spawn()
        .expect("start Apache Kafka");
    let _ = poll::within(READY_LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    if poll::within(STOP_LIMIT, || child.try_wait().expect("wait")).is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let _ = std::fs::remove_dir_all(&scratch);
}

/// Copies a directory and all in it.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create a directory");
    for entry in std::fs::read_dir(from).expect("read a directory") {
        let entry = entry.expect("read an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a file type").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy a file");
        }
    }
}
