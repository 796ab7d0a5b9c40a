//! Files as the rooms above see them: an open handle, and blocking operations for start-up and small texts.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

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

/// Blocking file operations, for start-up, checkpoints and background jobs. Never called on a core's loop once
/// the broker serves.
pub trait Files: Send + Sync {
    /// The entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Whether a path exists.
    fn exists(&self, path: &Path) -> bool;
    /// Creates a directory and its parents; no error if it exists.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// A whole small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
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
    /// A number that is another one after the machine was started again: what is in the page cache now was there then,
    /// if it is the same.
    fn boot_id(&self) -> u128;
    /// Renames a file or directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; no error if it is gone.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all it holds; no error if it is gone.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
}
