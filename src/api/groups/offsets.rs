//! OffsetCommit (8), OffsetFetch (9), OffsetDelete (47): topics and their ids are resolved here, and what does not exist
//! is refused; the rest is the coordinator's.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::TopicId;
use crate::coord::group::reply::{
    CommitReply, CommittedTopic, DeleteOffsetsReply, DeletedTopic, FetchReply, FetchedOffset, FetchedTopic,
};
use crate::coord::group::request::{CommitRequest, DeleteOffsetsRequest, FetchRequest, FetchTopic};
use crate::coord::group::{GroupError, GroupReply, GroupRequest};
use crate::meta::image::Image;
use crate::wire::codec::{DecodeError, decode_request};
use crate::wire::messages::offset_commit_request::OffsetCommitRequest;
use crate::wire::messages::offset_delete_request::OffsetDeleteRequest;
use crate::wire::messages::offset_fetch_request::OffsetFetchRequest;

use super::super::cx::{Cx, Outcome, Request};
use super::super::{reply, topics};
use super::{coordinate, unexpected};

/// From this version OffsetCommit and OffsetFetch name topics by their ids (KIP-848).
const TOPIC_IDS_FROM: i16 = 10;

/// Partitions with what became of them.
type Outcomes = Vec<(i32, Option<GroupError>)>;

/// Serves an OffsetCommit request, versions 2 to 10.
pub fn offset_commit(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: OffsetCommitRequest<'_> = decode_request(&request.body, version)?;
    let by_id = version >= TOPIC_IDS_FROM;
    let mut commit = CommitRequest::from_wire(&message);
    let mut refused: Vec<CommittedTopic> = Vec::new();
    commit.topics.retain_mut(|topic| {
        let known = topics::find_topic(cx.image, by_id, &topic.name, topic.topic_id);
        let error = match known {
            None if by_id => GroupError::UnknownTopicId,
            _ => GroupError::UnknownTopicOrPartition,
        };
        if let Some(known) = known {
            topic.name = known.name.to_string();
            topic.topic_id = known.id;
        }
        let mut missing = Outcomes::new();
        topic.partitions.retain(|p| {
            let exists = known.is_some_and(|t| t.partitions.contains_key(&p.partition));
            if !exists {
                missing.push((p.partition, Some(error)));
            }
            exists
        });
        if !missing.is_empty() {
            let (name, topic_id) = (topic.name.clone(), topic.topic_id);
            refused.push(CommittedTopic { name, topic_id, partitions: missing });
        }
        !topic.partitions.is_empty()
    });
    if commit.topics.is_empty() {
        return Ok(reply(&CommitReply { topics: refused }.to_wire(), version));
    }
    Ok(coordinate(cx, request, vec![GroupRequest::CommitOffsets(commit)], move |replies| {
        let Ok([GroupReply::CommitOffsets(committed)]) = <[GroupReply; 1]>::try_from(replies) else {
            return unexpected();
        };
        let topics =
            merged(refused, committed.topics, |t| (t.topic_id, t.name.clone()), |t| &mut t.partitions);
        reply(&CommitReply { topics }.to_wire(), version)
    }))
}

/// The refused topics, with the coordinator's behind them; a topic that is in both has its partitions in one place
/// (`OffsetCommitResponse.Builder`, `OffsetDeleteResponse.Builder`).
fn merged<T, K: Ord>(
    mut refused: Vec<T>,
    answered: Vec<T>,
    key: impl Fn(&T) -> K,
    outcomes: impl Fn(&mut T) -> &mut Outcomes,
) -> Vec<T> {
    if refused.is_empty() {
        return answered;
    }
    let places: BTreeMap<K, usize> = refused.iter().enumerate().map(|(at, topic)| (key(topic), at)).collect();
    for mut topic in answered {
        match places.get(&key(&topic)) {
            Some(at) => outcomes(&mut refused[*at]).append(outcomes(&mut topic)),
            None => refused.push(topic),
        }
    }
    refused
}

/// Serves an OffsetFetch request, versions 1 to 10.
pub fn offset_fetch(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: OffsetFetchRequest<'_> = decode_request(&request.body, version)?;
    let by_id = version >= TOPIC_IDS_FROM;
    let mut unknown: Vec<Vec<FetchedTopic>> = Vec::new();
    let mut wanted = Vec::new();
    for mut group in FetchRequest::from_wire(&message, version) {
        let mut missing = Vec::new();
        if let Some(topics) = &mut group.topics {
            topics.retain_mut(|topic| {
                let known = topics::find_topic(cx.image, by_id, &topic.name, topic.topic_id);
                if let Some(known) = known {
                    topic.name = known.name.to_string();
                    topic.topic_id = known.id;
                } else if by_id {
                    missing.push(unknown_id(topic));
                }
                // A topic that is gone may still have offsets under its name.
                known.is_some() || !by_id
            });
        }
        unknown.push(missing);
        wanted.push(GroupRequest::FetchOffsets(group));
    }
    let image = cx.image.clone();
    Ok(coordinate(cx, request, wanted, move |replies| {
        let mut groups: Vec<FetchReply> = Vec::with_capacity(replies.len());
        for (found, missing) in replies.into_iter().zip(unknown) {
            let GroupReply::FetchOffsets(mut found) = found else { return unexpected() };
            if by_id {
                found.topics.retain_mut(|topic| fill_in_id(&image, topic));
            }
            if found.error.is_none() {
                found.topics.extend(missing);
            }
            groups.push(found);
        }
        reply(&FetchReply::to_wire(&groups, version), version)
    }))
}

fn unknown_id(topic: &FetchTopic) -> FetchedTopic {
    let none = |partition: &i32| FetchedOffset::none(*partition, Some(GroupError::UnknownTopicId));
    FetchedTopic {
        name: Arc::from(""),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(none).collect(),
    }
}

/// Where all offsets were asked for, topics come without ids; one that is gone has none, and is left out.
fn fill_in_id(image: &Image, topic: &mut FetchedTopic) -> bool {
    if topic.topic_id.is_zero() {
        topic.topic_id = image.topics().get(&topic.name).map_or(TopicId::ZERO, |known| known.id);
    }
    !topic.topic_id.is_zero()
}

/// Serves an OffsetDelete request, version 0.
pub fn offset_delete(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let version = request.api_version;
    let message: OffsetDeleteRequest<'_> = decode_request(&request.body, version)?;
    let mut delete = DeleteOffsetsRequest::from_wire(&message);
    let mut refused: Vec<DeletedTopic> = Vec::new();
    delete.topics.retain_mut(|(name, partitions)| {
        let known = cx.image.topics().get(name.as_str());
        let mut missing = Outcomes::new();
        partitions.retain(|partition| {
            let exists = known.is_some_and(|t| t.partitions.contains_key(partition));
            if !exists {
                missing.push((*partition, Some(GroupError::UnknownTopicOrPartition)));
            }
            exists
        });
        if !missing.is_empty() {
            refused.push(DeletedTopic { name: name.clone(), partitions: missing });
        }
        !partitions.is_empty()
    });
    Ok(coordinate(cx, request, vec![GroupRequest::DeleteOffsets(delete)], move |replies| {
        let Ok([GroupReply::DeleteOffsets(deleted)]) = <[GroupReply; 1]>::try_from(replies) else {
            return unexpected();
        };
        let topics = match deleted.error {
            // The error of the whole request stands alone.
            Some(_) => Vec::new(),
            None => merged(refused, deleted.topics, |t| t.name.clone(), |t| &mut t.partitions),
        };
        reply(&DeleteOffsetsReply { error: deleted.error, topics }.to_wire(), version)
    }))
}
