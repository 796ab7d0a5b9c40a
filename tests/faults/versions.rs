//! Every version of every API that is offered: a request that names what there is gets an answer that can be read, and so does
//! one whose names are no text.

use std::time::Duration;

use ottla::base::Uuid;
use ottla::wire::api::ApiKey;
use ottla::wire::codec::{DecodeError, Message, Reader, encode};
#[allow(clippy::wildcard_imports)] // Nearly all of them.
use ottla::wire::messages::*;

use crate::support::broker::Broker;
use crate::support::poll;
use crate::support::raw::{Client, code};
use crate::support::records::Batch;

/// What the requests name.
struct Names<'a> {
    topic: &'a str,
    id: Uuid,
    group: &'a str,
    records: &'a [u8],
}

type ReadAnswer = fn(&[u8], i16) -> Result<(), DecodeError>;

/// A request in a version, and what reads its answer.
macro_rules! requests {
    ($of:expr, $version:expr; $($key:ident $response:ident $request:expr;)*) => {
        match $of {
            $(ApiKey::$key => {
                let read: ReadAnswer = |answer, version| $response::read(&mut Reader::new(answer), version).map(drop);
                (encode(&$request, $version).expect(stringify!($key)), read)
            })*
            other => panic!("no request for {other:?}: add one"),
        }
    };
}

