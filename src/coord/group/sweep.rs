//! What goes through the offsets of all groups, some groups at a time: offsets that have expired, and those of topics that are
//! deleted.

use super::Effects;
use super::classic::{ClassicGroup, ClassicState};
use super::coordinator::{Group, GroupCoordinator};
use super::in_flight::{Change, Then};
use super::offset_requests::tombstone;
use super::offsets::{CommittedOffset, GroupOffsets};
use crate::base::limits::{
    GROUP_APPEND_RECORDS_GOAL, GROUP_SWEEP_APPENDS_MAX, GROUP_SWEEP_WAIT_MS, GROUPS_SWEPT_IN_TURN,
};
use crate::base::{TopicId, WallMs};
use crate::coord::Now;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// How far one has come.
pub(super) struct Sweep {
    /// The topics whose offsets go.
    pub(super) topics: Vec<(Arc<str>, TopicId)>,
    /// The last group that was looked at.
    pub(super) behind: Option<Arc<str>>,
}

/// All that are under way.
#[derive(Default)]
pub(super) struct Sweeps {
    /// The last group that was looked at for expired offsets, while that goes on.
    expired_behind: Option<Arc<str>>,
    pub(super) deleted: VecDeque<Sweep>,
}

/// Deletions of several groups in one append.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    removed: Vec<ClassicGroup>,
}

/// Offsets on their way to the log, by group: whether the last one of each partition is one of a topic that goes.
type OnTheirWay = BTreeMap<Arc<str>, BTreeMap<(Arc<str>, i32), bool>>;

impl GroupCoordinator {
    /// The next groups, whether they are the last, and their offsets on their way to the log.
    fn next_groups(
        &self,
        behind: Option<&Arc<str>>,
        goes: impl Fn(&Arc<str>, &CommittedOffset) -> bool,
    ) -> (Vec<Arc<str>>, OnTheirWay) {
        let from = behind.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        let groups = self.groups.range((from, Bound::Unbounded)).take(GROUPS_SWEPT_IN_TURN);
        let ids: Vec<Arc<str>> = groups.map(|(id, _)| id.clone()).collect();
        let mut on_their_way = OnTheirWay::new();
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return (ids, on_their_way) };
        // The last change on its way decides.
        for (group, topic, partition, value) in
            self.in_flight.offsets().filter(|(id, ..)| (first..=last).contains(id))
        {
            let goes = value.is_some_and(|value| goes(topic, value));
            on_their_way.entry(group.clone()).or_default().insert((topic.clone(), partition), goes);
        }
        (ids, on_their_way)
    }

    /// Whether so much is on its way to the log that others wait.
    fn is_sweep_early(&self) -> bool {
        self.in_flight.len() > GROUP_SWEEP_APPENDS_MAX
    }

    /// Deletes offsets that have expired, and groups that are left with nothing (`cleanupGroupMetadata`), of the next groups;
    /// when to go on, in milliseconds.
    pub(super) fn sweep_expired(&mut self, now: Now, effects: &mut Effects) -> Option<i64> {
        if self.is_sweep_early() {
            return Some(GROUP_SWEEP_WAIT_MS);
        }
        let (ids, on_their_way) = self.next_groups(self.sweeps.expired_behind.as_ref(), |_, _| false);
        let none = BTreeMap::new();
        let mut batch = Batch::default();
        for id in &ids {
            let busy = on_their_way.get(id).unwrap_or(&none);
            let Some(Group::Classic(group)) = self.groups.get(id) else { continue };
            let offsets = self.offsets.group(id);
            let (mut changes, all) =
                expired(group, offsets, busy, now.wall_ms, self.config.offsets_retention_ms);
            let gone = all && busy.is_empty() && group.is_empty() && !group.has_pending_members();
            if gone {
                changes.push(Change::Drop { group: id.clone() });
                batch.removed.extend(self.take_group(id));
            }
            batch.changes.append(&mut changes);
            self.push_batch(&mut batch, GROUP_APPEND_RECORDS_GOAL, effects);
        }
        self.push_batch(&mut batch, 1, effects);
        self.sweeps.expired_behind = ids.into_iter().nth(GROUPS_SWEPT_IN_TURN - 1);
        self.sweeps.expired_behind.is_some().then_some(0)
    }

    /// Deletes the offsets of topics that are gone, in the next groups; when to go on, in milliseconds.
    pub(super) fn sweep_deleted(&mut self, effects: &mut Effects) -> Option<i64> {
        if self.is_sweep_early() {
            return Some(GROUP_SWEEP_WAIT_MS);
        }
        let mut sweep = self.sweeps.deleted.pop_front()?;
        let of_topic =
            |value: &CommittedOffset, id: &TopicId| value.topic_id.is_zero() || value.topic_id == *id;
        let goes = |name: &Arc<str>, value: &CommittedOffset| {
            sweep.topics.iter().any(|(topic, id)| topic == name && of_topic(value, id))
        };
        let (ids, mut on_their_way) = self.next_groups(sweep.behind.as_ref(), goes);
        let mut batch = Batch::default();
        for id in &ids {
            let mut gone = on_their_way.remove(id).unwrap_or_default();
            for (name, topic_id) in &sweep.topics {
                let partitions =
                    self.offsets.group(id).and_then(|offsets| offsets.get(name)).into_iter().flatten();
                for (partition, _) in partitions.filter(|(_, value)| of_topic(value, topic_id)) {
                    gone.entry((name.clone(), *partition)).or_insert(true);
                }
            }
            let gone = gone.into_iter().filter(|(_, goes)| *goes);
            batch.changes.extend(gone.map(|((topic, partition), _)| tombstone(id, &topic, partition)));
            self.push_batch(&mut batch, GROUP_APPEND_RECORDS_GOAL, effects);
        }
        self.push_batch(&mut batch, 1, effects);
        sweep.behind = ids.into_iter().nth(GROUPS_SWEPT_IN_TURN - 1);
        if sweep.behind.is_some() {
            self.sweeps.deleted.push_front(sweep);
        }
        (!self.sweeps.deleted.is_empty()).then_some(0)
    }

    /// Appends what has come together, if it is so much.
    fn push_batch(&mut self, batch: &mut Batch, least: usize, effects: &mut Effects) {
        if batch.changes.len() >= least {
            let Batch { changes, removed } = std::mem::take(batch);
            self.in_flight.push(effects, None, changes, removed, Then::Nothing);
        }
    }
}

