//! Clients that ask for something to wait for, and are gone.

use ottla::base::prng::Prng;
use ottla::io::sim::SimConfig;
use ottla::wire::messages::FetchRequest;
use ottla::wire::messages::fetch_request::{FetchPartition, FetchTopic};

use super::link::Link;
use super::machine::Machine;
use super::requests::creatable;

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
        first.create_topics(&machine.sim, vec![creatable("t", 4, &[])], ());
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
