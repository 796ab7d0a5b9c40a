//! DescribeProducers (key 61), version 0 (KIP-664).

use crate::log::ProducerDescription;
use crate::meta::image::Image;
use crate::shard::{Done, Job, PartitionKey};
use crate::wire::codec::{Body, DecodeError};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_producers_request::DescribeProducersRequest;
use crate::wire::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::cx::{Cx, Outcome, Request, Written};
use super::scatter::{Asked, Scatter, scatter};
use super::{topics, write};

struct Producers {
    topics: Vec<Asking>,
}

/// A topic that is asked about.
struct Asking {
    name: String,
    known: bool,
    partitions: Vec<i32>,
}

/// Serves a DescribeProducers request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    scatter(cx, request, move || read(&body, version, &image))
}

fn read(body: &Body, version: i16, image: &Image) -> Result<Asked<Producers>, DecodeError> {
    let message: DescribeProducersRequest<'_> = body.decode(version)?;
    let mut gathered = Producers { topics: Vec::new() };
    let mut items = Vec::new();
    for topic in &message.topics {
        let valid = crate::meta::topic_name::validate(topic.name).is_ok();
        items.extend(topic.partition_indexes.iter().map(|index| {
            if valid {
                topics::find_partition(image, topic.name, *index).map(|key| (key, key))
            } else {
                Err(ErrorCode::INVALID_TOPIC_EXCEPTION)
            }
        }));
        gathered.topics.push(Asking {
            name: topic.name.to_owned(),
            known: image.topics().get(topic.name).is_some(),
            partitions: topic.partition_indexes.clone(),
        });
    }
    Ok((gathered, items))
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

    fn bytes(answer: &Self::Answer) -> usize {
        answer.as_ref().map_or(0, |producers| size_of_val(producers.as_slice()))
    }

    fn finish(&self, answers: Vec<Self::Answer>) -> Written {
        let mut answers = answers.into_iter();
        let topics = self
            .topics
            .iter()
            .map(|Asking { name, known, partitions }| TopicResponse {
                name,
                partitions: partitions
                    .iter()
                    .zip(&mut answers)
                    .map(|(index, answer)| partition(*index, *known, answer))
                    .collect(),
            })
            .collect();
        write(&DescribeProducersResponse { topics, ..Default::default() }, 0)
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
