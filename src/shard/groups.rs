//! The group coordinators of one core: one per partition of `__consumer_offsets` that it owns. Their records go into
//! that partition, and their replies wait until those are durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::base::limits::{
    GROUP_EXPIRIES_IN_TURN, GROUP_EXPIRIES_WITH_REQUEST, RECORDS_UNCOMPRESSED_BYTES_MAX,
};
use crate::base::prng::Prng;
use crate::base::{Deadlines, Ticks, TopicId};
use crate::config::BrokerConfig;
use crate::coord::group::{
    Effects, GroupConfig, GroupCoordinator, GroupError, GroupReply, GroupRequest, Replayed, reply::ListReply,
};
use crate::coord::{Append, AppendId, Now, Ticket};
use crate::io::Disk;
use crate::log::{AppendInfo, AppendOrigin};
use crate::meta::image::Topic;
use crate::wire::errors::ErrorCode;
use crate::wire::record::{BatchBuilder, BatchView, Record, Scratch};

use super::append::append_error_code;
use super::group_queue::GroupQueue;
use super::partitions::Waiter;
use super::{Done, GroupJob, ReplyTo, Shard};

/// The coordinators of one core, by the place of their partition.
pub(super) struct Groups {
    coordinators: BTreeMap<u32, GroupCoordinator>,
    /// Of the coordinators.
    deadlines: Deadlines,
    by_partition: HashMap<i32, u32>,
    fresh: Vec<u32>,
    config: GroupConfig,
    prng: Prng,
    /// Appends that the log refused: the coordinators are told when they are done with what they do now.
    refused: Vec<(u32, AppendId, ErrorCode)>,
    tickets: HashMap<Ticket, Waiting>,
    last_ticket: u64,
    lists: HashMap<u64, List>,
    queue: GroupQueue,
}

/// Who waits for a coordinator's reply.
enum Waiting {
    One(ReplyTo),
    /// A share of a list.
    List(u64),
}

/// A ListGroups over all coordinators of this core.
struct List {
    reply_to: ReplyTo,
    outstanding: usize,
    reply: ListReply,
}

/// Takes in the records of a batch; false if it has one that cannot be read, after the others were taken in.
pub fn replay_batch(
    coordinator: &mut GroupCoordinator,
    batch: &BatchView<'_>,
    scratch: &mut Scratch,
) -> bool {
    if batch.header().attributes.is_control() {
        return true;
    }
    let Ok(records) = batch.records(scratch, RECORDS_UNCOMPRESSED_BYTES_MAX) else { return false };
    let mut read = true;
    for record in records {
        match record {
            Ok(Record { key: Some(key), value, .. }) => {
                if coordinator.replay(key, value) == Replayed::Damaged {
                    read = false;
                }
            }
            Ok(_) => {}
            Err(_) => read = false,
        }
    }
    read
}

impl Groups {
    /// No coordinators yet; their member ids will come from `prng`.
    pub(super) fn new(config: &BrokerConfig, prng: Prng) -> Groups {
        Groups {
            coordinators: BTreeMap::new(),
            deadlines: Deadlines::default(),
            by_partition: HashMap::new(),
            fresh: Vec::new(),
            refused: Vec::new(),
            config: GroupConfig::of(config),
            prng,
            tickets: HashMap::new(),
            last_ticket: 0,
            lists: HashMap::new(),
            queue: GroupQueue::default(),
        }
    }

    /// A coordinator whose partition's records are about to be replayed.
    pub(super) fn new_coordinator(&mut self, partition: i32) -> GroupCoordinator {
        GroupCoordinator::new(partition, self.config.clone(), self.prng.next_u64())
    }

    /// Takes in a coordinator that has seen its partition's records.
    pub(super) fn install(&mut self, partition: i32, slot: u32, coordinator: GroupCoordinator) {
        self.coordinators.insert(slot, coordinator);
        self.note_deadline(slot);
        self.by_partition.insert(partition, slot);
        self.fresh.push(slot);
    }

    /// Forgets the coordinator of a partition that is gone; gives what its open requests are to be told.
    fn remove(&mut self, slot: u32) -> Option<Effects> {
        let mut coordinator = self.coordinators.remove(&slot)?;
        self.queue.settled(coordinator.bytes_in_flight());
        self.deadlines.remove(slot);
        self.by_partition.retain(|_, s| *s != slot);
        let mut effects = Effects::default();
        coordinator.unload(&mut effects);
        Some(effects)
    }

    pub(super) fn deadline(&self) -> Ticks {
        self.deadlines.first().map_or(Ticks::NEVER, |(at, _)| at)
    }

    /// A coordinator may have other plans now.
    fn note_deadline(&mut self, slot: u32) {
        self.deadlines.remove(slot);
        if let Some(at) = self.coordinators.get(&slot).and_then(GroupCoordinator::deadline) {
            self.deadlines.insert(slot, at);
        }
    }

