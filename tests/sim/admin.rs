//! An administrator: topics come and go, records are deleted, configurations change; and metadata tells the truth.

use std::collections::BTreeMap;

use ottla::base::prng::Prng;
use ottla::base::{Ticks, Uuid};
use ottla::wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsResponse, DeleteRecordsResponse,
    DeleteTopicsResponse, FetchRequest, FetchResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceResponse,
    create_partitions_request::CreatePartitionsTopic,
    fetch_request::{FetchPartition, FetchTopic},
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use ottla::wire::record::{BatchBuilder, Batches, Scratch};

use super::link::{Answer, Link, News};
use super::model::{Floor, Part};
use super::producer::is_retriable;
use super::requests::creatable;
use super::run::{Client, Cx};

pub enum Tag {
    Create(String, i32),
    Delete(String),
    Grow(String, i32),
    Alter,
    DeleteRecords(Part),
    Metadata,
    ListOffsets(Part, i64, Floor),
    Produce(String),
    Fetch(String, Uuid),
}

/// What must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Absent,
    Present(Uuid, i32),
    /// A request's answer was lost; the truth can be told after this.
    Unknown(Ticks),
}

pub struct Admin {
    link: Link<Tag>,
    prng: Prng,
    topics: BTreeMap<String, Known>,
    /// Acknowledged records of a topic that comes and goes.
    records: BTreeMap<Uuid, i64>,
    next_at: Ticks,
    stopping: bool,
    checked: bool,
    deletes: bool,
    parts: Vec<Part>,
}

impl Admin {
    pub fn new(number: u8, parts: &[Part], deletes: bool, seed: u64) -> Admin {
        Admin {
            link: Link::new("admin", number),
            prng: Prng::new(seed),
            // One name is as long as a name can be.
            topics: (0..4)
                .map(|i| if i == 0 { "l".repeat(249) } else { format!("come-and-go-{i}") })
                .map(|name| (name, Known::Absent))
                .collect(),
            records: BTreeMap::new(),
            next_at: Ticks(0),
            stopping: false,
            checked: false,
            deletes,
            parts: parts.to_vec(),
        }
    }

    fn act(&mut self, cx: &mut Cx<'_>) {
        let index = self.prng.below(self.topics.len() as u64) as usize;
        let (name, known) =
            self.topics.iter().nth(index).map(|(n, k)| (n.clone(), k.clone())).expect("a topic");
        let part = self.parts[self.prng.below(self.parts.len() as u64) as usize].clone();
        match (self.prng.below(12), known) {
            (_, Known::Unknown(_)) | (0, _) => self.metadata(cx),
            (1 | 2, _) => self.list_offsets(cx, &part),
            (3, _) if self.deletes => self.delete_records(cx, &part),
            (4, _) => self.alter(cx, &part),
            (5.., Known::Absent) => self.create(cx, &name),
            (5 | 6, Known::Present(..)) => self.delete(cx, &name),
            (7, Known::Present(_, count)) => self.grow(cx, &name, count + 1),
            (8 | 9, Known::Present(id, _)) => self.look(cx, &name, id),
            (10.., Known::Present(id, _)) => self.produce(cx, &name, id),
            _ => self.metadata(cx),
        }
    }

    fn metadata(&mut self, cx: &mut Cx<'_>) {
        let request = MetadataRequest { topics: None, ..Default::default() };
        self.link.ask(cx.sim, &request, 12, Tag::Metadata);
    }

    fn create(&mut self, cx: &mut Cx<'_>, name: &str) {
        let partitions = 1 + self.prng.below(4) as i32;
        let topic = creatable(name, partitions, &[]);
        self.link.create_topics(cx.sim, vec![topic], Tag::Create(name.to_owned(), partitions));
    }

    fn delete(&mut self, cx: &mut Cx<'_>, name: &str) {
        self.link.delete_topic(cx.sim, name, Tag::Delete(name.to_owned()));
    }

    fn grow(&mut self, cx: &mut Cx<'_>, name: &str, count: i32) {
        let topic = CreatePartitionsTopic { name, count, assignments: None };
        let request =
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        self.link.ask(cx.sim, &request, 3, Tag::Grow(name.to_owned(), count));
    }

