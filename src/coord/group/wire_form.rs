//! Between the wire's messages and the coordinator's requests and replies: every difference between API versions that is
//! only one of form.

use super::classic::{CLASSIC, ClassicState};
use super::error::error_code;
use super::reply::{
    CommitReply, DeleteOffsetsReply, DeleteReply, DescribeReply, FetchReply, JoinReply, LeaveReply,
    ListReply, SyncReply,
};
use super::request::{
    CommitPartition, CommitRequest, CommitTopic, DeleteOffsetsRequest, FetchRequest, FetchTopic,
    HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, ListRequest, SyncRequest,
};
use crate::base::TopicId;
use crate::wire::messages as wire;
use crate::wire::messages::{
    delete_groups_response, describe_groups_response, join_group_response, leave_group_response,
    list_groups_response, offset_commit_response, offset_delete_response, offset_fetch_response,
};
use std::collections::BTreeSet;

/// A state or type that no group is in.
const NO_GROUP: &str = "none";

/// From this version OffsetFetch asks for several groups (KIP-709).
const FETCH_GROUPS_FROM: i16 = 8;
/// From this version LeaveGroup names several members (KIP-345).
const LEAVE_MEMBERS_FROM: i16 = 3;
/// From this version JoinGroup's protocol name may be null.
const JOIN_NULL_PROTOCOL_FROM: i16 = 7;

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

impl JoinRequest {
    /// From JoinGroup of a version.
    pub fn from_wire(request: &wire::JoinGroupRequest<'_>, version: i16) -> JoinRequest {
        let protocols = request.protocols.iter().map(|p| (p.name.to_owned(), p.metadata.into()));
        JoinRequest {
            group_id: request.group_id.to_owned(),
            member_id: request.member_id.to_owned(),
            group_instance_id: owned(request.group_instance_id),
            protocol_type: request.protocol_type.to_owned(),
            protocols: protocols.collect(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: match version {
                0 => request.session_timeout_ms,
                _ => request.rebalance_timeout_ms,
            },
        }
    }
}

impl SyncRequest {
    /// From SyncGroup.
    pub fn from_wire(request: &wire::SyncGroupRequest<'_>) -> SyncRequest {
        let assignments = request.assignments.iter().map(|a| (a.member_id.to_owned(), a.assignment.into()));
        SyncRequest {
            group_id: request.group_id.to_owned(),
            generation_id: request.generation_id,
            member_id: request.member_id.to_owned(),
            group_instance_id: owned(request.group_instance_id),
            protocol_type: owned(request.protocol_type),
            protocol_name: owned(request.protocol_name),
            assignments: assignments.collect(),
        }
    }
}

impl HeartbeatRequest {
    /// From Heartbeat.
    pub fn from_wire(request: &wire::HeartbeatRequest<'_>) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: request.group_id.to_owned(),
            generation_id: request.generation_id,
            member_id: request.member_id.to_owned(),
            group_instance_id: owned(request.group_instance_id),
        }
    }
}

impl LeaveRequest {
    /// From LeaveGroup of a version.
    pub fn from_wire(request: &wire::LeaveGroupRequest<'_>, version: i16) -> LeaveRequest {
        let members = if version < LEAVE_MEMBERS_FROM {
            vec![LeavingMember { member_id: request.member_id.to_owned(), group_instance_id: None }]
        } else {
            let leaving = request.members.iter().map(|member| LeavingMember {
                member_id: member.member_id.to_owned(),
                group_instance_id: owned(member.group_instance_id),
            });
            leaving.collect()
        };
        LeaveRequest { group_id: request.group_id.to_owned(), members }
    }
}

impl CommitRequest {
    /// From OffsetCommit. Names (v10 has ids only) and ids (others have names only) are the caller's to fill in, and
    /// topics and partitions that do not exist the caller's to leave out.
    pub fn from_wire(request: &wire::OffsetCommitRequest<'_>) -> CommitRequest {
        let partition =
            |partition: &wire::offset_commit_request::OffsetCommitRequestPartition<'_>| CommitPartition {
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: owned(partition.committed_metadata),
            };
        let topics = request.topics.iter().map(|topic| CommitTopic {
            name: topic.name.to_owned(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(partition).collect(),
        });
        CommitRequest {
            group_id: request.group_id.to_owned(),
            generation_id: request.generation_id_or_member_epoch,
            member_id: request.member_id.to_owned(),
            group_instance_id: owned(request.group_instance_id),
            retention_time_ms: request.retention_time_ms,
            topics: topics.collect(),
        }
    }
}

