//! One producing connection.

use super::BenchError;
use super::check::Ledger;
use super::client::{Topic, Versions};
use super::load::Load;
use super::outcome::Outcome;
use super::socket::Socket;
use super::template::{Shape, Stamp, Template, VARIANTS};
use crate::wire::api::ApiKey;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::errors::ErrorCode;
use crate::wire::frame;
use crate::wire::record::Codec;
use std::collections::VecDeque;
use std::sync::Arc;

/// When records are due: record `j` of producer `c` of `C` at the time of record `j * C + c` of all.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The first record's time.
    pub start_ns: u64,
    /// Nanoseconds between two records of all producers; `None` for a closed loop.
    pub interval_ns: Option<f64>,
    /// How long a record waits for others.
    pub linger_ns: u64,
    /// Producers.
    pub producers: u64,
}

impl Schedule {
    fn due_ns(&self, interval_ns: f64, producer: u32, record: u64) -> u64 {
        self.start_ns + ((record * self.producers + u64::from(producer)) as f64 * interval_ns) as u64
    }

    /// How many records of a producer are due by `now_ns`.
    fn due(&self, interval_ns: f64, producer: u32, now_ns: u64) -> u64 {
        let all = (now_ns.saturating_sub(self.start_ns) as f64 / interval_ns) as u64 + 1;
        (all + self.producers - 1).saturating_sub(u64::from(producer)) / self.producers
    }
}

/// What all producers share.
pub struct Shared<'a> {
    /// The load.
    pub load: &'a Load,
    /// Its batches.
    pub shape: Arc<Shape>,
    /// Its topics.
    pub topics: &'a [Topic],
    /// What was agreed on.
    pub versions: Versions,
    /// When records are due.
    pub schedule: Schedule,
    /// By number of records (and variant), made when first used.
    templates: Vec<Option<Template>>,
}

impl<'a> Shared<'a> {
    /// Makes the templates that will surely be used.
    pub fn new(
        load: &'a Load,
        shape: Arc<Shape>,
        topics: &'a [Topic],
        versions: Versions,
        start_ns: u64,
    ) -> Result<Shared<'a>, BenchError> {
        let interval_ns = load.rate.map(|rate| 1e9 / rate);
        let schedule = Schedule {
            start_ns,
            interval_ns,
            linger_ns: (load.linger_ms * 1e6) as u64,
            producers: load.producers.max(1) as u64,
        };
        let variants = if load.codec == Codec::None { 1 } else { VARIANTS as usize };
        let mut templates = Vec::new();
        templates.resize_with((load.records + 1) * variants, || None);
        let mut shared = Shared { load, shape, topics, versions, schedule, templates };
        for variant in 0..variants {
            shared.template(load.records, variant as u64)?;
            // With a rate, batches are as long as it happens.
            if interval_ns.is_some() && load.records <= 64 {
                for records in 1..load.records {
                    shared.template(records, variant as u64)?;
                }
            }
        }
        Ok(shared)
    }

    fn template(&mut self, records: usize, variant: u64) -> Result<&mut Template, BenchError> {
        let slot = &mut self.templates[variant as usize * (self.load.records + 1) + records];
        match slot {
            Some(template) => Ok(template),
            None => Ok(slot.insert(Template::new(
                self.load,
                &self.shape,
                records,
                variant,
                &self.topics[0],
                self.versions,
            )?)),
        }
    }
}

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    correlation_id: i32,
    /// The number of its first record among this producer's.
    first: u64,
    /// When it was to be sent, without a rate.
    at_ns: u64,
    records: u32,
    /// Its first partition, over all topics.
    partition: usize,
    bytes: u32,
}

/// A connection.
pub struct Producer {
    /// For events.
    pub socket: Socket,
    number: u32,
    identity: Option<(i64, i16)>,
    in_flight: VecDeque<Sent>,
    /// The group of partitions that comes next.
    turn: usize,
    /// Records sent.
    taken: u64,
    correlation_id: i32,
}

/// What counts.
pub struct Window {
    /// From here on.
    pub begin_ns: u64,
    /// Up to here, where producers stop.
    pub end_ns: u64,
}

impl Window {
    /// Whether a moment counts.
    pub fn has(&self, ns: u64) -> bool {
        (self.begin_ns..self.end_ns).contains(&ns)
    }
}

