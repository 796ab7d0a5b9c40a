//! The house rules as a test: the direction of imports between rooms, what only some rooms may name, and what no file
//! may contain. Each rule is a function from a file to its violations, and is tried on planted ones below.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Which rooms a room may import, from the bottom up. `shard`, `server` and `cli` list everything below them.
const IMPORTS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("config", &["base"]),
    ("metrics", &["base"]),
    ("io", &["base"]),
    ("meta", &["config", "wire", "base"]),
    ("security", &["meta", "config", "wire", "base"]),
    ("raft", &["wire", "base"]),
    ("replica", &["meta", "wire", "base"]),
    ("coord", &["meta", "config", "wire", "base"]),
    ("bench", &["wire", "base"]),
    ("log", &["io", "metrics", "config", "wire", "base"]),
    (
        "shard",
        &["log", "coord", "replica", "raft", "security", "meta", "io", "metrics", "config", "wire", "base"],
    ),
    ("net", &["security", "io", "metrics", "config", "wire", "base"]),
    ("api", &["shard", "net", "log", "coord", "io", "security", "meta", "metrics", "config", "wire", "base"]),
    (
        "server",
        &[
            "api", "net", "shard", "log", "coord", "replica", "raft", "security", "meta", "io", "metrics",
            "config", "wire", "base",
        ],
    ),
    (
        "cli",
        &[
            "server", "bench", "api", "net", "shard", "log", "coord", "replica", "raft", "security", "meta",
            "io", "metrics", "config", "wire", "base",
        ],
    ),
];

/// Rooms without clock, thread or I/O.
const PURE: &[&str] = &["base", "wire", "config", "meta", "security", "raft", "replica", "coord"];

/// What a pure room does not name outside its tests.
const IMPURE_NAMES: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::thread",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::process::Command",
];

/// Lines in a file that one can read in a sitting.
const LINES_MAX: usize = 800;

/// One text file of the tree.
struct Source {
    /// Path from the top, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The room a file of `src` belongs to; `None` for the files at its top and everything else.
    fn room(&self) -> Option<&str> {
        let (first, rest) = self.path.strip_prefix("src/")?.split_once('/')?;
        (!rest.is_empty()).then_some(first)
    }

    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// Numbered lines of Rust code without their `//` comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, code_of(line)))
    }

    /// [`Source::code`] up to the tests at the end of the file; nothing for a file of tests.
    fn code_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let tests = name == "tests.rs" || name.ends_with("_tests.rs") || self.path.contains("/tests/");
        self.code().take_while(move |(_, line)| !tests && line.trim() != "#[cfg(test)]")
    }

    fn violation(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// The part of a line before its comment; `//` inside a string literal is rare and costs only a shorter line.
fn code_of(line: &str) -> &str {
    match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    }
}

/// Whether `text` has `word` with no identifier character before or after it.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// Rooms named after `crate::` in a line, and in the braces that follow it.
fn rooms_imported(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, prefix) in line.match_indices("crate::") {
        let rest = &line[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            rooms.extend(top_level_names(group));
        } else {
            rooms.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    rooms
}

/// The first path segment of each entry of a `{a::b, c::{d, e}}` group, without what is nested deeper.
fn top_level_names(group: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let (mut depth, mut in_path) = (0, false);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(String::new());
                in_path = false;
            }
            ':' => in_path = true,
            c if depth == 0 && !in_path && !c.is_whitespace() => names.last_mut().expect("a name").push(c),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Statements of the file: a `use` that goes over several lines is one.
fn statements(source: &Source) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in source.code() {
        let line = line.trim();
        if open {
            all.last_mut().expect("an open statement").1.push_str(line);
        } else {
            all.push((number, line.to_string()));
            open = line.starts_with("use ")
                || line.starts_with("pub use ")
                || line.starts_with("pub(crate) use ");
        }
        open = open && !line.ends_with(';');
    }
    all
}

