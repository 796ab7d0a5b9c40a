//! kill -9 under load, at seeded moments: while appends are on their way, right after the ready line, during a start, twice
//! in a row, and as a segment has just been rolled. Producers (plain and idempotent, 10 bytes to 900 KB, flushed and not),
//! topics that come and go under the same name, DeleteRecords, retention and committing groups go on meanwhile, in two log
//! directories, and the number of cores changes. Each client keeps a ledger of what it was told and compares after every
//! disturbance: nothing acknowledged is lost, nothing of an idempotent producer is doubled, order is kept, log starts, ends
//! and committed offsets never go back, and a topic made again has nothing of the one before.
//!
//! `OTTLA_KILLS` sets the number of kills, `OTTLA_SEED` the seed, `OTTLA_TOPICS` names the topics that take part (all). The
//! moments are points of progress, not of time, but what the threads do between them is not decided by the seed: a failure
//! may need several runs.

#[path = "kill9/ledger.rs"]
mod ledger;
#[path = "kill9/load.rs"]
mod load;
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use ledger::Trim;
use load::{Lane, Load, PATIENCE, Plan, Random, TellOnPanic, come_and_go, commit, committed};
use support::broker::Broker;
use support::poll;
use support::raw::{Client, code};

const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");
const FLUSHED: (&str, &str) = ("flush.messages", "1");

const fn plan(topic: &'static str, configs: &'static [(&'static str, &'static str)]) -> Plan {
    Plan { topic, partitions: 1, idempotent: false, depth: 1, trim: Trim::Never, configs }
}

/// What is there from the beginning to the end.
const STEADY: &[Plan] = &[
    Plan { partitions: 2, idempotent: true, depth: 5, ..plan("idempotent", &[SMALL_SEGMENTS]) },
    Plan { idempotent: true, depth: 5, ..plan("idempotent-flushed", &[SMALL_SEGMENTS, FLUSHED]) },
    plan("plain", &[SMALL_SEGMENTS]),
    Plan { depth: 16, ..plan("pipelined", &[SMALL_SEGMENTS]) },
    Plan { depth: 16, ..plan("pipelined-flushed", &[SMALL_SEGMENTS, FLUSHED]) },
    Plan { trim: Trim::Asked, depth: 5, ..plan("trimmed", &[SMALL_SEGMENTS]) },
    Plan { trim: Trim::Asked, idempotent: true, depth: 3, ..plan("trimmed-flushed", &[FLUSHED]) },
    Plan {
        trim: Trim::Bytes(2 << 20),
        ..plan("retained", &[SMALL_SEGMENTS, ("retention.bytes", "2097152")])
    },
];

/// What comes and goes.
const PASSING: &[Plan] = &[
    Plan { trim: Trim::Asked, depth: 5, ..plan("passing", &[SMALL_SEGMENTS]) },
    Plan { trim: Trim::Asked, depth: 5, idempotent: true, ..plan("passing-flushed", &[FLUSHED]) },
];

const GROUPS: [&str; 2] = ["committers", "others"];
/// The topic that groups commit for.
const COMMITTED: &str = "plain";
/// Beside each other; each core has a journal in each. The first is [`Broker::data_dir`].
const LOG_DIRS: &str = "data,more";
/// Operations of a start that reads a directory, at least; a kill during the start comes before so many.
const START_CALLS: u64 = 600;

/// When the next kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// After so many acknowledged batches.
    Batches(u64),
    /// As soon as a partition has a new segment.
    Roll,
    /// Right after the ready line.
    Ready,
    /// During the start, after so many reads and writes.
    Starting(u64),
    /// Not a kill: SIGTERM, and then a kill after so many batches.
    Stop(u64),
}

impl Moment {
    fn choose(random: &mut Random) -> Moment {
        match random.below(16) {
            0..=7 => Moment::Batches(1 + random.below(60)),
            8 => Moment::Batches(1 + random.below(600)),
            9 | 10 => Moment::Roll,
            11 => Moment::Ready,
            12..=14 => Moment::Starting(1 + random.below(START_CALLS)),
            _ => Moment::Stop(1 + random.below(30)),
        }
    }
}

/// The names of all segments, in every log directory.
fn segments(broker: &Broker) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let log_dirs = LOG_DIRS.split(',').map(|name| broker.data_dir().with_file_name(name));
    for dir in log_dirs.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten() {
        for file in std::fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|e| e == "log")
                && !name.starts_with("00000000000000000000")
            {
                found.insert(format!("{}/{name}", dir.file_name().to_string_lossy()));
            }
        }
    }
    found
}

