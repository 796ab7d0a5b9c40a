//! The quick start of Apache Kafka, with Apache Kafka's own command-line tools: topics, console producer and
//! consumer, configuration, consumer groups, deletion. The tools' output is compared, not only their exit codes.

mod support;

use serde_json::json;
use support::broker::Broker;
use support::java::Driver;
use support::poll;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const API_VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";
const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";

/// What one tool printed and how it ended.
#[derive(Debug)]
struct Ran {
    exit: i64,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.exit, 0, "{}\n{}", self.out, self.err);
        self.out
    }
}

struct Tools {
    driver: Driver,
    bootstrap: String,
}

impl Tools {
    /// Runs a tool with `arguments` (split at spaces) against the broker.
    fn run(&mut self, tool: &str, arguments: &str) -> Ran {
        self.run_with(tool, arguments, "")
    }

    fn run_with(&mut self, tool: &str, arguments: &str, stdin: &str) -> Ran {
        let mut all = vec!["--bootstrap-server", &self.bootstrap];
        all.extend(arguments.split_whitespace());
        let mut answer = self.driver.call(&json!({"main": tool, "args": all, "stdin": stdin}));
        let mut text = |key: &str| match answer[key].take() {
            serde_json::Value::String(text) => text,
            other => panic!("{key} is {other}"),
        };
        let (out, err) = (text("out"), text("err"));
        Ran { exit: answer["exit"].as_i64().expect("an exit code"), out, err }
    }
}

fn start(name: &str) -> Option<(Broker, Tools)> {
    let driver = Driver::start("ToolDriver")?;
    let broker = Broker::start(name, &[]);
    let bootstrap = broker.bootstrap();
    Some((broker, Tools { driver, bootstrap }))
}

/// The columns of the table lines that start with `first`.
fn rows<'a>(text: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let split = |line: &'a str| line.split_whitespace().collect::<Vec<_>>();
    text.lines().map(split).filter(|row| row.first() == Some(&first)).collect()
}

/// Thirty events of ten users, a line each.
fn thirty(separator: char) -> String {
    (0..30).map(|i| format!("user{}{separator}action{i}", i % 10)).collect::<Vec<_>>().join("\n") + "\n"
}

fn sorted_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn the_quick_start_word_for_word() {
    let Some((mut broker, mut tools)) = start("quickstart") else { return };

    let created =
        tools.run(TOPICS, "--create --topic user-activity --partitions 3 --replication-factor 1").ok();
    assert_eq!(created.trim(), "Created topic user-activity.");
    let again = tools.run(TOPICS, "--create --topic user-activity --partitions 3 --replication-factor 1");
    assert_eq!(again.exit, 1, "creating it twice fails: {again:?}");
    assert!(again.out.contains("Topic 'user-activity' already exists"), "{again:?}");
    assert_eq!(tools.run(TOPICS, "--list").ok().trim(), "user-activity");

    let described = tools.run(TOPICS, "--describe --topic user-activity").ok();
    let head = described.lines().next().expect("a first line");
    for part in ["Topic: user-activity", "PartitionCount: 3", "ReplicationFactor: 1", "TopicId: "] {
        assert!(head.contains(part), "{part:?} in {head:?}");
    }
    assert_eq!(described.matches("\tPartition: ").count(), 3, "{described}");
    assert_eq!(described.matches("\tLeader: ").count(), 3, "{described}");
    assert!(!described.contains("Leader: none"), "{described}");

    let lines = thirty(':');
    let keyed = "--topic user-activity --reader-property parse.key=true --reader-property key.separator=:";
    tools.run_with(PRODUCER, keyed, &lines).ok();

    let consume = "--topic user-activity --from-beginning --max-messages 30 --timeout-ms 30000 --group readers \
                   --formatter-property print.key=true";
    let consumed = tools.run(CONSUMER, consume).ok();
    assert_eq!(sorted_lines(&consumed), sorted_lines(&thirty('\t')));
    for user in 0..10 {
        let key = format!("user{user}\t");
        let order: Vec<&str> = consumed.lines().filter_map(|line| line.strip_prefix(&key)).collect();
        let wanted: Vec<String> = (0..3).map(|n| format!("action{}", n * 10 + user)).collect();
        assert_eq!(order, wanted, "records of one key keep their order");
    }
    let partitions = tools
        .run(
            CONSUMER,
            "--topic user-activity --from-beginning --max-messages 30 --timeout-ms 30000 --formatter-property \
             print.partition=true --formatter-property print.offset=true --formatter-property print.value=false",
        )
        .ok();
    assert_eq!(partitions.lines().filter(|line| line.ends_with("Offset:0")).count(), 3, "{partitions}");

    // The group read everything; ten more records are its lag.
    let lag = |text: &str| -> i64 {
        rows(text, "readers").iter().map(|row| row[5].parse::<i64>().expect("a lag")).sum()
    };
    let group = tools.run(GROUPS, "--describe --group readers").ok();
    assert!(group.contains("CURRENT-OFFSET  LOG-END-OFFSET  LAG"), "{group}");
    assert_eq!((rows(&group, "readers").len(), lag(&group)), (3, 0), "{group}");
    tools.run_with(PRODUCER, keyed, &"late:visitor\n".repeat(10)).ok();
    let group = tools.run(GROUPS, "--describe --group readers").ok();
    assert_eq!(lag(&group), 10, "{group}");
    assert!(tools.run(GROUPS, "--list").ok().lines().any(|name| name == "readers"));
    let state = tools.run(GROUPS, "--describe --group readers --state").ok();
    assert!(state.contains("Empty"), "{state}");

    tools.run(TOPICS, "--alter --topic user-activity --partitions 5").ok();
    let described = tools.run(TOPICS, "--describe --topic user-activity").ok();
    assert_eq!(described.matches("\tPartition: ").count(), 5, "{described}");
    let fewer = tools.run(TOPICS, "--alter --topic user-activity --partitions 2");
    assert_eq!(fewer.exit, 1, "{fewer:?}");

    let alter = "--entity-type topics --entity-name user-activity --alter --add-config";
    for setting in ["retention.ms=86400000", "cleanup.policy=compact"] {
        let altered = tools.run(CONFIGS, &format!("{alter} {setting}")).ok();
        assert_eq!(altered.trim(), "Completed updating config for topic user-activity.");
    }
    let configs = tools.run(CONFIGS, "--entity-type topics --entity-name user-activity --describe").ok();
    let retention =
        "retention.ms=86400000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=86400000";
    assert!(configs.contains(retention), "{configs}");
    let policy = "cleanup.policy=compact sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact, \
                  DEFAULT_CONFIG:log.cleanup.policy=delete}";
    assert!(configs.contains(policy), "{configs}");
    let described = tools.run(TOPICS, "--describe --topic user-activity").ok();
    let head = described.lines().next().expect("a first line");
    assert!(head.contains("retention.ms=86400000") && head.contains("cleanup.policy=compact"), "{head}");
    let bad = tools.run(CONFIGS, &format!("{alter} cleanup.policy=sometimes"));
    assert_eq!(bad.exit, 1, "{bad:?}");
    assert!(bad.err.contains("InvalidConfigurationException"), "{bad:?}");

    let reset = "--group readers --topic user-activity --reset-offsets --to-earliest --execute";
    let reset = tools.run(GROUPS, reset).ok();
    assert!(rows(&reset, "readers").iter().all(|row| row[3] == "0"), "{reset}");
    let replay = "--topic user-activity --group readers --max-messages 40 --timeout-ms 30000";
    assert_eq!(tools.run(CONSUMER, replay).ok().lines().count(), 40);

    let deleted = tools.run(GROUPS, "--delete --group readers").ok();
    assert!(
        deleted.contains("Deletion of requested consumer groups ('readers') was successful."),
        "{deleted}"
    );
    assert!(!tools.run(GROUPS, "--list").ok().lines().any(|name| name == "readers"));
    tools.run(TOPICS, "--delete --topic user-activity").ok();
    poll::until("the topic is gone", std::time::Duration::from_secs(20), || {
        (!tools.run(TOPICS, "--list").ok().lines().any(|name| name == "user-activity")).then_some(())
    });
    broker.stop();
}

