//! DeleteRecords (key 21), versions 0 to 2 (KIP-107).

use crate::base::Offset;
use crate::shard::{Done, Job, PartitionKey};
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::delete_records_request::DeleteRecordsRequest;
use crate::wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::cx::{Cx, Outcome, Request};
use super::scatter::{Scatter, scatter};
use super::{REPLICAS_IN_TIME, reply, topics};

struct DeleteRecords {
    version: i16,
    topics: Vec<(String, Vec<i32>)>,
}

/// Serves a DeleteRecords request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let message: DeleteRecordsRequest<'_> = decode_request(&request.body, request.api_version)?;
    let mut gathered = DeleteRecords { version: request.api_version, topics: Vec::new() };
    let mut items = Vec::new();
    for topic in &message.topics {
        for p in &topic.partitions {
            let found = topics::find_partition(cx.image, topic.name, p.partition_index);
            let internal = topics::is_internal(topic.name);
            items.push(match found {
                Ok(_) if internal => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
                found => found.map(|key| (key, (key, p.offset))),
            });
        }
        let indexes = topic.partitions.iter().map(|p| p.partition_index).collect();
        gathered.topics.push((topic.name.to_owned(), indexes));
    }
    Ok(scatter(cx, gathered, items, REPLICAS_IN_TIME))
}

impl Scatter for DeleteRecords {
    type Ask = (PartitionKey, Offset);
    type Answer = Result<Offset, ErrorCode>;

    fn job(items: Vec<Self::Ask>) -> Job {
        Job::DeleteRecords(items)
    }

    fn answers(done: Done) -> Option<Vec<Self::Answer>> {
        match done {
            Done::DeleteRecords(answers) => Some(answers),
            _ => None,
        }
    }

    fn refused(code: ErrorCode) -> Self::Answer {
        Err(code)
    }

    fn finish(&self, _cx: &mut Cx<'_>, answers: Vec<Self::Answer>) -> Outcome {
        let mut answers = answers.into_iter();
        let result = |partition_index: i32, answer: Result<Offset, ErrorCode>| DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: *answer.as_ref().unwrap_or(&-1),
            error_code: answer.err().unwrap_or(ErrorCode::NONE).code(),
        };
        let topics = self
            .topics
            .iter()
            .map(|(name, partitions)| DeleteRecordsTopicResult {
                name,
                partitions: partitions.iter().zip(&mut answers).map(|(i, a)| result(*i, a)).collect(),
            })
            .collect();
        reply(&DeleteRecordsResponse { topics, ..Default::default() }, self.version)
    }
}
