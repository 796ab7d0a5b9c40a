//! The metadata log and its snapshots, against Apache Kafka: its tool reads what we write, and we read what it wrote.
//!
//! The files in `tests/metadata` come from Apache Kafka 4.3.1: a standalone node was formatted and started, a topic
//! with two partitions was created, and the node was stopped.

mod support;

use std::path::Path;
use std::process::Command;

use ottla::base::prng::Prng;
use ottla::base::{Ticks, Uuid};
use ottla::config::{BrokerConfig, STANDALONE};
use ottla::meta::controller::{
    BrokerRegistration, Context, Controller, ControllerRegistration, Decision, bootstrap_records,
    supported_features,
};
use ottla::meta::image::{Delta, Image, Loader};
use ottla::meta::record::{
    AccessControlEntryRecord, ClientQuotaRecord, Endpoint, METADATA_VERSION_LATEST, MetadataRecord,
    QuotaEntity, UserScramCredentialRecord,
};
use ottla::raft::{
    ControlRecord, Effect, Entries, EntryKind, Identity, Input, Raft, RaftError, Snapshot, SnapshotId,
    VoterEndpoint, bootstrap_checkpoint, write_snapshot,
};
use ottla::wire::messages::CreateTopicsRequest;
use ottla::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use support::{TempDir, toolchain};

const NOW_MS: i64 = 1_760_000_000_000;
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
const DIRECTORY: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

/// A standalone node without a disk.
struct Node {
    raft: Raft,
    controller: Controller,
    log: Vec<u8>,
    quorum_state: String,
}

impl Node {
    fn start(identity: Identity) -> Node {
        let raft = Raft::standalone(identity);
        let controller = Controller::new(Image::empty(CLUSTER_ID));
        let mut node = Node { raft, controller, log: Vec::new(), quorum_state: String::new() };
        node.step(Input::Start);
        node
    }

    fn step(&mut self, input: Input<'_>) {
        let mut effects = Vec::new();
        self.raft.step(Ticks(0), NOW_MS, input, &mut effects).expect("a step of the leader");
        for effect in effects {
            match effect {
                Effect::PersistQuorumState(text) => self.quorum_state = text,
                Effect::Append { last, bytes, .. } => {
                    self.log.extend(bytes);
                    self.step(Input::Durable(last + 1));
                }
                Effect::Proposed(_) | Effect::Committed { .. } => {}
            }
        }
    }

    fn next_offset(&self) -> i64 {
        self.raft.leader().expect("a leader").log_end()
    }

    fn commit<R>(&mut self, decision: Decision<R>) -> R {
        let first = self.next_offset();
        let values: Vec<Vec<u8>> =
            decision.records.iter().map(|r| r.encode(METADATA_VERSION_LATEST).expect("encode")).collect();
        for (offset, record) in (first..).zip(&decision.records) {
            self.controller.replay(offset, 1, record).expect("replay");
        }
        self.step(Input::Propose(&values));
        decision.reply
    }
}

fn node() -> Node {
    let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 29_093 };
    let mut node = Node::start(Identity { node_id: 1, directory_id: DIRECTORY, endpoints: vec![endpoint] });
    let (config, _) = BrokerConfig::from_pairs(STANDALONE.iter().copied()).expect("a configuration");
    let mut ids = 0xabcd_0000_u128;
    let mut new_topic_id = || {
        ids += 1;
        Uuid::from_u128(ids << 64 | ids)
    };
    let mut random = Prng::new(1);
    let mut context = Context { config: &config, random: &mut random, new_topic_id: &mut new_topic_id };

    let decision = node.controller.activate(&bootstrap_records(), 1);
    node.commit(decision);
    let end_point = |name: &str, port| Endpoint {
        name: name.into(),
        host: "localhost".into(),
        port,
        security_protocol: 0,
    };
    let decision = node.controller.register_controller(&ControllerRegistration {
        controller_id: 1,
        incarnation_id: Uuid::from_u128(77 << 64),
        end_points: vec![end_point("CONTROLLER", 29_093)],
        features: supported_features(),
    });
    node.commit(decision);
    let registration = BrokerRegistration {
        broker_id: 1,
        cluster_id: CLUSTER_ID.into(),
        incarnation_id: Uuid::from_u128(78 << 64),
        end_points: vec![end_point("PLAINTEXT", 29_092)],
        features: supported_features(),
        rack: None,
        log_dirs: vec![DIRECTORY],
        previous_broker_epoch: -1,
    };
    let next = node.next_offset();
    let decision = node.controller.register_broker(&context, &registration, next).expect("register");
    let epoch = node.commit(decision);
    let decision = node.controller.unfence_broker(&context, 1).expect("unfence");
    node.commit(decision);
    let topic = CreatableTopic {
        name: "foo",
        num_partitions: 2,
        replication_factor: 1,
        assignments: vec![],
        configs: vec![CreatableTopicConfig { name: "retention.ms", value: Some("1000") }],
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1, validate_only: false };
    let decision = node.controller.create_topics(&mut context, &request).expect("create");
    assert!(node.commit(decision).topics[0].error.is_none());
    let decision = node.controller.allocate_producer_ids(1, epoch).expect("producer ids");
    node.commit(decision);
    node.commit(Decision { records: others(), reply: () });
    node
}

