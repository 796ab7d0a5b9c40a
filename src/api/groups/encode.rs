//! Replies of the coordinator as responses.

use crate::coord::group::reply::{GroupReply, JoinReply, LeaveReply};
use crate::coord::group::{GroupError, error_code};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use crate::wire::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::wire::messages::heartbeat_response::HeartbeatResponse;
use crate::wire::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use crate::wire::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use crate::wire::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use crate::wire::messages::sync_group_response::SyncGroupResponse;

use super::super::cx::Outcome;
use super::super::k03_metadata::GROUP_OPERATIONS;
use super::super::reply as respond;
use super::{Several, deleted, described, listed};

type Reply = Result<GroupReply, ErrorCode>;

/// The code of a reply that is not of the kind that was asked for.
fn code(reply: &Reply) -> i16 {
    reply.as_ref().err().copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR).code()
}

pub(super) fn join(reply: Reply, member_id: &str, version: i16) -> Outcome {
    match &reply {
        Ok(GroupReply::Join(joined)) => respond(&joined_response(joined, version), version),
        other => {
            let response = JoinGroupResponse {
                error_code: code(other),
                protocol_name: Some("").filter(|_| version < 7),
                member_id,
                ..Default::default()
            };
            respond(&response, version)
        }
    }
}

fn joined_response(joined: &JoinReply, version: i16) -> JoinGroupResponse<'_> {
    let protocol_name = joined.protocol_name.as_deref();
    JoinGroupResponse {
        error_code: error_code(joined.error),
        generation_id: joined.generation_id,
        protocol_type: joined.protocol_type.as_deref(),
        protocol_name: if version < 7 { Some(protocol_name.unwrap_or_default()) } else { protocol_name },
        leader: &joined.leader,
        skip_assignment: joined.skip_assignment && version >= 9,
        member_id: &joined.member_id,
        members: joined
            .members
            .iter()
            .map(|m| JoinGroupResponseMember {
                member_id: &m.member_id,
                group_instance_id: m.group_instance_id.as_deref(),
                metadata: &m.metadata,
            })
            .collect(),
        ..Default::default()
    }
}

pub(super) fn sync(reply: Reply, version: i16) -> Outcome {
    let response = match &reply {
        Ok(GroupReply::Sync(synced)) => SyncGroupResponse {
            error_code: error_code(synced.error),
            protocol_type: synced.protocol_type.as_deref(),
            protocol_name: synced.protocol_name.as_deref(),
            assignment: &synced.assignment,
            ..Default::default()
        },
        other => SyncGroupResponse { error_code: code(other), ..Default::default() },
    };
    respond(&response, version)
}

pub(super) fn heartbeat(reply: Reply, version: i16) -> Outcome {
    let error_code = match &reply {
        Ok(GroupReply::Heartbeat(error)) => error_code(*error),
        other => code(other),
    };
    respond(&HeartbeatResponse { error_code, ..Default::default() }, version)
}

pub(super) fn leave(reply: Reply, version: i16) -> Outcome {
    let response = match &reply {
        Ok(GroupReply::Leave(left)) => left_response(left, version),
        other => LeaveGroupResponse { error_code: code(other), ..Default::default() },
    };
    respond(&response, version)
}

fn left_response(left: &LeaveReply, version: i16) -> LeaveGroupResponse<'_> {
    let first = left.members.first().and_then(|m| m.error);
    LeaveGroupResponse {
        error_code: error_code(left.error.or(if version < 3 { first } else { None })),
        members: match version {
            0..=2 => Vec::new(),
            _ => left
                .members
                .iter()
                .map(|m| MemberResponse {
                    member_id: &m.member_id,
                    group_instance_id: m.group_instance_id.as_deref(),
                    error_code: error_code(m.error),
                })
                .collect(),
        },
        ..Default::default()
    }
}

pub(super) fn describe(several: &Several) -> Outcome {
    let version = several.version;
    let authorized_operations = if several.operations { GROUP_OPERATIONS } else { i32::MIN };
    let groups = several
        .each()
        .map(|(group_id, reply)| {
            let Some(found) = reply.as_ref().ok().and_then(|r| described(r)) else {
                return DescribedGroup {
                    error_code: reply.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR).code(),
                    group_id,
                    ..Default::default()
                };
            };
            DescribedGroup {
                error_code: error_code(found.error),
                error_message: found.error_message.as_deref(),
                group_id,
                group_state: found.state,
                protocol_type: &found.protocol_type,
                protocol_data: &found.protocol_name,
                members: found
                    .members
                    .iter()
                    .map(|m| DescribedGroupMember {
                        member_id: &m.member_id,
                        group_instance_id: m.group_instance_id.as_deref(),
                        client_id: &m.client_id,
                        client_host: &m.client_host,
                        member_metadata: &m.metadata,
                        member_assignment: &m.assignment,
                    })
                    .collect(),
                authorized_operations: if found.error.is_none() { authorized_operations } else { i32::MIN },
            }
        })
        .collect();
    let mut response = DescribeGroupsResponse { groups, ..Default::default() };
    if version < 6 {
        response.groups.iter_mut().for_each(|g| g.error_message = None);
    }
    respond(&response, version)
}

pub(super) fn delete(several: &Several) -> Outcome {
    let results = several
        .each()
        .map(|(group_id, reply)| {
            let error_code = match reply {
                Ok(reply) => {
                    error_code(deleted(reply).map_or(Some(GroupError::UnknownServerError), |d| d.error))
                }
                Err(code) => code.code(),
            };
            DeletableGroupResult { group_id, error_code }
        })
        .collect();
    respond(&DeleteGroupsResponse { results, ..Default::default() }, several.version)
}

pub(super) fn list(several: &Several) -> Outcome {
    let mut response = ListGroupsResponse::default();
    for (_, reply) in several.each() {
        match reply.map(listed) {
            Ok(Some(part)) => {
                response.error_code = error_code(part.error).max(response.error_code);
                response.groups.extend(part.groups.iter().map(|g| ListedGroup {
                    group_id: &g.group_id,
                    protocol_type: &g.protocol_type,
                    group_state: g.state,
                    group_type: g.group_type,
                }));
            }
            Ok(None) => {}
            Err(code) => response.error_code = code.code(),
        }
    }
    response.groups.sort_by(|a, b| a.group_id.cmp(b.group_id));
    respond(&response, several.version)
}
