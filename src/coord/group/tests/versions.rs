//! Requests and replies in every version of the wire.

use super::request::{DeleteOffsetsRequest, FetchTopic, ListRequest};
use super::*;
use crate::wire::codec::{Message, decode, encode};
use crate::wire::messages as wire;
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;

/// The message encodes at every version.
fn every_version<'a, M: Message<'a>>(make: impl Fn(i16) -> M) {
    for version in M::VERSIONS {
        encode(&make(version), version).unwrap_or_else(|error| panic!("{} v{version}: {error}", M::NAME));
    }
}

#[test]
fn replies_of_members_encode_at_every_version() {
    let mut rig = Rig::new();
    let ticket = rig.join(joining_static("", "i"));
    rig.advance(0);
    let joined = rig.joined(ticket);
    let refused = JoinReply::refused("m", GroupError::UnknownMemberId);
    every_version(|v| joined.to_wire(v));
    every_version(|v| refused.to_wire(v));
    assert_eq!(refused.to_wire(6).protocol_name, Some(""));
    assert_eq!(refused.to_wire(7).protocol_name, None);
    let ticket = rig.sync(&joined.member_id, 1, &[(&joined.member_id, b"x")]);
    let synced = rig.synced(ticket);
    every_version(|_| synced.to_wire());
    let described = rig.describe("g");
    let ticket = rig.send(5, GroupRequest::Describe { group_id: "none".into() });
    let GroupReply::Describe(none) = rig.reply(ticket) else { panic!() };
    every_version(|_| wire::DescribeGroupsResponse {
        groups: vec![described.to_wire(), none.to_wire()],
        ..wire::DescribeGroupsResponse::default()
    });
    let ticket = rig.send(5, GroupRequest::List(ListRequest::default()));
    let GroupReply::List(list) = rig.reply(ticket) else { panic!() };
    let lists = [list];
    every_version(|_| reply::ListReply::to_wire(&lists));
    let loading = reply::ListReply { error: Some(GroupError::CoordinatorLoadInProgress), groups: vec![] };
    let lists = [lists[0].clone(), loading];
    assert_eq!(reply::ListReply::to_wire(&lists).error_code, 14);
    let left = rig.leave(&[("", Some("i"))]);
    every_version(|v| left.to_wire(v));
    let left = rig.leave(&[("", Some("i"))]);
    assert_eq!(
        (left.to_wire(2).error_code, left.to_wire(2).members.len()),
        (25, 0),
        "the only member's error"
    );
    assert_eq!((left.to_wire(3).error_code, left.to_wire(3).members[0].error_code), (0, 25));
    let ticket = rig.send(2, GroupRequest::Delete { group_id: "none".into() });
    let GroupReply::Delete(deleted) = rig.reply(ticket) else { panic!() };
    every_version(|_| wire::DeleteGroupsResponse {
        results: vec![deleted.to_wire()],
        ..wire::DeleteGroupsResponse::default()
    });
}

#[test]
fn replies_about_offsets_encode_at_every_version() {
    let mut rig = Rig::new();
    let ticket = rig.commit_offset(committing(0, 1));
    let GroupReply::CommitOffsets(committed) = rig.reply(ticket) else { panic!() };
    every_version(|_| committed.to_wire());
    let topics = vec![("t".to_owned(), vec![0])];
    let ticket =
        rig.send(0, GroupRequest::DeleteOffsets(DeleteOffsetsRequest { group_id: "g".into(), topics }));
    let GroupReply::DeleteOffsets(deleted) = rig.reply(ticket) else { panic!() };
    every_version(|_| deleted.to_wire());
    let topics = vec![FetchTopic { name: "t".into(), topic_id: TOPIC_ID, partitions: vec![0] }];
    let request = FetchRequest { group_id: "g".into(), topics: Some(topics), require_stable: false };
    let ticket = rig.send(8, GroupRequest::FetchOffsets(request.clone()));
    let fetched = [rig.fetched(ticket)];
    every_version(|v| FetchReply::to_wire(&fetched, v));

    let refused = |version| {
        let error = GroupError::CoordinatorLoadInProgress;
        match GroupReply::refused(&GroupRequest::FetchOffsets(request.clone()), version, error) {
            GroupReply::FetchOffsets(reply) => [reply],
            other => panic!("{other:?}"),
        }
    };
    let (v1, v2, v8) = (refused(1), refused(2), refused(8));
    let message = FetchReply::to_wire(&v1, 1);
    assert_eq!((message.error_code, message.topics[0].partitions[0].error_code), (0, 14));
    let message = FetchReply::to_wire(&v2, 2);
    assert_eq!((message.error_code, message.topics.len()), (14, 0));
    let message = FetchReply::to_wire(&v8, 8);
    assert_eq!((message.error_code, message.groups[0].error_code), (0, 14));
}

