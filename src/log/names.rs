//! The names of Kafka's files and directories (`LogFileUtils`, `LocalLog`).

use crate::base::limits::FILE_NAME_BYTES_MAX;
use crate::base::{Offset, TopicPartition};

/// What a file of a partition's directory is, by its suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `.log`
    Log,
    /// `.index`
    OffsetIndex,
    /// `.timeindex`
    TimeIndex,
    /// `.txnindex`
    TransactionIndex,
    /// `.snapshot`
    ProducerSnapshot,
}

impl FileKind {
    /// All kinds.
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
        FileKind::ProducerSnapshot,
    ];

    /// The suffix, without the dot.
    pub fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => "log",
            FileKind::OffsetIndex => "index",
            FileKind::TimeIndex => "timeindex",
            FileKind::TransactionIndex => "txnindex",
            FileKind::ProducerSnapshot => "snapshot",
        }
    }
}

/// The name of a file whose segment (or snapshot) starts at `offset`: 20 digits and the suffix.
pub fn file_name(offset: Offset, kind: FileKind) -> String {
    format!("{offset:020}.{}", kind.suffix())
}

/// The offset and kind of a file name; None for any other name.
pub fn parse_file_name(name: &str) -> Option<(Offset, FileKind)> {
    let (digits, suffix) = name.split_once('.')?;
    let kind = FileKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, kind))
}

/// `leader-epoch-checkpoint`, in a partition's directory.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// `partition.metadata`, in a partition's directory.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// In a log directory.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// In a log directory.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// In a log directory.
pub const REPLICATION_CHECKPOINT: &str = "replication-offset-checkpoint";
/// In a log directory; Ottla's own.
pub const OTTLA_CHECKPOINT: &str = "ottla-checkpoint";
/// Ottla's own: how far the metadata log was committed.
pub const OTTLA_METADATA_END: &str = "ottla-metadata-end";
/// Ottla's own: which partitions stay offline, a second time.
pub const OTTLA_OFFLINE: &str = "ottla-offline";
/// In a log directory, after a clean stop.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// What a directory in a log directory is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirKind {
    /// `<topic>-<partition>`.
    Partition(TopicPartition),
    /// `<topic>-<partition>.<uuid>-delete`: to be removed.
    Delete,
    /// `<topic>-<partition>.<uuid>-stray`: set aside by the operator's wish or by Kafka, left alone.
    Stray,
    /// `<topic>-<partition>.<uuid>-future`: a move between log directories that was going on; to be removed.
    Future,
    /// Not a partition's.
    Other,
}

/// The kind of a directory name (`LocalLog.parseTopicPartitionName`).
pub fn parse_dir_name(name: &str) -> DirKind {
    if let Some((_, unique)) = name.rsplit_once('.')
        && let Some((id, suffix)) = unique.rsplit_once('-')
        && !id.is_empty()
    {
        match suffix {
            "delete" => return DirKind::Delete,
            "stray" => return DirKind::Stray,
            "future" => return DirKind::Future,
            _ => {}
        }
    }
    let Some((topic, partition)) = name.rsplit_once('-') else { return DirKind::Other };
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    match partition.parse() {
        Ok(partition) if digits && !topic.is_empty() => {
            DirKind::Partition(TopicPartition::new(topic, partition))
        }
        _ => DirKind::Other,
    }
}

/// The name of a partition's directory that is out of use, `<topic>-<partition>.<suffix>`; the topic's part is cut so that a
/// file system takes it (`LocalLog.logDirNameWithSuffixCappedLength`).
pub fn retired_dir_name(dir_name: &str, suffix: &str) -> String {
    let topic_end = dir_name.rfind('-').unwrap_or(dir_name.len());
    let (topic, partition) = dir_name.split_at(topic_end);
    let room = FILE_NAME_BYTES_MAX.saturating_sub(partition.len() + 1 + suffix.len());
    format!("{}{partition}.{suffix}", &topic[..topic.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::limits::TOPIC_NAME_BYTES_MAX;

    /// A topic with a name of 249 characters was deleted: its directory's new name was longer than a file system takes, and
    /// the broker never started again.
    #[test]
    fn every_partition_directory_has_a_name_to_retire_under() {
        let id = "f".repeat(32);
        for (length, partition, fill) in (1..=TOPIC_NAME_BYTES_MAX).flat_map(|length| {
            [0, 9, 10, 99_999, i32::MAX]
                .into_iter()
                .flat_map(move |n| ["t", "-", ".", "ä"].map(|c| (length, n, c)))
        }) {
            let name = TopicPartition::new(&*fill.repeat(length), partition).to_string();
            for (what, kind) in [("delete", DirKind::Delete), ("stray", DirKind::Stray)] {
                let retired = retired_dir_name(&name, &format!("{id}-{what}"));
                assert!(retired.len() <= FILE_NAME_BYTES_MAX, "{name}: {retired}");
                assert_eq!(parse_dir_name(&retired), kind, "{name}: {retired}");
                assert!(name.len() > 200 || retired.starts_with(&name), "cut without need: {retired}");
            }
        }
        let long = "t".repeat(TOPIC_NAME_BYTES_MAX);
        let names: BTreeSet<String> =
            (0..1000).map(|n| retired_dir_name(&format!("{long}-{n}"), "id-delete")).collect();
        assert_eq!(names.len(), 1000, "the partition is never cut");
        assert!(retired_dir_name(&"x".repeat(300), "id-stray").len() <= FILE_NAME_BYTES_MAX);
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(file_name(42, FileKind::TimeIndex), "00000000000000000042.timeindex");
        for kind in FileKind::ALL {
            assert_eq!(parse_file_name(&file_name(7, kind)), Some((7, kind)));
        }
        for other in [
            "7.log",
            "00000000000000000042.log.deleted",
            "leader-epoch-checkpoint",
            "+0000000000000000042.log",
        ] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
        assert_eq!(parse_file_name("99999999999999999999.log"), None, "more than an offset can be");
    }

    #[test]
    fn directories() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(parse_dir_name("a-b-3"), DirKind::Partition(TopicPartition::new("a-b", 3)));
        assert_eq!(
            parse_dir_name("__cluster_metadata-0"),
            DirKind::Partition(TopicPartition::new("__cluster_metadata", 0))
        );
        assert_eq!(parse_dir_name("a.b-0"), DirKind::Partition(TopicPartition::new("a.b", 0)));
        assert_eq!(parse_dir_name(&format!("a-0.{id}-delete")), DirKind::Delete);
        assert_eq!(parse_dir_name(&format!("a-0.{id}-stray")), DirKind::Stray);
        assert_eq!(parse_dir_name(&format!("a-0.{id}-future")), DirKind::Future);
        for other in ["lost+found", "x-", "-1", "x-+1", "x-99999999999"] {
            assert_eq!(parse_dir_name(other), DirKind::Other, "{other}");
        }
    }
}
