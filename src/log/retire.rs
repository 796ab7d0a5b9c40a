//! Taking a partition's directory out of use: a rename, so that nobody takes it for a live one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::checkpoint::{self, Content};
use super::names::{self, FileKind, parse_file_name, retired_dir_name};
use crate::base::TopicId;
use crate::io::Files;

/// Topics of one name, made one after the other, may be on different cores, whose file jobs run side by side: between the
/// look into a directory and its new name nobody else may rename.
static RENAMES: Mutex<()> = Mutex::new(());

/// The topic that a partition's directory says that it belongs to. Blocks.
///
/// # Errors
/// If that cannot be read: nothing may be made of the directory then.
pub fn topic_id_of(files: &dyn Files, dir: &Path) -> io::Result<Content<TopicId>> {
    let path = dir.join(names::PARTITION_METADATA);
    Ok(match checkpoint::read(files, &path, checkpoint::parse_partition_metadata)? {
        // What ended while the partition was made had not flushed it.
        Content::Damaged(bytes) if bytes.iter().all(|b| *b == 0) && is_unused(files, dir)? => Content::Absent,
        said => said,
    })
}

/// Whether no segment in a directory has anything in it.
fn is_unused(files: &dyn Files, dir: &Path) -> io::Result<bool> {
    let is_log = |name: &str| matches!(parse_file_name(name), Some((_, FileKind::Log)));
    Ok(files.list(dir)?.iter().all(|entry| entry.len == 0 || !is_log(&entry.name)))
}

/// Whose a directory is, for a topic that looks for it by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The topic's.
    Ours,
    /// It says nothing, as directories of old brokers do: it goes by its name.
    Unnamed,
    /// What it says is damaged, and looks like another topic's id.
    Unclear,
    /// Another topic's.
    Other(TopicId),
}

/// The decision for every case. `is_known`: a checkpoint has offsets of this topic's partition.
fn whose(said: &Content<TopicId>, topic_id: TopicId, is_known: bool) -> Whose {
    match said {
        // A flipped bit in the id is another id, and no two of them are nearly the same.
        Content::Whole(id) if resembles_id(*id, topic_id) => Whose::Ours,
        Content::Whole(id) => Whose::Other(*id),
        Content::Absent => Whose::Unnamed,
        Content::Damaged(_) if is_known => Whose::Ours,
        Content::Damaged(bytes) => whose_damaged(bytes, topic_id),
    }
}

/// Whether an id is the topic's, but for one character.
pub fn resembles_id(id: TopicId, topic_id: TopicId) -> bool {
    let (id, meant) = (id.to_string(), topic_id.to_string());
    id.bytes().zip(meant.bytes()).filter(|(a, b)| a != b).count() <= 1
}

/// Whose a directory with a damaged `partition.metadata` is, from what is left of the id in it.
fn whose_damaged(bytes: &[u8], topic_id: TopicId) -> Whose {
    let (meant, id) = (checkpoint::format_partition_metadata(topic_id), topic_id.to_string());
    let left = bytes.get(meant.len() - id.len()..).unwrap_or_default();
    let left = left.iter().zip(id.as_bytes()).filter(|(a, _)| a.is_ascii_alphanumeric() || b"-_".contains(a));
    let (right, wrong): (Vec<_>, Vec<_>) = left.partition(|(a, b)| a == b);
    match (right.len() + wrong.len(), wrong.len()) {
        (left, _) if left < id.len() / 2 => Whose::Unnamed,
        (_, 0 | 1) => Whose::Ours,
        _ => Whose::Unclear,
    }
}

