//! The APIs of classic groups: JoinGroup (11), Heartbeat (12), LeaveGroup (13), SyncGroup (14), DescribeGroups (15),
//! ListGroups (16), DeleteGroups (42), OffsetCommit (8), OffsetFetch (9), OffsetDelete (47). A request goes to the
//! core whose partition of `__consumer_offsets` holds its group; those that name several groups gather their answers.

mod encode;
mod offsets;

use std::sync::Arc;

use crate::base::{ShardId, Ticks, TopicId};
use crate::coord::group::reply::{DeleteReply, DescribeReply, ListReply};
use crate::coord::group::request::{
    HeartbeatRequest as Heartbeat, JoinRequest, LeaveRequest, LeavingMember, ListRequest, SyncRequest,
};
use crate::coord::group::{ClientInfo, GroupReply, GroupRequest, partition_for};
use crate::meta::image::Image;
use crate::shard::{Done, GroupJob, Job, OFFSETS_TOPIC, PartitionKey};
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::delete_groups_request::DeleteGroupsRequest;
use crate::wire::messages::describe_groups_request::DescribeGroupsRequest;
use crate::wire::messages::heartbeat_request::HeartbeatRequest;
use crate::wire::messages::join_group_request::JoinGroupRequest;
use crate::wire::messages::leave_group_request::LeaveGroupRequest;
use crate::wire::messages::list_groups_request::ListGroupsRequest;
use crate::wire::messages::sync_group_request::SyncGroupRequest;

use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting};
use super::scatter::ask_all;

pub use offsets::{offset_commit, offset_delete, offset_fetch};

/// The partition of `__consumer_offsets` that holds a group, if the topic is there.
pub fn offsets_partition(image: &Image, group_id: &str) -> Option<i32> {
    let count = image.topics().get(OFFSETS_TOPIC)?.partitions.len() as i32;
    (count > 0).then(|| partition_for(group_id, count))
}

/// Where a group's requests go.
fn coordinator(cx: &Cx<'_>, group_id: &str) -> Option<(ShardId, i32)> {
    let partition = offsets_partition(cx.image, group_id)?;
    let topic_id = cx.image.topics().get(OFFSETS_TOPIC)?.id;
    Some((PartitionKey { topic_id, partition }.owner(cx.shards), partition))
}

fn client(request: &Request) -> ClientInfo {
    ClientInfo {
        client_id: request.client_id.as_deref().unwrap_or_default().to_owned(),
        host: format!("/{}", request.peer.ip().to_canonical()),
    }
}

/// Asks one group's coordinator; false if there is none.
fn ask(cx: &mut Cx<'_>, request: &Request, id: u64, part: u32, group_id: &str, ask: GroupRequest) -> bool {
    let Some((owner, partition)) = coordinator(cx, group_id) else { return false };
    let job = GroupJob {
        partition: Some(partition),
        client: client(request),
        api_version: request.api_version,
        request: ask,
    };
    cx.send(owner, id, part, Job::Group(job));
    true
}

/// How a single group's reply becomes a response.
type Encode = Box<dyn Fn(Result<GroupReply, ErrorCode>, i16) -> Outcome>;

struct Single {
    version: i16,
    encode: Encode,
}

impl Waiting for Single {
    fn done(&mut self, _cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        let reply = match done {
            Done::Group(reply) => reply,
            _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        };
        Step::Finish((self.encode)(reply, self.version))
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish((self.encode)(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE), self.version))
    }
}

/// Asks the coordinator of one group and answers with what it says.
fn single(
    cx: &mut Cx<'_>,
    request: &Request,
    group_id: &str,
    wanted: GroupRequest,
    encode: impl Fn(Result<GroupReply, ErrorCode>, i16) -> Outcome + 'static,
) -> Outcome {
    let id = cx.open();
    if !ask(cx, request, id, 0, group_id, wanted) {
        return encode(Err(ErrorCode::NOT_COORDINATOR), request.api_version);
    }
    // The coordinator answers every request, if only when its timers say so.
    let waiting = Single { version: request.api_version, encode: Box::new(encode) };
    Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting: Box::new(waiting) })
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// Serves a JoinGroup request, versions 0 to 9.
pub fn join_group(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: JoinGroupRequest<'_> = decode_request(&request.body, version)?;
    let join = JoinRequest {
        group_id: message.group_id.to_owned(),
        member_id: message.member_id.to_owned(),
        group_instance_id: owned(message.group_instance_id),
        protocol_type: message.protocol_type.to_owned(),
        protocols: message.protocols.iter().map(|p| (p.name.to_owned(), Arc::from(p.metadata))).collect(),
        session_timeout_ms: message.session_timeout_ms,
        rebalance_timeout_ms: match version {
            0 => message.session_timeout_ms,
            _ => message.rebalance_timeout_ms,
        },
    };
    let member_id = join.member_id.clone();
    Ok(single(cx, request, message.group_id, GroupRequest::Join(join), move |reply, version| {
        encode::join(reply, &member_id, version)
    }))
}

