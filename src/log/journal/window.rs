//! Reading a file piece by piece.

use std::io;

use crate::base::limits::JOURNAL_READ_BYTES;
use crate::io::{File, Files};

/// A file, and the piece of it that was read last.
pub(super) struct Window {
    file: File,
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(file: File) -> Window {
        Window { file, at: 0, bytes: Vec::new() }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The bytes at `at`: `need` of them, or all that there are before `end` or the file's end; perhaps more than `need`.
    pub(super) fn get(&mut self, files: &dyn Files, at: u64, need: usize, end: u64) -> io::Result<&[u8]> {
        let left = end.saturating_sub(at);
        let need = need.min(usize::try_from(left).unwrap_or(usize::MAX));
        let have = self.at..self.at + self.bytes.len() as u64;
        if at < have.start || at + need as u64 > have.end {
            let want = need.max(JOURNAL_READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.bytes = files.read_at(&self.file, at, want)?;
            self.at = at;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX).min(self.bytes.len());
        let to = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(&self.bytes[from..to.max(from)])
    }

    /// What was read is not what is there any more.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }
}
