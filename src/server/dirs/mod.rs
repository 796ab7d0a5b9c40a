//! The log directories at start: read, decided upon, locked while the process lives, formatted if they are new.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::base::{BrokerId, DirectoryId};
use crate::io::{OsFiles, lock};
use crate::log::checkpoint::Content;
use crate::log::names::{DirKind, parse_dir_name};
use crate::log::retire;

use self::decide::{Decision, Found, Wanted, decide};
use super::ServeError;
use super::format::{self, FormatError, LOCK_FILE, META_PROPERTIES};

/// Log directories that may be used.
#[derive(Debug)]
pub struct Dirs {
    /// The cluster that they belong to.
    pub cluster_id: String,
    /// The ids of `log.dirs`, in the order of the configuration.
    pub directory_ids: Vec<DirectoryId>,
    /// The id of the directory with the metadata log.
    pub metadata_directory_id: DirectoryId,
    /// Keeps a second broker away as long as they live.
    pub locks: Vec<File>,
}

/// What is asked of the directories.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `log.dirs`.
    pub log_dirs: &'a [PathBuf],
    /// `metadata.log.dir`, which may be one of them.
    pub metadata_dir: &'a Path,
    /// `node.id`.
    pub node_id: BrokerId,
    /// What the operator gave, if anything; a new cluster gets a random one.
    pub cluster_id: Option<&'a str>,
    /// The command that formats a directory with this configuration.
    pub format_command: &'a str,
}

/// Takes the directories: decides on all of them before anything is written, locks them, and formats new ones.
///
/// # Errors
/// Directories on which a start would lose or mix up data, or that cannot be used; nothing has been changed then.
pub fn take(asked: Asked<'_>) -> Result<Dirs, ServeError> {
    let all = in_order(asked.log_dirs, asked.metadata_dir);
    decide_on(&all, asked)?;
    for dir in &all {
        make(dir)?;
    }
    let locks = lock(&all)?;
    // Again, now that nobody else can change them.
    let (found, decision) = decide_on(&all, asked)?;
    let known = found.iter().find_map(|dir| dir.meta.as_ref()).map(|meta| meta.cluster_id.clone());
    let given = asked.cluster_id.map(str::to_owned);
    let cluster_id = known.or(given).unwrap_or_else(|| format::random_id().to_string());
    if decision == Decision::Format {
        let names: Vec<String> = all.iter().map(|dir| dir.display().to_string()).collect();
        tracing::info!(cluster_id, "new log directories are formatted: {}", names.join(", "));
    }
    let formatted = format::format(&all, asked.node_id, &cluster_id, true, None)?;
    let id_of = |dir: &Path| -> DirectoryId {
        let at = all.iter().position(|other| same(other, dir));
        at.and_then(|at| formatted[at].meta.directory_id).unwrap_or_default()
    };
    Ok(Dirs {
        cluster_id,
        directory_ids: asked.log_dirs.iter().map(|dir| id_of(dir)).collect(),
        metadata_directory_id: id_of(asked.metadata_dir),
        locks,
    })
}

/// All directories of a node, each once; the one for the metadata log comes first, and is formatted first.
pub fn in_order(log_dirs: &[PathBuf], metadata_dir: &Path) -> Vec<PathBuf> {
    let home = log_dirs.iter().find(|dir| same(dir, metadata_dir));
    let mut all = vec![home.map_or_else(|| metadata_dir.to_path_buf(), PathBuf::clone)];
    let mut skipped = false;
    for dir in log_dirs {
        // One that is named twice stays in the list, and is refused.
        if !skipped && home == Some(dir) {
            skipped = true;
        } else {
            all.push(dir.clone());
        }
    }
    all
}

/// Whether two names are of the same directory.
fn same(a: &Path, b: &Path) -> bool {
    a == b || real(a) == real(b)
}

/// What a name stands for; of one that is not there yet, as much as there is.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut there = path.ancestors().filter_map(|above| Some((fs::canonicalize(above).ok()?, above)));
    let found = there.next();
    let rest = found.as_ref().and_then(|(_, above)| path.strip_prefix(above).ok());
    match (&found, rest) {
        (Some((real, _)), Some(rest)) if !rest.as_os_str().is_empty() => real.join(rest),
        (Some((real, _)), _) => real.clone(),
        _ => path,
    }
}

/// A symbolic link on the way to a directory that leads nowhere.
fn dangling(path: &Path) -> Option<&Path> {
    path.ancestors().find(|above| above.is_symlink() && fs::metadata(above).is_err())
}

