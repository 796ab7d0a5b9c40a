//! `ottla-metadata-end`: how far the metadata log was committed, told outside of it. What is missing or damaged below was
//! there once, and is not the write that a stop cut off.
//!
//! ```text
//! ottla-metadata-end 1
//! cluster 4L6g3nShT-eMCtK--X86sw
//! boot 0f1c...                             the machine's start in which it was written, 32 digits
//! offset 00000000000000000057              everything below was committed
//! crc32c 1f0ac5b7                          of all that comes before
//! ```
//!
//! It is written in place, less than a sector, before anybody is told of what was committed: it outlives the process. To outlive
//! a power cut it is flushed before directories of new partitions are made.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::Offset;
use crate::io::repeats::limited;
use crate::io::{Disk, File, Files, OpenMode};
use crate::log::checkpoint::{self, Content};
use crate::log::names;

/// What was noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Everything below was committed.
    pub offset: Offset,
    /// Nothing was committed since: only a power cut could have lost a later note.
    pub exact: bool,
}

/// Where it is, in the directory with the metadata log's.
pub fn path(home: &Path) -> PathBuf {
    home.join(names::OTTLA_METADATA_END)
}

/// Reads what was noted for this cluster. Blocks.
///
/// # Errors
/// If it cannot be read.
pub fn read(files: &dyn Files, home: &Path, cluster_id: &str) -> io::Result<Noted> {
    let path = path(home);
    Ok(match checkpoint::read(files, &path, parse)? {
        Content::Whole((cluster, boot_id, offset)) if cluster == cluster_id => {
            Noted { offset, exact: boot_id == files.boot_id() }
        }
        Content::Whole(_) | Content::Absent => Noted::default(),
        Content::Damaged(bytes) => {
            // A power cut may take what was not flushed.
            if bytes.iter().any(|byte| *byte != 0) {
                tracing::warn!(path = %path.display(), "the file is damaged and not used: whether the metadata log has lost its end cannot be told by it");
            }
            Noted::default()
        }
    })
}

/// Flushes what was noted, before anything is made by it. Blocks.
///
/// # Errors
/// The file system's.
pub fn flush(files: &dyn Files, home: &Path) -> io::Result<()> {
    match files.open(&path(home), OpenMode::Read) {
        Ok(file) => files.sync(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes it.
pub struct MetadataEnd {
    cluster_id: String,
    boot_id: u128,
    path: PathBuf,
    file: Option<File>,
}

impl MetadataEnd {
    /// Makes the file if there is none, with what is known from before. Blocks. If that fails the next start knows less.
    pub fn open(files: &dyn Files, home: &Path, cluster_id: &str) -> MetadataEnd {
        let path = path(home);
        let boot_id = files.boot_id();
        let open = || {
            let Noted { offset, exact } = read(files, home, cluster_id)?;
            if !exact {
                files.write_atomic(&path, &format(cluster_id, boot_id, offset))?;
            }
            files.open(&path, OpenMode::Buffered)
        };
        let file = open();
        if let Err(error) = &file {
            tracing::warn!(path = %path.display(), %error, "how far the metadata log is committed cannot be noted: the next start may not see that its end is missing");
        }
        MetadataEnd { cluster_id: cluster_id.to_owned(), boot_id, file: file.ok(), path }
    }

    /// Everything below `offset` is committed.
    pub fn note(&self, disk: &mut dyn Disk, offset: Offset) {
        let Some(file) = &self.file else { return };
        if let Err(error) = disk.stage(file, 0, &format(&self.cluster_id, self.boot_id, offset)) {
            limited!(warn, "the metadata log's end could not be noted", %error, path = %self.path.display(), "how far the metadata log is committed could not be noted");
        }
    }
}

fn format(cluster_id: &str, boot_id: u128, offset: Offset) -> Vec<u8> {
    let text =
        format!("ottla-metadata-end 1\ncluster {cluster_id}\nboot {boot_id:032x}\noffset {offset:020}\n");
    format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes())).into_bytes()
}

/// The cluster, the machine's start, and the offset.
fn parse(bytes: &[u8]) -> Option<(String, u128, Offset)> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    (lines.next()? == "ottla-metadata-end 1").then_some(())?;
    let cluster_id = lines.next()?.strip_prefix("cluster ")?;
    let boot_id = u128::from_str_radix(lines.next()?.strip_prefix("boot ")?, 16).ok()?;
    let offset = lines.next()?.strip_prefix("offset ")?.parse().ok()?;
    (format(cluster_id, boot_id, offset) == bytes).then(|| (cluster_id.to_owned(), boot_id, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_these_bytes() {
        let bytes = format("4L6g3nShT-eMCtK--X86sw", 7, 57);
        let golden = "ottla-metadata-end 1\ncluster 4L6g3nShT-eMCtK--X86sw\n\
            boot 00000000000000000000000000000007\noffset 00000000000000000057\ncrc32c ";
        assert_eq!(String::from_utf8_lossy(&bytes).strip_prefix(golden).map(str::len), Some(9));
        assert_eq!(parse(&bytes), Some(("4L6g3nShT-eMCtK--X86sw".to_owned(), 7, 57)));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(parse(&damaged), None, "a flipped bit in byte {at}");
            assert_eq!(parse(&bytes[..at]), None, "cut at {at}");
        }
    }
}
