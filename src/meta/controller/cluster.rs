//! Brokers and controllers come and go, as Kafka's `ClusterControlManager` and the broker half of
//! `ReplicationControlManager`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::image::{
    Broker, DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, Partition, Topic,
};
use super::super::image::{METADATA_VERSION, directory_is_reserved};
use super::super::record::{
    BrokerRegistrationChangeRecord, Endpoint, Feature, MetadataRecord, NO_LEADER, PartitionChangeRecord,
    RECOVERED, RegisterBrokerRecord, RegisterControllerRecord, Text,
};
use super::partition_change::PartitionChange;
use super::{ApiError, Context, Controller, Decision, codes};
use crate::base::{BrokerId, DirectoryId, TopicId, Uuid};
use crate::config::{ResourceKind, TopicConfig};

/// How a broker presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// `node.id`.
    pub broker_id: BrokerId,
    /// The cluster it believes to be in.
    pub cluster_id: Text,
    /// Changes with every start of the process.
    pub incarnation_id: Uuid,
    /// The advertised listeners.
    pub end_points: Vec<Endpoint>,
    /// The features it supports.
    pub features: Vec<Feature>,
    /// `broker.rack`.
    pub rack: Option<Text>,
    /// Its online log directories.
    pub log_dirs: Vec<DirectoryId>,
    /// The epoch it had when it shut down cleanly (`.kafka_cleanshutdown`), or -1.
    pub previous_broker_epoch: i64,
}

/// How a controller presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// `node.id`.
    pub controller_id: BrokerId,
    /// Changes with every start of the process.
    pub incarnation_id: Uuid,
    /// The listeners.
    pub end_points: Vec<Endpoint>,
    /// The features it supports.
    pub features: Vec<Feature>,
}

/// Who is about to become what, while the image still says otherwise.
#[derive(Clone, Copy, Default)]
struct Event {
    /// May not lead and leaves the ISR.
    remove: Option<BrokerId>,
    /// May lead already.
    add: Option<BrokerId>,
    /// May not lead, and leaves ISR and ELR.
    unclean: Option<BrokerId>,
}

