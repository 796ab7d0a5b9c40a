//! Questions about a log: offsets by time, ends of epochs, producers, sizes; and DeleteRecords.

use std::any::Any;
use std::collections::VecDeque;
use std::io;

use crate::base::limits::PRODUCERS_DESCRIBED_AT_ONCE;
use crate::base::{Offset, ProducerId};
use crate::io::repeats::limited;
use crate::io::{Disk, DiskOutcome, FileJob, Files, Lack};
use crate::log::{LogError, Lookup, OffsetAndTimestamp};
use crate::wire::errors::ErrorCode;

use super::append::log_error_code;
use super::lookup_turns::Found;
use super::tokens::{CoreTag, of_core};
use super::{Done, EpochPart, OffsetsPart, PartitionKey, PartitionSize, ReplyTo, Shard};

/// ListOffsets' timestamps that are not times.
pub mod sentinel {
    /// The end.
    pub const LATEST: i64 = -1;
    /// The first offset.
    pub const EARLIEST: i64 = -2;
    /// The record with the largest timestamp (KIP-734).
    pub const MAX_TIMESTAMP: i64 = -3;
    /// The first offset that is on this broker's disk (KIP-405).
    pub const EARLIEST_LOCAL: i64 = -4;
    /// The last offset in tiered storage (KIP-1005).
    pub const LATEST_TIERED: i64 = -5;
    /// The first offset that waits for its upload (KIP-1023).
    pub const EARLIEST_PENDING_UPLOAD: i64 = -6;
}

/// A deletion that waits for the checkpoint: per partition the log start to be.
struct Deletion {
    /// Whoever asked for it; nobody asks for retention.
    reply_to: Option<ReplyTo>,
    parts: Vec<(PartitionKey, Part)>,
}

/// One partition of a deletion.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The book has this log start to be.
    Planned(Offset),
    /// What is to be answered; nothing is planned any more.
    Over(Result<Offset, ErrorCode>),
}

impl From<Result<Offset, ErrorCode>> for Part {
    fn from(planned: Result<Offset, ErrorCode>) -> Part {
        planned.map_or_else(|error| Part::Over(Err(error)), Part::Planned)
    }
}

/// Deletions, and the write of the checkpoint that they wait for: one at a time, for all that have come until it begins.
#[derive(Default)]
pub(super) struct Deletions {
    waiting: Vec<Deletion>,
    /// Those of the write that is under way.
    writing: Vec<Deletion>,
    /// There was no space for the checkpoint, and segments were given up before it was written again.
    made_room: bool,
}

impl Deletions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.writing.len()
    }
}

impl Shard {
    /// Answers questions about offsets; those that need a lookup in their turns.
    pub(super) fn offsets(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, parts: Vec<OffsetsPart>) {
        let mut left = VecDeque::new();
        let mut results: Vec<Found> = Vec::with_capacity(parts.len());
        for (place, part) in parts.into_iter().enumerate() {
            if part.timestamp >= 0 || part.timestamp == sentinel::MAX_TIMESTAMP {
                left.push_back((place, part));
                results.push(Ok(None));
                continue;
            }
            results.push(match self.offset(disk, &part, 0) {
                Ok(found) => found.unwrap_or(Ok(None)).map_err(|e| log_error_code(&e)),
                Err(code) => Err(code),
            });
        }
        if left.is_empty() {
            self.answer(reply_to, Done::Offsets(results));
        } else {
            self.look_up_later(reply_to, results, left);
        }
    }

