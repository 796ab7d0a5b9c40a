//! Topics and partitions, as Kafka's `TopicsImage` and `PartitionRegistration`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::MetaError;
use super::super::record::{
    ClearElrRecord, NO_LEADER, NO_LEADER_CHANGE, NO_RECOVERY_CHANGE, PartitionChangeRecord, PartitionRecord,
    RECOVERED, RECOVERING, RemoveTopicRecord, Text, TopicRecord,
};
use super::Delta;
use crate::base::{BrokerId, DirectoryId, IdMap, LeaderEpoch, TopicId, Uuid};

/// A replica's directory is not known: its assignment is older than KIP-858.
pub const DIRECTORY_MIGRATING: DirectoryId = Uuid::ZERO;
/// A replica has no directory yet.
pub const DIRECTORY_UNASSIGNED: DirectoryId = Uuid::ONE;
/// A replica's directory is offline.
pub const DIRECTORY_LOST: DirectoryId = Uuid::from_u128(2);

/// Whether an id is of those that name no directory (`DirectoryId.reserved`: the first hundred).
pub fn directory_is_reserved(id: DirectoryId) -> bool {
    u128::from_be_bytes(id.0) < 100
}

/// All topics. A lookup by name or id costs no allocation; iteration is in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    by_name: BTreeMap<Text, Arc<Topic>>,
    /// For lookups only: its order means nothing.
    by_id: IdMap<TopicId, Arc<Topic>>,
    partitions_count: usize,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The name.
    pub name: Text,
    /// The id.
    pub id: TopicId,
    /// The partitions by number.
    pub partitions: BTreeMap<i32, Arc<Partition>>,
}

/// The state of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Assigned brokers, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The log directory of each replica, in their order.
    pub directories: Vec<DirectoryId>,
    /// In-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas that a reassignment removes.
    pub removing_replicas: Vec<BrokerId>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<BrokerId>,
    /// The leader, or -1.
    pub leader: BrokerId,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes.
    pub partition_epoch: i32,
    /// Whether the leader was elected uncleanly and still has to recover (KIP-704).
    pub recovering: bool,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<BrokerId>,
    /// Last known eligible leader replicas (KIP-966).
    pub last_known_elr: Vec<BrokerId>,
}

