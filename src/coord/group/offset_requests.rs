//! Requests about offsets (`OffsetMetadataManager`), and their expiration.

use super::classic::{ClassicGroup, ClassicState};
use super::coordinator::{Group, GroupCoordinator};
use super::error::GroupError;
use super::in_flight::{Change, Then};
use super::offsets::{CommittedOffset, GroupOffsets};
use super::reply::{
    CommitReply, CommittedTopic, DeleteOffsetsReply, DeletedTopic, FetchReply, FetchedOffset, FetchedTopic,
    GroupReply,
};
use super::request::{
    CommitPartition, CommitRequest, DeleteOffsetsRequest, FetchRequest, FetchTopic, GroupRequest,
};
use super::{Cx, Effects, record};
use crate::base::{TopicId, WallMs};
use crate::coord::{Now, Ticket};
use std::collections::BTreeSet;
use std::sync::Arc;

/// From this OffsetCommit version a missing group is named as such.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;

impl GroupCoordinator {
    /// OffsetCommit.
    pub(super) fn commit_offsets(
        &mut self,
        now: Now,
        ticket: Ticket,
        version: i16,
        request: CommitRequest,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.check_commit(now, version, &request, effects) {
            let request = GroupRequest::CommitOffsets(request);
            return effects.reply(ticket, GroupReply::refused(&request, version, error));
        }
        // Kafka appends the offsets of a request together, and so refuses all of them.
        let metadata_max = self.config.offset_metadata_units_max;
        if record::least_bytes(&request, metadata_max) > self.config.record_bytes_max {
            let request = GroupRequest::CommitOffsets(request);
            let error = GroupError::UnknownServerError;
            return effects.reply(ticket, GroupReply::refused(&request, version, error));
        }
        let id: Arc<str> = match self.groups.get_key_value(request.group_id.as_str()) {
            Some((id, _)) => id.clone(),
            None => request.group_id.as_str().into(),
        };
        let mut changes = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let name: Arc<str> = topic.name.as_str().into();
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let number = partition.partition;
                let stored = self.stored(now.wall_ms, request.retention_time_ms, topic.topic_id, partition);
                partitions.push((number, stored.as_ref().err().copied()));
                if let Ok(value) = stored {
                    let (group, topic) = (id.clone(), name.clone());
                    changes.push(Change::Offset { group, topic, partition: number, value: Some(value) });
                }
            }
            topics.push(CommittedTopic { name: topic.name, topic_id: topic.topic_id, partitions });
        }
        let reply = GroupReply::CommitOffsets(CommitReply { topics });
        if changes.is_empty() {
            return effects.reply(ticket, reply);
        }
        // A client that is no member makes a group without members.
        let new = || Group::Classic(ClassicGroup::new(id.clone(), now.wall_ms));
        self.groups.entry(id.clone()).or_insert_with(new);
        self.in_flight.push(effects, Some(id), changes, Vec::new(), Then::Reply(ticket, reply));
    }

    /// Whether the client may commit; a member's commit is a sign of life.
    fn check_commit(
        &mut self,
        now: Now,
        version: i16,
        request: &CommitRequest,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        let (groups, mut cx) = self.parts(now, effects);
        match groups.get(request.group_id.as_str()) {
            None if request.generation_id < 0 => Ok(()),
            None if version >= GROUP_ID_NOT_FOUND_FROM => Err(GroupError::GroupIdNotFound),
            None => Err(GroupError::IllegalGeneration),
            Some(Group::Classic(group)) => check_classic_commit(group, &mut cx, request),
        }
    }

    fn stored(
        &self,
        wall_ms: WallMs,
        retention_ms: i64,
        topic_id: TopicId,
        partition: CommitPartition,
    ) -> Result<CommittedOffset, GroupError> {
        let metadata = partition.metadata.unwrap_or_default();
        let units_max = self.config.offset_metadata_units_max;
        // Text has at most as many UTF-16 units as bytes.
        if metadata.len() > units_max && metadata.encode_utf16().count() > units_max {
            return Err(GroupError::OffsetMetadataTooLarge);
        }
        Ok(CommittedOffset {
            offset: partition.offset,
            leader_epoch: partition.leader_epoch,
            metadata: metadata.into(),
            commit_at_ms: wall_ms,
            expire_at_ms: (retention_ms != -1).then(|| wall_ms.saturating_add(retention_ms)),
            topic_id,
        })
    }

    /// OffsetFetch: at once, or, where the client wants stable offsets, behind what is on its way to the log.
    pub(super) fn fetch_offsets(
        &mut self,
        ticket: Ticket,
        version: i16,
        request: FetchRequest,
        effects: &mut Effects,
    ) {
        match self.in_flight.last_mut() {
            Some(last) if request.require_stable => last.fetches.push((ticket, version, request)),
            _ => self.fetch_now(ticket, &request, effects),
        }
    }

    /// Answers with the committed offsets.
    pub(super) fn fetch_now(&self, ticket: Ticket, request: &FetchRequest, effects: &mut Effects) {
        let offsets = self.offsets.group(&request.group_id);
        let topics = match &request.topics {
            Some(topics) => topics.iter().map(|topic| fetched_topic(offsets, topic)).collect(),
            None => offsets
                .into_iter()
                .flatten()
                .map(|(name, partitions)| FetchedTopic {
                    name: name.clone(),
                    topic_id: TopicId::ZERO,
                    partitions: partitions
                        .iter()
                        .map(|(partition, offset)| found(*partition, offset))
                        .collect(),
                })
                .collect(),
        };
        let reply = FetchReply { group_id: request.group_id.clone(), error: None, topics };
        effects.reply(ticket, GroupReply::FetchOffsets(reply));
    }

    /// OffsetDelete.
    pub(super) fn delete_offsets(
        &mut self,
        ticket: Ticket,
        request: DeleteOffsetsRequest,
        effects: &mut Effects,
    ) {
        let group = match self.groups.get(request.group_id.as_str()) {
            None => Err(GroupError::GroupIdNotFound),
            Some(Group::Classic(group)) if !group.is_empty() && !group.uses_consumer_protocol() => {
                Err(GroupError::NonEmptyGroup)
            }
            Some(Group::Classic(group)) => Ok(group),
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => {
                let reply = DeleteOffsetsReply { error: Some(error), topics: Vec::new() };
                return effects.reply(ticket, GroupReply::DeleteOffsets(reply));
            }
        };
        let id = group.id.clone();
        let stored = self.keys(&id);
        let mut changes = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (name, partitions) in request.topics {
            let refused = group.is_subscribed(&name).then_some(GroupError::GroupSubscribedToTopic);
            for partition in &partitions {
                if refused.is_none()
                    && let Some((topic, partition)) = stored.get(&(name.as_str().into(), *partition))
                {
                    changes.push(tombstone(&id, topic, *partition));
                }
            }
            let partitions = partitions.into_iter().map(|partition| (partition, refused)).collect();
            topics.push(DeletedTopic { name, partitions });
        }
        let reply = GroupReply::DeleteOffsets(DeleteOffsetsReply { error: None, topics });
        if changes.is_empty() {
            return effects.reply(ticket, reply);
        }
        self.in_flight.push(effects, Some(id), changes, Vec::new(), Then::Reply(ticket, reply));
    }

    /// Partitions for which a group has an offset, committed or on its way.
    fn keys(&self, id: &str) -> BTreeSet<(Arc<str>, i32)> {
        let committed = self.offsets.group(id).into_iter().flatten();
        let mut keys: BTreeSet<(Arc<str>, i32)> = committed
            .flat_map(|(topic, partitions)| partitions.keys().map(|partition| (topic.clone(), *partition)))
            .collect();
        for (group, topic, partition, value) in self.in_flight.offsets() {
            if **group == *id && value.is_some() {
                keys.insert((topic.clone(), partition));
            }
        }
        keys
    }

    /// Tombstones for all offsets of a group.
    pub(super) fn all_offset_tombstones(&self, id: &Arc<str>) -> Vec<Change> {
        self.keys(id).iter().map(|(topic, partition)| tombstone(id, topic, *partition)).collect()
    }
}

