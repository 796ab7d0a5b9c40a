//! OffsetCommit (8), OffsetFetch (9), OffsetDelete (47): topics are checked here, the rest is the coordinator's.

use crate::base::{Ticks, TopicId};
use crate::coord::group::reply::{CommitReply, CommittedTopic, DeleteOffsetsReply, FetchReply, FetchedTopic};
use crate::coord::group::request::{
    CommitPartition, CommitRequest, CommitTopic, DeleteOffsetsRequest, FetchRequest, FetchTopic,
};
use crate::coord::group::{GroupReply, GroupRequest, error_code};
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::offset_commit_request::OffsetCommitRequest;
use crate::wire::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::messages::offset_delete_request::OffsetDeleteRequest;
use crate::wire::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequest;
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::super::cx::{Cx, Outcome, Parked, Request};
use super::super::{reply as respond, topics};
use super::{Several, ask, owned, single};

/// A topic of an OffsetCommit: its partitions in the order of the request, with the code of those that were refused
/// before the coordinator was asked.
struct Checked {
    name: String,
    topic_id: TopicId,
    partitions: Vec<(i32, Option<ErrorCode>)>,
}

/// Serves an OffsetCommit request, versions 2 to 10.
pub fn offset_commit(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: OffsetCommitRequest<'_> = decode_request(&request.body, version)?;
    let by_id = version >= 10;
    let mut checked = Vec::with_capacity(message.topics.len());
    let mut accepted = Vec::new();
    for topic in &message.topics {
        let known = topics::find_topic(cx.image, by_id, topic.name, topic.topic_id);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        let mut offsets = Vec::new();
        for p in &topic.partitions {
            let refused = match known {
                None if by_id => Some(ErrorCode::UNKNOWN_TOPIC_ID),
                Some(t) if t.partitions.contains_key(&p.partition_index) => None,
                _ => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            };
            partitions.push((p.partition_index, refused));
            if refused.is_none() {
                offsets.push(CommitPartition {
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: owned(p.committed_metadata),
                });
            }
        }
        checked.push(Checked { name: topic.name.to_owned(), topic_id: topic.topic_id, partitions });
        if let Some(known) = known.filter(|_| !offsets.is_empty()) {
            accepted.push(CommitTopic {
                name: known.name.to_string(),
                topic_id: known.id,
                partitions: offsets,
            });
        }
    }
    if accepted.is_empty() {
        return Ok(commit_response(&checked, None, version));
    }
    let commit = CommitRequest {
        group_id: message.group_id.to_owned(),
        generation_id: message.generation_id_or_member_epoch,
        member_id: message.member_id.to_owned(),
        group_instance_id: owned(message.group_instance_id),
        retention_time_ms: message.retention_time_ms,
        topics: accepted,
    };
    Ok(single(cx, request, message.group_id, GroupRequest::CommitOffsets(commit), move |reply, version| {
        match reply {
            Ok(GroupReply::CommitOffsets(committed)) => {
                commit_response(&checked, Some(Ok(&committed)), version)
            }
            Ok(_) => commit_response(&checked, Some(Err(ErrorCode::UNKNOWN_SERVER_ERROR)), version),
            Err(code) => commit_response(&checked, Some(Err(code)), version),
        }
    }))
}

fn commit_response(
    checked: &[Checked],
    reply: Option<Result<&CommitReply, ErrorCode>>,
    version: i16,
) -> Outcome {
    let mut committed: Box<dyn Iterator<Item = &CommittedTopic>> = match &reply {
        Some(Ok(reply)) => Box::new(reply.topics.iter()),
        _ => Box::new(std::iter::empty()),
    };
    let refused = match reply {
        Some(Err(code)) => code,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    };
    let mut topics = Vec::with_capacity(checked.len());
    for topic in checked {
        let asked = topic.partitions.iter().any(|(_, refused)| refused.is_none());
        // The coordinator keeps the order, of topics and of their partitions.
        let outcomes = if asked { committed.next() } else { None };
        let mut outcomes = outcomes.map(|t| t.partitions.iter()).into_iter().flatten();
        let partitions = topic
            .partitions
            .iter()
            .map(|(partition_index, before)| {
                let error_code = match before {
                    Some(code) => code.code(),
                    None => outcomes.next().map_or(refused.code(), |(_, error)| error_code(*error)),
                };
                OffsetCommitResponsePartition { partition_index: *partition_index, error_code }
            })
            .collect();
        topics.push(OffsetCommitResponseTopic { name: &topic.name, topic_id: topic.topic_id, partitions });
    }
    respond(&OffsetCommitResponse { topics, ..Default::default() }, version)
}

