//! The limit of open files.

use std::io;

/// Raises the soft limit of open files to the hard one, which is what a process may have without asking anybody; gives both
/// as they were.
pub fn raise_open_files() -> io::Result<(u64, u64)> {
    let mut limit = limit()?;
    let before = (limit.rlim_cur, limit.rlim_max);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(before)
}

/// How many files may be open.
pub fn open_files() -> Option<u64> {
    limit().ok().map(|limit| limit.rlim_cur)
}

fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}
