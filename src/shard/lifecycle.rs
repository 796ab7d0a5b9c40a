//! Partitions come and go with the metadata; time passes for those that stay.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::limits::OPENING_LINES_MAX;
use crate::base::{TopicId, TopicPartition};
use crate::config::TopicConfig;
use crate::io::{Disk, Files, side_by_side};
use crate::log::{LogConfig, LogError, Partition, RecoveryReport};
use crate::meta::image::{Delta, ResourceType, Topic};
use crate::wire::errors::ErrorCode;

use super::partitions::{self, Hosted, OpenSpec, Opened, Partitions, State};
use super::{Job, PartitionKey, Shard};

/// The topic of committed offsets and groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

impl Shard {
    /// Opens the partitions of the image that this core owns and that hold the state of groups, and prepares the opening
    /// of the others, which [`Shard::begin`] starts. Blocks; for the start of the process.
    pub fn open_all(&mut self, files: &dyn Files, now_ms: i64) {
        let image = self.image.clone();
        let mut first = Vec::new();
        for topic in image.topics().iter() {
            for partition in topic.partitions.keys() {
                let reserved = self.reserve(topic, *partition);
                match reserved.and_then(|slot| self.spec_of(slot, now_ms, false)) {
                    Some(spec) if spec.coordinator.is_some() => first.push(spec),
                    Some(spec) => self.opening.add(spec),
                    None => {}
                }
            }
        }
        self.opening.progress.expect(first.len() as u64);
        for spec in first {
            self.book.enter_dir(&spec.name, spec.key);
            for (slot, result) in partitions::open_all(files, vec![spec]) {
                match result {
                    Ok(opened) => self.install(slot, opened),
                    Err(error) => self.opening.failed_first.push((slot, error)),
                }
            }
            self.opening.progress.advance(1);
        }
    }

    /// Reserves a place for a partition, if this core owns it and does not have it.
    fn reserve(&mut self, topic: &Arc<Topic>, partition: i32) -> Option<u32> {
        let key = PartitionKey { topic_id: topic.id, partition };
        let here = topic.partitions.get(&partition)?.replicas.contains(&self.effective.statics().node_id);
        if key.owner(self.shards) != self.id || !here || self.partitions.slot(key).is_some() {
            return None;
        }
        let name = TopicPartition::new(&*topic.name, partition);
        let slot = self.partitions.insert(key, name);
        self.note_leadership(key);
        Some(slot)
    }

    /// For a place whose partition could not be opened before; None if it is gone.
    pub(super) fn spec_again(&mut self, slot: u32, now_ms: i64, is_new: bool) -> Option<OpenSpec> {
        let hosted = self.partitions.get(slot).filter(|hosted| !hosted.doomed)?;
        self.image.topics().get_by_id(hosted.key.topic_id)?;
        hosted.state = State::Opening;
        self.spec_of(slot, now_ms, is_new)
    }

    /// How the partition at a place is opened, or made.
    pub(super) fn spec_of(&mut self, slot: u32, now_ms: i64, is_new: bool) -> Option<OpenSpec> {
        let hosted = self.partitions.get(slot)?;
        let (key, name) = (hosted.key, hosted.name.clone());
        let config = self.log_config(key.topic_id, &name.topic);
        let checkpoint = self.book.initial(key);
        let coordinator =
            (*name.topic == *OFFSETS_TOPIC).then(|| Box::new(self.groups.new_coordinator(key.partition)));
        if let Some((dir, journal)) = self.book.offline(key) {
            let journal = self.dirs.paths[dir].join(journal);
            self.broken(slot, &format!("acknowledged records that are missing in it are in {}; restore its directory from a copy, or remove that file to go on without them, and start again", journal.display()));
            return None;
        }
        Some(OpenSpec {
            slot,
            key,
            name,
            dirs: self.dirs.paths.clone(),
            new_dir: key.owner(self.dirs.paths.len()).0 as usize,
            is_new,
            config,
            clean_shutdown: self.book.is_clean(key),
            recovery_point: checkpoint.recovery_point,
            acknowledged: self.book.acknowledged(key),
            log_start_offset: checkpoint.log_start_offset,
            log_start_is_certain: checkpoint.certain,
            now_ms,
            coordinator,
        })
    }

