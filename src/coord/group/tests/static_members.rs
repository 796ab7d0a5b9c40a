//! Static members (KIP-345, KIP-814).

use super::*;

/// A stable group with the static members "x" and "y"; returns their ids, the leader's first.
fn stable(rig: &mut Rig) -> (String, String) {
    let tickets = [rig.join(joining_static("", "x")), rig.join(joining_static("", "y"))];
    rig.advance(0);
    let replies = tickets.map(|ticket| rig.joined(ticket));
    let leader = replies[0].leader.to_string();
    let follower =
        replies.iter().map(|r| r.member_id.to_string()).find(|id| *id != leader).expect("two members");
    let ticket = rig.sync(&leader, 1, &[(&leader, b"L"), (&follower, b"F")]);
    assert_eq!(rig.synced(ticket).error, None);
    let ticket = rig.sync(&follower, 1, &[]);
    assert_eq!(rig.synced(ticket).error, None);
    (leader, follower)
}

fn instance(member_id: &str) -> &str {
    member_id.split_once('-').expect("instance id, dash, uuid").0
}

#[test]
fn a_restarted_static_member_keeps_its_assignment_without_a_rebalance() {
    let mut rig = Rig::new();
    let (leader, follower) = stable(&mut rig);
    rig.immediate = false;
    let ticket = rig.join(joining_static("", instance(&follower)));
    assert!(rig.is_parked(ticket), "the new id is stored first");
    rig.settle(0, Ok(()));
    let reply = rig.joined(ticket);
    assert_eq!((reply.error, reply.generation_id, reply.skip_assignment), (None, 1, false));
    assert_ne!(*reply.member_id, *follower);
    assert_eq!(&*reply.leader, leader.as_str());
    let id = reply.member_id.to_string();
    let ticket = rig.sync(&id, 1, &[]);
    assert_eq!(&*rig.synced(ticket).assignment, b"F");
    assert_eq!(rig.heartbeat(&leader, 1), None, "no rebalance");
    assert_eq!(rig.heartbeat(&follower, 1), Some(GroupError::UnknownMemberId));
    let fenced = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: follower.clone(),
        group_instance_id: Some(instance(&follower).into()),
    };
    let ticket = rig.send(4, GroupRequest::Heartbeat(fenced));
    assert_eq!(rig.reply(ticket), GroupReply::Heartbeat(Some(GroupError::FencedInstanceId)));
    let ticket = rig.join(joining_static(&follower, instance(&follower)));
    assert_eq!(rig.joined(ticket).error, Some(GroupError::FencedInstanceId));
    let restored = rig.restarted(GroupConfig::default()).describe("g");
    assert!(restored.members.iter().any(|m| *m.member_id == *id && *m.assignment == *b"F"));
}

#[test]
fn a_restarted_leader_is_told_to_skip_the_assignment_or_of_its_old_id() {
    let mut rig = Rig::new();
    let (leader, _) = stable(&mut rig);
    let ticket = rig.join(joining_static("", instance(&leader)));
    let reply = rig.joined(ticket);
    assert_eq!(reply.leader, reply.member_id);
    assert_eq!((reply.skip_assignment, reply.members.len()), (true, 2));

    let ticket = rig.send(8, GroupRequest::Join(joining_static("", instance(&leader))));
    let old = rig.joined(ticket);
    assert_eq!(old.leader, reply.member_id, "an old client must not believe to lead");
    assert_eq!((old.skip_assignment, old.members.len()), (false, 0));
}

