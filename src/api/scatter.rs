//! Requests that ask several cores and answer when all have: the items grouped by owner, the outcomes put back in
//! the request's order. A long one is read and its response written by a helper thread, and its owners are asked about a
//! bounded number of items at a time, so that others have their turn between.

use std::collections::{HashMap, VecDeque};

use crate::base::limits::{
    PARTITIONS_ASKED_AT_ONCE, PARTITIONS_REPLY_BYTES_MAX, REPLY_SMALL_BYTES, REQUEST_TIMEOUT_MS,
};
use crate::base::{ShardId, Ticks};
use crate::shard::{Done, Job, PartitionKey};
use crate::wire::codec::DecodeError;
use crate::wire::errors::ErrorCode;

use super::apart::apart;
use super::cx::{ByOwner, Cx, Outcome, Parked, Request, Step, Waiting, Written};
use super::deadline;

/// How a kind of request gathers its answers.
pub trait Scatter: Send + 'static {
    /// What an owner is asked for one item.
    type Ask: Send;
    /// What an owner answers for one item.
    type Answer: Send;
    /// The job for the items of one owner.
    fn job(items: Vec<Self::Ask>) -> Job;
    /// The answers in a job's outcome.
    fn answers(done: Done) -> Option<Vec<Self::Answer>>;
    /// The answer for an item that could not be asked, or was not answered in time.
    fn refused(code: ErrorCode) -> Self::Answer;
    /// What an answer takes beside its own size.
    fn bytes(_answer: &Self::Answer) -> usize {
        0
    }
    /// What is still to be asked about an item, given its answer so far: an owner answers the first ones of a job, and the last
    /// of those in part, where they have much to say.
    fn again(_key: PartitionKey, _so_far: Option<&Self::Answer>) -> Option<Self::Ask> {
        None
    }
    /// Another part of an answer.
    fn add(answer: &mut Self::Answer, more: Self::Answer) {
        *answer = more;
    }
    /// Whether an owner may stop as soon as nobody waits for its answer: it changes nothing.
    fn may_be_forgotten() -> bool {
        false
    }
    /// How long the client waits for the owners.
    fn deadline(&self, cx: &Cx<'_>) -> Ticks {
        deadline(cx, REQUEST_TIMEOUT_MS)
    }
    /// The response, given the answers in the order of the request.
    fn finish(&self, answers: Vec<Self::Answer>) -> Written;
}

/// What is to be asked about one partition, or why not.
pub type Item<A> = Result<(PartitionKey, A), ErrorCode>;
/// A request that was read.
pub type Asked<S> = (S, Vec<Item<<S as Scatter>::Ask>>);

struct Gather<S: Scatter> {
    scatter: Option<S>,
    large: bool,
    answers: Vec<Option<S::Answer>>,
    /// Not asked yet, with their places.
    left: VecDeque<(usize, PartitionKey, S::Ask)>,
    /// Of each owner that was asked, the places of its items.
    places: Vec<Vec<(usize, PartitionKey)>>,
    /// Those that have not answered, each with its part.
    asked: Vec<(ShardId, u32)>,
    bytes: usize,
}

/// Asks the owners of what `read` finds in the request; an item that is an error already keeps it.
pub fn scatter<S: Scatter>(
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    read: impl FnOnce() -> Result<Asked<S>, DecodeError> + Send + 'static,
) -> Result<Outcome, DecodeError> {
    let large = request.is_large();
    let read = move || read().map(|(scatter, items)| Gather::new(scatter, items, large));
    apart(cx, large, read, |cx, gather| gather.begin(cx))
}

impl<S: Scatter> Gather<S> {
    fn new(scatter: S, items: Vec<Item<S::Ask>>, large: bool) -> Gather<S> {
        let mut answers = Vec::with_capacity(items.len());
        let mut left = VecDeque::new();
        for (place, item) in items.into_iter().enumerate() {
            answers.push(item.as_ref().err().map(|code| S::refused(*code)));
            left.extend(item.ok().map(|(key, ask)| (place, key, ask)));
        }
        Gather {
            scatter: Some(scatter),
            large,
            answers,
            left,
            places: Vec::new(),
            asked: Vec::new(),
            bytes: 0,
        }
    }

