//! What a handler can see and do, and the table of parked requests.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ShardId, Ticks, WallMs};
use crate::config::BrokerConfig;
use crate::io::repeats::limited;
use crate::meta::image::Image;
use crate::net::{Budget, Reply, Slot, Spare};
use crate::shard::effective::Effective;
use crate::shard::{Done, Job, Mail, ReplyTo};
use crate::wire::api::ApiKey;
use crate::wire::codec::{Body, EncodeErrorKind, Writer};
use crate::wire::record::Scratch;

use super::fetch_session::FetchSessions;
use super::parked::{Asked, ParkedTable};
use super::pool::Pools;
use super::producer_ids::ProducerIdBlock;

/// A request whose header has been read and whose version is one that we serve.
pub struct Request<'a> {
    /// Where its reply goes.
    pub slot: Slot,
    /// The API.
    pub api_key: ApiKey,
    /// Its version.
    pub api_version: i16,
    /// Chosen by the client, echoed in the reply.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<&'a str>,
    /// The body: what follows the header.
    pub body: Body,
    /// The client's address.
    pub peer: SocketAddr,
    /// The listener it came in by: its place in the configuration.
    pub listener: u32,
}

impl Request<'_> {
    /// What is kept of it to answer it.
    pub fn asked(&self) -> Asked {
        Asked {
            slot: self.slot,
            api_key: self.api_key,
            api_version: self.api_version,
            correlation_id: self.correlation_id,
            peer: self.peer,
        }
    }
}

/// What became of a request.
pub enum Outcome {
    /// Answered: the response body.
    Reply(Reply),
    /// Parked until its jobs are done or its deadline has come.
    Parked(Parked),
    /// Nothing is sent (Produce with acks=0).
    Silent,
    /// The connection cannot go on: for the log, why.
    Close(&'static str),
}

/// A reply, or why its connection is closed instead.
pub type Written = Result<Reply, &'static str>;

impl From<Written> for Outcome {
    fn from(written: Written) -> Outcome {
        written.map_or_else(Outcome::Close, Outcome::Reply)
    }
}

impl Outcome {
    /// A reply in one piece.
    pub fn body(bytes: Vec<u8>) -> Outcome {
        Outcome::Reply(Reply::from(bytes))
    }
}

/// A reply as it grows: bytes written here, and slices that stay where they are.
#[derive(Default)]
pub struct ReplyWriter {
    /// Where to write.
    pub writer: Writer,
    slices: Vec<(usize, Bytes)>,
}

impl ReplyWriter {
    /// Slices go here, after what is written so far.
    pub fn slices(&mut self, slices: impl IntoIterator<Item = Bytes>) {
        let at = self.writer.position();
        self.slices.extend(slices.into_iter().map(|slice| (at, slice)));
    }

    /// The whole reply.
    pub fn finish(self) -> Outcome {
        self.written().into()
    }

