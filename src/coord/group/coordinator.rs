//! The coordinator of one partition: routes requests to groups, settles appends, restores from the log.

use super::classic::{self, ClassicGroup};
use super::config::GroupConfig;
use super::error::GroupError;
use super::in_flight::{Change, Entry, InFlight, Then};
use super::offsets::{Offsets, TopicOffsets};
use super::record::{self, Decoded};
use super::reply::{DeleteReply, DescribeReply, GroupReply, ListReply};
use super::request::{ClientInfo, GroupRequest, JoinRequest, ListRequest};
use super::sweep::{Sweep, Sweeps};
use super::timers::{TimerKey, Timers};
use super::{Cx, Effects};
use crate::base::limits::{GROUP_APPENDS_IN_FLIGHT_MAX, GROUP_EXPIRIES_IN_TURN, GROUP_EXPIRIES_WITH_REQUEST};
use crate::base::prng::Prng;
use crate::base::{Ticks, TopicId};
use crate::coord::{AppendId, Now, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The partition of `__consumer_offsets` that a group belongs to: Java's `String.hashCode` without its sign, modulo the
/// partitions (`GroupCoordinatorService.partitionFor`). `partitions` must be positive.
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has partitions");
    let hash =
        group_id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's abs makes zero of the one number that has no positive counterpart.
    hash.checked_abs().unwrap_or(0) % partitions
}

/// What a replayed record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is part of the state now.
    Applied,
    /// A type that is not built, or not known. Such records are counted and left alone.
    Skipped,
    /// Bytes that are no record of its type; counted and left alone.
    Damaged,
}

/// Where a coordinator is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Unloaded,
}

/// A group of any type; one id has one.
pub(super) enum Group {
    /// Members elect a leader that assigns.
    Classic(ClassicGroup),
}

/// The group coordinator of one partition of `__consumer_offsets`.
pub struct GroupCoordinator {
    partition: i32,
    phase: Phase,
    pub(super) config: GroupConfig,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) offsets: Offsets,
    pub(super) in_flight: InFlight,
    pub(super) timers: Timers,
    pub(super) sweeps: Sweeps,
    prng: Prng,
    skipped: u64,
    damaged: u64,
}

impl GroupCoordinator {
    /// The coordinator of a partition, about to be loaded. `seed` makes member ids; take one from a random source.
    pub fn new(partition: i32, config: GroupConfig, seed: u64) -> GroupCoordinator {
        let record_bytes_max = config.record_bytes_max;
        GroupCoordinator {
            partition,
            phase: Phase::Loading,
            config,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            in_flight: InFlight::new(record_bytes_max),
            timers: Timers::default(),
            sweeps: Sweeps::default(),
            prng: Prng::new(seed),
            skipped: 0,
            damaged: 0,
        }
    }

    /// The partition it is for.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Groups, those without members included.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Partitions with a committed offset, over all groups.
    pub fn offset_count(&self) -> usize {
        self.offsets.count()
    }

    /// Topics with a committed offset, by name and id (zero where an old broker wrote it). Right after loading, those that
    /// do not exist are for [`GroupCoordinator::topics_deleted`]: their deletion may have been missed.
    pub fn topics(&self) -> BTreeSet<(Arc<str>, TopicId)> {
        let topics = self.offsets.groups().flat_map(|(_, topics)| topics);
        let ids = |(name, offsets): (&Arc<str>, &TopicOffsets)| -> Vec<(Arc<str>, TopicId)> {
            offsets.values().map(|offset| (name.clone(), offset.topic_id)).collect()
        };
        topics.flat_map(ids).collect()
    }

    /// Replayed records that were skipped and that were damaged.
    pub fn unread_records(&self) -> (u64, u64) {
        (self.skipped, self.damaged)
    }

    /// Bytes of records on their way to the log.
    pub fn bytes_in_flight(&self) -> usize {
        self.in_flight.bytes()
    }

