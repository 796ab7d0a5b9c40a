//! `ottla bench` and the load generator behind it, on a broker of ours: every kind of load runs and comes back whole, and
//! nothing is left behind.

mod support;

use ottla::bench::{Bench, Client, Load, Moment, Outcome};
use ottla::wire::messages::metadata_request::MetadataRequest;
use ottla::wire::messages::metadata_response::MetadataResponse;
use ottla::wire::record::Codec;
use std::process::Command;
use std::time::Duration;
use support::broker::{Broker, Kind};

/// How long each load counts.
const TIME: Duration = Duration::from_millis(100);

fn topics(broker: &Broker) -> Vec<String> {
    let mut client = Client::connect(broker.address()).expect("connect");
    let everything = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let reply: MetadataResponse<'_> = client.call(&everything, 9).expect("metadata");
    reply.topics.iter().filter_map(|topic| topic.name).map(str::to_owned).collect()
}

/// Runs a load, and reads back what no consumer has read.
fn run(broker: &Broker, name: &str, load: Load) -> Outcome {
    let followed = load.consumers + load.idle > 0;
    let mut moments = Vec::new();
    let mut bench = Bench::prepare(broker.address(), load, name).expect("topics");
    let outcome = bench
        .run(Duration::from_millis(20), TIME, &mut |moment| moments.push(moment))
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(moments, [Moment::Begin, Moment::End]);
    // Once this was too early where nobody acknowledges: against Kafka some records were still on their way.
    bench.check_ends().unwrap_or_else(|e| panic!("{name}: {e}"));
    if !followed {
        bench.read_back(&mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(bench.ledger().records() > 0, "{name}");
    }
    bench.delete().expect("delete");
    outcome
}

#[test]
fn every_kind_of_load() {
    let broker = Broker::start("bench-loads", &[]);
    let load = Load { producers: 3, partitions: 4, depth: 2, records: 5, ..Load::default() };
    let closed = run(&broker, "closed", load.clone());
    assert!(closed.requests > 0 && closed.records == closed.requests * 5);
    assert!(!closed.acknowledged_ns.is_empty());
    run(&broker, "acks-1", Load { acks: 1, ..load.clone() });
    assert_eq!(run(&broker, "acks-0", Load { acks: 0, ..load.clone() }).acknowledged_ns.len(), 0);
    run(&broker, "idempotent", Load { idempotent: true, ..load.clone() });
    run(&broker, "keyed", Load { keyed: true, batches: 2, ..load.clone() });
    run(&broker, "topics", Load { topics: 3, ..load.clone() });
    run(&broker, "large", Load { records: 64, record_bytes: 4096, ..load.clone() });
    for codec in Codec::ALL {
        run(&broker, codec.name(), Load { codec, ..load.clone() });
    }
    let followed =
        run(&broker, "followed", Load { rate: Some(2_000.0), linger_ms: 1.0, consumers: 2, ..load.clone() });
    assert!(followed.fetches > 0);
    // What counts is what was to be sent in the time; each consumer has all of it.
    assert_eq!(followed.end_to_end_ns.len(), 2 * followed.acknowledged_ns.len());
    assert!(followed.acknowledged_ns.len().abs_diff(200) <= 1, "{}", followed.acknowledged_ns.len());
    let idle = run(&broker, "idle", Load { producers: 0, idle: 5, fetch_wait_ms: 10, ..load });
    assert_eq!((idle.requests, idle.fetched_records), (0, 0));
    assert_eq!(topics(&broker).len(), 0);
}

#[test]
fn a_record_of_somebody_else_is_found() {
    if Kind::under_test() != Kind::Ottla {
        println!("skip: it is the generator that is tested");
        return;
    }
    let broker = Broker::start("bench-missed", &[]);
    let load = Load { producers: 1, partitions: 1, ..Load::default() };
    let mut bench = Bench::prepare(broker.address(), load, "missed").expect("topics");
    bench.run(Duration::ZERO, TIME, &mut |_| {}).expect("all is well");
    // Somebody else writes one record: it is not ours, and the offsets move.
    let mut other = Command::new("kcat");
    other.args(["-P", "-b", &broker.bootstrap(), "-t", "missed-00000", "-p", "0"]);
    if support::toolchain::kcat().is_some() {
        support::toolchain::run("kcat", other.arg("-l").arg("/etc/hostname"));
        let error = bench.check_ends().expect_err("one too many").to_string();
        assert!(error.contains("records were sent"), "{error}");
        bench.read_back(&mut |_| {}).expect_err("it is not ours");
    }
}

#[test]
fn the_command() {
    let broker = Broker::start("bench-command", &[]);
    let mut bench = Command::new(env!("CARGO_BIN_EXE_ottla"));
    bench.args(["bench", "--against", &broker.bootstrap(), "--pid", &broker.pid().to_string()]);
    bench.args(["--scenario", "bars", "--only", "100B", "--seconds", "0.1", "--warm", "0.05"]);
    let text = support::toolchain::run("ottla bench", &mut bench);
    for part in ["cpu us/req", "produce-100B-4", "produce-100B-64", "produce-100x100B", "came back once"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert_eq!(topics(&broker).len(), 0);

    // Against Kafka this once hung: the members' metadata was not a consumer's, and its coordinator never answered.
    let mut churn = Command::new(env!("CARGO_BIN_EXE_ottla"));
    churn.args(["bench", "--against", &broker.bootstrap(), "--scenario", "groups"]);
    churn.args(["--seconds", "0.1", "--warm", "0"]);
    let text = support::toolchain::run("ottla bench --scenario groups", &mut churn);
    assert!(text.contains("group-churn"), "{text}");

    let list = support::toolchain::run("ottla bench", Command::new(env!("CARGO_BIN_EXE_ottla")).arg("bench"));
    assert!(list.contains("produce-100B-64"), "{list}");
}
