//! `meta.properties`: to which cluster and node a log directory belongs (KIP-631, KIP-858;
//! `MetaProperties`, `Formatter`).

use crate::base::{BrokerId, DirectoryId};
use crate::config::properties;
use crate::io::lock::{self, Existing};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file's name in each log directory.
pub const META_PROPERTIES: &str = "meta.properties";
/// Its name while it is written.
pub const META_PROPERTIES_TEMPORARY: &str = "meta.properties.tmp";
/// Kafka's name for the lock.
pub const LOCK_FILE: &str = ".lock";

/// Why a log directory cannot be formatted or used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The directory is formatted, and that was not to be ignored.
    #[error(
        "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the \
         others.",
        dir.display()
    )]
    AlreadyFormatted {
        /// The directory.
        dir: PathBuf,
    },
    /// `meta.properties` cannot be understood.
    #[error(
        "{} is damaged: {why}; restore it from a copy, or write it anew with the lines cluster.id, directory.id, node.id \
         and version=1 (a copy of another log directory of this node has all but directory.id)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `meta.properties` is of a cluster with ZooKeeper.
    #[error("{} {BEFORE_KRAFT}: migrate the cluster to KRaft with Apache Kafka 3.9 first", path.display())]
    BeforeKraft {
        /// The file.
        path: PathBuf,
    },
    /// `meta.properties` says something else than the configuration or another directory.
    #[error(
        "{} has {key}={found}, but {expected} is expected: the directory belongs to another node or cluster",
        path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value there.
        found: String,
        /// Its value elsewhere.
        expected: String,
    },
    /// Another broker runs on the directory, of whatever make.
    #[error(
        "{} is used by another broker (Ottla or Apache Kafka), or being formatted; stop it, or choose another directory with \
         --set log.dirs=DIR",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
}

impl FormatError {
    /// Whether the data is at fault, not what is around it.
    pub fn is_about_data(&self) -> bool {
        match self {
            FormatError::Damaged { .. } | FormatError::BeforeKraft { .. } | FormatError::Mismatch { .. } => {
                true
            }
            FormatError::AlreadyFormatted { .. } | FormatError::InUse { .. } | FormatError::Io { .. } => {
                false
            }
        }
    }
}

/// What a `meta.properties` of version 1 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: BrokerId,
    /// `directory.id`; files older than Kafka 3.7 have none.
    pub directory_id: Option<DirectoryId>,
}

/// What is said of a file of version 0.
const BEFORE_KRAFT: &str = "is of version 0, from before KRaft";
/// What a file of version 1 has without `directory.id`.
const KEYS_BEFORE_DIRECTORY_IDS: &[&str] = &["version", "cluster.id", "node.id", "broker.id"];

impl MetaProperties {
    /// From the text of the file; the error says what is wrong.
    pub fn parse(text: &str) -> Result<MetaProperties, String> {
        let pairs = properties::parse(text).map_err(|e| e.to_string())?;
        let get = |key: &str| pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        match get("version") {
            Some("1") => {}
            None => return Err("version was not found: it is blank, or something else".to_owned()),
            Some("0") => return Err(BEFORE_KRAFT.to_owned()),
            Some(other) => return Err(format!("version {other} is not known")),
        }
        let cluster_id = get("cluster.id").ok_or("cluster.id was not found.")?;
        let node_id = get("node.id").ok_or("node.id was not found.")?;
        let directory_id = match get("directory.id") {
            Some(id) => Some(
                DirectoryId::parse(id)
                    .ok_or_else(|| format!("Unable to read directory.id {id} as a Uuid"))?,
            ),
            // Files older than Kafka 3.7 have none, and nothing else either.
            None => match pairs.iter().find(|(key, _)| !KEYS_BEFORE_DIRECTORY_IDS.contains(&key.as_str())) {
                Some((key, _)) => return Err(format!("directory.id was not found, and {key} is not known")),
                None => None,
            },
        };
        Ok(MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id: node_id
                .trim()
                .parse()
                .ok()
                .filter(|id| *id >= 0)
                .ok_or_else(|| format!("Unable to read node.id {node_id} as a number from 0"))?,
            directory_id,
        })
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut lines = vec![properties::line("cluster.id", &self.cluster_id)];
        if let Some(id) = self.directory_id {
            lines.push(properties::line("directory.id", &id.to_string()));
        }
        lines.push(properties::line("node.id", &self.node_id.to_string()));
        lines.push(properties::line("version", "1"));
        lines.join("\n") + "\n"
    }
}

