//! What a request may cost, as far as its first bytes and the size of the cluster tell.

use crate::base::limits::{
    METADATA_PARTITION_BYTES, METADATA_TOPIC_BYTES, REPLY_BYTES_GUESS, REPLY_BYTES_PER_REQUEST_BYTE,
    REPLY_SMALL_BYTES,
};
use crate::meta::image::Image;
use crate::net::Weight;
use crate::wire::api::ApiKey;

/// How large the reply to a request may be. An estimate: what it turns out to be is counted when it is there.
pub fn of(image: &Image, frame: &[u8]) -> Weight {
    let key = frame.first_chunk().and_then(|code| ApiKey::from_code(i16::from_be_bytes(*code)));
    let bytes = match key {
        // A reply that is small, or bounded by what others have stored: members must be heard whatever else goes on.
        None
        | Some(
            ApiKey::Produce
            | ApiKey::ApiVersions
            | ApiKey::Heartbeat
            | ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::FindCoordinator
            | ApiKey::InitProducerId
            | ApiKey::DescribeCluster
            | ApiKey::DescribeQuorum,
        ) => return Weight::default(),
        // Reserves what it needs when it reads.
        Some(ApiKey::Fetch) => return Weight { alone: true, bytes: 0 },
        Some(ApiKey::Metadata | ApiKey::DescribeTopicPartitions) => whole_cluster(image),
        Some(
            ApiKey::ListOffsets
            | ApiKey::OffsetFetch
            | ApiKey::OffsetForLeaderEpoch
            | ApiKey::OffsetDelete
            | ApiKey::DeleteRecords
            | ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions,
        ) => frame.len() * REPLY_BYTES_PER_REQUEST_BYTE,
        _ => REPLY_BYTES_GUESS + frame.len() * REPLY_BYTES_PER_REQUEST_BYTE,
    };
    Weight { alone: true, bytes: if bytes <= REPLY_SMALL_BYTES { 0 } else { bytes } }
}

/// No description of topics is larger.
fn whole_cluster(image: &Image) -> usize {
    let topics = image.topics();
    topics.len() * METADATA_TOPIC_BYTES + topics.partitions_count() * METADATA_PARTITION_BYTES
}