/// Serves a SyncGroup request, versions 0 to 5.
pub fn sync_group(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let message: SyncGroupRequest<'_> = decode_request(&request.body, request.api_version)?;
    if lacks_protocol(&message, request.api_version) {
        return Ok(encode::sync(Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL), request.api_version));
    }
    let sync = SyncRequest {
        group_id: message.group_id.to_owned(),
        generation_id: message.generation_id,
        member_id: message.member_id.to_owned(),
        group_instance_id: owned(message.group_instance_id),
        protocol_type: owned(message.protocol_type),
        protocol_name: owned(message.protocol_name),
        assignments: message
            .assignments
            .iter()
            .map(|a| (a.member_id.to_owned(), Arc::from(a.assignment)))
            .collect(),
    };
    Ok(single(cx, request, message.group_id, GroupRequest::Sync(sync), encode::sync))
}

/// From version 5 a member names the protocol type and the protocol that it assigns by (KIP-559).
fn lacks_protocol(message: &SyncGroupRequest<'_>, version: i16) -> bool {
    version >= 5 && (message.protocol_type.is_none() || message.protocol_name.is_none())
}

/// Serves a Heartbeat request, versions 0 to 4.
pub fn heartbeat(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let message: HeartbeatRequest<'_> = decode_request(&request.body, request.api_version)?;
    let heartbeat = Heartbeat {
        group_id: message.group_id.to_owned(),
        generation_id: message.generation_id,
        member_id: message.member_id.to_owned(),
        group_instance_id: owned(message.group_instance_id),
    };
    Ok(single(cx, request, message.group_id, GroupRequest::Heartbeat(heartbeat), encode::heartbeat))
}

/// Serves a LeaveGroup request, versions 0 to 5.
pub fn leave_group(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: LeaveGroupRequest<'_> = decode_request(&request.body, version)?;
    let members = match version {
        0..=2 => vec![LeavingMember { member_id: message.member_id.to_owned(), group_instance_id: None }],
        _ => message
            .members
            .iter()
            .map(|m| LeavingMember {
                member_id: m.member_id.to_owned(),
                group_instance_id: owned(m.group_instance_id),
            })
            .collect(),
    };
    let leave = LeaveRequest { group_id: message.group_id.to_owned(), members };
    Ok(single(cx, request, message.group_id, GroupRequest::Leave(leave), encode::leave))
}

/// A request that names several groups, or all.
struct Several {
    version: i16,
    operations: bool,
    groups: Vec<String>,
    replies: Vec<Option<Result<GroupReply, ErrorCode>>>,
    outstanding: usize,
    encode: fn(&Several) -> Outcome,
    /// OffsetFetch by topic ids: those of each group that are not known.
    unknown: Vec<Vec<(TopicId, Vec<i32>)>>,
    /// OffsetFetch by topic ids: where they are looked up.
    ids: Option<Arc<Image>>,
}

impl Several {
    fn take(&mut self, part: u32, done: Done) {
        if let Done::Group(reply) = done
            && let Some(place) = self.replies.get_mut(part as usize)
        {
            *place = Some(reply);
        }
        self.outstanding -= 1;
    }

    /// Each group's reply, those that never came refused.
    fn each(&self) -> impl Iterator<Item = (&str, Result<&GroupReply, ErrorCode>)> {
        self.groups.iter().zip(&self.replies).map(|(group, reply)| {
            let reply = match reply {
                Some(Ok(reply)) => Ok(reply),
                Some(Err(code)) => Err(*code),
                None => Err(ErrorCode::NOT_COORDINATOR),
            };
            (group.as_str(), reply)
        })
    }
}

