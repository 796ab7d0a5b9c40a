//! Joining, rebalancing, syncing, heartbeats and leaving of dynamic members.

use super::*;

#[test]
fn a_member_gets_an_id_joins_and_is_assigned() {
    let mut rig = Rig::with(GroupConfig::default());
    let ticket = rig.join(joining(""));
    let reply = rig.joined(ticket);
    assert_eq!((reply.error, reply.generation_id), (Some(GroupError::MemberIdRequired), -1));
    let id = reply.member_id.to_string();
    assert!(id.starts_with("client-") && id.len() == "client-".len() + 36, "{id}");
    assert_eq!(rig.describe("g").state, "Empty");

    let ticket = rig.join(joining(&id));
    rig.advance(2_999);
    assert!(rig.is_parked(ticket), "group.initial.rebalance.delay.ms");
    assert_eq!(rig.describe("g").state, "PreparingRebalance");
    rig.advance(1);
    let reply = rig.joined(ticket);
    assert_eq!((reply.error, reply.generation_id, &*reply.leader), (None, 1, id.as_str()));
    assert_eq!(
        (reply.protocol_type.as_deref(), reply.protocol_name.as_deref()),
        (Some("consumer"), Some("range"))
    );
    assert_eq!((reply.members.len(), &*reply.members[0].metadata), (1, &*subscription()));
    assert_eq!(rig.describe("g").state, "CompletingRebalance");

    let ticket = rig.sync(&id, 1, &[(&id, b"all of it")]);
    let reply = rig.synced(ticket);
    assert_eq!((reply.error, &*reply.assignment), (None, b"all of it".as_slice()));
    assert_eq!(
        (reply.protocol_type.as_deref(), reply.protocol_name.as_deref()),
        (Some("consumer"), Some("range"))
    );
    let described = rig.describe("g");
    assert_eq!((described.state, &*described.protocol_name), ("Stable", "range"));
    assert_eq!(&*described.members[0].assignment, b"all of it");
    assert_eq!(
        (&*described.members[0].client_id, &*described.members[0].client_host),
        ("client", "/127.0.0.1")
    );
    assert_eq!(rig.heartbeat(&id, 1), None);
}

#[test]
fn before_version_4_a_member_joins_at_once() {
    let mut rig = Rig::new();
    let ticket = rig.send(3, GroupRequest::Join(joining("")));
    assert!(rig.is_parked(ticket));
    rig.advance(0);
    let reply = rig.joined(ticket);
    assert_eq!((reply.error, reply.generation_id), (None, 1));
    assert_eq!(reply.leader, reply.member_id);
}

#[test]
fn new_members_extend_the_initial_delay_up_to_the_rebalance_timeout() {
    let mut rig = Rig::with(GroupConfig { initial_rebalance_delay_ms: 3_000, ..GroupConfig::default() });
    let patient = |id: &str| JoinRequest { rebalance_timeout_ms: 7_000, ..joining(id) };
    let mut tickets = Vec::new();
    for _ in 0..4 {
        let id = rig.member_id();
        tickets.push(rig.join(patient(&id)));
        rig.advance(1_700);
    }
    // Joined at 0, 1.7, 3.4 and 5.1 s: the delay runs to 3, 6 and, as the rest allows, 7 s.
    assert!(tickets.iter().all(|ticket| rig.is_parked(*ticket)), "at 6.8 s");
    rig.advance(200);
    for ticket in tickets {
        assert_eq!(rig.joined(ticket).generation_id, 1);
    }
}

#[test]
fn another_member_makes_the_others_rejoin() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let c = rig.member_id();
    assert_eq!(rig.heartbeat(&a, 1), None, "an id that is only given out disturbs nobody");
    let joins = rig.join(joining(&c));
    assert_eq!(rig.heartbeat(&a, 1), Some(GroupError::RebalanceInProgress));
    assert_eq!(rig.heartbeat(&b, 1), Some(GroupError::RebalanceInProgress));
    let early = rig.sync(&a, 1, &[]);
    assert_eq!(rig.synced(early).error, Some(GroupError::RebalanceInProgress));
    let (ja, jb) = (rig.join(joining(&a)), rig.join(joining(&b)));
    let replies = [rig.joined(joins), rig.joined(ja), rig.joined(jb)];
    assert!(replies.iter().all(|r| r.error.is_none() && r.generation_id == 2));
    let leaders = replies.iter().filter(|r| !r.members.is_empty());
    assert_eq!(leaders.map(|r| r.members.len()).collect::<Vec<_>>(), [3], "one leader, told of all three");
    assert_eq!(rig.heartbeat(&a, 1), Some(GroupError::IllegalGeneration));
    assert_eq!(rig.heartbeat(&a, 2), None);
}

