//! Bootstrap, brokers, producer ids.

use super::*;

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
