//! What one turn, or one request, may cost and hold, whatever the groups are like.

use super::super::coordinator::Group;
use super::*;
use crate::base::limits::GROUPS_SWEPT_IN_TURN;
use crate::base::prng::Prng;

const GROUPS: usize = 1000;

impl Rig {
    /// One call of what a turn does with deadlines: how many were met, and how many records came of it.
    fn turn(&mut self) -> (usize, usize) {
        let before = self.coordinator.timers.len();
        let mut effects = Effects::default();
        self.coordinator.expire(self.now, GROUP_EXPIRIES_IN_TURN, &mut effects);
        let records = effects.appends.iter().map(|append| append.records.len()).sum();
        self.take_in(effects);
        (before.saturating_sub(self.coordinator.timers.len()), records)
    }

    fn is_due(&self) -> bool {
        self.coordinator.deadline().is_some_and(|at| at <= self.now.ticks)
    }
}

/// 200,000 sessions of members that ended together were ended in one turn, and everybody else waited for two seconds.
#[test]
fn sessions_that_end_together_are_ended_some_at_a_time() {
    let mut rig = Rig::new();
    let of_group =
        |n: usize, member_id: &str| JoinRequest { group_id: format!("g{n}"), ..joining(member_id) };
    let mut last = String::new();
    for n in 0..100 * GROUPS {
        let ticket = rig.join(of_group(n % GROUPS, ""));
        last = rig.joined(ticket).member_id.to_string();
    }
    let later = rig.now.ticks.plus_ms(10_001);
    rig.set_time(later);
    let (mut turns, mut ended) = (0, 0);
    while rig.is_due() {
        let (met, _) = rig.turn();
        assert!(met <= GROUP_EXPIRIES_IN_TURN, "{met} in one turn");
        (turns, ended) = (turns + 1, ended + met);
        if turns == 1 {
            // Nobody lives on because others were first.
            let ticket = rig.join(of_group(GROUPS - 1, &last));
            assert_eq!(rig.joined(ticket).error, Some(GroupError::UnknownMemberId));
            ended += 1;
        }
    }
    assert!(ended == 100 * GROUPS && turns >= ended / GROUP_EXPIRIES_IN_TURN, "{ended} in {turns} turns");
}

#[test]
fn a_member_that_is_overdue_is_gone_before_its_heartbeat() {
    let mut rig = Rig::new();
    let ids = [rig.member_id(), rig.member_id()];
    let generation = rig.stabilise(&[&ids[0], &ids[1]]);
    let later = rig.now.ticks.plus_ms(10_001);
    rig.set_time(later);
    assert_eq!(rig.heartbeat(&ids[1], generation), Some(GroupError::UnknownMemberId));
}

/// One topic with offsets in 60,000 groups was deleted, and everybody else waited for 1.8 seconds.
#[test]
fn offsets_are_deleted_some_groups_at_a_time() {
    for deleted in [true, false] {
        let mut rig = Rig::new();
        for n in 0..3 * GROUPS {
            let request = CommitRequest { group_id: format!("g{n}"), ..committing(0, 1) };
            rig.commit_offset(request);
        }
        if deleted {
            rig.coordinator.topics_deleted(rig.now, &[("t".into(), TOPIC_ID)]);
        } else {
            let later = rig.now.ticks.plus_ms(8 * 24 * 60 * 60_000);
            rig.set_time(later);
        }
        let mut turns = 0;
        while rig.is_due() {
            let (_, records) = rig.turn();
            // An offset, and its group where that is left with nothing.
            assert!(records <= 2 * GROUPS_SWEPT_IN_TURN, "{records} in one turn");
            turns += 1;
        }
        assert!(turns >= 3 * GROUPS / GROUPS_SWEPT_IN_TURN, "{turns}");
        assert_eq!(rig.coordinator.offset_count(), 0);
        assert_eq!(rig.coordinator.group_count(), if deleted { 3 * GROUPS } else { 0 });
    }
}