/// Kills at the moment, and leaves the broker running again. False if a thread has failed.
fn kill(broker: &mut Broker, load: &Load, moment: Moment) -> bool {
    match moment {
        Moment::Batches(batches) => {
            if !load.wait(batches) {
                return false;
            }
        }
        Moment::Roll => {
            let before = segments(broker);
            let rolled = || !segments(broker).is_subset(&before);
            let _ = poll::within_busily(PATIENCE, || (rolled() || load.failed()).then_some(()));
        }
        Moment::Ready => {}
        Moment::Starting(calls) => {
            broker.kill9();
            broker.restart_and_kill9(calls);
            broker.restart();
            return !load.failed();
        }
        Moment::Stop(batches) => {
            broker.stop();
            broker.restart();
            if !load.wait(batches) {
                return false;
            }
        }
    }
    broker.kill9();
    broker.restart();
    !load.failed()
}

fn taking_part(plans: &'static [Plan]) -> impl Iterator<Item = &'static Plan> {
    let named = std::env::var("OTTLA_TOPICS").ok();
    let takes_part = move |topic: &str| named.as_ref().is_none_or(|n| n.split(',').any(|n| n == topic));
    plans.iter().filter(move |plan| plan.topic == COMMITTED || takes_part(plan.topic))
}

fn create_topics(broker: &Broker) {
    let mut client = Client::connect(broker);
    for plan in taking_part(STEADY) {
        let error = client.create_topic_with(plan.topic, plan.partitions, plan.configs);
        assert_eq!(error.expect("CreateTopics"), code::NONE, "{}", plan.topic);
    }
}

fn kill_under_load(kills: u64, seed: u64) {
    println!(
        "{kills} kills, seed {seed}; again: OTTLA_KILLS={kills} OTTLA_SEED={seed} cargo test --test kill9 nothing"
    );
    let mut random = Random(seed.max(1));
    let properties = [
        ("offsets.topic.num.partitions", "3"),
        ("log.retention.check.interval.ms", "100"),
        // Its halves are full now and then.
        ("ottla.core.journal.bytes", "1048576"),
        ("ottla.cores", "2"),
        ("log.dirs", LOG_DIRS),
    ];
    let mut broker = Broker::start("kill9", &properties);
    create_topics(&broker);
    let load = Load::new(broker.address());
    for group in GROUPS {
        assert_eq!(committed(&load, group, COMMITTED), 0);
    }
    let (mut lanes, commits) = std::thread::scope(|scope| {
        let load = &load;
        let _tell = TellOnPanic(load);
        let mut threads = Vec::new();
        for plan in taking_part(STEADY) {
            for partition in 0..plan.partitions {
                let mut lane = Lane::new(load, *plan, partition, 1, random.split());
                threads.push(scope.spawn(move || {
                    let _tell = TellOnPanic(load);
                    lane.run();
                    lane
                }));
            }
        }
        for plan in taking_part(PASSING) {
            let random = random.split();
            threads.push(scope.spawn(move || {
                let _tell = TellOnPanic(load);
                come_and_go(load, *plan, random)
            }));
        }
        let committers = GROUPS.map(|group| {
            scope.spawn(move || {
                let _tell = TellOnPanic(load);
                (group, commit(load, group, COMMITTED))
            })
        });
        for number in 1..=kills {
            broker.set("ottla.cores", if random.below(2) == 0 { "1" } else { "2" });
            let moment = Moment::choose(&mut random);
            println!("kill {number}: {moment:?}, {} batches acknowledged", load.batches());
            if !kill(&mut broker, load, moment) {
                break;
            }
        }
        let _ = load.failed() || load.wait(50);
        load.stop();
        let lanes: Vec<Lane<'_>> = threads.into_iter().map(|t| t.join().expect("a producer")).collect();
        (lanes, committers.map(|thread| thread.join().expect("a committer")))
    });
    let mut verify = || {
        lanes.iter_mut().for_each(Lane::verify);
        for (group, acknowledged) in commits {
            assert!(committed(&load, group, COMMITTED) >= acknowledged, "{group}: the offset went back");
        }
    };
    verify();
    // The same after one more kill without load, and after a clean stop.
    broker.kill9();
    broker.restart();
    verify();
    broker.stop();
    broker.restart();
    verify();
    broker.stop();
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    kill_under_load(number("OTTLA_KILLS", 50), number("OTTLA_SEED", 1));
}

#[test]
#[ignore = "five hundred kills take minutes"]
fn five_hundred_kills() {
    kill_under_load(number("OTTLA_KILLS", 500), number("OTTLA_SEED", 500));
}
