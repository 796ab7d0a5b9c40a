use std::sync::Arc;

use super::super::record::samples::{self, config};
use super::super::record::*;
use super::*;
use crate::base::{TopicId, Uuid};

fn id(n: u128) -> TopicId {
    Uuid::from_u128(n)
}

fn topic(name: &str, n: u128) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id: id(n) })
}

fn partition(n: u128, number: i32) -> MetadataRecord {
    samples::partition(id(n), number, &[1, 2], &[id(900), id(901)])
}

fn broker(broker_id: i32, broker_epoch: i64) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id,
        is_migrating_zk_broker: false,
        incarnation_id: id(5),
        broker_epoch,
        end_points: vec![],
        features: vec![],
        rack: None,
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: vec![id(900)],
        cordoned_log_dirs: None,
    })
}

fn change(fenced: i8, epoch: i64) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: 1,
        broker_epoch: epoch,
        fenced,
        in_controlled_shutdown: 0,
        log_dirs: vec![],
        cordoned_log_dirs: None,
    }
}

fn apply_all(image: &mut Image, records: &[MetadataRecord]) -> Delta {
    let mut delta = Delta::default();
    for record in records {
        image.apply(record, &mut delta).unwrap_or_else(|e| panic!("{record:?}: {e}"));
    }
    delta
}

fn rebuilt(image: &Image) -> Image {
    let mut copy = Image::empty(image.cluster_id().clone());
    for record in image.to_records() {
        let bytes = record.encode(METADATA_VERSION_LATEST).unwrap();
        copy.apply(&MetadataRecord::decode(&bytes).unwrap(), &mut Delta::default()).unwrap();
    }
    copy.advance(image.offset(), image.epoch());
    copy
}

#[test]
fn topics_and_partitions() {
    let mut image = Image::empty("c");
    let delta = apply_all(&mut image, &[topic("a", 10), partition(10, 0), partition(10, 1)]);
    let a = &delta.topics[&id(10)];
    assert!(a.created && a.deleted.is_none() && a.partitions_changed.is_empty());
    assert_eq!(a.partitions_created.iter().copied().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(image.topics().partitions_count(), 2);
    assert!(Arc::ptr_eq(image.topics().get("a").unwrap(), image.topics().get_by_id(id(10)).unwrap()));

    let mut elect = PartitionChangeRecord::new(id(10), 1);
    elect.leader = 2;
    elect.isr = Some(vec![2]);
    let delta = apply_all(&mut image, &[MetadataRecord::PartitionChange(elect)]);
    assert_eq!(delta.topics[&id(10)].partitions_changed.iter().copied().collect::<Vec<_>>(), [1]);
    let p = image.topics().partition("a", 1).unwrap();
    assert_eq!((p.leader, p.leader_epoch, p.partition_epoch, &p.isr), (2, 1, 1, &vec![2]));
    assert_eq!(p.directory(2), Some(id(901)));
    assert_eq!(p.directory(3), None);

    let set = config(ResourceType::Topic, "a", "retention.ms", Some("1"));
    apply_all(&mut image, &[set]);
    assert_eq!(image.configs().value(ResourceType::Topic, "a", "retention.ms"), Some("1"));
    let before = image.clone();
    let delta = apply_all(&mut image, &[MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id(10) })]);
    assert_eq!(delta.topics_deleted().next().unwrap().partitions.len(), 2);
    assert_eq!(delta.topics_changed().count(), 0);
    assert!(delta.configs.iter().any(|r| &*r.name == "a"));
    assert!(image.topics().is_empty() && image.topics().partitions_count() == 0);
    assert!(image.configs().get(ResourceType::Topic, "a").is_none());
    assert_eq!(before.topics().partitions_count(), 2, "an older image does not change");
}

#[test]
fn a_topic_that_came_and_went_between_images_never_was() {
    let mut image = Image::empty("c");
    let remove = MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id(10) });
    let delta = apply_all(&mut image, &[topic("a", 10), partition(10, 0), remove, topic("a", 11)]);
    assert_eq!(delta.topics.keys().copied().collect::<Vec<_>>(), [id(11)]);
}

