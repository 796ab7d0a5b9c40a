//! A topic that comes and goes under the same name. It has a ledger for each of its lives: a new one begins empty at
//! offset 0, and nothing of an earlier one is seen in it (A35).

use std::collections::BTreeMap;

use ottla::base::Ticks;
use ottla::base::prng::Prng;
use ottla::wire::messages::{
    CreateTopicsResponse, DeleteRecordsResponse, DeleteTopicsResponse, FetchRequest, FetchResponse,
    ListOffsetsResponse, ProduceResponse,
    fetch_request::{FetchPartition, FetchTopic},
};
use ottla::wire::record::{BatchBuilder, Batches, Scratch};

use super::link::{Answer, Link, News};
use super::producer::is_retriable;
use super::requests::creatable;
use super::run::{Client, Cx};

const UNKNOWN_TOPIC: i16 = 3;
const ALREADY_EXISTS: i16 = 36;
/// Produce requests on their way.
const IN_FLIGHT: usize = 4;

pub enum Tag {
    Create,
    Delete,
    Produce(u64, i64),
    DeleteRecords,
    End,
    Start,
    Fetch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Create,
    /// So many batches are still to be sent.
    Write(u64),
    /// Ask for the end, then the start, then read from there on. The number is what is left to write then.
    End(u64),
    Start(u64),
    Read(u64, i64),
    Delete,
    Done,
}

/// What is known of the topic's life.
#[derive(Default)]
struct Ledger {
    at: BTreeMap<i64, u64>,
    start: i64,
    end: i64,
    /// What DeleteRecords was asked for.
    asked: i64,
}

pub struct Passing {
    topic: String,
    link: Link<Tag>,
    prng: Prng,
    /// Acknowledged means flushed.
    durable: bool,
    configs: Vec<(&'static str, &'static str)>,
    life: u64,
    next: u64,
    exists: bool,
    ledger: Ledger,
    phase: Phase,
    /// An answer to Create or Delete was lost.
    lost: bool,
    next_at: Ticks,
    stopping: bool,
}

impl Passing {
    pub fn new(
        number: u8,
        configs: Vec<(&'static str, &'static str)>,
        all_durable: bool,
        seed: u64,
    ) -> Passing {
        let topic = format!("passing-{number}");
        Passing {
            link: Link::new(&topic, number),
            topic,
            prng: Prng::new(seed),
            durable: all_durable || configs.contains(&("flush.messages", "1")),
            configs,
            life: 1,
            next: 0,
            exists: false,
            ledger: Ledger::default(),
            phase: Phase::Create,
            lost: false,
            next_at: Ticks(0),
            stopping: false,
        }
    }

    fn create(&mut self, cx: &mut Cx<'_>) {
        let topic = creatable(&self.topic, 1, &self.configs);
        self.link.create_topics(cx.sim, vec![topic], Tag::Create);
    }

    fn delete(&mut self, cx: &mut Cx<'_>) {
        self.link.delete_topic(cx.sim, &self.topic, Tag::Delete);
    }

    /// Small ones, and some that the journal does not take: small ones behind them are journaled behind a gap.
    fn produce(&mut self, cx: &mut Cx<'_>) {
        let large = self.prng.one_in(6);
        let count = if large { 1 } else { 1 + self.prng.below(4) as i64 };
        let bytes = if large { self.prng.below(120_000) } else { self.prng.below(40) } as usize;
        let mut batch = BatchBuilder::new(0);
        let first = self.next;
        for _ in 0..count {
            let value = format!("{}.{} {}", self.life, self.next, "x".repeat(bytes));
            self.next += 1;
            batch.append(cx.wall_ms(), None, Some(value.as_bytes()), &[]);
        }
        let records = batch.build();
        self.link.produce(cx.sim, &self.topic, &records, Tag::Produce(first, count));
    }

    fn delete_records(&mut self, cx: &mut Cx<'_>) {
        let (start, end) = (self.ledger.start, self.ledger.end);
        let some = start + self.prng.below((end - start) as u64 + 1) as i64;
        let offset = if self.prng.one_in(2) { end } else { some };
        self.ledger.asked = self.ledger.asked.max(offset);
        self.link.delete_records(cx.sim, &self.topic, 0, offset, Tag::DeleteRecords);
    }

    fn fetch(&mut self, cx: &mut Cx<'_>, offset: i64) {
        let partition =
            FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 18, ..Default::default() };
        let topic = FetchTopic { topic: &self.topic, partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { topics: vec![topic], max_bytes: 1 << 20, ..Default::default() };
        self.link.ask(cx.sim, &request, 11, Tag::Fetch);
    }

