//! The two brokers and the steps of a script.
//!
//! A step is one request in one or several versions. Texts in its body that start with `$` stand for values saved from
//! earlier answers, which are different for each broker; `$v` is the version of the request.

use super::compare;
use super::support::broker::{Broker, Kind};
use super::support::java::Driver;
use super::support::poll;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a state that is reached in the background (a leader, a loaded coordinator, a published image) may take.
const SETTLES: Duration = Duration::from_secs(20);

/// Steps that take longer are named in the output.
const SLOW: Duration = Duration::from_secs(2);

/// Error codes of a coordinator that is being loaded: the request is sent again.
const LOADING: [i64; 3] = [14, 15, 16];

/// API keys by Kafka's names.
pub mod api {
    pub const PRODUCE: i16 = 0;
    pub const FETCH: i16 = 1;
    pub const LIST_OFFSETS: i16 = 2;
    pub const METADATA: i16 = 3;
    pub const OFFSET_COMMIT: i16 = 8;
    pub const OFFSET_FETCH: i16 = 9;
    pub const FIND_COORDINATOR: i16 = 10;
    pub const JOIN_GROUP: i16 = 11;
    pub const HEARTBEAT: i16 = 12;
    pub const LEAVE_GROUP: i16 = 13;
    pub const SYNC_GROUP: i16 = 14;
    pub const DESCRIBE_GROUPS: i16 = 15;
    pub const LIST_GROUPS: i16 = 16;
    pub const API_VERSIONS: i16 = 18;
    pub const CREATE_TOPICS: i16 = 19;
    pub const DELETE_TOPICS: i16 = 20;
    pub const DELETE_RECORDS: i16 = 21;
    pub const INIT_PRODUCER_ID: i16 = 22;
    pub const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
    pub const DESCRIBE_CONFIGS: i16 = 32;
    pub const ALTER_CONFIGS: i16 = 33;
    pub const DESCRIBE_LOG_DIRS: i16 = 35;
    pub const CREATE_PARTITIONS: i16 = 37;
    pub const DELETE_GROUPS: i16 = 42;
    pub const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
    pub const OFFSET_DELETE: i16 = 47;
    pub const DESCRIBE_CLUSTER: i16 = 60;
    pub const DESCRIBE_PRODUCERS: i16 = 61;
    pub const LIST_CONFIG_RESOURCES: i16 = 74;
    pub const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;
}

/// One request: what is sent, in which versions, and how its answers are compared.
pub struct Step {
    name: &'static str,
    api: i16,
    versions: Option<(i16, i16)>,
    body: Value,
    connection: &'static str,
    ignored: Vec<&'static str>,
    saves: Vec<(&'static str, &'static str)>,
    settles: bool,
}

/// A request in every version that Apache Kafka 4.3.1 answers.
pub fn step(name: &'static str, api: i16, body: Value) -> Step {
    Step {
        name,
        api,
        versions: None,
        body,
        connection: "main",
        ignored: Vec::new(),
        saves: Vec::new(),
        settles: false,
    }
}

impl Step {
    /// Only in the versions from `low` to `high`.
    pub fn versions(mut self, low: i16, high: i16) -> Step {
        self.versions = Some((low, high));
        self
    }

    /// Only in the latest version.
    pub fn latest(self) -> Step {
        self.versions(i16::MAX, i16::MAX)
    }

    /// On a connection of its own.
    pub fn on(mut self, connection: &'static str) -> Step {
        self.connection = connection;
        self
    }

    /// One more field that may differ in this step; the reason stands in the script.
    pub fn ignore(mut self, field: &'static str, _reason: &'static str) -> Step {
        self.ignored.push(field);
        self
    }

    /// Saves the value at a JSON pointer of each broker's answer as `$name`.
    pub fn save(mut self, name: &'static str, pointer: &'static str) -> Step {
        self.saves.push((name, pointer));
        self
    }

    /// The answer depends on what either broker does in the background: asked again until they agree.
    pub fn settles(mut self) -> Step {
        self.settles = true;
        self
    }
}

/// One broker and what was saved from its answers.
struct Side {
    broker: Broker,
    saved: BTreeMap<String, Value>,
}

/// Two brokers, the driver that speaks to both, and the differences found so far.
pub struct Session {
    driver: Driver,
    sides: [Side; 2],
    versions: BTreeMap<i16, (i16, i16)>,
    differences: Vec<String>,
    compared: usize,
}

