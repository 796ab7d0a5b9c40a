//! `ottla format`.

use super::settings;
use super::{CliError, FormatArgs, print};
use crate::base::DirectoryId;
use crate::server::dirs::in_order;
use crate::server::format::{self, FormatError, Formatted};
use std::path::{Path, PathBuf};

/// Writes `meta.properties` into each log directory.
pub fn run(args: &FormatArgs) -> Result<(), CliError> {
    let settings = settings::load(&args.settings, &[])?;
    let given = args.cluster_id.clone().or(settings.cluster_id).filter(|id| !id.trim().is_empty());
    let log_dirs: Vec<PathBuf> = settings.config.log_dirs.iter().map(PathBuf::from).collect();
    let dirs = in_order(&log_dirs, Path::new(settings.config.metadata_log_dir()));
    let directory_id = replaced(args, &dirs)?;
    let cluster_id = match given {
        Some(id) => id,
        None => known_cluster_id(&dirs)?.unwrap_or_else(|| format::random_id().to_string()),
    };
    let locks = format::keep_brokers_away(&dirs)?;
    let formatted =
        format::format(&dirs, settings.config.node_id, &cluster_id, args.ignore_formatted, directory_id)
            .map_err(CliError::from)?;
    drop(locks);
    let line = |dir: &Formatted| {
        let (path, meta) = (dir.dir.display(), &dir.meta);
        if dir.new {
            format!("Formatted {path} for node {} of cluster {}.\n", meta.node_id, meta.cluster_id)
        } else {
            format!("{path} is formatted already.\n")
        }
    };
    print(&formatted.iter().map(line).collect::<String>())
}

/// The id of the directory that a new one replaces: only one can.
fn replaced(args: &FormatArgs, dirs: &[PathBuf]) -> Result<Option<DirectoryId>, CliError> {
    let Some(text) = &args.directory_id else { return Ok(None) };
    let id = DirectoryId::parse(text).ok_or_else(|| {
        CliError::usage(format!("--directory-id {text}: must be 22 characters of URL-safe base64"))
    })?;
    let mut new = 0;
    for dir in dirs {
        new += usize::from(format::read_meta_properties(dir)?.is_none());
    }
    if new == 1 {
        Ok(Some(id))
    } else {
        Err(CliError::usage(format!(
            "--directory-id names the one directory that a new one replaces, but {new} of the log directories are not formatted"
        )))
    }
}

/// The id that a directory formatted before has, so that others can join it.
fn known_cluster_id(dirs: &[PathBuf]) -> Result<Option<String>, CliError> {
    for dir in dirs {
        if let Some(meta) = format::read_meta_properties(dir)? {
            return Ok(Some(meta.cluster_id));
        }
    }
    Ok(None)
}

impl From<FormatError> for CliError {
    fn from(error: FormatError) -> CliError {
        if error.is_about_data() {
            CliError::data(error.to_string())
        } else {
            let remedy = match &error {
                FormatError::Io { source, .. } => crate::io::remedy(source),
                _ => "",
            };
            CliError::environment(format!("{error}{remedy}"))
        }
    }
}
