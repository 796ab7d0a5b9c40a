//! Apache Kafka's jars, fetched by name and version with Maven and unpacked with the JDK under `target/kafka`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of Apache Kafka whose protocol this is.
pub const KAFKA: &str = "4.3.1";

/// The modules that hold message schemas, in the order in which later code reads them.
pub const MODULES: [&str; 7] = [
    "kafka-clients",
    "kafka-metadata",
    "kafka-raft",
    "kafka-group-coordinator",
    "kafka-transaction-coordinator",
    "kafka-share-coordinator",
    "kafka-storage",
];

/// What Kafka's classes need to run, beside each other: group, name, version.
const LIBRARIES: [(&str, &str, &str); 1] = [("org.slf4j", "slf4j-api", "1.7.36")];

/// The package's root directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the jars and what comes out of them are kept.
pub fn directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("kafka").join(KAFKA)
}

/// The jar of a module; call [`fetch`] first.
pub fn jar(module: &str) -> PathBuf {
    directory().join(format!("{module}-{KAFKA}.jar"))
}

/// Every jar, as Java wants its class path.
#[allow(dead_code)] // not every test runs Java
pub fn class_path() -> String {
    let libraries = LIBRARIES.map(|(_, name, version)| directory().join(format!("{name}-{version}.jar")));
    let jars = MODULES.map(jar).into_iter().chain(libraries);
    jars.map(|jar| jar.display().to_string()).collect::<Vec<_>>().join(":")
}

/// Fetches the jars that are not there yet. The error says what is missing on this machine.
pub fn fetch() -> Result<(), String> {
    for tool in ["mvn", "java", "jar"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.map_err(|e| {
            format!("{tool} does not run ({e}): install Maven and a JDK of version 17 or later")
        })?;
    }
    for module in MODULES {
        fetch_one("org.apache.kafka", module, KAFKA)?;
    }
    LIBRARIES.into_iter().try_for_each(|(group, name, version)| fetch_one(group, name, version))
}

fn fetch_one(group: &str, name: &str, version: &str) -> Result<(), String> {
    let file = format!("{name}-{version}.jar");
    if directory().join(&file).exists() {
        return Ok(());
    }
    // Into a directory of this process first: tests run at the same time, and half a jar must not be found.
    let own = directory().join(format!("fetch-{}", std::process::id()));
    run(Command::new("mvn")
        .args(["-q", "-B", "dependency:copy"])
        .arg(format!("-Dartifact={group}:{name}:{version}"))
        .arg(format!("-DoutputDirectory={}", own.display()))
        .current_dir(std::env::temp_dir()))?;
    std::fs::rename(own.join(&file), directory().join(&file)).map_err(|e| format!("{file}: {e}"))?;
    std::fs::remove_dir_all(&own).map_err(|e| format!("{}: {e}", own.display()))
}

/// Runs a command and gives what it printed, or an error with it.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{command:?}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Whether a test that needs Kafka's jars can run. Without the tools it is skipped, but never where `CI` is true.
pub fn ready() -> bool {
    match fetch() {
        Ok(()) => true,
        Err(why) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            println!("skipped: {why}");
            false
        }
    }
}
