//! The Java programs under `tests/java`: compiled once per content, and a JVM that answers line by line.

use super::{target_dir, tests_dir, toolchain};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The class path of Apache Kafka together with the compiled programs of `tests/java`; `None` when skipped.
pub fn classpath() -> Option<String> {
    let kafka = toolchain::kafka_classpath()?;
    let mut sources: Vec<_> = std::fs::read_dir(tests_dir().join("java"))
        .expect("read tests/java")
        .map(|entry| entry.expect("read an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "java"))
        .collect();
    sources.sort();
    let texts: Vec<String> = sources.iter().map(|s| std::fs::read_to_string(s).expect("read")).collect();
    let hash = toolchain::hash(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let classes = target_dir().join("java").join(hash);
    toolchain::once(&classes, |directory| {
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-Xlint:-deprecation", "-cp", &kafka, "-d"]).arg(directory).args(&sources);
        toolchain::run("javac tests/java", &mut javac);
    });
    Some(format!("{}:{kafka}", classes.display()))
}

/// A JVM running one of our programs that reads one JSON request a line and answers one JSON line each.
pub struct Driver {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts `class`; `None` when the toolchain is missing.
    pub fn start(class: &str) -> Option<Driver> {
        let classpath = classpath()?;
        let mut command = super::broker::java(&classpath);
        command.args(["-Xmx512m", class]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("start java");
        let requests = child.stdin.take().expect("a piped stdin");
        let answers = BufReader::new(child.stdout.take().expect("a piped stdout"));
        Some(Driver { child, requests, answers })
    }

    /// Sends one request and returns its answer.
    pub fn call(&mut self, request: &serde_json::Value) -> serde_json::Value {
        writeln!(self.requests, "{request}").expect("write to the driver");
        self.requests.flush().expect("flush");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("read from the driver");
        serde_json::from_str(&line)
            .unwrap_or_else(|e| panic!("the driver answered {line:?} ({e}) to {request}"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
