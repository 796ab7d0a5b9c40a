//! Why a core's ring cannot be set up, and what helps.

use std::io;

/// A ring could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel is too old for `io_uring` or for the flags we need.
    #[error("this kernel has no suitable io_uring ({0}): Linux 6.1 or newer is needed")]
    Kernel(String),
    /// The kernel or a sandbox forbids it.
    #[error(
        "io_uring is not permitted ({0}): set sysctl kernel.io_uring_disabled=0, and in a container allow the \
         io_uring system calls (docker run --security-opt seccomp=unconfined, or a profile with io_uring_setup, \
         io_uring_enter and io_uring_register)"
    )]
    Forbidden(String),
    /// A limit on locked memory.
    #[error(
        "not enough lockable memory for io_uring ({0}): raise RLIMIT_MEMLOCK (ulimit -l unlimited, LimitMEMLOCK=infinity \
         in systemd, --ulimit memlock=-1 in docker)"
    )]
    Memlock(String),
    /// A limit on open files.
    #[error("too many open files ({0}): raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE in systemd)")]
    Nofile(String),
    /// Anything else.
    #[error("cannot set up io_uring: {0}")]
    Other(String),
}

impl RingError {
    pub(super) fn setup(e: &io::Error) -> RingError {
        let text = e.to_string();
        match e.raw_os_error() {
            Some(libc::ENOSYS | libc::EINVAL) => RingError::Kernel(text),
            Some(libc::EPERM | libc::EACCES) => RingError::Forbidden(text),
            Some(libc::ENOMEM) => RingError::Memlock(text),
            Some(libc::EMFILE | libc::ENFILE) => RingError::Nofile(text),
            _ => RingError::Other(text),
        }
    }

    pub(super) fn buffers(e: &io::Error) -> RingError {
        match e.raw_os_error() {
            Some(libc::ENOMEM | libc::EPERM) => RingError::Memlock(e.to_string()),
            _ => RingError::setup(e),
        }
    }
}
