//! The load: each thread owns its partitions, knows what it was told, and looks after every disturbance.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::ledger::{Ledger, Trim};
use crate::support::poll;
use crate::support::raw::{Client, code};
use crate::support::records::Batch;

/// How long a client goes on asking a broker that is down or not ready.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A generator for reproducible sizes and moments (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    pub fn split(&mut self) -> Random {
        Random(self.below(u64::MAX) | 1)
    }
}

#[derive(Default)]
struct Progress {
    batches: u64,
    stop: bool,
    failed: bool,
}

/// What the threads share.
pub struct Load {
    pub address: SocketAddr,
    progress: Mutex<Progress>,
    moved: Condvar,
}

impl Load {
    pub fn new(address: SocketAddr) -> Load {
        Load { address, progress: Mutex::default(), moved: Condvar::new() }
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().expect("progress"));
        self.moved.notify_all();
    }

    pub fn acknowledged(&self) {
        self.change(|p| p.batches += 1);
    }

    pub fn stop(&self) {
        self.change(|p| p.stop = true);
    }

    pub fn stopping(&self) -> bool {
        self.progress.lock().expect("progress").stop
    }

    /// Waits until so many more batches are acknowledged. False if a thread has failed.
    pub fn wait(&self, batches: u64) -> bool {
        let progress = self.progress.lock().expect("progress");
        let goal = progress.batches + batches;
        let waits = |p: &mut Progress| p.batches < goal && !p.failed;
        let (progress, timeout) = self.moved.wait_timeout_while(progress, PATIENCE, waits).expect("progress");
        assert!(!timeout.timed_out(), "no progress within {PATIENCE:?}");
        !progress.failed
    }

    pub fn batches(&self) -> u64 {
        self.progress.lock().expect("progress").batches
    }

    pub fn failed(&self) -> bool {
        self.progress.lock().expect("progress").failed
    }

    /// Another thread has said what is wrong: this one ends without a word.
    fn end_if_failed(&self) {
        if self.failed() {
            std::panic::resume_unwind(Box::new("another thread has failed"));
        }
    }

    /// A connection to a broker whose partition answers; waits while it is down or starting.
    pub fn connect(&self, topic: &str, partition: i32) -> Client {
        let mut last = String::new();
        let found = poll::within(PATIENCE, || {
            self.end_if_failed();
            let mut client = Client::open(self.address).ok()?;
            match client.list_offset(topic, partition, -1) {
                Ok(Ok(_)) => return Some(client),
                Ok(Err(error)) => last = format!("error {error}"),
                Err(error) => last = error.to_string(),
            }
            None
        });
        found.unwrap_or_else(|| panic!("{topic}-{partition} is not served: {last}"))
    }

    /// Asks until there is an answer; whether an earlier one was lost.
    fn insist<T>(&self, mut ask: impl FnMut(&mut Client) -> io::Result<T>) -> (T, bool) {
        let mut lost = false;
        let answer = poll::until("an answer", PATIENCE, || {
            self.end_if_failed();
            let mut client = Client::open(self.address).ok()?;
            let answer = ask(&mut client).ok();
            lost |= answer.is_none();
            answer
        });
        (answer, lost)
    }
}

/// Tells the others when a thread panics: they would wait for it for ever.
pub struct TellOnPanic<'a>(pub &'a Load);

impl Drop for TellOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.change(|p| (p.failed, p.stop) = (true, true));
        }
    }
}

/// What a partition is for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub topic: &'static str,
    pub partitions: i32,
    pub idempotent: bool,
    /// Requests on their way; a plain producer's values are in order only with one.
    pub depth: usize,
    pub trim: Trim,
    pub configs: &'static [(&'static str, &'static str)],
}

/// One batch on its way: the number of its first record and its bytes.
struct Sent {
    first: u64,
    records: u64,
    batch_bytes: u64,
    request: Vec<u8>,
}

/// A partition's producer. After every disturbance it looks whether what was acknowledged is there, and sends again, in
/// order, what was not.
pub struct Lane<'a> {
    load: &'a Load,
    pub plan: Plan,
    pub ledger: Ledger,
    client: Client,
    producer: Option<(i64, i16)>,
    pending: VecDeque<Sent>,
    /// The next value's number.
    pub next: u64,
    random: Random,
    /// Small batches that follow before the next large one may come.
    small: u64,
    refusals: u32,
}

