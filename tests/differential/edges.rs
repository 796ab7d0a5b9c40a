//! Every field of every request at its edges, in every version: negative and extreme numbers, empty and strange names, null,
//! unknown and zero ids, nothing in an array and the same thing twice. One field at a time, from a request that is right.

use super::script::{Session, Step, api, hex, step};
use super::support::records::Batch;
use serde_json::{Value, json};

const NO_SUCH_ID: &str = "AAAAAAAAAAAAAAAAAAAAEQ";
const ZERO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Fields that are not tried: they make a request wait, or make something that other steps would see. A path names the
/// fields from the outermost on.
const LEFT_OUT: &[(i16, &str, &str)] = &[
    (api::PRODUCE, "acks", "0 is not answered"),
    (api::PRODUCE, "transactionalId", "transactions are not built"),
    (api::INIT_PRODUCER_ID, "transactionalId", "transactions are not built"),
    (api::FIND_COORDINATOR, "keyType", "transactions and share groups are not built"),
    (api::FETCH, "replicaId", "there are no followers, so nobody is refused as one"),
    (api::FETCH, "maxBytes", "how far a read goes beyond the first batch is each broker's own"),
    (
        api::FETCH,
        "topics.partitions.partitionMaxBytes",
        "how far a read goes beyond the first batch is each broker's own",
    ),
    (api::FETCH, "isolationLevel", "tests/faults"),
    (api::FETCH, "topics.partitions.currentLeaderEpoch", "tests/faults"),
    (api::FETCH, "sessionId", "Apache Kafka fails on the largest one"),
    (
        api::OFFSET_FOR_LEADER_EPOCH,
        "topics.partitions.leaderEpoch",
        "no epoch is below -1; Apache Kafka gives it back",
    ),
    (
        api::INCREMENTAL_ALTER_CONFIGS,
        "resources.configs.configOperation",
        "Apache Kafka has no words for an unknown one",
    ),
    (api::CREATE_PARTITIONS, "topics.count", "Apache Kafka says UNKNOWN_SERVER_ERROR to very many"),
    (api::OFFSET_DELETE, "topics", "what is named twice is answered twice"),
    (api::OFFSET_DELETE, "topics.name", "what is named twice is answered twice"),
    (api::OFFSET_DELETE, "topics.partitions", "what is named twice is answered twice"),
    (api::OFFSET_DELETE, "topics.partitions.partitionIndex", "what is named twice is answered twice"),
    (api::CREATE_TOPICS, "timeoutMs", "tests/faults"),
    (api::CREATE_PARTITIONS, "timeoutMs", "tests/faults"),
    (api::DELETE_TOPICS, "timeoutMs", "tests/faults"),
    (api::DELETE_RECORDS, "timeoutMs", "tests/faults"),
    (
        api::DESCRIBE_CONFIGS,
        "resources.resourceType",
        "Apache Kafka answers the resource beside a wrong one as that",
    ),
];

pub fn script(session: &mut Session) {
    for name in ["plain", "other"] {
        let topics = json!([{"name": name, "numPartitions": 2, "replicationFactor": 1}]);
        let body = json!({"topics": topics, "timeoutMs": 30000});
        session.run(step("CreateTopics", api::CREATE_TOPICS, body).latest());
        session.wait_for_topic(name, 2);
    }
    session.run(
        step("FindCoordinator", api::FIND_COORDINATOR, json!({"coordinatorKeys": ["group"]}))
            .latest()
            .settles(),
    );
    let commit = json!({"groupId": "group", "generationIdOrMemberEpoch": -1, "memberId": "",
        "topics": [{"name": "plain", "topicId": "$plain.id", "partitions": [{"partitionIndex": 0, "committedOffset": 1}]}]});
    session.run(step("OffsetCommit", api::OFFSET_COMMIT, commit).latest());
    for (name, api, body) in requests() {
        try_edges(session, name, api, &body);
    }
}

