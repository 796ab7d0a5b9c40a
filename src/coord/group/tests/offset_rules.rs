//! Committing, fetching, deleting and expiring offsets.

use super::request::{DeleteOffsetsRequest, FetchTopic};
use super::*;

fn t(partition: i32, offset: i64) -> (String, i32, i64) {
    ("t".to_owned(), partition, offset)
}

fn fetching(topic_id: TopicId, partitions: &[i32], require_stable: bool) -> GroupRequest {
    let topics = vec![FetchTopic { name: "t".into(), topic_id, partitions: partitions.to_vec() }];
    GroupRequest::FetchOffsets(FetchRequest { group_id: "g".into(), topics: Some(topics), require_stable })
}

#[test]
fn an_offset_is_shown_once_it_is_committed() {
    let mut rig = Rig::new();
    rig.immediate = false;
    let first = rig.commit_offset(committing(0, 10));
    assert!(rig.is_parked(first));
    assert_eq!(rig.offsets("g"), []);
    assert_eq!(rig.describe("g").state, "Dead", "nothing of the group is in the log");
    rig.settle(0, Ok(()));
    assert_eq!(rig.committed(first), None);
    assert_eq!(rig.offsets("g"), [t(0, 10)]);

    let (second, third) = (rig.commit_offset(committing(0, 20)), rig.commit_offset(committing(0, 30)));
    // Outcomes in another order than the log's take effect in the log's.
    rig.settle(1, Ok(()));
    assert!(rig.is_parked(third));
    assert_eq!(rig.offsets("g"), [t(0, 10)]);
    rig.settle(0, Ok(()));
    assert_eq!((rig.committed(second), rig.committed(third)), (None, None));
    assert_eq!(rig.offsets("g"), [t(0, 30)]);
}

#[test]
fn an_offset_that_could_not_be_stored_is_refused_and_not_shown() {
    for (code, error) in [
        (3, GroupError::CoordinatorNotAvailable),
        (19, GroupError::CoordinatorNotAvailable),
        (7, GroupError::CoordinatorNotAvailable),
        (6, GroupError::NotCoordinator),
        (56, GroupError::NotCoordinator),
        (10, GroupError::UnknownServerError),
        (18, GroupError::UnknownServerError),
        (87, GroupError::Append(87)),
    ] {
        let mut rig = Rig::new();
        rig.immediate = false;
        let ticket = rig.commit_offset(committing(0, 10));
        rig.settle(0, Err(code));
        assert_eq!(rig.committed(ticket), Some(error), "{code}");
        assert_eq!(rig.offsets("g"), []);
        assert_eq!(rig.coordinator.group_count(), 0, "nor is there a group");
    }
}

#[test]
fn stable_offsets_wait_for_what_is_on_its_way() {
    let mut rig = Rig::new();
    rig.immediate = false;
    let commits = [rig.commit_offset(committing(0, 10)), rig.commit_offset(committing(1, 5))];
    let stable = rig.send(8, fetching(TopicId::ZERO, &[0, 1, 2], true));
    let other = rig.send(8, fetching(TopicId::ZERO, &[0], false));
    let reply = rig.fetched(other);
    assert_eq!((reply.topics[0].partitions[0].offset, reply.topics[0].partitions[0].leader_epoch), (-1, -1));
    rig.settle(0, Ok(()));
    assert!(rig.is_parked(stable));
    rig.settle(0, Err(7));
    assert_eq!(rig.committed(commits[0]), None);
    let reply = rig.fetched(stable);
    let found: Vec<(i32, i64)> = reply.topics[0].partitions.iter().map(|p| (p.partition, p.offset)).collect();
    assert_eq!(found, [(0, 10), (1, -1), (2, -1)]);
    assert_eq!(
        (&*reply.topics[0].partitions[0].metadata, reply.topics[0].partitions[0].leader_epoch),
        ("m", 3)
    );
    let at_once = rig.send(8, fetching(TopicId::ZERO, &[0], true));
    assert_eq!(rig.fetched(at_once).topics[0].partitions[0].offset, 10);
}

#[test]
fn an_offset_of_an_earlier_topic_of_the_name_is_not_shown() {
    let mut rig = Rig::new();
    rig.commit_offset(committing(0, 10));
    for (id, offset) in [(TOPIC_ID, 10), (TopicId::ZERO, 10), (TopicId::ONE, -1)] {
        let ticket = rig.send(10, fetching(id, &[0], false));
        assert_eq!(rig.fetched(ticket).topics[0].partitions[0].offset, offset, "{id}");
    }
}