/// In which of the log directories a partition's directory is: one that is of the topic, else the first that says nothing.
/// And whose the first one is otherwise. Blocks.
///
/// # Errors
/// If what one of them says cannot be read.
pub fn find(
    files: &dyn Files,
    log_dirs: &[PathBuf],
    name: &str,
    (topic_id, is_known): (TopicId, bool),
) -> io::Result<(Option<usize>, Option<Whose>)> {
    let (mut unnamed, mut other) = (None, None);
    for (index, log_dir) in log_dirs.iter().enumerate() {
        let dir = log_dir.join(name);
        if !files.is_there(&dir)? {
            continue;
        }
        match whose(&topic_id_of(files, &dir)?, topic_id, is_known) {
            Whose::Ours => return Ok((Some(index), None)),
            Whose::Unnamed => unnamed = unnamed.or(Some(index)),
            // It may be the one that is looked for.
            Whose::Unclear => other = Some(Whose::Unclear),
            Whose::Other(id) => other = other.or(Some(Whose::Other(id))),
        }
    }
    Ok((unnamed, other))
}

/// Renames a partition's directory to `<name>.<suffix>` (`retired_dir_name`) if `is_meant` says so of the topic that it belongs to now; None
/// if it is not there (any more) or belongs to another. Blocks.
///
/// # Errors
/// The file system's.
pub fn retire(
    files: &dyn Files,
    dir: &Path,
    suffix: &str,
    is_meant: impl FnOnce(&Content<TopicId>) -> bool,
) -> io::Result<Option<PathBuf>> {
    let _alone = RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if !files.is_there(dir)? || !is_meant(&topic_id_of(files, dir)?) {
        return Ok(None);
    }
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let retired = free_name(files, dir, &name, suffix)?;
    files.rename(dir, &retired)?;
    if let Some(parent) = dir.parent() {
        files.sync_dir(parent)?;
    }
    Ok(Some(retired))
}

/// A name out of use that nothing has: an earlier directory of the same topic, or of none, may be left.
fn free_name(files: &dyn Files, dir: &Path, name: &str, suffix: &str) -> io::Result<PathBuf> {
    let mut path = dir.with_file_name(retired_dir_name(name, suffix));
    let mut number = 1;
    while files.is_there(&path)? {
        path = dir.with_file_name(retired_dir_name(name, &format!("{number}-{suffix}")));
        number += 1;
    }
    Ok(path)
}

/// Renames a file within a partition's directory if that belongs to the topic; whether it did. Blocks.
///
/// # Errors
/// The file system's.
pub fn replace(files: &dyn Files, from: &Path, to: &Path, topic_id: TopicId) -> io::Result<bool> {
    let _alone = RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let said = to.parent().map_or(Ok(Content::Absent), |dir| topic_id_of(files, dir))?;
    if said == Content::Whole(topic_id) && files.exists(from) {
        files.rename(from, to)?;
        return Ok(true);
    }
    files.remove_file(from)?;
    Ok(false)
}

