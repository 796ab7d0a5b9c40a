//! Starts that must be refused, signals, and messages: what an operator does wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::space::SmallVolume;
use crate::support::broker::{copy_tree, ottla};
use crate::support::raw::{Client, code};
use crate::support::records::Batch;
use crate::support::{TempDir, poll};

/// How long a start or an end may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A process that was started, and what it has written.
struct Process {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Process {
    fn client(&self) -> Client {
        Client::open(self.address).expect("connect")
    }

    fn signal(&self, signal: &str) {
        let sent =
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("run kill");
        assert!(sent.success(), "kill {signal}: {sent}");
    }

    /// The exit code; none if a signal ended it.
    fn end(mut self) -> (Option<i32>, String) {
        let status = poll::until("the process ends", LIMIT, || self.child.try_wait().expect("wait"));
        (status.code(), fs::read_to_string(&self.log).unwrap_or_default())
    }

    fn stop(self) {
        self.signal("-TERM");
        let (code, text) = self.end();
        assert_eq!(code, Some(0), "{text}");
    }

    fn kill(self) {
        self.signal("-KILL");
        self.end();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a start.
enum Start {
    Ready(Process),
    /// With this exit code and output.
    Refused(Option<i32>, String),
}

impl Start {
    #[track_caller]
    fn ready(self) -> Process {
        match self {
            Start::Ready(process) => process,
            Start::Refused(code, text) => panic!("ended with {code:?}: {text}"),
        }
    }

    /// What it said; it must have ended with this code.
    #[track_caller]
    fn refused(self, code: i32) -> String {
        match self {
            Start::Ready(_) => panic!("it serves"),
            Start::Refused(got, text) => {
                assert_eq!(got, Some(code), "{text}");
                text
            }
        }
    }
}

/// Runs `ottla serve` with these arguments, until it is ready or has ended.
fn serve(home: &Path, args: &[String]) -> Start {
    run(home, Command::new(ottla()), args)
}

/// Runs `ottla serve` by a command that starts what it is given, on a directory.
fn serve_by(mut command: Command, home: &Path, dir: &Path) -> Start {
    command.arg(ottla());
    run(home, command, &on(&[dir], &[]))
}

fn run(home: &Path, mut command: Command, args: &[String]) -> Start {
    let log = home.join("log");
    let file = fs::File::create(&log).expect("create the log");
    command.arg("serve").args(args).current_dir(home);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().expect("start ottla");
    let stdout = child.stdout.take().expect("a piped stdout");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut process = Process { child, address, log };
    if let Ok(line) = lines.recv_timeout(LIMIT) {
        let after = line.split(" ready on ").nth(1).unwrap_or_else(|| panic!("{line}"));
        let first = after.split([',', ' ']).next().unwrap_or_default();
        process.address = first.replace("localhost", "127.0.0.1").parse().unwrap_or(address);
        Start::Ready(process)
    } else {
        let (code, text) = process.end();
        Start::Refused(code, text)
    }
}

/// The arguments of a start on these directories and any free port.
fn on(dirs: &[&Path], more: &[&str]) -> Vec<String> {
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let sets = ["listeners=PLAINTEXT://127.0.0.1:0", "group.initial.rebalance.delay.ms=0"];
    let dirs = format!("log.dirs={}", dirs.join(","));
    let sets = sets.iter().chain(more).map(|set| (*set).to_owned()).chain([dirs]);
    sets.flat_map(|set| ["--set".to_owned(), set]).collect()
}

fn serve_on(home: &Path, dirs: &[&Path], more: &[&str]) -> Start {
    serve(home, &on(dirs, more))
}

/// Every path below a directory, and the length of each file; not the locks, which every start opens.
fn tree(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).expect("list").flatten() {
            let metadata = entry.metadata().expect("metadata");
            if metadata.is_dir() {
                left.push(entry.path());
            }
            all.insert(entry.path(), if metadata.is_dir() { 0 } else { metadata.len() });
        }
    }
    all
}

const PARTITIONS: i32 = 6;

/// A broker that ran on three directories, with a record in each partition, and was killed or stopped.
struct Ran {
    home: TempDir,
    dirs: [PathBuf; 3],
}

impl Ran {
    fn new(name: &str, clean: bool) -> Ran {
        let home = TempDir::new(name);
        let dirs = ["a", "b", "c"].map(|dir| home.path().join("data").join(dir));
        let ran = Ran { home, dirs };
        let broker = ran.start(&[0, 1, 2], &[]).ready();
        let mut client = broker.client();
        assert_eq!(client.create_topic("t", PARTITIONS).expect("create"), code::NONE);
        for partition in 0..PARTITIONS {
            let batch = Batch::plain(&["x"]).encode();
            let stored = poll::within(LIMIT, || {
                let got = client.produce("t", partition, -1, &batch).expect("produce");
                (got.0 == code::NONE).then_some(got)
            });
            assert!(stored.is_some());
        }
        for dir in &ran.dirs {
            let partitions = tree(dir).into_keys().filter(|path| path.to_string_lossy().contains("/t-"));
            assert!(partitions.count() > 0, "{} holds something", dir.display());
        }
        if clean {
            broker.stop();
        } else {
            broker.kill();
        }
        ran
    }

