//! Reading the metadata at start: the newest snapshot that is whole, and the log behind it.

use std::collections::BTreeSet;
use std::path::Path;

use thiserror::Error;

use crate::base::{TopicId, Uuid, WallMs};
use crate::io::Files;
use crate::log::names::{DirKind, parse_dir_name};
use crate::log::{self, CreateOptions, Damage, LogConfig, LogError, OpenOptions, Partition, Walk, Walked};
use crate::meta::MetaError;
use crate::meta::controller::Controller;
use crate::meta::image::Image;
use crate::meta::record::MetadataRecord;
use crate::raft::{Entries, EntryKind, Identity, QuorumState, Raft, RaftError, Snapshot, SnapshotId};
use crate::shard::controller::{QUORUM_STATE_FILE, SLOT};
use crate::shard::metadata_end::{self, Noted};
use crate::wire::record::BatchView;

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
    /// Of topics that are not in it.
    pub known: Known,
}

/// What the metadata say of a topic that they do not have.
#[derive(Debug, Default)]
pub struct Known {
    /// Topics whose deletion was read.
    deleted: BTreeSet<TopicId>,
    /// Nothing can be missing at the log's end.
    is_complete: bool,
}

impl Known {
    /// Whether a topic that is not there was certainly deleted.
    pub fn was_deleted(&self, topic_id: TopicId) -> bool {
        self.is_complete || self.deleted.contains(&topic_id)
    }
}

/// Why the metadata cannot be used.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// The log.
    #[error("the metadata log: {0}")]
    Log(#[from] LogError),
    /// A record, or the state of the quorum.
    #[error(
        "the metadata in {dir}: {why}; restore the directory from a copy (a new one in its place begins an empty cluster: every \
         topic is lost, with all of its records)"
    )]
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

/// Reads everything in `dir` (`__cluster_metadata-0`), or begins it. Everything is read and judged first: what is refused
/// leaves every byte as it was, so that the next start sees the same. Blocks.
pub fn load(
    files: &dyn Files,
    dir: &Path,
    cluster_id: &str,
    identity: Identity,
    clean_shutdown: bool,
    now_ms: WallMs,
) -> Result<Loaded, MetadataError> {
    let config = LogConfig { cleanup_delete: false, retention_ms: -1, ..LogConfig::default() };
    let there = files.is_there(dir);
    let home = dir.parent().unwrap_or(Path::new("."));
    let noted = metadata_end::read(files, home, cluster_id).map_err(|error| MetadataError::File {
        path: metadata_end::path(home).display().to_string(),
        error,
    })?;
    if !there.map_err(|error| MetadataError::File { path: dir.display().to_string(), error })? {
        if noted.offset > 0 {
            return Err(lost_end(dir, "nothing is there", noted));
        }
        refuse_partitions_without_metadata(files, dir)?;
        let options = CreateOptions { slot: SLOT, topic_id: Uuid::ONE, start_offset: 0, now_ms, seed: 0 };
        let log = Partition::create(files, dir, config, &options)?;
        let controller = Controller::new(Image::empty(cluster_id));
        return Ok(Loaded {
            controller,
            raft: Raft::standalone(identity),
            log: Box::new(log),
            replayed_bytes: 0,
            known: Known::default(),
        });
    }
    let read = read(files, dir, cluster_id, identity, (clean_shutdown, noted))?;
    for id in &read.damaged {
        set_aside(files, dir, *id)?;
    }
    let options = OpenOptions {
        slot: SLOT,
        clean_shutdown,
        recovery_point: if clean_shutdown { Some(read.end) } else { read.flushed },
        acknowledged: 0,
        log_start_offset: None,
        log_start_is_certain: false,
        now_ms,
        seed: 0,
    };
    let (mut log, report) = Partition::open(files, dir, config, &options)?;
    log.set_topic_id(files, Uuid::ONE)?;
    for warning in &report.warnings {
        tracing::warn!("the metadata log: {warning}");
    }
    if log.log_end_offset() != read.end || !report.lost_offsets.is_empty() {
        let (found, end) = (read.end, log.log_end_offset());
        return Err(content(dir, format!("the log was read up to offset {found} and opened up to {end}")));
    }
    let Read { controller, mut raft, epoch, replayed_bytes, known, .. } = read;
    raft.log_read(log.log_end_offset(), epoch);
    Ok(Loaded { controller, raft, log: Box::new(log), replayed_bytes, known })
}

