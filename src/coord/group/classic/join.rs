//! JoinGroup (`GroupMetadataManager.classicGroupJoin…`): new members, members that come back, and static members whose
//! place a new client takes (KIP-345).

use super::rebalance::{maybe_complete, maybe_prepare, prepare};
use super::{ClassicGroup, ClassicState, Member, Protocols};
use crate::base::limits::{GROUP_MEMBER_ID_PREFIX_BYTES_MAX, GROUP_PENDING_MEMBERS_MAX};
use crate::coord::Ticket;
use crate::coord::group::Cx;
use crate::coord::group::error::GroupError;
use crate::coord::group::in_flight::{Change, Replaced, Then};
use crate::coord::group::reply::{GroupReply, JoinReply, SyncReply};
use crate::coord::group::request::{ClientInfo, JoinRequest};
use crate::coord::group::timers::TimerKey;
use std::sync::Arc;

/// From this version a dynamic member first gets an id and then joins with it (KIP-394).
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version a leader can be told to keep its assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// A JoinGroup with what surrounds it.
pub(in crate::coord::group) struct Join<'a> {
    pub(in crate::coord::group) ticket: Ticket,
    pub(in crate::coord::group) client: &'a ClientInfo,
    pub(in crate::coord::group) version: i16,
    pub(in crate::coord::group) request: &'a JoinRequest,
}

impl Join<'_> {
    fn refuse(&self, cx: &mut Cx<'_>, member_id: &str, error: GroupError) {
        cx.reply(self.ticket, GroupReply::Join(JoinReply::refused(member_id, error)));
    }

    /// The member's protocols, each name once.
    fn protocols(&self) -> Protocols {
        let mut protocols: Protocols = Vec::with_capacity(self.request.protocols.len());
        let mut seen = std::collections::BTreeSet::new();
        for (name, metadata) in &self.request.protocols {
            if seen.insert(name.as_str()) {
                protocols.push((name.as_str().into(), metadata.clone()));
            }
        }
        protocols
    }
}

/// Handles a JoinGroup to a group that exists, perhaps only since this request.
pub(in crate::coord::group) fn join(group: &mut ClassicGroup, cx: &mut Cx<'_>, join: &Join<'_>) {
    let request = join.request;
    let known = !request.member_id.is_empty();
    if !has_room(group, cx, &request.member_id) {
        group.remove(cx, &request.member_id);
        join.refuse(cx, "", GroupError::GroupMaxSizeReached);
    } else if !group.supports(&request.protocol_type, request.protocols.iter().map(|(name, _)| name.as_str()))
    {
        join.refuse(cx, &request.member_id, GroupError::InconsistentGroupProtocol);
    } else if request.metadata_bytes() > cx.config.record_bytes_max {
        join.refuse(cx, &request.member_id, GroupError::UnknownServerError);
    } else if !group.fits(request, cx.config.record_bytes_max) {
        join.refuse(cx, &request.member_id, GroupError::GroupMaxSizeReached);
    } else if known {
        join_known(group, cx, join);
    } else {
        join_unknown(group, cx, join);
    }
}

/// Whether `group.max.size` leaves room. While members rejoin, those that came first count, so that a group over its
/// size sheds the last.
fn has_room(group: &ClassicGroup, cx: &Cx<'_>, member_id: &str) -> bool {
    let member = group.members.get(member_id);
    let size_max = cx.config.size_max;
    match group.state {
        ClassicState::Empty => true,
        ClassicState::PreparingRebalance => {
            member.is_some_and(|m| m.awaiting_join.is_some()) || group.awaiting_join < size_max
        }
        ClassicState::CompletingRebalance | ClassicState::Stable => {
            member.is_some() || group.members.len() < size_max
        }
    }
}

fn join_unknown(group: &mut ClassicGroup, cx: &mut Cx<'_>, join: &Join<'_>) {
    let instance_id = join.request.group_instance_id.as_deref();
    let new_id = loop {
        let id = cx.new_member_id(instance_id.unwrap_or(&join.client.client_id));
        // Only a seed that is used twice makes an id twice.
        if !group.members.contains_key(&id) && !group.pending_join.contains(&id) {
            break id;
        }
    };
    match instance_id {
        Some(instance_id) => match group.static_members.get(instance_id).cloned() {
            Some(old_id) => replace_static(group, cx, join, &old_id, new_id),
            None => add_member(group, cx, join, new_id),
        },
        None if join.version < MEMBER_ID_REQUIRED_FROM => add_member(group, cx, join, new_id),
        None if group.pending_join.len() >= GROUP_PENDING_MEMBERS_MAX => {
            join.refuse(cx, "", GroupError::GroupMaxSizeReached);
        }
        None => {
            group.rearm(cx, &new_id, join.request.session_timeout_ms);
            join.refuse(cx, &new_id, GroupError::MemberIdRequired);
            group.pending_join.insert(new_id);
        }
    }
}

