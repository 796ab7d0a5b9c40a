//! Loading, unloading, and appends that fail.

use super::request::{DeleteOffsetsRequest, ListRequest};
use super::*;
use crate::base::prng::Prng;
use crate::coord::AppendId;

/// One request of every kind, to group "g".
fn every_request() -> Vec<GroupRequest> {
    let member = vec![LeavingMember { member_id: "m".into(), group_instance_id: None }];
    vec![
        GroupRequest::Join(joining("m")),
        GroupRequest::Sync(syncing("m", 1, &[])),
        GroupRequest::Heartbeat(HeartbeatRequest { group_id: "g".into(), ..HeartbeatRequest::default() }),
        GroupRequest::Leave(LeaveRequest { group_id: "g".into(), members: member }),
        GroupRequest::CommitOffsets(committing(0, 1)),
        GroupRequest::FetchOffsets(FetchRequest { group_id: "g".into(), ..FetchRequest::default() }),
        GroupRequest::DeleteOffsets(DeleteOffsetsRequest { group_id: "g".into(), topics: vec![] }),
        GroupRequest::Describe { group_id: "g".into() },
        GroupRequest::Delete { group_id: "g".into() },
        GroupRequest::List(ListRequest::default()),
    ]
}

#[test]
fn until_loaded_and_after_unloading_requests_are_refused() {
    let mut rig = Rig::unloaded(GroupConfig::default());
    for request in every_request() {
        let ticket = rig.send(5, request.clone());
        let expected = GroupReply::refused(&request, 5, GroupError::CoordinatorLoadInProgress);
        assert_eq!(rig.reply(ticket), expected);
    }
    let mut heartbeats = every_request().into_iter().filter(|r| matches!(r, GroupRequest::Heartbeat(_)));
    let ticket = rig.send(4, heartbeats.next().expect("one"));
    assert_eq!(rig.reply(ticket), GroupReply::Heartbeat(None), "a member need not know of the loading");

    rig.loaded();
    let mut effects = Effects::default();
    rig.coordinator.unload(&mut effects);
    rig.take_in(effects);
    for request in every_request() {
        let ticket = rig.send(5, request.clone());
        assert_eq!(rig.reply(ticket), GroupReply::refused(&request, 5, GroupError::NotCoordinator));
    }
    assert_eq!(rig.coordinator.deadline(), None);
}

#[test]
fn a_restored_group_goes_on() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    rig.commit_offset(committing_as(&a, 1, 5));
    let mut again = rig.restarted(GroupConfig::default());
    let described = again.describe("g");
    assert_eq!((described.state, described.members.len()), ("Stable", 2));
    assert_eq!(described.members, rig.describe("g").members);
    assert_eq!(again.offsets("g"), [("t".to_owned(), 0, 5)]);
    again.advance(9_999);
    assert_eq!((again.heartbeat(&a, 1), again.heartbeat(&b, 1)), (None, None));
    let commits = again.commit_offset(committing_as(&a, 1, 6));
    assert_eq!(again.committed(commits), None);
    again.advance(10_000);
    assert_eq!(again.describe("g").state, "Empty", "sessions run from the loading");
}

#[test]
fn a_restored_group_over_its_size_is_rebalanced() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    let mut again = rig.restarted(GroupConfig { size_max: 1, ..GroupConfig::default() });
    assert_eq!(again.heartbeat(&a, 1), Some(GroupError::RebalanceInProgress));
    let (ja, jb) = (again.join(joining(&a)), again.join(joining(&b)));
    assert_eq!(again.joined(jb).error, Some(GroupError::GroupMaxSizeReached));
    again.advance(60_000);
    assert_eq!(again.joined(ja).members.len(), 1);
}

