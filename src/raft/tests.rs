use super::*;
use crate::base::{Offset, Ticks, Uuid};

fn identity() -> Identity {
    Identity {
        node_id: 1,
        directory_id: Uuid::from_u128(0xabcd),
        endpoints: vec![VoterEndpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 9093 }],
    }
}

fn voters() -> VoterSet {
    let Identity { node_id, directory_id, endpoints } = identity();
    VoterSet {
        voters: vec![Voter {
            id: node_id,
            directory_id,
            endpoints,
            kraft_version_min: 0,
            kraft_version_max: 1,
        }],
    }
}

fn step(raft: &mut Raft, input: Input<'_>) -> Vec<Effect> {
    let mut effects = Vec::new();
    raft.step(Ticks(0), 1000, input, &mut effects).unwrap();
    effects
}

/// Offset, epoch, and the value of a data record.
type Read = (Offset, i32, Option<Vec<u8>>);

fn entries(bytes: &[u8]) -> Result<Vec<Read>, RaftError> {
    let mut seen = Vec::new();
    Entries::new(bytes).for_each(|entry| {
        let value = match entry.kind {
            EntryKind::Data(value) => Some(value.to_vec()),
            EntryKind::Control(_) => None,
        };
        seen.push((entry.offset, entry.epoch, value));
        Ok::<(), RaftError>(())
    })?;
    Ok(seen)
}

#[test]
fn a_lone_voter_leads_appends_and_commits() {
    let mut raft = Raft::standalone(identity());
    let effects = step(&mut raft, Input::Start);
    let [Effect::PersistQuorumState(state), Effect::Append { first: 0, last: 2, bytes }] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!(
        state,
        r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#
    );
    let mut controls = Vec::new();
    let read = Entries::new(bytes).for_each(|entry| {
        assert_eq!((entry.epoch, entry.timestamp_ms), (1, 1000));
        if let EntryKind::Control(control) = entry.kind {
            controls.push(control);
        }
        Ok::<(), RaftError>(())
    });
    assert_eq!(read, Ok(()));
    assert_eq!(
        controls,
        [
            ControlRecord::LeaderChange { leader_id: 1 },
            ControlRecord::KraftVersion(1),
            ControlRecord::KraftVoters(voters())
        ]
    );
}

