//! What a [`FileJob`] does, on any [`Files`].

use std::io;
use std::path::{Path, PathBuf};

use super::file::{File, Files, OpenMode};
use super::world::{FileJob, FileJobOutcome};

/// Runs a job to its end. `open` also tells whether it created the file.
pub(super) fn run(
    files: &dyn Files,
    job: FileJob,
    open: impl FnOnce(&Path, OpenMode) -> io::Result<(File, bool)>,
) -> io::Result<FileJobOutcome> {
    match job {
        FileJob::Open { path, mode, allocate } => {
            let (file, made) = open(&path, mode)?;
            if allocate > files.len(&file)? {
                files.allocate(&file, allocate)?;
            }
            if made {
                files.sync_dir(&parent(&path))?;
            }
            return Ok(FileJobOutcome::Opened(file));
        }
        FileJob::Allocate(file, len) => files.allocate(&file, len)?,
        FileJob::SetLen(file, len) => files.set_len(&file, len)?,
        FileJob::Rename(from, to) => {
            files.rename(&from, &to)?;
            sync_renamed(files, &from, &to)?;
        }
        FileJob::RemoveFile(path) => files.remove_file(&path)?,
        FileJob::RemoveDirAll(path) => files.remove_dir_all(&path)?,
        FileJob::WriteAtomic(path, bytes) => files.write_atomic(&path, &bytes)?,
        FileJob::Run(work) => return work(files).map(FileJobOutcome::Ran),
    }
    Ok(FileJobOutcome::Done)
}

/// Flushes what a rename has changed.
pub(super) fn sync_renamed(files: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
    files.sync_dir(&parent(to))?;
    if parent(from) == parent(to) { Ok(()) } else { files.sync_dir(&parent(from)) }
}

/// The directory that holds `path`.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