#[test]
fn an_unload_answers_whoever_waits() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    rig.stabilise(&[&a, &b]);
    rig.commit_offset(CommitRequest { group_id: "other".into(), ..committing(0, 1) });
    rig.immediate = false;
    let changed = JoinRequest { protocols: vec![("range".into(), Arc::from(*b"x"))], ..joining(&a) };
    let joins = rig.join(changed);
    let commits = rig.commit_offset(committing_as(&b, 1, 1));
    let stable = FetchRequest { group_id: "g".into(), topics: None, require_stable: true };
    let fetches = rig.send(8, GroupRequest::FetchOffsets(stable));
    let deletes = rig.send(2, GroupRequest::Delete { group_id: "other".into() });
    let mut effects = Effects::default();
    rig.coordinator.unload(&mut effects);
    rig.take_in(effects);
    assert_eq!(rig.joined(joins).error, Some(GroupError::NotCoordinator));
    assert_eq!(rig.committed(commits), Some(GroupError::NotCoordinator));
    assert_eq!(rig.fetched(fetches).error, Some(GroupError::NotCoordinator));
    let GroupReply::Delete(reply) = rig.reply(deletes) else { panic!() };
    assert_eq!(reply.error, Some(GroupError::NotCoordinator));
    // Outcomes that come too late are ignored.
    rig.settle(0, Ok(()));
    rig.settle(0, Err(6));
    let mut effects = Effects::default();
    rig.coordinator.appended(rig.now, AppendId(99), Ok(()), &mut effects);
    assert!(effects.replies.is_empty() && effects.appends.is_empty());
}

#[test]
fn a_group_whose_first_record_fails_is_gone() {
    let mut rig = Rig::new();
    rig.immediate = false;
    let ticket = rig.send(3, GroupRequest::Join(joining("")));
    assert_eq!(rig.describe("g").state, "Dead", "not in the log yet");
    rig.settle(0, Err(6));
    assert_eq!(rig.joined(ticket).error, Some(GroupError::NotCoordinator));
    assert_eq!(rig.coordinator.group_count(), 0);
}

#[test]
fn an_assignment_that_cannot_be_stored_starts_over() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    let (ja, jb) = (rig.join(joining(&a)), rig.join(joining(&b)));
    rig.advance(0);
    let leader = rig.joined(ja).leader.to_string();
    rig.joined(jb);
    let follower = if leader == a { &b } else { &a };
    rig.immediate = false;
    let waits = rig.sync(follower, 1, &[]);
    let assigns = rig.sync(&leader, 1, &[(follower, b"f")]);
    assert!(rig.is_parked(waits) && rig.is_parked(assigns), "not stored yet");
    rig.settle(0, Err(3));
    assert_eq!(rig.synced(waits).error, Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(rig.synced(assigns).error, Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(rig.heartbeat(&a, 1), Some(GroupError::RebalanceInProgress));
}

#[test]
fn an_assignment_of_a_generation_that_is_over_is_not_given_out() {
    let mut rig = Rig::new();
    let (a, b) = (rig.member_id(), rig.member_id());
    let joins = rig.join(joining(&a));
    let other = rig.join(joining(&b));
    rig.advance(0);
    let leader = rig.joined(joins).leader.to_string();
    rig.joined(other);
    rig.immediate = false;
    let assigns = rig.sync(&leader, 1, &[(&a, b"1"), (&b, b"1")]);
    let follower = if leader == a { &b } else { &a };
    rig.leave(&[(follower, None)]);
    assert_eq!(rig.synced(assigns).error, Some(GroupError::RebalanceInProgress));
    rig.settle(0, Ok(()));
    assert_eq!(rig.describe("g").state, "PreparingRebalance");
}

#[test]
fn a_leave_that_cannot_be_stored_says_so() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    rig.immediate = false;
    let ticket = rig.leave_ticket(&[(&a, None)]);
    rig.settle(0, Err(19));
    let GroupReply::Leave(reply) = rig.reply(ticket) else { panic!() };
    assert_eq!(reply.error, Some(GroupError::CoordinatorNotAvailable));
}

