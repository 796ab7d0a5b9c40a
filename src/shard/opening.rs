//! Partitions on their way to being open: made or opened in the background, many at a time, those that somebody asks
//! for first. So a broker serves before it has looked at all of its partitions.

use std::any::Any;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::Ticks;
use crate::base::limits::{
    DIRECTORY_RETRY_MS, PARTITION_JOBS_MAX, PARTITIONS_MADE_AT_ONCE, PARTITIONS_OPENED_AT_ONCE,
    SHORTAGE_RETRY_MS_MAX,
};
use crate::base::progress::Progress;
use crate::io::{Disk, DiskOutcome, FileJob, FileJobOutcome, Files};
use crate::log::LogError;

use super::checkpoints::CheckpointBook;
use super::partitions::{OpenSpec, Opened, State, open_all};
use super::shortages::Subject;
use super::tokens::{JobTag, token};
use super::{Shard, metadata_end};

/// What came of opening the partitions of a job, by place.
type Results = Vec<(u32, Result<Opened, LogError>)>;

/// A partition in the queue.
enum Queued {
    /// It is there, and is opened like this.
    Found(Box<OpenSpec>),
    /// It is made. What that needs is gathered when its turn comes: thousands of topics may be created at once.
    New,
}

/// What waits to be opened, and what is being opened.
#[derive(Default)]
pub(super) struct Opening {
    /// By place, so in the order of the metadata.
    queue: BTreeMap<u32, Queued>,
    /// Somebody waits for these.
    urgent: Vec<OpenSpec>,
    /// The places in each job, and whether each is new.
    jobs: BTreeMap<u32, Vec<(u32, bool)>>,
    /// Partitions whose directory another of the same name still uses, and when they ask again.
    waiting: Vec<OpenSpec>,
    ask_at: Option<Ticks>,
    /// Places that could not be opened and are tried again, and whether each is new.
    again: BTreeMap<u32, bool>,
    /// What could not be opened before there was a clock.
    pub(super) failed_first: Vec<(u32, LogError)>,
    last_job: u32,
    /// Jobs of the queue that are under way.
    under_way: usize,
    /// Partitions of the whole broker.
    pub(super) progress: Arc<Progress>,
    /// The broker is stopping: what nobody waits for stays as it is.
    halted: bool,
    /// The directory of the metadata log's.
    metadata_home: Arc<PathBuf>,
}

impl Opening {
    /// Nothing to open yet; `progress` counts the partitions of all cores.
    pub(super) fn new(progress: Arc<Progress>, metadata_home: Arc<PathBuf>) -> Opening {
        Opening { progress, metadata_home, ..Opening::default() }
    }

    /// Puts a partition that is there into the queue.
    pub(super) fn add(&mut self, spec: OpenSpec) {
        self.progress.expect(1);
        self.put_back(spec);
    }

    /// Puts a partition that is to be made into the queue.
    pub(super) fn add_new(&mut self, slot: u32) {
        self.progress.expect(1);
        self.queue.insert(slot, Queued::New);
    }

    fn put_back(&mut self, spec: OpenSpec) {
        self.queue.insert(spec.slot, Queued::Found(Box::new(spec)));
    }

    /// Whether the next in the queue is to be made; None if there is none.
    fn next_is_new(&self) -> Option<bool> {
        let (_, next) = self.queue.first_key_value()?;
        Some(match next {
            Queued::Found(spec) => spec.is_new,
            Queued::New => true,
        })
    }

    /// Somebody waits for this place.
    fn hurry(&mut self, slot: u32) {
        // What is to be made is made with its neighbours: they share a flush.
        if let Entry::Occupied(queued) = self.queue.entry(slot)
            && matches!(queued.get(), Queued::Found(spec) if !spec.is_new)
            && let Queued::Found(spec) = queued.remove()
        {
            self.urgent.push(*spec);
        }
    }

