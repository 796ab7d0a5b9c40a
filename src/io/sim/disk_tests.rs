use super::*;
use crate::base::limits::BLOCK_BYTES;
use crate::io::buf::AlignedBuf;
use crate::io::file::OpenMode;
use crate::io::world::FileJobOutcome;
use std::path::{Path, PathBuf};

const BLOCK: usize = BLOCK_BYTES;

fn block(fill: u8) -> Bytes {
    let mut b = AlignedBuf::with_capacity(BLOCK);
    b.extend_from_slice(&[fill; BLOCK]);
    b.freeze()
}

fn one(world: &mut SimWorld<()>) -> (Token, DiskOutcome) {
    let mut events = Vec::new();
    world.turn(Ticks::NEVER, &mut events);
    assert_eq!(events.len(), 1, "one completion at a time");
    match events.pop() {
        Some(Event::Disk(token, outcome)) => (token, outcome),
        _ => panic!("no disk event"),
    }
}

fn machine(seed: u64) -> (Sim<()>, SimWorld<()>, File) {
    let sim = Sim::new(SimConfig::new(seed, 1));
    sim.disk().create_dir_all(Path::new("/d")).unwrap();
    sim.disk().sync_dir(Path::new("/")).unwrap();
    let mut world = sim.world(ShardId(0));
    let job =
        FileJob::Open { path: "/d/f".into(), mode: OpenMode::DirectCreate, allocate: 16 * BLOCK as u64 };
    world.background(job, Token(1));
    let (Token(1), DiskOutcome::Job(Ok(FileJobOutcome::Opened(file)))) = one(&mut world) else {
        panic!("not opened")
    };
    (sim, world, file)
}

fn content(sim: &Sim<()>) -> Vec<u8> {
    sim.disk().read(Path::new("/d/f")).unwrap()
}

fn write(world: &mut SimWorld<()>, file: &File, at: usize, fill: u8) {
    world.write(file, (at * BLOCK) as u64, block(fill), Token(2));
    let (Token(2), DiskOutcome::Written(Ok(()))) = one(world) else { panic!("not written") };
}

fn sync(world: &mut SimWorld<()>, file: &File) {
    world.sync(file, Token(3));
    let (Token(3), DiskOutcome::Synced(Ok(()))) = one(world) else { panic!("not flushed") };
}

#[test]
fn a_completed_write_survives_a_kill_and_a_flushed_one_a_power_cut() {
    for seed in 0..200 {
        let (sim, mut world, file) = machine(seed);
        write(&mut world, &file, 0, b'a');
        sync(&mut world, &file);
        write(&mut world, &file, 1, b'b');
        sim.kill();
        let mut world = sim.world(ShardId(0));
        assert!(content(&sim)[..BLOCK].iter().all(|b| *b == b'a'));
        assert!(content(&sim)[BLOCK..2 * BLOCK].iter().all(|b| *b == b'b'));
        // The dead process's handle opens nothing.
        world.read(&file, 0, BLOCK, Token(9));
        assert!(matches!(one(&mut world), (Token(9), DiskOutcome::Read(Err(_)))));
        sim.power_cut();
        assert!(content(&sim)[..BLOCK].iter().all(|b| *b == b'a'));
    }
}

#[test]
fn a_power_cut_forgets_whole_unflushed_sectors_and_nothing_else() {
    let (mut all, mut none, mut some) = (0, 0, 0);
    for seed in 0..300 {
        let (sim, mut world, file) = machine(seed);
        write(&mut world, &file, 0, b'a');
        sync(&mut world, &file);
        write(&mut world, &file, 0, b'b');
        sim.power_cut();
        let got = content(&sim);
        let sectors: Vec<char> = got[..BLOCK].chunks(SECTOR_BYTES).map(|s| s[0].into()).collect();
        assert!(got[..BLOCK].chunks(SECTOR_BYTES).all(|s| s.iter().all(|b| *b == s[0])), "a torn sector");
        assert!(sectors.iter().all(|b| "ab".contains(*b)));
        match sectors.iter().filter(|b| **b == 'b').count() {
            0 => none += 1,
            8 => all += 1,
            _ => some += 1,
        }
    }
    assert!(all > 20 && none > 20 && some > 20, "all {all}, none {none}, some {some}");
}