/// A random id that Kafka would make: not one of the reserved ones, and its text does not begin with a dash,
/// which command lines would take for an option.
pub fn random_id() -> DirectoryId {
    loop {
        let id = DirectoryId::from_u128(uuid::Uuid::new_v4().as_u128());
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// What the directory's `meta.properties` says. None if the directory or the file is not there.
pub fn read_meta_properties(dir: &Path) -> Result<Option<MetaProperties>, FormatError> {
    let path = dir.join(META_PROPERTIES);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FormatError::Io { path, source }),
    };
    let parsed = MetaProperties::parse(&String::from_utf8_lossy(&bytes));
    parsed.map(Some).map_err(|why| match why {
        why if why == BEFORE_KRAFT => FormatError::BeforeKraft { path },
        why => FormatError::Damaged { path, why },
    })
}

/// Locks the directories that [`format()`] would write to, where a broker may run on them; for a process that has not taken
/// them. The locks end with the values.
pub fn keep_brokers_away(dirs: &[PathBuf]) -> Result<Vec<File>, FormatError> {
    let mut locks = Vec::new();
    for dir in dirs {
        if read_meta_properties(dir)?.is_some_and(|meta| meta.directory_id.is_some()) {
            continue;
        }
        let path = dir.join(LOCK_FILE);
        match lock::take_existing(&path).map_err(|source| FormatError::Io { path, source })? {
            Existing::Free(file) => locks.extend(file),
            Existing::Taken => return Err(FormatError::InUse { dir: dir.clone() }),
        }
    }
    Ok(locks)
}

/// A directory after [`format()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formatted {
    /// The directory.
    pub dir: PathBuf,
    /// What its `meta.properties` says.
    pub meta: MetaProperties,
    /// Whether it was written just now.
    pub new: bool,
}

/// Makes directories of a node: creates them where needed and writes their `meta.properties`, each with a random
/// directory id unless it is given. One that is formatted already is an error, or with `ignore_formatted` checked and left
/// alone.
pub fn format(
    dirs: &[PathBuf],
    node_id: BrokerId,
    cluster_id: &str,
    ignore_formatted: bool,
    directory_id: Option<DirectoryId>,
) -> Result<Vec<Formatted>, FormatError> {
    // Nothing is written before all of it is known to be in order.
    let mut found = Vec::with_capacity(dirs.len());
    for dir in dirs {
        let meta = read_meta_properties(dir)?;
        match &meta {
            Some(_) if !ignore_formatted => return Err(FormatError::AlreadyFormatted { dir: dir.clone() }),
            Some(meta) => check(dir, meta, node_id, cluster_id)?,
            None => {}
        }
        found.push(meta);
    }
    let mut formatted = Vec::with_capacity(dirs.len());
    for (dir, meta) in dirs.iter().zip(found) {
        let new = meta.is_none();
        let meta = match meta {
            Some(meta) if meta.directory_id.is_some() => meta,
            // Files older than Kafka 3.7 have no directory.id: they get one, as Kafka gives them.
            old => {
                let cluster_id = old.map_or_else(|| cluster_id.to_owned(), |old| old.cluster_id);
                let meta = MetaProperties {
                    cluster_id,
                    node_id,
                    directory_id: directory_id.or_else(|| Some(random_id())),
                };
                write(dir, &meta)?;
                meta
            }
        };
        formatted.push(Formatted { dir: dir.clone(), meta, new });
    }
    Ok(formatted)
}

