//! What a handler can see and do, and the table of parked requests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ShardId, Ticks, WallMs};
use crate::config::BrokerConfig;
use crate::meta::image::Image;
use crate::net::Slot;
use crate::shard::effective::Effective;
use crate::shard::{Done, Job, Mail, ReplyTo};
use crate::wire::api::ApiKey;
use crate::wire::record::Scratch;

use super::fetch_session::FetchSessions;
use super::producer_ids::ProducerIdBlock;

/// A request whose header has been read and whose version is one that we serve.
#[derive(Clone)]
pub struct Request {
    /// Where its reply goes.
    pub slot: Slot,
    /// The API.
    pub api_key: ApiKey,
    /// Its version.
    pub api_version: i16,
    /// Chosen by the client, echoed in the reply.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<Arc<str>>,
    /// The body: what follows the header.
    pub body: Bytes,
    /// The client's address.
    pub peer: SocketAddr,
    /// The listener it came in by: its place in the configuration.
    pub listener: u32,
}

/// What became of a request.
pub enum Outcome {
    /// Answered: the response body, in parts.
    Reply(Vec<Bytes>),
    /// Parked until its jobs are done or its deadline has come.
    Parked(Parked),
    /// Nothing is sent (Produce with acks=0).
    Silent,
    /// The connection cannot go on: for the log, why.
    Close(&'static str),
}

impl Outcome {
    /// A reply in one piece.
    pub fn body(bytes: Vec<u8>) -> Outcome {
        Outcome::Reply(vec![Bytes::from(bytes)])
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
    /// The deadline has come.
    fn expired(&mut self, cx: &mut Cx<'_>, id: u64) -> Step;
    /// The broker is about to stop. What is being done is done to its end; what only waits for something to happen ends
    /// now.
    fn hurry(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Wait
    }
    /// The connection is gone: no answer is wanted any more. What other cores keep for this request is let go.
    fn abandoned(&mut self, _cx: &mut Cx<'_>, _id: u64) {}
}

/// What a parked request does next.
pub enum Step {
    /// It waits on.
    Wait,
    /// It is answered.
    Finish(Outcome),
}

/// What the process knows of itself.
#[derive(Clone, Debug)]
pub struct Node {
    /// Log directories as DescribeLogDirs names them.
    pub log_dirs: Vec<String>,
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
    /// The last id given to a parked request.
    pub last_id: &'a mut u64,
}

impl Cx<'_> {
    /// The broker's configuration in force.
    pub fn config(&self) -> &Arc<BrokerConfig> {
        self.effective.broker()
    }

    /// A new id for a request that is about to be parked.
    pub fn open(&mut self) -> u64 {
        *self.last_id += 1;
        *self.last_id
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

/// The parked requests of a core.
#[derive(Default)]
pub struct ParkedTable {
    entries: HashMap<u64, Entry>,
    deadlines: BTreeSet<(Ticks, u64)>,
    by_conn: BTreeMap<crate::io::ConnId, BTreeSet<u64>>,
}

/// A parked request with what is needed to answer it.
pub struct Entry {
    /// The request without its body.
    pub request: Request,
    /// Its state.
    pub waiting: Box<dyn Waiting>,
    deadline: Ticks,
}

impl ParkedTable {
    /// Parks a request.
    pub fn insert(&mut self, request: Request, parked: Parked) {
        let Parked { id, deadline, waiting } = parked;
        self.by_conn.entry(request.slot.conn).or_default().insert(id);
        self.deadlines.insert((deadline, id));
        self.entries.insert(id, Entry { request, waiting, deadline });
    }

    /// Takes a request out; put it back with [`ParkedTable::put_back`] if it waits on.
    pub fn take(&mut self, id: u64) -> Option<Entry> {
        self.entries.remove(&id)
    }

    /// Puts a request back that waits on.
    pub fn put_back(&mut self, id: u64, entry: Entry) {
        self.entries.insert(id, entry);
    }

    /// Forgets a request that was taken out and is finished.
    pub fn finish(&mut self, id: u64, entry: &Entry) {
        self.deadlines.remove(&(entry.deadline, id));
        let conn = entry.request.slot.conn;
        if let Some(ids) = self.by_conn.get_mut(&conn) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Ticks {
        self.deadlines.first().map_or(Ticks::NEVER, |d| d.0)
    }

    /// A request whose deadline has come. Its deadline is forgotten: it is told once.
    pub fn pop_expired(&mut self, now: Ticks) -> Option<u64> {
        let first = *self.deadlines.first()?;
        (first.0 <= now).then(|| {
            self.deadlines.remove(&first);
            first.1
        })
    }

    /// The requests of a connection that is gone.
    pub fn of_conn(&self, conn: crate::io::ConnId) -> Vec<u64> {
        self.by_conn.get(&conn).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// All parked requests.
    pub fn all(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.entries.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The number of parked requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is parked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