#[test]
fn a_flush_covers_what_had_completed_when_it_began() {
    let mut lost = 0;
    for seed in 0..200 {
        let (sim, mut world, file) = machine(seed);
        write(&mut world, &file, 0, b'a');
        world.sync(&file, Token(3));
        world.write(&file, 0, block(b'b'), Token(2));
        one(&mut world);
        one(&mut world);
        sim.power_cut();
        let got = content(&sim);
        assert!(got[..BLOCK].iter().all(|b| b"ab".contains(b)), "the flushed state is the floor");
        lost += usize::from(got[0] == b'a');
    }
    assert!(lost > 10);
}

#[test]
fn a_write_in_flight_is_torn_by_a_kill() {
    let mut torn = 0;
    for seed in 0..200 {
        let (sim, mut world, file) = machine(seed);
        world.write(&file, 0, block(b'x'), Token(2));
        sim.kill();
        let n = content(&sim)[..BLOCK].chunks(SECTOR_BYTES).filter(|s| s[0] == b'x').count();
        torn += usize::from(n > 0 && n < 8);
        drop(world);
    }
    assert!(torn > 20);
}

#[test]
fn names_survive_by_prefix_and_surely_after_a_directory_flush() {
    let mut counts = [0; 4];
    for seed in 0..200 {
        let sim: Sim<()> = Sim::new(SimConfig::new(seed, 1));
        let disk = sim.disk();
        disk.create_dir_all(Path::new("/d/e")).unwrap();
        disk.open(Path::new("/d/e/0"), OpenMode::DirectCreate).unwrap();
        disk.sync_dir(Path::new("/d/e")).unwrap();
        disk.open(Path::new("/d/e/1"), OpenMode::DirectCreate).unwrap();
        disk.rename(Path::new("/d/e/0"), Path::new("/d/e/2")).unwrap();
        disk.remove_file(Path::new("/d/e/1")).unwrap();
        sim.power_cut();
        let names: Vec<String> = disk.list(Path::new("/d/e")).unwrap().into_iter().map(|e| e.name).collect();
        let legal = [vec!["0"], vec!["0", "1"], vec!["1", "2"], vec!["2"]];
        let which = legal.iter().position(|l| *l == names).expect("a prefix of the changes");
        counts[which] += 1;
    }
    assert!(counts.iter().all(|c| *c > 10), "{counts:?}");
}