#[test]
fn records_that_do_not_fit_change_nothing() {
    let mut image = Image::empty("c");
    apply_all(&mut image, &[topic("a", 10), partition(10, 0), broker(1, 7)]);
    let before = image.clone();
    let mut odd = PartitionChangeRecord::new(id(10), 0);
    odd.directories = Some(vec![id(1)]);
    let mut state = PartitionChangeRecord::new(id(10), 0);
    state.leader_recovery_state = 9;
    let bad = [
        topic("a", 12),
        topic("b", 10),
        partition(13, 0),
        partition(10, -1),
        MetadataRecord::PartitionChange(PartitionChangeRecord::new(id(10), 9)),
        MetadataRecord::PartitionChange(PartitionChangeRecord::new(id(99), 0)),
        MetadataRecord::PartitionChange(odd),
        MetadataRecord::PartitionChange(state),
        MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id(99) }),
        MetadataRecord::ClearElr(ClearElrRecord { topic_name: "zz".into() }),
        MetadataRecord::BrokerRegistrationChange(change(-1, 8)),
        MetadataRecord::BrokerRegistrationChange(change(3, 7)),
        MetadataRecord::UnregisterBroker(UnregisterBrokerRecord { broker_id: 2, broker_epoch: 7 }),
        MetadataRecord::Config(ConfigRecord {
            resource_type: 3,
            resource_name: "a".into(),
            name: "k".into(),
            value: None,
        }),
    ];
    for record in bad {
        let mut delta = Delta::default();
        assert!(image.apply(&record, &mut delta).is_err(), "{record:?}");
        assert_eq!(image, before, "{record:?}");
        assert!(delta.is_empty(), "{record:?}");
    }
}

#[test]
fn brokers_come_change_and_go() {
    let mut image = Image::empty("c");
    apply_all(&mut image, &[broker(1, 7)]);
    assert!(!image.cluster().is_active(1));
    let delta = apply_all(&mut image, &[MetadataRecord::BrokerRegistrationChange(change(-1, 7))]);
    assert!(delta.brokers.contains(&1) && image.cluster().is_active(1));
    assert_eq!(image.cluster().alive().count(), 1);
    let mut shutdown = change(0, 7);
    shutdown.in_controlled_shutdown = 1;
    apply_all(&mut image, &[MetadataRecord::BrokerRegistrationChange(shutdown)]);
    assert!(!image.cluster().is_active(1) && image.cluster().alive().count() == 1);
    apply_all(&mut image, &[MetadataRecord::FenceBroker(FenceBrokerRecord { id: 1, epoch: 7 })]);
    assert_eq!(image.cluster().alive().count(), 0);
    let gone = MetadataRecord::UnregisterBroker(UnregisterBrokerRecord { broker_id: 1, broker_epoch: 7 });
    apply_all(&mut image, &[gone]);
    assert!(image.cluster().brokers.is_empty());
}

#[test]
fn configs_go_when_the_last_value_does() {
    let mut image = Image::empty("c");
    let kinds = [ResourceType::Broker, ResourceType::Group, ResourceType::ClientMetrics];
    for kind in kinds {
        apply_all(&mut image, &[config(kind, "x", "k", Some("v"))]);
    }
    assert_eq!(image.configs().of_type(ResourceType::Group).count(), 1);
    for kind in kinds {
        apply_all(&mut image, &[config(kind, "x", "k", None)]);
    }
    assert_eq!(image, Image::empty("c"));
}

#[test]
fn the_image_comes_back_from_its_records() {
    let mut image = Image::empty("c");
    let samples = super::super::record::tests::samples();
    // In an order in which each finds what it needs; those that remove come in the other tests.
    apply_all(&mut image, &[topic("a", 10), partition(10, 0), partition(10, 1), broker(1, 14)]);
    for record in samples {
        use MetadataRecord as R;
        let removes = matches!(
            &record,
            R::RemoveTopic(_)
                | R::UnregisterBroker(_)
                | R::RemoveAccessControlEntry(_)
                | R::RemoveUserScramCredential(_)
                | R::RemoveDelegationToken(_)
                | R::BrokerRegistrationChange(_)
                | R::ClearElr(_)
        );
        if !removes {
            apply_all(&mut image, &[record]);
        }
    }
    let more = [
        config(ResourceType::Topic, "a", "retention.ms", Some("1")),
        config(ResourceType::Broker, "", "min.insync.replicas", Some("1")),
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: "group.version".into(), feature_level: 1 }),
    ];
    apply_all(&mut image, &more);
    image.advance(77, 3);
    assert_eq!(rebuilt(&image), image);
    assert!(
        matches!(&image.to_records()[0], MetadataRecord::FeatureLevel(f) if &*f.name == METADATA_VERSION)
    );
}

