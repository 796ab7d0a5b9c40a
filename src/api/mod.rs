//! The request handlers, one file per API key. [`ROUTES`] is what we serve: ApiVersions is answered from it, and
//! what is not in it is refused.

mod apart;
pub mod cx;
pub mod fetch_session;
pub mod parked;
pub mod pool;
pub mod producer_ids;
mod scatter;
mod topics;
pub mod weight;

mod controller;
mod groups;
mod k00_produce;
mod k01_fetch;
mod k02_list_offsets;
mod k03_metadata;
mod k10_find_coordinator;
mod k18_api_versions;
mod k21_delete_records;
mod k22_init_producer_id;
mod k23_offset_for_leader_epoch;
mod k32_describe_configs;
mod k35_describe_log_dirs;
mod k55_describe_quorum;
mod k60_describe_cluster;
mod k61_describe_producers;
mod k66_list_transactions;
mod k74_list_config_resources;
mod k75_describe_topic_partitions;

use crate::base::Ticks;
use crate::base::limits::{PARKED_MS_MAX, PARTITIONS_NAMED_SPARE};
use crate::meta::image::Image;
use crate::wire::api::ApiKey;
use crate::wire::codec::{DecodeError, Message};

use cx::{Cx, Outcome, ReplyWriter, Request, Written};

/// What serves one API.
pub struct Route {
    /// The API.
    pub key: ApiKey,
    /// The versions that we serve.
    pub versions: std::ops::RangeInclusive<i16>,
    /// Decodes, acts, answers.
    pub handle: fn(&mut Cx<'_>, &Request<'_>) -> Result<Outcome, DecodeError>,
}

const fn route(
    key: ApiKey,
    min: i16,
    max: i16,
    handle: fn(&mut Cx<'_>, &Request<'_>) -> Result<Outcome, DecodeError>,
) -> Route {
    Route { key, versions: min..=max, handle }
}

/// The APIs that we serve, by key.
pub const ROUTES: &[Route] = &[
    route(ApiKey::Produce, 3, 13, k00_produce::handle),
    route(ApiKey::Fetch, 4, 18, k01_fetch::handle),
    route(ApiKey::ListOffsets, 1, 11, k02_list_offsets::handle),
    route(ApiKey::Metadata, 0, 13, k03_metadata::handle),
    route(ApiKey::OffsetCommit, 2, 10, groups::offset_commit),
    route(ApiKey::OffsetFetch, 1, 10, groups::offset_fetch),
    route(ApiKey::FindCoordinator, 0, 6, k10_find_coordinator::handle),
    route(ApiKey::JoinGroup, 0, 9, groups::join_group),
    route(ApiKey::Heartbeat, 0, 4, groups::heartbeat),
    route(ApiKey::LeaveGroup, 0, 5, groups::leave_group),
    route(ApiKey::SyncGroup, 0, 5, groups::sync_group),
    route(ApiKey::DescribeGroups, 0, 6, groups::describe_groups),
    route(ApiKey::ListGroups, 0, 5, groups::list_groups),
    route(ApiKey::ApiVersions, 0, 4, k18_api_versions::handle),
    route(ApiKey::CreateTopics, 2, 7, controller::forward),
    route(ApiKey::DeleteTopics, 1, 6, controller::forward),
    route(ApiKey::DeleteRecords, 0, 2, k21_delete_records::handle),
    route(ApiKey::InitProducerId, 0, 5, k22_init_producer_id::handle),
    route(ApiKey::OffsetForLeaderEpoch, 2, 4, k23_offset_for_leader_epoch::handle),
    route(ApiKey::DescribeConfigs, 1, 4, k32_describe_configs::handle),
    route(ApiKey::AlterConfigs, 0, 2, controller::forward),
    route(ApiKey::DescribeLogDirs, 1, 5, k35_describe_log_dirs::handle),
    route(ApiKey::CreatePartitions, 0, 3, controller::forward),
    route(ApiKey::DeleteGroups, 0, 2, groups::delete_groups),
    route(ApiKey::IncrementalAlterConfigs, 0, 1, controller::forward),
    route(ApiKey::OffsetDelete, 0, 0, groups::offset_delete),
    route(ApiKey::DescribeQuorum, 0, 2, k55_describe_quorum::handle),
    route(ApiKey::DescribeCluster, 0, 2, k60_describe_cluster::handle),
    route(ApiKey::DescribeProducers, 0, 0, k61_describe_producers::handle),
    route(ApiKey::ListTransactions, 0, 2, k66_list_transactions::handle),
    route(ApiKey::ListConfigResources, 0, 1, k74_list_config_resources::handle),
    route(ApiKey::DescribeTopicPartitions, 0, 0, k75_describe_topic_partitions::handle),
];

