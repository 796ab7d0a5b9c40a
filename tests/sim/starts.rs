//! Starts that end at any step, and deletions whose checkpoint fails: what was decided is not forgotten, and what was refused
//! is not done by the next start.

use std::path::{Path, PathBuf};

use ottla::io::Files;
use ottla::io::sim::{DiskFault, DiskOp, SimConfig, WALL_START_MS};
use ottla::wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    ListOffsetsRequest, ListOffsetsResponse, ProduceRequest,
    create_topics_request::CreatableTopic,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use ottla::wire::record::BatchBuilder;

use super::link::{Answer, Link};
use super::machine::Machine;

const SETTINGS: &[(&str, &str)] = &[
    ("log.retention.ms", "-1"),
    ("log.flush.interval.messages", "1"),
    ("ottla.core.journal.bytes", "4194304"),
];
const RECORDS: i64 = 6;

struct Watched {
    machine: Machine,
    link: Link<()>,
}

impl Watched {
    /// A broker with a topic of some records, which are in the journal.
    fn begin(seed: u64) -> Watched {
        let machine = Machine::new(SimConfig::new(seed, 1), SETTINGS);
        let mut run = Watched { machine, link: Link::new("starts", 1) };
        run.start();
        let topic =
            CreatableTopic { name: "t", num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        run.link.ask(&run.machine.sim, &request, 7, ());
        let answer = run.answer();
        let response: CreateTopicsResponse<'_> = answer.read();
        assert_eq!(response.topics[0].error_code, 0);
        for _ in 0..RECORDS {
            run.produce(100);
        }
        run
    }

    fn start(&mut self) {
        self.machine.start_ready(1);
        self.link.open(&self.machine.sim);
    }

    fn kill(&mut self) {
        self.machine.kill();
        self.link.close(&self.machine.sim, true);
    }

    fn stop(&mut self) {
        self.machine.sim.stop();
        while self.machine.is_up() {
            self.machine.step(self.machine.sim.now().plus_ms(1000));
        }
        self.link.close(&self.machine.sim, true);
    }

    /// The files of the log directory whose names begin like this.
    fn named(&self, begin: &str) -> Vec<PathBuf> {
        let listed = self.machine.sim.disk().list(Path::new("/data")).expect("a directory");
        let names = listed.into_iter().map(|entry| entry.name).filter(|name| name.starts_with(begin));
        names.map(|name| Path::new("/data").join(name)).collect()
    }

    fn answer(&mut self) -> Answer<()> {
        self.link.answers(&mut self.machine, 1).remove(0)
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

    /// The error code, and the offset if there is none.
    fn offset(&mut self, timestamp: i64) -> (i16, i64) {
        let partition = ListOffsetsPartition { partition_index: 0, timestamp, current_leader_epoch: -1 };
        let topic = ListOffsetsTopic { name: "t", partitions: vec![partition] };
        let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
        self.link.ask(&self.machine.sim, &request, 7, ());
        let answer = self.answer();
        let response: ListOffsetsResponse<'_> = answer.read();
        let part = &response.topics[0].partitions[0];
        (part.error_code, part.offset)
    }

    fn delete_records(&mut self, offset: i64) -> i16 {
        let partition = DeleteRecordsPartition { partition_index: 0, offset };
        let topic = DeleteRecordsTopic { name: "t", partitions: vec![partition] };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 20_000 };
        self.link.ask(&self.machine.sim, &request, 2, ());
        let answer = self.answer();
        let response: DeleteRecordsResponse<'_> = answer.read();
        response.topics[0].partitions[0].error_code
    }

    fn fail(&self, path: &str, op: DiskOp, times: u32) {
        let path_contains = path.to_owned();
        self.machine.sim.disk().fail(DiskFault { path_contains, op, errno: libc::EIO, skip: 0, times });
    }
}

/// A start found that acknowledged records could not be written back, renamed the journal that proved it, and wrote down
/// afterwards that the partition stays offline: a kill between the two, or an error of that write, and the next start made the
/// partition anew and gave its offsets out again. Each step of the start, with a kill, a power cut or an error there.
#[test]
fn a_partition_stays_offline_wherever_the_start_that_found_it_ended() {
    for power_cut in [false, true] {
        let (mut steps, mut whole) = (0, 0);
        for calls in 0.. {
            let mut run = Watched::begin(calls);
            run.kill();
            let disk = run.machine.sim.disk().clone();
            disk.remove_dir_all(Path::new("/data/t-0")).expect("lose the partition");
            disk.sync_dir(Path::new("/data")).expect("flush");
            disk.end_after(calls);
            let ended = run.machine.start(1).is_err();
            run.machine.kill();
            if power_cut {
                run.machine.power_cut();
            }
            run.start();
            let (error, offset) = run.offset(-1);
            assert_ne!(
                error, 0,
                "offset {offset} after a start that ended at step {calls}, power cut {power_cut}"
            );
            // Some last errors are put off.
            whole += u64::from(!ended);
            steps = calls;
            if whole == 20 {
                break;
            }
        }
        assert!(steps > 50, "{steps} steps: the test tests nothing");
    }
    for file in ["ottla-checkpoint", "ottla-offline"] {
        for op in [DiskOp::Write, DiskOp::Sync, DiskOp::Rename] {
            let mut run = Watched::begin(1);
            run.kill();
            let disk = run.machine.sim.disk().clone();
            disk.remove_dir_all(Path::new("/data/t-0")).expect("lose the partition");
            run.fail(file, op, 1);
            assert!(run.machine.start(1).is_err(), "{file}, {op:?}: it went on without writing it down");
            disk.heal();
            run.start();
            assert_ne!(run.offset(-1).0, 0, "{file}, {op:?}");
        }
    }
}

/// DeleteRecords was answered with an error, as a checkpoint could not be written or the partition took no more, and its
/// log start stood in Ottla's checkpoint: the next start deleted the records.
#[test]
fn what_a_deletion_refused_is_there_after_the_next_start() {
    let files = [
        "ottla-checkpoint",
        "recovery-point-offset-checkpoint",
        "/log-start-offset-checkpoint",
        "replication-offset-checkpoint",
    ];
    let mut refused = 0;
    for file in files {
        for op in [DiskOp::Open, DiskOp::Write, DiskOp::Sync, DiskOp::Rename] {
            let mut run = Watched::begin(2);
            run.fail(file, op, 1);
            let error = run.delete_records(3);
            run.machine.sim.disk().heal();
            run.kill();
            run.start();
            let expected = if error == 0 { 3 } else { 0 };
            assert_eq!(run.offset(-2), (0, expected), "{file}, {op:?}, answered {error}");
            refused += usize::from(error != 0);
        }
    }
    assert!((1..=4).contains(&refused), "{refused} refused: only what Ottla's own file says decides");
    let mut run = Watched::begin(3);
    run.fail("/t-0/0000", DiskOp::Sync, 1000);
    run.fail("/t-0/0000", DiskOp::Write, 1000);
    run.produce(200_000);
    let error = run.delete_records(3);
    run.machine.sim.disk().heal();
    run.kill();
    run.start();
    assert_eq!(run.offset(-2), (0, if error == 0 { 3 } else { 0 }), "fenced, answered {error}");
}

/// The marks of a clean stop, which say that a journal is of before it, went before the journals were redone: where that
/// failed, the next start took the stop for unclean and such a journal for its own.
#[test]
fn the_marks_of_a_clean_stop_outlive_a_start_that_does_not_deal_with_the_journals() {
    let mut steps = 0;
    for calls in 0.. {
        let mut run = Watched::begin(5);
        run.kill();
        let disk = run.machine.sim.disk().clone();
        let journals = run.named("ottla-journal-");
        let journals: Vec<(PathBuf, Vec<u8>)> =
            journals.into_iter().map(|path| (path.clone(), disk.read(&path).expect("read"))).collect();
        run.start();
        assert_eq!(run.offset(-1), (0, RECORDS), "it is open");
        run.stop();
        assert_eq!(run.named("ottla-journal-"), Vec::<PathBuf>::new());
        for (path, bytes) in &journals {
            disk.write_atomic(path, bytes).expect("put it back");
        }
        disk.remove_dir_all(Path::new("/data/t-0")).expect("lose the partition");
        disk.sync_dir(Path::new("/data")).expect("flush");
        run.machine.start_and_kill(1, calls);
        let marked = disk.exists(Path::new("/data/.kafka_cleanshutdown"));
        let aside = run.named("ottla-journal-").iter().any(|path| path.to_string_lossy().contains(".aside-"));
        assert!(marked || aside, "killed at step {calls}: no mark, and nothing is set aside");
        if !marked {
            steps = calls;
            break;
        }
    }
    assert!(steps > 20, "{steps} steps: the test tests nothing");
}
