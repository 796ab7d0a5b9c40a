//! Replies of the coordinator, owned and structured: the API layer adds what it decided itself (unknown topics, missing
//! permissions), gathers the parts of requests that concern several groups, and encodes.

use super::error::GroupError;
use super::request::{
    CommitRequest, CommitTopic, FetchRequest, FetchTopic, GroupRequest, LeaveRequest, LeavingMember,
};
use crate::base::TopicId;
use std::sync::{Arc, LazyLock};

/// From this version OffsetFetch has an error of the whole group.
const FETCH_GROUP_ERROR_FROM: i16 = 2;

/// The answer to a [`super::GroupRequest`], of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupReply {
    /// JoinGroup.
    Join(JoinReply),
    /// SyncGroup.
    Sync(SyncReply),
    /// Heartbeat: the error, if any.
    Heartbeat(Option<GroupError>),
    /// LeaveGroup.
    Leave(LeaveReply),
    /// OffsetCommit.
    CommitOffsets(CommitReply),
    /// OffsetFetch for one group.
    FetchOffsets(FetchReply),
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsetsReply),
    /// DescribeGroups for one group.
    Describe(DescribeReply),
    /// DeleteGroups for one group.
    Delete(DeleteReply),
    /// ListGroups, the share of this partition.
    List(ListReply),
}

impl GroupReply {
    /// Bytes of members' metadata and assignments in it, with their names.
    pub fn members_bytes(&self) -> usize {
        let name = |name: &Option<Arc<str>>| name.as_deref().map_or(0, str::len);
        match self {
            GroupReply::Join(join) => {
                let of = |m: &JoinedMember| {
                    size_of::<JoinedMember>()
                        + m.member_id.len()
                        + name(&m.group_instance_id)
                        + m.metadata.len()
                };
                join.members.iter().map(of).sum()
            }
            GroupReply::Sync(sync) => sync.assignment.len(),
            _ => 0,
        }
    }
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// The error, if any.
    pub error: Option<GroupError>,
    /// The generation joined, -1 in an error.
    pub generation_id: i32,
    /// The group's protocol type (v7+).
    pub protocol_type: Option<Arc<str>>,
    /// The protocol the members voted for; before version 7 None is encoded as the empty text.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id, empty in an error.
    pub leader: Arc<str>,
    /// Whether the leader should keep the assignment it has (v9+, KIP-814).
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Arc<str>,
    /// For the leader: all members.
    pub members: Vec<JoinedMember>,
}

/// What the leader learns of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (v5+).
    pub group_instance_id: Option<Arc<str>>,
    /// The member's metadata for the chosen protocol.
    pub metadata: Arc<[u8]>,
}

impl JoinReply {
    /// A refusal.
    pub fn refused(member_id: impl Into<Arc<str>>, error: GroupError) -> JoinReply {
        JoinReply {
            error: Some(error),
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: "".into(),
            skip_assignment: false,
            member_id: member_id.into(),
            members: Vec::new(),
        }
    }
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    /// The error, if any.
    pub error: Option<GroupError>,
    /// The group's protocol type (v5+).
    pub protocol_type: Option<Arc<str>>,
    /// The group's protocol (v5+).
    pub protocol_name: Option<Arc<str>>,
    /// The member's assignment, empty in an error.
    pub assignment: Arc<[u8]>,
}

impl SyncReply {
    /// A refusal.
    pub fn refused(error: GroupError) -> SyncReply {
        SyncReply { error: Some(error), protocol_type: None, protocol_name: None, assignment: Arc::new([]) }
    }
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveReply {
    /// The error of the whole request, if any; then `members` is empty.
    pub error: Option<GroupError>,
    /// Each member of the request with its outcome; before version 3 the only one's error is the response's.
    pub members: Vec<LeftMember>,
}

/// One member's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    /// As in the request.
    pub member_id: String,
    /// As in the request.
    pub group_instance_id: Option<String>,
    /// The error, if any.
    pub error: Option<GroupError>,
}

/// OffsetCommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReply {
    /// Topics and partitions as in the request.
    pub topics: Vec<CommittedTopic>,
}

/// One topic's outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedTopic {
    /// As in the request.
    pub name: String,
    /// As in the request.
    pub topic_id: TopicId,
    /// Partitions and their errors.
    pub partitions: Vec<(i32, Option<GroupError>)>,
}

