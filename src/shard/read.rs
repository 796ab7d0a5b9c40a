//! Reads for Fetch, and the watches that end a long poll.

use crate::base::Offset;
use crate::base::limits::{FETCH_DISK_BYTES_MAX, POOL_KEPT_ITEMS};
use crate::io::Disk;
use crate::log::{LogError, ReadData, ReadRequest};
use crate::wire::errors::ErrorCode;

use super::append::log_error_code;
use super::{Done, Hosted, ReadDone, ReadJob, ReadPart, ReplyTo, Shard};

/// A read some of whose parts wait for the disk.
pub(super) struct ReadState {
    reply_to: ReplyTo,
    parts: Vec<ReadPart>,
    committed: bool,
    outstanding: usize,
    watching: bool,
}

/// What one part of a read may give.
#[derive(Clone, Copy)]
struct Limits {
    bytes: usize,
    min_one_message: bool,
    committed: bool,
}

impl Shard {
    pub(super) fn read(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, job: ReadJob) {
        let number = self.number();
        let ReadJob { mut parts, max_bytes, committed, watch_bytes } = job;
        let mut outstanding = 0;
        let mut left = max_bytes;
        let mut bytes = 0;
        let mut from_disk = 0;
        let mut news = false;
        for (place, part) in parts.iter_mut().enumerate() {
            let ticket = self.number();
            let limits = Limits { bytes: left, min_one_message: bytes + from_disk == 0, committed };
            part.done = match self.begin_read(disk, part, limits, ticket) {
                Err(code) => ReadDone::error(code),
                Ok((mut done, Some(Ok(data)))) => {
                    self.fill(part, committed, &mut done, data);
                    done
                }
                Ok((mut done, Some(Err(error)))) => {
                    done.error = log_error_code(&error);
                    done
                }
                Ok((done, None)) => {
                    let slot = self.partitions.slot(part.key).unwrap_or_default();
                    self.tickets.insert(ticket, (slot, number, place));
                    outstanding += 1;
                    // What comes from the disk counts before it is there.
                    let most = self.readable_bytes(slot, part.offset);
                    let reserved = most.min(part.max_bytes.unwrap_or(0)).min(left);
                    from_disk += reserved;
                    left -= reserved;
                    if from_disk >= FETCH_DISK_BYTES_MAX {
                        left = 0;
                    }
                    done
                }
            };
            left = left.saturating_sub(part.done.bytes);
            bytes += part.done.bytes;
            news |= part.done.error != ErrorCode::NONE || part.done.diverging.is_some();
        }
        let mut watching = false;
        if let Some(need) = watch_bytes
            && !news
            && bytes < need
        {
            watching = true;
            self.watch(reply_to, &parts, need - bytes);
        }
        if outstanding == 0 {
            self.answer(reply_to, Done::Read { parts, watching });
        } else {
            self.read_jobs.insert(number, ReadState { reply_to, parts, committed, outstanding, watching });
        }
    }

    /// No more than this can be read from an offset on.
    fn readable_bytes(&mut self, slot: u32, offset: Offset) -> usize {
        let log = self.partitions.get(slot).and_then(Hosted::log);
        log.map_or(0, |log| usize::try_from(log.size_from(offset)).unwrap_or(usize::MAX))
    }

