//! What one core owns: its partitions, the group coordinators that live in them, and on core 0 the controller.
//! Jobs come in by mail, answers go out by mail; nothing here waits.

mod append;
mod behind;
mod changes;
pub mod checkpoints;
pub mod controller;
pub mod effective;
mod group_queue;
pub mod groups;
mod lifecycle;
mod lookup;
mod lookup_turns;
pub mod mail;
pub mod metadata_end;
mod opening;
pub mod partitions;
mod read;
pub mod shortages;
pub mod strays;
pub mod tokens;
mod trim;
mod upkeep;
mod watches;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use slab::Slab;

use crate::base::prng::Prng;
use crate::base::progress::Progress;
use crate::base::{IdMap, Offset, ShardId, Ticks};
use crate::config::BrokerConfig;
use crate::io::repeats::limited;
use crate::io::{Disk, DiskOutcome, Token};
use crate::log::journal::{Journal, Outcome};
use crate::log::{Cache, Env, LogEffect, LogError, Partition};
use crate::meta::image::{Delta, Image};
use crate::wire::errors::ErrorCode;

use checkpoints::CheckpointBook;
use controller::ControllerHost;
use effective::Effective;
use groups::Groups;
pub use lifecycle::OFFSETS_TOPIC;
pub use mail::{
    AppendDone, AppendPart, ControlJob, Done, EpochPart, GroupJob, Job, Mail, OffsetsPart, PartitionKey,
    PartitionSize, ReadDone, ReadJob, ReadPart, ReplyTo,
};
use opening::Opening;
use partitions::{Hosted, Leadership, Partitions, State};
use shortages::Shortages;
use tokens::Of;
use upkeep::Upkeep;

/// A log directory of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirs {
    /// Their paths, in the order of the configuration.
    pub paths: Arc<Vec<PathBuf>>,
    /// The one with the metadata log, which need not be among them.
    pub metadata: Arc<PathBuf>,
}

impl LogDirs {
    /// All of them, each once.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        let apart = (!self.paths.contains(&self.metadata)).then_some(&*self.metadata);
        self.paths.iter().chain(apart)
    }
}

/// One core's share of the broker.
pub struct Shard {
    id: ShardId,
    shards: usize,
    effective: Effective,
    image: Arc<Image>,
    /// This broker's epoch when the process began: of an earlier one.
    epoch_at_start: Option<i64>,
    dirs: LogDirs,
    partitions: Partitions,
    opening: Opening,
    cache: Cache,
    journal: Journal,
    journal_outcomes: Vec<Outcome>,
    /// Nothing is held back any more: the process is about to end.
    writes_through: bool,
    append_jobs: Slab<append::AppendJob>,
    /// Who waited for an append that has just become durable.
    released: Vec<partitions::Waiter>,
    read_jobs: IdMap<u64, read::ReadState>,
    lookups: lookup_turns::Lookups,
    watches: watches::Watches,
    /// Used again: the partitions of a watch that begins.
    watched: Vec<u32>,
    /// Disk reads and lookups in flight: of which partition's place, for which job's which part.
    tickets: BTreeMap<u64, (u32, u64, usize)>,
    deletions: lookup::Deletions,
    last_number: u64,
    groups: Groups,
    controller: Option<Box<ControllerHost>>,
    book: Arc<CheckpointBook>,
    shortages: Arc<Shortages>,
    /// Jobs from a future image, or for partitions that are being opened.
    deferred: Vec<(ReplyTo, Offset, Job)>,
    retry_deferred: bool,
    next_maintenance: Ticks,
    upkeep: Upkeep,
    unfinished: Vec<PathBuf>,
    outbox: Vec<(ShardId, Mail)>,
    effects: Vec<(u32, LogEffect)>,
    /// Of one call of a log.
    log_effects: Vec<LogEffect>,
}

/// What a shard is made of at start.
pub struct ShardParts {
    /// This core.
    pub id: ShardId,
    /// The number of cores.
    pub shards: usize,
    /// The broker's configuration.
    pub config: Arc<BrokerConfig>,
    /// The metadata at start.
    pub image: Arc<Image>,
    /// Log directories.
    pub dirs: LogDirs,
    /// Bytes of the read cache.
    pub cache_bytes: usize,
    /// The journal.
    pub journal: Journal,
    /// The checkpoints of all cores.
    pub book: Arc<CheckpointBook>,
    /// What waits in the process for what the disk lacks.
    pub shortages: Arc<Shortages>,
    /// Partitions of the broker, and how many are open.
    pub progress: Arc<Progress>,
    /// From a random source: what the ids of group members are made from.
    pub seed: u64,
    /// Directories of deletions that the last run did not finish.
    pub unfinished: Vec<PathBuf>,
}

