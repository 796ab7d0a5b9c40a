//! Journals whose bytes are put together here, as the table in `journal/frame.rs` has them.

use std::path::PathBuf;

use super::journal::{INCARNATION, home};
use super::*;
use crate::io::OpenMode;
use crate::log::journal::JournalDir;
use crate::log::journal::replay::{self, Found, Since, Target};

const TOPIC: Uuid = Uuid::from_u128(77);
const HALF: u64 = 1 << 16;
const SALT: u32 = 0x1234_5678;

/// What an entry says; all of them belong to segment 0.
struct Wanted {
    kind: u8,
    generation: u32,
    topic: Uuid,
    position: u64,
    next: Offset,
    batches: Vec<u8>,
}

impl Wanted {
    fn append(generation: u32, position: u64, base: Offset, value: u8) -> Wanted {
        let batches = at_offset(base, value);
        Wanted { kind: 1, generation, topic: TOPIC, position, next: base + 1, batches }
    }

    fn truncate(generation: u32, to: Offset) -> Wanted {
        Wanted { kind: 2, generation, topic: TOPIC, position: 0, next: to, batches: Vec::new() }
    }

    fn first(&self) -> Vec<u8> {
        let mut bytes = self.topic.0.to_vec();
        bytes.extend(0i32.to_be_bytes()); // partition
        bytes.extend(0i64.to_be_bytes()); // segment
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.next.to_be_bytes());
        bytes.extend(0u32.to_be_bytes()); // no gap
        bytes.extend((self.batches.len() as u32).to_be_bytes());
        bytes.extend(&self.batches);
        bytes
    }

    fn second(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, 0, 0, 0];
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.topic.0);
        bytes.extend(0i32.to_be_bytes()); // partition
        bytes.extend(0i64.to_be_bytes()); // segment
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.next.to_be_bytes());
        bytes.extend((-1i64).to_be_bytes()); // safe
        bytes.extend((self.batches.len() as u32).to_be_bytes());
        bytes.extend(&self.batches);
        bytes
    }
}

fn at_offset(base: Offset, value: u8) -> Vec<u8> {
    let mut bytes = batch(1, &[value; 100]);
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes
}

fn header(version: u32, boot_id: u128, directory_id: Uuid) -> Vec<u8> {
    let mut block = vec![0; 4096];
    block[..4].copy_from_slice(b"OtJF");
    block[8..16].copy_from_slice(&HALF.to_be_bytes());
    block[16..20].copy_from_slice(&SALT.to_be_bytes());
    block[24..40].copy_from_slice(&boot_id.to_be_bytes());
    if version > 1 {
        block[20..24].copy_from_slice(&version.to_be_bytes());
        block[40..56].copy_from_slice(&INCARNATION.0);
        block[56..72].copy_from_slice(&directory_id.0);
    }
    let crc = crc32c::crc32c(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_be_bytes());
    if version > 1 { block.repeat(2) } else { block }
}

