//! Each decision is replayed, so that every test also shows that the records say what the reply does.

use super::super::image::{DIRECTORY_LOST, Partition};
use super::super::record::{Feature, METADATA_VERSION_LATEST, PartitionChangeRecord, RegisterBrokerRecord};
use super::*;
use crate::base::{BrokerId, DirectoryId, Uuid};
use crate::config::{ResourceKind, STANDALONE};
use crate::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use crate::wire::messages::create_topics_request::{self, CreatableReplicaAssignment, CreatableTopicConfig};
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest, alter_configs_request, incremental_alter_configs_request,
};

const DIRECTORY: DirectoryId = Uuid::from_u128(0xd1d1_d1d1);

/// A controller with its log, driven as the shard drives it.
struct Cluster {
    controller: Controller,
    config: BrokerConfig,
    random: Prng,
    ids: u128,
    log: Vec<MetadataRecord>,
}

impl Cluster {
    /// An empty log, bootstrapped, without brokers.
    fn bootstrapped() -> Cluster {
        let (config, _) = BrokerConfig::from_pairs(STANDALONE.iter().copied()).unwrap();
        let controller = Controller::new(Image::empty("cluster"));
        let mut cluster = Cluster { controller, config, random: Prng::new(1), ids: 1000, log: Vec::new() };
        let decision = cluster.controller.activate(&bootstrap_records(), 1);
        cluster.commit(decision);
        cluster
    }

    /// With broker 1, registered and unfenced.
    fn standalone() -> Cluster {
        let mut cluster = Cluster::bootstrapped();
        cluster.start_broker(-1);
        cluster
    }

    fn set(&mut self, pairs: &[(&str, &str)]) {
        let pairs = STANDALONE.iter().chain(pairs).copied();
        self.config = BrokerConfig::from_pairs(pairs).unwrap().0;
    }

    fn decide<T>(&mut self, decide: impl FnOnce(&Controller, &mut Context<'_>) -> T) -> T {
        let ids = &mut self.ids;
        let mut new_topic_id = || {
            *ids += 1;
            Uuid::from_u128(*ids)
        };
        let mut context =
            Context { config: &self.config, random: &mut self.random, new_topic_id: &mut new_topic_id };
        decide(&self.controller, &mut context)
    }

    fn commit<R>(&mut self, decision: Decision<R>) -> R {
        for record in decision.records {
            let bytes = record.encode(METADATA_VERSION_LATEST).unwrap();
            let record = MetadataRecord::decode(&bytes).unwrap();
            let offset = self.log.len() as Offset;
            self.controller.replay(offset, 1, &record).unwrap_or_else(|e| panic!("{record:?}: {e}"));
            self.log.push(record);
        }
        decision.reply
    }

    fn try_register(&mut self, registration: &BrokerRegistration) -> Result<Decision<i64>, ApiError> {
        let offset = self.log.len() as i64;
        self.decide(|c, ctx| c.register_broker(ctx, registration, offset))
    }

    fn start_broker(&mut self, previous_broker_epoch: i64) -> i64 {
        self.ids += 1;
        let registration = registration(1, self.ids, previous_broker_epoch);
        let decision = self.try_register(&registration).unwrap();
        let epoch = self.commit(decision);
        let decision = self.decide(|c, ctx| c.unfence_broker(ctx, 1)).unwrap();
        self.commit(decision);
        epoch
    }

    fn create(&mut self, topics: Vec<create_topics_request::CreatableTopic<'_>>) -> Vec<CreatedTopic> {
        let request = CreateTopicsRequest { topics, timeout_ms: 1000, validate_only: false };
        let decision = self.decide(|c, ctx| c.create_topics(ctx, &request)).unwrap();
        self.commit(decision).topics
    }

    fn create_one(&mut self, name: &str, partitions: i32) -> CreatedTopic {
        self.create(vec![topic(name, partitions, -1)]).remove(0)
    }

    fn partition(&self, topic: &str, number: i32) -> &Partition {
        self.controller.image().topics().partition(topic, number).unwrap()
    }

    fn change_partition(&mut self, change: PartitionChangeRecord) {
        self.commit(Decision { records: vec![MetadataRecord::PartitionChange(change)], reply: () });
    }

    fn topic_id(&self, name: &str) -> TopicId {
        self.controller.image().topics().get(name).unwrap().id
    }

    fn alter(&mut self, kind: i8, name: &str, ops: &[(&str, i8, Option<&str>)]) -> ApiError {
        let request = incremental(kind, name, ops, false);
        let decision = self.decide(|c, ctx| c.incremental_alter_configs(ctx, &request));
        self.commit(decision).resources.remove(0).error
    }

    fn value(&self, kind: ResourceKind, name: &str, key: &str) -> Option<&str> {
        self.controller.image().configs().value(kind, name, key)
    }
}

impl Drop for Cluster {
    /// What every controller promises: the log alone gives the same state.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut again = Controller::new(Image::empty("cluster"));
        for (offset, record) in self.log.iter().enumerate() {
            again.replay(offset as Offset, 1, record).unwrap();
        }
        assert_eq!(again.image(), self.controller.image());
        let mut image = Image::empty("cluster");
        for record in again.image().to_records() {
            image.apply(&record, &mut super::super::image::Delta::default()).unwrap();
        }
        image.advance(again.image().offset(), 1);
        assert_eq!(&image, again.image(), "the snapshot says something else");
    }
}

