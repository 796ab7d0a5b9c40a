//! The leader: appends what is proposed, and knows what is committed.

use super::node::{Effect, Proposed};
use super::{RaftError, VoterSet, control, data_batch};
use crate::base::{BrokerId, LeaderEpoch, Offset, WallMs};
use crate::wire::record::{BatchBuilder, ControlType};

/// The leader of an epoch. Alone, what is on its disk is committed.
#[derive(Clone, Debug)]
pub struct Leader {
    epoch: LeaderEpoch,
    epoch_start: Offset,
    log_end: Offset,
    high_watermark: Option<Offset>,
}

impl Leader {
    /// Starts the epoch: appends the control batch that says so. `write_voters` also writes `kraft.version` and the
    /// voters: they were never in the log, or changed.
    pub(super) fn start(
        epoch: LeaderEpoch,
        leader_id: BrokerId,
        log_end: Offset,
        voters: &VoterSet,
        write_voters: Option<i16>,
        now_ms: WallMs,
        effects: &mut Vec<Effect>,
    ) -> Leader {
        let ids = voters.ids();
        let change = control::leader_change(leader_id, &ids, &[leader_id]);
        let mut batch = BatchBuilder::new(log_end).leader_epoch(epoch).control(
            ControlType::LeaderChange,
            now_ms,
            &change,
        );
        if let Some(kraft_version) = write_voters {
            batch = batch
                .control(ControlType::KraftVersion, now_ms, &control::kraft_version(kraft_version))
                .control(ControlType::KraftVoters, now_ms, &control::kraft_voters(voters));
        }
        let mut leader = Leader { epoch, epoch_start: log_end, log_end, high_watermark: None };
        leader.append(batch.len(), batch.build(), effects);
        leader
    }

    /// Appends values that take effect together.
    pub(super) fn propose<V: AsRef<[u8]>>(
        &mut self,
        values: &[V],
        now_ms: WallMs,
        effects: &mut Vec<Effect>,
    ) -> Result<Proposed, RaftError> {
        assert!(!values.is_empty(), "a proposal has records");
        let bytes = data_batch(self.log_end, self.epoch, now_ms, values)?;
        let first = self.log_end;
        self.append(values.len(), bytes, effects);
        Ok(Proposed { first, last: self.log_end - 1, epoch: self.epoch })
    }

    fn append(&mut self, records: usize, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
        let first = self.log_end;
        self.log_end += records as Offset;
        effects.push(Effect::Append { first, last: self.log_end - 1, bytes });
    }

    /// Everything below `end` is on this node's disk.
    pub(super) fn durable(&mut self, end: Offset, effects: &mut Vec<Effect>) {
        assert!(end <= self.log_end, "more is durable than was appended");
        // An epoch's first batch commits everything before it as well (Raft's rule for older epochs).
        if end > self.epoch_start && self.high_watermark.is_none_or(|hw| end > hw) {
            self.high_watermark = Some(end);
            effects.push(Effect::Committed { high_watermark: end });
        }
    }

    /// The epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The offset below which everything is committed; `None` until the epoch's first batch is.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }
}