    /// Whether a partition may use its directory now; else it asks again soon.
    fn enters(&mut self, disk: &dyn Disk, book: &CheckpointBook, spec: OpenSpec) -> Option<OpenSpec> {
        if book.enter_dir(&spec.name, spec.key) {
            return Some(spec);
        }
        self.waiting.push(spec);
        self.ask_at.get_or_insert(disk.now().plus_ms(DIRECTORY_RETRY_MS));
        None
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Ticks {
        self.ask_at.unwrap_or(Ticks::NEVER)
    }

    /// Whether no job is under way and none will follow, but for those whose directory is not theirs yet.
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.urgent.is_empty() && (self.halted || self.queue.is_empty())
    }

    fn submit(
        &mut self,
        disk: &mut dyn Disk,
        book: &Arc<CheckpointBook>,
        specs: Vec<OpenSpec>,
        urgent: bool,
    ) {
        self.last_job += 1;
        self.jobs.insert(self.last_job, specs.iter().map(|spec| (spec.slot, spec.is_new)).collect());
        let (book, home) = (book.clone(), self.metadata_home.clone());
        let job = move |files: &dyn Files| -> io::Result<Box<dyn Any + Send>> {
            if let Some(first) = specs.first().filter(|first| first.is_new) {
                metadata_end::flush(files, &home)?;
                book.free_names(files, &first.dirs, specs.iter().map(|spec| (spec.key, &spec.name)))?;
            }
            let results: Results = open_all(files, specs);
            Ok(Box::new(results))
        };
        let job = FileJob::Run(Box::new(job));
        if urgent {
            disk.background(job, token(self.last_job, JobTag::OpenedSoon as u32));
        } else {
            disk.background_slow(job, token(self.last_job, JobTag::Opened as u32));
        }
    }
}

impl Shard {
    /// Submits what may be opened now.
    pub(super) fn open_more(&mut self, disk: &mut dyn Disk) {
        let opening = &mut self.opening;
        while !opening.urgent.is_empty() {
            let left = opening.urgent.split_off(opening.urgent.len().min(PARTITIONS_OPENED_AT_ONCE));
            let next = std::mem::replace(&mut opening.urgent, left).into_iter();
            let specs: Vec<OpenSpec> =
                next.filter_map(|spec| opening.enters(disk, &self.book, spec)).collect();
            if !specs.is_empty() {
                opening.submit(disk, &self.book, specs, true);
            }
        }
        while self.opening.under_way < PARTITION_JOBS_MAX
            && !self.opening.halted
            && !self.opening.queue.is_empty()
        {
            let specs = self.next_specs(disk);
            if !specs.is_empty() {
                self.opening.under_way += 1;
                self.opening.submit(disk, &self.book, specs, false);
            }
        }
    }

    /// The next partitions of the queue, for one job.
    fn next_specs(&mut self, disk: &mut dyn Disk) -> Vec<OpenSpec> {
        let mut specs: Vec<OpenSpec> = Vec::new();
        while let Some(is_new) = self.opening.next_is_new() {
            let max = if is_new { PARTITIONS_MADE_AT_ONCE } else { PARTITIONS_OPENED_AT_ONCE };
            if specs.len() >= max || specs.first().is_some_and(|first| first.is_new != is_new) {
                break;
            }
            match self.next_spec(disk) {
                Some(spec) => specs.extend(self.opening.enters(disk, &self.book, spec)),
                None => self.opening.progress.advance(1),
            }
        }
        specs
    }

    /// The next partition of the queue; None if it needs not, or cannot, be made.
    fn next_spec(&mut self, disk: &mut dyn Disk) -> Option<OpenSpec> {
        let (slot, queued) = self.opening.queue.pop_first()?;
        match queued {
            Queued::Found(spec) => Some(*spec),
            Queued::New if self.partitions.get(slot)?.doomed => {
                self.forget_slot(disk, slot);
                None
            }
            Queued::New => self.spec_of(slot, disk.wall_ms(), true),
        }
    }

    /// Those whose directory was another's ask again, unless their topic is gone as well.
    pub(super) fn ask_for_dirs(&mut self, disk: &mut dyn Disk) {
        if self.opening.deadline() > disk.now() {
            return;
        }
        self.opening.ask_at = None;
        for spec in std::mem::take(&mut self.opening.waiting) {
            if self.partitions.get(spec.slot).is_some_and(|hosted| hosted.doomed) {
                self.forget_slot(disk, spec.slot);
                self.opening.progress.advance(1);
            } else {
                self.opening.put_back(spec);
            }
        }
        self.retry_deferred = true;
        self.open_more(disk);
    }