impl Waiting for Several {
    fn done(&mut self, _cx: &mut Cx<'_>, _id: u64, part: u32, done: Done) -> Step {
        self.take(part, done);
        if self.outstanding > 0 { Step::Wait } else { Step::Finish((self.encode)(self)) }
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish((self.encode)(self))
    }
}

fn several(
    cx: &mut Cx<'_>,
    request: &Request,
    groups: Vec<String>,
    operations: bool,
    wanted: impl Fn(&str) -> GroupRequest,
    encode: fn(&Several) -> Outcome,
) -> Outcome {
    let mut gather = Several {
        version: request.api_version,
        operations,
        replies: groups.iter().map(|_| None).collect(),
        groups,
        outstanding: 0,
        encode,
        unknown: Vec::new(),
        ids: None,
    };
    let id = cx.open();
    for (part, group) in gather.groups.iter().enumerate() {
        let asked = ask(cx, request, id, part as u32, group, wanted(group));
        gather.outstanding += usize::from(asked);
    }
    match gather.outstanding {
        0 => encode(&gather),
        _ => Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting: Box::new(gather) }),
    }
}

/// Serves a DescribeGroups request, versions 0 to 6.
pub fn describe_groups(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let message: DescribeGroupsRequest<'_> = decode_request(&request.body, request.api_version)?;
    let groups = message.groups.iter().map(|g| (*g).to_owned()).collect();
    let operations = message.include_authorized_operations;
    let wanted = |group: &str| GroupRequest::Describe { group_id: group.to_owned() };
    Ok(several(cx, request, groups, operations, wanted, encode::describe))
}

/// Serves a DeleteGroups request, versions 0 to 2.
pub fn delete_groups(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let message: DeleteGroupsRequest<'_> = decode_request(&request.body, request.api_version)?;
    let groups = message.groups_names.iter().map(|g| (*g).to_owned()).collect();
    let wanted = |group: &str| GroupRequest::Delete { group_id: group.to_owned() };
    Ok(several(cx, request, groups, false, wanted, encode::delete))
}

/// Serves a ListGroups request, versions 0 to 5.
pub fn list_groups(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let message: ListGroupsRequest<'_> = decode_request(&request.body, request.api_version)?;
    let wanted = ListRequest {
        states: message.states_filter.iter().map(|s| (*s).to_owned()).collect(),
        types: message.types_filter.iter().map(|s| (*s).to_owned()).collect(),
    };
    let id = cx.open();
    let client = client(request);
    let api_version = request.api_version;
    ask_all(cx, id, || {
        let request = GroupRequest::List(wanted.clone());
        Job::Group(GroupJob { partition: None, client: client.clone(), api_version, request })
    });
    let gather = Several {
        version: api_version,
        operations: false,
        groups: vec![String::new(); cx.shards],
        replies: (0..cx.shards).map(|_| None).collect(),
        outstanding: cx.shards,
        encode: encode::list,
        unknown: Vec::new(),
        ids: None,
    };
    Ok(Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting: Box::new(gather) }))
}

/// The parts of a [`Several`] as the coordinator meant them.
fn described(reply: &GroupReply) -> Option<&DescribeReply> {
    match reply {
        GroupReply::Describe(reply) => Some(reply),
        _ => None,
    }
}

fn deleted(reply: &GroupReply) -> Option<&DeleteReply> {
    match reply {
        GroupReply::Delete(reply) => Some(reply),
        _ => None,
    }
}

fn listed(reply: &GroupReply) -> Option<&ListReply> {
    match reply {
        GroupReply::List(reply) => Some(reply),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_names_its_protocol_from_version_5() {
        let cases = [
            (4, None, None, false),
            (5, None, None, true),
            (5, Some("consumer"), None, true),
            (5, None, Some("range"), true),
            (5, Some("consumer"), Some("range"), false),
        ];
        for (version, protocol_type, protocol_name, lacks) in cases {
            let message = SyncGroupRequest { protocol_type, protocol_name, ..Default::default() };
            assert_eq!(lacks_protocol(&message, version), lacks, "{version} {message:?}");
        }
    }
}
