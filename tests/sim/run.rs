//! One run: a plan from a seed, load and faults for a while, then everything is healed, drained and looked at.

use std::collections::BTreeMap;

use ottla::base::Ticks;
use ottla::base::prng::Prng;
use ottla::io::sim::{DiskFault, DiskOp, Sim, SimConfig, WALL_START_MS};
use ottla::shard::Mail;
use ottla::wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
};

use super::admin::Admin;
use super::consumer::Consumer;
use super::link::{Link, News};
use super::machine::Machine;
use super::member::Member;
use super::model::{Model, Part, Topic};
use super::producer::{Kind, Producer};

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

struct Run {
    machine: Machine,
    model: Model,
    clients: Vec<Box<dyn Client>>,
    prng: Prng,
    wall_shift_ms: i64,
    all_durable: bool,
    /// Faults were asked for since the last start: what was fenced stays so.
    faulty: bool,
    restart_at: Option<Ticks>,
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
];

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
        let mut config = SimConfig::new(prng.next_u64(), shards);
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
        };
        run.machine.start(shards).expect("a first start");
        run.create_topics();
        run.invite();
        run
    }

    fn create_topics(&mut self) {
        let mut link: Link<()> = Link::new("setup", 250);
        let plain = vec![CreatableTopicConfig { name: "segment.bytes", value: Some("1048576") }];
        let durable = vec![CreatableTopicConfig { name: "flush.messages", value: Some("1") }];
        let topic = |name, num_partitions, configs| CreatableTopic {
            name,
            num_partitions,
            replication_factor: 1,
            configs,
            ..Default::default()
        };
        let topics = vec![topic("plain", 3, plain), topic("durable", 2, durable)];
        let request = CreateTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
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
                    });
                }
            }
            if self.machine.is_ready() && !link.is_open() {
                link.open(&self.machine.sim);
                link.ask(&self.machine.sim, &request, 7, ());
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
        let (value_bytes, pause_ms) =
            [(50, 20), (50, 200), (2000, 50), (60_000, 400)][self.prng.below(4) as usize];
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
            self.clients.push(Box::new(Producer::new(i as u8, kind, &parts, value_bytes, pause_ms, seed)));
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
    }

    fn cx(&mut self) -> (Cx<'_>, &mut Vec<Box<dyn Client>>) {
        let cx = Cx { sim: &self.machine.sim, model: &mut self.model, wall_shift_ms: self.wall_shift_ms };
        (cx, &mut self.clients)
    }

    /// Lets time pass until `until`, or until `done` says so. False if time was up.
    fn pass(&mut self, until: Ticks, done: impl Fn(&Run) -> bool) -> bool {
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

    fn restart(&mut self) {
        let shards = 1 + self.prng.below(3) as usize;
        match self.machine.start(shards) {
            Ok(()) => {
                self.restart_at = None;
                self.model.count("restarts");
            }
            Err(error) => {
                assert!(self.faulty, "the broker does not start on a healthy disk: {error}");
                self.model.count("starts that failed");
                self.machine.sim.disk().heal();
                self.restart_at = Some(self.machine.sim.now().plus_ms(500));
            }
        }
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

    fn disturb(&mut self) {
        tracing::info!(now = self.machine.sim.now().0 / 1_000_000, counts = ?self.model.counts, "next");
        match self.prng.below(12) {
            0..=2 => self.kill(),
            3 | 4 => self.power_cut(),
            5 => self.stop_cleanly(),
            6 | 7 => {
                let reset = self.prng.one_in(2);
                let (odd, which) = (self.prng.below(2), self.prng.next_u64());
                let (mut cx, clients) = self.cx();
                for (i, client) in clients.iter_mut().enumerate() {
                    if odd == 0 || which >> i & 1 == 1 {
                        client.disturb(&mut cx, reset);
                    }
                }
                self.model.count("connections broken");
            }
            8 | 9 => self.disk_fault(),
            10 => {
                let by = self.prng.below(40 * 3_600_000) as i64 - 20 * 3_600_000;
                let by = by.clamp(-86_400_000 - self.wall_shift_ms, 86_400_000 - self.wall_shift_ms);
                self.wall_shift_ms += by;
                self.machine.sim.shift_wall_ms(by);
                self.model.count("clock jumps");
            }
            _ => {
                let slow = self.prng.one_in(2);
                self.machine.sim.disk().configure(|c| {
                    (c.slow_one_in, c.slow_ns) = if slow { (3, 200_000_000) } else { (0, 0) };
                });
                self.model.count("disk speed changes");
            }
        }
    }

    fn kill(&mut self) {
        self.model.count("kills");
        self.machine.kill();
        self.healed();
    }

    fn power_cut(&mut self) {
        self.model.count("power cuts");
        self.machine.power_cut();
        self.model.power_cut();
        let durable = self.all_durable;
        let (mut cx, clients) = self.cx();
        for client in clients {
            // What had arrived and was not read is from before.
            client.disturb(&mut cx, true);
            client.power_cut(durable);
        }
        self.healed();
    }

    fn healed(&mut self) {
        if self.prng.one_in(2) {
            self.machine.sim.disk().heal();
            self.faulty = false;
        }
    }

    /// SIGTERM under load. It must end, and be clean if the disk is well.
    fn stop_cleanly(&mut self) {
        if !self.machine.is_ready() {
            return;
        }
        self.model.count("clean stops");
        let before = self.machine.stops.len();
        self.machine.sim.stop();
        let until = self.machine.sim.now().plus_ms(30_000);
        let ended = self.pass(until, |run| run.machine.stops.len() > before);
        assert!(ended, "the broker did not stop: {:?}", self.machine.load());
        let last = self.machine.stops.last().expect("a stop");
        assert!(last.is_ok() || self.faulty, "the stop was not clean on a healthy disk: {last:?}");
    }

    fn disk_fault(&mut self) {
        let parts = self.model.parts();
        let part = &parts[self.prng.below(parts.len() as u64) as usize];
        let durable = self.model.topic(&part.topic).durable;
        let mut path = format!("/{}-{}/", part.topic, part.partition);
        // A failed flush forgets what was written: only those who flush before they acknowledge may see it.
        let ops = [DiskOp::Write, DiskOp::Allocate, DiskOp::Read, DiskOp::Open, DiskOp::Rename, DiskOp::Sync];
        let op = ops[self.prng.below(if durable { 6 } else { 5 }) as usize];
        if self.prng.one_in(5) && (op != DiskOp::Sync || self.all_durable) {
            let paths = ["/__consumer_offsets-1/", "/__cluster_metadata-0/", "checkpoint"];
            path = String::from(paths[self.prng.below(3) as usize]);
        }
        let errno = if op == DiskOp::Write && self.prng.one_in(2) { 28 } else { 5 };
        let fault = DiskFault {
            path_contains: path,
            op,
            errno,
            skip: self.prng.below(20) as u32,
            times: 1 + self.prng.below(3) as u32,
        };
        self.machine.sim.disk().fail(fault);
        self.faulty = true;
        self.model.count("disk faults");
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
        for (from, to) in [(0, 5), (7, 11), (5, 7)] {
            self.clients[from..to].iter_mut().for_each(|c| c.stop());
            self.until_done(from, to);
        }
        let (mut cx, clients) = self.cx();
        for client in clients {
            client.close(&mut cx);
        }
        let until = self.machine.sim.now().plus_ms(2_000);
        self.clients.clear();
        self.pass(until, |_| false);
        assert_eq!(self.machine.load(), Vec::<String>::new(), "nothing is left to do, but");
        assert_eq!(self.machine.sim.open_connections(), 0);
        self.stop_cleanly();
        self.look();
    }

    fn until_done(&mut self, from: usize, to: usize) {
        let until = self.machine.sim.now().plus_ms(120_000);
        let done = self.pass(until, |run| run.clients[from..to].iter().all(|c| c.is_done()));
        let waiting = self.clients[from..to].iter().filter(|c| !c.is_done()).map(|c| c.describe());
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
        self.clients[0].stop();
        self.until_done(0, 1);
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