    fn start(&self, order: &[usize], more: &[&str]) -> Start {
        let dirs: Vec<&Path> = order.iter().map(|index| &*self.dirs[*index]).collect();
        serve_on(self.home.path(), &dirs, more)
    }

    /// Starts it as it was, and looks for every record.
    fn check_whole(&self) {
        let broker = self.start(&[0, 1, 2], &[]).ready();
        check_records(&broker);
        let strays = tree(&self.home.path().join("data")).into_keys().filter(|p| p.ends_with("-stray"));
        assert_eq!(strays.count(), 0);
        broker.stop();
    }
}

fn check_records(broker: &Process) {
    let mut client = broker.client();
    for partition in 0..PARTITIONS {
        let end = client.list_offset("t", partition, -1).expect("list offsets");
        assert_eq!(end, Ok(1), "partition {partition}");
    }
}

/// `log.dirs` in another order, one of them empty (not mounted), a stale copy of a partition in two of them, the first one
/// empty or left out: an empty or older cluster started, partitions became `-stray` or began again at offset 0, and putting
/// the directories back did not bring all of it back. Apache Kafka refuses all of them. Here after a kill and after a
/// clean stop, with the tree compared before and after.
#[test]
fn directories_that_do_not_fit_are_refused_and_nothing_is_touched() {
    for clean in [true, false] {
        let ran = Ran::new("boot-dirs", clean);
        let [a, b, c] = &ran.dirs;
        let away = ran.home.path().join("away");
        // The metadata log is opened as at any start before anybody can know of a directory that is left out.
        let look = |what: &str| {
            let mut all = tree(&ran.home.path().join("data"));
            all.retain(|path, _| {
                what != "another left out" || !path.starts_with(a.join("__cluster_metadata-0"))
            });
            all
        };
        let refused = |what: &str, order: &[usize], names: &[&Path]| {
            let before = look(what);
            for attempt in 0..2 {
                let text = ran.start(order, &[]).refused(3);
                for name in names {
                    assert!(text.contains(&name.display().to_string()), "{what}: {name:?} in {text}");
                }
                assert_eq!(look(what), before, "{what}, attempt {attempt}: {text}");
            }
        };
        refused("another order", &[2, 0, 1], &[a, c]);
        refused("the first left out", &[1, 2], &[b]);
        refused("another left out", &[0, 2], &[]);
        for (what, dir) in [("not mounted", b), ("the first not mounted", a)] {
            fs::rename(dir, &away).unwrap();
            fs::create_dir(dir).unwrap();
            refused(what, &[0, 1, 2], &[dir]);
            fs::remove_dir(dir).unwrap();
            refused("not there", &[0, 1, 2], &[dir]);
            fs::rename(&away, dir).unwrap();
        }
        let partition = fs::read_dir(c).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
        let partition = partition.filter(|name| name.starts_with("t-")).min().unwrap();
        copy_tree(&c.join(&partition), &a.join(&partition));
        refused("a stale copy", &[0, 1, 2], &[a, c]);
        fs::remove_dir_all(a.join(&partition)).unwrap();
        ran.check_whole();
    }
}

/// The ways that the messages name: another order with `metadata.log.dir`, a directory that was added, and one that is
/// lost for good.
#[test]
fn the_remedies_for_directories_work() {
    let ran = Ran::new("boot-remedies", false);
    let home = format!("metadata.log.dir={}", ran.dirs[0].display());
    let broker = ran.start(&[2, 0, 1], &[&home]).ready();
    check_records(&broker);
    broker.stop();

    let added = ran.home.path().join("data").join("added");
    let all: Vec<&Path> = ran.dirs.iter().chain([&added]).map(PathBuf::as_path).collect();
    let text = serve_on(ran.home.path(), &all, &[]).refused(3);
    let at = text.find("ottla format ").unwrap_or_else(|| panic!("no call in {text}"));
    let words: Vec<&str> = text[at..].lines().next().unwrap_or_default().split_whitespace().skip(1).collect();
    let formatted = Command::new(ottla()).args(&words).output().expect("run ottla format");
    assert!(formatted.status.success(), "{formatted:?}");
    let broker = serve_on(ran.home.path(), &all, &[]).ready();
    check_records(&broker);
    broker.stop();

    // The third is lost, with what was in it.
    fs::remove_dir_all(&ran.dirs[2]).unwrap();
    let two: Vec<&Path> = [&ran.dirs[0], &ran.dirs[1], &added].map(PathBuf::as_path).to_vec();
    let text = serve_on(ran.home.path(), &two, &[]).refused(3);
    let id = text.split("--directory-id ").nth(1).and_then(|rest| rest.split(['`', ' ']).next());
    let id = id.unwrap_or_else(|| panic!("no id in {text}"));
    let mut format = Command::new(ottla());
    format.args(["format", "--ignore-formatted", "--directory-id", id]).args(on(&all, &[]));
    assert!(format.status().expect("run ottla format").success());
    let broker = serve_on(ran.home.path(), &all, &[]).ready();
    let mut client = broker.client();
    let ends = (0..PARTITIONS).map(|p| client.list_offset("t", p, -1).expect("list offsets"));
    let ends: Vec<Result<i64, i16>> = ends.collect();
    assert!(ends.contains(&Ok(0)) && ends.contains(&Ok(1)), "{ends:?}");
    broker.stop();
}

/// Files in the wild set an authorizer, policies or a principal builder; they were ignored with a warning, and everybody was
/// served. A key whose ignoring allows more than the operator meant is refused, with its name, why, and what to do.
#[test]
fn what_must_not_be_ignored_is_refused() {
    let home = TempDir::new("boot-refused");
    let dir = home.path().join("data");
    let table = [
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "create.topic.policy.class.name=org.example.Policy",
        "alter.config.policy.class.name=org.example.Policy",
        "principal.builder.class=org.example.Builder",
        "listener.name.plaintext.principal.builder.class=org.example.Builder",
        "client.quota.callback.class=org.example.Quota",
        "security.inter.broker.protocol=SSL",
        "max.connection.creation.rate=5",
        "listener.name.plaintext.max.connections=5",
        "metric.reporters=org.example.Reporter",
    ];
    for set in table {
        let text = serve_on(home.path(), &[&dir], &[set]).refused(2);
        let (key, value) = set.split_once('=').expect("a pair");
        assert!(text.contains(key) && text.contains(value) && text.contains("remove the key"), "{text}");
        assert!(!dir.exists(), "{set}: nothing is made");
    }
    let harmless =
        ["authorizer.class.name=", "metric.reporters=", "super.users=User:admin", "num.io.threads=3"];
    serve_on(home.path(), &[&dir], &harmless).ready().stop();
}

/// SIGHUP (a terminal that closes) ended the process as a kill does; a second SIGTERM within milliseconds, as `timeout` sends
/// it, ended it at once without a line, and so did a second Ctrl-C.
#[test]
fn signals_stop_the_broker_cleanly() {
    for signals in
        [&["-HUP"][..], &["-TERM", "-TERM", "-TERM"], &["-INT", "-INT"], &["-HUP", "-TERM", "-INT"]]
    {
        let home = TempDir::new("boot-signals");
        let dir = home.path().join("data");
        // Whatever this process ignores (`nohup`), the broker must not inherit.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT,TERM");
        let broker = serve_by(command, home.path(), &dir).ready();
        for signal in signals {
            broker.signal(signal);
        }
        let (code, text) = broker.end();
        assert_eq!(code, Some(0), "{signals:?}: {text}");
        assert!(text.contains("stopped") && dir.join(".kafka_cleanshutdown").exists(), "{signals:?}: {text}");
    }
}

/// `nohup` ignores SIGHUP for what it starts, and a shell SIGINT for what it runs behind (`&`): the handler took it all the
/// same, and Ctrl-C for another command of a script ended the broker.
#[test]
fn a_signal_that_was_ignored_stays_so() {
    let home = TempDir::new("boot-nohup");
    let dir = home.path().join("data");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"]);
    let mut broker = serve_by(command, home.path(), &dir).ready();
    broker.signal("-HUP");
    broker.signal("-INT");
    let mut client = broker.client();
    for topic in ["t", "u"] {
        assert_eq!(client.create_topic(topic, 1).expect("it still serves"), code::NONE);
    }
    let text = fs::read_to_string(&broker.log).expect("the log");
    assert!(!text.contains("stopping"), "{text}");
    assert!(broker.child.try_wait().expect("wait").is_none());
    broker.stop();
}

/// The soft limit of open files, often 1024, was left as it was.
#[test]
fn the_limit_of_open_files_is_raised() {
    let home = TempDir::new("boot-nofile");
    let dir = home.path().join("data");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 256; ulimit -Hn 5000; exec \"$@\"", "sh"]);
    let broker = serve_by(command, home.path(), &dir).ready();
    let limits = fs::read_to_string(format!("/proc/{}/limits", broker.child.id())).expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    assert_eq!(line.split_whitespace().nth(3), Some("5000"), "{line}");
    let text = fs::read_to_string(&broker.log).expect("the log");
    assert!(text.contains("LimitNOFILE") && text.contains("5000"), "{text}");
    broker.stop();
}