/// Records of later concerns, which already have their place in the image.
fn others() -> Vec<MetadataRecord> {
    vec![
        MetadataRecord::ClientQuota(ClientQuotaRecord {
            entity: vec![QuotaEntity { entity_type: "user".into(), entity_name: Some("alice".into()) }],
            key: "producer_byte_rate".into(),
            value: 1048.5,
            remove: false,
        }),
        MetadataRecord::AccessControlEntry(AccessControlEntryRecord {
            id: Uuid::from_u128(5 << 64),
            resource_type: 2,
            resource_name: "foo".into(),
            pattern_type: 3,
            principal: "User:alice".into(),
            host: "*".into(),
            operation: 3,
            permission_type: 3,
        }),
        MetadataRecord::UserScramCredential(UserScramCredentialRecord {
            name: "alice".into(),
            mechanism: 1,
            salt: vec![1; 16],
            stored_key: vec![2; 32],
            server_key: vec![3; 32],
            iterations: 4096,
        }),
        MetadataRecord::NoOp,
    ]
}

fn values_of(records: &[MetadataRecord]) -> Vec<Vec<u8>> {
    records.iter().map(|r| r.encode(METADATA_VERSION_LATEST).expect("encode")).collect()
}

/// The image that a log gives.
fn image_of_log(log: &[u8]) -> (Loader, Vec<ControlRecord>) {
    let mut loader = Loader::new(Image::empty(CLUSTER_ID));
    let mut controls = Vec::new();
    let read = Entries::new(log).for_each(|entry| {
        match entry.kind {
            EntryKind::Control(control) => {
                controls.push(control);
                loader.advance(entry.offset, entry.epoch);
            }
            EntryKind::Data(value) => {
                let record = MetadataRecord::decode(value).expect("a record");
                loader.replay(entry.offset, entry.epoch, &record).expect("a record that fits");
            }
        }
        Ok::<(), RaftError>(())
    });
    assert_eq!(read, Ok(()));
    (loader, controls)
}

fn image_of_snapshot(file: &str, bytes: &[u8]) -> (Image, Snapshot) {
    let mut image = Image::empty(CLUSTER_ID);
    let snapshot = Snapshot::read(file, bytes, |value| {
        let record = MetadataRecord::decode(value).map_err(|e| e.to_string())?;
        image.apply(&record, &mut Delta::default()).map_err(|e| e.to_string())
    });
    (image, snapshot.expect("a whole snapshot"))
}

/// What `kafka-dump-log --cluster-metadata-decoder` says about a file.
fn dump(classpath: &str, file: &Path) -> String {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-cp", classpath, "org.apache.kafka.tools.DumpLogSegments"]);
    java.args(["--cluster-metadata-decoder", "--files"]).arg(file);
    let text = toolchain::run("kafka-dump-log", &mut java);
    let batches = text.lines().filter(|l| l.starts_with("baseOffset:"));
    assert!(batches.clone().count() > 1, "{text}");
    assert!(batches.into_iter().all(|l| l.contains("isvalid: true")), "{text}");
    for complaint in
        ["could not be decoded", "Could not deserialize", "Found", "Exception", "UnknownControlRecord"]
    {
        assert!(!text.contains(complaint), "{complaint} in:\n{text}");
    }
    text
}