fn check_classic_commit(
    group: &ClassicGroup,
    cx: &mut Cx<'_>,
    request: &CommitRequest,
) -> Result<(), GroupError> {
    let instance_id = request.group_instance_id.as_deref();
    if request.generation_id < 0 && group.is_empty() {
        return Ok(());
    }
    if request.generation_id >= 0 || !request.member_id.is_empty() || instance_id.is_some() {
        group.check_member(&request.member_id, instance_id)?;
        if request.generation_id != group.generation() {
            return Err(GroupError::IllegalGeneration);
        }
    } else {
        // A client that is no member may not disturb those who are.
        return Err(GroupError::UnknownMemberId);
    }
    match group.state() {
        // It has the new generation's number but not yet its assignment.
        ClassicState::CompletingRebalance => Err(GroupError::RebalanceInProgress),
        ClassicState::Stable | ClassicState::PreparingRebalance => {
            group.touch(cx, &request.member_id);
            Ok(())
        }
        ClassicState::Empty => Ok(()),
    }
}

pub(super) fn tombstone(group: &Arc<str>, topic: &Arc<str>, partition: i32) -> Change {
    Change::Offset { group: group.clone(), topic: topic.clone(), partition, value: None }
}

fn found(partition: i32, offset: &CommittedOffset) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        error: None,
    }
}

fn fetched_topic(offsets: Option<&GroupOffsets>, topic: &FetchTopic) -> FetchedTopic {
    let stored = offsets.and_then(|offsets| offsets.get(topic.name.as_str()));
    let one = |partition: &i32| {
        // An offset of an earlier topic of the same name is none.
        let same_topic = |offset: &&CommittedOffset| {
            topic.topic_id.is_zero() || offset.topic_id.is_zero() || offset.topic_id == topic.topic_id
        };
        match stored.and_then(|stored| stored.get(partition)).filter(same_topic) {
            Some(offset) => found(*partition, offset),
            None => FetchedOffset::none(*partition, None),
        }
    };
    FetchedTopic {
        name: topic.name.as_str().into(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(one).collect(),
    }
}
