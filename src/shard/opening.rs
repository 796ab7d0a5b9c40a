//! Partitions on their way to being open: made or opened in the background, many at a time, those that somebody asks
//! for first. So a broker serves before it has looked at all of its partitions.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::base::limits::{PARTITION_JOBS_MAX, PARTITIONS_MADE_AT_ONCE, PARTITIONS_OPENED_AT_ONCE};
use crate::io::{Disk, DiskOutcome, FileJob, FileJobOutcome, Files};

use super::Shard;
use super::checkpoints::CheckpointBook;
use super::partitions::{OPENED_SOON_TAG, OPENED_TAG, OpenSpec, Opened, open_all, token};

/// What came of opening the partitions of a job, by place.
type Results = Vec<(u32, io::Result<Opened>)>;

/// What waits to be opened, and what is being opened.
#[derive(Default)]
pub(super) struct Opening {
    /// By place, so in the order of the metadata.
    queue: BTreeMap<u32, OpenSpec>,
    /// Somebody waits for these.
    urgent: Vec<OpenSpec>,
    /// The places in each job.
    jobs: BTreeMap<u32, Vec<u32>>,
    last_job: u32,
    /// Jobs of the queue that are under way.
    under_way: usize,
    /// The broker is stopping: what nobody waits for stays as it is.
    halted: bool,
}

impl Opening {
    /// Puts a partition into the queue.
    pub(super) fn add(&mut self, spec: OpenSpec) {
        self.queue.insert(spec.slot, spec);
    }

    /// Somebody waits for this place.
    fn hurry(&mut self, slot: u32) {
        // What is to be made is made with its neighbours: they share a flush.
        if self.queue.get(&slot).is_some_and(|spec| !spec.is_new) {
            self.urgent.extend(self.queue.remove(&slot));
        }
    }

    /// Whether no job is under way and none will follow.
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
        self.jobs.insert(self.last_job, specs.iter().map(|spec| spec.slot).collect());
        let book = book.clone();
        let job = move |files: &dyn Files| -> io::Result<Box<dyn Any + Send>> {
            if let Some(first) = specs.first().filter(|first| first.is_new) {
                book.free_names(files, &first.dirs, specs.iter().map(|spec| (spec.key, &spec.name)))?;
            }
            let results: Results = open_all(files, specs);
            Ok(Box::new(results))
        };
        let job = FileJob::Run(Box::new(job));
        if urgent {
            disk.background(job, token(self.last_job, OPENED_SOON_TAG));
        } else {
            disk.background_slow(job, token(self.last_job, OPENED_TAG));
        }
    }
}

impl Shard {
    /// Submits what may be opened now.
    pub(super) fn open_more(&mut self, disk: &mut dyn Disk) {
        let opening = &mut self.opening;
        while !opening.urgent.is_empty() {
            let specs = opening.urgent.drain(..opening.urgent.len().min(PARTITIONS_OPENED_AT_ONCE)).collect();
            opening.submit(disk, &self.book, specs, true);
        }
        while opening.under_way < PARTITION_JOBS_MAX && !opening.halted && !opening.queue.is_empty() {
            let mut specs: Vec<OpenSpec> = Vec::new();
            while let Some(next) = opening.queue.first_entry() {
                let is_new = next.get().is_new;
                let max = if is_new { PARTITIONS_MADE_AT_ONCE } else { PARTITIONS_OPENED_AT_ONCE };
                if specs.len() >= max || specs.first().is_some_and(|first| first.is_new != is_new) {
                    break;
                }
                specs.push(next.remove());
            }
            opening.under_way += 1;
            opening.submit(disk, &self.book, specs, false);
        }
    }

    /// A job that opened partitions ended.
    pub(super) fn opened(&mut self, disk: &mut dyn Disk, job: u32, urgent: bool, outcome: DiskOutcome) {
        let slots = self.opening.jobs.remove(&job).unwrap_or_default();
        self.opening.under_way -= usize::from(!urgent);
        let results = match outcome {
            DiskOutcome::Job(Ok(FileJobOutcome::Ran(value))) => {
                value.downcast::<Results>().map_err(|_| "the background job gave something else".to_owned())
            }
            DiskOutcome::Job(Err(error)) => Err(error.to_string()),
            _ => Err("the background job gave nothing".to_owned()),
        };
        match results {
            Ok(results) => {
                for (slot, result) in *results {
                    match result {
                        Ok(opened) => self.install(slot, opened),
                        Err(error) => self.broken(slot, &error.to_string()),
                    }
                }
            }
            Err(error) => slots.iter().for_each(|slot| self.broken(*slot, &error)),
        }
        for slot in slots {
            if self.partitions.get(slot).is_some_and(|hosted| hosted.doomed) {
                self.remove_coordinator(disk, slot);
                self.delete_slot(disk, slot);
            }
        }
        self.groups_loaded(disk);
        self.retry_deferred = true;
        self.open_more(disk);
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