/// A configured CONTROLLER listener was never opened, without a word, and tools with --bootstrap-controller hung.
#[test]
fn the_controller_listener_offers_what_a_controller_does() {
    use ottla::wire::codec::{decode, encode};
    use ottla::wire::messages::describe_cluster_request::DescribeClusterRequest;
    use ottla::wire::messages::describe_cluster_response::DescribeClusterResponse;

    let home = TempDir::new("boot-controller");
    let dir = home.path().join("data");
    let sets = [
        "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
        "controller.listener.names=CONTROLLER",
    ];
    let broker = serve_on(home.path(), &[&dir], &sets).ready();
    let text = fs::read_to_string(&broker.log).expect("the log");
    let port = text.split("CONTROLLER://127.0.0.1:").nth(1).and_then(|t| t.split_whitespace().next());
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {text}"));
    let mut client = Client::open(SocketAddr::from(([127, 0, 0, 1], port))).expect("connect");
    let mut describe = |endpoint_type: i8| -> (i16, i8, Vec<i32>) {
        let asked = DescribeClusterRequest { endpoint_type, ..Default::default() };
        // The empty tagged fields of the header stand before the body, and before the answer.
        let body = [vec![0], encode(&asked, 1).expect("encode")].concat();
        let answer = client.call(60, 1, &body).expect("DescribeCluster");
        let got: DescribeClusterResponse<'_> = decode(&answer[1..], 1).expect("decode");
        (got.error_code, got.endpoint_type, got.brokers.iter().map(|b| b.port).collect())
    };
    assert_eq!(describe(2), (0, 2, vec![i32::from(port)]));
    assert_eq!(describe(1).0, 114, "MISMATCHED_ENDPOINT_TYPE");
    let keys: Vec<i16> = client.api_versions().expect("ApiVersions").iter().map(|api| api.0).collect();
    assert!(keys.contains(&55) && !keys.contains(&0) && !keys.contains(&1) && !keys.contains(&3), "{keys:?}");
    assert!(client.create_topic("t", 1).is_ok(), "a controller makes topics");
    assert!(client.produce("t", 0, -1, &Batch::plain(&["x"]).encode()).is_err(), "and takes no records");
    broker.stop();
}