impl Session {
    /// Starts both brokers; `None` when the toolchain is missing.
    pub fn start(name: &str, properties: &[(&str, &str)]) -> Option<Session> {
        let mut driver = Driver::start("WireDriver")?;
        let mut all = vec![("node.id", "0")];
        all.extend(properties);
        let side = |kind: Kind, name: String| Side {
            broker: Broker::start_kind(kind, &name, &all),
            saved: BTreeMap::new(),
        };
        let sides =
            [side(Kind::under_test(), format!("{name}-ours")), side(Kind::Apache, format!("{name}-apache"))];
        let listed = driver.call(&json!({"op": "versions"}));
        let number = |v: &Value| v.as_i64().expect("a number") as i16;
        let rows = listed["versions"].as_array().expect("versions");
        let versions = rows.iter().map(|row| (number(&row[0]), (number(&row[1]), number(&row[2])))).collect();
        Some(Session { driver, sides, versions, differences: Vec::new(), compared: 0 })
    }

    /// Sends the step in each of its versions to both brokers and notes how the answers differ.
    pub fn run(&mut self, step: Step) {
        let (lowest, highest) = self.versions[&step.api];
        let (low, high) = step.versions.unwrap_or((lowest, highest));
        for version in low.clamp(lowest, highest)..=high.clamp(lowest, highest) {
            self.run_version(&step, version);
        }
    }

    /// Runs the steps one after the other in the lowest version from `low` on, in the next, and so on: for requests
    /// that change state.
    pub fn run_each_version(&mut self, api: i16, low: i16, steps: impl Fn() -> Vec<Step>) {
        let (lowest, high) = self.versions[&api];
        for version in low.max(lowest)..=high {
            for step in steps() {
                let (lowest, highest) = self.versions[&step.api];
                let version = if step.api == api {
                    version
                } else {
                    highest.min(step.versions.map_or(highest, |v| v.1))
                };
                self.run_version(&step, version.max(lowest));
            }
        }
    }

    /// A step that was made by changing one field, in each version that can say it.
    pub fn run_edge(&mut self, step: &Step, field: &str) {
        let (lowest, highest) = self.versions[&step.api];
        for version in lowest..=highest {
            let begin = Instant::now();
            let answers = self.answers(step, version);
            if begin.elapsed() > SLOW {
                println!("slow: {} (API {} version {version}), {field}: {}", step.name, step.api, step.body);
            }
            // The version has no such value: it was not sent.
            if answers.iter().all(|answer| !answer["failed"].is_null()) {
                continue;
            }
            self.compared += 1;
            if let Some(text) = compare::difference(&answers[0], &answers[1], &step.ignored) {
                let text = text.replace('\n', "\n    ");
                self.note(format!(
                    "{} (API {} version {version}), {field}: {}\n    {text}",
                    step.name, step.api, step.body
                ));
            }
        }
    }

    fn run_version(&mut self, step: &Step, version: i16) {
        self.compared += 1;
        let begin = Instant::now();
        let mut answers = [Value::Null, Value::Null];
        let mut difference = None;
        let mut attempt = |session: &mut Session| {
            for (index, answer) in answers.iter_mut().enumerate() {
                *answer = session.ask(index, step, version);
            }
            difference = compare::difference(&answers[0], &answers[1], &step.ignored);
            (difference.is_none() || !step.settles).then_some(())
        };
        let _ = poll::within(SETTLES, || attempt(self));
        if answers[1]["closed"] == json!(true) {
            println!("closed by Apache Kafka: {} (API {} version {version})", step.name, step.api);
        }
        if begin.elapsed() > SLOW {
            println!("slow: {} (API {} version {version}): {:?}", step.name, step.api, begin.elapsed());
        }
        for (side, answer) in self.sides.iter_mut().zip(&answers) {
            for (name, pointer) in &step.saves {
                if let Some(value) = answer.pointer(&format!("/body{pointer}")) {
                    side.saved.insert((*name).to_string(), value.clone());
                }
            }
        }
        if let Some(text) = difference {
            let text = text.replace('\n', "\n    ");
            self.note(format!("{} (API {} version {version})\n    {text}", step.name, step.api));
        }
    }

    /// Asks one broker; again while its coordinator is loading.
    fn ask(&mut self, side: usize, step: &Step, version: i16) -> Value {
        let body = self.fill(side, &step.body, version);
        let request = self.request(side, "call", step, version, &body);
        let mut answer = Value::Null;
        let _ = poll::within(SETTLES, || {
            answer = self.driver.call(&request);
            (!has_code(&answer, &LOADING)).then_some(())
        });
        answer
    }

    fn request(&self, side: usize, op: &str, step: &Step, version: i16, body: &Value) -> Value {
        let mut request = json!({
            "op": op, "address": self.sides[side].broker.bootstrap(), "connection": step.connection,
            "api": step.api, "version": version,
        });
        request["body"] = body.clone();
        request
    }

    /// Sends the latest version (or the highest of `versions`) without waiting; [`Session::receive`] takes the answer.
    pub fn send(&mut self, step: &Step) {
        let highest = self.versions[&step.api].1;
        let version = step.versions.map_or(highest, |v| v.1.min(highest));
        for side in 0..2 {
            let body = self.fill(side, &step.body, version);
            let request = self.request(side, "send", step, version, &body);
            self.driver.call(&request);
        }
    }

