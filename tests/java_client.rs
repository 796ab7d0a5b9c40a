//! Apache Kafka's own Java clients, unmodified: producer, consumer, groups, admin. The checks are in
//! `tests/java/*Checks.java`; one JVM runs them all and prints a line for each.

mod support;

use std::process::Stdio;
use support::broker::{self, Broker};
use support::java;

/// Every check of `tests/java`; fewer lines than this means that some did not run.
const CHECKS: usize = 48;

#[test]
fn java_clients_produce_consume_and_administer() {
    let Some(classpath) = java::classpath() else { return };
    let mut broker = Broker::start("java-client", &[("offsets.retention.check.interval.ms", "600000")]);
    let output = broker::java(&classpath)
        .args(["-Xmx768m", "ClientChecks", &broker.bootstrap()])
        .stdin(Stdio::null())
        .output()
        .expect("run java");
    let stdout = String::from_utf8_lossy(&output.stdout);
    print!("{stdout}");
    let failed: Vec<&str> = stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    let passed = stdout.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(
        failed.is_empty() && stdout.lines().last() == Some("done"),
        "{}: {failed:#?}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(passed, CHECKS, "checks that ran");
    broker.stop();
}
