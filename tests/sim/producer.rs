//! Producers: idempotent ones that retry until they are acknowledged, plain ones that send everything once.

use std::collections::{BTreeMap, VecDeque};

use ottla::base::Ticks;
use ottla::base::prng::Prng;
use ottla::wire::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use ottla::wire::record::{BatchBuilder, Codec};

use super::link::{Link, News};
use super::model::Part;
use super::run::{Client, Cx};

/// In flight per partition, as Apache's producer allows.
const IN_FLIGHT: usize = 5;
const BACKOFF_MS: i64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Idempotent,
    Plain { acks: i16 },
}

pub enum Tag {
    Init,
    /// The producer's generation, and what was sent.
    Produce(u32, Vec<(Part, i32)>),
}

struct Batch {
    values: Vec<String>,
    bytes: Vec<u8>,
    sequence: i32,
    in_flight: bool,
}

#[derive(Default)]
struct Lane {
    next_sequence: i32,
    queue: VecDeque<Batch>,
    retry_at: Ticks,
}

pub struct Producer {
    name: String,
    kind: Kind,
    link: Link<Tag>,
    prng: Prng,
    identity: Option<(i64, i16)>,
    asked_id: bool,
    lanes: BTreeMap<Part, Lane>,
    next_number: u64,
    generation: u32,
    next_at: Ticks,
    stopping: bool,
    /// Of its small values, and of one in `large_one_in` (zero for none) that stands alone in its batch.
    value_bytes: u64,
    large_one_in: u64,
    pause_ms: u64,
}

/// What a large value has at most: the journal does not take it, so what follows is journaled behind a gap.
const LARGE_BYTES: u64 = 200_000;

impl Producer {
    pub fn new(
        number: u8,
        kind: Kind,
        parts: &[Part],
        (value_bytes, large_one_in, pause_ms): (u64, u64, u64),
        seed: u64,
    ) -> Producer {
        Producer {
            name: format!("p{number}"),
            kind,
            link: Link::new(&format!("producer {number}"), number),
            prng: Prng::new(seed),
            identity: None,
            asked_id: false,
            lanes: parts.iter().map(|p| (p.clone(), Lane::default())).collect(),
            next_number: 0,
            generation: 0,
            next_at: Ticks(0),
            stopping: false,
            value_bytes,
            large_one_in,
            pause_ms,
        }
    }

