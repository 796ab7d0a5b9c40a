//! DescribeProducers (key 61), version 0 (KIP-664).

use crate::base::limits::REQUEST_TIMEOUT_MS;
use crate::log::ProducerDescription;
use crate::shard::{Done, Job, PartitionKey};
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_producers_request::DescribeProducersRequest;
use crate::wire::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::cx::{Cx, Outcome, Request};
use super::scatter::{Scatter, scatter};
use super::{deadline, reply, topics};

struct Producers {
    topics: Vec<(String, Vec<i32>)>,
}

/// Serves a DescribeProducers request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let message: DescribeProducersRequest<'_> = decode_request(&request.body, request.api_version)?;
    let mut gathered = Producers { topics: Vec::new() };
    let mut items = Vec::new();
    for topic in &message.topics {
        for index in &topic.partition_indexes {
            items.push(match crate::meta::topic_name::validate(topic.name) {
                Ok(()) => topics::find_partition(cx.image, topic.name, *index).map(|key| (key, key)),
                Err(_) => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
            });
        }
        gathered.topics.push((topic.name.to_owned(), topic.partition_indexes.clone()));
    }
    let until = deadline(cx, REQUEST_TIMEOUT_MS);
    Ok(scatter(cx, gathered, items, until))
}

impl Scatter for Producers {
    type Ask = PartitionKey;
    type Answer = Result<Vec<ProducerDescription>, ErrorCode>;

    fn job(items: Vec<PartitionKey>) -> Job {
        Job::Producers(items)
    }

    fn answers(done: Done) -> Option<Vec<Self::Answer>> {
        match done {
            Done::Producers(answers) => Some(answers),
            _ => None,
        }
    }

    fn refused(code: ErrorCode) -> Self::Answer {
        Err(code)
    }

    fn finish(&self, cx: &mut Cx<'_>, answers: Vec<Self::Answer>) -> Outcome {
        let mut answers = answers.into_iter();
        let topics = self
            .topics
            .iter()
            .map(|(name, indexes)| TopicResponse {
                name,
                partitions: {
                    let known = cx.image.topics().get(name).is_some();
                    indexes.iter().zip(&mut answers).map(|(i, a)| partition(*i, known, a)).collect()
                },
            })
            .collect();
        reply(&DescribeProducersResponse { topics, ..Default::default() }, 0)
    }
}

fn partition(
    partition_index: i32,
    topic_known: bool,
    answer: Result<Vec<ProducerDescription>, ErrorCode>,
) -> PartitionResponse<'static> {
    match answer {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers.into_iter().map(producer).collect(),
            ..Default::default()
        },
        Err(code) => PartitionResponse {
            partition_index,
            error_code: code.code(),
            error_message: topic_known.then(|| code.message()),
            ..Default::default()
        },
    }
}

fn producer(p: ProducerDescription) -> ProducerState {
    ProducerState {
        producer_id: p.producer_id,
        producer_epoch: p.producer_epoch.into(),
        last_sequence: p.last_sequence,
        last_timestamp: p.last_timestamp,
        coordinator_epoch: p.coordinator_epoch,
        current_txn_start_offset: p.current_txn_start_offset,
    }
}