/// A suffix of Kafka's form, `<32 hexadecimal digits>-<what>`, for a directory of a topic.
pub fn suffix(topic_id: TopicId, what: &str) -> String {
    format!("{:032x}-{what}", u128::from_be_bytes(topic_id.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Uuid;
    use crate::io::sim::{DiskFault, DiskOp, Sim, SimConfig};

    /// Directories of the same name that name no topic were retired one after the other: the second failed for ever, as the
    /// first one's new name was taken.
    #[test]
    fn a_name_out_of_use_that_is_taken_is_not_used() {
        let sim: Sim<()> = Sim::new(SimConfig::new(1, 1));
        let files = sim.disk();
        let dir = Path::new("/data").join(format!("{}-0", "t".repeat(249)));
        for _ in 0..3 {
            files.create_dir_all(&dir).unwrap();
            files.write_atomic(&dir.join("file"), b"x").unwrap();
            let retired = retire(files, &dir, &suffix(TopicId::ZERO, "delete"), |_| true).unwrap().unwrap();
            let name = retired.file_name().unwrap().to_str().unwrap();
            assert_eq!(names::parse_dir_name(name), names::DirKind::Delete);
        }
        assert_eq!(files.list(Path::new("/data")).unwrap().len(), 3);
    }

    /// A topic was deleted and made anew under the same name, on another core: the old topic's removal came late and took
    /// the new topic's directory.
    #[test]
    fn the_directory_of_another_topic_stays() {
        let sim: Sim<()> = Sim::new(SimConfig::new(1, 1));
        let files = sim.disk();
        let dir = Path::new("/data/t-0");
        let (old, new) = (Uuid::from_u128(0xabc), Uuid::from_u128(0xdef));
        files.create_dir_all(dir).unwrap();
        let metadata = dir.join(names::PARTITION_METADATA);
        files.write_atomic(&metadata, &checkpoint::format_partition_metadata(new)).unwrap();
        let retired = retire(files, dir, &suffix(old, "delete"), |id| *id == Content::Whole(old)).unwrap();
        assert_eq!((retired, files.exists(dir)), (None, true));
        let retired =
            retire(files, dir, &suffix(new, "delete"), |id| *id == Content::Whole(new)).unwrap().unwrap();
        assert!(!files.exists(dir) && files.exists(&retired));
        let name = retired.file_name().unwrap().to_str().unwrap();
        assert_eq!(names::parse_dir_name(name), names::DirKind::Delete);
        assert_eq!(retire(files, dir, "x", |_| true).unwrap(), None, "nothing is there");
    }

    /// A `partition.metadata` that was absent, damaged or could not be read was one thing: the directory was then taken for any
    /// topic of its name, and got that one's id.
    #[test]
    fn whose_a_directory_is_in_every_case() {
        let (ours, other) = (Uuid::from_u128(0xabc << 90 | 0xfff), Uuid::from_u128(0xdef << 100 | 0x777));
        let sim: Sim<()> = Sim::new(SimConfig::new(1, 1));
        let files = sim.disk();
        let dir = Path::new("/data/t-0");
        files.create_dir_all(dir).unwrap();
        let metadata = dir.join(names::PARTITION_METADATA);
        let look_at = |bytes: &[u8]| {
            files.write_atomic(&metadata, bytes).unwrap();
            find(files, &[PathBuf::from("/data")], "t-0", (ours, false)).unwrap().0
        };
        assert_eq!((look_at(&[]), look_at(&[0; 9])), (Some(0), Some(0)), "it was only just being made");
        files.write(&dir.join("00000000000000000000.log"), b"records").unwrap();
        assert_eq!(
            (look_at(&[]), look_at(&[0; 9])),
            (Some(0), Some(0)),
            "nothing is left of another one's id"
        );
        files.remove_file(&metadata).unwrap();
        let look = |is_known| find(files, &[PathBuf::from("/data")], "t-0", (ours, is_known));
        assert_eq!(look(false).unwrap(), (Some(0), None), "absent");
        for (topic, expected) in [(ours, (Some(0), None)), (other, (None, Some(Whose::Other(other))))] {
            let bytes = checkpoint::format_partition_metadata(topic);
            files.write_atomic(&metadata, &bytes).unwrap();
            assert_eq!(look(false).unwrap(), expected);
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                for damaged in [flipped, bytes[..at].to_vec(), vec![0; at]] {
                    files.write_atomic(&metadata, &damaged).unwrap();
                    let found = look(false).unwrap();
                    let is_left = damaged.len() == bytes.len() || (at > 34 && damaged == bytes[..at]);
                    assert!(
                        topic == ours || !is_left || found.0.is_none(),
                        "byte {at} of another's: {found:?}"
                    );
                    let whole = checkpoint::parse_partition_metadata(&damaged).is_some();
                    assert!(whole || look(true).unwrap().0.is_some(), "byte {at}, known");
                    let said = topic_id_of(files, dir).unwrap();
                    assert!(
                        topic == other || !matches!(whose(&said, ours, false), Whose::Other(_)),
                        "byte {at}"
                    );
                    assert!(topic == other || found.0.is_some(), "byte {at} of {damaged:?}");
                }
            }
            for errno in [libc::EIO, libc::EMFILE, libc::EACCES] {
                let path_contains = names::PARTITION_METADATA.to_owned();
                for op in [DiskOp::Open, DiskOp::Read] {
                    let path_contains = path_contains.clone();
                    files.fail(DiskFault { path_contains, op, errno, skip: 0, times: 1 });
                }
                look(true).unwrap_err();
                files.heal();
            }
        }
    }
}