/// OffsetFetch for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReply {
    /// The group.
    pub group_id: String,
    /// The error of the whole group, if any; then there are no topics, except before version 2, which has no such field
    /// and carries the error at every partition.
    pub error: Option<GroupError>,
    /// The topics.
    pub topics: Vec<FetchedTopic>,
}

/// One topic's offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id as in the request; zero where all offsets were asked for.
    pub topic_id: TopicId,
    /// The offsets.
    pub partitions: Vec<FetchedOffset>,
}

/// One partition's offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: i32,
    /// The committed offset, -1 for none.
    pub offset: i64,
    /// The leader epoch committed with it, or -1.
    pub leader_epoch: i32,
    /// The client's text.
    pub metadata: Arc<str>,
    /// The error, if any.
    pub error: Option<GroupError>,
}

/// OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsReply {
    /// The error of the whole request, if any; then there are no topics.
    pub error: Option<GroupError>,
    /// Topics and partitions as in the request, with their errors.
    pub topics: Vec<DeletedTopic>,
}

/// One topic's outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// As in the request.
    pub name: String,
    /// Partitions and their errors.
    pub partitions: Vec<(i32, Option<GroupError>)>,
}

/// DescribeGroups for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeReply {
    /// The group.
    pub group_id: String,
    /// The error, if any. A group that does not exist is an error from version 6; before, it is a dead group.
    pub error: Option<GroupError>,
    /// The error in words (v6+).
    pub error_message: Option<String>,
    /// Kafka's name of the state, empty in most errors.
    pub state: &'static str,
    /// The protocol type, empty if there is none.
    pub protocol_type: Arc<str>,
    /// The protocol, empty unless the group is stable.
    pub protocol_name: Arc<str>,
    /// The members.
    pub members: Vec<DescribedMember>,
}

/// One member of a described group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (v4+).
    pub group_instance_id: Option<Arc<str>>,
    /// The client id it joined with.
    pub client_id: Arc<str>,
    /// The address it joined from.
    pub client_host: Arc<str>,
    /// Its metadata for the group's protocol, empty unless the group is stable.
    pub metadata: Arc<[u8]>,
    /// Its assignment.
    pub assignment: Arc<[u8]>,
}

/// DeleteGroups for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteReply {
    /// The group.
    pub group_id: String,
    /// The error, if any.
    pub error: Option<GroupError>,
}

/// ListGroups, the share of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListReply {
    /// The error, if any.
    pub error: Option<GroupError>,
    /// The groups.
    pub groups: Vec<ListedGroup>,
}

/// One group of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group_id: Arc<str>,
    /// The protocol type, empty if there is none.
    pub protocol_type: Arc<str>,
    /// Kafka's name of the state (v4+).
    pub state: &'static str,
    /// Kafka's name of the type (v5+).
    pub group_type: &'static str,
}

impl FetchReply {
    /// One reply of those to the pieces of a request ([`FetchRequest::pieces`]), each with whether its first topic goes on
    /// from the one before. An error of one is the error of all.
    pub fn joined(replies: impl IntoIterator<Item = (FetchReply, bool)>, version: i16) -> Option<FetchReply> {
        let mut replies = replies.into_iter();
        let (mut joined, _) = replies.next()?;
        for (reply, continues) in replies {
            joined.error = joined.error.or(reply.error);
            let mut topics = reply.topics.into_iter();
            if continues && let (Some(last), Some(rest)) = (joined.topics.last_mut(), topics.next()) {
                last.partitions.extend(rest.partitions);
            }
            joined.topics.extend(topics);
        }
        if joined.error.is_some() && version >= FETCH_GROUP_ERROR_FROM {
            joined.topics.clear();
        }
        Some(joined)
    }
}

impl FetchedOffset {
    /// No offset.
    pub fn none(partition: i32, error: Option<GroupError>) -> FetchedOffset {
        static EMPTY: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
        FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: EMPTY.clone(), error }
    }
}

impl DescribeReply {
    /// No description.
    pub fn refused(group_id: String, error: Option<GroupError>) -> DescribeReply {
        DescribeReply {
            group_id,
            error,
            error_message: None,
            state: "",
            protocol_type: "".into(),
            protocol_name: "".into(),
            members: Vec::new(),
        }
    }
}