    /// Answers one question, or starts its lookup (None).
    #[allow(clippy::type_complexity)]
    pub(super) fn offset(
        &mut self,
        disk: &mut dyn Disk,
        part: &OffsetsPart,
        ticket: u64,
    ) -> Result<Option<Result<Option<OffsetAndTimestamp>, LogError>>, ErrorCode> {
        self.check_epoch(part.key, part.current_leader_epoch)?;
        let (slot, _) = self.open_partition(part.key)?;
        let upper = self.visible_end(slot, part.committed);
        let found = self.with_log(disk, slot, |log, env, effects| {
            let at = |offset: Offset, epoch: Option<i32>| {
                Some(Ok(Some(OffsetAndTimestamp {
                    offset,
                    timestamp: -1,
                    leader_epoch: epoch.unwrap_or(-1),
                })))
            };
            let start = log.log_start_offset();
            match part.timestamp {
                sentinel::LATEST => at(upper, log.latest_epoch()),
                sentinel::EARLIEST | sentinel::EARLIEST_LOCAL => at(start, log.epoch_at(start)),
                sentinel::LATEST_TIERED | sentinel::EARLIEST_PENDING_UPLOAD => at(-1, None),
                sentinel::MAX_TIMESTAMP => log.lookup(env, Lookup::MaxTimestamp, upper, ticket, effects),
                time => log.lookup(env, Lookup::Timestamp(time), upper, ticket, effects),
            }
        });
        found.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    pub(super) fn epochs(&mut self, reply_to: ReplyTo, parts: &[EpochPart]) {
        let results = parts
            .iter()
            .map(|part| {
                self.check_epoch(part.key, part.current_leader_epoch)?;
                let (_, hosted) = self.open_partition(part.key)?;
                let log = hosted.log().ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
                let end = log.epoch_end(part.leader_epoch);
                Ok((end.epoch, end.end_offset))
            })
            .collect();
        self.answer(reply_to, Done::Epochs(results));
    }

    /// Log starts move in two steps: the checkpoint says so first, or a killed process would come back with records that
    /// were deleted.
    pub(super) fn delete_records(
        &mut self,
        disk: &mut dyn Disk,
        reply_to: ReplyTo,
        parts: &[(PartitionKey, Offset)],
    ) {
        let parts = parts.iter().map(|(key, before)| (*key, self.deletable(*key, *before).into())).collect();
        self.deletions.waiting.push(Deletion { reply_to: Some(reply_to), parts });
        self.begin_deletions(disk);
    }

    /// Retention asks for these log starts.
    pub(super) fn delete_retained(&mut self, disk: &mut dyn Disk, starts: Vec<(PartitionKey, Offset)>) {
        for (key, start) in &starts {
            self.book.plan_log_start(*key, *start);
        }
        let parts: Vec<_> = starts.into_iter().map(|(key, start)| (key, Part::Planned(start))).collect();
        if !parts.is_empty() {
            self.deletions.waiting.push(Deletion { reply_to: None, parts });
            self.begin_deletions(disk);
        }
    }

    /// Has the checkpoint written that the deletions wait for, unless it is being written.
    fn begin_deletions(&mut self, disk: &mut dyn Disk) {
        if self.deletions.writing.is_empty() && !self.deletions.waiting.is_empty() {
            self.deletions.writing = std::mem::take(&mut self.deletions.waiting);
            self.deletions.made_room = false;
            self.write_for_deletions(disk);
        }
    }

    fn write_for_deletions(&self, disk: &mut dyn Disk) {
        let (book, dirs) = (self.book.clone(), self.dirs.paths.clone());
        let write = move |files: &dyn Files| -> io::Result<Box<dyn Any + Send>> {
            book.write_plans(files, &dirs)?;
            Ok(Box::new(()))
        };
        disk.background(FileJob::Run(Box::new(write)), of_core(CoreTag::Checkpoint));
    }

    /// Plans the deletion of what is before an offset (-1 for the high watermark): the log start to be.
    fn deletable(&mut self, key: PartitionKey, before: Offset) -> Result<Offset, ErrorCode> {
        let topic =
            self.image.topics().get_by_id(key.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let (id, name) = (topic.id, topic.name.clone());
        if !self.topic_config(id, &name).cleanup_policy.delete {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let (_, hosted) = self.open_partition(key)?;
        let before = if before == -1 { hosted.high_watermark } else { before };
        if before < 0 || before > hosted.high_watermark {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        self.book.plan_log_start(key, before);
        Ok(before)
    }

    /// The checkpoint with the planned log starts is written, or was not.
    pub(super) fn checkpoint_written(&mut self, disk: &mut dyn Disk, outcome: DiskOutcome) {
        let failed = match outcome {
            DiskOutcome::Job(Err(error)) => Some(error),
            _ => None,
        };
        if let Some(error) = &failed {
            let lacks_space = Lack::of(error) == Some(Lack::Space);
            if lacks_space && !std::mem::replace(&mut self.deletions.made_room, true) && self.make_room(disk)
            {
                // In the same lane as the removal: behind it.
                return self.write_for_deletions(disk);
            }
            limited!(error, "the checkpoint of log starts could not be written", %error, "the checkpoint of log starts could not be written: no records are deleted now; what is refused may be gone after a restart, unless the checkpoint is written without it before");
        }
        for deletion in std::mem::take(&mut self.deletions.writing) {
            self.end_deletion(disk, deletion, failed.is_some());
        }
        self.begin_deletions(disk);
    }

    /// Deletes what the checkpoint names, if it could be written. What fails is planned no more, and is answered when the
    /// checkpoint was written without it: what is refused must not be deleted by the next start.
    fn end_deletion(&mut self, disk: &mut dyn Disk, deletion: Deletion, failed: bool) {
        let Deletion { reply_to, mut parts } = deletion;
        let mut refused = false;
        for (key, part) in &mut parts {
            let Part::Planned(before) = *part else { continue };
            let result = if failed {
                Err(ErrorCode::KAFKA_STORAGE_ERROR)
            } else {
                self.delete_before(disk, *key, before, reply_to.is_none())
            };
            self.book.drop_plan(*key, before);
            refused |= result.is_err();
            *part = Part::Over(result);
        }
        if refused {
            self.deletions.waiting.push(Deletion { reply_to, parts });
        } else if let Some(reply_to) = reply_to {
            let over = |(_, part)| match part {
                Part::Over(result) => Some(result),
                Part::Planned(_) => None,
            };
            self.answer(reply_to, Done::DeleteRecords(parts.into_iter().filter_map(over).collect()));
        }
    }

    /// A checkpoint names the log start: what lies before it goes.
    fn delete_before(
        &mut self,
        disk: &mut dyn Disk,
        key: PartitionKey,
        before: Offset,
        retention: bool,
    ) -> Result<Offset, ErrorCode> {
        let (slot, hosted) = self.open_partition(key)?;
        let (high_watermark, now_ms) = (hosted.high_watermark, disk.wall_ms());
        let moved = self.with_log(disk, slot, |log, env, effects| {
            if retention {
                log.retain_from(env, now_ms, before, effects).map(|()| before)
            } else {
                log.delete_records(env, before, high_watermark, effects)
            }
        });
        let moved = moved.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?.map_err(|e| log_error_code(&e))?;
        self.note_checkpoint(slot);
        Ok(moved)
    }

    /// Gives up the whole segments that the deletions cover; whether there were any.
    fn make_room(&mut self, disk: &mut dyn Disk) -> bool {
        let parts = self.deletions.writing.iter().flat_map(|deletion| &deletion.parts);
        let starts: Vec<(PartitionKey, Offset)> = parts
            .filter_map(|(key, part)| if let Part::Planned(at) = part { Some((*key, *at)) } else { None })
            .collect();
        let mut any = false;
        for (key, before) in starts {
            let Some((slot, hosted)) = self.partitions.find(key) else { continue };
            let end = hosted.high_watermark;
            let gone =
                self.with_log(disk, slot, |log, env, effects| log.delete_segments(env, before, end, effects));
            any |= gone == Some(true);
        }
        any
    }

    /// The producers of partitions, each from an id on, as many as a job gives; about what is left the home asks again.
    pub(super) fn producers(&mut self, reply_to: ReplyTo, parts: &[(PartitionKey, ProducerId)]) {
        let (mut results, mut left) = (Vec::new(), PRODUCERS_DESCRIBED_AT_ONCE);
        for (key, from) in parts {
            if left == 0 {
                break;
            }
            let described = self.open_partition(*key).and_then(|(_, hosted)| {
                let log = hosted.log().ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
                Ok(log.describe_producers(*from, left))
            });
            left -= described.as_ref().map_or(0, |(producers, _)| producers.len());
            results.push(described);
        }
        self.answer(reply_to, Done::Producers(results));
    }

    pub(super) fn sizes(&mut self, reply_to: ReplyTo, keys: Option<&[PartitionKey]>) {
        let keys: Vec<PartitionKey> = keys.map_or_else(|| self.partitions.keys().collect(), <[_]>::to_vec);
        let mut sizes = Vec::with_capacity(keys.len());
        for key in keys {
            let Some((_, hosted)) = self.partitions.find(key) else { continue };
            let Some(log) = hosted.log() else { continue };
            let log_dir = self.dirs.paths.iter().position(|d| log.dir().starts_with(d)).unwrap_or(0) as u32;
            sizes.push(PartitionSize { key, log_dir, size_bytes: log.size_bytes() });
        }
        self.answer(reply_to, Done::Sizes(sizes));
    }
}