impl Topics {
    /// The topic of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn get_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// A partition by its topic's name.
    pub fn partition(&self, name: &str, partition: i32) -> Option<&Arc<Partition>> {
        self.get(name)?.partitions.get(&partition)
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// The topics whose names are `name` or behind it, in order.
    pub fn iter_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.by_name
            .range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, t)| t)
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many partitions there are in all topics.
    pub fn partitions_count(&self) -> usize {
        self.partitions_count
    }

    pub(super) fn create(&mut self, r: &TopicRecord, delta: &mut Delta) -> Result<(), MetaError> {
        if self.by_name.contains_key(&r.name) || self.by_id.contains_key(&r.topic_id) {
            return Err(MetaError::TopicExists(r.name.to_string()));
        }
        let topic = Topic { name: r.name.clone(), id: r.topic_id, partitions: BTreeMap::new() };
        delta.topic(&topic).created = true;
        self.put(Arc::new(topic));
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        r: &RemoveTopicRecord,
        delta: &mut Delta,
    ) -> Result<Arc<Topic>, MetaError> {
        let unknown = MetaError::UnknownTopic { record: "RemoveTopicRecord", topic_id: r.topic_id };
        let topic = self.by_id.remove(&r.topic_id).ok_or(unknown)?;
        self.by_name.remove(&topic.name);
        self.partitions_count -= topic.partitions.len();
        delta.topic_removed(&topic);
        Ok(topic)
    }

    pub(super) fn put_partition(&mut self, r: &PartitionRecord, delta: &mut Delta) -> Result<(), MetaError> {
        let partition = Partition::from_record(r)?;
        let created = self.edit(r.topic_id, "PartitionRecord", |topic| {
            Ok(topic.partitions.insert(r.partition_id, Arc::new(partition)).is_none())
        })?;
        self.partitions_count += usize::from(created);
        if let Some(topic) = self.by_id.get(&r.topic_id) {
            delta.topic(topic).partition(r.partition_id, created);
        }
        Ok(())
    }

    pub(super) fn change_partition(
        &mut self,
        r: &PartitionChangeRecord,
        delta: &mut Delta,
    ) -> Result<(), MetaError> {
        self.edit(r.topic_id, "PartitionChangeRecord", |topic| {
            let old = topic.partitions.get(&r.partition_id).ok_or_else(|| MetaError::UnknownPartition {
                record: "PartitionChangeRecord",
                topic: topic.name.to_string(),
                partition: r.partition_id,
            })?;
            let new = old.merge(r)?;
            topic.partitions.insert(r.partition_id, Arc::new(new));
            Ok(())
        })?;
        if let Some(topic) = self.by_id.get(&r.topic_id) {
            delta.topic(topic).partition(r.partition_id, false);
        }
        Ok(())
    }

    pub(super) fn clear_elr(&mut self, r: &ClearElrRecord, delta: &mut Delta) -> Result<(), MetaError> {
        let ids: Vec<TopicId> = if r.topic_name.is_empty() {
            self.iter().filter(|t| t.has_elr()).map(|t| t.id).collect()
        } else {
            let unknown =
                || MetaError::UnknownTopicName { record: "ClearElrRecord", topic: r.topic_name.to_string() };
            vec![self.get(&r.topic_name).ok_or_else(unknown)?.id]
        };
        for id in ids {
            let changed = self.edit(id, "ClearElrRecord", |topic| {
                let mut changed = Vec::new();
                for (number, partition) in &mut topic.partitions {
                    if partition.has_elr() {
                        let mut clear = PartitionChangeRecord::new(id, *number);
                        clear.eligible_leader_replicas = Some(Vec::new());
                        clear.last_known_elr = Some(Vec::new());
                        *partition = Arc::new(partition.merge(&clear)?);
                        changed.push(*number);
                    }
                }
                Ok(changed)
            })?;
            if let Some(topic) = self.by_id.get(&id) {
                for number in changed {
                    delta.topic(topic).partition(number, false);
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, topic: Arc<Topic>) {
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }

    /// Edits a topic in place. Both maps hold it, so one gives its share up for the time of the edit: without an
    /// older image that still shares the topic, nothing is copied.
    fn edit<T>(
        &mut self,
        id: TopicId,
        record: &'static str,
        edit: impl FnOnce(&mut Topic) -> Result<T, MetaError>,
    ) -> Result<T, MetaError> {
        let unknown = MetaError::UnknownTopic { record, topic_id: id };
        let mut topic = self.by_id.remove(&id).ok_or(unknown)?;
        let name = topic.name.clone();
        self.by_name.remove(&name);
        let edited = edit(Arc::make_mut(&mut topic));
        self.put(topic);
        edited
    }
}

impl Topic {
    /// Whether there is a partition of this number. They are numbered from 0 without gaps, so that in general the number
    /// of the last one tells.
    pub fn has(&self, partition: i32) -> bool {
        let last = self.partitions.last_key_value().map_or(-1, |(last, _)| *last);
        let dense = self.partitions.len() as i64 == i64::from(last) + 1;
        if dense { (0..=last).contains(&partition) } else { self.partitions.contains_key(&partition) }
    }

    fn has_elr(&self) -> bool {
        self.partitions.values().any(|p| p.has_elr())
    }
}

impl Partition {
    fn from_record(r: &PartitionRecord) -> Result<Partition, MetaError> {
        let record = "PartitionRecord";
        if r.partition_id < 0 {
            return Err(bad(record, "partitionId", i64::from(r.partition_id)));
        }
        Ok(Partition {
            directories: directories_of("PartitionRecord", &r.directories, r.replicas.len())?,
            replicas: r.replicas.clone(),
            isr: r.isr.clone(),
            removing_replicas: r.removing_replicas.clone(),
            adding_replicas: r.adding_replicas.clone(),
            leader: r.leader,
            leader_epoch: r.leader_epoch,
            partition_epoch: r.partition_epoch,
            recovering: recovery_of(record, r.leader_recovery_state)?,
            elr: r.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: r.last_known_elr.clone().unwrap_or_default(),
        })
    }

    /// The record that writes the whole state of this partition.
    pub fn to_record(&self, topic_id: TopicId, partition_id: i32) -> PartitionRecord {
        let some = |ids: &Vec<BrokerId>| (!ids.is_empty()).then(|| ids.clone());
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader,
            leader_recovery_state: if self.recovering { RECOVERING } else { RECOVERED },
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: self.directories.clone(),
            eligible_leader_replicas: some(&self.elr),
            last_known_elr: some(&self.last_known_elr),
        }
    }

    fn merge(&self, r: &PartitionChangeRecord) -> Result<Partition, MetaError> {
        let record = "PartitionChangeRecord";
        let pick =
            |new: &Option<Vec<BrokerId>>, old: &Vec<BrokerId>| new.clone().unwrap_or_else(|| old.clone());
        let replicas = pick(&r.replicas, &self.replicas);
        let directories = r.directories.as_ref().unwrap_or(&self.directories);
        let elected = r.leader != NO_LEADER_CHANGE;
        Ok(Partition {
            directories: directories_of(record, directories, replicas.len())?,
            replicas,
            isr: pick(&r.isr, &self.isr),
            removing_replicas: pick(&r.removing_replicas, &self.removing_replicas),
            adding_replicas: pick(&r.adding_replicas, &self.adding_replicas),
            leader: if elected { r.leader } else { self.leader },
            leader_epoch: self.leader_epoch.saturating_add(i32::from(elected)),
            partition_epoch: self.partition_epoch.saturating_add(1),
            recovering: match r.leader_recovery_state {
                NO_RECOVERY_CHANGE => self.recovering,
                state => recovery_of(record, state)?,
            },
            elr: pick(&r.eligible_leader_replicas, &self.elr),
            last_known_elr: pick(&r.last_known_elr, &self.last_known_elr),
        })
    }

    /// Whether it has a leader.
    pub fn has_leader(&self) -> bool {
        self.leader != NO_LEADER
    }

    /// The log directory of a broker's replica; `None` if the broker has none.
    pub fn directory(&self, broker: BrokerId) -> Option<DirectoryId> {
        let at = self.replicas.iter().position(|r| *r == broker)?;
        self.directories.get(at).copied()
    }

    fn has_elr(&self) -> bool {
        !self.elr.is_empty() || !self.last_known_elr.is_empty()
    }
}

fn directories_of(
    record: &'static str,
    directories: &[DirectoryId],
    replicas: usize,
) -> Result<Vec<DirectoryId>, MetaError> {
    match directories.len() {
        0 => Ok(vec![DIRECTORY_MIGRATING; replicas]),
        n if n == replicas => Ok(directories.to_vec()),
        n => Err(bad(record, "directories (count)", n as i64)),
    }
}

fn recovery_of(record: &'static str, state: i8) -> Result<bool, MetaError> {
    match state {
        RECOVERED => Ok(false),
        RECOVERING => Ok(true),
        state => Err(bad(record, "leaderRecoveryState", i64::from(state))),
    }
}

fn bad(record: &'static str, field: &'static str, value: i64) -> MetaError {
    MetaError::BadValue { record, field, value }
}