    /// About how many bytes of records a request adds to those.
    pub fn append_bytes(&self, request: &GroupRequest) -> usize {
        let group = |id: &String| self.groups.get(id.as_str()).map(|Group::Classic(group)| group);
        match request {
            GroupRequest::Join(join) => group(&join.group_id).map_or(0, |group| group.join_bytes(join)),
            GroupRequest::Sync(sync) => group(&sync.group_id).map_or(0, |group| group.sync_bytes(sync)),
            GroupRequest::CommitOffsets(commit) => {
                let least = record::least_bytes(commit, self.config.offset_metadata_units_max);
                least.min(self.config.record_bytes_max)
            }
            _ => 0,
        }
    }

    /// Takes over changed configuration; what runs already keeps its times.
    pub fn set_config(&mut self, config: GroupConfig) {
        self.in_flight.record_bytes_max = config.record_bytes_max;
        self.config = config;
    }

    /// Takes in a record of the partition while loading. Batches of transactions whose outcome is not a commit are the
    /// caller's to leave out.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Replayed {
        debug_assert!(self.phase == Phase::Loading, "records are replayed before the coordinator is loaded");
        match record::decode(key, value) {
            Decoded::Offset { group, topic, partition, value: Some(value) } => {
                // Offsets of clients that are no members make a group without members.
                if !self.groups.contains_key(&group) {
                    let simple = ClassicGroup::simple(group.clone(), value.commit_at_ms);
                    self.groups.insert(group.clone(), Group::Classic(simple));
                }
                self.offsets.put(&group, &topic, partition, value);
                Replayed::Applied
            }
            Decoded::Offset { group, topic, partition, value: None } => {
                self.offsets.remove(&group, &topic, partition);
                Replayed::Applied
            }
            Decoded::Group { group } => {
                self.groups.insert(group.id.clone(), Group::Classic(*group));
                Replayed::Applied
            }
            Decoded::NoGroup { group } => {
                self.groups.remove(&group);
                Replayed::Applied
            }
            Decoded::Unknown => {
                self.skipped += 1;
                Replayed::Skipped
            }
            Decoded::Damaged => {
                self.damaged += 1;
                Replayed::Damaged
            }
        }
    }

    /// All records are replayed: sessions of restored members start now, and requests are served.
    pub fn loaded(&mut self, now: Now, effects: &mut Effects) {
        self.phase = Phase::Active;
        // Only a log that lost a record has offsets without their group: better kept than hidden.
        let homeless = self.offsets.groups().map(|(id, _)| id).filter(|id| !self.groups.contains_key(*id));
        let homeless: Vec<Arc<str>> = homeless.cloned().collect();
        for id in homeless {
            self.groups.insert(id.clone(), Group::Classic(ClassicGroup::simple(id, now.wall_ms)));
        }
        let size_max = self.config.size_max;
        self.schedule_cleanup(now);
        let (groups, mut cx) = self.parts(now, effects);
        for Group::Classic(group) in groups.values_mut() {
            group.touch_all(&mut cx);
            if group.size() > size_max {
                classic::prepare(group, &mut cx);
            }
        }
        self.settle(now, effects);
    }

    /// The partition has another leader now: every open ticket is answered with NOT_COORDINATOR, and so is every
    /// request from here on. The state is gone; make a new coordinator to load again.
    pub fn unload(&mut self, effects: &mut Effects) {
        self.phase = Phase::Unloaded;
        let error = GroupError::NotCoordinator;
        while let Some(entry) = self.in_flight.pop() {
            if let Then::Reply(ticket, reply) = entry.then {
                effects.reply(ticket, reply.failed(error));
            }
            for (ticket, version, request) in entry.fetches {
                effects
                    .reply(ticket, GroupReply::refused(&GroupRequest::FetchOffsets(request), version, error));
            }
        }
        for Group::Classic(group) in self.groups.values_mut() {
            group.refuse_all(effects, error);
        }
        self.groups.clear();
        self.offsets = Offsets::default();
        self.timers.clear();
    }

    /// Handles a request of API version `version` from `client`. The ticket is answered in these or in later effects.
    pub fn handle(
        &mut self,
        now: Now,
        ticket: Ticket,
        client: &ClientInfo,
        version: i16,
        request: GroupRequest,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.check(&request) {
            return effects.reply(ticket, GroupReply::refused(&request, version, error));
        }
        self.expire_first(now, &request, effects);
        match request {
            GroupRequest::Join(request) => self.join(now, ticket, client, version, &request, effects),
            GroupRequest::Sync(request) => {
                let (groups, mut cx) = self.parts(now, effects);
                match groups.get_mut(request.group_id.as_str()) {
                    Some(Group::Classic(group)) => classic::sync(group, &mut cx, ticket, &request),
                    None => {
                        let error = GroupError::UnknownMemberId;
                        effects
                            .reply(ticket, GroupReply::refused(&GroupRequest::Sync(request), version, error));
                    }
                }
            }
            GroupRequest::Heartbeat(request) => {
                let (groups, mut cx) = self.parts(now, effects);
                let error = match groups.get_mut(request.group_id.as_str()) {
                    Some(Group::Classic(group)) => classic::heartbeat(group, &mut cx, &request),
                    None => Some(GroupError::UnknownMemberId),
                };
                effects.reply(ticket, GroupReply::Heartbeat(error));
            }
            GroupRequest::Leave(request) => self.leave(now, ticket, request, effects),
            GroupRequest::CommitOffsets(request) => {
                self.commit_offsets(now, ticket, version, request, effects);
            }
            GroupRequest::FetchOffsets(request) => self.fetch_offsets(ticket, version, request, effects),
            GroupRequest::DeleteOffsets(request) => self.delete_offsets(ticket, request, effects),
            GroupRequest::Describe { group_id } => {
                effects.reply(ticket, GroupReply::Describe(self.describe(group_id, version)));
            }
            GroupRequest::Delete { group_id } => self.delete_group(ticket, group_id, effects),
            GroupRequest::List(request) => effects.reply(ticket, GroupReply::List(self.list(&request))),
        }
        self.settle(now, effects);
    }

    /// An append is committed, or failed with Kafka's error code and is not in the log. Outcomes may come in any order;
    /// they take effect in the order of the log.
    pub fn appended(&mut self, now: Now, id: AppendId, outcome: Result<(), i16>, effects: &mut Effects) {
        self.in_flight.note(id, outcome);
        self.settle(now, effects);
    }

    /// When [`GroupCoordinator::expire`] wants to be called.
    pub fn deadline(&self) -> Option<Ticks> {
        self.timers.next()
    }

    /// Does what is due, the earliest first, but not more than `most`: sessions, join and sync phases, and by itself a part of
    /// what goes through many groups. Gives how many were done; the rest stays due.
    pub fn expire(&mut self, now: Now, most: usize, effects: &mut Effects) -> usize {
        let mut done = 0;
        while done < most
            && let Some(key) = self.timers.due(now.ticks).cloned()
        {
            let cost = if key.is_sweep() { GROUP_EXPIRIES_IN_TURN } else { 1 };
            if done + cost > most.max(GROUP_EXPIRIES_WITH_REQUEST) {
                break;
            }
            done += cost;
            self.timers.cancel(&key);
            self.end(now, key, effects);
        }
        self.settle(now, effects);
        done
    }

    /// Before a request of a member is handled: what is due in its group and for itself may be late, as others' is.
    fn expire_first(&mut self, now: Now, request: &GroupRequest, effects: &mut Effects) {
        let Some(group_id) = request.group_id() else { return };
        let Some((id, _)) =
            self.groups.get_key_value(group_id).filter(|_| self.timers.due(now.ticks).is_some())
        else {
            return;
        };
        let id = id.clone();
        let session = request.member_id().map(|member_id| TimerKey::Session(id.clone(), member_id.into()));
        for key in session.into_iter().chain([TimerKey::Join(id.clone()), TimerKey::Sync(id)]) {
            if self.timers.take_overdue(&key, now.ticks) {
                self.end(now, key, effects);
            }
        }
    }

    /// A deadline has come.
    fn end(&mut self, now: Now, key: TimerKey, effects: &mut Effects) {
        let (groups, mut cx) = self.parts(now, effects);
        match key {
            TimerKey::Cleanup => match self.sweep_expired(now, effects) {
                Some(wait_ms) => self.timers.schedule(TimerKey::Cleanup, now.ticks.plus_ms(wait_ms)),
                None => self.schedule_cleanup(now),
            },
            TimerKey::Topics => {
                if let Some(wait_ms) = self.sweep_deleted(effects) {
                    self.timers.schedule(TimerKey::Topics, now.ticks.plus_ms(wait_ms));
                }
            }
            TimerKey::Join(id) => {
                if let Some(Group::Classic(group)) = groups.get_mut(&id) {
                    classic::end_join(group, &mut cx);
                }
            }
            TimerKey::Sync(id) => {
                if let Some(Group::Classic(group)) = groups.get_mut(&id) {
                    classic::end_sync(group, &mut cx);
                }
            }
            TimerKey::Session(id, member_id) => {
                if let Some(Group::Classic(group)) = groups.get_mut(&id) {
                    classic::expire_session(group, &mut cx, &member_id);
                }
            }
        }
    }

    /// Topics are deleted: so are their offsets, in every group, unless stored for another topic of the same name; as a
    /// deadline that has come, some groups at a time.
    pub fn topics_deleted(&mut self, now: Now, topics: &[(Arc<str>, TopicId)]) {
        if self.phase == Phase::Active && !topics.is_empty() {
            self.sweeps.deleted.push_back(Sweep { topics: topics.to_vec(), behind: None });
            self.timers.schedule(TimerKey::Topics, now.ticks);
        }
    }

    /// The groups, and what their code needs.
    pub(super) fn parts<'a>(
        &'a mut self,
        now: Now,
        effects: &'a mut Effects,
    ) -> (&'a mut BTreeMap<Arc<str>, Group>, Cx<'a>) {
        let cx = Cx {
            now,
            config: &self.config,
            timers: &mut self.timers,
            in_flight: &mut self.in_flight,
            prng: &mut self.prng,
            effects,
        };
        (&mut self.groups, cx)
    }

    fn schedule_cleanup(&mut self, now: Now) {
        // Not more often than this, whatever is configured: a deadline that is always due would spin.
        let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
        self.timers.schedule(TimerKey::Cleanup, now.ticks.plus_ms(interval_ms));
    }

    /// What can be refused before looking at the group.
    fn check(&self, request: &GroupRequest) -> Result<(), GroupError> {
        match self.phase {
            Phase::Loading => return Err(GroupError::CoordinatorLoadInProgress),
            Phase::Unloaded => return Err(GroupError::NotCoordinator),
            Phase::Active if self.in_flight.len() >= GROUP_APPENDS_IN_FLIGHT_MAX && request.may_append() => {
                return Err(GroupError::CoordinatorNotAvailable);
            }
            Phase::Active => {}
        }
        // Offsets of the group with the empty id are served: old clients have them.
        let needs_name = matches!(
            request,
            GroupRequest::Join(_)
                | GroupRequest::Sync(_)
                | GroupRequest::Heartbeat(_)
                | GroupRequest::Leave(_)
                | GroupRequest::DeleteOffsets(_)
        );
        if needs_name && request.group_id() == Some("") {
            return Err(GroupError::InvalidGroupId);
        }
        let timeouts = self.config.session_timeout_ms_min..=self.config.session_timeout_ms_max;
        match request {
            GroupRequest::Join(request) if !timeouts.contains(&request.session_timeout_ms) => {
                Err(GroupError::InvalidSessionTimeout)
            }
            _ => Ok(()),
        }
    }

    fn join(
        &mut self,
        now: Now,
        ticket: Ticket,
        client: &ClientInfo,
        version: i16,
        request: &JoinRequest,
        effects: &mut Effects,
    ) {
        let is_new = !self.groups.contains_key(request.group_id.as_str());
        if is_new && !request.member_id.is_empty() {
            let request = GroupRequest::Join(request.clone());
            return effects
                .reply(ticket, GroupReply::refused(&request, version, GroupError::UnknownMemberId));
        }
        let (groups, mut cx) = self.parts(now, effects);
        let id: Arc<str> = request.group_id.as_str().into();
        let group = groups
            .entry(id.clone())
            .or_insert_with(|| Group::Classic(ClassicGroup::new(id.clone(), now.wall_ms)));
        let Group::Classic(group) = group;
        classic::join(group, &mut cx, &classic::Join { ticket, client, version, request });
        if !is_new {
            return;
        }
        if group.size() == 0 && !group.has_pending_members() {
            groups.remove(&id);
            return;
        }
        // The group's first record, so that it outlives a restart from here on.
        let change = Change::store_empty(group);
        cx.in_flight.push(cx.effects, Some(id), vec![change], Vec::new(), Then::Nothing);
    }

    fn leave(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: super::request::LeaveRequest,
        effects: &mut Effects,
    ) {
        let (groups, mut cx) = self.parts(now, effects);
        match groups.get_mut(request.group_id.as_str()) {
            Some(Group::Classic(group)) => {
                let before = cx.effects.appends.len();
                let reply = GroupReply::Leave(classic::leave(group, &mut cx, request));
                // Where the departure is a record, the reply waits for it.
                let wrote = cx.effects.appends.len() > before;
                match cx.in_flight.last_mut() {
                    Some(last) if wrote => last.then = Then::Reply(ticket, reply),
                    _ => cx.reply(ticket, reply),
                }
            }
            None => {
                let request = GroupRequest::Leave(request);
                effects.reply(ticket, GroupReply::refused(&request, 0, GroupError::UnknownMemberId));
            }
        }
    }

    fn describe(&self, group_id: String, version: i16) -> DescribeReply {
        let live = self.groups.get(group_id.as_str()).map(|Group::Classic(group)| group);
        let known = match live {
            Some(group) => Some(group).filter(|group| group.exposed),
            None => self.in_flight.removed().find(|group| *group.id == *group_id),
        };
        if let Some(group) = known {
            return group.describe();
        }
        let error = (version >= 6).then_some(GroupError::GroupIdNotFound);
        let error_message = error.map(|_| format!("Group {group_id} not found."));
        DescribeReply { error_message, state: "Dead", ..DescribeReply::refused(group_id, error) }
    }

    /// The groups that the log knows of.
    fn exposed(&self) -> impl Iterator<Item = &ClassicGroup> {
        let live = self.groups.values().map(|Group::Classic(group)| group).filter(|group| group.exposed);
        let removed = self.in_flight.removed();
        live.chain(removed.filter(|group| !self.groups.contains_key(&group.id)))
    }

    fn list(&self, request: &ListRequest) -> ListReply {
        let states: Vec<String> = request.states.iter().map(|state| state.trim().to_lowercase()).collect();
        let types: Vec<String> = request.types.iter().map(|kind| kind.to_lowercase()).collect();
        let groups = self
            .exposed()
            .map(ClassicGroup::listed)
            .filter(|group| states.is_empty() || states.contains(&group.state.to_lowercase()))
            .filter(|group| types.is_empty() || types.iter().any(|kind| kind == group.group_type))
            .collect();
        ListReply { error: None, groups }
    }

    fn delete_group(&mut self, ticket: Ticket, group_id: String, effects: &mut Effects) {
        let error = match self.groups.get(group_id.as_str()) {
            None => GroupError::GroupIdNotFound,
            Some(Group::Classic(group)) if !group.is_empty() => GroupError::NonEmptyGroup,
            Some(Group::Classic(group)) => {
                let id = group.id.clone();
                let mut changes = self.all_offset_tombstones(&id);
                changes.push(Change::Drop { group: id.clone() });
                let removed = self.take_group(&id).into_iter().collect();
                let then = Then::Reply(ticket, GroupReply::Delete(DeleteReply { group_id, error: None }));
                return self.in_flight.push(effects, Some(id), changes, removed, then);
            }
        };
        effects.reply(ticket, GroupReply::Delete(DeleteReply { group_id, error: Some(error) }));
    }

    /// Takes a group out, with its timers.
    pub(super) fn take_group(&mut self, id: &Arc<str>) -> Option<ClassicGroup> {
        self.timers.cancel_group(id);
        self.groups.remove(id).map(|Group::Classic(group)| group)
    }

    /// Takes up the outcomes of appends, in the order of the log, as far as they are known.
    fn settle(&mut self, now: Now, effects: &mut Effects) {
        while let Some(entry) = self.in_flight.pop_settled() {
            self.settle_one(now, entry, effects);
        }
    }

    fn settle_one(&mut self, now: Now, entry: Entry, effects: &mut Effects) {
        let Entry { group, changes, removed, then, fetches, outcome, .. } = entry;
        let outcome =
            outcome.unwrap_or(Err(GroupError::UnknownServerError.code())).map_err(GroupError::of_append);
        match outcome {
            Ok(()) => changes.into_iter().for_each(|change| self.committed(change)),
            Err(_) => removed.into_iter().for_each(|group| self.put_back(group)),
        }
        self.follow(now, group.as_ref(), then, outcome, effects);
        if let (Err(error), Some(id)) = (outcome, &group) {
            self.drop_if_unstored(id, error, effects);
        }
        for (ticket, _, request) in fetches {
            self.fetch_now(ticket, &request, effects);
        }
    }

    /// A committed record becomes part of the hard state.
    fn committed(&mut self, change: Change) {
        let stored = match change {
            Change::Offset { group, topic, partition, value: Some(value) } => {
                self.offsets.put(&group, &topic, partition, value);
                group
            }
            Change::Offset { group, topic, partition, value: None } => {
                self.offsets.remove(&group, &topic, partition);
                return;
            }
            Change::Store { group, .. } => group,
            // Its group was taken out when the append was asked for; one of the same id is a later one.
            Change::Drop { .. } => return,
        };
        if let Some(Group::Classic(group)) = self.groups.get_mut(&stored) {
            group.exposed = true;
        }
    }

    /// A group could not be deleted: it is there again, unless a later one of the same id has members.
    fn put_back(&mut self, group: ClassicGroup) {
        let replaced = match self.groups.get(&group.id) {
            None => true,
            Some(Group::Classic(later)) => later.is_simple(),
        };
        if replaced {
            self.groups.insert(group.id.clone(), Group::Classic(group));
        }
    }

    fn follow(
        &mut self,
        now: Now,
        id: Option<&Arc<str>>,
        then: Then,
        outcome: Result<(), GroupError>,
        effects: &mut Effects,
    ) {
        if let Then::Reply(ticket, reply) = then {
            let reply = match outcome {
                Ok(()) => reply,
                Err(error) => reply.failed(error),
            };
            return effects.reply(ticket, reply);
        }
        let (groups, mut cx) = self.parts(now, effects);
        let Some(Group::Classic(group)) = id.and_then(|id| groups.get_mut(id)) else { return };
        match then {
            Then::Nothing | Then::Reply(..) => {}
            Then::Assigned { generation, assignments } => {
                classic::assigned(group, &mut cx, generation, assignments, outcome);
            }
            Then::Replaced(replaced) => classic::replaced(group, &mut cx, *replaced, outcome),
        }
    }

    /// A group of which nothing is in the log, or on its way there, goes.
    fn drop_if_unstored(&mut self, id: &Arc<str>, error: GroupError, effects: &mut Effects) {
        let unstored = |Group::Classic(group): &Group| !group.exposed;
        if self.groups.get(id).is_some_and(unstored)
            && !self.in_flight.concerns(id)
            && let Some(mut group) = self.take_group(id)
        {
            group.refuse_all(effects, error);
        }
    }
}
