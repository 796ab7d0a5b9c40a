//! [`Files`] on the operating system: blocking calls, direct I/O where the file system has it.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::buf::AlignedBuf;
use super::file::{DirEntry, File, Files, OpenMode};
use super::jobs;
use super::volume::volume_bytes;
use crate::base::limits::{BLOCK_BYTES, FILE_THREADS};

/// Blocking file operations of the operating system.
///
/// Errors keep their [`io::ErrorKind`] and name the path where one is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

/// An open descriptor, as [`File::handle`] gives it.
pub struct OsFile {
    fd: OwnedFd,
    direct: bool,
    /// Where the last write of a ring ended.
    written_end: AtomicU64,
}

impl OsFile {
    pub(super) fn new(fd: OwnedFd, direct: bool) -> OsFile {
        OsFile { fd, direct, written_end: AtomicU64::new(0) }
    }

    /// The descriptor's number.
    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Notes where a write ends; gives where the one before it did.
    pub(super) fn write_until(&self, end: u64) -> u64 {
        self.written_end.swap(end, Ordering::Relaxed)
    }

    /// Whether it bypasses the page cache (false on file systems without `O_DIRECT`, and for [`OpenMode::Read`]).
    pub fn is_direct(&self) -> bool {
        self.direct
    }
}

impl OsFiles {
    /// Opens a file and tells whether the open created it.
    pub(super) fn open_or_create(path: &Path, mode: OpenMode) -> io::Result<(File, bool)> {
        let (base, direct) = match mode {
            OpenMode::Read => (libc::O_RDONLY, false),
            OpenMode::Direct | OpenMode::DirectCreate => (libc::O_RDWR, true),
            OpenMode::Buffered => (libc::O_RDWR, false),
        };
        let first = open_direct_or_not(path, base, direct);
        let missing = matches!(&first, Err(e) if e.kind() == io::ErrorKind::NotFound);
        if !matches!(mode, OpenMode::DirectCreate | OpenMode::Buffered) || !missing {
            return first.map(|f| (File::new(f), false)).map_err(|e| named(&e, "open", path));
        }
        let made = open_direct_or_not(path, base | libc::O_CREAT, direct);
        made.map(|f| (File::new(f), true)).map_err(|e| named(&e, "create", path))
    }
}

fn open_direct_or_not(path: &Path, flags: i32, direct: bool) -> io::Result<OsFile> {
    if !direct {
        return Ok(OsFile::new(open_raw(path, flags)?, direct));
    }
    match open_raw(path, flags | libc::O_DIRECT) {
        Ok(fd) => Ok(OsFile::new(fd, direct)),
        // EINVAL is how a file system says that it has no direct I/O (older tmpfs, some FUSE and overlay ones).
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            tracing::debug!(path = %path.display(), "no direct I/O here; using the page cache");
            Ok(OsFile::new(open_raw(path, flags)?, false))
        }
        Err(e) => Err(e),
    }
}

fn open_raw(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let c = c_path(path)?;
    let fd = retry(|| {
        // SAFETY: `c` is a NUL-terminated string that lives through the call.
        unsafe { libc::open(c.as_ptr(), flags | libc::O_CLOEXEC, 0o644) }
    })?;
    // SAFETY: `open` has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("path with a NUL byte: {}", path.display()))
    })
}

/// Repeats a system call that a signal interrupted.
fn retry(mut call: impl FnMut() -> i32) -> io::Result<i32> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result);
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

fn named(e: &io::Error, what: &str, path: &Path) -> io::Error {
    let remedy = match e.raw_os_error() {
        Some(libc::EMFILE) => {
            "; every partition that is written to and every connection needs a file descriptor: \
             raise the limit (ulimit -n, LimitNOFILE= in the service's unit)"
        }
        Some(libc::ENFILE) => "; the whole machine is out of file descriptors: raise the sysctl fs.file-max",
        _ => "",
    };
    super::lack::explained(e, format!("{what} {}: {e}{remedy}", path.display()))
}

fn os_file(file: &File) -> io::Result<&OsFile> {
    file.handle::<OsFile>()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file of another world"))
}

/// A `std` view of the descriptor for the length of one call.
fn with_std<T>(fd: RawFd, f: impl FnOnce(&fs::File) -> io::Result<T>) -> io::Result<T> {
    // SAFETY: the caller's `File` keeps the descriptor open meanwhile.
    let borrowed = unsafe { fs::File::from_raw_fd(fd) };
    let view = std::mem::ManuallyDrop::new(borrowed); // never closes what it does not own
    f(&view)
}

