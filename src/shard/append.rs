//! Appends: in, and acknowledged when durable.

use bytes::Bytes;

use crate::base::limits::PARTITION_PENDING_BYTES_MAX;
use crate::base::{Offset, WallMs};
use crate::io::Disk;
use crate::log::{AppendError, AppendInfo, AppendOrigin, LogError, Partition};
use crate::wire::errors::ErrorCode;

use super::partitions::Waiter;
use super::{AppendDone, AppendPart, Done, Hosted, Job, ReplyTo, Shard};

/// An append whose parts are not all durable.
pub(super) struct AppendJob {
    reply_to: ReplyTo,
    parts: Vec<AppendPart>,
    outstanding: usize,
}

impl Shard {
    pub(super) fn append(
        &mut self,
        disk: &mut dyn Disk,
        reply_to: ReplyTo,
        mut parts: Vec<AppendPart>,
        durable: bool,
    ) {
        let job = self.append_jobs.vacant_key();
        let now_ms = disk.wall_ms();
        let mut outstanding = 0;
        for (place, part) in parts.iter_mut().enumerate() {
            let waiter = if durable { Waiter::Job(job, place) } else { Waiter::Nobody };
            match self.append_part(disk, part, now_ms, waiter) {
                Ok((done, waits)) => {
                    outstanding += usize::from(waits);
                    part.done = done;
                }
                Err(refused) => part.done = refused,
            }
            part.batches = Bytes::new();
        }
        if outstanding == 0 {
            self.answer(reply_to, Done::Append(parts));
        } else {
            self.append_jobs.insert(AppendJob { reply_to, parts, outstanding });
        }
    }

    /// Appends wait for partitions that are being opened, while the disk is behind (their frames stay in the connections'
    /// budgets, so that clients slow down) and behind an earlier append to the same partition that waits: a producer's
    /// batches keep their order.
    pub(super) fn append_must_wait(&mut self, parts: &[AppendPart]) -> bool {
        let waits_for = |key| {
            self.deferred.iter().any(|(_, _, earlier)| match earlier {
                Job::Append { parts, .. } => parts.iter().any(|p| p.key == key),
                _ => false,
            })
        };
        let mut waits = !self.deferred.is_empty() && parts.iter().any(|p| waits_for(p.key));
        // All of them, so that they are opened together.
        for part in parts {
            let Some((slot, hosted)) = self.partitions.find(part.key) else { continue };
            match hosted.log() {
                Some(log) => waits |= is_backlogged(log),
                None => waits |= self.is_opening(slot),
            }
        }
        waits
    }

    /// Whether so much of a partition waits to be written that its appends have to wait.
    pub(super) fn is_backlogged(&mut self, slot: u32) -> bool {
        self.partitions.get(slot).and_then(Hosted::log).is_some_and(|log| is_backlogged(log))
    }

    /// Appends one part; tells whether its waiter was left to wait.
    fn append_part(
        &mut self,
        disk: &mut dyn Disk,
        part: &AppendPart,
        now_ms: WallMs,
        waiter: Waiter,
    ) -> Result<(AppendDone, bool), AppendDone> {
        let (slot, hosted) = self.open_partition(part.key).map_err(|code| AppendDone::error(code, None))?;
        let leadership = hosted.leadership;
        let log_start_offset = hosted.log().map_or(-1, |log| log.log_start_offset());
        if part.done.error != ErrorCode::NONE {
            return Err(AppendDone { log_start_offset, ..part.done.clone() });
        }
        // No more can be asked for than there are (KIP-966).
        if leadership.in_sync < part.min_insync.min(leadership.replicas) {
            return Err(AppendDone::error(ErrorCode::NOT_ENOUGH_REPLICAS, None));
        }
        let info = AppendInfo {
            origin: AppendOrigin::Client,
            leader_epoch: leadership.epoch,
            now_ms,
            timestamp: part.timestamp,
            transaction_version: 0,
        };
        let appended = self.with_log(disk, slot, |log, env, _| {
            (log.append(env, &part.batches, info), log.durable_end_offset())
        });
        let Some((appended, durable_end)) = appended else {
            return Err(AppendDone::error(ErrorCode::NOT_LEADER_OR_FOLLOWER, None));
        };
        let appended = appended.map_err(|e| {
            let log_start_offset = if matches!(e, AppendError::Log(_)) { -1 } else { log_start_offset };
            AppendDone { log_start_offset, ..AppendDone::error(append_error_code(&e), None) }
        })?;
        let end = appended.last_offset + 1;
        let waits = end > durable_end;
        if let Some(hosted) = self.partitions.get(slot).filter(|_| waits) {
            let bytes = if appended.duplicate { 0 } else { part.batches.len() };
            hosted.wait(end, bytes, waiter);
        }
        let done = AppendDone {
            error: ErrorCode::NONE,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset,
            message: None,
        };
        Ok((done, waits && waiter != Waiter::Nobody))
    }