impl FetchRequest {
    /// From OffsetFetch of a version: one request for each group. From version 10 topics have ids only, and the names
    /// are the caller's to fill in.
    pub fn from_wire(request: &wire::OffsetFetchRequest<'_>, version: i16) -> Vec<FetchRequest> {
        let require_stable = request.require_stable;
        if version < FETCH_GROUPS_FROM {
            let topics = request.topics.as_ref().map(|topics| {
                let topics = topics.iter().map(|topic| FetchTopic {
                    name: topic.name.to_owned(),
                    topic_id: TopicId::ZERO,
                    partitions: topic.partition_indexes.clone(),
                });
                topics.collect()
            });
            return vec![FetchRequest { group_id: request.group_id.to_owned(), topics, require_stable }];
        }
        request.groups.iter().map(|group| FetchRequest::of_group(group, require_stable)).collect()
    }

    /// From one group of OffsetFetch of version 8 or later.
    pub fn of_group(
        group: &wire::offset_fetch_request::OffsetFetchRequestGroup<'_>,
        require_stable: bool,
    ) -> FetchRequest {
        let topics = group.topics.as_ref().map(|topics| {
            let topics = topics.iter().map(|topic| FetchTopic {
                name: topic.name.to_owned(),
                topic_id: topic.topic_id,
                partitions: topic.partition_indexes.clone(),
            });
            topics.collect()
        });
        FetchRequest { group_id: group.group_id.to_owned(), topics, require_stable }
    }
}

impl DeleteOffsetsRequest {
    /// From OffsetDelete; topics and partitions that do not exist are the caller's to leave out.
    pub fn from_wire(request: &wire::OffsetDeleteRequest<'_>) -> DeleteOffsetsRequest {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
            (topic.name.to_owned(), partitions.collect())
        });
        DeleteOffsetsRequest { group_id: request.group_id.to_owned(), topics: topics.collect() }
    }
}

impl ListRequest {
    /// From ListGroups.
    pub fn from_wire(request: &wire::ListGroupsRequest<'_>) -> ListRequest {
        let states = ClassicState::ALL.map(ClassicState::name);
        ListRequest {
            states: filter(request.states_filter.iter().map(|state| state.trim()), &states),
            types: filter(request.types_filter.iter().copied(), &[CLASSIC]),
        }
    }
}

/// What a filter lets through: every core reads it for every group, so of names that no group has only one is kept.
fn filter<'a>(named: impl Iterator<Item = &'a str>, known: &[&str]) -> Vec<String> {
    let mut kept = BTreeSet::new();
    for name in named {
        kept.insert(known.iter().find(|k| k.eq_ignore_ascii_case(name)).copied().unwrap_or(NO_GROUP));
    }
    kept.into_iter().map(str::to_owned).collect()
}

impl JoinReply {
    /// As JoinGroup's response of a version.
    pub fn to_wire(&self, version: i16) -> wire::JoinGroupResponse<'_> {
        let name = self.protocol_name.as_deref();
        let members = self.members.iter().map(|member| join_group_response::JoinGroupResponseMember {
            member_id: &member.member_id,
            group_instance_id: member.group_instance_id.as_deref(),
            metadata: &member.metadata,
        });
        wire::JoinGroupResponse {
            error_code: error_code(self.error),
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.as_deref(),
            protocol_name: match version {
                ..JOIN_NULL_PROTOCOL_FROM => Some(name.unwrap_or_default()),
                _ => name.filter(|name| !name.is_empty()),
            },
            leader: &self.leader,
            skip_assignment: self.skip_assignment,
            member_id: &self.member_id,
            members: members.collect(),
            ..wire::JoinGroupResponse::default()
        }
    }
}

impl SyncReply {
    /// As SyncGroup's response.
    pub fn to_wire(&self) -> wire::SyncGroupResponse<'_> {
        wire::SyncGroupResponse {
            error_code: error_code(self.error),
            protocol_type: self.protocol_type.as_deref(),
            protocol_name: self.protocol_name.as_deref(),
            assignment: &self.assignment,
            ..wire::SyncGroupResponse::default()
        }
    }
}

impl LeaveReply {
    /// As LeaveGroup's response of a version; the first ones have room for one member's error only.
    pub fn to_wire(&self, version: i16) -> wire::LeaveGroupResponse<'_> {
        if version < LEAVE_MEMBERS_FROM {
            let error = self.error.or_else(|| self.members.first().and_then(|member| member.error));
            let error_code = error_code(error);
            return wire::LeaveGroupResponse { error_code, ..wire::LeaveGroupResponse::default() };
        }
        let members = self.members.iter().map(|member| leave_group_response::MemberResponse {
            member_id: &member.member_id,
            group_instance_id: member.group_instance_id.as_deref(),
            error_code: error_code(member.error),
        });
        wire::LeaveGroupResponse {
            error_code: error_code(self.error),
            members: members.collect(),
            ..wire::LeaveGroupResponse::default()
        }
    }
}

impl CommitReply {
    /// As OffsetCommit's response; the caller adds what it left out of the request.
    pub fn to_wire(&self) -> wire::OffsetCommitResponse<'_> {
        let topics = self.topics.iter().map(|topic| offset_commit_response::OffsetCommitResponseTopic {
            name: &topic.name,
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|(partition, error)| offset_commit_response::OffsetCommitResponsePartition {
                    partition_index: *partition,
                    error_code: error_code(*error),
                })
                .collect(),
        });
        wire::OffsetCommitResponse { topics: topics.collect(), ..wire::OffsetCommitResponse::default() }
    }
}

