//! Rebalances: from "members are to join" to a new generation (`prepareRebalance` to `completeClassicGroupJoin`), and
//! what timers do to it.

use super::{ClassicGroup, ClassicState, InitialDelay};
use crate::base::limits::GROUP_REJOIN_WAIT_MS_MIN;
use crate::coord::group::Cx;
use crate::coord::group::error::GroupError;
use crate::coord::group::in_flight::{Change, Then};
use crate::coord::group::reply::{GroupReply, SyncReply};
use crate::coord::group::timers::TimerKey;
use std::sync::Arc;

/// Starts a rebalance, or, if one is being prepared, ends its join phase as soon as all have joined.
pub(super) fn maybe_prepare(group: &mut ClassicGroup, cx: &mut Cx<'_>) {
    if group.state == ClassicState::PreparingRebalance {
        maybe_complete(group, cx);
    } else {
        prepare(group, cx);
    }
}

/// Ends the join phase if all have joined; an initial rebalance waits for its delay.
pub(super) fn maybe_complete(group: &mut ClassicGroup, cx: &mut Cx<'_>) {
    if group.state == ClassicState::PreparingRebalance && group.initial.is_none() && group.all_joined() {
        complete(group, cx);
    }
}

/// Starts a rebalance.
pub(in crate::coord::group) fn prepare(group: &mut ClassicGroup, cx: &mut Cx<'_>) {
    if group.state == ClassicState::CompletingRebalance {
        withdraw_assignments(group, cx, GroupError::RebalanceInProgress);
    }
    group.pending_sync.clear();
    cx.timers.cancel(&TimerKey::Sync(group.id.clone()));
    let was_empty = group.state == ClassicState::Empty;
    group.enter(ClassicState::PreparingRebalance, cx.now.wall_ms);
    if was_empty {
        // The group is new: give more members the time to join.
        let delay_ms = cx.config.initial_rebalance_delay_ms;
        let remaining_ms = (group.rebalance_timeout_ms() - delay_ms).max(0);
        group.initial = Some(InitialDelay { delay_ms, remaining_ms, member_added: false });
        schedule_join(group, cx, delay_ms);
    } else if group.all_joined() {
        complete(group, cx);
    } else {
        schedule_join(group, cx, group.rebalance_timeout_ms());
    }
}

fn schedule_join(group: &ClassicGroup, cx: &mut Cx<'_>, delay_ms: i32) {
    let at = cx.now.ticks.plus_ms(i64::from(delay_ms));
    cx.timers.schedule(TimerKey::Join(group.id.clone()), at);
}

/// The join timer: an initial delay that new members extend, or the rebalance timeout.
pub(in crate::coord::group) fn end_join(group: &mut ClassicGroup, cx: &mut Cx<'_>) {
    if group.state != ClassicState::PreparingRebalance {
        return;
    }
    match &mut group.initial {
        Some(initial) if initial.member_added && initial.remaining_ms > 0 => {
            let delay_ms = cx.config.initial_rebalance_delay_ms.min(initial.remaining_ms);
            *initial = InitialDelay {
                delay_ms,
                remaining_ms: (initial.remaining_ms - initial.delay_ms).max(0),
                member_added: false,
            };
            schedule_join(group, cx, delay_ms);
        }
        _ => complete(group, cx),
    }
}

