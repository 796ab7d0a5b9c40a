//! A classic group: the state of one group whose members elect a leader that assigns (`ClassicGroup`).
//!
//! Everything here is soft: members come and go in memory, and only a generation's outcome is written to the log.
//! The phases live in files of their own: `join`, `sync`, `leave` (and heartbeats), and `rebalance` between them.

mod join;
mod leave;
mod rebalance;
mod sync;

use super::error::GroupError;
use super::reply::{
    DescribeReply, DescribedMember, GroupReply, JoinReply, JoinedMember, ListedGroup, SyncReply,
};
use super::request::{JoinRequest, SyncRequest};
use super::timers::TimerKey;
use super::{Cx, subscription};
use crate::base::WallMs;
use crate::base::limits::{GROUP_PROTOCOL_BYTES, GROUP_VOTE_PROTOCOLS_MAX};
use crate::coord::Ticket;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use join::{Join, join, replaced};
pub(super) use leave::{heartbeat, leave};
pub(super) use rebalance::{end_join, end_sync, expire_session, prepare};
pub(super) use sync::{assigned, sync};

/// The protocol type of Kafka's own consumers.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The state of a classic group. Kafka's fifth, Dead, is a group that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClassicState {
    /// No members, perhaps offsets.
    Empty,
    /// Members are to join.
    PreparingRebalance,
    /// Members have joined; the leader is to assign.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

/// What ListGroups calls the type of these groups.
pub(super) const CLASSIC: &str = "classic";

impl ClassicState {
    /// All of them.
    pub(super) const ALL: [ClassicState; 4] = [
        ClassicState::Empty,
        ClassicState::PreparingRebalance,
        ClassicState::CompletingRebalance,
        ClassicState::Stable,
    ];

    /// Kafka's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            ClassicState::Empty => "Empty",
            ClassicState::PreparingRebalance => "PreparingRebalance",
            ClassicState::CompletingRebalance => "CompletingRebalance",
            ClassicState::Stable => "Stable",
        }
    }
}

/// Protocols by name, each with the member's metadata for it.
pub(super) type Protocols = Vec<(Arc<str>, Arc<[u8]>)>;

/// A member of a classic group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// Protocols in the member's order of preference, each name once.
    pub(super) protocols: Protocols,
    pub(super) assignment: Arc<[u8]>,
    /// The group's protocol as it was chosen last, and the metadata for it: there may be very many to search.
    pub(super) chosen: Option<(Arc<str>, Arc<[u8]>)>,
    /// The parked JoinGroup.
    pub(super) awaiting_join: Option<Ticket>,
    /// The parked SyncGroup.
    pub(super) awaiting_sync: Option<Ticket>,
    /// Has not been in a generation yet.
    pub(super) is_new: bool,
}

impl Member {
    /// Its metadata for a protocol; empty if it does not know it.
    pub(super) fn metadata(&self, protocol: &str) -> Arc<[u8]> {
        let chosen = self.chosen.iter().find(|(name, _)| **name == *protocol);
        match chosen.or_else(|| self.protocols.iter().find(|(name, _)| **name == *protocol)) {
            Some((_, metadata)) => metadata.clone(),
            None => Arc::new([]),
        }
    }

    /// The group has chosen a protocol, or the member has other metadata.
    fn choose(&mut self, protocol: Option<&Arc<str>>) {
        self.chosen = None;
        self.chosen = protocol.map(|name| (name.clone(), self.metadata(name)));
    }

    /// What it takes at least in the group's record: the protocol is not chosen yet, one that makes the record fit may be.
    fn least_bytes(&self) -> usize {
        self.protocols.iter().map(|(_, metadata)| metadata.len()).min().unwrap_or(0)
    }

    /// Whether it has the same protocols in the same order, whatever its metadata for them.
    fn prefers_as(&self, other: &Member) -> bool {
        self.protocols.iter().map(|(name, _)| name).eq(other.protocols.iter().map(|(name, _)| name))
    }

