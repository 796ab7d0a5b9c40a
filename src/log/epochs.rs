//! Which leader epoch wrote which offsets (`LeaderEpochFileCache`, KIP-101).

use super::types::EpochEnd;
use crate::base::{LeaderEpoch, Offset};

/// Leader epochs with the offset of their first record, both rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
    /// Of the last entry: every append asks for it.
    latest: Option<LeaderEpoch>,
}

impl Epochs {
    /// From a checkpoint's entries, which rise.
    pub fn new(entries: Vec<(LeaderEpoch, Offset)>) -> Epochs {
        let mut epochs = Epochs { entries, latest: None };
        epochs.changed();
        epochs
    }

    /// The entries, for the checkpoint.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.latest
    }

    fn changed(&mut self) {
        self.latest = self.entries.last().map(|(epoch, _)| *epoch);
    }

    /// Notes that `epoch` starts at `start`. Whether anything changed. Entries that conflict with it are dropped:
    /// they belong to records that were truncated.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < 0 || start < 0 {
            return false;
        }
        if let Some((last_epoch, last_start)) = self.entries.last()
            && epoch == *last_epoch
            && start >= *last_start
        {
            return false;
        }
        while self.entries.last().is_some_and(|(e, s)| *e >= epoch || *s >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        self.changed();
        true
    }

    /// The end of an epoch, where `log_end` is the log's end (`endOffsetFor`).
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> EpochEnd {
        let unknown = EpochEnd { epoch: -1, end_offset: -1 };
        let Some((first, _)) = self.entries.first() else { return unknown };
        match self.latest() {
            _ if epoch == -1 => unknown,
            Some(latest) if epoch > latest => unknown,
            Some(latest) if epoch == latest => EpochEnd { epoch, end_offset: log_end },
            _ => {
                // Not the newest, so there is an entry above.
                let above = self.entries.partition_point(|(e, _)| *e <= epoch);
                let end_offset = self.entries.get(above).map_or(log_end, |(_, start)| *start);
                if epoch < *first {
                    // Older than anything known: everything known follows it.
                    return EpochEnd { epoch, end_offset };
                }
                let floor = above.checked_sub(1).and_then(|i| self.entries.get(i));
                EpochEnd { epoch: floor.map_or(-1, |(e, _)| *e), end_offset }
            }
        }
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|(_, start)| *start <= offset);
        above.checked_sub(1).and_then(|i| self.entries.get(i)).map(|(epoch, _)| *epoch)
    }

    /// The log's end moved back to `end`: epochs that start there or later are gone.
    pub fn truncate_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end);
        self.changed();
        self.entries.len() != before
    }

    /// The log's start moved to `start`: epochs that end before are gone, and the first one left starts there.
    pub fn truncate_start(&mut self, start: Offset) -> bool {
        let above = self.entries.partition_point(|(_, s)| *s <= start);
        let Some(first) = above.checked_sub(1) else { return false };
        let changed = first > 0 || self.entries[first].1 != start;
        self.entries.drain(..first);
        self.entries[0].1 = start;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: LeaderEpoch, end_offset: Offset) -> EpochEnd {
        EpochEnd { epoch, end_offset }
    }

    #[test]
    fn ends() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.end_offset_for(0, 5), end(-1, -1));
        assert!(epochs.assign(2, 10));
        assert_eq!(epochs.end_offset_for(-1, 20), end(-1, -1));
        assert_eq!(epochs.end_offset_for(-2, 20), end(-2, 10), "older than anything known, as in Kafka");
        assert!(!epochs.assign(2, 15));
        assert!(epochs.assign(5, 20));
        let cases = [
            (-1, end(-1, -1)),
            (1, end(1, 10)),
            (2, end(2, 20)),
            (4, end(2, 20)),
            (5, end(5, 30)),
            (6, end(-1, -1)),
        ];
        for (epoch, expected) in cases {
            assert_eq!(epochs.end_offset_for(epoch, 30), expected, "{epoch}");
        }
        assert_eq!(
            [9, 10, 19, 20, 99].map(|o| epochs.epoch_at(o)),
            [None, Some(2), Some(2), Some(5), Some(5)]
        );
    }

    #[test]
    fn conflicting_and_truncated_entries_go() {
        let mut epochs = Epochs::new(vec![(1, 0), (2, 10), (3, 20)]);
        assert!(epochs.assign(4, 10));
        assert_eq!(epochs.entries(), [(1, 0), (4, 10)]);
        assert!(epochs.truncate_end(10));
        assert_eq!(epochs.entries(), [(1, 0)]);
        let mut epochs = Epochs::new(vec![(1, 0), (2, 10), (3, 20)]);
        assert!(epochs.truncate_start(15));
        assert_eq!(epochs.entries(), [(2, 15), (3, 20)]);
        assert!(!epochs.truncate_start(15));
        assert!(!epochs.truncate_start(3));
    }
}
