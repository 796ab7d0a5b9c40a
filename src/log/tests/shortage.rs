//! Errors at every disk operation, for a while: what fails before anything was written is tried again by itself, what
//! fails after fences.
//!
//! EMFILE while a segment was opened (many connections were enough), or ENOSPC while space was reserved, fenced partitions
//! until a restart; a fenced partition was not trimmed either, so that a full disk stayed full.

use super::*;
use crate::base::prng::Prng;
use crate::base::{Ticks, WallMs};
use crate::io::sim::{DiskFault, DiskOp};
use std::collections::BTreeMap;

/// How soon everything works again after the cause has ended, milliseconds.
const AGAIN_MS: i64 = 5000;

/// Errors before anything was written, or of what can be written again whole: operation, part of the path, error numbers.
const BEFORE: &[(DiskOp, &str, &[i32])] = &[
    (DiskOp::Open, "", &[libc::EMFILE, libc::ENFILE, libc::ENOSPC, libc::EIO, libc::EACCES]),
    (DiskOp::Open, "index", &[libc::EMFILE, libc::ENOSPC]),
    (DiskOp::Allocate, "", &[libc::ENOSPC, libc::EDQUOT, libc::EIO, libc::ENOMEM]),
    (DiskOp::Write, ".log", &[libc::ENOSPC, libc::EDQUOT, libc::ENOMEM]),
    (DiskOp::Write, "index", &[libc::ENOSPC, libc::EIO]),
    (DiskOp::Write, ".snapshot", &[libc::ENOSPC, libc::EIO]),
    (DiskOp::Sync, "index", &[libc::EIO, libc::ENOSPC]),
    (DiskOp::SyncDir, "", &[libc::EIO, libc::EMFILE, libc::ENOSPC]),
    (DiskOp::Remove, "", &[libc::EIO, libc::EACCES]),
];

/// Errors after which nobody knows what the blocks hold.
const AFTER: &[(DiskOp, &str, &[i32])] =
    &[(DiskOp::Write, ".log", &[libc::EIO, libc::EROFS]), (DiskOp::Sync, ".log", &[libc::EIO, libc::ENOSPC])];

fn random_fault(prng: &mut Prng, table: &[(DiskOp, &str, &[i32])]) -> DiskFault {
    let (op, path, errnos) = table[prng.below(table.len() as u64) as usize];
    let errno = errnos[prng.below(errnos.len() as u64) as usize];
    DiskFault { path_contains: path.into(), op, errno, skip: prng.below(4) as u32, times: u32::MAX }
}

/// A partition whose owner calls it when it asks to be.
struct Rig {
    m: Machine,
    retry_at: Ticks,
    /// Times that something was put off while nothing was.
    episodes: usize,
    resumed: usize,
    /// Appended, by offset.
    values: BTreeMap<Offset, Vec<u8>>,
}

impl Rig {
    fn new(seed: u64, config: LogConfig) -> Rig {
        let m = Machine::new(seed, config);
        Rig { m, retry_at: Ticks::NEVER, episodes: 0, resumed: 0, values: BTreeMap::new() }
    }

    fn take_effects(&mut self) {
        let waited = self.retry_at != Ticks::NEVER;
        let mut waits = waited;
        self.m.effects.retain(|effect| match effect {
            LogEffect::PutOff { retry_at, .. } => {
                self.episodes += usize::from(!waits);
                (self.retry_at, waits) = (*retry_at, true);
                false
            }
            LogEffect::Resumed => {
                assert!(waits, "resumed without having waited");
                self.resumed += 1;
                (self.retry_at, waits) = (Ticks::NEVER, false);
                false
            }
            _ => true,
        });
    }