    /// Everything below `end` is on the device: it becomes visible, and who waited is told.
    pub(super) fn durable(&mut self, disk: &mut dyn Disk, slot: u32, end: Offset) {
        let Some(hosted) = self.partitions.get(slot) else { return };
        let mut waiters = std::mem::take(&mut self.released);
        let bytes = hosted.release(end, &mut waiters);
        for waiter in waiters.drain(..) {
            self.resolve(disk, slot, waiter, None);
        }
        self.released = waiters;
        self.count_for_watches(slot, bytes);
        self.retry_deferred |= !self.deferred.is_empty();
    }

    /// The log takes no more: who waits is told.
    pub(super) fn log_failed(&mut self, disk: &mut dyn Disk, slot: u32, error: &LogError) {
        let Some(hosted) = self.partitions.get(slot) else { return };
        tracing::error!(partition = %hosted.name, %error, "the partition is fenced: it takes no more records until a restart");
        // A coordinator cannot know which of its records are in the log now.
        self.remove_coordinator(disk, slot);
        self.fail_waiters(disk, slot, ErrorCode::KAFKA_STORAGE_ERROR);
    }

    pub(super) fn fail_waiters(&mut self, disk: &mut dyn Disk, slot: u32, code: ErrorCode) {
        let waiters = self.partitions.get(slot).map(super::Hosted::give_up).unwrap_or_default();
        for waiter in waiters {
            self.resolve(disk, slot, waiter, Some(code));
        }
        self.retry_deferred = true;
    }

    /// What was appended stays in the queue, but nobody waits for it any more.
    pub(super) fn disown_waiters(&mut self, disk: &mut dyn Disk, slot: u32, code: ErrorCode) {
        let waiters = self.partitions.get(slot).map(super::Hosted::disown).unwrap_or_default();
        for waiter in waiters {
            self.resolve(disk, slot, waiter, Some(code));
        }
    }

    fn resolve(&mut self, disk: &mut dyn Disk, slot: u32, waiter: Waiter, error: Option<ErrorCode>) {
        match waiter {
            Waiter::Nobody | Waiter::Controller => {}
            Waiter::Job(number, place) => self.resolve_part(number, place, error),
            Waiter::Coordinator(append) => self.group_appended(disk, slot, append, error),
        }
    }

    fn resolve_part(&mut self, number: usize, place: usize, error: Option<ErrorCode>) {
        let Some(job) = self.append_jobs.get_mut(number) else { return };
        if let Some(code) = error {
            job.parts[place].done = AppendDone::error(code, None);
        }
        job.outstanding -= 1;
        if job.outstanding == 0 {
            let job = self.append_jobs.remove(number);
            self.answer(job.reply_to, Done::Append(job.parts));
        }
    }
}

fn is_backlogged(log: &Partition) -> bool {
    log.pending_bytes() > PARTITION_PENDING_BYTES_MAX && log.put_off_by().is_none()
}

/// Kafka's code for a refused append.
pub fn append_error_code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Log(e) => log_error_code(e),
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        AppendError::InvalidTransactionState(_) => ErrorCode::INVALID_TXN_STATE,
        AppendError::CoordinatorFenced { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
        AppendError::DuplicateSequence(_) => ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
        AppendError::TooLarge { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        AppendError::Malformed(_) => ErrorCode::CORRUPT_MESSAGE,
        AppendError::Backlog(_) => ErrorCode::REQUEST_TIMED_OUT,
    }
}

/// Kafka's code for a failed operation on a log.
pub fn log_error_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::Storage { .. } | LogError::Fenced(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        LogError::Corrupt { .. } => ErrorCode::CORRUPT_MESSAGE,
        LogError::OffsetOutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        LogError::Closed => ErrorCode::NOT_LEADER_OR_FOLLOWER,
    }
}
