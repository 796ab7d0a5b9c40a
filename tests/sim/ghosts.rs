//! Clients that ask for something to wait for, and are gone.

use ottla::base::prng::Prng;
use ottla::io::sim::SimConfig;
use ottla::wire::messages::create_topics_request::CreatableTopic;
use ottla::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla::wire::messages::{CreateTopicsRequest, FetchRequest};

use super::link::Link;
use super::machine::Machine;

/// A long poll that came together with its connection's end, or behind others while the connection was not read, stayed
/// parked for as long as it had asked for.
#[test]
fn no_fetch_outlives_its_client() {
    for seed in 0..4 {
        let mut machine = Machine::new(SimConfig::new(seed, 2), &[]);
        machine.start_ready(2);
        let mut prng = Prng::new(seed);
        let mut first = Link::<()>::new("first", 1);
        first.open(&machine.sim);
        let topic =
            CreatableTopic { name: "t", num_partitions: 4, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        first.ask(&machine.sim, &request, 7, ());
        first.answers(&mut machine, 1);
        for number in 2..60 {
            let mut link = Link::<()>::new("gone", number);
            link.open(&machine.sim);
            if prng.one_in(2) {
                machine.pass(prng.below(20) as i64);
            }
            for _ in 0..=prng.below(3) {
                let partitions = (0..4).map(|partition| FetchPartition {
                    partition,
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                });
                let topic = FetchTopic { topic: "t", partitions: partitions.collect(), ..Default::default() };
                let request = FetchRequest {
                    max_wait_ms: i32::MAX,
                    min_bytes: 1,
                    topics: vec![topic],
                    ..Default::default()
                };
                link.send(&machine.sim, &request, 12);
            }
            if prng.one_in(2) {
                machine.pass(prng.below(4) as i64);
            }
            link.close(&machine.sim, prng.one_in(2));
        }
        first.close(&machine.sim, false);
        machine.pass(5_000);
        assert_eq!(machine.load(), Vec::<String>::new(), "seed {seed}: nobody is there");
    }
}
