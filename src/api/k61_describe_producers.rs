//! DescribeProducers (key 61), version 0 (KIP-664).

use std::collections::HashMap;

use crate::base::ProducerId;
use crate::base::limits::PARTITIONS_REPLY_BYTES_MAX;
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

/// No producer has a lower id.
const FIRST: ProducerId = ProducerId::MIN;

struct Producers {
    topics: Vec<Asking>,
}

/// A topic that is asked about.
struct Asking {
    name: String,
    /// Kafka has words for what is wrong with a topic, but not with a partition.
    topic_error: Option<String>,
    /// Each with the place of its answer.
    partitions: Vec<(i32, usize)>,
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
    // What is named again is asked once.
    let mut places = HashMap::new();
    for topic in &message.topics {
        let invalid = crate::meta::topic_name::validate(topic.name).err();
        let known = image.topics().get(topic.name).is_some();
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in &topic.partition_indexes {
            let item = match invalid {
                None => topics::find_partition(image, topic.name, *index).map(|key| (key, (key, FIRST))),
                Some(_) => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
            };
            let place = *places.entry((topic.name, *index)).or_insert(items.len());
            if place == items.len() {
                items.push(item);
            }
            partitions.push((*index, place));
        }
        let unknown = || (!known).then(|| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.message().to_owned());
        let topic_error = invalid.or_else(unknown);
        gathered.topics.push(Asking { name: topic.name.to_owned(), topic_error, partitions });
    }
    Ok((gathered, items))
}

impl Scatter for Producers {
    type Ask = (PartitionKey, ProducerId);
    type Answer = Result<(Vec<ProducerDescription>, bool), ErrorCode>;

    fn job(items: Vec<(PartitionKey, ProducerId)>) -> Job {
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
        answer.as_ref().map_or(0, |(producers, _)| size_of_val(producers.as_slice()))
    }

    fn again(key: PartitionKey, so_far: Option<&Self::Answer>) -> Option<Self::Ask> {
        match so_far {
            None => Some((key, FIRST)),
            Some(Ok((producers, true))) => {
                Some((key, producers.last().map_or(FIRST, |last| last.producer_id.saturating_add(1))))
            }
            Some(_) => None,
        }
    }

    fn add(answer: &mut Self::Answer, more: Self::Answer) {
        match (answer, more) {
            (Ok((producers, has_more)), Ok((mut next, more))) => {
                producers.append(&mut next);
                *has_more = more;
            }
            (answer, more) => *answer = more,
        }
    }

    fn finish(&self, answers: Vec<Self::Answer>) -> Written {
        let mut bytes = 0;
        // As often as it is named, as in Kafka, as long as there is room.
        let mut describe = |place: usize| {
            let answer = answers.get(place).unwrap_or(&Err(ErrorCode::UNKNOWN_SERVER_ERROR));
            let (size, before) = (Self::bytes(answer), bytes);
            bytes += size;
            match answer {
                Ok(_) if before > 0 && size > 0 && bytes > PARTITIONS_REPLY_BYTES_MAX => {
                    Err(ErrorCode::UNKNOWN_SERVER_ERROR)
                }
                Ok((_, true)) => Err(ErrorCode::REQUEST_TIMED_OUT),
                Ok((producers, false)) => Ok(producers),
                Err(code) => Err(*code),
            }
        };
        let mut topics = Vec::with_capacity(self.topics.len());
        for Asking { name, topic_error, partitions } in &self.topics {
            let described = partitions
                .iter()
                .map(|(index, place)| partition(*index, describe(*place), topic_error.as_deref()));
            topics.push(TopicResponse { name, partitions: described.collect() });
        }
        write(&DescribeProducersResponse { topics, ..Default::default() }, 0)
    }
}

fn partition<'a>(
    partition_index: i32,
    answer: Result<&Vec<ProducerDescription>, ErrorCode>,
    error_message: Option<&'a str>,
) -> PartitionResponse<'a> {
    let named = PartitionResponse { partition_index, error_message, ..Default::default() };
    match answer {
        Ok(producers) => {
            PartitionResponse { active_producers: producers.iter().map(producer).collect(), ..named }
        }
        Err(code) => PartitionResponse { error_code: code.code(), ..named },
    }
}

fn producer(p: &ProducerDescription) -> ProducerState {
    ProducerState {
        producer_id: p.producer_id,
        producer_epoch: p.producer_epoch.into(),
        last_sequence: p.last_sequence,
        last_timestamp: p.last_timestamp,
        coordinator_epoch: p.coordinator_epoch,
        current_txn_start_offset: p.current_txn_start_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TopicId;
    use crate::base::limits::PRODUCERS_DESCRIBED_AT_ONCE;
    use crate::wire::codec::decode;

    fn producer(producer_id: ProducerId) -> ProducerDescription {
        ProducerDescription {
            producer_id,
            producer_epoch: 0,
            last_sequence: 1,
            last_timestamp: 2,
            coordinator_epoch: -1,
            current_txn_start_offset: -1,
        }
    }

    fn asked(partitions: Vec<(i32, usize)>) -> Producers {
        Producers { topics: vec![Asking { name: "t".into(), topic_error: None, partitions }] }
    }

    /// 808 bytes that named a partition with 20,000 producers 200 times took 313 MB: its owner copied them for each, and nobody
    /// counted before all had come.
    #[test]
    fn a_partition_is_asked_once_and_described_as_often_as_there_is_room() {
        let producers: Vec<ProducerDescription> = (0..20_000).map(producer).collect();
        let whole = asked(vec![(0, 0); 200]).finish(vec![Ok((producers, false))]).expect("written");
        assert!(whole.bytes.len() < PARTITIONS_REPLY_BYTES_MAX * 3 / 2, "{}", whole.bytes.len());
        let response: DescribeProducersResponse<'_> = decode(&whole.bytes, 0).expect("a response");
        let (told, refused): (Vec<_>, Vec<_>) =
            response.topics[0].partitions.iter().partition(|p| p.active_producers.len() == 20_000);
        assert!(told.len() > 10 && told.len() + refused.len() == 200, "{}", told.len());
        assert!(refused.iter().all(|p| p.error_code == ErrorCode::UNKNOWN_SERVER_ERROR.code()));
        // One alone is whole, however large.
        let many: Vec<ProducerDescription> = (0..1_000_000).map(producer).collect();
        let whole = asked(vec![(0, 0)]).finish(vec![Ok((many, false))]).expect("written");
        assert!(whole.bytes.len() > PARTITIONS_REPLY_BYTES_MAX);
    }

    #[test]
    fn what_is_told_in_parts_is_put_together() {
        let key = PartitionKey { topic_id: TopicId::ONE, partition: 0 };
        let all: Vec<ProducerDescription> = (0..10_000).map(|id| producer(id * 3)).collect();
        let mut answer: Option<<Producers as Scatter>::Answer> = None;
        let mut jobs = 0;
        while let Some((_, from)) = Producers::again(key, answer.as_ref()) {
            let mut rest = all.iter().filter(|p| p.producer_id >= from).copied().peekable();
            let part = rest.by_ref().take(PRODUCERS_DESCRIBED_AT_ONCE).collect();
            let part = Ok((part, rest.peek().is_some()));
            match &mut answer {
                Some(answer) => Producers::add(answer, part),
                None => answer = Some(part),
            }
            jobs += 1;
        }
        assert_eq!((answer, jobs), (Some(Ok((all, false))), 3));
    }
}
