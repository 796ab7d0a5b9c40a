//! Members come and go: join, sync, heartbeat, commit, leave, one member after another, each in the same group.

use super::BenchError;
use super::client::Client;
use super::outcome::Outcome;
use super::run::Moment;
use super::suite::Timing;
use crate::wire::messages::find_coordinator_request::FindCoordinatorRequest;
use crate::wire::messages::find_coordinator_response::FindCoordinatorResponse;
use crate::wire::messages::heartbeat_request::HeartbeatRequest;
use crate::wire::messages::heartbeat_response::HeartbeatResponse;
use crate::wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::wire::messages::join_group_response::JoinGroupResponse;
use crate::wire::messages::leave_group_request::LeaveGroupRequest;
use crate::wire::messages::leave_group_response::LeaveGroupResponse;
use crate::wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::wire::messages::offset_commit_response::OffsetCommitResponse;
use crate::wire::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::wire::messages::sync_group_response::SyncGroupResponse;
use std::net::SocketAddr;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

// Versions without the second round of JoinGroup (KIP-394), and with one member to leave.
const FIND: i16 = 2;
const JOIN: i16 = 3;
const SYNC: i16 = 2;
const HEARTBEAT: i16 = 2;
const LEAVE: i16 = 2;
const COMMIT: i16 = 6;
const REQUESTS_PER_MEMBER: u64 = 5;
/// How long the coordinator's topic may take to be made.
const COORDINATOR_WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Runs for the time; a request of the outcome is a member's whole life divided by its requests.
pub fn run(
    address: SocketAddr,
    prefix: &str,
    timing: &Timing,
    meter: &mut dyn FnMut(Moment),
) -> Result<Outcome, BenchError> {
    let mut client = Client::connect(address)?;
    let topic = client.create_topics(&[format!("{prefix}-offsets")], 1, &[])?;
    let group = format!("{prefix}-group");
    find(&mut client, &group)?;
    let begin = Instant::now();
    while begin.elapsed() < timing.warm + timing.ramp {
        member(&mut client, &group, &topic[0].name)?;
    }
    let mut outcome = Outcome::new();
    let begin = Instant::now();
    meter(Moment::Begin);
    while begin.elapsed() < timing.time {
        let born = Instant::now();
        member(&mut client, &group, &topic[0].name)?;
        outcome.acknowledged_ns.saturating_record(born.elapsed().as_nanos() as u64);
        outcome.requests += REQUESTS_PER_MEMBER;
    }
    meter(Moment::End);
    outcome.seconds = begin.elapsed().as_secs_f64();
    client.delete_topics(&topic)?;
    Ok(outcome)
}

fn find(client: &mut Client, group: &str) -> Result<(), BenchError> {
    let begin = Instant::now();
    loop {
        let request = FindCoordinatorRequest { key: group, ..FindCoordinatorRequest::default() };
        let reply: FindCoordinatorResponse<'_> = client.call(&request, FIND)?;
        if reply.error_code == 0 || begin.elapsed() > COORDINATOR_WAIT {
            return BenchError::check(|| "FindCoordinator".to_owned(), reply.error_code);
        }
        park_timeout(PAUSE);
    }
}

fn member(client: &mut Client, group_id: &str, topic: &str) -> Result<(), BenchError> {
    let protocol = JoinGroupRequestProtocol { name: "range", metadata: b"anything" };
    let join = JoinGroupRequest {
        group_id,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: "",
        protocol_type: "consumer",
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    let begin = Instant::now();
    let (member_id, generation_id) = loop {
        let joined: JoinGroupResponse<'_> = client.call(&join, JOIN)?;
        // The coordinator may still be loading.
        if joined.error_code != 0 && begin.elapsed() < COORDINATOR_WAIT {
            park_timeout(PAUSE);
            continue;
        }
        BenchError::check(|| "JoinGroup".to_owned(), joined.error_code)?;
        break (joined.member_id.to_owned(), joined.generation_id);
    };
    let member_id = member_id.as_str();
    let sync = SyncGroupRequest {
        group_id,
        generation_id,
        member_id,
        assignments: vec![SyncGroupRequestAssignment { member_id, assignment: b"everything" }],
        ..SyncGroupRequest::default()
    };
    let synced: SyncGroupResponse<'_> = client.call(&sync, SYNC)?;
    BenchError::check(|| "SyncGroup".to_owned(), synced.error_code)?;
    let beat = HeartbeatRequest { group_id, generation_id, member_id, ..HeartbeatRequest::default() };
    let beaten: HeartbeatResponse = client.call(&beat, HEARTBEAT)?;
    BenchError::check(|| "Heartbeat".to_owned(), beaten.error_code)?;
    let offset = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 1,
        committed_leader_epoch: -1,
        committed_metadata: None,
    };
    let commit = OffsetCommitRequest {
        group_id,
        generation_id_or_member_epoch: generation_id,
        member_id,
        topics: vec![OffsetCommitRequestTopic {
            name: topic,
            partitions: vec![offset],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let committed: OffsetCommitResponse<'_> = client.call(&commit, COMMIT)?;
    for part in committed.topics.iter().flat_map(|topic| &topic.partitions) {
        BenchError::check(|| "OffsetCommit".to_owned(), part.error_code)?;
    }
    let leave = LeaveGroupRequest { group_id, member_id, ..LeaveGroupRequest::default() };
    let left: LeaveGroupResponse<'_> = client.call(&leave, LEAVE)?;
    BenchError::check(|| "LeaveGroup".to_owned(), left.error_code)
}