    /// Compares the answers to what [`Session::send`] sent.
    pub fn receive(&mut self, step: &Step) {
        self.compared += 1;
        let answers = [0, 1].map(|side| {
            let request = self.request(side, "receive", step, 0, &json!({}));
            let answer = self.driver.call(&request);
            for (name, pointer) in &step.saves {
                if let Some(value) = answer.pointer(&format!("/body{pointer}")) {
                    self.sides[side].saved.insert((*name).to_string(), value.clone());
                }
            }
            answer
        });
        if let Some(text) = compare::difference(&answers[0], &answers[1], &step.ignored) {
            let text = text.replace('\n', "\n    ");
            self.note(format!("{} (API {}, received late)\n    {text}", step.name, step.api));
        }
    }

    /// The two answers as they are, for comparisons that a script makes itself.
    pub fn answers(&mut self, step: &Step, version: i16) -> [Value; 2] {
        [0, 1].map(|side| self.ask(side, step, version))
    }

    /// Notes a difference that a script found itself.
    pub fn check(&mut self, holds: bool, what: &str) {
        self.compared += 1;
        if !holds {
            self.note(what.to_string());
        }
    }

    /// The body with saved values in the place of `$name`.
    fn fill(&self, side: usize, body: &Value, version: i16) -> Value {
        match body {
            Value::String(text) if text.starts_with('$') && text != "$v" => {
                let found = self.sides[side].saved.get(&text[1..]);
                found.unwrap_or_else(|| panic!("{text} was not saved")).clone()
            }
            Value::String(text) => Value::String(text.replace("$v", &version.to_string())),
            Value::Array(items) => items.iter().map(|item| self.fill(side, item, version)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(k, v)| (k.clone(), self.fill(side, v, version))).collect())
            }
            other => other.clone(),
        }
    }

    /// Saves a value that is made from other saved values, for each broker.
    pub fn save(&mut self, name: &str, make: impl Fn(&BTreeMap<String, Value>) -> Value) {
        for side in &mut self.sides {
            let value = make(&side.saved);
            side.saved.insert(name.to_string(), value);
        }
    }

    /// Waits until every partition of the topic has a leader that answers, on both brokers; saves `$<topic>.id`.
    pub fn wait_for_topic(&mut self, topic: &str, partitions: i32) {
        let all: Vec<Value> =
            (0..partitions).map(|p| json!({"partitionIndex": p, "timestamp": -1})).collect();
        let offsets =
            step("wait", api::LIST_OFFSETS, json!({"topics": [{"name": topic, "partitions": all}]}));
        let metadata = step("wait", api::METADATA, json!({"topics": [{"name": topic}]}));
        for side in 0..2 {
            let found = poll::within(SETTLES, || {
                let ready = self.ask(side, &offsets, 7);
                let described = self.ask(side, &metadata, 12);
                let ok = |answer: &Value| answer["body"].is_object() && !has_code_other_than_none(answer);
                (ok(&ready) && ok(&described)).then(|| described["body"]["topics"][0]["topicId"].clone())
            });
            match found {
                Some(id) => {
                    self.sides[side].saved.insert(format!("{topic}.id"), id);
                }
                None => self
                    .differences
                    .push(format!("{topic}: not ready on {}", ["this broker", "Apache"][side])),
            }
        }
    }

    fn note(&mut self, difference: String) {
        println!("differs: {difference}");
        self.differences.push(difference);
    }

    /// Fails the test with every difference found.
    pub fn finish(mut self) {
        for side in &mut self.sides {
            side.broker.stop();
        }
        println!("{} answers compared", self.compared);
        let count = self.differences.len();
        assert!(count == 0, "{count} of {} answers differ:\n{}", self.compared, self.differences.join("\n"));
    }
}

/// Whether any `errorCode` in the answer is one of `codes`.
fn has_code(answer: &Value, codes: &[i64]) -> bool {
    any_code(answer, &|code| codes.contains(&code))
}

fn has_code_other_than_none(answer: &Value) -> bool {
    any_code(answer, &|code| code != 0)
}

fn any_code(answer: &Value, wanted: &dyn Fn(i64) -> bool) -> bool {
    match answer {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            (key == "errorCode" && value.as_i64().is_some_and(wanted)) || any_code(value, wanted)
        }),
        Value::Array(items) => items.iter().any(|item| any_code(item, wanted)),
        _ => false,
    }
}

/// Bytes for a request.
pub fn hex(bytes: &[u8]) -> Value {
    json!({"hex": hex_text(bytes)})
}

/// Bytes in hexadecimal.
pub fn hex_text(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).expect("a digit");
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