    /// Lets the clock run for so long.
    fn run_ms(&mut self, ms: i64) {
        let end = self.m.world.now().plus_ms(ms);
        while self.m.world.now() < end {
            self.take_effects();
            let mut events = Vec::new();
            self.m.world.turn(end.min(self.retry_at), &mut events);
            for event in events {
                let Event::Disk(token, outcome) = event else { panic!("only the disk speaks") };
                let (partition, mut env, effects) = self.m.parts();
                partition.on_disk(&mut env, token.0 as u32, outcome, effects);
            }
            self.take_effects();
            if self.m.world.now() >= self.retry_at {
                self.retry_at = self.m.world.now().plus_ms(2000);
                let (partition, mut env, effects) = self.m.parts();
                partition.retry(&mut env, effects);
            }
        }
        self.take_effects();
    }

    fn append(&mut self, prng: &mut Prng) -> bool {
        let size = [50, 3000, 15_000][prng.below(3) as usize];
        let value: Vec<u8> = (0..size).map(|_| prng.below(256) as u8).collect();
        match self.m.append(&batch(1, &value)) {
            Ok(appended) => {
                let other = self.values.insert(appended.base_offset, value);
                assert!(other.is_none(), "offset {} is used twice", appended.base_offset);
                true
            }
            Err(_) => false,
        }
    }

    fn sync(&mut self) {
        let (partition, mut env, effects) = self.m.parts();
        partition.sync_now(&mut env, effects);
    }

    fn trim(&mut self, prng: &mut Prng) -> Result<Offset, LogError> {
        let durable = self.m.partition.durable_end_offset();
        let start = self.m.partition.log_start_offset();
        let before = start + prng.below((durable - start) as u64 + 1) as i64;
        let (partition, mut env, effects) = self.m.parts();
        partition.delete_records(&mut env, before, durable, effects)
    }

    fn retain(&mut self, bytes: i64) {
        self.m.partition.update_config(LogConfig { retention_bytes: bytes, ..self.m.config.clone() });
        let durable = self.m.partition.durable_end_offset();
        let (partition, mut env, effects) = self.m.parts();
        let now: WallMs = env.disk.wall_ms();
        partition.retain(&mut env, now, durable, effects);
        self.m.partition.update_config(self.m.config.clone());
    }

    /// Everything that was acknowledged is there, and nothing else than what was appended.
    fn check(&mut self, what: &str) {
        let (start, durable) = (self.m.partition.log_start_offset(), self.m.partition.durable_end_offset());
        let found = self.m.read_all(start, 1 << 20);
        let wanted: Vec<_> = self.values.range(start..durable).map(|(o, v)| (*o, v.clone())).collect();
        assert!(found == wanted, "{what}: {} records of {} in {start}..{durable}", found.len(), wanted.len());
    }
}

fn config(prng: &mut Prng) -> LogConfig {
    LogConfig {
        segment_bytes: 60_000,
        index_interval_bytes: 1000,
        retention_ms: -1,
        flush_messages: if prng.one_in(2) { 1 } else { i64::MAX },
        ..LogConfig::default()
    }
}

fn some_work(rig: &mut Rig, prng: &mut Prng) {
    match prng.below(10) {
        0..6 => drop(rig.append(prng)),
        6 => rig.sync(),
        7 => drop(rig.trim(prng)),
        8 => rig.retain(prng.below(300_000) as i64),
        _ => {}
    }
    rig.run_ms(prng.below(60) as i64);
}