    fn answered(&mut self, cx: &mut Cx<'_>, answer: &Answer<Tag>) {
        match answer.tag {
            Tag::Create => {
                let response: CreateTopicsResponse<'_> = answer.read();
                let topic = &response.topics[0];
                match topic.error_code {
                    0 => self.begin_life(cx),
                    ALREADY_EXISTS if self.lost => self.begin_life(cx),
                    error => self.refused(cx, "CreateTopics", error),
                }
            }
            Tag::Delete => {
                let response: DeleteTopicsResponse<'_> = answer.read();
                match response.responses[0].error_code {
                    0 => self.end_life(cx),
                    UNKNOWN_TOPIC if self.lost => self.end_life(cx),
                    error => self.refused(cx, "DeleteTopics", error),
                }
            }
            Tag::Produce(first, count) => {
                let response: ProduceResponse<'_> = answer.read();
                let p = &response.responses[0].partition_responses[0];
                match p.error_code {
                    0 => self.acknowledged(p.base_offset, first, count),
                    error => self.refused(cx, "Produce", error),
                }
            }
            Tag::DeleteRecords => {
                let response: DeleteRecordsResponse<'_> = answer.read();
                let p = &response.topics[0].partitions[0];
                match p.error_code {
                    0 => self.moved_start(p.low_watermark),
                    error => self.refused(cx, "DeleteRecords", error),
                }
            }
            Tag::End | Tag::Start => self.told(cx, &answer.read()),
            Tag::Fetch => self.fetched(cx, &answer.read()),
        }
    }

    fn begin_life(&mut self, cx: &mut Cx<'_>) {
        cx.model.count("lives of topics");
        self.lost = false;
        self.exists = true;
        self.phase = Phase::Write(self.prng.below(40));
    }

    fn end_life(&mut self, _: &mut Cx<'_>) {
        self.lost = false;
        self.exists = false;
        self.life += 1;
        self.next = 0;
        self.ledger = Ledger::default();
        self.phase = if self.stopping { Phase::Done } else { Phase::Create };
    }

    fn refused(&mut self, cx: &mut Cx<'_>, what: &str, error: i16) {
        assert!(is_retriable(error) || error == -1, "{} life {}: {what}: {error}", self.topic, self.life);
        // What a request that was refused while something failed has done is not known.
        self.lost = true;
        self.next_at = cx.now().plus_ms(100);
    }

    fn acknowledged(&mut self, base: i64, first: u64, count: i64) {
        let (topic, life, start) = (&self.topic, self.life, self.ledger.start);
        assert!(base >= start, "{topic} life {life}: acknowledged at {base}, the log starts at {start}");
        for i in 0..count {
            self.place(base + i, first + i as u64);
        }
        self.ledger.end = self.ledger.end.max(base + count);
    }

    fn place(&mut self, offset: i64, number: u64) {
        let before = self.ledger.at.insert(offset, number);
        let same = before.is_none_or(|before| before == number);
        assert!(same, "{} life {}: offset {offset} was {before:?}, is {number}", self.topic, self.life);
    }

    fn moved_start(&mut self, to: i64) {
        let (start, asked) = (self.ledger.start, self.ledger.asked);
        let (topic, life) = (&self.topic, self.life);
        assert!(to >= start, "{topic} life {life}: the log start went back from {start} to {to}");
        assert!(to <= asked, "{topic} life {life}: the log starts at {to}, {asked} was asked");
        self.ledger.start = to;
        self.ledger.end = self.ledger.end.max(to);
    }

    fn told(&mut self, cx: &mut Cx<'_>, response: &ListOffsetsResponse<'_>) {
        let p = &response.topics[0].partitions[0];
        if p.error_code != 0 {
            return self.refused(cx, "ListOffsets", p.error_code);
        }
        match self.phase {
            Phase::End(left) => {
                let (topic, life, end) = (&self.topic, self.life, self.ledger.end);
                assert!(p.offset >= end, "{topic} life {life}: the end went back from {end} to {}", p.offset);
                self.ledger.end = p.offset;
                self.phase = Phase::Start(left);
            }
            Phase::Start(left) => {
                self.moved_start(p.offset);
                self.phase = Phase::Read(left, p.offset);
            }
            _ => {}
        }
    }

