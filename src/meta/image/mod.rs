//! The cluster's metadata at one offset of the metadata log, as Kafka's `MetadataImage`.
//!
//! An image is a value: every core holds an `Arc<Image>` and sees no change in it. Its parts stand behind `Arc`s of
//! their own, so that applying a record copies no more than the maps it touches, and those only if an older image
//! still shares them.

mod cluster;
mod configs;
mod delta;
mod features;
mod loader;
mod security;
mod snapshot;
mod topics;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use cluster::{Broker, Cluster, Controller, has_usable_directory};
pub use configs::{ConfigMap, Configs, ResourceType};
pub use delta::{ConfigResource, Delta, TopicDelta};
pub use features::{Features, METADATA_VERSION};
pub use loader::Loader;
pub use security::Security;
pub use topics::{
    DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, Partition, Topic, Topics,
    directory_is_reserved,
};

use super::MetaError;
use super::record::{MetadataRecord, Text};
use crate::base::{LeaderEpoch, Offset};

/// Everything that is known about the cluster at one offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    cluster_id: Text,
    offset: Offset,
    epoch: LeaderEpoch,
    topics: Arc<Topics>,
    cluster: Arc<Cluster>,
    configs: Arc<Configs>,
    features: Arc<Features>,
    security: Arc<Security>,
    next_producer_id: i64,
}

impl Image {
    /// Before the first record.
    pub fn empty(cluster_id: impl Into<Text>) -> Image {
        Image {
            cluster_id: cluster_id.into(),
            offset: -1,
            epoch: -1,
            topics: Arc::default(),
            cluster: Arc::default(),
            configs: Arc::default(),
            features: Arc::default(),
            security: Arc::default(),
            next_producer_id: -1,
        }
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &Text {
        &self.cluster_id
    }

    /// The offset of the last record in it, -1 before the first.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The epoch of the last record in it, -1 before the first.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The topics and their partitions.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The brokers and controllers.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The dynamic configurations.
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The finalized features.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Client quotas, ACLs, SCRAM credentials and delegation tokens.
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// The first producer id of the next block; `None` if no block was handed out yet.
    pub fn next_producer_id(&self) -> Option<i64> {
        (self.next_producer_id >= 0).then_some(self.next_producer_id)
    }

    /// Says that everything up to and including this offset is in the image (control batches hold no metadata, yet
    /// they advance it).
    pub fn advance(&mut self, offset: Offset, epoch: LeaderEpoch) {
        self.offset = offset;
        self.epoch = epoch;
    }

    /// Applies a record and notes in `delta` what changed. The markers of a transaction change nothing here: see
    /// [`Loader`]. On error the image is as it was.
    pub fn apply(&mut self, record: &MetadataRecord, delta: &mut Delta) -> Result<(), MetaError> {
        use MetadataRecord as R;
        match record {
            R::Topic(r) => Arc::make_mut(&mut self.topics).create(r, delta),
            R::Partition(r) => Arc::make_mut(&mut self.topics).put_partition(r, delta),
            R::PartitionChange(r) => Arc::make_mut(&mut self.topics).change_partition(r, delta),
            R::RemoveTopic(r) => {
                let topic = Arc::make_mut(&mut self.topics).remove(r, delta)?;
                if self.configs.get(ResourceType::Topic, &topic.name).is_some() {
                    Arc::make_mut(&mut self.configs).remove(ResourceType::Topic, &topic.name, delta);
                }
                Ok(())
            }
            R::ClearElr(r) => Arc::make_mut(&mut self.topics).clear_elr(r, delta),
            R::Config(r) => Arc::make_mut(&mut self.configs).apply(r, delta),
            R::FeatureLevel(r) => {
                Arc::make_mut(&mut self.features).apply(r);
                delta.features = true;
                Ok(())
            }
            R::RegisterBroker(_)
            | R::UnregisterBroker(_)
            | R::FenceBroker(_)
            | R::UnfenceBroker(_)
            | R::BrokerRegistrationChange(_)
            | R::RegisterController(_) => Arc::make_mut(&mut self.cluster).apply(record, delta),
            R::ProducerIds(r) => {
                self.next_producer_id = r.next_producer_id;
                delta.producer_ids = true;
                Ok(())
            }
            R::ClientQuota(_)
            | R::AccessControlEntry(_)
            | R::RemoveAccessControlEntry(_)
            | R::UserScramCredential(_)
            | R::RemoveUserScramCredential(_)
            | R::DelegationToken(_)
            | R::RemoveDelegationToken(_) => {
                Arc::make_mut(&mut self.security).apply(record, delta);
                Ok(())
            }
            R::NoOp
            | R::ZkMigrationState(_)
            | R::BeginTransaction(_)
            | R::EndTransaction
            | R::AbortTransaction(_) => Ok(()),
        }
    }
}
