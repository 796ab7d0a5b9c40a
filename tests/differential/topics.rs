//! ApiVersions, topics and what describes them: CreateTopics, CreatePartitions, DeleteTopics, Metadata,
//! DescribeTopicPartitions, DescribeCluster, DescribeLogDirs.

use super::script::{Session, api, step};
use serde_json::{Value, json};

/// The APIs that have to be there, whatever else a broker advertises.
const REQUIRED: &[i16] = &[
    api::PRODUCE,
    api::FETCH,
    api::LIST_OFFSETS,
    api::METADATA,
    api::OFFSET_COMMIT,
    api::OFFSET_FETCH,
    api::FIND_COORDINATOR,
    api::JOIN_GROUP,
    api::HEARTBEAT,
    api::LEAVE_GROUP,
    api::SYNC_GROUP,
    api::DESCRIBE_GROUPS,
    api::LIST_GROUPS,
    api::API_VERSIONS,
    api::CREATE_TOPICS,
    api::DELETE_TOPICS,
    api::DELETE_RECORDS,
    api::INIT_PRODUCER_ID,
    api::OFFSET_FOR_LEADER_EPOCH,
    api::DESCRIBE_CONFIGS,
    api::ALTER_CONFIGS,
    api::DESCRIBE_LOG_DIRS,
    api::CREATE_PARTITIONS,
    api::DELETE_GROUPS,
    api::INCREMENTAL_ALTER_CONFIGS,
    api::OFFSET_DELETE,
    api::DESCRIBE_CLUSTER,
    api::DESCRIBE_PRODUCERS,
    api::LIST_CONFIG_RESOURCES,
    api::DESCRIBE_TOPIC_PARTITIONS,
];

const NO_SUCH_ID: &str = "AAAAAAAAAAAAAAAAAAAAEQ";
const ZERO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

pub fn script(session: &mut Session) {
    api_versions(session);
    create(session);
    create_errors(session);
    describe(session);
    partitions(session);
    log_dirs(session);
    delete(session);
}

fn api_versions(session: &mut Session) {
    let client = json!({"clientSoftwareName": "differ", "clientSoftwareVersion": "1.0"});
    let features = "features belong to APIs; a broker lists those that it has";
    session.run(
        step("ApiVersions", api::API_VERSIONS, client.clone())
            .ignore("apiKeys", "compared below: what is not built is not advertised")
            .ignore("supportedFeatures", features)
            .ignore("finalizedFeatures", features),
    );
    for name in ["", "not a name!", "-x"] {
        let body = json!({"clientSoftwareName": name, "clientSoftwareVersion": "1.0"});
        session.run(
            step("ApiVersions, bad client name", api::API_VERSIONS, body)
                .versions(3, 4)
                .ignore("apiKeys", "as above"),
        );
    }
    for version in 0..=4 {
        let [ours, theirs] =
            session.answers(&step("ApiVersions", api::API_VERSIONS, client.clone()), version);
        let rows = |answer: &Value| answer["body"]["apiKeys"].as_array().cloned().unwrap_or_default();
        let theirs = rows(&theirs);
        for row in rows(&ours) {
            session.check(
                theirs.contains(&row),
                &format!("ApiVersions {version}: {row} is not what Apache says"),
            );
        }
        for key in REQUIRED {
            let listed = rows(&ours).iter().any(|row| row["apiKey"] == json!(key));
            session.check(listed, &format!("ApiVersions {version}: API {key} is missing"));
        }
    }
}

/// One topic of a CreateTopics request.
fn topic(name: &str, partitions: i32, replicas: i16, configs: &[(&str, Value)]) -> Value {
    let configs: Vec<Value> = configs.iter().map(|(k, v)| json!({"name": k, "value": v})).collect();
    json!({"name": name, "numPartitions": partitions, "replicationFactor": replicas, "assignments": [], "configs": configs})
}

/// A manual assignment of partitions to brokers.
fn assigned(name: &str, partitions: i32, assignments: &[(i32, &[i32])]) -> Value {
    let all: Vec<Value> =
        assignments.iter().map(|(p, b)| json!({"partitionIndex": p, "brokerIds": b})).collect();
    json!({"name": name, "numPartitions": partitions, "replicationFactor": -1, "assignments": all, "configs": []})
}

fn creating(topics: &[Value]) -> Value {
    json!({"topics": topics, "timeoutMs": 30000, "validateOnly": false})
}