fn imports(source: &Source) -> Vec<String> {
    let Some(room) = source.room().filter(|_| source.is_rust()) else { return Vec::new() };
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else {
        return vec![source.violation(1, &format!("room {room} is not in the table of tests/tidy.rs"))];
    };
    let known = |name: &String| IMPORTS.iter().any(|(room, _)| room == name);
    let mut found = Vec::new();
    for (number, statement) in statements(source) {
        for other in rooms_imported(&statement).into_iter().filter(known) {
            if other != room && !allowed.contains(&other.as_str()) {
                found.push(source.violation(number, &format!("{room} must not import {other}")));
            }
        }
    }
    found
}

fn only_io_speaks_to_the_kernel(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.room() == Some("io") || source.path == "tests/tidy.rs" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in source.code() {
        for word in ["glommio", "io_uring"] {
            // As a crate: a function may well be called io_uring.
            let named = [format!("use {word}"), format!("{word}::"), format!("extern crate {word}")];
            if named.iter().any(|name| line.contains(name)) && !line.contains('"') {
                found.push(source.violation(number, &format!("only src/io names {word}")));
            }
        }
        if has_word(line, "unsafe") && !line.contains('"') {
            found.push(source.violation(number, "only src/io has unsafe code"));
        }
    }
    found
}

fn pure_rooms(source: &Source) -> Vec<String> {
    if !source.is_rust() || !source.room().is_some_and(|room| PURE.contains(&room)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in source.code_without_tests() {
        for name in IMPURE_NAMES.iter().filter(|name| has_word(line, name)) {
            found.push(source.violation(number, &format!("a pure room names {name}")));
        }
    }
    found
}

fn nothing_unfinished(source: &Source) -> Vec<String> {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
    ];
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for word in words.iter().filter(|word| has_word(line, word)) {
            found.push(source.violation(index + 1, &format!("unfinished: {word}")));
        }
    }
    found
}

fn a_sitting(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let generated = source.path.starts_with("src/wire/messages");
    if !source.is_rust() || generated || lines <= LINES_MAX {
        return Vec::new();
    }
    vec![source.violation(lines, &format!("{lines} lines, at most {LINES_MAX}"))]
}

/// A bound that stands beside its use is not seen by the one that it contradicts.
fn bounds_in_one_place(source: &Source) -> Vec<String> {
    let formats = ["wire", "bench"];
    let elsewhere = source.room().is_none_or(|room| formats.contains(&room));
    if !source.is_rust() || elsewhere || source.path == "src/base/limits.rs" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in source.code_without_tests() {
        let Some((_, named)) = line.split_once("const ") else { continue };
        let Some((name, value)) = named.split_once(": ") else { continue };
        let stem = name.trim_end_matches("_MAX").trim_end_matches("_MIN");
        let bounds = stem.ends_with("_MS") || (stem != name && !stem.ends_with("_VERSION"));
        if bounds && value.starts_with(['u', 'i']) {
            found.push(source.violation(number, &format!("{name} belongs in base/limits.rs")));
        }
    }
    found
}

/// Paths of somebody's machine and hosts of package registries belong in no file.
fn nothing_of_a_machine(source: &Source) -> Vec<String> {
    let roots = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
    let hosts = [
        concat!("repo1.", "maven.org"),
        concat!("repo.maven.", "apache.org"),
        concat!("registry.", "npmjs.org"),
        concat!("pypi", ".org"),
        concat!("files.", "pythonhosted.org"),
        concat!("proxy.", "golang.org"),
        concat!("deb.", "debian.org"),
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
    ];
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for root in roots {
            let hit = line.match_indices(root).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + root.len()..].chars().next();
                !before.is_some_and(|c| c.is_ascii_lowercase() || c == '.')
                    && after.is_some_and(|c| c.is_ascii_lowercase())
            });
            if hit {
                found.push(source.violation(index + 1, &format!("a path of a machine: {root}")));
            }
        }
        for host in hosts.iter().filter(|host| line.contains(*host)) {
            found.push(source.violation(index + 1, &format!("a registry's host: {host}")));
        }
    }
    found
}