#[test]
fn text_beside_an_offset_is_counted_as_java_counts() {
    let config = GroupConfig { offset_metadata_units_max: 4, ..GroupConfig::default() };
    let mut rig = Rig::with(config);
    for (text, fits) in
        [(Some("abcd"), true), (Some("äöüß"), true), (Some("𝄞𝄞"), true), (None, true), (Some("𝄞𝄞x"), false)]
    {
        let mut request = committing(0, 1);
        request.topics[0].partitions[0].metadata = text.map(Into::into);
        let ticket = rig.commit_offset(request);
        let expected = (!fits).then_some(GroupError::OffsetMetadataTooLarge);
        assert_eq!(rig.committed(ticket), expected, "{text:?}");
    }
    let mut mixed = committing(0, 2);
    let long =
        CommitPartition { partition: 1, metadata: Some("too long".into()), ..CommitPartition::default() };
    mixed.topics[0].partitions.push(long);
    let ticket = rig.commit_offset(mixed);
    let GroupReply::CommitOffsets(reply) = rig.reply(ticket) else { panic!() };
    assert_eq!(reply.topics[0].partitions, [(0, None), (1, Some(GroupError::OffsetMetadataTooLarge))]);
    assert_eq!(rig.offsets("g"), [t(0, 2)]);
}

#[test]
fn who_may_commit() {
    let mut rig = Rig::new();
    let ticket = rig.send(8, GroupRequest::CommitOffsets(committing_as("a", 1, 1)));
    assert_eq!(rig.committed(ticket), Some(GroupError::IllegalGeneration));
    let ticket = rig.commit_offset(committing_as("a", 1, 1));
    assert_eq!(rig.committed(ticket), Some(GroupError::GroupIdNotFound), "from version 9");

    let a = rig.member_id();
    let ticket = rig.commit_offset(committing(0, 1));
    assert_eq!(rig.committed(ticket), None, "no members yet");
    let joins = rig.join(joining(&a));
    rig.advance(0);
    rig.joined(joins);
    let ticket = rig.commit_offset(committing_as(&a, 1, 2));
    assert_eq!(rig.committed(ticket), Some(GroupError::RebalanceInProgress), "not assigned yet");
    let assigns = rig.sync(&a, 1, &[]);
    rig.synced(assigns);
    for (request, expected) in [
        (committing_as(&a, 1, 3), None),
        (committing_as(&a, 0, 4), Some(GroupError::IllegalGeneration)),
        (committing_as(&a, -1, 4), Some(GroupError::IllegalGeneration)),
        (committing_as("b", 1, 4), Some(GroupError::UnknownMemberId)),
        (committing_as("", 1, 4), Some(GroupError::UnknownMemberId)),
        (committing(0, 4), Some(GroupError::UnknownMemberId)),
        (
            CommitRequest { group_instance_id: Some("i".into()), ..committing_as(&a, 1, 4) },
            Some(GroupError::UnknownMemberId),
        ),
    ] {
        let ticket = rig.commit_offset(request.clone());
        assert_eq!(rig.committed(ticket), expected, "{request:?}");
    }
    assert_eq!(rig.offsets("g"), [t(0, 3)]);

    let b = rig.member_id();
    rig.join(joining(&b));
    let ticket = rig.commit_offset(committing_as(&a, 1, 5));
    assert_eq!(rig.committed(ticket), None, "while others join, a member may commit what it has read");
}

#[test]
fn a_commit_keeps_the_session() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    for offset in 0..3 {
        rig.advance(9_000);
        let ticket = rig.commit_offset(committing_as(&a, 1, offset));
        assert_eq!(rig.committed(ticket), None);
    }
    assert_eq!(rig.heartbeat(&a, 1), None);
}

