//! DeleteRecords (key 21), versions 0 to 2 (KIP-107).

use std::collections::BTreeMap;

use crate::base::{Offset, Ticks};
use crate::meta::image::Image;
use crate::shard::{Done, Job, PartitionKey};
use crate::wire::codec::{Body, DecodeError};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::delete_records_request::DeleteRecordsRequest;
use crate::wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::cx::{Cx, Outcome, Request, Written};
use super::scatter::{Asked, Scatter, scatter};
use super::{REPLICAS_IN_TIME, topics, write};

struct DeleteRecords {
    version: i16,
    topics: Vec<(String, Vec<i32>)>,
}

/// Serves a DeleteRecords request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    scatter(cx, request, move || read(&body, version, &image))
}

fn read(body: &Body, version: i16, image: &Image) -> Result<Asked<DeleteRecords>, DecodeError> {
    let message: DeleteRecordsRequest<'_> = body.decode(version)?;
    let mut gathered = DeleteRecords { version, topics: Vec::new() };
    let mut items = Vec::new();
    // Of a partition that is named twice the last offset holds, and it is answered once, as in Kafka.
    let mut asked: BTreeMap<&str, BTreeMap<i32, Offset>> = BTreeMap::new();
    for topic in &message.topics {
        for p in &topic.partitions {
            asked.entry(topic.name).or_default().insert(p.partition_index, p.offset);
        }
    }
    for (name, partitions) in asked {
        let internal = topics::is_internal(name);
        for (index, offset) in &partitions {
            items.push(match topics::find_partition(image, name, *index) {
                Ok(_) if internal => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
                found => found.map(|key| (key, (key, *offset))),
            });
        }
        gathered.topics.push((name.to_owned(), partitions.into_keys().collect()));
    }
    Ok((gathered, items))
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

    fn deadline(&self, _cx: &Cx<'_>) -> Ticks {
        REPLICAS_IN_TIME
    }

    fn finish(&self, answers: Vec<Self::Answer>) -> Written {
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
        write(&DeleteRecordsResponse { topics, ..Default::default() }, self.version)
    }
}