    fn alter(&mut self, cx: &mut Cx<'_>, part: &Part) {
        let value = (1000 + self.prng.below(100_000)).to_string();
        let config = AlterableConfig { name: "flush.ms", config_operation: 0, value: Some(&value) };
        let resource =
            AlterConfigsResource { resource_type: 2, resource_name: &part.topic, configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        self.link.ask(cx.sim, &request, 1, Tag::Alter);
    }

    fn delete_records(&mut self, cx: &mut Cx<'_>, part: &Part) {
        let end = cx.model.high_watermark(part);
        let start = cx.model.log_start(part);
        let some = start + self.prng.below((end - start).max(0) as u64 / 2 + 1) as i64;
        let offset = if self.prng.one_in(3) { end.max(start) } else { some };
        cx.model.may_delete(part, offset);
        let tag = Tag::DeleteRecords(part.clone());
        self.link.delete_records(cx.sim, &part.topic, part.partition, offset, tag);
    }

    fn list_offsets(&mut self, cx: &mut Cx<'_>, part: &Part) {
        let timestamp = [-1, -2, -3, cx.wall_ms() - 1000][self.prng.below(4) as usize];
        let tag = Tag::ListOffsets(part.clone(), timestamp, cx.model.floor());
        self.link.list_offset(cx.sim, &part.topic, part.partition, timestamp, tag);
    }

    fn produce(&mut self, cx: &mut Cx<'_>, name: &str, id: Uuid) {
        let value = id.to_string();
        let records = BatchBuilder::new(0).record(cx.wall_ms(), None, Some(value.as_bytes())).build();
        self.link.produce(cx.sim, name, &records, Tag::Produce(name.to_owned()));
    }

    fn look(&mut self, cx: &mut Cx<'_>, name: &str, id: Uuid) {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic { topic: name, partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { topics: vec![topic], ..Default::default() };
        self.link.ask(cx.sim, &request, 11, Tag::Fetch(name.to_owned(), id));
    }

    fn answered(&mut self, cx: &mut Cx<'_>, answer: &Answer<Tag>) {
        match &answer.tag {
            Tag::Create(name, partitions) => {
                let response: CreateTopicsResponse<'_> = answer.read();
                let topic = &response.topics[0];
                if topic.error_code == 0 {
                    assert!(!topic.topic_id.is_zero());
                    self.topics.insert(name.clone(), Known::Present(topic.topic_id, *partitions));
                    cx.model.count("topics created");
                } else {
                    self.refused(cx, name, topic.error_code, topic.error_message);
                }
            }
            Tag::Delete(name) => {
                let response: DeleteTopicsResponse<'_> = answer.read();
                let topic = &response.responses[0];
                if topic.error_code == 0 {
                    self.topics.insert(name.clone(), Known::Absent);
                    cx.model.count("topics deleted");
                } else {
                    self.refused(cx, name, topic.error_code, topic.error_message);
                }
            }
            Tag::Grow(name, count) => {
                let response: CreatePartitionsResponse<'_> = answer.read();
                let result = &response.results[0];
                match (result.error_code, self.topics.get(name).cloned()) {
                    (0, Some(Known::Present(id, _))) => {
                        self.topics.insert(name.clone(), Known::Present(id, *count));
                    }
                    (error, _) => self.refused(cx, name, error, result.error_message),
                }
            }
            Tag::Alter => {
                let response: IncrementalAlterConfigsResponse<'_> = answer.read();
                let error = response.responses[0].error_code;
                assert!(error == 0 || is_retriable(error), "a configuration: {error}");
            }
            Tag::DeleteRecords(part) => {
                let response: DeleteRecordsResponse<'_> = answer.read();
                let p = &response.topics[0].partitions[0];
                match p.error_code {
                    0 => cx.model.deleted(part, p.low_watermark),
                    // Behind a power cut the end may be before what was to be deleted.
                    1 => {}
                    error => assert!(is_retriable(error), "DeleteRecords {part:?}: {error}"),
                }
            }
            Tag::Metadata => self.told(cx, &answer.read()),
            Tag::ListOffsets(part, timestamp, floor) => {
                let response: ListOffsetsResponse<'_> = answer.read();
                let p = &response.topics[0].partitions[0];
                match (p.error_code, timestamp) {
                    (0, -1) => cx.model.shown(part, floor, Some(p.offset), None),
                    (0, -2) => cx.model.shown(part, floor, None, Some(p.offset)),
                    (0, _) => assert!(p.offset >= -1),
                    (error, _) => assert!(is_retriable(error), "ListOffsets {part:?}: {error}"),
                }
            }
            Tag::Produce(name) => {
                let response: ProduceResponse<'_> = answer.read();
                let p = &response.responses[0].partition_responses[0];
                match (p.error_code, self.topics.get(name)) {
                    (0, Some(Known::Present(id, _))) => {
                        let last = self.records.entry(*id).or_insert(-1);
                        assert!(p.base_offset > *last, "{name}: offset {} after {last}", p.base_offset);
                        *last = p.base_offset;
                    }
                    (error, _) => assert!(is_retriable(error), "{name}: {error}"),
                }
            }
            Tag::Fetch(name, id) => self.looked(cx, name, *id, &answer.read()),
        }
    }

    /// The records of a topic are its own, not those of an earlier one of the same name (A35).
    fn looked(&mut self, cx: &mut Cx<'_>, name: &str, id: Uuid, response: &FetchResponse<'_>) {
        let p = &response.responses[0].partitions[0];
        if p.error_code != 0 {
            return assert!(is_retriable(p.error_code), "{name}: {}", p.error_code);
        }
        let mut scratch = Scratch::default();
        let mut last = -1;
        for batch in Batches::new(p.records.unwrap_or_default()) {
            let batch = batch.expect("a batch");
            for record in batch.records(&mut scratch, 1 << 20).expect("records") {
                let value = record.expect("a record").value.expect("a value").to_vec();
                assert_eq!(String::from_utf8_lossy(&value), id.to_string(), "{name}: another topic's record");
            }
            last = batch.header().last_offset();
        }
        if cx.model.offsets_durable || !cx.model.power_was_cut {
            let acked = self.records.get(&id).copied().unwrap_or(-1);
            assert!(last >= acked, "{name}: ends at {last}, {acked} was acknowledged");
        }
        cx.model.count("topics looked at");
    }

    fn refused(&mut self, cx: &mut Cx<'_>, name: &str, error: i16, message: Option<&str>) {
        assert!(is_retriable(error) || error == -1, "{name}: {error} {message:?}");
        cx.model.count("admin requests refused");
        self.unknown(cx, name);
    }

    fn unknown(&mut self, cx: &mut Cx<'_>, name: &str) {
        self.topics.insert(name.to_owned(), Known::Unknown(cx.now().plus_ms(3_000)));
    }

    fn told(&mut self, cx: &mut Cx<'_>, response: &MetadataResponse<'_>) {
        cx.model.count("metadata checked");
        self.checked = true;
        let found: BTreeMap<String, Known> = response
            .topics
            .iter()
            .filter_map(|t| Some((t.name?.to_owned(), Known::Present(t.topic_id, t.partitions.len() as i32))))
            .collect();
        for topic in &cx.model.topics {
            let expected = Known::Present(topic.id, topic.partitions);
            assert_eq!(found.get(&topic.name), Some(&expected), "{} in the metadata", topic.name);
        }
        for (name, known) in &mut self.topics {
            let truth = found.get(name).cloned().unwrap_or(Known::Absent);
            match known {
                Known::Unknown(until) if *until > cx.sim.now() => self.checked = false,
                Known::Unknown(_) => *known = truth,
                _ => assert_eq!(*known, truth, "{name}: was acknowledged, and the metadata says otherwise"),
            }
        }
    }

    fn lost(&mut self, cx: &mut Cx<'_>, tags: Vec<Tag>) {
        for tag in tags {
            if let Tag::Create(name, _) | Tag::Delete(name) | Tag::Grow(name, _) = tag {
                self.unknown(cx, &name);
            }
        }
        self.next_at = cx.now().plus_ms(50);
    }
}

impl Client for Admin {
    fn poll(&mut self, cx: &mut Cx<'_>) {
        for news in self.link.poll(cx.sim) {
            match news {
                News::Lost(tags) => self.lost(cx, tags),
                News::Answer(answer) => self.answered(cx, &answer),
            }
        }
        if cx.now() < self.next_at || self.link.in_flight() > 0 || (self.stopping && self.checked) {
            return;
        }
        self.next_at = cx.now().plus_ms(20 + self.prng.below(200) as i64);
        self.link.open(cx.sim);
        if self.stopping { self.metadata(cx) } else { self.act(cx) }
    }

    fn next_at(&self) -> Ticks {
        if self.link.in_flight() > 0 || (self.stopping && self.checked) { Ticks::NEVER } else { self.next_at }
    }

    fn power_cut(&mut self, all_durable: bool) {
        if !all_durable {
            self.records.clear();
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.checked = false;
    }

    fn is_done(&self) -> bool {
        self.stopping && self.checked && self.link.in_flight() == 0
    }

    fn disturb(&mut self, cx: &mut Cx<'_>, reset: bool) {
        let tags = self.link.close(cx.sim, reset);
        self.lost(cx, tags);
    }

    fn close(&mut self, cx: &mut Cx<'_>) {
        self.link.close(cx.sim, false);
    }

    fn describe(&self) -> String {
        format!("admin: {:?}", self.topics)
    }
}