#[test]
fn the_other_tools_of_the_first_hour() {
    let Some((_broker, mut tools)) = start("tools") else { return };
    tools.run(TOPICS, "--create --topic orders --partitions 2").ok();
    let lines = (0..20).map(|i| i.to_string()).collect::<Vec<_>>().join("\n");
    tools.run_with(PRODUCER, "--topic orders --sync --command-property batch.size=0", &lines).ok();

    let sum = |text: &str| -> i64 {
        text.lines()
            .map(|line| line.rsplit(':').next().expect("a column").parse::<i64>().expect("an offset"))
            .sum()
    };
    assert_eq!(sum(&tools.run(OFFSETS, "--topic orders").ok()), 20);
    assert_eq!(sum(&tools.run(OFFSETS, "--topic orders --time earliest").ok()), 0);
    let first = tools.run(OFFSETS, "--topic orders --time 0").ok();
    assert!(first.lines().all(|line| line.ends_with(":0") || line.ends_with(':')), "{first}");

    let file = support::TempDir::new("delete-records");
    let path = file.path().join("offsets.json");
    let wanted = json!({"version": 1, "partitions": [{"topic": "orders", "partition": 0, "offset": -1}]});
    std::fs::write(&path, wanted.to_string()).expect("write offsets.json");
    let end = tools.run(OFFSETS, "--topic orders --partitions 0").ok();
    let end = end.trim().rsplit(':').next().expect("a column").to_string();
    let deleted = tools.run(DELETE_RECORDS, &format!("--offset-json-file {}", path.display())).ok();
    assert!(deleted.contains(&format!("partition: orders-0\tlow_watermark: {end}")), "{deleted}");
    assert_eq!(
        tools.run(OFFSETS, "--topic orders --partitions 0 --time earliest").ok().trim(),
        format!("orders:0:{end}")
    );

    let sizes = tools.run(LOG_DIRS, "--describe --topic-list orders").ok();
    assert!(sizes.contains("\"partition\":\"orders-1\",\"size\":"), "{sizes}");
    let versions = tools.run(API_VERSIONS, "").ok();
    for api in ["Produce(0): ", "Fetch(1): ", "Metadata(3): ", "ApiVersions(18): "] {
        assert!(versions.contains(api), "{api} in {versions}");
    }
    let mut cluster = tools.driver.call(&json!({
        "main": CLUSTER, "args": ["cluster-id", "--bootstrap-server", tools.bootstrap]
    }));
    let cluster = cluster["out"].take();
    assert_eq!(cluster.as_str().map(|t| t.trim().len()), Some("Cluster ID: ".len() + 22), "{cluster}");
}