fn tests_wait_for_something(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.code() {
        if source.is_rust() && line.trim() == "#[ignore]" {
            found.push(source.violation(number, "#[ignore] without a reason"));
        }
        let anywhere = has_word(line, concat!("thread::", "sleep"))
            && source.room() != Some("io")
            && !source.path.starts_with("perf/");
        let in_tests =
            source.path.starts_with("tests/") && line.to_lowercase().contains(concat!("sle", "ep("));
        let helper = source.path == "tests/support/poll.rs";
        if (anywhere || in_tests) && !helper {
            found
                .push(source.violation(number, "sleeps: wait for what is to happen (tests/support/poll.rs)"));
        }
    }
    found
}

/// Every text file of ours: the directories that hold sources, and the files at the top.
fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["src", "tests", "benches", "perf", "fuzz", ".ci"] {
        walk(top, &top.join(directory), &mut found);
    }
    for file in ["Cargo.toml", "README.md", "tuning.md", ".deny.toml", ".rustfmt.toml"] {
        read(top, &top.join(file), &mut found);
    }
    assert!(found.len() > 20, "the walk finds the tree");
    found
}

fn walk(top: &Path, directory: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("read an entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "corpus" && name != "node_modules" {
            walk(top, &path, found);
        } else if path.is_file() && name != "go.sum" {
            read(top, &path, found);
        }
    }
}

fn read(top: &Path, path: &Path, found: &mut Vec<Source>) {
    // Golden data and the like are no text.
    if let Ok(text) = fs::read_to_string(path) {
        let path = path.strip_prefix(top).expect("below the top").to_string_lossy().replace('\\', "/");
        found.push(Source { path, text });
    }
}

