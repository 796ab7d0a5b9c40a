//! Each decision is replayed, so that every test also shows that the records say what the reply does.

mod brokers;
mod configs;
mod topics;

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
