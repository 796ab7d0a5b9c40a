//! The small text files: offset checkpoints, leader epochs, `partition.metadata`, `.kafka_cleanshutdown`.
//!
//! Readers answer None for anything that is not exactly the format; the caller goes on without, and warns.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::base::{LeaderEpoch, Offset, TopicId, TopicPartition, Uuid};

/// Formats an offset checkpoint (`OffsetCheckpointFile`): version 0, count, `topic partition offset` lines.
pub fn format_offsets(offsets: &BTreeMap<TopicPartition, Offset>) -> Vec<u8> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (tp, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", tp.topic, tp.partition);
    }
    text.into_bytes()
}

/// Reads an offset checkpoint.
pub fn parse_offsets(bytes: &[u8]) -> Option<BTreeMap<TopicPartition, Offset>> {
    parse_lines(bytes, |line| {
        let mut words = line.split(' ');
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || topic.is_empty() {
            return None;
        }
        let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
        Some((TopicPartition::new(topic, partition.parse().ok()?), offset))
    })
    .map(|entries| entries.into_iter().collect())
}

/// Formats `leader-epoch-checkpoint`: version 0, count, `epoch start-offset` lines.
pub fn format_epochs(epochs: &[(LeaderEpoch, Offset)]) -> Vec<u8> {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(text, "{epoch} {start}");
    }
    text.into_bytes()
}

/// Reads `leader-epoch-checkpoint`. Epochs and offsets increase.
pub fn parse_epochs(bytes: &[u8]) -> Option<Vec<(LeaderEpoch, Offset)>> {
    let epochs = parse_lines(bytes, |line| {
        let (epoch, start) = line.split_once(' ')?;
        Some((epoch.parse().ok()?, start.parse().ok()?))
    })?;
    let ordered = epochs.is_sorted_by(|a: &(LeaderEpoch, Offset), b| a.0 < b.0 && a.1 <= b.1);
    let valid = epochs.iter().all(|(epoch, start)| *epoch >= 0 && *start >= 0);
    (ordered && valid).then_some(epochs)
}

fn parse_lines<T>(bytes: &[u8], parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let entries: Option<Vec<T>> = lines.map(parse).collect();
    entries.filter(|entries| entries.len() == count)
}

/// Formats `partition.metadata`.
pub fn format_partition_metadata(topic_id: TopicId) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic_id}").into_bytes()
}

/// Reads `partition.metadata`.
pub fn parse_partition_metadata(bytes: &[u8]) -> Option<TopicId> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    if lines.next()?.trim() != "version: 0" {
        return None;
    }
    let id = lines.next()?.strip_prefix("topic_id: ")?.trim();
    if lines.next().is_some() {
        return None;
    }
    Uuid::parse(id).filter(|id| !id.is_zero())
}

/// Formats `.kafka_cleanshutdown` (KIP-966): the broker's epoch at its end, -1 for none.
pub fn format_clean_shutdown(broker_epoch: i64) -> Vec<u8> {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}").into_bytes()
}

/// The broker's epoch in `.kafka_cleanshutdown`. The file counts as present even if this is None.
pub fn parse_clean_shutdown(bytes: &[u8]) -> Option<i64> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    value.get("brokerEpoch")?.as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_both_ways() {
        let offsets = BTreeMap::from([(TopicPartition::new("a", 0), 7), (TopicPartition::new("b.c", 12), 0)]);
        let bytes = format_offsets(&offsets);
        assert_eq!(bytes, b"0\n2\na 0 7\nb.c 12 0\n");
        assert_eq!(parse_offsets(&bytes), Some(offsets));
        for bad in [
            "",
            "1\n0\n",
            "0\n1\n",
            "0\n0\na 0 1\n",
            "0\n1\na 0\n",
            "0\n1\na 0 -1\n",
            "0\nx\n",
            "0\n1\na 0 1 2\n",
        ] {
            assert_eq!(parse_offsets(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn epochs_both_ways() {
        let epochs = vec![(0, 0), (3, 10), (4, 10)];
        assert_eq!(parse_epochs(&format_epochs(&epochs)), Some(epochs));
        for bad in ["0\n2\n1 0\n1 5\n", "0\n2\n1 5\n2 0\n", "0\n1\n-1 0\n", "0\n1\n1\n"] {
            assert_eq!(parse_epochs(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn metadata_and_clean_shutdown() {
        let id = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        assert_eq!(parse_partition_metadata(&format_partition_metadata(id)), Some(id));
        assert_eq!(parse_partition_metadata(b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"), None);
        assert_eq!(parse_partition_metadata(&format_partition_metadata(Uuid::ZERO)), None);
        assert_eq!(parse_clean_shutdown(&format_clean_shutdown(9)), Some(9));
        assert_eq!(parse_clean_shutdown(b""), None);
    }
}