impl Shard {
    /// A shard without partitions; [`Shard::open_all`] opens them.
    pub fn new(parts: ShardParts) -> Shard {
        Shard {
            epoch_at_start: broker_epoch(&parts.image, parts.config.node_id),
            id: parts.id,
            shards: parts.shards,
            groups: Groups::new(&parts.config, Prng::new(parts.seed)),
            effective: Effective::new(parts.config, &parts.image),
            image: parts.image,
            partitions: Partitions::default(),
            opening: Opening::new(parts.progress, parts.dirs.metadata.clone()),
            dirs: parts.dirs,
            cache: Cache::new(parts.cache_bytes),
            journal: parts.journal,
            journal_outcomes: Vec::new(),
            writes_through: false,
            append_jobs: Slab::new(),
            released: Vec::new(),
            read_jobs: IdMap::default(),
            lookups: lookup_turns::Lookups::default(),
            watches: watches::Watches::default(),
            watched: Vec::new(),
            tickets: BTreeMap::new(),
            deletions: lookup::Deletions::default(),
            last_number: 0,
            controller: None,
            book: parts.book,
            shortages: parts.shortages,
            deferred: Vec::new(),
            retry_deferred: false,
            next_maintenance: Ticks::NEVER,
            upkeep: Upkeep::default(),
            unfinished: parts.unfinished,
            outbox: Vec::new(),
            effects: Vec::new(),
            log_effects: Vec::new(),
        }
    }

    /// The metadata that this core has seen.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Coordinators whose partitions were opened at start begin to serve; the other partitions are opened.
    pub fn begin(&mut self, disk: &mut dyn Disk) {
        let delay_ms = self.effective.statics().log_initial_task_delay_ms;
        self.next_maintenance = disk.now().plus_ms(delay_ms);
        for dir in std::mem::take(&mut self.unfinished) {
            partitions::remove_later(disk, dir);
        }
        self.note_failed_first(disk);
        self.groups_loaded(disk);
        self.open_more(disk);
        self.settle(disk);
    }

    /// The metadata, and the configurations in force.
    pub fn metadata(&mut self) -> (&Arc<Image>, &mut Effective) {
        (&self.image, &mut self.effective)
    }

    /// Whether this broker is registered, by this process and not by an earlier one, and not fenced.
    pub fn is_registered(&self) -> bool {
        let node_id = self.effective.statics().node_id;
        self.image.cluster().is_active(node_id) && broker_epoch(&self.image, node_id) != self.epoch_at_start
    }

    /// Mail to send, in order; whoever sends it takes it out.
    pub fn outbox(&mut self) -> &mut Vec<(ShardId, Mail)> {
        &mut self.outbox
    }

    /// Whether every partition of this core is open (or broken).
    pub fn is_open(&self) -> bool {
        !self.partitions.any_opening()
    }

    /// Whether nothing is in flight on the disk and nobody waits for it.
    pub fn is_idle(&self) -> bool {
        self.append_jobs.is_empty()
            && self.read_jobs.is_empty()
            && self.deletions.len() == 0
            && self.opening_is_idle()
            && self.upkeep.is_idle()
            && self.partitions.all_idle()
            && self.journal.is_idle()
            && self.controller.as_ref().is_none_or(|c| c.is_idle())
    }