/// What a controller's listener offers: what is a controller's in Kafka, without what its replicas ask each other.
const OF_CONTROLLER: &[ApiKey] = &[
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::DescribeQuorum,
    ApiKey::DescribeCluster,
];

/// Whether an API is offered on a broker's listener, or on a controller's.
pub fn is_offered(key: ApiKey, on_controller: bool) -> bool {
    !on_controller || OF_CONTROLLER.contains(&key)
}

/// The route of an API, if we serve it.
pub fn find(key: ApiKey) -> Option<&'static Route> {
    ROUTES.binary_search_by_key(&key, |r| r.key).ok().map(|i| &ROUTES[i])
}

/// The answer to an ApiVersions request in a version that we do not know: the versions that we do.
pub fn unsupported_api_versions() -> Vec<u8> {
    k18_api_versions::unsupported()
}

/// A response body.
pub fn reply<'a, M: Message<'a>>(response: &M, version: i16) -> Outcome {
    write(response, version).into()
}

/// A response body, wherever it is written.
pub fn write<'a, M: Message<'a>>(response: &M, version: i16) -> Written {
    let mut reply = ReplyWriter::default();
    // The writer keeps the error.
    let _ = response.write(&mut reply.writer, version);
    reply.written()
}

/// The deadline of a request whose `timeout_ms` bounds the wait for other replicas (or the controller's queue) and not
/// what this broker does itself, which is done to its end: an answer that says that it was not done in time would have
/// clients do it again. A partition has one replica, so there is nothing to wait for.
///
/// | API | `timeout_ms` in Apache Kafka | here |
/// |---|---|---|
/// | Produce | the wait for the replicas in sync, after the append (`DelayedProduce`) | no replica to wait for |
/// | DeleteRecords | the wait for the replicas' log starts (`DelayedDeleteRecords`) | no replica to wait for |
/// | CreateTopics, DeleteTopics, CreatePartitions | an event that waits longer in the controller's queue is not begun | no queue: it is always begun, and answered when committed |
/// | ListOffsets | the wait for remote storage | the local log is waited for |
///
/// Where Kafka has the controller refuse what came with zero or less, it is done here: clients that send zero mean that
/// they do not wait, not that nothing is to be done.
pub const REPLICAS_IN_TIME: Ticks = Ticks::NEVER;

/// Topics and partitions that a Produce or a Fetch may name.
pub fn named_max(image: &Image) -> usize {
    image.topics().partitions_count() + PARTITIONS_NAMED_SPARE
}

/// When to give up on a request whose client waits `timeout_ms`.
pub fn deadline(cx: &Cx<'_>, timeout_ms: i32) -> Ticks {
    cx.now.plus_ms(i64::from(timeout_ms).clamp(0, PARKED_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::APIS;

    #[test]
    fn routes_are_sorted_and_within_what_kafka_has() {
        assert!(ROUTES.is_sorted_by_key(|r| r.key));
        for route in ROUTES {
            let api = APIS.iter().find(|a| a.key == route.key).unwrap();
            assert!(api.broker, "{:?} is no broker API", route.key);
            assert!(api.controller || !is_offered(route.key, true), "{:?} is no controller API", route.key);
            let stable = api.stable_versions();
            assert!(
                stable.contains(route.versions.start()) && stable.contains(route.versions.end()),
                "{:?} {:?} is outside of {stable:?}",
                route.key,
                route.versions
            );
        }
    }
}
