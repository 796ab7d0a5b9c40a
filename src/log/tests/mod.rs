//! Partitions on the simulated disk.

#![allow(clippy::case_sensitive_file_extension_comparisons, clippy::large_stack_arrays)]

mod ahead;
mod apache;
mod basics;
mod breadth;
mod by_hand;
mod fenced;
mod journal;
mod lookups;
mod model;
mod reads;
mod recovery;
mod replays;
mod shortage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal::Journal;
use super::*;
use crate::base::limits::LOOKUP_STEP_BYTES;
use crate::base::{Offset, ShardId, Uuid, WallMs};
use crate::io::sim::{Sim, SimConfig, SimDisk, SimWorld};
use crate::io::{Clock, Event, Files, World};
use crate::wire::record::{BatchBuilder, Batches, Scratch, decompressed_here};

pub(super) const SLOT: u32 = 3;

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/data/topic-0")
}

/// A machine with one partition.
pub(super) struct Machine {
    pub(super) sim: Sim<()>,
    pub(super) world: SimWorld<()>,
    pub(super) cache: Cache,
    pub(super) partition: Partition,
    pub(super) effects: Vec<LogEffect>,
    pub(super) config: LogConfig,
    pub(super) next_ticket: u64,
    /// None where every append goes straight to its segment.
    pub(super) journal: Option<Journal>,
    /// What the journal said ([`Machine::replay`]) for [`Machine::reopen`].
    pub(super) acknowledged: Offset,
    /// Whether [`Machine::reopen`] gives the log start as this topic's own.
    pub(super) log_start_is_certain: bool,
}

pub(super) fn batch(records: usize, value: &[u8]) -> Vec<u8> {
    batch_at(1000, records, value)
}

pub(super) fn batch_at(timestamp: WallMs, records: usize, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    for i in 0..records {
        builder.append(timestamp + i as i64, None, Some(value), &[]);
    }
    builder.build()
}

pub(super) fn info() -> AppendInfo {
    AppendInfo {
        origin: AppendOrigin::Client,
        leader_epoch: 0,
        now_ms: 1000,
        timestamp: None,
        transaction_version: 2,
    }
}

/// Offsets and values of all records in some batches.
pub(super) fn records(data: &ReadData) -> Vec<(Offset, Vec<u8>)> {
    let mut scratch = Scratch::new();
    let mut found = Vec::new();
    for slice in &data.slices {
        for view in Batches::new(slice) {
            let view = view.expect("whole, valid batches");
            let base = view.header().base_offset;
            for record in view.records(&mut scratch, 1 << 24).expect("records") {
                let record = record.expect("a record");
                found
                    .push((base + i64::from(record.offset_delta), record.value.unwrap_or_default().to_vec()));
            }
        }
    }
    found
}

impl Partition {
    /// Retention with a checkpoint that is written at once.
    pub(super) fn retain(
        &mut self,
        env: &mut Env,
        now_ms: WallMs,
        high_watermark: Offset,
        effects: &mut Vec<LogEffect>,
    ) {
        if let Some(start) = self.maintain(env, now_ms, high_watermark) {
            self.retain_from(env, now_ms, start, effects).unwrap();
        }
    }
}

impl Machine {
    pub(super) fn new(seed: u64, config: LogConfig) -> Machine {
        Machine::with_cache(seed, config, 1 << 20)
    }

    pub(super) fn with_cache(seed: u64, config: LogConfig, cache_bytes: usize) -> Machine {
        let sim = Sim::new(SimConfig::new(seed, 1));
        let disk = sim.disk();
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let options =
            CreateOptions { slot: SLOT, topic_id: Uuid::from_u128(77), start_offset: 0, now_ms: 1000, seed };
        let partition = Partition::create(disk, &dir(), config.clone(), &options).unwrap();
        let world = sim.world(ShardId(0));
        let cache = Cache::new(cache_bytes);
        Machine {
            sim,
            world,
            cache,
            partition,
            effects: Vec::new(),
            config,
            next_ticket: 0,
            journal: None,
            acknowledged: 0,
            log_start_is_certain: true,
        }
    }