    /// What is in flight and who waits, by name: all zero when nothing is to be done.
    pub fn load(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("append jobs", self.append_jobs.len()),
            ("read jobs", self.read_jobs.len()),
            ("lookup jobs", self.lookups.len()),
            ("disk reads", self.tickets.len()),
            ("watches", self.watches.len()),
            ("deletions", self.deletions.len()),
            ("deferred jobs", self.deferred.len()),
            ("group requests", self.groups.waiting()),
            ("appends that are not durable", self.partitions.pending()),
        ]
    }

    /// Does a job, or puts it off until what it needs is there.
    pub fn run(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, image: Offset, job: Job) {
        self.do_or_defer(disk, reply_to, image, job);
        self.settle(disk);
    }

    fn do_or_defer(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, image: Offset, job: Job) {
        if image > self.image.offset() || self.must_wait(&job) {
            self.open_more(disk);
            self.deferred.push((reply_to, image, job));
            return;
        }
        match job {
            Job::Append { parts, durable } => self.append(disk, reply_to, parts, durable),
            Job::Read(read) => self.read(disk, reply_to, read),
            Job::Offsets(parts) => self.offsets(disk, reply_to, parts),
            Job::Epochs(parts) => self.epochs(reply_to, &parts),
            Job::DeleteRecords(parts) => self.delete_records(disk, reply_to, &parts),
            Job::Producers(keys) => self.producers(reply_to, &keys),
            Job::Sizes(keys) => self.sizes(reply_to, keys.as_deref()),
            Job::Group(group) => self.group(disk, reply_to, *group),
            Job::Control(control) => self.control(disk, reply_to, control),
        }
    }

    /// A disk operation ended.
    pub fn on_disk(&mut self, disk: &mut dyn Disk, token: Token, outcome: DiskOutcome) {
        match Of::token(token) {
            Of::Checkpoint => self.checkpoint_written(disk, outcome),
            Of::Scan => self.scanned(disk, outcome),
            Of::Journal(tag) => self.journal_on_disk(disk, tag, outcome),
            Of::Controller(tag) => self.controller_on_disk(disk, tag, outcome),
            Of::Epochs(job) => self.epochs_saved(disk, job, outcome),
            Of::Opened(job, soon) => self.opened(disk, job, soon, outcome),
            Of::Nobody => {}
            Of::Log(slot, tag) => {
                let was_backlogged = self.is_backlogged(slot);
                self.with_log(disk, slot, |log, env, effects| log.on_disk(env, tag, outcome, effects));
                // What is written may have been durable long before, so that nothing else tells.
                self.retry_deferred |= was_backlogged && !self.is_backlogged(slot);
            }
        }
        self.settle(disk);
    }

    /// The metadata changed.
    pub fn on_metadata(&mut self, disk: &mut dyn Disk, image: Arc<Image>, delta: &Delta) {
        self.image = image;
        if let Some(own) = self.image.cluster().broker(self.effective.statics().node_id) {
            self.book.set_broker_epoch(own.broker_epoch);
        }
        self.effective.update(&self.image, delta);
        self.apply_delta(disk, delta);
        self.retry_deferred = true;
        self.settle(disk);
    }

    /// A home has lost interest in a read: in its watch, or in all of it if it has not begun; or in a request for a coordinator.
    pub fn forget(&mut self, reply_to: ReplyTo) {
        self.deferred.retain(|(of, _, _)| *of != reply_to);
        self.watches.forget(reply_to);
        self.end_watches();
        self.forget_lookups(reply_to);
        self.groups.forget(reply_to);
    }

    /// When [`Shard::expire`] wants to be called.
    pub fn deadline(&self) -> Ticks {
        let upkeep = self.upkeep.deadline().min(self.journal.deadline()).min(self.opening.deadline());
        self.next_maintenance.min(self.groups.deadline()).min(upkeep)
    }

    /// Everything that hangs on time.
    pub fn expire(&mut self, disk: &mut dyn Disk) {
        let now = disk.now();
        if self.next_maintenance <= now {
            self.next_maintenance = now.plus_ms(self.maintenance_interval_ms());
            self.maintain(disk);
        }
        self.expire_upkeep(disk);
        self.expire_groups(disk);
        self.expire_controller(disk);
        self.settle(disk);
    }

    /// A number never used before in this core.
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn answer(&mut self, reply_to: ReplyTo, done: Done) {
        self.outbox.push((reply_to.shard, Mail::Done(reply_to, done)));
    }

    /// Calls an open log, gathering its effects. None if there is none.
    fn with_log<R>(
        &mut self,
        disk: &mut dyn Disk,
        slot: u32,
        call: impl FnOnce(&mut Partition, &mut Env<'_>, &mut Vec<LogEffect>) -> R,
    ) -> Option<R> {
        let log = self.partitions.get(slot)?.log()?;
        let journal = (!self.writes_through).then_some(&mut self.journal);
        let env = &mut Env { disk, cache: &mut self.cache, journal };
        let result = call(log, env, &mut self.log_effects);
        self.effects.extend(self.log_effects.drain(..).map(|e| (slot, e)));
        Some(result)
    }

    /// Carries out what logs and coordinators have asked for, until nothing is left.
    fn settle(&mut self, disk: &mut dyn Disk) {
        let mut effects = Vec::new();
        loop {
            std::mem::swap(&mut effects, &mut self.effects);
            for (slot, effect) in effects.drain(..) {
                self.on_effect(disk, slot, effect);
            }
            if self.effects.is_empty() {
                std::mem::swap(&mut effects, &mut self.effects); // keeps its memory
            }
            let refused = self.groups_refused(disk);
            if std::mem::take(&mut self.retry_deferred) {
                for (reply_to, image, job) in std::mem::take(&mut self.deferred) {
                    self.do_or_defer(disk, reply_to, image, job);
                }
            }
            if self.effects.is_empty() && !refused && !self.retry_deferred {
                return;
            }
        }
    }

    fn on_effect(&mut self, disk: &mut dyn Disk, slot: u32, effect: LogEffect) {
        match effect {
            LogEffect::Durable { log_end_offset } => {
                self.note_written(disk, slot);
                self.durable(disk, slot, log_end_offset);
            }
            LogEffect::PutOff { error, retry_at, give_up } => {
                self.put_off(disk, slot, &error, retry_at, give_up);
            }
            LogEffect::Resumed => self.resumed(disk, slot),
            LogEffect::Failed { error } => self.log_failed(disk, slot, &error),
            LogEffect::ReadDone { ticket, result } => self.read_done(ticket, result),
            LogEffect::LookupDone { ticket, result } => self.lookup_done(ticket, result),
            LogEffect::LookupPaused { ticket, paused } => self.lookup_paused(disk, ticket, paused),
            LogEffect::Flushed { .. } | LogEffect::LogStartMoved { .. } => {
                self.note_written(disk, slot);
                self.note_checkpoint(slot);
            }
            LogEffect::Truncated { .. } => {}
            LogEffect::Deleted { result } => {
                let renamed = result.unwrap_or_else(|error| {
                    limited!(warn, "the directory of a deleted partition could not be removed", %error, "a deleted partition's directory could not be removed");
                    None
                });
                if let Some(hosted) = self.partitions.get(slot) {
                    partitions::leave_later(disk, &self.book, (hosted.name.clone(), hosted.key), renamed);
                }
                self.cache_forget(slot);
                self.forget_slot(disk, slot);
                self.close_tickets(slot);
            }
            LogEffect::Warning(text) => limited!(warn, "a warning of a partition", by "", of text, "{text}"),
            LogEffect::Damage(text) => tracing::warn!("{text}"),
        }
    }

    /// Ends what still reads in a partition that is gone.
    fn close_tickets(&mut self, slot: u32) {
        let open: Vec<(u64, u64)> =
            self.tickets.iter().filter(|(_, t)| t.0 == slot).map(|(ticket, t)| (*ticket, t.1)).collect();
        for (ticket, job) in open {
            if self.read_jobs.contains_key(&job) {
                self.read_done(ticket, Err(LogError::Closed));
            } else {
                self.lookup_done(ticket, Err(LogError::Closed));
            }
        }
    }

    /// The partition of a job that only has its key, or the error to answer with.
    fn open_partition(&mut self, key: PartitionKey) -> Result<(u32, &mut Hosted), ErrorCode> {
        let Some((slot, hosted)) = self.partitions.find(key) else {
            let topic = self.image.topics().get_by_id(key.topic_id);
            let known = topic.is_some_and(|t| t.partitions.contains_key(&key.partition));
            return Err(if known {
                ErrorCode::NOT_LEADER_OR_FOLLOWER
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            });
        };
        match hosted.state {
            State::Open(_) => Ok((slot, hosted)),
            State::Opening => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            State::Broken(_) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }

    /// Checks the leader epoch that a client believes in (KIP-320); -1 is not checked.
    fn check_epoch(&self, key: PartitionKey, epoch: i32) -> Result<(), ErrorCode> {
        if epoch == -1 {
            return Ok(());
        }
        let current = self.leader_epoch(key);
        match epoch {
            e if e < current => Err(ErrorCode::FENCED_LEADER_EPOCH),
            e if e > current => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    fn leader_epoch(&self, key: PartitionKey) -> i32 {
        self.partitions.peek(key).map_or_else(|| self.leadership(key).epoch, |hosted| hosted.leadership.epoch)
    }

    /// What the metadata says of a partition.
    fn leadership(&self, key: PartitionKey) -> Leadership {
        let topic = self.image.topics().get_by_id(key.topic_id);
        let state = topic.and_then(|t| t.partitions.get(&key.partition));
        state.map_or_else(Leadership::default, |state| Leadership {
            epoch: state.leader_epoch,
            in_sync: state.isr.len() as i32,
            replicas: state.replicas.len() as i32,
        })
    }
}

fn broker_epoch(image: &Image, node_id: i32) -> Option<i64> {
    image.cluster().broker(node_id).map(|broker| broker.broker_epoch)
}
