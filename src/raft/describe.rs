//! DescribeQuorum (API 55), as Kafka's `KafkaRaftClient.handleDescribeQuorumRequest`.

use super::{CLUSTER_METADATA_TOPIC, Raft, Voter};
use crate::base::{DirectoryId, WallMs};
use crate::wire::ErrorCode;
use crate::wire::messages::describe_quorum_request::DescribeQuorumRequest;
use crate::wire::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};

/// The first version with directory ids and nodes (KIP-853).
const NODES_FROM: i16 = 2;

impl Raft {
    /// The response to DescribeQuorum in a version.
    pub fn describe<'a>(
        &'a self,
        request: &DescribeQuorumRequest<'a>,
        version: i16,
        now_ms: WallMs,
    ) -> DescribeQuorumResponse<'a> {
        let asked_right = matches!(request.topics.as_slice(), [topic]
            if topic.topic_name == CLUSTER_METADATA_TOPIC
                && matches!(topic.partitions.as_slice(), [p] if p.partition_index == 0));
        let (Some(leader), true) = (self.leader(), asked_right) else {
            let code = if asked_right {
                ErrorCode::NOT_LEADER_OR_FOLLOWER
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            return failed(request, code);
        };
        let voters = self.voters().map_or(&[][..], |v| v.voters.as_slice());
        // The leader is the only voter: it has everything, and it has it now.
        let state = |voter: &Voter| ReplicaState {
            replica_id: voter.id,
            replica_directory_id: if version >= NODES_FROM { voter.directory_id } else { DirectoryId::ZERO },
            log_end_offset: leader.log_end(),
            last_fetch_timestamp: now_ms,
            last_caught_up_timestamp: now_ms,
        };
        let partition = PartitionData {
            partition_index: 0,
            error_code: 0,
            error_message: Some(""),
            leader_id: self.identity().node_id,
            leader_epoch: leader.epoch(),
            high_watermark: leader.high_watermark().unwrap_or(-1),
            current_voters: voters.iter().map(state).collect(),
            observers: Vec::new(),
        };
        DescribeQuorumResponse {
            error_code: 0,
            error_message: Some(""),
            topics: vec![TopicData { topic_name: CLUSTER_METADATA_TOPIC, partitions: vec![partition] }],
            nodes: if version >= NODES_FROM { voters.iter().map(node).collect() } else { Vec::new() },
        }
    }
}

fn node(voter: &Voter) -> Node<'_> {
    let listeners = voter.endpoints.iter().map(|e| Listener { name: &e.name, host: &e.host, port: e.port });
    Node { node_id: voter.id, listeners: listeners.collect() }
}

fn failed<'a>(request: &DescribeQuorumRequest<'a>, error: ErrorCode) -> DescribeQuorumResponse<'a> {
    let partition = |index: i32| PartitionData {
        partition_index: index,
        error_code: error.code(),
        error_message: Some(error.message()),
        ..PartitionData::default()
    };
    let topics = request.topics.iter().map(|t| TopicData {
        topic_name: t.topic_name,
        partitions: t.partitions.iter().map(|p| partition(p.partition_index)).collect(),
    });
    DescribeQuorumResponse { topics: topics.collect(), ..DescribeQuorumResponse::default() }
}