/// max.connections was accepted and did nothing; so did every other dynamic key that nothing reads.
#[test]
fn a_dynamic_change_takes_effect_or_is_refused() {
    use ottla::bench::Client as Typed;
    use ottla::wire::messages::incremental_alter_configs_request::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    };
    use ottla::wire::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;

    let home = TempDir::new("boot-dynamic");
    let dir = home.path().join("data");
    let broker = serve_on(home.path(), &[&dir], &[]).ready();
    let mut client = Typed::connect(broker.address).expect("connect");
    let mut alter = |name: &str, value: &str| -> i16 {
        let config = AlterableConfig { name, config_operation: 0, value: Some(value) };
        let resource = AlterConfigsResource { resource_type: 4, resource_name: "", configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let reply: IncrementalAlterConfigsResponse<'_> = client.call(&request, 1).expect("alter");
        reply.responses[0].error_code
    };
    for (name, value) in [
        ("log.cleaner.backoff.ms", "5"),
        ("max.connection.creation.rate", "5"),
        ("listener.name.plaintext.max.connections", "5"),
        ("remote.fetch.max.wait.ms", "5"),
    ] {
        assert_eq!(alter(name, value), 42, "{name}: INVALID_REQUEST");
    }
    assert_eq!(alter("num.io.threads", "5"), 0, "there are no such threads");
    assert_eq!(alter("max.connections", "2"), 0);
    let held: Vec<Client> = poll::until("connections are refused", LIMIT, || {
        let open = (0..4).filter_map(|_| Client::open(broker.address).ok());
        let mut open: Vec<Client> = open.collect();
        open.retain_mut(|client| client.api_versions().is_ok());
        (open.len() <= 1).then_some(open)
    });
    drop(held);
    broker.stop();
}