fn check(dir: &Path, meta: &MetaProperties, node_id: BrokerId, cluster_id: &str) -> Result<(), FormatError> {
    let mismatch = |key, found: String, expected: String| FormatError::Mismatch {
        path: dir.join(META_PROPERTIES),
        key,
        found,
        expected,
    };
    if meta.node_id != node_id {
        return Err(mismatch("node.id", meta.node_id.to_string(), node_id.to_string()));
    }
    if meta.cluster_id != cluster_id {
        return Err(mismatch("cluster.id", meta.cluster_id.clone(), cluster_id.to_owned()));
    }
    Ok(())
}

/// Writes the file so that a crash leaves either none or all of it.
fn write(dir: &Path, meta: &MetaProperties) -> Result<(), FormatError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| FormatError::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(at(dir))?;
    let (path, temporary) = (dir.join(META_PROPERTIES), dir.join(META_PROPERTIES_TEMPORARY));
    let mut file = File::create(&temporary).map_err(at(&temporary))?;
    file.write_all(meta.to_text().as_bytes()).map_err(at(&temporary))?;
    file.sync_all().map_err(at(&temporary))?;
    fs::rename(&temporary, &path).map_err(at(&path))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(at(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Apache Kafka 4.3.1 wrote it, comments and all.
    const OF_KAFKA: &str = "#\n#Sat Nov 21 07:56:30 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n\
                            directory.id=1Jf1Ux6jT1SPtLWi8jI9Xg\nnode.id=1\nversion=1\n";

    #[test]
    fn kafkas_file_is_read() {
        let meta = MetaProperties::parse(OF_KAFKA).unwrap();
        assert_eq!((meta.cluster_id.as_str(), meta.node_id), ("MkU3OEVBNTcwNTJENDM2Qg", 1));
        assert_eq!(meta.directory_id, DirectoryId::parse("1Jf1Ux6jT1SPtLWi8jI9Xg"));
        assert_eq!(MetaProperties::parse(&meta.to_text()), Ok(meta));
    }

    #[test]
    fn bad_files_say_why() {
        let table = [
            ("", "version was not found"),
            ("  \n", "version was not found"),
            ("\u{1}\u{2}garbage", "version was not found"),
            ("version=0\nbroker.id=1", "from before KRaft"),
            ("version=2", "version 2 is not known"),
            ("version=1\nnode.id=1", "cluster.id was not found."),
            ("version=1\ncluster.id=a", "node.id was not found."),
            ("version=1\ncluster.id=a\nnode.id=-1", "node.id -1"),
            ("version=1\ncluster.id=a\nnode.id=1\ndirectory.id=x", "directory.id x"),
        ];
        for (text, want) in table {
            let why = MetaProperties::parse(text).unwrap_err();
            assert!(why.contains(want), "{why}");
        }
    }

    #[test]
    fn format_and_open() {
        let root = tempfile::tempdir().unwrap();
        let dirs = [root.path().join("a"), root.path().join("deep/b")];
        let first = format(&dirs[..1], 1, "c", false, None).unwrap();
        assert!(first[0].new);
        assert!(matches!(format(&dirs, 1, "c", false, None), Err(FormatError::AlreadyFormatted { .. })));
        assert!(!dirs[1].exists());
        assert!(matches!(
            format(&dirs, 2, "c", true, None),
            Err(FormatError::Mismatch { key: "node.id", .. })
        ));
        assert!(matches!(
            format(&dirs, 1, "d", true, None),
            Err(FormatError::Mismatch { key: "cluster.id", .. })
        ));
        let both = format(&dirs, 1, "c", true, None).unwrap();
        assert_eq!(both[0].meta, first[0].meta);
        assert!(!both[0].new && both[1].new);
    }

    #[test]
    fn random_ids_do_not_look_like_options() {
        assert!((0..500).all(|_| !random_id().to_string().starts_with('-')));
    }
}
