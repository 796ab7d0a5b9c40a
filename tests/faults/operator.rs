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
    broker.client();
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

/// Messages that named another cause than the real one, or none: a blank meta.properties was "of version 0", a file in UTF-16
/// lacked process.roles, a binary went to the terminal byte by byte, a symbolic link without an end was "a file".
#[test]
fn what_is_wrong_is_named() {
    let home = TempDir::new("operator-messages");
    let at = |name: &str| home.path().join(name);
    let write = |name: &str, bytes: &[u8]| {
        fs::create_dir_all(at(name).parent().expect("a directory")).unwrap();
        fs::write(at(name), bytes).unwrap();
    };
    write("blank/meta.properties", b"");
    write("garbage/meta.properties", b"\x01\x02\xff garbage \x1b[31m");
    write("old/meta.properties", b"version=0\nbroker.id=1\ncluster.id=x\n");
    let utf_16: Vec<u8> = "\u{feff}node.id=1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    write("utf16.properties", &utf_16);
    write("binary.properties", b"\x7fELF\x02\x01\0\0\x1b[2J\0");
    write("id.properties", b"process.roles=broker,controller\nbroker.id=-1\ncontroller.listener.names=C\n");
    std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
    fs::create_dir(at("outer")).unwrap();
    let run = |args: &[String]| -> (Option<i32>, String) {
        let mut command = Command::new(ottla());
        command.arg("serve").args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"]).args(args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start ottla");
        let ended = poll::within(LIMIT, || child.try_wait().expect("wait"));
        let _ = child.kill();
        let mut text = Vec::new();
        child.stderr.take().expect("a pipe").read_to_end(&mut text).expect("read");
        assert!(!text.contains(&0x1b), "a terminal's command");
        (ended.and_then(|status| status.code()), String::from_utf8_lossy(&text).into_owned())
    };
    let dirs = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| at(name).display().to_string()).collect();
        vec!["--set".to_owned(), format!("log.dirs={}", names.join(","))]
    };
    let config = |name: &str| vec!["--config".to_owned(), at(name).display().to_string()];
    let long = "x".repeat(300);
    let table = [
        (dirs(&["blank"]), 3, vec!["version was not found"]),
        (dirs(&["garbage"]), 3, vec!["meta.properties is damaged", "version was not found"]),
        (dirs(&["old"]), 3, vec!["version 0", "Kafka 3.9"]),
        (config("utf16.properties"), 2, vec!["UTF-16", "UTF-8"]),
        (config("binary.properties"), 2, vec!["no text"]),
        (config("id.properties"), 2, vec!["id.properties:2: broker.id"]),
        (dirs(&["link"]), 1, vec!["symbolic link", "nowhere"]),
        (dirs(&["outer", "outer/inner"]), 2, vec!["outer/inner lies in the log directory"]),
        (dirs(&["outer/inner", "outer"]), 2, vec!["outer/inner lies in the log directory"]),
        (dirs(&[&long]), 1, vec!["File name too long", "choose a shorter path"]),
    ];
    for (args, code, words) in table {
        let (got, text) = run(&args);
        assert_eq!(got, Some(code), "{args:?}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{args:?}: {words:?} in {text}");
    }
    assert!(!at("outer/inner").exists(), "nothing is made");
    let (_, text) = run(&dirs(&["old"]));
    assert!(!text.contains("write it anew"), "a cluster with ZooKeeper is not written over: {text}");
}

/// Kafka's images of others call the variables by other names: only some of them had a hint.
#[test]
fn variables_of_other_images_have_a_hint() {
    let home = TempDir::new("operator-variables");
    let log = home.path().join("log");
    let (data, port) = (home.path().join("data"), free_port());
    let mut command = Command::new(ottla());
    command.args(serve(&data, port)).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    for name in
        ["KAFKA_CFG_LISTENERS", "KAFKA_CFG_NODE_ID", "KAFKA_CFG_PROCESS_ROLES", "KAFKA_KRAFT_CLUSTER_ID"]
    {
        command.env(name, "1");
    }
    let mut broker = Running::of(command.spawn().expect("start ottla"), data, port);
    broker.client();
    let text = fs::read_to_string(&log).unwrap();
    for meant in [
        "is listeners meant?",
        "is node.id meant?",
        "is process.roles meant?",
        "is the variable CLUSTER_ID meant?",
    ] {
        assert!(text.contains(meant), "{meant} in {text}");
    }
    broker.stop();
}

/// The log said nothing of topics, configuration and retention, and after a clean stop no line with a time marked a start.
#[test]
fn what_happens_to_topics_is_in_the_log() {
    use crate::support::records::Batch;

    let home = TempDir::new("operator-log");
    let log = home.path().join("log");
    let (data, port) = (home.path().join("data"), free_port());
    let mut command = Command::new(ottla());
    command.args(serve(&data, port)).args(["--set", "log.segment.bytes=1048576"]);
    command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let mut broker = Running::of(command.spawn().expect("start ottla"), data.clone(), port);
    let mut client = broker.client();
    let said = |words: &[&str]| {
        poll::until(&format!("a line with {words:?}"), LIMIT, || {
            let text = fs::read_to_string(&log).expect("the log");
            let found =
                text.lines().any(|line| line.contains(" INFO ") && words.iter().all(|w| line.contains(w)));
            found.then_some(())
        });
    };
    said(&["starts on", "cores", env!("CARGO_PKG_VERSION"), &data.display().to_string()]);
    assert_eq!(client.create_topic("t", 3).expect("create"), code::NONE);
    said(&["topic t is created with 3 partitions"]);
    let large = "x".repeat(900_000);
    for _ in 0..4 {
        let batch = Batch::plain(&[&large]).encode();
        assert_eq!(client.produce("t", 0, -1, &batch).expect("produce").0, code::NONE);
    }
    let deleted = client.delete_records("t", 0, 3).expect("delete records");
    assert_eq!(deleted, Ok(3));
    said(&["/t-0", "segments below the log start are removed", "segments=3"]);
    assert_eq!(client.delete_topic("t").expect("delete"), code::NONE);
    said(&["topic t is deleted"]);
    said(&["all ", "partitions are open"]);
    broker.stop();
}

