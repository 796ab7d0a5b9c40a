//! Retention, and kills and power cuts just after it.

use ottla::base::prng::Prng;
use ottla::io::sim::SimConfig;
use ottla::wire::messages::ListOffsetsResponse;

use super::link::{Answer, Link};
use super::machine::Machine;
use super::requests::{creatable, one_record};

const SETTINGS: &[(&str, &str)] = &[
    ("log.initial.task.delay.ms", "0"),
    ("log.retention.check.interval.ms", "200"),
    ("log.retention.bytes", "2000000"),
    ("log.retention.ms", "-1"),
    ("log.segment.bytes", "1048576"),
    ("log.flush.interval.messages", "1"),
];

struct Watched {
    machine: Machine,
    link: Link<()>,
}

impl Watched {
    fn start(&mut self) {
        self.machine.start_ready(1);
        self.link.open(&self.machine.sim);
    }

    fn end(&mut self, power_cut: bool) {
        if power_cut {
            self.machine.power_cut();
        } else {
            self.machine.kill();
        }
        self.link.close(&self.machine.sim, true);
    }

    fn answer(&mut self) -> Answer<()> {
        self.link.answers(&mut self.machine, 1).remove(0)
    }

    fn create(&mut self) {
        let topic = creatable("t", 1, &[("retention.bytes", "2000000")]);
        self.link.create_topics(&self.machine.sim, vec![topic], ());
        self.answer();
    }

    fn produce(&mut self, bytes: usize) {
        self.link.produce(&self.machine.sim, "t", &one_record(bytes), ());
        self.answer();
    }

    fn log_start(&mut self) -> Option<i64> {
        self.link.list_offset(&self.machine.sim, "t", 0, -2, ());
        let answer = self.answer();
        let response: ListOffsetsResponse<'_> = answer.read();
        let part = &response.topics[0].partitions[0];
        (part.error_code == 0).then_some(part.offset)
    }
}

/// Retention showed its new log start, removed one segment after the other, and had the checkpoint written within a minute: a
/// kill between two removals took the log start back, and consumers saw records again that had been deleted.
#[test]
fn a_log_start_of_retention_never_goes_back() {
    let mut moves = 0;
    for seed in 0..3 {
        let mut prng = Prng::new(seed);
        let machine = Machine::new(SimConfig::new(seed, 1), SETTINGS);
        let mut run = Watched { machine, link: Link::new("retention", 1) };
        run.start();
        run.create();
        let mut shown = 0;
        for round in 0..12 {
            for _ in 0..4 {
                run.produce(700_000);
            }
            for _ in 0..1000 {
                let Some(start) = run.log_start() else { continue };
                assert!(start >= shown, "seed {seed}, round {round}: from {shown} to {start}");
                if start > shown {
                    shown = start;
                    moves += 1;
                    break;
                }
            }
            for _ in 0..prng.below(6) {
                let limit = run.machine.sim.now().plus_ms(1);
                run.machine.step(limit);
            }
            run.end(prng.one_in(2));
            run.start();
        }
    }
    assert!(moves > 20, "the log start moved {moves} times: the test tests nothing");
}
