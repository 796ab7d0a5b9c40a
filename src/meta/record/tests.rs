use super::*;
use crate::base::Uuid;

fn text(s: &str) -> Text {
    Text::from(s)
}

/// One of each, with every field set.
pub(in crate::meta) fn samples() -> Vec<MetadataRecord> {
    use MetadataRecord as R;
    let (id, dir) = (Uuid::from_u128(0xfeed_beef), Uuid::from_u128(0xd1d1));
    let end_points =
        vec![Endpoint { name: text("PLAINTEXT"), host: text("h"), port: 9092, security_protocol: 0 }];
    let features = vec![Feature { name: text("metadata.version"), min: 7, max: 30 }];
    let change = PartitionChangeRecord {
        isr: Some(vec![1, 2]),
        leader: 2,
        replicas: Some(vec![2, 1]),
        removing_replicas: Some(vec![3]),
        adding_replicas: Some(vec![4]),
        leader_recovery_state: RECOVERING,
        directories: Some(vec![dir, dir]),
        eligible_leader_replicas: Some(vec![]),
        last_known_elr: Some(vec![5]),
        ..PartitionChangeRecord::new(id, 3)
    };
    vec![
        R::RegisterBroker(RegisterBrokerRecord {
            broker_id: 1,
            is_migrating_zk_broker: false,
            incarnation_id: id,
            broker_epoch: 14,
            end_points: end_points.clone(),
            features: features.clone(),
            rack: Some(text("r1")),
            fenced: true,
            in_controlled_shutdown: true,
            log_dirs: vec![dir],
            cordoned_log_dirs: Some(vec![dir]),
        }),
        R::UnregisterBroker(UnregisterBrokerRecord { broker_id: 1, broker_epoch: 14 }),
        R::Topic(TopicRecord { name: text("foo"), topic_id: id }),
        R::Partition(PartitionRecord {
            partition_id: 3,
            topic_id: id,
            replicas: vec![1, 2],
            isr: vec![1],
            removing_replicas: vec![3],
            adding_replicas: vec![4],
            leader: 1,
            leader_recovery_state: RECOVERING,
            leader_epoch: 5,
            partition_epoch: 6,
            directories: vec![dir, dir],
            eligible_leader_replicas: Some(vec![2]),
            last_known_elr: Some(vec![7]),
        }),
        R::Config(ConfigRecord {
            resource_type: 2,
            resource_name: text("foo"),
            name: text("k"),
            value: None,
        }),
        R::PartitionChange(change),
        R::FenceBroker(FenceBrokerRecord { id: 1, epoch: 14 }),
        R::UnfenceBroker(UnfenceBrokerRecord { id: 1, epoch: 14 }),
        R::RemoveTopic(RemoveTopicRecord { topic_id: id }),
        R::DelegationToken(DelegationTokenRecord {
            owner: text("User:a"),
            requester: text("User:b"),
            renewers: vec![text("User:c"), text("User:d")],
            issue_timestamp: 1,
            max_timestamp: 2,
            expiration_timestamp: 3,
            token_id: text("t"),
        }),
        R::UserScramCredential(UserScramCredentialRecord {
            name: text("a"),
            mechanism: 1,
            salt: vec![1, 2],
            stored_key: vec![3],
            server_key: vec![4],
            iterations: 4096,
        }),
        R::FeatureLevel(FeatureLevelRecord { name: text("metadata.version"), feature_level: 30 }),
        R::ClientQuota(ClientQuotaRecord {
            entity: vec![QuotaEntity { entity_type: text("user"), entity_name: None }],
            key: text("producer_byte_rate"),
            value: 1.5,
            remove: false,
        }),
        R::ProducerIds(ProducerIdsRecord { broker_id: 1, broker_epoch: 14, next_producer_id: 1000 }),
        R::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: 1,
            broker_epoch: 14,
            fenced: -1,
            in_controlled_shutdown: 1,
            log_dirs: vec![dir],
            cordoned_log_dirs: Some(vec![]),
        }),
        R::AccessControlEntry(AccessControlEntryRecord {
            id,
            resource_type: 2,
            resource_name: text("foo"),
            pattern_type: 3,
            principal: text("User:a"),
            host: text("*"),
            operation: 2,
            permission_type: 3,
        }),
        R::RemoveAccessControlEntry(RemoveAccessControlEntryRecord { id }),
        R::NoOp,
        R::ZkMigrationState(ZkMigrationStateRecord { zk_migration_state: 1 }),
        R::RemoveUserScramCredential(RemoveUserScramCredentialRecord { name: text("a"), mechanism: 1 }),
        R::BeginTransaction(BeginTransactionRecord { name: Some(text("t")) }),
        R::EndTransaction,
        R::AbortTransaction(AbortTransactionRecord { reason: Some(text("why")) }),
        R::RemoveDelegationToken(RemoveDelegationTokenRecord { token_id: text("t") }),
        R::RegisterController(RegisterControllerRecord {
            controller_id: 1,
            incarnation_id: id,
            zk_migration_ready: false,
            end_points,
            features,
        }),
        R::ClearElr(ClearElrRecord { topic_name: text("foo") }),
    ]
}