#[test]
fn offsets_are_deleted_unless_someone_reads_the_topic() {
    let mut rig = Rig::new();
    let deleting = |topics: &[&str]| {
        let topics = topics.iter().map(|name| ((*name).into(), vec![0, 1])).collect();
        GroupRequest::DeleteOffsets(DeleteOffsetsRequest { group_id: "g".into(), topics })
    };
    let outcome = |rig: &mut Rig, request: GroupRequest| {
        let ticket = rig.send(0, request);
        match rig.reply(ticket) {
            GroupReply::DeleteOffsets(reply) => {
                (reply.error, reply.topics.iter().map(|topic| topic.partitions[0].1).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome(&mut rig, deleting(&["t"])), (Some(GroupError::GroupIdNotFound), vec![]));

    let a = rig.member_id();
    rig.stabilise(&[&a]);
    let mut request = committing_as(&a, 1, 7);
    request.topics.push(CommitTopic { name: "other".into(), ..request.topics[0].clone() });
    rig.commit_offset(request);
    let subscribed = Some(GroupError::GroupSubscribedToTopic);
    assert_eq!(outcome(&mut rig, deleting(&["t", "other"])), (None, vec![subscribed, None]));
    assert_eq!(rig.offsets("g"), [t(0, 7)]);
    rig.leave(&[(&a, None)]);
    assert_eq!(outcome(&mut rig, deleting(&["t"])), (None, vec![None]));
    assert_eq!(rig.offsets("g"), []);

    // A group that is not of consumers tells nothing of its topics.
    let connect = JoinRequest { protocol_type: "connect".into(), ..joining("") };
    rig.send(3, GroupRequest::Join(connect));
    rig.advance(0);
    assert_eq!(outcome(&mut rig, deleting(&["t"])), (Some(GroupError::NonEmptyGroup), vec![]));
}

#[test]
fn a_deletion_covers_what_is_on_its_way() {
    let mut rig = Rig::new();
    rig.immediate = false;
    rig.commit_offset(committing(0, 10));
    let topics = vec![("t".to_owned(), vec![0])];
    rig.send(0, GroupRequest::DeleteOffsets(DeleteOffsetsRequest { group_id: "g".into(), topics }));
    rig.commit();
    assert_eq!(rig.offsets("g"), []);
    assert_eq!(rig.restarted(GroupConfig::default()).offsets("g"), []);
}

const DAY_MS: i64 = 24 * 3_600_000;

#[test]
fn offsets_of_an_empty_group_expire_a_week_after_its_last_member() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    rig.commit_offset(committing_as(&a, 1, 5));
    rig.leave(&[(&a, None)]);
    rig.advance(7 * DAY_MS - 1);
    assert_eq!(rig.offsets("g"), [t(0, 5)]);
    rig.advance(600_001);
    assert_eq!((rig.offsets("g"), rig.coordinator.group_count()), (vec![], 0));
    assert_eq!(rig.restarted(GroupConfig::default()).coordinator.group_count(), 0, "the log says so too");
}

#[test]
fn offsets_of_simple_clients_expire_a_week_after_their_commit() {
    let mut rig = Rig::new();
    rig.commit_offset(committing(0, 1));
    rig.advance(6 * DAY_MS);
    rig.commit_offset(committing(1, 1));
    rig.advance(DAY_MS + 600_000);
    assert_eq!(rig.offsets("g"), [t(1, 1)]);
    rig.advance(6 * DAY_MS);
    assert_eq!((rig.offsets("g"), rig.coordinator.group_count()), (vec![], 0));
}

#[test]
fn offsets_with_a_retention_of_their_own_expire_by_it() {
    let mut rig = Rig::new();
    rig.send(4, GroupRequest::CommitOffsets(CommitRequest { retention_time_ms: 60_000, ..committing(0, 1) }));
    rig.send(
        4,
        GroupRequest::CommitOffsets(CommitRequest { retention_time_ms: 30 * DAY_MS, ..committing(1, 1) }),
    );
    rig.advance(600_000);
    assert_eq!(rig.offsets("g"), [t(1, 1)]);
    rig.advance(8 * DAY_MS);
    assert_eq!(rig.offsets("g"), [t(1, 1)]);
}

#[test]
fn a_stable_group_loses_only_offsets_of_topics_it_no_longer_reads() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    let mut request = committing_as(&a, 1, 5);
    request.topics.push(CommitTopic { name: "other".into(), ..request.topics[0].clone() });
    rig.commit_offset(request);
    for _ in 0..(8 * DAY_MS / 9_000) {
        rig.advance(9_000);
        rig.heartbeat(&a, 1);
    }
    assert_eq!(rig.offsets("g"), [t(0, 5)]);
}

#[test]
fn an_offset_that_is_committed_anew_does_not_expire() {
    let mut rig = Rig::new();
    rig.commit_offset(committing(0, 1));
    rig.advance(7 * DAY_MS - 600_000);
    rig.immediate = false;
    rig.commit_offset(committing(0, 2));
    rig.advance(1_200_000);
    rig.immediate = true;
    rig.commit();
    assert_eq!(rig.offsets("g"), [t(0, 2)]);
    assert_eq!(rig.restarted(GroupConfig::default()).offsets("g"), [t(0, 2)]);
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    let mut rig = Rig::new();
    rig.immediate = false;
    rig.commit_offset(committing(0, 1));
    rig.commit();
    let mut later = committing(1, 1);
    later.topics[0].topic_id = TopicId::ONE;
    rig.commit_offset(later);
    rig.commit_offset(committing(2, 1));
    // Partition 0 is committed, 1 belongs to the next topic of the name, 2 is on its way.
    rig.coordinator.topics_deleted(rig.now, &[("t".into(), TOPIC_ID), ("u".into(), TopicId::ONE)]);
    rig.advance(0);
    rig.commit();
    assert_eq!(rig.offsets("g"), [t(1, 1)]);
}

/// A commit of many offsets had its records made before it was refused for their size, while all others waited.
#[test]
fn a_commit_is_refused_where_its_records_together_are_too_large() {
    let config =
        GroupConfig { record_bytes_max: 1000, offset_metadata_units_max: 8, ..GroupConfig::default() };
    let of = |count: i32, metadata: &str| {
        let one = |partition| CommitPartition {
            partition,
            metadata: Some(metadata.into()),
            ..CommitPartition::default()
        };
        let mut request = committing(0, 1);
        request.topics[0].partitions = (0..count).map(one).collect();
        request
    };
    for (count, metadata) in
        (1..40).flat_map(|count| ["", "text", "as long as it may not be"].map(|m| (count, m)))
    {
        let (mut free, mut bounded) = (Rig::new(), Rig::with(config.clone()));
        free.coordinator.set_config(GroupConfig { offset_metadata_units_max: 8, ..GroupConfig::default() });
        let _ = free.commit_offset(of(count, metadata));
        let bytes: usize = free.records().iter().map(Record::payload_bytes).sum();
        let ticket = bounded.commit_offset(of(count, metadata));
        let refusal = match metadata.len() {
            9.. => Some(GroupError::OffsetMetadataTooLarge),
            _ => (bytes > 1000 && count > 1).then_some(GroupError::UnknownServerError),
        };
        let GroupReply::CommitOffsets(reply) = bounded.reply(ticket) else { panic!() };
        let expected: Vec<_> = (0..count).map(|partition| (partition, refusal)).collect();
        assert_eq!(reply.topics[0].partitions, expected, "{count} of {metadata:?}, {bytes} bytes");
    }
}

/// Others waited while a coordinator answered an OffsetFetch of 1 MB: it is asked piece by piece.
#[test]
fn offsets_fetched_in_pieces_are_those_fetched_at_once() {
    let mut rig = Rig::new();
    for partition in 0..5 {
        rig.commit_offset(committing(partition, i64::from(partition)));
    }
    let topic = |name: &str, partitions: std::ops::Range<i32>| FetchTopic {
        name: name.into(),
        topic_id: TopicId::ZERO,
        partitions: partitions.collect(),
    };
    let lists = [
        Some(vec![
            topic("t", 0..9),
            topic("t", 2..3),
            topic("none", 0..0),
            topic("u", 0..4),
            topic("t", 0..1),
        ]),
        Some(vec![topic("none", 0..0); 7]),
        Some(Vec::new()),
        None,
    ];
    for (topics, at_once) in lists.into_iter().flat_map(|list| (2..20).map(move |n| (list.clone(), n))) {
        let whole = FetchRequest { group_id: "g".into(), topics, require_stable: false };
        let ticket = rig.send(8, GroupRequest::FetchOffsets(whole.clone()));
        let expected = rig.fetched(ticket);
        let pieces = whole.pieces(at_once);
        let mut replies = Vec::new();
        for (piece, continues) in pieces {
            let items = piece.topics.iter().flatten().map(|topic| 1 + topic.partitions.len()).sum::<usize>();
            assert!(items <= at_once, "{items} of {at_once}");
            let ticket = rig.send(8, GroupRequest::FetchOffsets(piece));
            replies.push((rig.fetched(ticket), continues));
        }
        assert_eq!(FetchReply::joined(replies, 8), Some(expected), "{at_once} at once");
    }
}

#[test]
fn one_piece_that_is_refused_refuses_all() {
    let refused = |topics: &[&str], error: Option<GroupError>| {
        let topics = topics.iter().map(|name| FetchTopic {
            name: (*name).into(),
            topic_id: TopicId::ZERO,
            partitions: vec![0],
        });
        let request =
            FetchRequest { group_id: "g".into(), topics: Some(topics.collect()), require_stable: false };
        let mut rig = Rig::new();
        let ticket = rig.send(1, GroupRequest::FetchOffsets(request.clone()));
        match error {
            None => rig.fetched(ticket),
            Some(error) => match GroupReply::refused(&GroupRequest::FetchOffsets(request), 1, error) {
                GroupReply::FetchOffsets(reply) => reply,
                other => panic!("{other:?}"),
            },
        }
    };
    let replies =
        [(refused(&["a"], None), false), (refused(&["b"], Some(GroupError::NotCoordinator)), false)];
    let joined = FetchReply::joined(replies.clone(), 2).expect("a reply");
    assert_eq!((joined.error, joined.topics.len()), (Some(GroupError::NotCoordinator), 0));
    let joined = FetchReply::joined(replies, 1).expect("a reply");
    assert_eq!(joined.topics.len(), 2, "before version 2 errors stand at the partitions");
}