fn registration(broker_id: BrokerId, incarnation: u128, previous_broker_epoch: i64) -> BrokerRegistration {
    BrokerRegistration {
        broker_id,
        cluster_id: "cluster".into(),
        incarnation_id: Uuid::from_u128(incarnation),
        end_points: Vec::new(),
        features: supported_features(),
        rack: None,
        log_dirs: vec![if broker_id == 1 { DIRECTORY } else { Uuid::from_u128(5000 + broker_id as u128) }],
        previous_broker_epoch,
    }
}

fn topic(
    name: &str,
    num_partitions: i32,
    replication_factor: i16,
) -> create_topics_request::CreatableTopic<'_> {
    create_topics_request::CreatableTopic {
        name,
        num_partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn with_config<'a>(
    name: &'a str,
    key: &'a str,
    value: Option<&'a str>,
) -> create_topics_request::CreatableTopic<'a> {
    let mut topic = topic(name, 1, 1);
    topic.configs.push(CreatableTopicConfig { name: key, value });
    topic
}

fn assigned<'a>(name: &'a str, replicas: &[(i32, &[BrokerId])]) -> create_topics_request::CreatableTopic<'a> {
    let mut topic = topic(name, -1, -1);
    let assign = |(index, brokers): &(i32, &[BrokerId])| CreatableReplicaAssignment {
        partition_index: *index,
        broker_ids: brokers.to_vec(),
    };
    topic.assignments = replicas.iter().map(assign).collect();
    topic
}

fn incremental<'a>(
    kind: i8,
    name: &'a str,
    ops: &[(&'a str, i8, Option<&'a str>)],
    validate_only: bool,
) -> IncrementalAlterConfigsRequest<'a> {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = ops.iter().map(|(name, config_operation, value)| AlterableConfig {
        name,
        config_operation: *config_operation,
        value: *value,
    });
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name, configs: configs.collect() };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only }
}

fn says(error: &ApiError, code: i16, part: &str) {
    assert_eq!(error.code, code, "{error:?}");
    assert!(error.message.as_deref().unwrap_or_default().contains(part), "{error:?} does not say {part:?}");
}

#[test]
fn bootstrap_writes_what_kafka_writes() {
    let cluster = Cluster::bootstrapped();
    let names: Vec<&str> = cluster.log.iter().map(MetadataRecord::name).collect();
    let mut expected = vec!["BeginTransactionRecord"];
    expected.extend(["FeatureLevelRecord"; 6]);
    expected.extend(["ConfigRecord", "EndTransactionRecord"]);
    assert_eq!(names, expected);
    let levels: Vec<(String, i16)> =
        cluster.controller.image().features().iter().map(|(n, l)| (n.to_string(), l)).collect();
    let expected = [
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("metadata.version", 30),
        ("share.version", 1),
        ("streams.version", 1),
        ("transaction.version", 2),
    ];
    assert_eq!(levels, expected.map(|(n, l)| (n.to_owned(), l)));
    assert_eq!(cluster.value(ResourceKind::Broker, "", "min.insync.replicas"), Some("1"));
    assert_eq!(cluster.controller.activate(&bootstrap_records(), 1).records, []);
}

#[test]
fn a_bootstrap_cut_short_is_aborted_and_done_again() {
    let mut cluster = Cluster::bootstrapped();
    let mut controller = Controller::new(Image::empty("cluster"));
    for (offset, record) in cluster.log[..4].iter().enumerate() {
        controller.replay(offset as Offset, 1, record).unwrap();
    }
    cluster.log.truncate(4);
    cluster.controller = controller;
    // The view inside of the transaction has metadata.version already; what is committed has not.
    let decision = cluster.controller.activate(&bootstrap_records(), 1);
    let names: Vec<&str> = decision.records.iter().map(MetadataRecord::name).take(2).collect();
    assert_eq!(names, ["AbortTransactionRecord", "BeginTransactionRecord"]);
    cluster.commit(decision);
    assert_eq!(cluster.controller.image().features().metadata_version(), Some(30));
}