#[test]
fn any_bytes_can_be_replayed() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    rig.commit_offset(committing_as(&a, 1, 5));
    rig.send(4, GroupRequest::CommitOffsets(CommitRequest { retention_time_ms: 60_000, ..committing(0, 1) }));
    let (records, mut prng) = (rig.records(), Prng::new(11));
    let mut coordinator = GroupCoordinator::new(0, GroupConfig::default(), 1);
    let damage = |bytes: &[u8], prng: &mut Prng| {
        let mut bytes = bytes.to_vec();
        for _ in 0..=prng.below(3) {
            let at = prng.below(bytes.len() as u64) as usize;
            match prng.below(3) {
                0 => bytes[at] = prng.next_u64() as u8,
                1 => bytes.truncate(at),
                _ => bytes.insert(at, prng.next_u64() as u8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    };
    for round in 0..20_000 {
        let record = &records[round % records.len()];
        let key = if prng.one_in(3) { damage(&record.key, &mut prng) } else { record.key.clone() };
        let value = record.value.as_ref().map(|value| damage(value, &mut prng));
        coordinator.replay(&key, value.as_deref());
    }
    assert_eq!(coordinator.replay(&[], None), Replayed::Damaged);
    assert_eq!(
        coordinator.replay(&[0, 3, 0, 1, b'g'], Some(&[0, 0])),
        Replayed::Skipped,
        "a consumer group's"
    );
    let (skipped, damaged) = coordinator.unread_records();
    assert!(skipped > 0 && damaged > 0);
    // What was made of it can be lived with.
    let mut effects = Effects::default();
    let mut now = rig.now;
    coordinator.loaded(now, &mut effects);
    for _ in 0..100 {
        let Some(at) = coordinator.deadline() else { break };
        now.ticks = at.max(now.ticks);
        coordinator.expire(now, GROUP_EXPIRIES_IN_TURN, &mut effects);
        for append in std::mem::take(&mut effects.appends) {
            coordinator.appended(now, append.id, Ok(()), &mut effects);
        }
    }
    coordinator.unload(&mut effects);
}

#[test]
fn too_many_appends_on_their_way_refuse_requests() {
    let mut rig = Rig::new();
    rig.immediate = false;
    let max = crate::base::limits::GROUP_APPENDS_IN_FLIGHT_MAX;
    for _ in 0..max {
        rig.commit_offset(committing(0, 1));
    }
    let ticket = rig.commit_offset(committing(0, 1));
    assert_eq!(rig.committed(ticket), Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(rig.pending.len(), max);
}

#[test]
fn offsets_that_outlive_their_group_are_kept() {
    let mut rig = Rig::unloaded(GroupConfig::default());
    let key = [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 8];
    let v3 = [0, 3, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    rig.coordinator.replay(&key, Some(&v3));
    rig.coordinator.replay(&[0, 2, 0, 1, b'g'], None);
    rig.loaded();
    assert_eq!((rig.describe("g").state, rig.offsets("g").len()), ("Empty", 1));
    assert_eq!(rig.coordinator.topics().into_iter().collect::<Vec<_>>(), [("t".into(), TopicId::ZERO)]);
}

#[test]
fn a_leader_that_assigns_twice_is_taken_at_its_first_word() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    let joins = rig.join(joining(&a));
    rig.advance(0);
    rig.joined(joins);
    rig.immediate = false;
    let (first, second) = (rig.sync(&a, 1, &[(&a, b"first")]), rig.sync(&a, 1, &[(&a, b"second")]));
    assert_eq!(rig.synced(first).error, Some(GroupError::RebalanceInProgress), "its client waits no more");
    assert_eq!(rig.pending.len(), 1);
    rig.commit();
    assert_eq!(&*rig.synced(second).assignment, b"first");
    let restored = rig.restarted(GroupConfig::default()).describe("g");
    assert_eq!(&*restored.members[0].assignment, b"first");
}

#[test]
fn a_group_lives_if_any_of_its_first_records_is_stored() {
    let mut rig = Rig::new();
    rig.immediate = false;
    let (first, second) = (rig.commit_offset(committing(0, 1)), rig.commit_offset(committing(1, 1)));
    rig.settle(0, Err(7));
    rig.settle(0, Ok(()));
    assert_eq!(rig.committed(first), Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(rig.committed(second), None);
    assert_eq!((rig.describe("g").state, rig.offsets("g").len()), ("Empty", 1));
}