/// The descriptor opened once more through the page cache, for what is not aligned.
fn buffered_again(fd: RawFd) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{fd}"))
}

/// Has the kernel forget the pages of a file that are flushed. Advice: an error changes nothing.
fn drop_pages(fd: RawFd) {
    // SAFETY: a plain call on a descriptor that the caller keeps open.
    unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) };
}

fn aligned(offset: u64, address: usize, len: usize) -> bool {
    let block = BLOCK_BYTES as u64;
    offset.is_multiple_of(block) && address.is_multiple_of(BLOCK_BYTES) && len.is_multiple_of(BLOCK_BYTES)
}

/// Fills `into` from `offset`; fewer bytes at the end of the file.
fn read_full(file: &fs::File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // After the unaligned end of a file a direct read cannot continue: there is nothing more.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && done > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

impl Files for OsFiles {
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(|e| named(&e, "list", dir))? {
            let entry = entry?;
            // Directories need no look of their own: there may be 10,000 of them.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let Ok(name) = entry.file_name().into_string() else { continue }; // no name of ours
                entries.push(DirEntry { name, is_dir: true, len: 0 });
                continue;
            }
            let meta = match fs::metadata(entry.path()) {
                Ok(meta) => meta,
                // Removed between the listing and now, or a dangling link: not there.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(named(&e, "stat", &entry.path())),
            };
            let Ok(name) = entry.file_name().into_string() else { continue }; // no name of ours
            let len = if meta.is_dir() { 0 } else { meta.len() };
            entries.push(DirEntry { name, is_dir: meta.is_dir(), len });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_there(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn is_empty(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir).map_err(|e| named(&e, "create directory", dir))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path).map_err(|e| named(&e, "read", path))
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary_name(path);
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|e| named(&e, "write", &temporary))?;
        fs::rename(&temporary, path).map_err(|e| named(&e, "replace", path))?;
        self.sync_dir(&jobs::parent(path))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let write = || -> io::Result<()> {
            // Not truncated first: ext4 begins to write back at once what replaces something that way.
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            file.write_all(bytes)?;
            let len = bytes.len() as u64;
            if file.metadata()?.len() > len { file.set_len(len) } else { Ok(()) }
        };
        write().map_err(|e| named(&e, "write", path))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        OsFiles::open_or_create(path, mode).map(|(file, _)| file)
    }

    fn len(&self, file: &File) -> io::Result<u64> {
        with_std(os_file(file)?.raw(), |f| Ok(f.metadata()?.len()))
    }

    fn read_at(&self, file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let os = os_file(file)?;
        if !os.direct {
            let mut out = vec![0; len];
            let n = with_std(os.raw(), |f| read_full(f, offset, &mut out))?;
            out.truncate(n);
            return Ok(out);
        }
        let skip = (offset % BLOCK_BYTES as u64) as usize;
        let mut blocks = AlignedBuf::with_capacity(skip + len);
        blocks.set_len(blocks.capacity());
        let n = with_std(os.raw(), |f| read_full(f, offset - skip as u64, blocks.as_mut_slice()))?;
        let end = n.min(skip + len);
        Ok(blocks.as_slice().get(skip..end).unwrap_or_default().to_vec())
    }

    fn write_at(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let os = os_file(file)?;
        if !os.direct || aligned(offset, bytes.as_ptr() as usize, bytes.len()) {
            return with_std(os.raw(), |f| f.write_all_at(bytes, offset));
        }
        if aligned(offset, 0, bytes.len()) {
            let mut blocks = AlignedBuf::with_capacity(bytes.len());
            blocks.extend_from_slice(bytes);
            return with_std(os.raw(), |f| f.write_all_at(blocks.as_slice(), offset));
        }
        let buffered = buffered_again(os.raw())?;
        buffered.write_all_at(bytes, offset)?;
        // Out of the page cache at once, so that direct readers and writers meet no stale pages.
        buffered.sync_data()?;
        drop_pages(os.raw());
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        with_std(os_file(file)?.raw(), |f| f.set_len(len))
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        let fd = os_file(file)?.raw();
        let len = libc::off_t::try_from(len)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("a length of {len} bytes")))?;
        if len == 0 {
            return Ok(());
        }
        let result = retry(|| {
            // SAFETY: a plain call on a descriptor that `file` keeps open.
            unsafe { libc::fallocate(fd, 0, 0, len) }
        });
        match result {
            Ok(_) => Ok(()),
            // No preallocation on this file system: the size alone must do.
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                if self.len(file)? < len as u64 {
                    self.set_len(file, len as u64)?;
                }
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        with_std(os_file(file)?.raw(), fs::File::sync_data)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let handle = fs::File::open(dir).map_err(|e| named(&e, "open directory", dir))?;
        handle.sync_all().map_err(|e| named(&e, "flush directory", dir))
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        let handle = fs::File::open(dir).map_err(|e| named(&e, "open directory", dir))?;
        let fd = handle.as_raw_fd();
        let synced = retry(|| {
            // SAFETY: a plain call on a descriptor that `handle` keeps open.
            unsafe { libc::syncfs(fd) }
        });
        synced.map(|_| ()).map_err(|e| named(&e, "flush the file system of", dir))
    }

    fn free_bytes(&self, path: &Path) -> u64 {
        let volume = path.ancestors().find_map(|dir| volume_bytes(dir.to_str()?));
        volume.map_or(u64::MAX, |(_, free)| free.max(0) as u64)
    }

    fn boot_id(&self) -> u128 {
        // Unreadable counts as a new start, which only costs time.
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&hex, 16).unwrap_or(0)
    }

    fn threads(&self) -> usize {
        FILE_THREADS
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|e| {
            super::lack::explained(&e, format!("rename {} to {}: {e}", from.display(), to.display()))
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_file(path)).map_err(|e| named(&e, "remove", path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_dir_all(dir)).map_err(|e| named(&e, "remove directory", dir))
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_alignment_through_a_direct_handle() {
        let dir = tempfile::tempdir_in("target").unwrap();
        let path = dir.path().join("f");
        assert_eq!(OsFiles.open(&path, OpenMode::Direct).err().unwrap().kind(), io::ErrorKind::NotFound);
        let file = OsFiles.open(&path, OpenMode::DirectCreate).unwrap();
        OsFiles.write_at(&file, 0, &[b'a'; 4096]).unwrap();
        OsFiles.write_at(&file, 4090, b"0123456789").unwrap();
        assert_eq!(OsFiles.len(&file).unwrap(), 4100);
        assert_eq!(OsFiles.read_at(&file, 4088, 100).unwrap(), b"aa0123456789");
        assert!(OsFiles.read_at(&file, 5000, 100).unwrap().is_empty());
        OsFiles.allocate(&file, 1 << 20).unwrap();
        assert_eq!(OsFiles.len(&file).unwrap(), 1 << 20);
        assert_eq!(OsFiles.read_at(&file, 4096, 6).unwrap(), b"6789\0\0");
        OsFiles.set_len(&file, 4099).unwrap();
        OsFiles.sync(&file).unwrap();
        assert_eq!(OsFiles.read(&path).unwrap()[4090..], *b"012345678");
    }

    #[test]
    fn names() {
        let dir = tempfile::tempdir_in("target").unwrap();
        let at = |name: &str| dir.path().join(name);
        OsFiles.create_dir_all(&at("a/b")).unwrap();
        OsFiles.write_atomic(&at("a/x"), b"one").unwrap();
        OsFiles.write_atomic(&at("a/x"), b"two").unwrap();
        let entry = |name: &str, is_dir, len| DirEntry { name: name.into(), is_dir, len };
        assert_eq!(OsFiles.list(&at("a")).unwrap(), [entry("b", true, 0), entry("x", false, 3)]);
        OsFiles.write(&at("a/y"), b"three").unwrap();
        OsFiles.write(&at("a/y"), b"four").unwrap();
        OsFiles.sync_all(&at("a")).unwrap();
        assert_eq!(OsFiles.read(&at("a/y")).unwrap(), b"four");
        OsFiles.remove_file(&at("a/y")).unwrap();
        OsFiles.rename(&at("a"), &at("c")).unwrap();
        assert!(OsFiles.exists(&at("c/x")) && !OsFiles.exists(&at("a")));
        OsFiles.remove_file(&at("c/x")).unwrap();
        OsFiles.remove_file(&at("c/x")).unwrap();
        OsFiles.remove_dir_all(&at("c")).unwrap();
        OsFiles.remove_dir_all(&at("c")).unwrap();
        OsFiles.sync_dir(dir.path()).unwrap();
        let e = OsFiles.read(&at("gone")).unwrap_err();
        assert!(e.kind() == io::ErrorKind::NotFound && e.to_string().contains("gone"), "{e}");
    }
}
