//! Clients that are not Java, installed by name and pinned: kafka-python, confluent-kafka (librdkafka), aiokafka,
//! kafkajs, @platformatic/kafka, franz-go, kcat. Each compares the content of what it produced and consumed; what
//! the Node and Go clients wrote with each codec, kcat reads once more.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::broker::Broker;
use support::{poll, tests_dir, toolchain};

const PYTHON: &[&str] = &[
    "kafka-python==3.0.12",
    "confluent-kafka==2.16.0",
    "aiokafka==0.14.0",
    "cramjam==2.14.0",
    "python-snappy==0.7.3",
    "lz4==4.4.5",
    "zstandard==0.25.0",
];
const NODE: &[&str] = &["kafkajs@2.2.4", "kafkajs-snappy@1.1.0", "@platformatic/kafka@1.35.0"];

/// How long one client program may run.
const LIMIT: Duration = Duration::from_mins(4);

/// Runs a client program: it must end well, print `done` last, and `ok` the given number of times before.
fn passes(what: &str, checks: usize, command: &mut Command) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let ended = poll::within(LIMIT, || child.try_wait().expect("wait")).is_some();
    if !ended {
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("the output");
    let stdout = String::from_utf8_lossy(&output.stdout);
    print!("{stdout}");
    let passed = stdout.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(
        ended && output.status.success() && stdout.lines().last() == Some("done") && passed == checks,
        "{what}: {passed} of {checks} checks, ended {ended}, {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn python(script: &str, arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(toolchain::python(PYTHON)?);
    command.arg(tests_dir().join("python").join(script)).args(arguments);
    Some(command)
}

/// Runs kcat with `input` and returns what it prints.
fn kcat(broker: &Broker, arguments: &str, input: &str) -> Option<String> {
    let mut command = Command::new(toolchain::kcat()?);
    command.args(["-b", &broker.bootstrap(), "-m", "30"]).args(arguments.split_whitespace());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start kcat");
    child.stdin.take().expect("a piped stdin").write_all(input.as_bytes()).expect("write to kcat");
    let output = child.wait_with_output().expect("the output");
    assert!(
        output.status.success(),
        "kcat {arguments}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// kcat reads every topic `<prefix>-<codec>`: `count` records whose values start with the codec's name.
fn kcat_reads(broker: &Broker, prefix: &str, codecs: &[&str], count: usize) {
    for codec in codecs {
        let arguments = format!("-C -t {prefix}-{codec} -o beginning -e -q -X check.crcs=true");
        let Some(text) = kcat(broker, &arguments, "") else { return };
        assert_eq!(text.lines().filter(|line| line.starts_with(codec)).count(), count, "{prefix} {codec}");
    }
}

const ALL_CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];

#[test]
fn kafka_python_streams_activity() {
    let Some(_) = toolchain::python(PYTHON) else { return };
    let mut broker = Broker::start("activity", &[]);
    let mut command =
        python("activity.py", &[&broker.bootstrap(), "user-activity"]).expect("installed above");
    passes("kafka-python", 4, &mut command);
    broker.stop();
}

#[test]
fn python_clients_with_every_codec() {
    let Some(_) = toolchain::python(PYTHON) else { return };
    let mut broker = Broker::start("python", &[]);
    for client in ["kafka-python", "confluent-kafka", "aiokafka"] {
        let mut command =
            python("codecs.py", &[client, &broker.bootstrap(), client]).expect("installed above");
        passes(client, ALL_CODECS.len(), &mut command);
    }
    broker.stop();
}

#[test]
fn node_clients_with_every_codec() {
    let Some(modules) = toolchain::node(NODE) else { return };
    // Node has zstd since 22.15; kafkajs comes with gzip, and has snappy in a package.
    let zstd = toolchain::run("node", Command::new("node").args(["-p", "'zstdCompress' in require('zlib')"]));
    let platformatic = if zstd.trim() == "true" { ALL_CODECS } else { &ALL_CODECS[..4] };
    let mut broker = Broker::start("node", &[]);
    for (script, prefix, codecs) in
        [("kafkajs.js", "kafkajs", &ALL_CODECS[..3]), ("platformatic.mjs", "platformatic", platformatic)]
    {
        // Node looks for modules beside the script.
        let copy = modules.join(script);
        std::fs::copy(tests_dir().join("node").join(script), &copy).expect("copy the script");
        let mut command = Command::new("node");
        command.current_dir(&modules).arg(&copy).args([&broker.bootstrap(), prefix]);
        passes(script, codecs.len(), &mut command);
        kcat_reads(&broker, prefix, codecs, 500);
    }
    broker.stop();
}

#[test]
fn franz_go_with_every_codec() {
    let Some(program) = toolchain::go_program(&tests_dir().join("go"), "franz") else { return };
    let mut broker = Broker::start("franz-go", &[]);
    let mut command = Command::new(program);
    command.args([&broker.bootstrap(), "franz"]);
    passes("franz-go", ALL_CODECS.len() + 2, &mut command);
    kcat_reads(&broker, "franz", ALL_CODECS, 1000);
    broker.stop();
}

#[test]
fn kcat_with_every_codec() {
    let Some(_) = toolchain::kcat() else { return };
    let mut broker = Broker::start("kcat", &[("num.partitions", "3")]);
    let lines: Vec<String> =
        (0..2000).map(|i| format!("k{}:value {i} {}", i % 9, "y".repeat(i % 200))).collect();
    let input = lines.join("\n");
    let mut wanted = lines.clone();
    wanted.sort();
    for codec in ALL_CODECS {
        let topic = format!("kcat-{codec}");
        let produce = format!("-P -t {topic} -K : -z {codec} -X acks=all -X enable.idempotence=true");
        kcat(&broker, &produce, &input);
        let consume = format!("-C -t {topic} -K : -o beginning -e -q -X check.crcs=true");
        let found = kcat(&broker, &consume, "").expect("kcat is there");
        let mut found: Vec<&str> = found.lines().collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "{codec}");
    }
    // A balanced consumer, offsets by time, and what kcat knows of the cluster.
    let group = kcat(&broker, "-G kcat-group -q -c 2000 -X auto.offset.reset=earliest kcat-none", "")
        .expect("kcat is there");
    assert_eq!(group.lines().count(), 2000);
    let offsets =
        kcat(&broker, "-Q -t kcat-none:0:-1 -t kcat-none:1:-1 -t kcat-none:2:-1", "").expect("kcat");
    let ends = offsets.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok());
    assert_eq!(ends.sum::<i64>(), 2000, "{offsets}");
    let listed = kcat(&broker, "-L", "").expect("kcat is there");
    assert!(listed.contains("topic \"kcat-zstd\" with 3 partitions:"), "{listed}");
    broker.stop();
}
