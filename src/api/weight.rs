//! What a request may cost, as far as its first bytes and the size of the cluster tell.

use crate::base::limits::{
    COORDINATOR_BYTES_PER_REQUEST_BYTE, METADATA_PARTITION_BYTES, METADATA_TOPIC_BYTES, REPLY_BYTES_GUESS,
    REPLY_BYTES_PER_REQUEST_BYTE, REPLY_SMALL_BYTES,
};
use crate::meta::image::Image;
use crate::net::Weight;
use crate::wire::api::ApiKey;

/// From this version FindCoordinator looks for several coordinators.
const COORDINATORS_FROM: i16 = 4;

/// How large the reply to a request may be. An estimate: what it turns out to be is counted when it is there.
pub fn of(image: &Image, frame: &[u8]) -> Weight {
    let version =
        frame.get(2..4).and_then(|version| version.first_chunk()).map_or(0, |v| i16::from_be_bytes(*v));
    let key = frame.first_chunk().and_then(|code| ApiKey::from_code(i16::from_be_bytes(*code)));
    let bytes = match key {
        // Members must be heard whatever else goes on.
        None
        | Some(
            ApiKey::Produce
            | ApiKey::ApiVersions
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::InitProducerId
            | ApiKey::DescribeCluster
            | ApiKey::DescribeQuorum,
        ) => return Weight::default(),
        // Reserves what it needs when it reads.
        Some(ApiKey::Fetch) => return Weight { alone: true, ..Weight::default() },
        // Reserve what they need when the coordinator has answered: the leader is told of all members, a member of as much as
        // the leader has assigned to it.
        Some(ApiKey::JoinGroup | ApiKey::SyncGroup) => {
            return Weight { alone: true, behind_replies: true, bytes: 0 };
        }
        Some(ApiKey::FindCoordinator) if version < COORDINATORS_FROM => return Weight::default(),
        Some(ApiKey::FindCoordinator) => match frame.len() * COORDINATOR_BYTES_PER_REQUEST_BYTE {
            ..=REPLY_SMALL_BYTES => return Weight::default(),
            bytes => bytes,
        },
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
    Weight { alone: true, behind_replies: false, bytes: if bytes <= REPLY_SMALL_BYTES { 0 } else { bytes } }
}

/// No description of topics is larger.
fn whole_cluster(image: &Image) -> usize {
    let topics = image.topics();
    topics.len() * METADATA_TOPIC_BYTES + topics.partitions_count() * METADATA_PARTITION_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(key: ApiKey, version: i16, bytes: usize) -> Weight {
        let mut frame = [key.code().to_be_bytes(), version.to_be_bytes()].concat();
        frame.resize(bytes, 0);
        of(&Image::empty("cluster"), &frame)
    }

    /// FindCoordinator counted as small, whatever it asked for: from version 4 it answers lists with many times their size, and
    /// what is small is answered beyond every budget.
    #[test]
    fn what_is_small_stays_small_however_long_the_request() {
        let small = Weight::default();
        for version in 0..=6 {
            assert_eq!(weight(ApiKey::FindCoordinator, version, 120), small);
            let long = weight(ApiKey::FindCoordinator, version, 100_000);
            assert!(
                if version < 4 { long == small } else { long.alone && long.bytes >= 800_000 },
                "{version}"
            );
        }
        for key in [ApiKey::JoinGroup, ApiKey::SyncGroup] {
            assert_eq!(weight(key, 5, 60), Weight { alone: true, behind_replies: true, bytes: 0 });
        }
        assert_eq!(weight(ApiKey::Heartbeat, 4, 60), small);
    }
}