    /// Whether silence is in order: a parked request is a sign of life, except of one who never had a member id.
    fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// A classic group.
#[derive(Clone, Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: Arc<str>,
    state: ClassicState,
    /// Whether the rebalance that is being prepared started from an empty group, and how much longer it may wait.
    initial: Option<InitialDelay>,
    /// When the state was entered; None for records of old brokers.
    state_at_ms: Option<WallMs>,
    protocol_type: Option<Arc<str>>,
    protocol_name: Option<Arc<str>>,
    generation: i32,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// `group.instance.id` → member id.
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids given out by MEMBER_ID_REQUIRED and not used yet.
    pending_join: BTreeSet<Arc<str>>,
    /// Members of this generation that have not sent SyncGroup.
    pending_sync: BTreeSet<Arc<str>>,
    awaiting_join: usize,
    /// Protocol → members that know it.
    supported: BTreeMap<Arc<str>, usize>,
    sums: Sums,
    /// The topics of all members, as far as they can be known.
    subscribed: Option<BTreeSet<String>>,
    /// Whether a record of the group, or of an offset of it, is committed: others may see the group.
    pub(super) exposed: bool,
}

/// Sums over all members, so that nobody's JoinGroup looks at the protocols of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// [`Member::least_bytes`].
    least_bytes: usize,
    /// Their protocols.
    protocols: usize,
}

/// The extra time that an empty group gives its first members.
#[derive(Clone, Copy, Debug)]
struct InitialDelay {
    /// The delay running now.
    delay_ms: i32,
    /// How much more may follow.
    remaining_ms: i32,
    /// A member has joined since the delay started.
    member_added: bool,
}

impl ClassicGroup {
    /// A group without members.
    pub(super) fn new(id: Arc<str>, wall_ms: WallMs) -> ClassicGroup {
        ClassicGroup {
            id,
            state: ClassicState::Empty,
            initial: None,
            state_at_ms: Some(wall_ms),
            protocol_type: None,
            protocol_name: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            supported: BTreeMap::new(),
            sums: Sums::default(),
            subscribed: None,
            exposed: false,
        }
    }

    /// A group that the log knows by its offsets only: their clients are no members.
    pub(super) fn simple(id: Arc<str>, wall_ms: WallMs) -> ClassicGroup {
        ClassicGroup { exposed: true, ..ClassicGroup::new(id, wall_ms) }
    }

    /// A group as its record tells.
    pub(super) fn restored(
        id: Arc<str>,
        state_at_ms: Option<WallMs>,
        protocol_type: Option<Arc<str>>,
        protocol_name: Option<Arc<str>>,
        generation: i32,
        leader: Option<Arc<str>>,
        members: Vec<Member>,
    ) -> ClassicGroup {
        let mut group = ClassicGroup::new(id, 0);
        group.exposed = true;
        group.state_at_ms = state_at_ms;
        group.generation = generation;
        for member in members {
            group.add(member);
        }
        if !group.members.is_empty() {
            group.state = ClassicState::Stable;
        }
        group.protocol_type = protocol_type;
        group.protocol_name = protocol_name;
        group.leader = leader;
        group.subscribed = group.subscriptions();
        group
    }

