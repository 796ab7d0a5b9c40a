//! The lock on a log directory's `.lock`, which keeps every other broker away, of any make.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// Takes the lock of this file, making the file if need be; None if another process or value has it. It ends with the value.
///
/// Both kinds of lock that Linux has are taken, as neither sees the other: flock(2), which Ottla has always taken, and
/// fcntl(2), which Java takes (`FileChannel.tryLock`) and so Apache Kafka. The latter belongs to the open file (`OFD`), not
/// to the process: it does not end when something else in the process opens the file and closes it.
pub fn take(path: &Path) -> io::Result<Option<File>> {
    hold(File::options().write(true).create(true).truncate(false).open(path)?)
}

/// As [`take`], without making the file: where there is none, no broker runs, as each makes it first.
pub fn take_existing(path: &Path) -> io::Result<Existing> {
    match File::options().write(true).open(path) {
        Ok(file) => Ok(hold(file)?.map_or(Existing::Taken, |file| Existing::Free(Some(file)))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Existing::Free(None)),
        Err(e) => Err(e),
    }
}

/// What there is of a lock.
#[derive(Debug)]
pub enum Existing {
    /// Nobody has it, and now this file does, if there is one.
    Free(Option<File>),
    /// Somebody has it.
    Taken,
}

fn hold(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
        Err(std::fs::TryLockError::Error(e)) => return Err(e),
    }
    Ok(fcntl(&file, libc::F_OFD_SETLK)?.then_some(file))
}

/// Locks all of the file against other writers; whether that worked.
fn fcntl(file: &File, command: libc::c_int) -> io::Result<bool> {
    let (l_type, l_whence) = (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
    let lock = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: the descriptor is open, and `lock` outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> File {
        File::options().write(true).create(true).truncate(false).open(path).unwrap()
    }

    /// A lock as Java's `FileChannel.tryLock` takes it; of this process, but it and one of an open file see each other.
    fn as_java(file: &File) -> bool {
        fcntl(file, libc::F_SETLK).unwrap()
    }

    /// Ottla and Apache Kafka ran on one directory: flock(2) and fcntl(2) do not see each other.
    #[test]
    fn either_kind_of_lock_keeps_the_other_away_until_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".lock");
        for (kind, makes) in [("flock", true), ("flock", false), ("fcntl", true), ("fcntl", false)] {
            let other = open(&path);
            match kind {
                "flock" => other.try_lock().unwrap(),
                _ => assert!(as_java(&other)),
            }
            // Once only: a lock of this process's ends when the file of a try is closed.
            let is_taken = if makes {
                take(&path).unwrap().is_none()
            } else {
                matches!(take_existing(&path).unwrap(), Existing::Taken)
            };
            assert!(is_taken, "{kind}, {makes}");
            drop(other);
            let ours = take(&path).unwrap().expect("it is free");
            let other = open(&path);
            assert!(!as_java(&other) && other.try_lock().is_err(), "{kind}");
            assert!(take(&path).unwrap().is_none(), "{kind}");
            drop(ours);
            assert!(as_java(&other) && other.try_lock().is_ok(), "{kind}");
        }
    }

    /// A lock of fcntl(2) that belongs to the process ends as soon as any descriptor of the file is closed.
    #[test]
    fn the_lock_outlives_another_descriptor_of_its_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".lock");
        let ours = take(&path).unwrap().expect("it is free");
        drop(open(&path));
        drop(std::fs::read(&path));
        assert!(!as_java(&open(&path)));
        drop(ours);
        assert!(as_java(&open(&path)));
    }

    #[test]
    fn a_lock_that_is_not_there_is_not_made() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".lock");
        assert!(matches!(take_existing(&path).unwrap(), Existing::Free(None)));
        assert!(!path.exists());
        drop(take(&path).unwrap());
        assert!(matches!(take_existing(&path).unwrap(), Existing::Free(Some(_))));
    }
}