    /// A job that opened partitions ended.
    pub(super) fn opened(&mut self, disk: &mut dyn Disk, job: u32, urgent: bool, outcome: DiskOutcome) {
        let slots = self.opening.jobs.remove(&job).unwrap_or_default();
        self.opening.progress.advance(slots.len() as u64);
        self.opening.under_way -= usize::from(!urgent);
        let results = match outcome {
            DiskOutcome::Job(Ok(FileJobOutcome::Ran(value))) => {
                value.downcast::<Results>().map_err(|_| LogError::Closed)
            }
            DiskOutcome::Job(Err(error)) => {
                Err(LogError::storage("making partitions in", &self.dirs.paths[0])(error))
            }
            _ => Err(LogError::Closed),
        };
        match results {
            Ok(results) => {
                for (slot, result) in *results {
                    match result {
                        Ok(opened) => {
                            self.waits_no_more(disk, Subject::Partition(slot));
                            self.install(slot, opened);
                        }
                        Err(error) => {
                            let is_new = slots.contains(&(slot, true));
                            self.not_opened(disk, slot, is_new, &error);
                        }
                    }
                }
            }
            Err(error) => {
                for (slot, is_new) in &slots {
                    self.not_opened(disk, *slot, *is_new, &error);
                }
            }
        }
        for (slot, _) in slots {
            if self.partitions.get(slot).is_some_and(|hosted| hosted.doomed) {
                self.remove_coordinator(disk, slot);
                self.delete_slot(disk, slot);
            }
        }
        self.groups_loaded(disk);
        self.retry_deferred = true;
        self.open_more(disk);
    }

    /// What could not be opened before the loop began.
    pub(super) fn note_failed_first(&mut self, disk: &dyn Disk) {
        for (slot, error) in std::mem::take(&mut self.opening.failed_first) {
            self.not_opened(disk, slot, false, &error);
        }
    }

    /// A partition could not be opened: it is tried again, or stays offline.
    pub(super) fn not_opened(&mut self, disk: &dyn Disk, slot: u32, is_new: bool, error: &LogError) {
        if let Some(hosted) = self.partitions.get(slot) {
            self.book.leave_dir(&hosted.name, hosted.key);
        }
        if !error.may_pass() {
            self.waits_no_more(disk, Subject::Partition(slot));
            return self.broken(slot, &error.to_string());
        }
        let LogError::Storage { path, .. } = error else { return };
        self.waits(disk, Subject::Partition(slot), error.lack(), error, Path::new(path));
        if let Some(hosted) = self.partitions.get(slot) {
            hosted.state = State::Broken(error.to_string());
            self.opening.again.insert(slot, is_new);
            self.upkeep.retries.set(slot, disk.now().plus_ms(SHORTAGE_RETRY_MS_MAX));
        }
    }

    /// Opens a partition that could not be opened; whether it is one of those.
    pub(super) fn reopen(&mut self, disk: &mut dyn Disk, slot: u32) -> bool {
        let Some(is_new) = self.opening.again.remove(&slot) else { return false };
        if !self.opening.halted
            && let Some(spec) = self.spec_again(slot, disk.wall_ms(), is_new)
        {
            self.opening.progress.expect(1);
            self.opening.urgent.push(spec);
            self.open_more(disk);
        }
        true
    }

    /// A place is not opened again.
    pub(super) fn not_again(&mut self, slot: u32) {
        self.opening.again.remove(&slot);
    }

    /// Whether a partition is not open yet; it then becomes one of the next.
    pub(super) fn is_opening(&mut self, slot: u32) -> bool {
        let opening = self.partitions.get(slot).is_some_and(|hosted| hosted.is_opening());
        if opening {
            self.opening.hurry(slot);
        }
        opening
    }

    /// The broker stops: what was closed cleanly and nobody has asked for since needs not to be opened any more.
    pub fn halt_opening(&mut self) {
        self.opening.halted = self.book.clean_shutdown();
    }

    /// Whether nothing is being opened, and nothing will be.
    pub(super) fn opening_is_idle(&self) -> bool {
        self.opening.is_idle()
    }
}
