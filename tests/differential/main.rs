//! The same scripted requests to the broker under test and to Apache Kafka 4.3.1, the answers compared field by field.
//!
//! Requests are JSON; Apache Kafka's own message classes (`tests/java/WireDriver.java`) write and read the bytes, so
//! that no code of ours stands between. What may differ is the list in `compare.rs` and the reasons given at single
//! steps; with `OTTLA_TEST_BROKER=apache` two Apache brokers are compared, which shows that the list suffices.

#![allow(clippy::needless_pass_by_value, reason = "json!(..) values are written where they are passed")]

#[path = "../support/mod.rs"]
mod support;

mod codecs;
mod compare;
mod configs;
mod edges;
mod groups;
mod records;
mod script;
mod topics;

use script::Session;

/// Each test has its own pair of brokers and a fresh cluster.
fn run(name: &str, properties: &[(&str, &str)], script: fn(&mut Session)) {
    let Some(mut session) = Session::start(name, properties) else { return };
    script(&mut session);
    session.finish();
}

#[test]
fn topics_and_metadata() {
    run("diff-topics", &[], topics::script);
}

#[test]
fn produce_fetch_and_offsets() {
    // The records have fixed timestamps of long ago, which retention must not see.
    let properties = [("auto.create.topics.enable", "false"), ("log.retention.ms", "-1")];
    run("diff-records", &properties, records::script);
}

#[test]
fn configurations() {
    run("diff-configs", &[], configs::script);
}

#[test]
fn edges_of_every_field() {
    let properties = [
        ("auto.create.topics.enable", "false"),
        ("log.retention.ms", "-1"),
        ("offsets.topic.num.partitions", "2"),
    ];
    run("diff-edges", &properties, edges::script);
}

#[test]
fn groups_and_committed_offsets() {
    run("diff-groups", &[("offsets.topic.num.partitions", "2")], groups::script);
}
