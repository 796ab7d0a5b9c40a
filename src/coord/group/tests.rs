//! The coordinator in virtual time, one file per concern; the rig that drives it is here.

mod bounds;
mod groups;
mod lifecycle;
mod members;
mod model;
mod offset_rules;
mod records;
mod static_members;
mod versions;

use super::reply::{CommitReply, DescribeReply, FetchReply, JoinReply, LeaveReply, SyncReply};
use super::request::{
    CommitPartition, CommitRequest, CommitTopic, FetchRequest, HeartbeatRequest, JoinRequest, LeaveRequest,
    LeavingMember, SyncRequest,
};
use super::*;
use crate::base::limits::GROUP_EXPIRIES_IN_TURN;
use crate::base::{Ticks, TopicId};
use crate::coord::{AppendId, Record};
use std::collections::BTreeMap;
use std::sync::Arc;

const TOPIC_ID: TopicId = TopicId::from_u128(77);

/// A coordinator, its clock, and what it has asked for.
struct Rig {
    coordinator: GroupCoordinator,
    now: Now,
    next_ticket: u64,
    replies: BTreeMap<Ticket, GroupReply>,
    /// Appends that are not committed.
    pending: Vec<Append>,
    /// Committed records by append, in the order of the log.
    log: BTreeMap<(u32, AppendId), Vec<Record>>,
    /// Counts restarts.
    incarnation: u32,
    /// Commit every append at once.
    immediate: bool,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() })
    }

    fn with(config: GroupConfig) -> Rig {
        let mut rig = Rig::unloaded(config);
        rig.loaded();
        rig
    }

    fn unloaded(config: GroupConfig) -> Rig {
        Rig {
            coordinator: GroupCoordinator::new(0, config, 1),
            now: Now { ticks: Ticks(1), wall_ms: 1_700_000_000_000 },
            next_ticket: 0,
            replies: BTreeMap::new(),
            pending: Vec::new(),
            log: BTreeMap::new(),
            incarnation: 0,
            immediate: true,
        }
    }

    fn loaded(&mut self) {
        let mut effects = Effects::default();
        self.coordinator.loaded(self.now, &mut effects);
        self.take_in(effects);
    }

    /// A coordinator that has read this one's log.
    fn restarted(&self, config: GroupConfig) -> Rig {
        let mut rig = Rig::unloaded(config.clone());
        (rig.now, rig.incarnation) = (self.now, self.incarnation + 1);
        rig.coordinator = GroupCoordinator::new(0, config, u64::from(rig.incarnation) + 1);
        rig.log.clone_from(&self.log);
        for record in rig.log.values().flatten() {
            assert_eq!(rig.coordinator.replay(&record.key, record.value.as_deref()), Replayed::Applied);
        }
        rig.loaded();
        rig
    }

    fn records(&self) -> Vec<Record> {
        self.log.values().flatten().cloned().collect()
    }

    fn take_in(&mut self, effects: Effects) {
        for (ticket, reply) in effects.replies {
            assert!(self.replies.insert(ticket, reply).is_none(), "{ticket:?} is answered twice");
        }
        self.pending.extend(effects.appends);
        if self.immediate {
            self.commit();
        }
    }

    /// Commits all appends, and those that follow from them.
    fn commit(&mut self) {
        while !self.pending.is_empty() {
            self.settle(0, Ok(()));
        }
    }

    /// Settles one pending append.
    fn settle(&mut self, at: usize, outcome: Result<(), i16>) {
        let append = self.pending.remove(at);
        if outcome.is_ok() {
            self.log.insert((self.incarnation, append.id), append.records);
        }
        let mut effects = Effects::default();
        self.coordinator.appended(self.now, append.id, outcome, &mut effects);
        self.take_in(effects);
    }

    fn send(&mut self, version: i16, request: GroupRequest) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let client = ClientInfo { client_id: "client".into(), host: "/127.0.0.1".into() };
        let mut effects = Effects::default();
        self.coordinator.handle(self.now, ticket, &client, version, request, &mut effects);
        self.take_in(effects);
        ticket
    }

    /// Lets time pass, and does what becomes due on the way.
    fn advance(&mut self, ms: i64) {
        let end = self.now.ticks.plus_ms(ms);
        while let Some(at) = self.coordinator.deadline().filter(|at| *at <= end) {
            self.set_time(at.max(self.now.ticks));
            let mut effects = Effects::default();
            self.coordinator.expire(self.now, GROUP_EXPIRIES_IN_TURN, &mut effects);
            self.take_in(effects);
        }
        self.set_time(end);
    }

    fn set_time(&mut self, at: Ticks) {
        self.now.wall_ms += at.ms_since(self.now.ticks);
        self.now.ticks = at;
    }

    fn is_parked(&self, ticket: Ticket) -> bool {
        !self.replies.contains_key(&ticket)
    }

    #[track_caller]
    fn reply(&mut self, ticket: Ticket) -> GroupReply {
        self.replies.remove(&ticket).expect("the request is answered")
    }

    #[track_caller]
    fn joined(&mut self, ticket: Ticket) -> JoinReply {
        match self.reply(ticket) {
            GroupReply::Join(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn synced(&mut self, ticket: Ticket) -> SyncReply {
        match self.reply(ticket) {
            GroupReply::Sync(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, request: JoinRequest) -> Ticket {
        self.send(9, GroupRequest::Join(request))
    }

    /// A member id for a dynamic member of group "g".
    #[track_caller]
    fn member_id(&mut self) -> String {
        let ticket = self.join(joining(""));
        let reply = self.joined(ticket);
        assert_eq!(reply.error, Some(GroupError::MemberIdRequired));
        reply.member_id.to_string()
    }

    fn sync(&mut self, member_id: &str, generation_id: i32, assignments: &[(&str, &[u8])]) -> Ticket {
        self.send(5, GroupRequest::Sync(syncing(member_id, generation_id, assignments)))
    }

    #[track_caller]
    fn heartbeat(&mut self, member_id: &str, generation_id: i32) -> Option<GroupError> {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id,
            member_id: member_id.into(),
            group_instance_id: None,
        };
        let ticket = self.send(4, GroupRequest::Heartbeat(request));
        match self.reply(ticket) {
            GroupReply::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn leave_ticket(&mut self, members: &[(&str, Option<&str>)]) -> Ticket {
        let leaving = members.iter().map(|(member_id, instance_id)| LeavingMember {
            member_id: (*member_id).into(),
            group_instance_id: instance_id.map(Into::into),
        });
        let request = LeaveRequest { group_id: "g".into(), members: leaving.collect() };
        self.send(5, GroupRequest::Leave(request))
    }

    #[track_caller]
    fn leave(&mut self, members: &[(&str, Option<&str>)]) -> LeaveReply {
        let ticket = self.leave_ticket(members);
        match self.reply(ticket) {
            GroupReply::Leave(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn describe(&mut self, group_id: &str) -> DescribeReply {
        let ticket = self.send(6, GroupRequest::Describe { group_id: group_id.into() });
        match self.reply(ticket) {
            GroupReply::Describe(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn commit_offset(&mut self, request: CommitRequest) -> Ticket {
        self.send(9, GroupRequest::CommitOffsets(request))
    }

    /// The one partition's outcome of a commit.
    #[track_caller]
    fn committed(&mut self, ticket: Ticket) -> Option<GroupError> {
        match self.reply(ticket) {
            GroupReply::CommitOffsets(CommitReply { topics }) => topics[0].partitions[0].1,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn fetched(&mut self, ticket: Ticket) -> FetchReply {
        match self.reply(ticket) {
            GroupReply::FetchOffsets(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// All offsets of a group as (topic, partition, offset).
    #[track_caller]
    fn offsets(&mut self, group_id: &str) -> Vec<(String, i32, i64)> {
        let request = FetchRequest { group_id: group_id.into(), topics: None, require_stable: false };
        let ticket = self.send(8, GroupRequest::FetchOffsets(request));
        let reply = self.fetched(ticket);
        assert_eq!(reply.error, None);
        let topics = reply.topics.iter();
        topics
            .flat_map(|t| t.partitions.iter().map(|p| (t.name.to_string(), p.partition, p.offset)))
            .collect()
    }

    /// Joins these members (ids given out before) and syncs them; the first must become the leader or be it.
    /// Returns the generation.
    #[track_caller]
    fn stabilise(&mut self, member_ids: &[&str]) -> i32 {
        let tickets: Vec<Ticket> = member_ids.iter().map(|id| self.join(joining(id))).collect();
        self.advance(0);
        let replies: Vec<JoinReply> = tickets.into_iter().map(|ticket| self.joined(ticket)).collect();
        let generation = replies[0].generation_id;
        for reply in &replies {
            assert_eq!((reply.error, reply.generation_id), (None, generation));
        }
        let leader = replies[0].leader.to_string();
        let parts: Vec<(&str, &[u8])> = member_ids.iter().map(|id| (*id, id.as_bytes())).collect();
        let mut tickets = vec![(leader.clone(), self.sync(&leader, generation, &parts))];
        for id in member_ids.iter().filter(|id| **id != leader) {
            tickets.push(((*id).to_owned(), self.sync(id, generation, &[])));
        }
        for (id, ticket) in tickets {
            let reply = self.synced(ticket);
            assert_eq!((reply.error, &*reply.assignment), (None, id.as_bytes()));
        }
        generation
    }
}

/// A consumer's metadata that subscribes to topic "t".
fn subscription() -> Arc<[u8]> {
    Arc::from([0, 1, 0, 0, 0, 1, 0, 1, b't', 255, 255, 255, 255].as_slice())
}

/// JoinGroup of group "g" as a consumer sends it.
fn joining(member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: "g".into(),
        member_id: member_id.into(),
        group_instance_id: None,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription())],
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
    }
}

fn joining_static(member_id: &str, instance_id: &str) -> JoinRequest {
    JoinRequest { group_instance_id: Some(instance_id.into()), ..joining(member_id) }
}

fn syncing(member_id: &str, generation_id: i32, assignments: &[(&str, &[u8])]) -> SyncRequest {
    SyncRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        group_instance_id: None,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.iter().map(|(id, bytes)| ((*id).into(), Arc::from(*bytes))).collect(),
    }
}

/// OffsetCommit of one partition of topic "t" to group "g" by one who is no member.
fn committing(partition: i32, offset: i64) -> CommitRequest {
    let partitions = vec![CommitPartition { partition, offset, leader_epoch: 3, metadata: Some("m".into()) }];
    CommitRequest {
        group_id: "g".into(),
        generation_id: -1,
        member_id: String::new(),
        group_instance_id: None,
        retention_time_ms: -1,
        topics: vec![CommitTopic { name: "t".into(), topic_id: TOPIC_ID, partitions }],
    }
}

fn committing_as(member_id: &str, generation_id: i32, offset: i64) -> CommitRequest {
    CommitRequest { member_id: member_id.into(), generation_id, ..committing(0, offset) }
}