    pub(super) fn install(&mut self, slot: u32, opened: Opened) {
        let Some(hosted) = self.partitions.get(slot) else { return };
        tell_report(&hosted.name, &opened.report);
        hosted.high_watermark = opened.log.log_end_offset();
        let (topic_id, partition) = (hosted.key.topic_id, hosted.key.partition);
        let key = hosted.key;
        let mut log = opened.log;
        let dir = self.dirs.paths.iter().position(|dir| log.dir().starts_with(dir));
        log.use_journal(partition, dir.unwrap_or(0));
        hosted.state = State::Open(log);
        self.note_leadership(key);
        if let Some(coordinator) = opened.coordinator {
            self.groups.install(partition, slot, *coordinator);
        }
        debug_assert!(!topic_id.is_zero());
        self.note_checkpoint(slot);
    }

    pub(super) fn broken(&mut self, slot: u32, error: &str) {
        let Some(hosted) = self.partitions.get(slot) else { return };
        tracing::error!(partition = %hosted.name, error, "the partition cannot be opened; it stays offline until a restart");
        hosted.state = State::Broken(error.to_owned());
    }

    pub(super) fn apply_delta(&mut self, disk: &mut dyn Disk, delta: &Delta) {
        let gone: Vec<Arc<Topic>> = delta.topics_deleted().cloned().collect();
        for topic in &gone {
            for partition in topic.partitions.keys() {
                self.delete_partition(disk, PartitionKey { topic_id: topic.id, partition: *partition });
            }
        }
        if !gone.is_empty() {
            self.groups_topics_deleted(disk, &gone);
        }
        let image = self.image.clone();
        let created: Vec<(TopicId, Vec<i32>)> = delta
            .topics_changed()
            .map(|(id, change)| (id, change.partitions_created.iter().copied().collect()))
            .collect();
        for (id, partitions) in created {
            let Some(topic) = image.topics().get_by_id(id) else { continue };
            for partition in partitions {
                if let Some(slot) = self.reserve(topic, partition) {
                    self.opening.add_new(slot);
                }
            }
        }
        self.open_more(disk);
        for (id, change) in delta.topics_changed() {
            for partition in &change.partitions_changed {
                self.note_leadership(PartitionKey { topic_id: id, partition: *partition });
            }
        }
        self.update_configs(delta);
    }

    /// Tells a partition, and its log, in which epoch it is led from now on.
    fn note_leadership(&mut self, key: PartitionKey) {
        let leadership = self.leadership(key);
        let Some((_, hosted)) = self.partitions.find(key) else { return };
        hosted.leadership = leadership;
        if let Some(log) = hosted.log() {
            log.note_leader_epoch(leadership.epoch);
        }
    }

    fn update_configs(&mut self, delta: &Delta) {
        let all = delta.configs.iter().any(|c| c.kind == ResourceType::Broker);
        if !all && !delta.configs.iter().any(|c| c.kind == ResourceType::Topic) {
            return;
        }
        let changed: Vec<(u32, TopicId, String)> = self
            .partitions
            .iter_mut()
            .filter(|(_, h)| {
                all || delta.configs.iter().any(|c| c.kind == ResourceType::Topic && *c.name == *h.name.topic)
            })
            .map(|(slot, h)| (slot, h.key.topic_id, h.name.topic.to_string()))
            .collect();
        for (slot, id, topic) in changed {
            let config = self.log_config(id, &topic);
            if let Some(log) = self.partitions.get(slot).and_then(super::Hosted::log) {
                log.update_config(config);
            }
        }
    }

