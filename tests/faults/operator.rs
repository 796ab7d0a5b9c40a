//! What an operator sees and does: another broker on a directory, a log that cannot be written, lines and messages.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::broker::{free_port, ottla};
use crate::support::raw::{Client, code};
use crate::support::{TempDir, poll};

/// How long a start or an end may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A broker whose output may go anywhere.
struct Running {
    child: Child,
    address: SocketAddr,
    data: PathBuf,
}

/// The arguments of a broker on this directory.
fn serve(data: &Path, port: u16) -> Vec<String> {
    let dirs = format!("log.dirs={}", data.display());
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
    ["serve", "--set", &dirs, "--set", &listeners].map(str::to_owned).to_vec()
}

impl Running {
    fn start(home: &TempDir, out: Stdio, err: Stdio) -> Running {
        let (data, port) = (home.path().join("data"), free_port());
        let mut command = Command::new(ottla());
        command.args(serve(&data, port)).stdin(Stdio::null()).stdout(out).stderr(err);
        Running::of(command.spawn().expect("start ottla"), data, port)
    }

    fn of(child: Child, data: PathBuf, port: u16) -> Running {
        Running { child, address: SocketAddr::from(([127, 0, 0, 1], port)), data }
    }

    /// A client, once it serves.
    fn client(&mut self) -> Client {
        poll::until("a client is served", LIMIT, || {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "it has ended: {ended:?}");
            Client::open(self.address).ok()
        })
    }

    /// A request that is worth a line of the log; afterwards the broker serves as before.
    fn be_complained_about(&mut self) {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(self.address).expect("connect");
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("send");
            let _ = stream.read_to_end(&mut Vec::new());
        }
        assert!(self.client().api_versions().is_ok());
    }

    /// SIGTERM: it must end cleanly.
    fn stop(mut self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().expect("run kill");
        assert!(sent.success());
        let status = poll::until("the process ends", LIMIT, || self.child.try_wait().expect("wait"));
        assert_eq!(status.code(), Some(0));
        assert!(self.data.join(".kafka_cleanshutdown").exists());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn full() -> Stdio {
    fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full").into()
}

/// A pipe that nobody reads any more.
fn broken() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// The reader of a log's pipe was gone (a collector that was restarted), and one HTTP request of any client ended the broker:
/// the line about it could not be written, which panicked. On a full disk the line about the full disk did, and with both
/// outputs on one no broker started, without a word.
#[test]
fn output_that_cannot_be_written_ends_no_broker() {
    for (what, output) in [("a full disk", full as fn() -> Stdio), ("a pipe without a reader", broken)] {
        for (out, err) in [(output(), Stdio::null()), (Stdio::null(), output()), (output(), output())] {
            let home = TempDir::new("operator-output");
            let mut broker = Running::start(&home, out, err);
            assert_eq!(broker.client().create_topic("t", 1).expect(what), code::NONE);
            broker.be_complained_about();
            broker.stop();
        }
    }
}

/// A reader that ends while the broker runs, after the first lines.
#[test]
fn the_reader_of_the_log_may_end() {
    let home = TempDir::new("operator-reader");
    let mut broker = Running::start(&home, Stdio::null(), Stdio::piped());
    let mut first = String::new();
    let log = broker.child.stderr.take().expect("a pipe");
    BufReader::new(log).read_line(&mut first).expect("a line");
    assert!(!first.is_empty());
    broker.be_complained_about();
    broker.stop();
}

/// A terminal that closes (a connection by ssh that is lost) sends SIGHUP and takes no more lines: the broker panicked at the
/// next one instead of stopping cleanly. The terminal is one of Python's.
#[test]
fn a_terminal_that_closes_is_a_clean_stop() {
    const TERMINAL: &str = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
print('begun', flush=True)
sys.stdin.read()
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
";
    let home = TempDir::new("operator-terminal");
    let (data, port) = (home.path().join("data"), free_port());
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL]).arg(ottla()).args(serve(&data, port));
    command.env("PYTHONUNBUFFERED", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = Running::of(command.spawn().expect("run python3"), data.clone(), port);
    assert_eq!(terminal.client().create_topic("t", 1).expect("create"), code::NONE);
    drop(terminal.child.stdin.take());
    let mut said = String::new();
    let mut out = terminal.child.stdout.take().expect("a pipe");
    out.read_to_string(&mut said).expect("what it says");
    assert_eq!(said.split_whitespace().last(), Some("0"), "{said}");
    assert!(data.join(".kafka_cleanshutdown").exists());
}

