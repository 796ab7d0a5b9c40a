//! The loop: one thread, all connections, until the time is over and everything has come back.

use super::BenchError;
use super::check::{Checker, Ledger};
use super::client::{Client, Topic};
use super::consumer::Consumer;
use super::load::Load;
use super::outcome::Outcome;
use super::producer::{Producer, Shared, Window};
use super::socket::Socket;
use super::template::Shape;
use mio::{Events, Interest, Poll, Token};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::park_timeout;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long nothing may arrive, after the last record was sent, before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(30);
/// Between two looks at what is not acknowledged.
const PAUSE: Duration = Duration::from_millis(20);
/// The poll's own timeouts are in milliseconds and end late; so the last stretch is not slept.
const POLL_NS: u64 = 1_500_000;

/// A moment at which the caller reads its meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// What happens from here on counts.
    Begin,
    /// What happens from here on does not.
    End,
}

/// What a record has beside its value, about.
const RECORD_OVERHEAD_BYTES: usize = 10;

/// A partition with more or fewer records than were sent.
struct WrongEnd {
    partition: usize,
    end: i64,
    sent: u64,
}

/// A load with its topics on a broker, and what was sent to them so far.
pub struct Bench {
    client: Client,
    load: Load,
    topics: Vec<Topic>,
    shape: Arc<Shape>,
    ledger: Ledger,
    identities: Vec<Option<(i64, i16)>>,
    clock: Instant,
}

impl Bench {
    /// Makes the topics, named after `name`.
    pub fn prepare(address: SocketAddr, load: Load, name: &str) -> Result<Bench, BenchError> {
        load.check()?;
        let mut client = Client::connect(address)?;
        // Of one length, as requests are patched.
        let names: Vec<_> = (0..load.topics).map(|topic| format!("{name}-{topic:05}")).collect();
        let topics = client.create_topics(&names, load.partitions, &load.config)?;
        let mut identities = vec![None; load.producers];
        if load.idempotent {
            for identity in &mut identities {
                *identity = Some(client.producer_id()?);
            }
        }
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let shape = Arc::new(Shape::new(&load, now_ms));
        let ledger = Ledger::new(load.producers, load.partitions_total());
        Ok(Bench { client, load, topics, shape, ledger, identities, clock: Instant::now() })
    }

    /// What was sent so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Runs the load for `ramp` uncounted and `time` counted, until every consumer has read every record. Consumers
    /// begin at the start of the partitions. `meter` is called at both moments.
    ///
    /// # Errors
    /// Also a record that is lost, doubled, out of order or changed.
    pub fn run(
        &mut self,
        ramp: Duration,
        time: Duration,
        meter: &mut dyn FnMut(Moment),
    ) -> Result<Outcome, BenchError> {
        let (producers, consumers, idle) = (self.load.producers, self.load.consumers, self.load.idle);
        self.turn(producers, consumers, idle, Some((ramp, time)), meter)
    }

    /// Produces about this many bytes of batches, without a rate.
    pub fn fill(&mut self, bytes: u64) -> Result<(), BenchError> {
        let rate = self.load.rate.take();
        let (producers, began) = (self.load.producers, self.ledger.records());
        let mut filled = Ok(());
        // Time is what a turn knows; the rate is learnt from the first, short one.
        let mut time = Duration::from_millis(100);
        loop {
            let before = self.ledger.records();
            filled =
                filled.and(self.turn(producers, 0, 0, Some((Duration::ZERO, time)), &mut |_| {}).map(|_| ()));
            let per_record = (self.load.record_bytes + RECORD_OVERHEAD_BYTES) as u64;
            let left = bytes.saturating_sub((self.ledger.records() - began) * per_record);
            let speed = ((self.ledger.records() - before) * per_record).max(1) as f64 / time.as_secs_f64();
            if left == 0 || filled.is_err() {
                break;
            }
            time = Duration::from_secs_f64((left as f64 / speed).clamp(0.02, 2.0));
        }
        self.load.rate = rate;
        filled
    }

    /// Reads everything back with one connection and checks it.
    ///
    /// # Errors
    /// Also a record that is lost, doubled, out of order or changed.
    pub fn read_back(&mut self, meter: &mut dyn FnMut(Moment)) -> Result<Outcome, BenchError> {
        self.turn(0, 1, 0, None, meter)
    }

    /// Asks where the partitions end: as many records as were sent must be there. What nobody acknowledges may still
    /// be on its way.
    pub fn check_ends(&mut self) -> Result<(), BenchError> {
        let mut progress = (0, Instant::now());
        loop {
            let (records, wrong) = self.look_at_ends()?;
            let Some(WrongEnd { partition, end, sent }) = wrong else { return Ok(()) };
            if records > progress.0 {
                progress = (records, Instant::now());
            }
            let on_its_way = self.load.acks == 0 && (end as u64) < sent && progress.1.elapsed() < SILENCE;
            if !on_its_way {
                let what = format!("the partition ends here, and {sent} records were sent");
                return Err(BenchError::Record { partition, offset: end, what });
            }
            park_timeout(PAUSE);
        }
    }