#[test]
fn who_does_not_rejoin_within_the_rebalance_timeout_is_left_behind() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let ja = rig.join(JoinRequest { protocols: vec![("range".into(), Arc::from(*b"x"))], ..joining(&a) });
    for _ in 0..12 {
        rig.advance(4_999);
        assert_eq!(rig.heartbeat(&b, 1), Some(GroupError::RebalanceInProgress), "b lives but does not join");
        assert!(rig.is_parked(ja));
    }
    rig.advance(12);
    let reply = rig.joined(ja);
    assert_eq!((reply.generation_id, &*reply.leader, reply.members.len()), (2, a.as_str(), 1));
    assert_eq!(rig.heartbeat(&b, 1), Some(GroupError::UnknownMemberId));
}

#[test]
fn the_leader_that_fails_to_rejoin_is_replaced() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let leader = rig.describe("g").members[0].member_id.to_string();
    let follower = if leader == a { &b } else { &a };
    let changed = JoinRequest { protocols: vec![("range".into(), Arc::from(*b"x"))], ..joining(follower) };
    let joins = rig.join(changed);
    rig.advance(9_999);
    assert_eq!(rig.heartbeat(&leader, 1), Some(GroupError::RebalanceInProgress));
    rig.advance(10_000);
    let reply = rig.joined(joins);
    assert_eq!((&*reply.leader, reply.generation_id), (follower.as_str(), 2));
}

#[test]
fn a_silent_member_goes_and_an_empty_group_is_stored() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    rig.advance(6_000);
    assert_eq!(rig.heartbeat(&a, 1), None);
    rig.advance(9_999);
    assert_eq!(rig.describe("g").members.len(), 1);
    rig.advance(1);
    let described = rig.describe("g");
    assert_eq!(
        (described.state, described.members.len(), &*described.protocol_type),
        ("Empty", 0, "consumer")
    );
    assert_eq!(rig.heartbeat(&a, 1), Some(GroupError::UnknownMemberId));
    let restored = rig.restarted(GroupConfig::default()).describe("g");
    assert_eq!((restored.state, &*restored.protocol_type), ("Empty", "consumer"));
}

#[test]
fn parked_members_do_not_expire() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let leader = rig.describe("g").members[0].member_id.to_string();
    let follower = if leader == a { &b } else { &a };
    let joins = [rig.join(joining(&leader)), rig.join(joining(follower))];
    for ticket in joins {
        assert_eq!(rig.joined(ticket).generation_id, 2);
    }
    let waits = rig.sync(follower, 2, &[]);
    rig.advance(9_000);
    assert_eq!(rig.heartbeat(&leader, 2), None);
    rig.advance(9_000);
    assert!(rig.is_parked(waits), "its session timeout has passed twice");
    let assigns = rig.sync(&leader, 2, &[(follower, b"f")]);
    assert_eq!(&*rig.synced(waits).assignment, b"f");
    assert_eq!(&*rig.synced(assigns).assignment, b"", "forgotten by the leader");
}

#[test]
fn a_pending_id_expires_and_holds_up_nobody() {
    let mut rig = Rig::new();
    let (a, pending) = (rig.member_id(), rig.member_id());
    rig.stabilise_with_pending(&a);
    let joins = rig.join(joining(&a));
    assert!(rig.is_parked(joins), "the rebalance waits for the id that is given out");
    rig.advance(10_000);
    assert_eq!(rig.joined(joins).generation_id, 2);
    let late = rig.join(joining(&pending));
    assert_eq!(rig.joined(late).error, Some(GroupError::UnknownMemberId));
}