#[allow(clippy::too_many_lines)]
fn request(key: ApiKey, v: i16, names: &Names<'_>) -> (Vec<u8>, ReadAnswer) {
    let Names { topic, id, group, records } = *names;
    let has = |from: i16| v >= from;
    let by_id = |from: i16| if v >= from { ("", id) } else { (topic, Uuid::ZERO) };
    let none = Uuid::ZERO;
    let made = format!("made-{v}");
    requests! { key, v;
        Produce ProduceResponse {
            use produce_request::{PartitionProduceData, TopicProduceData};
            let (name, topic_id) = by_id(13);
            let partition_data = [0, 7].map(|index| PartitionProduceData { index, records: Some(records) }).into();
            ProduceRequest { acks: -1, timeout_ms: 9000, topic_data: vec![TopicProduceData { name, topic_id, partition_data }], ..Default::default() }
        };
        Fetch FetchResponse {
            use fetch_request::{FetchPartition, FetchTopic};
            let (topic, topic_id) = by_id(13);
            let wanted = |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
            let topics = vec![FetchTopic { topic, topic_id, partitions: vec![wanted(0), wanted(7)] }];
            FetchRequest { topics, session_epoch: 0, ..Default::default() }
        };
        ListOffsets ListOffsetsResponse {
            use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
            let wanted = |(partition_index, timestamp)| ListOffsetsPartition { partition_index, timestamp, ..Default::default() };
            let partitions = [(0, -1), (1, -2), (7, 5)].map(wanted).into();
            ListOffsetsRequest { replica_id: -1, topics: vec![ListOffsetsTopic { name: topic, partitions }], ..Default::default() }
        };
        Metadata MetadataResponse {
            let named = |name, topic_id| metadata_request::MetadataRequestTopic { name, topic_id };
            let mut topics = vec![named(Some(topic), none), named(Some("absent"), none)];
            if has(12) {
                topics.extend([named(None, id), named(None, Uuid::from_u128(9))]);
            }
            MetadataRequest {
                topics: Some(topics),
                allow_auto_topic_creation: !has(4),
                include_cluster_authorized_operations: (8..=10).contains(&v),
                include_topic_authorized_operations: has(8),
            }
        };
        OffsetCommit OffsetCommitResponse {
            use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
            let (name, topic_id) = by_id(10);
            let partition = OffsetCommitRequestPartition { committed_offset: 1, committed_metadata: Some(topic), ..Default::default() };
            let topics = vec![OffsetCommitRequestTopic { name, topic_id, partitions: vec![partition] }];
            OffsetCommitRequest { group_id: group, topics, ..Default::default() }
        };
        OffsetFetch OffsetFetchResponse {
            use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
            let (name, topic_id) = by_id(10);
            let partition_indexes = vec![0, 7];
            let old = OffsetFetchRequestTopic { name: topic, partition_indexes: partition_indexes.clone() };
            let new = OffsetFetchRequestTopics { name, topic_id, partition_indexes };
            let groups = [Some(vec![new]), None].map(|topics| OffsetFetchRequestGroup { group_id: group, topics, ..Default::default() });
            OffsetFetchRequest {
                group_id: if has(8) { "" } else { group },
                topics: Some(if has(8) { Vec::new() } else { vec![old] }),
                groups: if has(8) { groups.into() } else { Vec::new() },
                require_stable: has(7),
            }
        };
        FindCoordinator FindCoordinatorResponse FindCoordinatorRequest {
            key: if has(4) { "" } else { group },
            key_type: 0,
            coordinator_keys: if has(4) { vec![group, topic] } else { Vec::new() },
        };
        JoinGroup JoinGroupResponse {
            let protocols = vec![join_group_request::JoinGroupRequestProtocol { name: "range", metadata: b"m" }];
            JoinGroupRequest {
                group_id: group,
                session_timeout_ms: 30_000,
                rebalance_timeout_ms: 1,
                group_instance_id: has(5).then_some(topic),
                protocol_type: "consumer",
                protocols,
                ..Default::default()
            }
        };
        Heartbeat HeartbeatResponse HeartbeatRequest { group_id: group, member_id: topic, ..Default::default() };
        LeaveGroup LeaveGroupResponse {
            let member = leave_group_request::MemberIdentity { member_id: topic, ..Default::default() };
            LeaveGroupRequest {
                group_id: group,
                member_id: if has(3) { "" } else { topic },
                members: if has(3) { vec![member] } else { Vec::new() },
            }
        };
        SyncGroup SyncGroupResponse SyncGroupRequest {
            group_id: group,
            member_id: topic,
            protocol_type: has(5).then_some("consumer"),
            protocol_name: has(5).then_some("range"),
            ..Default::default()
        };
        DescribeGroups DescribeGroupsResponse DescribeGroupsRequest {
            groups: vec![group, "absent", ""],
            include_authorized_operations: has(3),
        };
        ListGroups ListGroupsResponse ListGroupsRequest::default();
        ApiVersions ApiVersionsResponse ApiVersionsRequest { client_software_name: "s", client_software_version: "1" };
        CreateTopics CreateTopicsResponse {
            let topic = |name| create_topics_request::CreatableTopic { name, num_partitions: 1, replication_factor: 1, ..Default::default() };
            CreateTopicsRequest { topics: vec![topic(names.topic), topic(&made)], timeout_ms: 9000, validate_only: false }
        };
        DeleteTopics DeleteTopicsResponse {
            let gone = if topic == "t" { "absent" } else { topic };
            let state = |name, topic_id| delete_topics_request::DeleteTopicState { name, topic_id };
            DeleteTopicsRequest {
                topics: if has(6) { vec![state(Some(gone), none), state(None, Uuid::from_u128(9))] } else { Vec::new() },
                topic_names: if has(6) { Vec::new() } else { vec![gone] },
                timeout_ms: 9000,
            }
        };
        DeleteRecords DeleteRecordsResponse {
            let partition = |partition_index| delete_records_request::DeleteRecordsPartition { partition_index, offset: 0 };
            let topics = vec![delete_records_request::DeleteRecordsTopic { name: topic, partitions: vec![partition(0), partition(7)] }];
            DeleteRecordsRequest { topics, timeout_ms: 9000 }
        };
        InitProducerId InitProducerIdResponse InitProducerIdRequest { transaction_timeout_ms: 9000, ..Default::default() };
        OffsetForLeaderEpoch OffsetForLeaderEpochResponse {
            use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
            let wanted = |partition| OffsetForLeaderPartition { partition, current_leader_epoch: -1, leader_epoch: 0 };
            let topics = vec![OffsetForLeaderTopic { topic, partitions: vec![wanted(0), wanted(7)] }];
            OffsetForLeaderEpochRequest { replica_id: -1, topics }
        };
        DescribeConfigs DescribeConfigsResponse {
            let resource = |resource_type, resource_name| describe_configs_request::DescribeConfigsResource { resource_type, resource_name, configuration_keys: None };
            DescribeConfigsRequest {
                resources: vec![resource(2, topic), resource(4, "1"), resource(2, "absent")],
                include_synonyms: true,
                include_documentation: has(3),
            }
        };
        AlterConfigs AlterConfigsResponse {
            use alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let configs = vec![AlterableConfig { name: "retention.ms", value: Some("-1") }];
            AlterConfigsRequest { resources: vec![AlterConfigsResource { resource_type: 2, resource_name: topic, configs }], validate_only: false }
        };
        DescribeLogDirs DescribeLogDirsResponse {
            let topic = describe_log_dirs_request::DescribableLogDirTopic { topic, partitions: vec![0, 7] };
            DescribeLogDirsRequest { topics: Some(vec![topic]) }
        };
        CreatePartitions CreatePartitionsResponse {
            let topic = create_partitions_request::CreatePartitionsTopic { name: topic, count: 1, assignments: None };
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: 9000, validate_only: false }
        };
        DeleteGroups DeleteGroupsResponse DeleteGroupsRequest { groups_names: vec![group, "absent"] };
        IncrementalAlterConfigs IncrementalAlterConfigsResponse {
            use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let configs = vec![AlterableConfig { name: "retention.ms", config_operation: 0, value: Some(topic) }];
            IncrementalAlterConfigsRequest { resources: vec![AlterConfigsResource { resource_type: 2, resource_name: topic, configs }], validate_only: false }
        };
        OffsetDelete OffsetDeleteResponse {
            use offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
            let topic = OffsetDeleteRequestTopic { name: topic, partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }] };
            OffsetDeleteRequest { group_id: group, topics: vec![topic] }
        };
        DescribeQuorum DescribeQuorumResponse {
            use describe_quorum_request::{PartitionData, TopicData};
            let topic_name = if topic == "t" { "__cluster_metadata" } else { topic };
            DescribeQuorumRequest { topics: vec![TopicData { topic_name, partitions: vec![PartitionData { partition_index: 0 }] }] }
        };
        DescribeCluster DescribeClusterResponse DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            include_fenced_brokers: has(2),
            ..Default::default()
        };
        DescribeProducers DescribeProducersResponse {
            let topic = describe_producers_request::TopicRequest { name: topic, partition_indexes: vec![0, 7] };
            DescribeProducersRequest { topics: vec![topic] }
        };
        ListTransactions ListTransactionsResponse ListTransactionsRequest { state_filters: vec![topic], ..Default::default() };
        ListConfigResources ListConfigResourcesResponse ListConfigResourcesRequest::default();
        DescribeTopicPartitions DescribeTopicPartitionsResponse {
            let topics = vec![describe_topic_partitions_request::TopicRequest { name: topic }];
            DescribeTopicPartitionsRequest { topics, response_partition_limit: 10, cursor: None }
        };
    }
}