#[test]
fn eligible_leader_replicas_are_cleared_of_one_topic_or_of_all() {
    let mut image = Image::empty("c");
    let elr = |n| {
        let mut change = PartitionChangeRecord::new(id(n), 0);
        change.eligible_leader_replicas = Some(vec![2]);
        MetadataRecord::PartitionChange(change)
    };
    let base = [topic("a", 10), partition(10, 0), topic("b", 11), partition(11, 0), elr(10), elr(11)];
    apply_all(&mut image, &base);
    let clear = |name: &str| MetadataRecord::ClearElr(ClearElrRecord { topic_name: name.into() });
    let delta = apply_all(&mut image, &[clear("a")]);
    assert_eq!(delta.topics.keys().copied().collect::<Vec<_>>(), [id(10)]);
    assert!(image.topics().partition("a", 0).unwrap().elr.is_empty());
    assert_eq!(image.topics().partition("b", 0).unwrap().elr, [2]);
    apply_all(&mut image, &[clear("")]);
    assert!(image.topics().partition("b", 0).unwrap().elr.is_empty());
}

#[test]
fn a_transaction_shows_as_a_whole_or_not_at_all() {
    let begin = MetadataRecord::BeginTransaction(BeginTransactionRecord { name: None });
    let abort = MetadataRecord::AbortTransaction(AbortTransactionRecord { reason: None });
    let mut loader = Loader::new(Image::empty("c"));
    assert!(loader.publish().is_none());
    loader.replay(0, 1, &topic("a", 10)).unwrap();
    loader.replay(1, 1, &begin).unwrap();
    loader.replay(2, 1, &topic("b", 11)).unwrap();
    assert!(loader.in_transaction() && loader.publish().is_none());
    assert!(loader.replay(3, 1, &begin).is_err());
    loader.replay(3, 1, &abort).unwrap();
    let (image, delta) = loader.publish().unwrap();
    assert_eq!((image.offset(), image.topics().len(), delta.topics.len()), (3, 1, 1));

    loader.replay(4, 1, &begin).unwrap();
    loader.replay(5, 1, &topic("b", 11)).unwrap();
    loader.replay(6, 1, &MetadataRecord::EndTransaction).unwrap();
    assert!(loader.replay(7, 1, &MetadataRecord::EndTransaction).is_err());
    let (image, delta) = loader.publish().unwrap();
    assert_eq!((image.topics().len(), delta.topics.len()), (2, 1));
    assert!(loader.publish().is_none());
    loader.advance(7, 2);
    let (image, delta) = loader.publish().unwrap();
    assert!(delta.is_empty() && (image.offset(), image.epoch()) == (7, 2));
}

#[test]
fn ten_thousand_partitions_share_what_did_not_change() {
    let mut image = Image::empty("c");
    for n in 0..100 {
        let mut records = vec![topic(&format!("t{n}"), 1000 + n)];
        records.extend((0..100).map(|number| partition(1000 + n, number)));
        apply_all(&mut image, &records);
    }
    let before = image.clone();
    let mut elect = PartitionChangeRecord::new(id(1007), 3);
    elect.leader = 2;
    apply_all(&mut image, &[MetadataRecord::PartitionChange(elect)]);
    let shared =
        |name: &str| Arc::ptr_eq(image.topics().get(name).unwrap(), before.topics().get(name).unwrap());
    assert!(shared("t8") && !shared("t7"));
    let (new, old) = (image.topics().get("t7").unwrap(), before.topics().get("t7").unwrap());
    let same = |n: i32| Arc::ptr_eq(&new.partitions[&n], &old.partitions[&n]);
    assert!(same(2) && !same(3));
    assert_eq!(image.topics().iter_from("t98").count(), 2);
}
