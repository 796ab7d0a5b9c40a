//! The worst requests of up to 1 MB that are known, by API: many elements, the same one many times, what decompresses a
//! thousandfold.

use ottla::base::Uuid;
use ottla::wire::codec::Message;
use ottla::wire::frame;
use ottla::wire::messages::{
    alter_configs_request as alter, create_partitions_request as partitions, create_topics_request as create,
    delete_records_request as records, describe_configs_request as configs,
    describe_log_dirs_request as dirs, describe_producers_request as producers,
    describe_topic_partitions_request as pages, fetch_request as fetch,
    incremental_alter_configs_request as inc, join_group_request as join, leave_group_request as leave,
    list_offsets_request as offsets, metadata_request as metadata, offset_commit_request as commit,
    offset_delete_request as forget, offset_fetch_request as committed,
    offset_for_leader_epoch_request as epochs, produce_request as produce, sync_group_request as sync,
};
use ottla::wire::messages::{
    delete_groups_request, delete_topics_request, describe_groups_request, find_coordinator_request,
    list_groups_request, list_transactions_request,
};
use ottla::wire::record::{BatchBuilder, Codec, Compression};

/// The topic that is there, with many partitions.
pub const TOPIC: &str = "worst";
/// Its partitions.
pub const PARTITIONS: i32 = 1000;
/// The group that has offsets of all of them.
pub const GROUP: &str = "worst";

/// A request to play.
pub struct Case {
    /// The API, and what makes it bad.
    pub name: &'static str,
    /// The whole frame.
    pub frame: Vec<u8>,
}

fn case<'a, M: Message<'a>>(name: &'static str, version: i16, message: &M) -> Case {
    let frame = frame::request(message, version, 1, Some("worst")).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(frame.len() <= 1_050_000, "{name}: {} bytes", frame.len());
    Case { name, frame }
}

/// All of them.
pub fn all() -> Vec<Case> {
    let names: Vec<String> = (0..150_000).map(|i| format!("{i:05x}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    [data(), groups(&names), lookups(&names), admin(&names)].into_iter().flatten().collect()
}

fn zeros(codec: Codec, bytes: usize) -> Vec<u8> {
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_millis() as i64);
    let mut batch = BatchBuilder::new(0).compression(Compression::of(codec));
    batch.append(now_ms, None, Some(&vec![0; bytes]), &[]);
    batch.build()
}

fn produced(partitions: Vec<(i32, &[u8])>) -> produce::ProduceRequest<'_> {
    let partition_data = partitions
        .into_iter()
        .map(|(index, batch)| produce::PartitionProduceData { index, records: Some(batch) });
    let topic_data = vec![produce::TopicProduceData {
        name: TOPIC,
        partition_data: partition_data.collect(),
        ..Default::default()
    }];
    produce::ProduceRequest { acks: 1, timeout_ms: 30_000, topic_data, ..Default::default() }
}

fn data() -> Vec<Case> {
    let large = [
        ("Produce, 100 MB of zeros in one gzip batch", Codec::Gzip, 100 << 20),
        ("Produce, 100 MB of zeros in one zstd batch", Codec::Zstd, 100 << 20),
        ("Produce, 100 MB of zeros in one lz4 batch", Codec::Lz4, 100 << 20),
        ("Produce, 20 MB of zeros in one snappy batch", Codec::Snappy, 20 << 20),
    ];
    let mut cases: Vec<Case> = large
        .into_iter()
        .map(|(name, codec, bytes)| case(name, 9, &produced(vec![(0, &zeros(codec, bytes))])))
        .collect();
    let small = zeros(Codec::Gzip, 900 << 10);
    let each = (0..PARTITIONS.min(1_000_000 / (small.len() as i32 + 20))).map(|p| (p, &small[..])).collect();
    cases.push(case("Produce, a gzip batch of 0.9 MB for each of many partitions", 9, &produced(each)));
    let partition = fetch::FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let many = (0..25_000).map(|i| fetch::FetchPartition { partition: i % PARTITIONS, ..partition.clone() });
    let topics = vec![fetch::FetchTopic { topic: TOPIC, partitions: many.collect(), ..Default::default() }];
    let request = fetch::FetchRequest { max_bytes: 50 << 20, topics, ..Default::default() };
    cases.push(case("Fetch, the same partitions many times", 11, &request));
    cases
}

