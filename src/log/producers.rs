//! Who has written to a partition: idempotent sequences and open transactions (`ProducerStateManager`,
//! `ProducerAppendInfo`).
//!
//! Checking an append changes nothing: it gives an [`Update`] that is applied once the append has happened.

use std::collections::{BTreeMap, VecDeque};

use super::error::AppendError;
use super::types::{AbortedTransaction, AppendOrigin, ProducerDescription};
use crate::base::{Offset, ProducerId, WallMs};
use crate::wire::record::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE};

/// Batches per producer whose repetition is recognised (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub const BATCHES_KEPT: usize = 5;

/// One of the last batches of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMark {
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Last minus first offset.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: WallMs,
}

impl BatchMark {
    /// The offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }

    /// The sequence of its first record; sequences wrap to 0 after `i32::MAX`.
    pub fn first_sequence(&self) -> i32 {
        if self.last_sequence < 0 {
            return self.last_sequence;
        }
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

/// What is known about one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its epoch, -1 if unknown.
    pub epoch: i16,
    /// Of the last marker, -1 for none.
    pub coordinator_epoch: i32,
    /// Of its last batch or marker.
    pub last_timestamp: WallMs,
    /// Where its open transaction starts.
    pub txn_first_offset: Option<Offset>,
    /// Its last batches of this epoch, oldest first, at most [`BATCHES_KEPT`].
    pub batches: VecDeque<BatchMark>,
}

impl Producer {
    fn empty() -> Producer {
        Producer {
            epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
            batches: VecDeque::new(),
        }
    }

    /// The sequence of its last record, -1 for none.
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |b| b.last_sequence)
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn add_batch(&mut self, epoch: i16, mark: BatchMark) {
        self.set_epoch(epoch);
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        self.batches.push_back(mark);
        self.last_timestamp = mark.timestamp;
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<BatchMark> {
        if header.producer_epoch != self.epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        self.batches.iter().find(|b| b.first_sequence() == first && b.last_sequence == last).copied()
    }

    /// Takes over what appending has changed.
    fn merge(&mut self, next: Producer) {
        self.set_epoch(next.epoch);
        for mark in next.batches {
            self.add_batch(next.epoch, mark);
        }
        self.coordinator_epoch = next.coordinator_epoch;
        self.txn_first_offset = next.txn_first_offset;
        self.last_timestamp = next.last_timestamp;
    }
}

/// The end of a transaction as its coordinator writes it (`EndTransactionMarker`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Committed or aborted.
    pub commit: bool,
    /// The epoch of the transaction coordinator.
    pub coordinator_epoch: i32,
    /// The record's timestamp.
    pub timestamp: WallMs,
}

/// One batch of an append, with the offsets it gets.
#[derive(Clone, Copy, Debug)]
pub struct PlannedBatch {
    /// The header, base offset assigned.
    pub header: BatchHeader,
    /// The marker in it, if it is one.
    pub marker: Option<Marker>,
}

/// A transaction that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Completed {
    producer_id: ProducerId,
    first_offset: Offset,
    last_offset: Offset,
    aborted: bool,
}

/// What an accepted append changes.
#[derive(Debug, Default)]
pub struct Update {
    producers: Vec<(ProducerId, Producer)>,
    started: Vec<(Offset, ProducerId)>,
    completed: Vec<Completed>,
}

/// What checking an append gave.
#[derive(Debug)]
pub enum Checked {
    /// Append it, then [`Producers::apply`] this.
    Accept(Update),
    /// It was appended before.
    Duplicate(BatchMark),
}

/// All producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
    /// First offset of each open transaction.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// First and last offset of transactions that ended, possibly above the high watermark.
    ended: BTreeMap<Offset, Offset>,
}

impl Producers {
    /// From a snapshot's entries.
    pub fn from_entries(entries: impl IntoIterator<Item = (ProducerId, Producer)>) -> Producers {
        let producers: BTreeMap<ProducerId, Producer> = entries.into_iter().collect();
        let ongoing = producers.iter().filter_map(|(id, p)| Some((p.txn_first_offset?, *id))).collect();
        Producers { by_id: producers, ongoing, ended: BTreeMap::new() }
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ProducerId, &Producer)> {
        self.by_id.iter()
    }

