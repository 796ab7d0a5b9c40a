//! Committed offsets: only those whose records are committed. Offsets on their way to the log live in `in_flight`.

use crate::base::{TopicId, WallMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A committed offset (`OffsetAndMetadata`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// The client's text.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_at_ms: WallMs,
    /// When it expires, where the client said so (OffsetCommit v2-4).
    pub expire_at_ms: Option<WallMs>,
    /// The topic's id; zero in records of old brokers.
    pub topic_id: TopicId,
}

/// Partitions of one topic.
pub(super) type TopicOffsets = BTreeMap<i32, CommittedOffset>;
/// Topics of one group.
pub(super) type GroupOffsets = BTreeMap<Arc<str>, TopicOffsets>;

/// The offsets of all groups.
#[derive(Default)]
pub(super) struct Offsets {
    by_group: BTreeMap<Arc<str>, GroupOffsets>,
    count: usize,
}

impl Offsets {
    pub(super) fn put(
        &mut self,
        group: &Arc<str>,
        topic: &Arc<str>,
        partition: i32,
        offset: CommittedOffset,
    ) {
        let topics = self.by_group.entry(group.clone()).or_default();
        if topics.entry(topic.clone()).or_default().insert(partition, offset).is_none() {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(topics) = self.by_group.get_mut(group) else { return };
        let Some(partitions) = topics.get_mut(topic) else { return };
        if partitions.remove(&partition).is_some() {
            self.count -= 1;
        }
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.by_group.remove(group);
        }
    }

    pub(super) fn group(&self, group: &str) -> Option<&GroupOffsets> {
        self.by_group.get(group)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &GroupOffsets)> {
        self.by_group.iter()
    }

    /// Partitions with an offset, over all groups.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}