/// Ends the join phase: who has not joined goes, and the others are a new generation.
pub(super) fn complete(group: &mut ClassicGroup, cx: &mut Cx<'_>) {
    cx.timers.cancel(&TimerKey::Join(group.id.clone()));
    let late = |m: &&super::Member| m.awaiting_join.is_none() && m.instance_id.is_none();
    let late: Vec<Arc<str>> = group.members.values().filter(late).map(|m| m.id.clone()).collect();
    for member_id in late {
        group.remove(cx, &member_id);
    }
    if !elect_leader(group) && !group.members.is_empty() {
        // Only static members that are away: their sessions decide, and until then we look again now and then.
        let delay_ms = group.rebalance_timeout_ms().max(GROUP_REJOIN_WAIT_MS_MIN);
        return schedule_join(group, cx, delay_ms);
    }
    group.initial = None;
    group.generation = group.generation.checked_add(1).unwrap_or(0);
    group.pending_sync.clear();
    group.protocol_name = group.vote();
    let protocol = group.protocol_name.clone();
    group.members.values_mut().for_each(|member| member.choose(protocol.as_ref()));
    group.subscribed = group.subscriptions();
    if group.members.is_empty() {
        group.enter(ClassicState::Empty, cx.now.wall_ms);
        // If this record is lost, the generation before lives on in the log, and its members time out.
        let change = Change::store(group, |member| member.assignment.clone());
        cx.in_flight.push(cx.effects, Some(group.id.clone()), vec![change], Vec::new(), Then::Nothing);
    } else {
        group.enter(ClassicState::CompletingRebalance, cx.now.wall_ms);
        announce(group, cx);
    }
}

/// Makes sure that the leader is one who has joined. False if nobody has.
fn elect_leader(group: &mut ClassicGroup) -> bool {
    let has_joined = |id: &Arc<str>| group.members.get(id).is_some_and(|m| m.awaiting_join.is_some());
    if group.leader.as_ref().is_some_and(has_joined) {
        return true;
    }
    match group.members.values().find(|m| m.awaiting_join.is_some()) {
        Some(member) => {
            group.leader = Some(member.id.clone());
            true
        }
        None => false,
    }
}

/// Tells all members of the new generation, and waits for their SyncGroup.
fn announce(group: &mut ClassicGroup, cx: &mut Cx<'_>) {
    let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for id in ids {
        let reply = group.joined(&id);
        let Some(member) = group.members.get_mut(&id) else { continue };
        member.is_new = false;
        if let Some(ticket) = member.awaiting_join.take() {
            group.awaiting_join -= 1;
            cx.reply(ticket, GroupReply::Join(reply));
        }
        group.touch(cx, &id);
        group.pending_sync.insert(id);
    }
    let at = cx.now.ticks.plus_ms(i64::from(group.rebalance_timeout_ms()));
    cx.timers.schedule(TimerKey::Sync(group.id.clone()), at);
}

/// Members that have not sent SyncGroup in time go.
pub(in crate::coord::group) fn end_sync(group: &mut ClassicGroup, cx: &mut Cx<'_>) {
    let in_generation = matches!(group.state, ClassicState::CompletingRebalance | ClassicState::Stable);
    if !in_generation || group.pending_sync.is_empty() {
        return;
    }
    for member_id in std::mem::take(&mut group.pending_sync) {
        group.remove(cx, &member_id);
    }
    prepare(group, cx);
}

/// A member, or an id that was given out, has been silent for its session timeout.
pub(in crate::coord::group) fn expire_session(group: &mut ClassicGroup, cx: &mut Cx<'_>, member_id: &str) {
    match group.members.get(member_id) {
        Some(member) if member.is_excused() => {}
        Some(_) => {
            group.remove(cx, member_id);
            after_departure(group, cx, true);
        }
        None if group.pending_join.remove(member_id) => after_departure(group, cx, false),
        None => {}
    }
}

/// Goes on after a member (or only an id) has gone.
fn after_departure(group: &mut ClassicGroup, cx: &mut Cx<'_>, was_member: bool) {
    match group.state {
        ClassicState::Stable | ClassicState::CompletingRebalance if was_member => prepare(group, cx),
        ClassicState::PreparingRebalance if group.all_joined() => complete(group, cx),
        _ => {}
    }
}

/// Clears the assignments of a generation, and tells those who wait for theirs why.
pub(super) fn withdraw_assignments(group: &mut ClassicGroup, cx: &mut Cx<'_>, error: GroupError) {
    let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for id in ids {
        let Some(member) = group.members.get_mut(&id) else { continue };
        member.assignment = Arc::new([]);
        if let Some(ticket) = member.awaiting_sync.take() {
            cx.reply(ticket, GroupReply::Sync(SyncReply::refused(error)));
            group.touch(cx, &id);
        }
    }
}