    pub(super) fn disk(&self) -> SimDisk {
        self.sim.disk().clone()
    }

    /// The partition and what its methods need.
    pub(super) fn parts(&mut self) -> (&mut Partition, Env<'_>, &mut Vec<LogEffect>) {
        (
            &mut self.partition,
            Env { disk: &mut self.world, cache: &mut self.cache, journal: self.journal.as_mut() },
            &mut self.effects,
        )
    }

    pub(super) fn append(&mut self, batches: &[u8]) -> Result<Appended, AppendError> {
        self.append_as(batches, info())
    }

    pub(super) fn append_as(&mut self, batches: &[u8], info: AppendInfo) -> Result<Appended, AppendError> {
        let (partition, mut env, _) = self.parts();
        partition.append(&mut env, batches, info)
    }

    /// One turn: hands completions to the partition. Whether there were any.
    pub(super) fn turn(&mut self) -> bool {
        let mut events = Vec::new();
        let until = self.world.now().plus_ms(60_000);
        self.world.turn(until, &mut events);
        let any = !events.is_empty();
        for event in events {
            let Event::Disk(token, outcome) = event else { panic!("only the disk speaks") };
            if token.0 >> 32 == u64::from(super::journal::SLOT) {
                self.journal_on_disk(token.0 as u32, outcome);
                continue;
            }
            assert_eq!(token.0 >> 32, u64::from(SLOT));
            let (partition, mut env, effects) = self.parts();
            partition.on_disk(&mut env, token.0 as u32, outcome, effects);
        }
        any
    }

    /// Turns until the partition is idle.
    pub(super) fn settle(&mut self) {
        while !self.partition.is_idle() {
            assert!(self.turn(), "something is in flight and never ends");
        }
    }