/// Serves an OffsetFetch request, versions 1 to 10.
pub fn offset_fetch(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: OffsetFetchRequest<'_> = decode_request(&request.body, version)?;
    let require_stable = message.require_stable;
    if version < 8 {
        let topics = message.topics.as_ref().map(|topics| {
            let of =
                |t: &crate::wire::messages::offset_fetch_request::OffsetFetchRequestTopic<'_>| FetchTopic {
                    name: t.name.to_owned(),
                    topic_id: TopicId::ZERO,
                    partitions: t.partition_indexes.clone(),
                };
            topics.iter().map(of).collect()
        });
        let fetch = FetchRequest { group_id: message.group_id.to_owned(), topics, require_stable };
        let wanted = fetch.topics.clone();
        return Ok(single(
            cx,
            request,
            message.group_id,
            GroupRequest::FetchOffsets(fetch),
            move |reply, version| fetch_response_one(&reply, wanted.as_deref(), version),
        ));
    }
    let by_id = version >= 10;
    let mut unknown = Vec::new();
    let mut wanted = Vec::new();
    for group in &message.groups {
        let mut missing = Vec::new();
        let topics = group.topics.as_ref().map(|asked| {
            let mut known = Vec::new();
            for topic in asked {
                match topics::find_topic(cx.image, by_id, topic.name, topic.topic_id) {
                    Some(found) if by_id => known.push(FetchTopic {
                        name: found.name.to_string(),
                        topic_id: found.id,
                        partitions: topic.partition_indexes.clone(),
                    }),
                    _ if by_id => missing.push((topic.topic_id, topic.partition_indexes.clone())),
                    _ => known.push(FetchTopic {
                        name: topic.name.to_owned(),
                        topic_id: TopicId::ZERO,
                        partitions: topic.partition_indexes.clone(),
                    }),
                }
            }
            known
        });
        unknown.push(missing);
        wanted.push(FetchRequest { group_id: group.group_id.to_owned(), topics, require_stable });
    }
    let mut gather = Several {
        version,
        operations: false,
        groups: wanted.iter().map(|w| w.group_id.clone()).collect(),
        replies: wanted.iter().map(|_| None).collect(),
        outstanding: 0,
        encode: fetch_response,
        unknown,
        ids: by_id.then(|| cx.image.clone()),
    };
    let id = cx.open();
    for (part, fetch) in wanted.into_iter().enumerate() {
        let group = fetch.group_id.clone();
        let asked = ask(cx, request, id, part as u32, &group, GroupRequest::FetchOffsets(fetch));
        gather.outstanding += usize::from(asked);
    }
    Ok(match gather.outstanding {
        0 => fetch_response(&gather),
        _ => Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting: Box::new(gather) }),
    })
}

fn fetch_response_one(
    reply: &Result<GroupReply, ErrorCode>,
    wanted: Option<&[FetchTopic]>,
    version: i16,
) -> Outcome {
    let (error, found): (i16, &[FetchedTopic]) = match reply {
        Ok(GroupReply::FetchOffsets(found)) => (error_code(found.error), &found.topics),
        Ok(_) => (ErrorCode::UNKNOWN_SERVER_ERROR.code(), &[]),
        Err(code) => (code.code(), &[]),
    };
    let mut response = OffsetFetchResponse { error_code: error, ..Default::default() };
    response.topics = found
        .iter()
        .map(|t| OffsetFetchResponseTopic {
            name: &t.name,
            partitions: t
                .partitions
                .iter()
                .map(|p| OffsetFetchResponsePartition {
                    partition_index: p.partition,
                    committed_offset: p.offset,
                    committed_leader_epoch: p.leader_epoch,
                    metadata: Some(&p.metadata),
                    error_code: error_code(p.error),
                })
                .collect(),
        })
        .collect();
    if version < 2 && error != 0 && found.is_empty() {
        response.topics = wanted.unwrap_or_default().iter().map(|t| refused_topic(t, error)).collect();
    }
    respond(&response, version)
}

/// Version 1 has no error of its own: every partition carries it.
fn refused_topic(topic: &FetchTopic, error_code: i16) -> OffsetFetchResponseTopic<'_> {
    let partition = |partition_index: &i32| OffsetFetchResponsePartition {
        partition_index: *partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(""),
        error_code,
    };
    OffsetFetchResponseTopic {
        name: &topic.name,
        partitions: topic.partitions.iter().map(partition).collect(),
    }
}

fn fetch_response(several: &Several) -> Outcome {
    let groups = several
        .each()
        .zip(several.unknown.iter())
        .map(|((group_id, reply), unknown)| match reply {
            Ok(GroupReply::FetchOffsets(found)) => fetched_group(several, group_id, found, unknown),
            Ok(_) => refused_group(group_id, ErrorCode::UNKNOWN_SERVER_ERROR),
            Err(code) => refused_group(group_id, code),
        })
        .collect();
    respond(&OffsetFetchResponse { groups, ..Default::default() }, several.version)
}