impl Producer {
    /// Number `number`, on a connection of its own.
    pub fn new(number: u32, socket: Socket, identity: Option<(i64, i16)>, load: &Load) -> Producer {
        Producer {
            socket,
            number,
            identity,
            in_flight: VecDeque::with_capacity(load.depth),
            // Producers begin with different partitions.
            turn: number as usize,
            taken: 0,
            correlation_id: 0,
        }
    }

    /// Whether an answer is awaited or a byte is to be sent.
    pub fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || self.socket.is_behind()
    }

    /// Whether records that were due before the end are not sent yet: they are sent late, as to leave them out would
    /// hide what held them up.
    pub fn owes(&self, shared: &Shared<'_>, window: &Window) -> bool {
        shared.schedule.interval_ns.is_some_and(|interval_ns| {
            let due = shared.schedule.due(interval_ns, self.number, window.end_ns - 1);
            // Requests for several partitions are sent when they are full.
            shared.load.batches == 1 && self.taken < due
        })
    }

    /// Sends what may be sent now.
    pub fn send_due(
        &mut self,
        shared: &mut Shared<'_>,
        ledger: &mut Ledger,
        outcome: &mut Outcome,
        window: &Window,
        now_ns: u64,
    ) -> Result<(), BenchError> {
        if now_ns >= window.end_ns && !self.owes(shared, window) {
            return Ok(());
        }
        let full = shared.load.records * shared.load.batches;
        let records = shared.load.records;
        match shared.schedule.interval_ns {
            None if shared.load.acks == 0 => {
                // Nobody answers: the kernel's buffer is what holds it back.
                let mut left = 16;
                while left > 0 && !self.socket.is_behind() {
                    left -= 1;
                    self.send(shared, ledger, records, now_ns)?;
                    self.socket.flush().map_err(BenchError::io("send Produce"))?;
                    let sent = self.in_flight.pop_back();
                    if let Some(sent) = sent.filter(|_| window.has(now_ns)) {
                        outcome.requests += 1;
                        outcome.records += u64::from(sent.records);
                        outcome.bytes += u64::from(sent.bytes);
                    }
                }
            }
            None => {
                while self.in_flight.len() < shared.load.depth {
                    self.send(shared, ledger, records, now_ns)?;
                }
            }
            Some(interval_ns) => {
                let due = shared.schedule.due(interval_ns, self.number, now_ns.min(window.end_ns - 1));
                while self.in_flight.len() < shared.load.depth && self.taken < due {
                    let waiting = (due - self.taken) as usize;
                    let first_ns = shared.schedule.due_ns(interval_ns, self.number, self.taken);
                    let late = now_ns >= first_ns + shared.schedule.linger_ns && shared.load.batches == 1;
                    if waiting < full && !late {
                        break;
                    }
                    self.send(shared, ledger, waiting.min(records), now_ns)?;
                }
            }
        }
        self.socket.flush().map_err(BenchError::io("send Produce"))
    }

    /// When [`Producer::send_due`] should be called next, unless an answer comes first.
    pub fn next_due_ns(&self, shared: &Shared<'_>) -> Option<u64> {
        let interval_ns = shared.schedule.interval_ns?;
        if self.in_flight.len() >= shared.load.depth {
            return None;
        }
        let full = (shared.load.records * shared.load.batches) as u64;
        let filled = shared.schedule.due_ns(interval_ns, self.number, self.taken + full - 1);
        if shared.load.batches > 1 {
            return Some(filled);
        }
        let first = shared.schedule.due_ns(interval_ns, self.number, self.taken);
        Some(filled.min(first + shared.schedule.linger_ns))
    }

    /// Sends `records` records to each of the next `batches` partitions.
    fn send(
        &mut self,
        shared: &mut Shared<'_>,
        ledger: &mut Ledger,
        records: usize,
        now_ns: u64,
    ) -> Result<(), BenchError> {
        let (load, shape, schedule, number) =
            (shared.load, Arc::clone(&shared.shape), shared.schedule, self.number);
        let partition = self.turn % (load.partitions_total() / load.batches) * load.batches;
        self.turn = self.turn.wrapping_add(1);
        let variant = match load.codec {
            Codec::None => 0,
            _ => ledger.next_sequence(number, partition) / records as u64 % VARIANTS,
        };
        let (topic, index) = (&shared.topics[partition / load.partitions], partition % load.partitions);
        let template = shared.template(records, variant)?;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        template.address(self.correlation_id, topic);
        let first = self.taken;
        for batch in 0..load.batches {
            let sequence = ledger.next_sequence(number, partition + batch);
            let stamp = Stamp { producer: number, sequence, identity: self.identity };
            let crc = template.stamp(&shape, batch, (index + batch) as i32, &stamp, |record| match schedule
                .interval_ns
            {
                Some(interval) => {
                    schedule.due_ns(interval, number, first + (batch * records + record) as u64)
                }
                None => now_ns,
            });
            ledger.batch(number, partition + batch, records as u64, crc);
        }
        self.socket.send(template.frame()).map_err(BenchError::io("send Produce"))?;
        let all = records * load.batches;
        self.in_flight.push_back(Sent {
            correlation_id: self.correlation_id,
            first,
            at_ns: now_ns,
            records: all as u32,
            partition,
            bytes: (template.batch_bytes() * load.batches) as u32,
        });
        self.taken += all as u64;
        Ok(())
    }

    /// Takes the acknowledgements that have come; whether there were any.
    pub fn take_replies(
        &mut self,
        shared: &Shared<'_>,
        ledger: &mut Ledger,
        outcome: &mut Outcome,
        window: &Window,
        now_ns: u64,
    ) -> Result<bool, BenchError> {
        let mut any = false;
        while let Some(reply) = self.socket.receive().map_err(BenchError::io("a Produce reply"))? {
            let Some(sent) = self.in_flight.pop_front() else {
                return Err(BenchError::reply("Produce")("an answer to nothing"));
            };
            any = true;
            let number = self.number;
            acknowledged(reply, shared.versions.produce, sent.correlation_id, |index, offset| {
                let topic = sent.partition / shared.load.partitions;
                ledger.offset(number, topic * shared.load.partitions + index, offset);
            })?;
            if window.has(now_ns) {
                outcome.requests += 1;
                outcome.records += u64::from(sent.records);
                outcome.bytes += u64::from(sent.bytes);
            }
            match shared.schedule.interval_ns {
                None if window.has(sent.at_ns) => {
                    outcome.acknowledged_ns.saturating_record(now_ns.saturating_sub(sent.at_ns));
                }
                None => {}
                Some(interval_ns) => {
                    for record in sent.first..sent.first + u64::from(sent.records) {
                        let intended_ns = shared.schedule.due_ns(interval_ns, number, record);
                        if window.has(intended_ns) {
                            outcome.acknowledged_ns.saturating_record(now_ns.saturating_sub(intended_ns));
                        }
                    }
                }
            }
        }
        Ok(any)
    }
}

