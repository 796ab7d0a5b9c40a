//! One run: a plan from a seed, load and faults for a while, then everything is healed, drained and looked at.

use std::collections::BTreeMap;

use ottla::base::Ticks;
use ottla::base::prng::Prng;
use ottla::io::sim::{Sim, SimConfig, WALL_START_MS};
use ottla::shard::Mail;
use ottla::wire::messages::CreateTopicsResponse;

use super::admin::Admin;
use super::consumer::Consumer;
use super::link::{Link, News};
use super::machine::Machine;
use super::member::Member;
use super::model::{Model, Part, Topic};
use super::passing::Passing;
use super::producer::{Kind, Producer};
use super::requests::creatable;

/// The outside of a client.
pub struct Cx<'a> {
    pub sim: &'a Sim<Mail>,
    pub model: &'a mut Model,
    wall_shift_ms: i64,
}

impl Cx<'_> {
    pub fn now(&self) -> Ticks {
        self.sim.now()
    }

    /// Clients' clocks follow the machine's.
    pub fn wall_ms(&self) -> i64 {
        WALL_START_MS + (self.sim.now().0 / 1_000_000) as i64 + self.wall_shift_ms
    }
}

/// A simulated client.
pub trait Client {
    /// Takes what has come and does what is due.
    fn poll(&mut self, cx: &mut Cx<'_>);
    /// When it wants to be called even if nothing comes.
    fn next_at(&self) -> Ticks;
    /// The power has failed; whether everything acknowledged was flushed.
    fn power_cut(&mut self, all_durable: bool);
    /// Begin nothing new, end what was begun.
    fn stop(&mut self);
    fn is_done(&self) -> bool;
    /// The connection breaks.
    fn disturb(&mut self, cx: &mut Cx<'_>, reset: bool);
    fn close(&mut self, cx: &mut Cx<'_>);
    fn describe(&self) -> String;
}

/// What a run has come to.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    pub trace: u64,
    pub counts: BTreeMap<&'static str, u64>,
}

pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) model: Model,
    pub(super) clients: Vec<Box<dyn Client>>,
    pub(super) prng: Prng,
    pub(super) wall_shift_ms: i64,
    pub(super) all_durable: bool,
    /// Faults were asked for since the last start: what was fenced stays so.
    pub(super) faulty: bool,
    pub(super) restart_at: Option<Ticks>,
    /// Bits flip while no broker runs.
    pub(super) flips: bool,
}

/// Everything a seed decides.
pub fn run(seed: u64) -> Report {
    let mut run = Run::begin(seed);
    run.load();
    run.finish();
    Report { trace: run.machine.sim.trace(), counts: run.model.counts }
}

const SETTINGS: &[(&str, &str)] = &[
    ("log.retention.ms", "-1"),
    ("log.message.timestamp.after.max.ms", "9223372036854775807"),
    ("producer.id.expiration.ms", "2000000000"),
    ("log.initial.task.delay.ms", "0"),
    ("log.retention.check.interval.ms", "700"),
];

/// Of the groups' offsets, as the machine sets them.
pub const OFFSETS_PARTITIONS: i32 = 3;
/// The clients in their order: producers, consumers, members, and those that change topics.
const PRODUCERS: std::ops::Range<usize> = 0..5;
const CONSUMERS: std::ops::Range<usize> = 5..7;
const OTHERS: std::ops::Range<usize> = 7..13;
/// The last of them, whose topics come and go.
const PASSING: usize = 11;

