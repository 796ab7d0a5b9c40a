//! `ottla format`.

use super::settings;
use super::{CliError, FormatArgs};
use crate::server::format::{self, FormatError};
use std::path::PathBuf;

/// Writes `meta.properties` into each log directory.
pub fn run(args: &FormatArgs) -> Result<(), CliError> {
    let settings = settings::load(&args.settings, &[])?;
    let given = args.cluster_id.clone().or(settings.cluster_id).filter(|id| !id.trim().is_empty());
    let dirs: Vec<PathBuf> = settings.config.log_dirs.iter().map(PathBuf::from).collect();
    let cluster_id = match given {
        Some(id) => id,
        None => known_cluster_id(&dirs)?.unwrap_or_else(|| format::random_id().to_string()),
    };
    let formatted = format::format(&dirs, settings.config.node_id, &cluster_id, args.ignore_formatted)
        .map_err(CliError::from)?;
    for dir in &formatted {
        let (path, meta) = (dir.dir.display(), &dir.meta);
        if dir.new {
            println!("Formatted {path} for node {} of cluster {}.", meta.node_id, meta.cluster_id);
        } else {
            println!("{path} is formatted already.");
        }
    }
    Ok(())
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
            CliError::environment(error.to_string())
        }
    }
}
