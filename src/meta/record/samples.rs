//! Records for tests.

use super::*;
use crate::base::{BrokerId, DirectoryId, TopicId};
use crate::meta::image::ResourceType;

/// A partition whose replicas are all in sync and led by the first of them.
pub fn partition(
    topic_id: TopicId,
    partition_id: i32,
    replicas: &[BrokerId],
    directories: &[DirectoryId],
) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        partition_id,
        topic_id,
        replicas: replicas.to_vec(),
        isr: replicas.to_vec(),
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader: replicas[0],
        leader_recovery_state: RECOVERED,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: directories.to_vec(),
        eligible_leader_replicas: None,
        last_known_elr: None,
    })
}

/// A configuration that is set, or taken back without a value.
pub fn config(kind: ResourceType, name: &str, key: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: kind.id(),
        resource_name: name.into(),
        name: key.into(),
        value: value.map(Into::into),
    })
}
