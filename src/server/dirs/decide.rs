//! Whether a broker may start on the directories that it was given. Pure: from what each holds to a decision, before
//! anything is written or renamed (`MetaPropertiesEnsemble`, `KafkaRaftServer.initializeLogDirs`, `LogManager.loadLog`).

use std::path::{Path, PathBuf};

use crate::base::{BrokerId, TopicId};
use crate::meta::image::directory_is_reserved;
use crate::server::format::MetaProperties;

/// What a configured directory holds, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As it is configured.
    pub path: PathBuf,
    /// The same for two names of one directory.
    pub real: PathBuf,
    /// Its `meta.properties`; none if there is no such file, or no directory.
    pub meta: Option<MetaProperties>,
    /// Whether `__cluster_metadata-0` is in it.
    pub metadata_log: bool,
    /// Something in it that no format writes: a broker has run on it, or it is somebody else's.
    pub used: Option<String>,
    /// Partitions that stand in another of the directories too, and the topic that each says it is of.
    pub shared: Vec<(String, Option<TopicId>)>,
}

/// What the directories have to fit.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// `node.id`.
    pub node_id: BrokerId,
    /// The cluster's id, if the operator named one.
    pub cluster_id: Option<&'a str>,
    /// The command that formats what is not formatted yet, with the same configuration.
    pub format_command: &'a str,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are used as they are.
    Use,
    /// A new cluster: none is formatted, and nothing is in them. Or the first start ended between two of them.
    Format,
}

/// Why not: in words, and whether the configuration is at fault or the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, and what helps.
    pub text: String,
    /// Whether `log.dirs` itself makes no sense.
    pub is_config: bool,
}

/// Decides. The first of `found` is where the metadata log belongs.
///
/// # Errors
/// What would make acknowledged records disappear, or mix two clusters.
pub fn decide(found: &[Found], wanted: &Wanted<'_>) -> Result<Decision, Refusal> {
    named_once(found)?;
    for dir in found.iter().filter(|dir| dir.meta.is_none()) {
        if let Some(used) = &dir.used {
            return refuse(format!(
                "log directory {} is not formatted and holds {used} already: choose an empty directory with --set \
                 log.dirs=DIR; if a broker has run on it, its meta.properties is missing: restore it from a copy",
                dir.path.display()
            ));
        }
    }
    of_one_node(found, wanted)?;
    metadata_in_its_place(found)?;
    if found.iter().all(|dir| dir.meta.is_none()) {
        return Ok(Decision::Format);
    }
    all_formatted(found, wanted)?;
    metadata_not_missing(found)?;
    no_partition_twice(found)?;
    let complete = found.iter().all(|dir| dir.meta.is_some());
    Ok(if complete { Decision::Use } else { Decision::Format })
}

fn refuse<T>(text: String) -> Result<T, Refusal> {
    Err(Refusal { text, is_config: false })
}

fn named_once(found: &[Found]) -> Result<(), Refusal> {
    for (i, dir) in found.iter().enumerate() {
        if let Some(same) = found[..i].iter().find(|other| other.real == dir.real) {
            let (a, b) = (same.path.display(), dir.path.display());
            let text = format!("log.dirs names the same directory twice: {a} and {b}; leave one of them out");
            return Err(Refusal { text, is_config: true });
        }
        // What a broker finds in a log directory is taken for a partition.
        if let Some(outer) =
            found.iter().find(|other| other.real != dir.real && dir.real.starts_with(&other.real))
        {
            let (outer, inner) = (outer.path.display(), dir.path.display());
            let text = format!("log directory {inner} lies in the log directory {outer}: put it beside it");
            return Err(Refusal { text, is_config: true });
        }
    }
    Ok(())
}