fn create(session: &mut Session) {
    let configs = [("retention.ms", json!("3600000")), ("cleanup.policy", json!("compact"))];
    session.run(step(
        "CreateTopics",
        api::CREATE_TOPICS,
        creating(&[
            topic("plain-$v", 3, 1, &[]),
            topic("configured-$v", 1, 1, &configs),
            topic("default-$v", -1, -1, &[]),
            assigned("assigned-$v", -1, &[(0, &[0]), (1, &[0])]),
        ]),
    ));
    let mut dry = creating(&[topic("dry-$v", 2, 1, &[]), topic("plain-2", 1, 1, &[])]);
    dry["validateOnly"] = json!(true);
    session.run(step("CreateTopics, only validated", api::CREATE_TOPICS, dry));
    session.run(step("CreateTopics, none", api::CREATE_TOPICS, creating(&[])));
    for name in ["plain-2", "configured-2", "assigned-2", "plain-7"] {
        let count = if name.starts_with("plain") { 3 } else { 1 };
        session.wait_for_topic(name, count);
    }
}

fn create_errors(session: &mut Session) {
    let long = "x".repeat(250);
    let bad = [
        topic("plain-2", 1, 1, &[]),
        topic("", 1, 1, &[]),
        topic(".", 1, 1, &[]),
        topic("..", 1, 1, &[]),
        topic("a b", 1, 1, &[]),
        topic("a/b", 1, 1, &[]),
        topic("ä", 1, 1, &[]),
        topic(&long, 1, 1, &[]),
        topic("zero", 0, 1, &[]),
        topic("negative", -2, 1, &[]),
        topic("no-replicas", 1, 0, &[]),
        topic("three-replicas", 1, 3, &[]),
        topic("negative-replicas", 1, -2, &[]),
        topic("unknown-key", 1, 1, &[("no.such.key", json!("1"))]),
        topic("bad-value", 1, 1, &[("retention.ms", json!("soon"))]),
        topic("bad-range", 1, 1, &[("segment.bytes", json!("-1"))]),
        topic("bad-choice", 1, 1, &[("cleanup.policy", json!("sometimes"))]),
        topic("null-value", 1, 1, &[("retention.ms", Value::Null)]),
        topic("twice", 1, 1, &[]),
        topic("twice", 2, 1, &[]),
        assigned("gap", -1, &[(0, &[0]), (2, &[0])]),
        assigned("negative-partition", -1, &[(-1, &[0])]),
        assigned("no-brokers", -1, &[(0, &[])]),
        assigned("same-broker", -1, &[(0, &[0, 0])]),
        assigned("unknown-broker", -1, &[(0, &[9])]),
        assigned("both", 2, &[(0, &[0])]),
        assigned("uneven", -1, &[(0, &[0]), (1, &[0, 9])]),
    ];
    for one in &bad {
        session.run(step("CreateTopics, bad", api::CREATE_TOPICS, creating(std::slice::from_ref(one))));
    }
    session.run(step("CreateTopics, all bad at once", api::CREATE_TOPICS, creating(&bad)));
    let first = [topic("co_llide", 1, 1, &[])];
    session.run(step("CreateTopics", api::CREATE_TOPICS, creating(&first)).latest());
    session.run(step(
        "CreateTopics, collides",
        api::CREATE_TOPICS,
        creating(&[topic("co.llide", 1, 1, &[])]),
    ));
}

