//! Every message at every version has exactly the bytes that Apache Kafka's own classes give it.
//!
//! `tests/golden/Golden.java` makes the bytes; it needs Maven and a JDK. What needs no Java stands in
//! `tests/fuzz_smoke.rs`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use ottla::wire::api::APIS;
use ottla::wire::{ErrorCode, Writer};

#[path = "golden/entries.rs"]
mod entries;
#[path = "generate/jars.rs"]
mod jars;
#[path = "golden/rows.rs"]
mod rows;

use entries::{Entry, Shape};
use rows::{Failure, ROWS};

/// The directory with what the Java program wrote, None where it cannot run.
fn made() -> Option<&'static PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let directory = jars::directory().join("golden");
        fs::create_dir_all(&directory).unwrap();
        let mut java = Command::new("java");
        java.args(["-cp", &jars::class_path()]).arg(jars::root().join("tests/golden/Golden.java"));
        jars::run(java.arg(&directory).args(jars::MODULES.map(jars::jar))).unwrap();
        directory
    };
    MADE.get_or_init(|| jars::ready().then(make)).as_ref()
}

fn entries() -> Option<Vec<Entry>> {
    made().map(|directory| entries::parse(&fs::read(directory.join("messages.bin")).unwrap()))
}

#[test]
fn bytes_are_kafkas_in_every_version() {
    let Some(entries) = entries() else { return };
    let mut seen = BTreeSet::new();
    for Entry { name, shape, from, to, first, second } in &entries {
        let row = rows::row(name).unwrap_or_else(|| panic!("no message {name}"));
        let what = format!("{name} {shape:?} {from} -> {to}");
        let written = (row.recode)(first, *from, *to);
        match (second, &written) {
            (Some(bytes), Ok(written)) => assert_eq!(written, bytes, "{what}"),
            (None, Err(Failure::Encode(_))) => {}
            _ => panic!("{what}: Kafka gives {second:?}, we {written:?}"),
        }
        if from == to {
            seen.insert((row.name, *from));
        }
        // A message is Kafka's before anything is set.
        if from == to && *shape == Shape::Default {
            assert_eq!((row.default)(*from).as_ref(), Ok(first), "{what}");
        }
    }
    let all = ROWS.iter().flat_map(|row| row.versions.clone().map(|version| (row.name, version)));
    assert_eq!(seen, all.collect(), "every message at every version");
}

#[test]
fn a_message_cut_short_is_refused() {
    let Some(entries) = entries() else { return };
    for Entry { name, from, first, .. } in entries.iter().filter(|e| e.from == e.to) {
        let row = rows::row(name).unwrap();
        // Each cut of what is short, some of what is long: those near the ends and a few between.
        let step = (first.len() / 200).max(1);
        for cut in (0..first.len()).step_by(step).chain(first.len().checked_sub(1)) {
            let cut = (row.recode)(&first[..cut], *from, *from);
            assert!(matches!(cut, Err(Failure::Decode(_))), "{name} version {from}: {cut:?}");
        }
    }
}

#[test]
fn mutated_messages_are_refused_or_read() {
    let Some(entries) = entries() else { return };
    let mut random = ottla::base::prng::Prng::new(0x6f74_746c_6121);
    for entry in entries.iter().filter(|e| e.from == e.to && e.shape != Shape::Default) {
        let row = rows::row(&entry.name).unwrap();
        for _ in 0..20 {
            entries::check_mutant(row, entry.from, &entries::mutate(&entry.first, &mut random));
        }
    }
}

#[test]
#[ignore = "writes the corpus for tests/fuzz, checks nothing"]
fn write_fuzz_corpus() {
    let Some(entries) = entries() else { return };
    let corpus = |target: &str| {
        let directory = jars::root().join("target/fuzz/corpus").join(target);
        fs::create_dir_all(&directory).unwrap();
        directory
    };
    let (messages, requests) = (corpus("message"), corpus("request"));
    for Entry { name, shape, from, first, .. } in entries.iter().filter(|e| e.from == e.to) {
        let place = ROWS.iter().position(|row| row.name == name).unwrap();
        let [low, high] = (place as u16).to_le_bytes();
        let version = (from - ROWS[place].versions.start()) as u8;
        let file = format!("{name}-{from}-{shape:?}");
        fs::write(messages.join(&file), [&[low, high, version], &first[..]].concat()).unwrap();
        let api = APIS.iter().find(|api| name.strip_suffix("Request") == Some(api.name));
        if let Some(api) = api {
            let mut w = Writer::new();
            w.i16(api.key.code());
            w.i16(*from);
            w.i32(1);
            w.string(false, "c");
            if api.request_header_version(*from) == 2 {
                w.tags();
            }
            w.raw(first);
            fs::write(requests.join(&file), w.written()).unwrap();
        }
    }
}

#[test]
fn error_codes_are_kafkas() {
    let Some(directory) = made() else { return };
    let expected = fs::read_to_string(directory.join("errors.txt")).unwrap();
    let ours = ErrorCode::ALL.iter().map(|e| format!("{} {} {}\n", e.code(), e.name(), e.is_retriable()));
    assert_eq!(ours.collect::<String>(), expected);
}

#[test]
fn apis_are_kafkas() {
    let Some(directory) = made() else { return };
    let expected = fs::read_to_string(directory.join("apis.txt")).unwrap();
    let mut ours = String::new();
    for api in &APIS {
        for v in api.versions() {
            let (request, response) = (api.request_header_version(v), api.response_header_version(v));
            let _ = writeln!(
                ours,
                "{} {} {v} {} {request} {response} {} {}",
                api.key.code(),
                api.name,
                api.stable_versions().contains(&v),
                api.broker,
                api.controller
            );
        }
    }
    assert_eq!(ours, expected);
}
