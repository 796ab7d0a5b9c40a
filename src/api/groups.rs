//! The APIs of classic groups: JoinGroup (11), Heartbeat (12), LeaveGroup (13), SyncGroup (14), DescribeGroups (15),
//! ListGroups (16), DeleteGroups (42), OffsetCommit (8), OffsetFetch (9), OffsetDelete (47). A request goes to the
//! core whose partition of `__consumer_offsets` holds its group; those that name several groups gather their replies.
//! What the messages mean is the coordinator's (`coord::group`); here is only what a broker checks before it asks.

mod listing;
mod offsets;

use std::collections::HashSet;

use bytes::Bytes;

use crate::base::limits::{GROUP_REPLY_SMALL_BYTES, GROUP_REQUEST_SMALL_BYTES_MAX};
use crate::base::{ShardId, Ticks};
use crate::coord::group::reply::{ListReply, SyncReply};
use crate::coord::group::request as ask;
use crate::coord::group::{ClientInfo, GroupError, GroupReply, GroupRequest, error_code, partition_for};
use crate::io::repeats::limited;
use crate::meta::image::Image;
use crate::shard::{Done, GroupJob, Job, OFFSETS_TOPIC, PartitionKey};
use crate::wire::codec::{DecodeError, Element, Writer};
use crate::wire::messages::delete_groups_request::DeleteGroupsRequest;
use crate::wire::messages::describe_groups_request::DescribeGroupsRequest;
use crate::wire::messages::heartbeat_request::HeartbeatRequest;
use crate::wire::messages::heartbeat_response::HeartbeatResponse;
use crate::wire::messages::join_group_request::JoinGroupRequest;
use crate::wire::messages::leave_group_request::LeaveGroupRequest;
use crate::wire::messages::list_groups_request::ListGroupsRequest;
use crate::wire::messages::sync_group_request::SyncGroupRequest;

use super::apart::apart;
use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting, Written};
use super::k03_metadata::GROUP_OPERATIONS;
use super::{reply, write};

use listing::{Asker, Listing};
pub use offsets::{offset_commit, offset_delete, offset_fetch};

/// From this version SyncGroup must say what it believes the group's protocol is (KIP-559).
const SYNC_PROTOCOL_FROM: i16 = 5;

/// The partition of `__consumer_offsets` that holds a group, if the topic is there.
pub fn offsets_partition(image: &Image, group_id: &str) -> Option<PartitionKey> {
    let topic = image.topics().get(OFFSETS_TOPIC)?;
    let count = topic.partitions.len() as i32;
    (count > 0).then(|| PartitionKey { topic_id: topic.id, partition: partition_for(group_id, count) })
}

fn client(request: &Request<'_>) -> ClientInfo {
    ClientInfo {
        client_id: request.client_id.unwrap_or_default().to_owned(),
        host: format!("/{}", request.peer.ip().to_canonical()),
    }
}

/// How the replies, in the order of what was asked, become a response.
type Respond = Box<dyn FnOnce(Vec<GroupReply>) -> Written + Send>;

/// A request that waits for coordinators. They answer every question, if only when their timers say so.
struct Gather {
    from: Asker,
    /// Asked one after the other, so that others have their turn between.
    wanted: std::vec::IntoIter<GroupRequest>,
    /// Until a reply has come, the refusal that stands in for it.
    replies: Vec<GroupReply>,
    outstanding: usize,
    /// Who was asked last.
    owner: ShardId,
    /// The response is long, so that a helper thread writes it.
    long: bool,
    respond: Option<Respond>,
}

impl Gather {
    fn new(
        from: Asker,
        wanted: Vec<GroupRequest>,
        long: bool,
        respond: impl FnOnce(Vec<GroupReply>) -> Written + Send + 'static,
    ) -> Gather {
        let respond: Option<Respond> = Some(Box::new(respond));
        Gather {
            from,
            wanted: wanted.into_iter(),
            replies: Vec::new(),
            outstanding: 0,
            owner: ShardId(0),
            long,
            respond,
        }
    }