impl<'a> Lane<'a> {
    pub fn new(load: &'a Load, plan: Plan, partition: i32, life: u64, random: Random) -> Lane<'a> {
        let ledger = Ledger::new(plan.topic, partition, life, plan.idempotent, plan.trim);
        let client = load.connect(plan.topic, partition);
        let producer = plan.idempotent.then(|| load.insist(Client::init_producer_id).0);
        Lane {
            load,
            plan,
            ledger,
            client,
            producer,
            pending: VecDeque::new(),
            next: 0,
            random,
            small: 0,
            refusals: 0,
        }
    }

    /// Until the load stops, and what was sent is acknowledged.
    pub fn run(&mut self) {
        while !self.load.stopping() || !self.pending.is_empty() {
            self.round(!self.load.stopping());
            if self.plan.trim == Trim::Asked && self.random.below(8) == 0 && self.pending.is_empty() {
                self.delete_records();
            }
        }
    }

    /// Sends what is pending, and more if it may, and takes the answers.
    pub fn round(&mut self, more: bool) {
        while more && self.pending.len() < self.plan.depth {
            self.push();
        }
        match self.exchange() {
            Ok(code::NONE) => self.refusals = 0,
            Ok(code::OUT_OF_ORDER_SEQUENCE_NUMBER) => self.forgotten(),
            Ok(error) => {
                self.refusals += 1;
                let (topic, partition) = (self.plan.topic, self.ledger.partition);
                assert!(self.refusals < 1000, "{topic}-{partition}: error {error} again and again");
                self.look();
            }
            Err(_) => self.look(),
        }
    }

    /// A new batch: many small ones, some about as large as the journal takes, some that are written by themselves.
    fn push(&mut self) {
        let (records, bytes) = match self.random.below(24) {
            0 if self.small == 0 => {
                self.small = 4 + self.random.below(12);
                (1, 100_000 + self.random.below(800_000))
            }
            1 => (1, 20_000 + self.random.below(20_000)),
            2..=4 => (1 + self.random.below(10), 10 + self.random.below(3000)),
            _ => (1 + self.random.below(20), 10 + self.random.below(80)),
        };
        self.small = self.small.saturating_sub(1);
        let values: Vec<String> =
            (self.next..self.next + records).map(|n| self.ledger.value(n, bytes as usize)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let mut batch = Batch::plain(&values);
        // Records with old timestamps would let the broker forget their producer (producer.id.expiration.ms) at a restart.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        batch.timestamp = now.as_millis() as i64;
        if let Some(producer) = self.producer {
            batch = batch.idempotent(producer, self.next as i32);
        }
        let batch = batch.encode();
        let request = Client::produce_body(self.plan.topic, self.ledger.partition, -1, &batch);
        let batch_bytes = batch.len() as u64;
        self.pending.push_back(Sent { first: self.next, records, batch_bytes, request });
        self.next += records;
    }

    /// Sends all pending batches at once and takes their answers in order, dropping what is acknowledged; gives the first
    /// error code.
    fn exchange(&mut self) -> io::Result<i16> {
        let mut correlations = Vec::new();
        for sent in &self.pending {
            correlations.push(self.client.send(0, 3, &sent.request)?);
        }
        for correlation in correlations {
            let (error, offset) = self.client.receive_produced(correlation)?;
            match error {
                code::NONE | code::DUPLICATE_SEQUENCE_NUMBER => {
                    let sent = self.pending.pop_front().expect("an answer for each request");
                    assert!(offset >= 0 || error != code::NONE, "acknowledged at {offset}");
                    self.ledger.acknowledged(sent.first, sent.records, sent.batch_bytes, offset);
                    self.load.acknowledged();
                }
                error => return Ok(error),
            }
        }
        Ok(code::NONE)
    }

    /// Something happened: connects again and looks.
    pub fn look(&mut self) {
        loop {
            self.client = self.load.connect(self.plan.topic, self.ledger.partition);
            if self.ledger.check(&mut self.client, false).is_ok() {
                return;
            }
        }
    }

    /// Kafka's producer snapshots hold a producer's last batch only: behind a start, one that is sent again may be there
    /// and not be known as a duplicate. It is there then, and nothing of it is doubled.
    fn forgotten(&mut self) {
        self.look();
        let before = self.pending.len();
        while self.pending.front().is_some_and(|sent| self.ledger.has(sent.first)) {
            self.pending.pop_front();
        }
        let (topic, partition) = (self.plan.topic, self.ledger.partition);
        assert!(
            before > self.pending.len(),
            "{topic}-{partition}: out of order, but nothing before is missing"
        );
    }

    /// DeleteRecords up to somewhere, often the end.
    pub fn delete_records(&mut self) {
        let (start, end) = (self.ledger.start(), self.ledger.end());
        let before = if self.random.below(2) == 0 {
            end
        } else {
            start + self.random.below((end - start) as u64 + 1) as i64
        };
        self.ledger.asks_to_delete(before);
        match self.client.delete_records(self.plan.topic, self.ledger.partition, before) {
            Ok(Ok(low_watermark)) => self.ledger.deleted(low_watermark),
            Ok(Err(_)) | Err(_) => self.look(),
        }
    }

    /// Everything that was acknowledged is there, and nothing else.
    pub fn verify(&mut self) {
        loop {
            self.client = self.load.connect(self.plan.topic, self.ledger.partition);
            if self.ledger.check(&mut self.client, true).is_ok() {
                return self.ledger.complete(self.next, self.plan.depth == 1);
            }
        }
    }
}

/// A topic that comes and goes: each life begins empty at offset 0 and ends when it is deleted. Gives the lane of the last.
pub fn come_and_go(load: &Load, plan: Plan, mut random: Random) -> Lane<'_> {
    let mut life = 0;
    loop {
        life += 1;
        let (error, lost) = load.insist(|c| c.create_topic_with(plan.topic, plan.partitions, plan.configs));
        let made = error == code::NONE || (lost && error == code::TOPIC_ALREADY_EXISTS);
        assert!(made, "CreateTopics of life {life}: error {error}");
        let mut lane = Lane::new(load, plan, 0, life, random.split());
        let rounds = 1 + random.below(12);
        for _ in 0..rounds {
            lane.round(true);
            if random.below(6) == 0 && lane.pending.is_empty() {
                lane.delete_records();
            }
        }
        while !lane.pending.is_empty() {
            lane.round(false);
        }
        if load.stopping() {
            return lane;
        }
        // A look now and then: without one, what a restart has lost is not seen when the topic is gone.
        lane.look();
        let (error, lost) = load.insist(|client| client.delete_topic(plan.topic));
        let gone = error == code::NONE || (lost && error == code::UNKNOWN_TOPIC_OR_PARTITION);
        assert!(gone, "DeleteTopics of life {life}: error {error}");
    }
}

/// Commits 1, 2, 3, ... for a group and looks at what is committed after every disturbance. Gives the last acknowledged
/// offset.
pub fn commit(load: &Load, group: &str, topic: &str) -> i64 {
    let mut client = load.connect(topic, 0);
    let (mut acknowledged, mut attempted) = (0, 0);
    while !load.stopping() {
        attempted += 1;
        match client.commit(group, topic, 0, attempted) {
            Ok(code::NONE) => acknowledged = attempted,
            Ok(error) => {
                let waits = [
                    code::COORDINATOR_LOAD_IN_PROGRESS,
                    code::COORDINATOR_NOT_AVAILABLE,
                    code::NOT_COORDINATOR,
                    code::UNKNOWN_TOPIC_OR_PARTITION,
                ];
                assert!(waits.contains(&error), "OffsetCommit: error {error}");
                client = load.connect(topic, 0);
            }
            Err(_) => {
                client = load.connect(topic, 0);
                let found = committed(load, group, topic);
                assert!(
                    (acknowledged..=attempted).contains(&found),
                    "committed {found}, acknowledged {acknowledged}, attempted {attempted}"
                );
                acknowledged = found;
            }
        }
    }
    acknowledged
}

/// The committed offset, asked until the coordinator answers; 0 when nothing is committed.
pub fn committed(load: &Load, group: &str, topic: &str) -> i64 {
    poll::until("the committed offset", PATIENCE, || {
        let mut client = Client::open(load.address).ok()?;
        let _ = client.find_coordinator(group).ok()?;
        let found = client.committed(group, topic, 0).ok()?.ok()?;
        Some(found.max(0))
    })
}