/// Messages of the first hour: each names the place and what helps, and ends with the right code.
#[test]
fn messages_name_the_place_and_the_remedy() {
    let home = TempDir::new("boot-messages");
    let dir = home.path().join("data");
    let file = home.path().join("server.properties");
    let with_file = |text: &str| {
        fs::write(&file, text).expect("write the file");
        let config = ["--config", "server.properties"].map(str::to_owned);
        serve(home.path(), &[&config, &*on(&[&dir], &[])].concat())
    };
    let text = with_file("node.id=1\n").refused(2);
    assert!(text.contains("process.roles=broker,controller"), "{text}");
    let text = with_file("process.roles=broker,controller\n=x\n").refused(2);
    assert!(text.contains("server.properties:2: there is no key"), "{text}");
    let text = with_file("process.roles=broker,controller\nnum.partitions=x\n").refused(2);
    assert!(text.contains("server.properties:2: Invalid value x"), "{text}");
    let broker = with_file("\u{feff}process.roles=broker,controller\nnum.partition=3\n").ready();
    let text = fs::read_to_string(&broker.log).expect("the log");
    assert!(
        text.contains("server.properties:2: unknown configuration key num.partition")
            && text.contains("is num.partitions meant?"),
        "{text}"
    );
    broker.stop();
    let one = |set: &str| serve_on(home.path(), &[&dir], &[set]);
    let text = one("listeners=PLAINTEXT://0.0.0.0:9092").refused(2);
    assert!(text.contains("set advertised.listeners=PLAINTEXT://HOST:9092"), "{text}");
    let text = one("listeners=PLAINTEXT://localhost:99999").refused(2);
    assert!(text.contains("a number from 0 to 65535"), "{text}");
    let not_a_dir = home.path().join("file");
    fs::write(&not_a_dir, "x").expect("write");
    let text = serve_on(home.path(), &[&not_a_dir], &[]).refused(1);
    assert!(text.contains("choose a directory with --set log.dirs=DIR"), "{text}");
    fs::write(dir.join("meta.properties"), [0xff, 0xfe, 0, 1]).expect("damage it");
    let text = serve_on(home.path(), &[&dir], &[]).refused(3);
    assert!(text.contains("meta.properties is damaged") && text.contains("restore it"), "{text}");
}

