//! What helps against an error of the system's.

/// What an operator can do about an error of the system's; nothing if that is not clear.
pub fn remedy(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::PermissionDenied => {
            "; give the user that runs ottla the right to read and write there (chown, chmod), or choose another directory with \
             --set log.dirs=DIR"
        }
        Kind::NotADirectory | Kind::AlreadyExists => {
            "; a file stands where a directory is needed: choose a directory with --set log.dirs=DIR"
        }
        Kind::StorageFull | Kind::QuotaExceeded => {
            "; free some space on that volume, and start again: nothing is lost"
        }
        Kind::ReadOnlyFilesystem => "; mount the file system for writing",
        _ if error.raw_os_error() == Some(EMFILE) => {
            "; raise the limit of open files: ulimit -n 1048576, or LimitNOFILE=1048576 in the systemd unit"
        }
        _ if error.raw_os_error() == Some(EAGAIN) => {
            "; raise the limit of threads: ulimit -u, LimitNPROC and TasksMax in the systemd unit, --pids-limit in docker"
        }
        _ if error.raw_os_error() == Some(ENAMETOOLONG) => "; choose a shorter path with --set log.dirs=DIR",
        _ => "",
    }
}

const EMFILE: i32 = 24;
const EAGAIN: i32 = 11;
const ENAMETOOLONG: i32 = 36;

#[cfg(test)]
mod tests {
    use super::*;

    /// "a core's thread: Resource temporarily unavailable", and nothing else.
    #[test]
    fn what_a_limit_refuses_names_the_limit() {
        let of = |code| remedy(&std::io::Error::from_raw_os_error(code));
        for (code, words) in [(EAGAIN, "TasksMax"), (EMFILE, "LimitNOFILE"), (ENAMETOOLONG, "shorter")] {
            assert!(of(code).contains(words), "{code}: {}", of(code));
        }
    }
}