    pub(super) fn read_with(&mut self, request: ReadRequest) -> Result<ReadData, LogError> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let (partition, mut env, _) = self.parts();
        if let Some(result) = partition.read(&mut env, request, ticket) {
            return result;
        }
        loop {
            let position = self
                .effects
                .iter()
                .position(|e| matches!(e, LogEffect::ReadDone { ticket: done, .. } if *done == ticket));
            if let Some(LogEffect::ReadDone { result, .. }) = position.map(|i| self.effects.remove(i)) {
                return result;
            }
            assert!(self.turn(), "the read never ends");
        }
    }

    pub(super) fn read(&mut self, offset: Offset, max_bytes: usize) -> Result<ReadData, LogError> {
        self.read_with(ReadRequest { offset, max_bytes, min_one_message: true, upper: Offset::MAX })
    }

    /// Everything from an offset on.
    pub(super) fn read_all(&mut self, mut offset: Offset, max_bytes: usize) -> Vec<(Offset, Vec<u8>)> {
        let mut all = Vec::new();
        while offset < self.partition.durable_end_offset() {
            let data = self.read(offset, max_bytes).expect("readable");
            assert!(data.next_offset > offset, "no progress at {offset}: {data:?}");
            all.extend(records(&data).into_iter().filter(|(o, _)| *o >= offset));
            offset = data.next_offset;
        }
        all
    }

    pub(super) fn lookup(&mut self, lookup: Lookup) -> Option<OffsetAndTimestamp> {
        let found = self.in_one_step(|m| {
            let (partition, mut env, effects) = m.parts();
            partition.lookup(&mut env, lookup, Offset::MAX, 99, effects)
        });
        if let Some(result) = found {
            return result.unwrap();
        }
        loop {
            self.go_on_lookups();
            let position =
                self.effects.iter().position(|e| matches!(e, LogEffect::LookupDone { ticket: 99, .. }));
            if let Some(LogEffect::LookupDone { result, .. }) = position.map(|i| self.effects.remove(i)) {
                return result.unwrap();
            }
            assert!(self.in_one_step(Machine::turn), "the lookup never ends");
        }
    }

    /// What a core does without looking at anything else: it decompresses only so much.
    fn in_one_step<R>(&mut self, step: impl FnOnce(&mut Machine) -> R) -> R {
        let before = decompressed_here();
        let result = step(self);
        let made = decompressed_here().wrapping_sub(before);
        assert!(made <= LOOKUP_STEP_BYTES, "{made} bytes were made in one step");
        result
    }

    /// Lookups that paused go on, with what the batches have that are to be looked through.
    fn go_on_lookups(&mut self) {
        let is_paused = |e: &LogEffect| matches!(e, LogEffect::LookupPaused { .. });
        while let Some(at) = self.effects.iter().position(is_paused) {
            let LogEffect::LookupPaused { mut paused, .. } = self.effects.remove(at) else { unreachable!() };
            let wanted = Arc::new(());
            let found = paused.take_scan().and_then(|scan| scan.run_long(&Arc::downgrade(&wanted)));
            self.in_one_step(|m| {
                let (partition, mut env, effects) = m.parts();
                partition.go_on(&mut env, &paused, found, effects);
            });
        }
    }

    /// Writes the epochs down, as the owner of the partitions does now and then.
    pub(super) fn save_epochs(&mut self) {
        if let Some((path, bytes)) = self.partition.epochs_to_save() {
            self.disk().write_atomic(&path, &bytes).unwrap();
            self.partition.epochs_saved(true);
        }
    }

    /// Stops cleanly and opens again.
    pub(super) fn restart(&mut self) -> RecoveryReport {
        self.settle();
        let disk = self.disk();
        self.partition.close_clean(&disk).unwrap();
        let point = self.partition.recovery_point();
        let start = self.partition.log_start_offset();
        self.sim.kill();
        self.reopen(true, Some(point), Some(start))
    }

    /// Opens again after a kill or power cut.
    pub(super) fn reopen(
        &mut self,
        clean_shutdown: bool,
        recovery_point: Option<Offset>,
        log_start_offset: Option<Offset>,
    ) -> RecoveryReport {
        self.try_reopen(clean_shutdown, recovery_point, log_start_offset).unwrap()
    }

    pub(super) fn try_reopen(
        &mut self,
        clean_shutdown: bool,
        recovery_point: Option<Offset>,
        log_start_offset: Option<Offset>,
    ) -> Result<RecoveryReport, LogError> {
        self.world = self.sim.world(ShardId(0));
        self.cache = Cache::new(self.cache.bytes_max());
        self.effects.clear();
        let options = OpenOptions {
            slot: SLOT,
            clean_shutdown,
            recovery_point,
            acknowledged: self.acknowledged,
            log_start_offset,
            log_start_is_certain: self.log_start_is_certain,
            now_ms: 5000,
            seed: 1,
        };
        let (partition, report) = Partition::open(&self.disk(), &dir(), self.config.clone(), &options)?;
        self.partition = partition;
        Ok(report)
    }

    pub(super) fn files(&self) -> Vec<String> {
        self.disk().list(&dir()).unwrap().into_iter().map(|e| e.name).collect()
    }

    pub(super) fn file(&self, name: &str) -> Vec<u8> {
        self.disk().read(&dir().join(name)).unwrap()
    }

    pub(super) fn durable(&self) -> Offset {
        self.effects
            .iter()
            .filter_map(|e| match e {
                LogEffect::Durable { log_end_offset } => Some(*log_end_offset),
                _ => None,
            })
            .next_back()
            .unwrap_or(0)
    }
}

/// Small segments, so that tests roll often.
pub(super) fn small() -> LogConfig {
    LogConfig { segment_bytes: 20_000, index_interval_bytes: 1000, ..LogConfig::default() }
}
