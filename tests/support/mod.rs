//! What every outside-in test stands on: brokers as child processes, tools installed by name, a raw Kafka
//! client, and the one place where a test may wait.
//!
//! Environment: `OTTLA_TEST_BROKER=apache` runs the same tests against Apache Kafka 4.3.1 (this is how they are
//! checked themselves), `OTTLA_TEST_BINARY=PATH` against another build of Ottla, `OTTLA_TEST_KEEP=1` keeps data directories, `CI=true` turns a missing toolchain into a
//! failure.
#![allow(dead_code, reason = "each test target uses its own part of the support code")]

pub mod broker;
pub mod java;
pub mod poll;
pub mod raw;
pub mod records;
pub mod toolchain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Cargo's target directory: everything the tests install or write stays under it.
pub fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").to_path_buf()
}

/// The `tests` directory of the source tree.
pub fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Every file below a directory with its bytes, by its path from there.
pub fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(next) = left.pop() {
        for path in std::fs::read_dir(next).expect("read a directory").map(|e| e.expect("an entry").path()) {
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below it").to_path_buf();
                files.insert(name, std::fs::read(&path).expect("read a file"));
            }
        }
    }
    files
}

/// A fresh directory under the target directory, named after the test; removed on drop unless the test failed.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Creates `target/tmp/<name>-<process>-<counter>`.
    pub fn new(name: &str) -> TempDir {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("OTTLA_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