    fn begin(mut self, cx: &mut Cx<'_>) -> Outcome {
        if self.left.is_empty() {
            return self.finish(cx);
        }
        let deadline = self.scatter.as_ref().map_or(Ticks::NEVER, |scatter| scatter.deadline(cx));
        let id = cx.open();
        self.ask(cx, id);
        Outcome::Parked(Parked { id, deadline, waiting: Box::new(self) })
    }

    /// Asks about the next items.
    fn ask(&mut self, cx: &mut Cx<'_>, id: u64) {
        let mut by_owner: ByOwner<S::Ask> = ByOwner::default();
        let (mut keys, count) = (HashMap::new(), self.left.len().min(PARTITIONS_ASKED_AT_ONCE));
        for (place, key, ask) in self.left.drain(..count) {
            keys.insert(place, key);
            by_owner.push(key.owner(cx.shards), place, ask);
        }
        self.places.clear();
        for (part, (owner, places, asks)) in by_owner.groups.into_iter().enumerate() {
            self.places
                .push(places.into_iter().filter_map(|place| Some((place, *keys.get(&place)?))).collect());
            self.asked.push((owner, part as u32));
            cx.send(owner, id, part as u32, S::job(asks));
        }
    }

    /// Refuses what there is no room for, save what is answered in part.
    fn refuse_rest(&mut self) {
        let answers = &mut self.answers;
        self.left.retain(|(place, ..)| {
            let begun = answers[*place].is_some();
            answers[*place].get_or_insert_with(|| S::refused(ErrorCode::UNKNOWN_SERVER_ERROR));
            begun
        });
    }

    /// Takes in what an owner has answered.
    fn take_in(&mut self, places: &[(usize, PartitionKey)], done: Done) {
        let Some(answers) = S::answers(done) else { return };
        let mut answers = answers.into_iter();
        for (place, key) in places {
            if let Some(answer) = answers.next() {
                self.bytes += S::bytes(&answer);
                match &mut self.answers[*place] {
                    Some(so_far) => S::add(so_far, answer),
                    missing => *missing = Some(answer),
                }
            }
            self.left.extend(S::again(*key, self.answers[*place].as_ref()).map(|ask| (*place, *key, ask)));
        }
        self.large |= self.bytes > REPLY_SMALL_BYTES;
    }

    /// Nobody waits for the answers any more that are missing.
    fn forget(&mut self, cx: &mut Cx<'_>, id: u64) {
        for (owner, part) in self.asked.drain(..).filter(|_| S::may_be_forgotten()) {
            cx.forget(owner, id, part);
        }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let Some(scatter) = self.scatter.take() else { return Outcome::Close("a request that is over") };
        let answers = std::mem::take(&mut self.answers);
        let write = move || {
            let answer = |a: Option<S::Answer>| a.unwrap_or_else(|| S::refused(ErrorCode::REQUEST_TIMED_OUT));
            Ok(scatter.finish(answers.into_iter().map(answer).collect()))
        };
        let written = apart(cx, self.large, write, |_, written: Written| written.into());
        written.unwrap_or(Outcome::Close("a response could not be written"))
    }
}

impl<S: Scatter> Waiting for Gather<S> {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, part: u32, done: Done) -> Step {
        let places = self.places.get_mut(part as usize).map(std::mem::take).unwrap_or_default();
        self.take_in(&places, done);
        self.asked.retain(|(_, of)| *of != part);
        if self.bytes > PARTITIONS_REPLY_BYTES_MAX {
            self.refuse_rest();
        }
        match (self.asked.len(), self.left.len()) {
            (0, 0) => Step::Finish(self.finish(cx)),
            (0, _) => Step::Yield,
            _ => Step::Wait,
        }
    }

    fn resume(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.ask(cx, id);
        Step::Wait
    }

    fn expired(&mut self, cx: &mut Cx<'_>, id: u64) -> Step {
        self.forget(cx, id);
        Step::Finish(self.finish(cx))
    }

    fn abandoned(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.forget(cx, id);
    }

    fn is_heavy(&self) -> bool {
        self.large
    }
}

/// Asks every core and gathers their answers.
pub fn ask_all(cx: &mut Cx<'_>, id: u64, job: impl Fn(ShardId) -> Job) {
    for shard in 0..cx.shards {
        let shard = ShardId(shard as u16);
        cx.send(shard, id, u32::from(shard.0), job(shard));
    }
}