    /// One producer.
    pub fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.by_id.get(&id)
    }

    /// Checks batches against what is known. `transaction_version` decides how strictly markers are checked.
    pub fn check(
        &self,
        batches: &[PlannedBatch],
        origin: AppendOrigin,
        transaction_version: i16,
    ) -> Result<Checked, AppendError> {
        let mut update = Update::default();
        for batch in batches.iter().filter(|batch| batch.header.has_producer_id()) {
            let id = batch.header.producer_id;
            let known = self.by_id.get(&id);
            if origin == AppendOrigin::Client
                && let Some(mark) = known.and_then(|p| p.duplicate_of(&batch.header))
            {
                if batches.len() > 1 {
                    return Err(AppendError::DuplicateSequence(id));
                }
                return Ok(Checked::Duplicate(mark));
            }
            let at = update.position(id, known);
            let checker = Checker { id, known, origin };
            match batch.marker {
                Some(marker) => {
                    let version = if origin == AppendOrigin::Replication { 0 } else { transaction_version };
                    let completed = checker.end_transaction(
                        &mut update.producers[at].1,
                        &batch.header,
                        marker,
                        version,
                    )?;
                    update.completed.extend(completed);
                }
                // A control batch without a record: compaction has removed the whole transaction.
                None if batch.header.attributes.is_control() => {}
                None => {
                    let started = checker.data(&mut update.producers[at].1, &batch.header)?;
                    update.started.extend(started.then_some((batch.header.base_offset, id)));
                }
            }
        }
        Ok(Checked::Accept(update))
    }

    /// Applies an append. Gives the transactions it aborted, for the transaction index.
    pub fn apply(&mut self, update: Update) -> Vec<AbortedTransaction> {
        for (id, next) in update.producers {
            match self.by_id.get_mut(&id) {
                Some(producer) => producer.merge(next),
                None => {
                    self.by_id.insert(id, next);
                }
            }
        }
        self.ongoing.extend(update.started);
        let mut aborted = Vec::new();
        for txn in update.completed {
            if txn.aborted {
                aborted.push(AbortedTransaction {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                    last_offset: txn.last_offset,
                    last_stable_offset: self.stable_after(&txn),
                });
            }
            self.ongoing.remove(&txn.first_offset);
            self.ended.insert(txn.first_offset, txn.last_offset);
        }
        aborted
    }

    fn stable_after(&self, txn: &Completed) -> Offset {
        let other = self.ongoing.iter().find(|(_, id)| **id != txn.producer_id);
        other.map_or(txn.last_offset + 1, |(first, _)| *first)
    }

    /// The first offset that belongs to an open transaction, or to one whose end is not below `high_watermark`.
    pub fn first_unstable_offset(&self, high_watermark: Offset) -> Option<Offset> {
        let open = self.ongoing.first_key_value().map(|(first, _)| *first);
        let ended = self.ended.iter().find(|(_, last)| **last >= high_watermark).map(|(first, _)| *first);
        match (open, ended) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Forgets ended transactions below the high watermark.
    pub fn forget_ended(&mut self, high_watermark: Offset) {
        if !self.ended.is_empty() {
            self.ended.retain(|_, last| *last >= high_watermark);
        }
    }

    /// Forgets producers that were silent for `expiration_ms` and have no open transaction.
    pub fn expire(&mut self, now_ms: WallMs, expiration_ms: i64) {
        self.by_id.retain(|_, p| {
            p.txn_first_offset.is_some() || now_ms.saturating_sub(p.last_timestamp) < expiration_ms
        });
    }

    /// As `DescribeProducers` shows them, from an id on, so many at most; and whether there are more.
    pub fn describe(&self, from: ProducerId, most: usize) -> (Vec<ProducerDescription>, bool) {
        let describe = |(id, p): (&ProducerId, &Producer)| ProducerDescription {
            producer_id: *id,
            producer_epoch: p.epoch,
            last_sequence: p.last_sequence(),
            last_timestamp: p.last_timestamp,
            coordinator_epoch: p.coordinator_epoch,
            current_txn_start_offset: p.txn_first_offset.unwrap_or(-1),
        };
        let mut rest = self.by_id.range(from..);
        let described = rest.by_ref().take(most).map(describe).collect();
        (described, rest.next().is_some())
    }
}

