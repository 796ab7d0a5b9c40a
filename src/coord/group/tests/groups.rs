//! Describing, listing and deleting groups; which partition a group is in.

use super::request::ListRequest;
use super::*;

fn delete(rig: &mut Rig, group_id: &str) -> Ticket {
    rig.send(2, GroupRequest::Delete { group_id: group_id.into() })
}

#[track_caller]
fn deleted(rig: &mut Rig, ticket: Ticket) -> Option<GroupError> {
    match rig.reply(ticket) {
        GroupReply::Delete(reply) => reply.error,
        other => panic!("{other:?}"),
    }
}

fn list(rig: &mut Rig, states: &[&str], types: &[&str]) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let ticket = rig.send(5, GroupRequest::List(ListRequest { states: texts(states), types: texts(types) }));
    match rig.reply(ticket) {
        GroupReply::List(reply) => {
            let line = |g: &reply::ListedGroup| {
                format!("{} {} {} {}", g.group_id, g.protocol_type, g.state, g.group_type)
            };
            reply.groups.iter().map(line).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn groups_have_kafkas_partitions() {
    // Printed by Apache Kafka's Utils.abs(groupId.hashCode()) % n.
    for (group, of_50, of_7) in [
        ("", 0, 0),
        ("g", 3, 5),
        ("my-group", 12, 1),
        ("group-ä", 28, 1),
        ("𝄞 clef", 2, 5),
        ("polygenelubricants", 0, 0),
        ("console-consumer-12345", 6, 6),
    ] {
        assert_eq!((partition_for(group, 50), partition_for(group, 7)), (of_50, of_7), "{group}");
    }
}

#[test]
fn a_group_that_is_not_there_is_dead() {
    let mut rig = Rig::new();
    let reply = rig.describe("nope");
    assert_eq!((reply.state, reply.error), ("Dead", Some(GroupError::GroupIdNotFound)));
    assert_eq!(reply.error_message.as_deref(), Some("Group nope not found."));
    let ticket = rig.send(5, GroupRequest::Describe { group_id: "nope".into() });
    let GroupReply::Describe(reply) = rig.reply(ticket) else { panic!() };
    assert_eq!((reply.state, reply.error, reply.error_message), ("Dead", None, None), "before version 6");
}

#[test]
fn lists_by_state_and_type() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    rig.commit_offset(CommitRequest { group_id: "simple".into(), ..committing(0, 1) });
    let (g, simple) = ("g consumer Stable classic".to_owned(), "simple  Empty classic".to_owned());
    assert_eq!(list(&mut rig, &[], &[]), [g.clone(), simple.clone()]);
    assert_eq!(list(&mut rig, &["stable"], &["Classic"]), [g]);
    assert_eq!(list(&mut rig, &[" EMPTY "], &[]), [simple]);
    assert!(list(&mut rig, &["Dead"], &[]).is_empty());
    assert!(list(&mut rig, &[], &["consumer"]).is_empty());
    assert!(list(&mut rig, &[], &["nonsense"]).is_empty());
}

#[test]
fn a_group_without_members_is_deleted_with_its_offsets() {
    let mut rig = Rig::new();
    let ticket = delete(&mut rig, "g");
    assert_eq!(deleted(&mut rig, ticket), Some(GroupError::GroupIdNotFound));
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    rig.commit_offset(committing_as(&a, 1, 5));
    let ticket = delete(&mut rig, "g");
    assert_eq!(deleted(&mut rig, ticket), Some(GroupError::NonEmptyGroup));
    rig.leave(&[(&a, None)]);

    rig.immediate = false;
    let ticket = delete(&mut rig, "g");
    assert!(rig.is_parked(ticket));
    assert_eq!(list(&mut rig, &[], &[]), ["g consumer Empty classic"], "until the log says so");
    assert_eq!(rig.describe("g").state, "Empty");
    rig.settle(0, Ok(()));
    assert_eq!(deleted(&mut rig, ticket), None);
    assert_eq!((rig.offsets("g"), rig.describe("g").state), (vec![], "Dead"));
    assert_eq!(rig.restarted(GroupConfig::default()).coordinator.group_count(), 0);
}

#[test]
fn a_deletion_that_fails_leaves_everything() {
    let mut rig = Rig::new();
    let a = rig.member_id();
    rig.stabilise(&[&a]);
    rig.commit_offset(committing_as(&a, 1, 5));
    rig.leave(&[(&a, None)]);
    rig.immediate = false;
    let ticket = delete(&mut rig, "g");
    rig.settle(0, Err(7));
    assert_eq!(deleted(&mut rig, ticket), Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(list(&mut rig, &[], &[]), ["g consumer Empty classic"]);
    assert_eq!(rig.offsets("g").len(), 1);
}

#[test]
fn a_group_may_begin_anew_before_its_deletion_is_stored() {
    let mut rig = Rig::new();
    rig.commit_offset(committing(0, 5));
    rig.immediate = false;
    let deletes = delete(&mut rig, "g");
    let commits = rig.commit_offset(committing(1, 6));
    rig.commit();
    assert_eq!((deleted(&mut rig, deletes), rig.committed(commits)), (None, None));
    assert_eq!(rig.offsets("g"), [("t".to_owned(), 1, 6)]);
    let mut again = rig.restarted(GroupConfig::default());
    assert_eq!(again.offsets("g"), [("t".to_owned(), 1, 6)]);
    assert_eq!(list(&mut again, &[], &[]), ["g  Empty classic"]);
}

#[test]
fn a_deletion_covers_offsets_on_their_way() {
    let mut rig = Rig::new();
    rig.immediate = false;
    rig.commit_offset(committing(0, 5));
    delete(&mut rig, "g");
    rig.commit();
    assert_eq!((rig.offsets("g"), rig.coordinator.group_count()), (vec![], 0));
    assert_eq!(rig.restarted(GroupConfig::default()).coordinator.offset_count(), 0);
}