/// What was committed is not there: topics whose records stand in segments and journals would be taken for deleted.
fn lost_end(dir: &Path, what: &str, noted: Noted) -> MetadataError {
    let path = metadata_end::path(dir.parent().unwrap_or(Path::new(".")));
    let (path, offset) = (path.display(), noted.offset);
    content(
        dir,
        format!(
            "{what}, and {path} says that everything below offset {offset} was committed: what is missing may have made topics. \
             If it cannot be had back, remove {path}: topics that are not known any more are then set aside as -stray, and the \
             journals with their records are kept"
        ),
    )
}

fn content(dir: &Path, why: String) -> MetadataError {
    MetadataError::Content { dir: dir.display().to_string(), why }
}

/// A directory with partitions had its metadata: to begin new ones would set all partitions aside.
fn refuse_partitions_without_metadata(files: &dyn Files, dir: &Path) -> Result<(), MetadataError> {
    match holds_partitions(files, dir)? {
        Some(name) => {
            Err(content(dir, format!("nothing is there, while partitions such as {name} are beside it")))
        }
        None => Ok(()),
    }
}

/// A partition's directory beside that of the metadata, if there is one.
fn holds_partitions(files: &dyn Files, dir: &Path) -> Result<Option<String>, MetadataError> {
    let Some(home) = dir.parent().filter(|home| files.exists(home)) else { return Ok(None) };
    let failed = |error| MetadataError::File { path: home.display().to_string(), error };
    let own = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut names = files.list(home).map_err(failed)?.into_iter().filter(|e| e.is_dir).map(|e| e.name);
    Ok(names.find(|name| *name != own && matches!(parse_dir_name(name), DirKind::Partition(_))))
}

/// What the files say, without a byte of them changed.
struct Read {
    controller: Controller,
    raft: Raft,
    /// The log's end: behind it, a write may have been torn.
    end: i64,
    /// Of the last batch.
    epoch: i32,
    /// What is in a snapshot, or noted as committed, was flushed.
    flushed: Option<i64>,
    replayed_bytes: usize,
    /// Snapshots that are damaged, all of which the log and an older one hold.
    damaged: Vec<SnapshotId>,
    known: Known,
}

fn read(
    files: &dyn Files,
    dir: &Path,
    cluster_id: &str,
    identity: Identity,
    (clean_shutdown, noted): (bool, Noted),
) -> Result<Read, MetadataError> {
    let snapshot = snapshots(files, dir)?.last().map(|id| id.offset);
    let flushed = snapshot.max(Some(noted.offset).filter(|offset| *offset > 0));
    let state = quorum_state(files, dir)?;
    let all = Walk { from: 0, end: i64::MAX, exact: true };
    let walked = log::walk_log(files, dir, all, &mut |_| ())?;
    let facts = Facts { clean_shutdown, flushed: flushed.unwrap_or(0) };
    let end = judge_all(&walked, facts).map_err(|damage| content(dir, damage.to_string()))?;
    if end < noted.offset {
        return Err(lost_end(dir, &format!("the log ends at offset {end}"), noted));
    }
    let begun = end > 0 || flushed.is_some();
    if !begun {
        let epoch = state.as_ref().map_or(0, |state| state.leader_epoch);
        if epoch > 1 || holds_partitions(files, dir)?.is_some() {
            return Err(content(dir, "the log is empty, and it was not before".to_owned()));
        }
    }
    if begun && state.is_none() {
        tracing::warn!(dir = %dir.display(), "{QUORUM_STATE_FILE} is missing: its epoch is taken from the log");
    }
    // The first start ended before its epoch had a batch: it is begun again, and not counted on.
    let fresh = !begun;
    let mut raft = if fresh { Raft::standalone(identity) } else { Raft::new(identity, state.as_ref()) };
    let mut controller = Controller::new(Image::empty(cluster_id));
    let start = walked.start.unwrap_or(0);
    let mut from = 0;
    let mut damaged = Vec::new();
    if let Some((restored, id)) = read_snapshot(files, dir, cluster_id, start, &mut raft, &mut damaged)? {
        (controller, from) = (restored, id.offset);
    }
    if end < flushed.unwrap_or(0) {
        let flushed = flushed.unwrap_or(0);
        return Err(content(
            dir,
            format!(
                "the log ends at offset {end}, and a snapshot holds what was before {flushed}: its end is missing"
            ),
        ));
    }
    let walk = Walk { from, end, exact: true };
    let mut known = Known { is_complete: noted.exact || clean_shutdown, ..Known::default() };
    let (replayed_bytes, epoch) = replay(files, dir, walk, (&mut controller, &mut raft, &mut known.deleted))
        .map_err(|why| content(dir, why))?;
    // An epoch is written there before its first batch is appended.
    if let Some(state) = state.filter(|state| state.leader_epoch < epoch) {
        let seen = state.leader_epoch;
        return Err(content(
            dir,
            format!("{QUORUM_STATE_FILE} knows epochs up to {seen}, and the log has {epoch}"),
        ));
    }
    raft.check_voter().map_err(|e| content(dir, format!("{e}; both ids are those of meta.properties")))?;
    Ok(Read { controller, raft, end, epoch, flushed, replayed_bytes, damaged, known })
}

