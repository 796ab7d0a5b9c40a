//! What it costs to read and write the messages of the data path: `cargo bench --bench codec`.
//!
//! The null case is the loop with the same argument and nothing done; `memcpy` is what moving the bytes costs.

mod support;

use ottla::base::Uuid;
use ottla::wire::codec::{Message, decode, encode};
use ottla::wire::frame;
use ottla::wire::messages::api_versions_request::ApiVersionsRequest;
use ottla::wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla::wire::messages::heartbeat_request::HeartbeatRequest;
use ottla::wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla::wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use std::hint::black_box;
use support::Rounds;

const ID: Uuid = Uuid([7; 16]);
const RECORDS: [u8; 168] = [1; 168];

fn main() {
    let rounds = Rounds::from_arguments();
    println!("{:<44}{:>10}{:>12}{:>12}", "message", "bytes", "decode ns", "encode ns");
    null(&rounds);
    header(&rounds);
    for partitions in [1, 100] {
        both(&rounds, &produce_request(partitions), 13, partitions);
        both(&rounds, &produce_response(partitions), 13, partitions);
        both(&rounds, &fetch_request(partitions), 17, partitions);
        both(&rounds, &fetch_response(partitions), 17, partitions);
        both(&rounds, &metadata_response(partitions), 13, partitions);
    }
    let topic = MetadataRequestTopic { topic_id: ID, name: Some("activity") };
    both(&rounds, &MetadataRequest { topics: Some(vec![topic]), ..Default::default() }, 13, 0);
    let heartbeat = HeartbeatRequest {
        group_id: "dashboards",
        generation_id: 17,
        member_id: "consumer-1-8d9d6a0e-3c62-4e5a-9b0c-2f6f4b7f2d11",
        ..Default::default()
    };
    both(&rounds, &heartbeat, 4, 0);
    let hello =
        ApiVersionsRequest { client_software_name: "apache-kafka-java", client_software_version: "4.3.1" };
    both(&rounds, &hello, 4, 0);
}

fn null(rounds: &Rounds) {
    let bytes = vec![1u8; 200];
    let nothing = rounds.measure(|| black_box(&bytes).len());
    let copied = rounds.measure(|| black_box(&bytes).clone());
    println!("{:<44}{:>10}{nothing:>12.1}{:>12}", "null: the loop", "", "");
    println!("{:<44}{:>10}{:>12}{copied:>12.1}", "null: allocate and copy", bytes.len(), "");
}

fn header(rounds: &Rounds) {
    let request = ApiVersionsRequest::default();
    let bytes = frame::request(&request, 4, 1, Some("producer-1")).expect("a message of ours");
    let ns = rounds
        .measure(|| frame::read_request(black_box(&bytes[4..])).map(|(header, _)| header.correlation_id));
    println!("{:<44}{:>10}{ns:>12.1}{:>12}", "request header v2", bytes.len() - 4, "");
}

/// Measures reading and writing, after a check that both agree.
fn both<'a, M: Message<'a>>(rounds: &Rounds, message: &M, version: i16, partitions: usize) {
    let bytes: &'a [u8] = encode(message, version).expect("a message of ours").leak();
    let again = decode::<M>(bytes, version).map(|read| encode(&read, version).unwrap_or_default());
    assert!(again.is_ok_and(|again| again == bytes), "{} is read back as it was written", M::NAME);
    let decode_ns = rounds.measure(|| decode::<M>(black_box(bytes), version).is_ok());
    let encode_ns = rounds.measure(|| encode(black_box(message), version).map(|bytes| bytes.len()));
    let of = if partitions > 0 { format!(", {partitions} partitions") } else { String::new() };
    let name = format!("{} v{version}{of}", M::NAME);
    println!("{name:<44}{:>10}{decode_ns:>12.1}{encode_ns:>12.1}", bytes.len());
}

fn produce_request(partitions: usize) -> ProduceRequest<'static> {
    let data = |index| PartitionProduceData { index, records: Some(&RECORDS) };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            topic_id: ID,
            partition_data: (0..partitions as i32).map(data).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn produce_response(partitions: usize) -> ProduceResponse<'static> {
    let part = |index| PartitionProduceResponse {
        index,
        base_offset: 123_456,
        log_append_time_ms: -1,
        ..Default::default()
    };
    ProduceResponse {
        responses: vec![TopicProduceResponse {
            topic_id: ID,
            partition_responses: (0..partitions as i32).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_request(partitions: usize) -> FetchRequest<'static> {
    let part = |partition| FetchPartition {
        partition,
        fetch_offset: 123_456,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![FetchTopic {
            topic_id: ID,
            partitions: (0..partitions as i32).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_response(partitions: usize) -> FetchResponse<'static> {
    let part = |partition_index| PartitionData {
        partition_index,
        high_watermark: 123_457,
        last_stable_offset: 123_457,
        aborted_transactions: None,
        records: Some(&RECORDS),
        ..Default::default()
    };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: ID,
            partitions: (0..partitions as i32).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn metadata_response(partitions: usize) -> MetadataResponse<'static> {
    let part = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: "localhost",
            port: 9092,
            ..Default::default()
        }],
        cluster_id: Some("4L6g3nShT-eMCtK--X86sw"),
        controller_id: 1,
        topics: vec![MetadataResponseTopic {
            name: Some("activity"),
            topic_id: ID,
            partitions: (0..partitions as i32).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}