    /// The whole reply. It cannot be written where it would be larger than any message may be, or where the handler set a
    /// field that the version lacks, a bug of ours; both close this connection and leave the others alone.
    pub fn written(self) -> Written {
        match self.writer.finish() {
            Ok(bytes) => Ok(Reply { bytes, slices: self.slices }),
            Err(error) if matches!(error.kind, EncodeErrorKind::Long { .. }) => {
                limited!(warn, "a response would be too large", %error, "a response would be too large: ask for less in one request");
                Err("a response would be too large")
            }
            Err(error) => {
                limited!(error, "a response could not be written", %error, "a response could not be written: please report this");
                Err("a response could not be written")
            }
        }
    }
}

/// A request that waits.
pub struct Parked {
    /// From [`Cx::open`].
    pub id: u64,
    /// When to stop waiting.
    pub deadline: Ticks,
    /// What it waits for.
    pub waiting: Box<dyn Waiting>,
}

/// A parked request's state.
pub trait Waiting {
    /// Part `part` of what was asked for has come.
    fn done(&mut self, cx: &mut Cx<'_>, id: u64, part: u32, done: Done) -> Step;
    /// The deadline has come, of one that has a deadline.
    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Wait
    }
    /// There is memory again for a request that waits for it ([`Budget::wait`]).
    fn granted(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Wait
    }
    /// The broker is about to stop, or the client has closed its direction of the connection. What is being done is done to
    /// its end; what only waits for something to happen ends now.
    fn hurry(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Wait
    }
    /// The connection is gone: no answer is wanted any more. What other cores keep for this request is let go.
    fn abandoned(&mut self, _cx: &mut Cx<'_>, _id: u64) {}
    /// What a [`Step::Yield`] promised: goes on, in another turn.
    fn resume(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Wait
    }
    /// Whether what else its connection sends waits until it is done, or says that it is not heavy any more.
    fn is_heavy(&self) -> bool {
        false
    }
    /// It is over: what of this can be used again goes back.
    fn recycle(self: Box<Self>, _pools: &mut Pools) {}
}

/// What a parked request does next.
pub enum Step {
    /// It waits on.
    Wait,
    /// It goes on by itself, when others have had their turn.
    Yield,
    /// It is answered, or parked as another.
    Finish(Outcome),
}

/// Work for a helper thread; its value comes back as [`Done::Computed`].
pub type Work = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// Work that a request wants done.
pub struct Computing {
    /// The request's id.
    pub request: u64,
    /// What is to be done.
    pub work: Work,
    /// It may take long: others do not wait for it.
    pub long: bool,
}

/// What the process knows of itself.
#[derive(Clone, Debug)]
pub struct Node {
    /// Log directories as DescribeLogDirs names them.
    pub log_dirs: Vec<String>,
    /// Listeners of the controller: name, host and port. Their numbers follow those of the broker's.
    pub controller_listeners: Vec<(String, String, u16)>,
}

/// The outside of a handler.
pub struct Cx<'a> {
    /// Monotonic time of this turn.
    pub now: Ticks,
    /// Wall-clock time of this turn.
    pub wall_ms: WallMs,
    /// This core.
    pub shard: ShardId,
    /// The number of cores.
    pub shards: usize,
    /// The metadata that this core has seen.
    pub image: &'a Arc<Image>,
    /// Configurations in force.
    pub effective: &'a mut Effective,
    /// What the process knows of itself.
    pub node: &'a Node,
    /// Asks for a volume's total and usable bytes.
    pub volume: fn(&str) -> Option<(i64, i64)>,
    /// Reused when batches are decompressed.
    pub scratch: &'a mut Scratch,
    /// Fetch sessions of this core.
    pub sessions: &'a mut FetchSessions,
    /// Producer ids set aside for this core.
    pub producer_ids: &'a mut ProducerIdBlock,
    /// Mail to send at the end of this turn.
    pub outbox: &'a mut Vec<(ShardId, Mail)>,
    /// The requests that wait.
    pub parked: &'a mut ParkedTable,
    /// Replies to write into.
    pub spare: &'a mut Spare,
    /// The memory of this core for requests and replies.
    pub budget: &'a mut Budget,
    /// What is used again and again.
    pub pools: &'a mut Pools,
    /// Work for helper threads, and the requests that wait for it.
    pub computing: &'a mut Vec<Computing>,
}

impl Cx<'_> {
    /// The broker's configuration in force.
    pub fn config(&self) -> &Arc<BrokerConfig> {
        self.effective.broker()
    }

    /// The id of this request, which is about to be parked.
    pub fn open(&mut self) -> u64 {
        self.parked.open()
    }

    /// Begins to write a reply by hand, into one that has been used before.
    pub fn begin_reply(&mut self) -> ReplyWriter {
        let Reply { bytes, slices } = self.spare.take();
        ReplyWriter { writer: Writer::with_buffer(bytes), slices }
    }

    /// Where the answer to part `part` of request `id` goes.
    pub fn reply_to(&self, id: u64, part: u32) -> ReplyTo {
        ReplyTo { shard: self.shard, request: id, part }
    }

    /// Sends a job to an owner.
    pub fn send(&mut self, owner: ShardId, id: u64, part: u32, job: Job) {
        let mail = Mail::Job { reply_to: self.reply_to(id, part), image: self.image.offset(), job };
        self.outbox.push((owner, mail));
    }

    /// Has a helper thread work for request `id`, which is parked until [`Done::Computed`].
    pub fn compute(&mut self, id: u64, work: Work) {
        self.computing.push(Computing { request: id, work, long: false });
    }

    /// As [`Cx::compute`], for what may take long.
    pub fn compute_long(&mut self, id: u64, work: Work) {
        self.computing.push(Computing { request: id, work, long: true });
    }

    /// Tells an owner that nobody waits for this part any more.
    pub fn forget(&mut self, owner: ShardId, id: u64, part: u32) {
        self.outbox.push((owner, Mail::Forget(self.reply_to(id, part))));
    }
}

/// Items grouped by the core that owns them, in order of first appearance per core, with their places in the request.
pub struct ByOwner<T> {
    /// Owner, places, items.
    pub groups: Vec<(ShardId, Vec<usize>, Vec<T>)>,
}

impl<T> Default for ByOwner<T> {
    fn default() -> Self {
        ByOwner { groups: Vec::new() }
    }
}

impl<T> ByOwner<T> {
    /// Adds an item, the `place`-th of the request.
    pub fn push(&mut self, owner: ShardId, place: usize, item: T) {
        let at = self.groups.iter().position(|g| g.0 == owner).unwrap_or_else(|| {
            self.groups.push((owner, Vec::new(), Vec::new()));
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.1.push(place);
        group.2.push(item);
    }
}