#[track_caller]
fn assert_holds(rule: fn(&Source) -> Vec<String>) {
    let found: Vec<String> = sources().iter().flat_map(rule).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn imports_point_down() {
    assert_holds(imports);
}

#[test]
fn the_import_table_has_no_cycle() {
    for (index, (room, allowed)) in IMPORTS.iter().enumerate() {
        for other in *allowed {
            let below = IMPORTS[..index].iter().any(|(name, _)| name == other);
            assert!(below, "{other} stands above {room} in the table");
        }
    }
}

#[test]
fn only_io_names_glommio_io_uring_and_unsafe() {
    assert_holds(only_io_speaks_to_the_kernel);
}

#[test]
fn pure_rooms_name_no_clock_thread_or_io() {
    assert_holds(pure_rooms);
}

#[test]
fn nothing_is_left_unfinished() {
    assert_holds(nothing_unfinished);
}

#[test]
fn files_fit_a_sitting() {
    assert_holds(a_sitting);
}

#[test]
fn bounds_are_in_one_place() {
    assert_holds(bounds_in_one_place);
}

#[test]
fn no_machine_paths_or_registry_hosts() {
    assert_holds(nothing_of_a_machine);
}

#[test]
fn nothing_sleeps_and_ignored_tests_say_why() {
    assert_holds(tests_wait_for_something);
}

/// Faults that tests have to find (`tests/mutants`) are of use only as long as they can be brought back.
#[test]
fn mutants_apply_and_name_their_tests() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = fs::read_dir(top.join("tests/mutants")).expect("list the mutants");
    let mut patches: Vec<_> = listed.map(|entry| entry.expect("read an entry").path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    assert!(patches.len() > 8, "{patches:?}");
    let is_checkout = top.join(".git").exists();
    let mut failed = Vec::new();
    for path in patches {
        let text = fs::read_to_string(&path).expect("read a patch");
        let head = text.split("diff --git").next().unwrap_or_default();
        for key in ["test: --", "found: "] {
            if !head.lines().any(|line| line.starts_with(key)) {
                failed.push(format!("{}: no line `{key}`", path.display()));
            }
        }
        if is_checkout {
            let mut git = Command::new("git");
            let output =
                git.args(["apply", "--check"]).arg(&path).current_dir(top).output().expect("run git");
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                failed.push(format!("{}: bring it up to date: {why}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Each rule finds a planted violation and passes the line beside it.
#[test]
fn the_rules_find_what_they_are_for() {
    type Rule = fn(&Source) -> Vec<String>;
    let planted: &[(Rule, &str, &str, usize)] = &[
        (imports, "src/wire/a.rs", "use crate::log::Log;", 1),
        (imports, "src/wire/a.rs", "use crate::{base::Ids, shard::{Shard, base}};", 1),
        (imports, "src/wire/a.rs", "use crate::{\n    base::Ids,\n    api::x,\n};", 1),
        (imports, "src/wire/a.rs", "let x = crate::meta::image();", 1),
        (imports, "src/wire/a.rs", "use crate::base::ids; // crate::log", 0),
        (imports, "src/wire/a.rs", "use crate::wire::log::x;", 0),
        (imports, "src/cellar/a.rs", "", 1),
        (only_io_speaks_to_the_kernel, "src/log/a.rs", "use glommio::Local;", 1),
        (only_io_speaks_to_the_kernel, "src/log/a.rs", "let x = unsafe { f() };", 1),
        (only_io_speaks_to_the_kernel, "src/io/a.rs", "let x = unsafe { f() };", 0),
        (only_io_speaks_to_the_kernel, "src/lib.rs", "#![deny(unsafe_code)]", 0),
        (pure_rooms, "src/meta/a.rs", "use std::fs;", 1),
        (pure_rooms, "src/meta/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }", 0),
        (pure_rooms, "src/log/a.rs", "use std::fs;", 0),
        (nothing_unfinished, "src/log/a.rs", concat!("// TO", "DO: later"), 1),
        (nothing_unfinished, "src/log/a.rs", concat!("to", "do!()"), 1),
        (bounds_in_one_place, "src/log/a.rs", "pub(super) const DRAIN_MS: i64 = 10_000;", 1),
        (bounds_in_one_place, "src/log/a.rs", "const FRAME_BYTES_MAX: usize = 1;", 1),
        (bounds_in_one_place, "src/log/a.rs", "const HEADER_BYTES: usize = 1;", 0),
        (bounds_in_one_place, "src/base/limits.rs", "const FRAME_BYTES_MAX: usize = 1;", 0),
        (nothing_of_a_machine, "src/log/a.rs", concat!("open(\"/ho", "me/me/x\")"), 1),
        (nothing_of_a_machine, "src/log/a.rs", concat!("a/b/wo", "rk/x"), 0),
        (nothing_of_a_machine, "src/log/a.rs", concat!("https://pypi", ".org/simple"), 1),
        (tests_wait_for_something, "tests/a.rs", concat!("std::thread::sle", "ep(x)"), 1),
        (tests_wait_for_something, "tests/go/a.go", concat!("time.Sle", "ep(x)"), 1),
        (tests_wait_for_something, "tests/a.py", concat!("time.sle", "ep(1)"), 1),
        (tests_wait_for_something, "src/log/a.rs", "#[ignore]", 1),
        (tests_wait_for_something, "src/log/a.rs", "#[ignore = \"takes an hour\"]", 0),
    ];
    for (rule, path, text, wanted) in planted {
        let source = Source { path: (*path).to_string(), text: (*text).to_string() };
        let found = rule(&source);
        assert_eq!(found.len(), *wanted, "{path}: {text:?}: {found:?}");
    }
    let long = Source { path: "src/log/a.rs".into(), text: "\n".repeat(LINES_MAX + 1) };
    assert_eq!(a_sitting(&long).len(), 1);
}