fn frame(version: u32, sequence: u64, entries: &[Wanted]) -> Vec<u8> {
    let mark = if version == 1 { 0x4F74_4A31 } else { 0x4F74_4A32 ^ SALT };
    let mut bytes = [&u32::to_be_bytes(mark)[..], &[0; 4], &sequence.to_be_bytes(), &[0; 8]].concat();
    for entry in entries {
        bytes.extend(if version == 1 { entry.first() } else { entry.second() });
    }
    if version > 1 {
        bytes[20..24].copy_from_slice(&1u32.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
    }
    let len = bytes.len() as u32;
    bytes[16..20].copy_from_slice(&len.to_be_bytes());
    let crc = crc32c::crc32c_append(SALT, &bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Buffered).unwrap();
    disk.write_at(&file, 0, bytes).unwrap();
    disk.sync(&file).unwrap();
}

fn values(m: &mut Machine) -> Vec<u8> {
    m.read_all(0, 1 << 20).into_iter().map(|(_, value)| value[0]).collect()
}

fn replay_all(disk: &SimDisk, dirs: &[JournalDir], partition: &Path) -> replay::Replayed {
    let target = |topic_id, _| {
        assert_eq!(topic_id, TOPIC);
        Found::Here(Target { dir: partition.to_path_buf(), recovery_point: 0, log_start: 0 })
    };
    let since = Since { registered: INCARNATION, clean: false };
    let paths: Vec<PathBuf> = dirs.iter().map(|dir| dir.path.clone()).collect();
    let found = replay::find(disk, dirs).unwrap();
    let redone = found.redo(disk, &paths, since, |topic_id, n| Ok(target(topic_id, n))).unwrap();
    redone.set_aside(disk).unwrap();
    replay::remove(disk, &paths).unwrap();
    redone.done
}

fn data() -> JournalDir {
    JournalDir { path: home().to_path_buf(), directory_id: Uuid::from_u128(5) }
}

/// What a truncation has made void is left out, in whatever order entries and truncation stand; what was appended instead
/// of it is redone.
#[test]
fn a_truncation_makes_older_entries_void() {
    let len = at_offset(0, 0).len() as u64;
    let entry = |generation, base: Offset, value| Wanted::append(generation, base as u64 * len, base, value);
    let cases: [(Vec<Vec<Wanted>>, &[u8]); 4] = [
        (
            vec![
                (0..5).map(|n| entry(0, n, n as u8)).collect(),
                vec![Wanted::truncate(1, 3), entry(1, 3, 13), entry(1, 4, 14)],
            ],
            &[0, 1, 2, 13, 14],
        ),
        (vec![(0..5).map(|n| entry(0, n, n as u8)).collect(), vec![Wanted::truncate(1, 2)]], &[0, 1]),
        (vec![vec![Wanted::truncate(1, 0), entry(1, 0, 7)], vec![entry(1, 1, 8)]], &[7, 8]),
        (
            vec![
                vec![entry(0, 0, 0), entry(0, 1, 1), Wanted::truncate(1, 1), entry(1, 1, 11)],
                vec![entry(1, 2, 12), Wanted::truncate(2, 2), entry(2, 2, 22)],
            ],
            &[0, 11, 22],
        ),
    ];
    for (number, (frames, expected)) in cases.into_iter().enumerate() {
        let mut m = Machine::new(number as u64, LogConfig::default());
        m.sim.kill();
        let disk = m.disk();
        let mut bytes = header(2, disk.boot_id(), Uuid::from_u128(5));
        for (sequence, entries) in (1..).zip(&frames) {
            bytes.extend(frame(2, sequence, entries));
        }
        put(&disk, &home().join("ottla-journal-0.staged"), &bytes);
        let done = replay_all(&disk, &[data()], &dir());
        assert_eq!((&done.errors[..], done.refused.len()), (&[][..], 0), "case {number}");
        m.reopen(false, Some(0), None);
        assert_eq!(values(&mut m), expected, "case {number}");
    }
}

/// A journal as an Ottla of before has left it is redone once, whatever its level, and is gone then.
#[test]
fn a_journal_of_version_1_is_redone_once() {
    for (level, align) in [("staged", 8), ("flushed", 4096)] {
        let mut m = Machine::new(3, LogConfig::default());
        m.sim.kill();
        let disk = m.disk();
        let len = at_offset(0, 0).len() as u64;
        let mut bytes = header(1, disk.boot_id(), Uuid::ZERO);
        for sequence in 1..=20u64 {
            let base = sequence as Offset - 1;
            let entry = Wanted::append(0, base as u64 * len, base, base as u8);
            bytes.extend(frame(1, sequence, &[entry]));
            bytes.resize(bytes.len().next_multiple_of(align), 0);
        }
        bytes.resize(4096 + 2 * HALF as usize, 0);
        let path = home().join(format!("ottla-journal-0-{level}"));
        put(&disk, &path, &bytes);
        let done = replay_all(&disk, &[data()], &dir());
        assert_eq!((done.entries, &done.errors[..], &done.refused[..]), (20, &[][..], &[][..]), "{level}");
        assert!(!disk.exists(&path), "{level}");
        assert_eq!(replay_all(&disk, &[data()], &dir()), replay::Replayed::default(), "{level}");
        m.reopen(false, Some(0), None);
        assert_eq!(values(&mut m), (0..20).collect::<Vec<u8>>(), "{level}");
    }
}

/// A log directory that is not there has its journal with it: that of the others is redone without it, and its own when it
/// is back.
#[test]
fn a_journal_waits_in_its_directory() {
    let mut m = Machine::new(4, LogConfig::default());
    m.sim.kill();
    let disk = m.disk();
    let other = JournalDir { path: PathBuf::from("/other"), directory_id: Uuid::from_u128(6) };
    disk.create_dir_all(&other.path).unwrap();
    let len = at_offset(0, 0).len() as u64;
    let mut both = Vec::new();
    for (dir, base) in [(data(), 0), (other.clone(), 1)] {
        let mut bytes = header(2, disk.boot_id(), dir.directory_id);
        bytes.extend(frame(2, 1, &[Wanted::append(0, base as u64 * len, base, base as u8)]));
        put(&disk, &dir.path.join("ottla-journal-0.staged"), &bytes);
        both.push(dir);
    }
    assert_eq!(replay_all(&disk, &both[..1], &dir()).entries, 1);
    assert!(disk.exists(&other.path.join("ottla-journal-0.staged")));
    assert_eq!(replay_all(&disk, &both, &dir()).entries, 1);
    assert!(!disk.exists(&other.path.join("ottla-journal-0.staged")));
    m.reopen(false, Some(0), None);
    assert_eq!(values(&mut m), [0, 1]);
}