/// `what` stands in the text in this order.
fn in_order(text: &str, what: &[&str]) {
    let mut rest = text;
    for part in what {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is missing (or out of order) in:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn apaches_tool_reads_our_log_and_snapshots() {
    let Some(classpath) = toolchain::kafka_classpath() else { return };
    let node = node();
    let directory = TempDir::new("metadata-dump");
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("write a file of the metadata log");
        path
    };

    let log = dump(&classpath, &write("00000000000000000000.log", &node.log));
    in_order(
        &log,
        &[
            r#"LeaderChange: {"version":0,"leaderId":1,"voters":[{"voterId":1}],"grantingVoters":[{"voterId":1}]}"#,
            r#"KRaftVersion {"version":0,"kRaftVersion":1}"#,
            &format!(r#"KRaftVoters {{"version":0,"voters":[{{"voterId":1,"voterDirectoryId":"{DIRECTORY}""#),
            r#""endpoints":[{"name":"CONTROLLER","host":"localhost","port":29093}]"#,
            r#"{"type":"BEGIN_TRANSACTION_RECORD","version":0,"data":{"name":"Bootstrap records"}}"#,
            r#"{"type":"FEATURE_LEVEL_RECORD","version":0,"data":{"name":"metadata.version","featureLevel":30}}"#,
            r#""name":"transaction.version","featureLevel":2"#,
            r#""resourceType":4,"resourceName":"","name":"min.insync.replicas","value":"1""#,
            "END_TRANSACTION_RECORD",
            "REGISTER_CONTROLLER_RECORD",
            r#"{"type":"REGISTER_BROKER_RECORD","version":4,"data":{"brokerId":1"#,
            r#""fenced":true"#,
            r#"{"type":"BROKER_REGISTRATION_CHANGE_RECORD","version":0"#,
            r#"{"type":"BROKER_REGISTRATION_CHANGE_RECORD","version":3"#,
            r#"{"type":"TOPIC_RECORD","version":0,"data":{"name":"foo""#,
            r#""name":"retention.ms","value":"1000""#,
            r#"{"type":"PARTITION_RECORD","version":2,"data":{"partitionId":0"#,
            r#"{"type":"PARTITION_RECORD","version":2,"data":{"partitionId":1"#,
            r#"{"type":"PRODUCER_IDS_RECORD","version":0"#,
            "CLIENT_QUOTA_RECORD",
            "ACCESS_CONTROL_ENTRY_RECORD",
            "USER_SCRAM_CREDENTIAL_RECORD",
            "NO_OP_RECORD",
        ],
    );

    let id = SnapshotId { offset: node.next_offset(), epoch: 1 };
    let values = values_of(&node.controller.image().to_records());
    let voters = node.raft.voters().expect("voters");
    let bytes = write_snapshot(id, NOW_MS, node.raft.kraft_version(), voters, &values, NOW_MS);
    let snapshot = dump(&classpath, &write(&id.file_name(), &bytes));
    in_order(
        &snapshot,
        &[
            &format!("Snapshot end offset: {}, epoch: 1", id.offset),
            &format!(r#"SnapshotHeader {{"version":0,"lastContainedLogTimestamp":{NOW_MS}}}"#),
            "KRaftVersion",
            "KRaftVoters",
            r#""name":"metadata.version","featureLevel":30"#,
            "REGISTER_BROKER_RECORD",
            "REGISTER_CONTROLLER_RECORD",
            "TOPIC_RECORD",
            "PARTITION_RECORD",
            "CONFIG_RECORD",
            "CLIENT_QUOTA_RECORD",
            "PRODUCER_IDS_RECORD",
            "ACCESS_CONTROL_ENTRY_RECORD",
            "USER_SCRAM_CREDENTIAL_RECORD",
            r#"SnapshotFooter {"version":0}"#,
        ],
    );

    let bootstrap = bootstrap_checkpoint(values_of(&bootstrap_records()), NOW_MS);
    let bootstrap = dump(&classpath, &write("bootstrap.checkpoint", &bootstrap));
    in_order(&bootstrap, &["SnapshotHeader", r#""name":"metadata.version""#, "SnapshotFooter"]);
}

#[test]
fn our_log_and_our_snapshot_give_the_controllers_image() {
    let node = node();
    let (mut loader, _) = image_of_log(&node.log);
    let (image, _) = loader.publish().expect("an image");
    assert_eq!(*image, *node.controller.image());

    let id = SnapshotId { offset: image.offset() + 1, epoch: image.epoch() };
    let voters = node.raft.voters().expect("voters");
    let bytes = write_snapshot(id, NOW_MS, 1, voters, values_of(&image.to_records()), NOW_MS);
    let (mut again, snapshot) = image_of_snapshot(&id.file_name(), &bytes);
    again.advance(image.offset(), image.epoch());
    assert_eq!(again, *image);
    assert_eq!((snapshot.kraft_version, snapshot.voters.as_ref()), (1, Some(voters)));
}

#[test]
fn a_log_of_apache_kafka_gives_its_image() {
    let (mut loader, controls) = image_of_log(include_bytes!("metadata/apache-4.3.1.log"));
    let (image, delta) = loader.publish().expect("an image");
    assert_eq!((image.offset(), image.epoch()), (46, 1));
    assert_eq!(image.features().metadata_version(), Some(30));
    let foo = image.topics().get("foo").expect("the topic");
    assert_eq!(foo.partitions.len(), 2);
    // It was shut down: no one leads, and the one replica may come back.
    let partition = &foo.partitions[&0];
    assert_eq!((partition.leader, partition.leader_epoch, partition.elr.as_slice()), (-1, 1, &[1][..]));
    assert!(delta.topics[&foo.id].created);
    let broker = image.cluster().broker(1).expect("the broker");
    assert_eq!((broker.broker_epoch, broker.fenced, broker.in_controlled_shutdown), (14, true, true));
    let [
        ControlRecord::LeaderChange { leader_id: 1 },
        ControlRecord::KraftVersion(1),
        ControlRecord::KraftVoters(voters),
    ] = controls.as_slice()
    else {
        panic!("{controls:?}");
    };
    assert_eq!(voters.voters[0].endpoints[0].port, 29_093);

    // What Kafka writes we write byte for byte, the order of features aside.
    let rewritten = |record: &MetadataRecord| record.encode(METADATA_VERSION_LATEST).expect("encode");
    let same = Entries::new(include_bytes!("metadata/apache-4.3.1.log")).for_each(|entry| {
        if let EntryKind::Data(value) = entry.kind {
            assert_eq!(rewritten(&MetadataRecord::decode(value).expect("a record")), value);
        }
        Ok::<(), RaftError>(())
    });
    assert_eq!(same, Ok(()));
}

#[test]
fn snapshots_of_apache_kafka_are_read() {
    let bytes = include_bytes!("metadata/apache-4.3.1-bootstrap.checkpoint");
    let (image, snapshot) = image_of_snapshot("bootstrap.checkpoint", bytes);
    assert_eq!((snapshot.records_count, snapshot.kraft_version), (6, 0));
    let mut ours = Image::empty(CLUSTER_ID);
    for record in bootstrap_records() {
        ours.apply(&record, &mut Delta::default()).expect("apply");
    }
    assert_eq!(image, ours);

    let bytes = include_bytes!("metadata/apache-4.3.1-format.checkpoint");
    let (_, snapshot) = image_of_snapshot("format", bytes);
    assert_eq!((snapshot.records_count, snapshot.kraft_version), (0, 1));
    assert_eq!(snapshot.voters.expect("voters").voters[0].id, 1);
}

#[test]
fn a_node_goes_on_from_what_apache_kafka_formatted_and_wrote() {
    let bytes = include_bytes!("metadata/apache-4.3.1-format.checkpoint");
    let (_, snapshot) = image_of_snapshot("format", bytes);
    let voter = snapshot.voters.clone().expect("voters").voters.remove(0);
    let identity = Identity { node_id: 1, directory_id: voter.directory_id, endpoints: voter.endpoints };
    let log = include_bytes!("metadata/apache-4.3.1.log");
    let state = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
    let state = ottla::raft::QuorumState::parse(state.as_bytes()).expect("a quorum-state file");

    let mut raft = Raft::new(identity, Some(&state));
    raft.replay_snapshot(0, 0, &snapshot);
    let (loader, controls) = image_of_log(log);
    for control in &controls {
        raft.replay(control);
    }
    raft.log_read(loader.image().offset() + 1, loader.image().epoch());
    let mut effects = Vec::new();
    raft.step(Ticks(0), NOW_MS, Input::Start, &mut effects).expect("a start");
    assert_eq!(raft.epoch(), 2);
    assert!(matches!(effects[1], Effect::Append { first: 47, last: 47, .. }), "{effects:?}");
}
