//! Requests that name many groups, each of which may be another coordinator's: the groups are asked a few at a time, and
//! the reply grows as they answer. So neither the questions nor the answers of all groups exist at once, and others have
//! their turn between.

use std::collections::VecDeque;

use crate::base::Ticks;
use crate::base::limits::{
    GROUPS_IN_TURN, GROUPS_IN_TURN_FIRST, GROUPS_REPLY_BYTES_MAX, GROUPS_TURN_BYTES, REPLY_TURN_BYTES,
};
use crate::coord::group::{ClientInfo, GroupError, GroupReply, GroupRequest};
use crate::shard::{Done, GroupJob, Job};
use crate::wire::codec::Writer;

use super::super::cx::{Cx, Outcome, Parked, ReplyWriter, Request, Step, Waiting};
use super::{client, is_long, offsets_partition, unexpected};

/// The groups that are asked for.
pub type Wanted = Box<dyn Iterator<Item = GroupRequest>>;
/// Writes one group's reply; false if it is not of the kind that was asked for.
pub type Put = Box<dyn Fn(GroupReply, &mut Writer) -> bool>;

/// Who asks, in which version.
#[derive(Clone)]
pub struct Asker {
    /// The request's version.
    pub version: i16,
    /// Who sent it.
    pub client: ClientInfo,
    /// There is much of the request, and so of the response.
    pub long: bool,
}

impl Asker {
    /// Of a request.
    pub fn of(request: &Request<'_>) -> Asker {
        Asker { version: request.api_version, client: client(request), long: is_long(request) }
    }
}

/// A request for many groups, under way.
pub struct Listing {
    from: Asker,
    wanted: Wanted,
    all_asked: bool,
    /// How many groups are asked at once: fewer, where they have much to say.
    at_once: usize,
    /// Where the reply stood when the last ones were asked.
    began: usize,
    /// Of this turn's groups, in order: until a reply has come, the refusal that stands in for it.
    replies: VecDeque<GroupReply>,
    outstanding: usize,
    put: Put,
    /// Written behind the last group.
    tail: fn(&mut Writer, i16),
    reply: ReplyWriter,
}

impl Listing {
    /// Of `wanted` groups, whose replies `put` writes behind what `head` writes.
    pub fn new(
        from: Asker,
        wanted: Wanted,
        head: impl FnOnce(&mut Writer),
        put: Put,
        tail: fn(&mut Writer, i16),
    ) -> Listing {
        let mut reply = ReplyWriter::default();
        head(&mut reply.writer);
        Listing {
            from,
            wanted,
            all_asked: false,
            at_once: GROUPS_IN_TURN_FIRST,
            began: 0,
            replies: VecDeque::new(),
            outstanding: 0,
            put,
            tail,
            reply,
        }
    }

    /// Answers, or parks until the groups have answered.
    pub fn begin(mut self, cx: &mut Cx<'_>) -> Outcome {
        let id = cx.open();
        self.ask(cx, id);
        if self.outstanding == 0
            && let Step::Finish(outcome) = self.write()
        {
            return outcome;
        }
        if self.outstanding == 0 {
            // Nobody is there to ask, and there is more to write than a turn takes.
            cx.compute(id, Box::new(|| Box::new(())));
        }
        Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting: Box::new(self) })
    }

    /// Asks for the next groups.
    fn ask(&mut self, cx: &mut Cx<'_>, id: u64) {
        let position = self.reply.writer.position();
        let much = position - self.began > GROUPS_TURN_BYTES;
        self.at_once = if much { self.at_once / 2 } else { self.at_once * 2 }.clamp(1, GROUPS_IN_TURN);
        self.began = position;
        for _ in 0..self.at_once {
            let Some(request) = self.wanted.next() else {
                self.all_asked = true;
                return;
            };
            let key = request.group_id().and_then(|group_id| offsets_partition(cx.image, group_id));
            // What there is no room for is not asked for either; what is to be done is done.
            let full = position > GROUPS_REPLY_BYTES_MAX && !matches!(request, GroupRequest::Delete { .. });
            let key = key.filter(|_| !full);
            let error = if full {
                GroupError::UnknownServerError
            } else if key.is_some() {
                GroupError::CoordinatorNotAvailable
            } else {
                GroupError::NotCoordinator
            };
            let part = self.replies.len() as u32;
            self.replies.push_back(GroupReply::refused(&request, self.from.version, error));
            let Some(key) = key else { continue };
            let (client, api_version) = (self.from.client.clone(), self.from.version);
            let job = GroupJob { partition: Some(key.partition), client, api_version, request };
            self.outstanding += 1;
            cx.send(key.owner(cx.shards), id, part, Job::Group(Box::new(job)));
        }
        self.all_asked = self.wanted.size_hint().1 == Some(0);
    }

    /// Writes what has come, as much as a turn takes.
    fn write(&mut self) -> Step {
        let began = self.reply.writer.position();
        while let Some(reply) = self.replies.pop_front() {
            let full = self.reply.writer.position() > GROUPS_REPLY_BYTES_MAX;
            let reply = if full { too_large(reply) } else { reply };
            if !(self.put)(reply, &mut self.reply.writer) {
                return Step::Finish(unexpected().into());
            }
            if self.reply.writer.position() > began + REPLY_TURN_BYTES {
                return Step::Yield;
            }
        }
        if !self.all_asked {
            return Step::Yield;
        }
        (self.tail)(&mut self.reply.writer, self.from.version);
        Step::Finish(std::mem::take(&mut self.reply).finish())
    }
}

/// The answer for a group that the reply has no room for.
fn too_large(reply: GroupReply) -> GroupReply {
    match reply {
        GroupReply::Describe(mut reply) if !reply.members.is_empty() => {
            let text = format!(
                "the reply would be larger than {GROUPS_REPLY_BYTES_MAX} bytes; describe fewer groups"
            );
            reply.error_message = Some(text);
            reply.members.clear();
            reply.error = Some(GroupError::UnknownServerError);
            GroupReply::Describe(reply)
        }
        GroupReply::FetchOffsets(mut reply) if !reply.topics.is_empty() => {
            reply.topics.clear();
            reply.error = Some(GroupError::UnknownServerError);
            GroupReply::FetchOffsets(reply)
        }
        reply => reply,
    }
}

impl Waiting for Listing {
    fn done(&mut self, _cx: &mut Cx<'_>, _id: u64, part: u32, done: Done) -> Step {
        if let Done::Group(reply) = done {
            if let Some(place) = self.replies.get_mut(part as usize) {
                *place = *reply;
            }
            self.outstanding -= 1;
        }
        if self.outstanding > 0 { Step::Wait } else { self.write() }
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Wait
    }

    fn resume(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        if self.replies.is_empty() {
            self.ask(cx, id);
        }
        if self.outstanding > 0 { Step::Wait } else { self.write() }
    }

    fn is_heavy(&self) -> bool {
        !self.all_asked
    }
}