impl Run {
    fn begin(seed: u64) -> Run {
        let mut prng = Prng::new(seed);
        let shards = 1 + prng.below(3) as usize;
        let all_durable = prng.one_in(2);
        let mut settings = SETTINGS.to_vec();
        if all_durable {
            settings.push(("log.flush.interval.messages", "1"));
        }
        // None, one whose halves fill up often, and the usual one, but smaller.
        let journal = ["0", "270336", "4194304"][prng.below(3) as usize];
        settings.push(("ottla.core.journal.bytes", journal));
        if prng.one_in(3) {
            settings.push(("log.dirs", "/data,/more"));
        }
        let mut config = SimConfig::new(prng.next_u64(), shards);
        // On a slow disk much is in flight, and what is journaled meanwhile lies behind a gap.
        config.disk.latency_ns_max = [400_000, 5_000_000, 30_000_000][prng.below(3) as usize];
        if prng.one_in(3) {
            (config.disk.slow_one_in, config.disk.slow_ns) = (30, 30_000_000);
        }
        if prng.one_in(3) {
            (config.network.window_bytes, config.network.latency_ns_max) = (3000, 2_000_000);
        }
        config.network.cut_one_in = [0, 2, 10][prng.below(3) as usize];
        let machine = Machine::new(config, &settings);
        let mut run = Run {
            machine,
            model: Model::new(all_durable),
            clients: Vec::new(),
            prng,
            wall_shift_ms: 0,
            all_durable,
            faulty: false,
            restart_at: None,
            flips: false,
        };
        run.flips = run.prng.one_in(2);
        run.machine.start(shards).expect("a first start");
        run.create_topics();
        run.invite();
        run
    }

    fn create_topics(&mut self) {
        let mut link: Link<()> = Link::new("setup", 250);
        // The smallest that a client may ask for, or smaller ones that roll all the time.
        let bytes = ["1048576", "270000", "270000"][self.prng.below(3) as usize];
        let segments = ("internal.segment.bytes", bytes);
        let durable = [segments, ("flush.messages", "1")];
        let retention = if self.prng.one_in(2) { "600000" } else { "-1" };
        let retained = [("internal.segment.bytes", "270000"), ("retention.bytes", retention)];
        let topics = vec![
            creatable("plain", 3, &[segments]),
            creatable("durable", 2, &durable),
            creatable("retained", 1, &retained),
        ];
        let deadline = self.machine.sim.now().plus_ms(10_000);
        while self.model.topics.is_empty() {
            assert!(self.machine.sim.now() < deadline, "the first topics were not created");
            let news = link.poll(&self.machine.sim);
            for news in news {
                let News::Answer(answer) = news else { continue };
                let response: CreateTopicsResponse<'_> = answer.read();
                for t in &response.topics {
                    assert_eq!(t.error_code, 0, "{}: {:?}", t.name, t.error_message);
                    self.model.topics.push(Topic {
                        name: t.name.to_owned(),
                        id: t.topic_id,
                        partitions: t.num_partitions,
                        durable: self.all_durable || t.name == "durable",
                        retained: t.name == "retained",
                    });
                }
            }
            if self.machine.is_ready() && !link.is_open() {
                link.open(&self.machine.sim);
                link.create_topics(&self.machine.sim, topics.clone(), ());
            }
            let limit = self.machine.sim.now().plus_ms(5);
            self.machine.step(limit);
        }
        self.model.topics.sort_by(|a, b| a.name.cmp(&b.name));
        link.close(&self.machine.sim, false);
    }

    fn invite(&mut self) {
        let parts = self.model.parts();
        // Little and often, or large and now and then: enough for segments to roll.
        let load =
            [(50, 0, 20), (50, 8, 100), (50, 20, 40), (2000, 0, 50), (2000, 12, 100), (60_000, 0, 400)]
                [self.prng.below(6) as usize];
        let deletes = self.prng.one_in(2);
        let kinds = [
            Kind::Idempotent,
            Kind::Idempotent,
            Kind::Plain { acks: 1 },
            Kind::Plain { acks: 0 },
            Kind::Plain { acks: -1 },
        ];
        for (i, kind) in kinds.into_iter().enumerate() {
            let seed = self.prng.next_u64();
            self.clients.push(Box::new(Producer::new(i as u8, kind, &parts, load, seed)));
        }
        for i in 10..12 {
            let seed = self.prng.next_u64();
            self.clients.push(Box::new(Consumer::new(i, &parts, seed)));
        }
        for i in 20..23 {
            let seed = self.prng.next_u64();
            self.clients.push(Box::new(Member::new(i, "group", &parts[..4], seed)));
        }
        let seed = self.prng.next_u64();
        self.clients.push(Box::new(Admin::new(30, &parts, deletes, seed)));
        let segments = ("internal.segment.bytes", "200000");
        for (number, configs) in [(31, vec![segments]), (32, vec![segments, ("flush.messages", "1")])] {
            let seed = self.prng.next_u64();
            self.clients.push(Box::new(Passing::new(number, configs, self.all_durable, seed)));
        }
    }