/// Asks for everything in every version, on one connection; `change` is made to each request's bytes.
fn ask_everything(client: &mut Client, names: &Names<'_>, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let offered = client.api_versions().expect("ApiVersions");
    assert!(offered.len() > 30, "{offered:?}");
    for (key, min, max) in offered {
        let key = ApiKey::from_code(key).expect("an API");
        // Produce is said to begin at 0, which only some clients look for.
        for version in min.max(key.api().version_min)..=max {
            let group = format!("{}-{}-{version}", names.group, key.code());
            let group = if key == ApiKey::JoinGroup { &group } else { names.group };
            let (bytes, read) = request(key, version, &Names { group, ..*names });
            let flexible = key.api().request_header_version(version) >= 2;
            let mut body = vec![0; usize::from(flexible)]; // the header's tagged fields
            body.extend(change(bytes));
            let answer = client.call(key.code(), version, &body);
            let answer = answer.unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
            let head = usize::from(key.api().response_header_version(version) >= 1);
            read(&answer[head..], version).unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
        }
    }
}

fn start(name: &str) -> (Broker, Client, Uuid) {
    let broker = Broker::start(name, &[("log.retention.ms", "-1")]);
    let mut client = Client::connect(&broker);
    assert_eq!(client.create_topic("t", 2).expect("CreateTopics"), code::NONE);
    let by_name = metadata_request::MetadataRequestTopic { name: Some("t"), topic_id: Uuid::ZERO };
    let request = MetadataRequest { topics: Some(vec![by_name]), ..Default::default() };
    let body = encode(&request, 13).expect("Metadata");
    let id = poll::until("a topic with an id", Duration::from_secs(30), || {
        let answer = client.call(3, 13, &[&[0], &body[..]].concat()).expect("Metadata");
        let found = MetadataResponse::read(&mut Reader::new(&answer[1..]), 13).expect("Metadata");
        found.topics.first().map(|topic| topic.topic_id).filter(|id| !id.is_zero())
    });
    (broker, client, id)
}

/// DescribeQuorum in versions 0 and 1 closed the connection: the answer was made with fields that only version 2 has.
#[test]
fn every_version_of_every_api_answers() {
    let (_broker, mut client, id) = start("versions");
    let records = Batch::plain(&["x"]).idempotent((5, 0), -1).encode();
    ask_everything(&mut client, &Names { topic: "t", id, group: "g", records: &records }, |bytes| bytes);
}

/// A connection was closed for a string that is no text. Kafka reads each malformed sequence as U+FFFD and answers.
#[test]
fn names_that_are_no_text_are_answered() {
    let (_broker, mut client, id) = start("no-text");
    let records = Batch::plain(&["x"]).encode();
    let spoil = |mut bytes: Vec<u8>| {
        while let Some(at) = bytes.windows(3).position(|three| three == b"???") {
            bytes[at..at + 3].copy_from_slice(b"\xff\xc3(");
        }
        bytes
    };
    ask_everything(&mut client, &Names { topic: "???", id, group: "g???", records: &records }, spoil);
    // It is kept as it was read.
    let (commit, _) =
        request(ApiKey::OffsetCommit, 10, &Names { topic: "???", id, group: "kept", records: &records });
    client.call(8, 10, &[&[0], &spoil(commit)[..]].concat()).expect("OffsetCommit");
    let (fetch, _) =
        request(ApiKey::OffsetFetch, 10, &Names { topic: "t", id, group: "kept", records: &records });
    let answer = client.call(9, 10, &[&[0], &fetch[..]].concat()).expect("OffsetFetch");
    let found = OffsetFetchResponse::read(&mut Reader::new(&answer[1..]), 10).expect("OffsetFetch");
    assert_eq!(found.groups[0].topics[0].partitions[0].metadata, Some("\u{fffd}\u{fffd}("));
}
