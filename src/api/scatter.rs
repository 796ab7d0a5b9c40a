//! Requests that ask several cores and answer when all have: the items grouped by owner, the outcomes put back in
//! the request's order.

use crate::base::{ShardId, Ticks};
use crate::shard::{Done, Job, PartitionKey};
use crate::wire::errors::ErrorCode;

use super::cx::{ByOwner, Cx, Outcome, Parked, Step, Waiting};

/// How a kind of request gathers its answers.
pub trait Scatter: 'static {
    /// What an owner is asked for one item.
    type Ask: Clone;
    /// What an owner answers for one item.
    type Answer;
    /// The job for the items of one owner.
    fn job(items: Vec<Self::Ask>) -> Job;
    /// The answers in a job's outcome.
    fn answers(done: Done) -> Option<Vec<Self::Answer>>;
    /// The answer for an item that could not be asked, or was not answered in time.
    fn refused(code: ErrorCode) -> Self::Answer;
    /// The response, given the answers in the order of the request.
    fn finish(&self, cx: &mut Cx<'_>, answers: Vec<Self::Answer>) -> Outcome;
}

struct Gather<S: Scatter> {
    scatter: S,
    answers: Vec<Option<S::Answer>>,
    places: Vec<Vec<usize>>,
    outstanding: usize,
}

/// Asks the owners of `items`; an item that is an error already keeps it.
pub fn scatter<S: Scatter>(
    cx: &mut Cx<'_>,
    scatter: S,
    items: Vec<Result<(PartitionKey, S::Ask), ErrorCode>>,
    deadline: Ticks,
) -> Outcome {
    let mut by_owner: ByOwner<S::Ask> = ByOwner::default();
    let mut answers = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        match item {
            Ok((key, ask)) => {
                by_owner.push(key.owner(cx.shards), place, ask);
                answers.push(None);
            }
            Err(code) => answers.push(Some(S::refused(code))),
        }
    }
    let mut gather = Gather { scatter, answers, places: Vec::new(), outstanding: by_owner.groups.len() };
    if by_owner.groups.is_empty() {
        return gather.finish(cx);
    }
    let id = cx.open();
    for (part, (owner, places, asks)) in by_owner.groups.into_iter().enumerate() {
        gather.places.push(places);
        cx.send(owner, id, part as u32, S::job(asks));
    }
    Outcome::Parked(Parked { id, deadline, waiting: Box::new(gather) })
}

impl<S: Scatter> Gather<S> {
    fn finish(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let answers = std::mem::take(&mut self.answers);
        let answers =
            answers.into_iter().map(|a| a.unwrap_or_else(|| S::refused(ErrorCode::REQUEST_TIMED_OUT)));
        self.scatter.finish(cx, answers.collect())
    }
}

impl<S: Scatter> Waiting for Gather<S> {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, part: u32, done: Done) -> Step {
        if let Some(answers) = S::answers(done) {
            for (place, answer) in self.places[part as usize].iter().zip(answers) {
                self.answers[*place] = Some(answer);
            }
        }
        self.outstanding -= 1;
        if self.outstanding > 0 { Step::Wait } else { Step::Finish(self.finish(cx)) }
    }

    fn expired(&mut self, cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish(self.finish(cx))
    }
}

/// Asks every core the same and gathers their answers.
pub fn ask_all(cx: &mut Cx<'_>, id: u64, job: impl Fn() -> Job) {
    for shard in 0..cx.shards {
        cx.send(ShardId(shard as u16), id, shard as u32, job());
    }
}