impl FetchReply {
    /// All groups' replies as OffsetFetch's response of a version. Before version 8 there is one group.
    pub fn to_wire(replies: &[FetchReply], version: i16) -> wire::OffsetFetchResponse<'_> {
        if version >= FETCH_GROUPS_FROM {
            let groups = replies.iter().map(FetchReply::to_wire_group).collect();
            return wire::OffsetFetchResponse { groups, ..wire::OffsetFetchResponse::default() };
        }
        let Some(reply) = replies.first() else { return wire::OffsetFetchResponse::default() };
        let topics = reply.topics.iter().map(|topic| offset_fetch_response::OffsetFetchResponseTopic {
            name: &topic.name,
            partitions: topic
                .partitions
                .iter()
                .map(|offset| offset_fetch_response::OffsetFetchResponsePartition {
                    partition_index: offset.partition,
                    committed_offset: offset.offset,
                    committed_leader_epoch: offset.leader_epoch,
                    metadata: Some(&offset.metadata),
                    error_code: error_code(offset.error),
                })
                .collect(),
        });
        wire::OffsetFetchResponse {
            topics: topics.collect(),
            // Before version 2 the error stands at each partition only.
            error_code: if version >= 2 { error_code(reply.error) } else { 0 },
            ..wire::OffsetFetchResponse::default()
        }
    }

    /// As one group of OffsetFetch's response of version 8 or later.
    pub fn to_wire_group(&self) -> offset_fetch_response::OffsetFetchResponseGroup<'_> {
        let topics = self.topics.iter().map(|topic| offset_fetch_response::OffsetFetchResponseTopics {
            name: &topic.name,
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|offset| offset_fetch_response::OffsetFetchResponsePartitions {
                    partition_index: offset.partition,
                    committed_offset: offset.offset,
                    committed_leader_epoch: offset.leader_epoch,
                    metadata: Some(&offset.metadata),
                    error_code: error_code(offset.error),
                })
                .collect(),
        });
        offset_fetch_response::OffsetFetchResponseGroup {
            group_id: &self.group_id,
            topics: topics.collect(),
            error_code: error_code(self.error),
        }
    }
}

impl DeleteOffsetsReply {
    /// As OffsetDelete's response; the caller adds what it left out of the request.
    pub fn to_wire(&self) -> wire::OffsetDeleteResponse<'_> {
        let topics = self.topics.iter().map(|topic| offset_delete_response::OffsetDeleteResponseTopic {
            name: &topic.name,
            partitions: topic
                .partitions
                .iter()
                .map(|(partition, error)| offset_delete_response::OffsetDeleteResponsePartition {
                    partition_index: *partition,
                    error_code: error_code(*error),
                })
                .collect(),
        });
        wire::OffsetDeleteResponse {
            error_code: error_code(self.error),
            topics: topics.collect(),
            ..wire::OffsetDeleteResponse::default()
        }
    }
}

impl DescribeReply {
    /// As one group of DescribeGroups' response; the caller adds the authorized operations.
    pub fn to_wire(&self) -> describe_groups_response::DescribedGroup<'_> {
        let members = self.members.iter().map(|member| describe_groups_response::DescribedGroupMember {
            member_id: &member.member_id,
            group_instance_id: member.group_instance_id.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            member_metadata: &member.metadata,
            member_assignment: &member.assignment,
        });
        describe_groups_response::DescribedGroup {
            error_code: error_code(self.error),
            error_message: self.error_message.as_deref(),
            group_id: &self.group_id,
            group_state: self.state,
            protocol_type: &self.protocol_type,
            protocol_data: &self.protocol_name,
            members: members.collect(),
            ..describe_groups_response::DescribedGroup::default()
        }
    }
}

impl DeleteReply {
    /// As one result of DeleteGroups' response.
    pub fn to_wire(&self) -> delete_groups_response::DeletableGroupResult<'_> {
        delete_groups_response::DeletableGroupResult {
            group_id: &self.group_id,
            error_code: error_code(self.error),
        }
    }
}

impl ListReply {
    /// All partitions' replies as ListGroups' response: the first error, or all groups.
    pub fn to_wire(replies: &[ListReply]) -> wire::ListGroupsResponse<'_> {
        if let Some(error) = replies.iter().find_map(|reply| reply.error) {
            return wire::ListGroupsResponse {
                error_code: error.code(),
                ..wire::ListGroupsResponse::default()
            };
        }
        let groups =
            replies.iter().flat_map(|reply| &reply.groups).map(|group| list_groups_response::ListedGroup {
                group_id: &group.group_id,
                protocol_type: &group.protocol_type,
                group_state: group.state,
                group_type: group.group_type,
            });
        wire::ListGroupsResponse { groups: groups.collect(), ..wire::ListGroupsResponse::default() }
    }
}
