//! Heartbeat and LeaveGroup (`GroupMetadataManager.classicGroupHeartbeat`, `classicGroupLeave`).

use super::rebalance::{maybe_complete, prepare};
use super::{ClassicGroup, ClassicState};
use crate::coord::group::Cx;
use crate::coord::group::error::GroupError;
use crate::coord::group::reply::{LeaveReply, LeftMember};
use crate::coord::group::request::{HeartbeatRequest, LeaveRequest, LeavingMember};
use std::sync::Arc;

/// Handles a Heartbeat.
pub(in crate::coord::group) fn heartbeat(
    group: &mut ClassicGroup,
    cx: &mut Cx<'_>,
    request: &HeartbeatRequest,
) -> Option<GroupError> {
    if let Err(error) = group.check_member(&request.member_id, request.group_instance_id.as_deref()) {
        return Some(error);
    }
    if request.generation_id != group.generation {
        return Some(GroupError::IllegalGeneration);
    }
    match group.state {
        ClassicState::Empty => Some(GroupError::UnknownMemberId),
        ClassicState::PreparingRebalance => {
            group.touch(cx, &request.member_id);
            Some(GroupError::RebalanceInProgress)
        }
        ClassicState::CompletingRebalance | ClassicState::Stable => {
            group.touch(cx, &request.member_id);
            None
        }
    }
}

/// Handles a LeaveGroup: those who may go do, and then the group is rebalanced once.
pub(in crate::coord::group) fn leave(
    group: &mut ClassicGroup,
    cx: &mut Cx<'_>,
    request: LeaveRequest,
) -> LeaveReply {
    let members: Vec<LeftMember> =
        request.members.into_iter().map(|member| leave_one(group, cx, member)).collect();
    if members.iter().any(|member| member.error.is_none()) {
        match group.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => prepare(group, cx),
            ClassicState::PreparingRebalance => maybe_complete(group, cx),
            ClassicState::Empty => {}
        }
    }
    LeaveReply { error: None, members }
}

fn leave_one(group: &mut ClassicGroup, cx: &mut Cx<'_>, leaving: LeavingMember) -> LeftMember {
    let error = match who_leaves(group, &leaving) {
        Ok(member_id) => {
            group.remove(cx, &member_id);
            None
        }
        Err(error) => Some(error),
    };
    LeftMember { member_id: leaving.member_id, group_instance_id: leaving.group_instance_id, error }
}

fn who_leaves(group: &ClassicGroup, leaving: &LeavingMember) -> Result<Arc<str>, GroupError> {
    let instance_id = leaving.group_instance_id.as_deref();
    if leaving.member_id.is_empty() {
        // An administrator names a static member by its instance id alone.
        let current = instance_id.and_then(|id| group.static_members.get(id));
        return current.cloned().ok_or(GroupError::UnknownMemberId);
    }
    if !group.pending_join.contains(leaving.member_id.as_str()) {
        group.check_member(&leaving.member_id, instance_id)?;
    }
    Ok(leaving.member_id.as_str().into())
}