#[test]
fn every_record_comes_back_at_the_newest_version() {
    let samples = samples();
    assert_eq!(samples.len(), MetadataRecord::KINDS.len(), "a record has no sample");
    for record in samples {
        let bytes = record.encode(METADATA_VERSION_LATEST).unwrap();
        assert_eq!(bytes[0], 1, "frame version");
        assert_eq!(u32::from(bytes[1]), record.key());
        assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
    }
}

#[test]
fn every_record_can_be_written_at_every_metadata_version() {
    for record in samples() {
        for metadata_version in METADATA_VERSION_MIN..=METADATA_VERSION_LATEST {
            let bytes = record.encode(metadata_version).unwrap();
            let back = MetadataRecord::decode(&bytes).unwrap();
            assert_eq!(back.key(), record.key());
            assert_eq!(i16::from(bytes[2]), record.version(metadata_version));
        }
    }
}

#[test]
fn bytes_that_kafka_wrote() {
    // From a log of Apache Kafka 4.3.1.
    let bytes = b"\x01\x0c\x00\x11metadata.version\x00\x1e\x00";
    let record = MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: text("metadata.version"),
        feature_level: 30,
    });
    assert_eq!(MetadataRecord::decode(bytes), Ok(record.clone()));
    assert_eq!(record.encode(30).unwrap(), bytes);
}

#[test]
fn what_is_not_known_is_an_error() {
    let decode = MetadataRecord::decode;
    assert_eq!(decode(&[2, 12, 0]), Err(MetaError::FrameVersion(2)));
    for key in [6, 13, 16, 29, 300] {
        let mut w = Writer::new();
        w.uvarint(1);
        w.uvarint(key);
        w.uvarint(0);
        assert_eq!(decode(&w.finish().unwrap()), Err(MetaError::UnknownRecord(key)));
    }
    assert_eq!(decode(&[1, 2, 1]), Err(MetaError::UnknownVersion { name: "TopicRecord", version: 1 }));
    assert!(matches!(decode(&[]), Err(MetaError::Decode(_))));
    let mut bytes = MetadataRecord::NoOp.encode(30).unwrap();
    bytes.push(0);
    assert!(matches!(decode(&bytes), Err(MetaError::Decode(_))), "bytes behind the record");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        key in 0u8..32,
        version in 0u8..6,
        body in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
    ) {
        let _ = MetadataRecord::decode(&body);
        let bytes = [vec![1, key, version], body].concat();
        if let Ok(record) = MetadataRecord::decode(&bytes) {
            proptest::prop_assert_eq!(u32::from(key), record.key());
            let mut image = crate::meta::image::Image::empty("c");
            let mut delta = crate::meta::image::Delta::default();
            let _ = image.apply(&record, &mut delta);
        }
    }
}
