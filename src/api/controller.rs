//! The APIs that only the controller can answer: CreateTopics, DeleteTopics, CreatePartitions, AlterConfigs,
//! IncrementalAlterConfigs, DescribeQuorum. The whole body goes to the controller's core, and its answer comes back.

use crate::base::ShardId;
use crate::base::limits::API_TIMEOUT_MS;
use crate::shard::{ControlJob, Done, Job};
use crate::wire::codec::DecodeError;

use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting};
use super::deadline;

struct Forwarded;

/// Sends a request to the controller.
#[allow(clippy::unnecessary_wraps)] // the form of a handler
pub fn forward(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let id = cx.open();
    let job =
        ControlJob { api_key: request.api_key, api_version: request.api_version, body: request.body.clone() };
    cx.send(ShardId(0), id, 0, Job::Control(job));
    Ok(Outcome::Parked(Parked { id, deadline: deadline(cx, API_TIMEOUT_MS), waiting: Box::new(Forwarded) }))
}

impl Waiting for Forwarded {
    fn done(&mut self, _cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        Step::Finish(match done {
            Done::Body(Ok(body)) => Outcome::body(body),
            _ => Outcome::Close("the controller could not answer"),
        })
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Finish(Outcome::Close("the controller did not answer in time"))
    }
}
