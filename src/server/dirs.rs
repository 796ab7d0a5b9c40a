//! The log directories at start: formatted on the first one, checked on every one, locked while the process lives.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::base::{BrokerId, DirectoryId};

use super::ServeError;
use super::format::{self, FormatError};

/// Log directories that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// The cluster that they belong to.
    pub cluster_id: String,
    /// Their ids, in the order of the configuration.
    pub directory_ids: Vec<DirectoryId>,
}

/// Formats directories that are empty and checks the others. `cluster_id` is what the user gave, if anything; a new
/// cluster gets a random one.
///
/// # Errors
/// A directory of another node or cluster, a damaged one, or one with data that was never formatted.
pub fn ensure(paths: &[PathBuf], node_id: BrokerId, cluster_id: Option<&str>) -> Result<Dirs, ServeError> {
    let mut found = None;
    for path in paths {
        match format::read_meta_properties(path)? {
            Some(meta) => found = found.or(Some(meta.cluster_id)),
            None => refuse_foreign_data(path)?,
        }
    }
    let cluster_id = match (found, cluster_id) {
        (_, Some(given)) => given.to_owned(),
        (Some(found), None) => found,
        (None, None) => format::random_id().to_string(),
    };
    let formatted = format::format(paths, node_id, &cluster_id, true)?;
    let directory_ids = formatted.iter().map(|f| f.meta.directory_id.unwrap_or_default()).collect();
    Ok(Dirs { cluster_id, directory_ids })
}

/// A directory that holds something but was never formatted is not ours to write to.
fn refuse_foreign_data(path: &Path) -> Result<(), ServeError> {
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name != "lost+found" && name != LOCK_FILE {
            let error = FormatError::NotFormatted { dir: path.to_path_buf() };
            return Err(ServeError::Data(format!(
                "{error}; it holds {} already: choose an empty directory with --set log.dirs=DIR",
                name.display()
            )));
        }
    }
    Ok(())
}

/// Kafka's name for the lock.
const LOCK_FILE: &str = ".lock";

/// Locks every directory against a second broker. The locks end with the values.
///
/// # Errors
/// A directory that another process uses.
pub fn lock(paths: &[PathBuf]) -> Result<Vec<File>, ServeError> {
    let lock_one = |dir: &PathBuf| {
        let path = dir.join(LOCK_FILE);
        let file =
            File::create(&path).map_err(|e| ServeError::environment(&path.display().to_string(), &e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ServeError::Environment(format!(
                "{} is used by another broker; stop it, or choose another directory with --set log.dirs=DIR",
                dir.display()
            ))),
            Err(TryLockError::Error(e)) => Err(ServeError::environment(&path.display().to_string(), &e)),
        }
    };
    paths.iter().map(lock_one).collect()
}

impl From<FormatError> for ServeError {
    fn from(error: FormatError) -> ServeError {
        if error.is_about_data() {
            ServeError::Data(error.to_string())
        } else {
            ServeError::Environment(error.to_string())
        }
    }
}
