//! Snapshots: files of record batches named after the offset and epoch they reach (KIP-630).
//!
//! A snapshot starts with a control batch that has the header, and from `kraft.version` 1 on the version and the
//! voters; then come data batches; a control batch with the footer ends it. Offsets count from 0 and the epoch of
//! every batch is that of the snapshot.

use super::entries::{Entries, EntryKind};
use super::{ControlRecord, RaftError, VoterSet, control};
use crate::base::limits::METADATA_BATCH_BYTES_MAX;
use crate::base::{LeaderEpoch, Offset, WallMs};
use crate::wire::record::{BatchBuilder, ControlType};

/// The file that a new cluster's first controller reads its first records from; it has a snapshot's format.
pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

const SUFFIX: &str = ".checkpoint";
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;

/// What a snapshot contains: every record below `offset`, the last of which has `epoch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The offset behind the last record in it.
    pub offset: Offset,
    /// The epoch of that record.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The name of its file: `00000000000000000100-0000000003.checkpoint`.
    pub fn file_name(self) -> String {
        format!("{:0OFFSET_DIGITS$}-{:0EPOCH_DIGITS$}{SUFFIX}", self.offset, self.epoch)
    }

    /// From a file's name; `None` if it is not that of a whole snapshot (a partial or deleted one has another suffix).
    pub fn parse(file_name: &str) -> Option<SnapshotId> {
        let (offset, epoch) = file_name.strip_suffix(SUFFIX)?.split_once('-')?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(offset, OFFSET_DIGITS) || !digits(epoch, EPOCH_DIGITS) {
            return None;
        }
        Some(SnapshotId { offset: offset.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// The bytes of a snapshot. `values` are encoded metadata records, `last_contained_log_timestamp` the append time of
/// the last record it contains. With `kraft_version` 0 the voters are not part of it.
pub fn write_snapshot<V: AsRef<[u8]>>(
    id: SnapshotId,
    last_contained_log_timestamp: WallMs,
    kraft_version: i16,
    voters: &VoterSet,
    values: impl IntoIterator<Item = V>,
    now_ms: WallMs,
) -> Vec<u8> {
    let header = control::snapshot_header(last_contained_log_timestamp);
    let mut first = batch(0, id.epoch).control(ControlType::SnapshotHeader, now_ms, &header);
    if kraft_version > 0 {
        first = first
            .control(ControlType::KraftVersion, now_ms, &control::kraft_version(kraft_version))
            .control(ControlType::KraftVoters, now_ms, &control::kraft_voters(voters));
    }
    let mut next_offset = first.len() as Offset;
    let mut bytes = first.build();
    let mut data = batch(next_offset, id.epoch);
    for value in values {
        let value = value.as_ref();
        if !data.is_empty() && data.uncompressed_bytes() + value.len() > METADATA_BATCH_BYTES_MAX / 8 {
            next_offset += data.len() as Offset;
            bytes.extend(std::mem::replace(&mut data, batch(next_offset, id.epoch)).build());
        }
        data.append(now_ms, None, Some(value), &[]);
    }
    next_offset += data.len() as Offset;
    bytes.extend(data.build());
    let footer = control::snapshot_footer();
    bytes.extend(batch(next_offset, id.epoch).control(ControlType::SnapshotFooter, now_ms, &footer).build());
    bytes
}

/// The bytes of [`BOOTSTRAP_CHECKPOINT`].
pub fn bootstrap_checkpoint<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>, now_ms: WallMs) -> Vec<u8> {
    write_snapshot(SnapshotId::default(), 0, 0, &VoterSet::default(), values, now_ms)
}

fn batch(base_offset: Offset, epoch: LeaderEpoch) -> BatchBuilder {
    BatchBuilder::new(base_offset).leader_epoch(epoch)
}

/// A snapshot that was read and found whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The append time of the last record it contains, milliseconds.
    pub last_contained_log_timestamp: WallMs,
    /// Its `kraft.version`, 0 if it has none.
    pub kraft_version: i16,
    /// Its voters, if it has any.
    pub voters: Option<VoterSet>,
    /// How many metadata records it has.
    pub records_count: usize,
}

impl Snapshot {
    /// Reads a whole snapshot and calls `each` with the value of each metadata record in order. `file` is for the
    /// error. What `each` took is to be dropped on an error: a snapshot holds as a whole or not at all, and one
    /// without a header or footer is damaged however good its batches are.
    pub fn read(
        file: &str,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Snapshot, RaftError> {
        let damaged = |reason: String| RaftError::Snapshot { file: file.to_owned(), reason };
        let mut snapshot = Snapshot::default();
        let (mut header, mut footer) = (false, false);
        let mut entries = Entries::new(bytes);
        let read: Result<(), RaftError> = entries.for_each(|entry| {
            let at = entry.offset;
            if footer {
                return Err(damaged(format!("a record at offset {at} follows its footer")));
            }
            match entry.kind {
                EntryKind::Control(ControlRecord::SnapshotHeader { last_contained_log_timestamp })
                    if !header =>
                {
                    header = true;
                    snapshot.last_contained_log_timestamp = last_contained_log_timestamp;
                }
                _ if !header => return Err(damaged("its first record is not a snapshot header".to_owned())),
                EntryKind::Control(ControlRecord::SnapshotFooter) => footer = true,
                EntryKind::Control(ControlRecord::KraftVersion(version)) => snapshot.kraft_version = version,
                EntryKind::Control(ControlRecord::KraftVoters(voters)) => snapshot.voters = Some(voters),
                EntryKind::Control(_) => {}
                EntryKind::Data(value) => {
                    each(value).map_err(|e| damaged(format!("the record at offset {at} is wrong: {e}")))?;
                    snapshot.records_count += 1;
                }
            }
            Ok(())
        });
        read.map_err(|e| match e {
            RaftError::Snapshot { .. } => e,
            other => damaged(other.to_string()),
        })?;
        match (header, footer) {
            (true, true) => Ok(snapshot),
            (false, _) => Err(damaged("it is empty".to_owned())),
            (true, false) => Err(damaged("it ends without a footer, so that its end is missing".to_owned())),
        }
    }
}

/// When a snapshot is due (`SnapshotGenerator`).
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    bytes_max: u64,
    interval_ms: i64,
    bytes: u64,
    last_ms: WallMs,
}

impl SnapshotPolicy {
    /// After `metadata.log.max.record.bytes.between.snapshots` bytes, or when
    /// `metadata.log.max.snapshot.interval.ms` (0: never) has passed since the last one and something was appended.
    pub fn new(bytes_max: u64, interval_ms: i64, now_ms: WallMs) -> SnapshotPolicy {
        SnapshotPolicy { bytes_max, interval_ms, bytes: 0, last_ms: now_ms }
    }

    /// So many bytes of records were committed.
    pub fn committed(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether a snapshot is due.
    pub fn is_due(&self, now_ms: WallMs) -> bool {
        let late = self.interval_ms > 0 && now_ms.saturating_sub(self.last_ms) >= self.interval_ms;
        self.bytes >= self.bytes_max.max(1) || (late && self.bytes > 0)
    }

    /// The one that was taken last could not be written: another one is due.
    pub fn not_taken(&mut self) {
        self.bytes = self.bytes.max(self.bytes_max.max(1));
    }

    /// A snapshot was written.
    pub fn taken(&mut self, now_ms: WallMs) {
        self.bytes = 0;
        self.last_ms = now_ms;
    }
}

/// A snapshot that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSnapshot {
    /// Which.
    pub id: SnapshotId,
    /// Its file's length.
    pub bytes: u64,
    /// When it was written.
    pub written_ms: WallMs,
}

/// How many of the oldest snapshots may go, and with them the log before the one that is then the oldest
/// (`KafkaMetadataLog.maybeClean`): while log and snapshots together exceed `metadata.max.retention.bytes`, or the oldest
/// is older than `metadata.max.retention.ms`; negative bounds bound nothing. The newest always stays. `kept` rises;
/// `log_bytes` says how large the log is from an offset on.
pub fn superfluous_snapshots(
    kept: &[KeptSnapshot],
    log_bytes: impl Fn(Offset) -> u64,
    bytes_max: i64,
    age_ms_max: i64,
    now_ms: WallMs,
) -> usize {
    let mut from = 0;
    for (gone, oldest) in kept.iter().take(kept.len().saturating_sub(1)).enumerate() {
        let snapshots = kept[gone..].iter().map(|snapshot| snapshot.bytes);
        let total = snapshots.fold(log_bytes(from), u64::saturating_add);
        let too_much = u64::try_from(bytes_max).is_ok_and(|max| total > max);
        let too_old = age_ms_max >= 0 && now_ms.saturating_sub(oldest.written_ms) > age_ms_max;
        if !too_much && !too_old {
            return gone;
        }
        from = kept[gone + 1].id.offset;
    }
    kept.len().saturating_sub(1)
}