fn groups(names: &[&str]) -> Vec<Case> {
    let protocols = names.iter().map(|name| join::JoinGroupRequestProtocol { name, metadata: b"" });
    let joining = join::JoinGroupRequest {
        group_id: "many-protocols",
        session_timeout_ms: 6000,
        protocol_type: "x",
        protocols: protocols.take(95_000).collect(),
        ..Default::default()
    };
    let assignments =
        names.iter().map(|id| sync::SyncGroupRequestAssignment { member_id: id, assignment: b"" });
    let syncing = sync::SyncGroupRequest {
        group_id: GROUP,
        member_id: "nobody",
        assignments: assignments.take(95_000).collect(),
        ..Default::default()
    };
    let members = names.iter().map(|id| leave::MemberIdentity { member_id: id, ..Default::default() });
    let leaving = leave::LeaveGroupRequest {
        group_id: GROUP,
        members: members.take(110_000).collect(),
        ..Default::default()
    };
    let partition = |i: i32| commit::OffsetCommitRequestPartition {
        partition_index: i % PARTITIONS,
        committed_offset: 1,
        ..Default::default()
    };
    let committing = |n| commit::OffsetCommitRequest {
        group_id: GROUP,
        generation_id_or_member_epoch: -1,
        topics: vec![commit::OffsetCommitRequestTopic {
            name: TOPIC,
            partitions: (0..n).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let tiny = committed::OffsetFetchRequestGroup { group_id: "g", topics: None, ..Default::default() };
    let whole = committed::OffsetFetchRequestGroup { group_id: GROUP, topics: None, ..Default::default() };
    let topics = vec![committed::OffsetFetchRequestTopics {
        name: TOPIC,
        partition_indexes: (0..250_000).map(|i| i % PARTITIONS).collect(),
        ..Default::default()
    }];
    let repeated = committed::OffsetFetchRequestGroup { topics: Some(topics), ..whole.clone() };
    let strangers =
        names.iter().map(|name| committed::OffsetFetchRequestTopics { name, ..Default::default() });
    let strange = committed::OffsetFetchRequestGroup {
        topics: Some(strangers.take(125_000).collect()),
        ..whole.clone()
    };
    let fetch = |groups| committed::OffsetFetchRequest { groups, ..Default::default() };
    let deleting = forget::OffsetDeleteRequest {
        group_id: GROUP,
        topics: vec![forget::OffsetDeleteRequestTopic {
            name: "nothing",
            partitions: (0..250_000)
                .map(|i| forget::OffsetDeleteRequestPartition { partition_index: i })
                .collect(),
        }],
    };
    let describe = |groups| describe_groups_request::DescribeGroupsRequest { groups, ..Default::default() };
    let states = vec!["x"; 330_000];
    vec![
        case("JoinGroup, many protocols", 3, &joining),
        case("SyncGroup, many assignments", 2, &syncing),
        case("LeaveGroup, many members", 3, &leaving),
        case("OffsetCommit, many partitions", 7, &committing(55_000)),
        case("OffsetCommit, as many as one batch holds", 7, &committing(16_000)),
        case("OffsetFetch, many groups", 8, &fetch(vec![tiny; 240_000])),
        case("OffsetFetch, all offsets of a group many times", 8, &fetch(vec![whole; 100_000])),
        case("OffsetFetch, the same partitions many times", 8, &fetch(vec![repeated])),
        case("OffsetFetch, many topics of one group", 8, &fetch(vec![strange])),
        case("OffsetDelete, many partitions", 0, &deleting),
        case("DescribeGroups, many groups", 5, &describe(vec!["g"; 500_000])),
        case("DescribeGroups, a group many times", 5, &describe(vec![GROUP; 160_000])),
        case(
            "DeleteGroups, many groups",
            2,
            &delete_groups_request::DeleteGroupsRequest { groups_names: names.to_vec() },
        ),
        case(
            "ListGroups, many states",
            4,
            &list_groups_request::ListGroupsRequest { states_filter: states, types_filter: Vec::new() },
        ),
    ]
}

fn lookups(names: &[&str]) -> Vec<Case> {
    let partition = |i: i32| offsets::ListOffsetsPartition {
        partition_index: i % PARTITIONS,
        current_leader_epoch: -1,
        timestamp: -1,
    };
    let listing = offsets::ListOffsetsRequest {
        topics: vec![offsets::ListOffsetsTopic {
            name: TOPIC,
            partitions: (0..60_000).map(partition).collect(),
        }],
        ..Default::default()
    };
    let epoch = |i: i32| epochs::OffsetForLeaderPartition {
        partition: i % PARTITIONS,
        current_leader_epoch: -1,
        leader_epoch: 0,
    };
    let ends = epochs::OffsetForLeaderEpochRequest {
        topics: vec![epochs::OffsetForLeaderTopic {
            topic: TOPIC,
            partitions: (0..80_000).map(epoch).collect(),
        }],
        ..Default::default()
    };
    let described = producers::DescribeProducersRequest {
        topics: vec![producers::TopicRequest {
            name: TOPIC,
            partition_indexes: (0..250_000).map(|i| i % PARTITIONS).collect(),
        }],
    };
    let sized = dirs::DescribeLogDirsRequest {
        topics: Some(vec![dirs::DescribableLogDirTopic {
            topic: TOPIC,
            partitions: (0..250_000).map(|i| i % PARTITIONS).collect(),
        }]),
    };
    let named =
        names.iter().map(|name| metadata::MetadataRequestTopic { topic_id: Uuid::ZERO, name: Some(name) });
    let asked =
        metadata::MetadataRequest { topics: Some(named.take(145_000).collect()), ..Default::default() };
    let paged = pages::DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| pages::TopicRequest { name }).take(145_000).collect(),
        response_partition_limit: 2000,
        cursor: None,
    };
    let keys = find_coordinator_request::FindCoordinatorRequest {
        coordinator_keys: vec!["g"; 500_000],
        ..Default::default()
    };
    let resource = |name, keys| configs::DescribeConfigsResource {
        resource_type: 32,
        resource_name: name,
        configuration_keys: keys,
    };
    let described_configs = |resources| configs::DescribeConfigsRequest {
        resources,
        include_synonyms: true,
        include_documentation: true,
    };
    let filters = list_transactions_request::ListTransactionsRequest {
        state_filters: vec!["x"; 500_000],
        ..Default::default()
    };
    vec![
        case("ListOffsets, the same partitions many times", 4, &listing),
        case("OffsetForLeaderEpoch, the same partitions many times", 3, &ends),
        case("DescribeProducers, the same partitions many times", 0, &described),
        case("DescribeLogDirs, the same partitions many times", 1, &sized),
        case("Metadata, many topics that are not there", 9, &asked),
        case("Metadata, all topics", 9, &metadata::MetadataRequest { topics: None, ..Default::default() }),
        case("DescribeTopicPartitions, many topics that are not there", 0, &paged),
        case("FindCoordinator, many keys", 4, &keys),
        case(
            "DescribeConfigs, many groups",
            4,
            &described_configs(names.iter().map(|name| resource(name, None)).take(100_000).collect()),
        ),
        case(
            "DescribeConfigs, many keys",
            4,
            &described_configs(vec![resource("g", Some(vec!["x"; 500_000]))]),
        ),
        case("ListTransactions, many states", 0, &filters),
    ]
}

fn admin(names: &[&str]) -> Vec<Case> {
    let topic = |name| create::CreatableTopic {
        name,
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let creating = |n: usize| create::CreateTopicsRequest {
        topics: names.iter().map(|name| topic(*name)).take(n).collect(),
        timeout_ms: 1000,
        validate_only: true,
    };
    let deleting = |n: usize| delete_topics_request::DeleteTopicsRequest {
        topic_names: names.iter().copied().take(n).collect(),
        ..Default::default()
    };
    let growing = |n: usize| partitions::CreatePartitionsRequest {
        topics: names
            .iter()
            .map(|name| partitions::CreatePartitionsTopic { name, count: 2, assignments: None })
            .take(n)
            .collect(),
        timeout_ms: 1000,
        validate_only: true,
    };
    let change = inc::AlterableConfig {
        name: "consumer.session.timeout.ms",
        config_operation: 0,
        value: Some("46000"),
    };
    let altering = |n: usize| inc::IncrementalAlterConfigsRequest {
        resources: names
            .iter()
            .map(|name| inc::AlterConfigsResource {
                resource_type: 32,
                resource_name: name,
                configs: vec![change.clone()],
            })
            .take(n)
            .collect(),
        validate_only: true,
    };
    let changes = inc::IncrementalAlterConfigsRequest {
        resources: vec![inc::AlterConfigsResource {
            resource_type: 32,
            resource_name: "g",
            configs: names
                .iter()
                .map(|name| inc::AlterableConfig { name, config_operation: 0, value: None })
                .take(100_000)
                .collect(),
        }],
        validate_only: true,
    };
    let old = alter::AlterConfigsRequest {
        resources: names
            .iter()
            .map(|name| alter::AlterConfigsResource {
                resource_type: 32,
                resource_name: name,
                configs: Vec::new(),
            })
            .take(80_000)
            .collect(),
        validate_only: true,
    };
    let partition = |i: i32| records::DeleteRecordsPartition { partition_index: i % PARTITIONS, offset: 0 };
    let trimming = records::DeleteRecordsRequest {
        topics: vec![records::DeleteRecordsTopic {
            name: TOPIC,
            partitions: (0..80_000).map(partition).collect(),
        }],
        timeout_ms: 1000,
    };
    vec![
        case("CreateTopics, as many as allowed", 5, &creating(9_999)),
        case("CreateTopics, more than allowed", 5, &creating(60_000)),
        case("DeleteTopics, as many as allowed", 5, &deleting(9_999)),
        case("DeleteTopics, more than allowed", 5, &deleting(150_000)),
        case("CreatePartitions, as many as allowed", 2, &growing(9_999)),
        case("CreatePartitions, more than allowed", 2, &growing(85_000)),
        case("IncrementalAlterConfigs, as many as allowed", 1, &altering(9_999)),
        case("IncrementalAlterConfigs, more than allowed", 1, &altering(20_000)),
        case("IncrementalAlterConfigs, many keys of one", 1, &changes),
        case("AlterConfigs, more than allowed", 1, &old),
        case("DeleteRecords, the same partitions many times", 1, &trimming),
    ]
}