#[test]
fn directories_move_and_go_with_what_they_hold() {
    let sim: Sim<()> = Sim::new(SimConfig::new(1, 1));
    let disk = sim.disk();
    disk.create_dir_all(Path::new("/d/t-0")).unwrap();
    disk.write_atomic(Path::new("/d/t-0/x"), b"hello").unwrap();
    disk.rename(Path::new("/d/t-0"), Path::new("/d/t-0.deleted")).unwrap();
    assert_eq!(disk.read(Path::new("/d/t-0.deleted/x")).unwrap(), b"hello");
    assert!(!disk.exists(Path::new("/d/t-0/x")));
    disk.remove_dir_all(Path::new("/d/t-0.deleted")).unwrap();
    assert!(disk.list(Path::new("/d")).unwrap().is_empty());
    assert!(disk.remove_file(Path::new("/d/nothing")).is_ok());
    let missing = disk.open(Path::new("/nowhere/f"), OpenMode::DirectCreate).err().unwrap();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn cutting_off_and_extending_reads_zeros() {
    let (sim, mut world, file) = machine(3);
    write(&mut world, &file, 0, b'a');
    let disk = sim.disk();
    disk.set_len(&file, 100).unwrap();
    disk.set_len(&file, 5000).unwrap();
    let got = content(&sim);
    assert_eq!(got.len(), 5000);
    assert!(got[..100].iter().all(|b| *b == b'a') && got[100..].iter().all(|b| *b == 0));
    disk.write_at(&file, 4998, b"tail").unwrap();
    assert_eq!(disk.len(&file).unwrap(), 5002);
    assert_eq!(disk.read_at(&file, 4990, 100).unwrap(), b"\0\0\0\0\0\0\0\0tail");
}

#[test]
fn faults_come_as_asked() {
    let (sim, mut world, file) = machine(4);
    let fault =
        DiskFault { path_contains: "/f".into(), op: DiskOp::Write, errno: libc::EIO, skip: 1, times: 1 };
    sim.disk().fail(fault);
    write(&mut world, &file, 0, b'a');
    world.write(&file, 0, block(b'b'), Token(5));
    let (_, DiskOutcome::Written(Err(e))) = one(&mut world) else { panic!("no error") };
    assert_eq!(e.raw_os_error(), Some(libc::EIO));
    write(&mut world, &file, 0, b'c');

    sim.disk().configure(|c| c.capacity_bytes = 17 * BLOCK as u64);
    write(&mut world, &file, 16, b'd');
    world.write(&file, 17 * BLOCK as u64, block(b'e'), Token(6));
    let (_, DiskOutcome::Written(Err(e))) = one(&mut world) else { panic!("no error") };
    assert_eq!(e.kind(), io::ErrorKind::StorageFull);
    world.background(FileJob::Allocate(file.clone(), 1 << 30), Token(7));
    assert!(matches!(one(&mut world), (Token(7), DiskOutcome::Job(Err(_)))));

    sim.disk().flip(Path::new("/d/f"), 0, 0x01).unwrap();
    assert_eq!(content(&sim)[0], b'c' ^ 1);
}

#[test]
fn jobs_of_one_core_run_in_order() {
    for seed in 0..50 {
        let (sim, mut world, _) = machine(seed);
        world.background(FileJob::WriteAtomic("/d/g".into(), b"1".to_vec()), Token(1));
        world.background(FileJob::Rename("/d/g".into(), "/d/h".into()), Token(2));
        let seen = FileJob::Run(Box::new(|files: &dyn Files| {
            let bytes = files.read(Path::new("/d/h"))?;
            Ok(Box::new(bytes) as Box<dyn std::any::Any + Send>)
        }));
        world.background(seen, Token(3));
        world.background(FileJob::RemoveFile(PathBuf::from("/d/h")), Token(4));
        let mut tokens = Vec::new();
        for _ in 0..4 {
            let (token, DiskOutcome::Job(Ok(done))) = one(&mut world) else { panic!("failed") };
            if let FileJobOutcome::Ran(value) = done {
                assert_eq!(*value.downcast::<Vec<u8>>().unwrap(), b"1");
            }
            tokens.push(token.0);
        }
        assert_eq!(tokens, [1, 2, 3, 4]);
        assert!(!sim.disk().exists(Path::new("/d/h")));
    }
}

#[test]
fn same_seed_same_trace() {
    let run = |seed| {
        let (sim, mut world, file) = machine(seed);
        for i in 0..20 {
            world.write(&file, (i % 16) * BLOCK as u64, block(i as u8), Token(i));
            world.sync(&file, Token(100 + i));
        }
        for _ in 0..40 {
            one(&mut world);
        }
        sim.power_cut();
        (sim.trace(), sim.now(), content(&sim))
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

#[test]
fn time_passes_only_as_needed() {
    let (_, mut world, _) = machine(5);
    let before = world.now();
    let mut events = Vec::new();
    world.turn(before.plus_ms(250), &mut events);
    assert!(events.is_empty());
    assert_eq!(world.now(), before.plus_ms(250));
}