fn refused_group(group_id: &str, code: ErrorCode) -> OffsetFetchResponseGroup<'_> {
    OffsetFetchResponseGroup { group_id, error_code: code.code(), ..Default::default() }
}

fn fetched_group<'a>(
    several: &'a Several,
    group_id: &'a str,
    found: &'a FetchReply,
    unknown: &'a [(TopicId, Vec<i32>)],
) -> OffsetFetchResponseGroup<'a> {
    let mut topics: Vec<OffsetFetchResponseTopics<'_>> = Vec::new();
    for t in &found.topics {
        let id = match &several.ids {
            // All topics were asked for: those that are gone have no id any more and are left out.
            Some(image) if t.topic_id.is_zero() => match image.topics().get(&t.name) {
                Some(known) => known.id,
                None => continue,
            },
            _ => t.topic_id,
        };
        topics.push(OffsetFetchResponseTopics {
            name: &t.name,
            topic_id: id,
            partitions: t
                .partitions
                .iter()
                .map(|p| OffsetFetchResponsePartitions {
                    partition_index: p.partition,
                    committed_offset: p.offset,
                    committed_leader_epoch: p.leader_epoch,
                    metadata: Some(&p.metadata),
                    error_code: error_code(p.error),
                })
                .collect(),
        });
    }
    if found.error.is_none() {
        for (topic_id, partitions) in unknown {
            let partition = |partition_index: &i32| OffsetFetchResponsePartitions {
                partition_index: *partition_index,
                committed_offset: -1,
                committed_leader_epoch: -1,
                metadata: Some(""),
                error_code: ErrorCode::UNKNOWN_TOPIC_ID.code(),
            };
            let partitions = partitions.iter().map(partition).collect();
            topics.push(OffsetFetchResponseTopics { name: "", topic_id: *topic_id, partitions });
        }
    }
    OffsetFetchResponseGroup { group_id, topics, error_code: error_code(found.error) }
}

/// Serves an OffsetDelete request, version 0.
pub fn offset_delete(cx: &mut Cx<'_>, request: &Request) -> Result<Outcome, DecodeError> {
    let message: OffsetDeleteRequest<'_> = decode_request(&request.body, request.api_version)?;
    let mut asked = Vec::new();
    let mut accepted: Vec<(String, Vec<i32>)> = Vec::new();
    for topic in &message.topics {
        let known = cx.image.topics().get(topic.name);
        let there = |p: i32| known.is_some_and(|t| t.partitions.contains_key(&p));
        let all: Vec<(i32, bool)> =
            topic.partitions.iter().map(|p| (p.partition_index, there(p.partition_index))).collect();
        let good: Vec<i32> = all.iter().filter(|p| p.1).map(|p| p.0).collect();
        if !good.is_empty() {
            accepted.push((topic.name.to_owned(), good));
        }
        asked.push((topic.name.to_owned(), all));
    }
    let delete = DeleteOffsetsRequest { group_id: message.group_id.to_owned(), topics: accepted };
    Ok(single(cx, request, message.group_id, GroupRequest::DeleteOffsets(delete), move |reply, version| {
        match reply {
            Ok(GroupReply::DeleteOffsets(deleted)) => delete_response(&asked, &deleted, version),
            other => {
                let error_code = other.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR).code();
                respond(&OffsetDeleteResponse { error_code, ..Default::default() }, version)
            }
        }
    }))
}

fn delete_response(
    asked: &[(String, Vec<(i32, bool)>)],
    deleted: &DeleteOffsetsReply,
    version: i16,
) -> Outcome {
    if deleted.error.is_some() {
        let error_code = error_code(deleted.error);
        return respond(&OffsetDeleteResponse { error_code, ..Default::default() }, version);
    }
    let mut outcomes = deleted.topics.iter();
    let mut topics = Vec::with_capacity(asked.len());
    for (name, all) in asked {
        let asked_of_it = all.iter().any(|p| p.1);
        let outcome = if asked_of_it { outcomes.next() } else { None };
        let mut outcome = outcome.map(|t| t.partitions.iter()).into_iter().flatten();
        let partitions = all
            .iter()
            .map(|(partition_index, there)| {
                let code = match there {
                    true => {
                        outcome.next().map_or(ErrorCode::UNKNOWN_SERVER_ERROR.code(), |p| error_code(p.1))
                    }
                    false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.code(),
                };
                OffsetDeleteResponsePartition { partition_index: *partition_index, error_code: code }
            })
            .collect();
        topics.push(OffsetDeleteResponseTopic { name, partitions });
    }
    respond(&OffsetDeleteResponse { topics, ..Default::default() }, version)
}