fn join_known(group: &mut ClassicGroup, cx: &mut Cx<'_>, join: &Join<'_>) {
    let request = join.request;
    let member_id = request.member_id.as_str();
    let instance_id = request.group_instance_id.as_deref();
    if group.pending_join.contains(member_id) {
        // A pending id was given to a dynamic member.
        return match instance_id {
            Some(_) => join.refuse(cx, member_id, GroupError::UnknownServerError),
            None => add_member(group, cx, join, member_id.into()),
        };
    }
    if let Err(error) = group.check_member(member_id, instance_id) {
        return join.refuse(cx, member_id, error);
    }
    let Some(member) = group.members.get(member_id) else { return };
    let protocols = join.protocols();
    let same = member.protocols == protocols;
    let current = match group.state {
        // Its answer may have been lost: the generation stands, and so does the member's metadata.
        ClassicState::CompletingRebalance => same,
        // A leader that joins again wants a rebalance: something that it assigns by has changed.
        ClassicState::Stable => same && !group.is_leader(member_id),
        ClassicState::PreparingRebalance => false,
        ClassicState::Empty => return join.refuse(cx, member_id, GroupError::UnknownMemberId),
    };
    if current {
        let reply = group.joined(&member.id);
        cx.reply(join.ticket, GroupReply::Join(reply));
    } else {
        update_member(group, cx, join, protocols);
        maybe_prepare(group, cx);
    }
}

/// A member's new metadata; its JoinGroup is parked.
fn update_member(group: &mut ClassicGroup, cx: &mut Cx<'_>, join: &Join<'_>, protocols: Protocols) {
    let member_id = join.request.member_id.as_str();
    let Some(mut member) = group.members.remove(member_id) else { return };
    group.discount(&member);
    member.session_timeout_ms = join.request.session_timeout_ms;
    member.rebalance_timeout_ms = join.request.rebalance_timeout_ms;
    (member.protocols, member.chosen) = (protocols, None);
    group.count(&member);
    match member.awaiting_join.replace(join.ticket) {
        None => group.awaiting_join += 1,
        Some(earlier) => {
            let reply = JoinReply::refused(member_id, GroupError::RebalanceInProgress);
            cx.reply(earlier, GroupReply::Join(reply));
        }
    }
    group.members.insert(member.id.clone(), member);
}

/// A new member; its JoinGroup is parked.
fn add_member(group: &mut ClassicGroup, cx: &mut Cx<'_>, join: &Join<'_>, member_id: Arc<str>) {
    let request = join.request;
    if let Some(initial) = &mut group.initial {
        initial.member_added = true;
    }
    if group.members.is_empty() {
        group.protocol_type = Some(request.protocol_type.as_str().into());
    }
    // The client cannot send heartbeats while it waits, and its disconnection goes unseen: it may wait only so long.
    group.rearm(cx, &member_id, cx.config.new_member_join_timeout_ms);
    group.add(Member {
        id: member_id,
        instance_id: request.group_instance_id.as_deref().map(Arc::from),
        client_id: join.client.client_id.as_str().into(),
        client_host: join.client.host.as_str().into(),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        session_timeout_ms: request.session_timeout_ms,
        protocols: join.protocols(),
        assignment: Arc::new([]),
        chosen: None,
        awaiting_join: Some(join.ticket),
        awaiting_sync: None,
        is_new: true,
    });
    maybe_prepare(group, cx);
}