impl Update {
    /// The place of a producer's working copy, which starts without batches, as only new ones are added.
    fn position(&mut self, id: ProducerId, known: Option<&Producer>) -> usize {
        if let Some(at) = self.producers.iter().position(|(other, _)| *other == id) {
            return at;
        }
        let copy = known.map_or_else(Producer::empty, |p| Producer {
            epoch: p.epoch,
            coordinator_epoch: p.coordinator_epoch,
            last_timestamp: p.last_timestamp,
            txn_first_offset: p.txn_first_offset,
            batches: VecDeque::new(),
        });
        self.producers.push((id, copy));
        self.producers.len() - 1
    }
}

/// The rules for one batch of one producer.
struct Checker<'a> {
    id: ProducerId,
    known: Option<&'a Producer>,
    origin: AppendOrigin,
}

impl Checker<'_> {
    /// Whether a transaction starts with this batch.
    fn data(&self, next: &mut Producer, header: &BatchHeader) -> Result<bool, AppendError> {
        if self.origin != AppendOrigin::Replication && header.producer_epoch < next.epoch {
            return Err(self.old_epoch(header.producer_epoch, next.epoch));
        }
        if self.origin == AppendOrigin::Client {
            self.sequence(next, header)?;
        }
        let mark = BatchMark {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        };
        next.add_batch(header.producer_epoch, mark);
        match (next.txn_first_offset, header.attributes.is_transactional()) {
            (Some(_), false) if self.origin != AppendOrigin::Replication => {
                Err(AppendError::InvalidTransactionState(self.id))
            }
            (None, true) => {
                next.txn_first_offset = Some(header.base_offset);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn sequence(&self, next: &Producer, header: &BatchHeader) -> Result<(), AppendError> {
        let sequence = header.base_sequence;
        let out_of_order =
            |expected| AppendError::OutOfOrderSequence { producer_id: self.id, sequence, expected };
        if header.producer_epoch != next.epoch {
            // A new epoch starts at zero; without state (all of it deleted or expired) any sequence will do.
            let fresh = next.epoch == NO_PRODUCER_EPOCH;
            return if sequence == 0 || fresh { Ok(()) } else { Err(out_of_order(0)) };
        }
        let known = self.known.filter(|p| p.epoch == header.producer_epoch);
        let last = match next.batches.back() {
            Some(mark) => mark.last_sequence,
            None => known.map_or(NO_SEQUENCE, Producer::last_sequence),
        };
        if self.known.is_none_or(|p| p.epoch == NO_PRODUCER_EPOCH) {
            return Ok(());
        }
        let expected = last.wrapping_add(1) & i32::MAX;
        if sequence == expected { Ok(()) } else { Err(out_of_order(expected)) }
    }

    fn end_transaction(
        &self,
        next: &mut Producer,
        header: &BatchHeader,
        marker: Marker,
        transaction_version: i16,
    ) -> Result<Option<Completed>, AppendError> {
        self.marker_epoch(next, header.producer_epoch, transaction_version)?;
        if next.coordinator_epoch > marker.coordinator_epoch && self.origin != AppendOrigin::Replication {
            return Err(AppendError::CoordinatorFenced {
                producer_id: self.id,
                epoch: marker.coordinator_epoch,
                current: next.coordinator_epoch,
            });
        }
        let completed = next.txn_first_offset.map(|first_offset| Completed {
            producer_id: self.id,
            first_offset,
            last_offset: header.base_offset,
            aborted: !marker.commit,
        });
        next.set_epoch(header.producer_epoch);
        next.coordinator_epoch = marker.coordinator_epoch;
        next.txn_first_offset = None;
        next.last_timestamp = marker.timestamp;
        Ok(completed)
    }

    /// From transaction version 2 on a marker raises the epoch (KIP-890), so an equal one is late, unless it repeats
    /// a marker that was written already.
    fn marker_epoch(&self, next: &Producer, epoch: i16, transaction_version: i16) -> Result<(), AppendError> {
        let strict = transaction_version >= 2;
        let repeated =
            strict && epoch == next.epoch && (next.txn_first_offset.is_none() || epoch == i16::MAX);
        let old = if strict { epoch <= next.epoch } else { epoch < next.epoch };
        if !old || repeated || self.origin == AppendOrigin::Replication {
            return Ok(());
        }
        Err(self.old_epoch(epoch, next.epoch))
    }

    fn old_epoch(&self, epoch: i16, current: i16) -> AppendError {
        AppendError::InvalidProducerEpoch { producer_id: self.id, epoch, current }
    }
}

#[cfg(test)]
mod tests;
