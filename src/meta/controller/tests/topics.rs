//! Topics: created, deleted, grown.

use super::*;
use crate::meta::image::Delta;

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

/// The controller noted what its records changed, for nobody: every topic since the first record, and the configuration of
/// those that are gone. A long request is decided on with a copy of the state, which was as large.
#[test]
fn the_state_is_no_larger_for_what_has_changed() {
    let mut cluster = Cluster::standalone();
    cluster.create(vec![topic("kept", 5, -1), with_config("gone", "retention.ms", Some("5"))]);
    let request = DeleteTopicsRequest { topics: vec![], topic_names: vec!["gone"], timeout_ms: 1 };
    let decision = cluster.decide(|c, ctx| c.delete_topics(ctx, &request, 5)).unwrap();
    cluster.commit(decision);
    let (_, changes) = cluster.controller.loader.publish().unwrap();
    assert_eq!(changes, Delta::default());
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