    pub(super) fn cx(&mut self) -> (Cx<'_>, &mut Vec<Box<dyn Client>>) {
        let cx = Cx { sim: &self.machine.sim, model: &mut self.model, wall_shift_ms: self.wall_shift_ms };
        (cx, &mut self.clients)
    }

    /// Lets time pass until `until`, or until `done` says so. False if time was up.
    pub(super) fn pass(&mut self, until: Ticks, done: impl Fn(&Run) -> bool) -> bool {
        while self.machine.sim.now() < until {
            if done(self) {
                return true;
            }
            if let Some(at) = self.restart_at
                && at <= self.machine.sim.now()
            {
                self.restart();
            }
            if !self.machine.is_up() && self.restart_at.is_none() {
                self.restart_at = Some(self.machine.sim.now().plus_ms(self.prng.below(500) as i64));
            }
            let (mut cx, clients) = self.cx();
            let mut next = until;
            for client in clients {
                client.poll(&mut cx);
                let at = client.next_at();
                next = next.min(at.max(cx.now().plus_ms(1)));
            }
            self.machine.step(next.min(self.restart_at.unwrap_or(Ticks::NEVER)));
        }
        done(self)
    }

    /// Load, with faults now and then.
    fn load(&mut self) {
        let events = 6 + self.prng.below(8);
        for _ in 0..events {
            let until = self.machine.sim.now().plus_ms(100 + self.prng.below(3000) as i64);
            self.pass(until, |_| false);
            self.disturb();
        }
    }

    /// Everything is healed, ends, and is looked at.
    fn finish(&mut self) {
        self.machine.sim.disk().heal();
        self.machine.sim.disk().configure(|c| (c.slow_one_in, c.slow_ns) = (0, 0));
        if self.faulty && self.machine.is_up() {
            self.machine.kill();
        }
        self.faulty = false;
        // Consumers last: they read what the producers' last retries have written.
        for some in [PRODUCERS, OTHERS, CONSUMERS] {
            self.clients[some.clone()].iter_mut().for_each(|c| c.stop());
            self.until_done(some);
        }
        let (mut cx, clients) = self.cx();
        for client in clients {
            client.close(&mut cx);
        }
        let until = self.machine.sim.now().plus_ms(2_000);
        self.clients.drain(..PASSING);
        self.pass(until, |_| false);
        assert_eq!(self.machine.load(), Vec::<String>::new(), "nothing is left to do, but");
        assert_eq!(self.machine.sim.open_connections(), 0);
        self.stop_cleanly();
        self.look();
    }

    fn until_done(&mut self, some: std::ops::Range<usize>) {
        let until = self.machine.sim.now().plus_ms(120_000);
        let done = self.pass(until, |run| run.clients[some.clone()].iter().all(|c| c.is_done()));
        let waiting = self.clients[some.clone()].iter().filter(|c| !c.is_done()).map(|c| c.describe());
        assert!(done, "does not end: {:#?}", waiting.collect::<Vec<_>>());
    }

    /// After a clean stop and a start: everything that was promised is there.
    fn look(&mut self) {
        let parts = self.model.parts();
        let before: Vec<i64> = parts.iter().map(|p| self.model.high_watermark(p)).collect();
        let seed = self.prng.next_u64();
        self.clients.push(Box::new(Consumer::new(40, &parts, seed)));
        let until = self.machine.sim.now().plus_ms(5_000);
        self.pass(until, |run| run.machine.is_ready());
        self.clients.iter_mut().for_each(|client| client.stop());
        let all = 0..self.clients.len();
        self.until_done(all);
        for (part, before) in parts.iter().zip(before) {
            let end = self.model.high_watermark(part);
            assert_eq!(end, before, "{part:?}: a clean stop and start changed its end");
            self.model.complete(part, end);
        }
        let part: Vec<Part> = parts[..4].to_vec();
        let seed = self.prng.next_u64();
        self.clients.push(Box::new(Member::new(41, "group", &part, seed)));
        let until = self.machine.sim.now().plus_ms(20_000);
        let read = self.model.counts.get("commits read").copied();
        self.pass(until, |run| run.model.counts.get("commits read").copied() > read);
    }
}
