//! Appends on their way to the log, in the order of the log, with what is to happen once each is committed or refused.

use super::classic::{ClassicGroup, Member};
use super::offsets::CommittedOffset;
use super::reply::GroupReply;
use super::request::FetchRequest;
use super::{Effects, GroupError, record};
use crate::coord::{Append, AppendId, Record, Ticket};
use crate::wire::ErrorCode;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A record, and what it changes in the hard state.
pub(super) enum Change {
    /// An offset is committed, or deleted.
    Offset { group: Arc<str>, topic: Arc<str>, partition: i32, value: Option<CommittedOffset> },
    /// A group is stored as it is at this moment; the record's value is made already, or could not be made; its append takes it.
    Store { group: Arc<str>, value: Option<Vec<u8>> },
    /// A group is deleted.
    Drop { group: Arc<str> },
}

/// What follows an append.
pub(super) enum Then {
    /// Nothing: the log is only told.
    Nothing,
    /// A parked reply goes out; if the append fails, the same kind of reply with the error.
    Reply(Ticket, GroupReply),
    /// The leader's assignment: members that wait in SyncGroup get theirs.
    Assigned { generation: i32, assignments: BTreeMap<Arc<str>, Arc<[u8]>> },
    /// A static member got a new id in a stable group; its JoinGroup is parked.
    Replaced(Box<Replaced>),
}

/// What undoes the replacement of a static member, and what its reply needs.
pub(super) struct Replaced {
    pub(super) ticket: Ticket,
    pub(super) old: Member,
    pub(super) new_member_id: Arc<str>,
    pub(super) old_leader: Option<Arc<str>>,
    pub(super) knows_skip_assignment: bool,
}

/// One append that is not settled.
pub(super) struct Entry {
    pub(super) id: AppendId,
    /// Of its records.
    bytes: usize,
    /// The one group it concerns, if it is one.
    pub(super) group: Option<Arc<str>>,
    pub(super) changes: Vec<Change>,
    /// Groups that were taken out of the coordinator because this append deletes them.
    pub(super) removed: Vec<ClassicGroup>,
    pub(super) then: Then,
    /// Fetches that must not overtake this append.
    pub(super) fetches: Vec<(Ticket, i16, FetchRequest)>,
    pub(super) outcome: Option<Result<(), i16>>,
}

/// All appends that are not settled.
pub(super) struct InFlight {
    /// [`GroupConfig::record_bytes_max`](super::GroupConfig::record_bytes_max).
    pub(super) record_bytes_max: usize,
    next_id: u64,
    queue: VecDeque<Entry>,
    /// Of the records of all in the queue.
    bytes: usize,
}

impl InFlight {
    pub(super) fn new(record_bytes_max: usize) -> InFlight {
        InFlight { record_bytes_max, next_id: 0, queue: VecDeque::new(), bytes: 0 }
    }

    /// Whether records may be appended: the log of Kafka refuses a record that is larger than a batch may be, and the
    /// offsets of one OffsetCommit together are one batch.
    fn fits(&self, records: &[Record], then: &Then) -> bool {
        let mut bytes = records.iter().map(Record::batch_bytes);
        match then {
            Then::Reply(_, GroupReply::CommitOffsets(_)) if records.len() > 1 => {
                let all: usize = records.iter().map(Record::payload_bytes).sum();
                all <= self.record_bytes_max
            }
            _ => bytes.all(|bytes| bytes <= self.record_bytes_max),
        }
    }

    /// Asks for an append. Records that cannot be written settle at once as refused; so do those that do not fit.
    pub(super) fn push(
        &mut self,
        effects: &mut Effects,
        group: Option<Arc<str>>,
        mut changes: Vec<Change>,
        removed: Vec<ClassicGroup>,
        then: Then,
    ) {
        debug_assert!(!changes.is_empty(), "an append without records");
        let id = AppendId(self.next_id);
        self.next_id += 1;
        let records: Option<Vec<Record>> = changes.iter_mut().map(record::encode).collect();
        let bytes = records.iter().flatten().map(Record::payload_bytes).sum();
        let outcome = match records {
            Some(records) if !self.fits(&records, &then) => Some(Err(ErrorCode::MESSAGE_TOO_LARGE.code())),
            Some(records) => {
                effects.appends.push(Append { id, records });
                None
            }
            None => Some(Err(GroupError::UnknownServerError.code())),
        };
        self.bytes += bytes;
        let fetches = Vec::new();
        self.queue.push_back(Entry { id, bytes, group, changes, removed, then, fetches, outcome });
    }

    /// Notes how an append ended. An unknown id (of before an unload) is ignored.
    pub(super) fn note(&mut self, id: AppendId, outcome: Result<(), i16>) {
        if let Ok(at) = self.queue.binary_search_by_key(&id, |entry| entry.id)
            && let Some(entry) = self.queue.get_mut(at)
        {
            entry.outcome = Some(outcome);
        }
    }

    /// The oldest append, if it and so all before it have ended.
    pub(super) fn pop_settled(&mut self) -> Option<Entry> {
        match self.queue.front()?.outcome {
            Some(_) => self.pop(),
            None => None,
        }
    }

    /// The oldest append, however it stands.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.queue.pop_front()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Of the records on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Entry> {
        self.queue.back_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether an append for this one group is on its way.
    pub(super) fn concerns(&self, group: &str) -> bool {
        self.queue.iter().any(|entry| entry.group.as_deref() == Some(group))
    }

    /// Whether an assignment of this generation is on its way.
    pub(super) fn assigns(&self, group: &str, of_generation: i32) -> bool {
        let assigns =
            |then: &Then| matches!(then, Then::Assigned { generation, .. } if *generation == of_generation);
        self.queue.iter().any(|entry| entry.group.as_deref() == Some(group) && assigns(&entry.then))
    }

    /// Groups that are deleted in memory but not yet in the log.
    pub(super) fn removed(&self) -> impl Iterator<Item = &ClassicGroup> {
        self.queue.iter().flat_map(|entry| &entry.removed)
    }

    /// Changes of offsets on their way, the oldest first.
    pub(super) fn offsets(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, i32, Option<&CommittedOffset>)> {
        self.queue.iter().flat_map(|entry| &entry.changes).filter_map(|change| match change {
            Change::Offset { group, topic, partition, value } => {
                Some((group, topic, *partition, value.as_ref()))
            }
            Change::Store { .. } | Change::Drop { .. } => None,
        })
    }
}