    /// Asks the coordinator of the next group; one that has none here is refused.
    fn ask_next(&mut self, cx: &mut Cx<'_>, id: u64) {
        while let Some(request) = self.wanted.next() {
            let group_id = request.group_id();
            let Some(key) = group_id.and_then(|group_id| offsets_partition(cx.image, group_id)) else {
                self.refuse(&request, GroupError::NotCoordinator);
                continue;
            };
            let (client, api_version) = (self.from.client.clone(), self.from.version);
            let job = GroupJob { partition: Some(key.partition), client, api_version, request };
            return self.send(cx, id, key.owner(cx.shards), job);
        }
    }

    fn refuse(&mut self, request: &GroupRequest, error: GroupError) {
        self.replies.push(GroupReply::refused(request, self.from.version, error));
    }

    fn send(&mut self, cx: &mut Cx<'_>, id: u64, owner: ShardId, job: GroupJob) {
        let part = self.replies.len() as u32;
        self.refuse(&job.request, GroupError::CoordinatorNotAvailable);
        self.outstanding += 1;
        self.owner = owner;
        cx.send(owner, id, part, Job::Group(Box::new(job)));
    }

    fn park(mut self, cx: &mut Cx<'_>, id: u64) -> Outcome {
        match self.outstanding {
            0 => self.finish(cx),
            _ => Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting: Box::new(self) }),
        }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        while let Some(request) = self.wanted.next() {
            self.refuse(&request, GroupError::CoordinatorNotAvailable);
        }
        let replies = std::mem::take(&mut self.replies);
        let Some(respond) = self.respond.take() else { return unexpected().into() };
        let bytes = replies.iter().map(GroupReply::members_bytes).sum();
        if bytes > GROUP_REPLY_SMALL_BYTES {
            return LongReply { reply: Some((respond, replies)), bytes, reserved: false }.begin(cx);
        }
        let written =
            apart(cx, self.long, move || Ok(respond(replies)), |_, written: Written| written.into());
        written.unwrap_or(Outcome::Close("a response could not be written"))
    }
}

impl Waiting for Gather {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, part: u32, done: Done) -> Step {
        if let Done::Group(reply) = done
            && let Some(place) = self.replies.get_mut(part as usize)
        {
            *place = *reply;
        }
        self.outstanding -= 1;
        match (self.outstanding, self.wanted.len()) {
            (0, 0) => Step::Finish(self.finish(cx)),
            (0, _) => Step::Yield,
            _ => Step::Wait,
        }
    }

    fn resume(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.ask_next(cx, id);
        if self.outstanding > 0 { Step::Wait } else { Step::Finish(self.finish(cx)) }
    }

    fn is_heavy(&self) -> bool {
        self.wanted.len() > 0
    }

    fn expired(&mut self, cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish(self.finish(cx))
    }

    /// The coordinator may let the request wait.
    fn abandoned(&mut self, cx: &mut Cx<'_>, id: u64) {
        if self.outstanding == 1 {
            cx.forget(self.owner, id, self.replies.len() as u32 - 1);
        }
    }

    /// Joining and syncing wait for other members; the rest is done at once or when it is durable.
    fn hurry(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        let waits = |reply: &GroupReply| matches!(reply, GroupReply::Join(_) | GroupReply::Sync(_));
        if self.replies.iter().any(waits) { self.expired(cx, id) } else { Step::Wait }
    }
}

/// A reply with much in it, which is written by a helper thread once there is memory for it.
struct LongReply {
    reply: Option<(Respond, Vec<GroupReply>)>,
    bytes: usize,
    reserved: bool,
}

impl LongReply {
    fn begin(mut self, cx: &mut Cx<'_>) -> Outcome {
        let id = cx.open();
        self.write(cx, id);
        Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting: Box::new(self) })
    }

    /// Has it written, or waits for memory.
    fn write(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.reserved = cx.budget.reserve(self.bytes);
        match self.reply.take_if(|_| self.reserved) {
            Some((respond, replies)) => cx.compute(id, Box::new(move || Box::new(respond(replies)))),
            None => cx.budget.wait(id, self.bytes),
        }
    }

    fn release(&mut self, cx: &mut Cx<'_>) {
        cx.budget.release(if std::mem::take(&mut self.reserved) { self.bytes } else { 0 });
    }
}

impl Waiting for LongReply {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        self.release(cx);
        let written = match done {
            Done::Computed(written) => written.downcast::<Written>().ok(),
            _ => None,
        };
        Step::Finish(written.map_or(Outcome::Close("a response could not be written"), |w| (*w).into()))
    }

    fn granted(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.write(cx, id);
        Step::Wait
    }

    fn abandoned(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.release(cx);
        cx.budget.forget(id);
    }

    fn is_heavy(&self) -> bool {
        true
    }
}