#[test]
fn a_replacement_that_cannot_be_stored_is_undone() {
    let mut rig = Rig::new();
    let (leader, follower) = stable(&mut rig);
    rig.immediate = false;
    let ticket = rig.join(joining_static("", instance(&follower)));
    rig.settle(0, Err(7));
    assert_eq!(rig.joined(ticket).error, Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(rig.heartbeat(&follower, 1), None, "the old id is good again");
    assert_eq!(rig.heartbeat(&leader, 1), None);
}

#[test]
fn a_replacement_fences_the_requests_of_the_old_client() {
    let mut rig = Rig::new();
    let (leader, follower) = stable(&mut rig);
    let leads = rig.join(joining_static(&leader, instance(&leader)));
    assert!(rig.is_parked(leads), "the leader wants a rebalance");
    let takes = rig.join(joining_static("", instance(&leader)));
    let fenced = rig.joined(leads);
    assert_eq!((fenced.error, &*fenced.member_id), (Some(GroupError::FencedInstanceId), leader.as_str()));
    let rejoins = rig.join(joining_static(&follower, instance(&follower)));
    let (new, other) = (rig.joined(takes), rig.joined(rejoins));
    assert_eq!((new.generation_id, other.generation_id), (2, 2));
    assert_eq!(new.leader, new.member_id, "leadership passes over");

    // In the sync phase too; and the leader may hold the old id, so there is another rebalance.
    let waits = rig.sync(&follower, 2, &[]);
    let takes = rig.join(joining_static("", instance(&follower)));
    assert_eq!(rig.synced(waits).error, Some(GroupError::FencedInstanceId));
    assert_eq!(rig.heartbeat(&new.member_id, 2), Some(GroupError::RebalanceInProgress));
    let rejoins = rig.join(joining_static(&new.member_id, instance(&leader)));
    assert_eq!((rig.joined(takes).generation_id, rig.joined(rejoins).generation_id), (3, 3));
}

#[test]
fn a_change_of_the_protocol_needs_a_rebalance() {
    let mut rig = Rig::new();
    let both = |id: &str, instance: &str, first: &str, second: &str| JoinRequest {
        protocols: vec![(first.into(), subscription()), (second.into(), subscription())],
        ..joining_static(id, instance)
    };
    let ticket = rig.join(both("", "x", "range", "sticky"));
    rig.advance(0);
    let id = rig.joined(ticket).member_id.to_string();
    let assigns = rig.sync(&id, 1, &[]);
    rig.synced(assigns);
    let ticket = rig.join(both("", "x", "sticky", "range"));
    let reply = rig.joined(ticket);
    assert_eq!((reply.generation_id, reply.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn a_static_member_stays_while_its_session_lasts() {
    let mut rig = Rig::new();
    let (leader, follower) = stable(&mut rig);
    let changed = JoinRequest {
        protocols: vec![("range".into(), Arc::from(*b"x"))],
        ..joining_static(&leader, instance(&leader))
    };
    let joins = rig.join(changed);
    let members = |rig: &mut Rig| rig.describe("g").members.len();
    for _ in 0..8 {
        rig.advance(8_000);
        rig.heartbeat(&follower, 1);
    }
    let reply = rig.joined(joins);
    assert_eq!((reply.generation_id, reply.members.len()), (2, 2), "away, but a member");
    rig.advance(10_000);
    assert_eq!(members(&mut rig), 0, "neither has been heard of");
}

#[test]
fn a_rebalance_that_nobody_joined_waits_for_the_sessions() {
    let mut rig = Rig::new();
    let long = |instance: &str| JoinRequest {
        session_timeout_ms: 100_000,
        rebalance_timeout_ms: 1,
        ..joining_static("", instance)
    };
    let ticket = rig.join(long("x"));
    rig.advance(0);
    let id = rig.joined(ticket).member_id.to_string();
    let assigns = rig.sync(&id, 1, &[]);
    rig.synced(assigns);
    let dynamic = rig.member_id();
    let joins = rig.join(joining(&dynamic));
    // The dynamic member goes again; the static one is all there is, and has not joined.
    assert_eq!(rig.leave(&[(&dynamic, None)]).members[0].error, None);
    assert_eq!(rig.joined(joins).error, Some(GroupError::UnknownMemberId));
    rig.advance(60_000);
    assert_eq!(rig.describe("g").state, "PreparingRebalance");
    let at = rig.coordinator.deadline().expect("it is looked at again");
    assert!(at > rig.now.ticks, "but not at once");
    rig.advance(60_000);
    assert_eq!(rig.describe("g").state, "Empty");
}

#[test]
fn an_administrator_removes_by_instance_id() {
    let mut rig = Rig::new();
    let (leader, follower) = stable(&mut rig);
    let left =
        rig.leave(&[("", Some(instance(&follower))), ("", Some("z")), ("", None), (&leader, Some("z"))]);
    let errors: Vec<_> = left.members.iter().map(|member| member.error).collect();
    let unknown = Some(GroupError::UnknownMemberId);
    assert_eq!(errors, [None, unknown, unknown, unknown]);
    assert_eq!(rig.heartbeat(&follower, 1), unknown);
    let fenced = rig.leave(&[("someone", Some(instance(&leader)))]);
    assert_eq!(fenced.members[0].error, Some(GroupError::FencedInstanceId));
}

#[test]
fn replacements_in_a_row_answer_every_client() {
    let mut rig = Rig::new();
    let (_, follower) = stable(&mut rig);
    rig.immediate = false;
    let first = rig.join(joining_static("", instance(&follower)));
    let second = rig.join(joining_static("", instance(&follower)));
    assert_eq!(rig.joined(first).error, Some(GroupError::FencedInstanceId));
    rig.commit();
    let reply = rig.joined(second);
    assert_eq!(reply.error, None);
    assert_eq!(rig.heartbeat(&reply.member_id, 1), None);
}

#[test]
fn a_rebalance_overtakes_a_replacement() {
    let mut rig = Rig::new();
    let (leader, follower) = stable(&mut rig);
    rig.immediate = false;
    let takes = rig.join(joining_static("", instance(&follower)));
    let leads = rig.join(joining_static(&leader, instance(&leader)));
    let (first, second) = (rig.joined(takes), rig.joined(leads));
    assert_eq!((first.generation_id, second.generation_id), (2, 2), "both have joined the next generation");
    rig.commit();

    let id = first.member_id.to_string();
    rig.immediate = true;
    let parts: [(&str, &[u8]); 2] = [(&leader, b"L"), (&id, b"F")];
    for (member, parts) in [(&leader, parts.as_slice()), (&id, &[])] {
        let ticket = rig.sync(member, 2, parts);
        assert_eq!(rig.synced(ticket).error, None);
    }
    let third = rig.member_id();
    rig.immediate = false;
    let takes = rig.join(joining_static("", instance(&follower)));
    let joins = rig.join(joining(&third));
    rig.settle(0, Ok(()));
    assert!(rig.is_parked(takes), "its answer is the next generation");
    let leads = rig.join(joining_static(&leader, instance(&leader)));
    for ticket in [takes, joins, leads] {
        assert_eq!(rig.joined(ticket).generation_id, 3);
    }
}