    fn delete_partition(&mut self, disk: &mut dyn Disk, key: PartitionKey) {
        let Some(slot) = self.partitions.hide(key) else { return };
        self.remove_coordinator(disk, slot);
        self.fail_waiters(disk, slot, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        self.wake_all(slot);
        self.delete_slot(disk, slot);
    }

    pub(super) fn delete_slot(&mut self, disk: &mut dyn Disk, slot: u32) {
        let Some(hosted) = self.partitions.get(slot) else { return };
        self.book.forget(hosted.key);
        let unique = format!("{:032x}", u128::from_be_bytes(hosted.key.topic_id.0));
        match hosted.state {
            State::Open(_) => {
                self.with_log(disk, slot, |log, env, _| log.delete(env, &unique));
            }
            State::Opening => hosted.doomed = true,
            State::Broken(_) => self.forget_slot(disk, slot),
        }
    }

    /// A place is nobody's any more: nothing waits for it, and it is not tried again.
    pub(super) fn forget_slot(&mut self, disk: &dyn Disk, slot: u32) {
        self.partitions.remove(slot);
        self.not_again(slot);
        self.upkeep.forget(slot);
        self.resumed(disk, slot);
    }

    /// A job for a partition that is being opened waits, and an append for more than that.
    pub(super) fn must_wait(&mut self, job: &Job) -> bool {
        let mut found = false;
        // All of them, so that they are opened together.
        let mut look = |key| found |= self.key_is_opening(key);
        match job {
            Job::Append { parts, .. } => return self.append_must_wait(parts),
            Job::Read(read) => read.parts.iter().for_each(|p| look(p.key)),
            Job::Offsets(parts) => parts.iter().for_each(|p| look(p.key)),
            Job::Epochs(parts) => parts.iter().for_each(|p| look(p.key)),
            Job::DeleteRecords(parts) => parts.iter().for_each(|p| look(p.0)),
            Job::Producers(parts) => parts.iter().for_each(|p| look(p.0)),
            Job::Sizes(Some(keys)) => keys.iter().copied().for_each(look),
            Job::Sizes(None) => return self.partitions.any_opening(),
            Job::Group(group) => return self.group_is_opening(group.partition),
            Job::Control(_) => {}
        }
        found
    }

    fn group_is_opening(&mut self, partition: Option<i32>) -> bool {
        let (Some(partition), Some(topic)) = (partition, self.image.topics().get(OFFSETS_TOPIC)) else {
            return false;
        };
        self.key_is_opening(PartitionKey { topic_id: topic.id, partition })
    }

    fn key_is_opening(&mut self, key: PartitionKey) -> bool {
        self.partitions.slot(key).is_some_and(|slot| self.is_opening(slot))
    }

    /// The effective configuration of a topic.
    pub(super) fn topic_config(&mut self, id: TopicId, topic: &str) -> Arc<TopicConfig> {
        self.effective.topic(&self.image, id, topic).clone()
    }

    fn log_config(&mut self, id: TopicId, topic: &str) -> LogConfig {
        let topic = self.topic_config(id, topic);
        LogConfig {
            segment_bytes: topic.segment_bytes as u32,
            segment_ms: topic.segment_ms,
            segment_jitter_ms: topic.segment_jitter_ms,
            segment_index_bytes: topic.segment_index_bytes as u32,
            index_interval_bytes: topic.index_interval_bytes as u32,
            retention_ms: topic.retention_ms,
            retention_bytes: topic.retention_bytes,
            cleanup_delete: topic.cleanup_policy.delete,
            cleanup_compact: topic.cleanup_policy.compact,
            flush_messages: topic.flush_messages,
            flush_ms: topic.flush_ms,
            file_delete_delay_ms: topic.file_delete_delay_ms,
            producer_id_expiration_ms: self.effective.broker().producer_id_expiration_ms.into(),
        }
    }

    pub(super) fn maintenance_interval_ms(&self) -> i64 {
        self.effective.broker().log_retention_check_interval_ms
    }

    /// Retention, rolling by age, `flush.ms`, expiry of producers, checkpoints.
    pub(super) fn maintain(&mut self, disk: &mut dyn Disk) {
        let now_ms = disk.wall_ms();
        let slots: Vec<(u32, i64)> = self.partitions.iter_mut().map(|(s, h)| (s, h.high_watermark)).collect();
        let mut starts = Vec::new();
        for (slot, high_watermark) in slots {
            let start = self.with_log(disk, slot, |log, env, _| log.maintain(env, now_ms, high_watermark));
            let key = self.partitions.get(slot).map(|hosted| hosted.key);
            starts.extend(key.zip(start.flatten()));
            self.note_checkpoint(slot);
        }
        self.delete_retained(disk, starts);
    }

    pub(super) fn cache_forget(&mut self, slot: u32) {
        self.cache.remove_slot(slot);
    }

    /// Writes everything down so that the next start needs no recovery, with two flushes for all partitions. Blocks; for
    /// the end of the process, when [`Shard::is_idle`].
    pub fn close_clean(&mut self, files: &dyn Files) -> bool {
        let believed = self.book.clean_shutdown();
        let mut slots = Vec::new();
        let mut clean = true;
        for (slot, hosted) in self.partitions.iter_mut() {
            slots.push(slot);
            match hosted.state {
                State::Open(_) => {}
                // One that was never opened is as the last stop left it.
                State::Opening if believed => {}
                State::Opening => self.book.note_unclean(|unclean| unclean.unopened += 1),
                State::Broken(_) => self.book.note_unclean(|unclean| {
                    unclean.offline.insert(hosted.name.clone());
                }),
            }
        }
        let begun = Mutex::new(BTreeSet::new());
        clean &= close_all(files, open_logs(&mut self.partitions, |_| true), |slot, log| {
            if log.close_begin(files)? {
                begun.lock().unwrap_or_else(PoisonError::into_inner).insert(slot);
            }
            Ok(())
        });
        let begun = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
        let controller = self.close_controller_begin(files);
        clean &= controller.is_some();
        let any = !begun.is_empty() || controller == Some(true);
        if any && !self.flush_volumes(files) {
            return false;
        }
        let logs = open_logs(&mut self.partitions, |slot| begun.contains(&slot));
        clean &= close_all(files, logs, |_, log| log.close_end(files));
        if controller == Some(true) {
            clean &= self.close_controller_end(files);
        }
        clean &= !any || self.flush_volumes(files);
        for slot in slots {
            self.note_checkpoint(slot);
        }
        clean
    }

    fn flush_volumes(&self, files: &dyn Files) -> bool {
        let flushed = self.dirs.all().try_for_each(|dir| files.sync_all(dir));
        if let Err(error) = &flushed {
            tracing::error!(%error, "the log directories could not be flushed; the next start will check every partition");
        }
        flushed.is_ok()
    }
}

/// Says what an opening found: what is damaged or lost, as often as somebody will read it, and then how many more there are.
fn tell_report(partition: &TopicPartition, report: &RecoveryReport) {
    for warning in report.warnings.iter().take(OPENING_LINES_MAX) {
        tracing::warn!(%partition, "{warning}");
    }
    for (first, last) in report.lost_offsets.iter().take(OPENING_LINES_MAX) {
        tracing::error!(%partition, first, last, "records were damaged on disk and are lost");
    }
    let more = |lines: usize| lines.saturating_sub(OPENING_LINES_MAX);
    let (warnings, losses) = (more(report.warnings.len()), more(report.lost_offsets.len()));
    if warnings + losses > 0 {
        let last = report.lost_offsets.last().map_or(-1, |(_, last)| *last);
        tracing::error!(%partition, warnings, losses, last, "and so many more warnings, and stretches of lost records up to this offset");
    }
}

/// An open log, its place and its name.
type OpenLog<'a> = (u32, &'a mut Partition, &'a TopicPartition);

fn open_logs(partitions: &mut Partitions, keep: impl Fn(u32) -> bool) -> Vec<OpenLog<'_>> {
    let kept = partitions.iter_mut().filter(|(slot, _)| keep(*slot));
    kept.filter_map(|(slot, hosted)| match hosted {
        Hosted { state: State::Open(log), name, .. } => Some((slot, &mut **log, &*name)),
        _ => None,
    })
    .collect()
}

/// Does something to each log, side by side: a stop is mostly waiting for the file system. Whether it worked with all.
fn close_all(
    files: &dyn Files,
    logs: Vec<OpenLog<'_>>,
    close: impl Fn(u32, &mut Partition) -> Result<(), LogError> + Sync,
) -> bool {
    let clean = AtomicBool::new(true);
    let closed = side_by_side(files, logs, |(slot, log, name)| {
        if let Err(error) = close(slot, log) {
            clean.store(not_closed(&name.to_string(), &error), Ordering::Relaxed);
        }
        Ok(())
    });
    closed.is_ok() && clean.into_inner()
}

/// Says so; gives false.
pub(super) fn not_closed(what: &str, error: &LogError) -> bool {
    tracing::error!(partition = what, %error, "the partition could not be closed cleanly; the next start will check it");
    false
}