    fn fetched(&mut self, cx: &mut Cx<'_>, response: &FetchResponse<'_>) {
        let p = &response.responses[0].partitions[0];
        if p.error_code != 0 {
            return self.refused(cx, "Fetch", p.error_code);
        }
        let Phase::Read(left, mut offset) = self.phase else { return };
        let mut scratch = Scratch::default();
        for batch in Batches::new(p.records.unwrap_or_default()).truncated_tail() {
            let batch = batch.expect("a batch");
            let base = batch.header().base_offset;
            for record in batch.records(&mut scratch, 1 << 20).expect("records") {
                let record = record.expect("a record");
                let at = base + i64::from(record.offset_delta);
                let number = self.number(record.value.expect("a value"));
                self.place(at, number);
                if at >= offset {
                    assert_eq!(at, offset, "{} life {}: a gap", self.topic, self.life);
                    offset += 1;
                    cx.model.count("records fetched");
                }
            }
        }
        self.phase = Phase::Read(left, offset);
    }

    fn number(&self, value: &[u8]) -> u64 {
        let end = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
        let text = String::from_utf8_lossy(&value[..end]);
        let (life, number) = text.split_once('.').expect("a value of ours");
        assert_eq!(life, self.life.to_string(), "{}: a record of another life", self.topic);
        number.parse().expect("a number")
    }

    /// Everything that is to be there was read.
    fn ends_reading(&mut self, cx: &mut Cx<'_>, left: u64) {
        cx.model.count("topics that pass checked");
        self.phase = match left {
            0 if self.stopping => Phase::Done,
            0 => Phase::Delete,
            _ if self.stopping => Phase::End(0),
            left => Phase::Write(left),
        };
    }

    fn act(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Create => self.create(cx),
            Phase::Write(0) => self.phase = Phase::End(0),
            Phase::Write(left) if self.prng.one_in(10) => {
                self.phase = Phase::Write(left - 1);
                self.delete_records(cx);
            }
            Phase::Write(left) => {
                for _ in 0..left.min(IN_FLIGHT as u64) {
                    self.produce(cx);
                }
                self.phase = Phase::Write(left.saturating_sub(IN_FLIGHT as u64));
            }
            Phase::End(_) => self.link.list_offset(cx.sim, &self.topic, 0, -1, Tag::End),
            Phase::Start(_) => self.link.list_offset(cx.sim, &self.topic, 0, -2, Tag::Start),
            Phase::Read(left, offset) if offset >= self.ledger.end => self.ends_reading(cx, left),
            Phase::Read(_, offset) => self.fetch(cx, offset),
            Phase::Delete => self.delete(cx),
            Phase::Done => {}
        }
    }

    /// Looks before it goes on.
    fn look(&mut self) {
        self.phase = match self.phase {
            Phase::Write(left) | Phase::End(left) | Phase::Start(left) | Phase::Read(left, _) => {
                Phase::End(left)
            }
            other => other,
        };
    }
}

impl Client for Passing {
    fn poll(&mut self, cx: &mut Cx<'_>) {
        for news in self.link.poll(cx.sim) {
            match news {
                News::Lost(_) => {
                    self.lost = true;
                    self.look();
                    self.next_at = cx.now().plus_ms(50);
                }
                News::Answer(answer) => self.answered(cx, &answer),
            }
        }
        if cx.now() < self.next_at || self.link.in_flight() > 0 || self.phase == Phase::Done {
            return;
        }
        self.next_at = cx.now().plus_ms(1 + self.prng.below(60) as i64);
        self.link.open(cx.sim);
        self.act(cx);
    }

    fn next_at(&self) -> Ticks {
        if self.link.in_flight() > 0 || self.phase == Phase::Done { Ticks::NEVER } else { self.next_at }
    }

    fn power_cut(&mut self, _: bool) {
        if !self.durable {
            // A log start that was shown was written down before.
            let Ledger { start, asked, .. } = self.ledger;
            self.ledger = Ledger { start, asked, end: start, at: BTreeMap::new() };
        }
    }

    /// Ends with what is there, or if it is asked again, looks again.
    fn stop(&mut self) {
        self.stopping = true;
        match self.phase {
            // Unless it was deleted before it ended.
            Phase::Done if self.exists => self.phase = Phase::End(0),
            Phase::Write(_) => self.phase = Phase::Write(0),
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Done && self.link.in_flight() == 0
    }

    fn disturb(&mut self, cx: &mut Cx<'_>, reset: bool) {
        self.link.close(cx.sim, reset);
        self.lost = true;
        self.look();
        self.next_at = cx.now().plus_ms(50);
    }

    fn close(&mut self, cx: &mut Cx<'_>) {
        self.link.close(cx.sim, false);
    }

    fn describe(&self) -> String {
        format!("{}: life {}, {:?}", self.topic, self.life, self.phase)
    }
}
