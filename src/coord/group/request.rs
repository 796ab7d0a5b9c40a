//! Requests as the coordinator takes them: owned, so that they travel between cores; free of API versions where a
//! version only changes the encoding.

use crate::base::TopicId;
use crate::base::limits::GROUP_PROTOCOL_BYTES;
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client id of the request header; empty if there was none.
    pub client_id: String,
    /// The client's address as Kafka writes it: a slash and the address, such as `/127.0.0.1`.
    pub host: String,
}

/// A request that concerns one group, or all groups of this partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRequest {
    /// JoinGroup (11).
    Join(JoinRequest),
    /// SyncGroup (14).
    Sync(SyncRequest),
    /// Heartbeat (12).
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup (13).
    Leave(LeaveRequest),
    /// OffsetCommit (8).
    CommitOffsets(CommitRequest),
    /// OffsetFetch (9), one group of it.
    FetchOffsets(FetchRequest),
    /// OffsetDelete (47).
    DeleteOffsets(DeleteOffsetsRequest),
    /// DescribeGroups (15), one group of it.
    Describe {
        /// The group.
        group_id: String,
    },
    /// DeleteGroups (42), one group of it.
    Delete {
        /// The group.
        group_id: String,
    },
    /// ListGroups (16), the share of this partition.
    List(ListRequest),
}

impl GroupRequest {
    /// The group that it concerns; None for all of them (ListGroups).
    pub fn group_id(&self) -> Option<&str> {
        match self {
            GroupRequest::Join(request) => Some(&request.group_id),
            GroupRequest::Sync(request) => Some(&request.group_id),
            GroupRequest::Heartbeat(request) => Some(&request.group_id),
            GroupRequest::Leave(request) => Some(&request.group_id),
            GroupRequest::CommitOffsets(request) => Some(&request.group_id),
            GroupRequest::FetchOffsets(request) => Some(&request.group_id),
            GroupRequest::DeleteOffsets(request) => Some(&request.group_id),
            GroupRequest::Describe { group_id } | GroupRequest::Delete { group_id } => Some(group_id),
            GroupRequest::List(_) => None,
        }
    }

    /// The member that sends it, if it says so.
    pub(super) fn member_id(&self) -> Option<&str> {
        match self {
            GroupRequest::Join(request) => Some(&request.member_id),
            GroupRequest::Sync(request) => Some(&request.member_id),
            GroupRequest::Heartbeat(request) => Some(&request.member_id),
            GroupRequest::CommitOffsets(request) => Some(&request.member_id),
            _ => None,
        }
    }

    /// Whether it may add records to the log.
    pub(super) fn may_append(&self) -> bool {
        match self {
            GroupRequest::Heartbeat(_)
            | GroupRequest::FetchOffsets(_)
            | GroupRequest::Describe { .. }
            | GroupRequest::List(_) => false,
            GroupRequest::Join(_)
            | GroupRequest::Sync(_)
            | GroupRequest::Leave(_)
            | GroupRequest::CommitOffsets(_)
            | GroupRequest::DeleteOffsets(_)
            | GroupRequest::Delete { .. } => true,
        }
    }
}

/// JoinGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group_id: String,
    /// Empty in a member's first request.
    pub member_id: String,
    /// `group.instance.id` of a static member (v5+).
    pub group_instance_id: Option<String>,
    /// What the members are: `consumer`, `connect`, ...
    pub protocol_type: String,
    /// The protocols (assignors) the member can use, the best first, each with the member's metadata for it.
    pub protocols: Vec<(String, Arc<[u8]>)>,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// How long the others wait for this member in a rebalance; version 0 has none and takes the session timeout.
    pub rebalance_timeout_ms: i32,
}

impl JoinRequest {
    /// Bytes of the member's metadata for all its protocols, and of the protocols themselves.
    pub(super) fn metadata_bytes(&self) -> usize {
        self.protocols.iter().map(|(name, metadata)| GROUP_PROTOCOL_BYTES + name.len() + metadata.len()).sum()
    }
}

/// SyncGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group_id: String,
    /// The generation the member joined.
    pub generation_id: i32,
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member (v3+).
    pub group_instance_id: Option<String>,
    /// What the member believes the group's protocol type is (v5+).
    pub protocol_type: Option<String>,
    /// What the member believes the group's protocol is (v5+).
    pub protocol_name: Option<String>,
    /// From the leader only: each member's id and assignment.
    pub assignments: Vec<(String, Arc<[u8]>)>,
}

/// Heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: String,
    /// The member's generation.
    pub generation_id: i32,
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member (v3+).
    pub group_instance_id: Option<String>,
}

/// LeaveGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaveRequest {
    /// The group.
    pub group_id: String,
    /// Who leaves; before version 3 exactly one.
    pub members: Vec<LeavingMember>,
}

/// One member that leaves, or that an administrator removes by its `group.instance.id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member; empty to name it by `group_instance_id` alone.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<String>,
}

/// OffsetCommit, with what the broker has checked already: topics have their names and ids, exist, and may be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group; may be empty for old clients.
    pub group_id: String,
    /// The member's generation; negative from a client that is no member.
    pub generation_id: i32,
    /// The member; empty from a client that is no member.
    pub member_id: String,
    /// `group.instance.id` of a static member (v7+).
    pub group_instance_id: Option<String>,
    /// How long to keep the offsets (v2-4); -1 for `offsets.retention.minutes`.
    pub retention_time_ms: i64,
    /// The offsets.
    pub topics: Vec<CommitTopic>,
}

/// The offsets of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic's name.
    pub name: String,
    /// The topic's id; stored with the offset, so that a topic of the same name created later does not inherit it.
    pub topic_id: TopicId,
    /// The offsets.
    pub partitions: Vec<CommitPartition>,
}

/// One offset to commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// A text of the client's; None is stored as the empty text.
    pub metadata: Option<String>,
}

/// OffsetFetch for one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchRequest {
    /// The group; may be empty for old clients.
    pub group_id: String,
    /// Which partitions; None for all that have an offset.
    pub topics: Option<Vec<FetchTopic>>,
    /// Wait for offsets that are being written, and do not answer with one that an open transaction may replace (KIP-447).
    pub require_stable: bool,
}

impl FetchRequest {
    /// The same as several requests of up to `at_once` topics and partitions, and for each whether its first topic goes on
    /// from the one before ([`FetchReply::joined`](super::reply::FetchReply::joined)).
    pub fn pieces(mut self, at_once: usize) -> Vec<(FetchRequest, bool)> {
        let Some(topics) = self.topics.take() else { return vec![(self, false)] };
        let empty = FetchRequest { topics: Some(Vec::new()), ..self };
        let mut pieces = Vec::new();
        let (mut piece, mut continues, mut room) = (empty.clone(), false, at_once);
        for mut topic in topics {
            let mut is_rest = false;
            loop {
                if room <= 1 {
                    pieces.push((std::mem::replace(&mut piece, empty.clone()), continues));
                    (continues, room) = (is_rest, at_once);
                }
                let rest = topic.partitions.split_off(topic.partitions.len().min(room - 1));
                let next =
                    FetchTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions: rest };
                room -= 1 + topic.partitions.len();
                piece.topics.get_or_insert_default().push(topic);
                if next.partitions.is_empty() {
                    break;
                }
                (topic, is_rest) = (next, true);
            }
        }
        pieces.push((piece, continues));
        pieces
    }
}

/// The partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic's name.
    pub name: String,
    /// The topic's id, zero if the client does not use ids; an offset stored for another id is not shown.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// OffsetDelete, of topics and partitions that exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOffsetsRequest {
    /// The group.
    pub group_id: String,
    /// Topics and their partitions.
    pub topics: Vec<(String, Vec<i32>)>,
}

/// ListGroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only groups in one of these states, in any case; empty for all.
    pub states: Vec<String>,
    /// Only groups of one of these types, in any case; empty for all.
    pub types: Vec<String>,
}