/// Reads a Produce response without keeping anything of it.
fn acknowledged(
    reply: &[u8],
    version: i16,
    correlation_id: i32,
    mut each: impl FnMut(usize, i64),
) -> Result<(), BenchError> {
    let mut r = frame::read_response(reply, ApiKey::Produce, version, correlation_id)
        .map_err(BenchError::reply("Produce"))?;
    let refused = walk(&mut r, version, &mut each).map_err(BenchError::reply("Produce"))?;
    BenchError::check(|| "Produce".to_owned(), refused.0)
}

fn walk(r: &mut Reader<'_>, v: i16, each: &mut impl FnMut(usize, i64)) -> Result<ErrorCode, DecodeError> {
    let flexible = v >= 9;
    for _ in 0..r.count(flexible, 1)?.unwrap_or_default() {
        if v >= 13 {
            r.uuid()?;
        } else {
            r.string(flexible)?;
        }
        for _ in 0..r.count(flexible, 1)?.unwrap_or_default() {
            let (index, error, offset, _time) = (r.i32()?, r.i16()?, r.i64()?, r.i64()?);
            if error != 0 {
                return Ok(ErrorCode(error));
            }
            each(index as usize, offset);
            if v >= 5 {
                r.i64()?; // the log's start
            }
            if v >= 8 {
                for _ in 0..r.count(flexible, 4)?.unwrap_or_default() {
                    r.i32()?;
                    r.nullable_string(flexible)?;
                    if flexible {
                        r.skip_tags()?;
                    }
                }
                r.nullable_string(flexible)?;
            }
            if flexible {
                r.skip_tags()?;
            }
        }
        if flexible {
            r.skip_tags()?;
        }
    }
    Ok(ErrorCode::NONE)
}