impl Rig {
    /// A group of one member while another id is given out.
    #[track_caller]
    fn stabilise_with_pending(&mut self, id: &str) {
        let joins = self.join(joining(id));
        self.advance(0);
        assert_eq!(self.joined(joins).generation_id, 1, "the initial delay ends for pending ids too");
        let assigns = self.sync(id, 1, &[(id, b"x")]);
        assert_eq!(self.synced(assigns).error, None);
    }
}

#[test]
fn who_does_not_sync_in_time_is_removed() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    let (ja, jb) = (rig.join(joining(&a)), rig.join(joining(&b)));
    rig.advance(0);
    let leader = rig.joined(ja).leader.to_string();
    rig.joined(jb);
    let follower = if leader == a { &b } else { &a };
    let waits = rig.sync(follower, 1, &[]);
    for _ in 0..6 {
        rig.advance(9_900);
        assert_eq!(rig.heartbeat(&leader, 1), None);
    }
    rig.advance(600);
    assert_eq!(rig.synced(waits).error, Some(GroupError::RebalanceInProgress));
    assert_eq!(rig.heartbeat(&leader, 1), Some(GroupError::UnknownMemberId));
    let joins = rig.join(joining(follower));
    assert_eq!(rig.joined(joins).generation_id, 2);
}

#[test]
fn the_protocol_most_members_prefer_wins() {
    let mut rig = Rig::new();
    let with = |id: &str, names: &[&str]| JoinRequest {
        protocols: names.iter().map(|name| ((*name).into(), Arc::from(name.as_bytes()))).collect(),
        ..joining(id)
    };
    let ids = [rig.member_id(), rig.member_id(), rig.member_id()];
    let tickets = [
        rig.join(with(&ids[0], &["range", "sticky", "roundrobin"])),
        rig.join(with(&ids[1], &["sticky", "range"])),
        rig.join(with(&ids[2], &["roundrobin", "sticky", "range"])),
    ];
    rig.advance(0);
    // roundrobin is not known to all; the third then votes for sticky.
    for ticket in tickets {
        assert_eq!(rig.joined(ticket).protocol_name.as_deref(), Some("sticky"));
    }
    let stranger = rig.join(with("", &["other"]));
    assert_eq!(rig.joined(stranger).error, Some(GroupError::InconsistentGroupProtocol));
    let connect = rig.join(JoinRequest { protocol_type: "connect".into(), ..with("", &["sticky"]) });
    assert_eq!(rig.joined(connect).error, Some(GroupError::InconsistentGroupProtocol));
    let wrong = SyncRequest { protocol_name: Some("range".into()), ..syncing(&ids[0], 1, &[]) };
    let ticket = rig.send(5, GroupRequest::Sync(wrong));
    assert_eq!(rig.synced(ticket).error, Some(GroupError::InconsistentGroupProtocol));
}

#[test]
fn no_protocols_make_no_group() {
    let mut rig = Rig::new();
    let ticket = rig.join(JoinRequest { protocols: Vec::new(), ..joining("") });
    assert_eq!(rig.joined(ticket).error, Some(GroupError::InconsistentGroupProtocol));
    let ticket = rig.join(JoinRequest { protocol_type: String::new(), ..joining("") });
    assert_eq!(rig.joined(ticket).error, Some(GroupError::InconsistentGroupProtocol));
    assert_eq!((rig.coordinator.group_count(), rig.log.len()), (0, 0));
}

#[test]
fn a_rejoin_without_change_gets_the_generation_again() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let leader = rig.describe("g").members[0].member_id.to_string();
    let follower = if leader == a { &b } else { &a };
    let again = rig.join(joining(follower));
    let reply = rig.joined(again);
    assert_eq!((reply.error, reply.generation_id, reply.members.len()), (None, 1, 0));
    let again = rig.sync(follower, 1, &[]);
    assert_eq!(&*rig.synced(again).assignment, follower.as_bytes());
    // From the leader it is a wish for a rebalance.
    let leads = rig.join(joining(&leader));
    assert!(rig.is_parked(leads));
    assert_eq!(rig.heartbeat(follower, 1), Some(GroupError::RebalanceInProgress));
}

