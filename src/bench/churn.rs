//! Members come and go: join, sync, heartbeat, commit, leave, one member after another, each in the same group.

use super::BenchError;
use super::client::Client;
use super::outcome::Outcome;
use super::run::Moment;
use super::suite::{Place, Timing};
use crate::wire::codec::{Element, Writer};
use crate::wire::messages::consumer_protocol_assignment::{ConsumerProtocolAssignment, TopicPartition};
use crate::wire::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
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
use std::time::{Duration, Instant};

// Versions without the second round of JoinGroup (KIP-394), and with one member to leave.
const FIND: i16 = 2;
const JOIN: i16 = 3;
const SYNC: i16 = 2;
const HEARTBEAT: i16 = 2;
const LEAVE: i16 = 2;
const COMMIT: i16 = 6;
const REQUESTS_PER_MEMBER: u64 = 5;

/// Runs for the time; a request of the outcome is a member's whole life divided by its requests.
pub fn run(timing: &Timing, place: &mut Place<'_>) -> Result<Outcome, BenchError> {
    let mut client = Client::connect(place.address)?;
    let topic = client.create_topics(&[format!("{}-offsets", place.prefix)], 1, &[])?;
    let group = Group::new(format!("{}-group", place.prefix), topic[0].name.clone())?;
    find(&mut client, &group.id)?;
    let some = |client: &mut Client, time: Duration| {
        let begin = Instant::now();
        while begin.elapsed() < time {
            group.member(client)?;
        }
        Ok::<_, BenchError>(())
    };
    some(&mut client, timing.warm)?;
    (place.warmed)();
    some(&mut client, timing.ramp)?;
    let mut outcome = Outcome::new();
    let begin = Instant::now();
    (place.meter)(Moment::Begin);
    while begin.elapsed() < timing.time {
        let born = Instant::now();
        group.member(&mut client)?;
        outcome.acknowledged_ns.saturating_record(born.elapsed().as_nanos() as u64);
        outcome.requests += REQUESTS_PER_MEMBER;
    }
    (place.meter)(Moment::End);
    outcome.seconds = begin.elapsed().as_secs_f64();
    if place.delete {
        client.delete_topics(&topic)?;
    }
    Ok(outcome)
}

fn find(client: &mut Client, group: &str) -> Result<(), BenchError> {
    client.until_served(|client| {
        let request = FindCoordinatorRequest { key: group, ..FindCoordinatorRequest::default() };
        let reply: FindCoordinatorResponse<'_> = client.call(&request, FIND)?;
        BenchError::check(|| "FindCoordinator".to_owned(), reply.error_code)
    })
}

/// A group whose members come one after another, and read one topic.
struct Group {
    id: String,
    topic: String,
    // As a consumer sends them: Kafka's coordinator reads them, and never answers a JoinGroup with others.
    subscription: Vec<u8>,
    assignment: Vec<u8>,
}

impl Group {
    fn new(id: String, topic: String) -> Result<Group, BenchError> {
        let subscription = ConsumerProtocolSubscription { topics: vec![&topic], ..Default::default() };
        let assigned_partitions = vec![TopicPartition { topic: &topic, partitions: vec![0] }];
        let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
        let (subscription, assignment) = (first_version(&subscription)?, first_version(&assignment)?);
        Ok(Group { id, topic, subscription, assignment })
    }

    /// One member's whole life.
    fn member(&self, client: &mut Client) -> Result<(), BenchError> {
        let group_id = self.id.as_str();
        let (member_id, generation_id) = self.join(client)?;
        let member_id = member_id.as_str();
        let sync = SyncGroupRequest {
            group_id,
            generation_id,
            member_id,
            assignments: vec![SyncGroupRequestAssignment { member_id, assignment: &self.assignment }],
            ..SyncGroupRequest::default()
        };
        let synced: SyncGroupResponse<'_> = client.call(&sync, SYNC)?;
        BenchError::check(|| "SyncGroup".to_owned(), synced.error_code)?;
        if synced.assignment != self.assignment {
            return Err(BenchError::reply("SyncGroup")("not the assignment that was sent"));
        }
        let beat = HeartbeatRequest { group_id, generation_id, member_id, ..HeartbeatRequest::default() };
        let beaten: HeartbeatResponse = client.call(&beat, HEARTBEAT)?;
        BenchError::check(|| "Heartbeat".to_owned(), beaten.error_code)?;
        self.commit(client, member_id, generation_id)?;
        let leave = LeaveGroupRequest { group_id, member_id, ..LeaveGroupRequest::default() };
        let left: LeaveGroupResponse<'_> = client.call(&leave, LEAVE)?;
        BenchError::check(|| "LeaveGroup".to_owned(), left.error_code)
    }

    /// The member's id and the generation.
    fn join(&self, client: &mut Client) -> Result<(String, i32), BenchError> {
        let protocol = JoinGroupRequestProtocol { name: "range", metadata: &self.subscription };
        let join = JoinGroupRequest {
            group_id: &self.id,
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            member_id: "",
            protocol_type: "consumer",
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        client.until_served(|client| {
            let joined: JoinGroupResponse<'_> = client.call(&join, JOIN)?;
            BenchError::check(|| "JoinGroup".to_owned(), joined.error_code)?;
            Ok((joined.member_id.to_owned(), joined.generation_id))
        })
    }

    fn commit(&self, client: &mut Client, member_id: &str, generation_id: i32) -> Result<(), BenchError> {
        let offset = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: 1,
            committed_leader_epoch: -1,
            committed_metadata: None,
        };
        let commit = OffsetCommitRequest {
            group_id: &self.id,
            generation_id_or_member_epoch: generation_id,
            member_id,
            topics: vec![OffsetCommitRequestTopic {
                name: &self.topic,
                partitions: vec![offset],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let committed: OffsetCommitResponse<'_> = client.call(&commit, COMMIT)?;
        for part in committed.topics.iter().flat_map(|topic| &topic.partitions) {
            BenchError::check(|| "OffsetCommit".to_owned(), part.error_code)?;
        }
        Ok(())
    }
}

/// With its version, 0, in front.
fn first_version<'a>(data: &impl Element<'a>) -> Result<Vec<u8>, BenchError> {
    let mut w = Writer::new();
    w.i16(0);
    data.put(&mut w, 0);
    w.finish().map_err(BenchError::reply("a member's metadata"))
}