impl GroupReply {
    /// The same reply after what it tells could not be stored.
    pub(super) fn failed(self, error: GroupError) -> GroupReply {
        match self {
            GroupReply::Join(reply) => GroupReply::Join(JoinReply::refused(reply.member_id, error)),
            GroupReply::Sync(_) => GroupReply::Sync(SyncReply::refused(error)),
            GroupReply::Heartbeat(_) => GroupReply::Heartbeat(Some(error)),
            GroupReply::Leave(_) => GroupReply::Leave(LeaveReply { error: Some(error), members: Vec::new() }),
            GroupReply::CommitOffsets(mut reply) => {
                for (_, outcome) in reply.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    *outcome = Some(error);
                }
                GroupReply::CommitOffsets(reply)
            }
            GroupReply::FetchOffsets(reply) => {
                let FetchReply { group_id, .. } = reply;
                GroupReply::FetchOffsets(FetchReply { group_id, error: Some(error), topics: Vec::new() })
            }
            GroupReply::DeleteOffsets(_) => {
                GroupReply::DeleteOffsets(DeleteOffsetsReply { error: Some(error), topics: Vec::new() })
            }
            GroupReply::Describe(reply) => {
                GroupReply::Describe(DescribeReply::refused(reply.group_id, Some(error)))
            }
            GroupReply::Delete(reply) => {
                GroupReply::Delete(DeleteReply { group_id: reply.group_id, error: Some(error) })
            }
            GroupReply::List(_) => GroupReply::List(ListReply { error: Some(error), groups: Vec::new() }),
        }
    }

    /// The refusal of a request, in its own form.
    pub fn refused(request: &GroupRequest, version: i16, error: GroupError) -> GroupReply {
        match request {
            GroupRequest::Join(request) => GroupReply::Join(JoinReply::refused(&*request.member_id, error)),
            GroupRequest::Sync(_) => GroupReply::Sync(SyncReply::refused(error)),
            // A member of a group that is being read from the log need not know.
            GroupRequest::Heartbeat(_) => {
                GroupReply::Heartbeat(Some(error).filter(|e| *e != GroupError::CoordinatorLoadInProgress))
            }
            GroupRequest::Leave(request) => GroupReply::Leave(refused_leave(request, error)),
            GroupRequest::CommitOffsets(request) => GroupReply::CommitOffsets(refused_commit(request, error)),
            GroupRequest::FetchOffsets(request) => {
                GroupReply::FetchOffsets(refused_fetch(request, version, error))
            }
            GroupRequest::DeleteOffsets(_) => {
                GroupReply::DeleteOffsets(DeleteOffsetsReply { error: Some(error), topics: Vec::new() })
            }
            GroupRequest::Describe { group_id } => {
                GroupReply::Describe(DescribeReply::refused(group_id.clone(), Some(error)))
            }
            GroupRequest::Delete { group_id } => {
                GroupReply::Delete(DeleteReply { group_id: group_id.clone(), error: Some(error) })
            }
            // A partition that has moved away has no share in the list.
            GroupRequest::List(_) => GroupReply::List(ListReply {
                error: Some(error).filter(|e| *e != GroupError::NotCoordinator),
                groups: Vec::new(),
            }),
        }
    }
}

/// A group that does not exist is told at each member.
fn refused_leave(request: &LeaveRequest, error: GroupError) -> LeaveReply {
    if error != GroupError::UnknownMemberId {
        return LeaveReply { error: Some(error), members: Vec::new() };
    }
    let left = |member: &LeavingMember| LeftMember {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error: Some(error),
    };
    LeaveReply { error: None, members: request.members.iter().map(left).collect() }
}

fn refused_commit(request: &CommitRequest, error: GroupError) -> CommitReply {
    let topic = |topic: &CommitTopic| CommittedTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|partition| (partition.partition, Some(error))).collect(),
    };
    CommitReply { topics: request.topics.iter().map(topic).collect() }
}

/// Before there was an error of the group, it stood at the partitions.
fn refused_fetch(request: &FetchRequest, version: i16, error: GroupError) -> FetchReply {
    let topic = |topic: &FetchTopic| FetchedTopic {
        name: topic.name.as_str().into(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|p| FetchedOffset::none(*p, Some(error))).collect(),
    };
    let topics = match &request.topics {
        Some(topics) if version < FETCH_GROUP_ERROR_FROM => topics.iter().map(topic).collect(),
        _ => Vec::new(),
    };
    FetchReply { group_id: request.group_id.clone(), error: Some(error), topics }
}