#[test]
fn a_rejoin_while_assigning_depends_on_the_metadata() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    let (ja, jb) = (rig.join(joining(&a)), rig.join(joining(&b)));
    rig.advance(0);
    let leader = rig.joined(ja).leader.to_string();
    rig.joined(jb);
    let again = rig.join(joining(&leader));
    let reply = rig.joined(again);
    assert_eq!((reply.error, reply.generation_id, reply.members.len()), (None, 1, 2), "its answer was lost");
    let follower = if leader == a { &b } else { &a };
    let waits = rig.sync(follower, 1, &[]);
    let changed = JoinRequest { protocols: vec![("range".into(), Arc::from(*b"x"))], ..joining(&leader) };
    let joins = rig.join(changed);
    assert_eq!(rig.synced(waits).error, Some(GroupError::RebalanceInProgress));
    let other = rig.join(joining(follower));
    assert_eq!((rig.joined(joins).generation_id, rig.joined(other).generation_id), (2, 2));
}

#[test]
fn refusals_by_request() {
    let mut rig = Rig::new();
    let nobody = rig.join(joining("nobody"));
    assert_eq!(rig.joined(nobody).error, Some(GroupError::UnknownMemberId));
    assert_eq!(rig.heartbeat("nobody", 1), Some(GroupError::UnknownMemberId));
    let sync = rig.sync("nobody", 1, &[]);
    assert_eq!(rig.synced(sync).error, Some(GroupError::UnknownMemberId));
    let left = rig.leave(&[("nobody", None)]);
    assert_eq!((left.error, left.members[0].error), (None, Some(GroupError::UnknownMemberId)));
    assert_eq!(rig.coordinator.group_count(), 0);

    let a = rig.member_id();
    rig.stabilise(&[&a]);
    let sync = rig.sync(&a, 7, &[]);
    assert_eq!(rig.synced(sync).error, Some(GroupError::IllegalGeneration));
    assert_eq!(rig.heartbeat(&a, 0), Some(GroupError::IllegalGeneration));
    for timeout_ms in [5_999, 1_800_001, -1] {
        let ticket = rig.join(JoinRequest { session_timeout_ms: timeout_ms, ..joining("") });
        assert_eq!(rig.joined(ticket).error, Some(GroupError::InvalidSessionTimeout), "{timeout_ms}");
    }
    for request in [
        GroupRequest::Join(JoinRequest { group_id: String::new(), ..joining("") }),
        GroupRequest::Sync(SyncRequest { group_id: String::new(), ..syncing(&a, 1, &[]) }),
        GroupRequest::Heartbeat(HeartbeatRequest::default()),
        GroupRequest::Leave(LeaveRequest::default()),
        GroupRequest::DeleteOffsets(request::DeleteOffsetsRequest::default()),
    ] {
        let ticket = rig.send(5, request.clone());
        assert_eq!(rig.reply(ticket), GroupReply::refused(&request, 5, GroupError::InvalidGroupId));
    }
}

#[test]
fn a_full_group_takes_nobody() {
    let mut rig =
        Rig::with(GroupConfig { size_max: 2, initial_rebalance_delay_ms: 0, ..GroupConfig::default() });
    let ids = [rig.member_id(), rig.member_id(), rig.member_id()];
    let tickets = ids.each_ref().map(|id| rig.join(joining(id)));
    assert_eq!(rig.joined(tickets[2]).error, Some(GroupError::GroupMaxSizeReached));
    rig.advance(0);
    assert_eq!((rig.joined(tickets[0]).generation_id, rig.joined(tickets[1]).generation_id), (1, 1));
    let ticket = rig.join(joining(""));
    assert_eq!(rig.joined(ticket).error, Some(GroupError::GroupMaxSizeReached));
    let again = rig.join(joining(&ids[0]));
    assert_eq!(rig.joined(again).error, None, "a member is in");
}

