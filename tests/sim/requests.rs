//! Requests about one topic or partition, as several clients send them.

use ottla::io::sim::{Sim, WALL_START_MS};
use ottla::shard::Mail;
use ottla::wire::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, ListOffsetsRequest, ProduceRequest,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use ottla::wire::record::BatchBuilder;

use super::link::Link;

/// What requests say that their client waits: nothing that the broker does by itself ends with it.
const TIMEOUT_MS: i32 = 30_000;

/// A batch of one record with a value of so many bytes.
pub fn one_record(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    builder.append(WALL_START_MS, None, Some(&vec![7; bytes]), &[]);
    builder.build()
}

/// A topic to create.
pub fn creatable<'a>(name: &'a str, partitions: i32, configs: &[(&'a str, &'a str)]) -> CreatableTopic<'a> {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig { name, value: Some(value) });
    CreatableTopic {
        name,
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    }
}

impl<T> Link<T> {
    pub fn create_topics(&mut self, sim: &Sim<Mail>, topics: Vec<CreatableTopic<'_>>, tag: T) {
        let request = CreateTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
        self.ask(sim, &request, 7, tag);
    }

    pub fn delete_topic(&mut self, sim: &Sim<Mail>, name: &str, tag: T) {
        let topic = DeleteTopicState { name: Some(name), ..Default::default() };
        let request =
            DeleteTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
        self.ask(sim, &request, 6, tag);
    }

    /// With acks=all, to partition 0.
    pub fn produce(&mut self, sim: &Sim<Mail>, topic: &str, batch: &[u8], tag: T) {
        let data = PartitionProduceData { index: 0, records: Some(batch) };
        let topic = TopicProduceData { name: topic, partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
        };
        self.ask(sim, &request, 9, tag);
    }

    pub fn delete_records(&mut self, sim: &Sim<Mail>, topic: &str, partition: i32, offset: i64, tag: T) {
        let partition = DeleteRecordsPartition { partition_index: partition, offset };
        let topic = DeleteRecordsTopic { name: topic, partitions: vec![partition] };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS };
        self.ask(sim, &request, 2, tag);
    }

    pub fn list_offset(&mut self, sim: &Sim<Mail>, topic: &str, partition: i32, timestamp: i64, tag: T) {
        let partition =
            ListOffsetsPartition { partition_index: partition, timestamp, current_leader_epoch: -1 };
        let topic = ListOffsetsTopic { name: topic, partitions: vec![partition] };
        let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
        self.ask(sim, &request, 7, tag);
    }
}
