//! Toolchains and clients, installed by name and version into the target directory and kept there.
//!
//! Each function returns `None` after printing `skip: <reason>` when the toolchain is missing; with `CI=true` a
//! missing toolchain is a failure.

use super::target_dir;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The version of Apache Kafka that Ottla is compared with.
pub const KAFKA_VERSION: &str = "4.3.1";

/// Prints why a test is skipped; fails when `CI=true`.
fn skip(reason: &str) {
    assert!(!std::env::var("CI").is_ok_and(|v| v == "true"), "CI must not skip: {reason}");
    println!("skip: {reason}");
}

/// Whether `program` is on the PATH.
fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

/// Whether every one of `programs` is on the PATH; says which one is not.
fn have(programs: &[&str]) -> bool {
    match programs.iter().find(|program| !on_path(program)) {
        Some(missing) => {
            skip(&format!("{missing} is not installed"));
            false
        }
        None => true,
    }
}

/// Runs `command` to its end; its output is shown when it fails.
pub fn run(what: &str, command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{what}: {e}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{what}: {}\n--- stdout\n{stdout}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// Makes `directory` with `build` once, also between test processes: it is built beside its final name under a file
/// lock and renamed when it is whole.
pub fn once(directory: &Path, build: impl FnOnce(&Path)) {
    if directory.exists() {
        return;
    }
    std::fs::create_dir_all(directory.parent().expect("a parent")).expect("create the target directory");
    let lock = File::create(directory.with_extension("lock")).expect("create a lock file");
    lock.lock().expect("lock");
    if directory.exists() {
        return;
    }
    let partial = directory.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir_all(&partial).expect("create the directory to install into");
    build(&partial);
    std::fs::rename(&partial, directory).expect("rename the installed directory");
}

/// A short stable hash for cache names (FNV-1a).
pub fn hash(parts: &[&str]) -> String {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{state:016x}")
}

/// The class path of Apache Kafka and its tools, from Maven Central by name and version.
pub fn kafka_classpath() -> Option<String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            if !have(&["java", "javac", "mvn"]) {
                return None;
            }
            let libs = target_dir().join(format!("kafka-{KAFKA_VERSION}")).join("libs");
            once(&libs, |directory| {
                let dependency = |artifact: &str| {
                    format!(
                        "<dependency><groupId>org.apache.kafka</groupId><artifactId>{artifact}</artifactId>\
                         <version>{KAFKA_VERSION}</version></dependency>"
                    )
                };
                let project = format!(
                    "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
                     <groupId>ottla</groupId><artifactId>tests</artifactId><version>1</version><dependencies>\
                     {}{}</dependencies></project>",
                    dependency("kafka_2.13"),
                    dependency("kafka-tools")
                );
                let file = directory.with_extension("pom.xml");
                std::fs::write(&file, project).expect("write pom.xml");
                let mut maven = Command::new("mvn");
                maven.args(["-q", "-B", "-f"]).arg(&file).arg("dependency:copy-dependencies");
                maven.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", directory.display()));
                run("mvn dependency:copy-dependencies (Apache Kafka)", &mut maven);
            });
            Some(format!("{}/*", libs.display()))
        })
        .clone()
}

/// The Python of a virtual environment holding exactly `requirements` (`name==version`).
pub fn python(requirements: &[&str]) -> Option<PathBuf> {
    if !have(&["python3"]) {
        return None;
    }
    let directory = target_dir().join("python").join(hash(requirements));
    let ready = directory.join("ready");
    // A virtual environment does not survive a rename, so the marker inside it says that it is whole.
    std::fs::create_dir_all(&directory).expect("create the directory of the virtual environment");
    let lock = File::create(directory.with_extension("lock")).expect("create a lock file");
    lock.lock().expect("lock");
    let program = directory.join("bin").join("python");
    if !ready.exists() {
        run("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&directory));
        let mut pip = Command::new(&program);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(requirements);
        run("pip install", &mut pip);
        File::create(&ready).expect("mark the virtual environment as whole");
    }
    Some(program)
}

/// A directory whose `node_modules` holds exactly `packages` (`name@version`).
pub fn node(packages: &[&str]) -> Option<PathBuf> {
    if !have(&["node", "npm"]) {
        return None;
    }
    let directory = target_dir().join("node").join(hash(packages));
    once(&directory, |partial| {
        std::fs::write(partial.join("package.json"), "{\"private\": true}\n").expect("write package.json");
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--prefix"]);
        run("npm install", npm.arg(partial).args(packages));
    });
    Some(directory)
}

/// The program built from the Go module in `source`.
pub fn go_program(source: &Path, name: &str) -> Option<PathBuf> {
    if !have(&["go"]) {
        return None;
    }
    let program = target_dir().join("go").join(name);
    let mut go = Command::new("go");
    go.current_dir(source).args(["build", "-o"]).arg(&program).arg(".");
    run("go build", &mut go);
    Some(program)
}

/// kcat, installed with apt when it is missing and we may.
pub fn kcat() -> Option<PathBuf> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = *FOUND.get_or_init(|| {
        if on_path("kcat") {
            return true;
        }
        let root = on_path("apt-get")
            && Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0");
        if root {
            let install = |arguments: &[&str]| {
                Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output()
            };
            let _ = install(&["update", "-qq"]);
            let _ = install(&["install", "-y", "-qq", "kcat"]);
        }
        on_path("kcat")
    });
    if !found {
        skip("kcat is not installed and apt-get could not install it");
        return None;
    }
    Some(PathBuf::from("kcat"))
}
