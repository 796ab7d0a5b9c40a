//! The small text files: offset checkpoints, leader epochs, `partition.metadata`, `.kafka_cleanshutdown`, and Ottla's own
//! `ottla-checkpoint`.
//!
//! Parsers answer None for anything that is not exactly the format. A file that is absent, one that is damaged and one that
//! cannot be read are three things ([`Content`], and an error): whoever reads one decides each.
//!
//! Kafka's checkpoints of offsets go by name, and a name may have belonged to another topic. Ottla's own file says whose
//! they are:
//!
//! ```text
//! ottla-checkpoint 1                                      name and version
//! incarnation FqDBUOgcRh6yJkC4mPwMBQ after 3ck2Kw...      the broker's start that wrote it, and the one registered before
//! QkFzkPq1T3m9Ns0vJt5b4A 0 17 3 certain                   topic id, partition, recovery point, log start (- for none)
//! offline QkFzkPq1T3m9Ns0vJt5b4A 0 ottla-journal-0.staged.aside-1
//! crc32c 1f0ac5b7                                         of all that comes before
//! ```
//!
//! `ottla-offline` has the same form without lines of offsets: what keeps a partition offline outlives damage to either file.
//!
//! `unsure` instead of `certain`: taken over from Kafka's checkpoints, and not yet compared with the log. `offline`: the
//! partition is not opened as long as the file is there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::base::{LeaderEpoch, Offset, TopicId, TopicPartition, Uuid};
use crate::io::Files;

/// What a small file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<T> {
    /// There is none.
    Absent,
    /// It is not what was written: these bytes.
    Damaged(Vec<u8>),
    /// This.
    Whole(T),
}

/// Reads a small file. Blocks.
///
/// # Errors
/// If it cannot be read, which says nothing about what is in it.
pub fn read<T>(
    files: &dyn Files,
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> io::Result<Content<T>> {
    Ok(match files.read_if_there(path)? {
        None => Content::Absent,
        Some(bytes) => parse(&bytes).map_or(Content::Damaged(bytes), Content::Whole),
    })
}

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

/// The version of `ottla-checkpoint` that is written.
const OWN_VERSION: u32 = 1;

/// What `ottla-checkpoint` says of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnLine {
    /// Everything below is flushed.
    pub recovery_point: Option<Offset>,
    /// The first offset.
    pub log_start_offset: Option<Offset>,
    /// Both are this topic's.
    pub certain: bool,
}

/// What `ottla-checkpoint` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The broker's start that wrote it.
    pub incarnation_id: Uuid,
    /// What was registered before that.
    pub previous_id: Uuid,
    /// By topic and number.
    pub partitions: BTreeMap<(TopicId, i32), OwnLine>,
    /// Partitions that are not opened as long as a file of this name is in the directory.
    pub offline: BTreeMap<(TopicId, i32), String>,
}

/// Why `ottla-checkpoint` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnError {
    /// It is of this later version.
    Newer(u32),
    /// It is not what was written.
    Damaged,
}

/// Formats `ottla-checkpoint`.
pub fn format_own(own: &Own) -> Vec<u8> {
    let (id, previous) = (own.incarnation_id, own.previous_id);
    let mut text = format!("ottla-checkpoint {OWN_VERSION}\nincarnation {id} after {previous}\n");
    for ((topic_id, partition), line) in &own.partitions {
        let _ = write!(text, "{topic_id} {partition}");
        for offset in [line.recovery_point, line.log_start_offset] {
            let _ = match offset {
                Some(offset) => write!(text, " {offset}"),
                None => write!(text, " -"),
            };
        }
        text.push_str(if line.certain { " certain\n" } else { " unsure\n" });
    }
    for ((topic_id, partition), file) in &own.offline {
        let _ = writeln!(text, "offline {topic_id} {partition} {file}");
    }
    let crc = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {crc:08x}");
    text.into_bytes()
}

/// Reads `ottla-checkpoint`.
pub fn parse_own(bytes: &[u8]) -> Result<Own, OwnError> {
    let text = std::str::from_utf8(bytes).map_err(|_| OwnError::Damaged)?;
    let body = text.trim_end_matches('\n').rfind('\n').map_or("", |at| &text[..=at]);
    let crc = text[body.len()..].strip_prefix("crc32c ").and_then(|line| line.strip_suffix('\n'));
    if crc != Some(&format!("{:08x}", crc32c::crc32c(body.as_bytes()))) {
        return Err(OwnError::Damaged);
    }
    let (head, lines) = body.split_once('\n').ok_or(OwnError::Damaged)?;
    let version = head.strip_prefix("ottla-checkpoint ").and_then(|version| version.parse().ok());
    match version {
        Some(OWN_VERSION) => parse_own_lines(lines).ok_or(OwnError::Damaged),
        Some(version) => Err(OwnError::Newer(version)),
        None => Err(OwnError::Damaged),
    }
}

fn parse_own_lines(text: &str) -> Option<Own> {
    let mut lines = text.lines();
    let (id, previous) = lines.next()?.strip_prefix("incarnation ")?.split_once(" after ")?;
    let mut own =
        Own { incarnation_id: Uuid::parse(id)?, previous_id: Uuid::parse(previous)?, ..Own::default() };
    let offset = |word: &str| match word {
        "-" => Some(None),
        word => word.parse().ok().filter(|offset| *offset >= 0).map(Some),
    };
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["offline", topic_id, partition, file] => {
                own.offline.insert((Uuid::parse(topic_id)?, partition.parse().ok()?), file.to_owned());
            }
            [topic_id, partition, recovery_point, log_start, sure @ ("certain" | "unsure")] => {
                let line = OwnLine {
                    recovery_point: offset(recovery_point)?,
                    log_start_offset: offset(log_start)?,
                    certain: sure == "certain",
                };
                own.partitions.insert((Uuid::parse(topic_id)?, partition.parse().ok()?), line);
            }
            _ => return None,
        }
    }
    Some(own)
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
    fn own_checkpoint_has_these_bytes() {
        let id = |n| Uuid::from_u128(n);
        let certain = OwnLine { recovery_point: Some(17), log_start_offset: Some(3), certain: true };
        let own = Own {
            incarnation_id: id(1),
            previous_id: id(2),
            partitions: [((id(7), 0), certain), ((id(7), 1), OwnLine::default())].into(),
            offline: [((id(7), 2), "ottla-journal-0.staged.aside-1".to_owned())].into(),
        };
        let bytes = format_own(&own);
        let golden = "ottla-checkpoint 1\n\
            incarnation AAAAAAAAAAAAAAAAAAAAAQ after AAAAAAAAAAAAAAAAAAAAAg\n\
            AAAAAAAAAAAAAAAAAAAABw 0 17 3 certain\n\
            AAAAAAAAAAAAAAAAAAAABw 1 - - unsure\n\
            offline AAAAAAAAAAAAAAAAAAAABw 2 ottla-journal-0.staged.aside-1\n\
            crc32c ";
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(text.strip_prefix(golden).map(str::len), Some(9), "{text}");
        assert_eq!(parse_own(&bytes), Ok(own));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(parse_own(&damaged).is_err(), "a flipped bit in byte {at}");
            assert_eq!(parse_own(&bytes[..at]), Err(OwnError::Damaged), "cut at {at}");
        }
        let newer = "ottla-checkpoint 2\nwhatever\n".to_owned();
        let newer = format!("{newer}crc32c {:08x}\n", crc32c::crc32c(newer.as_bytes()));
        assert_eq!(parse_own(newer.as_bytes()), Err(OwnError::Newer(2)));
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