    /// The records of all partitions, and one of them that does not end where it should.
    fn look_at_ends(&mut self) -> Result<(u64, Option<WrongEnd>), BenchError> {
        let (mut records, mut wrong) = (0, None);
        for (number, topic) in self.topics.iter().enumerate() {
            let ends = self.client.ends(topic, self.load.partitions)?;
            for (index, end) in ends.into_iter().enumerate() {
                let partition = number * self.load.partitions + index;
                let sent = self.ledger.partition_records(partition);
                records += end as u64;
                // One that has too many stays so.
                if end as u64 > sent || (end as u64 != sent && wrong.is_none()) {
                    wrong = Some(WrongEnd { partition, end, sent });
                }
            }
        }
        Ok((records, wrong))
    }

    /// Deletes the topics.
    pub fn delete(mut self) -> Result<(), BenchError> {
        self.client.delete_topics(&self.topics)
    }

    fn turn(
        &mut self,
        producers: usize,
        consumers: usize,
        idle: usize,
        time: Option<(Duration, Duration)>,
        meter: &mut dyn FnMut(Moment),
    ) -> Result<Outcome, BenchError> {
        let poll = Poll::new().map_err(BenchError::io("epoll"))?;
        let (address, load, all) = (self.client.address, &self.load, self.load.partitions_total());
        let mut token = 0;
        let mut connect = || {
            let mut socket =
                Socket::connect(address).map_err(BenchError::io(format!("connect to {address}")))?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut socket.stream, Token(token), both)
                .map_err(BenchError::io("epoll"))?;
            token += 1;
            Ok::<_, BenchError>(socket)
        };
        let checker = || Checker::new(Arc::clone(&self.shape), load.producers, all);
        let mut producing = Vec::with_capacity(producers);
        for (number, identity) in self.identities.iter().enumerate().take(producers) {
            producing.push(Producer::new(number as u32, connect()?, *identity, load));
        }
        let mut consuming = Vec::with_capacity(consumers + idle);
        for number in 0..consumers + idle {
            let idle_partition = number.saturating_sub(consumers) % all;
            let partitions = if number < consumers { 0..all } else { idle_partition..idle_partition + 1 };
            // An idle one has nothing to check, and there may be many.
            let checker =
                if number < consumers { checker() } else { Checker::new(Arc::clone(&self.shape), 0, all) };
            consuming.push(Consumer::new(connect()?, checker, partitions));
        }
        let clock = self.clock;
        let start_ns = clock.elapsed().as_nanos() as u64;
        let window = match time {
            Some((ramp, time)) => {
                let begin_ns = start_ns + ramp.as_nanos() as u64;
                Window { begin_ns, end_ns: begin_ns + time.as_nanos() as u64 }
            }
            None => Window { begin_ns: start_ns, end_ns: u64::MAX },
        };
        let shared =
            Shared::new(load, Arc::clone(&self.shape), &self.topics, self.client.versions, start_ns)?;
        let mut turn = Loop {
            poll,
            clock,
            window,
            shared,
            ledger: &mut self.ledger,
            producers: producing,
            consumers: consuming,
            following: consumers,
            outcome: Outcome::new(),
            waited_ns: 0,
        };
        turn.go(meter)?;
        for consumer in turn.consumers.iter().take(consumers) {
            turn.ledger.compare(consumer.read(), load.acks != 0)?;
        }
        Ok(turn.outcome)
    }
}

/// The state of the loop.
struct Loop<'a> {
    poll: Poll,
    clock: Instant,
    window: Window,
    shared: Shared<'a>,
    ledger: &'a mut Ledger,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// The first of the consumers, which read everything.
    following: usize,
    outcome: Outcome,
    /// Time in the poll since the beginning.
    waited_ns: u64,
}

