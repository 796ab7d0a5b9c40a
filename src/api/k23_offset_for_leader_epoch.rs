//! OffsetForLeaderEpoch (key 23), versions 2 to 4: KIP-279, KIP-320.

use crate::base::Offset;
use crate::meta::image::Image;
use crate::shard::{Done, EpochPart, Job};
use crate::wire::codec::{Body, DecodeError};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use crate::wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::cx::{Cx, Outcome, Request, Written};
use super::scatter::{Asked, Scatter, scatter};
use super::{topics, write};

struct Epochs {
    version: i16,
    topics: Vec<(String, Vec<i32>)>,
}

/// Serves an OffsetForLeaderEpoch request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    scatter(cx, request, move || read(&body, version, &image))
}

fn read(body: &Body, version: i16, image: &Image) -> Result<Asked<Epochs>, DecodeError> {
    let message: OffsetForLeaderEpochRequest<'_> = body.decode(version)?;
    let mut gathered = Epochs { version, topics: Vec::new() };
    let mut items = Vec::new();
    for topic in &message.topics {
        for p in &topic.partitions {
            items.push(topics::find_partition(image, topic.topic, p.partition).map(|key| {
                let ask = EpochPart {
                    key,
                    current_leader_epoch: p.current_leader_epoch,
                    leader_epoch: p.leader_epoch,
                };
                (key, ask)
            }));
        }
        let indexes = topic.partitions.iter().map(|p| p.partition).collect();
        gathered.topics.push((topic.topic.to_owned(), indexes));
    }
    Ok((gathered, items))
}

impl Scatter for Epochs {
    type Ask = EpochPart;
    type Answer = Result<(i32, Offset), ErrorCode>;

    fn job(items: Vec<EpochPart>) -> Job {
        Job::Epochs(items)
    }

    fn answers(done: Done) -> Option<Vec<Self::Answer>> {
        match done {
            Done::Epochs(answers) => Some(answers),
            _ => None,
        }
    }

    fn refused(code: ErrorCode) -> Self::Answer {
        Err(code)
    }

    fn finish(&self, answers: Vec<Self::Answer>) -> Written {
        let mut answers = answers.into_iter();
        let result = |partition: i32, answer: Result<(i32, Offset), ErrorCode>| {
            let (leader_epoch, end_offset) = *answer.as_ref().unwrap_or(&(-1, -1));
            let error_code = answer.err().unwrap_or(ErrorCode::NONE).code();
            EpochEndOffset { error_code, partition, leader_epoch, end_offset }
        };
        let topics = self
            .topics
            .iter()
            .map(|(topic, partitions)| OffsetForLeaderTopicResult {
                topic,
                partitions: partitions.iter().zip(&mut answers).map(|(i, a)| result(*i, a)).collect(),
            })
            .collect();
        write(&OffsetForLeaderEpochResponse { topics, ..Default::default() }, self.version)
    }
}
