//! One partition: the public face of this room.

use std::path::{Path, PathBuf};

use super::config::LogConfig;
use super::error::{AppendError, LogError};
use super::types::{
    AbortedTransaction, AppendInfo, Appended, CreateOptions, Env, EpochEnd, LogEffect, Lookup,
    OffsetAndTimestamp, OpenOptions, ProducerDescription, ReadData, ReadRequest, RecoveryReport,
};
use crate::base::{LeaderEpoch, Offset, TopicId, WallMs};
use crate::io::{DiskOutcome, Files};

/// One partition's log.
pub struct Partition {
    dir: PathBuf,
}

#[allow(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Partition {
    /// Creates the directory and files of a new partition. Blocks.
    pub fn create(
        files: &dyn Files,
        dir: &Path,
        config: LogConfig,
        options: CreateOptions,
    ) -> Result<Partition, LogError> {
        unimplemented!()
    }

    /// Opens what is on disk, recovering if the last stop was not clean. Blocks.
    pub fn open(
        files: &dyn Files,
        dir: &Path,
        config: LogConfig,
        options: OpenOptions,
    ) -> Result<(Partition, RecoveryReport), LogError> {
        unimplemented!()
    }

    /// Appends validated, whole batches. Their bytes are copied once. Effects may include only warnings; what
    /// becomes durable comes through [`Partition::on_disk`].
    pub fn append(
        &mut self,
        env: &mut Env,
        batches: &[u8],
        info: AppendInfo,
    ) -> Result<Appended, AppendError> {
        unimplemented!()
    }

    /// Reads whole batches. None: [`LogEffect::ReadDone`] follows with this ticket. An offset equal to `upper` (or
    /// to the log's end) gives no bytes and is no error.
    pub fn read(
        &mut self,
        env: &mut Env,
        request: ReadRequest,
        ticket: u64,
    ) -> Option<Result<ReadData, LogError>> {
        unimplemented!()
    }

    /// Finds a record by timestamp, below `upper`. None: [`LogEffect::LookupDone`] follows with this ticket.
    pub fn lookup(
        &mut self,
        env: &mut Env,
        lookup: Lookup,
        upper: Offset,
        ticket: u64,
    ) -> Option<Result<Option<OffsetAndTimestamp>, LogError>> {
        unimplemented!()
    }

    /// A disk operation of this partition ended: `tag` is the lower half of its token.
    pub fn on_disk(&mut self, env: &mut Env, tag: u32, outcome: DiskOutcome, effects: &mut Vec<LogEffect>) {
        unimplemented!()
    }

    /// Flushes everything appended so far; [`LogEffect::Flushed`] follows (at once if nothing is unflushed).
    pub fn sync_now(&mut self, env: &mut Env, effects: &mut Vec<LogEffect>) {
        unimplemented!()
    }

    /// Everything that hangs on time or size: `flush.ms`, retention, rolling by age, expiry of producers. Call about once
    /// a second or less often. Only what is below `high_watermark` is deleted.
    pub fn maintain(
        &mut self,
        env: &mut Env,
        now_ms: WallMs,
        high_watermark: Offset,
        effects: &mut Vec<LogEffect>,
    ) {
        unimplemented!()
    }

    /// Moves the log start (`DeleteRecords`) to `before`, which must not exceed `high_watermark`
    /// (else [`LogError::OffsetOutOfRange`]). Gives the log start offset.
    pub fn delete_records(
        &mut self,
        env: &mut Env,
        before: Offset,
        high_watermark: Offset,
        effects: &mut Vec<LogEffect>,
    ) -> Result<Offset, LogError> {
        unimplemented!()
    }

    /// Cuts the log so that `offset` is its end. Appends and reads are refused until [`LogEffect::Truncated`].
    pub fn truncate_to(&mut self, env: &mut Env, offset: Offset, effects: &mut Vec<LogEffect>) {
        unimplemented!()
    }

    /// New settings; they hold from the next append on.
    pub fn update_config(&mut self, config: LogConfig) {
        unimplemented!()
    }

    /// Whether no write, flush or background job is in flight or queued: [`Partition::close_clean`] may be called.
    pub fn is_idle(&self) -> bool {
        unimplemented!()
    }

    /// Truncates the active segment to its logical end, writes indexes, producer snapshot and epochs, and flushes.
    /// Blocks; for the end of the process, when [`Partition::is_idle`]. The caller writes the checkpoints and
    /// `.kafka_cleanshutdown` after all partitions.
    pub fn close_clean(&mut self, files: &dyn Files) -> Result<(), LogError> {
        unimplemented!()
    }

    /// Renames the directory to `<name>.<unique>-delete` and removes it in the background;
    /// [`LogEffect::Deleted`] follows, or has been added when this returns.
    pub fn delete(&mut self, env: &mut Env, unique: &str, effects: &mut Vec<LogEffect>) {
        unimplemented!()
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The topic's id as in `partition.metadata`; zero if it has none.
    pub fn topic_id(&self) -> TopicId {
        unimplemented!()
    }

    /// Writes the topic id into `partition.metadata` in the background, if it has none yet.
    pub fn set_topic_id(&mut self, env: &mut Env, topic_id: TopicId) {
        unimplemented!()
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        unimplemented!()
    }

    /// The offset the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        unimplemented!()
    }

    /// Everything below is written (and flushed, if the flush settings ask for it).
    pub fn durable_end_offset(&self) -> Offset {
        unimplemented!()
    }

    /// Everything below is flushed: for the checkpoint of recovery points.
    pub fn recovery_point(&self) -> Offset {
        unimplemented!()
    }

    /// Everything below, up to `high_watermark`, belongs to no open transaction.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        unimplemented!()
    }

    /// The aborted transactions that overlap `from..upper`, ordered by their marker's offset.
    pub fn aborted_transactions(&self, from: Offset, upper: Offset) -> Vec<AbortedTransaction> {
        unimplemented!()
    }

    /// The newest leader epoch in the log.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        unimplemented!()
    }

    /// Where a leader epoch ends (`LeaderEpochFileCache.endOffsetFor`).
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> EpochEnd {
        unimplemented!()
    }

    /// The epoch of the record at an offset, as far as the epochs known tell.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        unimplemented!()
    }

    /// Bytes of all segments' logs.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Bytes appended that are not written yet.
    pub fn pending_bytes(&self) -> usize {
        unimplemented!()
    }

    /// The producers that have written here, by id.
    pub fn describe_producers(&self) -> Vec<ProducerDescription> {
        unimplemented!()
    }

    /// Why the partition takes no more appends, if so.
    pub fn fenced(&self) -> Option<&LogError> {
        unimplemented!()
    }
}