#[test]
fn a_topic_is_created_with_its_partitions_and_configuration() {
    let mut cluster = Cluster::standalone();
    let mut wanted = topic("foo", 3, 1);
    wanted.configs.push(CreatableTopicConfig { name: "retention.ms", value: Some("1000") });
    let created = cluster.create(vec![wanted]).remove(0);
    assert_eq!(created.error, ApiError::NONE);
    assert_eq!((created.num_partitions, created.replication_factor), (3, 1));
    assert_eq!(created.topic_id, cluster.topic_id("foo"));
    let names: Vec<&str> = cluster.log.iter().rev().take(5).rev().map(MetadataRecord::name).collect();
    assert_eq!(
        names,
        ["TopicRecord", "ConfigRecord", "PartitionRecord", "PartitionRecord", "PartitionRecord"]
    );
    assert_eq!(cluster.value(ResourceKind::Topic, "foo", "retention.ms"), Some("1000"));
    let p = cluster.partition("foo", 2);
    assert_eq!((p.leader, p.leader_epoch, p.partition_epoch), (1, 0, 0));
    assert_eq!((&p.replicas, &p.isr, &p.directories), (&vec![1], &vec![1], &vec![DIRECTORY]));
    let echo = created.configs.iter().find(|c| c.name == "retention.ms").unwrap();
    assert_eq!((echo.value.as_deref(), echo.source), (Some("1000"), 1));
    let echo = created.configs.iter().find(|c| c.name == "cleanup.policy").unwrap();
    assert_eq!((echo.value.as_deref(), echo.source), (Some("delete"), 5));
    assert!(created.configs.is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn defaults_come_from_the_broker() {
    let mut cluster = Cluster::standalone();
    cluster.set(&[("num.partitions", "4")]);
    assert_eq!(cluster.create_one("foo", -1).num_partitions, 4);
    cluster.set(&[("default.replication.factor", "2")]);
    says(
        &cluster.create_one("bar", -1).error,
        codes::INVALID_REPLICATION_FACTOR,
        "only 1 broker(s) are registered",
    );
}

#[test]
fn refusals_of_create_topics() {
    let long = "x".repeat(250);
    let table = [
        (topic("", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "the empty string is not allowed"),
        (topic("..", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "'..' is not allowed"),
        (topic(&long, 1, 1), codes::INVALID_TOPIC_EXCEPTION, "longer than the max allowed length 249"),
        (topic("a b", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "ASCII alphanumerics"),
        (topic("old.name", 1, 1), codes::TOPIC_ALREADY_EXISTS, "Topic 'old.name' already exists."),
        (topic("old_name", 1, 1), codes::INVALID_TOPIC_EXCEPTION, "collides with existing topic: old.name"),
        (topic("__cluster_metadata", 1, 1), codes::INVALID_REQUEST, "is prohibited"),
        (topic("a", 0, 1), codes::INVALID_PARTITIONS, "non-positive"),
        (topic("a", -2, 1), codes::INVALID_PARTITIONS, "non-positive"),
        (topic("a", 1, 0), codes::INVALID_REPLICATION_FACTOR, "larger than 0"),
        (topic("a", 1, -2), codes::INVALID_REPLICATION_FACTOR, "larger than 0"),
        (topic("a", 1, 2), codes::INVALID_REPLICATION_FACTOR, "Unable to replicate the partition 2 time(s)"),
        (with_config("a", "retention.ms", Some("x")), codes::INVALID_CONFIG, "retention.ms"),
        (
            with_config("a", "no.such.key", Some("x")),
            codes::INVALID_CONFIG,
            "Unknown topic config name: no.such.key",
        ),
        (
            with_config("a", "retention.ms", None),
            codes::INVALID_CONFIG,
            "Null value not supported for topic configs",
        ),
        (assigned("a", &[(0, &[])]), codes::INVALID_REPLICA_ASSIGNMENT, "empty replica list"),
        (assigned("a", &[(0, &[9])]), codes::INVALID_REPLICA_ASSIGNMENT, "broker 9, but no such broker"),
        (assigned("a", &[(0, &[1, 1])]), codes::INVALID_REPLICA_ASSIGNMENT, "more than once"),
        (assigned("a", &[(1, &[1])]), codes::INVALID_REPLICA_ASSIGNMENT, "consecutive 0-based"),
        (assigned("a", &[(0, &[1]), (0, &[1])]), codes::INVALID_REPLICA_ASSIGNMENT, "Found multiple"),
    ];
    let mut cluster = Cluster::standalone();
    assert!(cluster.create_one("old.name", 1).error.is_none());
    let before = cluster.log.len();
    for (wanted, code, part) in table {
        let created = cluster.create(vec![wanted]).remove(0);
        says(&created.error, code, part);
        assert_eq!((created.num_partitions, created.topic_id), (-1, Uuid::ZERO));
    }
    let mut mixed = assigned("a", &[(0, &[1])]);
    mixed.num_partitions = 1;
    says(
        &cluster.create(vec![mixed]).remove(0).error,
        codes::INVALID_REQUEST,
        "numPartitions was not set to -1",
    );
    assert_eq!(cluster.log.len(), before);
}

#[test]
fn one_bad_topic_does_not_hurt_the_others() {
    let mut cluster = Cluster::standalone();
    let reply = cluster.create(vec![
        topic("a", 1, 1),
        topic("twice", 1, 1),
        topic("b b", 1, 1),
        topic("twice", 2, 1),
    ]);
    let outcome: Vec<(&str, i16)> = reply.iter().map(|t| (t.name.as_str(), t.error.code)).collect();
    assert_eq!(
        outcome,
        [("a", 0), ("b b", codes::INVALID_TOPIC_EXCEPTION), ("twice", codes::INVALID_REQUEST)]
    );
    assert!(cluster.controller.image().topics().get("twice").is_none());
    let reply = CreateTopicsReply { topics: reply };
    for version in 2..=7 {
        assert!(crate::wire::codec::encode(&reply.to_wire(), version).is_ok(), "version {version}");
    }
}

#[test]
fn validate_only_creates_nothing() {
    let mut cluster = Cluster::standalone();
    let request = CreateTopicsRequest { topics: vec![topic("a", 2, 1)], timeout_ms: 1, validate_only: true };
    let decision = cluster.decide(|c, ctx| c.create_topics(ctx, &request)).unwrap();
    assert_eq!((decision.records.len(), decision.reply.topics[0].num_partitions), (0, 2));
}

#[test]
fn too_many_partitions_at_once_are_refused() {
    let mut cluster = Cluster::standalone();
    let request = CreateTopicsRequest {
        topics: vec![topic("a", 9_999, 1), topic("b", 2, 1)],
        timeout_ms: 1,
        validate_only: false,
    };
    let refused = cluster.decide(|c, ctx| c.create_topics(ctx, &request)).unwrap_err();
    says(&refused, codes::POLICY_VIOLATION, "Excessively large number of partitions");
    assert!(cluster.create_one("a", 10_000).error.is_none());
}

#[test]
fn manual_assignments_are_kept_and_led_by_the_first_active_replica() {
    let mut cluster = Cluster::standalone();
    let decision = cluster.try_register(&registration(2, 77, -1)).unwrap();
    cluster.commit(decision);
    let created = cluster.create(vec![assigned("a", &[(1, &[1, 2]), (0, &[2, 1])])]).remove(0);
    assert_eq!((created.error.code, created.num_partitions, created.replication_factor), (0, 2, 2));
    let p = cluster.partition("a", 0);
    assert_eq!((&p.replicas, &p.isr, p.leader), (&vec![2, 1], &vec![1], 1), "broker 2 is fenced");
    let uneven = cluster.create(vec![assigned("b", &[(0, &[2, 1]), (1, &[1])])]).remove(0);
    says(&uneven.error, codes::INVALID_REPLICA_ASSIGNMENT, "not consistent with previous partitions");
    let fenced = cluster.create(vec![assigned("c", &[(0, &[2])])]).remove(0);
    says(&fenced.error, codes::INVALID_REPLICA_ASSIGNMENT, "fenced or in controlled shutdown");
}

#[test]
fn placement_spreads_replicas_and_leaders() {
    let mut cluster = Cluster::standalone();
    for id in 2..=5 {
        let mut wanted = registration(id, 70 + id as u128, -1);
        wanted.rack = Some(if id < 4 { "a" } else { "b" }.into());
        let decision = cluster.try_register(&wanted).unwrap();
        cluster.commit(decision);
        let decision = cluster.decide(|c, ctx| c.unfence_broker(ctx, id)).unwrap();
        cluster.commit(decision);
    }
    let created = cluster.create(vec![topic("a", 500, 3)]).remove(0);
    assert!(created.error.is_none());
    let (mut leaders, mut replicas) = ([0; 6], [0; 6]);
    for number in 0..500 {
        let p = cluster.partition("a", number);
        let mut distinct = p.replicas.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 3);
        leaders[p.leader as usize] += 1;
        p.replicas.iter().for_each(|r| replicas[*r as usize] += 1);
    }
    assert!(leaders[1..].iter().all(|n| (40..=220).contains(n)), "{leaders:?}");
    assert_eq!(replicas.iter().sum::<i32>(), 1500);
}

#[test]
fn without_brokers_no_topic() {
    let mut cluster = Cluster::bootstrapped();
    says(
        &cluster.create_one("a", 1).error,
        codes::INVALID_REPLICATION_FACTOR,
        "All brokers are currently fenced",
    );
}

#[test]
fn topics_are_deleted_by_name_or_id() {
    let mut cluster = Cluster::standalone();
    for name in ["a", "b", "c", "d"] {
        assert!(cluster.create_one(name, 2).error.is_none());
    }
    let (b, c) = (cluster.topic_id("b"), cluster.topic_id("c"));
    let by = |name, topic_id| DeleteTopicState { name, topic_id };
    let unknown = Uuid::from_u128(99);
    let request = DeleteTopicsRequest {
        topics: vec![
            by(Some("a"), Uuid::ZERO),
            by(None, b),
            by(None, c),
            by(Some("c"), Uuid::ZERO),
            by(None, unknown),
            by(Some("zz"), Uuid::ZERO),
            by(None, Uuid::ZERO),
            by(Some("d"), unknown),
        ],
        topic_names: vec![],
        timeout_ms: 1,
    };
    let decision = cluster.decide(|c, ctx| c.delete_topics(ctx, &request, 6)).unwrap();
    let mut outcome: Vec<(Option<&str>, TopicId, i16)> =
        decision.reply.topics.iter().map(|t| (t.name.as_deref(), t.topic_id, t.error.code)).collect();
    outcome.sort();
    let mut expected = vec![
        (Some("a"), cluster.topic_id("a"), 0),
        (Some("b"), b, 0),
        (Some("c"), c, codes::INVALID_REQUEST),
        (None, unknown, codes::UNKNOWN_TOPIC_ID),
        (Some("zz"), Uuid::ZERO, codes::UNKNOWN_TOPIC_OR_PARTITION),
        (None, Uuid::ZERO, codes::INVALID_REQUEST),
        (Some("d"), unknown, codes::INVALID_REQUEST),
    ];
    expected.sort();
    assert_eq!(outcome, expected);
    cluster.commit(decision);
    let left: Vec<&str> = cluster.controller.image().topics().iter().map(|t| t.name.as_ref()).collect();
    assert_eq!(left, ["c", "d"]);

    let request = DeleteTopicsRequest { topics: vec![], topic_names: vec!["c", "c", "d"], timeout_ms: 1 };
    let decision = cluster.decide(|c, ctx| c.delete_topics(ctx, &request, 3)).unwrap();
    let reply = cluster.commit(decision);
    for version in 1..=6 {
        assert!(crate::wire::codec::encode(&reply.to_wire(version), version).is_ok(), "version {version}");
    }
    assert_eq!(cluster.controller.image().topics().len(), 1);
    cluster.set(&[("delete.topic.enable", "false")]);
    let refused = |version, cluster: &mut Cluster| {
        cluster.decide(|c, ctx| c.delete_topics(ctx, &request, version)).unwrap_err().code
    };
    assert_eq!(refused(2, &mut cluster), codes::INVALID_REQUEST);
    assert_eq!(refused(3, &mut cluster), codes::TOPIC_DELETION_DISABLED);
}

#[test]
fn a_deleted_topic_takes_its_configuration_along() {
    let mut cluster = Cluster::standalone();
    cluster.create(vec![with_config("a", "retention.ms", Some("5"))]);
    let request = DeleteTopicsRequest { topics: vec![], topic_names: vec!["a"], timeout_ms: 1 };
    let decision = cluster.decide(|c, ctx| c.delete_topics(ctx, &request, 5)).unwrap();
    cluster.commit(decision);
    assert!(cluster.create_one("a", 1).error.is_none());
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "retention.ms"), None);
}

#[test]
fn partitions_are_added() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 2);
    cluster.create_one("b", 2);
    let grow = |name, count, assignments: Option<Vec<Vec<BrokerId>>>| CreatePartitionsTopic {
        name,
        count,
        assignments: assignments
            .map(|a| a.into_iter().map(|broker_ids| CreatePartitionsAssignment { broker_ids }).collect()),
    };
    let mut run = |topics: Vec<CreatePartitionsTopic<'_>>, validate_only: bool| {
        let request = CreatePartitionsRequest { topics, timeout_ms: 1, validate_only };
        let decision = cluster.decide(|c, ctx| c.create_partitions(ctx, &request));
        cluster.commit(decision).topics
    };
    assert!(run(vec![grow("a", 5, None)], true)[0].error.is_none());
    let table = [
        (grow("a", 2, None), codes::INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (grow("a", 1, None), codes::INVALID_PARTITIONS, "would not be an increase"),
        (grow("a", -5, None), codes::INVALID_PARTITIONS, "would not be an increase"),
        (grow("zz", 5, None), codes::UNKNOWN_TOPIC_OR_PARTITION, ""),
        (grow("a", 3, Some(vec![])), codes::INVALID_REPLICA_ASSIGNMENT, "only 0 assignment(s)"),
        (grow("a", 3, Some(vec![vec![7]])), codes::INVALID_REPLICA_ASSIGNMENT, "broker 7"),
        (grow("a", i32::MAX, None), codes::POLICY_VIOLATION, "Excessively"),
    ];
    for (topic, code, part) in table {
        says(&run(vec![topic], false)[0].error, code, part);
    }
    let reply = run(vec![grow("b", 4, None), grow("b", 5, None)], false);
    assert_eq!(reply.len(), 1);
    says(&reply[0].error, codes::INVALID_REQUEST, "Duplicate topic name.");
    assert!(run(vec![grow("a", 4, None)], false)[0].error.is_none());
    assert!(run(vec![grow("a", 5, Some(vec![vec![1]]))], false)[0].error.is_none());
    let a = cluster.controller.image().topics().get("a").unwrap().clone();
    assert_eq!(a.partitions.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn configurations_change_by_operation() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    let (set, delete, append, subtract) = (0, 1, 2, 3);
    let ok = ApiError::NONE;
    assert_eq!(cluster.alter(2, "a", &[("retention.ms", set, Some("5"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "retention.ms"), Some("5"));
    let before = cluster.log.len();
    assert_eq!(cluster.alter(2, "a", &[("retention.ms", set, Some("5"))]), ok);
    assert_eq!(cluster.log.len(), before, "an equal value is no change");
    assert_eq!(cluster.alter(2, "a", &[("cleanup.policy", append, Some("compact"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "cleanup.policy"), Some("delete,compact"));
    assert_eq!(cluster.alter(2, "a", &[("cleanup.policy", subtract, Some("delete"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "cleanup.policy"), Some("compact"));
    assert_eq!(
        cluster.alter(2, "a", &[("retention.ms", delete, None), ("cleanup.policy", delete, None)]),
        ok
    );
    assert!(cluster.controller.image().configs().get(ResourceKind::Topic, "a").is_none());

    assert_eq!(cluster.alter(4, "", &[("log.retention.ms", set, Some("77"))]), ok);
    assert_eq!(cluster.alter(4, "1", &[("log.cleaner.threads", set, Some("2"))]), ok);
    assert_eq!(cluster.value(ResourceKind::Broker, "1", "log.cleaner.threads"), Some("2"));
    assert_eq!(cluster.alter(32, "g", &[("consumer.session.timeout.ms", set, Some("50000"))]), ok);
    assert_eq!(cluster.alter(16, "s", &[("interval.ms", set, Some("1000"))]), ok);
    assert_eq!(cluster.value(ResourceKind::ClientMetrics, "s", "interval.ms"), Some("1000"));
}

/// Resource type and name, key, operation, value; error code and part of the message.
type Refusal = (i8, &'static str, &'static str, i8, Option<&'static str>, i16, &'static str);

#[test]
fn refusals_of_alter_configs() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    let before = cluster.log.len();
    let table: &[Refusal] = &[
        (2, "zz", "retention.ms", 0, Some("1"), codes::UNKNOWN_TOPIC_OR_PARTITION, ""),
        (2, "", "retention.ms", 0, Some("1"), codes::INVALID_REQUEST, "Default topic resources"),
        (2, "a", "retention.ms", 0, Some("x"), codes::INVALID_CONFIG, "retention.ms"),
        (2, "a", "nope", 0, Some("x"), codes::INVALID_CONFIG, "nope"),
        (2, "a", "retention.ms", 0, None, codes::INVALID_REQUEST, "Null value not supported"),
        (2, "a", "retention.ms", 9, Some("1"), codes::INVALID_REQUEST, ""),
        (2, "a", "retention.ms", 2, Some("1"), codes::INVALID_CONFIG, "retention.ms"),
        (4, "2", "log.retention.ms", 0, Some("1"), codes::INVALID_REQUEST, "Unexpected broker id"),
        (4, "x", "log.retention.ms", 0, Some("1"), codes::INVALID_REQUEST, "must be an integer"),
        (
            4,
            "",
            "min.insync.replicas",
            1,
            None,
            codes::INVALID_CONFIG,
            "cannot be removed while ELR is enabled",
        ),
        (
            4,
            "1",
            "min.insync.replicas",
            0,
            Some("1"),
            codes::INVALID_CONFIG,
            "cannot be altered while ELR is enabled",
        ),
        (
            4,
            "1",
            "log.dirs",
            0,
            Some("/x"),
            codes::INVALID_REQUEST,
            "Cannot update these configs dynamically",
        ),
        (
            32,
            "",
            "consumer.session.timeout.ms",
            0,
            Some("1"),
            codes::INVALID_REQUEST,
            "Default group resources",
        ),
        (32, "g", "nope", 0, Some("1"), codes::INVALID_CONFIG, "nope"),
        (3, "g", "nope", 0, Some("1"), codes::INVALID_REQUEST, "Unknown resource type 3"),
    ];
    for (kind, name, key, op, value, code, part) in table {
        says(&cluster.alter(*kind, name, &[(key, *op, *value)]), *code, part);
    }
    let twice = cluster.alter(2, "a", &[("retention.ms", 0, Some("1")), ("retention.ms", 0, Some("2"))]);
    says(&twice, codes::INVALID_REQUEST, "duplicate config keys");
    let mut request = incremental(2, "a", &[("retention.ms", 0, Some("1"))], false);
    request.resources.push(request.resources[0].clone());
    let decision = cluster.decide(|c, ctx| c.incremental_alter_configs(ctx, &request));
    assert_eq!((decision.records.len(), decision.reply.resources.len()), (0, 2));
    says(&decision.reply.resources[1].error, codes::INVALID_REQUEST, "at most once");
    let request = incremental(2, "a", &[("retention.ms", 0, Some("1"))], true);
    let decision = cluster.decide(|c, ctx| c.incremental_alter_configs(ctx, &request));
    assert_eq!((decision.records.len(), decision.reply.resources[0].error.code), (0, 0));
    assert_eq!(cluster.log.len(), before);
}

#[test]
fn legacy_alter_configs_replaces_everything() {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    cluster.alter(2, "a", &[("retention.ms", 0, Some("5")), ("segment.ms", 0, Some("6"))]);
    let configs = vec![AlterableConfig { name: "segment.ms", value: Some("7") }];
    let resource = AlterConfigsResource { resource_type: 2, resource_name: "a", configs };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let decision = cluster.decide(|c, ctx| c.alter_configs(ctx, &request));
    let reply = cluster.commit(decision);
    assert!(reply.resources[0].error.is_none());
    assert!(crate::wire::codec::encode(&reply.to_legacy(), 2).is_ok());
    assert!(crate::wire::codec::encode(&reply.to_incremental(), 1).is_ok());
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "segment.ms"), Some("7"));
    assert_eq!(cluster.value(ResourceKind::Topic, "a", "retention.ms"), None);
}

#[test]
fn a_change_of_min_insync_replicas_clears_the_eligible_replicas() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    cluster.alter(2, "a", &[("min.insync.replicas", 0, Some("2"))]);
    let Some(MetadataRecord::ClearElr(clear)) = cluster.log.last() else {
        panic!("{:?}", cluster.log.last())
    };
    assert_eq!(&*clear.topic_name, "a");
    cluster.alter(4, "", &[("min.insync.replicas", 0, Some("2"))]);
    let Some(MetadataRecord::ClearElr(clear)) = cluster.log.last() else {
        panic!("{:?}", cluster.log.last())
    };
    assert_eq!(&*clear.topic_name, "");
}

#[test]
fn producer_ids_are_handed_out_once() {
    let mut cluster = Cluster::standalone();
    let epoch = cluster.controller.image().cluster().broker(1).unwrap().broker_epoch;
    for first in [0, 1000, 2000] {
        let decision = cluster.controller.allocate_producer_ids(1, epoch).unwrap();
        assert_eq!(cluster.commit(decision), ProducerIdBlock { first, len: 1000 });
    }
    let refused = |id, epoch| cluster.controller.allocate_producer_ids(id, epoch).unwrap_err().code;
    assert_eq!(
        (refused(1, epoch + 1), refused(2, epoch)),
        (codes::STALE_BROKER_EPOCH, codes::STALE_BROKER_EPOCH)
    );
}

#[test]
fn registrations_are_checked() {
    let mut cluster = Cluster::standalone();
    let good = registration(2, 9, -1);
    let with = |change: &dyn Fn(&mut BrokerRegistration)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let table = [
        (with(&|r| r.cluster_id = "other".into()), codes::INCONSISTENT_CLUSTER_ID),
        (with(&|r| r.log_dirs.clear()), codes::INVALID_REGISTRATION),
        (with(&|r| r.log_dirs = vec![DIRECTORY_LOST]), codes::INVALID_REGISTRATION),
        (with(&|r| r.log_dirs = vec![DIRECTORY]), codes::INVALID_REGISTRATION),
        (with(&|r| r.log_dirs.push(r.log_dirs[0])), codes::INVALID_REGISTRATION),
        (with(&|r| r.features.clear()), codes::INVALID_REGISTRATION),
        (with(&|r| r.features.retain(|f| &*f.name != "group.version")), codes::UNSUPPORTED_VERSION),
        (
            with(&|r| {
                r.features = vec![Feature { name: "metadata.version".into(), min: 7, max: 29 }];
            }),
            codes::UNSUPPORTED_VERSION,
        ),
    ];
    for (bad, code) in table {
        assert_eq!(cluster.try_register(&bad).unwrap_err().code, code, "{bad:?}");
    }
    assert!(cluster.try_register(&good).is_ok());
}

#[test]
fn the_broker_epoch_is_the_offset_of_the_registration() {
    let mut cluster = Cluster::bootstrapped();
    let offset = cluster.log.len();
    let epoch = cluster.start_broker(-1);
    let MetadataRecord::RegisterBroker(RegisterBrokerRecord { broker_epoch, fenced: true, .. }) =
        &cluster.log[offset]
    else {
        panic!("{:?}", cluster.log[offset]);
    };
    assert_eq!((epoch, *broker_epoch), (offset as i64, offset as i64));
    let broker = cluster.controller.image().cluster().broker(1).unwrap();
    assert!(!broker.fenced && broker.cordoned_log_dirs == Some(vec![]));
}

#[test]
fn a_clean_restart_keeps_the_log_whole() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    let epoch = cluster.controller.image().cluster().broker(1).unwrap().broker_epoch;
    let decision = cluster.decide(|c, ctx| c.controlled_shutdown(ctx, 1)).unwrap();
    cluster.commit(decision);
    let p = cluster.partition("a", 0);
    // As Apache Kafka 4.3.1 leaves it behind: no leader, eligible to come back.
    assert_eq!(
        (p.leader, p.leader_epoch, &p.isr, &p.elr, &p.last_known_elr),
        (-1, 1, &vec![], &vec![1], &vec![1])
    );
    let decision = cluster.decide(|c, ctx| c.fence_broker(ctx, 1)).unwrap();
    cluster.commit(decision);
    cluster.start_broker(epoch);
    let p = cluster.partition("a", 0);
    assert_eq!((p.leader, p.leader_epoch, p.recovering), (1, 2, false));
    assert_eq!((&p.isr, &p.elr, &p.last_known_elr), (&vec![1], &vec![], &vec![]));
}

#[test]
fn an_unclean_restart_elects_the_last_leader_which_then_recovers() {
    let mut cluster = Cluster::standalone();
    cluster.create_one("a", 1);
    cluster.start_broker(-1);
    let p = cluster.partition("a", 0);
    assert_eq!((p.leader, p.leader_epoch, p.recovering), (1, 2, true));
    assert_eq!((&p.isr, &p.elr), (&vec![1], &vec![]));
    let decision = cluster.controller.partitions_recovered(1);
    cluster.commit(decision);
    assert!(!cluster.partition("a", 0).recovering);
    assert_eq!(cluster.controller.partitions_recovered(1).records, []);
}

#[test]
fn another_replica_takes_over() {
    let mut cluster = Cluster::standalone();
    let decision = cluster.try_register(&registration(2, 9, -1)).unwrap();
    cluster.commit(decision);
    let decision = cluster.decide(|c, ctx| c.unfence_broker(ctx, 2)).unwrap();
    cluster.commit(decision);
    cluster.create(vec![assigned("a", &[(0, &[1, 2])])]);
    let decision = cluster.decide(|c, ctx| c.fence_broker(ctx, 1)).unwrap();
    cluster.commit(decision);
    let p = cluster.partition("a", 0);
    assert_eq!((p.leader, &p.isr, p.leader_epoch), (2, &vec![2], 1));

    // A replica on a lost directory may not lead.
    let mut lost = PartitionChangeRecord::new(cluster.topic_id("a"), 0);
    lost.directories = Some(vec![DIRECTORY, DIRECTORY_LOST]);
    lost.isr = Some(vec![1, 2]);
    lost.leader = 1;
    cluster.change_partition(lost);
    let decision = cluster.decide(|c, ctx| c.fence_broker(ctx, 1)).unwrap();
    cluster.commit(decision);
    assert_eq!(cluster.partition("a", 0).leader, -1);
}

#[test]
fn topics_that_brokers_create_by_themselves() {
    let mut cluster = Cluster::standalone();
    assert_eq!(creatable_topic(&cluster.config, "no good"), None);
    let plain = creatable_topic(&cluster.config, "plain").unwrap();
    assert_eq!((plain.num_partitions, plain.replication_factor, plain.configs.len()), (-1, -1, 0));
    let offsets = creatable_topic(&cluster.config, "__consumer_offsets").unwrap();
    assert_eq!((offsets.num_partitions, offsets.replication_factor), (50, 1));
    let configs =
        [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", "104857600")];
    assert_eq!(offsets.configs, configs.map(|(k, v)| (k, v.to_owned())));
    for name in ["__consumer_offsets", "__transaction_state", "__share_group_state", "plain"] {
        let wanted = creatable_topic(&cluster.config, name).unwrap();
        let created = cluster.create(vec![wanted.to_wire()]).remove(0);
        assert!(created.error.is_none(), "{name}: {:?}", created.error);
    }
}