    /// Requests that wait for a coordinator.
    pub(super) fn waiting(&self) -> usize {
        self.tickets.len() + self.lists.len() + self.queue.len()
    }

    /// Nobody waits for a request any more.
    pub(super) fn forget(&mut self, reply_to: ReplyTo) {
        self.queue.forget(reply_to);
    }

    fn ticket(&mut self, waiting: Waiting) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, waiting);
        ticket
    }
}

impl Shard {
    /// A request for a coordinator.
    pub(super) fn group(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, job: GroupJob) {
        let Some(partition) = job.partition else { return self.list_groups(disk, reply_to, job) };
        let Some(slot) = self.groups.by_partition.get(&partition).copied() else {
            return self.no_coordinator(reply_to, &job);
        };
        let bytes = self.groups.coordinators.get(&slot).map_or(0, |c| c.append_bytes(&job.request));
        if self.groups.queue.must_wait(bytes) {
            return self.groups.queue.push(bytes, reply_to, job);
        }
        self.ask_coordinator(disk, slot, reply_to, job);
    }

    fn ask_coordinator(&mut self, disk: &mut dyn Disk, slot: u32, reply_to: ReplyTo, job: GroupJob) {
        let ticket = self.groups.ticket(Waiting::One(reply_to));
        self.with_coordinator(disk, slot, |coordinator, now, effects| {
            coordinator.handle(now, ticket, &job.client, job.api_version, job.request, effects);
        });
    }

    fn list_groups(&mut self, disk: &mut dyn Disk, reply_to: ReplyTo, job: GroupJob) {
        let slots: Vec<u32> = self.groups.coordinators.keys().copied().collect();
        let reply = ListReply { error: None, groups: Vec::new() };
        if slots.is_empty() {
            return self.answer(reply_to, Done::Group(Box::new(GroupReply::List(reply))));
        }
        let GroupRequest::List(request) = job.request else {
            let refusal = GroupReply::refused(&job.request, job.api_version, GroupError::UnknownServerError);
            return self.answer(reply_to, Done::Group(Box::new(refusal)));
        };
        let number = self.number();
        self.groups.lists.insert(number, List { reply_to, outstanding: slots.len(), reply });
        for slot in slots {
            let ticket = self.groups.ticket(Waiting::List(number));
            let request = GroupRequest::List(request.clone());
            self.with_coordinator(disk, slot, |coordinator, now, effects| {
                coordinator.handle(now, ticket, &job.client, job.api_version, request, effects);
            });
        }
    }

    fn with_coordinator(
        &mut self,
        disk: &mut dyn Disk,
        slot: u32,
        call: impl FnOnce(&mut GroupCoordinator, Now, &mut Effects),
    ) {
        let now = Now { ticks: disk.now(), wall_ms: disk.wall_ms() };
        let mut effects = Effects::default();
        if let Some(coordinator) = self.groups.coordinators.get_mut(&slot) {
            self.groups.queue.settled(coordinator.bytes_in_flight());
            call(coordinator, now, &mut effects);
            // What has just been decided may be due at once (a rebalance without a delay).
            if coordinator.deadline().is_some_and(|deadline| deadline <= now.ticks) {
                coordinator.expire(now, GROUP_EXPIRIES_WITH_REQUEST, &mut effects);
            }
            self.groups.queue.begun(coordinator.bytes_in_flight());
            self.groups.note_deadline(slot);
        }
        self.carry_out(disk, slot, effects);
    }

    fn carry_out(&mut self, disk: &mut dyn Disk, slot: u32, effects: Effects) {
        for append in effects.appends {
            self.append_group_records(disk, slot, &append);
        }
        for (ticket, reply) in effects.replies {
            self.group_reply(ticket, reply);
        }
    }

    fn group_reply(&mut self, ticket: Ticket, reply: GroupReply) {
        match self.groups.tickets.remove(&ticket) {
            Some(Waiting::One(reply_to)) => self.answer(reply_to, Done::Group(Box::new(reply))),
            Some(Waiting::List(number)) => {
                let Some(list) = self.groups.lists.get_mut(&number) else { return };
                if let GroupReply::List(part) = reply {
                    list.reply.error = list.reply.error.or(part.error);
                    list.reply.groups.extend(part.groups);
                }
                list.outstanding -= 1;
                if list.outstanding == 0
                    && let Some(list) = self.groups.lists.remove(&number)
                {
                    self.answer(list.reply_to, Done::Group(Box::new(GroupReply::List(list.reply))));
                }
            }
            None => {}
        }
    }