/// Asks coordinators, one question after the other.
fn coordinate(
    cx: &mut Cx<'_>,
    from: Asker,
    wanted: Vec<GroupRequest>,
    respond: impl FnOnce(Vec<GroupReply>) -> Written + Send + 'static,
) -> Outcome {
    let id = cx.open();
    let long = from.long;
    let mut gather = Gather::new(from, wanted, long, respond);
    gather.ask_next(cx, id);
    gather.park(cx, id)
}

/// A reply of another kind than the request's: a bug of ours, which ends this connection and no other.
fn unexpected() -> Written {
    limited!(
        error,
        "a coordinator answered another question",
        "a coordinator answered another question: please report this"
    );
    Err("the coordinator's answer could not be used")
}

/// Serves a JoinGroup request, versions 0 to 9.
pub fn join_group(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    let read = move || {
        let message: JoinGroupRequest<'_> = body.decode(version)?;
        Ok(GroupRequest::Join(ask::JoinRequest::from_wire(&message, version)))
    };
    let from = Asker::of(request);
    apart(cx, is_long(request), read, move |cx, wanted| {
        coordinate(cx, from, vec![wanted], move |replies| match &*replies {
            [GroupReply::Join(joined)] => write(&joined.to_wire(version), version),
            _ => unexpected(),
        })
    })
}

/// Serves a SyncGroup request, versions 0 to 5.
pub fn sync_group(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    let read = move || {
        let message: SyncGroupRequest<'_> = body.decode(version)?;
        let lacks = lacks_protocol(&message, version);
        Ok((!lacks).then(|| GroupRequest::Sync(ask::SyncRequest::from_wire(&message))))
    };
    let from = Asker::of(request);
    apart(cx, is_long(request), read, move |cx, wanted| {
        let Some(wanted) = wanted else {
            let refused = SyncReply::refused(GroupError::InconsistentGroupProtocol);
            return reply(&refused.to_wire(), version);
        };
        coordinate(cx, from, vec![wanted], move |replies| match &*replies {
            [GroupReply::Sync(synced)] => write(&synced.to_wire(), version),
            _ => unexpected(),
        })
    })
}

/// From version 5 a member names the protocol type and the protocol that it assigns by (KIP-559).
fn lacks_protocol(message: &SyncGroupRequest<'_>, version: i16) -> bool {
    version >= SYNC_PROTOCOL_FROM && (message.protocol_type.is_none() || message.protocol_name.is_none())
}

/// Serves a Heartbeat request, versions 0 to 4.
pub fn heartbeat(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: HeartbeatRequest<'_> = request.body.decode(version)?;
    let wanted = GroupRequest::Heartbeat(ask::HeartbeatRequest::from_wire(&message));
    Ok(coordinate(cx, Asker::of(request), vec![wanted], move |replies| match &*replies {
        [GroupReply::Heartbeat(error)] => {
            let error_code = error_code(*error);
            write(&HeartbeatResponse { error_code, ..Default::default() }, version)
        }
        _ => unexpected(),
    }))
}

/// Serves a LeaveGroup request, versions 0 to 5.
pub fn leave_group(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    let read = move || {
        let message: LeaveGroupRequest<'_> = body.decode(version)?;
        Ok(GroupRequest::Leave(ask::LeaveRequest::from_wire(&message, version)))
    };
    let from = Asker::of(request);
    apart(cx, is_long(request), read, move |cx, wanted| {
        coordinate(cx, from, vec![wanted], move |replies| match &*replies {
            [GroupReply::Leave(left)] => write(&left.to_wire(version), version),
            _ => unexpected(),
        })
    })
}

/// Whether a request about one group is read elsewhere. What is in most of them is metadata, not lists.
fn is_long(request: &Request<'_>) -> bool {
    request.body.len() > GROUP_REQUEST_SMALL_BYTES_MAX
}

/// Names as they lie in a request's body: where, and how long.
struct Names {
    body: Bytes,
    spans: Vec<(u32, u32)>,
}