/// Commands that print something panicked as well.
#[test]
fn commands_whose_output_cannot_be_written_say_so_or_end() {
    let home = TempDir::new("operator-commands");
    let dirs = format!("log.dirs={}", home.path().join("data").display());
    let run = |args: &[&str], out: Stdio| -> Output {
        let mut command = Command::new(ottla());
        command.args(args).stdout(out).stderr(Stdio::piped());
        command.spawn().expect("start ottla").wait_with_output().expect("wait")
    };
    for args in [&["format", "-g", "--set", &dirs][..], &["tune", "--set", &dirs], &["bench", "--list"]] {
        let got = run(args, full());
        let text = String::from_utf8_lossy(&got.stderr);
        assert_eq!(got.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.starts_with("ottla: standard output: No space left"), "{args:?}: {text}");
        let got = run(args, broken());
        assert!(!String::from_utf8_lossy(&got.stderr).contains("panicked"), "{args:?}: {got:?}");
        let refused = Command::new(ottla()).args(["format", "--set", "a"]).stderr(full()).output();
        assert_eq!(refused.expect("start ottla").status.code(), Some(2));
    }
}

/// A lock as Apache Kafka takes it (Java's `FileChannel.tryLock`, which is fcntl(2)), in another process, until it is dropped.
struct KafkasLock {
    holder: Child,
}

impl KafkasLock {
    /// None if somebody else has it.
    fn take(dir: &Path) -> Option<KafkasLock> {
        const HOLD: &str = "
import fcntl, sys
file = open(sys.argv[1], 'a')
try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(1)
print('taken', flush=True)
sys.stdin.read()
";
        let mut holder = Command::new("python3")
            .args(["-c", HOLD])
            .arg(dir.join(".lock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let lock = KafkasLock { holder };
        (line.trim() == "taken").then_some(lock)
    }
}

impl Drop for KafkasLock {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Ottla and Apache Kafka ran on one directory at the same time, and of 200 acknowledged records some were lost: Ottla took
/// flock(2), Kafka takes fcntl(2), and neither sees the other. Any of several directories, and `ottla format`.
#[test]
fn a_directory_that_apache_kafka_runs_on_is_refused_and_the_other_way_round() {
    let home = TempDir::new("operator-lock");
    let dirs = ["a", "b"].map(|dir| home.path().join(dir));
    let all = format!("log.dirs={},{}", dirs[0].display(), dirs[1].display());
    let run = |args: &[&str]| -> (Option<i32>, String) {
        let got = Command::new(ottla()).args(args).args(["--set", &all]).output().expect("start ottla");
        (got.status.code(), String::from_utf8_lossy(&got.stderr).into_owned())
    };
    for dir in &dirs {
        fs::create_dir_all(dir).unwrap();
        let kafka = KafkasLock::take(dir).expect("it is free");
        for args in [&["format"][..], &["serve", "--set", "listeners=PLAINTEXT://127.0.0.1:0"]] {
            let (code, text) = run(args);
            assert_eq!(code, Some(1), "{args:?}: {text}");
            let named = text.contains(&format!("{} is used by another broker", dir.display()));
            assert!(named && text.contains("Kafka"), "{args:?}: {text}");
            assert!(!dirs.iter().any(|dir| dir.join("meta.properties").exists()), "nothing is formatted");
        }
        drop(kafka);
    }
    assert_eq!(run(&["format"]).0, Some(0));

    let port = free_port();
    let mut command = Command::new(ottla());
    command.args(serve(&dirs[0], port)).args(["--set", &all]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut broker = Running::of(command.spawn().expect("start ottla"), dirs[0].clone(), port);
    broker.client();
    for dir in &dirs {
        // The lock stays when others look at the file.
        assert!(fs::read(dir.join(".lock")).is_ok());
        assert!(KafkasLock::take(dir).is_none(), "{}", dir.display());
    }
    assert_eq!(run(&["format", "--ignore-formatted"]).0, Some(0), "what is formatted already is left alone");
    broker.stop();
    assert!(dirs.iter().all(|dir| KafkasLock::take(dir).is_some()));
}

/// `ottla dump` called every journal damaged, and nothing else shows what is in one that was set aside.
#[test]
fn the_journals_of_a_broker_that_was_killed_can_be_read() {
    use crate::support::records::Batch;

    let home = TempDir::new("operator-journal");
    let mut broker = Running::start(&home, Stdio::null(), Stdio::null());
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 1).expect("create"), code::NONE);
    for _ in 0..5 {
        let batch = Batch::plain(&["x", "y"]).encode();
        assert_eq!(client.produce("t", 0, -1, &batch).expect("produce").0, code::NONE);
    }
    broker.child.kill().expect("kill");
    broker.child.wait().expect("wait");
    let files = fs::read_dir(&broker.data).expect("list").flatten().map(|entry| entry.path());
    let journals = files.filter(|path| path.to_string_lossy().contains("ottla-journal-"));
    let mut command = Command::new(ottla());
    let dumped = command.arg("dump").args(journals).output().expect("run ottla dump");
    let text = String::from_utf8_lossy(&dumped.stdout);
    assert_eq!(dumped.status.code(), Some(0), "{text}");
    let entries: Vec<&str> = text.lines().filter(|line| line.starts_with("kind: append")).collect();
    let of = |line: &&&str| line.contains("partition: 0") && line.contains("records: 2 ");
    assert_eq!(entries.iter().filter(of).count(), 5, "{text}");
    assert!(text.lines().any(|line| line.contains("baseOffset: 0 lastOffset: 9 entries: 5 records: 10 ")));
}