#[test]
fn what_fails_before_anything_was_written_works_again_by_itself() {
    let mut waited = 0;
    for seed in 0..150 {
        let mut prng = Prng::new(seed);
        let config = config(&mut prng);
        let mut rig = Rig::new(seed, config);
        for _ in 0..2 {
            for _ in 0..prng.below(20) {
                some_work(&mut rig, &mut prng);
            }
            let fault = random_fault(&mut prng, BEFORE);
            rig.m.disk().fail(fault.clone());
            let ends = rig.m.world.now().plus_ms(prng.below(9000) as i64);
            while rig.m.world.now() < ends {
                some_work(&mut rig, &mut prng);
                rig.run_ms(prng.below(400) as i64);
            }
            rig.m.disk().heal();
            rig.run_ms(AGAIN_MS);
            let what = format!("seed {seed}, {fault:?}");
            assert!(rig.m.partition.fenced().is_none(), "{what}: fenced: {:?}", rig.m.partition.fenced());
            assert_eq!(rig.m.partition.put_off_by().map(ToString::to_string), None, "{what}");
            assert_eq!(rig.resumed, rig.episodes, "{what}: told when it begins and when it is over");
            assert!(rig.append(&mut prng), "{what}: appends are taken again");
            rig.run_ms(1000);
            let end = rig.m.partition.log_end_offset();
            assert_eq!(rig.m.partition.durable_end_offset(), end, "{what}: all that was queued is written");
            rig.check(&what);
        }
        waited += rig.episodes;
        let (point, start) = (rig.m.partition.recovery_point(), rig.m.partition.log_start_offset());
        rig.m.sim.kill();
        rig.m.reopen(false, Some(point), Some(start));
        rig.check(&format!("seed {seed}, after a kill"));
    }
    assert!(waited > 100, "only {waited} times was something put off");
}

#[test]
fn what_fails_after_fences_for_good_and_gives_nothing_up() {
    let mut fenced = 0;
    for seed in 0..60 {
        let mut prng = Prng::new(1000 + seed);
        let config = config(&mut prng);
        let mut rig = Rig::new(seed, config);
        for _ in 0..10 {
            some_work(&mut rig, &mut prng);
        }
        rig.m.disk().fail(random_fault(&mut prng, AFTER));
        for _ in 0..20 {
            some_work(&mut rig, &mut prng);
        }
        rig.m.disk().heal();
        rig.run_ms(AGAIN_MS);
        if rig.m.partition.fenced().is_some() {
            fenced += 1;
            assert!(!rig.append(&mut prng), "seed {seed}");
            let (start, size) = (rig.m.partition.log_start_offset(), rig.m.partition.size_bytes());
            assert!(rig.trim(&mut prng).is_err(), "seed {seed}: a damaged disk gives nothing up");
            rig.retain(0);
            let now = (rig.m.partition.log_start_offset(), rig.m.partition.size_bytes());
            assert_eq!(now, (start, size), "seed {seed}");
        }
    }
    assert!(fenced > 20, "{fenced}");
}

/// The disk is full: what is there is served, retention and `DeleteRecords` go on and free it, and appends are taken again.
#[test]
fn a_full_disk_can_empty_itself() {
    for seed in 0..40 {
        let mut prng = Prng::new(2000 + seed);
        let config = config(&mut prng);
        let mut rig = Rig::new(seed, config);
        let capacity = rig.m.disk().used_bytes() + 300_000 + prng.below(300_000);
        rig.m.disk().configure(|disk| disk.capacity_bytes = capacity);
        let mut refused = 0;
        while refused < 5 {
            refused += usize::from(!rig.append(&mut prng));
            rig.run_ms(20);
        }
        let used = rig.m.disk().used_bytes();
        assert!(
            used * 10 >= capacity * 8,
            "seed {seed}: {used} of {capacity} bytes are used before it is full"
        );
        rig.check(&format!("seed {seed}, full"));
        if seed % 2 == 0 {
            rig.retain(100_000);
        } else {
            let durable = rig.m.partition.durable_end_offset();
            let (partition, mut env, effects) = rig.m.parts();
            partition.delete_records(&mut env, durable, durable, effects).expect("deleted on a full disk");
        }
        rig.run_ms(AGAIN_MS);
        assert!(rig.append(&mut prng), "seed {seed}: {:?}", rig.m.partition.put_off_by());
        rig.run_ms(1000);
        assert_eq!(
            rig.m.partition.durable_end_offset(),
            rig.m.partition.log_end_offset(),
            "seed {seed}: {} of {capacity} used, {:?}, {:?}",
            rig.m.disk().used_bytes(),
            rig.m.partition.put_off_by(),
            rig.m.files(),
        );
        rig.check(&format!("seed {seed}, with space"));
    }
}
