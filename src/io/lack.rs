//! What a failed operation of the disk lacked, if its cause is one that ends by itself or by the operator's hand.

use std::fmt;
use std::io;

/// A resource of the machine that can run out, and come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Space, inodes or quota of a volume.
    Space,
    /// File descriptors, of the process or of the machine.
    Descriptors,
    /// Memory of the kernel.
    Memory,
}

impl Lack {
    /// What an error lacked; None for every other error.
    pub fn of(error: &io::Error) -> Option<Lack> {
        match errno_of(error)? {
            libc::ENOSPC | libc::EDQUOT => Some(Lack::Space),
            libc::EMFILE | libc::ENFILE => Some(Lack::Descriptors),
            libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN => Some(Lack::Memory),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Lack::Space => {
                "free space on the volume, delete records or topics, or lower retention.bytes and retention.ms"
            }
            Lack::Descriptors => {
                "raise the limit of open files (ulimit -n, or LimitNOFILE in the systemd unit), or have fewer connections \
                 or partitions"
            }
            Lack::Memory => "give the machine more memory, or lower ottla.core.cache.bytes",
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lack::Space => "no space is left",
            Lack::Descriptors => "no file descriptors are left",
            Lack::Memory => "no memory is left",
        })
    }
}

/// An error of the system in words that say more; it keeps its number.
#[derive(Debug)]
struct Explained {
    text: String,
    errno: Option<i32>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Explained {}

/// An error of the system in other words.
pub(super) fn explained(error: &io::Error, text: String) -> io::Error {
    io::Error::new(error.kind(), Explained { text, errno: errno_of(error) })
}

/// The number of an error of the system, in whatever words.
pub fn errno_of(error: &io::Error) -> Option<i32> {
    let explained = || error.get_ref()?.downcast_ref::<Explained>()?.errno;
    error.raw_os_error().or_else(explained)
}