impl Loop<'_> {
    fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn go(&mut self, meter: &mut dyn FnMut(Moment)) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(1024);
        let (mut begun, mut ended) = (false, false);
        let mut last_progress_ns = self.now_ns();
        let timed = self.window.end_ns != u64::MAX;
        for consumer in &mut self.consumers {
            consumer.fetch(self.shared.load, self.shared.topics, self.shared.versions)?;
        }
        self.send_all()?;
        loop {
            let now_ns = self.now_ns();
            if !begun && now_ns >= self.window.begin_ns {
                begun = true;
                self.waited_ns = 0;
                meter(Moment::Begin);
            }
            let over = if timed { now_ns >= self.window.end_ns } else { self.is_read() };
            if begun && !ended && over {
                ended = true;
                meter(Moment::End);
                self.outcome.seconds = (now_ns - self.window.begin_ns) as f64 / 1e9;
                self.outcome.client_busy =
                    1.0 - self.waited_ns as f64 / (now_ns - self.window.begin_ns) as f64;
                last_progress_ns = now_ns;
            }
            if ended && !self.is_producing() && self.is_read() {
                return Ok(());
            }
            if (ended || !timed) && now_ns.saturating_sub(last_progress_ns) > SILENCE.as_nanos() as u64 {
                return Err(self.late());
            }
            let timeout = self.timeout(now_ns, begun, ended);
            self.poll
                .poll(&mut events, Some(timeout))
                .or_else(ignore_interrupts)
                .map_err(BenchError::io("epoll"))?;
            let woken_ns = self.now_ns();
            self.waited_ns += woken_ns - now_ns;
            for event in &events {
                if self.on_event(event.token().0, event.is_readable(), event.is_writable())? {
                    last_progress_ns = woken_ns;
                }
            }
            if self.shared.schedule.interval_ns.is_some() || self.shared.load.acks == 0 {
                self.send_all()?;
            }
        }
    }

    /// How long there is nothing to do but wait for an event.
    fn timeout(&self, now_ns: u64, begun: bool, ended: bool) -> Duration {
        let (load, window) = (self.shared.load, &self.window);
        let producing = !self.producers.is_empty() && (!ended || self.is_producing());
        if load.spin || (producing && load.acks == 0) {
            return Duration::ZERO;
        }
        let due =
            self.producers.iter().filter(|_| producing).filter_map(|p| p.next_due_ns(&self.shared)).min();
        let moment = if begun { window.end_ns } else { window.begin_ns };
        let moment = if ended { now_ns + 1_000_000_000 } else { moment };
        let next_ns = due.unwrap_or(u64::MAX).min(moment).min(now_ns + 1_000_000_000);
        let left_ns = next_ns.saturating_sub(now_ns);
        Duration::from_nanos(if left_ns < POLL_NS { 0 } else { left_ns - POLL_NS / 2 })
    }

    fn send_all(&mut self) -> Result<(), BenchError> {
        for producer in &mut self.producers {
            let now_ns = self.clock.elapsed().as_nanos() as u64;
            producer.send_due(&mut self.shared, self.ledger, &mut self.outcome, &self.window, now_ns)?;
        }
        Ok(())
    }

    /// Whether an acknowledgement or a record was received.
    fn on_event(&mut self, token: usize, readable: bool, writable: bool) -> Result<bool, BenchError> {
        let now_ns = self.now_ns();
        let (shared, outcome, window) = (&mut self.shared, &mut self.outcome, &self.window);
        if let Some(producer) = self.producers.get_mut(token) {
            producer
                .socket
                .on_event(readable, writable)
                .map_err(BenchError::io("a producer's connection"))?;
            let any = producer.take_replies(shared, self.ledger, outcome, window, now_ns)?;
            if any {
                producer.send_due(shared, self.ledger, outcome, window, now_ns)?;
            }
            return Ok(any);
        }
        let Some(consumer) = self.consumers.get_mut(token - self.producers.len()) else { return Ok(false) };
        consumer.socket.on_event(readable, writable).map_err(BenchError::io("a consumer's connection"))?;
        let (load, topics, versions) = (shared.load, shared.topics, shared.versions);
        let clock = self.clock;
        let now = || clock.elapsed().as_nanos() as u64;
        let before = consumer.read().records();
        if consumer.take_reply(load, topics, versions, outcome, window, now)? {
            consumer.fetch(load, topics, versions)?;
        }
        // A long poll that ends with nothing is no progress.
        Ok(consumer.read().records() > before)
    }

    /// Whether something is to be sent or acknowledged, after the end.
    fn is_producing(&self) -> bool {
        self.producers.iter().any(|producer| producer.is_busy() || producer.owes(&self.shared, &self.window))
    }

    /// Whether every consumer has every record.
    fn is_read(&self) -> bool {
        let sent = self.ledger.records();
        self.consumers.iter().take(self.following).all(|consumer| consumer.read().records() >= sent)
    }

    fn late(&self) -> BenchError {
        let sent = self.ledger.records();
        let waiting = self.producers.iter().filter(|producer| producer.is_busy()).count();
        let read = self.consumers.iter().take(self.following).map(|c| c.read().records()).min();
        let read = read.map_or(String::new(), |read| format!("; a consumer has {read} of {sent} records"));
        BenchError::Late(format!(
            "nothing came for {} s: {waiting} producers wait for acknowledgements{read}",
            SILENCE.as_secs()
        ))
    }
}

fn ignore_interrupts(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