    pub(super) fn state(&self) -> ClassicState {
        self.state
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state == ClassicState::Empty
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    pub(super) fn protocol_name(&self) -> Option<&Arc<str>> {
        self.protocol_name.as_ref()
    }

    pub(super) fn leader(&self) -> Option<&Arc<str>> {
        self.leader.as_ref()
    }

    pub(super) fn state_at_ms(&self) -> Option<WallMs> {
        self.state_at_ms
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    pub(super) fn has_pending_members(&self) -> bool {
        !self.pending_join.is_empty()
    }

    /// Whether it only holds offsets of clients that are no members.
    pub(super) fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.is_empty() && self.pending_join.is_empty()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether a member reads the topic; a consumer group whose subscriptions are not known may.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(super) fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn enter(&mut self, state: ClassicState, wall_ms: WallMs) {
        self.state = state;
        self.state_at_ms = Some(wall_ms);
    }

    /// Checks that the request comes from a member, and not from one whose instance id another has taken.
    pub(super) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(current) if **current != *member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// Whether a member with these protocols fits in: the type is the group's, and all could use one of them.
    fn supports<'p>(&self, protocol_type: &str, protocols: impl IntoIterator<Item = &'p str>) -> bool {
        let mut protocols = protocols.into_iter();
        match self.state {
            ClassicState::Empty => !protocol_type.is_empty() && protocols.next().is_some(),
            _ => {
                self.protocol_type.as_deref() == Some(protocol_type)
                    && protocols.any(|p| self.supported.get(p).copied().unwrap_or(0) == self.members.len())
            }
        }
    }

    /// Whether a record holds the metadata of all members and of this one. A member that the record has no room for could
    /// join, but no generation with it could be stored.
    fn fits(&self, request: &JoinRequest, bytes_max: usize) -> bool {
        let instance_id = request.group_instance_id.as_deref();
        let replaced = instance_id.and_then(|id| self.static_members.get(id)).map(|id| &**id);
        let named = Some(request.member_id.as_str()).filter(|id| Some(*id) != replaced);
        let gone = named.into_iter().chain(replaced).filter_map(|id| self.members.get(id));
        let others = self.sums.least_bytes - gone.map(Member::least_bytes).sum::<usize>();
        let own = request.protocols.iter().map(|(_, metadata)| metadata.len()).min().unwrap_or(0);
        others + own <= bytes_max
    }

    /// What the group's record takes for metadata of its members, and for their assignments.
    fn stored_bytes(&self) -> (usize, usize) {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let of = |m: &Member| (GROUP_PROTOCOL_BYTES + m.metadata(protocol).len(), m.assignment.len());
        self.members.values().map(of).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
    }

    /// Bytes of the record that a JoinGroup adds, if it does: a static member's place is taken, nothing else changes.
    pub(super) fn join_bytes(&self, request: &JoinRequest) -> usize {
        let instance_id = request.group_instance_id.as_deref().filter(|_| request.member_id.is_empty());
        let replaces = instance_id.is_some_and(|id| self.static_members.contains_key(id));
        let (metadata, assignments) =
            if replaces && self.state == ClassicState::Stable { self.stored_bytes() } else { (0, 0) };
        metadata + assignments
    }

    /// Bytes of the record that a SyncGroup adds, if it does: the leader assigns.
    pub(super) fn sync_bytes(&self, request: &SyncRequest) -> usize {
        if self.state != ClassicState::CompletingRebalance || !self.is_leader(&request.member_id) {
            return 0;
        }
        self.stored_bytes().0
            + request.assignments.iter().map(|(_, assignment)| assignment.len()).sum::<usize>()
    }

    /// What is kept as sums is what looking at all members gives.
    #[cfg(test)]
    pub(super) fn check_sums(&self, request: &JoinRequest, bytes_max: usize) {
        let plain = |m: &Member, protocol: &str| {
            m.protocols.iter().find(|(name, _)| **name == *protocol).map(|(_, metadata)| metadata.clone())
        };
        let least = |m: &Member| m.protocols.iter().map(|(_, metadata)| metadata.len()).min().unwrap_or(0);
        let mut supported: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (name, _) in self.members.values().flat_map(|m| &m.protocols) {
            *supported.entry(name.clone()).or_default() += 1;
        }
        assert_eq!(self.supported, supported);
        let protocols = self.members.values().map(|m| m.protocols.len()).sum();
        let least_bytes = self.members.values().map(least).sum();
        assert_eq!(self.sums, Sums { least_bytes, protocols });
        if self.state == ClassicState::Stable {
            assert_eq!(self.vote(), self.protocol_name);
            let protocol = self.protocol_name.as_deref().expect("of a stable group");
            self.members.values().for_each(|m| assert_eq!(Some(m.metadata(protocol)), plain(m, protocol)));
        }
        let others = self.members.values().filter(|m| {
            let replaced =
                m.instance_id.is_some() && m.instance_id.as_deref() == request.group_instance_id.as_deref();
            *m.id != *request.member_id && !replaced
        });
        let own = request.protocols.iter().map(|(_, metadata)| metadata.len()).min().unwrap_or(0);
        assert_eq!(self.fits(request, bytes_max), others.map(least).sum::<usize>() + own <= bytes_max);
    }

    fn count(&mut self, member: &Member) {
        self.sums.least_bytes += member.least_bytes();
        self.sums.protocols += member.protocols.len();
        for (name, _) in &member.protocols {
            *self.supported.entry(name.clone()).or_default() += 1;
        }
    }

    fn discount(&mut self, member: &Member) {
        self.sums.least_bytes -= member.least_bytes();
        self.sums.protocols -= member.protocols.len();
        for (name, _) in &member.protocols {
            if let Some(count) = self.supported.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(name);
                }
            }
        }
    }

    /// Puts a member in; one of the same id or instance id goes (only a damaged record has such).
    fn add(&mut self, member: Member) {
        if let Some(old) = member.instance_id.as_ref().and_then(|id| self.static_members.get(id)).cloned() {
            self.take(&old);
        }
        self.take(&member.id.clone());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count(&member);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.pending_join.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, or an id that was only given out. Its parked requests are the caller's to answer.
    fn take(&mut self, member_id: &str) -> Option<Member> {
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        let member = self.members.remove(member_id)?;
        self.discount(&member);
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Takes a member out, stops its timer, and answers what it has parked so that it joins anew.
    fn remove(&mut self, cx: &mut Cx<'_>, member_id: &str) {
        cx.timers.cancel(&TimerKey::Session(self.id.clone(), member_id.into()));
        let Some(member) = self.take(member_id) else { return };
        if let Some(ticket) = member.awaiting_join {
            cx.reply(ticket, GroupReply::Join(JoinReply::refused("", GroupError::UnknownMemberId)));
        }
        if let Some(ticket) = member.awaiting_sync {
            cx.reply(ticket, GroupReply::Sync(SyncReply::refused(GroupError::UnknownMemberId)));
        }
    }

    /// Takes back every parked request: the group goes away.
    pub(super) fn refuse_all(&mut self, effects: &mut super::Effects, error: GroupError) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.awaiting_join.take() {
                self.awaiting_join -= 1;
                let reply = JoinReply::refused(member.id.clone(), error);
                effects.reply(ticket, GroupReply::Join(reply));
            }
            if let Some(ticket) = member.awaiting_sync.take() {
                effects.reply(ticket, GroupReply::Sync(SyncReply::refused(error)));
            }
        }
    }

    /// Starts a member's session anew.
    fn rearm(&self, cx: &mut Cx<'_>, member_id: &Arc<str>, timeout_ms: i32) {
        let at = cx.now.ticks.plus_ms(i64::from(timeout_ms));
        cx.timers.schedule(TimerKey::Session(self.id.clone(), member_id.clone()), at);
    }

    /// A sign of life from a member.
    pub(super) fn touch(&self, cx: &mut Cx<'_>, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            self.rearm(cx, &member.id, member.session_timeout_ms);
        }
    }

    /// Starts every member's session: the group has been read from the log.
    pub(super) fn touch_all(&self, cx: &mut Cx<'_>) {
        for member in self.members.values() {
            self.rearm(cx, &member.id, member.session_timeout_ms);
        }
    }

    fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// Whether a static member that was replaced leaves the vote as it was. In a stable group the protocol is what was voted for.
    fn votes_as_before(&self, old: &Member, new_id: &str) -> bool {
        let same = self.members.get(new_id).is_some_and(|new| new.prefers_as(old));
        same || self.sums.protocols <= GROUP_VOTE_PROTOCOLS_MAX && self.vote() == self.protocol_name
    }

    /// The protocol that all members know and most prefer; of several the first by name. None without members.
    fn vote(&self) -> Option<Arc<str>> {
        let known_to_all = |name: &Arc<str>| self.supported.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| known_to_all(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    /// The topics that members of a consumer group name in their metadata; None if that cannot be known.
    fn subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol_name.as_deref()?;
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// What the leader is told of the members.
    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let joined = |member: &Member| JoinedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(joined).collect()
    }

    /// A member's answer about the current generation.
    fn joined(&self, member_id: &Arc<str>) -> JoinReply {
        JoinReply {
            error: None,
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if self.is_leader(member_id) { self.joined_members() } else { Vec::new() },
        }
    }

    /// DescribeGroups.
    pub(super) fn describe(&self) -> DescribeReply {
        let stable = self.state == ClassicState::Stable;
        let protocol = self.protocol_name.clone().filter(|_| stable).unwrap_or_else(|| "".into());
        let described = |member: &Member| DescribedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(&protocol) } else { Arc::new([]) },
            assignment: member.assignment.clone(),
        };
        DescribeReply {
            group_id: self.id.to_string(),
            error: None,
            error_message: None,
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol_name: protocol.clone(),
            members: self.members.values().map(described).collect(),
        }
    }

    /// ListGroups.
    pub(super) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            state: self.state.name(),
            group_type: CLASSIC,
        }
    }
}
