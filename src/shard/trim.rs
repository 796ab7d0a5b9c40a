//! Snapshots of the metadata, and the metadata log without what they make superfluous (KIP-630).

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::limits::{METADATA_ROLL_BYTES_MIN, SHORTAGE_RETRY_MS_MAX};
use crate::base::{Ticks, WallMs};
use crate::io::repeats::limited;
use crate::io::{Disk, DiskOutcome, FileJob, FileJobOutcome, Files, OpenMode};
use crate::log::Env;
use crate::raft::{KeptSnapshot, SnapshotId, VoterSet, superfluous_snapshots, write_snapshot};
use crate::wire::record::{BatchHeader, HEADER_BYTES};

use super::Shard;
use super::partitions::remove_files_later;
use super::shortages::Subject;
use super::tokens::{CoreTag, of_core};

impl Shard {
    /// Writes a snapshot if the settings want one now.
    pub(super) fn snapshot_if_due(&mut self, disk: &mut dyn Disk) {
        if disk.now() < self.upkeep.snapshot_at {
            return;
        }
        self.upkeep.snapshot_at = Ticks(0);
        let Some(host) = self.controller.as_mut() else { return };
        let now_ms = disk.wall_ms();
        if host.snapshot_in_flight || !host.policy.is_due(now_ms) || host.loader.in_transaction() {
            return;
        }
        host.policy.taken(now_ms);
        let image = host.loader.image();
        let id = SnapshotId { offset: image.offset() + 1, epoch: image.epoch() };
        let version = host.controller.metadata_version();
        let values: Result<Vec<Vec<u8>>, _> = image.to_records().iter().map(|r| r.encode(version)).collect();
        let values = match values {
            Ok(values) => values,
            Err(error) => {
                limited!(error, "the metadata snapshot could not be made", %error, "the metadata snapshot could not be made: please report this");
                return;
            }
        };
        let none = VoterSet::default();
        let voters = host.raft.voters().unwrap_or(&none);
        let bytes = write_snapshot(id, now_ms, host.raft.kraft_version(), voters, values, now_ms);
        let (dir, epochs) = (host.dir.clone(), host.log.epochs_to_save());
        host.snapshot_in_flight = true;
        let job = move |files: &dyn Files| -> io::Result<Box<dyn Any + Send>> {
            files.write_atomic(&dir.join(id.file_name()), &bytes)?;
            if let Some((path, bytes)) = epochs {
                files.write_atomic(&path, &bytes)?;
            }
            Ok(Box::new(kept(files, &dir)?))
        };
        disk.background_slow(FileJob::Run(Box::new(job)), of_core(CoreTag::Snapshot));
    }

    /// It is written again later.
    fn snapshot_failed(&mut self, disk: &dyn Disk, error: &io::Error) {
        let lacking = self.note_small(disk, Subject::Snapshot, Err(error));
        let Some(host) = self.controller.as_mut() else { return };
        host.log.epochs_saved(false);
        host.policy.not_taken();
        if !lacking {
            limited!(error, "the metadata snapshot could not be written", %error, dir = %host.dir.display(), "the metadata snapshot could not be written; it is tried again");
        }
        self.upkeep.snapshot_at = disk.now().plus_ms(SHORTAGE_RETRY_MS_MAX);
    }

    /// A snapshot was written: what it makes superfluous goes.
    pub(super) fn snapshot_written(&mut self, disk: &mut dyn Disk, outcome: DiskOutcome) {
        let Some(host) = self.controller.as_mut() else { return };
        host.snapshot_in_flight = false;
        let kept = match outcome {
            DiskOutcome::Job(Ok(FileJobOutcome::Ran(value))) => value.downcast::<Vec<KeptSnapshot>>().ok(),
            DiskOutcome::Job(Err(error)) => return self.snapshot_failed(disk, &error),
            _ => None,
        };
        self.waits_no_more(disk, Subject::Snapshot);
        let (Some(kept), Some(host)) = (kept, self.controller.as_mut()) else { return };
        host.log.epochs_saved(true);
        let (now_ms, statics) = (disk.wall_ms(), self.effective.statics());
        let bytes_max = statics.number("metadata.max.retention.bytes");
        let age_ms_max = statics.number("metadata.max.retention.ms");
        let log_bytes = |from| host.log.size_from(from);
        let gone = superfluous_snapshots(&kept, log_bytes, bytes_max, age_ms_max, now_ms);
        let mut effects = Vec::new();
        let mut env = Env { disk, cache: &mut self.cache, journal: None };
        let between = statics.number("metadata.log.max.record.bytes.between.snapshots").max(1) as u64;
        if host.log.active_bytes() >= METADATA_ROLL_BYTES_MIN.min(between) {
            host.log.roll_now(&mut env, now_ms);
        }
        let (start, end) = (kept.get(gone).map_or(0, |s| s.id.offset), host.log.durable_end_offset());
        if start > host.log.log_start_offset()
            && let Err(error) = host.log.delete_records(&mut env, start, end, &mut effects)
        {
            limited!(error, "the metadata log could not be cut", %error, "the metadata log could not be cut: please report this");
            return;
        }
        let paths: Vec<PathBuf> = kept[..gone].iter().map(|s| host.dir.join(s.id.file_name())).collect();
        if !paths.is_empty() {
            remove_files_later(disk, paths);
        }
        self.controller_effects(disk, effects);
    }
}

/// The snapshots of a directory, oldest first.
fn kept(files: &dyn Files, dir: &Path) -> io::Result<Vec<KeptSnapshot>> {
    let mut kept = Vec::new();
    for entry in files.list(dir)? {
        let Some(id) = SnapshotId::parse(&entry.name) else { continue };
        let file = files.open(&dir.join(&entry.name), OpenMode::Read)?;
        let head = files.read_at(&file, 0, HEADER_BYTES)?;
        let written_ms: WallMs = BatchHeader::parse(&head).map_or(0, |header| header.max_timestamp);
        kept.push(KeptSnapshot { id, bytes: entry.len, written_ms });
    }
    kept.sort_unstable_by_key(|snapshot| snapshot.id);
    Ok(kept)
}