/// The right requests.
fn requests() -> Vec<(&'static str, i16, Value)> {
    let records = hex(&Batch::plain(&["one", "two"]).encode());
    let topic = |more: Value| {
        let mut topic = json!({"name": "plain", "topicId": "$plain.id"});
        topic.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!([topic])
    };
    let configs = json!([{"name": "retention.ms", "value": "-1"}]);
    vec![
        (
            "Produce",
            api::PRODUCE,
            json!({"acks": -1, "timeoutMs": 5000, "topicData": topic(json!({"partitionData": [{"index": 0, "records": records}]}))}),
        ),
        (
            "Fetch",
            api::FETCH,
            json!({"replicaId": -1, "maxWaitMs": 10, "minBytes": 1, "maxBytes": 1_000_000, "isolationLevel": 0, "sessionId": 0,
            "sessionEpoch": -1, "rackId": "", "forgottenTopicsData": [], "topics": [{"topic": "plain", "topicId": "$plain.id",
            "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "fetchOffset": 0, "lastFetchedEpoch": -1, "logStartOffset": -1, "partitionMaxBytes": 1_000_000}]}]}),
        ),
        (
            "ListOffsets",
            api::LIST_OFFSETS,
            json!({"replicaId": -1, "isolationLevel": 0, "timeoutMs": 1000, "topics": topic(json!({"partitions": [{"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": -1}]}))}),
        ),
        (
            "Metadata",
            api::METADATA,
            json!({"topics": [{"name": "plain"}], "allowAutoTopicCreation": false, "includeClusterAuthorizedOperations": false, "includeTopicAuthorizedOperations": false}),
        ),
        (
            "Metadata, operations",
            api::METADATA,
            json!({"topics": [{"name": "plain"}, {"name": "absent"}, {"name": "a b"}], "allowAutoTopicCreation": false, "includeTopicAuthorizedOperations": true}),
        ),
        (
            "Metadata by id",
            api::METADATA,
            json!({"topics": [{"topicId": "$plain.id", "name": null}], "allowAutoTopicCreation": false, "includeTopicAuthorizedOperations": true}),
        ),
        (
            "DescribeTopicPartitions",
            api::DESCRIBE_TOPIC_PARTITIONS,
            json!({"topics": [{"name": "plain"}, {"name": "other"}], "responsePartitionLimit": 3, "cursor": {"topicName": "plain", "partitionIndex": 1}}),
        ),
        (
            "DescribeCluster",
            api::DESCRIBE_CLUSTER,
            json!({"includeClusterAuthorizedOperations": false, "endpointType": 1, "includeFencedBrokers": false}),
        ),
        (
            "OffsetForLeaderEpoch",
            api::OFFSET_FOR_LEADER_EPOCH,
            json!({"replicaId": -1, "topics": [{"topic": "plain", "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "leaderEpoch": 0}]}]}),
        ),
        (
            "InitProducerId",
            api::INIT_PRODUCER_ID,
            json!({"transactionTimeoutMs": 1000, "producerId": -1, "producerEpoch": -1}),
        ),
        (
            "DescribeProducers",
            api::DESCRIBE_PRODUCERS,
            json!({"topics": [{"name": "plain", "partitionIndexes": [0]}]}),
        ),
        (
            "DescribeLogDirs",
            api::DESCRIBE_LOG_DIRS,
            json!({"topics": [{"topic": "other", "partitions": [0]}]}),
        ),
        (
            "DescribeConfigs",
            api::DESCRIBE_CONFIGS,
            json!({"includeSynonyms": false, "includeDocumentation": false, "resources": [{"resourceType": 2, "resourceName": "plain", "configurationKeys": ["retention.ms"]}]}),
        ),
        (
            "AlterConfigs",
            api::ALTER_CONFIGS,
            json!({"validateOnly": true, "resources": [{"resourceType": 2, "resourceName": "plain", "configs": configs}]}),
        ),
        (
            "IncrementalAlterConfigs",
            api::INCREMENTAL_ALTER_CONFIGS,
            json!({"validateOnly": true, "resources": [{"resourceType": 2, "resourceName": "plain", "configs": [{"name": "retention.ms", "value": "-1", "configOperation": 0}]}]}),
        ),
        ("ListConfigResources", api::LIST_CONFIG_RESOURCES, json!({"resourceTypes": [2]})),
        (
            "CreateTopics, only validated",
            api::CREATE_TOPICS,
            json!({"timeoutMs": 30000, "validateOnly": true, "topics": [{"name": "new", "numPartitions": 1, "replicationFactor": 1, "assignments": [], "configs": configs}]}),
        ),
        (
            "CreateTopics by hand, only validated",
            api::CREATE_TOPICS,
            json!({"timeoutMs": 30000, "validateOnly": true, "topics": [{"name": "new", "numPartitions": -1, "replicationFactor": -1, "assignments": [{"partitionIndex": 0, "brokerIds": [0]}], "configs": []}]}),
        ),
        (
            "CreatePartitions, only validated",
            api::CREATE_PARTITIONS,
            json!({"timeoutMs": 30000, "validateOnly": true, "topics": [{"name": "plain", "count": 3, "assignments": [{"brokerIds": [0]}]}]}),
        ),
        (
            "CreatePartitions, without assignment",
            api::CREATE_PARTITIONS,
            json!({"timeoutMs": 30000, "validateOnly": true, "topics": [{"name": "plain", "count": 3, "assignments": null}]}),
        ),
        (
            "DeleteTopics",
            api::DELETE_TOPICS,
            json!({"timeoutMs": 30000, "topicNames": ["absent"], "topics": [{"name": "absent"}]}),
        ),
        (
            "DeleteTopics by id",
            api::DELETE_TOPICS,
            json!({"timeoutMs": 30000, "topics": [{"name": null, "topicId": NO_SUCH_ID}]}),
        ),
        (
            "FindCoordinator",
            api::FIND_COORDINATOR,
            json!({"key": "group", "keyType": 0, "coordinatorKeys": ["group"]}),
        ),
        ("Heartbeat", api::HEARTBEAT, json!({"groupId": "group", "generationId": 1, "memberId": "nobody"})),
        (
            "SyncGroup",
            api::SYNC_GROUP,
            json!({"groupId": "group", "generationId": 1, "memberId": "nobody", "protocolType": "consumer", "protocolName": "range", "assignments": [{"memberId": "nobody", "assignment": hex(b"a")}]}),
        ),
        (
            "LeaveGroup",
            api::LEAVE_GROUP,
            json!({"groupId": "group", "memberId": "nobody", "members": [{"memberId": "nobody"}]}),
        ),
        (
            "OffsetCommit",
            api::OFFSET_COMMIT,
            json!({"groupId": "group", "generationIdOrMemberEpoch": -1, "memberId": "", "retentionTimeMs": -1, "topics": topic(json!({"partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedLeaderEpoch": 0, "committedMetadata": "m"}]}))}),
        ),
        (
            "OffsetFetch",
            api::OFFSET_FETCH,
            json!({"groupId": "group", "topics": [{"name": "plain", "partitionIndexes": [0]}], "requireStable": false, "groups": [{"groupId": "group", "topics": [{"name": "plain", "topicId": "$plain.id", "partitionIndexes": [0]}]}]}),
        ),
        (
            "OffsetDelete",
            api::OFFSET_DELETE,
            json!({"groupId": "group", "topics": [{"name": "other", "partitions": [{"partitionIndex": 0}]}]}),
        ),
        (
            "DescribeGroups",
            api::DESCRIBE_GROUPS,
            json!({"groups": ["group"], "includeAuthorizedOperations": false}),
        ),
        ("ListGroups", api::LIST_GROUPS, json!({"statesFilter": ["Empty"], "typesFilter": ["classic"]})),
        ("DeleteGroups", api::DELETE_GROUPS, json!({"groupsNames": ["absent"]})),
        (
            "DeleteRecords",
            api::DELETE_RECORDS,
            json!({"timeoutMs": 30000, "topics": [{"name": "plain", "partitions": [{"partitionIndex": 0, "offset": 1}]}]}),
        ),
    ]
}

fn try_edges(session: &mut Session, name: &'static str, key: i16, body: &Value) {
    let mut all = vec![(String::new(), body.clone())];
    edges(body, "", &mut |path, changed| {
        // The cursor behind the last partition that there can be is a negative one in Apache Kafka.
        let behind =
            changed.pointer("/cursor/partitionIndex").and_then(Value::as_i64) == Some(i32::MAX.into());
        // Apache Kafka answers to a topic without a name and id as if all of the request were wrong.
        let no_name = key == api::METADATA && nameless(&changed);
        if !behind
            && !no_name
            && !path.is_empty()
            && !LEFT_OUT.iter().any(|(api, field, _)| *api == key && *field == path)
        {
            all.push((path.to_owned(), changed));
        }
    });
    // A partition that is named twice in a Produce is refused, as README lists; tests/faults has the rule. Apache Kafka does
    // not answer an AlterConfigs that names a resource twice, and describes one as often as it is named.
    let twice = |body: &Value| {
        let topics = body["topicData"].as_array().cloned().unwrap_or_default();
        let resources = body["resources"].as_array().map_or(0, Vec::len);
        ([api::ALTER_CONFIGS, api::DESCRIBE_CONFIGS].contains(&key) && resources > 1)
            || topics.len() > 1
            || topics.iter().any(|t| t["partitionData"].as_array().is_some_and(|p| p.len() > 1))
    };
    for (path, body) in all.into_iter().filter(|(_, body)| !twice(body)) {
        session.run_edge(&edge(name, key, body), &path);
    }
}

/// Whether a topic has neither a name nor an id.
fn nameless(body: &Value) -> bool {
    let named = |topic: &Value| {
        topic["name"].is_string() || topic["topicId"].as_str().is_some_and(|id| id != ZERO_ID)
    };
    body["topics"].as_array().is_some_and(|topics| !topics.iter().all(named))
}

fn edge(name: &'static str, key: i16, body: Value) -> Step {
    let words = "Apache Kafka has no words for some of them; here each has";
    step(name, key, body).ignore("errorMessage", words)
}

/// The value with one thing in it changed, for each thing and each change.
fn edges(value: &Value, path: &str, found: &mut dyn FnMut(&str, Value)) {
    for other in instead(value) {
        found(path, other);
    }
    match value {
        Value::Object(fields) if !fields.contains_key("hex") => {
            for (key, field) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                edges(field, &path, &mut |path, changed| {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), changed);
                    found(path, Value::Object(fields));
                });
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                // Changed, and beside one that is right.
                edges(item, path, &mut |path, changed| {
                    let mut items = items.clone();
                    items[at] = changed.clone();
                    found(path, Value::Array(items.clone()));
                    items.push(item.clone());
                    found(path, Value::Array(items));
                });
            }
        }
        _ => {}
    }
}

/// What to put in the place of a value.
fn instead(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(_) => [
            -2,
            -1,
            0,
            1,
            2,
            3,
            7,
            127,
            -128,
            10_000,
            32_767,
            -32_768,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ]
        .map(Value::from)
        .to_vec(),
        Value::String(text) if text.split('.').next_back() == Some("id") || text == NO_SUCH_ID => {
            vec![json!(NO_SUCH_ID), json!(ZERO_ID), json!("$other.id")]
        }
        Value::String(_) => {
            let long = "x".repeat(250);
            let mut all: Vec<Value> =
                ["", "absent", "a b", ".", "ä", "0", "-1", "other", "__consumer_offsets", &long]
                    .map(Value::from)
                    .to_vec();
            all.push(Value::Null);
            all
        }
        Value::Bool(flag) => vec![Value::from(!flag)],
        Value::Null => vec![json!(""), json!([])],
        Value::Array(items) => {
            let mut all = vec![json!([]), Value::Null];
            if let Some(first) = items.first() {
                all.push(json!([first, first]));
                all.push(json!([first, first, first]));
            }
            all
        }
        Value::Object(fields) if fields.contains_key("hex") => vec![hex(b""), hex(b"\0")],
        Value::Object(_) => Vec::new(),
    }
}