    fn new_batch(&mut self, cx: &mut Cx<'_>, part: &Part) {
        let large = self.large_one_in > 0 && self.prng.one_in(self.large_one_in);
        let (count, value_bytes) =
            if large { (1, LARGE_BYTES) } else { (1 + self.prng.below(4), self.value_bytes) };
        let sequence = self.lanes[part].next_sequence;
        let codecs = [Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let codec = codecs[self.prng.below(codecs.len() as u64) as usize];
        let mut batch = BatchBuilder::new(0).compression(codec);
        if let Some((id, epoch)) = self.identity {
            batch = batch.producer(id, epoch, sequence);
        }
        let mut values = Vec::new();
        for _ in 0..count {
            self.next_number += 1;
            let value = format!("{}-{}.{}", self.name, self.generation, self.next_number);
            let mut bytes = value.clone().into_bytes();
            bytes.push(b' ');
            for _ in 0..self.prng.below(value_bytes) / 8 {
                bytes.extend(self.prng.next_u64().to_le_bytes());
            }
            batch.append(cx.wall_ms(), None, Some(&bytes), &[]);
            cx.model.sent(part, &value);
            values.push(value);
        }
        let lane = self.lanes.get_mut(part).expect("a lane");
        lane.next_sequence += count as i32;
        lane.queue.push_back(Batch { values, bytes: batch.build(), sequence, in_flight: false });
    }

    /// One request with what may go out.
    fn produce(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let mut chosen: Vec<(Part, i32)> = Vec::new();
        for (part, lane) in &mut self.lanes {
            let in_flight = lane.queue.iter().filter(|b| b.in_flight).count();
            if in_flight >= IN_FLIGHT || now < lane.retry_at {
                continue;
            }
            // Those behind one that failed wait until all answers have come, so that they go out in order.
            let Some(at) = lane.queue.iter().position(|b| !b.in_flight) else { continue };
            if lane.queue.iter().skip(at).any(|b| b.in_flight) {
                continue;
            }
            lane.queue[at].in_flight = true;
            tracing::debug!(producer = self.name, ?part, sequence = lane.queue[at].sequence, "sent");
            chosen.push((part.clone(), lane.queue[at].sequence));
        }
        if chosen.is_empty() {
            return;
        }
        let acks = if let Kind::Plain { acks } = self.kind { acks } else { -1 };
        let version = [7, 8, 9, 12, 13][self.prng.below(5) as usize];
        let mut topics: Vec<TopicProduceData<'_>> = Vec::new();
        for (part, sequence) in &chosen {
            let batch = self.lanes[part].queue.iter().find(|b| b.sequence == *sequence).expect("just chosen");
            let data = PartitionProduceData { index: part.partition, records: Some(&batch.bytes) };
            match topics.last_mut() {
                Some(last) if last.name == part.topic => last.partition_data.push(data),
                _ => topics.push(TopicProduceData {
                    name: &part.topic,
                    partition_data: vec![data],
                    ..Default::default()
                }),
            }
        }
        if version >= 13 {
            for topic in &mut topics {
                topic.topic_id = cx.model.topic(topic.name).id;
                topic.name = "";
            }
        }
        let request = ProduceRequest { transactional_id: None, acks, timeout_ms: 30_000, topic_data: topics };
        if acks == 0 {
            self.link.send(cx.sim, &request, version);
            for (part, sequence) in &chosen {
                let lane = self.lanes.get_mut(part).expect("a lane");
                lane.queue.retain(|b| b.sequence != *sequence);
            }
            cx.model.count("batches sent without acknowledgement");
        } else {
            self.link.ask(cx.sim, &request, version, Tag::Produce(self.generation, chosen.clone()));
        }
    }

    fn answered(&mut self, cx: &mut Cx<'_>, chosen: &[(Part, i32)], response: &ProduceResponse<'_>) {
        let mut outcomes = BTreeMap::new();
        for topic in &response.responses {
            let name = if topic.name.is_empty() {
                cx.model.by_id(topic.topic_id).name.clone()
            } else {
                topic.name.to_owned()
            };
            for p in &topic.partition_responses {
                outcomes.insert(Part::new(&name, p.index), (p.error_code, p.base_offset));
            }
        }
        assert_eq!(outcomes.len(), chosen.len(), "{}: one outcome per partition", self.name);
        for (part, sequence) in chosen {
            let (error, base_offset) = outcomes[part];
            self.outcome(cx, part, *sequence, error, base_offset);
        }
    }

    fn outcome(&mut self, cx: &mut Cx<'_>, part: &Part, sequence: i32, error: i16, base_offset: i64) {
        tracing::debug!(producer = self.name, ?part, sequence, error, base_offset, "answered");
        let lane = self.lanes.get_mut(part).expect("a lane");
        let Some(at) = lane.queue.iter().position(|b| b.sequence == sequence) else { return };
        match error {
            0 | 46 => {
                let batch = lane.queue.remove(at).expect("just found");
                assert!(error != 0 || base_offset >= 0, "{part:?}: acknowledged at {base_offset} (A19)");
                cx.model.acked(part, (base_offset >= 0).then_some(base_offset), &batch.values);
            }
            _ if self.kind != Kind::Idempotent => {
                assert!(is_retriable(error), "{} {part:?}: error {error}", self.name);
                lane.queue.remove(at);
            }
            // Apache's format of a producer snapshot holds the last batch only: behind a start, one that is sent again is not
            // known for one if the log was read from a later place. It has to be there then.
            45 if at == 0 && cx.model.counts.contains_key("restarts") => {
                cx.model.count("sequences that a start forgot");
                let batch = lane.queue.remove(at).expect("just found");
                cx.model.acked(part, None, &batch.values);
            }
            45 => {
                assert!(
                    at > 0,
                    "{} {part:?}: sequence {sequence} is out of order, and nothing before it is missing",
                    self.name
                );
                lane.queue[at].in_flight = false;
            }
            _ => {
                assert!(is_retriable(error), "{} {part:?}: error {error}", self.name);
                cx.model.count("batches refused");
                lane.queue[at].in_flight = false;
                lane.retry_at = cx.now().plus_ms(BACKOFF_MS);
            }
        }
    }

    /// What was in flight stays unknown.
    fn begin_anew(&mut self) {
        self.lanes.values_mut().for_each(|lane| *lane = Lane::default());
        self.identity = None;
        self.generation += 1;
        self.next_number = 0;
    }

    fn lost(&mut self) {
        self.asked_id = false;
        for lane in self.lanes.values_mut() {
            if self.kind == Kind::Idempotent {
                lane.queue.iter_mut().for_each(|b| b.in_flight = false);
            } else {
                lane.queue.clear();
            }
        }
    }
}

/// Errors that may come while something is wrong with the machine.
pub fn is_retriable(error: i16) -> bool {
    // UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, KAFKA_STORAGE_ERROR, and others.
    [3, 5, 6, 7, 9, 14, 15, 16, 19, 20, 41, 51, 56, 100].contains(&error)
}

impl Client for Producer {
    fn poll(&mut self, cx: &mut Cx<'_>) {
        for news in self.link.poll(cx.sim) {
            match news {
                News::Lost(_) => {
                    self.lost();
                    self.next_at = cx.now().plus_ms(20);
                }
                News::Answer(answer) => match &answer.tag {
                    Tag::Init => {
                        let response: InitProducerIdResponse = answer.read();
                        self.asked_id = false;
                        if response.error_code == 0 {
                            self.identity = Some((response.producer_id, response.producer_epoch));
                        } else {
                            assert!(
                                is_retriable(response.error_code),
                                "InitProducerId: {}",
                                response.error_code
                            );
                        }
                    }
                    Tag::Produce(generation, chosen) if *generation == self.generation => {
                        self.answered(cx, chosen, &answer.read());
                    }
                    Tag::Produce(..) => {}
                },
            }
        }
        if cx.now() < self.next_at {
            return;
        }
        self.next_at = cx.now().plus_ms(1 + self.prng.below(self.pause_ms) as i64);
        self.link.open(cx.sim);
        if self.kind == Kind::Idempotent && self.identity.is_none() {
            if !self.asked_id {
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    transaction_timeout_ms: 60_000,
                    producer_id: -1,
                    producer_epoch: -1,
                    ..Default::default()
                };
                self.link.ask(cx.sim, &request, 4, Tag::Init);
                self.asked_id = true;
            }
            return;
        }
        if !self.stopping {
            let index = self.prng.below(self.lanes.len() as u64) as usize;
            let part = self.lanes.keys().nth(index).cloned().expect("a lane");
            if self.lanes[&part].queue.len() < 2 * IN_FLIGHT {
                self.new_batch(cx, &part);
            }
        }
        self.produce(cx);
    }

    fn next_at(&self) -> Ticks {
        self.next_at
    }

    fn power_cut(&mut self, all_durable: bool) {
        // A producer whose records may be gone begins anew; what was in flight stays unknown.
        if !all_durable {
            self.begin_anew();
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_done(&self) -> bool {
        self.lanes.values().all(|lane| lane.queue.is_empty()) && self.link.in_flight() == 0
    }

    fn disturb(&mut self, cx: &mut Cx<'_>, reset: bool) {
        self.link.close(cx.sim, reset);
        self.lost();
        self.next_at = cx.now().plus_ms(50);
    }

    fn close(&mut self, cx: &mut Cx<'_>) {
        self.link.close(cx.sim, false);
    }

    fn describe(&self) -> String {
        let waiting: usize = self.lanes.values().map(|l| l.queue.len()).sum();
        format!("{}: {waiting} batches are not acknowledged", self.name)
    }
}
