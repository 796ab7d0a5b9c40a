//! ListOffsets (key 2), versions 1 to 11: KIP-79 (by time), KIP-734 (largest timestamp), KIP-405, KIP-1005 and
//! KIP-1023 (tiered storage: there is none, so the local log is all there is).

use std::collections::{HashMap, HashSet};

use crate::base::Ticks;
use crate::base::limits::REQUEST_TIMEOUT_MS;
use crate::log::OffsetAndTimestamp;
use crate::meta::image::Image;
use crate::shard::{Done, Job, OffsetsPart};
use crate::wire::codec::{Body, DecodeError};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use crate::wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::cx::{Cx, Outcome, Request, Written};
use super::scatter::{Asked, Scatter, scatter};
use super::{deadline, topics, write};

/// The lowest version that knows a negative timestamp.
const SENTINELS: [(i64, i16); 6] = [(-1, 0), (-2, 0), (-3, 7), (-4, 8), (-5, 9), (-6, 11)];

struct ListOffsets {
    version: i16,
    timeout_ms: i32,
    topics: Vec<(String, Vec<i32>)>,
}

/// Serves a ListOffsets request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    scatter(cx, request, move || read(&body, version, &image))
}

fn read(body: &Body, version: i16, image: &Image) -> Result<Asked<ListOffsets>, DecodeError> {
    let message: ListOffsetsRequest<'_> = body.decode(version)?;
    let mut gathered = ListOffsets { version, timeout_ms: message.timeout_ms, topics: Vec::new() };
    let mut items = Vec::new();
    let mut named: HashMap<(&str, i32), u32> = HashMap::new();
    for topic in &message.topics {
        topic.partitions.iter().for_each(|p| *named.entry((topic.name, p.partition_index)).or_default() += 1);
    }
    // A topic is told of once, if anything was asked about it, and so is a partition that is asked about twice.
    let mut order: Vec<&str> =
        message.topics.iter().filter(|t| !t.partitions.is_empty()).map(|t| t.name).collect();
    let mut seen = HashSet::new();
    order.retain(|name| seen.insert(*name));
    let mut of_topic: HashMap<&str, Vec<&ListOffsetsPartition>> = HashMap::new();
    for topic in &message.topics {
        of_topic.entry(topic.name).or_default().extend(&topic.partitions);
    }
    let mut told = HashSet::new();
    for name in order {
        let mut indexes = Vec::new();
        for p in
            of_topic.remove(name).into_iter().flatten().filter(|p| told.insert((name, p.partition_index)))
        {
            let twice = named.get(&(name, p.partition_index)).is_some_and(|count| *count > 1);
            let known =
                p.timestamp >= 0 || SENTINELS.iter().any(|(t, since)| *t == p.timestamp && *since <= version);
            let item = match topics::find_partition(image, name, p.partition_index) {
                _ if twice => Err(ErrorCode::INVALID_REQUEST),
                Ok(_) if !(0..=1).contains(&message.isolation_level) => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
                Ok(_) if !known => Err(ErrorCode::UNSUPPORTED_VERSION),
                Ok(key) => Ok((
                    key,
                    OffsetsPart {
                        key,
                        timestamp: p.timestamp,
                        current_leader_epoch: p.current_leader_epoch,
                        committed: message.isolation_level == 1,
                    },
                )),
                Err(code) => Err(code),
            };
            items.push(item);
            indexes.push(p.partition_index);
        }
        gathered.topics.push((name.to_owned(), indexes));
    }
    Ok((gathered, items))
}

impl Scatter for ListOffsets {
    type Ask = OffsetsPart;
    type Answer = Result<Option<OffsetAndTimestamp>, ErrorCode>;

    fn job(items: Vec<OffsetsPart>) -> Job {
        Job::Offsets(items)
    }

    fn answers(done: Done) -> Option<Vec<Self::Answer>> {
        match done {
            Done::Offsets(answers) => Some(answers),
            _ => None,
        }
    }

    fn refused(code: ErrorCode) -> Self::Answer {
        Err(code)
    }

    fn may_be_forgotten() -> bool {
        true
    }

    /// The client's timeout is meant for remote storage; a local log is waited for.
    fn deadline(&self, cx: &Cx<'_>) -> Ticks {
        deadline(cx, self.timeout_ms.max(REQUEST_TIMEOUT_MS))
    }

    fn finish(&self, answers: Vec<Self::Answer>) -> Written {
        let mut answers = answers.into_iter();
        let topics = self
            .topics
            .iter()
            .map(|(name, partitions)| ListOffsetsTopicResponse {
                name,
                partitions: partitions
                    .iter()
                    .zip(&mut answers)
                    .map(|(partition_index, answer)| partition(*partition_index, self.version, answer))
                    .collect(),
            })
            .collect();
        write(&ListOffsetsResponse { topics, ..Default::default() }, self.version)
    }
}

fn partition(
    partition_index: i32,
    version: i16,
    answer: Result<Option<OffsetAndTimestamp>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let unknown = ListOffsetsPartitionResponse { partition_index, ..Default::default() };
    match answer {
        Ok(Some(found)) => ListOffsetsPartitionResponse {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: if version >= 4 { found.leader_epoch } else { -1 },
            ..unknown
        },
        Ok(None) => unknown,
        Err(code) => ListOffsetsPartitionResponse { error_code: code.code(), ..unknown },
    }
}