/// `ottla tune` said "ok io_uring allowed" where a container's profile refuses it, as it only read a sysctl. The profile is one
/// that Python sets for itself.
#[test]
fn tune_finds_what_a_sandbox_forbids() {
    const SANDBOXED: &str = "
import ctypes, os, sys
IO_URING_SETUP, ERRNO_EPERM, ALLOW = 425, 0x00050001, 0x7fff0000
def step(code, jt, jf, k):
    return code.to_bytes(2, 'little') + bytes([jt, jf]) + k.to_bytes(4, 'little')
program = step(0x20, 0, 0, 0) + step(0x15, 0, 1, IO_URING_SETUP) + step(6, 0, 0, ERRNO_EPERM) + step(6, 0, 0, ALLOW)
steps = ctypes.create_string_buffer(program)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
filter = Program(4, ctypes.addressof(steps))
libc = ctypes.CDLL(None)
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
assert libc.prctl(SECCOMP, FILTER, ctypes.byref(filter), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";
    let plain = Command::new(ottla()).arg("tune").output().expect("run ottla tune");
    assert!(String::from_utf8_lossy(&plain.stdout).contains("ok    io_uring"), "{plain:?}");
    let mut command = Command::new("python3");
    let got = command.args(["-c", SANDBOXED]).arg(ottla()).arg("tune").output().expect("run python3");
    let text = String::from_utf8_lossy(&got.stdout);
    assert!(text.contains("FAIL  io_uring") && text.contains("seccomp"), "{text} {got:?}");
    assert_eq!(got.status.code(), Some(1));
}

/// An IPv6 address in the ready line, and in the command that it proposes, stood without brackets, and no client took it.
#[test]
fn an_ipv6_address_stands_in_brackets() {
    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let home = TempDir::new("operator-ipv6");
    let (data, port) = (home.path().join("data"), free_port());
    let mut command = Command::new(ottla());
    command.args(serve(&data, port)).args(["--set", &format!("listeners=PLAINTEXT://[::1]:{port}")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start ottla");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let broker = Running::of(child, data, port);
    let address = format!("[::1]:{port}");
    assert!(line.contains(&format!("ready on {address} ")), "{line}");
    assert!(line.contains(&format!("kcat -b {address} -L")), "{line}");
    broker.stop();
}

/// Eight TLS handshakes used up the lines about closed connections, so that nothing was said of an HTTP request and of garbage in
/// the same minute; and the line about TLS proposed a listener that this version refuses.
#[test]
fn each_cause_of_a_closed_connection_is_named() {
    let home = TempDir::new("operator-causes");
    let log = home.path().join("log");
    let err = fs::File::create(&log).unwrap();
    let mut broker = Running::start(&home, Stdio::null(), err.into());
    broker.client();
    let send = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(broker.address).expect("connect");
        stream.write_all(bytes).expect("send");
        let _ = stream.read_to_end(&mut Vec::new());
    };
    for _ in 0..8 {
        send(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    }
    send(b"GET / HTTP/1.0\r\n\r\n");
    send(&[0xff; 8]);
    send(&[0x7f; 8]);
    broker.stop();
    let text = fs::read_to_string(&log).unwrap();
    for words in ["a TLS handshake", "an HTTP request", "not the Kafka protocol", "socket.request.max.bytes"]
    {
        assert!(
            text.lines().any(|line| line.contains("connection closed") && line.contains(words)),
            "{words} in {text}"
        );
    }
    assert!(text.contains("PLAINTEXT only") && !text.contains("SSL listener"), "{text}");
    let counted =
        text.lines().find(|line| line.contains("3 more lines like this")).unwrap_or_else(|| panic!("{text}"));
    assert!(counted.contains("a TLS handshake; the last: 127.0.0.1:"), "{counted}");
}

/// "Restore the directory from a copy, or format a new one" did not say that the latter loses every topic.
#[test]
fn what_a_new_directory_would_lose_is_said() {
    let home = TempDir::new("operator-metadata");
    let mut broker = Running::start(&home, Stdio::null(), Stdio::null());
    assert_eq!(broker.client().create_topic("t", 1).expect("create"), code::NONE);
    let data = broker.data.clone();
    broker.stop();
    let path = data.join("__cluster_metadata-0").join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 4;
    fs::write(&path, bytes).unwrap();
    let got = Command::new(ottla()).args(serve(&data, free_port())).output().expect("start ottla");
    let text = String::from_utf8_lossy(&got.stderr);
    assert_eq!(got.status.code(), Some(3), "{text}");
    assert!(text.contains("from a copy") && text.contains("every topic is lost"), "{text}");
}