/// Renames a damaged snapshot, so that the log is never cut for it, and says so.
fn set_aside(files: &dyn Files, dir: &Path, id: SnapshotId) -> Result<(), MetadataError> {
    let path = dir.join(id.file_name());
    let aside = dir.join(format!("{}.damaged", id.file_name()));
    let renamed = files.rename(&path, &aside).and_then(|()| files.sync_dir(dir));
    renamed.map_err(|error| MetadataError::File { path: path.display().to_string(), error })?;
    tracing::error!(path = %aside.display(), "the log and what stands before it hold all that was in the damaged metadata snapshot {}: it was set aside; remove it when nothing in it is wanted", path.display());
    Ok(())
}

/// What decides about damage, besides the damage.
#[derive(Clone, Copy)]
struct Facts {
    clean_shutdown: bool,
    /// Everything below was flushed.
    flushed: i64,
}

/// What damage in the metadata log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Space that was reserved and not written to.
    Unwritten,
    /// A write that the stop cut off: it was not acknowledged.
    Torn,
    /// Anything else: nothing is changed, nothing is served.
    Refuse,
}

/// Where the log ends: at the first write that was torn, as nothing of it was acknowledged, whatever of it is whole. Or the
/// damage that is to be refused.
fn judge_all(walked: &Walked, facts: Facts) -> Result<i64, &Damage> {
    for damage in &walked.damage {
        match judge(damage, facts) {
            Verdict::Unwritten => {}
            Verdict::Torn => {
                tracing::warn!(%damage, "the metadata log ends with a write that was cut off by the unclean stop and was never acknowledged: what it wrote, from offset {} on, is removed", damage.first);
                return Ok(damage.first);
            }
            Verdict::Refuse => return Err(damage),
        }
    }
    Ok(walked.next)
}

/// The metadata decides which partitions there are, so one record less may set a topic aside: only what an unclean stop
/// leaves behind is taken for that.
fn judge(damage: &Damage, facts: Facts) -> Verdict {
    let behind_a_roll = damage.is_blank && damage.last.is_some_and(|last| last < damage.first);
    let at_the_end = damage.in_last_segment && damage.looks_torn && damage.first >= facts.flushed;
    match (facts.clean_shutdown, damage.is_blank) {
        (false, true) if damage.in_last_segment || behind_a_roll => Verdict::Unwritten,
        (false, false) if at_the_end => Verdict::Torn,
        _ => Verdict::Refuse,
    }
}

fn quorum_state(files: &dyn Files, dir: &Path) -> Result<Option<QuorumState>, MetadataError> {
    let path = dir.join(QUORUM_STATE_FILE);
    let read = files.read_if_there(&path);
    let text = read.map_err(|error| MetadataError::File { path: path.display().to_string(), error })?;
    text.map(|text| QuorumState::parse(&text)).transpose().map_err(|e| content(dir, e.to_string()))
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
    damaged: &mut Vec<SnapshotId>,
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
                damaged.push(id);
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

/// Replays the log; gives the bytes of its batches and the epoch of the last one.
fn replay(
    files: &dyn Files,
    dir: &Path,
    walk: Walk,
    (controller, raft, deleted): (&mut Controller, &mut Raft, &mut BTreeSet<TopicId>),
) -> Result<(usize, i32), String> {
    let mut failed: Option<String> = None;
    let mut replayed_bytes = 0;
    let mut epoch = 0;
    log::walk_log(files, dir, walk, &mut |batch| {
        if failed.is_some() {
            return;
        }
        epoch = batch.header().partition_leader_epoch;
        replayed_bytes += batch.bytes().len();
        failed = replay_batch(batch, walk.from, (controller, raft, deleted)).err().map(|stop| stop.0);
    })
    .map_err(|e| e.to_string())?;
    failed.map_or(Ok((replayed_bytes, epoch)), Err)
}

fn replay_batch(
    batch: &BatchView<'_>,
    from: i64,
    (controller, raft, deleted): (&mut Controller, &mut Raft, &mut BTreeSet<TopicId>),
) -> Result<(), Stop> {
    Entries::new(batch.bytes()).for_each(|entry| -> Result<(), Stop> {
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
                if let MetadataRecord::RemoveTopic(removed) = &record {
                    deleted.insert(removed.topic_id);
                }
                controller.replay(entry.offset, entry.epoch, &record).map_err(Stop::from)
            }
        }
    })
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

#[cfg(test)]
mod tests;