/// All that are formatted are of this node, of one cluster, and no two are copies of each other.
fn of_one_node(found: &[Found], wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let mut cluster = wanted.cluster_id.map(|id| (id.to_owned(), "CLUSTER_ID".to_owned()));
    let mut ids: Vec<(_, &Path)> = Vec::new();
    for dir in found {
        let Some(meta) = &dir.meta else { continue };
        let path = dir.path.display();
        if meta.node_id != wanted.node_id {
            return refuse(format!(
                "{path}/meta.properties has node.id={}, but {} is configured: the directory belongs to another node; \
                 set node.id={0}, or choose another directory with --set log.dirs=DIR",
                meta.node_id, wanted.node_id
            ));
        }
        let (expected, whose) =
            cluster.get_or_insert_with(|| (meta.cluster_id.clone(), dir.path.display().to_string()));
        if meta.cluster_id != *expected {
            return refuse(format!(
                "{path}/meta.properties has cluster.id={}, but {whose} says {expected}: the directory belongs to \
                 another cluster; leave one of them out of the configuration",
                meta.cluster_id
            ));
        }
        let Some(id) = meta.directory_id else { continue };
        if directory_is_reserved(id) {
            return refuse(format!(
                "{path}/meta.properties has the reserved directory.id={id}: remove that line"
            ));
        }
        if let Some((_, other)) = ids.iter().find(|(other, _)| *other == id) {
            return refuse(format!(
                "{path}/meta.properties has the same directory.id={id} as {}: one is a copy of the other; leave the \
                 copy out of log.dirs",
                other.display()
            ));
        }
        ids.push((id, &dir.path));
    }
    Ok(())
}

/// The metadata log is where it belongs and nowhere else.
fn metadata_in_its_place(found: &[Found]) -> Result<(), Refusal> {
    let Some((home, others)) = found.split_first() else { return Ok(()) };
    let Some(other) = others.iter().find(|dir| dir.metadata_log) else { return Ok(()) };
    let (home_path, other_path) = (home.path.display(), other.path.display());
    if home.metadata_log {
        return refuse(format!(
            "both {home_path} and {other_path} hold a metadata log (__cluster_metadata-0): one is a copy; move \
             __cluster_metadata-0 out of {other_path} if {home_path} has the newer one, otherwise name {other_path} \
             first in log.dirs and move the other"
        ));
    }
    refuse(format!(
        "the metadata log (__cluster_metadata-0) is in {other_path}, but {home_path} is where it would be opened: name \
         {other_path} first in log.dirs, or set metadata.log.dir={other_path}"
    ))
}

/// Only a first start that ended between two directories leaves some unformatted: it formats the first one first, and
/// nothing is in any.
fn all_formatted(found: &[Found], wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let Some(empty) = found.iter().find(|dir| dir.meta.is_none()) else { return Ok(()) };
    let Some(formatted) = found.iter().find(|dir| dir.meta.is_some()) else { return Ok(()) };
    let interrupted = found[0].meta.is_some() && found.iter().all(|dir| dir.used.is_none());
    if interrupted {
        return Ok(());
    }
    let (path, formatted) = (empty.path.display(), formatted.path.display());
    let added = if found[0].meta.is_none() {
        "The metadata log belongs in it, so a directory that was added must not be named first".to_owned()
    } else {
        format!("If it was added on purpose: {}", wanted.format_command)
    };
    refuse(format!(
        "log directory {path} has no meta.properties, while {formatted} is in use: is its disk mounted? {added}"
    ))
}

fn metadata_not_missing(found: &[Found]) -> Result<(), Refusal> {
    let home = &found[0];
    if home.metadata_log {
        return Ok(());
    }
    let Some((dir, used)) = found.iter().find_map(|dir| Some((dir, dir.used.as_ref()?))) else {
        return Ok(());
    };
    refuse(format!(
        "the metadata log (__cluster_metadata-0) is in none of the log directories, but a broker has run on {}, which \
         holds {used}: name the directory with the metadata log first in log.dirs or in metadata.log.dir (is its disk \
         mounted?); without it no topic can be served",
        dir.path.display()
    ))
}

/// A partition stands in one directory, or nobody knows which copy has its last records. A directory of another topic
/// of the same name is no copy.
fn no_partition_twice(found: &[Found]) -> Result<(), Refusal> {
    for (i, dir) in found.iter().enumerate() {
        for (name, id) in &dir.shared {
            let is_copy = |(other, other_id): &&(String, Option<TopicId>)| {
                other == name && (id.is_none() || other_id.is_none() || id == other_id)
            };
            let copy = found[..i].iter().find(|other| other.shared.iter().any(|s| is_copy(&s)));
            if let Some(copy) = copy {
                return refuse(format!(
                    "partition {name} stands in both {} and {}: one is a copy; move the older one out of the log \
                     directories and start again",
                    copy.path.display(),
                    dir.path.display()
                ));
            }
        }
    }
    Ok(())
}
