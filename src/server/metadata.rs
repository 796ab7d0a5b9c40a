//! Reading the metadata at start: the newest snapshot that is whole, and the log behind it.

use std::path::Path;

use thiserror::Error;

use crate::base::{Uuid, WallMs};
use crate::io::Files;
use crate::log::{self, CreateOptions, LogConfig, LogError, OpenOptions, Partition};
use crate::meta::MetaError;
use crate::meta::controller::Controller;
use crate::meta::image::Image;
use crate::meta::record::MetadataRecord;
use crate::raft::{Entries, EntryKind, Identity, QuorumState, Raft, RaftError, Snapshot, SnapshotId};
use crate::shard::controller::{QUORUM_STATE_FILE, SLOT};

/// What was read.
pub struct Loaded {
    /// The controller's state.
    pub controller: Controller,
    /// The quorum's state.
    pub raft: Raft,
    /// The log.
    pub log: Box<Partition>,
    /// Bytes of records in it that no snapshot holds.
    pub replayed_bytes: usize,
}

/// Why the metadata cannot be used.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// The log.
    #[error("the metadata log: {0}")]
    Log(#[from] LogError),
    /// A record, or the state of the quorum.
    #[error("the metadata in {dir}: {why}; restore the directory from a copy, or format a new one")]
    Content {
        /// The directory.
        dir: String,
        /// What is wrong.
        why: String,
    },
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Reads everything in `dir` (`__cluster_metadata-0`), or begins it. Blocks.
pub fn load(
    files: &dyn Files,
    dir: &Path,
    cluster_id: &str,
    identity: Identity,
    clean_shutdown: bool,
    now_ms: WallMs,
) -> Result<Loaded, MetadataError> {
    let config = LogConfig { cleanup_delete: false, retention_ms: -1, ..LogConfig::default() };
    if !files.exists(dir) {
        let options = CreateOptions { slot: SLOT, topic_id: Uuid::ONE, start_offset: 0, now_ms, seed: 0 };
        let log = Partition::create(files, dir, config, &options)?;
        let controller = Controller::new(Image::empty(cluster_id));
        return Ok(Loaded {
            controller,
            raft: Raft::standalone(identity),
            log: Box::new(log),
            replayed_bytes: 0,
        });
    }
    let options = OpenOptions {
        slot: SLOT,
        clean_shutdown,
        // What is in a snapshot was committed, so it was flushed.
        recovery_point: snapshots(files, dir)?.last().map(|id| id.offset),
        log_start_offset: None,
        log_start_is_certain: false,
        now_ms,
        seed: 0,
    };
    let (log, report) = Partition::open(files, dir, config, &options)?;
    for warning in &report.warnings {
        tracing::warn!("the metadata log: {warning}");
    }
    let content = |why: String| MetadataError::Content { dir: dir.display().to_string(), why };
    if let Some((first, last)) = report.lost_offsets.first() {
        return Err(content(format!("the records {first} to {last} of the log are damaged")));
    }
    let state = quorum_state(files, dir).map_err(|e| content(e.to_string()))?;
    let fresh = state.is_none() && log.log_end_offset() == 0;
    let mut raft = if fresh { Raft::standalone(identity) } else { Raft::new(identity, state.as_ref()) };
    let mut controller = Controller::new(Image::empty(cluster_id));
    let from = match read_snapshot(files, dir, cluster_id, log.log_start_offset(), &mut raft)? {
        Some((restored, id)) => {
            controller = restored;
            id.offset
        }
        None => 0,
    };
    let replayed_bytes = replay(files, &log, from, &mut controller, &mut raft).map_err(content)?;
    Ok(Loaded { controller, raft, log: Box::new(log), replayed_bytes })
}

fn quorum_state(files: &dyn Files, dir: &Path) -> Result<Option<QuorumState>, RaftError> {
    let path = dir.join(QUORUM_STATE_FILE);
    if !files.exists(&path) {
        return Ok(None);
    }
    let text = files.read(&path).map_err(|e| RaftError::QuorumState(e.to_string()))?;
    QuorumState::parse(&text).map(Some)
}

/// The snapshots of a directory, oldest first.
fn snapshots(files: &dyn Files, dir: &Path) -> Result<Vec<SnapshotId>, MetadataError> {
    let failed = |error| MetadataError::File { path: dir.display().to_string(), error };
    let listed = files.list(dir).map_err(failed)?;
    let mut ids: Vec<SnapshotId> = listed.iter().filter_map(|e| SnapshotId::parse(&e.name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The newest snapshot that is whole. A damaged one is passed over only if an older one and the log still hold all that
/// it held.
fn read_snapshot(
    files: &dyn Files,
    dir: &Path,
    cluster_id: &str,
    log_start: i64,
    raft: &mut Raft,
) -> Result<Option<(Controller, SnapshotId)>, MetadataError> {
    let mut ids = snapshots(files, dir)?;
    // The log does not go on from those that end before it begins.
    ids.retain(|id| id.offset >= log_start);
    while let Some(id) = ids.pop() {
        let path = dir.join(id.file_name());
        let bytes = files
            .read(&path)
            .map_err(|error| MetadataError::File { path: path.display().to_string(), error })?;
        let mut controller = Controller::new(Image::empty(cluster_id));
        let read = Snapshot::read(&path.display().to_string(), &bytes, |value| {
            let record = MetadataRecord::decode(value).map_err(|e| e.to_string())?;
            controller.replay(id.offset - 1, id.epoch, &record).map_err(|e| e.to_string())
        });
        match read {
            Ok(snapshot) => {
                controller.advance(id.offset - 1, id.epoch);
                raft.replay_snapshot(id.offset, id.epoch, &snapshot);
                return Ok(Some((controller, id)));
            }
            Err(error) if log_start == 0 || !ids.is_empty() => {
                tracing::error!(%error, "a metadata snapshot is damaged; going back to what stands before it");
            }
            Err(error) => {
                let dir = dir.display().to_string();
                return Err(MetadataError::Content { dir, why: error.to_string() });
            }
        }
    }
    match log_start {
        0 => Ok(None),
        start => {
            let why = format!("the log begins at offset {start} and no snapshot holds what was before");
            Err(MetadataError::Content { dir: dir.display().to_string(), why })
        }
    }
}

/// Replays the log from an offset on; gives the bytes of its batches.
fn replay(
    files: &dyn Files,
    log: &Partition,
    from: i64,
    controller: &mut Controller,
    raft: &mut Raft,
) -> Result<usize, String> {
    let mut failed: Option<String> = None;
    let mut replayed_bytes = 0;
    let mut epoch = 0;
    log::replay(files, log, from, &mut |batch| {
        if failed.is_some() {
            return;
        }
        epoch = batch.header().partition_leader_epoch;
        replayed_bytes += batch.bytes().len();
        let mut entries = Entries::new(batch.bytes());
        let read: Result<(), String> = entries
            .for_each(|entry| -> Result<(), Stop> {
                if entry.offset < from {
                    return Ok(());
                }
                match entry.kind {
                    EntryKind::Control(record) => {
                        raft.replay(&record);
                        controller.advance(entry.offset, entry.epoch);
                        Ok(())
                    }
                    EntryKind::Data(value) => {
                        let record = MetadataRecord::decode(value).map_err(Stop::from)?;
                        controller.replay(entry.offset, entry.epoch, &record).map_err(Stop::from)
                    }
                }
            })
            .map_err(|stop| stop.0);
        failed = read.err();
    })
    .map_err(|e| e.to_string())?;
    if let Some(why) = failed {
        return Err(why);
    }
    raft.log_read(log.log_end_offset(), epoch);
    Ok(replayed_bytes)
}

/// Why reading stopped, in words.
struct Stop(String);

impl From<RaftError> for Stop {
    fn from(e: RaftError) -> Stop {
        Stop(e.to_string())
    }
}

impl From<MetaError> for Stop {
    fn from(e: MetaError) -> Stop {
        Stop(e.to_string())
    }
}