    fn append_group_records(&mut self, disk: &mut dyn Disk, slot: u32, append: &Append) {
        let now_ms = disk.wall_ms();
        let Some(key) = self.partitions.get(slot).map(|hosted| hosted.key) else { return };
        let leader_epoch = self.leader_epoch(key);
        let mut batch = BatchBuilder::new(0);
        for record in &append.records {
            batch.append(now_ms, Some(&record.key), record.value.as_deref(), &[]);
        }
        let bytes = batch.build();
        let info = AppendInfo {
            origin: AppendOrigin::Coordinator,
            leader_epoch,
            now_ms,
            timestamp: None,
            transaction_version: 0,
        };
        let appended = self.with_log(disk, slot, |log, env, _| log.append(env, &bytes, info));
        match appended {
            Some(Ok(appended)) => {
                if let Some(hosted) = self.partitions.get(slot) {
                    hosted.wait(appended.last_offset + 1, bytes.len(), Waiter::Coordinator(append.id));
                }
            }
            Some(Err(error)) => self.groups.refused.push((slot, append.id, append_error_code(&error))),
            None => self.groups.refused.push((slot, append.id, ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        }
    }

    /// Tells coordinators of appends that the log refused; whether there were any.
    pub(super) fn groups_refused(&mut self, disk: &mut dyn Disk) -> bool {
        let refused = std::mem::take(&mut self.groups.refused);
        for (slot, append, code) in &refused {
            self.group_appended(disk, *slot, *append, Some(*code));
        }
        !refused.is_empty()
    }

    /// A coordinator's records are durable, or were refused.
    pub(super) fn group_appended(
        &mut self,
        disk: &mut dyn Disk,
        slot: u32,
        append: AppendId,
        error: Option<ErrorCode>,
    ) {
        let outcome = error.map_or(Ok(()), |code| Err(code.code()));
        self.with_coordinator(disk, slot, |coordinator, now, effects| {
            coordinator.appended(now, append, outcome, effects);
        });
        self.resume_groups(disk);
    }

    /// Requests that waited for others' records to be in the log are handled.
    fn resume_groups(&mut self, disk: &mut dyn Disk) {
        while let Some((reply_to, job)) = self.groups.queue.pop() {
            match job.partition.and_then(|partition| self.groups.by_partition.get(&partition).copied()) {
                Some(slot) => self.ask_coordinator(disk, slot, reply_to, job),
                None => self.no_coordinator(reply_to, &job),
            }
        }
    }

    fn no_coordinator(&mut self, reply_to: ReplyTo, job: &GroupJob) {
        let refusal = GroupReply::refused(&job.request, job.api_version, GroupError::NotCoordinator);
        self.answer(reply_to, Done::Group(Box::new(refusal)));
    }

    /// Coordinators whose partitions have been opened begin to serve. Offsets of topics that were deleted while nobody
    /// looked are dropped.
    pub(super) fn groups_loaded(&mut self, disk: &mut dyn Disk) {
        let image = self.image.clone();
        let exists = |name: &str, id: TopicId| {
            let topics = image.topics();
            if id.is_zero() { topics.get(name).is_some() } else { topics.get_by_id(id).is_some() }
        };
        for slot in std::mem::take(&mut self.groups.fresh) {
            self.with_coordinator(disk, slot, |coordinator, now, effects| {
                coordinator.loaded(now, effects);
                let mut gone: Vec<(Arc<str>, TopicId)> = coordinator.topics().into_iter().collect();
                gone.retain(|(name, id)| !exists(name, *id));
                coordinator.topics_deleted(now, &gone);
            });
        }
    }

    pub(super) fn remove_coordinator(&mut self, disk: &mut dyn Disk, slot: u32) {
        if let Some(effects) = self.groups.remove(slot) {
            self.carry_out(disk, slot, effects);
            self.resume_groups(disk);
        }
    }

    pub(super) fn groups_topics_deleted(&mut self, disk: &mut dyn Disk, topics: &[Arc<Topic>]) {
        let gone: Vec<(Arc<str>, TopicId)> = topics.iter().map(|t| (t.name.clone(), t.id)).collect();
        let slots: Vec<u32> = self.groups.coordinators.keys().copied().collect();
        for slot in slots {
            self.with_coordinator(disk, slot, |coordinator, now, _| coordinator.topics_deleted(now, &gone));
        }
    }

    pub(super) fn expire_groups(&mut self, disk: &mut dyn Disk) {
        let (now, mut left) = (disk.now(), GROUP_EXPIRIES_IN_TURN);
        while left > 0
            && let Some((_, slot)) = self.groups.deadlines.first().filter(|(at, _)| *at <= now)
        {
            let mut done = 0;
            self.with_coordinator(disk, slot, |coordinator, now, effects| {
                done = coordinator.expire(now, left, effects);
            });
            // What is too much for the rest of this turn is for the next one.
            if done == 0 {
                return;
            }
            left = left.saturating_sub(done);
        }
    }
}
