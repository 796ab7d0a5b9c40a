//! Members of a classic group: join, sync, heartbeat, commit; what a group has committed never goes back.

use std::collections::BTreeMap;

use ottla::base::Ticks;
use ottla::base::prng::Prng;
use ottla::wire::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
    join_group_request::JoinGroupRequestProtocol,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::OffsetFetchRequestTopic,
    sync_group_request::SyncGroupRequestAssignment,
};

use super::link::{Answer, Link, News};
use super::model::Part;
use super::run::{Client, Cx};

pub enum Tag {
    Find,
    Join,
    Sync,
    Heartbeat,
    Fetch(Vec<(Part, u64)>),
    Commit(Vec<(Part, i64, u64)>),
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Find,
    Join,
    Joining,
    Fetch,
    Stable,
    Left,
}

pub struct Member {
    name: String,
    group: String,
    link: Link<Tag>,
    prng: Prng,
    parts: Vec<Part>,
    phase: Phase,
    id: String,
    generation: i32,
    owned: BTreeMap<Part, i64>,
    next_at: Ticks,
    stopping: bool,
    beats: u32,
}

impl Member {
    pub fn new(number: u8, group: &str, parts: &[Part], seed: u64) -> Member {
        Member {
            name: format!("member {number}"),
            group: group.to_owned(),
            link: Link::new(&format!("member {number}"), number),
            prng: Prng::new(seed),
            parts: parts.to_vec(),
            phase: Phase::Find,
            id: String::new(),
            generation: -1,
            owned: BTreeMap::new(),
            next_at: Ticks(0),
            stopping: false,
            beats: 0,
        }
    }

    fn join(&mut self, cx: &mut Cx<'_>) {
        let request = JoinGroupRequest {
            group_id: &self.group,
            session_timeout_ms: 5_000,
            rebalance_timeout_ms: 6_000,
            member_id: &self.id,
            protocol_type: "consumer",
            protocols: vec![JoinGroupRequestProtocol { name: "range", metadata: b"m" }],
            ..Default::default()
        };
        self.link.ask(cx.sim, &request, 5, Tag::Join);
        self.phase = Phase::Joining;
        self.owned.clear();
    }

    fn joined(&mut self, cx: &mut Cx<'_>, response: &JoinGroupResponse<'_>) {
        match response.error_code {
            0 => {}
            error => {
                if error == 79 {
                    response.member_id.clone_into(&mut self.id);
                }
                return self.failed(cx, error);
            }
        }
        response.member_id.clone_into(&mut self.id);
        self.generation = response.generation_id;
        // The leader gives each partition to one member, as bytes of its number.
        let members: Vec<&str> = response.members.iter().map(|m| m.member_id).collect();
        let mut shares: Vec<(String, Vec<u8>)> =
            members.iter().map(|m| ((*m).to_owned(), Vec::new())).collect();
        if !shares.is_empty() {
            let shift = self.prng.below(shares.len() as u64) as usize;
            let count = shares.len();
            for place in 0..self.parts.len() {
                shares[(place + shift) % count].1.push(place as u8);
            }
        }
        for (member, share) in &shares {
            cx.model.assigned(&self.group, self.generation, member, share);
        }
        let request = SyncGroupRequest {
            group_id: &self.group,
            generation_id: self.generation,
            member_id: &self.id,
            assignments: shares
                .iter()
                .map(|(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment })
                .collect(),
            ..Default::default()
        };
        self.link.ask(cx.sim, &request, 3, Tag::Sync);
    }

    fn synced(&mut self, cx: &mut Cx<'_>, response: &SyncGroupResponse<'_>) {
        if response.error_code != 0 {
            return self.failed(cx, response.error_code);
        }
        cx.model.count("assignments");
        cx.model.told_assignment(&self.group, self.generation, &self.id, response.assignment);
        self.owned = response.assignment.iter().map(|p| (self.parts[usize::from(*p)].clone(), -1)).collect();
        self.phase = Phase::Fetch;
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) {
        let parts: Vec<Part> = self.owned.keys().cloned().collect();
        let topics = parts
            .iter()
            .map(|p| OffsetFetchRequestTopic { name: &p.topic, partition_indexes: vec![p.partition] });
        let request = OffsetFetchRequest {
            group_id: &self.group,
            topics: Some(topics.collect()),
            ..Default::default()
        };
        let floors = parts.iter().map(|p| (p.clone(), cx.model.commit_floor(&self.group, p))).collect();
        self.link.ask(cx.sim, &request, 5, Tag::Fetch(floors));
    }

