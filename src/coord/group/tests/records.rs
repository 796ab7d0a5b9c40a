//! Records are Apache Kafka's, byte for byte. The hex was printed by its `GroupCoordinatorRecordSerde` 4.3.1.

use super::super::classic::{ClassicGroup, Member};
use super::super::in_flight::Change;
use super::super::offsets::CommittedOffset;
use super::super::record;
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[track_caller]
fn is(mut change: Change, key: &str, value: Option<&str>) {
    let record = record::encode(&mut change).expect("it fits");
    assert_eq!((hex(&record.key).as_str(), record.value.as_deref().map(hex).as_deref()), (key, value));
}

fn offset(group: &str, topic: &str, partition: i32, value: Option<CommittedOffset>) -> Change {
    Change::Offset { group: group.into(), topic: topic.into(), partition, value }
}

fn stored(offset: i64, leader_epoch: i32, metadata: &str, commit_at_ms: i64) -> CommittedOffset {
    let topic_id = TopicId::parse("MkU3OEVBNTcwNTJENDM2Qg").expect("an id");
    CommittedOffset {
        offset,
        leader_epoch,
        metadata: metadata.into(),
        commit_at_ms,
        expire_at_ms: None,
        topic_id,
    }
}

#[test]
fn offsets() {
    is(
        offset("group-ä", "topic", 7, Some(stored(42, 3, "text", 1_700_000_000_123))),
        "0001000867726f75702dc3a40005746f70696300000007",
        Some("0004000000000000002a0000000305746578740000018bcfe5687b01001032453738454135373035324434333642"),
    );
    is(
        offset("g", "t", 0, Some(CommittedOffset { topic_id: TopicId::ZERO, ..stored(0, -1, "", 1) })),
        "000100016700017400000000",
        Some("00040000000000000000ffffffff01000000000000000100"),
    );
    is(
        offset("g", "t", 0, Some(CommittedOffset { expire_at_ms: Some(61_000), ..stored(9, 5, "m", 1_000) })),
        "000100016700017400000000",
        Some("0001000000000000000900016d00000000000003e8000000000000ee48"),
    );
    is(offset("g", "t", 1, None), "000100016700017400000001", None);
}

#[test]
fn groups() {
    let at_ms = 1_700_000_000_000;
    let empty = ClassicGroup::new("g".into(), at_ms);
    is(Change::store_empty(&empty), "0002000167", Some("0003000000000000ffffffff0000018bcfe5680000000000"));
    is(Change::Drop { group: "g".into() }, "0002000167", None);

    let member = Member {
        id: "client-1".into(),
        instance_id: Some("inst".into()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        protocols: vec![("range".into(), subscription())],
        assignment: Arc::from([1, 2, 3]),
        awaiting_join: None,
        chosen: None,
        awaiting_sync: None,
        is_new: false,
    };
    let group = |generation, protocol: Option<&str>, at_ms, members: Vec<Member>| {
        let leader = members.first().map(|member| member.id.clone());
        let protocol = protocol.map(Arc::from);
        ClassicGroup::restored(
            "g".into(),
            Some(at_ms),
            Some("consumer".into()),
            protocol,
            generation,
            leader,
            members,
        )
    };
    let stable = group(4, Some("range"), at_ms, vec![member]);
    is(
        Change::store(&stable, |member| member.assignment.clone()),
        "0002000167",
        Some(
            "00030008636f6e73756d657200000004000572616e67650008636c69656e742d310000018bcfe56800000000010008636c69\
             656e742d310004696e73740006636c69656e74000a2f3132372e302e302e31000493e00000afc80000000d0001000000010\
             00174ffffffff00000003010203",
        ),
    );
    let emptied = group(5, None, at_ms + 1, Vec::new());
    is(
        Change::store(&emptied, |member| member.assignment.clone()),
        "0002000167",
        Some("00030008636f6e73756d657200000005ffffffff0000018bcfe5680100000000"),
    );
}

#[test]
fn older_versions_are_read() {
    let mut coordinator = GroupCoordinator::new(0, GroupConfig::default(), 1);
    // Key type 0, value versions 0 (also without a leader epoch) and 3.
    let key = [0, 0, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 9];
    let v0 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(coordinator.replay(&key, Some(&v0)), Replayed::Applied);
    let key = [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 8];
    let v3 = [0, 3, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(coordinator.replay(&key, Some(&v3)), Replayed::Applied);
    let newer = [0, 5, 0, 0];
    assert_eq!(coordinator.replay(&key, Some(&newer)), Replayed::Damaged, "a version of tomorrow");
    let mut rig = Rig::new();
    rig.coordinator = coordinator;
    rig.loaded();
    assert_eq!(rig.offsets("g"), [("t".to_owned(), 8, 6), ("t".to_owned(), 9, 5)]);
}

#[test]
fn what_does_not_fit_its_field_is_refused() {
    let mut rig = Rig::new();
    let long = CommitRequest { group_id: "g".repeat(40_000), ..committing(0, 1) };
    let ticket = rig.commit_offset(long);
    assert_eq!(rig.committed(ticket), Some(GroupError::UnknownServerError));
    assert_eq!((rig.coordinator.group_count(), rig.log.len()), (0, 0));
}
