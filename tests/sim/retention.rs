//! Retention, and kills and power cuts just after it.

use ottla::base::prng::Prng;
use ottla::io::sim::{SimConfig, WALL_START_MS};
use ottla::wire::messages::{
    CreateTopicsRequest, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use ottla::wire::record::BatchBuilder;

use super::link::{Answer, Link};
use super::machine::Machine;

const SETTINGS: &[(&str, &str)] = &[
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
        let configs = vec![CreatableTopicConfig { name: "retention.bytes", value: Some("2000000") }];
        let topic = CreatableTopic {
            name: "t",
            num_partitions: 1,
            replication_factor: 1,
            configs,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        self.link.ask(&self.machine.sim, &request, 7, ());
        self.answer();
    }

    fn produce(&mut self, bytes: usize) {
        let mut builder = BatchBuilder::new(0);
        builder.append(WALL_START_MS, None, Some(&vec![7; bytes]), &[]);
        let batch = builder.build();
        let data = PartitionProduceData { index: 0, records: Some(&batch) };
        let topic_data =
            vec![TopicProduceData { name: "t", partition_data: vec![data], ..Default::default() }];
        let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 20_000, topic_data };
        self.link.ask(&self.machine.sim, &request, 9, ());
        self.answer();
    }

    fn log_start(&mut self) -> Option<i64> {
        let partition = ListOffsetsPartition { partition_index: 0, timestamp: -2, current_leader_epoch: -1 };
        let topic = ListOffsetsTopic { name: "t", partitions: vec![partition] };
        let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
        self.link.ask(&self.machine.sim, &request, 7, ());
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