    fn commit(&mut self, cx: &mut Cx<'_>) {
        let mut sent = Vec::new();
        for (part, at) in &mut self.owned {
            *at = (*at).max(0) + 1 + self.prng.below(10) as i64;
            sent.push((part.clone(), *at, cx.model.committing(&self.group, part, *at)));
        }
        let topics = sent.iter().map(|(p, at, _)| OffsetCommitRequestTopic {
            name: &p.topic,
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: p.partition,
                committed_offset: *at,
                committed_leader_epoch: -1,
                committed_metadata: Some("here"),
            }],
            ..Default::default()
        });
        let request = OffsetCommitRequest {
            group_id: &self.group,
            generation_id_or_member_epoch: self.generation,
            member_id: &self.id,
            topics: topics.collect(),
            ..Default::default()
        };
        self.link.ask(cx.sim, &request, 7, Tag::Commit(sent.clone()));
    }

    fn failed(&mut self, cx: &mut Cx<'_>, error: i16) {
        self.next_at = cx.now().plus_ms(50);
        self.owned.clear();
        self.phase = match error {
            22 | 27 | 79 => Phase::Join,
            25 => {
                self.id.clear();
                Phase::Join
            }
            // The coordinator is loading or gone, or its storage is.
            14 | 15 | 16 | 56 | 7 | -1 => Phase::Find,
            error => panic!("{}: error {error}", self.name),
        };
    }

    fn answered(&mut self, cx: &mut Cx<'_>, answer: &Answer<Tag>) {
        match &answer.tag {
            Tag::Find => {
                let response: FindCoordinatorResponse<'_> = answer.read();
                match response.error_code {
                    0 => self.phase = Phase::Join,
                    error => self.failed(cx, error),
                }
            }
            Tag::Join => self.joined(cx, &answer.read()),
            Tag::Sync => self.synced(cx, &answer.read()),
            Tag::Heartbeat => {
                let response: HeartbeatResponse = answer.read();
                if response.error_code != 0 {
                    self.failed(cx, response.error_code);
                }
            }
            Tag::Fetch(parts) => self.fetched(cx, parts, &answer.read()),
            Tag::Commit(sent) => {
                let response: OffsetCommitResponse<'_> = answer.read();
                let errors = response.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.error_code));
                let errors: Vec<i16> = errors.collect();
                assert_eq!(errors.len(), sent.len(), "{}: one outcome per partition", self.name);
                for ((part, _, number), error) in sent.iter().zip(&errors) {
                    if *error == 0 {
                        cx.model.committed(&self.group, part, *number);
                    }
                }
                if let Some(error) = errors.into_iter().find(|e| *e != 0) {
                    self.failed(cx, error);
                }
            }
            Tag::Leave => self.phase = Phase::Left,
        }
    }

    fn fetched(&mut self, cx: &mut Cx<'_>, parts: &[(Part, u64)], response: &OffsetFetchResponse<'_>) {
        if response.error_code != 0 {
            return self.failed(cx, response.error_code);
        }
        let found = response.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (t.name, p)));
        let found: BTreeMap<Part, (i64, i16)> = found
            .map(|(name, p)| (Part::new(name, p.partition_index), (p.committed_offset, p.error_code)))
            .collect();
        for (part, floor) in parts {
            let (offset, error) = found[part];
            if error != 0 {
                return self.failed(cx, error);
            }
            cx.model.told_committed(&self.group, part, *floor, offset);
            if let Some(at) = self.owned.get_mut(part) {
                *at = offset;
            }
        }
        if self.phase == Phase::Fetch {
            self.phase = Phase::Stable;
        }
    }
}

impl Client for Member {
    fn poll(&mut self, cx: &mut Cx<'_>) {
        for news in self.link.poll(cx.sim) {
            match news {
                News::Lost(_) => {
                    self.phase = if self.phase == Phase::Left { Phase::Left } else { Phase::Find };
                    self.next_at = cx.now().plus_ms(50);
                }
                News::Answer(answer) => self.answered(cx, &answer),
            }
        }
        if cx.now() < self.next_at || self.link.in_flight() > 0 || self.phase == Phase::Left {
            return;
        }
        self.next_at = cx.now().plus_ms(10 + self.prng.below(200) as i64);
        self.link.open(cx.sim);
        match self.phase {
            Phase::Find => {
                let request = FindCoordinatorRequest { key: &self.group, ..Default::default() };
                self.link.ask(cx.sim, &request, 2, Tag::Find);
            }
            Phase::Join => self.join(cx),
            Phase::Joining => self.phase = Phase::Join,
            Phase::Fetch => self.fetch(cx),
            Phase::Stable => {
                self.beats += 1;
                if self.stopping {
                    let request = LeaveGroupRequest {
                        group_id: &self.group,
                        member_id: &self.id,
                        ..Default::default()
                    };
                    return self.link.ask(cx.sim, &request, 2, Tag::Leave);
                }
                match self.prng.below(12) {
                    0..=4 => self.commit(cx),
                    5 => self.fetch(cx),
                    6 if self.prng.one_in(10) => self.phase = Phase::Join,
                    _ => {
                        let request = HeartbeatRequest {
                            group_id: &self.group,
                            generation_id: self.generation,
                            member_id: &self.id,
                            ..Default::default()
                        };
                        self.link.ask(cx.sim, &request, 3, Tag::Heartbeat);
                    }
                }
            }
            Phase::Left => {}
        }
    }

    fn next_at(&self) -> Ticks {
        if self.phase == Phase::Left || self.link.in_flight() > 0 { Ticks::NEVER } else { self.next_at }
    }

    fn power_cut(&mut self, _: bool) {}

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Left
    }

    fn disturb(&mut self, cx: &mut Cx<'_>, reset: bool) {
        self.link.close(cx.sim, reset);
        if self.phase != Phase::Left {
            self.phase = Phase::Find;
        }
        self.next_at = cx.now().plus_ms(50);
    }

    fn close(&mut self, cx: &mut Cx<'_>) {
        self.link.close(cx.sim, false);
    }

    fn describe(&self) -> String {
        format!("{}: {:?}", self.name, self.phase)
    }
}
