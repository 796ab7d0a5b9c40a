//! SyncGroup (`GroupMetadataManager.classicGroupSync`): the leader's assignment is stored, then everyone gets a share.

use super::rebalance::{maybe_prepare, withdraw_assignments};
use super::{ClassicGroup, ClassicState};
use crate::coord::Ticket;
use crate::coord::group::Cx;
use crate::coord::group::error::GroupError;
use crate::coord::group::in_flight::{Change, Then};
use crate::coord::group::reply::{GroupReply, SyncReply};
use crate::coord::group::request::SyncRequest;
use crate::coord::group::timers::TimerKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Handles a SyncGroup.
pub(in crate::coord::group) fn sync(
    group: &mut ClassicGroup,
    cx: &mut Cx<'_>,
    ticket: Ticket,
    request: &SyncRequest,
) {
    let refusal = match check(group, request) {
        Err(error) => Some(error),
        Ok(()) if group.state == ClassicState::PreparingRebalance => Some(GroupError::RebalanceInProgress),
        Ok(()) => None,
    };
    if let Some(error) = refusal {
        return cx.reply(ticket, GroupReply::Sync(SyncReply::refused(error)));
    }
    group.pending_sync.remove(request.member_id.as_str());
    if group.pending_sync.is_empty() {
        cx.timers.cancel(&TimerKey::Sync(group.id.clone()));
    }
    let is_leader = group.is_leader(&request.member_id);
    let (protocol_type, protocol_name) = (group.protocol_type.clone(), group.protocol_name.clone());
    let Some(member) = group.members.get_mut(request.member_id.as_str()) else { return };
    if group.state == ClassicState::Stable {
        let assignment = member.assignment.clone();
        let reply = SyncReply { error: None, protocol_type, protocol_name, assignment };
        return cx.reply(ticket, GroupReply::Sync(reply));
    }
    if let Some(earlier) = member.awaiting_sync.replace(ticket) {
        cx.reply(earlier, GroupReply::Sync(SyncReply::refused(GroupError::RebalanceInProgress)));
    }
    // A leader that asks again, having lost patience, does not change its mind: a generation has one assignment.
    if is_leader && !cx.in_flight.assigns(&group.id, group.generation) {
        store(group, cx, request);
    }
}

fn check(group: &ClassicGroup, request: &SyncRequest) -> Result<(), GroupError> {
    group.check_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation {
        return Err(GroupError::IllegalGeneration);
    }
    let differs = |asked: &Option<String>, is: &Option<Arc<str>>| {
        asked.as_deref().is_some_and(|asked| Some(asked) != is.as_deref())
    };
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol_name)
    {
        return Err(GroupError::InconsistentGroupProtocol);
    }
    Ok(())
}

/// Writes the leader's assignment to the log; members that it forgot get an empty one.
fn store(group: &mut ClassicGroup, cx: &mut Cx<'_>, request: &SyncRequest) {
    let mut assignments: BTreeMap<Arc<str>, Arc<[u8]>> = BTreeMap::new();
    for (member_id, assignment) in &request.assignments {
        if let Some((id, _)) = group.members.get_key_value(member_id.as_str()) {
            assignments.insert(id.clone(), assignment.clone());
        }
    }
    let change =
        Change::store(group, |member| assignments.get(&member.id).cloned().unwrap_or_else(|| Arc::new([])));
    let then = Then::Assigned { generation: group.generation, assignments };
    cx.in_flight.push(cx.effects, Some(group.id.clone()), vec![change], Vec::new(), then);
}

/// The assignment is stored, or could not be stored.
pub(in crate::coord::group) fn assigned(
    group: &mut ClassicGroup,
    cx: &mut Cx<'_>,
    generation: i32,
    mut assignments: BTreeMap<Arc<str>, Arc<[u8]>>,
    outcome: Result<(), GroupError>,
) {
    // Another rebalance may have begun meanwhile; it has told the members.
    if group.state != ClassicState::CompletingRebalance || group.generation != generation {
        return;
    }
    if let Err(error) = outcome {
        withdraw_assignments(group, cx, error);
        return maybe_prepare(group, cx);
    }
    let (protocol_type, protocol_name) = (group.protocol_type.clone(), group.protocol_name.clone());
    let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for id in ids {
        let Some(member) = group.members.get_mut(&id) else { continue };
        member.assignment = assignments.remove(&id).unwrap_or_else(|| Arc::new([]));
        if let Some(ticket) = member.awaiting_sync.take() {
            let reply = SyncReply {
                error: None,
                protocol_type: protocol_type.clone(),
                protocol_name: protocol_name.clone(),
                assignment: member.assignment.clone(),
            };
            cx.reply(ticket, GroupReply::Sync(reply));
            // Its session was excused while the request was parked.
            group.touch(cx, &id);
        }
    }
    group.enter(ClassicState::Stable, cx.now.wall_ms);
}