fn describe(session: &mut Session) {
    let named = json!({
        "topics": [{"name": "plain-2"}, {"name": "configured-2"}], "allowAutoTopicCreation": false,
    });
    session.run(step("Metadata", api::METADATA, named.clone()));
    let mut operations = named;
    operations["includeTopicAuthorizedOperations"] = json!(true);
    operations["includeClusterAuthorizedOperations"] = json!(true);
    session.run(step("Metadata, operations", api::METADATA, operations.clone()).versions(8, 10));
    operations["includeClusterAuthorizedOperations"] = json!(false);
    session.run(step("Metadata, operations", api::METADATA, operations).versions(11, 13));
    session.run(step("Metadata, all", api::METADATA, json!({"topics": null})).versions(1, 13));
    session.run(step("Metadata, all", api::METADATA, json!({"topics": []})).versions(0, 0));
    session.run(step("Metadata, none", api::METADATA, json!({"topics": []})).versions(1, 13));
    for name in ["absent", "a b", "", ".", &"x".repeat(250)] {
        let body = json!({"topics": [{"name": name}], "allowAutoTopicCreation": false});
        session.run(step("Metadata, absent", api::METADATA, body).versions(4, 13));
    }
    let twice =
        json!({"topics": [{"name": "plain-2"}, {"name": "plain-2"}], "allowAutoTopicCreation": false});
    session.run(step("Metadata, twice", api::METADATA, twice).versions(4, 13));
    let created =
        json!({"topics": [{"name": "auto-$v"}, {"name": "not a name"}], "allowAutoTopicCreation": true});
    session.run(step("Metadata, creates", api::METADATA, created.clone()).settles());
    session.run(step("Metadata, created", api::METADATA, created).settles());

    let by_id =
        json!({"topics": [{"topicId": "$plain-2.id", "name": null}], "allowAutoTopicCreation": false});
    session.run(step("Metadata by id", api::METADATA, by_id).versions(12, 13));
    let by_id = json!({"topics": [{"topicId": NO_SUCH_ID, "name": null}], "allowAutoTopicCreation": false});
    session.run(step("Metadata by unknown id", api::METADATA, by_id.clone()).versions(12, 13));
    session.run(step("Metadata by id too early", api::METADATA, by_id).versions(10, 11));
    let both =
        json!({"topics": [{"topicId": "$plain-2.id", "name": null}, {"topicId": NO_SUCH_ID, "name": null}]});
    session.run(step("Metadata by ids", api::METADATA, both).versions(12, 13));

    for body in [
        json!({"topics": [{"name": "plain-2"}]}),
        json!({"topics": [{"name": "plain-2"}, {"name": "absent"}, {"name": "a b"}]}),
        json!({"topics": []}),
        json!({"topics": [{"name": "plain-2"}, {"name": "plain-7"}], "responsePartitionLimit": 2}),
        json!({"topics": [{"name": "plain-2"}, {"name": "plain-7"}], "responsePartitionLimit": 0}),
        json!({"topics": [{"name": "plain-2"}], "cursor": {"topicName": "plain-2", "partitionIndex": 1}}),
        json!({"topics": [{"name": "plain-2"}, {"name": "plain-7"}], "cursor": {"topicName": "plain-2", "partitionIndex": 2}}),
        json!({"topics": [{"name": "plain-2"}], "cursor": {"topicName": "absent", "partitionIndex": 0}}),
        json!({"topics": [], "cursor": {"topicName": "plain-2", "partitionIndex": 1}, "responsePartitionLimit": 4}),
        json!({"topics": [{"name": "plain-2"}], "cursor": {"topicName": "plain-2", "partitionIndex": -1}}),
        json!({"topics": [{"name": "plain-2"}], "cursor": {"topicName": "zzz", "partitionIndex": 0}}),
    ] {
        session.run(step("DescribeTopicPartitions", api::DESCRIBE_TOPIC_PARTITIONS, body));
    }
    for kind in [1, 2, 3] {
        let body = json!({"endpointType": kind, "includeClusterAuthorizedOperations": true});
        session.run(step("DescribeCluster", api::DESCRIBE_CLUSTER, body).versions(1, 2));
    }
    session.run(step("DescribeCluster", api::DESCRIBE_CLUSTER, json!({})));
    session.run(
        step("DescribeCluster, fenced", api::DESCRIBE_CLUSTER, json!({"includeFencedBrokers": true}))
            .versions(2, 2),
    );
}