/// A new client with the instance id of a member takes its place, and the old client is fenced.
fn replace_static(
    group: &mut ClassicGroup,
    cx: &mut Cx<'_>,
    join: &Join<'_>,
    old_id: &Arc<str>,
    new_id: Arc<str>,
) {
    let old_leader = group.leader.clone();
    let protocols = join.protocols();
    let Some(old) = swap_member(group, cx, old_id, |old| Member {
        id: new_id.clone(),
        protocols,
        chosen: None,
        rebalance_timeout_ms: join.request.rebalance_timeout_ms,
        session_timeout_ms: join.request.session_timeout_ms,
        awaiting_join: Some(join.ticket),
        awaiting_sync: None,
        is_new: false,
        ..old.clone()
    }) else {
        return;
    };
    if let Some(ticket) = old.awaiting_join {
        let reply = JoinReply::refused(old.id.clone(), GroupError::FencedInstanceId);
        cx.reply(ticket, GroupReply::Join(reply));
    }
    if let Some(ticket) = old.awaiting_sync {
        cx.reply(ticket, GroupReply::Sync(SyncReply::refused(GroupError::FencedInstanceId)));
    }
    match group.state {
        ClassicState::Stable if group.votes_as_before(&old, &new_id) => {
            // Nothing changes for the others: the new id is stored, and then the member goes on with its assignment.
            let knows_skip_assignment = join.version >= SKIP_ASSIGNMENT_FROM;
            let replaced = Replaced {
                ticket: join.ticket,
                old,
                new_member_id: new_id,
                old_leader,
                knows_skip_assignment,
            };
            let change = Change::store(group, |member| member.assignment.clone());
            let then = Then::Replaced(Box::new(replaced));
            cx.in_flight.push(cx.effects, Some(group.id.clone()), vec![change], Vec::new(), then);
        }
        ClassicState::Stable | ClassicState::Empty => maybe_prepare(group, cx),
        // The leader may hold the old id already: its assignment would miss the new one.
        ClassicState::CompletingRebalance => prepare(group, cx),
        ClassicState::PreparingRebalance => maybe_complete(group, cx),
    }
}

/// Puts a member in the place of another: leadership and what is due pass over.
fn swap_member(
    group: &mut ClassicGroup,
    cx: &mut Cx<'_>,
    old_id: &Arc<str>,
    new: impl FnOnce(&Member) -> Member,
) -> Option<Member> {
    let led = group.is_leader(old_id);
    let due = group.pending_sync.contains(old_id);
    let old = group.take(old_id)?;
    cx.timers.cancel(&TimerKey::Session(group.id.clone(), old_id.clone()));
    let new = new(&old);
    let new_id = new.id.clone();
    group.rearm(cx, &new_id, new.session_timeout_ms);
    let mut new = new;
    new.choose(group.protocol_name.as_ref());
    group.add(new);
    if led {
        group.leader = Some(new_id.clone());
    }
    if due {
        group.pending_sync.insert(new_id);
    }
    Some(old)
}

/// The new id of a static member is stored, or could not be stored.
pub(in crate::coord::group) fn replaced(
    group: &mut ClassicGroup,
    cx: &mut Cx<'_>,
    replaced: Replaced,
    outcome: Result<(), GroupError>,
) {
    let Some(member) = group.members.get_mut(&replaced.new_member_id) else { return };
    // A rebalance that began meanwhile answers the member, with its new id, when all have joined.
    if group.state != ClassicState::Stable || member.awaiting_join != Some(replaced.ticket) {
        return;
    }
    member.awaiting_join = None;
    group.awaiting_join -= 1;
    let reply = match outcome {
        Ok(()) => {
            group.touch(cx, &replaced.new_member_id);
            let mut reply = group.joined(&replaced.new_member_id);
            if replaced.knows_skip_assignment {
                reply.skip_assignment = group.is_leader(&replaced.new_member_id);
            } else {
                // Told of the old leader, an old client does not start to assign.
                reply.leader = replaced.old_leader.unwrap_or_else(|| "".into());
                reply.members = Vec::new();
            }
            reply
        }
        Err(error) => {
            let back = Member { awaiting_join: None, awaiting_sync: None, ..replaced.old };
            swap_member(group, cx, &replaced.new_member_id, |_| back);
            JoinReply::refused("", error)
        }
    };
    cx.reply(replaced.ticket, GroupReply::Join(reply));
}

impl Cx<'_> {
    /// A fresh member id: the client's or the instance's name, a dash and a random UUID.
    fn new_member_id(&mut self, prefix: &str) -> Arc<str> {
        let mut end = prefix.len().min(GROUP_MEMBER_ID_PREFIX_BYTES_MAX);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        let (high, low) = (self.prng.next_u64(), self.prng.next_u64());
        let uuid =
            uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        format!("{}-{}", prefix.get(..end).unwrap_or_default(), uuid.into_uuid()).into()
    }
}
