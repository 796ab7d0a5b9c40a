//! OffsetCommit (8), OffsetFetch (9), OffsetDelete (47): topics and their ids are resolved here, and what does not exist
//! is refused; the rest is the coordinator's.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::TopicId;
use crate::base::limits::OFFSETS_FETCHED_AT_ONCE;
use crate::coord::group::reply::{
    CommitReply, CommittedTopic, DeleteOffsetsReply, DeletedTopic, FetchReply, FetchedOffset, FetchedTopic,
};
use crate::coord::group::request::{CommitRequest, DeleteOffsetsRequest, FetchRequest, FetchTopic};
use crate::coord::group::{GroupError, GroupReply, GroupRequest};
use crate::meta::image::Image;
use crate::wire::codec::{Body, DecodeError, DecodeErrorKind, Element, Message, Reader, Writer};
use crate::wire::messages::offset_commit_request::OffsetCommitRequest;
use crate::wire::messages::offset_delete_request::OffsetDeleteRequest;
use crate::wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};

use super::super::apart::apart;
use super::super::cx::{Cx, Outcome, Request, Written};
use super::super::{reply, topics, write};
use super::listing::{Asker, Listing};
use super::{coordinate, is_long, unexpected};

/// From this version OffsetCommit and OffsetFetch name topics by their ids (KIP-848).
const TOPIC_IDS_FROM: i16 = 10;

/// From this version OffsetFetch names several groups.
const GROUPS_FROM: i16 = 8;

/// Partitions with what became of them.
type Outcomes = Vec<(i32, Option<GroupError>)>;

/// Serves an OffsetCommit request, versions 2 to 10.
pub fn offset_commit(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    let from = Asker::of(request);
    let read = move || read_commit(&body, version, &image);
    apart(cx, is_long(request), read, move |cx, (commit, refused)| {
        if commit.topics.is_empty() {
            return reply(&CommitReply { topics: refused }.to_wire(), version);
        }
        coordinate(cx, from, vec![GroupRequest::CommitOffsets(commit)], move |replies| {
            let Ok([GroupReply::CommitOffsets(committed)]) = <[GroupReply; 1]>::try_from(replies) else {
                return unexpected();
            };
            let key = |t: &CommittedTopic| (t.topic_id, t.name.clone());
            let topics = merged(refused, committed.topics, key, |t| &mut t.partitions);
            write(&CommitReply { topics }.to_wire(), version)
        })
    })
}