fn partitions(session: &mut Session) {
    let request = |topics: Value, validate: bool| json!({"topics": topics, "timeoutMs": 30000, "validateOnly": validate});
    session.run(step(
        "CreatePartitions, only validated",
        api::CREATE_PARTITIONS,
        request(json!([{"name": "configured-2", "count": 9, "assignments": null}]), true),
    ));
    session.run_each_version(api::CREATE_PARTITIONS, 0, || {
        vec![
            step("CreateTopics", api::CREATE_TOPICS, creating(&[topic("wide", 1, 1, &[])])),
            step(
                "CreatePartitions",
                api::CREATE_PARTITIONS,
                request(json!([{"name": "wide", "count": 4, "assignments": null}]), false),
            ),
            step("Metadata", api::METADATA, json!({"topics": [{"name": "wide"}]})).settles(),
            step(
                "DeleteTopics",
                api::DELETE_TOPICS,
                json!({"topicNames": ["wide"], "topics": [{"name": "wide"}], "timeoutMs": 30000}),
            ),
        ]
    });
    for one in [
        json!({"name": "plain-2", "count": 2, "assignments": null}),
        json!({"name": "plain-2", "count": 3, "assignments": null}),
        json!({"name": "plain-2", "count": 0, "assignments": null}),
        json!({"name": "plain-2", "count": -1, "assignments": null}),
        json!({"name": "absent", "count": 3, "assignments": null}),
        json!({"name": "a b", "count": 3, "assignments": null}),
        json!({"name": "plain-2", "count": 4, "assignments": [{"brokerIds": [9]}]}),
        json!({"name": "plain-2", "count": 4, "assignments": [{"brokerIds": []}]}),
        json!({"name": "plain-2", "count": 4, "assignments": [{"brokerIds": [0]}, {"brokerIds": [0]}]}),
        json!({"name": "plain-2", "count": 5, "assignments": [{"brokerIds": [0]}]}),
        json!({"name": "plain-2", "count": 4, "assignments": [{"brokerIds": [0, 0]}]}),
    ] {
        let reason = "Apache Kafka has no words for some of them; here each has";
        let step = step("CreatePartitions, bad", api::CREATE_PARTITIONS, request(json!([one]), false));
        session.run(step.ignore("errorMessage", reason));
    }
    let twice = json!([
        {"name": "plain-2", "count": 5, "assignments": null}, {"name": "plain-2", "count": 6, "assignments": null},
    ]);
    session.run(step("CreatePartitions, twice", api::CREATE_PARTITIONS, request(twice, true)));
    let by_hand = json!([{"name": "plain-7", "count": 4, "assignments": [{"brokerIds": [0]}]}]);
    session.run(step("CreatePartitions by hand", api::CREATE_PARTITIONS, request(by_hand, false)).latest());
    session.wait_for_topic("plain-7", 4);
}

fn log_dirs(session: &mut Session) {
    let body = json!({"topics": [{"topic": "plain-2", "partitions": [0, 1, 2]}, {"topic": "configured-2", "partitions": [0]}]});
    session.run(step("DescribeLogDirs", api::DESCRIBE_LOG_DIRS, body).settles());
    for body in [
        json!({"topics": [{"topic": "plain-2", "partitions": [99]}]}),
        json!({"topics": [{"topic": "absent", "partitions": [0]}]}),
        json!({"topics": []}),
    ] {
        session.run(step("DescribeLogDirs, absent", api::DESCRIBE_LOG_DIRS, body));
    }
    session.run(step("DescribeLogDirs, all", api::DESCRIBE_LOG_DIRS, json!({"topics": null})).settles());
}

fn delete(session: &mut Session) {
    let names = json!({
        "topicNames": ["plain-$v", "absent", "a b"], "topics": [{"name": "plain-$v"}, {"name": "absent"}, {"name": "a b"}],
        "timeoutMs": 30000,
    });
    // Version 1 has no topic of its own; one that was created by name only.
    session.run(step("DeleteTopics", api::DELETE_TOPICS, names.clone()));
    session.run(step("DeleteTopics again", api::DELETE_TOPICS, names));
    let twice = json!({
        "topicNames": ["default-2", "default-2"], "topics": [{"name": "default-2"}, {"name": "default-2"}], "timeoutMs": 30000,
    });
    session.run(step("DeleteTopics, twice", api::DELETE_TOPICS, twice));
    session.run(step(
        "DeleteTopics, none",
        api::DELETE_TOPICS,
        json!({"topicNames": [], "topics": [], "timeoutMs": 1}),
    ));
    for topics in [
        json!([{"name": null, "topicId": NO_SUCH_ID}]),
        json!([{"name": null, "topicId": ZERO_ID}]),
        json!([{"name": "assigned-2", "topicId": "$assigned-2.id"}]),
        json!([{"name": null, "topicId": "$assigned-2.id"}, {"name": null, "topicId": "$assigned-2.id"}]),
        json!([{"name": null, "topicId": "$assigned-2.id"}, {"name": "assigned-2"}]),
        json!([{"name": null, "topicId": "$assigned-2.id"}]),
        json!([{"name": null, "topicId": "$assigned-2.id"}]),
    ] {
        let body = json!({"topics": topics, "timeoutMs": 30000});
        session.run(step("DeleteTopics by id", api::DELETE_TOPICS, body).versions(6, 6));
    }
    let left = json!({"topics": null});
    session.run(step("Metadata, what is left", api::METADATA, left).versions(1, 13).settles());
}