/// A signal left the topics of a bench behind; `--pid` of nobody and `--seconds 0` were accepted.
#[test]
fn a_bench_cleans_up_and_refuses_what_makes_no_sense() {
    use ottla::bench::Client as Typed;
    use ottla::wire::messages::metadata_request::MetadataRequest;
    use ottla::wire::messages::metadata_response::MetadataResponse;

    let home = TempDir::new("boot-bench");
    let dir = home.path().join("data");
    let broker = serve_on(home.path(), &[&dir], &[]).ready();
    let against = broker.address.to_string();
    for (args, why) in [
        (["--seconds", "0"], "--seconds 0"),
        (["--pid", "4194303"], "no such process"),
        (["--scenario", "nothing"], "--list"),
        (["--against", "127.0.0.1:1"], "is a broker running there"),
    ] {
        let mut command = Command::new(ottla());
        command.arg("bench");
        if args[0] != "--against" {
            command.args(["--against", &against]);
        }
        let got = command.args(args).output().expect("run");
        let text = String::from_utf8_lossy(&got.stderr).into_owned();
        let code = if args[0] == "--against" { 1 } else { 2 };
        assert!(
            got.status.code() == Some(code) && text.contains(why) && text.lines().count() < 3,
            "{args:?}: {text}"
        );
    }
    let mut client = Typed::connect(broker.address).expect("connect");
    let mut topics = || -> usize {
        let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let reply: MetadataResponse<'_> = client.call(&all, 9).expect("metadata");
        reply.topics.iter().filter(|t| t.name.is_some_and(|name| name.starts_with("ottla-bench"))).count()
    };
    let mut command = Command::new(ottla());
    command
        .args(["bench", "--against", &against, "--seconds", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let log = home.path().join("bench");
    let bench = Process { child: command.spawn().expect("start the bench"), address: broker.address, log };
    poll::until("the bench has topics", LIMIT, || (topics() > 0).then_some(()));
    bench.signal("-INT");
    assert_eq!(bench.end().0, Some(130));
    assert_eq!(topics(), 0);
    broker.stop();
}

/// Features behind which nothing was built were advertised as finalized: clients that were told of them waited for ever.
#[test]
fn features_without_anything_behind_them_are_not_advertised() {
    use ottla::wire::codec::{decode, encode};
    use ottla::wire::messages::api_versions_request::ApiVersionsRequest;
    use ottla::wire::messages::api_versions_response::ApiVersionsResponse;

    let home = TempDir::new("boot-features");
    let dir = home.path().join("data");
    let broker = serve_on(home.path(), &[&dir], &[]).ready();
    for version in 3..=4 {
        let asked = ApiVersionsRequest { client_software_name: "test", client_software_version: "1" };
        // The empty tagged fields of the header stand before the body; the answer's header has none.
        let body = [vec![0], encode(&asked, version).expect("encode")].concat();
        let answer = broker.client().call(18, version, &body).expect("ApiVersions");
        let got: ApiVersionsResponse<'_> = decode(&answer, version).expect("decode");
        let supported: Vec<&str> = got.supported_features.iter().map(|f| f.name).collect();
        let finalized: Vec<&str> = got.finalized_features.iter().map(|f| f.name).collect();
        assert!(
            supported.contains(&"metadata.version") && finalized.contains(&"metadata.version"),
            "{got:?}"
        );
        for name in ["group.version", "share.version", "streams.version", "transaction.version"] {
            assert!(!supported.contains(&name) && !finalized.contains(&name), "{name}: {got:?}");
        }
    }
    broker.stop();
}

/// On a volume with next to nothing left the process lived and never listened.
#[test]
fn a_start_on_a_full_disk_ends_with_the_cause() {
    let Some(volume) = SmallVolume::mount("boot-full", 24) else { return };
    let home = TempDir::new("boot-full-home");
    let dir = volume.0.path().join("data");
    let broker = serve_on(home.path(), &[&dir], &["log.segment.bytes=1048576"]).ready();
    assert_eq!(broker.client().create_topic("t", 1).expect("create"), code::NONE);
    broker.stop();
    // What is free decides which file is the first that cannot be written.
    for free in [0, 4 << 10, 8 << 10, 16 << 10, 64 << 10, 512 << 10] {
        let filler = volume.fill(free);
        match serve_on(home.path(), &[&dir], &["log.segment.bytes=1048576"]) {
            Start::Refused(code, text) => {
                assert_eq!(code, Some(1), "{free} bytes free: {text}");
                assert!(
                    text.contains("No space left on device") && text.contains("free some space"),
                    "{text}"
                );
                assert!(text.contains(&dir.display().to_string()), "{text}");
            }
            // What there is can be read, and is kept until there is room.
            Start::Ready(broker) => {
                let mut client = broker.client();
                assert_eq!(client.list_offset("t", 0, -1).expect("list offsets"), Ok(0), "{free} bytes free");
                broker.kill();
            }
        }
        fs::remove_file(filler).expect("make room");
    }
    let broker = serve_on(home.path(), &[&dir], &[]).ready();
    let mut client = broker.client();
    assert_eq!(client.list_offset("t", 0, -1).expect("list offsets"), Ok(0), "nothing is lost");
    assert_eq!(client.create_topic("u", 1).expect("create"), code::NONE);
    broker.stop();
}

/// A port that another process has was noticed only once everything was recovered, which may take minutes.
#[test]
fn a_port_that_is_taken_is_noticed_before_recovery() {
    let home = TempDir::new("boot-port");
    let dir = home.path().join("data");
    let broker = serve_on(home.path(), &[&dir], &[]).ready();
    assert_eq!(broker.client().create_topic("t", 1).expect("create"), code::NONE);
    broker.kill();
    let before = tree(&dir);
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("listeners=PLAINTEXT://{}", other.local_addr().expect("its address"));
    let text = serve_on(home.path(), &[&dir], &[&taken]).refused(1);
    assert!(text.contains("cannot listen on") && text.contains("choose another port"), "{text}");
    assert_eq!(tree(&dir), before, "nothing was recovered");
    drop(other);
    let broker = serve_on(home.path(), &[&dir], &[]).ready();
    let mut client = broker.client();
    assert_eq!(client.list_offset("t", 0, -1).expect("list offsets"), Ok(0));
    broker.stop();
}

/// "Permission denied" stood alone, without the file and what to do.
#[test]
fn a_directory_without_rights_is_named_with_the_remedy() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let home = TempDir::new("boot-rights");
    let dir = home.path().join("data");
    fs::create_dir(&dir).expect("make it");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).expect("take the right to write");
    let is_root = fs::metadata("/proc/self").expect("this process").uid() == 0;
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    let text = serve_by(command, home.path(), &dir).refused(1);
    assert!(
        text.contains(&dir.display().to_string())
            && text.contains("Permission denied")
            && text.contains("chown"),
        "{text}"
    );
}