/// Makes a directory that is not there.
fn make(dir: &Path) -> Result<(), ServeError> {
    if let Some(link) = dangling(dir) {
        let to = fs::read_link(link).unwrap_or_default();
        return Err(ServeError::Environment(format!(
            "{}: the symbolic link {} leads to {}, which is not there: is its disk mounted?",
            dir.display(),
            link.display(),
            to.display()
        )));
    }
    fs::create_dir_all(dir).map_err(|e| ServeError::environment(&dir.display().to_string(), &e))
}

fn decide_on(all: &[PathBuf], asked: Asked<'_>) -> Result<(Vec<Found>, Decision), ServeError> {
    let found = look(all)?;
    let wanted =
        Wanted { node_id: asked.node_id, cluster_id: asked.cluster_id, format_command: asked.format_command };
    match decide(&found, &wanted) {
        Ok(decision) => Ok((found, decision)),
        Err(refusal) if refusal.is_config => Err(ServeError::Config(refusal.text)),
        Err(refusal) => Err(ServeError::Data(refusal.text)),
    }
}

/// Looks into the directories; changes nothing.
fn look(all: &[PathBuf]) -> Result<Vec<Found>, ServeError> {
    let mut found = Vec::with_capacity(all.len());
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, dir) in all.iter().enumerate() {
        let (one, partitions) = look_into(dir)?;
        found.push(one);
        for name in partitions {
            places.entry(name).or_default().push(index);
        }
    }
    for (name, dirs) in places.into_iter().filter(|(_, dirs)| dirs.len() > 1) {
        for index in dirs {
            let dir = all[index].join(&name);
            let said = retire::topic_id_of(&OsFiles, &dir);
            let id = match said.map_err(|e| ServeError::environment(&dir.display().to_string(), &e))? {
                Content::Whole(id) => Some(id),
                Content::Absent | Content::Damaged(_) => None, // it may be a copy
            };
            found[index].shared.push((name.clone(), id));
        }
    }
    Ok(found)
}

/// What one directory holds, and the names of its partitions.
fn look_into(dir: &Path) -> Result<(Found, Vec<String>), ServeError> {
    let mut found = Found {
        path: dir.to_path_buf(),
        real: real(dir),
        meta: format::read_meta_properties(dir)?,
        metadata_log: false,
        used: None,
        shared: Vec::new(),
    };
    let mut partitions = Vec::new();
    let failed = |e: io::Error| ServeError::environment(&dir.display().to_string(), &e);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((found, partitions)),
        Err(e) => return Err(failed(e)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.metadata_log |= name == METADATA_LOG;
        if !OF_FORMAT.contains(&name.as_str()) {
            // A file may be called like a partition: a journal that was set aside is.
            if let DirKind::Partition(_) = parse_dir_name(&name)
                && name != METADATA_LOG
                && entry.path().is_dir()
            {
                partitions.push(name.clone());
            }
            // The smallest name, so that the same is said each time.
            found.used = found.used.map_or(Some(name.clone()), |used| Some(used.min(name)));
        }
    }
    Ok((found, partitions))
}

/// The directory of the metadata log.
const METADATA_LOG: &str = "__cluster_metadata-0";
/// What may be in a directory that no broker has run on: what formats write, the lock, and what file systems begin with.
const OF_FORMAT: &[&str] =
    &[META_PROPERTIES, format::META_PROPERTIES_TEMPORARY, LOCK_FILE, "bootstrap.checkpoint", "lost+found"];

/// Locks every directory against a second broker. The locks end with the values.
fn lock(paths: &[PathBuf]) -> Result<Vec<File>, ServeError> {
    let lock_one = |dir: &PathBuf| {
        let path = dir.join(LOCK_FILE);
        match lock::take(&path) {
            Ok(Some(file)) => Ok(file),
            Ok(None) => Err(FormatError::InUse { dir: dir.clone() }.into()),
            Err(e) => Err(ServeError::environment(&path.display().to_string(), &e)),
        }
    };
    paths.iter().map(lock_one).collect()
}

impl From<FormatError> for ServeError {
    fn from(error: FormatError) -> ServeError {
        match error {
            FormatError::Io { path, source } => ServeError::environment(&path.display().to_string(), &source),
            error if error.is_about_data() => ServeError::Data(error.to_string()),
            error => ServeError::Environment(error.to_string()),
        }
    }
}
