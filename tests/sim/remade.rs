//! A topic that is deleted and made again under its name, mostly on another core, while the file jobs of the old one's core
//! are late.

use std::path::Path;

use ottla::base::prng::Prng;
use ottla::base::{ShardId, Uuid};
use ottla::io::Files;
use ottla::io::sim::SimConfig;
use ottla::shard::PartitionKey;
use ottla::wire::messages::{
    CreateTopicsResponse, DeleteTopicsResponse, ListOffsetsResponse, ProduceResponse,
};

use super::link::{Answer, Link};
use super::machine::Machine;
use super::requests::{creatable, one_record};

const CORES: usize = 2;
/// Longer than any delay of the file jobs.
const DELAY_MS_MAX: u64 = 3000;
/// For an answer, with those to earlier requests before it.
const ANSWER_MS: i64 = 50_000;

struct Remade {
    machine: Machine,
    /// Requests are numbered.
    link: Link<u32>,
    asked: u32,
    prng: Prng,
}

impl Remade {
    fn start(&mut self) {
        self.machine.start_ready(CORES);
        self.link.open(&self.machine.sim);
    }

    fn step(&mut self, ms: i64) {
        let limit = self.machine.sim.now().plus_ms(ms);
        self.machine.step(limit);
    }

    fn number(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    /// The answer to the last request; those to earlier ones are of no account.
    fn answer(&mut self) -> Answer<u32> {
        let until = self.machine.sim.now().plus_ms(ANSWER_MS);
        loop {
            let answers = self.link.answers(&mut self.machine, 1);
            assert!(self.machine.sim.now() < until, "no answer: {:?}", self.machine.load());
            if let Some(last) = answers.into_iter().find(|answer| answer.tag == self.asked) {
                return last;
            }
        }
    }

    fn create(&mut self) -> Uuid {
        let topic = creatable("t", 1, &[("segment.bytes", "1048576")]);
        let number = self.number();
        self.link.create_topics(&self.machine.sim, vec![topic], number);
        let answer = self.answer();
        let response: CreateTopicsResponse<'_> = answer.read();
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
        response.topics[0].topic_id
    }

    fn delete(&mut self) {
        let number = self.number();
        self.link.delete_topic(&self.machine.sim, "t", number);
        let answer = self.answer();
        let response: DeleteTopicsResponse<'_> = answer.read();
        assert_eq!(response.responses[0].error_code, 0);
    }

    fn ask_produce(&mut self, bytes: usize) {
        let number = self.number();
        self.link.produce(&self.machine.sim, "t", &one_record(bytes), number);
    }

    /// Appends a record, until it is acknowledged.
    fn produce(&mut self, bytes: usize) {
        for _ in 0..100 {
            self.ask_produce(bytes);
            let answer = self.answer();
            let response: ProduceResponse<'_> = answer.read();
            if response.responses[0].partition_responses[0].error_code == 0 {
                return;
            }
            self.machine.pass(100);
        }
        panic!("nothing is acknowledged");
    }

    fn ask_delete_records(&mut self) {
        let number = self.number();
        self.link.delete_records(&self.machine.sim, "t", 0, -1, number);
    }

    fn offset(&mut self, timestamp: i64) -> i64 {
        let number = self.number();
        self.link.list_offset(&self.machine.sim, "t", 0, timestamp, number);
        let answer = self.answer();
        let response: ListOffsetsResponse<'_> = answer.read();
        let part = &response.topics[0].partitions[0];
        assert_eq!(part.error_code, 0, "ListOffsets of {timestamp}");
        part.offset
    }

    /// The old topic's jobs of any kind are late: of making it, opening a segment, sealing one, removing some.
    fn use_and_delay(&mut self, id: Uuid) {
        let core = PartitionKey { topic_id: id, partition: 0 }.owner(CORES);
        let delay_at = self.prng.below(6).min(3);
        for step in 0..4 {
            if step == delay_at && step < 3 {
                self.delay(core);
            }
            match step {
                // With a delay before this, the partition is still being made when the topic is deleted.
                0 if delay_at > 0 => self.produce(700_000),
                1 | 2 if delay_at < 2 => self.ask_produce(700_000),
                1 | 2 => self.produce(700_000),
                3 => self.ask_delete_records(),
                _ => {}
            }
        }
        if delay_at == 3 {
            self.pass_checkpoint();
            self.delay(core);
            self.answer();
        }
        let turns = self.prng.below(40);
        for _ in 0..turns {
            self.step(1);
        }
    }

    /// A removal waits for a checkpoint: that is written, and the removal not yet submitted.
    fn pass_checkpoint(&mut self) {
        let path = Path::new("/data/ottla-checkpoint");
        let before = self.machine.sim.disk().read(path).ok();
        for _ in 0..500 {
            if self.machine.sim.disk().read(path).ok() != before {
                return;
            }
            self.step(1);
        }
    }

    fn delay(&mut self, core: ShardId) {
        // Mostly one lane: what goes through the other first, as a checkpoint before a removal, is not late.
        let lanes = self.prng.below(3);
        let quick_ms = if lanes == 0 { 0 } else { self.prng.below(DELAY_MS_MAX) as i64 };
        let slow_ms = if lanes == 1 { 0 } else { self.prng.below(DELAY_MS_MAX) as i64 };
        self.machine.sim.delay_jobs(core, quick_ms, slow_ms);
    }

    fn check_files(&self, id: Uuid) {
        let disk = self.machine.sim.disk();
        let names = disk.list(Path::new("/data")).expect("a directory");
        let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        assert!(!names.iter().any(|name| name.contains("-stray")), "{names:?}");
        let dir = Path::new("/data/t-0");
        let said = ottla::log::retire::topic_id_of(disk, dir).expect("a file");
        assert_eq!(said, ottla::log::checkpoint::Content::Whole(id), "{names:?}");
        let files = disk.list(dir).expect("a directory");
        let log = dir.join("00000000000000000000.log");
        assert!(disk.exists(&log), "the first segment is gone: {files:?}");
    }
}

/// A topic was deleted and made again under its name, on another core, while the old one's file jobs were queued: the new one
/// took the name at once, and late jobs, which go by path, removed its first segment with acknowledged records, or set its
/// directory aside.
#[test]
fn late_jobs_of_a_deleted_topic_leave_the_new_one_alone() {
    let mut moved = 0;
    for seed in 0..4 {
        let journal = ["0", "4194304"][seed as usize % 2];
        let settings = [("log.retention.ms", "-1"), ("ottla.core.journal.bytes", journal)];
        let machine = Machine::new(SimConfig::new(seed, CORES), &settings);
        let mut run = Remade { machine, link: Link::new("remade", 1), asked: 0, prng: Prng::new(seed) };
        run.start();
        for round in 0..12 {
            println!("seed {seed}, round {round}");
            if run.prng.one_in(3) {
                let core = ShardId(run.prng.below(CORES as u64) as u16);
                run.delay(core);
            }
            let old = run.create();
            run.use_and_delay(old);
            run.delete();
            let new = run.create();
            let core = |id| PartitionKey { topic_id: id, partition: 0 }.owner(CORES);
            moved += usize::from(core(old) != core(new));
            for _ in 0..3 {
                run.produce(700_000);
            }
            run.machine.pass(DELAY_MS_MAX as i64 + 1000);
            run.check_files(new);
            run.machine.kill();
            run.link.close(&run.machine.sim, true);
            run.start();
            assert_eq!((run.offset(-2), run.offset(-1)), (0, 3), "of 3 records that were acknowledged");
            run.check_files(new);
            run.delete();
        }
    }
    assert!(moved >= 12, "the topic went to another core {moved} times: the test tests nothing");
}