impl Names {
    fn new<'a>(body: &Bytes, names: impl Iterator<Item = &'a str>) -> Names {
        let start = body.as_ptr().addr();
        let span = |name: &str| (name.as_ptr().addr().saturating_sub(start) as u32, name.len() as u32);
        Names { body: body.clone(), spans: names.map(span).collect() }
    }

    fn into_iter(self) -> impl Iterator<Item = String> {
        let Names { body, spans } = self;
        spans.into_iter().map(move |(at, length)| {
            let name = body.get(at as usize..(at + length) as usize).unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        })
    }
}

/// Serves a DescribeGroups request, versions 0 to 6. A group is described as often as it is named, as in Kafka.
pub fn describe_groups(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    let read = move || {
        let message: DescribeGroupsRequest<'_> = body.decode(version)?;
        let names = Names::new(&body, message.groups.iter().copied());
        Ok((names, message.include_authorized_operations))
    };
    let from = Asker::of(request);
    apart(cx, request.is_large(), read, move |cx, (names, operations)| {
        let count = names.spans.len();
        let head = |w: &mut Writer| {
            if version >= 1 {
                w.i32(0); // throttle time
            }
            w.count(version >= 5, count);
        };
        let put = move |reply: GroupReply, w: &mut Writer| {
            let GroupReply::Describe(found) = reply else { return false };
            let mut group = found.to_wire();
            if version < 6 {
                group.error_message = None;
            }
            if operations && found.error.is_none() {
                group.authorized_operations = GROUP_OPERATIONS;
            }
            group.put(w, version);
            true
        };
        let wanted = names.into_iter().map(|group_id| GroupRequest::Describe { group_id });
        Listing::new(from, Box::new(wanted), head, Box::new(put), tags_from::<5>).begin(cx)
    })
}

/// Serves a DeleteGroups request, versions 0 to 2. A group that is named twice is deleted once.
pub fn delete_groups(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    let read = move || {
        let message: DeleteGroupsRequest<'_> = body.decode(version)?;
        let mut seen = HashSet::new();
        Ok(Names::new(&body, message.groups_names.iter().copied().filter(|id| seen.insert(*id))))
    };
    let from = Asker::of(request);
    apart(cx, request.is_large(), read, move |cx, names| {
        let count = names.spans.len();
        let head = |w: &mut Writer| {
            w.i32(0); // throttle time
            w.count(version >= 2, count);
        };
        let put = move |reply: GroupReply, w: &mut Writer| {
            let GroupReply::Delete(deleted) = reply else { return false };
            deleted.to_wire().put(w, version);
            true
        };
        let wanted = names.into_iter().map(|group_id| GroupRequest::Delete { group_id });
        Listing::new(from, Box::new(wanted), head, Box::new(put), tags_from::<2>).begin(cx)
    })
}

/// What ends a response of which `FROM` is the first version with tagged fields.
fn tags_from<const FROM: i16>(w: &mut Writer, version: i16) {
    if version >= FROM {
        w.tags();
    }
}

/// Serves a ListGroups request, versions 0 to 5: every core has a share of the groups.
pub fn list_groups(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    let read = move || {
        let message: ListGroupsRequest<'_> = body.decode(version)?;
        Ok(ask::ListRequest::from_wire(&message))
    };
    let from = Asker::of(request);
    apart(cx, request.is_large(), read, move |cx, wanted| list_everywhere(cx, from, &wanted))
}

fn list_everywhere(cx: &mut Cx<'_>, from: Asker, wanted: &ask::ListRequest) -> Outcome {
    let id = cx.open();
    let (client, version) = (from.client.clone(), from.version);
    // The more groups there are, the longer is the response.
    let mut gather = Gather::new(from, Vec::new(), true, move |replies| {
        let shares = replies.into_iter().filter_map(|share| match share {
            GroupReply::List(share) => Some(share),
            _ => None,
        });
        let shares: Vec<ListReply> = shares.collect();
        let mut response = ListReply::to_wire(&shares);
        response.groups.sort_by(|a, b| a.group_id.cmp(b.group_id));
        write(&response, version)
    });
    for shard in 0..cx.shards {
        let job = GroupJob {
            partition: None,
            client: client.clone(),
            api_version: version,
            request: GroupRequest::List(wanted.clone()),
        };
        gather.send(cx, id, ShardId(shard as u16), job);
    }
    gather.park(cx, id)
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
