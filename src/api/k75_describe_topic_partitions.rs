//! DescribeTopicPartitions (key 75), version 0 (KIP-966): topics in pages, with their eligible leader replicas.

use std::ops::Bound::{Excluded, Unbounded};

use crate::base::limits::METADATA_PARTITIONS_SMALL_MAX;
use crate::meta::image::{Image, Partition};
use crate::wire::codec::{Body, DecodeError};
use crate::wire::errors::ErrorCode;
use crate::wire::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use crate::wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use super::apart::{View, apart};
use super::cx::{Cx, Outcome, Request, Written};
use super::k03_metadata::{TOPIC_OPERATIONS, offline};
use super::{topics, write};

/// Serves a DescribeTopicPartitions request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (view, body, version) = (View::of(cx, request.listener), request.body.clone(), request.api_version);
    // Without names it is about all topics.
    let heavy = request.is_large() || view.image.topics().partitions_count() > METADATA_PARTITIONS_SMALL_MAX;
    apart(cx, heavy, move || answer(&view, &body, version), |_, written| written.into())
}

fn answer(view: &View, body: &Body, version: i16) -> Result<Written, DecodeError> {
    let message: DescribeTopicPartitionsRequest<'_> = body.decode(version)?;
    let limit = view.broker.network.max_request_partition_size_limit;
    let mut left = message.response_partition_limit.min(limit).max(1) as usize;
    let (from_topic, from_partition) = match &message.cursor {
        Some(cursor) => (cursor.topic_name, cursor.partition_index),
        None => ("", 0),
    };
    let all = message.topics.is_empty();
    let astray = message.cursor.is_some() && !all && message.topics.iter().all(|t| t.name != from_topic);
    if from_partition < 0 || astray {
        let refused = message.topics.iter().map(|t| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::INVALID_REQUEST.code(),
            name: Some(t.name),
            ..Default::default()
        });
        let response = DescribeTopicPartitionsResponse { topics: refused.collect(), ..Default::default() };
        return Ok(write(&response, version));
    }
    let mut names: Vec<&str> = if all {
        view.image.topics().iter_from(from_topic).map(|t| &*t.name).collect()
    } else {
        message.topics.iter().map(|t| t.name).filter(|n| *n >= from_topic).collect()
    };
    names.sort_unstable();
    names.dedup();
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let Some(topic) = view.image.topics().get(name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let first = if name == from_topic { from_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: first });
            break;
        }
        let page: Vec<_> = topic.partitions.range(first..).take(left).collect();
        left -= page.len();
        let last = page.last().map_or(first, |(i, _)| **i);
        response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(&topic.name),
            topic_id: topic.id,
            is_internal: topics::is_internal(&topic.name),
            partitions: page.into_iter().map(|(i, p)| partition(&view.image, *i, p)).collect(),
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..Default::default()
        });
        if let Some((next, _)) = topic.partitions.range((Excluded(last), Unbounded)).next() {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: *next });
            break;
        }
    }
    Ok(write(&response, version))
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic<'_> {
    let error = match crate::meta::topic_name::validate(name) {
        Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..Default::default()
    }
}

fn partition(
    image: &Image,
    partition_index: i32,
    state: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let led = image.cluster().is_active(state.leader);
    DescribeTopicPartitionsResponsePartition {
        error_code: if led { 0 } else { ErrorCode::LEADER_NOT_AVAILABLE.code() },
        partition_index,
        leader_id: if led { state.leader } else { -1 },
        leader_epoch: state.leader_epoch,
        replica_nodes: state.replicas.clone(),
        isr_nodes: state.isr.clone(),
        eligible_leader_replicas: Some(state.elr.clone()),
        last_known_elr: Some(state.last_known_elr.clone()),
        offline_replicas: offline(image, state),
    }
}