/// Tombstones for the expired offsets of a group, and whether nothing is left of them
/// (`ClassicGroup.offsetExpirationCondition`).
fn expired(
    group: &ClassicGroup,
    offsets: Option<&GroupOffsets>,
    busy: &BTreeMap<(Arc<str>, i32), bool>,
    wall_ms: WallMs,
    retention_ms: i64,
) -> (Vec<Change>, bool) {
    let Some(offsets) = offsets else { return (Vec::new(), true) };
    // Without members, retention counts from when the last left; otherwise, and for clients that never were members,
    // from the commit. While members come and go nothing expires.
    let since_empty = match (group.protocol_type(), group.state()) {
        (None, _) => None,
        (Some(_), ClassicState::Empty) => group.state_at_ms(),
        (Some(_), ClassicState::Stable) if group.uses_consumer_protocol() && group.knows_subscriptions() => {
            None
        }
        (Some(_), _) => return (Vec::new(), false),
    };
    let is_expired = |offset: &CommittedOffset| match offset.expire_at_ms {
        Some(at_ms) => wall_ms >= at_ms,
        None => wall_ms.saturating_sub(since_empty.unwrap_or(offset.commit_at_ms)) >= retention_ms,
    };
    let mut changes = Vec::new();
    let mut all = true;
    for (topic, partitions) in offsets {
        let subscribed = group.is_subscribed(topic);
        for (partition, offset) in partitions {
            if !subscribed && is_expired(offset) && !busy.contains_key(&(topic.clone(), *partition)) {
                changes.push(tombstone(&group.id, topic, *partition));
            } else {
                all = false;
            }
        }
    }
    (changes, all)
}