#[test]
fn leaving_rebalances_the_others_and_waits_for_the_record_when_nobody_is_left() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let left = rig.leave(&[(&a, None), ("nobody", None)]);
    assert_eq!(left.members[0].error, None);
    assert_eq!(left.members[1].error, Some(GroupError::UnknownMemberId));
    assert_eq!(rig.heartbeat(&b, 1), Some(GroupError::RebalanceInProgress));
    rig.stabilise(&[&b]);

    rig.immediate = false;
    let ticket = rig.leave_ticket(&[(&b, None)]);
    assert!(rig.is_parked(ticket));
    rig.settle(0, Ok(()));
    assert!(matches!(rig.reply(ticket), GroupReply::Leave(LeaveReply { error: None, .. })));
    assert_eq!(rig.describe("g").state, "Empty");
}

#[test]
fn a_member_that_leaves_while_parked_is_told() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let parked = rig.join(JoinRequest { protocols: vec![("range".into(), Arc::from(*b"x"))], ..joining(&a) });
    assert_eq!(rig.leave(&[(&a, None)]).members[0].error, None);
    assert_eq!(rig.joined(parked).error, Some(GroupError::UnknownMemberId));
    let pending = rig.member_id();
    assert_eq!(
        rig.leave(&[(&pending, None)]).members[0].error,
        None,
        "an id that is only given out can leave"
    );
}

#[test]
fn a_second_request_of_a_member_replaces_the_parked_one() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    let first = rig.join(joining(&a));
    let second = rig.join(joining(&a));
    assert_eq!(rig.joined(first).error, Some(GroupError::RebalanceInProgress));
    rig.advance(0);
    assert_eq!(rig.joined(second).generation_id, 1);
}

#[test]
fn a_new_member_may_be_parked_for_five_minutes() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    let long = |id: &str| JoinRequest {
        rebalance_timeout_ms: 900_000,
        session_timeout_ms: 1_800_000,
        ..joining(id)
    };
    let joins = rig.join(long(&a));
    rig.advance(0);
    assert_eq!(rig.joined(joins).generation_id, 1);
    let assigns = rig.sync(&a, 1, &[]);
    rig.synced(assigns);
    let new = rig.join(long(&b));
    rig.advance(299_999);
    assert!(rig.is_parked(new));
    rig.advance(1);
    assert_eq!(rig.joined(new).error, Some(GroupError::UnknownMemberId));
}

/// A group of one member with an assignment of 16 MiB, described 130 times in one request, was a reply of more than 2 GiB.
/// Kafka stores a group in one record and refuses what the log's `max.message.bytes` does not take.
#[test]
fn a_group_that_no_record_holds_is_refused() {
    let record_bytes_max = 1000;
    let small = GroupConfig { record_bytes_max, initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    for (bytes, refusal) in [(500, None), (1000, Some(GroupError::UnknownServerError))] {
        let mut rig = Rig::with(small.clone());
        let id = rig.member_id();
        rig.join(joining(&id));
        rig.advance(0);
        let ticket = rig.sync(&id, 1, &[(&id, &vec![7; bytes])]);
        assert_eq!(rig.synced(ticket).error, refusal, "an assignment of {bytes} bytes");
        let appended = rig.records().iter().map(Record::batch_bytes).max();
        assert!(appended < Some(record_bytes_max), "{appended:?}");
    }
}

#[test]
fn metadata_of_members_that_no_record_holds_is_refused() {
    let config =
        GroupConfig { record_bytes_max: 1000, initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    let mut rig = Rig::with(config);
    let of = |instance: &str, bytes: usize| JoinRequest {
        protocols: vec![("p".into(), vec![0; bytes].into())],
        protocol_type: "own".into(),
        ..joining_static("", instance)
    };
    let ticket = rig.join(of("a", 1000));
    assert_eq!(rig.joined(ticket).error, Some(GroupError::UnknownServerError), "more than a record alone");
    let first = rig.join(of("a", 600));
    let second = rig.join(of("b", 600));
    assert_eq!(rig.joined(second).error, Some(GroupError::GroupMaxSizeReached), "no room beside the first");
    rig.advance(0);
    assert_eq!(rig.joined(first).error, None, "the first is not hurt");
    let again = rig.join(of("a", 700));
    rig.advance(60_000);
    assert_eq!(rig.joined(again).error, None, "its own place is not in its way");
}
