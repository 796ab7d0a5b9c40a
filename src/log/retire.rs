//! Taking a partition's directory out of use: a rename, so that nobody takes it for a live one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{checkpoint, names};
use crate::base::TopicId;
use crate::io::Files;

/// Topics of one name, made one after the other, may be on different cores, whose file jobs run side by side: between the
/// look into a directory and its new name nobody else may rename.
static RENAMES: Mutex<()> = Mutex::new(());

/// The topic that a partition's directory belongs to, if it says so. Blocks.
pub fn topic_id_of(files: &dyn Files, dir: &Path) -> Option<TopicId> {
    let path = dir.join(names::PARTITION_METADATA);
    files
        .exists(&path)
        .then(|| files.read(&path).ok())
        .flatten()
        .as_deref()
        .and_then(checkpoint::parse_partition_metadata)
}

/// In which of the log directories a partition's directory is: one that says that it is of the topic, else the first that
/// says nothing. Blocks.
pub fn find(files: &dyn Files, log_dirs: &[PathBuf], name: &str, topic_id: TopicId) -> Option<usize> {
    let mut unnamed = None;
    for (index, log_dir) in log_dirs.iter().enumerate() {
        let dir = log_dir.join(name);
        if !files.exists(&dir) {
            continue;
        }
        match topic_id_of(files, &dir) {
            Some(id) if id == topic_id => return Some(index),
            Some(_) => {}
            None => unnamed = unnamed.or(Some(index)),
        }
    }
    unnamed
}

/// Renames a partition's directory to `<name>.<suffix>` if `is_meant` says so of the topic that it belongs to now; None
/// if it is not there (any more) or belongs to another. Blocks.
///
/// # Errors
/// The file system's.
pub fn retire(
    files: &dyn Files,
    dir: &Path,
    suffix: &str,
    is_meant: impl FnOnce(Option<TopicId>) -> bool,
) -> io::Result<Option<PathBuf>> {
    let _alone = RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if !files.exists(dir) || !is_meant(topic_id_of(files, dir)) {
        return Ok(None);
    }
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let retired = dir.with_file_name(format!("{name}.{suffix}"));
    files.rename(dir, &retired)?;
    if let Some(parent) = dir.parent() {
        files.sync_dir(parent)?;
    }
    Ok(Some(retired))
}

/// Renames a file within a partition's directory if that belongs to the topic; whether it did. Blocks.
///
/// # Errors
/// The file system's.
pub fn replace(files: &dyn Files, from: &Path, to: &Path, topic_id: TopicId) -> io::Result<bool> {
    let _alone = RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let is_there = to.parent().is_some_and(|dir| topic_id_of(files, dir) == Some(topic_id));
    if is_there && files.exists(from) {
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
    use crate::io::sim::{Sim, SimConfig};

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
        let retired = retire(files, dir, &suffix(old, "delete"), |id| id == Some(old)).unwrap();
        assert_eq!((retired, files.exists(dir)), (None, true));
        let retired = retire(files, dir, &suffix(new, "delete"), |id| id == Some(new)).unwrap().unwrap();
        assert!(!files.exists(dir) && files.exists(&retired));
        let name = retired.file_name().unwrap().to_str().unwrap();
        assert_eq!(names::parse_dir_name(name), names::DirKind::Delete);
        assert_eq!(retire(files, dir, "x", |_| true).unwrap(), None, "nothing is there");
    }
}