/// While much is on its way to the log, no more is looked for.
#[test]
fn deletions_wait_for_the_log() {
    let mut rig = Rig::new();
    for n in 0..40_000 {
        rig.commit_offset(CommitRequest { group_id: format!("g{}", n % 100), ..committing(n, 1) });
    }
    rig.coordinator.topics_deleted(rig.now, &[("t".into(), TOPIC_ID)]);
    rig.immediate = false;
    for n in 0..1001 {
        rig.commit_offset(CommitRequest { group_id: format!("h{n}"), ..committing(0, 1) });
    }
    let before = rig.pending.len();
    assert_eq!((rig.turn().1, rig.pending.len()), (0, before));
    rig.immediate = true;
    rig.commit();
    rig.advance(100);
    assert_eq!(rig.coordinator.offset_count(), 0);
}

/// Each JoinGroup looked at every protocol of every member: 1,000 of 60 bytes kept everybody else waiting for 3.5 seconds.
#[test]
fn sums_over_members_are_what_looking_at_all_of_them_gives() {
    for seed in 0..60 {
        let mut random = Prng::new(seed);
        let mut rig = Rig::with(GroupConfig {
            initial_rebalance_delay_ms: 0,
            record_bytes_max: 400,
            ..GroupConfig::default()
        });
        let mut ids: Vec<String> = vec![String::new()];
        for _ in 0..200 {
            let mut names = ["a", "b", "c", "d"];
            names.rotate_left(random.below(4) as usize);
            let metadata = |n: u64| Arc::from(vec![1; n as usize]);
            let known = names.iter().take(1 + random.below(4) as usize);
            let protocols = known.map(|name| ((*name).into(), metadata(random.below(60)))).collect();
            let instance_id = (random.below(2) == 0).then(|| ["x", "y"][random.below(2) as usize].into());
            let member_id = ids[random.below(ids.len() as u64) as usize].clone();
            let request = JoinRequest { group_instance_id: instance_id, protocols, ..joining(&member_id) };
            if let Some(Group::Classic(group)) = rig.coordinator.groups.get("g") {
                group.check_sums(&request, 100);
            }
            rig.join(request);
            rig.advance([0, 100, 20_000][random.below(3) as usize]);
            for (_, reply) in std::mem::take(&mut rig.replies) {
                let GroupReply::Join(reply) = reply else { continue };
                if !reply.member_id.is_empty() && !ids.contains(&reply.member_id.to_string()) {
                    ids.push(reply.member_id.to_string());
                }
                if reply.error.is_none() && reply.leader == reply.member_id {
                    let mut assign = syncing(&reply.member_id, reply.generation_id, &[]);
                    assign.protocol_name = None;
                    rig.send(5, GroupRequest::Sync(assign));
                }
            }
        }
    }
}

/// Clients that took a static member's place had the whole group stored with each small request, without a bound.
#[test]
fn what_a_request_adds_to_the_log_is_known_before_it_does() {
    let mut rig = Rig::new();
    let ticket = rig.join(joining_static("", "x"));
    rig.advance(0);
    let leader = rig.joined(ticket).member_id.to_string();
    let assign = syncing(&leader, 1, &[(&leader, &vec![7; 100_000])]);
    rig.immediate = false;
    for (request, least) in [
        (GroupRequest::Sync(assign), 100_000),
        (GroupRequest::CommitOffsets(committing_as(&leader, 1, 1)), 0),
        (GroupRequest::Join(joining_static("", "x")), 100_000),
        (GroupRequest::Join(joining_static("", "y")), 0),
        (GroupRequest::Join(joining("")), 0),
    ] {
        let bytes = rig.coordinator.append_bytes(&request);
        assert!((least..least + 1000).contains(&bytes), "{bytes} for {request:?}");
        rig.send(5, request);
        let records = rig.pending.iter().flat_map(|append| &append.records);
        let on_their_way: usize = records.map(Record::payload_bytes).sum();
        assert!(on_their_way >= bytes, "{on_their_way} for {bytes}");
        assert_eq!(rig.coordinator.bytes_in_flight(), on_their_way);
        rig.commit();
        assert_eq!(rig.coordinator.bytes_in_flight(), 0);
    }
}