#[test]
fn requests_come_from_every_version() {
    for version in wire::JoinGroupRequest::VERSIONS {
        let message = wire::JoinGroupRequest {
            group_id: "g",
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            group_instance_id: Some("i").filter(|_| version >= 5),
            protocol_type: "consumer",
            protocols: vec![wire::join_group_request::JoinGroupRequestProtocol {
                name: "range",
                metadata: b"x",
            }],
            ..wire::JoinGroupRequest::default()
        };
        let bytes = encode(&message, version).expect("encodes");
        let request = JoinRequest::from_wire(&decode(&bytes, version).expect("decodes"), version);
        assert_eq!(request.rebalance_timeout_ms, if version == 0 { 10_000 } else { 60_000 });
        assert_eq!(request.group_instance_id.is_some(), version >= 5);
        assert_eq!(request.protocols, [("range".to_owned(), Arc::from(*b"x"))]);
    }
    for version in wire::LeaveGroupRequest::VERSIONS {
        let members =
            vec![wire::leave_group_request::MemberIdentity { member_id: "m", ..Default::default() }];
        let message = match version {
            ..3 => wire::LeaveGroupRequest { group_id: "g", member_id: "m", members: vec![] },
            _ => wire::LeaveGroupRequest { group_id: "g", member_id: "", members },
        };
        let bytes = encode(&message, version).expect("encodes");
        let request = LeaveRequest::from_wire(&decode(&bytes, version).expect("decodes"), version);
        assert_eq!(
            request.members,
            [LeavingMember { member_id: "m".into(), group_instance_id: None }],
            "{version}"
        );
    }
    for version in wire::OffsetFetchRequest::VERSIONS {
        let message = match version {
            ..2 => wire::OffsetFetchRequest { group_id: "g", topics: Some(vec![]), ..Default::default() },
            2..8 => wire::OffsetFetchRequest { group_id: "g", topics: None, ..Default::default() },
            _ => {
                let group = OffsetFetchRequestGroup { group_id: "g", topics: None, ..Default::default() };
                wire::OffsetFetchRequest { groups: vec![group], ..Default::default() }
            }
        };
        let bytes = encode(&message, version).expect("encodes");
        let requests = FetchRequest::from_wire(&decode(&bytes, version).expect("decodes"), version);
        let expected = FetchRequest {
            group_id: "g".into(),
            topics: (version < 2).then(Vec::new),
            require_stable: false,
        };
        assert_eq!(requests, [expected], "{version}");
    }
}

#[test]
fn other_requests_keep_their_fields() {
    let message = wire::SyncGroupRequest {
        group_id: "g",
        generation_id: 3,
        member_id: "m",
        group_instance_id: Some("i"),
        protocol_type: Some("consumer"),
        protocol_name: Some("range"),
        assignments: vec![wire::sync_group_request::SyncGroupRequestAssignment {
            member_id: "m",
            assignment: b"x",
        }],
    };
    let expected = SyncRequest { group_instance_id: Some("i".into()), ..syncing("m", 3, &[("m", b"x")]) };
    assert_eq!(SyncRequest::from_wire(&message), expected);
    let message =
        wire::HeartbeatRequest { group_id: "g", generation_id: 3, member_id: "m", group_instance_id: None };
    let request = HeartbeatRequest::from_wire(&message);
    assert_eq!((request.group_id.as_str(), request.generation_id, request.member_id.as_str()), ("g", 3, "m"));
    let message = wire::OffsetCommitRequest {
        group_id: "g",
        generation_id_or_member_epoch: -1,
        topics: vec![wire::offset_commit_request::OffsetCommitRequestTopic {
            name: "t",
            topic_id: TOPIC_ID,
            partitions: vec![wire::offset_commit_request::OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 9,
                committed_leader_epoch: 3,
                committed_metadata: Some("m"),
            }],
        }],
        ..wire::OffsetCommitRequest::default()
    };
    assert_eq!(CommitRequest::from_wire(&message), committing(0, 9));
    let message = wire::OffsetDeleteRequest {
        group_id: "g",
        topics: vec![wire::offset_delete_request::OffsetDeleteRequestTopic {
            name: "t",
            partitions: vec![wire::offset_delete_request::OffsetDeleteRequestPartition {
                partition_index: 4,
            }],
        }],
    };
    assert_eq!(DeleteOffsetsRequest::from_wire(&message).topics, [("t".to_owned(), vec![4])]);
    let message = wire::ListGroupsRequest { states_filter: vec!["Stable"], types_filter: vec!["classic"] };
    let expected = ListRequest { states: vec!["Stable".into()], types: vec!["classic".into()] };
    assert_eq!(ListRequest::from_wire(&message), expected);
}