/// What is to be committed, and what does not exist.
fn read_commit(
    body: &Body,
    version: i16,
    image: &Image,
) -> Result<(CommitRequest, Vec<CommittedTopic>), DecodeError> {
    let message: OffsetCommitRequest<'_> = body.decode(version)?;
    let by_id = version >= TOPIC_IDS_FROM;
    let mut commit = CommitRequest::from_wire(&message);
    let mut refused: Vec<CommittedTopic> = Vec::new();
    commit.topics.retain_mut(|topic| {
        let known = topics::find_topic(image, by_id, &topic.name, topic.topic_id);
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
    Ok((commit, refused))
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
    let mut places: BTreeMap<K, usize> =
        refused.iter().enumerate().map(|(at, topic)| (key(topic), at)).collect();
    for mut topic in answered {
        if let Some(at) = places.get(&key(&topic)) {
            outcomes(&mut refused[*at]).append(outcomes(&mut topic));
        } else {
            places.insert(key(&topic), refused.len());
            refused.push(topic);
        }
    }
    refused
}

/// Serves an OffsetFetch request, versions 1 to 10.
pub fn offset_fetch(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    if request.api_version >= GROUPS_FROM {
        return offset_fetch_groups(cx, request);
    }
    let (body, version) = (request.body.clone(), request.api_version);
    let read = move || {
        let message: OffsetFetchRequest<'_> = body.decode(version)?;
        Ok(FetchRequest::from_wire(&message, version).into_iter().next().unwrap_or_default())
    };
    let from = Asker::of(request);
    apart(cx, is_long(request), read, move |cx, wanted| {
        fetch_one(cx, from, wanted, move |found| write(&FetchReply::to_wire(&[found], version), version))
    })
}

/// Asks for the offsets of one group, a bounded number at a time.
fn fetch_one(
    cx: &mut Cx<'_>,
    from: Asker,
    wanted: FetchRequest,
    respond: impl FnOnce(FetchReply) -> Written + Send + 'static,
) -> Outcome {
    let version = from.version;
    let pieces = wanted.pieces(OFFSETS_FETCHED_AT_ONCE);
    let (wanted, continues): (Vec<_>, Vec<bool>) =
        pieces.into_iter().map(|(piece, continues)| (GroupRequest::FetchOffsets(piece), continues)).unzip();
    coordinate(cx, from, wanted, move |replies| {
        let fetched = replies.into_iter().zip(continues).filter_map(|(reply, continues)| match reply {
            GroupReply::FetchOffsets(fetched) => Some((fetched, continues)),
            _ => None,
        });
        FetchReply::joined(fetched, version).map_or_else(unexpected, respond)
    })
}

/// From version 8 a request names several groups (KIP-709).
fn offset_fetch_groups(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    if is_long(request) && is_of_one_group(&body, version)? {
        return offset_fetch_group(cx, request);
    }
    let from = Asker::of(request);
    let read = move || {
        let groups = body.walk::<OffsetFetchRequest<'_>, _>(version, |body| Groups::read(body, version))?;
        Ok((Bytes::clone(&body), groups))
    };
    apart(cx, request.is_large(), read, move |cx, (body, groups)| {
        let count = groups.spans.len();
        let head = move |w: &mut Writer| {
            w.i32(0); // throttle time
            w.count(true, count);
        };
        let image = cx.image.clone();
        let by_id = version >= TOPIC_IDS_FROM;
        // Of the groups that were asked and not yet written.
        let unknown: Rc<RefCell<VecDeque<Vec<FetchedTopic>>>> = Rc::default();
        let missing = unknown.clone();
        let put = move |reply: GroupReply, w: &mut Writer| {
            let GroupReply::FetchOffsets(found) = reply else { return false };
            let missing = missing.borrow_mut().pop_front().unwrap_or_default();
            completed(found, missing, by_id.then_some(&*image)).to_wire_group().put(w, version);
            true
        };
        let image = cx.image.clone();
        let require_stable = groups.require_stable;
        let wanted = groups.spans.into_iter().map(move |(from, to)| {
            let bytes = body.get(from as usize..to as usize).unwrap_or_default();
            // It was read before, to know that the request is whole.
            let group = OffsetFetchRequestGroup::get(&mut Reader::new(bytes), version).unwrap_or_default();
            let mut group = FetchRequest::of_group(&group, require_stable);
            unknown.borrow_mut().push_back(resolve(&image, by_id, &mut group));
            GroupRequest::FetchOffsets(group)
        });
        let tail = |w: &mut Writer, _: i16| {
            w.tags();
        };
        Listing::new(from, Box::new(wanted), head, Box::new(put), tail).begin(cx)
    })
}

fn is_of_one_group(body: &[u8], version: i16) -> Result<bool, DecodeError> {
    let mut r = Reader::new(body);
    let count = r.count(true, OffsetFetchRequestGroup::WIRE_MIN);
    count.map(|count| count == Some(1)).map_err(|error| error.of(OffsetFetchRequest::NAME, version))
}

/// A long request for one group is read and answered by a helper thread.
fn offset_fetch_group(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    let by_id = version >= TOPIC_IDS_FROM;
    let read = move || {
        let message: OffsetFetchRequest<'_> = body.decode(version)?;
        let wanted = FetchRequest::from_wire(&message, version).into_iter().next();
        let mut wanted = wanted.unwrap_or_default();
        let missing = resolve(&image, by_id, &mut wanted);
        Ok((wanted, missing, image))
    };
    let from = Asker::of(request);
    apart(cx, true, read, move |cx, (wanted, missing, image)| {
        fetch_one(cx, from, wanted, move |found| {
            let found = completed(found, missing, by_id.then_some(&*image));
            write(&FetchReply::to_wire(&[found], version), version)
        })
    })
}

/// The coordinator's reply with what it was not asked for. An image gives topics their ids.
fn completed(mut found: FetchReply, missing: Vec<FetchedTopic>, ids: Option<&Image>) -> FetchReply {
    if let Some(image) = ids {
        found.topics.retain_mut(|topic| fill_in_id(image, topic));
    }
    if found.error.is_none() {
        found.topics.extend(missing);
    }
    found
}

/// Where the groups of an OffsetFetch lie in its body: each is read when its turn comes.
struct Groups {
    spans: Vec<(u32, u32)>,
    require_stable: bool,
}

impl Groups {
    fn read(body: &Bytes, version: i16) -> Result<Groups, DecodeError> {
        let mut r = Reader::new(body);
        let read = |r: &mut Reader<'_>| {
            let count = r.count(true, OffsetFetchRequestGroup::WIRE_MIN)?;
            let count = count.ok_or_else(|| r.error(DecodeErrorKind::Null("Groups")))?;
            let mut spans = Vec::new();
            for _ in 0..count {
                let from = r.position();
                // Its own budget: what it takes is given back at once.
                let mut group = Reader::new(r.rest());
                OffsetFetchRequestGroup::get(&mut group, version)?;
                r.raw(group.position())?;
                spans.push((from as u32, r.position() as u32));
            }
            let require_stable = r.bool()?;
            r.skip_tags()?;
            Ok(Groups { spans, require_stable })
        };
        read(&mut r).map_err(|error: DecodeError| error.of(OffsetFetchRequest::NAME, version))
    }
}

/// Takes out the topics that no id stands for, and names the others.
fn resolve(image: &Image, by_id: bool, group: &mut FetchRequest) -> Vec<FetchedTopic> {
    let mut missing = Vec::new();
    if let Some(topics) = &mut group.topics {
        topics.retain_mut(|topic| {
            let known = topics::find_topic(image, by_id, &topic.name, topic.topic_id);
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
    missing
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
    let (body, version, image) = (request.body.clone(), request.api_version, cx.image.clone());
    let from = Asker::of(request);
    let read = move || read_delete(&body, version, &image);
    apart(cx, is_long(request), read, move |cx, (delete, refused)| {
        coordinate(cx, from, vec![GroupRequest::DeleteOffsets(delete)], move |replies| {
            let Ok([GroupReply::DeleteOffsets(deleted)]) = <[GroupReply; 1]>::try_from(replies) else {
                return unexpected();
            };
            let topics = match deleted.error {
                // The error of the whole request stands alone.
                Some(_) => Vec::new(),
                None => merged(refused, deleted.topics, |t| t.name.clone(), |t| &mut t.partitions),
            };
            write(&DeleteOffsetsReply { error: deleted.error, topics }.to_wire(), version)
        })
    })
}

/// What is to be deleted, and what does not exist.
fn read_delete(
    body: &Body,
    version: i16,
    image: &Image,
) -> Result<(DeleteOffsetsRequest, Vec<DeletedTopic>), DecodeError> {
    let message: OffsetDeleteRequest<'_> = body.decode(version)?;
    let mut delete = DeleteOffsetsRequest::from_wire(&message);
    let mut refused: Vec<DeletedTopic> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    delete.topics.retain_mut(|(name, partitions)| {
        let known = image.topics().get(name.as_str());
        let mut missing = Outcomes::new();
        partitions.retain(|partition| {
            let exists = known.is_some_and(|t| t.partitions.contains_key(partition));
            if !exists {
                missing.push((*partition, Some(GroupError::UnknownTopicOrPartition)));
            }
            exists
        });
        // A topic that does not exist is named in the answer even if no partition of it was (`OffsetDeleteResponse.Builder`).
        if known.is_none() || !missing.is_empty() {
            let at = *places.entry(name.clone()).or_insert(refused.len());
            if at == refused.len() {
                refused.push(DeletedTopic { name: name.clone(), partitions: Outcomes::new() });
            }
            refused[at].partitions.append(&mut missing);
        }
        !partitions.is_empty()
    });
    Ok((delete, refused))
}