impl Controller {
    /// Registers a broker, fenced. Its epoch is the offset of the first record of the decision, `next_offset`. What an
    /// earlier incarnation led or was in sync with is cleaned up first.
    pub fn register_broker(
        &self,
        context: &Context<'_>,
        request: &BrokerRegistration,
        next_offset: i64,
    ) -> Result<Decision<i64>, ApiError> {
        self.check_registration(request)?;
        let cluster = self.image().cluster();
        let existing = cluster.broker(request.broker_id);
        let same = existing.filter(|b| b.incarnation_id == request.incarnation_id);
        let mut records = Vec::new();
        if same.is_none() {
            let clean = existing.is_some_and(|b| b.broker_epoch == request.previous_broker_epoch);
            let id = Some(request.broker_id);
            let event = if self.elr_enabled() && !clean {
                Event { unclean: id, ..Event::default() }
            } else {
                Event { remove: id, ..Event::default() }
            };
            self.change_partitions(context, event, |p| involves(p, request.broker_id), &mut records);
        }
        let broker_epoch = same.map_or(next_offset, |b| b.broker_epoch);
        records.push(MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: request.broker_id,
            is_migrating_zk_broker: false,
            incarnation_id: request.incarnation_id,
            broker_epoch,
            end_points: request.end_points.clone(),
            features: request.features.clone(),
            rack: request.rack.clone(),
            fenced: same.is_none_or(|b| b.fenced),
            in_controlled_shutdown: same.is_some_and(|b| b.in_controlled_shutdown),
            log_dirs: request.log_dirs.clone(),
            cordoned_log_dirs: None,
        }));
        Ok(Decision { records, reply: broker_epoch })
    }

    fn check_registration(&self, request: &BrokerRegistration) -> Result<(), ApiError> {
        let image = self.image();
        if request.cluster_id != *image.cluster_id() {
            let message = format!(
                "Expected cluster ID {}, but got cluster ID {}",
                image.cluster_id(),
                request.cluster_id
            );
            return Err(ApiError::new(codes::INCONSISTENT_CLUSTER_ID, message));
        }
        let invalid = |message: String| Err(ApiError::new(codes::INVALID_REGISTRATION, message));
        if request.log_dirs.is_empty() {
            return invalid("No directories specified in request".to_owned());
        }
        if request.log_dirs.iter().any(|d| directory_is_reserved(*d)) {
            return invalid("Reserved directory ID in request".to_owned());
        }
        let distinct: BTreeSet<&DirectoryId> = request.log_dirs.iter().collect();
        if distinct.len() != request.log_dirs.len() {
            return invalid("Duplicate directory ID in request".to_owned());
        }
        for other in image.cluster().brokers.values().filter(|b| b.broker_id != request.broker_id) {
            if let Some(taken) = other.log_dirs.iter().find(|d| distinct.contains(d)) {
                let id = other.broker_id;
                return invalid(format!("Broker {id} is already registered with directory {taken}"));
            }
        }
        if !request.features.iter().any(|f| *f.name == *METADATA_VERSION) {
            return invalid(format!("Request features do not contain '{METADATA_VERSION}'"));
        }
        for (name, level) in image.features().iter() {
            let range = request.features.iter().find(|f| f.name == *name).map_or((0, 0), |f| (f.min, f.max));
            if !(range.0..=range.1).contains(&level) {
                let message = format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. The \
                     broker wants a version between {} and {}, inclusive.",
                    range.0, range.1
                );
                return Err(ApiError::new(codes::UNSUPPORTED_VERSION, message));
            }
        }
        Ok(())
    }

    /// Lets a registered broker lead: unfences it and elects it where no one leads.
    pub fn unfence_broker(&self, context: &Context<'_>, id: BrokerId) -> Result<Decision<()>, ApiError> {
        let broker = self.registered(id)?;
        let mut change = registration_change(broker);
        change.fenced = if broker.fenced { -1 } else { 0 };
        let mut records = Vec::new();
        if broker.fenced {
            records.push(MetadataRecord::BrokerRegistrationChange(change));
        }
        // From metadata.version 30 on a broker says which directories are cordoned once it is up.
        if broker.cordoned_log_dirs.is_none() && self.metadata_version() >= 30 {
            let mut change = registration_change(broker);
            change.cordoned_log_dirs = Some(Vec::new());
            records.push(MetadataRecord::BrokerRegistrationChange(change));
        }
        let event = Event { add: Some(id), ..Event::default() };
        self.change_partitions(context, event, |p| p.leader == NO_LEADER, &mut records);
        Ok(Decision { records, reply: () })
    }

    /// Takes a broker out of all ISRs and leaderships, and fences it.
    pub fn fence_broker(&self, context: &Context<'_>, id: BrokerId) -> Result<Decision<()>, ApiError> {
        let broker = self.registered(id)?;
        let mut records = Vec::new();
        let event = Event { remove: Some(id), ..Event::default() };
        self.change_partitions(context, event, |p| p.isr.contains(&id), &mut records);
        if !broker.fenced {
            let mut change = registration_change(broker);
            change.fenced = 1;
            records.push(MetadataRecord::BrokerRegistrationChange(change));
        }
        Ok(Decision { records, reply: () })
    }

    /// A broker wants to shut down: others lead from now on.
    pub fn controlled_shutdown(&self, context: &Context<'_>, id: BrokerId) -> Result<Decision<()>, ApiError> {
        let broker = self.registered(id)?;
        let mut records = Vec::new();
        if !broker.in_controlled_shutdown {
            let mut change = registration_change(broker);
            change.in_controlled_shutdown = 1;
            records.push(MetadataRecord::BrokerRegistrationChange(change));
        }
        let event = Event { remove: Some(id), ..Event::default() };
        self.change_partitions(context, event, |p| p.isr.contains(&id), &mut records);
        Ok(Decision { records, reply: () })
    }

    /// The leader of partitions that were elected uncleanly has recovered them (its logs are read and whole).
    pub fn partitions_recovered(&self, leader: BrokerId) -> Decision<()> {
        let mut records = Vec::new();
        for (topic, number, partition) in self.partitions() {
            if partition.recovering && partition.leader == leader {
                let mut change = PartitionChangeRecord::new(topic.id, number);
                change.leader_recovery_state = RECOVERED;
                records.push(MetadataRecord::PartitionChange(change));
            }
        }
        Decision { records, reply: () }
    }

    /// Registers a controller.
    pub fn register_controller(&self, request: &ControllerRegistration) -> Decision<()> {
        let record = RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            end_points: request.end_points.clone(),
            features: request.features.clone(),
        };
        Decision { records: vec![MetadataRecord::RegisterController(record)], reply: () }
    }

    /// Refuses a request from a broker that is not registered with this epoch.
    pub(super) fn check_broker_epoch(&self, id: BrokerId, epoch: i64) -> Result<(), ApiError> {
        let message = match self.image().cluster().broker(id) {
            None => format!("No broker registration found for broker id {id}"),
            Some(broker) if broker.broker_epoch != epoch => {
                format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.broker_epoch)
            }
            Some(_) => return Ok(()),
        };
        Err(ApiError::new(codes::STALE_BROKER_EPOCH, message))
    }

    fn registered(&self, id: BrokerId) -> Result<&Broker, ApiError> {
        let unknown = || {
            let message = format!("No broker registration found for broker id {id}");
            ApiError::new(codes::STALE_BROKER_EPOCH, message)
        };
        self.image().cluster().broker(id).ok_or_else(unknown)
    }

    fn partitions(&self) -> impl Iterator<Item = (&Arc<Topic>, i32, &Arc<Partition>)> {
        let topics = self.image().topics().iter();
        topics.flat_map(|t| t.partitions.iter().map(move |(number, p)| (t, *number, p)))
    }

    /// Adds a record for each of the partitions that an event changes.
    fn change_partitions(
        &self,
        context: &Context<'_>,
        event: Event,
        concerned: impl Fn(&Partition) -> bool,
        records: &mut Vec<MetadataRecord>,
    ) {
        let cluster = self.image().cluster();
        let mut settings: Option<(TopicId, TopicConfig)> = None;
        for (topic, number, partition) in self.partitions().filter(|(_, _, p)| concerned(p)) {
            let config = match &settings {
                Some((id, config)) if *id == topic.id => config,
                _ => &settings.insert((topic.id, self.topic_config(context, topic))).1,
            };
            let acceptable = |r: BrokerId| {
                Some(r) != event.remove
                    && Some(r) != event.unclean
                    && (Some(r) == event.add || cluster.is_active(r))
                    && partition.directory(r).is_some_and(|d| is_online(cluster.broker(r), d))
            };
            let stays = |r: &BrokerId| Some(*r) != event.remove && Some(*r) != event.unclean;
            let change = PartitionChange {
                topic_id: topic.id,
                partition_id: number,
                partition,
                isr: partition.isr.iter().copied().filter(stays).collect(),
                unclean: event.unclean,
                acceptable: &acceptable,
                unclean_election: config.unclean_leader_election_enable,
                min_isr: usize::min(config.min_insync_replicas.max(1) as usize, partition.replicas.len()),
                elr_enabled: self.elr_enabled(),
            };
            records.extend(change.build().map(MetadataRecord::PartitionChange));
        }
    }

    fn topic_config(&self, context: &Context<'_>, topic: &Topic) -> TopicConfig {
        let configs = self.image().configs().get(ResourceKind::Topic, &topic.name);
        match configs {
            Some(configs) => TopicConfig::effective(context.config, configs),
            None => context.config.topic_defaults.clone(),
        }
    }
}

fn involves(partition: &Partition, broker: BrokerId) -> bool {
    partition.isr.contains(&broker) || partition.elr.contains(&broker)
}

fn is_online(broker: Option<&Broker>, directory: DirectoryId) -> bool {
    match directory {
        DIRECTORY_UNASSIGNED | DIRECTORY_MIGRATING => true,
        DIRECTORY_LOST => false,
        // A registration older than KIP-858 names none.
        id => broker.is_some_and(|b| b.log_dirs.is_empty() || b.log_dirs.contains(&id)),
    }
}

fn registration_change(broker: &Broker) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.broker_id,
        broker_epoch: broker.broker_epoch,
        fenced: 0,
        in_controlled_shutdown: 0,
        log_dirs: Vec::new(),
        cordoned_log_dirs: None,
    }
}
