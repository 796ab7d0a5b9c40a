//! What changed between two images.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::record::Text;
use super::{ResourceType, Topic};
use crate::base::{BrokerId, TopicId};

/// What changed since an image. The new values are in the new image; what is gone is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The topics that were created, changed or deleted. A topic that came and went between the images is not here.
    /// A name that was deleted and created anew is here twice, with two ids: deletions come first.
    pub topics: BTreeMap<TopicId, TopicDelta>,
    /// The resources whose configuration changed; that of a deleted topic is among them.
    pub configs: BTreeSet<ConfigResource>,
    /// The brokers that were registered, changed or unregistered.
    pub brokers: BTreeSet<BrokerId>,
    /// The controllers that were registered.
    pub controllers: BTreeSet<BrokerId>,
    /// Whether a finalized feature changed.
    pub features: bool,
    /// Whether a block of producer ids was handed out.
    pub producer_ids: bool,
    /// Whether a client quota changed.
    pub client_quotas: bool,
    /// Whether an ACL changed.
    pub acls: bool,
    /// Whether a SCRAM credential changed.
    pub scram: bool,
    /// Whether a delegation token changed.
    pub tokens: bool,
}

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// Its type.
    pub kind: ResourceType,
    /// Its name.
    pub name: Text,
}

/// What changed about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDelta {
    /// The topic's name.
    pub name: Text,
    /// Whether the topic is new.
    pub created: bool,
    /// The topic as it was, if it is gone.
    pub deleted: Option<Arc<Topic>>,
    /// The partitions that are new, all of them if the topic is.
    pub partitions_created: BTreeSet<i32>,
    /// The partitions that were there and changed.
    pub partitions_changed: BTreeSet<i32>,
}

impl TopicDelta {
    pub(super) fn partition(&mut self, number: i32, created: bool) {
        if created {
            self.partitions_created.insert(number);
        } else if !self.partitions_created.contains(&number) {
            self.partitions_changed.insert(number);
        }
    }
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// The topics that are gone, as they were.
    pub fn topics_deleted(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values().filter_map(|t| t.deleted.as_ref())
    }

    /// The topics that are new or changed.
    pub fn topics_changed(&self) -> impl Iterator<Item = (TopicId, &TopicDelta)> {
        self.topics.iter().filter(|(_, t)| t.deleted.is_none()).map(|(id, t)| (*id, t))
    }

    pub(super) fn topic(&mut self, topic: &Topic) -> &mut TopicDelta {
        self.topics.entry(topic.id).or_insert_with(|| TopicDelta {
            name: topic.name.clone(),
            created: false,
            deleted: None,
            partitions_created: BTreeSet::new(),
            partitions_changed: BTreeSet::new(),
        })
    }

    pub(super) fn topic_removed(&mut self, topic: &Arc<Topic>) {
        if self.topics.get(&topic.id).is_some_and(|t| t.created) {
            self.topics.remove(&topic.id);
            return;
        }
        let delta = self.topic(topic);
        delta.deleted = Some(topic.clone());
        delta.partitions_created.clear();
        delta.partitions_changed.clear();
    }
}
