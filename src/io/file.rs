//! Files as the rooms above see them: an open handle, and blocking operations for start-up and small texts.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An open file. Cloning shares the handle; the last clone closes it.
///
/// The inside belongs to whichever world opened it (a descriptor, or a number in the simulated disk).
#[derive(Clone)]
pub struct File {
    inner: Arc<dyn Any + Send + Sync>,
}

impl File {
    /// Wraps a world's own handle.
    pub fn new<T: Any + Send + Sync>(handle: T) -> File {
        File { inner: Arc::new(handle) }
    }

    /// The world's own handle, if it is of that kind.
    pub fn handle<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inner.downcast_ref()
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing, for buffered reading.
    Read,
    /// Existing, for direct reading and writing.
    Direct,
    /// Created if missing, for direct reading and writing.
    DirectCreate,
    /// Created if missing, for reading and writing through the page cache.
    Buffered,
}

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name within the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The length in bytes of a file.
    pub len: u64,
}

/// Does something with each item, on as many threads as the files allow. Items are begun in order; after an error no
/// others are.
///
/// # Errors
/// One of those that `work` gave.
pub fn side_by_side<T: Send>(
    files: &dyn Files,
    items: Vec<T>,
    work: impl Fn(T) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let threads = files.threads().min(items.len());
    if threads <= 1 {
        return items.into_iter().try_for_each(work);
    }
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let failed = Mutex::new(None);
    let run = || {
        while let Some(item) = next() {
            if let Err(error) = work(item) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                while next().is_some() {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Blocking file operations, for start-up, checkpoints and background jobs. Never called on a core's loop once
/// the broker serves.
pub trait Files: Send + Sync {
    /// The entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Whether a path exists, as far as that can be told: for what does no harm if it is taken for missing.
    fn exists(&self, path: &Path) -> bool;
    /// Whether a path exists; an error says neither.
    fn is_there(&self, path: &Path) -> io::Result<bool> {
        Ok(self.exists(path))
    }
    /// Whether a file is there and has nothing in it.
    fn is_empty(&self, path: &Path) -> bool {
        self.open(path, OpenMode::Read).and_then(|file| self.len(&file)).is_ok_and(|len| len == 0)
    }
    /// Creates a directory and its parents; no error if it exists.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// A whole small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A whole small file; None if there is none. An error says neither.
    fn read_if_there(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match self.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
    /// Replaces a small file so that a crash leaves the old or the new one: temporary file, flush, rename, flush of
    /// the directory.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Creates or replaces a small file, without a flush: for what [`Files::sync_all`] flushes together later, and
    /// whose loss in a crash does no harm.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File>;
    /// The length of an open file.
    fn len(&self, file: &File) -> io::Result<u64>;
    /// Reads up to `len` bytes at `offset`; fewer at the end of the file. Any alignment.
    fn read_at(&self, file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Writes `bytes` at `offset`. Any alignment.
    fn write_at(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Truncates or extends with zeros.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()>;
    /// Reserves blocks and sets the size, so that later writes within `len` allocate nothing.
    fn allocate(&self, file: &File, len: u64) -> io::Result<()>;
    /// Flushes data and the metadata needed to read it.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Flushes a directory's entries.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Flushes everything of the file system that holds `dir`: data, sizes and names.
    fn sync_all(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that are free on the volume of a path, which need not be there.
    fn free_bytes(&self, path: &Path) -> u64;
    /// A number that is another one after the machine was started again: what is in the page cache now was there then,
    /// if it is the same.
    fn boot_id(&self) -> u128;
    /// How many threads may use these files side by side: one where everything has to happen in the same order each time.
    fn threads(&self) -> usize {
        1
    }
    /// Renames a file or directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; no error if it is gone.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all it holds; no error if it is gone.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::super::OsFiles;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_item_is_worked_on_once_and_the_first_error_ends_it() {
        let sum = AtomicUsize::new(0);
        side_by_side(&OsFiles, (1..=1000).collect(), |n| {
            sum.fetch_add(n, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 500_500);
        side_by_side(&OsFiles, Vec::<u8>::new(), |_| Ok(())).unwrap();
        let begun = AtomicUsize::new(0);
        let error = side_by_side(&OsFiles, (0..100_000).collect::<Vec<u32>>(), |n| {
            begun.fetch_add(1, Ordering::Relaxed);
            if n == 10 { Err(io::Error::other("ten")) } else { Ok(()) }
        });
        assert_eq!(error.unwrap_err().to_string(), "ten");
        assert!(begun.into_inner() >= 11);
    }
}