#[test]
fn what_is_durable_is_committed_once_the_epoch_has_begun() {
    let mut raft = Raft::standalone(identity());
    step(&mut raft, Input::Start);
    assert_eq!(raft.leader().unwrap().high_watermark(), None);
    assert_eq!(step(&mut raft, Input::Durable(3)), [Effect::Committed { high_watermark: 3 }]);
    assert_eq!(step(&mut raft, Input::Durable(3)), []);

    let values = [b"one".to_vec(), b"two".to_vec()];
    let effects = step(&mut raft, Input::Propose(&values));
    let [Effect::Proposed(place), Effect::Append { first: 3, last: 4, bytes }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(*place, Proposed { first: 3, last: 4, epoch: 1 });
    assert_eq!(entries(bytes).unwrap(), [(3, 1, Some(b"one".to_vec())), (4, 1, Some(b"two".to_vec()))]);
    assert_eq!(raft.leader().unwrap().high_watermark(), Some(3));
    assert_eq!(step(&mut raft, Input::Durable(5)), [Effect::Committed { high_watermark: 5 }]);
}

#[test]
fn a_restart_goes_one_epoch_further_and_writes_the_voters_only_if_they_changed() {
    let state = QuorumState { leader_id: 1, leader_epoch: 4, ..QuorumState::default() };
    let restart = |identity: Identity| {
        let mut raft = Raft::new(identity, Some(&state));
        raft.replay(&ControlRecord::KraftVersion(1));
        raft.replay(&ControlRecord::KraftVoters(voters()));
        raft.log_read(100, 4);
        let mut effects = Vec::new();
        raft.step(Ticks(0), 0, Input::Start, &mut effects).map(|()| (raft, effects))
    };
    let (raft, effects) = restart(identity()).unwrap();
    assert_eq!((raft.epoch(), raft.leader().unwrap().log_end()), (5, 101));
    assert!(matches!(effects[1], Effect::Append { first: 100, last: 100, .. }));

    let mut moved = identity();
    moved.endpoints[0].port = 1;
    let (raft, effects) = restart(moved.clone()).unwrap();
    assert!(matches!(effects[1], Effect::Append { first: 100, last: 102, .. }));
    assert_eq!(raft.voters().unwrap().voters[0].endpoints, moved.endpoints);

    moved.directory_id = Uuid::from_u128(7);
    assert!(matches!(restart(moved), Err(RaftError::NotTheVoter { .. })));
}

#[test]
fn only_a_leader_takes_proposals() {
    let mut raft = Raft::standalone(identity());
    let mut effects = Vec::new();
    let refused = raft.step(Ticks(0), 0, Input::Propose(&[vec![1]]), &mut effects);
    assert_eq!((refused, effects.len()), (Err(RaftError::NotLeader), 0));
}

#[test]
fn records_that_belong_together_must_fit_one_batch() {
    let mut raft = Raft::standalone(identity());
    step(&mut raft, Input::Start);
    let mut effects = Vec::new();
    let big = vec![vec![0; 1 << 20]; 9];
    let refused = raft.step(Ticks(0), 0, Input::Propose(&big), &mut effects);
    assert!(matches!(refused, Err(RaftError::TooLarge { .. })));
    assert!(effects.is_empty());
    assert_eq!(raft.leader().unwrap().log_end(), 3);
}

#[test]
fn quorum_state_files() {
    let state = QuorumState {
        leader_id: -1,
        leader_epoch: 2,
        voted_id: 1,
        voted_directory_id: Uuid::parse("J8aAPcfLQt2bqs1JT_rMgQ").unwrap(),
    };
    let text = r#"{"leaderId":-1,"leaderEpoch":2,"votedId":1,"votedDirectoryId":"J8aAPcfLQt2bqs1JT_rMgQ","data_version":1}"#;
    assert_eq!(state.to_text(1), text);
    assert_eq!(QuorumState::parse(text.as_bytes()), Ok(state.clone()));
    let old = r#"{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"currentVoters":[],"data_version":0}"#;
    let read = QuorumState::parse(format!("{old}\n").as_bytes()).unwrap();
    assert_eq!((read.leader_id, read.leader_epoch, read.voted_directory_id), (1, 2, Uuid::ZERO));
    assert_eq!(read.to_text(0), old);
    let negative = text.replace(":2,", ":-2,");
    let (newer, no_vote) = (text.replace("n\":1}", "n\":2}"), text.replace("voted", "v"));
    for bad in ["", "[]", "{}", "{\"data_version\":1}", &negative, &newer, &no_vote] {
        assert!(matches!(QuorumState::parse(bad.as_bytes()), Err(RaftError::QuorumState(_))), "{bad}");
    }
}

#[test]
fn snapshot_names() {
    let id = SnapshotId { offset: 100, epoch: 3 };
    let name = "00000000000000000100-0000000003.checkpoint";
    assert_eq!(id.file_name(), name);
    assert_eq!(SnapshotId::parse(name), Some(id));
    for bad in [
        "bootstrap.checkpoint",
        "00000000000000000100-0000000003.checkpoint.part",
        "00000000000000000100-0000000003.checkpoint.deleted",
        "0000000000000000100-0000000003.checkpoint",
        "00000000000000000100-+000000003.checkpoint",
        "99999999999999999999-0000000003.checkpoint",
    ] {
        assert_eq!(SnapshotId::parse(bad), None, "{bad}");
    }
}

#[test]
fn superfluous_snapshots_go_by_size_and_age_and_the_newest_stays() {
    let kept: Vec<KeptSnapshot> = (1..=4)
        .map(|n| KeptSnapshot {
            id: SnapshotId { offset: n * 100, epoch: 1 },
            bytes: 10,
            written_ms: n * 1000,
        })
        .collect();
    // 100 bytes of log between two snapshots, 50 behind the last.
    let log = |from: i64| 450 - from as u64;
    let gone = |bytes_max, age_max| superfluous_snapshots(&kept, log, bytes_max, age_max, 5000);
    let cases = [
        ((490, -1), 0),
        ((489, -1), 1),
        ((280, -1), 1),
        ((279, -1), 2),
        ((0, -1), 3),
        ((-1, -1), 0),
        ((-1, 4000), 0),
        ((-1, 3000), 1),
        ((-1, 0), 3),
    ];
    for ((bytes_max, age_max), expected) in cases {
        assert_eq!(gone(bytes_max, age_max), expected, "{bytes_max} bytes, {age_max} ms");
    }
    assert_eq!(superfluous_snapshots(&[], log, 0, 0, 5000), 0);
}

fn snapshot_of(values: &[Vec<u8>]) -> Vec<u8> {
    write_snapshot(SnapshotId { offset: 50, epoch: 2 }, 777, 1, &voters(), values, 1000)
}

#[test]
fn a_snapshot_comes_back_whole() {
    // More than a batch's worth.
    let values: Vec<Vec<u8>> =
        (0..3000u32).map(|i| [i.to_be_bytes().to_vec(), vec![7; 1000]].concat()).collect();
    let bytes = snapshot_of(&values);
    let mut back = Vec::new();
    let snapshot = Snapshot::read("x", &bytes, |v| {
        back.push(v.to_vec());
        Ok(())
    });
    assert_eq!(
        snapshot,
        Ok(Snapshot {
            last_contained_log_timestamp: 777,
            kraft_version: 1,
            voters: Some(voters()),
            records_count: 3000
        })
    );
    assert_eq!(back, values);
    assert!(entries(&bytes).unwrap().iter().all(|(_, epoch, _)| *epoch == 2));

    let bootstrap = bootstrap_checkpoint(&values[..2], 5);
    let read = Snapshot::read("x", &bootstrap, |_| Ok(())).unwrap();
    assert_eq!((read.kraft_version, read.voters, read.records_count), (0, None, 2));
}

#[test]
fn a_damaged_snapshot_is_an_error_that_names_the_file() {
    let bytes = snapshot_of(&[b"one".to_vec(), b"two".to_vec()]);
    let read = |bytes: &[u8]| Snapshot::read("the-file", bytes, |_| Ok(())).map(|s| s.records_count);
    assert_eq!(read(&bytes), Ok(2));
    // Cut anywhere: at a batch's end too, which each batch by itself would survive.
    for end in 0..bytes.len() {
        let error = read(&bytes[..end]).unwrap_err().to_string();
        assert!(error.contains("the-file"), "{end}: {error}");
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        // The base offset and the epoch of a batch lie outside of its checksum.
        let in_header =
            |start: usize| (start..start + 8).contains(&at) || (start + 12..start + 16).contains(&at);
        let mut start = 0;
        let mut unchecked = false;
        while start < bytes.len() {
            unchecked |= in_header(start);
            let length = i32::from_be_bytes(bytes[start + 8..start + 12].try_into().unwrap());
            start += 12 + length as usize;
        }
        assert!(read(&flipped).is_err() || unchecked, "{at}");
    }
    let twice = [bytes.clone(), bytes.clone()].concat();
    assert!(read(&twice).is_err());
    let refused = Snapshot::read("f", &bytes, |v| if v == b"two" { Err("bad".into()) } else { Ok(()) });
    assert!(
        matches!(refused, Err(RaftError::Snapshot { file, reason }) if file == "f" && reason.contains("bad"))
    );
}

#[test]
fn a_gap_in_the_log_is_seen() {
    let log = |second| {
        let batches = [data_batch(0, 1, 0, &[b"a"]), data_batch(second, 1, 0, &[b"b"])];
        batches.into_iter().flat_map(Result::unwrap).collect::<Vec<u8>>()
    };
    assert_eq!(entries(&log(1)).unwrap().len(), 2);
    assert_eq!(entries(&log(2)), Err(RaftError::Gap { expected: 1, found: 2 }));
}

#[test]
fn snapshots_are_due_by_bytes_or_time() {
    let mut policy = SnapshotPolicy::new(100, 60_000, 0);
    assert!(!policy.is_due(1_000_000), "nothing was appended");
    policy.committed(99);
    assert!(!policy.is_due(59_999) && policy.is_due(60_000));
    policy.committed(1);
    assert!(policy.is_due(1));
    policy.taken(60_000);
    assert!(!policy.is_due(60_001));
    let mut never = SnapshotPolicy::new(100, 0, 0);
    never.committed(1);
    assert!(!never.is_due(i64::MAX));
}

/// Versions 0 and 1 of the answer were written with fields of version 2: the connection was closed.
#[test]
fn describe_quorum_knows_one_partition() {
    use crate::wire::codec::Message;
    use crate::wire::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
    let mut raft = Raft::standalone(identity());
    let request = |topic_name, partition_index| DescribeQuorumRequest {
        topics: vec![TopicData { topic_name, partitions: vec![PartitionData { partition_index }] }],
    };
    let code = |raft: &Raft, topic, partition| {
        let request = request(topic, partition);
        for version in DescribeQuorumRequest::VERSIONS {
            let response = raft.describe(&request, version, 9);
            assert_eq!(crate::wire::codec::encode(&response, version).err(), None);
        }
        let response = raft.describe(&request, 2, 9);
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(code(&raft, CLUSTER_METADATA_TOPIC, 0), 6);
    step(&mut raft, Input::Start);
    step(&mut raft, Input::Durable(3));
    assert_eq!(code(&raft, CLUSTER_METADATA_TOPIC, 1), 3);
    assert_eq!(code(&raft, "other", 0), 3);
    let request = request(CLUSTER_METADATA_TOPIC, 0);
    let response = raft.describe(&request, 2, 9);
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch, partition.high_watermark), (1, 1, 3));
    assert_eq!(partition.current_voters[0].log_end_offset, 3);
    assert_eq!(response.nodes[0].listeners[0].port, 9093);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = entries(&bytes);
        let _ = Snapshot::read("x", &bytes, |_| Ok(()));
        let _ = QuorumState::parse(&bytes);
        for control in 0..8u8 {
            let _ = ControlRecord::decode(&[0, 0, 0, control], &bytes);
        }
    }
}