/// Each connection that sent garbage wrote a line.
#[test]
fn lines_that_clients_can_repeat_are_counted() {
    let home = TempDir::new("boot-lines");
    let dir = home.path().join("data");
    let broker = serve_on(home.path(), &[&dir], &[]).ready();
    for api_key in [999, 3] {
        for _ in 0..100 {
            let mut client = broker.client();
            assert!(client.call(api_key, 99, b"garbage").is_err(), "the connection is closed");
        }
    }
    let log = broker.log.clone();
    broker.stop();
    let text = fs::read_to_string(log).expect("the log");
    let lines = text.lines().filter(|line| line.contains("the connection is closed")).count();
    let counted =
        text.lines().filter_map(|line| line.split(" more lines like this").next()?.rsplit(' ').next());
    let counted: usize = counted.filter_map(|word| word.parse::<usize>().ok()).sum();
    assert!((1..=30).contains(&lines), "{lines} lines: {text}");
    assert_eq!(lines + counted, 200, "{text}");
}

/// A topic with a name of 249 characters was made and deleted: its directory could not be given a new name, which is longer,
/// its space was never freed, the topic could not be made again, and no start succeeded after.
#[test]
fn topics_with_long_names_come_and_go() {
    let home = TempDir::new("long-names");
    let data = home.path().join("data");
    let mut process = serve_on(home.path(), &[&data], &[]).ready();
    for round in 0..2 {
        let mut client = process.client();
        for length in [1, 213, 214, 248, 249] {
            let name = "t".repeat(length);
            assert_eq!(
                client.create_topic(&name, 12).expect("create"),
                code::NONE,
                "{length} in round {round}"
            );
            assert_eq!(client.delete_topic(&name).expect("delete"), code::NONE, "{length} in round {round}");
        }
        poll::until("their directories are gone", LIMIT, || {
            let mut left = fs::read_dir(&data).expect("list").flatten();
            (!left.any(|entry| entry.file_name().to_string_lossy().starts_with('t'))).then_some(())
        });
        process.stop();
        process = serve_on(home.path(), &[&data], &[]).ready();
    }
}

/// What an older binary left: the directory of a deleted topic with a long name, which is in no metadata.
#[test]
fn a_stray_with_a_long_name_does_not_end_the_start() {
    let home = TempDir::new("long-stray");
    let data = home.path().join("data");
    serve_on(home.path(), &[&data], &[]).ready().stop();
    fs::create_dir(data.join(format!("{}-0", "t".repeat(249)))).expect("make");
    serve_on(home.path(), &[&data], &[]).ready().stop();
    let mut left = fs::read_dir(&data).expect("list").flatten();
    assert!(left.any(|entry| entry.file_name().to_string_lossy().ends_with("-stray")), "it is kept");
}
