//! Journals that are just being made when the process is killed or the power fails, and what is left of others.

use super::replay::{Found, Replayed, Since, find, remove};
use super::*;
use crate::io::sim::{Sim, SimConfig, SimDisk};

fn home() -> PathBuf {
    PathBuf::from("/data")
}

fn header(level: Level) -> FileHeader {
    FileHeader {
        version: frame::VERSION,
        half_bytes: 64 << 10,
        salt: 9,
        boot_id: 1,
        incarnation_id: Uuid::from_u128(3),
        directory_id: Uuid::from_u128(4),
        core: 0,
        level: level as u32,
    }
}

fn path(level: Level) -> PathBuf {
    home().join(level.file_name(ShardId(0)))
}

fn machine(seed: u64) -> Sim<()> {
    let sim: Sim<()> = Sim::new(SimConfig::new(seed, 1));
    sim.disk().create_dir_all(&home()).unwrap();
    sim.disk().sync_dir(Path::new("/")).unwrap();
    sim
}

/// What the next start finds, and the names of the files that it leaves.
fn start(disk: &SimDisk) -> (Replayed, Vec<String>) {
    let dirs = [JournalDir { path: home(), directory_id: Uuid::from_u128(4) }];
    let since = Since { registered: Uuid::from_u128(3), clean: false };
    let redone = find(disk, &dirs).unwrap().redo(disk, &[home()], since, |_, _| Ok(Found::Gone)).unwrap();
    redone.set_aside(disk).unwrap();
    remove(disk, &[home()]).unwrap();
    let done = redone.done;
    (done, disk.list(&home()).unwrap().into_iter().map(|entry| entry.name).collect())
}

/// A process was killed while it made the journal of the flushed level: the next start said that a journal's header was damaged
/// and that records might be lost, and kept its 128 MiB for ever, again and again.
#[test]
fn a_journal_is_made_whole_or_not_at_all() {
    for level in Level::ALL {
        for seed in 0..12 {
            let power_cut = seed > 0;
            let mut calls = 0;
            loop {
                let sim = machine(seed);
                let disk = sim.disk().clone();
                disk.end_after(calls);
                let made = create(&disk, &path(level), header(level), level).is_ok();
                if power_cut {
                    sim.power_cut();
                } else {
                    sim.kill();
                }
                let context = format!("{level:?}, seed {seed}, ended after {calls} operations");
                let kept = disk.exists(&path(level));
                assert!(kept || !made, "{context}: what was made is gone");
                assert_eq!(start(&disk), (Replayed::default(), Vec::new()), "{context}");
                calls += 1;
                if made {
                    break;
                }
            }
            assert!(calls > 5, "every step was tried");
        }
    }
}

/// Older binaries made journals under their own names.
#[test]
fn a_journal_without_anything_in_it_is_named_and_removed() {
    for level in Level::ALL {
        for bytes in [0, 4096, 200_000] {
            let sim = machine(1);
            sim.disk().write(&path(level), &vec![0; bytes]).unwrap();
            let (done, left) = start(sim.disk());
            assert_eq!((&done.errors[..], &left[..]), (&[][..], &[][..]), "{level:?}, {bytes} bytes");
            let [warning] = &done.warnings[..] else { panic!("{:?}", done.warnings) };
            assert!(warning.contains(&path(level).display().to_string()), "{warning}");
        }
    }
}

#[test]
fn a_journal_that_held_something_is_kept_if_it_cannot_be_read() {
    let header_bytes = 2 * BLOCK_BYTES as u64;
    // To which length it is cut, and where it is zeroed.
    let damages = [
        (Level::Staged, None, 0..header_bytes),
        (Level::Flushed, None, 0..header_bytes),
        (Level::Flushed, Some(header_bytes), 0..0),
        (Level::Flushed, Some((64 << 10) + header_bytes), 0..0),
        (Level::Flushed, Some(500), 0..0),
        (Level::Staged, Some(500), 0..0),
    ];
    for (level, cut, zeroed) in damages {
        let sim = machine(1);
        let disk = sim.disk();
        let file = create(disk, &path(level), header(level), level).unwrap();
        disk.write_at(&file, header_bytes, b"something").unwrap();
        disk.write_at(&file, zeroed.start, &vec![0; zeroed.end as usize]).unwrap();
        if let Some(len) = cut {
            disk.set_len(&file, len).unwrap();
        }
        let (done, left) = start(disk);
        let context = format!("{level:?}, cut {cut:?}, zeroed {zeroed:?}: {done:?}, {left:?}");
        assert!(done.errors.iter().any(|e| e.contains(&path(level).display().to_string())), "{context}");
        assert_eq!(left, [format!("{}.aside-1", level.file_name(ShardId(0)))], "{context}");
    }
}