    /// Checks a part and starts its read: what it found, if it is there already.
    #[allow(clippy::type_complexity)]
    fn begin_read(
        &mut self,
        disk: &mut dyn Disk,
        part: &ReadPart,
        limits: Limits,
        ticket: u64,
    ) -> Result<(ReadDone, Option<Result<ReadData, LogError>>), ErrorCode> {
        self.check_epoch(part.key, part.current_leader_epoch)?;
        let (slot, hosted) = self.open_partition(part.key)?;
        let high_watermark = hosted.high_watermark;
        let read = self.with_log(disk, slot, |log, env, _| {
            let stable = log.last_stable_offset(high_watermark);
            let mut done = ReadDone {
                high_watermark,
                last_stable_offset: stable,
                log_start_offset: log.log_start_offset(),
                ..ReadDone::error(ErrorCode::NONE)
            };
            if part.last_fetched_epoch >= 0 {
                let end = log.epoch_end(part.last_fetched_epoch);
                if end.end_offset < 0 {
                    // An epoch that this log never had.
                    let refused = ReadDone::error(ErrorCode::OFFSET_OUT_OF_RANGE);
                    return (refused, Some(Ok(ReadData::default())));
                }
                if end.epoch < part.last_fetched_epoch || end.end_offset < part.offset {
                    done.diverging = Some((end.epoch, end.end_offset));
                    return (done, Some(Ok(ReadData::default())));
                }
            }
            let upper = if limits.committed { stable } else { high_watermark };
            if part.offset < log.log_start_offset() || part.offset > log.log_end_offset() {
                let refused = ReadDone::error(ErrorCode::OFFSET_OUT_OF_RANGE);
                return (refused, Some(Ok(ReadData::default())));
            }
            if part.offset >= upper {
                return (done, Some(Ok(ReadData::default())));
            }
            let Some(max_bytes) = part.max_bytes else {
                let refused = ReadDone::error(ErrorCode::UNKNOWN_SERVER_ERROR);
                return (refused, Some(Ok(ReadData::default())));
            };
            if limits.bytes == 0 && !limits.min_one_message {
                return (done, Some(Ok(ReadData::default())));
            }
            let request = ReadRequest {
                offset: part.offset,
                max_bytes: max_bytes.min(limits.bytes),
                min_one_message: limits.min_one_message,
                upper,
            };
            let data = log.read(env, request, ticket);
            (done, data)
        });
        read.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    fn fill(&mut self, part: &ReadPart, committed: bool, done: &mut ReadDone, data: ReadData) {
        if committed
            && data.bytes > 0
            && let Some((_, hosted)) = self.partitions.find(part.key)
            && let Some(log) = hosted.log()
        {
            done.aborted = log
                .aborted_transactions(part.offset, data.next_offset)
                .into_iter()
                .map(|a| (a.producer_id, a.first_offset))
                .collect();
        }
        done.bytes = data.bytes;
        done.records = data.slices;
    }

    pub(super) fn read_done(&mut self, ticket: u64, result: Result<ReadData, LogError>) {
        let Some((_, number, place)) = self.tickets.remove(&ticket) else { return };
        let Some(mut state) = self.read_jobs.remove(&number) else { return };
        match result {
            Ok(data) => {
                let part = &mut state.parts[place];
                let mut done = std::mem::replace(&mut part.done, ReadDone::error(ErrorCode::NONE));
                self.fill(part, state.committed, &mut done, data);
                part.done = done;
            }
            Err(error) => state.parts[place].done.error = log_error_code(&error),
        }
        state.outstanding -= 1;
        if state.outstanding == 0 {
            self.answer(state.reply_to, Done::Read { parts: state.parts, watching: state.watching });
        } else {
            self.read_jobs.insert(number, state);
        }
    }

    fn watch(&mut self, reply_to: ReplyTo, parts: &[ReadPart], need: usize) {
        // Places are never used twice, so they can be looked up before.
        let mut slots = std::mem::take(&mut self.watched);
        slots.extend(parts.iter().filter_map(|part| self.partitions.slot(part.key)));
        self.watches.add(&mut self.partitions, reply_to, slots.drain(..), need);
        slots.shrink_to(POOL_KEPT_ITEMS);
        self.watched = slots;
    }

    /// So many bytes became visible in a partition: wakes whoever has waited for them.
    pub(super) fn count_for_watches(&mut self, slot: u32, bytes: usize) {
        if bytes > 0 {
            self.watches.count(&mut self.partitions, slot, bytes as i64);
            self.end_watches();
        }
    }

    /// Wakes everyone who watches a partition: it has changed in a way that they must see.
    pub(super) fn wake_all(&mut self, slot: u32) {
        self.watches.end_all(&mut self.partitions, slot);
        self.end_watches();
    }

    /// Watches end: those that have seen enough with a wake-up. What is too much for this turn is left to the next.
    pub(super) fn end_watches(&mut self) {
        while let Some(reply_to) = self.watches.end_next(&mut self.partitions) {
            self.answer(reply_to, Done::Wake);
        }
    }

    /// A turn of the core begins: what the last one left.
    pub fn begin_turn(&mut self) {
        self.watches.begin_turn();
        self.end_watches();
    }

    /// Whether watches end in the next turn.
    pub fn ends_watches(&self) -> bool {
        self.watches.wants_turn()
    }

    /// The offset up to which a reader may see.
    pub(super) fn visible_end(&mut self, slot: u32, committed: bool) -> Offset {
        let Some(hosted) = self.partitions.get(slot) else { return -1 };
        let high_watermark = hosted.high_watermark;
        match hosted.log() {
            Some(log) if committed => log.last_stable_offset(high_watermark),
            _ => high_watermark,
        }
    }
}
