//! An image as the records that rebuild it, as Kafka's `MetadataImage.write`.

use std::sync::Arc;

use super::super::record::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
};
use super::{Image, METADATA_VERSION};

impl Image {
    /// The records that rebuild this image from an empty one. `metadata.version` comes first: it decides how the
    /// rest is written.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut out = Vec::with_capacity(64 + self.topics.len() + self.topics.partitions_count());
        self.feature_records(&mut out);
        out.extend(self.cluster.brokers.values().map(|b| MetadataRecord::RegisterBroker(b.as_ref().clone())));
        out.extend(
            self.cluster.controllers.values().map(|c| MetadataRecord::RegisterController(c.as_ref().clone())),
        );
        self.topic_records(&mut out);
        self.config_records(&mut out);
        self.security_records(&mut out);
        out
    }

    fn feature_records(&self, out: &mut Vec<MetadataRecord>) {
        let mut levels: Vec<_> = self.features.iter().collect();
        levels.sort_by_key(|(name, _)| name.as_ref() != METADATA_VERSION);
        out.extend(levels.into_iter().map(|(name, feature_level)| {
            MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.clone(), feature_level })
        }));
    }

    fn topic_records(&self, out: &mut Vec<MetadataRecord>) {
        for topic in self.topics.iter() {
            out.push(MetadataRecord::Topic(TopicRecord { name: topic.name.clone(), topic_id: topic.id }));
            let partitions = topic.partitions.iter();
            out.extend(
                partitions.map(|(number, p)| MetadataRecord::Partition(p.to_record(topic.id, *number))),
            );
        }
    }

    fn config_records(&self, out: &mut Vec<MetadataRecord>) {
        for kind in super::ResourceType::ALL {
            for (resource_name, map) in self.configs.of_type(kind) {
                out.extend(map.iter().map(|(name, value)| {
                    MetadataRecord::Config(ConfigRecord {
                        resource_type: kind.id(),
                        resource_name: resource_name.clone(),
                        name: name.as_str().into(),
                        value: Some(value.as_str().into()),
                    })
                }));
            }
        }
    }

    fn security_records(&self, out: &mut Vec<MetadataRecord>) {
        let security = Arc::clone(&self.security);
        for (entity, values) in &security.client_quotas {
            out.extend(values.iter().map(|(key, value)| {
                MetadataRecord::ClientQuota(ClientQuotaRecord {
                    entity: entity.clone(),
                    key: key.clone(),
                    value: *value,
                    remove: false,
                })
            }));
        }
        if let Some(next_producer_id) = self.next_producer_id() {
            let ids = ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id };
            out.push(MetadataRecord::ProducerIds(ids));
        }
        out.extend(security.acls.values().cloned().map(MetadataRecord::AccessControlEntry));
        out.extend(security.scram.values().cloned().map(MetadataRecord::UserScramCredential));
        out.extend(security.tokens.values().cloned().map(MetadataRecord::DelegationToken));
    }
}
